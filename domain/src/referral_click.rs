//! Somebody has followed the link of an affiliate.
//!
//! A stream for each visitor, affiliate and day, whose name is a keyed hash: it tells neither who has clicked nor from
//! where. Invariant: it counts once, at the time of the first click of that day. Whoever presents its id afterwards, in
//! registering or in buying, came by that click.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ReferralClickId};

/// What is asked of a click.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Count it.
    Count {
        /// Whose link it was.
        affiliate: AccountId,
        /// The time of the decision.
        now: Timestamp,
    },
}

/// What happens to a click. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Somebody has clicked, for the first time on this day.
    ReferralClicked {
        /// Whose link it was.
        affiliate: AccountId,
        /// When.
        at: Timestamp,
    },
}

event_versions!(Event { ReferralClicked = "1" });

/// A click refuses nothing.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {}

/// A click.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum ReferralClick {
    /// Nobody has clicked.
    #[default]
    Absent,
    /// It is counted.
    Counted {
        /// Whose link it was.
        affiliate: AccountId,
        /// When.
        at: Timestamp,
    },
}

impl Aggregate for ReferralClick {
    const TYPE: &'static str = "referral_click";
    type Id = ReferralClickId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Count { affiliate, now }: Command) -> Result<Vec<Event>, Error> {
        Ok(match self {
            Self::Absent => vec![Event::ReferralClicked { affiliate, at: now }],
            Self::Counted { .. } => vec![],
        })
    }

    fn evolve(&mut self, &Event::ReferralClicked { affiliate, at }: &Event) {
        *self = Self::Counted { affiliate, at };
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    #[test]
    fn a_click_counts_once_at_its_first_time() {
        let (affiliate, now) = (AccountId(Uuid::from_u128(1)), Timestamp::default());
        let clicked = Event::ReferralClicked { affiliate, at: now };
        given::<ReferralClick>([]).when(Command::Count { affiliate, now }).then([clicked]);
        let later = now + TimeDelta::hours(1);
        given::<ReferralClick>([clicked]).when(Command::Count { affiliate, now: later }).then_nothing();
    }
}
