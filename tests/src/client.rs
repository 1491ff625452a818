//! A client of the HTTP API: asks, and keeps of an answer what tests look at.

use std::time::Duration;

use domain::AccountId;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::document;
use crate::fail::{OrFail, fail};

/// Longer than the server's own limit, so that the server is the one to give up.
const PATIENCE: Duration = Duration::from_secs(40);
/// Shorter than the server keeps a connection that nobody uses.
const KEPT: Duration = Duration::from_secs(30);
/// The password of every account of the tests.
pub const PASSWORD: &str = "correct horse battery";

/// Somebody at one server: anonymous, or an account that has logged in.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    address: String,
    access_token: Option<String>,
    refresh_token: Option<String>,
    account: Option<AccountId>,
}

/// What the server has answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null if it is none.
    pub body: Value,
    /// `Tradepost-Position`: the position that the answer rests on.
    pub position: Option<i64>,
}

/// Chooses the cryptography that HTTP clients of this process use, also those that speak to nobody over TLS.
pub fn prepare() {
    api::outgoing::choose_tls();
}

impl Client {
    /// Nobody in particular, at the server that listens on `address` (`http://host:port`).
    pub fn anonymous(address: &str) -> Self {
        Self::with_agent(address, "tradepost-tests/1.0")
    }

    /// The same, calling itself this.
    pub fn with_agent(address: &str, agent: &str) -> Self {
        prepare();
        let builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy().user_agent(agent).pool_idle_timeout(KEPT);
        let http = builder.build().or_fail("make an HTTP client");
        Self { http, address: address.to_owned(), access_token: None, refresh_token: None, account: None }
    }

    /// The same account at another server.
    #[must_use]
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// The same server and account, speaking with another access token.
    #[must_use]
    pub fn with_access_token(&self, token: &str) -> Self {
        Self { access_token: Some(token.to_owned()), ..self.clone() }
    }

    /// This account at the same server, without a session that could be refreshed.
    #[must_use]
    pub fn speaking_for(&self, account: AccountId, token: &str) -> Self {
        Self { account: Some(account), refresh_token: None, ..self.with_access_token(token) }
    }

    /// The server that it talks to (`http://host:port`).
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The account that it speaks for.
    pub fn account(&self) -> AccountId {
        self.account.or_fail("tell the account of a client that has not logged in")
    }

    /// The account that it speaks for, if it has logged in.
    pub fn known_account(&self) -> Option<AccountId> {
        self.account
    }

    /// The access token of its session.
    pub fn access_token(&self) -> &str {
        self.access_token.as_deref().or_fail("tell the access token of a client that has not logged in")
    }

    /// The refresh token of its session.
    pub fn refresh_token(&self) -> &str {
        self.refresh_token.as_deref().or_fail("tell the refresh token of a client that has not logged in")
    }

    /// A request to any path of the server.
    pub fn ask(&self, method: &Method, path: &str) -> Ask {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.address));
        if let Some(token) = &self.access_token {
            request = request.bearer_auth(token);
        }
        Ask { request, method: method.clone(), what: format!("{method} {path}") }
    }

    /// A read under `/api/v1`.
    pub fn get(&self, path: &str) -> Ask {
        self.ask(&Method::GET, &format!("/api/v1{path}"))
    }

    /// A command under `/api/v1`.
    pub fn post(&self, path: &str, body: &Value) -> Ask {
        self.ask(&Method::POST, &format!("/api/v1{path}")).json(body)
    }

    /// A change under `/api/v1`.
    pub fn patch(&self, path: &str, body: &Value) -> Ask {
        self.ask(&Method::PATCH, &format!("/api/v1{path}")).json(body)
    }

    /// Something written anew under `/api/v1`.
    pub fn put(&self, path: &str, body: &Value) -> Ask {
        self.ask(&Method::PUT, &format!("/api/v1{path}")).json(body)
    }

    /// The removal of something under `/api/v1`.
    pub fn delete(&self, path: &str, body: &Value) -> Ask {
        self.ask(&Method::DELETE, &format!("/api/v1{path}")).json(body)
    }

    /// Joins as somebody who buys.
    pub async fn register(&self, name: &str) -> Self {
        self.join(name, false).await
    }

    /// Joins as somebody who buys and sells.
    pub async fn register_seller(&self, name: &str) -> Self {
        self.join(name, true).await
    }

    async fn join(&self, name: &str, as_seller: bool) -> Self {
        let body = json!({
            "email": format!("{name}@example.com"), "user_name": name, "password": PASSWORD, "sell": as_seller,
        });
        let answer = self.post("/auth/register", &body).send().await.expect(201);
        self.logged_in(&answer)
    }

    /// Logs in with the password of the tests.
    pub async fn login(&self, name: &str) -> Self {
        let body = json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
        let answer = self.post("/auth/login", &body).send().await.expect(200);
        self.logged_in(&answer)
    }

    /// The client that an answer with tokens makes.
    #[must_use]
    pub fn logged_in(&self, answer: &Answer) -> Self {
        let text = |name: &str| answer.body[name].as_str().map(str::to_owned);
        let account = text("account_id").and_then(|id| id.parse().ok());
        Self { access_token: text("access_token"), refresh_token: text("refresh_token"), account, ..self.clone() }
    }
}

