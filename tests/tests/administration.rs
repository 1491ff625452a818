//! What staff see and decide: accounts, money, how the marketplace does, and the record of what they have done.

use std::time::{Duration, Instant};

use api::http::{openapi, paths};
use reqwest::Method;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, DAY_MS, admin, staff};
use tradepost_tests::client::{Answer, Client};
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::socket::Socket;

const HOUR_MS: i64 = 3_600_000;
/// What staff decide counts within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

fn user(client: &Client) -> String {
    format!("/admin/users/{}", client.account())
}

/// What `by` decides about somebody.
async fn rule(by: &Client, whom: &Client, body: Value) -> Answer {
    by.patch(&user(whom), &with(body, "reason", "As told in the ticket.")).send().await
}

async fn items(client: &Client, path: &str, since: i64) -> Vec<Value> {
    let page = client.get(path).since(since).send().await.expect(200).body;
    page["items"].as_array().cloned().or_fail("find the items of a page")
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().filter_map(|item| item["id"].as_str()).collect()
}

#[tokio::test]
async fn staff_find_accounts_by_what_they_are_and_by_their_names_in_full() {
    let bazaar = Bazaar::open().await;
    let clerk = &bazaar.staff;
    rule(clerk, &bazaar.buyer, json!({ "status": "suspended" })).await.expect(200);
    let now = bazaar.wait(0).await;
    let everybody = items(clerk, "/admin/users", now).await;
    let all = [clerk, &bazaar.buyer, &bazaar.seller].map(|client| client.account().to_string());
    assert_eq!(ids(&everybody), all, "the newest first");
    for (query, whom) in [
        ("q=buyer@example.com", &bazaar.buyer),
        ("q=Buyer%40Example.com", &bazaar.buyer),
        ("q=seller", &bazaar.seller),
        ("status=suspended", &bazaar.buyer),
        ("capability=sell", &bazaar.seller),
        ("capability=staff&status=active", clerk),
    ] {
        let found = items(clerk, &format!("/admin/users?{query}"), now).await;
        assert_eq!(ids(&found), [whom.account().to_string()], "{query}");
    }
    let by_id = items(clerk, &format!("/admin/users?q={}", bazaar.seller.account()), now).await;
    assert_eq!(by_id[0]["email"], "seller@example.com");
    // Nobody is found by a part of a name.
    for nobody in ["q=buye", "q=buyer@example", "q=seller&status=blocked", "status=erased", "q="] {
        assert_eq!(items(clerk, &format!("/admin/users?{nobody}"), now).await, Vec::<Value>::new(), "{nobody}");
    }
    let first = clerk.get("/admin-panel/users?limit=2").since(now).send().await.expect(200).body;
    let cursor = first["next_cursor"].as_str().or_fail("find the next page");
    let rest = items(clerk, &format!("/admin/users?limit=2&cursor={cursor}"), now).await;
    assert_eq!(ids(&rest), &all[2..]);
    let shown = clerk.get(&user(&bazaar.buyer)).since(now).send().await.expect(200).body;
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("suspended"), &json!("As told in the ticket.")));
    assert_eq!(shown["ruled_by"], json!(clerk.account()));
    clerk.get(&format!("/admin/users/{}", eventstore::mint::id())).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn whom_staff_block_trades_no_more_at_once_and_still_reads_and_pays() {
    let bazaar = Bazaar::open().await;
    let (clerk, buyer) = (&bazaar.staff, &bazaar.buyer);
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    let owed = buyer.check_out(&[(&bazaar.offer(1).await, 1)], "later").await.expect(201);
    let goods = bazaar.offer(1).await;
    buyer.auction(&id, bazaar.wait(0).await).await;
    let ticket = buyer.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let ticket = ticket.body["ticket"].as_str().or_fail("find the ticket");
    let mut socket = Socket::open(buyer.address(), &format!("/ws/auctions/{id}?ticket={ticket}")).await;
    assert_eq!(socket.next().await["type"], "state");
    let blocked = rule(clerk, buyer, json!({ "status": "blocked" })).await.expect(200);
    assert_eq!(blocked.body["status"], "blocked");
    let began = Instant::now();
    assert_eq!(socket.close_code().await, 1008);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    buyer.bid(&id, 2_000).await.problem(403, "account-blocked");
    buyer.check_out(&[(&goods, 1)], "now").await.problem(403, "account-blocked");
    buyer.withdraw(100, "sandbox-succeeds").await.problem(403, "account-blocked");
    let me = buyer.get("/auth/me").since(blocked.at()).send().await.expect(200).body;
    assert_eq!((&me["status"], &me["blocked"]), (&json!("blocked"), &json!(true)));
    let order = tradepost_tests::bazaar::order_of(&owed);
    buyer.tell(&order, "pay").await.expect(200);
    // A suspension does not make it less.
    let both = rule(clerk, buyer, json!({ "status": "suspended" })).await.expect(200);
    assert_eq!(both.body["status"], "blocked");
    let free = rule(clerk, buyer, json!({ "status": "active" })).await.expect(200);
    assert_eq!(free.body["status"], "active");
    buyer.bid(&id, 2_000).await.expect(201);
    clerk.patch(&user(buyer), &json!({ "status": "blocked" })).send().await.problem(422, "invalid-field");
    let nobody = format!("/admin/users/{}", eventstore::mint::id());
    clerk.patch(&nobody, &json!({ "reason": "x" })).send().await.problem(404, "not-found");
    buyer.patch(&user(&bazaar.seller), &json!({ "reason": "x" })).send().await.problem(403, "missing-capability");
}

