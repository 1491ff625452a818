//! Reports and complaints, through HTTP: who may tell staff of what, and what staff make of it.

use api::config::{Config, Reports};
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, staff, suspend};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{auction, listing};
use tradepost_tests::reputation::id_of;
use tradepost_tests::server::InProcess;

async fn decide(client: &Client, report: &str, outcome: &str) -> Answer {
    let decision = json!({ "outcome": outcome, "reason": format!("Because: {outcome}.") });
    client.patch(&format!("/reports/{report}"), &decision).send().await
}

async fn settle(client: &Client, complaint: &str, outcome: &str) -> Answer {
    let decision = json!({ "outcome": outcome, "reason": format!("Because: {outcome}.") });
    client.patch(&format!("/admin/complaints/{complaint}"), &decision).send().await
}

/// What staff see of the first report or complaint of a list.
async fn first(bazaar: &Bazaar, path: &str) -> Value {
    bazaar.seen_by(&bazaar.staff, path).await.expect(200).body["items"][0].clone()
}

#[tokio::test]
async fn a_listing_that_is_reported_is_taken_away_with_the_decision() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(1).await;
    bazaar.seller.report("listing", &listing).await.problem(422, "own-thing");
    let filed = bazaar.buyer.report("listing", &listing).await.expect(201);
    let report = id_of(&filed);
    assert_eq!((&filed.body["outcome"], filed.header("location")), (&Value::Null, Some("/api/v1/reports/mine")));
    bazaar.buyer.report("listing", &listing).await.problem(409, "already-reported");
    bazaar.buyer.get("/reports").send().await.problem(403, "missing-capability");
    let open = first(&bazaar, "/reports?status=open&kind=listing").await;
    let about = bazaar.seller.account().to_string();
    assert_eq!((&open["id"], &open["about_id"], &open["target_id"]), (&json!(report), &json!(about), &json!(listing)));
    assert_eq!(
        (&open["text"], &open["reason"], &open["outcome"]),
        (&json!("It is a trick."), &json!("fraud"), &Value::Null)
    );
    decide(&bazaar.buyer, &report, "dismissed").await.problem(403, "missing-capability");
    let unfit = decide(&bazaar.staff, &report, "review_hidden").await.problem(422, "outcome-unfit");
    assert_eq!((&unfit.body["kind"], &unfit.body["outcome"]), (&json!("listing"), &json!("review_hidden")));
    let decided = decide(&bazaar.staff, &report, "listing_removed").await.expect(200);
    assert_eq!(decided.body["outcome"], "listing_removed");
    bazaar.seen_by(&bazaar.buyer, &format!("/listings/{listing}")).await.problem(404, "not-found");
    let told = bazaar.seen_by(&bazaar.seller, &format!("/listings/{listing}")).await.expect(200).body;
    assert_eq!((&told["status"], &told["reason"]), (&json!("removed"), &json!("Because: listing_removed.")));
    let mine = bazaar.seen_by(&bazaar.buyer, "/reports/mine").await.expect(200).body["items"][0].clone();
    assert_eq!((&mine["status"], &mine["outcome"]), (&json!("resolved"), &json!("listing_removed")));
    assert_eq!((&mine["resolution"], &mine["resolved_by"]), (&json!("Because: listing_removed."), &Value::Null));
    // By the names of other backends.
    for path in ["/admin/reports?status=resolved", "/admin-panel/reports"] {
        assert_eq!(first(&bazaar, path).await["resolved_by"], json!(bazaar.staff.account()));
    }
    // What is not there any more cannot be reported, by them.
    bazaar.buyer.report("listing", &listing).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_hidden_review_counts_no_more_until_staff_decide_otherwise() {
    let bazaar = Bazaar::open().await;
    let review = bazaar.review(1).await;
    let path = format!("/reviews/{review}");
    let shown = bazaar.seen_by(&bazaar.buyer, &path).await.expect(200).body;
    let rated = format!("/listings/{}/reviews", shown["listing_id"].as_str().unwrap());
    bazaar.buyer.report("review", &review).await.problem(422, "own-thing");
    let report = id_of(&bazaar.seller.report("review", &review).await.expect(201));
    decide(&bazaar.staff, &report, "review_hidden").await.expect(200);
    let count = async || bazaar.seen_by(&bazaar.seller, &rated).await.expect(200).body["rating"]["count"].clone();
    assert_eq!(count().await, 0);
    bazaar.seen_by(&bazaar.seller, &path).await.problem(404, "not-found");
    for client in [&bazaar.buyer, &bazaar.staff] {
        let shown = bazaar.seen_by(client, &path).await.expect(200).body;
        assert_eq!((&shown["status"], &shown["hidden_reason"]), (&json!("hidden"), &json!("Because: review_hidden.")));
    }
    bazaar.buyer.put(&path, &json!({ "rating": 5 })).send().await.problem(409, "review-hidden");
    bazaar.seller.post(&format!("{path}/reply"), &json!({ "text": "No." })).send().await.problem(409, "review-hidden");
    bazaar.staff.post(&format!("{path}/helpful"), &json!({})).send().await.problem(404, "not-found");
    let put = json!({ "outcome": "dismissed", "reason": "It is an opinion." });
    bazaar.staff.put(&format!("/reports/{report}"), &put).send().await.expect(200);
    assert_eq!(count().await, 1);
    bazaar.seen_by(&bazaar.seller, &path).await.expect(200);
    // The same may be reported again.
    assert_eq!(id_of(&bazaar.seller.report("review", &review).await.expect(201)), report);
    let again = first(&bazaar, "/reports?status=open").await;
    assert_eq!((&again["id"], &again["outcome"], &again["version"]), (&json!(report), &Value::Null, &json!(4)));
}

