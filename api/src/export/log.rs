//! Events into files: a folder for each day, in it a file for each stretch of the log.
//!
//! A file bears the position of its first event, and ends with the day or when it is large. What is said of it is written
//! after it, with what the Merkle tree over the log has come to; so a call that finds files goes on after the last of
//! them, and tomorrow's call adds what has come since.

use std::io::Write as _;

use eventstore::Position;
use eventstore::proof::StoredEvent;
use eventstore::proof::leaf::Blinding;
use eventstore::transfer::{self, Flaw, Frontier};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::files::{Draft, FileNote, Folder};
use super::table::{TableWriter, event_columns, event_row};
use super::{ExportError, Format, Progress, cloudevents, day};

/// How many events are read at once: a request may have made one of them a megabyte long.
const PAGE: i64 = 500;
/// The most events of a file.
const FILE_EVENTS: u64 = 500_000;
/// The most bytes of payloads in a file, about.
const FILE_BYTES: usize = 256 << 20;

/// What is said of a file of events.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stretch {
    pub(crate) file: FileNote,
    /// The position of its first event.
    pub(crate) from: Position,
    /// The position of its last.
    pub(crate) to: Position,
}

/// What is remembered of a file that is whole.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Part {
    format: Format,
    stretch: Stretch,
    /// The tree over the log up to its end; nothing where the export does not begin with the log.
    frontier: Option<Frontier>,
}

/// What of the log is in a folder.
#[derive(Debug)]
pub(crate) struct LogFiles {
    format: Format,
    /// The first position.
    pub(crate) from: Position,
    /// The last position.
    pub(crate) to: Position,
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) frontier: Option<Frontier>,
}

impl LogFiles {
    /// Finds what is there in a folder; begins at `from`, or with the log, where there is nothing. Files of which the
    /// manifest does not tell yet are looked at, byte for byte.
    pub(crate) fn find(
        folder: &Folder,
        format: Format,
        from: Option<Position>,
        told: &[Stretch],
    ) -> Result<Self, ExportError> {
        let parts: Vec<Part> = folder.parts("log-")?;
        let begin = parts.first().map_or(from.unwrap_or(1), |part| part.stretch.from);
        if let Some(asked) = from.filter(|asked| *asked != begin) {
            return Err(ExportError::Unfit(format!(
                "the export in this folder begins at position {begin}, not at {asked}: leave --from out, or export into \
                 another folder"
            )));
        }
        let frontier = (begin == 1).then(Frontier::default);
        let mut found = Self { format, from: begin, to: begin - 1, stretches: Vec::new(), frontier };
        for part in parts {
            found.add(folder, part, told)?;
        }
        Ok(found)
    }

    fn add(&mut self, folder: &Folder, part: Part, told: &[Stretch]) -> Result<(), ExportError> {
        let Part { format, stretch, frontier } = part;
        if format != self.format {
            return Err(ExportError::Unfit(format!(
                "the export in this folder is in {}: an export in {} needs another folder",
                format.ending(),
                self.format.ending(),
            )));
        }
        let as_many = |tree: &Frontier| tree.is_whole() && tree.size() == stretch.to.unsigned_abs();
        let follows = stretch.from == self.to + 1
            && stretch.to >= stretch.from
            && frontier.is_some() == self.frontier.is_some()
            && frontier.as_ref().is_none_or(as_many);
        let is_there =
            if told.contains(&stretch) { folder.has(&stretch.file)? } else { folder.check(&stretch.file).is_ok() };
        if !follows || !is_there {
            let path = folder.place(&stretch.file.path)?;
            let what =
                "it does not go on where the file before it ends, or is not what was written; export into another \
                folder"
                    .to_owned();
            return Err(ExportError::Altered { path, what });
        }
        self.to = stretch.to;
        self.frontier = frontier;
        self.stretches.push(stretch);
        Ok(())
    }

    /// Adds what the log has from there up to `until`, where a unit of work ends. In the tree over the log, leaves are
    /// blinded in this way.
    pub(crate) async fn write(
        &mut self,
        connection: &mut PgConnection,
        folder: &Folder,
        (until, blinding): (Position, &Blinding),
        progress: Progress<'_>,
    ) -> Result<(), ExportError> {
        let mut file: Option<EventsDraft> = None;
        let mut reached = self.to;
        while reached < until {
            let events = transfer::read(&mut *connection, reached, until, PAGE).await?;
            if events.is_empty() {
                return Err(Flaw::Gap { before: reached, found: until }.into());
            }
            for event in events {
                let StoredEvent { position, recorded_at, .. } = event;
                if position != reached + 1 {
                    return Err(Flaw::Gap { before: reached, found: position }.into());
                }
                let time = recorded_at.unix_us().and_then(chrono::DateTime::from_timestamp_micros);
                let today = day(time.ok_or(Flaw::Time(position))?);
                if let Some(full) = file.take_if(|file| file.day != today || file.is_full()) {
                    self.finish(folder, full)?;
                }
                let draft = match &mut file {
                    Some(draft) => draft,
                    none => none.insert(EventsDraft::begin(folder, self.format, today, position)?),
                };
                if let Some(frontier) = &mut self.frontier {
                    frontier.push(event.blinded(blinding));
                }
                draft.push(event)?;
                reached = position;
            }
            progress(reached);
        }
        file.map_or(Ok(()), |last| self.finish(folder, last))
    }

    fn finish(&mut self, folder: &Folder, draft: EventsDraft) -> Result<(), ExportError> {
        let stretch = draft.finish()?;
        self.to = stretch.to;
        self.stretches.push(stretch.clone());
        let name = format!("parts/log-{:020}.json", stretch.from);
        let part = Part { format: self.format, stretch, frontier: self.frontier.clone() };
        folder.write(&name, &serde_json::to_vec(&part)?)?;
        Ok(())
    }
}

/// A file of events on its way to be whole.
struct EventsDraft {
    day: String,
    from: Position,
    events: u64,
    bytes: usize,
    sink: Sink,
}

enum Sink {
    Ndjson(Box<Draft>),
    Parquet(Box<TableWriter<Draft>>),
}

impl EventsDraft {
    fn begin(folder: &Folder, format: Format, day: String, from: Position) -> Result<Self, ExportError> {
        let draft = folder.begin(&format!("log/date={day}/events-{from:020}.{}", format.ending()))?;
        let sink = match format {
            Format::Ndjson => Sink::Ndjson(Box::new(draft)),
            Format::Parquet => Sink::Parquet(Box::new(TableWriter::new(draft, "event", event_columns())?)),
        };
        Ok(Self { day, from, events: 0, bytes: 0, sink })
    }

    fn is_full(&self) -> bool {
        self.events >= FILE_EVENTS || self.bytes >= FILE_BYTES
    }

    fn push(&mut self, event: StoredEvent) -> Result<(), ExportError> {
        self.events += 1;
        self.bytes += event.payload.len() + event.metadata.len();
        let position = event.position;
        match &mut self.sink {
            Sink::Ndjson(draft) => {
                let line = cloudevents::write(&event)?;
                writeln!(draft, "{line}").map_err(|error| draft.failed(error))
            }
            Sink::Parquet(table) => table.push(event_row(event).ok_or(Flaw::Time(position))?),
        }
    }

    fn finish(self) -> Result<Stretch, ExportError> {
        let draft = match self.sink {
            Sink::Ndjson(draft) => *draft,
            Sink::Parquet(table) => table.finish()?,
        };
        let file = draft.finish(self.events)?;
        let to = self.from + i64::try_from(self.events).unwrap_or_default() - 1;
        Ok(Stretch { file, from: self.from, to })
    }
}
