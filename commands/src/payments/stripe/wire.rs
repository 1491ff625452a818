//! How Stripe is asked: forms go there, JSON comes back.

use std::borrow::Cow;
use std::time::Duration;

use futures::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::de::DeserializeOwned;

use super::super::provider::{ProviderUnreachable, Secret};
use super::shapes::{ApiError, Failure};

/// The version of the API that the shapes are of; Stripe keeps to it, whatever the account's own is.
pub const API_VERSION: &str = "2026-10-28.endive";
/// How long one answer may take. The process that asks has less patience with all of them together.
const PATIENCE: Duration = Duration::from_secs(9);
/// More than Stripe ever answers: a page of a hundred records with what they are about.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

const STRIPE_VERSION: &str = "stripe-version";
const STRIPE_ACCOUNT: &str = "stripe-account";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const IDEMPOTENT_REPLAYED: &str = "idempotent-replayed";

/// What is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    /// Something is looked at.
    Get,
    /// Something is made or changed.
    Post,
}

/// One question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Ask {
    pub(super) verb: Verb,
    /// From the first slash.
    pub(super) path: String,
    /// The merchant in whose name it is asked.
    pub(super) account: Option<String>,
    /// What makes asking twice harmless.
    pub(super) key: Option<String>,
    /// The query or the body.
    pub(super) fields: Vec<(Cow<'static, str>, String)>,
}

impl Ask {
    /// A look.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { verb: Verb::Get, path: path.into(), account: None, key: None, fields: Vec::new() }
    }

    /// A change. Without a key it may happen twice.
    pub(super) fn post(path: impl Into<String>) -> Self {
        Self { verb: Verb::Post, ..Self::get(path) }
    }

    pub(super) fn key(mut self, key: String) -> Self {
        self.key = Some(key);
        self
    }

    pub(super) fn account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    pub(super) fn field(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(&self.fields).finish()
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Whether Stripe says that this is its answer to an earlier question under the same key.
    pub(super) replayed: bool,
    pub(super) body: Vec<u8>,
}

/// Why there is not what was asked for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Stripe has understood, and will not: asked again in the same way, it says the same.
    Refused(Box<ApiError>),
    /// The bank will not.
    Declined(Box<ApiError>),
    /// There is too little on a balance of ours by now. Nothing has moved.
    NotCovered {
        /// Whether this was the answer to an earlier question.
        replayed: bool,
    },
    /// What became of it is not known.
    Unknown {
        /// Why.
        because: String,
        /// Whether asking again under the same key tells no more.
        for_good: bool,
    },
}

impl From<Trouble> for ProviderUnreachable {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) | Trouble::Declined(error) => Self(format!("it refuses: {error}")),
            Trouble::NotCovered { .. } => Self("the balance there is too low".to_owned()),
            Trouble::Unknown { because, .. } => Self(because),
        }
    }
}

impl Reply {
    /// What was asked for, or why it is not there.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        if (200..300).contains(&self.status) {
            return serde_json::from_slice(&self.body).map_err(|error| self.unknown(&error.to_string()));
        }
        // Whatever is not said by Stripe itself, but by something on the way to it, says nothing about money.
        let Ok(Failure { error }) = serde_json::from_slice(&self.body) else {
            return Err(self.unknown("what was answered is not from Stripe"));
        };
        match (self.status, error.kind.as_str(), error.code.as_str()) {
            (400 | 402, _, "balance_insufficient") | (400, _, "insufficient_funds") => {
                Err(Trouble::NotCovered { replayed: self.replayed })
            }
            (402, ..) => Err(Trouble::Declined(Box::new(error))),
            (400 | 404, "idempotency_error", _)
            | (400, _, "rate_limit" | "lock_timeout" | "idempotency_key_in_use") => {
                Err(self.unknown(&error.to_string()))
            }
            (400 | 404, ..) => Err(Trouble::Refused(Box::new(error))),
            // Our key is not good, or not for this: nobody's payment is to fail for that.
            _ => Err(self.unknown(&error.to_string())),
        }
    }

    /// Whether Stripe has not answered the same question yet, and so not this one.
    pub(super) fn is_busy(&self) -> bool {
        self.status == 409
    }

    fn unknown(&self, because: &str) -> Trouble {
        let because = format!("it answers {}: {because}", self.status);
        // The first answer under a key is kept for a day, errors of theirs and misuse of the key included.
        let reused = serde_json::from_slice(&self.body).is_ok_and(|f: Failure| f.error.kind == "idempotency_error");
        Trouble::Unknown { because, for_good: reused || self.replayed }
    }
}

/// The way there.
pub(super) trait Wire: Send + Sync {
    /// Asks, and waits for the answer, for a while.
    fn send<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Reply, ProviderUnreachable>>;
}

/// The way there over HTTP.
pub(super) struct Http {
    client: reqwest::Client,
    base: String,
    authorization: HeaderValue,
}

impl Http {
    /// With a client that follows no redirects: where Stripe is, only the settings say.
    pub(super) fn new(client: reqwest::Client, base: &str, key: &Secret) -> Option<Self> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", key.expose())).ok()?;
        authorization.set_sensitive(true);
        Some(Self { client, base: base.trim_end_matches('/').to_owned(), authorization })
    }

    async fn ask(&self, ask: &Ask) -> Result<Reply, ProviderUnreachable> {
        // Without the address: it names people's things.
        let away = |error: reqwest::Error| ProviderUnreachable(error.without_url().to_string());
        let url = format!("{}{}", self.base, ask.path);
        let request = match (ask.verb, ask.form()) {
            (Verb::Get, query) if query.is_empty() => self.client.get(url),
            (Verb::Get, query) => self.client.get(format!("{url}?{query}")),
            (Verb::Post, form) => {
                self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
        };
        let mut request = request.timeout(PATIENCE).header(ACCEPT, "application/json");
        request = request.header(AUTHORIZATION, self.authorization.clone()).header(STRIPE_VERSION, API_VERSION);
        if let Some(account) = &ask.account {
            request = request.header(STRIPE_ACCOUNT, account);
        }
        if let Some(key) = &ask.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        let mut answer = request.send().await.map_err(away)?;
        let status = answer.status().as_u16();
        let replayed = answer.headers().get(IDEMPOTENT_REPLAYED).is_some_and(|value| value == "true");
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                return Err(ProviderUnreachable("its answer is too large".to_owned()));
            }
        }
        Ok(Reply { status, replayed, body })
    }
}

impl Wire for Http {
    fn send<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Reply, ProviderUnreachable>> {
        Box::pin(self.ask(ask))
    }
}
