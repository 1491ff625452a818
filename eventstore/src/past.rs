//! Looking back: where the log stood at some time, and what had happened to some aggregates by then.
//!
//! A moment is a place between two units of work. Whatever is named, a position within one or a time, the moment is the end
//! of the last unit that was whole by then: nobody has ever seen half of one.

use std::collections::BTreeSet;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use chrono::DateTime;
use domain::Timestamp;
use futures::TryStreamExt;
use sqlx::{PgConnection, QueryBuilder};
use thiserror::Error;
use uuid::Uuid;

use crate::event::RecordedEvent;
use crate::{Position, log};

/// The length of a UUID in its usual form, which is the only one in the log.
const UUID_LENGTH: usize = 36;
/// No position will ever have more.
const MOST_DIGITS: usize = 18;
/// The years 1970 to 2999, in seconds.
const TIMES: Range<i64> = 0..32_503_680_000;

/// A point in the history that somebody names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// Right after the unit of work that ends there, or after the last one before.
    Position(Position),
    /// After everything that was recorded by then.
    Time(Timestamp),
}

/// What was named is no point in the history.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("it is neither a position in the log, nor a time such as `2026-11-22T09:30:00Z`")]
pub struct NoMoment;

/// What was named is still to come.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ToCome {
    /// The log has come to this position, and no farther.
    #[error("the log has come to position {0}")]
    Position(Position),
    /// It is no later than this.
    #[error("it is {}", .0.to_rfc3339())]
    Time(Timestamp),
}

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if (1..=MOST_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Position).map_err(|_| NoMoment);
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| NoMoment)?.to_utc();
        if TIMES.contains(&time.timestamp()) { Ok(Self::Time(time)) } else { Err(NoMoment) }
    }
}

impl Moment {
    /// The end of the last unit of work that was whole by then, as it is `now`.
    pub async fn whole(
        self,
        connection: &mut PgConnection,
        now: Timestamp,
    ) -> Result<Result<Position, ToCome>, sqlx::Error> {
        let reached = match self {
            Self::Position(position) => {
                let head = log::head(&mut *connection).await?;
                if position > head {
                    return Ok(Err(ToCome::Position(head)));
                }
                position
            }
            Self::Time(time) if time > now => return Ok(Err(ToCome::Time(now))),
            Self::Time(time) => reached_at(&mut *connection, time).await?,
        };
        whole_at(connection, reached).await.map(Ok)
    }
}

/// The last position at or before `position` at which no unit of work was under way; 0 if none was whole by then.
pub async fn whole_at(connection: &mut PgConnection, position: Position) -> Result<Position, sqlx::Error> {
    let whole: Option<Position> = sqlx::query_scalar(
        "select position from public.events where position <= $1 and commit_position <= $1
         order by position desc limit 1",
    )
    .bind(position)
    .fetch_optional(connection)
    .await?;
    Ok(whole.unwrap_or(0))
}

/// The last position whose event was recorded by `time`, before which all were; 0 if the log began later.
///
/// Found by halving, since positions have no gaps and the marketplace's clock goes forward only: some twenty looks at a
/// long log, by an index that is there anyway.
pub async fn reached_at(connection: &mut PgConnection, time: Timestamp) -> Result<Position, sqlx::Error> {
    let mut after: Position =
        sqlx::query_scalar("select position from public.log_head").fetch_one(&mut *connection).await?;
    let mut reached = 0;
    while reached < after {
        let middle = reached + (after - reached + 1) / 2;
        let recorded_by: bool = sqlx::query_scalar("select recorded_at <= $2 from public.events where position = $1")
            .bind(middle)
            .bind(time)
            .fetch_one(&mut *connection)
            .await?;
        if recorded_by {
            reached = middle;
        } else {
            after = middle - 1;
        }
    }
    Ok(reached)
}

