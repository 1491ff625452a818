//! Passwords: Argon2id with 19 MiB and two passes, off the async threads, a bounded number at once.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use eventstore::mint;
use thiserror::Error;
use tokio::sync::Semaphore;
use zxcvbn::zxcvbn;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// A password that takes fewer guesses than this is refused: what an attacker tries who may try a few a minute for a
/// year.
const GUESSES: u64 = 1_000_000;
/// Hashes at once: each keeps a core busy and 19 MiB.
const CONCURRENT: usize = 4;
/// Hashes that may wait for their turn; further ones are turned away.
const WAITING: usize = 64;

/// Why a password could not be hashed or verified.
#[derive(Clone, Copy, Debug, Error)]
pub enum PasswordError {
    /// Too many are waiting.
    #[error("too many passwords are being checked")]
    Overloaded,
    /// The hash is damaged, or the hasher failed.
    #[error("the password could not be checked")]
    Defect,
}

/// Hashes and verifies.
#[derive(Clone, Debug)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// Verified in place of the hash of an unknown account, so that both take the same time.
    decoy: Arc<str>,
}

impl Passwords {
    /// A hasher with its decoy ready.
    pub fn new() -> Result<Self, PasswordError> {
        Self::bounded(CONCURRENT, WAITING)
    }

    fn bounded(concurrent: usize, waiting: usize) -> Result<Self, PasswordError> {
        let decoy = hash(&mint::id().to_string())?.into();
        let (turns, queue) = (Semaphore::new(concurrent), Semaphore::new(concurrent + waiting));
        Ok(Self { turns: Arc::new(turns), queue: Arc::new(queue), decoy })
    }

    /// The hash of a password in PHC form, for somebody of whom `about` is known; nothing if it is too easy to guess.
    pub async fn hash_new(&self, password: String, about: Vec<String>) -> Result<Option<String>, PasswordError> {
        let work = move || if is_common(&password, &about) { Ok(None) } else { hash(&password).map(Some) };
        self.in_turn(work).await
    }

    /// Whether the password has this hash. Without one, takes the same time and says no.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.to_string());
        let matches = self.in_turn(move || {
            let parsed = PasswordHash::new(&stored).map_err(|_| PasswordError::Defect)?;
            Ok(hasher()?.verify_password(password.as_bytes(), &parsed).is_ok())
        });
        Ok(matches.await? && known)
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.queue.clone().try_acquire_owned().map_err(|_| PasswordError::Overloaded)?;
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| PasswordError::Defect)?;
        let working = tokio::task::spawn_blocking(move || {
            // Held by the work, which goes on when whoever asked for it has gone.
            let _held = (place, turn);
            work()
        });
        working.await.map_err(|_| PasswordError::Defect)?
    }
}

/// Whether a password is among those that are tried first: a common one, or one that follows from what is known of its
/// owner.
pub fn is_common(password: &str, about: &[String]) -> bool {
    // Parts of an address too: whoever is ann.smith@example.com is guessed to be annsmith.
    let parts = about.iter().flat_map(|text| text.split(['@', '.', '-', '_', '+']).chain([text.as_str()]));
    let parts: Vec<&str> = parts.filter(|part| part.len() >= 3).collect();
    zxcvbn(password, &parts).guesses() < GUESSES
}

/// The hash of a password, computed on this thread.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    let salt = SaltString::encode_b64(&mint::secret::<16>()).map_err(|_| PasswordError::Defect)?;
    let hash = hasher()?.hash_password(password.as_bytes(), &salt).map_err(|_| PasswordError::Defect)?;
    Ok(hash.to_string())
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordError::Defect)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_password_verifies_against_its_own_hash_only() {
        let passwords = Passwords::new().unwrap();
        let stored = passwords.hash_new("correct horse".to_owned(), Vec::new()).await.unwrap().unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse".to_owned(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
    }

    #[test]
    fn what_is_tried_first_is_too_common_and_no_composition_is_asked_for() {
        let about = ["ann.smith@example.com".to_owned(), "annie-the-great".to_owned()];
        for common in [
            "password",
            "12345678",
            "qwertyuiop",
            "iloveyou",
            "Passw0rd",
            "aaaaaaaa",
            "annsmith",
            "ann.smith@example.com",
        ] {
            assert!(is_common(common, &about), "{common}");
        }
        for good in ["correct horse battery", "xkqzvjwm", "zwölf boxkämpfer", &"all lower case letters ".repeat(5)] {
            assert!(!is_common(good, &about), "{good}");
        }
    }

    #[tokio::test]
    async fn work_whose_caller_has_gone_keeps_its_turn_until_it_is_done() {
        let passwords = Passwords::bounded(2, 0).unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let (end, ended) = mpsc::channel::<()>();
            waiting.push(end);
            let begun = begun.clone();
            let work = move || {
                begun.fetch_add(1, Ordering::SeqCst);
                ended.recv().map_err(|_| PasswordError::Defect)
            };
            // Asked once, and dropped.
            let _ = passwords.in_turn(work).now_or_never();
        }
        let next = || passwords.verify("correct horse".to_owned(), None);
        assert!(matches!(next().await, Err(PasswordError::Overloaded)));
        waiting.clear();
        while matches!(next().await, Err(PasswordError::Overloaded)) {
            tokio::task::yield_now().await;
        }
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
