//! Subscriptions: what one pays for a plan and when, what the plan brings, and how it ends.

use api::config::{Config, Plans};
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, MINUTE_MS, order_of, staff};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::server::InProcess;

/// What a month of the plan `premium` costs, as it is shipped.
const PREMIUM: i64 = 999;
/// The same of `pro`.
const PRO: i64 = 2_999;

async fn buy(client: &Client, plan: &str) -> Answer {
    client.post("/subscriptions/purchase", &json!({ "plan": plan, "currency": "USD" })).send().await
}

async fn cancel(client: &Client) -> Answer {
    client.post("/subscriptions/cancel", &json!({})).send().await
}

/// One's plan and subscriptions, once everything up to now shows.
async fn mine(bazaar: &Bazaar, client: &Client) -> Value {
    let now = bazaar.wait(0).await;
    client.get("/subscriptions/my").since(now).send().await.expect(200).body
}

async fn plans(client: &Client, since: i64) -> Vec<Value> {
    let shown = client.get("/subscriptions/plans").since(since).send().await.expect(200).body;
    shown["items"].as_array().unwrap().clone()
}

/// What is deferred and what is earned, in cents; and what the seller has available.
async fn money(bazaar: &Bazaar) -> [i64; 3] {
    let (_, available) = bazaar.purses().await;
    [bazaar.book("deferred-revenue").await, bazaar.book("subscription-income").await, available]
}

/// A plan, to be put.
fn gold() -> Value {
    json!({
        "name": "Gold", "prices": [usd(500)], "period_days": 10, "fee_bps": 0, "listings": 3, "features": ["A badge"],
        "sort_order": 5, "reason": "For the fair.",
    })
}

