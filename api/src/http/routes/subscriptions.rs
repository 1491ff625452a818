//! Plans and subscriptions: what there is to subscribe to, what one has, and what staff make of it.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::plans as editing;
use commands::subscriptions::{self as buying, Order};
use domain::money::FULL_BPS;
use domain::plan::{self, Definition, FREE, LONGEST_PERIOD, MOST_FEATURES, MOST_PRICES, Plan, SHORTEST_PERIOD};
use domain::subscription::{EndCause, Event, Subscription};
use domain::{AccountId, Currency, Money, PlanId, SubscriptionId};
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::past::{Question, View};
use projections::{plans, subscriptions};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, NoQuery, Nothing, Read, Slug};
use crate::http::fields::{check, is_slug, is_title};
use crate::http::money::stored_money;
use crate::http::openapi::{Conditional, CurrencyCode, Keyed, MoneyBody, Waits};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

const TAG: &str = "Subscriptions";

/// The routes of this file.
#[expect(deprecated, reason = "a path that old clients know")]
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_plans))
        .routes(routes!(mine))
        .routes(routes!(purchase))
        .routes(routes!(cancel))
        .routes(routes!(cancel_active))
        .routes(routes!(define))
}

/// A plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanBody {
    /// Names it, for ever.
    #[schema(example = "premium")]
    slug: String,
    #[schema(example = "Premium")]
    name: String,
    /// What a period costs, in each currency that it is sold in. The plan `free` costs nothing and is not sold:
    /// everybody has it who has no subscription.
    #[schema(value_type = Vec<MoneyBody>)]
    prices: Vec<Money>,
    /// How long a period is, in days.
    #[schema(example = 30)]
    period_days: i64,
    /// The marketplace's share of its subscribers' sales, in basis points, if it is another than usual.
    #[schema(example = 150)]
    fee_bps: Option<i64>,
    /// How many listings its subscribers may have on offer at once, those that wait for the staff and those that are
    /// paused included; as many as they like unless told.
    #[schema(example = 1000)]
    listings: Option<i64>,
    /// What else it brings.
    features: Vec<String>,
    /// For `If-Match`; 0 while staff have said nothing of it.
    version: u64,
}

/// The plans.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlansBody {
    /// In order.
    items: Vec<PlanBody>,
}

/// All plans, those that are retired included: what staff have said, and what is shipped of which they have said nothing.
pub(super) async fn all_plans(app: &App, view: &mut View) -> Result<Vec<plans::Row>, Problem> {
    let mut rows = plans::all(view).await?;
    for definition in plan::shipped(app.settings.plans.rules().free_listings) {
        if rows.iter().all(|row| row.slug != definition.slug) {
            rows.push(plans::Row::of(PlanId::of(&definition.slug), definition, 0, 0));
        }
    }
    rows.sort_by(|a, b| (a.sort_order, &a.slug).cmp(&(b.sort_order, &b.slug)));
    Ok(rows)
}

fn plan_body(row: plans::Row) -> PlanBody {
    PlanBody {
        slug: row.slug,
        name: row.name,
        prices: row.prices.0,
        period_days: row.period_days,
        fee_bps: row.fee_bps,
        listings: row.listings,
        features: row.features.0,
        version: row.version.unsigned_abs(),
    }
}

/// The plans that there are, those left out that are not sold any more.
#[utoipa::path(get, path = "/subscriptions/plans", tag = TAG, params(Waits),
    responses((status = OK, body = PlansBody, description = "The plans")))]
async fn list_plans(State(app): State<App>, read: Read<NoQuery>) -> Result<Json<PlansBody>, Problem> {
    read.wait_for(&app, plans::MODEL.name).await?;
    let sold = all_plans(&app, &mut View::now(&app.pool)).await?.into_iter().filter(|row| !row.retired);
    Ok(Json(PlansBody { items: sold.map(plan_body).collect() }))
}

