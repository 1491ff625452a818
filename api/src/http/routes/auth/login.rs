//! Joining, logging in with a password, trading refresh tokens, logging out.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use commands::Request;
use commands::sessions::{self, Trade, Traded};
use commands::{accounts, affiliates, stores};
use domain::account::{Account, Capability};
use domain::claim::Kind;
use domain::{AccountId, ReferralClickId};
use eventstore::clock::Clock;
use eventstore::event::Metadata;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EMAIL_ANSWER, TAG, Tokens, challenge, is_password, new_session, once, refresh_expiry, too_common};
use crate::app::App;
use crate::auth::newcomer::{Registration, newcomer};
use crate::auth::refresh::RefreshToken;
use crate::auth::tickets;
use crate::http::envelope::RequestId;
use crate::http::extract::{Body, Caller, Nothing};
use crate::http::problem::{POSITION_HEADER, Problem};

/// Joins: makes an account, with a store if one is given, and logs it in. A token to verify the address goes to its mailbox.
#[utoipa::path(post, path = "/auth/register", tag = TAG, request_body = Registration,
    responses((status = CREATED, body = Tokens, description = "The account exists and is logged in"),
        (status = CONFLICT, description = "The e-mail address or the user name belongs to an account, or the slug to a store")))]
pub(super) async fn register(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(registration): Body<Registration>,
) -> Result<(StatusCode, Tokens), Problem> {
    let account = AccountId(mint::id());
    let Registration { email, user_name, password, sell, store, click_id } = registration;
    let hashed = app.passwords.hash_new(password, vec![email.clone(), user_name.clone()]).await?;
    let password_hash = hashed.ok_or_else(|| too_common("/password"))?;
    let mut capabilities = BTreeSet::from([Capability::Buy]);
    capabilities.extend((sell || store.is_some()).then_some(Capability::Sell));
    let (key, hash) = (PersonKey::mint(account), Some(password_hash.as_str()));
    let newcomer = newcomer(&app.secret, &app.wrapping, &key, &email, &user_name, hash, capabilities);
    let store = store.map(|store| store.sealed(&app.secret, &key, None));
    let question = challenge(newcomer.identity.email.clone(), EMAIL_ANSWER);
    let (session, token) = new_session(&app, account);
    let join = move |world: &mut commands::World<'_>| {
        accounts::register(world, &newcomer)?;
        accounts::challenge_email(world, account, question.clone(), newcomer.email)?;
        if let Some(about) = &store {
            stores::open(world, account, about)?;
        }
        if let Some(click) = click_id {
            affiliates::follow(world, account, ReferralClickId(click))?;
        }
        sessions::open(world, &session)
    };
    let accepted = app.engine.submit(once(id, account), join).await?;
    Ok((StatusCode::CREATED, Tokens::of(&app, account, &token, accepted.position)?))
}

/// Who logs in.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Login {
    #[garde(length(chars, max = 254))]
    #[schema(example = "ann@example.com", max_length = 254)]
    email: String,
    #[garde(length(chars, max = 128))]
    #[schema(example = "correct horse battery", max_length = 128)]
    password: String,
}

/// Logs in. An unknown address and a wrong password get the same answer; five wrong ones lock the address for 15 minutes.
#[utoipa::path(post, path = "/auth/login", tag = TAG, request_body = Login,
    responses((status = OK, body = Tokens, description = "Logged in"),
        (status = UNAUTHORIZED, description = "Not with this password"),
        (status = TOO_MANY_REQUESTS, description = "Too many log-ins have failed")))]
pub(super) async fn login(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(login): Body<Login>,
) -> Result<Tokens, Problem> {
    let address = app.secret.claim(Kind::Email, &login.email);
    let holder = app.engine.read(move |world| accounts::holder_of(world, address)).await?;
    // Whoever has no account is looked up too: it takes as long.
    let (account, state) = holder.unwrap_or((AccountId(address.0), Account::Unregistered));
    let key = PersonKey::load(&app.pool, &app.wrapping, account).await?;
    let hash = state.registered().ok().and_then(|registered| registered.identity.password_hash.clone());
    let stored = hash.and_then(|hash| key?.open(&hash));
    if !is_password(&app, address.0, login.password, stored).await? {
        return Err(Problem::unauthenticated("The e-mail address or the password is wrong."));
    }
    let (session, token) = new_session(&app, account);
    let open = move |world: &mut commands::World<'_>| sessions::open(world, &session);
    let accepted = app.engine.submit(once(id, account), open).await?;
    Tokens::of(&app, account, &token, accepted.position)
}

/// A refresh token.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Refresh {
    #[garde(length(chars, max = 512))]
    #[schema(max_length = 512)]
    refresh_token: String,
}

/// Trades a refresh token for new tokens. One that was traded before ends the session: somebody else has it.
#[utoipa::path(post, path = "/auth/refresh", tag = TAG, request_body = Refresh,
    responses((status = OK, body = Tokens, description = "New tokens"),
        (status = UNAUTHORIZED, description = "The token is not good")))]
pub(super) async fn refresh(
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
        Traded::Refreshed(account) => Tokens::of(&app, account, &next, accepted.position),
        Traded::Reused => Err(bad()),
    }
}

/// What is to end.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Logout {
    /// All sessions of the account, not just this one.
    #[serde(default)]
    #[garde(skip)]
    everywhere: bool,
}

/// Logs out: the session's tokens are good no more, and its sockets close.
#[utoipa::path(post, path = "/auth/logout", tag = TAG, security(("bearer" = [])), request_body = Logout,
    responses((status = NO_CONTENT, description = "Logged out",
        headers(("Tradepost-Position" = i64, description = "The last event of it in the log")))))]
pub(super) async fn logout(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    Body(Logout { everywhere }): Body<Logout>,
) -> Result<impl IntoResponse, Problem> {
    let Caller { account, session, .. } = caller;
    let end = move |world: &mut commands::World<'_>| {
        sessions::log_out(world, account, session)?;
        if everywhere { accounts::revoke_sessions(world, account) } else { Ok(()) }
    };
    let accepted = app.engine.submit(once(id, account), end).await?;
    Ok((StatusCode::NO_CONTENT, [(POSITION_HEADER, accepted.position)]))
}

/// A ticket for opening a socket.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ticket {
    /// Send it as `?ticket=` when opening a socket; good once.
    ticket: String,
    /// Seconds until it expires.
    #[schema(example = 30)]
    expires_in: u64,
}

/// Gives a ticket for opening one socket in this session, which closes with it.
#[utoipa::path(post, path = "/auth/ws-ticket", tag = TAG, security(("bearer" = [])),
    responses((status = CREATED, body = Ticket, description = "The ticket"),
        (status = FORBIDDEN, description = "The account is blocked")))]
pub(super) async fn ws_ticket(
    State(app): State<App>,
    caller: Caller,
    _: Body<Nothing>,
) -> Result<(StatusCode, Json<Ticket>), Problem> {
    let account = caller.account;
    app.engine.read(move |world| Ok(accounts::get(world, account)?.unblocked()?)).await?;
    let ticket = tickets::issue(&app.pool, caller).await?;
    Ok((StatusCode::CREATED, Json(Ticket { ticket, expires_in: tickets::LIFETIME.as_secs() })))
}
