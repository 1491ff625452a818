//! Commands in an order that makes little sense, by people whom they do not concern, with bodies that were damaged.

use eventstore::testing::damage;
use rand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;
use tradepost_tests::bazaar::{DAY_MS, MINUTE_MS};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{auction, listing, usd, with};

use super::{Hostile, PATIENCE};

/// What there is to be asked about, by its ids.
#[derive(Default)]
struct There {
    listings: Vec<String>,
    auctions: Vec<String>,
    orders: Vec<String>,
}

#[tokio::test]
async fn commands_in_any_order_are_carried_out_or_refused_and_what_is_refused_did_nothing() {
    let mut hostile = Hostile::open().await;
    let stranger = hostile.bazaar.server.client().register_seller("stranger").await;
    let nobody = hostile.bazaar.server.client();
    let people = [
        hostile.bazaar.seller.clone(),
        hostile.bazaar.buyer.clone(),
        hostile.bazaar.buyer.clone(),
        hostile.bazaar.staff.clone(),
        stranger,
        nobody,
    ];
    let mut there = There::default();
    for _ in 0..3 {
        there.listings.push(hostile.bazaar.offer(5).await);
        there.orders.push(hostile.bazaar.sell().await);
        there.auctions.push(hostile.bazaar.seller.schedule(&auction(1_000)).await);
    }
    let mut head = hostile.settled().await;
    let (mut taken, mut refused) = (0, 0);
    for number in 0..hostile.cases {
        if hostile.rng.random_ratio(1, 12) {
            let pauses = [1, MINUTE_MS, 20 * MINUTE_MS, DAY_MS, 15 * DAY_MS];
            head = hostile.bazaar.wait(pauses[hostile.rng.random_range(0..pauses.len())]).await;
        }
        let who = &people[hostile.rng.random_range(0..people.len())];
        let (method, path, body) = wish(&mut hostile, &there);
        let body = if hostile.rng.random_ratio(1, 3) { damage::of_json(&body, &hostile.changes(2)) } else { body };
        let what = format!("{method} {path} {body}");
        let ask = who.ask(&method, &format!("/api/v1{path}")).json(&body).key(&number.to_string());
        let answer = timeout(PATIENCE, ask.send()).await.unwrap_or_else(|_| panic!("not answered: {what}"));
        if answer.status < 300 {
            taken += 1;
            learn(&mut there, who, &path, &answer);
        } else {
            assert_eq!(answer.refusal_fault(), None, "{what} → {}", answer.text);
            hostile.is_at(head, &what).await;
            refused += 1;
        }
        head = hostile.settled().await;
    }
    assert!(taken > hostile.cases / 20 && refused > hostile.cases / 20, "{taken} taken, {refused} refused");
    hostile.is_sound().await;
}

/// Something that somebody may want.
fn wish(hostile: &mut Hostile, there: &There) -> (Method, String, Value) {
    let any = |hostile: &mut Hostile, ids: &[String]| {
        let ids: Vec<&str> = ids.iter().map(String::as_str).chain(["00000000-0000-0000-0000-000000000007"]).collect();
        hostile.one_of(&ids).to_owned()
    };
    let (listing_id, auction_id, order) =
        (any(hostile, &there.listings), any(hostile, &there.auctions), any(hostile, &there.orders));
    let cents = hostile.rng.random_range(-5..30_000);
    let quantity = hostile.rng.random_range(0..4);
    let post = |path: String, body: Value| (Method::POST, path, body);
    match hostile.rng.random_range(0..22) {
        0 | 1 => {
            let lines = json!([{ "listing_id": listing_id, "quantity": quantity }]);
            let pay = hostile.one_of(&["now", "later"]);
            post("/orders".to_owned(), json!({ "lines": lines, "pay": pay }))
        }
        2 => post(format!("/orders/{order}/ship"), json!({ "carrier": "Post", "tracking": "P1" })),
        3 => post(format!("/orders/{order}/deliver"), json!({})),
        4 => post(format!("/orders/{order}/confirm"), json!({})),
        5 => post(format!("/orders/{order}/cancel"), json!({ "reason": "No." })),
        6 => post(format!("/orders/{order}/pay"), json!({})),
        7 => post(format!("/escrow/{order}/dispute"), json!({ "reason": "It is scratched." })),
        8 => post(format!("/admin/escrow/{order}/resolve"), json!({ "outcome": "release" })),
        9 => post(format!("/admin/escrow/{order}/resolve"), json!({ "outcome": "split", "to_buyer": usd(cents) })),
        10 => post(format!("/escrow/{order}/refund"), json!({ "amount": usd(cents) })),
        11 | 12 => post(format!("/auctions/{auction_id}/bids"), json!({ "maximum": usd(cents) })),
        13 => post(format!("/auctions/{auction_id}/buy-now"), json!({})),
        14 => post(format!("/auctions/{auction_id}/cancel"), json!({ "reason": "Broken." })),
        15 => {
            let amount = json!({ "amount": usd(cents), "payment_method": "sandbox-succeeds" });
            post(hostile.one_of(&["/payments/deposit", "/payments/withdraw"]).to_owned(), amount)
        }
        16 => {
            let what = hostile.one_of(&["publish", "pause", "resume", "archive"]);
            post(format!("/listings/{listing_id}/{what}"), json!({}))
        }
        17 => (Method::PATCH, format!("/listings/{listing_id}"), json!({ "price": usd(cents) })),
        18 => post("/listings".to_owned(), with(listing(cents), "stock", quantity)),
        19 => post("/auctions".to_owned(), with(auction(cents), "reserve_price", usd(cents + 100))),
        20 => {
            let review = json!({ "order_id": order, "listing_id": listing_id, "rating": quantity });
            post("/reviews".to_owned(), review)
        }
        _ => post("/chats".to_owned(), json!({ "about": "order", "id": order })),
    }
}

/// What has come of it is there from now on.
fn learn(there: &mut There, who: &Client, path: &str, answer: &Answer) {
    let id = answer.body["id"].as_str().map(str::to_owned).filter(|_| who.known_account().is_some());
    match path {
        "/listings" => there.listings.extend(id),
        "/auctions" => there.auctions.extend(id),
        "/orders" => {
            let orders = answer.body["orders"].as_array().into_iter().flatten();
            there.orders.extend(orders.filter_map(|order| order["id"].as_str().map(str::to_owned)));
        }
        _ => {}
    }
}
