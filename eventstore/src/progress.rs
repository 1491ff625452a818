//! How far each follower has come, so that a reader can wait for its own writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use thiserror::Error;
use tokio::sync::watch;

use crate::Position;
use crate::log::Head;

/// How soon to look again at followers of other nodes that are behind.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The follower had not come so far in time.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("`{follower}` is at position {reached}, not yet at {wanted}")]
pub struct Behind {
    /// Which follower.
    pub follower: &'static str,
    /// Where it was expected.
    pub wanted: Position,
    /// Where it is.
    pub reached: Position,
}

/// The positions of all followers of this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<HashMap<&'static str, Place>>>);

/// Where a follower is, and where somebody waits for it to be.
#[derive(Debug, Default)]
struct Place {
    reached: watch::Sender<Position>,
    /// Where it was when its tables changed last, as far as is known.
    changed: Position,
    wanted: watch::Sender<Position>,
}

impl Progress {
    /// Notes that `follower` has come to `position`, which is what its tables now show, and whether they may show
    /// something else than before.
    pub fn reached(&self, follower: &'static str, position: Position, changed: bool) {
        self.with(follower, |place| {
            if changed {
                place.changed = position;
            }
            place.reached.send_if_modified(|known| std::mem::replace(known, position) != position);
        });
    }

    /// How far `follower` has come; 0 before its first batch.
    pub fn position(&self, follower: &'static str) -> Position {
        self.with(follower, |place| *place.reached.borrow())
    }

    /// A position at which the tables of `follower` showed what they show now.
    pub fn changed_at(&self, follower: &'static str) -> Position {
        self.with(follower, |place| place.changed)
    }

    /// To be woken whenever `follower` moves.
    pub fn subscribe(&self, follower: &'static str) -> watch::Receiver<Position> {
        self.with(follower, |place| place.reached.subscribe())
    }

    /// Waits until `follower` has come to `wanted`, for at most `patience`.
    pub async fn wait_for(&self, follower: &'static str, wanted: Position, patience: Duration) -> Result<(), Behind> {
        self.with(follower, |place| {
            place.wanted.send_if_modified(|known| {
                let farther = wanted > *known;
                *known = wanted.max(*known);
                farther
            });
        });
        let mut positions = self.subscribe(follower);
        let arrival = positions.wait_for(|reached| *reached >= wanted);
        match tokio::time::timeout(patience, arrival).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Behind { follower, wanted, reached: self.position(follower) }),
        }
    }

    /// Waits until somebody waits for `follower` to come farther than `reached`.
    pub(crate) async fn wanted(&self, follower: &'static str, reached: Position) {
        let mut wanted = self.with(follower, |place| place.wanted.subscribe());
        // The sender lives as long as this does.
        let _ = wanted.wait_for(|wanted| *wanted > reached).await;
    }

    /// Looks up, until the task is aborted, how far `followers` have come that other nodes run. Looks closely while they
    /// are behind the head, and not at all while they are not.
    pub async fn watch(self, followers: Vec<&'static str>, pool: PgPool, head: Head) {
        let mut heads = head.subscribe();
        loop {
            let reached = match self.look_up(&followers, &pool).await {
                Ok(reached) => reached,
                Err(error) => {
                    tracing::debug!(%error, "how far other nodes' followers are could not be read");
                    None
                }
            };
            match reached {
                Some(reached) if reached >= head.position() => {
                    if heads.wait_for(|head| *head > reached).await.is_err() {
                        return;
                    }
                }
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// How far the last of `followers` is, where each has a checkpoint.
    async fn look_up(&self, followers: &[&'static str], pool: &PgPool) -> Result<Option<Position>, sqlx::Error> {
        let rows: Vec<(String, Position)> = sqlx::query_as("select name, position from followers where name = any($1)")
            .bind(followers)
            .fetch_all(pool)
            .await?;
        for follower in followers {
            if let Some((_, position)) = rows.iter().find(|(name, _)| name == follower) {
                self.reached(follower, *position, *position != self.position(follower));
            }
        }
        Ok(rows.iter().map(|(_, position)| *position).min())
    }

    fn with<T>(&self, follower: &'static str, look: impl FnOnce(&mut Place) -> T) -> T {
        let mut followers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(followers.entry(follower).or_default())
    }
}
