//! Events that a follower could not take in, and what waits behind them.
//!
//! An event that fails although the database is well is parked, and whatever happens to the same aggregate later is
//! parked behind it, so that each aggregate's events are taken in their order; everything else goes on. An aggregate is
//! known by its id alone: a listing, its auction and its stock share one, as do an order and its escrow, and read models
//! show them in one row.
//!
//! What is parked is tried again, or skipped for a reason that is kept, when an operator says so; see
//! [`crate::follower::retry`] and [`crate::follower::skip`]. All of this changes under the lock of the follower's
//! checkpoint.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::Timestamp;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::Position;
use crate::event::RecordedEvent;
use crate::follower::Follower;

/// Why something failed is told in so many characters at most.
const LONGEST_ERROR: usize = 1_000;

/// What a follower leaves out of a stretch of the log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Exceptions {
    /// Aggregates of which something is parked.
    pub(crate) parked: BTreeSet<Uuid>,
    /// Events that are skipped.
    pub(crate) skipped: BTreeSet<Position>,
}

impl Exceptions {
    /// What `follower` leaves out of `events`, which are in order.
    pub(crate) async fn load(
        connection: &mut PgConnection,
        follower: &dyn Follower,
        events: &[Arc<RecordedEvent>],
    ) -> Result<Self, sqlx::Error> {
        let (parked, skipped): (Vec<Uuid>, Vec<Position>) = sqlx::query_as(
            "select
                array(select distinct aggregate_id from public.parked_events
                    where follower = $1 and aggregate_id = any($3)),
                array(select position from public.skipped_events
                    where follower = $2 and version = $6 and position between $4 and $5)",
        )
        .bind(follower.name())
        .bind(follower.stands_for())
        .bind(events.iter().map(|event| event.aggregate_id.0).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>())
        .bind(events.first().map_or(0, |event| event.position))
        .bind(events.last().map_or(0, |event| event.position))
        .bind(follower.version())
        .fetch_one(connection)
        .await?;
        Ok(Self { parked: parked.into_iter().collect(), skipped: skipped.into_iter().collect() })
    }

    /// What is to be taken, and what waits because something of its aggregate is parked.
    pub(crate) fn divide<'a>(&self, events: &'a [Arc<RecordedEvent>]) -> (Vec<&'a RecordedEvent>, Vec<Parked>) {
        let wanted = events.iter().map(Arc::as_ref).filter(|event| !self.skipped.contains(&event.position));
        let (waiting, ready): (Vec<_>, Vec<_>) = wanted.partition(|event| self.parked.contains(&event.aggregate_id.0));
        (ready, waiting.into_iter().map(Parked::behind).collect())
    }
}

/// An event on its way to being parked, or parked.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub(crate) struct Parked {
    pub(crate) position: Position,
    pub(crate) aggregate_id: Uuid,
    /// Why it could not be taken; nothing if it waits behind one that could not.
    pub(crate) error: Option<String>,
    pub(crate) attempts: i32,
}

impl Parked {
    /// It could not be taken, as often as it was tried.
    pub(crate) fn culprit(event: &RecordedEvent, error: &str, attempts: i32) -> Self {
        Self { position: event.position, aggregate_id: event.aggregate_id.0, error: Some(told(error)), attempts }
    }

    /// It waits behind another of its aggregate.
    pub(crate) fn behind(event: &RecordedEvent) -> Self {
        Self { position: event.position, aggregate_id: event.aggregate_id.0, error: None, attempts: 0 }
    }
}

/// An error as it is kept. Postgres has no NUL in texts.
pub(crate) fn told(error: &str) -> String {
    error.replace('\0', "\u{fffd}").chars().take(LONGEST_ERROR).collect()
}

