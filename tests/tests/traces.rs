//! One trace from the request through decision and commit to every follower that it concerns; and none when nobody
//! collects.

use serde_json::Value;
use tradepost_tests::client::Client;
use tradepost_tests::collector::{Collected, Collector};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::market::{auction, listing};
use tradepost_tests::nats::NatsServer;
use tradepost_tests::server::Spawned;

/// What a client of ours, or a proxy, sends.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// The `traceparent`s in the metadata of all events, in order.
async fn stored(database: &TestDatabase) -> Vec<Option<String>> {
    let query = "select metadata ->> 'traceparent' from events order by position";
    sqlx::query_scalar(query).fetch_all(&mut database.connect().await).await.unwrap()
}

fn one<'a>(trace: &'a [Collected], name: &str) -> &'a Collected {
    let found: Vec<_> = trace.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name}: {trace:#?}");
    found[0]
}

async fn all_have_taken_something(client: &Client) -> bool {
    let health = client.get("/health/detailed").send().await.expect(200).body;
    let followers = health["followers"].as_array().unwrap();
    followers.iter().all(|follower| follower["position"] != 0 && follower["lag"] == 0)
}

async fn server(database: &TestDatabase, settings: &str) -> Spawned {
    node(database, settings, &[]).await
}

async fn node(database: &TestDatabase, settings: &str, arguments: &[&str]) -> Spawned {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tradepost.toml");
    let logs = "[log]\nformat = 'json'\nfilter = 'info,api=debug'\n";
    std::fs::write(&file, format!("{logs}{settings}")).unwrap();
    let config = ["--config", file.to_str().unwrap()];
    Spawned::start(database.url(), &[&config, arguments].concat()).await
}

#[tokio::test]
async fn one_trace_leads_from_the_request_to_every_follower_that_it_concerns() {
    let mut collector = Collector::start().await;
    let database = TestDatabase::fresh().await;
    let server = server(&database, &format!("[traces]\notlp_endpoint = '{}'\n", collector.endpoint())).await;
    let seller = server.client().register_seller("seller").await;
    // What a follower takes when it starts is not told, so each is let come to its second batch.
    while !all_have_taken_something(&seller).await {}
    let post = seller.post("/auctions", &auction(100)).header("traceparent", &traceparent("01"));
    let listed = post.send().await.expect(201);

    let mut names = vec!["POST /api/v1/auctions", "command", "decide", "commit"];
    let followers = [
        "analytics",
        "auction_board",
        "catalogue",
        "mail",
        "mentions",
        "notifications",
        "statistics",
        "subscriptions",
        "timers",
    ];
    let followers = followers.map(|name| format!("follow {name}"));
    names.extend(followers.iter().map(String::as_str));
    let wanted: Vec<_> = names.iter().map(|name| (*name, 1)).collect();
    let trace = collector.trace(TRACE, &wanted).await;
    let (request, command) = (one(&trace, "POST /api/v1/auctions"), one(&trace, "command"));
    assert_eq!((&*request.parent, &command.parent), (CALLER, &request.id));
    for below in names.iter().skip(2) {
        assert_eq!(one(&trace, below).parent, command.id, "{below}");
    }
    assert!(trace.iter().all(|span| span.in_order), "{trace:#?}");
    // The others pass it by.
    assert_eq!(trace.iter().filter(|span| span.name.starts_with("follow ")).count(), followers.len(), "{trace:#?}");
    let place = format!("00-{TRACE}-{}-01", command.id);
    let events = stored(&database).await;
    assert!(events.contains(&Some(place)), "{events:?}");

    // A request without a trace begins one of its own.
    let other = collector.all().iter().find(|span| span.name == "POST /api/v1/auth/register").unwrap();
    assert!(other.trace_id != TRACE && other.parent.is_empty(), "{other:?}");

    let said = server.terminate().await.stderr;
    let answered = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let answered: Vec<Value> = answered.filter(|line| line["span"]["trace_id"] == TRACE).collect();
    let id = listed.header("x-request-id").unwrap();
    assert!(!answered.is_empty(), "no line carries the id of the trace: {said}");
    assert!(answered.iter().all(|line| line["span"]["id"] == id), "{answered:?}");
}

