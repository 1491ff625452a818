//! Files that nothing names any more: their picture was never recorded, because a process or a machine died between the
//! file and its event, or it was removed, and the file came back with a copy of the storage.
//!
//! What the log says of a picture is asked of the log itself, not of a read model that may be late. A file that is young
//! may still be waiting for its event.

use domain::Timestamp;
use domain::image::Image;
use eventstore::streams::{LoadError, Streams};
use futures::TryStreamExt;
use serde::Serialize;
use thiserror::Error;
use uuid::Uuid;

use super::Media;
use super::names::media_type;

/// A file that nothing names.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Orphan {
    /// Its name.
    pub file: String,
    /// How large it is.
    pub bytes: u64,
    /// When it was written.
    pub written_at: Timestamp,
}

/// Why nobody can tell which files nothing names.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The storage is away.
    #[error("the storage of uploads could not be read: {0}")]
    Storage(#[from] object_store::Error),
    /// The log cannot be read.
    #[error("the log could not be read: {0}")]
    Log(#[from] LoadError),
    /// The files are somebody else's.
    #[error(
        "the log has never known any of the {files} pictures' files here: this is the storage of another marketplace, or \
         the database is"
    )]
    OfAnother {
        /// How many there are.
        files: usize,
    },
}

impl Media {
    /// The files written before then that nothing names, of those that are called as we call ours.
    pub async fn orphans(&self, streams: &Streams, before: Timestamp) -> Result<Vec<Orphan>, SweepError> {
        let (mut orphans, mut known) = (Vec::new(), false);
        let mut files = self.storage.list(None);
        while let Some(found) = files.try_next().await? {
            let file = found.location.to_string();
            let Some(id) = picture_of(&file) else { continue };
            let named = match streams.load::<Image>(id).await?.state {
                Image::Absent => false,
                Image::Removed => {
                    known = true;
                    false
                }
                Image::Stored { stored, .. } => {
                    known = true;
                    file == stored.file() || file == stored.thumbnail()
                }
            };
            if !named && found.last_modified < before {
                orphans.push(Orphan { file, bytes: found.size, written_at: found.last_modified });
            }
        }
        if !known && !orphans.is_empty() {
            return Err(SweepError::OfAnother { files: orphans.len() });
        }
        orphans.sort_by(|one, other| one.file.cmp(&other.file));
        Ok(orphans)
    }
}

/// Which picture a file is of, if it has a name of ours.
fn picture_of(file: &str) -> Option<Uuid> {
    media_type(file)?;
    let name = file.split_once('.')?.0;
    Uuid::parse_str(name.strip_suffix("-thumb").unwrap_or(name)).ok()
}
