//! The rows of people's keys as a whole: how many are wrapped with which key, and wrapping all of them with the current.
//!
//! Rewrapping goes on beside running nodes and needs no mark of where it is: what it still has to do, the rows tell. It
//! replaces a row only if that is what it was when it was read, and never inserts one, so nobody who was forgotten
//! meanwhile comes back.

use std::collections::BTreeMap;

use domain::AccountId;
use serde::Serialize;
use sqlx::{PgConnection, PgExecutor};
use thiserror::Error;
use uuid::Uuid;

use super::{HEAD_BYTES, KEY_BYTES, KeyError, KeyId, ROW_BYTES, Wrapping, wrapped_with};

/// How many rows are replaced in one statement. Each is locked for as long as that takes, which is milliseconds.
const BATCH_ROWS: i64 = 500;

/// How many rows are wrapped with which key.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Census {
    /// The current key, if there is one, and its rows.
    pub current: Option<Wrapped>,
    /// Each of the other keys that this process was given, and its rows.
    pub former: Vec<Wrapped>,
    /// Rows that are keys as they are.
    pub raw: i64,
    /// Keys that this process was not given, and the rows that it cannot open for want of them.
    pub unknown: Vec<Wrapped>,
    /// Rows that are neither keys nor wrapped in a way that this version knows.
    pub unreadable: i64,
}

/// How many rows one key has wrapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Wrapped {
    /// Which key.
    pub key: KeyId,
    /// How many rows.
    pub rows: i64,
}

impl Census {
    /// Counts, in one pass over the rows.
    pub async fn take(executor: impl PgExecutor<'_>, wrapping: &Wrapping) -> Result<Self, sqlx::Error> {
        // The nonce and what follows do not matter; a raw row is shown to nobody.
        let groups: Vec<(Option<Vec<u8>>, i32, i64)> = sqlx::query_as(
            "select case when octet_length(key) <> $1 then substring(key from 1 for $2) end as head,
                octet_length(key) as length, count(*)
             from person_keys group by head, length",
        )
        .bind(length(KEY_BYTES))
        .bind(length(HEAD_BYTES))
        .fetch_all(executor)
        .await?;
        let mut census = Self::default();
        let mut wrapped = BTreeMap::new();
        for (head, length, rows) in groups {
            let Some(mut row) = head else {
                census.raw += rows;
                continue;
            };
            row.resize(usize::try_from(length).unwrap_or_default(), 0);
            match wrapped_with(&row) {
                Some(key) => *wrapped.entry(key).or_default() += rows,
                None => census.unreadable += rows,
            }
        }
        let mut rows_of = |key| Wrapped { key, rows: wrapped.remove(&key).unwrap_or_default() };
        census.current = wrapping.current().map(&mut rows_of);
        census.former = wrapping.former().map(&mut rows_of).collect();
        census.unknown = wrapped.into_iter().map(|(key, rows)| Wrapped { key, rows }).collect();
        Ok(census)
    }

    /// Rows that are to be wrapped with the current key and can be.
    pub fn to_rewrap(&self) -> i64 {
        self.raw + self.former.iter().map(|former| former.rows).sum::<i64>()
    }

    /// Refuses if there are rows that this process cannot open.
    pub fn check(&self) -> Result<(), Unopenable> {
        if self.unknown.is_empty() && self.unreadable == 0 {
            return Ok(());
        }
        Err(Unopenable { unknown: self.unknown.clone(), unreadable: self.unreadable })
    }
}

/// There are rows that this process cannot open.
#[derive(Debug, Error)]
#[error("{}", self.sentence())]
pub struct Unopenable {
    unknown: Vec<Wrapped>,
    unreadable: i64,
}

impl Unopenable {
    fn sentence(&self) -> String {
        let keys = self.unknown.iter().map(|Wrapped { key, rows }| {
            format!(
                "the wrapping key {key}, under which keys of people are stored (rows: {rows}), is not configured here"
            )
        });
        let unreadable = (self.unreadable > 0).then(|| {
            format!("keys of people are stored in a way that this version does not know (rows: {})", self.unreadable)
        });
        keys.chain(unreadable).collect::<Vec<_>>().join("; ")
    }
}

