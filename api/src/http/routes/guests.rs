//! Guests: ordering at a store without an account, to be paid when it is brought.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use commands::Accepted;
use commands::guests::{self, GuestOrder};
use commands::orders::CartLine;
use domain::claim::Kind;
use domain::order::{Confirmation, MOST_GUEST_LINES};
use domain::{AccountId, Money, OrderId};
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::orders as purchases;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::orders::{Address, CartLineBody, Contact, OrderBody, OrderChanged, change, order_body};
use crate::app::App;
use crate::http::extract::{Command, Id, NoQuery, Nothing, Read, Slug, Unnamed};
use crate::http::fields::{is_country, is_phone};
use crate::http::openapi::{Conditional, Keyed, MoneyBody, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Guests";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(order)).routes(routes!(show)).routes(routes!(confirm))
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
    /// By card, which this version does not take of guests.
    Card,
}

/// What is remembered of a guest's order under its key: nothing that shows it to anybody.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Ordered {
    order_id: Uuid,
    total: Money,
    confirm_by: DateTime<Utc>,
}

/// A guest's order.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct GuestOrdered {
    order_id: Uuid,
    /// Shows the order later, at `/guest/orders/{claim_token}`, to whoever has it.
    claim_token: String,
    /// What is to be paid at the door.
    #[schema(value_type = MoneyBody)]
    total: Money,
    /// Called off then, unless the seller has confirmed it.
    confirm_by: DateTime<Utc>,
}

/// Orders at a store without an account, to be paid when it is brought. The pieces are kept while the seller asks
/// whether the guest means it; all such guests together can keep half of what there is, or the one piece. What is not
/// confirmed, sent or brought in time is called off. Repeating the same `Idempotency-Key` with the same phone is safe.
#[utoipa::path(post, path = "/store/{slug}/orders", tag = TAG, request_body = GuestOrderBody,
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$"), Keyed),
    responses((status = CREATED, body = GuestOrdered, description = "Ordered")))]
async fn order(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    command: Unnamed<GuestOrderBody>,
) -> Result<Done<GuestOrdered>, Problem> {
    let GuestOrderBody { name, phone, email, address, confirmation, payment, lines } = command.body.clone();
    if payment == GuestPayment::Card {
        let detail = "this version takes no cards of guests: choose cash_on_delivery, or order with an account";
        return Err(Problem::invalid_field("/payment", "unknown", detail));
    }
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
    let rules = app.cash_rules();
    let place = move |world: &mut commands::World<'_>| {
        let (total, confirm_by) = guests::place(world, &new, rules)?;
        Ok(Ordered { order_id: new.order.0, total, confirm_by })
    };
    let Accepted { value, position, replayed } = app.engine.submit(request, place).await?;
    let Ordered { order_id, total, confirm_by } = value;
    let claim_token = app.secret.claim_token(OrderId(order_id));
    let location = format!("/api/v1/guest/orders/{claim_token}");
    let value = GuestOrdered { order_id, claim_token, total, confirm_by };
    Ok(Done::created(Accepted { value, position, replayed }, location))
}

/// What a guest has ordered, for whoever has its claim token.
#[utoipa::path(get, path = "/guest/orders/{claim_token}", tag = TAG,
    params(("claim_token" = String, Path), Waits),
    responses((status = OK, body = OrderBody, description = "The order")))]
async fn show(
    State(app): State<App>,
    Id(token): Id<String>,
    read: Read<NoQuery>,
) -> Result<impl IntoResponse, Problem> {
    read.wait_for(&app, purchases::MODEL.name).await?;
    let absent = || Problem::not_found("order");
    let order = app.secret.read_claim_token(&token).ok_or_else(absent)?;
    let row = purchases::get(&app.pool, order).await?.ok_or_else(absent)?;
    let (version, position) = (row.version.unsigned_abs(), row.position);
    // Whoever has the address sees who the guest is: nothing of it is kept on the way.
    Ok(([(header::CACHE_CONTROL, "no-store")], One { body: order_body(row)?, version, position }))
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
