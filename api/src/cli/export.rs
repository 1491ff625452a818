//! `tradepost export`: the log and the read models as files.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{NaiveDate, NaiveTime};
use clap::Args;
use domain::Timestamp;
use eventstore::proof::Hash;
use eventstore::proof::keys::{KeyRing, PublicKey};
use eventstore::proof::leaf::Blinding;
use eventstore::transfer::{self, beside};
use eventstore::{Position, log};
use indicatif::{ProgressBar, ProgressStyle};
use projections::rebuild::Pace;
use serde::Serialize;
use sqlx::{Connection, PgConnection};

use super::output::show;
use super::{Failure, Place, secret, stop_signals};
use crate::app::STATELESS;
use crate::config::{Config, proof_keys};
use crate::export::files::Folder;
use crate::export::log::LogFiles;
use crate::export::manifest::{self, LogNote, Manifest, Title, VERSION};
use crate::export::models::{ModelFiles, Run};
use crate::export::{ExportError, Format, kept, models};

/// Write the log and the read models out as files, with a signed manifest.
///
/// Events go to `log/date=2026-11-22/`, as CloudEvents in NDJSON or as Parquet, with every column of the table; tables of
/// read models to `models/<model>/<table>/date=2026-11-22/`, as they are on the day of the export. What the log has sealed stays
/// sealed, and columns of read models that may tell of persons are left out; the manifest names them.
///
/// Goes on beside running nodes. Interrupted, the next call with the same folder goes on where this one ended; and one that
/// was finished is continued with what has come since, so that a call a day keeps a folder up to date; but not with another
/// log, nor with one that was put back to an earlier state. At the end
/// `manifest.json` names every file with its SHA-256 and is signed with the key that signs tree heads.
///
/// Into another database: `tradepost import-log`, with the keys of people from `tradepost keys export`.
///
/// Examples:
///   tradepost export --to backup
///   tradepost export --to lake --format parquet
///   tradepost export --to november --log --from 2026-11-01 --until 2026-12-01
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Export {
    /// The folder; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// How files are written.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// The first event: a position, or a time or day at or after which it was decided. The log's first unless told.
    #[arg(long, value_name = "POINT")]
    from: Option<Point>,
    /// Up to which event: a position, or a time or day before which it was decided. Up to the log's end unless told.
    ///
    /// Goes on to the end of the unit of work: what was committed at once is exported at once.
    #[arg(long, value_name = "POINT")]
    until: Option<Point>,
    /// Only the log.
    #[arg(long, conflicts_with = "models")]
    log: bool,
    /// Only the read models.
    #[arg(long, conflicts_with_all = ["from", "until"])]
    models: bool,
    /// Tell what was written as JSON.
    #[arg(long)]
    json: bool,
}

/// A place in the log, by position or by time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Point {
    At(Position),
    Since(Timestamp),
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = text.parse().ok().filter(|position| *position >= 1).map(Self::At);
        let time = || text.parse().ok().map(Self::Since);
        let day = || text.parse::<NaiveDate>().ok().map(|day| Self::Since(day.and_time(NaiveTime::MIN).and_utc()));
        let point = position.or_else(time).or_else(day);
        point.ok_or_else(|| {
            "it is neither a position from 1, nor a time such as 2026-11-22T10:00:00Z, nor a day".to_owned()
        })
    }
}

impl Point {
    /// The position of the first event from there on.
    async fn first(self, connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
        match self {
            Self::At(position) => Ok(position),
            Self::Since(at) => transfer::first_since(connection, at).await,
        }
    }

    /// The position of the last event up to there.
    async fn last(self, connection: &mut PgConnection) -> Result<Position, sqlx::Error> {
        match self {
            Self::At(position) => Ok(position),
            Self::Since(at) => Ok(transfer::first_since(connection, at).await? - 1),
        }
    }
}

