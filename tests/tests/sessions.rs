//! What ends a session, or changes what it may do, counts at once: on every node, and on sockets that are open.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use commands::{Request, accounts};
use domain::account::{Capability, Granter};
use eventstore::event::Metadata;
use serde_json::json;
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::auction;
use tradepost_tests::nats::NatsServer;
use tradepost_tests::server::{InProcess, Spawned, tradepost};
use tradepost_tests::socket::Socket;

/// What ends or changes a session counts within this time.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Closed because of who has opened it, as RFC 6455 has it: a policy is violated.
const POLICY: u16 = 1008;

async fn socket_of(client: &Client, auction: &str) -> Socket {
    let answer = client.post("/auth/ws-ticket", &json!({})).send().await.expect(201);
    let ticket = answer.body["ticket"].as_str().unwrap();
    let mut socket = Socket::open(client.address(), &format!("/ws/auctions/{auction}?ticket={ticket}")).await;
    assert_eq!(socket.next().await["type"], "state");
    socket
}

/// Somebody who buys, and an auction that shows.
async fn ann_at_an_auction(server: &InProcess) -> (Client, String) {
    let id = server.client().register_seller("seller").await.schedule(&auction(1_000)).await;
    let ann = server.client().register("ann").await;
    ann.auction(&id, server.database.log_head().await).await;
    (ann, id)
}

/// Asks until the answer has this status, and no longer than that may take.
async fn until(client: &Client, path: &str, status: u16) {
    let began = Instant::now();
    loop {
        let answer = client.get(path).send().await;
        if answer.status == status {
            return;
        }
        assert!(began.elapsed() < AT_ONCE, "still {} after {:?}", answer.status, began.elapsed());
    }
}

