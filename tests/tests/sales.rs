//! What sellers see of their business: the dashboard, their orders, and both sides of an account.

use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{listing, usd, with};

async fn dashboard(bazaar: &Bazaar, days: u32) -> Value {
    let now = bazaar.wait(0).await;
    bazaar.seller.get(&format!("/merchant/dashboard?days={days}")).since(now).send().await.expect(200).body
}

/// Every order that a seller has, by the plain list.
async fn all_orders(bazaar: &Bazaar) -> Vec<Value> {
    let now = bazaar.wait(0).await;
    let page = bazaar.seller.get("/orders?as=seller&limit=100").since(now).send().await.expect(200).body;
    page["items"].as_array().cloned().or_fail("find the orders")
}

fn cents(money: &Value) -> i64 {
    money["amount"].as_i64().or_fail("read an amount")
}

async fn set(client: &Client, order: &str, body: Value) -> Answer {
    client.ask(&Method::PUT, &format!("/api/v1/merchant/orders/{order}/status")).json(&body).send().await
}

/// Orders of one seller in every way in which one can go, over some weeks.
async fn busy_weeks(bazaar: &Bazaar) {
    let (seller, buyer) = (&bazaar.seller, &bazaar.buyer);
    let cheap = seller.offer(&with(listing(1_000), "stock", 20)).await;
    let dear = seller.offer(&with(with(listing(9_999), "stock", 20), "shipping", usd(501))).await;
    let buy = async |lines: &[(&str, u32)], pay: &str| order_of(&buyer.check_out(lines, pay).await.expect(201));
    buy(&[(&cheap, 1)], "later").await;
    let cancelled = buy(&[(&cheap, 2)], "now").await;
    let reason = json!({ "reason": "Too late." });
    buyer.post(&format!("/orders/{cancelled}/cancel"), &reason).send().await.expect(200);
    let completed = buy(&[(&cheap, 3), (&dear, 1)], "now").await;
    bazaar.ship(&completed).await.expect(200);
    bazaar.wait(3 * DAY_MS).await;
    buyer.tell(&completed, "deliver").await.expect(200);
    buyer.tell(&completed, "confirm").await.expect(200);
    let refunded = json!({ "amount": usd(700) });
    seller.post(&format!("/orders/{completed}/refund"), &refunded).send().await.expect(200);
    let split = buy(&[(&dear, 2)], "now").await;
    bazaar.dispute(&split).await.expect(200);
    bazaar.wait(DAY_MS).await;
    let decision = json!({ "outcome": "split", "to_buyer": usd(3_333) });
    bazaar.resolve(&split, &decision).await.expect(200);
    let partly = buy(&[(&cheap, 1)], "now").await;
    let refunded = json!({ "amount": usd(250) });
    seller.post(&format!("/orders/{partly}/refund"), &refunded).send().await.expect(200);
    bazaar.wait(2 * DAY_MS).await;
    buy(&[(&dear, 1)], "now").await;
}

#[tokio::test]
async fn the_dashboard_shows_what_plain_sums_of_orders_say() {
    let bazaar = Bazaar::open().await;
    assert_eq!(dashboard(&bazaar, 30).await["currencies"], json!([]));
    busy_weeks(&bazaar).await;
    let shown = dashboard(&bazaar, 30).await;
    let orders = all_orders(&bazaar).await;
    let paid: Vec<&Value> = orders.iter().filter(|order| order["paid_at"].is_string()).collect();
    assert_eq!((orders.len(), paid.len()), (6, 5));
    let dollars = &shown["currencies"][0];
    let total = &dollars["total"];
    assert_eq!(shown["currencies"].as_array().map(Vec::len), Some(1));
    assert_eq!(total["orders"], paid.len());
    let sum = |field: &str| paid.iter().map(|order| cents(&order[field])).sum::<i64>();
    assert_eq!((cents(&total["gross"]), cents(&total["refunded"])), (sum("total"), sum("refunded")));
    let lines = || paid.iter().flat_map(|order| order["lines"].as_array().into_iter().flatten());
    let pieces = lines().map(|line| line["quantity"].as_i64().unwrap_or(0)).sum::<i64>();
    assert_eq!(total["pieces"], pieces);
    // What was kept is the marketplace's income, what was paid out is in the seller's wallet.
    assert_eq!(cents(&total["fees"]), bazaar.book("fee-income").await);
    assert_eq!(cents(&total["paid_out"]), bazaar.purses().await.1);
    assert_eq!(cents(&dollars["in_escrow"]), bazaar.book("escrow").await);
    assert_eq!(dollars["orders_in_escrow"], 2);
    let parts = ["refunded", "fees", "paid_out"].map(|part| cents(&total[part])).iter().sum::<i64>();
    assert_eq!(cents(&total["gross"]), parts + cents(&dollars["in_escrow"]));

    // Every day by itself, and all of them together.
    let days = dollars["per_day"].as_array().or_fail("find the days");
    assert_eq!((days.len(), &days[0]["day"], &days[29]["day"]), (30, &shown["from"], &shown["to"]));
    for day in days {
        let that_day = day["day"].as_str().or_fail("read a day");
        let sold = paid.iter().filter(|order| order["paid_at"].as_str().is_some_and(|at| at.starts_with(that_day)));
        let (count, gross) = sold.fold((0, 0), |(count, gross), order| (count + 1, gross + cents(&order["total"])));
        assert_eq!((&day["orders"], cents(&day["gross"])), (&json!(count), gross), "{that_day}");
    }
    for field in ["gross", "refunded", "fees", "paid_out"] {
        assert_eq!(days.iter().map(|day| cents(&day[field])).sum::<i64>(), cents(&dollars["period"][field]), "{field}");
        assert_eq!(dollars["period"][field], total[field], "everything is within these days");
    }
    assert!(days.iter().filter(|day| day["orders"] != 0).count() > 1);

    // What was sold most, and how often.
    let best = shown["best_listings"].as_array().or_fail("find the best listings");
    let counted = |id: &Value| {
        let of_it = lines().filter(|line| line["listing_id"] == *id);
        of_it.fold((0, 0), |(pieces, gross), line| {
            (pieces + line["quantity"].as_i64().unwrap_or(0), gross + cents(&line["total"]))
        })
    };
    for sold in best {
        assert_eq!((sold["pieces"].as_i64().unwrap_or(0), cents(&sold["gross"])), counted(&sold["listing_id"]));
    }
    assert_eq!(best.len(), 2);
    assert!(best[0]["pieces"].as_i64() >= best[1]["pieces"].as_i64());
    let recent = shown["recent_orders"].as_array().or_fail("find the recent orders");
    assert!(recent.iter().map(|order| &order["id"]).eq(orders.iter().map(|order| &order["id"])));
    let counted = |status: &str| orders.iter().filter(|order| order["status"] == status).count();
    for (status, count) in shown["orders"].as_object().or_fail("find the counts") {
        assert_eq!(*count, counted(status), "{status}");
    }
    assert_eq!(shown["listings"], json!({ "active": 2 }));
}

