//! Telling what became of events that are not where or what they were.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::findings::Finding;
use crate::Position;
use crate::proof::leaf::StoredEvent;

/// The most that is remembered of either side.
pub(super) const MOST: usize = 100_000;

/// Events and records that have no counterpart in their place.
#[derive(Debug)]
pub(super) struct Suspects {
    events: Vec<Event>,
    records: BTreeMap<Position, Uuid>,
    most: usize,
    more_events: usize,
    more_records: usize,
}

/// An event that is not what was hashed there.
#[derive(Debug)]
struct Event {
    at: Position,
    id: Uuid,
    what: String,
}

impl Suspects {
    /// Remembers at most so many of either side.
    pub(super) fn at_most(most: usize) -> Self {
        Self { events: Vec::new(), records: BTreeMap::new(), most, more_events: 0, more_records: 0 }
    }

    /// An event that is not what is recorded of its place.
    pub(super) fn event(&mut self, event: &StoredEvent) {
        if self.events.len() >= self.most {
            self.more_events += 1;
            return;
        }
        let StoredEvent { position, sequence, event_id, aggregate_type, aggregate_id, event_type, .. } = event;
        let what = format!("{event_type} as number {sequence} of {aggregate_type} {aggregate_id}");
        self.events.push(Event { at: *position, id: *event_id, what: shown(&what) });
    }

    /// What is recorded of a place, where no event is like it.
    pub(super) fn record(&mut self, at: Position, id: Uuid) {
        if self.records.len() >= self.most {
            self.more_records += 1;
            return;
        }
        self.records.insert(at, id);
    }

    /// The events that are missed somewhere.
    pub(super) fn recorded(&self) -> impl Iterator<Item = Uuid> {
        self.records.values().copied()
    }

    /// In which parts of the log there are any.
    pub(super) fn any_at(&self, part: impl Fn(Position) -> u64) -> BTreeSet<u64> {
        let places = self.events.iter().map(|event| event.at).chain(self.records.keys().copied());
        places.map(part).collect()
    }

    /// What became of each. `elsewhere` is where missed events are beyond what is hashed; `forged` tells whether at a
    /// position the event is as it was signed, and its record is not.
    pub(super) fn findings(&self, elsewhere: &[(Position, Uuid)], forged: impl Fn(Position) -> bool) -> Vec<Finding> {
        let mut found = Vec::new();
        // Where each event is now, as far as it is out of place.
        let mut now: HashMap<Uuid, Vec<&Event>> = HashMap::new();
        for event in &self.events {
            now.entry(event.id).or_default().push(event);
        }
        let far: HashMap<Uuid, Position> = elsewhere.iter().map(|(at, id)| (*id, *at)).collect();
        let (mut explained, mut moved, mut missing) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for (&at, id) in &self.records {
            let places = now.get(id).map_or(&[][..], Vec::as_slice);
            let nearest = places.iter().min_by_key(|event| event.at.abs_diff(at));
            match nearest.map(|event| event.at).or_else(|| far.get(id).copied()) {
                Some(place) if place == at && forged(at) => found.push(Finding::RecordAltered { at }),
                Some(place) if place == at => {
                    let now = nearest.map(|event| event.what.clone()).unwrap_or_default();
                    found.push(Finding::Altered { at, event_id: *id, now });
                }
                Some(place) => {
                    moved.insert(at, place);
                }
                None => {
                    missing.insert(at, *id);
                }
            }
            explained.extend(nearest.map(|event| (event.at, event.id)));
        }
        // Where one side was cut, what has moved across the cut only seems to lack its counterpart.
        let far = moved.last_key_value().map_or(0, |(from, to): (&Position, &Position)| from.abs_diff(*to));
        let cut = |last: Option<Position>, more| {
            if more > 0 { last.map(|last| last.saturating_sub_unsigned(far)) } else { None }
        };
        let inserted_until = cut(self.records.keys().next_back().copied(), self.more_records);
        let removed_until = cut(self.events.iter().map(|event| event.at).max(), self.more_events);
        let mut more = self.more_events + self.more_records;
        for event in self.events.iter().filter(|event| !explained.contains(&(event.at, event.id))) {
            let (at, by, now) = (event.at, event.id, event.what.clone());
            match missing.remove(&at) {
                Some(_) if forged(at) => found.push(Finding::RecordAltered { at }),
                Some(event_id) => found.push(Finding::Replaced { at, event_id, by, now }),
                None if inserted_until.is_some_and(|until| at > until) => more += 1,
                None => found.push(Finding::Inserted { at, event_id: by, now }),
            }
        }
        for (at, event_id) in missing {
            if removed_until.is_some_and(|until| at > until) {
                more += 1;
            } else {
                found.push(Finding::Removed { at, event_id });
            }
        }
        found.extend(moves(moved));
        if more > 0 {
            found.push(Finding::More { differing: more });
        }
        found
    }
}

