//! What people are told: in their lists, over their sockets, and by the staff.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, order_of, staff};
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::market::{auction, listing, with};
use tradepost_tests::server::InProcess;
use tradepost_tests::socket::Socket;

/// What somebody was told, once everything up to `since` shows.
async fn told(client: &Client, since: i64) -> Value {
    client.get("/notifications?limit=100").since(since).send().await.expect(200).body
}

/// What it was about, the newest first.
fn kinds(told: &Value) -> Vec<&str> {
    told["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect()
}

fn find<'a>(told: &'a Value, kind: &str) -> &'a Value {
    let found = told["items"].as_array().unwrap().iter().find(|item| item["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {told}"))
}

async fn head(server: &InProcess) -> i64 {
    server.database.log_head().await
}

async fn read(client: &Client, notification: &Value) -> Answer {
    let path = format!("/notifications/{}/read", notification["id"].as_str().unwrap());
    client.put(&path, &json!({})).send().await
}

async fn prefer(client: &Client, kind: &str, in_app: bool, live: bool, email: bool) -> Answer {
    let items = json!([{ "kind": kind, "in_app": in_app, "live": live, "email": email }]);
    client.put("/notifications/preferences", &json!({ "items": items })).send().await
}

fn announcement(audience: &str) -> Value {
    json!({ "audience": audience, "title": "Tonight", "body": "We are away.\n\nFor an hour.", "reason": "Maintenance." })
}

async fn socket_of(client: &Client, more: &str) -> Socket {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let ticket = answer.body["ticket"].as_str().unwrap();
    Socket::open(client.address(), &format!("/ws/notifications?ticket={ticket}{more}")).await
}

#[tokio::test]
async fn both_sides_of_an_order_are_told_what_happens_to_it() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.deliver().await;
    bazaar.dispute(&order).await.expect(200);
    let split = json!({ "outcome": "split", "to_buyer": { "amount": 5_000, "currency": "USD" } });
    bazaar.resolve(&order, &split).await.expect(200);
    let now = head(&bazaar.server).await;
    let (buyer, seller) = (told(&bazaar.buyer, now).await, told(&bazaar.seller, now).await);
    for kind in ["order_placed", "order_paid", "order_shipped", "dispute", "escrow_refunded"] {
        assert_eq!(find(&buyer, kind)["order_id"], json!(order), "{kind}");
    }
    for kind in ["order_placed", "order_paid", "order_delivered", "dispute", "escrow_released"] {
        assert_eq!(find(&seller, kind)["order_id"], json!(order), "{kind}");
    }
    assert_eq!(find(&buyer, "escrow_refunded")["amount"]["amount"], 5_000);
    let shipped = find(&buyer, "order_shipped");
    assert!(shipped["text"].as_str().unwrap().contains("with Post, under the number P1"), "{shipped}");
    assert_eq!(shipped["link"], json!(format!("/orders/{order}")));
    // In the order in which it happened, each once.
    let sequences: Vec<i64> =
        buyer["items"].as_array().unwrap().iter().map(|item| item["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|newer, older| newer > older), "{sequences:?}");
}

#[tokio::test]
async fn bidders_are_told_that_they_are_outbid_and_who_has_won_what_to_pay() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    let id = seller.schedule(&with(auction(1_000), "duration_s", 600)).await;
    ann.bid(&id, 2_000).await.expect(201);
    bob.bid(&id, 3_000).await.expect(201);
    seller.advance(700_000).await;
    let now = head(&server).await;
    let of_ann = told(&ann, now).await;
    assert_eq!(kinds(&of_ann)[..2], ["lost", "outbid"]);
    assert_eq!(find(&of_ann, "outbid")["auction_id"], json!(id));
    let of_bob = told(&bob, now).await;
    let won = find(&of_bob, "won");
    let group = won["order_group_id"].as_str().unwrap();
    assert_eq!(won["link"], json!(format!("/order-groups/{group}")));
    bob.get(&format!("/order-groups/{group}")).since(now).send().await.expect(200);
    assert_eq!(kinds(&told(&seller, now).await).iter().filter(|kind| **kind == "bid_placed").count(), 2);
}

