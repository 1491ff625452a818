//! Logging in with Google, or with another `OpenID` provider in its place.

use std::collections::BTreeSet;

use axum::extract::{Extension, State};
use commands::accounts;
use commands::sessions::{self, NewSession};
use domain::AccountId;
use domain::account::Capability;
use domain::claim::Kind;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use garde::Validate;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{TAG, Tokens, new_session, once};
use crate::app::App;
use crate::auth::newcomer::{LONGEST_NAME, SHORTEST_NAME, is_name, newcomer};
use crate::auth::openid::NotKnown;
use crate::http::envelope::RequestId;
use crate::http::extract::Body;
use crate::http::problem::Problem;

/// Who logs in, as Google says.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct GoogleLogin {
    /// What Google has given the browser, made out to this marketplace.
    #[garde(length(chars, max = 8192))]
    #[schema(max_length = 8192)]
    id_token: String,
    /// The public name of somebody who is new. Without one, it is made from the address.
    #[garde(length(chars, min = SHORTEST_NAME, max = LONGEST_NAME), inner(custom(is_name)))]
    #[schema(example = "ann", min_length = 3, max_length = 40, pattern = "^[A-Za-z0-9._-]+$")]
    user_name: Option<String>,
    /// Whether somebody who is new is to sell too.
    #[serde(default)]
    #[garde(skip)]
    sell: bool,
}

/// Logs in with Google. Who is new joins by it; who has joined with this address and a password can log in either way.
///
/// If nobody has shown to read the mailbox of the account with this address, it may be somebody else's doing: its
/// password is removed and its sessions end.
#[utoipa::path(post, path = "/auth/google", tag = TAG, request_body = GoogleLogin,
    responses((status = OK, body = Tokens, description = "Logged in"),
        (status = UNAUTHORIZED, description = "The ID token is not good"),
        (status = CONFLICT, description = "The user name belongs to an account"),
        (status = NOT_FOUND, description = "This marketplace is not known to Google")))]
pub(super) async fn log_in(
    State(app): State<App>,
    Extension(id): Extension<RequestId>,
    Body(body): Body<GoogleLogin>,
) -> Result<Tokens, Problem> {
    let google = app.google.as_ref().ok_or_else(|| Problem::not_found("way to log in here"))?;
    let person = google.verify(&body.id_token).await?;
    let known_as = app.secret.claim(Kind::Identity, &google.name_of(&person));
    let address = app.secret.claim(Kind::Email, &person.email);
    let fresh = AccountId(mint::id());
    let name = body.user_name.unwrap_or_else(|| name_from(&person.email));
    let mut capabilities = BTreeSet::from([Capability::Buy]);
    capabilities.extend(body.sell.then_some(Capability::Sell));
    let key = PersonKey::mint(fresh);
    let newcomer = newcomer(&app.secret, &app.wrapping, &key, &person.email, &name, None, capabilities);
    let (session, token) = new_session(&app, fresh);
    let log_in = move |world: &mut commands::World<'_>| {
        let account = if let Some((account, _)) = accounts::holder_of(world, known_as)? {
            account
        } else if let Some((account, _)) = accounts::holder_of(world, address)? {
            accounts::link(world, account, known_as)?;
            account
        } else {
            accounts::register(world, &newcomer)?;
            accounts::trust_email(world, fresh)?;
            accounts::link(world, fresh, known_as)?;
            fresh
        };
        sessions::open(world, &NewSession { account, ..session.clone() })?;
        Ok(account)
    };
    let accepted = app.engine.submit(once(id, fresh), log_in).await?;
    Tokens::of(&app, accepted.value, &token, accepted.position)
}

/// A public name that is free, most likely: what fits of an address, and four letters of chance.
fn name_from(email: &str) -> String {
    let local = email.split('@').next().unwrap_or_default();
    let chance = mint::id().simple().to_string();
    let suffix = &chance[chance.len() - 4..];
    let fitting = local.chars().filter(|letter| is_name(&letter.to_string(), &()).is_ok());
    let fitting: String = fitting.take(LONGEST_NAME - suffix.len() - 1).collect();
    let fitting = if fitting.len() < SHORTEST_NAME { "user".to_owned() } else { fitting };
    format!("{fitting}-{suffix}")
}

impl From<NotKnown> for Problem {
    fn from(error: NotKnown) -> Self {
        match error {
            NotKnown::NotGood => Self::unauthenticated("The ID token is not good."),
            NotKnown::EmailNotVerified => Self::unauthenticated("The issuer has not verified the address."),
            NotKnown::Unreachable(_) => {
                tracing::warn!(%error, "an ID token could not be checked");
                Self::unavailable("Who issues the ID tokens cannot be reached.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_from_what_fits_of_an_address() {
        let made = |email: &str| {
            let name = name_from(email);
            assert!((SHORTEST_NAME..=LONGEST_NAME).contains(&name.len()) && is_name(&name, &()).is_ok(), "{name}");
            name[..name.len() - 5].to_owned()
        };
        assert_eq!(made("ann.smith+shop@example.com"), "ann.smithshop");
        assert_eq!(made("ü@example.com"), "user");
        assert_eq!(made(&format!("{}@example.com", "a".repeat(64))), "a".repeat(35));
    }
}
