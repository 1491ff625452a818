//! SIGKILL of Postgres under load: meanwhile nothing but 503 with Retry-After, and afterwards it goes on by itself, with
//! every promise kept. `TRADEPOST_POSTGRES_KILLS` says how often, 5 times unless told.

use std::time::{Duration, Instant};

use api::embedded::{EmbeddedPostgres, EmbeddedSettings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tradepost_tests::checker::{Log, assert_kept};
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::{OrFail, fail};
use tradepost_tests::load::{Load, Running, seed};
use tradepost_tests::models;
use tradepost_tests::real::open_folder;
use tradepost_tests::server::Spawned;

const WORKERS: usize = 16;
/// Everything works again this soon after Postgres was killed.
const BACK_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn kills() -> usize {
    let named = std::env::var("TRADEPOST_POSTGRES_KILLS");
    named.map_or(5, |kills| kills.parse().or_fail("read TRADEPOST_POSTGRES_KILLS"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_is_an_outage_and_nothing_worse() {
    let seed = seed();
    let mut moments = StdRng::seed_from_u64(seed);
    let folder = open_folder("tradepost-kill-").or_fail("make a folder for Postgres");
    let settings = EmbeddedSettings { dir: folder.path().join("postgres"), durable: true, max_connections: 100 };
    let postgres = EmbeddedPostgres::start(settings).await.or_fail("start Postgres");
    let database = TestDatabase::fresh_on(postgres.url()).await;
    let server = Spawned::start(database.url(), &[]).await;
    let address = watch::Sender::new(server.address().to_owned());
    let load = Load::prepare(&server.client(), vec![address.subscribe()], WORKERS, seed).await;
    let (trader, auction) = (load.traders[0].clone(), load.auctions[0]);
    let paths = ["/wallet".to_owned(), "/payments/transactions".to_owned(), format!("/auctions/{auction}")];

    let running = load.start();
    let mut outages = 0;
    for number in 1..=kills() {
        tokio::time::sleep(Duration::from_millis(moments.random_range(300..1_500))).await;
        let killed = postgres.postmaster_pid().or_fail("find Postgres running");
        let pid = Pid::from_raw(i32::try_from(killed).or_fail("read the id of Postgres"));
        kill(pid, Signal::SIGKILL).or_fail("kill Postgres");
        let restarted = || postgres.postmaster_pid().is_some_and(|pid| pid != killed);
        let (back, refused) = until_back(restarted, &trader, &paths, &running).await;
        outages += refused;
        eprintln!("kill {number}: back after {back:?}, {refused} reads were told to come back");
    }
    let history = running.stop().await;
    let head = database.log_head().await;
    trader.get("/wallet").since(head).send().await.expect(200);
    trader.get("/health/detailed").send().await.expect(200);
    assert!(server.terminate().await.status.success());
    let log = Log::read(&mut database.connect().await).await;
    let counts = history.counts(None);
    eprintln!("{} events; {counts:?}", log.events.len());
    assert!(outages + counts.unknown_attempts > 0, "no kill was noticed");
    assert_kept(&log, &history);
    models::assert_equal_their_rebuild(&database).await;
    postgres.stop().await.or_fail("stop Postgres");
}

/// Reads until Postgres has restarted, every path answers and commands are accepted again. Tells how long that took and
/// how many reads were told to come back, which may be none: a read waits a little for a connection. Any other answer
/// ends the test. (What commands were told, the checker looks at.)
async fn until_back(
    restarted: impl Fn() -> bool,
    client: &Client,
    paths: &[String],
    running: &Running,
) -> (Duration, usize) {
    let began = Instant::now();
    let mut refused = 0;
    let mut accepted = running.accepted();
    loop {
        let mut all_well = restarted();
        for path in paths {
            let answer = client.get(path).send().await;
            match answer.status {
                200 => {}
                503 => {
                    let answer = answer.problem(503, "unavailable");
                    assert!(answer.header("retry-after").is_some(), "without Retry-After: {}", answer.text);
                    (all_well, refused) = (false, refused + 1);
                }
                _ => fail(&format!("{path} was answered {} {}", answer.status, answer.text)),
            }
        }
        if !all_well {
            accepted = running.accepted();
        } else if running.accepted() > accepted {
            return (began.elapsed(), refused);
        }
        assert!(began.elapsed() < BACK_WITHIN, "not back after {BACK_WITHIN:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
