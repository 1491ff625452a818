//! Orders on their less usual ways: refused at every step, called off in part, refunded in parts, and on time.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of};
use tradepost_tests::client::Client;
use tradepost_tests::market::{auction, listing, usd, with};

const HOUR_MS: i64 = 3_600_000;

fn part(cents: i64) -> Value {
    json!({ "amount": usd(cents) })
}

async fn refund(client: &Client, order: &str, body: &Value) -> tradepost_tests::client::Answer {
    client.post(&format!("/orders/{order}/refund"), body).send().await
}

/// When the events of a type were decided, one after another.
async fn times(bazaar: &Bazaar, event_type: &str) -> Vec<DateTime<Utc>> {
    sqlx::query_scalar("select recorded_at from events where event_type = $1 order by position")
        .bind(event_type)
        .fetch_all(&mut bazaar.server.database.connect().await)
        .await
        .unwrap()
}

async fn stock(bazaar: &Bazaar, listing: &str) -> Value {
    let now = bazaar.wait(0).await;
    bazaar.buyer.get(&format!("/listings/{listing}")).since(now).send().await.expect(200).body["stock"].clone()
}

/// A request that is refused.
struct Refused<'a>(&'a Client, String, Value, u16, &'static str);

/// Every refusal says which rule it is, and leaves the log's head where it was.
#[tokio::test]
async fn what_an_order_does_not_allow_is_refused_and_leaves_nothing() {
    let bazaar = Bazaar::open().await;
    bazaar.buyer.fund(100_000).await;
    let stranger = bazaar.server.client().register("stranger").await;
    let (buyer, seller, staff, stranger) = (&bazaar.buyer, &bazaar.seller, &bazaar.staff, &stranger);
    let id = bazaar.offer(1).await;
    let placed = order_of(&buyer.check_out(&[(&id, 1)], "later").await.expect(201));
    let (paid, shipped) = (bazaar.sell().await, bazaar.sell().await);
    bazaar.ship(&shipped).await.expect(200);
    let (delivered, completed) = (bazaar.deliver().await, bazaar.complete().await);
    let download = seller.offer(&with(listing(1_000), "delivery", "digital")).await;
    let digital = order_of(&buyer.check_out(&[(&download, 1)], "now").await.expect(201));

    let on = |order: &str, what: &str| format!("/orders/{order}/{what}");
    let dispute = |order: &str| format!("/escrow/{order}/dispute");
    let resolve = |order: &str| format!("/admin/escrow/{order}/resolve");
    let (nothing, reason, carrier) = (|| json!({}), || json!({ "reason": "No." }), || json!({ "carrier": "Post" }));
    let euros = json!({ "amount": { "amount": 1, "currency": "EUR" } });
    let unknown_method = json!({ "payment_method": "made-up" });
    let (release, with_part) = (json!({ "outcome": "release" }), json!({ "outcome": "release", "to_buyer": usd(1) }));
    let (wrong_stage, wrong_escrow) = ("wrong-order-status", "wrong-escrow-status");
    let mut refused = vec![
        // Before it is paid.
        Refused(seller, on(&placed, "ship"), carrier(), 409, wrong_stage),
        Refused(buyer, on(&placed, "deliver"), nothing(), 409, wrong_stage),
        Refused(buyer, on(&placed, "confirm"), nothing(), 409, wrong_stage),
        Refused(seller, on(&placed, "refund"), nothing(), 409, wrong_escrow),
        Refused(buyer, dispute(&placed), reason(), 409, wrong_escrow),
        Refused(buyer, on(&placed, "pay"), unknown_method, 422, "invalid-field"),
        Refused(seller, on(&placed, "pay"), nothing(), 403, "wrong-party"),
        // Before it is sent.
        Refused(buyer, on(&paid, "pay"), nothing(), 409, "already-paid"),
        Refused(buyer, on(&paid, "ship"), carrier(), 403, "wrong-party"),
        Refused(buyer, on(&paid, "deliver"), nothing(), 409, wrong_stage),
        Refused(buyer, on(&paid, "confirm"), nothing(), 409, wrong_stage),
        Refused(seller, on(&paid, "confirm"), nothing(), 403, "wrong-party"),
        Refused(buyer, on(&paid, "refund"), nothing(), 403, "wrong-party"),
        Refused(seller, on(&paid, "refund"), part(0), 422, "amount-not-positive"),
        Refused(seller, on(&paid, "refund"), part(-5), 422, "amount-not-positive"),
        Refused(seller, on(&paid, "refund"), part(10_501), 422, "more-than-remains"),
        Refused(seller, on(&paid, "refund"), euros, 422, "wrong-currency"),
        Refused(seller, on(&digital, "ship"), carrier(), 422, "needs-no-shipping"),
        // On its way, arrived, over.
        Refused(seller, on(&shipped, "ship"), carrier(), 409, wrong_stage),
        Refused(seller, on(&shipped, "deliver"), nothing(), 403, "seller-is-no-witness"),
        Refused(seller, on(&shipped, "cancel"), reason(), 409, "too-late-to-cancel"),
        Refused(staff, on(&delivered, "cancel"), reason(), 409, "too-late-to-cancel"),
        Refused(staff, dispute(&delivered), reason(), 403, "wrong-party"),
        Refused(staff, resolve(&delivered), release.clone(), 409, "not-disputed"),
        Refused(staff, resolve(&delivered), with_part, 422, "invalid-field"),
        Refused(buyer, resolve(&delivered), release, 403, "missing-capability"),
        Refused(buyer, dispute(&completed), reason(), 409, wrong_escrow),
        Refused(buyer, on(&completed, "confirm"), nothing(), 409, wrong_stage),
        Refused(seller, on(&completed, "refund"), part(10_501), 422, "more-than-remains"),
    ];
    // What is somebody else's is not there.
    for (what, body) in [("pay", nothing()), ("deliver", nothing()), ("ship", carrier()), ("cancel", reason())] {
        refused.push(Refused(stranger, on(&paid, what), body, 404, "not-found"));
    }
    refused.push(Refused(stranger, dispute(&paid), reason(), 404, "not-found"));
    let head = bazaar.server.database.log_head().await;
    for Refused(client, path, body, status, slug) in refused {
        let answer = client.post(&path, &body).send().await;
        assert_eq!((answer.status, answer.slug()), (status, Some(slug)), "{path} {body}: {}", answer.text);
        answer.problem(status, slug);
        assert_eq!(bazaar.server.database.log_head().await, head, "{path} {body} left something");
    }
    let stale = buyer.post(&on(&paid, "cancel"), &reason()).header("if-match", "\"1.1\"").send().await;
    stale.problem(412, "version-mismatch");
    assert_eq!(bazaar.server.database.log_head().await, head);
}

