//! Changing a password, and setting a new one by mail.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use commands::accounts;
use domain::account::Registered;
use domain::claim::Kind;
use domain::{ClaimId, Refusal};
use eventstore::clock::Clock;
use eventstore::sealing::PersonKey;
use eventstore::secrets::Purpose;
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Noted, PASSWORD_ANSWER, TAG, challenge, expect_password, once, opened, read_token, too_common};
use crate::app::App;
use crate::auth::attempts;
use crate::http::envelope::RequestId;
use crate::http::extract::{Body, Caller};
use crate::http::problem::Problem;

/// Where a body has the new password.
const NEW: &str = "/new_password";

/// The password until now, and from now on.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    #[garde(length(chars, max = 128))]
    #[schema(example = "correct horse battery", max_length = 128)]
    current_password: String,
    /// Eight characters or more, of any kind; none of the last five.
    #[garde(length(chars, min = 8, max = 128), custom(crate::auth::newcomer::is_text))]
    #[schema(example = "wrong horse paperclip", min_length = 8, max_length = 128)]
    new_password: String,
}

/// Changes the password. All other sessions of the account end.
#[utoipa::path(post, path = "/auth/password/change", tag = TAG, security(("bearer" = [])), request_body = PasswordChange,
    responses((status = OK, body = Noted, description = "Changed"),
        (status = CONFLICT, description = "The account has no password, or it was changed meanwhile"),
        (status = TOO_MANY_REQUESTS, description = "Too many wrong passwords")))]
pub(super) async fn change(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    Body(body): Body<PasswordChange>,
) -> Result<Noted, Problem> {
    let Caller { account, session, .. } = caller;
    let (registered, key) = opened(&app, account).await?;
    expect_password(&app, &registered, &key, body.current_password, "/current_password").await?;
    let hash = new_hash(&app, &registered, &key, body.new_password).await?;
    let replacing = registered.identity.password_hash;
    let change = move |world: &mut commands::World<'_>| {
        accounts::change_password(world, account, replacing.clone(), key.seal(&hash), session)
    };
    let accepted = app.engine.submit(once(id, account), change).await?;
    Ok(Noted { position: accepted.position })
}

/// Whose password.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct ResetRequest {
    #[garde(length(chars, max = 254))]
    #[schema(example = "ann@example.com", max_length = 254)]
    email: String,
}

/// Asks for a token with which to set a new password. It goes to the mailbox, if an account has this address; the answer
/// is the same if none has.
#[utoipa::path(post, path = "/auth/password/reset", tag = TAG, request_body = ResetRequest,
    responses((status = ACCEPTED, description = "A token is on its way, if an account has this address")))]
pub(super) async fn ask_to_reset(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(body): Body<ResetRequest>,
) -> StatusCode {
    let address = app.secret.claim(Kind::Email, &body.email);
    // Behind the answer, which must not tell by its time whether there was anything to do.
    let asking = async move {
        if let Err(problem) = ask(&app, id, address).await {
            tracing::warn!(slug = problem.slug(), "a mailbox could not be asked for a new password");
        }
    };
    tokio::spawn(asking);
    StatusCode::ACCEPTED
}

async fn ask(app: &App, id: RequestId, address: ClaimId) -> Result<(), Problem> {
    let holder = app.engine.read(move |world| accounts::holder_of(world, address)).await?;
    let Some((account, state)) = holder else { return Ok(()) };
    let Ok(registered) = state.registered() else { return Ok(()) };
    let question = challenge(registered.identity.email.clone(), PASSWORD_ANSWER);
    let ask = move |world: &mut commands::World<'_>| accounts::challenge_password(world, account, question.clone());
    app.engine.submit(once(id, account), ask).await?;
    Ok(())
}

/// The token that was sent, and the new password.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    #[garde(length(chars, max = 512))]
    #[schema(max_length = 512)]
    token: String,
    /// Eight characters or more, of any kind; none of the last five.
    #[garde(length(chars, min = 8, max = 128), custom(crate::auth::newcomer::is_text))]
    #[schema(example = "wrong horse paperclip", min_length = 8, max_length = 128)]
    new_password: String,
}

/// Sets a new password. All sessions of the account end, and its log-in is locked no more.
#[utoipa::path(post, path = "/auth/password/reset/confirm", tag = TAG, request_body = Reset,
    responses((status = OK, body = Noted, description = "Set: log in with it")))]
pub(super) async fn reset(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(body): Body<Reset>,
) -> Result<Noted, Problem> {
    let (account, challenge) = read_token(&app, Purpose::Password, &body.token)?;
    let (registered, key) = opened(&app, account).await?;
    // Before any password is looked at: an old token must not tell what a password was.
    registered.expect_password_challenge(challenge, Clock::real_now()).map_err(Refusal::from)?;
    let hash = new_hash(&app, &registered, &key, body.new_password).await?;
    let email = key.open(&registered.identity.email).unwrap_or_default();
    let now = Clock::real_now();
    let set = move |world: &mut commands::World<'_>| {
        accounts::reset_password(world, account, challenge, key.seal(&hash), now)
    };
    let accepted = app.engine.submit(once(id, account), set).await?;
    attempts::forget(&app.pool, app.secret.claim(Kind::Email, &email).0).await?;
    Ok(Noted { position: accepted.position })
}

/// The hash of a password that may be set: neither easy to guess nor one of the last five.
async fn new_hash(app: &App, account: &Registered, key: &PersonKey, password: String) -> Result<String, Problem> {
    for former in account.passwords.iter().filter_map(|former| key.open(former)) {
        if app.passwords.verify(password.clone(), Some(former)).await? {
            return Err(Problem::invalid_field(NEW, "used-before", "this is one of the last five passwords"));
        }
    }
    let identity = &account.identity;
    let about = [&identity.email, &identity.user_name].into_iter().filter_map(|field| key.open(field)).collect();
    let hashed = app.passwords.hash_new(password, about).await?;
    hashed.ok_or_else(|| too_common(NEW))
}
