//! Keys derived from the deployment's one root secret, each for one purpose.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::claim::Kind;
use domain::{AccountId, ChallengeId, ClaimId, OrderId};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::log::Digest;

/// The root secret. Losing it makes every session and every unique claim unknown; it is part of a backup.
#[derive(Clone)]
pub struct RootSecret(Hkdf<Sha256>);

impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<root secret>")
    }
}

impl RootSecret {
    /// Takes the secret as configured.
    pub fn new(secret: &[u8]) -> Self {
        Self(Hkdf::new(Some(b"tradepost"), secret))
    }

    /// The 32-byte key for one purpose.
    pub fn key(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        // Fails only for keys of more than 8 KiB.
        let expanded = self.0.expand(purpose.as_bytes(), &mut key);
        debug_assert!(expanded.is_ok());
        key
    }

    /// What is sent to a mailbox to ask something. It follows from the question and this secret, so it need not be kept.
    pub fn mailed_token(&self, purpose: Purpose, account: AccountId, challenge: ChallengeId) -> String {
        let asked = [account.0.into_bytes(), challenge.0.into_bytes()].concat();
        let hash = keyed_hash(&self.key(purpose.label()), &asked);
        // 64 characters: no mailbox breaks the line.
        URL_SAFE_NO_PAD.encode([asked.as_slice(), &first_16(&hash)].concat())
    }

    /// Whom a token was sent to, and which question it answers; nothing if it is none of ours, or for another purpose.
    pub fn read_mailed_token(&self, purpose: Purpose, token: &str) -> Option<(AccountId, ChallengeId)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (asked, hash) = bytes.split_at_checked(32).filter(|(_, hash)| hash.len() == 16)?;
        // Compares in constant time.
        mac(&self.key(purpose.label()), asked)?.verify_truncated_left(hash).ok()?;
        let (account, challenge) = asked.split_at(16);
        let id = |bytes: &[u8]| uuid::Uuid::from_slice(bytes).ok();
        Some((AccountId(id(account)?), ChallengeId(id(challenge)?)))
    }

    /// What shows a guest's order to whoever has it. It follows from the order and this secret, so it is nowhere kept.
    pub fn claim_token(&self, order: OrderId) -> String {
        let hash = keyed_hash(&self.key(CLAIM_TOKENS), order.0.as_bytes());
        URL_SAFE_NO_PAD.encode([order.0.as_bytes().as_slice(), &first_16(&hash)].concat())
    }

    /// Which order a token shows; nothing if it is none of ours.
    pub fn read_claim_token(&self, token: &str) -> Option<OrderId> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (order, hash) = bytes.split_at_checked(16).filter(|(_, hash)| hash.len() == 16)?;
        // Compares in constant time.
        mac(&self.key(CLAIM_TOKENS), order)?.verify_truncated_left(hash).ok()?;
        uuid::Uuid::from_slice(order).ok().map(OrderId)
    }

    /// What stands for something of which nobody is to know what it is, within one purpose.
    pub fn pseudonym(&self, purpose: &str, of: &str) -> uuid::Uuid {
        pseudonym(&self.key(purpose), of)
    }

    /// The first 16 bytes of a keyed hash over these parts and their lengths: what they were, nobody finds out by trying
    /// without this secret.
    pub fn digest(&self, purpose: &str, parts: &[&str]) -> Digest {
        let lengths = parts.iter().map(|part| (part.len() as u64).to_le_bytes());
        let text: Vec<u8> = lengths.zip(parts).flat_map(|(length, part)| [&length, part.as_bytes()].concat()).collect();
        first_16(&keyed_hash(&self.key(purpose), &text))
    }

    /// The claim on a unique value. Case and surrounding space do not make an address or a name different.
    pub fn claim(&self, kind: Kind, value: &str) -> ClaimId {
        let name = match kind {
            Kind::Email => format!("email:{}", value.trim().to_lowercase()),
            Kind::UserName => format!("user-name:{}", value.trim().to_lowercase()),
            Kind::StoreSlug => format!("store-slug:{}", value.trim().to_lowercase()),
            Kind::Identity => format!("identity:{value}"),
            // As it may be read by people: a code has none of these letters.
            Kind::ReferralCode => {
                let code = value.trim().to_uppercase().replace('O', "0").replace(['I', 'L'], "1");
                format!("referral-code:{code}")
            }
        };
        ClaimId(self.pseudonym("claims", &name))
    }
}

