//! The other rules: what is not said stays as it was.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::auction;
use crate::ids::AccountId;
use crate::increments::{Band, Increments};
use crate::money::{Currency, FULL_BPS};
use crate::order::Origin;

const HOUR_S: u32 = 3_600;
const DAY_S: u32 = 24 * HOUR_S;
/// The longest window of a soft close, as settings have it.
const LONGEST_WINDOW_S: u32 = DAY_S;
/// The most categories, plans, sellers or currencies that a policy names.
pub const MOST_NAMED: usize = 10_000;

/// Other rules. What is not in it stays as it was.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// What the marketplace keeps of sales.
    pub fees: Fees,
    /// How auctions go.
    pub auctions: Auctions,
    /// How long things may take.
    pub deadlines: Deadlines,
}

/// What the marketplace keeps of sales, in basis points. As everywhere the nearest rate counts: the seller's, else the
/// plan's, else the category's, else that of every sale.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fees {
    /// One rate for all sales, whatever else was said. Nothing else of the fees may be named beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flat_bps: Option<u32>,
    /// Of sales of which nothing nearer was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_bps: Option<u32>,
    /// By the slug of a category; it counts for those below it too, unless they say another.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, u32>,
    /// By the slug of a plan; `free` is that of whoever has no other.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub plans: BTreeMap<String, u32>,
    /// By the id of a seller.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sellers: BTreeMap<AccountId, u32>,
}

/// How auctions go.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auctions {
    /// A bid in the last so many seconds moves the end to so many seconds later; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_close_window_s: Option<u32>,
    /// By how much a bid must top the price, by currency: a table as in the settings, or one number for all prices.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub increments: BTreeMap<Currency, Steps>,
}

/// By how much a bid must top the price: bands, or the same for all prices.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Steps(pub Increments);

/// How long things may take, in seconds, from when they begin.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deadlines {
    /// To pay a checkout, of a cart or at a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout_paid_s: Option<u32>,
    /// To pay what was won, bought at once or taken by a second chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub win_paid_s: Option<u32>,
    /// To ship what is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipped_s: Option<u32>,
    /// To inspect what was shipped, from its delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection_physical_s: Option<u32>,
    /// To inspect what is digital, from its delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection_digital_s: Option<u32>,
    /// To decide a dispute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_s: Option<u32>,
}

/// Why something is no policy.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PolicyError {
    /// A number is out of its bounds.
    #[error("{key} must be from {least} to {most}; it is {value}")]
    OutOfRange {
        /// Which.
        key: String,
        /// The least.
        least: u32,
        /// The most.
        most: u32,
        /// What it is.
        value: u32,
    },
    /// One rate for all leaves nothing to be said by others.
    #[error("fees.flat_bps is for all sales: no other fee may be named beside it")]
    FlatBesideOthers,
    /// A policy is written by people.
    #[error("{key} names {offered}, and at most {MOST_NAMED} are possible")]
    TooMany {
        /// Of which.
        key: &'static str,
        /// How many.
        offered: usize,
    },
}

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Told;
        impl<'de> Visitor<'de> for Told {
            type Value = Steps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of minor units, or a table such as [{ below = 100, step = 5 }, { step = 25 }]")
            }

            fn visit_i64<E: serde::de::Error>(self, step: i64) -> Result<Steps, E> {
                Increments::try_from(vec![Band { below: None, step }]).map(Steps).map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, step: u64) -> Result<Steps, E> {
                self.visit_i64(i64::try_from(step).map_err(E::custom)?)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, bands: A) -> Result<Steps, A::Error> {
                let bands = Vec::<Band>::deserialize(SeqAccessDeserializer::new(bands))?;
                Increments::try_from(bands).map(Steps).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Told)
    }
}

impl Policy {
    /// Refuses what could not be a setting of a marketplace either.
    pub fn check(&self) -> Result<(), PolicyError> {
        let Self { fees, auctions, deadlines } = self;
        fees.check()?;
        few("auctions.increments", auctions.increments.len())?;
        within("auctions.soft_close_window_s", auctions.soft_close_window_s, 0, LONGEST_WINDOW_S)?;
        let Deadlines {
            checkout_paid_s,
            win_paid_s,
            shipped_s,
            inspection_physical_s,
            inspection_digital_s,
            resolved_s,
        } = *deadlines;
        within("deadlines.checkout_paid_s", checkout_paid_s, 60, 30 * DAY_S)?;
        within("deadlines.win_paid_s", win_paid_s, 60, 30 * DAY_S)?;
        within("deadlines.shipped_s", shipped_s, HOUR_S, 366 * DAY_S)?;
        within("deadlines.inspection_physical_s", inspection_physical_s, HOUR_S, 366 * DAY_S)?;
        within("deadlines.inspection_digital_s", inspection_digital_s, HOUR_S, 366 * DAY_S)?;
        within("deadlines.resolved_s", resolved_s, HOUR_S, 366 * DAY_S)
    }

    /// Whether it says anything of orders.
    pub fn touches_sales(&self) -> bool {
        self.fees != Fees::default() || self.deadlines != Deadlines::default()
    }

    /// Whether it says anything of auctions.
    pub fn touches_auctions(&self) -> bool {
        self.auctions != Auctions::default()
    }
}

