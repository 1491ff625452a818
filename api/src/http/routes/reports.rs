//! Reports: what somebody says should not be here, and what staff do about it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::World;
use commands::reports::{self, Told};
use domain::report::{Error, LONGEST_TEXT, Outcome, Reason, Report, Target};
use domain::ruling::Ruling;
use domain::{AccountId, ChatId, ListingId, MessageId, Refusal, ReportId, ReviewId};
use futures::future;
use garde::Validate;
use projections::{chats, reports as read_model};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::reviews::key_of;
use crate::app::App;
use crate::http::extract::{Caller, Command, Creation, Id, Read};
use crate::http::openapi::{Conditional, Keyed, Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;
use crate::http::reply::Done;

pub(super) const TAG: &str = "Reports and complaints";

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, file)).routes(routes!(mine)).routes(routes!(resolve, resolve_by_put))
}

words!(ReportTarget: "listing", "user", "message", "review");
words!(ReportReason: "spam", "fraud", "counterfeit", "prohibited", "abuse", "indecent", "privacy", "other");
words!(ReportOutcome: "dismissed", "listing_removed", "review_hidden", "account_warned", "account_blocked");
words!(ReportStatus: "open", "resolved");
words!(QueueSort: "newest", "oldest");

/// What kind of thing is reported.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Listing,
    User,
    Message,
    Review,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::User => "user",
            Self::Message => "message",
            Self::Review => "review",
        }
    }
}

/// What should not be here.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NewReport {
    /// What kind of thing it is.
    #[schema(value_type = ReportTarget, example = "listing")]
    kind: Kind,
    /// Which.
    id: Uuid,
    /// In which chat a `message` is, and nothing else.
    chat_id: Option<Uuid>,
    /// What is wrong with it.
    #[schema(value_type = ReportReason, example = "counterfeit")]
    reason: Reason,
    #[garde(length(chars, min = 1, max = LONGEST_TEXT))]
    #[schema(example = "The logo is upside down.", min_length = 1, max_length = 2_000)]
    text: Option<String>,
}

impl NewReport {
    fn target(&self) -> Result<Target, Problem> {
        let id = self.id;
        match (self.kind, self.chat_id) {
            (Kind::Listing, None) => Ok(Target::Listing(ListingId(id))),
            (Kind::User, None) => Ok(Target::User(AccountId(id))),
            (Kind::Review, None) => Ok(Target::Review(ReviewId(id))),
            (Kind::Message, Some(chat)) => Ok(Target::Message { chat: ChatId(chat), message: MessageId(id) }),
            (Kind::Message, None) => Err(Problem::invalid_field("/chat_id", "missing", "a message is in a chat")),
            (Kind::Listing | Kind::User | Kind::Review, Some(_)) => {
                Err(Problem::invalid_field("/chat_id", "unexpected", "only a message is in a chat"))
            }
        }
    }
}

/// What a command has done to a report.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
pub struct ReportChanged {
    id: Uuid,
    /// What it has led to, once staff have decided.
    #[schema(value_type = Option<ReportOutcome>)]
    outcome: Option<Outcome>,
    /// For `If-Match`.
    version: u64,
}

fn changed(world: &mut World<'_>, report: ReportId) -> Result<ReportChanged, commands::Halt> {
    let version = world.version::<Report>(report)?;
    Ok(ReportChanged { id: report.0, outcome: world.get::<Report>(report)?.outcome(), version })
}

/// Tells staff of a listing, a person, a message or a review that should not be here. What was reported is not reported
/// again before staff have decided; there is a most for each day.
#[utoipa::path(post, path = "/reports", tag = TAG, security(("bearer" = [])), request_body = NewReport, params(Keyed),
    responses((status = CREATED, body = ReportChanged, description = "Staff are told; Location is that of one's own"),
        (status = NOT_FOUND, description = "There is no such thing, or it is not the caller's to see")))]
async fn file(State(app): State<App>, Creation(command): Creation<NewReport>) -> Result<Done<ReportChanged>, Problem> {
    let (reporter, most) = (command.caller.account, app.settings.reports.per_day);
    let target = command.body.target()?;
    if let Target::Message { chat, message } = target {
        require_message(&app, reporter, chat, message).await?;
    }
    let key = key_of(&app, reporter).await?;
    let text = command.body.text.as_ref().map(|text| key.seal(text));
    let told = Told { target, reason: command.body.reason, text };
    let file = move |world: &mut World<'_>| {
        let report = reports::file(world, reporter, &told, most)?;
        changed(world, report)
    };
    Ok(Done::created(app.engine.submit(command.request(), file).await?, "/api/v1/reports/mine".to_owned()))
}

