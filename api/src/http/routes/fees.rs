//! Fees: what staff charge of sales, and what a seller is charged.

use axum::Json;
use axum::extract::State;
use commands::fees::{self as charging, FeeRules, Rule, Scope};
use domain::account::Capability;
use domain::fees::{Rates, Said};
use domain::money::FULL_BPS;
use domain::{AccountId, ListingId};
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::past::View;
use projections::{categories, plans, subscriptions};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::subscriptions::{all_plans, is_reason};
use crate::app::App;
use crate::http::access;
use crate::http::extract::{Caller, Command, Ids, NoQuery, Read};
use crate::http::fields::is_slug;
use crate::http::openapi::{Conditional, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

const STAFF_TAG: &str = "Administration";
/// What stands for the id of what there is but one of.
const DEFAULT: &str = "default";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, set)).routes(routes!(own))
}

/// Where a fee is said, in the order in which lists show them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// For every sale.
    Default,
    /// By a category.
    Category,
    /// By a plan.
    Plan,
    /// With a seller.
    Seller,
}

words!(PlaceName: "default", "category", "plan", "seller");

/// Where a fee is said.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RulePath {
    #[param(inline, value_type = PlaceName, example = "category")]
    scope: String,
    /// The slug of the category or of the plan, the id of the seller; of the default, of which there is one, `default`.
    #[param(pattern = "^[a-z0-9-]{1,64}$", example = "watches")]
    id: String,
}

impl RulePath {
    fn scope(self) -> Result<Scope, Problem> {
        let Self { scope, id } = self;
        let slug = |id: String| is_slug(&id, &()).is_ok().then_some(id);
        let named = match scope.as_str() {
            DEFAULT if id == DEFAULT => Some(Scope::Default),
            "category" => slug(id).map(Scope::Category),
            "plan" => slug(id).map(Scope::Plan),
            "seller" => id.parse().ok().map(Scope::Seller),
            _ => None,
        };
        named.ok_or_else(|| Problem::not_found("thing"))
    }
}

fn rules(app: &App) -> FeeRules {
    FeeRules { usual: app.settings.orders.fee_bps, plans: app.settings.plans.rules() }
}

/// The kind and the id of where a fee is said.
fn named(scope: &Scope) -> (Place, String) {
    match scope {
        Scope::Default => (Place::Default, DEFAULT.to_owned()),
        Scope::Category(slug) => (Place::Category, slug.clone()),
        Scope::Plan(slug) => (Place::Plan, slug.clone()),
        Scope::Seller(seller) => (Place::Seller, seller.to_string()),
    }
}

/// Which fees to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FeesQuery {
    /// Only those that are said there.
    #[param(inline, value_type = Option<PlaceName>)]
    scope: Option<Place>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<FeesCursor>>,
}

/// Where a page ends.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeesCursor {
    scope: Place,
    id: String,
}

/// A fee that somebody has said.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeeBody {
    /// `default`, `category`, `plan` or `seller`.
    #[schema(value_type = String, example = "category")]
    scope: Place,
    /// The slug of the category or of the plan, the id of the seller, or `default`.
    #[schema(example = "watches")]
    id: String,
    /// What people call it, if it has a name.
    #[schema(example = "Watches")]
    name: Option<String>,
    /// The marketplace's share of a sale, in basis points. The default is that of the deployment's settings unless staff
    /// have said another.
    #[schema(example = 350)]
    fee_bps: i64,
}

/// All fees that are said anywhere: the default first, then those of categories, of plans, and of sellers. What a sale is
/// charged is that of its seller, or else of the seller's plan, or else of its category or the nearest one above it that
/// has one, or else the default.
#[utoipa::path(get, path = "/admin/fees", tag = STAFF_TAG, security(("bearer" = ["staff"])), params(FeesQuery, Waits),
    responses((status = OK, body = Page<FeeBody>, description = "A page")))]
async fn list(State(app): State<App>, read: Read<FeesQuery>) -> Result<Json<Page<FeeBody>>, Problem> {
    for model in [&categories::MODEL, &plans::MODEL, &subscriptions::MODEL] {
        read.wait_for(&app, model.name).await?;
    }
    let FeesQuery { scope, limit, cursor } = read.query;
    let limit = page_limit(limit)?;
    let (cursor, most) = (cursor.map(|cursor| cursor.0), limit + 1);
    let mut rows: Vec<FeeBody> = Vec::new();
    for place in [Place::Default, Place::Category, Place::Plan, Place::Seller] {
        let after = cursor.as_ref().filter(|cursor| cursor.scope == place).map(|cursor| cursor.id.as_str());
        let is_shown = cursor.as_ref().is_none_or(|cursor| cursor.scope <= place);
        let room = most.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        if room > 0 && is_shown && scope.is_none_or(|scope| scope == place) {
            rows.extend(said_in(&app, place, after, room).await?);
        }
    }
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > shown;
    rows.truncate(shown);
    let next = rows.last().filter(|_| more).map(|row| FeesCursor { scope: row.scope, id: row.id.clone() });
    Page::of(projections::Page { items: rows, next }, Ok).map(Json)
}

