//! Cards: orders that they pay, of accounts and of guests, what the payer has to do, and what goes back to them.

use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, MINUTE_MS, order_of};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::usd;

async fn pay(client: &Client, order: &str, card: &str, key: &str) -> Answer {
    let ask = client.post(&format!("/orders/{order}/pay"), &json!({ "payment_method": card }));
    ask.key(key).send().await
}

fn is(order: &str, escrow: &str) -> (String, String) {
    (order.to_owned(), escrow.to_owned())
}

/// A marketplace, somebody without money, and what they have put into their cart for 105.00.
async fn wanted() -> (Bazaar, Client, String) {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    let listing = bazaar.offer(1).await;
    let order = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    (bazaar, poor, order)
}

#[tokio::test]
async fn a_payer_is_told_what_to_do_and_the_order_is_paid_once_it_is_done() {
    let (bazaar, poor, order) = wanted().await;
    let asked = pay(&poor, &order, "sandbox-needs-action", "once").await.expect(202);
    assert_eq!(asked.body["status"], "action_required");
    let action = asked.body["action"].clone();
    assert!(action["redirect_url"].is_string() && action["client_secret"].is_string(), "{action}");
    // It is asked for again where it was lost, and kept nowhere.
    let again = pay(&poor, &order, "sandbox-needs-action", "once").await.expect(202);
    assert_eq!((&again.body["action"], &again.body["payment_id"]), (&action, &asked.body["payment_id"]));
    let kept: i64 = sqlx::query_scalar(
        r"select (select count(*) from events where payload::text like '%\_secret%')
               + (select count(*) from command_keys where answer::text like '%\_secret%')",
    )
    .fetch_one(&mut bazaar.server.database.connect().await)
    .await
    .unwrap();
    assert_eq!(kept, 0);
    assert_eq!(bazaar.statuses(&order).await, is("placed", "awaiting_payment"));
    bazaar.wait(10_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("paid", "funded"));
    assert_eq!((bazaar.book("escrow").await, bazaar.clearing().await), (10_500, -10_500));
    pay(&poor, &order, "sandbox-succeeds", "late").await.problem(409, "already-paid");
}

#[tokio::test]
async fn whoever_leaves_one_card_alone_may_try_another_and_not_for_ever() {
    let (bazaar, poor, order) = wanted().await;
    pay(&poor, &order, "sandbox-abandons", "1").await.expect(202);
    pay(&poor, &order, "sandbox-declines", "2").await.expect(202);
    assert_eq!(bazaar.statuses(&order).await.0, "placed");
    pay(&poor, &order, "sandbox-delays", "3").await.expect(202);
    // The provider is asked already.
    pay(&poor, &order, "sandbox-succeeds", "4").await.problem(409, "payment-under-way");
    bazaar.wait(10_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("paid", "funded"));
    assert_eq!(bazaar.clearing().await, -10_500, "the first card has paid nothing");

    let (bazaar, poor, order) = wanted().await;
    for attempt in 0..10 {
        pay(&poor, &order, "sandbox-declines", &attempt.to_string()).await.expect(202);
    }
    let refused = pay(&poor, &order, "sandbox-succeeds", "more").await.problem(409, "too-many-payments");
    assert_eq!(refused.body["maximum"], 10);
    assert_eq!(bazaar.clearing().await, 0);
}

#[tokio::test]
async fn what_comes_too_late_goes_back_by_itself() {
    let (bazaar, poor, order) = wanted().await;
    bazaar.wait(15 * MINUTE_MS - 1_000).await;
    pay(&poor, &order, "sandbox-delays", "late").await.expect(202);
    bazaar.wait(2_000).await;
    assert_eq!(bazaar.statuses(&order).await, is("cancelled", "voided"));
    // It comes eight seconds later, and takes ten to go back.
    bazaar.wait(8_000).await;
    assert_eq!((bazaar.book("unapplied").await, bazaar.clearing().await), (10_500, -10_500));
    let over = bazaar.wait(10_000).await;
    assert_eq!((bazaar.book("unapplied").await, bazaar.clearing().await), (0, 0));
    assert_eq!(poor.available(over).await, 0);
}

