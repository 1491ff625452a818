//! What an account sells and buys: its listings, its orders from each side, and how a seller's business goes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{Days, NaiveDate};
use commands::orders;
use domain::account::Capability;
use domain::money::AMOUNT_LIMIT;
use domain::{Currency, Money, OrderId, RefundId};
use eventstore::mint;
use garde::Validate;
use projections::ledger::Total;
use projections::orders as purchases;
use projections::sales::{self, Day, Sold, Totals};
use projections::{Text, catalogue};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::listings::{self, ListingBody};
use super::orders::{OrderBody, OrderChanged, change, order_body};
use crate::app::App;
use crate::http::access;
use crate::http::extract::{Caller, Command, Id, Read};
use crate::http::openapi::{Conditional, MoneyBody, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

const TAG: &str = "Stores";

/// How many recent orders and best listings a dashboard shows.
const SHOWN: u32 = 10;

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(dashboard))
        .routes(routes!(merchant_orders))
        .routes(routes!(set_status))
        .routes(routes!(own_sales))
        .routes(routes!(own_purchases))
        .routes(routes!(own_listings))
}

/// Which orders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SideQuery {
    /// `placed`, `paid`, `shipped`, `delivered`, `completed`, `cancelled`, `disputed` or `refunded`.
    #[param(inline, value_type = Option<super::orders::StatusName>)]
    status: Option<purchases::Status>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<purchases::Cursor>>,
}

async fn one_side(
    app: &App,
    caller: Caller,
    read: Read<SideQuery>,
    side: purchases::Side,
) -> Result<Json<Page<OrderBody>>, Problem> {
    read.wait_for(app, purchases::MODEL.name).await?;
    let SideQuery { status, limit, cursor } = read.query;
    let filter = purchases::Filter { party: caller.account, side: Some(side), status };
    let page = purchases::page(&app.pool, &filter, cursor.map(|cursor| cursor.0), page_limit(limit)?).await?;
    Page::of(page, order_body).map(Json)
}

/// What others have bought from one's store, newest first.
#[utoipa::path(get, path = "/merchant/orders", tag = TAG, security(("bearer" = [])), params(SideQuery, Waits),
    responses((status = OK, body = Page<OrderBody>, description = "A page"),
        (status = FORBIDDEN, description = "The account may not sell")))]
async fn merchant_orders(
    State(app): State<App>,
    caller: Caller,
    read: Read<SideQuery>,
) -> Result<Json<Page<OrderBody>>, Problem> {
    access::require(&app, caller, Capability::Sell).await?;
    one_side(&app, caller, read, purchases::Side::Seller).await
}

/// What one has sold, newest first.
#[utoipa::path(get, path = "/profile/sales", tag = TAG, security(("bearer" = [])), params(SideQuery, Waits),
    responses((status = OK, body = Page<OrderBody>, description = "A page")))]
async fn own_sales(
    State(app): State<App>,
    caller: Caller,
    read: Read<SideQuery>,
) -> Result<Json<Page<OrderBody>>, Problem> {
    one_side(&app, caller, read, purchases::Side::Seller).await
}

/// What one has bought, newest first.
#[utoipa::path(get, path = "/profile/purchases", tag = TAG, security(("bearer" = [])), params(SideQuery, Waits),
    responses((status = OK, body = Page<OrderBody>, description = "A page")))]
async fn own_purchases(
    State(app): State<App>,
    caller: Caller,
    read: Read<SideQuery>,
) -> Result<Json<Page<OrderBody>>, Problem> {
    one_side(&app, caller, read, purchases::Side::Buyer).await
}

/// Where an order is to be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// On its way: takes `carrier`.
    Shipped,
    /// With the buyer; of digital goods its seller may say so.
    Delivered,
    /// Called off: takes `reason`.
    Cancelled,
}

/// What has become of an order.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct StatusBody {
    status: Goal,
    /// Who brings what was shipped.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "Royal Mail", min_length = 1, max_length = 100)]
    carrier: Option<String>,
    /// The carrier's name for it.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "RM123456789GB", min_length = 1, max_length = 100)]
    tracking: Option<String>,
    /// Why it is called off.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(min_length = 1, max_length = 1000)]
    reason: Option<String>,
}

