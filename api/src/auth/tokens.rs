//! Access tokens: JWTs with one pinned algorithm and keys that only this deployment has.

use chrono::DateTime;
use domain::{AccountId, SessionId};
use eventstore::clock::Clock;
use eventstore::secrets::RootSecret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sessions::Caller;
use crate::config;

/// Clocks of nodes may differ by this much.
const LEEWAY_S: i64 = 5;
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
///
/// Keys change by themselves: time is cut into periods, and each has a key of its own, which follows from the root
/// secret, so all nodes have the same without telling each other. A token names its key, and is taken while its
/// period is the last, this or the next one. Another generation has other keys: raising it makes every token worthless
/// that was given out before.
#[derive(Clone)]
pub struct AccessTokens {
    secret: RootSecret,
    issuer: String,
    audience: String,
    ttl_s: i64,
    generation: u32,
    period_s: i64,
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<access tokens of generation {}>", self.generation)
    }
}

impl AccessTokens {
    /// Tokens of this deployment.
    pub fn new(secret: &RootSecret, settings: &config::Auth) -> Self {
        let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        Self {
            secret: secret.clone(),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            ttl_s: seconds(settings.access_token_ttl_s),
            generation: settings.key_generation,
            period_s: seconds(settings.key_rotation_s).max(1),
        }
    }

    /// How long a token is good, in seconds.
    pub fn ttl_s(&self) -> i64 {
        self.ttl_s
    }

    /// A token for an account that has logged in.
    pub fn issue(&self, account: AccountId, session: SessionId) -> Result<String, NotGood> {
        self.issue_at(account, session, Clock::real_now().timestamp())
    }

    fn issue_at(&self, account: AccountId, session: SessionId, now: i64) -> Result<String, NotGood> {
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: account,
            sid: session,
            iat: now,
            nbf: now,
            exp: now.saturating_add(self.ttl_s),
        };
        let period = now.div_euclid(self.period_s);
        let kid = Some(format!("{}.{period}", self.generation));
        let header = Header { typ: Some(TYPE.to_owned()), kid, ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(&self.key(period))).map_err(|_| NotGood)
    }

    /// Whom a token speaks for.
    pub fn verify(&self, token: &str) -> Result<Caller, NotGood> {
        let header = decode_header(token).map_err(|_| NotGood)?;
        let period = self.period_of(header.kid.as_deref().unwrap_or_default()).ok_or(NotGood)?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(NotGood);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf", "sub"]);
        // The machine's own clock, which that would look at, may jump.
        validation.validate_exp = false;
        let key = DecodingKey::from_secret(&self.key(period));
        let claims = decode::<Claims>(token, &key, &validation).map_err(|_| NotGood)?.claims;
        let now = Clock::real_now().timestamp();
        if now - LEEWAY_S > claims.exp || now + LEEWAY_S < claims.nbf {
            return Err(NotGood);
        }
        let until = DateTime::from_timestamp(claims.exp, 0).ok_or(NotGood)?;
        Ok(Caller { account: claims.sub, session: claims.sid, until })
    }

    /// The period of a key that tokens may name now.
    fn period_of(&self, kid: &str) -> Option<i64> {
        let (generation, period) = kid.split_once('.')?;
        let (generation, period): (u32, i64) = (generation.parse().ok()?, period.parse().ok()?);
        let now = Clock::real_now().timestamp().div_euclid(self.period_s);
        let known = generation == self.generation && (now - 1..=now + 1).contains(&period);
        // Written in no other way than ours.
        (known && kid == format!("{generation}.{period}")).then_some(period)
    }

    fn key(&self, period: i64) -> [u8; 32] {
        self.secret.key(&format!("access-tokens/{}/{period}", self.generation))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use uuid::Uuid;

    use super::*;

    const WHO: (AccountId, SessionId) = (AccountId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));

    fn tokens(secret: &str) -> AccessTokens {
        AccessTokens::new(&RootSecret::new(secret.as_bytes()), &config::Auth::default())
    }

    fn verified(tokens: &AccessTokens, token: &str) -> Result<(AccountId, SessionId), NotGood> {
        tokens.verify(token).map(|caller| (caller.account, caller.session))
    }

    #[test]
    fn a_token_speaks_for_whom_it_was_issued_to_until_it_expires() {
        let tokens = tokens("one");
        let now = Clock::real_now().timestamp();
        let caller = tokens.verify(&tokens.issue_at(WHO.0, WHO.1, now).unwrap()).unwrap();
        assert_eq!((caller.account, caller.session), WHO);
        assert_eq!(caller.until.timestamp(), now + tokens.ttl_s());
    }

    #[test]
    fn a_token_of_another_key_audience_or_issuer_is_not_good() {
        let ours = tokens("one");
        let other_audience = AccessTokens { audience: "else".to_owned(), ..ours.clone() };
        let other_issuer = AccessTokens { issuer: "else".to_owned(), ..ours.clone() };
        let other_generation = AccessTokens { generation: 2, ..ours.clone() };
        let expired = AccessTokens { ttl_s: -60, ..ours.clone() };
        for forger in [tokens("two"), other_audience, other_issuer, other_generation, expired] {
            assert_eq!(verified(&ours, &forger.issue(WHO.0, WHO.1).unwrap()), Err(NotGood), "{forger:?}");
        }
        let still_to_come = ours.issue_at(WHO.0, WHO.1, Clock::real_now().timestamp() + 60).unwrap();
        assert_eq!(verified(&ours, &still_to_come), Err(NotGood));
    }

    #[test]
    fn the_key_changes_with_every_period_and_the_last_one_is_still_taken() {
        let ours = AccessTokens { ttl_s: 1_000_000, period_s: 1_000, ..tokens("one") };
        let now = Clock::real_now().timestamp();
        let kid = |token: &str| decode_header(token).unwrap().kid.unwrap();
        let of_period = |back: i64| ours.issue_at(WHO.0, WHO.1, now - back * 1_000).unwrap();
        let [this, last, before] = [0, 1, 2].map(of_period);
        assert!(kid(&this) != kid(&last) && ours.key(1) != ours.key(2));
        assert_eq!((verified(&ours, &this), verified(&ours, &last)), (Ok(WHO), Ok(WHO)));
        assert_eq!(verified(&ours, &before), Err(NotGood));
    }

    #[test]
    fn an_unsigned_token_is_not_good() {
        let ours = tokens("one");
        let token = ours.issue(WHO.0, WHO.1).unwrap();
        let payload = token.split('.').nth(1).unwrap();
        let kid = decode_header(&token).unwrap().kid.unwrap();
        for header in [format!(r#"{{"alg":"none","typ":"{TYPE}","kid":"{kid}"}}"#), "{}".to_owned()] {
            let forged = format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(verified(&ours, &forged), Err(NotGood));
        }
    }
}
