//! `tradepost bench read`: queries of read models beside an empty one, searches beside `ILIKE`, and loads of aggregates.
//!
//! Without HTTP, through a pool like that of a node: what is asked for differs each time, so that nothing is answered
//! from one page of one table.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Args;
use commands::{Engine, EngineSettings};
use cqrs_es::persist::PersistedEventRepository;
use domain::wallet::Wallet;
use domain::{Aggregate, WalletId};
use eventstore::clock::Clock;
use eventstore::cqrs::Cqrs;
use eventstore::feed::Feed;
use eventstore::log::{self, Head};
use eventstore::streams::Streams;
use postgres_es::PostgresEventRepository;
use serde::Serialize;
use sqlx::{Executor, PgPool};

use super::machine::Machine;
use super::questions::{QUESTIONS, Question, Readers};
use super::sample::{Row, Sample, again_and_again, write_rows};
use super::scratch::Scratch;
use super::searching::{SEARCHES, Search, Searchers};
use super::slots::{Length, Servers, Slots};
use super::wallets;
use super::{BenchError, market, progress_bar};

/// Callers at a time who load aggregates: as many connections as the loop loads through.
const LOADING: usize = 4;
/// Wallets of each length.
const WALLETS: usize = 20;
/// Events of a short stream and of a long one. The long one ends 48 events after a snapshot.
const SHORT: u64 = 11;
const LONG: u64 = 1_051;
const SINCE_SNAPSHOT: u64 = 48;

/// Measure queries of read models beside an empty one, searches beside `ILIKE`, and loads of aggregates.
///
/// Queries, each over an index in the order of its page, of a marketplace with --events events; `x select 1` is how much
/// of what a round trip allows is left.
///
/// Searches of a catalogue of its own with --listings listings, by two words of some title; words, brands and categories
/// come as often as in texts that people write:
///   ilike '%…%'            the plain way, over the same table
///   search, ...            as the route does it, which first looks for mistakes
///   a word mistyped        in one of the words two letters have changed places
///   with facets            a page, and counts of all that is found
///   suggestions            for a word and three letters of the next one
///
/// Loads of aggregates that are not in memory, by 4 callers:
///   11 events              a short stream
///   1,051 events           a long stream from its last snapshot, as the decision loop loads it
///   ..., no snapshot       the same from its first event
///   ..., postgres-es       the same by postgres-es, from its first event
///
/// Examples:
///   tradepost bench read
///   tradepost bench read --events 1000000 --json read.json
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchRead {
    #[command(flatten)]
    slots: Slots,
    /// Events that the marketplace has [default: 100000].
    #[arg(long, value_name = "N")]
    events: Option<i64>,
    /// Listings that the catalogue has which is searched [default: 100000].
    #[arg(long, value_name = "N")]
    listings: Option<usize>,
    /// Callers at a time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    callers: usize,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    length: Length,
    events: i64,
    listings: usize,
    callers: usize,
}

impl BenchRead {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<ReadPlan, BenchError> {
        let events = self.events.unwrap_or(if self.slots.quick { 5_000 } else { 100_000 });
        let listings = self.listings.unwrap_or(if self.slots.quick { 2_000 } else { 100_000 });
        if events < 1_000 || listings < 1_000 || !(1..=1_024).contains(&self.callers) {
            return Err(BenchError::Option {
                option: "--events, --listings and --callers",
                expected: "at least 1000, at least 1000, and from 1 to 1024",
            });
        }
        let length = self.slots.length(5, 2.0, 0.3)?;
        Ok(ReadPlan { length, events, listings, callers: self.callers })
    }
}

/// How an aggregate is loaded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Load {
    Short,
    FromSnapshot,
    Whole,
    ByPostgresEs,
}

const LOADS: [Load; 4] = [Load::Short, Load::FromSnapshot, Load::Whole, Load::ByPostgresEs];

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Short => "11 events",
            Self::FromSnapshot => "1,051 events",
            Self::Whole => "1,051 events, no snapshot",
            Self::ByPostgresEs => "1,051 events, postgres-es",
        })
    }
}

