//! The keys that wrap those of people: where they come from, and what they must be.

use std::path::{Path, PathBuf};

use eventstore::wrapping::Wrapping;
use serde::{Deserialize, Serialize};

use super::secret::read;
use super::{Config, ConfigError, SECRET_MIN_CHARS, Secret};

/// What a wrapping key must be. Without a comma, so that it can be listed among the former ones some day.
pub(super) const KEY_RULE: &str = "it must have at least 32 characters and no comma";
/// What former wrapping keys must be.
pub(super) const FORMER_RULE: &str = "each key between its commas must have at least 32 characters";

/// How the keys of people are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sealing {
    /// Wraps the keys of people; read it through [`wrapping`], which knows of the file too. `None`: they are stored as
    /// they are.
    pub wrapping_key: Option<Secret<String>>,
    /// A file that holds it instead.
    pub wrapping_key_file: Option<PathBuf>,
    /// Keys that open what they have wrapped before, with commas between.
    pub former_wrapping_keys: Option<Secret<String>>,
}

impl Sealing {
    pub(super) fn key_is_usable(&self) -> bool {
        self.wrapping_key.as_ref().is_none_or(|key| is_key(key.expose().trim()))
    }

    pub(super) fn key_is_in_one_place(&self) -> bool {
        self.wrapping_key.is_none() || self.wrapping_key_file.is_none()
    }

    pub(super) fn former_are_usable(&self) -> bool {
        self.former().into_iter().all(is_key)
    }

    fn former(&self) -> Vec<&str> {
        let listed = self.former_wrapping_keys.iter().flat_map(|keys| keys.expose().split(','));
        listed.map(str::trim).collect()
    }
}

fn is_key(key: &str) -> bool {
    key.chars().count() >= SECRET_MIN_CHARS && !key.contains(',')
}

/// A wrapping key that a file holds.
fn in_file(file: &Path, setting: &str) -> Result<Secret<String>, ConfigError> {
    let key = read(file, "read the wrapping key")?;
    if !is_key(key.expose()) {
        let (key, origin) = (setting.to_owned(), file.display().to_string());
        return Err(ConfigError::Unusable { key, origin, reason: KEY_RULE.to_owned() });
    }
    Ok(key)
}

/// The key that a file holds, to wrap keys with that leave the database.
pub fn carrier(file: &Path) -> Result<Wrapping, ConfigError> {
    let key = in_file(file, "--wrapping-key-file")?;
    Ok(Wrapping::new(Some(key.expose().trim()), &[]))
}

/// The configured keys, from wherever they are. Space around a key is not part of it.
pub fn wrapping(config: &Config) -> Result<Wrapping, ConfigError> {
    let Sealing { wrapping_key, wrapping_key_file, .. } = &config.sealing;
    let current = match wrapping_key_file {
        Some(file) => Some(in_file(file, "sealing.wrapping_key_file")?),
        None => wrapping_key.clone(),
    };
    Ok(Wrapping::new(current.as_ref().map(|key| key.expose().trim()), &config.sealing.former()))
}
