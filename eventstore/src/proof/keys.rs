//! The keys that sign what the log was: Ed25519, and texts signed as *signed notes*.
//!
//! A signed note is a text that ends with a newline, an empty line, and lines that begin with an em dash: the name of a
//! key, and in Base64 4 bytes that tell the key apart and the signature over the text
//! (<https://c2sp.org/signed-note>). Whatever reads the checkpoints of other transparency logs reads ours. Keys are
//! written as there too:
//!
//! ```text
//! <name>+<key id>+<Base64 of a byte 1 and the 32 bytes of the public key>
//! PRIVATE+KEY+<name>+<key id>+<Base64 of a byte 1 and the 32 bytes of the seed>
//! ```
//!
//! where the key id is the first 4 bytes of the SHA-256 of name, newline, byte 1 and public key, in hexadecimal.
//!
//! **Invariant:** whom to believe is a matter of configuration alone. Keys are never taken from the database whose
//! content they prove.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::leaf::Blinding;
use crate::mint;

/// What a key and a signature of this kind begin with.
const ED25519: u8 = 1;
/// How a line with a signature begins.
const SIGNED: &str = "\u{2014} ";
/// How a private key begins.
const PRIVATE: &str = "PRIVATE+KEY+";
/// The most signatures that are looked at under a note.
const MOST_SIGNATURES: usize = 16;
/// The longest name of a key.
const LONGEST_NAME: usize = 100;
const SEED_BYTES: usize = 32;
const ID_BYTES: usize = 4;

/// Tells a key apart from others: 4 bytes derived from its name and itself, shown in hexadecimal.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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

/// Why a key cannot be used.
#[derive(Debug, Error, Eq, PartialEq)]
pub enum KeyFault {
    /// It is not written as a key.
    #[error("a public key is written `<name>+<8 hexadecimal digits>+<Base64>`")]
    NotAPublicKey,
    /// It is not written as a private key. What is there is not repeated.
    #[error("a private key is written `PRIVATE+KEY+<name>+<8 hexadecimal digits>+<Base64>`")]
    NotAPrivateKey,
    /// Its id is not that of the key and the name.
    #[error("the key was altered: its id does not belong to its name and its bytes")]
    AnotherId,
    /// It cannot be a name.
    #[error("the name of a key has 1 to 100 characters, none of them a space or a plus sign")]
    Name,
}

/// Why a note is not believed.
#[derive(Debug, Error, Eq, PartialEq)]
pub enum NoteFault {
    /// It is not a signed note.
    #[error("it is not a signed note: a text, an empty line, and lines with signatures")]
    NotANote,
    /// None of the keys that are believed has signed it.
    #[error("none of the known keys has signed it; signed by {}", list(.0))]
    NotSigned(Vec<String>),
    /// A known key is said to have signed it, and has not.
    #[error("the signature of {0} is not good: the text or the signature was altered")]
    BadSignature(String),
}

fn list(keys: &[String]) -> String {
    if keys.is_empty() { "nobody".to_owned() } else { keys.join(", ") }
}

/// A key that anybody may have, to check what was signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Whose key it is: the name of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        let hash = Sha256::new()
            .chain_update(self.name.as_bytes())
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        KeyId(std::array::from_fn(|index| hash[index]))
    }

    /// Whether this is its signature over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        // Strict: no second signature that is as good can be made of a good one.
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id(), STANDARD.encode(bytes))
    }
}

impl FromStr for PublicKey {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        let (name, id, bytes) = parts(text.trim()).ok_or(KeyFault::NotAPublicKey)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyFault::NotAPublicKey)?;
        check_name(name)?;
        let key = Self { name: name.to_owned(), key };
        if key.id().to_string() == id { Ok(key) } else { Err(KeyFault::AnotherId) }
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Name, id and bytes of a key as it is written.
fn parts(text: &str) -> Option<(&str, &str, [u8; SEED_BYTES])> {
    let (name, rest) = text.split_once('+')?;
    let (id, encoded) = rest.split_once('+')?;
    match STANDARD.decode(encoded).ok()?.split_first() {
        Some((&ED25519, bytes)) => Some((name, id, bytes.try_into().ok()?)),
        _ => None,
    }
}

