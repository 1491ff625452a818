//! `tradepost replay` tells what would have been different under other rules, and touches nothing.

use std::process::Output;

use eventstore::database::Database;
use eventstore::walk;
use serde_json::{Value, json};
use tempfile::TempDir;
use tradepost_tests::bazaar::{Bazaar, DAY_MS, MINUTE_MS, order_of};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{auction, usd};
use tradepost_tests::server::tradepost;

/// A marketplace that is over, by the ids of what has happened there.
struct Past {
    database: TestDatabase,
    folder: TempDir,
    auction: String,
    released: String,
    slowly_paid: String,
    slowly_sent: String,
}

impl Past {
    /// An auction from 10.00 between two; an order that is released after its inspection, one that was paid after ten
    /// minutes, and one that was sent after five days; all at 2 %.
    async fn lived() -> Self {
        let bazaar = Bazaar::open().await;
        let rival = bazaar.server.join("rival").await;
        let id = bazaar.seller.schedule(&auction(1_000)).await;
        bazaar.buyer.bid(&id, 5_000).await.expect(201);
        rival.bid(&id, 8_000).await.expect(201);
        let released = bazaar.deliver().await;
        let listing = bazaar.offer(1).await;
        let slowly_paid = order_of(&bazaar.buyer.check_out(&[(&listing, 1)], "later").await.expect(201));
        bazaar.wait(10 * MINUTE_MS).await;
        bazaar.buyer.tell(&slowly_paid, "pay").await.expect(200);
        let slowly_sent = bazaar.sell().await;
        bazaar.wait(5 * DAY_MS).await;
        bazaar.ship(&slowly_sent).await.expect(200);
        bazaar.wait(10 * DAY_MS).await;
        let Bazaar { server, .. } = bazaar;
        let folder = TempDir::new().or_fail("make a folder");
        Self { database: server.stop().await, folder, auction: id, released, slowly_paid, slowly_sent }
    }

    async fn replay(&self, policy: &str, more: &[&str]) -> Output {
        let path = self.folder.path().join("policy.toml");
        std::fs::write(&path, policy).or_fail("write the policy");
        let arguments = [&["replay", "--with", path.to_str().unwrap()][..], more].concat();
        tradepost(self.database.url(), &arguments).output().await.or_fail("run `tradepost replay`")
    }

    async fn told(&self, policy: &str, more: &[&str]) -> Value {
        let output = self.replay(policy, &[&["--json"][..], more].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Nobody who comes from now on can write.
    async fn preserve(&self) {
        let mut owner = self.database.connect().await;
        let name: String = sqlx::query_scalar("select current_database()").fetch_one(&mut owner).await.unwrap();
        let preserve = format!("alter database {name} set default_transaction_read_only = on");
        sqlx::query(&preserve).execute(&mut owner).await.unwrap();
    }
}

/// The one of that name.
fn find<'a>(told: &'a Value, of: &str, name: &str, id: &str) -> Option<&'a Value> {
    told[of].as_array().unwrap().iter().find(|told| told[name] == id)
}

