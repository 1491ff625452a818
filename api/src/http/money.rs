//! Money at the edge: amounts as read models have them, and the payment methods that clients name.

use domain::wallet::PaymentMethod;
use domain::{Currency, Money};

use super::problem::Problem;
use crate::app::App;

/// An amount as a read model has it. Read models are made of amounts that the domain has checked.
pub(super) fn stored_money(minor: i64, currency: Currency) -> Result<Money, Problem> {
    Money::new(minor, currency).map_err(|_| Problem::internal())
}

/// The payment method that a token names.
pub(super) fn payment_method(app: &App, token: &str) -> Result<PaymentMethod, Problem> {
    let method = PaymentMethod { provider: commands::payments::sandbox::NAME.to_owned(), token: token.to_owned() };
    if app.providers.knows(&method) {
        return Ok(method);
    }
    let known = "the sandbox knows sandbox-succeeds, sandbox-declines and sandbox-delays";
    Err(Problem::invalid_field("/payment_method", "unknown", known))
}
