//! The loop on a real Postgres: what callers may rely on, and what it survives.

use std::collections::BTreeSet;

use domain::account::Capability;
use domain::wallet::{Command, PaymentMethod, Wallet};
use domain::{AccountId, Currency, DepositId, HoldId, Money, WalletId, wallet};
use eventstore::database::Database;
use eventstore::event::{Interest, RecordedEvent};
use eventstore::feed::Feed;
use eventstore::log::Head;
use eventstore::mint;
use eventstore::sealing::PersonKey;
use eventstore::testing::database;
use eventstore::wrapping::Wrapping;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use sqlx::Executor;

use std::sync::atomic::AtomicUsize;

use super::*;

mod ahead;
mod chasing;
mod limits;
mod lost_answers;
mod measured;
mod overheard;
mod snapshots;

/// A node: an engine on a database.
async fn node(database: &Database, settings: EngineSettings) -> Engine {
    Engine::start(database, settings, Clock::new(), Head::at(0), Feed::default()).await.unwrap().0
}

async fn plain_node(database: &Database) -> Engine {
    node(database, EngineSettings::default()).await
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn once() -> Request {
    Request::once(Metadata::anonymous())
}

fn keyed(key: &str) -> Request {
    Request::keyed(Metadata::anonymous(), CommandKey::from_client("test", key, &["asked"]))
}

/// Puts money into the wallet of somebody.
async fn fund(engine: &Engine, owner: AccountId, minor: i64) -> Accepted<u64> {
    let deposit = DepositId(mint::id());
    let source = PaymentMethod { provider: "test".to_owned(), token: "test".to_owned() };
    let fund = move |world: &mut World<'_>| {
        let (wallet, source) = (WalletId::of(owner, Currency::USD), source.clone());
        world.execute::<Wallet>(wallet, Command::RequestDeposit { deposit, owner, amount: usd(minor), source })?;
        world.execute::<Wallet>(wallet, Command::SettleDeposit { deposit, provider_reference: String::new() })?;
        world.version::<Wallet>(wallet)
    };
    engine.submit(once(), fund).await.unwrap()
}

/// Holds some of somebody's money, and answers with what is left.
async fn hold(
    engine: &Engine,
    request: Request,
    owner: AccountId,
    minor: i64,
) -> Result<Accepted<Money>, CommandError> {
    let hold = HoldId(mint::id());
    let place = move |world: &mut World<'_>| {
        let wallet = WalletId::of(owner, Currency::USD);
        world.execute::<Wallet>(wallet, Command::PlaceHold { hold, amount: usd(minor) })?;
        available(world, owner)
    };
    engine.submit(request, place).await
}

fn available(world: &mut World<'_>, owner: AccountId) -> Result<Money, Halt> {
    match world.get::<Wallet>(WalletId::of(owner, Currency::USD))? {
        Wallet::Unopened => Ok(usd(0)),
        Wallet::Open(balance) => Ok(balance.available),
    }
}

fn somebody() -> AccountId {
    AccountId(mint::id())
}

/// Positions run 1..n, sequences of each stream run 1..n, and a unit of work ends where it says.
async fn assert_gapless(database: &Database) {
    let rows: Vec<(i64, i64, String, i64)> =
        sqlx::query_as("select position, commit_position, aggregate_id, sequence from events order by position")
            .fetch_all(&database.pool(1))
            .await
            .unwrap();
    let mut streams = std::collections::HashMap::new();
    for (index, (position, commit_position, stream, sequence)) in rows.iter().enumerate() {
        assert_eq!(*position, i64::try_from(index).unwrap() + 1);
        assert!(commit_position >= position);
        let next = streams.entry(stream).or_insert(0);
        *next += 1;
        assert_eq!(sequence, next, "{stream}");
    }
}

