//! Many at once on one thing: exactly what the rules allow comes of it.

use std::collections::BTreeSet;
use std::time::Instant;

use domain::{Currency, Money};
use eventstore::clock::Clock;
use futures::{StreamExt, future, stream};
use serde_json::json;
use tradepost_tests::checker::{Log, assert_kept};
use tradepost_tests::client::Client;
use tradepost_tests::history::{Attempt, Command, History, Intent, Outcome};
use tradepost_tests::market::{auction, usd};
use tradepost_tests::server::InProcess;

/// Asks once and writes it down.
async fn ask(client: &Client, key: String, intent: Intent, epoch: Instant) -> Command {
    let began = epoch.elapsed();
    let outcome = intent.send(client, &key).await;
    let attempt = Attempt { node: 0, began, ended: epoch.elapsed(), ended_at: Clock::real_now(), outcome };
    Command { actor: client.account(), key, intent, attempts: vec![attempt] }
}

async fn log_of(server: &InProcess) -> Log {
    Log::read(&mut server.database.connect().await).await
}

#[tokio::test]
async fn of_two_hundred_bidders_at_once_the_highest_wins_and_each_is_told_the_truth() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let id = seller.schedule(&auction(1_000)).await;
    let nobody = server.client();
    let register = (0..200).map(|number| {
        let nobody = nobody.clone();
        async move { nobody.register(&format!("bidder{number}")).await }
    });
    let bidders: Vec<Client> = stream::iter(register).buffered(16).collect().await;

    let epoch = Instant::now();
    // One is far above the rest, so that no increment can stand in its way.
    let maximum = |number: i64| if number == 117 { 9_000_000 } else { 1_000 + (number * 7_919) % 400_000 };
    let bids = bidders.iter().zip(0..).map(|(bidder, number)| {
        let maximum = Money::new(maximum(number), Currency::USD).unwrap();
        ask(bidder, format!("bid-{number}"), Intent::Bid { auction: id.parse().unwrap(), maximum }, epoch)
    });
    let history = History { commands: future::join_all(bids).await };
    let counts = history.counts(None);
    assert_eq!((counts.accepted + counts.refused, counts.unknown_attempts), (200, 0));
    assert!(counts.accepted >= 2, "{counts:?}");
    assert_kept(&log_of(&server).await, &history);

    let closed = seller.advance(3_600_000).await;
    let shown = bidders[117].auction(&id, closed).await;
    assert_eq!((&shown["result"], &shown["winner"]), (&json!("won"), &shown["you"]));
    assert_eq!(shown["bids"], json!(counts.accepted));
    // The second price: no accepted bid of anybody else is above it, and it is one increment above the best of them.
    let accepted =
        history.commands.iter().filter(|command| matches!(command.attempts[0].outcome, Outcome::Accepted { .. }));
    let rivals = accepted.filter_map(|command| match &command.intent {
        Intent::Bid { maximum, .. } if maximum.minor() != 9_000_000 => Some(maximum.minor()),
        _ => None,
    });
    let second = rivals.max().unwrap();
    let increment = domain::increments::Increments::standard(Currency::USD).at(second);
    assert_eq!(shown["price"], usd(second + increment));
}

#[tokio::test]
async fn the_same_key_fifty_times_at_once_has_one_effect() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let before = server.database.log_head().await;
    for round in 0..10 {
        let (key, body) =
            (format!("key-{round}"), json!({ "amount": usd(1_000), "payment_method": "sandbox-declines" }));
        let asks = (0..50).map(|_| ann.post("/payments/deposit", &body).key(&key).send());
        let mut told = BTreeSet::new();
        for answer in future::join_all(asks).await {
            if answer.status == 202 {
                told.insert(answer.text);
            } else {
                answer.problem(409, "idempotency-key-in-flight");
            }
        }
        assert_eq!(told.len(), 1, "{told:?}");
    }
    let after = ann.advance(0).await;
    let requested: i64 = sqlx::query_scalar("select count(*) from events where event_type = 'DepositRequested'")
        .fetch_one(&mut server.database.connect().await)
        .await
        .unwrap();
    assert_eq!(requested, 10);
    // The wallet is opened once; each deposit is requested and declined.
    assert_eq!(after - before, 1 + 2 * 10);
}

#[tokio::test]
async fn of_fifty_withdrawals_at_once_exactly_those_that_are_covered_are_paid() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.fund(10_000).await;
    let epoch = Instant::now();
    let withdraw = |number: usize| {
        let amount = Money::new(1_000, Currency::USD).unwrap();
        let method = "sandbox-succeeds".to_owned();
        ask(&ann, format!("withdrawal-{number}"), Intent::Withdraw { amount, method }, epoch)
    };
    let history = History { commands: future::join_all((0..50).map(withdraw)).await };
    let counts = history.counts(None);
    assert_eq!((counts.accepted, counts.refused, counts.unknown_attempts), (10, 40, 0));
    let position = ann.advance(0).await;
    assert_eq!(ann.available(position).await, 0);
    // The deposit was made before, and has no key.
    assert_kept(&log_of(&server).await, &history);
}
