//! How the keys of people are stored: as they are, or wrapped with a key that is not in the database, so that the log and
//! these keys together open nobody's fields. (Read models hold what they show as it is.)
//!
//! A row of 32 bytes is the key itself. A wrapped row is one byte for the layout, the id of the wrapping key, a random
//! nonce, and the person's key under XChaCha20-Poly1305; all that comes before the ciphertext is authenticated with it,
//! and so is whose key it is, so a row cannot be moved to somebody else. New rows are wrapped with the current key if
//! there is one; rows are opened with whichever key they name, and raw ones always, so wrapping can be turned on, and
//! its key replaced, while nodes run ([`rows`] does the rest).
//!
//! **Invariant:** only a row that is not there means a forgotten person. One that cannot be opened is an error:
//! otherwise a key that is missing from a configuration would erase people from the read models.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use domain::AccountId;
use hkdf::Hkdf;
use serde::{Serialize, Serializer};
use sha2::Sha256;
use thiserror::Error;

use crate::mint;
use crate::sealing::PersonKey;

pub mod carried;
pub mod rows;

/// The first byte of a wrapped row: which cipher and layout made it.
const LAYOUT: u8 = 1;
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 4;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Layout and id: what tells with which key a row was wrapped.
const HEAD_BYTES: usize = 1 + ID_BYTES;
const ROW_BYTES: usize = HEAD_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// Names a wrapping key without telling anything about it: 4 bytes that are derived from it, shown in hexadecimal.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KeyId([u8; ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why the key of a person cannot be had. Never that the person is forgotten.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The database failed.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// It is wrapped with a key that this process was not given.
    #[error(
        "the key of account {account} is wrapped with the wrapping key {wrapped_with}, which is not configured here"
    )]
    NotGiven {
        /// Whose key.
        account: AccountId,
        /// Which wrapping key is missing.
        wrapped_with: KeyId,
    },
    /// It was written by a newer version, or damaged.
    #[error("the key of account {0} is stored in a way that this version does not know")]
    UnknownLayout(AccountId),
    /// It was altered since it was wrapped, or moved here from somebody else.
    #[error("the stored key of account {0} was altered and does not open; restore this row from a backup")]
    Altered(AccountId),
}

/// The key of a person as its row has it. Never printed.
#[derive(Clone)]
pub struct StoredKey {
    /// Whose key it is.
    pub account: AccountId,
    row: Vec<u8>,
}

impl StoredKey {
    /// The bytes of the row.
    pub(crate) fn row(&self) -> &[u8] {
        &self.row
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<stored key of {}>", self.account)
    }
}

/// With which keys those of people are wrapped and opened; by default with none. Cheap to clone.
#[derive(Clone, Default)]
pub struct Wrapping(Arc<Ring>);

#[derive(Default)]
struct Ring {
    current: Option<WrappingKey>,
    /// Open rows, and wrap none.
    former: Vec<WrappingKey>,
}

impl fmt::Debug for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let former: Vec<_> = self.former().map(|id| id.to_string()).collect();
        let current = self.current().map(|id| id.to_string());
        f.debug_struct("Wrapping").field("current", &current).field("former", &former).finish()
    }
}

impl Wrapping {
    /// Takes the keys as configured: with `current` new rows are wrapped, with any of them rows are opened.
    pub fn new(current: Option<&str>, former: &[&str]) -> Self {
        let current = current.map(WrappingKey::derive);
        let mut others: Vec<WrappingKey> = Vec::new();
        for key in former.iter().map(|secret| WrappingKey::derive(secret)) {
            let known = current.iter().chain(&others).any(|known| known.key == key.key);
            others.extend((!known).then_some(key));
        }
        Self(Arc::new(Ring { current, former: others }))
    }

    /// Which key wraps new rows; nothing if they are stored as they are.
    pub fn current(&self) -> Option<KeyId> {
        self.0.current.as_ref().map(|key| key.id)
    }

    /// Which keys only open rows.
    pub fn former(&self) -> impl Iterator<Item = KeyId> {
        self.0.former.iter().map(|key| key.id)
    }