/// A subscription.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionBody {
    id: Uuid,
    /// `active`, `past_due` while its next period is not paid, or `ended`.
    #[schema(value_type = String, example = "active")]
    state: subscriptions::State,
    /// The slug of its plan.
    #[schema(example = "premium")]
    plan: String,
    #[schema(example = "Premium")]
    name: String,
    /// What a period costs. It was frozen when it was bought, as is all that the plan brings.
    #[schema(value_type = MoneyBody)]
    price: Money,
    #[schema(example = 30)]
    period_days: i64,
    /// The marketplace's share of its subscriber's sales, in basis points, if it is another than usual.
    fee_bps: Option<i64>,
    /// How many listings its subscriber may have on offer at once; as many as they like unless told.
    listings: Option<i64>,
    features: Vec<String>,
    /// Which period was paid last, from 1.
    period: i64,
    period_starts_at: DateTime<Utc>,
    period_ends_at: DateTime<Utc>,
    /// Whether another one follows, paid from the wallet.
    renews: bool,
    /// Of which plan it is, if it is another.
    next: Option<NextPlan>,
    /// When payment is tried again, if it has failed.
    retry_at: Option<DateTime<Utc>>,
    /// When it ends unless it is paid.
    grace_until: Option<DateTime<Utc>>,
    purchased_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    /// Why it has ended: `cancelled`, `not_paid`, `plan_retired`, `account_barred` or `replaced`.
    #[schema(value_type = Option<String>)]
    end_cause: Option<EndCause>,
    /// For `If-Match`.
    version: u64,
}

/// A plan that begins with the next period.
#[derive(Debug, Serialize, ToSchema)]
pub struct NextPlan {
    /// Its slug.
    plan: String,
    name: String,
    /// What a period costs.
    #[schema(value_type = MoneyBody)]
    price: Money,
}

fn subscription_body(row: subscriptions::Row) -> Result<SubscriptionBody, Problem> {
    let next = match (row.next_plan, row.next_name, row.next_price, row.next_currency) {
        (Some(plan), Some(name), Some(price), Some(currency)) => {
            Some(NextPlan { plan, name, price: stored_money(price, currency.0)? })
        }
        _ => None,
    };
    Ok(SubscriptionBody {
        id: row.id,
        state: row.state,
        plan: row.plan,
        name: row.name,
        price: stored_money(row.price, row.currency.0)?,
        period_days: row.period_days,
        fee_bps: row.fee_bps,
        listings: row.listings,
        features: row.features.0,
        period: row.period,
        period_starts_at: row.period_starts_at,
        period_ends_at: row.period_ends_at,
        renews: row.renews,
        next,
        retry_at: row.retry_at,
        grace_until: row.grace_until,
        purchased_at: row.purchased_at,
        ended_at: row.ended_at,
        end_cause: row.end_cause.map(|cause| cause.0),
        version: row.version.unsigned_abs(),
    })
}

/// Which of one's subscriptions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MineQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<subscriptions::Cursor>>,
}

/// One's plan, and the subscriptions that one has and had.
#[derive(Debug, Serialize, ToSchema)]
pub struct MySubscriptionsBody {
    /// The slug of one's plan: of the subscription, or `free`.
    #[schema(example = "premium")]
    plan: String,
    #[schema(example = "Premium")]
    name: String,
    /// The marketplace's share of one's sales, in basis points, if it is another than usual; one that was agreed with
    /// oneself alone counts before that of the plan.
    fee_bps: Option<i64>,
    /// How many listings one may have on offer at once; as many as one likes unless told.
    listings: Option<i64>,
    /// How many there are.
    offers: i64,
    /// The subscription that goes on.
    active: Option<SubscriptionBody>,
    /// All of them, newest first.
    items: Vec<SubscriptionBody>,
    /// Give it as `cursor` to get the next page; none on the last.
    next_cursor: Option<String>,
}

/// One's own plan and subscriptions.
#[utoipa::path(get, path = "/subscriptions/my", tag = TAG, security(("bearer" = [])), params(MineQuery, TakesAsOf, Waits),
    responses((status = OK, body = MySubscriptionsBody, description = "The plan, and a page of subscriptions")))]
