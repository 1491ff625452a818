//! Searching the catalogue through HTTP: words, mistakes, facets, attributes, sorts and suggestions.

use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::Client;
use tradepost_tests::market::{auction, listing, with};

/// A bazaar with a category of watches, three watches and a pen.
async fn with_goods() -> (Bazaar, i64) {
    let bazaar = Bazaar::open().await;
    let category = json!({ "slug": "watches", "name": "Watches", "attributes": [
        { "name": "year", "label": "Year", "kind": "integer", "filterable": true },
        { "name": "note", "label": "Note", "kind": "text" },
    ] });
    bazaar.staff.post("/admin/categories", &category).send().await.expect(201);
    for (title, cents, year, note) in [
        ("Cartier Tank wristwatch", 90_000, 1_989, "a"),
        ("Cartier Santos wristwatch", 120_000, 1_991, "b"),
        ("Zenith pocket timepiece", 30_000, 1_989, "c"),
    ] {
        let watch = with(with(listing(cents), "title", title), "attributes", json!({ "year": year, "note": note }));
        bazaar.seller.offer(&with(watch, "description", "Of the watchmaker.")).await;
    }
    let pen = with(with(listing(2_000), "title", "Fountain pen"), "category", "stationery");
    bazaar.seller.offer(&with(with(pen, "brand", "Lamplight"), "description", "")).await;
    let head = bazaar.wait(0).await;
    (bazaar, head)
}

async fn find(bazaar: &Bazaar, query: &str, since: i64) -> Value {
    bazaar.buyer.get(&format!("/listings?{query}")).since(since).send().await.expect(200).body
}

