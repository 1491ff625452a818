//! Whether the table of timers is what the log says.

use eventstore::Position;
use eventstore::event::Interest;
use eventstore::follower::{Batch, Delivery, FollowError, Follower, take_range};
use eventstore::parking::{self, ParkedEvent};
use eventstore::wrapping::Wrapping;
use futures::future::BoxFuture;
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection};

use super::{Changes, NAME, TimerTable, VERSION};

/// How many timers are named; one is enough to know that something is wrong.
const NAMED: i64 = 10;

/// What was found in the table.
#[derive(Clone, Debug, Serialize)]
pub struct TimerAudit {
    /// Up to which position the table shows the log.
    pub position: Position,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
    /// The events that the replay could not take, or that wait behind those.
    pub parked: Vec<ParkedEvent>,
}

/// The follower under another name, for whom nothing is parked.
struct Replay;

impl Follower for Replay {
    fn name(&self) -> &'static str {
        "timers_replay"
    }

    fn version(&self) -> i32 {
        VERSION
    }

    fn delivery(&self) -> Delivery {
        TimerTable.delivery()
    }

    fn interest(&self) -> Interest {
        TimerTable.interest()
    }

    fn stands_for(&self) -> &'static str {
        NAME
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(super::write(connection, Changes::of(&batch.events)))
    }
}

/// Fills a table from the log and compares it with the live one, at the position of that, in one snapshot. Nothing
/// stands still, and nothing remains.
pub async fn audit(owner: &mut PgConnection, wrapping: &Wrapping) -> Result<TimerAudit, FollowError> {
    let mut transaction = owner.begin().await?;
    transaction.execute("set transaction isolation level repeatable read").await?;
    // A temporary table comes before all others of its name, so this is the one that the follower writes to.
    let create = "create temporary table timers (like public.timers) on commit drop";
    transaction.execute(create).await?;
    // Named as the follower names it.
    let name = "alter table pg_temp.timers add constraint timers_subject primary key (kind, aggregate_id, subject)";
    transaction.execute(name).await?;
    let checkpoint: Option<(i32, Position)> =
        sqlx::query_as("select version, position from public.followers where name = $1")
            .bind(NAME)
            .fetch_optional(&mut *transaction)
            .await?;
    let (theirs, position) = checkpoint.unwrap_or((VERSION, 0));
    if theirs != VERSION {
        return Err(FollowError::OtherVersion { ours: VERSION, theirs, reached: position });
    }
    take_range(&mut Replay, &mut transaction, wrapping, 0, position).await?;
    let findings = sqlx::query_scalar(
        "select format('%s timer: %s of %s, subject %s, due at %s', side, kind, aggregate_id, subject, due_at)
         from (
            select 'a superfluous or different' as side, * from (table public.timers except table pg_temp.timers) as live
            union all
            select 'a missing' as side, * from (table pg_temp.timers except table public.timers) as replayed
         ) as differences
         order by kind, aggregate_id, subject, side limit $1",
    )
    .bind(NAMED)
    .fetch_all(&mut *transaction)
    .await?;
    let parked = parking::list(&mut *transaction, &[Replay.name()]).await?;
    transaction.rollback().await?;
    Ok(TimerAudit { position, findings, parked })
}
