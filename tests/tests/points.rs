//! Bonus points are earned with what sellers keep, and go with what they give back; they pay, and come back likewise.

use api::config::{self, Config};
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, MINUTE_MS, order_of};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{listing, usd, with};
use tradepost_tests::server::InProcess;

async fn points(bazaar: &Bazaar, client: &Client, query: &str) -> Value {
    let now = bazaar.wait(0).await;
    client.get(&format!("/points{query}")).since(now).send().await.expect(200).body
}

async fn count(bazaar: &Bazaar) -> i64 {
    points(bazaar, &bazaar.buyer, "").await["balances"][0]["points"].as_i64().unwrap_or(0)
}

#[tokio::test]
async fn a_completed_order_earns_a_point_per_whole_unit_and_its_seller_none() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    assert_eq!(points(&bazaar, &bazaar.buyer, "").await["balances"], json!([]), "nothing before the release");
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    let mine = points(&bazaar, &bazaar.buyer, "").await;
    assert_eq!(mine["balances"], json!([{ "currency": "USD", "points": 105, "worth": usd(105) }]));
    let entry = &mine["items"][0];
    assert_eq!((&entry["kind"], &entry["points"], &entry["order_id"]), (&json!("earned"), &json!(105), &json!(order)));
    assert_eq!(points(&bazaar, &bazaar.seller, "").await["items"], json!([]));
    assert_eq!(bazaar.book("escrow").await, 0);
}

#[tokio::test]
async fn what_is_refunded_afterwards_is_taken_back_with_its_points() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.complete().await;
    let refund = async |body: Value| bazaar.seller.post(&format!("/orders/{order}/refund"), &body).send().await;
    refund(json!({ "amount": usd(50) })).await.expect(200);
    assert_eq!(count(&bazaar).await, 104, "of 104.50 the last half earns nothing");
    refund(json!({ "amount": usd(50) })).await.expect(200);
    assert_eq!(count(&bazaar).await, 104);
    refund(json!({})).await.expect(200);
    assert_eq!(count(&bazaar).await, 0);
    refund(json!({})).await.problem(422, "amount-not-positive");
    assert_eq!(count(&bazaar).await, 0);
    let page = points(&bazaar, &bazaar.buyer, "?limit=2").await;
    let kinds: Vec<_> = page["items"].as_array().unwrap().iter().map(|entry| entry["points"].clone()).collect();
    assert_eq!(kinds, [json!(-104), json!(-1)]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = points(&bazaar, &bazaar.buyer, &format!("?cursor={cursor}")).await;
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next_cursor"]), (1, &json!(null)));
}

#[tokio::test]
async fn what_went_back_before_earns_nothing_and_a_split_what_is_kept() {
    let bazaar = Bazaar::open().await;
    let refunded = bazaar.deliver().await;
    bazaar.seller.post(&format!("/orders/{refunded}/refund"), &json!({})).send().await.expect(200);
    assert_eq!(count(&bazaar).await, 0);
    let split = bazaar.deliver().await;
    bazaar.dispute(&split).await.expect(200);
    bazaar.resolve(&split, &json!({ "outcome": "split", "to_buyer": usd(5_000) })).await.expect(200);
    assert_eq!(count(&bazaar).await, 55);
}

/// Buys one piece of a listing with points.
async fn buy(client: &Client, listing: &str, points: i64, pay: &str) -> Answer {
    client.post(&format!("/listings/{listing}/purchase"), &json!({ "pay": pay, "points": points })).send().await
}

async fn refund(bazaar: &Bazaar, order: &str, body: &Value) -> Answer {
    bazaar.seller.post(&format!("/orders/{order}/refund"), body).send().await
}

/// What the buyer has: money, in cents, and points.
async fn purse(bazaar: &Bazaar) -> (i64, i64) {
    (bazaar.purses().await.0, count(bazaar).await)
}

/// What is held for orders, and what the marketplace has spent, both in cents.
async fn books(bazaar: &Bazaar) -> (i64, i64) {
    (bazaar.book("escrow").await, -bazaar.book("marketing-expense").await)
}