#[tokio::test]
async fn only_administrators_decide_who_works_here_and_one_of_them_is_always_left() {
    let bazaar = Bazaar::open().await;
    let (clerk, root) = (&bazaar.staff, admin(&bazaar.server, "root").await);
    let grant = |what: &str| json!({ "grant": [what] });
    for capability in ["staff", "admin", "audit"] {
        let refused = rule(clerk, &bazaar.buyer, grant(capability)).await.problem(403, "missing-capability");
        assert_eq!(refused.body["needed"], "admin");
    }
    let sells = rule(clerk, &bazaar.buyer, grant("sell")).await.expect(200);
    assert_eq!(sells.body["capabilities"], json!(["buy", "sell"]));
    rule(clerk, &bazaar.buyer, json!({ "revoke": ["buy"] })).await.expect(200);
    // Whoever works here is ruled on by an administrator, and nobody by themselves.
    for body in [json!({ "status": "blocked" }), json!({ "revoke": ["buy"] }), json!({ "pardon": true })] {
        rule(clerk, &root, body).await.problem(403, "missing-capability");
    }
    for body in [json!({ "status": "active" }), grant("audit"), json!({ "pardon": true })] {
        rule(&root, &root, body).await.problem(403, "own-account");
    }
    rule(&root, &root, json!({ "revoke": ["admin"] })).await.problem(409, "last-admin");
    let body = json!({ "password": tradepost_tests::client::PASSWORD });
    root.delete("/auth/account", &body).send().await.problem(409, "last-admin");
    let both = json!({ "grant": ["sell"], "revoke": ["sell"] });
    rule(&root, clerk, both).await.problem(422, "invalid-field");
    let promoted = rule(&root, clerk, grant("admin")).await.expect(200);
    // Until the new one shows, nobody knows that there is one.
    root.get(&user(clerk)).since(promoted.at()).send().await.expect(200);
    rule(&root, &root, json!({ "revoke": ["admin", "staff"] })).await.expect(200);
    let began = Instant::now();
    while root.get("/admin/users").send().await.status != 403 {
        assert!(began.elapsed() < AT_ONCE, "still in after {:?}", began.elapsed());
    }
    rule(clerk, clerk, json!({ "revoke": ["admin"] })).await.problem(409, "last-admin");
}

