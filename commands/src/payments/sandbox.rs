//! A provider that moves no real money: what it does is in the token.
//!
//! | token | deposit | withdrawal |
//! | --- | --- | --- |
//! | `sandbox-succeeds` | succeeds | succeeds |
//! | `sandbox-declines` | declined: insufficient funds on the card | refused: the account is closed |
//! | `sandbox-delays` | succeeds ten seconds later | succeeds ten seconds later |
//!
//! It keeps nothing, so it answers the same after a restart: what it says depends on the order alone.

use chrono::TimeDelta;
use futures::future::{BoxFuture, ready};

use super::{Order, Outcome, PaymentProvider, ProviderUnreachable};

/// The name in payment methods.
pub const NAME: &str = "sandbox";
/// Succeeds.
pub const SUCCEEDS: &str = "sandbox-succeeds";
/// Is declined.
pub const DECLINES: &str = "sandbox-declines";
/// Succeeds after [`DELAY`].
pub const DELAYS: &str = "sandbox-delays";
/// How long [`DELAYS`] takes, by the marketplace's clock.
pub const DELAY: TimeDelta = TimeDelta::seconds(10);

/// The sandbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sandbox;

impl PaymentProvider for Sandbox {
    fn name(&self) -> &'static str {
        NAME
    }

    fn knows(&self, token: &str) -> bool {
        [SUCCEEDS, DECLINES, DELAYS].contains(&token)
    }

    fn charge<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Outcome, ProviderUnreachable>> {
        Box::pin(ready(Ok(outcome(order, "ch", "the card has insufficient funds"))))
    }

    fn payout<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Outcome, ProviderUnreachable>> {
        Box::pin(ready(Ok(outcome(order, "po", "the bank account is closed"))))
    }
}

fn outcome(order: &Order, prefix: &str, refusal: &str) -> Outcome {
    let succeeded = || Outcome::Succeeded { reference: format!("{prefix}_{}", order.operation.simple()) };
    match order.token.as_str() {
        SUCCEEDS => succeeded(),
        DELAYS if order.check_at.is_some_and(|check_at| order.now >= check_at) => succeeded(),
        DELAYS => Outcome::Pending { check_at: order.check_at.unwrap_or(order.now + DELAY) },
        DECLINES => Outcome::Declined { reason: refusal.to_owned() },
        unknown => Outcome::Declined { reason: format!("`{unknown}` is not a token of the sandbox") },
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};
    use domain::{Currency, Money};

    use super::*;

    fn order(token: &str) -> Order {
        Order {
            operation: uuid::Uuid::nil(),
            amount: Money::new(1, Currency::USD).unwrap(),
            token: token.to_owned(),
            now: Utc.timestamp_opt(1_700_000_000, 0).unwrap(),
            check_at: None,
        }
    }

    #[test]
    fn a_delayed_order_succeeds_exactly_when_it_said_it_would() {
        let first = order(DELAYS);
        let check_at = first.now + DELAY;
        assert_eq!(outcome(&first, "ch", ""), Outcome::Pending { check_at });
        let again = |now| Order { now, check_at: Some(check_at), ..order(DELAYS) };
        let early = again(check_at - TimeDelta::milliseconds(1));
        assert_eq!(outcome(&early, "ch", ""), Outcome::Pending { check_at });
        assert!(matches!(outcome(&again(check_at), "ch", ""), Outcome::Succeeded { .. }));
    }

    #[test]
    fn the_same_order_has_the_same_outcome() {
        for token in [SUCCEEDS, DECLINES, "no-such-token"] {
            let later = Order { now: order(token).now + DELAY, ..order(token) };
            assert_eq!(outcome(&order(token), "ch", "no"), outcome(&later, "ch", "no"));
        }
    }
}