/// Where points are worth so many cents, and a buyer has 105 of them.
async fn where_points_are_worth(worth_minor_units: u32) -> Bazaar {
    let settings = Config { points: config::Points { worth_minor_units, ..Default::default() }, ..Config::default() };
    let bazaar = Bazaar::at(InProcess::start_with(settings).await).await;
    bazaar.complete().await;
    bazaar
}

#[tokio::test]
async fn points_pay_for_a_part_and_come_back_as_points() {
    let bazaar = where_points_are_worth(1).await;
    let listing = bazaar.offer(3).await;
    let check_out = async |points: i64, pay: &str| {
        let lines = json!([{ "listing_id": listing, "quantity": 1 }]);
        bazaar.buyer.post("/orders", &json!({ "lines": lines, "pay": pay, "points": points })).send().await
    };
    let refused = check_out(106, "now").await.problem(422, "not-enough-points");
    assert_eq!((&refused.body["available"], &refused.body["requested"]), (&json!(105), &json!(106)));
    let refused = check_out(10_501, "now").await.problem(422, "more-points-than-price");
    assert_eq!((&refused.body["maximum"], &refused.body["offered"]), (&json!(10_500), &json!(10_501)));
    let (before, _) = bazaar.purses().await;
    let bought = check_out(105, "now").await.expect(201);
    assert_eq!((&bought.body["total"], &bought.body["orders"][0]["total"]), (&usd(10_395), &usd(10_395)));
    let order = order_of(&bought);
    assert_eq!(purse(&bazaar).await, (before - 10_395, 0));
    assert_eq!(books(&bazaar).await, (10_500, 105));
    let shown = bazaar.buyer.get(&format!("/orders/{order}")).since(bought.at()).send().await.expect(200).body;
    assert_eq!((&shown["total"], &shown["from_points"]), (&usd(10_500), &usd(105)));
    // A third of it goes back: a third of the points, and the rest as money.
    refund(&bazaar, &order, &json!({ "amount": usd(3_500) })).await.expect(200);
    assert_eq!(purse(&bazaar).await, (before - 10_395 + 3_465, 35));
    refund(&bazaar, &order, &json!({})).await.expect(200);
    assert_eq!(purse(&bazaar).await, (before, 105));
    assert_eq!(books(&bazaar).await, (0, 0));
    refund(&bazaar, &order, &json!({})).await.problem(409, "wrong-escrow-status");
    assert_eq!(purse(&bazaar).await, (before, 105));
    let entries = points(&bazaar, &bazaar.buyer, "").await["items"].clone();
    let entries: Vec<_> = entries.as_array().unwrap().iter().map(|entry| (&entry["kind"], &entry["points"])).collect();
    let kinds = [("given_back", 70), ("given_back", 35), ("redeemed", -105), ("earned", 105)];
    let expected: Vec<_> = kinds.iter().map(|(kind, points)| (json!(kind), json!(points))).collect();
    assert_eq!(entries, expected.iter().map(|(kind, points)| (kind, points)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_cancelled_or_not_paid_in_time_gives_its_points_back() {
    let bazaar = where_points_are_worth(1).await;
    let listing = bazaar.offer(3).await;
    let before = purse(&bazaar).await;
    let cancelled = order_of(&buy(&bazaar.buyer, &listing, 100, "later").await.expect(201));
    assert_eq!((purse(&bazaar).await, books(&bazaar).await), ((before.0, 5), (0, 0)));
    buy(&bazaar.buyer, &listing, 6, "later").await.problem(422, "not-enough-points");
    let reason = json!({ "reason": "It is too blue." });
    for _ in 0..2 {
        bazaar.buyer.post(&format!("/orders/{cancelled}/cancel"), &reason).send().await.expect(200);
        assert_eq!(purse(&bazaar).await, before);
    }
    buy(&bazaar.buyer, &listing, 100, "later").await.expect(201);
    bazaar.wait(MINUTE_MS * 15).await;
    assert_eq!(purse(&bazaar).await, before);
    let never_sent = buy(&bazaar.buyer, &listing, 100, "now").await.expect(201);
    assert_eq!((purse(&bazaar).await, books(&bazaar).await), ((before.0 - 10_400, 5), (10_500, 100)));
    bazaar.wait(DAY_MS * 14).await;
    assert_eq!((purse(&bazaar).await, books(&bazaar).await), (before, (0, 0)));
    assert_eq!(bazaar.statuses(&order_of(&never_sent)).await, ("cancelled".to_owned(), "refunded".to_owned()));
}

#[tokio::test]
async fn a_seller_is_paid_in_full_and_points_earn_no_points() {
    let bazaar = where_points_are_worth(1).await;
    let listing = bazaar.offer(1).await;
    let (_, before) = bazaar.purses().await;
    let order = order_of(&buy(&bazaar.buyer, &listing, 105, "now").await.expect(201));
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!((bazaar.purses().await.1, books(&bazaar).await), (before + 10_290, (0, 105)));
    assert_eq!(count(&bazaar).await, 103, "103.95 was paid with money");
    refund(&bazaar, &order, &json!({})).await.expect(200);
    assert_eq!((bazaar.purses().await.1, count(&bazaar).await, books(&bazaar).await), (before, 105, (0, 0)));
    refund(&bazaar, &order, &json!({})).await.problem(422, "amount-not-positive");
    assert_eq!((bazaar.purses().await.1, count(&bazaar).await), (before, 105));
}

#[tokio::test]
async fn a_split_gives_points_and_money_back_in_the_proportion_of_what_they_paid() {
    let bazaar = where_points_are_worth(10).await;
    let listing = bazaar.offer(1).await;
    let (before, sold) = bazaar.purses().await;
    let order = order_of(&buy(&bazaar.buyer, &listing, 105, "now").await.expect(201));
    bazaar.dispute(&order).await.expect(200);
    bazaar.resolve(&order, &json!({ "outcome": "split", "to_buyer": usd(2_100) })).await.expect(200);
    // A fifth: 18.90 of 94.50, and 21 of 105 points; and what the seller keeps of the money, 75.60, earns.
    assert_eq!(bazaar.purses().await, (before - 9_450 + 1_890, sold + 8_400 - 168));
    assert_eq!((count(&bazaar).await, books(&bazaar).await), (21 + 75, (0, 840)));
}

#[tokio::test]
async fn points_may_pay_for_all_of_it_and_then_no_money_moves() {
    let bazaar = where_points_are_worth(100).await;
    let mine = points(&bazaar, &bazaar.buyer, "").await;
    assert_eq!(mine["balances"], json!([{ "currency": "USD", "points": 105, "worth": usd(10_500) }]));
    let before = bazaar.purses().await;
    let payments = async || {
        let now = bazaar.wait(0).await;
        bazaar.buyer.get("/payments/transactions").since(now).send().await.expect(200).body["items"].clone()
    };
    let paid_before = payments().await;
    // It is paid with the order, however it was to be paid.
    let bought = buy(&bazaar.buyer, &bazaar.offer(1).await, 105, "later").await.expect(201);
    assert_eq!((&bought.body["status"], &bought.body["total"]), (&json!("paid"), &usd(0)));
    let order = order_of(&bought);
    bazaar.buyer.tell(&order, "pay").await.problem(409, "already-paid");
    assert_eq!(bazaar.statuses(&order).await, ("paid".to_owned(), "funded".to_owned()));
    assert_eq!((bazaar.purses().await, count(&bazaar).await, books(&bazaar).await), (before, 0, (10_500, 10_500)));
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!((bazaar.purses().await.1, count(&bazaar).await), (before.1 + 10_290, 0));
    assert_eq!(payments().await, paid_before);
    // Half a point is money.
    refund(&bazaar, &order, &json!({ "amount": usd(1_050) })).await.expect(200);
    assert_eq!((purse(&bazaar).await, books(&bazaar).await), ((before.0 + 50, 10), (0, 10_500 - 1_000)));
    refund(&bazaar, &order, &json!({ "amount": usd(1_050) })).await.expect(200);
    assert_eq!(purse(&bazaar).await, (before.0 + 100, 20));
    refund(&bazaar, &order, &json!({})).await.expect(200);
    assert_eq!((purse(&bazaar).await, books(&bazaar).await), ((before.0 + 100, 104), (0, 100)));
}

#[tokio::test]
async fn what_points_have_paid_wholly_waits_for_its_buyer_when_something_else_is_cancelled() {
    let bazaar = where_points_are_worth(100).await;
    let other = bazaar.server.client().register_seller("other").await;
    let cheap = other.offer(&listing(100)).await;
    let dear = bazaar.seller.offer(&listing(9_950)).await;
    let lines = json!([{ "listing_id": cheap }, { "listing_id": dear }]);
    let cart = |points: i64| json!({ "lines": lines, "points": points });
    let refused = bazaar.buyer.post("/orders", &cart(101)).send().await.problem(422, "more-points-than-price");
    assert_eq!(refused.body["maximum"], 100, "no half of a point pays");
    let placed = bazaar.buyer.post("/orders", &cart(100)).send().await.expect(201);
    assert_eq!((&placed.body["status"], &placed.body["total"]), (&json!("placed"), &usd(50)));
    let orders = placed.body["orders"].as_array().unwrap();
    let order = |cents| {
        let found = orders.iter().find(|order| order["total"] == usd(cents)).unwrap_or_else(|| panic!("{orders:?}"));
        found["id"].as_str().unwrap().to_owned()
    };
    let (free, rest) = (order(0), order(50));
    assert_eq!(bazaar.statuses(&free).await.0, "placed");
    let before = bazaar.purses().await;
    let reason = json!({ "reason": "It is broken." });
    bazaar.seller.post(&format!("/orders/{rest}/cancel"), &reason).send().await.expect(200);
    // Nobody has bought it by that, and its point is still meant for it.
    assert_eq!(bazaar.statuses(&free).await.0, "placed");
    assert_eq!((count(&bazaar).await, books(&bazaar).await), (104, (0, 0)));
    let by_card = json!({ "payment_method": "sandbox-succeeds" });
    let paid = bazaar.buyer.post(&format!("/orders/{free}/pay"), &by_card).send().await.expect(200);
    let told = (&paid.body["status"], &paid.body["amount"], &paid.body["payment_id"]);
    assert_eq!(told, (&json!("paid"), &usd(0), &json!(null)));
    assert_eq!(bazaar.statuses(&free).await, ("paid".to_owned(), "funded".to_owned()));
    assert_eq!((count(&bazaar).await, books(&bazaar).await), (104, (100, 100)));
    assert_eq!(bazaar.purses().await, before);
}

#[tokio::test]
async fn points_pay_in_their_currency_and_where_they_are_worth_something() {
    let bazaar = where_points_are_worth(0).await;
    let mine = points(&bazaar, &bazaar.buyer, "").await;
    assert_eq!(mine["balances"], json!([{ "currency": "USD", "points": 105, "worth": usd(0) }]));
    let dollars = bazaar.offer(1).await;
    let refused = buy(&bazaar.buyer, &dollars, 1, "later").await.problem(422, "points-pay-nothing");
    assert_eq!(refused.body["offered"], 1);
    buy(&bazaar.buyer, &dollars, 0, "later").await.expect(201);
    let bazaar = where_points_are_worth(1).await;
    let rupees = json!({ "amount": 100_000, "currency": "PKR" });
    let rupees = bazaar.seller.offer(&with(listing(1), "price", rupees)).await;
    let refused = buy(&bazaar.buyer, &rupees, 1, "later").await.problem(422, "not-enough-points");
    assert_eq!(refused.body["available"], 0);
}
