//! What staff are told.

use serde::{Deserialize, Serialize};

/// Rules of reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reports {
    /// How many things an account may report on a day.
    pub per_day: u32,
}

impl Default for Reports {
    fn default() -> Self {
        Self { per_day: 20 }
    }
}