    /// What to store of a person's key.
    pub fn wrap(&self, key: &PersonKey) -> StoredKey {
        let row = match &self.0.current {
            Some(current) => current.wrap(key),
            None => key.bytes().to_vec(),
        };
        StoredKey { account: key.account, row }
    }

    /// The key of a person from its row.
    pub fn open(&self, account: AccountId, row: &[u8]) -> Result<PersonKey, KeyError> {
        if let Ok(raw) = row.try_into() {
            return Ok(PersonKey::of(account, raw));
        }
        let wrapped_with = wrapped_with(row).ok_or(KeyError::UnknownLayout(account))?;
        let keys = self.0.current.iter().chain(&self.0.former);
        // Two keys may bear the same id by chance, once in four billion pairs.
        let mut named = keys.filter(|key| key.id == wrapped_with).peekable();
        if named.peek().is_none() {
            return Err(KeyError::NotGiven { account, wrapped_with });
        }
        let opened = named.find_map(|key| key.open(account, row));
        opened.map(|key| PersonKey::of(account, key)).ok_or(KeyError::Altered(account))
    }
}

/// With which key a row was wrapped, if it has the layout of a wrapped one.
fn wrapped_with(row: &[u8]) -> Option<KeyId> {
    let (&[layout, ref id @ ..], _) = row.split_first_chunk::<HEAD_BYTES>()?;
    (layout == LAYOUT && row.len() == ROW_BYTES).then_some(KeyId(*id))
}

/// A key that wraps those of people.
struct WrappingKey {
    id: KeyId,
    key: [u8; KEY_BYTES],
}

impl WrappingKey {
    fn derive(secret: &str) -> Self {
        let secret = Hkdf::<Sha256>::new(Some(b"tradepost"), secret.as_bytes());
        let (mut key, mut id) = ([0; KEY_BYTES], [0; ID_BYTES]);
        // Fail only for more than 8 KiB.
        let key_expanded = secret.expand(b"wrapping of the keys of people", &mut key);
        let id_expanded = secret.expand(b"id of a wrapping key", &mut id);
        debug_assert!(key_expanded.is_ok() && id_expanded.is_ok());
        Self { id: KeyId(id), key }
    }

    fn wrap(&self, person: &PersonKey) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = mint::secret();
        let head = self.head();
        let aad = authenticated(&head, person.account);
        let payload = Payload { msg: person.bytes(), aad: &aad };
        // Fails only for texts of more than 256 GiB.
        let ciphertext = self.cipher().encrypt(XNonce::from_slice(&nonce), payload).unwrap_or_default();
        [&head, nonce.as_slice(), &ciphertext].concat()
    }

    /// Nothing if it was not wrapped with this key, for this person.
    fn open(&self, account: AccountId, row: &[u8]) -> Option<[u8; KEY_BYTES]> {
        let (head, rest) = row.split_at_checked(HEAD_BYTES)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_BYTES)?;
        let aad = authenticated(head, account);
        let payload = Payload { msg: ciphertext, aad: &aad };
        self.cipher().decrypt(XNonce::from_slice(nonce), payload).ok()?.try_into().ok()
    }

    /// How the rows that it wraps begin.
    fn head(&self) -> [u8; HEAD_BYTES] {
        let [a, b, c, d] = self.id.0;
        [LAYOUT, a, b, c, d]
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(&self.key))
    }
}

