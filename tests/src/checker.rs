//! Holds what clients were told against the log, and names every answer and every event that the two do not explain.
//!
//! | promise | what is looked at | where |
//! | --- | --- | --- |
//! | P0 | each accepted command, decided again on the state before its events, gives exactly these events and this answer; each refusal, decided again on the state at its position, is the same refusal; processes' events likewise | [`decisions`] |
//! | P0 | no answer rests on less than what anybody had been told before it was asked for | [`order`] |
//! | P1 | an accepted command's events are in the log once, a refused one left nothing, every retry got the same answer | [`answers`] |
//! | P2 | sequences, positions and commit positions have no gap, and time does not run back | [`sequence`] |
//! | P3 | no balance and no stock is negative at any position, and books, wallets, escrows and orders agree | [`books`] |
//! | P4 | an auction's winner has bid the most of all who were told that they had bid, the first of them if there are several, and nobody at its end or later | [`auctions`] |
//! | P6 | each socket has shown every event of its auction once and in order; looked at on its own, by [`check_lines`] | [`watching`] |
//! | P9 | no transaction said nothing for long; likewise | [`watching`] |
//! | P7 | no timer has fired twice, early or late, or of itself; looked at on its own, by [`check_timers`] | [`timers`] |
//! | P7 | once all times are over, nothing waits for a clock or a provider any more; likewise, by [`check_ended`] | [`endings`] |
//!
//! Its verdict rests on the pure rules of the domain, and on nothing that decides, stores or follows in the product; what
//! it has of that is names and numbers: settings, problem types, how a key is hashed.

use std::fmt;

use crate::fail::fail;
use crate::history::History;
use crate::journal::Line;

mod answers;
mod auctions;
mod books;
mod causes;
mod charges;
mod decisions;
mod endings;
mod guests;
mod intents;
mod log;
mod order;
mod orders;
mod payouts;
mod people;
mod plans;
mod replica;
mod reputation;
mod second_chances;
mod sequence;
#[cfg(test)]
mod tests;
mod timers;
mod watching;

pub use log::{Log, Logged, StoredKey};
pub use timers::Outages;

/// Which promise of reliability.md is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promise {
    /// Strict serialisability.
    P0,
    /// Exactly once.
    P1,
    /// No gaps.
    P2,
    /// Books that agree with all else, nothing negative.
    P3,
    /// The highest bid wins.
    P4,
    /// Read models equal their rebuild.
    P5,
    /// Sockets show everything once, in order.
    P6,
    /// Timers, once and in time.
    P7,
    /// NATS may lose everything.
    P8,
    /// Nothing is held for long.
    P9,
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
        (Promise::P4, auctions::check(log, history)),
        (Promise::P0, decisions::check(log, history)),
        (Promise::P0, order::check(history)),
    ];
    let broken = promises.into_iter().flat_map(|(promise, broken)| broken.into_iter().map(move |what| (promise, what)));
    broken.map(|(promise, what)| Violation { promise, what }).collect()
}

/// Everything that timers have done twice, too early or too late. For a marketplace whose clock stood still whenever it
/// was not running: otherwise nobody can tell from the log how late a timer was.
/// What was due in an outage may be as late.
pub fn check_timers(log: &Log, outages: &Outages) -> Vec<Violation> {
    timers::check(log, outages).into_iter().map(|what| Violation { promise: Promise::P7, what }).collect()
}

/// Everything that has not come to its end. For a marketplace whose clock was set past all times that anything waits for.
pub fn check_ended(log: &Log) -> Vec<Violation> {
    endings::check(log).into_iter().map(|what| Violation { promise: Promise::P7, what }).collect()
}

/// What sockets and the sessions of the database have shown that they must not.
pub fn check_lines(lines: &[Line]) -> Vec<Violation> {
    let (sockets, sessions) = (watching::sockets(lines), watching::sessions(lines));
    let sockets = sockets.into_iter().map(|what| Violation { promise: Promise::P6, what });
    sockets.chain(sessions.into_iter().map(|what| Violation { promise: Promise::P9, what })).collect()
}

/// Ends the test if a timer has fired twice, too early or too late. Tells how many have fired, by kind.
#[track_caller]
pub fn assert_timers_kept(log: &Log) -> std::collections::BTreeMap<String, usize> {
    let violations = check_timers(log, &Outages::default());
    if let Some(first) = violations.first() {
        fail(&format!("{} violations, the first: {first}", violations.len()));
    }
    timers::fired(log)
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