/// The purpose of the key of claim tokens.
const CLAIM_TOKENS: &str = "claim tokens";

/// What a token is good for that was sent to a mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// To show that somebody reads the mailbox.
    Email,
    /// To set a password.
    Password,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Email => "mailed/email",
            Self::Password => "mailed/password",
        }
    }
}

/// An id that follows from a text and a key.
pub(crate) fn pseudonym(key: &[u8; 32], of: &str) -> uuid::Uuid {
    uuid::Builder::from_custom_bytes(first_16(&keyed_hash(key, of.as_bytes()))).into_uuid()
}

fn keyed_hash(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length.
    mac(key, text).map_or([0; 32], |mac| mac.finalize().into_bytes().into())
}

fn mac(key: &[u8; 32], text: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(mac)
}

fn first_16(hash: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_depends_on_the_secret_the_kind_and_the_value_but_not_on_its_case() {
        let secret = RootSecret::new(b"one");
        let claim = secret.claim(Kind::Email, "ann@example.com");
        assert_eq!(claim, secret.claim(Kind::Email, " Ann@Example.com "));
        assert_ne!(claim, secret.claim(Kind::UserName, "ann@example.com"));
        assert_eq!(secret.claim(Kind::ReferralCode, "oil7k3m9"), secret.claim(Kind::ReferralCode, "0117K3M9"));
        assert_ne!(secret.claim(Kind::Identity, "issuer|a"), secret.claim(Kind::Identity, "issuer|A"));
        assert_ne!(claim, RootSecret::new(b"two").claim(Kind::Email, "ann@example.com"));
    }

    #[test]
    fn a_claim_token_shows_its_own_order_only() {
        let (secret, order) = (RootSecret::new(b"one"), OrderId(uuid::Uuid::from_u128(1)));
        let token = secret.claim_token(order);
        assert_eq!(token.len(), 43);
        assert_eq!(secret.read_claim_token(&token), Some(order));
        assert_eq!(RootSecret::new(b"two").read_claim_token(&token), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 1;
            assert_eq!(secret.read_claim_token(&URL_SAFE_NO_PAD.encode(altered)), None, "byte {index}");
        }
        for text in ["", "x", &token[..40], &format!("{token}AAAA")] {
            assert_eq!(secret.read_claim_token(text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_depends_on_the_secret_the_purpose_and_where_one_part_ends() {
        let secret = RootSecret::new(b"one");
        let digest = secret.digest("a", &["bc", "d"]);
        assert_eq!(digest, secret.digest("a", &["bc", "d"]));
        for other in [secret.digest("a", &["b", "cd"]), secret.digest("b", &["bc", "d"]), secret.digest("a", &["bcd"])]
        {
            assert_ne!(digest, other);
        }
        assert_ne!(digest, RootSecret::new(b"two").digest("a", &["bc", "d"]));
    }

    #[test]
    fn a_mailed_token_answers_its_own_question_only() {
        let (secret, other) = (RootSecret::new(b"one"), RootSecret::new(b"two"));
        let asked = (AccountId(uuid::Uuid::from_u128(1)), ChallengeId(uuid::Uuid::from_u128(2)));
        let token = secret.mailed_token(Purpose::Email, asked.0, asked.1);
        assert_eq!(secret.read_mailed_token(Purpose::Email, &token), Some(asked));
        assert_eq!(secret.read_mailed_token(Purpose::Password, &token), None);
        assert_eq!(other.read_mailed_token(Purpose::Email, &token), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 1;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(secret.read_mailed_token(Purpose::Email, &altered), None, "byte {index}");
        }
        for text in ["", "x", &token[..40], &format!("{token}AAAA")] {
            assert_eq!(secret.read_mailed_token(Purpose::Email, text), None, "{text}");
        }
    }
}
