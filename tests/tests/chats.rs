//! Chats: who talks to whom about what, over REST and over sockets.

use std::time::Duration;

use api::config::Config;
use commands::accounts;
use domain::account::Granter;
use eventstore::event::Metadata;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::{Answer, Client, PASSWORD};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::market::{listing, with};
use tradepost_tests::nats::NatsServer;
use tradepost_tests::server::{InProcess, Spawned};
use tradepost_tests::socket::Socket;

const HOUR_MS: i64 = 3_600_000;
/// Closed for what its holder may not do any more.
const POLICY: u16 = 1008;
/// What has not happened by then will not happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// An empty pong, masked with zeros.
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// Opens the chat about something, or finds it.
async fn open(client: &Client, about: &str, id: &str) -> Answer {
    client.post("/chats", &json!({ "about": about, "id": id })).send().await
}

fn id_of(answer: &Answer) -> String {
    answer.body["id"].as_str().unwrap().to_owned()
}

async fn write(client: &Client, chat: &str, text: &str) -> Answer {
    client.post(&format!("/chats/{chat}/messages"), &json!({ "text": text })).send().await
}

/// A chat as somebody sees it, once everything up to `since` shows.
async fn shown(client: &Client, chat: &str, since: i64) -> Value {
    client.get(&format!("/chats/{chat}")).since(since).send().await.expect(200).body
}

async fn socket_of(client: &Client, chat: &str, more: &str) -> Socket {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let ticket = answer.body["ticket"].as_str().unwrap();
    Socket::open(client.address(), &format!("/ws/chats/{chat}?ticket={ticket}{more}")).await
}

fn sequences(messages: &[Value]) -> Vec<i64> {
    messages.iter().filter_map(|message| message["sequence"].as_i64()).collect()
}

/// A seller, a buyer, and their chat about a listing.
async fn talking(server: &InProcess) -> (Client, Client, String) {
    let (seller, buyer) = (server.client().register_seller("seller").await, server.client().register("buyer").await);
    let item = seller.offer(&listing(1_000)).await;
    let chat = open(&buyer, "listing", &item).await.expect(201);
    buyer.get("/chats").since(chat.at()).send().await.expect(200);
    (seller, buyer, id_of(&chat))
}

