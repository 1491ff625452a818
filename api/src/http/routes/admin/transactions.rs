//! Every movement of money, for staff.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::{AccountId, Currency, LedgerAccount, Money, OrderId};
use projections::ledger::{self, Entry, Step};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::TAG;
use crate::app::App;
use crate::http::as_of::check_times;
use crate::http::extract::Read;
use crate::http::money::stored_money;
use crate::http::openapi::{CurrencyCode, MoneyBody, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;

/// Which movements to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MovementsQuery {
    /// Only this kind.
    #[param(inline, value_type = Option<StepName>)]
    kind: Option<Step>,
    /// Only this currency.
    #[param(value_type = Option<CurrencyCode>, example = "USD")]
    currency: Option<Currency>,
    /// Only what this account has got, given, set aside, owes or has earned.
    account: Option<Uuid>,
    /// Only what the escrow of this order has got or given.
    order: Option<Uuid>,
    /// Only this deposit, withdrawal, hold, refund, order, charge, dispute, commission or period of a subscription.
    operation: Option<Uuid>,
    /// Not before then.
    #[param(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    from: Option<DateTime<Utc>>,
    /// Before then.
    #[param(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    until: Option<DateTime<Utc>>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<ledger::Cursor>>,
}

words!(
    StepName: "deposit_settled", "withdrawal_requested", "withdrawal_paid", "withdrawal_failed", "withdrawal_returned",
    "hold_placed", "hold_released", "escrow_funded", "escrow_released", "escrow_refunded", "escrow_split",
    "release_refunded", "commission_accrued", "commission_vested", "commission_reversed",
    "vested_commission_reversed", "subscription_purchased", "subscription_upgraded", "subscription_renewed",
    "period_recognised", "receivable_recovered", "charge_succeeded", "provider_fee_charged", "charge_refunded",
    "charge_refund_returned", "charge_disputed", "charge_dispute_won", "escrow_charged_back", "chargeback_returned"
);

/// A movement of money from one place to another.
#[derive(Debug, Serialize, ToSchema)]
pub struct MovementBody {
    /// Where its event is in the log.
    position: i64,
    /// Its place among the movements of that event, from 1.
    ordinal: i32,
    #[schema(value_type = String, example = "escrow_released")]
    kind: Step,
    /// The deposit, withdrawal, hold, refund, order, charge, dispute, commission or period of a subscription that it is a
    /// step of.
    operation: Uuid,
    /// Where it came from: the side that is debited.
    from: LedgerPlace,
    /// Where it went: the side that is credited.
    to: LedgerPlace,
    #[schema(value_type = MoneyBody)]
    amount: Money,
    at: DateTime<Utc>,
}

/// Where money can be.
#[derive(Debug, Serialize, ToSchema)]
pub struct LedgerPlace {
    /// Such as `available`, `held` and `payout-pending` of an account, `escrow` of an order, or `fee-income`.
    #[schema(example = "escrow")]
    kind: String,
    /// Whose: the id of an account or an order, the name of a provider, or `marketplace`.
    #[schema(example = "0192f5a0-0de0-7000-8000-000000000001")]
    of: String,
}

impl From<&LedgerAccount> for LedgerPlace {
    fn from(account: &LedgerAccount) -> Self {
        let text = account.to_string();
        let (kind, of) = text.split_once(':').unwrap_or((&text, ""));
        Self { kind: kind.to_owned(), of: of.to_owned() }
    }
}

/// Where money of an account can be.
fn places_of(owner: AccountId) -> Vec<LedgerAccount> {
    vec![
        LedgerAccount::Available(owner),
        LedgerAccount::Held(owner),
        LedgerAccount::PayoutPending(owner),
        LedgerAccount::Receivable(owner),
        LedgerAccount::AffiliatePending(owner),
    ]
}

/// Every movement of money, the newest first: what came in and went out, what was set aside, and what escrows have got
/// and given.
#[utoipa::path(get, path = "/admin/transactions", tag = TAG, security(("bearer" = ["staff"])),
    params(MovementsQuery, Waits), responses((status = OK, body = Page<MovementBody>, description = "A page")))]
pub(super) async fn list(
    State(app): State<App>,
    read: Read<MovementsQuery>,
) -> Result<Json<Page<MovementBody>>, Problem> {
    read.wait_for(&app, ledger::MODEL.name).await?;
    let MovementsQuery { kind, currency, account, order, operation, from, until, limit, cursor } = read.query;
    check_times([("?from", from), ("?until", until)])?;
    let limit = page_limit(limit)?;
    let account = account.map(|owner| places_of(AccountId(owner)));
    let order = order.map(|order| vec![LedgerAccount::Escrow(OrderId(order))]);
    let sides = account.into_iter().chain(order).collect();
    let filter = ledger::Filter { step: kind, currency, sides, operation, from, until };
    let page = ledger::page(&app.pool, &filter, cursor.map(|cursor| cursor.0), limit).await?;
    Page::of(page, |row| body(&row)).map(Json)
}

fn body(row: &Entry) -> Result<MovementBody, Problem> {
    Ok(MovementBody {
        position: row.position,
        ordinal: row.ordinal,
        kind: row.step,
        operation: row.operation,
        from: LedgerPlace::from(&row.debit_account.0),
        to: LedgerPlace::from(&row.credit_account.0),
        amount: stored_money(row.amount, row.currency.0)?,
        at: row.recorded_at,
    })
}
