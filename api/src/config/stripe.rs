//! What a marketplace has agreed with Stripe.

use commands::payments::Secret as Password;
use commands::payments::stripe::{API_BASE, Settings};
use serde::{Deserialize, Serialize};

use super::{Secret, webhooks};

/// Where Stripe may be: the key goes there.
pub(super) const BASE_RULE: &str = "it must start with https://; http:// leads to this machine alone";
/// What a key of Stripe's is.
pub(super) const KEY_RULE: &str = "it must start with sk_ or rk_ and be followed by nothing but letters, digits and _";
/// Play money and real money are never in one marketplace.
pub(super) const LIVE_RULE: &str = "with sandbox.enabled it must be one of Stripe's test mode: sk_test_ or rk_test_";
/// What nobody asks about, only webhooks tell.
pub(super) const HEARING_RULE: &str =
    "a live key needs stripe.webhook_secrets: only webhooks tell of disputes and of money that comes back";
/// Where a payer comes back to.
pub(super) const RETURN_RULE: &str = "it must start with https:// or http://";

/// Stripe. With a key it takes the place of the sandbox as the payment provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stripe {
    /// Where its API is.
    pub api_base: String,
    /// Who we are there.
    pub api_key: Option<Secret<String>>,
    /// What its webhooks are signed with, with commas between.
    pub webhook_secrets: Option<Secret<String>>,
    /// Where a payer comes back to whom the bank has asked who they are.
    pub return_url: Option<String>,
}

impl Default for Stripe {
    fn default() -> Self {
        Self { api_base: API_BASE.to_owned(), api_key: None, webhook_secrets: None, return_url: None }
    }
}

impl Stripe {
    /// What the provider is told, if there is one; `site` is where the frontend is.
    pub fn agreed(&self, site: &str) -> Option<Settings> {
        let key = self.api_key.as_ref()?;
        Some(Settings {
            api_base: self.api_base.clone(),
            api_key: Password::new(key.expose().trim()),
            webhook_secrets: webhooks::secrets(self.webhook_secrets.as_ref()),
            return_url: self.return_url.clone(),
            site: site.to_owned(),
        })
    }

    pub(super) fn base_is_usable(&self) -> bool {
        let here = |rest: &str| {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            ["localhost", "127.0.0.1", "[::1]"].contains(&name)
        };
        let rest = self.api_base.strip_prefix("https://").filter(|rest| !rest.is_empty());
        rest.is_some() || self.api_base.strip_prefix("http://").is_some_and(here)
    }

    pub(super) fn key_is_usable(&self) -> bool {
        let Some(key) = &self.api_key else { return true };
        let key = key.expose().trim();
        let rest = key.strip_prefix("sk_").or_else(|| key.strip_prefix("rk_")).unwrap_or_default();
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    pub(super) fn key_is_of_test_mode(&self) -> bool {
        let Some(key) = &self.api_key else { return true };
        ["sk_test_", "rk_test_"].iter().any(|test| key.expose().trim().starts_with(test))
    }

    pub(super) fn hears_of_live_money(&self) -> bool {
        self.key_is_of_test_mode() || self.webhook_secrets.is_some()
    }

    pub(super) fn return_is_usable(&self) -> bool {
        self.return_url.as_ref().is_none_or(|url| url.starts_with("https://") || url.starts_with("http://"))
    }
}
