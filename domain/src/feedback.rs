//! How a buyer was served with an order: by its seller, and by the marketplace.
//!
//! `Ungiven → Given`; its id is the order's, so it is given once. The comments are sealed with the buyer's key. When an
//! order may be spoken of, is said by whoever knows the order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, OrderId};
use crate::rating::Rating;
use crate::sealed::Sealed;

/// The longest comment, in characters. What is sealed cannot be measured here.
pub const LONGEST_COMMENT: usize = 2_000;

/// What is asked of the feedback about an order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Give it.
    Give {
        /// Who has bought.
        buyer: AccountId,
        /// Who has sold.
        seller: AccountId,
        /// How it was.
        ratings: Ratings,
        /// What the buyer says of the seller, to everybody.
        comment: Option<Sealed<String>>,
        /// What the buyer says of the marketplace, to staff.
        platform_comment: Option<Sealed<String>>,
    },
}

/// How a buyer was served. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ratings {
    /// How the seller has answered.
    pub communication: Rating,
    /// How fast and how well it came.
    pub shipping: Rating,
    /// Whether it was what was offered.
    pub accuracy: Rating,
    /// How the marketplace has served.
    pub platform: Rating,
}

/// What happens to the feedback about an order. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was given.
    FeedbackGiven {
        /// By whom.
        buyer: AccountId,
        /// About whom.
        seller: AccountId,
        /// How it was.
        ratings: Ratings,
        /// What the buyer says of the seller, to everybody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<Sealed<String>>,
        /// What the buyer says of the marketplace, to staff.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        platform_comment: Option<Sealed<String>>,
    },
}

event_versions!(Event { FeedbackGiven = "1" });

/// Why feedback refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// One order, one feedback.
    #[error("there is feedback about this order already")]
    AlreadyGiven,
    /// A field was sealed with somebody else's key, and would be forgotten with the wrong person.
    #[error("a comment is sealed for somebody else")]
    SealedForAnother,
}

/// The feedback about an order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Feedback {
    /// There is none.
    #[default]
    Ungiven,
    /// It was given.
    Given,
}

impl Aggregate for Feedback {
    const TYPE: &'static str = "feedback";
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let Command::Give { buyer, seller, ratings, comment, platform_comment } = command;
        let is_foreign = [&comment, &platform_comment].into_iter().flatten().any(|field| field.of != buyer);
        match self {
            Self::Given => Err(Error::AlreadyGiven),
            Self::Ungiven if is_foreign => Err(Error::SealedForAnother),
            Self::Ungiven => Ok(vec![Event::FeedbackGiven { buyer, seller, ratings, comment, platform_comment }]),
        }
    }

    fn evolve(&mut self, Event::FeedbackGiven { .. }: &Event) {
        *self = Self::Given;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn ratings() -> Ratings {
        let [communication, shipping, accuracy, platform] = [1, 2, 3, 5].map(|stars: u8| stars.try_into().unwrap());
        Ratings { communication, shipping, accuracy, platform }
    }

    fn comment(of: AccountId) -> Sealed<String> {
        Sealed::from_ciphertext(of, "text".to_owned())
    }

    fn give(comment: Option<Sealed<String>>, platform_comment: Option<Sealed<String>>) -> Command {
        Command::Give { buyer: ANN, seller: BOB, ratings: ratings(), comment, platform_comment }
    }

    #[test]
    fn an_order_has_feedback_once() {
        let (comment, platform_comment) = (Some(comment(ANN)), None);
        let (buyer, seller, ratings) = (ANN, BOB, ratings());
        let given_once = Event::FeedbackGiven { buyer, seller, ratings, comment: comment.clone(), platform_comment };
        given::<Feedback>([]).when(give(comment.clone(), None)).then([given_once]);
        given::<Feedback>([]).and(give(None, None)).when(give(comment, None)).then_refused(Error::AlreadyGiven);
    }

    #[test]
    fn what_is_sealed_for_somebody_else_is_refused() {
        for give in [give(Some(comment(BOB)), None), give(Some(comment(ANN)), Some(comment(BOB)))] {
            given::<Feedback>([]).when(give).then_refused(Error::SealedForAnother);
        }
    }
}
