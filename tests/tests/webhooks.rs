//! What providers say by themselves: listened to if it is signed, new and true, and otherwise as if it had never come.
//!
//! The sandbox's webhooks, which are signed as Stripe's are; they come by HTTP.

use chrono::{DateTime, TimeDelta, Utc};
use commands::payments::{Secret, signature};
use eventstore::clock::Clock;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, order_of};
use tradepost_tests::client::{Answer, Ask, Client};
use tradepost_tests::market::usd;
use tradepost_tests::server::InProcess;

const SECRET: &str = "whsec_of_the_tests";
const PATH: &str = "/payments/webhooks/sandbox";
/// What an order of the bazaar costs, in cents.
const PRICE: i64 = 10_500;

/// A marketplace that takes webhooks, and an order whose payment waits for its buyer.
struct Waiting {
    bazaar: Bazaar,
    order: String,
    /// The operation of the payment, and what the sandbox calls it.
    operation: String,
    reference: String,
}

impl Waiting {
    async fn begin() -> Self {
        let bazaar = bazaar().await;
        let listing = bazaar.offer(1).await;
        let order = order_of(&bazaar.buyer.check_out(&[(&listing, 1)], "later").await.expect(201));
        let body = json!({ "payment_method": "sandbox-needs-action" });
        bazaar.buyer.post(&format!("/orders/{order}/pay"), &body).send().await.expect(202);
        bazaar.wait(0).await;
        let operation = charge(&bazaar.server).await;
        let reference = format!("ch_{}", operation.replace('-', ""));
        Self { bazaar, order, operation, reference }
    }

    fn message(&self, id: &str, news: &Value) -> Value {
        message(id, &self.operation, &self.reference, news)
    }

    fn paid(&self, id: &str) -> Value {
        self.message(id, &json!({ "type": "charge.succeeded", "amount": usd(PRICE) }))
    }

    fn failed(&self, id: &str) -> Value {
        self.message(id, &json!({ "type": "charge.failed", "reason": "The card is closed." }))
    }

    async fn deliver(&self, message: &Value) -> Answer {
        deliver(&self.bazaar.server.client(), message).await
    }

    async fn head(&self) -> i64 {
        self.bazaar.server.database.log_head().await
    }

    async fn statuses(&self) -> (String, String) {
        self.bazaar.statuses(&self.order).await
    }

    async fn expect_unpaid(&self) {
        assert_eq!(self.statuses().await, ("placed".to_owned(), "awaiting_payment".to_owned()));
    }

    async fn expect_paid(&self) {
        assert_eq!(self.statuses().await, ("paid".to_owned(), "funded".to_owned()));
        assert_eq!(self.bazaar.book("escrow").await, PRICE);
    }

    /// Delivers what is not to be listened to: nobody has heard of it.
    async fn expect_unheard(&self, ask: Ask, status: u16, slug: &str) {
        let head = self.head().await;
        ask.send().await.problem(status, slug);
        assert_eq!(self.head().await, head, "something that is not true is in the log");
    }
}

async fn bazaar() -> Bazaar {
    let mut settings = api::config::Config::default();
    settings.sandbox.webhook_secrets = Some(api::config::Secret::new(format!("whsec_that_was_used_before,{SECRET}")));
    Bazaar::at(InProcess::start_with(settings).await).await
}

/// The last payment by card that was begun.
async fn charge(server: &InProcess) -> String {
    let query = "select aggregate_id::text from events where aggregate_type = 'charge' order by position desc limit 1";
    sqlx::query_scalar(query).fetch_one(&mut server.database.connect().await).await.unwrap()
}

fn message(id: &str, operation: &str, reference: &str, news: &Value) -> Value {
    json!({ "id": id, "at": Clock::real_now(), "operation": operation, "reference": reference, "news": news })
}

fn signed(body: &str, secret: &str, at: DateTime<Utc>) -> String {
    signature::sign(body.as_bytes(), &Secret::new(secret), at)
}

fn ask(client: &Client, path: &str, header: &str, body: impl Into<String>) -> Ask {
    let ask = client.ask(&reqwest::Method::POST, &format!("/api/v1{path}"));
    ask.header("tradepost-signature", header).raw("application/json", body.into())
}

async fn deliver(client: &Client, message: &Value) -> Answer {
    let body = message.to_string();
    ask(client, PATH, &signed(&body, SECRET, Clock::real_now()), body).send().await
}

