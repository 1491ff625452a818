//! Accounts, for staff: who is here, what they have won and not paid, and what staff decide about them.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::accounts::{Ruling, Trade};
use domain::AccountId;
use domain::account::{Account, Capability};
use domain::claim::Kind;
use eventstore::sealing::PersonKey;
use garde::Validate;
use projections::accounts::{self, Profile, Standing, Violation, ViolationCursor};
use projections::past::Question;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::TAG;
use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Id, NoQuery, Read};
use crate::http::openapi::{Conditional, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

/// Which accounts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsersQuery {
    /// The e-mail address, the public name or the id of an account, in full.
    q: Option<String>,
    #[param(inline, value_type = Option<StatusName>)]
    status: Option<Standing>,
    /// Only those that may do this.
    #[param(inline, value_type = Option<CapabilityName>)]
    capability: Option<Capability>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<accounts::Cursor>>,
}

words!(StatusName: "active", "suspended", "blocked", "erased");

words!(CapabilityName: "buy", "sell", "staff", "admin", "audit");

/// An account as staff see it. Whoever is forgotten has no name any more.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserForStaff {
    id: Uuid,
    /// `active`; `suspended` for now; `blocked`; `erased` if the person is forgotten.
    #[schema(value_type = String, example = "active")]
    status: Standing,
    email: Option<String>,
    /// Whether somebody reads the mailbox of that address.
    email_verified: bool,
    user_name: Option<String>,
    display_name: Option<String>,
    language: Option<String>,
    /// What it may do: `buy`, `sell`, `staff`, `admin`, `audit`.
    capabilities: Vec<String>,
    /// How many orders count that were won and not paid; the third blocks.
    violations: i32,
    /// Why staff have decided last whether it trades.
    reason: Option<String>,
    /// Who of them; nobody if it was blocked by its last violation, or at the command line.
    ruled_by: Option<Uuid>,
    ruled_at: Option<DateTime<Utc>>,
    registered_at: DateTime<Utc>,
    erased_at: Option<DateTime<Utc>>,
    /// For `If-Match`.
    version: u64,
}

fn body(row: Profile) -> UserForStaff {
    UserForStaff {
        id: row.id,
        status: row.standing(),
        email: row.email,
        email_verified: row.email_verified,
        user_name: row.user_name,
        display_name: row.display_name,
        language: row.language,
        capabilities: row.capabilities.iter().map(|capability| capability.0.name().to_owned()).collect(),
        violations: row.violations,
        reason: row.reason,
        ruled_by: row.ruled_by,
        ruled_at: row.ruled_at,
        registered_at: row.registered_at,
        erased_at: row.erased_at,
        version: row.version.unsigned_abs(),
    }
}

/// The account that an address, a public name or an id names in full. The first two are found by the claim on them:
/// nothing that could be searched in parts is kept of either.
async fn named(app: &App, text: &str) -> Result<Option<AccountId>, Problem> {
    if let Ok(id) = text.parse() {
        return Ok(Some(id));
    }
    let kind = if text.contains('@') { Kind::Email } else { Kind::UserName };
    let claim = app.secret.claim(kind, text);
    let holder = move |world: &mut commands::World<'_>| commands::accounts::holder_of(world, claim);
    Ok(app.engine.read(holder).await?.map(|(account, _)| account))
}

/// All accounts, the newest first.
#[utoipa::path(get, path = "/admin/users", tag = TAG, security(("bearer" = ["staff"])), params(UsersQuery, Waits),
    responses((status = OK, body = Page<UserForStaff>, description = "A page")))]
pub(super) async fn list(State(app): State<App>, read: Read<UsersQuery>) -> Result<Json<Page<UserForStaff>>, Problem> {
    read.wait_for(&app, accounts::MODEL.name).await?;
    let UsersQuery { q, status, capability, limit, cursor } = read.query;
    let limit = page_limit(limit)?;
    let id = match q {
        Some(text) => match named(&app, &text).await? {
            Some(account) => Some(account),
            None => return Ok(Json(Page { items: Vec::new(), next_cursor: None })),
        },
        None => None,
    };
    let filter = accounts::Filter { id, standing: status, capability };
    let page = accounts::page(&app.pool, &filter, cursor.map(|cursor| cursor.0), limit).await?;
    Page::of(page, |row| Ok(body(row))).map(Json)
}

