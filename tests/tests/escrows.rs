//! The money of an order: inspection, disputes, refunds, and the clocks of all of them.

use serde_json::json;
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of};
use tradepost_tests::market::{listing, usd, with};

fn is(order: &str, escrow: &str) -> (String, String) {
    (order.to_owned(), escrow.to_owned())
}

#[tokio::test]
async fn the_seller_is_paid_less_the_fee_when_the_buyer_is_content() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    assert_eq!(bazaar.purses().await, (89_500, 0));
    let early = bazaar.buyer.tell(&order, "confirm").await.problem(409, "wrong-order-status");
    assert_eq!((&early.body["actual"], &early.body["needed"]), (&json!("paid"), &json!("shipped")));
    bazaar.ship(&order).await.expect(200);
    bazaar.seller.tell(&order, "deliver").await.problem(403, "seller-is-no-witness");
    let delivered = bazaar.staff.tell(&order, "deliver").await.expect(200);
    assert_eq!((&delivered.body["status"], &delivered.body["escrow"]), (&json!("delivered"), &json!("inspection")));
    let path = format!("/escrow/{order}/confirm");
    bazaar.buyer.post(&path, &json!({})).send().await.expect(200);
    assert_eq!(bazaar.statuses(&order).await, is("completed", "released"));
    assert_eq!(bazaar.purses().await, (89_500, 10_290));
    assert_eq!((bazaar.book("escrow").await, bazaar.book("fee-income").await), (0, 210));
}

#[tokio::test]
async fn an_old_client_confirms_by_naming_the_order_in_the_body() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    bazaar.buyer.post("/payments/escrow/confirm", &json!({ "order_id": order })).send().await.expect(200);
    assert_eq!(bazaar.statuses(&order).await, is("completed", "released"));
}

#[tokio::test]
async fn a_buyer_who_is_content_with_what_was_shipped_has_it() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    bazaar.ship(&order).await.expect(200);
    let confirmed = bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!((&confirmed.body["status"], &confirmed.body["escrow"]), (&json!("completed"), &json!("released")));
}

#[tokio::test]
async fn an_inspection_ends_fourteen_days_after_the_delivery_and_reminds_twice() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    bazaar.wait(14 * DAY_MS - 60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("delivered", "inspection"));
    bazaar.wait(60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("completed", "released"));
    assert_eq!(bazaar.purses().await, (89_500, 10_290));
    let reminders: i64 = sqlx::query_scalar("select count(*) from events where event_type = 'InspectionReminded'")
        .fetch_one(&mut bazaar.server.database.connect().await)
        .await
        .unwrap();
    assert_eq!(reminders, 2);
}

#[tokio::test]
async fn what_is_digital_needs_no_shipping_and_is_inspected_for_two_days() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.seller.offer(&with(listing(5_000), "delivery", "digital")).await;
    let order = order_of(&bazaar.buyer.check_out(&[(&listing, 1)], "now").await.expect(201));
    bazaar.ship(&order).await.problem(422, "needs-no-shipping");
    bazaar.seller.tell(&order, "deliver").await.expect(200);
    bazaar.wait(2 * DAY_MS - 60_000).await;
    assert_eq!(bazaar.statuses(&order).await.1, "inspection");
    bazaar.wait(60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("completed", "released"));
}

#[tokio::test]
async fn what_is_not_shipped_within_fourteen_days_is_refunded() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    bazaar.wait(14 * DAY_MS - 60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("paid", "funded"));
    let after = bazaar.wait(60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("cancelled", "refunded"));
    assert_eq!(bazaar.purses().await, (100_000, 0));
    let shown = bazaar.buyer.get(&format!("/orders/{order}")).since(after).send().await.expect(200).body;
    assert_eq!((&shown["cancelled_by"], &shown["refunded"]), (&json!("not_shipped"), &usd(10_500)));
    bazaar.ship(&order).await.problem(409, "wrong-order-status");
}

