//! Somebody has looked at a listing.
//!
//! A stream for each viewer, listing and day, whose name is a keyed hash: it tells neither who has looked nor from where.
//! Invariant: it counts once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{ListingId, ViewId};

/// What is asked of a view.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Count it.
    Count {
        /// What was looked at.
        listing: ListingId,
    },
}

/// What happens to a view. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Somebody has looked, for the first time on this day.
    ListingViewed {
        /// At what.
        listing: ListingId,
    },
}

event_versions!(Event { ListingViewed = "1" });

/// A view refuses nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {}

/// A view.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum View {
    /// Nobody has looked.
    #[default]
    Absent,
    /// It is counted.
    Counted,
}

impl Aggregate for View {
    const TYPE: &'static str = "view";
    type Id = ViewId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Count { listing }: Command) -> Result<Vec<Event>, Error> {
        Ok(match self {
            Self::Absent => vec![Event::ListingViewed { listing }],
            Self::Counted => vec![],
        })
    }

    fn evolve(&mut self, Event::ListingViewed { .. }: &Event) {
        *self = Self::Counted;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    #[test]
    fn a_view_counts_once() {
        let listing = ListingId(Uuid::from_u128(2));
        let viewed = Event::ListingViewed { listing };
        given::<View>([]).when(Command::Count { listing }).then([viewed]);
        given::<View>([viewed]).when(Command::Count { listing }).then_nothing();
    }
}
