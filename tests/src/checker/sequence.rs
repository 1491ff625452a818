//! P2: per stream the sequences run 1..n, globally the positions run 1..N, and a unit of work ends where it says.

use std::collections::{HashMap, HashSet};

use super::Log;

pub(super) fn check(log: &Log) -> Vec<String> {
    let mut broken = Vec::new();
    let mut streams = HashMap::new();
    let mut ids = HashSet::new();
    let mut latest = None;
    for (logged, expected) in log.events.iter().zip(1..) {
        let event = &logged.event;
        let position = event.position;
        if position != expected {
            broken.push(format!("the event at place {expected} of the log has position {position}"));
        }
        let stream = streams.entry((event.aggregate_type.as_str(), event.aggregate_id.0)).or_insert(0);
        *stream += 1;
        if event.sequence != *stream {
            let (kind, id) = (&event.aggregate_type, event.aggregate_id.0);
            broken.push(format!("event {stream} of {kind} {id} has sequence {} (position {position})", event.sequence));
        }
        if !ids.insert(event.event_id) {
            broken.push(format!("event id {} is there twice (position {position})", event.event_id));
        }
        if latest.is_some_and(|latest| event.recorded_at < latest) {
            broken.push(format!("position {position} was decided before the event before it"));
        }
        latest = latest.max(Some(event.recorded_at));
    }
    let last = log.events.last().map_or(0, |last| last.event.position);
    if log.head != last {
        broken.push(format!("the head is {} and the last event is {last}", log.head));
    }
    for unit in log.units() {
        let (Some(first), Some(last)) = (unit.first(), unit.last()) else { continue };
        if last.event.commit_position != last.event.position {
            let (from, to) = (first.event.position, last.event.position);
            broken.push(format!("the unit of work {from}..{to} says that it ends at {}", last.event.commit_position));
        }
        if unit.iter().any(|logged| logged.metadata != first.metadata) {
            broken.push(format!("the unit of work at {} is of several commands", first.event.position));
        }
    }
    broken
}
