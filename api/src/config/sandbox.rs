//! The sandbox for trying things out: a clock that can be set forward, and a payment provider that moves no real money.

use serde::{Deserialize, Serialize};

use super::Secret;

/// What secrets of webhooks must be: whoever has one can say that money has come.
pub(super) const WEBHOOK_RULE: &str = "each secret between its commas must have at least 16 characters";
const WEBHOOK_SECRET_MIN_CHARS: usize = 16;

/// The sandbox for trying things out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// Whether its clock is offered.
    pub enabled: bool,
    /// What webhooks of its payment provider are signed with, with commas between.
    pub webhook_secrets: Option<Secret<String>>,
}

impl Sandbox {
    /// The secrets, one by one.
    pub fn webhook_secrets(&self) -> Vec<commands::payments::Secret> {
        let secrets = self.webhook_secrets.iter().flat_map(|secrets| secrets.expose().split(','));
        secrets.map(|secret| commands::payments::Secret::new(secret.trim())).collect()
    }

    pub(super) fn secrets_are_usable(&self) -> bool {
        self.webhook_secrets().iter().all(|secret| secret.expose().chars().count() >= WEBHOOK_SECRET_MIN_CHARS)
    }
}