fn authenticated(head: &[u8], account: AccountId) -> Vec<u8> {
    [head, account.0.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const FIRST: &str = "the first wrapping key of the tests";
    const SECOND: &str = "the second wrapping key of the tests";
    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn first() -> Wrapping {
        Wrapping::new(Some(FIRST), &[])
    }

    #[test]
    fn a_key_is_stored_wrapped_and_opens_as_it_was() {
        let key = PersonKey::mint(ANN);
        let stored = first().wrap(&key);
        assert_eq!(stored.row().len(), ROW_BYTES);
        assert!(!stored.row().windows(8).any(|part| part == &key.bytes()[..8]), "the key itself is in the row");
        let opened = first().open(ANN, stored.row()).unwrap();
        assert_eq!((opened.account, opened.bytes()), (ANN, key.bytes()));
        assert_ne!(first().wrap(&key).row(), stored.row(), "the nonce is drawn anew");
    }

    #[test]
    fn without_a_current_key_it_is_stored_as_it_is_and_every_ring_opens_that() {
        let key = PersonKey::mint(ANN);
        for ring in [Wrapping::default(), Wrapping::new(None, &[FIRST])] {
            assert_eq!(ring.wrap(&key).row(), key.bytes());
        }
        for ring in [Wrapping::default(), first(), Wrapping::new(None, &[FIRST])] {
            assert_eq!(ring.open(ANN, key.bytes()).unwrap().bytes(), key.bytes());
        }
    }

    #[test]
    fn a_former_key_opens_what_it_has_wrapped_and_wraps_nothing() {
        let key = PersonKey::mint(ANN);
        let (old, rotated) = (first().wrap(&key), Wrapping::new(Some(SECOND), &[FIRST]));
        assert_eq!(rotated.open(ANN, old.row()).unwrap().bytes(), key.bytes());
        let new = rotated.wrap(&key);
        assert_eq!(Wrapping::new(Some(SECOND), &[]).open(ANN, new.row()).unwrap().bytes(), key.bytes());
        assert!(first().open(ANN, new.row()).is_err());
    }

    #[test]
    fn a_key_that_was_not_given_is_named_and_nobody_is_taken_for_forgotten() {
        let stored = first().wrap(&PersonKey::mint(ANN));
        for ring in [Wrapping::default(), Wrapping::new(Some(SECOND), &[])] {
            let error = ring.open(ANN, stored.row()).unwrap_err();
            assert!(matches!(error, KeyError::NotGiven { account: ANN, .. }), "{error}");
            let id = first().current().unwrap().to_string();
            assert!(id.len() == 8 && error.to_string().contains(&id), "{error}");
        }
    }

    #[test]
    fn a_row_does_not_open_for_somebody_else() {
        let stored = first().wrap(&PersonKey::mint(ANN));
        assert!(matches!(first().open(BOB, stored.row()), Err(KeyError::Altered(BOB))));
    }

    #[test]
    fn a_row_that_was_altered_anywhere_does_not_open() {
        let mut row = first().wrap(&PersonKey::mint(ANN)).row().to_vec();
        for index in 0..row.len() {
            row[index] ^= 1;
            assert!(first().open(ANN, &row).is_err(), "byte {index}");
            row[index] ^= 1;
        }
        for length in (0..row.len()).filter(|length| *length != KEY_BYTES) {
            assert!(matches!(first().open(ANN, &row[..length]), Err(KeyError::UnknownLayout(ANN))), "{length} bytes");
        }
        row.push(0);
        assert!(first().open(ANN, &row).is_err());
    }

    #[test]
    fn a_key_whose_id_is_anothers_by_chance_opens_nothing_that_the_other_has_wrapped() {
        let stored = first().wrap(&PersonKey::mint(ANN));
        let (current, mut double) = (WrappingKey::derive(FIRST), WrappingKey::derive(SECOND));
        double.id = current.id;
        let former = vec![current];
        let ring = Wrapping(Arc::new(Ring { current: Some(double), former }));
        assert!(ring.open(ANN, stored.row()).is_ok(), "both are tried");
        let alone = WrappingKey { id: first().current().unwrap(), ..WrappingKey::derive(SECOND) };
        let ring = Wrapping(Arc::new(Ring { current: Some(alone), former: Vec::new() }));
        assert!(matches!(ring.open(ANN, stored.row()), Err(KeyError::Altered(ANN))));
    }

    #[test]
    fn the_same_secret_given_twice_is_one_key() {
        let ring = Wrapping::new(Some(FIRST), &[FIRST, SECOND, SECOND]);
        assert_eq!(ring.former().count(), 1);
    }

    #[test]
    fn no_output_tells_a_key() {
        let key = PersonKey::mint(ANN);
        let shown = format!("{:?} {:?}", first(), first().wrap(&key));
        assert!(!shown.contains(FIRST) && shown.contains(&first().current().unwrap().to_string()), "{shown}");
        let digits = format!("{:?}", key.bytes());
        assert!(!shown.contains(digits.trim_matches(['[', ']'])), "{shown}");
    }
}
