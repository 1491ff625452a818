//! `tradepost reconcile` names every difference between a provider's records and the ledger, and nothing else.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Output;

use api::config::Config;
use chrono::{DateTime, Days, NaiveDate, Utc};
use eventstore::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tradepost_tests::bazaar::{Bazaar, order_of};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::listing;
use tradepost_tests::provider::{self, Fault, Provider};
use tradepost_tests::server::{InProcess, tradepost};

/// A line of an export.
#[derive(Clone)]
struct Line {
    kind: &'static str,
    reference: String,
    operation: String,
    amount: i64,
    currency: &'static str,
    fee: i64,
    at: DateTime<Utc>,
}

/// A marketplace in which money has moved today, and what the sandbox would tell of it.
struct Moved {
    server: InProcess,
    folder: TempDir,
    today: NaiveDate,
    lines: Vec<Line>,
}

fn operation(begun: &Answer) -> String {
    begun.body["id"].as_str().unwrap().to_owned()
}

async fn deposit(ann: &Client, minor: i64, currency: &str) -> String {
    let body = json!({ "amount": { "amount": minor, "currency": currency }, "payment_method": "sandbox-succeeds" });
    operation(&ann.post("/payments/deposit", &body).send().await.expect(202))
}

impl Moved {
    async fn open() -> Self {
        let server = InProcess::start().await;
        let ann = server.client().register("ann").await;
        let at = ann.now().await;
        let line = |kind, prefix: &str, operation: String, amount, currency| Line {
            kind,
            reference: format!("{prefix}_{}", operation.replace('-', "")),
            operation,
            amount,
            currency,
            fee: 0,
            at,
        };
        let mut lines = vec![
            line("charge", "ch", deposit(&ann, 5_000, "USD").await, 5_000, "USD"),
            line("charge", "ch", deposit(&ann, 700, "JPY").await, 700, "JPY"),
        ];
        // Moves nothing, so the provider tells nothing of it.
        ann.deposit(900, "sandbox-declines").await.expect(202);
        ann.advance(0).await;
        let paid = operation(&ann.withdraw(1_000, "sandbox-succeeds").await.expect(202));
        lines.push(line("payout", "po", paid, -1_000, "USD"));
        ann.withdraw(1_000, "sandbox-declines").await.expect(202);
        ann.advance(0).await;
        let folder = TempDir::new().or_fail("make a folder");
        Self { server, folder, today: at.date_naive(), lines }
    }

    fn write(&self, lines: &[Line]) -> PathBuf {
        let mut text = "kind,reference,operation,amount,currency,fee,at\n".to_owned();
        for Line { kind, reference, operation, amount, currency, fee, at } in lines {
            let at = at.to_rfc3339();
            writeln!(text, "{kind},{reference},{operation},{amount},{currency},{fee},{at}").unwrap();
        }
        let path = self.folder.path().join("export.csv");
        std::fs::write(&path, text).or_fail("write the export");
        path
    }

    /// Today and tomorrow, since midnight may be near.
    async fn reconcile(&self, more: &[&str]) -> Output {
        let (from, to) = (self.today.to_string(), (self.today + Days::new(1)).to_string());
        let days = ["reconcile", "--provider", "sandbox", "--from", &from, "--to", &to];
        let command = [&days[..], more].concat();
        tradepost(self.server.database.url(), &command).output().await.or_fail("run `tradepost reconcile`")
    }

    /// What is different, and in words.
    async fn differences(&self, lines: &[Line]) -> Vec<(String, String)> {
        let path = self.write(lines);
        let output = self.reconcile(&["--file", path.to_str().unwrap(), "--json"]).await;
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let text = |difference: &Value, name: &str| difference[name].as_str().unwrap().to_owned();
        let differences = report["differences"].as_array().unwrap();
        assert_eq!(report["summary"]["differences"], differences.len());
        assert_eq!(output.status.success(), differences.is_empty(), "the exit code tells too");
        differences.iter().map(|difference| (text(difference, "what"), text(difference, "text"))).collect()
    }

