//! Guests order at a store without an account, and pay at the door. Those who pay by card are in [`super::cards`].

use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::Answer;
use tradepost_tests::market::{listing, usd, with};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What a guest sends for so many pieces.
fn order(listing: &str, quantity: u32) -> Value {
    json!({
        "name": "Canary Lee", "phone": "+92 300 1234567", "confirmation": "whatsapp",
        "address": { "line1": "12 Canary Road", "city": "Lahore", "country": "PK" },
        "lines": [{ "listing_id": listing, "quantity": quantity }],
    })
}

/// A marketplace whose seller has a store, and offers so many pieces at 100.00 and 5.00 for sending each.
async fn store(stock: u32) -> (Bazaar, String) {
    let bazaar = Bazaar::open().await;
    let about = json!({ "slug": "corner", "brand_name": "Corner" });
    let opened = bazaar.seller.ask(&Method::PUT, "/api/v1/merchant/me").json(&about).send().await;
    assert!(opened.status < 300, "{}", opened.text);
    let listing = bazaar.offer(stock).await;
    (bazaar, listing)
}

async fn place(bazaar: &Bazaar, body: &Value) -> Answer {
    bazaar.server.client().post("/store/corner/orders", body).send().await
}

fn id_of(placed: &Answer) -> String {
    placed.body["order_id"].as_str().unwrap().to_owned()
}

async fn confirm(bazaar: &Bazaar, order: &str) -> Answer {
    bazaar.seller.post(&format!("/merchant/orders/{order}/confirm"), &json!({})).send().await
}

/// How many pieces anybody may buy.
async fn free(bazaar: &Bazaar, listing: &str) -> i64 {
    let now = bazaar.wait(0).await;
    let shown = bazaar.seller.get(&format!("/listings/{listing}")).since(now).send().await.expect(200).body;
    shown["stock"].as_i64().unwrap_or_else(|| panic!("{shown}"))
}

