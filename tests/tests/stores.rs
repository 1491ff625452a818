//! Stores: opening and changing one, what staff decide about it, and who sees and may sell what.

use std::collections::BTreeSet;

use api::config::Config;
use eventstore::sealing::PersonKey;
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, order_of};
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{auction, listing, with};
use tradepost_tests::server::InProcess;
use tradepost_tests::socket::Socket;

const LOGO: &str = "/media/9f3c1d5e7a2b4c6d8e0f1a2b3c4d5e6f-thumb.jpg";

fn store(slug: &str) -> Value {
    json!({
        "slug": slug, "brand_name": "Corner & Co.", "biography": "A bit of everything.", "logo": LOGO,
        "business_address": "12 Mall Road", "whatsapp": "https://wa.me/923001234567",
        "payment_preference": "cash_on_delivery",
    })
}

async fn put(client: &Client, body: &Value) -> Answer {
    client.ask(&Method::PUT, "/api/v1/merchant/me").json(body).send().await
}

/// One's own store, with everything up to now.
async fn mine(bazaar: &Bazaar, client: &Client) -> Value {
    let now = bazaar.server.database.log_head().await;
    client.get("/merchant/me").since(now).send().await.expect(200).body
}

/// What anybody is told of an address, with everything up to now.
async fn seen(bazaar: &Bazaar, path: &str) -> Answer {
    let now = bazaar.server.database.log_head().await;
    bazaar.server.client().get(path).since(now).send().await
}

async fn rule(bazaar: &Bazaar, client: &Client, verdict: &str) -> Answer {
    let path = format!("/admin/merchants/{}", client.account());
    let reason = json!({ "reason": format!("Because: {verdict}.") });
    match verdict {
        "remove" => bazaar.staff.delete(&path, &reason).send().await,
        verdict => bazaar.staff.post(&format!("{path}/{verdict}"), &reason).send().await,
    }
}