#[tokio::test]
async fn commands_at_once_on_one_aggregate_are_decided_one_after_another() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    let outcomes = join_all((0..50).map(|_| hold(&engine, once(), ann, 1))).await;
    let left: Vec<i64> = outcomes.iter().flatten().map(|accepted| accepted.value.minor()).collect();
    assert_eq!(left.iter().copied().collect::<BTreeSet<_>>(), (0..10).collect());
    assert_eq!(left.len(), 10);
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        let refusal = wallet::Error::InsufficientFunds { available: usd(0), requested: usd(1) }.into();
        // Three events of the deposit and ten of the holds: the refusal rests on all of them.
        assert_eq!(*refused, CommandError::Refused { refusal, position: 13 });
    }
    assert_gapless(&database).await;
}

#[tokio::test]
async fn what_was_decided_upon_another_version_than_the_caller_has_seen_is_refused() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let (ann, bob) = (somebody(), somebody());
    fund(&engine, ann, 10).await;
    for (owner, seen, is) in [(ann, 3, 3), (ann, 2, 3), (ann, 4, 3), (bob, 0, 0), (bob, 1, 0)] {
        let wallet = WalletId::of(owner, Currency::USD);
        let expecting = engine.submit(once(), move |world| world.expect_version::<Wallet>(wallet, Some(seen)));
        let refusal = domain::Refusal::VersionMismatch { expected: seen, actual: is };
        let refused = CommandError::Refused { refusal, position: 3 };
        assert_eq!(expecting.await.map(drop), if seen == is { Ok(()) } else { Err(refused) });
        let whichever = engine.submit(once(), move |world| world.expect_version::<Wallet>(wallet, None));
        assert!(whichever.await.is_ok());
    }
}

#[tokio::test]
async fn what_is_done_in_a_capacity_says_so_in_each_of_its_events() {
    let database = database().await;
    let (engine, ann) = (plain_node(&database).await, somebody());
    engine
        .submit(once(), move |world| {
            let (wallet, deposit) = (WalletId::of(ann, Currency::USD), DepositId(mint::id()));
            let source = PaymentMethod { provider: "test".to_owned(), token: "test".to_owned() };
            world.execute::<Wallet>(wallet, Command::RequestDeposit { deposit, owner: ann, amount: usd(1), source })?;
            world.act_as(Capability::Staff);
            world.execute::<Wallet>(wallet, Command::SettleDeposit { deposit, provider_reference: String::new() })
        })
        .await
        .unwrap();
    fund(&engine, somebody(), 1).await;
    let capacities: Vec<Option<String>> =
        sqlx::query_scalar("select metadata ->> 'capacity' from events order by position")
            .fetch_all(&database.pool(1))
            .await
            .unwrap();
    assert_eq!(capacities.len(), 6);
    let said = Some(Capability::Staff.name());
    assert!(capacities[..3].iter().all(|capacity| capacity.as_deref() == said), "{capacities:?}");
    assert!(capacities[3..].iter().all(Option::is_none), "{capacities:?}");
}

#[tokio::test]
async fn somebodys_key_comes_and_goes_with_the_commands_that_say_so() {
    let database = database().await;
    let (engine, ann, bob) = (plain_node(&database).await, somebody(), somebody());
    let keys = async || -> Vec<uuid::Uuid> {
        let look = "select account_id from person_keys order by account_id";
        sqlx::query_scalar(look).fetch_all(&database.pool(1)).await.unwrap()
    };
    for owner in [ann, bob] {
        let introduce = engine.submit(once(), move |world| {
            world.introduce(Wrapping::default().wrap(&PersonKey::mint(owner)));
            world.execute::<Wallet>(WalletId::of(owner, Currency::USD), deposit_of(owner)).map(drop)
        });
        introduce.await.unwrap();
    }
    assert_eq!(keys().await.len(), 2);
    let forget = engine.submit(once(), move |world| {
        world.forget(ann);
        world.execute::<Wallet>(WalletId::of(ann, Currency::USD), deposit_of(ann)).map(drop)
    });
    forget.await.unwrap();
    assert_eq!(keys().await, [bob.0]);
}