/// What was written.
#[derive(Debug, Serialize)]
struct Exported {
    folder: PathBuf,
    format: Format,
    log: Option<ExportedLog>,
    models: Vec<ExportedModel>,
    signed_by: PublicKey,
}

/// What of the log is in the folder.
#[derive(Debug, Serialize)]
struct ExportedLog {
    from: Position,
    to: Position,
    /// How many of these events this call has added.
    added: i64,
    files: usize,
    root: Hash,
}

/// A read model that is in the folder as of today.
#[derive(Debug, Serialize)]
struct ExportedModel {
    model: String,
    position: Position,
    rows: u64,
}

impl Export {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let stop = stop_signals()?;
        let place = Place::beside(config).await?;
        let done = match stop.run_until_cancelled(self.export(&place, config)).await {
            Some(exported) => exported,
            None => Err("interrupted: the next call with the same folder goes on from here".into()),
        };
        let exported = place.leave(done).await?;
        show(self.json, &exported, &exported)
    }

    async fn export(&self, place: &Place, config: &Config) -> Result<Exported, Failure> {
        let keys = proof_keys(config, &secret(config)?)?;
        let folder = Folder::claim(&self.to)?;
        let before = self.before(&folder, &keys)?;
        let finished = before.as_ref().map(|before| before.made_at);
        let (before_log, former) = before.map(|before| (before.log, before.models)).unwrap_or_default();
        let mut owner = place.database.connect_as_owner().await?;
        let now: Timestamp = sqlx::query_scalar("select now()").fetch_one(&mut owner).await?;
        let (log, added) = if self.models {
            (before_log, 0)
        } else {
            let (log, added) = self.export_log(&mut owner, &folder, before_log.as_ref(), keys.blinding(), now).await?;
            (Some(log), added)
        };
        let mut models = models::whole(&folder, former)?;
        let run = if self.log { None } else { Some(Run::begin(&folder, self.format, now, finished)?) };
        let mut written = Vec::new();
        if let Some(run) = &run {
            written = export_models(&mut owner, &folder, run).await?;
            models.retain(|model| model.day != run.day());
            models.extend(written.clone());
        }
        owner.close().await?;
        let manifest = Manifest {
            kind: Title::Export,
            version: VERSION,
            software: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: now,
            format: self.format,
            log,
            models,
        };
        folder.write(manifest::NAME, manifest::sign(&manifest, keys.current())?.as_bytes())?;
        if run.is_some() {
            models::end(&folder)?;
        }
        folder.keep(&manifest.beside_the_log())?;
        let log = manifest.log.as_ref().map(|log| ExportedLog {
            from: log.from,
            to: log.to,
            added,
            files: log.files.len(),
            root: log.root,
        });
        let exported = written.into_iter().map(|model| ExportedModel {
            rows: model.tables.iter().map(|table| table.file.rows).sum(),
            position: model.position,
            model: model.model,
        });
        Ok(Exported {
            folder: self.to.clone(),
            format: self.format,
            log,
            models: exported.collect(),
            signed_by: keys.current().public(),
        })
    }

    /// What the folder tells of itself, if an export was finished in it.
    fn before(&self, folder: &Folder, keys: &KeyRing) -> Result<Option<Manifest>, ExportError> {
        let Some(text) = folder.text(manifest::NAME)? else { return Ok(None) };
        let (before, _) = manifest::open(&text, Some(&keys.public()))
            .map_err(|why| ExportError::Manifest { path: self.to.join(manifest::NAME), why })?;
        if before.format != self.format {
            return Err(ExportError::other_format(before.format, self.format));
        }
        Ok(Some(before))
    }

    /// Adds to the folder what it has not of the log, beside what the manifest has `told`.
    async fn export_log(
        &self,
        owner: &mut PgConnection,
        folder: &Folder,
        told: Option<&LogNote>,
        blinding: &Blinding,
        now: Timestamp,
    ) -> Result<(LogNote, i64), Failure> {
        // Before the log's end is looked at, so that nobody is said to have come further than what is exported.
        let processes = beside::checkpoints(&mut *owner, &STATELESS).await?;
        let mailed = beside::position_of(&mut *owner, commands::mail::NAME).await?.unwrap_or(0);
        let from = match self.from {
            Some(point) => Some(point.first(owner).await?),
            None => None,
        };
        let mut files = LogFiles::find(owner, folder, (self.format, from), told, blinding).await?;
        let before = files.to;
        let until = match self.until {
            Some(point) => {
                let last = point.last(owner).await?;
                transfer::end_of_unit(owner, last).await?
            }
            None => log::head(&mut *owner).await?,
        };
        let mut shown = shown("events");
        let mut progress = |reached| shown(reached - before, until - before);
        files.write(owner, folder, (until, blinding), &mut progress).await?;
        let stretch = (files.from, files.to);
        let command_keys = kept::write_answers(owner, folder, stretch, now).await?;
        let skipped_events = kept::write_skipped(owner, folder, files.to, now).await?;
        let LogFiles { from, to, stretches, edge, .. } = files;
        let root = edge.root();
        let note = LogNote { from, to, root, files: stretches, command_keys, skipped_events, processes, mailed };
        Ok((note, to - before))
    }
}

