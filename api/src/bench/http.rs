//! `tradepost bench http`: the API beside its own health check, and the memory that it takes.
//!
//! The node is a process of this program, as an operator starts it, with a database of the run. Works take turns; each
//! is asked for as fast as its callers go, and then at four fifths of that, which tells how late answers are under load
//! that can be borne.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use domain::Timestamp;
use eventstore::follower;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::load::{self, Caller};
use super::machine::Machine;
use super::market::{COLOURS, THINGS};
use super::sample::Sample;
use super::scratch::Scratch;
use super::site::{Node, Site};
use super::slots::{Length, Servers, Slots};
use super::{BenchError, median, progress_bar};
use crate::app;

/// The share of the fastest rate at which lateness is measured.
const BEARABLE: f64 = 0.8;
/// How soon to look again whether read models have caught up.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long that may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// A bid tops the one before by so much, in cents; the increment of the auction is one cent.
const STEP: u64 = 3;
/// The prices of listings go up to so many cents.
const DEAREST: u64 = 100_000;
/// How many categories there are.
const CATEGORIES: u64 = 20;
/// Bids rise by a cent, so that an auction can take very many.
const CONFIGURATION: &str = "[auctions]\nincrements = { USD = [{ step = 1 }] }\n";
const ADDRESS: &str = r#"{"name": "Ann Lee", "line1": "12 Hill Road", "city": "Leeds", "country": "GB"}"#;

/// Measure the API beside its own health check, and the memory that it takes.
///
/// Each of --callers asks over a connection of its own, in every way in turn:
///   health                 GET /health: what HTTP itself costs here
///   bid                    accepted bids on one auction, with an access token and an Idempotency-Key
///   purchase               a listing bought and paid from the wallet: stock, order, wallet and escrow in one commit
///   page                   20 of --listings, of one category, cheapest first
///   page, unchanged        the same by a client that has it (If-None-Match)
///   search                 20 of --listings by a word
///   detail                 one listing by its id
///
/// It asks as fast as answers come, then at 80 % of that rate, whose p99 it tells.
///
/// Examples:
///   tradepost bench http
///   tradepost bench http --callers 64 --json http.json
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchHttp {
    #[command(flatten)]
    slots: Slots,
    /// Listings in the catalogue [default: 10000].
    #[arg(long, value_name = "N")]
    listings: Option<usize>,
    /// Callers at a time.
    #[arg(long, value_name = "N", default_value_t = 32)]
    callers: usize,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct HttpPlan {
    length: Length,
    listings: usize,
    callers: usize,
}

impl BenchHttp {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<HttpPlan, BenchError> {
        let listings = self.listings.unwrap_or(if self.slots.quick { 1_000 } else { 10_000 });
        if !(1..=1_024).contains(&self.callers) || listings < 100 {
            return Err(BenchError::Option {
                option: "--callers and --listings",
                expected: "from 1 to 1024, and at least 100",
            });
        }
        let length = self.slots.length(5, 3.0, 1.0)?;
        Ok(HttpPlan { length, listings, callers: self.callers })
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Work {
    Health,
    Bid,
    Purchase,
    Page,
    PageUnchanged,
    Search,
    Detail,
}

const WORKS: [Work; 7] =
    [Work::Health, Work::Bid, Work::Purchase, Work::Page, Work::PageUnchanged, Work::Search, Work::Detail];

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Health => "health",
            Self::Bid => "bid",
            Self::Purchase => "purchase",
            Self::Page => "page",
            Self::PageUnchanged => "page, unchanged",
            Self::Search => "search",
            Self::Detail => "detail",
        })
    }
}

/// Measures on these servers.
pub async fn http(options: &BenchHttp, plan: &HttpPlan, servers: &Servers<'_>) -> Result<HttpReport, BenchError> {
    servers.measure(&options.slots, async |[scratch]| measure(plan, scratch).await).await
}

