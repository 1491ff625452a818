//! How one is paid out: payment methods, being a merchant of a payment provider, and what goes out by itself.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::payments::{Keeping, Link, MerchantStatus, Onboarding, ProviderUnreachable};
use commands::{Accepted, payouts};
use domain::account::{Account, Capability};
use domain::payee::{self, Payee, Schedule};
use domain::wallet::PaymentMethod;
use domain::{AccountId, Currency, MethodId};
use eventstore::mint;
use garde::Validate;
use projections::past::Question;
use projections::payees;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::addresses::key_of;
use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, NoQuery, Nothing};
use crate::http::money::method_named;
use crate::http::openapi::{Conditional, CurrencyCode, Keyed, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

const TAG: &str = "Wallet";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(remove)).routes(routes!(connection, connect, plan))
}

/// One's own payment methods, all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct MethodsBody {
    /// The methods, oldest first.
    items: Vec<MethodBody>,
    /// That of all of them together, for `If-Match`.
    version: u64,
}

/// A payment method that is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PaymentMethod)]
pub struct MethodBody {
    /// Name it as `payment_method` wherever money is brought in, paid or sent out.
    id: Uuid,
    #[schema(example = "sandbox")]
    provider: String,
    /// What one calls it oneself; nothing for a merchant of the provider's.
    #[schema(example = "My bank")]
    label: Option<String>,
    /// Whether it is the merchant that one is there, and came by itself.
    is_merchant: bool,
    /// Whether the provider pays nothing out there for now.
    paused: bool,
    added_at: DateTime<Utc>,
}

/// One's own payment methods.
#[utoipa::path(get, path = "/payments/methods", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = MethodsBody, description = "All of them")))]
async fn list(State(app): State<App>, caller: Caller, read: AsOf<NoQuery>) -> Result<One<MethodsBody>, Problem> {
    read.wait_for(&app, payees::MODEL.name).await?;
    let shown = |mut look: Look| async move { Ok(payees::methods_of(&mut look.view, caller.account).await?) };
    let shown = read.answer(&app, Question::Payee(caller.account), shown).await?;
    let payees::Shown { methods, version, position } = shown;
    let version = version.unsigned_abs();
    let items = methods.into_iter().map(|row| MethodBody {
        id: row.id,
        provider: row.provider,
        label: row.label,
        is_merchant: row.of_merchant,
        paused: row.paused,
        added_at: row.added_at,
    });
    Ok(One { body: MethodsBody { items: items.collect(), version }, version, position })
}

/// A payment method to be kept.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewMethod {
    /// What it is called at its provider, which has made that of a card or a bank account; never the number of one.
    #[garde(length(chars, min = 1, max = 200))]
    #[schema(example = "sandbox-succeeds", min_length = 1, max_length = 200)]
    token: String,
    /// What to call it. Sealed, and shown to nobody else.
    #[garde(length(chars, min = 1, max = 100))]
    #[schema(example = "My bank", min_length = 1, max_length = 100)]
    label: String,
}

/// What a command has done to a payment method.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct MethodChanged {
    id: Uuid,
    /// That of all of them together, for `If-Match`.
    version: u64,
}

fn changed(
    world: &mut commands::World<'_>,
    owner: AccountId,
    MethodId(id): MethodId,
) -> Result<MethodChanged, commands::Halt> {
    Ok(MethodChanged { id, version: world.version::<Payee>(owner)? })
}

/// Keeps one more payment method, of ten at most. Money may go out to it once it was kept for a while, which
/// `payouts.cooling_s` tells; its owner is told of it, by mail too.
#[utoipa::path(post, path = "/payments/methods", tag = TAG, security(("bearer" = [])), request_body = NewMethod,
    params(Keyed), responses((status = CREATED, body = MethodChanged, description = "Kept")))]
async fn add(State(app): State<App>, Creation(command): Creation<NewMethod>) -> Result<Done<MethodChanged>, Problem> {
    let (request, owner) = (command.request(), command.caller.account);
    let named = method_named(&app, &command.body.token, "/token")?;
    let label = key_of(&app, owner).await?.seal(&command.body.label);
    let method = MethodId(mint::id());
    let token = match app.providers.keep(owner, &named).await.map_err(|error| unreachable(&error))? {
        Keeping::Kept { token } => token,
        Keeping::Refused { reason } => return Err(Problem::invalid_field("/token", "refused", reason)),
    };
    let at = PaymentMethod { token, ..named };
    let add = move |world: &mut commands::World<'_>| {
        payouts::add_method(world, owner, method, &at, &label)?;
        changed(world, owner, method)
    };
    let accepted = app.engine.submit(request, add).await?;
    let MethodChanged { id, version } = accepted.value;
    Ok(Done::created(accepted, format!("/api/v1/payments/methods/{id}")).at_version(version))
}

