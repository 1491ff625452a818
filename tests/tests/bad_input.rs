//! A refused request is a 4xx problem and changes nothing: the log's head stays where it is.

use api::http::pages::Page;
use api::http::{openapi, paths};
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::Client;
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::server::InProcess;

/// A request that must be refused: who, method, path, content type, body.
struct Case<'a>(&'a Client, Method, String, &'static str, Vec<u8>);

const JSON: &str = "application/json";

#[tokio::test]
async fn whatever_is_refused_leaves_no_trace() {
    let server = InProcess::start().await;
    let nobody = server.client();
    let (seller, buyer) = (nobody.register_seller("ann").await, nobody.register("bob").await);
    let running = seller.schedule(&auction(1_000)).await;
    let later = with(auction(1_000), "starts_at", json!(seller.now().await + chrono::TimeDelta::hours(1)));
    let not_begun = seller.schedule(&later).await;
    buyer.bid(&running, 2_000).await.expect(201);
    let fixed = seller.post("/listings", &listing(100)).send().await.expect(201);
    let fixed = fixed.body["id"].as_str().unwrap().to_owned();
    buyer.fund(1_000).await;

    let mut cases: Vec<Case<'_>> = Vec::new();
    let mut add = |client, method, path: &str, body: &Value| {
        cases.push(Case(client, method, path.to_owned(), JSON, body.to_string().into_bytes()));
    };
    let bids = format!("/auctions/{running}/bids");
    for maximum in amounts() {
        let bid = json!({ "maximum": maximum });
        add(&buyer, Method::POST, &bids, &bid);
        add(&buyer, Method::POST, "/payments/deposit", &json!({ "amount": maximum }));
        add(&buyer, Method::POST, "/payments/withdraw", &json!({ "amount": maximum }));
        add(&seller, Method::POST, "/listings", &with(listing(1), "price", maximum.clone()));
        for field in ["start_price", "reserve_price", "buy_now_price"] {
            if !(maximum.is_null() && field != "start_price") {
                add(&seller, Method::POST, "/auctions", &with(auction(5), field, maximum.clone()));
            }
        }
    }
    for maximum in [usd(1), usd(1_999), usd(2_000), json!({ "amount": 5_000, "currency": "EUR" })] {
        add(&buyer, Method::POST, &bids, &json!({ "maximum": maximum }));
    }
    let (bid, nothing) = (json!({ "maximum": usd(9_000) }), json!({}));
    add(&seller, Method::POST, &bids, &bid);
    add(&nobody, Method::POST, &bids, &bid);
    add(&buyer, Method::POST, &format!("/auctions/{not_begun}/bids"), &bid);
    add(&buyer, Method::POST, &format!("/auctions/{fixed}/bids"), &bid);
    add(&buyer, Method::POST, &format!("/auctions/{running}/buy-now"), &nothing);
    add(&buyer, Method::POST, &format!("/auctions/{running}/cancel"), &json!({ "reason": "mine" }));
    add(&seller, Method::POST, &format!("/auctions/{running}/cancel"), &json!({ "reason": "too late" }));
    add(&seller, Method::POST, &format!("/auctions/{running}/cancel"), &json!({ "reason": "" }));
    add(&seller, Method::DELETE, &format!("/listings/{running}"), &nothing);
    add(&seller, Method::PATCH, &format!("/listings/{running}"), &json!({ "price": usd(5) }));
    add(&buyer, Method::PATCH, &format!("/listings/{fixed}"), &json!({ "title": "mine" }));
    add(&buyer, Method::POST, &format!("/listings/{fixed}/publish"), &nothing);
    add(&buyer, Method::POST, "/auctions", &auction(5));
    add(&buyer, Method::POST, "/listings", &listing(5));
    for auction in auctions() {
        add(&seller, Method::POST, "/auctions", &auction);
    }
    add(&seller, Method::POST, "/auctions", &with(auction(500), "reserve_price", usd(499)));
    add(&seller, Method::POST, "/auctions", &with(auction(500), "buy_now_price", usd(499)));
    let in_euros = json!({ "amount": 900, "currency": "EUR" });
    add(&seller, Method::POST, "/auctions", &with(auction(500), "reserve_price", in_euros));
    for text in texts() {
        add(&seller, Method::POST, "/listings", &with(listing(5), "title", text.clone()));
        add(&seller, Method::POST, "/listings", &with(listing(5), "category", text.clone()));
        add(&seller, Method::PATCH, &format!("/listings/{fixed}"), &json!({ "title": text }));
        add(&nobody, Method::POST, "/auth/register", &registration("email", &text));
        add(&nobody, Method::POST, "/auth/register", &registration("user_name", &text));
        add(&nobody, Method::POST, "/auth/refresh", &json!({ "refresh_token": text }));
    }
    add(&nobody, Method::POST, "/auth/register", &registration("password", &json!("1234567")));
    add(&nobody, Method::POST, "/auth/register", &registration("capabilities", &json!(["admin"])));
    add(&nobody, Method::POST, "/auth/register", &registration("email", &json!("ANN@example.com")));
    add(&nobody, Method::POST, "/auth/register", &registration("user_name", &json!("Ann")));
    add(&nobody, Method::POST, "/auth/login", &json!({ "email": "ann@example.com", "password": "wrong" }));
    add(&buyer, Method::POST, "/payments/deposit", &json!({ "amount": usd(5), "payment_method": "4242" }));
    add(&buyer, Method::POST, "/payments/withdraw", &json!({ "amount": usd(1_001) }));
    add(&nobody, Method::POST, "/payments/deposit", &json!({ "amount": usd(5) }));
    add(&buyer, Method::GET, "/admin/trial-balance", &nothing);
    add(&nobody, Method::GET, "/admin/projections", &nothing);
    add(&nobody, Method::POST, "/sandbox/clock", &json!({ "set": "2001-01-01T00:00:00Z" }));
    add(&nobody, Method::POST, "/sandbox/clock", &json!({ "advance_ms": -1 }));
    add(&nobody, Method::POST, "/sandbox/clock", &json!({ "advance_ms": i64::MAX }));
    add(&nobody, Method::POST, "/sandbox/clock", &json!({ "advance_ms": 1, "set": "2030-01-01T00:00:00Z" }));
    let forged = lists_after_forged_cursors().into_iter();
    cases.extend(forged.map(|path| Case(&buyer, Method::GET, path, JSON, nothing.to_string().into_bytes())));
    for body in bodies() {
        for path in [&bids, "/listings", "/auctions", "/payments/deposit", "/auth/ws-ticket", "/auth/login"] {
            cases.push(Case(&seller, Method::POST, path.to_owned(), JSON, body.clone()));
        }
    }
    cases.push(Case(&buyer, Method::POST, bids.clone(), "text/plain", bid.to_string().into_bytes()));

    let count = cases.len();
    let head = server.database.log_head().await;
    for Case(client, method, path, media_type, body) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let ask = client.ask(&method, &format!("/api/v1{path}"));
        let answer = if method == Method::GET { ask } else { ask.raw(media_type, body) }.key("bad").send().await;
        let what = format!("{method} {path} {shown} → {} {}", answer.status, answer.text);
        assert_eq!(answer.refusal_fault(), None, "{what}");
        assert_eq!(server.database.log_head().await, head, "moved the log: {what}");
    }
    assert!(count > 200, "{count}");
}

