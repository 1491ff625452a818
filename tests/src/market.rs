//! What tests and loads set up at a marketplace: goods, accounts, the clock.

use chrono::{DateTime, Utc};
use domain::{CityId, ProvinceId};
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::fail::OrFail;

/// An amount in US cents, as the API writes it.
pub fn usd(cents: i64) -> Value {
    json!({ "amount": cents, "currency": "USD" })
}

/// A listing at a fixed price, to be sent to `/listings`.
pub fn listing(cents: i64) -> Value {
    json!({
        "title": "Cartier Tank wristwatch", "description": "Gold, 1989.", "category": "watches", "brand": "Cartier",
        "condition": "good", "price": usd(cents),
    })
}

/// An auction that starts now and lasts an hour, to be sent to `/auctions`.
pub fn auction(start_cents: i64) -> Value {
    json!({
        "title": "Palm M515", "description": "In its box.", "category": "pdas", "condition": "like_new",
        "start_price": usd(start_cents), "duration_s": 3_600,
    })
}

/// An address in Lahore, to be sent to `/addresses`.
pub fn address(recipient: &str) -> Value {
    let punjab = ProvinceId::of("PK", "PB");
    json!({
        "recipient": recipient, "phone": "+92 300 1234567", "line1": "12 Mall Road", "postal_code": "54000",
        "province_id": punjab, "city_id": CityId::of(punjab, "lahore"),
    })
}

/// A body with one field changed.
#[must_use]
pub fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

impl Client {
    /// Offers something at a fixed price and tells its id.
    pub async fn offer(&self, listing: &Value) -> String {
        let answer = self.post("/listings", listing).send().await.expect(201);
        let id = answer.body["id"].as_str().or_fail("find the id of the listing").to_owned();
        self.post(&format!("/listings/{id}/publish"), &json!({})).send().await.expect(200);
        id
    }

    /// Offers something by auction and tells its id.
    pub async fn schedule(&self, auction: &Value) -> String {
        let answer = self.post("/auctions", auction).send().await.expect(201);
        answer.body["id"].as_str().or_fail("find the id of the auction").to_owned()
    }

    /// Keeps an address of somebody and tells its id.
    pub async fn keep_address(&self, recipient: &str) -> String {
        let answer = self.post("/addresses", &address(recipient)).send().await.expect(201);
        answer.body["id"].as_str().or_fail("find the id of the address").to_owned()
    }

    /// Keeps a payment method of the sandbox and tells its id.
    pub async fn keep_method(&self, token: &str) -> String {
        let method = json!({ "token": token, "label": "My bank" });
        let answer = self.post("/payments/methods", &method).send().await.expect(201);
        answer.body["id"].as_str().or_fail("find the id of the payment method").to_owned()
    }

    /// Bids up to `cents`.
    pub async fn bid(&self, auction: &str, cents: i64) -> Answer {
        self.post(&format!("/auctions/{auction}/bids"), &json!({ "maximum": usd(cents) })).send().await
    }

    /// An auction as everybody sees it, once everything up to `since` shows.
    pub async fn auction(&self, auction: &str, since: i64) -> Value {
        self.get(&format!("/auctions/{auction}")).since(since).send().await.expect(200).body
    }

    /// Asks for money by one of the sandbox's payment methods.
    pub async fn deposit(&self, cents: i64, method: &str) -> Answer {
        self.post("/payments/deposit", &json!({ "amount": usd(cents), "payment_method": method })).send().await
    }

    /// Sends money out by one of the sandbox's payment methods.
    pub async fn withdraw(&self, cents: i64, method: &str) -> Answer {
        self.post("/payments/withdraw", &json!({ "amount": usd(cents), "payment_method": method })).send().await
    }

    /// What is available in US cents, once everything up to `since` shows.
    pub async fn available(&self, since: i64) -> i64 {
        let wallet = self.get("/wallet").since(since).send().await.expect(200).body;
        let balances = wallet["balances"].as_array().cloned().unwrap_or_default();
        let dollars = balances.iter().find(|balance| balance["currency"] == "USD");
        dollars.and_then(|balance| balance["available"]["amount"].as_i64()).unwrap_or(0)
    }

    /// The marketplace's time.
    pub async fn now(&self) -> DateTime<Utc> {
        let shown = self.get("/sandbox/clock").send().await.expect(200).body;
        shown["now"].as_str().and_then(|now| now.parse().ok()).or_fail("read the clock")
    }

    /// Lets time pass; everything due until then has happened. Tells the log's head.
    pub async fn advance(&self, ms: i64) -> i64 {
        let shown = self.post("/sandbox/clock", &json!({ "advance_ms": ms })).send().await.expect(200).body;
        shown["position"].as_i64().or_fail("find the position in the answer of the clock")
    }

    /// Puts money into the wallet and waits until it is there. `advance(0)` lets the payment process finish first.
    pub async fn fund(&self, cents: i64) -> i64 {
        self.deposit(cents, "sandbox-succeeds").await.expect(202);
        self.advance(0).await
    }
}
