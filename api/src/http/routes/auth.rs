//! Joining, logging in and out, proving who one is, and leaving. What answers with tokens, ends them or is about a secret
//! takes no `Idempotency-Key`, since neither is ever stored; changing the profile is a command like any other.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use commands::Request;
use commands::sessions::NewSession;
use domain::account::{self, Challenge, Registered};
use domain::{AccountId, ChallengeId, Refusal, Sealed, SessionId};
use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::event::Metadata;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use eventstore::secrets::Purpose;
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::auth::attempts;
use crate::auth::passwords::PasswordError;
use crate::auth::refresh::RefreshToken;
use crate::http::envelope::RequestId;
use crate::http::problem::{POSITION_HEADER, Problem};

mod email;
mod erasure;
mod google;
mod login;
mod password;
mod profile;

const TAG: &str = "Identity";

/// How long a question to a mailbox can be answered.
const EMAIL_ANSWER: TimeDelta = TimeDelta::hours(24);
const PASSWORD_ANSWER: TimeDelta = TimeDelta::hours(1);

/// The routes of these files.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(login::register))
        .routes(routes!(login::login))
        .routes(routes!(login::refresh))
        .routes(routes!(login::logout))
        .routes(routes!(login::ws_ticket))
        .routes(routes!(google::log_in))
        .routes(routes!(profile::me, profile::change_me))
        .routes(routes!(profile::show, profile::patch, profile::put))
        .routes(routes!(password::change))
        .routes(routes!(password::ask_to_reset))
        .routes(routes!(password::reset))
        .routes(routes!(email::verify))
        .routes(routes!(email::resend))
        .routes(routes!(email::change))
        .routes(routes!(erasure::erase))
}

/// The tokens of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tokens {
    /// The account that they speak for.
    account_id: Uuid,
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

impl Tokens {
    fn of(app: &App, account: AccountId, refresh: &RefreshToken, position: Position) -> Result<Self, Problem> {
        let access_token = app.tokens.issue(account, refresh.session()).map_err(|_| Problem::internal())?;
        Ok(Self {
            account_id: account.0,
            access_token,
            token_type: "Bearer",
            expires_in: app.tokens.ttl_s(),
            refresh_token: refresh.text(),
            position,
        })
    }
}

/// The position of what was done, for an answer that says nothing else.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Noted {
    /// The last event of it in the log.
    position: Position,
}

impl IntoResponse for Noted {
    fn into_response(self) -> Response {
        ([(POSITION_HEADER, self.position)], Json(self)).into_response()
    }
}

/// A token that was sent to a mailbox.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct MailedToken {
    #[garde(length(chars, max = 512))]
    #[schema(max_length = 512)]
    token: String,
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

/// A question to a mailbox that can be answered for so long.
fn challenge(email: Sealed<String>, answer_within: TimeDelta) -> Challenge {
    let asked_at = Clock::real_now();
    Challenge { id: ChallengeId(mint::id()), email, asked_at, expires_at: asked_at + answer_within }
}

/// What is kept of an account, and the key that opens it.
async fn opened(app: &App, account: AccountId) -> Result<(Registered, PersonKey), Problem> {
    let registered = app.engine.read(move |world| commands::accounts::get(world, account)).await?;
    let key = PersonKey::load(&app.pool, &app.wrapping, account).await?.ok_or_else(|| Problem::not_found("account"))?;
    Ok((registered, key))
}

/// A request that is carried out once and leaves no answer behind.
fn once(id: RequestId, account: AccountId) -> Request {
    Request::once(id.stamp(Metadata::by_account(account)))
}

/// Refuses unless this is the account's password: an access token alone, which may be stolen, is not enough. Whoever tries
/// too often is refused for a while, and counted apart from log-ins, so that nobody else can use them up. An account
/// without a password sets one by mail first.
async fn expect_password(
    app: &App,
    registered: &Registered,
    key: &PersonKey,
    shown: String,
    pointer: &'static str,
) -> Result<(), Problem> {
    let Some(stored) = &registered.identity.password_hash else {
        let detail = "This takes a password, and the account has none: set one by mail, at /auth/password/reset.";
        return Err(Problem::new(StatusCode::CONFLICT, "no-password", "No password", detail));
    };
    if is_password(app, key.account.0, shown, key.open(stored)).await? {
        return Ok(());
    }
    Err(Problem::invalid_field(pointer, "wrong", "this is not the password of the account"))
}

/// Whether a password has this hash, if `subject` has not tried too often. What nobody could look at does not count.
async fn is_password(app: &App, subject: Uuid, shown: String, stored: Option<String>) -> Result<bool, Problem> {
    attempts::begin(&app.pool, subject).await?.map_err(locked)?;
    match app.passwords.verify(shown, stored).await {
        Ok(true) => attempts::forget(&app.pool, subject).await?,
        Ok(false) => return Ok(false),
        Err(error) => {
            attempts::take_back(&app.pool, subject).await?;
            return Err(error.into());
        }
    }
    Ok(true)
}

/// Too many passwords were wrong.
fn locked(locked: attempts::Locked) -> Problem {
    let detail = "Too many log-ins have failed. A new password can be set by e-mail, or wait.";
    let wait = (locked.until - Clock::real_now()).num_seconds().max(0) + 1;
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "login-locked", "Locked for a while", detail)
        .with_header(header::RETRY_AFTER, &wait.to_string())
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Overloaded => Self::unavailable("Too many passwords are being checked."),
            PasswordError::Defect => Self::internal(),
        }
    }
}

/// A password that many have.
fn too_common(pointer: &'static str) -> Problem {
    Problem::invalid_field(pointer, "too-common", "this password is too easy to guess")
}

/// Whose mailbox a token was sent to, and which question it answers.
fn read_token(app: &App, purpose: Purpose, token: &str) -> Result<(AccountId, ChallengeId), Problem> {
    app.secret
        .read_mailed_token(purpose, token)
        .ok_or_else(|| Problem::from(Refusal::from(account::Error::WrongAnswer)))
}
