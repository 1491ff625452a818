//! Personal fields: sealed with a key of the person they are about, opened for read models while the key exists.
//!
//! XChaCha20-Poly1305 with a random nonce; the person's id is authenticated with the text, so a field cannot be moved
//! to somebody else. The key is written in the same commit as the person's first sealed field; deleting it forgets the
//! person. How it is stored, [`crate::wrapping`] knows.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use domain::{AccountId, OnceClear, Sealed};
use sqlx::PgExecutor;

use crate::wrapping::{KeyError, Wrapping};
use crate::{mint, secrets};

/// The first byte of a sealed field: which cipher and layout made it.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// The key of one person. Never printed.
#[derive(Clone)]
pub struct PersonKey {
    /// Whose key it is.
    pub account: AccountId,
    key: [u8; 32],
}

impl fmt::Debug for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<key of {}>", self.account)
    }
}

impl PersonKey {
    /// A fresh key for somebody new. It must be committed together with the first field that it seals.
    pub fn mint(account: AccountId) -> Self {
        Self { account, key: mint::secret() }
    }

    /// The key of somebody known; nothing once the person is forgotten.
    pub async fn load(
        executor: impl PgExecutor<'_>,
        wrapping: &Wrapping,
        account: AccountId,
    ) -> Result<Option<Self>, KeyError> {
        let row: Option<Vec<u8>> = sqlx::query_scalar("select key from person_keys where account_id = $1")
            .bind(account.0)
            .fetch_optional(executor)
            .await?;
        row.map(|row| wrapping.open(account, &row)).transpose()
    }

    pub(crate) fn of(account: AccountId, key: [u8; 32]) -> Self {
        Self { account, key }
    }

    /// The key itself. To store it, see [`Wrapping::wrap`].
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    /// Seals one field of this person.
    pub fn seal(&self, text: &str) -> Sealed<String> {
        let nonce: [u8; NONCE_BYTES] = mint::secret();
        let payload = Payload { msg: text.as_bytes(), aad: self.account.0.as_bytes() };
        // Fails only for texts of more than 256 GiB.
        let ciphertext = self.cipher().encrypt(XNonce::from_slice(&nonce), payload).unwrap_or_default();
        let bytes = [&[VERSION], nonce.as_slice(), &ciphertext].concat();
        Sealed::from_ciphertext(self.account, URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens one field of this person; nothing if it was sealed with another key or altered.
    pub fn open(&self, field: &Sealed<String>) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(&field.sealed).ok()?;
        let (&version, rest) = bytes.split_first()?;
        if version != VERSION || rest.len() < NONCE_BYTES || field.of != self.account {
            return None;
        }
        let (nonce, ciphertext) = rest.split_at(NONCE_BYTES);
        let payload = Payload { msg: ciphertext, aad: self.account.0.as_bytes() };
        let text = self.cipher().decrypt(XNonce::from_slice(nonce), payload).ok()?;
        String::from_utf8(text).ok()
    }

    /// Opens one field that was written in clear once; nothing if it is sealed with another key or altered.
    pub fn open_or_read<T: Clone + FromStr>(&self, field: &OnceClear<T>) -> Option<T> {
        read(field, |sealed| self.open(sealed))
    }

    /// What stands for something that this person did, within one purpose. Without the key nobody can tell of whom it is.
    pub fn pseudonym(&self, purpose: &str, of: &str) -> uuid::Uuid {
        secrets::pseudonym(&self.key, &format!("{purpose}:{of}"))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(&self.key))
    }
}

/// The keys of the people whom a batch of events is about.
#[derive(Debug, Default)]
pub struct PersonKeys(HashMap<AccountId, PersonKey>);

impl PersonKeys {
    /// The keys of those of `accounts` who are not forgotten.
    pub async fn load(
        executor: impl PgExecutor<'_>,
        wrapping: &Wrapping,
        accounts: &BTreeSet<AccountId>,
    ) -> Result<Self, KeyError> {
        if accounts.is_empty() {
            return Ok(Self::default());
        }
        let ids: Vec<_> = accounts.iter().map(|account| account.0).collect();
        let rows: Vec<(uuid::Uuid, Vec<u8>)> =
            sqlx::query_as("select account_id, key from person_keys where account_id = any($1)")
                .bind(ids)
                .fetch_all(executor)
                .await?;
        let keys = rows.into_iter().map(|(account, row)| wrapping.open(AccountId(account), &row));
        Ok(Self(keys.map(|key| key.map(|key| (key.account, key))).collect::<Result<_, _>>()?))
    }

