//! A file with the keys of people: a line that says what it is, a line for each key, and a line that says how many there
//! were, so that a file that was cut is noticed.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use domain::AccountId;
use eventstore::sealing::PersonKey;
use eventstore::wrapping::carried::{self, Carried};
use eventstore::wrapping::{KeyId, Wrapping};
use serde::{Deserialize, Serialize};
use sqlx::Connection;

use crate::cli::output::show;
use crate::cli::{Failure, Place};

pub(in crate::cli) use crate::config::carrier;

/// The version of the format.
const VERSION: u32 = 1;
/// How many keys are read at once.
const PAGE: i64 = 1_000;

/// A line.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    TradepostPersonKeys { version: u32, wrapped_with: String },
    Key(Carried),
    End { keys: u64 },
}

/// What was written.
#[derive(Debug, Serialize)]
struct Exported {
    keys: u64,
    wrapped_with: KeyId,
}

/// A file that goes unless it was given another name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes the keys of all people into a new file that only its owner can read.
pub(super) async fn export(place: &Place, to: &Path, carrier: &Wrapping, json: bool) -> Result<(), Failure> {
    let Some(wrapped_with) = carrier.current() else {
        let sentence =
            "there is no key to wrap them with: give one with --wrapping-key-file; `openssl rand -hex 32` makes one";
        return Err(sentence.into());
    };
    if to.exists() {
        return Err(format!("{} is there already", to.display()).into());
    }
    let unfinished = Unfinished(to.with_added_extension("tmp"));
    let failed = |error| format!("{} cannot be written: {error}", to.display());
    // What a call has left that was killed; one that cannot be removed is not written into.
    let _ = fs::remove_file(&unfinished.0);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished.0).map_err(failed)?;
    let mut out = BufWriter::new(file);
    let mut write = |line: &Line| -> Result<(), Failure> {
        let line = serde_json::to_string(line)?;
        writeln!(out, "{line}").map_err(failed)?;
        Ok(())
    };
    write(&Line::TradepostPersonKeys { version: VERSION, wrapped_with: wrapped_with.to_string() })?;
    let mut owner = place.database.connect_as_owner().await?;
    let (mut last, mut keys): (Option<AccountId>, u64) = (None, 0);
    loop {
        let page = carried::page(&mut owner, place.database.wrapping(), last, PAGE).await?;
        let Some(furthest) = page.last() else { break };
        last = Some(furthest.account);
        for key in &page {
            let wrapped = Carried::wrap(key, carrier).ok_or("there is no key to wrap them with")?;
            write(&Line::Key(wrapped))?;
            keys += 1;
        }
    }
    write(&Line::End { keys })?;
    owner.close().await?;
    out.flush().map_err(failed)?;
    out.get_ref().sync_all().map_err(failed)?;
    fs::rename(&unfinished.0, to).map_err(failed)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    let told = format!("{keys} keys of people, wrapped with {wrapped_with}, are in {}", to.display());
    show(json, &Exported { keys, wrapped_with }, told)
}

/// Reads such a file; `take` gets each of the keys.
pub(in crate::cli) fn read_carried(
    from: &Path,
    carrier: &Wrapping,
    mut take: impl FnMut(&PersonKey),
) -> Result<(), Failure> {
    let wrong = |number: usize, what: &str| format!("{}, line {number}: {what}", from.display());
    let file = File::open(from).map_err(|error| format!("{} cannot be read: {error}", from.display()))?;
    let (mut keys, mut ended) = (0, false);
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| wrong(number, &error.to_string()))?;
        let line: Line = serde_json::from_str(&line).map_err(|error| wrong(number, &error.to_string()))?;
        match line {
            Line::TradepostPersonKeys { version: VERSION, .. } if number == 1 => {}
            Line::Key(wrapped) if number > 1 && !ended => {
                take(&wrapped.open(carrier).map_err(|error| wrong(number, &error.to_string()))?);
                keys += 1;
            }
            Line::End { keys: all } if number > 1 && !ended && all == keys => ended = true,
            Line::TradepostPersonKeys { .. } | Line::Key(_) | Line::End { .. } => {
                return Err(wrong(number, "it does not belong here").into());
            }
        }
    }
    if ended { Ok(()) } else { Err(format!("{} is cut: its last line is missing", from.display()).into()) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn written(lines: &[Line]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for line in lines {
            writeln!(file, "{}", serde_json::to_string(line).unwrap()).unwrap();
        }
        file
    }

    fn key(number: u128, carrier: &Wrapping) -> Line {
        Line::Key(Carried::wrap(&PersonKey::mint(AccountId(Uuid::from_u128(number))), carrier).unwrap())
    }

    fn head() -> Line {
        Line::TradepostPersonKeys { version: VERSION, wrapped_with: "00000000".to_owned() }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let carrier = Wrapping::new(Some("carrier"), &[]);
        let file = written(&[head(), key(1, &carrier), key(2, &carrier), Line::End { keys: 2 }]);
        let mut read = Vec::new();
        read_carried(file.path(), &carrier, |key| read.push(key.account.0.as_u128())).unwrap();
        assert_eq!(read, [1, 2]);
    }

    #[test]
    fn a_file_that_is_cut_or_for_another_key_is_refused() {
        let (carrier, other) = (Wrapping::new(Some("carrier"), &[]), Wrapping::new(Some("other"), &[]));
        for lines in [
            vec![],
            vec![head()],
            vec![head(), key(1, &carrier)],
            vec![head(), Line::End { keys: 1 }],
            vec![key(1, &carrier), Line::End { keys: 1 }],
            vec![head(), Line::End { keys: 0 }, key(1, &carrier)],
            vec![head(), head(), Line::End { keys: 0 }],
            vec![Line::TradepostPersonKeys { version: 2, wrapped_with: String::new() }, Line::End { keys: 0 }],
            vec![head(), key(1, &other), Line::End { keys: 1 }],
        ] {
            let shown = format!("{lines:?}");
            assert!(read_carried(written(&lines).path(), &carrier, |_| {}).is_err(), "{shown}");
        }
    }
}