    /// The one difference that there is once a line is changed.
    async fn with(&self, index: usize, change: impl FnOnce(&mut Line)) -> (String, String) {
        let mut lines = self.lines.clone();
        change(&mut lines[index]);
        let [only] = self.differences(&lines).await.try_into().unwrap_or_else(|all| panic!("{all:#?}"));
        only
    }
}

#[tokio::test]
async fn what_is_the_same_on_both_sides_is_no_difference() {
    let moved = Moved::open().await;
    assert_eq!(moved.differences(&moved.lines).await, []);
    // Whether the provider knows our operation, or we its name, or only one of both.
    let nameless: Vec<_> = moved.lines.iter().cloned().map(|line| Line { operation: String::new(), ..line }).collect();
    assert_eq!(moved.differences(&nameless).await, []);
    let renamed: Vec<_> = moved.lines.iter().cloned().map(|line| Line { reference: "x".to_owned(), ..line }).collect();
    assert_eq!(moved.differences(&renamed).await, []);
    // What the provider does for itself is told, and is none.
    let mut more = moved.lines.clone();
    let own = Line { kind: "other", reference: "bank".to_owned(), amount: -4_000, ..more[0].clone() };
    more.push(Line { operation: String::new(), ..own });
    assert_eq!(moved.differences(&more).await, []);
    let output = moved.reconcile(&["--file", moved.folder.path().join("export.csv").to_str().unwrap()]).await;
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("3 movements at the provider, 3 in the ledger: no difference"), "{told}");
    assert!(told.contains("come to -40.00 USD"), "{told}");
}

#[tokio::test]
async fn every_difference_is_named() {
    let moved = Moved::open().await;
    let (what, text) = moved.with(0, |line| line.amount = 5_001).await;
    assert_eq!(what, "other_amount");
    assert!(text.contains("50.01 USD at the provider, 50.00 USD in the ledger"), "{text}");
    let (what, text) = moved.with(1, |line| line.currency = "KWD").await;
    assert_eq!(what, "other_currency");
    assert!(text.contains("0.700 KWD at the provider, 700 JPY in the ledger"), "{text}");
    let (what, text) = moved.with(0, |line| line.fee = 59).await;
    assert_eq!(what, "other_fee");
    assert!(text.contains("has kept 0.59 USD, and the ledger says nothing"), "{text}");
    let evening = (moved.today - Days::new(1)).and_hms_opt(23, 59, 59).unwrap().and_utc();
    let (what, text) = moved.with(2, |line| line.at = evening).await;
    assert_eq!(what, "other_day");
    assert!(text.contains("23:59:59 UTC at the provider"), "{text}");

    let without = moved.differences(&moved.lines[1..]).await;
    let [(what, text)] = without.try_into().unwrap();
    assert_eq!(what, "missing_there");
    assert!(text.contains(&moved.lines[0].operation) && text.contains("50.00 USD"), "{text}");
    // What was charged twice is there once too often, by whichever name.
    for reference in [moved.lines[0].reference.clone(), "ch_again".to_owned()] {
        let mut twice = moved.lines.clone();
        twice.push(Line { reference, ..moved.lines[0].clone() });
        let [(what, text)] = moved.differences(&twice).await.try_into().unwrap();
        assert_eq!(what, "missing_here");
        assert!(text.contains("which the ledger does not have"), "{text}");
    }
    // Nothing at all on that side.
    let all = moved.differences(&[]).await;
    assert_eq!(all.iter().filter(|(what, _)| what == "missing_there").count(), 3, "{all:?}");
    // A charge is no payout, whatever it is called.
    let (kind, amount) = ("refund", -5_000);
    let mut other = moved.lines.clone();
    other[0] = Line { kind, amount, ..other[0].clone() };
    let whats: Vec<_> = moved.differences(&other).await.into_iter().map(|(what, _)| what).collect();
    assert_eq!(whats.len(), 2, "{whats:?}");
}

