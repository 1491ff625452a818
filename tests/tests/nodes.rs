//! A marketplace of several nodes with a part of the work each, on one Postgres and one NATS.

use std::time::{Duration, Instant};

use image::ImageFormat;
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::sync::watch;
use tradepost_tests::checker::{Log, assert_kept};
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::{Load, seed};
use tradepost_tests::market::auction;
use tradepost_tests::models;
use tradepost_tests::nats::NatsServer;
use tradepost_tests::pictures::picture;
use tradepost_tests::server::Spawned;
use tradepost_tests::socket::Socket;
use uuid::Uuid;

/// Requests under way at once, over all nodes.
const WORKERS: usize = 16;
/// What the loss of the node that decides may cost.
const DECIDES_AGAIN_WITHIN: Duration = Duration::from_secs(2);
/// Whoever takes longer to refuse something has waited for another node.
const WAITS_FOR_AN_ANSWER: Duration = Duration::from_secs(2);
/// How soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long the load lasts: `TRADEPOST_NODES_SECONDS`, 20 unless told.
fn duration() -> Duration {
    let named = std::env::var("TRADEPOST_NODES_SECONDS").ok();
    Duration::from_secs(named.map_or(20, |seconds| seconds.parse().or_fail("read TRADEPOST_NODES_SECONDS")))
}

/// Starts a node with these roles.
async fn node(database: &TestDatabase, nats: &NatsServer, roles: &str) -> Spawned {
    Spawned::start(database.url(), &["--nats-url", &nats.url(), "--roles", roles]).await
}

/// Who holds the deciding lease; waits until it is somebody else than `before`.
async fn decider(database: &TestDatabase, before: Option<Uuid>) -> Uuid {
    let mut connection = database.connect().await;
    let look = async {
        loop {
            let holder: Option<Uuid> =
                sqlx::query_scalar("select holder from leases where name = 'deciding' and expires_at > now()")
                    .fetch_optional(&mut connection)
                    .await
                    .or_fail("look who decides");
            match holder {
                Some(holder) if Some(holder) != before => return holder,
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, look).await.or_fail("wait longer for somebody to decide")
}

/// A bid that is accepted, and its position.
async fn bid(client: &Client, auction: &str, cents: i64) -> i64 {
    client.bid(auction, cents).await.expect(201).at()
}

#[tokio::test]
async fn each_node_does_its_part_and_any_api_node_shows_and_takes_everything() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let (one, two) = tokio::join!(node(&database, &nats, "api,relay"), node(&database, &nats, "api"));
    let models = node(&database, &nats, "projections").await;
    let processes = node(&database, &nats, "processes").await;
    let seller = one.client().register_seller("seller").await;
    let ann = two.client().register("ann").await;
    let id = seller.schedule(&auction(1_000)).await;
    // Read on the one node what was written over the other.
    let head = database.log_head().await;
    assert_eq!(ann.auction(&id, head).await["bids"], 0);
    let mut socket = Socket::open(one.address(), &format!("/ws/auctions/{id}")).await;
    assert_eq!(socket.next().await["type"], "state");
    let position = bid(&ann, &id, 2_000).await;
    assert_eq!(seller.auction(&id, position).await["bids"], 1);
    assert_eq!(socket.until("bid").await.pop().unwrap()["type"], "bid");
    // The processes work on a node of their own.
    let deposited = ann.deposit(5_000, "sandbox-succeeds").await.expect(202);
    let arrived = async {
        while ann.available(deposited.at()).await != 5_000 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.unwrap();
    // A node without the API tells how it is, and nothing else.
    for node in [&models, &processes] {
        node.client().get("/health").send().await.expect(200);
        node.client().get("/health/detailed").send().await.expect(200);
        node.client().get("/listings").send().await.problem(404, "no-such-route");
    }
    for node in [one, two, models, processes] {
        assert!(node.terminate().await.status.success());
    }
    models::assert_equal_their_rebuild(&database).await;
}

#[tokio::test]
async fn answers_through_another_node_are_those_of_the_node_that_decides() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let deciding = node(&database, &nats, "api,relay,projections,processes").await;
    decider(&database, None).await;
    let other = node(&database, &nats, "api").await;
    let seller = other.client().register_seller("seller").await;
    let scheduled = seller.post("/auctions", &auction(1_000)).key("once").header("user-agent", "curl/8.9.1");
    let created = scheduled.header("tradepost-sender", "198.51.100.7 wget/1").send().await.expect(201);
    assert_eq!(created.header("x-frame-options"), Some("DENY"));
    assert!(created.header("location").is_some() && created.header("etag").is_some() && created.at() > 0);
    // Its events tell who sent it, as the node saw it that it was sent to.
    let told: (String, String, String) = sqlx::query_as(
        "select metadata ->> 'ip', metadata ->> 'agent', metadata ->> 'correlation' from events where position = $1",
    )
    .bind(created.at())
    .fetch_one(&mut database.connect().await)
    .await
    .unwrap();
    let id = created.header("x-request-id").unwrap().to_owned();
    assert_eq!(told, ("127.0.0.0/24".to_owned(), "curl/8".to_owned(), id));
    assert!(created.header("x-request-id").is_some());
    // The same key over either node is the same command.
    for node in [&deciding, &other] {
        let again = seller.at(node.address()).post("/auctions", &auction(1_000)).key("once").send().await.expect(201);
        assert!(again.replayed());
        assert_eq!(again.body["id"], created.body["id"]);
    }
    let id = created.body["id"].as_str().unwrap().to_owned();
    // Pictures are too large to be handed on: whichever node gets them decides.
    let small = picture(ImageFormat::Png, 3, 3);
    for node in [&other, &deciding] {
        let seller = seller.at(node.address());
        let sent = seller.send_files(&format!("/listings/{id}/images"), &[("files", &small)]).key("picture");
        assert_eq!(sent.send().await.expect(201).replayed(), node.address() == deciding.address());
    }
    // Refusals too: of a rule, of a body, of a stranger.
    let refused = seller.bid(&id, 2_000).await;
    assert!((400..500).contains(&refused.status) && refused.problem_fault().is_none(), "{}", refused.text);
    let instance = refused.body["instance"].as_str().map(str::to_owned);
    assert_eq!(instance.as_deref(), refused.header("x-request-id"), "one name for one request");
    seller.post("/auctions", &json!({ "nonsense": 1 })).send().await.problem(422, "invalid-field");
    other.client().post("/auctions", &auction(1_000)).send().await.problem(401, "unauthenticated");
    for node in [deciding, other] {
        assert!(node.terminate().await.status.success());
    }
}

#[tokio::test]
async fn the_loss_of_the_node_that_decides_costs_seconds() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let mut deciding = node(&database, &nats, "projections,processes,relay").await;
    let mut holder = decider(&database, None).await;
    let api = node(&database, &nats, "api").await;
    let seller = api.client().register_seller("seller").await;
    for _ in 0..3 {
        deciding.kill().await;
        let killed = Instant::now();
        loop {
            let answer = seller.post("/auctions", &auction(1_000)).send().await;
            if answer.status == 201 {
                break;
            }
            assert_eq!(answer.status, 503, "{}", answer.text);
        }
        assert!(killed.elapsed() < DECIDES_AGAIN_WITHIN, "{:?}", killed.elapsed());
        deciding = node(&database, &nats, "projections,processes,relay").await;
        // It is better suited than the node that has stepped in.
        holder = decider(&database, Some(holder)).await;
    }
    for node in [deciding, api] {
        assert!(node.terminate().await.status.success());
    }
}

