//! Access tokens: JWTs with one pinned algorithm and a key that only this deployment has.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{AccountId, SessionId};
use eventstore::clock::Clock;
use eventstore::secrets::RootSecret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config;

/// Clocks of nodes may differ by this much.
const LEEWAY_S: u64 = 5;
const TYPE: &str = "at+jwt";

/// The token is not one of ours, or not good any more. Why is nobody's business but the log's.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the access token is not good")]
pub struct NotGood;

/// What a token says.
#[derive(Debug, Deserialize, Serialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The account.
    sub: AccountId,
    /// The session that it was given in.
    sid: SessionId,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Makes and checks access tokens.
#[derive(Clone)]
pub struct AccessTokens {
    issuer: String,
    audience: String,
    ttl_s: i64,
    key_id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<access tokens with key {}>", self.key_id)
    }
}

impl AccessTokens {
    /// Tokens of this deployment.
    pub fn new(secret: &RootSecret, settings: &config::Auth) -> Self {
        let key = secret.key("access-tokens");
        let key_id = URL_SAFE_NO_PAD.encode(&Sha256::digest(key)[..6]);
        Self {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            ttl_s: i64::try_from(settings.access_token_ttl_s).unwrap_or(i64::MAX),
            key_id,
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
        }
    }

    /// How long a token is good, in seconds.
    pub fn ttl_s(&self) -> i64 {
        self.ttl_s
    }

    /// A token for an account that has logged in.
    pub fn issue(&self, account: AccountId, session: SessionId) -> Result<String, NotGood> {
        let now = Clock::real_now().timestamp();
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: account,
            sid: session,
            iat: now,
            nbf: now,
            exp: now.saturating_add(self.ttl_s),
        };
        let header =
            Header { typ: Some(TYPE.to_owned()), kid: Some(self.key_id.clone()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &self.encoding).map_err(|_| NotGood)
    }

    /// Whom a token speaks for.
    pub fn verify(&self, token: &str) -> Result<(AccountId, SessionId), NotGood> {
        let header = decode_header(token).map_err(|_| NotGood)?;
        let ours = header.kid.as_deref() == Some(&self.key_id) && header.typ.as_deref() == Some(TYPE);
        if !ours {
            return Err(NotGood);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_S;
        let claims = decode::<Claims>(token, &self.decoding, &validation).map_err(|_| NotGood)?.claims;
        Ok((claims.sub, claims.sid))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const WHO: (AccountId, SessionId) = (AccountId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));

    fn tokens(secret: &str) -> AccessTokens {
        AccessTokens::new(&RootSecret::new(secret.as_bytes()), &config::Auth::default())
    }

    #[test]
    fn a_token_speaks_for_whom_it_was_issued_to() {
        let tokens = tokens("one");
        assert_eq!(tokens.verify(&tokens.issue(WHO.0, WHO.1).unwrap()), Ok(WHO));
    }

    #[test]
    fn a_token_of_another_key_audience_or_type_is_not_good() {
        let ours = tokens("one");
        let other_audience = AccessTokens { audience: "else".to_owned(), ..ours.clone() };
        let other_key_id = AccessTokens { key_id: "x".to_owned(), ..ours.clone() };
        let expired = AccessTokens { ttl_s: -60, ..ours.clone() };
        for forger in [tokens("two"), other_audience, other_key_id, expired] {
            assert_eq!(ours.verify(&forger.issue(WHO.0, WHO.1).unwrap()), Err(NotGood), "{forger:?}");
        }
    }

    #[test]
    fn an_unsigned_token_is_not_good() {
        let ours = tokens("one");
        let token = ours.issue(WHO.0, WHO.1).unwrap();
        let payload = token.split('.').nth(1).unwrap();
        for header in [format!(r#"{{"alg":"none","typ":"{TYPE}","kid":"{}"}}"#, ours.key_id), "{}".to_owned()] {
            let forged = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(ours.verify(&forged), Err(NotGood));
        }
    }
}
