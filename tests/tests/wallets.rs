//! Money in and out through the sandbox's payment methods, and the books.

use serde_json::{Value, json};
use tradepost_tests::bazaar::staff;
use tradepost_tests::client::Client;
use tradepost_tests::market::usd;
use tradepost_tests::server::InProcess;

async fn transactions(client: &Client, since: i64) -> Vec<Value> {
    let page = client.get("/payments/transactions?limit=100").since(since).send().await.expect(200).body;
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_deposit_is_available_once_the_provider_says_so() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let begun = ann.deposit(5_000, "sandbox-succeeds").await.expect(202);
    assert_eq!((&begun.body["status"], &begun.body["available"]), (&json!("pending"), &usd(0)));
    let settled = ann.advance(0).await;
    assert_eq!(ann.available(settled).await, 5_000);
    let [only] = transactions(&ann, settled).await.try_into().unwrap();
    assert_eq!(
        (&only["id"], &only["kind"], &only["status"]),
        (&begun.body["id"], &json!("deposit"), &json!("succeeded"))
    );
    assert_eq!((&only["amount"], &only["balance_after"]), (&usd(5_000), &usd(5_000)));
    // Where it came from, and not by what: whoever has a token can charge what it names.
    assert_eq!(only["provider"], "sandbox");
    assert!(!only.to_string().contains("sandbox-succeeds"), "{only}");
}

#[tokio::test]
async fn a_declined_deposit_moves_nothing() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.deposit(5_000, "sandbox-declines").await.expect(202);
    let told = ann.advance(0).await;
    assert_eq!(ann.available(told).await, 0);
    let [only] = transactions(&ann, told).await.try_into().unwrap();
    assert_eq!((&only["status"], &only["failure"]), (&json!("failed"), &json!("the card has insufficient funds")));
}

#[tokio::test]
async fn a_delayed_deposit_arrives_when_its_time_has_come() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.deposit(5_000, "sandbox-delays").await.expect(202);
    let waiting = ann.advance(0).await;
    assert_eq!(ann.available(waiting).await, 0);
    assert_eq!(transactions(&ann, waiting).await[0]["status"], "pending");
    let settled = ann.advance(10_000).await;
    assert_eq!(ann.available(settled).await, 5_000);
    let after = ann.advance(86_400_000).await;
    assert_eq!(after, settled, "something happened again");
}

#[tokio::test]
async fn a_withdrawal_leaves_at_once_and_comes_back_if_the_bank_refuses() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.fund(10_000).await;
    let refused = ann.withdraw(10_001, "sandbox-succeeds").await.problem(422, "insufficient-funds");
    assert_eq!((&refused.body["available"], &refused.body["requested"]), (&usd(10_000), &usd(10_001)));

    let begun = ann.withdraw(4_000, "sandbox-delays").await.expect(202);
    assert_eq!(begun.body["available"], usd(6_000));
    let wallet = ann.get("/wallet").since(begun.at()).send().await.expect(200).body;
    assert_eq!(wallet["balances"][0]["payout_pending"], usd(4_000));
    ann.withdraw(1_000, "sandbox-declines").await.expect(202);
    let told = ann.advance(10_000).await;
    let wallet = ann.get("/wallet").since(told).send().await.expect(200).body;
    let nothing = usd(0);
    let balance = json!({
        "currency": "USD", "available": usd(6_000), "held": nothing, "payout_pending": nothing, "owed": nothing,
    });
    assert_eq!(wallet["balances"], json!([balance]));
    let failed = transactions(&ann, told).await.into_iter().find(|row| row["status"] == "failed").unwrap();
    assert_eq!(failed["failure"], "the bank account is closed");
}

