//! How did that look at some time? A read model as it stood then, as far as one answer needs it.
//!
//! Nothing is kept twice for this. A [`View`] of the past is a connection of its own, on which the read model's own tables
//! are made once more, as temporary ones; its own `apply` takes in what had happened by then to whatever the answer
//! rests on ([`Question::rests_on`]); and then its own queries run, which name `schema.table` and are led to the temporary
//! tables on their way ([`shadow`]). All of it is one transaction, which ends by being rolled back.
//!
//! So an answer about the past is the answer that was given then, with two differences. Whoever is forgotten by now stays
//! so: the keys that opened their personal fields are gone. And what has been parked since is left out, as it is
//! left out of the live tables.
//!
//! **Bounds:** so many events, so much time ([`Bounds`]); whoever calls sees to it that there are not too many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use eventstore::database::{Database, DatabaseError};
use eventstore::event::RecordedEvent;
use eventstore::follower::{Batch, FollowError};
use eventstore::wrapping::Wrapping;
use eventstore::{Position, log, past};
use sqlx::{Executor, PgConnection, PgPool};
use thiserror::Error;
use uuid::Uuid;

use crate::{ReadModel, mentions};

mod grounds;
mod shadow;

use grounds::Step;
pub use grounds::{Grounds, Question};
use shadow::Shadow;

/// The schema of temporary tables, which is another one for each session.
const TEMPORARY: &str = "pg_temp";
/// How many events are taken in at a time.
const BATCH_EVENTS: usize = 2_000;

/// How much may be done for one answer.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many events may be taken in, for each read model.
    pub events: u32,
    /// How long that may take.
    pub time: Duration,
}

/// Why there is no view of the past.
#[derive(Debug, Error)]
pub enum PastError {
    /// It rests on more events than may be taken in.
    #[error("the answer rests on more than {most} events")]
    TooMuch {
        /// How many may be.
        most: u32,
    },
    /// It took longer than it may.
    #[error("the answer took too long to work out")]
    TooLong,
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The read model could not take something in.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

/// Read models, to be asked as they are now or as they were. A query of any of them takes `&mut view`. The past ends with
/// the connections of its view.
#[derive(Debug)]
pub struct View(Seen);

#[derive(Debug)]
enum Seen {
    /// The live tables.
    Now(PgPool),
    /// Temporary ones, of each read model that is asked.
    Then(Vec<Shadow>),
}

impl View {
    /// As they are now.
    pub fn now(pool: &PgPool) -> Self {
        Self(Seen::Now(pool.clone()))
    }

    /// As they were when the log had come to `upto`, which is the end of a unit of work, as far as it takes to answer
    /// `asked`. [`mentions`] must have come that far.
    pub async fn then(
        database: &Database,
        asked: &Question<'_>,
        upto: Position,
        bounds: Bounds,
    ) -> Result<Self, PastError> {
        let work = async {
            let mut shadows = Vec::new();
            for (model, grounds) in asked.rests_on() {
                shadows.push(build(database, model, &grounds, upto, bounds).await?);
            }
            Ok(Self(Seen::Then(shadows)))
        };
        tokio::time::timeout(bounds.time, work).await.unwrap_or(Err(PastError::TooLong))
    }
}

/// Makes the tables of a read model on a connection of their own, and fills them.
async fn build(
    database: &Database,
    model: ReadModel,
    grounds: &Grounds,
    upto: Position,
    bounds: Bounds,
) -> Result<Shadow, PastError> {
    let mut connection = database.connect(Some(TEMPORARY)).await?;
    // Never committed. Its rows are not written to the disk; what the catalogue of the database says of the tables is.
    connection.execute("begin").await?;
    // It waits while the tables of the next read model are made.
    sqlx::query("select set_config(name, $1, true) from unnest($2::text[]) as settings (name)")
        .bind(bounds.time.as_millis().to_string())
        .bind(["statement_timeout", "idle_in_transaction_session_timeout"])
        .execute(&mut connection)
        .await?;
    let events = gather(&mut connection, &model, grounds, upto, bounds.events).await?;
    connection.execute(sqlx::raw_sql(model.ddl)).await?;
    fill(&mut connection, &model, database.wrapping(), &events).await?;
    Ok(Shadow::of(&model, connection))
}

/// Finds what has happened by `upto` to all that the answer rests on, in order.
async fn gather(
    connection: &mut PgConnection,
    model: &ReadModel,
    grounds: &Grounds,
    upto: Position,
    most: u32,
) -> Result<Vec<Arc<RecordedEvent>>, PastError> {
    let too_much = || PastError::TooMuch { most };
    let bound = usize::try_from(most).unwrap_or(usize::MAX);
    let limit = i64::from(most) + 1;
    let (ids, steps) = match grounds {
        Grounds::Everything { of } => {
            let events = past::read(&mut *connection, of, None, upto, limit).await?;
            return if events.len() > bound { Err(too_much()) } else { Ok(events) };
        }
        Grounds::Of { ids, steps } => (ids, steps),
    };
    let mut events = BTreeMap::new();
    let mut known = BTreeSet::new();
    let mut new: BTreeSet<Uuid> = ids.iter().copied().collect();
    let mut steps = steps.iter();
    loop {
        let ids: Vec<Uuid> = new.iter().copied().collect();
        let read = past::read(&mut *connection, model.about, Some(&ids), upto, limit).await?;
        events.extend(read.into_iter().map(|event| (event.position, event)));
        known.append(&mut new);
        if events.len() > bound || known.len() > bound.saturating_mul(4) {
            return Err(too_much());
        }
        let Some(step) = steps.next() else { break };
        let found: BTreeSet<Uuid> = match step {
            Step::Mentioned => events.values().flat_map(|event| past::ids_in(&event.payload)).collect(),
            Step::Mentioning(kind) => {
                let known: Vec<Uuid> = known.iter().copied().collect();
                let found = mentions::mentioning(&mut *connection, kind, &known, upto, limit).await?;
                if found.len() > bound {
                    return Err(too_much());
                }
                found.into_iter().collect()
            }
            Step::Moments(kind) => {
                let known: Vec<Uuid> = known.iter().copied().collect();
                let moments = mentions::moments(&mut *connection, kind, &known, upto, limit).await?;
                let moments = log::read_at(&mut *connection, &moments).await?;
                events.extend(moments.into_iter().map(|event| (event.position, event)));
                BTreeSet::new()
            }
        };
        new = found.difference(&known).copied().collect();
    }
    Ok(events.into_values().collect())
}

/// Takes events in as a follower would have.
async fn fill(
    connection: &mut PgConnection,
    model: &ReadModel,
    wrapping: &Wrapping,
    events: &[Arc<RecordedEvent>],
) -> Result<(), PastError> {
    let left_out = past::left_out(connection, model.name, model.version, events).await?;
    for events in events.chunks(BATCH_EVENTS) {
        let taken = events.iter().filter(|event| !left_out.contains(&event.position)).map(Arc::as_ref);
        let batch = Batch::decode(connection, wrapping, taken).await?;
        if !batch.events.is_empty() {
            (model.apply)(connection, &batch).await?;
        }
    }
    Ok(())
}
