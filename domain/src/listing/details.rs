//! What is offered, and how: the parts of a listing that its seller writes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::category::Attributes;
use crate::money::{Currency, Money};
use crate::stock::Sku;

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
    /// What it says of itself under the names that its category has given.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
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
    /// All that it says of itself from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
}

impl Changes {
    /// Whether it says something else of what is sold, which people read, and not only of how.
    pub(super) fn are_of_words(&self) -> bool {
        let Self { title, description, category, brand, condition, attributes, .. } = self;
        let texts = [title, description, category, brand].into_iter().any(Option::is_some);
        texts || condition.is_some() || attributes.is_some()
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

    /// Whether it says the same of its forms, whatever they cost.
    pub(super) fn describes_like(&self, other: &Self) -> bool {
        fn forms(sale: &Sale) -> &[Variant] {
            match sale {
                Sale::FixedPrice { variants, .. } => variants,
                Sale::Auction(_) => &[],
            }
        }
        let said = |sale| forms(sale).iter().map(|Variant { sku, options, .. }| (sku, options));
        said(self).eq(said(other))
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