/// An account.
#[utoipa::path(get, path = "/admin/users/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = UserForStaff, description = "The account")))]
pub(super) async fn show(
    State(app): State<App>,
    Id(id): Id<AccountId>,
    read: AsOf<NoQuery>,
) -> Result<One<UserForStaff>, Problem> {
    read.wait_for(&app, accounts::MODEL.name).await?;
    let shown = |mut look: Look| async move {
        let row = accounts::get(&mut look.view, id).await?.ok_or_else(|| Problem::not_found("account"))?;
        let (version, position) = (row.version.unsigned_abs(), row.position);
        Ok(One { body: body(row), version, position })
    };
    read.answer(&app, Question::Account(id), shown).await
}

/// Which violations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ViolationsQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<ViolationCursor>>,
}

/// An order that was won and not paid.
#[derive(Debug, Serialize, ToSchema)]
pub struct ViolationBody {
    order_id: Uuid,
    /// When it was given up.
    recorded_at: DateTime<Utc>,
    /// Since when it counts no more; until then it does.
    pardoned_at: Option<DateTime<Utc>>,
}

async fn violations(
    app: &App,
    account: AccountId,
    read: Read<ViolationsQuery>,
) -> Result<Json<Page<ViolationBody>>, Problem> {
    read.wait_for(app, accounts::MODEL.name).await?;
    let ViolationsQuery { limit, cursor } = read.query;
    let limit = page_limit(limit)?;
    if accounts::get(&app.pool, account).await?.is_none() {
        return Err(Problem::not_found("account"));
    }
    let page = accounts::violations(&app.pool, account, cursor.map(|cursor| cursor.0), limit).await?;
    let body = |row: Violation| {
        let Violation { order_id, recorded_at, pardoned_at, .. } = row;
        Ok(ViolationBody { order_id, recorded_at, pardoned_at })
    };
    Page::of(page, body).map(Json)
}

/// What an account has won and not paid, the newest first.
#[utoipa::path(get, path = "/admin/users/{id}/violations", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = Uuid, Path), ViolationsQuery, Waits),
    responses((status = OK, body = Page<ViolationBody>, description = "A page")))]
pub(super) async fn of_user(
    State(app): State<App>,
    Id(id): Id<AccountId>,
    read: Read<ViolationsQuery>,
) -> Result<Json<Page<ViolationBody>>, Problem> {
    violations(&app, id, read).await
}

/// What one has won and not paid oneself, the newest first. The third that counts blocks the account.
#[utoipa::path(get, path = "/profile/violations", tag = "Identity", security(("bearer" = [])),
    params(ViolationsQuery, Waits), responses((status = OK, body = Page<ViolationBody>, description = "A page")))]
pub(super) async fn own(
    State(app): State<App>,
    caller: Caller,
    read: Read<ViolationsQuery>,
) -> Result<Json<Page<ViolationBody>>, Problem> {
    violations(&app, caller.account, read).await
}

/// Whether an account trades.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UserStatus {
    /// It does again. Whoever was blocked is pardoned: what they had not paid counts no more.
    Active,
    /// Not for now: it may read, and settle what it owes.
    Suspended,
    /// Not any more, as after the third violation.
    Blocked,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapabilityBody {
    /// Bid, buy and pay.
    Buy,
    /// List and sell.
    Sell,
    /// Moderate and help. Only administrators grant it.
    Staff,
    /// Grant capabilities. Only administrators grant it.
    Admin,
    /// Read the whole history. Only administrators grant it.
    Audit,
}

impl From<CapabilityBody> for Capability {
    fn from(body: CapabilityBody) -> Self {
        match body {
            CapabilityBody::Buy => Self::Buy,
            CapabilityBody::Sell => Self::Sell,
            CapabilityBody::Staff => Self::Staff,
            CapabilityBody::Admin => Self::Admin,
            CapabilityBody::Audit => Self::Audit,
        }
    }
}