#[tokio::test]
async fn what_guests_pay_at_the_door_is_shown_beside_what_escrow_brings() {
    let bazaar = Bazaar::open().await;
    let about = json!({ "slug": "corner", "brand_name": "Corner" });
    let opened = bazaar.seller.put("/merchant/me", &about).send().await;
    assert!(opened.status < 300, "{}", opened.text);
    bazaar.complete().await;
    let before = dashboard(&bazaar, 30).await["currencies"][0].clone();
    let nothing = json!({ "orders": 0, "pieces": 0, "gross": usd(0) });
    assert_eq!(before["total"]["cash"], nothing);
    let item = bazaar.offer(10).await;
    let order = json!({
        "name": "Ann Lee", "phone": "+92 300 1234567", "confirmation": "phone",
        "address": { "line1": "12 Mall Road", "city": "Lahore", "country": "PK" },
        "lines": [{ "listing_id": item, "quantity": 2 }],
    });
    let placed = bazaar.server.client().post("/store/corner/orders", &order).send().await.expect(201);
    let id = placed.body["order_id"].as_str().or_fail("find the order").to_owned();
    bazaar.seller.post(&format!("/merchant/orders/{id}/confirm"), &json!({})).send().await.expect(200);
    bazaar.ship(&id).await.expect(200);
    assert_eq!(dashboard(&bazaar, 30).await["currencies"][0], before, "nobody has paid yet");
    bazaar.seller.tell(&id, "deliver").await.expect(200);
    let shown = dashboard(&bazaar, 30).await;
    let dollars = &shown["currencies"][0];
    let cash = json!({ "orders": 1, "pieces": 2, "gross": usd(21_000) });
    assert_eq!([&dollars["total"]["cash"], &dollars["period"]["cash"]], [&cash, &cash]);
    assert_eq!(dollars["per_day"].as_array().or_fail("find the days").last().or_fail("find today")["cash"], cash);
    // What escrow brings is as it was, and still comes to what was sold.
    let total = &dollars["total"];
    for field in ["orders", "pieces", "gross", "refunded", "fees", "paid_out"] {
        assert_eq!(total[field], before["total"][field], "{field}");
    }
    let parts = ["refunded", "fees", "paid_out"].map(|part| cents(&total[part])).iter().sum::<i64>();
    assert_eq!(cents(&total["gross"]), parts + cents(&dollars["in_escrow"]));
    let best = shown["best_listings"].as_array().or_fail("find the best listings");
    assert_eq!((&best[0]["listing_id"], &best[0]["pieces"]), (&json!(item), &json!(2)));
}

