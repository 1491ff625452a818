//! Postgres in memory, as far as the loop, the timers and the followers know it: the log with its head, keys, snapshots,
//! checkpoints and the table of timers; sessions, of which a new one ends the last of its node; and a lock on the head.
//!
//! A statement that was sent runs on the server, whatever has become of whoever sent it, unless its session has ended or
//! the server has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use eventstore::Position;
use eventstore::database::DatabaseError;
use eventstore::event::{Interest, NewEvent, RecordedEvent, Section};
use eventstore::log::{AcceptedKey, AppendError, Appended, Batch, Digest, Head, StoredAnswer};
use eventstore::streams::{Snapshot, Step, Steps};
use futures::future::{BoxFuture, pending};
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::sleep;
use uuid::Uuid;

use super::chaos::{Chaos, Fate, NODES};
use super::{Bug, mixed};
use crate::engine::storage::{Answer, Session, Storage};
use crate::timers::{Name, Table, Timer};

/// An event, with what it was decided under.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) event: Arc<RecordedEvent>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// The database.
pub(super) struct Log {
    seed: u64,
    bug: Option<Bug>,
    state: Mutex<State>,
    /// Whoever has it moves the head.
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Where the head is, for the stream to each node: who of several is woken first is not the same each time.
    pub(super) grown: [Head; NODES],
    operations: AtomicU64,
}

#[derive(Default)]
struct State {
    events: Vec<Stored>,
    streams: BTreeMap<(String, Uuid), Vec<usize>>,
    keys: BTreeMap<Digest, StoredAnswer>,
    /// Every key, as often as it was accepted.
    accepted: Vec<Digest>,
    snapshots: BTreeMap<(&'static str, Uuid), Snapshot>,
    checkpoints: BTreeMap<&'static str, Position>,
    timers: BTreeMap<Name, (Timestamp, Uuid)>,
    sessions: u64,
    ended: BTreeSet<u64>,
    away: bool,
}

/// A statement that appends, on its way to the server.
struct Statement {
    session: u64,
    known: Position,
    events: Vec<NewEvent>,
    unit_ends: Vec<usize>,
    keys: Vec<AcceptedKey>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<the log at {}>", self.head())
    }
}

/// What whoever asks a server is told that is not there, or over a session that has ended.
fn gone() -> sqlx::Error {
    sqlx::Error::PoolTimedOut
}

fn position_of(count: usize) -> Position {
    i64::try_from(count).unwrap()
}

impl State {
    fn head(&self) -> Position {
        position_of(self.events.len())
    }

    fn is_alive(&self, session: u64) -> bool {
        !self.away && !self.ended.contains(&session)
    }

    /// Appends a statement's events, or nothing.
    fn append(&mut self, statement: &Statement, bug: Option<Bug>) -> Result<Appended, AppendError> {
        if !self.is_alive(statement.session) {
            return Err(AppendError::Unknown(gone()));
        }
        if self.head() != statement.known && bug != Some(Bug::HeadUnchecked) {
            return Ok(Appended::HeadMoved);
        }
        if bug != Some(Bug::KeysNotUnique) && statement.keys.iter().any(|key| self.keys.contains_key(&key.key)) {
            return Err(AppendError::KeySeen);
        }
        let base = self.head();
        for (event, end) in statement.events.iter().zip(&statement.unit_ends) {
            let metadata: BTreeMap<String, String> = serde_json::from_str(&event.metadata).unwrap();
            self.push(event.clone(), metadata, base + position_of(*end) + 1);
        }
        if bug == Some(Bug::TimerTwice) {
            let by_timers = |event: &&NewEvent| event.metadata.contains("\"process:timers\"");
            for event in statement.events.iter().filter(by_timers) {
                let metadata = serde_json::from_str(&event.metadata).unwrap();
                let stream = (event.aggregate_type.to_owned(), event.aggregate_id);
                let sequence = self.streams[&stream].len() as u64 + 1;
                let again = NewEvent { event_id: Uuid::new_v5(&event.event_id, b"twice"), sequence, ..event.clone() };
                let end = self.head() + 1;
                self.push(again, metadata, end);
            }
        }
        for key in &statement.keys {
            let AcceptedKey { key, fingerprint, offset, answer, .. } = key.clone();
            let position = base + position_of(offset);
            self.keys.insert(key, StoredAnswer { fingerprint, position, answer });
            self.accepted.push(key);
        }
        Ok(Appended::Committed)
    }

