//! The log read stream by stream instead of in its order: for whoever looks at one aggregate after the other, however
//! many there are, and keeps nothing of those before.
//!
//! The log only grows, so what is read up to one position is the same however long it takes, without a transaction that
//! would hold anything up.

use domain::Timestamp;
use futures::Stream;
use sqlx::{PgConnection, PgExecutor};

use crate::Position;
use crate::database::{Database, DatabaseError};
use crate::event::RecordedEvent;

/// Which streams, by when they began.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// The kind of aggregate.
    pub aggregate_type: &'a str,
    /// Not before that.
    pub from: Option<Timestamp>,
    /// Before that.
    pub until: Option<Timestamp>,
    /// Up to and including this position.
    pub to: Position,
}

/// Which events of some streams.
#[derive(Clone, Copy, Debug)]
pub struct Of<'a> {
    /// The kinds of aggregates.
    pub aggregate_types: &'a [&'a str],
    /// The aggregates.
    pub ids: &'a [String],
    /// The types of events; all unless any are named.
    pub event_types: &'a [&'a str],
    /// Up to and including this position.
    pub to: Position,
}

/// A connection as the service over which nothing can be written.
pub async fn connect(database: &Database) -> Result<PgConnection, DatabaseError> {
    let mut connection = database.connect(None).await?;
    sqlx::query("select set_config('default_transaction_read_only', 'on', false)").execute(&mut connection).await?;
    Ok(connection)
}

/// How far the log is, and when that was decided; nothing of an empty log.
pub async fn head(connection: &mut PgConnection) -> Result<Option<(Position, Timestamp)>, sqlx::Error> {
    sqlx::query_as("select position, recorded_at from public.events order by position desc limit 1")
        .fetch_optional(connection)
        .await
}

/// How many streams there are.
pub async fn count(executor: impl PgExecutor<'_>, begun: Begun<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from public.events
         where aggregate_type = $1 and sequence = 1 and position <= $2
            and ($3::timestamptz is null or recorded_at >= $3) and ($4::timestamptz is null or recorded_at < $4)",
    )
    .bind(begun.aggregate_type)
    .bind(begun.to)
    .bind(begun.from)
    .bind(begun.until)
    .fetch_one(executor)
    .await
}

/// Up to `limit` streams after one of that id, in the order of their ids.
pub async fn page(
    executor: impl PgExecutor<'_>,
    begun: Begun<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select aggregate_id from public.events
         where aggregate_type = $1 and sequence = 1 and position <= $2
            and ($3::timestamptz is null or recorded_at >= $3) and ($4::timestamptz is null or recorded_at < $4)
            and aggregate_id > $5
         order by aggregate_id limit $6",
    )
    .bind(begun.aggregate_type)
    .bind(begun.to)
    .bind(begun.from)
    .bind(begun.until)
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await
}

/// What happened to some aggregates, one after the other, each in its order; as it comes, and never all of it at once.
pub fn one_by_one<'a>(
    connection: &'a mut PgConnection,
    of: Of<'a>,
) -> impl Stream<Item = Result<RecordedEvent, sqlx::Error>> + use<'a> {
    sqlx::query_as(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type,
            event_version, payload::text as payload, recorded_at
         from public.events
         where aggregate_type = any($1) and aggregate_id = any($2) and position <= $3
            and (cardinality($4::text[]) = 0 or event_type = any($4))
         order by aggregate_id, sequence",
    )
    .bind(of.aggregate_types)
    .bind(of.ids)
    .bind(of.to)
    .bind(of.event_types)
    .fetch(connection)
}

/// What happened to some aggregates, in the order of the log.
pub async fn together(executor: impl PgExecutor<'_>, of: Of<'_>) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type,
            event_version, payload::text as payload, recorded_at
         from public.events
         where aggregate_type = any($1) and aggregate_id = any($2) and position <= $3
            and (cardinality($4::text[]) = 0 or event_type = any($4))
         order by position",
    )
    .bind(of.aggregate_types)
    .bind(of.ids)
    .bind(of.to)
    .bind(of.event_types)
    .fetch_all(executor)
    .await
}

/// All that happened to aggregates of a kind of which there are few, in the order of the log.
pub async fn all_of(
    executor: impl PgExecutor<'_>,
    aggregate_type: &str,
    to: Position,
) -> Result<Vec<RecordedEvent>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type,
            event_version, payload::text as payload, recorded_at
         from public.events
         where aggregate_type = $1 and position <= $2
         order by position",
    )
    .bind(aggregate_type)
    .bind(to)
    .fetch_all(executor)
    .await
}
