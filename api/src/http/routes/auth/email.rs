//! Showing that one reads a mailbox, and moving to another.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use commands::accounts::{self, EmailAnswer};
use domain::claim::Kind;
use eventstore::clock::Clock;
use eventstore::secrets::Purpose;
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{EMAIL_ANSWER, MailedToken, Noted, TAG, challenge, expect_password, once, opened, read_token};
use crate::app::App;
use crate::auth::attempts;
use crate::http::envelope::RequestId;
use crate::http::extract::{Body, Caller, Nothing};
use crate::http::problem::Problem;

/// Verifies the address to which the token was sent. If it is a new one, it becomes the account's.
#[utoipa::path(post, path = "/auth/email/verify", tag = TAG, request_body = MailedToken,
    responses((status = OK, body = Noted, description = "Verified"),
        (status = CONFLICT, description = "The address belongs to another account by now")))]
pub(super) async fn verify(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(body): Body<MailedToken>,
) -> Result<Noted, Problem> {
    let (account, challenge) = read_token(&app, Purpose::Email, &body.token)?;
    let (registered, key) = opened(&app, account).await?;
    let claim = |email| app.secret.claim(Kind::Email, &key.open(email).unwrap_or_default());
    let former = claim(&registered.identity.email);
    let answering = registered.challenged_email(challenge).map_or(former, claim);
    let answer = EmailAnswer { challenge, former, answering, now: Clock::real_now() };
    let verify = move |world: &mut commands::World<'_>| accounts::verify_email(world, account, answer);
    let accepted = app.engine.submit(once(id, account), verify).await?;
    if former != answering {
        // Nobody has an account there any more that could be guessed at.
        attempts::forget(&app.pool, former.0).await?;
    }
    Ok(Noted { position: accepted.position })
}

/// Sends a new token to the account's mailbox, at most once a minute.
#[utoipa::path(post, path = "/auth/email/resend", tag = TAG, security(("bearer" = [])),
    responses((status = ACCEPTED, body = Noted, description = "A token is on its way"),
        (status = CONFLICT, description = "One was sent a moment ago")))]
pub(super) async fn resend(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    _: Body<Nothing>,
) -> Result<(StatusCode, Noted), Problem> {
    let account = caller.account;
    let (registered, key) = opened(&app, account).await?;
    let email = registered.identity.email;
    let claim = app.secret.claim(Kind::Email, &key.open(&email).unwrap_or_default());
    let question = challenge(email, EMAIL_ANSWER);
    let ask = move |world: &mut commands::World<'_>| accounts::challenge_email(world, account, question.clone(), claim);
    let accepted = app.engine.submit(once(id, account), ask).await?;
    Ok((StatusCode::ACCEPTED, Noted { position: accepted.position }))
}

/// The new address, and the password.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct EmailChange {
    #[garde(email, length(max = 254))]
    #[schema(example = "ann@example.org", format = "email", max_length = 254)]
    email: String,
    #[garde(length(chars, max = 128))]
    #[schema(example = "correct horse battery", max_length = 128)]
    password: String,
}

/// Asks for another address. A token goes to its mailbox; until it is shown, the account keeps the one it has.
#[utoipa::path(post, path = "/auth/email/change", tag = TAG, security(("bearer" = [])), request_body = EmailChange,
    responses((status = ACCEPTED, body = Noted, description = "A token is on its way to the new address"),
        (status = CONFLICT, description = "The address belongs to an account, a token was sent a moment ago, or there is no password"),
        (status = TOO_MANY_REQUESTS, description = "Too many wrong passwords")))]
pub(super) async fn change(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    caller: Caller,
    Body(body): Body<EmailChange>,
) -> Result<(StatusCode, Noted), Problem> {
    let account = caller.account;
    let (registered, key) = opened(&app, account).await?;
    expect_password(&app, &registered, &key, body.password, "/password").await?;
    let claim = app.secret.claim(Kind::Email, &body.email);
    let question = challenge(key.seal(body.email.trim()), EMAIL_ANSWER);
    let ask = move |world: &mut commands::World<'_>| accounts::challenge_email(world, account, question.clone(), claim);
    let accepted = app.engine.submit(once(id, account), ask).await?;
    Ok((StatusCode::ACCEPTED, Noted { position: accepted.position }))
}
