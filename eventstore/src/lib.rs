//! The log, on which both sides of the marketplace stand.
//!
//! [`log`] appends batches under the head and reads on from a position; [`follower`] carries events to read models and
//! processes with a checkpoint each; [`parking`] keeps those that cannot be taken in; [`relay`] carries events to NATS
//! and [`feed`] from there; [`streams`] loads aggregates, and [`history`] looks back at
//! them, [`past`] at moments; [`sealing`] keeps personal fields, and [`wrapping`] the keys that
//! open them; [`transfer`] carries all of it into another database; [`cqrs`] lets cqrs-es and postgres-es read the same
//! tables.
//!
//! **Architecture invariant:** nothing here decides anything, and nothing here knows a read model.

pub mod analysts;
pub mod announce;
pub mod audit;
pub mod clock;
pub mod cqrs;
pub mod database;
pub mod event;
pub mod feed;
pub mod follower;
#[cfg(test)]
mod fuzz;
pub mod history;
pub mod lease;
pub mod log;
pub mod mint;
pub mod nats;
pub mod parking;
pub mod past;
pub mod progress;
pub mod proof;
pub mod records;
pub mod relay;
pub mod sealing;
pub mod secrets;
pub mod streams;
pub mod telling;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod transfer;
pub mod walk;
pub mod wrapping;

/// A place in the log, from 1 without gaps in commit order; 0 is before the first event.
pub type Position = i64;