/// Keeps a payment method no more. What is on its way there goes on, what would go there by itself does not.
#[utoipa::path(delete, path = "/payments/methods/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), Conditional),
    responses((status = OK, body = MethodChanged, description = "Removed")))]
async fn remove(
    State(app): State<App>,
    Id(method): Id<MethodId>,
    command: Command<Nothing>,
) -> Result<Done<MethodChanged>, Problem> {
    let (owner, expected) = (command.caller.account, command.expected_version);
    let remove = move |world: &mut commands::World<'_>| {
        world.get::<Payee>(owner)?.method(method)?;
        world.expect_version::<Payee>(owner, expected)?;
        payouts::remove_method(world, owner, method)?;
        changed(world, owner, method)
    };
    Ok(Done::ok(app.engine.submit(command.request(), remove).await?))
}

/// How a seller is paid out.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionBody {
    /// What one is at payment providers.
    merchants: Vec<MerchantBody>,
    /// What goes out by itself, by currency; what is in no plan goes out by `/payments/withdraw` alone.
    plans: Vec<PlanBody>,
}

/// A merchant of a payment provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderMerchant)]
pub struct MerchantBody {
    #[schema(example = "sandbox")]
    provider: String,
    /// Whether the provider pays out there: then it is one of `/payments/methods`.
    payouts: bool,
    /// What the provider still wants to know, in its own words.
    due: Vec<String>,
}

/// What goes out by itself in one currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PayoutPlan)]
pub struct PlanBody {
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: Currency,
    /// `on_release` or `weekly`.
    #[schema(value_type = String, example = "on_release")]
    schedule: Schedule,
    payment_method_id: Uuid,
    /// When next, if that is known: with `on_release`, whenever a sale is released.
    due_at: Option<DateTime<Utc>>,
}

/// How one is paid out as a seller.
#[utoipa::path(get, path = "/payments/connect", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = ConnectionBody, description = "Merchants and plans"),
        (status = FORBIDDEN, description = "The account may not sell")))]
async fn connection(
    State(app): State<App>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<Json<ConnectionBody>, Problem> {
    access::require(&app, caller, Capability::Sell).await?;
    read.wait_for(&app, payees::MODEL.name).await?;
    let shown = |mut look: Look| async move {
        let merchants = payees::merchants_of(&mut look.view, caller.account).await?;
        Ok((merchants, payees::plans_of(&mut look.view, caller.account).await?))
    };
    let (merchants, plans) = read.answer(&app, Question::Payee(caller.account), shown).await?;
    let merchants =
        merchants.into_iter().map(|row| MerchantBody { provider: row.provider, payouts: row.payouts, due: row.due.0 });
    let plans = plans.into_iter().map(|row| PlanBody {
        currency: row.currency.0,
        schedule: row.schedule.0,
        payment_method_id: row.method_id,
        due_at: row.due_at,
    });
    Ok(Json(ConnectionBody { merchants: merchants.collect(), plans: plans.collect() }))
}

/// Whose merchant to become.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Connecting {
    /// The payment provider; the one that the marketplace prefers unless told.
    #[garde(length(chars, min = 1, max = 40))]
    #[schema(example = "sandbox", min_length = 1, max_length = 40)]
    provider: Option<String>,
}

/// Where to go on with the provider.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConnectedBody {
    #[schema(example = "sandbox")]
    provider: String,
    /// Whether the provider pays out there already.
    payouts: bool,
    /// What it still wants to know, in its own words.
    due: Vec<String>,
    /// Where to tell it that. Good once; ask again for another.
    url: String,
    url_expires_at: DateTime<Utc>,
}

/// What is remembered of that under its key: not the address, which lets in whoever has it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
struct Connected {}

fn unreachable(error: &ProviderUnreachable) -> Problem {
    tracing::warn!(%error, "a payment provider could not be asked");
    Problem::unavailable("The payment provider cannot be reached.")
}

/// Becomes a merchant of a payment provider, or goes on with that: tells where the provider asks who one is. Once it is
/// content, it pays out there, and says so by itself.
#[utoipa::path(post, path = "/payments/connect", tag = TAG, security(("bearer" = [])), request_body = Connecting,
    params(Keyed), responses((status = OK, body = ConnectedBody, description = "Where to go on")))]