    fn push(&mut self, event: NewEvent, metadata: BTreeMap<String, String>, end: Position) {
        let stream = (event.aggregate_type.to_owned(), event.aggregate_id);
        self.streams.entry(stream).or_default().push(self.events.len());
        let event = Arc::new(RecordedEvent::committed(event, self.head() + 1, end));
        self.events.push(Stored { event, metadata });
    }

    /// The snapshot of a stream, if it is wanted, and the events after it.
    fn steps(&self, aggregate_type: &'static str, id: Uuid, rules: &str) -> Vec<Step> {
        let snapshot = self.snapshots.get(&(aggregate_type, id)).filter(|_| rules == domain::RULES);
        let from = snapshot.map_or(0, |snapshot| snapshot.version);
        let stream = self.streams.get(&(aggregate_type.to_owned(), id));
        let events = stream.into_iter().flatten().map(|index| &self.events[*index].event);
        let first = snapshot.map(|snapshot| Step {
            sequence: snapshot.version.cast_signed(),
            event_id: None,
            payload: snapshot.state.clone(),
        });
        let after = events.filter(|event| event.sequence.unsigned_abs() > from).map(|event| Step {
            sequence: event.sequence,
            event_id: Some(event.event_id),
            payload: event.payload.clone(),
        });
        first.into_iter().chain(after).collect()
    }
}

