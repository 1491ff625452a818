//! Guessing: after five log-ins with a wrong password, no password is taken under that address for 15 minutes.
//!
//! An attempt counts before the password is looked at, so that fifty at once are no more than five; one that succeeds
//! takes them all back. Addresses that no account has are counted in the same way by the same statements, so that
//! nothing tells them apart.

use chrono::{DateTime, TimeDelta, Utc};
use domain::ClaimId;
use eventstore::clock::Clock;
use sqlx::PgPool;

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

/// Counts an attempt to log in with a password under the address of this claim, or refuses it.
pub async fn begin(pool: &PgPool, address: ClaimId) -> Result<Result<(), Locked>, sqlx::Error> {
    let now = Clock::real_now();
    let failures: Option<i32> = sqlx::query_scalar(
        "with swept as (delete from login_attempts where last_at <= $3 and subject <> $1)
         insert into login_attempts as known (subject, failures, last_at) values ($1, 1, $2)
         on conflict on constraint login_attempts_subject do update
             set (failures, last_at) = row (case when known.last_at <= $3 then 1 else known.failures + 1 end, $2)
             where known.failures < $4 or known.last_at <= $3
         returning failures",
    )
    .bind(address.0)
    .bind(now)
    .bind(now - LOCKED_FOR)
    .bind(MOST_FAILURES)
    .fetch_optional(pool)
    .await?;
    if failures.is_some() {
        return Ok(Ok(()));
    }
    let last: Option<DateTime<Utc>> = sqlx::query_scalar("select last_at from login_attempts where subject = $1")
        .bind(address.0)
        .fetch_optional(pool)
        .await?;
    Ok(last.map_or(Ok(()), |last| Err(Locked { until: last + LOCKED_FOR })))
}

/// Forgets the attempts under an address: somebody has proved to be its owner.
pub async fn forget(pool: &PgPool, address: ClaimId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from login_attempts where subject = $1").bind(address.0).execute(pool).await?;
    Ok(())
}