#[tokio::test]
async fn a_dashboard_looks_back_as_far_as_it_is_asked() {
    let bazaar = Bazaar::open().await;
    bazaar.sell().await;
    bazaar.wait(40 * DAY_MS).await;
    let orders_in = async |days: u32| {
        let shown = dashboard(&bazaar, days).await;
        let dollars = &shown["currencies"][0];
        assert_eq!(dollars["per_day"].as_array().map(Vec::len), usize::try_from(days).ok());
        assert_eq!(dollars["total"]["orders"], 1);
        dollars["period"]["orders"].clone()
    };
    assert_eq!((orders_in(30).await, orders_in(90).await, orders_in(365).await), (json!(0), json!(1), json!(1)));
    let refused = bazaar.seller.get("/merchant/dashboard?days=31").send().await.problem(422, "invalid-field");
    assert_eq!(refused.body["errors"][0]["pointer"], "?days");
    bazaar.buyer.get("/merchant/dashboard").send().await.problem(403, "missing-capability");
}

#[tokio::test]
async fn a_seller_says_what_has_become_of_an_order_with_the_rights_of_a_seller() {
    let bazaar = Bazaar::open().await;
    let (seller, buyer) = (&bazaar.seller, &bazaar.buyer);
    let order = bazaar.sell().await;
    let shipped = json!({ "status": "shipped", "carrier": "Post", "tracking": "P1" });
    set(buyer, &order, shipped.clone()).await.problem(403, "wrong-party");
    set(&bazaar.staff, &order, shipped.clone()).await.problem(403, "wrong-party");
    let stranger = bazaar.server.client().register_seller("stranger").await;
    set(&stranger, &order, shipped.clone()).await.problem(404, "not-found");
    for (body, pointer, code) in [
        (json!({ "status": "shipped" }), "/carrier", "missing"),
        (json!({ "status": "cancelled" }), "/reason", "missing"),
        (json!({ "status": "delivered", "carrier": "Post" }), "/carrier", "unexpected"),
        (json!({ "status": "cancelled", "reason": "x", "tracking": "P1" }), "/tracking", "unexpected"),
        (json!({ "status": "shipped", "carrier": "Post", "reason": "x" }), "/reason", "unexpected"),
        (json!({ "status": "completed" }), "/status", "invalid"),
    ] {
        let refused = set(seller, &order, body).await.problem(422, "invalid-field");
        let error = &refused.body["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)));
    }
    let done = set(seller, &order, shipped).await.expect(200);
    assert_eq!(done.body["status"], "shipped");
    set(seller, &order, json!({ "status": "delivered" })).await.problem(403, "seller-is-no-witness");
    set(seller, &order, json!({ "status": "cancelled", "reason": "x" })).await.problem(409, "too-late-to-cancel");

    let cancelled = bazaar.sell().await;
    set(seller, &cancelled, json!({ "status": "cancelled", "reason": "Broken." })).await.expect(200);
    assert_eq!(bazaar.statuses(&cancelled).await, ("cancelled".to_owned(), "refunded".to_owned()));
    let digital = seller.offer(&with(listing(1_000), "delivery", "digital")).await;
    let digital = order_of(&buyer.check_out(&[(&digital, 1)], "now").await.expect(201));
    let done = set(seller, &digital, json!({ "status": "delivered" })).await.expect(200);
    assert_eq!((&done.body["status"], &done.body["escrow"]), (&json!("delivered"), &json!("inspection")));
}

#[tokio::test]
async fn an_account_finds_what_it_sells_and_buys_on_the_side_where_it_belongs() {
    let bazaar = Bazaar::open().await;
    let (seller, buyer) = (&bazaar.seller, &bazaar.buyer);
    let (paid, shipped) = (bazaar.sell().await, bazaar.sell().await);
    bazaar.ship(&shipped).await.expect(200);
    let draft = seller.post("/listings", &listing(1_000)).send().await.expect(201).body["id"].clone();
    let now = bazaar.wait(0).await;
    let ids = async |client: &Client, path: &str| {
        let page = client.get(path).since(now).send().await.expect(200).body;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().map(|item| item["id"].clone()).collect::<Vec<_>>()
    };
    let both = vec![json!(shipped), json!(paid)];
    for path in ["/merchant/orders", "/profile/sales"] {
        assert_eq!(ids(seller, path).await, both, "{path}");
        assert_eq!(ids(seller, &format!("{path}?status=paid")).await, [json!(paid)]);
    }
    assert_eq!(ids(buyer, "/profile/purchases").await, both);
    assert_eq!(ids(buyer, "/profile/sales").await, Vec::<Value>::new());
    assert_eq!(ids(seller, "/profile/purchases").await, Vec::<Value>::new());
    buyer.get("/merchant/orders").send().await.problem(403, "missing-capability");
    let first = seller.get("/merchant/orders?limit=1").since(now).send().await.expect(200).body;
    let cursor = first["next_cursor"].as_str().or_fail("find the cursor");
    assert_eq!(ids(seller, &format!("/merchant/orders?limit=1&cursor={cursor}")).await, [json!(paid)]);

    assert_eq!(ids(seller, "/profile/listings").await.len(), 3);
    assert_eq!(ids(seller, "/profile/listings?status=draft").await, [draft]);
    assert_eq!(ids(seller, "/merchant/products?status=sold_out").await.len(), 2);
    assert_eq!(ids(buyer, "/profile/listings").await, Vec::<Value>::new());
}