impl Moved {
    /// Where a card has paid for two sellers at once, by one of the sandbox's tokens; and the charge of it.
    async fn by_card(token: &str) -> (Self, Line) {
        let bazaar = Bazaar::open().await;
        let other = bazaar.server.client().register_seller("other").await;
        let (one, two) = (bazaar.offer(1).await, other.offer(&listing(9_500)).await);
        let placed = bazaar.buyer.check_out(&[(&one, 1), (&two, 1)], "later").await.expect(201);
        let card = json!({ "payment_method": token });
        let pay = format!("/orders/{}/pay", order_of(&placed));
        bazaar.buyer.post(&pay, &card).send().await.expect(202);
        bazaar.wait(0).await;
        let today = bazaar.buyer.now().await.date_naive();
        let folder = TempDir::new().or_fail("make a folder");
        let mut moved = Self { server: bazaar.server, folder, today, lines: Vec::new() };
        moved.lines = moved.charges().await;
        let charge = moved.lines.last().unwrap().clone();
        assert_eq!(charge.amount, 20_000, "both orders as one");
        (moved, charge)
    }

    /// The charges that have succeeded, as the sandbox has answered.
    async fn charges(&self) -> Vec<Line> {
        let rows: Vec<(String, String, DateTime<Utc>)> = sqlx::query_as(
            "select aggregate_id, payload::text, recorded_at from events
             where event_type = 'ChargeSucceeded' order by position",
        )
        .fetch_all(&mut self.server.database.connect().await)
        .await
        .or_fail("read the charges");
        let line = |(operation, payload, at): (String, String, DateTime<Utc>)| {
            let payload: Value = serde_json::from_str(&payload).unwrap();
            let charge = &payload["ChargeSucceeded"];
            let parts = charge["applied"].as_array().unwrap();
            Line {
                kind: "charge",
                reference: charge["reference"].as_str().unwrap().to_owned(),
                operation,
                amount: parts.iter().map(|part| part["amount"]["amount"].as_i64().unwrap()).sum(),
                currency: "USD",
                fee: charge["fee"]["amount"].as_i64().unwrap_or(0),
                at,
            }
        };
        rows.into_iter().map(line).collect()
    }
}

#[tokio::test]
async fn a_card_that_pays_many_orders_is_one_movement_with_one_fee() {
    let (moved, charge) = Moved::by_card("sandbox-fees").await;
    assert_eq!(charge.fee, 580);
    assert_eq!(moved.differences(&moved.lines).await, []);
    let last = moved.lines.len() - 1;
    let (what, text) = moved.with(last, |line| line.fee = 0).await;
    assert_eq!(what, "other_fee");
    assert!(text.contains("has kept nothing, and the ledger says 5.80 USD"), "{text}");
    let (what, text) = moved.with(last, |line| line.amount = 10_500).await;
    assert_eq!(what, "other_amount");
    assert!(text.contains("105.00 USD at the provider, 200.00 USD in the ledger"), "{text}");
}

#[tokio::test]
async fn what_a_payer_gets_back_of_their_bank_is_found_by_the_providers_name_for_the_dispute() {
    let (moved, charge) = Moved::by_card("sandbox-disputes").await;
    let [(what, text)] = moved.differences(&moved.lines).await.try_into().unwrap();
    assert_eq!(what, "missing_there");
    assert!(text.starts_with("dispute ") && text.contains("-200.00 USD"), "{text}");
    let mut told = moved.lines.clone();
    let reference = charge.reference.replace("ch_", "dp_");
    told.push(Line { kind: "dispute", reference, operation: String::new(), amount: -20_000, ..charge });
    assert_eq!(moved.differences(&told).await, []);
}

