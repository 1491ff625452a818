//! Another node writes as fast as this one reads: whenever this one has read what there is, there is more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Timestamp;
use eventstore::Position;
use eventstore::event::RecordedEvent;
use eventstore::log::{AppendError, Appended, Batch, Digest, StoredAnswer};
use eventstore::streams::{Snapshot, Step, Steps};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use uuid::Uuid;

use super::*;
use crate::engine::storage::{Answer, Session, Storage};

/// Whoever has no answer by then waits for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// The log in Postgres, which somebody else goes on writing.
#[derive(Debug)]
struct Busy {
    log: Postgres,
    other: Engine,
    begun: Arc<AtomicBool>,
    /// How many commands somebody else has accepted whenever this node has read.
    between: usize,
}

struct BusySession {
    session: Box<dyn Session>,
    other: Engine,
    begun: Arc<AtomicBool>,
    between: usize,
    locked: bool,
}

impl Steps for Busy {
    fn steps<'a>(
        &'a self,
        aggregate_type: &'static str,
        id: Uuid,
        rules: &'static str,
    ) -> BoxStream<'a, Result<Step, sqlx::Error>> {
        self.log.steps(aggregate_type, id, rules)
    }
}

impl Storage for Busy {
    fn connect(&self) -> BoxFuture<'_, Result<Box<dyn Session>, DatabaseError>> {
        Box::pin(async move {
            let (session, other, begun) = (self.log.connect().await?, self.other.clone(), self.begun.clone());
            Ok(Box::new(BusySession { session, other, begun, between: self.between, locked: false })
                as Box<dyn Session>)
        })
    }

    fn answers<'a>(&'a self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        self.log.answers(keys)
    }

    fn keep<'a>(&'a self, snapshots: &'a [Snapshot]) -> Answer<'a, ()> {
        self.log.keep(snapshots)
    }
}

impl Session for BusySession {
    fn head(&mut self) -> Answer<'_, Position> {
        self.session.head()
    }

    fn last_recorded_at(&mut self) -> Answer<'_, Option<Timestamp>> {
        self.session.last_recorded_at()
    }

    fn event_id_at(&mut self, at: Position) -> Answer<'_, Option<Uuid>> {
        self.session.event_id_at(at)
    }

    fn read_range(&mut self, from: Position, to: Position) -> Answer<'_, Vec<Arc<RecordedEvent>>> {
        Box::pin(async move {
            // Under the lock nobody else can write.
            if self.begun.load(Ordering::Relaxed) && !self.locked {
                join_all((0..self.between).map(|_| fund(&self.other, somebody(), 1))).await;
            }
            self.session.read_range(from, to).await
        })
    }

    fn answers<'a>(&'a mut self, keys: &'a [Digest]) -> Answer<'a, Vec<(Digest, StoredAnswer)>> {
        self.session.answers(keys)
    }

    fn append<'a>(&'a mut self, known: Position, batch: &'a Batch) -> BoxFuture<'a, Result<Appended, AppendError>> {
        self.session.append(known, batch)
    }

    fn lock_head(&mut self) -> Answer<'_, Position> {
        self.locked = true;
        self.session.lock_head()
    }

    fn unlock_head(&mut self) -> Answer<'_, ()> {
        self.locked = false;
        self.session.unlock_head()
    }

    fn append_locked<'a>(
        &'a mut self,
        known: Position,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        self.locked = false;
        self.session.append_locked(known, batch)
    }
}

#[tokio::test]
async fn a_node_decides_beside_one_that_never_stops_writing() {
    decides_beside(1).await;
}

#[tokio::test]
async fn a_node_decides_beside_one_that_writes_more_than_it_reads_at_once() {
    decides_beside(1_100).await;
}

async fn decides_beside(between: usize) {
    let database = database().await;
    let (other, begun) = (plain_node(&database).await, Arc::new(AtomicBool::new(false)));
    let log = Postgres::at(&database);
    let storage = Arc::new(Busy { log, other: other.clone(), begun: begun.clone(), between });
    let engine = Engine::over(storage, EngineSettings::default(), Clock::new(), Head::at(0), Feed::default());
    let engine = engine.await.unwrap().0;
    fund(&other, somebody(), 1).await;
    begun.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        tokio::time::timeout(PATIENCE, fund(&engine, somebody(), 1)).await.expect("an answer");
    }
    assert_gapless(&database).await;
}