#[tokio::test]
async fn staff_say_that_somebody_was_blocked_only_of_whoever_was() {
    let bazaar = Bazaar::open().await;
    let seller = bazaar.seller.account().to_string();
    bazaar.buyer.report("user", &bazaar.buyer.account().to_string()).await.problem(422, "own-thing");
    bazaar.buyer.report("user", &eventstore::mint::id().to_string()).await.problem(404, "not-found");
    let report = id_of(&bazaar.buyer.report("user", &seller).await.expect(201));
    decide(&bazaar.staff, &report, "account_blocked").await.problem(409, "not-done");
    decide(&bazaar.staff, &report, "account_warned").await.expect(200);
    // Whoever is warned is told so, once.
    let again = decide(&bazaar.staff, &report, "account_warned").await.expect(200);
    let told = bazaar.seller.get("/notifications").since(again.at()).send().await.expect(200);
    let warnings = told.body["items"].as_array().unwrap().iter();
    assert_eq!(warnings.filter(|it| it["title"] == "You are warned").count(), 1, "{}", told.text);
    suspend(&bazaar.server, bazaar.seller.account()).await;
    decide(&bazaar.staff, &report, "account_blocked").await.expect(200);
    let decided = first(&bazaar, &format!("/reports?about={seller}&sort=oldest")).await;
    assert_eq!((&decided["outcome"], &decided["version"]), (&json!("account_blocked"), &json!(3)));
}

#[tokio::test]
async fn nobody_decides_on_a_report_that_concerns_them() {
    let bazaar = Bazaar::open().await;
    let other = staff(&bazaar.server, "other-clerk").await;
    let listing = bazaar.offer(1).await;
    let own = id_of(&bazaar.staff.report("listing", &listing).await.expect(201));
    decide(&bazaar.staff, &own, "dismissed").await.problem(403, "own-report");
    decide(&other, &own, "dismissed").await.expect(200);
    let about = id_of(&bazaar.buyer.report("user", &bazaar.staff.account().to_string()).await.expect(201));
    decide(&bazaar.staff, &about, "dismissed").await.problem(403, "own-report");
    let stale = bazaar.staff.patch(&format!("/reports/{about}"), &json!({ "outcome": "dismissed", "reason": "x" }));
    stale.header("if-match", "\"7.1\"").send().await.problem(412, "version-mismatch");
    decide(&other, &eventstore::mint::id().to_string(), "dismissed").await.problem(404, "not-found");
}