#[tokio::test]
async fn of_what_nobody_says_that_it_arrived_the_buyer_is_asked_and_then_it_is_disputed() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    bazaar.ship(&order).await.expect(200);
    let asked = async |since| {
        let shown = bazaar.buyer.get(&format!("/orders/{order}")).since(since).send().await.expect(200).body;
        !shown["questioned_at"].is_null()
    };
    let before = bazaar.wait(30 * DAY_MS - 60_000).await;
    assert!(!asked(before).await);
    let after = bazaar.wait(60_000).await;
    assert!(asked(after).await);
    bazaar.wait(15 * DAY_MS - 60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("shipped", "funded"));
    let disputed = bazaar.wait(60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("disputed", "disputed"));
    let escrow = bazaar.buyer.get(&format!("/escrow/{order}")).since(disputed).send().await.expect(200).body;
    assert_eq!(escrow["disputed_by"], json!("marketplace"));
}

#[tokio::test]
async fn a_dispute_stops_the_clock_and_is_refunded_after_sixty_days() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    bazaar.dispute(&order).await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.problem(409, "wrong-escrow-status");
    bazaar.wait(60 * DAY_MS - 60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("disputed", "disputed"));
    bazaar.wait(60_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("refunded", "refunded"));
    assert_eq!(bazaar.purses().await, (100_000, 0));
}

#[tokio::test]
async fn staff_releases_refunds_or_splits_what_is_disputed() {
    let bazaar = Bazaar::open().await;
    let disputed = async || {
        let order = bazaar.deliver().await;
        bazaar.dispute(&order).await.expect(200);
        order
    };
    let released = disputed().await;
    let decision = json!({ "outcome": "release" });
    bazaar
        .buyer
        .post(&format!("/admin/escrow/{released}/resolve"), &decision)
        .send()
        .await
        .problem(403, "missing-capability");
    bazaar.resolve(&released, &decision).await.expect(200);
    assert_eq!(bazaar.statuses(&released).await, is("completed", "released"));
    assert_eq!(bazaar.purses().await, (89_500, 10_290));

    let refunded = disputed().await;
    bazaar.resolve(&refunded, &json!({ "outcome": "refund" })).await.expect(200);
    assert_eq!(bazaar.statuses(&refunded).await, is("refunded", "refunded"));
    assert_eq!(bazaar.purses().await, (89_500, 10_290));

    let split = disputed().await;
    let too_much = bazaar.resolve(&split, &json!({ "outcome": "split", "to_buyer": usd(10_501) })).await;
    let too_much = too_much.problem(422, "more-than-remains");
    assert_eq!((&too_much.body["remaining"], &too_much.body["offered"]), (&usd(10_500), &usd(10_501)));
    bazaar.resolve(&split, &json!({ "outcome": "split" })).await.problem(422, "invalid-field");
    bazaar.resolve(&split, &json!({ "outcome": "split", "to_buyer": usd(4_500) })).await.expect(200);
    assert_eq!(bazaar.statuses(&split).await, is("completed", "split"));
    // 60.00 stay with the seller, of which 1.20 is the fee.
    assert_eq!(bazaar.purses().await, (83_500, 16_170));
    assert_eq!((bazaar.book("escrow").await, bazaar.book("fee-income").await), (0, 330));
    bazaar.resolve(&split, &decision).await.problem(409, "not-disputed");
}

#[tokio::test]
async fn a_partial_refund_before_the_release_is_never_charged() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    let path = format!("/orders/{order}/refund");
    bazaar.seller.post(&path, &json!({ "amount": usd(500) })).send().await.expect(200);
    assert_eq!(bazaar.statuses(&order).await, is("delivered", "inspection"));
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!(bazaar.purses().await, (90_000, 9_800));
    assert_eq!(bazaar.book("fee-income").await, 200);
}

