//! Orders: buying out of a cart, paying, and bringing it home.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::charges::Asked;
use commands::orders::{self, CartLine, Checkout};
use commands::{Accepted, address_books, affiliates, charges, escrows};
use domain::account::Capability;
use domain::address_book;
use domain::escrow::Escrow;
use domain::order::{MOST_LINES, MOST_QUANTITY, Order};
use domain::order_group::OrderGroup;
use domain::stock::Sku;
use domain::{
    AccountId, AddressId, ChargeId, ListingId, Money, OrderGroupId, OrderId, ReferralClickId, RefundId, Sealed,
};
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::Text;
use projections::orders as purchases;
use projections::past::{Question, View};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::addresses::key_of;
use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, NoQuery, Nothing, Read};
use crate::http::fields::is_country;
use crate::http::money::{PaymentAction, asked, method_of, stored_money};
use crate::http::openapi::{Conditional, Keyed, MoneyBody, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Orders";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, check_out))
        .routes(routes!(purchase))
        .routes(routes!(show))
        .routes(routes!(show_group))
        .routes(routes!(pay))
        .routes(routes!(cancel))
        .routes(routes!(ship))
        .routes(routes!(deliver))
        .routes(routes!(confirm))
        .routes(routes!(refund))
}

/// A cart to be bought.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Cart {
    /// What is bought, from any number of sellers, in one currency. Lines of the same form of a listing are summed.
    #[garde(dive, length(min = 1, max = MOST_LINES))]
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<CartLineBody>,
    /// Where to send it. Sealed, and shown to buyer, seller and staff alone.
    #[garde(dive)]
    ship_to: Option<Address>,
    /// The same by an address that the buyer keeps, one of `/addresses`, as it is now: what becomes of that later changes
    /// no order. Not beside `ship_to`, which would be `either-or`.
    address_id: Option<Uuid>,
    #[serde(default)]
    pay: PayWhen,
    /// How many bonus points of the buyer's pay for a part of it, or for all: `GET /points` tells what they are worth. They
    /// must be of its currency. What of that is not paid in time comes back as points, and so does what is refunded; what
    /// is less than a point then is money.
    #[garde(range(max = MOST_POINTS))]
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64, minimum = 0, default = 0)]
    points: u64,
    /// By which click on an affiliate's link the buyer came, as `/affiliate/clicks` has told. One that does not count any
    /// more, or never did, is no error.
    click_id: Option<Uuid>,
}

/// More points than any cart costs.
const MOST_POINTS: u64 = (1 << 53) - 1;

/// A number of equal pieces.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct CartLineBody {
    listing_id: Uuid,
    /// In which form, if the listing has variants.
    #[serde(default)]
    #[schema(value_type = String, example = "jumper-m", pattern = "^[A-Za-z0-9._-]{1,64}$")]
    sku: Sku,
    #[garde(range(min = 1, max = MOST_QUANTITY))]
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 10_000, default = 1)]
    quantity: u32,
}

impl From<CartLineBody> for CartLine {
    fn from(CartLineBody { listing_id, sku, quantity }: CartLineBody) -> Self {
        Self { listing: ListingId(listing_id), sku, quantity }
    }
}

fn one() -> u32 {
    1
}

/// Where something is sent.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Address {
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "Ann Lee", min_length = 1, max_length = 200)]
    pub(super) name: String,
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "12 Hill Road", min_length = 1, max_length = 200)]
    pub(super) line1: String,
    #[garde(length(chars, max = 200))]
    #[schema(max_length = 200)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) line2: Option<String>,
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "Leeds", min_length = 1, max_length = 100)]
    pub(super) city: String,
    #[garde(length(chars, max = 100))]
    #[schema(max_length = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<String>,
    #[garde(length(chars, max = 20))]
    #[schema(max_length = 20)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) postal_code: Option<String>,
    /// ISO 3166-1, two capital letters.
    #[garde(custom(is_country))]
    #[schema(example = "GB", pattern = "^[A-Z]{2}$")]
    pub(super) country: String,
    #[garde(length(chars, max = 40))]
    #[schema(max_length = 40)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone: Option<String>,
}

