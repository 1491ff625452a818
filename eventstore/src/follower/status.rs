//! How followers are: how far, how late, whether they stand still, and what they could not take.

use std::time::Duration;

use domain::Timestamp;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor};

use crate::Position;
use crate::parking::told;

/// How a follower is.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The version of what it makes of the log; `None` before it has a checkpoint.
    pub version: Option<i32>,
    /// How far it has followed the log.
    pub position: Position,
    /// How long the log is.
    pub head: Position,
    /// How many events it has not looked at yet.
    pub lag_events: i64,
    /// How long ago the first of them was recorded, in milliseconds; 0 if there is none.
    pub lag_ms: i64,
    /// Whether it stands still until it is resumed.
    pub paused: bool,
    /// How many events it could not take.
    pub parked: i64,
    /// How many wait behind them.
    pub waiting: i64,
    /// How many it leaves out for good.
    pub skipped: i64,
    /// What last went wrong, however long ago.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
}

impl Status {
    /// How long ago the first event was recorded that it has not looked at yet, in seconds.
    pub fn lag_s(&self) -> f64 {
        Duration::from_millis(self.lag_ms.unsigned_abs()).as_secs_f64()
    }
}

/// How these followers are at `now` on the marketplace's clock, in this order, whichever process runs them. One without
/// a checkpoint stands before the first event.
pub async fn statuses(
    executor: impl PgExecutor<'_>,
    followers: &[&str],
    now: Timestamp,
) -> Result<Vec<Status>, sqlx::Error> {
    sqlx::query_as(
        "select name, version, coalesce(f.position, 0) as position, h.position as head,
            greatest(h.position - coalesce(f.position, 0), 0) as lag_events,
            coalesce((select greatest(extract(epoch from $2 - recorded_at) * 1000, 0)
                from public.events where events.position = coalesce(f.position, 0) + 1), 0)::bigint as lag_ms,
            coalesce(paused, false) as paused, parked, waiting, skipped, last_error, last_error_at
         from unnest($1::text[]) with ordinality as wanted (name, place)
         cross join public.log_head as h
         left join public.followers as f using (name)
         cross join lateral (select count(error) as parked, count(*) - count(error) as waiting
            from public.parked_events where follower = name) as of_parked
         cross join lateral (select count(*) as skipped
            from public.skipped_events as s where s.follower = name and s.version = f.version) as of_skipped
         order by place",
    )
    .bind(followers)
    .bind(now)
    .fetch_all(executor)
    .await
}

/// Lets a follower stand still, or go on, on every node. Answers whether there is such a follower.
pub async fn set_paused(executor: impl PgExecutor<'_>, follower: &str, paused: bool) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update public.followers set paused = $2 where name = $1")
        .bind(follower)
        .bind(paused)
        .execute(executor)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Keeps what went wrong, for whoever asks how a follower is.
pub(super) async fn note_error(connection: &mut PgConnection, follower: &str, error: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update public.followers set (last_error, last_error_at) = row ($2, clock_timestamp()) where name = $1",
    )
    .bind(follower)
    .bind(told(error))
    .execute(connection)
    .await?;
    Ok(())
}
