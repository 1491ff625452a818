//! Watches Postgres and starts it again when it ends without having been told to.

use std::time::Duration;

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

use super::{EmbeddedError, cluster::Cluster, postmaster::Postmaster};

/// The pause before Postgres is started again: the first one, and the longest after one that ended soon each time. One that
/// is killed time after time is back soon each time too: most of the ten seconds in which everything works again are for
/// reading its log.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A Postgres that has run this long was well; the next pause is the first one again.
const WELL_AFTER: Duration = Duration::from_secs(10);

/// Holds the cluster (and so the lock of its folder) from the first start to the end.
pub(super) struct Supervisor {
    cluster: Cluster,
    postmaster: Postmaster,
    pid: watch::Sender<Option<u32>>,
    pauses: Pauses,
}

/// How long to wait before Postgres is started again.
struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Pauses {
    /// Postgres has run for so long and ended.
    fn ended_after(&mut self, ran: Duration) {
        if ran > WELL_AFTER {
            self.next = FIRST_PAUSE;
        }
    }

    /// Before the next attempt.
    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

impl Supervisor {
    pub(super) fn new(cluster: Cluster, postmaster: Postmaster, pid: watch::Sender<Option<u32>>) -> Self {
        Self { cluster, postmaster, pid, pauses: Pauses::default() }
    }

    /// Watches until told to stop Postgres, or until nobody can tell any more: then it is left running.
    ///
    /// Whether Postgres takes connections again is not waited for here. Clients see it, and an end is noticed anyway.
    pub(super) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Result<(), EmbeddedError> {
        loop {
            let since = Instant::now();
            let how = tokio::select! {
                biased;
                told = &mut stop => return self.end(told.is_ok()).await,
                how = self.postmaster.ended() => how,
            };
            self.pid.send_replace(None);
            tracing::warn!(pid = self.postmaster.pid(), how, "the private PostgreSQL has ended; starting it again");
            self.pauses.ended_after(since.elapsed());
            tokio::select! {
                biased;
                _ = &mut stop => return Ok(()),
                postmaster = self.started_again() => self.postmaster = postmaster,
            }
            self.pid.send_replace(Some(self.postmaster.pid()));
        }
    }

    async fn end(self, told: bool) -> Result<(), EmbeddedError> {
        if told { self.postmaster.shut_down().await } else { Ok(()) }
    }

    async fn started_again(&mut self) -> Postmaster {
        loop {
            sleep(self.pauses.next()).await;
            match self.cluster.spawn() {
                Ok(postmaster) => return postmaster,
                Err(error) => tracing::error!(%error, "the private PostgreSQL could not be started; trying on"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest of the ten seconds in which everything works again (F3) is what Postgres needs to read its log.
    #[test]
    fn one_that_is_killed_time_after_time_waits_longer_each_time_but_a_second_at_most() {
        let mut pauses = Pauses::default();
        let waited: Vec<_> = (0..10)
            .map(|_| {
                pauses.ended_after(Duration::from_secs(6));
                pauses.next().as_millis()
            })
            .collect();
        assert_eq!(waited, [50, 100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000, 1_000]);

        pauses.ended_after(Duration::from_secs(11));
        assert_eq!(pauses.next(), FIRST_PAUSE, "that one was well");
    }
}