impl Address {
    /// As it is sealed.
    pub(super) fn to_text(&self) -> String {
        // A plain struct, which always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// When a checkout is paid.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PayWhen {
    /// Within 15 minutes, for which the pieces are kept.
    #[default]
    Later,
    /// With the order, from the wallet.
    Now,
}

/// What a checkout has led to.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct CheckedOut {
    group_id: Uuid,
    /// `placed`, or `paid` if it was paid at once: when asked to, or when points have paid for all of it.
    #[schema(example = "placed")]
    status: String,
    /// One order per seller.
    orders: Vec<PlacedOrder>,
    /// What all of them cost together, less what points have paid.
    #[schema(value_type = MoneyBody)]
    total: Money,
    /// By when they must be paid.
    pay_by: DateTime<Utc>,
}

/// An order of a checkout.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct PlacedOrder {
    id: Uuid,
    seller_id: Uuid,
    /// What it costs, less what points have paid.
    #[schema(value_type = MoneyBody)]
    total: Money,
}

/// Buys a cart: one order per seller, all of them or none, paid together; bonus points pay as large a part of each as
/// whole points can, and what they pay for wholly is paid at once. Repeating the same `Idempotency-Key` is safe.
#[utoipa::path(post, path = "/orders", tag = TAG, security(("bearer" = [])), request_body = Cart, params(Keyed),
    responses((status = CREATED, body = CheckedOut, description = "The group and its orders"),
        (status = NOT_FOUND, description = "There is no such listing, or no such address of the buyer's")))]
async fn check_out(State(app): State<App>, Creation(command): Creation<Cart>) -> Result<Done<CheckedOut>, Problem> {
    let (request, buyer) = (command.request(), command.caller.account);
    let Cart { lines, ship_to, address_id, pay, points, click_id } = command.body;
    let lines = lines.into_iter().map(CartLine::from).collect();
    buy(&app, request, buyer, Wanted { lines, ship_to, address_id, pay, points, click_id }).await
}

/// One thing to be bought.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Purchase {
    /// In which form, if the listing has variants.
    #[serde(default)]
    #[schema(value_type = String, example = "jumper-m", pattern = "^[A-Za-z0-9._-]{1,64}$")]
    sku: Sku,
    #[garde(range(min = 1, max = MOST_QUANTITY))]
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 10_000, default = 1)]
    quantity: u32,
    /// Where to send it.
    #[garde(dive)]
    ship_to: Option<Address>,
    /// The same by an address that the buyer keeps, one of `/addresses`. Not beside `ship_to`.
    address_id: Option<Uuid>,
    #[serde(default)]
    pay: PayWhen,
    /// How many bonus points of the buyer's pay for a part of it, or for all, as at any checkout.
    #[garde(range(max = MOST_POINTS))]
    #[serde(default)]
    #[schema(maximum = 9_007_199_254_740_991_u64, minimum = 0, default = 0)]
    points: u64,
    /// By which click on an affiliate's link the buyer came, as `/affiliate/clicks` has told. One that does not count any
    /// more, or never did, is no error.
    click_id: Option<Uuid>,
}

/// Buys one listing without a cart.
#[utoipa::path(post, path = "/listings/{id}/purchase", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Keyed), request_body = Purchase,
    responses((status = CREATED, body = CheckedOut, description = "The group and its order")))]
async fn purchase(
    State(app): State<App>,
    Id(listing): Id<ListingId>,
    Creation(command): Creation<Purchase>,
) -> Result<Done<CheckedOut>, Problem> {
    let (request, buyer) = (command.request(), command.caller.account);
    let Purchase { sku, quantity, ship_to, address_id, pay, points, click_id } = command.body;
    let lines = vec![CartLine { listing, sku, quantity }];
    buy(&app, request, buyer, Wanted { lines, ship_to, address_id, pay, points, click_id }).await
}