#[tokio::test]
async fn what_a_provider_says_pays_an_order_and_funds_its_escrow_in_one_commit() {
    let waiting = Box::pin(Waiting::begin()).await;
    waiting.expect_unpaid().await;
    let before = waiting.head().await;
    waiting.deliver(&waiting.paid("evt_1")).await.expect(200);
    waiting.expect_paid().await;
    let commits: Vec<i64> = sqlx::query_scalar(
        "select distinct commit_position from events
         where position > $1 and event_type in ('ChargeSucceeded', 'EscrowFunded', 'OrderPaid')",
    )
    .bind(before)
    .fetch_all(&mut waiting.bazaar.server.database.connect().await)
    .await
    .unwrap();
    assert_eq!(commits.len(), 1, "{commits:?}");
}

#[tokio::test]
async fn what_is_said_twice_counts_once() {
    let waiting = Box::pin(Waiting::begin()).await;
    let paid = waiting.paid("evt_1");
    waiting.deliver(&paid).await.expect(200);
    let head = waiting.head().await;
    // Again, and the same under another name.
    waiting.deliver(&paid).await.expect(200);
    waiting.deliver(&waiting.paid("evt_2")).await.expect(200);
    assert_eq!(waiting.head().await, head);
    waiting.expect_paid().await;
}

#[tokio::test]
async fn what_is_said_by_fifty_at_once_counts_once() {
    let waiting = Box::pin(Waiting::begin()).await;
    let (paid, client) = (waiting.paid("evt_1"), waiting.bazaar.server.client());
    let deliveries = (0..50).map(|_| deliver(&client, &paid));
    for answer in futures::future::join_all(deliveries).await {
        // Whoever comes while the same is being taken in is told to come again, as any client is.
        assert!([200, 409, 503].contains(&answer.status), "{} {}", answer.status, answer.text);
    }
    waiting.deliver(&paid).await.expect(200);
    waiting.expect_paid().await;
    let counted = "select count(*) from events where event_type = 'ChargeSucceeded' and aggregate_id = $1";
    let settled: i64 = sqlx::query_scalar(counted)
        .bind(&waiting.operation)
        .fetch_one(&mut waiting.bazaar.server.database.connect().await)
        .await
        .unwrap();
    assert_eq!(settled, 1);
}

#[tokio::test]
async fn what_is_not_signed_by_the_provider_is_not_listened_to() {
    let waiting = Box::pin(Waiting::begin()).await;
    let client = waiting.bazaar.server.client();
    let body = waiting.paid("evt_1").to_string();
    let good = signed(&body, SECRET, Clock::real_now());
    let altered = body.replace(&PRICE.to_string(), &(PRICE + 1).to_string());
    assert_ne!(altered, body);
    let refused = [
        ("altered", ask(&client, PATH, &good, altered)),
        ("with one more blank", ask(&client, PATH, &good, format!("{body} "))),
        ("the wrong secret", ask(&client, PATH, &signed(&body, "whsec_of_somebody", Clock::real_now()), body.clone())),
        ("no secret", ask(&client, PATH, &signed(&body, "", Clock::real_now()), body.clone())),
        ("another time", ask(&client, PATH, &good.replace("t=", "t=1"), body.clone())),
        ("no time", ask(&client, PATH, good.split_once(',').unwrap().1, body.clone())),
        ("no signature", ask(&client, PATH, good.split_once(',').unwrap().0, body.clone())),
        ("another scheme", ask(&client, PATH, &good.replace("v1=", "v0="), body.clone())),
        ("nothing", ask(&client, PATH, "", body.clone())),
        ("rubbish", ask(&client, PATH, "t=1,v1=zz,,=", body.clone())),
        ("no body", ask(&client, PATH, &good, "")),
    ];
    for (what, ask) in refused {
        eprintln!("{what}");
        waiting.expect_unheard(ask, 403, "webhook-not-accepted").await;
    }
    let unsigned = client.ask(&reqwest::Method::POST, &format!("/api/v1{PATH}")).raw("application/json", body.clone());
    waiting.expect_unheard(unsigned, 403, "webhook-not-accepted").await;
    // An account's token makes nobody a provider.
    let header = signed(&body, "whsec_of_somebody", Clock::real_now());
    waiting.expect_unheard(ask(&waiting.bazaar.staff, PATH, &header, body), 403, "webhook-not-accepted").await;
    waiting.expect_unpaid().await;
}

