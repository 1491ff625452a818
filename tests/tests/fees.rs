//! Fees: what staff charge of sales, which of several rates counts, and that a sale keeps that of its day.

use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, order_of};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{listing, usd};

/// Where rates are said: each counts before those above it.
const DEFAULT: &str = "default/default";
const CATEGORY: &str = "category/watches";
const FREE: &str = "plan/free";

/// Says what is charged, as somebody.
async fn put(client: &Client, place: &str, fee_bps: Value) -> Answer {
    let body = json!({ "fee_bps": fee_bps, "reason": format!("Because of {place}.") });
    client.put(&format!("/admin/fees/{place}"), &body).send().await
}

/// What is said in one place.
async fn said(bazaar: &Bazaar, place: &str) -> Value {
    bazaar.staff.get(&format!("/admin/fees/{place}")).send().await.expect(200).body
}

/// What the seller is charged, and where that is said.
async fn charged(bazaar: &Bazaar, query: &str) -> (u64, String) {
    let own = bazaar.seller.get(&format!("/merchant/fees{query}")).send().await.expect(200).body;
    (own["fee_bps"].as_u64().unwrap(), own["counts"].as_str().unwrap().to_owned())
}

/// Lets the buyer order one piece, for 105.00, without paying it.
async fn order(bazaar: &Bazaar, item: &str) -> String {
    order_of(&bazaar.buyer.check_out(&[(item, 1)], "later").await.expect(201))
}

/// Pays an order and brings it to its end, and tells in cents what was charged of it.
async fn fee_of(bazaar: &Bazaar, order: &str) -> i64 {
    let before = bazaar.book("fee-income").await;
    bazaar.buyer.tell(order, "pay").await.expect(200);
    bazaar.ship(order).await.expect(200);
    bazaar.buyer.tell(order, "confirm").await.expect(200);
    bazaar.book("fee-income").await - before
}

fn category(slug: &str, parent: Option<&str>) -> Value {
    json!({ "slug": slug, "name": slug, "parent": parent })
}

#[tokio::test]
async fn the_nearest_rate_counts_and_a_sale_keeps_that_of_its_day() {
    let bazaar = Bazaar::open().await;
    let seller = format!("seller/{}", bazaar.seller.account());
    bazaar.staff.post("/admin/categories", &category("goods", None)).send().await.expect(201);
    bazaar.staff.post("/admin/categories", &category("watches", Some("goods"))).send().await.expect(201);
    let item = bazaar.offer(9).await;
    let of_item = format!("?listing_id={item}");
    assert_eq!(charged(&bazaar, &of_item).await, (200, "default".to_owned()));
    let mut orders = vec![(order(&bazaar, &item).await, 210)];
    for (place, fee_bps, scope, fee) in [
        (DEFAULT, 300, "default", 315),
        ("category/goods", 400, "category", 420),
        (CATEGORY, 0, "category", 0),
        (FREE, 125, "plan", 131),
        (&seller, 50, "seller", 53),
    ] {
        let set = put(&bazaar.staff, place, json!(fee_bps)).await.expect(200).body;
        assert_eq!((&set["fee_bps"], &set["scope"]), (&json!(fee_bps), &json!(scope)));
        assert_eq!(charged(&bazaar, &of_item).await, (fee_bps, scope.to_owned()));
        orders.push((order(&bazaar, &item).await, fee));
    }
    assert_eq!(charged(&bazaar, "?category=lamps").await, (50, "seller".to_owned()));
    // Taken back from the nearest on, what is behind it counts again.
    for (place, fee_bps, scope) in [
        (&*seller, 125, "plan"),
        (FREE, 0, "category"),
        (CATEGORY, 400, "category"),
        ("category/goods", 300, "default"),
        (DEFAULT, 200, "default"),
    ] {
        put(&bazaar.staff, place, Value::Null).await.expect(200);
        assert_eq!(charged(&bazaar, &of_item).await, (fee_bps, scope.to_owned()));
        assert_eq!(said(&bazaar, place).await["fee_bps"], Value::Null);
    }
    for (order, fee) in orders {
        assert_eq!(fee_of(&bazaar, &order).await, fee);
    }
}

#[tokio::test]
async fn what_is_refunded_is_charged_by_the_rate_of_the_sale() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    put(&bazaar.staff, DEFAULT, json!(10_000)).await.expect(200);
    bazaar.seller.post(&format!("/orders/{order}/refund"), &json!({ "amount": usd(5_500) })).send().await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!(bazaar.book("fee-income").await, 100, "two per cent of the 50.00 that the seller keeps");
}

#[tokio::test]
async fn every_change_is_in_the_record_with_its_reason() {
    let bazaar = Bazaar::open().await;
    let seller = format!("seller/{}", bazaar.seller.account());
    bazaar.staff.post("/admin/categories", &category("watches", None)).send().await.expect(201);
    for place in [DEFAULT, CATEGORY, FREE, &seller] {
        put(&bazaar.staff, place, json!(120)).await.expect(200);
        let changed = put(&bazaar.staff, place, json!(130)).await.expect(200);
        let record = bazaar.staff.get("/admin/audit-logs?limit=1").since(changed.at()).send().await.expect(200).body;
        let act = &record["items"][0];
        assert_eq!((&act["id"], &act["reason"]), (&json!(changed.at()), &json!(format!("Because of {place}."))));
        assert_eq!(act["actor"], json!(bazaar.staff.account()));
        let (before, after) = (&act["changes"][0]["before"], &act["changes"][0]["after"]);
        assert_eq!((&before["fee_bps"], &after["fee_bps"]), (&json!(120), &json!(130)), "{act:#}");
        // The same again is nothing new.
        let again = put(&bazaar.staff, place, json!(130)).await.expect(200);
        assert_eq!(again.body["version"], changed.body["version"], "{place}");
    }
}