#[tokio::test]
async fn what_the_buyer_has_paid_otherwise_meanwhile_goes_back_too() {
    let (bazaar, poor, order) = wanted().await;
    poor.fund(20_000).await;
    pay(&poor, &order, "sandbox-delays", "slow").await.expect(202);
    poor.tell(&order, "pay").await.expect(200);
    let over = bazaar.wait(25_000).await;
    assert_eq!((bazaar.book("unapplied").await, bazaar.book("escrow").await), (0, 10_500));
    assert_eq!(bazaar.clearing().await, -20_000);
    assert_eq!(poor.available(over).await, 9_500);
}

#[tokio::test]
async fn what_the_provider_keeps_is_an_expense() {
    let (bazaar, poor, order) = wanted().await;
    pay(&poor, &order, "sandbox-fees", "fees").await.expect(202);
    // 2.9 % of 105.00, rounded half-up.
    assert_eq!(bazaar.book("provider-fee-expense").await, -305);
    assert_eq!((bazaar.book("escrow").await, bazaar.clearing().await), (10_500, -10_195));
    poor.deposit(10_000, "sandbox-fees").await.expect(202);
    assert_eq!(bazaar.book("provider-fee-expense").await, -305 - 290);
}

#[tokio::test]
async fn what_an_account_has_paid_by_card_comes_back_to_its_wallet() {
    let (bazaar, poor, order) = wanted().await;
    pay(&poor, &order, "sandbox-succeeds", "card").await.expect(202);
    bazaar.wait(0).await;
    bazaar.seller.tell(&order, "refund").await.expect(200);
    assert_eq!(bazaar.statuses(&order).await, is("refunded", "refunded"));
    assert_eq!(poor.available(bazaar.wait(0).await).await, 10_500);
    assert_eq!((bazaar.book("refund-pending").await, bazaar.clearing().await), (0, -10_500));
}

#[tokio::test]
async fn a_deposit_may_take_something_to_be_done_first() {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    let asked = poor.deposit(5_000, "sandbox-needs-action").await.expect(202);
    assert_eq!((&asked.body["status"], &asked.body["available"]), (&json!("action_required"), &usd(0)));
    assert!(asked.body["action"]["client_secret"].is_string());
    assert_eq!(poor.available(bazaar.wait(10_000).await).await, 5_000);
    poor.deposit(5_000, "sandbox-abandons").await.expect(202);
    let over = bazaar.wait(10_000).await;
    assert_eq!(poor.available(over).await, 5_000);
    let page = poor.get("/payments/transactions?kind=deposit").since(over).send().await.expect(200).body;
    assert_eq!(page["items"][0]["status"], "failed");
}

/// What a guest sends who pays by card.
fn by_card(listing: &str, card: &str) -> Value {
    json!({
        "name": "Canary Lee", "phone": "+92 300 1234567", "confirmation": "whatsapp",
        "address": { "line1": "12 Canary Road", "city": "Lahore", "country": "PK" },
        "payment": "card", "payment_method": card,
        "lines": [{ "listing_id": listing, "quantity": 1 }],
    })
}

/// A guest at a store that offers so many pieces.
struct Guest {
    bazaar: Bazaar,
    nobody: Client,
    listing: String,
}

impl Guest {
    async fn at_a_store_that_takes(payment: &str) -> Self {
        let bazaar = Bazaar::open().await;
        let about = json!({ "slug": "corner", "brand_name": "Corner", "payment_preference": payment });
        let opened = bazaar.seller.ask(&Method::PUT, "/api/v1/merchant/me").json(&about).send().await;
        assert!(opened.status < 300, "{}", opened.text);
        let listing = bazaar.offer(4).await;
        let nobody = bazaar.server.client();
        Self { bazaar, nobody, listing }
    }

