//! From a cart to a paid order: stock, groups, deadlines.

use serde_json::json;
use tradepost_tests::bazaar::{Bazaar, MINUTE_MS, order_of};
use tradepost_tests::market::{address, listing, usd, with};

#[tokio::test]
async fn a_cart_of_two_sellers_becomes_one_group_with_an_order_each_and_is_paid_at_once() {
    let bazaar = Bazaar::open().await;
    let other = bazaar.server.client().register_seller("other").await;
    let (mine, theirs) = (bazaar.offer(3).await, other.offer(&with(listing(2_000), "stock", 5)).await);
    let cart = [(mine.as_str(), 2), (theirs.as_str(), 1)];
    let placed = bazaar.buyer.check_out(&cart, "later").await.expect(201);
    assert_eq!((&placed.body["status"], &placed.body["total"]), (&json!("placed"), &usd(2 * 10_500 + 2_000)));
    let orders = placed.body["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 2);
    let paid = bazaar.buyer.tell(&order_of(&placed), "pay").await.expect(200);
    assert_eq!((&paid.body["status"], &paid.body["amount"]), (&json!("paid"), &usd(23_000)));

    let group = format!("/order-groups/{}", placed.body["group_id"].as_str().unwrap());
    assert_eq!(placed.header("location"), Some(format!("/api/v1{group}").as_str()));
    let shown = bazaar.buyer.get(&group).since(paid.at()).send().await.expect(200).body;
    assert_eq!((&shown["status"], &shown["total"]), (&json!("paid"), &usd(23_000)));
    let statuses: Vec<_> = shown["orders"].as_array().unwrap().iter().map(|order| &order["status"]).collect();
    assert_eq!(statuses, [&json!("paid"), &json!("paid")]);
    assert_eq!(bazaar.book("escrow").await, 23_000);
    assert_eq!(bazaar.purses().await, (77_000, 0));
    bazaar.buyer.tell(&order_of(&placed), "pay").await.problem(409, "already-paid");
}

#[tokio::test]
async fn lines_of_one_form_are_summed_before_stock_is_looked_at() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(3).await;
    let refused = bazaar.buyer.check_out(&[(&listing, 2), (&listing, 2)], "later").await;
    let refused = refused.problem(409, "out-of-stock");
    assert_eq!((&refused.body["available"], &refused.body["requested"]), (&json!(3), &json!(4)));
    let placed = bazaar.buyer.check_out(&[(&listing, 1), (&listing, 2)], "later").await.expect(201);
    let order = bazaar.buyer.get(&format!("/orders/{}", order_of(&placed))).since(placed.at()).send().await.body;
    assert_eq!((&order["lines"][0]["quantity"], &order["lines"][1]), (&json!(3), &json!(null)));
}

#[tokio::test]
async fn what_is_kept_for_a_cart_is_sold_out_until_the_cart_expires() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(2).await;
    let status = async |since| {
        let shown = bazaar.seller.get(&format!("/listings/{listing}")).since(since).send().await.expect(200).body;
        (shown["status"].as_str().unwrap().to_owned(), shown["stock"].as_i64().unwrap())
    };
    let placed = bazaar.buyer.check_out(&[(&listing, 2)], "later").await.expect(201);
    assert_eq!(status(placed.at()).await, ("sold_out".to_owned(), 0));
    let on_offer = bazaar.buyer.get("/listings").since(placed.at()).send().await.expect(200).body;
    assert_eq!(on_offer["items"], json!([]));
    bazaar.buyer.check_out(&[(&listing, 1)], "later").await.problem(409, "out-of-stock");

    let before = bazaar.wait(15 * MINUTE_MS - 5_000).await;
    assert_eq!(status(before).await.1, 0);
    let after = bazaar.wait(5_000).await;
    assert_eq!(status(after).await, ("active".to_owned(), 2));
    assert_eq!(bazaar.statuses(&order_of(&placed)).await, ("cancelled".to_owned(), "voided".to_owned()));
    bazaar.buyer.tell(&order_of(&placed), "pay").await.problem(409, "payment-overdue");
    assert_eq!(bazaar.purses().await, (100_000, 0));
}

