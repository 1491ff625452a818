//! The sample marketplace: its story ends now, with sales in every state, and is told once.

use std::collections::BTreeSet;

use api::app::Node;
use api::config::Config;
use api::demo;
use chrono::TimeDelta;
use eventstore::clock::Clock;
use eventstore::database::Database;
use eventstore::secrets::RootSecret;
use projections::{ledger, orders};
use tempfile::TempDir;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::pictures::files_in;

#[tokio::test]
async fn the_story_ends_in_the_present_with_orders_in_every_state() {
    let database = TestDatabase::fresh().await;
    let reached = Database::at(database.url()).unwrap();
    let clock = demo::clock(&reached).await.unwrap();
    assert!(Clock::real_now() - clock.now() > TimeDelta::days(13), "it begins two weeks back");
    let secret = RootSecret::new(b"the secret of a sample marketplace");
    let folder = TempDir::new().unwrap();
    let mut settings = Config::default();
    settings.media.folder = folder.path().join("media");
    settings.mail.folder = folder.path().join("mail");
    let node = Node::start(settings, &reached, secret, clock.clone()).await.unwrap();
    let mut said = Vec::new();
    demo::fill(&node.app, &mut |line| said.push(line.to_owned())).await.unwrap();
    assert!(said.last().unwrap().contains("done in"), "{said:#?}");
    assert!((clock.now() - Clock::real_now()).abs() < TimeDelta::minutes(1), "{}", clock.now());

    let counts = orders::counts(&node.app.pool).await.unwrap();
    let states: BTreeSet<String> = counts.iter().map(|(status, _)| format!("{status:?}")).collect();
    let all = ["Cancelled", "Completed", "Delivered", "Disputed", "Paid", "Placed", "Refunded", "Shipped"];
    assert!(states.iter().eq(all.iter()), "{counts:?}");
    // What a visitor would look for is there.
    for (there, at_least) in [
        ("catalogue.listings where json_array_length(images) > 0", 100),
        ("catalogue.listings where on_sale and status = 'active'", 5),
        ("catalogue.listings where attributes::text <> '{}'", 50),
        ("stores.stores where kyc = 'verified'", 4),
        ("pages.versions", 3),
        ("reviews.reviews", 5),
        ("reviews.feedback", 5),
        ("subscriptions.subscriptions", 1),
    ] {
        let count: i64 =
            sqlx::query_scalar(&format!("select count(*) from {there}")).fetch_one(&node.app.pool).await.unwrap();
        assert!(count >= at_least, "{there}: {count}");
        if there.contains("images") {
            assert_eq!(i64::try_from(files_in(&folder.path().join("media"))).unwrap(), 2 * count);
        }
    }
    let books = ledger::trial_balance(&node.app.pool).await.unwrap();
    assert!(!books.is_empty() && books.iter().all(|books| books.difference.0 == 0), "{books:?}");

    let head = database.log_head().await;
    demo::fill(&node.app, &mut |line| panic!("told again: {line}")).await.unwrap();
    assert_eq!(database.log_head().await, head);
    node.stop().await;
}
