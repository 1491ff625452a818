//! Bytes that are hardly HTTP, over a connection with nothing between.

use eventstore::testing::damage;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tradepost_tests::client::leak;
use tradepost_tests::market::{auction, usd};

use super::{Hostile, PATIENCE};

/// So many at a time, since some are answered only once the server has waited for the rest of them.
const AT_ONCE: usize = 16;

#[tokio::test]
async fn bytes_that_are_hardly_http_are_answered_or_closed_and_do_nothing() {
    let mut hostile = Hostile::open_impatient().await;
    let auction = hostile.bazaar.seller.schedule(&auction(1_000)).await;
    let requests = requests(&hostile, &auction);
    let head = hostile.settled().await;
    let address = hostile.bazaar.server.address().trim_start_matches("http://").to_owned();
    let (mut sent, mut answered) = (0, 0);
    while sent < hostile.cases {
        let batch: Vec<Vec<u8>> = (0..AT_ONCE)
            .map(|_| {
                let request = hostile.one_of(&requests.iter().map(String::as_str).collect::<Vec<_>>());
                damage::of_bytes(request.as_bytes(), &hostile.changes(4))
            })
            .collect();
        let answers = join_all(batch.iter().map(|bytes| exchange(&address, bytes))).await;
        for (bytes, answer) in batch.iter().zip(&answers) {
            let what = String::from_utf8_lossy(bytes);
            let answer = answer.as_ref().unwrap_or_else(|| panic!("neither answered nor closed: {what}"));
            answered += u32::from(!answer.is_empty());
            assert_eq!(fault(answer), None, "{what} → {}", String::from_utf8_lossy(answer));
        }
        hostile.is_at(head, "one of sixteen").await;
        sent += u32::try_from(AT_ONCE).unwrap();
    }
    assert!(answered > sent / 4, "{answered} of {sent}");
    hostile.is_sound().await;
}

/// Requests of which none may change anything, whatever is done to them: their sender sells what they bid on, or does not
/// know the password.
fn requests(hostile: &Hostile, auction: &str) -> Vec<String> {
    let seller = hostile.bazaar.seller.access_token();
    let post = |path: &str, head: &str, body: &Value| {
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let bids = format!("/api/v1/auctions/{auction}/bids");
    let (bid, login) = (json!({ "maximum": usd(5_000) }), json!({ "email": "seller@example.com", "password": "?" }));
    let bearer = format!("authorization: Bearer {seller}\r\nidempotency-key: k\r\n");
    let chunked = format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{login}\r\n0\r\n\r\n",
        login.to_string().len()
    );
    let get = |path: &str, head: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\n{head}connection: close\r\n\r\n");
    vec![
        get("/api/v1/listings?limit=5&sort=newest", "accept: application/json\r\n"),
        get(&format!("/api/v1/auctions/{auction}?as_of=3"), &bearer),
        get("/api/v1/orders?as=seller", &bearer),
        get("/api/v1/media/..%2f..%2fetc%2fpasswd", "range: bytes=0-1\r\n"),
        format!("OPTIONS {bids} HTTP/1.1\r\nhost: a\r\norigin: https://evil.example\r\nconnection: close\r\n\r\n"),
        format!("HEAD /api/v1/health HTTP/1.1\r\nhost: a\r\n\r\n{}", get("/api/v1/health", "")),
        post(&bids, &bearer, &bid),
        post(&bids, "", &bid),
        post("/api/v1/auth/login", "expect: 100-continue\r\n", &login),
        post("/api/v1/payments/webhooks/sandbox", "tradepost-signature: t=1,v1=00\r\n", &bid),
        chunked,
        format!(
            "GET /ws/auctions/{auction} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
    ]
}

/// What comes back until the server closes; nothing if it does not. A socket that was opened is ended by us.
async fn exchange(address: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut answer, mut ended) = (Vec::new(), false);
    let talk = async {
        // Whoever is refused early may be cut while still sending.
        let _ = stream.write_all(bytes).await;
        // Closed with something unread, it is reset; what came before has been read then.
        while stream.read_buf(&mut answer).await.is_ok_and(|read| read > 0) {
            if answer.starts_with(b"HTTP/1.1 101") && !ended {
                ended = true;
                let _ = stream.shutdown().await;
            }
        }
    };
    timeout(PATIENCE, talk).await.ok()?;
    Some(answer)
}

/// What is wrong with an answer: the first, if there are several.
fn fault(answer: &[u8]) -> Option<String> {
    if answer.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(answer).into_owned();
    // Whoever waits to be told to go on is told so first.
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status: Option<u16> = head.get(9..12).and_then(|status| status.parse().ok());
    let Some(status) = status.filter(|_| head.starts_with("HTTP/1.")) else {
        return Some("it is no answer".to_owned());
    };
    let head = head.to_ascii_lowercase();
    if status >= 500 {
        return Some(format!("its status is {status}"));
    }
    // What is no HTTP at all is answered below the API: without a body, and the connection is closed.
    let bare = body.is_empty() && matches!(status, 400 | 414 | 431);
    if status >= 400 && !bare && !head.contains("content-type: application/problem+json") {
        return Some("it is no problem".to_owned());
    }
    leak(text)
}