#[tokio::test]
async fn what_followers_are_handed_is_what_the_log_holds() {
    let (database, feed) = (database().await, Feed::default());
    let starting = Engine::start(&database, EngineSettings::default(), Clock::new(), Head::at(0), feed.clone());
    let (engine, ann) = (starting.await.unwrap().0, somebody());
    join_all([(ann, 10), (somebody(), 10)].map(|(owner, minor)| fund(&engine, owner, minor))).await;
    hold(&engine, once(), ann, 1).await.unwrap();
    let mut connection = database.pool(1).acquire().await.unwrap();
    let logged = eventstore::log::read_range(&mut connection, 0, 7, Interest::Everything).await.unwrap();
    let handed = feed.after(0, 100, Interest::Everything).unwrap();
    let parts = |events: &[Arc<RecordedEvent>]| {
        let part = |event: &Arc<RecordedEvent>| (event.position, event.commit_position, event.event_id, event.sequence);
        events.iter().map(part).collect::<Vec<_>>()
    };
    assert_eq!((parts(&handed.events), handed.reaches), (parts(&logged), 7));
    assert_eq!(logged.iter().map(|event| event.commit_position).collect::<Vec<_>>(), [3, 3, 3, 6, 6, 6, 7]);
}

#[tokio::test]
async fn a_refused_command_leaves_nothing() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    // The first step is accepted, the second refused: neither is there.
    let both = move |world: &mut World<'_>| {
        let source = PaymentMethod { provider: "test".to_owned(), token: "test".to_owned() };
        let (wallet, deposit) = (WalletId::of(ann, Currency::USD), DepositId(mint::id()));
        world.execute::<Wallet>(wallet, Command::RequestDeposit { deposit, owner: ann, amount: usd(1), source })?;
        world.execute::<Wallet>(wallet, Command::PlaceHold { hold: HoldId(mint::id()), amount: usd(1) })?;
        Ok(())
    };
    assert!(matches!(engine.submit(once(), both).await, Err(CommandError::Refused { position: 0, .. })));
    assert_eq!(engine.read(move |world| world.version::<Wallet>(WalletId::of(ann, Currency::USD))).await, Ok(0));
    assert_eq!(eventstore::log::head(&database.pool(1)).await.unwrap(), 0);
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_even_from_a_node_that_would_refuse_it_now() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    let first = hold(&engine, keyed("a"), ann, 10).await.unwrap();
    assert!(!first.replayed);
    let again = Accepted { replayed: true, ..first };
    assert_eq!(hold(&engine, keyed("a"), ann, 10).await, Ok(again));
    // Another node does not remember it, and there is nothing left to hold.
    let other = plain_node(&database).await;
    assert_eq!(hold(&other, keyed("a"), ann, 10).await, Ok(again));
    assert!(matches!(hold(&other, keyed("b"), ann, 10).await, Err(CommandError::Refused { .. })));
    // It remembers the answer now, and so does a node that would accept it.
    fund(&other, ann, 10).await;
    assert_eq!(hold(&other, keyed("a"), ann, 10).await, Ok(again));
    let third = plain_node(&database).await;
    assert_eq!(hold(&third, keyed("a"), ann, 10).await, Ok(again));
    assert_gapless(&database).await;
}

#[tokio::test]
async fn what_is_refused_in_doubt_stays_refused_however_late_the_other_attempt_comes() {
    let database = database().await;
    let (here, there) = (plain_node(&database).await, plain_node(&database).await);
    let ann = somebody();
    fund(&here, ann, 10).await;
    let in_doubt = |key| Request { in_doubt: true, ..keyed(key) };
    let refusal = wallet::Error::InsufficientFunds { available: usd(10), requested: usd(11) }.into();
    assert_eq!(
        hold(&here, in_doubt("a"), ann, 11).await,
        Err(CommandError::Refused { refusal, position: 3 }),
        "the first is told why"
    );
    fund(&there, ann, 10).await;
    for node in [&there, &here, &plain_node(&database).await] {
        let late = hold(node, keyed("a"), ann, 11).await;
        assert_eq!(late, Err(CommandError::RefusedBefore { position: 3 }));
    }
    // If the other attempt comes first, its answer counts. One that nobody doubts is simply decided again.
    let accepted = hold(&there, keyed("b"), ann, 15).await.unwrap();
    assert_eq!(hold(&here, in_doubt("b"), ann, 15).await, Ok(Accepted { replayed: true, ..accepted }));
    assert!(matches!(hold(&here, keyed("c"), ann, 6).await, Err(CommandError::Refused { .. })));
    fund(&here, ann, 10).await;
    assert_eq!(hold(&here, keyed("c"), ann, 6).await.unwrap().value, usd(9));
    assert_gapless(&database).await;
}

