//! Joining, logging in and out, and one's own profile. What answers with tokens or ends them takes no `Idempotency-Key`,
//! since tokens are never stored; changing the profile is a command like any other.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use commands::Request;
use commands::accounts;
use commands::sessions::{self, NewSession, Trade, Traded};
use domain::account::{Account, Capability, ProfileChanges};
use domain::claim::Kind;
use domain::{AccountId, SessionId};
use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::event::Metadata;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::newcomer::{Registration, newcomer};
use crate::auth::passwords::PasswordError;
use crate::auth::refresh::RefreshToken;
use crate::auth::tickets;
use crate::http::envelope::RequestId;
use crate::http::extract::{Body, Caller, Command, NoQuery, Nothing, Read};
use crate::http::openapi::{Conditional, Waits};
use crate::http::problem::{POSITION_HEADER, Problem};
use crate::http::reply::{Done, One};

const TAG: &str = "Identity";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(me, change_me))
        .routes(routes!(ws_ticket))
}

/// The tokens of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tokens {
    /// The account that they speak for.
    account_id: uuid::Uuid,
    /// Send it as `Authorization: Bearer <access_token>`.
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds until the access token expires.
    #[schema(example = 900)]
    expires_in: i64,
    /// Trade it for new tokens at `/auth/refresh`; good once.
    refresh_token: String,
    /// The position of the log-in in the log.
    position: Position,
}

impl IntoResponse for Tokens {
    fn into_response(self) -> Response {
        let no_store = [(header::CACHE_CONTROL, "no-store")];
        ([(POSITION_HEADER, self.position)], no_store, Json(self)).into_response()
    }
}

/// Joins: makes an account and logs it in.
#[utoipa::path(post, path = "/auth/register", tag = TAG, request_body = Registration,
    responses((status = CREATED, body = Tokens, description = "The account exists and is logged in"),
        (status = CONFLICT, description = "The e-mail address or the user name belongs to an account")))]
async fn register(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(registration): Body<Registration>,
) -> Result<(StatusCode, Tokens), Problem> {
    let account = AccountId(mint::id());
    let password_hash = app.passwords.hash(registration.password.clone()).await?;
    let mut capabilities = BTreeSet::from([Capability::Buy]);
    capabilities.extend(registration.sell.then_some(Capability::Sell));
    let newcomer =
        newcomer(&app.secret, account, &registration.email, &registration.user_name, &password_hash, capabilities);
    let metadata = id.stamp(Metadata::by_account(account));
    let (session, token) = new_session(&app, account);
    let join = move |world: &mut commands::World<'_>| {
        accounts::register(world, &newcomer)?;
        sessions::open(world, &session)
    };
    let accepted = app.engine.submit(Request::once(metadata), join).await?;
    Ok((StatusCode::CREATED, tokens(&app, account, &token, accepted.position)?))
}

/// Who logs in.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Login {
    #[garde(length(chars, max = 254))]
    #[schema(example = "ann@example.com", max_length = 254)]
    email: String,
    #[garde(length(chars, max = 128))]
    #[schema(example = "correct horse battery", max_length = 128)]
    password: String,
}

/// Logs in. An unknown address and a wrong password get the same answer.
#[utoipa::path(post, path = "/auth/login", tag = TAG, request_body = Login,
    responses((status = OK, body = Tokens, description = "Logged in"),
        (status = UNAUTHORIZED, description = "Not with this password")))]
async fn login(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(login): Body<Login>,
) -> Result<Tokens, Problem> {
    let claim = app.secret.claim(Kind::Email, &login.email);
    let holder = app.engine.read(move |world| accounts::holder_of(world, claim)).await?;
    let stored = match &holder {
        Some((account, state)) => stored_hash(&app, *account, state).await?,
        None => None,
    };
    let matches = app.passwords.verify(login.password, stored).await?;
    let Some((account, _)) = holder.filter(|_| matches) else {
        return Err(Problem::unauthenticated("The e-mail address or the password is wrong."));
    };
    let (session, token) = new_session(&app, account);
    let open = move |world: &mut commands::World<'_>| sessions::open(world, &session);
    let metadata = id.stamp(Metadata::by_account(account));
    let accepted = app.engine.submit(Request::once(metadata), open).await?;
    tokens(&app, account, &token, accepted.position)
}

