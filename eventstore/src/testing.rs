//! What tests need: databases, one per test, on the throw-away server of `make test`; ids that come again; and what may have
//! been done to a text that fuzz targets read.

use std::cell::Cell;
use std::env;

use sqlx::{Connection, Executor};
use uuid::Uuid;

use crate::database::Database;
use crate::mint;

pub mod damage;

/// The address of the throw-away server, as somebody who may create databases.
pub const SERVER: &str = "TEST_DATABASE_URL";

/// A fresh, migrated database. It goes with this process, or with the server.
///
/// # Panics
///
/// Without a server, with a sentence that says how to get one.
pub async fn database() -> Database {
    let url = fresh_url().await;
    let database = Database::at(&url).unwrap_or_else(|error| panic!("{error}"));
    database.migrate().await.unwrap_or_else(|error| panic!("{error}"));
    database
}

/// The address of a fresh, empty database.
///
/// # Panics
///
/// Without a server, with a sentence that says how to get one.
pub async fn fresh_url() -> String {
    let server = env::var(SERVER).unwrap_or_else(|_| panic!("{SERVER} is not set: run the tests with `make test`"));
    // The server drops what was made by processes that have ended.
    let name = format!("test_{}_{}", std::process::id(), mint::id().simple());
    let connection = Database::at(&server).unwrap_or_else(|error| panic!("{error}")).connect_as_owner().await;
    let mut connection = connection.unwrap_or_else(|error| panic!("{error}"));
    let create = format!("create database {name}");
    connection.execute(create.as_str()).await.unwrap_or_else(|error| panic!("{error}"));
    connection.close().await.unwrap_or_else(|error| panic!("{error}"));
    let (base, _) = server.rsplit_once('/').unwrap_or((&server, ""));
    format!("{base}/{name}")
}

thread_local! {
    /// The next id of this thread, if its ids are to come again.
    static NEXT: Cell<Option<u128>> = const { Cell::new(None) };
}

/// From now on [`mint::id`] gives this thread the same ids each time, one after another from `first` on; as everybody else,
/// if nothing is given.
pub fn mint_from(first: Option<Uuid>) {
    NEXT.set(first.map(|first| first.as_u128()));
}

/// The next id of this thread, if its ids are to come again.
pub(crate) fn minted() -> Option<Uuid> {
    let next = NEXT.get()?;
    NEXT.set(Some(next.wrapping_add(1)));
    Some(Uuid::from_u128(next))
}