#[tokio::test]
async fn a_key_is_good_for_one_request_only() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    hold(&engine, keyed("a"), ann, 1).await.unwrap();
    let else_asked = Request::keyed(Metadata::anonymous(), CommandKey::from_client("test", "a", &["else"]));
    assert_eq!(hold(&engine, else_asked.clone(), ann, 1).await, Err(CommandError::KeyReused));
    assert_eq!(hold(&plain_node(&database).await, else_asked, ann, 1).await, Err(CommandError::KeyReused));
}

#[tokio::test]
async fn a_stored_answer_that_cannot_be_read_is_a_defect_and_not_the_callers_fault() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    hold(&engine, keyed("a"), ann, 1).await.unwrap();
    let mut owner = database.connect_as_owner().await.unwrap();
    owner.execute(r#"update command_keys set answer = '"not money"'"#).await.unwrap();
    assert_eq!(hold(&plain_node(&database).await, keyed("a"), ann, 1).await, Err(CommandError::Defect));
}

#[tokio::test]
async fn a_key_fifty_times_at_once_has_one_effect() {
    let database = database().await;
    let nodes = [plain_node(&database).await, plain_node(&database).await];
    let ann = somebody();
    fund(&nodes[0], ann, 100).await;
    let outcomes = join_all((0..50).map(|index| hold(&nodes[index % 2], keyed("a"), ann, 1))).await;
    for outcome in &outcomes {
        match outcome {
            Ok(accepted) => assert_eq!((accepted.value, accepted.position), (usd(99), 4)),
            Err(error) => assert_eq!(*error, CommandError::InFlight),
        }
    }
    assert_eq!(outcomes.iter().flatten().filter(|accepted| !accepted.replayed).count(), 1);
    assert_eq!(nodes[1].read(move |world| available(world, ann)).await, Ok(usd(99)));
}

#[tokio::test]
async fn a_decision_that_panics_fails_alone() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    let panicking = engine.submit(once(), |_| -> Result<(), Halt> { panic!("a defect, on purpose") });
    let (failed, held) = tokio::join!(panicking, hold(&engine, once(), ann, 1));
    assert_eq!(failed, Err(CommandError::Defect));
    assert_eq!(held.unwrap().value, usd(9));
}

#[tokio::test]
async fn what_was_accepted_elsewhere_is_answered_so_even_where_the_decision_panics() {
    let database = database().await;
    let (engine, ann) = (plain_node(&database).await, somebody());
    fund(&engine, ann, 10).await;
    let accepted = hold(&engine, keyed("a"), ann, 1).await.unwrap();
    let panicking = |_: &mut World<'_>| -> Result<Money, Halt> { panic!("a defect, on purpose") };
    let other = plain_node(&database).await;
    let again = other.submit(keyed("a"), panicking).await;
    assert_eq!(again, Ok(Accepted { replayed: true, ..accepted }));
    assert_eq!(other.submit(keyed("b"), panicking).await, Err(CommandError::Defect));
}

#[tokio::test]
async fn a_command_whose_events_the_database_refuses_fails_alone() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let (ann, bob) = (somebody(), somebody());
    fund(&engine, ann, 10).await;
    fund(&engine, bob, 10).await;
    // Claims that the stream is new, which it is not: its first event is there already.
    let forged = engine.submit(once(), move |world| {
        let wallet = WalletId::of(bob, Currency::USD);
        world.fresh::<Wallet>(wallet);
        world.execute::<Wallet>(wallet, deposit_of(bob))?;
        Ok(())
    });
    let same_person_twice = engine.submit(once(), move |world| {
        world.execute::<Wallet>(WalletId::of(ann, Currency::JPY), deposit_of(ann))?;
        let key = Wrapping::default().wrap(&PersonKey::mint(bob));
        world.introduce(key.clone());
        world.introduce(key);
        Ok(())
    });
    let (forged, twice, held) = tokio::join!(forged, same_person_twice, hold(&engine, once(), ann, 1));
    assert_eq!(forged, Err(CommandError::Defect));
    assert_eq!(twice, Err(CommandError::Defect));
    assert_eq!(held.unwrap().value, usd(9));
    assert_gapless(&database).await;
}

