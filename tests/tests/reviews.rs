//! Reviews, votes and feedback, through HTTP: who may say what of what was bought, and what it comes to.

use api::config::Config;
use image::ImageFormat;
use serde_json::{Value, json};
use tempfile::TempDir;
use tradepost_tests::bazaar::{Bazaar, order_of, suspend};
use tradepost_tests::client::{Client, PASSWORD};
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::pictures::{files_in, picture};
use tradepost_tests::reputation::{feedback, id_of, review};
use tradepost_tests::server::InProcess;

fn ratings(page: &Value) -> Vec<i64> {
    page["items"].as_array().unwrap().iter().map(|review| review["rating"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn a_buyer_reviews_each_line_once_after_it_has_come() {
    let bazaar = Bazaar::open().await;
    let (one, other) = (bazaar.offer(2).await, bazaar.offer(1).await);
    let order = order_of(&bazaar.buyer.check_out(&[(&one, 1), (&other, 1)], "now").await.expect(201));
    let of = |listing: &str, stars: u8| json!({ "order_id": order, "listing_id": listing, "rating": stars, "text": "It runs." });
    let write = async |client: &Client, body: &Value| client.post("/reviews", body).send().await;
    let early = write(&bazaar.buyer, &of(&one, 5)).await.problem(409, "wrong-order-status");
    assert_eq!((&early.body["actual"], &early.body["needed"]), (&json!("paid"), &json!("delivered")));
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "deliver").await.expect(200);
    let stranger = bazaar.server.client().register("stranger").await;
    write(&stranger, &of(&one, 1)).await.problem(404, "not-found");
    write(&bazaar.seller, &of(&one, 5)).await.problem(403, "wrong-party");
    let third = bazaar.offer(1).await;
    write(&bazaar.buyer, &of(&third, 5)).await.problem(422, "not-bought");
    for stars in [0, 6] {
        write(&bazaar.buyer, &of(&one, stars)).await.problem(422, "invalid-field");
    }
    let written = write(&bazaar.buyer, &of(&one, 5)).await.expect(201);
    let review = id_of(&written);
    assert_eq!(written.header("location"), Some(format!("/api/v1/reviews/{review}").as_str()));
    write(&bazaar.buyer, &of(&one, 1)).await.problem(409, "already-reviewed");
    write(&bazaar.buyer, &of(&other, 3)).await.expect(201);
    let shown = bazaar.seen_by(&bazaar.server.client(), &format!("/reviews/{review}")).await.expect(200).body;
    assert_eq!((&shown["rating"], &shown["text"], &shown["title"]), (&json!(5), &json!("It runs."), &Value::Null));
    assert_eq!(
        (&shown["author"]["name"], &shown["reply"], &shown["helpful"]),
        (&json!("buyer"), &Value::Null, &json!(0))
    );
    // What was deleted is not written anew.
    bazaar.buyer.delete(&format!("/reviews/{review}"), &json!({})).send().await.expect(200);
    bazaar.seen_by(&bazaar.buyer, &format!("/reviews/{review}")).await.problem(404, "not-found");
    write(&bazaar.buyer, &of(&one, 5)).await.problem(409, "already-reviewed");
}

#[tokio::test]
async fn only_its_author_changes_a_review_and_only_the_seller_answers_once() {
    let bazaar = Bazaar::open().await;
    let path = format!("/reviews/{}", bazaar.review(4).await);
    let worse = json!({ "rating": 2, "text": "It is slow." });
    let stranger = bazaar.server.client().register("stranger").await;
    for other in [&stranger, &bazaar.seller, &bazaar.staff] {
        other.put(&path, &worse).send().await.problem(404, "not-found");
        other.delete(&path, &json!({})).send().await.problem(404, "not-found");
    }
    bazaar.buyer.put(&path, &worse).header("if-match", "\"7.1\"").send().await.problem(412, "version-mismatch");
    let changed = bazaar.buyer.put(&path, &worse).send().await.expect(200);
    assert_eq!(changed.body["version"], 2);
    let thanks = json!({ "text": "It needs winding." });
    let answer = async |client: &Client, name: &str| client.post(&format!("{path}/{name}"), &thanks).send().await;
    for other in [&stranger, &bazaar.buyer, &bazaar.staff] {
        answer(other, "reply").await.problem(404, "not-found");
    }
    // By the name of another backend.
    answer(&bazaar.seller, "response").await.expect(200);
    answer(&bazaar.seller, "reply").await.problem(409, "already-replied");
    let shown = bazaar.seen_by(&stranger, &path).await.expect(200).body;
    assert_eq!((&shown["rating"], &shown["title"]), (&json!(2), &Value::Null));
    assert_eq!(shown["reply"]["text"], "It needs winding.");
    assert_eq!(shown["reply"]["seller"]["name"], "seller");
    assert_ne!(shown["revised_at"], Value::Null);
}

#[tokio::test]
async fn listings_and_sellers_are_rated_by_what_is_shown_and_sorted_by_it() {
    let bazaar = Bazaar::open().await;
    bazaar.buyer.fund(1_000_000).await;
    let store = json!({ "slug": "corner", "brand_name": "Corner" });
    bazaar.seller.put("/merchant/me", &store).send().await.expect(201);
    let (good, fair, unrated) = (bazaar.offer(3).await, bazaar.offer(3).await, bazaar.offer(3).await);
    let mut reviews = Vec::new();
    for (listing, stars) in [(&good, 5), (&good, 4), (&fair, 5), (&fair, 1)] {
        let got = bazaar.get_one_of(listing).await;
        reviews.push(id_of(&bazaar.buyer.review(&got, stars).await.expect(201)));
    }
    let nobody = bazaar.server.client();
    let of = async |listing: &str| {
        let rated = bazaar.seen_by(&nobody, &format!("/listings/{listing}/reviews")).await.expect(200).body;
        let shown = bazaar.seen_by(&nobody, &format!("/listings/{listing}")).await.expect(200).body;
        assert_eq!(rated["rating"]["average"], shown["rating"]["average"]);
        assert_eq!(rated["rating"]["count"], shown["rating"]["count"]);
        (rated["rating"].clone(), ratings(&rated))
    };
    let (rating, shown) = of(&good).await;
    assert_eq!(rating, json!({ "count": 2, "stars": 9, "average": "4.50", "histogram": [0, 0, 0, 1, 1] }));
    assert_eq!(shown, [4, 5]);
    assert_eq!(of(&unrated).await.0, json!({ "count": 0, "stars": 0, "average": null, "histogram": [0, 0, 0, 0, 0] }));
    let sorted = async || {
        let page = bazaar.seen_by(&nobody, "/listings?sort=rating&limit=2").await.expect(200).body;
        let cursor = page["next_cursor"].as_str().unwrap();
        let rest = bazaar.seen_by(&nobody, &format!("/listings?sort=rating&cursor={cursor}")).await.expect(200).body;
        let items = [page["items"].as_array().unwrap().as_slice(), rest["items"].as_array().unwrap()].concat();
        items.iter().map(|listing| listing["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sorted().await, [good.clone(), fair.clone(), unrated.clone()]);
    let seller = async || {
        let store = bazaar.seen_by(&nobody, "/store/corner").await.expect(200).body["store"]["rating"].clone();
        let listed = bazaar.seen_by(&nobody, "/stores").await.expect(200).body["items"][0]["rating"].clone();
        assert_eq!(store, listed);
        store
    };
    assert_eq!(seller().await, json!({ "count": 4, "average": "3.75" }));
    // Changed, hidden and deleted ones count as what they are.
    let better = json!({ "rating": 5 });
    bazaar.buyer.put(&format!("/reviews/{}", reviews[3]), &better).send().await.expect(200);
    assert_eq!(sorted().await, [fair.clone(), good.clone(), unrated.clone()]);
    bazaar.buyer.delete(&format!("/reviews/{}", reviews[1]), &json!({})).send().await.expect(200);
    assert_eq!(of(&good).await.0["average"], "5.00");
    // Of what is alike, what more have rated is first.
    assert_eq!(sorted().await, [fair, good, unrated]);
    assert_eq!(seller().await, json!({ "count": 3, "average": "5.00" }));
}

#[tokio::test]
async fn reviews_are_found_by_whom_they_are_of_and_sorted() {
    let bazaar = Bazaar::open().await;
    bazaar.buyer.fund(1_000_000).await;
    let mut reviews = Vec::new();
    for stars in [3, 5, 1] {
        reviews.push(bazaar.review(stars).await);
    }
    let helpful = json!({ "helpful": true });
    bazaar.seller.post(&format!("/reviews/{}/helpful", reviews[0]), &helpful).send().await.expect(200);
    let (buyer, seller) = (bazaar.buyer.account(), bazaar.seller.account());
    let nobody = bazaar.server.client();
    let find =
        async |query: String| ratings(&bazaar.seen_by(&nobody, &format!("/reviews?{query}")).await.expect(200).body);
    for (sort, expected) in
        [("newest", [1, 5, 3]), ("highest", [5, 3, 1]), ("lowest", [1, 3, 5]), ("helpful", [3, 1, 5])]
    {
        let found = find(format!("sort={sort}&author={buyer}")).await;
        // Of those that nobody finds helpful, ids tell the order.
        let known = if sort == "helpful" { 1 } else { 3 };
        assert_eq!(found[..known], expected[..known], "{sort}");
        assert_eq!(found.len(), 3);
    }
    assert_eq!(find(format!("seller={seller}&rating=5")).await, [5]);
    assert_eq!(find(format!("seller={buyer}")).await, Vec::<i64>::new());
    bazaar.buyer.get("/reviews?rating=6").send().await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_review_is_found_helpful_once_by_each_account_but_its_author() {
    let bazaar = Bazaar::open().await;
    let path = format!("/reviews/{}", bazaar.review(4).await);
    let vote = async |client: &Client, body: Value| client.post(&format!("{path}/helpful"), &body).send().await;
    let count = async || bazaar.seen_by(&bazaar.buyer, &path).await.expect(200).body["helpful"].clone();
    vote(&bazaar.buyer, json!({})).await.problem(403, "own-review");
    assert_eq!(vote(&bazaar.staff, json!({})).await.expect(200).body["helpful"], true);
    for _ in 0..2 {
        assert_eq!(vote(&bazaar.seller, json!({ "helpful": true })).await.expect(200).body["helpful"], true);
    }
    assert_eq!(count().await, 2);
    assert_eq!(vote(&bazaar.staff, json!({})).await.expect(200).body["helpful"], false);
    assert_eq!(vote(&bazaar.staff, json!({ "helpful": false })).await.expect(200).body["helpful"], false);
    assert_eq!(count().await, 1);
    // Under one key it turns over once.
    for _ in 0..3 {
        let turned = bazaar.staff.post(&format!("{path}/helpful"), &json!({})).key("turn").send().await.expect(200);
        assert_eq!(turned.body["helpful"], true);
    }
    assert_eq!(count().await, 2);
    let shown = bazaar.seen_by(&bazaar.buyer, &path).await.expect(200).body;
    assert_eq!(shown["version"], 1, "votes are streams of their own");
    bazaar.server.client().post(&format!("{path}/helpful"), &json!({})).send().await.problem(401, "unauthenticated");
    let absent = format!("/reviews/{}/helpful", eventstore::mint::id());
    bazaar.seller.post(&absent, &json!({})).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_review_shows_its_authors_pictures_which_go_with_it() {
    let folder = TempDir::new().unwrap();
    let mut settings = Config::default();
    settings.media.folder = folder.path().to_owned();
    let bazaar = Bazaar::at(InProcess::start_with(settings).await).await;
    let got = bazaar.get_one().await;
    let small = picture(ImageFormat::Png, 3, 3);
    let upload = async |client: &Client| {
        id_of(&client.send_files("/upload/image", &[("file", &small)]).send().await.expect(201))
    };
    let (first, second) = (upload(&bazaar.buyer).await, upload(&bazaar.buyer).await);
    let foreign = upload(&bazaar.seller).await;
    let write =
        async |images: Value| bazaar.buyer.post("/reviews", &with(review(&got, 5), "images", images)).send().await;
    write(json!([foreign])).await.problem(404, "not-found");
    write(json!([first, first, first, first, first, first])).await.problem(422, "invalid-field");
    let path = format!("/reviews/{}", id_of(&write(json!([first, second, first])).await.expect(201)));
    let shown = bazaar.seen_by(&bazaar.seller, &path).await.expect(200).body;
    let ids: Vec<&str> = shown["images"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&first, &second]);
    let url = shown["images"][0]["url"].as_str().unwrap();
    bazaar.seller.ask(&reqwest::Method::GET, url).send().await.expect(200);
    assert_eq!(files_in(folder.path()), 6);
    bazaar.buyer.put(&path, &json!({ "rating": 5, "images": [second] })).send().await.expect(200);
    bazaar.server.files_deleted().await;
    assert_eq!(files_in(folder.path()), 4);
    bazaar.buyer.delete(&path, &json!({})).send().await.expect(200);
    bazaar.server.files_deleted().await;
    assert_eq!(files_in(folder.path()), 2, "those of somebody else");
}

#[tokio::test]
async fn an_order_has_feedback_of_its_buyer_once_and_its_seller_metrics() {
    let bazaar = Bazaar::open().await;
    let unsent = bazaar.sell().await;
    let give = async |client: &Client, order: &str, body: &Value| {
        client.post(&format!("/orders/{order}/feedback"), body).send().await
    };
    let early = give(&bazaar.buyer, &unsent, &feedback(5, 5, 5)).await.problem(409, "wrong-order-status");
    assert_eq!(early.body["needed"], "delivered");
    let order = bazaar.deliver().await;
    let stranger = bazaar.server.client().register("stranger").await;
    give(&stranger, &order, &feedback(1, 1, 1)).await.problem(404, "not-found");
    give(&bazaar.seller, &order, &feedback(5, 5, 5)).await.problem(403, "wrong-party");
    let given = give(&bazaar.buyer, &order, &feedback(5, 4, 3)).await.expect(201);
    let path = format!("/sellers/{}/feedback", bazaar.seller.account());
    assert_eq!(given.header("location"), Some(format!("/api/v1{path}").as_str()));
    give(&bazaar.buyer, &order, &feedback(1, 1, 1)).await.problem(409, "already-given");
    // What was never sent and paid back is spoken of too.
    bazaar.seller.post(&format!("/orders/{unsent}/refund"), &json!({})).send().await.expect(200);
    give(&bazaar.buyer, &unsent, &json!({ "communication": 2, "shipping": 1, "accuracy": 3, "platform": 5 }))
        .await
        .expect(201);
    let shown = bazaar.seen_by(&bazaar.server.client(), &path).await.expect(200).body;
    let metrics = json!({
        "orders": 2, "communication": "3.50", "shipping": "2.50", "accuracy": "3.00", "overall": "3.00",
    });
    assert_eq!(shown["metrics"], metrics);
    assert_eq!((&shown["seller"]["name"], &shown["rating"]["count"]), (&json!("seller"), &json!(0)));
    let comments: Vec<&Value> = shown["items"].as_array().unwrap().iter().map(|it| &it["comment"]).collect();
    assert_eq!(comments, [&Value::Null, &json!("Packed with care.")]);
    assert!(!shown.to_string().contains("Easy."), "what is for staff is not shown: {shown}");
    let nobody = format!("/sellers/{}/feedback", eventstore::mint::id());
    bazaar.buyer.get(&nobody).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn what_came_of_an_auction_is_reviewed_like_anything_else() {
    let bazaar = Bazaar::open().await;
    let sold = bazaar.seller.schedule(&with(auction(1_000), "buy_now_price", usd(9_000))).await;
    bazaar.buyer.post(&format!("/auctions/{sold}/buy-now"), &json!({})).send().await.expect(200);
    let now = bazaar.wait(0).await;
    let orders = bazaar.buyer.get("/orders").since(now).send().await.expect(200).body;
    let order = orders["items"][0]["id"].as_str().unwrap().to_owned();
    bazaar.buyer.tell(&order, "pay").await.expect(200);
    bazaar.ship(&order).await.expect(200);
    bazaar.buyer.tell(&order, "deliver").await.expect(200);
    let body = json!({ "order_id": order, "listing_id": sold, "rating": 3 });
    bazaar.buyer.post("/reviews", &body).send().await.expect(201);
}

#[tokio::test]
async fn whoever_is_suspended_says_nothing_new_and_may_take_back_what_was_said() {
    let bazaar = Bazaar::open().await;
    let (got, order) = (bazaar.get_one().await, bazaar.deliver().await);
    let path = format!("/reviews/{}", bazaar.review(4).await);
    suspend(&bazaar.server, bazaar.buyer.account()).await;
    let buyer = &bazaar.buyer;
    buyer.review(&got, 1).await.problem(403, "account-suspended");
    buyer.put(&path, &json!({ "rating": 1 })).send().await.problem(403, "account-suspended");
    buyer.post(&format!("/orders/{order}/feedback"), &feedback(1, 1, 1)).send().await.problem(403, "account-suspended");
    buyer.report("listing", &got.listing).await.problem(403, "account-suspended");
    buyer.complain(&order).await.problem(403, "account-suspended");
    buyer.delete(&path, &json!({})).send().await.expect(200);
}

#[tokio::test]
async fn what_somebody_has_said_who_is_forgotten_is_counted_and_not_read() {
    let server = InProcess::start().await;
    let bazaar = Bazaar::at(server).await;
    let item = bazaar.seller.offer(&with(listing(1_000), "stock", 3)).await;
    let got = bazaar.get_one_of(&item).await;
    bazaar.buyer.tell(&got.order, "confirm").await.expect(200);
    let path = format!("/reviews/{}", id_of(&bazaar.buyer.review(&got, 2).await.expect(201)));
    bazaar.seller.post(&format!("{path}/reply"), &json!({ "text": "Sorry." })).send().await.expect(200);
    bazaar.buyer.withdraw(100_000 - 1_000, "sandbox-succeeds").await.expect(202);
    bazaar.wait(0).await;
    bazaar.buyer.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    let shown = bazaar.seen_by(&bazaar.seller, &path).await.expect(200).body;
    assert_eq!((&shown["text"], &shown["title"], &shown["author"]["name"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&shown["rating"], &shown["reply"]["text"]), (&json!(2), &json!("Sorry.")));
    let rated = bazaar.seen_by(&bazaar.seller, &format!("/listings/{item}/reviews")).await.expect(200).body;
    assert_eq!(rated["rating"]["average"], "2.00");
}
