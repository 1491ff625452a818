//! What a node says of itself: that it lives, how its parts are, and since when.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::Connection;
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::listing;
use tradepost_tests::server::InProcess;

/// What does not show by then will not show.
const PATIENCE: Duration = Duration::from_secs(15);

async fn detailed(client: &Client) -> Answer {
    client.get("/health/detailed").send().await
}

/// The answer as soon as it is `wanted`.
async fn detailed_once(client: &Client, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            let answer = detailed(client).await;
            if wanted(&answer) {
                return answer;
            }
        }
    });
    seen.await.expect("it never came to that")
}

fn part<'a>(answer: &'a Answer, name: &str) -> &'a Value {
    let parts = answer.body["parts"].as_array().unwrap();
    parts.iter().find(|part| part["part"] == name).unwrap_or_else(|| panic!("no {name} in {}", answer.text))
}

fn since(answer: &Answer, name: &str) -> DateTime<Utc> {
    part(answer, name)["since"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_healthy_node_is_ok_in_every_part() {
    let server = InProcess::start().await;
    let nobody = server.client();
    assert_eq!(nobody.get("/health").send().await.expect(200).body, json!({ "status": "ok" }));
    let answer = detailed(&nobody).await.expect(200);
    assert_eq!(answer.body["status"], "ok", "{}", answer.text);
    for name in ["database", "decisions", "followers", "timers"] {
        assert_eq!(part(&answer, name)["status"], "ok", "{}", answer.text);
    }
    let followers = answer.body["followers"].as_array().unwrap().iter().map(|follower| &follower["name"]);
    assert!(followers.eq(api::app::followers().collect::<Vec<_>>().iter()), "{}", answer.text);
}

#[tokio::test]
async fn a_follower_that_stands_still_degrades_and_says_since_when() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let well = detailed_once(&seller, |answer| answer.body["status"] == "ok").await;
    let mut owner = server.database.connect().await;
    let mut held = owner.begin().await.unwrap();
    let stopped = "select from followers where name = 'catalogue' for update";
    sqlx::query(stopped).execute(&mut *held).await.unwrap();
    seller.post("/listings", &listing(100)).send().await.expect(201);
    let last = server.database.log_head().await;
    for follower in api::app::followers().filter(|name| *name != "catalogue") {
        server.app.progress.wait_for(follower, last, PATIENCE).await.unwrap();
    }
    seller.advance(60_000).await;

    let first = detailed(&seller).await.expect(200);
    assert_eq!((&first.body["status"], &part(&first, "followers")["status"]), (&json!("degraded"), &json!("degraded")));
    let told = part(&first, "followers")["detail"].as_str().unwrap();
    assert_eq!(told, "Behind: catalogue.");
    assert_eq!(part(&first, "database")["status"], "ok");
    assert!(since(&first, "followers") > since(&well, "followers"));
    let second = detailed(&seller).await.expect(200);
    assert_eq!(since(&second, "followers"), since(&first, "followers"));

    held.rollback().await.unwrap();
    let well = detailed_once(&seller, |answer| answer.body["status"] == "ok").await;
    assert!(since(&well, "followers") > since(&first, "followers"));
    assert!(part(&well, "followers")["detail"].is_null());
}

#[tokio::test]
async fn a_timer_that_does_not_fire_degrades() {
    let server = InProcess::start().await;
    // Of an auction that does not exist: it can fire as often as it likes.
    let overdue = "insert into timers select 'auction_start', id, id, now() - interval '60 s', id
        from gen_random_uuid() as id";
    sqlx::query(overdue).execute(&mut server.database.connect().await).await.unwrap();
    let answer = detailed(&server.client()).await.expect(200);
    assert_eq!((&answer.body["status"], &part(&answer, "timers")["status"]), (&json!("degraded"), &json!("degraded")));
    let told = part(&answer, "timers")["detail"].as_str().unwrap();
    assert!(told.starts_with("1 are due, for 6"), "{told}");
}

#[tokio::test]
async fn without_a_database_a_node_lives_and_is_failing() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    detailed_once(&seller, |answer| answer.status == 200).await;
    server.database.shut().await;
    seller.post("/listings", &listing(100)).send().await.problem(503, "unavailable");
    let refuses = |answer: &Answer| answer.status == 503 && part(answer, "decisions")["status"] == "failing";
    let answer = detailed_once(&seller, refuses).await.problem(503, "unavailable");
    for name in ["database", "decisions"] {
        assert_eq!(part(&answer, name)["status"], "failing", "{}", answer.text);
    }
    assert_eq!(answer.body["parts"].as_array().unwrap().len(), 2, "what is not known is not told");
    assert_eq!(answer.body["detail"], "Failing: database, decisions.");
    let database = server.database.url().split('@').nth(1).unwrap();
    assert!(!answer.text.contains(database), "{}", answer.text);
    seller.get("/health").send().await.expect(200);
    server.database.reopen().await;
    detailed_once(&seller, |answer| answer.status == 200).await;
}
