//! Guessing: after five log-ins with a wrong password, no password is taken under that address for 15 minutes. Whoever has
//! logged in and is asked for the password again is counted in the same way, apart from log-ins.
//!
//! An attempt counts before the password is looked at, so that fifty at once are no more than five; one that succeeds
//! takes them all back. Addresses that no account has are counted in the same way by the same statements, so that
//! nothing tells them apart.

use chrono::{DateTime, TimeDelta, Utc};
use eventstore::clock::Clock;
use sqlx::PgPool;
use uuid::Uuid;

/// So many attempts that fail lock an address.
pub const MOST_FAILURES: i32 = 5;
/// For so long after the last of them.
pub const LOCKED_FOR: TimeDelta = TimeDelta::minutes(15);

/// Too many attempts have failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Locked {
    /// When the next one is allowed.
    pub until: DateTime<Utc>,
}

/// Counts an attempt of `subject` to show a password, or refuses it: the claim on an address, for log-ins, or an account
/// that has logged in and is asked for its password again.
pub async fn begin(pool: &PgPool, subject: Uuid) -> Result<Result<(), Locked>, sqlx::Error> {
    let now = Clock::real_now();
    let failures: Option<i32> = sqlx::query_scalar(
        // Rows that others are at are left to them, or two might wait for each other.
        "with over as (
             select subject from login_attempts where last_at <= $3 and subject <> $1 for update skip locked
         ), swept as (
             delete from login_attempts using over where login_attempts.subject = over.subject
         )
         insert into login_attempts as known (subject, failures, last_at) values ($1, 1, $2)
         on conflict on constraint login_attempts_subject do update
             set (failures, last_at) = row (case when known.last_at <= $3 then 1 else known.failures + 1 end, $2)
             where known.failures < $4 or known.last_at <= $3
         returning failures",
    )
    .bind(subject)
    .bind(now)
    .bind(now - LOCKED_FOR)
    .bind(MOST_FAILURES)
    .fetch_optional(pool)
    .await?;
    if failures.is_some() {
        return Ok(Ok(()));
    }
    let last: Option<DateTime<Utc>> = sqlx::query_scalar("select last_at from login_attempts where subject = $1")
        .bind(subject)
        .fetch_optional(pool)
        .await?;
    Ok(last.map_or(Ok(()), |last| Err(Locked { until: last + LOCKED_FOR })))
}

/// Takes an attempt back that nobody could look at.
pub async fn take_back(pool: &PgPool, subject: Uuid) -> Result<(), sqlx::Error> {
    let statement = "update login_attempts set failures = failures - 1 where subject = $1 and failures > 0";
    sqlx::query(statement).bind(subject).execute(pool).await?;
    Ok(())
}

/// Forgets the attempts: somebody has proved to be whom they said.
pub async fn forget(pool: &PgPool, subject: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from login_attempts where subject = $1").bind(subject).execute(pool).await?;
    Ok(())
}
