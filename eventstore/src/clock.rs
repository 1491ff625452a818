//! The marketplace's one clock. Auctions, deadlines and event times follow it, and a sandbox may set it forward.
//! Tokens and rate limits use real time instead, which [`Clock::real_now`] tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use domain::Timestamp;
use tokio::sync::watch;

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

    /// Real time, to the millisecond.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock that the ban points to")]
    pub fn real_now() -> Timestamp {
        DateTime::<Utc>::trunc_subsecs(Utc::now(), 3)
    }

    /// Sets the clock forward so that it shows at least `time`; never back. Answers what it shows then.
    pub fn set_forward(&self, time: Timestamp) -> Timestamp {
        let ahead = (time - Self::real_now()).num_milliseconds();
        self.ahead_ms.fetch_max(ahead, Ordering::AcqRel);
        self.changed.send_replace(());
        self.now()
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
