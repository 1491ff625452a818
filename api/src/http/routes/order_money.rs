//! Where the money of an order is, for who buys, who sells and staff: what has happened to it and when, and what comes
//! next, in words and in numbers. Each side is told what concerns it; who sells is told of fees and of what they owe, who
//! buys is not.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use domain::account::Capability;
use domain::{Money, OrderId, Posting};
use projections::order_money::{self, Cause, Kind, Next, OrderMoney, Party, Place, Step};
use projections::past::{Question, View};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::admin::transactions::LedgerPlace;
use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Id, NoQuery};
use crate::http::money::stored_money;
use crate::http::openapi::{MoneyBody, Waits};
use crate::http::problem::Problem;

mod telling;

use telling::Reader;

const TAG: &str = "Orders";

/// The most steps that are told: an order seldom has twenty, and refunds in cents are the only way to have more.
const MOST_STEPS: u32 = 200;

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(show_to_guest))
}

/// Where the money of an order is, how it came there, and what comes next. Amounts that do not concern whoever asks are
/// none.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderMoneyBody {
    order_id: Uuid,
    /// As what it is told: `buyer`, `seller` or `staff`.
    #[schema(value_type = String, example = "buyer")]
    told_to: &'static str,
    /// `unpaid`, `called_off`, `escrow`, `frozen`, `bank`, `seller`, `buyer`, `divided`, `door` or `paid_at_door`.
    #[schema(value_type = String, example = "escrow")]
    place: Place,
    /// The same in words.
    #[schema(example = "We keep 105.00 USD of yours until the order is over.")]
    words: String,
    #[schema(value_type = MoneyBody)]
    total: Money,
    /// What of it bonus points pay.
    #[schema(value_type = Option<MoneyBody>)]
    from_points: Option<Money>,
    /// What was paid in, points included. It is all somewhere: what is held, is at the bank, has gone back, was paid out, and
    /// the fee come to the same.
    #[schema(value_type = MoneyBody)]
    paid: Money,
    #[schema(value_type = MoneyBody)]
    held: Money,
    /// What the bank of the card has taken back until it has decided.
    #[schema(value_type = MoneyBody)]
    at_bank: Money,
    #[schema(value_type = MoneyBody)]
    refunded: Money,
    /// What the seller has got, less what was given back.
    #[schema(value_type = Option<MoneyBody>)]
    paid_out: Option<Money>,
    /// What the marketplace has kept, less what was given back.
    #[schema(value_type = Option<MoneyBody>)]
    fee: Option<Money>,
    /// What has happened, the oldest first.
    history: Vec<StepBody>,
    /// Whether that is all; of a very long history only the end is told.
    history_is_whole: bool,
    /// What happens by itself if nobody does anything; none once the order is over, and while a bank decides.
    next: Option<NextBody>,
}

/// Something that has moved the money of an order, or set one of its clocks.
#[derive(Debug, Serialize, ToSchema)]
pub struct StepBody {
    at: DateTime<Utc>,
    /// `placed`, `confirmed`, `called_off`, `paid`, `shipped`, `delivery_asked`, `delivered`, `inspection_started`,
    /// `disputed`, `released`, `paid_at_door`, `partly_refunded`, `refunded`, `divided`, `refunded_after_release`,
    /// `recovered`, `card_asked`, `card_action_needed`, `card_declined`, `card_too_late`, `card_refund_sent`,
    /// `card_refunded`, `card_refund_failed`, `charged_back`, `chargeback_returned` or `chargeback_lost`.
    #[schema(value_type = String, example = "paid")]
    kind: Kind,
    /// The same in words.
    #[schema(example = "You paid 105.00 USD.")]
    words: String,
    /// How much it is about.
    #[schema(value_type = Option<MoneyBody>)]
    amount: Option<Money>,
    /// What of that bonus points have paid, or came back as points.
    #[schema(value_type = Option<MoneyBody>)]
    from_points: Option<Money>,
    /// What the marketplace has kept; of a refund, what it gave back.
    #[schema(value_type = Option<MoneyBody>)]
    fee: Option<Money>,
    /// What the seller got; of a refund, what of it the seller had available.
    #[schema(value_type = Option<MoneyBody>)]
    to_seller: Option<Money>,
    /// What the seller owes from then on.
    #[schema(value_type = Option<MoneyBody>)]
    owed: Option<Money>,
    /// Who or what has caused it.
    #[schema(value_type = Option<String>, example = "buyer")]
    cause: Option<Cause>,
    /// Until when whoever has to act may do so.
    until: Option<DateTime<Utc>>,
    /// Where it is in the log.
    position: i64,
    /// The movements between ledger accounts, for staff.
    postings: Option<Vec<PostingBody>>,
}

/// What happens by itself if nobody does anything.
#[derive(Debug, Serialize, ToSchema)]
pub struct NextBody {
    /// `payment_due`, `confirmation_due`, `shipping_due`, `delivery_asked`, `dispute_opens`, `delivery_due`, `release` or
    /// `dispute_refunded`.
    #[schema(value_type = String, example = "release")]
    what: Next,
    /// The same in words.
    #[schema(example = "The seller is paid, unless you open a dispute before.")]
    words: String,
    at: Option<DateTime<Utc>>,
}

