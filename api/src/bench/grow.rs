//! `tradepost bench grow`: whether a command or a query costs more when there is more history.
//!
//! One marketplace is traded up from size to size, and the same is measured at each: commands of its people, and the
//! queries of its readers. Then one aggregate is: commands on wallets with short and with very long streams.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use commands::{Engine, EngineSettings};
use domain::WalletId;
use eventstore::clock::Clock;
use eventstore::feed::Feed;
use eventstore::log::{self, Head};
use eventstore::streams::Streams;
use futures::FutureExt;
use serde::Serialize;

use super::machine::Machine;
use super::market::Market;
use super::questions::{Question, Readers};
use super::sample::{Row, Sample, again_and_again, so_often, write_rows};
use super::scratch::Scratch;
use super::slots::{Length, Servers, Slots};
use super::{BenchError, market, progress_bar, wallets};

/// What readers ask at each size.
const ASKED: [Question; 4] = [Question::Listing, Question::Page, Question::Search, Question::Transactions];
/// Stories add at most about this part of the events that are there, each about so many.
const GROWTH: i64 = 10;
const STORY: i64 = 40;
/// Events of a short stream.
const SHORT: u64 = 11;
/// So many wallets with short streams are held and released in turn, so that they stay short.
const SHORT_WALLETS: usize = 5_000;
/// Callers at a time who load an aggregate.
const LOADING: usize = 4;

/// Measure whether a command or a query costs more when there is more history.
///
/// At each of --sizes events of one marketplace:
///   stories                what people do from a registration to the end of an order, about 20 commands each; so few
///                          that the marketplace grows by a tenth
///   listing, page, ...     what readers ask, as `bench read` does
/// Then on one wallet with each of --lengths events:
///   load                   what the first command after a restart waits for, upon its snapshot
///   commands               a hold and its release, while it is in memory; of those with 11 events there are 5,000
///
/// A million events take some minutes. Ten millions: --sizes 10000,100000,1000000,10000000.
///
/// Examples:
///   tradepost bench grow
///   tradepost bench grow --sizes 10000,100000 --lengths 1001
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchGrow {
    #[command(flatten)]
    slots: Slots,
    /// Events of the marketplace, rising [default: 10000,100000,1000000].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    sizes: Vec<i64>,
    /// Events of one aggregate: odd numbers [default: 1001,10001,100001].
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    lengths: Vec<u64>,
    /// Callers at a time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    callers: usize,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct GrowPlan {
    length: Length,
    sizes: Vec<i64>,
    lengths: Vec<u64>,
    callers: usize,
}

impl BenchGrow {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<GrowPlan, BenchError> {
        let or = |asked: &[i64], quick: &[i64], usual: &[i64]| match (asked, self.slots.quick) {
            ([], true) => quick.to_vec(),
            ([], false) => usual.to_vec(),
            (asked, _) => asked.to_vec(),
        };
        let sizes = or(&self.sizes, &[2_000, 5_000], &[10_000, 100_000, 1_000_000]);
        let lengths: Vec<i64> = self.lengths.iter().map(|length| length.cast_signed()).collect();
        let lengths = or(&lengths, &[1_001], &[1_001, 10_001, 100_001]);
        let lengths: Vec<u64> = lengths.into_iter().map(i64::cast_unsigned).collect();
        if !sizes.is_sorted() || sizes.iter().any(|size| *size < 1_000) || !(1..=1_024).contains(&self.callers) {
            return Err(BenchError::Option {
                option: "--sizes and --callers",
                expected: "rising from 1000 on, and from 1 to 1024",
            });
        }
        if lengths.iter().any(|length| length % 2 == 0 || *length < SHORT) {
            return Err(BenchError::Option { option: "--lengths", expected: "odd numbers from 11 on" });
        }
        let length = self.slots.length(5, 2.0, 0.3)?;
        Ok(GrowPlan { length, sizes, lengths, callers: self.callers })
    }
}

/// Measures on these servers.
pub async fn grow(options: &BenchGrow, plan: &GrowPlan, servers: &Servers<'_>) -> Result<GrowReport, BenchError> {
    servers.measure(&options.slots, async |[scratch]| measure(plan, scratch).await).await
}