/// What is to be done with an order.
enum Step {
    Ship { carrier: String, tracking: Option<String> },
    Deliver,
    Cancel { reason: String },
}

impl StatusBody {
    fn step(self) -> Result<Step, Problem> {
        let missing = |pointer, detail: &str| Problem::invalid_field(pointer, "missing", detail);
        let Self { status, carrier, tracking, reason } = self;
        let unexpected = [
            ("/carrier", carrier.is_some() && status != Goal::Shipped),
            ("/tracking", tracking.is_some() && status != Goal::Shipped),
            ("/reason", reason.is_some() && status != Goal::Cancelled),
        ];
        if let Some((pointer, _)) = unexpected.into_iter().find(|(_, given)| *given) {
            return Err(Problem::invalid_field(pointer, "unexpected", "this status does not take it"));
        }
        match status {
            Goal::Shipped => {
                let carrier = carrier.ok_or_else(|| missing("/carrier", "what is shipped takes `carrier`"))?;
                Ok(Step::Ship { carrier, tracking })
            }
            Goal::Delivered => Ok(Step::Deliver),
            Goal::Cancelled => {
                let reason = reason.ok_or_else(|| missing("/reason", "what is called off takes `reason`"))?;
                Ok(Step::Cancel { reason })
            }
        }
    }
}

/// Says what has become of an order, as its seller: ships it, delivers it or calls it off, as the routes of that name do.
#[utoipa::path(put, path = "/merchant/orders/{id}/status", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional), request_body = StatusBody,
    responses((status = OK, body = OrderChanged, description = "Done")))]
async fn set_status(
    State(app): State<App>,
    Id(order): Id<OrderId>,
    command: Command<StatusBody>,
) -> Result<Done<OrderChanged>, Problem> {
    let (seller, step, refund) = (command.caller.account, command.body.clone().step()?, RefundId(mint::id()));
    let decide = move |world: &mut commands::World<'_>| {
        orders::sold_by(world, order, seller)?;
        match &step {
            Step::Ship { carrier, tracking } => orders::ship(world, order, seller, carrier, tracking.as_deref()),
            Step::Deliver => orders::deliver(world, order, seller),
            Step::Cancel { reason } => orders::cancel(world, order, seller, reason, refund),
        }
    };
    change(&app, order, &command, decide).await
}

/// Which of one's listings to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnListingsQuery {
    /// Where in their life; anywhere unless told.
    #[param(inline, value_type = Option<listings::StatusName>)]
    status: Option<catalogue::Status>,
    /// `newest` unless told, `price_asc`, `price_desc` or `ending_soon`.
    #[param(inline, value_type = Option<listings::SortName>)]
    sort: Option<catalogue::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<catalogue::Cursor>>,
}

/// One's own listings, drafts and archived ones too.
#[utoipa::path(get, path = "/profile/listings", tag = TAG, security(("bearer" = [])), params(OwnListingsQuery, Waits),
    responses((status = OK, body = Page<ListingBody>, description = "A page")))]
async fn own_listings(
    State(app): State<App>,
    caller: Caller,
    read: Read<OwnListingsQuery>,
) -> Result<Json<Page<ListingBody>>, Problem> {
    read.wait_for(&app, catalogue::MODEL.name).await?;
    let OwnListingsQuery { status, sort, limit, cursor } = read.query;
    let (limit, own) = (page_limit(limit)?, Some(caller.account));
    let filter = catalogue::Filter { viewer: own.into(), seller: own, status, ..catalogue::Filter::default() };
    let cursor = cursor.map(|cursor| cursor.0);
    let page = catalogue::page(&app.pool, &filter, sort.unwrap_or_default(), cursor, limit).await?;
    Page::of(page, listings::body).map(Json)
}

/// Over how many days a dashboard looks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DashboardQuery {
    /// `30` unless told, `90` or `365`; the last of them is today, in UTC.
    #[param(inline, value_type = Option<DaysName>)]
    days: Option<Span>,
}

words!(DaysName: "30", "90", "365");

/// So many days.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Span {
    #[default]
    #[serde(rename = "30")]
    Month,
    #[serde(rename = "90")]
    Quarter,
    #[serde(rename = "365")]
    Year,
}

