//! How a seller's business goes.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{Days, NaiveDate};
use domain::account::Capability;
use domain::money::AMOUNT_LIMIT;
use domain::{AccountId, Currency, Money};
use projections::ledger::Total;
use projections::orders as purchases;
use projections::past::Question;
use projections::sales::{self, Sold, Sums, Totals};
use projections::{Text, catalogue};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::TAG;
use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::Caller;
use crate::http::openapi::{MoneyBody, Waits, words};
use crate::http::problem::Problem;
use crate::http::routes::orders::{OrderBody, order_body};

/// How many recent orders and best listings a dashboard shows.
const SHOWN: u32 = 10;

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

impl DashboardQuery {
    /// Over how many days.
    pub(in crate::http::routes) fn days(&self) -> u32 {
        self.days.unwrap_or_default().days()
    }
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
    /// What guests have paid at the door, which is in none of the sums beside it.
    cash: CashBody,
}

/// What was paid at the door: nothing of it was the marketplace's.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CashBody {
    /// How many orders were brought and paid.
    orders: i64,
    /// How many pieces were in them.
    pieces: i64,
    /// What was paid for them.
    #[schema(value_type = MoneyBody)]
    gross: Money,
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
    /// How many orders were paid that it is in, in cash too.
    orders: i64,
    pieces: i64,
    #[schema(value_type = MoneyBody)]
    gross: Money,
}

impl DayBody {
    /// A day on which this was sold.
    pub(in crate::http::routes) fn of(day: NaiveDate, sums: Sums, currency: Currency) -> Result<Self, Problem> {
        Ok(Self { day, sales: SalesBody::of(sums, currency)? })
    }
}

impl SalesBody {
    /// Sums of a day or of more.
    pub(in crate::http::routes) fn of(sums: Sums, currency: Currency) -> Result<Self, Problem> {
        let amount = |sum| amount(sum, currency);
        Ok(Self {
            orders: sums.orders,
            pieces: sums.pieces,
            gross: amount(sums.gross)?,
            refunded: amount(sums.refunded)?,
            fees: amount(sums.fees)?,
            paid_out: amount(sums.paid_out)?,
            cash: CashBody { orders: sums.cash_orders, pieces: sums.cash_pieces, gross: amount(sums.cash_gross)? },
        })
    }

    /// Those of several days.
    pub(in crate::http::routes) fn of_days(
        days: &BTreeMap<NaiveDate, Sums>,
        currency: Currency,
    ) -> Result<Self, Problem> {
        Self::of(days.values().copied().fold(Sums::default(), Sums::plus), currency)
    }
}

/// A sum as an amount, which it may pass: then the most that an amount can be.
pub(in crate::http::routes) fn amount(Total(sum): Total, currency: Currency) -> Result<Money, Problem> {
    let most = i128::from(AMOUNT_LIMIT - 1);
    let minor = i64::try_from(sum.clamp(-most, most)).map_err(|_| Problem::internal())?;
    Money::new(minor, currency).map_err(|_| Problem::internal())
}

/// How one's business goes: listings and orders by status, sales per day, what was paid out and what escrow holds, the
/// newest orders and the best listings.
#[utoipa::path(get, path = "/merchant/dashboard", tag = TAG, security(("bearer" = [])), params(DashboardQuery, TakesAsOf, Waits),
    responses((status = OK, body = Dashboard, description = "The dashboard"),
        (status = FORBIDDEN, description = "The account may not sell")))]
pub(super) async fn dashboard(
    State(app): State<App>,
    caller: Caller,
    read: AsOf<DashboardQuery>,
) -> Result<Json<Dashboard>, Problem> {
    access::require(&app, caller, Capability::Sell).await?;
    for model in [sales::MODEL, purchases::MODEL, catalogue::MODEL] {
        read.wait_for(&app, model.name).await?;
    }
    let (seller, days) = (caller.account, read.read.query.days());
    let shown = |look: Look| shown(look, seller, days);
    read.answer(&app, Question::Dashboard(seller), shown).await.map(Json)
}

async fn shown(Look { mut view, now }: Look, seller: AccountId, days: u32) -> Result<Dashboard, Problem> {
    let view = &mut view;
    let to = now.date_naive();
    let from = to.checked_sub_days(Days::new(u64::from(days - 1))).unwrap_or(to);
    let totals = sales::totals(&mut *view, seller).await?;
    let mut by_currency: BTreeMap<Text<Currency>, BTreeMap<NaiveDate, Sums>> = BTreeMap::new();
    for day in sales::days(&mut *view, seller, from, to).await? {
        by_currency.entry(day.currency).or_default().insert(day.day, day.sums);
    }
    let currencies = totals.into_iter().map(|totals| {
        let known = by_currency.remove(&totals.currency).unwrap_or_default();
        currency_sales(&totals, &known, from, days)
    });
    let currencies = currencies.collect::<Result<_, _>>()?;
    let filter = purchases::Filter { party: seller, side: Some(purchases::Side::Seller), status: None };
    let recent = purchases::page(&mut *view, &filter, None, SHOWN).await?.items;
    let best = sales::best(&mut *view, seller, i64::from(SHOWN)).await?;
    Ok(Dashboard {
        days,
        from,
        to,
        listings: named(catalogue::counts_of(&mut *view, seller).await?),
        orders: named(purchases::sold_counts(&mut *view, seller).await?),
        currencies,
        recent_orders: recent.into_iter().map(order_body).collect::<Result<_, _>>()?,
        best_listings: best.into_iter().map(sold_body).collect::<Result<_, _>>()?,
    })
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
    let &Totals { currency: Text(currency), sums, held, held_orders } = totals;
    let day = |day| DayBody::of(day, known.get(&day).copied().unwrap_or_default(), currency);
    let length = usize::try_from(days).unwrap_or_default();
    Ok(CurrencySales {
        currency: currency.code().to_owned(),
        total: SalesBody::of(sums, currency)?,
        in_escrow: amount(held, currency)?,
        orders_in_escrow: held_orders,
        period: SalesBody::of_days(known, currency)?,
        per_day: from.iter_days().take(length).map(day).collect::<Result<_, _>>()?,
    })
}

fn sold_body(sold: Sold) -> Result<SoldBody, Problem> {
    let Sold { listing_id, currency, title, orders, pieces, gross, seller_id: _ } = sold;
    Ok(SoldBody { listing_id, title, orders, pieces, gross: amount(gross, currency.0)? })
}
