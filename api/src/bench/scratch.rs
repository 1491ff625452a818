//! The database of a run: made for it, dropped after it.

use std::str::FromStr;
use std::time::Duration;

use eventstore::database::{Database, DatabaseError};
use eventstore::mint;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool};

use super::BenchError;
use super::machine::ServerFacts;

/// Longer than any slot's worth of waiting for a connection when callers outnumber them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_mins(1);

/// A database on the server that is to be measured.
#[derive(Debug)]
pub(super) struct Scratch {
    server: Database,
    options: PgConnectOptions,
    name: String,
}

impl Scratch {
    /// Makes a database with a random name on the server at `url`.
    pub(super) async fn create(url: &str) -> Result<Self, BenchError> {
        let server = Database::at(url)?;
        let name = format!("tradepost_bench_{}", mint::id().simple());
        let mut connection = server.connect_as_owner().await?;
        // A name cannot be bound; this one is ours and plain.
        sqlx::query(&format!("create database {name}")).execute(&mut connection).await?;
        connection.close().await?;
        let options = PgConnectOptions::from_str(url).map_err(DatabaseError::Address)?.database(&name);
        Ok(Self { server, options, name })
    }

    /// The database, for the engine.
    pub(super) fn database(&self) -> Database {
        self.server.named(&self.name)
    }

    /// Its address, for a node.
    pub(super) fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }

    /// A connection of the owner, for set-up and checks.
    pub(super) async fn connect(&self) -> Result<PgConnection, BenchError> {
        Ok(PgConnection::connect_with(&self.options).await?)
    }

    /// A pool whose connections find their tables in `schema`, as the plain ways would be given one. That they are slow is
    /// in the report, not in the log.
    pub(super) async fn pool(&self, schema: &str, connections: u32) -> Result<PgPool, BenchError> {
        let options = self.options.clone().options([("search_path", schema)]).disable_statement_logging();
        let pool = PgPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options);
        Ok(pool.await?)
    }

    /// What the server says of itself.
    pub(super) async fn facts(&self) -> Result<ServerFacts, BenchError> {
        let facts = sqlx::query_as(
            "select current_setting('server_version') as postgres,
                case when inet_server_addr() is null then 'Unix socket' else 'TCP' end as transport,
                current_setting('fsync') as fsync,
                current_setting('synchronous_commit') as synchronous_commit,
                current_setting('full_page_writes') as full_page_writes,
                current_setting('wal_level') as wal_level,
                current_setting('shared_buffers') as shared_buffers,
                current_setting('max_wal_size') as max_wal_size",
        );
        Ok(facts.fetch_one(&mut self.connect().await?).await?)
    }

    /// Drops the database, whoever is still connected to it.
    pub(super) async fn discard(self) -> Result<(), BenchError> {
        let mut connection = self.server.connect_as_owner().await?;
        sqlx::query(&format!("drop database {} with (force)", self.name)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }
}
