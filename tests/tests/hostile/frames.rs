//! Frames that are hardly a socket's.

use eventstore::testing::damage;
use rand::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tradepost_tests::client::leak;
use tradepost_tests::market::{auction, usd};

use super::{Hostile, PATIENCE};

#[tokio::test]
async fn frames_that_are_hardly_a_sockets_are_refused_or_end_it() {
    let mut hostile = Hostile::open().await;
    let auction = hostile.bazaar.seller.schedule(&auction(1_000)).await;
    let address = hostile.bazaar.server.address().trim_start_matches("http://").to_owned();
    let head = hostile.settled().await;
    hostile.bazaar.seller.auction(&auction, head).await;
    let mut refused = 0;
    for _ in 0..hostile.cases {
        // Whoever sells it may not bid, whatever becomes of what they send.
        let ticket = hostile.bazaar.seller.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
        let ticket = ticket.body["ticket"].as_str().unwrap().to_owned();
        let frames = conversation(&mut hostile);
        let what = String::from_utf8_lossy(&frames).into_owned();
        let said = timeout(PATIENCE, exchange(&address, &auction, &ticket, &frames)).await;
        let said = said.unwrap_or_else(|_| panic!("the socket is left open: {what}"));
        for message in messages(&said) {
            assert_eq!(fault(&message), None, "{what} → {message}");
            refused += u32::from(message.contains("\"refused\""));
        }
        hostile.is_at(head, &what).await;
    }
    assert!(refused > hostile.cases / 8, "{refused} of {}", hostile.cases);
    hostile.is_sound().await;
}

/// Some frames, the last of which ends the conversation unless that was damaged too.
fn conversation(hostile: &mut Hostile) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..hostile.rng.random_range(1..5) {
        let bid = json!({ "type": "bid", "id": "1", "maximum": usd(5_000), "idempotency_key": "k" });
        let message = damage::of_json(&bid, &hostile.changes(2)).to_string();
        let (text, long) = (message.into_bytes(), vec![b' '; 70_000]);
        let (first, payload): (u8, &[u8]) = match hostile.rng.random_range(0..12) {
            0..6 => (0x81, &text),
            6 => (0x82, &text),
            // The first of several parts, and one that continues something.
            7 => (0x01, &text),
            8 => (0x80, &text),
            9 => (0x89, &text[..text.len().min(125)]),
            10 => (0x81, &long),
            _ => (hostile.rng.random(), &text),
        };
        frame(&mut bytes, first, payload);
    }
    let bytes = damage::of_bytes(&bytes, &hostile.changes(2));
    let mut bytes = bytes;
    frame(&mut bytes, 0x88, &1_000_u16.to_be_bytes());
    bytes
}

/// A frame under a mask of zeros.
fn frame(bytes: &mut Vec<u8>, first: u8, payload: &[u8]) {
    bytes.push(first);
    match u16::try_from(payload.len()) {
        Ok(short @ 0..126) => bytes.push(0x80 | short.to_be_bytes()[1]),
        Ok(medium) => {
            bytes.push(0x80 | 0x7e);
            bytes.extend(medium.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
}

/// What the socket says until it ends, without the answer that opened it.
async fn exchange(address: &str, auction: &str, ticket: &str, frames: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let upgrade = format!(
        "GET /ws/auctions/{auction}?ticket={ticket} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    // It may be cut before all is sent, and reset with something unread.
    let _ = stream.write_all(frames).await;
    let _ = stream.shutdown().await;
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said).await;
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&said));
    let begin = said.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(said.len(), |end| end + 4);
    said.split_off(begin)
}

/// The texts in what a socket has said: of frames without a mask, the last of which may be cut off.
fn messages(mut said: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let [first, length, rest @ ..] = said {
        assert_eq!(length & 0x80, 0, "a server masks nothing");
        let (length, rest) = match (length, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            (127, _) => panic!("no answer is that long"),
            (short, rest) => (usize::from(*short), rest),
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        if first & 0x0f == 1 {
            messages.push(String::from_utf8(payload.to_vec()).expect("a text is UTF-8"));
        }
        said = rest;
    }
    messages
}

fn fault(message: &str) -> Option<String> {
    let Ok(read) = serde_json::from_str::<Value>(message) else { return Some("it is no JSON".to_owned()) };
    match read["type"].as_str() {
        Some("state" | "opened") => None,
        Some("refused") => {
            let status = read["problem"]["status"].as_u64();
            let refused = status.is_some_and(|status| (400..500).contains(&status));
            if refused { leak(message) } else { Some("it is no refusal".to_owned()) }
        }
        _ => Some("it is of no kind that was to be expected".to_owned()),
    }
}
