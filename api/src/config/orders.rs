//! How orders are sold.

use serde::{Deserialize, Serialize};

/// Rules of sales. An order keeps those of the time when it was placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// The marketplace's share of a sale, in basis points.
    pub fee_bps: u32,
    /// Seconds that a seller has to confirm what a guest has ordered.
    pub confirm_within_s: u32,
    /// Seconds that a seller has after that to send it.
    pub cash_ship_within_s: u32,
    /// Seconds that a seller has after that to say that it was brought.
    pub cash_deliver_within_s: u32,
    /// Seconds that a buyer may inspect what was shipped.
    pub inspection_physical_s: u32,
    /// Seconds that a buyer may inspect what is digital.
    pub inspection_digital_s: u32,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            fee_bps: 200,
            confirm_within_s: 172_800,
            cash_ship_within_s: 1_209_600,
            cash_deliver_within_s: 3_888_000,
            inspection_physical_s: 1_209_600,
            inspection_digital_s: 172_800,
        }
    }
}
