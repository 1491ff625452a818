//! Use cases of uploaded pictures, and the process that deletes the files of those that are removed.
//!
//! Files are written before their event and deleted after it, so whatever the log says is there, is there. A crash in
//! between leaves files that nothing names.

use std::fmt;
use std::sync::Arc;

use domain::image::{Command, Event, Image, RemovalCause, Stored};
use domain::{AccountId, Aggregate, ImageId};
use eventstore::event::{DomainEvent, Interest};
use eventstore::follower::{Batch, Delivery, FollowError, Follower};
use futures::future::BoxFuture;
use sqlx::PgConnection;
use thiserror::Error;

use crate::accounts;
use crate::engine::{Halt, World};

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "media";
/// It keeps nothing of its own, so it never has to start again.
pub const VERSION: i32 = 1;

/// A picture whose files have been written.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// The id minted for it.
    pub image: ImageId,
    /// What is there.
    pub stored: Stored,
}

/// Notes pictures of somebody whose files are there: all, or none.
pub fn store(world: &mut World<'_>, owner: AccountId, images: &[NewImage]) -> Result<(), Halt> {
    accounts::get(world, owner)?;
    for NewImage { image, stored } in images {
        world.fresh::<Image>(*image);
        world.execute::<Image>(*image, Command::Store { owner, stored: stored.clone() })?;
    }
    Ok(())
}

/// Lets a picture go.
pub fn remove(world: &mut World<'_>, image: ImageId, cause: RemovalCause) -> Result<(), Halt> {
    world.execute::<Image>(image, Command::Remove { cause })?;
    Ok(())
}

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
    /// Where the files are.
    pub files: Arc<dyn Files>,
}

impl fmt::Debug for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Media")
    }
}

impl Follower for Media {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn interest(&self) -> Interest {
        Interest::In(&[Image::TYPE])
    }

    fn apply<'a>(&'a mut self, _: &'a mut PgConnection, batch: &'a Batch) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(async {
            for recorded in &batch.events {
                if let DomainEvent::Image(_, Event::ImageRemoved { stored, .. }) = &recorded.event {
                    for file in [stored.file(), stored.thumbnail()] {
                        // A storage that is away is tried until it is back.
                        self.files.delete(&file).await.map_err(|error| FollowError::Command(error.to_string()))?;
                    }
                }
            }
            Ok(())
        })
    }
}
