//! `tradepost bench live`: open sockets on one node: the memory that each takes, how soon it has what is new, and what
//! becomes of those who do not read.
//!
//! The node is a process of this program, as an operator starts it, with a database of the run; each kind of sockets has
//! a node that was just started. The sockets are opened by this process, which shares the machine with the node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::machine::Machine;
use super::sample::Sample;
use super::scratch::Scratch;
use super::site::{Node, Site};
use super::slots::{Length, Servers, Slots};
use super::{BenchError, median, progress_bar};

mod sockets;

use sockets::{Board, Idler, Sockets};

/// How many bids there are in a second.
const BIDS_PER_S: f64 = 5.0;
/// How many messages.
const MESSAGES_PER_S: f64 = 100.0;
/// Long messages, for those who do not read: what the system keeps for them has to fill up first.
const LONG_PER_S: f64 = 20.0;
/// How many sockets of one chat read, while others do not.
const READING: usize = 100;
/// How many do not read.
const IDLE: usize = 20;
/// Nobody opens more chats on a day.
const CHATS_EACH: usize = domain::contacts::MOST_A_DAY as usize;
/// What does not happen by then does not happen.
const PATIENCE: Duration = Duration::from_mins(1);
/// Sockets that a node has had before those that are counted, so that what every node takes is no part of it.
const WARM_UP: usize = 50;
/// So many times as many sockets are opened beside those that are measured, to tell what each takes: the first ones fit
/// into memory that the node has had before.
const MORE: usize = 2;
/// Bids rise by a cent, so that an auction can take very many; and all sockets come from one address.
const CONFIGURATION: &str = "[auctions]\nincrements = { USD = [{ step = 1 }] }\n[http]\nconnections_per_sender = 100000\nconnections = 100000\n";

