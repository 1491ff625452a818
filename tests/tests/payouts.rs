//! Where money may go, how it goes out by itself, and what becomes of it when it does not arrive, or comes back.

use std::collections::BTreeMap;

use api::config::{Config, OutLimit, Payouts};
use commands::Request;
use commands::payments::{Notice, What, notices};
use domain::Currency;
use domain::payee::Payee;
use eventstore::event::Metadata;
use eventstore::mint;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS};
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::market::usd;
use tradepost_tests::server::InProcess;
use uuid::Uuid;

const HOUR_MS: i64 = 3_600_000;
/// What a seller gets for an order of the bazaar: 105.00 less two per cent.
const SALE: i64 = 10_290;

fn settings(cooling_s: u32, limit: OutLimit) -> Config {
    let limits = BTreeMap::from([(Currency::USD, limit)]);
    Config { payouts: Payouts { cooling_s, limits }, ..Config::default() }
}

fn per_day(cents: i64) -> OutLimit {
    OutLimit { least: None, most_per_day: Some(cents) }
}

async fn withdrawals(client: &Client, since: i64) -> Vec<(String, i64)> {
    let page = client.get("/payments/transactions?kind=withdrawal").since(since).send().await.expect(200).body;
    let row = |row: &Value| (row["status"].as_str().unwrap().to_owned(), row["amount"]["amount"].as_i64().unwrap());
    page["items"].as_array().unwrap().iter().map(row).collect()
}

async fn methods(client: &Client, since: i64) -> Value {
    client.get("/payments/methods").since(since).send().await.expect(200).body
}

fn plan(schedule: &str, method: &str) -> Value {
    json!({ "currency": "USD", "schedule": schedule, "payment_method_id": method })
}

/// Lets what the seller has go out by itself, to a method that they keep; tells that.
async fn planned(seller: &Client, schedule: &str, token: &str) -> String {
    let method = seller.keep_method(token).await;
    seller.put("/payments/connect", &plan(schedule, &method)).send().await.expect(200);
    method
}

async fn connection(seller: &Client, since: i64) -> Value {
    seller.get("/payments/connect").since(since).send().await.expect(200).body
}

/// Lets the sandbox say something.
async fn say(server: &InProcess, operation: Option<Uuid>, reference: &str, what: What) -> i64 {
    let (id, reference) = (mint::id().to_string(), reference.to_owned());
    let notice = Notice { id, at: server.app.clock.now(), operation, reference, what };
    let take = move |world: &mut commands::World<'_>| notices::take(world, "sandbox", &notice);
    server.app.engine.submit(Request::once(Metadata::by_process("test")), take).await.unwrap().position
}

// Methods.

#[tokio::test]
async fn a_payment_method_is_kept_under_a_name_and_paid_with_by_its_id() {
    let server = InProcess::start().await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    let method = ann.keep_method("sandbox-succeeds").await;
    let same = json!({ "token": "sandbox-succeeds", "label": "The same" });
    ann.post("/payments/methods", &same).send().await.problem(409, "already-exists");
    let unknown = json!({ "token": "4242424242424242", "label": "A number" });
    let refused = ann.post("/payments/methods", &unknown).send().await.problem(422, "invalid-field");
    assert_eq!(refused.body["errors"][0]["pointer"], "/token");
    let now = ann.advance(0).await;
    let kept = methods(&ann, now).await;
    let [only] = kept["items"].as_array().unwrap().as_slice() else { panic!("{kept}") };
    assert_eq!((&only["id"], &only["label"]), (&json!(method), &json!("My bank")));
    // Whoever has it can charge what it names.
    assert_eq!(only["token"], Value::Null);
    assert_eq!((&only["is_merchant"], &only["paused"]), (&json!(false), &json!(false)));
    ann.deposit(5_000, &method).await.expect(202);
    let settled = ann.advance(0).await;
    assert_eq!(ann.available(settled).await, 5_000);
    let moved = ann.get("/payments/transactions").since(settled).send().await.expect(200);
    assert_eq!(moved.body["items"][0]["provider"], "sandbox");
    assert!(!moved.text.contains("sandbox-succeeds"), "{}", moved.text);
    // It is nobody else's.
    let refused = bob.deposit(5_000, &method).await.problem(422, "invalid-field");
    assert_eq!(refused.body["errors"][0]["pointer"], "/payment_method");
    let path = format!("/payments/methods/{method}");
    bob.delete(&path, &json!({})).send().await.problem(404, "not-found");
    assert_eq!(methods(&bob, now).await["items"], json!([]));
    ann.delete(&path, &json!({})).send().await.expect(200);
    let gone = ann.delete(&path, &json!({})).send().await.problem(404, "not-found");
    assert_eq!(gone.body["detail"], "There is no such payment method.");
    let now = ann.advance(0).await;
    assert_eq!(methods(&ann, now).await["items"], json!([]));
}