#[tokio::test]
async fn more_than_fits_a_page_is_told_in_full() {
    let moved = Moved::open().await;
    let mut lines = moved.lines.clone();
    for number in 0..2_500 {
        let (reference, operation) = (format!("ch_{number}"), String::new());
        lines.push(Line { reference, operation, amount: number + 1, ..moved.lines[0].clone() });
    }
    let differences = moved.differences(&lines).await;
    assert_eq!(differences.len(), 2_500);
    assert!(differences.iter().all(|(what, _)| what == "missing_here"));
    // The same for people, a line each and one for all.
    let output = moved.reconcile(&["--file", moved.write(&lines).to_str().unwrap()]).await;
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.lines().filter(|line| line.starts_with("missing here")).count(), 2_500);
    assert!(told.ends_with("2503 movements at the provider, 3 in the ledger: 2500 differences\n"), "{told}");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are 2500 differences"));
}

#[tokio::test]
async fn what_cannot_be_compared_is_told_and_changes_nothing() {
    let moved = Moved::open().await;
    let head = moved.server.database.log_head().await;
    let refused = async |more: &[&str], why: &str| {
        let output = moved.reconcile(more).await;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && told.contains(why), "{more:?}: {told}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    refused(&[], "keeps no books").await;
    refused(&["--file", "no-such.csv"], "no-such.csv cannot be read").await;
    let path = moved.folder.path().join("export.csv");
    std::fs::write(&path, "kind,reference,amount,currency,at\ncharge,ch_1,19.99,USD,2026-11-01T00:00:00Z\n").unwrap();
    refused(&["--file", path.to_str().unwrap()], "line: 2").await;
    let url = moved.server.database.url();
    let command = ["reconcile", "--provider", "unknown", "--from", "2026-11-01", "--to", "2026-11-30"];
    let output = tradepost(url, &command).output().await.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("`unknown` is not a payment provider"), "{output:?}");
    // A name that is misspelt is no provider without a movement.
    let file = path.to_str().unwrap();
    std::fs::write(&path, "kind,reference,amount,currency,at\n").unwrap();
    let output = tradepost(url, &[&command[..], &["--file", file]].concat()).output().await.unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("`unknown` is not a payment provider"), "{output:?}");
    let command = ["reconcile", "--provider", "sandbox", "--from", "2026-11-30", "--to", "2026-11-01"];
    let output = tradepost(url, &command).output().await.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("is after"), "{output:?}");
    assert_eq!(moved.server.database.log_head().await, head);
    // Nothing of it stays in the database but for what ends with its session, and the wallet is what it was.
    let look = "select count(*) from pg_class where relname in ('told', 'booked') and relpersistence <> 't'";
    let left: i64 = sqlx::query_scalar(look).fetch_one(&mut moved.server.database.connect().await).await.unwrap();
    assert_eq!(left, 0);
    let ann = moved.server.client().login("ann").await;
    assert_eq!(ann.available(head).await, 4_000);
}

#[tokio::test]
async fn the_help_teaches_the_format_of_a_file() {
    let moved = Moved::open().await;
    let output = tradepost(moved.server.database.url(), &["reconcile", "--help"]).output().await.unwrap();
    let help = String::from_utf8_lossy(&output.stdout);
    for column in ["kind", "reference", "operation", "amount", "currency", "fee", "at"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(column)), "{column}: {help}");
    }
    assert!(help.contains("--margin-days"), "{help}");
}

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// A checkout that is not paid by then has expired.
const EXPIRED_MS: i64 = 20 * MINUTE_MS;

/// A marketplace at a provider that keeps books of its own, with one time for both.
struct Trade {
    bazaar: Bazaar,
    provider: Provider,
    /// The first day, which begins at noon: nothing happens about midnight.
    first: NaiveDate,
}

