//! Tree heads that go outside: to a file, to somebody else's server. Who can rewrite the database can not rewrite those.
//!
//! The node that signs heads hands on the newest every now and then. A head that could not be handed on is followed by the
//! next one, which covers all that it did.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventstore::proof::notary::Standing;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use crate::config::Proof;

/// After a failure, how long until the next attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// A line of the file.
#[derive(Debug, Deserialize, Serialize)]
pub struct Anchored {
    /// The head as a signed note.
    pub head: String,
}

/// Why a head did not get outside.
#[derive(Debug, Error)]
pub enum AnchorError {
    /// The file.
    #[error("the tree head could not be added to {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of it.
    #[error("line {line} of {} is no tree head", .path.display())]
    Line {
        /// Of which file.
        path: PathBuf,
        /// Which.
        line: usize,
    },
    /// The server.
    #[error("the tree head could not be posted: {0}")]
    Post(#[from] reqwest::Error),
}

/// Where heads go.
#[derive(Clone, Debug)]
pub struct Anchors {
    file: Option<PathBuf>,
    url: Option<String>,
    every: Duration,
    client: reqwest::Client,
}

impl Anchors {
    /// Those of the settings; nothing if there are none.
    pub fn of(settings: &Proof) -> Result<Option<Self>, reqwest::Error> {
        let Proof { anchor_file, anchor_url, anchor_every_s, .. } = settings;
        if anchor_file.is_none() && anchor_url.is_none() {
            return Ok(None);
        }
        let (file, url, every) = (anchor_file.clone(), anchor_url.clone(), Duration::from_secs(*anchor_every_s));
        Ok(Some(Self { file, url, every, client: crate::outgoing::client()? }))
    }

    /// Hands on what is signed here, until the task is aborted.
    pub async fn run(self, mut standing: watch::Receiver<Standing>) {
        let mut last: Option<Arc<str>> = None;
        loop {
            let newer = standing.wait_for(|standing| standing.head.is_some() && standing.head != last).await;
            let Some(head) = newer.ok().and_then(|standing| standing.head.clone()) else { return };
            match self.hand_on(&head).await {
                Ok(()) => {
                    last = Some(head);
                    tokio::time::sleep(self.every).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a tree head is not kept outside yet");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn hand_on(&self, head: &str) -> Result<(), AnchorError> {
        if let Some(path) = &self.file {
            add(path, head).await.map_err(|source| AnchorError::File { path: path.clone(), source })?;
        }
        if let Some(url) = &self.url {
            let post = self.client.post(url).header(CONTENT_TYPE, "text/plain; charset=utf-8").body(head.to_owned());
            post.send().await?.error_for_status()?;
        }
        Ok(())
    }
}

/// Adds a head to the file, durably.
async fn add(path: &Path, head: &str) -> Result<(), std::io::Error> {
    let line = serde_json::to_string(&Anchored { head: head.to_owned() })?;
    let mut file = OpenOptions::new().create(true).append(true).open(path).await?;
    // In one piece, so that two nodes with one file do not mix their lines.
    file.write_all(format!("{line}\n").as_bytes()).await?;
    file.sync_all().await
}

/// The heads in a file: lines as they are added here, or one signed note as it is.
pub fn read(path: &Path) -> Result<Vec<String>, AnchorError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| AnchorError::File { path: path.to_owned(), source })?;
    if !text.trim_start().starts_with('{') {
        return Ok(if text.trim().is_empty() { Vec::new() } else { vec![text] });
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let heads = lines.map(|(line, text)| {
        let read = serde_json::from_str(text).map(|Anchored { head }| head);
        read.map_err(|_| AnchorError::Line { path: path.to_owned(), line })
    });
    heads.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heads_are_added_and_read_back_and_what_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        for head in ["a\n1\n\n\u{2014} a x\n", "a\n2\n\n\u{2014} a y\n"] {
            add(&path, head).await.unwrap();
        }
        assert_eq!(read(&path).unwrap(), ["a\n1\n\n\u{2014} a x\n", "a\n2\n\n\u{2014} a y\n"]);
        std::fs::write(&path, "a\n1\n\n\u{2014} a x\n").unwrap();
        assert_eq!(read(&path).unwrap(), ["a\n1\n\n\u{2014} a x\n"], "one note as it is");
        std::fs::write(&path, "{\"head\":\"a\"}\n{\"had\":\"a\"}\n").unwrap();
        assert!(matches!(read(&path), Err(AnchorError::Line { line: 2, .. })));
        std::fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), [] as [&str; 0]);
    }

    #[tokio::test]
    async fn each_newer_head_goes_out_and_none_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        let settings = Proof { anchor_file: Some(path.clone()), ..Proof::default() };
        let anchors = Anchors { every: Duration::ZERO, ..Anchors::of(&settings).unwrap().unwrap() };
        let (tell, standing) = watch::channel(Standing::default());
        let handing = tokio::spawn(anchors.run(standing));
        for number in 1..=3 {
            let head = Some(Arc::from(format!("head {number}")));
            tell.send_replace(Standing { hashed: Some(number), signed: number, head: head.clone() });
            while read(&path).map_or(0, |heads| heads.len()) < usize::try_from(number).unwrap() {
                tokio::task::yield_now().await;
            }
            tell.send_replace(Standing { hashed: Some(number + 100), signed: number, head });
        }
        assert_eq!(read(&path).unwrap(), ["head 1", "head 2", "head 3"]);
        handing.abort();
        assert!(Anchors::of(&Proof::default()).unwrap().is_none());
    }
}