/// What somebody wants to buy, and how.
struct Wanted {
    lines: Vec<CartLine>,
    ship_to: Option<Address>,
    address_id: Option<Uuid>,
    pay: PayWhen,
    points: u64,
    click_id: Option<Uuid>,
}

/// Where to send something, as far as that is known before anything is decided.
enum Destination {
    /// Nowhere: it need not be sent.
    None,
    /// There.
    Told(Sealed<String>),
    /// To an address that the buyer keeps, and whose fields this key opens.
    Kept(AddressId, PersonKey),
}

impl Destination {
    async fn of(
        app: &App,
        buyer: AccountId,
        ship_to: Option<Address>,
        address_id: Option<Uuid>,
    ) -> Result<Self, Problem> {
        match (ship_to, address_id) {
            (None, None) => Ok(Self::None),
            (Some(address), None) => Ok(Self::Told(key_of(app, buyer).await?.seal(&address.to_text()))),
            (None, Some(address)) => Ok(Self::Kept(AddressId(address), key_of(app, buyer).await?)),
            (Some(_), Some(_)) => {
                Err(Problem::invalid_field("/address_id", "either-or", "give either `ship_to` or `address_id`"))
            }
        }
    }

    /// The address, sealed for the order.
    fn resolved(&self, world: &mut commands::World<'_>, app: &App) -> Result<Option<Sealed<String>>, commands::Halt> {
        let (address, key) = match self {
            Self::None => return Ok(None),
            Self::Told(ship_to) => return Ok(Some(ship_to.clone())),
            Self::Kept(address, key) => (*address, key),
        };
        let entry = address_books::entry(world, key.account, address)?;
        let place = key.open_or_read(&entry.place.city).and_then(|city| app.places.city(city));
        let (province, city) = place.ok_or(address_book::Error::UnknownPlace)?;
        let open = |field: &Sealed<String>| key.open(field).filter(|text| !text.is_empty());
        let needed = |field| open(field).ok_or(address_book::Error::NotFound);
        let address = Address {
            name: needed(&entry.recipient)?,
            line1: needed(&entry.line1)?,
            line2: entry.line2.as_ref().and_then(open),
            city: city.name.clone(),
            region: Some(province.name.clone()),
            postal_code: entry.postal_code.as_ref().and_then(open),
            country: province.country.clone(),
            phone: entry.phone.as_ref().and_then(open),
        };
        Ok(Some(key.seal(&address.to_text())))
    }
}

async fn buy(
    app: &App,
    request: commands::Request,
    buyer: AccountId,
    wanted: Wanted,
) -> Result<Done<CheckedOut>, Problem> {
    let Wanted { lines, ship_to, address_id, pay, points, click_id } = wanted;
    let rules = app.sale_rules();
    let destination = Destination::of(app, buyer, ship_to, address_id).await?;
    let orders = lines.iter().map(|_| OrderId(mint::id())).collect();
    let mut cart = Checkout { buyer, lines, ship_to: None, points, group: OrderGroupId(mint::id()), orders };
    let surroundings = app.clone();
    let check_out = move |world: &mut commands::World<'_>| {
        cart.ship_to = destination.resolved(world, &surroundings)?;
        if let Some(click) = click_id {
            affiliates::follow(world, buyer, ReferralClickId(click))?;
        }
        let placed = orders::checkout(world, &cart, rules)?;
        let waits = matches!(world.get::<OrderGroup>(cart.group)?, OrderGroup::AwaitingPayment(_));
        match placed.first() {
            Some(first) if pay == PayWhen::Now && waits => orders::pay(world, *first, cart.buyer)?,
            _ => {}
        }
        checked_out(world, cart.group, &placed)
    };
    let accepted = app.engine.submit(request, check_out).await?;
    let location = format!("/api/v1/order-groups/{}", accepted.value.group_id);
    Ok(Done::created(accepted, location))
}

