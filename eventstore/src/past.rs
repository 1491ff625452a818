//! Looking back: where the log stood at some time, and what had happened to some aggregates by then.
//!
//! A moment is a place between two units of work. Whatever is named, a position within one or a time, the moment is the end
//! of the last unit that was whole by then: nobody has ever seen half of one.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::Timestamp;
use futures::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Position;
use crate::event::RecordedEvent;

/// The length of a UUID in its usual form, which is the only one in the log.
const UUID_LENGTH: usize = 36;

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
    let of_some = "
        select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::text as payload, recorded_at,
            case when strpos(metadata::text, '\"capacity\":') > 0 then metadata end as act
         from unnest($1::text[]) as kinds (aggregate_type) cross join unnest($2::text[]) as ids (aggregate_id)
         join public.events using (aggregate_type, aggregate_id)
         where position <= $3 order by position limit $4";
    let of_all = "
        select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::text as payload, recorded_at,
            case when strpos(metadata::text, '\"capacity\":') > 0 then metadata end as act
         from public.events
         where aggregate_type = any($1) and $2::text[] is null and position <= $3 order by position limit $4";
    sqlx::query_as(if ids.is_some() { of_some } else { of_all })
        .bind(kinds)
        .bind(ids.map(|ids| ids.iter().map(Uuid::to_string).collect::<Vec<_>>()))
        .bind(upto)
        .bind(limit)
        .fetch(connection)
        .map_ok(Arc::new)
        .try_collect()
        .await
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
    fn ids_are_found_wherever_they_stand() {
        let [one, other] = [Uuid::from_u128(1), Uuid::from_u128(u128::MAX)];
        let payload = format!(r#"{{"Placed":{{"buyer":"{one}","orders":["{other}"],"note":"see {one}","n":36}}}}"#);
        assert_eq!(ids_in(&payload).collect::<Vec<_>>(), [one, other]);
        assert_eq!(ids_in(r#"{"text":"not an id, but as long as one is: xx"}"#).count(), 0);
    }
}