/// Measure open sockets on one node.
///
///   one auction            all of --sockets watch it while there are 5 bids in a second
///   chats of two           half as many chats, with both parties there, and 100 messages in a second
///   one chat               100 sockets that read, and 20 messages of 4,000 characters in a second
///   ... some do not read   the same beside 20 sockets that do not read, until all of these are cut
///
/// A delivery is late by the time between when a bid or message was sent to the node and when a socket has it. Memory is
/// that of the node: what each of twice as many more would take, which are open for a moment; the first ones fit into
/// memory that the node has anyway.
///
/// Examples:
///   tradepost bench live
///   tradepost bench live --sockets 5000 --json live.json
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchLive {
    #[command(flatten)]
    slots: Slots,
    /// Sockets at a time [default: 2000].
    #[arg(long, value_name = "N")]
    sockets: Option<usize>,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct LivePlan {
    length: Length,
    sockets: usize,
}

impl BenchLive {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<LivePlan, BenchError> {
        let sockets = self.sockets.unwrap_or(if self.slots.quick { 200 } else { 2_000 });
        if !(10..=50_000).contains(&sockets) {
            return Err(BenchError::Option { option: "--sockets", expected: "from 10 to 50000" });
        }
        Ok(LivePlan { length: self.slots.length(3, 10.0, 2.0)?, sockets })
    }
}

/// Measures on these servers.
pub async fn live(options: &BenchLive, plan: &LivePlan, servers: &Servers<'_>) -> Result<LiveReport, BenchError> {
    servers.measure(&options.slots, async |[scratch]| measure(plan, scratch).await).await
}

async fn measure(plan: &LivePlan, scratch: &Scratch) -> Result<LiveReport, BenchError> {
    let machine = Machine::with(scratch.facts().await?);
    let bar = progress_bar(4)?;
    bar.set_message("a market is made");
    let site = Site::new(scratch.url(), CONFIGURATION)?;
    let node = site.start(&[]).await?;
    let market = Market::open(&node, plan).await?;
    node.end().await?;
    let LivePlan { length, sockets } = *plan;
    let mut rows = Vec::new();

    bar.set_message("one auction");
    let node = site.start(&[]).await?;
    rows.push(market.watch_auction(&node, length, sockets).await?);
    node.end().await?;
    bar.inc(1);

    bar.set_message("chats of two");
    let node = site.start(&[]).await?;
    rows.push(market.talk(&node, length, sockets).await?);
    node.end().await?;
    bar.inc(1);

    bar.set_message("one chat");
    let node = site.start(&[]).await?;
    rows.push(market.talk_at_length(&node, length).await?);
    bar.inc(1);
    bar.set_message("some do not read");
    let (row, cut) = market.talk_to_idlers(&node, length).await?;
    rows.push(row);
    node.end().await?;
    bar.finish_and_clear();
    Ok(LiveReport { machine, slot_s: length.slot.as_secs_f64(), rows, cut })
}

/// Who and what there is.
struct Market {
    shop: String,
    buyers: Vec<String>,
    auction: String,
    /// Each with the token of its buyer.
    chats: Vec<(String, String)>,
}

impl Market {
    async fn open(node: &Node, plan: &LivePlan) -> Result<Self, BenchError> {
        let shop = node.register("shop", 1).await?.remove(0);
        let chats = plan.sockets.div_ceil(2);
        let buyers = node.register("buyer", chats.div_ceil(CHATS_EACH)).await?;
        let auction = json!({
            "title": "Cartier Tank wristwatch", "category": "watches", "condition": "good", "start_price": usd(1),
            "duration_s": 5_184_000,
        });
        let auction = named(&node.ask(Method::POST, "/api/v1/auctions", Some(&shop), Some(&auction)).await?)?;
        let mut listings = Vec::new();
        for number in 0..CHATS_EACH.min(chats) {
            let listing = json!({
                "title": format!("Ink no. {number}"), "category": "ink", "condition": "new", "price": usd(1_000),
            });
            let listing = named(&node.ask(Method::POST, "/api/v1/listings", Some(&shop), Some(&listing)).await?)?;
            node.ask(Method::POST, &format!("/api/v1/listings/{listing}/publish"), Some(&shop), None).await?;
            listings.push(listing);
        }
        let mut open = Vec::with_capacity(chats);
        'all: for buyer in &buyers {
            for listing in &listings {
                if open.len() == chats {
                    break 'all;
                }
                let about = json!({ "about": "listing", "id": listing });
                let chat = node.ask(Method::POST, "/api/v1/chats", Some(buyer), Some(&about)).await?;
                open.push((named(&chat)?, buyer.clone()));
            }
        }
        Ok(Self { shop, buyers, auction, chats: open })
    }

    async fn watch_auction(&self, node: &Node, length: Length, count: usize) -> Result<Row, BenchError> {
        let path = format!("/ws/auctions/{}", self.auction);
        let board = Board::new("\"bids\":")?;
        let opened = async |count| Sockets::open(node, &board, std::iter::repeat_n(path.clone(), count)).await;
        let warm_up = opened(WARM_UP).await?;
        let bids = node.ask(Method::GET, &format!("/api/v1/auctions/{}", self.auction), None, None).await?;
        let mut bid = bids["bids"].as_u64().unwrap_or_default();
        self.bid(node, &board, &mut bid).await?;
        drop(warm_up);
        let sockets = opened(count).await?;
        let before = settled_kib(node).await;
        let others = opened(MORE * count).await?;
        let memory = Memory::more(before, settled_kib(node).await, MORE * count);
        drop(others);
        let mut samples = Vec::new();
        for _ in 0..length.repetitions {
            let slot = Slot::begin(&board, length.slot);
            let mut due = Instant::now();
            while slot.goes_on() {
                tokio::time::sleep_until(due).await;
                self.bid(node, &board, &mut bid).await?;
                due += Duration::from_secs_f64(1.0 / BIDS_PER_S);
            }
            samples.push(slot.end(&board).await?);
        }
        sockets.expect_all_open("one auction")?;
        Ok(Row::of("one auction", count, memory, samples))
    }

    /// Tops the last bid.
    async fn bid(&self, node: &Node, board: &Board, bids: &mut u64) -> Result<(), BenchError> {
        *bids += 1;
        let bidder = &self.buyers[usize::try_from(*bids).unwrap_or_default() % self.buyers.len()];
        let path = format!("/api/v1/auctions/{}/bids", self.auction);
        board.sent(*bids);
        let bid = json!({ "maximum": usd(*bids * 3) });
        node.ask(Method::POST, &path, Some(bidder), Some(&bid)).await.map(drop)
    }

    async fn talk(&self, node: &Node, length: Length, count: usize) -> Result<Row, BenchError> {
        let board = Board::new("\"text\":\"")?;
        let mut number = 0;
        let paths = self.paths(node, count).await?;
        let (chat, buyer) = &self.chats[0];
        let mut warm_up = Vec::new();
        for _ in 0..WARM_UP {
            warm_up.push(self.path(node, chat, buyer).await?);
        }
        let warm_up = Sockets::open(node, &board, warm_up).await?;
        self.write(node, &board, &mut number, 0, "").await?;
        drop(warm_up);
        let sockets = Sockets::open(node, &board, paths).await?;
        let before = settled_kib(node).await;
        let mut others = Vec::new();
        for _ in 0..MORE {
            let paths = self.paths(node, count).await?;
            others.push(Sockets::open(node, &board, paths).await?);
        }
        let memory = Memory::more(before, settled_kib(node).await, MORE * count);
        drop(others);
        let mut samples = Vec::new();
        for _ in 0..length.repetitions {
            let slot = Slot::begin(&board, length.slot);
            let mut due = Instant::now();
            while slot.goes_on() {
                tokio::time::sleep_until(due).await;
                let place = usize::try_from(number).unwrap_or_default() % self.chats.len();
                self.write(node, &board, &mut number, place, "").await?;
                due += Duration::from_secs_f64(1.0 / MESSAGES_PER_S);
            }
            samples.push(slot.end(&board).await?);
        }
        sockets.expect_all_open("chats of two")?;
        Ok(Row::of("chats of two", count, memory, samples))
    }

    /// The addresses of sockets of both parties of each chat, so many in all.
    async fn paths(&self, node: &Node, count: usize) -> Result<Vec<String>, BenchError> {
        let mut paths = Vec::with_capacity(count);
        for (chat, buyer) in &self.chats {
            for party in [buyer, &self.shop] {
                if paths.len() < count {
                    paths.push(self.path(node, chat, party).await?);
                }
            }
        }
        Ok(paths)
    }

    /// The address of a socket, with a ticket.
    async fn path(&self, node: &Node, chat: &str, party: &str) -> Result<String, BenchError> {
        let ticket = node.ask(Method::POST, "/api/v1/auth/ws-ticket", Some(party), None).await?;
        let ticket = ticket["ticket"].as_str().ok_or(BenchError::Material("tickets"))?;
        Ok(format!("/ws/chats/{chat}?ticket={ticket}"))
    }

    /// Writes in a chat, each party in turn.
    async fn write(
        &self,
        node: &Node,
        board: &Board,
        number: &mut u64,
        place: usize,
        more: &str,
    ) -> Result<(), BenchError> {
        *number += 1;
        let (chat, buyer) = &self.chats[place];
        let rounds = *number / u64::try_from(self.chats.len()).unwrap_or(1).max(1);
        let turn = if more.is_empty() { rounds } else { *number };
        let author = if turn % 2 == 0 { buyer } else { &self.shop };
        let text = json!({ "text": format!("{number} {more}") });
        board.sent(*number);
        node.ask(Method::POST, &format!("/api/v1/chats/{chat}/messages"), Some(author), Some(&text)).await.map(drop)
    }

    async fn reading(&self, node: &Node, board: &Arc<Board>) -> Result<Sockets, BenchError> {
        let (chat, buyer) = &self.chats[0];
        let mut paths = Vec::with_capacity(READING);
        for _ in 0..READING {
            paths.push(self.path(node, chat, buyer).await?);
        }
        Sockets::open(node, board, paths).await
    }

    async fn talk_at_length(&self, node: &Node, length: Length) -> Result<Row, BenchError> {
        let (board, mut number) = (Board::new("\"text\":\"")?, 0);
        let sockets = self.reading(node, &board).await?;
        let mut samples = Vec::new();
        for _ in 0..length.repetitions {
            let slot = Slot::begin(&board, length.slot);
            self.speak(node, &board, &mut number, async || !slot.goes_on()).await?;
            samples.push(slot.end(&board).await?);
        }
        sockets.expect_all_open("one chat")?;
        Ok(Row::of("one chat", READING, Memory::default(), samples))
    }

    /// Writes long messages until it is enough.
    async fn speak(
        &self,
        node: &Node,
        board: &Board,
        number: &mut u64,
        is_enough: impl AsyncFn() -> bool,
    ) -> Result<(), BenchError> {
        let long = "€".repeat(domain::chat::LONGEST_MESSAGE - 20);
        let mut due = Instant::now();
        while !is_enough().await {
            tokio::time::sleep_until(due).await;
            self.write(node, board, number, 0, &long).await?;
            due += Duration::from_secs_f64(1.0 / LONG_PER_S);
        }
        Ok(())
    }

    /// The same beside some who do not read, until all of them are cut.
    async fn talk_to_idlers(&self, node: &Node, length: Length) -> Result<(Row, Unread), BenchError> {
        let (board, mut number) = (Board::new("\"text\":\"")?, 1_000_000);
        let sockets = self.reading(node, &board).await?;
        let before = settled_kib(node).await;
        let mut idlers = Vec::with_capacity(IDLE);
        for _ in 0..IDLE {
            let (chat, buyer) = &self.chats[0];
            idlers.push(Idler::open(node, &self.path(node, chat, buyer).await?).await?);
        }
        let slot = Slot::at_once(&board, PATIENCE);
        let least = Instant::now() + length.slot;
        let all_cut = || idlers.iter().all(|idler| idler.cut_after().is_some());
        self.speak(node, &board, &mut number, async || !slot.goes_on() || (all_cut() && Instant::now() >= least))
            .await?;
        let sample = slot.end(&board).await?;
        let memory = Memory::more(before, node.memory_kib().map(|(now, _)| now), IDLE);
        sockets.expect_all_open("one chat, some do not read")?;
        let cut: Vec<Duration> = idlers.iter().filter_map(Idler::cut_after).collect();
        if cut.len() < IDLE {
            let [expected, found] = [IDLE, cut.len()].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
            let what = "the number of sockets that do not read and were cut";
            return Err(BenchError::Wrong { side: "the node", what, expected, found });
        }
        let last_s = cut.iter().max().map(Duration::as_secs_f64);
        let row = Row::of("... some do not read", READING + IDLE, Memory::default(), vec![sample]);
        Ok((row, Unread { idle: IDLE, cut: cut.len(), last_s, memory_kib: memory.kib }))
    }
}

