//! A commit whose answer never arrives: the batch is there, or it is not, and the loop finds out which before it does
//! anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the proxy does with the next bytes.
const PASS: u8 = 0;
/// The server's next answer is swallowed, and the connection cut.
const CUT_ANSWER: u8 = 1;
/// The client's next statement is swallowed, and the connection cut.
const CUT_STATEMENT: u8 = 2;

/// Stands between the loop and Postgres.
struct Proxy {
    next: Arc<AtomicU8>,
    database: Database,
}

impl Proxy {
    async fn before(url: &str) -> Self {
        let (credentials, rest) = url.split_once('@').unwrap();
        let (host, name) = rest.rsplit_once('/').unwrap();
        let (_, port) = host.rsplit_once(':').unwrap();
        let server = format!("127.0.0.1:{port}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxied = format!("{credentials}@{}/{name}", listener.local_addr().unwrap());
        let next = Arc::new(AtomicU8::new(PASS));
        tokio::spawn(accept(listener, server, next.clone()));
        Self { next, database: Database::at(&proxied).unwrap() }
    }

    fn cut(&self, what: u8) {
        self.next.store(what, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        self.next.load(Ordering::SeqCst) == PASS
    }
}

async fn accept(listener: TcpListener, server: String, next: Arc<AtomicU8>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = TcpStream::connect(&server).await.unwrap().into_split();
        let next = next.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = copy(from_client, to_server, &next, CUT_STATEMENT) => {}
                () = copy(from_server, to_client, &next, CUT_ANSWER) => {}
            }
        });
    }
}

/// Passes bytes on until the end, or until it is time to cut.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, next: &AtomicU8, cut: u8) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if next.compare_exchange(cut, PASS, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

async fn holds_survive(cut: u8) {
    let url = eventstore::testing::fresh_url().await;
    let direct = Database::at(&url).unwrap();
    direct.migrate().await.unwrap();
    let proxy = Proxy::before(&url).await;
    let engine = plain_node(&proxy.database).await;
    let ann = somebody();
    fund(&engine, ann, 100).await;
    for round in 0..20_i64 {
        proxy.cut(cut);
        // Without a key and with another id each time it is decided, so that nothing but the loop keeps a second
        // effect out.
        let place = move |world: &mut World<'_>| {
            let command = Command::PlaceHold { hold: HoldId(mint::id()), amount: usd(1) };
            world.execute::<Wallet>(WalletId::of(ann, Currency::USD), command)?;
            available(world, ann)
        };
        let held = engine.submit(once(), place).await.unwrap();
        assert!(proxy.has_cut(), "nothing was cut in round {round}");
        assert_eq!((held.value, held.position), (usd(99 - round), 4 + round));
    }
    assert_eq!(plain_node(&direct).await.read(move |world| available(world, ann)).await, Ok(usd(80)));
    assert_gapless(&direct).await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_counts_once() {
    holds_survive(CUT_ANSWER).await;
}

#[tokio::test]
async fn a_statement_that_is_lost_is_sent_again() {
    holds_survive(CUT_STATEMENT).await;
}
