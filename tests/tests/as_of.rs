//! Single things as they were, through HTTP: what was answered at some time is what is told of it later.

use std::collections::BTreeMap;

use api::http::paths;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, MINUTE_MS, admin, auditor, order_of, staff};
use tradepost_tests::client::{Client, PASSWORD};
use tradepost_tests::market::{auction, listing, with};
use tradepost_tests::reputation::id_of;
use tradepost_tests::server::InProcess;

/// What somebody is shown of some things, once everything up to `since` shows.
async fn shown(asked: &[(&Client, String)], since: i64) -> Vec<Value> {
    let mut shown = Vec::new();
    for (client, path) in asked {
        shown.push(client.get(path).since(since).send().await.expect(200).body);
    }
    shown
}

async fn shown_as_of(asked: &[(&Client, String)], as_of: &str) -> Vec<Value> {
    let mut shown = Vec::new();
    for (client, path) in asked {
        let sign = if path.contains('?') { '&' } else { '?' };
        shown.push(client.get(&format!("{path}{sign}as_of={as_of}")).send().await.expect(200).body);
    }
    shown
}

#[track_caller]
fn assert_same(asked: &[(&Client, String)], then: &[Value], told: &[Value]) {
    for ((_, path), (then, told)) in asked.iter().zip(then.iter().zip(told)) {
        assert_eq!(told, then, "{path}");
    }
}

/// All that changes with a sale, seen by whoever sees it.
fn of_a_sale<'a>(bazaar: &'a Bazaar, order: &str, group: &str, offered: &str) -> Vec<(&'a Client, String)> {
    let Bazaar { seller, buyer, staff, .. } = bazaar;
    let mut asked: Vec<(&Client, String)> = Vec::new();
    for path in [format!("/orders/{order}"), format!("/escrow/{order}"), format!("/orders/{order}/money")] {
        asked.extend([buyer, seller, staff].map(|client| (client, path.clone())));
    }
    asked.push((buyer, format!("/order-groups/{group}")));
    asked.extend([buyer, seller].map(|client| (client, "/wallet".to_owned())));
    asked.extend([seller, staff].map(|client| (client, format!("/listings/{offered}"))));
    asked.push((buyer, "/points".to_owned()));
    asked.push((seller, format!("/users/{}", seller.account())));
    asked.push((staff, format!("/users/{}", seller.account())));
    asked
}

#[tokio::test]
async fn a_sale_is_told_as_it_stood_after_each_of_its_steps() {
    let bazaar = Bazaar::open().await;
    let offered = bazaar.offer(3).await;
    let bought = bazaar.buyer.check_out(&[(&offered, 1)], "later").await.expect(201);
    let (order, group) = (order_of(&bought), bought.body["group_id"].as_str().unwrap().to_owned());
    let asked = of_a_sale(&bazaar, &order, &group, &offered);
    let mut seen: Vec<(i64, String, Vec<Value>)> = Vec::new();
    let steps = ["placed", "pay", "ship", "deliver", "confirm"];
    for step in steps {
        match step {
            "placed" => {}
            "ship" => drop(bazaar.ship(&order).await.expect(200)),
            told => drop(bazaar.buyer.tell(&order, told).await.expect(200)),
        }
        let at = bazaar.wait(0).await;
        let now = bazaar.staff.now().await.to_rfc3339();
        seen.push((at, now, shown(&asked, at).await));
        // So that no two steps are at the same time.
        bazaar.wait(MINUTE_MS).await;
    }
    for (at, time, then) in &seen {
        assert_same(&asked, then, &shown_as_of(&asked, &at.to_string()).await);
        let time = time.replace("+00:00", "Z");
        assert_same(&asked, then, &shown_as_of(&asked, &time).await);
    }
    let places: Vec<&Value> = seen.iter().map(|(_, _, shown)| &shown[6]["place"]).collect();
    assert_eq!(places, [&json!("unpaid"), &json!("escrow"), &json!("escrow"), &json!("escrow"), &json!("seller")]);
    // Of a dashboard not the days, one of which may begin meanwhile.
    let mut statuses = Vec::new();
    for (at, ..) in &seen {
        let path = format!("/merchant/dashboard?as_of={at}");
        let dashboard = bazaar.seller.get(&path).send().await.expect(200).body;
        statuses.push(dashboard["recent_orders"][0]["status"].clone());
    }
    assert_eq!(json!(statuses), json!(["placed", "paid", "shipped", "delivered", "completed"]));
}