#[tokio::test]
async fn the_plans_are_those_that_are_shipped_until_staff_say_something_else() {
    let bazaar = Bazaar::open().await;
    let nobody = bazaar.server.client();
    let slugs =
        |plans: &[Value]| plans.iter().map(|plan| plan["slug"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let shipped = plans(&nobody, 0).await;
    assert_eq!(slugs(&shipped), ["free", "premium", "pro"]);
    assert_eq!((&shipped[0]["prices"], &shipped[1]["version"]), (&json!([]), &json!(0)));
    let put = |slug: &str, body: &Value| bazaar.staff.put(&format!("/admin/plans/{slug}"), body).send();
    let created = put("gold", &gold()).await.expect(201);
    assert_eq!(created.header("location"), Some("/api/v1/subscriptions/plans"));
    assert_eq!((&created.body["version"], &created.body["created"]), (&json!(1), &json!(true)));
    // The same again changes nothing, whatever the reason.
    let again = put("gold", &with(gold(), "reason", "Once more.")).await.expect(200);
    assert_eq!((&again.body["version"], &again.body["created"]), (&json!(1), &json!(false)));
    let cheaper = json!({ "name": "Premium", "prices": [usd(799)], "reason": "Others ask less." });
    let changed = put("premium", &cheaper).await.expect(200);
    let now = plans(&nobody, changed.at()).await;
    assert_eq!(slugs(&now), ["free", "premium", "pro", "gold"], "in order, and premium has lost its place");
    let premium = now.iter().find(|plan| plan["slug"] == "premium").unwrap();
    assert_eq!((&premium["prices"], &premium["fee_bps"]), (&json!([usd(799)]), &Value::Null));
    let retired = put("gold", &with(gold(), "retired", true)).await.expect(200);
    assert_eq!(slugs(&plans(&nobody, retired.at()).await), ["free", "premium", "pro"]);
    buy(&bazaar.seller, "gold").await.problem(409, "plan-retired");
    // Whoever has not seen the last version changes nothing.
    let path = "/api/v1/admin/plans/gold";
    let late = bazaar.staff.ask(&Method::PUT, path).json(&gold()).header("if-match", "\"1.1\"").send().await;
    late.problem(412, "version-mismatch");
}

#[tokio::test]
async fn a_plan_makes_sense() {
    let bazaar = Bazaar::open().await;
    let put = |slug: &str, body: Value| bazaar.staff.put(&format!("/admin/plans/{slug}"), &body).send();
    for (slug, body, pointer) in [
        ("gold", with(gold(), "prices", json!([])), "/prices"),
        ("gold", with(gold(), "prices", json!([usd(1), usd(2)])), "/prices"),
        ("gold", with(gold(), "period_days", 6), "/period_days"),
        ("gold", with(gold(), "fee_bps", 10_001), "/fee_bps"),
        ("gold", with(gold(), "reason", " "), "/reason"),
        ("gold", with(gold(), "features", json!([""])), "/features/0"),
        ("free", gold(), "/prices"),
        ("free", with(with(gold(), "prices", json!([])), "retired", true), "/retired"),
    ] {
        let refused = put(slug, body).await.problem(422, "invalid-field");
        assert!(refused.body["errors"][0]["pointer"].as_str().unwrap().starts_with(pointer), "{}", refused.text);
    }
    put("gold", with(gold(), "prices", json!([usd(0)]))).await.problem(422, "price-not-positive");
    buy(&bazaar.buyer, "gold").await.problem(404, "not-found");
    buy(&bazaar.buyer, "free").await.problem(422, "free-plan");
    let abroad = json!({ "plan": "premium", "currency": "JPY" });
    let refused = bazaar.buyer.post("/subscriptions/purchase", &abroad).send().await;
    refused.problem(422, "not-sold-in-currency");
}

#[tokio::test]
async fn a_period_is_paid_ahead_and_earned_when_it_is_over() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    assert_eq!(mine(&bazaar, seller).await["plan"], "free");
    let refused = buy(seller, "premium").await.problem(422, "insufficient-funds");
    assert_eq!(refused.body["requested"], usd(PREMIUM));
    seller.fund(5_000).await;
    let body = json!({ "plan": "premium", "currency": "USD" });
    let ask = || seller.post("/subscriptions/purchase", &body).key("once").send();
    let (bought, again) = (ask().await.expect(201), ask().await.expect(201));
    assert_eq!((&again.body, again.replayed()), (&bought.body, true));
    assert_eq!((&bought.body["effect"], &bought.body["charged"]), (&json!("purchased"), &usd(PREMIUM)));
    assert_eq!(money(&bazaar).await, [PREMIUM, 0, 5_000 - PREMIUM]);
    buy(seller, "premium").await.problem(409, "already-subscribed");
    let shown = mine(&bazaar, seller).await;
    assert_eq!(
        (&shown["plan"], &shown["fee_bps"], &shown["listings"]),
        (&json!("premium"), &json!(150), &json!(1_000))
    );
    assert_eq!((&shown["active"]["state"], &shown["active"]["renews"]), (&json!("active"), &json!(true)));
    assert_eq!(shown["items"][0], shown["active"]);
    bazaar.wait(29 * DAY_MS).await;
    assert_eq!(money(&bazaar).await, [PREMIUM, 0, 5_000 - PREMIUM]);
    bazaar.wait(DAY_MS).await;
    assert_eq!(money(&bazaar).await, [PREMIUM, PREMIUM, 5_000 - 2 * PREMIUM]);
    assert_eq!(mine(&bazaar, seller).await["active"]["period"], 2);
    // Each in the statement, and nothing twice.
    let now = bazaar.wait(0).await;
    let moved = seller.get("/payments/transactions?kind=subscription").since(now).send().await.expect(200).body;
    let moved: Vec<_> = moved["items"].as_array().unwrap().iter().map(|item| item["amount"].clone()).collect();
    assert_eq!(moved, [usd(-PREMIUM), usd(-PREMIUM)]);
}

#[tokio::test]
async fn what_is_cancelled_goes_on_to_its_end_and_can_be_kept_until_then() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    cancel(seller).await.problem(404, "not-found");
    seller.fund(5_000).await;
    let bought = buy(seller, "premium").await.expect(201);
    let path = format!("/subscriptions/{}/cancel", bought.body["id"].as_str().unwrap());
    bazaar.buyer.post(&path, &json!({})).send().await.problem(404, "not-found");
    let cancelled = seller.post(&path, &json!({})).send().await.expect(200);
    assert_eq!((&cancelled.body["effect"], &cancelled.body["renews"]), (&json!("cancelled"), &json!(false)));
    assert_eq!(cancel(seller).await.expect(200).body["effect"], "unchanged");
    assert_eq!(buy(seller, "premium").await.expect(200).body["effect"], "continued");
    cancel(seller).await.expect(200);
    assert_eq!(mine(&bazaar, seller).await["plan"], "premium", "what is paid goes on");
    bazaar.wait(30 * DAY_MS).await;
    assert_eq!(money(&bazaar).await, [0, PREMIUM, 5_000 - PREMIUM]);
    let shown = mine(&bazaar, seller).await;
    assert_eq!((&shown["plan"], &shown["active"]), (&json!("free"), &Value::Null));
    let ended = &shown["items"][0];
    assert_eq!((&ended["state"], &ended["end_cause"]), (&json!("ended"), &json!("cancelled")));
    seller.post(&path, &json!({})).send().await.problem(404, "not-found");
    let other = buy(seller, "premium").await.expect(201);
    assert_ne!(other.body["id"], bought.body["id"]);
}

