//! What is won and not paid is offered to underbidders, one after the other, at their own highest bid.

use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{auction, usd, with};
use tradepost_tests::socket::Socket;

const HOUR_MS: i64 = 3_600_000;

/// An auction of which the winner did not pay: `sloth` before the buyer at 30.00 and `third` at 20.00.
struct Forfeited {
    bazaar: Bazaar,
    sloth: Client,
    third: Client,
    id: String,
}

impl Forfeited {
    async fn of(terms: &Value) -> Self {
        let bazaar = Bazaar::open().await;
        let (sloth, third) =
            (bazaar.server.client().register("sloth").await, bazaar.server.client().register("third").await);
        let id = bazaar.seller.schedule(terms).await;
        for (bidder, maximum) in [(&bazaar.buyer, 1_500), (&third, 2_000), (&bazaar.buyer, 3_000), (&sloth, 4_000)] {
            bidder.bid(&id, maximum).await.expect(201);
        }
        bazaar.wait(HOUR_MS).await;
        bazaar.wait(24 * HOUR_MS).await;
        Self { bazaar, sloth, third, id }
    }

    async fn offer(&self, body: &Value) -> Answer {
        self.bazaar.seller.post(&format!("/auctions/{}/second-chance", self.id), body).send().await
    }

    async fn accept(&self, client: &Client) -> Answer {
        client.post(&format!("/auctions/{}/second-chance/accept", self.id), &json!({})).send().await
    }

    /// The second chance as `client` sees it.
    async fn seen_by(&self, client: &Client) -> Value {
        let now = self.bazaar.wait(0).await;
        client.auction(&self.id, now).await["second_chance"].clone()
    }
}

#[tokio::test]
async fn the_highest_underbidder_has_it_at_their_highest_bid_and_pays_like_anybody() {
    let sale = Forfeited::of(&auction(1_000)).await;
    let bazaar = &sale.bazaar;
    let offered = sale.offer(&json!({})).await.expect(201).body;
    assert_eq!(offered["price"], usd(3_000));
    let accepted = sale.accept(&bazaar.buyer).await.expect(201);
    let order = accepted.body["order_id"].as_str().unwrap();
    assert_eq!(accepted.header("location"), Some(&*format!("/api/v1/orders/{order}")));
    let shown = bazaar.buyer.get(&format!("/orders/{order}")).since(accepted.at()).send().await.expect(200).body;
    assert_eq!(
        (&shown["origin"], &shown["auction_id"], &shown["total"], &shown["status"]),
        (&json!("second_chance"), &json!(sale.id), &usd(3_000), &json!("placed"))
    );
    sale.accept(&bazaar.buyer).await.problem(409, "second-chance-taken");
    bazaar.buyer.tell(order, "pay").await.expect(200);
    bazaar.ship(order).await.expect(200);
    bazaar.buyer.tell(order, "confirm").await.expect(200);
    assert_eq!(bazaar.purses().await, (97_000, 2_940));
    assert_eq!((bazaar.book("escrow").await, bazaar.book("fee-income").await), (0, 60));
}

#[tokio::test]
async fn only_the_seller_and_whom_it_is_offered_to_see_an_offer_and_only_who_it_is_for_takes_it() {
    let sale = Forfeited::of(&auction(1_000)).await;
    let bazaar = &sale.bazaar;
    let offered = sale.offer(&json!({ "bidder": "Bidder 2" })).await.expect(201);
    assert_eq!(offered.body["price"], usd(2_000));
    for client in [&bazaar.server.client(), &bazaar.buyer, &sale.sloth] {
        let shown = client.auction(&sale.id, offered.at()).await;
        assert_eq!((&shown["second_chance"], &shown["forfeited"]), (&json!(null), &json!(true)));
        assert!(!shown.to_string().contains("2000"), "{shown}");
    }
    for client in [&bazaar.seller, &sale.third] {
        let shown = sale.seen_by(client).await;
        let expected = (&json!("Bidder 2"), &usd(2_000), &json!("open"));
        assert_eq!((&shown["bidder"], &shown["price"], &shown["status"]), expected);
    }
    for client in [&bazaar.buyer, &sale.sloth, &bazaar.seller, &bazaar.staff] {
        sale.accept(client).await.problem(404, "not-found");
    }
    sale.accept(&sale.third).await.expect(201);
    assert_eq!(sale.seen_by(&bazaar.seller).await["status"], "accepted");
}

#[tokio::test]
async fn whoever_watches_is_told_nothing_of_an_offer() {
    let sale = Forfeited::of(&auction(1_000)).await;
    let bazaar = &sale.bazaar;
    bazaar.seller.auction(&sale.id, bazaar.server.database.log_head().await).await;
    let mut socket = Socket::open(bazaar.server.address(), &format!("/api/v1/ws/auctions/{}", sale.id)).await;
    let state = socket.next().await;
    let before = state["sequence"].as_i64().unwrap();
    sale.offer(&json!({ "bidder": "Bidder 2" })).await.expect(201);
    sale.accept(&sale.third).await.expect(201);
    for (nth, kind) in [(1, "undisclosed"), (2, "second_chance_accepted")] {
        let told = socket.next().await;
        let expected = json!({ "type": kind, "sequence": before + nth, "at": told["at"] });
        assert_eq!(told, expected);
    }
    assert_eq!(sale.seen_by(&sale.third).await["bidder"], "Bidder 2");
}