#[tokio::test]
async fn without_nats_every_node_decides_by_itself() {
    let (database, mut nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let deciding = node(&database, &nats, "api,relay,projections,processes").await;
    decider(&database, None).await;
    let other = node(&database, &nats, "api").await;
    let seller = other.client().register_seller("seller").await;
    nats.kill().await;
    // Whether the first has reached the other node, its key tells.
    seller.post("/auctions", &auction(1_000)).key("once").send().await.expect(201);
    for node in [&other, &deciding, &other] {
        seller.at(node.address()).post("/auctions", &auction(1_000)).send().await.expect(201);
    }
    nats.restart().await;
    let again = seller.post("/auctions", &auction(1_000)).key("once").send().await.expect(201);
    assert!(again.replayed());
    for node in [deciding, other] {
        assert!(node.terminate().await.status.success());
    }
    models::assert_equal_their_rebuild(&database).await;
}

/// A NATS that is frozen takes connections, and answers nothing.
#[tokio::test]
async fn while_nats_is_silent_every_node_soon_decides_by_itself() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let deciding = node(&database, &nats, "api,relay,projections,processes").await;
    decider(&database, None).await;
    let other = node(&database, &nats, "api").await;
    let seller = other.client().register_seller("seller").await;
    nats.signal(Signal::SIGSTOP);
    for node in [&other, &deciding, &other] {
        let seller = seller.at(node.address());
        let accepted = async {
            // Of what was on its way nobody knows what has become.
            while seller.post("/auctions", &auction(1_000)).send().await.status != 201 {}
        };
        tokio::time::timeout(PATIENCE, accepted).await.or_fail("wait longer for a node to decide by itself");
    }
    for node in [deciding, other] {
        assert!(node.terminate().await.status.success());
    }
    models::assert_equal_their_rebuild(&database).await;
}

