//! Events that no read model can read, again and again while people trade: they are parked with what happens to the same
//! aggregate, everything else goes on, and once they are whole again nothing of it is left.

use std::time::Duration;

use api::config::{self, Config, Roles};
use eventstore::follower::Follower;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::PgConnection;
use tradepost_tests::client::Client;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::seed;
use tradepost_tests::market::{auction, listing};
use tradepost_tests::models;
use tradepost_tests::server::{InProcess, Spawned, tradepost};

/// What an event is made into: of a type that nobody knows, without what it must have, no event at all.
const POISONS: [&str; 3] = [r#"{"Nonsense":{}}"#, r#"{"ListingDrafted":{}}"#, "[17]"];
const PATIENCE: Duration = Duration::from_secs(30);

/// How often: `TRADEPOST_POISONS`, 3 times unless told.
fn poisons() -> usize {
    std::env::var("TRADEPOST_POISONS").map_or(3, |poisons| poisons.parse().or_fail("read TRADEPOST_POISONS"))
}

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

#[tokio::test]
async fn what_cannot_be_read_is_parked_again_and_again_and_nothing_of_it_remains() {
    let mut moments = StdRng::seed_from_u64(seed());
    // The read models are another node's, which reads the log: this one remembers what it has written.
    let node = Roles { projections: false, ..Roles::ALL };
    let server = InProcess::start_with(Config { node: config::Node { roles: node }, ..Config::default() }).await;
    let reader = Spawned::start(server.database.url(), &["--roles", "projections"]).await;
    let seller = server.client().register_seller("seller").await;
    let bidder = server.client().register("bidder").await;
    let mut connection = server.database.connect().await;
    for number in 0..poisons() {
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
        assert!(parked(&mut connection).await >= interested, "{poison} at {position} is parked for each that reads it");
        sqlx::query(put).bind(position).bind(whole).execute(&mut connection).await.or_fail("repair an event");
        projections(&server, "retry").await;
        assert_eq!(parked(&mut connection).await, 0);
    }
    models::assert_equal_their_rebuild(&server.database).await;
    reader.kill().await;
    server.stop().await;
}