    async fn order(&self, card: &str) -> Answer {
        self.nobody.post("/store/corner/orders", &by_card(&self.listing, card)).send().await
    }

    async fn buy(&self, card: &str) -> (String, String) {
        let placed = self.order(card).await.expect(201);
        let text = |name: &str| placed.body[name].as_str().unwrap().to_owned();
        (text("order_id"), text("claim_token"))
    }

    async fn ask(&self, token: &str, what: &str, body: &Value) -> Answer {
        self.nobody.post(&format!("/guest/orders/{token}/{what}"), body).send().await
    }

    async fn status(&self, token: &str) -> String {
        let now = self.bazaar.wait(0).await;
        let shown = self.nobody.get(&format!("/guest/orders/{token}")).since(now).send().await.expect(200).body;
        shown["status"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_guest_pays_by_card_and_says_that_it_has_come() {
    let guest = Guest::at_a_store_that_takes("card").await;
    let bazaar = &guest.bazaar;
    let mut in_cash = by_card(&guest.listing, "sandbox-succeeds");
    in_cash["payment"] = json!("cash_on_delivery");
    guest.nobody.post("/store/corner/orders", &in_cash).send().await.problem(422, "invalid-field");
    let placed = guest.order("sandbox-succeeds").await.expect(201);
    assert_eq!((&placed.body["total"], &placed.body["payment"]["status"]), (&usd(10_500), &json!("pending")));
    assert!(placed.body["pay_by"].is_string() && placed.body["confirm_by"].is_null());
    let (order, token) = (placed.body["order_id"].as_str().unwrap(), placed.body["claim_token"].as_str().unwrap());
    assert_eq!(guest.status(token).await, "paid");
    assert_eq!((bazaar.book("escrow").await, bazaar.clearing().await), (10_500, -10_500));
    bazaar.ship(order).await.expect(200);
    guest.ask("no-token-at-all", "confirm", &json!({})).await.problem(404, "not-found");
    let released = guest.ask(token, "confirm", &json!({})).await.expect(200);
    assert_eq!((&released.body["status"], &released.body["escrow"]), (&json!("completed"), &json!("released")));
    // Of 105.00 less 2 %.
    assert_eq!(bazaar.purses().await.1, 10_290);
    assert_eq!((bazaar.book("escrow").await, bazaar.book("fee-income").await), (0, 210));
    // Who it was is forgotten as after any guest's order.
    let now = bazaar.wait(180 * DAY_MS).await;
    let shown = guest.nobody.get(&format!("/guest/orders/{token}")).since(now).send().await.expect(200).body;
    assert_eq!((&shown["guest"], &shown["ship_to"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn a_guest_whose_card_is_declined_may_try_another_within_fifteen_minutes() {
    let guest = Guest::at_a_store_that_takes("any").await;
    let (_, token) = guest.buy("sandbox-declines").await;
    assert_eq!(guest.status(&token).await, "placed");
    let asked = guest.ask(&token, "pay", &json!({ "payment_method": "sandbox-needs-action" })).await.expect(202);
    assert_eq!(asked.body["status"], "action_required");
    guest.bazaar.wait(10_000).await;
    assert_eq!(guest.status(&token).await, "paid");
    let (_, late) = guest.buy("sandbox-declines").await;
    guest.bazaar.wait(15 * MINUTE_MS).await;
    assert_eq!(guest.status(&late).await, "cancelled");
    let again = guest.ask(&late, "pay", &json!({ "payment_method": "sandbox-succeeds" })).await;
    again.problem(409, "payment-overdue");
    guest.ask(&late, "pay", &json!({ "payment_method": "no-such-card" })).await.problem(422, "invalid-field");
}

#[tokio::test]
async fn what_a_guest_has_paid_goes_back_to_the_card() {
    let guest = Guest::at_a_store_that_takes("any").await;
    let bazaar = &guest.bazaar;
    let (order, token) = guest.buy("sandbox-succeeds").await;
    bazaar.wait(0).await;
    let part = json!({ "amount": usd(500) });
    bazaar.seller.post(&format!("/orders/{order}/refund"), &part).send().await.expect(200);
    assert_eq!((bazaar.book("escrow").await, bazaar.clearing().await), (10_000, -10_000));
    // After the release the seller gives it, and the marketplace its fee.
    bazaar.ship(&order).await.expect(200);
    guest.ask(&token, "confirm", &json!({})).await.expect(200);
    bazaar.seller.tell(&order, "refund").await.expect(200);
    assert_eq!(guest.status(&token).await, "refunded");
    assert_eq!(bazaar.clearing().await, 0);
    for kind in ["escrow", "refund-pending", "fee-income", "receivable"] {
        assert_eq!(bazaar.book(kind).await, 0, "{kind}");
    }
}

#[tokio::test]
async fn what_a_card_does_not_take_back_is_tried_again_and_stays_the_payers() {
    let guest = Guest::at_a_store_that_takes("any").await;
    let bazaar = &guest.bazaar;
    let (order, token) = guest.buy("sandbox-keeps-refunds").await;
    bazaar.wait(0).await;
    bazaar.seller.tell(&order, "refund").await.expect(200);
    assert_eq!(guest.status(&token).await, "refunded");
    assert_eq!(bazaar.book("refund-pending").await, 10_500);
    let tried = bazaar.wait(3 * DAY_MS).await;
    assert_eq!(bazaar.book("refund-pending").await, 10_500);
    assert_eq!(bazaar.wait(3 * DAY_MS).await, tried, "it is not tried for ever");
}

#[tokio::test]
async fn a_guest_disputes_and_staff_decides() {
    let guest = Guest::at_a_store_that_takes("any").await;
    let bazaar = &guest.bazaar;
    let (order, token) = guest.buy("sandbox-succeeds").await;
    bazaar.wait(0).await;
    bazaar.ship(&order).await.expect(200);
    guest.ask(&token, "dispute", &json!({ "reason": "It is not what was shown." })).await.expect(200);
    let split = json!({ "outcome": "split", "to_buyer": usd(4_000) });
    bazaar.resolve(&order, &split).await.expect(200);
    assert_eq!((bazaar.clearing().await, bazaar.book("refund-pending").await), (-6_500, 0));
    assert_eq!(bazaar.purses().await.1, 6_500 - 130);
}

#[tokio::test]
async fn what_a_bank_takes_back_comes_out_of_the_escrow_which_waits() {
    let (bazaar, poor, order) = wanted().await;
    pay(&poor, &order, "sandbox-disputes", "card").await.expect(202);
    assert_eq!(bazaar.statuses(&order).await, is("paid", "charged_back"));
    assert_eq!((bazaar.book("escrow").await, bazaar.clearing().await), (0, 0));
    bazaar.ship(&order).await.problem(409, "wrong-escrow-status");
    bazaar.seller.tell(&order, "refund").await.problem(409, "wrong-escrow-status");
    // No clock runs meanwhile.
    bazaar.wait(60 * DAY_MS).await;
    assert_eq!(bazaar.statuses(&order).await, is("paid", "charged_back"));
}

#[tokio::test]
async fn what_a_bank_takes_back_of_a_deposit_comes_out_of_the_wallet() {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    poor.fund(1_000).await;
    poor.deposit(5_000, "sandbox-disputes").await.expect(202);
    let over = bazaar.wait(0).await;
    assert_eq!(poor.available(over).await, 1_000);
    let page = poor.get("/payments/transactions?kind=chargeback_given").since(over).send().await.expect(200).body;
    assert_eq!((&page["items"][0]["amount"], &page["items"][0]["status"]), (&usd(-5_000), &json!("succeeded")));
    assert_eq!((bazaar.clearing().await, bazaar.book("receivable").await), (-1_000, 0));
}
