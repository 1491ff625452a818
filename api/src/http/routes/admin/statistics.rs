//! How the marketplace does, for staff: what there is, and what happens from day to day.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{Days, NaiveDate};
use domain::{Currency, Money};
use projections::Text;
use projections::reviews;
use projections::sales::Sums;
use projections::statistics::{self, Kind, Takings};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::TAG;
use crate::app::App;
use crate::http::extract::Read;
use crate::http::openapi::{CurrencyCode, MoneyBody, Waits};
use crate::http::problem::Problem;
use crate::http::ratings::average;
use crate::http::routes::selling::dashboard::{DashboardQuery, DayBody, SalesBody, amount};

/// The most days that are told of at once.
const MOST_DAYS: u64 = 366;
/// How many days are told of unless told.
const USUAL_DAYS: u64 = 30;

/// How the marketplace does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MarketDashboard)]
pub struct DashboardBody {
    /// Over how many days the sums and lists per day go.
    #[schema(example = 30)]
    days: u32,
    /// The first of them.
    from: NaiveDate,
    /// The last of them: today, in UTC.
    to: NaiveDate,
    /// How many accounts there are: `active`, `suspended`, `blocked`, `erased`.
    #[schema(example = json!({ "active": 120, "blocked": 1 }))]
    users: BTreeMap<String, i64>,
    /// How many listings there are in each status; of those that are `active` some may be sold out.
    #[schema(example = json!({ "active": 300, "draft": 12 }))]
    listings: BTreeMap<String, i64>,
    /// How many orders there are in each status.
    #[schema(example = json!({ "paid": 2, "completed": 31 }))]
    orders: BTreeMap<String, i64>,
    /// How many escrows there are in each status.
    #[schema(example = json!({ "funded": 2, "released": 30 }))]
    escrows: BTreeMap<String, i64>,
    /// How many stores there are in each status.
    #[schema(example = json!({ "open": 9 }))]
    merchants: BTreeMap<String, i64>,
    /// How many disputes wait for a decision.
    open_disputes: i64,
    /// What buyers say of the marketplace.
    rating: MarketRating,
    /// The business in each currency in which something was sold.
    currencies: Vec<MarketSales>,
    /// What happened on each day, oldest first.
    per_day: Vec<ActivityBody>,
}

/// What buyers say of the marketplace itself with the feedback about their orders.
#[derive(Debug, Serialize, ToSchema)]
pub struct MarketRating {
    /// About how many orders something was said.
    #[schema(minimum = 0)]
    orders: i64,
    /// The average of its stars, to a hundredth; nothing if there is none.
    #[schema(example = "4.50")]
    average: Option<String>,
}

/// The business in one currency. Sums beyond what an amount can be are shown as the most that it can be.
#[derive(Debug, Serialize, ToSchema)]
pub struct MarketSales {
    #[schema(example = "USD")]
    currency: String,
    /// What was ever paid for goods, through escrow and at the door.
    #[schema(value_type = MoneyBody)]
    gmv: Money,
    /// All that was ever sold through escrow: what was given back, kept as fees, paid out and is held comes to `gross`.
    total: SalesBody,
    /// What escrow holds of it.
    #[schema(value_type = MoneyBody)]
    escrow_held: Money,
    /// The days of the dashboard together.
    period: SalesBody,
    /// Each day of the dashboard, oldest first.
    per_day: Vec<DayBody>,
}

/// What happened on a day.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct ActivityBody {
    day: NaiveDate,
    /// How many accounts were opened.
    signups: i64,
    /// How many listings were written down.
    listings: i64,
    /// How many orders were placed, paid or not.
    orders: i64,
    /// How many disputes were opened.
    disputes: i64,
    /// How many orders were won and not paid.
    violations: i64,
}

impl From<statistics::Day> for ActivityBody {
    fn from(day: statistics::Day) -> Self {
        let statistics::Day { day, signups, listings, orders, disputes, violations } = day;
        Self { day, signups, listings, orders, disputes, violations }
    }
}

/// Every day from one to another, both included.
fn each_day(from: NaiveDate, to: NaiveDate) -> impl Iterator<Item = NaiveDate> {
    from.iter_days().take_while(move |day| *day <= to)
}

async fn activity(app: &App, from: NaiveDate, to: NaiveDate) -> Result<Vec<ActivityBody>, Problem> {
    let known = statistics::days(&app.pool, from, to).await?;
    let known: BTreeMap<NaiveDate, ActivityBody> = known.into_iter().map(|day| (day.day, day.into())).collect();
    let none = |day| ActivityBody { day, signups: 0, listings: 0, orders: 0, disputes: 0, violations: 0 };
    Ok(each_day(from, to).map(|day| known.get(&day).copied().unwrap_or_else(|| none(day))).collect())
}

/// What was sold on each day, by currency.
type Sold = BTreeMap<Text<Currency>, BTreeMap<NaiveDate, Sums>>;

async fn sold(app: &App, from: NaiveDate, to: NaiveDate, currency: Option<Currency>) -> Result<Sold, Problem> {
    let mut sold = Sold::new();
    for day in statistics::takings(&app.pool, from, to, currency).await? {
        sold.entry(day.currency).or_default().insert(day.day, day.sums);
    }
    Ok(sold)
}

/// How the marketplace does: users, listings and orders by status, what was sold in each currency, what the marketplace
/// kept and what escrow holds of it, disputes, and sign-ups and sales per day.
#[utoipa::path(get, path = "/admin/dashboard", tag = TAG, security(("bearer" = ["staff"])),
    params(DashboardQuery, Waits), responses((status = OK, body = DashboardBody, description = "The dashboard")))]