#[tokio::test]
async fn under_other_rules_prices_fees_and_fates_are_others_and_nothing_is_touched() {
    let past = Past::lived().await;
    past.preserve().await;

    // A file that says nothing, and one that says what was.
    let own = "[fees]\nusual_bps = 200\n[auctions]\nsoft_close_window_s = 120\n[deadlines]\ncheckout_paid_s = 900\n\
        win_paid_s = 86400\nshipped_s = 1209600\ninspection_physical_s = 1209600\nresolved_s = 5184000\n";
    for policy in ["", own] {
        let told = past.told(policy, &[]).await;
        assert_eq!((&told["auctions"], &told["orders"]), (&json!([]), &json!([])), "{told}");
        let summary = &told["summary"];
        // What the auction has led to was never paid.
        assert_eq!((&summary["auctions"]["looked_at"], &summary["orders"]["looked_at"]), (&json!(1), &json!(4)));
        assert_eq!(told["position"], past.database.log_head().await);
    }

    let flat = past.told("auctions.increments = { USD = 500 }", &[]).await;
    let sold = find(&flat, "auctions", "auction", &past.auction).unwrap();
    assert_eq!((&sold["was"]["price"], &sold["would"]["price"]), (&usd(5_100), &usd(5_500)));
    assert_eq!((&sold["price_change"], &sold["was"]["winner"]), (&json!(400), &sold["would"]["winner"]));
    assert_eq!(flat["orders"], json!([]), "they were not asked for");

    let fees = past.told("fees = { usual_bps = 350 }", &[]).await;
    let order = find(&fees, "orders", "order", &past.released).unwrap();
    assert_eq!((&order["was"]["fee"], &order["would"]["fee"]), (&usd(210), &usd(368)));
    assert_eq!((&order["was"]["status"], &order["was"]["since"]), (&json!("released"), &order["would"]["since"]));
    assert_eq!(fees["summary"]["orders"]["fees"], json!([{ "currency": "USD", "was": 210, "would": 368 }]));
    let by_seller = &fees["summary"]["orders"]["sellers"];
    assert_eq!(by_seller, &json!([{ "seller": order["seller"], "currency": "USD", "was": 210, "would": 368 }]));

    let deadlines = "[deadlines]\ncheckout_paid_s = 300\nshipped_s = 172800\ninspection_physical_s = 86400\n";
    let told = past.told(deadlines, &[]).await;
    let fate = |id: &str| {
        let order = find(&told, "orders", "order", id).unwrap();
        let late: Vec<_> = order["too_late"].as_array().unwrap().iter().map(|late| late["what"].clone()).collect();
        (order["was"]["status"].clone(), order["would"]["status"].clone(), late)
    };
    assert_eq!(fate(&past.released), (json!("released"), json!("released"), vec![]));
    assert_eq!(fate(&past.slowly_paid), (json!("refunded"), json!("voided"), vec![json!("payment")]));
    assert_eq!(fate(&past.slowly_sent), (json!("funded"), json!("refunded"), vec![json!("shipment")]));
}

#[tokio::test]
async fn it_is_told_in_words_the_same_each_time_and_of_the_time_that_was_asked_for() {
    let past = Past::lived().await;
    let policy = "[auctions.increments]\nUSD = 500\n[fees]\nflat_bps = 350\n";
    let (once, again) = (past.replay(policy, &[]).await, past.replay(policy, &[]).await);
    assert!(once.status.success(), "{}", String::from_utf8_lossy(&once.stderr));
    assert_eq!(once.stdout, again.stdout);
    let words = String::from_utf8(once.stdout).unwrap();
    for line in [
        "           51.00 USD           55.00 USD         +4.00",
        "1 of 1 auctions would be different (0 go on and are left out)",
        "closing prices: 51.00 → 55.00 USD (+4.00)",
        "1 of 4 orders would be different",
        "fees: 2.10 → 3.68 USD (+1.58)",
    ] {
        assert!(words.contains(line), "{line}\n{words}");
    }
    let later = String::from_utf8(past.replay(policy, &["--from", "2999-01-01"]).await.stdout).unwrap();
    assert_eq!(later, "there is nothing to look at\n");
    let earlier = past.told(policy, &["--until", "2999-01-01"]).await;
    assert_eq!(earlier["summary"]["auctions"]["different"], 1);
    let wrong: [(&str, &[&str], &str); 4] = [
        ("[fees]\nusual = 1\n", &[], "unknown field `usual`"),
        ("fees = { usual_bps = 10001 }", &[], "fees.usual_bps must be from 0 to 10000; it is 10001"),
        ("", &["--from", "2026-01-02", "--until", "2026-01-02"], "is not before"),
        ("", &["--from", "once"], "it is neither a date nor a time"),
    ];
    for (policy, more, told) in wrong {
        let output = past.replay(policy, more).await;
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(told), "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn whoever_walks_through_the_log_cannot_write() {
    let fresh = TestDatabase::fresh().await;
    let database = Database::at(fresh.url()).unwrap();
    let mut connection = walk::connect(&database).await.unwrap();
    let refused = sqlx::query("update log_head set position = 7").execute(&mut connection).await.unwrap_err();
    // A read-only transaction.
    assert_eq!(refused.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(), Some("25006"));
    assert_eq!(walk::head(&mut connection).await.unwrap(), None);
}
