//! Categories, attributes, discounts, pauses and reviews, through HTTP.

use api::config::{Catalogue, Config};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, order_of, staff};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::server::InProcess;

/// Watches, which tell of their movement.
fn watches() -> Value {
    json!({
        "slug": "watches", "name": "Watches", "parent": "jewellery", "attributes": [
            { "name": "movement", "label": "Movement", "kind": "choice", "options": ["quartz", "automatic"],
              "required": true, "filterable": true },
            { "name": "case_mm", "label": "Case", "kind": "integer", "unit": "mm" },
        ],
    })
}

/// A category above them, with a fee of ten per cent.
fn jewellery() -> Value {
    json!({ "slug": "jewellery", "name": "Jewellery", "fee_bps": 1_000, "attributes": [
        { "name": "gold", "label": "Gold", "kind": "boolean" },
    ] })
}

async fn define(staff: &Client, category: &Value) -> i64 {
    staff.post("/admin/categories", category).send().await.expect(201).at()
}

async fn change(client: &Client, path: &str, body: &Value) -> Answer {
    client.ask(&Method::PATCH, &format!("/api/v1{path}")).json(body).send().await
}

async fn shown(client: &Client, listing: &str, since: i64) -> Value {
    client.get(&format!("/listings/{listing}")).since(since).send().await.expect(200).body
}

#[tokio::test]
async fn the_staff_makes_a_tree_that_everybody_sees() {
    let bazaar = Bazaar::open().await;
    let (staff, nobody) = (&bazaar.staff, bazaar.server.client());
    let orphan = staff.post("/admin/categories", &watches()).send().await.problem(422, "invalid-field");
    assert_eq!(orphan.body["errors"][0]["pointer"], "/parent");
    define(staff, &jewellery()).await;
    let defined = staff.post("/admin/categories", &watches()).send().await.expect(201);
    assert_eq!(defined.header("location"), Some("/api/v1/categories/watches"));
    staff.post("/admin/categories", &watches()).send().await.problem(409, "already-exists");
    let gold = with(listing(1_000), "attributes", json!({ "movement": "quartz", "gold": true }));
    bazaar.seller.offer(&gold).await;
    let head = bazaar.wait(0).await;
    let tree = nobody.get("/games").since(head).send().await.expect(200).body;
    let root = &tree["items"][0];
    assert_eq!((&root["slug"], &root["listings"]), (&json!("jewellery"), &json!(1)));
    let child = &root["children"][0];
    assert_eq!((&child["slug"], &child["fee_bps"]), (&json!("watches"), &json!(1_000)));
    let names: Vec<&str> =
        child["attributes"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["movement", "case_mm", "gold"], "its own, and those of the category above it");
    let below = nobody.get("/categories/jewellery/listings").since(head).send().await.expect(200).body;
    assert_eq!(below["items"].as_array().unwrap().len(), 1);
    let by_filter = nobody.get("/listings?category=jewellery").since(head).send().await.expect(200).body;
    assert_eq!(by_filter, below);
    nobody.get("/categories/nothing/listings").send().await.problem(404, "not-found");
    nobody.get("/categories/nothing").send().await.problem(404, "not-found");

    // What is shown need not be sent again until any of it changes: a count, or an attribute of one above it.
    let fresh = async |path: &str, tag: &str| {
        let head = bazaar.wait(0).await;
        nobody.get(path).since(head).header("if-none-match", tag).send().await
    };
    let tag_of = async |path: &str| fresh(path, "").await.expect(200).header("etag").unwrap().to_owned();
    for path in ["/categories", "/categories/watches"] {
        let tag = tag_of(path).await;
        assert_eq!(fresh(path, &tag).await.expect(304).header("etag"), Some(&*tag), "{path}");
        bazaar.seller.offer(&gold).await;
        let counted = fresh(path, &tag).await.expect(200);
        assert_ne!(counted.header("etag"), Some(&*tag), "{path}");
        let tag = tag_of(path).await;
        let renamed = json!({ "name": format!("Jewels of {path}") });
        change(staff, "/admin/categories/jewellery", &renamed).await.expect(200);
        fresh(path, &tag).await.expect(200);
    }
    let cycle = change(staff, "/admin/categories/jewellery", &json!({ "parent": "watches" })).await;
    assert_eq!(cycle.problem(422, "invalid-field").body["errors"][0]["code"], "cycle");
    let tag = nobody.get("/categories/watches").since(head).send().await.expect(200);
    let patch = json!({ "parent": null, "fee_bps": 300, "name": "Wristwatches" });
    let moved = change(staff, "/admin/categories/watches", &patch).await.expect(200);
    let seen = nobody.get("/categories/watches").since(moved.at()).send().await.expect(200);
    assert_eq!((&seen.body["name"], &seen.body["fee_bps"]), (&json!("Wristwatches"), &json!(300)));
    assert_eq!(seen.body["parent"], Value::Null);
    let stale = staff.delete("/admin/categories/watches", &json!({})).header("if-match", tag.header("etag").unwrap());
    stale.send().await.problem(412, "version-mismatch");
}

