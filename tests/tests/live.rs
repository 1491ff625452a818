//! The live socket: what it shows, bidding over it, who may open it, how it ends.

use std::time::Duration;

use api::config::{Config, Limits};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::market::{auction, usd, with};
use tradepost_tests::server::{InProcess, Spawned};
use tradepost_tests::socket::Socket;

async fn ticket(client: &Client) -> String {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    answer.body["ticket"].as_str().unwrap().to_owned()
}

fn sequences(messages: &[Value]) -> Vec<i64> {
    messages.iter().filter(|message| message["sequence"].is_i64()).map(|m| m["sequence"].as_i64().unwrap()).collect()
}

fn kinds(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_socket_shows_the_state_and_then_every_event_once_in_order() {
    let server = InProcess::start().await;
    let (seller, ann) = (server.client().register_seller("seller").await, server.client().register("ann").await);
    let bob = server.client().register("bob").await;
    let starts_at = seller.now().await + TimeDelta::minutes(10);
    let id = seller.schedule(&with(auction(1_000), "starts_at", json!(starts_at))).await;
    ann.auction(&id, server.database.log_head().await).await;

    let mut socket = Socket::open(server.address(), &format!("/api/v1/ws/auctions/{id}")).await;
    let state = socket.next().await;
    assert_eq!((&state["type"], &state["sequence"]), (&json!("state"), &json!(1)));
    assert_eq!((&state["auction"]["id"], &state["auction"]["status"]), (&json!(id), &json!("scheduled")));

    ann.advance(600_000).await;
    ann.bid(&id, 2_000).await.expect(201);
    bob.bid(&id, 1_500).await.expect(201);
    bob.bid(&id, 1_000).await.problem(422, "bid-too-low");
    bob.bid(&id, 5_000).await.expect(201);
    ann.advance(3_540_000).await;
    ann.bid(&id, 6_000).await.expect(201);
    ann.advance(3_600_000).await;
    let messages = socket.until("closed").await;
    assert_eq!(kinds(&messages), ["opened", "bid", "bid", "bid", "bid", "extended", "closed"]);
    assert_eq!(sequences(&messages), [2, 3, 4, 5, 6, 7, 8]);
    let who = |index: usize, role: &str| messages[index][role].clone();
    assert_eq!(
        (who(1, "bidder"), who(1, "leader"), who(1, "outbid")),
        (json!("Bidder 1"), json!("Bidder 1"), json!(null))
    );
    assert_eq!(
        (who(2, "bidder"), who(2, "leader"), who(2, "outbid")),
        (json!("Bidder 2"), json!("Bidder 1"), json!("Bidder 2"))
    );
    assert_eq!((who(3, "leader"), who(3, "outbid")), (json!("Bidder 2"), json!("Bidder 1")));
    assert_eq!((who(2, "price"), who(6, "price")), (usd(1_550), usd(5_100)));
    assert_eq!((who(6, "winner"), who(6, "result")), (json!("Bidder 1"), json!("won")));

    for (after, expected) in [(0, vec![1, 2, 3, 4, 5, 6, 7, 8]), (4, vec![5, 6, 7, 8])] {
        // By another name, from where somebody has left off.
        let mut resumed = Socket::open(server.address(), &format!("/ws/auction/{id}?after={after}")).await;
        assert_eq!(resumed.next().await["type"], "state");
        assert_eq!(sequences(&resumed.until("closed").await), expected);
    }
}

#[tokio::test]
async fn bids_are_placed_over_the_socket() {
    let server = InProcess::start().await;
    let (seller, ann) = (server.client().register_seller("seller").await, server.client().register("ann").await);
    let id = seller.schedule(&auction(1_000)).await;
    ann.auction(&id, server.database.log_head().await).await;
    let path = format!("/ws/auctions/{id}?ticket={}", ticket(&ann).await);
    let mut socket = Socket::open(server.address(), &path).await;
    socket.next().await;

    let bid = |name: &str, cents: i64, key: Option<&str>| json!({ "type": "bid", "id": name, "maximum": usd(cents), "idempotency_key": key });
    socket.send(&bid("first", 2_000, Some("k"))).await;
    let accepted = socket.until("accepted").await.pop().unwrap();
    assert_eq!((&accepted["id"], &accepted["bid"]["standing"]), (&json!("first"), &json!("leading")));
    let position = accepted["bid"]["position"].as_i64().unwrap();

    // The same key again, also with the same bid over HTTP's own scope of paths, does nothing new.
    socket.send(&bid("again", 2_000, Some("k"))).await;
    let again = socket.until("accepted").await.pop().unwrap();
    assert_eq!((&again["id"], &again["bid"]), (&json!("again"), &accepted["bid"]));
    socket.send(&bid("other", 3_000, Some("k"))).await;
    let used_before = socket.until("refused").await.pop().unwrap();
    assert_eq!(used_before["problem"]["type"], "/problems/idempotency-key-reused");
    socket.send(&bid("low", 1, None)).await;
    let low = socket.until("refused").await.pop().unwrap();
    assert_eq!((&low["id"], &low["problem"]["minimum"]), (&json!("low"), &usd(2_001)));
    for nonsense in [json!({ "type": "bid" }), json!({ "type": "sell", "id": "1" }), json!([]), json!("x")] {
        socket.send(&nonsense).await;
        let refused = socket.until("refused").await.pop().unwrap();
        assert_eq!(refused["problem"]["status"], 400, "{refused}");
    }
    assert_eq!(server.database.log_head().await, position);
    assert_eq!(ann.auction(&id, position).await["bids"], 1);
}

#[tokio::test]
async fn a_bid_over_the_socket_counts_once() {
    // Two commands at once: the ticket and a bid.
    let limits = Limits { account_per_s: 1, ..Limits::OFF };
    let server = InProcess::start_with(Config { limits, ..Config::default() }).await;
    let (seller, ann) = (server.client().register_seller("seller").await, server.client().register("ann").await);
    let id = seller.schedule(&auction(1_000)).await;
    ann.auction(&id, server.database.log_head().await).await;
    let path = format!("/ws/auctions/{id}?ticket={}", ticket(&ann).await);
    let mut socket = Socket::open(server.address(), &path).await;
    socket.next().await;
    socket.send(&json!({ "type": "bid", "id": "1", "maximum": usd(2_000) })).await;
    let answer = socket.until_one_of(&["accepted", "refused"]).await;
    assert_eq!(answer["type"], "accepted", "{answer}");
}

#[tokio::test]
async fn a_key_over_the_socket_is_what_one_in_a_header_is() {
    let server = InProcess::start().await;
    let (seller, ann) = (server.client().register_seller("seller").await, server.client().register("ann").await);
    let id = seller.schedule(&auction(1_000)).await;
    ann.auction(&id, server.database.log_head().await).await;
    let path = format!("/ws/auctions/{id}?ticket={}", ticket(&ann).await);
    let mut socket = Socket::open(server.address(), &path).await;
    for key in ["", "a\u{0}b", "schl\u{fc}ssel", &"k".repeat(256)] {
        socket.send(&json!({ "type": "bid", "id": "1", "maximum": usd(2_000), "idempotency_key": key })).await;
        let refused = socket.until("refused").await.pop().unwrap();
        assert_eq!(refused["problem"]["type"], "/problems/malformed-idempotency-key", "{key:?}");
    }
    // Not the head of the log: the timer that opens the auction may move it meanwhile.
    let bids = sqlx::query_scalar::<_, i64>("select count(*) from events where event_type = 'BidPlaced'");
    assert_eq!(bids.fetch_one(&mut server.database.connect().await).await.unwrap(), 0);
}

#[tokio::test]
async fn what_the_client_has_seen_elsewhere_is_not_sent_again() {
    let server = InProcess::start().await;
    let (seller, ann) = (server.client().register_seller("seller").await, server.client().register("ann").await);
    let id = seller.schedule(&auction(1_000)).await;
    ann.auction(&id, server.database.log_head().await).await;
    // As after a reconnect to a node whose table is two events behind: there the auction has only been scheduled and opened.
    let mut socket = Socket::open(server.address(), &format!("/ws/auctions/{id}?after=4")).await;
    assert_eq!(socket.next().await["type"], "state");
    for cents in [2_000, 3_000, 4_000] {
        ann.bid(&id, cents).await.expect(201);
    }
    assert_eq!(sequences(&[socket.next().await]), [5]);
}

#[tokio::test]
async fn a_socket_waits_for_the_position_that_its_client_has_seen() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    for _ in 0..10 {
        let scheduled = seller.post("/auctions", &auction(1_000)).send().await.expect(201);
        let id = scheduled.body["id"].as_str().unwrap();
        let path = format!("/ws/auctions/{id}?min_position={}", scheduled.at());
        assert_eq!(Socket::open(server.address(), &path).await.next().await["type"], "state");
    }
    let id = seller.schedule(&auction(1_000)).await;
    // Beyond whatever a timer may still write.
    let far = server.database.log_head().await + 1_000;
    let path = format!("/ws/auctions/{id}?min_position={far}");
    assert_eq!(Socket::try_open(server.address(), &path).await.unwrap_err(), 503);
}