#[tokio::test]
async fn a_buyer_and_a_seller_talk_about_a_listing() {
    let server = InProcess::start().await;
    let (seller, buyer) = (server.client().register_seller("seller").await, server.client().register("buyer").await);
    let stranger = server.client().register_seller("stranger").await;
    let item = seller.offer(&listing(1_000)).await;
    let opened = open(&buyer, "listing", &item).await.expect(201);
    let chat = id_of(&opened);
    assert_eq!(opened.header("location"), Some(&*format!("/api/v1/chats/{chat}")));
    let about = json!({ "about": "listing", "id": item });
    let again = buyer.post("/conversations", &about).send().await.expect(200);
    assert_eq!((id_of(&again), &again.body["new"]), (chat.clone(), &json!(false)));
    // Nothing is written, so the seller is told nothing; but it is there.
    let nothing = seller.get("/chats").since(opened.at()).send().await.expect(200).body;
    assert_eq!((&nothing["items"], &nothing["unread"]), (&json!([]), &json!(0)));
    shown(&seller, &chat, 0).await;

    let first = write(&buyer, &chat, "Is the strap original?").await.expect(201);
    assert_eq!((&first.body["chat_id"], &first.body["sequence"]), (&json!(chat), &json!(2)));
    let second = write(&buyer, &chat, "And does it run?").await.expect(201);
    let seen = shown(&seller, &chat, second.at()).await;
    assert_eq!((&seen["unread"], &seen["messages"], &seen["read_upto"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!((&seen["with"]["id"], &seen["with"]["name"]), (&json!(buyer.account()), &json!("buyer")));
    assert_eq!((&seen["listing_id"], &seen["order_id"]), (&json!(item), &Value::Null));
    assert_eq!(seen["last_message"]["text"], "And does it run?");
    assert_eq!(shown(&buyer, &chat, 0).await["unread"], 0);

    let marked = seller.post(&format!("/chats/{chat}/read"), &json!({ "upto": 2 })).send().await.expect(200);
    assert_eq!(marked.body["read_upto"], 2);
    assert_eq!(shown(&seller, &chat, marked.at()).await["unread"], 1);
    let unread = seller.get("/conversations?unread=true").send().await.expect(200).body;
    assert_eq!((&unread["items"][0]["id"], &unread["unread"]), (&json!(chat), &json!(1)));
    let marked = seller.post(&format!("/chats/{chat}/read"), &json!({})).send().await.expect(200);
    assert_eq!(marked.body["read_upto"], 3);
    let told = shown(&buyer, &chat, marked.at()).await;
    assert_eq!((&told["read_by_other"], &told["version"]), (&json!(3), &json!(5)));
    // Once more marks nothing.
    let again = seller.post(&format!("/chats/{chat}/read"), &json!({ "upto": 1 })).send().await.expect(200);
    assert_eq!((&again.body["read_upto"], again.at()), (&json!(3), marked.at()));
    let unread = seller.get("/chats?unread=true").since(marked.at()).send().await.expect(200).body;
    assert_eq!((&unread["items"], &unread["unread"]), (&json!([]), &json!(0)));

    let answered = write(&seller, &chat, "Yes, and yes.").await.expect(201);
    let messages = buyer.get(&format!("/conversations/{chat}/messages?limit=2")).since(answered.at());
    let page = messages.send().await.expect(200).body;
    let texts = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&page), ["Yes, and yes.", "And does it run?"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = buyer.get(&format!("/chats/{chat}/messages?limit=2&cursor={cursor}")).send().await.expect(200).body;
    assert_eq!((texts(&rest), &rest["next_cursor"]), (vec!["Is the strap original?".to_owned()], &Value::Null));
    let later = buyer.get(&format!("/chats/{chat}/messages?after=2")).send().await.expect(200).body;
    assert_eq!(texts(&later), ["And does it run?", "Yes, and yes."]);

    // To everybody else there is no such chat.
    for path in ["", "/messages"] {
        stranger.get(&format!("/chats/{chat}{path}")).send().await.problem(404, "not-found");
    }
    write(&stranger, &chat, "Buy mine!").await.problem(404, "not-found");
    stranger.post(&format!("/chats/{chat}/read"), &json!({})).send().await.problem(404, "not-found");
    assert_eq!(server.database.log_head().await, answered.at());
}

#[tokio::test]
async fn the_parties_of_an_order_find_the_same_chat() {
    let bazaar = Bazaar::open().await;
    let order = bazaar.sell().await;
    let opened = open(&bazaar.seller, "order", &order).await.expect(201);
    let found = open(&bazaar.buyer, "order", &order).await.expect(200);
    assert_eq!(id_of(&opened), id_of(&found));
    let seen = shown(&bazaar.buyer, &id_of(&opened), opened.at()).await;
    assert_eq!((&seen["about"], &seen["order_id"]), (&json!("order"), &json!(order)));
    assert_eq!(seen["buyer_id"], json!(bazaar.buyer.account()));
    open(&bazaar.staff, "order", &order).await.problem(404, "not-found");
    open(&bazaar.buyer, "order", &uuid::Uuid::from_u128(7).to_string()).await.problem(404, "not-found");
    bazaar.staff.get(&format!("/chats/{}", id_of(&opened))).send().await.problem(404, "not-found");
}

#[tokio::test]
async fn nobody_talks_about_what_they_do_not_see_nor_to_nobody() {
    let server = InProcess::start().await;
    let (seller, buyer) = (server.client().register_seller("seller").await, server.client().register("buyer").await);
    let drafted = seller.post("/listings", &listing(1_000)).send().await.expect(201);
    open(&buyer, "listing", &id_of(&drafted)).await.problem(404, "not-found");
    let item = seller.offer(&listing(1_000)).await;
    open(&seller, "listing", &item).await.problem(422, "chat-with-oneself");
    let store = json!({ "slug": "corner", "brand_name": "Corner" });
    seller.put("/merchant/me", &store).send().await.expect(201);
    let wanted = json!({
        "name": "Gus", "phone": "+92 300 1234567", "confirmation": "phone",
        "address": { "line1": "1 Mall Road", "city": "Lahore", "country": "PK" },
        "lines": [{ "listing_id": item, "quantity": 1 }],
    });
    let ordered = server.client().post("/store/corner/orders", &wanted).send().await.expect(201);
    let order = ordered.body["order_id"].as_str().unwrap();
    open(&seller, "order", order).await.problem(422, "nobody-there");

    let other = seller.offer(&listing(2_000)).await;
    let chat = id_of(&open(&buyer, "listing", &other).await.expect(201));
    for text in ["", " \n", &"x".repeat(4_001), "a\u{0}b"] {
        let refused = write(&buyer, &chat, text).await;
        assert!([400, 422].contains(&refused.status), "{}", refused.text);
    }
    write(&buyer, &chat, &"☂".repeat(4_000)).await.expect(201);
    // Whoever is gone reads nothing any more.
    buyer.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    write(&seller, &chat, "Hello?").await.problem(422, "nobody-there");
}

#[tokio::test]
async fn whoever_is_not_answered_waits() {
    let server = InProcess::start().await;
    let (seller, buyer, chat) = talking(&server).await;
    for number in 0..50 {
        write(&buyer, &chat, &format!("Hello no. {number}")).await.expect(201);
    }
    let refused = write(&buyer, &chat, "Hello?").await.problem(422, "too-many-unanswered");
    assert_eq!(refused.body["maximum"], 50);
    assert!(refused.body["again_at"].is_string(), "{}", refused.text);
    write(&seller, &chat, "Yes?").await.expect(201);
    for _ in 0..50 {
        write(&buyer, &chat, "Hello again").await.expect(201);
    }
    write(&buyer, &chat, "Hello?").await.problem(422, "too-many-unanswered");
    buyer.advance(24 * HOUR_MS).await;
    write(&buyer, &chat, "Good morning").await.expect(201);
}

#[tokio::test]
async fn nobody_opens_chats_with_everybody_on_one_day() {
    let server = InProcess::start().await;
    let (seller, buyer) = (server.client().register_seller("seller").await, server.client().register("buyer").await);
    let mut items = Vec::new();
    for _ in 0..51 {
        items.push(seller.offer(&listing(1_000)).await);
    }
    for item in &items[..50] {
        open(&buyer, "listing", item).await.expect(201);
    }
    let refused = open(&buyer, "listing", &items[50]).await.problem(422, "too-many-chats");
    assert_eq!(refused.body["maximum"], 50);
    // What is there is found all the same.
    open(&buyer, "listing", &items[0]).await.expect(200);
    buyer.advance(24 * HOUR_MS).await;
    open(&buyer, "listing", &items[50]).await.expect(201);
}

#[tokio::test]
async fn a_socket_shows_the_chat_and_takes_what_is_written() {
    let server = InProcess::start().await;
    let (seller, buyer, chat) = talking(&server).await;
    let (mut here, mut there) = (socket_of(&buyer, &chat, "").await, socket_of(&seller, &chat, "").await);
    let state = here.next().await;
    assert_eq!((&state["type"], &state["sequence"]), (&json!("state"), &json!(1)));
    assert_eq!((&state["chat"]["id"], &state["chat"]["with"]["name"]), (&json!(chat), &json!("seller")));
    assert_eq!(there.next().await["chat"]["with"]["name"], "buyer");

    let message = |id: &str, text: &str| json!({ "type": "message", "id": id, "text": text, "idempotency_key": "k" });
    here.send(&message("one", "Hello")).await;
    let accepted = here.until_one_of(&["accepted", "refused"]).await;
    assert_eq!((&accepted["id"], &accepted["message"]["sequence"]), (&json!("one"), &json!(2)), "{accepted}");
    let told = there.until("message").await.pop().unwrap();
    assert_eq!((&told["sequence"], &told["text"]), (&json!(2), &json!("Hello")));
    assert_eq!((&told["author_id"], &told["id"]), (&json!(buyer.account()), &accepted["message"]["id"]));
    // The same key with the same words is the same message, and with others none.
    here.send(&message("two", "Hello")).await;
    assert_eq!(here.until_one_of(&["accepted", "refused"]).await["message"], accepted["message"]);
    here.send(&message("three", "Hello?")).await;
    let refused = here.until_one_of(&["accepted", "refused"]).await;
    assert_eq!(refused["problem"]["type"], "/problems/idempotency-key-reused");
    for (nonsense, slug) in [
        (json!({ "type": "message", "id": "4", "text": "  " }), "invalid-field"),
        (json!({ "type": "message", "id": "4", "text": "a\u{0}b" }), "invalid-field"),
        (json!({ "type": "shout", "id": "4" }), "malformed-message"),
        (json!(["message"]), "malformed-message"),
    ] {
        here.send(&nonsense).await;
        let refused = here.until("refused").await.pop().unwrap();
        assert_eq!(refused["problem"]["type"], format!("/problems/{slug}"), "{refused}");
    }

    there.send(&json!({ "type": "typing" })).await;
    there.send(&json!({ "type": "read", "id": "r", "upto": 2 })).await;
    let accepted = there.until_one_of(&["accepted", "refused"]).await;
    assert_eq!((&accepted["id"], &accepted["read"]["read_upto"]), (&json!("r"), &json!(2)), "{accepted}");
    let heard = here.until("read").await;
    assert_eq!(heard.iter().filter(|message| message["type"] == "typing").count(), 1, "{heard:?}");
    let typing = heard.iter().find(|message| message["type"] == "typing").unwrap();
    assert_eq!((&typing["by"], &typing["sequence"]), (&json!(seller.account()), &Value::Null));
    let read = heard.last().unwrap();
    assert_eq!((&read["by"], &read["upto"], &read["sequence"]), (&json!(seller.account()), &json!(2), &json!(3)));
    // Whoever types does not hear of it.
    let own = there.until("read").await;
    assert!(own.iter().all(|message| message["type"] != "typing"), "{own:?}");

    // From where somebody has left off, by another name.
    let answer = seller.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let path = format!("/api/v1/ws/chat/{chat}?after=1&ticket={}", answer.body["ticket"].as_str().unwrap());
    let mut resumed = Socket::open(server.address(), &path).await;
    assert_eq!(resumed.next().await["sequence"], 3);
    assert_eq!(sequences(&resumed.until("read").await), [2, 3]);
}

#[tokio::test]
async fn a_socket_opens_for_the_parties_alone() {
    let server = InProcess::start().await;
    let (_, buyer, chat) = talking(&server).await;
    let stranger = server.client().register("stranger").await;
    let try_open = async |path: String| Socket::try_open(server.address(), &path).await.unwrap_err();
    assert_eq!(try_open(format!("/ws/chats/{chat}")).await, 401);
    assert_eq!(try_open(format!("/ws/chats/{chat}?ticket=made-up")).await, 401);
    let ticket = async |client: &Client| {
        let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
        answer.body["ticket"].as_str().unwrap().to_owned()
    };
    assert_eq!(try_open(format!("/ws/chats/{chat}?ticket={}", ticket(&stranger).await)).await, 404);
    let absent = uuid::Uuid::from_u128(7);
    assert_eq!(try_open(format!("/ws/chats/{absent}?ticket={}", ticket(&buyer).await)).await, 404);
    let used = format!("/ws/chats/{chat}?ticket={}", ticket(&buyer).await);
    assert_eq!(Socket::open(server.address(), &used).await.next().await["type"], "state");
    assert_eq!(try_open(used).await, 401);
}

#[tokio::test]
async fn whoever_is_suspended_reads_and_writes_nothing() {
    let server = InProcess::start().await;
    let (seller, buyer, chat) = talking(&server).await;
    let written = write(&seller, &chat, "Still interested?").await.expect(201).at();
    let mut socket = socket_of(&buyer, &chat, "").await;
    socket.next().await;
    let account = buyer.account();
    let suspend = move |world: &mut commands::World<'_>| {
        accounts::suspend(
            world,
            account,
            domain::Sealed::from_ciphertext(account, "fraud".to_owned()),
            Granter::Operator,
        )
    };
    let request = commands::Request::once(Metadata::by_operator());
    server.app.engine.submit(request, suspend).await.unwrap();
    assert_eq!(socket.close_code().await, POLICY);
    write(&buyer, &chat, "Yes").await.problem(403, "account-suspended");
    let other = seller.offer(&listing(2_000)).await;
    open(&buyer, "listing", &other).await.problem(403, "account-suspended");
    let messages = buyer.get(&format!("/chats/{chat}/messages")).since(written).send().await.expect(200).body;
    assert_eq!(messages["items"][0]["text"], "Still interested?");
    buyer.post(&format!("/chats/{chat}/read"), &json!({})).send().await.expect(200);
}

#[tokio::test]
async fn what_somebody_has_written_goes_with_them() {
    let server = InProcess::start().await;
    let (seller, buyer, chat) = talking(&server).await;
    write(&buyer, &chat, "It is me.").await.expect(201);
    write(&seller, &chat, "I see.").await.expect(201);
    buyer.delete("/auth/account", &json!({ "password": PASSWORD })).send().await.expect(200);
    let head = server.database.log_head().await;
    let messages = seller.get(&format!("/chats/{chat}/messages")).since(head).send().await.expect(200).body;
    let texts: Vec<&Value> = messages["items"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, [&json!("I see."), &Value::Null]);
    let seen = seller.get("/chats").since(head).send().await.expect(200).body;
    assert_eq!(seen["items"][0]["with"]["name"], Value::Null);
    let mut socket = socket_of(&seller, &chat, "&after=0").await;
    let told = socket.until("message").await.pop().unwrap();
    assert_eq!((&told["sequence"], &told["text"]), (&json!(2), &Value::Null));
}

/// Opens a socket over a connection of which nothing is read after the head.
async fn without_reading(client: &Client, chat: &str) -> TcpStream {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let (host, ticket) = (client.address().strip_prefix("http://").unwrap(), answer.body["ticket"].as_str().unwrap());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(host.parse().unwrap()).await.unwrap();
    let upgrade = format!(
        "GET /ws/chats/{chat}?ticket={ticket} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

#[tokio::test]
async fn whoever_does_not_read_is_cut_and_the_others_miss_nothing() {
    let mut settings = Config::default();
    settings.http.write_timeout_ms = 1_000;
    let server = InProcess::start_with(settings).await;
    let (seller, buyer, chat) = talking(&server).await;
    let mut reading = socket_of(&buyer, &chat, "").await;
    reading.next().await;
    let seen = tokio::spawn(async move { sequences(&reading.until("read").await) });
    let mut idle = without_reading(&seller, &chat).await;
    let long = "☂".repeat(4_000);
    let cut = async {
        // Until the system keeps no more for it, and whoever writes to it learns that nobody is there.
        while idle.write_all(&PONG).await.is_ok() {
            for author in [&buyer, &seller] {
                write(author, &chat, &long).await.expect(201);
            }
        }
    };
    tokio::time::timeout(6 * PATIENCE, cut).await.expect("to be cut");
    buyer.post(&format!("/chats/{chat}/read"), &json!({})).send().await.expect(200);
    let (seen, written) = (seen.await.unwrap(), shown(&seller, &chat, server.database.log_head().await).await);
    assert_eq!(seen, (2..=written["version"].as_i64().unwrap()).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_people_at_two_nodes_talk_and_see_each_other_type() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let start = |roles: &'static str| {
        let (url, nats) = (database.url().to_owned(), nats.url());
        async move { Spawned::start(&url, &["--nats-url", &nats, "--roles", roles]).await }
    };
    let (one, two) = tokio::join!(start("api,relay,projections,processes"), start("api"));
    let (seller, buyer) = (one.client().register_seller("seller").await, two.client().register("buyer").await);
    let item = seller.offer(&listing(1_000)).await;
    let opened = open(&buyer, "listing", &item).await.expect(201);
    let chat = id_of(&opened);
    shown(&buyer, &chat, opened.at()).await;
    shown(&seller, &chat, opened.at()).await;
    let (mut here, mut there) = (socket_of(&seller, &chat, "").await, socket_of(&buyer, &chat, "").await);
    here.next().await;
    there.next().await;
    there.send(&json!({ "type": "message", "id": "1", "text": "Hello" })).await;
    assert_eq!(here.until("message").await.pop().unwrap()["text"], "Hello");
    // What is lost on the way is not sent again: whoever types goes on.
    let heard = tokio::time::timeout(PATIENCE, here.until("typing"));
    let typing = async {
        loop {
            there.send(&json!({ "type": "typing" })).await;
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
    };
    let heard = tokio::select! {
        heard = heard => heard.unwrap(),
        () = typing => unreachable!(),
    };
    assert_eq!(heard.last().unwrap()["by"], json!(buyer.account()));
    for node in [one, two] {
        assert!(node.terminate().await.status.success());
    }
}

#[tokio::test]
async fn chats_are_listed_page_by_page_the_last_active_first() {
    let server = InProcess::start().await;
    let (seller, buyer) = (server.client().register_seller("seller").await, server.client().register("buyer").await);
    let mut chats = Vec::new();
    for price in [1_000, 2_000, 3_000] {
        let item = seller.offer(&with(listing(price), "stock", 1)).await;
        chats.push(id_of(&open(&buyer, "listing", &item).await.expect(201)));
        buyer.advance(1_000).await;
    }
    let written = write(&buyer, &chats[0], "First of all").await.expect(201);
    let mut seen = Vec::new();
    let mut path = "/chats?limit=2".to_owned();
    loop {
        let page = buyer.get(&path).since(written.at()).send().await.expect(200).body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|chat| chat["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/chats?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, [&chats[0], &chats[2], &chats[1]].map(Clone::clone));
}