impl Trade {
    async fn open() -> Self {
        let provider = Provider::start().await;
        let settings = Config { stripe: provider.settings(), ..Config::default() };
        let bazaar = Bazaar::at(InProcess::start_with(settings).await).await;
        let now = bazaar.buyer.now().await;
        let first = now.date_naive() + Days::new(1);
        let noon = first.and_hms_opt(12, 0, 0).unwrap().and_utc();
        let trade = Self { bazaar, provider, first };
        trade.wait((noon - now).num_milliseconds()).await;
        trade
    }

    async fn wait(&self, ms: i64) {
        self.provider.wait(ms);
        self.bazaar.wait(ms).await;
        self.hear().await;
    }

    /// A day after the other: what is due meanwhile is asked for at the provider on the same day.
    async fn wait_days(&self, days: u32) {
        for _ in 0..days {
            self.wait(DAY_MS).await;
        }
    }

    /// What the provider has to tell is told and heard.
    async fn hear(&self) {
        self.tell(&self.provider.events()).await;
        self.bazaar.wait(0).await;
    }

    async fn tell(&self, events: &[Value]) {
        for event in events {
            let body = event.to_string();
            let signature = provider::signature(provider::WEBHOOK_SECRET, Clock::real_now().timestamp(), &body);
            let ask = self.bazaar.server.client().ask(&Method::POST, "/api/v1/payments/webhooks/stripe");
            ask.header("stripe-signature", &signature).raw("application/json", body).send().await.expect(200);
        }
    }

    /// What the provider calls the last thing of a kind that is about so much.
    fn named(&self, kind: &str, amount: i64) -> String {
        let moved = self.provider.moved(kind);
        moved.into_iter().rev().find(|moved| moved.amount == amount).or_fail("find it at the provider").id
    }

    /// Begins to pay an order of 105.00, until its bank wants to know who pays. Tells the payment.
    async fn buy(&self) -> String {
        let listing = self.bazaar.offer(1).await;
        let order = order_of(&self.bazaar.buyer.check_out(&[(&listing, 1)], "later").await.expect(201));
        let card = json!({ "payment_method": provider::ASKS });
        self.bazaar.buyer.post(&format!("/orders/{order}/pay"), &card).send().await.expect(202);
        self.bazaar.wait(0).await;
        self.named("payment_intent", 10_500)
    }

    /// The report of these days, counted from the first.
    async fn report(&self, from: u64, to: u64, more: &[&str]) -> Value {
        let day = |number| (self.first + Days::new(number)).to_string();
        let (from, to) = (day(from), day(to));
        let days = ["reconcile", "--json", "--provider", "stripe", "--from", &from, "--to", &to];
        let mut command = tradepost(self.bazaar.server.database.url(), &[&days[..], more].concat());
        command.env("TRADEPOST_STRIPE__API_KEY", provider::KEY);
        command.env("TRADEPOST_STRIPE__API_BASE", self.provider.address());
        let output = command.output().await.or_fail("run `tradepost reconcile`");
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(output.status.success(), report["differences"] == json!([]), "the exit code tells too");
        report
    }