impl Span {
    fn days(self) -> u32 {
        match self {
            Self::Month => 30,
            Self::Quarter => 90,
            Self::Year => 365,
        }
    }
}

/// How a seller's business goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Dashboard {
    /// Over how many days the sales per day go.
    #[schema(example = 30)]
    days: u32,
    /// The first of them.
    from: NaiveDate,
    /// The last of them: today, in UTC.
    to: NaiveDate,
    /// How many listings there are in each status.
    #[schema(example = json!({ "active": 12, "draft": 1 }))]
    listings: BTreeMap<String, i64>,
    /// How many orders there are in each status.
    #[schema(example = json!({ "paid": 2, "completed": 31 }))]
    orders: BTreeMap<String, i64>,
    /// The business in each currency in which something was sold.
    currencies: Vec<CurrencySales>,
    /// The ten newest orders.
    recent_orders: Vec<OrderBody>,
    /// The ten listings of which most pieces were sold.
    best_listings: Vec<SoldBody>,
}

/// The business in one currency. Sums beyond what an amount can be are shown as the most that it can be.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencySales {
    #[schema(example = "USD")]
    currency: String,
    /// All that was ever sold: what was given back, kept as fees, paid out and is held in escrow comes to `gross`.
    total: SalesBody,
    /// What escrow holds of it.
    #[schema(value_type = MoneyBody)]
    in_escrow: Money,
    /// For how many orders.
    orders_in_escrow: i64,
    /// The days of the dashboard together.
    period: SalesBody,
    /// Each day of the dashboard, oldest first.
    per_day: Vec<DayBody>,
}

/// What was sold, and what became of money meanwhile.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct SalesBody {
    /// How many orders were paid.
    orders: i64,
    /// How many pieces were in them.
    pieces: i64,
    /// What was paid for them.
    #[schema(value_type = MoneyBody)]
    gross: Money,
    /// What went back to buyers.
    #[schema(value_type = MoneyBody)]
    refunded: Money,
    /// What the marketplace kept, less what it gave back.
    #[schema(value_type = MoneyBody)]
    fees: Money,
    /// What the seller got, less what they gave back.
    #[schema(value_type = MoneyBody)]
    paid_out: Money,
}

/// A day of a dashboard.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct DayBody {
    day: NaiveDate,
    #[serde(flatten)]
    sales: SalesBody,
}

/// What was sold of a listing.
#[derive(Debug, Serialize, ToSchema)]
pub struct SoldBody {
    listing_id: Uuid,
    /// As it was called when it sold last.
    title: String,
    /// How many orders were paid that it is in.
    orders: i64,
    pieces: i64,
    #[schema(value_type = MoneyBody)]
    gross: Money,
}

/// Sums of a day or of more.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    orders: i64,
    pieces: i64,
    gross: i128,
    refunded: i128,
    fees: i128,
    paid_out: i128,
}

impl Sums {
    fn of(day: &Day) -> Self {
        let &Day { orders, pieces, gross, refunded, fees, paid_out, .. } = day;
        let [gross, refunded, fees, paid_out] = [gross, refunded, fees, paid_out].map(|sum| sum.0);
        Self { orders, pieces, gross, refunded, fees, paid_out }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            orders: self.orders + other.orders,
            pieces: self.pieces + other.pieces,
            gross: self.gross + other.gross,
            refunded: self.refunded + other.refunded,
            fees: self.fees + other.fees,
            paid_out: self.paid_out + other.paid_out,
        }
    }

    fn body(self, currency: Currency) -> Result<SalesBody, Problem> {
        let Self { orders, pieces, .. } = self;
        let amount = |sum| amount(Total(sum), currency);
        let (gross, refunded) = (amount(self.gross)?, amount(self.refunded)?);
        Ok(SalesBody { orders, pieces, gross, refunded, fees: amount(self.fees)?, paid_out: amount(self.paid_out)? })
    }
}

/// A sum as an amount, which it may pass: then the most that an amount can be.
fn amount(Total(sum): Total, currency: Currency) -> Result<Money, Problem> {
    let most = i128::from(AMOUNT_LIMIT - 1);
    let minor = i64::try_from(sum.clamp(-most, most)).map_err(|_| Problem::internal())?;
    Money::new(minor, currency).map_err(|_| Problem::internal())
}