/// What was handed on to a node that could not be reached may arrive there long after it was refused here.
#[tokio::test]
async fn what_was_refused_while_nats_was_silent_does_not_happen_afterwards() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let deciding = node(&database, &nats, "api,relay,projections,processes").await;
    decider(&database, None).await;
    let other = node(&database, &nats, "api").await;
    let ann = other.client().register("ann").await;
    let withdrawal = json!({ "amount": { "amount": 3_000, "currency": "USD" }, "payment_method": "sandbox-succeeds" });
    let ask = async |node: &Spawned, key: &str| {
        ann.at(node.address()).post("/payments/withdraw", &withdrawal).key(key).send().await
    };
    // Until the node knows who decides it does so by itself, at once; then it waits for an answer first.
    let mut keys = (0..).map(|number| number.to_string());
    let handed_on = async {
        loop {
            let (key, began) = (keys.next().unwrap_or_default(), Instant::now());
            nats.signal(Signal::SIGSTOP);
            ask(&other, &key).await.problem(422, "insufficient-funds");
            nats.signal(Signal::SIGCONT);
            if began.elapsed() > WAITS_FOR_AN_ANSWER {
                return key;
            }
        }
    };
    let key = tokio::time::timeout(PATIENCE, handed_on).await.or_fail("wait longer for a command to be handed on");
    let deposited = ann.at(deciding.address()).deposit(5_000, "sandbox-succeeds").await.expect(202);
    let arrived = async {
        while ann.available(deposited.at()).await != 5_000 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.unwrap();
    for node in [&deciding, &other] {
        let again = ask(node, &key).await;
        assert!(again.at() > 0 && !again.replayed(), "{}", again.text);
        again.problem(409, "refused-before");
    }
    assert_eq!(ann.available(database.log_head().await).await, 5_000);
    for node in [deciding, other] {
        assert!(node.terminate().await.status.success());
    }
}

/// Two nodes that know nothing of each other, since each has a NATS of its own: whoever holds the lease cannot be
/// reached, so both decide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_both_decide_still_tell_one_story() {
    let (database, here, there) = tokio::join!(TestDatabase::fresh(), NatsServer::start(), NatsServer::start());
    let all = "api,relay,projections,processes";
    let (one, two) = tokio::join!(node(&database, &here, all), node(&database, &there, all));
    let nodes = [&one, &two].map(|node| watch::Sender::new(node.address().to_owned()));
    let receivers = nodes.iter().map(watch::Sender::subscribe).collect();
    let load = Load::prepare(&one.client(), receivers, WORKERS, seed()).await;
    let running = load.start();
    tokio::time::sleep(duration() / 4).await;
    let history = running.stop().await;
    for node in [one, two] {
        assert!(node.terminate().await.status.success());
    }
    let log = Log::read(&mut database.connect().await).await;
    for counts in [0, 1].map(|node| history.counts(Some(node))) {
        assert!(counts.accepted > 50, "too little to tell: {counts:?}");
    }
    assert_kept(&log, &history);
    models::assert_equal_their_rebuild(&database).await;
}

/// Two API nodes and one with projections and processes, under load, one of them killed again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_of_which_one_is_killed_again_and_again_tell_one_story() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let roles = ["api,relay", "api", "projections,processes,relay"];
    let mut nodes = Vec::new();
    for roles in roles {
        nodes.push(node(&database, &nats, roles).await);
    }
    let addresses = [0, 1].map(|api| watch::Sender::new(nodes[api].address().to_owned()));
    let receivers = addresses.iter().map(watch::Sender::subscribe).collect();
    let load = Load::prepare(&nodes[0].client(), receivers, WORKERS, seed()).await;
    let traders = load.traders.clone();
    let running = load.start();
    let until = Instant::now() + duration();
    let mut kills = 0;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let victim = kills % roles.len();
        let fresh = node(&database, &nats, roles[victim]);
        std::mem::replace(&mut nodes[victim], fresh.await).kill().await;
        if let Some(address) = addresses.get(victim) {
            address.send_replace(nodes[victim].address().to_owned());
        }
        kills += 1;
    }
    let history = running.stop().await;
    let head = database.log_head().await;
    for api in &nodes[..2] {
        for trader in &traders {
            trader.at(api.address()).get("/wallet").since(head).send().await.expect(200);
        }
    }
    for node in nodes {
        assert!(node.terminate().await.status.success());
    }
    let log = Log::read(&mut database.connect().await).await;
    eprintln!("{kills} kills, {} events, {:?}", log.events.len(), [0, 1].map(|node| history.counts(Some(node))));
    assert_kept(&log, &history);
    models::assert_equal_their_rebuild(&database).await;
}
