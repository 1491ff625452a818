//! Schemas are made once, and built anew beside the live ones for another version of the code.

use std::time::Duration;

use eventstore::database::SERVICE_ROLE;
use eventstore::feed::Feed;
use eventstore::follower::Runner;
use eventstore::log::{self, Head};
use eventstore::progress::Progress;
use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::database::TestDatabase;
use super::history::History;
use crate::catalogue::{self, Filter, Sort};
use crate::digest::digest;
use crate::{ALL, ReadModel, rebuild};

const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a node of an older version when a newer one starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_version_is_built_beside_the_live_one_which_others_go_on_with_until_then() {
    let mut history = History::random(3, 200);
    let mut test = TestDatabase::showing(&history.units).await;
    rebuild::ensure(&test.database).await.unwrap();
    let progress = Progress::default();
    let (stop, stop_newer) = (CancellationToken::new(), CancellationToken::new());
    let head = Head::at(log::head(&mut test.owner).await.unwrap());
    let database = test.database.clone();
    let runner = |batch_events| Runner {
        database: database.clone(),
        head: head.clone(),
        feed: Feed::default(),
        progress: progress.clone(),
        batch_events,
        poll: Duration::from_millis(10),
    };
    let older = tokio::spawn(runner(3).run(Box::new(catalogue::MODEL), stop.clone()));

    let newer = ReadModel { version: catalogue::MODEL.version + 1, ..catalogue::MODEL };
    // Two nodes start; one of them builds.
    let starts = [newer; 2].map(|newer| tokio::spawn(rebuild::bring_up(test.database.clone(), newer)));
    let published = Filter { status: None, ..Filter::default() };
    while !starts.iter().all(JoinHandle::is_finished) {
        let page = catalogue::page(&test.pool, &published, Sort::Newest, None, 5).await.unwrap();
        assert!(page.items.len() > 1, "nobody sees it empty");
        let told = history.units.len();
        history.go_on();
        head.seen_at(test.append(&history.units[told..]).await);
    }
    for start in starts {
        start.await.unwrap().unwrap();
    }
    // The older node does not write into it.
    let told = history.units.len();
    for _ in 0..20 {
        history.go_on();
    }
    let reached = test.append(&history.units[told..]).await;
    head.seen_at(reached);
    let listed = test.statuses().await;
    let status = listed.iter().find(|status| status.name == "catalogue").unwrap();
    assert_eq!(status.version, Some(newer.version));
    assert!(status.position < reached, "{status:?}");
    let running = tokio::spawn(runner(500).run(Box::new(newer), stop_newer.clone()));
    progress.wait_for("catalogue", reached, PATIENCE).await.unwrap();
    stop_newer.cancel();
    running.await.unwrap();

    let live = digest(&mut test.owner, "catalogue").await.unwrap();
    rebuild::bring_up(test.database.clone(), catalogue::MODEL).await.unwrap();
    assert_eq!(digest(&mut test.owner, "catalogue").await.unwrap(), live, "an older version goes the same way");
    // Then the older node goes on by itself.
    let told = history.units.len();
    history.go_on();
    let reached = test.append(&history.units[told..]).await;
    head.seen_at(reached);
    progress.wait_for("catalogue", reached, PATIENCE).await.unwrap();
    stop.cancel();
    older.await.unwrap();
}

#[tokio::test]
async fn a_start_removes_what_killed_rebuilds_have_left_and_not_what_is_under_way() {
    let mut test = TestDatabase::create().await;
    for schema in ["ledger_next", "orders_former", "accounts_next"] {
        sqlx::raw_sql(&format!("create schema {schema}")).execute(&mut test.owner).await.unwrap();
    }
    let mut other = test.database.connect_as_owner().await.unwrap();
    let holds = "select pg_advisory_lock(hashtextextended('accounts_next', 0))";
    sqlx::query(holds).execute(&mut other).await.unwrap();
    rebuild::ensure(&test.database).await.unwrap();
    let left: Vec<String> =
        sqlx::query_scalar("select nspname::text from pg_namespace where nspname ~ '_(next|former)$'")
            .fetch_all(&mut test.owner)
            .await
            .unwrap();
    assert_eq!(left, ["accounts_next"]);
}

#[tokio::test]
async fn missing_schemas_are_made_again() {
    let history = History::random(3, 100);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    sqlx::raw_sql("drop schema ledger cascade").execute(&mut test.owner).await.unwrap();
    rebuild::ensure(&test.database).await.unwrap();
    assert_eq!(test.digests().await, before);
}

#[tokio::test]
async fn many_nodes_may_start_at_once() {
    let mut test = TestDatabase::create().await;
    for model in ALL {
        sqlx::raw_sql(&format!("drop schema {} cascade", model.name)).execute(&mut test.owner).await.unwrap();
    }
    sqlx::query("delete from followers").execute(&mut test.owner).await.unwrap();
    let nodes = (0..8).map(|_| async {
        rebuild::ensure(&test.database).await.unwrap();
    });
    join_all(nodes).await;
    let names: Vec<_> = test.statuses().await.into_iter().map(|status| status.name).collect();
    assert_eq!(names, ALL.map(|model| model.name));
}

#[tokio::test]
async fn the_service_may_use_the_tables_and_not_alter_them() {
    let test = TestDatabase::create().await;
    let role: String = sqlx::query_scalar("select current_user::text").fetch_one(&test.pool).await.unwrap();
    assert_eq!(role, SERVICE_ROLE);
    sqlx::query("delete from ledger.postings").execute(&test.pool).await.unwrap();
    assert!(sqlx::query("drop table ledger.postings").execute(&test.pool).await.is_err());
    assert!(sqlx::query("truncate ledger.postings").execute(&test.pool).await.is_err());
}
