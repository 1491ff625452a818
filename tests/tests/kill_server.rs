//! SIGKILL of the server at random moments under load: nothing acknowledged is lost, nothing happens twice, and whoever
//! got no answer learns by asking again. `TRADEPOST_KILLS` says how often, 20 times unless told.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tradepost_tests::checker::{Log, assert_kept};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::{Load, Running, seed};
use tradepost_tests::models;
use tradepost_tests::server::Spawned;

pub(crate) const WORKERS: usize = 16;
/// So many commands are accepted between two kills, at most, but for those that come in the meantime.
const MOST_BETWEEN_KILLS: usize = 60;
/// A server is ready this soon after it was killed; a second or two, on a machine with nothing else to do.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(20);

/// Lets the load get on with so much work that the next kill hits some, at a moment that is drawn. Tells how many commands
/// are accepted by then.
pub(crate) async fn work(running: &Running, moments: &mut StdRng) -> usize {
    let more = moments.random_range(1..=MOST_BETWEEN_KILLS);
    let accepted = running.accepts(more).await;
    // Right after an answer it would always be the same moment of a commit.
    tokio::time::sleep(Duration::from_millis(moments.random_range(0..50))).await;
    accepted
}

pub(crate) fn kills() -> usize {
    std::env::var("TRADEPOST_KILLS").map_or(20, |kills| kills.parse().or_fail("read TRADEPOST_KILLS"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_keeps_every_promise() {
    let seed = seed();
    let mut moments = StdRng::seed_from_u64(seed);
    let database = TestDatabase::fresh().await;
    let mut server = Spawned::start(database.url(), &[]).await;
    let address = watch::Sender::new(server.address().to_owned());
    let load = Load::prepare(&server.client(), vec![address.subscribe()], WORKERS, seed).await;
    let traders = load.traders.clone();

    let running = load.start();
    let mut slowest = Duration::ZERO;
    for kill in 1..=kills() {
        let accepted = work(&running, &mut moments).await;
        server.kill().await;
        let began = Instant::now();
        server = Spawned::start(database.url(), &[]).await;
        let ready = began.elapsed();
        slowest = slowest.max(ready);
        eprintln!("kill {kill} with {accepted} accepted by then, ready again after {ready:?}");
        address.send_replace(server.address().to_owned());
    }
    let history = running.stop().await;
    assert!(slowest < READY_WITHIN, "ready again only after {slowest:?}");

    // The processes and read models of the last server take in what the ones before have left.
    let head = database.log_head().await;
    traders[0].at(server.address()).get("/wallet").since(head).send().await.expect(200);
    assert!(server.terminate().await.status.success());
    let log = Log::read(&mut database.connect().await).await;
    let counts = history.counts(None);
    eprintln!("{} events; {counts:?}; slowest start {slowest:?}", log.events.len());
    assert!(counts.unknown_attempts > 0, "no kill has hit a request");
    assert_kept(&log, &history);
    models::assert_equal_their_rebuild(&database).await;
}