#[tokio::test]
async fn an_order_that_is_paid_at_the_last_moment_keeps_its_stock() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(1).await;
    let placed = bazaar.buyer.check_out(&[(&listing, 1)], "later").await.expect(201);
    bazaar.wait(15 * MINUTE_MS - 5_000).await;
    bazaar.buyer.tell(&order_of(&placed), "pay").await.expect(200);
    bazaar.wait(MINUTE_MS).await;
    assert_eq!(bazaar.statuses(&order_of(&placed)).await, ("paid".to_owned(), "funded".to_owned()));
    bazaar.buyer.check_out(&[(&listing, 1)], "later").await.problem(409, "out-of-stock");
}

#[tokio::test]
async fn a_card_pays_in_time_and_what_comes_too_late_goes_back() {
    let bazaar = Bazaar::open().await;
    let poor = bazaar.server.client().register("poor").await;
    let listing = bazaar.offer(2).await;
    let pay = async |order: &str, method: &str| {
        poor.post(&format!("/orders/{order}/pay"), &json!({ "payment_method": method })).send().await
    };
    let in_time = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    poor.tell(&in_time, "pay").await.problem(422, "insufficient-funds");
    let asked = pay(&in_time, "sandbox-succeeds").await.expect(202);
    assert_eq!((&asked.body["status"], &asked.body["amount"]), (&json!("pending"), &usd(10_500)));
    assert_eq!(bazaar.statuses(&in_time).await.0, "paid");
    assert_eq!(poor.available(bazaar.wait(0).await).await, 0);

    // The provider takes longer than a cart is kept.
    let too_late = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    bazaar.wait(15 * MINUTE_MS - 1_000).await;
    pay(&too_late, "sandbox-delays").await.expect(202);
    let settled = bazaar.wait(60 * MINUTE_MS).await;
    assert_eq!(bazaar.statuses(&too_late).await, ("cancelled".to_owned(), "voided".to_owned()));
    assert_eq!(poor.available(settled).await, 0);
    assert_eq!((bazaar.book("unapplied").await, bazaar.clearing().await), (0, -10_500));
    pay(&too_late, "sandbox-succeeds").await.problem(409, "payment-overdue");
    let declined = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    pay(&declined, "sandbox-declines").await.expect(202);
    assert_eq!(bazaar.statuses(&declined).await.0, "placed");
}

#[tokio::test]
async fn one_listing_is_bought_without_a_cart_in_the_form_that_is_named() {
    let bazaar = Bazaar::open().await;
    let variants = json!([
        { "sku": "m", "options": { "size": "M" }, "stock": 1 },
        { "sku": "l", "options": { "size": "L" }, "price": usd(1_200), "stock": 2 },
    ]);
    let listing = bazaar.seller.offer(&with(listing(1_000), "variants", variants)).await;
    let path = format!("/listings/{listing}/purchase");
    let buy = async |body| bazaar.buyer.post(&path, &body).send().await;
    buy(json!({})).await.problem(422, "no-such-variant");
    let bought = buy(json!({ "sku": "l", "pay": "now" })).await.expect(201);
    assert_eq!((&bought.body["status"], &bought.body["total"]), (&json!("paid"), &usd(1_200)));
    let shown = bazaar.buyer.get(&format!("/listings/{listing}")).since(bought.at()).send().await.expect(200).body;
    let stock: Vec<_> = shown["variants"].as_array().unwrap().iter().map(|it| (&it["sku"], &it["stock"])).collect();
    assert_eq!(stock, [(&json!("m"), &json!(1)), (&json!("l"), &json!(1))]);
    buy(json!({ "sku": "m", "quantity": 2 })).await.problem(409, "out-of-stock");
    // A new price leaves the forms as they are.
    let price = json!({ "price": usd(1_100) });
    let path = format!("/api/v1/listings/{listing}");
    let patched = bazaar.seller.ask(&reqwest::Method::PATCH, &path).json(&price).send().await.expect(200);
    let shown = bazaar.buyer.get(&format!("/listings/{listing}")).since(patched.at()).send().await.expect(200).body;
    assert_eq!((&shown["variants"][0]["price"], &shown["variants"][1]["price"]), (&usd(1_100), &usd(1_200)));
    assert_eq!(shown["stock"], json!(2));
}