pub(super) async fn dashboard(
    State(app): State<App>,
    read: Read<DashboardQuery>,
) -> Result<Json<DashboardBody>, Problem> {
    read.wait_for(&app, statistics::MODEL.name).await?;
    read.wait_for(&app, reviews::MODEL.name).await?;
    let days = read.query.days();
    let to = app.clock.now().date_naive();
    let from = to.checked_sub_days(Days::new(u64::from(days - 1))).unwrap_or(to);
    let mut counts: BTreeMap<Kind, BTreeMap<String, i64>> = BTreeMap::new();
    for count in statistics::counts(&app.pool).await? {
        counts.entry(count.kind).or_default().insert(count.status, count.things);
    }
    let mut of = |kind| counts.remove(&kind).unwrap_or_default();
    let escrows = of(Kind::Escrow);
    let mut sold = sold(&app, from, to, None).await?;
    let currencies = statistics::totals(&app.pool).await?.into_iter().map(|totals| {
        let known = sold.remove(&totals.currency).unwrap_or_default();
        market_sales(&totals, &known, from, to)
    });
    let currencies = currencies.collect::<Result<_, _>>()?;
    let reviews::Served { orders: rated, platform: stars, .. } = reviews::platform(&app.pool).await?;
    Ok(Json(DashboardBody {
        days,
        from,
        to,
        users: of(Kind::Account),
        listings: of(Kind::Listing),
        orders: of(Kind::Order),
        open_disputes: escrows.get("disputed").copied().unwrap_or_default(),
        escrows,
        merchants: of(Kind::Store),
        rating: MarketRating { orders: rated, average: average(stars, rated) },
        currencies,
        per_day: activity(&app, from, to).await?,
    }))
}

fn market_sales(
    totals: &Takings,
    known: &BTreeMap<NaiveDate, Sums>,
    from: NaiveDate,
    to: NaiveDate,
) -> Result<MarketSales, Problem> {
    let Text(currency) = totals.currency;
    let day = |day| DayBody::of(day, known.get(&day).copied().unwrap_or_default(), currency);
    Ok(MarketSales {
        currency: currency.code().to_owned(),
        gmv: amount(totals.sums.traded(), currency)?,
        total: SalesBody::of(totals.sums, currency)?,
        escrow_held: amount(totals.held(), currency)?,
        period: SalesBody::of_days(known, currency)?,
        per_day: each_day(from, to).map(day).collect::<Result<_, _>>()?,
    })
}

/// Over which days the statistics go.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StatisticsQuery {
    /// The first day, in UTC; 29 days before the last one unless told.
    #[param(value_type = Option<NaiveDate>, example = "2026-11-01")]
    from: Option<On>,
    /// The last day; today unless told. Of more than 366 days the last ones are left out.
    #[param(value_type = Option<NaiveDate>, example = "2026-11-30")]
    to: Option<On>,
    /// Only sales in this currency.
    #[param(value_type = Option<CurrencyCode>, example = "USD")]
    currency: Option<Currency>,
}

/// A day, written as RFC 3339 writes it and in no other way.
#[derive(Clone, Copy, Debug)]
struct On(NaiveDate);

impl<'de> Deserialize<'de> for On {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let day: Option<NaiveDate> = text.parse().ok();
        // What may be written in several ways is taken in one.
        let day = day.filter(|day| day.to_string() == text);
        day.map(Self).ok_or_else(|| serde::de::Error::custom("must be a day such as 2026-11-30"))
    }
}

/// What happened on each of some days. A day that is over does not change any more; the last one goes on.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatisticsBody {
    /// The first day.
    from: NaiveDate,
    /// The last.
    to: NaiveDate,
    /// Each day, oldest first.
    days: Vec<ActivityBody>,
    /// What was sold in each currency in which something was.
    currencies: Vec<CurrencyStatistics>,
}

/// What was sold in one currency on each of some days.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyStatistics {
    #[schema(example = "USD")]
    currency: String,
    /// All these days together.
    total: SalesBody,
    /// Each day, oldest first.
    days: Vec<DayBody>,
}

/// Daily statistics: sign-ups, listings, orders, disputes and violations, and in each currency what was sold, given back,
/// kept as fees, paid out, and paid at the door. They are kept as things happen, so they are always those of now.
#[utoipa::path(get, path = "/admin/statistics", tag = TAG, security(("bearer" = ["staff"])),
    params(StatisticsQuery, Waits), responses((status = OK, body = StatisticsBody, description = "The days")))]
pub(super) async fn statistics_per_day(
    State(app): State<App>,
    read: Read<StatisticsQuery>,
) -> Result<Json<StatisticsBody>, Problem> {
    read.wait_for(&app, statistics::MODEL.name).await?;
    let StatisticsQuery { from, to, currency } = read.query;
    let to = to.map_or_else(|| app.clock.now().date_naive(), |on| on.0);
    let usual = || to.checked_sub_days(Days::new(USUAL_DAYS - 1)).unwrap_or(to);
    let from = from.map_or_else(usual, |on| on.0);
    let last = from.checked_add_days(Days::new(MOST_DAYS - 1)).unwrap_or(from);
    let to = to.min(last);
    let currencies = sold(&app, from, to, currency).await?.into_iter().map(|(Text(currency), known)| {
        let day = |day| DayBody::of(day, known.get(&day).copied().unwrap_or_default(), currency);
        Ok(CurrencyStatistics {
            currency: currency.code().to_owned(),
            total: SalesBody::of_days(&known, currency)?,
            days: each_day(from, to).map(day).collect::<Result<_, _>>()?,
        })
    });
    let currencies = currencies.collect::<Result<_, Problem>>()?;
    Ok(Json(StatisticsBody { from, to, days: activity(&app, from, to).await?, currencies }))
}
