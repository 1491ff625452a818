//! What an operator sees and does at the command line: followers, parked events, the log, timers.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use api::config::Config;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::market::{auction, listing};
use tradepost_tests::models;
use tradepost_tests::server::{InProcess, binary};

const PATIENCE: Duration = Duration::from_secs(30);

/// `tradepost` with these arguments, on this database.
fn command(database: &TestDatabase, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).env_clear().env("DATABASE_URL", database.url()).env("USER", "ann");
    command.env("TRADEPOST_AUTH__SECRET", "a secret of the tests, good for nothing else").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    let folder = TempDir::new().unwrap();
    let ran = timeout(PATIENCE, command(database, folder.path(), arguments).output()).await;
    ran.expect("it ends").unwrap()
}

/// What a command that succeeds prints.
async fn said(database: &TestDatabase, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(database, arguments).await;
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

async fn json(database: &TestDatabase, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(database, arguments).await).unwrap()
}

async fn settle(server: &InProcess) {
    let head = server.database.log_head().await;
    for follower in api::app::followers() {
        server.app.progress.wait_for(follower, head, PATIENCE).await.unwrap();
    }
}

/// How a follower is, as `status` tells it.
async fn status(database: &TestDatabase, name: &str) -> Value {
    json(database, &["projections", "status", name, "--json"]).await[0].clone()
}

/// A damaged event harms what happens to its listing and nothing else; once it is repaired, `retry` makes good.
#[tokio::test]
async fn a_damaged_event_is_parked_repaired_and_taken() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("ann-sells").await;
    settle(&server).await;
    let database = server.stop().await;
    let server = InProcess::start_on(database, Config::default()).await;
    said(&server.database, &["projections", "pause", "catalogue"]).await;
    let seller = seller.at(server.address());
    let drafted = seller.post("/listings", &listing(100)).send().await.expect(201);
    let id = drafted.body["id"].as_str().unwrap().to_owned();
    let other = seller.post("/listings", &listing(200)).send().await.expect(201);
    seller.post(&format!("/listings/{id}/publish"), &json!({})).send().await.expect(200);

    let damage = "update events set payload = '{\"ListingDrafted\":{}}'
        where aggregate_id = $1 and event_type = 'ListingDrafted' returning position";
    let whole: (String,) =
        sqlx::query_as("select payload::text from events where aggregate_id = $1 and event_type = 'ListingDrafted'")
            .bind(&id)
            .fetch_one(&mut server.database.connect().await)
            .await
            .unwrap();
    let (position,): (i64,) =
        sqlx::query_as(damage).bind(&id).fetch_one(&mut server.database.connect().await).await.unwrap();
    // A node that has just committed an event does not read it in the log.
    let database = server.stop().await;
    let server = InProcess::start_on(database, Config::default()).await;
    let seller = seller.at(server.address());
    said(&server.database, &["projections", "resume", "catalogue"]).await;
    settle(&server).await;
    let other_path = format!("/listings/{}", other.body["id"].as_str().unwrap());
    seller.get(&other_path).send().await.expect(200);
    seller.get(&format!("/listings/{id}")).send().await.expect(404);

    let database = server.database.clone();
    let parked = json(&database, &["projections", "parked", "--json"]).await;
    let of_catalogue: Vec<_> =
        parked.as_array().unwrap().iter().filter(|event| event["follower"] == "catalogue").collect();
    assert_eq!((&of_catalogue[0]["position"], &of_catalogue[0]["aggregate_id"]), (&json!(position), &json!(id)));
    assert!(of_catalogue.len() >= 2 && of_catalogue[1]["error"].is_null(), "{parked}");
    let told = status(&database, "catalogue").await;
    assert_eq!((&told["parked"], &told["lag_events"], &told["paused"]), (&json!(1), &json!(0), &json!(false)));
    let health = server.client().get("/health/detailed").send().await.expect(200);
    let parts = health.body["parts"].as_array().unwrap();
    let followers = parts.iter().find(|part| part["part"] == "followers").unwrap();
    assert!(followers["status"] == "degraded" && followers["detail"].to_string().contains("catalogue"), "{followers}");
    let too_early = run(&database, &["projections", "retry", "catalogue"]).await;
    assert!(!too_early.status.success() && String::from_utf8_lossy(&too_early.stdout).contains("cannot be read"));

    let page = server.client().get("/listings").send().await.expect(200);
    let tag = page.header("etag").unwrap();
    sqlx::query("update events set payload = $2::json where position = $1")
        .bind(position)
        .bind(whole.0)
        .execute(&mut database.connect().await)
        .await
        .unwrap();
    for follower in api::app::followers() {
        let takes_late = projections::find(follower).is_none_or(|model| model.takes_late());
        let repair = if takes_late { "retry" } else { "rebuild" };
        said(&database, &["projections", repair, follower]).await;
    }
    assert_eq!(json(&database, &["projections", "parked", "--json"]).await, json!([]));
    seller.get(&format!("/listings/{id}")).send().await.expect(200);
    // Pages have changed although no listing has: as soon as anything happens, whoever has one is told so.
    let deposit = seller.deposit(100, "sandbox-succeeds").await.expect(202);
    let known =
        server.client().get("/listings").header("if-none-match", tag).since(deposit.body["position"].as_i64().unwrap());
    known.send().await.expect(200);
    settle(&server).await;
    models::assert_equal_their_rebuild(&database).await;
    server.stop().await;
}

