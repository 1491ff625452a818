//! Guests: ordering at a store without an account, paid by card or when it is brought.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use commands::charges::Asked;
use commands::guests::{self, GuestOrder};
use commands::orders::CartLine;
use commands::{Accepted, charges, escrows};
use domain::claim::Kind;
use domain::order::{Confirmation, MOST_GUEST_LINES};
use domain::wallet::PaymentMethod;
use domain::{AccountId, ChargeId, Money, OrderId};
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::orders as purchases;
use projections::past::Question;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::orders::{
    Address, CartLineBody, Contact, OrderBody, OrderChanged, PaymentAsked, PaymentBody, Reason, change, order_body,
    payment_answer,
};
use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Command, Id, NoQuery, Nothing, Slug, Unnamed};
use crate::http::fields::{is_country, is_phone};
use crate::http::money::{PaymentAction, asked, payment_method};
use crate::http::openapi::{Conditional, Keyed, MoneyBody, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Guests";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(order))
        .routes(routes!(show))
        .routes(routes!(pay))
        .routes(routes!(content))
        .routes(routes!(dispute))
        .routes(routes!(confirm))
}

/// What somebody without an account orders.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct GuestOrderBody {
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "Ann Lee", min_length = 1, max_length = 200)]
    name: String,
    #[garde(custom(is_phone))]
    #[schema(example = "+92 300 1234567", pattern = "^[+]?[0-9][0-9 ().-]{3,37}$")]
    phone: String,
    /// Needed if that is how to confirm.
    #[garde(email, length(max = 254))]
    #[schema(example = "ann@example.org", format = "email", max_length = 254)]
    email: Option<String>,
    #[garde(dive)]
    address: PostalAddress,
    confirmation: ConfirmationBody,
    #[serde(default)]
    payment: GuestPayment,
    /// The provider's token for the card, if that is how to pay.
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "sandbox-succeeds", min_length = 1, max_length = 200)]
    payment_method: Option<String>,
    /// What is ordered, all of this store; at most 20 pieces.
    #[garde(dive, length(min = 1, max = MOST_GUEST_LINES))]
    #[schema(min_items = 1, max_items = 20)]
    lines: Vec<CartLineBody>,
}

/// Where something is brought.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct PostalAddress {
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "12 Mall Road", min_length = 1, max_length = 200)]
    line1: String,
    #[garde(length(chars, max = 200))]
    #[schema(max_length = 200)]
    line2: Option<String>,
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "Lahore", min_length = 1, max_length = 100)]
    city: String,
    #[garde(length(chars, max = 100))]
    #[schema(max_length = 100)]
    region: Option<String>,
    #[garde(length(chars, max = 20))]
    #[schema(max_length = 20)]
    postal_code: Option<String>,
    /// ISO 3166-1, two capital letters.
    #[garde(custom(is_country))]
    #[schema(example = "PK", pattern = "^[A-Z]{2}$")]
    country: String,
}

/// How the seller asks whether the guest means it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfirmationBody {
    /// By a message to the phone.
    Whatsapp,
    /// By a call.
    Phone,
    /// By mail.
    Email,
}

impl From<ConfirmationBody> for Confirmation {
    fn from(body: ConfirmationBody) -> Self {
        match body {
            ConfirmationBody::Whatsapp => Self::Whatsapp,
            ConfirmationBody::Phone => Self::Phone,
            ConfirmationBody::Email => Self::Email,
        }
    }
}

/// How a guest pays.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestPayment {
    /// In cash, when it is brought.
    #[default]
    CashOnDelivery,
    /// By card, within 15 minutes.
    Card,
}

/// What is remembered of a guest's order under its key: nothing that shows it to anybody.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Ordered {
    order_id: Uuid,
    total: Money,
    #[serde(default)]
    confirm_by: Option<DateTime<Utc>>,
    #[serde(default)]
    pay_by: Option<DateTime<Utc>>,
    #[serde(default)]
    payment_id: Option<Uuid>,
}

/// A guest's order.
#[derive(Debug, Serialize, ToSchema)]
pub struct GuestOrdered {
    order_id: Uuid,
    /// Shows the order later, at `/guest/orders/{claim_token}`, to whoever has it.
    claim_token: String,
    /// What it costs, by card or at the door.
    #[schema(value_type = MoneyBody)]
    total: Money,
    /// Called off then, unless the seller has confirmed it; of orders in cash.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_by: Option<DateTime<Utc>>,
    /// Called off then, unless it is paid; of orders by card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pay_by: Option<DateTime<Utc>>,
    /// How far the payment by card is.
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<CardPaymentBody>,
}

