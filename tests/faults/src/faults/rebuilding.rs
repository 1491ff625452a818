//! F14: a rebuild that is killed at any point, and one under load. Readers see the live model as it is the whole time, and
//! nothing is left over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sqlx::PgConnection;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::Load;
use tradepost_tests::market::listing;
use tradepost_tests::models;
use tradepost_tests::server::{InProcess, tradepost};

use super::{Plan, Tried};
use crate::results::Figures;

/// Listings that are there before anything is rebuilt.
const LISTINGS: usize = 30;
/// A rebuild goes on by ten thousand events at a time: enough for it to be caught at each tenth, and in the short mix once
/// in the middle.
const ENOUGH_EVENTS: u64 = 100_000;
const ENOUGH_EVENTS_SHORT: u64 = 12_000;
/// How long read models may take to follow so many.
const FOLLOWS_WITHIN: Duration = Duration::from_mins(10);

/// The listings that a reader is shown first.
async fn listings(reader: &Client) -> Vec<Value> {
    let page = reader.get("/listings?limit=100").send().await.expect(200).body;
    page["items"].as_array().or_fail("find the listings").clone()
}

/// Asks the whole time, and ends the test as soon as an answer fails or shows less than was there; or anything else than
/// was there, if nothing `changes`.
fn reader(client: Client, reading: Arc<AtomicBool>, changes: bool) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let (mut reads, mut before) = (0, listings(&client).await);
        while reading.load(Ordering::Relaxed) {
            let shown = listings(&client).await;
            assert!(shown.len() >= before.len(), "{} listings, where {} were", shown.len(), before.len());
            assert!(changes || shown == before, "other listings, although nobody has changed any: {shown:?}");
            (reads, before) = (reads + 1, shown);
        }
        reads
    })
}

async fn left_over(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar("select count(*) from pg_namespace where nspname ~ '_(next|former)$'")
        .fetch_one(connection)
        .await
        .or_fail("look for what is left over")
}

/// Makes the log long by saying again what was said of the listings, under other names: quicker than through HTTP.
async fn lengthen(connection: &mut PgConnection, events: u64) {
    let copy = "
        with head as (select position from log_head),
        story as (
            select e.*, row_number() over (order by e.position) as place, count(*) over () as length
            from events as e where e.aggregate_type = 'listing'
        ),
        copies as (
            select story.*, copy, md5(story.aggregate_id || copy)::uuid as stream from story,
                generate_series(1, (select $1 / count(*) + 1 from story)) as copy
        ),
        added as (
            insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                position, commit_position, event_id, recorded_at)
            select aggregate_type, stream::text, sequence, event_type, event_version,
                payload, metadata, head.position + (copy - 1) * length + place, head.position + (copy - 1) * length + place,
                md5(event_id::text || copy)::uuid, recorded_at
            from copies, head
            returning 1
        )
        update log_head set position = position + (select count(*) from added)";
    sqlx::query(copy).bind(events.cast_signed()).execute(connection).await.or_fail("lengthen the log");
}

/// Waits until the rebuild has come so far that `share` in a hundred of the listings are there, or has ended.
async fn reached(connection: &mut PgConnection, rebuild: &mut Child, share: i64, all: i64) -> bool {
    loop {
        let filled = sqlx::query_scalar::<_, i64>("select count(*) from catalogue_next.listings");
        let filled = filled.fetch_one(&mut *connection).await.unwrap_or(0);
        if filled > 0 && filled * 100 >= share * all {
            return true;
        }
        if rebuild.try_wait().or_fail("look at the rebuild").is_some() {
            return false;
        }
        tokio::task::yield_now().await;
    }
}

/// First it is killed at 10 to 90 % of its way, then done under load.
pub(crate) async fn kills(plan: Plan) -> Tried {
    let caught = killed_again_and_again(&plan).await;
    under_load(plan.seed).await;
    let mut figures = Figures::default();
    figures.count("kills", caught);
    if caught < plan.times {
        figures.untried.push((plan.times - caught, "the rebuild had ended before".to_owned()));
    }
    Ok(figures)
}

