//! The one runner that carries the log to everything that follows it.
//!
//! A follower takes batches in the order of the log and has a checkpoint: the position up to which it has taken
//! everything. Read models move it in the same transaction as their rows, so each event counts exactly once; processes
//! move it after their commands are carried out, so each event counts at least once and their commands carry keys that
//! make repeats harmless. A batch never splits a unit of work. The checkpoint row is locked while a read model takes a
//! batch, so two nodes may run the same follower.
//!
//! A batch that fails, panics or hangs is tried again over a new connection, with growing pauses. If the database is
//! well and it goes on failing, its events are taken one by one, and the one that cannot be taken is parked, as is what
//! happens to the same aggregate later; everything else goes on. See [`crate::parking`].

use std::time::Duration;

use domain::Timestamp;
use futures::future::BoxFuture;
use metrics::{counter, describe_counter};
use sqlx::{Connection, PgConnection};
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Position;
use crate::database::{Database, DatabaseError, is_outage};
use crate::event::{Act, DomainEvent, Interest, RecordedEvent, Section, UnreadableEvent};
use crate::feed::Feed;
use crate::log::Head;
use crate::parking::{self, Parked};
use crate::progress::Progress;
use crate::sealing::PersonKeys;
use crate::trace::{self, Period};
use crate::wrapping::{KeyError, Wrapping};

mod intake;
mod plans;
mod repair;
mod status;

use intake::{Checkpoint, Stretch, caught};
pub use intake::{take_events, take_range};
pub use plans::Plans;
pub use repair::{Culprit, Retaken, retry, skip};
pub use status::{Status, set_paused, statuses};

/// Counts the batches of a follower that have failed.
const FAILURES: &str = "tradepost_follower_failures_total";
/// How long a follower rests after a batch, as a multiple of what the batch took, at least and at most: many small batches
/// cost far more than a few larger ones. Whoever waits for it wakes it.
const REST: u32 = 4;
const SHORTEST_REST: Duration = Duration::from_millis(8);
const LONGEST_REST: Duration = Duration::from_millis(100);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Work on the database that takes longer hangs, as after a network was cut that tells nobody.
const DATABASE_PATIENCE: Duration = Duration::from_mins(1);
/// Effects of a process that take longer hang. Far more than a batch of questions to a payment provider that answers
/// none of them in time, since a batch that is given up begins anew.
const EFFECTS_PATIENCE: Duration = Duration::from_mins(10);
/// How often a batch is tried before its events are tried one by one.
const ATTEMPTS: i32 = 3;
/// How many events are tried one by one before their outcome is kept.
const SINGLY_EVENTS: i64 = 32;
/// How much longer a batch may take once it is time to stop: a little less than the node waits for its followers.
const STOP_PATIENCE: Duration = Duration::from_secs(4);

/// Something that follows the log.
pub trait Follower: Send + Sync {
    /// The name of its checkpoint.
    fn name(&self) -> &'static str;

    /// The version of what it makes of events. It follows only while its checkpoint is of the same one: another node
    /// may have put tables of another version in the place of its own.
    fn version(&self) -> i32;

    /// When it counts a batch as taken.
    fn delivery(&self) -> Delivery;

    /// Which events it looks at: the others only move its checkpoint.
    fn interest(&self) -> Interest {
        Interest::Everything
    }

