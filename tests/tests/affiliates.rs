//! Affiliates earn with what those buy who come by their links: a share when it is paid, which is theirs when the seller is
//! paid, and goes with what the buyer gets back.

use api::config::Config;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of};
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::market::{listing, usd, with};
use tradepost_tests::server::InProcess;

/// Of 105.00, five per cent.
const COMMISSION: i64 = 525;

/// A marketplace with an affiliate, and its code.
async fn open() -> (Bazaar, Client, String) {
    opened(InProcess::start().await).await
}

async fn opened(server: InProcess) -> (Bazaar, Client, String) {
    let bazaar = Bazaar::at(server).await;
    let affiliate = bazaar.server.client().register("affiliate").await;
    let code = enrol(&affiliate).await;
    (bazaar, affiliate, code)
}

async fn enrol(client: &Client) -> String {
    let enrolled = client.post("/affiliate", &json!({})).send().await.expect(201);
    assert_eq!(enrolled.header("location"), Some("/api/v1/affiliate"));
    enrolled.body["code"].as_str().unwrap().to_owned()
}

async fn click(client: &Client, code: &str) -> Answer {
    client.post("/affiliate/clicks", &json!({ "code": code })).send().await
}

/// Lets a new day begin, so that whatever follows happens on one.
async fn new_day(bazaar: &Bazaar) {
    let of_day = bazaar.server.app.clock.now().timestamp_millis().rem_euclid(DAY_MS);
    bazaar.wait(DAY_MS - of_day + 1_000).await;
}

async fn mine(bazaar: &Bazaar, affiliate: &Client) -> Value {
    let now = bazaar.wait(0).await;
    affiliate.get("/affiliate").since(now).send().await.expect(200).body
}

/// What is pending, vested and reversed, in cents; and that the books say so.
async fn earnings(bazaar: &Bazaar, affiliate: &Client) -> [i64; 3] {
    let shown = mine(bazaar, affiliate).await;
    let cents = |name: &str| shown["earnings"][0][name]["amount"].as_i64().unwrap_or(0);
    let [pending, vested, reversed] = ["pending", "vested", "reversed"].map(cents);
    assert_eq!(bazaar.book("affiliate-pending").await, pending);
    assert_eq!(bazaar.book("affiliate-expense").await, -pending - vested);
    [pending, vested, reversed]
}

async fn available(bazaar: &Bazaar, client: &Client) -> i64 {
    client.available(bazaar.wait(0).await).await
}

async fn refund(bazaar: &Bazaar, order: &str, body: Value) -> Answer {
    bazaar.seller.post(&format!("/orders/{order}/refund"), &body).send().await
}

#[tokio::test]
async fn a_code_is_drawn_once_and_told_again_under_its_key() {
    let bazaar = Bazaar::open().await;
    let ann = bazaar.server.client().register("ann").await;
    let nothing = mine(&bazaar, &ann).await;
    assert_eq!((&nothing["code"], &nothing["enrolled_at"]), (&json!(null), &json!(null)));
    assert_eq!((&nothing["commission_bps"], &nothing["attribution_days"]), (&json!(500), &json!(30)));
    let ask = || ann.post("/affiliate", &json!({})).key("once").send();
    let (first, again) = (ask().await.expect(201), ask().await.expect(201));
    assert_eq!((&first.body, again.replayed()), (&again.body, true));
    assert_eq!(mine(&bazaar, &ann).await["code"], first.body["code"]);
    ann.post("/affiliate", &json!({})).send().await.problem(409, "already-enrolled");
    let another = enrol(&bazaar.buyer).await;
    assert_ne!(json!(another), first.body["code"]);
}

