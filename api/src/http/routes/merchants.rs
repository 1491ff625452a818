//! Stores, for staff: who waits to be verified, and what they decide.

use axum::Json;
use axum::extract::State;
use commands::stores::{self, Verdict};
use domain::store::{Kyc, Ruling, Store};
use domain::{AccountId, Money};
use eventstore::sealing::PersonKey;
use projections::sales::{self, Totals};
use projections::{Text, stores as shops};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::orders::Reason;
use super::selling::dashboard::{SalesBody, amount};
use super::stores::{OwnStore, StoreChanged, changed, own_store};
use crate::app::App;
use crate::http::extract::{Command, Id, Read};
use crate::http::openapi::{Conditional, MoneyBody, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

const TAG: &str = "Administration";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(verify))
        .routes(routes!(unverify))
        .routes(routes!(suspend))
        .routes(routes!(reinstate))
        .routes(routes!(remove))
}

/// Which stores to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MerchantsQuery {
    /// Words in name, slug or biography.
    q: Option<String>,
    /// `open`, `suspended` or `removed`.
    #[param(inline, value_type = Option<StateName>)]
    state: Option<shops::State>,
    /// `unverified`, `pending` or `verified`.
    #[param(inline, value_type = Option<KycName>)]
    kyc: Option<Kyc>,
    /// `newest` unless told, or `name`.
    #[param(inline, value_type = Option<super::stores::SortName>)]
    sort: Option<shops::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<shops::Cursor>>,
}

words!(StateName: "open", "suspended", "removed");

words!(KycName: "unverified", "pending", "verified");

/// A store, and what it has sold.
#[derive(Debug, Serialize, ToSchema)]
pub struct MerchantBody {
    #[serde(flatten)]
    store: OwnStore,
    /// All that it has ever sold, in each currency: the same as its owner's dashboard shows. The dashboard of the
    /// marketplace shows it of all sellers together, those without a store as well.
    sales: Vec<MerchantSales>,
}

/// What a seller has ever sold in one currency. Sums beyond what an amount can be are shown as the most that it can be.
#[derive(Debug, Serialize, ToSchema)]
pub struct MerchantSales {
    #[schema(example = "USD")]
    currency: String,
    #[serde(flatten)]
    total: SalesBody,
    /// What escrow holds of it.
    #[schema(value_type = MoneyBody)]
    in_escrow: Money,
}

impl MerchantSales {
    fn of(totals: &Totals) -> Result<Self, Problem> {
        let Text(currency) = totals.currency;
        let (total, in_escrow) = (SalesBody::of(totals.sums, currency)?, amount(totals.held, currency)?);
        Ok(Self { currency: currency.code().to_owned(), total, in_escrow })
    }
}

/// All stores, but those of people who are forgotten, each with what it has sold.
#[utoipa::path(get, path = "/admin/merchants", tag = TAG, security(("bearer" = ["staff"])),
    params(MerchantsQuery, Waits), responses((status = OK, body = Page<MerchantBody>, description = "A page")))]
async fn list(State(app): State<App>, read: Read<MerchantsQuery>) -> Result<Json<Page<MerchantBody>>, Problem> {
    for model in [shops::MODEL, sales::MODEL] {
        read.wait_for(&app, model.name).await?;
    }
    let MerchantsQuery { q, state, kyc, sort, limit, cursor } = read.query;
    let filter = shops::Filter { state, kyc, words: q };
    let (sort, limit) = (sort.unwrap_or_default(), page_limit(limit)?);
    let page = shops::page(&app.pool, &filter, sort, cursor.map(|cursor| cursor.0), limit).await?;
    let sellers: Vec<Uuid> = page.items.iter().map(|store| store.id).collect();
    let sold = sales::totals_of(&app.pool, &sellers).await?;
    let merchant = |row: shops::Store| {
        let sales = sold.get(&row.id).into_iter().flatten().map(MerchantSales::of).collect::<Result<_, _>>()?;
        Ok(MerchantBody { store: own_store(row), sales })
    };
    Page::of(page, merchant).map(Json)
}

async fn rule(
    app: &App,
    owner: AccountId,
    verdict: Verdict,
    command: Command<Reason>,
) -> Result<Done<StoreChanged>, Problem> {
    let (request, expected) = (command.request(), command.expected_version);
    // Of whoever is forgotten there is no store.
    let key = PersonKey::load(&app.pool, &app.wrapping, owner).await?.ok_or_else(|| Problem::not_found("store"))?;
    let ruling = Ruling { by: command.caller.account, reason: key.seal(&command.body.reason).into() };
    let rule = move |world: &mut commands::World<'_>| {
        world.get::<Store>(owner)?.opened()?;
        world.expect_version::<Store>(owner, expected)?;
        stores::rule(world, owner, verdict, &ruling)?;
        changed(world, owner)
    };
    Ok(Done::ok(app.engine.submit(request, rule).await?))
}

/// Vouches for a store: somebody stands behind its name at its address.
#[utoipa::path(post, path = "/admin/merchants/{id}/verify", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = Reason,
    responses((status = OK, body = StoreChanged, description = "Verified")))]
async fn verify(
    State(app): State<App>,
    Id(owner): Id<AccountId>,
    command: Command<Reason>,
) -> Result<Done<StoreChanged>, Problem> {
    rule(&app, owner, Verdict::Verify, command).await
}

/// Vouches for a store no more, or not at all.
#[utoipa::path(post, path = "/admin/merchants/{id}/unverify", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = Reason,
    responses((status = OK, body = StoreChanged, description = "Not verified")))]
async fn unverify(
    State(app): State<App>,
    Id(owner): Id<AccountId>,
    command: Command<Reason>,
) -> Result<Done<StoreChanged>, Problem> {
    rule(&app, owner, Verdict::Unverify, command).await
}

/// Closes a store for now: its owner settles what is open and sells nothing new, and what it offers is not shown.
#[utoipa::path(post, path = "/admin/merchants/{id}/suspend", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = Reason,
    responses((status = OK, body = StoreChanged, description = "Suspended")))]
async fn suspend(
    State(app): State<App>,
    Id(owner): Id<AccountId>,
    command: Command<Reason>,
) -> Result<Done<StoreChanged>, Problem> {
    rule(&app, owner, Verdict::Suspend, command).await
}

/// Lets a store sell again that was suspended.
#[utoipa::path(post, path = "/admin/merchants/{id}/reinstate", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = Reason,
    responses((status = OK, body = StoreChanged, description = "Open again")))]
async fn reinstate(
    State(app): State<App>,
    Id(owner): Id<AccountId>,
    command: Command<Reason>,
) -> Result<Done<StoreChanged>, Problem> {
    rule(&app, owner, Verdict::Reinstate, command).await
}

/// Closes a store for good. Its slug stays taken.
#[utoipa::path(delete, path = "/admin/merchants/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = uuid::Uuid, Path), Conditional), request_body = Reason,
    responses((status = OK, body = StoreChanged, description = "Removed")))]
async fn remove(
    State(app): State<App>,
    Id(owner): Id<AccountId>,
    command: Command<Reason>,
) -> Result<Done<StoreChanged>, Problem> {
    rule(&app, owner, Verdict::Remove, command).await
}
