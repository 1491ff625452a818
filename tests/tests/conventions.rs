//! What every route has in common: problems, paths, idempotency, entity tags, reading one's own writes, pages.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::server::InProcess;

async fn seller_at(server: &InProcess) -> Client {
    server.client().register_seller("ann").await
}

fn id_of(answer: &Answer) -> String {
    answer.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_kind_of_error_is_a_problem() {
    let server = InProcess::start().await;
    let (nobody, seller) = (server.client(), seller_at(&server).await);
    let json_type = "application/json";

    seller.ask(&Method::POST, "/api/v1/listings").raw(json_type, "{").send().await.problem(400, "malformed-json");
    let unauthenticated = nobody.post("/listings", &listing(100)).send().await.problem(401, "unauthenticated");
    assert_eq!(unauthenticated.header("www-authenticate"), Some("Bearer"));
    let nowhere = nobody.get("/no/such/route").send().await.problem(404, "no-such-route");
    assert!(nowhere.body["detail"].as_str().unwrap().contains("/no/such/route"));
    let nothing = format!("/listings/{}", uuid::Uuid::from_u128(1));
    nobody.get(&nothing).send().await.problem(404, "not-found");
    nobody.get("/listings/not-an-id").send().await.problem(404, "not-found");
    let wrong_method = nobody.ask(&Method::DELETE, "/api/v1/listings").send().await.problem(405, "method-not-allowed");
    let allow: BTreeSet<&str> = wrong_method.header("allow").unwrap().split(',').map(str::trim).collect();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow:?}");
    let email = json!({ "email": "ann@example.com", "user_name": "other", "password": "long enough" });
    nobody.post("/auth/register", &email).send().await.problem(409, "email-taken");
    let huge = with(listing(100), "description", "x".repeat(1_100_000));
    seller.post("/listings", &huge).send().await.problem(413, "too-large");
    let form = seller.ask(&Method::POST, "/api/v1/listings").raw("application/x-www-form-urlencoded", "title=x");
    form.send().await.problem(415, "unsupported-media-type");
    let not_positive = seller.post("/listings", &listing(0)).send().await.problem(422, "price-not-positive");
    assert_eq!(not_positive.body["offered"], usd(0));
}

#[tokio::test]
async fn a_wrong_field_is_named_by_its_pointer() {
    let server = InProcess::start().await;
    let seller = seller_at(&server).await;
    let cases = [
        (with(listing(100), "seller", "me"), "unknown field"),
        (with(listing(100), "condition", "shiny"), "/condition"),
        (with(listing(100), "title", " "), "/title"),
        (with(listing(100), "category", "Not A Slug"), "/category"),
        (with(listing(100), "price", json!({ "amount": 100, "currency": "XXX" })), "/price"),
        (with(listing(100), "price", json!({ "amount": 1_i64 << 53, "currency": "USD" })), "/price"),
        (with(listing(100), "price", json!({ "amount": 1.5, "currency": "USD" })), "/price"),
        (with(listing(100), "auction", json!({ "start_price": usd(1), "duration_s": 60 })), "/price"),
        (with(listing(100), "price", Value::Null), "/price"),
        (
            with(listing(100), "variants", json!([{ "sku": "s" }, { "sku": "m", "stock": 1_000_001 }])),
            "/variants/1/stock ",
        ),
        (with(listing(100), "variants", json!([{ "sku": "s", "options": { "a/b~c": 1 } }])), "/a~1b~0c "),
        (with(listing(100), "title", "x\u{0}"), "U+0000"),
        (with(listing(100), "x\u{0}", "x"), "U+0000"),
    ];
    for (body, expected) in cases {
        let answer = seller.post("/listings", &body).send().await.problem(422, "invalid-field");
        let error = &answer.body["errors"][0];
        let told = format!("{} {}", error["pointer"].as_str().unwrap(), error["detail"].as_str().unwrap());
        assert!(told.contains(expected) && error["code"].is_string(), "{body}: {told}");
    }
    // Six characters that only spell it.
    seller.post("/listings", &with(listing(100), "description", "\\u0000")).send().await.expect(201);
}

