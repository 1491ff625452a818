//! The log as a history: looked through by what one wants to know, and the state of anything as of any moment.
//!
//! No index serves these questions, since every append would pay for it: a search reads a bounded stretch of the log at a
//! time and says where to go on, and a moment is found by bisection, for positions, sequences and times all grow together
//! (no event is recorded at an earlier time than the one before it).

use domain::{Aggregate, Timestamp};
use futures::TryStreamExt;
use serde_json::Value;
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use thiserror::Error;
use uuid::Uuid;

use crate::Position;
use crate::records::{COLUMNS, Record};

/// How many positions one search looks at, at most.
pub const STRETCH: i64 = 50_000;
/// How many events one state is folded from, at most, beyond those that a snapshot spares.
pub const LONGEST_FOLD: i64 = 100_000;

/// Which events are looked for: those that are all of this.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// About this kind of aggregate.
    pub aggregate_type: Option<String>,
    /// Of this type.
    pub event_type: Option<String>,
    /// Caused by this actor, as metadata name it: `account:<id>`, `process:<name>`, `operator` or `anonymous`.
    pub actor: Option<String>,
    /// Caused by this request.
    pub correlation: Option<String>,
    /// After this position.
    pub after: Position,
    /// Up to and including this one.
    pub upto: Position,
    /// Whether the newest come first.
    pub newest_first: bool,
}

/// What a search has found in its stretch.
#[derive(Debug)]
pub struct Found {
    /// The events, in the order that was asked for.
    pub records: Vec<Record>,
    /// The last position that was looked at, if there are more: the search goes on after it, or before it where the newest
    /// come first.
    pub next: Option<Position>,
}

/// Looks through one stretch for at most `limit` events.
pub async fn search(executor: impl PgExecutor<'_>, search: &Search, limit: u32) -> Result<Found, sqlx::Error> {
    let Search { after, upto, newest_first, .. } = *search;
    let (after, upto) = if newest_first {
        (after.max(upto.saturating_sub(STRETCH)), upto)
    } else {
        (after, upto.min(after.saturating_add(STRETCH)))
    };
    let mut query = QueryBuilder::new(COLUMNS);
    query.push(" where position > ").push_bind(after).push(" and position <= ").push_bind(upto);
    if let Some(aggregate_type) = &search.aggregate_type {
        query.push(" and aggregate_type = ").push_bind(aggregate_type);
    }
    if let Some(event_type) = &search.event_type {
        query.push(" and event_type = ").push_bind(event_type);
    }
    if let Some(actor) = &search.actor {
        query.push(" and metadata ->> 'actor' = ").push_bind(actor);
    }
    if let Some(correlation) = &search.correlation {
        query.push(" and metadata ->> 'correlation' = ").push_bind(correlation);
    }
    query.push(if newest_first { " order by position desc limit " } else { " order by position limit " });
    query.push_bind(i64::from(limit));
    let records: Vec<Record> = query.build_query_as().fetch_all(executor).await?;
    let full = u32::try_from(records.len()).is_ok_and(|found| found >= limit);
    let seen = match records.last().filter(|_| full) {
        Some(last) => last.position,
        // The last that was looked at is the first of a stretch that was read backwards.
        None if newest_first => after + 1,
        None => upto,
    };
    let more = if newest_first { seen > search.after + 1 } else { seen < search.upto };
    Ok(Found { records, next: more.then_some(seen) })
}

/// A place in a stream.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct Place {
    /// How many events there are up to it.
    pub sequence: i64,
    /// The position of the last of them.
    pub position: Position,
    /// When that was recorded.
    pub recorded_at: Timestamp,
}

/// The place of an event in its stream; nothing if there is no such event.
pub async fn place(
    executor: impl PgExecutor<'_>,
    aggregate_type: &str,
    id: Uuid,
    sequence: i64,
) -> Result<Option<Place>, sqlx::Error> {
    sqlx::query_as(
        "select sequence, position, recorded_at from public.events
         where aggregate_type = $1 and aggregate_id = $2 and sequence = $3",
    )
    .bind(aggregate_type)
    .bind(id.to_string())
    .bind(sequence)
    .fetch_optional(executor)
    .await
}