#[tokio::test]
async fn the_methods_have_a_version_that_a_command_can_insist_on() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let method = ann.keep_method("sandbox-succeeds").await;
    ann.keep_method("sandbox-delays").await;
    let path = format!("/payments/methods/{method}");
    ann.delete(&path, &json!({})).header("if-match", "\"1.1\"").send().await.problem(412, "version-mismatch");
    let now = ann.advance(0).await;
    assert_eq!(methods(&ann, now).await["version"], 2);
    ann.delete(&path, &json!({})).header("if-match", "\"2.1\"").send().await.expect(200);
}

// What goes out.

#[tokio::test]
async fn money_goes_only_where_it_was_said_a_while_ago_that_it_may() {
    let server = InProcess::start_with(settings(3_600, OutLimit::default())).await;
    let ann = server.client().register("ann").await;
    ann.fund(5_000).await;
    let refused = ann.withdraw(1_000, "sandbox-succeeds").await.problem(422, "payment-method-not-kept");
    assert_eq!(refused.body["cooling_s"], 3_600);
    let method = ann.keep_method("sandbox-succeeds").await;
    let refused = ann.withdraw(1_000, &method).await.problem(409, "withdrawal-too-early");
    assert!(refused.body["until"].is_string(), "{}", refused.text);
    ann.advance(HOUR_MS).await;
    ann.withdraw(1_000, &method).await.expect(202);
    // By its own name it is the same method.
    ann.withdraw(1_000, "sandbox-succeeds").await.expect(202);
    let now = ann.advance(0).await;
    assert_eq!(withdrawals(&ann, now).await, [("succeeded".to_owned(), -1_000), ("succeeded".to_owned(), -1_000)]);
    assert_eq!(ann.available(now).await, 3_000);
}

#[tokio::test]
async fn nothing_goes_out_soon_after_a_password_has_changed() {
    let server = InProcess::start_with(settings(3_600, OutLimit::default())).await;
    let ann = server.client().register("ann").await;
    ann.fund(5_000).await;
    let method = ann.keep_method("sandbox-succeeds").await;
    ann.advance(2 * HOUR_MS).await;
    let change = json!({ "current_password": PASSWORD, "new_password": "a better password" });
    ann.post("/auth/password/change", &change).send().await.expect(200);
    ann.withdraw(1_000, &method).await.problem(409, "withdrawal-too-early");
    ann.advance(HOUR_MS).await;
    ann.withdraw(1_000, &method).await.expect(202);
}

#[tokio::test]
async fn what_goes_out_has_a_least_and_a_most_per_day() {
    let limit = OutLimit { least: Some(500), most_per_day: Some(2_000) };
    let server = InProcess::start_with(settings(0, limit)).await;
    let ann = server.client().register("ann").await;
    ann.fund(10_000).await;
    let small = ann.withdraw(499, "sandbox-succeeds").await.problem(422, "withdrawal-too-small");
    assert_eq!((&small.body["minimum"], &small.body["offered"]), (&usd(500), &usd(499)));
    ann.withdraw(1_500, "sandbox-succeeds").await.expect(202);
    let much = ann.withdraw(501, "sandbox-succeeds").await.problem(422, "withdrawal-limit");
    assert_eq!((&much.body["maximum"], &much.body["sent"]), (&usd(2_000), &usd(1_500)));
    ann.withdraw(500, "sandbox-succeeds").await.expect(202);
    // A currency without bounds has none.
    let yen = json!({ "amount": { "amount": 7, "currency": "JPY" } });
    ann.post("/payments/deposit", &yen).send().await.expect(202);
    ann.advance(DAY_MS).await;
    ann.post("/payments/withdraw", &yen).send().await.expect(202);
    ann.withdraw(2_000, "sandbox-succeeds").await.expect(202);
}

