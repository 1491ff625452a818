//! One's own money: balances, movements, deposits and withdrawals.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::{Accepted, charges, payouts, wallets};
use domain::{Currency, DepositId, Money, WithdrawalId};
use eventstore::mint;
use garde::Validate;
use projections::past::Question;
use projections::wallet_statement;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Creation, NoQuery, Read};
use crate::http::money::{PaymentAction, asked, method_of, stored_money};
use crate::http::openapi::{CurrencyCode, Keyed, MoneyBody, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

const TAG: &str = "Wallet";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(transactions))
        .routes(routes!(deposit))
        .routes(routes!(withdraw))
}

/// One's own money, a balance per currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct WalletBody {
    balances: Vec<BalanceBody>,
}

/// The money of an account in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct BalanceBody {
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: Currency,
    /// What may be spent or withdrawn.
    #[schema(value_type = MoneyBody)]
    available: Money,
    /// What is set aside for a second step.
    #[schema(value_type = MoneyBody)]
    held: Money,
    /// What is on its way out.
    #[schema(value_type = MoneyBody)]
    payout_pending: Money,
    /// What is owed to the marketplace, and paid with the next money that comes in.
    #[schema(value_type = MoneyBody)]
    owed: Money,
}

/// One's own balances.
#[utoipa::path(get, path = "/wallet", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = WalletBody, description = "A balance per currency")))]
async fn show(State(app): State<App>, caller: Caller, read: AsOf<NoQuery>) -> Result<Json<WalletBody>, Problem> {
    read.wait_for(&app, wallet_statement::MODEL.name).await?;
    let rows = |mut look: Look| async move { Ok(wallet_statement::balances(&mut look.view, caller.account).await?) };
    let rows = read.answer(&app, Question::Wallet(caller.account), rows).await?;
    let balances = rows.into_iter().map(balance).collect::<Result<_, _>>()?;
    Ok(Json(WalletBody { balances }))
}

fn balance(row: wallet_statement::Balance) -> Result<BalanceBody, Problem> {
    let money = |minor| stored_money(minor, row.currency.0);
    Ok(BalanceBody {
        available: money(row.available)?,
        held: money(row.held)?,
        payout_pending: money(row.payout_pending)?,
        owed: money(row.owed)?,
        currency: row.currency.0,
    })
}

/// Which movements to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TransactionsQuery {
    /// Only this currency.
    #[param(value_type = Option<CurrencyCode>, example = "USD")]
    currency: Option<Currency>,
    /// Only this kind.
    #[param(inline, value_type = Option<KindName>)]
    kind: Option<wallet_statement::Kind>,
    /// Only this status.
    #[param(inline, value_type = Option<StatusName>)]
    status: Option<wallet_statement::Status>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<wallet_statement::Cursor>>,
}

words!(
    KindName: "deposit", "withdrawal", "hold", "payment", "subscription", "sale", "refund_received", "refund_given",
    "commission_received", "commission_given", "recovery", "chargeback_given", "chargeback_regained"
);

words!(StatusName: "pending", "succeeded", "failed", "released", "returned");

/// One movement of money.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransactionBody {
    id: uuid::Uuid,
    #[schema(value_type = String, example = "deposit")]
    kind: wallet_statement::Kind,
    #[schema(value_type = String, example = "succeeded")]
    status: wallet_statement::Status,
    /// What it does to the available balance: negative for money that leaves it.
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// The available balance right after it last moved money; not told before it has.
    #[schema(value_type = Option<MoneyBody>)]
    balance_after: Option<Money>,
    /// The order that it is about.
    order_id: Option<uuid::Uuid>,
    /// At which payment provider, if it is a deposit or a withdrawal.
    #[schema(example = "sandbox")]
    provider: Option<String>,
    /// The provider's name for it.
    reference: Option<String>,
    /// Why it failed.
    failure: Option<String>,
    requested_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
}

/// One's own movements of money, newest first.
#[utoipa::path(get, path = "/payments/transactions", tag = TAG, security(("bearer" = [])),
    params(TransactionsQuery, Waits), responses((status = OK, body = Page<TransactionBody>, description = "A page")))]
async fn transactions(
    State(app): State<App>,
    caller: Caller,
    read: Read<TransactionsQuery>,
) -> Result<Json<Page<TransactionBody>>, Problem> {
    read.wait_for(&app, wallet_statement::MODEL.name).await?;
    let TransactionsQuery { currency, kind, status, limit, cursor } = read.query;
    let limit = page_limit(limit)?;
    let filter = wallet_statement::Filter { currency, kind, status };
    let cursor = cursor.map(|cursor| cursor.0);
    let page = wallet_statement::transactions(&app.pool, caller.account, filter, cursor, limit).await?;
    Page::of(page, transaction).map(Json)
}

