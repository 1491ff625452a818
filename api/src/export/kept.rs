//! What belongs to the log and is not in it, as NDJSON in the folder `beside`.

use std::io::Write as _;

use domain::Timestamp;
use eventstore::Position;
use eventstore::transfer::beside;
use sqlx::PgConnection;

use super::ExportError;
use super::files::{FileNote, Folder};

/// How many answers are read at once.
const PAGE: i64 = 5_000;

/// Where this is for the log up to a position. Another call writes other files, also where the log has not grown, so a
/// manifest is right until there is the next.
fn name(what: &str, to: Position, call: Timestamp) -> String {
    format!("beside/{what}-{to:020}-{}.ndjson", call.timestamp_micros())
}

/// Writes the answers to all commands of a stretch of the log.
pub(crate) async fn write_answers(
    connection: &mut PgConnection,
    folder: &Folder,
    (from, to): (Position, Position),
    call: Timestamp,
) -> Result<FileNote, ExportError> {
    // A command that has led to nothing has the position of the event before it.
    let stretch = (from - 1, to);
    let (mut draft, mut rows, mut last) = (folder.begin(&name("command_keys", to, call))?, 0, None::<String>);
    loop {
        let page = beside::answers(&mut *connection, stretch, last.as_deref(), PAGE).await?;
        let Some(furthest) = page.last() else { break };
        last = Some(furthest.key.clone());
        rows += page.len() as u64;
        for answer in &page {
            let line = serde_json::to_string(answer)?;
            writeln!(draft, "{line}").map_err(|error| draft.failed(error))?;
        }
    }
    draft.finish(rows)
}

/// Writes what followers have left out for good.
pub(crate) async fn write_skipped(
    connection: &mut PgConnection,
    folder: &Folder,
    to: Position,
    call: Timestamp,
) -> Result<FileNote, ExportError> {
    let (mut draft, rows) = (folder.begin(&name("skipped_events", to, call))?, beside::skipped(connection, to).await?);
    for row in &rows {
        let line = serde_json::to_string(row)?;
        writeln!(draft, "{line}").map_err(|error| draft.failed(error))?;
    }
    draft.finish(rows.len() as u64)
}
