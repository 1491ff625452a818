//! A Stripe that nobody here wrote, as far as there is one: `localstripe`, as a process of its own, behind a front.
//!
//! The front passes on what it is asked, and adds what localstripe lacks and a marketplace rests on: a key that was used
//! before is answered as it was then; merchants, transfers and their reversals are there, in the shapes that satisfy the
//! types of Stripe's own library; lines of the books are asked for by time. It can also lose answers, as networks do.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::config::{Secret, Stripe as Settings};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::fail::OrFail;
use crate::openid::python;

/// How soon to ask again whether it is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Python takes its time.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
/// Larger than anything that is asked here.
const LARGEST: usize = 1024 * 1024;
/// Who we are there. It takes any key of this form.
const KEY: &str = "sk_test_of_nobody";
/// What its webhooks are signed with.
const WEBHOOK_SECRET: &str = "whsec_of_nobody_in_particular";
/// A card that is good.
pub const GOOD_CARD: &str = "pm_card_visa";
/// A card whose bank says no.
pub const DECLINED_CARD: &str = "pm_card_chargeCustomerFail";
/// The number of a card whose bank asks who pays.
const CARD_THAT_ASKS: &str = "4000002500003155";

/// A running Stripe. Dropped, it is killed.
#[derive(Debug)]
pub struct Stripe {
    _child: Child,
    front: Front,
    address: String,
    serving: JoinHandle<()>,
}

impl Drop for Stripe {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

#[derive(Clone, Debug)]
struct Front {
    http: reqwest::Client,
    /// Where localstripe is.
    behind: String,
    kept: Arc<Mutex<Kept>>,
}

/// What the front knows that localstripe does not.
#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<String, (StatusCode, Vec<u8>)>,
    /// Keys of what is being asked.
    in_use: HashSet<String>,
    /// Merchants, transfers and reversals, by name.
    objects: Vec<Value>,
    /// How many answers to changes are yet to be lost.
    to_be_lost: usize,
    /// What was asked: `POST /v1/refunds`.
    asked: Vec<String>,
}

impl Stripe {
    /// Starts one.
    pub async fn start() -> Self {
        crate::client::prepare();
        let http = reqwest::Client::builder().no_proxy().build().or_fail("make a client");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let port = free.or_fail("find a free port").port();
        let mut command = Command::new(python());
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("stripe/here.py")).arg(port.to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().or_fail("start localstripe");
        let behind = format!("http://127.0.0.1:{port}");
        let ready = async {
            while http.get(format!("{behind}/v1/balance")).send().await.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(STARTS_WITHIN, ready).await.or_fail("wait longer for localstripe");
        let front = Front { http, behind, kept: Arc::default() };
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.or_fail("listen on a free port");
        let address = format!("http://{}", listener.local_addr().or_fail("tell the port"));
        let router = Router::new().fallback(answer).with_state(front.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.or_fail("serve the front of localstripe");
        });
        Self { _child: child, front, address, serving }
    }

    /// What a server is told of it.
    pub fn settings(&self) -> Settings {
        Settings {
            api_base: self.address.clone(),
            api_key: Some(Secret::new(KEY.to_owned())),
            webhook_secrets: Some(Secret::new(format!("whsec_of_an_endpoint_of_old,{WEBHOOK_SECRET}"))),
            ..Settings::default()
        }
    }

    /// Has it tell a server, at this address, what happens.
    pub async fn tells(&self, url: &str) {
        let hook = json!({ "url": url, "secret": WEBHOOK_SECRET });
        let told = self.front.http.post(format!("{}/_config/webhooks/marketplace", self.front.behind));
        told.json(&hook).send().await.and_then(reqwest::Response::error_for_status).or_fail("set a webhook");
    }