#[tokio::test]
async fn a_click_counts_once_a_day_for_each_visitor() {
    let (bazaar, affiliate, code) = open().await;
    let nobody = bazaar.server.client();
    let first = click(&nobody, &code).await.expect(200);
    assert_eq!(first.body["counted"], json!(true));
    let again = click(&nobody, &code.to_lowercase()).await.expect(200);
    assert_eq!((&again.body["counted"], &again.body["click_id"]), (&json!(false), &first.body["click_id"]));
    assert_eq!(click(&bazaar.buyer, &code).await.expect(200).body["counted"], json!(true));
    bazaar.wait(DAY_MS).await;
    assert_eq!(click(&nobody, &code).await.expect(200).body["counted"], json!(true));
    let shown = mine(&bazaar, &affiliate).await;
    assert_eq!((&shown["clicks"], &shown["accounts"]), (&json!(3), &json!(1)));
    click(&affiliate, &code).await.problem(422, "own-code");
    click(&nobody, "00000000").await.problem(404, "not-found");
    click(&nobody, "short").await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_commission_is_pending_from_the_payment_and_the_affiliates_when_the_seller_is_paid() {
    let (bazaar, affiliate, code) = open().await;
    click(&bazaar.buyer, &code).await.expect(200);
    let listing = bazaar.offer(1).await;
    let placed = bazaar.buyer.check_out(&[(&listing, 1)], "later").await.expect(201);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, 0, 0], "nothing before the payment");
    let order = order_of(&placed);
    bazaar.buyer.tell(&order, "pay").await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [COMMISSION, 0, 0]);
    assert_eq!(available(&bazaar, &affiliate).await, 0);
    let item = mine(&bazaar, &affiliate).await["items"][0].clone();
    assert_eq!((&item["state"], &item["base"]), (&json!("pending"), &usd(10_500)));
    assert_eq!((&item["amount"], &item["vested_at"]), (&usd(COMMISSION), &json!(null)));
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, COMMISSION, 0]);
    assert_eq!(available(&bazaar, &affiliate).await, COMMISSION);
    // The buyer and the seller pay nothing of it.
    assert_eq!(bazaar.purses().await, (100_000 - 10_500, 10_500 - 210));
    let moved = affiliate.get("/payments/transactions?kind=commission_received").send().await.expect(200).body;
    assert_eq!((&moved["items"][0]["amount"], &moved["items"][0]["order_id"]), (&usd(COMMISSION), &json!(null)));
    affiliate.withdraw(COMMISSION, "sandbox-succeeds").await.expect(202);
}

#[tokio::test]
async fn whoever_registers_or_buys_with_a_click_has_come_by_it() {
    let (bazaar, affiliate, code) = open().await;
    let nobody = bazaar.server.client();
    let clicked = click(&nobody, &code).await.expect(200).body["click_id"].clone();
    let joined = json!({
        "email": "ann@example.com", "user_name": "ann", "password": PASSWORD, "click_id": clicked,
    });
    let ann = nobody.logged_in(&nobody.post("/auth/register", &joined).send().await.expect(201));
    ann.fund(20_000).await;
    let offered = bazaar.offer(3).await;
    ann.check_out(&[(&offered, 1)], "now").await.expect(201);
    assert_eq!(earnings(&bazaar, &affiliate).await, [COMMISSION, 0, 0]);
    let purchase = json!({ "click_id": clicked, "pay": "now" });
    bazaar.buyer.post(&format!("/listings/{offered}/purchase"), &purchase).send().await.expect(201);
    assert_eq!(earnings(&bazaar, &affiliate).await, [2 * COMMISSION, 0, 0]);
    assert_eq!(mine(&bazaar, &affiliate).await["accounts"], 2);
    // What was never clicked keeps nobody from buying.
    let cart = json!({
        "lines": [{ "listing_id": offered }], "pay": "now", "click_id": "0199a1b2-c3d4-7000-8000-000000000000",
    });
    bazaar.staff.fund(20_000).await;
    bazaar.staff.post("/orders", &cart).send().await.expect(201);
    assert_eq!(earnings(&bazaar, &affiliate).await, [2 * COMMISSION, 0, 0]);
}

#[tokio::test]
async fn what_goes_back_before_takes_its_part_along() {
    let (bazaar, affiliate, code) = open().await;
    click(&bazaar.buyer, &code).await.expect(200);
    let order = bazaar.deliver().await;
    refund(&bazaar, &order, json!({ "amount": usd(500) })).await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [500, 0, 25]);
    bazaar.dispute(&order).await.expect(200);
    bazaar.resolve(&order, &json!({ "outcome": "split", "to_buyer": usd(4_000) })).await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, 300, 225]);
    let cancelled = bazaar.sell().await;
    assert_eq!(earnings(&bazaar, &affiliate).await, [COMMISSION, 300, 225]);
    let reason = json!({ "reason": "It is lost." });
    bazaar.seller.post(&format!("/orders/{cancelled}/cancel"), &reason).send().await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, 300, 225 + COMMISSION]);
    let states = mine(&bazaar, &affiliate).await["items"].clone();
    assert_eq!((&states[0]["state"], &states[1]["state"]), (&json!("reversed"), &json!("vested")));
    assert_eq!(states[1]["amount"], usd(300));
}

#[tokio::test]
async fn what_goes_back_afterwards_is_taken_from_the_wallet_and_owed_beyond() {
    let (bazaar, affiliate, code) = open().await;
    click(&bazaar.buyer, &code).await.expect(200);
    let order = bazaar.complete().await;
    refund(&bazaar, &order, json!({ "amount": usd(500) })).await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, 500, 25]);
    affiliate.withdraw(400, "sandbox-succeeds").await.expect(202);
    refund(&bazaar, &order, json!({})).await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, 0, COMMISSION]);
    assert_eq!(available(&bazaar, &affiliate).await, 0);
    assert_eq!(bazaar.book("receivable").await, -400);
    // The next commission pays what is owed.
    bazaar.complete().await;
    assert_eq!(available(&bazaar, &affiliate).await, COMMISSION - 400);
    assert_eq!(bazaar.book("receivable").await, 0);
}

