//! Building a read model from the log, beside the live one that goes on serving.
//!
//! The tables are filled in a schema `<name>_next`, which nobody follows. Then, in four steps:
//!
//! 1. **Fill** up to where the live model is: the log is read [ahead] of the tables that take it in.
//! 2. **Compare** both at the live model's position in one snapshot, which stops nobody. Only when both are of the same
//!    version: other versions may show the same log in other rows.
//! 3. **Fill** up to the head, make the indexes that filling does without, and fill what has come meanwhile.
//! 4. **Swap**: one transaction locks the live checkpoint, so that the live model stands still, takes the rest of the
//!    log, and lets the two schemas change names. Postgres looks names up again after that, so readers and the live
//!    runner go on with the new tables at their next statement; nobody ever sees a half of both. A runner of another
//!    version finds a checkpoint that is not its own, and stops. The old tables are dropped afterwards and not in that
//!    transaction, since dropping waits for readers, who would have to wait for it in turn.
//!
//! Whatever is interrupted before that transaction commits leaves the live model untouched; the next call, or the next
//! start of a node, removes what is left of it.

use std::fmt;
use std::time::Duration;

use eventstore::Position;
use eventstore::database::{Database, DatabaseError};
use eventstore::follower::FollowError;
use eventstore::parking::ParkedEvent;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use sqlx::Connection;
use thiserror::Error;
use tokio_util::task::AbortOnDropHandle;

use crate::digest::{Difference, TableDigest};
use crate::{ReadModel, find, schema};

mod ahead;
mod beside;
mod progress;

pub use ahead::BATCH_EVENTS;
use ahead::Goal;
use beside::Beside;
pub use progress::Pace;

/// How long a rebuild waits for another of the same model to end, which may have been killed a moment ago.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a read model was not rebuilt. The live one is untouched.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// There is no such read model.
    #[error("there is no read model `{0}`")]
    Unknown(String),
    /// It is being rebuilt already.
    #[error("`{0}` is being rebuilt by somebody else")]
    UnderWay(&'static str),
    /// It has no tables yet.
    #[error("`{0}` has no tables yet: migrate first")]
    Absent(&'static str),
    /// Its rows cannot be compared with those of this code.
    #[error("`{name}` is live in version {live}, and this is version {version}")]
    OtherVersion {
        /// The read model.
        name: &'static str,
        /// Of the live tables.
        live: i32,
        /// Of this code.
        version: i32,
    },
    /// Somebody has made the live tables anew.
    #[error("`{0}` was made anew by somebody else meanwhile")]
    Replaced(&'static str),
    /// The database cannot be reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The log cannot be read or taken in.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Follow(error.into())
    }
}

/// What came of a rebuild.
#[derive(Clone, Debug, Serialize)]
pub struct Rebuilt {
    /// The read model.
    pub name: &'static str,
    /// In which version it is live now.
    pub version: i32,
    /// Up to which position the new tables showed the log when they became the live ones.
    pub position: Position,
    /// What the tables before it held; nothing if they were of another version, or not there.
    pub comparison: Option<Comparison>,
}

/// A live read model beside one that was built from the log, both at the same position.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Comparison {
    /// The position: that of the live one when it was looked at.
    pub position: Position,
    /// What the one from the log holds.
    pub tables: Vec<TableDigest>,
    /// The tables in which the live one differs from it.
    pub differences: Vec<Difference>,
    /// The events that the one from the log could not take, or that wait behind those.
    pub parked: Vec<ParkedEvent>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
        let Self { position, tables, differences, parked } = self;
        if differences.is_empty() {
            write!(f, "identical at position {position}: {} tables, {rows} rows", tables.len())?;
        } else {
            let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
            write!(f, "different at position {position}: {}", differences.join("; "))?;
        }
        match parked.len() {
            0 => Ok(()),
            count => write!(f, "; {count} events are parked"),
        }
    }
}