async fn mine(
    State(app): State<App>,
    caller: Caller,
    read: AsOf<MineQuery>,
) -> Result<Json<MySubscriptionsBody>, Problem> {
    read.wait_for(&app, subscriptions::MODEL.name).await?;
    read.wait_for(&app, plans::MODEL.name).await?;
    let MineQuery { limit, cursor } = &read.read.query;
    let (account, limit) = (caller.account, page_limit(*limit)?);
    let cursor = cursor.as_ref().map(|cursor| cursor.0);
    let app = &app;
    let shown = |mut look: Look| async move { own(app, &mut look.view, account, cursor, limit).await };
    read.answer(app, Question::Subscriptions(account), shown).await.map(Json)
}

async fn own(
    app: &App,
    view: &mut View,
    account: AccountId,
    after: Option<subscriptions::Cursor>,
    limit: u32,
) -> Result<MySubscriptionsBody, Problem> {
    let active = subscriptions::current(&mut *view, account).await?;
    let (plan, name, fee_bps, listings) = if let Some(row) = &active {
        (row.plan.clone(), row.name.clone(), row.fee_bps, row.listings)
    } else {
        let free = all_plans(app, view).await?.into_iter().find(|row| row.slug == FREE);
        let free = free.ok_or_else(Problem::internal)?;
        (free.slug, free.name, free.fee_bps, free.listings)
    };
    let seller = subscriptions::offers(&mut *view, account).await?;
    let page = subscriptions::page(view, account, after, limit).await?;
    let Page { items, next_cursor } = Page::of(page, subscription_body)?;
    Ok(MySubscriptionsBody {
        plan,
        name,
        fee_bps: seller.and_then(|seller| seller.fee_bps).or(fee_bps),
        listings,
        offers: seller.map_or(0, |seller| seller.offers),
        active: active.map(subscription_body).transpose()?,
        items,
        next_cursor,
    })
}

/// A plan that is wanted.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct PlanWanted {
    /// The slug of the plan.
    #[garde(custom(is_slug))]
    #[schema(example = "premium", pattern = "^[a-z0-9-]{1,64}$")]
    plan: String,
    /// In which currency to pay, from the wallet.
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: Currency,
}

/// What a command has done to a subscription.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct SubscriptionChanged {
    id: Uuid,
    /// `purchased`, `upgraded`, `scheduled` for when the period ends, `continued`, `paid`, `cancelled`, `ended` or
    /// `unchanged`.
    #[schema(example = "purchased")]
    effect: String,
    #[schema(example = "active")]
    state: String,
    /// The slug of the plan that counts now; none once it has ended.
    #[schema(example = "premium")]
    plan: Option<String>,
    /// What was taken from the wallet.
    #[schema(value_type = Option<MoneyBody>)]
    charged: Option<Money>,
    /// When the period ends that was paid last.
    period_ends_at: Option<DateTime<Utc>>,
    /// Whether another one follows.
    renews: bool,
    /// For `If-Match`.
    version: u64,
}

/// What these events have done. Without any, nothing has changed.
fn changed(
    world: &mut commands::World<'_>,
    owner: AccountId,
    events: &[Event],
) -> Result<SubscriptionChanged, commands::Halt> {
    let version = world.version::<Subscription>(owner)?;
    let subscription = world.get::<Subscription>(owner)?;
    let running = subscription.running();
    let named = events.last().map(Event::subscription).or(running.map(|running| running.subscription));
    let effect = match events.last() {
        None => "unchanged",
        Some(Event::SubscriptionPurchased { .. }) => "purchased",
        Some(Event::SubscriptionUpgraded { .. }) => "upgraded",
        Some(Event::PlanChangeScheduled { .. }) => "scheduled",
        Some(Event::SubscriptionContinued { .. }) => "continued",
        Some(Event::SubscriptionRenewed { .. }) => "paid",
        Some(Event::SubscriptionCancelled { .. }) => "cancelled",
        Some(
            Event::SubscriptionEnded { .. }
            | Event::RenewalReminded { .. }
            | Event::PeriodRecognised { .. }
            | Event::RenewalFailed { .. },
        ) => "ended",
    };
    let charged = events.iter().filter_map(Event::charge).map(|charge| charge.amount).next_back();
    Ok(SubscriptionChanged {
        // Nobody without a subscription gets here without an event.
        id: named.ok_or(domain::subscription::Error::NotFound)?.0,
        effect: effect.to_owned(),
        state: subscription.state().to_owned(),
        plan: running.map(|running| running.terms.plan.clone()),
        charged,
        period_ends_at: running.map(|running| running.period.ends_at),
        renews: running.is_some_and(|running| running.renews_under().is_some()),
        version,
    })
}

