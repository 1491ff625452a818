//! Escrow: where the money of an order is, and who gets it.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::escrows::{self, Resolution};
use domain::escrow::{Disputant, Status};
use domain::{Money, OrderId, RefundId};
use eventstore::mint;
use garde::Validate;
use projections::escrows as escrow_book;
use projections::past::Question;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::orders::{OrderChanged, Reason, change, require_party};
use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Id, NoQuery, Nothing, Read};
use crate::http::money::stored_money;
use crate::http::openapi::{Conditional, MoneyBody, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Escrow";

/// The routes of this file.
#[expect(deprecated, reason = "a path that old clients know")]
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(confirm))
        .routes(routes!(confirm_by_body))
        .routes(routes!(dispute))
        .routes(routes!(list_all))
        .routes(routes!(resolve))
}

/// The money of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct EscrowBody {
    order_id: Uuid,
    buyer_id: Uuid,
    seller_id: Uuid,
    /// `awaiting_payment`, `funded`, `inspection`, `disputed`, `charged_back`, `voided`, `released`, `refunded` or `split`.
    #[schema(value_type = String, example = "funded")]
    status: Status,
    /// What the buyer pays.
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// What has gone back to the buyer.
    #[schema(value_type = MoneyBody)]
    refunded: Money,
    /// The marketplace's share, once the seller was paid.
    #[schema(value_type = Option<MoneyBody>)]
    fee: Option<Money>,
    /// What the seller got.
    #[schema(value_type = Option<MoneyBody>)]
    paid_out: Option<Money>,
    opened_at: DateTime<Utc>,
    funded_at: Option<DateTime<Utc>>,
    /// Refunded then, unless it is shipped.
    ship_by: Option<DateTime<Utc>>,
    /// Released then, unless it is disputed.
    inspection_ends_at: Option<DateTime<Utc>>,
    /// `buyer`, `seller` or `marketplace`.
    #[schema(value_type = Option<String>)]
    disputed_by: Option<Disputant>,
    dispute_reason: Option<String>,
    disputed_at: Option<DateTime<Utc>>,
    /// Refunded then, unless it is resolved.
    dispute_expires_at: Option<DateTime<Utc>>,
    /// Why it ended: `confirmed`, `inspection_over`, `resolved`, `cancelled`, `not_shipped`, `seller`, `staff`,
    /// `dispute_expired` or `charged_back`.
    #[schema(value_type = Option<String>, example = "confirmed")]
    resolution: Option<escrow_book::Resolution>,
    ended_at: Option<DateTime<Utc>>,
    version: u64,
}

fn body(row: escrow_book::Escrow) -> Result<EscrowBody, Problem> {
    let money = |minor| stored_money(minor, row.currency.0);
    Ok(EscrowBody {
        amount: money(row.amount)?,
        refunded: money(row.refunded)?,
        fee: row.fee.map(money).transpose()?,
        paid_out: row.paid_out.map(money).transpose()?,
        order_id: row.order_id,
        buyer_id: row.buyer_id,
        seller_id: row.seller_id,
        status: row.status.0,
        opened_at: row.opened_at,
        funded_at: row.funded_at,
        ship_by: row.ship_by,
        inspection_ends_at: row.inspection_ends_at,
        disputed_by: row.disputed_by.map(|by| by.0),
        dispute_reason: row.dispute_reason,
        disputed_at: row.disputed_at,
        dispute_expires_at: row.dispute_expires_at,
        resolution: row.resolution,
        ended_at: row.ended_at,
        version: row.version.unsigned_abs(),
    })
}

/// Which of one's escrows to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<escrow_book::Cursor>>,
}

/// One's own escrows that hold money, as buyer or seller: funded, in inspection or disputed. Newest first.
#[utoipa::path(get, path = "/escrow", tag = TAG, security(("bearer" = [])), params(OwnQuery, Waits),
    responses((status = OK, body = Page<EscrowBody>, description = "A page")))]
async fn list(State(app): State<App>, caller: Caller, read: Read<OwnQuery>) -> Result<Json<Page<EscrowBody>>, Problem> {
    read.wait_for(&app, escrow_book::MODEL.name).await?;
    let OwnQuery { limit, cursor } = read.query;
    let cursor = cursor.map(|cursor| cursor.0);
    let page = escrow_book::open_of(&app.pool, caller.account, cursor, page_limit(limit)?).await?;
    Page::of(page, body).map(Json)
}

