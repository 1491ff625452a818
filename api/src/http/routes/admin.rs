//! For staff: how the marketplace does, who is here and what they decide about them, what money has moved, what staff have
//! done, the read models, and whether the books balance.

use axum::Json;
use axum::extract::State;
use eventstore::follower;
use projections::ledger;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::as_of::{AsOf, TakesAsOf};
use crate::http::extract::{NoQuery, READ_PATIENCE};
use crate::http::openapi::Waits;
use crate::http::problem::Problem;

pub mod acts;
pub mod statistics;
pub mod transactions;
pub mod users;

const TAG: &str = "Administration";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(statistics::dashboard))
        .routes(routes!(statistics::statistics_per_day))
        .routes(routes!(users::list))
        .routes(routes!(users::show, users::rule, users::rule_by_put))
        .routes(routes!(users::of_user))
        .routes(routes!(users::own))
        .routes(routes!(transactions::list))
        .routes(routes!(acts::list))
        .routes(routes!(list_projections))
        .routes(routes!(trial_balance))
}

/// The read models and how far they have followed the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectionsBody {
    items: Vec<ProjectionBody>,
}

/// A read model and how far it has followed the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectionBody {
    #[schema(example = "catalogue")]
    name: String,
    /// The version of its tables.
    version: Option<i32>,
    /// The last event that it shows.
    position: i64,
    /// The last event of the log.
    head: i64,
    /// Events that it has yet to take in.
    lag: i64,
}

/// The read models and how far they have followed the log.
#[utoipa::path(get, path = "/admin/projections", tag = TAG, security(("bearer" = ["staff"])),
    responses((status = OK, body = ProjectionsBody, description = "The read models")))]
async fn list_projections(State(app): State<App>) -> Result<Json<ProjectionsBody>, Problem> {
    let names = projections::ALL.map(|model| model.name);
    let rows = follower::statuses(&app.pool, &names, app.clock.now()).await?;
    let items = rows.into_iter().map(|row| ProjectionBody {
        name: row.name,
        version: row.version,
        position: row.position,
        head: row.head,
        lag: row.lag_events,
    });
    Ok(Json(ProjectionsBody { items: items.collect() }))
}

/// Whether debits equal credits, per currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrialBalance {
    /// The position as of which it is: what came later is not in it. None if it is that of now.
    as_of: Option<i64>,
    /// Whether every currency balances.
    balanced: bool,
    currencies: Vec<CurrencyTotals>,
}

/// The books in one currency. Sums are texts, since they may pass what a JSON number keeps exact.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyTotals {
    #[schema(example = "USD")]
    currency: String,
    /// All debits, in minor units.
    #[schema(example = "125000")]
    debits: String,
    /// All credits, in minor units.
    #[schema(example = "125000")]
    credits: String,
    /// Debits less credits: zero, always.
    #[schema(example = "0")]
    difference: String,
    /// Per kind of account.
    accounts: Vec<KindTotals>,
}

/// The books of one kind of account.
#[derive(Debug, Serialize, ToSchema)]
pub struct KindTotals {
    #[schema(value_type = String, example = "available")]
    kind: ledger::Kind,
    /// How many accounts of the kind there are.
    accounts: i64,
    debits: String,
    credits: String,
    /// Credits less debits.
    balance: String,
}

/// The trial balance: debits equal credits per currency, always; now, or as of any commit.
#[utoipa::path(get, path = "/admin/trial-balance", tag = TAG, security(("bearer" = ["staff"])),
    params(TakesAsOf, Waits),
    responses((status = OK, body = TrialBalance, description = "The trial balance")))]
async fn trial_balance(State(app): State<App>, read: AsOf<NoQuery>) -> Result<Json<TrialBalance>, Problem> {
    read.wait_for(&app, ledger::MODEL.name).await?;
    // The ledger tells its own past: however long that is, it is sums that are kept.
    let as_of = read.found(&app).await?.map(|found| found.position);
    let books = match as_of {
        None => ledger::trial_balance(&app.pool).await?,
        Some(position) => {
            app.progress.wait_for(ledger::MODEL.name, position, READ_PATIENCE).await?;
            ledger::trial_balance_as_of(&app.pool, position).await?
        }
    };
    Ok(Json(TrialBalance {
        as_of,
        balanced: books.iter().all(|currency| currency.difference.0 == 0),
        currencies: books.into_iter().map(currency_totals).collect(),
    }))
}

fn currency_totals(books: ledger::TrialBalance) -> CurrencyTotals {
    let kinds = books.kinds.into_iter().map(|totals| KindTotals {
        balance: totals.credit_balance().0.to_string(),
        kind: totals.kind,
        accounts: totals.accounts,
        debits: totals.debits.0.to_string(),
        credits: totals.credits.0.to_string(),
    });
    CurrencyTotals {
        currency: books.currency.0.code().to_owned(),
        debits: books.debits.0.to_string(),
        credits: books.credits.0.to_string(),
        difference: books.difference.0.to_string(),
        accounts: kinds.collect(),
    }
}
