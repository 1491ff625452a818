//! Who may use which route: every route that is served, tried as nobody, as somebody else, as whom it concerns, and as
//! staff.

use api::http::access::{Access, of_route};
use api::http::{openapi, paths};
use domain::account::Capability;
use image::ImageFormat;
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::market::{address, auction, listing, usd};
use tradepost_tests::pictures::picture;
use tradepost_tests::reputation::{feedback, id_of};

/// What everybody is told who has not logged in.
const LOG_IN: &str = "This takes an access token: log in first.";

/// A route of the table.
struct Route {
    method: Method,
    path: &'static str,
    who: &'static str,
    access: Access,
}

/// Every route that is served.
fn served() -> Vec<Route> {
    let (_, document) = api::http::documented(true).split_for_parts();
    let served = paths::routes().filter(|route| openapi::describes(&document, route));
    let route = |route: paths::Route| {
        let access = of_route(route.method, &format!("{}{}", paths::BASE, route.path)).unwrap();
        Route { method: route.method.parse().unwrap(), path: route.path, who: route.who, access }
    };
    served.map(route).collect()
}

#[test]
fn every_route_that_is_served_is_in_the_table() {
    let (_, document) = api::http::documented(true).split_for_parts();
    let mut served = 0;
    for (path, item) in &document.paths.paths {
        let methods = [
            ("GET", item.get.is_some()),
            ("POST", item.post.is_some()),
            ("PUT", item.put.is_some()),
            ("PATCH", item.patch.is_some()),
            ("DELETE", item.delete.is_some()),
        ];
        for (method, _) in methods.into_iter().filter(|(_, there)| *there) {
            assert!(of_route(method, path).is_some(), "{method} {path} is served, and not in the table of routes");
            served += 1;
        }
    }
    assert!(served > 50, "{served}");
    assert_eq!(of_route("GET", "/api/v1/auth/me"), Some(Access::Account));
    assert_eq!(of_route("HEAD", "/api/v1/metrics"), Some(Access::Capability(Capability::Staff)));
    assert_eq!(of_route("DELETE", "/api/v1/auth/me"), None);
}

/// Things of a seller and a buyer that paths can name.
pub(crate) struct Things {
    listing: String,
    image: String,
    auction: String,
    order: String,
    group: String,
    address: String,
    method: String,
    review: String,
    report: String,
    complaint: String,
    chat: String,
    notification: String,
    subscription: String,
    /// Of a deposit of the buyer's.
    position: String,
}

impl Things {
    pub(crate) async fn of(bazaar: &Bazaar) -> Self {
        let offered = bazaar.offer(3).await;
        let bought = bazaar.buyer.check_out(&[(&offered, 1)], "later").await.expect(201);
        bazaar.buyer.fund(20_000).await;
        let review = bazaar.review(4).await;
        // Nobody reports much on a day.
        let reporter = bazaar.server.join(&format!("reporter-of-{offered}")).await;
        let complained = bazaar.buyer.complain(&tradepost_tests::bazaar::order_of(&bought)).await.expect(201);
        let image = send_picture(&bazaar.seller, &format!("/listings/{offered}/images")).await.expect(201);
        let things = Self {
            image: image.body["items"][0]["id"].as_str().unwrap().to_owned(),
            auction: bazaar.seller.schedule(&auction(1_000)).await,
            order: tradepost_tests::bazaar::order_of(&bought),
            group: bought.body["group_id"].as_str().unwrap().to_owned(),
            address: address_of(&bazaar.buyer, bazaar.server.database.log_head().await).await,
            method: method_of(&bazaar.buyer, bazaar.server.database.log_head().await).await,
            notification: notification_of(&bazaar.buyer, bazaar.server.database.log_head().await).await,
            report: id_of(&reporter.report("listing", &offered).await.expect(201)),
            complaint: id_of(&complained),
            review,
            chat: chat_of(&bazaar.buyer, bazaar.server.database.log_head().await, &offered).await,
            subscription: subscription_of(&bazaar.buyer, bazaar.server.database.log_head().await).await,
            position: deposit_of(bazaar).await,
            listing: offered,
        };
        // Until it shows.
        bazaar.seller.auction(&things.auction, bazaar.server.database.log_head().await).await;
        let head = bazaar.server.database.log_head().await;
        bazaar.buyer.get(&format!("/orders/{}", things.order)).since(head).send().await.expect(200);
        bazaar.buyer.get(&format!("/escrow/{}", things.order)).since(head).send().await.expect(200);
        bazaar.buyer.get(&format!("/orders/{}/money", things.order)).since(head).send().await.expect(200);
        bazaar.seller.get(&format!("/listings/{}", things.listing)).since(head).send().await.expect(200);
        bazaar.buyer.get(&format!("/complaints/{}", things.complaint)).since(head).send().await.expect(200);
        things
    }

