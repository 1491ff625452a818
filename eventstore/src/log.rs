//! The log itself: appending under the head, reading on from a position.
//!
//! A writer appends only if the head is where it believes it is; the statement that moves the head also inserts the
//! events and the idempotency keys, adds the keys of new people and takes away those of people who are forgotten, so a
//! batch is there as a whole or not at all. Because the head is a row lock until commit, positions are in commit order
//! and without gaps.

use std::sync::Arc;
use std::time::Duration;

use domain::{AccountId, Timestamp};
use futures::TryStreamExt;
use sqlx::{PgConnection, PgExecutor, PgPool};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::Position;
use crate::database::is_outage;
use crate::event::{Interest, NewEvent, RecordedEvent, Section};
use crate::wrapping::StoredKey;

/// How soon after a look at the head another is worth it.
const PACE: Duration = Duration::from_millis(10);

/// 16 bytes that name something by its hash.
pub type Digest = [u8; 16];

/// Events and what must be committed with them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events, in order.
    pub events: Vec<NewEvent>,
    /// For each event the index of the last event of the same unit of work.
    pub unit_ends: Vec<usize>,
    /// The idempotency keys of the commands that were accepted.
    pub keys: Vec<AcceptedKey>,
    /// The keys of people who are new.
    pub people: Vec<StoredKey>,
    /// Who is forgotten: their keys go.
    pub forgotten: Vec<AccountId>,
}

impl Batch {
    /// Forgets somebody: their key goes, also one that is on its way here.
    pub fn forget(&mut self, person: AccountId) {
        self.people.retain(|key| key.account != person);
        self.forgotten.push(person);
    }
}

/// An accepted command that may be asked again.
#[derive(Clone, Debug)]
pub struct AcceptedKey {
    /// Which key, in whose scope.
    pub key: Digest,
    /// What was asked under it.
    pub fingerprint: Digest,
    /// Where its last event stands, counted from the batch's first event at 1; 0 for none.
    pub offset: usize,
    /// The answer as JSON.
    pub answer: String,
    /// When it was accepted.
    pub recorded_at: Timestamp,
}

/// What is known of a key that was accepted before.
#[derive(Clone, Debug)]
pub struct StoredAnswer {
    /// What was asked under it.
    pub fingerprint: Digest,
    /// Where its last event is.
    pub position: Position,
    /// The answer as JSON.
    pub answer: String,
}

/// What came of an append.
#[derive(Debug, Eq, PartialEq)]
pub enum Appended {
    /// It is committed, from the position after the believed head on.
    Committed,
    /// Somebody else has moved the head; nothing was written.
    HeadMoved,
}

/// Why an append did not succeed.
#[derive(Debug, Error)]
pub enum AppendError {
    /// One of the keys was accepted before; nothing was written.
    #[error("an idempotency key was used before")]
    KeySeen,
    /// The database refused the statement; nothing was written.
    #[error("the database refused the events: {0}")]
    Refused(#[source] sqlx::Error),
    /// The answer is lost: the batch is committed as a whole, or not at all.
    #[error("the outcome of an append is unknown: {0}")]
    Unknown(#[source] sqlx::Error),
}

impl From<sqlx::Error> for AppendError {
    fn from(error: sqlx::Error) -> Self {
        let constraint = error.as_database_error().and_then(|database| database.constraint());
        match constraint {
            Some("command_keys_key") => Self::KeySeen,
            _ if is_outage(&error) => Self::Unknown(error),
            _ => Self::Refused(error),
        }
    }
}

/// Moves the head from `$1` by `$2` and inserts everything, or does nothing.
const APPEND: &str = "
with head as (
    update log_head set position = position + $2 where position = $1 returning $1::bigint as base
), new_keys as (
    insert into command_keys (key, fingerprint, position, answer, recorded_at)
    select k.key, k.fingerprint, head.base + k.ord, k.answer::json, k.recorded_at
    from head, unnest($13::bytea[], $14::bytea[], $15::bigint[], $16::text[], $17::timestamptz[])
        as k (key, fingerprint, ord, answer, recorded_at)
), new_people as (
    insert into person_keys (account_id, key)
    select p.account_id, p.key from head, unnest($18::uuid[], $19::bytea[]) as p (account_id, key)
), forgotten as (
    delete from person_keys using head where account_id = any($20::uuid[])
), new_events as (
    insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
        position, commit_position, event_id, recorded_at)
    select e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version, e.payload::json,
        e.metadata::json, head.base + e.ord, head.base + e.unit_end, e.event_id, e.recorded_at
    from head, unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::bigint[], $11::uuid[], $12::timestamptz[])
        with ordinality
        as e (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
            unit_end, event_id, recorded_at, ord)
)
select base from head";

