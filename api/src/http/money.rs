//! Money at the edge: amounts as read models have them, and the payment methods that clients name.

use std::time::Duration;

use commands::payments;
use domain::charge::Phase;
use domain::payee::Payee;
use domain::wallet::PaymentMethod;
use domain::{AccountId, ChargeId, Currency, MethodId, Money};
use eventstore::Position;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::app::App;

/// How long somebody waits to be told whether there is something to do.
const PROVIDER_PATIENCE: Duration = Duration::from_secs(5);

/// What somebody has to do before a payment can go on, such as proving to their bank who they are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PaymentAction {
    /// Where to do it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://sandbox.invalid/actions/ch_1")]
    redirect_url: Option<String>,
    /// What the provider's own frontend library takes for it. Shown to nobody but the payer, and kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<String>,
}

/// How far a payment is that a provider was asked for, in a word, and what the payer has to do. How it ends is told
/// elsewhere, even if it has ended by now: the same request gets the same answer, but for what has to be done.
pub(super) async fn asked(
    app: &App,
    charge: ChargeId,
    position: Position,
) -> Result<(&'static str, Option<PaymentAction>), Problem> {
    // The process asks the provider. Whoever cannot wait for it so long sends the request again.
    if app.progress.wait_for(payments::NAME, position, PROVIDER_PATIENCE).await.is_err() {
        return Ok(("pending", None));
    }
    let progress = app.payments().progress(charge).await?;
    let waits = matches!(progress.phase, Phase::Open { action: true, .. });
    let action = progress.action.filter(|_| waits).map(|action| PaymentAction {
        redirect_url: action.redirect_url,
        client_secret: action.client_secret.map(|secret| secret.expose().to_owned()),
    });
    Ok((if waits { "action_required" } else { "pending" }, action))
}

/// An amount as a read model has it. Read models are made of amounts that the domain has checked.
pub(super) fn stored_money(minor: i64, currency: Currency) -> Result<Money, Problem> {
    Money::new(minor, currency).map_err(|_| Problem::internal())
}

/// The payment method that a token names, or the id of one that its owner keeps.
pub(super) async fn method_of(app: &App, owner: AccountId, named: &str) -> Result<PaymentMethod, Problem> {
    let Ok(id) = named.parse::<MethodId>() else { return payment_method(app, named) };
    let look = move |world: &mut commands::World<'_>| {
        Ok(world.get::<Payee>(owner)?.method(id).ok().map(|method| method.at.clone()))
    };
    let unknown = || Problem::invalid_field("/payment_method", "unknown", "no such payment method is kept");
    app.engine.read(look).await?.ok_or_else(unknown)
}

/// The payment method that a token names.
pub(super) fn payment_method(app: &App, token: &str) -> Result<PaymentMethod, Problem> {
    method_named(app, token, "/payment_method")
}

/// The same, where the token is in this field.
pub(super) fn method_named(app: &App, token: &str, pointer: &'static str) -> Result<PaymentMethod, Problem> {
    let known = "no payment provider of this marketplace knows this; the sandbox's tokens begin with `sandbox-`";
    app.providers.method(token).ok_or_else(|| Problem::invalid_field(pointer, "unknown", known))
}