fn check_name(name: &str) -> Result<(), KeyFault> {
    let good = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '+';
    let usable = !name.is_empty() && name.chars().count() <= LONGEST_NAME && name.chars().all(good);
    if usable { Ok(()) } else { Err(KeyFault::Name) }
}

/// A key that signs. Never printed, but by [`ProofKey::expose`].
#[derive(Clone)]
pub struct ProofKey {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<proof key {}>", self.public().id())
    }
}

impl ProofKey {
    /// The key of this name that follows from 32 secret bytes.
    pub fn from_seed(name: &str, seed: &[u8; SEED_BYTES]) -> Result<Self, KeyFault> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// A new key, which nobody else has.
    pub fn mint(name: &str) -> Result<Self, KeyFault> {
        Self::from_seed(name, &mint::secret())
    }

    /// A key as [`Self::expose`] has written it.
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let text = text.trim().strip_prefix(PRIVATE).ok_or(KeyFault::NotAPrivateKey)?;
        let (name, id, seed) = parts(text).ok_or(KeyFault::NotAPrivateKey)?;
        let key = Self::from_seed(name, &seed)?;
        if key.public().id().to_string() == id { Ok(key) } else { Err(KeyFault::AnotherId) }
    }

    /// The key itself, to be kept in a file that nobody else can read.
    pub fn expose(&self) -> String {
        let bytes = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        format!("{PRIVATE}{}+{}+{}", self.name, self.public().id(), STANDARD.encode(bytes))
    }

    /// What others check its signatures with.
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// Its signature over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    /// `text`, which ends with a newline, as a signed note.
    pub fn sign_note(&self, text: &str) -> String {
        let id = self.public().id();
        let signature = [id.0.as_slice(), &self.sign(text.as_bytes())].concat();
        format!("{text}\n{SIGNED}{} {}\n", self.name, STANDARD.encode(signature))
    }
}

/// The key that signs, those that signed before, and what leaves are blinded with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyRing(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    current: ProofKey,
    former: Vec<PublicKey>,
    blinding: Blinding,
}

impl KeyRing {
    /// Signs with `current`, and believes what `former` ones have signed.
    pub fn new(current: ProofKey, former: Vec<PublicKey>, blinding: Blinding) -> Self {
        Self(Arc::new(Keys { current, former, blinding }))
    }

    /// What leaves are blinded with.
    pub fn blinding(&self) -> &Blinding {
        &self.0.blinding
    }

    /// The key that signs.
    pub fn current(&self) -> &ProofKey {
        &self.0.current
    }

    /// The keys that are believed, the current one first.
    pub fn public(&self) -> Vec<PublicKey> {
        let former = self.0.former.iter().filter(|key| **key != self.current().public());
        [self.current().public()].into_iter().chain(former.cloned()).collect()
    }
}

