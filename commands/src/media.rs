//! The process that lets the pictures of people go who are forgotten, and deletes the files of those that are removed.
//!
//! Which pictures were somebody's, their events tell: an album knows only those that came since there are albums.
//! Pictures go some at a time, in commands of their own, so that nobody waits for the many of one. What is deleted
//! already is not there any more, which is as good; a crash in between repeats some of it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use domain::account::{self, Account};
use domain::image::{self, Image, Stored};
use domain::{AccountId, Aggregate, ImageId};
use eventstore::event::{DomainEvent, Interest, Metadata};
use eventstore::follower::{Batch, Delivery, FollowError, Follower, Recorded};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use thiserror::Error;
use uuid::Uuid;

use crate::engine::{CommandError, CommandKey, Engine, Request, World};
use crate::images::{self, FORGOTTEN_AT_ONCE};

#[cfg(test)]
mod tests;

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "media";
/// It keeps nothing of its own, so it never has to start again.
pub const VERSION: i32 = 1;
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
        Interest::In(&[Account::TYPE, Image::TYPE])
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(self.take(connection, batch))
    }
}

impl Media {
    /// Of what such commands and such files are sent to.
    pub fn new(engine: Engine, files: Arc<dyn Files>) -> Self {
        Self { engine, files, deleted: Arc::default() }
    }

    async fn take(&self, connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
        let pictures = pictures_of_forgotten(connection, batch).await?;
        let events = futures::stream::iter(batch.events.iter().map(Ok));
        events.try_for_each_concurrent(AT_ONCE, |recorded| self.react(recorded, &pictures)).await?;
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    async fn react(&self, recorded: &Recorded, pictures: &Pictures) -> Result<(), FollowError> {
        match &recorded.event {
            DomainEvent::Account(account, account::Event::AccountErased {}) => {
                let pictures = pictures.get(account).map(Vec::as_slice).unwrap_or_default();
                self.forget(*account, pictures, &recorded.event_id.to_string()).await
            }
            DomainEvent::Image(image, image::Event::ImageRemoved { stored, .. }) => self.delete(*image, stored).await,
            _ => Ok(()),
        }
    }

    /// Lets all pictures of somebody go, as far as they are still there. Nobody who is forgotten has any new ones, so a
    /// repetition does the same in the same steps.
    async fn forget(&self, owner: AccountId, pictures: &[ImageId], cause: &str) -> Result<(), FollowError> {
        for (step, some) in pictures.chunks(FORGOTTEN_AT_ONCE).enumerate() {
            let metadata = Metadata::by_process(NAME).with("causation", cause.to_owned());
            let request = Request::keyed(metadata, CommandKey::of_process(NAME, cause, &format!("forget {step}")));
            let some = some.to_vec();
            let forget = move |world: &mut World<'_>| images::forget(world, owner, &some);
            self.engine.submit(request, forget).await.map_err(failed)?;
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

/// All pictures that somebody has ever uploaded, oldest first.
type Pictures = HashMap<AccountId, Vec<ImageId>>;

/// Those of whoever is forgotten in a batch. That reads the beginnings of all pictures, once for each such batch.
async fn pictures_of_forgotten(connection: &mut PgConnection, batch: &Batch) -> Result<Pictures, FollowError> {
    let forgotten = batch.events.iter().filter_map(|recorded| match &recorded.event {
        DomainEvent::Account(account, account::Event::AccountErased {}) => Some(account.to_string()),
        _ => None,
    });
    let forgotten: Vec<String> = forgotten.collect();
    if forgotten.is_empty() {
        return Ok(Pictures::new());
    }
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "select (payload->'ImageStored'->>'owner')::uuid, aggregate_id::uuid from events
         where aggregate_type = $1 and sequence = 1 and payload->'ImageStored'->>'owner' = any($2)
         order by position",
    )
    .bind(Image::TYPE)
    .bind(forgotten)
    .fetch_all(connection)
    .await?;
    let mut pictures = Pictures::new();
    for (owner, image) in rows {
        pictures.entry(AccountId(owner)).or_default().push(ImageId(image));
    }
    Ok(pictures)
}

fn failed(error: CommandError) -> FollowError {
    match error {
        CommandError::KeyReused | CommandError::Defect => FollowError::Defect(error.to_string()),
        CommandError::Refused { .. }
        | CommandError::InFlight
        | CommandError::Overloaded
        | CommandError::Unavailable => FollowError::Command(error.to_string()),
    }
}
