//! Files that are there as a whole or not at all, and what is said of them.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use eventstore::proof::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ExportError;

/// What a file ends with until it is whole.
const UNFINISHED: &str = "tmp";
/// Where an export puts what it writes.
const OURS: [&str; 4] = ["beside", "log", "models", "parts"];
/// How much of a file is read at once.
const CHUNK_BYTES: usize = 1 << 16;

/// What is said of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileNote {
    /// Where it is in the folder, with slashes.
    pub(crate) path: String,
    /// How long it is.
    pub(crate) bytes: u64,
    /// Its SHA-256.
    pub(crate) sha256: Hash,
    /// How many events, rows or lines are in it.
    pub(crate) rows: u64,
}

/// A folder that holds an export, or is to.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// While it is written to nobody else writes to it.
    _lock: Option<File>,
}

impl Folder {
    /// To read from.
    pub(crate) fn open(path: &Path) -> Result<Self, ExportError> {
        if !path.is_dir() {
            return Err(failed(path, io::Error::new(io::ErrorKind::NotFound, "there is no such folder")));
        }
        Ok(Self { path: path.to_owned(), _lock: None })
    }

    /// To write to, alone. Made if it is not there; what was begun in it and not finished is removed.
    pub(crate) fn claim(path: &Path) -> Result<Self, ExportError> {
        make(&path.join("parts"))?;
        let name = path.join("parts").join("lock");
        let lock = File::create(&name).map_err(|error| failed(&name, error))?;
        match lock.try_lock() {
            Ok(()) => {
                for folder in OURS {
                    sweep(&path.join(folder))?;
                }
                Ok(Self { path: path.to_owned(), _lock: Some(lock) })
            }
            Err(TryLockError::WouldBlock) => Err(ExportError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(&name, error)),
        }
    }

    /// Where a file of it is. Only within the folder.
    pub(crate) fn place(&self, name: &str) -> Result<PathBuf, ExportError> {
        let within = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || !within {
            return Err(ExportError::Altered { path: name.into(), what: "it is not in the folder".to_owned() });
        }
        Ok(self.path.join(name))
    }

    /// Begins a file.
    pub(crate) fn begin(&self, name: &str) -> Result<Draft, ExportError> {
        let path = self.place(name)?;
        if let Some(folder) = path.parent() {
            make(folder)?;
        }
        let unfinished = path.with_added_extension(UNFINISHED);
        let file = File::create(&unfinished).map_err(|error| failed(&unfinished, error))?;
        Ok(Draft { name: name.to_owned(), path, unfinished, file: BufWriter::new(file), hash: Sha256::new(), bytes: 0 })
    }