#[tokio::test]
async fn a_click_counts_for_thirty_days_and_the_last_one_alone() {
    let (bazaar, affiliate, code) = open().await;
    let another = bazaar.server.client().register("another").await;
    let theirs = enrol(&another).await;
    let offered = bazaar.offer(4).await;
    let buy = async || bazaar.buyer.check_out(&[(&offered, 1)], "now").await.expect(201);
    click(&bazaar.buyer, &code).await.expect(200);
    bazaar.wait(30 * DAY_MS - 60_000).await;
    buy().await;
    assert_eq!(earnings(&bazaar, &affiliate).await[0], COMMISSION);
    bazaar.wait(120_000).await;
    buy().await;
    assert_eq!(earnings(&bazaar, &affiliate).await[0], COMMISSION, "nothing after the window");
    let nobody = bazaar.server.client();
    let older = click(&nobody, &code).await.expect(200).body["click_id"].clone();
    bazaar.wait(1_000).await;
    click(&bazaar.buyer, &theirs).await.expect(200);
    let cart = json!({ "lines": [{ "listing_id": offered }], "pay": "now", "click_id": older });
    bazaar.buyer.post("/orders", &cart).send().await.expect(201);
    let pending = async |client: &Client| mine(&bazaar, client).await["earnings"][0]["pending"].clone();
    assert_eq!((pending(&affiliate).await, pending(&another).await), (usd(COMMISSION), usd(COMMISSION)));
}

#[tokio::test]
async fn of_two_affiliates_who_are_clicked_in_turns_the_last_one_earns() {
    let (bazaar, affiliate, code) = open().await;
    let another = bazaar.server.client().register("another").await;
    let theirs = enrol(&another).await;
    let offered = bazaar.offer(3).await;
    let nobody = bazaar.server.client();
    new_day(&bazaar).await;
    let mut clicked = Vec::new();
    for code in [&code, &theirs, &code] {
        bazaar.wait(1_000).await;
        click(&bazaar.buyer, code).await.expect(200);
        clicked.push(click(&nobody, code).await.expect(200).body);
    }
    assert_eq!(clicked[0]["click_id"], clicked[2]["click_id"]);
    assert_ne!(clicked[0]["attributed_until"], clicked[2]["attributed_until"]);
    bazaar.buyer.check_out(&[(&offered, 1)], "now").await.expect(201);
    assert_eq!(earnings(&bazaar, &affiliate).await[0], COMMISSION);
    // Nor does it matter in which order the clicks are shown of whoever joins later.
    let ann = bazaar.server.client().register("ann").await;
    ann.fund(30_000).await;
    for clicked in [&clicked[2], &clicked[1]] {
        let cart = json!({ "lines": [{ "listing_id": offered }], "pay": "now", "click_id": clicked["click_id"] });
        ann.post("/orders", &cart).send().await.expect(201);
    }
    assert_eq!(earnings(&bazaar, &affiliate).await[0], 3 * COMMISSION);
    assert_eq!(mine(&bazaar, &another).await["earnings"], json!([]));
    assert_eq!(mine(&bazaar, &affiliate).await["clicks"], 2, "a repetition does not count");
}

#[tokio::test]
async fn nobody_fills_the_log_by_clicking() {
    let (bazaar, _affiliate, code) = open().await;
    new_day(&bazaar).await;
    for _ in 0..30 {
        bazaar.wait(1_000).await;
        click(&bazaar.buyer, &code).await.expect(200);
        click(&bazaar.server.client(), &code).await.expect(200);
    }
    let count = "select count(*) from events where aggregate_type in ('referral', 'referral_click')";
    let mut connection = bazaar.server.database.connect().await;
    let noted: i64 = sqlx::query_scalar(count).fetch_one(&mut connection).await.unwrap();
    // The buyer's, by which they came, and those of somebody who has not logged in.
    assert_eq!(noted, 3 * i64::from(domain::referral_click::MOST_A_DAY));
}

#[tokio::test]
async fn nobody_earns_with_a_trade_of_their_own() {
    let (bazaar, affiliate, code) = open().await;
    affiliate.fund(20_000).await;
    let offered = bazaar.offer(2).await;
    let clicked = click(&bazaar.server.client(), &code).await.expect(200).body["click_id"].clone();
    let cart = json!({ "lines": [{ "listing_id": offered }], "pay": "now", "click_id": clicked });
    affiliate.post("/orders", &cart).send().await.expect(201);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, 0, 0]);
    let of_seller = enrol(&bazaar.seller).await;
    click(&bazaar.buyer, &of_seller).await.expect(200);
    bazaar.buyer.check_out(&[(&offered, 1)], "now").await.expect(201);
    assert_eq!(earnings(&bazaar, &bazaar.seller).await, [0, 0, 0]);
    assert_eq!(bazaar.book("affiliate-expense").await, 0);
}

