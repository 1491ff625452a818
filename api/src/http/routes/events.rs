//! The history: what happened, in words and as it is stored, and what anything was at any moment.
//!
//! These routes read the log itself. Who may read what, [`projections::history`] tells: auditors everything that betrays
//! nobody, everybody else what concerns them.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use domain::Timestamp;
use domain::account::Capability;
use eventstore::event::known_type;
use eventstore::history::{self, Place, Search};
use eventstore::{Position, log, past};
use projections::history::{Actor, Eyes, Lens, Reader, Told, parties, tell};
use projections::page::PageError;
use projections::staff_acts;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::http::access;
use crate::http::as_of::{AsOf, TakesAsOf, check_times};
use crate::http::extract::{Caller, Ids, READ_PATIENCE, Read};
use crate::http::openapi::{Waits, words};
use crate::http::pages::{Cursor, Page, page_limit};
use crate::http::problem::Problem;

const TAG: &str = "History";
/// The longest name that is looked for, in characters.
const LONGEST_NAME: usize = 200;

/// The routes of this file.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(of_one))
}

words!(OrderName: "oldest", "newest");

/// Which events come first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Oldest,
    Newest,
}

/// Which events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Only about such things: `listing`, `order`, `account` and so on.
    #[serde(rename = "type")]
    #[param(max_length = 200, example = "auction")]
    aggregate_type: Option<String>,
    /// Only such events.
    #[param(max_length = 200, example = "BidPlaced")]
    event: Option<String>,
    /// Only what this actor did: the id of an account, `process:<name>`, `operator` or `anonymous`.
    #[param(max_length = 200)]
    actor: Option<String>,
    /// Only what this request led to, by its id.
    #[param(max_length = 200)]
    request: Option<String>,
    /// Not before then.
    #[param(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    from: Option<DateTime<Utc>>,
    /// Before then.
    #[param(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    until: Option<DateTime<Utc>>,
    /// What comes first; `oldest` unless told.
    #[serde(default)]
    #[param(inline, value_type = Option<OrderName>)]
    order: Order,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<LogCursor>>,
}

/// How far a search has come.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogCursor {
    position: u64,
    newest: bool,
}

/// Who did something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventActor)]
pub struct ActorBody {
    /// `account`; `someone`, an account that is not named here; `staff`; `process`, the marketplace by itself; `operator`, at
    /// its command line; or `anonymous`.
    #[schema(value_type = ActorKind, example = "account")]
    kind: &'static str,
    /// The account.
    account: Option<Uuid>,
    /// The name of the process, or what somebody is called in the history of this one thing.
    #[schema(example = "timers")]
    name: Option<String>,
    /// In which capacity, if it was no business of their own: `staff`, `admin`, `audit` or `operator`.
    capacity: Option<String>,
}

words!(ActorKind: "account", "someone", "staff", "process", "operator", "anonymous");