/// Subscribes to a plan, paid from the wallet for a period ahead, and renewed from it until it is cancelled.
///
/// Who has a subscription already goes over to the other plan: at once if that costs more a day, with the days of the
/// period that have not begun credited; otherwise, or in another currency, when the period has ended. Who names the plan
/// that they have keeps it, if it was cancelled or about to be another; or pays what is due, if it is past due. Nothing is
/// paid back.
#[utoipa::path(post, path = "/subscriptions/purchase", tag = TAG, security(("bearer" = [])), request_body = PlanWanted,
    params(Keyed), responses(
        (status = CREATED, body = SubscriptionChanged, description = "A new subscription"),
        (status = OK, body = SubscriptionChanged, description = "Another plan, or the same after all"),
        (status = NOT_FOUND, description = "There is no such plan")))]
async fn purchase(
    State(app): State<App>,
    Creation(command): Creation<PlanWanted>,
) -> Result<Done<SubscriptionChanged>, Problem> {
    let (request, owner, rules) = (command.request(), command.caller.account, app.settings.plans.rules());
    let PlanWanted { plan, currency } = command.body;
    let order = Order { owner, plan, currency, subscription: SubscriptionId(mint::id()) };
    let purchase = move |world: &mut commands::World<'_>| {
        let events = buying::purchase(world, &order, rules)?;
        changed(world, owner, &events)
    };
    let accepted = app.engine.submit(request, purchase).await?;
    let is_new = accepted.value.effect == "purchased";
    let mine = "/api/v1/subscriptions/my".to_owned();
    Ok(if is_new { Done::created(accepted, mine) } else { Done::ok(accepted) })
}

async fn cancel_any(
    app: &App,
    command: &Command<Nothing>,
    subscription: Option<SubscriptionId>,
) -> Result<Done<SubscriptionChanged>, Problem> {
    let (owner, expected) = (command.caller.account, command.expected_version);
    let cancel = move |world: &mut commands::World<'_>| {
        let running = world.get::<Subscription>(owner)?.running();
        // Whoever may not see it is not told its version.
        running
            .filter(|running| subscription.is_none_or(|asked| running.subscription == asked))
            .ok_or(domain::subscription::Error::NotFound)?;
        world.expect_version::<Subscription>(owner, expected)?;
        let events = buying::cancel(world, owner, subscription)?;
        changed(world, owner, &events)
    };
    Ok(Done::ok(app.engine.submit(command.request(), cancel).await?))
}

/// Does not renew a subscription: it goes on until the period ends that is paid. One that is past due ends at once.
/// Nothing is paid back. It can be taken back by buying the same plan again before the period ends.
#[utoipa::path(post, path = "/subscriptions/{id}/cancel", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional),
    responses((status = OK, body = SubscriptionChanged, description = "Cancelled")))]
async fn cancel(
    State(app): State<App>,
    Id(id): Id<SubscriptionId>,
    command: Command<Nothing>,
) -> Result<Done<SubscriptionChanged>, Problem> {
    cancel_any(&app, &command, Some(id)).await
}

/// The same as `/subscriptions/{id}/cancel`, for clients that name no subscription: of the one that goes on.
#[utoipa::path(post, path = "/subscriptions/cancel", tag = TAG, security(("bearer" = [])), params(Conditional),
    responses((status = OK, body = SubscriptionChanged, description = "Cancelled"),
        (status = NOT_FOUND, description = "There is none")))]
#[deprecated]
async fn cancel_active(
    State(app): State<App>,
    command: Command<Nothing>,
) -> Result<Done<SubscriptionChanged>, Problem> {
    cancel_any(&app, &command, None).await
}