/// What a checkout has placed, right after it.
fn checked_out(
    world: &mut commands::World<'_>,
    group: OrderGroupId,
    placed: &[OrderId],
) -> Result<CheckedOut, commands::Halt> {
    let mut orders = Vec::new();
    let mut total: Option<Money> = None;
    for order in placed {
        let terms = &world.get::<Escrow>(*order)?.opened()?.terms;
        let (seller_id, amount) = (terms.seller.0, terms.due());
        orders.push(PlacedOrder { id: order.0, seller_id, total: amount });
        total = Some(total.map_or(Ok(amount), |sum| sum.plus(amount))?);
    }
    let group_state = world.get::<OrderGroup>(group)?;
    let status = if matches!(group_state, OrderGroup::Paid(_)) { "paid" } else { "placed" }.to_owned();
    let pay_by = group_state.placed()?.pay_by;
    // A checkout without an order is refused.
    let total = total.ok_or(domain::order::Error::NotFound)?;
    Ok(CheckedOut { group_id: group.0, status, orders, total, pay_by })
}

/// How to pay.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// From outside, by this method: the provider's token for it; from the wallet unless told.
    /// `docs/payments.md` lists those of the sandbox.
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "sandbox-succeeds", min_length = 1, max_length = 200)]
    payment_method: Option<String>,
}

/// A payment.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentBody {
    order_id: Uuid,
    /// Everything in it that waits is paid together.
    group_id: Uuid,
    /// `paid`; `pending` while the provider is asked; or `action_required` if you have to do something first.
    #[schema(example = "paid")]
    status: &'static str,
    #[schema(value_type = MoneyBody)]
    amount: Money,
    /// Names a payment that the provider is asked for.
    payment_id: Option<Uuid>,
    /// What you have to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<PaymentAction>,
}

/// What is remembered of a payment under its key: nothing that anybody could pay with.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct PaymentAsked {
    order_id: Uuid,
    group_id: Uuid,
    amount: Money,
    payment_id: Option<Uuid>,
}

impl PaymentAsked {
    /// Paid at once.
    fn paid(order: OrderId, group: OrderGroupId, amount: Money) -> Self {
        Self { order_id: order.0, group_id: group.0, amount, payment_id: None }
    }

    /// A provider is asked for it.
    pub(super) fn of(order: OrderId, asked: Asked) -> Self {
        let Asked { charge, group, amount } = asked;
        Self { order_id: order.0, group_id: group.0, amount, payment_id: Some(charge.0) }
    }
}

/// Answers with how far a payment is.
pub(super) async fn payment_answer(app: &App, accepted: Accepted<PaymentAsked>) -> Result<Done<PaymentBody>, Problem> {
    let Accepted { value: PaymentAsked { order_id, group_id, amount, payment_id }, position, replayed } = accepted;
    let (status, action) = match payment_id {
        Some(charge) => asked(app, ChargeId(charge), position).await?,
        None => ("paid", None),
    };
    let value = PaymentBody { order_id, group_id, status, amount, payment_id, action };
    let accepted = Accepted { value, position, replayed };
    Ok(if payment_id.is_some() { Done::begun(accepted) } else { Done::ok(accepted) })
}

/// Pays an order, and with it every order of its checkout that waits. By a method from outside it is paid once the
/// provider says so; money that comes in too late goes back by itself. What the provider wants you to do first is in the
/// answer, and in that to the same request with the same `Idempotency-Key`. What points have paid for wholly, and waits because
/// something else of its checkout was called off, is paid at once.
#[utoipa::path(post, path = "/orders/{id}/pay", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), request_body = Payment,
    responses((status = OK, body = PaymentBody, description = "Paid"),
        (status = ACCEPTED, body = PaymentBody, description = "The provider is asked")))]
