//! Refresh tokens: opaque to their holder, known here by their hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::SessionId;
use domain::session::TokenHash;
use eventstore::mint;
use sha2::{Digest, Sha256};
use uuid::Uuid;

const SECRET_BYTES: usize = 32;

/// A token that was minted or shown.
#[derive(Clone)]
pub struct RefreshToken {
    session: SessionId,
    secret: [u8; SECRET_BYTES],
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<refresh token of {}>", self.session)
    }
}

impl RefreshToken {
    /// A fresh token of a session.
    pub fn mint(session: SessionId) -> Self {
        Self { session, secret: mint::secret() }
    }

    /// A token that was shown; nothing if it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (session, secret) = bytes.split_at_checked(16)?;
        let session = SessionId(Uuid::from_slice(session).ok()?);
        Some(Self { session, secret: secret.try_into().ok()? })
    }

    /// What the holder keeps.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([self.session.0.as_bytes().as_slice(), &self.secret].concat())
    }

    /// The session that it belongs to.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What is stored.
    pub fn hash(&self) -> TokenHash {
        TokenHash(format!("{:x}", Sha256::digest(self.secret)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text_and_nothing_else_is_one() {
        let token = RefreshToken::mint(SessionId(mint::id()));
        let parsed = RefreshToken::parse(&token.text()).unwrap();
        assert_eq!((parsed.session(), parsed.hash()), (token.session(), token.hash()));
        for text in ["", "x", "AAAA", &format!("{}A", token.text())] {
            assert!(RefreshToken::parse(text).is_none(), "{text}");
        }
    }
}
