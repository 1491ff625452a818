//! The process that takes off what people have offered who are forgotten.
//!
//! Nobody can buy of them any more; what is still shown goes some at a time, in commands of their own, so that nobody
//! waits for the thousands of one. What is taken off already stays so, which makes repeats harmless.

use std::fmt;
use std::sync::Arc;

use domain::account::{self, Account};
use domain::{AccountId, Aggregate, ListingId};
use eventstore::Position;
use eventstore::event::{DomainEvent, Metadata};
use eventstore::follower::{FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use futures::future::BoxFuture;
use thiserror::Error;

use crate::engine::{Engine, Request, World};
use crate::listings;
use crate::process::{Process, failed};

#[cfg(test)]
mod tests;

/// The name of the process, and of its checkpoint.
pub const NAME: &str = "clearing";
/// How many listings go at once: each of them must be in memory.
const CLEARED_AT_ONCE: usize = 50;

/// What somebody offers is not known now.
#[derive(Debug, Error)]
#[error("what is offered cannot be read: {0}")]
pub struct NotKnown(pub String);

/// Where it is known what people offer.
pub trait Offers: Send + Sync {
    /// What a seller has not taken off, with everything up to `since`.
    fn of(&self, seller: AccountId, since: Position) -> BoxFuture<'_, Result<Vec<ListingId>, NotKnown>>;
}

/// The process.
#[derive(Clone)]
pub struct Clearing {
    /// Where it takes listings off.
    pub engine: Engine,
    /// Where it asks which there are.
    pub offers: Arc<dyn Offers>,
}

impl fmt::Debug for Clearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clearing")
    }
}

impl Process for Clearing {
    const NAME: &'static str = NAME;
    const ABOUT: &'static [&'static str] = &[Account::TYPE];
    const AT_ONCE: usize = 1;

    fn react<'a>(&'a self, recorded: &'a Recorded, _: &'a PersonKeys) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(async move {
            match recorded.event {
                DomainEvent::Account(seller, account::Event::AccountErased {}) => self.clear(seller, recorded).await,
                _ => Ok(()),
            }
        })
    }
}

impl Clearing {
    /// Takes off all that somebody offers, as far as it is not.
    async fn clear(&self, seller: AccountId, cause: &Recorded) -> Result<(), FollowError> {
        let offered = self.offers.of(seller, cause.position).await;
        let offered = offered.map_err(|error| FollowError::Command(error.to_string()))?;
        for some in offered.chunks(CLEARED_AT_ONCE) {
            let metadata = Metadata::by_process(NAME).with("causation", cause.event_id.to_string());
            let some = some.to_vec();
            let clear = move |world: &mut World<'_>| listings::clear(world, seller, &some);
            self.engine.submit(Request::once(metadata), clear).await.map_err(failed)?;
        }
        Ok(())
    }
}