#[tokio::test]
async fn what_is_below_a_category_moves_with_it_and_is_never_too_deep() {
    let bazaar = Bazaar::open().await;
    let staff = &bazaar.staff;
    let category = |slug: &str, parent: Option<&str>| json!({ "slug": slug, "name": slug, "parent": parent });
    let levels: Vec<String> = (1..=8).map(|level| format!("level-{level}")).collect();
    let mut above = None;
    for slug in &levels {
        define(staff, &category(slug, above)).await;
        above = Some(slug.as_str());
    }
    define(staff, &category("top", None)).await;
    define(staff, &category("below", Some("top"))).await;
    let move_to = async |slug: &str, parent: &str| {
        change(staff, &format!("/admin/categories/{slug}"), &json!({ "parent": parent })).await
    };
    move_to("top", "level-8").await.problem(422, "category-too-deep");
    let refused = move_to("top", "level-7").await.problem(422, "category-too-deep");
    assert_eq!(refused.body["maximum"], 8);
    move_to("top", "level-6").await.expect(200);
    // Also what is opened anew takes with it what was put below it before.
    for slug in ["level-1", "top"] {
        staff.delete(&format!("/admin/categories/{slug}"), &json!({})).send().await.expect(200);
    }
    define(staff, &category("level-1", None)).await;
    let again = staff.post("/admin/categories", &category("top", Some("level-7"))).send().await;
    again.problem(422, "category-too-deep");
    define(staff, &category("top", Some("level-5"))).await;
}