#[tokio::test]
async fn an_offer_lapses_and_the_next_has_their_turn() {
    let sale = Forfeited::of(&auction(1_000)).await;
    sale.offer(&json!({ "bidder": "Bidder 3" })).await.problem(409, "no-underbidder");
    sale.offer(&json!({ "bidder": "Bidder 9" })).await.problem(409, "no-underbidder");
    let until = sale.offer(&json!({})).await.expect(201).body["until"].clone();
    let refused = sale.offer(&json!({})).await.problem(409, "second-chance-open");
    assert_eq!(refused.body["until"], until);
    sale.bazaar.wait(24 * HOUR_MS).await;
    assert_eq!(sale.seen_by(&sale.bazaar.buyer).await["status"], "lapsed");
    sale.accept(&sale.bazaar.buyer).await.problem(409, "second-chance-over");
    assert_eq!(sale.offer(&json!({})).await.expect(201).body["price"], usd(2_000));
    sale.bazaar.wait(24 * HOUR_MS).await;
    sale.offer(&json!({})).await.problem(409, "no-underbidder");
}

#[tokio::test]
async fn what_the_staff_took_away_is_nobodys_second_chance() {
    let sale = Forfeited::of(&auction(1_000)).await;
    sale.offer(&json!({})).await.expect(201);
    let away = json!({ "status": "removed", "reason": "Counterfeit." });
    let path = format!("/admin/listings/{}", sale.id);
    sale.bazaar.staff.patch(&path, &away).send().await.expect(200);
    sale.accept(&sale.bazaar.buyer).await.problem(409, "listing-removed");
    sale.bazaar.wait(24 * HOUR_MS).await;
    sale.offer(&json!({})).await.problem(409, "listing-removed");
}

#[tokio::test]
async fn a_second_chance_that_is_not_paid_is_no_violation_and_goes_on() {
    let sale = Forfeited::of(&auction(1_000)).await;
    let bazaar = &sale.bazaar;
    sale.offer(&json!({})).await.expect(201);
    sale.accept(&bazaar.buyer).await.expect(201);
    sale.offer(&json!({})).await.problem(409, "not-forfeited");
    let expired = bazaar.wait(24 * HOUR_MS).await;
    let account = bazaar.buyer.get("/auth/me").since(expired).send().await.expect(200).body;
    assert_eq!(account["violations"], 0);
    let account = sale.sloth.get("/auth/me").since(expired).send().await.expect(200).body;
    assert_eq!(account["violations"], 1);
    assert_eq!(sale.seen_by(&bazaar.buyer).await["status"], "lapsed");
    assert_eq!(sale.offer(&json!({})).await.expect(201).body["price"], usd(2_000));
    let order = sale.accept(&sale.third).await.expect(201).body["order_id"].as_str().unwrap().to_owned();
    // Nobody is bound to a second chance.
    let reason = json!({ "reason": "Found another." });
    sale.third.post(&format!("/orders/{order}/cancel"), &reason).send().await.expect(200);
    sale.offer(&json!({})).await.problem(409, "no-underbidder");
}

#[tokio::test]
async fn a_second_chance_that_is_paid_and_called_off_goes_to_the_next() {
    let sale = Forfeited::of(&auction(1_000)).await;
    let bazaar = &sale.bazaar;
    sale.offer(&json!({})).await.expect(201);
    let order = sale.accept(&bazaar.buyer).await.expect(201).body["order_id"].as_str().unwrap().to_owned();
    bazaar.buyer.tell(&order, "pay").await.expect(200);
    sale.offer(&json!({})).await.problem(409, "not-forfeited");
    let reason = json!({ "reason": "Found another." });
    bazaar.buyer.post(&format!("/orders/{order}/cancel"), &reason).send().await.expect(200);
    assert_eq!(bazaar.purses().await, (100_000, 0));
    assert_eq!(sale.seen_by(&bazaar.buyer).await["status"], "lapsed");
    sale.offer(&json!({ "bidder": "Bidder 1" })).await.problem(409, "no-underbidder");
    assert_eq!(sale.offer(&json!({})).await.expect(201).body["price"], usd(2_000));
    let order = sale.accept(&sale.third).await.expect(201).body["order_id"].as_str().unwrap().to_owned();
    sale.third.fund(10_000).await;
    sale.third.tell(&order, "pay").await.expect(200);
    bazaar.ship(&order).await.expect(200);
    sale.third.tell(&order, "confirm").await.expect(200);
    assert_eq!(bazaar.purses().await.1, 1_960);
}

#[tokio::test]
async fn nothing_is_offered_while_the_winner_may_pay_nor_below_the_reserve() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    let offer = async || bazaar.seller.post(&format!("/auctions/{id}/second-chance"), &json!({})).send().await;
    offer().await.problem(409, "auction-not-ended");
    bazaar.buyer.bid(&id, 2_000).await.expect(201);
    bazaar.wait(HOUR_MS).await;
    offer().await.problem(409, "not-forfeited");

    let sale = Forfeited::of(&with(auction(1_000), "reserve_price", usd(2_500))).await;
    sale.offer(&json!({ "bidder": "Bidder 2" })).await.problem(409, "no-underbidder");
    assert_eq!(sale.offer(&json!({})).await.expect(201).body["price"], usd(3_000));
}
