//! A discount: what a listing costs less, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Sale};
use crate::Timestamp;
use crate::money::{FULL_BPS, Money, MoneyError};

/// What something costs less for a while. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Discount {
    /// How much less.
    pub off: Off,
    /// From when on; at once if this is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when, this instant not included; until it is taken back if this is not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// How much less something costs. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Off {
    /// Each form costs this, unless it is cheaper already.
    Price(Money),
    /// Each form costs so many basis points less, rounded half-up, and never less than one minor unit.
    Bps(u32),
}

impl Discount {
    /// Whether it counts at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && !self.is_over(now)
    }

    /// Whether it will never count again.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// What something costs with it that costs `price` without.
    pub fn applied_to(&self, price: Money) -> Money {
        let reduced = match self.off {
            Off::Price(reduced) => price.min(reduced),
            Off::Bps(bps) => price.share_bps(bps).and_then(|off| price.minus(off)).and_then(at_least_one),
        };
        // A discount of another currency is refused before it comes to this.
        reduced.unwrap_or(price)
    }

    /// Whether it is a discount of `sale` at all: of what is sold at a fixed price, and costs less with it.
    pub(super) fn fits(&self, sale: &Sale) -> bool {
        let reduces = |price: Money| match self.off {
            Off::Price(reduced) => reduced.minor_in(price.currency()).is_ok_and(|reduced| reduced < price.minor()),
            Off::Bps(_) => true,
        };
        matches!(sale, Sale::FixedPrice { price, .. } if reduces(*price))
    }

    /// Whether `sale` may have it from `now` on.
    pub(super) fn check(&self, sale: &Sale, now: Timestamp) -> Result<(), Error> {
        let Sale::FixedPrice { price, .. } = sale else { return Err(Error::SoldByAuction) };
        match self.off {
            Off::Price(offered) => {
                let expected = price.currency();
                if offered.currency() != expected {
                    return Err(Error::WrongCurrency { expected, offered: offered.currency() });
                }
                if !offered.is_positive() {
                    return Err(Error::PriceNotPositive { offered });
                }
                if offered.minor() >= price.minor() {
                    return Err(Error::NoDiscount { price: *price, offered });
                }
            }
            Off::Bps(offered) if !(1..FULL_BPS).contains(&offered) => {
                return Err(Error::DiscountOutOfRange { maximum: FULL_BPS - 1, offered });
            }
            Off::Bps(_) => {}
        }
        match self.until {
            Some(until) if self.from.unwrap_or(now).max(now) >= until => Err(Error::DiscountOver { until, now }),
            _ => Ok(()),
        }
    }
}

fn at_least_one(price: Money) -> Result<Money, MoneyError> {
    if price.is_positive() { Ok(price) } else { Money::new(1, price.currency()) }
}
