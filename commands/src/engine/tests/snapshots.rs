//! Long streams are loaded from snapshots, which nothing rests on.

use domain::Aggregate;
use eventstore::streams::Streams;

use tokio::sync::watch;

use super::super::cache::{Entry, StreamKey};
use super::super::snapshots::Snapshots;
use super::overheard::{Asked, Heard, Overheard};
use super::*;

/// As far as snapshots are apart.
const EVERY: u64 = 100;

/// Holds a cent of Ann's `times` at a node of its own, and waits until it has ended.
async fn hold_at_a_node(database: &Database, ann: AccountId, times: u64) -> Money {
    let settings = EngineSettings { snapshot_every: EVERY, ..EngineSettings::default() };
    let starting = Engine::start(database, settings, Clock::new(), Head::at(0), Feed::default());
    let (engine, task) = starting.await.unwrap();
    for held in join_all((0..times).map(|_| hold(&engine, once(), ann, 1))).await {
        held.unwrap();
    }
    let left = engine.read(move |world| available(world, ann)).await.unwrap();
    drop(engine);
    task.await.unwrap();
    left
}

#[tokio::test]
async fn a_long_stream_is_loaded_from_its_snapshot_as_from_its_first_event() {
    let database = database().await;
    let (engine, ann) = (plain_node(&database).await, somebody());
    fund(&engine, ann, 1_000).await;
    drop(engine);
    let wallet = WalletId::of(ann, Currency::USD);
    let streams = Streams::new(database.pool(1));

    hold_at_a_node(&database, ann, EVERY - 10).await;
    assert_eq!(streams.load::<Wallet>(wallet.0).await.unwrap().in_snapshot, 0);
    hold_at_a_node(&database, ann, 20).await;
    hold_at_a_node(&database, ann, 1).await;
    let short = streams.load::<Wallet>(wallet.0).await.unwrap();
    assert!(short.in_snapshot >= EVERY && short.in_snapshot < short.version, "{short:?}");
    assert_eq!(hold_at_a_node(&database, ann, 0).await, usd(1_000 - 11 - EVERY.cast_signed()));

    database.connect_as_owner().await.unwrap().execute("delete from snapshots").await.unwrap();
    let long = streams.load::<Wallet>(wallet.0).await.unwrap();
    let json = |wallet: &Wallet| serde_json::to_string(wallet).unwrap();
    assert_eq!((json(&short.state), short.version), (json(&long.state), long.version));
    assert_eq!(long.in_snapshot, 0);
}

#[tokio::test]
async fn a_stream_that_was_never_snapshotted_is_when_it_is_loaded() {
    let database = database().await;
    let (engine, ann) = (plain_node(&database).await, somebody());
    fund(&engine, ann, 1_000).await;
    drop(engine);
    hold_at_a_node(&database, ann, EVERY).await;
    database.connect_as_owner().await.unwrap().execute("delete from snapshots").await.unwrap();
    hold_at_a_node(&database, ann, 0).await;
    let kept: i64 = sqlx::query_scalar("select version from snapshots where aggregate_type = $1")
        .bind(Wallet::TYPE)
        .fetch_one(&database.pool(1))
        .await
        .unwrap();
    assert_eq!(kept.unsigned_abs(), EVERY + 3);
}

#[tokio::test]
async fn a_node_ends_once_its_snapshots_are_kept() {
    let (database, ann) = (database().await, somebody());
    let (answer, answered) = watch::channel(false);
    let heard = Heard::with(move |asked| {
        let mut answered = answered.clone();
        Box::pin(async move {
            if asked == Asked::Keep {
                answered.wait_for(|answered| *answered).await.unwrap();
            }
        })
    });
    let settings = EngineSettings { snapshot_every: 1, ..EngineSettings::default() };
    let storage = Arc::new(Overheard::at(&database, &heard));
    let (engine, task) = Engine::over(storage, settings, Clock::new(), Head::at(0), Feed::default()).await.unwrap();
    fund(&engine, ann, 1).await;
    heard.until(|asked| asked == Asked::Keep).await;
    drop(engine);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    answer.send_replace(true);
    task.await.unwrap();
    let kept: i64 = sqlx::query_scalar("select count(*) from snapshots").fetch_one(&database.pool(1)).await.unwrap();
    assert!(kept > 0);
}

/// What keeps them, whom it asks, and of what they are.
async fn keeping() -> (Snapshots, Heard, StreamKey, Entry) {
    let heard = Heard::with(|_| Box::pin(async {}));
    let snapshots = Snapshots::start(Arc::new(Overheard::at(&database().await, &heard)), EVERY);
    let key = StreamKey::of::<Wallet>(WalletId::of(somebody(), Currency::USD));
    (snapshots, heard, key, Entry::new(Wallet::default(), 0))
}

#[tokio::test]
async fn a_snapshot_is_taken_so_many_events_after_the_last_and_kept_before_the_end() {
    let (snapshots, heard, key, mut entry) = keeping().await;
    let versions = [EVERY - 1, EVERY, EVERY + 1, 2 * EVERY - 1, 2 * EVERY, 3 * EVERY + 5];
    let last_taken = versions.map(|version| {
        entry.version = version;
        snapshots.offer(key, &mut entry);
        entry.in_snapshot
    });
    assert_eq!(last_taken, [0, EVERY, EVERY, EVERY, 2 * EVERY, 3 * EVERY + 5]);
    snapshots.end().await;
    assert_eq!(heard.take(), [Asked::Keep]);
}

#[tokio::test]
async fn snapshots_of_what_the_log_has_lost_are_not_kept() {
    let (snapshots, heard, key, mut entry) = keeping().await;
    entry.version = EVERY;
    snapshots.offer(key, &mut entry);
    snapshots.abandon();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(heard.take(), []);
}
