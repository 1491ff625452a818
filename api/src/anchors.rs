//! Tree heads that go outside: to a file, to somebody else's server. Who can rewrite the database can not rewrite those.
//!
//! The node that signs heads hands on the newest every now and then. A head that could not be handed on is followed by the
//! next one, which covers all that it did.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use eventstore::proof::TreeHead;
use eventstore::proof::keys::KeyRing;
use eventstore::proof::notary::Standing;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use thiserror::Error;
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
    #[error("the file of tree heads {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
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

    /// Hands on what is signed here, until the task is aborted: to each place by itself, so that none waits for another.
    pub async fn run(self, standing: watch::Receiver<Standing>) {
        let Self { file, url, every, client } = self;
        let to_file = async {
            let Some(path) = file else { return };
            // What it ends with is not added again.
            let last = read(&path).ok().and_then(|mut heads| heads.pop()).map(Arc::from);
            let add = |head: Arc<str>| {
                let path = path.clone();
                async move {
                    let added = tokio::task::spawn_blocking({
                        let path = path.clone();
                        move || add(&path, &head)
                    });
                    let added = added.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
                    added.map_err(|source| AnchorError::File { path, source })
                }
            };
            hand_on(standing.clone(), every, last, add).await;
        };
        let to_url = async {
            let Some(url) = &url else { return };
            let post = |head: Arc<str>| {
                let post = client.post(url).header(CONTENT_TYPE, "text/plain; charset=utf-8").body(head.to_string());
                async move {
                    post.send().await?.error_for_status()?;
                    Ok(())
                }
            };
            hand_on(standing.clone(), every, None, post).await;
        };
        tokio::join!(to_file, to_url);
    }
}

/// Hands each newer head on, until nobody signs any more.
async fn hand_on<F>(
    mut standing: watch::Receiver<Standing>,
    every: Duration,
    mut last: Option<Arc<str>>,
    to: impl Fn(Arc<str>) -> F,
) where
    F: Future<Output = Result<(), AnchorError>>,
{
    loop {
        let newer = standing.wait_for(|standing| standing.head.is_some() && standing.head != last).await;
        let Some(head) = newer.ok().and_then(|standing| standing.head.clone()) else { return };
        match to(head.clone()).await {
            Ok(()) => {
                last = Some(head);
                tokio::time::sleep(every).await;
            }
            Err(error) => {
                tracing::warn!(%error, "a tree head is not kept outside yet");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Adds a head to the file, durably.
fn add(path: &Path, head: &str) -> Result<(), std::io::Error> {
    let line = serde_json::to_string(&Anchored { head: head.to_owned() })?;
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    // A line that was cut off, as by a full disk, stays one by itself.
    let mut end = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut end)?;
    }
    let before = if end == *b"\n" { "" } else { "\n" };
    // In one piece, so that two nodes with one file do not mix their lines.
    file.write_all(format!("{before}{line}\n").as_bytes())?;
    file.sync_all()?;
    if is_new && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The heads in a file: lines as they are added here, or one signed note as it is. A line that is none is handed on as it
/// is: nobody believes it, and it hides no other.
pub fn read(path: &Path) -> Result<Vec<String>, AnchorError> {
    let bytes = std::fs::read(path).map_err(|source| AnchorError::File { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !text.trim_start().starts_with('{') {
        return Ok(if text.trim().is_empty() { Vec::new() } else { vec![text] });
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(|line| serde_json::from_str(line).map_or(line.to_owned(), |Anchored { head }| head)).collect())
}

/// The newest head in the file of the settings that is believed: what the notary must go on from.
pub fn newest(settings: &Proof, keys: &KeyRing) -> Option<TreeHead> {
    let path = settings.anchor_file.as_ref()?;
    match read(path) {
        Ok(notes) => {
            let believed = keys.public();
            let heads = notes.iter().filter_map(|note| TreeHead::open(note, &believed).ok());
            heads.map(|(head, _)| head).max_by_key(|head| head.size)
        }
        Err(error) => {
            tracing::warn!(%error, "the log cannot be compared with a tree head that was kept outside");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_added_and_read_back_and_what_is_none_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        for head in ["a\n1\n\n\u{2014} a x\n", "a\n2\n\n\u{2014} a y\n"] {
            add(&path, head).unwrap();
        }
        assert_eq!(read(&path).unwrap(), ["a\n1\n\n\u{2014} a x\n", "a\n2\n\n\u{2014} a y\n"]);
        std::fs::write(&path, "a\n1\n\n\u{2014} a x\n").unwrap();
        assert_eq!(read(&path).unwrap(), ["a\n1\n\n\u{2014} a x\n"], "one note as it is");
        std::fs::write(&path, "{\"head\":\"a\"}\n{\"head\":\"b").unwrap();
        add(&path, "c").unwrap();
        assert_eq!(read(&path).unwrap(), ["a", "{\"head\":\"b", "c"], "one was cut off");
        std::fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), [] as [&str; 0]);
        let full = add(Path::new("/dev/full"), "a").unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    #[tokio::test]
    async fn each_newer_head_goes_out_and_none_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heads");
        // Somewhere nobody answers: the file does not wait for it.
        let anchor_url = Some("http://127.0.0.1:1/".to_owned());
        let settings = Proof { anchor_file: Some(path.clone()), anchor_url, ..Proof::default() };
        add(&path, "head 1").unwrap();
        let anchors = Anchors { every: Duration::ZERO, ..Anchors::of(&settings).unwrap().unwrap() };
        let (tell, standing) = watch::channel(Standing::default());
        let handing = tokio::spawn(anchors.run(standing));
        for number in 1..=3 {
            let head = Some(Arc::from(format!("head {number}")));
            tell.send_replace(Standing { hashed: Some(number), signed: number, head: head.clone(), in_doubt: false });
            while read(&path).map_or(0, |heads| heads.len()) < usize::try_from(number).unwrap() {
                tokio::task::yield_now().await;
            }
            tell.send_replace(Standing { hashed: Some(number + 100), signed: number, head, in_doubt: false });
        }
        assert_eq!(read(&path).unwrap(), ["head 1", "head 2", "head 3"]);
        handing.abort();
        assert!(Anchors::of(&Proof::default()).unwrap().is_none());
    }
}