#[tokio::test]
async fn what_comes_back_after_it_was_paid_is_available_again_once() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.fund(5_000).await;
    let begun = ann.withdraw(2_000, "sandbox-succeeds").await.expect(202);
    let operation: Uuid = begun.body["id"].as_str().unwrap().parse().unwrap();
    let paid = ann.advance(0).await;
    assert_eq!(withdrawals(&ann, paid).await, [("succeeded".to_owned(), -2_000)]);
    for _ in 0..2 {
        let reason = "the account is closed".to_owned();
        say(&server, Some(operation), "po_1", What::PayoutFailed { reason }).await;
        say(&server, Some(operation), "po_1", What::PayoutPaid).await;
    }
    let now = ann.advance(0).await;
    assert_eq!(withdrawals(&ann, now).await, [("returned".to_owned(), -2_000)]);
    assert_eq!(ann.available(now).await, 5_000);
    let returned = ann.get("/payments/transactions?status=returned").since(now).send().await.expect(200).body;
    assert_eq!(returned["items"][0]["failure"], "the account is closed");
    // Nobody asked for that.
    say(&server, Some(mint::id()), "po_2", What::PayoutPaid).await;
    say(&server, None, "po_2", What::PayoutPaid).await;
}

#[tokio::test]
async fn a_bank_that_sends_it_back_gives_it_back() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.fund(5_000).await;
    ann.withdraw(2_000, "sandbox-returns").await.expect(202);
    ann.withdraw(1_000, "sandbox-succeeds").await.expect(202);
    let now = ann.advance(0).await;
    let shown = withdrawals(&ann, now).await;
    assert_eq!(shown, [("succeeded".to_owned(), -1_000), ("returned".to_owned(), -2_000)]);
    assert_eq!(ann.available(now).await, 4_000);
}

#[tokio::test]
async fn a_payout_that_takes_its_time_ends_by_what_the_provider_says_first() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.fund(5_000).await;
    let operation = |begun: Answer| begun.body["id"].as_str().unwrap().parse::<Uuid>().unwrap();
    let fails = operation(ann.withdraw(1_000, "sandbox-delays").await.expect(202));
    let arrives = operation(ann.withdraw(500, "sandbox-delays").await.expect(202));
    ann.withdraw(300, "sandbox-delays").await.expect(202);
    ann.advance(0).await;
    say(&server, Some(fails), "po_1", What::PayoutFailed { reason: "no such account".to_owned() }).await;
    say(&server, Some(arrives), "po_2", What::PayoutPaid).await;
    let told = ann.advance(0).await;
    let states = |rows: &[(String, i64)]| {
        let mut states: Vec<_> = rows.iter().map(|(status, amount)| (*amount, status.clone())).collect();
        states.sort();
        states
    };
    let expected = |last: &str| {
        [(-1_000, "failed"), (-500, "succeeded"), (-300, last)].map(|(amount, status)| (amount, status.to_owned()))
    };
    assert_eq!(states(&withdrawals(&ann, told).await), expected("pending"));
    assert_eq!(ann.available(told).await, 4_200);
    // The others are not asked about any more.
    let later = ann.advance(20_000).await;
    assert_eq!(states(&withdrawals(&ann, later).await), expected("succeeded"));
    assert_eq!(ann.available(later).await, 4_200);
}

// Plans.

#[tokio::test]
async fn with_every_release_all_that_is_available_goes_out() {
    let bazaar = Bazaar::open().await;
    let method = planned(&bazaar.seller, "on_release", "sandbox-succeeds").await;
    bazaar.complete().await;
    let now = bazaar.wait(0).await;
    assert_eq!(withdrawals(&bazaar.seller, now).await, [("succeeded".to_owned(), -SALE)]);
    assert_eq!(bazaar.seller.available(now).await, 0);
    bazaar.complete().await;
    let now = bazaar.wait(0).await;
    assert_eq!(withdrawals(&bazaar.seller, now).await.len(), 2);
    let shown = connection(&bazaar.seller, now).await;
    let expected = json!([
        { "currency": "USD", "schedule": "on_release", "payment_method_id": method, "due_at": null }
    ]);
    assert_eq!(shown["plans"], expected);
    // By hand again.
    let manual = json!({ "currency": "USD", "schedule": "manual" });
    bazaar.seller.put("/payments/connect", &manual).send().await.expect(200);
    bazaar.complete().await;
    let now = bazaar.wait(0).await;
    assert_eq!(bazaar.seller.available(now).await, SALE);
    assert_eq!(connection(&bazaar.seller, now).await["plans"], json!([]));
}

