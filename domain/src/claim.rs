//! One value that only one owner may have: an e-mail address, a user name.
//!
//! `Free → Claimed → Free`. The stream's id is a keyed hash of kind and value, so the log does not tell the value, and
//! claiming in the same commit as what needs it makes uniqueness a plain decision.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ClaimId};

/// What is asked of a claim.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Take the value.
    Claim {
        /// What kind of value it is.
        kind: Kind,
        /// Who takes it.
        owner: AccountId,
    },
    /// Give the value up.
    Release {
        /// Who gives it up.
        owner: AccountId,
    },
}

/// What kind of value is claimed. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The address that an account logs in with.
    Email,
    /// The public name of an account.
    UserName,
    /// The name of a store in addresses.
    StoreSlug,
    /// Who somebody is to an issuer of identities that they log in through.
    Identity,
    /// What tells whom an affiliate has sent here.
    ReferralCode,
}

/// What happens to a claim. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// The value is taken.
    ValueClaimed {
        /// What kind of value it is.
        kind: Kind,
        /// Who has it.
        owner: AccountId,
    },
    /// The value is free again.
    ValueReleased {
        /// Who had it.
        owner: AccountId,
    },
}

event_versions!(Event { ValueClaimed = "2" | "1", ValueReleased = "1" });

/// Why a claim refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// Somebody else has the value.
    #[error("this value is taken")]
    Taken {
        /// What kind of value it is.
        kind: Kind,
    },
    /// Only the owner gives a value up.
    #[error("this value belongs to somebody else")]
    NotYours,
}

/// A claim.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Claim {
    /// Nobody has the value.
    #[default]
    Free,
    /// Somebody has it.
    Claimed {
        /// Who.
        owner: AccountId,
    },
}

impl Claim {
    /// Who has the value.
    pub fn owner(self) -> Option<AccountId> {
        match self {
            Self::Free => None,
            Self::Claimed { owner } => Some(owner),
        }
    }
}

impl Aggregate for Claim {
    const TYPE: &'static str = "claim";
    type Id = ClaimId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (*self, command) {
            (Self::Free, Command::Claim { kind, owner }) => Ok(vec![Event::ValueClaimed { kind, owner }]),
            (Self::Claimed { owner: holder }, Command::Claim { owner, .. }) if holder == owner => Ok(vec![]),
            (Self::Claimed { .. }, Command::Claim { kind, .. }) => Err(Error::Taken { kind }),
            (Self::Claimed { owner: holder }, Command::Release { owner }) if holder == owner => {
                Ok(vec![Event::ValueReleased { owner }])
            }
            (Self::Claimed { .. }, Command::Release { .. }) => Err(Error::NotYours),
            (Self::Free, Command::Release { .. }) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match *event {
            Event::ValueClaimed { owner, .. } => Self::Claimed { owner },
            Event::ValueReleased { .. } => Self::Free,
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const KIND: Kind = Kind::Email;

    #[test]
    fn a_free_value_is_taken_by_the_first() {
        given::<Claim>([])
            .when(Command::Claim { kind: KIND, owner: ANN })
            .then([Event::ValueClaimed { kind: KIND, owner: ANN }]);
    }

    #[test]
    fn a_taken_value_is_refused_to_others_and_nothing_new_to_its_owner() {
        let taken = || given::<Claim>([Event::ValueClaimed { kind: KIND, owner: ANN }]);
        taken().when(Command::Claim { kind: KIND, owner: BOB }).then_refused(Error::Taken { kind: KIND });
        taken().when(Command::Claim { kind: KIND, owner: ANN }).then_nothing();
        taken().when(Command::Release { owner: BOB }).then_refused(Error::NotYours);
    }

    #[test]
    fn a_released_value_is_free_for_anybody() {
        given::<Claim>([Event::ValueClaimed { kind: KIND, owner: ANN }, Event::ValueReleased { owner: ANN }])
            .when(Command::Claim { kind: KIND, owner: BOB })
            .then([Event::ValueClaimed { kind: KIND, owner: BOB }]);
        given::<Claim>([]).when(Command::Release { owner: ANN }).then_nothing();
    }
}