#[tokio::test]
async fn a_skip_takes_a_reason_and_is_listed_with_it() {
    let server = InProcess::start().await;
    server.client().register("bob-buys").await;
    settle(&server).await;
    let database = server.stop().await;
    let mut connection = database.connect().await;
    let damage = "update events set payload = '{}' where event_type = 'AccountRegistered' returning aggregate_id";
    let id: String = sqlx::query_scalar(damage).fetch_one(&mut connection).await.unwrap();
    said(&database, &["projections", "rebuild", "accounts"]).await;
    assert_eq!(status(&database, "accounts").await["parked"], 1);

    let no_reason = run(&database, &["projections", "skip", "accounts", &id]).await;
    assert!(String::from_utf8_lossy(&no_reason.stderr).contains("--reason"));
    let nobody = run(&database, &["projections", "skip", "nobody", &id, "--reason", "x"]).await;
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("`nobody`"));
    said(&database, &["projections", "skip", "accounts", &id, "--reason", "see case 17"]).await;
    let skipped = json(&database, &["projections", "parked", "--skipped", "--json"]).await;
    assert_eq!((&skipped[0]["reason"], &skipped[0]["skipped_by"]), (&json!("see case 17"), &json!("ann")));
    let told = status(&database, "accounts").await;
    assert_eq!((&told["parked"], &told["skipped"]), (&json!(0), &json!(1)));
    let again = run(&database, &["projections", "skip", "accounts", &id, "--reason", "twice"]).await;
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("nothing of"));
}

#[tokio::test]
async fn what_is_paused_stands_still_on_a_running_server_until_it_is_resumed() {
    let server = InProcess::start().await;
    let database = server.database.clone();
    said(&database, &["projections", "pause", "wallet_statement"]).await;
    let buyer = server.client().register("bob-buys").await;
    let head = database.log_head().await;
    server.app.progress.wait_for("accounts", head, PATIENCE).await.unwrap();
    let told = status(&database, "wallet_statement").await;
    assert!(told["paused"] == true && told["position"].as_i64().unwrap() < head, "{told}");
    let list = said(&database, &["projections", "list"]).await;
    assert!(list.contains("timers") && list.contains("payments") && list.contains("paused"), "{list}");
    said(&database, &["projections", "resume", "wallet_statement"]).await;
    server.app.progress.wait_for("wallet_statement", head, PATIENCE).await.unwrap();
    drop(buyer);
    server.stop().await;
}

#[tokio::test]
async fn the_log_is_shown_exported_and_followed_with_personal_fields_sealed() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("ann-sells").await;
    let database = server.database.clone();
    let head = database.log_head().await;
    let whole = said(&database, &["events", "export"]).await;
    let events: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let positions: Vec<_> = events.iter().map(|event| event["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, (1..=head).collect::<Vec<_>>());
    assert!(whole.contains("AccountRegistered") && !whole.contains("ann-sells"), "{whole}");

    let accounts = said(&database, &["events", "export", "--type", "account", "--from", "1", "--to", "1"]).await;
    let first: Value = serde_json::from_str(accounts.lines().next().unwrap_or("null")).unwrap();
    assert!(first.is_null() || first["aggregate_type"] == "account");
    let shown = json(&database, &["events", "show", "1", "--json"]).await;
    assert_eq!(shown, json!([events[0]]));
    let stream = json(&database, &["events", "show", events[0]["aggregate_id"].as_str().unwrap(), "--json"]).await;
    assert!(stream.as_array().unwrap().contains(&events[0]), "{stream}");
    let absent = run(&database, &["events", "show", "1000000"]).await;
    assert!(!absent.status.success());

    let folder = TempDir::new().unwrap();
    let file = ["events", "export", "--output", "log.ndjson"];
    let exported = command(&database, folder.path(), &file).output().await.unwrap();
    assert!(exported.status.success() && exported.stdout.is_empty());
    assert_eq!(std::fs::read_to_string(folder.path().join("log.ndjson")).unwrap(), whole);
    let twice = command(&database, folder.path(), &file).output().await.unwrap();
    assert!(!twice.status.success(), "a file is overwritten");

    let tail = ["events", "tail", "-n", "1", "--follow", "--type", "ListingDrafted", "--json"];
    let mut tail = command(&database, folder.path(), &tail).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // Whether it comes before the tail begins or after: it is shown once.
    let drafted = seller.post("/listings", &listing(100)).send().await.expect(201);
    let line = timeout(PATIENCE, lines.next_line()).await.expect("it is shown").unwrap().unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["aggregate_id"], drafted.body["id"]);
    tail.kill().await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn timers_are_listed_by_what_is_due_next() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("ann-sells").await;
    let id = seller.schedule(&auction(1_000)).await;
    settle(&server).await;
    let timers = json(&server.database, &["timers", "list", "--json"]).await;
    let ends = timers.as_array().unwrap().iter().find(|timer| timer["aggregate_id"] == id.as_str());
    assert_eq!(ends.expect("the auction's end is due")["kind"], "auction_end");
    let text = said(&server.database, &["timers", "list"]).await;
    assert!(text.contains("auction end"), "{text}");
    server.stop().await;
}
