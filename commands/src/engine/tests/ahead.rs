//! What the loop does while a batch is on its way to the log, and how large batches are.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::overheard::{Asked, Heard, PATIENCE, overheard};
use super::*;

/// A node whose appends, and loads, wait until they are let through.
struct Gates {
    appends: Arc<Semaphore>,
    loads: Arc<Semaphore>,
    heard: Heard,
}

impl Gates {
    fn closed() -> Self {
        let [appends, loads] = [0, 0].map(|places| Arc::new(Semaphore::new(places)));
        let gates = (appends.clone(), loads.clone());
        let heard = Heard::with(move |asked| {
            let gate = match asked {
                Asked::Append { .. } => Some(gates.0.clone()),
                Asked::Load => Some(gates.1.clone()),
                _ => None,
            };
            Box::pin(async move {
                if let Some(gate) = gate {
                    gate.acquire().await.unwrap().forget();
                }
            })
        });
        Self { appends, loads, heard }
    }
}

/// Holds a cent, and tells whenever that is begun, and when it is decided.
fn hold_and_tell(
    engine: &Engine,
    owner: AccountId,
    begun: mpsc::UnboundedSender<AccountId>,
    decided: mpsc::UnboundedSender<AccountId>,
) -> tokio::task::JoinHandle<Result<Accepted<()>, CommandError>> {
    let engine = engine.clone();
    let holding = async move {
        let (wallet, hold) = (WalletId::of(owner, Currency::USD), HoldId(mint::id()));
        let place = move |world: &mut World<'_>| {
            begun.send(owner).unwrap();
            world.execute::<Wallet>(wallet, Command::PlaceHold { hold, amount: usd(1) })?;
            decided.send(owner).unwrap();
            Ok(())
        };
        engine.submit(once(), place).await
    };
    tokio::spawn(holding)
}

async fn next<T>(told: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(PATIENCE, told.recv()).await.expect("to be told").unwrap()
}

#[tokio::test]
async fn while_a_batch_is_on_its_way_what_comes_is_decided_upon_it() {
    let database = database().await;
    let (other, gates, ann, bob) = (plain_node(&database).await, Gates::closed(), somebody(), somebody());
    for owner in [ann, bob] {
        fund(&other, owner, 10).await;
    }
    let engine = overheard(&database, EngineSettings::default(), Head::at(0), &gates.heard).await;
    gates.loads.add_permits(1);
    engine.read(move |world| available(world, ann)).await.unwrap();
    let ((begun, _begun), (decided, mut told)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let mut holds = vec![hold_and_tell(&engine, ann, begun.clone(), decided.clone())];
    gates.heard.until(|asked| asked == Asked::Append { events: 1 }).await;
    assert_eq!(next(&mut told).await, ann);
    // Of whoever is in memory at once, of another once he is.
    holds.push(hold_and_tell(&engine, ann, begun.clone(), decided.clone()));
    assert_eq!(next(&mut told).await, ann);
    holds.push(hold_and_tell(&engine, bob, begun, decided));
    gates.loads.add_permits(1);
    assert_eq!(next(&mut told).await, bob);
    assert_eq!(gates.heard.appends(), [1]);
    gates.appends.add_permits(2);
    for held in join_all(holds).await {
        held.unwrap().unwrap();
    }
    assert_eq!(gates.heard.appends(), [1, 2]);
    assert_gapless(&database).await;
}

#[tokio::test]
async fn no_batch_is_larger_than_it_may_be() {
    let database = database().await;
    let (other, gates, ann, bob) = (plain_node(&database).await, Gates::closed(), somebody(), somebody());
    for owner in [ann, bob] {
        fund(&other, owner, 100).await;
    }
    let settings = EngineSettings { batch_max: 4, ..EngineSettings::default() };
    let engine = overheard(&database, settings, Head::at(0), &gates.heard).await;
    gates.loads.add_permits(1);
    engine.read(move |world| available(world, ann)).await.unwrap();
    // Those that come at once, ...
    let ((begun, mut told), (decided, _decided)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let hold = |owner| hold_and_tell(&engine, owner, begun.clone(), decided.clone());
    let mut holds: Vec<_> = (0..20).map(|_| hold(ann)).collect();
    gates.heard.until(|asked| matches!(asked, Asked::Append { .. })).await;
    // ... and those that are ready at once while others are on their way.
    holds.extend((0..10).map(|_| hold(bob)));
    let mut waiting = 0;
    while waiting < 10 {
        waiting += usize::from(next(&mut told).await == bob);
        // Somebody else's come first, in batches of their own.
        gates.appends.add_permits(1);
    }
    gates.loads.add_permits(1);
    gates.appends.add_permits(100);
    for held in join_all(holds).await {
        held.unwrap().unwrap();
    }
    let appends = gates.heard.appends();
    assert!(appends.iter().all(|events| *events <= 4), "{appends:?}");
    assert_eq!(appends.iter().sum::<usize>(), 30);
}

#[tokio::test]
async fn all_that_waited_for_an_aggregate_are_decided_while_a_batch_is_on_its_way() {
    let database = database().await;
    let (other, gates, ann, bob) = (plain_node(&database).await, Gates::closed(), somebody(), somebody());
    for owner in [ann, bob] {
        fund(&other, owner, 100).await;
    }
    let engine = overheard(&database, EngineSettings::default(), Head::at(0), &gates.heard).await;
    gates.loads.add_permits(1);
    engine.read(move |world| available(world, ann)).await.unwrap();
    let ((begun, mut waits), (decided, mut told)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let mut holds = vec![hold_and_tell(&engine, ann, begun.clone(), decided.clone())];
    gates.heard.until(|asked| matches!(asked, Asked::Append { .. })).await;
    // More than are decided at a time.
    holds.extend((0..100).map(|_| hold_and_tell(&engine, bob, begun.clone(), decided.clone())));
    for _ in 0..101 {
        next(&mut waits).await;
    }
    gates.loads.add_permits(1);
    for _ in 0..101 {
        next(&mut told).await;
    }
    assert_eq!(gates.heard.appends(), [1]);
    gates.appends.add_permits(2);
    for held in join_all(holds).await {
        held.unwrap().unwrap();
    }
    assert_eq!(gates.heard.appends(), [1, 100]);
}

#[tokio::test]
async fn while_nothing_can_be_appended_though_all_else_is_answered_nobody_waits_for_long() {
    let (database, heard, ann) = (database().await, Heard::with(|_| Box::pin(async {})), somebody());
    let engine = overheard(&database, EngineSettings::default(), Head::at(0), &heard).await;
    fund(&engine, ann, 10).await;
    heard.fill(true);
    let told = tokio::time::timeout(PATIENCE, hold(&engine, once(), ann, 1)).await.expect("an answer");
    assert_eq!(told, Err(CommandError::Unavailable));
    heard.fill(false);
    assert_eq!(hold(&engine, once(), ann, 1).await.unwrap().value, usd(9));
    assert_gapless(&database).await;
}
