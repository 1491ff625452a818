//! Something offered for sale, at a fixed price or by auction.
//!
//! `Absent → Draft → Active → Archived`, and a draft may be archived unpublished. The sale of an auction listing is
//! the [`crate::auction`] of the same id; its terms rest here until the listing is published. Invariants: what is
//! archived never comes back; the terms of an auction cannot change once it is published.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ListingId};
use crate::money::{Currency, Money};
use crate::stock::Sku;

/// What is asked of a listing.
#[derive(Clone, Debug)]
pub enum Command {
    /// Write it down.
    Draft {
        /// Who sells.
        seller: AccountId,
        /// What it is.
        details: Details,
        /// How it is sold.
        sale: Sale,
    },
    /// Change what it is, or its price. A field that is `None` stays as it is.
    Revise {
        /// Who asks.
        by: AccountId,
        /// The new values.
        changes: Changes,
    },
    /// Offer it.
    Publish {
        /// Who asks.
        by: AccountId,
    },
    /// Take it off, for good.
    Archive {
        /// Why.
        cause: ArchiveCause,
    },
}

/// What something is. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    /// In a few words.
    pub title: String,
    /// In many.
    pub description: String,
    /// The slug of its category.
    pub category: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// How used it is.
    pub condition: Condition,
    /// How it reaches its buyer.
    #[serde(default, skip_serializing_if = "Delivery::is_physical")]
    pub delivery: Delivery,
    /// What sending one piece costs the buyer; nothing if it is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping: Option<Money>,
}

/// How something reaches its buyer. Part of the storage format.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// It is shipped.
    #[default]
    Physical,
    /// It is handed over electronically and needs no shipping.
    Digital,
}

impl Delivery {
    /// Whether it is shipped.
    pub fn is_physical(&self) -> bool {
        *self == Self::Physical
    }
}

/// How used something is. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Never used.
    New,
    /// Used, and as good as new.
    LikeNew,
    /// Used, and shows it a little.
    Good,
    /// Used, and shows it.
    Fair,
    /// Does not work.
    ForParts,
}

/// How something is sold. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Sale {
    /// To whoever pays the price, while there is stock.
    FixedPrice {
        /// The price of a piece.
        price: Money,
        /// The forms in which it comes, such as sizes; none if there is only one.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        variants: Vec<Variant>,
    },
    /// To the highest bidder.
    Auction(AuctionPlan),
}

/// A form in which something comes. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Names it within the listing.
    pub sku: Sku,
    /// What sets it apart, such as `size: M`.
    pub options: BTreeMap<String, String>,
    /// Its price, if it is another than the listing's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
}

/// The wishes of a seller for an auction; they become [`crate::auction::Terms`] when the listing is published.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuctionPlan {
    /// The lowest first bid.
    pub start_price: Money,
    /// Below this secret price it is not sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_price: Option<Money>,
    /// Ends the auction at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buy_now_price: Option<Money>,
    /// When it starts; at its publication if this is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// How long it lasts from its start, in seconds.
    pub duration_s: u32,
}

impl AuctionPlan {
    /// When it starts and ends if it is published now.
    pub fn times(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let starts_at = self.starts_at.unwrap_or(now);
        (starts_at, starts_at + TimeDelta::seconds(i64::from(self.duration_s)))
    }
}

/// The parts of a listing that are to change. Part of the storage format.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// The new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The new category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The new brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// The new condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// The new way to its buyer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// The new cost of sending one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shipping: Option<Money>,
    /// The new way of sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sale: Option<Sale>,
}

/// Why a listing was taken off. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiveCause {
    /// Its seller took it off.
    Seller(AccountId),
    /// Its auction ended, with a winner or without.
    AuctionEnded,
    /// Its auction was called off.
    AuctionCancelled,
}