#[tokio::test]
async fn what_a_report_leads_to_happens_with_it_or_not_at_all() {
    let bazaar = Bazaar::open().await;
    let running = bazaar.seller.schedule(&auction(1_000)).await;
    let report = id_of(&bazaar.buyer.report("listing", &running).await.expect(201));
    // It must be called off first.
    decide(&bazaar.staff, &report, "listing_removed").await.problem(409, "auction-running");
    assert_eq!(first(&bazaar, "/reports").await["status"], "open");
}

#[tokio::test]
async fn there_are_so_many_reports_a_day_and_no_more() {
    let settings = Config { reports: Reports { per_day: 2 }, ..Config::default() };
    let bazaar = Bazaar::at(InProcess::start_with(settings).await).await;
    let mut listings = Vec::new();
    for cents in 1..=3 {
        listings.push(bazaar.seller.offer(&listing(cents)).await);
    }
    for listing in &listings[..2] {
        bazaar.buyer.report("listing", listing).await.expect(201);
    }
    let refused = bazaar.buyer.report("listing", &listings[2]).await.problem(422, "too-many-reports");
    assert_eq!(refused.body["maximum"], 2);
    bazaar.staff.report("listing", &listings[2]).await.expect(201);
    bazaar.wait(86_400_000).await;
    bazaar.buyer.report("listing", &listings[2]).await.expect(201);
}

