//! Somebody has followed the link of an affiliate.
//!
//! A stream for each visitor, affiliate and day, whose name is a keyed hash: it tells neither who has clicked nor from
//! where. It counts once, and is dated by its last click, since another affiliate's may have come between: whoever
//! presents its id afterwards, in registering or in buying, came by that one. Invariant: it has [`MOST_A_DAY`] events at
//! most, however often somebody clicks; what comes after that leaves the date as it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ReferralClickId};

/// So many clicks of one visitor on one affiliate's links are noted in a day.
pub const MOST_A_DAY: u32 = 20;

/// What is asked of a click.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Count it, or note that it was repeated.
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
    /// The same visitor has clicked again on this day, which does not count.
    ReferralClickRepeated {
        /// Whose link it was.
        affiliate: AccountId,
        /// When.
        at: Timestamp,
    },
}

event_versions!(Event { ReferralClicked = "1", ReferralClickRepeated = "1" });

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
        /// When that was last.
        at: Timestamp,
        /// How many clicks are noted.
        noted: u32,
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
            Self::Counted { at, noted, .. } if *noted < MOST_A_DAY && *at < now => {
                vec![Event::ReferralClickRepeated { affiliate, at: now }]
            }
            Self::Counted { .. } => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        let before = match self {
            Self::Absent => 0,
            Self::Counted { noted, .. } => *noted,
        };
        match *event {
            Event::ReferralClicked { affiliate, at } | Event::ReferralClickRepeated { affiliate, at } => {
                *self = Self::Counted { affiliate, at, noted: before.saturating_add(1) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Given, given};

    const ANN: AccountId = AccountId(Uuid::from_u128(1));

    fn count(minutes: i64) -> Command {
        Command::Count { affiliate: ANN, now: Timestamp::default() + TimeDelta::minutes(minutes) }
    }

    fn clicked() -> Event {
        Event::ReferralClicked { affiliate: ANN, at: Timestamp::default() }
    }

    #[test]
    fn a_click_counts_once_and_is_dated_by_the_last() {
        given::<ReferralClick>([]).when(count(0)).then([clicked()]);
        let at = Timestamp::default() + TimeDelta::minutes(1);
        let repeated = Event::ReferralClickRepeated { affiliate: ANN, at };
        given::<ReferralClick>([clicked()]).when(count(1)).then([repeated]);
        let twice = given::<ReferralClick>([clicked(), repeated]);
        assert_eq!(*twice.state(), ReferralClick::Counted { affiliate: ANN, at, noted: 2 });
        twice.when(count(1)).then_nothing();
    }

    #[test]
    fn one_visitor_causes_so_many_events_a_day_and_no_more() {
        let click = (0..1_000).map(count).fold(given::<ReferralClick>([]), Given::and);
        let at = Timestamp::default() + TimeDelta::minutes(i64::from(MOST_A_DAY) - 1);
        assert_eq!(*click.state(), ReferralClick::Counted { affiliate: ANN, at, noted: MOST_A_DAY });
        click.when(count(1_000)).then_nothing();
    }
}
