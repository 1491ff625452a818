//! The log as a whole, on its way out of a database and into an empty one, byte for byte as it is stored.
//!
//! [`read`] takes events out, [`beside`] what belongs to the log and is not in it: the answers to commands, what was
//! left out of read models, and how far processes have come. [`Intake`] puts all of it into an empty database, in one
//! transaction: what is not whole leaves nothing behind. A [`Frontier`] tells the root of the Merkle tree over what has
//! passed, so both sides can say that it was the same.

use sqlx::{PgConnection, PgExecutor};

use crate::proof::StoredEvent;
use crate::{Position, log};

pub mod beside;
mod frontier;
mod gate;
mod intake;

pub use frontier::Frontier;
pub use gate::Flaw;
pub use intake::{Intake, IntakeError, Taken};

/// Up to `limit` events after one position, up to and including another, in order.
pub async fn read(
    executor: impl PgExecutor<'_>,
    after: Position,
    to: Position,
    limit: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, recorded_at, sequence, event_id, aggregate_type, aggregate_id, event_type,
            event_version, payload::text as payload, metadata::text as metadata
         from public.events where position > $1 and position <= $2 order by position limit $3",
    )
    .bind(after)
    .bind(to)
    .bind(limit)
    .fetch_all(executor)
    .await
}

/// The end of the unit of work that the event at a position belongs to; the head for what is beyond it.
pub async fn end_of_unit(connection: &mut PgConnection, at: Position) -> Result<Position, sqlx::Error> {
    let end: Option<Position> = sqlx::query_scalar("select commit_position from public.events where position = $1")
        .bind(at)
        .fetch_optional(&mut *connection)
        .await?;
    match end {
        Some(end) => Ok(end),
        None => Ok(at.min(log::head(connection).await?)),
    }
}

/// The position of the first event that was decided at this time or later; the one after the head if there is none.
pub async fn first_since(connection: &mut PgConnection, at: domain::Timestamp) -> Result<Position, sqlx::Error> {
    sqlx::query_scalar(
        "select coalesce(
            (select min(position) from public.events where recorded_at >= $1),
            (select position + 1 from public.log_head))",
    )
    .bind(at)
    .fetch_one(connection)
    .await
}