/// A time in which deliveries are counted: after a warm-up of a quarter of it.
struct Slot {
    began: Instant,
    ends: Instant,
}

impl Slot {
    fn begin(board: &Board, slot: Duration) -> Self {
        let began = Instant::now() + slot / 4;
        board.count_since(began);
        Self { began, ends: began + slot }
    }

    /// The same without a warm-up.
    fn at_once(board: &Board, slot: Duration) -> Self {
        let began = Instant::now();
        board.count_since(began);
        Self { began, ends: began + slot }
    }

    fn goes_on(&self) -> bool {
        Instant::now() < self.ends
    }

    /// What was delivered, once nothing is on its way any more.
    async fn end(&self, board: &Board) -> Result<Sample, BenchError> {
        let elapsed = self.began.elapsed();
        board.quiet().await;
        board.taken(elapsed)
    }
}

/// What the node takes once it has come to rest.
async fn settled_kib(node: &Node) -> Option<u64> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.memory_kib().map(|(now, _)| now)
}

fn usd(amount: u64) -> Value {
    json!({ "amount": amount, "currency": "USD" })
}

/// The id of what was made.
fn named(answer: &Value) -> Result<String, BenchError> {
    answer["id"].as_str().map(str::to_owned).ok_or(BenchError::Material("market"))
}

