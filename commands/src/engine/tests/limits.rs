//! What is bounded: commands under way, batches, memory, and how long anybody waits for a node, a lock or an aggregate.

use std::time::Instant;

use domain::Aggregate;
use eventstore::log::{self, AppendError};
use eventstore::streams::{LoadError, Steps};
use futures::future::{BoxFuture, pending};
use futures::poll;
use sqlx::Connection;
use uuid::Uuid;

use super::super::cache::{Entry, Load, StreamKey};
use super::super::world::Missing;
use super::*;

/// A command over an aggregate that is loaded by `load`.
async fn over_what_is_loaded_by(engine: &Engine, load: Load) -> Result<Accepted<()>, CommandError> {
    let key = StreamKey { aggregate_type: Wallet::TYPE, id: mint::id() };
    engine.submit(once(), move |_| Err(Halt::Missing(Missing { key, load }))).await
}

fn never(_: &dyn Steps, _: Uuid) -> BoxFuture<'_, Result<Entry, LoadError>> {
    Box::pin(pending())
}

fn panics(_: &dyn Steps, _: Uuid) -> BoxFuture<'_, Result<Entry, LoadError>> {
    panic!("a defect, on purpose")
}

#[tokio::test]
async fn commands_that_are_set_aside_keep_their_places_and_are_answered_in_the_end() {
    let database = database().await;
    let engine = node(&database, EngineSettings { queue: 4, ..EngineSettings::default() }).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(over_what_is_loaded_by(&engine, never))).collect();
    for command in &mut waiting {
        assert!(poll!(command).is_pending());
    }
    // Until the loop has set them aside.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(hold(&engine, once(), ann, 1).await, Err(CommandError::Overloaded));
    // Nothing but the limit on loading is waited for.
    tokio::time::pause();
    assert!(join_all(waiting).await.iter().all(|outcome| *outcome == Err(CommandError::Unavailable)));
    tokio::time::resume();
    assert_eq!(hold(&engine, once(), ann, 1).await.unwrap().value, usd(9));
}

#[tokio::test]
async fn during_a_pause_nothing_is_under_way_and_nobody_is_turned_away() {
    let database = database().await;
    let engine = node(&database, EngineSettings { queue: 2, ..EngineSettings::default() }).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    let mut before = Box::pin(hold(&engine, once(), ann, 1));
    assert!(poll!(&mut before).is_pending());
    let (pause, before) = futures::join!(engine.pause(), before);
    assert!(before.is_ok());
    let mut after: Vec<_> = (0..5).map(|_| Box::pin(hold(&engine, once(), ann, 1))).collect();
    for command in &mut after {
        assert!(poll!(command).is_pending());
    }
    assert_eq!(log::head(&database.pool(1)).await.unwrap(), 4, "three to have money, and the first");
    drop(pause);
    let outcomes = join_all(after).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    // A pause that is given up while it waits holds up nobody.
    let mut kept = Box::pin(hold(&engine, once(), ann, 1));
    assert!(poll!(&mut kept).is_pending());
    let mut given_up = Box::pin(engine.pause());
    assert!(poll!(&mut given_up).is_pending());
    drop(given_up);
    kept.await.unwrap();
    assert_eq!(hold(&engine, once(), ann, 1).await.unwrap().value, usd(2));
}

#[tokio::test]
async fn a_load_that_panics_fails_those_who_wait_for_it() {
    let database = database().await;
    let engine = plain_node(&database).await;
    assert_eq!(over_what_is_loaded_by(&engine, panics).await, Err(CommandError::Defect));
}

#[tokio::test]
async fn commands_that_waited_for_the_same_aggregate_come_in_batches_no_larger_than_others() {
    let database = database().await;
    let ann = somebody();
    fund(&plain_node(&database).await, ann, 100).await;
    let engine = node(&database, EngineSettings { batch_max: 3, ..EngineSettings::default() }).await;
    let outcomes = join_all((0..20).map(|_| hold(&engine, once(), ann, 1))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    // What was written by one statement was written by one transaction.
    let largest: i64 = sqlx::query_scalar(
        "select max(batch.events) from (select count(*) as events from events where position > 3 group by xmin::text) batch",
    )
    .fetch_one(&database.pool(1))
    .await
    .unwrap();
    assert_eq!(largest, 3);
}

#[tokio::test]
async fn a_command_over_nearly_as_many_aggregates_as_memory_holds_is_decided() {
    let database = database().await;
    let engine = node(&database, EngineSettings { cache_aggregates: 8, ..EngineSettings::default() }).await;
    let groups: Vec<Vec<AccountId>> = (0..3).map(|_| (0..7).map(|_| somebody()).collect()).collect();
    for &owner in groups.iter().flatten() {
        fund(&engine, owner, 100).await;
    }
    for _ in 0..3 {
        for group in &groups {
            // Each leaves another one out.
            let holds = join_all((0..7).map(|left_out| hold_from_all(&engine, group, left_out)));
            let outcomes = tokio::time::timeout(Duration::from_secs(10), holds).await.unwrap();
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        }
    }
    for &owner in groups.iter().flatten() {
        assert_eq!(engine.read(move |world| available(world, owner)).await, Ok(usd(100 - 3 * 6)));
    }
    assert_gapless(&database).await;
}

/// Holds some money of everybody but one.
async fn hold_from_all(engine: &Engine, people: &[AccountId], left_out: usize) -> Result<Accepted<()>, CommandError> {
    let mut people = people.to_vec();
    people.remove(left_out);
    let place = move |world: &mut World<'_>| {
        for &owner in &people {
            let command = Command::PlaceHold { hold: HoldId(mint::id()), amount: usd(1) };
            world.execute::<Wallet>(WalletId::of(owner, Currency::USD), command)?;
        }
        Ok(())
    };
    engine.submit(once(), place).await
}

