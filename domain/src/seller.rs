//! What the marketplace keeps of somebody who sells: how many listings they have on offer, and a fee of their own.
//!
//! It begins with the first listing and never ends. A listing is counted in the commit that publishes it, or that gives
//! it to the staff to look at first, and no more in the commit that takes it off or gives it back; while it is paused it
//! counts. So it is known in every decision how many there are, and no seller has more on offer than their plan allows,
//! however many are published at once. Who has more already, because the plan has changed, keeps those and adds none.
//! Which they are, the listings themselves say: one is published once and ends once, so a number is enough, however many
//! there are. Invariant: a fee is part of the whole.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ListingId};
use crate::money::FULL_BPS;
use crate::sealed::Sealed;

/// What is asked of it.
#[derive(Clone, Debug)]
pub enum Command {
    /// Count a listing that is on offer.
    Offer {
        /// Which.
        listing: ListingId,
        /// How many there may be; as many as there are unless told.
        most: Option<u32>,
    },
    /// Count a listing no more that is not on offer.
    Withdraw {
        /// Which.
        listing: ListingId,
    },
    /// Charge a fee of its own from now on, or the one that others are charged.
    AgreeFee {
        /// The marketplace's share of a sale, in basis points.
        fee_bps: Option<u32>,
        /// Who of the staff asks.
        by: AccountId,
        /// Why, sealed with the seller's key.
        reason: Sealed<String>,
    },
}

/// What happens to it. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// A listing is on offer.
    OfferAdded {
        /// Which.
        listing: ListingId,
    },
    /// It is not on offer any more.
    OfferWithdrawn {
        /// Which.
        listing: ListingId,
    },
    /// What it sells from now on is charged another fee.
    FeeAgreed {
        /// The marketplace's share of a sale, in basis points; the one that others are charged unless told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fee_bps: Option<u32>,
        /// Who of the staff has asked.
        by: AccountId,
        /// Why.
        reason: Sealed<String>,
    },
}

event_versions!(Event { OfferAdded = "1", OfferWithdrawn = "1", FeeAgreed = "1" });

/// Why it refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// The plan allows no more.
    #[error("the plan allows {most} listings on offer, and there are {there}")]
    TooManyOffers {
        /// How many it allows.
        most: u32,
        /// How many there are.
        there: u32,
    },
    /// A share is part of a whole.
    #[error("a fee is at most {maximum} basis points; {offered} were offered")]
    FeeOutOfRange {
        /// All of it.
        maximum: u32,
        /// What was asked.
        offered: u32,
    },
}

/// Somebody who sells.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seller {
    /// How many listings are on offer.
    pub offers: u32,
    /// The marketplace's share of a sale, in basis points, if it is one of its own.
    pub fee_bps: Option<u32>,
}

impl Aggregate for Seller {
    const TYPE: &'static str = "seller";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Offer { listing, most } => match most {
                Some(most) if self.offers >= most => Err(Error::TooManyOffers { most, there: self.offers }),
                _ => Ok(vec![Event::OfferAdded { listing }]),
            },
            // It was offered before anybody counted.
            Command::Withdraw { .. } if self.offers == 0 => Ok(vec![]),
            Command::Withdraw { listing } => Ok(vec![Event::OfferWithdrawn { listing }]),
            Command::AgreeFee { fee_bps: Some(offered), .. } if offered > FULL_BPS => {
                Err(Error::FeeOutOfRange { maximum: FULL_BPS, offered })
            }
            Command::AgreeFee { fee_bps, .. } if fee_bps == self.fee_bps => Ok(vec![]),
            Command::AgreeFee { fee_bps, by, reason } => Ok(vec![Event::FeeAgreed { fee_bps, by, reason }]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::OfferAdded { .. } => self.offers = self.offers.saturating_add(1),
            Event::OfferWithdrawn { .. } => self.offers = self.offers.saturating_sub(1),
            Event::FeeAgreed { fee_bps, .. } => self.fee_bps = *fee_bps,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const CLERK: AccountId = AccountId(Uuid::from_u128(9));

    fn listing(number: u128) -> ListingId {
        ListingId(Uuid::from_u128(number))
    }

    fn offer(number: u128) -> Command {
        Command::Offer { listing: listing(number), most: Some(2) }
    }

    fn withdraw(number: u128) -> Command {
        Command::Withdraw { listing: listing(number) }
    }

    #[test]
    fn there_are_as_many_on_offer_as_the_plan_allows() {
        let two = || given::<Seller>([]).and(offer(1)).and(offer(2));
        two().when(offer(3)).then_refused(Error::TooManyOffers { most: 2, there: 2 });
        let unlimited = Command::Offer { listing: listing(3), most: None };
        two().when(unlimited.clone()).then([Event::OfferAdded { listing: listing(3) }]);
        // More than a smaller plan allows stay, and none comes.
        two()
            .and(unlimited.clone())
            .and(withdraw(1))
            .when(offer(4))
            .then_refused(Error::TooManyOffers { most: 2, there: 2 });
        two()
            .and(unlimited)
            .and(withdraw(1))
            .and(withdraw(3))
            .when(offer(4))
            .then([Event::OfferAdded { listing: listing(4) }]);
    }

    #[test]
    fn what_nobody_has_counted_is_not_withdrawn() {
        given::<Seller>([]).and(offer(1)).when(withdraw(1)).then([Event::OfferWithdrawn { listing: listing(1) }]);
        given::<Seller>([]).and(offer(1)).and(withdraw(1)).when(withdraw(1)).then_nothing();
        given::<Seller>([]).when(withdraw(1)).then_nothing();
    }

    #[test]
    fn a_fee_is_agreed_until_it_is_another() {
        let reason = || Sealed::from_ciphertext(CLERK, "why".to_owned());
        let agree = |fee_bps| Command::AgreeFee { fee_bps, by: CLERK, reason: reason() };
        let agreed = |fee_bps| Event::FeeAgreed { fee_bps, by: CLERK, reason: reason() };
        given::<Seller>([]).when(agree(Some(50))).then([agreed(Some(50))]);
        given::<Seller>([agreed(Some(50))]).when(agree(Some(50))).then_nothing();
        given::<Seller>([agreed(Some(50))]).when(agree(None)).then([agreed(None)]);
        let wrong = Error::FeeOutOfRange { maximum: 10_000, offered: 10_001 };
        given::<Seller>([]).when(agree(Some(10_001))).then_refused(wrong);
    }
}
