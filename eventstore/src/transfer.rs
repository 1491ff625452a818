//! The log as a whole, on its way out of a database and into an empty one, byte for byte as it is stored.
//!
//! [`read`] takes events out, [`beside`] what belongs to the log and is not in it: the answers to commands, what was
//! left out of read models, and how far processes have come. [`Intake`] puts all of it into an empty database, in one
//! transaction: what is not whole leaves nothing behind. The root of the Merkle tree over what has passed tells both sides
//! that it was the same; [`edge_at`] says what it is here.

use sqlx::{PgConnection, PgExecutor};

use crate::proof::leaf::Blinding;
use crate::proof::tree::{Edge, Plan};
use crate::proof::{StoredEvent, store};
use crate::{Position, log};

pub mod beside;
mod gate;
mod intake;

pub use gate::Flaw;
pub use intake::{Intake, IntakeError, Taken};

/// How many events are read at once: a request may have made one of them a megabyte long.
pub const PAGE: i64 = 500;

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

/// The edge of the tree over the log up to a position: of the hashes that are kept as far as they go, and of the events
/// after them.
pub async fn edge_at(connection: &mut PgConnection, to: Position, blinding: &Blinding) -> Result<Edge, sqlx::Error> {
    let mut reached = store::size(&mut *connection).await?.min(to);
    let size = reached.unsigned_abs();
    let hashes = store::hashes(&mut *connection, &[&Plan::root(size)]).await?;
    let mut edge = Edge::of(size, &hashes).unwrap_or_else(|| {
        reached = 0;
        Edge::default()
    });
    while reached < to {
        let page = read(&mut *connection, reached, to, PAGE).await?;
        let Some(last) = page.last() else { break };
        reached = last.position;
        for event in &page {
            edge.push(event.blinded(blinding), |_, _| {});
        }
    }
    Ok(edge)
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