#[tokio::test]
async fn what_was_signed_more_than_five_minutes_from_now_is_not_listened_to() {
    let waiting = Box::pin(Waiting::begin()).await;
    let (client, body) = (waiting.bazaar.server.client(), waiting.paid("evt_1").to_string());
    // A few seconds may pass on the way, in one direction only.
    for off_s in [-86_400, -301, 320, 86_400] {
        let header = signed(&body, SECRET, Clock::real_now() + TimeDelta::seconds(off_s));
        waiting.expect_unheard(ask(&client, PATH, &header, body.clone()), 403, "webhook-not-accepted").await;
    }
    waiting.expect_unpaid().await;
    let header = signed(&body, SECRET, Clock::real_now() - TimeDelta::seconds(240));
    ask(&client, PATH, &header, body).send().await.expect(200);
    waiting.expect_paid().await;
}

/// The sandbox's clock may be far ahead: what is stale is told by real time.
#[tokio::test]
async fn a_clock_that_was_set_forward_makes_nothing_stale() {
    let waiting = Box::pin(Waiting::begin()).await;
    waiting.deliver(&waiting.paid("evt_1")).await.expect(200);
    waiting.bazaar.wait(86_400_000).await;
    let head = waiting.head().await;
    waiting.deliver(&waiting.paid("evt_1")).await.expect(200);
    assert_eq!(waiting.head().await, head);
    waiting.expect_paid().await;
}

#[tokio::test]
async fn nobody_is_a_provider_that_this_marketplace_does_not_have() {
    let waiting = Box::pin(Waiting::begin()).await;
    let (client, body) = (waiting.bazaar.server.client(), waiting.paid("evt_1").to_string());
    let header = signed(&body, SECRET, Clock::real_now());
    for provider in ["paypal", "SANDBOX", "sandbox%20", "..%2fsandbox", "stripe"] {
        let path = format!("/payments/webhooks/{provider}");
        let head = waiting.head().await;
        let answer = ask(&client, &path, &header, body.clone()).send().await;
        assert!([400, 404].contains(&answer.status), "{provider}: {} {}", answer.status, answer.text);
        assert_eq!(answer.problem_fault(), None);
        assert_eq!(waiting.head().await, head);
    }
    waiting.expect_unpaid().await;
}

#[tokio::test]
async fn what_is_signed_and_cannot_be_read_is_refused() {
    let waiting = Box::pin(Waiting::begin()).await;
    let client = waiting.bazaar.server.client();
    let good = waiting.paid("evt_1");
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body.to_string()
    };
    let bodies = [
        "not JSON".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        "\"\\ud800\"".to_owned(),
        with("news", json!({ "type": "charge.succeeded", "amount": "105.00" })),
        with("news", json!({ "type": "charge.succeeded", "amount": { "amount": 1.5, "currency": "USD" } })),
        with("news", json!({ "type": "charge.succeeded", "amount": { "amount": PRICE, "currency": "USDX" } })),
        with("news", json!({ "type": "charge.stolen" })),
        with("amount", usd(PRICE)),
        with("operation", json!("not an id")),
        with("at", json!("yesterday")),
        "[".repeat(100_000),
    ];
    for body in bodies {
        let header = signed(&body, SECRET, Clock::real_now());
        waiting.expect_unheard(ask(&client, PATH, &header, body), 403, "webhook-not-accepted").await;
    }
    waiting.expect_unpaid().await;
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let waiting = Box::pin(Waiting::begin()).await;
    let client = waiting.bazaar.server.client();
    let mut large = waiting.paid("evt_1");
    large["padding"] = json!("x".repeat(1_100_000));
    let body = large.to_string();
    let header = signed(&body, SECRET, Clock::real_now());
    waiting.expect_unheard(ask(&client, PATH, &header, body), 413, "too-large").await;
    waiting.expect_unpaid().await;
}

#[tokio::test]
async fn what_comes_late_or_in_the_wrong_order_changes_nothing_that_has_ended() {
    let waiting = Box::pin(Waiting::begin()).await;
    waiting.deliver(&waiting.paid("evt_1")).await.expect(200);
    let head = waiting.head().await;
    let late = [
        waiting.failed("evt_2"),
        waiting.message("evt_3", &json!({ "type": "charge.action_required" })),
        waiting.message("evt_6", &json!({ "type": "refund.succeeded" })),
        waiting.message("evt_7", &json!({ "type": "payout.paid" })),
        waiting.message("evt_8", &json!({ "type": "payout.failed", "reason": "The bank is closed." })),
        waiting.message("evt_9", &json!({ "type": "merchant.changed", "payouts": false })),
    ];
    for message in late {
        waiting.deliver(&message).await.expect(200);
    }
    assert_eq!(waiting.head().await, head);
    waiting.expect_paid().await;
}