    /// Opens one field; nothing once the person is forgotten.
    pub fn open(&self, field: &Sealed<String>) -> Option<String> {
        self.0.get(&field.of)?.open(field)
    }

    /// Opens one field that was written in clear once; nothing if it is sealed and the person is forgotten.
    pub fn open_or_read<T: Clone + FromStr>(&self, field: &OnceClear<T>) -> Option<T> {
        read(field, |sealed| self.open(sealed))
    }
}

fn read<T: Clone + FromStr>(field: &OnceClear<T>, open: impl FnOnce(&Sealed<String>) -> Option<String>) -> Option<T> {
    match field {
        OnceClear::Sealed(sealed) => open(sealed)?.parse().ok(),
        OnceClear::Clear(value) => Some(value.clone()),
    }
}

/// Whom the sealed fields of an event's payload are about. Finds them wherever they are, so that no event type can be
/// forgotten here.
pub fn people_in(payload: &str) -> BTreeSet<AccountId> {
    let mut people = BTreeSet::new();
    if payload.contains(r#""sealed""#)
        && let Ok(value) = serde_json::from_str(payload)
    {
        collect_people(&value, &mut people);
    }
    people
}

fn collect_people(value: &serde_json::Value, people: &mut BTreeSet<AccountId>) {
    match value {
        serde_json::Value::Object(fields) => {
            if let (Some(of), Some(_)) = (fields.get("of").and_then(|of| of.as_str()), fields.get("sealed")) {
                people.extend(of.parse::<AccountId>());
            }
            fields.values().for_each(|field| collect_people(field, people));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_people(item, people)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(person: u128) -> PersonKey {
        PersonKey::mint(AccountId(uuid::Uuid::from_u128(person)))
    }

    #[test]
    fn a_field_opens_with_its_persons_key_only() {
        let (ann, bob) = (key(1), key(2));
        let field = ann.seal("ann@example.com");
        assert_eq!(ann.open(&field).as_deref(), Some("ann@example.com"));
        assert_eq!(bob.open(&field), None);
        assert_eq!(key(1).open(&field), None);
        let moved = Sealed::from_ciphertext(bob.account, field.sealed.clone());
        assert_eq!(PersonKey { account: bob.account, ..ann.clone() }.open(&moved), None);
    }

    #[test]
    fn what_was_written_in_clear_is_read_as_it_was_and_what_is_sealed_with_the_key() {
        let ann = key(1);
        let other = AccountId(uuid::Uuid::from_u128(9));
        let sealed = OnceClear::from(ann.seal(&other.to_string()));
        let wrong = OnceClear::from(ann.seal("no id"));
        let known = PersonKeys(HashMap::from([(ann.account, ann)]));
        assert_eq!(known.open_or_read(&sealed), Some(other));
        assert_eq!(known.open_or_read::<AccountId>(&wrong), None);
        let forgotten = PersonKeys::default();
        assert_eq!(forgotten.open_or_read(&sealed), None);
        assert_eq!(forgotten.open_or_read(&OnceClear::Clear(other)), Some(other));
    }

    #[test]
    fn an_altered_field_does_not_open() {
        let ann = key(1);
        let mut bytes = URL_SAFE_NO_PAD.decode(ann.seal("text").sealed).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            let altered = Sealed::from_ciphertext(ann.account, URL_SAFE_NO_PAD.encode(&bytes));
            assert_eq!(ann.open(&altered), None, "byte {index}");
            bytes[index] ^= 1;
        }
    }

    #[test]
    fn sealing_twice_gives_different_texts() {
        let ann = key(1);
        assert_ne!(ann.seal("text").sealed, ann.seal("text").sealed);
    }

    #[test]
    fn a_pseudonym_depends_on_the_person_the_purpose_and_what_it_is_of() {
        let (ann, bob) = (key(1), key(2));
        let one = ann.pseudonym("views", "x");
        assert_eq!(ann.pseudonym("views", "x"), one);
        for other in [bob.pseudonym("views", "x"), ann.pseudonym("votes", "x"), ann.pseudonym("views", "y")] {
            assert_ne!(other, one);
        }
    }

    #[test]
    fn people_are_found_wherever_their_fields_are() {
        let (ann, bob) = (key(1), key(2));
        let payload = serde_json::json!({ "A": { "x": [ann.seal("1")], "y": { "z": bob.seal("2") }, "of": "no one" } });
        let people = people_in(&payload.to_string());
        assert_eq!(people, BTreeSet::from([ann.account, bob.account]));
    }
}
