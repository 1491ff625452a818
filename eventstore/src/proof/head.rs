//! Tree heads: what the log was when it had so many events, signed.
//!
//! A head is a *checkpoint* (<https://c2sp.org/tlog-checkpoint>), a signed note of these lines:
//!
//! ```text
//! <the name of the log>
//! <how many events>
//! <the root of the tree over them, in Base64>
//! time <when it was signed, by the marketplace's clock: RFC 3339>
//! ```
//!
//! Whoever keeps one can be shown later that the log still begins with the very events that it had then.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::keys::{NoteFault, ProofKey, PublicKey, open_note};
use super::leaf::Hash;
use super::tree;

/// What the tree was at a size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TreeHead {
    /// How many events it covers: those at positions 1 to this.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// When it was signed.
    pub at: Timestamp,
}

/// Why a head is not believed.
#[derive(Debug, Error, Eq, PartialEq)]
pub enum HeadFault {
    /// Its signature.
    #[error(transparent)]
    Note(#[from] NoteFault),
    /// It was signed, but is not a head.
    #[error("what was signed is not a tree head: a name, a size, a root in Base64 and a time, on a line each")]
    NotAHead,
}

impl TreeHead {
    /// The head, signed.
    pub fn sign(&self, key: &ProofKey) -> String {
        let (name, root) = (key.public().name().to_owned(), STANDARD.encode(self.root.0));
        let at = self.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        key.sign_note(&format!("{name}\n{}\n{root}\ntime {at}\n", self.size))
    }

    /// The head that a note says, if one of the `believed` keys has signed it; and which.
    pub fn open<'k>(note: &str, believed: &'k [PublicKey]) -> Result<(Self, &'k PublicKey), HeadFault> {
        let (text, key) = open_note(note, believed)?;
        let head = Self::read(text, key.name()).ok_or(HeadFault::NotAHead)?;
        Ok((head, key))
    }

    fn read(text: &str, name: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != name {
            return None;
        }
        let size: u64 = lines.next()?.parse().ok()?;
        let root = Hash::from_slice(&STANDARD.decode(lines.next()?).ok()?)?;
        let at = lines.next()?.strip_prefix("time ")?.parse().ok()?;
        // More lines may say more some day.
        (size > 0).then_some(Self { size, root, at })
    }
}

/// A signed head, and what shows that a smaller tree has grown into it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Published {
    /// The head as a signed note.
    pub note: String,
    /// The size of the tree before, if it was asked for.
    #[serde(default)]
    pub from: Option<u64>,
    /// What shows that this tree begins with that one.
    #[serde(default)]
    pub consistency: Vec<Hash>,
}

/// Why a head does not follow from another.
#[derive(Debug, Error, Eq, PartialEq)]
pub enum Inconsistency {
    /// Both are of one size, and not of one log.
    #[error("two heads of size {0} have different roots: the log was rewritten, or shown to others in another way")]
    Forked(u64),
    /// The proof does not show it.
    #[error("the proof does not show that the tree of size {size} begins with that of size {former}")]
    NotShown {
        /// The smaller one.
        former: u64,
        /// The larger one.
        size: u64,
    },
}

/// Checks that the tree of `head` begins with that of `former`, which is no larger.
pub fn follows(former: &TreeHead, head: &TreeHead, proof: &[Hash]) -> Result<(), Inconsistency> {
    if former.size == head.size {
        return if former.root == head.root { Ok(()) } else { Err(Inconsistency::Forked(head.size)) };
    }
    let shown = tree::grew(former.root, former.size, head.root, head.size, proof);
    shown.then_some(()).ok_or(Inconsistency::NotShown { former: former.size, size: head.size })
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;

    fn key(name: &str) -> ProofKey {
        ProofKey::from_seed(name, &[3; 32]).unwrap()
    }

    #[test]
    fn a_head_is_read_as_it_was_signed_and_from_its_own_log_only() {
        let at = Utc.timestamp_millis_opt(1_700_000_000_123).unwrap();
        let head = TreeHead { size: 9, root: Hash::of_leaf(b"x"), at };
        let note = head.sign(&key("shop"));
        assert!(note.starts_with("shop\n9\n"), "{note}");
        assert!(note.contains("\ntime 2023-11-14T22:13:20.123Z\n\n\u{2014} shop "), "{note}");
        let believed = [key("shop").public()];
        assert_eq!(TreeHead::open(&note, &believed), Ok((head, &believed[0])));
        assert!(matches!(TreeHead::open(&note, &[key("other").public()]), Err(HeadFault::Note(_))));
        for text in ["other\n9\nAAAA\ntime x\n", "shop\n0\n", "shop\nnine\n", "{}\n"] {
            assert_eq!(TreeHead::open(&key("shop").sign_note(text), &believed), Err(HeadFault::NotAHead), "{text}");
        }
    }
}