/// What happens to a listing. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was written down.
    ListingDrafted {
        /// Who sells.
        seller: AccountId,
        /// What it is.
        details: Details,
        /// How it is sold.
        sale: Sale,
    },
    /// It was changed.
    ListingRevised {
        /// The new values.
        changes: Changes,
    },
    /// It is offered.
    ListingPublished {},
    /// It is offered no more.
    ListingArchived {
        /// Why.
        cause: ArchiveCause,
    },
}

event_versions!(Event {
    ListingDrafted = "2" | "1",
    ListingRevised = "2" | "1",
    ListingPublished = "1",
    ListingArchived = "1",
});

/// Why a listing refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such listing, or it is somebody else's.
    #[error("there is no such listing")]
    NotFound,
    /// One id, one listing.
    #[error("the listing exists already")]
    AlreadyDrafted,
    /// A price is above zero.
    #[error("the price must be above zero; {offered} was offered")]
    PriceNotPositive {
        /// What was asked.
        offered: Money,
    },
    /// Sending something costs nothing, or more.
    #[error("the shipping charge must not be negative; {offered} was offered")]
    ShippingNegative {
        /// What was asked.
        offered: Money,
    },
    /// All amounts of a listing are in one currency.
    #[error("this listing is in {expected}, the amount is in {offered}")]
    WrongCurrency {
        /// The currency of the price.
        expected: Currency,
        /// The currency of the amount.
        offered: Currency,
    },
    /// Each variant has a name of its own.
    #[error("{variants} variants have {skus} different SKUs")]
    SkuRepeated {
        /// How many variants there are.
        variants: usize,
        /// How many names they have.
        skus: usize,
    },
    /// What is bought must exist in the form that is named.
    #[error("the listing does not come in this form: it has {variants} variants")]
    NoSuchVariant {
        /// How many variants there are.
        variants: usize,
    },
    /// It can be bought only while it is offered.
    #[error("the listing is not offered")]
    NotOffered,
    /// An auction is won, not bought.
    #[error("the listing is sold by auction")]
    SoldByAuction,
    /// It is off for good.
    #[error("the listing is archived")]
    Archived,
    /// Bidders rely on the terms.
    #[error("how a published auction is sold, sent and delivered cannot change")]
    AuctionPublished,
    /// An auction is called off, not archived.
    #[error("the auction of this listing must be cancelled first")]
    AuctionRunning,
}

/// A listing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Listing {
    /// Never written down.
    #[default]
    Absent,
    /// Written down, not offered.
    Draft(Offer),
    /// Offered.
    Active(Offer),
    /// Off for good.
    Archived(Offer),
}

/// What a listing decides by, and what an order freezes of it. The rest is shown by read models and decides nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Offer {
    /// Who sells.
    pub seller: AccountId,
    /// How it is sold.
    pub sale: Sale,
    /// What it is, in a few words.
    pub title: String,
    /// How it reaches its buyer.
    pub delivery: Delivery,
    /// What sending one piece costs.
    pub shipping: Option<Money>,
}

impl Listing {
    /// The offer, if the listing was ever written down.
    pub fn offer(&self) -> Result<&Offer, Error> {
        match self {
            Self::Absent => Err(Error::NotFound),
            Self::Draft(offer) | Self::Active(offer) | Self::Archived(offer) => Ok(offer),
        }
    }

    /// The offer, if the listing can be bought now.
    pub fn offered_to(&self, buyer: AccountId) -> Result<&Offer, Error> {
        match self {
            // What was never published is there for its seller alone.
            Self::Draft(offer) if offer.seller == buyer => Err(Error::NotOffered),
            Self::Absent | Self::Draft(_) => Err(Error::NotFound),
            Self::Active(offer) => Ok(offer),
            Self::Archived(_) => Err(Error::NotOffered),
        }
    }

    /// The offer, if the listing is `account`'s; somebody else's is as good as absent.
    pub fn owned_by(&self, account: AccountId) -> Result<&Offer, Error> {
        self.offer().and_then(|offer| if offer.seller == account { Ok(offer) } else { Err(Error::NotFound) })
    }
}

