//! What is won is paid within a day; whoever does not pay three times trades no more.

use reqwest::Method;
use serde_json::json;
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::Client;
use tradepost_tests::market::{auction, listing, usd, with};

const HOUR_MS: i64 = 3_600_000;

/// Lets `winner` win an auction of an hour, and tells the order.
async fn win(bazaar: &Bazaar, winner: &Client) -> String {
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    winner.bid(&id, 5_000).await.expect(201);
    let closed = bazaar.wait(HOUR_MS).await;
    let orders = winner.get("/orders?as=buyer&status=placed").since(closed).send().await.expect(200).body;
    let order = &orders["items"][0];
    assert_eq!(
        (&order["origin"], &order["auction_id"], &order["total"]),
        (&json!("auction_won"), &json!(id), &usd(1_000))
    );
    order["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_win_is_binding_and_paid_within_a_day() {
    let bazaar = Bazaar::open().await;
    let order = win(&bazaar, &bazaar.buyer).await;
    let reason = json!({ "reason": "Found another." });
    bazaar.buyer.post(&format!("/orders/{order}/cancel"), &reason).send().await.problem(409, "win-is-binding");
    bazaar.wait(23 * HOUR_MS).await;
    bazaar.buyer.tell(&order, "pay").await.expect(200);
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!(bazaar.purses().await, (99_000, 980));
}

#[tokio::test]
async fn whoever_buys_at_once_has_an_order_too() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.seller.schedule(&with(auction(1_000), "buy_now_price", usd(4_000))).await;
    let bought = bazaar.buyer.post(&format!("/auctions/{id}/buy-now"), &json!({})).send().await.expect(200);
    let order = bought.body["order_id"].as_str().unwrap();
    let shown = bazaar.buyer.get(&format!("/orders/{order}")).since(bought.at()).send().await.expect(200).body;
    assert_eq!(
        (&shown["origin"], &shown["total"], &shown["status"]),
        (&json!("bought_now"), &usd(4_000), &json!("placed"))
    );
}

#[tokio::test]
async fn three_wins_that_are_not_paid_block_the_account_which_still_pays_what_it_owes() {
    let bazaar = Bazaar::open().await;
    let sloth = bazaar.server.client().register_seller("sloth").await;
    sloth.fund(50_000).await;
    let me = async |since| sloth.get("/auth/me").since(since).send().await.expect(200).body;
    for violations in 1..=2 {
        let order = win(&bazaar, &sloth).await;
        let expired = bazaar.wait(24 * HOUR_MS).await;
        assert_eq!(bazaar.statuses(&order).await, ("cancelled".to_owned(), "voided".to_owned()));
        let account = me(expired).await;
        assert_eq!((&account["violations"], &account["blocked"]), (&json!(violations), &json!(false)));
    }
    // Something that was bought before the block, and waits to be paid.
    let (last, other) =
        (win(&bazaar, &sloth).await, bazaar.seller.schedule(&with(auction(1_000), "duration_s", 80_000)).await);
    sloth.bid(&other, 2_000).await.expect(201);
    let blocked = bazaar.wait(24 * HOUR_MS).await;
    assert_eq!(bazaar.statuses(&last).await.0, "cancelled");
    let account = me(blocked).await;
    assert_eq!((&account["violations"], &account["blocked"]), (&json!(3), &json!(true)));

    let id = bazaar.seller.schedule(&auction(1_000)).await;
    let refused = sloth.bid(&id, 2_000).await.problem(403, "account-blocked");
    assert_eq!(refused.body["violations"], json!(3));
    let goods = bazaar.offer(1).await;
    sloth.check_out(&[(&goods, 1)], "now").await.problem(403, "account-blocked");
    sloth.post("/listings", &listing(1)).send().await.problem(403, "account-blocked");
    sloth.withdraw(100, "sandbox-succeeds").await.problem(403, "account-blocked");
    let owed = sloth.get("/orders?status=placed").since(blocked).send().await.expect(200).body;
    sloth.tell(owed["items"][0]["id"].as_str().unwrap(), "pay").await.expect(200);
}

#[tokio::test]
async fn what_a_bidder_agrees_to_stands_and_can_be_paid() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.seller.schedule(&with(auction(1_000), "shipping", usd(500))).await;
    bazaar.buyer.bid(&id, 2_000).await.expect(201);
    let head = bazaar.server.database.log_head().await;
    for change in [json!({ "shipping": usd(100_000) }), json!({ "delivery": "digital" })] {
        let revised = bazaar.seller.ask(&Method::PATCH, &format!("/api/v1/listings/{id}")).json(&change).send().await;
        revised.problem(409, "auction-published");
    }
    let most = domain::wallet::BALANCE_LIMIT - 1 - 500;
    let refused = bazaar.buyer.bid(&id, most + 1).await.problem(422, "bid-too-high");
    assert_eq!(refused.body["limit"], usd(most));
    assert_eq!(bazaar.server.database.log_head().await, head);
    bazaar.buyer.bid(&id, most).await.expect(201);
}