#[tokio::test]
async fn a_report_names_one_thing_that_its_reporter_may_see() {
    let bazaar = Bazaar::open().await;
    let drafted = bazaar.seller.post("/listings", &listing(100)).send().await.expect(201);
    bazaar.buyer.report("listing", &id_of(&drafted)).await.problem(404, "not-found");
    bazaar.buyer.report("review", &id_of(&drafted)).await.problem(404, "not-found");
    let id = eventstore::mint::id();
    for body in [
        json!({ "kind": "message", "id": id, "reason": "abuse" }),
        json!({ "kind": "listing", "id": id, "chat_id": id, "reason": "abuse" }),
        json!({ "kind": "listing", "id": id, "reason": "dislike" }),
        json!({ "kind": "listing", "id": id, "reason": "other", "text": "" }),
    ] {
        bazaar.buyer.post("/reports", &body).send().await.problem(422, "invalid-field");
    }
    let message = json!({ "kind": "message", "id": id, "chat_id": id, "reason": "abuse" });
    bazaar.buyer.post("/reports", &message).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_message_is_reported_by_whom_it_was_written_to_and_read_by_staff() {
    let bazaar = Bazaar::open().await;
    let listing = bazaar.offer(1).await;
    let chat =
        id_of(&bazaar.buyer.post("/chats", &json!({ "about": "listing", "id": listing })).send().await.expect(201));
    let text = json!({ "text": "Pay me elsewhere." });
    bazaar.buyer.post(&format!("/chats/{chat}/messages"), &json!({ "text": "Hello" })).send().await.expect(201);
    let sent = bazaar.seller.post(&format!("/chats/{chat}/messages"), &text).send().await.expect(201);
    bazaar.seen_by(&bazaar.buyer, &format!("/chats/{chat}/messages")).await.expect(200);
    let report = json!({ "kind": "message", "id": id_of(&sent), "chat_id": chat, "reason": "fraud" });
    let file = async |client: &Client| client.post("/reports", &report).send().await;
    file(&bazaar.seller).await.problem(422, "own-thing");
    file(&bazaar.server.client().register("stranger").await).await.problem(404, "not-found");
    let filed = id_of(&file(&bazaar.buyer).await.expect(201));
    let open = first(&bazaar, "/reports?kind=message").await;
    assert_eq!((&open["message"], &open["about_id"]), (&text["text"], &json!(bazaar.seller.account())));
    decide(&bazaar.staff, &filed, "account_warned").await.expect(200);
}

#[tokio::test]
async fn each_party_complains_of_an_order_and_staff_settle_it() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    let stranger = bazaar.server.client().register("stranger").await;
    stranger.complain(&order).await.problem(404, "not-found");
    bazaar.staff.complain(&order).await.problem(403, "wrong-party");
    let filed = bazaar.buyer.complain(&order).await.expect(201);
    let complaint = id_of(&filed);
    let path = format!("/complaints/{complaint}");
    assert_eq!(filed.header("location"), Some(format!("/api/v1{path}").as_str()));
    bazaar.buyer.complain(&order).await.problem(409, "already-complained");
    let counter = id_of(&bazaar.seller.complain(&order).await.expect(201));
    for client in [&bazaar.buyer, &bazaar.seller, &bazaar.staff] {
        let shown = bazaar.seen_by(client, &path).await.expect(200).body;
        assert_eq!((&shown["text"], &shown["status"]), (&json!("The glass is broken."), &json!("open")));
        assert_eq!(shown["against_id"], json!(bazaar.seller.account()));
    }
    let absent = bazaar.seen_by(&stranger, &format!("/complaints/{}", eventstore::mint::id())).await;
    let theirs = bazaar.seen_by(&stranger, &path).await.problem(404, "not-found");
    assert_eq!(theirs.body["detail"], absent.problem(404, "not-found").body["detail"]);
    for client in [&bazaar.buyer, &bazaar.seller] {
        let own = bazaar.seen_by(client, "/complaints").await.expect(200).body;
        let ids: Vec<&str> = own["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [&counter, &complaint]);
    }
    assert_eq!(bazaar.seen_by(&stranger, "/complaints").await.expect(200).body["items"], json!([]));
    assert_eq!(first(&bazaar, "/admin/complaints?status=open&sort=oldest").await["id"], complaint);
    settle(&bazaar.buyer, &complaint, "settled").await.problem(403, "missing-capability");
    settle(&bazaar.staff, &complaint, "refunded").await.problem(409, "not-done");
    settle(&bazaar.staff, &complaint, "account_blocked").await.problem(409, "not-done");
    bazaar.seller.post(&format!("/orders/{order}/refund"), &json!({})).send().await.expect(200);
    settle(&bazaar.staff, &complaint, "refunded").await.expect(200);
    settle(&bazaar.staff, &counter, "dismissed").await.expect(200);
    let shown = bazaar.seen_by(&bazaar.seller, &path).await.expect(200).body;
    assert_eq!((&shown["outcome"], &shown["resolution"]), (&json!("refunded"), &json!("Because: refunded.")));
    assert_eq!(first(&bazaar, "/admin/complaints?status=open").await, Value::Null);
    // It goes on if it must.
    assert_eq!(id_of(&bazaar.buyer.complain(&order).await.expect(201)), complaint);
}

#[tokio::test]
async fn nobody_settles_a_complaint_about_an_order_of_their_own() {
    let bazaar = Bazaar::open().await;
    let clerk = staff(&bazaar.server, "other-clerk").await;
    clerk.fund(100_000).await;
    let item = bazaar.offer(1).await;
    let order = tradepost_tests::bazaar::order_of(&clerk.check_out(&[(&item, 1)], "now").await.expect(201));
    for complainant in [&clerk, &bazaar.seller] {
        let complaint = id_of(&complainant.complain(&order).await.expect(201));
        settle(&clerk, &complaint, "dismissed").await.problem(403, "own-complaint");
        settle(&bazaar.staff, &complaint, "dismissed").await.expect(200);
    }
}
