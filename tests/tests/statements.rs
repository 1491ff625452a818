//! Statements: what somebody's wallets held before and after a month, everything between, and the fees, in three forms.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::usd;

fn month_of(time: DateTime<Utc>) -> String {
    time.format("%Y-%m").to_string()
}

fn first_day(time: DateTime<Utc>) -> NaiveDate {
    time.date_naive().with_day(1).or_fail("find the first day")
}

/// Goes to the second day of the next month, and names the month: whatever happens within the next weeks is in it.
async fn next_month(client: &Client) -> String {
    let now = client.now().await;
    let second = (first_day(now) + Months::new(1))
        .with_day(2)
        .or_fail("find the second day")
        .and_time(chrono::NaiveTime::MIN)
        .and_utc();
    client.advance((second - now).num_milliseconds()).await;
    month_of(client.now().await)
}

/// A statement, once everything up to now shows.
async fn statement(client: &Client, month: &str, query: &str) -> Answer {
    let now = client.advance(0).await;
    client.get(&format!("/statements/{month}{query}")).since(now).send().await.expect(200)
}

/// The only summary.
fn summary(statement: &Value) -> &Value {
    let [summary] = statement["currencies"].as_array().map_or(&[] as &[Value], Vec::as_slice) else {
        panic!("{statement}")
    };
    summary
}

#[tokio::test]
async fn a_month_ends_with_what_the_next_begins_with_and_says_whether_it_is_over() {
    let bazaar = Bazaar::open().await;
    let month = next_month(&bazaar.seller).await;
    bazaar.complete().await;
    bazaar.seller.withdraw(290, "sandbox-succeeds").await.expect(202);
    let running = statement(&bazaar.seller, &month, "").await;
    assert_eq!(running.header("cache-control"), Some("private, no-cache"));
    let running = running.body;
    assert_eq!((&running["complete"], &running["month"]), (&json!(false), &json!(month)));
    let dollars = summary(&running);
    assert_eq!((&dollars["opening"]["available"], &dollars["closing"]["available"]), (&usd(0), &usd(10_000)));
    assert_eq!((&dollars["came"], &dollars["went"], &dollars["fees"]), (&json!("10290"), &json!("290"), &json!("210")));
    let kinds: Vec<&str> =
        running["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sale_received", "withdrawal_requested", "withdrawal_paid"]);
    let sale = &running["items"][0];
    assert_eq!((&sale["amount"], &sale["gross"], &sale["fee"]), (&usd(10_290), &usd(10_500), &usd(210)));
    let asked = &running["items"][1];
    assert_eq!((&asked["amount"], &asked["after"]["payout_pending"]), (&usd(-290), &usd(290)));
    assert_eq!((&running["items"][2]["amount"], &running["items"][2]["after"]["payout_pending"]), (&usd(0), &usd(0)));

    let next = next_month(&bazaar.seller).await;
    let over = statement(&bazaar.seller, &month, "").await.body;
    assert_eq!((&over["complete"], &over["items"]), (&json!(true), &running["items"]));
    assert_eq!(summary(&over)["closing"], summary(&running)["closing"]);
    let following = statement(&bazaar.seller, &next, "").await.body;
    assert_eq!(summary(&following)["opening"], summary(&over)["closing"]);
    assert_eq!((&following["complete"], &following["items"]), (&json!(false), &json!([])));
    // A refund in the next month is of that month, and leaves the one before as it is.
    let order = sale["order_id"].as_str().unwrap();
    let body = json!({ "amount": usd(1_050) });
    bazaar.seller.post(&format!("/orders/{order}/refund"), &body).send().await.expect(200);
    let following = statement(&bazaar.seller, &next, "").await.body;
    let given = &following["items"][0];
    assert_eq!((&given["kind"], &given["amount"]), (&json!("refund_given"), &usd(-1_029)));
    assert_eq!(
        (&given["gross"], &given["fee"], &summary(&following)["fees"]),
        (&usd(-1_050), &usd(-21), &json!("-21"))
    );
    assert_eq!(statement(&bazaar.seller, &month, "").await.body["currencies"], over["currencies"]);
}