/// Builds a read model anew from the log, in the version of this code, and puts it in the place of the live one, if
/// there is one. Tells `progress` how far it is, and how far it has to go.
pub async fn rebuild(
    database: &Database,
    name: &str,
    mut progress: impl FnMut(Position, Position) + Send,
) -> Result<Rebuilt, RebuildError> {
    let mut beside = Beside::begin(database, known(name)?, Some(PATIENCE)).await?;
    let comparison = if beside.is_comparable() {
        beside.fill(Goal::LiveModel, &mut progress).await?;
        Some(beside.compare().await?)
    } else {
        None
    };
    let rebuilt = beside.complete(comparison, &mut progress).await?;
    beside.close().await?;
    Ok(rebuilt)
}

/// Builds a read model anew from the log, compares it with the live one, and throws it away.
pub async fn verify(
    database: &Database,
    name: &str,
    mut progress: impl FnMut(Position, Position) + Send,
) -> Result<Comparison, RebuildError> {
    let mut beside = Beside::begin(database, known(name)?, Some(PATIENCE)).await?;
    let compared = if let Some(refusal) = beside.refuse_to_compare() {
        Err(refusal)
    } else {
        beside.fill(Goal::LiveModel, &mut progress).await?;
        beside.compare().await
    };
    beside.close().await?;
    compared
}

/// Removes what interrupted rebuilds of read models have left, unless somebody else is at them.
pub async fn discard(database: &Database, models: &[ReadModel]) -> Result<(), RebuildError> {
    remove_left_over(database, models, PATIENCE).await
}

async fn remove_left_over(database: &Database, models: &[ReadModel], patience: Duration) -> Result<(), RebuildError> {
    for model in models {
        match Beside::take_turn(database, *model, Some(patience)).await {
            Ok(beside) => beside.close().await?,
            // They are being filled.
            Err(RebuildError::UnderWay(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes sure that every read model is there in the version of this code, before a node serves. One that is not, or is
/// of another version, is built from the log beside the live one, which other nodes go on with until the two are
/// swapped. Removes what interrupted rebuilds have left.
///
/// Safe to run on several nodes at once: one of them builds, the others wait for it.
pub async fn ensure(database: &Database) -> Result<(), RebuildError> {
    let mut owner = database.connect_as_owner().await?;
    let outdated = schema::ensure(&mut owner).await?;
    let left_over = schema::left_over(&mut owner).await?;
    owner.close().await?;
    at_once(outdated, cores(), |model| bring_up(database.clone(), model)).await?;
    remove_left_over(database, &left_over, Duration::from_millis(1)).await
}

/// Builds a read model in the version of this code, unless another node has done so by now.
pub(crate) async fn bring_up(database: Database, model: ReadModel) -> Result<(), RebuildError> {
    let mut beside = Beside::begin(&database, model, None).await?;
    if !beside.is_comparable() {
        let (name, version, was) = (model.name, model.version, beside.live_version);
        tracing::info!(read_model = name, was, version, "a read model is built from the log");
        let mut pace = Pace::begin();
        let progress = |reached, goal| {
            if pace.is_time_to_tell() {
                let (events_per_s, left_s) = (pace.events_per_s(reached), pace.left_s(reached, goal));
                tracing::info!(read_model = name, reached, goal, events_per_s, left_s, "a read model is being built");
            }
        };
        let position = beside.complete(None, progress).await?.position;
        tracing::info!(read_model = name, version, position, "a read model is built");
    }
    beside.close().await
}

/// Does `work` for each of `models`, so many at a time, each in a task of its own. The first failure ends all of it.
pub async fn at_once<T, F>(
    models: Vec<ReadModel>,
    jobs: usize,
    work: impl Fn(ReadModel) -> F,
) -> Result<Vec<T>, RebuildError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, RebuildError>> + Send + 'static,
{
    let tasks = stream::iter(models).map(|model| {
        let task = AbortOnDropHandle::new(tokio::spawn(work(model)));
        async { task.await.unwrap_or_else(|error| Err(FollowError::Panicked(error.to_string()).into())) }
    });
    tasks.buffered(jobs.max(1)).try_collect().await
}

/// How many read models are worth rebuilding at once.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn known(name: &str) -> Result<ReadModel, RebuildError> {
    find(name).ok_or_else(|| RebuildError::Unknown(name.to_owned()))
}
