//! With how many people somebody has begun to talk: one stream per account, with its id.
//!
//! Whoever opens a chat writes to somebody who has not asked for it. So that nobody does so to everybody, an account
//! opens at most [`MOST_A_DAY`] chats on a day (UTC). Invariant: never more on a day than that.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ChatId};

/// So many chats may be opened on a day.
pub const MOST_A_DAY: u32 = 50;

/// What is asked of somebody's contacts.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Count one more.
    Begin {
        /// The chat that is opened.
        chat: ChatId,
        /// The time of the decision.
        now: Timestamp,
    },
}

/// What happens to somebody's contacts. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// They have begun to talk to somebody.
    ContactBegun {
        /// In which chat.
        chat: ChatId,
        /// When.
        at: Timestamp,
    },
}

event_versions!(Event { ContactBegun = "1" });

/// Why no more are counted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There were enough on this day.
    #[error("no more than {maximum} chats may be opened on a day")]
    TooManyToday {
        /// How many there may be.
        maximum: u32,
    },
}

/// With how many people somebody has begun to talk.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Contacts {
    /// The last day on which they have.
    day: Option<NaiveDate>,
    /// With how many on that day.
    begun: u32,
}

impl Contacts {
    fn begun_on(self, day: NaiveDate) -> u32 {
        if self.day == Some(day) { self.begun } else { 0 }
    }
}

impl Aggregate for Contacts {
    const TYPE: &'static str = "contacts";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Begin { chat, now }: Command) -> Result<Vec<Event>, Error> {
        if self.begun_on(now.date_naive()) >= MOST_A_DAY {
            return Err(Error::TooManyToday { maximum: MOST_A_DAY });
        }
        Ok(vec![Event::ContactBegun { chat, at: now }])
    }

    fn evolve(&mut self, Event::ContactBegun { chat: _, at }: &Event) {
        let day = at.date_naive();
        *self = Self { day: Some(day), begun: self.begun_on(day) + 1 };
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    #[test]
    fn nobody_begins_to_talk_to_everybody_on_one_day() {
        let begin = |hours| {
            let now = Timestamp::default() + TimeDelta::hours(hours);
            Command::Begin { chat: ChatId(Uuid::from_u128(1)), now }
        };
        let busy = || (0..MOST_A_DAY).fold(given::<Contacts>([]), |given, _| given.and(begin(1)));
        busy().when(begin(23)).then_refused(Error::TooManyToday { maximum: MOST_A_DAY });
        assert!(busy().state().decide(begin(24)).is_ok());
        let tomorrow = busy().and(begin(24));
        assert_eq!(tomorrow.state().begun, 1);
    }
}