/// How one's business goes: listings and orders by status, sales per day, what was paid out and what escrow holds, the
/// newest orders and the best listings.
#[utoipa::path(get, path = "/merchant/dashboard", tag = TAG, security(("bearer" = [])), params(DashboardQuery, Waits),
    responses((status = OK, body = Dashboard, description = "The dashboard"),
        (status = FORBIDDEN, description = "The account may not sell")))]
async fn dashboard(
    State(app): State<App>,
    caller: Caller,
    read: Read<DashboardQuery>,
) -> Result<Json<Dashboard>, Problem> {
    access::require(&app, caller, Capability::Sell).await?;
    for model in [sales::MODEL, purchases::MODEL, catalogue::MODEL] {
        read.wait_for(&app, model.name).await?;
    }
    let (seller, days) = (caller.account, read.query.days.unwrap_or_default().days());
    let to = app.clock.now().date_naive();
    let from = to.checked_sub_days(Days::new(u64::from(days - 1))).unwrap_or(to);
    let totals = sales::totals(&app.pool, seller).await?;
    let mut by_currency: BTreeMap<Text<Currency>, BTreeMap<NaiveDate, Sums>> = BTreeMap::new();
    for day in sales::days(&app.pool, seller, from, to).await? {
        by_currency.entry(day.currency).or_default().insert(day.day, Sums::of(&day));
    }
    let currencies = totals.into_iter().map(|totals| {
        let known = by_currency.remove(&totals.currency).unwrap_or_default();
        currency_sales(&totals, &known, from, days)
    });
    let currencies = currencies.collect::<Result<_, _>>()?;
    let filter = purchases::Filter { party: seller, side: Some(purchases::Side::Seller), status: None };
    let recent = purchases::page(&app.pool, &filter, None, SHOWN).await?.items;
    let best = sales::best(&app.pool, seller, i64::from(SHOWN)).await?;
    Ok(Json(Dashboard {
        days,
        from,
        to,
        listings: named(catalogue::counts_of(&app.pool, seller).await?),
        orders: named(purchases::sold_counts(&app.pool, seller).await?),
        currencies,
        recent_orders: recent.into_iter().map(order_body).collect::<Result<_, _>>()?,
        best_listings: best.into_iter().map(sold_body).collect::<Result<_, _>>()?,
    }))
}

/// Counts by the names of what they count.
fn named<S: Serialize>(counts: Vec<(S, i64)>) -> BTreeMap<String, i64> {
    let name = |status: &S| serde_json::to_value(status).ok()?.as_str().map(str::to_owned);
    counts.into_iter().filter_map(|(status, count)| Some((name(&status)?, count))).collect()
}

fn currency_sales(
    totals: &Totals,
    known: &BTreeMap<NaiveDate, Sums>,
    from: NaiveDate,
    days: u32,
) -> Result<CurrencySales, Problem> {
    let &Totals { currency: Text(currency), orders, pieces, gross, refunded, fees, paid_out, held, held_orders } =
        totals;
    let [gross, refunded, fees, paid_out] = [gross, refunded, fees, paid_out].map(|sum| sum.0);
    let day = |day| {
        let sales = known.get(&day).copied().unwrap_or_default().body(currency)?;
        Ok::<_, Problem>(DayBody { day, sales })
    };
    let length = usize::try_from(days).unwrap_or_default();
    Ok(CurrencySales {
        currency: currency.code().to_owned(),
        total: Sums { orders, pieces, gross, refunded, fees, paid_out }.body(currency)?,
        in_escrow: amount(held, currency)?,
        orders_in_escrow: held_orders,
        period: known.values().copied().fold(Sums::default(), Sums::plus).body(currency)?,
        per_day: from.iter_days().take(length).map(day).collect::<Result<_, _>>()?,
    })
}

fn sold_body(sold: Sold) -> Result<SoldBody, Problem> {
    let Sold { listing_id, currency, title, orders, pieces, gross, seller_id: _ } = sold;
    Ok(SoldBody { listing_id, title, orders, pieces, gross: amount(gross, currency.0)? })
}