    /// The only difference of all days, and in words.
    async fn only(&self) -> (String, String) {
        let report = self.report(0, 8, &[]).await;
        let [only] = report["differences"].as_array().unwrap().as_slice() else { panic!("{report:#}") };
        (only["what"].as_str().unwrap().to_owned(), only["text"].as_str().unwrap().to_owned())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_of_a_provider_are_asked_for_and_held_against_ours() {
    let trade = Trade::open().await;
    let (provider, seller) = (&trade.provider, &trade.bazaar.seller);
    // Deposits: one that is in at once, one that takes its time, and two that fail.
    for (amount, card) in
        [(20_000, provider::GOOD), (700, provider::SLOW), (500, provider::DECLINED), (900, provider::ASKS)]
    {
        seller.deposit(amount, card).await.expect(202);
    }
    trade.hear().await;
    provider.finish(&trade.named("payment_intent", 700));
    provider.refuse(&trade.named("payment_intent", 900));
    trade.hear().await;
    // A payment that comes too late goes back, comes from there again, and is sent once more.
    let late = trade.buy().await;
    trade.wait(EXPIRED_MS).await;
    provider.confirm(&late);
    trade.hear().await;
    provider.fail_refund(&trade.named("refund", 10_500));
    trade.hear().await;
    // A payment of which the dispute tells first.
    let disputed = trade.buy().await;
    provider.confirm(&disputed);
    let paid = provider.events();
    let dispute = provider.dispute(&disputed);
    trade.hear().await;
    trade.tell(&paid).await;
    // Payouts, in spite of the network.
    let merchant = provider.merchant();
    trade.hear().await;
    provider.next(Method::POST, "/v1/transfers", Fault::LoseAnswer);
    provider.next(Method::POST, "/v1/payouts", Fault::Fail);
    let arrives = operation(&seller.withdraw(3_000, &merchant).await.expect(202));
    for amount in [2_000, 1_500, 1_000] {
        seller.withdraw(amount, &merchant).await.expect(202);
    }
    for _ in 0..3 {
        trade.wait(MINUTE_MS).await;
    }
    // On the third day one fails; on the sixth two arrive, of which one comes back a day later; and one takes longer.
    trade.wait_days(2).await;
    provider.return_payout(&trade.named("payout", 2_000));
    trade.hear().await;
    trade.wait_days(3).await;
    provider.pay(&trade.named("payout", 3_000));
    provider.pay(&trade.named("payout", 1_500));
    trade.hear().await;
    trade.wait_days(1).await;
    provider.return_payout(&trade.named("payout", 1_500));
    provider.close_dispute(&dispute, "won");
    trade.hear().await;
    assert_eq!((provider.moved("refund").len(), provider.moved("transfer_reversal").len()), (2, 2));

    let report = trade.report(0, 8, &[]).await;
    assert_eq!(report["differences"], json!([]), "{report:#}");
    let under_way = json!([{ "currency": "USD", "records": 1, "amount": -1_000 }]);
    assert_eq!(report["summary"]["under_way"], under_way, "{report:#}");
    // Four charges, two refunds and what came back of one, two payouts and what came back of one, a dispute and its end.
    assert_eq!((&report["summary"]["there"], &report["summary"]["here"]), (&json!(12), &json!(12)), "{report:#}");
    for day in [0, 1, 2, 5, 6] {
        for margin in ["3", "0"] {
            let report = trade.report(day, day, &["--margin-days", margin]).await;
            assert_eq!(report["differences"], json!([]), "day {day}, margin {margin}: {report:#}");
        }
    }

    // Whatever is not the same is named.
    let transfer = trade.named("transfer", 3_000);
    provider.falsify(&transfer, -3_100);
    let (what, text) = trade.only().await;
    assert_eq!(what, "other_amount");
    assert!(text.contains(&arrives) && text.contains("-31.00 USD at the provider, -30.00 USD in the ledger"), "{text}");
    provider.falsify(&transfer, -3_000);
    let under_way = trade.named("transfer", 1_000);
    provider.falsify(&under_way, -1_001);
    let (what, text) = trade.only().await;
    assert_eq!(what, "missing_here");
    assert!(text.contains(&under_way), "{text}");
    provider.falsify(&under_way, -1_000);
    provider.lose_lines(&dispute);
    let report = trade.report(0, 8, &[]).await;
    let whats: Vec<_> =
        report["differences"].as_array().unwrap().iter().map(|difference| &difference["kind"]).collect();
    assert_eq!(whats, ["dispute", "dispute_reversed"], "{report:#}");
    provider.lose_lines(&transfer);
    let report = trade.report(0, 8, &[]).await;
    assert_eq!(report["differences"].as_array().unwrap().len(), 3, "{report:#}");
    assert!(report["differences"].to_string().contains(&arrives), "{report:#}");
}