    /// The schema of its own tables, first on the search path while it works.
    fn schema(&self) -> Option<&'static str> {
        None
    }

    /// For which one's sake it follows the log. A read model that is built beside the live one skips what that skips.
    fn stands_for(&self) -> &'static str {
        self.name()
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
        /// Where the checkpoint is.
        reached: Position,
    },
    /// The key of a person in the events cannot be opened.
    #[error(transparent)]
    Key(KeyError),
    /// A command of a process could not be carried out now.
    #[error("a command could not be carried out: {0}")]
    Command(String),
    /// A command of a process could not be carried out, since the database is away from whoever decides.
    #[error("the database is not available")]
    Unavailable,
    /// A command of a process cannot be carried out, now or later.
    #[error("a command cannot be carried out: {0}")]
    Defect(String),
    /// What the event rests on is not there; it is parked itself, perhaps.
    #[error("{0} is not there")]
    Absent(String),
    /// It took longer than anything that does not hang, or than there is time for at the end.
    #[error("it took too long and was given up")]
    Overdue,
    /// A defect.
    #[error("it panicked: {0}")]
    Panicked(String),
}

impl From<KeyError> for FollowError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Sql(error) => Self::Sql(error),
            error => Self::Key(error),
        }
    }
}

impl FollowError {
    /// Whether it is our own database that was away, and nobody else.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable | Self::Database(_) => true,
            Self::Sql(error) => is_outage(error),
            _ => false,
        }
    }

    /// Whether it is about the event, so that it would come again with the event and without it would not: nobody is
    /// away, and the tables are there.
    fn is_the_events_own(&self) -> bool {
        match self {
            Self::Unreadable(_) | Self::Defect(_) | Self::Absent(_) | Self::Panicked(_) => true,
            // One damaged row keeps up nobody else. What this process lacks would be lacking for everybody.
            Self::Key(error) => matches!(error, KeyError::Altered(_)),
            Self::Sql(error) | Self::Database(DatabaseError::Sql(error)) => {
                let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
                // A schema or a table that is not there, or not for us.
                let unprepared = code.is_some_and(|code| ["3F000", "42P01", "42501"].contains(&&*code));
                !unprepared && !is_outage(error)
            }
            Self::Database(_) | Self::OtherVersion { .. } | Self::Command(_) | Self::Unavailable | Self::Overdue => {
                false
            }
        }
    }
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
    /// The last position of the same unit of work.
    pub commit_position: Position,
    /// Its name.
    pub event_id: Uuid,
    /// Its place in the stream, from 1.
    pub sequence: i64,
    /// When it was decided.
    pub recorded_at: Timestamp,
    /// Who did it in a capacity of theirs, if they did.
    pub act: Option<Act>,
    /// What happened.
    pub event: DomainEvent,
}

impl Recorded {
    /// Reads an event that was recorded.
    fn read(event: &RecordedEvent) -> Result<Self, UnreadableEvent> {
        Ok(Self {
            position: event.position,
            commit_position: event.commit_position,
            event_id: event.event_id,
            sequence: event.sequence,
            recorded_at: event.recorded_at,
            act: event.act.as_ref().map(|act| act.0.clone()),
            event: event.decode()?,
        })
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
    /// The newest events, as this node has committed them or NATS has delivered them.
    pub feed: Feed,
    /// Where it tells how far each has come.
    pub progress: Progress,
    /// About how many events go into one batch.
    pub batch_events: i64,
    /// How often a follower that is paused looks whether it is to go on.
    pub poll: Duration,
}

/// What went wrong since the last batch that passed.
#[derive(Debug, Default)]
struct Trouble {
    /// How often a batch has failed for a reason of its own.
    attempts: i32,
    pause: Option<Duration>,
    /// What is to be told once there is a connection.
    untold: Option<String>,
}

impl Trouble {
    fn note(&mut self, error: &FollowError) {
        self.attempts += i32::from(error.is_the_events_own());
        self.untold = Some(error.to_string());
    }

    /// How long to wait before the next attempt: each time longer.
    fn pause(&mut self) -> Duration {
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        *self.pause.insert(pause)
    }

    fn care(&self) -> Care {
        if self.attempts < ATTEMPTS { Care::Together } else { Care::Singly }
    }
}

/// How events are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Care {
    /// A batch at a time.
    Together,
    /// One by one, to find the one that cannot be taken.
    Singly,
}

