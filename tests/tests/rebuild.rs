//! What is derived from the log comes out the same when it is derived again: read models, timers, processes.

use std::time::Duration;

use api::config::Config;
use image::ImageFormat;
use serde_json::json;
use sqlx::FromRow;
use tokio::sync::watch;
use tradepost_tests::bazaar::staff;
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::load::{Load, seed};
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::models;
use tradepost_tests::pictures::picture;
use tradepost_tests::reputation::{Got, feedback, id_of};
use tradepost_tests::server::InProcess;

/// A marketplace in which a bit of everything has happened. All followers have taken it in.
pub(crate) async fn busy() -> TestDatabase {
    let server = InProcess::start().await;
    let address = watch::Sender::new(server.address().to_owned());
    let clerk = staff(&server, "clerk").await;
    a_bit_of_everything(&server.client(), &clerk).await;
    let small = picture(ImageFormat::Png, 3, 3);
    clerk.send_files("/upload/image", &[("file", &small)]).send().await.expect(201);
    for (body, status) in [("Be *kind*.", 201), ("Be kind, and fair.", 200)] {
        let page = json!({ "title": "Terms", "body": body });
        clerk.put("/admin/pages/terms", &page).send().await.expect(status);
    }
    let running = Load::prepare(&server.client(), vec![address.subscribe()], 8, seed()).await.start();
    while running.accepted() < 500 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stop().await;
    settled(&server).await;
    server.stop().await
}

async fn a_bit_of_everything(nobody: &Client, staff: &Client) {
    let (seller, buyer) = (nobody.register_seller("ann-sells").await, nobody.register("bob-buys").await);
    let profile = json!({ "display_name": "Ann", "phone": "+92 300", "biography": "Sells.", "language": "ur-PK" });
    seller.ask(&reqwest::Method::PATCH, "/api/v1/auth/me").json(&profile).send().await.expect(200);
    let home = seller.keep_address("Ann").await;
    seller.keep_address("Bob").await;
    seller.patch(&format!("/addresses/{home}"), &json!({ "line2": "Flat 3" })).send().await.expect(200);
    let store = json!({ "slug": "ann", "brand_name": "Ann's", "biography": "☂", "business_address": "1 Mall Road" });
    seller.ask(&reqwest::Method::PUT, "/api/v1/merchant/me").json(&store).send().await.expect(201);
    let category = json!({
        "slug": "watches", "name": "Watches", "fee_bps": 300,
        "attributes": [{ "name": "year", "label": "Year", "kind": "integer" }],
    });
    staff.post("/admin/categories", &category).send().await.expect(201);
    let fee = json!({ "fee_bps": 170, "reason": "Sells \"much\"." });
    staff.put(&format!("/admin/fees/seller/{}", seller.account()), &fee).send().await.expect(200);
    for number in 1..=5 {
        let drafted = seller.post("/listings", &listing(100 * number)).send().await.expect(201);
        let path = format!("/listings/{}", drafted.body["id"].as_str().unwrap_or_default());
        if number > 1 {
            seller.post(&format!("{path}/publish"), &json!({})).send().await.expect(200);
        }
        let full = format!("/api/v1{path}");
        let changes = json!({ "title": format!("Watch \"{number}\" \\ \n ☂"), "brand": "", "attributes": { "year": 1_989 },
            "discount": { "bps": 1_000 } });
        seller.ask(&reqwest::Method::PATCH, &full).json(&changes).send().await.expect(200);
        if number == 4 {
            let small = picture(ImageFormat::Png, 3, 3);
            seller.send_files(&format!("{path}/images"), &[("files", &small)]).send().await.expect(201);
        }
        if number == 5 {
            seller.ask(&reqwest::Method::DELETE, &full).send().await.expect(200);
        }
    }
    let liked = seller.offer(&listing(700)).await;
    buyer.post(&format!("/listings/{liked}/favorite"), &json!({})).send().await.expect(200);
    nobody.post(&format!("/listings/{liked}/view"), &json!({})).send().await.expect(200);
    talk(&buyer, &seller, &liked).await;
    let plain = seller.schedule(&with(auction(1_000), "duration_s", 600)).await;
    let reserved = seller.schedule(&with(auction(1_000), "reserve_price", usd(50_000))).await;
    let at_once = seller.schedule(&with(auction(1_000), "buy_now_price", usd(9_000))).await;
    let cancelled = seller.schedule(&auction(1_000)).await;
    buyer.bid(&plain, 2_000).await.expect(201);
    buyer.bid(&reserved, 2_000).await.expect(201);
    buyer.post(&format!("/auctions/{at_once}/buy-now"), &json!({})).send().await.expect(200);
    let reason = json!({ "reason": "It was damaged." });
    seller.post(&format!("/auctions/{cancelled}/cancel"), &reason).send().await.expect(200);
    buyer.fund(5_000).await;
    let gold = json!({ "name": "Gold", "prices": [usd(10)], "features": ["☂"], "reason": "Why not." });
    staff.put("/admin/plans/gold", &gold).send().await.expect(201);
    buyer.post("/subscriptions/purchase", &json!({ "plan": "gold", "currency": "USD" })).send().await.expect(201);
    // Which earns points, and whoever has sent the buyer a commission.
    let enrolled = code_of_somebody(nobody).await;
    buyer.post("/affiliate/clicks", &json!({ "code": enrolled })).send().await.expect(200);
    let bought = seller.offer(&listing(1_000)).await;
    let order = tradepost_tests::bazaar::order_of(&buyer.check_out(&[(&bought, 1)], "now").await.expect(201));
    seller.post(&format!("/orders/{order}/ship"), &json!({ "carrier": "Post" })).send().await.expect(200);
    buyer.tell(&order, "confirm").await.expect(200);
    let bank = seller.keep_method("sandbox-succeeds").await;
    seller.keep_method("sandbox-delays").await;
    let weekly = json!({ "currency": "USD", "schedule": "weekly", "payment_method_id": bank });
    seller.put("/payments/connect", &weekly).send().await.expect(200);
    seller.post("/payments/connect", &json!({})).send().await.expect(200);
    be_told(&buyer, staff).await;
    speak_of_it(&seller, &buyer, staff, &Got { order, listing: bought }).await;
    for method in ["sandbox-succeeds", "sandbox-declines", "sandbox-delays"] {
        buyer.withdraw(300, method).await.expect(202);
    }
    buyer.advance(700_000).await;
    buyer.deposit(1, "sandbox-delays").await.expect(202);
    buyer.post("/auth/logout", &json!({})).send().await.expect(204);
}

