//! The bonus points of an account: earned with every order of its that is completed, and taken back with what of it is
//! refunded afterwards; they pay for a part of other orders, and come back with what of those is refunded.
//!
//! Points are no money: what they pay for, the marketplace makes good, and nobody is paid out in them. Each belongs to
//! the currency of the order that it was earned with, and pays for orders of that currency. The [`crate::escrow`] of the
//! order says how many there are to earn, to give back or to take back, in whose commits they move; as an escrow is
//! released once, an order earns once. Invariant: the points of an account are those that its orders earn with the money
//! that their sellers keep, less those that its orders were paid with and that did not come back. What was taken back
//! and is not there any more is owed: the count is then below zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, OrderId, RefundId};
use crate::money::{self, Currency, Money};

/// What is asked of points.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Take in what an order earns.
    Earn {
        /// The order.
        order: OrderId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
    /// Pay for an order.
    Redeem {
        /// The order.
        order: OrderId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
    /// Take in what comes back of what was paid for an order.
    GiveBack {
        /// The order.
        order: OrderId,
        /// The movement.
        refund: RefundId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
    /// Take back what an order has earned with money that went back.
    TakeBack {
        /// The order.
        order: OrderId,
        /// The movement of the money.
        refund: RefundId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
}

/// What happens to points. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// An order has earned some.
    PointsEarned {
        /// The order.
        order: OrderId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
    /// Some have paid for an order.
    PointsRedeemed {
        /// The order.
        order: OrderId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
    /// Some came back of what was paid for an order.
    PointsGivenBack {
        /// The order.
        order: OrderId,
        /// The movement.
        refund: RefundId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
    /// Some were taken back, since money went back.
    PointsTakenBack {
        /// The order.
        order: OrderId,
        /// The movement of the money.
        refund: RefundId,
        /// Of which currency.
        currency: Currency,
        /// How many.
        points: u64,
    },
}

event_versions!(Event { PointsEarned = "1", PointsRedeemed = "1", PointsGivenBack = "1", PointsTakenBack = "1" });

impl Event {
    /// Of which order it is, in which currency, and what it adds.
    pub fn change(&self) -> (OrderId, Currency, i64) {
        let count = |points: u64| i64::try_from(points).unwrap_or(i64::MAX);
        match *self {
            Self::PointsEarned { order, currency, points } | Self::PointsGivenBack { order, currency, points, .. } => {
                (order, currency, count(points))
            }
            Self::PointsRedeemed { order, currency, points }
            | Self::PointsTakenBack { order, currency, points, .. } => (order, currency, -count(points)),
        }
    }
}

/// Points that pay for a part of an order, and what they are worth then. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Redeemed {
    /// How many.
    pub points: u64,
    /// What all of them pay.
    pub worth: Money,
}

impl Redeemed {
    /// What one of them is worth, in minor units: they all are worth the same.
    pub fn each_minor(&self) -> i64 {
        let points = i64::try_from(self.points).unwrap_or(i64::MAX);
        self.worth.minor().checked_div(points).unwrap_or(0).max(1)
    }
}

/// Shares `points`, each worth so many minor units, out over orders of these amounts, so that they pay as large a part
/// of each as whole points can.
pub fn redeemed_for(points: u64, worth_minor: u32, amounts: &[Money]) -> Result<Vec<Option<Redeemed>>, Error> {
    let nothing = vec![None; amounts.len()];
    if points == 0 {
        return Ok(nothing);
    }
    if worth_minor == 0 {
        return Err(Error::WorthNothing { offered: points });
    }
    // An order takes as many as do not pay more than it costs.
    let most: Vec<u64> =
        amounts.iter().map(|amount| amount.minor().max(0).unsigned_abs() / u64::from(worth_minor)).collect();
    let maximum = most.iter().copied().fold(0, u64::saturating_add);
    if points > maximum {
        return Err(Error::MoreThanPrice { maximum, offered: points });
    }
    let shares = money::shared_out(points, &most);
    let redeemed = |(points, amount): (u64, &Money)| {
        // Less than the amount, so it is in range.
        let minor = i64::try_from(points.saturating_mul(u64::from(worth_minor))).ok();
        let worth = minor.and_then(|minor| Money::new(minor, amount.currency()).ok())?;
        worth.is_positive().then_some(Redeemed { points, worth })
    };
    Ok(shares.into_iter().zip(amounts).map(redeemed).collect())
}

/// Why points are refused, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// Nobody pays with what they do not have.
    #[error("{requested} points were to pay and {available} are there")]
    NotEnough {
        /// How many there are; below zero is owed.
        available: i64,
        /// How many were to pay.
        requested: u64,
    },
    /// What is bought costs less.
    #[error("{offered} points were to pay for what takes {maximum} at most")]
    MoreThanPrice {
        /// How many would pay for it, or nearly: a point is not divided.
        maximum: u64,
        /// How many were to pay.
        offered: u64,
    },
    /// Points pay for nothing here.
    #[error("{offered} points were to pay, which are worth nothing")]
    WorthNothing {
        /// How many were to pay.
        offered: u64,
    },
}

/// The points of an account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Points {
    /// How many there are, by their currency.
    pub counts: BTreeMap<Currency, i64>,
}

impl Aggregate for Points {
    const TYPE: &'static str = "points";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        Ok(match command {
            // Small change earns nothing.
            Command::Earn { points: 0, .. }
            | Command::Redeem { points: 0, .. }
            | Command::GiveBack { points: 0, .. }
            | Command::TakeBack { points: 0, .. } => vec![],
            Command::Redeem { order, currency, points } => {
                let available = self.counts.get(&currency).copied().unwrap_or(0);
                if i64::try_from(points).map_or(true, |requested| requested > available) {
                    return Err(Error::NotEnough { available, requested: points });
                }
                vec![Event::PointsRedeemed { order, currency, points }]
            }
            Command::GiveBack { order, refund, currency, points } => {
                vec![Event::PointsGivenBack { order, refund, currency, points }]
            }
            Command::Earn { order, currency, points } => vec![Event::PointsEarned { order, currency, points }],
            Command::TakeBack { order, refund, currency, points } => {
                vec![Event::PointsTakenBack { order, refund, currency, points }]
            }
        })
    }

    fn evolve(&mut self, event: &Event) {
        let (_, currency, change) = event.change();
        let count = self.counts.entry(currency).or_default();
        *count = count.saturating_add(change);
    }
}