/// What has come of a step.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Where it began.
    checkpoint: Checkpoint,
    reached: Position,
    /// Whether something was found that cannot be taken.
    found: bool,
    /// Whether anything was of interest.
    taken: bool,
}

impl Step {
    /// Nothing was done.
    fn none(stretch: &Stretch) -> Self {
        Self::still(stretch.checkpoint)
    }

    fn still(checkpoint: Checkpoint) -> Self {
        Self { checkpoint, reached: checkpoint.position, found: false, taken: false }
    }

    /// A stretch was taken, and some of it parked.
    fn to_end(stretch: &Stretch, parked: &[Parked]) -> Self {
        let Section { events, reaches } = &stretch.section;
        let found = parked.iter().any(|event| event.error.is_some());
        Self { checkpoint: stretch.checkpoint, reached: *reaches, found, taken: !events.is_empty() }
    }
}

impl Runner {
    /// Carries the log to `follower` until `stop` is cancelled. While its tables are those of another version it only
    /// tells how far another node has carried them.
    pub async fn run(self, mut follower: Box<dyn Follower>, stop: CancellationToken) {
        describe_counter!(FAILURES, "Batches that a follower could not take; each is tried again.");
        let failures = counter!(FAILURES, "follower" => follower.name());
        let mut trouble = Trouble::default();
        let mut others = None;
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(follower.as_mut(), &stop, &mut trouble).await {
                if let FollowError::OtherVersion { theirs, reached, .. } = error {
                    if others.replace(theirs) != Some(theirs) {
                        tracing::warn!(follower = follower.name(), %error, "left to nodes of that version");
                    }
                    self.progress.reached(follower.name(), reached, true);
                    let _ = tokio::time::timeout(self.poll, stop.cancelled()).await;
                    continue;
                }
                others = None;
                failures.increment(1);
                let pause = trouble.pause();
                tracing::warn!(follower = follower.name(), %error, retry_in_ms = pause.as_millis(), "a batch failed");
                trouble.note(&error);
                let _ = tokio::time::timeout(pause, stop.cancelled()).await;
            }
        }
    }

    /// Follows the log over one connection, until it is told to stop or something fails.
    async fn follow(
        &self,
        follower: &mut dyn Follower,
        stop: &CancellationToken,
        trouble: &mut Trouble,
    ) -> Result<(), FollowError> {
        let schema = follower.schema();
        let connecting = async { Ok(self.database.connect(schema).await?) };
        let mut connection = bounded(DATABASE_PATIENCE, stop, connecting).await?;
        if let Some(error) = &trouble.untold {
            let telling = async { Ok(status::note_error(&mut connection, follower.name(), error).await?) };
            bounded(DATABASE_PATIENCE, stop, telling).await?;
            trouble.untold = None;
        }
        let mut heads = self.head.subscribe();
        // Where the last step left it. What was taken by the first is not traced: it may be the whole log.
        let mut before: Option<Checkpoint> = None;
        let mut plans = Plans::default();
        while !stop.is_cancelled() {
            let (began, began_at) = (trace::now(), Instant::now());
            let Step { checkpoint, reached, found, taken } =
                self.step(follower, &mut connection, stop, trouble.care(), before).await?;
            trouble.pause = None;
            // Care ends once what was looked for is found, or is not there.
            if found || trouble.care() == Care::Together || reached >= self.head.position() {
                trouble.attempts = 0;
            }
            let changed = taken || before != Some(checkpoint);
            self.progress.reached(follower.name(), reached, changed);
            if taken && let Some(Checkpoint { position, .. }) = before {
                trace::taken(&mut connection, follower.name(), (position, reached), Period::since(began)).await?;
            }
            before = Some(Checkpoint { position: reached, ..checkpoint });
            if taken {
                plans.taken(&mut connection, reached - checkpoint.position).await?;
            }
            if reached - checkpoint.position >= self.batch_events {
                // There is more, and enough of it.
                continue;
            }
            let rest = (began_at.elapsed() * REST).clamp(SHORTEST_REST, LONGEST_REST);
            let rested = tokio::time::sleep(rest);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.poll), if checkpoint.paused => {}
                grown = heads.wait_for(|head| *head > reached), if !checkpoint.paused => if grown.is_err() { break },
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = rested => {}
                () = self.progress.wanted(follower.name(), reached) => {}
            }
        }
        bounded(DATABASE_PATIENCE, stop, async { Ok(connection.close().await?) }).await
    }

    /// Moves the checkpoint over the next events if none of them is of interest, and it is where it was left.
    async fn pass_by(
        &self,
        follower: &dyn Follower,
        connection: &mut PgConnection,
        stop: &CancellationToken,
        from: Checkpoint,
    ) -> Result<Option<Step>, FollowError> {
        let section = self.feed.after(from.position, self.batch_events, follower.interest());
        let Some(reached) = section.filter(|section| section.events.is_empty()).map(|section| section.reaches) else {
            return Ok(None);
        };
        let moving = async {
            let moved = sqlx::query(
                "update public.followers set position = $5
                 where name = $1 and version = $2 and position = $3 and repairs = $4 and not paused",
            )
            .bind(follower.name())
            .bind(follower.version())
            .bind(from.position)
            .bind(from.repairs)
            .bind(reached)
            .execute(connection)
            .await?;
            Ok(moved.rows_affected() == 1)
        };
        let moved = bounded(DATABASE_PATIENCE, stop, moving).await?;
        Ok(moved.then_some(Step { reached, ..Step::still(from) }))
    }

    /// Takes the next events. The last step, if there was one, left the checkpoint where it was `before`.
    async fn step(
        &self,
        follower: &mut dyn Follower,
        connection: &mut PgConnection,
        stop: &CancellationToken,
        care: Care,
        before: Option<Checkpoint>,
    ) -> Result<Step, FollowError> {
        if care == Care::Together
            && let Some(from) = before
            && let Some(step) = self.pass_by(follower, connection, stop, from).await?
        {
            return Ok(step);
        }
        match follower.delivery() {
            Delivery::ExactlyOnce => {
                let taking = async {
                    let mut transaction = connection.begin().await?;
                    let stretch = self.next(follower, &mut transaction, care).await?;
                    // PLANTED: the checkpoint is there before what it stands for.
                    #[cfg(feature = "planted-bugs")]
                    if domain::planted::is(domain::planted::Bug::CheckpointFirst) {
                        advance(follower.name(), &mut transaction, stretch.section.reaches).await?;
                        transaction.commit().await?;
                        transaction = connection.begin().await?;
                    }
                    let wrapping = self.database.wrapping();
                    let done = take(follower, &mut transaction, wrapping, &stretch, care).await?;
                    transaction.commit().await?;
                    Ok(done)
                };
                bounded(DATABASE_PATIENCE, stop, taking).await
            }
            Delivery::AtLeastOnce => {
                let reading = self.next(follower, connection, care);
                let stretch = bounded(DATABASE_PATIENCE, stop, reading).await?;
                if stretch.is_empty() {
                    return Ok(Step::none(&stretch));
                }
                let effects = apply(follower, connection, self.database.wrapping(), &stretch, care);
                let parked = bounded(EFFECTS_PATIENCE, stop, effects).await?;
                bounded(DATABASE_PATIENCE, stop, settle(follower, connection, &stretch, &parked)).await
            }
        }
    }

    /// What follows the checkpoint. Only what the log itself says can be found not to be takeable.
    async fn next(
        &self,
        follower: &dyn Follower,
        connection: &mut PgConnection,
        care: Care,
    ) -> Result<Stretch, FollowError> {
        match care {
            Care::Together => Stretch::next(&self.feed, follower, connection, self.batch_events).await,
            Care::Singly => Stretch::next(&Feed::default(), follower, connection, SINGLY_EVENTS).await,
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
        done = caught(work) => done,
        () = overdue => Err(FollowError::Overdue),
    }
}

