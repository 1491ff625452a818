//! Deleting an account: nothing that tells who it was is left in the database, in the stream, or in what servers say.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use domain::{AccountId, CityId, ProvinceId};
use eventstore::nats::{STREAM, jetstream};
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::collector::Collector;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{address, listing, usd, with};
use tradepost_tests::nats::NatsServer;
use tradepost_tests::server::{InProcess, Spawned, tradepost};

/// What is told of a person, each in words that nobody else uses.
const CANARIES: [&str; 33] = [
    "canary-email",
    "canary-name",
    "canary-display",
    "canary-phone",
    "canary-biography",
    "canary-avatar",
    "canary-street",
    "canary-recipient",
    "canary-line1",
    "canary-line2",
    "canary-number",
    "canary-post",
    "canary-slug",
    "canary-brand",
    "canary-store",
    CANARY_LOGO,
    "canary-office",
    "canary-whatsapp",
    "canary-instagram",
    "canary-facebook",
    "canary-review",
    "canary-opinion",
    "canary-comment",
    "canary-platform",
    "canary-report",
    "canary-complaint",
    "canary-message",
    "canary-announced",
    "canary-reason",
    "canary-agent",
    "canary horse battery",
    "canary-suspension",
    "canary-bank",
];

/// The same of a guest.
const GUEST_CANARIES: [&str; 9] = [
    "canary-guest",
    "7731 9954 28",
    "canary-mail",
    "canary-door",
    "canary-floor",
    "canary-town",
    "canary-region",
    "canary-code",
    "canary-agent",
];
const DAY_MS: i64 = 86_400_000;
/// By when a guest is forgotten who has got what they ordered.
const GUEST_FORGOTTEN_AFTER_MS: i64 = 183 * DAY_MS;

/// The name of a picture has no words.
const CANARY_LOGO: &str = "ca9a2710900ca9a2710900ca9a271090";

fn delete(client: &Client) -> impl Future<Output = Answer> {
    client.delete("/auth/account", &json!({ "password": PASSWORD })).send()
}

/// The tables in which some row has this text, whatever the columns.
async fn tables_with(database: &TestDatabase, text: &str) -> Vec<String> {
    let mut connection = database.connect().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
         where relkind in ('r', 'm') and nspname not in ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut connection)
    .await
    .or_fail("list the tables");
    let mut found = Vec::new();
    for table in tables {
        let statement = format!("select count(*) from {table} as t where to_json(t)::text ilike '%' || $1 || '%'");
        let rows: i64 =
            sqlx::query_scalar(&statement).bind(text).fetch_one(&mut connection).await.or_fail("search a table");
        found.extend((rows > 0).then_some(table));
    }
    found
}

/// How many keys there are that open what is sealed of somebody.
async fn keys_of(database: &TestDatabase, person: AccountId) -> i64 {
    let count = sqlx::query_scalar("select count(*) from person_keys where account_id = $1").bind(person.0);
    count.fetch_one(&mut database.connect().await).await.or_fail("look for a key")
}

/// Every message of the stream, with its headers.
async fn stream(nats: &NatsServer, head: i64) -> String {
    let context = jetstream(&nats.client().await);
    let stream = context.get_stream(STREAM).await.or_fail("find the stream");
    let consumer = stream.create_consumer(OrderedConfig::default()).await.or_fail("read the stream");
    let mut messages = consumer.messages().await.or_fail("read the stream");
    let mut text = String::new();
    for _ in 0..head {
        let message = messages.next().await.or_fail("find one more message").or_fail("read it");
        let payload = String::from_utf8_lossy(&message.payload);
        writeln!(text, "{} {:?} {payload}", message.subject, message.headers).or_fail("keep a message");
    }
    text
}

/// A marketplace of which everything is kept that it says anywhere.
struct Watched {
    database: TestDatabase,
    nats: NatsServer,
    collector: Collector,
    server: Spawned,
    /// Its configuration.
    _folder: TempDir,
}