async fn killed_again_and_again(plan: &Plan) -> usize {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    for number in 1..=LISTINGS {
        seller.offer(&listing(100 + i64::try_from(number).unwrap_or(0))).await;
    }
    let mut connection = server.database.connect().await;
    lengthen(&mut connection, plan.longest(ENOUGH_EVENTS, ENOUGH_EVENTS_SHORT)).await;
    let head = server.database.log_head().await;
    server.app.progress.wait_for("catalogue", head, FOLLOWS_WITHIN).await.or_fail("follow the log");
    let all: i64 = sqlx::query_scalar("select count(*) from catalogue.listings")
        .fetch_one(&mut connection)
        .await
        .or_fail("count listings");
    let before = models::digests(&server.database).await;

    let reading = Arc::new(AtomicBool::new(true));
    let readers: Vec<_> = (0..2).map(|_| reader(seller.clone(), reading.clone(), false)).collect();
    let mut caught = 0;
    for number in 0..plan.times {
        let share = 10 + i64::try_from(number % 9).or_fail("choose a share") * 10;
        let arguments = ["projections", "rebuild", "catalogue", "--json"];
        let mut rebuild = tradepost(server.database.url(), &arguments).spawn().or_fail("start a rebuild");
        caught += usize::from(reached(&mut connection, &mut rebuild, share, all).await);
        // Whether it is killed or told to stop, the live model stays.
        if number % 3 == 2 {
            let id = rebuild.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
            if let Some(id) = id {
                kill(id, Signal::SIGTERM).or_fail("tell the rebuild to stop");
            }
            rebuild.wait().await.or_fail("wait for the rebuild");
        } else {
            rebuild.kill().await.or_fail("kill the rebuild");
        }
        assert_eq!(models::digests(&server.database).await, before, "after {number} kills");
        plan.done.inc(1);
    }
    assert!(caught * 2 >= plan.times, "only {caught} were caught in the middle");

    let arguments = ["projections", "rebuild", "catalogue", "--json"];
    let output = tradepost(server.database.url(), &arguments).output().await.or_fail("rebuild");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let outcome: Value = serde_json::from_slice(&output.stdout).or_fail("read what came of it");
    assert_eq!((&outcome[0]["swapped"], &outcome[0]["position"]), (&Value::from(true), &Value::from(head)));
    assert_eq!(outcome[0]["comparison"]["differences"], Value::Array(vec![]));
    reading.store(false, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.or_fail("read all the time") > 0);
    }
    assert_eq!(models::digests(&server.database).await, before);
    assert_eq!(left_over(&mut connection).await, 0);
    caught
}

async fn under_load(seed: u64) {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("offers-much").await;
    for _ in 0..LISTINGS {
        seller.offer(&listing(500)).await;
    }
    let head = server.database.log_head().await;
    server.app.progress.wait_for("catalogue", head, Duration::from_mins(1)).await.or_fail("follow the log");
    let address = watch::Sender::new(server.address().to_owned());
    let running = Load::prepare(&server.client(), vec![address.subscribe()], 4, seed).await.start();
    let (reading, writing) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let readers: Vec<_> = (0..2).map(|_| reader(seller.clone(), reading.clone(), true)).collect();
    let writer = {
        let (seller, writing) = (seller.clone(), writing.clone());
        tokio::spawn(async move {
            while writing.load(Ordering::Relaxed) {
                seller.offer(&listing(700)).await;
            }
        })
    };
    for _ in 0..5 {
        let arguments = ["projections", "rebuild", "catalogue", "auction_board", "--json"];
        let output = tradepost(server.database.url(), &arguments).output().await.or_fail("rebuild");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let outcomes: Value = serde_json::from_slice(&output.stdout).or_fail("read what came of it");
        for outcome in outcomes.as_array().or_fail("find the outcomes") {
            assert_eq!(outcome["comparison"]["differences"], Value::Array(vec![]), "{outcome}");
        }
    }
    writing.store(false, Ordering::Relaxed);
    writer.await.or_fail("write all the time");
    reading.store(false, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.or_fail("read all the time") > 0);
    }
    running.stop().await;
    models::assert_equal_their_rebuild(&server.database).await;
    verified(&server.database).await;
    assert_eq!(left_over(&mut server.database.connect().await).await, 0);
    server.stop().await;
}

/// The command says so too, although timers go on.
async fn verified(database: &TestDatabase) {
    let output = tradepost(database.url(), &["verify"]).output().await.or_fail("run `tradepost verify`");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complained}");
}