/// The fees that are said in one kind of place, by their ids, from behind one on.
async fn said_in(app: &App, place: Place, after: Option<&str>, most: u32) -> Result<Vec<FeeBody>, Problem> {
    let body = |id: String, name: Option<String>, fee_bps: i64| FeeBody { scope: place, id, name, fee_bps };
    Ok(match (place, after) {
        (Place::Default, Some(_)) => Vec::new(),
        (Place::Default, None) => {
            let rules = rules(app);
            let rule = app.engine.read(move |world| charging::rule(world, &Scope::Default, rules)).await?;
            vec![body(DEFAULT.to_owned(), None, i64::from(rule.counting_bps))]
        }
        (Place::Category, after) => {
            let rows = categories::with_fee(&app.pool, after, most).await?;
            let shown = |row: categories::Category| Some(body(row.slug, Some(row.name), row.fee_bps?));
            rows.into_iter().filter_map(shown).collect()
        }
        (Place::Plan, after) => {
            let mut rows = all_plans(app, &mut View::now(&app.pool)).await?;
            rows.sort_by(|a, b| a.slug.cmp(&b.slug));
            let rows = rows.into_iter().filter(|row| after.is_none_or(|after| row.slug.as_str() > after));
            let shown = rows.filter_map(|row| Some(body(row.slug, Some(row.name), row.fee_bps?)));
            shown.take(usize::try_from(most).unwrap_or(usize::MAX)).collect()
        }
        (Place::Seller, after) => {
            let malformed = || Problem::invalid_field("?cursor", "invalid", "must be a next_cursor of this list");
            let after = after.map(|after| after.parse().map_err(|_| malformed())).transpose()?;
            let rows = subscriptions::with_fee(&app.pool, after, most).await?;
            rows.into_iter().filter_map(|row| Some(body(row.account_id.to_string(), None, row.fee_bps?))).collect()
        }
    })
}

/// What is said of fees in one place.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct FeeRuleBody {
    /// `default`, `category`, `plan` or `seller`.
    #[schema(value_type = String, example = "category")]
    scope: Place,
    /// The slug of the category or of the plan, the id of the seller, or `default`.
    #[schema(example = "watches")]
    id: String,
    /// The marketplace's share of a sale that is said here, in basis points; none if nothing is.
    #[schema(example = 350)]
    fee_bps: Option<u32>,
    /// What is charged of a sale of which nothing else is known: what is said here, or what counts without.
    #[schema(example = 350)]
    counting_bps: u32,
    /// For `If-Match`: how many events there are of the category, the plan, the seller or the default.
    version: u64,
}

fn rule_body(scope: &Scope, Rule { fee_bps, counting_bps, version }: Rule) -> FeeRuleBody {
    let (scope, id) = named(scope);
    FeeRuleBody { scope, id, fee_bps, counting_bps, version }
}

/// What is said of fees in one place.
#[utoipa::path(get, path = "/admin/fees/{scope}/{id}", tag = STAFF_TAG, security(("bearer" = ["staff"])),
    params(RulePath, Waits), responses((status = OK, body = FeeRuleBody, description = "What is said there")))]
async fn show(
    State(app): State<App>,
    Ids(path): Ids<RulePath>,
    read: Read<NoQuery>,
) -> Result<Json<FeeRuleBody>, Problem> {
    read.wait_for(&app, subscriptions::MODEL.name).await?;
    let (scope, rules) = (path.scope()?, rules(&app));
    let look = move |world: &mut commands::World<'_>| Ok(rule_body(&scope, charging::rule(world, &scope, rules)?));
    Ok(Json(app.engine.read(look).await?))
}

/// What sales are to be charged.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct FeeText {
    /// The marketplace's share of a sale, in basis points; `null` for what counts without one.
    #[garde(range(max = FULL_BPS))]
    #[serde(deserialize_with = "there")]
    #[schema(required = true, maximum = 10_000, example = 350)]
    fee_bps: Option<u32>,
    /// Why, for the record of what staff have done.
    #[garde(custom(is_reason))]
    #[schema(
        example = "Others ask less.",
        min_length = 1,
        max_length = 1000,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    reason: String,
}

/// A field that must be there, be it `null`: whoever leaves it out does not mean to take a fee back.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Option::deserialize(deserializer)
}