#[tokio::test]
async fn an_auction_a_page_and_what_people_say_of_themselves_are_told_as_they_were() {
    let server = InProcess::start().await;
    let clerk = staff(&server, "clerk").await;
    let (seller, ann) = (server.client().register_seller("sells").await, server.client().register("ann").await);
    let publish = |body: &str| clerk.put("/admin/pages/terms", &json!({ "title": "Terms", "body": body }));
    publish("Be kind.").send().await.expect(201);
    let store = |name: &str| json!({ "slug": "shop", "brand_name": name });
    seller.put("/merchant/me", &store("One")).send().await.expect(201);
    let category = json!({ "slug": "watches", "name": "Watches" });
    clerk.post("/admin/categories", &category).send().await.expect(201);
    let rename = |name: &str| clerk.patch("/admin/categories/watches", &json!({ "name": name }));
    let lot = seller.schedule(&with(auction(1_000), "duration_s", 3_600)).await;
    ann.bid(&lot, 2_000).await.expect(201);
    ann.patch("/profile", &json!({ "display_name": "Ann" })).send().await.expect(200);
    ann.keep_address("Ann Lee").await;
    ann.keep_method("sandbox-succeeds").await;
    ann.post("/affiliate", &json!({})).send().await.expect(201);
    let quiet = |live: bool| json!({ "items": [{ "kind": "outbid", "in_app": live, "live": live, "email": false }] });
    ann.put("/notifications/preferences", &quiet(true)).send().await.expect(200);
    let chat = id_of(&ann.post("/chats", &json!({ "about": "listing", "id": lot })).send().await.expect(201));
    let asked: Vec<(&Client, String)> = vec![
        (&ann, format!("/auctions/{lot}")),
        (&seller, format!("/auctions/{lot}")),
        (&clerk, format!("/listings/{lot}")),
        (&ann, "/pages/terms".to_owned()),
        (&ann, "/categories/watches".to_owned()),
        (&ann, "/auth/me".to_owned()),
        (&ann, "/profile".to_owned()),
        (&clerk, format!("/admin/users/{}", ann.account())),
        (&ann, "/addresses".to_owned()),
        (&ann, "/payments/methods".to_owned()),
        (&ann, "/affiliate".to_owned()),
        (&ann, "/notifications/preferences".to_owned()),
        (&ann, format!("/chats/{chat}")),
        (&seller, "/merchant/me".to_owned()),
        (&seller, "/store/shop".to_owned()),
        (&seller, "/subscriptions/my".to_owned()),
        (&seller, "/payments/connect".to_owned()),
    ];
    let at = ann.advance(0).await;
    let then = shown(&asked, at).await;

    ann.bid(&lot, 5_000).await.expect(201);
    clerk.bid(&lot, 3_000).await.expect(201);
    publish("Be fair.").send().await.expect(200);
    rename("Clocks").send().await.expect(200);
    ann.patch("/profile", &json!({ "display_name": "Anna", "phone": "+92 300" })).send().await.expect(200);
    ann.keep_address("Anna Lee").await;
    ann.keep_method("sandbox-delays").await;
    ann.put("/notifications/preferences", &quiet(false)).send().await.expect(200);
    ann.post(&format!("/chats/{chat}/messages"), &json!({ "text": "Is it gold?" })).send().await.expect(201);
    seller.put("/merchant/me", &store("Two")).send().await.expect(200);
    seller.offer(&listing(700)).await;
    let later = ann.advance(DAY_MS).await;
    let now = shown(&asked, later).await;
    let changed = then.iter().zip(&now).filter(|(then, now)| then != now).count();
    assert!(changed > 12, "{changed}");
    assert_same(&asked, &then, &shown_as_of(&asked, &at.to_string()).await);
    assert_same(&asked, &now, &shown_as_of(&asked, &later.to_string()).await);
}

#[tokio::test]
async fn what_is_still_to_come_and_what_is_no_moment_is_refused() {
    let bazaar = Bazaar::open().await;
    let offered = bazaar.offer(1).await;
    let head = bazaar.wait(0).await;
    let ask = |as_of: &str| bazaar.seller.get(&format!("/listings/{offered}?as_of={as_of}")).since(head).send();
    let refused = ask(&(head + 1).to_string()).await.problem(422, "as-of-in-the-future");
    assert_eq!(refused.body["head"], json!(head));
    ask("2999-01-01T00:00:00Z").await.problem(422, "as-of-in-the-future");
    for wrong in ["", "-1", "yesterday", "2026-11-22", "1700-01-01T00:00:00Z", "1&as_of=x", "9999999999999999999"] {
        let refused = ask(wrong).await.problem(422, "invalid-field");
        assert_eq!(refused.body["errors"][0]["pointer"], "?as_of", "{wrong}");
    }
    // Before it was there, and before anything was.
    for before in ["0", "1", "1971-01-01T00:00:00Z"] {
        ask(before).await.problem(404, "not-found");
    }
    ask(&head.to_string()).await.expect(200);
    // It is dear to tell.
    let nobody = bazaar.server.client();
    for path in [format!("/listings/{offered}"), format!("/users/{}", bazaar.seller.account())] {
        nobody.get(&path).send().await.expect(200);
        nobody.get(&format!("{path}?as_of={head}")).send().await.problem(401, "unauthenticated");
    }
    // A list has no past.
    bazaar.buyer.get(&format!("/listings?as_of={head}")).send().await.problem(422, "invalid-field");
}