    /// Things that nobody has.
    fn of_nobody() -> Self {
        let id = || eventstore::mint::id().to_string();
        Self {
            listing: id(),
            image: id(),
            auction: id(),
            order: id(),
            group: id(),
            address: id(),
            method: id(),
            chat: id(),
            notification: id(),
            subscription: id(),
            position: "999999999".to_owned(),
            review: id(),
            report: id(),
            complaint: id(),
        }
    }

    /// The path of a route with the ids of these things in it.
    pub(crate) fn name(&self, path: &str) -> String {
        let id = match path.split('/').nth(1) {
            Some("listings") => &self.listing,
            Some("events") if path.starts_with("/events/receipts/") => &self.position,
            Some("ws") if path.starts_with("/ws/chats/") => &self.chat,
            Some("auctions" | "ws") => &self.auction,
            Some("chats") => &self.chat,
            Some("notifications") => &self.notification,
            Some("admin") if path.starts_with("/admin/listings/") => &self.listing,
            Some("admin") if path.starts_with("/admin/complaints/") => &self.complaint,
            Some("reviews") => &self.review,
            Some("reports") => &self.report,
            Some("complaints") => &self.complaint,
            Some("order-groups") => &self.group,
            Some("addresses") => &self.address,
            Some("payments") if path.starts_with("/payments/methods/") => &self.method,
            Some("subscriptions") => &self.subscription,
            Some("store") => "no-such-store",
            Some("admin") if path.starts_with("/admin/fees/") => "default",
            Some("pages" | "admin") if path.contains("{slug}") => "terms",
            _ => &self.order,
        };
        let path = path.replace("{image_id}", &self.image);
        // Some month that is over, of which anybody has a statement.
        let path = path.replace("{month}", "2026-01");
        let path = path.replace("{aggregate_type}", "order").replace("{position}", &self.position);
        path.replace("{scope}", "default").replace("{id}", id).replace("{order_id}", id).replace("{slug}", id)
    }
}

/// Where the last deposit of the buyer is, which is the last of all, in the log.
async fn deposit_of(bazaar: &Bazaar) -> String {
    let last = "select max(position) from events where event_type = 'DepositSettled'";
    let position: i64 = sqlx::query_scalar(last).fetch_one(&mut bazaar.server.database.connect().await).await.unwrap();
    position.to_string()
}

/// The newest that somebody was told.
async fn notification_of(client: &Client, since: i64) -> String {
    let told = client.get("/notifications").since(since).send().await.expect(200).body;
    told["items"][0]["id"].as_str().unwrap().to_owned()
}

/// An auction that the winner did not pay, offered to the buyer.
async fn second_chance(bazaar: &Bazaar) -> String {
    const HOUR_MS: i64 = 3_600_000;
    let sloth = bazaar.server.client().register("sloth").await;
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    bazaar.buyer.bid(&id, 2_000).await.expect(201);
    sloth.bid(&id, 3_000).await.expect(201);
    bazaar.wait(HOUR_MS).await;
    bazaar.wait(24 * HOUR_MS).await;
    bazaar.seller.post(&format!("/auctions/{id}/second-chance"), &json!({})).send().await.expect(201);
    id
}

/// An address of somebody: one that is kept already, since there cannot be many.
async fn address_of(client: &Client, since: i64) -> String {
    let book = client.get("/addresses").since(since).send().await.expect(200).body;
    match book["items"][0]["id"].as_str() {
        Some(id) => id.to_owned(),
        None => client.keep_address("Ann").await,
    }
}

