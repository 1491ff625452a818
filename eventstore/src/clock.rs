//! The marketplace's one clock. Auctions, deadlines and event times follow it, and a sandbox may set it forward.
//! Tokens and rate limits use real time instead, which [`Clock::real_now`] tells.
//!
//! Nodes agree on the time because each follows the database's: a node counts on from what the database said last, by a
//! counter that nobody sets, so a machine whose own clock is wrong or jumps neither closes an auction early nor refuses
//! a bid.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use domain::Timestamp;
use sqlx::PgExecutor;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a node asks the database for the time.
const FOLLOWED_EVERY: Duration = Duration::from_secs(30);
/// More than this between two answers is no drift: somebody has set a clock.
const JUMP: TimeDelta = TimeDelta::seconds(5);

/// A clock that can be shared; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// When it was made, by this machine's counter.
    made: Instant,
    /// The real time when it was made, in milliseconds since 1970, as far as is known.
    real_when_made_ms: Arc<AtomicI64>,
    ahead_ms: Arc<AtomicI64>,
    changed: Arc<watch::Sender<()>>,
}

impl Clock {
    /// A clock that shows real time.
    pub fn new() -> Self {
        Self {
            made: Instant::now(),
            real_when_made_ms: Arc::new(AtomicI64::new(Self::real_now().timestamp_millis())),
            ahead_ms: Arc::default(),
            changed: Arc::new(watch::Sender::new(())),
        }
    }

    /// A clock that shows `time` now and goes on from there: for a marketplace whose history is told at its own times,
    /// as the demo's is. The log must hold nothing later.
    pub fn starting_at(time: Timestamp) -> Self {
        let clock = Self::new();
        clock.ahead_ms.store((time - clock.real()).num_milliseconds(), Ordering::Release);
        clock
    }

    /// The marketplace's time, to the millisecond.
    pub fn now(&self) -> Timestamp {
        self.real() + TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Acquire))
    }

    /// Real time by this machine's own clock, to the millisecond.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock that the ban points to")]
    pub fn real_now() -> Timestamp {
        DateTime::<Utc>::trunc_subsecs(Utc::now(), 3)
    }

    /// Real time, as the database last told it and this machine has counted since.
    fn real(&self) -> Timestamp {
        let since_made = i64::try_from(self.made.elapsed().as_millis()).unwrap_or(i64::MAX);
        let ms = self.real_when_made_ms.load(Ordering::Acquire).saturating_add(since_made);
        Timestamp::from_timestamp_millis(ms).unwrap_or(Timestamp::MAX_UTC)
    }

    /// Sets the clock forward so that it shows at least `time`; never back. Answers what it shows then.
    pub fn set_forward(&self, time: Timestamp) -> Timestamp {
        let ahead = (time - self.real()).num_milliseconds();
        self.ahead_ms.fetch_max(ahead, Ordering::AcqRel);
        self.changed.send_replace(());
        self.now()
    }

    /// Takes over the database's time.
    pub async fn follow_once(&self, database: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
        let told: Timestamp = sqlx::query_scalar("select clock_timestamp()").fetch_one(database).await?;
        let off = told - self.real();
        if off.abs() > JUMP {
            tracing::warn!(off_ms = off.num_milliseconds(), "the database's clock is not where it was expected");
        }
        self.real_when_made_ms.fetch_add(off.num_milliseconds(), Ordering::AcqRel);
        self.changed.send_replace(());
        Ok(())
    }

    /// Follows the database's time until the task is aborted.
    pub async fn follow(self, pool: sqlx::PgPool) {
        loop {
            tokio::time::sleep(FOLLOWED_EVERY).await;
            if let Err(error) = self.follow_once(&pool).await {
                tracing::debug!(%error, "the database's time could not be read");
            }
        }
    }

    /// Wakes whoever sleeps until a time of this clock, each time it was set.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::database;

    #[tokio::test]
    async fn a_clock_that_is_an_hour_wrong_follows_the_databases_and_stays_as_far_ahead() {
        let pool = database().await.pool(1);
        for wrong in [TimeDelta::hours(1), TimeDelta::hours(-1)] {
            let clock = Clock::new();
            clock.set_forward(clock.now() + TimeDelta::days(3));
            clock.real_when_made_ms.fetch_add(wrong.num_milliseconds(), Ordering::AcqRel);
            clock.follow_once(&pool).await.unwrap();
            let told: Timestamp = sqlx::query_scalar("select clock_timestamp()").fetch_one(&pool).await.unwrap();
            let ahead = clock.now() - told;
            assert!((ahead - TimeDelta::days(3)).abs() < TimeDelta::minutes(1), "{ahead}");
        }
    }
}