#[tokio::test]
async fn a_cart_is_bought_as_a_whole_or_not_at_all_and_a_refusal_leaves_nothing() {
    let bazaar = Bazaar::open().await;
    let (there, dear) = (bazaar.offer(1).await, bazaar.seller.offer(&listing(9_999_999)).await);
    let yen = bazaar.seller.offer(&with(listing(1), "price", json!({ "amount": 500, "currency": "JPY" }))).await;
    let draft = bazaar.seller.post("/listings", &listing(1)).send().await.expect(201);
    let draft = draft.body["id"].as_str().unwrap();
    let auction = bazaar.seller.schedule(&tradepost_tests::market::auction(100)).await;
    let head = bazaar.wait(0).await;
    let cart = async |lines: &[(&str, u32)], pay| bazaar.buyer.check_out(lines, pay).await;
    cart(&[(&there, 1), (&dear, 1)], "now").await.problem(422, "insufficient-funds");
    cart(&[(&there, 1), (&yen, 1)], "later").await.problem(422, "several-currencies");
    cart(&[(&there, 1), (draft, 1)], "later").await.problem(404, "not-found");
    cart(&[(&there, 1), (&auction, 1)], "later").await.problem(422, "sold-by-auction");
    cart(&[(&there, 0)], "later").await.problem(422, "invalid-field");
    cart(&[(&there, 1), (&there, 9_999)], "later").await.problem(409, "out-of-stock");
    cart(&[], "later").await.problem(422, "invalid-field");
    bazaar.seller.check_out(&[(&there, 1)], "later").await.problem(422, "own-item");
    assert_eq!(bazaar.wait(0).await, head);
    cart(&[(&there, 1)], "now").await.expect(201);
}

#[tokio::test]
async fn an_order_is_called_off_before_it_is_sent_and_its_pieces_are_for_sale_again() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(1).await;
    let cancel = async |order: &str| {
        let reason = json!({ "reason": "Changed my mind." });
        bazaar.buyer.post(&format!("/orders/{order}/cancel"), &reason).send().await
    };
    for (pay, escrow) in [("later", "voided"), ("now", "refunded")] {
        let order = order_of(&bazaar.buyer.check_out(&[(&listing, 1)], pay).await.expect(201));
        cancel(&order).await.expect(200);
        assert_eq!(bazaar.statuses(&order).await, ("cancelled".to_owned(), escrow.to_owned()));
        assert_eq!(bazaar.purses().await, (100_000, 0));
    }
    let order = order_of(&bazaar.buyer.check_out(&[(&listing, 1)], "now").await.expect(201));
    bazaar.ship(&order).await.expect(200);
    let refused = cancel(&order).await.problem(409, "too-late-to-cancel");
    assert_eq!(refused.body["actual"], json!("shipped"));
}

