//! The one runner that carries the log to everything that follows it.
//!
//! A follower takes batches in the order of the log and has a checkpoint: the position up to which it has taken
//! everything. Read models move it in the same transaction as their rows, so each event counts exactly once; processes
//! move it after their commands are carried out, so each event counts at least once and their commands carry keys that
//! make repeats harmless. A batch never splits a unit of work. The checkpoint row is locked while a read model takes a
//! batch, so two nodes may run the same follower.
//!
//! A batch that fails, panics or hangs is tried again over a new connection, with growing pauses, until it passes;
//! nothing is skipped.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use domain::Timestamp;
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{Connection, PgConnection};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Position;
use crate::database::{Database, DatabaseError};
use crate::event::{DomainEvent, RecordedEvent, UnreadableEvent};
use crate::feed::Feed;
use crate::log::{self, Head};
use crate::progress::Progress;
use crate::sealing::{self, PersonKeys};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Work on the database that takes longer hangs, as after a network was cut that tells nobody.
const DATABASE_PATIENCE: Duration = Duration::from_mins(1);
/// Effects of a process that take longer hang. Far more than a batch of questions to a payment provider that answers
/// none of them in time, since a batch that is given up begins anew.
const EFFECTS_PATIENCE: Duration = Duration::from_mins(10);
/// How much longer a batch may take once it is time to stop: a little less than the node waits for its followers.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// Something that follows the log.
pub trait Follower: Send {
    /// The name of its checkpoint.
    fn name(&self) -> &'static str;

    /// The version of what it makes of events. It follows only while its checkpoint is of the same one: another node
    /// may have put tables of another version in the place of its own.
    fn version(&self) -> i32 {
        1
    }

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
    /// What it keeps is of another version by now.
    #[error("its checkpoint is of version {theirs}, and this is version {ours}")]
    OtherVersion {
        /// Of this code.
        ours: i32,
        /// Of the checkpoint.
        theirs: i32,
    },
    /// A command of a process could not be carried out now.
    #[error("a command could not be carried out: {0}")]
    Command(String),
    /// It took longer than anything that does not hang, or than there is time for at the end.
    #[error("it took too long and was given up")]
    Overdue,
    /// A defect.
    #[error("it panicked")]
    Panicked,
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
    /// The position of its last event; nothing if it is empty.
    fn reaches(&self) -> Option<Position> {
        self.events.last().map(|event| event.position)
    }

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
    /// The newest events, as far as NATS has delivered them.
    pub feed: Feed,
    /// Where it tells how far each has come.
    pub progress: Progress,
    /// About how many events go into one batch.
    pub batch_events: i64,
}