fn slugs(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|store| store["slug"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_store_is_opened_by_its_first_put_and_replaced_by_the_next() {
    let bazaar = Bazaar::open().await;
    let ann = bazaar.server.client().register("ann").await;
    ann.get("/merchant/me").send().await.problem(403, "missing-capability");
    let opened = put(&ann, &store("corner")).await.expect(201);
    assert_eq!((&opened.body["state"], &opened.body["kyc"]), (&json!("open"), &json!("pending")));
    assert_eq!(opened.header("location"), Some("/api/v1/merchant/me"));
    let shown = mine(&bazaar, &ann).await;
    assert_eq!(shown["slug"], "corner");
    assert_eq!(shown["business_address"], "12 Mall Road");
    assert_eq!(shown["payment_preference"], "cash_on_delivery");
    // It may sell from now on.
    ann.offer(&listing(1_000)).await;

    // The same again is nothing new, though it is sealed.
    let same = put(&ann, &store("corner")).await.expect(200);
    assert_eq!(same.body["version"], opened.body["version"]);
    let bare = json!({ "slug": "corner-shop", "brand_name": "Corner" });
    let changed = put(&ann, &bare).await.expect(200);
    assert_eq!(changed.body["kyc"], "unverified", "there is no address any more");
    let shown = mine(&bazaar, &ann).await;
    assert_eq!((&shown["slug"], &shown["brand_name"]), (&json!("corner-shop"), &json!("Corner")));
    for gone in ["biography", "logo", "business_address", "whatsapp"] {
        assert_eq!(shown[gone], Value::Null, "{gone}");
    }
    assert_eq!(shown["payment_preference"], "any");
    let stale = ann.ask(&Method::PUT, "/api/v1/merchant/me").header("if-match", "\"1.1\"").json(&store("corner"));
    stale.send().await.problem(412, "version-mismatch");
    // The former slug is anybody's.
    put(&bazaar.seller, &store("corner")).await.expect(201);
    let shown = ann.ask(&Method::GET, "/api/seller-profiles/me/").send().await.expect(200);
    assert_eq!(shown.body["slug"], "corner-shop", "by the name of another backend");
}

#[tokio::test]
async fn a_merchant_joins_with_a_store_in_one_call_or_not_at_all() {
    let bazaar = Bazaar::open().await;
    let join = |name: &str, slug: &str| {
        let body = json!({
            "email": format!("{name}@example.com"), "user_name": name, "password": PASSWORD, "store": store(slug),
        });
        let nobody = bazaar.server.client();
        async move { (nobody.post("/auth/register", &body).send().await, nobody) }
    };
    let (joined, nobody) = join("ann", "corner").await;
    let ann = nobody.logged_in(&joined.expect(201));
    assert_eq!(mine(&bazaar, &ann).await["slug"], "corner");
    ann.offer(&listing(1_000)).await;
    let before = bazaar.server.database.log_head().await;
    let (taken, _) = join("bob", "corner").await;
    let taken = taken.problem(409, "slug-taken");
    assert_eq!(taken.body["errors"][0]["code"], "taken");
    assert_eq!(bazaar.server.database.log_head().await, before, "nothing of it has happened");
    let (joined, _) = join("bob", "other").await;
    joined.expect(201);
}

#[tokio::test]
async fn of_many_who_want_one_slug_at_once_one_gets_it() {
    let bazaar = Bazaar::open().await;
    let names: Vec<String> = (0..8).map(|number| format!("racer-{number}")).collect();
    let racers = futures::future::join_all(names.iter().map(|name| {
        let nobody = bazaar.server.client();
        async move { nobody.register(name).await }
    }))
    .await;
    let prize = store("prize");
    let answers = futures::future::join_all(racers.iter().map(|racer| put(racer, &prize))).await;
    let won = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1, "{answers:?}");
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        answer.problem(409, "slug-taken");
    }
    let page = seen(&bazaar, "/store/prize").await.expect(200);
    let winner = racers.iter().find(|racer| page.body["store"]["id"] == racer.account().0.to_string());
    let winner = winner.or_fail("find the winner on the store's page");
    // Whoever gives it up gives it to one other.
    put(winner, &store("second")).await.expect(200);
    let others = racers.iter().filter(|racer| racer.account() != winner.account());
    let answers = futures::future::join_all(others.map(|racer| put(racer, &prize))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
}

#[tokio::test]
async fn staff_verify_and_look_again_when_name_or_address_change() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    put(seller, &store("corner")).await.expect(201);
    let waiting = seen_by_staff(&bazaar, "?kyc=pending").await;
    assert_eq!(slugs(&waiting), ["corner"]);
    let verified = rule(&bazaar, seller, "verify").await.expect(200);
    assert_eq!(verified.body["kyc"], "verified");
    assert_eq!(seen(&bazaar, "/store/corner").await.expect(200).body["store"]["verified"], true);
    assert_eq!(slugs(&seen(&bazaar, "/stores?verified=true").await.expect(200).body), ["corner"]);
    // Another picture is nobody's concern.
    put(seller, &with(store("corner"), "logo", "/media/0123456789abcdef0123456789abcdef-thumb.png")).await.expect(200);
    assert_eq!(mine(&bazaar, seller).await["kyc"], "verified");
    let moved = put(seller, &with(store("corner"), "business_address", "13 Mall Road")).await.expect(200);
    assert_eq!(moved.body["kyc"], "pending");
    assert_eq!(mine(&bazaar, seller).await["verified_at"], Value::Null);
    rule(&bazaar, seller, "unverify").await.expect(200);
    let shown = mine(&bazaar, seller).await;
    assert_eq!((&shown["kyc"], &shown["reason"]), (&json!("unverified"), &json!("Because: unverify.")));
    let renamed = put(seller, &with(store("corner"), "brand_name", "Crossing")).await.expect(200);
    assert_eq!(renamed.body["kyc"], "pending");
}

async fn seen_by_staff(bazaar: &Bazaar, query: &str) -> Value {
    let now = bazaar.server.database.log_head().await;
    bazaar.staff.get(&format!("/admin/merchants{query}")).since(now).send().await.expect(200).body
}