/// Measures on these servers.
pub async fn read(options: &BenchRead, plan: &ReadPlan, servers: &Servers<'_>) -> Result<ReadReport, BenchError> {
    servers.measure(&options.slots, async |[scratch, shelves]| measure(plan, scratch, shelves).await).await
}

async fn measure(plan: &ReadPlan, scratch: &Scratch, shelves: &Scratch) -> Result<ReadReport, BenchError> {
    let Length { repetitions, slot } = plan.length;
    let machine = Machine::with(scratch.facts().await?);
    let bar = progress_bar(repetitions * (QUESTIONS.len() + SEARCHES.len() + LOADS.len()))?;
    for scratch in [scratch, shelves] {
        crate::app::prepare(&scratch.database()).await.map_err(|error| BenchError::Prepare(Box::new(error)))?;
    }
    bar.set_message("shelves are filled");
    market::fill_shelves(shelves, plan.listings).await?;
    let visitors = Searchers::of(shelves, plan.listings).await?;
    bar.set_message("people trade");
    let events = market::trade_up(scratch, plan.events).await?;
    market::show(scratch).await?;
    let (readers, streams) = (Readers::of(scratch).await?, Loads::prepare(scratch).await?);
    let (mut asked, mut loaded) = (vec![Vec::new(); QUESTIONS.len()], vec![Vec::new(); LOADS.len()]);
    let mut samples = vec![Vec::new(); SEARCHES.len()];
    for round in 0..repetitions {
        for turn in 0..QUESTIONS.len() {
            // Nobody always goes first.
            let place = (turn + round) % QUESTIONS.len();
            bar.set_message(QUESTIONS[place].to_string());
            asked[place].push(readers.measure(QUESTIONS[place], plan.callers, slot).await?);
            bar.inc(1);
        }
        for turn in 0..SEARCHES.len() {
            let place = (turn + round) % SEARCHES.len();
            bar.set_message(SEARCHES[place].to_string());
            samples[place].push(visitors.measure(SEARCHES[place], plan.callers, slot).await?);
            bar.inc(1);
        }
        for turn in 0..LOADS.len() {
            let place = (turn + round) % LOADS.len();
            bar.set_message(LOADS[place].to_string());
            loaded[place].push(streams.measure(LOADS[place], slot).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    readers.close().await;
    visitors.close().await;
    streams.pool.close().await;
    let queries: Vec<Row> = QUESTIONS.iter().zip(asked).map(|(question, samples)| Row::of(question, samples)).collect();
    let searches: Vec<Row> = SEARCHES.iter().zip(samples).map(|(search, taken)| Row::of(search, taken)).collect();
    let loads: Vec<Row> = LOADS.iter().zip(loaded).map(|(load, samples)| Row::of(load, samples)).collect();
    let ilike = SEARCHES.iter().zip(&searches).find(|(search, _)| **search == Search::Ilike);
    let ilike = ilike.map_or(f64::NAN, |(_, row)| row.per_s);
    let floor = QUESTIONS.iter().zip(&queries).find(|(question, _)| **question == Question::Nothing);
    let whole = LOADS.iter().zip(&loads).find(|(load, _)| **load == Load::Whole);
    let (floor, whole) = (floor.map_or(f64::NAN, |(_, row)| row.per_s), whole.map_or(f64::NAN, |(_, row)| row.per_s));
    Ok(ReadReport {
        machine,
        events,
        callers: plan.callers,
        slot_s: slot.as_secs_f64(),
        queries: queries.into_iter().map(|row| row.against(floor)).collect(),
        listings: plan.listings,
        searches: searches.into_iter().map(|row| row.against(ilike)).collect(),
        mistakes_understood: visitors.understood(),
        loads: loads.into_iter().map(|row| row.against(whole)).collect(),
    })
}

/// Wallets with short streams, with long ones, and with long ones that have no snapshot.
struct Loads {
    pool: PgPool,
    short: Arc<Vec<WalletId>>,
    long: Arc<Vec<WalletId>>,
    without_snapshot: Arc<Vec<WalletId>>,
}

impl Loads {
    async fn prepare(scratch: &Scratch) -> Result<Self, BenchError> {
        let database = scratch.database();
        let head = Head::at(log::head(&mut scratch.connect().await?).await?);
        let (engine, deciding) =
            Engine::start(&database, EngineSettings::default(), Clock::new(), head, Feed::default()).await?;
        let short = wallets::with_events(&engine, WALLETS, SHORT).await?;
        let without_snapshot = wallets::with_events(&engine, WALLETS, LONG).await?;
        let long = wallets::with_events(&engine, WALLETS, LONG).await?;
        drop(engine);
        deciding.await?;
        // With the engine its snapshots are kept.
        let ids: Vec<String> = without_snapshot.iter().map(ToString::to_string).collect();
        let mut owner = scratch.connect().await?;
        sqlx::query("delete from snapshots where aggregate_id = any($1)").bind(ids).execute(&mut owner).await?;
        owner.execute("analyze").await?;
        let pool = database.pool(u32::try_from(LOADING).unwrap_or(u32::MAX));
        Ok(Self { pool, short: Arc::new(short), long: Arc::new(long), without_snapshot: Arc::new(without_snapshot) })
    }

    async fn measure(&self, load: Load, slot: Duration) -> Result<Sample, BenchError> {
        let (ids, version) = match load {
            Load::Short => (&self.short, SHORT),
            Load::FromSnapshot => (&self.long, LONG),
            Load::Whole | Load::ByPostgresEs => (&self.without_snapshot, LONG),
        };
        let (ids, pool, turn) = (ids.clone(), self.pool.clone(), Arc::new(AtomicUsize::new(0)));
        again_and_again(LOADING, slot, move || {
            let (ids, pool, turn) = (ids.clone(), pool.clone(), turn.clone());
            async move {
                let id = ids[turn.fetch_add(1, Ordering::Relaxed) % ids.len()];
                let found = match load {
                    Load::Short | Load::FromSnapshot | Load::Whole => {
                        let loaded = Streams::new(pool).load::<Wallet>(id.0).await?;
                        let read = if load == Load::FromSnapshot { SINCE_SNAPSHOT } else { version };
                        if loaded.version - loaded.in_snapshot != read {
                            return Err(BenchError::Material("snapshots"));
                        }
                        loaded.version
                    }
                    Load::ByPostgresEs => by_postgres_es(pool, id).await?,
                };
                if found == version { Ok(()) } else { Err(BenchError::Material("streams")) }
            }
        })
        .await
    }
}

/// Loads a wallet as cqrs-es does, and answers with its version.
async fn by_postgres_es(pool: PgPool, id: WalletId) -> Result<u64, BenchError> {
    let plain = |error: &dyn fmt::Display| BenchError::Plain(error.to_string());
    let repository = PostgresEventRepository::new(pool);
    let events = repository.get_events::<Cqrs<Wallet>>(&id.to_string()).await.map_err(|error| plain(&error))?;
    let (mut wallet, mut version) = (Wallet::default(), 0);
    for event in events {
        wallet.evolve(&serde_json::from_value(event.payload).map_err(|error| plain(&error))?);
        version += 1;
    }
    Ok(version)
}

/// What a run found. Shown as tables; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct ReadReport {
    #[serde(flatten)]
    machine: Machine,
    events: i64,
    callers: usize,
    slot_s: f64,
    queries: Vec<Row>,
    listings: usize,
    searches: Vec<Row>,
    /// The share of searches with a mistyped word that have found something.
    mistakes_understood: f64,
    loads: Vec<Row>,
}

impl fmt::Display for ReadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, events, callers, slot_s, queries, loads, listings, searches, mistakes_understood } = self;
        writeln!(f, "tradepost bench read\n{machine}")?;
        let repetitions = queries.first().map_or(0, |row| row.repetitions.len());
        writeln!(f, "{events} events; median of {repetitions} repetitions of {slot_s} s\n")?;
        writeln!(f, "queries, {callers} callers")?;
        write_rows(f, "x select 1", queries)?;
        writeln!(f, "\nsearches of {listings} listings, {callers} callers")?;
        write_rows(f, "x ilike", searches)?;
        writeln!(f, "{:.1} % of the mistyped searches have found something", mistakes_understood * 100.0)?;
        writeln!(f, "\nloads of aggregates, {LOADING} callers")?;
        write_rows(f, "x no snapshot", loads)
    }
}
