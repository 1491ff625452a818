//! What the plans bring that nobody has to define.

use commands::plans::PlanRules;
use serde::{Deserialize, Serialize};

/// Rules of plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plans {
    /// How many listings a seller without a subscription may have on offer; 0 for as many as they like.
    pub free_listings: u32,
}

impl Plans {
    /// As many listings as anybody likes.
    pub const UNLIMITED: Self = Self { free_listings: 0 };

    /// What decisions go by.
    pub fn rules(self) -> PlanRules {
        PlanRules { free_listings: (self.free_listings > 0).then_some(self.free_listings) }
    }
}

impl Default for Plans {
    fn default() -> Self {
        Self { free_listings: 200 }
    }
}