#[tokio::test]
async fn the_statement_adds_up_to_the_balance() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    for cents in [1_000, 2_500, 400] {
        ann.fund(cents).await;
    }
    ann.withdraw(1_200, "sandbox-succeeds").await.expect(202);
    ann.withdraw(300, "sandbox-declines").await.expect(202);
    let position = ann.advance(0).await;
    let rows = transactions(&ann, position).await;
    let cents = |value: &Value| value["amount"].as_i64().unwrap();
    // Newest first; each row shows what was available right after it.
    let mut running = 0;
    for row in rows.iter().rev().filter(|row| row["status"] == "succeeded") {
        running += cents(&row["amount"]);
        assert_eq!(cents(&row["balance_after"]), running, "{row}");
    }
    assert_eq!((running, rows.len()), (2_700, 5));
    assert_eq!(ann.available(position).await, 2_700);
    let deposits = ann.get("/payments/transactions?kind=deposit&limit=2").since(position).send().await.expect(200).body;
    assert_eq!(deposits["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn currencies_are_kept_apart() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    ann.fund(500).await;
    let yen = json!({ "amount": { "amount": 700, "currency": "JPY" } });
    ann.post("/payments/deposit", &yen).send().await.expect(202);
    let position = ann.advance(0).await;
    let wallet = ann.get("/wallet").since(position).send().await.expect(200).body;
    let balances: Vec<_> = wallet["balances"].as_array().unwrap().iter().map(|b| b["available"].clone()).collect();
    assert_eq!(balances, [json!({ "amount": 700, "currency": "JPY" }), usd(500)]);
    ann.post("/payments/withdraw", &json!({ "amount": { "amount": 701, "currency": "JPY" } }))
        .send()
        .await
        .problem(422, "insufficient-funds");
}

#[tokio::test]
async fn debits_equal_credits_in_every_currency() {
    let server = InProcess::start().await;
    let staff = staff(&server, "staff").await;
    for (name, cents) in [("ann", 1_000), ("bob", 2_000)] {
        let client = server.client().register(name).await;
        client.fund(cents).await;
        client.withdraw(cents / 2, "sandbox-succeeds").await.expect(202);
        client.withdraw(cents / 4, "sandbox-delays").await.expect(202);
    }
    let position = staff.advance(0).await;
    let balance = staff.get("/admin/trial-balance").since(position).send().await.expect(200).body;
    assert_eq!(balance["balanced"], true);
    let [dollars] = balance["currencies"].as_array().unwrap().as_slice() else { panic!("{balance}") };
    assert_eq!((&dollars["currency"], &dollars["difference"]), (&json!("USD"), &json!("0")));
    assert_eq!(dollars["debits"], dollars["credits"]);
    let of_kind = |kind: &str| {
        let kinds = dollars["accounts"].as_array().unwrap();
        kinds.iter().find(|totals| totals["kind"] == kind).unwrap_or_else(|| panic!("{kind}: {balance}"))["balance"]
            .clone()
    };
    assert_eq!(of_kind("available"), json!("750"));
    assert_eq!(of_kind("payout-pending"), json!("750"));
    assert_eq!(of_kind("provider-clearing"), json!("-1500"));
    let models = staff.get("/admin/projections").since(position).send().await.expect(200).body;
    assert!(models["items"].as_array().unwrap().iter().any(|model| model["name"] == "ledger"));
    let buyer = server.client().login("ann").await;
    let refused = buyer.get("/admin/trial-balance").send().await.problem(403, "missing-capability");
    assert_eq!(refused.body["needed"], "staff");
}

#[tokio::test]
async fn the_trial_balance_of_any_commit_stays_what_it_was() {
    let server = InProcess::start().await;
    let staff = staff(&server, "staff").await;
    let ann = server.client().register("ann").await;
    let first = ann.fund(1_000).await;
    let then = staff.get("/admin/trial-balance").since(first).send().await.expect(200).body;
    assert_eq!((&then["as_of"], &then["currencies"][0]["debits"]), (&Value::Null, &json!("1000")));
    ann.withdraw(400, "sandbox-succeeds").await.expect(202);
    ann.fund(50).await;
    let head = staff.advance(0).await;
    let as_of = async |position: i64| {
        let answer = staff.get(&format!("/admin/trial-balance?as_of={position}")).send().await.expect(200).body;
        assert_eq!((&answer["as_of"], &answer["balanced"]), (&json!(position), &json!(true)));
        answer["currencies"].clone()
    };
    assert_eq!(as_of(first).await, then["currencies"]);
    assert_eq!(as_of(0).await, json!([]));
    let now = staff.get("/admin/trial-balance").since(head).send().await.expect(200).body;
    assert_eq!(as_of(head).await, now["currencies"]);
    assert_ne!(now["currencies"], then["currencies"]);
    // A time does as well; what is still to come is not told.
    let ever = staff.get("/admin/trial-balance?as_of=1999-12-31T00:00:00Z").send().await.expect(200).body;
    assert_eq!((&ever["as_of"], &ever["currencies"]), (&json!(0), &json!([])));
    let ahead = format!("/admin/trial-balance?as_of={}", head + 1_000);
    staff.get(&ahead).send().await.problem(422, "as-of-in-the-future");
    for bad in ["-1", "x", "9223372036854775808"] {
        staff.get(&format!("/admin/trial-balance?as_of={bad}")).send().await.problem(422, "invalid-field");
    }
    ann.get("/admin/trial-balance?as_of=1").send().await.problem(403, "missing-capability");
}
