//! Auctions over HTTP, with the sandbox's clock: from the schedule to the result.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use commands::{Request, accounts};
use domain::account::{Capability, Granter};
use eventstore::event::Metadata;
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::client::Client;
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::server::InProcess;
use tradepost_tests::socket::Socket;

/// A marketplace with a seller and two buyers.
async fn market() -> (InProcess, Client, Client, Client) {
    let server = InProcess::start().await;
    let nobody = server.client();
    let (seller, ann, bob) =
        (nobody.register_seller("seller").await, nobody.register("ann").await, nobody.register("bob").await);
    (server, seller, ann, bob)
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// When the only event of this type was decided.
async fn decided_at(server: &InProcess, event_type: &str) -> DateTime<Utc> {
    sqlx::query_scalar("select recorded_at from events where event_type = $1")
        .bind(event_type)
        .fetch_one(&mut server.database.connect().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_auction_runs_from_its_start_to_its_exact_end() {
    let (server, seller, ann, bob) = market().await;
    let starts_at = seller.now().await + TimeDelta::hours(1);
    let id = seller.schedule(&with(auction(1_000), "starts_at", json!(starts_at))).await;
    let early = ann.bid(&id, 2_000).await.problem(409, "auction-not-started");
    assert_eq!(time(&early.body["starts_at"]), starts_at);
    let shown = ann.auction(&id, early.at()).await;
    assert_eq!((&shown["status"], &shown["bids"]), (&json!("scheduled"), &json!(0)));
    assert_eq!(time(&shown["ends_at"]), starts_at + TimeDelta::hours(1));

    let opened = ann.advance(3_600_000).await;
    assert_eq!(ann.auction(&id, opened).await["status"], "open");
    let late_by = decided_at(&server, "AuctionOpened").await - starts_at;
    assert!(late_by >= TimeDelta::zero() && late_by < TimeDelta::seconds(10), "opened {late_by} late");

    // The first bid leads at the start price; a lower maximum only drives the price up.
    let first = ann.bid(&id, 2_000).await.expect(201).body;
    assert_eq!((&first["standing"], &first["price"]), (&json!("leading"), &usd(1_000)));
    let second = bob.bid(&id, 1_500).await.expect(201).body;
    assert_eq!((&second["standing"], &second["price"]), (&json!("outbid"), &usd(1_550)));
    assert_eq!(second["minimum_bid"], usd(1_600));
    let low = bob.bid(&id, 1_599).await.problem(422, "bid-too-low").body;
    assert_eq!((&low["minimum"], &low["offered"]), (&usd(1_600), &usd(1_599)));
    let third = bob.bid(&id, 2_500).await.expect(201).body;
    assert_eq!((&third["standing"], &third["price"]), (&json!("leading"), &usd(2_050)));
    let own = bob.bid(&id, 2_500).await.problem(422, "bid-too-low").body;
    assert_eq!(own["minimum"], usd(2_501));
    let raise = bob.bid(&id, 3_000).await.expect(201);
    assert_eq!(raise.body["price"], usd(2_050));
    seller.bid(&id, 9_000).await.problem(422, "own-item");

    let page = bob.get(&format!("/auctions/{id}/bids")).since(raise.at()).send().await.expect(200).body;
    let prices: Vec<_> = page["items"].as_array().unwrap().iter().map(|bid| bid["price"]["amount"].clone()).collect();
    assert_eq!(prices, [2_050, 2_050, 1_550, 1_000]);
    let shown = bob.auction(&id, raise.at()).await;
    assert_eq!((&shown["bids"], &shown["bidders"], &shown["leader"]), (&json!(4), &json!(2), &shown["you"]));

    let closed = ann.advance(3_600_000).await;
    let shown = bob.auction(&id, closed).await;
    assert_eq!((&shown["status"], &shown["result"]), (&json!("closed"), &json!("won")));
    assert_eq!((&shown["price"], &shown["winner"]), (&usd(2_050), &shown["you"]));
    let late = ann.bid(&id, 9_000).await.problem(409, "auction-ended");
    assert_eq!(time(&late.body["ended_at"]), starts_at + TimeDelta::hours(1));
    let late_by = decided_at(&server, "AuctionClosed").await - time(&late.body["ended_at"]);
    assert!(late_by >= TimeDelta::zero() && late_by < TimeDelta::seconds(10), "closed {late_by} late");
    let sold = bob.get(&format!("/listings/{id}")).since(closed).send().await.expect(200).body;
    assert_eq!((&sold["status"], &sold["kind"]), (&json!("archived"), &json!("auction")));
}

#[tokio::test]
async fn a_late_bid_moves_the_end_to_two_minutes_from_then() {
    let (_server, seller, ann, bob) = market().await;
    let id = seller.schedule(&auction(1_000)).await;
    let end = time(&ann.auction(&id, ann.advance(0).await).await["ends_at"]);
    let before = ann.bid(&id, 2_000).await.expect(201);
    assert_eq!(time(&before.body["ends_at"]), end);

    ann.post("/sandbox/clock", &json!({ "set": end - TimeDelta::seconds(60) })).send().await.expect(200);
    let late = bob.bid(&id, 3_000).await.expect(201);
    let moved = time(&late.body["ends_at"]);
    let page = bob.get(&format!("/auctions/{id}/bids")).since(late.at()).send().await.expect(200).body;
    assert_eq!(moved, time(&page["items"][0]["placed_at"]) + TimeDelta::minutes(2));
    assert!(moved > end);

    // At the old end it goes on, and only the new one ends it.
    ann.post("/sandbox/clock", &json!({ "set": end })).send().await.expect(200);
    let last = ann.bid(&id, 4_000).await.expect(201);
    let end = time(&last.body["ends_at"]);
    assert!(end >= moved);
    let closed = ann.post("/sandbox/clock", &json!({ "set": end })).send().await.expect(200).body;
    let shown = ann.auction(&id, closed["position"].as_i64().unwrap()).await;
    assert_eq!((&shown["status"], time(&shown["ends_at"])), (&json!("closed"), end));
    assert_eq!((&shown["winner"], &shown["price"]), (&shown["you"], &usd(3_100)));
}

#[tokio::test]
async fn a_reserve_is_secret_and_below_it_nothing_is_sold() {
    let (server, seller, ann, bob) = market().await;
    let terms = with(auction(1_000), "reserve_price", usd(5_432));
    let (missed, met) = (seller.schedule(&terms).await, seller.schedule(&terms).await);
    let below = ann.bid(&missed, 4_000).await.expect(201).body;
    assert_eq!((&below["price"], &below["reserve_met"]), (&usd(1_000), &json!(false)));
    ann.bid(&met, 4_000).await.expect(201);
    let public = server.client();
    for id in [&missed, &met] {
        let shown = public.auction(id, ann.advance(0).await).await;
        assert_eq!((&shown["has_reserve"], &shown["reserve_met"]), (&json!(true), &json!(false)));
        assert!(!shown.to_string().contains("5432"), "{shown}");
    }
    let above = bob.bid(&met, 6_000).await.expect(201).body;
    assert_eq!((&above["price"], &above["reserve_met"]), (&usd(5_432), &json!(true)));

    let closed = ann.advance(3_600_000).await;
    let unsold = ann.auction(&missed, closed).await;
    assert_eq!((&unsold["result"], &unsold["winner"]), (&json!("unsold"), &Value::Null));
    let won = bob.auction(&met, closed).await;
    assert_eq!((&won["result"], &won["price"], &won["winner"]), (&json!("won"), &usd(5_432), &won["you"]));
}

#[tokio::test]
async fn an_auction_without_bids_ends_unsold() {
    let (_server, seller, ann, _) = market().await;
    let id = seller.schedule(&auction(1_000)).await;
    let shown = ann.auction(&id, ann.advance(3_600_000).await).await;
    assert_eq!((&shown["status"], &shown["result"], &shown["bids"]), (&json!("closed"), &json!("unsold"), &json!(0)));
}

#[tokio::test]
async fn buy_now_ends_it_at_once_until_a_bid_takes_the_offer_away() {
    let (_server, seller, ann, bob) = market().await;
    let terms = with(auction(1_000), "buy_now_price", usd(8_000));
    let buy = |client: &Client, id: &str| client.post(&format!("/auctions/{id}/buy-now"), &json!({})).send();

    let id = seller.schedule(&terms).await;
    buy(&seller, &id).await.problem(422, "own-item");
    let bought = buy(&ann, &id).await.expect(200);
    assert_eq!(bought.body["price"], usd(8_000));
    let shown = ann.auction(&id, bought.at()).await;
    assert_eq!((&shown["status"], &shown["result"]), (&json!("closed"), &json!("bought_now")));
    buy(&bob, &id).await.problem(409, "auction-ended");

    let id = seller.schedule(&terms).await;
    let bid = ann.bid(&id, 1_000).await.expect(201);
    assert_eq!(ann.auction(&id, bid.at()).await["buy_now_price"], Value::Null);
    buy(&bob, &id).await.problem(409, "buy-now-unavailable");

    // With a reserve it stays until the reserve is met.
    let id = seller.schedule(&with(terms, "reserve_price", usd(5_000))).await;
    let bid = ann.bid(&id, 4_999).await.expect(201);
    assert_eq!(ann.auction(&id, bid.at()).await["buy_now_price"], usd(8_000));
    buy(&bob, &id).await.expect(200);
}

#[tokio::test]
async fn fifty_who_buy_at_once_are_one_who_gets_it() {
    let (_server, seller, ann, bob) = market().await;
    let id = seller.schedule(&with(auction(1_000), "buy_now_price", usd(8_000))).await;
    let path = format!("/auctions/{id}/buy-now");
    let nothing = json!({});
    let buyers = (0..50).map(|number| if number % 2 == 0 { &ann } else { &bob }.post(&path, &nothing).send());
    let answers = futures::future::join_all(buyers).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for refused in answers.into_iter().filter(|answer| answer.status != 200) {
        refused.problem(409, "auction-ended");
    }
}

#[tokio::test]
async fn a_seller_cancels_before_the_first_bid_and_staff_at_any_time() {
    let (server, seller, ann, bob) = market().await;
    let account = bob.account();
    let grant = move |world: &mut commands::World<'_>| {
        accounts::grant(world, account, BTreeSet::from([Capability::Staff]), Granter::Operator)
    };
    server.app.engine.submit(Request::once(Metadata::by_operator()), grant).await.unwrap();
    let cancel = |client: &Client, id: &str| {
        client.post(&format!("/auctions/{id}/cancel"), &json!({ "reason": "It was damaged." })).send()
    };

    let id = seller.schedule(&auction(1_000)).await;
    cancel(&ann, &id).await.problem(404, "not-found");
    let cancelled = cancel(&seller, &id).await.expect(200);
    assert_eq!(ann.auction(&id, cancelled.at()).await["status"], "cancelled");
    ann.bid(&id, 1_000).await.problem(409, "auction-cancelled");

    let id = seller.schedule(&auction(1_000)).await;
    ann.bid(&id, 1_000).await.expect(201);
    let refused = cancel(&seller, &id).await.problem(409, "auction-has-bids");
    assert_eq!(refused.body["bids"], 1);
    let cancelled = cancel(&bob, &id).await.expect(200);
    let after = ann.advance(7_200_000).await;
    assert_eq!(after, cancelled.at(), "a cancelled auction went on");
}

#[tokio::test]
async fn a_draft_becomes_an_auction_when_it_is_published() {
    let (_server, seller, ann, _) = market().await;
    let plan = json!({ "start_price": usd(1_000), "duration_s": 600 });
    let draft = with(with(listing(1), "price", Value::Null), "auction", plan);
    let drafted = seller.post("/listings", &draft).send().await.expect(201);
    let id = drafted.body["id"].as_str().unwrap();
    ann.get(&format!("/auctions/{id}")).since(drafted.at()).send().await.problem(404, "not-found");
    ann.bid(id, 2_000).await.problem(404, "not-found");
    let changed = seller.ask(&Method::PATCH, &format!("/api/v1/listings/{id}"));
    let plan = json!({ "auction": { "start_price": usd(2_000), "duration_s": 600 } });
    changed.json(&plan).send().await.expect(200);
    seller.post(&format!("/listings/{id}/publish"), &json!({})).send().await.expect(200);
    let low = ann.bid(id, 1_999).await.problem(422, "bid-too-low");
    assert_eq!(low.body["minimum"], usd(2_000));
    let bid = ann.bid(id, 2_000).await.expect(201);
    assert_eq!(ann.auction(id, bid.at()).await["price"], usd(2_000));
    let fixed = seller.ask(&Method::PATCH, &format!("/api/v1/listings/{id}")).json(&plan);
    fixed.send().await.problem(409, "auction-published");
}

#[tokio::test]
async fn the_clock_can_be_set_while_others_trade() {
    let (_server, seller, ann, bob) = market().await;
    let id = seller.schedule(&auction(1_000)).await;
    let trading = AtomicBool::new(true);
    let trade = async {
        while trading.load(Ordering::Relaxed) {
            bob.deposit(100, "sandbox-succeeds").await.expect(202);
        }
    };
    let close = async {
        let position = ann.advance(3_600_000).await;
        trading.store(false, Ordering::Relaxed);
        assert_eq!(ann.auction(&id, position).await["status"], "closed");
    };
    tokio::join!(trade, close);
}

/// Neither who bids nor how far anybody would go is told to anybody else, in any answer.
#[tokio::test]
async fn bidders_are_pseudonyms_and_maximums_are_secret() {
    let (server, seller, ann, bob) = market().await;
    let id = seller.schedule(&auction(1_000)).await;
    seller.auction(&id, server.database.log_head().await).await;
    let mut socket = Socket::open(server.address(), &format!("/ws/auctions/{id}?after=0")).await;
    let mut told = Vec::new();
    for (client, cents) in [(&ann, 17_771), (&bob, 21_113), (&ann, 34_447), (&bob, 29_989), (&ann, 45_557)] {
        told.push(client.bid(&id, cents).await.expect(201).text);
    }
    told.push(bob.bid(&id, 31_117).await.text);
    let closed = ann.advance(3_600_000).await;
    told.push(socket.until("closed").await.iter().map(Value::to_string).collect());
    let public = server.client();
    for path in [
        format!("/auctions/{id}"),
        format!("/auctions/{id}/bids"),
        format!("/listings/{id}"),
        "/auctions?status=closed".to_owned(),
        "/listings?status=archived".to_owned(),
    ] {
        told.push(public.get(&path).since(closed).send().await.expect(200).text);
        told.push(bob.get(&path).since(closed).send().await.expect(200).text);
    }
    let text = told.concat();
    assert!(text.contains("Bidder 1") && text.contains("Bidder 2"), "{text}");
    let accounts = [ann.account(), bob.account()].map(|account| account.to_string());
    let names = ["ann", "bob", "ann@example.com"].map(|name| format!("\"{name}\""));
    // What a bidder has offered is in the refusal of that very bid.
    let maximums = [17_771, 21_113, 34_447, 29_989, 45_557].map(|cents: i64| cents.to_string());
    for secret in accounts.iter().chain(&names).chain(&maximums) {
        assert!(!text.contains(secret.as_str()), "{secret} is told: {text}");
    }
}