    /// Writes a file at once.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<FileNote, ExportError> {
        let mut draft = self.begin(name)?;
        draft.write_all(content).map_err(|error| failed(&draft.path, error))?;
        draft.finish(0)
    }

    /// The text of a file; nothing if it is not there.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, ExportError> {
        let path = self.place(name)?;
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Takes a file away, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), ExportError> {
        let path = self.place(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path, error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What is said of parts whose names begin so, in the order of the names.
    pub(crate) fn parts<T: DeserializeOwned>(&self, beginning: &str) -> Result<Vec<T>, ExportError> {
        let folder = self.path.join("parts");
        let entries = fs::read_dir(&folder).map_err(|error| failed(&folder, error))?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| failed(&folder, error))?.file_name();
            let name = name.to_string_lossy().into_owned();
            if name.starts_with(beginning) && Path::new(&name).extension().is_some_and(|extension| extension == "json")
            {
                names.push(name);
            }
        }
        names.sort();
        let mut parts = Vec::new();
        for name in names {
            let name = format!("parts/{name}");
            let text = self.text(&name)?.unwrap_or_default();
            let unreadable = |error: serde_json::Error| ExportError::Altered {
                path: self.path.join(&name),
                what: format!("it cannot be read ({error}); remove it, and what it tells of is exported again"),
            };
            parts.push(serde_json::from_str(&text).map_err(unreadable)?);
        }
        Ok(parts)
    }

    /// Whether a file is there, as long as is said.
    pub(crate) fn has(&self, note: &FileNote) -> Result<bool, ExportError> {
        Ok(fs::metadata(self.place(&note.path)?).is_ok_and(|found| found.is_file() && found.len() == note.bytes))
    }

    /// Ends with an error unless a file is, byte for byte, what is said of it. Answers where it is.
    pub(crate) fn check(&self, note: &FileNote) -> Result<PathBuf, ExportError> {
        let path = self.place(&note.path)?;
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        let (mut reader, mut hash, mut bytes) = (BufReader::new(file), Sha256::new(), 0_u64);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = reader.read(&mut chunk).map_err(|error| failed(&path, error))?;
            if read == 0 {
                break;
            }
            hash.update(&chunk[..read]);
            bytes += read as u64;
        }
        if (bytes, Hash(hash.finalize().into())) != (note.bytes, note.sha256) {
            let what = "it is not the file that was exported: its hash is another".to_owned();
            return Err(ExportError::Altered { path, what });
        }
        Ok(path)
    }
}

fn failed(path: &Path, error: io::Error) -> ExportError {
    ExportError::File { path: path.to_owned(), error }
}

fn make(folder: &Path) -> Result<(), ExportError> {
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))
}

/// Removes what was not finished in a folder, if it is there.
fn sweep(folder: &Path) -> Result<(), ExportError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| failed(folder, error))?,
    };
    for entry in entries {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if path.is_dir() {
            sweep(&path)?;
        } else if path.extension().is_some_and(|ending| ending == UNFINISHED) {
            fs::remove_file(&path).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(())
}

/// A file on its way to be whole.
#[derive(Debug)]
pub(crate) struct Draft {
    name: String,
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Draft {
    /// Puts it in its place, where it stays even if the power goes.
    pub(crate) fn finish(mut self, rows: u64) -> Result<FileNote, ExportError> {
        let done = self.file.flush().and_then(|()| {
            self.file.get_ref().sync_all()?;
            fs::rename(&self.unfinished, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        });
        match done {
            Ok(()) => {
                let sha256 = Hash(self.hash.finalize().into());
                Ok(FileNote { path: self.name, bytes: self.bytes, sha256, rows })
            }
            Err(error) => Err(ExportError::File { path: self.path, error }),
        }
    }

    /// A failure of it.
    pub(crate) fn failed(&self, error: io::Error) -> ExportError {
        ExportError::File { path: self.path.clone(), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_as_a_whole_with_its_hash_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::claim(place.path()).unwrap();
        let mut draft = folder.begin("log/date=2026-11-22/a").unwrap();
        draft.write_all(b"hello").unwrap();
        assert_eq!(folder.text("log/date=2026-11-22/a").unwrap(), None);
        let note = draft.finish(1).unwrap();
        assert_eq!(note.sha256.to_string(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
        assert!(folder.has(&note).unwrap() && folder.check(&note).is_ok());
        folder.write("log/date=2026-11-22/a", b"hellO").unwrap();
        assert!(folder.has(&note).unwrap() && folder.check(&note).is_err());
    }

    #[test]
    fn two_do_not_write_into_the_same_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::claim(place.path()).unwrap();
        assert!(matches!(Folder::claim(place.path()), Err(ExportError::Busy(_))));
        assert!(Folder::open(place.path()).is_ok(), "reading takes no lock");
        drop(folder);
        assert!(Folder::claim(place.path()).is_ok());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::claim(place.path()).unwrap();
        for name in ["", "../a", "/etc/passwd", "a/../../b", "."] {
            assert!(folder.place(name).is_err(), "{name}");
        }
        assert!(folder.place("a/b").is_ok());
    }
}