/// What sockets take, where the system tells it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Memory {
    /// All of them together.
    kib: Option<u64>,
    /// One of them.
    kib_each: Option<f64>,
}

impl Memory {
    #[expect(clippy::cast_precision_loss, reason = "memory and sockets are far below 2^53")]
    fn more(before: Option<u64>, after: Option<u64>, sockets: usize) -> Self {
        let kib = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        Self { kib, kib_each: kib.map(|kib| kib as f64 / sockets as f64) }
    }
}

/// What a run found. Shown as a table; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct LiveReport {
    #[serde(flatten)]
    machine: Machine,
    slot_s: f64,
    rows: Vec<Row>,
    cut: Unread,
}

/// Medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
struct Row {
    work: &'static str,
    sockets: usize,
    memory: Memory,
    deliveries_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    repetitions: Vec<Sample>,
}

impl Row {
    fn of(work: &'static str, sockets: usize, memory: Memory, repetitions: Vec<Sample>) -> Self {
        let of = |figure: fn(&Sample) -> f64| median(repetitions.iter().map(figure));
        let (deliveries_per_s, p50_ms, p99_ms) =
            (of(|sample| sample.per_s), of(|sample| sample.p50_ms), of(|sample| sample.p99_ms));
        Self { work, sockets, memory, deliveries_per_s, p50_ms, p99_ms, repetitions }
    }
}

/// What has become of those who did not read.
#[derive(Clone, Copy, Debug, Serialize)]
struct Unread {
    idle: usize,
    cut: usize,
    /// When the last of them was.
    last_s: Option<f64>,
    /// What the node took more in the end.
    memory_kib: Option<u64>,
}

impl fmt::Display for LiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, slot_s, rows, cut } = self;
        writeln!(f, "tradepost bench live\n{machine}")?;
        let repetitions = rows.first().map_or(0, |row| row.repetitions.len());
        writeln!(f, "sockets of the same machine; median of {repetitions} repetitions of {slot_s} s\n")?;
        let (sockets, each, rate) = ("sockets", "KiB each", "deliveries per s");
        writeln!(f, "{:<24} {sockets:>8} {each:>9} {rate:>17} {:>8} {:>8}", "", "p50 ms", "p99 ms")?;
        for Row { work, sockets, memory, deliveries_per_s, p50_ms, p99_ms, .. } in rows {
            let each = memory.kib_each.map_or("-".to_owned(), |kib| format!("{kib:.1}"));
            writeln!(f, "{work:<24} {sockets:>8} {each:>9} {deliveries_per_s:>17.0} {p50_ms:>8.2} {p99_ms:>8.2}")?;
        }
        let Unread { idle, cut, last_s, memory_kib } = cut;
        let last = last_s.map_or("never".to_owned(), |last_s| format!("{last_s:.1} s"));
        let memory = memory_kib.map_or("unknown".to_owned(), |kib| format!("{kib} KiB"));
        writeln!(
            f,
            "\nof {idle} sockets that do not read {cut} were cut, the last after {last}; the node took {memory} more"
        )
    }
}
