//! Where the money of an order is: as its buyer, its seller, staff and a guest are told.

use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of};
use tradepost_tests::client::Client;
use tradepost_tests::market::usd;

/// What somebody is told of an order, once everything up to now shows.
async fn told(bazaar: &Bazaar, client: &Client, order: &str) -> Value {
    let now = bazaar.wait(0).await;
    client.get(&format!("/orders/{order}/money")).since(now).send().await.expect(200).body
}

/// The kinds of what has happened.
fn kinds(told: &Value) -> Vec<&str> {
    told["history"].as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap()).collect()
}

/// The last thing that has happened.
fn last(told: &Value) -> &Value {
    told["history"].as_array().unwrap().last().unwrap()
}

/// What was paid is all somewhere.
fn assert_adds_up(told: &Value) {
    let of = |name: &str| told[name]["amount"].as_i64().unwrap();
    let somewhere = ["held", "at_bank", "refunded", "paid_out", "fee"].map(of);
    assert_eq!(of("paid"), somewhere.iter().sum::<i64>(), "{told}");
}

#[tokio::test]
async fn each_side_is_told_where_the_money_is_what_has_happened_and_what_comes_next() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    let buyer = told(&bazaar, &bazaar.buyer, &order).await;
    assert_eq!((&buyer["place"], &buyer["told_to"], &buyer["held"]), (&json!("escrow"), &json!("buyer"), &usd(10_500)));
    assert_eq!(buyer["words"], "We keep 105.00 USD of yours until the order is over.");
    assert_eq!(buyer["next"]["what"], "shipping_due");
    let escrow = bazaar.buyer.get(&format!("/escrow/{order}")).send().await.expect(200).body;
    assert_eq!(buyer["next"]["at"], escrow["ship_by"]);
    bazaar.ship(&order).await.expect(200);
    assert_eq!(told(&bazaar, &bazaar.buyer, &order).await["next"]["what"], "delivery_asked");
    bazaar.buyer.tell(&order, "deliver").await.expect(200);
    let seller = told(&bazaar, &bazaar.seller, &order).await;
    assert_eq!(seller["next"]["words"], "You are paid, unless the buyer opens a dispute before.");
    bazaar.buyer.tell(&order, "confirm").await.expect(200);

    let expected = ["placed", "paid", "shipped", "delivered", "inspection_started", "released"];
    let buyer = told(&bazaar, &bazaar.buyer, &order).await;
    assert_eq!((kinds(&buyer), &buyer["place"], &buyer["next"]), (expected.to_vec(), &json!("seller"), &Value::Null));
    assert_eq!((&buyer["fee"], &buyer["paid_out"], &last(&buyer)["fee"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(last(&buyer)["postings"], Value::Null);
    let seller = told(&bazaar, &bazaar.seller, &order).await;
    assert_eq!((&seller["fee"], &seller["paid_out"], &seller["from_points"]), (&usd(210), &usd(10_290), &Value::Null));
    let words = "You got 102.90 USD of 105.00 USD, less a fee of 2.10 USD, since the buyer was content.";
    assert_eq!(last(&seller)["words"], words);
    let staff = told(&bazaar, &bazaar.staff, &order).await;
    assert_adds_up(&staff);
    let postings = last(&staff)["postings"].as_array().unwrap();
    assert_eq!(postings.len(), 2);
    assert_eq!((&postings[1]["from"]["kind"], &postings[1]["to"]["kind"]), (&json!("escrow"), &json!("fee-income")));
    assert_eq!(postings[1]["amount"], usd(210));

    let path = format!("/orders/{order}/money");
    let stranger = bazaar.server.client().register("stranger").await;
    stranger.get(&path).send().await.problem(404, "not-found");
    bazaar.server.client().get(&path).send().await.problem(401, "unauthenticated");
    let nothing = format!("/orders/{}/money", eventstore::mint::id());
    bazaar.staff.get(&nothing).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn what_is_not_paid_in_time_was_never_anywhere_else() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(1).await;
    let order = order_of(&bazaar.buyer.check_out(&[(&listing, 1)], "later").await.expect(201));
    let waiting = told(&bazaar, &bazaar.seller, &order).await;
    assert_eq!((&waiting["place"], &waiting["next"]["what"]), (&json!("unpaid"), &json!("payment_due")));
    let shown = bazaar.seller.get(&format!("/orders/{order}")).send().await.expect(200).body;
    assert_eq!(waiting["next"]["at"], shown["pay_by"]);
    bazaar.wait(DAY_MS).await;
    let over = told(&bazaar, &bazaar.buyer, &order).await;
    assert_eq!((&over["place"], &over["paid"], &over["next"]), (&json!("called_off"), &usd(0), &Value::Null));
    assert_eq!(last(&over)["words"], "The order was called off, since it was not paid in time.");
}

#[tokio::test]
async fn parts_that_go_back_and_disputes_are_told_to_the_cent() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    let refund = async |cents: i64| {
        bazaar
            .seller
            .post(&format!("/orders/{order}/refund"), &json!({ "amount": usd(cents) }))
            .send()
            .await
            .expect(200)
    };
    refund(500).await;
    let part = told(&bazaar, &bazaar.buyer, &order).await;
    assert_eq!((&part["held"], &part["refunded"], &part["place"]), (&usd(10_000), &usd(500), &json!("escrow")));
    bazaar.dispute(&order).await.expect(200);
    let frozen = told(&bazaar, &bazaar.seller, &order).await;
    assert_eq!((&frozen["place"], &frozen["next"]["what"]), (&json!("frozen"), &json!("dispute_refunded")));
    assert_eq!(last(&frozen)["words"], "A dispute was opened by the buyer: the money stays where it is.");
    let split = json!({ "outcome": "split", "to_buyer": usd(4_000) });
    bazaar.resolve(&order, &split).await.expect(200);
    let divided = told(&bazaar, &bazaar.staff, &order).await;
    assert_adds_up(&divided);
    assert_eq!((&divided["place"], &divided["refunded"], &divided["held"]), (&json!("divided"), &usd(4_500), &usd(0)));
}

#[tokio::test]
async fn what_goes_back_after_the_release_is_told_until_all_of_it_is_with_the_buyer() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.complete().await;
    bazaar.seller.post(&format!("/orders/{order}/refund"), &json!({ "amount": usd(500) })).send().await.expect(200);
    let part = told(&bazaar, &bazaar.staff, &order).await;
    assert_adds_up(&part);
    assert_eq!((&part["place"], &part["refunded"], &part["fee"]), (&json!("seller"), &usd(500), &usd(200)));
    assert_eq!((&last(&part)["kind"], &last(&part)["fee"]), (&json!("refunded_after_release"), &usd(10)));
    bazaar.seller.tell(&order, "refund").await.expect(200);
    let all = told(&bazaar, &bazaar.staff, &order).await;
    assert_adds_up(&all);
    assert_eq!((&all["place"], &all["refunded"], &all["fee"]), (&json!("buyer"), &usd(10_500), &usd(0)));
}