/// Lets the staff say something, and somebody read what they were told and choose what to be told.
async fn be_told(buyer: &Client, staff: &Client) {
    let said = |audience: Option<&str>, account: Option<uuid::Uuid>| {
        json!({
            "audience": audience, "account_id": account, "title": "Tonight \"☂\"", "body": "One.\n\nTwo \\.",
            "reason": "They should know.",
        })
    };
    for what in [said(Some("all"), None), said(Some("sell"), None), said(None, Some(buyer.account().0))] {
        staff.post("/admin/notifications", &what).send().await.expect(201);
    }
    let last = staff.post("/admin/notifications", &said(Some("buy"), None)).send().await.expect(201).at();
    let told = buyer.get("/notifications").since(last).send().await.expect(200).body;
    for item in told["items"].as_array().into_iter().flatten().take(3) {
        let path = format!("/notifications/{}/read", item["id"].as_str().unwrap_or_default());
        buyer.put(&path, &json!({})).send().await.expect(200);
    }
    let quiet = json!({ "items": [{ "kind": "outbid", "in_app": false, "live": true, "email": false }] });
    buyer.put("/notifications/preferences", &quiet).send().await.expect(200);
    staff.put("/notifications/read-all", &json!({})).send().await.expect(200);
}

/// Everything that people say of each other, with what staff make of it.
async fn speak_of_it(seller: &Client, buyer: &Client, staff: &Client, got: &Got) {
    let review = id_of(&buyer.review(got, 4).await.expect(201));
    let path = format!("/reviews/{review}");
    buyer.put(&path, &json!({ "rating": 3, "text": "It is \"slow\" \\ \n ☂" })).send().await.expect(200);
    seller.post(&format!("{path}/reply"), &json!({ "text": "Wind it." })).send().await.expect(200);
    staff.post(&format!("{path}/helpful"), &json!({})).send().await.expect(200);
    let feedback = feedback(5, 4, 3);
    buyer.post(&format!("/orders/{}/feedback", got.order), &feedback).send().await.expect(201);
    let report = id_of(&seller.report("review", &review).await.expect(201));
    let hidden = json!({ "outcome": "review_hidden", "reason": "Abuse." });
    staff.patch(&format!("/reports/{report}"), &hidden).send().await.expect(200);
    let complaint = id_of(&buyer.complain(&got.order).await.expect(201));
    let settled = json!({ "outcome": "settled", "reason": "They have come to terms." });
    staff.patch(&format!("/admin/complaints/{complaint}"), &settled).send().await.expect(200);
}