impl Aggregate for Listing {
    const TYPE: &'static str = "listing";
    type Id = ListingId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Absent, Command::Draft { seller, details, sale }) => {
                check_amounts(&sale, details.shipping)?;
                Ok(vec![Event::ListingDrafted { seller, details, sale }])
            }
            (_, Command::Draft { .. }) => Err(Error::AlreadyDrafted),
            (Self::Absent, Command::Revise { .. } | Command::Publish { .. } | Command::Archive { .. }) => {
                Err(Error::NotFound)
            }
            (_, Command::Revise { by, changes }) => {
                self.owned_by(by)?;
                self.revise(changes)
            }
            (_, Command::Publish { by }) => {
                self.owned_by(by)?;
                self.publish()
            }
            (_, Command::Archive { cause }) => self.archive(cause),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event) {
            (Self::Absent, Event::ListingDrafted { seller, details, sale }) => Self::Draft(Offer {
                seller: *seller,
                sale: sale.clone(),
                title: details.title.clone(),
                delivery: details.delivery,
                shipping: details.shipping,
            }),
            (Self::Draft(offer), Event::ListingRevised { changes }) => Self::Draft(offer.revised(changes)),
            (Self::Active(offer), Event::ListingRevised { changes }) => Self::Active(offer.revised(changes)),
            (Self::Draft(offer), Event::ListingPublished {}) => Self::Active(offer),
            (Self::Draft(offer) | Self::Active(offer), Event::ListingArchived { .. }) => Self::Archived(offer),
            // No decision leads here; a fold never fails.
            (
                state,
                Event::ListingDrafted { .. }
                | Event::ListingRevised { .. }
                | Event::ListingPublished {}
                | Event::ListingArchived { .. },
            ) => state,
        };
    }
}

impl Listing {
    fn revise(&self, changes: Changes) -> Result<Vec<Event>, Error> {
        match self {
            Self::Absent => Err(Error::NotFound),
            Self::Archived(_) => Err(Error::Archived),
            Self::Active(offer @ Offer { sale: Sale::Auction(_), .. }) if offer.is_resold_by(&changes) => {
                Err(Error::AuctionPublished)
            }
            Self::Active(_) if matches!(changes.sale, Some(Sale::Auction(_))) => Err(Error::AuctionPublished),
            Self::Draft(offer) | Self::Active(offer) => {
                let sale = changes.sale.as_ref().unwrap_or(&offer.sale);
                check_amounts(sale, changes.shipping.or(offer.shipping))?;
                let nothing = changes == Changes::default();
                Ok(if nothing { vec![] } else { vec![Event::ListingRevised { changes }] })
            }
        }
    }

    fn publish(&self) -> Result<Vec<Event>, Error> {
        match self {
            Self::Absent => Err(Error::NotFound),
            Self::Draft(_) => Ok(vec![Event::ListingPublished {}]),
            Self::Active(_) => Ok(vec![]),
            Self::Archived(_) => Err(Error::Archived),
        }
    }

    fn archive(&self, cause: ArchiveCause) -> Result<Vec<Event>, Error> {
        if let ArchiveCause::Seller(by) = cause {
            self.owned_by(by)?;
        }
        match (self, cause) {
            (Self::Absent, _) => Err(Error::NotFound),
            (Self::Active(Offer { sale: Sale::Auction(_), .. }), ArchiveCause::Seller(_)) => Err(Error::AuctionRunning),
            (Self::Draft(_) | Self::Active(_), _) => Ok(vec![Event::ListingArchived { cause }]),
            (Self::Archived(_), _) => Ok(vec![]),
        }
    }
}

impl Sale {
    /// The currency of all its amounts.
    pub fn currency(&self) -> Currency {
        match self {
            Self::FixedPrice { price, .. } => price.currency(),
            Self::Auction(plan) => plan.start_price.currency(),
        }
    }

