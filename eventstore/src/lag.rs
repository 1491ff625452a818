//! How far followers are behind the log, as the database has it: whichever process runs them.

use domain::Timestamp;
use sqlx::{FromRow, PgExecutor};

use crate::Position;

/// Where one follower stands.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct Standing {
    /// Which follower.
    pub name: String,
    /// The last event that it has taken.
    pub position: Position,
    /// The last event of the log.
    pub head: Position,
    /// When the first event was decided that it has not taken; nothing if it has taken all.
    pub waiting_since: Option<Timestamp>,
    /// Whether it stands still until it is resumed.
    pub paused: bool,
    /// How many events it could not take, and how many wait behind these.
    pub parked: i64,
}

impl Standing {
    /// Events that it has yet to take.
    pub fn events(&self) -> i64 {
        (self.head - self.position).max(0)
    }

    /// For how many seconds the first of them has waited at `now`.
    pub fn seconds(&self, now: Timestamp) -> f64 {
        self.waiting_since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0))
    }
}

/// Where each of `followers` stands, in this order. One without a checkpoint stands before the first event.
pub async fn standings(executor: impl PgExecutor<'_>, followers: &[&str]) -> Result<Vec<Standing>, sqlx::Error> {
    sqlx::query_as(
        "select n.name, coalesce(f.position, 0) as position, h.position as head, e.recorded_at as waiting_since,
            coalesce(f.paused, false) as paused,
            (select count(*) from parked_events as p where p.follower = n.name) as parked
         from unnest($1::text[]) with ordinality as n (name, place)
         cross join log_head as h
         left join followers as f on f.name = n.name
         left join events as e on e.position = coalesce(f.position, 0) + 1
         order by n.place",
    )
    .bind(followers)
    .fetch_all(executor)
    .await
}
