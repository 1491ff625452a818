//! Letters, by a real mail server.

use std::time::Duration;

use api::config::{Config, Secret};
use commands::mail::{self, State};
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, staff};
use tradepost_tests::client::{Client, PASSWORD};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{auction, with};
use tradepost_tests::models;
use tradepost_tests::server::{InProcess, tradepost};
use tradepost_tests::smtp::MailServer;

const VERIFY: &str = "Confirm your e-mail address";
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

fn by(server: &MailServer) -> Config {
    let mut settings = Config::default();
    settings.mail.smtp_url = Some(Secret::new(server.url()));
    settings.mail.site_url = "https://shop.example".to_owned();
    settings
}

/// Lets somebody show that they read their mailbox.
async fn verify(office: &MailServer, client: &Client, name: &str) {
    let address = format!("{name}@example.com");
    let letters = office.expect(&address, VERIFY, 1).await;
    let token = json!({ "token": letters[0].token });
    client.post("/auth/email/verify", &token).send().await.expect(200);
}

/// The letters in this state, once there is one.
async fn letters(server: &InProcess, state: State) -> Vec<mail::Listed> {
    let found = async {
        loop {
            let letters = mail::list(&server.app.pool, Some(state), 100).await.or_fail("list the letters");
            if !letters.is_empty() {
                return letters;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.or_fail("wait longer for a letter")
}

#[tokio::test]
async fn a_dispute_reaches_both_mailboxes_in_text_and_in_html() {
    let office = MailServer::start().await;
    let bazaar = Bazaar::at(InProcess::start_with(by(&office)).await).await;
    for (client, name) in [(&bazaar.seller, "seller"), (&bazaar.buyer, "buyer")] {
        verify(&office, client, name).await;
    }
    let order = bazaar.deliver().await;
    bazaar.dispute(&order).await.expect(200);
    let split = json!({ "outcome": "split", "to_buyer": { "amount": 5_000, "currency": "USD" } });
    bazaar.resolve(&order, &split).await.expect(200);
    for to in ["seller@example.com", "buyer@example.com"] {
        let letters = office.expect(to, "Dispute: ", 1).await;
        let letter = &letters[0];
        assert!(letter.whole.contains("Content-Type: text/plain"), "{}", letter.whole);
        assert!(letter.whole.contains("Content-Type: text/html"), "{}", letter.whole);
        assert!(letter.id.starts_with('<') && letter.id.ends_with("@localhost>"), "{}", letter.id);
    }
    office.expect("buyer@example.com", "You got money back", 1).await;
    let paid = office.expect("seller@example.com", "You were paid", 1).await;
    assert!(paid[0].whole.contains(&format!("https://shop.example/orders/{order}")), "{}", paid[0].whole);
    // Whoever has not shown to read a mailbox gets nothing there but the question.
    assert_eq!(office.letters("clerk@example.com", "").len(), 1);
}

#[tokio::test]
async fn who_wins_gets_a_link_to_pay_and_nothing_that_they_do_not_want() {
    let office = MailServer::start().await;
    let server = InProcess::start_with(by(&office)).await;
    let seller = server.client().register_seller("seller").await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    for (client, name) in [(&seller, "seller"), (&ann, "ann"), (&bob, "bob")] {
        verify(&office, client, name).await;
    }
    let quiet = json!({ "items": [{ "kind": "outbid", "in_app": true, "live": true, "email": false }] });
    bob.put("/notifications/preferences", &quiet).send().await.expect(200);
    let id = seller.schedule(&with(auction(1_000), "duration_s", 600)).await;
    bob.bid(&id, 2_000).await.expect(201);
    ann.bid(&id, 3_000).await.expect(201);
    bob.bid(&id, 4_000).await.expect(201);
    seller.advance(700_000).await;
    let won = office.expect("bob@example.com", "You have won", 1).await;
    assert!(won[0].whole.contains("https://shop.example/order-groups/"), "{}", won[0].whole);
    office.expect("ann@example.com", "You were outbid", 1).await;
    office.expect("ann@example.com", "Not won", 1).await;
    assert!(office.letters("bob@example.com", "outbid").is_empty());
    // Bids fill no mailbox unless that is wanted.
    assert!(office.letters("seller@example.com", "A bid for").is_empty());
}

#[tokio::test]
async fn the_former_mailbox_is_told_when_an_address_changes() {
    let office = MailServer::start().await;
    let server = InProcess::start_with(by(&office)).await;
    let ann = server.client().register("ann").await;
    verify(&office, &ann, "ann").await;
    office.expect("ann@example.com", "Welcome", 1).await;
    let change = json!({ "email": "next@example.com", "password": PASSWORD });
    ann.post("/auth/email/change", &change).send().await.expect(202);
    let asked = office.expect("next@example.com", VERIFY, 1).await;
    ann.post("/auth/email/verify", &json!({ "token": asked[0].token })).send().await.expect(200);
    office.expect("ann@example.com", "Your e-mail address was changed", 1).await;
    assert!(office.letters("next@example.com", "was changed").is_empty());
}

#[tokio::test]
async fn the_owner_is_told_of_another_payment_method_at_whatever_address_there_is() {
    let office = MailServer::start().await;
    let server = InProcess::start_with(by(&office)).await;
    // Nobody has verified it: what keeps an account safe goes there all the same.
    let ann = server.client().register("ann").await;
    ann.keep_method("sandbox-succeeds").await;
    let letters = office.expect("ann@example.com", "A payment method was added", 1).await;
    let letter = &letters[0].whole;
    assert!(letter.contains("https://shop.example/wallet"), "{letter}");
    // Neither what it is called, nor how to hear of that no more.
    assert!(!letter.contains("My bank") && !letter.contains("/notifications/preferences"), "{letter}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_tried_again_or_parked_until_an_operator_has_looked_at_it() {
    let office = MailServer::start().await;
    let server = InProcess::start_with(by(&office)).await;
    office.is_busy(true);
    server.client().register("busy-ann").await;
    server.client().register("unknown-bob").await;
    let parked = letters(&server, State::Parked).await;
    assert_eq!(parked.len(), 1);
    assert!(parked[0].error.as_ref().is_some_and(|error| error == "the mail server says 550"), "{parked:?}");
    let waits = async {
        while letters(&server, State::Waiting).await[0].error.is_none() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.or_fail("wait longer for a failure");
    assert!(office.letters("busy-ann@example.com", "").is_empty());
    office.is_busy(false);
    let url = server.database.url();
    let listed = tradepost(url, &["mail", "list", "--json"]).output().await.or_fail("run `tradepost mail list`");
    let listed: Value = serde_json::from_slice(&listed.stdout).or_fail("read what it says");
    assert_eq!((&listed[0]["state"], &listed[0]["kind"]), (&json!("parked"), &json!("verify")));
    assert!(!listed.to_string().contains("example.com"), "{listed}");
    let retried = tradepost(url, &["mail", "retry", "--json"]).output().await.or_fail("run `tradepost mail retry`");
    let retried: Value = serde_json::from_slice(&retried.stdout).or_fail("read what it says");
    assert_eq!(retried["letters"], 2);
    assert_eq!(office.expect("busy-ann@example.com", VERIFY, 1).await.len(), 1);
}

#[tokio::test]
async fn what_was_said_to_everybody_reaches_whoever_wants_it_by_mail() {
    let office = MailServer::start().await;
    let server = InProcess::start_with(by(&office)).await;
    let clerk = staff(&server, "clerk").await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    server.client().register("unverified").await;
    for (client, name) in [(&ann, "ann"), (&bob, "bob")] {
        verify(&office, client, name).await;
    }
    let quiet = json!({ "items": [{ "kind": "announcement", "in_app": true, "live": true, "email": false }] });
    bob.put("/notifications/preferences", &quiet).send().await.expect(200);
    let said = json!({ "audience": "all", "title": "Tonight", "body": "One.\n\nTwo <b>.", "reason": "Maintenance." });
    clerk.post("/admin/notifications", &said).send().await.expect(201);
    let mut to_one = said.clone();
    (to_one["audience"], to_one["account_id"], to_one["title"]) =
        (Value::Null, json!(bob.account()), json!("Dear Bob"));
    let loud = json!({ "items": [{ "kind": "announcement", "in_app": true, "live": true, "email": true }] });
    let letters = office.expect("ann@example.com", "Tonight", 1).await;
    assert!(letters[0].whole.contains("Two &lt;b&gt;."), "{}", letters[0].whole);
    bob.put("/notifications/preferences", &loud).send().await.expect(200);
    clerk.post("/admin/notifications", &to_one).send().await.expect(201);
    office.expect("bob@example.com", "Dear Bob", 1).await;
    assert!(office.letters("bob@example.com", "Tonight").is_empty());
    assert!(office.letters("unverified@example.com", "Tonight").is_empty());
}

/// Nothing is sent twice: not when read models are rebuilt, nor when another node takes over.
#[tokio::test]
async fn nothing_is_sent_again_when_read_models_are_rebuilt_or_a_node_starts() {
    let office = MailServer::start().await;
    let server = InProcess::start_with(by(&office)).await;
    let ann = server.client().register("ann").await;
    verify(&office, &ann, "ann").await;
    office.expect("ann@example.com", "Welcome", 1).await;
    let database = server.stop().await;
    models::rebuild(&database).await;
    // As if another version of the tables were needed.
    sqlx::query("update followers set version = 0 where name = 'mail'")
        .execute(&mut database.connect().await)
        .await
        .or_fail("pretend to be older");
    let server = InProcess::start_on(database, by(&office)).await;
    let ann = server.client().login("ann").await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another horse battery" });
    ann.post("/auth/password/change", &change).send().await.expect(200);
    office.expect("ann@example.com", "Your password was changed", 1).await;
    assert_eq!(office.letters("ann@example.com", "Welcome").len(), 1);
    assert_eq!(office.letters("ann@example.com", VERIFY).len(), 1);
}
