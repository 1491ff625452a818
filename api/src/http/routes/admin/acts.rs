//! The record of what staff have done.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use projections::accounts;
use projections::staff_acts::{self, Change, Step, Told};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::TAG;
use crate::app::App;
use crate::http::as_of::check_times;
use crate::http::extract::Read;
use crate::http::openapi::{Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;

/// Which acts to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ActsQuery {
    /// Only of this account.
    actor: Option<Uuid>,
    /// Only in this capacity.
    #[param(inline, value_type = Option<CapacityName>)]
    capacity: Option<CapacityWord>,
    /// Only what has happened to the thing with this id: a listing, an order, an account and so on.
    subject: Option<Uuid>,
    /// Only what has happened to such a thing: `listing`, `order`, `account` and so on.
    kind: Option<String>,
    /// Only in which this happened: an event such as `ListingRemoved`.
    action: Option<String>,
    /// Not before then.
    #[param(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    from: Option<DateTime<Utc>>,
    /// Before then.
    #[param(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    until: Option<DateTime<Utc>>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<staff_acts::Cursor>>,
}

words!(CapacityName: "staff", "admin", "audit", "operator");

/// In which capacity somebody has acted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CapacityWord {
    Staff,
    Admin,
    Audit,
    Operator,
}

impl CapacityWord {
    fn name(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Admin => "admin",
            Self::Audit => "audit",
            Self::Operator => "operator",
        }
    }
}

/// Something that somebody of the staff has done.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActBody {
    /// The position in the log of the last event of it.
    id: i64,
    at: DateTime<Utc>,
    /// Who; nobody for an operator at the command line of the server.
    actor: Option<Uuid>,
    /// The public name of whoever that is now.
    actor_name: Option<String>,
    /// `staff`, `admin`, `audit` or `operator`.
    #[schema(example = "staff")]
    capacity: String,
    /// What happened: the first event of it.
    #[schema(example = "ListingRemoved")]
    action: String,
    /// To what.
    subject: ActSubject,
    /// Why, if that was said and whose words they are is not forgotten.
    reason: Option<String>,
    /// The id of the request.
    request_id: Option<String>,
    /// Everything that has changed with it.
    changes: Vec<ActChange>,
}

/// A thing.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActSubject {
    #[schema(example = "listing")]
    kind: String,
    id: Uuid,
}

/// What has changed of a thing. Sealed fields are not opened, long texts are cut; and of wallets, stock, points, claims and
/// sessions, and of what has more than 500 events behind it, it is told only that something happened to them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActChange {
    #[schema(example = "listing")]
    kind: String,
    id: Uuid,
    /// What happened to it, in order.
    #[schema(example = json!(["ListingRemoved"]))]
    events: Vec<String>,
    /// What was so before.
    #[schema(value_type = Object, example = json!({ "state": "Active" }))]
    before: Value,
    /// What is so since.
    #[schema(value_type = Object, example = json!({ "state": "Removed" }))]
    after: Value,
}

/// Everything that staff, administrators and operators have done in that capacity, the newest first: who, when, why, to
/// what, and what was before and after.
#[utoipa::path(get, path = "/admin/audit-logs", tag = TAG, security(("bearer" = ["staff"])),
    params(ActsQuery, Waits), responses((status = OK, body = Page<ActBody>, description = "A page")))]
pub(super) async fn list(State(app): State<App>, read: Read<ActsQuery>) -> Result<Json<Page<ActBody>>, Problem> {
    read.wait_for(&app, staff_acts::MODEL.name).await?;
    let ActsQuery { actor, capacity, subject, kind, action, from, until, limit, cursor } = read.query;
    check_times([("?from", from), ("?until", until)])?;
    let limit = page_limit(limit)?;
    let filter = staff_acts::Filter {
        actor,
        capacity: capacity.map(|capacity| capacity.name().to_owned()),
        subject,
        subject_type: kind,
        event_type: action,
        from,
        until,
    };
    let mut connection = app.pool.acquire().await?;
    let page = staff_acts::page(&mut connection, &filter, cursor.map(|cursor| cursor.0), limit).await?;
    let told = staff_acts::tell(&mut connection, &app.wrapping, &page.items).await?;
    let actors: Vec<Uuid> = page.items.iter().flatten().filter_map(|step| step.actor).collect();
    let names = accounts::names(&mut *connection, &actors).await?;
    let items = page.items.into_iter().zip(told).filter_map(|(steps, told)| body(&steps, told, &names));
    let page = projections::Page { items: items.collect(), next: page.next };
    Page::of(page, Ok).map(Json)
}

/// An act; nothing of one without steps, which none is.
fn body(steps: &[Step], told: Told, names: &HashMap<Uuid, String>) -> Option<ActBody> {
    let first = steps.first()?;
    let Told { reason, request, changes } = told;
    Some(ActBody {
        id: first.unit,
        at: first.recorded_at,
        actor: first.actor,
        actor_name: first.actor.and_then(|actor| names.get(&actor).cloned()),
        capacity: first.capacity.clone(),
        action: first.event_type.clone(),
        subject: ActSubject { kind: first.aggregate_type.clone(), id: first.aggregate_id },
        reason,
        request_id: request,
        changes: changes.into_iter().map(change).collect(),
    })
}

fn change(change: Change) -> ActChange {
    let Change { aggregate_type, aggregate_id, events, before, after } = change;
    ActChange { kind: aggregate_type, id: aggregate_id, events, before, after }
}