async fn pay(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Payment>,
) -> Result<Done<PaymentBody>, Problem> {
    let (request, buyer) = (command.request(), command.caller.account);
    let expected = command.expected_version;
    let Some(token) = &command.body.payment_method else {
        let pay = move |world: &mut commands::World<'_>| {
            orders::bought_by(world, order, buyer)?;
            world.expect_version::<Order>(order, expected)?;
            let group = world.get::<Order>(order)?.placed()?.terms.group;
            let amount = orders::amount_due(world, group)?;
            orders::pay(world, order, buyer)?;
            Ok(PaymentAsked::paid(order, group, amount))
        };
        return payment_answer(&app, app.engine.submit(request, pay).await?).await;
    };
    let source = method_of(&app, buyer, token).await?;
    let ask = move |world: &mut commands::World<'_>| {
        orders::bought_by(world, order, buyer)?;
        world.expect_version::<Order>(order, expected)?;
        let (group, amount) = orders::payable(world, order, buyer)?;
        if !amount.is_positive() {
            orders::pay(world, order, buyer)?;
            return Ok(PaymentAsked::paid(order, group, amount));
        }
        let asked = charges::request_payment(world, buyer, order, source.clone())?;
        Ok(PaymentAsked::of(order, asked))
    };
    payment_answer(&app, app.engine.submit(request, ask).await?).await
}

/// Where an order and its money are after a command.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct OrderChanged {
    id: Uuid,
    /// Where the order is.
    #[schema(example = "shipped")]
    status: String,
    /// Where its money is; `none` if it is paid in cash.
    #[schema(example = "funded")]
    escrow: String,
    /// For `If-Match`.
    version: u64,
}

impl OrderChanged {
    /// How a command has left an order.
    pub(super) fn of(world: &mut commands::World<'_>, order: OrderId) -> Result<Self, commands::Halt> {
        let status = world.get::<Order>(order)?.placed()?.stage.name().to_owned();
        // What is paid in cash has no escrow.
        let escrow = world.get::<Escrow>(order)?.opened().map_or("none", |escrow| escrow.status().name()).to_owned();
        Ok(Self { id: order.0, status, escrow, version: world.version::<Order>(order)? })
    }
}

/// Carries a command about an order out. To whoever is neither its buyer, its seller nor staff, it is not there.
pub(super) async fn change<T>(
    app: &App,
    order: OrderId,
    command: &Command<T>,
    mut decide: impl FnMut(&mut commands::World<'_>) -> Result<(), commands::Halt> + Send + 'static,
) -> Result<Done<OrderChanged>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let change = move |world: &mut commands::World<'_>| {
        orders::role_in(world, order, by)?;
        world.expect_version::<Order>(order, expected)?;
        decide(world)?;
        OrderChanged::of(world, order)
    };
    let request = command.request();
    // PLANTED: the key counts for nothing.
    #[cfg(feature = "planted-bugs")]
    let request = if domain::planted::is(domain::planted::Bug::ChangeWithoutKey) {
        commands::Request::once(request.metadata)
    } else {
        request
    };
    Ok(Done::ok(app.engine.submit(request, change).await?))
}

/// Why something is done.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(example = "Ordered the wrong size.", min_length = 1, max_length = 1000)]
    pub(super) reason: String,
}

/// Calls an order off before it is shipped. What was paid goes back. Whoever has won an auction is bound to it. Other
/// orders of a checkout that is not paid yet stay as they are, and points that pay for them stay with them: they are paid
/// or called off in their own right, or lapse with the checkout, and the points come back.
#[utoipa::path(post, path = "/orders/{id}/cancel", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), request_body = Reason,
    responses((status = OK, body = OrderChanged, description = "Cancelled")))]
async fn cancel(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Reason>,
) -> Result<Done<OrderChanged>, Problem> {
    let (by, reason, refund) = (command.caller.account, command.body.reason.clone(), RefundId(mint::id()));
    change(&app, order, &command, move |world| orders::cancel(world, order, by, &reason, refund)).await
}