#[tokio::test]
async fn a_frame_that_announces_too_much_ends_the_socket_before_it_has_come() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let id = seller.schedule(&auction(1_000)).await;
    seller.auction(&id, server.database.log_head().await).await;
    let host = server.address().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let upgrade = format!(
        "GET /ws/auctions/{id} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    // A text frame of 16 MiB under a mask, of which nothing follows.
    let mut header = vec![0x81, 0x80 | 127];
    header.extend((16_u64 << 20).to_be_bytes());
    header.extend([1, 2, 3, 4]);
    stream.write_all(&header).await.unwrap();
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the socket waits for 16 MiB");
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_without_one_nobody_bids() {
    let server = InProcess::start().await;
    let (seller, ann) = (server.client().register_seller("seller").await, server.client().register("ann").await);
    let id = seller.schedule(&auction(1_000)).await;
    ann.auction(&id, server.database.log_head().await).await;
    let path = format!("/ws/auctions/{id}?ticket={}", ticket(&ann).await);
    Socket::open(server.address(), &path).await;
    assert_eq!(Socket::try_open(server.address(), &path).await.unwrap_err(), 401);
    let made_up = format!("/ws/auctions/{id}?ticket=made-up");
    assert_eq!(Socket::try_open(server.address(), &made_up).await.unwrap_err(), 401);
    let token = format!("/ws/auctions/{id}?access_token={}", ann.access_token());
    assert_eq!(Socket::try_open(server.address(), &token).await.unwrap_err(), 422);
    let nothing = format!("/ws/auctions/{}", uuid::Uuid::from_u128(7));
    assert_eq!(Socket::try_open(server.address(), &nothing).await.unwrap_err(), 404);

    let mut watcher = Socket::open(server.address(), &format!("/ws/auctions/{id}")).await;
    watcher.send(&json!({ "type": "bid", "id": "1", "maximum": usd(5_000) })).await;
    let refused = watcher.until("refused").await.pop().unwrap();
    assert_eq!(refused["problem"]["type"], "/problems/unauthenticated");
    assert_eq!(ann.auction(&id, server.database.log_head().await).await["bids"], 0);
}

#[tokio::test]
async fn every_watcher_sees_every_bid_of_a_crowd_once_in_order() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let bidders = [server.client().register("ann").await, server.client().register("bob").await];
    let id = seller.schedule(&auction(100)).await;
    seller.auction(&id, server.database.log_head().await).await;
    let path = format!("/ws/auctions/{id}?after=0");
    let watch = |_| async { Socket::open(server.address(), &path).await };
    let mut watchers = futures::future::join_all((0..8).map(watch)).await;

    let bids = (0..150).map(|number| bidders[number % 2].bid(&id, 100_000 + 20_000 * i64::try_from(number).unwrap()));
    let accepted = futures::future::join_all(bids).await.iter().filter(|answer| answer.status == 201).count();
    assert!(accepted > 0);
    // Some watch from now on, in the middle of it.
    watchers.extend(futures::future::join_all((0..4).map(watch)).await);
    seller.advance(3_600_000).await;
    for watcher in &mut watchers {
        let messages = watcher.until("closed").await;
        assert_eq!(kinds(&messages).iter().filter(|kind| **kind == "bid").count(), accepted);
        let seen = sequences(&messages[1..]);
        assert_eq!(seen, (1..=i64::try_from(seen.len()).unwrap()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_graceful_stop_tells_the_sockets() {
    let database = TestDatabase::fresh().await;
    let server = Spawned::start(database.url(), &[]).await;
    let seller = server.client().register_seller("seller").await;
    let id = seller.schedule(&auction(1_000)).await;
    seller.auction(&id, database.log_head().await).await;
    let mut socket = Socket::open(server.address(), &format!("/ws/auctions/{id}")).await;
    socket.next().await;
    server.tell_to_stop();
    assert_eq!(socket.close_code().await, 1001);
    let ended = server.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
}
