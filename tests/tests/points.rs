//! Bonus points are earned with what sellers keep, and go with what they give back.

use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::Client;
use tradepost_tests::market::usd;

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

#[tokio::test]
async fn points_pay_for_a_part_and_come_back_as_points() {
    let bazaar = Bazaar::open().await;
    bazaar.complete().await;
    let listing = bazaar.offer(3).await;
    let cart = |points: i64, pay: &str| {
        let lines = json!([{ "listing_id": listing, "quantity": 1 }]);
        json!({ "lines": lines, "pay": pay, "points": points })
    };
    let check_out = async |points, pay| bazaar.buyer.post("/orders", &cart(points, pay)).send().await;
    let refused = check_out(106, "now").await.problem(422, "not-enough-points");
    assert_eq!((&refused.body["available"], &refused.body["requested"]), (&json!(105), &json!(106)));
    check_out(10_501, "now").await.problem(422, "more-points-than-price");
    let (before, _) = bazaar.purses().await;
    let bought = check_out(105, "now").await.expect(201);
    assert_eq!(bought.body["total"], usd(10_395));
    let order = tradepost_tests::bazaar::order_of(&bought);
    assert_eq!((bazaar.purses().await.0, count(&bazaar).await), (before - 10_395, 0));
    assert_eq!((bazaar.book("escrow").await, bazaar.book("marketing-expense").await), (10_500, -105));
    let shown = bazaar.buyer.get(&format!("/orders/{order}")).send().await.expect(200).body;
    assert_eq!((&shown["total"], &shown["from_points"]), (&usd(10_500), &usd(105)));
    // A third of it goes back: a third of the points, and the rest as money.
    let refund = async |body: Value| bazaar.seller.post(&format!("/orders/{order}/refund"), &body).send().await;
    refund(json!({ "amount": usd(3_500) })).await.expect(200);
    assert_eq!((bazaar.purses().await.0, count(&bazaar).await), (before - 10_395 + 3_465, 35));
    refund(json!({})).await.expect(200);
    assert_eq!((bazaar.purses().await.0, count(&bazaar).await), (before, 105));
    assert_eq!((bazaar.book("escrow").await, bazaar.book("marketing-expense").await), (0, 0));
    refund(json!({})).await.problem(409, "wrong-escrow-status");
    assert_eq!((bazaar.purses().await.0, count(&bazaar).await), (before, 105));
    // What is not paid in time gives them back too.
    check_out(100, "later").await.expect(201);
    assert_eq!(count(&bazaar).await, 5);
    bazaar.wait(tradepost_tests::bazaar::MINUTE_MS * 15).await;
    assert_eq!(count(&bazaar).await, 105);
}

#[tokio::test]
async fn a_seller_is_paid_in_full_and_points_earn_no_points() {
    let bazaar = Bazaar::open().await;
    bazaar.complete().await;
    let listing = bazaar.offer(1).await;
    let (_, before) = bazaar.purses().await;
    let cart = json!({ "lines": [{ "listing_id": listing }], "pay": "now", "points": 105 });
    let order = tradepost_tests::bazaar::order_of(&bazaar.buyer.post("/orders", &cart).send().await.expect(201));
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!(bazaar.purses().await.1, before + 10_290);
    assert_eq!(count(&bazaar).await, 103, "103.95 was paid with money");
    bazaar.seller.post(&format!("/orders/{order}/refund"), &json!({})).send().await.expect(200);
    assert_eq!((bazaar.purses().await.1, count(&bazaar).await), (before, 105));
    assert_eq!((bazaar.book("marketing-expense").await, bazaar.book("escrow").await), (0, 0));
    bazaar.seller.post(&format!("/orders/{order}/refund"), &json!({})).send().await.problem(422, "amount-not-positive");
    assert_eq!((bazaar.purses().await.1, count(&bazaar).await), (before, 105));
}