fn titles(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn words_are_found_by_their_stems_and_in_spite_of_mistakes() {
    let (bazaar, head) = with_goods().await;
    let found = find(&bazaar, "q=wristwatches", head).await;
    assert_eq!(titles(&found), ["Cartier Santos wristwatch", "Cartier Tank wristwatch"]);
    let mistyped = find(&bazaar, "q=catrier%20tannk", head).await;
    assert_eq!(titles(&mistyped), ["Cartier Tank wristwatch"]);
    assert_eq!((&found["meant"], &mistyped["meant"]), (&Value::Null, &json!("cartier tank")));
    let none = find(&bazaar, "q=xyzzyx", head).await;
    assert_eq!(titles(&none), Vec::<&str>::new());
    let relevant = find(&bazaar, "q=zenith%20or%20wristwatch&sort=relevance&limit=2", head).await;
    let cursor = relevant["next_cursor"].as_str().unwrap();
    let rest = find(&bazaar, &format!("q=zenith%20or%20wristwatch&sort=relevance&cursor={cursor}"), head).await;
    assert_eq!(titles(&relevant).len() + titles(&rest).len(), 3);
    bazaar.buyer.get(&format!("/listings?sort=popular&cursor={cursor}")).send().await.problem(422, "invalid-field");
}

#[tokio::test]
async fn what_is_found_is_counted_and_can_be_narrowed_down() {
    let (bazaar, head) = with_goods().await;
    let all = find(&bazaar, "facets=true&limit=1", head).await;
    let facets = &all["facets"];
    assert_eq!(facets["total"], 4);
    assert_eq!(
        facets["categories"],
        json!([{ "value": "watches", "count": 3 }, { "value": "stationery", "count": 1 }])
    );
    assert_eq!(facets["brands"], json!([{ "value": "Cartier", "count": 3 }, { "value": "Lamplight", "count": 1 }]));
    assert_eq!(facets["kinds"], json!([{ "value": "fixed_price", "count": 4 }]));
    let years = json!([{ "value": "1989", "count": 2 }, { "value": "1991", "count": 1 }]);
    assert_eq!(facets["attributes"], json!({ "year": years }), "only what may be filtered by");
    assert_eq!(facets["prices"][0]["least"]["amount"], 2_000);
    let narrowed = find(&bazaar, "attr.year=1989&facets=true&sort=price_asc", head).await;
    assert_eq!(titles(&narrowed), ["Zenith pocket timepiece", "Cartier Tank wristwatch"]);
    assert_eq!(narrowed["facets"]["total"], 2);
    assert_eq!(find(&bazaar, "attr.year=1989&attr.note=c", head).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(find(&bazaar, "category=watches", head).await["facets"], Value::Null);
    for wrong in ["attr.=1", "attr.Year=1", "attr.year=1&attr.year=2", "attributes=1"] {
        bazaar.buyer.get(&format!("/listings?{wrong}")).send().await.problem(422, "invalid-field");
    }
    bazaar.buyer.get("/listings?attr.year=%00").send().await.problem(400, "malformed-query");
}

#[tokio::test]
async fn what_is_bought_and_bid_on_is_popular() {
    let (bazaar, head) = with_goods().await;
    let newest = find(&bazaar, "", head).await;
    assert_eq!(titles(&newest)[0], "Fountain pen");
    let tank = newest["items"].as_array().unwrap().iter().find(|item| item["price"]["amount"] == 90_000).unwrap();
    let auctioned = bazaar.seller.schedule(&auction(1_000)).await;
    bazaar.buyer.bid(&auctioned, 2_000).await.expect(201);
    bazaar.buyer.check_out(&[(tank["id"].as_str().unwrap(), 1)], "now").await.expect(201);
    // It is sold out, and so no more among what is active.
    let head = bazaar.wait(0).await;
    assert_eq!(titles(&find(&bazaar, "sort=popular", head).await)[0], "Palm M515");
    let sold_out = find(&bazaar, "sort=popular&status=sold_out", head).await;
    assert_eq!(titles(&sold_out), ["Cartier Tank wristwatch"]);
}

#[tokio::test]
async fn a_view_counts_once_a_day_for_each_viewer_and_changes_no_version() {
    let (bazaar, head) = with_goods().await;
    let id = find(&bazaar, "", head).await["items"][0]["id"].as_str().unwrap().to_owned();
    let before = bazaar.buyer.get(&format!("/listings/{id}")).send().await.expect(200).body;
    let nobody = bazaar.server.client();
    let look = async |client: &Client| {
        let answer = client.post(&format!("/listings/{id}/view"), &json!({})).send().await.expect(200);
        answer.body["counted"].as_bool().unwrap()
    };
    assert_eq!([look(&nobody).await, look(&nobody).await], [true, false]);
    assert_eq!([look(&bazaar.buyer).await, look(&bazaar.buyer).await], [true, false]);
    assert!(!look(&bazaar.seller).await, "one's own");
    let head = bazaar.wait(86_400_000).await;
    let shown = bazaar.buyer.get(&format!("/listings/{id}")).since(head).send().await.expect(200).body;
    assert_eq!((&shown["views"], &shown["version"]), (&json!(2), &before["version"]));
    assert_eq!([look(&nobody).await, look(&nobody).await], [true, false]);
    let absent = eventstore::mint::id();
    nobody.post(&format!("/listings/{absent}/view"), &json!({})).send().await.problem(404, "not-found");
    // Neither who has looked nor from where is in the log.
    let kept: Vec<String> =
        sqlx::query_scalar("select payload::text || metadata::text from events where aggregate_type = 'view'")
            .fetch_all(&bazaar.server.app.pool)
            .await
            .unwrap();
    assert_eq!(kept.len(), 3);
    let buyer = bazaar.buyer.account().to_string();
    for event in kept {
        assert!(!event.contains("127.0.0") && !event.contains("\"ip\"") && !event.contains(&buyer), "{event}");
    }
}

#[tokio::test]
async fn favourites_are_a_list_of_ones_own_and_counted() {
    let (bazaar, head) = with_goods().await;
    let ids: Vec<String> = find(&bazaar, "", head).await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect();
    let path = |id: &str| format!("/listings/{id}/favorite");
    for id in [&ids[0], &ids[1], &ids[0]] {
        bazaar.buyer.post(&path(id), &json!({})).send().await.expect(200);
    }
    let head = bazaar.wait(0).await;
    let list = async |since: i64| {
        let body = bazaar.buyer.get("/wishlist").since(since).send().await.expect(200).body;
        let items = body["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["listing"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(head).await, [ids[1].clone(), ids[0].clone()]);
    assert_eq!(titles(&find(&bazaar, "sort=popular", head).await).len(), 4);
    let shown = bazaar.seller.get(&format!("/listings/{}", ids[0])).since(head).send().await.expect(200).body;
    assert_eq!(shown["favorites"], 1);
    for _ in 0..2 {
        bazaar.buyer.delete(&path(&ids[0]), &json!({})).send().await.expect(200);
    }
    let head = bazaar.wait(0).await;
    assert_eq!(list(head).await, [ids[1].clone()]);
    let others = bazaar.seller.get("/profile/favorites").since(head).send().await.expect(200).body;
    assert_eq!(others["items"], json!([]));
    let draft = bazaar.seller.post("/listings", &listing(1_000)).send().await.expect(201);
    let hidden = path(draft.body["id"].as_str().unwrap());
    bazaar.buyer.post(&hidden, &json!({})).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_favourite_outlives_the_offer_and_shows_nothing_that_was_taken_away() {
    let bazaar = Bazaar::open().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = bazaar.seller.offer(&listing(1_000)).await;
        bazaar.buyer.post(&format!("/listings/{id}/favorite"), &json!({})).send().await.expect(200);
        ids.push(id);
    }
    bazaar.seller.delete(&format!("/listings/{}", ids[0]), &json!({})).send().await.expect(200);
    let (staff, removed) = (bazaar.staff.account(), ids[1].parse().unwrap());
    let remove = move |world: &mut commands::World<'_>| commands::listings::remove(world, removed, staff, "stolen");
    let request = commands::Request::once(eventstore::event::Metadata::by_operator());
    bazaar.server.app.engine.submit(request, remove).await.unwrap();
    let favorites = async |head: i64| bazaar.buyer.get("/profile/favorites").since(head).send().await.expect(200).body;
    let shown = favorites(bazaar.wait(0).await).await;
    let status = |shown: &Value, at: usize| shown["items"][at]["listing"]["status"].clone();
    assert_eq!([0, 1, 2].map(|at| status(&shown, at)), [json!("active"), Value::Null, json!("archived")]);
    assert_eq!(shown["items"][1]["listing_id"], json!(ids[1]));
    // Nor is what is left of it counted or wanted by anybody else.
    let nobody = bazaar.server.client();
    nobody.post(&format!("/listings/{}/view", ids[1]), &json!({})).send().await.problem(404, "not-found");
    let stranger = bazaar.server.client().register("stranger").await;
    stranger.post(&format!("/listings/{}/favorite", ids[1]), &json!({})).send().await.problem(404, "not-found");
    bazaar.buyer.delete(&format!("/listings/{}/favorite", ids[1]), &json!({})).send().await.expect(200);

    close_store(&bazaar).await;
    let shown = favorites(bazaar.wait(0).await).await;
    assert_eq!([0, 1].map(|at| shown["items"][at]["listing"].clone()), [Value::Null, Value::Null], "{shown}");
    nobody.post(&format!("/listings/{}/view", ids[2]), &json!({})).send().await.problem(404, "not-found");
}

/// Opens a store for the seller, and has it suspended.
async fn close_store(bazaar: &Bazaar) {
    let store = json!({ "slug": "watches-and-pens", "brand_name": "Watches and pens" });
    bazaar.seller.ask(&reqwest::Method::PUT, "/api/v1/merchant/me").json(&store).send().await.expect(201);
    let suspend = format!("/admin/merchants/{}/suspend", bazaar.seller.account());
    bazaar.staff.post(&suspend, &json!({ "reason": "It was asked for." })).send().await.expect(200);
}

#[tokio::test]
async fn suggestions_are_of_what_can_be_bought() {
    let (bazaar, head) = with_goods().await;
    let draft = with(listing(1_000), "title", "Secret prototype");
    bazaar.seller.post("/listings", &draft).send().await.expect(201);
    let suggest = async |typed: &str, since: i64| {
        let path = format!("/listings/suggestions?q={typed}");
        bazaar.server.client().get(&path).since(since).send().await.expect(200).body
    };
    let beginning = suggest("cart", head).await;
    assert_eq!(beginning["terms"], json!(["cartier"]));
    assert_eq!(beginning["titles"].as_array().unwrap().len(), 3, "by the brand too");
    assert_eq!(suggest("santos%20wrist", head).await["titles"], json!(["Cartier Santos wristwatch"]));
    assert_eq!(suggest("fountian", head).await["terms"][0], "fountain");
    let head = bazaar.wait(0).await;
    let nothing = json!({ "terms": [], "titles": [] });
    assert_eq!(suggest("prototype", head).await, nothing, "a draft suggests nothing");
    assert_eq!(suggest("", head).await, nothing);
    close_store(&bazaar).await;
    let head = bazaar.wait(0).await;
    assert_eq!(suggest("cart", head).await, nothing, "nor does a closed seller");
    assert_eq!(titles(&find(&bazaar, "", head).await), Vec::<&str>::new());
}