/// What came of rewrapping.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Rewrapped {
    /// Rows that are wrapped with the current key now and were not before.
    pub rewrapped: u64,
    /// Rows that were left as they are since they do not open, and why.
    pub refused: Vec<Refused>,
    /// Rows that are raw or wrapped with another key at the end: those refused, those that somebody else was at, and those
    /// that a node with another current key has added meanwhile.
    pub left: i64,
}

/// A row that does not open.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// Whose key.
    pub account_id: Uuid,
    /// What is wrong with it.
    pub reason: String,
}

/// Why rows were not rewrapped, or not all of them. Those that were stay so; the next call goes on with the others.
#[derive(Debug, Error)]
pub enum RewrapError {
    /// There is nothing to wrap them with.
    #[error("there is no current wrapping key")]
    NoCurrentKey,
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// Wraps every row with the current key that is not yet, as the owner of the table. Tells `progress` how many it has
/// looked at, and how many there were.
pub async fn rewrap(
    owner: &mut PgConnection,
    wrapping: &Wrapping,
    mut progress: impl FnMut(i64, i64) + Send,
) -> Result<Rewrapped, RewrapError> {
    let current = wrapping.0.current.as_ref().ok_or(RewrapError::NoCurrentKey)?;
    let all = Census::take(&mut *owner, wrapping).await?.not_current();
    let (mut done, mut looked_at, mut last) = (Rewrapped::default(), 0, None);
    loop {
        let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
            "select account_id, key from person_keys
             where ($1::uuid is null or account_id > $1)
                and (octet_length(key) <> $2 or substring(key from 1 for $3) <> $4)
             order by account_id limit $5",
        )
        .bind(last)
        .bind(length(ROW_BYTES))
        .bind(length(HEAD_BYTES))
        .bind(current.head().as_slice())
        .bind(BATCH_ROWS)
        .fetch_all(&mut *owner)
        .await?;
        let Some((furthest, _)) = rows.last() else { break };
        last = Some(*furthest);
        looked_at += i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let (mut accounts, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for (account, row) in rows {
            match wrapping.open(AccountId(account), &row) {
                Ok(key) => {
                    accounts.push(account);
                    before.push(row);
                    after.push(wrapping.wrap(&key).row);
                }
                Err(error) => done.refused.push(Refused::because(account, &error)),
            }
        }
        done.rewrapped += replace(owner, &accounts, &before, &after).await?;
        progress(looked_at, all.max(looked_at));
    }
    done.left = Census::take(&mut *owner, wrapping).await?.not_current();
    Ok(done)
}

/// Replaces those rows that still are what they were. Waits for no lock while it holds others, so that no ring of
/// waiting can form with a node that deletes several people.
pub(crate) async fn replace(
    owner: &mut PgConnection,
    accounts: &[Uuid],
    before: &[Vec<u8>],
    after: &[Vec<u8>],
) -> Result<u64, sqlx::Error> {
    let replaced = sqlx::query(
        "with unchanged as (
            select person.account_id, change.after
            from unnest($1::uuid[], $2::bytea[], $3::bytea[]) as change (account_id, before, after)
                join person_keys as person using (account_id)
            where person.key = change.before
            for update of person skip locked
         )
         update person_keys as person set key = unchanged.after
         from unchanged where person.account_id = unchanged.account_id",
    )
    .bind(accounts)
    .bind(before)
    .bind(after)
    .execute(owner)
    .await?;
    Ok(replaced.rows_affected())
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

impl Census {
    fn not_current(&self) -> i64 {
        self.to_rewrap() + self.unknown.iter().map(|unknown| unknown.rows).sum::<i64>() + self.unreadable
    }
}

impl Refused {
    fn because(account_id: Uuid, error: &KeyError) -> Self {
        Self { account_id, reason: error.to_string() }
    }
}
