//! Uploaded pictures: made safe ([`picture`]), and kept as files in a folder or in S3-compatible storage.
//!
//! Files are named at random and never change. They are written before the log says that they are there, and deleted by
//! a process after it says that they are not to be there any more.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use commands::images::NewImage;
use commands::media::{Files, NotDeleted};
use domain::image::Stored;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::config;

mod bucket;
pub mod names;
pub mod picture;
pub mod room;
pub mod sweep;
mod whole;

use names::{media_type, random_id};
use picture::{Picture, Refused};
use room::Room;

/// How many pictures are decoded at a time: each may take more than 200 MiB.
const AT_A_TIME: usize = 2;
/// How long a storage may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Why there is nowhere to keep files.
#[derive(Debug, Error)]
pub enum MediaError {
    /// The folder cannot be made.
    #[error("media.folder ({}) cannot be used: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The storage is not configured as it must be.
    #[error("the storage of uploads cannot be used: {0}")]
    Storage(#[from] object_store::Error),
}

/// Why a picture was not kept.
#[derive(Debug, Error)]
pub enum NotKept {
    /// The file is none, or none that is taken.
    #[error("the file is refused")]
    Refused(Refused),
    /// The storage did not take it.
    #[error("the storage did not take a file: {0}")]
    Storage(#[from] object_store::Error),
    /// Decoding has panicked.
    #[error("a picture could not be decoded because of a defect")]
    Defect,
}

/// Where uploaded pictures are.
#[derive(Debug)]
pub struct Media {
    storage: Arc<dyn ObjectStore>,
    /// Of those that are decoded.
    places: Arc<Semaphore>,
    /// The folder that is the storage, if it is one.
    folder: Option<PathBuf>,
    /// For what is being uploaded.
    pub room: Room,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its media type.
    pub media_type: &'static str,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// What is in a file, piece by piece: only what its reader is about to take is in memory.
pub type Content = BoxStream<'static, object_store::Result<Bytes>>;

impl Media {
    /// As it is set: in a bucket if one is named, else in the folder, which is made.
    pub fn open(settings: &config::Media) -> Result<Self, MediaError> {
        let config::Media { folder, s3_bucket, .. } = settings;
        let storage: Arc<dyn ObjectStore> = match s3_bucket {
            None => {
                let is_there = folder.is_dir();
                let made = fs::create_dir_all(folder);
                let made = made.and_then(|()| if is_there { Ok(()) } else { synced(folder.parent()) });
                made.map_err(|source| MediaError::Folder { folder: folder.clone(), source })?;
                Arc::new(LocalFileSystem::new_with_prefix(folder)?)
            }
            Some(bucket) => Arc::new(bucket::open(bucket, settings)?),
        };
        Ok(Self::with(storage, s3_bucket.is_none().then(|| folder.clone())))
    }

    fn with(storage: Arc<dyn ObjectStore>, folder: Option<PathBuf>) -> Self {
        Self { storage, places: Arc::new(Semaphore::new(AT_A_TIME)), folder, room: Room::default() }
    }

    /// Makes a picture of what somebody has sent, and writes its files.
    pub async fn keep(&self, sent: Bytes) -> Result<NewImage, NotKept> {
        // Never closed.
        let place = self.places.clone().acquire_owned().await.map_err(|_| NotKept::Defect)?;
        let reading = tokio::task::spawn_blocking(move || {
            // Held here: whoever gives up waiting leaves the work behind, and its memory.
            let _place = place;
            Picture::read(&sent)
        });
        let picture = reading.await.map_err(|_| NotKept::Defect)?.map_err(NotKept::Refused)?;
        let Picture { format, width, height, file, thumbnail } = picture;
        let image = random_id();
        let stored = Stored { name: image.0.simple().to_string(), format, width, height, bytes: file.len() as u64 };
        if let Err(error) = self.write(&stored, file, thumbnail).await {
            self.drop_files(&stored).await;
            return Err(error.into());
        }
        Ok(NewImage { image, stored })
    }

