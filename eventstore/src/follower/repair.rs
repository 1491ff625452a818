//! What an operator does about parked events: tries them again, or skips one that will never be taken.

use serde::Serialize;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Delivery, FollowError, Follower, intake};
use crate::Position;
use crate::log;
use crate::parking::{self, Parked, Skip};
use crate::wrapping::Wrapping;

/// What has come of taking parked events again.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Retaken {
    /// Which were taken in.
    pub taken: Vec<Position>,
    /// Which one was skipped.
    pub skipped: Option<Position>,
    /// Those that still cannot be taken: they stay parked, and what is behind them.
    pub culprits: Vec<Culprit>,
    /// How many wait behind them.
    pub waiting: usize,
}

/// An event that cannot be taken.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Culprit {
    /// Its place in the log.
    pub position: Position,
    /// What it happened to.
    pub aggregate_id: Uuid,
    /// Why it cannot be taken.
    pub error: String,
}

/// Takes what is parked of an aggregate, or of all, in again, in order; of each aggregate up to the first event that
/// cannot be taken. For a read model in one transaction.
pub async fn retry(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    aggregate: Option<Uuid>,
) -> Result<Retaken, FollowError> {
    retake(follower, connection, wrapping, aggregate, None).await
}

/// Leaves out the event of an aggregate that cannot be taken, for a reason that is kept, and takes what is parked behind
/// it. Nothing is left out if nothing is parked.
pub async fn skip(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    aggregate: Uuid,
    skip: Skip<'_>,
) -> Result<Retaken, FollowError> {
    retake(follower, connection, wrapping, Some(aggregate), Some(skip)).await
}

async fn retake(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    aggregate: Option<Uuid>,
    skip: Option<Skip<'_>>,
) -> Result<Retaken, FollowError> {
    let name = follower.name();
    if follower.delivery() == Delivery::ExactlyOnce {
        let mut transaction = connection.begin().await?;
        intake::lock(&mut transaction, follower).await?;
        let parked = parking::of(&mut transaction, name, aggregate).await?;
        let left = take_again(follower, &mut transaction, wrapping, &parked, skip.is_some()).await?;
        keep(name, &mut transaction, aggregate, &parked, &left, skip).await?;
        transaction.commit().await?;
        return Ok(Retaken::of(&parked, left, skip.is_some()));
    }
    loop {
        let parked = parking::of(connection, name, aggregate).await?;
        let left = take_again(follower, connection, wrapping, &parked, skip.is_some()).await?;
        let mut transaction = connection.begin().await?;
        intake::lock(&mut transaction, follower).await?;
        // Its effects took their time, and it was not locked: something may have been parked behind.
        if parking::of(&mut transaction, name, aggregate).await? != parked {
            transaction.rollback().await?;
            continue;
        }
        keep(name, &mut transaction, aggregate, &parked, &left, skip).await?;
        transaction.commit().await?;
        return Ok(Retaken::of(&parked, left, skip.is_some()));
    }
}

/// Takes parked events, all but the first if that is to be skipped. Answers with what is to stay parked.
async fn take_again(
    follower: &mut dyn Follower,
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    parked: &[Parked],
    skip: bool,
) -> Result<Vec<Parked>, FollowError> {
    let before = |position| parked.iter().find(|event| event.position == position).map_or(0, |event| event.attempts);
    let mut left: Vec<_> = parked.iter().skip(usize::from(skip)).cloned().collect();
    loop {
        let positions: Vec<_> = left.iter().map(|event| event.position).collect();
        let events = log::read_at(connection, &positions).await?;
        let mut exceptions = intake::exceptions(follower, connection, &events).await?;
        exceptions.parked.clear();
        let attempts = |position| before(position) + 1;
        left = intake::take_singly(follower, connection, wrapping, &events, &exceptions, attempts).await?;
        // What one aggregate rests on may be parked of another: once more, unless nothing has moved.
        if left.is_empty() || left.len() == positions.len() {
            return Ok(left);
        }
    }
}

async fn keep(
    follower: &str,
    transaction: &mut PgConnection,
    aggregate: Option<Uuid>,
    parked: &[Parked],
    left: &[Parked],
    skip: Option<Skip<'_>>,
) -> Result<(), sqlx::Error> {
    if let (Some(skip), Some(culprit)) = (skip, parked.first()) {
        parking::note_skip(transaction, follower, culprit, &skip).await?;
    }
    parking::replace(transaction, follower, aggregate, left).await?;
    sqlx::query("update public.followers set repairs = repairs + 1 where name = $1")
        .bind(follower)
        .execute(transaction)
        .await?;
    Ok(())
}

impl Retaken {
    fn of(parked: &[Parked], left: Vec<Parked>, skip: bool) -> Self {
        let skipped = parked.first().map(|event| event.position).filter(|_| skip);
        let stays = |position| left.iter().any(|event| event.position == position);
        let gone = parked.iter().map(|event| event.position).filter(|position| !stays(*position));
        let taken = gone.filter(|position| Some(*position) != skipped).collect();
        let waiting = left.iter().filter(|event| event.error.is_none()).count();
        let culprits = left.into_iter().filter_map(|Parked { position, aggregate_id, error, .. }| {
            Some(Culprit { position, aggregate_id, error: error? })
        });
        Self { taken, skipped, culprits: culprits.collect(), waiting }
    }
}
