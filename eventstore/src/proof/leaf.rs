//! What of an event is hashed: every column of its row, byte for byte as it is stored.
//!
//! A leaf is these fields one after another, without anything between. Numbers are big-endian, signed ones in two's
//! complement; a text is its length in bytes as 4 bytes, and then its UTF-8.
//!
//! | field | bytes |
//! | --- | --- |
//! | layout, 1 | 1 |
//! | `position` | 8 |
//! | `commit_position` | 8 |
//! | `recorded_at`: microseconds since 2000-01-01T00:00:00Z, as Postgres stores it | 8 |
//! | `sequence` | 8 |
//! | `event_id` | 16 |
//! | `aggregate_type`, `aggregate_id`, `event_type`, `event_version` | 4 + length, each |
//! | `payload`, `metadata`: the text of the JSON with all its space, as it was written | 4 + length, each |
//!
//! Its hash is that of RFC 6962, section 2.1: SHA-256 over a zero byte and the leaf. The column type `json` keeps a text as
//! it came, so what is read is what was written.
//!
//! In the tree, 32 bytes stand before a leaf that nobody can guess ([`Blinding`]). Hashes are shown to anybody, as parts of
//! proofs, and an event may hold what somebody must not learn: after a bid the maximum of another bidder, of which there
//! are so few that they could all be tried. Who has the log and the root secret can make these bytes anew, and nobody else.
//!
//! **Invariant:** two rows that differ anywhere have different leaves. A leaf that was once hashed is never encoded
//! otherwise: a new layout would be another number in the first byte, for events after it.

use std::fmt;
use std::str::FromStr;

use domain::Timestamp;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgTypeInfo, PgValueRef};
use sqlx::{Decode, FromRow, Postgres, Type};
use thiserror::Error;
use uuid::Uuid;

use crate::Position;
use crate::secrets::RootSecret;

/// The first byte of every leaf.
const LAYOUT: u8 = 1;
/// What is hashed before a leaf, so that it can be taken for no node.
const LEAF: [u8; 1] = [0];
/// What is hashed before the two hashes under a node.
const NODE: [u8; 1] = [1];
/// 2000-01-01T00:00:00Z in microseconds of Unix time.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// A SHA-256, shown in lower-case hexadecimal.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hash(pub [u8; 32]);

/// It is not 64 lower-case hexadecimal digits.
#[derive(Debug, Error, Eq, PartialEq)]
#[error("a hash is 64 lower-case hexadecimal digits")]
pub struct NotAHash;

impl Hash {
    /// How many bytes it has.
    pub const BYTES: usize = 32;

    /// The hash of a tree without leaves: that of nothing.
    pub fn of_nothing() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// The hash of a node over two others.
    pub fn of_node(left: Self, right: Self) -> Self {
        Self(Sha256::new().chain_update(NODE).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// The hash of a leaf, whatever it says.
    pub fn of_leaf(leaf: &[u8]) -> Self {
        Self(Sha256::new().chain_update(LEAF).chain_update(leaf).finalize().into())
    }

    /// A hash from its bytes; nothing if they are not 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::BYTES || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NotAHash);
        }
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotAHash)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// From which the bytes follow that stand before each leaf in the tree.
#[derive(Clone)]
pub struct Blinding([u8; 32]);

impl fmt::Debug for Blinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<blinding>")
    }
}

/// What stands before a leaf in the tree; in hexadecimal, like a hash. Whoever is given it can check what a leaf says.
pub type Blind = Hash;

impl Blinding {
    /// That of the deployment with this secret.
    pub fn of(secret: &RootSecret) -> Self {
        Self(secret.key("proof blinding"))
    }

    /// HMAC-SHA-256 over position, 8 bytes, and event id, 16 bytes.
    pub fn of_event(&self, event: &StoredEvent) -> Blind {
        let named = [event.position.to_be_bytes().as_slice(), event.event_id.as_bytes()].concat();
        // HMAC takes keys of any length.
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(&self.0).map(|mac| mac.chain_update(named).finalize());
        Hash(mac.map_or([0; 32], |mac| mac.into_bytes().into()))
    }
}

/// A time as Postgres stores it, whatever somebody may have put there: also `infinity`, and years that no calendar of ours
/// reaches.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct StoredTime(pub i64);

impl StoredTime {
    /// Microseconds since 1970-01-01T00:00:00Z; nothing for what is beyond all of them.
    pub fn unix_us(self) -> Option<i64> {
        self.0.checked_add(POSTGRES_EPOCH_US)
    }

    /// The time of so many microseconds since 1970-01-01T00:00:00Z.
    pub fn from_unix_us(us: i64) -> Option<Self> {
        us.checked_sub(POSTGRES_EPOCH_US).map(Self)
    }
}