    /// Writes the files of a picture so that a loss of power does not lose them any more: their event comes next.
    async fn write(&self, stored: &Stored, file: Vec<u8>, thumbnail: Vec<u8>) -> object_store::Result<()> {
        let files = [(stored.file(), file), (stored.thumbnail(), thumbnail)];
        let names = files.each_ref().map(|(name, _)| name.clone());
        for (name, bytes) in files {
            answered(self.storage.put(&Path::from(name), bytes.into())).await?;
        }
        let Some(folder) = self.folder.clone() else { return Ok(()) };
        let syncing = tokio::task::spawn_blocking(move || {
            let files = names.map(|name| folder.join(name));
            synced(files.iter().map(PathBuf::as_path).chain([folder.as_path()]))
        });
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic { store: "media", source };
        syncing.await.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))
    }

    /// Deletes the files of a picture that the log never came to know. What cannot be deleted stays, named by nothing.
    pub async fn drop_files(&self, stored: &Stored) {
        for file in [stored.file(), stored.thumbnail()] {
            if let Err(error) = self.delete(&file).await {
                tracing::warn!(file, %error, "a file is left behind");
            }
        }
    }

    /// Looks whether there is a file of this name; nothing if there is none.
    pub async fn look(&self, name: &str) -> Result<Option<Found>, object_store::Error> {
        let Some(media_type) = media_type(name) else { return Ok(None) };
        let found = if_there(answered(self.storage.head(&Path::from(name))).await)?;
        Ok(found.map(|meta| Found { media_type, bytes: meta.size }))
    }

    /// Opens a file by its name; nothing if there is none.
    pub async fn read(&self, name: &str) -> Result<Option<(Found, Content)>, object_store::Error> {
        let Some(media_type) = media_type(name) else { return Ok(None) };
        let found = if_there(answered(self.storage.get(&Path::from(name))).await)?;
        Ok(found.map(|file| (Found { media_type, bytes: file.meta.size }, file.into_stream())))
    }
}

/// Has the system write down what it has of files, or which files a folder has. The current folder has no name.
fn synced<'a>(paths: impl IntoIterator<Item = &'a std::path::Path>) -> io::Result<()> {
    let here = std::path::Path::new(".");
    let mut named = paths.into_iter().map(|path| if path.as_os_str().is_empty() { here } else { path });
    named.try_for_each(|path| fs::File::open(path)?.sync_all())
}

/// What a storage answers, if it does in time.
async fn answered<T>(asked: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    let answer = tokio::time::timeout(ANSWERS_WITHIN, asked).await;
    answer.unwrap_or_else(|late| Err(object_store::Error::Generic { store: "media", source: late.into() }))
}

fn if_there<T>(found: object_store::Result<T>) -> object_store::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Files for Media {
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), NotDeleted>> {
        Box::pin(async move {
            let deleted = if_there(answered(self.storage.delete(&Path::from(name))).await);
            deleted.map(drop).map_err(|error| NotDeleted(error.to_string()))
        })
    }
}

#[cfg(test)]
mod tests {
    use ::image::{DynamicImage, ImageFormat};
    use futures::TryStreamExt;
    use object_store::memory::InMemory;
    use tempfile::TempDir;

    use super::*;

    fn small() -> Bytes {
        let mut file = io::Cursor::new(Vec::new());
        DynamicImage::new_rgb8(3, 3).write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner().into()
    }

    #[tokio::test]
    async fn what_the_folder_has_not_taken_for_good_is_not_kept() {
        let folder = TempDir::new().unwrap();
        let settings = config::Media { folder: folder.path().join("made"), ..config::Media::default() };
        let media = Media::open(&settings).unwrap();
        let kept = media.keep(small()).await.unwrap();
        assert_eq!(media.look(&kept.stored.file()).await.unwrap().unwrap().bytes, kept.stored.bytes);
        // A storage that says it has written files that are not there when they are to be written down.
        let forgetful = Arc::new(InMemory::new());
        let media = Media::with(forgetful.clone(), Some(settings.folder));
        assert!(matches!(media.keep(small()).await, Err(NotKept::Storage(_))));
        let left: Vec<_> = forgetful.list(None).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        let media = Media::with(forgetful.clone(), None);
        media.keep(small()).await.unwrap();
    }
}
