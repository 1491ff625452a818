//! F15: sockets whose clients hardly read. They take no memory, are cut, and nobody else misses anything.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::listing;
use tradepost_tests::server::Spawned;
use tradepost_tests::socket::Socket;

use super::{Plan, Tried};
use crate::results::Figures;

/// How many hardly read.
const SLOW: usize = 200;
/// What they may take of the server's memory, all of them together.
const MOST_BYTES: usize = 64 << 20;
/// How often there is something to read.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// How often a slow client reads a byte, and says that it is there.
const READ_EVERY: Duration = Duration::from_secs(1);
/// Whoever is not cut by then is not cut.
const PATIENCE: Duration = Duration::from_mins(1);
/// An empty pong, masked with zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// The memory that the server takes, in bytes.
fn memory(server: &Spawned) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()));
    let status = status.or_fail("read how much memory the server takes");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.or_fail("read how much memory the server takes") * 1_024
}

async fn path(client: &Client, chat: &str) -> String {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    format!("/ws/chats/{chat}?ticket={}", answer.body["ticket"].as_str().or_fail("find the ticket"))
}

/// Opens a socket for which the system keeps hardly anything.
async fn open_slow(client: &Client, chat: &str) -> TcpStream {
    let (host, path) = (client.address().strip_prefix("http://").or_fail("read an address"), path(client, chat).await);
    let socket = TcpSocket::new_v4().or_fail("make a socket");
    socket.set_recv_buffer_size(4_096).or_fail("make a socket small");
    let mut stream = socket.connect(host.parse().or_fail("read an address")).await.or_fail("connect a socket");
    let upgrade = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.or_fail("open a socket");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.or_fail("open a socket");
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

/// Reads a byte now and then, until whoever writes to the other side learns that nobody is there.
async fn read_slowly(mut stream: TcpStream) {
    let mut ticks = interval(READ_EVERY);
    while stream.write_all(&PONG).await.is_ok() && stream.read(&mut [0]).await.is_ok_and(|read| read > 0) {
        ticks.tick().await;
    }
}

pub(crate) async fn slow(plan: Plan) -> Tried {
    let mut figures = Figures::default();
    for _ in 0..plan.times {
        figures = figures.and(round().await);
        plan.done.inc(1);
    }
    Ok(figures)
}

async fn round() -> Figures {
    let database = TestDatabase::fresh().await;
    let many = ("TRADEPOST_HTTP__CONNECTIONS_PER_SENDER".to_owned(), (2 * SLOW).to_string());
    let server = Spawned::start_with(database.url(), &[], &[many]).await;
    let (seller, buyer) = (server.client().register_seller("seller").await, server.client().register("buyer").await);
    let item = seller.offer(&listing(1_000)).await;
    let opened = buyer.post("/chats", &json!({ "about": "listing", "id": item })).send().await.expect(201);
    let chat = opened.body["id"].as_str().or_fail("find the id of the chat").to_owned();
    buyer.get(&format!("/chats/{chat}")).since(opened.at()).send().await.expect(200);

    let mut reading = Socket::open(server.address(), &path(&buyer, &chat).await).await;
    reading.next().await;
    let seen = tokio::spawn(async move { reading.until("read").await });
    let before = memory(&server);
    let mut streams = Vec::with_capacity(SLOW);
    for _ in 0..SLOW {
        streams.push(open_slow(&seller, &chat).await);
    }
    let mut slow: JoinSet<()> = streams.into_iter().map(read_slowly).collect();
    let long = "☂".repeat(4_000);
    let mut most = 0;
    let mut due = interval(WRITE_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let cut = async {
        for author in [&buyer, &seller].into_iter().cycle() {
            while slow.try_join_next().is_some() {}
            if slow.is_empty() {
                return;
            }
            due.tick().await;
            let text = json!({ "text": long });
            author.post(&format!("/chats/{chat}/messages"), &text).send().await.expect(201);
            most = most.max(memory(&server));
        }
    };
    let mut figures = Figures::default();
    if timeout(PATIENCE, cut).await.is_err() {
        figures.broken.push("P9: sockets that nobody reads were not cut".to_owned());
    }
    if most.saturating_sub(before) >= MOST_BYTES {
        figures.broken.push(format!("P9: {before} bytes of memory grew to {most}"));
    }

    let read = buyer.post(&format!("/chats/{chat}/read"), &json!({})).send().await.expect(200);
    let shown = buyer.get(&format!("/chats/{chat}")).since(read.at()).send().await.expect(200).body;
    let told = seen.await.or_fail("listen to a socket");
    let sequences: Vec<i64> = told.iter().filter_map(|told: &Value| told["sequence"].as_i64()).collect();
    if sequences != (2..=shown["version"].as_i64().unwrap_or_default()).collect::<Vec<_>>() {
        figures.broken.push(format!("P6: a socket that was read showed {sequences:?} of {}", shown["version"]));
    }
    figures.count("sockets_cut", SLOW - slow.len());
    figures.count("memory_bytes", most.saturating_sub(before));
    let ended = server.terminate().await;
    if !ended.status.success() {
        figures.broken.push(format!("target: the server ended with {}", ended.status));
    }
    figures
}
