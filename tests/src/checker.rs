//! Holds what clients were told against the log, and names every answer and every event that the two do not explain.
//!
//! | promise | what is looked at | where |
//! | --- | --- | --- |
//! | P0 | each accepted command, decided again on the state before its events, gives exactly these events and this answer; each refusal, decided again on the state at its position, is the same refusal; processes' events likewise | [`decisions`] |
//! | P0 | no answer rests on less than what anybody had been told before it was asked for | [`order`] |
//! | P1 | an accepted command's events are in the log once, a refused one left nothing, every retry got the same answer | [`answers`] |
//! | P2 | sequences, positions and commit positions have no gap, and time does not run back | [`sequence`] |
//! | P3 | the books balance, and no balance is negative at any position | [`books`] |
//!
//! It shares nothing with the decision loop but the pure rules of the domain.

use std::fmt;

use crate::history::History;

mod answers;
mod books;
mod decisions;
mod log;
mod order;
mod replica;
mod sequence;
#[cfg(test)]
mod tests;

pub use log::{Log, Logged, StoredKey};

/// Which promise of reliability.md is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promise {
    /// Strict serialisability.
    P0,
    /// Exactly once.
    P1,
    /// No gaps.
    P2,
    /// Balanced books, nothing negative.
    P3,
}

/// A broken promise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// How it shows.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// Every broken promise.
pub fn check(log: &Log, history: &History) -> Vec<Violation> {
    let promises = [
        (Promise::P2, sequence::check(log)),
        (Promise::P3, books::check(log)),
        (Promise::P1, answers::check(log, history)),
        (Promise::P0, decisions::check(log, history)),
        (Promise::P0, order::check(history)),
    ];
    let broken = promises.into_iter().flat_map(|(promise, broken)| broken.into_iter().map(move |what| (promise, what)));
    broken.map(|(promise, what)| Violation { promise, what }).collect()
}

/// Ends the test if a promise is broken, with the first ones, and keeps the history.
///
/// # Panics
/// If a promise is broken.
#[track_caller]
pub fn assert_kept(log: &Log, history: &History) {
    let violations = check(log, history);
    if violations.is_empty() {
        return;
    }
    let first: Vec<String> = violations.iter().take(20).map(Violation::to_string).collect();
    let kept = history.keep();
    panic!("{} violations, the history is in {}; the first:\n{}", violations.len(), kept.display(), first.join("\n"));
}
