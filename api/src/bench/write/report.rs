//! Medians, ratios, the table and the JSON.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::plain::SNAPSHOT_EVERY;
use super::plan::{Plan, Variant, Work};
use super::workload::Tally;
use crate::bench::machine::{Machine, ServerFacts};

/// One row of the table.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) work: Work,
    pub(super) variant: Variant,
}

impl Key {
    /// The row that this one is compared with.
    fn baseline(self) -> Self {
        Self { variant: Variant::Plain, ..self }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} callers: {}", self.work.name(), self.work.callers(), self.variant.name())
    }
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Wallets { .. } => "wallets",
            Self::HotAuction { .. } => "hot auction",
        }
    }
}

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::Loop => "decision loop",
            Self::LoopWithKeys => "decision loop, keys",
            Self::LoopWithNotary => "decision loop, notary",
            Self::Plain => "plain",
            Self::PlainWithSnapshots => "plain, snapshots",
            Self::RawRows => "raw rows",
            Self::RawBatches => "raw batches of 256",
            Self::RawBatchesWithKeys => "raw batches, keys",
        }
    }
}

/// One slot.
#[derive(Clone, Copy, Debug, Serialize)]
struct Sample {
    commands_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    accepted: u64,
    attempts: u64,
    elapsed_s: f64,
}

/// All slots, by row.
#[derive(Debug)]
pub(super) struct Samples(HashMap<Key, Vec<Sample>>);

impl Samples {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn add(&mut self, key: Key, tally: &Tally) {
        self.0.entry(key).or_default().push(Sample {
            commands_per_s: tally.per_second(),
            p50_ms: tally.quantile_ms(0.5),
            p99_ms: tally.quantile_ms(0.99),
            accepted: tally.accepted,
            attempts: tally.attempts,
            elapsed_s: tally.elapsed.as_secs_f64(),
        });
    }

    pub(super) fn report(&self, works: &[Work], settings: Settings, notes: Vec<String>) -> Report {
        let keys = works.iter().flat_map(|&work| work.variants().iter().map(move |&variant| Key { work, variant }));
        let rows = keys.filter_map(|key| self.row(key, &settings)).collect();
        Report { settings, rows, notes }
    }

    /// What the loop reaches of what the tables bear, where that was measured; with the notary, what it leaves of the loop.
    fn beside_raw(&self, key: Key, rate: f64) -> Option<String> {
        let (raw, name) = match key.variant {
            Variant::Loop => (Variant::RawBatches, "raw batches"),
            Variant::LoopWithKeys => (Variant::RawBatchesWithKeys, "raw batches, keys"),
            Variant::LoopWithNotary => (Variant::Loop, "decision loop"),
            _ => return None,
        };
        let samples = self.0.get(&Key { variant: raw, ..key })?;
        Some(format!("{:.2} x {name}", rate / median(samples, |sample| sample.commands_per_s)))
    }

    fn row(&self, key: Key, settings: &Settings) -> Option<Row> {
        let samples = self.0.get(&key)?;
        let of = |key: &Key, figure: fn(&Sample) -> f64| self.0.get(key).map(|samples| median(samples, figure));
        let (rate, p50) = (median(samples, |sample| sample.commands_per_s), median(samples, |sample| sample.p50_ms));
        let baseline = key.baseline();
        Some(Row {
            work: key.work.name(),
            callers: key.work.callers(),
            variant: key.variant.name(),
            commands_per_s: rate,
            p50_ms: p50,
            p99_ms: median(samples, |sample| sample.p99_ms),
            times_plain: of(&baseline, |sample| sample.commands_per_s).map(|plain| rate / plain),
            p50_times_plain: of(&baseline, |sample| sample.p50_ms).map(|plain| p50 / plain),
            events: samples.iter().map(|sample| sample.accepted).sum(),
            note: self.beside_raw(key, rate).or_else(|| note(key, samples, settings)),
            repetitions: samples.clone(),
        })
    }
}

fn note(key: Key, samples: &[Sample], settings: &Settings) -> Option<String> {
    let Work::HotAuction { .. } = key.work else { return None };
    let sum = |figure: fn(&Sample) -> u64| samples.iter().map(figure).sum::<u64>();
    let (accepted, attempts) = (sum(|sample| sample.accepted), sum(|sample| sample.attempts));
    let repetitions = u64::try_from(samples.len()).unwrap_or(u64::MAX).max(1);
    match key.variant {
        Variant::Plain | Variant::PlainWithSnapshots => {
            let reached = accepted / repetitions;
            let cut = settings.plain_limit_s.filter(|_| reached < settings.bids);
            let cut = cut.map_or("all".to_owned(), |limit_s| format!("cut after {limit_s} s: the first {reached}"));
            Some(format!("{cut} of {} bids, {:.1} attempts each", settings.bids, ratio(attempts, accepted)))
        }
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / (b as f64).max(1.0)
}

fn median(samples: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    crate::bench::median(samples.iter().map(figure))
}

/// The machine and how it was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    machine: Machine,
    batch_max: usize,
    wallets: usize,
    bids: u64,
    repetitions: usize,
    slot_s: f64,
    plain_limit_s: Option<f64>,
    plain_connections: u32,
    snapshot_every: usize,
}