/// What led to an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventCause)]
pub struct CauseBody {
    /// The event or message that a process acted upon.
    event: Option<String>,
    /// The id of the request.
    request: Option<String>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventBody {
    /// Its place in the log.
    position: i64,
    /// The last position of the same commit.
    commit_position: i64,
    event_id: Uuid,
    /// To what kind of thing it happened.
    #[schema(example = "auction")]
    aggregate_type: String,
    /// To which.
    aggregate_id: Uuid,
    /// Its place in the history of that, from 1: the version of the thing after it.
    sequence: i64,
    #[schema(example = "BidPlaced")]
    event_type: String,
    /// The version of its format.
    #[schema(example = "1")]
    event_version: String,
    recorded_at: DateTime<Utc>,
    actor: ActorBody,
    cause: CauseBody,
    /// What happened, in a sentence.
    #[schema(example = "A bid was accepted: the price stands at 10.50 USD.")]
    change: String,
    /// What is stored of it. `(sealed)` stands for what only the key of a person opens, `(hidden)` for what the reader is not
    /// to know, and `someone-…` for an account that is not named to the reader.
    #[schema(value_type = Object)]
    payload: Value,
    /// What is not shown of the payload, as JSON pointers.
    #[schema(example = json!(["/BidPlaced/maximum"]))]
    redacted: Vec<String>,
}

/// Everything that happened, or some of it, for auditors. A page may hold less than asked for, even nothing, and go on all
/// the same: each looks through 50,000 positions at most.
#[utoipa::path(get, path = "/events", tag = TAG, security(("bearer" = ["audit"])),
    params(EventsQuery, Waits), responses((status = OK, body = Page<EventBody>, description = "A page")))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    read: Read<EventsQuery>,
) -> Result<Json<Page<EventBody>>, Problem> {
    wait_for_log(&app, read.min_position).await?;
    let EventsQuery { aggregate_type, event, actor, request, from, until, order, limit, cursor } = read.query;
    let limit = page_limit(limit)?;
    check_times([("?from", from), ("?until", until)])?;
    for (name, text) in [("?type", &aggregate_type), ("?event", &event), ("?actor", &actor), ("?request", &request)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > LONGEST_NAME) {
            let detail = format!("must be at most {LONGEST_NAME} characters");
            return Err(Problem::invalid_field(name, "invalid", detail));
        }
    }
    let mut connection = app.pool.acquire().await?;
    let mut search = Search {
        aggregate_type,
        event_type: event,
        actor: actor.map(|actor| actor.parse::<Uuid>().map_or(actor, |account| format!("account:{account}"))),
        correlation: request,
        after: before(&mut connection, from).await?.unwrap_or(0),
        upto: match before(&mut connection, until).await? {
            Some(upto) => upto,
            None => log::head(&mut *connection).await?,
        },
        newest_first: order == Order::Newest,
    };
    if let Some(Cursor(LogCursor { position, newest })) = cursor {
        if newest != search.newest_first {
            return Err(PageError::CursorOfAnotherSort.into());
        }
        let position = i64::try_from(position).unwrap_or(i64::MAX);
        if newest {
            search.upto = search.upto.min(position.saturating_sub(1));
        } else {
            search.after = search.after.max(position);
        }
    }
    let found = history::search(&mut *connection, &search, limit).await?;
    let reader = Reader { account: Some(caller.account), eyes: Eyes::Auditor };
    let told = tell(&mut connection, &app.wrapping, Some(&app.secret), &reader, &found.records).await?;
    let next = found.next.map(|next| LogCursor { position: next.unsigned_abs(), newest: search.newest_first });
    Page::of(projections::Page { items: told, next }, |told| Ok(event_body(told))).map(Json)
}

/// The last position before a time, if one is given.
async fn before(connection: &mut PgConnection, time: Option<Timestamp>) -> Result<Option<Position>, Problem> {
    let Some(time) = time else { return Ok(None) };
    // Times are stored to the microsecond.
    let last = time.checked_sub_signed(TimeDelta::microseconds(1)).unwrap_or(time);
    Ok(Some(past::reached_at(connection, last).await?))
}

/// Of which thing, and as of when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    /// As of this version of the thing, after so many of its events, instead of a position or a time.
    #[param(minimum = 1, maximum = 9_223_372_036_854_775_807_i64)]
    version: Option<i64>,
    /// How many, 20 unless told, 100 at most.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor<StreamCursor>>,
}

/// How far a page has come.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StreamCursor {
    sequence: u64,
}

/// A moment in the life of a thing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Moment)]
pub struct MomentBody {
    /// How many events there were.
    events: i64,
    /// The position of the last of them.
    last_position: i64,
    /// When that was recorded.
    recorded_at: DateTime<Utc>,
}