/// Refuses unless this was written in this chat, and by the other party. Who may see the chat, the decision tells.
async fn require_message(
    app: &App,
    reporter: AccountId,
    ChatId(chat): ChatId,
    message: MessageId,
) -> Result<(), Problem> {
    let written = chats::message(&app.pool, message).await?.filter(|written| written.chat_id == chat);
    let written = written.ok_or_else(|| Problem::not_found("message"))?;
    if written.account_id == reporter.0 { Err(Refusal::from(Error::OwnThing).into()) } else { Ok(()) }
}

/// A report as staff see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReportBody {
    #[serde(flatten)]
    report: OwnReport,
    reporter_id: Uuid,
    /// Whose the thing is.
    about_id: Uuid,
    /// What a message says that was reported; nothing once its author is forgotten.
    message: Option<String>,
    /// Who has decided.
    resolved_by: Option<Uuid>,
}

/// A report as whoever has made it sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnReport {
    id: Uuid,
    /// What kind of thing it is about.
    #[schema(value_type = ReportTarget, example = "listing")]
    kind: String,
    /// Which.
    target_id: Uuid,
    /// In which chat a message is.
    chat_id: Option<Uuid>,
    #[schema(value_type = ReportReason, example = "counterfeit")]
    reason: Reason,
    text: Option<String>,
    filed_at: DateTime<Utc>,
    #[schema(value_type = ReportStatus, example = "open")]
    status: read_model::Status,
    /// What it has led to.
    #[schema(value_type = Option<ReportOutcome>, example = "listing_removed")]
    outcome: Option<Outcome>,
    /// Why.
    resolution: Option<String>,
    resolved_at: Option<DateTime<Utc>>,
    /// For `If-Match`.
    version: u64,
}

fn own(row: read_model::Reported) -> OwnReport {
    OwnReport {
        id: row.id,
        kind: row.target_kind,
        target_id: row.target_id,
        chat_id: row.chat_id,
        reason: row.reason.0,
        text: row.text,
        filed_at: row.filed_at,
        status: row.end.status,
        outcome: row.end.outcome.map(|outcome| outcome.0),
        resolution: row.end.resolution,
        resolved_at: row.end.resolved_at,
        version: row.version.unsigned_abs(),
    }
}

fn body(row: read_model::Reported, message: Option<String>) -> ReportBody {
    let (reporter_id, about_id, resolved_by) = (row.reporter_id, row.about_id, row.end.resolved_by);
    ReportBody { report: own(row), reporter_id, about_id, message, resolved_by }
}

/// What the messages say that were reported, by their ids.
async fn messages(app: &App, reports: &[read_model::Reported]) -> Result<HashMap<Uuid, String>, Problem> {
    let ids = reports.iter().filter(|report| report.chat_id.is_some()).map(|report| MessageId(report.target_id));
    let written = future::try_join_all(ids.map(|message| chats::message(&app.pool, message))).await?;
    let said = written.into_iter().flatten().filter_map(|message| message.message_id.zip(message.body));
    Ok(said.collect())
}

/// Which reports to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReportsQuery {
    /// All unless told; `open` is what waits for staff.
    #[param(inline, value_type = Option<ReportStatus>)]
    status: Option<read_model::Status>,
    /// Of this kind of thing.
    #[param(inline, value_type = Option<ReportTarget>)]
    kind: Option<Kind>,
    /// Of what is this account's.
    about: Option<Uuid>,
    /// By this account.
    reporter: Option<Uuid>,
    /// `newest` unless told, or `oldest`.
    #[param(inline, value_type = Option<QueueSort>)]
    sort: Option<read_model::Sort>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<read_model::Cursor>>,
}

/// What staff were told, for them to decide.
#[utoipa::path(get, path = "/reports", tag = TAG, security(("bearer" = ["staff"])), params(ReportsQuery, Waits),
    responses((status = OK, body = Page<ReportBody>, description = "A page")))]
