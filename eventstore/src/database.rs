//! Reaching Postgres: connections that act as the service's role, pools for reading, migrations.

use std::str::FromStr;
use std::time::Duration;

use domain::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgConnection, PgPool};
use thiserror::Error;

use crate::wrapping::Wrapping;

/// The role that nodes act as: it may add to the log and read it, never rewrite it.
pub const SERVICE_ROLE: &str = "tradepost_service";

/// A wait for a connection longer than this means that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the server waits for a session of ours to end before it says that it goes on.
const ENDING_MS: i64 = 1_000;

/// What the server does about a service that no longer answers, so that a frozen node, or one behind a cut network,
/// holds no lock for long. Owners do without: a rebuild may take its time. On a socket in the file system the `tcp_`
/// settings mean nothing and do no harm; `client_connection_check_interval` came with `PostgreSQL` 14.
const SESSION_LIMITS: [(&str, &str); 6] = [
    // A transaction whose client says nothing.
    ("idle_in_transaction_session_timeout", "5s"),
    // A statement, or its wait for a lock, whose client has hung up.
    ("client_connection_check_interval", "1s"),
    // A client whose machine or network is gone while the server waits for it ...
    ("tcp_keepalives_idle", "5s"),
    ("tcp_keepalives_interval", "2s"),
    ("tcp_keepalives_count", "3"),
    // ... and while it is to read an answer; also one that is frozen with its buffers full.
    ("tcp_user_timeout", "10s"),
];

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// The extension that a migration makes.
const TRIGRAMS: &str = "pg_trgm";

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
    /// An extension that comes with Postgres is not installed beside it.
    #[error(
        "PostgreSQL lacks the extension `{extension}`, by which searches forgive typing mistakes; it is in the package \
         postgresql-contrib, or in postgresql itself"
    )]
    NoExtension {
        /// Which.
        extension: &'static str,
    },
    /// The schema could not be brought up to date.
    #[error("the database could not be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A session that is to make way has not ended yet.
    #[error("a former session of ours has not ended yet")]
    FormerSession,
    /// The database answered with an error.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// A session on the server, by a name that no other ever has: process ids come again, but not at the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Session {
    pid: i32,
    began_at: Timestamp,
}

/// How to reach a database, and how the keys of the people in it are stored. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    options: PgConnectOptions,
    wrapping: Wrapping,
}

impl Database {
    /// The database at `url`. Nothing is connected yet.
    pub fn at(url: &str) -> Result<Self, DatabaseError> {
        let options = PgConnectOptions::from_str(url).map_err(DatabaseError::Address)?;
        Ok(Self { options: options.application_name("tradepost"), wrapping: Wrapping::default() })
    }

    /// The same, with the keys of people wrapped and opened in this way; otherwise they are raw.
    #[must_use]
    pub fn with_wrapping(self, wrapping: Wrapping) -> Self {
        Self { wrapping, ..self }
    }

    /// How the keys of people are stored here.
    pub fn wrapping(&self) -> &Wrapping {
        &self.wrapping
    }

    /// Another database on the same server, reached in the same way, with people's keys stored in the same way.
    #[must_use]
    pub fn named(&self, database: &str) -> Self {
        Self { options: self.options.clone().database(database), wrapping: self.wrapping.clone() }
    }

    /// Where somebody else reaches the same database, as an address that psql and others read; on `host` if it is named,
    /// else where we reach it, and encrypted as we ask for it. Neither name nor password may have anything in it that such
    /// an address would not take.
    pub fn address_of(&self, host: Option<&str>, user: &str, password: &str) -> String {
        let (port, database) = (self.options.get_port(), encoded(self.options.get_database().unwrap_or_default()));
        let host = match (host, self.options.get_socket()) {
            (Some(host), _) => host.to_owned(),
            // libpq and sqlx both read a folder in the place of the host.
            (None, Some(folder)) => encoded(&folder.to_string_lossy()),
            (None, None) => self.options.get_host().to_owned(),
        };
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let encryption = match self.options.get_ssl_mode() {
            // What psql and others do by themselves.
            PgSslMode::Prefer => "",
            PgSslMode::Disable => "?sslmode=disable",
            PgSslMode::Allow => "?sslmode=allow",
            PgSslMode::Require => "?sslmode=require",
            PgSslMode::VerifyCa => "?sslmode=verify-ca",
            PgSslMode::VerifyFull => "?sslmode=verify-full",
        };
        format!("postgres://{user}:{password}@{host}:{port}/{database}{encryption}")
    }

    /// A connection as whoever the URL names: for migrations and other work of the owner.
    pub async fn connect_as_owner(&self) -> Result<PgConnection, DatabaseError> {
        PgConnection::connect_with(&self.options).await.map_err(|source| self.unreachable(source))
    }

    /// A connection that acts as the service, for a follower. `schema` comes first on its search path.
    pub async fn connect(&self, schema: Option<&str>) -> Result<PgConnection, DatabaseError> {
        let path = schema.map(|schema| ("search_path", format!("{schema}, public")));
        self.connect_as_service(path).await
    }

