//! What is done to events that are stored. F13: they are made unreadable, again and again while people trade; they are
//! parked with what happens to the same aggregate, everything else goes on, and once they are whole again nothing of it
//! is left. F21: one byte of one of them is another.

use std::time::Duration;

use api::config::{self, Config, Roles};
use eventstore::follower::Follower;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::PgConnection;
use tokio::sync::watch;
use tradepost_tests::client::Client;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::Load;
use tradepost_tests::market::{auction, listing};
use tradepost_tests::models;
use tradepost_tests::server::{InProcess, Spawned, tradepost};
use tradepost_tests::verifying::verify;

use super::{Plan, Tried};
use crate::results::Figures;
use crate::scene::LOOK_AGAIN;

/// What an event is made into: of a type that nobody knows, without what it must have, no event at all.
const POISONS: [&str; 3] = [r#"{"Nonsense":{}}"#, r#"{"ListingDrafted":{}}"#, "[17]"];
const PATIENCE: Duration = Duration::from_secs(30);

async fn projections(server: &InProcess, command: &str) {
    for model in projections::ALL {
        let command = if command == "retry" && !model.takes_late() { "rebuild" } else { command };
        let done = tradepost(server.database.url(), &["projections", command, model.name]).output().await;
        let done = done.or_fail("run `tradepost projections`");
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// Some of everything.
async fn trade(seller: &Client, bidder: &Client) {
    for round in 1..=3 {
        let auction = seller.schedule(&auction(1_000)).await;
        bidder.bid(&auction, 1_000 + round * 100).await.expect(201);
        seller.post("/listings", &listing(round)).send().await.expect(201);
        bidder.deposit(1_000, "sandbox-succeeds").await.expect(202);
    }
}

async fn parked(connection: &mut PgConnection) -> i64 {
    let parked = sqlx::query_scalar("select count(*) from parked_events").fetch_one(connection).await;
    parked.or_fail("count what is parked")
}

/// F13.
pub(crate) async fn poisons(plan: Plan) -> Tried {
    let mut figures = Figures::default();
    let mut moments = StdRng::seed_from_u64(plan.seed);
    // The read models are another node's, which reads the log: this one remembers what it has written.
    let node = Roles { projections: false, ..Roles::ALL };
    let server = InProcess::start_with(Config { node: config::Node { roles: node }, ..Config::default() }).await;
    let reader = Spawned::start(server.database.url(), &["--roles", "projections"]).await;
    let seller = server.client().register_seller("seller").await;
    let bidder = server.client().register("bidder").await;
    let mut connection = server.database.connect().await;
    for number in 0..plan.times {
        projections(&server, "pause").await;
        let before = server.database.log_head().await;
        trade(&seller, &bidder).await;
        let after = server.database.log_head().await;
        // The processes are well, and have seen what is to be damaged.
        for follower in api::app::followers().filter(|name| projections::find(name).is_none()) {
            server.app.progress.wait_for(follower, after, PATIENCE).await.or_fail("let the processes go on");
        }
        let position = moments.random_range(before + 1..=after);
        let found = sqlx::query_as("select payload::text, aggregate_type from events where position = $1");
        let found = found.bind(position).fetch_one(&mut connection).await;
        let (whole, aggregate_type): (String, String) = found.or_fail("read an event");
        let put = "update events set payload = $2::json where position = $1";
        let poison = POISONS[number % POISONS.len()];
        sqlx::query(put).bind(position).bind(poison).execute(&mut connection).await.or_fail("damage an event");
        projections(&server, "resume").await;
        trade(&seller, &bidder).await;
        let head = server.database.log_head().await;
        for model in projections::ALL {
            server.app.progress.wait_for(model.name, head, PATIENCE).await.or_fail("let the others go on");
        }
        let interested = projections::ALL.iter().filter(|model| model.interest().includes(&aggregate_type)).count();
        let interested = i64::try_from(interested).or_fail("count read models");
        let kept = parked(&mut connection).await;
        if kept < interested {
            figures.broken.push(format!("P5: {poison} at {position} is parked {kept} times, and {interested} read it"));
        }
        sqlx::query(put).bind(position).bind(whole).execute(&mut connection).await.or_fail("repair an event");
        projections(&server, "retry").await;
        let left = parked(&mut connection).await;
        if left > 0 {
            figures.broken.push(format!("P5: {left} events are parked although all are whole again"));
        }
        plan.done.inc(1);
    }
    figures.broken.extend(models::differences(&server.database).await.into_iter().map(|what| format!("P5: {what}")));
    reader.kill().await;
    server.stop().await;
    figures.count("events", plan.tried());
    Ok(figures)
}

/// F21.
pub(crate) async fn bytes(plan: Plan) -> Tried {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let proof = config::Proof { head_every_ms: 50, share_percent: 100, ..config::Proof::default() };
    let server = InProcess::start_with(Config { proof, ..Config::default() }).await;
    let address = watch::Sender::new(server.address().to_owned());
    let running = Load::prepare(&server.client(), vec![address.subscribe()], 8, plan.seed).await.start();
    while running.accepted() < 200 {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    running.stop().await;
    // Nothing is asked any more; what follows of it is waited for.
    let mut head = 0;
    while head != server.database.log_head().await {
        head = server.database.log_head().await;
        for follower in api::app::followers() {
            server.app.progress.wait_for(follower, head, PATIENCE).await.or_fail("let everybody follow to the end");
        }
    }
    // A signed head covers it all.
    server.client().get("/events/head").since(head).send().await.expect(200);
    let database = server.stop().await;
    let mut figures = Figures::default();
    let (_, found) = verify(&database, &["--full"]).await;
    if !found.is_empty() {
        figures.broken.push(format!("target: nothing is altered, and {found:?} is found"));
    }
    let mut connection = database.connect().await;
    for _ in 0..plan.times {
        let position = rng.random_range(1..=head);
        let read = sqlx::query_scalar("select payload::text from events where position = $1").bind(position);
        let whole: String = read.fetch_one(&mut connection).await.or_fail("read an event");
        let altered = alter(&whole, &mut rng);
        let put = "update events set payload = $2::json where position = $1";
        sqlx::query(put).bind(position).bind(&altered).execute(&mut connection).await.or_fail("alter an event");
        let (_, found) = verify(&database, &["--full"]).await;
        let named =
            |finding: &str| finding.split(|c: char| !c.is_ascii_digit()).any(|number| number == position.to_string());
        if !found.iter().any(|(_, finding)| named(finding)) {
            figures.broken.push(format!("target: {altered} at {position} was not named, which was {whole}"));
        }
        sqlx::query(put).bind(position).bind(whole).execute(&mut connection).await.or_fail("restore an event");
        plan.done.inc(1);
    }
    figures.count("bytes", plan.tried());
    Ok(figures)
}

/// The same with one letter or digit changed into another, so that it is still JSON.
fn alter(payload: &str, rng: &mut StdRng) -> String {
    let mut bytes = payload.as_bytes().to_vec();
    loop {
        let at = rng.random_range(0..bytes.len());
        let other = match bytes[at] {
            b'1'..=b'8' => bytes[at] + 1,
            b'a'..=b'y' | b'A'..=b'Y' if bytes[at - 1] != b'\\' => bytes[at] + 1,
            _ => continue,
        };
        let kept = std::mem::replace(&mut bytes[at], other);
        // `true` and `null` are words that have to stay.
        if serde_json::from_slice::<serde_json::Value>(&bytes).is_ok()
            && let Ok(altered) = String::from_utf8(bytes.clone())
        {
            return altered;
        }
        bytes[at] = kept;
    }
}
