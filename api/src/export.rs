//! The log and the read models as files: for other systems, for analysts, and for another database.
//!
//! A folder holds one export. [`log`] writes events into `log/date=…/`, [`models`] the tables of read models into
//! `models/<model>/<table>/date=…/`, as NDJSON ([`cloudevents`]) or Parquet ([`table`]); [`kept`] what belongs to the log
//! beside it into `beside/`. Every file that is whole is told of in `parts/`, so what was interrupted goes on; at the end
//! [`manifest`] says what belongs to the export, with a hash of each file, and is signed. [`source`] reads a folder back.
//!
//! **Invariant:** nothing personal is written in clear but what the log itself has in clear, from earlier versions
//! ([`domain::OnceClear`]). Of read models only those columns are written of which [`columns`] says that they may be.

use std::io;
use std::path::{Path, PathBuf};

use domain::Timestamp;
use eventstore::Position;
use eventstore::transfer::Flaw;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) mod cloudevents;
pub mod columns;
pub(crate) mod files;
pub(crate) mod kept;
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod models;
pub(crate) mod source;
pub(crate) mod table;

/// How what is exported is written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// A JSON object a line; events as `CloudEvents`.
    Ndjson,
    /// Tables by columns, compressed with Snappy.
    Parquet,
}

impl Format {
    /// How files of it end.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }
}

/// Why something was not exported, or cannot be read back.
#[derive(Debug, Error)]
pub(crate) enum ExportError {
    /// A file or folder.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// A file is not what it says, or what the manifest says of it.
    #[error("{}: {what}", path.display())]
    Altered {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody else is at it.
    #[error("somebody else is exporting into {}", .0.display())]
    Busy(PathBuf),
    /// What is asked for does not go with what is there.
    #[error("{0}")]
    Unfit(String),
    /// The manifest is not to be believed.
    #[error("{}: {why}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        why: manifest::ManifestFault,
    },
    /// The log is not whole.
    #[error("the log cannot be exported: {0}; `tradepost verify` tells more")]
    Flaw(#[from] Flaw),
    /// The database.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// Parquet.
    #[error("Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A value cannot be written as JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl ExportError {
    /// Names the file that it is about, where it does not yet.
    pub(crate) fn of(self, path: &Path) -> Self {
        match self {
            Self::Parquet(error) => Self::Altered { path: path.to_owned(), what: format!("Parquet: {error}") },
            Self::Unfit(what) => Self::Altered { path: path.to_owned(), what },
            other => other,
        }
    }

    /// What is there is in one format, and another is asked for.
    pub(crate) fn other_format(there: Format, asked: Format) -> Self {
        Self::Unfit(format!(
            "the export in this folder is in {}: an export in {} needs another folder",
            there.ending(),
            asked.ending()
        ))
    }
}

/// What is told while something goes on: up to where it has come.
pub(crate) type Progress<'a> = &'a mut (dyn FnMut(Position) + Send);

/// The day of a time, as the names of folders have it.
pub(crate) fn day(at: Timestamp) -> String {
    at.format("%Y-%m-%d").to_string()
}
