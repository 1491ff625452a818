//! Messages to mailboxes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Secret;

/// What the address of an SMTP server must be.
pub(super) const SMTP_RULE: &str =
    "it must start with smtps:// or smtp://; a password goes over smtps:// or with ?tls=required alone";
/// What the address of the frontend must be.
pub(super) const SITE_RULE: &str = "it must start with https:// or http:// and not end with a slash";

/// Messages to mailboxes: by an SMTP server if one is named, else into a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// The folder.
    pub folder: PathBuf,
    /// How many days a file is kept there.
    pub folder_days: u32,
    /// Whom they are from.
    pub from: String,
    /// Where the frontend is that links in messages lead to.
    pub site_url: String,
    /// The SMTP server, with user and password.
    pub smtp_url: Option<Secret<String>>,
    /// How many connections are held to it.
    pub smtp_connections: u32,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            folder: PathBuf::from(".tradepost/mail"),
            folder_days: 30,
            from: "Tradepost <tradepost@localhost>".to_owned(),
            site_url: "http://localhost:8080".to_owned(),
            smtp_url: None,
            smtp_connections: 4,
        }
    }
}

impl Mail {
    pub(super) fn smtp_is_usable(&self) -> bool {
        let Some(url) = &self.smtp_url else { return true };
        let url = url.expose();
        let encrypted = url.starts_with("smtps://") || url.ends_with("?tls=required");
        (url.starts_with("smtps://") || url.starts_with("smtp://")) && (encrypted || !url.contains('@'))
    }

    pub(super) fn site_is_usable(&self) -> bool {
        let web = self.site_url.starts_with("https://") || self.site_url.starts_with("http://");
        web && !self.site_url.ends_with('/')
    }
}