/// The text of a signed note and which of the `believed` keys has signed it.
pub fn open_note<'a, 'k>(note: &'a str, believed: &'k [PublicKey]) -> Result<(&'a str, &'k PublicKey), NoteFault> {
    let split = note.rfind("\n\n").ok_or(NoteFault::NotANote)?;
    let (text, signatures) = (&note[..=split], &note[split + 2..]);
    let lines = signatures.strip_suffix('\n').ok_or(NoteFault::NotANote)?;
    let mut strangers = Vec::new();
    for line in lines.split('\n').take(MOST_SIGNATURES) {
        let (name, signature) =
            line.strip_prefix(SIGNED).and_then(|line| line.split_once(' ')).ok_or(NoteFault::NotANote)?;
        let signature = STANDARD.decode(signature).map_err(|_| NoteFault::NotANote)?;
        let (id, signature) = signature.split_first_chunk().ok_or(NoteFault::NotANote)?;
        let id = KeyId(*id);
        let Some(key) = believed.iter().find(|key| key.name == name && key.id() == id) else {
            strangers.push(format!("{name}+{id}"));
            continue;
        };
        let good = key.verifies(text.as_bytes(), signature);
        return if good { Ok((text, key)) } else { Err(NoteFault::BadSignature(format!("{name}+{id}"))) };
    }
    Err(NoteFault::NotSigned(strangers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the documentation of golang.org/x/mod/sumdb/note: a key, a text, and the note that comes of them.
    const THEIR_PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const THEIR_PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const THEIR_TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your \
        problem is.\n";
    const THEIR_SIGNATURE: &str = "PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf\
        qdngotpRZb6KE6RyyBwJnAM=";

    fn key(seed: u8) -> ProofKey {
        ProofKey::from_seed("shop.example/log", &[seed; 32]).unwrap()
    }

    #[test]
    fn keys_and_notes_are_those_of_other_transparency_logs() {
        let key = ProofKey::parse(THEIR_PRIVATE).unwrap();
        assert_eq!(key.public().to_string(), THEIR_PUBLIC);
        assert_eq!(key.expose(), THEIR_PRIVATE);
        let note = key.sign_note(THEIR_TEXT);
        assert_eq!(note, format!("{THEIR_TEXT}\n\u{2014} {THEIR_SIGNATURE}\n"));
        let believed = [THEIR_PUBLIC.parse().unwrap()];
        assert_eq!(open_note(&note, &believed), Ok((THEIR_TEXT, &believed[0])));
    }

    #[test]
    fn a_note_is_believed_from_a_known_key_only_and_as_it_was_signed() {
        let note = key(1).sign_note("a\nb\n");
        let (own, other) = ([key(1).public()], [key(2).public()]);
        assert!(open_note(&note, &[other[0].clone(), own[0].clone()]).is_ok());
        assert!(matches!(open_note(&note, &other), Err(NoteFault::NotSigned(by)) if by.len() == 1));
        for altered in [note.replacen('a', "A", 1), note.replacen("b\n", "b\n\nc\n", 1)] {
            assert!(matches!(open_note(&altered, &own), Err(NoteFault::BadSignature(_))), "{altered}");
        }
        let cut = &note[..note.len() - 1];
        for none in ["", "a\n", "a\n\n", "a\n\n\u{2014} x\n", "a\n\n\u{2014} x !\n", cut] {
            assert_eq!(open_note(none, &own), Err(NoteFault::NotANote), "{none}");
        }
    }

    #[test]
    fn a_note_with_the_signatures_of_others_too_is_believed() {
        let text = "a\n";
        let (first, second) = (key(1).sign_note(text), key(2).sign_note(text));
        let both = format!("{first}{}", &second[text.len() + 1..]);
        for believed in [key(1), key(2)] {
            assert!(open_note(&both, &[believed.public()]).is_ok());
        }
    }

    #[test]
    fn a_key_that_was_altered_or_has_no_name_is_refused() {
        let (private, public) = (key(1).expose(), key(1).public().to_string());
        assert_eq!(private.replace("shop", "shap").parse::<PublicKey>(), Err(KeyFault::NotAPublicKey));
        assert_eq!(public.replace("shop", "shap").parse::<PublicKey>(), Err(KeyFault::AnotherId));
        assert_eq!(ProofKey::parse(&private.replace("shop", "shap")).unwrap_err(), KeyFault::AnotherId);
        assert_eq!(ProofKey::parse(&public).unwrap_err(), KeyFault::NotAPrivateKey);
        for name in ["", "a b", "a+b", "a\n", &"a".repeat(101)] {
            assert_eq!(ProofKey::from_seed(name, &[1; 32]).unwrap_err(), KeyFault::Name, "{name}");
        }
    }

    #[test]
    fn a_key_that_signs_is_not_printed() {
        let blinding = Blinding::of(&crate::secrets::RootSecret::new(b"one"));
        let (key, ring) = (key(7), KeyRing::new(key(7), vec![key(8).public(), key(7).public()], blinding));
        let secret = STANDARD.encode(key.key.as_bytes());
        for printed in [format!("{key:?}"), format!("{ring:?}")] {
            assert!(!printed.contains(&secret) && !printed.contains(&key.expose()), "{printed}");
        }
        assert_eq!(ring.public().len(), 2, "each key once");
    }
}
