//! What events say, in a sentence for people: the one place where that is worded for the history of anything.
//!
//! A sentence names what happened, amounts and dates that every party of it may know, and nothing else: no name, no words
//! that somebody has typed, no account, no bidder's maximum and no reserve. So whoever may know that an event has happened
//! may read its sentence. Who did it, when and to what is told beside it.
//!
//! Every event has a sentence: a kind of aggregate without does not compile.

use chrono::SubsecRound as _;

use crate::Timestamp;

mod catalogue;
mod money;
mod people;
mod talk;
mod trade;

/// Says what happened.
pub trait Tell {
    /// One or more whole sentences in English.
    fn tell(&self) -> String;
}

/// An instant as a sentence has it.
fn at(time: Timestamp) -> String {
    time.trunc_subsecs(0).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `1 piece`, `2 pieces`.
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `2.5 %`.
fn percent(bps: u32) -> String {
    let (whole, rest) = (bps / 100, bps % 100);
    if rest == 0 { format!("{whole} %") } else { format!("{whole}.{} %", format!("{rest:02}").trim_end_matches('0')) }
}

#[cfg(test)]
mod tests;