#[tokio::test]
async fn who_sees_nothing_today_sees_nothing_of_the_past() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    let offered = bazaar.offer(1).await;
    let stranger = bazaar.server.client().register("stranger").await;
    let at = bazaar.wait(0).await;
    let as_of = |path: &str| format!("{path}?as_of={at}");
    for path in [format!("/orders/{order}"), format!("/escrow/{order}"), format!("/orders/{order}/money")] {
        stranger.get(&as_of(&path)).send().await.problem(404, "not-found");
        bazaar.staff.get(&as_of(&path)).send().await.expect(200);
    }
    // What the staff have taken away is not to be had by its past, but by its seller and the staff.
    let path = format!("/listings/{offered}");
    stranger.get(&path).send().await.expect(200);
    bazaar.seller.get(&as_of(&path)).send().await.expect(200);
    let removed = json!({ "status": "removed", "reason": "It is stolen." });
    let removed = bazaar.staff.patch(&format!("/admin{path}"), &removed).send().await.expect(200);
    bazaar.buyer.get(&as_of(&path)).since(removed.at()).send().await.problem(404, "not-found");
    let then = bazaar.seller.get(&as_of(&path)).since(removed.at()).send().await.expect(200).body;
    assert_eq!((&then["status"], &then["reason"]), (&json!("active"), &Value::Null));
}

#[tokio::test]
async fn how_somebody_was_and_what_they_said_is_told_to_themselves_staff_and_auditors() {
    let bazaar = Bazaar::open().await;
    let Bazaar { server, seller, buyer, staff, .. } = &bazaar;
    let (stranger, auditor) = (server.client().register("stranger").await, auditor(server, "auditor").await);
    let got = bazaar.get_one().await;
    let review = id_of(&buyer.review(&got, 5).await.expect(201));
    let at = bazaar.wait(0).await;
    for (path, theirs) in [
        (format!("/users/{}", seller.account()), seller),
        (format!("/listings/{}", got.listing), seller),
        (format!("/reviews/{review}"), buyer),
    ] {
        let as_of = format!("{path}?as_of={at}");
        stranger.get(&path).since(at).send().await.expect(200);
        stranger.get(&as_of).send().await.problem(404, "not-found");
        for may in [theirs, staff, &auditor] {
            may.get(&as_of).send().await.expect(200);
        }
    }
}

#[tokio::test]
async fn who_is_forgotten_stays_so() {
    let server = InProcess::start().await;
    let chief = admin(&server, "chief").await;
    let ann = server.client().register("ann").await;
    ann.patch("/profile", &json!({ "display_name": "Canary", "phone": "+92 300" })).send().await.expect(200);
    let at = ann.advance(0).await;
    let path = format!("/admin/users/{}", ann.account());
    let then = chief.get(&format!("{path}?as_of={at}")).send().await.expect(200).body;
    assert_eq!(then["display_name"], "Canary");
    ann.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    let head = chief.advance(0).await;
    let told = chief.get(&format!("{path}?as_of={at}")).since(head).send().await.expect(200);
    for personal in ["email", "user_name", "display_name", "phone"] {
        assert_eq!(told.body[personal], Value::Null, "{personal}");
    }
    assert!(!told.text.contains("Canary"));
    assert_eq!(told.body["registered_at"], then["registered_at"]);
}

/// What one of them rests on is bounded.
#[tokio::test]
async fn too_much_history_is_refused() {
    let config = api::config::Config {
        past: api::config::Past { events: 100, ..api::config::Past::default() },
        ..api::config::Config::default()
    };
    let server = InProcess::start_with(config).await;
    let seller = server.client().register_seller("sells").await;
    let lot = seller.schedule(&with(auction(1_000), "duration_s", 3_600)).await;
    let ann = server.client().register("ann").await;
    for cents in 1..=101 {
        ann.bid(&lot, 1_000 + cents).await.expect(201);
    }
    let at = ann.advance(0).await;
    let path = format!("/auctions/{lot}?as_of={at}");
    let refused = ann.get(&path).send().await.problem(422, "too-much-history");
    assert_eq!(refused.body["most_events"], 100);
    ann.get(&format!("/auctions/{lot}?as_of={}", at - 50)).send().await.expect(200);
}

