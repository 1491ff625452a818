//! The edge of HTTP: slow, greedy and strange clients, what is kept of a sender, and what browsers are told.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use api::config::{self, Config, Limits};
use api::http::{openapi, paths};
use api::observe::metrics::{self, CONNECTIONS_REFUSED, REQUESTS_REFUSED};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::{Answer, PASSWORD};
use tradepost_tests::market::{auction, listing, usd};
use tradepost_tests::metrics::Metrics;
use tradepost_tests::server::InProcess;
use tradepost_tests::socket::Socket;

use crate::access::Things;

/// What has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a slow client is waited for in these tests.
const SOON_MS: u64 = 300;
const HEALTH: &str = "GET /api/v1/health HTTP/1.1\r\nhost: tradepost\r\n";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0 of-ann";
const SHOP: &str = "https://shop.example";

fn http(change: impl FnOnce(&mut config::Http)) -> Config {
    let mut settings = Config::default();
    change(&mut settings.http);
    settings
}

/// A connection with nothing between.
struct Raw(TcpStream);

impl Raw {
    async fn connect(server: &InProcess) -> Self {
        Self(TcpStream::connect(server.address().trim_start_matches("http://")).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything until the server closes the connection; nothing if it does not.
    async fn until_closed(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        // Closed with something unread, it is reset; what came before has been read then.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut bytes)).await.ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The next bytes; none if the server has closed the connection.
    async fn some(&mut self) -> String {
        let mut bytes = vec![0; 4_096];
        let read = timeout(PATIENCE, self.0.read(&mut bytes)).await.expect("it neither answers nor closes");
        String::from_utf8_lossy(&bytes[..read.unwrap_or(0)]).into_owned()
    }

    /// Whether a request is answered, or the connection closed.
    async fn is_served(&mut self) -> bool {
        // A connection that is closed at once may be closed before.
        let _ = self.0.write_all(format!("{HEALTH}\r\n").as_bytes()).await;
        self.some().await.starts_with("HTTP/1.1 200")
    }
}

async fn shown(server: &InProcess) -> Metrics {
    Metrics::parse(&metrics::render(&server.app).await)
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").expect("it tells when to come back").parse().unwrap()
}

#[tokio::test]
async fn whoever_does_not_finish_a_head_is_cut_and_an_idle_socket_is_not() {
    let settings = http(|http| (http.header_timeout_ms, http.write_timeout_ms) = (SOON_MS, SOON_MS));
    let server = InProcess::start_with(settings).await;
    let (seller, ann) = (server.client().register_seller("seller").await, server.client().register("ann").await);
    let id = seller.schedule(&auction(1_000)).await;
    ann.auction(&id, server.database.log_head().await).await;
    let mut socket = Socket::open(server.address(), &format!("/api/v1/ws/auctions/{id}")).await;
    socket.next().await;

    let (mut silent, mut slow, mut idle) =
        (Raw::connect(&server).await, Raw::connect(&server).await, Raw::connect(&server).await);
    slow.send(HEALTH).await;
    assert!(idle.is_served().await);
    for connection in [&mut silent, &mut slow, &mut idle] {
        assert_eq!(connection.until_closed().await.as_deref(), Some(""), "it is closed without an answer");
    }
    // By now the socket has been idle for longer than any of them might be.
    ann.bid(&id, 2_000).await.expect(201);
    socket.until("bid").await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let server = InProcess::start().await;
    let many = "x-a: a\r\n".repeat(101);
    let long = format!("x-a: {}\r\n", "a".repeat(65_536));
    for headers in [many, long] {
        let mut raw = Raw::connect(&server).await;
        raw.send(&format!("{HEALTH}{headers}\r\n")).await;
        let answer = raw.until_closed().await.expect("the connection is closed");
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert!(Raw::connect(&server).await.is_served().await);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_413_also_if_it_does_not_say_so() {
    let server = InProcess::start_with(http(|http| http.body_limit_bytes = 1_024)).await;
    let login = json!({ "email": "x".repeat(2_000), "password": "x" });
    server.client().post("/auth/login", &login).send().await.problem(413, "too-large");
    let mut raw = Raw::connect(&server).await;
    raw.send("POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n").await;
    raw.send("connection: close\r\ntransfer-encoding: chunked\r\n\r\n").await;
    raw.send(&format!("400\r\n{}\r\n400\r\n{}\r\n0\r\n\r\n", " ".repeat(1_024), " ".repeat(1_024))).await;
    let answer = raw.until_closed().await.expect("the connection is closed");
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("/problems/too-large"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_the_connection_ends() {
    let server = InProcess::start_with(http(|http| http.request_timeout_ms = SOON_MS)).await;
    let mut raw = Raw::connect(&server).await;
    raw.send("POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n").await;
    raw.send("content-length: 100\r\n\r\n{\"email\":").await;
    let answer = raw.until_closed().await.expect("the connection is closed");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("/problems/body-too-slow"), "{answer}");
}

#[tokio::test]
async fn whoever_does_not_read_is_cut() {
    let server = InProcess::start_with(http(|http| http.write_timeout_ms = SOON_MS)).await;
    let mut raw = Raw::connect(&server).await;
    let request = "GET /api/schema HTTP/1.1\r\nhost: tradepost\r\n\r\n".repeat(100);
    // At last neither side takes anything any more, until the server ends it.
    let cut = async { while raw.0.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, cut).await.expect("the server waits for ever");
    assert!(Raw::connect(&server).await.is_served().await);
}

#[tokio::test]
async fn more_connections_than_there_may_be_are_closed_at_once() {
    for (settings, limit) in
        [(http(|http| http.connections = 2), "all"), (http(|http| http.connections_per_sender = 2), "sender")]
    {
        let server = InProcess::start_with(settings).await;
        let (mut one, mut two) = (Raw::connect(&server).await, Raw::connect(&server).await);
        assert!(one.is_served().await && two.is_served().await);
        let refused = format!("{CONNECTIONS_REFUSED}{{limit=\"{limit}\"}}");
        let before = shown(&server).await.get(&refused);
        assert!(!Raw::connect(&server).await.is_served().await, "{limit}");
        let now = shown(&server).await;
        assert!(now.get(&refused) > before, "{limit}");
        assert!((now.expect("tradepost_http_connections_open") - 2.0).abs() < 0.5, "{limit}");
        // Who was there is served on, and a place that is left is given again.
        assert!(two.is_served().await);
        drop(one);
        let again = async { while !Raw::connect(&server).await.is_served().await {} };
        timeout(PATIENCE, again).await.expect("a place is never given again");
        drop(two);
        server.stop().await;
    }
}

#[tokio::test]
async fn all_connections_of_a_trusted_proxy_are_not_those_of_one_sender() {
    let settings = http(|http| {
        http.connections_per_sender = 1;
        http.trusted_proxies = "127.0.0.0/8".parse().unwrap();
    });
    let server = InProcess::start_with(settings).await;
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(Raw::connect(&server).await);
    }
    for connection in &mut connections {
        assert!(connection.is_served().await);
    }
}

/// A server that admits two requests at once and one per second.
async fn strict(trusted_proxies: &str) -> InProcess {
    let mut settings = http(|http| http.trusted_proxies = trusted_proxies.parse().unwrap());
    settings.limits = Limits { sender_per_s: 1, ..Limits::OFF };
    InProcess::start_with(settings).await
}

/// The first answers to requests that a proxy hands on for these addresses.
async fn ask_for(server: &InProcess, addresses: impl Iterator<Item = String>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for address in addresses {
        answers.push(server.client().get("/listings").header("x-forwarded-for", &address).send().await);
    }
    answers
}

#[tokio::test]
async fn a_sender_that_asks_too_much_is_told_when_to_come_back_and_others_are_not_kept_waiting() {
    let server = strict("127.0.0.1").await;
    let all_of_one = ask_for(&server, (0..50).map(|_| "203.0.113.77".to_owned())).await;
    assert_eq!(all_of_one[0].status, 200);
    let refused = all_of_one.into_iter().find(|answer| answer.status != 200).expect("nothing is refused");
    assert_eq!(retry_after(&refused.problem(429, "too-many-requests")), 1);
    for other in ask_for(&server, (1..=50).map(|host| format!("203.0.113.77, 198.51.100.{host}"))).await {
        other.expect(200);
    }
    assert!(shown(&server).await.expect(&format!("{REQUESTS_REFUSED}{{limit=\"sender\"}}")) >= 1.0);
}

#[tokio::test]
async fn whom_a_client_names_as_its_sender_is_not_believed() {
    for trusted in ["", "192.0.2.1"] {
        let server = strict(trusted).await;
        let answers = ask_for(&server, (1..=50).map(|host| format!("198.51.100.{host}"))).await;
        let refused = answers.into_iter().find(|answer| answer.status != 200).expect("nothing is refused");
        refused.problem(429, "too-many-requests");
    }
}

#[tokio::test]
async fn guesses_are_limited_more_strictly_by_whatever_name() {
    let limits = Limits { guesses_per_min: 2, ..Limits::OFF };
    let server = InProcess::start_with(Config { limits, ..Config::default() }).await;
    let nobody = server.client();
    let login = json!({ "email": "ann@example.com", "password": PASSWORD });
    for _ in 0..2 {
        nobody.post("/auth/login", &login).send().await.problem(401, "unauthenticated");
    }
    for path in ["/api/v1/auth/login", "/api/auth/login/", "/api/v1/auth/refresh", "/api/v1/auth/register"] {
        let refused = nobody.ask(&Method::POST, path).json(&login).send().await.problem(429, "too-many-requests");
        assert!((1..=30).contains(&retry_after(&refused)), "{path}");
    }
    for _ in 0..20 {
        nobody.get("/listings").send().await.expect(200);
    }
}

#[tokio::test]
async fn orders_without_an_account_are_limited_by_whatever_name() {
    let limits = Limits { guest_orders_per_min: 1, ..Limits::OFF };
    let server = InProcess::start_with(Config { limits, ..Config::default() }).await;
    let nobody = server.client();
    let order = |path: &'static str| nobody.ask(&Method::POST, path).json(&json!({})).send();
    order("/api/v1/store/corner/orders").await.problem(422, "invalid-field");
    for path in ["/api/v1/store/corner/orders", "/api/store/crossing/orders/"] {
        let refused = order(path).await.problem(429, "too-many-requests");
        assert!((1..=60).contains(&retry_after(&refused)), "{path}");
    }
    nobody.get("/stores").send().await.expect(200);
}

#[tokio::test]
async fn clicks_on_affiliates_links_are_limited_by_account_too() {
    let limits = Limits { clicks_per_min: 2, ..Limits::OFF };
    let proxied = http(|http| http.trusted_proxies = "127.0.0.1".parse().unwrap());
    let server = InProcess::start_with(Config { limits, ..proxied }).await;
    let ann = server.client().register("ann").await;
    let click = |from: &str| {
        ann.post("/affiliate/clicks", &json!({ "code": "00000000" })).header("x-forwarded-for", from).send()
    };
    click("203.0.113.1").await.problem(404, "not-found");
    click("203.0.113.2").await.problem(404, "not-found");
    let refused = click("203.0.113.3").await.problem(429, "too-many-requests");
    assert!((1..=30).contains(&retry_after(&refused)));
}

/// The metadata of the event at a position.
async fn metadata(server: &InProcess, position: i64) -> Value {
    let metadata: String = sqlx::query_scalar("select metadata::text from events where position = $1")
        .bind(position)
        .fetch_one(&mut server.database.connect().await)
        .await
        .unwrap();
    serde_json::from_str(&metadata).unwrap()
}

#[tokio::test]
async fn events_tell_the_network_and_the_program_of_a_sender_and_nothing_that_names_a_person() {
    let server = InProcess::start_with(http(|http| http.trusted_proxies = "127.0.0.1".parse().unwrap())).await;
    let name = json!({ "email": "ann@example.com", "user_name": "ann", "password": PASSWORD, "sell": true });
    let proxied = |ask: tradepost_tests::client::Ask| {
        let ask = ask.header("x-forwarded-for", "203.0.113.77").header("user-agent", FIREFOX);
        ask.header("tradepost-sender", "198.51.100.7 curl/8").header("tradepost-request-id", "forged")
    };
    let joined = proxied(server.client().post("/auth/register", &name)).send().await.expect(201);
    let seller = server.client().logged_in(&joined);
    let listed = proxied(seller.post("/listings", &listing(100))).send().await.expect(201);
    for answer in [&joined, &listed] {
        let told = metadata(&server, answer.at()).await;
        assert_eq!((&told["ip"], &told["agent"]), (&json!("203.0.113.0/24"), &json!("firefox/128")), "{told}");
        assert_eq!(told["correlation"].as_str(), answer.header("x-request-id"), "{told}");
    }

    let id = seller.schedule(&auction(1_000)).await;
    let bob = server.client().register("bob").await;
    bob.auction(&id, server.database.log_head().await).await;
    let ticket = bob.post("/auth/ws-ticket", &json!({})).send().await.expect(201).body["ticket"].clone();
    let path = format!("/ws/auctions/{id}?ticket={}", ticket.as_str().unwrap());
    let mut socket = Socket::open(server.address(), &path).await;
    socket.send(&json!({ "type": "bid", "id": "1", "maximum": usd(2_000) })).await;
    let accepted = socket.until("accepted").await.pop().unwrap();
    let told = metadata(&server, accepted["bid"]["position"].as_i64().unwrap()).await;
    assert_eq!((&told["ip"], &told["agent"]), (&json!("127.0.0.0/24"), &json!("none")), "{told}");
    assert!(told["correlation"].is_string());

    let stored: Vec<String> = sqlx::query_scalar("select metadata::text || payload::text from events")
        .fetch_all(&mut server.database.connect().await)
        .await
        .unwrap();
    for personal in ["203.0.113.77", "Mozilla", "of-ann", "198.51.100.7", "127.0.0.1", "forged"] {
        assert!(stored.iter().all(|event| !event.contains(personal)), "{personal} is kept");
    }
}

#[tokio::test]
async fn pages_of_listed_origins_may_use_the_api_and_others_may_not() {
    let server = InProcess::start_with(http(|http| http.origins = SHOP.parse().unwrap())).await;
    let ask = |method: Method, path: &str, origin: &str| server.client().ask(&method, path).header("origin", origin);
    let preflight = |origin: &str| {
        let ask = ask(Method::OPTIONS, "/api/v1/auctions", origin).header("access-control-request-method", "POST");
        ask.header("access-control-request-headers", "authorization,idempotency-key").send()
    };
    let allowed = preflight(SHOP).await.expect(200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(SHOP));
    let lists = |answer: &Answer, header: &str, name: &str| {
        answer.header(header).is_some_and(|list| list.split(',').any(|listed| listed.trim() == name))
    };
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        assert!(lists(&allowed, "access-control-allow-methods", method), "{method}");
    }
    for name in
        ["authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "tradepost-min-position"]
    {
        assert!(lists(&allowed, "access-control-allow-headers", name), "{name}");
    }
    assert!(allowed.header("access-control-max-age").is_some());
    // An answer that is no success is to be read too.
    for (path, status) in [("/api/v1/listings", 200), ("/api/v1/wallet", 401), ("/api/v1/nothing", 404)] {
        let shared = ask(Method::GET, path, SHOP).send().await.expect(status);
        assert_eq!(shared.header("access-control-allow-origin"), Some(SHOP), "{path}");
        assert_eq!(shared.header("access-control-allow-credentials"), None, "{path}");
        assert!(lists(&shared, "access-control-expose-headers", "tradepost-position"), "{path}");
        for other in ["https://evil.example", "https://shop.example.evil", "http://shop.example", "null"] {
            let answer = ask(Method::GET, path, other).send().await.expect(status);
            assert_eq!(answer.header("access-control-allow-origin"), None, "{path} {other}");
            assert_eq!(preflight(other).await.header("access-control-allow-origin"), None, "{other}");
        }
    }
    let plain = server.client().ask(&Method::OPTIONS, "/api/v1/listings").send().await;
    assert!(plain.problem(405, "method-not-allowed").header("allow").is_some());
}

#[tokio::test]
async fn unless_an_origin_is_listed_no_other_page_may_use_the_api() {
    let server = InProcess::start().await;
    for method in [Method::GET, Method::OPTIONS] {
        let ask = server.client().ask(&method, "/api/v1/listings").header("origin", SHOP);
        let answer = ask.header("access-control-request-method", "GET").send().await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{method}");
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_what_may_be_made_of_it() {
    let server = InProcess::start().await;
    let (nobody, ann) = (server.client(), server.client().register("ann").await);
    let head = server.database.log_head().await;
    for (client, path, status, policy, cached) in [
        (&nobody, "/api/v1/health", 200, "default-src 'none'; frame-ancestors 'none'", None),
        (&nobody, "/api/v1/wallet", 401, "default-src 'none'; frame-ancestors 'none'", None),
        (&nobody, "/api/v1/nothing", 404, "default-src 'none'; frame-ancestors 'none'", None),
        (&nobody, "/nothing", 404, "default-src 'none'; frame-ancestors 'none'", None),
        (&ann, "/api/v1/wallet", 200, "default-src 'none'; frame-ancestors 'none'", Some("no-store")),
        (&ann, "/api/v1/orders/7", 404, "default-src 'none'; frame-ancestors 'none'", Some("no-store")),
        (&ann, "/api/v1/auth/me", 200, "default-src 'none'; frame-ancestors 'none'", Some("private, no-cache")),
        (&ann, "/api/v1/listings", 200, "default-src 'none'; frame-ancestors 'none'", Some("private, no-cache")),
        (&nobody, "/api/docs/", 200, "default-src 'self'; ", None),
        (&nobody, "/api/docs/swagger-ui-bundle.js", 200, "default-src 'self'; ", None),
        (&nobody, "/api/docs/nothing", 404, "default-src 'self'; ", None),
        (&nobody, "/api/docsx", 404, "default-src 'none'; frame-ancestors 'none'", None),
    ] {
        let answer = client.ask(&Method::GET, path).since(head).send().await.expect(status);
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")]
        {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let told = answer.header("content-security-policy").unwrap_or_default();
        assert!(told.starts_with(policy) && told.contains("frame-ancestors 'none'"), "{path}: {told}");
        assert_eq!(answer.header("cache-control"), cached, "{path}");
    }
    // The policy of the documentation forbids programs that are written into the page: there are none.
    let page = server.client().ask(&Method::GET, "/api/docs/").send().await.expect(200).text;
    assert!(page.contains("<script") && page.matches("<script").count() == page.matches("<script src=\"./").count());
    assert!(!page.contains("onload=") && !page.contains("http://") && !page.contains("https://"), "{page}");
}

#[tokio::test]
async fn what_depends_on_a_log_in_is_kept_by_nobody_between() {
    let bazaar = Bazaar::open().await;
    let about = json!({ "slug": "corner", "brand_name": "Corner" });
    let opened = bazaar.seller.put("/merchant/me", &about).send().await;
    assert!(opened.status < 300, "{}", opened.text);
    let things = Things::of(&bazaar).await;
    let (_, document) = api::http::documented(true).split_for_parts();
    let reads = paths::routes().filter(|route| route.method == "GET" && openapi::describes(&document, route));
    let mut shown = BTreeSet::new();
    for route in reads.filter(|route| !route.path.starts_with("/media/")) {
        for client in [&bazaar.seller, &bazaar.buyer, &bazaar.staff] {
            let answer = client.get(&things.name(route.path)).send().await;
            let kept = answer.header("cache-control").unwrap_or_default();
            let varies = answer.header("vary").is_some_and(|names| names.to_lowercase().contains("authorization"));
            let private = kept == "no-store" || (kept == "private, no-cache" && varies);
            assert!(private, "{} ({}): {kept}", route.path, answer.status);
            if answer.status == 200 {
                shown.insert(route.path);
            }
        }
    }
    for path in ["/addresses", "/profile", "/merchant/me", "/auth/me", "/orders", "/orders/{id}", "/escrow/{order_id}"]
    {
        assert!(shown.contains(path), "{path} is not among {shown:?}");
    }
    // Whoever asks for a guest's order need not have logged in.
    let item = bazaar.offer(1).await;
    let order = json!({
        "name": "Ann Lee", "phone": "+92 300 1234567", "confirmation": "phone",
        "address": { "line1": "12 Mall Road", "city": "Lahore", "country": "PK" },
        "lines": [{ "listing_id": item, "quantity": 1 }],
    });
    let nobody = bazaar.server.client();
    let placed = nobody.post("/store/corner/orders", &order).send().await.expect(201);
    let path = format!("/guest/orders/{}", placed.body["claim_token"].as_str().unwrap());
    let answer = nobody.get(&path).since(placed.at()).send().await.expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn sockets_are_opened_for_our_own_pages_and_listed_ones_only() {
    let server = InProcess::start_with(http(|http| http.origins = SHOP.parse().unwrap())).await;
    let seller = server.client().register_seller("seller").await;
    let id = seller.schedule(&auction(1_000)).await;
    seller.auction(&id, server.database.log_head().await).await;
    let address = server.address().replacen("http", "ws", 1);
    let open = async |origin: Option<&str>| {
        let mut request = format!("{address}/api/v1/ws/auctions/{id}").into_client_request().unwrap();
        request.headers_mut().extend(origin.map(|origin| (reqwest::header::ORIGIN, origin.parse().unwrap())));
        match connect_async(request).await {
            Ok((_, response)) => (response.status().as_u16(), String::new()),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                (response.status().as_u16(), String::from_utf8_lossy(body).into_owned())
            }
            Err(error) => panic!("{error}"),
        }
    };
    for origin in [None, Some(SHOP), Some(server.address())] {
        assert_eq!(open(origin).await.0, 101, "{origin:?}");
    }
    let another_port = format!("http://{}:1", Ipv4Addr::LOCALHOST);
    for origin in ["https://evil.example", "null", "https://shop.example.evil", &another_port] {
        let (status, body) = open(Some(origin)).await;
        assert!(status == 403 && body.contains("/problems/origin-not-allowed"), "{origin}: {status} {body}");
    }
}
