//! The consumer of `docs/integration.md`, in Python, gets every event once and in order.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_nats::Client as Nats;
use eventstore::event::Interest;
use eventstore::nats::{STREAM, jetstream};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::auction;
use tradepost_tests::nats::NatsServer;
use tradepost_tests::openid::python;
use tradepost_tests::server::Spawned;

/// What has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(40);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A running consumer.
struct Consumer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Consumer {
    fn start(nats: &NatsServer, after: i64) -> Self {
        let mut command = Command::new(python());
        command.arg(root().join("docs/integration/consumer.py")).arg(nats.url()).args(["--after", &after.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().or_fail("start the consumer");
        let lines = BufReader::new(child.stdout.take().or_fail("read what the consumer says")).lines();
        Self { child, lines }
    }

    /// Reads on from `position` and compares with the log, up to its head.
    async fn follows(&mut self, database: &TestDatabase, mut position: i64) -> i64 {
        let head = database.log_head().await;
        let mut connection = database.connect().await;
        let log = eventstore::log::read_range(&mut connection, position, head, Interest::Everything)
            .await
            .or_fail("read the log");
        for event in log {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.or_fail("wait longer for the consumer").or_fail("read a line").or_fail("find a line");
            let told: Value = serde_json::from_str(&line).or_fail("read what the consumer says");
            position += 1;
            assert_eq!(told["position"], position);
            assert_eq!(told["id"], event.event_id.to_string());
            assert_eq!(told["type"], format!("tradepost.{}.{}", event.aggregate_type, event.event_type));
            assert_eq!(told["data"], serde_json::from_str::<Value>(&event.payload).or_fail("read a payload"));
        }
        position
    }
}

#[tokio::test]
async fn a_consumer_in_another_language_gets_every_event_once_and_in_order() {
    let (database, mut nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let server = Spawned::start(database.url(), &["--nats-url", &nats.url()]).await;
    let seller = server.client().register_seller("seller").await;
    seller.schedule(&auction(1_000)).await;
    let mut consumer = Consumer::start(&nats, 0);
    let reached = consumer.follows(&database, 0).await;

    nats.kill().await;
    seller.schedule(&auction(1_000)).await;
    nats.restart().await;
    seller.schedule(&auction(1_000)).await;
    let reached = consumer.follows(&database, reached).await;

    let client: Nats = nats.client().await;
    jetstream(&client).delete_stream(STREAM).await.or_fail("delete the stream");
    seller.schedule(&auction(1_000)).await;
    let reached = consumer.follows(&database, reached).await;
    consumer.child.kill().await.or_fail("end the consumer");

    // Another goes on where that one has stopped.
    seller.schedule(&auction(1_000)).await;
    Consumer::start(&nats, reached).follows(&database, reached).await;
}