/// How many points `kept` earns of what was paid, at so many per whole major unit. A currency whose units are not, or
/// hardly, divided has none that is small enough to be given away: a hundred of its smallest count as one.
pub fn earned_with(kept: Money, per_unit: u32) -> u64 {
    let digits = kept.currency().exponent().max(2);
    let units = kept.minor().max(0).unsigned_abs() / 10_u64.pow(digits);
    units.saturating_mul(u64::from(per_unit))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ORDER: OrderId = OrderId(Uuid::from_u128(1));
    const REFUND: RefundId = RefundId(Uuid::from_u128(2));

    fn earn(points: u64) -> Command {
        Command::Earn { order: ORDER, currency: Currency::USD, points }
    }

    fn take_back(points: u64) -> Command {
        Command::TakeBack { order: ORDER, refund: REFUND, currency: Currency::USD, points }
    }

    #[test]
    fn what_is_earned_and_taken_back_adds_up() {
        let points = given::<Points>([]).and(earn(105)).and(take_back(5));
        assert_eq!(points.state().counts[&Currency::USD], 100);
        assert_eq!(points.and(take_back(150)).state().counts[&Currency::USD], -50);
    }

    #[test]
    fn an_order_is_paid_with_points_that_are_there() {
        let redeem = |points| Command::Redeem { order: ORDER, currency: Currency::USD, points };
        let earned = || given::<Points>([]).and(earn(100));
        earned().when(redeem(101)).then_refused(Error::NotEnough { available: 100, requested: 101 });
        let other = Command::Redeem { order: ORDER, currency: Currency::JPY, points: 1 };
        earned().when(other).then_refused(Error::NotEnough { available: 0, requested: 1 });
        let spent = earned().and(redeem(100)).and(take_back(100));
        assert_eq!(spent.state().counts[&Currency::USD], -100);
        let back = Command::GiveBack { order: ORDER, refund: REFUND, currency: Currency::USD, points: 100 };
        assert_eq!(spent.and(back).state().counts[&Currency::USD], 0);
    }

    #[test]
    fn points_pay_for_no_more_than_each_order_costs() {
        let usd = |minor| Money::new(minor, Currency::USD).unwrap();
        let redeemed = |points, minor| Some(Redeemed { points, worth: usd(minor) });
        assert_eq!(redeemed_for(0, 0, &[usd(1_000)]), Ok(vec![None]));
        assert_eq!(redeemed_for(1, 0, &[usd(1_000)]), Err(Error::WorthNothing { offered: 1 }));
        let two = [usd(1_000), usd(3_000)];
        assert_eq!(redeemed_for(100, 1, &two), Ok(vec![redeemed(25, 25), redeemed(75, 75)]));
        assert_eq!(redeemed_for(4_000, 1, &two), Ok(vec![redeemed(1_000, 1_000), redeemed(3_000, 3_000)]));
        assert_eq!(redeemed_for(4_001, 1, &two), Err(Error::MoreThanPrice { maximum: 4_000, offered: 4_001 }));
        // A second one would be more than either costs.
        let two = [usd(150), usd(150)];
        assert_eq!(redeemed_for(2, 100, &two), Ok(vec![redeemed(1, 100), redeemed(1, 100)]));
        assert_eq!(redeemed_for(3, 100, &two), Err(Error::MoreThanPrice { maximum: 2, offered: 3 }));
        assert_eq!(redeemed_for(1, 100, &[usd(99), usd(100)]), Ok(vec![None, redeemed(1, 100)]));
        assert_eq!(redeemed_for(u64::MAX, 1_000, &two), Err(Error::MoreThanPrice { maximum: 0, offered: u64::MAX }));
    }

    #[test]
    fn nothing_is_no_event() {
        given::<Points>([]).when(earn(0)).then_nothing();
        given::<Points>([]).when(take_back(0)).then_nothing();
    }

    #[test]
    fn whole_units_earn_and_small_change_does_not() {
        let money = |minor, currency| Money::new(minor, currency).unwrap();
        for (kept, points) in [
            (money(10_599, Currency::USD), 105),
            (money(99, Currency::USD), 0),
            (money(0, Currency::USD), 0),
            (money(10_599, Currency::JPY), 105),
            (money(10_599, Currency::KWD), 10),
        ] {
            assert_eq!(earned_with(kept, 1), points, "{kept}");
            assert_eq!(earned_with(kept, 3), 3 * points, "{kept}");
            assert_eq!(earned_with(kept, 0), 0, "{kept}");
        }
    }
}