async fn stored_hash(app: &App, account: AccountId, state: &Account) -> Result<Option<String>, Problem> {
    let Ok(registered) = state.registered() else { return Ok(None) };
    let key = PersonKey::load(&app.pool, account).await?;
    Ok(key.and_then(|key| key.open(&registered.identity.password_hash)))
}

/// A refresh token.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    #[garde(length(chars, max = 512))]
    #[schema(max_length = 512)]
    refresh_token: String,
}

/// Trades a refresh token for new tokens. One that was traded before ends the session: somebody else has it.
#[utoipa::path(post, path = "/auth/refresh", tag = TAG, request_body = Refresh,
    responses((status = OK, body = Tokens, description = "New tokens"),
        (status = UNAUTHORIZED, description = "The token is not good")))]
async fn refresh(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(body): Body<Refresh>,
) -> Result<Tokens, Problem> {
    let bad = || Problem::unauthenticated("The refresh token is not good.");
    let presented = RefreshToken::parse(&body.refresh_token).ok_or_else(bad)?;
    let next = RefreshToken::mint(presented.session());
    let trade = Trade {
        session: presented.session(),
        presented: presented.hash(),
        next: next.hash(),
        expires_at: refresh_expiry(&app),
        now: Clock::real_now(),
    };
    let metadata = id.stamp(Metadata::anonymous());
    let accepted = app.engine.submit(Request::once(metadata), move |world| sessions::refresh(world, &trade)).await?;
    match accepted.value {
        Traded::Refreshed(account) => tokens(&app, account, &next, accepted.position),
        Traded::Reused => Err(bad()),
    }
}

/// Logs out: the session's refresh tokens are good no more.
#[utoipa::path(post, path = "/auth/logout", tag = TAG, security(("bearer" = [])),
    responses((status = NO_CONTENT, description = "Logged out",
        headers(("Tradepost-Position" = i64, description = "The last event of it in the log")))))]
async fn logout(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    _: Body<Nothing>,
) -> Result<impl IntoResponse, Problem> {
    let Caller { account, session } = caller;
    let end = move |world: &mut commands::World<'_>| sessions::log_out(world, account, session);
    let accepted = app.engine.submit(Request::once(id.stamp(Metadata::by_account(account))), end).await?;
    Ok((StatusCode::NO_CONTENT, [(POSITION_HEADER, accepted.position)]))
}

/// An account as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Profile {
    id: uuid::Uuid,
    email: Option<String>,
    user_name: Option<String>,
    display_name: Option<String>,
    phone: Option<String>,
    biography: Option<String>,
    avatar_url: Option<String>,
    #[schema(example = "en")]
    language: Option<String>,
    /// What the account may do: `buy`, `sell`, `staff`, `admin`, `audit`.
    capabilities: Vec<String>,
    /// Orders that were won and not paid; the third blocks.
    violations: i32,
    /// Whether it may not list, bid, buy or withdraw.
    blocked: bool,
    registered_at: DateTime<Utc>,
    /// For `If-Match`.
    version: u64,
}

/// One's own account.
#[utoipa::path(get, path = "/auth/me", tag = TAG, security(("bearer" = [])), params(Waits),
    responses((status = OK, body = Profile, description = "The account")))]
async fn me(State(app): State<App>, caller: Caller, read: Read<NoQuery>) -> Result<One<Profile>, Problem> {
    read.wait_for(&app, projections::accounts::MODEL.name).await?;
    let row = projections::accounts::get(&app.pool, caller.account).await?;
    let row = row.ok_or_else(|| Problem::not_found("account"))?;
    let version = row.version.unsigned_abs();
    let body = Profile {
        id: row.id,
        email: row.email,
        user_name: row.user_name,
        display_name: row.display_name,
        phone: row.phone,
        biography: row.biography,
        avatar_url: row.avatar_url,
        language: row.language,
        capabilities: row.capabilities.iter().map(|capability| capability.0.name().to_owned()).collect(),
        violations: row.violations,
        blocked: row.blocked,
        registered_at: row.registered_at,
        version,
    };
    Ok(One { body, version, position: row.position })
}

