//! A read model beside the live one: filled, compared, swapped, removed.

use std::time::Duration;

use eventstore::Position;
use eventstore::database::Database;
use eventstore::follower::{Plans, take_events, take_range};
use eventstore::{log, parking};
use sqlx::{Connection, Executor, PgConnection};

use super::ahead::{self, Goal};
use super::{Comparison, PATIENCE, RebuildError, Rebuilt};
use crate::digest::{compare, digest};
use crate::{ReadModel, analytics, schema};

/// What Postgres answers when a lock was not free in time (`lock_not_available`).
const LOCK_TIMEOUT: &str = "55P03";

/// A read model beside the live one, and the connection whose lock makes it the only one.
pub(super) struct Beside {
    connection: PgConnection,
    database: Database,
    live: ReadModel,
    /// In which version the live tables were at the start, if they were there.
    pub(super) live_version: Option<i32>,
    next: ReadModel,
    /// How the indexes are made that the new tables are filled without.
    indexes: Vec<String>,
    /// Up to where the log has been taken.
    reached: Position,
}

impl Beside {
    /// Takes the turn, and begins with empty tables.
    pub(super) async fn begin(
        database: &Database,
        live: ReadModel,
        patience: Option<Duration>,
    ) -> Result<Self, RebuildError> {
        let mut beside = Self::take_turn(database, live, patience).await?;
        let Self { connection, live_version, next, indexes, .. } = &mut beside;
        let mut transaction = connection.begin().await?;
        schema::lock(&mut transaction).await?;
        if schema::exists(&mut transaction, live.name).await? {
            let checkpoint = schema::checkpoint(&mut transaction, live.name).await?;
            *live_version = checkpoint.map(|checkpoint| checkpoint.version);
        }
        schema::create(&mut transaction, next).await?;
        *indexes = schema::take_off_indexes(&mut transaction, next.name).await?;
        transaction.commit().await?;
        // First on the search path, as the runner has it.
        sqlx::query("select set_config('search_path', quote_ident($1) || ', public', false)")
            .bind(next.name)
            .execute(connection)
            .await?;
        Ok(beside)
    }

