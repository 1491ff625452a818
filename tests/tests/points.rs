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
