//! P6 and P9, from what was watched meanwhile: the events that sockets have shown, and the sessions of the database.

use std::collections::HashMap;

use crate::journal::Line;

/// No transaction says nothing for longer.
const LONGEST_IDLE_MS: i64 = 5_000;

/// Each socket shows what follows the event after which it was opened, one after another, none twice.
pub(super) fn sockets(lines: &[Line]) -> Vec<String> {
    let mut last = HashMap::new();
    let mut broken = Vec::new();
    for line in lines {
        let Line::Seen { socket, auction, after, sequence } = line else { continue };
        let before = last.insert((socket, auction), *sequence).unwrap_or(*after);
        if *sequence != before + 1 {
            broken.push(format!("socket {socket} showed event {sequence} of auction {auction} after {before}"));
        }
    }
    broken
}

pub(super) fn sessions(lines: &[Line]) -> Vec<String> {
    let longest = lines.iter().filter_map(|line| match line {
        Line::Sessions { idle_ms, .. } => Some(*idle_ms),
        _ => None,
    });
    let longest = longest.max().filter(|longest| *longest > LONGEST_IDLE_MS);
    longest.map(|longest| format!("a transaction said nothing for {longest} ms")).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use domain::AuctionId;
    use uuid::Uuid;

    use super::*;

    fn seen(socket: u64, after: i64, sequence: i64) -> Line {
        Line::Seen { socket, auction: AuctionId(Uuid::nil()), after, sequence }
    }

    #[test]
    fn what_is_shown_twice_or_left_out_is_found_and_a_resumed_socket_is_not() {
        assert_eq!(sockets(&[seen(1, 0, 1), seen(1, 0, 2), seen(2, 2, 3), seen(2, 2, 4)]), [""; 0]);
        assert_eq!(sockets(&[seen(1, 0, 1), seen(1, 0, 1)]).len(), 1);
        assert_eq!(sockets(&[seen(1, 0, 1), seen(1, 0, 3)]).len(), 1);
        assert_eq!(sockets(&[seen(1, 0, 1), seen(2, 1, 3)]).len(), 1);
    }

    #[test]
    fn a_transaction_that_says_nothing_for_long_is_found() {
        let sessions_of = |idle_ms| sessions(&[Line::Sessions { open: 1, idle_ms }]);
        assert_eq!((sessions_of(5_000).len(), sessions_of(5_001).len()), (0, 1));
    }
}
