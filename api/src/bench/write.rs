//! `tradepost bench write`: our write path and what people would otherwise pick, measured in one run.
//!
//! The decision loop and the plain pair of cqrs-es and postgres-es take turns on the same Postgres: after a warm-up each
//! repetition gives every variant a slot, and the table shows medians over the repetitions. Both sides run the same
//! aggregates of the domain, so they write the same events; at the end their logs are counted and checked for gaps, and
//! a run that lost or repeated an event fails instead of looking fast.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`decision_loop`], [`plain`] | the two sides |
//! | [`workload`] | what callers do, and how it is timed |
//! | [`plan`] | who has a slot when |
//! | [`report`] | medians, ratios, table and JSON |
//!
//! Only the write path runs: no follower, no HTTP.

use std::time::Duration;

use clap::Args;

use super::BenchError;
use super::slots::{LONGEST_S, Servers, Slots};

mod decision_loop;
mod plain;
mod plan;
mod report;
pub(super) mod workload;

pub use plan::Plan;
use report::Report;

/// Measure the write path beside plain cqrs-es and postgres-es, interleaved in one run.
///
/// Two kinds of work, for every number of callers in --callers and for one hot auction:
///   wallets      each command places or releases a hold in one of --wallets wallets
///   hot auction  rising bids on one auction, 32 callers; whoever loses a race tries again
///
/// Five variants, each with the same aggregates, commands and events:
///   decision loop          the engine of `tradepost serve`, commands without an Idempotency-Key
///   decision loop, keys    the same with a key per command, stored with the events
///   decision loop, notary  the same, while the log is hashed and signed beside it as on every node
///   plain                  `postgres_cqrs`: loads the stream, decides, inserts; retries on a conflict
///   plain, snapshots       `postgres_snapshot_cqrs`, on the hot auction only
/// and what the tables bear without anything that decides, with the same indexes:
///   raw rows               one insert per event, over a connection per caller
///   raw batches of 256     one made and inserted after another over one connection, with the head, by the loop's own
///                          statement (and keys)
///
/// The run works in a database of its own on the server (named `tradepost_bench_…`), drops it at the end, and fails if
/// the events in it are not exactly those that were acknowledged. It takes about four minutes, with --quick half a
/// minute. Leave the machine alone meanwhile: two runs differ by several percent, the ratios within one run do not.
///
/// Examples:
///   tradepost bench write
///   tradepost bench write --quick
///   tradepost bench write --callers 1,32 --repetitions 9 --json write.json
///   tradepost bench write --plain-seconds 0      (all bids of the hot auction, however long the plain pair takes)
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchWrite {
    #[command(flatten)]
    slots: Slots,
    /// Callers at a time on the wallets.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,32,256")]
    callers: Vec<usize>,
    /// Wallets that the commands are spread over.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    wallets: usize,
    /// Bids that make a hot auction.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    bids: u64,
    /// Callers at a time on the hot auction.
    #[arg(long, value_name = "N", default_value_t = 32)]
    bidders: usize,
    /// Seconds after which the plain pair is stopped on the hot auction, where each bid costs it more than the one
    /// before; 0 waits for all bids [default: 8].
    #[arg(long, value_name = "SECONDS")]
    plain_seconds: Option<f64>,
    /// Most connections of the plain pair; it gets one per caller up to this.
    #[arg(long, value_name = "N", default_value_t = 32)]
    plain_connections: u32,
    /// Most commands that the decision loop commits together.
    #[arg(long, value_name = "N", default_value_t = 256)]
    batch_max: usize,
}

/// Measures on these servers.
pub async fn write(options: &BenchWrite, plan: &Plan, servers: &Servers<'_>) -> Result<Report, BenchError> {
    servers.measure(&options.slots, async |[scratch]| plan::measure(plan, scratch).await).await
}

impl BenchWrite {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<Plan, BenchError> {
        let refuse = |option, expected| Err(BenchError::Option { option, expected });
        let most_callers = self.callers.iter().copied().max().unwrap_or(0).max(self.bidders);
        if most_callers == 0 || self.callers.contains(&0) || self.bidders == 0 || most_callers > self.wallets {
            return refuse("--callers and --bidders", "from 1 to the number of --wallets");
        }
        if self.wallets > 90_000 {
            // The engine's cache holds 100,000 aggregates; beyond it the bench would measure cold loads.
            return refuse("--wallets", "at most 90000, since more do not fit into the engine's cache");
        }
        if self.bids == 0 || self.batch_max == 0 || self.plain_connections == 0 {
            return refuse("--bids, --batch-max and --plain-connections", "at least 1");
        }
        let plain_s = self.plain_seconds.unwrap_or(if self.slots.quick { 2.0 } else { 8.0 });
        if !(0.0..=LONGEST_S).contains(&plain_s) {
            return refuse("--plain-seconds", "from 0 to 3600");
        }
        let length = self.slots.length(5, 2.0, 0.5)?;
        Ok(Plan {
            length,
            callers: self.callers.clone(),
            wallets: self.wallets,
            bids: self.bids,
            bidders: self.bidders,
            plain_limit: (plain_s > 0.0).then(|| Duration::from_secs_f64(plain_s)),
            plain_connections: self.plain_connections,
            batch_max: self.batch_max,
        })
    }
}