#[tokio::test]
async fn attributes_are_those_of_the_category_and_of_their_kind() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    // A category that nobody has described has none.
    let free = with(listing(1_000), "attributes", json!({ "movement": "quartz" }));
    let refused = seller.post("/listings", &free).send().await.problem(422, "invalid-field");
    assert_eq!(refused.body["errors"][0]["pointer"], "/attributes/movement");
    define(&bazaar.staff, &jewellery()).await;
    define(&bazaar.staff, &watches()).await;
    for (attributes, pointer, code) in [
        (json!({}), "/attributes/movement", "missing"),
        (json!({ "movement": "steam" }), "/attributes/movement", "not-an-option"),
        (json!({ "movement": "quartz", "case_mm": "36" }), "/attributes/case_mm", "wrong-kind"),
        (json!({ "movement": "quartz", "gold": 1 }), "/attributes/gold", "wrong-kind"),
        (json!({ "movement": "quartz", "colour": "red" }), "/attributes/colour", "unknown"),
    ] {
        let body = with(listing(1_000), "attributes", attributes.clone());
        let refused = seller.post("/listings", &body).send().await.problem(422, "invalid-field");
        let error = &refused.body["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{attributes}");
    }
    let said = json!({ "movement": "quartz", "case_mm": 36, "gold": true });
    let id = seller.offer(&with(listing(1_000), "attributes", said.clone())).await;
    let head = bazaar.wait(0).await;
    assert_eq!(shown(seller, &id, head).await["attributes"], said);
    let fewer = change(seller, &format!("/listings/{id}"), &json!({ "attributes": { "movement": "automatic" } })).await;
    let now = shown(seller, &id, fewer.expect(200).at()).await;
    assert_eq!(now["attributes"], json!({ "movement": "automatic" }));
    // Another category has other attributes.
    let moved = change(seller, &format!("/listings/{id}"), &json!({ "category": "clocks" })).await;
    assert_eq!(moved.problem(422, "invalid-field").body["errors"][0]["code"], "unknown");
    let auctioned = with(with(auction(1_000), "category", "watches"), "attributes", json!({ "movement": "quartz" }));
    seller.schedule(&auctioned).await;
    seller.post("/auctions", &with(auction(1_000), "category", "watches")).send().await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_closed_category_takes_no_more_listings_and_keeps_those_that_it_has() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    define(&bazaar.staff, &jewellery()).await;
    define(&bazaar.staff, &watches()).await;
    let body = with(listing(1_000), "attributes", json!({ "movement": "quartz" }));
    let there = seller.offer(&body).await;
    let draft = seller.post("/listings", &body).send().await.expect(201).body["id"].as_str().unwrap().to_owned();
    let closed = bazaar.staff.delete("/admin/categories/jewellery", &json!({})).send().await.expect(200);
    // What is below a closed category is closed too.
    seller.post("/listings", &body).send().await.problem(409, "category-closed");
    seller.post(&format!("/listings/{draft}/publish"), &json!({})).send().await.problem(409, "category-closed");
    assert_eq!(shown(&bazaar.buyer, &there, closed.at()).await["status"], "active");
    change(seller, &format!("/listings/{there}"), &json!({ "price": usd(900) })).await.expect(200);
    bazaar.buyer.check_out(&[(&there, 1)], "now").await.expect(201);
    let tree = seller.get("/categories").since(closed.at()).send().await.expect(200).body;
    assert_eq!(tree["items"], json!([]));
    let category = seller.get("/categories/watches").since(closed.at()).send().await.expect(200).body;
    assert_eq!(category["closed"], true);
    define(&bazaar.staff, &jewellery()).await;
    seller.post(&format!("/listings/{draft}/publish"), &json!({})).send().await.expect(200);
}

#[tokio::test]
async fn a_category_has_a_fee_of_its_own_and_a_sale_keeps_that_of_its_time() {
    let bazaar = Bazaar::open().await;
    define(&bazaar.staff, &jewellery()).await;
    define(&bazaar.staff, &json!({ "slug": "watches", "name": "Watches", "parent": "jewellery" })).await;
    let id = bazaar.seller.offer(&with(listing(10_000), "stock", 2)).await;
    let dear = order_of(&bazaar.buyer.check_out(&[(&id, 1)], "now").await.expect(201));
    change(&bazaar.staff, "/admin/categories/watches", &json!({ "fee_bps": 50 })).await.expect(200);
    let cheap = order_of(&bazaar.buyer.check_out(&[(&id, 1)], "now").await.expect(201));
    let before = bazaar.book("fee-income").await;
    for (order, fee) in [(dear, 1_000), (cheap, 1_000 + 50)] {
        bazaar.ship(&order).await.expect(200);
        bazaar.buyer.tell(&order, "deliver").await.expect(200);
        bazaar.buyer.tell(&order, "confirm").await.expect(200);
        assert_eq!(bazaar.book("fee-income").await - before, fee);
    }
}

