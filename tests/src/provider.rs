//! A payment provider that speaks as Stripe does, with the shapes of Stripe's own published client library (the types of
//! `stripe` 23 on the npm registry), and that keeps records of its own: what was asked, what it moved, under which key.
//!
//! What is asked twice under one key is done once and answered alike; what is asked differently under it is refused. It
//! can be told to fail, to stall before or after it has done something, and to lose its answer. Its webhooks are signed;
//! it sends none by itself: a test takes them and delivers them as it likes, in whatever order, twice, or never.
//!
//! | payment method | what it does |
//! | --- | --- |
//! | [`GOOD`] | pays |
//! | [`DECLINED`] | is declined |
//! | [`ASKS`] | wants its owner to confirm first ([`Provider::confirm`]) |
//! | [`SLOW`] | is processing until [`Provider::finish`] |

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::config::{Secret, Stripe as Settings};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use chrono::TimeDelta;
use futures::stream;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::fail::OrFail;

mod books;

pub use books::Moved;
use books::{Asked, Books, Form, Reply};

/// The secret key that it knows.
pub const KEY: &str = "sk_test_of_the_tests";
/// The secret that its webhooks are signed with.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_tests";
/// A card that pays.
pub const GOOD: &str = "pm_card_visa";
/// A card that is declined.
pub const DECLINED: &str = "pm_card_visa_chargeDeclined";
/// A card whose owner has to confirm.
pub const ASKS: &str = "pm_card_authenticationRequired";
/// A payment method that takes its time.
pub const SLOW: &str = "pm_usBankAccount_processing";
/// A request that has not come by then will not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What goes wrong with a request.
#[derive(Debug)]
pub enum Fault {
    /// Nothing is done, and 500 is answered.
    Fail,
    /// It is done, and the answer breaks off.
    LoseAnswer,
    /// Nothing is done, and it is never answered. Whoever waits for it is told.
    StallBefore(oneshot::Sender<()>),
    /// It is done, and answered only once that is allowed; never, if it never is. Whoever waits for it is told.
    Hold(oneshot::Sender<()>, oneshot::Receiver<()>),
}

/// What waits for the next request like it.
#[derive(Debug)]
struct Trap {
    method: Method,
    path: String,
    fault: Fault,
}

/// A running provider. Dropped, it serves on until the test ends.
#[derive(Clone, Debug)]
pub struct Provider {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    books: Mutex<Books>,
    traps: Mutex<Vec<Trap>>,
}

/// A request that will come as far as a test wants it to, and not further.
#[derive(Debug)]
pub struct Stalled {
    reached: oneshot::Receiver<()>,
    go_on: Option<oneshot::Sender<()>>,
}

impl Stalled {
    /// Waits until it has come so far.
    pub async fn reached(&mut self) {
        let reached = tokio::time::timeout(PATIENCE, &mut self.reached).await;
        reached.or_fail("wait longer for a request to the provider").or_fail("wait for a request to the provider");
    }

    /// Lets it go on, if it was done.
    pub fn go_on(self) {
        // Whoever has asked may have gone.
        let _ = self.go_on.map(|go_on| go_on.send(()));
    }
}

