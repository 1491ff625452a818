//! The marketplace's share of a sale where nothing else says another: what the staff have made of the setting.
//!
//! There is one, it begins when staff first say something of it, and never ends. While they have said nothing, or have
//! taken back what they said, the setting of the deployment counts. What a category, a plan or a seller is charged is
//! kept by these. No order that was placed before changes with any of it: its rate is frozen in its lines. Invariant: a
//! fee is part of the whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, FeeRuleId};
use crate::money::FULL_BPS;
use crate::sealed::Sealed;

/// What is asked of it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Charge this from now on, or what the deployment's setting says.
    Set {
        /// The marketplace's share of a sale, in basis points.
        fee_bps: Option<u32>,
        /// Who of the staff asks.
        by: AccountId,
        /// Why, sealed with the key of who asks.
        reason: Sealed<String>,
    },
}

/// What happens to it. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// What is sold from now on is charged another fee.
    FeeSet {
        /// The marketplace's share of a sale, in basis points; what the deployment's setting says unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fee_bps: Option<u32>,
        /// Who of the staff has asked.
        by: AccountId,
        /// Why.
        reason: Sealed<String>,
    },
}

event_versions!(Event { FeeSet = "1" });

/// Why it refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// A share is part of a whole.
    #[error("a fee is at most {maximum} basis points; {offered} were offered")]
    FeeOutOfRange {
        /// All of it.
        maximum: u32,
        /// What was asked.
        offered: u32,
    },
}

/// The rule.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct FeeRule {
    /// The marketplace's share of a sale, in basis points, if the staff have said another than the setting does.
    pub fee_bps: Option<u32>,
}

impl Aggregate for FeeRule {
    const TYPE: &'static str = "fee_rule";
    type Id = FeeRuleId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let Command::Set { fee_bps, by, reason } = command;
        match fee_bps {
            Some(offered) if offered > FULL_BPS => Err(Error::FeeOutOfRange { maximum: FULL_BPS, offered }),
            fee_bps if fee_bps == self.fee_bps => Ok(vec![]),
            fee_bps => Ok(vec![Event::FeeSet { fee_bps, by, reason }]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        let Event::FeeSet { fee_bps, .. } = event;
        self.fee_bps = *fee_bps;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const CLERK: AccountId = AccountId(Uuid::from_u128(9));

    fn reason() -> Sealed<String> {
        Sealed::from_ciphertext(CLERK, "why".to_owned())
    }

    fn set(fee_bps: Option<u32>) -> Command {
        Command::Set { fee_bps, by: CLERK, reason: reason() }
    }

    fn was_set(fee_bps: Option<u32>) -> Event {
        Event::FeeSet { fee_bps, by: CLERK, reason: reason() }
    }

    #[test]
    fn a_fee_counts_until_another_is_set_or_it_is_taken_back() {
        given::<FeeRule>([]).when(set(Some(250))).then([was_set(Some(250))]);
        given::<FeeRule>([was_set(Some(250))]).when(set(Some(0))).then([was_set(Some(0))]);
        given::<FeeRule>([was_set(Some(250))]).when(set(None)).then([was_set(None)]);
    }

    #[test]
    fn what_counts_already_is_not_set_again() {
        given::<FeeRule>([]).when(set(None)).then_nothing();
        given::<FeeRule>([was_set(Some(250))]).when(set(Some(250))).then_nothing();
    }

    #[test]
    fn a_fee_is_at_most_all_of_it() {
        given::<FeeRule>([]).when(set(Some(10_000))).then([was_set(Some(10_000))]);
        let wrong = Error::FeeOutOfRange { maximum: 10_000, offered: 10_001 };
        given::<FeeRule>([]).when(set(Some(10_001))).then_refused(wrong);
    }
}