#[tokio::test]
async fn a_fee_is_said_of_what_is_there_by_whoever_has_seen_it() {
    let bazaar = Bazaar::open().await;
    bazaar.staff.post("/admin/categories", &category("watches", None)).send().await.expect(201);
    let nobody = format!("seller/{}", eventstore::mint::id());
    for place in ["category/lead", "plan/lead", "seller/lead", "default/lead", "store/default", &nobody] {
        put(&bazaar.staff, place, json!(1)).await.problem(404, "not-found");
        bazaar.staff.get(&format!("/admin/fees/{place}")).send().await.problem(404, "not-found");
    }
    for (body, pointer) in [
        (json!({ "reason": "It is left out." }), "fee_bps"),
        (json!({ "fee_bps": 10_001, "reason": "More than all." }), "/fee_bps"),
        (json!({ "fee_bps": -1, "reason": "Less than nothing." }), "/fee_bps"),
        (json!({ "fee_bps": 1.5, "reason": "Half of one." }), "/fee_bps"),
        (json!({ "fee_bps": 100, "reason": " " }), "/reason"),
        (json!({ "fee_bps": 100 }), "reason"),
        (json!({ "fee_bps": 100, "reason": "Whose?", "by": "me" }), "by"),
    ] {
        let path = format!("/admin/fees/{DEFAULT}");
        let refused = bazaar.staff.put(&path, &body).send().await.problem(422, "invalid-field");
        assert!(refused.text.contains(pointer), "{body}: {}", refused.text);
    }
    let (free, limit) = (put(&bazaar.staff, FREE, json!(100)).await.expect(200), "\"7.1\"");
    assert_eq!(free.body["version"], 1);
    let path = format!("/api/v1/admin/fees/{FREE}");
    let body = json!({ "fee_bps": 200, "reason": "Too late." });
    let late = bazaar.staff.ask(&Method::PUT, &path).json(&body).header("if-match", limit).send().await;
    late.problem(412, "version-mismatch");
    let in_time = bazaar.staff.ask(&Method::PUT, &path).json(&body).header("if-match", "\"1.1\"").send().await;
    in_time.expect(200);
    put(&bazaar.seller, DEFAULT, json!(1)).await.problem(403, "missing-capability");
    let own = format!("seller/{}", bazaar.staff.account());
    put(&bazaar.staff, &own, json!(0)).await.problem(403, "own-account");
    // What one is charged is one's own business.
    let item = bazaar.offer(1).await;
    let path = format!("/merchant/fees?listing_id={item}");
    bazaar.buyer.get(&path).send().await.problem(403, "missing-capability");
    let other = bazaar.server.client().register_seller("other").await;
    other.get(&path).send().await.problem(404, "not-found");
    other.get("/merchant/fees?category=Lamps!").send().await.problem(422, "invalid-field");
    let own = other.get("/merchant/fees").send().await.expect(200).body;
    assert_eq!((&own["plan_bps"], &own["category"], &own["default_bps"]), (&json!(200), &Value::Null, &json!(200)));
}

#[tokio::test]
async fn the_list_shows_every_rate_that_is_said_page_by_page() {
    let bazaar = Bazaar::open().await;
    for slug in ["watches", "clocks", "lamps"] {
        bazaar.staff.post("/admin/categories", &category(slug, None)).send().await.expect(201);
    }
    let mut sellers = vec![bazaar.seller.account().to_string(), bazaar.buyer.account().to_string()];
    sellers.sort();
    for seller in &sellers {
        put(&bazaar.staff, &format!("seller/{seller}"), json!(10)).await.expect(200);
    }
    for place in ["category/watches", "category/clocks", FREE] {
        put(&bazaar.staff, place, json!(0)).await.expect(200);
    }
    // A plan that is shipped is there without anybody having said so, and no more once it has no rate.
    let now = put(&bazaar.staff, "plan/pro", Value::Null).await.expect(200).at();
    let mut expected: Vec<String> =
        [DEFAULT, "category/clocks", "category/watches", FREE, "plan/premium"].map(str::to_owned).into();
    expected.extend(sellers.iter().map(|seller| format!("seller/{seller}")));
    let all = async |query: &str| {
        let (mut shown, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/admin/fees?{query}{cursor}");
            let page = bazaar.staff.get(&path).since(now).send().await.expect(200).body;
            let name = |item: &Value| format!("{}/{}", item["scope"].as_str().unwrap(), item["id"].as_str().unwrap());
            shown.extend(page["items"].as_array().unwrap().iter().map(name));
            let Some(next) = page["next_cursor"].as_str() else { return shown };
            cursor = format!("&cursor={next}");
        }
    };
    for limit in 1..=8 {
        assert_eq!(all(&format!("limit={limit}")).await, expected, "by {limit}");
    }
    assert_eq!(all("scope=category&limit=1").await, expected[1..3]);
    assert_eq!(all("scope=seller").await, expected[5..]);
    let first = bazaar.staff.get("/admin/fees?limit=1").send().await.expect(200).body;
    assert_eq!(first["items"][0]["fee_bps"], 200, "as the settings say");
    // A listing's category need not be one that staff have defined.
    bazaar.seller.offer(&listing(100)).await;
    assert_eq!(charged(&bazaar, "?category=none").await, (10, "seller".to_owned()));
}
