//! What belongs to the log and is not in it: answers to commands, what was left out of read models for good, and how far
//! processes have come.

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::Position;

/// An accepted command that may be asked again, as it is stored: hashes of key and question, and the answer.
#[derive(Clone, Debug, Deserialize, Eq, FromRow, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeptAnswer {
    /// The first 16 bytes of the hash of its key, in hexadecimal.
    pub key: String,
    /// The same of what was asked.
    pub fingerprint: String,
    /// Where its last event is.
    pub position: Position,
    /// The text of the answer's JSON.
    pub answer: String,
    /// When it was accepted.
    pub recorded_at: Timestamp,
}

/// Up to `limit` of the answers to commands whose last events are in a stretch of the log (both ends included), after a
/// key, in the order of keys.
pub async fn answers(
    executor: impl PgExecutor<'_>,
    (from, to): (Position, Position),
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<KeptAnswer>, sqlx::Error> {
    sqlx::query_as(
        "select encode(key, 'hex') as key, encode(fingerprint, 'hex') as fingerprint, position, answer::text as answer,
            recorded_at
         from public.command_keys
         where position between $1 and $2 and ($3::text is null or key > decode($3, 'hex'))
         order by command_keys.key limit $4",
    )
    .bind(from)
    .bind(to)
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await
}

/// An event that a follower has left out for good.
#[derive(Clone, Debug, Deserialize, Eq, FromRow, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Skipped {
    /// The follower.
    pub follower: String,
    /// Its version then.
    pub version: i32,
    /// The event.
    pub position: Position,
    /// What it has happened to.
    pub aggregate_id: Uuid,
    /// Why it could not be taken.
    pub error: String,
    /// Why it was left out.
    pub reason: String,
    /// Who has said so.
    pub skipped_by: String,
    /// When.
    pub skipped_at: Timestamp,
}

/// What followers have left out of the log up to a position.
pub async fn skipped(executor: impl PgExecutor<'_>, to: Position) -> Result<Vec<Skipped>, sqlx::Error> {
    sqlx::query_as(
        "select follower, version, position, aggregate_id, error, reason, skipped_by, skipped_at
         from public.skipped_events where position <= $1 order by follower, version, position",
    )
    .bind(to)
    .fetch_all(executor)
    .await
}

/// How far somebody who follows the log has come.
#[derive(Clone, Debug, Deserialize, Eq, FromRow, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The follower.
    pub name: String,
    /// Its version.
    pub version: i32,
    /// Everything up to there it has dealt with.
    pub position: Position,
}

/// How far these followers have come: none further than what is parked of theirs, which is still to be dealt with.
pub async fn checkpoints(executor: impl PgExecutor<'_>, names: &[&str]) -> Result<Vec<Checkpoint>, sqlx::Error> {
    sqlx::query_as(
        "select name, version, least(position, parked.before) as position
         from public.followers
         cross join lateral (
            select min(position) - 1 as before from public.parked_events where follower = followers.name
         ) as parked
         where name = any($1) order by name",
    )
    .bind(names)
    .fetch_all(executor)
    .await
}

/// How far a follower has come; nothing for one that is not there.
pub async fn position_of(executor: impl PgExecutor<'_>, name: &str) -> Result<Option<Position>, sqlx::Error> {
    sqlx::query_scalar("select position from public.followers where name = $1")
        .bind(name)
        .fetch_optional(executor)
        .await
}

/// Puts answers into the table; those that are there already stay.
pub(super) async fn put_answers(connection: &mut PgConnection, answers: &[KeptAnswer]) -> Result<(), sqlx::Error> {
    let column = |value: fn(&KeptAnswer) -> &str| answers.iter().map(value).collect::<Vec<_>>();
    sqlx::query(
        "insert into public.command_keys (key, fingerprint, position, answer, recorded_at)
         select decode(key, 'hex'), decode(fingerprint, 'hex'), position, answer::json, recorded_at
         from unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[])
            as kept (key, fingerprint, position, answer, recorded_at)
         on conflict do nothing",
    )
    .bind(column(|kept| &kept.key))
    .bind(column(|kept| &kept.fingerprint))
    .bind(answers.iter().map(|kept| kept.position).collect::<Vec<_>>())
    .bind(column(|kept| &kept.answer))
    .bind(answers.iter().map(|kept| kept.recorded_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn put_skipped(connection: &mut PgConnection, skipped: &[Skipped]) -> Result<(), sqlx::Error> {
    for left_out in skipped {
        sqlx::query(
            "insert into public.skipped_events
                (follower, version, position, aggregate_id, error, reason, skipped_by, skipped_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(&left_out.follower)
        .bind(left_out.version)
        .bind(left_out.position)
        .bind(left_out.aggregate_id)
        .bind(&left_out.error)
        .bind(&left_out.reason)
        .bind(&left_out.skipped_by)
        .bind(left_out.skipped_at)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Moves those of these followers that are here, in the same version, to where they were there; not beyond the head.
pub(super) async fn move_checkpoints(
    connection: &mut PgConnection,
    checkpoints: &[Checkpoint],
    head: Position,
) -> Result<(), sqlx::Error> {
    for Checkpoint { name, version, position } in checkpoints {
        sqlx::query(
            "update public.followers set position = greatest(0, least($3, $4)) where name = $1 and version = $2",
        )
        .bind(name)
        .bind(version)
        .bind(position)
        .bind(head)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
