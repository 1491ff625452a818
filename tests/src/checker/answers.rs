//! P1: the events of an accepted command are in the log exactly once, under its key; a refused one has left nothing;
//! one whose answer was lost is settled by its retry; and nobody did what nobody asked for.

use std::collections::{HashMap, HashSet};

use eventstore::log::Digest;

use super::{Log, Logged};
use crate::history::{Command, History, Outcome};

pub(super) fn check(log: &Log, history: &History) -> Vec<String> {
    let mut units = HashMap::<(&str, &str), Vec<&[Logged]>>::new();
    for unit in log.units() {
        if let Some(command) = unit.first().and_then(Logged::command) {
            units.entry(command).or_default().push(unit);
        }
    }
    let mut keys = HashMap::<Digest, Vec<i64>>::new();
    for stored in &log.keys {
        keys.entry(stored.key).or_default().push(stored.position);
    }
    let mut broken = Vec::new();
    let mut asked = HashSet::new();
    for command in &history.commands {
        let actor = command.author();
        let mine = units.get(&(actor.as_str(), command.key.as_str())).map_or(&[][..], Vec::as_slice);
        let stored = keys.get(&command.stored_key()).map_or(&[][..], Vec::as_slice);
        broken.extend(check_one(command, mine, stored).map(|what| format!("{} by {actor}: {what}", command.key)));
        asked.insert((actor, command.key.as_str()));
    }
    let unasked = units.keys().filter(|(actor, key)| !asked.contains(&((*actor).to_owned(), *key)));
    broken.extend(unasked.map(|(actor, key)| format!("{key} by {actor} is in the log and nobody has asked for it")));
    broken
}

fn check_one<'a>(command: &'a Command, units: &[&'a [Logged]], stored: &[i64]) -> impl Iterator<Item = String> + 'a {
    let mut broken = Vec::new();
    let outcomes = || command.attempts.iter().map(|attempt| &attempt.outcome);
    let improper = outcomes().filter_map(|outcome| match outcome {
        Outcome::Improper { why } => Some(format!("it was answered {why}")),
        _ => None,
    });
    broken.extend(improper);
    let mut accepted = outcomes().filter_map(|outcome| match outcome {
        Outcome::Accepted { position, body, .. } => Some((*position, body)),
        _ => None,
    });
    let refused = outcomes().any(|outcome| matches!(outcome, Outcome::Refused { .. }));
    let ends: Vec<i64> = units.iter().filter_map(|unit| Some(unit.last()?.event.position)).collect();
    match accepted.next() {
        Some((position, body)) => {
            if refused {
                broken.push("it was accepted and refused".to_owned());
            }
            if accepted.any(|again| again != (position, body)) {
                broken.push("it was answered differently the second time".to_owned());
            }
            // Whether there was nothing to do, the rules tell: it is looked at where commands are decided again.
            let nothing_done = ends.is_empty() && command.intent.may_change_nothing();
            if ends != [position] && !nothing_done {
                broken.push(format!("it was accepted at {position}; its events in the log end at {ends:?}"));
            }
            if stored != [position] {
                broken.push(format!("it was accepted at {position}; its key is stored with {stored:?}"));
            }
        }
        None if refused => {
            if !ends.is_empty() || !stored.is_empty() {
                broken.push(format!("it was refused, and left events that end at {ends:?} and keys at {stored:?}"));
            }
        }
        None => broken.push("nobody was told what became of it".to_owned()),
    }
    broken.into_iter()
}
