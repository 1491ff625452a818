//! Reaching Postgres: connections that act as the service's role, pools for reading, migrations.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use thiserror::Error;

/// The role that nodes act as: it may add to the log and read it, never rewrite it.
pub const SERVICE_ROLE: &str = "tradepost_service";

/// A wait for a connection longer than this means that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// Why the database could not be reached or prepared.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The address is not one of Postgres.
    #[error("the database address is not a postgres:// URL: {0}")]
    Address(#[source] sqlx::Error),
    /// Nobody answers there, or we are not let in.
    #[error("cannot connect to the database at {host}:{port}: {source}")]
    Unreachable {
        /// Where we tried.
        host: String,
        /// Where we tried.
        port: u16,
        /// What Postgres or the network said.
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("the database could not be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The database answered with an error.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// How to reach a database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// The database at `url`. Nothing is connected yet.
    pub fn at(url: &str) -> Result<Self, DatabaseError> {
        let options = PgConnectOptions::from_str(url).map_err(DatabaseError::Address)?;
        Ok(Self { options: options.application_name("tradepost") })
    }

    /// Another database on the same server, reached in the same way.
    #[must_use]
    pub fn named(&self, database: &str) -> Self {
        Self { options: self.options.clone().database(database) }
    }

    /// A connection as whoever the URL names: for migrations and other work of the owner.
    pub async fn connect_as_owner(&self) -> Result<PgConnection, DatabaseError> {
        PgConnection::connect_with(&self.options).await.map_err(|source| self.unreachable(source))
    }

    /// A connection that acts as the service, for a task of its own. `schema` comes first on its search path.
    pub async fn connect(&self, schema: Option<&str>) -> Result<PgConnection, DatabaseError> {
        let mut options = self.service_options();
        if let Some(schema) = schema {
            options = options.options([("search_path", format!("{schema},public"))]);
        }
        PgConnection::connect_with(&options).await.map_err(|source| self.unreachable(source))
    }

    /// A pool of connections that act as the service.
    ///
    /// **Invariant:** no code begins a transaction on a pooled connection, so a cancelled request leaves none open.
    pub fn pool(&self, connections: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(self.service_options())
    }

    /// Brings the schema up to date, as the owner. Safe to run on several nodes at once.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut connection = self.connect_as_owner().await?;
        MIGRATIONS.run(&mut connection).await?;
        connection.close().await?;
        Ok(())
    }

    fn service_options(&self) -> PgConnectOptions {
        self.options.clone().options([("role", SERVICE_ROLE)])
    }

    fn unreachable(&self, source: sqlx::Error) -> DatabaseError {
        DatabaseError::Unreachable { host: self.options.get_host().to_owned(), port: self.options.get_port(), source }
    }
}

/// Whether an error says that the database is away or unable to work, rather than that the statement was wrong.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // Connection exceptions, insufficient resources, operator intervention, system errors; a read-only
            // transaction is what a standby gives during a failover.
            ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25006"
        }),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}