    /// A card whose bank asks who pays, as a payment method.
    pub async fn card_that_asks(&self) -> String {
        let card = json!({ "number": CARD_THAT_ASKS, "exp_month": 12, "exp_year": 2035, "cvc": "123" });
        let made = self.post("/v1/payment_methods", &json!({ "type": "card", "card": card })).await;
        made["id"].as_str().or_fail("read the name of a card").to_owned()
    }

    /// The payer proves who they are, or fails to, as Stripe's library does it in a browser.
    pub async fn authenticate(&self, intent: &str, client_secret: &str, success: bool) {
        let path = format!("/v1/payment_intents/{intent}/_authenticate");
        self.post(&path, &json!({ "client_secret": client_secret, "success": success })).await;
    }

    /// The bank has taken a payout, or has not.
    pub async fn bank_says(&self, payout: &str, status: &str) {
        let said = json!({ "status": status, "failure_message": "The bank account has been closed" });
        self.post(&format!("/v1/payouts/{payout}"), &said).await;
    }

    /// What there is of a kind (`/v1/refunds`), past any server of ours.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        if path == "/v1/transfers" {
            return self.front.kept().objects.iter().filter(|object| object["object"] == "transfer").cloned().collect();
        }
        let asked = self.front.http.get(format!("{}{path}?limit=1000", self.front.behind)).basic_auth(KEY, Some(""));
        let page = asked.send().await.and_then(reqwest::Response::error_for_status).or_fail("look at localstripe");
        let page: Value = page.json().await.or_fail("read what localstripe has");
        page["data"].as_array().or_fail("read a list of localstripe's").clone()
    }

    /// Loses the next answers to what changes something, after it has happened.
    pub fn loses_answers(&self, count: usize) {
        self.front.kept().to_be_lost = count;
    }

    /// What was asked until now, as `POST /v1/refunds`.
    pub fn asked(&self) -> Vec<String> {
        self.front.kept().asked.clone()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let asked = self.front.http.post(format!("{}{path}", self.front.behind)).basic_auth(KEY, Some("")).json(body);
        let answer = asked.send().await.or_fail("ask localstripe");
        answer.json().await.or_fail("read what localstripe says")
    }
}

async fn answer(State(front): State<Front>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LARGEST).await.or_fail("read what is asked");
    let path = parts.uri.path().to_owned();
    front.kept().asked.push(format!("{} {path}", parts.method));
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // As at Stripe, a key is that of a merchant, or of the marketplace.
    let key = header("idempotency-key").map(|key| format!("{key} {}", header("stripe-account").unwrap_or_default()));
    let known = key.as_ref().and_then(|key| front.kept().answers.get(key).cloned());
    if let Some((status, body)) = known {
        return (status, [("idempotent-replayed", "true")], body).into_response();
    }
    if let Some(key) = &key
        && !front.kept().in_use.insert(key.clone())
    {
        let error = json!({ "error": { "type": "invalid_request_error", "code": "idempotency_key_in_use" } });
        return (StatusCode::CONFLICT, error.to_string()).into_response();
    }
    let changes = parts.method == "POST";
    let fields = if changes { fields(&body) } else { fields(parts.uri.query().unwrap_or_default().as_bytes()) };
    let own = front.kept().connect(changes, &path, &fields);
    let (status, answered) = match own {
        Some(Ok(object)) => (StatusCode::OK, object.to_string().into_bytes()),
        Some(Err(status)) => (status, json!({ "error": { "type": "invalid_request_error" } }).to_string().into_bytes()),
        None => front.pass_on(changes, &path, &parts.headers, &fields).await,
    };
    let mut kept = front.kept();
    if let Some(key) = key {
        kept.in_use.remove(&key);
        kept.answers.insert(key, (status, answered.clone()));
    }
    if changes && kept.to_be_lost > 0 {
        kept.to_be_lost -= 1;
        // Whoever waits hears that the connection has ended.
        return Body::from_stream(futures::stream::once(async {
            Err::<Vec<u8>, _>(std::io::Error::other("the network is gone"))
        }))
        .into_response();
    }
    (status, answered).into_response()
}