/// Lets a buyer and a seller write to each other about a listing.
async fn talk(buyer: &Client, seller: &Client, listing: &str) {
    let opened = buyer.post("/chats", &json!({ "about": "listing", "id": listing })).send().await.expect(201);
    let chat = format!("/chats/{}", opened.body["id"].as_str().unwrap_or_default());
    for (author, text) in [(buyer, "Is it \"gold\"?"), (buyer, "☂\n\\"), (seller, "Yes")] {
        author.post(&format!("{chat}/messages"), &json!({ "text": text })).send().await.expect(201);
    }
    seller.post(&format!("{chat}/read"), &json!({ "upto": 2 })).send().await.expect(200);
}

/// The referral code of somebody new.
async fn code_of_somebody(nobody: &Client) -> serde_json::Value {
    let affiliate = nobody.register("cat-links").await;
    affiliate.post("/affiliate", &json!({})).send().await.expect(201).body["code"].clone()
}

/// Waits until everything that follows the log has taken all of it in.
async fn settled(server: &InProcess) -> i64 {
    loop {
        let head = server.database.log_head().await;
        for follower in api::app::followers() {
            server.app.progress.wait_for(follower, head, Duration::from_secs(30)).await.unwrap();
        }
        if server.database.log_head().await == head {
            return head;
        }
    }
}

#[tokio::test]
async fn rebuilt_read_models_equal_the_live_ones_byte_for_byte() {
    let database = busy().await;
    let live = models::digests(&database).await;
    assert_eq!(live.len(), projections::ALL.len());
    for (model, tables) in &live {
        assert!(tables.iter().any(|table| table.rows > 0), "nothing is in {model}, so nothing is shown");
    }
    let indexes = indexes(&database).await;
    assert!(indexes.len() > 10, "{indexes:?}");
    models::assert_equal_their_rebuild(&database).await;
    models::rebuild(&database).await;
    assert_eq!(models::digests(&database).await, live);
    assert_eq!(self::indexes(&database).await, indexes);
}

/// The indexes of the read models, each as it is made.
async fn indexes(database: &TestDatabase) -> Vec<String> {
    let models: Vec<_> = projections::ALL.iter().map(|model| model.name).collect();
    sqlx::query_scalar("select indexdef from pg_indexes where schemaname = any($1) order by indexdef")
        .bind(models)
        .fetch_all(&mut database.connect().await)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_altered_read_model_is_noticed() {
    let database = busy().await;
    let live = models::digests(&database).await;
    let altered = sqlx::query(
        "update catalogue.listings set title = title || '!' where ctid = (select min(ctid) from catalogue.listings)",
    );
    assert_eq!(altered.execute(&mut database.connect().await).await.unwrap().rows_affected(), 1);
    assert_ne!(models::digests(&database).await, live);
    models::rebuild(&database).await;
    assert_eq!(models::digests(&database).await, live);
}

/// A row of the table of timers.
#[derive(Debug, Eq, FromRow, PartialEq)]
struct Timer {
    kind: String,
    aggregate_id: uuid::Uuid,
    subject: uuid::Uuid,
    due_at: chrono::DateTime<chrono::Utc>,
    set_by: uuid::Uuid,
}

async fn timers(database: &TestDatabase) -> Vec<Timer> {
    let timers = sqlx::query_as("select * from timers order by kind, aggregate_id, subject");
    timers.fetch_all(&mut database.connect().await).await.unwrap()
}

/// Every provider is asked again, every timer is set again, and nothing comes of it that is not there already.
#[tokio::test]
async fn processes_that_begin_again_do_nothing_twice() {
    let database = busy().await;
    let (before, head) = (timers(&database).await, database.log_head().await);
    assert!(before.len() >= 3, "{before:?}");
    let mut connection = database.connect().await;
    sqlx::query("delete from timers").execute(&mut connection).await.unwrap();
    let reset = sqlx::query("update followers set position = 0 where name in ('timers', 'payments')");
    assert_eq!(reset.execute(&mut connection).await.unwrap().rows_affected(), 2);

    let server = InProcess::start_on(database, Config::default()).await;
    let after = settled(&server).await;
    let database = server.stop().await;
    assert_eq!(timers(&database).await, before);
    assert_eq!(after, head);
}
