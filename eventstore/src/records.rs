//! Events as they are stored, for people and other systems to read: personal fields stay sealed.

use domain::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor};
use uuid::Uuid;

use crate::Position;
use crate::event::{DomainEvent, RecordedEvent, StreamId, UnreadableEvent};

/// An event with everything that is stored of it, in the names of the table.
#[derive(Debug, FromRow, Serialize)]
pub struct Record {
    /// Its place in the log.
    pub position: Position,
    /// The last position of the same unit of work.
    pub commit_position: Position,
    /// Its name.
    pub event_id: Uuid,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: String,
    /// Its place in the stream, from 1.
    pub sequence: i64,
    /// What happened.
    pub event_type: String,
    /// In which version of its format.
    pub event_version: String,
    /// When it was decided.
    pub recorded_at: Timestamp,
    /// Who and what caused it.
    pub metadata: Json<Box<RawValue>>,
    /// What happened, byte for byte.
    pub payload: Json<Box<RawValue>>,
}

impl Record {
    /// What happened, in the terms of the domain.
    pub fn decode(&self) -> Result<DomainEvent, UnreadableEvent> {
        let event = RecordedEvent {
            position: self.position,
            commit_position: self.commit_position,
            event_id: self.event_id,
            aggregate_type: self.aggregate_type.clone(),
            // Whatever this service has written is the id of a stream.
            aggregate_id: StreamId(self.aggregate_id.parse().unwrap_or_default()),
            sequence: self.sequence,
            event_type: self.event_type.clone(),
            event_version: self.event_version.clone(),
            payload: self.payload.get().to_owned(),
            recorded_at: self.recorded_at,
            act: None,
        };
        event.decode()
    }
}

pub(crate) const COLUMNS: &str =
    "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type,
    event_version, recorded_at, metadata, payload from public.events";

/// Which events are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// After this position.
    pub after: Position,
    /// Up to and including this one.
    pub to: Position,
    /// Types of events or aggregates; all unless any are named.
    pub types: &'a [String],
}

/// Up to `limit` of the events that are wanted, in order.
pub async fn page(executor: impl PgExecutor<'_>, wanted: &Wanted<'_>, limit: i64) -> Result<Vec<Record>, sqlx::Error> {
    let filter = "where position > $1 and position <= $2
        and (cardinality($3::text[]) = 0 or event_type = any($3) or aggregate_type = any($3))";
    sqlx::query_as(&format!("{COLUMNS} {filter} order by position limit $4"))
        .bind(wanted.after)
        .bind(wanted.to)
        .bind(wanted.types)
        .bind(limit)
        .fetch_all(executor)
        .await
}

/// The last `limit` events of these types, in order.
pub async fn last(executor: impl PgExecutor<'_>, types: &[String], limit: i64) -> Result<Vec<Record>, sqlx::Error> {
    let filter = "where cardinality($1::text[]) = 0 or event_type = any($1) or aggregate_type = any($1)";
    let mut records: Vec<Record> = sqlx::query_as(&format!("{COLUMNS} {filter} order by position desc limit $2"))
        .bind(types)
        .bind(limit)
        .fetch_all(executor)
        .await?;
    records.reverse();
    Ok(records)
}

/// Everything that happened to what has this id, in order.
pub async fn of_aggregate(executor: impl PgExecutor<'_>, id: Uuid) -> Result<Vec<Record>, sqlx::Error> {
    // The table is indexed by type and id.
    let filter = "where aggregate_type in (select aggregate_type from public.event_types) and aggregate_id = $1";
    sqlx::query_as(&format!("{COLUMNS} {filter} order by position")).bind(id.to_string()).fetch_all(executor).await
}
