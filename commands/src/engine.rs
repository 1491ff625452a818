//! The decision loop, from the outside: send a function over the [`World`], get its answer once it is committed.
//!
//! One task per process decides commands one after another in memory and appends their events in batches, each under
//! the condition that the log's head is where the task believes it is. See [`decider`] for how it recovers when that
//! is not so. What callers may rely on:
//!
//! - **Strict serialisability.** Every answer, a refusal as well, rests on all events before the position that it
//!   carries, on whichever node it was decided, and is given only after what it rests on is committed.
//! - **All or nothing.** The events of one command, with its idempotency key, are one unit of work.
//! - **A function may run several times** before its answer: it must not do anything but look at the world and change
//!   it.
//! - A caller that goes away cancels nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Refusal;
use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::database::{Database, DatabaseError};
use eventstore::event::Metadata;
use eventstore::feed::Feed;
use eventstore::log::{Digest, Head};
use eventstore::trace::{self, Traced};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) mod cache;
mod decider;
mod job;
mod measures;
mod snapshots;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
mod world;

use decider::Decider;
use job::{Answering, Job, TypedJob};
use measures::Results;
use storage::{Postgres, Storage};
pub use world::{Halt, World};

/// How large the loop may grow.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// The most commands in one batch.
    pub batch_max: usize,
    /// The most aggregates whose states stay in memory. Far more than one command touches: it is decided only when all
    /// of them are there at once.
    pub cache_aggregates: usize,
    /// So many events after its last snapshot an aggregate has the next.
    pub snapshot_every: u64,
    /// The most commands that may be under way, from when they are sent until they are answered; further ones are
    /// turned away.
    pub queue: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { batch_max: 256, cache_aggregates: 100_000, snapshot_every: 100, queue: 4_096 }
    }
}

/// A command under which the same answer is to be given again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CommandKey {
    /// The key within its scope.
    pub key: Digest,
    /// What is asked under it.
    pub fingerprint: Digest,
}

impl CommandKey {
    /// The key that a client sent: `scope` is the account, `asked` names method, path and body.
    pub fn from_client(scope: &str, key: &str, asked: &[&str]) -> Self {
        Self { key: digest(&["client", scope, key]), fingerprint: digest(asked) }
    }

    /// The key of a process: what it does at one `step` because of one `cause` is done once.
    pub fn of_process(process: &str, cause: &str, step: &str) -> Self {
        let key = digest(&["process", process, cause, step]);
        Self { key, fingerprint: key }
    }
}

/// The first 16 bytes of a SHA-256 over the parts and their lengths.
fn digest(parts: &[&str]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hash = hash.finalize();
    std::array::from_fn(|index| hash[index])
}

/// Who sends a command, and under which key.
#[derive(Clone, Debug)]
pub struct Request {
    /// Goes into every event of the command.
    pub metadata: Metadata,
    /// Present if the command may be sent again.
    pub key: Option<CommandKey>,
    /// Whether an earlier attempt under the key may still be carried out elsewhere. Then a refusal is remembered under the
    /// key: whoever was refused must not find out later that it has happened after all.
    pub in_doubt: bool,
}

impl Request {
    /// A command that is not sent again.
    pub fn once(metadata: Metadata) -> Self {
        Self { metadata, key: None, in_doubt: false }
    }

    /// A command that may be sent again under `key`.
    pub fn keyed(metadata: Metadata, key: CommandKey) -> Self {
        Self { metadata, key: Some(key), in_doubt: false }
    }
}

/// The answer to an accepted command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Accepted<T> {
    /// What the use case answered.
    pub value: T,
    /// The position of the command's last event; of the log's head where it caused none.
    pub position: Position,
    /// Whether this is the answer that was given before under the same key.
    pub replayed: bool,
}

