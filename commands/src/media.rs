//! The process that lets the pictures of people go who are forgotten, and deletes the files of those that are removed.
//!
//! Pictures go some at a time, in commands of their own, so that nobody waits for the many of one. What is deleted
//! already is not there any more, which is as good; a crash in between repeats some of it.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use domain::account::{self, Account};
use domain::image::{self, Image, Stored};
use domain::{AccountId, Aggregate, ImageId};
use eventstore::event::{DomainEvent, Metadata};
use eventstore::follower::{FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use futures::future::BoxFuture;
use thiserror::Error;

use crate::engine::{CommandKey, Engine, Request, World};
use crate::images;
use crate::process::{Process, failed};

#[cfg(test)]
mod tests;

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "media";
/// How many pictures are deleted at once: a storage elsewhere takes its time for each.
const AT_ONCE: usize = 8;

/// A file could not be deleted now.
#[derive(Debug, Error)]
#[error("a file could not be deleted: {0}")]
pub struct NotDeleted(pub String);

/// Where the files are.
pub trait Files: Send + Sync {
    /// Deletes a file; nothing if it is not there.
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), NotDeleted>>;
}

/// The process.
#[derive(Clone)]
pub struct Media {
    /// Where it lets pictures go.
    pub engine: Engine,
    /// Where the files are.
    pub files: Arc<dyn Files>,
    /// What was deleted of a batch that is not taken yet: when it comes again, the rest is left.
    deleted: Arc<Mutex<HashSet<ImageId>>>,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Media")
    }
}

impl Process for Media {
    const NAME: &'static str = NAME;
    const ABOUT: &'static [&'static str] = &[Account::TYPE, Image::TYPE];
    const AT_ONCE: usize = AT_ONCE;

    fn react<'a>(&'a self, recorded: &'a Recorded, _: &'a PersonKeys) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(async move {
            match &recorded.event {
                DomainEvent::Account(account, account::Event::AccountErased {}) => {
                    self.forget(*account, &recorded.event_id.to_string()).await
                }
                DomainEvent::Image(image, image::Event::ImageRemoved { stored, .. }) => {
                    self.delete(*image, stored).await
                }
                _ => Ok(()),
            }
        })
    }

    fn taken(&self) {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Media {
    /// Of what such commands and such files are sent to.
    pub fn new(engine: Engine, files: Arc<dyn Files>) -> Self {
        Self { engine, files, deleted: Arc::default() }
    }

    /// Lets all pictures of somebody go, as far as they are still there.
    async fn forget(&self, owner: AccountId, cause: &str) -> Result<(), FollowError> {
        for step in 0_u32.. {
            let metadata = Metadata::by_process(NAME).with("causation", cause.to_owned());
            let request = Request::keyed(metadata, CommandKey::of_process(NAME, cause, &step.to_string()));
            let forget = move |world: &mut World<'_>| images::forget(world, owner);
            if !self.engine.submit(request, forget).await.map_err(failed)?.value {
                break;
            }
        }
        Ok(())
    }

    /// Deletes the files of a picture. A storage that is away is tried until it is back.
    async fn delete(&self, image: ImageId, stored: &Stored) -> Result<(), FollowError> {
        let deleted = || self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        if deleted().contains(&image) {
            return Ok(());
        }
        for file in [stored.file(), stored.thumbnail()] {
            self.files.delete(&file).await.map_err(|error| FollowError::Command(error.to_string()))?;
        }
        deleted().insert(image);
        Ok(())
    }
}
