//! `tradepost import-log`: an exported log into an empty database.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use eventstore::Position;
use eventstore::database::Database;
use eventstore::proof::Hash;
use eventstore::proof::keys::PublicKey;
use eventstore::proof::leaf::Blinding;
use eventstore::transfer::{Intake, IntakeError, Taken};
use projections::rebuild::{self, RebuildError};
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::export::shown;
use super::keys::carrier;
use super::output::show;
use super::projections::rebuild::Shown;
use super::{Failure, Place, secret, stop_signals};
use crate::config::{Config, proof_keys};
use crate::export::manifest::LogNote;
use crate::export::source::{Lines, Source};

/// How long sessions of this command itself may take to end on the server.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Put an exported log into an empty database.
///
/// Takes what `tradepost export` has written, in either format, with positions, ids, times and bytes as they were. The
/// signature of the manifest, the hash of every file, positions and sequences, and the root of the tree over the log are
/// checked; all of it is put there in one transaction, or nothing. Then the read models are built, and processes go on from
/// where they were: letters that were called for are not called for again.
///
/// The keys of people come apart, from `tradepost keys export`. Those of people of whom the log says that they are
/// forgotten are left out; if one of anybody else is missing, nothing is imported. Without keys everybody counts as forgotten; there is no way to add them later.
///
/// Stop every node first, also the old marketplace's: the new one goes on where the export ends. Nodes of the new database
/// need the same root secret, and pictures are copied as docs/operations.md says.
///
/// Examples:
///   tradepost import-log backup --keys people.keys --keys-wrapping-key-file carrier.key
///   tradepost import-log backup --without-keys
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct ImportLog {
    /// The folder that `tradepost export` has written to.
    #[arg(value_name = "FOLDER")]
    from: PathBuf,
    /// The key that must have signed it, or a file with it; may be repeated. Those of this configuration unless told: the
    /// same root secret has the same, unless `proof.key_file` says another.
    #[arg(long = "public-key", value_name = "KEY|FILE")]
    public_keys: Vec<String>,
    /// Believe whoever has signed it. The root secret still tells whether the events are those of its log; what is beside
    /// them (answers to commands, what was left out) may then be anybody's.
    #[arg(long, conflicts_with = "public_keys")]
    any_signer: bool,
    /// The keys of people.
    #[arg(long, value_name = "FILE", required_unless_present = "without_keys")]
    keys: Option<PathBuf>,
    /// The file with the key that they are wrapped with; that of this configuration unless told.
    #[arg(long, value_name = "FILE", requires = "keys")]
    keys_wrapping_key_file: Option<PathBuf>,
    /// Import it also where the file lacks keys of people who are not forgotten: what is sealed of them can never be read
    /// again.
    #[arg(long, requires = "keys")]
    keys_may_lack: bool,
    /// Go without them: nobody's personal fields can ever be read again.
    #[arg(long, conflicts_with = "keys")]
    without_keys: bool,
    /// Tell what was imported as JSON.
    #[arg(long)]
    json: bool,
}

/// What was imported.
#[derive(Debug, Serialize)]
struct Imported {
    events: Position,
    root: Hash,
    signed_by: PublicKey,
    keys: u64,
    /// Keys that were left out, since their people are forgotten.
    forgotten: u64,
    /// People whose fields cannot be read for want of a key.
    without_key: u64,
    read_models: usize,
}

