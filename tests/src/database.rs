//! A database for one test: a copy of a template that is made once per server and per schema.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use eventstore::database::Database;
use eventstore::mint;
use sqlx::{Connection, PgConnection};

use crate::fail::{OrFail, fail};

/// The variable that leads to the server, as the `testbed` sets it.
pub const URL_VARIABLE: &str = "TEST_DATABASE_URL";
/// The lock under which the template is made and copied: nobody copies what is half made.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

/// A database that one test has for itself. It goes with the process of the test, or with the server.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    url: String,
}

impl TestDatabase {
    /// A database with everything in place and no event yet, on the server of [`URL_VARIABLE`].
    pub async fn fresh() -> Self {
        match std::env::var(URL_VARIABLE) {
            Ok(server) if !server.is_empty() => Self::fresh_on(&server).await,
            _ => fail(&format!(
                "{URL_VARIABLE} is not set: run the tests with `make test`, which starts a Postgres for them"
            )),
        }
    }

    /// The same, on the server that `server` leads to.
    pub async fn fresh_on(server: &str) -> Self {
        let mut connection = PgConnection::connect(server).await.or_fail("connect to the Postgres of the tests");
        lock(&mut connection).await;
        let template = ensure_template(&mut connection, server).await;
        // The `testbed` drops what was made by processes that have ended.
        let name = format!("test_{}_{}", std::process::id(), mint::id().simple());
        run(&mut connection, &format!("create database {name} template {template}")).await;
        connection.close().await.or_fail("leave the Postgres of the tests");
        Self { url: with_database(server, &name) }
    }

    /// One that somebody else has made.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The last position of its log.
    pub async fn log_head(&self) -> i64 {
        let mut connection = self.connect().await;
        let head = eventstore::log::head(&mut connection).await.or_fail("read the head of the log");
        connection.close().await.or_fail("leave the database");
        head
    }

    /// Ends every session and lets nobody in, as a server that is down would not.
    pub async fn shut(&self) {
        self.allow_connections(false).await;
        let mut connection = self.beside().await;
        let ended = sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1");
        ended.bind(self.name()).execute(&mut connection).await.or_fail("end the sessions of the database");
    }

    /// Lets everybody in again.
    pub async fn reopen(&self) {
        self.allow_connections(true).await;
    }

    async fn allow_connections(&self, allow: bool) {
        let statement = format!("alter database {} with allow_connections {allow}", self.name());
        run(&mut self.beside().await, &statement).await;
    }

    /// A connection to another database on the same server.
    async fn beside(&self) -> PgConnection {
        PgConnection::connect(&with_database(&self.url, "postgres")).await.or_fail("connect beside the database")
    }

    fn name(&self) -> &str {
        let address = self.url.split('?').next().unwrap_or_default();
        address.rsplit('/').next().unwrap_or_default()
    }

    /// A connection as its owner.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.or_fail("connect to the database of the test")
    }
}

/// Held until the connection is closed.
async fn lock(connection: &mut PgConnection) {
    let locked = sqlx::query("select pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(connection).await;
    locked.or_fail("wait for the template of the test databases");
}

/// Makes the template under another name and renames it, so that one that bears its name is whole.
async fn ensure_template(connection: &mut PgConnection, server: &str) -> String {
    let name = template_name();
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .or_fail("look for the template of the test databases");
    if !there {
        let draft = format!("{name}_draft");
        run(connection, &format!("drop database if exists {draft}")).await;
        run(connection, &format!("create database {draft}")).await;
        let database = Database::at(&with_database(server, &draft)).or_fail("read the address of the template");
        api::app::prepare(&database).await.or_fail("prepare the template of the test databases");
        run(connection, &format!("alter database {draft} rename to {name}")).await;
    }
    name
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::query(statement).execute(connection).await.or_fail(statement);
}

/// Named after the tables that are in it, so that a server which outlives a change of them gets a new one.
fn template_name() -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut hasher = DefaultHasher::new();
    for folder in ["migrations", "projections/src"] {
        for file in sql_files(&workspace.join(folder)) {
            fs::read(&file).or_fail("read the SQL of the workspace").hash(&mut hasher);
        }
    }
    format!("tradepost_template_{:016x}", hasher.finish())
}

fn sql_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).or_fail("list the SQL of the workspace");
    let paths = entries.map(|entry| entry.or_fail("list the SQL of the workspace").path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).collect();
    files.sort();
    files
}

/// The same server, another database: its name is what follows the last slash.
fn with_database(url: &str, name: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let server = address.rsplit_once('/').map_or(address, |(server, _)| server);
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{server}/{name}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_an_address_is_what_follows_the_last_slash() {
        let socket = "postgres://tradepost:secret@%2Ftmp%2Fx:20000/tradepost";
        assert_eq!(with_database(socket, "a"), "postgres://tradepost:secret@%2Ftmp%2Fx:20000/a");
        assert_eq!(with_database("postgres://host/x?sslmode=off", "a"), "postgres://host/a?sslmode=off");
    }
}