#[tokio::test]
async fn the_price_of_an_order_is_that_of_its_purchase() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.offer(1).await;
    let order = order_of(&bazaar.buyer.check_out(&[(&id, 1)], "later").await.expect(201));
    let change = json!({ "price": usd(50_000), "shipping": usd(9_000), "title": "Gold" });
    bazaar.seller.ask(&Method::PATCH, &format!("/api/v1/listings/{id}")).json(&change).send().await.expect(200);
    let paid = bazaar.buyer.tell(&order, "pay").await.expect(200);
    assert_eq!(paid.body["amount"], usd(10_500));
    let shown = bazaar.buyer.get(&format!("/orders/{order}")).since(paid.at()).send().await.expect(200).body;
    assert_eq!((&shown["lines"][0]["title"], &shown["total"]), (&listing(1)["title"], &usd(10_500)));
}

#[tokio::test]
async fn the_same_key_buys_once() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.offer(5).await;
    let body = json!({ "lines": [{ "listing_id": id }], "pay": "now" });
    let first = bazaar.buyer.post("/orders", &body).key("cart").send().await.expect(201);
    let again = bazaar.buyer.post("/orders", &body).key("cart").send().await.expect(201);
    assert!(again.replayed());
    assert_eq!(first.text, again.text);
    assert_eq!((stock(&bazaar, &id).await, bazaar.purses().await), (json!(4), (89_500, 0)));
}

