//! `tradepost proof`: the keys that sign the log, and what they have signed.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Subcommand;
use eventstore::proof::keys::ProofKey;
use eventstore::proof::{StoredEvent, TreeHead, store};
use indicatif::{ProgressBar, ProgressStyle};
use projections::rebuild::Pace;
use serde_json::json;
use sqlx::Connection;

use super::output::{Output, show};
use super::{Failure, Place, secret};
use crate::config::{Config, proof_keys};

#[derive(Debug, Subcommand)]
pub(super) enum Proof {
    /// Print the public keys that heads are checked with: the current one, then the former ones.
    Key {
        #[command(flatten)]
        output: Output,
    },
    /// Make a key that signs, in a new file that only its owner can read, and print its public key.
    MintKey {
        /// Where to.
        file: PathBuf,
    },
    /// Make the leaf of an event anew, and print it with what stands before it in the tree: SHA-256 over a zero byte and both
    /// is the hash that receipts and proofs name. It holds all that the event says, so it is for auditors only.
    Open {
        /// Where the event is in the log.
        position: i64,
        #[command(flatten)]
        output: Output,
    },
    /// Print the newest signed tree head. Kept somewhere else, nobody can change the log under it unseen.
    Head {
        #[command(flatten)]
        output: Output,
    },
}

impl Proof {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        match self {
            Self::Key { output } => {
                let keys = proof_keys(config, &secret(config)?)?.public();
                let lines: Vec<String> = keys.iter().map(ToString::to_string).collect();
                show(output.json, &json!({ "keys": keys }), lines.join("\n"))?;
                Ok(())
            }
            Self::MintKey { file } => {
                let key = ProofKey::mint(&config.proof.name)?;
                let mut made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
                made.write_all(format!("{}\n", key.expose()).as_bytes())?;
                made.sync_all()?;
                println!("{}", key.public());
                Ok(())
            }
            Self::Open { position, output } => {
                let keys = proof_keys(config, &secret(config)?)?;
                let place = Place::beside(config).await?;
                let event = stored(&place, position).await;
                let event =
                    place.leave(event).await?.ok_or_else(|| format!("there is no event at position {position}"))?;
                let mut leaf = String::new();
                for byte in event.leaf() {
                    write!(leaf, "{byte:02x}")?;
                }
                let (blind, hash) = (keys.blinding().of_event(&event), event.blinded(keys.blinding()));
                let told = json!({ "leaf": leaf, "blind": blind, "leaf_hash": hash, "event": event });
                show(output.json, &told, format!("leaf {leaf}\nblind {blind}\nleaf_hash {hash}"))?;
                Ok(())
            }
            Self::Head { output } => {
                let believed = proof_keys(config, &secret(config)?)?.public();
                let place = Place::beside(config).await?;
                let note = newest(&place).await;
                let note = place.leave(note).await?.ok_or("no tree head was signed yet")?;
                let (head, key) = TreeHead::open(&note, &believed)?;
                let told = json!({ "size": head.size, "root_hash": head.root, "signed_at": head.at, "key": key, "note": note });
                show(output.json, &told, note.trim_end())?;
                Ok(())
            }
        }
    }
}

/// The event, however it may be.
async fn stored(place: &Place, position: i64) -> Result<Option<StoredEvent>, Failure> {
    let mut owner = place.database.connect_as_owner().await?;
    let event = store::stored_at(&mut owner, position).await?;
    owner.close().await?;
    Ok(event)
}

async fn newest(place: &Place) -> Result<Option<String>, Failure> {
    let mut owner = place.database.connect_as_owner().await?;
    let note = store::newest_head(&mut owner).await?;
    owner.close().await?;
    Ok(note)
}

/// Shows how far it is: a bar on a terminal, otherwise a line every few seconds on standard error.
pub(super) fn shown(what: &'static str) -> impl FnMut(i64, i64) + Send {
    // The template is ours and right; a bar without it would do.
    let style =
        ProgressStyle::with_template("[{bar:30}] {pos}/{len} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let (bar, mut pace) = (Bar(ProgressBar::new(0).with_style(style).with_message(what)), Pace::begin());
    move |done, all| {
        bar.0.set_length(all.unsigned_abs());
        bar.0.set_position(done.unsigned_abs());
        if bar.0.is_hidden() && pace.is_time_to_tell() {
            eprintln!("{done} of {all} {what}");
        }
    }
}

/// A bar that goes when whoever moves it ends.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
