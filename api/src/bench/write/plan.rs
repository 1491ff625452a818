//! Who has a slot when, and what is kept of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use domain::AccountId;
use eventstore::mint;
use sqlx::PgPool;

use super::BenchError;
use super::decision_loop::{self, DecisionLoop};
use super::plain::{self, Loading, Plain};
use super::report::{Key, Report, Samples, Settings};
use super::workload::{self, Ledger, Purses, Span, Subject, Tally};
use crate::bench::scratch::Scratch;
use crate::bench::slots::Length;
use crate::bench::{progress_bar, raw};

/// Part of a slot that the warm-up takes.
const WARM_UP: u32 = 4;

/// From so many callers on batches are full, and can be compared with raw ones of this size.
const BATCHED: usize = 256;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) length: Length,
    pub(super) callers: Vec<usize>,
    pub(super) wallets: usize,
    pub(super) bids: u64,
    pub(super) bidders: usize,
    /// Nothing: the plain pair goes on until all bids are in.
    pub(super) plain_limit: Option<Duration>,
    pub(super) plain_connections: u32,
    pub(super) batch_max: usize,
}

/// What callers do.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Work {
    /// Holds in many wallets.
    Wallets {
        /// At a time.
        callers: usize,
    },
    /// Bids on one auction.
    HotAuction {
        /// At a time.
        callers: usize,
    },
}

/// Who does it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Variant {
    Loop,
    LoopWithKeys,
    LoopWithNotary,
    Plain,
    PlainWithSnapshots,
    RawRows,
    RawBatches,
    RawBatchesWithKeys,
}

impl Work {
    pub(super) fn variants(self) -> &'static [Variant] {
        match self {
            Self::Wallets { callers } if callers < BATCHED => {
                &[Variant::Loop, Variant::LoopWithNotary, Variant::LoopWithKeys, Variant::Plain, Variant::RawRows]
            }
            Self::Wallets { .. } => &[
                Variant::Loop,
                Variant::LoopWithNotary,
                Variant::LoopWithKeys,
                Variant::Plain,
                Variant::RawRows,
                Variant::RawBatches,
                Variant::RawBatchesWithKeys,
            ],
            Self::HotAuction { .. } => &[
                Variant::Loop,
                Variant::LoopWithNotary,
                Variant::LoopWithKeys,
                Variant::Plain,
                Variant::PlainWithSnapshots,
            ],
        }
    }

    pub(super) fn callers(self) -> usize {
        match self {
            Self::Wallets { callers } | Self::HotAuction { callers } => callers,
        }
    }
}

/// Everything that a run needs, and what it has acknowledged.
struct Bench<'a> {
    plan: &'a Plan,
    scratch: &'a Scratch,
    engine: DecisionLoop,
    pools: HashMap<(&'static str, u32), PgPool>,
    bidders: Vec<AccountId>,
    our_wallets: Purses,
    plain_wallets: Purses,
    ours: Ledger,
    plain: Ledger,
    with_snapshots: Ledger,
    raw: Ledger,
    /// The next position in the raw table.
    raw_next: Arc<AtomicI64>,
}

/// Carries the plan out, and checks both logs.
pub(super) async fn measure(plan: &Plan, scratch: &Scratch) -> Result<Report, BenchError> {
    let facts = scratch.facts().await?;
    let mut works: Vec<Work> = plan.callers.iter().map(|&callers| Work::Wallets { callers }).collect();
    works.push(Work::HotAuction { callers: plan.bidders });
    let slots: usize = works.iter().map(|work| work.variants().len()).sum::<usize>() * (plan.length.repetitions + 1);
    let bar = progress_bar(slots)?;
    bar.set_message("opening wallets");
    let mut bench = Bench::prepare(plan, scratch).await?;
    let mut samples = Samples::new();
    for repetition in 0..=plan.length.repetitions {
        for &work in &works {
            let variants = work.variants();
            for turn in 0..variants.len() {
                // Nobody always goes first.
                let variant = variants[(turn + repetition) % variants.len()];
                let key = Key { work, variant };
                bar.set_message(format!("{key}{}", if repetition == 0 { ", warming up" } else { "" }));
                let tally = bench.slot(key, repetition == 0).await?;
                if repetition > 0 {
                    samples.add(key, &tally);
                }
                bar.inc(1);
            }
        }
    }
    bar.set_message("checking the logs");
    let notes = bench.check().await?;
    bar.finish_and_clear();
    Ok(samples.report(&works, Settings::of(plan, facts), notes))
}

impl<'a> Bench<'a> {
    async fn prepare(plan: &'a Plan, scratch: &'a Scratch) -> Result<Self, BenchError> {
        let engine = DecisionLoop::start(scratch, plan.batch_max).await?;
        for loading in [Loading::Streams, Loading::Snapshots] {
            plain::create_tables(scratch, loading).await?;
        }
        raw::create_tables(scratch).await?;
        let mut bench = Self {
            plan,
            scratch,
            engine,
            pools: HashMap::new(),
            bidders: (0..plan.bidders).map(|_| AccountId(mint::id())).collect(),
            our_wallets: Purses::new(),
            plain_wallets: Purses::new(),
            ours: Ledger::default(),
            plain: Ledger::default(),
            with_snapshots: Ledger::default(),
            raw: Ledger::default(),
            raw_next: Arc::new(AtomicI64::new(1)),
        };
        let door = bench.engine.door(false);
        for &bidder in &bench.bidders {
            bench.ours.events += door.join(bidder).await?;
        }
        bench.our_wallets = workload::open_wallets(&Subject::Loop(door), plan.wallets, &mut bench.ours).await?;
        let pair = bench.plain(Loading::Streams, plan.bidders).await?;
        bench.plain_wallets = workload::open_wallets(&pair, plan.wallets, &mut bench.plain).await?;
        Ok(bench)
    }