async fn connect(
    State(app): State<App>,
    Creation(command): Creation<Connecting>,
) -> Result<Done<ConnectedBody>, Problem> {
    let (request, seller) = (command.request(), command.caller.account);
    access::require(&app, command.caller, Capability::Sell).await?;
    let unknown = || Problem::invalid_field("/provider", "unknown", "this marketplace has no such payment provider");
    let chosen = match &command.body.provider {
        Some(name) => app.providers.named(name),
        None => app.providers.preferred(),
    };
    let provider = chosen.ok_or_else(unknown)?.name();
    let look = move |world: &mut commands::World<'_>| {
        world.get::<Account>(seller)?.registered()?.unblocked()?;
        Ok(world.get::<Payee>(seller)?.merchant(provider).map(str::to_owned))
    };
    let reference = app.engine.read(look).await?;
    // The account is one merchant there, however often this is asked.
    let onboarding = Onboarding { operation: seller.0, reference, now: app.clock.now() };
    let Link { reference, url, expires_at } =
        app.providers.onboard(provider, &onboarding).await.map_err(|error| unreachable(&error))?;
    let status = app.providers.merchant(provider, &reference).await.map_err(|error| unreachable(&error))?;
    let MerchantStatus { payouts, due } = status.clone();
    let connect = move |world: &mut commands::World<'_>| {
        payouts::connect(world, seller, provider, &reference, &status)?;
        Ok(Connected {})
    };
    let Accepted { value: Connected {}, position, replayed } = app.engine.submit(request, connect).await?;
    let value = ConnectedBody { provider: provider.to_owned(), payouts, due, url, url_expires_at: expires_at };
    Ok(Done::ok(Accepted { value, position, replayed }))
}

/// When money goes out by itself.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleName {
    /// Never: by `/payments/withdraw` alone.
    Manual,
    /// All that is available, whenever a sale is released.
    OnRelease,
    /// All that is available, every seven days from now.
    Weekly,
}

/// What is to go out by itself in one currency.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewPlan {
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: Currency,
    #[schema(inline, example = "on_release")]
    schedule: ScheduleName,
    /// Where to: one of `/payments/methods`. Not with `manual`.
    payment_method_id: Option<Uuid>,
}

/// What a command has done to a plan.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct PayoutPlanChanged {
    #[schema(value_type = CurrencyCode, example = "USD")]
    currency: Currency,
    #[schema(inline, example = "on_release")]
    schedule: ScheduleName,
    /// When money goes out next, if that is known.
    due_at: Option<DateTime<Utc>>,
    /// That of `/payments/methods`, for `If-Match`.
    version: u64,
}

/// Lets what is available go out by itself, in one currency, or no more. It goes as far as the rules of withdrawals allow,
/// and the rest as soon as they do.
#[utoipa::path(put, path = "/payments/connect", tag = TAG, security(("bearer" = [])), request_body = NewPlan,
    params(Conditional), responses((status = OK, body = PayoutPlanChanged, description = "Planned"),
        (status = NOT_FOUND, description = "There is no such payment method of one's own")))]
async fn plan(State(app): State<App>, command: Command<NewPlan>) -> Result<Done<PayoutPlanChanged>, Problem> {
    access::require(&app, command.caller, Capability::Sell).await?;
    let (seller, expected) = (command.caller.account, command.expected_version);
    let NewPlan { currency, schedule, payment_method_id } = command.body;
    let missing = || Problem::invalid_field("/payment_method_id", "missing", "money that goes out goes somewhere");
    let planned = |schedule| {
        let method = MethodId(payment_method_id.ok_or_else(missing)?);
        Ok::<_, Problem>(Some(payee::Plan { schedule, method }))
    };
    let plan = match schedule {
        ScheduleName::OnRelease => planned(Schedule::OnRelease)?,
        ScheduleName::Weekly => planned(Schedule::Weekly)?,
        ScheduleName::Manual if payment_method_id.is_some() => {
            let detail = "by hand, each withdrawal says where to";
            return Err(Problem::invalid_field("/payment_method_id", "unexpected", detail));
        }
        ScheduleName::Manual => None,
    };
    let set = move |world: &mut commands::World<'_>| {
        world.expect_version::<Payee>(seller, expected)?;
        payouts::set_plan(world, seller, currency, plan)?;
        let due_at = world.get::<Payee>(seller)?.plan(currency).and_then(|followed| followed.due_at);
        Ok(PayoutPlanChanged { currency, schedule, due_at, version: world.version::<Payee>(seller)? })
    };
    Ok(Done::ok(app.engine.submit(command.request(), set).await?))
}
