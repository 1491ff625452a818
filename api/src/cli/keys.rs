//! `tradepost keys`: with which keys those of people are wrapped, wrapping them all with the current one, and taking them to
//! another database.

use std::fmt;
use std::path::PathBuf;

use clap::Subcommand;
use eventstore::wrapping::rows::{self, Census, Refused, RewrapError, Rewrapped, Wrapped};
use sqlx::Connection;

use super::export::shown;
use super::output::{Output, show};
use super::{Failure, Place, stop_signals};
use crate::config::Config;

mod carried;

pub(super) use carried::{carrier, read_carried};

/// How many rows that do not open are named.
const NAMED: usize = 10;

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Count the keys of people by what they are wrapped with.
    ///
    /// Ends with an error if there are some that could not be opened with the keys of this configuration: a node with it
    /// would not start.
    Status {
        #[command(flatten)]
        output: Output,
    },
    /// Wrap with the current key every key of a person that is not yet.
    ///
    /// Reads and writes go on meanwhile. Every node must have been given the current key before. Interrupted, it has done
    /// a part, and the next call does the rest.
    Rewrap {
        #[command(flatten)]
        output: Output,
    },
    /// Write the keys of people into a file, each wrapped, to go with an export of the log.
    ///
    /// With the file, its wrapping key and the log everything can be read that anybody has said of themselves: keep the
    /// three apart. Whoever is forgotten later is still in it, so delete it when its export is deleted. `tradepost
    /// import-log` reads it.
    ///
    /// Example:
    ///   openssl rand -hex 32 > carrier.key && chmod 600 carrier.key
    ///   tradepost keys export --to people.keys --wrapping-key-file carrier.key
    #[command(verbatim_doc_comment)]
    Export {
        /// A new file.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// The file with the key to wrap them with; that of this configuration unless told.
        #[arg(long, value_name = "FILE")]
        wrapping_key_file: Option<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
}

impl Keys {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let place = Place::beside(config).await?;
        let done = self.run_at(&place).await;
        place.leave(done).await
    }

    async fn run_at(self, place: &Place) -> Result<(), Failure> {
        place.database.migrate().await?;
        match self {
            Self::Status { output } => status(place, output.json).await,
            Self::Rewrap { output } => rewrap(place, output.json).await,
            Self::Export { to, wrapping_key_file, output } => {
                let carrier = match wrapping_key_file {
                    Some(file) => carrier(&file)?,
                    None => place.database.wrapping().clone(),
                };
                let stop = stop_signals()?;
                let written = stop.run_until_cancelled(carried::export(place, &to, &carrier, output.json)).await;
                written.unwrap_or_else(|| Err("interrupted: no keys were written".into()))
            }
        }
    }
}

async fn status(place: &Place, json: bool) -> Result<(), Failure> {
    let mut owner = place.database.connect_as_owner().await?;
    let census = Census::take(&mut owner, place.database.wrapping()).await?;
    owner.close().await?;
    show(json, &census, Told(&census))?;
    Ok(census.check()?)
}

async fn rewrap(place: &Place, json: bool) -> Result<(), Failure> {
    let (wrapping, stop) = (place.database.wrapping(), stop_signals()?);
    let mut owner = place.database.connect_as_owner().await?;
    // A key that was left out of the configuration is told before anything is changed.
    Census::take(&mut owner, wrapping).await?.check()?;
    let rewrapping = rows::rewrap(&mut owner, wrapping, shown("keys"));
    let Some(rewrapped) = stop.run_until_cancelled(rewrapping).await else {
        return Err("interrupted: a part is wrapped with the current key, and the next call does the rest".into());
    };
    let rewrapped = match rewrapped {
        Err(RewrapError::NoCurrentKey) => {
            let sentence = "there is no key to wrap with: set sealing.wrapping_key or sealing.wrapping_key_file, here and \
                on every node; `openssl rand -hex 32` makes one";
            return Err(sentence.into());
        }
        other => other?,
    };
    owner.close().await?;
    let Rewrapped { rewrapped: done, refused, left } = &rewrapped;
    let lines = refused.iter().take(NAMED).map(|Refused { reason, .. }| format!("\n{reason}"));
    show(json, &rewrapped, format!("{done} rewrapped, {left} left{}", lines.collect::<String>()))?;
    match (refused.len(), left) {
        (0, 0) => Ok(()),
        (0, left) => Err(format!(
            "{left} keys of people are not wrapped with the current key: somebody was at them, or a node wraps with \
             another; once every node has the current key, call this again"
        )
        .into()),
        (refused, _) => Err(format!("{refused} keys of people do not open and were left as they are").into()),
    }
}

/// A census, for people.
struct Told<'a>(&'a Census);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Census { current, former, raw, unknown, unreadable } = self.0;
        match current {
            Some(Wrapped { key, rows }) => write!(f, "current {key}   {rows}")?,
            None => write!(f, "current           no key: new ones are stored as they are")?,
        }
        for Wrapped { key, rows } in former {
            write!(f, "\nformer  {key}   {rows}")?;
        }
        write!(f, "\nas they are        {raw}")?;
        for Wrapped { key, rows } in unknown {
            write!(f, "\nunknown {key}   {rows}")?;
        }
        if *unreadable > 0 {
            write!(f, "\nunreadable         {unreadable}")?;
        }
        Ok(())
    }
}
