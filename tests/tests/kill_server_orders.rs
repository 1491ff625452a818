//! SIGKILL of the server in the middle of checkouts, releases and refunds, while the clock makes jumps and timers fire:
//! no money and no piece is lost or doubled, whoever got no answer learns by asking again, and every timer does its
//! work once. `TRADEPOST_KILLS` says how often, 20 times unless told.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::sync::watch;
use tradepost_tests::checker::{Log, assert_kept, assert_timers_kept};
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::{Load, seed};
use tradepost_tests::models;
use tradepost_tests::server::Spawned;

use crate::kill_server::{READY_WITHIN, WORKERS, kills, work};

/// How far the clock jumps while orders are traded: a little, or past one deadline or another.
const JUMPS_S: [i64; 6] = [1, 60, 16 * 60, 3 * 86_400, 15 * 86_400, 46 * 86_400];
/// After so long every order has ended: shipped at the last moment, disputed after 45 days, refunded 60 days later.
const ALL_OVER_MS: i64 = 130 * 86_400 * 1_000;

/// Sets the clock forward again and again. A jump that a kill cuts short is forgotten.
async fn jump(client: Client, address: watch::Receiver<String>, mut rng: StdRng) {
    loop {
        let jump = JUMPS_S[rng.random_range(0..JUMPS_S.len())] * 1_000;
        let here = client.at(&address.borrow().clone());
        let _ = here.post("/sandbox/clock", &json!({ "advance_ms": jump })).attempt().await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..600))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_keeps_every_promise_about_orders() {
    let seed = seed();
    let mut moments = StdRng::seed_from_u64(seed);
    let database = TestDatabase::fresh().await;
    let mut server = Spawned::start(database.url(), &["--sandbox"]).await;
    let address = watch::Sender::new(server.address().to_owned());
    let load = Load::prepare_orders(&server.client(), vec![address.subscribe()], WORKERS, seed).await;
    let (nobody, trader) = (server.client(), load.traders[0].clone());
    // From now on the clock stands still while no server runs: it is ahead, and starts where the log ends.
    nobody.advance(86_400_000).await;

    let running = load.start();
    let jumping = tokio::spawn(jump(nobody, address.subscribe(), StdRng::seed_from_u64(seed)));
    let mut slowest = Duration::ZERO;
    for kill in 1..=kills() {
        let accepted = work(&running, &mut moments).await;
        server.kill().await;
        let began = Instant::now();
        server = Spawned::start(database.url(), &["--sandbox"]).await;
        let ready = began.elapsed();
        slowest = slowest.max(ready);
        eprintln!("kill {kill} with {accepted} accepted by then, ready again after {ready:?}");
        address.send_replace(server.address().to_owned());
    }
    jumping.abort();
    let history = running.stop().await;
    assert!(slowest < READY_WITHIN, "ready again only after {slowest:?}");

    // Whatever is left to its timers ends by them.
    let head = server.client().advance(ALL_OVER_MS).await;
    trader.at(server.address()).get("/wallet").since(head).send().await.expect(200);
    assert!(server.terminate().await.status.success());
    let mut connection = database.connect().await;
    let log = Log::read(&mut connection).await;
    let counts = history.counts(None);
    eprintln!("{} events; {counts:?}; slowest start {slowest:?}", log.events.len());
    assert!(counts.unknown_attempts > 0, "no kill has hit a request");
    assert_kept(&log, &history);
    eprintln!("timers: {:?}", assert_timers_kept(&log));
    let left: Vec<(String, i64, String)> = sqlx::query_as(
        "select kind, count(*), min(due_at)::text from timers where due_at <= (select max(recorded_at) from events)
         group by kind",
    )
    .fetch_all(&mut connection)
    .await
    .or_fail("look for timers that have not fired");
    assert!(left.is_empty(), "due and not fired: {left:?}");
    // What a guest has confirmed waits for its seller, who alone knows whether it was sent and paid at the door.
    let open: i64 = sqlx::query_scalar(
        "select count(*) from (select aggregate_id from events where aggregate_type = 'order' group by 1
         having not bool_or(event_type in ('OrderCompleted', 'OrderCancelled', 'OrderRefunded'))
            and not bool_or(event_type = 'OrderConfirmed')) as open",
    )
    .fetch_one(&mut connection)
    .await
    .or_fail("look for orders that have not ended");
    assert_eq!(open, 0, "an order has not ended");
    models::assert_equal_their_rebuild(&database).await;
}
