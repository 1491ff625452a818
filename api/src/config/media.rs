//! Where uploaded pictures are kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;

/// What the keys of a bucket must be.
pub(super) const KEYS_RULE: &str = "media.s3_access_key and media.s3_secret_key are set together";

/// Each upload copies the list of those that its account has.
pub(super) const MOST_RULE: &str = "it must be from 1 to 100000";

/// Where uploaded pictures are kept: in a bucket if one is named, else in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// The folder.
    pub folder: PathBuf,
    /// How many pictures one account may have uploaded.
    pub pictures_per_account: u32,
    /// A bucket of S3, or of a storage that speaks as it does.
    pub s3_bucket: Option<String>,
    /// Where that storage is; Amazon's unless named.
    pub s3_endpoint: Option<String>,
    /// In which region.
    pub s3_region: String,
    /// Who we are there. Without keys, whom the surroundings say.
    pub s3_access_key: Option<Secret<String>>,
    /// And what proves it.
    pub s3_secret_key: Option<Secret<String>>,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            folder: PathBuf::from(".tradepost/media"),
            pictures_per_account: 10_000,
            s3_bucket: None,
            s3_endpoint: None,
            s3_region: "us-east-1".to_owned(),
            s3_access_key: None,
            s3_secret_key: None,
        }
    }
}

impl Media {
    pub(super) fn is_most_sound(&self) -> bool {
        (1..=100_000).contains(&self.pictures_per_account)
    }

    pub(super) fn keys_are_whole(&self) -> bool {
        self.s3_access_key.is_some() == self.s3_secret_key.is_some()
    }
}
