//! How fast read models are built from a log, by a rebuild and by the plain way: one event per transaction.

use std::time::{Duration, Instant};

use eventstore::event::Interest;
use eventstore::follower::{Batch, Follower};
use eventstore::wrapping::Wrapping;
use eventstore::{Position, log};
use projections::ReadModel;
use projections::rebuild::{self, rebuild};
use sqlx::{Connection, Executor, PgConnection};

use crate::bench::BenchError;
use crate::bench::scratch::Scratch;

/// Events that the plain way reads at a time, which costs it next to nothing.
const READ_EVENTS: i64 = 1_000;

/// So many events in so much time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) events: i64,
    pub(super) elapsed: Duration,
}

impl Taken {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn per_second(self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Rebuilds one read model as `tradepost projections rebuild` does: filled, compared, swapped.
pub(super) async fn rebuilt(market: &Scratch, model: &ReadModel) -> Result<Taken, BenchError> {
    let began = Instant::now();
    let rebuilt = rebuild(&market.database(), model.name, |_, _| {}).await?;
    check(&rebuilt)?;
    Ok(Taken { events: rebuilt.position, elapsed: began.elapsed() })
}

/// Rebuilds all of them, so many at a time. Each event of the log counts once, however many read models take it.
pub(super) async fn all_rebuilt(market: &Scratch, jobs: usize) -> Result<Taken, BenchError> {
    let began = Instant::now();
    let database = market.database();
    let all = rebuild::at_once(projections::ALL.to_vec(), jobs, |model| {
        let database = database.clone();
        async move { rebuild(&database, model.name, |_, _| {}).await }
    });
    let all = all.await?;
    all.iter().try_for_each(check)?;
    let events = all.iter().map(|rebuilt| rebuilt.position).max().unwrap_or(0);
    Ok(Taken { events, elapsed: began.elapsed() })
}

/// Reads what a rebuild of one read model reads, and does nothing with it.
pub(super) async fn read_only(market: &Scratch, model: &ReadModel) -> Result<Taken, BenchError> {
    let began = Instant::now();
    let mut log = market.connect().await?;
    let head = log::head(&mut log).await?;
    let mut reached = 0;
    while reached < head {
        let next = head.min(reached + rebuild::BATCH_EVENTS);
        log::read_range(&mut log, reached, next, model.interest()).await?;
        reached = next;
    }
    Ok(Taken { events: head, elapsed: began.elapsed() })
}

/// A rebuild that gave other rows would be fast for nothing.
fn check(rebuilt: &rebuild::Rebuilt) -> Result<(), BenchError> {
    let different =
        rebuilt.comparison.as_ref().map_or(1, |compared| compared.differences.len() + compared.parked.len());
    match i64::try_from(different).unwrap_or(i64::MAX) {
        0 => Ok(()),
        found => Err(BenchError::Wrong { side: "rebuild", what: "the number of differences", expected: 0, found }),
    }
}

/// How the plain way commits.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Commits {
    /// Each waits until it is on the disk.
    Durable,
    /// The last few may be lost with the server.
    Lazy,
}

/// Builds one read model in a database of its own: each event is applied and the checkpoint moved in a transaction, for
/// so long or until the log ends.
pub(super) async fn one_by_one(
    market: &Scratch,
    plain: &Scratch,
    model: ReadModel,
    commits: Commits,
    limit: Duration,
) -> Result<Taken, BenchError> {
    let mut log = market.connect().await?;
    let head = log::head(&mut log).await?;
    let mut tables = empty(plain, &model).await?;
    if commits == Commits::Lazy {
        tables.execute("set synchronous_commit = off").await?;
    }
    let (mut reached, mut elapsed) = (0, Duration::ZERO);
    while reached < head && elapsed < limit {
        let began = Instant::now();
        for event in log::read_range(&mut log, reached, reached + READ_EVENTS, Interest::Everything).await? {
            let batch = Batch::decode(&mut log, &Wrapping::default(), [event.as_ref()]).await?;
            apply(&mut tables, model, &batch, event.position).await?;
            reached = event.position;
            if began.elapsed() + elapsed >= limit {
                break;
            }
        }
        elapsed += began.elapsed();
    }
    Ok(Taken { events: reached, elapsed })
}

async fn apply(
    tables: &mut PgConnection,
    mut model: ReadModel,
    batch: &Batch,
    position: Position,
) -> Result<(), BenchError> {
    let mut transaction = tables.begin().await?;
    model.apply(&mut transaction, batch).await?;
    sqlx::query("update public.followers set position = $2 where name = $1")
        .bind(model.name)
        .bind(position)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

/// The tables of a read model without rows, and a connection that finds them.
async fn empty(plain: &Scratch, model: &ReadModel) -> Result<PgConnection, BenchError> {
    let mut owner = plain.connect().await?;
    // The names of read models are plain.
    sqlx::raw_sql(&format!("drop schema if exists {} cascade", model.name)).execute(&mut owner).await?;
    // Over an empty log they begin empty.
    rebuild::ensure(&plain.database()).await?;
    sqlx::raw_sql(&format!("set search_path = {}, public", model.name)).execute(&mut owner).await?;
    Ok(owner)
}
