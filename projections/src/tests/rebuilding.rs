//! Rebuilding beside a live model that goes on following and serving.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use eventstore::feed::Feed;
use eventstore::follower::Runner;
use eventstore::log::Head;
use eventstore::progress::Progress;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;

use super::database::TestDatabase;
use super::history::History;
use crate::catalogue::{self, Filter, Sort};
use crate::ledger::{self, Total};
use crate::rebuild::{RebuildError, rebuild, verify};
use crate::{ALL, all};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rebuild_changes_places_with_a_live_model_that_goes_on_following_and_serving() {
    let mut history = History::random(11, 300);
    let mut test = TestDatabase::showing(&history.units).await;
    let (head, progress, stop) = (Head::at(0), Progress::default(), CancellationToken::new());
    let runner = |batch_events| Runner {
        feed: Feed::default(),
        database: test.database.clone(),
        head: head.clone(),
        progress: progress.clone(),
        batch_events,
        poll: Duration::from_millis(10),
    };
    // Two nodes run every read model.
    let runners: Vec<_> = [3, 500]
        .into_iter()
        .flat_map(|batch_events| all().into_iter().map(move |follower| (batch_events, follower)))
        .map(|(batch_events, follower)| tokio::spawn(runner(batch_events).run(follower, stop.clone())))
        .collect();

    let rebuilding = Arc::new(AtomicBool::new(true));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (pool, rebuilding) = (test.pool.clone(), rebuilding.clone());
            tokio::spawn(async move {
                let (mut reads, mut most) = (0, Total(0));
                // Whatever was published once is there for ever.
                let published = Filter { status: None, ..Filter::default() };
                while rebuilding.load(Ordering::Relaxed) {
                    let page = catalogue::page(&pool, &published, Sort::Newest, None, 5).await.unwrap();
                    assert_eq!(page.items.len(), 5);
                    let books = ledger::trial_balance(&pool).await.unwrap();
                    let debits = books.iter().map(|currency| currency.debits).max().unwrap();
                    assert!(debits >= most, "{debits:?} where {most:?} were");
                    (reads, most) = (reads + 1, debits);
                }
                reads
            })
        })
        .collect();

    let database = test.database.clone();
    let rebuilds = tokio::spawn(async move {
        for model in ALL {
            rebuild(&database, model.name, |_, _| {}).await.unwrap();
        }
    });
    let mut reached = 0;
    while !rebuilds.is_finished() {
        let told = history.units.len();
        for _ in 0..20 {
            history.go_on();
        }
        reached = test.append(&history.units[told..]).await;
        head.seen_at(reached);
        // No faster than it is followed: a rebuild that has to catch up with the more the slower it is hardly ends.
        progress.wait_for(ALL[0].name, reached, PATIENCE).await.unwrap();
    }
    rebuilds.await.unwrap();
    rebuilding.store(false, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    for model in ALL {
        progress.wait_for(model.name, reached, PATIENCE).await.unwrap();
        assert_eq!(verify(&test.database, model.name, |_, _| {}).await.unwrap().differences, [], "{}", model.name);
    }
    stop.cancel();
    for runner in runners {
        runner.await.unwrap();
    }
    let schemas: i64 = sqlx::query_scalar("select count(*) from pg_namespace where nspname ~ '_(next|former)$'")
        .fetch_one(&mut test.owner)
        .await
        .unwrap();
    assert_eq!(schemas, 0, "nothing is left over");
}

#[tokio::test]
async fn an_interrupted_rebuild_leaves_the_live_model_alone_and_the_next_starts_afresh() {
    let history = History::random(12, 2_000);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    let interrupted = rebuild(&test.database, "catalogue", |reached, head| {
        assert!(0 < reached && reached <= head);
        panic!("the process ends in the middle");
    });
    assert!(std::panic::AssertUnwindSafe(interrupted).catch_unwind().await.is_err());
    let leftovers: i64 =
        sqlx::query_scalar("select count(*) from catalogue_next.listings").fetch_one(&mut test.owner).await.unwrap();
    assert!(leftovers > 0);
    assert_eq!(test.digests().await, before);
    let rebuilt = rebuild(&test.database, "catalogue", |_, _| {}).await.unwrap();
    assert_eq!(rebuilt.comparison.unwrap().differences, []);
    let reached = rebuilt.position;
    assert_eq!(reached, i64::try_from(history.recorded().len()).unwrap());
    assert_eq!(test.digests().await, before);
}

#[tokio::test]
async fn only_one_rebuild_of_a_model_runs_at_a_time() {
    let test = TestDatabase::create().await;
    let holder = "select pg_advisory_lock(hashtextextended('ledger_next', 0))";
    let mut other = test.database.connect_as_owner().await.unwrap();
    sqlx::query(holder).execute(&mut other).await.unwrap();
    let refused = rebuild(&test.database, "ledger", |_, _| {}).await.unwrap_err();
    assert_eq!(refused.to_string(), "`ledger` is being rebuilt by somebody else");
    rebuild(&test.database, "accounts", |_, _| {}).await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_built_if_it_can_be() {
    let history = History::random(15, 200);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    let refused = rebuild(&test.database, "nonsense", |_, _| {}).await.unwrap_err();
    assert_eq!(refused.to_string(), "there is no read model `nonsense`");
    sqlx::raw_sql("delete from followers where name = 'ledger'; drop schema ledger cascade")
        .execute(&mut test.owner)
        .await
        .unwrap();
    let refused = verify(&test.database, "ledger", |_, _| {}).await.unwrap_err();
    assert_eq!(refused.to_string(), "`ledger` has no tables yet: migrate first");
    assert!(rebuild(&test.database, "ledger", |_, _| {}).await.unwrap().comparison.is_none());
    assert_eq!(test.digests().await, before);
}

#[tokio::test]
async fn a_rebuild_shows_in_what_the_live_model_differed() {
    let history = History::random(16, 200);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    let altered = "delete from catalogue.listings where ctid = (select min(ctid) from catalogue.listings)";
    assert_eq!(sqlx::query(altered).execute(&mut test.owner).await.unwrap().rows_affected(), 1);
    let seen = verify(&test.database, "catalogue", |_, _| {}).await.unwrap();
    assert_ne!(test.digests().await, before, "looking repairs nothing");
    let rebuilt = rebuild(&test.database, "catalogue", |_, _| {}).await.unwrap();
    assert_eq!(rebuilt.comparison.as_ref(), Some(&seen));
    let tables: Vec<_> = seen.differences.iter().map(|difference| difference.table.as_str()).collect();
    assert_eq!(tables, ["listings"]);
    let rows = |side: &Option<crate::digest::TableDigest>| side.as_ref().unwrap().rows;
    assert_eq!(rows(&seen.differences[0].live) + 1, rows(&seen.differences[0].rebuilt));
    assert_eq!(test.digests().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_a_node_of_another_version_has_overtaken_is_given_up() {
    let history = History::random(14, 200);
    let mut test = TestDatabase::showing(&history.units).await;
    let (database, owner) = (test.database.clone(), &mut test.owner);
    let bump = sqlx::query("update followers set version = version + 1 where name = 'catalogue'");
    let mut bump = Some(bump.execute(owner));
    let overtaken = rebuild(&database, "catalogue", |_, _| {
        if let Some(bump) = bump.take() {
            tokio::task::block_in_place(|| futures::executor::block_on(bump)).unwrap();
        }
    });
    assert!(matches!(overtaken.await.unwrap_err(), RebuildError::Replaced("catalogue")));
}
