//! `tradepost bench scale`: what more machines would bring, by simulation.
//!
//! What a commit costs is measured here, on this Postgres; what several nodes, several heads, or a database that is itself
//! spread over machines would make of it, is simulated. The model is simple on purpose: callers each wait for their
//! answer; a loop takes whoever waits, up to a full batch; a batch of b events locks the head for a + b·c, besides the way
//! there and back (what is measured has the short way here in it). Reading the events of others is taken for a quarter of writing them. Every node has
//! a machine of its own; disks never fill up, and caches are never cold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use clap::Args;
use commands::EngineSettings;
use serde::Serialize;

use super::machine::Machine;
use super::raw;
use super::scratch::Scratch;
use super::slots::{Servers, Slots};
use super::{BenchError, median};

/// Of which sizes batches are measured, to tell a from c.
const SMALL: usize = 1;
const LARGE: usize = 256;
/// How long is simulated, in milliseconds.
const HORIZON_MS: f64 = 20_000.0;
/// How often the head may have moved before it is locked first, as the loop does.
const TRIES: u32 = 2;

/// Simulate what more machines would bring, from what a commit costs here.
///
///   one loop               one node decides, others forward: what the head allows, however many nodes there are
///   n deciders             each decides by itself under the one head, and decides again what another was faster with
///   n heads                a log per region or market, a loop each; --across of the commands need two of them
///   spread database        one loop over a database whose commits wait for another machine (--quorum-ms)
///
/// Nodes are --round-trip-ms from the database. It takes some seconds.
///
/// Examples:
///   tradepost bench scale
///   tradepost bench scale --callers 2000 --round-trip-ms 1
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchScale {
    #[command(flatten)]
    slots: Slots,
    /// Callers at a time, over all nodes.
    #[arg(long, value_name = "N", default_value_t = 512)]
    callers: usize,
    /// Milliseconds from a node to the database and back.
    #[arg(long, value_name = "MS", default_value_t = 0.3)]
    round_trip_ms: f64,
    /// Milliseconds that a commit of a spread database waits for its other machines.
    #[arg(long, value_name = "MS", default_value_t = 3.0)]
    quorum_ms: f64,
    /// Share of the commands that need two heads.
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    across: f64,
}

/// What is to be simulated.
#[derive(Clone, Copy, Debug)]
pub struct ScalePlan {
    slot: Duration,
    repetitions: usize,
    callers: usize,
    round_trip_ms: f64,
    quorum_ms: f64,
    across: f64,
}

impl BenchScale {
    /// What the options ask for, if it can be simulated.
    pub fn plan(&self) -> Result<ScalePlan, BenchError> {
        let ms = 0.0..=1_000.0;
        let fits =
            ms.contains(&self.round_trip_ms) && ms.contains(&self.quorum_ms) && (0.0..=1.0).contains(&self.across);
        if !fits || !(1..=100_000).contains(&self.callers) {
            return Err(BenchError::Option {
                option: "--callers, --round-trip-ms, --quorum-ms and --across",
                expected: "from 1 to 100000, to 1000, to 1000, and to 1",
            });
        }
        let length = self.slots.length(5, 0.5, 0.2)?;
        let (Self { callers, round_trip_ms, quorum_ms, across, .. }, repetitions) = (self, length.repetitions);
        let (callers, round_trip_ms, quorum_ms, across) = (*callers, *round_trip_ms, *quorum_ms, *across);
        Ok(ScalePlan { slot: length.slot, repetitions, callers, round_trip_ms, quorum_ms, across })
    }
}

/// Measures and simulates on these servers.
pub async fn scale(options: &BenchScale, plan: &ScalePlan, servers: &Servers<'_>) -> Result<ScaleReport, BenchError> {
    servers.measure(&options.slots, async |[scratch]| measure(plan, scratch).await).await
}

