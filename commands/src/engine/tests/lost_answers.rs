//! A commit whose answer never arrives: the batch is there, or it is not, and the loop finds out which before it does
//! anything else. The same while Postgres does not answer at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;

/// What the proxy does with the next bytes.
const PASS: u8 = 0;
/// The server's next answer is swallowed, and the connection cut.
const CUT_ANSWER: u8 = 1;
/// The client's next statement is swallowed, and the connection cut.
const CUT_STATEMENT: u8 = 2;
/// The client's next statement is kept, its connection cut; the server gets the statement when it is told to.
const HOLD_STATEMENT: u8 = 3;
/// Until told otherwise, connections are cut when they are used, and new ones accepted and never answered.
const HANG: u8 = 4;

/// Stands between the loop and Postgres.
struct Proxy {
    next: Arc<AtomicU8>,
    held: Arc<Held>,
    database: Database,
}

/// When a statement that was held goes to the server, and when the server has dealt with it.
#[derive(Default)]
struct Held {
    deliver: Notify,
    delivered: Notify,
}

impl Proxy {
    async fn before(url: &str) -> Self {
        let (credentials, rest) = url.split_once('@').unwrap();
        let (host, name) = rest.rsplit_once('/').unwrap();
        let (_, port) = host.rsplit_once(':').unwrap();
        let server = format!("127.0.0.1:{port}");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxied = format!("{credentials}@{}/{name}", listener.local_addr().unwrap());
        let (next, held) = (Arc::new(AtomicU8::new(PASS)), Arc::<Held>::default());
        tokio::spawn(accept(listener, server, next.clone(), held.clone()));
        Self { next, held, database: Database::at(&proxied).unwrap() }
    }

    /// A node that decides over it, where `owner` has so much, and the way to the same database without it.
    async fn with_node(owner: AccountId, minor: i64) -> (Self, Engine, Database) {
        let url = eventstore::testing::fresh_url().await;
        let direct = Database::at(&url).unwrap();
        direct.migrate().await.unwrap();
        let proxy = Self::before(&url).await;
        let engine = plain_node(&proxy.database).await;
        fund(&engine, owner, minor).await;
        (proxy, engine, direct)
    }

    fn cut(&self, what: u8) {
        self.next.store(what, Ordering::SeqCst);
    }

    fn has_cut(&self) -> bool {
        self.next.load(Ordering::SeqCst) == PASS
    }

    /// Lets the statement that was held arrive, and waits until the server has dealt with it.
    async fn deliver(&self) {
        self.held.deliver.notify_one();
        self.held.delivered.notified().await;
    }
}

async fn accept(listener: TcpListener, server: String, next: Arc<AtomicU8>, held: Arc<Held>) {
    let mut hanging = Vec::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if next.load(Ordering::SeqCst) == HANG {
            hanging.push(client);
            continue;
        }
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = TcpStream::connect(&server).await.unwrap().into_split();
        let (next, held) = (next.clone(), held.clone());
        tokio::spawn(async move {
            let kept = tokio::select! {
                kept = copy(&mut from_client, &mut to_server, &next, &[CUT_STATEMENT, HOLD_STATEMENT]) => kept,
                kept = copy(&mut from_server, &mut to_client, &next, &[CUT_ANSWER]) => kept,
            };
            if let Some((HOLD_STATEMENT, statement)) = kept {
                drop((from_client, to_client));
                held.deliver.notified().await;
                // The server may have closed the connection, and then says so.
                let _ = to_server.write_all(&statement).await;
                let _ = from_server.read(&mut [0; 1024]).await;
                held.delivered.notify_one();
            }
        });
    }
}

/// Passes bytes on until the end, or until it is time for one of `cuts`: gives back which, and what was not passed on.
async fn copy(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    next: &AtomicU8,
    cuts: &[u8],
) -> Option<(u8, Vec<u8>)> {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let now = next.load(Ordering::SeqCst);
        if now == HANG {
            return None;
        }
        if cuts.contains(&now) && next.compare_exchange(now, PASS, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return Some((now, bytes[..count].to_vec()));
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return None;
        }
    }
    None
}

/// Holds 1 of somebody's money. Without a key and with another id each time it is decided, so that nothing but the loop
/// keeps a second effect out.
fn place_hold(world: &mut World<'_>, owner: AccountId) -> Result<Money, Halt> {
    let command = Command::PlaceHold { hold: HoldId(mint::id()), amount: usd(1) };
    world.execute::<Wallet>(WalletId::of(owner, Currency::USD), command)?;
    available(world, owner)
}

async fn holds_survive(cut: u8) {
    let ann = somebody();
    let (proxy, engine, direct) = Proxy::with_node(ann, 100).await;
    for round in 0..20_i64 {
        proxy.cut(cut);
        let held = engine.submit(once(), move |world| place_hold(world, ann)).await.unwrap();
        assert!(proxy.has_cut(), "nothing was cut in round {round}");
        if cut == HOLD_STATEMENT {
            proxy.deliver().await;
        }
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

#[tokio::test]
async fn a_statement_that_arrives_late_counts_once() {
    holds_survive(HOLD_STATEMENT).await;
}

#[tokio::test]
async fn a_refusal_stays_true_when_what_was_decided_before_it_arrives_late() {
    let ann = somebody();
    let (proxy, engine, direct) = Proxy::with_node(ann, 100).await;
    for round in 0..10 {
        // As if its time had passed meanwhile.
        let decided_before = AtomicBool::new(false);
        let too_late = wallet::Error::InsufficientFunds { available: usd(0), requested: usd(1) };
        let place = move |world: &mut World<'_>| {
            let again = decided_before.swap(true, Ordering::SeqCst);
            if again { Err(too_late.into()) } else { place_hold(world, ann) }
        };
        // The statement is one that the connection knows, so that it is sent in one go.
        let position = fund(&engine, ann, 1).await.position;
        proxy.cut(HOLD_STATEMENT);
        let refused = Err(CommandError::Refused { refusal: too_late.into(), position });
        assert_eq!(engine.submit(once(), place).await, refused);
        assert!(proxy.has_cut(), "nothing was held in round {round}");
        proxy.deliver().await;
        assert_eq!(eventstore::log::head(&direct.pool(1)).await.unwrap(), position);
    }
    assert_eq!(engine.read(move |world| available(world, ann)).await, Ok(usd(110)));
    assert_gapless(&direct).await;
}

#[tokio::test]
async fn while_postgres_does_not_answer_nobody_waits_for_long() {
    let ann = somebody();
    let (proxy, engine, direct) = Proxy::with_node(ann, 100).await;
    proxy.cut(HANG);
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(hold(&engine, once(), ann, 1).await, Err(CommandError::Unavailable));
        assert!(began.elapsed() < OUTAGE_PATIENCE + Duration::from_secs(1), "{:?}", began.elapsed());
    }
    tokio::time::sleep(RECOVERY_PATIENCE).await;
    assert!(!engine.is_available());
    proxy.cut(PASS);
    // What hangs is given up first.
    tokio::time::sleep(2 * RECOVERY_PATIENCE).await;
    assert!(engine.is_available());
    assert_eq!(hold(&engine, once(), ann, 1).await.unwrap().value, usd(99));
    assert_gapless(&direct).await;
}