#[tokio::test]
async fn a_guest_is_told_by_the_claim_token_that_the_money_stays_at_the_door() {
    let bazaar = Bazaar::open().await;
    let about = json!({ "slug": "corner", "brand_name": "Corner" });
    bazaar.seller.put("/merchant/me", &about).send().await.expect(201);
    let listing = bazaar.offer(1).await;
    let nobody = bazaar.server.client();
    let order = json!({
        "name": "Canary Lee", "phone": "+92 300 1234567", "confirmation": "whatsapp",
        "address": { "line1": "12 Canary Road", "city": "Lahore", "country": "PK" },
        "lines": [{ "listing_id": listing, "quantity": 1 }],
    });
    let placed = nobody.post("/store/corner/orders", &order).send().await.expect(201);
    let path = format!("/guest/orders/{}/money", placed.body["claim_token"].as_str().unwrap());
    let shown = nobody.get(&path).since(placed.at()).send().await.expect(200);
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(
        (&shown.body["place"], &shown.body["words"]),
        (&json!("door"), &json!("With you: you pay 105.00 USD when it is brought."))
    );
    assert_eq!(
        (&shown.body["next"]["what"], &shown.body["next"]["at"]),
        (&json!("confirmation_due"), &placed.body["confirm_by"])
    );
    assert!(!shown.text.contains("Canary"), "{}", shown.text);
    let id = placed.body["order_id"].as_str().unwrap();
    bazaar.seller.post(&format!("/merchant/orders/{id}/confirm"), &json!({})).send().await.expect(200);
    bazaar.ship(id).await.expect(200);
    let delivered = bazaar.seller.tell(id, "deliver").await.expect(200);
    let shown = nobody.get(&path).since(delivered.at()).send().await.expect(200).body;
    assert_eq!((&shown["place"], &shown["paid"]), (&json!("paid_at_door"), &usd(0)));
    assert_eq!(kinds(&shown), ["placed", "confirmed", "shipped", "delivered", "paid_at_door"]);
    nobody.get("/guest/orders/no-such-token/money").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn how_somebody_pays_by_card_is_told_to_them_and_staff_alone() {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    let listing = bazaar.offer(1).await;
    let order = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    let pay = async |card: &str| {
        poor.post(&format!("/orders/{order}/pay"), &json!({ "payment_method": card })).send().await.expect(202)
    };
    pay("sandbox-declines").await;
    bazaar.wait(0).await;
    pay("sandbox-needs-action").await;
    bazaar.wait(10_000).await;
    let own = told(&bazaar, &poor, &order).await;
    let expected = ["placed", "card_asked", "card_declined", "card_asked", "card_action_needed", "paid"];
    assert_eq!((kinds(&own), &own["place"]), (expected.to_vec(), &json!("escrow")));
    assert_eq!(kinds(&told(&bazaar, &bazaar.staff, &order).await), expected);
    assert_eq!(kinds(&told(&bazaar, &bazaar.seller, &order).await), ["placed", "paid"]);
}

#[tokio::test]
async fn what_a_card_pays_too_late_is_told_on_its_way_back() {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    let listing = bazaar.offer(1).await;
    let order = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    bazaar.wait(15 * 60_000 - 1_000).await;
    let body = json!({ "payment_method": "sandbox-delays" });
    poor.post(&format!("/orders/{order}/pay"), &body).send().await.expect(202);
    for _ in 0..3 {
        bazaar.wait(10_000).await;
    }
    let own = told(&bazaar, &poor, &order).await;
    let expected = ["placed", "card_asked", "called_off", "card_too_late", "card_refund_sent", "card_refunded"];
    assert_eq!((kinds(&own), &own["place"], &own["paid"]), (expected.to_vec(), &json!("called_off"), &usd(0)));
    assert_eq!(last(&own)["words"], "105.00 USD is back at the card.");
    let staff = told(&bazaar, &bazaar.staff, &order).await;
    let posting = &last(&staff)["postings"][0];
    assert_eq!((&posting["from"]["kind"], &posting["to"]["kind"]), (&json!("unapplied"), &json!("provider-clearing")));
}

#[tokio::test]
async fn what_a_bank_has_taken_out_of_an_escrow_is_told_to_everybody() {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    let listing = bazaar.offer(1).await;
    let order = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    let body = json!({ "payment_method": "sandbox-disputes" });
    poor.post(&format!("/orders/{order}/pay"), &body).send().await.expect(202);
    let seller = told(&bazaar, &bazaar.seller, &order).await;
    assert_eq!((&seller["place"], &seller["at_bank"], &seller["next"]), (&json!("bank"), &usd(10_500), &Value::Null));
    assert_eq!(seller["words"], "The buyer's bank took 105.00 USD back until it has decided.");
    assert_eq!(last(&seller)["kind"], "charged_back");
}