#[tokio::test]
async fn of_two_administrators_who_step_down_at_once_one_stays() {
    let bazaar = Bazaar::open().await;
    let (one, two) = (admin(&bazaar.server, "one").await, admin(&bazaar.server, "two").await);
    one.get(&user(&two)).since(bazaar.wait(0).await).send().await.expect(200);
    let step_down = json!({ "revoke": ["admin"] });
    let answers = tokio::join!(rule(&one, &one, step_down.clone()), rule(&two, &two, step_down));
    let mut statuses = [answers.0.status, answers.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", answers.0.text, answers.1.text);
}

/// Lets `winner` win an auction of an hour and not pay, and tells the order. At its deadline many processes say so, at once
/// and again.
async fn forfeit(bazaar: &Bazaar, winner: &Client) -> String {
    let id = bazaar.seller.schedule(&auction(1_000)).await;
    winner.bid(&id, 5_000).await.expect(201);
    let closed = bazaar.wait(HOUR_MS).await;
    let orders = items(winner, "/orders?as=buyer&status=placed", closed).await;
    let order = orders[0]["id"].as_str().or_fail("find the order").to_owned();
    bazaar.wait(24 * HOUR_MS - 500).await;
    tokio::join!(expire(bazaar, &order), expire(bazaar, &order), bazaar.wait(1_000), expire(bazaar, &order));
    expire(bazaar, &order).await;
    order
}

/// Says of an order that the deadline of its payment has passed, as a process would that begins again: many at once. Before
/// the deadline that is refused.
async fn expire(bazaar: &Bazaar, order: &str) {
    let shown = bazaar.seller.get(&format!("/orders/{order}")).send().await.expect(200).body;
    let group: uuid::Uuid = shown["group_id"].as_str().and_then(|id| id.parse().ok()).or_fail("find the group");
    let expire = |_| {
        let metadata = eventstore::event::Metadata::by_process("timers");
        let expire =
            move |world: &mut commands::World<'_>| commands::orders::expire(world, domain::OrderGroupId(group));
        bazaar.server.app.engine.submit(commands::Request::once(metadata), expire)
    };
    for expired in futures::future::join_all((0..20).map(expire)).await {
        let refused = matches!(expired, Err(commands::CommandError::Refused { .. }));
        assert!(expired.is_ok() || refused, "{expired:?}");
    }
}

#[tokio::test]
async fn the_third_order_that_was_not_paid_blocks_exactly_once_and_unblocking_begins_anew() {
    let bazaar = Bazaar::open().await;
    let (clerk, sloth) = (&bazaar.staff, bazaar.server.client().register("sloth").await);
    let mut orders = Vec::new();
    for _ in 0..3 {
        orders.insert(0, forfeit(&bazaar, &sloth).await);
    }
    let now = bazaar.wait(0).await;
    let count = async |event: &str| -> i64 {
        sqlx::query_scalar("select count(*) from events where event_type = $1 and aggregate_id = $2")
            .bind(event)
            .bind(sloth.account().to_string())
            .fetch_one(&mut bazaar.server.database.connect().await)
            .await
            .or_fail("count events")
    };
    assert_eq!((count("ViolationRecorded").await, count("AccountBlocked").await), (3, 1));
    let (theirs, own) = (format!("{}/violations", user(&sloth)), "/profile/violations");
    for (client, path) in [(clerk, &*theirs), (&sloth, own)] {
        let listed = items(client, path, now).await;
        let listed: Vec<_> = listed.iter().map(|it| (it["order_id"].as_str(), it["pardoned_at"].is_null())).collect();
        assert_eq!(listed, orders.iter().map(|order| (Some(order.as_str()), true)).collect::<Vec<_>>(), "{path}");
    }
    let shown = clerk.get(&user(&sloth)).since(now).send().await.expect(200).body;
    assert_eq!((&shown["status"], &shown["violations"]), (&json!("blocked"), &json!(3)));
    assert_eq!((&shown["ruled_by"], &shown["reason"]), (&Value::Null, &Value::Null));
    let freed = rule(clerk, &sloth, json!({ "status": "active" })).await.expect(200);
    assert_eq!((&freed.body["status"], &freed.body["violations"]), (&json!("active"), &json!(0)));
    let listed = items(&sloth, own, freed.at()).await;
    assert!(listed.iter().all(|it| it["pardoned_at"].is_string()), "{listed:?}");
    // However often the process runs, and whatever it is that it tells again.
    expire(&bazaar, &orders[0]).await;
    assert_eq!(count("ViolationRecorded").await, 3);
    for violations in 1..=2 {
        forfeit(&bazaar, &sloth).await;
        let shown = clerk.get(&user(&sloth)).since(bazaar.wait(0).await).send().await.expect(200).body;
        assert_eq!((&shown["status"], &shown["violations"]), (&json!("active"), &json!(violations)));
    }
    let pardoned = rule(clerk, &sloth, json!({ "pardon": true })).await.expect(200);
    assert_eq!(pardoned.body["violations"], 0);
    forfeit(&bazaar, &sloth).await;
    assert_eq!(count("AccountBlocked").await, 1);
    let stranger = bazaar.server.client().register("stranger").await;
    stranger.get(&theirs).send().await.problem(403, "missing-capability");
}

fn cents(money: &Value) -> i64 {
    money["amount"].as_i64().or_fail("read an amount")
}

/// What of sums is told of one seller as of all.
const SUMS: [&str; 4] = ["gross", "refunded", "fees", "paid_out"];

#[tokio::test]
async fn the_dashboard_is_what_all_sellers_see_together_and_what_the_books_say() {
    let bazaar = Bazaar::open().await;
    let other = bazaar.server.client().register_seller("other").await;
    for (seller, slug) in [(&bazaar.seller, "corner"), (&other, "shop")] {
        let about = json!({ "slug": slug, "brand_name": slug });
        let opened = seller.put("/merchant/me", &about).send().await;
        assert!(opened.status < 300, "{}", opened.text);
    }
    bazaar.complete().await;
    bazaar.wait(3 * DAY_MS).await;
    let disputed = bazaar.sell().await;
    bazaar.dispute(&disputed).await.expect(200);
    let split = bazaar.sell().await;
    bazaar.dispute(&split).await.expect(200);
    bazaar.resolve(&split, &json!({ "outcome": "split", "to_buyer": usd(4_000) })).await.expect(200);
    let theirs = other.offer(&with(listing(2_000), "stock", 5)).await;
    bazaar.buyer.check_out(&[(&theirs, 2)], "now").await.expect(201);
    // A guest pays at the door.
    let order = json!({
        "name": "Ann Lee", "phone": "+92 300 1234567", "confirmation": "phone",
        "address": { "line1": "12 Mall Road", "city": "Lahore", "country": "PK" },
        "lines": [{ "listing_id": theirs, "quantity": 1 }],
    });
    let placed = bazaar.server.client().post("/store/shop/orders", &order).send().await.expect(201);
    let id = placed.body["order_id"].as_str().or_fail("find the order");
    other.post(&format!("/merchant/orders/{id}/confirm"), &json!({})).send().await.expect(200);
    other.post(&format!("/orders/{id}/ship"), &json!({ "carrier": "Courier" })).send().await.expect(200);
    other.tell(id, "deliver").await.expect(200);

    let now = bazaar.wait(0).await;
    let shown = bazaar.staff.get("/admin-panel/dashboard").since(now).send().await.expect(200).body;
    let dollars = &shown["currencies"][0];
    let total = &dollars["total"];
    // The books know what was kept and what is held.
    assert_eq!(cents(&total["fees"]), bazaar.book("fee-income").await);
    assert_eq!(cents(&dollars["escrow_held"]), bazaar.book("escrow").await);
    let parts = ["refunded", "fees", "paid_out"].map(|part| cents(&total[part])).iter().sum::<i64>();
    assert_eq!(cents(&total["gross"]), parts + cents(&dollars["escrow_held"]));
    assert_eq!(cents(&dollars["gmv"]), cents(&total["gross"]) + 2_000);
    assert_eq!(total["cash"], json!({ "orders": 1, "pieces": 1, "gross": usd(2_000) }));
    // Merchants see of theirs what staff see of them, and together it is all there is.
    let merchants = items(&bazaar.staff, "/admin/merchants", now).await;
    let of = |client: &Client| merchants.iter().find(|it| it["id"] == json!(client.account())).or_fail("find a store");
    for seller in [&bazaar.seller, &other] {
        let own = seller.get("/merchant/dashboard").since(now).send().await.expect(200).body;
        let (own, seen) = (&own["currencies"][0], &of(seller)["sales"][0]);
        for field in SUMS.iter().chain(&["orders", "pieces", "cash"]) {
            assert_eq!(own["total"][*field], seen[*field], "{field}");
        }
        assert_eq!(own["in_escrow"], seen["in_escrow"]);
    }
    for field in SUMS {
        let together: i64 = [&bazaar.seller, &other].iter().map(|it| cents(&of(it)["sales"][0][field])).sum();
        assert_eq!(cents(&total[field]), together, "{field}");
    }
    assert_eq!((&shown["users"], &shown["merchants"]), (&json!({ "active": 4 }), &json!({ "open": 2 })));
    assert_eq!(shown["listings"], json!({ "active": 4 }));
    assert_eq!(shown["orders"], json!({ "completed": 3, "paid": 2 }));
    assert_eq!(shown["escrows"], json!({ "disputed": 1, "funded": 1, "released": 1, "split": 1 }));
    assert_eq!(shown["open_disputes"], 1);
    for (list, field, sum) in [("per_day", "signups", 4), ("per_day", "orders", 5), ("per_day", "disputes", 2)] {
        let days = shown[list].as_array().or_fail("find the days");
        assert_eq!(days.len(), 30);
        assert_eq!(days.iter().filter_map(|day| day[field].as_i64()).sum::<i64>(), sum, "{field}");
    }

    // Statistics tell the same of the same days, and of any others.
    let (from, to) = (shown["from"].as_str().or_fail("a day"), shown["to"].as_str().or_fail("a day"));
    let same = format!("/admin/statistics?from={from}&to={to}");
    let same = bazaar.staff.get(&same).since(now).send().await.expect(200).body;
    assert_eq!((&same["days"], &same["currencies"][0]["days"]), (&shown["per_day"], &dollars["per_day"]));
    assert_eq!(same["currencies"][0]["total"], dollars["period"]);
    let today = format!("/admin/statistics?from={to}&currency=USD");
    let today = bazaar.staff.get(&today).since(now).send().await.expect(200).body;
    assert_eq!((today["days"].as_array().map(Vec::len), &today["days"][0]["signups"]), (Some(1), &json!(0)));
    assert_eq!(today["currencies"][0]["total"]["cash"]["orders"], 1);
    let long = bazaar.staff.get("/admin/statistics?from=2000-01-01&to=2030-01-01").send().await.expect(200).body;
    assert_eq!((long["days"].as_array().map(Vec::len), &long["to"]), (Some(366), &json!("2000-12-31")));
    let none = bazaar.staff.get("/admin/statistics?from=2030-01-02&to=2030-01-01").send().await.expect(200).body;
    assert_eq!(none["days"], json!([]));
    for wrong in ["from=yesterday", "to=2030-1-1", "currency=XXX"] {
        bazaar.staff.get(&format!("/admin/statistics?{wrong}")).send().await.problem(422, "invalid-field");
    }
}

#[tokio::test]
async fn staff_see_every_movement_of_money() {
    let bazaar = Bazaar::open().await;
    let (clerk, order) = (&bazaar.staff, bazaar.complete().await);
    bazaar.buyer.withdraw(700, "sandbox-succeeds").await.expect(202);
    let now = bazaar.wait(0).await;
    let all = items(clerk, "/admin-panel/transactions?limit=100", now).await;
    let kinds: Vec<_> = all.iter().filter_map(|it| it["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        [
            "withdrawal_paid",
            "withdrawal_requested",
            "escrow_released",
            "escrow_released",
            "escrow_funded",
            "deposit_settled"
        ]
    );
    // What is in a place is what has come there less what has gone.
    let balance = |kind: &str| {
        let of = |side: &str| -> i64 {
            all.iter().filter(|it| it[side]["kind"] == kind).map(|it| cents(&it["amount"])).sum()
        };
        of("to") - of("from")
    };
    for kind in ["available", "escrow", "fee-income", "provider-clearing"] {
        assert_eq!(balance(kind), bazaar.book(kind).await, "{kind}");
    }
    let seller = bazaar.seller.account();
    for (query, count) in [
        ("kind=escrow_released", 2),
        ("kind=commission_vested", 0),
        ("currency=USD", 6),
        ("currency=EUR", 0),
        (&*format!("order={order}"), 3),
        (&*format!("account={seller}"), 1),
        (&*format!("account={seller}&kind=deposit_settled"), 0),
        (&*format!("account={}", bazaar.buyer.account()), 4),
        (&*format!("operation={order}"), 3),
        ("from=2000-01-01T00:00:00Z", 6),
        ("until=2000-01-01T00:00:00Z", 0),
    ] {
        assert_eq!(items(clerk, &format!("/admin/transactions?{query}"), now).await.len(), count, "{query}");
    }
    let sold = items(clerk, &format!("/admin/transactions?order={order}&account={seller}"), now).await;
    assert_eq!((sold.len(), &sold[0]["to"]["of"], &sold[0]["from"]["of"]), (1, &json!(seller), &json!(order)));
    let mut pages = Vec::new();
    let mut path = "/admin/transactions?limit=2".to_owned();
    loop {
        let page = clerk.get(&path).send().await.expect(200).body;
        pages.extend(page["items"].as_array().cloned().or_fail("find the items"));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/admin/transactions?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(pages, all);
}

/// The newest acts of staff.
async fn acts(client: &Client, query: &str, since: i64) -> Vec<Value> {
    items(client, &format!("/admin/audit-logs?{query}"), since).await
}

#[tokio::test]
async fn the_record_tells_who_has_done_what_why_and_what_was_before() {
    let bazaar = Bazaar::open().await;
    let (clerk, other) = (&bazaar.staff, staff(&bazaar.server, "other").await);
    let item = bazaar.offer(1).await;
    let feature = json!({ "featured": true, "reason": "Fine work." });
    clerk.patch(&format!("/admin/listings/{item}"), &feature).send().await.expect(200);
    bazaar.wait(1_000).await;
    let away = json!({ "status": "removed", "reason": "Stolen." });
    let removed = other.patch(&format!("/admin/listings/{item}"), &away).send().await.expect(200);
    let category = json!({ "slug": "watches", "name": "Watches" });
    clerk.post("/admin/categories", &category).send().await.expect(201);
    let change = json!({ "name": "Clocks", "fee_bps": 300, "reason": "More than watches." });
    let revised = clerk.patch("/admin/categories/watches", &change).send().await.expect(200);
    let blocked = rule(clerk, &bazaar.buyer, json!({ "status": "blocked", "grant": ["sell"] })).await.expect(200);
    let shown = acts(clerk, "", blocked.at()).await;
    let [block, revise, _, remove, featured] = &shown[..5] else { panic!("{shown:#?}") };

    assert_eq!((&block["action"], &block["capacity"]), (&json!("AccountBlocked"), &json!("staff")));
    assert_eq!((&block["actor"], &block["actor_name"]), (&json!(clerk.account()), &json!("clerk")));
    assert_eq!(block["subject"], json!({ "kind": "account", "id": bazaar.buyer.account() }));
    assert_eq!((&block["reason"], &block["id"]), (&json!("As told in the ticket."), &json!(blocked.at())));
    assert_eq!(block["request_id"].as_str(), blocked.header("x-request-id"));
    let change = &block["changes"][0];
    assert_eq!(change["events"], json!(["AccountBlocked", "CapabilitiesGranted"]));
    let (before, after) = (&change["before"], &change["after"]);
    assert_eq!(*before, json!({ "blocked": false, "capabilities": ["buy"] }));
    assert_eq!(*after, json!({ "blocked": true, "capabilities": ["buy", "sell"] }));

    assert_eq!((&revise["reason"], &revise["id"]), (&json!("More than watches."), &json!(revised.at())));
    assert_eq!(revise["changes"][0]["before"]["name"], "Watches");
    assert_eq!(revise["changes"][0]["after"]["name"], "Clocks");
    assert_eq!(revise["changes"][0]["after"]["fee_bps"], 300);
    assert_eq!((&remove["actor"], &remove["reason"]), (&json!(other.account()), &json!("Stolen.")));
    assert_eq!(remove["changes"][0]["after"]["state"], "Removed");
    assert_eq!(featured["reason"], "Fine work.");
    assert_eq!(
        (&featured["changes"][0]["before"]["featured"], &featured["changes"][0]["after"]["featured"]),
        (&json!(false), &json!(true))
    );

    let now = blocked.at();
    let at = remove["at"].as_str().or_fail("read when it was");
    for (query, expected) in [
        (format!("actor={}&action=ListingRemoved", other.account()), 1),
        (format!("actor={}&action=ListingRemoved", clerk.account()), 0),
        (format!("subject={item}"), 2),
        ("kind=category".to_owned(), 2),
        ("action=CategoryRevised".to_owned(), 1),
        ("capacity=operator&kind=account".to_owned(), 2),
        (format!("from={at}&until={at}"), 0),
        (format!("until={at}&kind=listing"), 1),
    ] {
        assert_eq!(acts(clerk, &query, now).await.len(), expected, "{query}");
    }
    let mut pages = Vec::new();
    let mut query = "limit=3".to_owned();
    loop {
        let page = clerk.get(&format!("/admin/audit-logs?{query}")).send().await.expect(200).body;
        pages.extend(page["items"].as_array().cloned().or_fail("find the items"));
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(pages, shown);
    assert_eq!(removed.at(), remove["id"].as_i64().or_fail("read an id"));
    // What somebody does for themselves is no act of staff.
    let own = clerk.put("/profile", &json!({ "display_name": "Clerk" })).send().await.expect(200);
    assert_eq!(acts(clerk, "limit=1", own.at()).await, shown[..1]);
}

#[tokio::test]
async fn why_something_was_decided_about_somebody_is_forgotten_with_them() {
    let bazaar = Bazaar::open().await;
    let sloth = bazaar.server.client().register("sloth").await;
    rule(&bazaar.staff, &sloth, json!({ "status": "suspended" })).await.expect(200);
    let body = json!({ "password": tradepost_tests::client::PASSWORD });
    sloth.delete("/auth/account", &body).send().await.expect(200);
    let now = bazaar.wait(0).await;
    let [suspended] = &acts(&bazaar.staff, "action=AccountSuspended", now).await[..] else { panic!("one act") };
    assert_eq!((&suspended["reason"], &suspended["actor"]), (&Value::Null, &json!(bazaar.staff.account())));
    let shown = bazaar.staff.get(&user(&sloth)).since(now).send().await.expect(200).body;
    let personal = ["reason", "email", "user_name"].map(|field| shown[field].clone());
    assert_eq!((personal, &shown["status"]), ([Value::Null, Value::Null, Value::Null], &json!("erased")));
    rule(&bazaar.staff, &sloth, json!({ "status": "active" })).await.problem(404, "not-found");
}

/// Where the staff acts by a route that is for others as well.
const SHARED: [(&str, &str); 4] = [
    ("POST", "/auctions/{id}/cancel"),
    ("POST", "/orders/{id}/cancel"),
    ("POST", "/orders/{id}/deliver"),
    ("POST", "/orders/{id}/refund"),
];

/// What somebody of the staff does by a route, so that something comes of it.
async fn act(bazaar: &Bazaar, method: &str, path: &str) -> Answer {
    let send = async |path: &str, body: Value| {
        let method: Method = method.parse().or_fail("read a method");
        bazaar.staff.ask(&method, &format!("/api/v1{path}")).json(&body).send().await
    };
    let id = |id: &str| path.replace("{id}", id).replace("{order_id}", id);
    let reason = || json!({ "reason": "It had to be." });
    let shop = || id(&bazaar.seller.account().to_string());
    let merchant = async |verdict: &str| {
        let path = format!("/admin/merchants/{}/{verdict}", bazaar.seller.account());
        bazaar.staff.post(&path, &reason()).send().await.expect(200)
    };
    let category = async || {
        let body = json!({ "slug": eventstore::mint::id(), "name": "Watches" });
        let defined = bazaar.staff.post("/admin/categories", &body).send().await.expect(201);
        defined.body["slug"].as_str().or_fail("find the slug").to_owned()
    };
    match (method, path) {
        ("POST", "/auctions/{id}/cancel") => send(&id(&bazaar.seller.schedule(&auction(1_000)).await), reason()).await,
        ("POST", "/orders/{id}/cancel") => send(&id(&bazaar.sell().await), reason()).await,
        ("POST", "/orders/{id}/deliver") => {
            let order = bazaar.sell().await;
            bazaar.ship(&order).await.expect(200);
            send(&id(&order), json!({})).await
        }
        ("POST", "/orders/{id}/refund") => send(&id(&bazaar.sell().await), json!({ "amount": usd(100) })).await,
        ("PUT", "/admin/pages/{slug}") => {
            send("/admin/pages/terms", json!({ "title": "Terms", "body": "Be kind." })).await
        }
        ("PATCH" | "PUT", "/admin/users/{id}") => {
            let whom = bazaar.server.client().register(&format!("somebody-{}", method.to_lowercase())).await;
            send(&id(&whom.account().to_string()), with(reason(), "status", "suspended")).await
        }
        ("PATCH" | "PUT", "/admin/listings/{id}") => {
            send(&id(&bazaar.offer(1).await), json!({ "featured": true })).await
        }
        ("POST", "/admin/merchants/{id}/unverify") => {
            merchant("verify").await;
            send(&shop(), reason()).await
        }
        ("POST", "/admin/merchants/{id}/reinstate") => {
            merchant("suspend").await;
            send(&shop(), reason()).await
        }
        ("POST", "/admin/merchants/{id}/suspend") => {
            let suspended = send(&shop(), reason()).await;
            merchant("reinstate").await;
            suspended
        }
        ("POST", "/admin/merchants/{id}/verify") => send(&shop(), reason()).await,
        ("DELETE", "/admin/merchants/{id}") => {
            let other = bazaar.server.client().register_seller("leaves").await;
            let about = json!({ "slug": "leaves", "brand_name": "Leaves" });
            other.put("/merchant/me", &about).send().await.expect(201);
            send(&id(&other.account().to_string()), reason()).await
        }
        ("POST", "/admin/escrow/{order_id}/resolve") => {
            let order = bazaar.sell().await;
            bazaar.dispute(&order).await.expect(200);
            send(&id(&order), json!({ "outcome": "refund" })).await
        }
        ("POST", "/admin/categories") => send(path, json!({ "slug": "clerks", "name": "Of clerks" })).await,
        ("PATCH", "/admin/categories/{slug}") => {
            send(&path.replace("{slug}", &category().await), json!({ "name": "Clocks" })).await
        }
        ("DELETE", "/admin/categories/{slug}") => send(&path.replace("{slug}", &category().await), json!({})).await,
        ("PATCH" | "PUT", "/reports/{id}") => {
            let item = bazaar.offer(1).await;
            let reporter = bazaar.server.client().register(&format!("reporter-{}", method.to_lowercase())).await;
            let report = json!({ "kind": "listing", "id": item, "reason": "fraud", "text": "It is a trick." });
            let told = reporter.post("/reports", &report).send().await.expect(201);
            let report = told.body["id"].as_str().or_fail("find the report");
            send(&id(report), with(reason(), "outcome", "dismissed")).await
        }
        ("PATCH", "/admin/complaints/{id}") => {
            let order = bazaar.sell().await;
            let complaint = json!({ "order_id": order, "subject": "damaged", "text": "The glass is broken." });
            let told = bazaar.buyer.post("/complaints", &complaint).send().await.expect(201);
            let complaint = told.body["id"].as_str().or_fail("find the complaint");
            send(&id(complaint), with(reason(), "outcome", "dismissed")).await
        }
        ("PUT", "/admin/plans/{slug}") => {
            let plan = json!({ "name": "Gold", "prices": [usd(1_000)], "reason": "It had to be." });
            send("/admin/plans/gold", plan).await
        }
        ("PUT", "/admin/fees/{scope}/{id}") => {
            send("/admin/fees/default/default", with(reason(), "fee_bps", 250)).await
        }
        ("POST", "/admin/notifications") => {
            let words =
                json!({ "audience": "sell", "title": "Tonight", "body": "We are away.", "reason": "Maintenance." });
            send(path, words).await
        }
        // Whoever brings another route for staff says here how something comes of it.
        _ => panic!("no act of staff is known for {method} {path}"),
    }
}

#[tokio::test]
async fn every_route_by_which_staff_change_anything_leaves_an_act_in_the_record() {
    let bazaar = Bazaar::open().await;
    bazaar.buyer.fund(1_000_000).await;
    let about = json!({ "slug": "corner", "brand_name": "Corner", "business_address": "1 Mall Road" });
    bazaar.seller.put("/merchant/me", &about).send().await.expect(201);
    let (_, document) = api::http::documented(true).split_for_parts();
    let served: Vec<_> = paths::routes().filter(|route| openapi::describes(&document, route)).collect();
    let changes = served.iter().filter(|route| route.method != "GET");
    let routes = changes.filter(|route| route.who.starts_with("staff") || SHARED.contains(&(route.method, route.path)));
    let mut seen = 0;
    for route in routes {
        let what = format!("{} {}", route.method, route.path);
        let done = act(&bazaar, route.method, route.path).await;
        assert!((200..300).contains(&done.status), "{what}: {} {}", done.status, done.text);
        let shown = acts(&bazaar.staff, "limit=5", done.at()).await;
        let act = shown.iter().find(|act| act["id"] == json!(done.at()));
        let act = act.unwrap_or_else(|| panic!("{what} left nothing in the record: {shown:#?}"));
        assert_eq!((&act["actor"], &act["capacity"]), (&json!(bazaar.staff.account()), &json!("staff")), "{what}");
        assert_ne!(act["changes"], json!([]), "{what}");
        seen += 1;
    }
    assert!(seen >= 18, "{seen}");
    // The same by those whom it concerns is none of staff's.
    let order = bazaar.sell().await;
    let refunded = bazaar.seller.post(&format!("/orders/{order}/refund"), &json!({ "amount": usd(1) })).send().await;
    let since = refunded.expect(200).at();
    assert!(acts(&bazaar.staff, "limit=1", since).await.iter().all(|act| act["id"] != json!(since)));
}
