//! The table of letters: what is due, what came of it, and what operators do with it.

use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::notice::{Kind, Notice};
use eventstore::Position;
use serde::Serialize;
use sqlx::postgres::types::PgInterval;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, PgPool};
use uuid::Uuid;

use super::NotSent;

/// After a failure, how long until the next attempt: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// A letter that could not be sent so often is parked: about half a day after the first attempt.
const MOST_ATTEMPTS: i32 = 16;
/// How long one node may take to send a letter before another one tries.
const LEASE: Duration = Duration::from_mins(2);
/// How long it is told which letters were sent.
const SENT_TOLD_FOR: TimeDelta = TimeDelta::days(30);
/// How many letters are made of a mailing at once.
const MAILING_PAGE: i64 = 500;

/// A letter that is due.
#[derive(Clone, Debug, FromRow)]
pub(super) struct Due {
    pub(super) id: Uuid,
    pub(super) account_id: Uuid,
    pub(super) mailbox: String,
    pub(super) notice: Json<Notice>,
    pub(super) position: Position,
    attempts: i32,
}

/// Where a letter is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// It is to be sent.
    Waiting,
    /// It was sent.
    Sent,
    /// It could not be sent, and waits for an operator.
    Parked,
}

/// A letter as operators see it: to whom, but not where that is.
#[derive(Clone, Debug, FromRow, Serialize)]
pub struct Listed {
    /// Names it, also in its `Message-ID`.
    pub id: Uuid,
    /// Whose mailbox it is for.
    pub account_id: Uuid,
    /// What it is about.
    pub kind: String,
    /// Where it is.
    pub state: State,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is tried next, if it waits.
    pub due_at: Timestamp,
    /// When it was sent.
    pub sent_at: Option<Timestamp>,
    /// Why it could not be sent.
    pub error: Option<String>,
    /// The event that it tells of.
    pub position: Position,
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}

/// Takes letters that are due, the urgent first, for as long as sending them may take.
pub(super) async fn claim(pool: &PgPool, limit: i64) -> Result<Vec<Due>, sqlx::Error> {
    sqlx::query("delete from letters where state = 'waiting' and expires_at <= now()").execute(pool).await?;
    sqlx::query_as(
        "update letters set attempts = attempts + 1, due_at = now() + $2::interval
         where id in (
            select id from letters where state = 'waiting' and due_at <= now()
            order by urgent desc, due_at, position limit $1 for update skip locked)
         returning id, account_id, mailbox, notice, position, attempts",
    )
    .bind(limit)
    .bind(interval(LEASE))
    .fetch_all(pool)
    .await
}

