//! What can be found, as sentences.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::Position;

/// Something that is not as it was.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "found", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each says it in its sentence, and the fields are places, ids and counts")]
pub enum Finding {
    /// An event says something else than it did.
    Altered { at: Position, event_id: Uuid, now: String },
    /// In its place is one that was never hashed.
    Replaced { at: Position, event_id: Uuid, by: Uuid, now: String },
    /// An event is gone.
    Removed { at: Position, event_id: Uuid },
    /// An event is there that was never hashed.
    Inserted { at: Position, event_id: Uuid, now: String },
    /// Events are elsewhere, each as far.
    Moved { first: Position, last: Position, by: Position },
    /// Two events are in each other's places.
    Swapped { one: Position, other: Position },
    /// More differs than can be told apart.
    More { differing: usize },
    /// What is recorded of an event was altered; it itself is as it was signed.
    RecordAltered { at: Position },
    /// Nothing is recorded of some events.
    NotRecorded { first: Position, last: Position },
    /// An event is recorded twice.
    RecordedTwice { at: Position },
    /// More is recorded than there can be events.
    RecordedBeyond { rows: i64, end: Position },
    /// What is recorded of some events is not what the node above them says, though it fits the events.
    BlockAltered { first: u64, last: u64 },
    /// A node is not what those below it make.
    NodeAltered { first: u64, last: u64 },
    /// A node is not there.
    NodeMissing { first: u64, last: u64 },
    /// A node is there that belongs to nothing.
    NodeTooMany { level: u8, index: u64 },
    /// A head was signed over another log.
    NotAsSigned { size: u64, outside: bool, more: usize, first: u64 },
    /// A head covers more than there is.
    HeadBeyond { size: u64, hashed: Position, outside: bool },
    /// A head is kept as one of another size.
    HeadOfOtherSize { size: i64, says: u64 },
    /// A head is not believed, nor more after it.
    HeadNotBelieved { size: i64, why: String, more: usize },
    /// One that was kept outside is not believed.
    KeptNotBelieved { number: usize, why: String },
    /// More was found than is told.
    LeftOut { count: usize },
}

impl Finding {
    /// The positions in the log that it names, from the first to the last.
    pub fn names(&self) -> Option<(Position, Position)> {
        let wide = |first: u64, last: u64| (first.cast_signed(), last.cast_signed());
        Some(match *self {
            Self::Altered { at, .. }
            | Self::Replaced { at, .. }
            | Self::Removed { at, .. }
            | Self::Inserted { at, .. }
            | Self::RecordAltered { at }
            | Self::RecordedTwice { at } => (at, at),
            Self::NotRecorded { first, last } | Self::Moved { first, last, .. } => (first, last),
            Self::Swapped { one, other } => (one, other),
            Self::BlockAltered { first, last }
            | Self::NodeAltered { first, last }
            | Self::NodeMissing { first, last } => wide(first, last),
            Self::NotAsSigned { first, size, .. } => wide(first, size),
            Self::HeadBeyond { size, hashed, .. } => (hashed + 1, size.cast_signed()),
            Self::More { .. }
            | Self::LeftOut { .. }
            | Self::RecordedBeyond { .. }
            | Self::NodeTooMany { .. }
            | Self::HeadOfOtherSize { .. }
            | Self::HeadNotBelieved { .. }
            | Self::KeptNotBelieved { .. } => return None,
        })
    }
}

/// Where a head is.
fn whose(outside: bool) -> &'static str {
    if outside { "kept outside" } else { "kept here" }
}

/// How many heads more it is about.
fn others(f: &mut fmt::Formatter<'_>, more: usize) -> fmt::Result {
    match more {
        0 => Ok(()),
        more => write!(f, " (and {more} later heads)"),
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { at, event_id, now } => {
                write!(f, "the event at position {at} (id {event_id}) was altered; it is now {now}")
            }
            Self::Replaced { at, event_id, by, now } => {
                write!(f, "the event at position {at} (id {event_id}) was replaced by another (id {by}), {now}")
            }
            Self::Removed { at, event_id } => write!(f, "the event at position {at} (id {event_id}) was removed"),
            Self::Inserted { at, event_id, now } => {
                write!(f, "the event at position {at} (id {event_id}) was inserted: {now}")
            }
            Self::Moved { first, last, by } if first == last => {
                write!(f, "the event of position {first} was moved to position {}", first.saturating_add(*by))
            }
            Self::Moved { first, last, by } => {
                write!(f, "the events of positions {first} to {last} were moved by {by:+}")
            }
            Self::Swapped { one, other } => {
                write!(f, "the events at positions {one} and {other} were put in each other's place")
            }
            Self::More { differing } => {
                write!(f, "{differing} more events and records differ; put right what is named, and look again")
            }
            Self::RecordAltered { at } => {
                write!(f, "the recorded hash of the event at position {at} was altered; the event is as it was signed")
            }
            Self::NotRecorded { first, last } if first == last => {
                write!(f, "the recorded hash of the event at position {first} was removed")
            }
            Self::NotRecorded { first, last } => {
                write!(f, "the recorded hashes of the events at positions {first} to {last} were removed")
            }
            Self::RecordedBeyond { rows, end } => {
                write!(f, "{rows} rows of recorded hashes are before the first event or far beyond the end, {end}")
            }
            Self::RecordedTwice { at } => write!(f, "the event at position {at} has two recorded hashes"),
            Self::BlockAltered { first, last } => {
                write!(
                    f,
                    "among the events at positions {first} to {last} one was altered together with its recorded hash"
                )
            }
            Self::NodeAltered { first, last } => {
                write!(f, "the node over positions {first} to {last} is not what the nodes below it make")
            }
            Self::NodeMissing { first, last } => write!(f, "the node over positions {first} to {last} was removed"),
            Self::NodeTooMany { level, index } => write!(f, "node {index} of level {level} belongs to nothing"),
            Self::NotAsSigned { size, outside, more, first } => {
                write!(
                    f,
                    "the tree head of size {size}, {}, was signed over another log: the events from position {first} to \
                     {size} are not all what they were",
                    whose(*outside)
                )?;
                others(f, *more)
            }
            Self::HeadBeyond { size, hashed, outside } => write!(
                f,
                "a tree head of size {size}, {}, covers events after position {hashed} that are not there or not hashed",
                whose(*outside)
            ),
            Self::HeadOfOtherSize { size, says } => {
                write!(f, "the tree head that is kept as that of size {size} is that of size {says}")
            }
            Self::HeadNotBelieved { size, why, more } => {
                write!(f, "the tree head of size {size} is not believed: {why}")?;
                others(f, *more)
            }
            Self::KeptNotBelieved { number, why } => {
                write!(f, "tree head {number} of those kept outside is not believed: {why}")
            }
            Self::LeftOut { count } => {
                write!(f, "{count} more was found that is not told; put right what is named, and look again")
            }
        }
    }
}