#[tokio::test]
async fn what_cannot_be_paid_is_tried_again_for_three_days() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    seller.fund(PREMIUM).await;
    buy(seller, "premium").await.expect(201);
    bazaar.wait(30 * DAY_MS).await;
    let shown = mine(&bazaar, seller).await;
    assert_eq!((&shown["plan"], &shown["active"]["state"]), (&json!("premium"), &json!("past_due")));
    assert_eq!(money(&bazaar).await, [0, PREMIUM, 0]);
    // Tried again after a day, with the money that is there by then.
    seller.fund(PREMIUM).await;
    assert_eq!(money(&bazaar).await, [0, PREMIUM, PREMIUM]);
    bazaar.wait(DAY_MS).await;
    assert_eq!(money(&bazaar).await, [PREMIUM, PREMIUM, 0]);
    // The days in between are none of the next period's.
    bazaar.wait(29 * DAY_MS).await;
    assert_eq!(mine(&bazaar, seller).await["active"]["state"], "past_due");
    // Who does not wait pays at once.
    seller.fund(PREMIUM).await;
    assert_eq!(buy(seller, "premium").await.expect(200).body["effect"], "paid");
    bazaar.wait(30 * DAY_MS).await;
    bazaar.wait(3 * DAY_MS).await;
    let shown = mine(&bazaar, seller).await;
    assert_eq!((&shown["plan"], &shown["items"][0]["end_cause"]), (&json!("free"), &json!("not_paid")));
    assert_eq!(money(&bazaar).await, [0, 3 * PREMIUM, 0]);
}

#[tokio::test]
async fn a_dearer_plan_counts_at_once_and_a_cheaper_one_later() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    seller.fund(20_000).await;
    buy(seller, "premium").await.expect(201);
    bazaar.wait(10 * DAY_MS - 60 * MINUTE_MS).await;
    // 999 over 30 days is 34 for the first nine and 33 for the others: twenty times 33 are left.
    let left = 20 * 33;
    let upgraded = buy(seller, "pro").await.expect(200);
    assert_eq!((&upgraded.body["effect"], &upgraded.body["charged"]), (&json!("upgraded"), &usd(PRO - left)));
    assert_eq!(money(&bazaar).await, [PRO, PREMIUM - left, 20_000 - PREMIUM - PRO + left]);
    let scheduled = buy(seller, "premium").await.expect(200);
    assert_eq!((&scheduled.body["effect"], &scheduled.body["charged"]), (&json!("scheduled"), &Value::Null));
    let shown = mine(&bazaar, seller).await;
    assert_eq!((&shown["plan"], &shown["active"]["next"]["plan"]), (&json!("pro"), &json!("premium")));
    bazaar.wait(30 * DAY_MS).await;
    assert_eq!(mine(&bazaar, seller).await["plan"], "premium");
    assert_eq!(money(&bazaar).await, [PREMIUM, PREMIUM - left + PRO, 20_000 - 2 * PREMIUM - PRO + left]);
}

#[tokio::test]
async fn what_was_bought_keeps_its_price_and_ends_when_its_plan_is_retired() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    let put = |body: Value| bazaar.staff.put("/admin/plans/gold", &body).send();
    put(gold()).await.expect(201);
    seller.fund(5_000).await;
    buy(seller, "gold").await.expect(201);
    put(with(with(gold(), "prices", json!([usd(4_000)])), "listings", 1)).await.expect(200);
    bazaar.wait(10 * DAY_MS).await;
    assert_eq!(money(&bazaar).await, [500, 500, 4_000]);
    assert_eq!(mine(&bazaar, seller).await["listings"], 3);
    put(with(gold(), "retired", true)).await.expect(200);
    bazaar.wait(10 * DAY_MS).await;
    let shown = mine(&bazaar, seller).await;
    assert_eq!((&shown["plan"], &shown["items"][0]["end_cause"]), (&json!("free"), &json!("plan_retired")));
    assert_eq!(money(&bazaar).await, [0, 1_000, 4_000]);
}

