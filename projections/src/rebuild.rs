//! Building a read model from the log, beside the live one that goes on serving.
//!
//! The tables are filled in a schema `<name>_next` with a checkpoint of its own. When that has caught up, one
//! transaction locks the live checkpoint, so that the live model stands still, takes the rest of the log, and lets the
//! two schemas change names. Postgres looks names up again after that, so readers and the live runner go on with the
//! new tables at their next statement; nobody ever sees a half of both. The old tables are dropped afterwards and not
//! in that transaction, since dropping waits for readers, who would have to wait for it in turn.
//!
//! Whatever is interrupted before that transaction commits leaves the live model untouched; the next call starts
//! afresh.

use eventstore::Position;
use eventstore::database::{Database, DatabaseError};
use eventstore::follower::{FollowError, take_batch, take_events};
use eventstore::{log, parking};
use sqlx::{Connection, PgConnection};
use thiserror::Error;

use crate::digest::{Difference, compare, digest};
use crate::schema::{self, Checkpoint};
use crate::{ReadModel, find};

/// About how many events go into one batch.
const BATCH_EVENTS: i64 = 2_000;

/// Why a read model was not rebuilt. The live one is untouched.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// There is no such read model.
    #[error("there is no read model `{0}`")]
    Unknown(String),
    /// It is being rebuilt already.
    #[error("`{0}` is being rebuilt by somebody else")]
    UnderWay(&'static str),
    /// It has no tables yet.
    #[error("`{0}` has no tables yet: migrate first")]
    Absent(&'static str),
    /// Its rows cannot be compared with those of this code.
    #[error("`{name}` is live in version {live}, and this is version {version}")]
    OtherVersion {
        /// The read model.
        name: &'static str,
        /// Of the live tables.
        live: i32,
        /// Of this code.
        version: i32,
    },
    /// A node of another version has started and made the live tables anew.
    #[error("`{0}` has got another version meanwhile")]
    Replaced(&'static str),
    /// The database cannot be reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The log cannot be read or taken in.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl From<sqlx::Error> for RebuildError {
    fn from(error: sqlx::Error) -> Self {
        Self::Follow(error.into())
    }
}

/// Builds a read model anew from the log, in the version of this code, and puts it in the place of the live one. Tells
/// `progress` how far it is and where the head of the log is. Answers with the position that the new tables show.
pub async fn rebuild(
    database: &Database,
    name: &str,
    progress: impl FnMut(Position, Position) + Send,
) -> Result<Position, RebuildError> {
    let mut beside = Beside::fill(database, name, progress).await?;
    let reached = beside.swap().await?;
    beside.close().await?;
    Ok(reached)
}

/// Builds a read model anew from the log, compares it with the live one at the same position, and throws it away.
/// Answers with the tables that differ: none. The live model stands still while they are compared.
pub async fn verify(
    database: &Database,
    name: &str,
    progress: impl FnMut(Position, Position) + Send,
) -> Result<Vec<Difference>, RebuildError> {
    let mut beside = Beside::fill(database, name, progress).await?;
    let differences = beside.compare().await?;
    beside.close().await?;
    Ok(differences)
}

/// A read model beside the live one, and the connection whose lock makes it the only one.
struct Beside {
    connection: PgConnection,
    live: ReadModel,
    /// In which version the live tables were at the start.
    live_version: i32,
    next: ReadModel,
    /// Up to where the log has been taken.
    reached: Position,
}

impl Beside {
    /// Starts afresh and follows the log until its head.
    async fn fill(
        database: &Database,
        name: &str,
        mut progress: impl FnMut(Position, Position) + Send,
    ) -> Result<Self, RebuildError> {
        let live = find(name).ok_or_else(|| RebuildError::Unknown(name.to_owned()))?;
        let next = ReadModel { name: live.next, ..live };
        let connection = database.connect_as_owner().await?;
        let mut beside = Self { connection, live, live_version: 0, next, reached: 0 };
        beside.start_afresh().await?;
        look_into(&mut beside.connection, next.name).await?;
        loop {
            let mut transaction = beside.connection.begin().await?;
            beside.reached = take_batch(&mut beside.next, &mut transaction, BATCH_EVENTS).await?;
            let head = log::head(&mut *transaction).await?;
            transaction.commit().await?;
            progress(beside.reached, head);
            if beside.reached >= head {
                return Ok(beside);
            }
        }
    }

    /// Makes this the only rebuild, and its tables empty.
    async fn start_afresh(&mut self) -> Result<(), RebuildError> {
        let only: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(self.next.name)
            .fetch_one(&mut self.connection)
            .await?;
        if !only {
            return Err(RebuildError::UnderWay(self.live.name));
        }
        // A commit that is lost with the server takes the rebuild along, which starts afresh anyway.
        sqlx::query("set synchronous_commit = off").execute(&mut self.connection).await?;
        self.remove().await?;
        let mut transaction = self.connection.begin().await?;
        self.live_version = stop(&mut transaction, &self.live).await?.version;
        schema::create(&mut transaction, &self.next).await?;
        sqlx::query("insert into public.followers (name, version, position) values ($1, $2, 0)")
            .bind(self.next.name)
            .bind(self.next.version)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Takes the rest of the log and changes places with the live model.
    async fn swap(&mut self) -> Result<Position, RebuildError> {
        let Self { connection, live, next, .. } = self;
        schema::analyze(connection, next.name).await?;
        let mut transaction = connection.begin().await?;
        sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
        if stop(&mut transaction, live).await?.version != self.live_version {
            return Err(RebuildError::Replaced(live.name));
        }
        let head = log::head(&mut *transaction).await?;
        take_rest(next, &mut transaction, self.reached, head).await?;
        schema::rename(&mut transaction, live.name, &former(live)).await?;
        schema::rename(&mut transaction, next.name, live.name).await?;
        parking::hand_over(&mut transaction, next.name, live.name).await?;
        sqlx::query("update public.followers set version = $2, position = $3 where name = $1")
            .bind(live.name)
            .bind(live.version)
            .bind(head)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(head)
    }

    /// Brings both models to the head of the log and compares them. Leaves no trace in the live one.
    async fn compare(&mut self) -> Result<Vec<Difference>, RebuildError> {
        let Self { connection, live, next, .. } = self;
        let mut transaction = connection.begin().await?;
        let checkpoint = stop(&mut transaction, live).await?;
        if checkpoint.version != live.version {
            return Err(RebuildError::OtherVersion {
                name: live.name,
                live: checkpoint.version,
                version: live.version,
            });
        }
        let head = log::head(&mut *transaction).await?;
        take_rest(next, &mut transaction, self.reached, head).await?;
        look_into(&mut transaction, live.name).await?;
        take_rest(live, &mut transaction, checkpoint.position, head).await?;
        let rebuilt = digest(&mut transaction, next.name).await?;
        let live = digest(&mut transaction, live.name).await?;
        transaction.rollback().await?;
        Ok(compare(&live, &rebuilt))
    }

    /// Removes whatever this or an earlier call has left, and lets others rebuild.
    async fn close(mut self) -> Result<(), RebuildError> {
        self.remove().await?;
        // Given up here and not by hanging up, which Postgres notices only a moment later: whoever rebuilds next would
        // find it taken.
        sqlx::query("select pg_advisory_unlock_all()").execute(&mut self.connection).await?;
        Ok(self.connection.close().await?)
    }

    async fn remove(&mut self) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        schema::drop_if_exists(&mut transaction, self.next.name).await?;
        schema::drop_if_exists(&mut transaction, &former(&self.live)).await?;
        parking::clear(&mut transaction, self.next.name).await?;
        sqlx::query("delete from public.followers where name = $1")
            .bind(self.next.name)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}

/// The schema that the live tables have had, until they are dropped.
fn former(live: &ReadModel) -> String {
    format!("{}_former", live.name)
}

/// Puts a schema first on the search path, as the runner has it.
async fn look_into(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select set_config('search_path', quote_ident($1) || ', public', false)")
        .bind(schema)
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes the live model stand still until the transaction ends.
async fn stop(transaction: &mut PgConnection, live: &ReadModel) -> Result<Checkpoint, RebuildError> {
    schema::lock(transaction).await?;
    schema::lock_checkpoint(transaction, live.name).await?.ok_or(RebuildError::Absent(live.name))
}

/// Takes the log from one position to another, exactly. May cut a unit of work, which nobody sees before the commit.
async fn take_rest(
    model: &mut ReadModel,
    transaction: &mut PgConnection,
    from: Position,
    to: Position,
) -> Result<(), RebuildError> {
    let mut reached = from;
    while reached < to {
        let next = to.min(reached + BATCH_EVENTS);
        let events = log::read_range(transaction, reached, next).await?;
        take_events(model, transaction, &events).await?;
        reached = next;
    }
    Ok(())
}
