//! One's own profile.

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::accounts;
use domain::account::{Account, ProfileChanges};
use eventstore::sealing::PersonKey;
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::TAG;
use crate::app::App;
use crate::http::extract::{Caller, Command, NoQuery, Read};
use crate::http::openapi::{Conditional, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

/// An account as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Profile {
    id: uuid::Uuid,
    email: Option<String>,
    /// Whether somebody has shown to read the mailbox of that address.
    email_verified: bool,
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
pub(super) async fn me(State(app): State<App>, caller: Caller, read: Read<NoQuery>) -> Result<One<Profile>, Problem> {
    read.wait_for(&app, projections::accounts::MODEL.name).await?;
    let row = projections::accounts::get(&app.pool, caller.account).await?;
    let row = row.ok_or_else(|| Problem::not_found("account"))?;
    let version = row.version.unsigned_abs();
    let body = Profile {
        id: row.id,
        email: row.email,
        email_verified: row.email_verified,
        user_name: row.user_name,
        display_name: row.display_name,
        phone: row.phone,
        biography: row.biography,
        avatar_url: row.avatar_url,
        language: row.language,
        capabilities: row.capabilities.iter().map(|capability| capability.0.name().to_owned()).collect(),
        violations: row.violations,
        blocked: row.blocked || row.suspended,
        registered_at: row.registered_at,
        version,
    };
    Ok(One { body, version, position: row.position })
}

/// What is to change. What is not named stays; an empty text clears.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfilePatch {
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
pub(super) struct Changed {
    version: u64,
}

/// Changes one's own profile.
#[utoipa::path(patch, path = "/auth/me", tag = TAG, security(("bearer" = [])), request_body = ProfilePatch,
    params(Conditional), responses((status = OK, body = Changed, description = "Changed")))]
pub(super) async fn change_me(
    State(app): State<App>,
    command: Command<ProfilePatch>,
) -> Result<Done<Changed>, Problem> {
    let account = command.caller.account;
    let key = PersonKey::load(&app.pool, &app.wrapping, account).await?.ok_or_else(|| Problem::not_found("account"))?;
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