    /// Makes this the only rebuild of the read model, waiting so long for another to end, and removes what that was filling.
    pub(super) async fn take_turn(
        database: &Database,
        live: ReadModel,
        patience: Option<Duration>,
    ) -> Result<Self, RebuildError> {
        let next = ReadModel { name: live.next, ..live };
        let mut connection = database.connect_as_owner().await?;
        let lock_timeout_ms = patience.map_or(0, |patience| patience.as_millis()).to_string();
        // If this process is killed, frozen or cut off, the server notices soon, frees what is locked, and gives the turn
        // to the next. A commit that is lost with the server takes the rebuild along, which begins anew anyway.
        sqlx::query(
            "select set_config('client_connection_check_interval', '500ms', false),
                set_config('idle_in_transaction_session_timeout', '5s', false),
                set_config('tcp_keepalives_idle', '5s', false), set_config('tcp_keepalives_interval', '2s', false),
                set_config('tcp_keepalives_count', '3', false),
                set_config('synchronous_commit', 'off', false), set_config('lock_timeout', $1, false)",
        )
        .bind(lock_timeout_ms)
        .execute(&mut connection)
        .await?;
        let turn = sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(next.name);
        match turn.execute(&mut connection).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCK_TIMEOUT) => {
                return Err(RebuildError::UnderWay(live.name));
            }
            other => other?,
        };
        connection.execute("set lock_timeout = 0").await?;
        let (live_version, indexes, reached) = (None, Vec::new(), 0);
        let mut beside = Self { connection, database: database.clone(), live, live_version, next, indexes, reached };
        beside.remove_next().await?;
        Ok(beside)
    }

    /// Whether the live model is of the same version, so that it must hold the same rows.
    pub(super) fn is_comparable(&self) -> bool {
        self.live_version == Some(self.live.version)
    }

    /// Why not, if it is not.
    pub(super) fn refuse_to_compare(&self) -> Option<RebuildError> {
        let ReadModel { name, version, .. } = self.live;
        match self.live_version {
            None => Some(RebuildError::Absent(name)),
            Some(live) if live != version => Some(RebuildError::OtherVersion { name, live, version }),
            Some(_) => None,
        }
    }

    /// Follows the log until the goal.
    pub(super) async fn fill(
        &mut self,
        goal: Goal,
        mut progress: impl FnMut(Position, Position) + Send,
    ) -> Result<(), RebuildError> {
        let mut plans = Plans::default();
        let mut pieces = ahead::read(&self.database, self.live, self.reached, goal).await?;
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            let mut transaction = self.connection.begin().await?;
            take_events(&mut self.next, &mut transaction, self.database.wrapping(), &piece.events).await?;
            transaction.commit().await?;
            plans.taken(&mut self.connection, piece.reaches - self.reached).await?;
            self.reached = piece.reaches;
            progress(piece.reaches, piece.goal);
        }
        Ok(())
    }

    /// Compares both at the live model's position, as they are in one snapshot.
    pub(super) async fn compare(&mut self) -> Result<Comparison, RebuildError> {
        let Self { connection, database, live, next, .. } = self;
        let mut transaction = connection.begin().await?;
        transaction.execute("set transaction isolation level repeatable read").await?;
        let checkpoint = schema::checkpoint(&mut transaction, live.name).await?;
        let position = match checkpoint {
            Some(found) if Some(found.version) == self.live_version && found.position >= self.reached => found.position,
            _ => return Err(RebuildError::Replaced(live.name)),
        };
        take_range(next, &mut transaction, database.wrapping(), self.reached, position).await?;
        let rebuilt = digest(&mut transaction, next.name).await?;
        let differences = compare(&digest(&mut transaction, live.name).await?, &rebuilt);
        let parked = parking::list(&mut *transaction, &[next.name]).await?;
        transaction.commit().await?;
        self.reached = position;
        Ok(Comparison { position, tables: rebuilt, differences, parked })
    }

    /// Follows the log to its head and changes places with the live model.
    pub(super) async fn complete(
        &mut self,
        comparison: Option<Comparison>,
        mut progress: impl FnMut(Position, Position) + Send,
    ) -> Result<Rebuilt, RebuildError> {
        self.fill(Goal::Head, &mut progress).await?;
        for index in std::mem::take(&mut self.indexes) {
            self.connection.execute(&*index).await?;
        }
        // What has come meanwhile, so that the live model need not stand still for it.
        self.fill(Goal::Head, &mut progress).await?;
        self.swap(comparison).await
    }

    /// Takes the rest of the log and changes places with the live model.
    async fn swap(&mut self, comparison: Option<Comparison>) -> Result<Rebuilt, RebuildError> {
        let Self { connection, database, live, next, .. } = self;
        schema::analyze(connection, next.name).await?;
        let mut transaction = connection.begin().await?;
        transaction.execute("set local synchronous_commit = on").await?;
        schema::lock(&mut transaction).await?;
        // From here on the live model stands still.
        let checkpoint = schema::lock_checkpoint(&mut transaction, live.name).await?;
        let is_live = schema::exists(&mut transaction, live.name).await?;
        if checkpoint.filter(|_| is_live).map(|checkpoint| checkpoint.version) != self.live_version {
            return Err(RebuildError::Replaced(live.name));
        }
        let head = log::head(&mut *transaction).await?;
        take_range(next, &mut transaction, database.wrapping(), self.reached, head).await?;
        if is_live {
            let former = schema::free_former(&mut transaction, live).await?;
            schema::rename(&mut transaction, live.name, &former).await?;
        }
        schema::rename(&mut transaction, next.name, live.name).await?;
        if live.name == analytics::MODEL.name {
            analytics::open(&mut transaction).await?;
        }
        parking::hand_over(&mut transaction, next.name, live.name).await?;
        schema::move_checkpoint(&mut transaction, live, head).await?;
        transaction.commit().await?;
        Ok(Rebuilt { name: live.name, version: live.version, position: head, comparison })
    }

    /// Removes whatever this or an earlier call has left, and lets others rebuild.
    pub(super) async fn close(mut self) -> Result<(), RebuildError> {
        self.remove_next().await?;
        self.remove_former().await?;
        // Given up here and not by hanging up, which Postgres notices only a moment later.
        self.connection.execute("select pg_advisory_unlock_all()").await?;
        Ok(self.connection.close().await?)
    }

    async fn remove_next(&mut self) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin().await?;
        schema::drop_if_exists(&mut transaction, self.next.name).await?;
        parking::clear(&mut transaction, self.next.name).await?;
        transaction.commit().await
    }

    /// Somebody may still read tables that were the live ones, an analyst for minutes. Neither a node that starts nor
    /// another rebuild waits for that.
    async fn remove_former(&mut self) -> Result<(), sqlx::Error> {
        for former in schema::formers(&mut self.connection, &self.live).await? {
            let mut transaction = self.connection.begin().await?;
            sqlx::query("select set_config('lock_timeout', $1, true)")
                .bind(PATIENCE.as_millis().to_string())
                .execute(&mut *transaction)
                .await?;
            match schema::drop_if_exists(&mut transaction, &former).await {
                Ok(()) => transaction.commit().await?,
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCK_TIMEOUT) => {
                    transaction.rollback().await?;
                    tracing::warn!(
                        schema = former,
                        "tables from before a rebuild are still read; the next rebuild, or the next start of a node, drops them"
                    );
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
