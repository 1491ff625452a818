//! Somebody who sends buyers here for a commission, and the referral code that tells them.
//!
//! `NotEnrolled → Enrolled`. The code is drawn by chance when the account enrols and never changes; a [`crate::claim`] in
//! the same commit sees to it that no two accounts have the same. It is sealed: whoever is forgotten has no code any
//! more, and the claim is given up. What the code brings is told elsewhere: clicks by [`crate::referral_click`], who
//! follows whom by [`crate::referral`], what is earned by [`crate::commission`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ClaimId};
use crate::sealed::Sealed;

/// What is asked of an affiliate.
#[derive(Clone, Debug)]
pub enum Command {
    /// Become one.
    Enrol {
        /// The account's own id: the code must be sealed for it.
        owner: AccountId,
        /// The referral code.
        code: Sealed<String>,
        /// The claim on it.
        claim: ClaimId,
    },
}

/// What happens to an affiliate. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// The account earns with whom it sends here.
    AffiliateEnrolled {
        /// The referral code.
        code: Sealed<String>,
        /// The claim on it.
        claim: ClaimId,
    },
}

event_versions!(Event { AffiliateEnrolled = "1" });

/// Why an affiliate refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// An account has one code.
    #[error("the account has a referral code already")]
    AlreadyEnrolled,
    /// What is sealed would be read with somebody else's key.
    #[error("a sealed field belongs to somebody else")]
    SealedForAnother,
    /// Nobody has this code, or nobody who may earn with it.
    #[error("there is no such referral code")]
    NoSuchCode,
    /// Nobody refers themselves.
    #[error("this is your own referral code")]
    OwnCode,
}

/// An affiliate.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Affiliate {
    /// The account earns no commissions.
    #[default]
    NotEnrolled,
    /// It has a referral code.
    Enrolled {
        /// The code.
        code: Sealed<String>,
        /// The claim on it.
        claim: ClaimId,
    },
}

impl Aggregate for Affiliate {
    const TYPE: &'static str = "affiliate";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, Command::Enrol { owner, code, claim }: Command) -> Result<Vec<Event>, Error> {
        match self {
            Self::NotEnrolled if code.of != owner => Err(Error::SealedForAnother),
            Self::NotEnrolled => Ok(vec![Event::AffiliateEnrolled { code, claim }]),
            Self::Enrolled { .. } => Err(Error::AlreadyEnrolled),
        }
    }

    fn evolve(&mut self, Event::AffiliateEnrolled { code, claim }: &Event) {
        *self = Self::Enrolled { code: code.clone(), claim: *claim };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const CLAIM: ClaimId = ClaimId(Uuid::from_u128(3));

    fn code(of: AccountId) -> Sealed<String> {
        Sealed::from_ciphertext(of, "sealed".to_owned())
    }

    #[test]
    fn an_account_enrols_once() {
        let enrolled = Event::AffiliateEnrolled { code: code(ANN), claim: CLAIM };
        let enrol = || Command::Enrol { owner: ANN, code: code(ANN), claim: CLAIM };
        given::<Affiliate>([]).when(enrol()).then([enrolled.clone()]);
        given::<Affiliate>([enrolled]).when(enrol()).then_refused(Error::AlreadyEnrolled);
    }

    #[test]
    fn a_code_is_sealed_for_whose_it_is() {
        let enrol = Command::Enrol { owner: ANN, code: code(BOB), claim: CLAIM };
        given::<Affiliate>([]).when(enrol).then_refused(Error::SealedForAnother);
    }
}
