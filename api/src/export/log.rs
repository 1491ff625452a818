//! Events into files: a folder for each day, in it a file for each stretch of the log.
//!
//! A file bears the position of its first event, and ends with the day or when it is large. What is said of it is written
//! after it, so a call that finds files goes on after the last of them, and tomorrow's call adds what has come since.
//!
//! **Invariant:** what is signed is what is in the database: the root of the Merkle tree over what a folder holds is compared
//! with that over the log here before anything is added.

use eventstore::proof::StoredEvent;
use eventstore::proof::leaf::Blinding;
use eventstore::proof::tree::Edge;
use eventstore::transfer::{self, Flaw, PAGE};
use eventstore::{Position, log};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::files::{FileNote, Folder};
use super::manifest::LogNote;
use super::source::Events;
use super::table::{Sink, event_columns, event_row};
use super::{ExportError, Format, Progress, cloudevents, day};

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
    /// Of the tree over the log up to there.
    pub(crate) edge: Edge,
}

impl LogFiles {
    /// Finds what is there in a folder, and makes sure that it is of this log; begins at `from`, or with the log, where
    /// there is nothing. `told` is what the manifest tells: other files are read, event by event.
    pub(crate) async fn find(
        connection: &mut PgConnection,
        folder: &Folder,
        (format, from): (Format, Option<Position>),
        told: Option<&LogNote>,
        blinding: &Blinding,
    ) -> Result<Self, ExportError> {
        let parts: Vec<Part> = folder.parts("log-")?;
        let begin = parts.first().map_or(from.unwrap_or(1), |part| part.stretch.from);
        if let Some(asked) = from.filter(|asked| *asked != begin) {
            return Err(ExportError::Unfit(format!(
                "the export in this folder begins at position {begin}, not at {asked}: leave --from out, or export into \
                 another folder"
            )));
        }
        let mut found = Self { format, from: begin, to: begin - 1, stretches: Vec::new(), edge: Edge::default() };
        for part in parts {
            found.add(folder, part)?;
        }
        let head = log::head(&mut *connection).await?;
        if found.to > head {
            return Err(ExportError::Unfit(match found.stretches.len() {
                0 => format!("the log ends at position {head}: nothing can begin at {begin}"),
                _ => another_log(&format!("it goes up to position {}, and the log here ends at {head}", found.to)),
            }));
        }
        found.compare(connection, folder, told, blinding).await?;
        Ok(found)
    }

    fn add(&mut self, folder: &Folder, part: Part) -> Result<(), ExportError> {
        let Part { format, stretch } = part;
        if format != self.format {
            return Err(ExportError::other_format(format, self.format));
        }
        let follows = stretch.from == self.to + 1 && stretch.to >= stretch.from;
        if !follows || !folder.has(&stretch.file)? {
            return Err(altered(folder, &stretch)?);
        }
        self.to = stretch.to;
        self.stretches.push(stretch);
        Ok(())
    }

    /// Compares the tree over what the folder holds with that over the log here.
    async fn compare(
        &mut self,
        connection: &mut PgConnection,
        folder: &Folder,
        told: Option<&LogNote>,
        blinding: &Blinding,
    ) -> Result<(), ExportError> {
        let told = told.filter(|log| !log.files.is_empty());
        if told.is_some_and(|log| !self.stretches.starts_with(&log.files)) {
            let what = "`parts` lacks files of the log that the manifest names: export into another folder";
            return Err(ExportError::Unfit(what.to_owned()));
        }
        let signed = told.map_or(self.from - 1, |log| log.to);
        let mut edge = transfer::edge_at(&mut *connection, signed, blinding).await?;
        if told.is_some_and(|log| log.root != edge.root()) {
            return Err(ExportError::Unfit(another_log(&format!(
                "up to position {signed} the events are others here"
            ))));
        }
        for stretch in self.stretches.iter().skip(told.map_or(0, |log| log.files.len())) {
            let Ok(path) = folder.check(&stretch.file) else { return Err(altered(folder, stretch)?) };
            let mut events = Events::open(self.format, path)?;
            while let Some(page) = events.next()? {
                for event in &page {
                    edge.push(event.blinded(blinding), |_, _| {});
                }
            }
            let here = transfer::edge_at(&mut *connection, stretch.to, blinding).await?;
            if (edge.size(), edge.root()) != (here.size(), here.root()) {
                let what = format!("{} has other events than the log here", stretch.file.path);
                return Err(ExportError::Unfit(another_log(&what)));
            }
        }
        self.edge = edge;
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
                self.edge.push(event.blinded(blinding), |_, _| {});
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
        let part = Part { format: self.format, stretch };
        folder.write(&name, &serde_json::to_vec(&part)?)?;
        Ok(())
    }
}

/// Why a folder is not gone on with that holds something else than this log.
fn another_log(why: &str) -> String {
    format!(
        "the export in this folder is of another log, or this database was put back to an earlier state ({why}): keep the \
         folder, and export into another"
    )
}

fn altered(folder: &Folder, stretch: &Stretch) -> Result<ExportError, ExportError> {
    let path = folder.place(&stretch.file.path)?;
    let what =
        "it does not go on where the file before it ends, or is not what was written; export into another folder";
    Ok(ExportError::Altered { path, what: what.to_owned() })
}

/// A file of events on its way to be whole.
struct EventsDraft {
    day: String,
    from: Position,
    events: u64,
    bytes: usize,
    sink: Sink,
}

impl EventsDraft {
    fn begin(folder: &Folder, format: Format, day: String, from: Position) -> Result<Self, ExportError> {
        let sink =
            Sink::begin(folder, &format!("log/date={day}/events-{from:020}"), format, ("event", event_columns()))?;
        Ok(Self { day, from, events: 0, bytes: 0, sink })
    }

    fn is_full(&self) -> bool {
        self.events >= FILE_EVENTS || self.bytes >= FILE_BYTES
    }

    fn push(&mut self, event: StoredEvent) -> Result<(), ExportError> {
        self.events += 1;
        self.bytes += event.payload.len() + event.metadata.len();
        let position = event.position;
        self.sink.push(
            event,
            |event| cloudevents::write(&event),
            |event| event_row(event).ok_or_else(|| Flaw::Time(position).into()),
        )
    }

    fn finish(self) -> Result<Stretch, ExportError> {
        let file = self.sink.finish(self.events)?;
        let to = self.from + i64::try_from(self.events).unwrap_or_default() - 1;
        Ok(Stretch { file, from: self.from, to })
    }
}
