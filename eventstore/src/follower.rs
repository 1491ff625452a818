//! The one runner that carries the log to everything that follows it.
//!
//! A follower takes batches in the order of the log and has a checkpoint: the position up to which it has taken
//! everything. Read models move it in the same transaction as their rows, so each event counts exactly once; processes
//! move it after their commands are carried out, so each event counts at least once and their commands carry keys that
//! make repeats harmless. A batch never splits a unit of work. The checkpoint row is locked while a read model takes a
//! batch, so two nodes may run the same follower.
//!
//! A batch that fails is tried again, with growing pauses, until it passes; nothing is skipped.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::Timestamp;
use futures::future::BoxFuture;
use sqlx::{Connection, PgConnection};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Position;
use crate::database::{Database, DatabaseError};
use crate::event::{DomainEvent, RecordedEvent, UnreadableEvent};
use crate::log::{self, Head};
use crate::progress::Progress;
use crate::sealing::{self, PersonKeys};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Something that follows the log.
pub trait Follower: Send {
    /// The name of its checkpoint.
    fn name(&self) -> &'static str;

    /// When it counts a batch as taken.
    fn delivery(&self) -> Delivery;

    /// The schema of its own tables, first on the search path while it works.
    fn schema(&self) -> Option<&'static str> {
        None
    }

    /// Takes a batch in. For a read model a deterministic function of the batch and its own tables.
    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>>;
}

/// When a batch counts as taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// In the transaction of the follower's own rows.
    ExactlyOnce,
    /// After its effects; a crash in between repeats them.
    AtLeastOnce,
}

/// Why a batch could not be taken.
#[derive(Debug, Error)]
pub enum FollowError {
    /// An event cannot be read.
    #[error(transparent)]
    Unreadable(#[from] UnreadableEvent),
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// The database cannot be reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A command of a process could not be carried out now.
    #[error("a command could not be carried out: {0}")]
    Command(String),
}

/// Events of the log, in order, with what it takes to open their personal fields.
#[derive(Debug)]
pub struct Batch {
    /// The events.
    pub events: Vec<Recorded>,
    /// The keys of the people in them who are not forgotten.
    pub people: PersonKeys,
}

/// An event with its place and time.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its place in the log.
    pub position: Position,
    /// Its name.
    pub event_id: Uuid,
    /// Its place in the stream, from 1.
    pub sequence: i64,
    /// When it was decided.
    pub recorded_at: Timestamp,
    /// What happened.
    pub event: DomainEvent,
}

impl Batch {
    /// Reads events that were recorded, loading the keys of the people in them.
    pub async fn decode(connection: &mut PgConnection, events: &[RecordedEvent]) -> Result<Self, FollowError> {
        let people: BTreeSet<_> = events.iter().flat_map(|event| sealing::people_in(&event.payload)).collect();
        let people = PersonKeys::load(connection, &people).await?;
        let decode = |event: &RecordedEvent| {
            Ok(Recorded {
                position: event.position,
                event_id: event.event_id,
                sequence: event.sequence,
                recorded_at: event.recorded_at,
                event: event.decode()?,
            })
        };
        Ok(Self { events: events.iter().map(decode).collect::<Result<_, UnreadableEvent>>()?, people })
    }
}

/// Makes sure that `follower` has a checkpoint in this version, starting before the first event.
pub async fn register(connection: &mut PgConnection, follower: &str, version: i32) -> Result<(), sqlx::Error> {
    sqlx::query("insert into followers (name, version, position) values ($1, $2, 0) on conflict do nothing")
        .bind(follower)
        .bind(version)
        .execute(connection)
        .await?;
    Ok(())
}

/// Runs followers until it is told to stop.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Where the log and the checkpoints are.
    pub database: Database,
    /// Wakes a follower when the log grows.
    pub head: Head,
    /// Where it tells how far each has come.
    pub progress: Progress,
    /// About how many events go into one batch.
    pub batch_events: i64,
}

impl Runner {
    /// Carries the log to `follower` until `stop` is cancelled.
    pub async fn run(self, mut follower: Box<dyn Follower>, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(follower.as_mut(), &stop, &mut pause).await {
                tracing::warn!(follower = follower.name(), %error, retry_in_ms = pause.as_millis(), "a batch failed");
                let _ = tokio::time::timeout(pause, stop.cancelled()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Follows the log over one connection, until it is told to stop or something fails.
    async fn follow(
        &self,
        follower: &mut dyn Follower,
        stop: &CancellationToken,
        pause: &mut Duration,
    ) -> Result<(), FollowError> {
        let mut connection = self.database.connect(follower.schema()).await?;
        let mut heads = self.head.subscribe();
        while !stop.is_cancelled() {
            let reached = self.step(follower, &mut connection).await?;
            *pause = FIRST_PAUSE;
            self.progress.reached(follower.name(), reached);
            tokio::select! {
                () = stop.cancelled() => {}
                grown = heads.wait_for(|head| *head > reached) => if grown.is_err() { break },
            }
        }
        connection.close().await?;
        Ok(())
    }

    /// Takes one batch and answers with the position that has been reached.
    async fn step(&self, follower: &mut dyn Follower, connection: &mut PgConnection) -> Result<Position, FollowError> {
        match follower.delivery() {
            Delivery::ExactlyOnce => {
                let mut transaction = connection.begin().await?;
                let reached = take_batch(follower, &mut transaction, self.batch_events).await?;
                transaction.commit().await?;
                Ok(reached)
            }
            Delivery::AtLeastOnce => take_batch(follower, connection, self.batch_events).await,
        }
    }
}

/// Takes one batch after the checkpoint and moves it there.
pub async fn take_batch(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    batch_events: i64,
) -> Result<Position, FollowError> {
    let lock = match follower.delivery() {
        Delivery::ExactlyOnce => "select position from public.followers where name = $1 for update",
        Delivery::AtLeastOnce => "select position from public.followers where name = $1",
    };
    let checkpoint: Position = sqlx::query_scalar(lock).bind(follower.name()).fetch_one(&mut *connection).await?;
    let events = log::read_after(connection, checkpoint, batch_events).await?;
    let Some(last) = events.last() else { return Ok(checkpoint) };
    let reached = last.position;
    let batch = Batch::decode(connection, &events).await?;
    follower.apply(connection, &batch).await?;
    sqlx::query("update public.followers set position = $2 where name = $1 and position = $3")
        .bind(follower.name())
        .bind(reached)
        .bind(checkpoint)
        .execute(connection)
        .await?;
    Ok(reached)
}