/// The history of one thing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = History)]
pub struct HistoryBody {
    #[schema(example = "auction")]
    aggregate_type: String,
    aggregate_id: Uuid,
    /// How far it is told: as of the moment that was asked for, or as of now.
    as_of: MomentBody,
    /// What the thing was then, by the rules of today, if a moment was asked for.
    #[schema(value_type = Option<Object>)]
    state: Option<Value>,
    /// What is not shown of the state, as JSON pointers.
    redacted: Vec<String>,
    /// What happened to it up to then, in order.
    items: Vec<EventBody>,
    /// Give it as `cursor`, with the same moment, to get the next page; none on the last.
    next_cursor: Option<String>,
}

/// What happened to one thing, in order; and with `as_of` or `version`, what it was at that moment. For auditors, and for
/// whom it concerns: of an order, an escrow or a chat both parties, of an auction its seller and bidders, of an account,
/// wallet, listing and so on its owner.
#[utoipa::path(get, path = "/events/{aggregate_type}/{id}", tag = TAG, security(("bearer" = [])),
    params(("aggregate_type" = String, Path, description = "What it is: `order`, `auction`, `wallet` and so on."),
        ("id" = Uuid, Path, description = "Which."), TakesAsOf, StreamQuery, Waits),
    responses((status = OK, body = HistoryBody, description = "Its history")))]
async fn of_one(
    State(app): State<App>,
    caller: Caller,
    Ids((aggregate_type, id)): Ids<(String, Uuid)>,
    asked: AsOf<StreamQuery>,
) -> Result<Json<HistoryBody>, Problem> {
    wait_for_log(&app, asked.read.min_position).await?;
    let found = asked.found(&app).await?;
    let StreamQuery { version, limit, cursor } = asked.read.query;
    let limit = page_limit(limit)?;
    let moment = Until::of(found.map(|found| found.position), version)?;
    let aggregate_type = known_type(&aggregate_type).ok_or_else(nothing)?;
    let is_auditor = access::may(&app, caller, Capability::Audit).await?;
    let mut connection = app.pool.acquire().await?;
    let eyes = if is_auditor {
        Eyes::Auditor
    } else {
        parties::eyes(&mut connection, aggregate_type, id, caller.account).await?.ok_or_else(nothing)?
    };
    let reader = Reader { account: Some(caller.account), eyes };
    let place = moment.place(&mut connection, aggregate_type, id).await?;
    let after = cursor.map_or(0, |Cursor(StreamCursor { sequence })| i64::try_from(sequence).unwrap_or(i64::MAX));
    let events = history::of_stream(&mut *connection, aggregate_type, id, after, place.sequence, limit).await?;
    let last = events.last().map(|last| last.sequence).filter(|last| *last < place.sequence);
    let told = tell(&mut connection, &app.wrapping, Some(&app.secret), &reader, &events).await?;
    // Others need it while this one waits for a place.
    drop(connection);
    let state = match moment {
        Until::Now => None,
        Until::Version(_) | Until::Position(_) => {
            let state = app.past.state(caller.account, aggregate_type, id, place.sequence).await?;
            let mut connection = app.pool.acquire().await?;
            let lens = Lens::upon(&mut connection, &app.wrapping, Some(&app.secret), &reader, &[id], &[&state]).await?;
            Some(lens.redact(aggregate_type, id, in_full(state)))
        }
    };
    let next = last.map(|last| StreamCursor { sequence: last.unsigned_abs() });
    let page = Page::of(projections::Page { items: told, next }, |told| Ok(event_body(told)))?;
    let (state, redacted) = state.map(|state| (state.value, state.hidden)).unzip();
    Ok(Json(HistoryBody {
        aggregate_type: aggregate_type.to_owned(),
        aggregate_id: id,
        as_of: MomentBody { events: place.sequence, last_position: place.position, recorded_at: place.recorded_at },
        state,
        redacted: redacted.unwrap_or_default(),
        items: page.items,
        next_cursor: page.next_cursor,
    }))
}

fn nothing() -> Problem {
    Problem::not_found("history")
}