async fn list(State(app): State<App>, read: Read<ReportsQuery>) -> Result<Json<Page<ReportBody>>, Problem> {
    read.wait_for(&app, read_model::MODEL.name).await?;
    read.wait_for(&app, chats::MODEL.name).await?;
    let ReportsQuery { status, kind, about, reporter, sort, limit, cursor } = read.query;
    let filter = read_model::ReportFilter {
        status,
        kind: kind.map(|kind| kind.name().to_owned()),
        reporter: reporter.map(AccountId),
        about: about.map(AccountId),
    };
    let (sort, cursor) = (sort.unwrap_or_default(), cursor.map(|cursor| cursor.0));
    let page = read_model::page(&app.pool, &filter, sort, cursor, page_limit(limit)?).await?;
    let mut said = messages(&app, &page.items).await?;
    let shown = Page::of(page, |row| {
        let message = said.remove(&row.target_id);
        Ok(body(row, message))
    });
    shown.map(Json)
}

/// Which of one's reports to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct MineQuery {
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<read_model::Cursor>>,
}

/// What one has told staff, newest first, and what it has led to.
#[utoipa::path(get, path = "/reports/mine", tag = TAG, security(("bearer" = [])), params(MineQuery, Waits),
    responses((status = OK, body = Page<OwnReport>, description = "A page")))]
async fn mine(State(app): State<App>, caller: Caller, read: Read<MineQuery>) -> Result<Json<Page<OwnReport>>, Problem> {
    read.wait_for(&app, read_model::MODEL.name).await?;
    let MineQuery { limit, cursor } = read.query;
    let filter = read_model::ReportFilter { reporter: Some(caller.account), ..read_model::ReportFilter::default() };
    let (sort, cursor) = (read_model::Sort::Newest, cursor.map(|cursor| cursor.0));
    let page = read_model::page(&app.pool, &filter, sort, cursor, page_limit(limit)?).await?;
    Page::of(page, |row| Ok(own(row))).map(Json)
}

/// What staff decide on a report.
#[derive(Clone, Debug, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct ReportDecision {
    /// `listing_removed` takes the listing away and `review_hidden` shows the review to nobody, in the same step;
    /// `account_blocked` is taken only if whose it is cannot trade any more; `account_warned` and `dismissed` do nothing
    /// by themselves. Another outcome than `review_hidden` shows the review again that this report had hidden.
    #[schema(value_type = ReportOutcome, example = "listing_removed")]
    outcome: Outcome,
    /// Why, which whoever has reported it is told, and the seller of a listing that is taken away.
    #[garde(length(chars, min = 1, max = 1000))]
    #[schema(example = "A counterfeit.", min_length = 1, max_length = 1000)]
    reason: String,
}

/// Decides on a report, or decides otherwise. Nobody decides on what they have reported themselves, or on what is theirs.
#[utoipa::path(patch, path = "/reports/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = Uuid, Path), Conditional), request_body = ReportDecision,
    responses((status = OK, body = ReportChanged, description = "Decided")))]
async fn resolve(
    State(app): State<App>,
    Id(report): Id<ReportId>,
    command: Command<ReportDecision>,
) -> Result<Done<ReportChanged>, Problem> {
    let (by, expected) = (command.caller.account, command.expected_version);
    let ReportDecision { outcome, reason } = command.body.clone();
    let ruling = Ruling { by, reason: key_of(&app, by).await?.seal(&reason) };
    let request = command.request_because(&app, Some(&reason)).await?;
    let resolve = move |world: &mut World<'_>| {
        world.get::<Report>(report)?.filed()?;
        world.expect_version::<Report>(report, expected)?;
        reports::resolve(world, report, outcome, &ruling, &reason)?;
        changed(world, report)
    };
    Ok(Done::ok(app.engine.submit(request, resolve).await?))
}

/// The same as PATCH.
#[utoipa::path(put, path = "/reports/{id}", tag = TAG, security(("bearer" = ["staff"])),
    params(("id" = Uuid, Path), Conditional), request_body = ReportDecision,
    responses((status = OK, body = ReportChanged, description = "Decided")))]
async fn resolve_by_put(
    state: State<App>,
    id: Id<ReportId>,
    command: Command<ReportDecision>,
) -> Result<Done<ReportChanged>, Problem> {
    resolve(state, id, command).await
}