/// What staff decide about an account. What is not named stays.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct UserRuling {
    status: Option<UserStatus>,
    /// What it may do from now on.
    #[garde(length(max = 5))]
    #[serde(default)]
    #[schema(max_items = 5)]
    grant: Vec<CapabilityBody>,
    /// What it may not do any more.
    #[garde(length(max = 5))]
    #[serde(default)]
    #[schema(max_items = 5)]
    revoke: Vec<CapabilityBody>,
    /// Whether what counts of orders that were won and not paid counts no more.
    #[serde(default)]
    pardon: bool,
    /// Why. It is kept for staff, and forgotten with the person.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(example = "Sells what is not there.", min_length = 1, max_length = 1000)]
    reason: String,
}

/// What a ruling has done to an account.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct UserChanged {
    id: Uuid,
    /// `active`, `suspended` or `blocked`.
    #[schema(example = "blocked")]
    status: String,
    capabilities: Vec<String>,
    /// How many violations count.
    violations: usize,
    /// For `If-Match`.
    version: u64,
}

fn changed(world: &mut commands::World<'_>, account: AccountId) -> Result<UserChanged, commands::Halt> {
    let version = world.version::<Account>(account)?;
    let known = world.get::<Account>(account)?.registered()?;
    let status = if known.blocked {
        "blocked"
    } else if known.suspended {
        "suspended"
    } else {
        "active"
    };
    Ok(UserChanged {
        id: account.0,
        status: status.to_owned(),
        capabilities: known.capabilities.iter().map(|capability| capability.name().to_owned()).collect(),
        violations: known.violations.len(),
        version,
    })
}

/// Decides about an account, for a reason: whether it trades, what it may do, and whether what it did not pay counts.
/// It counts at once, open sockets included, which close when somebody may trade no more.
///
/// Whoever is staff, administrator or auditor is ruled on by an administrator, who alone grants these. Nobody decides
/// about an account of their own, but an administrator may give up capabilities while another administrator is left.
#[utoipa::path(patch, path = "/admin/users/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = Uuid, Path), Conditional), request_body = UserRuling,
    responses((status = OK, body = UserChanged, description = "Decided")))]
pub(super) async fn rule(
    State(app): State<App>,
    Id(account): Id<AccountId>,
    command: Command<UserRuling>,
) -> Result<Done<UserChanged>, Problem> {
    let (by, request, expected) = (command.caller.account, command.request(), command.expected_version);
    let UserRuling { status, grant, revoke, pardon, reason } = command.body;
    let all = |bodies: Vec<CapabilityBody>| bodies.into_iter().map(Capability::from).collect::<BTreeSet<_>>();
    let (grant, revoke) = (all(grant), all(revoke));
    if !grant.is_disjoint(&revoke) {
        return Err(Problem::invalid_field("/revoke", "either-or", "what is granted cannot be taken away with it"));
    }
    let key = PersonKey::load(&app.pool, &app.wrapping, account).await?;
    let key = key.ok_or_else(|| Problem::not_found("account"))?;
    let trade = status.map(|status| match status {
        UserStatus::Active => Trade::Allowed,
        UserStatus::Suspended => Trade::Suspended,
        UserStatus::Blocked => Trade::Blocked,
    });
    let other_admins = accounts::admins(&app.pool).await?;
    let ruling = Ruling { by, reason: key.seal(&reason), trade, grant, revoke, pardon, other_admins };
    let rule = move |world: &mut commands::World<'_>| {
        // A guest has a key as well, and no account.
        world.get::<Account>(account)?.registered().map_err(|_| domain::account::Error::NotFound)?;
        world.expect_version::<Account>(account, expected)?;
        commands::accounts::rule(world, account, &ruling)?;
        changed(world, account)
    };
    Ok(Done::ok(app.engine.submit(request, rule).await?))
}

/// The same as PATCH: what is not named stays.
#[utoipa::path(put, path = "/admin/users/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = Uuid, Path), Conditional), request_body = UserRuling,
    responses((status = OK, body = UserChanged, description = "Decided")))]
pub(super) async fn rule_by_put(
    state: State<App>,
    id: Id<AccountId>,
    command: Command<UserRuling>,
) -> Result<Done<UserChanged>, Problem> {
    rule(state, id, command).await
}