async fn measure(plan: &HttpPlan, scratch: &Scratch) -> Result<HttpReport, BenchError> {
    let machine = Machine::with(scratch.facts().await?);
    let bar = progress_bar(plan.length.repetitions * WORKS.len())?;
    bar.set_message("a market is made");
    let site = Site::new(scratch.url(), CONFIGURATION)?;
    let node = site.start(&[]).await?;
    let market = Market::open(&node, plan).await?;
    caught_up(scratch).await?;
    // As autovacuum does within a minute.
    sqlx::query("analyze").execute(&mut scratch.connect().await?).await?;
    let mut samples: Vec<Vec<Pair>> = vec![Vec::new(); WORKS.len()];
    for round in 0..plan.length.repetitions {
        for turn in 0..WORKS.len() {
            // Nobody always goes first.
            let place = (turn + round) % WORKS.len();
            let work = WORKS[place];
            bar.set_message(work.to_string());
            samples[place].push(market.measure(work, &node, plan).await?);
            caught_up(scratch).await?;
            bar.inc(1);
        }
    }
    let peak_memory_mib = node.memory_mib().map(|(_, peak)| peak);
    node.end().await?;
    bar.finish_and_clear();
    let health = median(samples[0].iter().map(|pair| pair.fastest.per_s));
    let rows = WORKS.iter().zip(samples).map(|(work, samples)| {
        let of = |figure: fn(&Pair) -> f64| median(samples.iter().map(figure));
        Row {
            work: work.to_string(),
            per_s: of(|pair| pair.fastest.per_s),
            times_health: of(|pair| pair.fastest.per_s) / health,
            p50_ms: of(|pair| pair.fastest.p50_ms),
            p99_ms: of(|pair| pair.fastest.p99_ms),
            bearable_p99_ms: of(|pair| pair.bearable.p99_ms),
            refused: of(|pair| pair.fastest.refused),
            memory_mib: samples.iter().filter_map(|pair| pair.memory_mib).max(),
            repetitions: samples,
        }
    });
    let HttpPlan { length, listings, callers } = *plan;
    Ok(HttpReport {
        machine,
        callers,
        listings,
        slot_s: length.slot.as_secs_f64(),
        peak_memory_mib,
        rows: rows.collect(),
    })
}

