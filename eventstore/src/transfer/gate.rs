//! Whether events that come in one after another make a whole log: no gap, no repeat, no unit of work cut, nothing that
//! cannot be read as what it says it is.

use domain::{AccountId, account, order};
use thiserror::Error;
use uuid::Uuid;

use crate::Position;
use crate::event::{DomainEvent, RecordedEvent, StreamId, UnreadableEvent};
use crate::proof::StoredEvent;

/// Why an event cannot come next.
#[derive(Debug, Error)]
pub enum Flaw {
    /// Another should come here.
    #[error("after position {before} comes {found}")]
    Gap {
        /// The event before it.
        before: Position,
        /// Its own position.
        found: Position,
    },
    /// It says of its unit of work what the one before it does not, or what cannot be.
    #[error(
        "the unit of work of the event at position {position} ends at {commit_position}, but the log does not say so there"
    )]
    Unit {
        /// Where it is.
        position: Position,
        /// What it says.
        commit_position: Position,
    },
    /// No calendar has its time.
    #[error("the event at position {0} has a time that is in no calendar")]
    Time(Position),
    /// It belongs to no stream.
    #[error("the event at position {position} belongs to `{aggregate_id}`, which is no id")]
    Stray {
        /// Where it is.
        position: Position,
        /// What it belongs to.
        aggregate_id: String,
    },
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableEvent),
    /// It is something else than it says.
    #[error("the event at position {position} says `{says}` and is `{is}`")]
    Misnamed {
        /// Where it is.
        position: Position,
        /// What it says.
        says: String,
        /// What it is.
        is: &'static str,
    },
}

/// Whom an event forgets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Forgotten {
    /// The person of an account.
    Account(AccountId),
    /// The guest who has placed an order.
    GuestOf(Uuid),
}

/// Looks at one event after another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gate {
    /// The position of the last event.
    pub(super) reached: Position,
    /// Where the unit of work of the last event ends.
    unit_end: Position,
}

impl Gate {
    /// Whether the last unit of work is whole.
    pub(super) fn is_between_units(self) -> bool {
        self.reached == self.unit_end
    }

    /// Lets an event through, and tells whom it forgets.
    pub(super) fn take(&mut self, event: &StoredEvent) -> Result<Option<Forgotten>, Flaw> {
        let StoredEvent { position, commit_position, .. } = *event;
        if position != self.reached + 1 {
            return Err(Flaw::Gap { before: self.reached, found: position });
        }
        let begins = self.is_between_units();
        if commit_position < position || (!begins && commit_position != self.unit_end) {
            return Err(Flaw::Unit { position, commit_position });
        }
        let forgotten = read(event)?;
        (self.reached, self.unit_end) = (position, commit_position);
        Ok(forgotten)
    }
}

/// Reads an event as what it says it is.
fn read(event: &StoredEvent) -> Result<Option<Forgotten>, Flaw> {
    let StoredEvent { position, ref aggregate_id, .. } = *event;
    let time = event.recorded_at.unix_us().and_then(chrono::DateTime::from_timestamp_micros);
    let stream = Uuid::parse_str(aggregate_id).ok().filter(|id| id.to_string() == *aggregate_id);
    let recorded = RecordedEvent {
        position,
        commit_position: event.commit_position,
        event_id: event.event_id,
        aggregate_type: event.aggregate_type.clone(),
        aggregate_id: StreamId(stream.ok_or_else(|| Flaw::Stray { position, aggregate_id: aggregate_id.clone() })?),
        sequence: event.sequence,
        event_type: event.event_type.clone(),
        event_version: event.event_version.clone(),
        payload: event.payload.clone(),
        recorded_at: time.ok_or(Flaw::Time(position))?,
        act: None,
    };
    let decoded = recorded.decode()?;
    if decoded.event_type() != event.event_type {
        return Err(Flaw::Misnamed { position, says: event.event_type.clone(), is: decoded.event_type() });
    }
    // With these two events, and with no others, the key of somebody goes.
    if let DomainEvent::Account(account, account::Event::AccountErased {}) = decoded {
        return Ok(Some(Forgotten::Account(account)));
    }
    if let DomainEvent::Order(order, order::Event::GuestForgotten {}) = decoded {
        return Ok(Some(Forgotten::GuestOf(order.0)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::StoredTime;

    fn event(position: Position, commit_position: Position) -> StoredEvent {
        StoredEvent {
            position,
            commit_position,
            recorded_at: StoredTime(0),
            sequence: 1,
            event_id: Uuid::from_u128(1),
            aggregate_type: "account".to_owned(),
            aggregate_id: Uuid::from_u128(7).to_string(),
            event_type: "AccountErased".to_owned(),
            event_version: "1".to_owned(),
            payload: r#"{"AccountErased":{}}"#.to_owned(),
            metadata: "{}".to_owned(),
        }
    }

    /// What is wrong with the first of these that is.
    fn flaw(events: &[StoredEvent]) -> Option<Flaw> {
        let mut gate = Gate::default();
        events.iter().find_map(|event| gate.take(event).err())
    }

    #[test]
    fn units_that_follow_each_other_pass_and_say_whom_they_forget() {
        let mut gate = Gate::default();
        for (event, whole) in [(event(1, 1), true), (event(2, 3), false), (event(3, 3), true)] {
            let forgotten = gate.take(&event).unwrap();
            assert_eq!(forgotten, Some(Forgotten::Account(AccountId(Uuid::from_u128(7)))));
            assert_eq!(gate.is_between_units(), whole);
        }
    }

    #[test]
    fn a_gap_a_repeat_and_a_swap_are_named() {
        for (events, what) in [
            (vec![event(2, 2)], "after position 0 comes 2"),
            (vec![event(1, 1), event(1, 1)], "after position 1 comes 1"),
            (vec![event(1, 1), event(3, 3)], "after position 1 comes 3"),
        ] {
            assert_eq!(flaw(&events).unwrap().to_string(), what);
        }
    }

    #[test]
    fn a_unit_of_work_that_does_not_add_up_is_named() {
        for events in [vec![event(1, 0)], vec![event(1, 2), event(2, 3)], vec![event(1, 3), event(2, 2)]] {
            assert!(matches!(flaw(&events), Some(Flaw::Unit { .. })), "{events:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let altered = |change: fn(&mut StoredEvent)| {
            let mut event = event(1, 1);
            change(&mut event);
            flaw(&[event]).unwrap()
        };
        assert!(matches!(altered(|event| event.payload.push('x')), Flaw::Unreadable(_)));
        assert!(matches!(altered(|event| event.aggregate_type = "ghost".to_owned()), Flaw::Unreadable(_)));
        assert!(matches!(altered(|event| event.aggregate_id = "me".to_owned()), Flaw::Stray { .. }));
        assert!(matches!(
            altered(|event| event.aggregate_id = event.aggregate_id.to_uppercase().replace('0', "A")),
            Flaw::Stray { .. }
        ));
        assert!(matches!(altered(|event| event.recorded_at = StoredTime(i64::MAX)), Flaw::Time(1)));
        assert!(matches!(altered(|event| event.event_type = "AccountBlocked".to_owned()), Flaw::Misnamed { .. }));
    }
}
