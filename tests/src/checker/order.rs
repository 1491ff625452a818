//! P0, real time: what anybody has been told before a request was sent, the answer to that request has seen.

use std::time::Duration;

use crate::history::{History, Outcome};

pub(super) fn check(history: &History) -> Vec<String> {
    let told = told_until(history);
    let mut broken = Vec::new();
    for command in &history.commands {
        for attempt in &command.attempts {
            let (position, since) = match &attempt.outcome {
                // It was decided once, at the earliest when it was first asked for.
                Outcome::Accepted { position, replayed: true, .. } => (*position, command.attempts[0].began),
                Outcome::Accepted { position, .. } | Outcome::Refused { position, .. } => (*position, attempt.began),
                Outcome::Unknown { .. } | Outcome::Improper { .. } => continue,
            };
            let known = told[..told.partition_point(|(at, _)| *at < since)].last().map_or(0, |(_, known)| *known);
            if position < known {
                let key = &command.key;
                broken.push(format!("the answer to {key} rests on {position} although {known} was known before it"));
            }
        }
    }
    broken
}

/// From when on which position was known to somebody: times and positions both rise.
fn told_until(history: &History) -> Vec<(Duration, i64)> {
    let attempts = history.commands.iter().flat_map(|command| &command.attempts);
    let mut told: Vec<_> = attempts
        .filter_map(|attempt| match attempt.outcome {
            Outcome::Accepted { position, .. } | Outcome::Refused { position, .. } => Some((attempt.ended, position)),
            Outcome::Unknown { .. } | Outcome::Improper { .. } => None,
        })
        .collect();
    told.sort_unstable();
    let mut highest = 0;
    for (_, position) in &mut told {
        highest = highest.max(*position);
        *position = highest;
    }
    told
}