impl Provider {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.or_fail("listen on a free port");
        let address = format!("http://{}", listener.local_addr().or_fail("tell the port"));
        let shared = Arc::new(Shared::default());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, shared }
    }

    /// Where it listens (`http://host:port`).
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next request of this method whose path begins so goes wrong.
    pub fn next(&self, method: Method, path: &str, fault: Fault) {
        let trap = Trap { method, path: path.to_owned(), fault };
        self.shared.traps.lock().unwrap_or_else(PoisonError::into_inner).push(trap);
    }

    /// The next request of this method whose path begins so stalls before anything is done.
    pub fn stall_before(&self, method: Method, path: &str) -> Stalled {
        let (tell, reached) = oneshot::channel();
        self.next(method, path, Fault::StallBefore(tell));
        Stalled { reached, go_on: None }
    }

    /// The next request of this method whose path begins so is done, and not answered before it is told to go on.
    pub fn stall_after(&self, method: Method, path: &str) -> Stalled {
        let (tell, reached) = oneshot::channel();
        let (go_on, allowed) = oneshot::channel();
        self.next(method, path, Fault::Hold(tell, allowed));
        Stalled { reached, go_on: Some(go_on) }
    }

    /// What it has moved of a kind (`payment_intent`, `refund`, `transfer`, `payout`), the oldest first.
    pub fn moved(&self, kind: &str) -> Vec<Moved> {
        self.books().moved(kind)
    }

    /// Its time goes on.
    pub fn wait(&self, ms: i64) {
        self.books().ahead += TimeDelta::milliseconds(ms);
    }

    /// Its books say another amount of something than it has moved.
    pub fn falsify(&self, source: &str, amount: i64) {
        for line in self.books().lines(source) {
            line["amount"] = json!(amount);
        }
    }

    /// Its books say nothing of something any more: it is so long ago that nobody asks.
    pub fn lose_lines(&self, source: &str) {
        for line in self.books().lines(source) {
            line["created"] = json!(0);
        }
    }

    /// What a server is told of it.
    pub fn settings(&self) -> Settings {
        Settings {
            api_base: self.address.clone(),
            api_key: Some(Secret::new(KEY.to_owned())),
            webhook_secrets: Some(Secret::new(WEBHOOK_SECRET.to_owned())),
            ..Settings::default()
        }
    }

    /// What has happened since the last time, as signed webhooks would tell it.
    pub fn events(&self) -> Vec<Value> {
        std::mem::take(&mut self.books().events)
    }

    /// The owner of a card confirms a payment.
    pub fn confirm(&self, intent: &str) {
        self.books().succeed(intent);
    }

    /// Money arrives that was processing.
    pub fn finish(&self, intent: &str) {
        self.books().succeed(intent);
    }

    /// The owner of a card does not confirm.
    pub fn refuse(&self, intent: &str) {
        self.books().refuse(intent);
    }

    /// From now on, refunds are pending until [`Provider::finish_refund`], or succeed at once again.
    pub fn refunds_wait(&self, wait: bool) {
        self.books().refunds_wait = wait;
    }

    /// A refund arrives that was pending.
    pub fn finish_refund(&self, refund: &str) {
        self.books().finish_refund(refund);
    }

    /// A refund does not arrive.
    pub fn fail_refund(&self, refund: &str) {
        self.books().fail_refund(refund);
    }

    /// A payout arrives.
    pub fn pay(&self, payout: &str) {
        self.books().end_payout(payout, "paid");
    }

    /// A payout comes back, also after it had arrived.
    pub fn return_payout(&self, payout: &str) {
        self.books().end_payout(payout, "failed");
    }

    /// The owner of a card disputes a payment. Tells the dispute.
    pub fn dispute(&self, intent: &str) -> String {
        self.books().dispute(intent)
    }

    /// A dispute ends, `won` or `lost` by the marketplace.
    pub fn close_dispute(&self, dispute: &str, status: &str) {
        self.books().close_dispute(dispute, status);
    }

    /// A merchant who may be paid out. Tells its name.
    pub fn merchant(&self) -> String {
        let mut books = self.books();
        let merchant = books.open(&Form::default());
        books.enable(&merchant, true);
        merchant
    }

    /// A merchant has told the provider all that it wanted to know, or payouts to them stop.
    pub fn enable(&self, account: &str, payouts: bool) {
        self.books().enable(account, payouts);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.shared.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `Stripe-Signature` says of a body that was sent at `timestamp` (in seconds).
pub fn signature(secret: &str, timestamp: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).or_fail("take any secret");
    mac.update(format!("{timestamp}.{body}").as_bytes());
    let digest = mac.finalize().into_bytes();
    format!("t={timestamp},v1={digest:x}")
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if header("authorization").as_deref() != Some(&format!("Bearer {KEY}")) {
        return refused(401, "invalid_request_error", "Invalid API Key provided.");
    }
    let fault = {
        let mut traps = shared.traps.lock().unwrap_or_else(PoisonError::into_inner);
        let sprung = traps.iter().position(|trap| trap.method == method && uri.path().starts_with(&trap.path));
        sprung.map(|at| traps.remove(at).fault)
    };
    let asked = Asked {
        method: method.to_string(),
        path: uri.path().to_owned(),
        key: header("idempotency-key"),
        account: header("stripe-account"),
        form: Form::read(uri.query().unwrap_or_default().as_bytes(), &body),
    };
    let act = || shared.books.lock().unwrap_or_else(PoisonError::into_inner).act(asked);
    match fault {
        None => reply(&act()),
        Some(Fault::Fail) => refused(500, "api_error", "Something went wrong."),
        Some(Fault::LoseAnswer) => {
            let done = act();
            let broken = stream::iter([Err::<Bytes, _>(std::io::Error::other("the line was cut"))]);
            with_body(&done, Body::from_stream(broken))
        }
        Some(Fault::StallBefore(tell)) => {
            // The test may have ended.
            let _ = tell.send(());
            std::future::pending().await
        }
        Some(Fault::Hold(tell, allowed)) => {
            let done = act();
            let _ = tell.send(());
            if allowed.await.is_err() {
                std::future::pending::<()>().await;
            }
            reply(&done)
        }
    }
}

fn refused(status: u16, kind: &str, message: &str) -> Response {
    let body = json!({ "error": { "type": kind, "message": message } });
    reply(&Reply { status, body, replayed: false })
}

fn reply(reply: &Reply) -> Response {
    with_body(reply, Body::from(reply.body.to_string()))
}

fn with_body(reply: &Reply, body: Body) -> Response {
    let mut response = Response::builder().status(reply.status).header("content-type", "application/json");
    if reply.replayed {
        response = response.header("idempotent-replayed", "true");
    }
    response.body(body).or_fail("make an answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Stripe's own library makes it: `Stripe.webhooks.generateTestHeaderString`, version 23.1.0.
    #[test]
    fn a_webhook_is_signed_as_stripe_signs_it() {
        let signed = signature("whsec_test_secret", 1_492_774_577, "{\"id\":\"evt_1\"}");
        assert_eq!(signed, "t=1492774577,v1=799c4ba7bb339f3c8601adfd112f0e477c930a268be1243d341abb8286501c2f");
    }
}