/// Why a command was not accepted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CommandError {
    /// A rule refuses it. The log is as it was.
    #[error("{refusal}")]
    Refused {
        /// Which rule, with its numbers.
        refusal: Refusal,
        /// The refusal rests on all events up to here.
        position: Position,
    },
    /// The key was used before for something else.
    #[error("this idempotency key was used before for something else")]
    KeyReused,
    /// It was refused before under this key, when an earlier attempt was in doubt.
    #[error("this was refused before under the same idempotency key")]
    RefusedBefore {
        /// That refusal rests on all events up to here.
        position: Position,
    },
    /// A command with this key is being decided on this node.
    #[error("a command with this idempotency key is being carried out")]
    InFlight,
    /// Too many commands are under way.
    #[error("too many commands wait to be decided")]
    Overloaded,
    /// The database is away, or this node can no longer decide. The command may have been carried out; sending it again
    /// under its key tells.
    #[error("the database is not available")]
    Unavailable,
    /// A defect: the decision panicked, or the database refuses its events. Nothing was written.
    #[error("the command could not be carried out because of a defect")]
    Defect,
}

/// A handle to the loop. Clones share it; the loop ends, after what waits is done, when the last is dropped.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Bounded by `places`.
    jobs: mpsc::UnboundedSender<Box<dyn Job>>,
    /// One for each command that may be under way.
    places: Arc<Semaphore>,
    all_places: u32,
    /// While this is so, whoever finds no place waits for one.
    paused: Arc<AtomicBool>,
    in_flight: Arc<Mutex<HashSet<Digest>>>,
    available: Arc<AtomicBool>,
    results: Arc<Results>,
}

/// While it is there, no command is under way on this node.
#[derive(Debug)]
pub(crate) struct Pause {
    /// Given up first, so that nobody finds neither a place nor the flag.
    places: Option<OwnedSemaphorePermit>,
    _flag: PauseFlag,
}

#[derive(Debug)]
struct PauseFlag(Arc<AtomicBool>);

impl PauseFlag {
    fn raise(flag: &Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag.clone())
    }
}

impl Drop for PauseFlag {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Engine {
    /// Starts the loop at the head of the log. What it commits goes into `feed`. The task ends when the last handle is
    /// dropped, or when the log turns out not to hold what this node has seen of it.
    pub async fn start(
        database: &Database,
        settings: EngineSettings,
        clock: Clock,
        head: Head,
        feed: Feed,
    ) -> Result<(Self, JoinHandle<()>), DatabaseError> {
        Self::over(Arc::new(Postgres::at(database)), settings, clock, head, feed).await
    }

    /// The same, wherever the log is.
    pub(crate) async fn over(
        storage: Arc<dyn Storage>,
        settings: EngineSettings,
        clock: Clock,
        head: Head,
        feed: Feed,
    ) -> Result<(Self, JoinHandle<()>), DatabaseError> {
        let (jobs, submitted) = mpsc::unbounded_channel();
        let all_places = u32::try_from(settings.queue).unwrap_or(u32::MAX);
        let places = Arc::new(Semaphore::new(all_places as usize));
        let available = Arc::new(AtomicBool::new(true));
        let decider = Decider::connect(storage, settings, clock, head, feed, submitted, available.clone()).await?;
        let task = tokio::spawn(decider.run());
        let (paused, in_flight, results) = (Arc::default(), Arc::default(), Arc::new(Results::new()));
        Ok((Self { jobs, places, all_places, paused, in_flight, available, results }, task))
    }

