//! What is counted and timed of the loop. Every handle is made once, so that counting costs an addition.
//!
//! Without a recorder, as in most tests, all of it does nothing.

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};

use super::{Accepted, CommandError};

/// How commands ended.
#[derive(Debug)]
pub(crate) struct Results {
    accepted: Counter,
    replayed: Counter,
    refused: Counter,
    key_reused: Counter,
    in_flight: Counter,
    overloaded: Counter,
    unavailable: Counter,
    defect: Counter,
}

impl Results {
    pub(crate) fn new() -> Self {
        let name = "tradepost_commands_total";
        describe_counter!(name, "Commands that were answered, by result; looks at the world count as commands.");
        let of = |result: &'static str| counter!(name, "result" => result);
        Self {
            accepted: of("accepted"),
            replayed: of("replayed"),
            refused: of("refused"),
            key_reused: of("key_reused"),
            in_flight: of("in_flight"),
            overloaded: of("overloaded"),
            unavailable: of("unavailable"),
            defect: of("defect"),
        }
    }

    pub(crate) fn count<T>(&self, answer: &Result<Accepted<T>, CommandError>) {
        let counter = match answer {
            Ok(accepted) if accepted.replayed => &self.replayed,
            Ok(_) => &self.accepted,
            Err(CommandError::Refused { .. } | CommandError::RefusedBefore { .. }) => &self.refused,
            Err(CommandError::KeyReused) => &self.key_reused,
            Err(CommandError::InFlight) => &self.in_flight,
            Err(CommandError::Overloaded) => &self.overloaded,
            Err(CommandError::Unavailable) => &self.unavailable,
            Err(CommandError::Defect) => &self.defect,
        };
        counter.increment(1);
    }
}

/// What the loop does for them.
#[derive(Debug)]
pub(super) struct Measures {
    /// Seconds to decide a batch.
    pub(super) decide: Histogram,
    /// Seconds to append and commit a batch.
    pub(super) append: Histogram,
    /// Commands in a committed batch.
    pub(super) batch_commands: Histogram,
    /// Events that were committed.
    pub(super) events: Counter,
    /// How often another node had moved the head.
    pub(super) head_conflicts: Counter,
    /// States that were found in memory.
    pub(super) cache_hits: Counter,
    /// States that were not.
    pub(super) cache_misses: Counter,
}

impl Measures {
    pub(super) fn new() -> Self {
        let seconds = |name: &'static str, what: &'static str| {
            describe_histogram!(name, Unit::Seconds, what);
            histogram!(name)
        };
        let count = |name: &'static str, what: &'static str| {
            describe_counter!(name, what);
            counter!(name)
        };
        describe_histogram!("tradepost_batch_commands", "Commands that were committed together.");
        Self {
            decide: seconds("tradepost_decide_seconds", "Time to decide a batch of commands in memory."),
            append: seconds("tradepost_append_seconds", "Time to append a batch to the log and commit it."),
            batch_commands: histogram!("tradepost_batch_commands"),
            events: count("tradepost_events_appended_total", "Events that this node has committed."),
            head_conflicts: count(
                "tradepost_head_conflicts_total",
                "Batches that were decided again because another node had moved the head of the log.",
            ),
            cache_hits: count("tradepost_cache_hits_total", "Aggregates that a decision found in memory."),
            cache_misses: count("tradepost_cache_misses_total", "Decisions that had to wait for an aggregate."),
        }
    }
}