impl Log {
    /// An empty database that is as fast as the seed says.
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Arc<Self> {
        Arc::new(Self {
            seed,
            bug,
            state: Mutex::default(),
            lock: Arc::default(),
            grown: [Head::at(0), Head::at(0)],
            operations: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A way to the server, and back.
    async fn lag(&self) {
        let operation = self.operations.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(1 + mixed(self.seed, operation) % 4)).await;
    }

    /// Where the head is.
    pub(super) fn head(&self) -> Position {
        self.state().head()
    }

    /// The id of the event at a position.
    pub(super) fn id_at(&self, at: Position) -> Option<Uuid> {
        let index = usize::try_from(at - 1).ok()?;
        self.state().events.get(index).map(|stored| stored.event.event_id)
    }

    /// The events after a position.
    pub(super) fn after(&self, position: Position) -> Vec<Stored> {
        self.state().events[usize::try_from(position).unwrap()..].to_vec()
    }

    /// Every key that was accepted, as often as it was, from the `from`-th on.
    pub(super) fn accepted(&self, from: usize) -> Vec<Digest> {
        self.state().accepted[from..].to_vec()
    }

    /// Where what was accepted under a key is.
    pub(super) fn accepted_at(&self, key: &Digest) -> Option<Position> {
        self.state().keys.get(key).map(|stored| stored.position)
    }

    /// The table of timers.
    pub(super) fn timers(&self) -> BTreeMap<Name, Timestamp> {
        self.state().timers.iter().map(|(name, (due_at, _))| (*name, *due_at)).collect()
    }

    /// How far a follower is.
    pub(super) fn checkpoint(&self, follower: &str) -> Position {
        self.state().checkpoints.get(follower).copied().unwrap_or(0)
    }

    /// The server ends, and what is on its way with it.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.away = true;
        let sessions = state.sessions;
        state.ended.extend(1..=sessions);
    }

    /// The server is there again.
    pub(super) fn restart(&self) {
        self.state().away = false;
    }

    /// How far a follower is, as it asks.
    pub(super) async fn ask_checkpoint(&self, follower: &str) -> Result<Position, sqlx::Error> {
        self.lag().await;
        if self.state().away { Err(gone()) } else { Ok(self.checkpoint(follower)) }
    }

    /// What is of interest among about `limit` events after `position`; never part of a unit of work.
    pub(super) async fn read_after(
        &self,
        position: Position,
        limit: i64,
        interest: Interest,
    ) -> Result<Section, sqlx::Error> {
        self.lag().await;
        let section = self.section(position, limit, interest);
        // What it tells may be old when it comes.
        self.lag().await;
        section
    }

    fn section(&self, position: Position, limit: i64, interest: Interest) -> Result<Section, sqlx::Error> {
        let state = self.state();
        if state.away {
            return Err(gone());
        }
        let last = state.head().min(position + limit);
        if last <= position {
            return Ok(Section { events: Vec::new(), reaches: position });
        }
        let index = |position: Position| usize::try_from(position).unwrap();
        let reaches = state.events[index(last) - 1].event.commit_position;
        let events = state.events[index(position)..index(reaches)].iter().map(|stored| stored.event.clone());
        let events = events.filter(|event| interest.includes(&event.aggregate_type)).collect();
        Ok(Section { events, reaches })
    }

    /// Moves a checkpoint from one position to another in one transaction with whatever `write` writes into the table of
    /// timers or elsewhere; nothing if it is elsewhere. Answers where it is then.
    pub(super) async fn take(
        &self,
        follower: &'static str,
        from: Position,
        to: Position,
        write: impl FnOnce(&mut BTreeMap<Name, (Timestamp, Uuid)>) + Send,
    ) -> Result<Position, sqlx::Error> {
        self.lag().await;
        let mut state = self.state();
        if state.away {
            return Err(gone());
        }
        let State { checkpoints, timers, .. } = &mut *state;
        let checkpoint = checkpoints.entry(follower).or_default();
        if *checkpoint == from || self.bug == Some(Bug::NoDedupe) {
            *checkpoint = to;
            write(timers);
        }
        Ok(*checkpoint)
    }

    /// Carries a statement out, now or never. Whoever asks has the lock.
    fn execute(&self, statement: &Statement) -> Result<Appended, AppendError> {
        let appended = self.state().append(statement, self.bug);
        self.grown.iter().for_each(|grown| grown.seen_at(self.head()));
        appended
    }
}

/// How one node reaches the database.
#[derive(Debug)]
pub(super) struct Link {
    log: Arc<Log>,
    chaos: Arc<Chaos>,
    node: usize,
    last: Mutex<Option<u64>>,
}

impl Link {
    /// The way of a node to the database.
    pub(super) fn new(log: &Arc<Log>, chaos: &Arc<Chaos>, node: usize) -> Arc<Self> {
        Arc::new(Self { log: log.clone(), chaos: chaos.clone(), node, last: Mutex::default() })
    }
}

impl Steps for Link {
    fn steps<'a>(
        &'a self,
        aggregate_type: &'static str,
        id: Uuid,
        rules: &'static str,
    ) -> BoxStream<'a, Result<Step, sqlx::Error>> {
        let read = async move {
            self.log.lag().await;
            let state = self.log.state();
            if state.away {
                return vec![Err(gone())];
            }
            state.steps(aggregate_type, id, rules).into_iter().map(Ok).collect()
        };
        stream::once(read).flat_map(stream::iter).boxed()
    }
}

impl Storage for Link {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, DatabaseError>> {
        Box::pin(async move {
            self.log.lag().await;
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let mut state = self.log.state();
            if state.away {
                return Err(DatabaseError::Sql(gone()));
            }
            state.ended.extend(*last);
            state.sessions += 1;
            *last = Some(state.sessions);
            let connection = Connection {
                log: self.log.clone(),
                chaos: self.chaos.clone(),
                node: self.node,
                session: state.sessions,
                locked: None,
            };
            Ok(Box::new(connection) as Box<dyn Session>)
        })
    }