/// A request on its way.
#[derive(Debug)]
#[must_use = "a request is sent by `send`"]
pub struct Ask {
    request: RequestBuilder,
    method: Method,
    what: String,
}

impl Ask {
    /// With this body.
    pub fn json(self, body: &Value) -> Self {
        self.with(|request| request.json(body))
    }

    /// With this body, whatever it is, called `media_type`.
    pub fn raw(self, media_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.with(|request| request.header("content-type", media_type).body(body))
    }

    /// Under this `Idempotency-Key`.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// With one more header.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|request| request.header(name, value))
    }

    /// Only once the read model shows `position`.
    pub fn since(self, position: i64) -> Self {
        self.header("tradepost-min-position", &position.to_string())
    }

    /// The answer; a request without one ends the test.
    pub async fn send(self) -> Answer {
        let what = self.what.clone();
        self.attempt().await.or_fail(&what)
    }

    /// The answer, if one comes.
    pub async fn attempt(self) -> Result<Answer, reqwest::Error> {
        let Self { request, method, what } = self;
        let response = request.send().await?;
        let url = response.url().clone();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        let position = headers.get("tradepost-position").and_then(|value| value.to_str().ok()?.parse().ok());
        let answer = Answer { status, headers, text, body, position };
        let faults = document::faults(method.as_str(), url.path(), &answer);
        if !faults.is_empty() {
            fail(&format!("{what} is not as documented: {faults:#?} in {} {}", answer.status, answer.text));
        }
        Ok(answer)
    }

    fn with(self, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Self {
        Self { request: change(self.request), ..self }
    }
}

/// What an answer tells of what is behind it: SQL, a path, a trace.
pub fn leak(text: &str) -> Option<String> {
    let told = ["select ", "sqlx", "panicked", "/src/", ".rs:"].into_iter().find(|leak| text.contains(leak));
    told.map(|leak| format!("it tells `{leak}`"))
}

impl Answer {
    /// The answer, if it has this status.
    #[expect(clippy::return_self_not_must_use, reason = "often nothing else is of interest")]
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        if self.status != status {
            fail(&format!("expected {status}, got {}: {}", self.status, self.text));
        }
        self
    }

    /// The answer, if it is a well-formed problem of this status and kind.
    #[expect(clippy::return_self_not_must_use, reason = "often nothing else is of interest")]
    #[track_caller]
    pub fn problem(self, status: u16, slug: &str) -> Self {
        let answer = self.expect(status);
        if let Some(fault) = answer.problem_fault() {
            fail(&format!("{fault}: {}", answer.text));
        }
        if answer.slug() != Some(slug) {
            fail(&format!("expected the problem `{slug}`: {}", answer.text));
        }
        answer
    }

    /// The stable name of the problem that this answer is.
    pub fn slug(&self) -> Option<&str> {
        self.body["type"].as_str()?.strip_prefix("/problems/")
    }

    /// What keeps this answer from being a problem as RFC 9457 and the product's conventions describe it.
    pub fn problem_fault(&self) -> Option<String> {
        let text = |name: &str| self.body[name].as_str().is_some_and(|text| !text.is_empty());
        if self.header("content-type") != Some("application/problem+json") {
            return Some("its content type is not application/problem+json".to_owned());
        }
        if self.slug().is_none() {
            return Some("its type is not /problems/<slug>".to_owned());
        }
        if let Some(missing) = ["title", "detail", "instance"].into_iter().find(|name| !text(name)) {
            return Some(format!("it has no {missing}"));
        }
        if self.body["status"] != json!(self.status) {
            return Some("its status is not that of the answer".to_owned());
        }
        let of_request = self.header("x-request-id") == self.body["instance"].as_str();
        (!of_request).then(|| "its instance is not the id of the request".to_owned())
    }

    /// What keeps this answer from being one to a request that must be refused: it fails, is no problem, or tells of what
    /// is behind it.
    pub fn refusal_fault(&self) -> Option<String> {
        if !(400..500).contains(&self.status) {
            return Some(format!("its status is {}", self.status));
        }
        self.problem_fault().or_else(|| leak(&self.text))
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name.parse::<HeaderName>().ok()?)?.to_str().ok()
    }

    /// The position that the answer rests on, which every answer to a command tells.
    #[track_caller]
    pub fn at(&self) -> i64 {
        self.position.or_fail("find Tradepost-Position in the answer")
    }

    /// Whether the answer was given before under the same key.
    pub fn replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }
}