#[tokio::test]
async fn whoever_may_not_trade_earns_nothing_new() {
    let (bazaar, affiliate, code) = open().await;
    click(&bazaar.buyer, &code).await.expect(200);
    let earned = bazaar.sell().await;
    tradepost_tests::bazaar::suspend(&bazaar.server, affiliate.account()).await;
    bazaar.sell().await;
    assert_eq!(earnings(&bazaar, &affiliate).await, [COMMISSION, 0, 0]);
    click(&bazaar.staff, &code).await.problem(404, "not-found");
    // What was earned before is its own.
    bazaar.ship(&earned).await.expect(200);
    bazaar.buyer.tell(&earned, "confirm").await.expect(200);
    assert_eq!(earnings(&bazaar, &affiliate).await, [0, COMMISSION, 0]);
    bazaar.server.client().register("late").await.post("/affiliate", &json!({})).send().await.expect(201);
}

#[tokio::test]
async fn whoever_leaves_has_no_code_and_gives_up_what_is_pending() {
    let (bazaar, affiliate, code) = open().await;
    click(&bazaar.buyer, &code).await.expect(200);
    let order = bazaar.sell().await;
    affiliate.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    click(&bazaar.staff, &code).await.problem(404, "not-found");
    assert_eq!(bazaar.book("affiliate-pending").await, COMMISSION);
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "confirm").await.expect(200);
    assert_eq!((bazaar.book("affiliate-pending").await, bazaar.book("affiliate-expense").await), (0, 0));
    bazaar.sell().await;
    assert_eq!(bazaar.book("affiliate-expense").await, 0);
}

#[tokio::test]
async fn whoever_has_left_owes_nothing_of_what_was_paid_out() {
    let (bazaar, affiliate, code) = open().await;
    click(&bazaar.buyer, &code).await.expect(200);
    let order = bazaar.complete().await;
    affiliate.withdraw(COMMISSION, "sandbox-succeeds").await.expect(202);
    bazaar.wait(0).await;
    affiliate.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    refund(&bazaar, &order, json!({ "amount": usd(500) })).await.expect(200);
    refund(&bazaar, &order, json!({})).await.expect(200);
    assert_eq!(bazaar.purses().await, (100_000, 0));
    // It stays what it was when it accrued: an expense of the marketplace.
    assert_eq!((bazaar.book("receivable").await, bazaar.book("affiliate-expense").await), (0, -COMMISSION));
}

#[tokio::test]
async fn within_the_fee_a_trade_with_oneself_through_three_accounts_does_not_pay() {
    let mut settings = Config::default();
    settings.affiliate.within_fee = true;
    let (bazaar, affiliate, code) = opened(InProcess::start_with(settings).await).await;
    click(&bazaar.buyer, &code).await.expect(200);
    for _ in 0..3 {
        bazaar.complete().await;
    }
    let (buyer, seller) = bazaar.purses().await;
    let affiliate = available(&bazaar, &affiliate).await;
    assert_eq!(affiliate, 3 * 210, "all of the fee");
    assert!(buyer + seller + affiliate <= 100_000, "{buyer} {seller} {affiliate}");
}

#[tokio::test]
async fn commissions_are_told_page_by_page_and_an_auction_brings_one_too() {
    let (bazaar, affiliate, code) = open().await;
    click(&bazaar.buyer, &code).await.expect(200);
    let item = bazaar.seller.offer(&with(listing(1_000), "stock", 5)).await;
    for _ in 0..4 {
        bazaar.buyer.check_out(&[(&item, 1)], "now").await.expect(201);
    }
    let auction = bazaar.seller.schedule(&tradepost_tests::market::auction(2_000)).await;
    bazaar.buyer.bid(&auction, 5_000).await.expect(201);
    let now = bazaar.wait(3_600_000).await;
    let won = bazaar.buyer.get("/orders?limit=1").since(now).send().await.expect(200).body["items"][0]["id"].clone();
    bazaar.buyer.tell(won.as_str().unwrap(), "pay").await.expect(200);
    let now = bazaar.wait(0).await;
    let (mut amounts, mut path) = (Vec::new(), "/affiliate?limit=2".to_owned());
    loop {
        let page = affiliate.get(&path).since(now).send().await.expect(200).body;
        let items = page["items"].as_array().unwrap();
        amounts.extend(items.iter().map(|item| item["amount"]["amount"].as_i64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert_eq!(items.len(), 2);
        path = format!("/affiliate?limit=2&cursor={cursor}");
    }
    assert_eq!(amounts, [100, 50, 50, 50, 50]);
}