/// Moves from a place to another: pairs that changed places, and runs that went as far as each other.
fn moves(mut moved: BTreeMap<Position, Position>) -> Vec<Finding> {
    let mut found = Vec::new();
    let pairs: Vec<_> = moved.iter().map(|(from, to)| (*from, *to)).collect();
    for (one, other) in pairs {
        if one < other && moved.get(&other) == Some(&one) {
            moved.remove(&one);
            moved.remove(&other);
            found.push(Finding::Swapped { one, other });
        }
    }
    let rest: Vec<_> = moved.into_iter().map(|(from, to)| (from, to.saturating_sub(from))).collect();
    for run in rest.chunk_by(|(one, by), (next, next_by)| *next == one + 1 && by == next_by) {
        if let (Some((first, by)), Some((last, _))) = (run.first(), run.last()) {
            found.push(Finding::Moved { first: *first, last: *last, by: *by });
        }
    }
    found
}

/// What a row says of itself, however it was made: on one line, and not too long.
fn shown(what: &str) -> String {
    what.chars().take(200).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_told_as_swaps_and_runs() {
        let moved = BTreeMap::from([(2, 9), (9, 2), (4, 5), (5, 6), (6, 7), (11, 20)]);
        let expected = [
            Finding::Swapped { one: 2, other: 9 },
            Finding::Moved { first: 4, last: 6, by: 1 },
            Finding::Moved { first: 11, last: 11, by: 9 },
        ];
        assert_eq!(moves(moved), expected);
    }

    /// What is found when the events from `from` on are `by` further than they were recorded.
    fn shifted(from: Position, by: Position) -> Vec<Finding> {
        let mut suspects = Suspects::at_most(5);
        let id = |number: Position| Uuid::from_u128(u128::from(number.unsigned_abs()));
        for at in from..from + 20 {
            suspects.record(at, id(at));
            suspects.events.extend((suspects.events.len() < 5).then(|| {
                let id = if at - by < from { Uuid::from_u128(1) } else { id(at - by) };
                Event { at, id, what: String::new() }
            }));
        }
        suspects.more_events = 15;
        suspects.findings(&[], |_| false)
    }

    #[test]
    fn beyond_the_most_that_is_remembered_nobody_is_accused() {
        let one = |found: &[Finding]| {
            let accusing = |finding: &&Finding| matches!(finding, Finding::Inserted { .. } | Finding::Removed { .. });
            found.iter().filter(accusing).cloned().collect::<Vec<_>>()
        };
        // One was removed at 100, and the gap closed.
        let closed = shifted(100, -1);
        assert!(matches!(one(&closed).as_slice(), [Finding::Removed { at: 100, .. }]), "{closed:?}");
        assert!(closed.contains(&Finding::Moved { first: 101, last: 104, by: -1 }), "{closed:?}");
        // One was inserted there, and the rest moved up.
        let moved = shifted(100, 1);
        assert!(matches!(one(&moved).as_slice(), [Finding::Inserted { at: 100, .. }]), "{moved:?}");
        assert!(moved.contains(&Finding::Moved { first: 100, last: 103, by: 1 }), "{moved:?}");
        assert!(matches!(moved.last(), Some(Finding::More { differing: 31 })), "{moved:?}");
    }

    #[test]
    fn what_a_row_says_stays_on_its_line() {
        assert_eq!(shown("a\nb"), "a\u{fffd}b");
        assert_eq!(shown(&"x".repeat(500)).len(), 200);
    }
}
