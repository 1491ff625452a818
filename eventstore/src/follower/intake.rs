//! How a follower takes a stretch of the log in: together as long as all is well, and event by event to find the one
//! that it cannot take.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use sqlx::{Connection, Executor, PgConnection};

use super::{Batch, Delivery, FollowError, Follower};
use crate::Position;
use crate::event::{RecordedEvent, Section};
use crate::feed::Feed;
use crate::log;
use crate::parking::{self, Exceptions, Parked};
use crate::sealing::{self, PersonKeys};
use crate::wrapping::Wrapping;

/// How many events are taken at a time where nobody says how many.
const RANGE_EVENTS: i64 = 2_000;

/// Where a follower is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
    /// It stands still: nothing is taken.
    pub(super) paused: bool,
    /// How often what was parked was taken or skipped.
    pub(super) repairs: i64,
}

/// What follows a checkpoint.
pub(super) struct Stretch {
    pub(super) checkpoint: Checkpoint,
    pub(super) section: Section,
    pub(super) exceptions: Exceptions,
}

impl Stretch {
    /// Reads the checkpoint, and about `limit` events after it. For a read model the checkpoint stays locked until the
    /// transaction ends.
    pub(super) async fn next(
        feed: &Feed,
        follower: &dyn Follower,
        connection: &mut PgConnection,
        limit: i64,
    ) -> Result<Self, FollowError> {
        let checkpoint = match follower.delivery() {
            Delivery::ExactlyOnce => lock(connection, follower).await?,
            Delivery::AtLeastOnce => {
                let look_up = "select version, position, paused, repairs from public.followers where name = $1";
                look(connection, follower, look_up).await?
            }
        };
        let (position, interest) = (checkpoint.position, follower.interest());
        let section = match feed.after(position, limit, interest) {
            _ if checkpoint.paused => Section { events: Vec::new(), reaches: position },
            Some(section) => section,
            None => log::read_after(connection, position, limit, interest).await?,
        };
        // Read after the lock was taken, so that it shows what the last to hold it has parked.
        let exceptions = exceptions(follower, connection, &section.events).await?;
        Ok(Self { checkpoint, section, exceptions })
    }

    /// Whether there is nothing after the checkpoint, or nothing is to be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.section.reaches == self.checkpoint.position
    }
}

/// The checkpoint, which nobody moves until the transaction ends.
pub(super) async fn lock(transaction: &mut PgConnection, follower: &dyn Follower) -> Result<Checkpoint, FollowError> {
    let lock = "select version, position, paused, repairs from public.followers where name = $1 for update";
    look(transaction, follower, lock).await
}

/// The checkpoint, if it is of the follower's version.
async fn look(
    connection: &mut PgConnection,
    follower: &dyn Follower,
    query: &'static str,
) -> Result<Checkpoint, FollowError> {
    let (theirs, position, paused, repairs) = sqlx::query_as(query).bind(follower.name()).fetch_one(connection).await?;
    let ours = follower.version();
    if theirs == ours {
        Ok(Checkpoint { position, paused, repairs })
    } else {
        Err(FollowError::OtherVersion { ours, theirs, reached: position })
    }
}

/// What a follower leaves out of `events`.
pub(super) async fn exceptions(
    follower: &dyn Follower,
    connection: &mut PgConnection,
    events: &[Arc<RecordedEvent>],
) -> Result<Exceptions, sqlx::Error> {
    if events.is_empty() {
        return Ok(Exceptions::default());
    }
    Exceptions::load(connection, follower, events).await
}

/// Takes `events` in as one batch. Answers with those that wait behind a parked one.
pub(super) async fn take_together(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    events: &[Arc<RecordedEvent>],
    exceptions: &Exceptions,
) -> Result<Vec<Parked>, FollowError> {
    let (ready, waiting) = exceptions.divide(events);
    let batch = Batch::decode(connection, wrapping, ready).await?;
    if !batch.events.is_empty() {
        caught(async { follower.apply(connection, &batch).await }).await?;
    }
    Ok(waiting)
}