#[tokio::test]
async fn what_is_bought_is_sent_to_an_address_that_the_buyer_keeps_as_it_was_then() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(3).await;
    let kept = bazaar.buyer.post("/addresses", &address("Bea Buyer")).send().await.expect(201);
    let id = kept.body["id"].as_str().unwrap().to_owned();
    let patch = json!({ "line2": "Second floor", "phone": "" });
    bazaar.buyer.patch(&format!("/addresses/{id}"), &patch).send().await.expect(200);
    let cart = |address: &str| json!({ "lines": [{ "listing_id": listing }], "address_id": address });
    let placed = bazaar.buyer.post("/orders", &cart(&id)).send().await.expect(201);
    let one = json!({ "address_id": id });
    let bought = bazaar.buyer.post(&format!("/listings/{listing}/purchase"), &one).send().await.expect(201);
    let moved = json!({ "line1": "1 Elsewhere" });
    bazaar.buyer.patch(&format!("/addresses/{id}"), &moved).send().await.expect(200);
    let expected = json!({
        "name": "Bea Buyer", "line1": "12 Mall Road", "line2": "Second floor", "city": "Lahore", "region": "Punjab",
        "postal_code": "54000", "country": "PK",
    });
    for (bought, party) in [(&placed, &bazaar.seller), (&bought, &bazaar.buyer)] {
        let shown = party.get(&format!("/orders/{}", order_of(bought))).since(bought.at()).send().await.expect(200);
        assert_eq!(shown.body["ship_to"], expected);
    }
    // Somebody else's is not there, nor is one that was struck out.
    let other = bazaar.server.client().register("other").await;
    other.post("/orders", &cart(&id)).send().await.problem(404, "not-found");
    bazaar.buyer.post("/orders", &cart(&uuid::Uuid::nil().to_string())).send().await.problem(404, "not-found");
    let home = json!({ "name": "Bea Buyer", "line1": "12 Hill Road", "city": "Leeds", "country": "GB" });
    let both = with(cart(&id), "ship_to", home);
    let refused = bazaar.buyer.post("/orders", &both).send().await.problem(422, "invalid-field");
    let error = &refused.body["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!("/address_id"), &json!("either-or")));
    bazaar.buyer.delete(&format!("/addresses/{id}"), &json!({})).send().await.expect(200);
    bazaar.buyer.post("/orders", &cart(&id)).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn the_address_is_for_the_parties_and_staff_and_nobody_else_sees_the_order() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(1).await;
    let address = json!({ "name": "Bea Buyer", "line1": "12 Hill Road", "city": "Leeds", "country": "GB" });
    let cart = json!({ "lines": [{ "listing_id": listing }], "ship_to": address });
    let placed = bazaar.buyer.post("/orders", &cart).send().await.expect(201);
    let (order, since) = (order_of(&placed), placed.at());
    for party in [&bazaar.buyer, &bazaar.seller, &bazaar.staff] {
        let shown = party.get(&format!("/orders/{order}")).since(since).send().await.expect(200).body;
        assert_eq!(shown["ship_to"], address);
        party.get(&format!("/escrow/{order}")).since(since).send().await.expect(200);
    }
    let group = placed.body["group_id"].as_str().unwrap();
    let other = bazaar.server.client().register("other").await;
    for path in [format!("/orders/{order}"), format!("/escrow/{order}"), format!("/order-groups/{group}")] {
        other.get(&path).since(since).send().await.problem(404, "not-found");
        bazaar.server.client().get(&path).send().await.problem(401, "unauthenticated");
    }
    for what in ["pay", "deliver", "confirm", "refund"] {
        other.tell(&order, what).await.problem(404, "not-found");
    }
    bazaar.seller.tell(&order, "pay").await.problem(403, "wrong-party");
    bazaar.buyer.tell(&order, "refund").await.problem(403, "wrong-party");
    let stored: String = sqlx::query_scalar("select string_agg(payload::text, ' ') from events")
        .fetch_one(&mut bazaar.server.database.connect().await)
        .await
        .unwrap();
    assert!(!stored.contains("Hill Road") && !stored.contains("Bea Buyer"));
}

#[tokio::test]
async fn purchases_and_sales_are_listed_apart_newest_first() {
    let bazaar = Bazaar::open().await;
    let (first, second) = (bazaar.sell().await, bazaar.sell().await);
    bazaar.ship(&first).await.expect(200);
    let now = bazaar.wait(0).await;
    let listed = async |client: &tradepost_tests::client::Client, query: &str| {
        let page = client.get(&format!("/orders?{query}")).since(now).send().await.expect(200).body;
        let ids = page["items"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(listed(&bazaar.buyer, "as=buyer").await, [second.clone(), first.clone()]);
    assert_eq!(listed(&bazaar.buyer, "as=seller").await, Vec::<String>::new());
    assert_eq!(listed(&bazaar.seller, "as=seller&status=shipped").await, std::slice::from_ref(&first));
    assert_eq!(listed(&bazaar.seller, "limit=1").await, [second]);
    bazaar.buyer.get("/orders?as=friend").send().await.problem(422, "invalid-field");
}