#[tokio::test]
async fn both_bases_a_trailing_slash_and_the_old_names_are_the_same_route() {
    let server = InProcess::start().await;
    let seller = seller_at(&server).await;
    let mut position = 0;
    for path in ["/api/v1/listings", "/api/listings", "/api/v1/listings/", "/api/products/", "/api/merchant/products"] {
        let drafted = seller.ask(&Method::POST, path).json(&listing(100)).send().await.expect(201);
        position = drafted.at();
        let location = drafted.header("location").unwrap().to_owned();
        let id = id_of(&drafted);
        assert_eq!(location, format!("/api/v1/listings/{id}"));
        for path in [location, format!("/api/listings/{id}/"), format!("/api/v1/products/{id}")] {
            let shown = seller.ask(&Method::GET, &path).since(position).send().await.expect(200);
            assert_eq!(shown.body["id"], json!(id), "{path}");
        }
    }
    for path in ["/health", "/api/health", "/api/v1/health/"] {
        server.client().ask(&Method::GET, path).send().await.expect(200);
    }
    let me = |path: &str| seller.ask(&Method::GET, path).since(position).send();
    assert_eq!(me("/api/auth/profile").await.expect(200).body, me("/api/v1/auth/me").await.expect(200).body);
}

#[tokio::test]
async fn an_old_name_answers_head_like_get_and_refuses_other_methods() {
    let server = InProcess::start().await;
    let seller = seller_at(&server).await;
    let id = seller.offer(&listing(100)).await;
    seller.get(&format!("/listings/{id}")).since(server.database.log_head().await).send().await.expect(200);
    for path in [format!("/api/v1/listings/{id}"), format!("/api/products/{id}/")] {
        let head = seller.ask(&Method::HEAD, &path).send().await.expect(200);
        assert!(head.text.is_empty() && head.header("etag").is_some(), "{path}");
    }
    let auction = seller.schedule(&auction(100)).await;
    let wrong = [
        (Method::DELETE, "/api/products".to_owned(), "GET,HEAD,POST"),
        (Method::POST, format!("/api/v1/products/{id}"), "GET,HEAD,PATCH,PUT,DELETE"),
        (Method::GET, format!("/api/auctions/{auction}/place_bid"), "POST"),
        (Method::POST, format!("/ws/auction/{auction}/"), "GET,HEAD"),
    ];
    for (method, path, allow) in wrong {
        let refused = seller.ask(&method, &path).send().await.problem(405, "method-not-allowed");
        assert_eq!(refused.header("allow"), Some(allow), "{method} {path}");
    }
    seller.ask(&Method::GET, "/api/docs/no-such-file.js").send().await.problem(404, "no-such-route");
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_and_does_nothing_twice() {
    let server = InProcess::start().await;
    let seller = seller_at(&server).await;
    let ask = |path: &str, body: &Value| seller.ask(&Method::POST, path).json(body).key("k1").send();
    let first = ask("/api/v1/listings", &listing(100)).await.expect(201);
    let head = server.database.log_head().await;
    assert!(!first.replayed());

    // The same JSON in another order and with other spaces, by other names of the path.
    let mut fields = Vec::from_iter(listing(100).as_object().unwrap().clone());
    fields.reverse();
    let fields = fields.iter().map(|(name, value)| format!("\n {} : {value}", json!(name))).collect::<Vec<_>>();
    let body = format!("{{{}}}", fields.join(" ,"));
    let reordered = seller.ask(&Method::POST, "/api/v1/listings").raw("application/json", body).key("k1");
    let again = [
        ask("/api/v1/listings", &listing(100)).await,
        ask("/api/v1/listings/", &listing(100)).await,
        ask("/api/listings", &listing(100)).await,
        ask("/api/products", &listing(100)).await,
        reordered.send().await,
    ];
    for again in again {
        let again = again.expect(201);
        assert!(again.replayed());
        assert_eq!((again.body, again.position), (first.body.clone(), first.position));
        assert_eq!(again.headers.get("etag"), first.headers.get("etag"));
    }
    ask("/api/v1/listings", &listing(101)).await.problem(422, "idempotency-key-reused");
    let deposit = json!({ "amount": usd(100) });
    ask("/api/v1/payments/deposit", &deposit).await.problem(422, "idempotency-key-reused");
    assert_eq!(server.database.log_head().await, head);

    let other = server.client().register_seller("bob").await;
    let theirs = other.post("/listings", &listing(100)).key("k1").send().await.expect(201);
    assert!(!theirs.replayed() && id_of(&theirs) != id_of(&first));
}

#[tokio::test]
async fn a_key_outlives_the_node_that_has_seen_it_and_a_refusal_is_not_remembered() {
    let server = InProcess::start().await;
    let buyer = server.client().register("bob").await;
    let withdraw = json!({ "amount": usd(500) });
    buyer.post("/payments/withdraw", &withdraw).key("w").send().await.problem(422, "insufficient-funds");
    buyer.fund(600).await;
    let paid = buyer.post("/payments/withdraw", &withdraw).key("w").send().await.expect(202);
    assert!(!paid.replayed());

    let settings = api::config::Config::default();
    let server = InProcess::start_on(server.stop().await, settings).await;
    let buyer = buyer.at(server.address());
    let again = buyer.post("/payments/withdraw", &withdraw).key("w").send().await.expect(202);
    assert!(again.replayed());
    assert_eq!((again.body, again.position), (paid.body, paid.position));
    let other = json!({ "amount": usd(1) });
    buyer.post("/payments/withdraw", &other).key("w").send().await.problem(422, "idempotency-key-reused");
    // It would be refused now; that it was accepted under its key counts.
    assert_eq!(buyer.available(buyer.advance(0).await).await, 100);
}

#[tokio::test]
async fn a_whole_number_may_be_written_as_a_float() {
    let server = InProcess::start().await;
    let buyer = server.client().register("bob").await;
    let deposit = async |amount: &str| {
        let body = format!(r#"{{"amount": {{"amount": {amount}, "currency": "USD"}}}}"#);
        let ask = buyer.ask(&Method::POST, "/api/v1/payments/deposit").raw("application/json", body);
        ask.key("k").send().await
    };
    let first = deposit("500.0").await.expect(202);
    assert_eq!(first.body["amount"], usd(500));
    // However it is written, it is the same request.
    for same in ["500", "5e2", "500.00"] {
        assert!(deposit(same).await.expect(202).replayed(), "{same}");
    }
    for fraction in ["500.5", "5e-1", "9007199254740993.0", "1e300"] {
        deposit(fraction).await.problem(422, "invalid-field");
    }
}

#[tokio::test]
async fn a_key_is_1_to_255_characters() {
    let server = InProcess::start().await;
    let buyer = server.client().register("bob").await;
    let deposit = |key: &str| buyer.post("/payments/deposit", &json!({ "amount": usd(1) })).key(key).send();
    deposit(&"k".repeat(255)).await.expect(202);
    deposit(&"k".repeat(256)).await.problem(400, "malformed-idempotency-key");
    deposit("").await.problem(400, "malformed-idempotency-key");
}

#[tokio::test]
async fn an_etag_makes_a_command_conditional() {
    let server = InProcess::start().await;
    let seller = seller_at(&server).await;
    let drafted = seller.post("/listings", &listing(100)).send().await.expect(201);
    let path = format!("/api/v1/listings/{}", id_of(&drafted));
    let shown = seller.ask(&Method::GET, &path).since(drafted.at()).send().await.expect(200);
    let etag = shown.header("etag").unwrap().to_owned();
    assert_eq!(etag, format!("\"1.{}\"", drafted.at()));
    assert_eq!(drafted.header("etag"), Some(etag.as_str()));

    let reprice = |etag: &str, cents: i64| {
        let ask = seller.ask(&Method::PATCH, &path).json(&json!({ "price": usd(cents) }));
        ask.header("if-match", etag).send()
    };
    let changed = reprice(&etag, 200).await.expect(200);
    assert_eq!(changed.body["version"], 2);
    let stale = reprice(&etag, 300).await.problem(412, "version-mismatch");
    assert_eq!((&stale.body["expected"], &stale.body["actual"]), (&json!(1), &json!(2)));
    let shown = seller.ask(&Method::GET, &path).since(changed.at()).send().await.expect(200);
    assert_eq!(shown.body["price"], usd(200));
    assert_eq!(shown.header("etag"), changed.header("etag"));
    reprice("*", 400).await.expect(200);
    for malformed in ["2.7", "\"2\"", "\"2.x\"", "\"2.7.7\"", "W/\"2.7\""] {
        reprice(malformed, 500).await.problem(400, "malformed-if-match");
    }
}

#[tokio::test]
async fn what_makes_something_new_takes_no_if_match() {
    let server = InProcess::start().await;
    let seller = seller_at(&server).await;
    let head = server.database.log_head().await;
    let deposit = json!({ "amount": usd(100) });
    let cart = json!({ "lines": [{ "listing_id": uuid::Uuid::from_u128(7) }] });
    let asked = [
        ("/listings", listing(100)),
        ("/auctions", auction(100)),
        ("/orders", cart),
        ("/payments/deposit", deposit.clone()),
        ("/payments/withdraw", deposit),
    ];
    for (path, body) in asked {
        for tag in ["\"1.1\"", "*"] {
            let refused = seller.post(path, &body).header("if-match", tag).send().await;
            refused.problem(400, "unexpected-if-match");
        }
    }
    assert_eq!(server.database.log_head().await, head);
}

#[tokio::test]
async fn an_etag_of_a_command_is_the_one_that_is_shown_then() {
    let server = InProcess::start().await;
    let (seller, buyer) = (seller_at(&server).await, server.client().register("bob").await);
    let planned = json!({ "start_price": usd(100), "buy_now_price": usd(900), "duration_s": 600 });
    let mut by_auction = listing(100);
    by_auction.as_object_mut().unwrap().remove("price");
    let drafted = seller.post("/listings", &with(by_auction, "auction", planned)).send().await.expect(201);
    let id = id_of(&drafted);
    let (of_listing, of_auction) = (format!("/api/v1/listings/{id}"), format!("/api/v1/auctions/{id}"));
    let patch = |body: Value| seller.ask(&Method::PATCH, &of_listing).json(&body).send();
    let bid = json!({ "maximum": usd(100) });
    // What ends with an event of another stream, or may change nothing, has none to tell.
    let answers = [
        (drafted, &of_listing, true),
        (patch(json!({ "title": "Another" })).await.expect(200), &of_listing, true),
        (patch(json!({})).await.expect(200), &of_listing, false),
        (seller.post(&format!("/listings/{id}/publish"), &json!({})).send().await.expect(200), &of_listing, false),
        (buyer.post(&format!("/auctions/{id}/buy-now"), &json!({})).send().await.expect(200), &of_auction, false),
        (seller.post("/auctions", &auction(100)).send().await.expect(201), &of_auction, true),
    ];
    for (answer, path, tagged) in answers {
        assert_eq!(answer.header("etag").is_some(), tagged, "{path} {}", answer.text);
        if let Some(etag) = answer.header("etag") {
            assert!(etag.ends_with(&format!(".{}\"", answer.at())), "{path} {etag}");
        }
    }
    let running = seller.schedule(&auction(100)).await;
    let placed = buyer.post(&format!("/auctions/{running}/bids"), &bid).send().await.expect(201);
    let shown = buyer.get(&format!("/auctions/{running}")).since(placed.at()).send().await.expect(200);
    assert_eq!(placed.header("etag"), shown.header("etag"));
}

#[tokio::test]
async fn a_reader_who_names_a_position_sees_it_or_is_told_to_come_back() {
    let server = InProcess::start().await;
    let seller = seller_at(&server).await;
    for cents in 1..=20 {
        let drafted = seller.post("/listings", &listing(cents)).send().await.expect(201);
        let path = format!("/listings/{}?min_position={}", id_of(&drafted), drafted.at());
        assert_eq!(seller.get(&path).send().await.expect(200).body["price"], usd(cents));
    }
    let far = server.database.log_head().await + 1;
    let paths = ["/listings", "/auctions", "/wallet", "/payments/transactions", "/auth/me"];
    for behind in join_all(paths.map(|path| seller.get(path).since(far).send())).await {
        let behind = behind.problem(503, "projection-behind");
        assert!(behind.header("retry-after").is_some());
        assert_eq!(behind.body["min_position"], json!(far));
        assert!(behind.body["reached"].as_i64().unwrap() < far);
    }
    seller.get("/listings?min_position=x").send().await.problem(422, "invalid-field");
    // Each of two is read, though the first one counts.
    for malformed in ["-1", "x", ""] {
        let ask = seller.get("/listings?min_position=0").header("tradepost-min-position", malformed);
        ask.send().await.problem(422, "invalid-field");
    }
    seller.get("/listings?min_position=0&min_position=x").send().await.problem(422, "invalid-field");
    seller.get("/listings?min_position=0").since(far).send().await.expect(200);
}

/// Walks a list to its end and tells the ids, in order.
async fn walk(client: &Client, path: &str, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("{path}limit={limit}{cursor}")).send().await.expect(200).body;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= limit && (items.len() == limit || page["next_cursor"].is_null()));
        ids.extend(items.iter().map(|item| match &item["id"] {
            Value::String(id) => id.clone(),
            _ => item["sequence"].to_string(),
        }));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn a_cursor_walks_every_item_once() {
    let server = InProcess::start().await;
    let (seller, buyer) = (seller_at(&server).await, server.client().register("bob").await);
    let (mut listings, mut auctions, mut position) = (BTreeSet::new(), BTreeSet::new(), 0);
    for number in 0..23 {
        // Few prices and few ends, so that many items share a sort key.
        let drafted = seller.post("/listings", &listing(100 + number % 3)).send().await.expect(201);
        let id = id_of(&drafted);
        let publish = format!("/listings/{id}/publish");
        position = seller.post(&publish, &json!({})).send().await.expect(200).at();
        listings.insert(id);
        if number % 2 == 0 {
            auctions.insert(seller.schedule(&with(auction(500), "duration_s", 600 + number % 4)).await);
        }
    }
    let one = auctions.first().unwrap().clone();
    for number in 0..9 {
        buyer.bid(&one, 1_000 + number * 100).await.expect(201);
        position = buyer.deposit(100 + number, "sandbox-succeeds").await.expect(202).at();
    }
    server.client().get("/listings").since(position).send().await.expect(200);
    let all: BTreeSet<String> = listings.union(&auctions).cloned().collect();
    let nobody = server.client();
    let at = |path: &str| format!("{path}min_position={position}&");
    let cases = [
        (at("/listings?"), all.clone()),
        (at("/listings?sort=price_asc&"), all.clone()),
        (at("/listings?sort=price_desc&"), all),
        (at("/listings?kind=fixed_price&"), listings),
        (at("/listings?sort=ending_soon&"), auctions.clone()),
        (at("/auctions?"), auctions.clone()),
        (at("/auctions?sort=newest&"), auctions),
    ];
    for (path, expected) in cases {
        for limit in [1, 7, 100] {
            let walked = walk(&nobody, &path, limit).await;
            assert_eq!(walked.len(), expected.len(), "{path}{limit}");
            assert_eq!(BTreeSet::from_iter(walked), expected, "{path}{limit}");
        }
    }
    assert_eq!(walk(&nobody, &at(&format!("/auctions/{one}/bids?")), 4).await.len(), 9);
    assert_eq!(walk(&buyer, &at("/payments/transactions?"), 4).await.len(), 9);
    for path in ["/listings?limit=0", "/listings?limit=101", "/listings?cursor=x", "/auctions?no_such=1"] {
        nobody.get(path).send().await.problem(422, "invalid-field");
    }
    let page = nobody.get("/listings?limit=1").send().await.expect(200).body;
    let of_another_order = format!("/listings?sort=price_asc&cursor={}", page["next_cursor"].as_str().unwrap());
    nobody.get(&of_another_order).send().await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_draft_is_there_for_its_seller_alone() {
    let server = InProcess::start().await;
    let (seller, other) = (seller_at(&server).await, server.client().register_seller("bob").await);
    let drafted = seller.post("/listings", &listing(100)).send().await.expect(201);
    let path = format!("/listings/{}", id_of(&drafted));
    for client in [&other, &server.client()] {
        client.get(&path).since(drafted.at()).send().await.problem(404, "not-found");
    }
    let purchase = format!("{path}/purchase");
    other.post(&purchase, &json!({})).send().await.problem(404, "not-found");
    seller.post(&purchase, &json!({})).send().await.problem(409, "not-offered");
    seller.get(&path).since(drafted.at()).send().await.expect(200);
    let full = format!("/api/v1{path}");
    other.ask(&Method::PATCH, &full).json(&json!({ "title": "mine" })).send().await.problem(404, "not-found");
    other.ask(&Method::DELETE, &full).send().await.problem(404, "not-found");
    other.post(&format!("{path}/publish"), &json!({})).send().await.problem(404, "not-found");
    let gone = seller.ask(&Method::DELETE, &full).send().await.expect(200);
    let shown = seller.get(&path).since(gone.at()).send().await.expect(200);
    assert_eq!(shown.body["status"], "archived");
}

#[tokio::test]
async fn a_page_that_has_not_changed_is_not_sent_again() {
    let server = InProcess::start().await;
    let (anybody, seller) = (server.client(), seller_at(&server).await);
    let first = seller.post("/auctions", &auction(100)).send().await.expect(201);
    let auction_id = id_of(&first);
    // It opens by itself, at once.
    let is_open = async || anybody.get(&format!("/auctions/{auction_id}")).send().await.body["status"] == "open";
    while !is_open().await {}
    let bids = format!("/auctions/{auction_id}/bids");
    for (path, cents) in [("/listings", 10_000), ("/auctions", 100_000), (&*bids, 1_000_000)] {
        let position = |answer: &Answer| answer.body["position"].as_i64().unwrap();
        let page = anybody.get(path).since(server.database.log_head().await).send().await.expect(200);
        let tag = page.header("etag").unwrap().to_owned();
        let known = async |position: i64| {
            let tags = format!("W/\"another\", {tag}");
            anybody.get(path).header("if-none-match", &tags).since(position).send().await
        };
        let unchanged = known(0).await.expect(304);
        assert_eq!(
            (unchanged.header("etag"), unchanged.header("vary")),
            (Some(&*tag), Some("Authorization")),
            "{path}"
        );
        // What does not concern the read model does not change it either.
        let deposit = seller.deposit(100, "sandbox-succeeds").await.expect(202);
        known(position(&deposit)).await.expect(304);
        // Somebody who has logged in may see more.
        let own = seller.get("/listings").header("if-none-match", &tag).send().await.expect(200);
        assert_ne!(own.header("etag"), Some(&*tag));

        let bidder = server.join(&format!("bidder-{cents}")).await;
        let placed = bidder.bid(&auction_id, cents).await.expect(201);
        let changed = known(position(&placed)).await.expect(200);
        assert_ne!(changed.header("etag"), Some(&*tag), "{path}");
    }
    server.stop().await;
}
