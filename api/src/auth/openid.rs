//! ID tokens of an `OpenID` provider, such as Google: who somebody is there, if the provider's own signature says so.
//!
//! The keys are read from the issuer's discovery document, over the addresses that it names, and kept for an hour; a
//! token that names another key has them read again, though not more often than every ten seconds. Nothing that a
//! token says leads to a request of ours.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::Instant;

use crate::outgoing;

/// How long keys are good without being read again.
const KEPT_FOR: Duration = Duration::from_hours(1);
/// How soon they are read again for the sake of a key that is not among them.
const READ_APART: Duration = Duration::from_secs(10);
/// More than any discovery document or key set has.
const LARGEST_DOCUMENT: usize = 256 * 1024;
/// Clocks may differ by this much.
const LEEWAY_S: u64 = 30;
/// What issuers sign with: never anything symmetric, never nothing.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// Who somebody is to the issuer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Person {
    /// The issuer's name for them, for ever.
    pub subject: String,
    /// Their address, which the issuer has verified.
    pub email: String,
}

/// Why an ID token tells nothing.
#[derive(Debug, Error)]
pub enum NotKnown {
    /// It is not one, not for us, or over.
    #[error("the ID token is not good")]
    NotGood,
    /// The issuer does not vouch for the address.
    #[error("the issuer has not verified the address")]
    EmailNotVerified,
    /// The issuer's keys cannot be read.
    #[error("the issuer cannot be reached: {0}")]
    Unreachable(String),
}

/// Checks the ID tokens that one issuer has made out to this marketplace.
#[derive(Debug)]
pub struct OpenId {
    client: reqwest::Client,
    issuer: String,
    client_id: String,
    keys: Mutex<Keys>,
    /// Held by whoever reads the keys.
    reading: tokio::sync::Mutex<()>,
}

/// The issuer's keys, as they were read.
#[derive(Debug, Default)]
struct Keys {
    set: Option<JwkSet>,
    read_at: Option<Instant>,
    /// The last time that they were to be read, if that has worked or not.
    tried_at: Option<Instant>,
}

impl Keys {
    /// The key of this name, if the keys are fresh; without a name, the issuer's only one.
    fn fresh(&self, kid: Option<&str>) -> Option<DecodingKey> {
        let set = self.set.as_ref().filter(|_| self.read_at.is_some_and(|at| at.elapsed() < KEPT_FOR))?;
        let key = match (kid, set.keys.as_slice()) {
            (Some(kid), _) => set.find(kid)?,
            (None, [only]) => only,
            (None, _) => return None,
        };
        DecodingKey::from_jwk(key).ok()
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    email: Option<String>,
    /// Some issuers write it as text.
    #[serde(default)]
    email_verified: serde_json::Value,
}

impl OpenId {
    /// For tokens that `issuer` makes out to `client_id`.
    pub fn new(issuer: &str, client_id: &str) -> Result<Self, reqwest::Error> {
        let issuer = issuer.trim_end_matches('/').to_owned();
        Ok(Self {
            client: outgoing::client()?,
            issuer,
            client_id: client_id.to_owned(),
            keys: Mutex::default(),
            reading: <_>::default(),
        })
    }

    /// The name under which a person of this issuer is claimed.
    pub fn name_of(&self, person: &Person) -> String {
        format!("{}|{}", self.issuer, person.subject)
    }

    /// Who an ID token is about.
    pub async fn verify(&self, token: &str) -> Result<Person, NotKnown> {
        let header = decode_header(token).map_err(|_| NotKnown::NotGood)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(NotKnown::NotGood);
        }
        let key = self.key(header.kid.as_deref()).await?;
        let mut validation = Validation::new(header.alg);
        // With and without its scheme or a slash at the end: that is how issuers write themselves.
        let bare = self.issuer.trim_start_matches("https://");
        validation.set_issuer(&[self.issuer.as_str(), &format!("{}/", self.issuer), bare]);
        validation.set_audience(&[&self.client_id]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        validation.leeway = LEEWAY_S;
        let claims = decode::<Claims>(token, &key, &validation).map_err(|_| NotKnown::NotGood)?.claims;
        let verified = claims.email_verified == true || claims.email_verified == "true";
        match claims.email {
            Some(email) if verified && !claims.sub.is_empty() => Ok(Person { subject: claims.sub, email }),
            _ => Err(NotKnown::EmailNotVerified),
        }
    }

    /// The key of this name. Whoever names one that is known waits for nobody.
    async fn key(&self, kid: Option<&str>) -> Result<DecodingKey, NotKnown> {
        if let Some(key) = self.keys().fresh(kid) {
            return Ok(key);
        }
        // One of many who need them reads them.
        let _reading = self.reading.lock().await;
        {
            let mut keys = self.keys();
            if let Some(key) = keys.fresh(kid) {
                return Ok(key);
            }
            if keys.tried_at.is_some_and(|at| at.elapsed() < READ_APART) {
                return Err(NotKnown::NotGood);
            }
            keys.tried_at = Some(Instant::now());
        }
        let set = self.read_keys().await?;
        let mut keys = self.keys();
        (keys.set, keys.read_at) = (Some(set), Some(Instant::now()));
        keys.fresh(kid).ok_or(NotKnown::NotGood)
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_keys(&self) -> Result<JwkSet, NotKnown> {
        let discovery: Discovery = self.read(&format!("{}/.well-known/openid-configuration", self.issuer)).await?;
        if discovery.issuer.trim_end_matches('/') != self.issuer {
            return Err(NotKnown::Unreachable(format!("it calls itself {}", discovery.issuer)));
        }
        let plain = self.issuer.starts_with("http://");
        if !(discovery.jwks_uri.starts_with("https://") || plain) {
            return Err(NotKnown::Unreachable("its keys are not at an https:// address".to_owned()));
        }
        self.read(&discovery.jwks_uri).await
    }

    async fn read<T: DeserializeOwned>(&self, url: &str) -> Result<T, NotKnown> {
        let unreachable = |error: reqwest::Error| NotKnown::Unreachable(error.to_string());
        let answer = self.client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let mut answer = answer.map_err(unreachable)?;
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            document.extend_from_slice(&chunk);
            if document.len() > LARGEST_DOCUMENT {
                return Err(NotKnown::Unreachable("its document is too large".to_owned()));
            }
        }
        serde_json::from_slice(&document).map_err(|error| NotKnown::Unreachable(error.to_string()))
    }
}