/// The last event of a stream; nothing if it has none.
pub async fn last_place(
    executor: impl PgExecutor<'_>,
    aggregate_type: &str,
    id: Uuid,
) -> Result<Option<Place>, sqlx::Error> {
    sqlx::query_as(
        "select sequence, position, recorded_at from public.events
         where aggregate_type = $1 and aggregate_id = $2 order by sequence desc limit 1",
    )
    .bind(aggregate_type)
    .bind(id.to_string())
    .fetch_optional(executor)
    .await
}

/// The last event of a stream that is not after `position`; nothing if there was none by then.
pub async fn place_at(
    connection: &mut PgConnection,
    aggregate_type: &str,
    id: Uuid,
    position: Position,
) -> Result<Option<Place>, sqlx::Error> {
    let Some(last) = last_place(&mut *connection, aggregate_type, id).await? else { return Ok(None) };
    if last.position <= position {
        return Ok(Some(last));
    }
    let (mut found, mut beyond) = (None, last.sequence);
    let mut from = 1;
    while from < beyond {
        let middle = from + (beyond - from) / 2;
        match place(&mut *connection, aggregate_type, id, middle).await? {
            Some(place) if place.position <= position => {
                (found, from) = (Some(place), middle + 1);
            }
            _ => beyond = middle,
        }
    }
    Ok(found)
}

/// Events of a stream after a sequence, up to and including another, at most `limit`, in order.
pub async fn of_stream(
    executor: impl PgExecutor<'_>,
    aggregate_type: &str,
    id: Uuid,
    after: i64,
    upto: i64,
    limit: u32,
) -> Result<Vec<Record>, sqlx::Error> {
    let mut query = QueryBuilder::new(COLUMNS);
    query.push(" where aggregate_type = ").push_bind(aggregate_type);
    query.push(" and aggregate_id = ").push_bind(id.to_string());
    query.push(" and sequence > ").push_bind(after).push(" and sequence <= ").push_bind(upto);
    query.push(" order by sequence limit ").push_bind(i64::from(limit));
    query.build_query_as().fetch_all(executor).await
}

/// Something that has happened to a stream.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct Stretch {
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The aggregate, as it is stored.
    pub aggregate_id: String,
    /// The place of the first event.
    pub first: i64,
    /// The place of the last.
    pub last: i64,
    /// Where the first of them is in the log.
    pub position: Position,
}

/// Which streams have events after one position and up to another, in the order in which they begin, at most `limit`
/// whose first event is after `from`.
pub async fn changed(
    executor: impl PgExecutor<'_>,
    between: (Position, Position),
    aggregate_type: Option<&str>,
    id: Option<Uuid>,
    from: Position,
    limit: i64,
) -> Result<Vec<Stretch>, sqlx::Error> {
    sqlx::query_as(
        "select aggregate_type, aggregate_id, min(sequence) as first, max(sequence) as last, min(position) as position
         from public.events
         where position > $1 and position <= $2 and ($3::text is null or aggregate_type = $3)
            and ($4::text is null or aggregate_id = $4)
         group by aggregate_type, aggregate_id having min(position) > $5 order by min(position) limit $6",
    )
    .bind(between.0)
    .bind(between.1)
    .bind(aggregate_type)
    .bind(id.map(|id| id.to_string()))
    .bind(from)
    .bind(limit)
    .fetch_all(executor)
    .await
}

