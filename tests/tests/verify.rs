//! `tradepost verify` says that a marketplace is sound, and names what is not.

use api::app::followers;
use api::config::Config;
use sqlx::Executor;
use tokio::sync::watch;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::{Load, seed};
use tradepost_tests::server::InProcess;
use tradepost_tests::verifying::verify;

/// A marketplace in which something has happened, at rest.
async fn traded() -> TestDatabase {
    let server = InProcess::start().await;
    let address = watch::Sender::new(server.address().to_owned());
    let running = Load::prepare(&server.client(), vec![address.subscribe()], 8, seed()).await.start();
    while running.accepted() < 200 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    running.stop().await;
    let mut database = server.stop().await;
    // A process may have written after the read models had stopped.
    while !is_at_rest(&database).await {
        let server = InProcess::start_on(database, Config::default()).await;
        let head = server.database.log_head().await;
        for follower in api::app::followers() {
            server.app.progress.wait_for(follower, head, std::time::Duration::from_secs(30)).await.unwrap();
        }
        database = server.stop().await;
    }
    database
}

async fn is_at_rest(database: &TestDatabase) -> bool {
    let look = "select bool_and(followers.position = log_head.position) from followers, log_head";
    sqlx::query_scalar(look).fetch_one(&mut database.connect().await).await.or_fail("look at the checkpoints")
}

/// What `tradepost verify` finds, by subject; nothing if it says that all is sound.
async fn findings(database: &TestDatabase) -> Vec<(String, String)> {
    let (checks, found) = verify(database, &[]).await;
    assert_eq!(checks, followers().count() + 2, "the log, the snapshots, and whatever follows the log");
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_what_was_altered() {
    let database = traded().await;
    let mut owner = database.connect().await;
    assert_eq!(findings(&database).await, []);

    let forged = format!(
        "insert into snapshots (aggregate_type, aggregate_id, version, rules, state)
         select aggregate_type, aggregate_id, sequence, '{}', '{{}}' from events where aggregate_type = 'wallet' limit 1",
        domain::RULES
    );
    // One thing at a time, put right again by what follows it.
    let alterations = [
        (
            "update ledger.balances set credits = credits + 1",
            "update ledger.balances set credits = credits - 1",
            "read model `ledger`",
            "table `balances` differs",
        ),
        (
            "update timers set due_at = due_at + interval '1 s'",
            "update timers set due_at = due_at - interval '1 s'",
            "the timers",
            "a superfluous or different timer: auction_end",
        ),
        (&forged, "delete from snapshots", "the snapshots", "that of wallet"),
        (
            "update log_head set position = position + 1",
            "update log_head set position = position - 1",
            "the log",
            "the log ends at position",
        ),
        (
            "update events set commit_position = commit_position + 1 where position = 2",
            "update events set commit_position = commit_position - 1 where position = 2",
            "the log",
            "the unit of work of the event at position 2",
        ),
        (
            "update events set sequence = 7000 where position = 3",
            "update events set sequence = (select count(*) from events as same where same.position <= 3
                and (same.aggregate_type, same.aggregate_id) = (events.aggregate_type, events.aggregate_id))
             where position = 3",
            "the log",
            "the event at position 3 has sequence 7000",
        ),
        (
            "update events set payload = replace(payload::text, 'USD', 'EUR')::json
             where position = (select max(position) from events where event_type = 'DepositSettled')",
            "update events set payload = replace(payload::text, 'EUR', 'USD')::json
             where position = (select max(position) from events where event_type = 'DepositSettled')",
            "read model `ledger`",
            "differs",
        ),
        (
            "update followers set (paused, position) = row (true, position - 1) where name = 'payments'",
            "update followers set (paused, position) = row (false, position + 1) where name = 'payments'",
            "process `payments`",
            "it is paused",
        ),
        (
            "insert into parked_events (follower, position, aggregate_id, error, attempts, parked_at)
             select 'accounts', 1, aggregate_id::uuid, 'on purpose', 4, now() from events where position = 1",
            "delete from parked_events",
            "read model `accounts`",
            "could not take 1 events",
        ),
        (
            "update events set aggregate_id = aggregate_id || '!' where position = 2",
            "update events set aggregate_id = trim(trailing '!' from aggregate_id) where position = 2",
            "the log",
            "the event at position 2 belongs to",
        ),
        (
            "update events set event_type = 'HoldPlaced' where position = 1",
            "",
            "the log",
            "the event at position 1 says `HoldPlaced` and is `",
        ),
        (
            "update events set payload = '{}' 
             where position = (select max(position) from events where aggregate_type = 'listing')",
            "",
            "read model `catalogue`",
            "a replay cannot take the event at position",
        ),
    ];
    for (alter, restore, subject, sentence) in alterations {
        assert!(owner.execute(alter).await.unwrap().rows_affected() > 0, "{alter}");
        let found = findings(&database).await;
        let named = found.iter().any(|(about, what)| about == subject && what.contains(sentence));
        assert!(named, "{alter}: {found:?}");
        if !restore.is_empty() {
            owner.execute(restore).await.unwrap();
        }
    }
}

#[tokio::test]
async fn verify_names_a_gap() {
    let database = traded().await;
    database.connect().await.execute("delete from events where position = 5").await.unwrap();
    let found = findings(&database).await;
    assert!(found.iter().any(|(about, what)| about == "the log" && what == "after position 4 comes 6"), "{found:?}");
}