#[tokio::test]
async fn a_trace_leads_from_node_to_node() {
    let mut collector = Collector::start().await;
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let (settings, url) = (format!("[traces]\notlp_endpoint = '{}'\n", collector.endpoint()), nats.url());
    let start = async |roles: &str| node(&database, &settings, &["--nats-url", &url, "--roles", roles]).await;
    let (decides, models) = (start("processes").await, start("projections").await);
    let asked = start("api").await;
    let seller = asked.client().register_seller("seller").await;
    let (name, mut number) = ("POST /api/v1/auctions", 0_u128);
    // Until the node that is asked has heard who decides, it decides by itself.
    let handed_on = loop {
        number += 1;
        let traceparent = format!("00-{number:032x}-{CALLER}-01");
        seller.post("/auctions", &auction(100)).header("traceparent", &traceparent).send().await.expect(201);
        // Where it is handed on, the other node tells of a request too.
        let trace = format!("{number:032x}");
        let spans = collector.trace(&trace, &[(name, 1), ("command", 1)]).await;
        let command = one(&spans, "command");
        if spans.iter().all(|span| span.id != command.parent || span.parent != CALLER) {
            break trace;
        }
        assert!(number < 100, "nothing is handed on");
    };
    let wanted = [(name, 2), ("command", 1), ("follow catalogue", 1), ("follow timers", 1)];
    let trace = collector.trace(&handed_on, &wanted).await;
    let command = one(&trace, "command");
    for follower in ["follow catalogue", "follow timers"] {
        assert_eq!(one(&trace, follower).parent, command.id, "{trace:#?}");
    }
    let (there, here): (Vec<_>, Vec<_>) =
        trace.iter().filter(|span| span.name == name).partition(|span| span.id == command.parent);
    assert_eq!((here.len(), there.len()), (1, 1), "{trace:#?}");
    assert_eq!((&*here[0].parent, &there[0].parent), (CALLER, &here[0].id));
    for node in [asked, decides, models] {
        assert!(node.terminate().await.status.success());
    }
}

#[tokio::test]
async fn what_is_not_sampled_leaves_nothing() {
    let mut collector = Collector::start().await;
    let database = TestDatabase::fresh().await;
    let settings = format!("[traces]\notlp_endpoint = '{}'\nsample_percent = 0\n", collector.endpoint());
    let server = server(&database, &settings).await;
    let seller = server.client().register_seller("seller").await;
    for flags in ["00", "01"] {
        let post = seller.post("/listings", &listing(100)).header("traceparent", &traceparent(flags));
        post.send().await.expect(201);
    }
    // It sends what waits before it ends.
    assert!(server.terminate().await.status.success());
    let names: Vec<_> = collector.all().iter().map(|span| (&*span.trace_id, &*span.name)).collect();
    assert!(!names.is_empty() && names.iter().all(|(trace, _)| *trace == TRACE), "{names:?}");
    assert_eq!(names.iter().filter(|(_, name)| *name == "POST /api/v1/listings").count(), 1, "{names:?}");
    let traced = stored(&database).await.into_iter().flatten().count();
    let of_one = i64::try_from(traced).unwrap();
    assert!(of_one > 0 && of_one < database.log_head().await / 2, "{of_one}");
}

#[tokio::test]
async fn without_a_collector_nothing_is_traced_or_stored() {
    let database = TestDatabase::fresh().await;
    let server = server(&database, "").await;
    let seller = server.client().register_seller("seller").await;
    let post = seller.post("/listings", &listing(100)).header("traceparent", &traceparent("01"));
    let listed = post.send().await.expect(201);
    assert!(stored(&database).await.iter().all(Option::is_none));
    let said = server.terminate().await.stderr;
    assert!(!said.contains(TRACE), "{said}");
    let id = listed.header("x-request-id").unwrap();
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(lines.into_iter().any(|line| line["span"]["id"] == id), "the log finds the request by its id");
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nothing_up() {
    let database = TestDatabase::fresh().await;
    // Nobody listens there: the port is taken and given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = server(&database, &format!("[traces]\notlp_endpoint = 'http://127.0.0.1:{port}/v1/traces'\n")).await;
    let seller = server.client().register_seller("seller").await;
    for _ in 0..20 {
        seller.post("/listings", &listing(100)).send().await.expect(201);
    }
    assert!(server.terminate().await.status.success());
}