/// The money of an order, for its buyer, its seller and staff.
#[utoipa::path(get, path = "/escrow/{order_id}", tag = TAG, security(("bearer" = [])),
    params(("order_id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = EscrowBody, description = "The escrow")))]
async fn show(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<One<EscrowBody>, Problem> {
    read.wait_for(&app, escrow_book::MODEL.name).await?;
    let app = &app;
    let shown = |mut look: Look| async move {
        let row = escrow_book::get(&mut look.view, order).await?.ok_or_else(|| Problem::not_found("escrow"))?;
        require_party(app, caller, &[row.buyer_id, row.seller_id], "escrow").await?;
        let (version, position) = (row.version.unsigned_abs(), row.position);
        Ok(One { body: body(row)?, version, position })
    };
    read.answer(app, Question::Escrow(order), shown).await
}

/// Says that the buyer is content: the seller is paid.
#[utoipa::path(post, path = "/escrow/{order_id}/confirm", tag = TAG, security(("bearer" = [])),
    params(("order_id" = Uuid, Path), Conditional),
    responses((status = OK, body = OrderChanged, description = "Released")))]
async fn confirm(app: State<App>, id: Id<OrderId>, command: Command<Nothing>) -> Result<Done<OrderChanged>, Problem> {
    super::orders::confirm(app, id, command).await
}

/// An order, named in the body.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct OrderNamed {
    order_id: Uuid,
}

/// The same as `/escrow/{order_id}/confirm`, for clients that name the order in the body.
#[utoipa::path(post, path = "/payments/escrow/confirm", tag = TAG, security(("bearer" = [])), request_body = OrderNamed,
    params(Conditional), responses((status = OK, body = OrderChanged, description = "Released"),
        (status = NOT_FOUND, description = "There is no such order, or it is not the caller's to see")))]
#[deprecated]
async fn confirm_by_body(State(app): State<App>, command: Command<OrderNamed>) -> Result<Done<OrderChanged>, Problem> {
    let (buyer, order) = (command.caller.account, OrderId(command.body.order_id));
    change(&app, order, &command, move |world| escrows::confirm(world, order, buyer)).await
}

/// Stops the clock of an escrow until staff has decided, as its buyer or its seller.
#[utoipa::path(post, path = "/escrow/{order_id}/dispute", tag = TAG, security(("bearer" = [])),
    params(("order_id" = Uuid, Path), Conditional), request_body = Reason,
    responses((status = OK, body = OrderChanged, description = "Disputed")))]
async fn dispute(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Reason>,
) -> Result<Done<OrderChanged>, Problem> {
    let (by, reason) = (command.caller.account, command.body.reason.clone());
    change(&app, order, &command, move |world| escrows::dispute(world, order, by, &reason)).await
}

/// Which escrows to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AllQuery {
    /// Only in this status.
    #[param(inline, value_type = Option<StatusName>)]
    status: Option<Status>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<escrow_book::Cursor>>,
}

words!(
    StatusName: "awaiting_payment", "funded", "inspection", "disputed", "charged_back", "voided", "released", "refunded",
    "split"
);

/// All escrows, newest first, for staff.
#[utoipa::path(get, path = "/admin/escrow", tag = TAG, security(("bearer" = ["staff"])), params(AllQuery, Waits),
    responses((status = OK, body = Page<EscrowBody>, description = "A page")))]
async fn list_all(State(app): State<App>, read: Read<AllQuery>) -> Result<Json<Page<EscrowBody>>, Problem> {
    read.wait_for(&app, escrow_book::MODEL.name).await?;
    let AllQuery { status, limit, cursor } = read.query;
    let cursor = cursor.map(|cursor| cursor.0);
    let page = escrow_book::page(&app.pool, status, cursor, page_limit(limit)?).await?;
    Page::of(page, body).map(Json)
}

/// How a dispute is decided.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The seller is paid.
    Release,
    /// The buyer has it back.
    Refund,
    /// The buyer gets `to_buyer`, the seller the rest.
    Split,
}

/// A decision.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Decision {
    outcome: Outcome,
    /// What the buyer gets of a split; the seller gets the rest, less the fee on it.
    #[schema(value_type = Option<MoneyBody>)]
    to_buyer: Option<Money>,
    /// Why, for the record of what staff have done.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

impl Decision {
    fn resolution(&self) -> Result<Resolution, Problem> {
        match (self.outcome, self.to_buyer) {
            (Outcome::Release, None) => Ok(Resolution::Release),
            (Outcome::Refund, None) => Ok(Resolution::Refund),
            (Outcome::Split, Some(to_buyer)) => Ok(Resolution::Split { to_buyer }),
            (Outcome::Split, None) => Err(Problem::invalid_field("/to_buyer", "missing", "a split takes `to_buyer`")),
            (Outcome::Release | Outcome::Refund, Some(_)) => {
                Err(Problem::invalid_field("/to_buyer", "unexpected", "only a split takes `to_buyer`"))
            }
        }
    }
}

/// Decides a dispute: release, refund or split.
#[utoipa::path(post, path = "/admin/escrow/{order_id}/resolve", tag = TAG, security(("bearer" = ["staff"])),
    params(("order_id" = Uuid, Path), Conditional), request_body = Decision,
    responses((status = OK, body = OrderChanged, description = "Resolved")))]
async fn resolve(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Decision>,
) -> Result<Done<OrderChanged>, Problem> {
    let (by, resolution, refund) = (command.caller.account, command.body.resolution()?, RefundId(mint::id()));
    let command = command.because(&app, |decision| decision.reason.as_deref()).await?;
    change(&app, order, &command, move |world| escrows::resolve(world, order, by, resolution, refund)).await
}