/// Writes the read models that are not written yet; answers with all of them.
async fn export_models(owner: &mut PgConnection, folder: &Folder, run: &Run) -> Result<Vec<ModelFiles>, Failure> {
    let (all, done) = (projections::ALL, models::done(folder)?);
    let (mut shown, goal) = (shown("read models"), i64::try_from(all.len()).unwrap_or_default());
    for (number, model) in (1..).zip(&all) {
        if !done.iter().any(|done| done.model == model.name) {
            models::write(owner, folder, run, model).await?;
        }
        shown(number, goal);
    }
    Ok(models::done(folder)?)
}

/// Shows how many of so many are done: a bar on a terminal, otherwise a line every few seconds on standard error.
pub(super) fn shown(what: &'static str) -> impl FnMut(i64, i64) + Send {
    let template = format!("[{{bar:30}}] {{pos}}/{{len}} {what}, {{msg}}");
    // The template is ours and right; a bar without it would do.
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = Bar(ProgressBar::new(0).with_style(style));
    let (own, mut lines) = (Pace::begin(), Pace::begin());
    move |done: i64, goal: i64| {
        bar.0.set_length(goal.unsigned_abs());
        bar.0.set_position(done.unsigned_abs());
        let pace = format!("{} a second, {} s left", own.events_per_s(done), own.left_s(done, goal));
        if bar.0.is_hidden() && lines.is_time_to_tell() {
            eprintln!("{done} of {goal} {what}, {pace}");
        }
        bar.0.set_message(pace);
    }
}

/// A bar that goes when whoever moves it ends.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, log, models, signed_by, .. } = self;
        if let Some(ExportedLog { from, to, added, files, root }) = log {
            writeln!(f, "log: positions {from} to {to} in {files} files, {added} of them new")?;
            writeln!(f, "root of the tree up to there: {root}")?;
        }
        for ExportedModel { model, position, rows } in models {
            writeln!(f, "{model}: {rows} rows at position {position}")?;
        }
        write!(f, "{} is signed by {signed_by}", folder.join(manifest::NAME).display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_position_a_time_or_a_day() {
        let at = |text: &str| Point::Since(text.parse().unwrap());
        assert_eq!("42".parse(), Ok(Point::At(42)));
        assert_eq!("2026-11-22T10:00:00Z".parse(), Ok(at("2026-11-22T10:00:00Z")));
        assert_eq!("2026-11-22T15:00:00+05:00".parse(), Ok(at("2026-11-22T10:00:00Z")));
        assert_eq!("2026-11-22".parse(), Ok(at("2026-11-22T00:00:00Z")));
        for text in ["0", "-1", "yesterday", "2026-13-01", ""] {
            assert!(text.parse::<Point>().is_err(), "{text}");
        }
    }
}
