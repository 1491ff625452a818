//! What belongs to an export, with the hash of each file, signed with the key that signs tree heads.
//!
//! `manifest.json` is an object with the manifest, the public key, and in Base64 the Ed25519 signature over the bytes of the
//! manifest as they stand in the file. It is written last and at once, so a folder without one is not whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use eventstore::Position;
use eventstore::proof::Hash;
use eventstore::proof::keys::{ProofKey, PublicKey};
use eventstore::transfer::beside::Checkpoint;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use thiserror::Error;

use super::Format;
use super::files::FileNote;
use super::log::Stretch;
use super::models::ModelFiles;

/// Where it is.
pub(crate) const NAME: &str = "manifest.json";
/// The version of the format.
pub(crate) const VERSION: u32 = 1;

/// What the file is. It stands first, so that what is signed can be taken for nothing else that the key signs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Title {
    /// An export.
    #[serde(rename = "tradepost-export")]
    Export,
}

/// What belongs to an export.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) kind: Title,
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The version of Tradepost that has written it.
    pub(crate) software: String,
    /// By the clock of the database.
    pub(crate) made_at: Timestamp,
    pub(crate) format: Format,
    pub(crate) log: Option<LogNote>,
    /// By day, the oldest first.
    pub(crate) models: Vec<ModelFiles>,
}

/// What of the log is exported.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogNote {
    /// The position of the first event.
    pub(crate) from: Position,
    /// The position of the last.
    pub(crate) to: Position,
    /// The root of the Merkle tree over the log up to there; nothing if the export does not begin with the log.
    pub(crate) root: Option<Hash>,
    /// In the order of the log.
    pub(crate) files: Vec<Stretch>,
    /// The answers to commands.
    pub(crate) command_keys: FileNote,
    /// What followers have left out for good.
    pub(crate) skipped_events: FileNote,
    /// How far processes had come at least.
    pub(crate) processes: Vec<Checkpoint>,
    /// Up to where letters were called for.
    pub(crate) mailed: Position,
}

impl LogNote {
    /// The files with what belongs to the log and is not in it.
    pub(crate) fn beside(&self) -> [&FileNote; 2] {
        [&self.command_keys, &self.skipped_events]
    }
}

/// The file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SignedFile<'a> {
    #[serde(borrow)]
    manifest: &'a RawValue,
    signed_by: PublicKey,
    signature: String,
}

/// Why a manifest is not believed.
#[derive(Debug, Error)]
pub(crate) enum ManifestFault {
    /// It is not there: the export was not finished.
    #[error("it is not there: the export is not finished, or this is no export")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Another key has signed it.
    #[error("it is signed by {0}, which is not the key that you believe")]
    Stranger(Box<PublicKey>),
    /// It was altered since.
    #[error("it was altered since it was signed: the signature of {0} is not good")]
    Altered(Box<PublicKey>),
    /// It was written by a newer version.
    #[error("it has version {0} of its format, and this is version {VERSION}: use a newer version of Tradepost")]
    Newer(u32),
}

/// The content of the file.
pub(crate) fn sign(manifest: &Manifest, key: &ProofKey) -> Result<String, serde_json::Error> {
    let manifest = to_raw_value(manifest)?;
    let signature = STANDARD.encode(key.sign(manifest.get().as_bytes()));
    let signed = SignedFile { manifest: &manifest, signed_by: key.public(), signature };
    Ok(serde_json::to_string(&signed)? + "\n")
}

/// What tells how to read the rest.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reads the content of the file. Believes one of these keys, or whichever has signed it if none is given; answers with
/// that.
pub(crate) fn open(text: &str, believed: Option<&[PublicKey]>) -> Result<(Manifest, PublicKey), ManifestFault> {
    let SignedFile { manifest, signed_by, signature } = serde_json::from_str(text)?;
    if believed.is_some_and(|believed| !believed.contains(&signed_by)) {
        return Err(ManifestFault::Stranger(Box::new(signed_by)));
    }
    let good = STANDARD.decode(signature).is_ok_and(|bytes| signed_by.verifies(manifest.get().as_bytes(), &bytes));
    if !good {
        return Err(ManifestFault::Altered(Box::new(signed_by)));
    }
    let Head { version } = serde_json::from_str(manifest.get())?;
    if version != VERSION {
        return Err(ManifestFault::Newer(version));
    }
    Ok((serde_json::from_str(manifest.get())?, signed_by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> ProofKey {
        ProofKey::from_seed("shop.example/log", &[seed; 32]).unwrap()
    }

    fn manifest() -> Manifest {
        Manifest {
            kind: Title::Export,
            version: VERSION,
            software: "0.1.0".to_owned(),
            made_at: "2026-11-22T10:00:00Z".parse().unwrap(),
            format: Format::Ndjson,
            log: None,
            models: Vec::new(),
        }
    }

    #[test]
    fn it_is_believed_from_a_known_key_as_it_was_signed() {
        let text = sign(&manifest(), &key(1)).unwrap();
        for believed in [None, Some(&[key(2).public(), key(1).public()][..])] {
            let (read, by) = open(&text, believed).unwrap();
            assert_eq!((read.format, by), (Format::Ndjson, key(1).public()));
        }
        assert!(matches!(open(&text, Some(&[key(2).public()])), Err(ManifestFault::Stranger(_))));
    }

    #[test]
    fn one_that_was_altered_anywhere_is_not_believed() {
        let text = sign(&manifest(), &key(1)).unwrap();
        for index in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            let Ok(altered) = String::from_utf8(bytes) else { continue };
            assert!(open(&altered, Some(&[key(1).public()])).is_err(), "byte {index}: {altered}");
        }
    }

    #[test]
    fn one_of_a_newer_version_says_so() {
        let newer = Manifest { version: VERSION + 1, ..manifest() };
        let text = sign(&newer, &key(1)).unwrap();
        assert!(matches!(open(&text, None), Err(ManifestFault::Newer(2))));
    }

    #[test]
    fn what_is_signed_begins_with_what_it_is() {
        let text = sign(&manifest(), &key(1)).unwrap();
        assert!(text.starts_with(r#"{"manifest":{"kind":"tradepost-export","version":1,"#), "{text}");
    }
}
