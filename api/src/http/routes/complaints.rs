//! Complaints: what parties of orders tell staff, and what comes of it.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::World;
use commands::complaints;
use domain::complaint::{Complaint, LONGEST_TEXT, Outcome, Subject};
use domain::ruling::Ruling;
use domain::{ComplaintId, OrderId};
use garde::Validate;
use projections::past::Question;
use projections::reports as read_model;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::orders::require_party;
use super::reports::{QueueSort, ReportStatus, TAG};
use super::reviews::key_of;
use crate::app::App;
use crate::http::as_of::{AsOf, Look, TakesAsOf};
use crate::http::extract::{Caller, Command, Creation, Id, NoQuery, Read};
use crate::http::openapi::{Conditional, Keyed, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::{Done, One};

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, file))
        .routes(routes!(show))
        .routes(routes!(list_all))
        .routes(routes!(resolve))
}

words!(ComplaintSubject: "not_received", "not_as_described", "damaged", "counterfeit", "payment", "conduct", "other");
words!(ComplaintOutcome: "dismissed", "settled", "refunded", "account_warned", "account_blocked");

/// What is wrong with an order.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewComplaint {
    /// One that one has bought or sold.
    order_id: Uuid,
    #[schema(value_type = ComplaintSubject, example = "damaged")]
    subject: Subject,
    /// Shown to both parties of the order and to staff.
    #[garde(length(chars, min = 1, max = LONGEST_TEXT))]
    #[schema(example = "The glass is broken.", min_length = 1, max_length = 4_000)]
    text: String,
}

/// What a command has done to a complaint.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct ComplaintChanged {
    id: Uuid,
    /// What has come of it, once staff have decided.
    #[schema(value_type = Option<ComplaintOutcome>)]
    outcome: Option<Outcome>,
    /// For `If-Match`.
    version: u64,
}

fn changed(world: &mut World<'_>, complaint: ComplaintId) -> Result<ComplaintChanged, commands::Halt> {
    let version = world.version::<Complaint>(complaint)?;
    Ok(ComplaintChanged { id: complaint.0, outcome: world.get::<Complaint>(complaint)?.outcome(), version })
}

/// Tells staff what is wrong with an order, as its buyer or its seller. It moves no money: that is what a dispute is for.
/// Each party may have one that staff have not decided on yet.
#[utoipa::path(post, path = "/complaints", tag = TAG, security(("bearer" = [])), request_body = NewComplaint,
    params(Keyed), responses((status = CREATED, body = ComplaintChanged, description = "Staff are told"),
        (status = NOT_FOUND, description = "There is no such order, or it is not the caller's")))]
async fn file(
    State(app): State<App>,
    Creation(command): Creation<NewComplaint>,
) -> Result<Done<ComplaintChanged>, Problem> {
    let (complainant, order) = (command.caller.account, OrderId(command.body.order_id));
    let (subject, text) = (command.body.subject, key_of(&app, complainant).await?.seal(&command.body.text));
    let file = move |world: &mut World<'_>| {
        let complaint = complaints::file(world, order, complainant, subject, &text)?;
        changed(world, complaint)
    };
    let accepted = app.engine.submit(command.request(), file).await?;
    let ComplaintChanged { id, version, .. } = accepted.value;
    Ok(Done::created(accepted, format!("/api/v1/complaints/{id}")).at_version(version))
}

/// A complaint.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComplaintBody {
    id: Uuid,
    order_id: Uuid,
    complainant_id: Uuid,
    /// The other party of the order.
    against_id: Uuid,
    #[schema(value_type = ComplaintSubject, example = "damaged")]
    subject: Subject,
    /// Nothing once whoever has complained is forgotten.
    text: Option<String>,
    filed_at: DateTime<Utc>,
    #[schema(value_type = ReportStatus, example = "open")]
    status: read_model::Status,
    /// What has come of it.
    #[schema(value_type = Option<ComplaintOutcome>, example = "settled")]
    outcome: Option<Outcome>,
    /// Why.
    resolution: Option<String>,
    resolved_at: Option<DateTime<Utc>>,
    /// For `If-Match`.
    version: u64,
}

fn body(row: read_model::Complained) -> ComplaintBody {
    ComplaintBody {
        id: row.id,
        order_id: row.order_id,
        complainant_id: row.complainant_id,
        against_id: row.against_id,
        subject: row.subject.0,
        text: row.text,
        filed_at: row.filed_at,
        status: row.end.status,
        outcome: row.end.outcome.map(|outcome| outcome.0),
        resolution: row.end.resolution,
        resolved_at: row.end.resolved_at,
        version: row.version.unsigned_abs(),
    }
}

