//! The bonus points of an account: earned with every order of its that is completed, and taken back with what of it is
//! refunded afterwards.
//!
//! Points are no money: no ledger account knows of them, and nobody is paid out in them. Each belongs to the currency of
//! the order that it was earned with. The [`crate::escrow`] of the order says how many there are to earn or to take
//! back, in whose commits they move; as an escrow is released once, an order earns once. Invariant: the points of an
//! account are those that its orders earn with what their sellers keep. What was taken back and is not there any more is
//! owed: the count is then below zero.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, OrderId, RefundId};
use crate::money::{Currency, Money};

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

event_versions!(Event { PointsEarned = "1", PointsTakenBack = "1" });

impl Event {
    /// Of which order it is, in which currency, and what it adds.
    pub fn change(&self) -> (OrderId, Currency, i64) {
        let count = |points: u64| i64::try_from(points).unwrap_or(i64::MAX);
        match *self {
            Self::PointsEarned { order, currency, points } => (order, currency, count(points)),
            Self::PointsTakenBack { order, currency, points, .. } => (order, currency, -count(points)),
        }
    }
}

/// Points are never refused.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {}

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
            Command::Earn { points: 0, .. } | Command::TakeBack { points: 0, .. } => vec![],
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
