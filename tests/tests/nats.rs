//! The log in NATS: what other systems read there, and what becomes of it when NATS is killed, wiped, or holds something
//! else. Commands never notice.

use std::time::Duration;

use api::app::followers;
use async_nats::jetstream::stream::Stream;
use eventstore::event::{Interest, RecordedEvent};
use eventstore::nats::{STREAM, jetstream, read};
use serde_json::{Value, json};
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::auction;
use tradepost_tests::models;
use tradepost_tests::nats::NatsServer;
use tradepost_tests::server::Spawned;
use tradepost_tests::verifying::verify;

/// What has not come by then will not come: the promise is 10 seconds after NATS is back.
const CONVERGES_WITHIN: Duration = Duration::from_secs(10);
/// How soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How often NATS is killed: `TRADEPOST_NATS_KILLS`, 3 times unless told.
fn kills() -> usize {
    let named = std::env::var("TRADEPOST_NATS_KILLS").ok();
    named.map_or(3, |kills| kills.parse().or_fail("read TRADEPOST_NATS_KILLS"))
}

/// How often NATS loses all it has stored: `TRADEPOST_NATS_WIPES`, once unless told.
fn wipes() -> usize {
    let named = std::env::var("TRADEPOST_NATS_WIPES").ok();
    named.map_or(1, |wipes| wipes.parse().or_fail("read TRADEPOST_NATS_WIPES"))
}

/// A marketplace whose log goes to NATS.
struct Relayed {
    database: TestDatabase,
    nats: NatsServer,
    _server: Spawned,
    seller: Client,
    bidder: Client,
    auction: String,
    bids: i64,
}

impl Relayed {
    async fn start() -> Self {
        let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
        let server = Spawned::start(database.url(), &["--nats-url", &nats.url()]).await;
        let seller = server.client().register_seller("seller").await;
        let bidder = server.client().register("bidder").await;
        let auction = seller.schedule(&auction(1_000)).await;
        let (seller, bidder) = (seller.at(server.address()), bidder.at(server.address()));
        Self { database, nats, _server: server, seller, bidder, auction, bids: 0 }
    }

    /// A few commands, each of which is accepted.
    async fn trade(&mut self) {
        for _ in 0..5 {
            self.bids += 1;
            self.bidder.bid(&self.auction, 1_000 + self.bids * 100).await.expect(201);
            self.seller.schedule(&auction(1_000)).await;
            self.bidder.deposit(1_000, "sandbox-succeeds").await.expect(202);
        }
    }

    async fn stream(&self) -> Stream {
        jetstream(&self.nats.client().await).get_stream(STREAM).await.or_fail("find the stream")
    }

