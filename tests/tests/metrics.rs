//! What Prometheus sees: what has happened, how far everything is, and who may look.

use std::net::Ipv4Addr;
use std::time::Duration;

use api::app::App;
use api::observe::metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tradepost_tests::bazaar::{Bazaar, staff};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::market::{auction, listing};
use tradepost_tests::metrics::Metrics;
use tradepost_tests::server::{InProcess, Spawned};
use tradepost_tests::socket::Socket;

/// What does not show by then will not show.
const PATIENCE: Duration = Duration::from_secs(15);

/// Answers for metrics on an address of its own, as `metrics.bind` has it.
struct Shown {
    address: String,
    stop: CancellationToken,
}

impl Shown {
    async fn of(app: &App) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(metrics::serve(app.clone(), listener, stop.clone()));
        Self { address, stop }
    }

    async fn now(&self) -> Metrics {
        Metrics::at(&self.address).await
    }

    /// What is shown as soon as `series` is at `value`.
    async fn once(&self, series: &str, value: f64) -> Metrics {
        let seen = tokio::time::timeout(PATIENCE, async {
            loop {
                let now = self.now().await;
                if now.expect(series).to_bits() == value.to_bits() {
                    return now;
                }
            }
        });
        seen.await.unwrap_or_else(|_| panic!("{series} never was {value}"))
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// By how much a series has grown, in whole numbers.
fn grown(before: &Metrics, after: &Metrics, series: &str) -> i64 {
    format!("{:.0}", after.get(series) - before.get(series)).parse().unwrap()
}

#[tokio::test]
async fn metrics_count_what_has_happened() {
    let bazaar = Bazaar::open().await;
    let shown = Shown::of(&bazaar.server.app).await;
    let listed = bazaar.offer(1).await;
    let now = bazaar.server.database.log_head().await;
    let before = shown.now().await;

    let first = bazaar.seller.post("/listings", &listing(100)).key("one").send().await.expect(201);
    assert!(!first.replayed());
    assert!(bazaar.seller.post("/listings", &listing(100)).key("one").send().await.expect(201).replayed());
    bazaar.seller.post("/listings", &listing(200)).key("one").send().await.problem(422, "idempotency-key-reused");
    bazaar.seller.post("/listings", &listing(0)).send().await.problem(422, "price-not-positive");
    for _ in 0..3 {
        bazaar.buyer.get(&format!("/listings/{listed}")).since(now).send().await.expect(200);
    }
    bazaar.buyer.get("/no/such/route").send().await.expect(404);

    let after = shown.now().await;
    let commands = |result: &str| grown(&before, &after, &format!("tradepost_commands_total{{result=\"{result}\"}}"));
    assert_eq!(
        ["accepted", "replayed", "key_reused", "refused", "overloaded", "unavailable", "defect"].map(commands),
        [1, 1, 1, 1, 0, 0, 0]
    );
    let events = first.at() - now;
    assert_eq!((grown(&before, &after, "tradepost_events_appended_total"), events > 0), (events, true));
    assert!(grown(&before, &after, "tradepost_batch_commands_count") >= 2);
    for timed in ["tradepost_decide_seconds", "tradepost_append_seconds"] {
        assert!(grown(&before, &after, &format!("{timed}_count")) >= 2, "{timed}");
        assert!(after.expect(&format!("{timed}_bucket{{le=\"10\"}}")) > 0.0, "{timed} is a histogram");
    }
    assert!(grown(&before, &after, "tradepost_cache_hits_total") > 0);
    let requests = |labels: &str| grown(&before, &after, &format!("tradepost_http_requests_total{{{labels}}}"));
    assert_eq!(requests(r#"method="GET",route="/api/v1/listings/{id}",status="200""#), 3);
    assert_eq!(requests(r#"method="POST",route="/api/v1/listings",status="422""#), 2);
    assert_eq!(requests(r#"method="GET",route="none",status="404""#), 1);
    let timed = r#"tradepost_http_request_duration_seconds_count{method="POST",route="/api/v1/listings"}"#;
    assert_eq!(grown(&before, &after, timed), 4);
}

#[tokio::test]
async fn metrics_show_how_far_everything_is() {
    let bazaar = Bazaar::open().await;
    let shown = Shown::of(&bazaar.server.app).await;
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    let head = bazaar.server.database.log_head().await;
    bazaar.buyer.auction(&id, head).await;
    assert_eq!(shown.now().await.expect("tradepost_sockets_open").to_bits(), 0.0_f64.to_bits());

    let socket = Socket::open(bazaar.server.address(), &format!("/api/v1/ws/auctions/{id}")).await;
    shown.once("tradepost_sockets_open", 1.0).await;
    drop(socket);
    shown.once("tradepost_sockets_open", 0.0).await;

    for follower in api::app::followers() {
        let now = shown.once(&format!("tradepost_follower_lag_events{{follower=\"{follower}\"}}"), 0.0).await;
        now.expect(&format!("tradepost_follower_lag_seconds{{follower=\"{follower}\"}}"));
        now.expect(&format!("tradepost_follower_failures_total{{follower=\"{follower}\"}}"));
    }
    let now = shown.now().await;
    assert!(now.expect("tradepost_log_position") >= f64::from(i32::try_from(head).unwrap()));
    let connections =
        ["idle", "in_use"].map(|state| now.expect(&format!("tradepost_pool_connections{{state=\"{state}\"}}")));
    assert!((1.0..=16.0).contains(&connections.iter().sum::<f64>()), "{connections:?}");
    assert_eq!(now.expect("tradepost_pool_connections_max").to_bits(), 16.0_f64.to_bits());
    assert!(now.names().iter().all(|name| name.starts_with("tradepost_")), "{:?}", now.names());
    assert!(now.undescribed().is_empty(), "not described: {:?}", now.undescribed());
}

#[tokio::test]
async fn a_follower_that_stands_still_and_a_timer_that_does_not_fire_show() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let shown = Shown::of(&server.app).await;
    // Held by somebody else: the catalogue cannot take anything, nor can the table of timers.
    let mut owner = server.database.connect().await;
    let mut held = sqlx::Connection::begin(&mut owner).await.unwrap();
    let stopped = "select from followers where name in ('catalogue', 'timers') for update";
    sqlx::query(stopped).execute(&mut *held).await.unwrap();
    let overdue = "insert into timers select 'auction_start', id, id, now() - interval '60 s', id
        from gen_random_uuid() as id";
    sqlx::query(overdue).execute(&mut *held).await.unwrap();
    seller.post("/listings", &listing(100)).send().await.expect(201);

    let now = shown.once("tradepost_follower_lag_events{follower=\"wallet_statement\"}", 0.0).await;
    assert!(now.expect("tradepost_follower_lag_events{follower=\"catalogue\"}") >= 1.0);
    assert!(now.expect("tradepost_follower_lag_seconds{follower=\"catalogue\"}") > 0.0);
    assert_eq!(now.expect("tradepost_timers_due").to_bits(), 0.0_f64.to_bits());
    held.commit().await.unwrap();
    let now = shown.once("tradepost_timers_due", 1.0).await;
    assert!(now.expect("tradepost_timers_overdue_seconds") >= 60.0);
}

#[tokio::test]
async fn metrics_without_a_database_say_so_and_claim_nothing() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let shown = Shown::of(&server.app).await;
    shown.once("tradepost_database_up", 1.0).await;
    server.database.shut().await;
    let now = shown.once("tradepost_database_up", 0.0).await;
    for unknown in ["tradepost_log_position", "tradepost_timers_due", "tradepost_timers_overdue_seconds"] {
        assert!(now.expect(unknown).is_nan(), "{unknown}");
    }
    assert!(now.expect("tradepost_follower_lag_events{follower=\"catalogue\"}").is_nan());
    seller.post("/listings", &listing(100)).send().await.problem(503, "unavailable");
    let now = shown.once("tradepost_decider_available", 0.0).await;
    assert!(now.expect("tradepost_commands_total{result=\"unavailable\"}") >= 1.0);
    server.database.reopen().await;
    let now = shown.once("tradepost_database_up", 1.0).await;
    assert!(now.expect("tradepost_log_position") >= 0.0);
}

#[tokio::test]
async fn on_the_main_address_metrics_are_for_staff() {
    let server = InProcess::start().await;
    let (nobody, buyer) = (server.client(), server.client().register("buyer").await);
    nobody.get("/metrics").send().await.problem(401, "unauthenticated");
    buyer.get("/metrics").send().await.problem(403, "missing-capability");
    let clerk = staff(&server, "clerk").await;
    for path in ["/metrics", "/api/metrics", "/api/v1/metrics"] {
        let answer = clerk.ask(&reqwest::Method::GET, path).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some(metrics::MEDIA_TYPE));
        Metrics::parse(&answer.text).expect("tradepost_commands_total{result=\"accepted\"}");
    }
}

#[tokio::test]
async fn the_binary_answers_for_metrics_on_an_address_of_their_own() {
    let database = TestDatabase::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tradepost.toml");
    std::fs::write(&file, "[metrics]\nbind = \"127.0.0.1:0\"\n").unwrap();
    let mut server = Spawned::start(database.url(), &["--config", file.to_str().unwrap()]).await;
    server.client().register("ann").await;
    let said = server.says("metrics at ").await;
    let metrics = Metrics::at(said.strip_suffix("/metrics").unwrap()).await;
    assert!(metrics.expect("tradepost_commands_total{result=\"accepted\"}") >= 1.0);
    // Nothing but metrics is served there, and it ends with the server.
    let other = reqwest::get(said.replace("/metrics", "/api/v1/health")).await.unwrap();
    assert_eq!(other.status().as_u16(), 404);
    let ended = server.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(reqwest::get(said).await.is_err());
}