/// Auctions at times at which there can be none.
fn auctions() -> Vec<Value> {
    let durations = [json!(0), json!(59), json!(5_184_001), json!(-1), json!(u64::MAX), json!("60"), json!(60.5)];
    let starts = ["2001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "tomorrow", ""];
    let lasting = durations.into_iter().map(|duration| with(auction(5), "duration_s", duration));
    let starting = starts.into_iter().map(|starts_at| with(auction(5), "starts_at", starts_at));
    lasting.chain(starting).collect()
}

#[tokio::test]
async fn what_sets_forms_apart_is_said_in_few_words() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let draft = |name: usize, value: usize| {
        let variants = json!([{ "sku": "m", "options": { "x".repeat(name): "y".repeat(value) } }]);
        seller.post("/listings", &with(listing(5), "variants", variants)).send()
    };
    draft(32, 200).await.expect(201);
    for (name, value) in [(33, 1), (1, 201)] {
        let refused = draft(name, value).await.problem(422, "invalid-field");
        assert_eq!(refused.body["errors"][0]["pointer"], "/variants/0/options");
    }
}

#[tokio::test]
async fn what_cannot_be_a_name_names_nothing() {
    let bazaar = Bazaar::open().await;
    let (_, document) = api::http::documented(true).split_for_parts();
    let head = bazaar.server.database.log_head().await;
    let mut tried = 0;
    for route in paths::routes().filter(|route| openapi::describes(&document, route)) {
        let names = [route.path].into_iter().chain(route.also);
        for path in names.filter(|path| path.contains('{')) {
            let method: Method = route.method.parse().unwrap();
            for segment in ["%FF", "%C3%28", "a%FF"] {
                let path = path.split('/').map(|part| if part.starts_with('{') { segment } else { part });
                let path = path.collect::<Vec<_>>().join("/");
                let ask = bazaar.staff.ask(&method, &format!("{}{path}", paths::BASE));
                let ask = if method == Method::GET { ask } else { ask.json(&json!({})) };
                let answer = ask.send().await;
                assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
                assert_eq!(answer.problem_fault(), None, "{method} {path}: {}", answer.text);
                tried += 1;
            }
        }
    }
    assert!(tried > 100, "{tried}");
    assert_eq!(bazaar.server.database.log_head().await, head);
}

