//! F17 and F18: many at once on one thing. In a marketplace within this process, where hundreds of accounts need no
//! password each.

use std::collections::BTreeSet;
use std::time::Instant;

use domain::{Currency, Money};
use futures::{StreamExt, future, stream};
use serde_json::json;
use tradepost_tests::bazaar::{Bazaar, MINUTE_MS};
use tradepost_tests::checker::{Log, check};
use tradepost_tests::client::Client;
use tradepost_tests::fail::OrFail;
use tradepost_tests::history::{Command, History, Intent, Outcome, Wanted};
use tradepost_tests::market::{auction, usd};
use tradepost_tests::server::InProcess;

use super::{Plan, Tried};
use crate::results::Figures;

/// So often a key is used at once.
const AT_ONCE: usize = 50;

/// F17.
pub(crate) async fn one_key(plan: Plan) -> Tried {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let before = server.database.log_head().await;
    let mut figures = Figures::default();
    for round in 0..plan.times {
        let (key, body) =
            (format!("key-{round}"), json!({ "amount": usd(1_000), "payment_method": "sandbox-declines" }));
        let asks = (0..AT_ONCE).map(|_| ann.post("/payments/deposit", &body).key(&key).send());
        let mut told = BTreeSet::new();
        for answer in future::join_all(asks).await {
            if answer.status == 202 {
                told.insert(answer.text);
            } else {
                answer.problem(409, "idempotency-key-in-flight");
            }
        }
        if told.len() != 1 {
            figures.broken.push(format!("P1: one key was answered {told:?}"));
        }
        plan.done.inc(1);
    }
    let after = ann.advance(0).await;
    let requested: i64 = sqlx::query_scalar("select count(*) from events where event_type = 'DepositRequested'")
        .fetch_one(&mut server.database.connect().await)
        .await
        .or_fail("count deposits");
    let keys = i64::try_from(plan.times).or_fail("count keys");
    // The wallet is opened once; each deposit is requested and declined, and so is its charge.
    if requested != keys || after - before != 1 + 4 * keys {
        figures.broken.push(format!("P1: {keys} keys led to {requested} deposits and {} events", after - before));
    }
    server.stop().await;
    figures.count("keys", plan.tried());
    Ok(figures)
}

/// F18.
pub(crate) async fn races(plan: Plan) -> Tried {
    let mut figures = Figures::default();
    for _ in 0..plan.times {
        figures.broken.extend(bidders().await);
        figures.broken.extend(buyers().await);
        plan.done.inc(1);
    }
    figures.count("rounds", plan.tried());
    Ok(figures)
}

/// So many accounts, `first0`, `first1` and on.
async fn crowd(server: &InProcess, first: &str, count: usize) -> Vec<Client> {
    let join = |number| async move { server.join(&format!("{first}{number}")).await };
    stream::iter(0..count).map(join).buffered(16).collect().await
}

async fn violations(server: &InProcess, history: &History) -> Vec<String> {
    let log = Log::read(&mut server.database.connect().await).await;
    check(&log, history).iter().map(ToString::to_string).collect()
}

/// Of two hundred bidders at once the highest wins, at the second price, and each is told the truth.
async fn bidders() -> Vec<String> {
    const HIGHEST: i64 = 9_000_000;
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let id = seller.schedule(&auction(1_000)).await;
    let bidders = crowd(&server, "bidder", 200).await;
    let epoch = Instant::now();
    // One is far above the rest, so that no increment can stand in its way.
    let maximum = |number: i64| if number == 117 { HIGHEST } else { 1_000 + (number * 7_919) % 400_000 };
    let auction = id.parse().or_fail("read the id of the auction");
    let bids = bidders.iter().zip(0..).map(|(bidder, number)| {
        let maximum = Money::new(maximum(number), Currency::USD).or_fail("make an amount");
        Command::asked_once(bidder, format!("bid-{number}"), Intent::Bid { auction, maximum }, epoch)
    });
    let history = History { commands: future::join_all(bids).await };
    let counts = history.counts(None);
    let closed = seller.advance(3_600_000).await;
    let mut broken = violations(&server, &history).await;
    let shown = bidders[117].auction(&id, closed).await;
    // No accepted bid of anybody else is above the price, and it is one increment above the best of them.
    let rivals = history.commands.iter().filter_map(|command| match (&command.intent, &command.attempts[0].outcome) {
        (Intent::Bid { maximum, .. }, Outcome::Accepted { .. }) if maximum.minor() != HIGHEST => Some(maximum.minor()),
        _ => None,
    });
    let second = rivals.max().unwrap_or_default();
    let increment = domain::increments::Increments::standard(Currency::USD).at(second);
    let expected = (json!("won"), &shown["you"], json!(counts.accepted), usd(second + increment));
    if (shown["result"].clone(), &shown["winner"], shown["bids"].clone(), shown["price"].clone()) != expected {
        broken.push(format!("P4: the auction ended as {shown}, and not as {expected:?}"));
    }
    if counts.accepted < 2 || counts.accepted + counts.refused != 200 {
        broken.push(format!("target: too little to tell: {counts:?}"));
    }
    server.stop().await;
    broken
}

/// Of five hundred buyers at once for fifty pieces exactly fifty have an order; nobody pays, and all are for sale again.
async fn buyers() -> Vec<String> {
    let bazaar = Bazaar::open().await;
    let goods = bazaar.offer(50).await;
    let buyers = crowd(&bazaar.server, "rival", 500).await;
    let epoch = Instant::now();
    let listing = goods.parse().or_fail("read the id of the listing");
    let carts = buyers.iter().enumerate().map(|(number, buyer)| {
        let lines = vec![Wanted { listing, quantity: 1 }];
        Command::asked_once(
            buyer,
            format!("cart-{number}"),
            Intent::Checkout { lines, pay_now: false, points: 0 },
            epoch,
        )
    });
    let history = History { commands: future::join_all(carts).await };
    let mut broken = violations(&bazaar.server, &history).await;
    let counts = history.counts(None);
    if (counts.accepted, counts.refused) != (50, 450) {
        broken.push(format!("P3: of 50 pieces {} were sold, and {} buyers refused", counts.accepted, counts.refused));
    }
    for (wait_ms, left) in [(0, 0), (15 * MINUTE_MS, 50)] {
        let now = bazaar.wait(wait_ms).await;
        let shown = bazaar.buyer.get(&format!("/listings/{goods}")).since(now).send().await.expect(200).body;
        if shown["stock"] != json!(left) {
            broken.push(format!("P3: {} pieces are for sale instead of {left}", shown["stock"]));
        }
    }
    broken.extend(violations(&bazaar.server, &history).await);
    bazaar.server.stop().await;
    broken
}