impl Type<Postgres> for StoredTime {
    fn type_info() -> PgTypeInfo {
        <Timestamp as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for StoredTime {
    fn decode(value: PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        // As in every answer to a prepared statement: 8 bytes.
        Ok(Self(i64::from_be_bytes(value.as_bytes()?.try_into()?)))
    }
}

/// A row of the log with everything in it, taken as it is: nothing here needs to make sense to be read.
///
/// A query for it names its columns, with `payload::text` and `metadata::text`.
#[derive(Clone, Debug, Deserialize, Eq, FromRow, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoredEvent {
    /// Its place in the log.
    pub position: Position,
    /// The last position of the same unit of work.
    pub commit_position: Position,
    /// Microseconds since 2000-01-01T00:00:00Z.
    #[serde(rename = "recorded_at_us")]
    pub recorded_at: StoredTime,
    /// Its place in its stream.
    pub sequence: i64,
    /// Its name.
    pub event_id: Uuid,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The stream.
    pub aggregate_id: String,
    /// What happened.
    pub event_type: String,
    /// In which version of its format.
    pub event_version: String,
    /// The text of its JSON.
    pub payload: String,
    /// The text of its JSON.
    pub metadata: String,
}

impl StoredEvent {
    /// What is hashed of it.
    pub fn leaf(&self) -> Vec<u8> {
        let texts = [
            &self.aggregate_type,
            &self.aggregate_id,
            &self.event_type,
            &self.event_version,
            &self.payload,
            &self.metadata,
        ];
        let length = 1 + 4 * 8 + 16 + texts.iter().map(|text| 4 + text.len()).sum::<usize>();
        let mut leaf = Vec::with_capacity(length);
        leaf.push(LAYOUT);
        for number in [self.position, self.commit_position, self.recorded_at.0, self.sequence] {
            leaf.extend(number.to_be_bytes());
        }
        leaf.extend(self.event_id.as_bytes());
        for text in texts {
            // Postgres stores no text of 1 GiB or more.
            leaf.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            leaf.extend(text.as_bytes());
        }
        leaf
    }

    /// The hash of its leaf without anything before it: for who may know all of it.
    pub fn hash(&self) -> Hash {
        Hash::of_leaf(&self.leaf())
    }

    /// Its hash in the tree, with this before its leaf.
    pub fn hash_behind(&self, blind: Blind) -> Hash {
        Hash::of_leaf(&[blind.0.as_slice(), &self.leaf()].concat())
    }

    /// Its hash in the tree.
    pub fn blinded(&self, blinding: &Blinding) -> Hash {
        self.hash_behind(blinding.of_event(self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn event() -> StoredEvent {
        StoredEvent {
            position: 7,
            commit_position: 8,
            recorded_at: StoredTime(1_000_000),
            sequence: 2,
            event_id: Uuid::from_u128(0x0102_0304),
            aggregate_type: "wallet".to_owned(),
            aggregate_id: "a".to_owned(),
            event_type: "HoldPlaced".to_owned(),
            event_version: "1".to_owned(),
            payload: "{\"a\": 1}".to_owned(),
            metadata: "{}".to_owned(),
        }
    }

    #[test]
    fn a_leaf_is_laid_out_as_it_is_written_above() {
        let number = |number: i64| number.to_be_bytes().to_vec();
        let text = |text: &str| [&[0, 0, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        let expected = [
            vec![1],
            number(7),
            number(8),
            number(1_000_000),
            number(2),
            vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            text("wallet"),
            text("a"),
            text("HoldPlaced"),
            text("1"),
            text("{\"a\": 1}"),
            text("{}"),
        ];
        assert_eq!(event().leaf(), expected.concat());
        assert_eq!(event().hash(), Hash::of_leaf(&expected.concat()));
        // Must never change: it is what the receipts of everybody rest on.
        assert_eq!(event().hash().to_string(), HASH);
    }

    /// Made with another program, over the bytes as they are written above.
    const HASH: &str = "109797b6721557fbbaa363bb3f98ba7fcfc78f1bc31aba80f4d64ebc8779d317";

    #[test]
    fn whatever_differs_the_leaf_differs() {
        let changes: [fn(&mut StoredEvent); 12] = [
            |event| event.position += 1,
            |event| event.commit_position += 1,
            |event| event.recorded_at.0 += 1,
            |event| event.sequence += 1,
            |event| event.event_id = Uuid::nil(),
            |event| event.aggregate_type.push('a'),
            |event| event.aggregate_id.push('a'),
            |event| event.event_type.push('1'),
            |event| event.event_version.push('{'),
            |event| event.payload = "{\"a\":1}".to_owned(),
            |event| event.metadata.push(' '),
            |event| (event.aggregate_type, event.aggregate_id) = ("walle".to_owned(), "ta".to_owned()),
        ];
        let mut hashes = BTreeSet::from([event().hash()]);
        for change in changes {
            let mut other = event();
            change(&mut other);
            assert!(hashes.insert(other.hash()), "{other:?}");
        }
    }

    #[test]
    fn in_the_tree_a_leaf_cannot_be_guessed_without_the_secret() {
        let (one, other) = (Blinding::of(&RootSecret::new(b"one")), Blinding::of(&RootSecret::new(b"other")));
        let (event, mut next) = (event(), event());
        next.position += 1;
        assert_eq!(event.blinded(&one), event.hash_behind(one.of_event(&event)));
        assert_ne!(event.blinded(&one), event.blinded(&other));
        assert_ne!(event.blinded(&one), event.hash());
        assert_ne!(one.of_event(&event), one.of_event(&next));
        assert_eq!(format!("{one:?}"), "<blinding>");
    }

    #[test]
    fn a_hash_is_read_as_it_is_shown_and_in_no_other_way() {
        let hash = event().hash();
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let shown = hash.to_string();
        for wrong in [&shown[1..], &shown.to_uppercase(), &format!("+{}", &shown[1..]), "", &format!("{shown}00")] {
            assert_eq!(wrong.parse::<Hash>(), Err(NotAHash), "{wrong}");
        }
        assert_eq!(Hash::of_nothing().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_time_is_counted_from_two_thousand_and_also_from_nineteen_seventy() {
        assert_eq!(StoredTime(0).unix_us(), Some(POSTGRES_EPOCH_US));
        assert_eq!(StoredTime::from_unix_us(POSTGRES_EPOCH_US + 5), Some(StoredTime(5)));
        assert_eq!(StoredTime(i64::MAX).unix_us(), None, "infinity");
    }
}