#[tokio::test]
async fn a_cursor_with_a_text_that_no_table_can_hold_is_refused() {
    let bazaar = Bazaar::open().await;
    let fees = |id: &str| format!("/api/v1/admin/fees?cursor={}", cursor(json!({ "scope": "category", "id": id })));
    bazaar.staff.ask(&Method::GET, &fees("watches")).send().await.expect(200);
    let refused = bazaar.staff.ask(&Method::GET, &fees("watches\0")).send().await;
    assert_eq!(refused.refusal_fault(), None, "{}", refused.text);
}

/// Amounts that no rule admits anywhere.
fn amounts() -> Vec<Value> {
    let of = |amount: Value, currency: &str| json!({ "amount": amount, "currency": currency });
    vec![
        usd(0),
        usd(-1),
        usd(1 << 53),
        usd(-(1 << 53)),
        usd(i64::MAX),
        usd(i64::MIN),
        of(json!(u64::MAX), "USD"),
        of(json!(10.5), "USD"),
        of(json!(1e300), "USD"),
        of(json!("100"), "USD"),
        of(json!(null), "USD"),
        of(json!(100), "usd"),
        of(json!(100), "XAU"),
        of(json!(100), ""),
        of(json!(100), "USD\u{0}"),
        json!({ "amount": 100 }),
        json!({ "currency": "USD" }),
        json!({ "amount": 100, "currency": "USD", "exponent": 2 }),
        json!(100),
        json!("100 USD"),
        json!([100, "USD"]),
        Value::Null,
    ]
}

/// Values that are neither a title, a slug, a name, an address nor a token.
fn texts() -> Vec<Value> {
    vec![json!(""), json!("   "), json!("x\u{0}y"), json!("x".repeat(5_000)), json!(7), json!(["x"]), json!({ "x": 1 })]
}

fn registration(field: &str, value: &Value) -> Value {
    let good = json!({ "email": "new@example.com", "user_name": "newcomer", "password": "long enough" });
    with(good, field, value.clone())
}

/// The cursor to what comes after this key.
fn cursor(key: Value) -> String {
    let end = projections::Page { items: Vec::<()>::new(), next: Some(key) };
    Page::of(end, |()| Ok(())).unwrap().next_cursor.unwrap()
}

/// Every list after each of some cursors with times that Postgres cannot hold.
fn lists_after_forged_cursors() -> Vec<String> {
    let lists = [
        "/listings?sort=newest",
        "/listings?sort=ending_soon",
        "/auctions?sort=ending_soon",
        "/auctions?sort=newest",
        "/orders?as=buyer",
        "/orders?status=paid",
        "/escrow?limit=1",
        "/payments/transactions?limit=1",
        "/profile/favorites?limit=1",
        "/affiliate?limit=1",
        "/statements/2026-01?limit=1",
    ];
    let id = uuid::Uuid::from_u128(7);
    let keys = |time: &str| {
        [
            json!({ "sort": "newest", "listed_at": time, "id": id }),
            json!({ "sort": "newest", "scheduled_at": time, "id": id }),
            json!({ "sort": "ending_soon", "ends_at": time, "id": id }),
            json!({ "placed_at": time, "id": id }),
            json!([time, id]),
            json!({ "opened_at": time, "order_id": id }),
            json!({ "requested_at": time, "sequence": 1, "currency": "USD" }),
            json!({ "added_at": time, "listing_id": id }),
            json!({ "accrued_at": time, "id": id }),
            json!({ "currency": "USD", "recorded_at": time, "sequence": 1 }),
        ]
    };
    let cursors = ["-262143-01-01T00:00:00Z", "-100000-06-01T00:00:00Z"].into_iter().flat_map(keys).map(cursor);
    cursors.flat_map(|cursor| lists.map(|list| format!("{list}&cursor={cursor}"))).collect()
}

/// Bodies that are no JSON, or none of ours.
fn bodies() -> Vec<Vec<u8>> {
    let deep = "[".repeat(100_000);
    let texts =
        ["{", "}", "null", "true", "[]", "\"x\"", "{\"a\":1}", "{\"a\":1,}", "{\"maximum\":", "\u{feff}{}", &deep];
    let mut bodies: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    bodies.push(vec![0xff, 0xfe, 0x00]);
    bodies.push(b"{\"title\":\"\xc3\x28\"}".to_vec());
    bodies
}
