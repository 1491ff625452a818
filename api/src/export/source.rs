//! An export that is read back: the manifest first, then every file, only after its hash is found to be right.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use eventstore::proof::StoredEvent;
use eventstore::proof::keys::PublicKey;
use serde::de::DeserializeOwned;

use super::files::{FileNote, Folder};
use super::log::Stretch;
use super::manifest::{self, Manifest, ManifestFault};
use super::table::EventFile;
use super::{ExportError, Format, cloudevents};

/// How many lines are read at once.
const PAGE: usize = 5_000;
/// The most bytes of lines that are read at once.
const PAGE_BYTES: usize = 32 << 20;

/// An export, and who has signed it.
#[derive(Debug)]
pub(crate) struct Source {
    folder: Folder,
    pub(crate) manifest: Manifest,
    pub(crate) signed_by: PublicKey,
}

impl Source {
    /// Opens a folder, and believes one of these keys, or whichever has signed it if none is given.
    pub(crate) fn open(path: &Path, believed: Option<&[PublicKey]>) -> Result<Self, ExportError> {
        let folder = Folder::open(path)?;
        let fault = |why| ExportError::Manifest { path: path.join(manifest::NAME), why };
        let text = folder.text(manifest::NAME)?.ok_or(ManifestFault::Missing).map_err(fault)?;
        let (manifest, signed_by) = manifest::open(&text, believed).map_err(fault)?;
        Ok(Self { folder, manifest, signed_by })
    }

    /// The events of a file.
    pub(crate) fn events(&self, stretch: &Stretch) -> Result<Events, ExportError> {
        let path = self.folder.check(&stretch.file)?;
        Ok(match self.manifest.format {
            Format::Ndjson => Events::Ndjson(Lines::open(path)?),
            Format::Parquet => Events::Parquet(Box::new(EventFile::open(&path)?)),
        })
    }

    /// The rows of a file of NDJSON.
    pub(crate) fn lines(&self, note: &FileNote) -> Result<Lines, ExportError> {
        Lines::open(self.folder.check(note)?)
    }
}

/// The events of a file, some at a time.
pub(crate) enum Events {
    Ndjson(Lines),
    Parquet(Box<EventFile>),
}

impl Events {
    /// The next of them; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<StoredEvent>>, ExportError> {
        match self {
            Self::Ndjson(lines) => lines.next_by(cloudevents::read),
            Self::Parquet(file) => file.next(),
        }
    }
}

/// The lines of a file, some at a time.
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: usize,
}

impl Lines {
    /// Opens a file.
    pub(crate) fn open(path: PathBuf) -> Result<Self, ExportError> {
        match File::open(&path) {
            Ok(file) => Ok(Self { path, reader: BufReader::new(file), line: 0 }),
            Err(error) => Err(ExportError::File { path, error }),
        }
    }

    /// The next rows; nothing at the end.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Vec<T>>, ExportError> {
        self.next_by(|line| serde_json::from_str(line).map_err(|error| error.to_string()))
    }

    fn next_by<T>(&mut self, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<Vec<T>>, ExportError> {
        let (mut rows, mut line, mut bytes) = (Vec::new(), String::new(), 0);
        while rows.len() < PAGE && bytes < PAGE_BYTES {
            line.clear();
            let length = self.reader.read_line(&mut line);
            let length = length.map_err(|error| ExportError::File { path: self.path.clone(), error })?;
            if length == 0 {
                break;
            }
            (self.line, bytes) = (self.line + 1, bytes + length);
            let row = read(line.trim_end_matches('\n')).map_err(|what| ExportError::Altered {
                path: self.path.clone(),
                what: format!("line {}: {what}", self.line),
            })?;
            rows.push(row);
        }
        Ok((!rows.is_empty()).then_some(rows))
    }
}