/// Parks events for a follower.
pub(crate) async fn park(connection: &mut PgConnection, follower: &str, parked: &[Parked]) -> Result<(), sqlx::Error> {
    if parked.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into public.parked_events (follower, position, aggregate_id, error, attempts, parked_at)
         select $1, *, clock_timestamp() from unnest($2::bigint[], $3::uuid[], $4::text[], $5::int[])",
    )
    .bind(follower)
    .bind(parked.iter().map(|event| event.position).collect::<Vec<_>>())
    .bind(parked.iter().map(|event| event.aggregate_id).collect::<Vec<_>>())
    .bind(parked.iter().map(|event| event.error.as_deref()).collect::<Vec<_>>())
    .bind(parked.iter().map(|event| event.attempts).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// What is parked for a follower, of one aggregate or of all, in the order of the log.
pub(crate) async fn of(
    connection: &mut PgConnection,
    follower: &str,
    aggregate: Option<Uuid>,
) -> Result<Vec<Parked>, sqlx::Error> {
    sqlx::query_as(
        "select position, aggregate_id, error, attempts from public.parked_events
         where follower = $1 and ($2::uuid is null or aggregate_id = $2) order by position",
    )
    .bind(follower)
    .bind(aggregate)
    .fetch_all(connection)
    .await
}

/// Puts `left` in the place of everything that is parked of an aggregate, or of all.
pub(crate) async fn replace(
    connection: &mut PgConnection,
    follower: &str,
    aggregate: Option<Uuid>,
    left: &[Parked],
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from public.parked_events where follower = $1 and ($2::uuid is null or aggregate_id = $2)")
        .bind(follower)
        .bind(aggregate)
        .execute(&mut *connection)
        .await?;
    park(connection, follower, left).await
}

/// Why an event is left out for good, and who says so.
#[derive(Clone, Copy, Debug)]
pub struct Skip<'a> {
    /// Why. Not empty.
    pub reason: &'a str,
    /// Who.
    pub by: &'a str,
}

/// Notes that `follower`, in its version, leaves an event out.
pub(crate) async fn note_skip(
    connection: &mut PgConnection,
    follower: &str,
    culprit: &Parked,
    skip: &Skip<'_>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into public.skipped_events
            (follower, version, position, aggregate_id, error, reason, skipped_by, skipped_at)
         select name, version, $2, $3, $4, $5, $6, clock_timestamp() from public.followers where name = $1
         on conflict on constraint skipped_events_position do nothing",
    )
    .bind(follower)
    .bind(culprit.position)
    .bind(culprit.aggregate_id)
    .bind(culprit.error.as_deref().unwrap_or_default())
    .bind(skip.reason)
    .bind(skip.by)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets what is parked for a follower that starts afresh, or is no more.
pub async fn clear(connection: &mut PgConnection, follower: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from public.parked_events where follower = $1").bind(follower).execute(connection).await?;
    Ok(())
}

/// What was parked for `from` is parked for `to` instead of what was: their tables have changed places.
pub async fn hand_over(connection: &mut PgConnection, from: &str, to: &str) -> Result<(), sqlx::Error> {
    clear(connection, to).await?;
    sqlx::query("update public.parked_events set follower = $2 where follower = $1")
        .bind(from)
        .bind(to)
        .execute(connection)
        .await?;
    Ok(())
}

/// A parked event, as operators see it.
#[derive(Clone, Debug, Eq, FromRow, PartialEq, Serialize)]
pub struct ParkedEvent {
    /// For whom it is parked.
    pub follower: String,
    /// Its place in the log.
    pub position: Position,
    /// The kind of aggregate that it happened to.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// What happened.
    pub event_type: String,
    /// Why it could not be taken; `None` if it waits behind one that could not.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was parked, or last tried.
    pub parked_at: Timestamp,
}

/// What is parked for these followers, aggregate by aggregate, in order.
pub async fn list(executor: impl PgExecutor<'_>, followers: &[&str]) -> Result<Vec<ParkedEvent>, sqlx::Error> {
    sqlx::query_as(
        "select follower, position, aggregate_type, parked.aggregate_id, event_type, error, attempts, parked_at
         from public.parked_events as parked join public.events using (position)
         where follower = any($1)
         order by follower, min(position) over (partition by follower, parked.aggregate_id), position",
    )
    .bind(followers)
    .fetch_all(executor)
    .await
}

/// A skipped event, as operators see it.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct SkippedEvent {
    /// Who leaves it out.
    pub follower: String,
    /// In which version.
    pub version: i32,
    /// Its place in the log.
    pub position: Position,
    /// What it happened to.
    pub aggregate_id: Uuid,
    /// Why it could not be taken.
    pub error: String,
    /// Why it was left out.
    pub reason: String,
    /// Who said so.
    pub skipped_by: String,
    /// When.
    pub skipped_at: Timestamp,
}

/// What these followers leave out, or have left out in former versions.
pub async fn skipped(executor: impl PgExecutor<'_>, followers: &[&str]) -> Result<Vec<SkippedEvent>, sqlx::Error> {
    sqlx::query_as("select * from public.skipped_events where follower = any($1) order by follower, version, position")
        .bind(followers)
        .fetch_all(executor)
        .await
}