#[tokio::test]
async fn one_order_of_a_group_is_called_off_and_the_rest_is_paid() {
    let bazaar = Bazaar::open().await;
    let other = bazaar.server.client().register_seller("other").await;
    let (mine, theirs) = (bazaar.offer(1).await, other.offer(&listing(2_000)).await);
    let placed = bazaar.buyer.check_out(&[(&mine, 1), (&theirs, 1)], "later").await.expect(201);
    let orders = placed.body["orders"].as_array().unwrap();
    let (gone, stays): (Vec<_>, Vec<_>) = orders.iter().partition(|order| order["seller_id"] == json!(other.account()));
    let (gone, stays) = (gone[0]["id"].as_str().unwrap(), stays[0]["id"].as_str().unwrap());
    let reason = json!({ "reason": "It is lost." });
    other.post(&format!("/orders/{gone}/cancel"), &reason).send().await.expect(200);
    let refused = bazaar.buyer.tell(gone, "pay").await.problem(409, "wrong-order-status");
    assert_eq!((&refused.body["actual"], &refused.body["needed"]), (&json!("cancelled"), &json!("placed")));
    let paid = bazaar.buyer.tell(stays, "pay").await.expect(200);
    assert_eq!(paid.body["amount"], usd(10_500));
    assert_eq!(bazaar.purses().await, (89_500, 0));
    // Called off once more, nothing more happens.
    let head = bazaar.wait(0).await;
    other.post(&format!("/orders/{gone}/cancel"), &reason).send().await.expect(200);
    assert_eq!(bazaar.wait(0).await, head);
}

#[tokio::test]
async fn a_delayed_card_pays_when_its_money_is_in() {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    let id = bazaar.offer(1).await;
    let order = order_of(&poor.check_out(&[(&id, 1)], "later").await.expect(201));
    let asked = poor.post(&format!("/orders/{order}/pay"), &json!({ "payment_method": "sandbox-delays" }));
    let asked = asked.send().await.expect(202);
    assert_eq!(bazaar.statuses(&order).await.0, "placed");
    let settled = bazaar.wait(10_000).await;
    assert_eq!(bazaar.statuses(&order).await.0, "paid");
    assert!(asked.body["payment_id"].is_string());
    // It goes straight into escrow, and through nobody's wallet.
    let rows = poor.get("/payments/transactions").since(settled).send().await.expect(200).body;
    assert_eq!((&rows["items"], poor.available(settled).await), (&json!([]), 0));
}

#[tokio::test]
async fn a_seller_who_calls_a_win_off_leaves_no_violation() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    bazaar.buyer.bid(&id, 5_000).await.expect(201);
    let closed = bazaar.wait(HOUR_MS).await;
    let won = bazaar.buyer.get("/orders?as=buyer").since(closed).send().await.expect(200).body;
    let order = won["items"][0]["id"].as_str().unwrap();
    let reason = json!({ "reason": "It broke." });
    bazaar.seller.post(&format!("/orders/{order}/cancel"), &reason).send().await.expect(200);
    bazaar.wait(2 * DAY_MS).await;
    assert!(times(&bazaar, "ViolationRecorded").await.is_empty());
}