#[tokio::test]
async fn whoever_shares_a_batch_with_a_refused_command_is_answered_while_others_go_on() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let (ann, bob, carl) = (somebody(), somebody(), somebody());
    for owner in [ann, bob, carl] {
        fund(&engine, owner, 1_000_000).await;
    }
    let (done, others_held) = (AtomicBool::new(false), AtomicUsize::new(0));
    let others = join_all((0..32).map(|_| async {
        while !done.load(Ordering::Relaxed) {
            hold(&engine, once(), carl, 1).await.unwrap();
            others_held.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let beside = async {
        for _ in 0..5 {
            let forged = engine.submit(once(), move |world| {
                world.fresh::<Wallet>(WalletId::of(bob, Currency::USD));
                world.execute::<Wallet>(WalletId::of(bob, Currency::USD), deposit_of(bob)).map(drop)
            });
            let held = join_all((0..8).map(|_| hold(&engine, once(), ann, 1)));
            let (forged, held) = tokio::join!(forged, held);
            assert_eq!(forged, Err(CommandError::Defect));
            assert!(held.iter().all(Result::is_ok), "{held:?}");
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(others, beside);
    // A batch that is taken apart comes first: others wait for it, and not it for others.
    let others_held = others_held.into_inner();
    assert!(others_held <= 5 * 3 * 32, "{others_held}");
    assert_gapless(&database).await;
}

fn deposit_of(owner: AccountId) -> Command {
    let source = PaymentMethod { provider: "test".to_owned(), token: "test".to_owned() };
    Command::RequestDeposit { deposit: DepositId(mint::id()), owner, amount: usd(1), source }
}

#[tokio::test]
async fn two_nodes_decide_on_the_same_aggregates_as_one() {
    let database = database().await;
    let nodes = [plain_node(&database).await, plain_node(&database).await];
    let people: Vec<AccountId> = (0..3).map(|_| somebody()).collect();
    for &owner in &people {
        fund(&nodes[0], owner, 100).await;
    }
    let holds = (0..600).map(|index| hold(&nodes[index % 2], once(), people[index % 3], 1));
    let outcomes = join_all(holds).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 300);
    for node in &nodes {
        for &owner in &people {
            assert_eq!(node.read(move |world| available(world, owner)).await, Ok(usd(0)));
        }
    }
    assert_gapless(&database).await;
}

#[tokio::test]
async fn a_cache_of_one_aggregate_is_enough() {
    let database = database().await;
    let engine = node(&database, EngineSettings { cache_aggregates: 1, ..EngineSettings::default() }).await;
    let people: Vec<AccountId> = (0..20).map(|_| somebody()).collect();
    join_all(people.iter().map(|&owner| fund(&engine, owner, 5))).await;
    let outcomes = join_all((0..200).map(|index| hold(&engine, once(), people[index % 20], 1))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 100);
    assert_gapless(&database).await;
}

#[tokio::test]
async fn the_loop_goes_on_after_its_connection_was_cut() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 1_000).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    for round in 0..10 {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()";
        let holds = join_all((0..20).map(|index| hold(&engine, keyed(&format!("{round} {index}")), ann, 1)));
        let (_, outcomes) = tokio::join!(owner.execute(cut), holds);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    assert_eq!(engine.read(move |world| available(world, ann)).await, Ok(usd(800)));
    assert_eq!(plain_node(&database).await.read(move |world| available(world, ann)).await, Ok(usd(800)));
    assert_gapless(&database).await;
}

#[tokio::test]
async fn what_a_caller_no_longer_waits_for_is_done_all_the_same() {
    let database = database().await;
    let engine = plain_node(&database).await;
    let ann = somebody();
    fund(&engine, ann, 10).await;
    let mut gone = Box::pin(hold(&engine, once(), ann, 4));
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    assert_eq!(engine.read(move |world| available(world, ann)).await, Ok(usd(6)));
}