fn fields(form: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(form).into_owned().collect()
}

impl Front {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass_on(
        &self,
        changes: bool,
        path: &str,
        headers: &HeaderMap,
        fields: &[(String, String)],
    ) -> (StatusCode, Vec<u8>) {
        // All of its books are of now.
        let known =
            fields.iter().filter(|(name, _)| !(path == "/v1/balance_transactions" && name.starts_with("created")));
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(known).finish();
        let url = format!("{}{path}", self.behind);
        let asked = if changes {
            self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
        } else {
            self.http.get(format!("{url}?{form}"))
        };
        let asked =
            headers.get("authorization").into_iter().fold(asked, |asked, key| asked.header("authorization", key));
        let answer = asked.send().await.or_fail("ask localstripe");
        let status = answer.status();
        (status, answer.bytes().await.or_fail("read what localstripe says").to_vec())
    }
}

impl Kept {
    /// What localstripe has nothing of: Connect. Nothing if it is not about that.
    fn connect(&mut self, changes: bool, path: &str, fields: &[(String, String)]) -> Option<Result<Value, StatusCode>> {
        let said = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let operation = said("metadata[operation]").unwrap_or_default();
        let parts: Vec<_> = path.split('/').skip(2).collect();
        let amount = || said("amount").and_then(|amount| amount.parse::<i64>().ok()).or_fail("read an amount");
        match (changes, parts.as_slice()) {
            (true, ["accounts"]) => {
                Some(Ok(self.make("account", "acct", &json!({ "metadata": { "operation": operation } }))))
            }
            (false, ["accounts" | "transfers", name]) => Some(self.named(name).cloned().ok_or(StatusCode::NOT_FOUND)),
            (true, ["account_links"]) => Some(Ok(shape("account_link"))),
            (true, ["transfers"]) => {
                let given = json!({
                    "amount": amount(), "currency": said("currency"), "destination": said("destination"),
                    "transfer_group": said("transfer_group"), "metadata": { "operation": operation },
                });
                Some(Ok(self.make("transfer", "tr", &given)))
            }
            (false, ["transfers"]) => {
                let of_group = |object: &&Value| {
                    object["object"] == "transfer" && object["transfer_group"].as_str() == said("transfer_group")
                };
                let data: Vec<_> = self.objects.iter().filter(of_group).cloned().collect();
                Some(Ok(json!({ "object": "list", "data": data, "has_more": false, "url": "/v1/transfers" })))
            }
            (true, ["transfers", name, "reversals"]) => {
                let given = json!({ "amount": amount(), "transfer": name, "metadata": { "operation": operation } });
                let reversal = self.make("reversal", "trr", &given);
                let Some(transfer) = self.objects.iter_mut().find(|object| object["id"] == **name) else {
                    return Some(Err(StatusCode::NOT_FOUND));
                };
                transfer["amount_reversed"] = json!(amount());
                transfer["reversed"] = json!(true);
                Some(Ok(reversal))
            }
            _ => None,
        }
    }

    fn named(&self, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["id"] == name)
    }

    /// Something new, of a shape that was recorded, but for what is given.
    fn make(&mut self, recorded: &str, prefix: &str, given: &Value) -> Value {
        let mut object = shape(recorded);
        let fields = object.as_object_mut().or_fail("read a shape");
        fields.extend(given.as_object().cloned().unwrap_or_else(Map::new));
        fields.insert("id".to_owned(), json!(format!("{prefix}_{}", self.objects.len())));
        self.objects.push(object.clone());
        object
    }
}

/// A shape as the unit tests have it.
fn shape(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../commands/src/payments/stripe/shapes");
    let text = std::fs::read(folder.join(format!("{name}.json"))).or_fail("read a shape");
    serde_json::from_slice(&text).or_fail("read a shape")
}
