//! One's own profile: at `/auth/me`, and at `/profile` for clients that know it there.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "the signature of a check is garde's")]

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::accounts::{self, Rename};
use domain::account::{Account, ProfileChanges};
use domain::claim::Kind;
use garde::Validate;
use projections::past::Question;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{TAG, opened};
use crate::app::App;
use crate::auth::newcomer::{LONGEST_NAME, SHORTEST_NAME, is_name};
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, NoQuery};
use crate::http::openapi::{Conditional, Waits};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};
use crate::media::names;

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
    /// How many orders count that were won and not paid; the third blocks. `/profile/violations` names them.
    violations: i32,
    /// `active`, `suspended` for now, or `blocked`.
    #[schema(value_type = String, example = "active")]
    status: projections::accounts::Standing,
    /// Whether it may not list, bid, buy or withdraw.
    blocked: bool,
    registered_at: DateTime<Utc>,
    /// For `If-Match`.
    version: u64,
}

/// One's own account.
#[utoipa::path(get, path = "/auth/me", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = Profile, description = "The account"),
        (status = NOT_FOUND, description = "It was not there then")))]
pub(super) async fn me(State(app): State<App>, caller: Caller, read: AsOf<NoQuery>) -> Result<One<Profile>, Problem> {
    shown(&app, caller, &read).await
}

/// One's own profile: the same as `/auth/me`.
#[utoipa::path(get, path = "/profile", tag = TAG, security(("bearer" = [])), params(TakesAsOf, Waits),
    responses((status = OK, body = Profile, description = "The profile"),
        (status = NOT_FOUND, description = "It was not there then")))]
pub(super) async fn show(State(app): State<App>, caller: Caller, read: AsOf<NoQuery>) -> Result<One<Profile>, Problem> {
    shown(&app, caller, &read).await
}

async fn shown(app: &App, caller: Caller, read: &AsOf<NoQuery>) -> Result<One<Profile>, Problem> {
    read.wait_for(app, projections::accounts::MODEL.name).await?;
    let shown = |mut look: Look| async move {
        let row = projections::accounts::get(&mut look.view, caller.account).await?;
        row.map(profile).ok_or_else(|| Problem::not_found("account"))
    };
    read.answer(app, Question::Account(caller.account), shown).await
}

fn profile(row: projections::accounts::Profile) -> One<Profile> {
    let (version, status) = (row.version.unsigned_abs(), row.standing());
    let body = Profile {
        id: row.id,
        status,
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
    One { body, version, position: row.position }
}

fn is_language(tag: &str, (): &()) -> garde::Result {
    let mut parts = tag.split('-');
    let first = parts.next().unwrap_or_default();
    let of = |part: &str, least: usize| (least..=8).contains(&part.len());
    let plain = first.bytes().all(|byte| byte.is_ascii_alphabetic()) && of(first, 2);
    let rest = parts.clone().count() <= 3
        && parts.all(|part| of(part, 1) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let fits = tag.is_empty() || (plain && rest);
    if fits { Ok(()) } else { Err(garde::Error::new("must be a tag such as `en` or `ur-PK`")) }
}

fn is_picture(address: &str, (): &()) -> garde::Result {
    let elsewhere = ["https://", "http://"].iter().find_map(|start| address.strip_prefix(start));
    let visible = |path: &str| !path.is_empty() && path.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = address.is_empty() || names::is_path(address) || elsewhere.is_some_and(visible);
    let rule = "must be an https:// or http:// address, or the path of a picture that was uploaded: /media/<name>";
    if fits { Ok(()) } else { Err(garde::Error::new(rule)) }
}

/// What is to change. What is not named stays; an empty text clears.
#[derive(Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfilePatch {
    /// Another public name, if nobody has it: letters, digits, `-`, `_` and `.`. Its case does not matter.
    #[garde(length(chars, min = SHORTEST_NAME, max = LONGEST_NAME), inner(custom(is_name)))]
    #[schema(example = "ann", min_length = 3, max_length = 40, pattern = "^[A-Za-z0-9._-]+$")]
    user_name: Option<String>,
    #[garde(length(chars, max = 100))]
    #[schema(max_length = 100)]
    display_name: Option<String>,
    #[garde(length(chars, max = 40))]
    #[schema(max_length = 40)]
    phone: Option<String>,
    #[garde(length(chars, max = 2000))]
    #[schema(max_length = 2000)]
    biography: Option<String>,
    /// The address of a picture: of one that was uploaded here, or of another.
    #[garde(length(chars, max = 2000), inner(custom(is_picture)))]
    #[schema(
        max_length = 2000,
        pattern = "^(https?://[!-~]+|/media/[0-9a-f]{32}(-thumb)?[.](jpg|png))?$",
        example = "/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f-thumb.jpg"
    )]
    avatar_url: Option<String>,
    /// A BCP 47 tag.
    #[garde(length(chars, max = 35), inner(custom(is_language)))]
    #[schema(example = "ur-PK", max_length = 35, pattern = "^([A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3})?$")]
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
    change(&app, command).await
}