/// One answer after another is worked out, one for each who asks, and none for longer than there is time.
#[tokio::test]
async fn too_many_are_told_to_come_again_and_so_is_who_asks_for_two_things_at_once() {
    let config = api::config::Config {
        past: api::config::Past { at_once: 1, timeout_ms: 5_000, ..api::config::Past::default() },
        ..api::config::Config::default()
    };
    let server = InProcess::start_with(config).await;
    let seller = server.client().register_seller("sells").await;
    let clerk = staff(&server, "clerk").await;
    let lot = seller.schedule(&with(auction(1_000), "duration_s", 3_600)).await;
    let at = seller.advance(0).await;
    let path = format!("/listings/{lot}?as_of={at}");
    clerk.get(&path).send().await.expect(200);
    // Nothing that mentions it can be found while this goes on.
    let mut blocker = server.database.connect().await;
    sqlx::raw_sql("begin; lock table mentions.mentions").execute(&mut blocker).await.unwrap();
    let first = tokio::spawn(seller.get(&path).send());
    let waiting = "select exists (select from pg_locks where relation = 'mentions.mentions'::regclass and not granted)";
    while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(&mut blocker).await.unwrap() {}
    let again = seller.get(&format!("/events/listing/{lot}?version=1"));
    let (second, again) = tokio::join!(clerk.get(&path).send(), again.send());
    let (second, again) = (second.problem(503, "unavailable"), again.problem(429, "too-many-requests"));
    assert_eq!(second.header("retry-after"), Some("3"));
    assert!(second.text.contains("Too many ask") && again.text.contains("already"), "{} {}", second.text, again.text);
    let first = first.await.unwrap().problem(503, "unavailable");
    assert!(first.text.contains("longer to work out"), "{}", first.text);
    sqlx::raw_sql("rollback").execute(&mut blocker).await.unwrap();
    for client in [&seller, &clerk] {
        client.get(&path).send().await.expect(200);
    }
}

/// Which single things have no `as_of`, and why.
const WITHOUT: [(&str, &str); 15] = [
    ("/admin/fees/{scope}/{id}", "what the decision loop goes by now, out of its memory"),
    ("/merchant/fees", "the same"),
    ("/admin/dashboard", "what everything comes to, day by day: that of then is among the days"),
    ("/admin/statistics", "the same"),
    ("/listings/suggestions", "a list"),
    ("/events/{position}/proof", "an event never changes"),
    ("/events/receipts/{id}", "the same"),
    ("/health", "not about the log"),
    ("/health/detailed", "not about the log"),
    ("/metrics", "not about the log"),
    ("/media/{name}", "a file"),
    ("/sandbox/clock", "not about the log"),
    ("/schema", "not about the log"),
    ("/docs", "not about the log"),
    ("/events/head", "a signed head of then is asked for by its size"),
];

/// What is in a list is asked for one by one.
fn is_list(answer: &Value) -> bool {
    answer["properties"]["items"].is_object()
}

#[test]
fn every_read_of_a_single_thing_takes_as_of_or_says_why_not() {
    let document = serde_json::to_value(api::http::document(true)).unwrap();
    let schemas = &document["components"]["schemas"];
    let mut missing = BTreeMap::new();
    for route in paths::routes().filter(|route| route.method == "GET" && !route.path.starts_with("/ws/")) {
        let operation = &document["paths"][format!("{}{}", paths::BASE, route.path)]["get"];
        let Some(parameters) = operation["parameters"].as_array() else { continue };
        let takes = parameters.iter().any(|parameter| parameter["name"] == "as_of");
        let body = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        let body = body["$ref"].as_str().map_or(body, |name| &schemas[name.rsplit('/').next().unwrap_or_default()]);
        let excused = WITHOUT.iter().any(|(path, _)| *path == route.path) || is_list(body);
        if !takes && !excused {
            missing.insert(route.path, body["properties"].clone());
        }
        assert!(!takes || operation["responses"]["422"].is_object(), "{}", route.path);
        assert!(!takes || !WITHOUT.iter().any(|(path, _)| *path == route.path), "{} takes it", route.path);
    }
    for (path, _) in WITHOUT {
        assert!(paths::routes().any(|route| route.method == "GET" && route.path == path), "{path} is not there");
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
