//! Reading the log ahead of whoever takes it in: one batch is read while the one before is written.

use std::sync::Arc;

use eventstore::Position;
use eventstore::database::Database;
use eventstore::event::RecordedEvent;
use eventstore::follower::{FollowError, Follower};
use eventstore::log;
use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;

use super::{RebuildError, schema};
use crate::ReadModel;

/// About how many events go into one batch.
pub const BATCH_EVENTS: i64 = 10_000;
/// How many batches are kept ready. More than one or two only take memory.
const AHEAD: usize = 2;

/// How far to read. Both move on meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// To where the live model is.
    LiveModel,
    /// To the head of the log.
    Head,
}

impl Goal {
    async fn position(self, connection: &mut PgConnection, model: &str) -> Result<Position, FollowError> {
        match self {
            Self::LiveModel => Ok(schema::checkpoint(connection, model).await?.map_or(0, |live| live.position)),
            Self::Head => Ok(log::head(connection).await?),
        }
    }
}

/// The next piece of the log. It may cut a unit of work, which nobody sees before all of it is there.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) events: Vec<Arc<RecordedEvent>>,
    /// The position of its last event.
    pub(super) reaches: Position,
    /// Where the goal was when it was read.
    pub(super) goal: Position,
}

/// The log after `from`, piece by piece, until the goal for the read model of this name is reached.
pub(super) async fn read(
    database: &Database,
    model: ReadModel,
    from: Position,
    goal: Goal,
) -> Result<mpsc::Receiver<Result<Piece, FollowError>>, RebuildError> {
    let connection = database.connect_as_owner().await?;
    let (pieces, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        if let Err(error) = read_into(&pieces, connection, model, from, goal).await {
            // Nobody listens any more if the rebuild has ended.
            let _ = pieces.send(Err(error)).await;
        }
    });
    Ok(receiver)
}

async fn read_into(
    pieces: &mpsc::Sender<Result<Piece, FollowError>>,
    mut connection: PgConnection,
    model: ReadModel,
    mut reached: Position,
    goal: Goal,
) -> Result<(), FollowError> {
    loop {
        let goal = goal.position(&mut connection, model.name).await?;
        if reached >= goal {
            return Ok(connection.close().await?);
        }
        let from = reached;
        reached = goal.min(from + BATCH_EVENTS);
        let events = log::read_range(&mut connection, from, reached, model.interest()).await?;
        if pieces.send(Ok(Piece { events, reaches: reached, goal })).await.is_err() {
            return Ok(());
        }
    }
}