#[tokio::test]
async fn another_amount_than_was_asked_for_pays_nothing() {
    for amount in [usd(PRICE - 1), usd(PRICE + 1), json!({ "amount": PRICE, "currency": "EUR" })] {
        let waiting = Box::pin(Waiting::begin()).await;
        let news = json!({ "type": "charge.succeeded", "amount": amount });
        let answer = waiting.deliver(&waiting.message("evt_1", &news)).await;
        answer.problem(422, "amount-differs");
        waiting.expect_unpaid().await;
        assert_eq!(waiting.bazaar.book("escrow").await, 0);
    }
}

#[tokio::test]
async fn what_nobody_has_asked_for_is_nothing() {
    let waiting = Box::pin(Waiting::begin()).await;
    let stranger = "00000000-0000-4000-8000-000000000001";
    let head = waiting.head().await;
    for (number, news) in [
        json!({ "type": "charge.succeeded", "amount": usd(1_000_000) }),
        json!({ "type": "refund.succeeded" }),
        json!({ "type": "payout.failed", "reason": "Closed." }),
    ]
    .iter()
    .enumerate()
    {
        let message = message(&format!("evt_{number}"), stranger, "ch_nobody", news);
        waiting.deliver(&message).await.expect(200);
    }
    // It may be about something that was not heard of yet, so it is to come again.
    for kind in ["dispute.opened", "dispute.won", "dispute.lost"] {
        let mut news = json!({ "type": kind, "dispute": "dp_1" });
        if kind == "dispute.opened" {
            news["amount"] = usd(1);
            news["reason"] = json!("fraudulent");
        }
        waiting.deliver(&message(kind, stranger, "ch_nobody", &news)).await.expect(404);
    }
    assert_eq!(waiting.head().await, head);
    waiting.expect_unpaid().await;
}

/// Of two disputes, one ends before it is heard that it was opened.
#[tokio::test]
async fn a_dispute_takes_and_brings_money_once_in_whichever_order_its_messages_come() {
    let opened = json!({ "type": "dispute.opened", "dispute": "dp_1", "amount": usd(PRICE), "reason": "fraudulent" });
    let ended = |how: &str| json!({ "type": format!("dispute.{how}"), "dispute": "dp_1" });
    for (how, escrow, first) in
        [("won", "funded", true), ("won", "funded", false), ("lost", "refunded", true), ("lost", "refunded", false)]
    {
        let waiting = Box::pin(Waiting::begin()).await;
        waiting.deliver(&waiting.paid("evt_1")).await.expect(200);
        let (opened, ended) = (waiting.message("evt_2", &opened), waiting.message("evt_3", &ended(how)));
        let both = if first { [&opened, &ended] } else { [&ended, &opened] };
        for message in [both[0], both[0], both[1], both[1], both[0]] {
            waiting.deliver(message).await.expect(200);
        }
        assert_eq!(waiting.statuses().await.1, escrow, "{how} {first}");
        let left = if how == "won" { PRICE } else { 0 };
        assert_eq!(waiting.bazaar.book("escrow").await, left, "{how} {first}");
        assert_eq!(waiting.bazaar.book("chargeback-expense").await, 0, "{how} {first}");
    }
}

/// A secret that is replaced holds as long as it is told.
#[tokio::test]
async fn each_of_several_secrets_is_good() {
    let waiting = Box::pin(Waiting::begin()).await;
    let (client, body) = (waiting.bazaar.server.client(), waiting.paid("evt_1").to_string());
    let header = signed(&body, "whsec_that_was_used_before", Clock::real_now());
    ask(&client, PATH, &header, body).send().await.expect(200);
    waiting.expect_paid().await;
}

#[tokio::test]
async fn without_a_secret_no_webhooks_are_taken() {
    let bazaar = Bazaar::open().await;
    let body = message("evt_1", "00000000-0000-4000-8000-000000000001", "ch_1", &json!({ "type": "refund.succeeded" }));
    for secret in ["", "whsec_of_somebody"] {
        let header = signed(&body.to_string(), secret, Clock::real_now());
        ask(&bazaar.server.client(), PATH, &header, body.to_string()).send().await.problem(404, "not-found");
    }
}