/// Why a state of the past cannot be told.
#[derive(Debug, Error)]
pub enum StateError {
    /// The database could not be read.
    #[error("the stream could not be read: {0}")]
    Unreachable(#[from] sqlx::Error),
    /// Nothing of this kind is known here.
    #[error("no aggregate is called {0}")]
    UnknownType(String),
    /// It is the fold of too many events.
    #[error("the state is the fold of {events} events, more than {most}")]
    TooLong {
        /// How many.
        events: i64,
        /// How many are folded.
        most: i64,
    },
    /// An event of the stream cannot be read, or one is missing.
    #[error("event {sequence} of the stream cannot be read: {reason}")]
    Unreadable {
        /// Its place in the stream.
        sequence: i64,
        /// What is wrong with it.
        reason: String,
    },
}

/// The states of an aggregate after each of two versions of it, by the rules of today; version 0 is before its first event.
/// At most `most` events are read, beyond those that a snapshot spares.
pub async fn states(
    connection: &mut PgConnection,
    aggregate_type: &str,
    id: Uuid,
    versions: (i64, i64),
    most: i64,
) -> Result<(Value, Value), StateError> {
    macro_rules! states {
        ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
            match aggregate_type {
                // Boxed, lest one future be as large as all of them.
                $(domain::$module::$aggregate::TYPE => {
                    Box::pin(states_of::<domain::$module::$aggregate>(connection, id, versions, most)).await
                })+
                other => Err(StateError::UnknownType(other.to_owned())),
            }
        };
    }
    domain::every_aggregate!(states)
}

/// The state of an aggregate after a version of it.
pub async fn state(
    connection: &mut PgConnection,
    aggregate_type: &str,
    id: Uuid,
    version: i64,
    most: i64,
) -> Result<Value, StateError> {
    states(connection, aggregate_type, id, (version, version), most).await.map(|(_, state)| state)
}

async fn states_of<A: Aggregate>(
    connection: &mut PgConnection,
    id: Uuid,
    (first, last): (i64, i64),
    most: i64,
) -> Result<(Value, Value), StateError> {
    let (mut state, mut version) = snapshot::<A>(&mut *connection, id, first).await?.unwrap_or_default();
    if last - version > most {
        return Err(StateError::TooLong { events: last - version, most });
    }
    let mut before = (version == first).then(|| json_of(&state, version)).transpose()?;
    let mut events = sqlx::query_as(
        "select sequence, payload::text from public.events
         where aggregate_type = $1 and aggregate_id = $2 and sequence > $3 and sequence <= $4 order by sequence",
    )
    .bind(A::TYPE)
    .bind(id.to_string())
    .bind(version)
    .bind(last)
    .fetch(connection);
    while let Some((sequence, payload)) = events.try_next().await? {
        let (sequence, payload): (i64, String) = (sequence, payload);
        let unreadable = |reason| StateError::Unreadable { sequence, reason };
        version += 1;
        if sequence != version {
            return Err(unreadable(format!("event {version} is missing before it")));
        }
        let event: A::Event = serde_json::from_str(&payload).map_err(|error| unreadable(error.to_string()))?;
        state.evolve(&event);
        if version == first {
            before = Some(json_of(&state, version)?);
        }
    }
    if version < last {
        return Err(StateError::Unreadable { sequence: version + 1, reason: "it is missing".to_owned() });
    }
    let after = json_of(&state, version)?;
    Ok((before.unwrap_or_else(|| after.clone()), after))
}

fn json_of<A: Aggregate>(state: &A, version: i64) -> Result<Value, StateError> {
    let unreadable = |error: serde_json::Error| StateError::Unreadable { sequence: version, reason: error.to_string() };
    serde_json::to_value(state).map_err(unreadable)
}

/// The snapshot of a stream, if there is one by the rules of today that is not after `version`. One that cannot be read
/// counts as none.
async fn snapshot<A: Aggregate>(
    executor: impl PgExecutor<'_>,
    id: Uuid,
    version: i64,
) -> Result<Option<(A, i64)>, sqlx::Error> {
    let kept: Option<(i64, String)> = sqlx::query_as(
        "select version, state::text from public.snapshots
         where aggregate_type = $1 and aggregate_id = $2 and rules = $3 and version <= $4",
    )
    .bind(A::TYPE)
    .bind(id.to_string())
    .bind(domain::RULES)
    .bind(version)
    .fetch_optional(executor)
    .await?;
    Ok(kept.and_then(|(version, state)| Some((serde_json::from_str(&state).ok()?, version))))
}
