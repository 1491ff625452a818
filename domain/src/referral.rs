//! By whose link an account came here last.
//!
//! `Unreferred → Referred`, again with every later click: the last one counts, whoever's it is. Invariant: a click never
//! gives way to an older one. How long a click counts, the [`crate::commission`] rules say when something is bought.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ReferralClickId};

/// What is asked of a referral.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Take a click of the account in.
    Follow {
        /// Which.
        source: Source,
    },
}

/// By which click an account came. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Whose link it was.
    pub affiliate: AccountId,
    /// The click.
    pub click: ReferralClickId,
    /// When that was.
    pub clicked_at: Timestamp,
}

/// What happens to a referral. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// The account came by this click.
    AccountReferred {
        /// Which.
        source: Source,
    },
}

event_versions!(Event { AccountReferred = "1" });

/// A referral refuses nothing.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {}

/// A referral.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Referral {
    /// The account came by itself.
    #[default]
    Unreferred,
    /// It came by somebody's link.
    Referred {
        /// By which click, the last one.
        source: Source,
    },
}

impl Referral {
    /// By which click the account came last.
    pub fn source(self) -> Option<Source> {
        match self {
            Self::Unreferred => None,
            Self::Referred { source } => Some(source),
        }
    }
}

impl Aggregate for Referral {
    const TYPE: &'static str = "referral";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Follow { source }: Command) -> Result<Vec<Event>, Error> {
        Ok(match self {
            Self::Referred { source: last } if source.clicked_at <= last.clicked_at => vec![],
            Self::Unreferred | Self::Referred { .. } => vec![Event::AccountReferred { source }],
        })
    }

    fn evolve(&mut self, &Event::AccountReferred { source }: &Event) {
        *self = Self::Referred { source };
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    fn source(affiliate: u128, hours: i64) -> Source {
        Source {
            affiliate: AccountId(Uuid::from_u128(affiliate)),
            click: ReferralClickId(Uuid::from_u128(affiliate + 10)),
            clicked_at: Timestamp::default() + TimeDelta::hours(hours),
        }
    }

    #[test]
    fn the_last_click_counts_whoevers_it_is() {
        let (first, second) = (source(1, 0), source(2, 1));
        let referred = |source| Event::AccountReferred { source };
        given::<Referral>([]).when(Command::Follow { source: first }).then([referred(first)]);
        let followed = || given::<Referral>([referred(first)]);
        followed().when(Command::Follow { source: second }).then([referred(second)]);
        followed().when(Command::Follow { source: first }).then_nothing();
        let both = given::<Referral>([referred(first), referred(second)]);
        assert_eq!(both.state().source(), Some(second));
        both.when(Command::Follow { source: first }).then_nothing();
    }
}