fn transaction(row: wallet_statement::Transaction) -> Result<TransactionBody, Problem> {
    Ok(TransactionBody {
        amount: stored_money(row.amount, row.currency.0)?,
        balance_after: row.balance_after.map(|minor| stored_money(minor, row.currency.0)).transpose()?,
        id: row.id,
        kind: row.kind,
        status: row.status,
        order_id: row.order_id,
        provider: row.provider,
        reference: row.reference,
        failure: row.failure_reason,
        requested_at: row.requested_at,
        settled_at: row.settled_at,
    })
}

/// Money to bring in or send out.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Transfer {
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// How to pay: the id of one of `/payments/methods`, or the provider's token for a payment method. `docs/payments.md`
    /// lists those of the sandbox.
    #[serde(default = "sandbox_method")]
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(default = "sandbox-succeeds", example = "sandbox-succeeds", min_length = 1, max_length = 200)]
    payment_method: String,
}

fn sandbox_method() -> String {
    commands::payments::sandbox::SUCCEEDS.to_owned()
}

/// A withdrawal that has begun. `/payments/transactions` tells how it ends.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Begun {
    /// Names it in `/payments/transactions`.
    id: uuid::Uuid,
    #[schema(example = "pending")]
    status: String,
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// What is available now.
    #[schema(value_type = MoneyBody)]
    available: Money,
}

/// A deposit that has begun. `/payments/transactions` tells how it ends.
#[derive(Debug, Serialize, ToSchema)]
pub struct DepositBegun {
    /// Names it in `/payments/transactions`.
    id: uuid::Uuid,
    /// `pending`; or `action_required` if you have to do something first.
    #[schema(example = "pending")]
    status: &'static str,
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// What is available now.
    #[schema(value_type = MoneyBody)]
    available: Money,
    /// What you have to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<PaymentAction>,
}

/// Asks the payment provider for money. It is available once the provider says so. What the provider wants you to do first
/// is in the answer, and in that to the same request with the same `Idempotency-Key`.
#[utoipa::path(post, path = "/payments/deposit", tag = TAG, security(("bearer" = [])), request_body = Transfer,
    params(Keyed), responses((status = ACCEPTED, body = DepositBegun, description = "Begun")))]
async fn deposit(State(app): State<App>, Creation(command): Creation<Transfer>) -> Result<Done<DepositBegun>, Problem> {
    let (owner, amount) = (command.caller.account, command.body.amount);
    let source = method_of(&app, owner, &command.body.payment_method).await?;
    let deposit = DepositId(mint::id());
    let ask = move |world: &mut commands::World<'_>| {
        charges::request_deposit(world, owner, deposit, amount, source.clone())?;
        let available = wallets::available(world, owner, amount.currency())?;
        Ok(Begun { id: deposit.0, status: "pending".to_owned(), amount, available })
    };
    let Accepted { value, position, replayed } = app.engine.submit(command.request(), ask).await?;
    let Begun { id, amount, available, .. } = value;
    let (status, action) = asked(&app, DepositId(id).into(), position).await?;
    let value = DepositBegun { id, status, amount, available, action };
    Ok(Done::begun(Accepted { value, position, replayed }))
}

/// Sends money out. It leaves the balance at once, and comes back if the provider refuses, or if the bank sends it back
/// later. It goes only to a payment method that was kept for a while (`payouts.cooling_s`), and not as soon after a
/// password, an address or a log-in was changed; `payouts.limits` bound how much.
#[utoipa::path(post, path = "/payments/withdraw", tag = TAG, security(("bearer" = [])), request_body = Transfer,
    params(Keyed), responses((status = ACCEPTED, body = Begun, description = "Begun")))]
async fn withdraw(State(app): State<App>, Creation(command): Creation<Transfer>) -> Result<Done<Begun>, Problem> {
    let (owner, amount) = (command.caller.account, command.body.amount);
    let to = method_of(&app, owner, &command.body.payment_method).await?;
    let (withdrawal, rules) = (WithdrawalId(mint::id()), app.settings.payouts.rules());
    let ask = move |world: &mut commands::World<'_>| {
        payouts::request(world, owner, withdrawal, amount, &to, &rules)?;
        let available = wallets::available(world, owner, amount.currency())?;
        Ok(Begun { id: withdrawal.0, status: "pending".to_owned(), amount, available })
    };
    Ok(Done::begun(app.engine.submit(command.request(), ask).await?))
}