#[tokio::test]
async fn reminders_come_three_and_twelve_days_after_the_delivery_and_a_delivery_stops_the_clocks_before_it() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    bazaar.ship(&order).await.expect(200);
    // What is on its way is not inspected yet.
    bazaar.wait(29 * DAY_MS).await;
    bazaar.buyer.tell(&order, "deliver").await.expect(200);
    bazaar.wait(20 * DAY_MS).await;
    let [began] = times(&bazaar, "InspectionStarted").await.try_into().unwrap();
    let [first, second] = times(&bazaar, "InspectionReminded").await.try_into().unwrap();
    let [released] = times(&bazaar, "EscrowReleased").await.try_into().unwrap();
    for (happened, days) in [(first, 3), (second, 12), (released, 14)] {
        let late_by = happened - began - TimeDelta::days(days);
        assert!(late_by >= TimeDelta::zero() && late_by < TimeDelta::seconds(10), "{late_by} late");
    }
    assert!(times(&bazaar, "DeliveryQuestioned").await.is_empty());
    let head = bazaar.wait(0).await;
    assert_eq!(bazaar.wait(200 * DAY_MS).await, head, "something happened to what is over");
}

#[tokio::test]
async fn what_was_never_sent_is_for_sale_again_once_it_is_refunded() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.offer(3).await;
    let buy = async || order_of(&bazaar.buyer.check_out(&[(&id, 1)], "now").await.expect(201));
    let unsent = buy().await;
    refund(&bazaar.seller, &unsent, &json!({})).await.expect(200);
    assert_eq!((bazaar.statuses(&unsent).await.0, stock(&bazaar, &id).await), ("refunded".to_owned(), json!(3)));

    // A dispute stops the parcel too.
    let disputed = buy().await;
    bazaar.dispute(&disputed).await.expect(200);
    let head = bazaar.wait(0).await;
    bazaar.ship(&disputed).await.problem(409, "wrong-escrow-status");
    assert_eq!(bazaar.wait(0).await, head);
    bazaar.resolve(&disputed, &json!({ "outcome": "refund" })).await.expect(200);
    assert_eq!(stock(&bazaar, &id).await, 3);

    let sent = buy().await;
    bazaar.ship(&sent).await.expect(200);
    refund(&bazaar.staff, &sent, &part(500)).await.expect(200);
    refund(&bazaar.staff, &sent, &json!({})).await.expect(200);
    assert_eq!((bazaar.statuses(&sent).await.0, stock(&bazaar, &id).await), ("refunded".to_owned(), json!(2)));
    assert_eq!(bazaar.purses().await, (100_000, 0));
}

#[tokio::test]
async fn part_of_a_refund_after_the_release_is_the_fees_part() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.complete().await;
    refund(&bazaar.seller, &order, &part(5_250)).await.expect(200);
    // Of the half, 1.05 was the fee.
    assert_eq!(bazaar.purses().await, (94_750, 10_290 - 5_145));
    assert_eq!(bazaar.book("fee-income").await, 105);
    assert_eq!(bazaar.statuses(&order).await, ("completed".to_owned(), "released".to_owned()));
    refund(&bazaar.staff, &order, &json!({})).await.expect(200);
    assert_eq!((bazaar.purses().await, bazaar.book("fee-income").await), ((100_000, 0), 0));
    assert_eq!(bazaar.statuses(&order).await.0, "refunded");
}

#[tokio::test]
async fn what_a_seller_owes_is_taken_from_a_deposit_too() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.complete().await;
    bazaar.seller.withdraw(10_000, "sandbox-succeeds").await.expect(202);
    bazaar.wait(0).await;
    // Of 10.50, 0.21 was the fee; of the rest the seller has 2.90.
    refund(&bazaar.seller, &order, &part(1_050)).await.expect(200);
    assert_eq!((bazaar.purses().await, bazaar.book("receivable").await), ((90_550, 0), -739));
    bazaar.seller.fund(700).await;
    assert_eq!((bazaar.purses().await.1, bazaar.book("receivable").await), (0, -39));
    bazaar.seller.fund(1_000).await;
    assert_eq!((bazaar.purses().await.1, bazaar.book("receivable").await), (961, 0));
}
