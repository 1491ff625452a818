//! What is signed of the log: with which key, how often, and where it is kept outside.

use std::fs;
use std::path::PathBuf;

use eventstore::proof::keys::{KeyRing, ProofKey, PublicKey};
use eventstore::proof::leaf::Blinding;
use eventstore::proof::notary::NotaryRules;
use eventstore::secrets::RootSecret;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError};

/// What the name of a log must be.
pub(super) const NAME_RULE: &str = "it must have 1 to 100 characters, none of them a space or a plus sign";
/// What former keys must be.
pub(super) const FORMER_RULE: &str = "each key between its commas must be one as `tradepost proof key` prints it";
/// How often heads may be signed.
pub(super) const EVERY_RULE: &str = "it must be from 10 to 86400000";
/// Where they may be posted to.
pub(super) const URL_RULE: &str = "it must start with https://, or with http:// and a loopback address";
/// How often.
pub(super) const ANCHOR_RULE: &str = "it must be from 1 to 31536000";

/// The purpose of the key that follows from the root secret.
const PURPOSE: &str = "proof key";

/// What is signed of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proof {
    /// The name of the log.
    pub name: String,
    /// The key that signs. `None`: it follows from the root secret.
    pub key_file: Option<PathBuf>,
    /// Public keys that signed before, with commas between.
    pub former_keys: Option<String>,
    /// Milliseconds after which a head is signed.
    pub head_every_ms: u64,
    /// Events after which one is.
    pub head_events: u64,
    /// How much of its time the notary may work while the log grows, in per cent.
    pub share_percent: u32,
    /// Where heads are added to.
    pub anchor_file: Option<PathBuf>,
    /// Where heads are posted to.
    pub anchor_url: Option<String>,
    /// Seconds between those.
    pub anchor_every_s: u64,
}

impl Default for Proof {
    fn default() -> Self {
        Self {
            name: "tradepost".to_owned(),
            key_file: None,
            former_keys: None,
            head_every_ms: 60_000,
            head_events: 10_000,
            share_percent: 3,
            anchor_file: None,
            anchor_url: None,
            anchor_every_s: 3_600,
        }
    }
}

impl Proof {
    /// How often heads are signed, and what that may cost.
    pub fn rules(&self) -> NotaryRules {
        let head_every = std::time::Duration::from_millis(self.head_every_ms);
        NotaryRules { head_every, head_events: self.head_events, share_percent: self.share_percent }
    }

    pub(super) fn name_is_usable(&self) -> bool {
        ProofKey::from_seed(&self.name, &[0; 32]).is_ok()
    }

    /// The keys that signed before; nothing if one of them is none.
    pub(super) fn former(&self) -> Option<Vec<PublicKey>> {
        let listed = self.former_keys.iter().flat_map(|keys| keys.split(','));
        listed.map(|key| key.trim().parse().ok()).collect()
    }

    pub(super) fn url_is_usable(&self) -> bool {
        self.anchor_url.as_ref().is_none_or(|url| {
            reqwest::Url::parse(url).is_ok_and(|url| match url.scheme() {
                "https" => true,
                "http" => matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")),
                _ => false,
            })
        })
    }
}

/// The keys of the log, from wherever they are.
pub fn proof_keys(config: &Config, secret: &RootSecret) -> Result<KeyRing, ConfigError> {
    let unusable =
        |key: &str, origin: String, reason: String| ConfigError::Unusable { key: key.to_owned(), origin, reason };
    let Proof { name, key_file, .. } = &config.proof;
    let current = match key_file {
        Some(file) => {
            let text = fs::read_to_string(file).map_err(ConfigError::file("read the proof key", file))?;
            ProofKey::parse(&text)
                .map_err(|fault| unusable("proof.key_file", file.display().to_string(), fault.to_string()))?
        }
        None => ProofKey::from_seed(name, &secret.key(PURPOSE))
            .map_err(|fault| unusable("proof.name", "settings".to_owned(), fault.to_string()))?,
    };
    Ok(KeyRing::new(current, config.proof.former().unwrap_or_default(), Blinding::of(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_posted_in_the_clear_to_this_machine_only() {
        let usable = |url: &str| Proof { anchor_url: Some(url.to_owned()), ..Proof::default() }.url_is_usable();
        assert!(
            ["https://a.example/x", "http://localhost:1/", "http://[::1]:1/", "http://127.0.0.1"].map(usable)
                == [true; 4]
        );
        let elsewhere =
            ["http://localhost:x@a.example/", "http://localhost.example/", "http://a.example/", "ftp://localhost/"];
        assert!(elsewhere.map(usable) == [false; 4]);
    }
}
