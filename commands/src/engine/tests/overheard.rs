//! The log in Postgres, and somebody who hears what the loop asks of it, and may do something before it is done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::Timestamp;
use eventstore::Position;
use eventstore::event::RecordedEvent;
use eventstore::log::{AppendError, Appended, Batch, Digest, StoredAnswer};
use eventstore::streams::{Snapshot, Step, Steps};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::engine::storage::{Answer, Session, Storage};

/// Whoever has no answer by then waits for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// What the loop asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Connect,
    /// An aggregate.
    Load,
    Head,
    Read {
        after: Position,
        to: Position,
    },
    Append {
        events: usize,
    },
    Lock,
    Unlock,
    AppendLocked {
        events: usize,
    },
    /// What was answered under keys.
    Answers,
    /// Snapshots are to be kept.
    Keep,
}

/// What whoever listens does before it is done.
type Interfere = dyn Fn(Asked) -> BoxFuture<'static, ()> + Send + Sync;

/// What was asked, in order.
#[derive(Clone)]
pub(super) struct Heard {
    asked: watch::Sender<Vec<Asked>>,
    interfere: Arc<Interfere>,
    /// Whether nothing can be appended, although everything else is answered.
    full: Arc<AtomicBool>,
}

impl Heard {
    /// Nothing so far.
    pub(super) fn with(interfere: impl Fn(Asked) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Self {
        Self { asked: watch::Sender::default(), interfere: Arc::new(interfere), full: Arc::default() }
    }

    /// From now on nothing can be appended, or it can again.
    pub(super) fn fill(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// All of it; from here on only what comes.
    pub(super) fn take(&self) -> Vec<Asked> {
        self.asked.send_replace(Vec::new())
    }

    /// Waits until this was asked.
    pub(super) async fn until(&self, wanted: impl Fn(Asked) -> bool) {
        let mut asked = self.asked.subscribe();
        let heard = asked.wait_for(|asked| asked.iter().any(|one| wanted(*one)));
        tokio::time::timeout(PATIENCE, heard).await.expect("to be asked").unwrap();
    }

    /// How many events each append was to add.
    pub(super) fn appends(&self) -> Vec<usize> {
        let asked = self.asked.borrow();
        asked.iter().filter_map(|one| if let Asked::Append { events } = one { Some(*events) } else { None }).collect()
    }

    async fn hear(&self, asked: Asked) {
        self.asked.send_modify(|all| all.push(asked));
        (self.interfere)(asked).await;
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asked.borrow().fmt(f)
    }
}

/// A node that is listened to.
pub(super) async fn overheard(database: &Database, settings: EngineSettings, head: Head, listener: &Heard) -> Engine {
    let storage = Arc::new(Overheard::at(database, listener));
    Engine::over(storage, settings, Clock::new(), head, Feed::default()).await.unwrap().0
}

#[derive(Debug)]
pub(super) struct Overheard {
    log: Postgres,
    heard: Heard,
}

impl Overheard {
    pub(super) fn at(database: &Database, heard: &Heard) -> Self {
        Self { log: Postgres::at(database), heard: heard.clone() }
    }
}

impl Steps for Overheard {
    fn steps<'a>(
        &'a self,
        aggregate_type: &'static str,
        id: Uuid,
        rules: &'static str,
    ) -> BoxStream<'a, Result<Step, sqlx::Error>> {
        let heard = stream::once(self.heard.hear(Asked::Load));
        heard.flat_map(move |()| self.log.steps(aggregate_type, id, rules)).boxed()
    }
}

impl Storage for Overheard {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, DatabaseError>> {
        Box::pin(async move {
            self.heard.hear(Asked::Connect).await;
            let (session, heard) = (self.log.connect().await?, self.heard.clone());
            Ok(Box::new(OverheardSession { session, heard }) as Box<dyn Session>)
        })
    }

    fn answers<'a>(&'a self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        Box::pin(self.heard.hear(Asked::Answers).then(|()| self.log.answers(keys)))
    }

    fn keep<'a>(&'a self, snapshots: &'a [Snapshot]) -> Answer<'a, ()> {
        Box::pin(self.heard.hear(Asked::Keep).then(|()| self.log.keep(snapshots)))
    }
}

struct OverheardSession {
    session: Box<dyn Session>,
    heard: Heard,
}

impl OverheardSession {
    /// Asks once it was heard.
    fn ask<'a, T: 'a>(
        &'a mut self,
        asked: Asked,
        ask: impl FnOnce(&'a mut dyn Session) -> BoxFuture<'a, T> + Send + 'a,
    ) -> BoxFuture<'a, T> {
        let Self { session, heard } = self;
        Box::pin(heard.hear(asked).then(|()| ask(&mut **session)))
    }
}

impl Session for OverheardSession {
    fn head(&mut self) -> Answer<'_, Position> {
        self.ask(Asked::Head, |session| session.head())
    }

    fn last_recorded_at(&mut self) -> Answer<'_, Option<Timestamp>> {
        self.session.last_recorded_at()
    }

    fn event_id_at(&mut self, at: Position) -> Answer<'_, Option<Uuid>> {
        self.session.event_id_at(at)
    }

    fn read_range(&mut self, after: Position, to: Position) -> Answer<'_, Vec<Arc<RecordedEvent>>> {
        self.ask(Asked::Read { after, to }, move |session| session.read_range(after, to))
    }

    fn answers<'a>(&'a mut self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        self.ask(Asked::Answers, |session| session.answers(keys))
    }

    fn append<'a>(&'a mut self, known: Position, batch: &'a Batch) -> BoxFuture<'a, Result<Appended, AppendError>> {
        let events = batch.events.len();
        let full = self.heard.full.clone();
        self.ask(Asked::Append { events }, move |session| {
            if full.load(Ordering::Relaxed) {
                return Box::pin(async { Err(AppendError::Unknown(sqlx::Error::WorkerCrashed)) });
            }
            session.append(known, batch)
        })
    }

    fn lock_head(&mut self) -> Answer<'_, Position> {
        self.ask(Asked::Lock, |session| session.lock_head())
    }

    fn unlock_head(&mut self) -> Answer<'_, ()> {
        self.ask(Asked::Unlock, |session| session.unlock_head())
    }

    fn append_locked<'a>(
        &'a mut self,
        known: Position,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        let events = batch.events.len();
        self.ask(Asked::AppendLocked { events }, move |session| session.append_locked(known, batch))
    }
}