impl Watched {
    async fn start() -> Self {
        let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
        let folder = tempfile::tempdir().or_fail("make a folder");
        let config = folder.path().join("tradepost.toml");
        let collector = Collector::start().await;
        let settings = format!(
            "[log]\nfilter = 'trace,sqlx=trace'\nformat = 'json'\n[traces]\notlp_endpoint = '{}'\n",
            collector.endpoint()
        );
        std::fs::write(&config, settings).or_fail("write a configuration");
        let arguments = ["--sandbox", "--nats-url", &nats.url(), "--config", config.to_str().or_fail("name the file")];
        let server = Spawned::start(database.url(), &arguments).await;
        Self { database, nats, collector, server, _folder: folder }
    }

    /// Ends it, and finds none of these in any table, in the stream, in the traces or in what the server has said; what
    /// has happened is in the stream and in the traces.
    async fn end_without(self, canaries: impl Iterator<Item = &str>, happened: &str, route: &str) {
        let Self { database, nats, mut collector, server, _folder } = self;
        let told = stream(&nats, database.log_head().await).await;
        assert!(told.contains(happened), "{told}");
        let said = server.terminate().await;
        let traced: String = collector.all().iter().map(|span| span.text.as_str()).collect();
        assert!(traced.contains(route), "hardly anything was traced: {traced}");
        for canary in canaries {
            assert_eq!(tables_with(&database, canary).await, Vec::<String>::new(), "{canary}");
            assert!(!told.contains(canary), "the stream tells `{canary}`");
            assert!(!traced.contains(canary), "a trace tells `{canary}`");
            for output in [&said.stdout, &said.stderr] {
                let line = output.lines().find(|line| line.contains(canary));
                assert_eq!(line, None, "the server says `{canary}`");
            }
        }
        assert!(said.stderr.len() > 10_000, "hardly anything was logged: {}", said.stderr);
        // The history is whole.
        let verified =
            tradepost(database.url(), &["verify", "--json"]).output().await.or_fail("run `tradepost verify`");
        let report: Value = serde_json::from_slice(&verified.stdout).or_fail("read what it says");
        assert!(verified.status.success(), "{report} {}", String::from_utf8_lossy(&verified.stderr));
    }
}

/// Where somebody lives, as nobody else does: province and city.
fn places() -> [String; 2] {
    let sindh = ProvinceId::of("PK", "SD");
    [sindh.to_string(), CityId::of(sindh, "karachi").to_string()]
}

/// Somebody who may rule on stores.
async fn clerk(database: &TestDatabase, server: &Spawned) -> Client {
    server.client().register("clerk").await;
    let grant = ["admin", "grant", "--email", "clerk@example.com", "--capability", "staff"];
    let granted = tradepost(database.url(), &grant).output().await.or_fail("run `tradepost admin`");
    assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    server.client().login("clerk").await
}