impl ImportLog {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let stop = stop_signals()?;
        let believed = self.believed(config)?;
        let source = Source::open(&self.from, believed.as_deref())?;
        let place = Place::beside(config).await?;
        let taken = match stop.run_until_cancelled(self.take(&place.database, config, &source)).await {
            Some(Ok(taken)) => taken,
            Some(Err(error)) => return place.leave(Err(error)).await,
            None => return place.leave(Err("interrupted: nothing was imported".into())).await,
        };
        let Taken { head, root, keys, forgotten, without_key } = taken;
        let why = match stop.run_until_cancelled(build(&place.database)).await {
            Some(Ok(read_models)) => Ok(read_models),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("interrupted".to_owned()),
        };
        let built = why.map_err(|why| {
            Failure::from(format!(
                "{why}; the log is there ({head} events, {keys} keys of people, {without_key} people without), and \
                 `tradepost serve` or `tradepost projections rebuild` builds the read models from it"
            ))
        });
        let read_models = place.leave(built).await?;
        let signed_by = source.signed_by;
        let imported = Imported { events: head, root, signed_by, keys, forgotten, without_key, read_models };
        show(self.json, &imported, &imported)
    }

    /// The keys that are given, which may be in files; nothing if anybody's is good.
    fn believed(&self, config: &Config) -> Result<Option<Vec<PublicKey>>, Failure> {
        if self.any_signer {
            return Ok(None);
        }
        if self.public_keys.is_empty() {
            return Ok(Some(proof_keys(config, &secret(config)?)?.public()));
        }
        let mut keys = Vec::new();
        for given in &self.public_keys {
            let key = match given.parse() {
                Ok(key) => key,
                Err(fault) => match fs::read_to_string(given) {
                    Ok(text) => text.parse().map_err(|fault| format!("{given}: {fault}"))?,
                    Err(_) => return Err(format!("--public-key: {fault}; or there is no such file").into()),
                },
            };
            keys.push(key);
        }
        Ok(Some(keys))
    }

    /// Puts everything there in one transaction.
    async fn take(&self, database: &Database, config: &Config, source: &Source) -> Result<Taken, Failure> {
        let log = source.manifest.log.as_ref().ok_or("this export has no log")?;
        if log.from != 1 {
            return Err(format!("this export begins at position {}: only a whole log can be imported", log.from).into());
        }
        let carrier = match (&self.keys_wrapping_key_file, &self.keys) {
            (Some(file), _) => Some(carrier(file)?),
            (None, Some(_)) => Some(database.wrapping().clone()),
            (None, None) => None,
        };
        let mut owner = database.connect_as_owner().await?;
        let blinding = Blinding::of(&secret(config)?);
        // Before anything is changed in a database that is in use.
        let is_there = "select to_regclass('public.log_head') is not null";
        if sqlx::query_scalar::<_, bool>(is_there).fetch_one(&mut owner).await? {
            wait_until_alone(&mut owner, &blinding).await?;
        }
        owner.close().await?;
        crate::app::prepare(database).await?;
        let mut owner = database.connect_as_owner().await?;
        wait_until_alone(&mut owner, &blinding).await?;
        let mut intake = Intake::begin(&mut owner, blinding).await?;
        take_log(&mut intake, source, log).await?;
        if let (Some(file), Some(carrier)) = (&self.keys, carrier) {
            super::keys::read_carried(file, &carrier, |key| intake.key(key, database.wrapping()))?;
        }
        let readable = domain::formats::known_types();
        let taken =
            intake.complete(&log.processes, log.mailed, &readable, self.keys.is_none() || self.keys_may_lack).await?;
        owner.close().await?;
        Ok(taken)
    }
}

/// Ends with an error if the log is not empty or a node is connected; sessions that this command has ended itself may take
/// a moment.
async fn wait_until_alone(owner: &mut PgConnection, blinding: &Blinding) -> Result<(), Failure> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        match Intake::begin(owner, blinding.clone()).await {
            Ok(_) => return Ok(()),
            Err(IntakeError::InUse(_)) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The events, the answers to commands, and what was left out.
async fn take_log(intake: &mut Intake<'_>, source: &Source, log: &LogNote) -> Result<(), Failure> {
    let mut shown = shown("events");
    for stretch in &log.files {
        let mut events = source.events(stretch)?;
        while let Some(page) = events.next()? {
            intake.events(&page).await?;
            shown(intake.reached(), log.to);
        }
        if intake.reached() != stretch.to {
            return Err(format!("{} does not end at position {}", stretch.file.path, stretch.to).into());
        }
    }
    if (intake.reached(), intake.root()) != (log.to, log.root) {
        return Err(format!(
            "the events do not make the log that was exported, or the root secret here is another than there, and nobody \
             could log in: the root of the tree over them is {}, and the manifest says {}",
            intake.root(),
            log.root
        )
        .into());
    }
    let mut answers: Lines = source.lines(&log.command_keys)?;
    while let Some(page) = answers.next()? {
        intake.answers(&page).await?;
    }
    let mut skipped: Lines = source.lines(&log.skipped_events)?;
    while let Some(page) = skipped.next()? {
        intake.skipped(&page).await?;
    }
    Ok(())
}

/// Builds the read models from the log. Answers how many.
async fn build(database: &Database) -> Result<usize, RebuildError> {
    let shown = Shown::new();
    let built = rebuild::at_once(projections::ALL.to_vec(), rebuild::cores(), |model| {
        let (database, progress) = (database.clone(), shown.of(model.name));
        async move { rebuild::rebuild(&database, model.name, progress).await }
    });
    Ok(built.await?.len())
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, root, signed_by, keys, forgotten, without_key, read_models } = self;
        writeln!(f, "{events} events, as signed by {signed_by}")?;
        writeln!(f, "root of the tree over them: {root}")?;
        write!(f, "{keys} keys of people")?;
        if *forgotten > 0 {
            write!(f, "; {forgotten} left out, since their people are forgotten")?;
        }
        if *without_key > 0 {
            write!(f, "; {without_key} people have none, and their personal fields cannot be read")?;
        }
        write!(f, "\n{read_models} read models are built")
    }
}