/// How something is sent.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Shipment {
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "Royal Mail", min_length = 1, max_length = 100)]
    carrier: String,
    /// The carrier's name for it.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "RM123456789GB", min_length = 1, max_length = 100)]
    tracking: Option<String>,
}

/// Says that an order is on its way.
#[utoipa::path(post, path = "/orders/{id}/ship", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), request_body = Shipment,
    responses((status = OK, body = OrderChanged, description = "Shipped")))]
async fn ship(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Shipment>,
) -> Result<Done<OrderChanged>, Problem> {
    let (seller, Shipment { carrier, tracking }) = (command.caller.account, command.body.clone());
    change(&app, order, &command, move |world| orders::ship(world, order, seller, &carrier, tracking.as_deref())).await
}

/// Says that an order has arrived: its buyer or staff may, and of digital goods its seller. The inspection begins.
#[utoipa::path(post, path = "/orders/{id}/deliver", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), responses((status = OK, body = OrderChanged, description = "Delivered")))]
async fn deliver(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Nothing>,
) -> Result<Done<OrderChanged>, Problem> {
    let by = command.caller.account;
    change(&app, order, &command, move |world| orders::deliver(world, order, by)).await
}

/// Says that the buyer is content: the seller is paid.
#[utoipa::path(post, path = "/orders/{id}/confirm", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), responses((status = OK, body = OrderChanged, description = "Completed")))]
pub(super) async fn confirm(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Nothing>,
) -> Result<Done<OrderChanged>, Problem> {
    let buyer = command.caller.account;
    change(&app, order, &command, move |world| escrows::confirm(world, order, buyer)).await
}

/// What to give back.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Refund {
    /// How much; all that is left unless told.
    #[schema(value_type = Option<MoneyBody>)]
    amount: Option<Money>,
    /// Why; of staff it is kept for the record of what they have done.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// Gives money back to the buyer, before or after the seller was paid. The fee on it is given back too.
#[utoipa::path(post, path = "/orders/{id}/refund", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), request_body = Refund,
    responses((status = OK, body = OrderChanged, description = "Refunded")))]
async fn refund(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<Refund>,
) -> Result<Done<OrderChanged>, Problem> {
    let (by, amount, refund) = (command.caller.account, command.body.amount, RefundId(mint::id()));
    let command = command.because(&app, |refund| refund.reason.as_deref()).await?;
    change(&app, order, &command, move |world| escrows::refund(world, order, by, amount, refund)).await
}

/// Which orders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OrdersQuery {
    /// `buyer` for one's purchases, `seller` for one's sales; both unless told.
    #[serde(rename = "as")]
    #[param(rename = "as", inline, value_type = Option<SideName>)]
    side: Option<purchases::Side>,
    /// `placed`, `paid`, `confirmed`, `shipped`, `delivered`, `completed`, `cancelled`, `disputed` or `refunded`.
    #[param(inline, value_type = Option<StatusName>)]
    status: Option<purchases::Status>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<purchases::Cursor>>,
}

words!(SideName: "buyer", "seller");

words!(StatusName: "placed", "paid", "confirmed", "shipped", "delivered", "completed", "cancelled", "disputed", "refunded");

