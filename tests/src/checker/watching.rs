//! P6 and P9, from what was watched meanwhile: the events that sockets have shown, and the sessions of the database.

use std::collections::HashMap;

use crate::journal::Line;

/// No transaction says nothing for longer: the database ends it then, which takes it a moment.
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

/// What is seen twice in a row was not on its end, and the database did not stand still.
pub(super) fn sessions(lines: &[Line]) -> Option<String> {
    let idle_ms = lines.iter().filter_map(|line| match line {
        Line::Sessions { idle_ms } => Some(*idle_ms),
        _ => None,
    });
    let seen: Vec<i64> = idle_ms.collect();
    let longest = seen.windows(2).filter_map(|two| two.iter().copied().min()).max();
    let longest = longest.filter(|longest| *longest > LONGEST_IDLE_MS)?;
    Some(format!("a transaction said nothing for {longest} ms"))
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
        let found = |seen: [i64; 3]| sessions(&seen.map(|idle_ms| Line::Sessions { idle_ms })).is_some();
        assert!(found([0, 5_001, 5_501]) && !found([4_500, 5_001, 0]) && !found([0, 0, 0]));
    }
}