/// Which of the complaints about one's orders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OwnComplaintsQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<read_model::Cursor>>,
}

/// Complaints about what one has bought or sold, whichever party has made them, newest first.
#[utoipa::path(get, path = "/complaints", tag = TAG, security(("bearer" = [])), params(OwnComplaintsQuery, Waits),
    responses((status = OK, body = Page<ComplaintBody>, description = "A page")))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    read: Read<OwnComplaintsQuery>,
) -> Result<Json<Page<ComplaintBody>>, Problem> {
    read.wait_for(&app, read_model::MODEL.name).await?;
    let OwnComplaintsQuery { limit, cursor } = read.query;
    let cursor = cursor.map(|cursor| cursor.0);
    let page = read_model::complaints_of(&app.pool, caller.account, cursor, page_limit(limit)?).await?;
    Page::of(page, |row| Ok(body(row))).map(Json)
}

/// A complaint, for both parties of the order and staff.
#[utoipa::path(get, path = "/complaints/{id}", tag = TAG, security(("bearer" = [])),
    params(("id" = Uuid, Path), TakesAsOf, Waits),
    responses((status = OK, body = ComplaintBody, description = "The complaint")))]
async fn show(
    State(app): State<App>,
    Id(complaint): Id<ComplaintId>,
    caller: Caller,
    read: AsOf<NoQuery>,
) -> Result<One<ComplaintBody>, Problem> {
    read.wait_for(&app, read_model::MODEL.name).await?;
    let app = &app;
    let shown = |mut look: Look| async move {
        let row = read_model::complaint(&mut look.view, complaint).await?;
        let row = row.ok_or_else(|| Problem::not_found("complaint"))?;
        require_party(app, caller, &[row.complainant_id, row.against_id], "complaint").await?;
        let (version, position) = (row.version.unsigned_abs(), row.position);
        Ok(One { body: body(row), version, position })
    };
    read.answer(app, Question::Complaint(complaint), shown).await
}

/// Which complaints to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ComplaintsQuery {
    /// All unless told; `open` is what waits for staff.
    #[param(inline, value_type = Option<ReportStatus>)]
    status: Option<read_model::Status>,
    /// `newest` unless told, or `oldest`.
    #[param(inline, value_type = Option<QueueSort>)]
    sort: Option<read_model::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<read_model::Cursor>>,
}

/// All complaints, for staff to decide.
#[utoipa::path(get, path = "/admin/complaints", tag = TAG, security(("bearer" = ["staff"])),
    params(ComplaintsQuery, Waits), responses((status = OK, body = Page<ComplaintBody>, description = "A page")))]
async fn list_all(State(app): State<App>, read: Read<ComplaintsQuery>) -> Result<Json<Page<ComplaintBody>>, Problem> {
    read.wait_for(&app, read_model::MODEL.name).await?;
    let ComplaintsQuery { status, sort, limit, cursor } = read.query;
    let (sort, cursor) = (sort.unwrap_or_default(), cursor.map(|cursor| cursor.0));
    let page = read_model::complaints(&app.pool, status, sort, cursor, page_limit(limit)?).await?;
    Page::of(page, |row| Ok(body(row))).map(Json)
}

/// What staff decide on a complaint.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct ComplaintDecision {
    /// `refunded` is taken only if money of the order went back, and `account_blocked` only if the other party cannot trade
    /// any more; whoever is `account_warned` is told so, and the others do nothing by themselves.
    #[schema(value_type = ComplaintOutcome, example = "settled")]
    outcome: Outcome,
    /// Why, which both parties are told.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(example = "You have come to terms.", min_length = 1, max_length = 1000)]
    reason: String,
}

/// Decides on a complaint, or decides otherwise. Nobody decides on an order of their own.
#[utoipa::path(patch, path = "/admin/complaints/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = Uuid, Path), Conditional), request_body = ComplaintDecision,
    responses((status = OK, body = ComplaintChanged, description = "Decided")))]
async fn resolve(
    State(app): State<App>,
    Id(complaint): Id<ComplaintId>,
    command: Command<ComplaintDecision>,
) -> Result<Done<ComplaintChanged>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let ComplaintDecision { outcome, reason } = command.body.clone();
    let ruling = Ruling { by, reason: key_of(&app, by).await?.seal(&reason) };
    let request = command.request_because(&app, Some(&reason)).await?;
    let resolve = move |world: &mut World<'_>| {
        world.get::<Complaint>(complaint)?.filed()?;
        world.expect_version::<Complaint>(complaint, expected)?;
        complaints::resolve(world, complaint, outcome, &ruling)?;
        changed(world, complaint)
    };
    Ok(Done::ok(app.engine.submit(request, resolve).await?))
}