/// A movement between two ledger accounts.
#[derive(Debug, Serialize, ToSchema)]
pub struct PostingBody {
    /// The side that is debited.
    from: LedgerPlace,
    /// The side that is credited.
    to: LedgerPlace,
    #[schema(value_type = MoneyBody)]
    amount: Money,
}

impl From<&Posting> for PostingBody {
    fn from(posting: &Posting) -> Self {
        let (from, to) = (LedgerPlace::from(&posting.debit), LedgerPlace::from(&posting.credit));
        Self { from, to, amount: posting.amount }
    }
}

/// Where the money of an order is now, what has happened to it and when, and what comes next: for its buyer, its seller
/// and staff.
#[utoipa::path(get, path = "/orders/{id}/money", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = OrderMoneyBody, description = "Where the money is")))]
async fn show(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<impl IntoResponse, Problem> {
    read.wait_for(&app, order_money::MODEL.name).await?;
    let app = &app;
    let absent = || Problem::not_found("order");
    let shown = |mut look: Look| async move {
        let money = order_money::get(&mut look.view, order).await?.ok_or_else(absent)?;
        let reader = match money.party(caller.account) {
            Some(Party::Buyer) => Reader::Buyer,
            Some(Party::Seller) => Reader::Seller,
            None if access::may(app, caller, Capability::Staff).await? => Reader::Staff,
            None => return Err(absent()),
        };
        told(&mut look.view, &money, reader).await
    };
    let body = read.answer(app, Question::OrderMoney(order), shown).await?;
    Ok(([(header::CACHE_CONTROL, "private, no-cache"), (header::VARY, "Authorization")], Json(body)))
}

/// The same for a guest, or for whoever has the claim token of what a guest has ordered.
#[utoipa::path(get, path = "/guest/orders/{claim_token}/money", tag = "Guests",
    params(("claim_token" = String, Path), TakesAsOf, Waits),
    responses((status = OK, body = OrderMoneyBody, description = "Where the money is")))]
async fn show_to_guest(
    State(app): State<App>,
    Id(token): Id<String>,
    read: AsOf<NoQuery>,
) -> Result<impl IntoResponse, Problem> {
    read.wait_for(&app, order_money::MODEL.name).await?;
    let absent = || Problem::not_found("order");
    let order = app.secret.read_claim_token(&token).ok_or_else(absent)?;
    let shown = |mut look: Look| async move {
        let money = order_money::get(&mut look.view, order).await?.ok_or_else(absent)?;
        told(&mut look.view, &money, Reader::Buyer).await
    };
    let body = read.answer(&app, Question::OrderMoney(order), shown).await?;
    // The address is all that is needed to see it: nothing of it is kept on the way.
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)))
}

async fn told(view: &mut View, money: &OrderMoney, reader: Reader) -> Result<OrderMoneyBody, Problem> {
    let steps = order_money::steps(view, OrderId(money.order_id), MOST_STEPS + 1).await?;
    let most = MOST_STEPS as usize;
    let history_is_whole = steps.len() <= most;
    let last = &steps[steps.len().saturating_sub(most)..];
    let amount = |minor| stored_money(minor, money.currency.0);
    let history = last.iter().filter(|step| reader.is_told_of(step.kind));
    Ok(OrderMoneyBody {
        order_id: money.order_id,
        told_to: reader.name(),
        place: money.place,
        words: telling::place(money, reader),
        total: amount(money.total)?,
        from_points: reader.unless_selling(money.from_points).map(amount).transpose()?,
        paid: amount(money.paid)?,
        held: amount(money.held)?,
        at_bank: amount(money.at_bank)?,
        refunded: amount(money.refunded)?,
        paid_out: reader.unless_buying(money.paid_out).map(amount).transpose()?,
        fee: reader.unless_buying(money.fee).map(amount).transpose()?,
        history: history.map(|step| step_body(step, money, reader)).collect::<Result<_, _>>()?,
        history_is_whole,
        next: money.next.map(|next| NextBody {
            what: next,
            words: telling::next(next, money, reader).to_owned(),
            at: money.next_at,
        }),
    })
}

fn step_body(step: &Step, money: &OrderMoney, reader: Reader) -> Result<StepBody, Problem> {
    let amount = |minor: Option<i64>| minor.map(|minor| stored_money(minor, money.currency.0)).transpose();
    let shown = telling::shown(step, reader);
    Ok(StepBody {
        at: step.recorded_at,
        kind: step.kind,
        words: telling::step(&shown, money, reader),
        amount: amount(shown.amount)?,
        from_points: amount(shown.from_points)?,
        fee: amount(shown.fee)?,
        to_seller: amount(shown.to_seller)?,
        owed: amount(shown.owed)?,
        cause: step.cause,
        until: step.until,
        position: step.position,
        postings: (reader == Reader::Staff).then(|| step.postings.0.iter().map(PostingBody::from).collect()),
    })
}