/// What is to change. What is not named stays; an empty text clears.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ProfilePatch {
    #[garde(length(chars, max = 100))]
    #[schema(max_length = 100)]
    display_name: Option<String>,
    #[garde(length(chars, max = 40))]
    #[schema(max_length = 40)]
    phone: Option<String>,
    #[garde(length(chars, max = 2000))]
    #[schema(max_length = 2000)]
    biography: Option<String>,
    #[garde(length(chars, max = 2000))]
    #[schema(max_length = 2000)]
    avatar_url: Option<String>,
    /// A BCP 47 tag.
    #[garde(length(chars, max = 35))]
    #[schema(example = "ur-PK", max_length = 35)]
    language: Option<String>,
}

/// The version that a change has led to.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct Changed {
    version: u64,
}

/// Changes one's own profile.
#[utoipa::path(patch, path = "/auth/me", tag = TAG, security(("bearer" = [])), request_body = ProfilePatch,
    params(Conditional), responses((status = OK, body = Changed, description = "Changed")))]
async fn change_me(State(app): State<App>, command: Command<ProfilePatch>) -> Result<Done<Changed>, Problem> {
    let account = command.caller.account;
    let key = PersonKey::load(&app.pool, account).await?.ok_or_else(|| Problem::not_found("account"))?;
    let (request, expected) = (command.request(), command.expected_version);
    let patch = command.body;
    let seal = |text: Option<String>| text.map(|text| key.seal(&text));
    let changes = ProfileChanges {
        display_name: seal(patch.display_name),
        phone: seal(patch.phone),
        biography: seal(patch.biography),
        avatar_url: seal(patch.avatar_url),
        language: patch.language,
    };
    let changes_nothing = changes == ProfileChanges::default();
    let change = move |world: &mut commands::World<'_>| {
        world.expect_version::<Account>(account, expected)?;
        accounts::change_profile(world, account, changes.clone())?;
        Ok(Changed { version: world.version::<Account>(account)? })
    };
    let accepted = app.engine.submit(request, change).await?;
    let version = accepted.value.version;
    Ok(if changes_nothing { Done::ok(accepted) } else { Done::ok(accepted).at_version(version) })
}

/// A ticket for opening a socket.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ticket {
    /// Send it as `?ticket=` when opening a socket; good once.
    ticket: String,
    /// Seconds until it expires.
    #[schema(example = 30)]
    expires_in: u64,
}

/// Gives a ticket for opening one socket as this account.
#[utoipa::path(post, path = "/auth/ws-ticket", tag = TAG, security(("bearer" = [])),
    responses((status = CREATED, body = Ticket, description = "The ticket")))]
async fn ws_ticket(
    State(app): State<App>,
    caller: Caller,
    _: Body<Nothing>,
) -> Result<(StatusCode, Json<Ticket>), Problem> {
    let ticket = tickets::issue(&app.pool, caller.account).await?;
    Ok((StatusCode::CREATED, Json(Ticket { ticket, expires_in: tickets::LIFETIME.as_secs() })))
}

fn new_session(app: &App, account: AccountId) -> (NewSession, RefreshToken) {
    let session = SessionId(mint::id());
    let token = RefreshToken::mint(session);
    (NewSession { session, account, token_hash: token.hash(), expires_at: refresh_expiry(app) }, token)
}

fn refresh_expiry(app: &App) -> DateTime<Utc> {
    let ttl = i64::try_from(app.settings.auth.refresh_token_ttl_s).unwrap_or(i64::MAX);
    Clock::real_now() + TimeDelta::try_seconds(ttl).unwrap_or(TimeDelta::days(365))
}

fn tokens(app: &App, account: AccountId, refresh: &RefreshToken, position: Position) -> Result<Tokens, Problem> {
    let access_token = app.tokens.issue(account, refresh.session()).map_err(|_| Problem::internal())?;
    Ok(Tokens {
        account_id: account.0,
        access_token,
        token_type: "Bearer",
        expires_in: app.tokens.ttl_s(),
        refresh_token: refresh.text(),
        position,
    })
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Overloaded => Self::unavailable("Too many passwords are being checked."),
            PasswordError::Defect => Self::internal(),
        }
    }
}
