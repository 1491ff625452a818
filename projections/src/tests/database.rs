//! A fresh database for each test.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventstore::Position;
use eventstore::clock::Clock;
use eventstore::database::Database;
use eventstore::event::Interest;
use eventstore::follower::{self, Batch, Follower, Status, take_batch};
use eventstore::log::{self, Appended};
use eventstore::mint;
use sqlx::{Connection, PgConnection, PgPool};

use super::history::{self, Unit};
use crate::digest::{TableDigest, digest};
use crate::{ALL, ReadModel, rebuild};

/// A database of one test's own, migrated, with every read model's tables.
pub(crate) struct TestDatabase {
    pub(crate) database: Database,
    pub(crate) owner: PgConnection,
    pub(crate) pool: PgPool,
}

impl TestDatabase {
    pub(crate) async fn create() -> Self {
        let Ok(server) = std::env::var("TEST_DATABASE_URL") else {
            panic!("TEST_DATABASE_URL is not set: run these tests with `make test`, which starts a Postgres for them");
        };
        let name = format!("projections_{}", mint::id().simple());
        let mut connection = Database::at(&server).unwrap().connect_as_owner().await.unwrap();
        sqlx::raw_sql(&format!("create database {name}")).execute(&mut connection).await.unwrap();
        let (address, options) = server.split_once('?').map_or((&*server, ""), |(address, options)| (address, options));
        let (host, _) = address.rsplit_once('/').unwrap();
        let database = Database::at(&format!("{host}/{name}?{options}")).unwrap();
        database.migrate().await.unwrap();
        rebuild::ensure(&database).await.unwrap();
        let owner = database.connect_as_owner().await.unwrap();
        let pool = database.pool(4);
        Self { database, owner, pool }
    }

    /// A database in whose log `units` are, taken in by every read model.
    pub(crate) async fn showing(units: &[Unit]) -> Self {
        let mut test = Self::create().await;
        test.append(units).await;
        test.follow_all(1_000).await;
        test
    }

    /// Appends units of work after the head.
    pub(crate) async fn append(&mut self, units: &[Unit]) -> Position {
        let head = log::head(&mut self.owner).await.unwrap();
        let batch = history::batch(units);
        assert_eq!(log::append(&mut self.owner, head, &batch).await.unwrap(), Appended::Committed);
        head + i64::try_from(batch.events.len()).unwrap()
    }

    /// Lets a read model follow the log until its head, as the runner does it.
    pub(crate) async fn follow(&mut self, mut model: ReadModel, batch_events: i64) {
        let head = log::head(&mut self.owner).await.unwrap();
        let mut connection = self.database.connect(Some(model.name)).await.unwrap();
        loop {
            let mut transaction = connection.begin().await.unwrap();
            let reached =
                take_batch(&mut model, &mut transaction, self.database.wrapping(), batch_events).await.unwrap();
            transaction.commit().await.unwrap();
            if reached >= head {
                break;
            }
        }
    }

    pub(crate) async fn follow_all(&mut self, batch_events: i64) {
        for model in ALL {
            self.follow(model, batch_events).await;
        }
    }

    /// Lets every read model take the log event by event, cutting units of work as a rebuild may.
    pub(crate) async fn follow_all_event_by_event(&mut self) {
        let head = log::head(&mut self.owner).await.unwrap();
        for mut model in ALL {
            let mut connection = self.database.connect(Some(model.name)).await.unwrap();
            for position in 0..head {
                let events = log::read_range(&mut connection, position, position + 1, Interest::Everything);
                let events = events.await.unwrap();
                let (wrapping, events) = (self.database.wrapping(), events.iter().map(Arc::as_ref));
                let batch = Batch::decode(&mut connection, wrapping, events).await.unwrap();
                model.apply(&mut connection, &batch).await.unwrap();
            }
        }
    }

    /// Empties every read model, to be filled again from the start of the log.
    pub(crate) async fn start_afresh(&mut self) {
        sqlx::query("update log_head set position = 0").execute(&mut self.owner).await.unwrap();
        sqlx::query("update followers set version = 0").execute(&mut self.owner).await.unwrap();
        // Over an empty log they begin empty.
        rebuild::ensure(&self.database).await.unwrap();
        let head = "update log_head set position = (select max(position) from events)";
        sqlx::query(head).execute(&mut self.owner).await.unwrap();
    }

    /// How every read model is.
    pub(crate) async fn statuses(&self) -> Vec<Status> {
        follower::statuses(&self.pool, &ALL.map(|model| model.name), Clock::new().now()).await.unwrap()
    }

    /// What every read model holds.
    pub(crate) async fn digests(&mut self) -> BTreeMap<&'static str, Vec<TableDigest>> {
        let mut digests = BTreeMap::new();
        for model in ALL {
            digests.insert(model.name, digest(&mut self.owner, model.name).await.unwrap());
        }
        digests
    }
}