    /// Decides `decide` against the world as it then is, and answers once that is committed.
    pub async fn submit<T, F>(&self, request: Request, decide: F) -> Result<Accepted<T>, CommandError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnMut(&mut World<'_>) -> Result<T, Halt> + Send + 'static,
    {
        self.carry_out(request, decide, Traced::here("command")).await
    }

    async fn carry_out<T, F>(
        &self,
        request: Request,
        decide: F,
        traced: Option<Traced>,
    ) -> Result<Accepted<T>, CommandError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnMut(&mut World<'_>) -> Result<T, Halt> + Send + 'static,
    {
        let (in_flight, place) = self.admit(&request).await.map_err(|error| self.turned_away(error))?;
        let (reply, answer) = oneshot::channel();
        let metadata = match &traced {
            Some(traced) => request.metadata.with(trace::METADATA, traced.traceparent()),
            None => request.metadata,
        };
        let request = Request { metadata, ..request };
        let answering = Answering { reply, in_flight, place, traced, results: self.results.clone() };
        // The loop answers every job. It is gone, and jobs with it, once it has seen more than the log holds.
        let sent = self.jobs.send(Box::new(TypedJob::new(&request, decide, answering)));
        let answer = if sent.is_ok() { answer.await.ok() } else { None };
        answer.unwrap_or_else(|| Err(self.turned_away(CommandError::Unavailable)))
    }

    /// What a command needs to be under way: its key to itself, and a place.
    async fn admit(&self, request: &Request) -> Result<(Option<InFlight>, OwnedSemaphorePermit), CommandError> {
        let in_flight = request.key.map(|key| InFlight::enter(&self.in_flight, key.key)).transpose()?;
        Ok((in_flight, self.place().await?))
    }

    /// Counts a command that the loop does not answer.
    fn turned_away(&self, error: CommandError) -> CommandError {
        self.results.count::<()>(&Err(error));
        error
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, CommandError> {
        let place = match self.places.clone().try_acquire_owned() {
            Err(TryAcquireError::NoPermits) if self.paused.load(Ordering::Relaxed) => {
                self.places.clone().acquire_owned().await.ok()
            }
            place => place.ok(),
        };
        place.ok_or(CommandError::Overloaded)
    }

    /// Waits until every command that is under way on this node is answered. New ones wait until the pause is dropped.
    pub(crate) async fn pause(&self) -> Result<Pause, CommandError> {
        let mut pause = Pause { places: None, _flag: PauseFlag::raise(&self.paused) };
        let places = self.places.clone().acquire_many_owned(self.all_places).await;
        pause.places = Some(places.map_err(|_| CommandError::Unavailable)?);
        Ok(pause)
    }

    /// Looks at the world without changing it, as serialisable as a command.
    pub async fn read<T, F>(&self, mut look: F) -> Result<T, CommandError>
    where
        T: Send + 'static,
        F: FnMut(&mut World<'_>) -> Result<T, Halt> + Send + 'static,
    {
        // What was seen leaves through a slot: it is never stored as the answer of a key.
        let seen = Arc::new(Mutex::new(None));
        let slot = seen.clone();
        let look = move |world: &mut World<'_>| {
            let value = look(world)?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            Ok(())
        };
        // Not traced: it is a part of something else, and leads to nothing.
        self.carry_out(Request::once(Metadata::default()), look, None).await?;
        let value = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or(CommandError::Defect)
    }

    /// Whether the loop reaches its database and can decide.
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }
}

/// Marks a key as being decided on this node, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    keys: Arc<Mutex<HashSet<Digest>>>,
    key: Digest,
}

impl InFlight {
    fn enter(keys: &Arc<Mutex<HashSet<Digest>>>, key: Digest) -> Result<Self, CommandError> {
        let entered = keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        if entered { Ok(Self { keys: keys.clone(), key }) } else { Err(CommandError::InFlight) }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// How long the loop waits for Postgres before it takes an answer for lost.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(10);
/// How long a statement of the loop may wait for a lock: longer than the server lets a frozen node keep one, shorter
/// than the loop waits for its answer.
const LOCK_PATIENCE: Duration = Duration::from_secs(8);
/// How long connecting may take, and looking for what was lost, before both are tried again.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(2);
/// How long a caller waits while the database is away before it is told so.
const OUTAGE_PATIENCE: Duration = Duration::from_secs(1);
/// How long nobody asks for anything before the loop reads on for the sake of the next who does.
const IDLE: Duration = Duration::from_secs(1);