/// A payment by card.
#[derive(Debug, Serialize, ToSchema)]
pub struct CardPaymentBody {
    payment_id: Uuid,
    /// `pending` while the provider is asked, or `action_required` if you have to do something first. The order tells
    /// whether it is paid.
    #[schema(example = "pending")]
    status: &'static str,
    /// What you have to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<PaymentAction>,
}

/// Orders at a store without an account. By card it is paid within 15 minutes into escrow, like any order, and what goes
/// back goes to the card; another card can be tried at `/guest/orders/{claim_token}/pay`. In cash it is paid when it is
/// brought: the pieces are kept while the seller asks whether the guest means it, and what is not confirmed, sent or
/// brought in time is called off. Either way all guests together can keep half of what there is, or the one piece.
/// Repeating the same `Idempotency-Key` with the same phone is safe.
#[utoipa::path(post, path = "/store/{slug}/orders", tag = TAG, request_body = GuestOrderBody,
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$"), Keyed),
    responses((status = CREATED, body = GuestOrdered, description = "Ordered")))]
async fn order(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    command: Unnamed<GuestOrderBody>,
) -> Result<Done<GuestOrdered>, Problem> {
    let GuestOrderBody { name, phone, email, address, confirmation, lines, .. } = command.body.clone();
    let card = card(&app, &command.body)?;
    if confirmation == ConfirmationBody::Email && email.is_none() {
        return Err(Problem::invalid_field("/email", "missing", "is needed to confirm by mail"));
    }
    let request = command.request(&app, &[&slug, &phone]);
    let key = PersonKey::mint(AccountId(mint::id()));
    let PostalAddress { line1, line2, city, region, postal_code, country } = address;
    let ship_to =
        Address { name: name.clone(), line1, line2, city, region, postal_code, country, phone: Some(phone.clone()) };
    let contact = serde_json::to_string(&Contact { name, phone, email }).map_err(|_| Problem::internal())?;
    let new = GuestOrder {
        store: app.secret.claim(Kind::StoreSlug, &slug),
        order: OrderId(mint::id()),
        guest: key.account,
        key: app.wrapping.wrap(&key),
        contact: key.seal(&contact),
        ship_to: key.seal(&ship_to.to_text()),
        confirmation: confirmation.into(),
        lines: lines.into_iter().map(CartLine::from).collect(),
    };
    let (cash_rules, sale_rules) = (app.cash_rules(), app.sale_rules());
    let place = move |world: &mut commands::World<'_>| {
        let order_id = new.order.0;
        let Some(card) = &card else {
            let (total, confirm_by) = guests::place(world, &new, cash_rules)?;
            return Ok(Ordered { order_id, total, confirm_by: Some(confirm_by), pay_by: None, payment_id: None });
        };
        let (Asked { charge, amount: total, .. }, pay_by) =
            guests::place_by_card(world, &new, card.clone(), sale_rules)?;
        Ok(Ordered { order_id, total, confirm_by: None, pay_by: Some(pay_by), payment_id: Some(charge.0) })
    };
    let Accepted { value, position, replayed } = app.engine.submit(request, place).await?;
    let Ordered { order_id, total, confirm_by, pay_by, payment_id } = value;
    let claim_token = app.secret.claim_token(OrderId(order_id));
    let location = format!("/api/v1/guest/orders/{claim_token}");
    let payment = match payment_id {
        Some(payment_id) => {
            let (status, action) = asked(&app, ChargeId(payment_id), position).await?;
            Some(CardPaymentBody { payment_id, status, action })
        }
        None => None,
    };
    let value = GuestOrdered { order_id, claim_token, total, confirm_by, pay_by, payment };
    Ok(Done::created(Accepted { value, position, replayed }, location))
}

/// The card that is to pay, if one is.
fn card(app: &App, body: &GuestOrderBody) -> Result<Option<PaymentMethod>, Problem> {
    match (body.payment, &body.payment_method) {
        (GuestPayment::CashOnDelivery, None) => Ok(None),
        (GuestPayment::CashOnDelivery, Some(_)) => {
            Err(Problem::invalid_field("/payment_method", "unexpected", "only a payment by card takes one"))
        }
        (GuestPayment::Card, Some(token)) => payment_method(app, token).map(Some),
        (GuestPayment::Card, None) => {
            Err(Problem::invalid_field("/payment_method", "missing", "is needed to pay by card"))
        }
    }
}

/// How a guest pays.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct GuestCard {
    /// The provider's token for the card.
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "sandbox-succeeds", min_length = 1, max_length = 200)]
    payment_method: String,
}