#[tokio::test]
async fn a_refund_after_the_release_comes_from_the_seller_and_the_fee() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.complete().await;
    bazaar.seller.tell(&order, "refund").await.expect(200);
    assert_eq!(bazaar.statuses(&order).await, is("refunded", "released"));
    assert_eq!(bazaar.purses().await, (100_000, 0));
    assert_eq!(bazaar.book("fee-income").await, 0);
    bazaar.seller.tell(&order, "refund").await.problem(422, "amount-not-positive");
}

#[tokio::test]
async fn what_a_seller_cannot_give_back_is_owed_and_paid_with_the_next_sale() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.complete().await;
    bazaar.seller.withdraw(10_000, "sandbox-succeeds").await.expect(202);
    bazaar.wait(0).await;
    bazaar.staff.tell(&order, "refund").await.expect(200);
    assert_eq!(bazaar.purses().await, (100_000, 0));
    let owed = async || {
        let now = bazaar.wait(0).await;
        let wallet = bazaar.seller.get("/wallet").since(now).send().await.expect(200).body;
        wallet["balances"][0]["owed"]["amount"].as_i64().unwrap()
    };
    assert_eq!((owed().await, bazaar.book("receivable").await), (10_000, -10_000));
    bazaar.complete().await;
    assert_eq!((owed().await, bazaar.book("receivable").await), (0, 0));
    assert_eq!(bazaar.purses().await, (89_500, 290));
}

#[tokio::test]
async fn a_card_pays_the_order_that_it_was_charged_for_and_not_what_is_owed() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.complete().await;
    bazaar.seller.withdraw(10_000, "sandbox-succeeds").await.expect(202);
    bazaar.wait(0).await;
    bazaar.staff.tell(&order, "refund").await.expect(200);
    let other = bazaar.server.client().register_seller("other").await;
    let goods = other.offer(&with(with(listing(10_000), "stock", 1), "shipping", usd(500))).await;
    let bought = order_of(&bazaar.seller.check_out(&[(&goods, 1)], "later").await.expect(201));
    let by_card = json!({ "payment_method": "sandbox-succeeds" });
    bazaar.seller.post(&format!("/orders/{bought}/pay"), &by_card).send().await.expect(202);
    assert_eq!(bazaar.statuses(&bought).await, is("paid", "funded"));
    assert_eq!(bazaar.book("receivable").await, -10_000, "still owed");
}

#[tokio::test]
async fn staff_decides_no_dispute_of_its_own() {
    let bazaar = Bazaar::open().await;
    let goods = bazaar.offer(1).await;
    bazaar.staff.fund(20_000).await;
    let order = order_of(&bazaar.staff.check_out(&[(&goods, 1)], "now").await.expect(201));
    bazaar.ship(&order).await.expect(200);
    bazaar.staff.post(&format!("/escrow/{order}/dispute"), &json!({ "reason": "Broken." })).send().await.expect(200);
    let head = bazaar.server.database.log_head().await;
    bazaar.resolve(&order, &json!({ "outcome": "refund" })).await.problem(403, "wrong-party");
    assert_eq!(bazaar.server.database.log_head().await, head);
}

#[tokio::test]
async fn open_escrows_are_listed_for_their_parties_and_all_for_staff() {
    let bazaar = Bazaar::open().await;
    let (held, _done) = (bazaar.sell().await, bazaar.complete().await);
    let now = bazaar.wait(0).await;
    for party in [&bazaar.buyer, &bazaar.seller] {
        let page = party.get("/escrow").since(now).send().await.expect(200).body;
        assert_eq!((&page["items"][0]["order_id"], &page["items"][1]), (&json!(held), &json!(null)));
        party.get("/admin/escrow").send().await.problem(403, "missing-capability");
    }
    let page = bazaar.staff.get("/admin/escrow?status=released").since(now).send().await.expect(200).body;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(bazaar.staff.get("/admin/escrow").send().await.body["items"].as_array().unwrap().len(), 2);
}