/// Says what sales are charged from now on, for a reason that is kept: every one, those of a category and of all below it,
/// those of whoever subscribes to a plan, or those of one seller, who is somebody else. Of these the last one that has a fee
/// counts.
///
/// Orders that are placed keep the fee of their day. Whoever has a subscription keeps the fee that it was bought with until
/// they buy another; `free` counts for all who have none.
#[utoipa::path(put, path = "/admin/fees/{scope}/{id}", tag = STAFF_TAG, security(("bearer" = ["staff"])),
    params(RulePath, Conditional), request_body = FeeText,
    responses((status = OK, body = FeeRuleBody, description = "Changed, or the same as before")))]
async fn set(
    State(app): State<App>,
    Ids(path): Ids<RulePath>,
    command: Command<FeeText>,
) -> Result<Done<FeeRuleBody>, Problem> {
    let (scope, rules) = (path.scope()?, rules(&app));
    let (by, expected) = (command.caller.account, command.expected_version);
    // What becomes of a category says why beside it, all else within it.
    let request = match scope {
        Scope::Category(_) => command.request_because(&app, Some(&command.body.reason)).await?,
        Scope::Default | Scope::Plan(_) | Scope::Seller(_) => command.request(),
    };
    // Why is forgotten with whom it is about.
    let about = match scope {
        Scope::Seller(seller) => seller,
        Scope::Default | Scope::Category(_) | Scope::Plan(_) => by,
    };
    let key = PersonKey::load(&app.pool, &app.wrapping, about).await?.ok_or_else(|| Problem::not_found("account"))?;
    let FeeText { fee_bps, reason } = command.body;
    let reason = key.seal(&reason);
    let set = move |world: &mut commands::World<'_>| {
        charging::expect(world, &scope, expected)?;
        charging::set(world, &scope, fee_bps, by, &reason, rules)?;
        Ok(rule_body(&scope, charging::rule(world, &scope, rules)?))
    };
    Ok(Done::ok(app.engine.submit(request, set).await?))
}

/// Of what to show the fee.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnQuery {
    /// One of one's listings; its category counts, whatever else is named.
    listing_id: Option<Uuid>,
    /// The slug of a category.
    #[param(pattern = "^[a-z0-9-]{1,64}$", example = "watches")]
    category: Option<String>,
}

/// What one is charged of what one sells.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnFees {
    /// What counts, in basis points of price and shipping, less discounts. It is frozen into an order when it is placed.
    #[schema(example = 150)]
    fee_bps: u32,
    /// Where that is said: `default`, `category`, `plan` or `seller`.
    #[schema(value_type = String, example = "plan")]
    counts: Place,
    /// Of which category; none if neither a listing nor a category is named.
    #[schema(example = "watches")]
    category: Option<String>,
    /// Of every sale.
    #[schema(example = 200)]
    default_bps: u32,
    /// Of the category, or of the nearest one above it that has one; counts before the default.
    #[schema(example = 350)]
    category_bps: Option<u32>,
    /// Of one's plan; counts before the category.
    #[schema(example = 150)]
    plan_bps: Option<u32>,
    /// Agreed with oneself alone; counts before all others.
    seller_bps: Option<u32>,
}

fn own_body(category: Option<String>, rates: Rates) -> OwnFees {
    let (said, fee_bps) = rates.said();
    let counts = match said {
        Said::Usually => Place::Default,
        Said::ByCategory => Place::Category,
        Said::ByPlan => Place::Plan,
        Said::WithSeller => Place::Seller,
    };
    let Rates { usual: default_bps, category: category_bps, plan: plan_bps, seller: seller_bps } = rates;
    OwnFees { fee_bps, counts, category, default_bps, category_bps, plan_bps, seller_bps }
}

/// What one is charged of what one sells now: of one of one's listings, in a category, or wherever nothing is said of one.
#[utoipa::path(get, path = "/merchant/fees", tag = "Stores", security(("bearer" = [])), params(OwnQuery, Waits),
    responses((status = OK, body = OwnFees, description = "The fee, and where it is said"),
        (status = FORBIDDEN, description = "The account may not sell"),
        (status = NOT_FOUND, description = "There is no such listing of one's own")))]
async fn own(State(app): State<App>, caller: Caller, read: Read<OwnQuery>) -> Result<Json<OwnFees>, Problem> {
    access::require(&app, caller, Capability::Sell).await?;
    read.wait_for(&app, subscriptions::MODEL.name).await?;
    let OwnQuery { listing_id, category } = read.query;
    if let Some(slug) = &category {
        is_slug(slug, &()).map_err(|wrong| Problem::invalid_field("?category", "invalid", wrong.to_string()))?;
    }
    let (rules, seller): (_, AccountId) = (rules(&app), caller.account);
    let look = move |world: &mut commands::World<'_>| match listing_id {
        Some(listing) => {
            let (category, rates) = charging::rates_of_listing(world, ListingId(listing), seller, rules)?;
            Ok(own_body(Some(category), rates))
        }
        None => Ok(own_body(category.clone(), charging::rates(world, seller, category.as_deref(), rules)?)),
    };
    Ok(Json(app.engine.read(look).await?))
}