    /// The names of the forms that are counted apart; an auction sells one piece and counts nothing.
    pub fn skus(&self) -> BTreeSet<Sku> {
        match self {
            Self::FixedPrice { variants, .. } if variants.is_empty() => BTreeSet::from([Sku::default()]),
            Self::FixedPrice { variants, .. } => variants.iter().map(|variant| variant.sku.clone()).collect(),
            Self::Auction(_) => BTreeSet::new(),
        }
    }
}

impl Offer {
    /// Whether something changes that a buyer agrees to: how it is sold, sent and delivered.
    fn is_resold_by(&self, changes: &Changes) -> bool {
        let Changes { sale, shipping, delivery, .. } = changes;
        sale.is_some()
            || shipping.is_some_and(|shipping| Some(shipping) != self.shipping)
            || delivery.is_some_and(|delivery| delivery != self.delivery)
    }

    /// The price of one piece in the form that `sku` names.
    pub fn price_of(&self, sku: &Sku) -> Result<Money, Error> {
        match &self.sale {
            Sale::Auction(_) => Err(Error::SoldByAuction),
            Sale::FixedPrice { price, variants } if variants.is_empty() && *sku == Sku::default() => Ok(*price),
            Sale::FixedPrice { price, variants } => {
                let variant = variants.iter().find(|variant| variant.sku == *sku);
                let variant = variant.ok_or(Error::NoSuchVariant { variants: variants.len() })?;
                Ok(variant.price.unwrap_or(*price))
            }
        }
    }

    fn revised(self, changes: &Changes) -> Self {
        Self {
            seller: self.seller,
            sale: changes.sale.clone().unwrap_or(self.sale),
            title: changes.title.clone().unwrap_or(self.title),
            delivery: changes.delivery.unwrap_or(self.delivery),
            shipping: changes.shipping.or(self.shipping),
        }
    }
}