/// When the event at a position was recorded.
pub async fn recorded_at(connection: &mut PgConnection, at: Position) -> Result<Option<Timestamp>, sqlx::Error> {
    sqlx::query_scalar("select recorded_at from public.events where position = $1")
        .bind(at)
        .fetch_optional(connection)
        .await
}

/// What had happened by `upto` to those of these kinds of aggregates that have one of these ids, in order; no more than
/// `limit` events. Without ids it is what had happened to all of these kinds.
pub async fn read(
    connection: &mut PgConnection,
    kinds: &[&str],
    ids: Option<&[Uuid]>,
    upto: Position,
    limit: i64,
) -> Result<Vec<Arc<RecordedEvent>>, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::text as payload, recorded_at,
            case when strpos(metadata::text, '\"capacity\":') > 0 then metadata end as act from ",
    );
    if let Some(ids) = ids {
        query.push("unnest(").push_bind(kinds).push("::text[]) as kinds (aggregate_type) cross join unnest(");
        query.push_bind(ids.iter().map(Uuid::to_string).collect::<Vec<_>>()).push("::text[]) as ids (aggregate_id)");
        query.push(" join public.events using (aggregate_type, aggregate_id) where ");
    } else {
        query.push("public.events where aggregate_type = any(").push_bind(kinds).push(") and ");
    }
    query.push("position <= ").push_bind(upto).push(" order by position limit ").push_bind(limit);
    query.build_query_as().fetch(connection).map_ok(Arc::new).try_collect().await
}

/// Those positions of events of these aggregates that `follower` has left out, because it could not take them in: what is
/// parked, what waits behind that, and what was skipped.
pub async fn left_out(
    connection: &mut PgConnection,
    follower: &str,
    version: i32,
    events: &[Arc<RecordedEvent>],
) -> Result<BTreeSet<Position>, sqlx::Error> {
    let positions: Vec<Position> = sqlx::query_scalar(
        "select position from public.parked_events where follower = $1 and position = any($3)
         union all
         select position from public.skipped_events where follower = $1 and version = $2 and position = any($3)",
    )
    .bind(follower)
    .bind(version)
    .bind(events.iter().map(|event| event.position).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(positions.into_iter().collect())
}

/// The ids that are named anywhere in an event as it is stored.
pub fn ids_in(payload: &str) -> impl Iterator<Item = Uuid> + '_ {
    // An id is a text of its own: between two quotes.
    payload.split('"').filter(|text| text.len() == UUID_LENGTH).filter_map(|text| Uuid::parse_str(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_position_or_a_time() {
        let time = |text: &str| Ok(Moment::Time(DateTime::parse_from_rfc3339(text).unwrap().to_utc()));
        for (text, expected) in [
            ("0", Ok(Moment::Position(0))),
            ("0017", Ok(Moment::Position(17))),
            ("2026-11-22T09:30:00Z", time("2026-11-22T09:30:00Z")),
            ("2026-11-22T10:30:00.5+01:00", time("2026-11-22T09:30:00.5Z")),
            ("", Err(NoMoment)),
            ("-1", Err(NoMoment)),
            ("+1", Err(NoMoment)),
            ("99999999999999999999", Err(NoMoment)),
            ("2026-11-22", Err(NoMoment)),
            ("1800-01-01T00:00:00Z", Err(NoMoment)),
            ("3000-01-01T00:00:00Z", Err(NoMoment)),
            ("yesterday", Err(NoMoment)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn ids_are_found_wherever_they_stand() {
        let [one, other] = [Uuid::from_u128(1), Uuid::from_u128(u128::MAX)];
        let payload = format!(r#"{{"Placed":{{"buyer":"{one}","orders":["{other}"],"note":"see {one}","n":36}}}}"#);
        assert_eq!(ids_in(&payload).collect::<Vec<_>>(), [one, other]);
        assert_eq!(ids_in(r#"{"text":"not an id, but as long as one is: xx"}"#).count(), 0);
    }
}
