//! A dispute, lived through by everybody whom it concerns: what they write to each other, what they are told and where,
//! what the staff decides and what is said afterwards.

use api::config::{Config, Secret};
use serde_json::{Value, json};
use tradepost_tests::bazaar::Bazaar;
use tradepost_tests::client::Client;
use tradepost_tests::reputation::{Got, feedback, id_of, review};
use tradepost_tests::server::InProcess;
use tradepost_tests::smtp::MailServer;
use tradepost_tests::socket::Socket;

/// Opens one of somebody's sockets. Its first message is the state.
async fn open(client: &Client, path: &str) -> Socket {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let ticket = answer.body["ticket"].as_str().unwrap();
    let mut socket = Socket::open(client.address(), &format!("/ws/{path}?ticket={ticket}")).await;
    assert_eq!(socket.next().await["type"], "state");
    socket
}

/// What somebody is told over their socket, up to the first of this kind.
async fn told(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let message = socket.next().await;
        assert_eq!(message["type"], "notification", "{message}");
        if message["notification"]["kind"] == kind {
            return message["notification"].clone();
        }
    }
}

/// Lets somebody show that they read their mailbox.
async fn verify(office: &MailServer, client: &Client, address: &str) {
    let asked = office.expect(address, "Confirm your e-mail address", 1).await;
    client.post("/auth/email/verify", &json!({ "token": asked[0].token })).send().await.expect(200);
}

#[tokio::test]
async fn two_people_disagree_and_the_staff_decides() {
    let office = MailServer::start().await;
    let mut settings = Config::default();
    settings.mail.smtp_url = Some(Secret::new(office.url()));
    let bazaar = Bazaar::at(InProcess::start_with(settings).await).await;
    let (buyer, seller, clerk) = (&bazaar.buyer, &bazaar.seller, &bazaar.staff);
    for (client, address) in [(buyer, "buyer@example.com"), (seller, "seller@example.com")] {
        verify(&office, client, address).await;
    }
    let item = bazaar.offer(1).await;
    let got: Got = bazaar.get_one_of(&item).await;

    // They talk about it.
    let opened = buyer.post("/chats", &json!({ "about": "order", "id": got.order })).send().await.expect(201);
    let chat = id_of(&opened);
    seller.get(&format!("/chats/{chat}")).since(opened.at()).send().await.expect(200);
    let mut of_seller = open(seller, "notifications").await;
    let mut of_buyer = open(buyer, "notifications").await;
    let mut talk = open(seller, &format!("chats/{chat}")).await;
    let write =
        |client: &Client, text: &str| client.post(&format!("/chats/{chat}/messages"), &json!({ "text": text })).send();
    write(buyer, "It is scratched.").await.expect(201);
    assert_eq!(talk.until("message").await.pop().unwrap()["text"], "It is scratched.");
    assert_eq!(told(&mut of_seller, "message").await["chat_id"], json!(chat));
    write(seller, "It was not when it left.").await.expect(201);
    told(&mut of_buyer, "message").await;

    // They do not agree, and the staff splits the money.
    bazaar.dispute(&got.order).await.expect(200);
    for socket in [&mut of_buyer, &mut of_seller] {
        assert_eq!(told(socket, "dispute").await["order_id"], json!(got.order));
    }
    let split = json!({ "outcome": "split", "to_buyer": { "amount": 5_000, "currency": "USD" } });
    bazaar.resolve(&got.order, &split).await.expect(200);
    assert_eq!(told(&mut of_buyer, "escrow_refunded").await["amount"]["amount"], 5_000);
    // 55.00 less 2 %.
    assert_eq!(told(&mut of_seller, "escrow_released").await["amount"]["amount"], 5_390);
    for address in ["buyer@example.com", "seller@example.com"] {
        assert_eq!(office.expect(address, "Dispute: ", 1).await.len(), 1);
    }
    office.expect("buyer@example.com", "You got money back", 1).await;
    office.expect("seller@example.com", "You were paid", 1).await;

    // Each says how it was.
    let path = format!("/orders/{}/feedback", got.order);
    buyer.post(&path, &feedback(4, 5, 2)).send().await.expect(201);
    let reviewed = id_of(&buyer.post("/reviews", &review(&got, 3)).send().await.expect(201));
    let answer = json!({ "text": "I am sorry that it was scratched." });
    let answered = seller.post(&format!("/reviews/{reviewed}/reply"), &answer).send().await.expect(200);
    let shown = seller.get(&format!("/sellers/{}/feedback", seller.account())).since(answered.at()).send().await;
    assert_eq!(shown.expect(200).body["items"].as_array().map(Vec::len), Some(1));

    // It is over, and on record.
    let dashboard = clerk.get("/admin/dashboard").since(answered.at()).send().await.expect(200).body;
    assert_eq!(dashboard["open_disputes"], 0);
    assert_eq!(dashboard["rating"]["orders"], 1, "{dashboard}");
    let disputes = dashboard["per_day"].as_array().unwrap().iter().map(|day| day["disputes"].as_i64().unwrap());
    assert_eq!(disputes.sum::<i64>(), 1, "{dashboard}");
    let record = clerk.get(&format!("/admin/audit-logs?subject={}", got.order)).since(answered.at()).send().await;
    let acts = record.expect(200).body["items"].as_array().unwrap().clone();
    assert_eq!(acts.len(), 1, "{acts:?}");
    assert_eq!((&acts[0]["actor"], &acts[0]["capacity"]), (&json!(clerk.account()), &json!("staff")));
    let happened = acts[0]["changes"].to_string();
    assert!(happened.contains("EscrowSplit"), "{happened}");
    assert_eq!(bazaar.book("escrow").await, 0);
}