#[tokio::test]
async fn a_guest_orders_is_asked_and_pays_at_the_door() {
    let (bazaar, listing) = store(3).await;
    let placed = place(&bazaar, &order(&listing, 2)).await.expect(201);
    assert_eq!(placed.body["total"], usd(21_000));
    let (id, token) = (id_of(&placed), placed.body["claim_token"].as_str().unwrap().to_owned());
    assert_eq!(placed.header("location"), Some(&*format!("/api/v1/guest/orders/{token}")));
    assert_eq!(free(&bazaar, &listing).await, 1);
    let ship = json!({ "carrier": "Courier" });
    bazaar.seller.post(&format!("/orders/{id}/ship"), &ship).send().await.problem(409, "wrong-order-status");
    confirm(&bazaar, &id).await.expect(200);
    confirm(&bazaar, &id).await.expect(200);
    bazaar.seller.post(&format!("/orders/{id}/ship"), &ship).send().await.expect(200);
    let delivered = bazaar.seller.tell(&id, "deliver").await.expect(200);
    assert_eq!((&delivered.body["status"], &delivered.body["escrow"]), (&json!("completed"), &json!("none")));
    let nobody = bazaar.server.client();
    let shown = nobody.get(&format!("/guest/orders/{token}")).since(delivered.at()).send().await.expect(200).body;
    let expected = [
        ("status", json!("completed")),
        ("origin", json!("storefront")),
        ("payment", json!("cash_on_delivery")),
        ("total", usd(21_000)),
    ];
    for (field, value) in expected {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!((&shown["guest"]["name"], &shown["ship_to"]["line1"]), (&json!("Canary Lee"), &json!("12 Canary Road")));
    // Money and fees are none of the marketplace's.
    assert_eq!((bazaar.purses().await.1, bazaar.book("escrow").await, bazaar.book("fee-income").await), (0, 0, 0));
    assert_eq!(free(&bazaar, &listing).await, 1);
    nobody.get(&format!("/escrow/{id}")).send().await.problem(401, "unauthenticated");
    bazaar.seller.get(&format!("/escrow/{id}")).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn what_is_not_confirmed_in_time_frees_its_pieces() {
    let (bazaar, listing) = store(1).await;
    let placed = place(&bazaar, &order(&listing, 1)).await.expect(201);
    place(&bazaar, &order(&listing, 1)).await.problem(409, "out-of-stock");
    bazaar.wait(48 * HOUR_MS).await;
    confirm(&bazaar, &id_of(&placed)).await.problem(409, "wrong-order-status");
    let token = placed.body["claim_token"].as_str().unwrap();
    let now = bazaar.wait(0).await;
    let shown = bazaar.server.client().get(&format!("/guest/orders/{token}")).since(now).send().await.expect(200).body;
    assert_eq!((&shown["status"], &shown["cancelled_by"]), (&json!("cancelled"), &json!("not_confirmed")));
    assert_eq!(free(&bazaar, &listing).await, 1);
    // Who it was is forgotten a week after, as is what was called off.
    assert_eq!(shown["guest"]["name"], "Canary Lee");
    let now = bazaar.wait(7 * DAY_MS).await;
    let shown = bazaar.server.client().get(&format!("/guest/orders/{token}")).since(now).send().await.expect(200).body;
    assert_eq!((&shown["guest"], &shown["ship_to"]), (&json!(null), &json!(null)));
    assert_eq!(keys_of(&bazaar, &shown).await, 0);
}

#[tokio::test]
async fn what_is_not_sent_in_time_frees_its_pieces_and_what_nobody_says_was_brought_is_over() {
    let (bazaar, listing) = store(4).await;
    let placed = [place(&bazaar, &order(&listing, 1)).await, place(&bazaar, &order(&listing, 1)).await];
    let [kept, sent] = placed.map(|placed| {
        let placed = placed.expect(201);
        (id_of(&placed), placed.body["claim_token"].as_str().unwrap().to_owned())
    });
    for (id, _) in [&kept, &sent] {
        confirm(&bazaar, id).await.expect(200);
    }
    bazaar.ship(&sent.0).await.expect(200);
    let shown = async |now: i64, token: &str| {
        let path = format!("/guest/orders/{token}");
        bazaar.server.client().get(&path).since(now).send().await.expect(200).body
    };
    // 48 hours to confirm, 14 days to send.
    let now = bazaar.wait(16 * DAY_MS - HOUR_MS).await;
    assert_eq!(shown(now, &kept.1).await["status"], "confirmed");
    assert_eq!(free(&bazaar, &listing).await, 2);
    let now = bazaar.wait(HOUR_MS).await;
    let late = shown(now, &kept.1).await;
    assert_eq!((&late["status"], &late["cancelled_by"]), (&json!("cancelled"), &json!("not_shipped")));
    assert_eq!(shown(now, &sent.1).await["status"], "shipped");
    assert_eq!(free(&bazaar, &listing).await, 3);
    // And 45 to bring it. Where what was sent is, the seller knows, and counts it.
    let now = bazaar.wait(45 * DAY_MS).await;
    let lost = shown(now, &sent.1).await;
    assert_eq!((&lost["status"], &lost["cancelled_by"]), (&json!("cancelled"), &json!("not_delivered")));
    assert_eq!(free(&bazaar, &listing).await, 3);
    bazaar.seller.tell(&sent.0, "deliver").await.problem(409, "wrong-order-status");
    let now = bazaar.wait(7 * DAY_MS).await;
    for (_, token) in [&kept, &sent] {
        let forgotten = shown(now, token).await;
        assert_eq!((&forgotten["guest"], &forgotten["ship_to"]), (&json!(null), &json!(null)));
        assert_eq!(keys_of(&bazaar, &forgotten).await, 0);
    }
}

#[tokio::test]
async fn a_seller_calls_it_off_before_it_is_sent_or_when_nobody_wants_it() {
    let (bazaar, listing) = store(3).await;
    let reason = json!({ "reason": "Nobody was there." });
    let cancel = async |id: &str| bazaar.seller.post(&format!("/orders/{id}/cancel"), &reason).send().await;
    let ordered = async || id_of(&place(&bazaar, &order(&listing, 1)).await.expect(201));
    let (confirmed, sent) = (ordered().await, ordered().await);
    for id in [&confirmed, &sent] {
        confirm(&bazaar, id).await.expect(200);
    }
    let waiting = ordered().await;
    bazaar.ship(&sent).await.expect(200);
    assert_eq!(free(&bazaar, &listing).await, 0);
    for (id, left) in [(&waiting, 1), (&confirmed, 2), (&sent, 2)] {
        cancel(id).await.expect(200);
        assert_eq!(free(&bazaar, &listing).await, left);
    }
    assert_eq!(bazaar.book("escrow").await, 0);
}

#[tokio::test]
async fn only_the_seller_sees_who_a_guest_is_and_nothing_of_it_is_kept_for_ever() {
    let (bazaar, listing) = store(2).await;
    let placed = place(&bazaar, &order(&listing, 1)).await.expect(201);
    let id = id_of(&placed);
    let mine = bazaar.seller.get("/orders?as=seller").since(placed.at()).send().await.expect(200).body;
    assert_eq!(mine["items"][0]["guest"]["phone"], "+92 300 1234567");
    assert_eq!(mine["items"][0]["guest"]["confirmation"], "whatsapp");
    bazaar.buyer.get(&format!("/orders/{id}")).send().await.problem(404, "not-found");
    let other = bazaar.server.client().register_seller("other").await;
    other.post(&format!("/merchant/orders/{id}/confirm"), &json!({})).send().await.problem(404, "not-found");
    confirm(&bazaar, &id).await.expect(200);
    bazaar.ship(&id).await.expect(200);
    // While it is on its way, whom to bring it to is known.
    let seen_at = async |now: i64| bazaar.seller.get(&format!("/orders/{id}")).since(now).send().await.expect(200);
    assert_eq!(seen_at(bazaar.wait(60 * DAY_MS).await).await.body["guest"]["name"], "Canary Lee");
    bazaar.seller.tell(&id, "deliver").await.expect(200);
    assert_eq!(seen_at(bazaar.wait(180 * DAY_MS - HOUR_MS).await).await.body["guest"]["name"], "Canary Lee");
    // Neither a table nor the log tells it in clear, and in the end nobody can read it.
    let shown = seen_at(bazaar.wait(HOUR_MS).await).await;
    assert_eq!((&shown.body["guest"], &shown.body["ship_to"]), (&json!(null), &json!(null)));
    assert!(!shown.text.contains("Canary"), "{}", shown.text);
    assert_eq!(keys_of(&bazaar, &shown.body).await, 0);
}

/// How many keys there are of who bought this.
async fn keys_of(bazaar: &Bazaar, order: &Value) -> i64 {
    sqlx::query_scalar("select count(*) from person_keys where account_id = $1::uuid")
        .bind(order["buyer_id"].as_str().unwrap())
        .fetch_one(&mut bazaar.server.database.connect().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn guests_whom_nobody_has_asked_keep_half_of_what_there_is() {
    let (bazaar, listing) = store(50).await;
    // However many they are, and whatever phones they give.
    let stranger = |number: u32| with(order(&listing, 10), "phone", json!(format!("+92 300 {number:07}")));
    for number in 0..2 {
        place(&bazaar, &stranger(number)).await.expect(201);
    }
    let refused = place(&bazaar, &stranger(2)).await.problem(409, "held-for-guests");
    assert_eq!((&refused.body["available"], &refused.body["requested"]), (&json!(5), &json!(10)));
    let last = id_of(&place(&bazaar, &order(&listing, 5)).await.expect(201));
    place(&bazaar, &order(&listing, 1)).await.problem(409, "held-for-guests");
    assert_eq!(free(&bazaar, &listing).await, 25);
    bazaar.buyer.fund(1_000_000).await;
    bazaar.buyer.check_out(&[(&listing, 20)], "now").await.expect(201);
    // Whoever was asked counts no more.
    confirm(&bazaar, &last).await.expect(200);
    place(&bazaar, &order(&listing, 1)).await.problem(409, "held-for-guests");
    bazaar.wait(48 * HOUR_MS).await;
    place(&bazaar, &order(&listing, 12)).await.expect(201);
    let much = place(&bazaar, &order(&listing, 21)).await.problem(422, "quantity-out-of-range");
    assert_eq!((&much.body["maximum"], &much.body["offered"]), (&json!(20), &json!(21)));
    let many = vec![json!({ "listing_id": listing, "quantity": 1 }); 21];
    place(&bazaar, &with(order(&listing, 1), "lines", json!(many))).await.problem(422, "invalid-field");
}

#[tokio::test]
async fn nobody_finds_a_guest_again_by_trying_phones() {
    let (bazaar, listing) = store(5).await;
    let body = order(&listing, 1);
    let ask = bazaar.server.client().post("/store/corner/orders", &body).key("one");
    ask.send().await.expect(201);
    let (path, phone) = ("/api/v1/store/corner/orders", body["phone"].as_str().unwrap());
    // As it would be without a secret: over everything that somebody could try who knows the rest.
    let scope = format!("guest {:?}", ["corner", phone]);
    let tried = commands::CommandKey::from_client(&scope, "one", &["POST", path, &body.to_string()]);
    let kept: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as("select key, fingerprint from command_keys")
        .fetch_all(&mut bazaar.server.database.connect().await)
        .await
        .unwrap();
    assert!(!kept.is_empty());
    for (key, fingerprint) in kept {
        assert!(key != tried.key && fingerprint != tried.fingerprint);
    }
}

#[tokio::test]
async fn a_guest_who_asks_again_has_the_same_order_and_no_other_guest_has_it() {
    let (bazaar, listing) = store(5).await;
    let ask = async |body: &Value| bazaar.server.client().post("/store/corner/orders", body).key("one").send().await;
    let first = ask(&order(&listing, 1)).await.expect(201);
    let again = ask(&order(&listing, 1)).await.expect(201);
    assert_eq!(first.body, again.body);
    ask(&order(&listing, 2)).await.problem(422, "idempotency-key-reused");
    let other = ask(&with(order(&listing, 1), "phone", "+92 300 7654321")).await.expect(201);
    assert_ne!(first.body["order_id"], other.body["order_id"]);
    assert_eq!(free(&bazaar, &listing).await, 3);
    let kept: Vec<String> = sqlx::query_scalar("select to_json(k)::text from command_keys k")
        .fetch_all(&mut bazaar.server.database.connect().await)
        .await
        .unwrap();
    let token = first.body["claim_token"].as_str().unwrap();
    assert!(kept.iter().all(|row| !row.contains(token) && !row.contains("Canary")), "{kept:?}");
}

#[tokio::test]
async fn what_a_guest_cannot_have_is_refused() {
    let (bazaar, item) = store(2).await;
    let card = place(&bazaar, &with(order(&item, 1), "payment", "card")).await.problem(422, "invalid-field");
    assert_eq!(card.body["errors"][0]["pointer"], "/payment_method");
    let by_mail = place(&bazaar, &with(order(&item, 1), "confirmation", "email")).await.problem(422, "invalid-field");
    assert_eq!(by_mail.body["errors"][0]["pointer"], "/email");
    let nowhere = bazaar.server.client().post("/store/nowhere/orders", &order(&item, 1)).send().await;
    nowhere.problem(404, "not-found");
    let other = bazaar.server.client().register_seller("other").await;
    let theirs = other.offer(&listing(1_000)).await;
    place(&bazaar, &order(&theirs, 1)).await.problem(404, "not-found");
    let digital = bazaar.seller.offer(&with(listing(1_000), "delivery", "digital")).await;
    place(&bazaar, &order(&digital, 1)).await.problem(422, "cash-needs-delivery");
    let about = json!({ "slug": "corner", "brand_name": "Corner", "payment_preference": "card" });
    let changed = bazaar.seller.ask(&Method::PUT, "/api/v1/merchant/me").json(&about).send().await;
    assert!(changed.status < 300, "{}", changed.text);
    place(&bazaar, &order(&item, 1)).await.problem(422, "no-cash");
    for token in ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        bazaar.server.client().get(&format!("/guest/orders/{token}")).send().await.problem(404, "not-found");
    }
    assert_eq!(free(&bazaar, &item).await, 2);
}
