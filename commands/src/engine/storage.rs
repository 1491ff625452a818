//! Where the loop keeps the log: everything that it asks of Postgres, and nothing else does.
//!
//! The loop stands on this interface and not on a connection, so that it can be run, as it is, over a log in memory whose
//! every answer is decided by a test.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;
use eventstore::Position;
use eventstore::database::{self, Database, DatabaseError};
use eventstore::event::{Interest, RecordedEvent};
use eventstore::log::{self, AppendError, Appended, Batch, Digest, StoredAnswer};
use eventstore::streams::{self, Snapshot, Step, Steps};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::{Executor, PgConnection, PgPool};
use uuid::Uuid;

use super::LOCK_PATIENCE;

/// Connections for loading aggregates that are not in memory, for their snapshots, and for answers that were given before.
const LOADING_CONNECTIONS: u32 = 4;

/// What a session is about to answer.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, sqlx::Error>>;

/// Where the log is.
pub(crate) trait Storage: Steps + fmt::Debug {
    /// A session that takes the place of the last one, which has ended once this is there: nothing that was sent over it
    /// can take effect any more.
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, DatabaseError>>;

    /// What was answered under those of `keys` that were accepted before.
    fn answers<'a>(&'a self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>>;

    /// Keeps snapshots.
    fn keep<'a>(&'a self, snapshots: &'a [Snapshot]) -> Answer<'a, ()>;
}

/// One statement after another. When it is dropped nobody knows what is still on its way.
pub(crate) trait Session: Send {
    /// Where the head is.
    fn head(&mut self) -> Answer<'_, Position>;

    /// The time of the last event; nothing in an empty log.
    fn last_recorded_at(&mut self) -> Answer<'_, Option<Timestamp>>;

    /// The id of the event at a position.
    fn event_id_at(&mut self, at: Position) -> Answer<'_, Option<Uuid>>;

    /// The events after `from` up to and including `to`, in order.
    fn read_range(&mut self, from: Position, to: Position) -> Answer<'_, Vec<Arc<RecordedEvent>>>;

    /// What was answered under those of `keys` that were accepted before.
    fn answers<'a>(&'a mut self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>>;

    /// Appends `batch` if the head is at `known`.
    fn append<'a>(&'a mut self, known: Position, batch: &'a Batch) -> BoxFuture<'a, Result<Appended, AppendError>>;

    /// Where the head is, and nobody else moves it until it is unlocked, or something is appended under the lock.
    fn lock_head(&mut self) -> Answer<'_, Position>;

    /// Gives the lock up.
    fn unlock_head(&mut self) -> Answer<'_, ()>;

    /// Appends `batch` under the lock, which is given up then, whatever comes of it.
    fn append_locked<'a>(
        &'a mut self,
        known: Position,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Appended, AppendError>>;
}

/// The log in Postgres.
#[derive(Debug)]
pub(crate) struct Postgres {
    database: Database,
    pool: PgPool,
    /// The session that was made last, which must have ended before there is another.
    last: Mutex<Option<database::Session>>,
}

impl Postgres {
    /// The log in this database.
    pub(crate) fn at(database: &Database) -> Self {
        Self { database: database.clone(), pool: database.pool(LOADING_CONNECTIONS), last: Mutex::default() }
    }
}

impl Steps for Postgres {
    fn steps<'a>(
        &'a self,
        aggregate_type: &'static str,
        id: Uuid,
        rules: &'static str,
    ) -> BoxStream<'a, Result<Step, sqlx::Error>> {
        self.pool.steps(aggregate_type, id, rules)
    }
}

impl Storage for Postgres {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, DatabaseError>> {
        Box::pin(async move {
            let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let (connection, session) = self.database.connect_in_place_of(last, LOCK_PATIENCE).await?;
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
            Ok(Box::new(connection) as Box<dyn Session>)
        })
    }

    fn answers<'a>(&'a self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        Box::pin(log::answers(&self.pool, keys))
    }

    fn keep<'a>(&'a self, snapshots: &'a [Snapshot]) -> Answer<'a, ()> {
        Box::pin(streams::keep(&self.pool, snapshots))
    }
}

impl Session for PgConnection {
    fn head(&mut self) -> Answer<'_, Position> {
        Box::pin(log::head(self))
    }

    fn last_recorded_at(&mut self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(log::last_recorded_at(self))
    }

    fn event_id_at(&mut self, at: Position) -> Answer<'_, Option<Uuid>> {
        Box::pin(log::event_id_at(self, at))
    }

    fn read_range(&mut self, from: Position, to: Position) -> Answer<'_, Vec<Arc<RecordedEvent>>> {
        Box::pin(log::read_range(self, from, to, Interest::Everything))
    }

    fn answers<'a>(&'a mut self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        Box::pin(log::answers(self, keys))
    }

    fn append<'a>(&'a mut self, known: Position, batch: &'a Batch) -> BoxFuture<'a, Result<Appended, AppendError>> {
        Box::pin(async move {
            // PLANTED: the transaction of this batch ends with the next one.
            #[cfg(feature = "planted-bugs")]
            if domain::planted::is(domain::planted::Bug::AcknowledgedEarly) && known > 400 {
                self.execute("commit; begin").await?;
            }
            log::append(self, known, batch).await
        })
    }

    fn lock_head(&mut self) -> Answer<'_, Position> {
        Box::pin(async move {
            self.execute("begin").await?;
            log::lock_head(self).await
        })
    }

    fn unlock_head(&mut self) -> Answer<'_, ()> {
        Box::pin(async move { self.execute("rollback").await.map(drop) })
    }

    fn append_locked<'a>(
        &'a mut self,
        known: Position,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        Box::pin(async move {
            match log::append(self, known, batch).await {
                Ok(appended) => {
                    self.execute("commit").await.map_err(AppendError::Unknown)?;
                    Ok(appended)
                }
                // Whoever cannot be told to give up has a connection that is of no use any more.
                Err(refused @ (AppendError::KeySeen | AppendError::Refused(_))) => {
                    self.execute("rollback").await.map_err(AppendError::Unknown)?;
                    Err(refused)
                }
                Err(unknown) => Err(unknown),
            }
        })
    }
}
