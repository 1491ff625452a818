//! What affiliates earn.

use serde::{Deserialize, Serialize};

/// What a number of days may be.
pub(super) const DAYS_RULE: &str = "it must be from 1 to 365";

/// Rules of commissions. An order keeps those of the time when it was placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Affiliate {
    /// The affiliate's share of an order, in basis points.
    pub commission_bps: u32,
    /// Whether that is never more than the marketplace's fee on it.
    pub within_fee: bool,
    /// Days that a click counts.
    pub attribution_days: u32,
}

impl Default for Affiliate {
    fn default() -> Self {
        Self { commission_bps: 500, within_fee: false, attribution_days: 30 }
    }
}

impl Affiliate {
    pub(super) fn days_are_in_range(self) -> bool {
        (1..=365).contains(&self.attribution_days)
    }
}