async fn measure(plan: &GrowPlan, scratch: &Scratch) -> Result<GrowReport, BenchError> {
    let machine = Machine::with(scratch.facts().await?);
    let repetitions = plan.length.repetitions;
    let bar =
        progress_bar(plan.sizes.len() * repetitions * (ASKED.len() + 1) + 2 * (plan.lengths.len() + 1) * repetitions)?;
    crate::app::prepare(&scratch.database()).await.map_err(|error| BenchError::Prepare(Box::new(error)))?;
    let mut history: Vec<Vec<Row>> = vec![Vec::new(); ASKED.len() + 1];
    for &size in &plan.sizes {
        bar.set_message(format!("people trade up to {size} events"));
        let events = market::trade_up(scratch, size).await?;
        bar.set_message(format!("read models of {events} events"));
        market::show(scratch).await?;
        let (readers, mut asked) = (Readers::of(scratch).await?, vec![Vec::new(); ASKED.len()]);
        for _ in 0..repetitions {
            for (question, samples) in ASKED.iter().zip(&mut asked) {
                bar.set_message(format!("{question} of {events} events"));
                samples.push(readers.measure(*question, plan.callers, plan.length.slot).await?);
                bar.inc(1);
            }
        }
        readers.close().await;
        bar.set_message(format!("stories over {events} events"));
        let mut stories = Vec::new();
        for _ in 0..repetitions {
            stories.push(told(scratch, plan, events).await?);
            bar.inc(1);
        }
        for ((question, samples), rows) in ASKED.iter().zip(asked).zip(&mut history) {
            rows.push(Row::of(format!("{question}, {events} events"), samples));
        }
        history[ASKED.len()].push(Row::of(format!("stories, {events} events"), stories));
    }
    let mut streams = [Vec::new(), Vec::new()];
    for length in std::iter::once(SHORT).chain(plan.lengths.iter().copied()) {
        bar.set_message(format!("wallets with {length} events"));
        let count = if length == SHORT { SHORT_WALLETS } else { 1 };
        let (commands, loads) = of_length(scratch, plan, length, count).await?;
        bar.inc(2 * repetitions as u64);
        streams[0].push(Row::of(format!("commands, from {length} events on"), commands));
        streams[1].push(Row::of(format!("load, {length} events"), loads));
    }
    bar.finish_and_clear();
    Ok(GrowReport {
        machine,
        callers: plan.callers,
        repetitions,
        slot_s: plan.length.slot.as_secs_f64(),
        groups: history.into_iter().chain(streams).map(against_the_first).collect(),
    })
}

fn against_the_first(rows: Vec<Row>) -> Vec<Row> {
    let first = rows.first().map_or(f64::NAN, |row| row.per_s);
    rows.into_iter().map(|row| row.against(first)).collect()
}

/// Lets people live stories, so few that the marketplace hardly grows.
async fn told(scratch: &Scratch, plan: &GrowPlan, events: i64) -> Result<Sample, BenchError> {
    let repetitions = i64::try_from(plan.length.repetitions).unwrap_or(1);
    let stories = usize::try_from(events / GROWTH / STORY / repetitions).unwrap_or(0).max(plan.callers);
    let (engine, deciding) = engine(scratch).await?;
    let market = Arc::new(Market::open(engine).await?);
    let living = market.clone();
    let told = so_often(plan.callers, stories, move || {
        let living = living.clone();
        async move { living.story(&market::Unobserved).await }.boxed()
    });
    let told = told.await?;
    drop(market);
    deciding.await?;
    Ok(told)
}

/// Commands on wallets of this length, and loads of them.
async fn of_length(
    scratch: &Scratch,
    plan: &GrowPlan,
    length: u64,
    count: usize,
) -> Result<(Vec<Sample>, Vec<Sample>), BenchError> {
    let (engine, deciding) = engine(scratch).await?;
    let wallets = Arc::new(wallets::with_events(&engine, count, length).await?);
    let (mut commands, mut loads) = (Vec::new(), Vec::new());
    let streams = Streams::new(scratch.database().pool(u32::try_from(LOADING).unwrap_or(u32::MAX)));
    // First: commands make streams longer.
    for _ in 0..plan.length.repetitions {
        let (streams, wallets, turn) = (streams.clone(), wallets.clone(), Arc::new(AtomicUsize::new(0)));
        let load = move || {
            let (streams, wallet) = (streams.clone(), next(&wallets, &turn));
            async move {
                let loaded = streams.load::<domain::wallet::Wallet>(wallet.0).await?;
                if loaded.version == length { Ok(()) } else { Err(BenchError::Material("streams")) }
            }
        };
        loads.push(again_and_again(LOADING, plan.length.slot, load).await?);
    }
    streams.pool().close().await;
    for _ in 0..plan.length.repetitions {
        let (engine, wallets, turn) = (engine.clone(), wallets.clone(), Arc::new(AtomicUsize::new(0)));
        let command = move || {
            let (engine, wallets, turn) = (engine.clone(), wallets.clone(), turn.clone());
            async move { wallets::hold_and_release(&engine, next(&wallets, &turn), 1).await }
        };
        commands.push(again_and_again(plan.callers, plan.length.slot, command).await?);
    }
    drop(engine);
    deciding.await?;
    Ok((commands, loads))
}

fn next(wallets: &[WalletId], turn: &AtomicUsize) -> WalletId {
    wallets[turn.fetch_add(1, Ordering::Relaxed) % wallets.len()]
}

async fn engine(scratch: &Scratch) -> Result<(Engine, tokio::task::JoinHandle<()>), BenchError> {
    let head = Head::at(log::head(&mut scratch.connect().await?).await?);
    Ok(Engine::start(&scratch.database(), EngineSettings::default(), Clock::new(), head, Feed::default()).await?)
}

/// What a run found. Shown as a table; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct GrowReport {
    #[serde(flatten)]
    machine: Machine,
    callers: usize,
    repetitions: usize,
    slot_s: f64,
    /// Each kind of work at every size or length.
    groups: Vec<Vec<Row>>,
}

impl fmt::Display for GrowReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, callers, repetitions, slot_s, groups } = self;
        writeln!(f, "tradepost bench grow\n{machine}")?;
        writeln!(f, "{callers} callers, {LOADING} for loads; median of {repetitions} repetitions of {slot_s} s\n")?;
        write_rows(f, "x smallest", groups.iter().flatten())
    }
}