/// Says what an administrator says, on the node itself.
async fn operate<F>(server: &InProcess, what: F)
where
    F: FnMut(&mut commands::World<'_>) -> Result<(), commands::Halt> + Send + 'static,
{
    server.app.engine.submit(Request::once(Metadata::by_operator()), what).await.or_fail("change an account");
}

#[tokio::test]
async fn logging_out_ends_the_tokens_of_the_session_and_its_sockets_and_no_others() {
    let server = InProcess::start().await;
    let (ann, id) = ann_at_an_auction(&server).await;
    let elsewhere = server.client().login("ann").await;
    let (mut socket, mut other) = (socket_of(&ann, &id).await, socket_of(&elsewhere, &id).await);
    ann.get("/auth/me").since(server.database.log_head().await).send().await.expect(200);
    ann.post("/auth/logout", &json!({})).send().await.expect(204);
    let began = Instant::now();
    assert_eq!(socket.close_code().await, POLICY);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    until(&ann, "/auth/me", 401).await;
    ann.post("/payments/withdraw", &json!({})).send().await.problem(401, "unauthenticated");
    // The other session goes on, and so does its socket.
    elsewhere.get("/auth/me").send().await.expect(200);
    elsewhere.bid(&id, 2_000).await.expect(201);
    assert_eq!(other.until("bid").await.pop().unwrap()["type"], "bid");
    let third = server.client().login("ann").await;
    third.post("/auth/logout", &json!({ "everywhere": true })).send().await.expect(204);
    assert_eq!(other.close_code().await, POLICY);
    until(&elsewhere, "/auth/me", 401).await;
    until(&third, "/auth/me", 401).await;
}

#[tokio::test]
async fn a_new_password_closes_the_sockets_of_other_sessions() {
    let server = InProcess::start().await;
    let (ann, id) = ann_at_an_auction(&server).await;
    let elsewhere = server.client().login("ann").await;
    let (mut kept, mut closed) = (socket_of(&ann, &id).await, socket_of(&elsewhere, &id).await);
    let change =
        json!({ "current_password": tradepost_tests::client::PASSWORD, "new_password": "wrong horse paperclip" });
    ann.post("/auth/password/change", &change).send().await.expect(200);
    assert_eq!(closed.close_code().await, POLICY);
    until(&elsewhere, "/auth/me", 401).await;
    ann.bid(&id, 2_000).await.expect(201);
    assert_eq!(kept.until("bid").await.pop().unwrap()["type"], "bid");
}

#[tokio::test]
async fn a_block_closes_sockets_and_lets_the_account_read() {
    let server = InProcess::start().await;
    let (ann, id) = ann_at_an_auction(&server).await;
    let mut socket = socket_of(&ann, &id).await;
    let account = ann.account();
    tradepost_tests::bazaar::suspend(&server, account).await;
    let began = Instant::now();
    assert_eq!(socket.close_code().await, POLICY);
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    ann.bid(&id, 2_000).await.problem(403, "account-suspended");
    ann.post("/auth/ws-ticket", &json!({})).send().await.problem(403, "account-suspended");
    let me = ann.get("/auth/me").since(server.database.log_head().await).send().await.expect(200);
    assert_eq!(me.body["blocked"], true);
    operate(&server, move |world| accounts::reinstate(world, account, Granter::Operator)).await;
    ann.bid(&id, 2_000).await.expect(201);
}

#[tokio::test]
async fn what_an_account_may_do_changes_at_once_on_every_node() {
    let database = TestDatabase::fresh().await;
    let (one, two) = tokio::join!(Spawned::start(database.url(), &[]), Spawned::start(database.url(), &[]));
    let ann = one.client().register("ann").await;
    let (here, there) = (ann.clone(), ann.at(two.address()));
    let id = one.client().register_seller("seller").await.schedule(&auction(1_000)).await;
    there.auction(&id, database.log_head().await).await;
    for client in [&here, &there] {
        client.get("/admin/trial-balance").send().await.problem(403, "missing-capability");
    }
    let admin = |arguments: &'static [&'static str]| {
        let mut command = tradepost(database.url(), &[&["admin"], arguments].concat());
        async move {
            let output = command.output().await.or_fail("run `tradepost admin`");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
    };
    let said = admin(&["grant", "--email", "ann@example.com", "--capability", "staff,audit"]).await;
    assert!(said.starts_with("ann@example.com may do more"), "{said}");
    for client in [&here, &there] {
        until(client, "/admin/trial-balance", 200).await;
    }
    let (mut first_socket, mut second_socket) = (socket_of(&here, &id).await, socket_of(&there, &id).await);
    admin(&["revoke", "--email", "Ann@example.com", "--capability", "staff"]).await;
    for client in [&here, &there] {
        until(client, "/admin/trial-balance", 403).await;
    }
    assert_eq!((first_socket.close_code().await, second_socket.close_code().await), (POLICY, POLICY));
    admin(&["suspend", "--email", "ann@example.com", "--reason", "fraud"]).await;
    here.bid(&id, 2_000).await.problem(403, "account-suspended");
    admin(&["reinstate", "--email", "ann@example.com"]).await;
    here.bid(&id, 2_000).await.expect(201);
    // Ended on the one node, it has ended on the other.
    here.post("/auth/logout", &json!({})).send().await.expect(204);
    until(&there, "/auth/me", 401).await;
    for node in [one, two] {
        node.terminate().await;
    }
}

#[tokio::test]
async fn a_node_that_decides_for_others_learns_too_who_is_out() {
    let (database, nats) = tokio::join!(TestDatabase::fresh(), NatsServer::start());
    let deciding =
        Spawned::start(database.url(), &["--nats-url", &nats.url(), "--roles", "projections,processes"]).await;
    let node = Spawned::start(database.url(), &["--nats-url", &nats.url(), "--roles", "api,relay"]).await;
    let id = node.client().register_seller("seller").await.schedule(&auction(1_000)).await;
    let ann = node.client().register("ann").await;
    ann.bid(&id, 2_000).await.expect(201);
    ann.post("/auth/logout", &json!({})).send().await.expect(204);
    let began = Instant::now();
    // What changes something is looked at where it is decided.
    while ann.bid(&id, 3_000).await.status != 401 {
        assert!(began.elapsed() < AT_ONCE, "still in after {:?}", began.elapsed());
    }
    for node in [node, deciding] {
        node.terminate().await;
    }
}

#[tokio::test]
async fn a_socket_closes_when_its_access_token_expires() {
    let mut settings = api::config::Config::default();
    settings.auth.access_token_ttl_s = 2;
    let server = InProcess::start_with(settings).await;
    let (ann, id) = ann_at_an_auction(&server).await;
    assert_eq!(socket_of(&ann, &id).await.close_code().await, POLICY);
    // Whoever has said nothing about themselves may go on watching.
    let mut watching = Socket::open(server.address(), &format!("/ws/auctions/{id}")).await;
    assert_eq!(watching.next().await["type"], "state");
}

#[tokio::test]
async fn a_token_of_an_account_that_is_no_more_is_not_good() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    let account = ann.account();
    let capabilities = BTreeSet::from([Capability::Staff]);
    operate(&server, move |world| accounts::grant(world, account, capabilities.clone(), Granter::Operator)).await;
    until(&ann, "/admin/trial-balance", 200).await;
    let body = json!({ "password": tradepost_tests::client::PASSWORD });
    ann.delete("/auth/account", &body).send().await.expect(200);
    until(&ann, "/admin/trial-balance", 401).await;
    until(&ann, "/auth/me", 401).await;
}