    fn answers<'a>(&'a self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        Box::pin(async move {
            self.log.lag().await;
            let state = self.log.state();
            if state.away { Err(gone()) } else { Ok(answers(&state, keys)) }
        })
    }

    fn keep<'a>(&'a self, snapshots: &'a [Snapshot]) -> Answer<'a, ()> {
        Box::pin(async move {
            self.log.lag().await;
            let mut state = self.log.state();
            for snapshot in snapshots {
                let name = (snapshot.aggregate_type, snapshot.id);
                if state.snapshots.get(&name).is_none_or(|known| known.version < snapshot.version) {
                    state.snapshots.insert(name, snapshot.clone());
                }
            }
            Ok(())
        })
    }
}

fn answers(state: &State, keys: &[Digest]) -> Vec<(Digest, StoredAnswer)> {
    keys.iter().filter_map(|key| Some((*key, state.keys.get(key)?.clone()))).collect()
}

/// A session.
struct Connection {
    log: Arc<Log>,
    chaos: Arc<Chaos>,
    node: usize,
    session: u64,
    /// The head, while it is locked.
    locked: Option<OwnedMutexGuard<()>>,
}

impl Connection {
    /// Looks at what is there.
    async fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T, sqlx::Error> {
        self.log.lag().await;
        let state = self.log.state();
        if state.is_alive(self.session) { Ok(look(&state)) } else { Err(gone()) }
    }

    fn statement(&self, known: Position, batch: &Batch) -> Statement {
        let Batch { events, unit_ends, keys, .. } = batch;
        let (events, unit_ends, keys) = (events.clone(), unit_ends.clone(), keys.clone());
        Statement { session: self.session, known, events, unit_ends, keys }
    }

    /// Sends a statement, which arrives after some milliseconds whatever becomes of whoever waits for its answer. A lock
    /// that there is goes with it, and is given up there.
    fn send(
        &mut self,
        statement: Statement,
        arrives_after_ms: u64,
    ) -> oneshot::Receiver<Result<Appended, AppendError>> {
        let (reply, answer) = oneshot::channel();
        let (log, locked) = (self.log.clone(), self.locked.take());
        tokio::spawn(async move {
            sleep(Duration::from_millis(arrives_after_ms)).await;
            log.lag().await;
            let locked = match locked {
                Some(locked) => locked,
                None => log.lock.clone().lock_owned().await,
            };
            let appended = log.execute(&statement);
            drop(locked);
            log.lag().await;
            // Nobody may wait for it any more.
            let _ = reply.send(appended);
        });
        answer
    }

    async fn append(&mut self, statement: Statement) -> Result<Appended, AppendError> {
        let lost = || AppendError::Unknown(gone());
        if self.log.bug == Some(Bug::AnsweredEarly) {
            let fits = self.log.head() == statement.known;
            drop(self.send(statement, 20));
            return Ok(if fits { Appended::Committed } else { Appended::HeadMoved });
        }
        let fate = self.chaos.fate(self.node);
        let arrives_after_ms = match fate {
            None | Some(Fate::AnswerLost | Fate::CrashCommitted) => 0,
            Some(Fate::Slow(ms) | Fate::Cut(ms) | Fate::CrashSent(ms)) => ms,
            Some(Fate::Unsent) => {
                self.locked = None;
                return Err(lost());
            }
            Some(Fate::CrashUnsent) => {
                self.chaos.crash(self.node).await;
                0
            }
        };
        let answer = self.send(statement, arrives_after_ms);
        match fate {
            Some(Fate::Cut(_)) => return Err(lost()),
            Some(Fate::CrashSent(_)) => self.chaos.crash(self.node).await,
            Some(Fate::AnswerLost) => {
                drop(answer.await);
                return pending().await;
            }
            Some(Fate::CrashCommitted) => {
                drop(answer.await);
                self.chaos.crash(self.node).await;
                return Err(lost());
            }
            None | Some(Fate::Slow(_) | Fate::Unsent | Fate::CrashUnsent) => {}
        }
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl Session for Connection {
    fn head(&mut self) -> Answer<'_, Position> {
        Box::pin(self.look(State::head))
    }

    fn last_recorded_at(&mut self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(self.look(|state| state.events.last().map(|stored| stored.event.recorded_at)))
    }

    fn event_id_at(&mut self, at: Position) -> Answer<'_, Option<Uuid>> {
        Box::pin(self.look(move |state| {
            let index = usize::try_from(at - 1).ok()?;
            state.events.get(index).map(|stored| stored.event.event_id)
        }))
    }