#[tokio::test]
async fn once_a_week_all_that_is_available_goes_out() {
    let bazaar = Bazaar::open().await;
    planned(&bazaar.seller, "weekly", "sandbox-succeeds").await;
    bazaar.complete().await;
    bazaar.complete().await;
    let before = bazaar.wait(7 * DAY_MS - HOUR_MS).await;
    assert!(withdrawals(&bazaar.seller, before).await.is_empty());
    let due = bazaar.wait(HOUR_MS).await;
    assert_eq!(withdrawals(&bazaar.seller, due).await, [("succeeded".to_owned(), -2 * SALE)]);
    // A week in which nothing was sold.
    let next = bazaar.wait(7 * DAY_MS).await;
    assert_eq!(withdrawals(&bazaar.seller, next).await.len(), 1);
    bazaar.complete().await;
    let last = bazaar.wait(7 * DAY_MS).await;
    assert_eq!(withdrawals(&bazaar.seller, last).await.len(), 2);
}

#[tokio::test]
async fn what_a_day_does_not_allow_goes_out_by_itself_on_the_next() {
    let bazaar = Bazaar::at(InProcess::start_with(settings(0, per_day(10_000))).await).await;
    planned(&bazaar.seller, "on_release", "sandbox-succeeds").await;
    bazaar.complete().await;
    let now = bazaar.wait(0).await;
    assert_eq!(withdrawals(&bazaar.seller, now).await, [("succeeded".to_owned(), -10_000)]);
    assert!(connection(&bazaar.seller, now).await["plans"][0]["due_at"].is_string());
    let next = bazaar.wait(DAY_MS).await;
    assert_eq!(bazaar.seller.available(next).await, 0);
    assert_eq!(withdrawals(&bazaar.seller, next).await.len(), 2);
    assert_eq!(connection(&bazaar.seller, next).await["plans"][0]["due_at"], Value::Null);
}

#[tokio::test]
async fn what_is_too_new_goes_out_by_itself_once_it_is_not() {
    let bazaar = Bazaar::at(InProcess::start_with(settings(3_600, OutLimit::default())).await).await;
    planned(&bazaar.seller, "on_release", "sandbox-succeeds").await;
    bazaar.complete().await;
    let now = bazaar.wait(0).await;
    assert!(withdrawals(&bazaar.seller, now).await.is_empty());
    let later = bazaar.wait(HOUR_MS).await;
    assert_eq!(withdrawals(&bazaar.seller, later).await, [("succeeded".to_owned(), -SALE)]);
}

#[tokio::test]
async fn what_the_bank_refuses_waits_for_the_next_release() {
    let bazaar = Bazaar::open().await;
    planned(&bazaar.seller, "on_release", "sandbox-declines").await;
    bazaar.complete().await;
    let now = bazaar.wait(DAY_MS).await;
    assert_eq!(withdrawals(&bazaar.seller, now).await, [("failed".to_owned(), -SALE)]);
    assert_eq!(bazaar.seller.available(now).await, SALE);
    let method = bazaar.seller.keep_method("sandbox-succeeds").await;
    bazaar.seller.put("/payments/connect", &plan("on_release", &method)).send().await.expect(200);
    bazaar.complete().await;
    let now = bazaar.wait(0).await;
    assert_eq!(withdrawals(&bazaar.seller, now).await[0], ("succeeded".to_owned(), -2 * SALE));
}