    /// A connection that acts as the service and takes the place of `former`, which has ended once this is there:
    /// nothing that was sent over it, read by the server or not, can take effect any more. Waits no longer than
    /// `lock_patience` for a lock.
    pub async fn connect_in_place_of(
        &self,
        former: Option<Session>,
        lock_patience: Duration,
    ) -> Result<(PgConnection, Session), DatabaseError> {
        let patience = ("lock_timeout", lock_patience.as_millis().to_string());
        let mut connection = self.connect_as_service(Some(patience)).await?;
        let mut transaction = connection.begin().await?;
        // Sessions belong to whoever the URL names, and only they may see when one began, or end it.
        sqlx::query("set local role none").execute(&mut *transaction).await?;
        if let Some(Session { pid, began_at }) = former {
            let ended: Option<bool> = sqlx::query_scalar(
                "select pg_terminate_backend(pid, $3) from pg_stat_activity where pid = $1 and backend_start = $2",
            )
            .bind(pid)
            .bind(began_at)
            .bind(ENDING_MS)
            .fetch_optional(&mut *transaction)
            .await?;
            if ended == Some(false) {
                return Err(DatabaseError::FormerSession);
            }
        }
        let (pid, began_at) =
            sqlx::query_as("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
                .fetch_one(&mut *transaction)
                .await?;
        transaction.commit().await?;
        Ok((connection, Session { pid, began_at }))
    }

    /// A pool of connections that act as the service.
    ///
    /// **Invariant:** no code begins a transaction on a pooled connection, so a cancelled request leaves none open.
    pub fn pool(&self, connections: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    serve(connection, None).await?;
                    // PLANTED: a transaction that nobody ends.
                    #[cfg(feature = "planted-bugs")]
                    if domain::planted::is(domain::planted::Bug::TransactionLeftOpen) {
                        let open = sqlx::raw_sql("set idle_in_transaction_session_timeout = 0; begin");
                        sqlx::Executor::execute(connection, open).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(self.options.clone())
    }

    /// Brings the schema up to date, as the owner. Safe to run on several nodes at once.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut connection = self.connect_as_owner().await?;
        let available = "select exists (select from pg_available_extensions where name = $1)";
        if !sqlx::query_scalar::<_, bool>(available).bind(TRIGRAMS).fetch_one(&mut connection).await? {
            return Err(DatabaseError::NoExtension { extension: TRIGRAMS });
        }
        MIGRATIONS.run(&mut connection).await?;
        // PLANTED: a key may be there twice.
        #[cfg(feature = "planted-bugs")]
        if domain::planted::is(domain::planted::Bug::KeysNotUnique) {
            let drop = "alter table command_keys drop constraint if exists command_keys_key";
            sqlx::query(drop).execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(())
    }

    async fn connect_as_service(&self, more: Option<(&str, String)>) -> Result<PgConnection, DatabaseError> {
        let mut connection = self.connect_as_owner().await?;
        serve(&mut connection, more).await.map_err(|source| self.unreachable(source))?;
        Ok(connection)
    }

    fn unreachable(&self, source: sqlx::Error) -> DatabaseError {
        DatabaseError::Unreachable { host: self.options.get_host().to_owned(), port: self.options.get_port(), source }
    }
}

/// Makes a session one of the service, with one more setting if there is one. Said once it is connected, and not in the
/// options of its start, which a pooler between us and the server would not pass on.
async fn serve(connection: &mut PgConnection, more: Option<(&str, String)>) -> Result<(), sqlx::Error> {
    let limits = SESSION_LIMITS.map(|(name, value)| (name, value.to_owned()));
    let role = ("role", SERVICE_ROLE.to_owned());
    let (names, values): (Vec<_>, Vec<_>) = limits.into_iter().chain(more).chain([role]).unzip();
    sqlx::query("select set_config(name, value, false) from unnest($1::text[], $2::text[]) as setting (name, value)")
        .bind(names)
        .bind(values)
        .execute(&mut *connection)
        .await?;
    // PLANTED: a commit is answered before it is on the disk.
    #[cfg(feature = "planted-bugs")]
    if domain::planted::is(domain::planted::Bug::CommitsNotSynced) {
        sqlx::query("set synchronous_commit = off").execute(&mut *connection).await?;
    }
    Ok(())
}

/// A part of an address, with `%` and two digits for whatever has a meaning there.
fn encoded(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encoded = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    part.bytes().map(encoded).collect()
}

/// Whether an error says that the database is away or unable to work, rather than that the statement was wrong.
pub fn is_outage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => database.code().is_some_and(|code| {
            // Connection exceptions, transactions rolled back for the sake of others, insufficient resources, operator
            // intervention, system errors; a read-only transaction is what a standby gives during a failover, and the
            // last two are the limits on idle transactions and on waiting for a lock.
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || ["25006", "25P03", "55P03"].contains(&&*code)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_for_somebody_else_leads_where_ours_does() {
        for (ours, theirs) in [
            ("postgres://us:x@db.example:5433/shop", "postgres://ann:y@db.example:5433/shop"),
            ("postgres://us:x@here/shop?host=::1", "postgres://ann:y@[::1]:5432/shop"),
            (
                "postgres://us:x@db/a%2Fb%20%3Fc?sslmode=verify-full",
                "postgres://ann:y@db:5432/a%2Fb%20%3Fc?sslmode=verify-full",
            ),
            ("postgres://us:x@%2Ftmp%2Fmy%20folder/shop", "postgres://ann:y@%2Ftmp%2Fmy%20folder:5432/shop"),
        ] {
            let database = Database::at(ours).unwrap();
            assert_eq!(database.address_of(None, "ann", "y"), theirs);
            let again = Database::at(theirs).unwrap().options;
            assert_eq!(again.get_database(), database.options.get_database());
            assert_eq!(again.get_socket(), database.options.get_socket());
        }
    }
}