/// Appends `batch` if the head is at `known`.
pub async fn append(connection: &mut PgConnection, known: Position, batch: &Batch) -> Result<Appended, AppendError> {
    // PLANTED: whatever a timer does is done again.
    #[cfg(feature = "planted-bugs")]
    let with_repeats = repeating_timers(batch);
    #[cfg(feature = "planted-bugs")]
    let batch = if domain::planted::is(domain::planted::Bug::TimersTwice) { &with_repeats } else { batch };
    let events = &batch.events;
    let column = |value: fn(&NewEvent) -> &str| events.iter().map(value).collect::<Vec<_>>();
    let keys = &batch.keys;
    let statement = APPEND;
    // PLANTED: every batch leaves out a position before it.
    #[cfg(feature = "planted-bugs")]
    let gapped = APPEND
        .replace("position + $2 where", "position + $2 + 1 where")
        .replace("returning $1::bigint as base", "returning $1::bigint + 1 as base");
    #[cfg(feature = "planted-bugs")]
    let statement = if domain::planted::is(domain::planted::Bug::PositionGap) { &gapped } else { statement };
    let base: Option<i64> = sqlx::query_scalar(statement)
        .bind(known)
        .bind(i64_of(events.len()))
        .bind(column(|event| event.aggregate_type))
        .bind(events.iter().map(|event| event.aggregate_id.to_string()).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.sequence.cast_signed()).collect::<Vec<_>>())
        .bind(column(|event| event.event_type))
        .bind(column(|event| event.event_version))
        .bind(column(|event| &event.payload))
        .bind(column(|event| &event.metadata))
        .bind(batch.unit_ends.iter().map(|end| i64_of(end + 1)).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.event_id).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.recorded_at).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.key.as_slice()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.fingerprint.as_slice()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| i64_of(key.offset)).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.answer.as_str()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.recorded_at).collect::<Vec<_>>())
        .bind(batch.people.iter().map(|person| person.account.0).collect::<Vec<_>>())
        .bind(batch.people.iter().map(StoredKey::row).collect::<Vec<_>>())
        .bind(batch.forgotten.iter().map(|account| account.0).collect::<Vec<_>>())
        .fetch_optional(connection)
        .await?;
    Ok(if base.is_some() { Appended::Committed } else { Appended::HeadMoved })
}

/// A batch, and behind it once more what timers do in it: as the next events of their aggregates.
#[cfg(feature = "planted-bugs")]
fn repeating_timers(batch: &Batch) -> Batch {
    let mut events = batch.events.clone();
    for event in batch.events.iter().filter(|event| event.metadata.contains("\"process:timers\"")) {
        let stream = (event.aggregate_type, event.aggregate_id);
        let last = events.iter().rfind(|other| (other.aggregate_type, other.aggregate_id) == stream);
        let sequence = last.map_or(0, |last| last.sequence) + 1;
        events.push(NewEvent { event_id: Uuid::new_v5(&event.event_id, b"again"), sequence, ..event.clone() });
    }
    let mut unit_ends = batch.unit_ends.clone();
    unit_ends.extend(unit_ends.len()..events.len());
    let Batch { keys, people, forgotten, .. } = batch;
    Batch { events, unit_ends, keys: keys.clone(), people: people.clone(), forgotten: forgotten.clone() }
}

fn i64_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Where the head is.
pub async fn head(executor: impl PgExecutor<'_>) -> Result<Position, sqlx::Error> {
    sqlx::query_scalar("select position from log_head").fetch_one(executor).await
}

/// Where the head is, and nobody moves it until the transaction ends. Waits for a statement that is moving it, even if
/// that statement's own client has gone.
pub async fn lock_head(transaction: &mut PgConnection) -> Result<Position, sqlx::Error> {
    sqlx::query_scalar("select position from log_head for update").fetch_one(transaction).await
}

/// The time of the last event; nothing in an empty log.
pub async fn last_recorded_at(executor: impl PgExecutor<'_>) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query_scalar("select recorded_at from events order by position desc limit 1").fetch_optional(executor).await
}

/// The id of the event at a position.
pub async fn event_id_at(executor: impl PgExecutor<'_>, at: Position) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar("select event_id from events where position = $1").bind(at).fetch_optional(executor).await
}

/// What was answered under those of `keys` that were accepted before.
pub async fn answers(
    executor: impl PgExecutor<'_>,
    keys: &[Digest],
) -> Result<Vec<(Digest, StoredAnswer)>, sqlx::Error> {
    let keys: Vec<&[u8]> = keys.iter().map(Digest::as_slice).collect();
    let rows: Vec<(Vec<u8>, Vec<u8>, i64, String)> =
        sqlx::query_as("select key, fingerprint, position, answer::text from command_keys where key = any($1)")
            .bind(keys)
            .fetch_all(executor)
            .await?;
    let digest = |bytes: &[u8]| Digest::try_from(bytes).unwrap_or_default();
    let stored = rows.into_iter().map(|(key, fingerprint, position, answer)| {
        (digest(&key), StoredAnswer { fingerprint: digest(&fingerprint), position, answer })
    });
    Ok(stored.collect())
}