/// Waits until all followers are at the head of the log, so that none works while something else is measured.
async fn caught_up(scratch: &Scratch) -> Result<(), BenchError> {
    let names: Vec<_> = app::followers().collect();
    let mut connection = scratch.connect().await?;
    let began = Instant::now();
    loop {
        let statuses = follower::statuses(&mut connection, &names, Timestamp::UNIX_EPOCH).await?;
        if statuses.iter().all(|status| status.lag_events == 0) {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(BenchError::Material("read models: they do not catch up"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Who and what there is.
struct Market {
    people: Vec<String>,
    auction: String,
    goods: String,
    listings: Arc<Vec<String>>,
    /// How many bids there have been.
    bids: Arc<AtomicU64>,
}

impl Market {
    /// Lets people join, gives them money, and fills the catalogue.
    async fn open(node: &Node, plan: &HttpPlan) -> Result<Self, BenchError> {
        let shop = &node.register("shop", 1).await?[0];
        let people = node.register("buyer", plan.callers).await?;
        for token in &people {
            let deposit = json!({ "amount": usd(10_000_000_000) });
            node.ask(Method::POST, "/api/v1/payments/deposit", Some(token), Some(&deposit)).await?;
        }
        let auction = json!({
            "title": "Cartier Tank wristwatch", "category": "watches", "condition": "good", "start_price": usd(1),
            "duration_s": 5_184_000,
        });
        let auction = named(&node.ask(Method::POST, "/api/v1/auctions", Some(shop), Some(&auction)).await?)?;
        let goods = offer(node, shop, "Ink", "stationery", 1_000, 1_000_000).await?;
        let mut listings = Vec::with_capacity(plan.listings);
        for (number, price) in (0..plan.listings).zip(prices()) {
            let title = format!("{} {} no. {number}", COLOURS[number % COLOURS.len()], THINGS[number % THINGS.len()]);
            let category = category(u64::try_from(number).unwrap_or_default());
            listings.push(offer(node, shop, &title, &category, price, 1).await?);
        }
        for token in &people {
            paid(node, token).await?;
        }
        Ok(Self { people, auction, goods, listings: Arc::new(listings), bids: Arc::default() })
    }

    async fn measure(&self, work: Work, node: &Node, plan: &HttpPlan) -> Result<Pair, BenchError> {
        // A bid whose turn came too late is refused by the rules; whoever sent it bids again.
        let expected: &[u16] = if work == Work::Bid { &[422] } else { &[] };
        let fastest = load::closed(self.callers(work, node).await?, plan.length.slot).await?;
        fastest.only_refused_with(expected)?;
        let fastest = fastest.sample();
        let bearable = load::paced(self.callers(work, node).await?, plan.length.slot, fastest.per_s * BEARABLE).await?;
        bearable.only_refused_with(expected)?;
        let memory_mib = node.memory_mib().map(|(now, _)| now);
        Ok(Pair { fastest, bearable: bearable.sample(), memory_mib })
    }

    async fn callers(&self, work: Work, node: &Node) -> Result<Vec<Caller>, BenchError> {
        let tags = if work == Work::PageUnchanged { node.tags((0..CATEGORIES).map(page)).await? } else { Vec::new() };
        let tags = Arc::new(tags);
        let callers = self.people.iter().zip(0_u64..).map(|(token, caller)| {
            let (token, bids, listings) = (token.clone(), self.bids.clone(), self.listings.clone());
            let (bid, purchase) = (
                format!("/api/v1/auctions/{}/bids", self.auction),
                format!("/api/v1/listings/{}/purchase", self.goods),
            );
            let bought = format!(r#"{{"pay": "now", "ship_to": {ADDRESS}}}"#);
            let tags = tags.clone();
            // Everybody looks at other things, all over the catalogue.
            let mut place = caller.wrapping_mul(7_919);
            let ask = move |ask: &mut Vec<u8>| {
                place = place.wrapping_add(104_729);
                match work {
                    Work::Health => load::get(ask, "/api/v1/health", None),
                    Work::Bid => {
                        let amount = (bids.fetch_add(1, Ordering::Relaxed) + 1) * STEP;
                        let maximum = format!(r#"{{"maximum": {{"amount": {amount}, "currency": "USD"}}}}"#);
                        load::post(ask, &bid, &token, &maximum);
                    }
                    Work::Purchase => load::post(ask, &purchase, &token, &bought),
                    Work::Page => load::get(ask, &page(place % CATEGORIES), None),
                    Work::PageUnchanged => {
                        let number = place % CATEGORIES;
                        let tag = usize::try_from(number).ok().and_then(|number| tags.get(number));
                        load::get(ask, &page(number), tag.map(String::as_str));
                    }
                    Work::Search => {
                        let thing = THINGS[usize::try_from(place).unwrap_or_default() % THINGS.len()];
                        load::get(ask, &format!("/api/v1/listings?q={thing}"), None);
                    }
                    Work::Detail => {
                        let listing = &listings[usize::try_from(place).unwrap_or_default() % listings.len()];
                        load::get(ask, &format!("/api/v1/listings/{listing}"), None);
                    }
                }
            };
            Caller { address: node.address.clone(), ask: Box::new(ask) }
        });
        Ok(callers.collect())
    }
}

/// Prices all over the range, the same in every run.
fn prices() -> impl Iterator<Item = u64> {
    (1..).map(|number: u64| 1 + number.wrapping_mul(6_700_417) % DEAREST)
}

fn category(number: u64) -> String {
    format!("category-{}", number % CATEGORIES)
}

/// A page of the catalogue, filtered and sorted.
fn page(number: u64) -> String {
    let (category, dearest) = (category(number), DEAREST * 9 / 10);
    format!("/api/v1/listings?category={category}&currency=USD&max_price={dearest}&sort=price_asc&limit=20")
}

fn usd(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "USD" })
}

/// The id of what was made.
fn named(answer: &Value) -> Result<String, BenchError> {
    answer["id"].as_str().map(str::to_owned).ok_or(BenchError::Material("market"))
}

async fn offer(
    node: &Node,
    shop: &str,
    title: &str,
    category: &str,
    price: u64,
    stock: u32,
) -> Result<String, BenchError> {
    let listing = json!({
        "title": title, "description": "In good order, from a house without smokers.", "category": category,
        "condition": "good", "price": usd(price), "stock": stock,
    });
    let listing = named(&node.ask(Method::POST, "/api/v1/listings", Some(shop), Some(&listing)).await?)?;
    node.ask(Method::POST, &format!("/api/v1/listings/{listing}/publish"), Some(shop), None).await?;
    Ok(listing)
}

/// Waits until somebody's money has arrived.
async fn paid(node: &Node, token: &str) -> Result<(), BenchError> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let wallet = node.ask(Method::GET, "/api/v1/wallet", Some(token), None).await?;
        if wallet["balances"][0]["available"]["amount"].as_u64().is_some_and(|amount| amount > 0) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(BenchError::Material("money"))
}

/// One slot as fast as it goes, and one at a rate that can be borne.
#[derive(Clone, Copy, Debug, Serialize)]
struct Pair {
    fastest: Sample,
    bearable: Sample,
    /// Of the node, at the end.
    memory_mib: Option<u64>,
}

/// What a run found. Shown as a table; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct HttpReport {
    #[serde(flatten)]
    machine: Machine,
    callers: usize,
    listings: usize,
    slot_s: f64,
    /// Of the node, over all works.
    peak_memory_mib: Option<u64>,
    rows: Vec<Row>,
}

/// Medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
struct Row {
    work: String,
    per_s: f64,
    /// Over the health checks per second.
    times_health: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// At four fifths of the rate.
    bearable_p99_ms: f64,
    /// The share that a rule refused, which does not count.
    refused: f64,
    /// Of the node after a slot, at most.
    memory_mib: Option<u64>,
    repetitions: Vec<Pair>,
}

impl fmt::Display for HttpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, callers, listings, slot_s, peak_memory_mib, rows } = self;
        writeln!(f, "tradepost bench http\n{machine}")?;
        let repetitions = rows.first().map_or(0, |row| row.repetitions.len());
        writeln!(
            f,
            "{callers} callers on the same machine, {listings} listings; median of {repetitions} repetitions of {slot_s} s\n"
        )?;
        let (rate, health, p50, p99) = ("per s", "x health", "p50 ms", "p99 ms");
        writeln!(
            f,
            "{:<16} {rate:>8} {health:>9} {p50:>8} {p99:>8} {:>12} {:>8} {:>6}",
            "", "p99 at 80 %", "refused", "MiB"
        )?;
        for Row { work, per_s, times_health, p50_ms, p99_ms, bearable_p99_ms, refused, memory_mib, .. } in rows {
            writeln!(
                f,
                "{work:<16} {per_s:>8.0} {times_health:>9.3} {p50_ms:>8.2} {p99_ms:>8.2} {bearable_p99_ms:>12.2} {:>7.1}% {:>6}",
                refused * 100.0,
                memory_mib.map_or("-".to_owned(), |mib| mib.to_string())
            )?;
        }
        let memory = peak_memory_mib.map_or("unknown".to_owned(), |peak| format!("{peak} MiB"));
        writeln!(f, "\nmost memory of the node over all of it: {memory}")
    }
}