#[tokio::test]
async fn a_suspended_store_is_not_shown_and_sells_nothing_new_but_settles() {
    let bazaar = Bazaar::open().await;
    let (seller, buyer) = (&bazaar.seller, &bazaar.buyer);
    put(seller, &store("corner")).await.expect(201);
    let sold = bazaar.sell().await;
    let item = bazaar.offer(5).await;
    let running = seller.schedule(&auction(1_000)).await;
    buyer.bid(&running, 2_000).await.expect(201);
    let draft = seller.post("/listings", &listing(1_000)).send().await.expect(201);
    let draft = draft.body["id"].as_str().or_fail("find the draft").to_owned();
    let store_page = seen(&bazaar, "/store/corner").await.expect(200);
    assert_eq!(store_page.body["items"].as_array().map(Vec::len), Some(2));

    let suspended = rule(&bazaar, seller, "suspend").await.expect(200);
    assert_eq!(suspended.body["state"], "suspended");
    let offered = || async {
        let mut found = BTreeSet::new();
        for path in ["/listings", "/auctions"] {
            let page = seen(&bazaar, &format!("{path}?seller={}", seller.account())).await.expect(200);
            let ids = page.body["items"].as_array().cloned().unwrap_or_default();
            found.extend(ids.into_iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()));
        }
        found
    };
    assert_eq!(offered().await, BTreeSet::new());
    seen(&bazaar, "/store/corner").await.problem(404, "not-found");
    seen(&bazaar, &format!("/listings/{item}")).await.problem(404, "not-found");
    assert_eq!(slugs(&seen(&bazaar, "/stores").await.expect(200).body), Vec::<&str>::new());
    let profile = seen(&bazaar, &format!("/users/{}", seller.account())).await.expect(200).body;
    assert_eq!((&profile["store"], &profile["listings"]), (&Value::Null, &json!(0)));
    assert_eq!(mine(&bazaar, seller).await["state"], "suspended");
    // To its seller all of it is there.
    seller.get(&format!("/listings/{item}")).send().await.expect(200);

    buyer.check_out(&[(&item, 1)], "now").await.problem(409, "not-offered");
    buyer.bid(&running, 3_000).await.problem(409, "not-offered");
    seller.post("/listings", &listing(1_000)).send().await.problem(403, "store-suspended");
    seller.post("/auctions", &auction(1_000)).send().await.problem(403, "store-suspended");
    let publish = || seller.post(&format!("/listings/{draft}/publish"), &json!({})).send();
    publish().await.problem(403, "store-suspended");
    // What was sold is sent, and what was won is paid.
    bazaar.ship(&sold).await.expect(200);
    let now = bazaar.wait(3_700_000).await;
    let won = buyer.get("/orders?as=buyer&status=placed").since(now).send().await.expect(200);
    let won = won.body["items"][0]["id"].as_str().or_fail("find what was won").to_owned();
    buyer.tell(&won, "pay").await.expect(200);
    bazaar.ship(&won).await.expect(200);

    rule(&bazaar, seller, "reinstate").await.expect(200);
    assert_eq!(offered().await, BTreeSet::from([item.clone()]), "the auction is over");
    seen(&bazaar, "/store/corner").await.expect(200);
    publish().await.expect(200);
    buyer.check_out(&[(&item, 1)], "now").await.expect(201);
}

#[tokio::test]
async fn auctions_of_a_closed_store_are_there_for_their_parties_and_staff_alone() {
    let bazaar = Bazaar::open().await;
    let (seller, buyer) = (&bazaar.seller, &bazaar.buyer);
    let stranger = bazaar.server.client().register("stranger").await;
    let nobody = bazaar.server.client();
    put(seller, &store("corner")).await.expect(201);
    let running = seller.schedule(&auction(1_000)).await;
    buyer.bid(&running, 2_000).await.expect(201);
    let now = bazaar.server.database.log_head().await;
    let watch = async |client: Option<&Client>, status: u16| {
        let mut path = format!("/api/v1/ws/auctions/{running}");
        if let Some(client) = client {
            let ticket = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201).body["ticket"].clone();
            path = format!("{path}?ticket={}", ticket.as_str().unwrap());
        }
        assert_eq!(Socket::try_open(bazaar.server.address(), &path).await.err().unwrap_or(101), status, "{path}");
    };
    let see = async |client: &Client, now: i64, status: u16| {
        for path in [format!("/auctions/{running}"), format!("/auctions/{running}/bids")] {
            client.get(&path).since(now).send().await.expect(status);
        }
    };
    see(&nobody, now, 200).await;
    for verdict in ["suspend", "remove"] {
        let now = rule(&bazaar, seller, verdict).await.expect(200).at();
        for client in [seller, buyer, &bazaar.staff] {
            see(client, now, 200).await;
            watch(Some(client), 101).await;
        }
        for client in [&nobody, &stranger] {
            see(client, now, 404).await;
        }
        watch(None, 404).await;
        watch(Some(&stranger), 404).await;
    }
}

