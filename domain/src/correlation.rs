//! What a payment provider's name for something stands for here.
//!
//! `Unknown → Known`, once and for ever. Providers tell of things by their own names: of a dispute by that of the charge,
//! of a refund by its own. The stream's id follows from the provider and the name, so whoever hears a name finds what it
//! stands for by a plain look, and it is noted in the commit that hears the name first. Our own operations are noted so,
//! too, where they do not tell by themselves what they belong to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{ChargeId, CorrelationId, RefundId, WalletId, WithdrawalId};

/// What is asked of a correlation.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Remember what a name stands for.
    Note {
        /// What.
        subject: Subject,
    },
}

/// What a name may stand for. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Money brought in, or disputed.
    Charge(ChargeId),
    /// Money on its way back to where it was charged.
    Refund {
        /// What was charged.
        charge: ChargeId,
        /// The way back.
        refund: RefundId,
    },
    /// Money sent out of a wallet.
    Withdrawal {
        /// The wallet.
        wallet: WalletId,
        /// The attempt.
        withdrawal: WithdrawalId,
    },
}

/// What happens to a correlation. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It is known what a name stands for.
    Correlated {
        /// What.
        subject: Subject,
    },
}

event_versions!(Event { Correlated = "1" });

/// Why a correlation refuses: it never does, the first word counts.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {}

/// A correlation.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Correlation {
    /// Nothing is known by this name.
    #[default]
    Unknown,
    /// It stands for this.
    Known(Subject),
}

impl Correlation {
    /// What the name stands for, if that is known.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Unknown => None,
            Self::Known(subject) => Some(*subject),
        }
    }
}

impl Aggregate for Correlation {
    const TYPE: &'static str = "correlation";
    type Id = CorrelationId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Note { subject }: Command) -> Result<Vec<Event>, Error> {
        match self {
            Self::Unknown => Ok(vec![Event::Correlated { subject }]),
            Self::Known(_) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, Event::Correlated { subject }: &Event) {
        if *self == Self::Unknown {
            *self = Self::Known(*subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    #[test]
    fn the_first_word_counts_and_a_name_stands_for_nothing_else_later() {
        let subjects = [1, 2].map(|n| Subject::Charge(ChargeId(Uuid::from_u128(n))));
        let noted = || given::<Correlation>([]).and(Command::Note { subject: subjects[0] });
        given::<Correlation>([])
            .when(Command::Note { subject: subjects[0] })
            .then([Event::Correlated { subject: subjects[0] }]);
        noted().when(Command::Note { subject: subjects[0] }).then_nothing();
        noted().when(Command::Note { subject: subjects[1] }).then_nothing();
        assert_eq!(noted().state().subject(), Some(subjects[0]));
    }
}
