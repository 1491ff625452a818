//! Sockets whose clients hardly read: they take no memory, are cut, and nobody else misses anything.

use std::time::Duration;

use api::config::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tradepost_tests::client::Client;
use tradepost_tests::market::listing;
use tradepost_tests::server::InProcess;
use tradepost_tests::socket::Socket;

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

/// The memory that this process takes, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
}

async fn path(client: &Client, chat: &str) -> String {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    format!("/ws/chats/{chat}?ticket={}", answer.body["ticket"].as_str().unwrap())
}

/// Opens a socket for which the system keeps hardly anything.
async fn open_slow(client: &Client, chat: &str) -> TcpStream {
    let (host, path) = (client.address().strip_prefix("http://").unwrap(), path(client, chat).await);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(host.parse().unwrap()).await.unwrap();
    let upgrade = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
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

#[tokio::test]
async fn whoever_reads_a_byte_a_second_takes_no_memory_and_is_cut() {
    let mut settings = Config::default();
    settings.http.connections_per_sender = 2 * SLOW;
    let server = InProcess::start_with(settings).await;
    let (seller, buyer) = (server.client().register_seller("seller").await, server.client().register("buyer").await);
    let item = seller.offer(&listing(1_000)).await;
    let opened = buyer.post("/chats", &json!({ "about": "listing", "id": item })).send().await.expect(201);
    let chat = opened.body["id"].as_str().unwrap().to_owned();
    buyer.get(&format!("/chats/{chat}")).since(opened.at()).send().await.expect(200);

    let mut reading = Socket::open(server.address(), &path(&buyer, &chat).await).await;
    reading.next().await;
    let seen = tokio::spawn(async move { reading.until("read").await });
    let mut streams = Vec::with_capacity(SLOW);
    for _ in 0..SLOW {
        streams.push(open_slow(&seller, &chat).await);
    }
    let before = memory();
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
            most = most.max(memory());
        }
    };
    timeout(PATIENCE, cut).await.expect("all of them to be cut");
    assert!(most.saturating_sub(before) < MOST_BYTES, "{before} bytes grew to {most}");

    let read = buyer.post(&format!("/chats/{chat}/read"), &json!({})).send().await.expect(200);
    let shown = buyer.get(&format!("/chats/{chat}")).since(read.at()).send().await.expect(200).body;
    let sequences: Vec<i64> = seen.await.unwrap().iter().filter_map(|told: &Value| told["sequence"].as_i64()).collect();
    assert_eq!(sequences, (2..=shown["version"].as_i64().unwrap()).collect::<Vec<_>>());
}