/// Takes one batch of the log after the checkpoint, which is locked, and moves it there. Parks what cannot be taken.
pub async fn take_batch(
    follower: &mut dyn Follower,
    transaction: &mut PgConnection,
    wrapping: &Wrapping,
    batch_events: i64,
) -> Result<Position, FollowError> {
    let stretch = Stretch::next(&Feed::default(), follower, transaction, batch_events).await?;
    take_events(follower, transaction, wrapping, &stretch.section.events).await?;
    advance(follower.name(), transaction, stretch.section.reaches).await?;
    Ok(stretch.section.reaches)
}

/// Takes a stretch into a read model and moves its checkpoint, which is locked.
async fn take(
    follower: &mut dyn Follower,
    transaction: &mut PgConnection,
    wrapping: &Wrapping,
    stretch: &Stretch,
    care: Care,
) -> Result<Step, FollowError> {
    if stretch.is_empty() {
        return Ok(Step::none(stretch));
    }
    // PLANTED: what has been taken is taken again.
    #[cfg(feature = "planted-bugs")]
    if domain::planted::is(domain::planted::Bug::DedupeOff) && stretch.checkpoint.position % 5 == 0 {
        apply(follower, transaction, wrapping, stretch, care).await?;
    }
    let parked = apply(follower, transaction, wrapping, stretch, care).await?;
    parking::park(transaction, follower.name(), &parked).await?;
    advance(follower.name(), transaction, stretch.section.reaches).await?;
    Ok(Step::to_end(stretch, &parked))
}