async fn measure(plan: &ScalePlan, scratch: &Scratch) -> Result<ScaleReport, BenchError> {
    let machine = Machine::with(scratch.facts().await?);
    scratch.database().migrate().await?;
    raw::create_tables(scratch).await?;
    let pool = scratch.pool(raw::SCHEMA, 1).await?;
    let mut connection = pool.acquire().await?;
    let next = Arc::new(AtomicI64::new(1));
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for _ in 0..plan.repetitions {
        for (size, taken) in [(SMALL, &mut small), (LARGE, &mut large)] {
            taken.push(raw::batches(&mut connection, &next, true, size, plan.slot).await?.quantile_ms(0.5));
        }
    }
    drop(connection);
    pool.close().await;
    let (small, large) = (median(small), median(large));
    let each_us = ((large - small) / f64_of(LARGE - SMALL)).max(0.0) * 1e3;
    let commit = Commit { fixed_ms: (small - each_us / 1e3).max(0.0), each_us, round_trip_ms: plan.round_trip_ms };
    let batch_max = EngineSettings::default().batch_max;
    let base = Model { commit, callers: plan.callers, batch_max, nodes: 1, heads: 1, across: 0.0 };
    let spread = Commit { fixed_ms: commit.fixed_ms + plan.quorum_ms, ..commit };
    let mut rows = vec![Row::of("one loop", base)];
    rows.extend([2, 4, 8].map(|nodes| Row::of(format!("{nodes} deciders"), Model { nodes, ..base })));
    rows.extend([2, 4, 8].map(|heads| Row::of(format!("{heads} heads"), Model { heads, across: plan.across, ..base })));
    rows.push(Row::of("spread database, one loop", Model { commit: spread, ..base }));
    rows.extend([4].map(|heads| {
        let model = Model { commit: spread, heads, across: plan.across, ..base };
        Row::of(format!("spread database, {heads} heads"), model)
    }));
    Ok(ScaleReport { machine, commit, callers: plan.callers, across: plan.across, quorum_ms: plan.quorum_ms, rows })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn f64_of<T: TryInto<i64>>(count: T) -> f64 {
    count.try_into().map_or(f64::NAN, |count| count as f64)
}

/// What a commit costs: of a batch of b events a + b·c, and the way there and back.
#[derive(Clone, Copy, Debug, Serialize)]
struct Commit {
    fixed_ms: f64,
    each_us: f64,
    round_trip_ms: f64,
}

impl Commit {
    fn of(self, batch: usize) -> f64 {
        self.fixed_ms + self.each_us * f64_of(batch) / 1e3
    }
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
struct Model {
    commit: Commit,
    callers: usize,
    batch_max: usize,
    /// How many decide under each head.
    nodes: usize,
    /// How many logs there are.
    heads: usize,
    /// The share of commands that need two heads.
    across: f64,
}

/// One that decides: who waits for it, and what it has sent.
#[derive(Clone, Copy, Debug)]
struct Decider {
    head: usize,
    waiting: usize,
    /// When it takes whoever waits, or what it has sent is at the head.
    at_ms: f64,
    /// How many it has sent; none: it takes.
    batch: usize,
    /// How many events the head had when it decided.
    seen: usize,
    misses: u32,
}

/// A head: until when it is locked, and how many events it has.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    free_ms: f64,
    events: usize,
}

impl Model {
    /// Commands per second.
    fn per_s(self) -> f64 {
        let deciders = self.nodes * self.heads;
        let mut heads = vec![Head::default(); self.heads];
        let mut all: Vec<Decider> = (0..deciders)
            .map(|place| Decider {
                head: place % self.heads,
                waiting: self.callers / deciders + usize::from(place < self.callers % deciders),
                // Nobody begins at the same moment.
                at_ms: f64_of(place) / f64_of(deciders),
                batch: 0,
                seen: 0,
                misses: 0,
            })
            .collect();
        let mut done = 0;
        while let Some(next) = all.iter_mut().min_by(|left, right| left.at_ms.total_cmp(&right.at_ms))
            && next.at_ms < HORIZON_MS
        {
            done += self.go_on(next, &mut heads);
        }
        f64_of(done) / HORIZON_MS * 1e3
    }

    /// Lets one decider take its next step; answers with how many commands that has committed.
    fn go_on(self, decider: &mut Decider, heads: &mut [Head]) -> usize {
        let Self { commit, batch_max, across, .. } = self;
        let own = decider.head;
        if decider.batch == 0 {
            decider.batch = decider.waiting.min(batch_max);
            decider.waiting -= decider.batch;
            decider.seen = heads[own].events;
            // Without anybody who waits there is nothing to do, ever.
            decider.at_ms += if decider.batch == 0 { HORIZON_MS } else { commit.round_trip_ms / 2.0 };
            return 0;
        }
        let (missed, begins_ms) = (heads[own].events - decider.seen, decider.at_ms.max(heads[own].free_ms));
        let reading_ms = commit.fixed_ms / 4.0 + f64_of(missed) * commit.each_us / 4e3;
        if missed > 0 && decider.misses < TRIES {
            // Another was faster: it has waited for the lock, reads what is new, and decides again.
            decider.misses += 1;
            decider.seen = heads[own].events;
            decider.at_ms = begins_ms + commit.round_trip_ms * 2.0 + reading_ms;
            return 0;
        }
        // Locked first, the head waits while its new events travel and the batch comes.
        let locking_ms = if missed > 0 { commit.round_trip_ms * 2.0 + reading_ms } else { 0.0 };
        // Those that need two heads are committed after the others, once both are free.
        let two_heads = if self.heads > 1 { Self::share(decider.batch, across) } else { 0 };
        let mut ends_ms = begins_ms + locking_ms;
        if decider.batch > two_heads {
            ends_ms += commit.of(decider.batch - two_heads);
        }
        if two_heads > 0 {
            // Another each time.
            let other = (own + 1 + heads[own].events % (self.heads - 1)) % self.heads;
            ends_ms = ends_ms.max(heads[other].free_ms) + commit.of(two_heads);
            heads[other] = Head { free_ms: ends_ms, events: heads[other].events + two_heads };
        }
        heads[own] = Head { free_ms: ends_ms, events: heads[own].events + decider.batch };
        let committed = decider.batch;
        *decider = Decider {
            // They have their answer, and ask again.
            waiting: decider.waiting + committed,
            at_ms: ends_ms + commit.round_trip_ms / 2.0,
            batch: 0,
            misses: 0,
            ..*decider
        };
        committed
    }

    /// This share of a batch, to the nearest command.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small count")]
    fn share(batch: usize, share: f64) -> usize {
        (f64_of(batch) * share).round() as usize
    }
}

/// One way to run it.
#[derive(Clone, Debug, Serialize)]
struct Row {
    way: String,
    per_s: f64,
}

impl Row {
    fn of(way: impl Into<String>, model: Model) -> Self {
        Self { way: way.into(), per_s: model.per_s() }
    }
}

/// What was measured and simulated.
#[derive(Clone, Debug, Serialize)]
pub struct ScaleReport {
    #[serde(flatten)]
    machine: Machine,
    commit: Commit,
    callers: usize,
    across: f64,
    quorum_ms: f64,
    rows: Vec<Row>,
}

impl fmt::Display for ScaleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, commit: Commit { fixed_ms, each_us, round_trip_ms }, callers, across, quorum_ms, rows } =
            self;
        writeln!(f, "tradepost bench scale\n{machine}")?;
        writeln!(
            f,
            "measured: a batch of b events with keys takes {fixed_ms:.3} ms + b x {each_us:.2} µs\n\
             assumed: {round_trip_ms} ms to the database and back, {callers} callers, {:.0} % of commands need two heads, \
             {quorum_ms} ms until a spread database has a commit on other machines\n",
            across * 1e2
        )?;
        writeln!(f, "{:<36} {:>10} {:>12}", "simulated", "per s", "x one loop")?;
        let one = rows.first().map_or(f64::NAN, |row| row.per_s);
        for Row { way, per_s } in rows {
            writeln!(f, "{way:<36} {per_s:>10.0} {:>12.2}", per_s / one)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let commit = Commit { fixed_ms: 0.5, each_us: 10.0, round_trip_ms: 0.5 };
        Model { commit, callers: 100, batch_max: 256, nodes: 1, heads: 1, across: 0.0 }
    }

    #[test]
    fn one_loop_commits_all_who_wait_in_one_round() {
        // 100 commands take 0.5 + 1 ms at the head and 0.5 ms of way.
        let per_s = model().per_s();
        assert!((per_s - 50_000.0).abs() < 500.0, "{per_s}");
    }

    #[test]
    fn deciders_under_one_head_are_in_each_others_way_and_heads_of_their_own_are_not() {
        let one = model().per_s();
        let contending = Model { nodes: 4, ..model() }.per_s();
        let apart = Model { heads: 4, callers: 400, ..model() }.per_s();
        assert!(contending < one, "{contending} {one}");
        assert!((apart / one - 4.0).abs() < 0.1, "{apart} {one}");
        let across = Model { heads: 4, callers: 400, across: 0.5, ..model() }.per_s();
        assert!(across < apart && across > one / 2.0, "{across}");
    }
}