/// Pays what a guest has ordered by card, again or by another one, as whoever has its claim token. What the provider wants
/// to be done first is in the answer, and in that to the same request with the same `Idempotency-Key`.
#[utoipa::path(post, path = "/guest/orders/{claim_token}/pay", tag = TAG, request_body = GuestCard,
    params(("claim_token" = String, Path), Keyed),
    responses((status = OK, body = PaymentBody, description = "Paid"),
        (status = ACCEPTED, body = PaymentBody, description = "The provider is asked")))]
async fn pay(
    State(app): State<App>,
    Id(token): Id<String>,
    command: Unnamed<GuestCard>,
) -> Result<Done<PaymentBody>, Problem> {
    let (order, request) = (claimed(&app, &token)?, command.request(&app, &[&token]));
    let card = payment_method(&app, &command.body.payment_method)?;
    let ask = move |world: &mut commands::World<'_>| {
        let guest = guests::guest_of(world, order)?;
        Ok(PaymentAsked::of(order, charges::request_payment(world, guest, order, card.clone())?))
    };
    payment_answer(&app, app.engine.submit(request, ask).await?).await
}

/// Says that what a guest has paid by card has come and is as it should be, as whoever has its claim token: the seller is
/// paid.
#[utoipa::path(post, path = "/guest/orders/{claim_token}/confirm", tag = TAG,
    params(("claim_token" = String, Path), Keyed), responses((status = OK, body = OrderChanged, description = "Released")))]
async fn content(
    State(app): State<App>,
    Id(token): Id<String>,
    command: Unnamed<Nothing>,
) -> Result<Done<OrderChanged>, Problem> {
    as_guest(&app, &token, &command, escrows::confirm).await
}

/// Stops the clock of what a guest has paid by card until staff has decided, as whoever has its claim token.
#[utoipa::path(post, path = "/guest/orders/{claim_token}/dispute", tag = TAG, request_body = Reason,
    params(("claim_token" = String, Path), Keyed), responses((status = OK, body = OrderChanged, description = "Disputed")))]
async fn dispute(
    State(app): State<App>,
    Id(token): Id<String>,
    command: Unnamed<Reason>,
) -> Result<Done<OrderChanged>, Problem> {
    let reason = command.body.reason.clone();
    as_guest(&app, &token, &command, move |world, order, guest| escrows::dispute(world, order, guest, &reason)).await
}

fn claimed(app: &App, token: &str) -> Result<OrderId, Problem> {
    app.secret.read_claim_token(token).ok_or_else(|| Problem::not_found("order"))
}

/// Carries a command out that the guest of an order may give.
async fn as_guest<T>(
    app: &App,
    token: &str,
    command: &Unnamed<T>,
    mut decide: impl FnMut(&mut commands::World<'_>, OrderId, AccountId) -> Result<(), commands::Halt> + Send + 'static,
) -> Result<Done<OrderChanged>, Problem> {
    let (order, request) = (claimed(app, token)?, command.request(app, &[token]));
    let change = move |world: &mut commands::World<'_>| {
        let guest = guests::guest_of(world, order)?;
        decide(world, order, guest)?;
        OrderChanged::of(world, order)
    };
    Ok(Done::ok(app.engine.submit(request, change).await?))
}

/// What a guest has ordered, for whoever has its claim token.
#[utoipa::path(get, path = "/guest/orders/{claim_token}", tag = TAG,
    params(("claim_token" = String, Path), TakesAsOf, Waits),
    responses((status = OK, body = OrderBody, description = "The order")))]
async fn show(
    State(app): State<App>,
    Id(token): Id<String>,
    read: AsOf<NoQuery>,
) -> Result<impl IntoResponse, Problem> {
    read.wait_for(&app, purchases::MODEL.name).await?;
    let order = claimed(&app, &token)?;
    let shown = |mut look: Look| async move {
        let row = purchases::get(&mut look.view, order).await?.ok_or_else(|| Problem::not_found("order"))?;
        let (version, position) = (row.version.unsigned_abs(), row.position);
        Ok(One { body: order_body(row)?, version, position })
    };
    let shown = read.answer(&app, Question::Order(order), shown).await?;
    // Whoever has the address sees who the guest is: nothing of it is kept on the way.
    Ok(([(header::CACHE_CONTROL, "no-store")], shown))
}

/// Confirms what a guest has ordered, as its seller who has asked: its pieces are taken, and it can be sent.
#[utoipa::path(post, path = "/merchant/orders/{id}/confirm", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), responses((status = OK, body = OrderChanged, description = "Confirmed")))]
async fn confirm(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Nothing>,
) -> Result<Done<OrderChanged>, Problem> {
    let seller = command.caller.account;
    change(&app, order, &command, move |world| guests::confirm(world, order, seller)).await
}