#[tokio::test]
async fn a_sale_is_charged_the_fee_of_the_plan_that_its_seller_had_then() {
    let bazaar = Bazaar::open().await;
    bazaar.staff.put("/admin/plans/gold", &gold()).send().await.expect(201);
    bazaar.seller.fund(500).await;
    buy(&bazaar.seller, "gold").await.expect(201);
    let id = bazaar.offer(2).await;
    let free = order_of(&bazaar.buyer.check_out(&[(&id, 1)], "now").await.expect(201));
    bazaar.wait(14 * DAY_MS - 60 * MINUTE_MS).await;
    let usual = order_of(&bazaar.buyer.check_out(&[(&id, 1)], "now").await.expect(201));
    for (order, fee) in [(free, 0), (usual, 210)] {
        bazaar.ship(&order).await.expect(200);
        bazaar.buyer.tell(&order, "confirm").await.expect(200);
        assert_eq!(bazaar.book("fee-income").await, fee);
    }
}

#[tokio::test]
async fn a_seller_offers_as_many_listings_as_the_plan_allows() {
    let settings = Config { plans: Plans { free_listings: 2 }, ..Config::default() };
    let server = InProcess::start_with(settings).await;
    let (seller, clerk) = (server.client().register_seller("ann").await, staff(&server, "clerk").await);
    let one = seller.offer(&listing(1_000)).await;
    seller.schedule(&auction(1_000)).await;
    let draft = seller.post("/listings", &listing(1_000)).send().await.expect(201);
    let path = format!("/listings/{}", draft.body["id"].as_str().unwrap());
    let publish = || seller.post(&format!("{path}/publish"), &json!({})).send();
    let refused = publish().await.problem(422, "listing-limit");
    assert_eq!((&refused.body["maximum"], &refused.body["there"]), (&json!(2), &json!(2)));
    seller.post("/auctions", &auction(1_000)).send().await.problem(422, "listing-limit");
    // As many at once as one likes.
    let drafts: Vec<_> = (0..4).map(|_| seller.post("/listings", &listing(500)).send()).collect();
    let drafts = futures::future::join_all(drafts).await;
    let head = seller.delete(&format!("/listings/{one}"), &json!({})).send().await.expect(200).at();
    let all = drafts.iter().map(|draft| {
        let id = draft.body["id"].as_str().unwrap();
        seller.post(&format!("/listings/{id}/publish"), &json!({})).send()
    });
    let statuses: Vec<u16> = futures::future::join_all(all).await.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?} since {head}");
    // A plan brings more, and staff may say so of the free one.
    let free = json!({ "name": "Free", "listings": 4, "reason": "Spring." });
    clerk.put("/admin/plans/free", &free).send().await.expect(200);
    publish().await.expect(200);
    let head = clerk.advance(0).await;
    let shown = seller.get("/subscriptions/my").since(head).send().await.expect(200).body;
    assert_eq!((&shown["offers"], &shown["listings"]), (&json!(3), &json!(4)));
    // An auction that is over makes room.
    clerk.advance(3_600_000).await;
    let head = clerk.advance(0).await;
    let shown = seller.get("/subscriptions/my").since(head).send().await.expect(200).body;
    assert_eq!(shown["offers"], 2);
}

#[tokio::test]
async fn whoever_is_blocked_buys_nothing_and_may_cancel() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    seller.fund(5_000).await;
    buy(seller, "premium").await.expect(201);
    let account = seller.account();
    let suspend = move |world: &mut commands::World<'_>| {
        commands::accounts::suspend(
            world,
            account,
            domain::Sealed::from_ciphertext(account, "fraud".to_owned()),
            domain::account::Granter::Operator,
        )
    };
    let request = commands::Request::once(eventstore::event::Metadata::by_operator());
    bazaar.server.app.engine.submit(request, suspend).await.unwrap();
    buy(seller, "pro").await.problem(403, "account-suspended");
    // Nothing more is charged, and what is paid is earned.
    bazaar.wait(30 * DAY_MS).await;
    assert_eq!(money(&bazaar).await, [0, PREMIUM, 5_000 - PREMIUM]);
    let shown = mine(&bazaar, seller).await;
    assert_eq!(shown["items"][0]["end_cause"], "account_barred");
}