/// All of what a plan is from now on.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct PlanText {
    #[garde(custom(is_title))]
    #[schema(
        example = "Premium",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    name: String,
    /// What a period costs, in each currency that it is sold in. The plan `free` has none, every other one has some.
    #[garde(length(max = MOST_PRICES))]
    #[serde(default)]
    #[schema(value_type = Vec<MoneyBody>, max_items = 50)]
    prices: Vec<Money>,
    /// How long a period is, in days.
    #[garde(range(min = SHORTEST_PERIOD, max = LONGEST_PERIOD))]
    #[serde(default = "month")]
    #[schema(minimum = 7, maximum = 366, default = 30, example = 30)]
    period_days: u32,
    /// The marketplace's share of its subscribers' sales, in basis points; the usual one unless told.
    #[garde(range(max = FULL_BPS))]
    #[schema(maximum = 10_000, example = 150)]
    fee_bps: Option<u32>,
    /// How many listings its subscribers may have on offer at once; as many as they like unless told.
    #[garde(range(max = 1_000_000))]
    #[schema(maximum = 1_000_000, example = 1000)]
    listings: Option<u32>,
    /// What else it brings.
    #[garde(length(max = MOST_FEATURES), inner(length(chars, min = 1, max = 200)))]
    #[serde(default)]
    #[schema(schema_with = features_schema, example = json!(["A badge"]))]
    features: Vec<String>,
    /// Its place among the plans, lowest first.
    #[garde(range(min = -1_000_000, max = 1_000_000))]
    #[serde(default)]
    #[schema(minimum = -1_000_000, maximum = 1_000_000)]
    sort_order: i32,
    /// Whether it is neither sold nor renewed any more.
    #[serde(default)]
    retired: bool,
    /// Why.
    #[garde(custom(is_reason))]
    #[schema(
        example = "Others ask less.",
        min_length = 1,
        max_length = 1000,
        pattern = "^[^\\u0000]*[^\\s\\u0000\\u0085][^\\u0000]*$"
    )]
    reason: String,
}

fn month() -> u32 {
    30
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is garde's")]
pub(super) fn is_reason(reason: &str, (): &()) -> garde::Result {
    let fits = !reason.trim().is_empty() && reason.chars().count() <= 1_000;
    check(fits, "must be 1 to 1000 characters, not all of them spaces")
}

fn features_schema() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let feature = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(200));
    ArrayBuilder::new().items(feature).max_items(Some(20)).description(Some("What else it brings.")).build()
}

/// What a command has done to a plan.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PlanChanged {
    #[schema(example = "premium")]
    slug: String,
    /// For `If-Match`.
    version: u64,
    /// Whether there was no plan of this slug before.
    created: bool,
}

/// Says what a plan is. Who has subscribed to it before keeps its price and all that it brought, until they buy something
/// else; one that is retired is not renewed.
#[utoipa::path(put, path = "/admin/plans/{slug}", tag = "Administration", security(("bearer" = ["staff"])),
    params(("slug" = String, Path, pattern = "^[a-z0-9-]{1,64}$", example = "premium"), Conditional),
    request_body = PlanText,
    responses((status = OK, body = PlanChanged, description = "Changed, or the same as before"),
        (status = CREATED, body = PlanChanged, description = "A new plan")))]
async fn define(
    State(app): State<App>,
    Id(Slug(slug)): Id<Slug>,
    command: Command<PlanText>,
) -> Result<Done<PlanChanged>, Problem> {
    let (request, by, expected) = (command.request(), command.caller.account, command.expected_version);
    let key = PersonKey::load(&app.pool, &app.wrapping, by).await?.ok_or_else(|| Problem::not_found("account"))?;
    let PlanText { name, prices, period_days, fee_bps, listings, features, sort_order, retired, reason } = command.body;
    let (reason, rules) = (key.seal(&reason), app.settings.plans.rules());
    let definition = Definition { slug, name, prices, period_days, fee_bps, listings, features, sort_order, retired };
    let id = PlanId::of(&definition.slug);
    let define = move |world: &mut commands::World<'_>| {
        world.expect_version::<Plan>(id, expected)?;
        let created = editing::define(world, &definition, by, &reason, rules)?;
        Ok(PlanChanged { slug: definition.slug.clone(), version: world.version::<Plan>(id)?, created })
    };
    let accepted = app.engine.submit(request, define).await?;
    let plans = "/api/v1/subscriptions/plans".to_owned();
    Ok(if accepted.value.created { Done::created(accepted, plans) } else { Done::ok(accepted) })
}
