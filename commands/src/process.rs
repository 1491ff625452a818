//! What processes have in common: each follows the log, and does something about some of its events.
//!
//! A process hears of an event at least once, of several at a time, and knows nothing of what it did before it was
//! started; so whatever it does twice must be as good as done once.

use std::fmt;

use eventstore::event::Interest;
use eventstore::follower::{Batch, Delivery, FollowError, Follower, Recorded};
use eventstore::sealing::PersonKeys;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use sqlx::PgConnection;

use crate::engine::CommandError;

/// The version of every process: none keeps anything of its own, so none ever has to start again.
pub const VERSION: i32 = 1;

/// Something that is done about events.
pub trait Process: Send + Sync {
    /// The name of the process, and of its checkpoint.
    const NAME: &'static str;
    /// What the events happen to that it looks at.
    const ABOUT: &'static [&'static str];
    /// About how many events something is done at once.
    const AT_ONCE: usize;

    /// Does what an event calls for, if it calls for anything. An error brings the event again.
    fn react<'a>(&'a self, recorded: &'a Recorded, people: &'a PersonKeys) -> BoxFuture<'a, Result<(), FollowError>>;

    /// Everything is done that a batch calls for.
    fn taken(&self) {}
}

/// A process on its way through the log.
#[derive(Clone)]
pub struct Following<P>(pub P);

impl<P> fmt::Debug for Following<P>
where
    P: Process,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(P::NAME)
    }
}

impl<P> Following<P>
where
    P: Process,
{
    pub(crate) async fn take(&self, batch: &Batch) -> Result<(), FollowError> {
        let events = futures::stream::iter(batch.events.iter().map(Ok));
        events.try_for_each_concurrent(P::AT_ONCE, |recorded| self.0.react(recorded, &batch.people)).await?;
        self.0.taken();
        Ok(())
    }
}

impl<P> Follower for Following<P>
where
    P: Process,
{
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn interest(&self) -> Interest {
        Interest::In(P::ABOUT)
    }

    fn apply<'a>(&'a mut self, _: &'a mut PgConnection, batch: &'a Batch) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(self.take(batch))
    }
}

/// Whether a command that failed may be sent again.
pub(crate) fn failed(error: CommandError) -> FollowError {
    match error {
        CommandError::KeyReused | CommandError::RefusedBefore { .. } | CommandError::Defect => {
            FollowError::Defect(error.to_string())
        }
        CommandError::Refused { .. } | CommandError::InFlight | CommandError::Overloaded => {
            FollowError::Command(error.to_string())
        }
        CommandError::Unavailable => FollowError::Unavailable,
    }
}