/// Changes one's own profile: the same as `/auth/me`.
#[utoipa::path(patch, path = "/profile", tag = TAG, security(("bearer" = [])), request_body = ProfilePatch,
    params(Conditional), responses((status = OK, body = Changed, description = "Changed")))]
pub(super) async fn patch(State(app): State<App>, command: Command<ProfilePatch>) -> Result<Done<Changed>, Problem> {
    change(&app, command).await
}

/// Writes one's own profile anew: what is not named is cleared, but for the public name, which stays.
#[utoipa::path(put, path = "/profile", tag = TAG, security(("bearer" = [])), request_body = ProfilePatch,
    params(Conditional), responses((status = OK, body = Changed, description = "Changed")))]
pub(super) async fn put(State(app): State<App>, command: Command<ProfilePatch>) -> Result<Done<Changed>, Problem> {
    let whole = |patch: ProfilePatch| ProfilePatch {
        user_name: patch.user_name,
        display_name: patch.display_name.or_else(cleared),
        phone: patch.phone.or_else(cleared),
        biography: patch.biography.or_else(cleared),
        avatar_url: patch.avatar_url.or_else(cleared),
        language: patch.language.or_else(cleared),
    };
    change(&app, command.map(whole)).await
}

#[expect(clippy::unnecessary_wraps, reason = "stands where a field may be named or not")]
fn cleared() -> Option<String> {
    Some(String::new())
}

async fn change(app: &App, command: Command<ProfilePatch>) -> Result<Done<Changed>, Problem> {
    let account = command.caller.account;
    let (registered, key) = opened(app, account).await?;
    let (request, expected) = (command.request(), command.expected_version);
    let patch = command.body;
    let former = registered.identity.user_name;
    let known = key.open(&former).unwrap_or_default();
    // To be called as before is no change.
    let user_name = patch.user_name.filter(|name| *name != known);
    let rename = user_name.as_ref().map(|name| Rename {
        former: app.secret.claim(Kind::UserName, &known),
        next: app.secret.claim(Kind::UserName, name),
        from: former,
    });
    let seal = |text: Option<String>| text.map(|text| key.seal(&text));
    let changes = ProfileChanges {
        user_name: seal(user_name),
        display_name: seal(patch.display_name),
        phone: seal(patch.phone),
        biography: seal(patch.biography),
        avatar_url: seal(patch.avatar_url),
        language: patch.language,
    };
    let changes_nothing = changes == ProfileChanges::default();
    let change = move |world: &mut commands::World<'_>| {
        world.expect_version::<Account>(account, expected)?;
        accounts::change_profile(world, account, changes.clone(), rename.as_ref())?;
        Ok(Changed { version: world.version::<Account>(account)? })
    };
    let accepted = app.engine.submit(request, change).await?;
    let version = accepted.value.version;
    Ok(if changes_nothing { Done::ok(accepted) } else { Done::ok(accepted).at_version(version) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_a_tag_and_a_picture_is_an_address() {
        for (tag, fits) in [
            ("", true),
            ("en", true),
            ("ur-PK", true),
            ("zh-Hant-HK", true),
            ("e", false),
            ("en-", false),
            ("en_GB", false),
            ("a-b-c", false),
            ("اردو", false),
            ("en-a-b-c-d", false),
        ] {
            assert_eq!(is_language(tag, &()).is_ok(), fits, "{tag}");
        }
        for (address, fits) in [
            ("", true),
            ("https://example.com/a.png", true),
            ("/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f.png", true),
            ("/media/abc.png", false),
            ("/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f.png?x", false),
            ("javascript:alert(1)", false),
            ("data:image/svg+xml,x", false),
            ("//example.com/a.png", false),
            ("https://", false),
            ("https://example.com/a b", false),
        ] {
            assert_eq!(is_picture(address, &()).is_ok(), fits, "{address}");
        }
        let documented = serde_json::to_value(<ProfilePatch as utoipa::PartialSchema>::schema()).unwrap();
        let pattern = documented["properties"]["avatar_url"]["pattern"].as_str().unwrap();
        assert!(pattern.contains(names::PATH_PATTERN.trim_matches(['^', '$'])), "{pattern}");
    }
}