#[tokio::test]
async fn movements_come_in_pages_currency_by_currency() {
    let bazaar = Bazaar::open().await;
    let month = next_month(&bazaar.buyer).await;
    let yen = json!({ "amount": { "amount": 700, "currency": "JPY" } });
    for _ in 0..3 {
        bazaar.buyer.post("/payments/deposit", &yen).send().await.expect(202);
        bazaar.buyer.fund(100).await;
    }
    let whole = statement(&bazaar.buyer, &month, "?limit=100").await.body;
    assert_eq!(whole["next_cursor"], Value::Null);
    let codes: Vec<&Value> = whole["currencies"].as_array().unwrap().iter().map(|one| &one["currency"]).collect();
    assert_eq!(codes, ["JPY", "USD"]);
    assert_eq!(whole["currencies"][1]["opening"]["available"], usd(100_000), "from the month before");
    let (mut items, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = statement(&bazaar.buyer, &month, &query).await.body;
        items.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!((items.len(), &json!(items)), (6, &whole["items"]));
}

#[tokio::test]
async fn the_table_and_the_page_have_all_of_it_in_decimals() {
    let bazaar = Bazaar::open().await;
    let month = next_month(&bazaar.seller).await;
    let order = bazaar.complete().await;
    let yen = json!({ "amount": { "amount": 700, "currency": "JPY" } });
    bazaar.seller.post("/payments/deposit", &yen).send().await.expect(202);
    let table = statement(&bazaar.seller, &month, "?format=csv").await;
    assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"));
    let file = format!("attachment; filename=\"statement-{month}.csv\"");
    assert_eq!(table.header("content-disposition"), Some(&*file));
    let rows: Vec<Vec<&str>> = table.text.lines().map(|row| row.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{}", table.text);
    let column = |name: &str| rows[0].iter().position(|column| *column == name).unwrap();
    let whats: Vec<&str> = rows[1..].iter().map(|row| row[column("what")]).collect();
    let expected =
        ["opening_balance", "deposit_settled", "balance_so_far", "opening_balance", "sale_received", "balance_so_far"];
    assert_eq!(whats, expected);
    assert_eq!((rows[2][column("amount")], rows[2][column("currency")]), ("700", "JPY"));
    let sale = &rows[5];
    assert_eq!((sale[column("order")], sale[column("amount")], sale[column("gross")]), (&*order, "102.90", "105.00"));
    assert_eq!((sale[column("fee")], rows[6][column("available")], rows[6][column("fee")]), ("2.10", "102.90", "2.10"));

    let page = statement(&bazaar.seller, &month, "?format=html").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    for part in ["This month is not over", "<h2>JPY</h2>", "<h2>USD</h2>", "102.90", "Balance so far", "</html>"] {
        assert!(page.text.contains(part), "{part} in {}", page.text);
    }
    assert!(!page.text.contains("<script") && !page.text.contains("http"), "{}", page.text);
    next_month(&bazaar.seller).await;
    let page = statement(&bazaar.seller, &month, "?format=html").await;
    assert!(!page.text.contains("not over") && page.text.contains("Balance after"), "{}", page.text);
    let table = statement(&bazaar.seller, &month, "?format=csv").await;
    assert!(table.text.contains(",closing_balance,") && !table.text.contains("so_far"), "{}", table.text);
}

#[tokio::test]
async fn a_long_table_is_sent_whole() {
    let bazaar = Bazaar::open().await;
    let month = next_month(&bazaar.buyer).await;
    // More than are read at once.
    let listing = bazaar.offer(600).await;
    for _ in 0..6 {
        bazaar.buyer.fund(1_100_000).await;
    }
    let order = async || drop(bazaar.buyer.check_out(&[(&listing, 1)], "now").await.expect(201));
    for _ in 0..52 {
        let ten = [(); 10].map(|()| order());
        futures::future::join_all(ten).await;
    }
    let table = statement(&bazaar.buyer, &month, "?format=csv").await;
    assert_eq!(table.text.lines().filter(|row| row.contains(",payment_made,")).count(), 520);
    let last = table.text.lines().last().unwrap();
    assert!(last.contains(",balance_so_far,"), "{last}");
}

#[tokio::test]
async fn the_form_is_what_is_asked_for_by_name_or_else_by_accept() {
    let bazaar = Bazaar::open().await;
    let month = month_of(bazaar.buyer.now().await);
    let path = format!("/statements/{month}");
    for (accept, query, expected) in [
        ("*/*", "", "application/json"),
        ("text/csv", "", "text/csv; charset=utf-8"),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", "", "text/html; charset=utf-8"),
        ("text/csv", "?format=json", "application/json"),
        ("application/json", "?format=html", "text/html; charset=utf-8"),
        ("image/png", "", "application/json"),
    ] {
        let answer = bazaar.buyer.get(&format!("{path}{query}")).header("accept", accept).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some(expected), "{accept} {query}");
        assert!(answer.header("vary").is_some_and(|names| names.contains("Accept")), "{accept} {query}");
    }
    bazaar.buyer.get(&format!("{path}?format=pdf")).send().await.problem(422, "invalid-field");
    bazaar.buyer.get(&format!("{path}?limit=0")).send().await.problem(422, "invalid-field");
}

#[tokio::test]
async fn there_is_no_statement_of_what_is_no_month_or_has_not_begun_and_of_nothing_an_empty_one() {
    let bazaar = Bazaar::open().await;
    let now = bazaar.buyer.now().await;
    let next = month_of((first_day(now) + Months::new(1)).and_time(chrono::NaiveTime::MIN).and_utc());
    for month in [next.as_str(), "2026-13", "2026-1", "november", "2026-01-01", "2999-12"] {
        bazaar.buyer.get(&format!("/statements/{month}")).send().await.problem(404, "not-found");
    }
    let empty = statement(&bazaar.buyer, "2020-02", "").await.body;
    assert_eq!((&empty["complete"], &empty["currencies"], &empty["items"]), (&json!(true), &json!([]), &json!([])));
    assert_eq!((&empty["from"], &empty["until"]), (&json!("2020-02-01T00:00:00Z"), &json!("2020-03-01T00:00:00Z")));
    let newcomer = bazaar.server.client().register("newcomer").await;
    let page = statement(&newcomer, &month_of(now), "?format=html").await;
    assert!(page.text.contains("No money has moved"), "{}", page.text);
    bazaar.server.client().get("/statements/2026-01").send().await.problem(401, "unauthenticated");
}