#[tokio::test]
async fn what_is_read_counts_no_more_and_is_nobody_elses() {
    let bazaar = Bazaar::open().await;
    bazaar.sell().await;
    let now = head(&bazaar.server).await;
    let before = told(&bazaar.buyer, now).await;
    let unread = before["unread"].as_i64().unwrap();
    assert_eq!(unread, i64::try_from(before["items"].as_array().unwrap().len()).unwrap());
    let first = find(&before, "order_paid");
    read(&bazaar.seller, first).await.problem(404, "not-found");
    read(&bazaar.buyer, &json!({ "id": uuid::Uuid::from_u128(7) })).await.problem(404, "not-found");
    let marked = read(&bazaar.buyer, first).await.expect(200);
    // Once more changes nothing.
    assert_eq!(read(&bazaar.buyer, first).await.expect(200).body["version"], marked.body["version"]);
    let after = told(&bazaar.buyer, marked.at()).await;
    assert_eq!(after["unread"], json!(unread - 1));
    assert!(find(&after, "order_paid")["read_at"].is_string());
    let rest = bazaar.buyer.get("/notifications?unread=true").since(marked.at()).send().await.expect(200).body;
    assert_eq!(i64::try_from(rest["items"].as_array().unwrap().len()).unwrap(), unread - 1);
    let all = bazaar.buyer.put("/notifications/read-all", &json!({})).send().await.expect(200);
    assert_eq!(told(&bazaar.buyer, all.at()).await["unread"], 0);
    assert_ne!(told(&bazaar.seller, all.at()).await["unread"], 0);
}

#[tokio::test]
async fn a_list_is_read_in_pages() {
    let bazaar = Bazaar::open().await;
    bazaar.complete().await;
    let now = head(&bazaar.server).await;
    let whole = told(&bazaar.buyer, now).await;
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = bazaar.buyer.get(&format!("/profile/notifications?limit=2{cursor}")).since(now).send().await;
        let page = page.expect(200).body;
        assert_eq!(page["unread"], whole["unread"]);
        pages.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(json!(pages), whole["items"]);
}

#[tokio::test]
async fn somebody_chooses_what_to_be_told_but_for_what_keeps_them_safe() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    let preferences = ann.get("/notifications/preferences").send().await.expect(200);
    let of = |answer: &Answer, kind: &str| {
        let items = answer.body["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["kind"] == kind).unwrap()
    };
    assert_eq!(of(&preferences, "outbid"), json!({ "kind": "outbid", "in_app": true, "live": true, "email": true }));
    assert_eq!(of(&preferences, "bid_placed")["email"], false);
    prefer(&ann, "security", true, true, false).await.problem(422, "preference-fixed");
    let chosen = prefer(&ann, "outbid", false, false, false).await.expect(200);
    let preferences = ann.get("/notifications/preferences").since(chosen.at()).send().await.expect(200);
    assert_eq!(of(&preferences, "outbid")["in_app"], false);
    assert_eq!(of(&preferences, "won")["in_app"], true);
    // Made upon what was seen.
    let stale = json!({ "items": [] });
    let stale = ann.put("/notifications/preferences", &stale).header("if-match", "\"0.0\"").send().await;
    stale.problem(412, "version-mismatch");
    let id = seller.schedule(&auction(1_000)).await;
    ann.bid(&id, 2_000).await.expect(201);
    bob.bid(&id, 3_000).await.expect(201);
    ann.bid(&id, 4_000).await.expect(201);
    let now = head(&server).await;
    assert!(!kinds(&told(&ann, now).await).contains(&"outbid"));
    assert!(kinds(&told(&bob, now).await).contains(&"outbid"));
}

#[tokio::test]
async fn the_owner_is_told_of_another_payment_method_in_the_list_and_at_once() {
    let server = InProcess::start().await;
    let (ann, bob) = (server.client().register("ann").await, server.client().register("bob").await);
    // That they are to verify their address was told before.
    told(&ann, head(&server).await).await;
    let mut socket = socket_of(&ann, "").await;
    assert_eq!(socket.next().await["type"], "state");
    // Whatever else they want to hear of, it is in the list.
    prefer(&ann, "security", false, true, true).await.problem(422, "preference-fixed");
    let method = ann.keep_method("sandbox-succeeds").await;
    let pushed = socket.next().await["notification"].clone();
    let now = head(&server).await;
    let of_ann = told(&ann, now).await;
    let added = find(&of_ann, "security");
    assert_eq!((&added["title"], &added["link"]), (&json!("A payment method was added"), &json!("/wallet")));
    assert_eq!((&pushed["id"], &pushed["kind"]), (&added["id"], &json!("security")));
    assert!(!kinds(&told(&bob, now).await).contains(&"security"));
    // Each is told of on its own; that one is gone lets money go nowhere else.
    ann.keep_method("sandbox-delays").await;
    ann.delete(&format!("/payments/methods/{method}"), &json!({})).send().await.expect(200);
    let of_ann = told(&ann, head(&server).await).await;
    assert_eq!(kinds(&of_ann).iter().filter(|kind| **kind == "security").count(), 2);
}