#[tokio::test]
async fn a_discount_counts_while_its_window_is_open() {
    let bazaar = Bazaar::open().await;
    let now: DateTime<Utc> = bazaar.staff.now().await;
    let window = json!({
        "bps": 2_500, "from": now + TimeDelta::hours(1), "until": now + TimeDelta::hours(2),
    });
    let id = bazaar.seller.offer(&with(with(listing(10_000), "stock", 5), "discount", window)).await;
    let pay = async || {
        let bought = bazaar.buyer.check_out(&[(&id, 1)], "later").await.expect(201);
        bought.body["total"]["amount"].as_i64().unwrap()
    };
    let look = async |since| {
        let body = shown(&bazaar.buyer, &id, since).await;
        let list = bazaar.buyer.get("/listings?on_sale=true&sort=price_asc").since(since).send().await.expect(200).body;
        (body["sale_price"]["amount"].as_i64(), list["items"].as_array().unwrap().len())
    };
    let cheap = "/listings?currency=USD&max_price=8000";
    let head = bazaar.wait(0).await;
    assert_eq!((pay().await, look(head).await), (10_000, (None, 0)));
    let head = bazaar.wait(3_600_000).await;
    assert_eq!((pay().await, look(head).await), (7_500, (Some(7_500), 1)));
    let found = bazaar.buyer.get(cheap).since(head).send().await.expect(200).body;
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "lists go by what is asked");
    let head = bazaar.wait(3_600_000).await;
    assert_eq!((pay().await, look(head).await), (10_000, (None, 0)));
    assert_eq!(shown(&bazaar.buyer, &id, head).await["discount"], Value::Null);

    let path = format!("/listings/{id}");
    let at_once = change(&bazaar.seller, &path, &json!({ "discount": { "price": usd(9_000) } })).await.expect(200);
    assert_eq!((pay().await, look(at_once.at()).await), (9_000, (Some(9_000), 1)));
    let over = change(&bazaar.seller, &path, &json!({ "discount": {} })).await.expect(200);
    assert_eq!((pay().await, look(over.at()).await), (10_000, (None, 0)));
    let dearer = json!({ "discount": { "price": usd(10_000) } });
    change(&bazaar.seller, &path, &dearer).await.problem(422, "no-discount");
    let both = json!({ "discount": { "price": usd(1), "bps": 1 } });
    change(&bazaar.seller, &path, &both).await.problem(422, "invalid-field");
}

#[tokio::test]
async fn what_is_paused_can_be_seen_and_not_bought() {
    let bazaar = Bazaar::open().await;
    let id = bazaar.offer(2).await;
    let path = format!("/listings/{id}");
    let paused = change(&bazaar.seller, &path, &json!({ "paused": true })).await.expect(200);
    assert_eq!(shown(&bazaar.buyer, &id, paused.at()).await["status"], "paused");
    bazaar.buyer.check_out(&[(&id, 1)], "later").await.problem(409, "not-offered");
    let listed = bazaar.buyer.get("/listings").since(paused.at()).send().await.expect(200).body;
    assert_eq!(listed["items"], json!([]));
    change(&bazaar.seller, &path, &json!({ "paused": false })).await.expect(200);
    bazaar.buyer.check_out(&[(&id, 1)], "later").await.expect(201);
}

#[tokio::test]
async fn where_the_staff_looks_first_a_listing_waits_until_it_has_had_its_time() {
    let catalogue = Catalogue { review: true, review_s: 600 };
    let server = InProcess::start_with(Config { catalogue, ..Config::default() }).await;
    let (seller, buyer) = (server.client().register_seller("ann").await, server.client().register("bob").await);
    let clerk = staff(&server, "clerk").await;
    let id = seller.offer(&listing(1_000)).await;
    let auctioned = seller.schedule(&auction(1_000)).await;
    let head = clerk.advance(0).await;
    assert_eq!(shown(&seller, &id, head).await["status"], "pending");
    buyer.get(&format!("/listings/{id}")).since(head).send().await.problem(404, "not-found");
    buyer.get(&format!("/auctions/{auctioned}")).since(head).send().await.problem(404, "not-found");
    buyer.check_out(&[(&id, 1)], "later").await.problem(404, "not-found");
    let head = clerk.advance(599_000).await;
    assert_eq!(shown(&seller, &id, head).await["status"], "pending");
    let head = clerk.advance(1_000).await;
    assert_eq!(shown(&buyer, &id, head).await["status"], "active");
    assert_eq!(buyer.auction(&auctioned, head).await["status"], "open");
    buyer.bid(&auctioned, 2_000).await.expect(201);
}
