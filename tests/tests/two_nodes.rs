//! Two nodes on one database, both busy with the same two auctions and four wallets: what any client was told is
//! explained by the log. `TRADEPOST_TWO_NODES_SECONDS` says for how long, 20 seconds unless told.

use std::time::Duration;

use tokio::sync::watch;
use tradepost_tests::checker::{Log, assert_kept};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::{Load, seed};
use tradepost_tests::models;
use tradepost_tests::server::Spawned;

/// Requests under way at once, over both nodes.
const WORKERS: usize = 16;

fn duration() -> Duration {
    let named = std::env::var("TRADEPOST_TWO_NODES_SECONDS").ok();
    Duration::from_secs(named.map_or(20, |seconds| seconds.parse().or_fail("read TRADEPOST_TWO_NODES_SECONDS")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_database_tell_one_story() {
    let database = TestDatabase::fresh().await;
    let (one, two) = tokio::join!(Spawned::start(database.url(), &[]), Spawned::start(database.url(), &[]));
    let nodes = [&one, &two].map(|node| watch::Sender::new(node.address().to_owned()));
    let receivers = nodes.iter().map(watch::Sender::subscribe).collect();
    let load = Load::prepare(&one.client(), receivers, WORKERS, seed()).await;
    let traders = load.traders.clone();

    let running = load.start();
    tokio::time::sleep(duration()).await;
    let history = running.stop().await;

    // What either node has accepted, both show.
    let head = database.log_head().await;
    for node in [&one, &two] {
        let wallet =
            |trader: &tradepost_tests::client::Client| trader.at(node.address()).get("/wallet").since(head).send();
        for trader in &traders {
            wallet(trader).await.expect(200);
        }
    }
    for node in [one, two] {
        assert!(node.terminate().await.status.success());
    }
    let log = Log::read(&mut database.connect().await).await;
    let counts = [0, 1].map(|node| history.counts(Some(node)));
    eprintln!("{} events; node by node: {counts:?}", log.events.len());
    for counts in counts {
        assert!(counts.accepted > 100 && counts.refused > 100, "too little to tell: {counts:?}");
    }
    assert_kept(&log, &history);
    models::assert_equal_their_rebuild(&database).await;
}