/// What is of interest among about `limit` events after `position`; never part of a unit of work.
pub async fn read_after(
    connection: &mut PgConnection,
    position: Position,
    limit: i64,
    interest: Interest,
) -> Result<Section, sqlx::Error> {
    let end: Option<Position> = sqlx::query_scalar(
        "select commit_position from public.events where position > $1 and position <= $2
         order by position desc limit 1",
    )
    .bind(position)
    .bind(position.saturating_add(limit))
    .fetch_optional(&mut *connection)
    .await?;
    let Some(reaches) = end else { return Ok(Section { events: Vec::new(), reaches: position }) };
    Ok(Section { events: read_range(connection, position, reaches, interest).await?, reaches })
}

/// The events of interest after `from` up to and including `to`, in order.
pub async fn read_range(
    connection: &mut PgConnection,
    from: Position,
    to: Position,
    interest: Interest,
) -> Result<Vec<Arc<RecordedEvent>>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::text as payload, recorded_at,
            case when strpos(metadata::text, '\"capacity\":') > 0 then metadata end as act
         from public.events
         where position > $1 and position <= $2 and ($3::text[] is null or aggregate_type = any($3))
            and (not $4 or strpos(metadata::text, '\"capacity\":') > 0)
         order by position",
    )
    .bind(from)
    .bind(to)
    .bind(interest.types())
    .bind(interest == Interest::Acts)
    .fetch(connection)
    .map_ok(Arc::new)
    .try_collect()
    .await
}

/// The events at these positions, in order.
pub async fn read_at(
    connection: &mut PgConnection,
    positions: &[Position],
) -> Result<Vec<Arc<RecordedEvent>>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::text as payload, recorded_at,
            case when strpos(metadata::text, '\"capacity\":') > 0 then metadata end as act
         from public.events where position = any($1) order by position",
    )
    .bind(positions)
    .fetch(connection)
    .map_ok(Arc::new)
    .try_collect()
    .await
}

/// Registers every kind of event that this binary writes, and names those in the log that it cannot read.
pub async fn unreadable_kinds(
    pool: &PgPool,
    readable: &[(&'static str, &'static str, &'static str)],
) -> Result<Vec<(String, String, String)>, sqlx::Error> {
    let (types, names): (Vec<_>, Vec<_>) = readable.iter().map(|(aggregate, event, _)| (*aggregate, *event)).unzip();
    let versions: Vec<_> = readable.iter().map(|(_, _, version)| *version).collect();
    sqlx::query(
        "insert into event_types (aggregate_type, event_type, event_version)
         select * from unnest($1::text[], $2::text[], $3::text[]) on conflict do nothing",
    )
    .bind(types)
    .bind(names)
    .bind(versions)
    .execute(pool)
    .await?;
    let stored: Vec<(String, String, String)> =
        sqlx::query_as("select aggregate_type, event_type, event_version from event_types").fetch_all(pool).await?;
    let known = |kind: &(String, String, String)| readable.contains(&(&kind.0, &kind.1, &kind.2));
    Ok(stored.into_iter().filter(|kind| !known(kind)).collect())
}

/// Tells those who follow the log that it has grown: at once within this process, by polling for other nodes' events.
#[derive(Clone, Debug)]
pub struct Head {
    position: watch::Sender<Position>,
}

impl Head {
    /// A head known to be at `position`.
    pub fn at(position: Position) -> Self {
        Self { position: watch::Sender::new(position) }
    }

    /// The head has been seen at `position`.
    pub fn seen_at(&self, position: Position) {
        self.position.send_if_modified(|known| {
            let moved = position > *known;
            *known = position.max(*known);
            moved
        });
    }

    /// Where the head was last seen.
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// To be woken when the head moves.
    pub fn subscribe(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// Looks at the log every `every`, and soon after a hint that it has grown, until the task is aborted: for the sake
    /// of other nodes' events.
    pub async fn poll(self, pool: PgPool, every: Duration, hints: Arc<Notify>) {
        loop {
            // Never more often than it pays, however many hints there are.
            tokio::time::sleep(PACE.min(every)).await;
            let _ = tokio::time::timeout(every, hints.notified()).await;
            match head(&pool).await {
                Ok(position) => self.seen_at(position),
                Err(error) => tracing::debug!(%error, "the head of the log could not be read"),
            }
        }
    }
}