#[tokio::test]
async fn a_node_that_froze_with_the_head_locked_stops_the_others_for_seconds_only() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    let mut frozen = database.connect(None).await.unwrap();
    let mut transaction = frozen.begin().await.unwrap();
    log::lock_head(&mut transaction).await.unwrap();
    let held = tokio::time::timeout(Duration::from_secs(9), hold(&engine, once(), ann, 1)).await;
    assert_eq!(held.unwrap().unwrap().value, usd(9));
    // What it goes on with when it thaws is too late, and it can tell that from a defect.
    let late = log::append(&mut transaction, 4, &log::Batch::default()).await;
    assert!(matches!(late, Err(AppendError::Unknown(_))), "{late:?}");
}

#[tokio::test]
async fn a_lock_that_nobody_gives_up_is_an_outage_and_no_defect() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    // The owner's sessions have no limits.
    let mut owner = database.connect_as_owner().await.unwrap();
    let mut transaction = owner.begin().await.unwrap();
    log::lock_head(&mut transaction).await.unwrap();
    assert_eq!(hold(&engine, once(), ann, 1).await, Err(CommandError::Unavailable));
    // From now on nobody waits as long as that.
    let began = Instant::now();
    assert_eq!(hold(&engine, once(), ann, 1).await, Err(CommandError::Unavailable));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(!engine.is_available() || began.elapsed() < RECOVERY_PATIENCE);
    transaction.rollback().await.unwrap();
    let held = async {
        loop {
            match hold(&engine, once(), ann, 1).await {
                Err(CommandError::Unavailable) => tokio::time::sleep(Duration::from_millis(20)).await,
                outcome => return outcome,
            }
        }
    };
    assert_eq!(held.await.unwrap().value, usd(9));
    assert!(engine.is_available());
    assert_gapless(&database).await;
}

#[tokio::test]
async fn a_node_that_has_seen_more_than_the_log_holds_decides_nothing_any_more() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    hold(&engine, once(), ann, 1).await.unwrap();
    let mut owner = database.connect_as_owner().await.unwrap();
    owner.execute("delete from events where position = 4; update log_head set position = 3").await.unwrap();
    for _ in 0..2 {
        let held = tokio::time::timeout(Duration::from_secs(5), hold(&engine, once(), ann, 1)).await;
        assert_eq!(held, Ok(Err(CommandError::Unavailable)));
        assert!(!engine.is_available());
    }
    assert_eq!(log::head(&mut owner).await.unwrap(), 3);
    // One that is started again goes on from what there is.
    assert_eq!(hold(&plain_node(&database).await, once(), ann, 1).await.unwrap().value, usd(9));
}

#[tokio::test]
async fn nor_does_one_whose_log_was_cut_short_and_has_grown_as_long_again() {
    for grown in 1..=3 {
        let database = database().await;
        let mut owner = database.connect_as_owner().await.unwrap();
        let before = sessions(&mut owner).await;
        let engine = plain_node(&database).await;
        let its_own = sessions(&mut owner).await.into_iter().filter(|session| !before.contains(session));
        let ann = somebody();
        fund(&engine, ann, 10).await;
        hold(&engine, once(), ann, 1).await.unwrap();
        hold(&engine, once(), ann, 1).await.unwrap();
        // As a restore does, for which everybody must go.
        for session in its_own {
            sqlx::query("select pg_terminate_backend($1, 5000)").bind(session).execute(&mut owner).await.unwrap();
        }
        owner.execute("delete from events where position > 3; update log_head set position = 3").await.unwrap();
        let other = plain_node(&database).await;
        for _ in 0..grown {
            hold(&other, once(), ann, 1).await.unwrap();
        }
        let held = tokio::time::timeout(Duration::from_secs(5), hold(&engine, once(), ann, 1)).await;
        assert_eq!(held, Ok(Err(CommandError::Unavailable)), "after {grown}");
        assert!(!engine.is_available());
        assert_eq!(log::head(&mut owner).await.unwrap(), 3 + grown);
        assert_eq!(hold(&other, once(), ann, 1).await.unwrap().value, usd(9 - grown));
    }
}

/// Who is connected to the database of this session.
async fn sessions(owner: &mut sqlx::PgConnection) -> Vec<i32> {
    let sessions = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    sqlx::query_scalar(sessions).fetch_all(owner).await.unwrap()
}