impl Runner {
    /// Carries the log to `follower` until `stop` is cancelled, or until its tables are those of another version.
    pub async fn run(self, mut follower: Box<dyn Follower>, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(follower.as_mut(), &stop, &mut pause).await {
                if let FollowError::OtherVersion { .. } = error {
                    tracing::warn!(follower = follower.name(), %error, "no longer followed by this node");
                    return;
                }
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
        let schema = follower.schema();
        let connecting = async { Ok(self.database.connect(schema).await?) };
        let mut connection = bounded(DATABASE_PATIENCE, stop, connecting).await?;
        let mut heads = self.head.subscribe();
        while !stop.is_cancelled() {
            let reached = self.step(follower, &mut connection, stop).await?;
            *pause = FIRST_PAUSE;
            self.progress.reached(follower.name(), reached);
            tokio::select! {
                () = stop.cancelled() => {}
                grown = heads.wait_for(|head| *head > reached) => if grown.is_err() { break },
            }
        }
        bounded(DATABASE_PATIENCE, stop, async { Ok(connection.close().await?) }).await
    }

    /// Takes one batch and answers with the position that has been reached.
    async fn step(
        &self,
        follower: &mut dyn Follower,
        connection: &mut PgConnection,
        stop: &CancellationToken,
    ) -> Result<Position, FollowError> {
        match follower.delivery() {
            Delivery::ExactlyOnce => {
                let taking = async {
                    let mut transaction = connection.begin().await?;
                    let reached = take_batch_of(&self.feed, follower, &mut transaction, self.batch_events).await?;
                    transaction.commit().await?;
                    Ok(reached)
                };
                bounded(DATABASE_PATIENCE, stop, taking).await
            }
            Delivery::AtLeastOnce => {
                let (name, version, delivery) = (follower.name(), follower.version(), follower.delivery());
                let reading = next_batch(&self.feed, name, version, delivery, connection, self.batch_events);
                let (checkpoint, batch) = bounded(DATABASE_PATIENCE, stop, reading).await?;
                let Some(reached) = batch.reaches() else { return Ok(checkpoint) };
                bounded(EFFECTS_PATIENCE, stop, async { follower.apply(connection, &batch).await }).await?;
                bounded(DATABASE_PATIENCE, stop, advance(name, connection, checkpoint, reached)).await?;
                Ok(reached)
            }
        }
    }
}

/// Lets `work` take as long as `patience`, and not much longer once it is time to stop. Its panic is an error like any
/// other.
async fn bounded<T>(
    patience: Duration,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, FollowError>>,
) -> Result<T, FollowError> {
    let overdue = async {
        if tokio::time::timeout(patience, stop.cancelled()).await.is_ok() {
            tokio::time::sleep(STOP_PATIENCE).await;
        }
    };
    tokio::select! {
        biased;
        // What a panic leaves behind is dropped: the connection here, and with it the transaction on the server.
        done = AssertUnwindSafe(work).catch_unwind() => done.unwrap_or(Err(FollowError::Panicked)),
        () = overdue => Err(FollowError::Overdue),
    }
}

/// Takes one batch of the log after the checkpoint and moves it there.
pub async fn take_batch(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    batch_events: i64,
) -> Result<Position, FollowError> {
    take_batch_of(&Feed::default(), follower, connection, batch_events).await
}

async fn take_batch_of(
    feed: &Feed,
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    batch_events: i64,
) -> Result<Position, FollowError> {
    let (name, version, delivery) = (follower.name(), follower.version(), follower.delivery());
    let (checkpoint, batch) = next_batch(feed, name, version, delivery, connection, batch_events).await?;
    let Some(reached) = batch.reaches() else { return Ok(checkpoint) };
    follower.apply(connection, &batch).await?;
    advance(name, connection, checkpoint, reached).await?;
    Ok(reached)
}

/// The checkpoint and the batch after it.
async fn next_batch(
    feed: &Feed,
    follower: &str,
    ours: i32,
    delivery: Delivery,
    connection: &mut PgConnection,
    batch_events: i64,
) -> Result<(Position, Batch), FollowError> {
    let lock = match delivery {
        Delivery::ExactlyOnce => "select version, position from public.followers where name = $1 for update",
        Delivery::AtLeastOnce => "select version, position from public.followers where name = $1",
    };
    let (theirs, checkpoint): (i32, Position) = sqlx::query_as(lock).bind(follower).fetch_one(&mut *connection).await?;
    if theirs != ours {
        return Err(FollowError::OtherVersion { ours, theirs });
    }
    let events = match feed.after(checkpoint, batch_events) {
        Some(events) => events,
        None => log::read_after(connection, checkpoint, batch_events).await?,
    };
    Ok((checkpoint, Batch::decode(connection, &events).await?))
}

/// Moves the checkpoint, unless another node has.
async fn advance(
    follower: &str,
    connection: &mut PgConnection,
    checkpoint: Position,
    reached: Position,
) -> Result<(), FollowError> {
    sqlx::query("update public.followers set position = $2 where name = $1 and position = $3")
        .bind(follower)
        .bind(reached)
        .bind(checkpoint)
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    //! What a follower may do wrong without stopping the others, or itself.

    use std::future::{pending, ready};
    use std::sync::Arc;

    use domain::wallet::{Command, PaymentMethod, Wallet};
    use domain::{AccountId, Aggregate, Currency, DepositId, Event, Money, WalletId};

    use tokio::sync::Notify;

    use crate::event::{Metadata, NewEvent};
    use crate::mint;
    use crate::testing::database;

    use super::*;

    /// Panics at first, takes the batch when it comes again, and hangs on the next.
    struct Faulty {
        delivery: Delivery,
        calls: u32,
        hangs: Arc<Notify>,
    }

    impl Follower for Faulty {
        fn name(&self) -> &'static str {
            "faulty"
        }

        fn delivery(&self) -> Delivery {
            self.delivery
        }

        fn apply<'a>(&'a mut self, _: &'a mut PgConnection, _: &'a Batch) -> BoxFuture<'a, Result<(), FollowError>> {
            self.calls += 1;
            assert!(self.calls > 1, "a defect, on purpose");
            if self.calls == 2 {
                return Box::pin(ready(Ok(())));
            }
            self.hangs.notify_one();
            Box::pin(pending())
        }
    }

    /// Two events, each a unit of work of its own.
    fn two_events() -> log::Batch {
        let (wallet, owner) = (Wallet::default(), AccountId(mint::id()));
        let source = PaymentMethod { provider: "test".to_owned(), token: "test".to_owned() };
        let amount = Money::new(1, Currency::USD).unwrap();
        let deposit = DepositId(mint::id());
        let events = wallet.decide(Command::RequestDeposit { deposit, owner, amount, source, pays: None }).unwrap();
        let id = WalletId::of(owner, Currency::USD).0;
        let events: Vec<_> = (1..)
            .zip(&events)
            .map(|(sequence, event)| NewEvent {
                event_id: mint::id(),
                aggregate_type: Wallet::TYPE,
                aggregate_id: id,
                sequence,
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_string(event).unwrap(),
                metadata: Metadata::anonymous().to_json(),
                recorded_at: Timestamp::UNIX_EPOCH,
            })
            .collect();
        log::Batch { unit_ends: vec![0, 1], events, ..log::Batch::default() }
    }

    async fn goes_on_and_stops(delivery: Delivery) {
        let database = database().await;
        let mut connection = database.connect(None).await.unwrap();
        register(&mut connection, "faulty", 1).await.unwrap();
        let two = two_events();
        assert_eq!(log::append(&mut connection, 0, &two).await.unwrap(), log::Appended::Committed);
        let (head, progress, stop) = (Head::at(2), Progress::default(), CancellationToken::new());
        let runner = Runner { database, head, feed: Feed::default(), progress: progress.clone(), batch_events: 1 };
        let hangs = Arc::new(Notify::new());
        let faulty = Faulty { delivery, calls: 0, hangs: hangs.clone() };
        let running = tokio::spawn(runner.run(Box::new(faulty), stop.clone()));
        progress.wait_for("faulty", 1, Duration::from_secs(10)).await.unwrap();
        // It is in the midst of the next batch, which would not end by itself.
        hangs.notified().await;
        stop.cancel();
        tokio::time::timeout(STOP_PATIENCE + Duration::from_secs(2), running).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_read_model_that_panics_or_hangs_goes_on_or_stops() {
        goes_on_and_stops(Delivery::ExactlyOnce).await;
    }

    #[tokio::test]
    async fn a_process_that_panics_or_hangs_goes_on_or_stops() {
        goes_on_and_stops(Delivery::AtLeastOnce).await;
    }

    #[tokio::test]
    async fn what_hangs_is_given_up() {
        let stop = CancellationToken::new();
        let hanging = bounded::<()>(Duration::from_millis(10), &stop, pending());
        let given_up = tokio::time::timeout(Duration::from_secs(5), hanging).await.unwrap();
        assert!(matches!(given_up, Err(FollowError::Overdue)));
    }
}
