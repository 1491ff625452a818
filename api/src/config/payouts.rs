//! How money goes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use commands::payouts::{Bounds, PayoutRules};
use domain::Currency;
use domain::money::AMOUNT_LIMIT;
use serde::{Deserialize, Serialize};

/// What a number of seconds may be.
pub(super) const COOLING_RULE: &str = "it must be at most 2592000, which is 30 days; 0 turns it off";
/// What the bounds may be.
pub(super) const LIMITS_RULE: &str = "amounts must be from 1 to 9007199254740991, and `least` at most `most_per_day`";

/// What guards money that goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payouts {
    /// Seconds that a payment method must have been kept, and the way into the account the same; 0 turns this off.
    pub cooling_s: u32,
    /// How much goes out at least and at most, per currency.
    pub limits: BTreeMap<Currency, OutLimit>,
}

/// How much goes out in one currency, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutLimit {
    /// The least at once; whatever there is unless set.
    pub least: Option<i64>,
    /// The most on a day (UTC) of one account; whatever there is unless set.
    pub most_per_day: Option<i64>,
}

impl Default for Payouts {
    fn default() -> Self {
        Self { cooling_s: 86_400, limits: BTreeMap::new() }
    }
}

impl Payouts {
    /// Money goes out at once, wherever it is to.
    pub const OFF: Self = Self { cooling_s: 0, limits: BTreeMap::new() };

    pub(super) fn is_cooling_sound(&self) -> bool {
        self.cooling_s <= 2_592_000
    }

    pub(super) fn are_limits_sound(&self) -> bool {
        self.limits.values().all(|OutLimit { least, most_per_day }| {
            let in_range = |amount: &Option<i64>| amount.is_none_or(|minor| (1..AMOUNT_LIMIT).contains(&minor));
            let ordered = least.zip(*most_per_day).is_none_or(|(least, most)| least <= most);
            in_range(least) && in_range(most_per_day) && ordered
        })
    }

    /// What decisions go by.
    pub fn rules(&self) -> PayoutRules {
        let bounds = self.limits.iter().map(|(currency, limit)| {
            let OutLimit { least, most_per_day } = *limit;
            (*currency, Bounds { least, most_per_day })
        });
        PayoutRules { cooling: TimeDelta::seconds(i64::from(self.cooling_s)), bounds: Arc::new(bounds.collect()) }
    }
}
