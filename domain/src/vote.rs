//! Somebody finds a review helpful.
//!
//! `Absent ⇄ Cast`, a stream for each account and review, so that nothing of it touches the review. Invariant: it counts
//! once, however often it is said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ReviewId, VoteId};

/// What is asked of a vote.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Be what is said, or the opposite of what it is.
    Turn {
        /// Who finds it helpful, or no more.
        voter: AccountId,
        /// What.
        review: ReviewId,
        /// Whether it is; the opposite of what it was unless told.
        helpful: Option<bool>,
    },
}

/// What happens to a vote. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Somebody finds a review helpful.
    VoteCast {
        /// Who.
        voter: AccountId,
        /// Which.
        review: ReviewId,
    },
    /// They do so no more.
    VoteWithdrawn {
        /// Who.
        voter: AccountId,
        /// Which.
        review: ReviewId,
    },
}

event_versions!(Event { VoteCast = "1", VoteWithdrawn = "1" });

/// A vote refuses nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {}

/// A vote.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Vote {
    /// It does not count.
    #[default]
    Absent,
    /// It counts.
    Cast,
}

impl Aggregate for Vote {
    const TYPE: &'static str = "vote";
    type Id = VoteId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Turn { voter, review, helpful }: Command) -> Result<Vec<Event>, Error> {
        let wanted = helpful.unwrap_or(*self == Self::Absent);
        Ok(match (self, wanted) {
            (Self::Absent, true) => vec![Event::VoteCast { voter, review }],
            (Self::Cast, false) => vec![Event::VoteWithdrawn { voter, review }],
            (Self::Cast, true) | (Self::Absent, false) => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        *self = match event {
            Event::VoteCast { .. } => Self::Cast,
            Event::VoteWithdrawn { .. } => Self::Absent,
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    #[test]
    fn a_vote_counts_once_and_turns_over_unless_told() {
        let (voter, review) = (AccountId(Uuid::from_u128(1)), ReviewId(Uuid::from_u128(2)));
        let turn = |helpful| Command::Turn { voter, review, helpful };
        let (cast, withdrawn) = (Event::VoteCast { voter, review }, Event::VoteWithdrawn { voter, review });
        for wanted in [None, Some(true)] {
            given::<Vote>([]).when(turn(wanted)).then([cast]);
            given::<Vote>([cast, withdrawn]).when(turn(wanted)).then([cast]);
        }
        for wanted in [None, Some(false)] {
            given::<Vote>([cast]).when(turn(wanted)).then([withdrawn]);
        }
        given::<Vote>([]).when(turn(Some(false))).then_nothing();
        given::<Vote>([cast]).when(turn(Some(true))).then_nothing();
    }
}