/// Waits until the log has this position, as for a read model: whichever node has committed it, the log is one.
async fn wait_for_log(app: &App, min_position: Option<Position>) -> Result<(), Problem> {
    let Some(wanted) = min_position else { return Ok(()) };
    if log::head(&app.pool).await? >= wanted {
        return Ok(());
    }
    let came = app.progress.wait_for(staff_acts::MODEL.name, wanted, READ_PATIENCE).await;
    // The follower may be behind, or parked, where the log is not.
    if log::head(&app.pool).await? < wanted {
        came?;
    }
    Ok(())
}

/// A moment that somebody asks about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Until {
    Now,
    Version(i64),
    /// The end of a unit of work.
    Position(Position),
}

impl Until {
    fn of(position: Option<Position>, version: Option<i64>) -> Result<Self, Problem> {
        match (position, version) {
            (None, None) => Ok(Self::Now),
            (None, Some(version)) if version < 1 => {
                Err(Problem::invalid_field("?version", "out-of-range", "must be 1 or more"))
            }
            (None, Some(version)) => Ok(Self::Version(version)),
            (Some(position), None) => Ok(Self::Position(position)),
            (Some(_), Some(_)) => {
                Err(Problem::invalid_field("?version", "either-or", "take as_of or version, not both"))
            }
        }
    }

    /// Where the stream was at this moment; a problem if it was not there.
    async fn place(self, connection: &mut PgConnection, aggregate_type: &str, id: Uuid) -> Result<Place, Problem> {
        let place = match self {
            Self::Now => history::last_place(connection, aggregate_type, id).await?,
            Self::Version(version) => match history::place(&mut *connection, aggregate_type, id, version).await? {
                Some(place) => Some(place),
                // Of what is not there at all, the answer is the same whichever version is asked for.
                None if history::last_place(connection, aggregate_type, id).await?.is_some() => {
                    return Err(Problem::invalid_field("?version", "too-far", "it has not so many events"));
                }
                None => None,
            },
            Self::Position(position) => history::place_at(connection, aggregate_type, id, position).await?,
        };
        place.ok_or_else(nothing)
    }
}

/// A state with nothing in it but its name has no fields: `{"Erased": {}}` instead of `"Erased"`.
fn in_full(state: Value) -> Value {
    match state {
        Value::String(name) => Value::Object([(name, Value::Object(Map::new()))].into_iter().collect()),
        state => state,
    }
}

fn event_body(told: Told) -> EventBody {
    let Told { position, commit_position, event_id, aggregate_type, aggregate_id, sequence, .. } = told;
    let (kind, account, name) = match told.actor {
        Actor::Account(account) => ("account", Some(account), None),
        Actor::Somebody(name) => ("someone", None, Some(name)),
        Actor::Staff => ("staff", None, None),
        Actor::Process(name) => ("process", None, Some(name)),
        Actor::Operator => ("operator", None, None),
        Actor::Anonymous => ("anonymous", None, None),
    };
    EventBody {
        position,
        commit_position,
        event_id,
        aggregate_type,
        aggregate_id,
        sequence,
        event_type: told.event_type,
        event_version: told.event_version,
        recorded_at: told.recorded_at,
        actor: ActorBody { kind, account, name, capacity: told.capacity },
        cause: CauseBody { event: told.causation, request: told.correlation },
        change: told.change,
        payload: told.payload.value,
        redacted: told.payload.hidden,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_is_an_object_whatever_is_in_it() {
        assert_eq!(in_full(json!("Erased")), json!({ "Erased": {} }));
        assert_eq!(in_full(json!({ "Live": { "bids": 1 } })), json!({ "Live": { "bids": 1 } }));
    }

    #[test]
    fn a_moment_is_named_in_one_way() {
        assert_eq!(Until::of(None, None).ok(), Some(Until::Now));
        assert_eq!(Until::of(None, Some(3)).ok(), Some(Until::Version(3)));
        assert_eq!(Until::of(Some(42), None).ok(), Some(Until::Position(42)));
        assert!(Until::of(None, Some(0)).is_err() && Until::of(Some(1), Some(1)).is_err());
    }
}