#[tokio::test]
async fn sockets_of_strangers_end_with_the_store_and_those_of_the_parties_go_on() {
    let bazaar = Bazaar::open().await;
    let (seller, buyer) = (&bazaar.seller, &bazaar.buyer);
    let stranger = bazaar.server.client().register("stranger").await;
    put(seller, &store("corner")).await.expect(201);
    for verdict in ["suspend", "remove"] {
        let running = seller.schedule(&auction(1_000)).await;
        buyer.bid(&running, 2_000).await.expect(201);
        buyer.auction(&running, bazaar.server.database.log_head().await).await;
        let open = async |client: Option<&Client>| {
            let mut path = format!("/api/v1/ws/auctions/{running}");
            if let Some(client) = client {
                let ticket = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201).body["ticket"].clone();
                path = format!("{path}?ticket={}", ticket.as_str().unwrap());
            }
            let mut socket = Socket::open(bazaar.server.address(), &path).await;
            assert_eq!(socket.next().await["type"], "state");
            socket
        };
        let strangers = [open(None).await, open(Some(&stranger)).await];
        let parties = [open(Some(seller)).await, open(Some(buyer)).await, open(Some(&bazaar.staff)).await];
        rule(&bazaar, seller, verdict).await.expect(200);
        for mut socket in strangers {
            assert_eq!(socket.close_code().await, 1008, "{verdict}");
        }
        bazaar.wait(3_700_000).await;
        for mut socket in parties {
            socket.until("closed").await;
        }
        if verdict == "suspend" {
            rule(&bazaar, seller, "reinstate").await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_slug_is_found_as_it_is_written_and_not_otherwise() {
    let bazaar = Bazaar::open().await;
    put(&bazaar.seller, &store("corner")).await.expect(201);
    let item = bazaar.offer(5).await;
    let order = json!({
        "name": "Ann Lee", "phone": "+92 300 1234567", "confirmation": "phone",
        "address": { "line1": "12 Mall Road", "city": "Lahore", "country": "PK" },
        "lines": [{ "listing_id": item, "quantity": 1 }],
    });
    for (slug, read, ordered) in [("corner", 200, 201), ("CORNER", 404, 404), ("Corner", 404, 404)] {
        seen(&bazaar, &format!("/store/{slug}")).await.expect(read);
        let path = format!("/store/{slug}/orders");
        bazaar.server.client().post(&path, &order).send().await.expect(ordered);
    }
}

#[tokio::test]
async fn a_removed_store_is_gone_for_good_and_its_slug_is_not_given_away() {
    let bazaar = Bazaar::open().await;
    let seller = &bazaar.seller;
    put(seller, &store("corner")).await.expect(201);
    let item = bazaar.offer(5).await;
    let bought = order_of(&bazaar.buyer.check_out(&[(&item, 1)], "now").await.expect(201));
    rule(&bazaar, seller, "remove").await.expect(200);
    seen(&bazaar, "/store/corner").await.problem(404, "not-found");
    seen(&bazaar, &format!("/listings/{item}")).await.problem(404, "not-found");
    put(seller, &store("another")).await.problem(403, "store-removed");
    seller.post("/listings", &listing(1_000)).send().await.problem(403, "store-removed");
    for verdict in ["verify", "unverify", "suspend", "reinstate"] {
        rule(&bazaar, seller, verdict).await.problem(403, "store-removed");
    }
    rule(&bazaar, seller, "remove").await.expect(200);
    put(&bazaar.buyer, &store("corner")).await.problem(409, "slug-taken");
    bazaar.ship(&bought).await.expect(200);
    let removed = seen_by_staff(&bazaar, "?state=removed").await;
    assert_eq!(removed["items"][0]["reason"], "Because: remove.");
}

#[tokio::test]
async fn staff_decisions_are_events_with_who_and_why_and_need_a_store() {
    let bazaar = Bazaar::open().await;
    rule(&bazaar, &bazaar.buyer, "verify").await.problem(404, "not-found");
    put(&bazaar.seller, &store("corner")).await.expect(201);
    for verdict in ["verify", "suspend", "reinstate", "unverify", "remove"] {
        rule(&bazaar, &bazaar.seller, verdict).await.expect(200);
    }
    let path = format!("/admin/merchants/{}/verify", bazaar.seller.account());
    bazaar.staff.post(&path, &json!({})).send().await.problem(422, "invalid-field");
    bazaar.seller.post(&path, &json!({ "reason": "I am." })).send().await.problem(403, "missing-capability");
    let stored: Vec<(String, Value)> = sqlx::query_as(
        "select event_type, payload -> event_type -> 'ruling' from events
         where aggregate_type = 'store' and payload -> event_type ->> 'ruling' is not null order by position",
    )
    .fetch_all(&mut bazaar.server.database.connect().await)
    .await
    .or_fail("read the rulings");
    let by = bazaar.staff.account().0.to_string();
    let app = &bazaar.server.app;
    let key = PersonKey::load(&app.pool, &app.wrapping, bazaar.seller.account()).await.or_fail("read a key");
    let key = key.or_fail("find the key of the seller");
    let opened = |mut ruling: Value| {
        let sealed = serde_json::from_value(ruling["reason"].take()).or_fail("find a sealed reason");
        ruling["reason"] = json!(key.open(&sealed));
        ruling
    };
    let rulings: Vec<(String, Value)> = stored.into_iter().map(|(event, ruling)| (event, opened(ruling))).collect();
    let ruling = |verdict: &str| json!({ "by": by, "reason": format!("Because: {verdict}.") });
    let expected = [
        ("StoreVerified", "verify"),
        ("StoreSuspended", "suspend"),
        ("StoreReinstated", "reinstate"),
        ("StoreUnverified", "unverify"),
        ("StoreRemoved", "remove"),
    ];
    assert_eq!(rulings, expected.map(|(event, verdict)| (event.to_owned(), ruling(verdict))));
}

#[tokio::test]
async fn where_it_is_asked_for_only_a_verified_store_publishes() {
    let mut settings = Config::default();
    settings.stores.needs_verification = true;
    let server = InProcess::start_on(TestDatabase::fresh().await, settings).await;
    let seller = server.client().register_seller("seller").await;
    let staff = tradepost_tests::bazaar::staff(&server, "clerk").await;
    let draft = seller.post("/listings", &listing(1_000)).send().await.expect(201);
    let publish = format!("/listings/{}/publish", draft.body["id"].as_str().or_fail("find the draft"));
    let publish = || seller.post(&publish, &json!({})).send();
    assert_eq!(publish().await.problem(403, "store-not-verified").body["kyc"], "unverified");
    put(&seller, &store("corner")).await.expect(201);
    assert_eq!(publish().await.problem(403, "store-not-verified").body["kyc"], "pending");
    seller.post("/auctions", &auction(1_000)).send().await.problem(403, "store-not-verified");
    let verify = format!("/admin/merchants/{}/verify", seller.account());
    staff.post(&verify, &json!({ "reason": "Seen." })).send().await.expect(200);
    publish().await.expect(200);
    seller.post("/auctions", &auction(1_000)).send().await.expect(201);
    // Nor does it come back from a pause while staff do not vouch for it.
    let listing = format!("/listings/{}", draft.body["id"].as_str().or_fail("find the draft"));
    let pause = async |paused: bool| seller.patch(&listing, &json!({ "paused": paused })).send().await;
    pause(true).await.expect(200);
    staff.post(&verify.replace("verify", "unverify"), &json!({ "reason": "Moved." })).send().await.expect(200);
    pause(false).await.problem(403, "store-not-verified");
}

#[tokio::test]
async fn the_name_of_a_suspended_store_stays_taken() {
    let bazaar = Bazaar::open().await;
    put(&bazaar.seller, &store("corner")).await.expect(201);
    rule(&bazaar, &bazaar.seller, "suspend").await.expect(200);
    put(&bazaar.seller, &store("elsewhere")).await.problem(403, "store-suspended");
    put(&bazaar.buyer, &store("corner")).await.problem(409, "slug-taken");
    let about = with(store("corner"), "biography", "We mend our ways.");
    put(&bazaar.seller, &about).await.expect(200);
}

#[tokio::test]
async fn whoever_leaves_frees_the_slug_and_is_found_no_more() {
    let bazaar = Bazaar::open().await;
    let ann = bazaar.server.client().register("ann").await;
    put(&ann, &store("corner")).await.expect(201);
    seen(&bazaar, &format!("/users/{}", ann.account())).await.expect(200);
    ann.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    seen(&bazaar, "/store/corner").await.problem(404, "not-found");
    seen(&bazaar, &format!("/users/{}", ann.account())).await.problem(404, "not-found");
    assert_eq!(seen_by_staff(&bazaar, "").await["items"], json!([]));
    rule(&bazaar, &ann, "verify").await.problem(404, "not-found");
    put(&bazaar.seller, &store("corner")).await.expect(201);
    let shown = seen(&bazaar, "/store/corner").await.expect(200).body;
    assert_eq!(shown["store"]["id"], bazaar.seller.account().0.to_string());
}

#[tokio::test]
async fn stores_are_found_by_words_sorted_and_paged_and_a_page_is_kept_while_nothing_changes() {
    let bazaar = Bazaar::open().await;
    for (number, name) in ["Delta", "alpha", "Charlie", "bravo"].into_iter().enumerate() {
        let client = bazaar.server.client().register(&format!("owner-{number}")).await;
        let about = with(store(&name.to_lowercase()), "brand_name", name);
        put(&client, &with(about, "biography", format!("Sells {name} things."))).await.expect(201);
    }
    let page = async |query: &str| seen(&bazaar, &format!("/stores{query}")).await.expect(200);
    let named = ["alpha", "bravo", "charlie", "delta"];
    assert_eq!(slugs(&page("?sort=name").await.body), named);
    assert_eq!(slugs(&page("").await.body), ["bravo", "charlie", "alpha", "delta"]);
    let mut walked = Vec::new();
    for sort in ["name", "newest"] {
        let mut query = format!("?sort={sort}&limit=1");
        loop {
            let body = page(&query).await.body;
            walked.extend(slugs(&body).into_iter().map(str::to_owned));
            let Some(next) = body["next_cursor"].as_str() else { break };
            query = format!("?sort={sort}&limit=1&cursor={next}");
        }
    }
    assert_eq!(walked, [named, ["bravo", "charlie", "alpha", "delta"]].concat());
    let first = page("?limit=1").await;
    let cursor = first.body["next_cursor"].as_str().or_fail("find the cursor");
    let other = bazaar.server.client().get(&format!("/stores?sort=name&cursor={cursor}")).send().await;
    other.problem(422, "invalid-field");
    assert_eq!(slugs(&page("?q=charlie").await.body), ["charlie"]);
    assert_eq!(slugs(&page("?q=things").await.body).len(), 4);
    assert_eq!(slugs(&page("?q=nothing").await.body), Vec::<&str>::new());

    for path in ["/stores?sort=name", "/store/alpha"] {
        let tag = seen(&bazaar, path).await.expect(200).header("etag").or_fail("find the tag").to_owned();
        let again = || bazaar.server.client().get(path).header("if-none-match", &tag).send();
        again().await.expect(304);
        put(&bazaar.seller, &store(&format!("new-{}", path.len()))).await;
        let now = bazaar.server.database.log_head().await;
        bazaar.server.client().get(path).header("if-none-match", &tag).since(now).send().await.expect(200);
    }
    // What a store offers changes its page too.
    let tag = seen(&bazaar, "/store/alpha").await.header("etag").or_fail("find the tag").to_owned();
    bazaar.offer(1).await;
    let now = bazaar.server.database.log_head().await;
    let changed = bazaar.server.client().get("/store/alpha").header("if-none-match", &tag).since(now).send().await;
    changed.expect(200);
}

#[tokio::test]
async fn what_a_store_says_is_held_to_its_form() {
    let bazaar = Bazaar::open().await;
    for (field, value) in [
        ("slug", json!("Corner")),
        ("slug", json!("-corner")),
        ("slug", json!("co")),
        ("brand_name", json!("  ")),
        ("brand_name", json!("x".repeat(101))),
        ("biography", json!("x".repeat(2_001))),
        ("logo", json!("https://example.com/logo.png")),
        ("logo", json!("/media/../secret")),
        ("logo", json!("/media/logo.webp")),
        ("business_address", json!("x".repeat(501))),
        ("facebook", json!("javascript:alert(1)")),
        ("payment_preference", json!("barter")),
        ("rating", json!(5)),
    ] {
        let refused = put(&bazaar.seller, &with(store("corner"), field, value)).await.problem(422, "invalid-field");
        assert!(refused.body["errors"][0]["pointer"].as_str().is_some_and(|at| at.contains(field)), "{}", refused.text);
    }
}
