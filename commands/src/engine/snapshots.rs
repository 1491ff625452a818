//! Snapshots of aggregates with long streams: taken by the loop, kept by a task of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use eventstore::streams::Snapshot;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::STATEMENT_PATIENCE;
use super::cache::{Entry, StreamKey};
use super::storage::Storage;

/// How many may wait to be kept. One that finds no place is taken at a later event.
const WAITING: usize = 1_024;
/// How soon after some were kept the next are: of a busy aggregate only the last counts.
const PACE: Duration = Duration::from_millis(100);

/// Takes snapshots. Nothing waits for them, and any may be lost.
#[derive(Debug)]
pub(crate) struct Snapshots {
    /// After so many events there is another.
    every: u64,
    taken: mpsc::Sender<Snapshot>,
    keeping: JoinHandle<()>,
}

impl Snapshots {
    /// Keeps them in `storage` until this is dropped.
    pub(crate) fn start(storage: Arc<dyn Storage>, every: u64) -> Self {
        let (taken, snapshots) = mpsc::channel(WAITING);
        Self { every, taken, keeping: tokio::spawn(keep(storage, snapshots)) }
    }

    /// Ends at once: those that were taken may be of events that the log has lost.
    pub(crate) fn abandon(self) {
        self.keeping.abort();
    }

    /// Ends once those that were taken are kept.
    pub(crate) async fn end(self) {
        drop(self.taken);
        // It does not panic, and nobody aborts it.
        let _ = self.keeping.await;
    }

    /// Takes a snapshot of a state that the log has, if it is time.
    pub(crate) fn offer(&self, key: StreamKey, entry: &mut Entry) {
        if entry.version < entry.in_snapshot + self.every {
            return;
        }
        if let Ok(place) = self.taken.try_reserve()
            && let Ok(state) = entry.to_json()
        {
            entry.in_snapshot = entry.version;
            let Entry { version, last_event, .. } = *entry;
            place.send(Snapshot { aggregate_type: key.aggregate_type, id: key.id, version, last_event, state });
        }
    }
}

async fn keep(storage: Arc<dyn Storage>, mut taken: mpsc::Receiver<Snapshot>) {
    let mut snapshots = Vec::new();
    while taken.recv_many(&mut snapshots, WAITING).await > 0 {
        let by_aggregate = snapshots.drain(..).map(|snapshot| ((snapshot.aggregate_type, snapshot.id), snapshot));
        let last: Vec<_> = by_aggregate.collect::<HashMap<_, _>>().into_values().collect();
        match tokio::time::timeout(STATEMENT_PATIENCE, storage.keep(&last)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "snapshots could not be kept"),
            Err(_) => tracing::debug!("snapshots could not be kept in time"),
        }
        tokio::time::sleep(PACE).await;
    }
}