    /// One slot of one variant.
    async fn slot(&mut self, key: Key, warm_up: bool) -> Result<Tally, BenchError> {
        let Key { work, variant } = key;
        let slot = if warm_up { self.plan.length.slot / WARM_UP } else { self.plan.length.slot };
        let subject = match variant {
            Variant::RawRows | Variant::RawBatches | Variant::RawBatchesWithKeys => {
                return self.raw(key, slot).await;
            }
            Variant::Loop | Variant::LoopWithNotary => Subject::Loop(self.engine.door(false)),
            Variant::LoopWithKeys => Subject::Loop(self.engine.door(true)),
            Variant::Plain => self.plain(Loading::Streams, work.callers()).await?,
            Variant::PlainWithSnapshots => self.plain(Loading::Snapshots, work.callers()).await?,
        };
        let notarizing = match variant {
            Variant::LoopWithNotary => Some(self.engine.notarize(self.scratch).await?),
            _ => None,
        };
        let (ledger, wallets) = match variant {
            Variant::Loop | Variant::LoopWithNotary | Variant::LoopWithKeys => (&mut self.ours, &mut self.our_wallets),
            Variant::Plain => (&mut self.plain, &mut self.plain_wallets),
            _ => (&mut self.with_snapshots, &mut self.plain_wallets),
        };
        let tally = match work {
            Work::Wallets { callers } => workload::hold_and_release(&subject, wallets, callers, slot).await?,
            Work::HotAuction { .. } => {
                let span = match (variant, self.plan.plain_limit) {
                    (Variant::Loop | Variant::LoopWithNotary | Variant::LoopWithKeys, _) => Span::Filled(slot),
                    (_, _) if warm_up => Span::Cut(slot),
                    (_, Some(limit)) => Span::Cut(limit),
                    (_, None) => Span::Whole,
                };
                workload::bid_on_hot_auctions(&subject, &self.bidders, self.plan.bids, span, ledger).await?
            }
        };
        if let Some(notarizing) = notarizing {
            notarizing.stop().await;
        }
        let accepted = i64::try_from(tally.accepted).unwrap_or(i64::MAX);
        ledger.events += accepted;
        if variant == Variant::LoopWithKeys {
            ledger.keys += accepted;
        }
        Ok(tally)
    }

    /// One slot of inserts without anything that decides.
    async fn raw(&mut self, key: Key, slot: Duration) -> Result<Tally, BenchError> {
        let Key { work, variant } = key;
        let callers = if variant == Variant::RawRows { work.callers() } else { 1 };
        let (pool, next) = (self.pool(raw::SCHEMA, callers).await?, self.raw_next.clone());
        let tally = if variant == Variant::RawRows {
            raw::rows(&pool, &next, callers, slot).await?
        } else {
            let with_keys = variant == Variant::RawBatchesWithKeys;
            raw::batches(&mut *pool.acquire().await?, &next, with_keys, BATCHED, slot).await?
        };
        self.raw.events += i64::try_from(tally.accepted).unwrap_or(i64::MAX);
        Ok(tally)
    }

    /// The plain pair with a connection per caller, up to the limit.
    async fn plain(&mut self, loading: Loading, callers: usize) -> Result<Subject, BenchError> {
        Ok(Subject::Plain(Plain::new(&self.pool(loading.schema(), callers).await?, loading)))
    }

    /// Connections to the tables of a schema, one per caller up to the limit.
    async fn pool(&mut self, schema: &'static str, callers: usize) -> Result<PgPool, BenchError> {
        let connections = u32::try_from(callers).unwrap_or(u32::MAX).min(self.plan.plain_connections);
        let name = (schema, connections);
        if !self.pools.contains_key(&name) {
            self.pools.insert(name, self.scratch.pool(schema, connections).await?);
        }
        Ok(self.pools[&name].clone())
    }

    /// Ends both sides and compares their logs with what was acknowledged.
    async fn check(self) -> Result<Vec<String>, BenchError> {
        self.engine.stop().await?;
        for pool in self.pools.values() {
            pool.close().await;
        }
        let mut connection = self.scratch.connect().await?;
        let hashed = eventstore::proof::store::size(&mut connection).await?;
        decision_loop::check(&mut connection, &self.ours).await?;
        plain::check(&mut connection, Loading::Streams, self.plain.events).await?;
        raw::check(&mut connection, self.raw.events).await?;
        let extra = plain::check(&mut connection, Loading::Snapshots, self.with_snapshots.events).await?;
        let mut notes = vec![format!(
            "checked: {} events and {} keys of the decision loop, {} events of the plain pair are exactly those \
             acknowledged; no gap in positions or sequences",
            self.ours.events,
            self.ours.keys,
            self.plain.events + self.with_snapshots.events
        )];
        notes.push(format!(
            "the notary hashed {hashed} of these events while others worked, for {} % of its time",
            decision_loop::SHARE_PERCENT
        ));
        if extra > 0 {
            notes.push(format!(
                "plain, snapshots: {extra} events were stored though the pair reported a conflict (its update of the \
                 snapshot commits before it looks whether it took effect)"
            ));
        }
        Ok(notes)
    }
}