/// Notes that a letter was sent.
pub(super) async fn sent(pool: &PgPool, letter: &Due) -> Result<(), sqlx::Error> {
    sqlx::query("update letters set state = 'sent', sent_at = now(), error = null where id = $1")
        .bind(letter.id)
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes that a letter could not be sent: it is tried again later, or parked. Whether it was parked.
pub(super) async fn failed(pool: &PgPool, letter: &Due, why: &NotSent) -> Result<bool, sqlx::Error> {
    let parked = match why {
        NotSent::Now(_) => letter.attempts >= MOST_ATTEMPTS,
        NotSent::Never(_) => true,
    };
    let state = if parked { State::Parked } else { State::Waiting };
    sqlx::query(
        "update letters set state = $2, due_at = now() + $3::interval, error = $4 where id = $1 and state = 'waiting'",
    )
    .bind(letter.id)
    .bind(state)
    .bind(interval(pause(letter.attempts)))
    .bind(why.to_string())
    .execute(pool)
    .await?;
    Ok(parked)
}

/// How long until the next attempt after so many: each time twice as long.
fn pause(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(16);
    FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
}

/// Lets a letter go that nobody is there to read.
pub(super) async fn drop_letter(pool: &PgPool, letter: &Due) -> Result<(), sqlx::Error> {
    sqlx::query("delete from letters where id = $1").bind(letter.id).execute(pool).await?;
    Ok(())
}

/// Makes the next letters of a mailing. Whether there was any to be made.
pub(super) async fn unfold(pool: &PgPool) -> Result<bool, sqlx::Error> {
    #[derive(FromRow)]
    struct Mailing {
        event_id: Uuid,
        capability: Option<String>,
        kind: String,
        notice: sqlx::types::JsonValue,
        position: Position,
        at: Timestamp,
        reached: Uuid,
    }
    #[derive(FromRow)]
    struct Reader {
        account_id: Uuid,
        email: String,
        wants: Option<bool>,
    }
    let mut transaction = pool.begin().await?;
    let mailing: Option<Mailing> =
        sqlx::query_as("select * from mailings order by position limit 1 for update skip locked")
            .fetch_optional(&mut *transaction)
            .await?;
    let Some(mailing) = mailing else { return Ok(false) };
    // Those who hold a capability are few: an index knows them.
    let readers = match mailing.capability {
        Some(_) => {
            "select account_id, email, (preferences -> $1 ->> 'email')::boolean as wants from mail_people
             where account_id > $2 and since < $3 and verified and capabilities @> array[$4]
             order by account_id limit $5"
        }
        None => {
            "select account_id, email, (preferences -> $1 ->> 'email')::boolean as wants from mail_people
             where account_id > $2 and since < $3 and verified and $4::text is null
             order by account_id limit $5"
        }
    };
    let readers: Vec<Reader> = sqlx::query_as(readers)
        .bind(&mailing.kind)
        .bind(mailing.reached)
        .bind(mailing.position)
        .bind(&mailing.capability)
        .bind(MAILING_PAGE)
        .fetch_all(&mut *transaction)
        .await?;
    let Some(last) = readers.last() else {
        sqlx::query("delete from mailings where event_id = $1")
            .bind(mailing.event_id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        return Ok(true);
    };
    let reached = last.account_id;
    let usual = mailing.kind.parse::<Kind>().is_ok_and(|kind| kind.usual().email);
    let readers = readers.into_iter().filter(|reader| reader.wants.unwrap_or(usual));
    let (accounts, mailboxes): (Vec<Uuid>, Vec<String>) =
        readers.map(|reader| (reader.account_id, reader.email)).unzip();
    let ids: Vec<Uuid> = accounts.iter().map(|account| Uuid::new_v5(&mailing.event_id, account.as_bytes())).collect();
    sqlx::query(
        "insert into letters (id, account_id, kind, urgent, mailbox, notice, position, at)
         select id, account_id, $4, false, mailbox, $5, $6, $7
         from unnest($1::uuid[], $2::uuid[], $3::text[]) as called (id, account_id, mailbox)
         on conflict on constraint letters_id do nothing",
    )
    .bind(ids)
    .bind(accounts)
    .bind(mailboxes)
    .bind(&mailing.kind)
    .bind(&mailing.notice)
    .bind(mailing.position)
    .bind(mailing.at)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("update mailings set reached = $2 where event_id = $1")
        .bind(mailing.event_id)
        .bind(reached)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// How long until a letter is due that waits; nothing if none does.
pub(super) async fn next_due(pool: &PgPool) -> Result<Option<Duration>, sqlx::Error> {
    let seconds: Option<i64> = sqlx::query_scalar(
        "select ceil(extract(epoch from min(due_at) - now()))::bigint from letters where state = 'waiting'",
    )
    .fetch_one(pool)
    .await?;
    Ok(seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

/// Forgets letters that were sent long ago.
pub(super) async fn clean_up(pool: &PgPool) -> Result<(), sqlx::Error> {
    let days =
        PgInterval { months: 0, days: i32::try_from(SENT_TOLD_FOR.num_days()).unwrap_or(i32::MAX), microseconds: 0 };
    sqlx::query("delete from letters where state = 'sent' and sent_at < now() - $1::interval")
        .bind(days)
        .execute(pool)
        .await?;
    Ok(())
}

/// Letters that are not sent.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq)]
pub struct Unsent {
    /// How many have not been tried yet, or are being sent.
    pub fresh: i64,
    /// How many have failed and are tried again.
    pub failed: i64,
    /// How many are parked.
    pub parked: i64,
}

/// How many letters are not sent.
pub async fn unsent(executor: impl PgExecutor<'_>) -> Result<Unsent, sqlx::Error> {
    sqlx::query_as(
        "select count(*) filter (where state = 'waiting' and error is null) + (select count(*) from mailings) as fresh,
                count(*) filter (where state = 'waiting' and error is not null) as failed,
                count(*) filter (where state = 'parked') as parked
         from letters where state <> 'sent'",
    )
    .fetch_one(executor)
    .await
}

/// The letters in this state, oldest first, or all.
pub async fn list(executor: impl PgExecutor<'_>, state: Option<State>, limit: i64) -> Result<Vec<Listed>, sqlx::Error> {
    sqlx::query_as(
        "select id, account_id, kind, state, attempts, due_at, sent_at, error, position from letters
         where $1::text is null or state = $1 order by position, id limit $2",
    )
    .bind(state)
    .bind(limit)
    .fetch_all(executor)
    .await
}

/// Tries letters again that are parked or wait for a later attempt: this one, or all. How many that are.
pub async fn retry(executor: impl PgExecutor<'_>, letter: Option<Uuid>) -> Result<u64, sqlx::Error> {
    let retried = sqlx::query(
        "update letters set state = 'waiting', attempts = 0, due_at = now()
         where state <> 'sent' and ($1::uuid is null or id = $1)",
    )
    .bind(letter)
    .execute(executor)
    .await?;
    Ok(retried.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_longer_up_to_the_longest() {
        let pauses: Vec<u64> = (1..=MOST_ATTEMPTS).map(|attempts| pause(attempts).as_secs()).collect();
        assert_eq!(pauses[..4], [30, 60, 120, 240]);
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&3_600));
        let hours = pauses.iter().sum::<u64>() / 3_600;
        assert!((8..=16).contains(&hours), "{hours}");
    }
}