impl Settings {
    pub(super) fn of(plan: &Plan, server: ServerFacts) -> Self {
        Self {
            machine: Machine::with(server),
            batch_max: plan.batch_max,
            wallets: plan.wallets,
            bids: plan.bids,
            repetitions: plan.length.repetitions,
            slot_s: plan.length.slot.as_secs_f64(),
            plain_limit_s: plan.plain_limit.map(|limit| limit.as_secs_f64()),
            plain_connections: plan.plain_connections,
            snapshot_every: SNAPSHOT_EVERY,
        }
    }
}

/// What a run found. Shown as a table; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    settings: Settings,
    rows: Vec<Row>,
    notes: Vec<String>,
}

/// One variant at one kind of work: medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
struct Row {
    work: &'static str,
    callers: usize,
    variant: &'static str,
    commands_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Commands per second, over those of the plain pair at the same work.
    times_plain: Option<f64>,
    /// Median latency, over that of the plain pair at the same work.
    p50_times_plain: Option<f64>,
    /// Events written in all repetitions: each accepted command is one.
    events: u64,
    note: Option<String>,
    repetitions: Vec<Sample>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.settings;
        writeln!(f, "tradepost bench write\n{}", s.machine)?;
        writeln!(
            f,
            "{} wallets, {} bids; median of {} repetitions of {} s; batches of at most {}; the plain pair has a connection \
             per caller, at most {}, and a snapshot every {} events",
            s.wallets, s.bids, s.repetitions, s.slot_s, s.batch_max, s.plain_connections, s.snapshot_every
        )?;
        writeln!(f)?;
        writeln!(
            f,
            "{:<12} {:>7}  {:<20} {:>10} {:>8} {:>9} {:>9} {:>8} {:>10}",
            "work", "callers", "variant", "commands/s", "x plain", "p50 ms", "p99 ms", "x plain", "events"
        )?;
        let mut group = None;
        for row in &self.rows {
            let this = (row.work, row.callers);
            if group.is_some_and(|group| group != this) {
                writeln!(f)?;
            }
            group = Some(this);
            write_row(f, row)?;
        }
        writeln!(f)?;
        writeln!(f, "The second `x plain` is of p50. Every accepted command is one event.")?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row) -> fmt::Result {
    let times = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    write!(
        f,
        "{:<12} {:>7}  {:<20} {:>10.0} {:>8} {:>9.3} {:>9.3} {:>8} {:>10}",
        row.work,
        row.callers,
        row.variant,
        row.commands_per_s,
        times(row.times_plain),
        row.p50_ms,
        row.p99_ms,
        times(row.p50_times_plain),
        row.events
    )?;
    match &row.note {
        Some(note) => writeln!(f, "  {note}"),
        None => writeln!(f),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::slots::Length;

    fn sample(commands_per_s: f64) -> Sample {
        Sample { commands_per_s, p50_ms: 1.0, p99_ms: 2.0, accepted: 10, attempts: 25, elapsed_s: 1.0 }
    }

    fn settings() -> Settings {
        let server = ServerFacts {
            postgres: "15".to_owned(),
            transport: "Unix socket".to_owned(),
            fsync: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            wal_level: "minimal".to_owned(),
            shared_buffers: "256MB".to_owned(),
            max_wal_size: "2GB".to_owned(),
        };
        let plan = Plan {
            length: Length { repetitions: 2, slot: std::time::Duration::from_secs(2) },
            callers: vec![1],
            wallets: 10,
            bids: 2_000,
            bidders: 32,
            plain_limit: Some(std::time::Duration::from_secs(8)),
            plain_connections: 32,
            batch_max: 256,
        };
        Settings::of(&plan, server)
    }

    #[test]
    fn ratios_are_to_the_plain_pair_at_the_same_work() {
        let work = Work::HotAuction { callers: 32 };
        let rows = [(Variant::Loop, 600.0), (Variant::Plain, 2.0), (Variant::PlainWithSnapshots, 4.0)];
        let rows = rows.map(|(variant, rate)| (Key { work, variant }, vec![sample(rate)]));
        let report = Samples(HashMap::from(rows)).report(&[work], settings(), vec![]);
        let ratios: Vec<_> = report.rows.iter().map(|row| row.times_plain.map(f64::round)).collect();
        assert_eq!(ratios, [Some(300.0), Some(1.0), Some(2.0)]);
        let table = report.to_string();
        assert!(table.contains("cut after 8 s: the first 10 of 2000 bids, 2.5 attempts each"), "{table}");
    }
}