    /// Waits until the stream holds the whole log, and compares them. How far they go; processes write on.
    async fn converges(&self) -> i64 {
        let context = jetstream(&self.nats.client().await);
        let arrive = async {
            loop {
                // Processes go on writing, so the head is looked up each time.
                let head = self.database.log_head().await;
                if let Ok(stream) = context.get_stream(STREAM).await {
                    let state = &stream.cached_info().state;
                    if state.last_sequence == head.unsigned_abs() && state.messages == head.unsigned_abs() {
                        return (stream, head);
                    }
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let arrived = tokio::time::timeout(CONVERGES_WITHIN, arrive).await;
        let (stream, head) = arrived.or_fail("wait longer for the stream");
        let mut connection = self.database.connect().await;
        let log =
            eventstore::log::read_range(&mut connection, 0, head, Interest::Everything).await.or_fail("read the log");
        for event in log {
            let message = stream.get_raw_message(event.position.unsigned_abs()).await.or_fail("read a message");
            let relayed = read(Some(&message.headers), &message.payload).or_fail("read an event");
            assert_eq!(parts(&relayed), parts(&event));
        }
        head
    }
}

fn parts(event: &RecordedEvent) -> Value {
    let RecordedEvent { position, commit_position, event_id, aggregate_type, aggregate_id, sequence, .. } = event;
    let RecordedEvent { event_type, event_version, payload, recorded_at, .. } = event;
    json!([
        [position, commit_position, event_id, aggregate_type, aggregate_id.0, sequence],
        [event_type, event_version, payload, recorded_at]
    ])
}

#[tokio::test]
async fn every_event_is_in_the_stream_once_in_order_as_a_cloud_event() {
    let mut relayed = Relayed::start().await;
    relayed.trade().await;
    let head = relayed.converges().await;
    let message = relayed.stream().await.get_raw_message(head.unsigned_abs()).await.unwrap();
    let header = |name: &str| message.headers.get(name).unwrap_or_else(|| panic!("{name}")).as_str().to_owned();
    assert_eq!(header("ce-specversion"), "1.0");
    assert_eq!(header("ce-id"), header("Nats-Msg-Id"));
    assert_eq!(header("ce-source"), "/tradepost");
    assert_eq!(header("ce-datacontenttype"), "application/json");
    assert_eq!(header("ce-position"), head.to_string());
    let kind = header("ce-type");
    assert_eq!(
        message.subject.as_str(),
        format!("tradepost.events.{}.{}", &kind["tradepost.".len()..], header("ce-subject"))
    );
    assert!(serde_json::from_slice::<Value>(&message.payload).unwrap().is_object());
    assert!(["account:", "process:"].iter().any(|actor| header("ce-actor").starts_with(actor)));
    // Personal fields are sealed, and what a client calls its command is nobody's business.
    for position in 1..=head.unsigned_abs() {
        let message = relayed.stream().await.get_raw_message(position).await.unwrap();
        let text = format!("{:?} {}", message.headers, String::from_utf8_lossy(&message.payload));
        assert!(!text.contains("seller@example.com") && !text.contains("command_key"), "{text}");
    }
}

#[tokio::test]
async fn a_killed_nats_stops_no_command_and_gets_what_it_has_missed() {
    let mut relayed = Relayed::start().await;
    for _ in 0..kills() {
        relayed.trade().await;
        relayed.nats.kill().await;
        relayed.trade().await;
        let head = relayed.database.log_head().await;
        relayed.bidder.get("/wallet").since(head).send().await.expect(200);
        relayed.nats.restart().await;
        relayed.converges().await;
    }
    models::assert_equal_their_rebuild(&relayed.database).await;
}

#[tokio::test]
async fn a_stream_that_is_gone_or_emptied_or_not_ours_is_filled_again() {
    let mut relayed = Relayed::start().await;
    relayed.trade().await;
    relayed.converges().await;

    for _ in 0..wipes() {
        relayed.nats.kill().await;
        relayed.nats.wipe();
        relayed.nats.restart().await;
        relayed.trade().await;
        relayed.converges().await;
    }

    let context = jetstream(&relayed.nats.client().await);
    context.delete_stream(STREAM).await.unwrap();
    relayed.trade().await;
    relayed.converges().await;

    relayed.stream().await.purge().await.unwrap();
    relayed.converges().await;

    // Somebody else has published there.
    let foreign = context.publish("tradepost.events.foreign", "{}".into()).await.unwrap();
    foreign.await.unwrap();
    relayed.trade().await;
    relayed.converges().await;
}

#[tokio::test]
async fn a_node_starts_and_trades_without_the_nats_that_it_is_told_of() {
    let (database, mut nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    nats.kill().await;
    let server = Spawned::start(database.url(), &["--nats-url", &nats.url()]).await;
    let seller = server.client().register_seller("seller").await;
    let id = seller.schedule(&auction(1_000)).await;
    seller.auction(&id, database.log_head().await).await;
    nats.restart().await;
    let stream = async {
        loop {
            if jetstream(&nats.client().await).get_stream(STREAM).await.is_ok() {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(CONVERGES_WITHIN, stream).await.unwrap();
    assert!(server.terminate().await.status.success());
}

#[tokio::test]
async fn verify_compares_the_stream_with_the_log() {
    let mut relayed = Relayed::start().await;
    relayed.trade().await;
    relayed.converges().await;
    let url = relayed.nats.url();
    let of_stream = async |database| {
        let (checks, found) = verify(database, &["--nats-url", &url]).await;
        assert_eq!(checks, followers().count() + 3, "the stream too");
        found.into_iter().filter(|(about, _)| about == "the stream in NATS").map(|(_, what)| what).collect::<Vec<_>>()
    };
    assert_eq!(of_stream(&relayed.database).await, [""; 0]);
    relayed.stream().await.delete_message(4).await.or_fail("delete a message");
    let alter = "update events set metadata = '{\"actor\":\"somebody\"}' where position = 6";
    sqlx::query(alter).execute(&mut relayed.database.connect().await).await.or_fail("alter an event");
    let found = of_stream(&relayed.database).await;
    assert_eq!(found[1..], ["message 4 is not there", "message 6 has another `ce-actor` than the event"], "{found:?}");
}
