//! A small marketplace for tests of orders: a seller, a buyer with money, staff, and what they do to an order.

use std::collections::BTreeSet;

use commands::{Request, accounts};
use domain::account::{Capability, Granter};
use domain::{AccountId, Sealed};
use eventstore::event::Metadata;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::fail::OrFail;
use crate::market::{listing, usd, with};
use crate::server::InProcess;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;
/// Milliseconds of a minute.
pub const MINUTE_MS: i64 = 60_000;

/// What the buyer has in the beginning, in cents.
const BROUGHT_IN: i64 = 100_000;

/// A marketplace with somebody of each kind.
#[derive(Debug)]
pub struct Bazaar {
    /// The server.
    pub server: InProcess,
    /// Who sells.
    pub seller: Client,
    /// Who buys, with 1,000.00 in the wallet.
    pub buyer: Client,
    /// Who decides.
    pub staff: Client,
}

impl Bazaar {
    /// Opens it.
    pub async fn open() -> Self {
        Self::at(InProcess::start().await).await
    }

    /// Opens it at a server.
    pub async fn at(server: InProcess) -> Self {
        let seller = server.client().register_seller("seller").await;
        let buyer = server.client().register("buyer").await;
        let staff = staff(&server, "clerk").await;
        buyer.fund(BROUGHT_IN).await;
        Self { server, seller, buyer, staff }
    }

    /// Offers so many pieces at 100.00 and 5.00 for sending each, and tells the listing's id.
    pub async fn offer(&self, stock: u32) -> String {
        self.seller.offer(&with(with(listing(10_000), "stock", stock), "shipping", usd(500))).await
    }

    /// Lets the buyer buy and pay one piece of a new listing, for 105.00. Tells the order's id.
    pub async fn sell(&self) -> String {
        let listing = self.offer(1).await;
        let bought = self.buyer.check_out(&[(&listing, 1)], "now").await.expect(201);
        order_of(&bought)
    }

    /// The same, sent and arrived.
    pub async fn deliver(&self) -> String {
        let order = self.sell().await;
        self.ship(&order).await.expect(200);
        self.buyer.tell(&order, "deliver").await.expect(200);
        order
    }

    /// The same, paid out.
    pub async fn complete(&self) -> String {
        let order = self.deliver().await;
        self.buyer.tell(&order, "confirm").await.expect(200);
        order
    }

    /// Lets the seller send an order.
    pub async fn ship(&self, order: &str) -> Answer {
        let body = json!({ "carrier": "Post", "tracking": "P1" });
        self.seller.post(&format!("/orders/{order}/ship"), &body).send().await
    }

    /// Lets the buyer dispute an order.
    pub async fn dispute(&self, order: &str) -> Answer {
        let body = json!({ "reason": "It is scratched." });
        self.buyer.post(&format!("/escrow/{order}/dispute"), &body).send().await
    }

    /// Lets staff decide a dispute.
    pub async fn resolve(&self, order: &str, decision: &Value) -> Answer {
        self.staff.post(&format!("/admin/escrow/{order}/resolve"), decision).send().await
    }

    /// Lets time pass, and tells the log's head.
    pub async fn wait(&self, ms: i64) -> i64 {
        self.staff.advance(ms).await
    }

    /// The statuses of an order and of its escrow, once everything up to now shows.
    pub async fn statuses(&self, order: &str) -> (String, String) {
        let now = self.wait(0).await;
        let read = |path: String| async move {
            let body = self.staff.get(&path).since(now).send().await.expect(200).body;
            body["status"].as_str().or_fail("find the status").to_owned()
        };
        (read(format!("/orders/{order}")).await, read(format!("/escrow/{order}")).await)
    }

    /// What buyer and seller have available, in cents.
    pub async fn purses(&self) -> (i64, i64) {
        let now = self.wait(0).await;
        (self.buyer.available(now).await, self.seller.available(now).await)
    }

    /// The balance of one kind of ledger account, in cents, credits counting up.
    ///
    /// # Panics
    /// If the books do not balance.
    pub async fn book(&self, kind: &str) -> i64 {
        let now = self.wait(0).await;
        let books = self.staff.get("/admin/trial-balance").since(now).send().await.expect(200).body;
        assert_eq!(books["balanced"], json!(true), "{books}");
        let accounts = books["currencies"][0]["accounts"].as_array().cloned().unwrap_or_default();
        let found = accounts.iter().find(|account| account["kind"] == kind);
        found.and_then(|account| account["balance"].as_str()?.parse().ok()).unwrap_or(0)
    }

    /// What the books say of the provider, but for what the buyer has brought in at the beginning.
    ///
    /// # Panics
    /// If the books do not balance.
    pub async fn clearing(&self) -> i64 {
        self.book("provider-clearing").await + BROUGHT_IN
    }
}

/// Somebody of the staff.
pub async fn staff(server: &InProcess, name: &str) -> Client {
    somebody_who_may(server, name, [Capability::Staff].into()).await
}

/// Somebody of the staff who is an administrator as well.
pub async fn admin(server: &InProcess, name: &str) -> Client {
    somebody_who_may(server, name, [Capability::Staff, Capability::Admin].into()).await
}

/// Somebody who reads the whole history, and is nobody of the staff.
pub async fn auditor(server: &InProcess, name: &str) -> Client {
    somebody_who_may(server, name, [Capability::Audit].into()).await
}

async fn somebody_who_may(server: &InProcess, name: &str, capabilities: BTreeSet<Capability>) -> Client {
    let client = server.client().register(name).await;
    empower(server, &client, capabilities).await;
    client
}

/// Gives somebody capabilities, as an operator does.
pub async fn empower(server: &InProcess, client: &Client, capabilities: BTreeSet<Capability>) {
    let account = client.account();
    let granted =
        move |world: &mut commands::World<'_>| accounts::grant(world, account, capabilities.clone(), Granter::Operator);
    let request = Request::once(Metadata::by_operator());
    server.app.engine.submit(request, granted).await.or_fail("give capabilities");
}

/// Suspends somebody, as an operator does.
pub async fn suspend(server: &InProcess, account: AccountId) {
    let reason = Sealed::from_ciphertext(account, "a reason that nobody opens".to_owned());
    let suspend =
        move |world: &mut commands::World<'_>| accounts::suspend(world, account, reason.clone(), Granter::Operator);
    let suspended = server.app.engine.submit(Request::once(Metadata::by_operator()), suspend).await;
    suspended.or_fail("suspend somebody");
}

impl Client {
    /// Checks a cart out; `pay` is `now` or `later`.
    pub async fn check_out(&self, lines: &[(&str, u32)], pay: &str) -> Answer {
        let lines: Vec<Value> =
            lines.iter().map(|(listing, quantity)| json!({ "listing_id": listing, "quantity": quantity })).collect();
        self.post("/orders", &json!({ "lines": lines, "pay": pay })).send().await
    }

    /// Sends a command about an order that its name says in full.
    pub async fn tell(&self, order: &str, what: &str) -> Answer {
        self.post(&format!("/orders/{order}/{what}"), &json!({})).send().await
    }
}

/// The first order of a checkout.
pub fn order_of(checked_out: &Answer) -> String {
    checked_out.body["orders"][0]["id"].as_str().or_fail("find the order of the checkout").to_owned()
}
