//! How fast a rebuild goes, and when it is time to tell so again.

use std::time::{Duration, Instant};

use eventstore::Position;

/// Between two lines about the same rebuild.
const EVERY: Duration = Duration::from_secs(5);

/// The pace of something that goes from the start of the log to some position.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    began: Instant,
    told: Instant,
}

impl Pace {
    /// It begins now.
    pub fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, told: now }
    }

    /// Whether nothing was told for a few seconds; if so, it counts as told now.
    pub fn is_time_to_tell(&mut self) -> bool {
        let is_time = self.told.elapsed() >= EVERY;
        if is_time {
            self.told = Instant::now();
        }
        is_time
    }

    /// How long it has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Events per second so far.
    pub fn events_per_s(&self, reached: Position) -> i64 {
        reached.saturating_mul(1_000) / i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX).max(1)
    }

    /// Seconds that are left at this pace.
    pub fn left_s(&self, reached: Position, goal: Position) -> i64 {
        (goal - reached).max(0) / self.events_per_s(reached).max(1)
    }
}
