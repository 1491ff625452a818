//! Keys derived from the deployment's one root secret, each for one purpose.

use std::fmt;

use domain::ClaimId;
use domain::claim::Kind;
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

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

    /// The claim on a unique value. Case and surrounding space do not make a value different.
    pub fn claim(&self, kind: Kind, value: &str) -> ClaimId {
        let kind = match kind {
            Kind::Email => "email",
            Kind::UserName => "user-name",
        };
        let name = format!("{kind}:{}", value.trim().to_lowercase());
        let hash = keyed_hash(&self.key("claims"), name.as_bytes());
        ClaimId(uuid::Builder::from_custom_bytes(first_16(&hash)).into_uuid())
    }
}

fn keyed_hash(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length.
    <Hmac<Sha256> as Mac>::new_from_slice(key).map_or([0; 32], |mut mac| {
        mac.update(text);
        mac.finalize().into_bytes().into()
    })
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
        assert_ne!(claim, RootSecret::new(b"two").claim(Kind::Email, "ann@example.com"));
    }
}
