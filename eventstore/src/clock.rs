//! The marketplace's one clock. Auctions, deadlines and event times follow it, and a sandbox may set it forward.
//! Tokens and limits of guessing use real time instead, which [`Clock::real_now`] tells.
//!
//! Nodes agree on the time because each follows the database's: a process counts on from what the database said last, by a
//! counter that nobody sets, so a machine whose own clock is wrong or jumps neither closes an auction early nor refuses
//! a bid or a token. If it is the database's clock that jumps, that is believed once it has been told twice.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use domain::Timestamp;
use sqlx::PgExecutor;
use tokio::sync::watch;
use tokio::time::Instant;

/// How often a node asks the database for the time.
const FOLLOWED_EVERY: Duration = Duration::from_secs(30);
/// How soon it is asked once more after what looked like a jump.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// More than this between two answers is no drift: somebody has set a clock.
const JUMP: TimeDelta = TimeDelta::seconds(5);

/// Real time in this process: what was told last, and a counter since.
struct Real {
    since: Instant,
    /// What it was then, in milliseconds since 1970.
    then_ms: AtomicI64,
}

/// Until a database has told, what the machine's own clock shows is believed.
static REAL: LazyLock<Real> =
    LazyLock::new(|| Real { since: Instant::now(), then_ms: AtomicI64::new(machine_now().timestamp_millis()) });

#[expect(clippy::disallowed_methods, reason = "this is the one clock that the ban points to")]
fn machine_now() -> Timestamp {
    Utc::now()
}

/// A clock that can be shared; clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock {
    ahead_ms: Arc<AtomicI64>,
    changed: Arc<watch::Sender<()>>,
}

impl Clock {
    /// A clock that shows real time.
    pub fn new() -> Self {
        Self { ahead_ms: Arc::default(), changed: Arc::new(watch::Sender::new(())) }
    }

    /// A clock that shows `time` now and goes on from there: for a marketplace whose history is told at its own times,
    /// as the demo's is. The log must hold nothing later.
    pub fn starting_at(time: Timestamp) -> Self {
        let clock = Self::new();
        clock.ahead_ms.store((time - Self::real_now()).num_milliseconds(), Ordering::Release);
        clock
    }

    /// The marketplace's time, to the millisecond.
    pub fn now(&self) -> Timestamp {
        Self::real_now() + TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Acquire))
    }

    /// Real time, to the millisecond: as the database last told this process, and it has counted since.
    pub fn real_now() -> Timestamp {
        let counted = i64::try_from(REAL.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let ms = REAL.then_ms.load(Ordering::Acquire).saturating_add(counted);
        Timestamp::from_timestamp_millis(ms).unwrap_or(Timestamp::MAX_UTC)
    }

    /// Sets the clock forward so that it shows at least `time`; never back. Answers what it shows then.
    pub fn set_forward(&self, time: Timestamp) -> Timestamp {
        let ahead = (time - Self::real_now()).num_milliseconds();
        self.ahead_ms.fetch_max(ahead, Ordering::AcqRel);
        self.changed.send_replace(());
        self.now()
    }

    /// Takes over the database's time.
    pub async fn follow_once(&self, database: impl PgExecutor<'_>) -> Result<(), sqlx::Error> {
        self.correct(ask(database).await?);
        Ok(())
    }

    /// Follows the database's time until the task is aborted.
    pub async fn follow(self, pool: sqlx::PgPool) {
        let mut doubted = None;
        loop {
            tokio::time::sleep(if doubted.is_some() { ASKED_AGAIN_AFTER } else { FOLLOWED_EVERY }).await;
            match ask(&pool).await {
                Ok(told) => doubted = self.follow_unless_doubted(told, doubted),
                Err(error) => tracing::debug!(%error, "the database's time could not be read"),
            }
        }
    }

    /// Takes over what the database has told, unless it is a jump that it tells for the first time. Returns the jump that
    /// it is to tell again.
    fn follow_unless_doubted(&self, told: Timestamp, doubted: Option<TimeDelta>) -> Option<TimeDelta> {
        let off = told - Self::real_now();
        let is_confirmed = doubted.is_some_and(|doubted| (off - doubted).abs() <= JUMP);
        if off.abs() > JUMP && !is_confirmed {
            tracing::warn!(off_ms = off.num_milliseconds(), "the database's clock has jumped; it is asked once more");
            return Some(off);
        }
        if is_confirmed {
            tracing::warn!(off_ms = off.num_milliseconds(), "the database's clock has jumped, and is followed");
        }
        self.correct(told);
        None
    }

    fn correct(&self, told: Timestamp) {
        let counted = i64::try_from(REAL.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        REAL.then_ms.store(told.timestamp_millis().saturating_sub(counted), Ordering::Release);
        self.changed.send_replace(());
    }

    /// Wakes whoever sleeps until a time of this clock, each time it was set.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// What the database's clock shows now, if what it says has taken as long to come as the question.
async fn ask(database: impl PgExecutor<'_>) -> Result<Timestamp, sqlx::Error> {
    let asked = Instant::now();
    let told: Timestamp = sqlx::query_scalar("select clock_timestamp()").fetch_one(database).await?;
    Ok(told + asked.elapsed() / 2)
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
            clock.correct(Clock::real_now() + wrong);
            clock.follow_once(&pool).await.unwrap();
            let told: Timestamp = sqlx::query_scalar("select clock_timestamp()").fetch_one(&pool).await.unwrap();
            let ahead = clock.now() - told;
            assert!((ahead - TimeDelta::days(3)).abs() < TimeDelta::minutes(1), "{ahead}");
        }
    }

    #[test]
    fn a_jump_is_followed_once_it_has_been_told_twice() {
        let clock = Clock::new();
        let shown = || ((Clock::real_now() - machine_now()).num_seconds() + 1_800).div_euclid(3_600);
        let told = |hours| Clock::real_now() + TimeDelta::hours(hours);
        let doubted = clock.follow_unless_doubted(told(1), None);
        assert_eq!((doubted.is_some(), shown()), (true, 0));
        // Something else is a jump of its own, and what is right again ends the doubt.
        let doubted = clock.follow_unless_doubted(told(-1), doubted);
        assert_eq!((doubted.is_some(), shown()), (true, 0));
        assert_eq!(clock.follow_unless_doubted(told(0), doubted), None);
        let doubted = clock.follow_unless_doubted(told(1), None);
        assert_eq!((clock.follow_unless_doubted(told(1), doubted), shown()), (None, 1));
    }
}