/// Takes `events` in one by one. Answers with those that it could not take, as often as it was tried by `attempts`, and
/// those that wait behind a parked one. An error that is not the event's own ends it.
pub(super) async fn take_singly(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    events: &[Arc<RecordedEvent>],
    exceptions: &Exceptions,
    attempts: impl Fn(Position) -> i32,
) -> Result<Vec<Parked>, FollowError> {
    let mut exceptions = exceptions.clone();
    let mut parked = Vec::new();
    for event in events.iter().filter(|event| !exceptions.skipped.contains(&event.position)) {
        if exceptions.parked.contains(&event.aggregate_id.0) {
            parked.push(Parked::behind(event));
            continue;
        }
        match take_one(follower, connection, wrapping, event).await {
            Ok(()) => {}
            Err(error) if error.is_the_events_own() => {
                tracing::error!(follower = follower.name(), position = event.position, %error, "an event is parked");
                exceptions.parked.insert(event.aggregate_id.0);
                parked.push(Parked::culprit(event, &error.to_string(), attempts(event.position)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(parked)
}

/// Takes one event in; a read model as a whole or not at all.
async fn take_one(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    event: &RecordedEvent,
) -> Result<(), FollowError> {
    let batch = Batch::decode(connection, wrapping, [event]).await?;
    if follower.delivery() == Delivery::AtLeastOnce {
        return caught(async { follower.apply(connection, &batch).await }).await;
    }
    let mut savepoint = connection.begin().await?;
    let taken = caught(async {
        follower.apply(&mut savepoint, &batch).await?;
        Ok(check_constraints(&mut savepoint).await?)
    });
    match taken.await {
        Ok(()) => Ok(savepoint.commit().await?),
        Err(error) => {
            savepoint.rollback().await?;
            Err(error)
        }
    }
}

/// Checks now what would be checked at the commit.
async fn check_constraints(transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
    transaction.execute("set constraints all immediate").await?;
    transaction.execute("set constraints all deferred").await?;
    Ok(())
}

/// Takes `events` into a read model, in the caller's transaction, and parks what it cannot take. The checkpoint is the
/// caller's business, and locked.
pub async fn take_events(
    follower: &mut dyn Follower,
    transaction: &mut PgConnection,
    wrapping: &Wrapping,
    events: &[Arc<RecordedEvent>],
) -> Result<(), FollowError> {
    let exceptions = exceptions(follower, transaction, events).await?;
    let mut savepoint = transaction.begin().await?;
    let together = async {
        let waiting = take_together(follower, &mut savepoint, wrapping, events, &exceptions).await?;
        check_constraints(&mut savepoint).await?;
        Ok::<_, FollowError>(waiting)
    };
    let parked = match together.await {
        Ok(waiting) => {
            savepoint.commit().await?;
            waiting
        }
        Err(error) if error.is_the_events_own() => {
            savepoint.rollback().await?;
            take_singly(follower, transaction, wrapping, events, &exceptions, |_| 2).await?
        }
        Err(error) => return Err(error),
    };
    Ok(parking::park(transaction, follower.name(), &parked).await?)
}

/// Takes the log from one position to another into a read model, in the caller's transaction, and parks what it cannot
/// take. May cut a unit of work, which nobody sees before the commit.
pub async fn take_range(
    follower: &mut dyn Follower,
    transaction: &mut PgConnection,
    wrapping: &Wrapping,
    from: Position,
    to: Position,
) -> Result<(), FollowError> {
    let mut reached = from;
    while reached < to {
        let next = to.min(reached + RANGE_EVENTS);
        let events = log::read_range(transaction, reached, next, follower.interest()).await?;
        take_events(follower, transaction, wrapping, &events).await?;
        reached = next;
    }
    Ok(())
}

/// Lets `work` fail instead of panicking.
pub(super) async fn caught<T>(work: impl Future<Output = Result<T, FollowError>>) -> Result<T, FollowError> {
    // What a panic leaves behind is dropped or rolled back: a savepoint, or the connection and with it the transaction.
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|panic| Err(FollowError::Panicked(said(panic.as_ref()))))
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Batch {
    /// Reads events that were recorded, loading the keys of the people in them.
    pub async fn decode<'a>(
        connection: &mut PgConnection,
        wrapping: &Wrapping,
        events: impl IntoIterator<Item = &'a RecordedEvent>,
    ) -> Result<Self, FollowError> {
        let events: Vec<_> = events.into_iter().collect();
        let people: BTreeSet<_> = events.iter().flat_map(|event| sealing::people_in(&event.payload)).collect();
        let people = PersonKeys::load(connection, wrapping, &people).await?;
        let events = events.into_iter().map(super::Recorded::read).collect::<Result<_, _>>()?;
        Ok(Self { events, people })
    }
}
