//! The sandbox for trying things out: a clock that can be set forward, and a payment provider that moves no real money.

use serde::{Deserialize, Serialize};

use super::{Secret, webhooks};

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
        webhooks::secrets(self.webhook_secrets.as_ref())
    }
}