/// Takes a stretch in. Answers with what is to be parked.
async fn apply(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    Stretch { section: Section { events, .. }, exceptions, .. }: &Stretch,
    care: Care,
) -> Result<Vec<Parked>, FollowError> {
    match care {
        Care::Together => intake::take_together(follower, connection, wrapping, events, exceptions).await,
        Care::Singly => intake::take_singly(follower, connection, wrapping, events, exceptions, |_| ATTEMPTS + 1).await,
    }
}

/// Keeps what has come of a stretch that a process has taken, unless another node has moved the checkpoint, or somebody
/// has changed what is parked: then the stretch is read anew, and the keys of its commands make the repeat harmless.
async fn settle(
    follower: &dyn Follower,
    connection: &mut PgConnection,
    stretch: &Stretch,
    parked: &[Parked],
) -> Result<Step, FollowError> {
    let mut transaction = connection.begin().await?;
    let checkpoint = intake::lock(&mut transaction, follower).await?;
    let exceptions = intake::exceptions(follower, &mut transaction, &stretch.section.events).await?;
    if checkpoint.position != stretch.checkpoint.position || exceptions != stretch.exceptions {
        transaction.rollback().await?;
        return Ok(Step::still(checkpoint));
    }
    parking::park(&mut transaction, follower.name(), parked).await?;
    advance(follower.name(), &mut transaction, stretch.section.reaches).await?;
    transaction.commit().await?;
    Ok(Step::to_end(stretch, parked))
}

/// Moves the checkpoint, which is locked.
async fn advance(follower: &str, transaction: &mut PgConnection, reached: Position) -> Result<(), sqlx::Error> {
    sqlx::query("update public.followers set position = $2 where name = $1")
        .bind(follower)
        .bind(reached)
        .execute(transaction)
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
    use crate::testing::database;
    use crate::{log, mint};

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

        fn version(&self) -> i32 {
            1
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
        let events = wallet.decide(Command::RequestDeposit { deposit, owner, amount, source }).unwrap();
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
        let (feed, poll) = (Feed::default(), Duration::from_millis(10));
        let runner = Runner { database, head, feed, progress: progress.clone(), batch_events: 1, poll };
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