/// A payment method of somebody: one that is kept already, since there cannot be many.
async fn method_of(client: &Client, since: i64) -> String {
    let kept = client.get("/payments/methods").since(since).send().await.expect(200).body;
    match kept["items"][0]["id"].as_str() {
        Some(id) => id.to_owned(),
        None => client.keep_method("sandbox-succeeds").await,
    }
}

/// A chat of somebody: one that is open already, since there cannot be many on one day.
async fn chat_of(client: &Client, since: i64, listing: &str) -> String {
    let chats = client.get("/chats").since(since).send().await.expect(200).body;
    if let Some(id) = chats["items"][0]["id"].as_str() {
        return id.to_owned();
    }
    let opened = client.post("/chats", &json!({ "about": "listing", "id": listing })).send().await.expect(201);
    client.get("/chats").since(opened.at()).send().await.expect(200);
    opened.body["id"].as_str().unwrap().to_owned()
}

/// The subscription of somebody, who has one at a time.
async fn subscription_of(client: &Client, since: i64) -> String {
    let mine = client.get("/subscriptions/my").since(since).send().await.expect(200).body;
    if let Some(id) = mine["active"]["id"].as_str() {
        return id.to_owned();
    }
    let premium = json!({ "plan": "premium", "currency": "USD" });
    let bought = client.post("/subscriptions/purchase", &premium).send().await.expect(201);
    bought.body["id"].as_str().unwrap().to_owned()
}

/// A body that the route takes, so that it comes to the question whose thing it is.
fn body(route: &Route) -> Value {
    match (route.method.as_str(), route.path) {
        ("PUT", "/listings/{id}") => listing(2_000),
        ("POST", "/listings") => listing(1_000),
        ("POST", "/auctions") => auction(1_000),
        ("POST", "/auctions/{id}/bids") => json!({ "maximum": usd(2_000) }),
        ("PUT", "/merchant/orders/{id}/status") => json!({ "status": "shipped", "carrier": "Post" }),
        ("POST", "/orders/{id}/ship") => json!({ "carrier": "Post" }),
        ("POST", "/orders/{id}/refund") => json!({ "amount": usd(100) }),
        ("POST", "/auctions/{id}/cancel" | "/orders/{id}/cancel" | "/escrow/{order_id}/dispute") => {
            json!({ "reason": "It is scratched." })
        }
        ("PUT", "/reviews/{id}") => json!({ "rating": 2 }),
        ("POST", "/reviews/{id}/reply") => json!({ "text": "Thank you." }),
        ("POST", "/orders/{id}/feedback") => feedback(5, 4, 3),
        ("PATCH" | "PUT", "/reports/{id}") | ("PATCH", "/admin/complaints/{id}") => {
            json!({ "outcome": "dismissed", "reason": "All is well." })
        }
        ("POST", "/addresses") => address("Ann"),
        ("PUT", "/payments/connect") => json!({ "currency": "USD", "schedule": "manual" }),
        ("POST", "/chats/{id}/messages") => json!({ "text": "Hello" }),
        ("PUT", "/admin/plans/{slug}") => json!({ "name": "Terms", "prices": [usd(1)], "reason": "Why not." }),
        ("PUT", "/admin/fees/{scope}/{id}") => json!({ "fee_bps": 200, "reason": "Why not." }),
        ("PUT", "/admin/pages/{slug}") => json!({ "title": "Terms", "body": "Be kind." }),
        ("POST", "/admin/categories") => json!({ "slug": eventstore::mint::id(), "name": "Watches" }),
        ("POST", "/admin/escrow/{order_id}/resolve") => json!({ "outcome": "release" }),
        ("PATCH" | "PUT", "/admin/listings/{id}") => json!({ "featured": true }),
        ("PATCH" | "PUT", "/admin/users/{id}") => json!({ "reason": "Their papers." }),
        (_, path) if path.starts_with("/admin/merchants/{id}") => json!({ "reason": "Their papers." }),
        _ => json!({}),
    }
}

async fn send_picture(client: &Client, path: &str) -> Answer {
    let small = picture(ImageFormat::Png, 3, 3);
    client.send_files(path, &[("files", &small)]).send().await
}