#[tokio::test]
async fn a_plan_names_a_method_that_is_kept_and_ends_with_it() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    let of_nobody = plan("weekly", &mint::id().to_string());
    seller.put("/payments/connect", &of_nobody).send().await.problem(404, "not-found");
    for (schedule, code) in [("weekly", "missing"), ("on_release", "missing")] {
        let body = json!({ "currency": "USD", "schedule": schedule });
        let refused = seller.put("/payments/connect", &body).send().await.problem(422, "invalid-field");
        assert_eq!(refused.body["errors"][0]["code"], code);
    }
    let method = planned(seller, "weekly", "sandbox-succeeds").await;
    let by_hand = plan("manual", &method);
    seller.put("/payments/connect", &by_hand).send().await.problem(422, "invalid-field");
    seller.delete(&format!("/payments/methods/{method}"), &json!({})).send().await.expect(200);
    let now = bazaar.wait(0).await;
    assert_eq!(connection(seller, now).await["plans"], json!([]));
    let refused = bazaar.buyer.put("/payments/connect", &by_hand).send().await.problem(403, "missing-capability");
    assert_eq!(refused.body["needed"], "sell");
}

// Merchants.

#[tokio::test]
async fn a_seller_becomes_a_merchant_of_the_provider_and_is_paid_out_there() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    let connected = seller.post("/payments/connect", &json!({})).send().await.expect(200);
    assert_eq!((&connected.body["provider"], &connected.body["payouts"]), (&json!("sandbox"), &json!(true)));
    assert!(connected.body["url"].as_str().is_some_and(|url| url.starts_with("https://")), "{}", connected.text);
    let now = bazaar.wait(0).await;
    let shown = connection(seller, now).await;
    assert_eq!(shown["merchants"], json!([{ "provider": "sandbox", "payouts": true, "due": [] }]));
    let kept = methods(seller, now).await;
    let method = &kept["items"][0];
    assert_eq!((&method["is_merchant"], &method["label"]), (&json!(true), &Value::Null));
    // Nobody has added it.
    let told = seller.get("/notifications?limit=100").since(now).send().await.expect(200).body;
    assert!(told["items"].as_array().unwrap().iter().all(|item| item["kind"] != "security"), "{told}");
    let id = method["id"].as_str().unwrap();
    seller.put("/payments/connect", &plan("on_release", id)).send().await.expect(200);
    bazaar.complete().await;
    let now = bazaar.wait(0).await;
    assert_eq!(withdrawals(seller, now).await, [("succeeded".to_owned(), -SALE)]);
    // Asked again, it is the same merchant.
    seller.post("/payments/connect", &json!({ "provider": "sandbox" })).send().await.expect(200);
    let now = bazaar.wait(0).await;
    assert_eq!(methods(seller, now).await["items"].as_array().unwrap().len(), 1);
    let unknown = json!({ "provider": "nobody" });
    seller.post("/payments/connect", &unknown).send().await.problem(422, "invalid-field");
    bazaar.buyer.post("/payments/connect", &json!({})).send().await.problem(403, "missing-capability");
}

#[tokio::test]
async fn while_the_provider_pays_nothing_out_nothing_goes_there() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    seller.post("/payments/connect", &json!({})).send().await.expect(200);
    let now = bazaar.wait(0).await;
    let method = methods(seller, now).await["items"][0].clone();
    let id = method["id"].as_str().unwrap();
    let account = seller.account();
    let look =
        move |world: &mut commands::World<'_>| Ok(world.get::<Payee>(account)?.merchant("sandbox").map(str::to_owned));
    let merchant = bazaar.server.app.engine.read(look).await.unwrap().unwrap();
    seller.put("/payments/connect", &plan("on_release", id)).send().await.expect(200);
    say(&bazaar.server, None, &merchant, What::MerchantChanged { payouts: false }).await;
    bazaar.complete().await;
    // What a notice does not say is asked at once, and the sandbox pays out to everybody. If what was sold was due before that
    // was answered, it is due again a day later.
    bazaar.wait(0).await;
    let now = bazaar.wait(DAY_MS).await;
    assert_eq!(connection(seller, now).await["merchants"][0]["payouts"], true);
    assert_eq!(methods(seller, now).await["items"][0]["paused"], false);
    assert_eq!(withdrawals(seller, now).await, [("succeeded".to_owned(), -SALE)]);
    // Of a merchant that is nobody's nothing is kept.
    let before = bazaar.server.database.log_head().await;
    say(&bazaar.server, None, "acct_of_nobody", What::MerchantChanged { payouts: true }).await;
    assert_eq!(bazaar.server.database.log_head().await, before);
}