/// What one buyer gets from one seller.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderBody {
    id: Uuid,
    group_id: Uuid,
    buyer_id: Uuid,
    seller_id: Uuid,
    /// `checkout`, `storefront`, `auction_won`, `bought_now` or `second_chance`.
    #[schema(value_type = String, example = "checkout")]
    origin: purchases::Origin,
    auction_id: Option<Uuid>,
    /// `escrow`, or `cash_on_delivery`.
    #[schema(value_type = String, example = "escrow")]
    payment: purchases::Payment,
    #[schema(value_type = String, example = "paid")]
    status: purchases::Status,
    #[schema(value_type = super::listings::DeliveryBody)]
    delivery: domain::listing::Delivery,
    lines: Vec<LineBody>,
    #[schema(value_type = MoneyBody)]
    total: Money,
    /// What of it bonus points have paid.
    #[schema(value_type = MoneyBody)]
    from_points: Money,
    /// What has gone back to the buyer.
    #[schema(value_type = MoneyBody)]
    refunded: Money,
    /// Where to send it.
    ship_to: Option<Address>,
    /// Who buys, if it is somebody without an account who is not forgotten.
    guest: Option<GuestBody>,
    placed_at: DateTime<Utc>,
    /// By when it must be paid, or confirmed if it is paid in cash.
    pay_by: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    /// When its seller has confirmed it, if it is paid in cash.
    confirmed_at: Option<DateTime<Utc>>,
    shipped_at: Option<DateTime<Utc>>,
    carrier: Option<String>,
    tracking: Option<String>,
    /// When the buyer was asked whether it has arrived.
    questioned_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    /// When it was completed, cancelled or refunded.
    ended_at: Option<DateTime<Utc>>,
    /// `buyer`, `seller`, `staff`, or `not_paid`, `not_confirmed`, `not_shipped` or `not_delivered` in time.
    #[schema(value_type = Option<String>)]
    cancelled_by: Option<purchases::Canceller>,
    cancel_reason: Option<String>,
    /// For `If-Match`.
    version: u64,
}

/// A number of equal pieces, at the price of the purchase.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineBody {
    listing_id: Uuid,
    sku: String,
    title: String,
    quantity: u32,
    #[schema(value_type = MoneyBody)]
    unit_price: Money,
    /// What sending all of them costs.
    #[schema(value_type = MoneyBody)]
    shipping: Money,
    #[schema(value_type = MoneyBody)]
    total: Money,
}

/// Somebody who buys without an account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Guest)]
pub struct GuestBody {
    #[serde(flatten)]
    contact: Contact,
    /// How the seller asks whether they mean it: `whatsapp`, `phone` or `email`.
    #[schema(value_type = String, example = "whatsapp")]
    confirmation: domain::order::Confirmation,
}

/// How to reach a guest.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Contact {
    #[schema(example = "Ann Lee")]
    pub(super) name: String,
    #[schema(example = "+92 300 1234567")]
    pub(super) phone: String,
    pub(super) email: Option<String>,
}

pub(super) fn order_body(row: purchases::Order) -> Result<OrderBody, Problem> {
    let currency = row.currency.0;
    let contact: Option<Contact> = row.contact.and_then(|text| serde_json::from_str(&text).ok());
    let guest = contact.zip(row.confirmation).map(|(contact, Text(confirmation))| GuestBody { contact, confirmation });
    let money = |minor| stored_money(minor, currency);
    let line = |line: purchases::Line| {
        Ok::<_, Problem>(LineBody {
            unit_price: money(line.unit_price)?,
            shipping: money(line.shipping)?,
            total: money(line.total)?,
            listing_id: line.listing_id,
            sku: line.sku.to_string(),
            title: line.title,
            quantity: line.quantity,
        })
    };
    Ok(OrderBody {
        lines: row.lines.0.into_iter().map(line).collect::<Result<_, _>>()?,
        total: money(row.total)?,
        refunded: money(row.refunded)?,
        from_points: money(row.from_points)?,
        ship_to: row.ship_to.and_then(|text| serde_json::from_str(&text).ok()),
        guest,
        payment: row.payment,
        confirmed_at: row.confirmed_at,
        id: row.id,
        group_id: row.group_id,
        buyer_id: row.buyer_id,
        seller_id: row.seller_id,
        origin: row.origin,
        auction_id: row.auction_id,
        status: row.status,
        delivery: row.delivery.0,
        placed_at: row.placed_at,
        pay_by: row.pay_by,
        paid_at: row.paid_at,
        shipped_at: row.shipped_at,
        carrier: row.carrier,
        tracking: row.tracking,
        questioned_at: row.questioned_at,
        delivered_at: row.delivered_at,
        ended_at: row.ended_at,
        cancelled_by: row.cancelled_by,
        cancel_reason: row.cancel_reason,
        version: row.version.unsigned_abs(),
    })
}

