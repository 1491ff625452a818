//! What may be spent on answers about the past.

use std::time::Duration;

use projections::past::Bounds;
use serde::{Deserialize, Serialize};

/// Bounds of answers about the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Past {
    /// How many are worked out at once.
    pub at_once: u32,
    /// How many events one of them may rest on.
    pub events: u32,
    /// Milliseconds that one of them may take.
    pub timeout_ms: u32,
}

impl Default for Past {
    fn default() -> Self {
        Self { at_once: 2, events: 20_000, timeout_ms: 8_000 }
    }
}

impl Past {
    /// What one of them may rest on and take.
    pub fn bounds(self) -> Bounds {
        Bounds { events: self.events, time: Duration::from_millis(self.timeout_ms.into()) }
    }
}