/// All that an auditor is told of what has happened, and what anything was of which there is a history.
async fn history_for_auditors(database: &TestDatabase, server: &Spawned) -> String {
    let auditor = server.client().register("auditor").await;
    let grant = ["admin", "grant", "--email", "auditor@example.com", "--capability", "audit"];
    let granted = tradepost(database.url(), &grant).output().await.or_fail("run `tradepost admin`");
    assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    let (mut told, mut cursor, mut things) = (String::new(), String::new(), BTreeSet::new());
    loop {
        let page = auditor.get(&format!("/events?limit=100{cursor}")).send().await.expect(200);
        for item in page.body["items"].as_array().or_fail("find the events") {
            let name = |field: &str| item[field].as_str().or_fail("find a name").to_owned();
            things.insert((name("aggregate_type"), name("aggregate_id")));
        }
        told.push_str(&page.text);
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let head = database.log_head().await;
    for (kind, id) in things {
        let was = auditor.get(&format!("/events/{kind}/{id}?as_of={head}&limit=1")).send().await.expect(200);
        told.push_str(&was.text);
    }
    told
}

/// Somebody who leaves traces everywhere, with money and an order that is over.
async fn somebody(server: &Spawned, seller: &Client, clerk: &Client) -> (Client, Vec<String>) {
    let nobody = Client::with_agent(server.address(), "canary-agent/1.0 (canary-agent)");
    let joined =
        json!({ "email": "canary-email@example.com", "user_name": "canary-name", "password": "canary horse battery" });
    let ann = nobody.logged_in(&nobody.post("/auth/register", &joined).send().await.expect(201));
    let profile = json!({
        "display_name": "canary-display", "phone": "canary-phone", "biography": "canary-biography",
        "avatar_url": "https://example.com/canary-avatar.png",
    });
    ann.ask(&reqwest::Method::PATCH, "/api/v1/auth/me").json(&profile).send().await.expect(200);
    let bank = json!({ "token": "sandbox-succeeds", "label": "canary-bank" });
    ann.post("/payments/methods", &bank).send().await.expect(201);
    let home = with(with(address("canary-recipient"), "line1", "canary-line1"), "line2", "canary-line2");
    let home = with(with(home, "phone", "canary-number"), "postal_code", "canary-post");
    let [province, city] = places();
    ann.post("/addresses", &with(with(home, "province_id", province), "city_id", city)).send().await.expect(201);
    let store = json!({
        "slug": "canary-slug", "brand_name": "canary-brand", "biography": "canary-store",
        "logo": format!("/media/{CANARY_LOGO}.png"),
        "business_address": "canary-office 1", "whatsapp": "https://wa.me/canary-whatsapp",
        "instagram": "https://instagram.com/canary-instagram", "facebook": "https://facebook.com/canary-facebook",
    });
    ann.ask(&reqwest::Method::PUT, "/api/v1/merchant/me").json(&store).send().await.expect(201);
    let verify = format!("/admin/merchants/{}/verify", ann.account());
    clerk.post(&verify, &json!({ "reason": "canary-reason" })).send().await.expect(200);
    let item = seller.offer(&with(listing(1_000), "stock", 1)).await;
    ann.post(&format!("/listings/{item}/favorite"), &json!({})).send().await.expect(200);
    let chat = ann.post("/chats", &json!({ "about": "listing", "id": item })).send().await.expect(201);
    let chat = format!("/chats/{}/messages", chat.body["id"].as_str().or_fail("find the chat"));
    ann.post(&chat, &json!({ "text": "canary-message" })).key("two").send().await.expect(201);
    ann.post(&format!("/listings/{item}/view"), &json!({})).send().await.expect(200);
    let deposit = json!({ "amount": usd(1_000), "payment_method": "sandbox-succeeds" });
    ann.post("/payments/deposit", &deposit).key("one").send().await.expect(202);
    ann.advance(0).await;
    let address = json!({ "name": "canary-name", "line1": "canary-street 1", "city": "Lahore", "country": "PK" });
    let cart = json!({ "lines": [{ "listing_id": item, "quantity": 1 }], "pay": "now", "ship_to": address });
    let bought = ann.post("/orders", &cart).send().await;
    let order = tradepost_tests::bazaar::order_of(&bought.expect(201));
    seller.post(&format!("/orders/{order}/ship"), &json!({ "carrier": "Post" })).send().await.expect(200);
    ann.tell(&order, "deliver").await.expect(200);
    let refused = ann.delete("/auth/account", &json!({ "password": "canary horse battery" })).send().await;
    let refused = refused.problem(409, "account-not-settled");
    assert_eq!(refused.body["orders"], 1);
    ann.tell(&order, "confirm").await.expect(200);
    speak(&ann, &item, &order).await;
    let enrolled = ann.post("/affiliate", &json!({})).send().await.expect(201);
    let code = enrolled.body["code"].as_str().or_fail("find the code").to_owned();
    let ticket = ann.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let ticket = ticket.body["ticket"].as_str().or_fail("find the ticket").to_owned();
    ann.post("/auth/email/resend", &json!({})).send().await;
    ann.post("/auth/password/reset", &json!({ "email": "canary-email@example.com" })).send().await.expect(202);
    (ann.clone(), vec![ann.access_token().to_owned(), ann.refresh_token().to_owned(), ticket, code])
}

/// Lets somebody of the staff say why they do what they do.
async fn work_for_the_marketplace(database: &TestDatabase, ann: &Client) {
    let grant = ["admin", "grant", "--email", "canary-email@example.com", "--capability", "staff"];
    let granted = tradepost(database.url(), &grant).output().await.or_fail("run `tradepost admin`");
    assert!(granted.status.success(), "{}", String::from_utf8_lossy(&granted.stderr));
    let plan = json!({ "name": "Gold", "prices": [usd(100)], "reason": "canary-reason" });
    ann.put("/admin/plans/gold", &plan).send().await.expect(201);
    let fee = json!({ "fee_bps": 210, "reason": "canary-reason" });
    ann.put("/admin/fees/default/default", &fee).send().await.expect(200);
    let said = json!({
        "account_id": ann.account(), "title": "Dear Ann", "body": "canary-announced", "reason": "canary-reason",
    });
    ann.post("/admin/notifications", &said).send().await.expect(201);
}

/// Says something of an order wherever something can be said.
async fn speak(ann: &Client, item: &str, order: &str) {
    let review = json!({
        "order_id": order, "listing_id": item, "rating": 4, "title": "canary-review", "text": "canary-opinion",
    });
    ann.post("/reviews", &review).send().await.expect(201);
    let feedback = json!({
        "communication": 5, "shipping": 4, "accuracy": 3, "platform": 5, "comment": "canary-comment",
        "platform_comment": "canary-platform",
    });
    ann.post(&format!("/orders/{order}/feedback"), &feedback).send().await.expect(201);
    let report = json!({ "kind": "listing", "id": item, "reason": "other", "text": "canary-report" });
    ann.post("/reports", &report).send().await.expect(201);
    let complaint = json!({ "order_id": order, "subject": "other", "text": "canary-complaint" });
    ann.post("/complaints", &complaint).send().await.expect(201);
}

#[tokio::test]
async fn nothing_tells_who_somebody_was_and_the_books_still_balance() {
    let market = Watched::start().await;
    let Watched { database, server, .. } = &market;
    let seller = server.client().register_seller("seller").await;
    let clerk = clerk(database, server).await;
    let (ann, tokens) = somebody(server, &seller, &clerk).await;
    work_for_the_marketplace(database, &ann).await;
    let fee = json!({ "fee_bps": 90, "reason": "canary-suspension" });
    clerk.put(&format!("/admin/fees/seller/{}", ann.account()), &fee).send().await.expect(200);
    // Staff write about people as well.
    let suspend = ["admin", "suspend", "--email", "canary-email@example.com", "--reason", "canary-suspension"];
    let suspended = tradepost(database.url(), &suspend).output().await.or_fail("run `tradepost admin suspend`");
    assert!(suspended.status.success(), "{}", String::from_utf8_lossy(&suspended.stderr));
    let places = places();
    let before = database.log_head().await;
    for path in [
        "/auth/me",
        "/orders",
        "/listings",
        "/stores",
        "/addresses",
        "/affiliate",
        "/reviews",
        "/complaints",
        "/chats",
        "/notifications",
    ] {
        ann.get(path).since(before).send().await.expect(200);
    }
    let favorites = ann.get("/profile/favorites").send().await.expect(200);
    assert_eq!(favorites.body["items"][0]["listing"]["favorites"], 1, "{}", favorites.text);
    // Shown while they are there, but for what nobody is shown.
    for shown in CANARIES[..29].iter().copied().chain(places.iter().map(String::as_str)) {
        assert_ne!(tables_with(database, shown).await, Vec::<String>::new(), "{shown}");
    }

    crate::exporting::tells_nothing_of(database, CANARIES.into_iter().chain(places.iter().map(String::as_str))).await;
    // Auditors see everything, and not who it was; whoever it is sees that.
    let told = history_for_auditors(database, server).await;
    assert!(told.contains("EscrowReleased") && told.contains("(sealed)"), "{told}");
    for hidden in CANARIES.iter().copied().chain(places.iter().map(String::as_str)) {
        assert!(!told.contains(hidden), "auditors are told `{hidden}`");
    }
    let own = ann.get(&format!("/events/account/{}?limit=100", ann.account())).send().await.expect(200);
    assert!(own.text.contains("canary-email") && own.text.contains("canary-biography"), "{}", own.text);
    assert!(!own.text.contains("canary-suspension"), "{}", own.text);

    let wrong = ann.delete("/auth/account", &json!({ "password": "not the password" })).send().await;
    wrong.problem(422, "invalid-field");
    ann.delete("/auth/account", &json!({ "password": "canary horse battery" })).send().await.expect(200);
    let head = database.log_head().await;
    // Whatever shows this position has forgotten.
    for path in [
        "/auth/me",
        "/orders",
        "/listings",
        "/stores",
        "/addresses",
        "/affiliate",
        "/reviews",
        "/complaints",
        "/chats",
        "/notifications",
    ] {
        seller.get(path).since(head).send().await.expect(200);
    }
    // What they looked at is counted, and nobody's; what they wanted to find again is neither.
    let listings = seller.get(&format!("/listings?status=sold_out&seller={}", seller.account())).send().await;
    let item = &listings.expect(200).body["items"][0];
    assert_eq!((&item["views"], &item["favorites"]), (&json!(1), &json!(0)), "{item}");
    let favorites = "select account_id from catalogue.favorites";
    let left: Vec<uuid::Uuid> =
        sqlx::query_scalar(favorites).fetch_all(&mut database.connect().await).await.or_fail("look");
    assert!(left.is_empty(), "{left:?}");
    // Nobody can open what is sealed: the key is gone.
    assert_eq!(keys_of(database, ann.account()).await, 0);
    assert_eq!(keys_of(database, seller.account()).await, 1);
    let canaries = CANARIES.into_iter().chain(tokens.iter().chain(&places).map(String::as_str));
    market.end_without(canaries, "AccountErased", "/api/v1/auth/register").await;
}

/// A guest who has got what they ordered, and the token that shows it.
async fn a_guest(server: &Spawned, seller: &Client) -> (AccountId, String) {
    let store = json!({ "slug": "corner", "brand_name": "Corner" });
    seller.ask(&reqwest::Method::PUT, "/api/v1/merchant/me").json(&store).send().await.expect(201);
    let item = seller.offer(&with(listing(1_000), "stock", 2)).await;
    let wanted = json!({
        "name": "canary-guest", "phone": "+92 7731 9954 28", "email": "canary-mail@example.org", "confirmation": "email",
        "address": {
            "line1": "canary-door 1", "line2": "canary-floor", "city": "canary-town", "region": "canary-region",
            "postal_code": "canary-code", "country": "PK",
        },
        "lines": [{ "listing_id": item, "quantity": 1 }],
    });
    let guest = Client::with_agent(server.address(), "canary-agent/1.0 (canary-agent)");
    let order = || guest.post("/store/corner/orders", &wanted).key("one").send();
    let placed = order().await.expect(201);
    assert_eq!(order().await.expect(201).body, placed.body);
    let token = placed.body["claim_token"].as_str().or_fail("find the claim token").to_owned();
    let id = placed.body["order_id"].as_str().or_fail("find the order").to_owned();
    seller.post(&format!("/merchant/orders/{id}/confirm"), &json!({})).send().await.expect(200);
    seller.post(&format!("/orders/{id}/ship"), &json!({ "carrier": "Post" })).send().await.expect(200);
    let delivered = seller.tell(&id, "deliver").await.expect(200).at();
    let shown = guest.get(&format!("/guest/orders/{token}")).since(delivered).send().await.expect(200).body;
    assert_eq!(shown["guest"]["name"], "canary-guest");
    let sold = seller.get("/orders?as=seller").since(delivered).send().await.expect(200).body;
    let buyer = sold["items"][0]["buyer_id"].as_str().or_fail("find the guest");
    (AccountId(buyer.parse().or_fail("read the id of the guest")), token)
}

#[tokio::test]
async fn nothing_tells_who_a_guest_was_half_a_year_after() {
    let market = Watched::start().await;
    let Watched { database, server, .. } = &market;
    let seller = server.client().register_seller("seller").await;
    let (guest, token) = a_guest(server, &seller).await;
    // Shown while they are there, but for what nobody is shown.
    for shown in &GUEST_CANARIES[..8] {
        assert_ne!(tables_with(database, shown).await, Vec::<String>::new(), "{shown}");
    }
    assert_eq!(keys_of(database, guest).await, 1);
    crate::exporting::tells_nothing_of(database, GUEST_CANARIES.into_iter()).await;
    let head = seller.advance(GUEST_FORGOTTEN_AFTER_MS).await;
    // Whatever is compared in the end has come so far.
    for path in ["/auth/me", "/listings", "/stores", "/addresses", "/affiliate"] {
        seller.get(path).since(head).send().await.expect(200);
    }
    let sold = seller.get("/orders?as=seller").since(head).send().await.expect(200).body;
    let order = &sold["items"][0];
    assert_eq!(
        (&order["status"], &order["guest"], &order["ship_to"]),
        (&json!("completed"), &Value::Null, &Value::Null)
    );
    assert_eq!(keys_of(database, guest).await, 0);
    let canaries = GUEST_CANARIES.into_iter().chain([token.as_str()]);
    market.end_without(canaries, "GuestForgotten", "/orders").await;
}

#[tokio::test]
async fn whoever_is_blocked_does_not_come_back_by_leaving() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    tradepost_tests::bazaar::suspend(&server, ann.account()).await;
    delete(&ann).await.expect(200);
    let again = json!({ "email": "ann@example.com", "user_name": "another", "password": PASSWORD });
    server.client().post("/auth/register", &again).send().await.problem(409, "email-taken");
    let login = json!({ "email": "ann@example.com", "password": PASSWORD });
    server.client().post("/auth/login", &login).send().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn whoever_is_forgotten_is_gone_and_their_names_are_free() {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    let item = seller.offer(&listing(1_000)).await;
    let ann = server.client().register("ann").await;
    seller.fund(500).await;
    let left = delete(&seller).await.problem(409, "account-not-settled");
    assert_eq!(left.body["available"], usd(500));
    seller.withdraw(500, "sandbox-succeeds").await.expect(202);
    seller.advance(0).await;
    delete(&seller).await.expect(200);
    // Whatever they offered cannot be bought and is taken off, and nobody can log in.
    ann.check_out(&[(&item, 1)], "later").await.problem(409, "not-offered");
    server.offers_cleared().await;
    let shown = ann.get(&format!("/listings/{item}")).since(server.database.log_head().await).send().await.expect(200);
    assert_eq!(
        (&shown.body["status"], &shown.body["seller"]["name"]),
        (&json!("archived"), &Value::Null),
        "{}",
        shown.text
    );
    let login = json!({ "email": "seller@example.com", "password": PASSWORD });
    server.client().post("/auth/login", &login).send().await.problem(401, "unauthenticated");
    let again = server.client().register("seller").await;
    assert_ne!(again.account(), seller.account());
    delete(&seller).await.problem(401, "unauthenticated");
}
