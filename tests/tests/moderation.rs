//! Where the staff look at listings first, through HTTP: what waits for them, what they decide, and what time decides.

use api::config::{Catalogue, Config};
use serde_json::{Value, json};
use tradepost_tests::bazaar::staff;
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::server::InProcess;

const REVIEW_MS: i64 = 600_000;

/// A marketplace whose staff have ten minutes to look at a listing.
struct Reviewed {
    server: InProcess,
    seller: Client,
    buyer: Client,
    clerk: Client,
}

impl Reviewed {
    async fn open() -> Self {
        let catalogue = Catalogue { review: true, review_s: 600 };
        let server = InProcess::start_with(Config { catalogue, ..Config::default() }).await;
        let (seller, buyer) = (server.client().register_seller("ann").await, server.client().register("bob").await);
        let clerk = staff(&server, "clerk").await;
        Self { server, seller, buyer, clerk }
    }

    /// A listing that waits for the staff.
    async fn submit(&self) -> String {
        self.seller.offer(&listing(1_000)).await
    }

    async fn rule(&self, listing: &str, verdict: &Value) -> Answer {
        self.clerk.patch(&format!("/admin/listings/{listing}"), verdict).send().await
    }

    /// What `client` is told of a listing, with everything up to now.
    async fn seen_by(&self, client: &Client, listing: &str) -> Answer {
        let now = self.clerk.advance(0).await;
        client.get(&format!("/listings/{listing}")).since(now).send().await
    }