async fn ask(client: &Client, route: &Route, things: &Things) -> Answer {
    // It is looked at whether something is a form before it is known whom it is for.
    if (route.method.as_str(), route.path) == ("POST", "/listings/{id}/images") {
        return send_picture(client, &things.name(route.path)).await;
    }
    let ask = client.ask(&route.method, &format!("/api/v1{}", things.name(route.path)));
    let body = match (route.method.as_str(), route.path) {
        ("POST", "/chats") => json!({ "about": "listing", "id": things.listing }),
        _ => body(route),
    };
    if route.method == Method::GET { ask.send().await } else { ask.json(&body).send().await }
}

/// Whether whoever a thing is not for does not see it, though any account may have one.
fn of_ones_own(path: &str) -> bool {
    ["/addresses/", "/payments/methods/", "/notifications/{id}", "/subscriptions/{id}"]
        .into_iter()
        .any(|beginning| path.starts_with(beginning))
}

fn told(answer: &Answer) -> (u16, Value, Value) {
    (answer.status, answer.body["type"].clone(), answer.body["detail"].clone())
}

#[tokio::test]
async fn every_route_lets_in_whom_it_concerns_and_nobody_else() {
    let bazaar = Bazaar::open().await;
    let (nobody, stranger) = (bazaar.server.client(), bazaar.server.client().register("stranger").await);
    let auditor = tradepost_tests::bazaar::auditor(&bazaar.server, "auditor").await;
    let (theirs, of_nobody) = (Things::of(&bazaar).await, Things::of_nobody());
    for route in served() {
        let what = format!("{} {} ({})", route.method, route.path, route.who);
        let anonymous = ask(&nobody, &route, &theirs).await;
        if route.access == Access::Open {
            assert_ne!(anonymous.body["detail"], LOG_IN, "{what} as nobody: {}", anonymous.text);
            continue;
        }
        assert_eq!((anonymous.status, &anonymous.body["detail"]), (401, &json!(LOG_IN)), "{what} as nobody");
        assert_eq!(anonymous.header("www-authenticate"), Some("Bearer"), "{what} as nobody");
        // What would end the session, and is tried elsewhere.
        if ["/auth/logout", "/auth/account"].contains(&route.path) {
            continue;
        }
        let other = ask(&stranger, &route, &theirs).await;
        let names_a_thing = route.path.contains('{');
        match (route.access, route.who) {
            (Access::Capability(needed), _) => {
                let (status, needs) = (other.status, &other.body["needed"]);
                assert_eq!((status, needs), (403, &json!(needed.name())), "{what} as a stranger: {}", other.text);
                let entitled = if needed == Capability::Audit { &auditor } else { &bazaar.staff };
                let entitled = ask(entitled, &route, &theirs).await;
                assert!(![401, 403].contains(&entitled.status), "{what} as {needed:?}: {}", entitled.text);
            }
            (_, "buyer") if !route.path.starts_with("/orders/") && !route.path.starts_with("/escrow/") => {
                assert!(![401, 403, 404].contains(&other.status), "{what} as any buyer: {}", other.text);
            }
            (_, "seller") if !names_a_thing => {
                assert_eq!((other.status, &other.body["needed"]), (403, &json!("sell")), "{what} as a buyer");
            }
            (_, "account" | "account (own, open and disputed)") if !of_ones_own(route.path) => {
                assert!(![401, 403, 404].contains(&other.status), "{what} as an account: {}", other.text);
            }
            _ if names_a_thing => {
                // The same as what is not there at all.
                let absent = ask(&stranger, &route, &of_nobody).await;
                assert_eq!(other.status, 404, "{what} as a stranger: {}", other.text);
                assert_eq!(told(&other), told(&absent), "{what} as a stranger");
                // Whom it concerns, with things of their own: some of these cannot be done twice.
                let mut own = Things::of(&bazaar).await;
                if route.who == "underbidder" {
                    own.auction = second_chance(&bazaar).await;
                }
                let (buyer, seller) = (&bazaar.buyer, &bazaar.seller);
                let answers = [ask(buyer, &route, &own).await, ask(seller, &route, &own).await];
                let let_in = answers.iter().any(|answer| ![401, 403, 404].contains(&answer.status));
                assert!(let_in, "{what} as its parties: {} {}", answers[0].text, answers[1].text);
            }
            _ => {
                assert!(![401, 403, 404].contains(&other.status), "{what} as an account: {}", other.text);
            }
        }
    }
}