#[tokio::test]
async fn the_staff_speaks_to_everybody_to_some_and_to_one() {
    let Bazaar { server, seller, buyer, staff: clerk } = Bazaar::open().await;
    // Who has done nothing at all would be gone by the end.
    seller.offer(&listing(1_000)).await;
    buyer.post("/admin/notifications", &announcement("all")).send().await.problem(403, "missing-capability");
    clerk.post("/admin/notifications", &announcement("all")).send().await.expect(201);
    let said = clerk.post("/admin/notifications", &announcement("sell")).send().await.expect(201);
    let late = server.client().register_seller("late").await;
    let now = head(&server).await.max(said.at());
    let texts = |told: &Value| {
        let items = told["items"].as_array().unwrap().iter();
        items.filter(|item| item["kind"] == "announcement").count()
    };
    assert_eq!(texts(&told(&seller, now).await), 2);
    let of_buyer = told(&buyer, now).await;
    assert_eq!(texts(&of_buyer), 1);
    // What was said before they came, nobody has said to them.
    assert_eq!(texts(&told(&late, now).await), 0);
    let announced = find(&of_buyer, "announcement");
    assert_eq!((&announced["title"], &announced["text"]), (&json!("Tonight"), &json!("We are away.\n\nFor an hour.")));
    // Each reads it alone.
    let unread = of_buyer["unread"].as_i64().unwrap();
    let marked = read(&buyer, announced).await.expect(200);
    assert_eq!(told(&buyer, marked.at()).await["unread"], json!(unread - 1));
    assert_eq!(texts(&told(&seller, marked.at()).await), 2);
    assert!(find(&told(&seller, marked.at()).await, "announcement")["read_at"].is_null());

    let mut to_one = announcement("all");
    to_one["account_id"] = json!(buyer.account());
    clerk.post("/admin/notifications", &to_one).send().await.problem(422, "invalid-field");
    to_one["audience"] = Value::Null;
    let said = clerk.post("/admin/notifications", &to_one).send().await.expect(201);
    assert_eq!(texts(&told(&buyer, said.at()).await), 2);
    assert_eq!(texts(&told(&seller, said.at()).await), 2);
    to_one["account_id"] = json!(uuid::Uuid::from_u128(7));
    clerk.post("/admin/notifications", &to_one).send().await.problem(404, "not-found");

    // Three months later nobody looks for what was said to several.
    let now = clerk.advance(91 * DAY_MS).await;
    assert_eq!(texts(&told(&buyer, now).await), 1);
    assert_eq!(texts(&told(&seller, now).await), 0);
}

#[tokio::test]
async fn the_staff_is_told_of_listings_that_wait_for_it() {
    let mut settings = api::config::Config::default();
    settings.catalogue.review = true;
    let server = InProcess::start_with(settings).await;
    let clerk = staff(&server, "clerk").await;
    let seller = server.client().register_seller("seller").await;
    let drafted = seller.post("/listings", &listing(1_000)).send().await.expect(201);
    let id = drafted.body["id"].as_str().unwrap().to_owned();
    let waits = seller.post(&format!("/listings/{id}/publish"), &json!({})).send().await.expect(200);
    let waiting = told(&clerk, waits.at()).await;
    assert_eq!(find(&waiting, "listing_review")["listing_id"], json!(id));
    assert!(!kinds(&told(&seller, waits.at()).await).contains(&"listing_review"));
    let ruled = clerk.patch(&format!("/admin/listings/{id}"), &json!({ "status": "active" })).send().await.expect(200);
    assert!(!kinds(&told(&clerk, ruled.at()).await).contains(&"listing_review"));
    assert_eq!(find(&told(&seller, ruled.at()).await, "listing_reviewed")["listing_id"], json!(id));
}

#[tokio::test]
async fn somebody_who_looks_is_told_at_once_and_after_a_while_what_they_have_missed() {
    let bazaar = Bazaar::open().await;
    let anonymous = Socket::try_open(bazaar.server.address(), "/ws/notifications").await;
    assert_eq!(anonymous.err(), Some(401));
    let mut socket = socket_of(&bazaar.seller, "").await;
    let state = socket.next().await;
    // They are to verify their address.
    assert_eq!((&state["type"], &state["unread"]), (&json!("state"), &json!(1)));
    let order = bazaar.sell().await;
    let placed = socket.next().await;
    assert_eq!(placed["type"], "notification");
    assert_eq!(placed["notification"]["kind"], "order_placed");
    assert_eq!(placed["notification"]["order_id"], json!(order));
    let paid = socket.next().await;
    assert_eq!(paid["notification"]["kind"], "order_paid");
    // What the staff says to several, too.
    bazaar.staff.post("/admin/notifications", &announcement("sell")).send().await.expect(201);
    assert_eq!(socket.next().await["notification"]["kind"], "announcement");
    prefer(&bazaar.seller, "announcement", true, false, true).await.expect(200);
    bazaar.wait(0).await;
    bazaar.staff.post("/admin/notifications", &announcement("all")).send().await.expect(201);
    bazaar.sell().await;
    assert_eq!(socket.next().await["notification"]["kind"], "order_placed");
    drop(socket);

    let after = placed["sequence"].as_i64().unwrap();
    let mut again = socket_of(&bazaar.seller, &format!("&after={after}")).await;
    again.next().await;
    let missed = [again.next().await, again.next().await, again.next().await];
    let missed: Vec<&str> = missed.iter().map(|it| it["notification"]["kind"].as_str().unwrap()).collect();
    // But for what they do not want to hear of any more.
    assert_eq!(missed, ["order_paid", "order_placed", "order_paid"]);
}