    fn read_range(&mut self, from: Position, to: Position) -> Answer<'_, Vec<Arc<RecordedEvent>>> {
        Box::pin(self.look(move |state| {
            let events = state.events.iter().map(|stored| stored.event.clone());
            events.filter(|event| event.position > from && event.position <= to).collect()
        }))
    }

    fn answers<'a>(&'a mut self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        Box::pin(self.look(move |state| answers(state, keys)))
    }

    fn append<'a>(&'a mut self, known: Position, batch: &'a Batch) -> BoxFuture<'a, Result<Appended, AppendError>> {
        let statement = self.statement(known, batch);
        Box::pin(Self::append(self, statement))
    }

    fn lock_head(&mut self) -> Answer<'_, Position> {
        Box::pin(async move {
            self.locked = Some(self.log.lock.clone().lock_owned().await);
            self.look(State::head).await
        })
    }

    fn unlock_head(&mut self) -> Answer<'_, ()> {
        self.locked = None;
        Box::pin(self.look(|_| ()))
    }

    fn append_locked<'a>(
        &'a mut self,
        known: Position,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        // The lock makes the difference.
        Session::append(self, known, batch)
    }
}

/// The table of timers.
#[derive(Debug)]
pub(super) struct Due(pub(super) Arc<Log>);

impl Table for Due {
    fn nearest(&self, limit: i64) -> BoxFuture<'_, Result<Vec<Timer>, sqlx::Error>> {
        Box::pin(async move {
            self.0.lag().await;
            let state = self.0.state();
            if state.away {
                return Err(gone());
            }
            let mut timers: Vec<_> = state.timers.iter().map(timer).collect();
            timers.sort_by_key(|timer| (timer.due_at, timer.kind, timer.aggregate_id, timer.subject));
            timers.truncate(usize::try_from(limit).unwrap());
            if self.0.bug == Some(Bug::TimersEarly) {
                for timer in &mut timers {
                    timer.due_at -= TimeDelta::days(3);
                }
            }
            Ok(timers)
        })
    }

    fn holds<'a>(&'a self, wanted: &'a Timer) -> BoxFuture<'a, Result<bool, sqlx::Error>> {
        Box::pin(async move {
            self.0.lag().await;
            let state = self.0.state();
            let name = (wanted.kind, wanted.aggregate_id, wanted.subject);
            let there = state.timers.get(&name).is_some_and(|(_, set_by)| *set_by == wanted.set_by);
            if state.away { Err(gone()) } else { Ok(there) }
        })
    }

    fn head(&self) -> BoxFuture<'_, Result<Position, sqlx::Error>> {
        Box::pin(async move {
            self.0.lag().await;
            if self.0.state().away { Err(gone()) } else { Ok(self.0.head()) }
        })
    }
}

fn timer((&(kind, aggregate_id, subject), &(due_at, set_by)): (&Name, &(Timestamp, Uuid))) -> Timer {
    Timer { kind, aggregate_id, subject, due_at, set_by }
}