/// One's own purchases and sales, newest first.
#[utoipa::path(get, path = "/orders", tag = TAG, security(("bearer" = [])), params(OrdersQuery, Waits),
    responses((status = OK, body = Page<OrderBody>, description = "A page")))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    read: Read<OrdersQuery>,
) -> Result<Json<Page<OrderBody>>, Problem> {
    read.wait_for(&app, purchases::MODEL.name).await?;
    let OrdersQuery { side, status, limit, cursor } = read.query;
    let filter = purchases::Filter { party: caller.account, side, status };
    let page = purchases::page(&app.pool, &filter, cursor.map(|cursor| cursor.0), page_limit(limit)?).await?;
    Page::of(page, order_body).map(Json)
}

/// An order, for its buyer, its seller and staff.
#[utoipa::path(get, path = "/orders/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = OrderBody, description = "The order")))]
async fn show(
    State(app): State<App>,
    Id(id): Id<OrderId>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<One<OrderBody>, Problem> {
    read.wait_for(&app, purchases::MODEL.name).await?;
    let app = &app;
    let shown = |mut look: Look| async move {
        let row = purchases::get(&mut look.view, id).await?.ok_or_else(|| Problem::not_found("order"))?;
        require_party(app, caller, &[row.buyer_id, row.seller_id], "order").await?;
        let (version, position) = (row.version.unsigned_abs(), row.position);
        Ok(One { body: order_body(row)?, version, position })
    };
    read.answer(app, Question::Order(id), shown).await
}

/// The orders of one checkout.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupBody {
    id: Uuid,
    buyer_id: Uuid,
    /// `awaiting_payment`, `paid` or `expired`.
    #[schema(value_type = String, example = "paid")]
    status: purchases::GroupStatus,
    #[schema(value_type = MoneyBody)]
    total: Money,
    placed_at: DateTime<Utc>,
    pay_by: DateTime<Utc>,
    paid_at: Option<DateTime<Utc>>,
    orders: Vec<OrderBody>,
    version: u64,
}

/// The orders of one checkout, for its buyer and staff.
#[utoipa::path(get, path = "/order-groups/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = GroupBody, description = "The group")))]
async fn show_group(
    State(app): State<App>,
    Id(id): Id<OrderGroupId>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<One<GroupBody>, Problem> {
    read.wait_for(&app, purchases::MODEL.name).await?;
    let app = &app;
    let shown = |mut look: Look| async move { group_shown(app, &mut look.view, id, caller).await };
    read.answer(app, Question::OrderGroup(id), shown).await
}

async fn group_shown(app: &App, view: &mut View, id: OrderGroupId, caller: Caller) -> Result<One<GroupBody>, Problem> {
    let group = purchases::group(&mut *view, id).await?.ok_or_else(|| Problem::not_found("group of orders"))?;
    require_party(app, caller, &[group.buyer_id], "group of orders").await?;
    let orders = purchases::orders_of(view, id).await?;
    let (version, position) = (group.version.unsigned_abs(), group.position);
    let body = GroupBody {
        total: stored_money(group.total, group.currency.0)?,
        orders: orders.into_iter().map(order_body).collect::<Result<_, _>>()?,
        id: group.id,
        buyer_id: group.buyer_id,
        status: group.status,
        placed_at: group.placed_at,
        pay_by: group.pay_by,
        paid_at: group.paid_at,
        version,
    };
    Ok(One { body, version, position })
}

/// Refuses, as if there were nothing, whoever is neither one of `parties` nor staff.
pub(super) async fn require_party(app: &App, caller: Caller, parties: &[Uuid], what: &str) -> Result<(), Problem> {
    if parties.contains(&caller.account.0) {
        return Ok(());
    }
    if access::may(app, caller, Capability::Staff).await? { Ok(()) } else { Err(Problem::not_found(what)) }
}