#[tokio::test]
async fn what_was_read_goes_after_ninety_days_and_what_was_not_stays() {
    let bazaar = Bazaar::open().await;
    bazaar.sell().await;
    let now = head(&bazaar.server).await;
    let marked = read(&bazaar.buyer, find(&told(&bazaar.buyer, now).await, "order_paid")).await.expect(200);
    let shown = kinds(&told(&bazaar.buyer, marked.at()).await).len();
    let now = bazaar.wait(90 * DAY_MS).await;
    assert!(kinds(&told(&bazaar.buyer, now).await).contains(&"order_paid"));
    let now = bazaar.wait(DAY_MS).await;
    let left = told(&bazaar.buyer, now).await;
    assert!(!kinds(&left).contains(&"order_paid"));
    // What was not shipped in time came back meanwhile.
    assert!(kinds(&left).len() >= shown, "{left}");
    assert!(kinds(&left).contains(&"order_placed"));
}

#[tokio::test]
async fn whoever_never_verifies_an_address_goes_unless_they_have_done_anything() {
    let server = InProcess::start().await;
    let ghost = server.client().register("ghost").await;
    let bazaar = Bazaar::at(server).await;
    let names = |name: &'static str| {
        let body =
            json!({ "email": format!("{name}@example.com"), "user_name": name, "password": "correct horse battery" });
        bazaar.server.client().post("/auth/register", &body).send()
    };
    names("ghost").await.expect(409);
    bazaar.offer(1).await;
    bazaar.wait(31 * DAY_MS).await;
    let login = json!({ "email": "ghost@example.com", "password": PASSWORD });
    ghost.post("/auth/login", &login).send().await.problem(401, "unauthenticated");
    // The name is free, and everybody else is still there.
    names("ghost").await.expect(201);
    for name in ["seller", "buyer", "clerk"] {
        bazaar.server.client().login(name).await;
    }
}

#[tokio::test]
async fn what_is_sold_out_is_shown_for_thirty_days() {
    let bazaar = Bazaar::open().await;
    let item = bazaar.offer(1).await;
    let bought = bazaar.buyer.check_out(&[(&item, 1)], "now").await.expect(201);
    let offers = async |bazaar: &Bazaar| {
        let shown = bazaar.seller.get("/subscriptions/my").since(head(&bazaar.server).await).send().await.expect(200);
        shown.body["offers"].as_i64().unwrap()
    };
    let status = async |since: i64| {
        let shown = bazaar.seller.get(&format!("/listings/{item}")).since(since).send().await.expect(200);
        shown.body["status"].as_str().unwrap().to_owned()
    };
    bazaar.ship(&order_of(&bought)).await.expect(200);
    assert_eq!(status(head(&bazaar.server).await).await, "sold_out");
    assert_eq!(status(bazaar.wait(29 * DAY_MS).await).await, "sold_out");
    assert_eq!(offers(&bazaar).await, 1);
    assert_eq!(status(bazaar.wait(2 * DAY_MS).await).await, "archived");
    assert_eq!(offers(&bazaar).await, 0, "it makes room for another");
}

#[tokio::test]
async fn what_was_taken_off_before_its_last_piece_was_paid_waits_for_nothing() {
    let bazaar = Bazaar::open().await;
    let item = bazaar.offer(1).await;
    let placed = bazaar.buyer.check_out(&[(&item, 1)], "later").await.expect(201);
    bazaar.seller.delete(&format!("/listings/{item}"), &json!({})).send().await.expect(200);
    bazaar.buyer.tell(&order_of(&placed), "pay").await.expect(200);
    bazaar.wait(31 * DAY_MS).await;
    let waiting: i64 = sqlx::query_scalar("select count(*) from timers where kind = 'sold_end'")
        .fetch_one(&bazaar.server.app.pool)
        .await
        .unwrap();
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn times_are_the_marketplaces() {
    let bazaar = Bazaar::open().await;
    bazaar.offer(1).await;
    bazaar.wait(400 * DAY_MS).await;
    bazaar.sell().await;
    let told = told(&bazaar.buyer, head(&bazaar.server).await).await;
    let at: DateTime<Utc> = find(&told, "order_paid")["created_at"].as_str().unwrap().parse().unwrap();
    assert!(at > eventstore::clock::Clock::real_now() + chrono::TimeDelta::days(399), "{at}");
}
