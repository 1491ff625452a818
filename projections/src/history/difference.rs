//! What is otherwise at one point of the log than at another, thing by thing.

use eventstore::history::{self, StateError, Stretch};
use eventstore::wrapping::{KeyError, Wrapping};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use thiserror::Error;
use uuid::Uuid;

use super::{Eyes, Lens, Reader};
use crate::differences::differences;

/// Why it cannot be told.
#[derive(Debug, Error)]
pub enum DifferenceError {
    /// A state cannot be folded.
    #[error("{aggregate_type} {aggregate_id}: {error}")]
    State {
        /// Of what.
        aggregate_type: String,
        /// Of which.
        aggregate_id: String,
        /// Why.
        error: StateError,
    },
    /// The database, or a key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// How a thing differs.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// Its version at the first point; 0 if it was not there.
    pub from_version: i64,
    /// Its version at the second.
    pub to_version: i64,
    /// What was so at the first point, of what is not so any more. Empty if its events have changed nothing that it
    /// remembers.
    pub before: Value,
    /// What is so at the second.
    pub after: Value,
}

/// How a thing differs by the events of a stretch, as an operator may see it: what is sealed or secret has changed, and not
/// how. At most `most` events are folded.
pub async fn difference(
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    stretch: &Stretch,
    most: i64,
) -> Result<Difference, DifferenceError> {
    let Stretch { aggregate_type, aggregate_id, first, last, .. } = stretch;
    // Whatever this service has written is the id of a stream.
    let id = aggregate_id.parse().unwrap_or_default();
    let versions = (first - 1, *last);
    let states = history::states(&mut *connection, aggregate_type, id, versions, most).await;
    let (before, after) = states.map_err(|error| DifferenceError::State {
        aggregate_type: aggregate_type.clone(),
        aggregate_id: aggregate_id.clone(),
        error,
    })?;
    let (before, after) = differences(&before, &after);
    let reader = Reader { account: None, eyes: Eyes::Auditor };
    let lens = Lens::upon(connection, wrapping, None, &reader, &[id], &[]).await?;
    Ok(Difference {
        aggregate_type: aggregate_type.clone(),
        aggregate_id: id,
        from_version: versions.0,
        to_version: versions.1,
        before: lens.redact(aggregate_type, id, before).value,
        after: lens.redact(aggregate_type, id, after).value,
    })
}