fn check_amounts(sale: &Sale, shipping: Option<Money>) -> Result<(), Error> {
    let expected = sale.currency();
    let in_currency = |amount: Money| match amount.minor_in(expected) {
        Ok(_) => Ok(amount),
        Err(_) => Err(Error::WrongCurrency { expected, offered: amount.currency() }),
    };
    if let Some(offered) = shipping.map(in_currency).transpose()?
        && offered.minor() < 0
    {
        return Err(Error::ShippingNegative { offered });
    }
    match sale {
        // The prices of an auction are its own business, checked when it is scheduled.
        Sale::Auction(_) => Ok(()),
        Sale::FixedPrice { price, variants } => {
            for offered in variants.iter().filter_map(|variant| variant.price).chain([*price]) {
                if !in_currency(offered)?.is_positive() {
                    return Err(Error::PriceNotPositive { offered });
                }
            }
            let (variants, skus) = (variants.len(), sale.skus().len());
            if variants > skus { Err(Error::SkuRepeated { variants, skus }) } else { Ok(()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn fixed(minor: i64) -> Sale {
        Sale::FixedPrice { price: Money::new(minor, Currency::USD).unwrap(), variants: vec![] }
    }

    fn auction() -> Sale {
        let start_price = Money::new(100, Currency::USD).unwrap();
        Sale::Auction(AuctionPlan {
            start_price,
            reserve_price: None,
            buy_now_price: None,
            starts_at: None,
            duration_s: 3_600,
        })
    }

    fn drafted(sale: Sale) -> Event {
        let details = Details {
            title: "Watch".to_owned(),
            description: String::new(),
            category: "watches".to_owned(),
            brand: None,
            condition: Condition::Good,
            delivery: Delivery::Physical,
            shipping: None,
        };
        Event::ListingDrafted { seller: ANN, details, sale }
    }

    fn price_change(sale: Sale) -> Changes {
        Changes { sale: Some(sale), ..Changes::default() }
    }

    #[test]
    fn a_draft_is_published_once() {
        given::<Listing>([drafted(fixed(1))]).when(Command::Publish { by: ANN }).then([Event::ListingPublished {}]);
        given::<Listing>([drafted(fixed(1)), Event::ListingPublished {}])
            .when(Command::Publish { by: ANN })
            .then_nothing();
    }

    #[test]
    fn what_is_not_yours_is_not_there() {
        for command in [
            Command::Publish { by: BOB },
            Command::Revise { by: BOB, changes: Changes::default() },
            Command::Archive { cause: ArchiveCause::Seller(BOB) },
        ] {
            given::<Listing>([drafted(fixed(1))]).when(command.clone()).then_refused(Error::NotFound);
            given::<Listing>([]).when(command).then_refused(Error::NotFound);
        }
    }

    #[test]
    fn a_price_is_above_zero() {
        let offered = Money::zero(Currency::USD);
        let change = Command::Revise { by: ANN, changes: price_change(fixed(0)) };
        given::<Listing>([drafted(fixed(1))]).when(change).then_refused(Error::PriceNotPositive { offered });
    }

    #[test]
    fn the_price_of_an_offer_may_change_but_not_how_an_auction_is_sold() {
        let reprice = |sale: Sale| Command::Revise { by: ANN, changes: price_change(sale) };
        let published = |sale: Sale| given::<Listing>([drafted(sale), Event::ListingPublished {}]);
        published(fixed(1)).when(reprice(fixed(2))).then([Event::ListingRevised { changes: price_change(fixed(2)) }]);
        published(auction()).when(reprice(fixed(2))).then_refused(Error::AuctionPublished);
        published(fixed(1)).when(reprice(auction())).then_refused(Error::AuctionPublished);
        let dearer = Changes { shipping: Some(Money::new(1, Currency::USD).unwrap()), ..Changes::default() };
        let digital = Changes { delivery: Some(Delivery::Digital), ..Changes::default() };
        for changes in [dearer, digital] {
            let revise = || Command::Revise { by: ANN, changes: changes.clone() };
            published(auction()).when(revise()).then_refused(Error::AuctionPublished);
            published(fixed(1)).when(revise()).then([Event::ListingRevised { changes: changes.clone() }]);
        }
        // What stays as it is does not change.
        let same = Changes { delivery: Some(Delivery::Physical), title: Some("x".to_owned()), ..Changes::default() };
        let revise = Command::Revise { by: ANN, changes: same.clone() };
        published(auction()).when(revise).then([Event::ListingRevised { changes: same }]);
    }

    #[test]
    fn all_amounts_of_a_listing_are_in_one_currency_and_none_is_negative() {
        let yen = |minor| Money::new(minor, Currency::JPY).unwrap();
        let draft = |price: Option<Money>, shipping: Option<Money>| {
            let sizes = ["s", "m"].map(|sku| Variant { sku: sku.parse().unwrap(), options: BTreeMap::new(), price });
            let sale = Sale::FixedPrice { price: yen(100), variants: sizes.to_vec() };
            match drafted(sale) {
                Event::ListingDrafted { seller, details, sale } => {
                    Command::Draft { seller, details: Details { shipping, ..details }, sale }
                }
                other => panic!("not a draft: {other:?}"),
            }
        };
        let dollar = Money::new(1, Currency::USD).unwrap();
        let wrong = Error::WrongCurrency { expected: Currency::JPY, offered: Currency::USD };
        given::<Listing>([]).when(draft(Some(dollar), None)).then_refused(wrong);
        given::<Listing>([]).when(draft(None, Some(dollar))).then_refused(wrong);
        let negative = Error::ShippingNegative { offered: yen(-1) };
        given::<Listing>([]).when(draft(None, Some(yen(-1)))).then_refused(negative);
        let listing = given::<Listing>([]).and(draft(Some(yen(120)), Some(yen(0))));
        let offer = listing.state().offer().unwrap();
        assert_eq!(offer.price_of(&"m".parse().unwrap()), Ok(yen(120)));
        assert_eq!(offer.price_of(&Sku::default()), Err(Error::NoSuchVariant { variants: 2 }));
    }

    #[test]
    fn two_variants_of_one_name_are_refused() {
        let variant = Variant { sku: Sku::default(), options: BTreeMap::new(), price: None };
        let price = Money::new(1, Currency::USD).unwrap();
        let sale = Sale::FixedPrice { price, variants: vec![variant.clone(), variant] };
        let revise = Command::Revise { by: ANN, changes: price_change(sale) };
        given::<Listing>([drafted(fixed(1))]).when(revise).then_refused(Error::SkuRepeated { variants: 2, skus: 1 });
    }

    #[test]
    fn a_running_auction_is_not_archived_by_its_seller() {
        let cause = ArchiveCause::Seller(ANN);
        let published = || given::<Listing>([drafted(auction()), Event::ListingPublished {}]);
        published().when(Command::Archive { cause }).then_refused(Error::AuctionRunning);
        let ended = ArchiveCause::AuctionEnded;
        published().when(Command::Archive { cause: ended }).then([Event::ListingArchived { cause: ended }]);
    }

    #[test]
    fn what_is_archived_stays_archived() {
        let cause = ArchiveCause::Seller(ANN);
        let archived = || given::<Listing>([drafted(fixed(1)), Event::ListingArchived { cause }]);
        archived().when(Command::Publish { by: ANN }).then_refused(Error::Archived);
        archived().when(Command::Archive { cause }).then_nothing();
    }

    fn any_sale() -> impl Strategy<Value = Sale> {
        prop_oneof![(0..3_i64).prop_map(fixed), Just(auction())]
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let account = || prop::sample::select(vec![ANN, BOB]);
        prop_oneof![
            1 => (account(), any_sale()).prop_map(|(by, sale)| match drafted(sale) {
                Event::ListingDrafted { details, sale, .. } => Command::Draft { seller: by, details, sale },
                other => panic!("not a draft: {other:?}"),
            }),
            3 => (account(), prop::option::of(any_sale())).prop_map(|(by, sale)| {
                Command::Revise { by, changes: Changes { sale, ..Changes::default() } }
            }),
            2 => account().prop_map(|by| Command::Publish { by }),
            1 => account().prop_map(|by| Command::Archive { cause: ArchiveCause::Seller(by) }),
            1 => prop::sample::select(vec![ArchiveCause::AuctionEnded, ArchiveCause::AuctionCancelled])
                .prop_map(|cause| Command::Archive { cause }),
        ]
    }

    proptest! {
        #[test]
        fn the_terms_of_a_published_auction_stand_and_what_is_archived_is_off_for_good(
            commands in prop::collection::vec(any_command(), 0..30),
        ) {
            let json = |value: &Listing| serde_json::to_value(value).unwrap();
            let mut listing = Listing::default();
            for command in commands {
                let before = listing.clone();
                for event in listing.decide(command).iter().flatten() {
                    let read: Event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
                    prop_assert_eq!(&read, event);
                    listing.evolve(&read);
                }
                match (&before, &listing) {
                    (Listing::Archived(_), after) => prop_assert_eq!(json(after), json(&before)),
                    (Listing::Active(was), Listing::Active(is) | Listing::Archived(is)) => {
                        let auction = |sale: &Sale| matches!(sale, Sale::Auction(_));
                        prop_assert!(was.sale == is.sale || !(auction(&was.sale) || auction(&is.sale)));
                    }
                    (Listing::Active(_), after) => prop_assert!(false, "withdrawn to {after:?}"),
                    (Listing::Absent | Listing::Draft(_), _) => {}
                }
                if let (Ok(was), Ok(is)) = (before.offer(), listing.offer()) {
                    prop_assert_eq!(was.seller, is.seller);
                }
            }
        }
    }
}