impl Fees {
    fn check(&self) -> Result<(), PolicyError> {
        let Self { flat_bps, usual_bps, categories, plans, sellers } = self;
        let several = usual_bps.is_some() || !(categories.is_empty() && plans.is_empty() && sellers.is_empty());
        if flat_bps.is_some() && several {
            return Err(PolicyError::FlatBesideOthers);
        }
        within("fees.flat_bps", *flat_bps, 0, FULL_BPS)?;
        within("fees.usual_bps", *usual_bps, 0, FULL_BPS)?;
        few("fees.categories", categories.len())?;
        few("fees.plans", plans.len())?;
        few("fees.sellers", sellers.len())?;
        for (of, rates) in [("categories", categories), ("plans", plans)] {
            for (slug, bps) in rates {
                within(&format!("fees.{of}.{slug}"), Some(*bps), 0, FULL_BPS)?;
            }
        }
        sellers.iter().try_for_each(|(id, bps)| within(&format!("fees.sellers.{id}"), Some(*bps), 0, FULL_BPS))
    }

    /// Whether what was said of a sale has to be known to tell its rate.
    pub fn go_by_what_was_said(&self) -> bool {
        self.flat_bps.is_none() && *self != Self::default()
    }
}

impl Auctions {
    /// The terms of an auction under these rules.
    pub fn applied(&self, terms: &auction::Terms) -> auction::Terms {
        let window = self.soft_close_window_s.map(|window_s| window_s.saturating_mul(1_000));
        let increments = self.increments.get(&terms.start_price.currency()).map(|Steps(increments)| increments.clone());
        auction::Terms {
            soft_close_window_ms: window.unwrap_or(terms.soft_close_window_ms),
            increments: increments.unwrap_or_else(|| terms.increments.clone()),
            ..terms.clone()
        }
    }
}

impl Deadlines {
    /// To pay what came about so.
    pub fn paid_s(&self, origin: Origin) -> Option<u32> {
        match origin {
            Origin::Checkout | Origin::Storefront => self.checkout_paid_s,
            Origin::AuctionWon(_) | Origin::BoughtNow(_) | Origin::SecondChance(_) => self.win_paid_s,
        }
    }

    /// To inspect what reaches its buyer so.
    pub fn inspection_s(&self, physical: bool) -> Option<u32> {
        if physical { self.inspection_physical_s } else { self.inspection_digital_s }
    }
}

fn within(key: &str, value: Option<u32>, least: u32, most: u32) -> Result<(), PolicyError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(PolicyError::OutOfRange { key: key.to_owned(), least, most, value })
        }
        Some(_) | None => Ok(()),
    }
}

fn few(key: &'static str, offered: usize) -> Result<(), PolicyError> {
    if offered > MOST_NAMED { Err(PolicyError::TooMany { key, offered }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(policy: serde_json::Value) -> Result<Policy, String> {
        let policy: Policy = serde_json::from_value(policy).map_err(|error| error.to_string())?;
        policy.check().map_err(|error| error.to_string())?;
        Ok(policy)
    }

    #[test]
    fn what_is_not_said_stays() {
        let policy = read(json!({})).unwrap();
        assert_eq!(policy, Policy::default());
        assert!(!policy.touches_auctions() && !policy.touches_sales());
        assert!(read(json!({ "auctions": { "soft_close_window_s": 0 } })).unwrap().touches_auctions());
        assert!(read(json!({ "deadlines": { "shipped_s": 86_400 } })).unwrap().touches_sales());
        assert!(read(json!({ "fees": { "usual_bps": 0 } })).unwrap().fees.go_by_what_was_said());
        assert!(!read(json!({ "fees": { "flat_bps": 0 } })).unwrap().fees.go_by_what_was_said());
    }

    #[test]
    fn increments_are_a_table_or_one_step() {
        let increments = json!({ "USD": 100, "JPY": [{ "below": 1_000, "step": 10 }, { "step": 50 }] });
        let policy = read(json!({ "auctions": { "increments": increments } })).unwrap();
        let steps = |currency| &policy.auctions.increments[&currency].0;
        assert_eq!((steps(Currency::USD).at(0), steps(Currency::USD).at(1_000_000)), (100, 100));
        assert_eq!((steps(Currency::JPY).at(999), steps(Currency::JPY).at(1_000)), (10, 50));
    }

    #[test]
    fn what_could_be_no_setting_is_refused() {
        for (policy, told) in [
            (json!({ "fee": {} }), "unknown field `fee`"),
            (json!({ "fees": { "usual": 1 } }), "unknown field `usual`"),
            (json!({ "fees": { "usual_bps": 10_001 } }), "fees.usual_bps must be from 0 to 10000; it is 10001"),
            (json!({ "fees": { "plans": { "gold": 10_001 } } }), "fees.plans.gold must be"),
            (json!({ "fees": { "flat_bps": 1, "plans": { "gold": 1 } } }), "fees.flat_bps is for all sales"),
            (json!({ "fees": { "sellers": { "ann": 1 } } }), "UUID"),
            (json!({ "auctions": { "increments": { "USD": 0 } } }), "every step must be above zero"),
            (json!({ "auctions": { "increments": { "USD": "1" } } }), "a number of minor units, or a table"),
            (json!({ "auctions": { "increments": { "XXX": 1 } } }), ""),
            (json!({ "auctions": { "increments": { "USD": [{ "below": 1, "step": 1 }] } } }), "the bounds must rise"),
            (json!({ "auctions": { "soft_close_window_s": 86_401 } }), "must be from 0 to 86400"),
            (json!({ "deadlines": { "checkout_paid_s": 59 } }), "must be from 60 to"),
            (json!({ "deadlines": { "shipped_s": 1 } }), "must be from 3600 to"),
        ] {
            let error = read(policy.clone()).expect_err(&policy.to_string());
            assert!(error.contains(told), "{policy}: {error}");
        }
    }
}