    async fn status(&self, listing: &str) -> String {
        let shown = self.seen_by(&self.seller, listing).await.expect(200).body;
        shown["status"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_staff_let_through_give_back_and_take_away() {
    let shop = Reviewed::open().await;
    let (good, bad) = (shop.submit().await, shop.submit().await);
    let now = shop.clerk.advance(0).await;
    let waiting = shop.clerk.get("/admin/listings?status=pending").since(now).send().await.expect(200).body;
    let ids: Vec<&str> = waiting["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&bad, &good]);
    shop.rule(&good, &json!({ "status": "active", "featured": true })).await.expect(200);
    let shown = shop.seen_by(&shop.buyer, &good).await.expect(200).body;
    assert_eq!((&shown["status"], &shown["featured"]), (&json!("active"), &json!(true)));
    shop.rule(&bad, &json!({ "status": "draft" })).await.problem(422, "invalid-field");
    let back = json!({ "status": "draft", "reason": "Whose pictures are these?" });
    shop.rule(&bad, &back).await.expect(200);
    shop.seen_by(&shop.buyer, &bad).await.problem(404, "not-found");
    let shown = shop.seen_by(&shop.seller, &bad).await.expect(200).body;
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("draft"), &back["reason"]));
    shop.rule(&bad, &back).await.problem(409, "not-pending");
    shop.rule(&bad, &json!({ "status": "active" })).await.problem(409, "not-pending");
    let away = json!({ "status": "removed", "reason": "Counterfeit.", "featured": false });
    shop.rule(&good, &away).await.problem(409, "listing-removed");
    assert_eq!(shop.status(&good).await, "active", "all of a ruling, or nothing");
    let away = json!({ "status": "removed", "reason": "Counterfeit." });
    shop.clerk.put(&format!("/admin/listings/{good}"), &away).send().await.expect(200);
    shop.seen_by(&shop.buyer, &good).await.problem(404, "not-found");
    let all = shop.clerk.get("/admin-panel/listings").since(shop.clerk.advance(0).await).send().await.expect(200).body;
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    shop.rule(&eventstore::mint::id().to_string(), &away).await.problem(404, "not-found");
}

#[tokio::test]
async fn nobody_rules_on_what_is_theirs() {
    let shop = Reviewed::open().await;
    let store = json!({ "slug": "clerks", "brand_name": "Clerks" });
    shop.clerk.put("/merchant/me", &store).send().await.expect(201);
    let own = shop.clerk.offer(&listing(1_000)).await;
    for verdict in
        [json!({ "status": "active" }), json!({ "status": "removed", "reason": "Mine." }), json!({ "featured": true })]
    {
        shop.rule(&own, &verdict).await.problem(403, "own-listing");
    }
    let verify = format!("/admin/merchants/{}/verify", shop.clerk.account());
    shop.clerk.post(&verify, &json!({ "reason": "I know me." })).send().await.problem(403, "own-store");
}

#[tokio::test]
async fn other_words_wait_for_the_staff_again_and_bring_nothing_to_the_top() {
    let shop = Reviewed::open().await;
    let (first, second) = (shop.submit().await, shop.submit().await);
    for listing in [&first, &second] {
        shop.rule(listing, &json!({ "status": "active" })).await.expect(200);
    }
    let path = format!("/listings/{first}");
    shop.seller.patch(&path, &json!({ "price": usd(900) })).send().await.expect(200);
    assert_eq!(shop.status(&first).await, "active");
    shop.seller.patch(&path, &json!({ "title": "Rolex" })).send().await.expect(200);
    assert_eq!(shop.status(&first).await, "pending");
    shop.seen_by(&shop.buyer, &first).await.problem(404, "not-found");
    shop.buyer.check_out(&[(&first, 1)], "later").await.problem(404, "not-found");
    // The time begins anew with each change.
    shop.clerk.advance(REVIEW_MS - 1_000).await;
    shop.seller.patch(&path, &json!({ "title": "A watch" })).send().await.expect(200);
    shop.clerk.advance(REVIEW_MS - 1_000).await;
    assert_eq!(shop.status(&first).await, "pending");
    let now = shop.clerk.advance(1_000).await;
    let page = shop.buyer.get("/listings").since(now).send().await.expect(200).body;
    let ids: Vec<&str> = page["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&second, &first]);
    let auctioned = shop.seller.schedule(&auction(1_000)).await;
    shop.rule(&auctioned, &json!({ "status": "active" })).await.expect(200);
    let renamed = shop.seller.patch(&format!("/listings/{auctioned}"), &json!({ "title": "Rolex" })).send().await;
    renamed.problem(409, "auction-reviewed");
}

#[tokio::test]
async fn what_its_seller_has_paused_is_paused_again_after_the_look() {
    let shop = Reviewed::open().await;
    let (ruled, waited) = (shop.submit().await, shop.submit().await);
    for listing in [&ruled, &waited] {
        shop.rule(listing, &json!({ "status": "active" })).await.expect(200);
        for change in [json!({ "paused": true }), json!({ "title": "Rolex" })] {
            shop.seller.patch(&format!("/listings/{listing}"), &change).send().await.expect(200);
        }
        assert_eq!(shop.status(listing).await, "pending");
    }
    shop.rule(&ruled, &json!({ "status": "active" })).await.expect(200);
    assert_eq!(shop.status(&ruled).await, "paused");
    shop.clerk.advance(REVIEW_MS).await;
    for listing in [&ruled, &waited] {
        assert_eq!(shop.status(listing).await, "paused");
        shop.buyer.check_out(&[(listing, 1)], "later").await.problem(409, "not-offered");
        shop.seller.patch(&format!("/listings/{listing}"), &json!({ "paused": false })).send().await.expect(200);
        assert_eq!(shop.status(listing).await, "active");
    }
}

#[tokio::test]
async fn what_could_never_be_auctioned_is_refused_before_the_staff_look() {
    let shop = Reviewed::open().await;
    let short = with(auction(1_000), "duration_s", 5);
    shop.seller.post("/auctions", &short).send().await.expect(422);
    let dear = with(auction(1_000), "reserve_price", usd(999));
    shop.seller.post("/auctions", &dear).send().await.problem(422, "reserve-below-start");
    let now = shop.clerk.advance(0).await;
    let all = shop.clerk.get("/admin/listings").since(now).send().await.expect(200).body;
    assert_eq!(all["items"], json!([]));
}

#[tokio::test]
async fn time_offers_nothing_of_a_seller_who_may_not() {
    let shop = Reviewed::open().await;
    shop.seller.put("/merchant/me", &json!({ "slug": "anns", "brand_name": "Ann's" })).send().await.expect(201);
    let (listed, auctioned) = (shop.submit().await, shop.seller.schedule(&auction(1_000)).await);
    let path = |verdict: &str| format!("/admin/merchants/{}/{verdict}", shop.seller.account());
    let reason = json!({ "reason": "Complaints." });
    shop.clerk.post(&path("suspend"), &reason).send().await.expect(200);
    shop.rule(&listed, &json!({ "status": "active" })).await.problem(403, "store-suspended");
    shop.clerk.advance(REVIEW_MS).await;
    for listing in [&listed, &auctioned] {
        assert_eq!(shop.status(listing).await, "draft");
    }
    shop.clerk.post(&path("reinstate"), &reason).send().await.expect(200);
    shop.seller.post(&format!("/listings/{listed}/publish"), &json!({})).send().await.expect(200);
    shop.clerk.advance(REVIEW_MS).await;
    assert_eq!(shop.status(&listed).await, "active");
    let overdue: i64 = sqlx::query_scalar("select count(*) from timers where due_at < now()")
        .fetch_one(&mut shop.server.database.connect().await)
        .await
        .unwrap();
    assert_eq!(overdue, 0);
}
