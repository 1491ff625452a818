//! Bonus points: how many one has, and where they come from.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::Money;
use domain::money::AMOUNT_LIMIT;
use projections::past::Question;
use projections::points;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::Caller;
use crate::http::money::stored_money;
use crate::http::openapi::{CurrencyCode, MoneyBody, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PointsQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<i64>>,
}

/// One's bonus points.
#[derive(Debug, Serialize, ToSchema)]
pub struct PointsBody {
    /// How many there are, by their currency.
    balances: Vec<PointsBalance>,
    /// Where they came from, newest first.
    items: Vec<PointsEntry>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
}

/// The points of one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct PointsBalance {
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: domain::Currency,
    /// How many; below zero is owed, and taken from the next.
    points: i64,
    /// What they pay at a checkout; nothing if points pay for nothing here.
    #[schema(value_type = MoneyBody)]
    worth: Money,
}

/// Some points that came or went.
#[derive(Debug, Serialize, ToSchema)]
pub struct PointsEntry {
    /// `earned` with an order that was completed, `redeemed` to pay for one, `given_back` with what was refunded of that
    /// or was never paid, or `taken_back` with what was refunded of an order that had earned them.
    #[schema(value_type = String, example = "earned")]
    kind: points::Kind,
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: domain::Currency,
    /// What was added.
    #[schema(example = 105)]
    points: i64,
    order_id: Uuid,
    at: DateTime<Utc>,
}

/// One's own bonus points. They pay at `POST /orders` and `POST /listings/{id}/purchase`, for orders of their currency:
/// not for what was won in an auction, and not for the orders of guests, who have none.
#[utoipa::path(get, path = "/points", tag = "Points", security(("bearer" = [])), params(PointsQuery, TakesAsOf, Waits),
    responses((status = OK, body = PointsBody, description = "What there is, and a page of entries")))]
async fn show(State(app): State<App>, caller: Caller, read: AsOf<PointsQuery>) -> Result<Json<PointsBody>, Problem> {
    read.wait_for(&app, points::MODEL.name).await?;
    let PointsQuery { limit, cursor } = &read.read.query;
    let (account, limit) = (caller.account, page_limit(*limit)?);
    let balance = |row: points::Balance| {
        let (currency, points) = (row.currency.0, row.points);
        let worth =
            points.max(0).saturating_mul(i64::from(app.settings.points.worth_minor_units)).min(AMOUNT_LIMIT - 1);
        Ok::<_, Problem>(PointsBalance { currency, points, worth: stored_money(worth, currency)? })
    };
    let cursor = cursor.as_ref().map(|cursor| cursor.0);
    let shown = |mut look: Look| async move {
        let balances = points::balances(&mut look.view, account).await?;
        Ok((balances, points::entries_page(&mut look.view, account, cursor, limit).await?))
    };
    let (balances, page) = read.answer(&app, Question::Points(account), shown).await?;
    let entry = |row: points::Entry| {
        let points::Entry { kind, points, order_id, at, .. } = row;
        Ok(PointsEntry { kind, currency: row.currency.0, points, order_id, at })
    };
    let Page { items, next_cursor } = Page::of(page, entry)?;
    Ok(Json(PointsBody { balances: balances.into_iter().map(balance).collect::<Result<_, _>>()?, items, next_cursor }))
}
