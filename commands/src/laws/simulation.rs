//! A marketplace of two nodes in which everything that can go wrong does, as one seed says: the loop, the use cases, the
//! processes and the timers as they are, over a database, a stream, a payment provider and a clock in memory.
//!
//! While a story is told, and when it is over, each promise is checked by what the log and the callers know; a story that
//! breaks one is told again without some of its steps, until none of those left can be spared. What is real, what is
//! simulated and what is not covered, docs/simulation.md says.

use std::cell::RefCell;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use domain::auction::Auction;
use domain::charge::{self, Charge, Refunding};
use domain::{AuctionId, MethodId};
use eventstore::event::Metadata;
use eventstore::testing::mint_from;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::time::{Instant, sleep, timeout};

use super::money::{BANK, card, clearing, signs};
use super::*;
use crate::engine::{CommandError, CommandKey, EngineSettings, Request};
use crate::payouts as sending;

mod bank;
mod bugs;
mod chaos;
mod cluster;
mod log;
mod promises;
mod story;

use bugs::Bug;
use chaos::{NODES, said};
use cluster::{Cluster, FOLLOWERS};
use log::{Log, Stored};
use promises::{Call, Ended, Promises};
use story::{Step, any_story};

/// How many seeds are tried, and the first of them.
const SIMULATIONS: &str = "TRADEPOST_SIMULATIONS";
const SEED: &str = "TRADEPOST_SEED";
/// How many unless told.
const USUAL_SIMULATIONS: u64 = 200;
/// How many stories are told to find the shortest that fails.
const TELLINGS: usize = 400;
/// How long what is promised may take once everything is well.
const HEALED_WITHIN: Duration = Duration::from_secs(10);
/// How long a node waits for an answer that was lost, and a little more.
const KNOWN_LOST_AFTER: Duration = Duration::from_secs(15);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(50);
/// How long a node is set forward in time, at most.
const TRAVEL: Duration = Duration::from_secs(30);
/// After so many jumps of so many days everything has ended by itself, whatever it is.
const JUMPS: usize = 60;
const JUMP_DAYS: i64 = 7;
/// As many aggregates as any one command needs at once, and few more.
const SMALL_CACHE: usize = 64;
/// How many of the last events are shown of a story that fails.
const SHOWN_EVENTS: usize = 30;

/// A number that follows from two others and looks like neither.
fn mixed(a: u64, b: u64) -> u64 {
    let mut mixed = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b);
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    }
    mixed ^ (mixed >> 31)
}

/// How much a node decides at once and has in memory, and how far snapshots are apart. In two of three stories that is so
/// little that aggregates are loaded again and again, from snapshots and behind them.
fn settings(seed: u64) -> EngineSettings {
    let drawn = mixed(seed, 1);
    EngineSettings {
        batch_max: [1, 3, 256][usize::try_from(drawn % 3).unwrap()],
        cache_aggregates: [SMALL_CACHE, 2 * SMALL_CACHE, 5_000][usize::try_from(drawn / 3 % 3).unwrap()],
        snapshot_every: [2, 7, 100][usize::try_from(drawn / 9 % 3).unwrap()],
        ..EngineSettings::default()
    }
}

/// A story that is being told.
struct Stage {
    cluster: Arc<Cluster>,
    /// What the log comes to, read straight from it.
    market: Market,
    promises: Promises,
    calls: Arc<Mutex<Vec<Call>>>,
    auctions: Vec<AuctionId>,
    /// Which messages of the provider were taken in.
    heard: Arc<Mutex<BTreeSet<String>>>,
    /// What the provider's account held in the books before it was asked for anything.
    before: i64,
    /// When the database is there again.
    back_at: Option<Instant>,
    /// For how many steps a node has been down.
    down: [u32; NODES],
}

impl Stage {
    /// Two nodes, people, and something to trade.
    async fn open(log: Arc<Log>, bug: Option<Bug>, seed: u64) -> Self {
        let batch_events = i64::try_from(1 + mixed(seed, 0) % 20).unwrap();
        let mut stage = Self {
            cluster: Cluster::new(log, bug, batch_events, settings(seed)),
            market: Market::empty(),
            promises: Promises::default(),
            calls: Arc::default(),
            auctions: Vec::new(),
            heard: Arc::default(),
            before: 0,
            back_at: None,
            down: [0; NODES],
        };
        stage.revive(0).await;
        for (who, capabilities) in everybody() {
            stage.call(0, registration(who, capabilities));
        }
        stage.rest().await;
        for (number, stock) in STOCK.into_iter().enumerate() {
            stage.call(number % NODES, offering(number, stock));
        }
        for buyer in BUYERS {
            let (deposit, elsewhere) = (DepositId(stage.market.mint()), "elsewhere".to_owned());
            let method = PaymentMethod { provider: elsewhere.clone(), token: elsewhere.clone() };
            let settled = Outcome::Succeeded { reference: format!("ch_{deposit}"), fee: None };
            let fund = move |world: &mut World<'_>| {
                charges::request_deposit(world, buyer, deposit, usd(20_000), method.clone())?;
                charges::report(world, deposit.into(), settled.clone())
            };
            stage.call(0, Box::new(fund));
        }
        for owner in OWNERS {
            let (method, label) = (MethodId(stage.market.mint()), Sealed::from_ciphertext(owner, "sealed".to_owned()));
            let keep = move |world: &mut World<'_>| sending::add_method(world, owner, method, &card(), &label);
            stage.call(1, Box::new(keep));
        }
        stage.rest().await;
        stage.market.offered = (0..).map(listing_id).zip(STOCK).collect();
        stage.cluster.jump(TimeDelta::days(1));
        stage.before = clearing(&stage.market);
        stage
    }

    /// Tells the story, and what comes after it.
    async fn tell(&mut self, steps: &[Step]) {
        for step in steps {
            self.revive(2).await;
            step.perform(self).await;
            sleep(Duration::from_millis(step.wait_ms)).await;
            self.look();
        }
        self.end().await;
    }

    /// The database is there again when it is time, and nodes are that were down for so many steps.
    async fn revive(&mut self, after_steps: u32) {
        if self.back_at.is_some_and(|at| at <= Instant::now()) {
            self.back_at = None;
            self.cluster.log.restart();
        }
        for node in 0..NODES {
            self.down[node] = if self.cluster.chaos.is_up(node) { 0 } else { self.down[node] + 1 };
            // It may find no database. Then it is started again.
            if self.down[node] > after_steps {
                let _ = self.cluster.start(node).await;
            }
        }
    }

    fn outage(&mut self, ms: u64) {
        self.cluster.log.stop();
        self.back_at = Some(Instant::now() + Duration::from_millis(ms));
    }

    /// The clock of a node is set forward, and then every other.
    async fn travel(&mut self, node: usize, by: TimeDelta) {
        if let Some(node) = self.cluster.node(node) {
            // It comes to nothing if the node ends, or the database has.
            let _ = timeout(TRAVEL, node.travel.set_forward(self.cluster.now() + by)).await;
        }
        self.cluster.jump(by);
    }

    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asks a node for something, and asks again under the same key, wherever somebody answers, until it is
    /// known what has come of it.
    fn call(&mut self, node: usize, decide: Decide) {
        let number = self.calls().len();
        let name = number.to_string();
        let key = CommandKey::from_client("simulation", &name, &["asked"]);
        let decided = Arc::<Mutex<BTreeSet<usize>>>::default();
        self.calls().push(Call { key: Some(key.key), decided: decided.clone(), ended: None });
        let (cluster, calls, decide) = (self.cluster.clone(), self.calls.clone(), Arc::new(Mutex::new(decide)));
        tokio::spawn(async move {
            let request = Request::keyed(Metadata::anonymous().with("correlation", name), key);
            for attempt in 0.. {
                let asked_at = cluster.log.head();
                let answer = match cluster.node((node + attempt) % NODES) {
                    Some(node) => {
                        let (decide, decided) = (decide.clone(), decided.clone());
                        let decide = move |world: &mut World<'_>| {
                            (*decide.lock().unwrap_or_else(PoisonError::into_inner))(world)?;
                            decided.lock().unwrap_or_else(PoisonError::into_inner).insert(world.decided());
                            Ok(())
                        };
                        node.engine.submit(request.clone(), decide).await
                    }
                    None => Err(CommandError::Unavailable),
                };
                let head = cluster.log.head();
                let ended = match answer {
                    Ok(accepted) => Ended {
                        position: accepted.position,
                        asked_at,
                        head,
                        refused: false,
                        replayed: accepted.replayed,
                    },
                    Err(CommandError::Refused { position, .. }) => {
                        Ended { position, asked_at, head, refused: true, replayed: false }
                    }
                    Err(CommandError::Unavailable | CommandError::InFlight | CommandError::Overloaded) => {
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                    Err(
                        error @ (CommandError::KeyReused | CommandError::RefusedBefore { .. } | CommandError::Defect),
                    ) => {
                        cluster.chaos.fail(format!("P1: call {number} is answered: {error}"));
                        return;
                    }
                };
                calls.lock().unwrap_or_else(PoisonError::into_inner)[number].ended = Some(ended);
                return;
            }
        });
    }

    /// A message of the provider arrives at a node, perhaps not for the first time; what is not taken in, it sends again.
    fn hear(&mut self, node: usize, at: usize) {
        let notice = self.cluster.bank.books().said[at].notice.clone();
        let number = self.calls().len();
        self.calls().push(Call::default());
        let (cluster, calls, heard) = (self.cluster.clone(), self.calls.clone(), self.heard.clone());
        tokio::spawn(async move {
            for attempt in 0.. {
                let asked_at = cluster.log.head();
                let taken = match cluster.node((node + attempt) % NODES) {
                    Some(node) => node.payments.take(BANK, notice.clone()).await,
                    None => Err(CommandError::Unavailable),
                };
                let answered_at = cluster.log.head();
                let (position, refused, replayed) = match taken {
                    Ok(accepted) => (accepted.position, false, accepted.replayed),
                    Err(CommandError::Refused { position, .. }) => (position, true, false),
                    Err(CommandError::KeyReused | CommandError::RefusedBefore { .. } | CommandError::Defect) => {
                        cluster.chaos.fail(format!("P1: {notice:?} is a defect"));
                        return;
                    }
                    Err(_) => {
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                if !refused {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).insert(notice.id);
                }
                let ended = Ended { position, asked_at, head: answered_at, refused, replayed };
                calls.lock().unwrap_or_else(PoisonError::into_inner)[number].ended = Some(ended);
                return;
            }
        });
    }

    /// Reads what is new in the log, and looks at every promise.
    fn look(&mut self) {
        let news = self.cluster.log.after(self.market.positions);
        self.promises.keys(&self.cluster.log);
        for unit in news.chunk_by(|one, next| one.event.commit_position == next.event.commit_position) {
            self.promises.unit(unit);
            let events: Vec<_> = unit.iter().map(|stored| stored.event.clone()).collect();
            self.market.hear(&events);
            self.market.check();
            signs(&self.market);
        }
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        self.promises.answers(&calls);
        if let Some(failure) = self.cluster.chaos.failure() {
            panic!("{failure}");
        }
    }

    /// What is not as it has to be once everything is well and nothing is new; nothing if all is.
    fn unsettled(&self) -> Option<String> {
        let head = self.cluster.log.head();
        if self.calls().iter().any(|call| call.ended.is_none()) {
            return Some("P1: a call has no answer".to_owned());
        }
        if self.market.positions != head {
            return Some("there is more to be read".to_owned());
        }
        for follower in FOLLOWERS {
            let reached = self.cluster.log.checkpoint(follower);
            if reached != head {
                return Some(format!("P5, P8: {follower} is at {reached} of {head}"));
            }
        }
        let now = self.cluster.now();
        let late = self.market.timers.iter().find(|(_, due_at)| **due_at <= now);
        late.map(|(name, due_at)| format!("P7: {name:?} is due since {due_at}, and it is {now}"))
    }

    /// Everything comes to rest, within the time that is promised since anything was new.
    async fn rest(&mut self) {
        let (mut head, mut since) = (self.cluster.log.head(), Instant::now());
        loop {
            self.look();
            let Some(unsettled) = self.unsettled() else { return };
            if self.cluster.log.head() != head {
                (head, since) = (self.cluster.log.head(), Instant::now());
            }
            assert!(since.elapsed() < HEALED_WITHIN, "{unsettled}");
            sleep(LOOK).await;
        }
    }

    /// Nothing goes wrong any more. Left alone, everything comes to its end, and every promise was kept.
    async fn end(&mut self) {
        self.cluster.chaos.disarm();
        self.cluster.bank.mend();
        self.back_at = None;
        self.cluster.log.restart();
        self.revive(0).await;
        self.heal().await;
        for _ in 0..JUMPS {
            self.finish_movements();
            self.rest().await;
            self.cluster.jump(TimeDelta::days(JUMP_DAYS));
            self.rest().await;
        }
        promises::kept(&self.calls(), &self.cluster.log);
        self.over();
        self.same_everywhere().await;
    }

    /// Whoever waits for an answer that was lost knows that in the end.
    async fn heal(&mut self) {
        let since = Instant::now();
        while self.unsettled().is_some() && since.elapsed() < KNOWN_LOST_AFTER {
            sleep(LOOK).await;
            self.look();
            // The last of what was armed may still have struck.
            self.revive(0).await;
        }
    }

    /// What the provider has not ended ends, and what it insists on is heard.
    fn finish_movements(&mut self) {
        let now = self.cluster.now();
        {
            let mut books = self.cluster.bank.books();
            let open: Vec<Uuid> = books.movements.keys().copied().collect();
            for operation in open {
                books.go_on(operation, true, now);
                books.decide(operation, operation.as_u128().is_multiple_of(2), now);
            }
        }
        let said = self.cluster.bank.books().said.len();
        // The last first: none may need another before it.
        for at in (0..said).rev() {
            let insists = self.cluster.bank.books().said[at].insists;
            let id = self.cluster.bank.books().said[at].notice.id.clone();
            let is_heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).contains(&id);
            if insists && !is_heard {
                self.hear(at % NODES, at);
            }
        }
    }

    /// What must be so when everything is over.
    fn over(&mut self) {
        assert!(self.market.timers.is_empty(), "P7: still to come: {:?}", self.market.timers);
        for order in self.market.orders.clone() {
            assert!(self.market.state::<Order>(order).placed().unwrap().stage.has_ended());
            assert_eq!(self.market.book(&LedgerAccount::Escrow(order)), 0);
        }
        for charge in self.promises.charges() {
            let known = self.market.state::<Charge>(charge).requested().unwrap().clone();
            let is_open = matches!(known.phase, charge::Phase::Open { .. });
            assert!(!is_open, "P3: {charge} is open after all: {known:?}");
            for refund in known.refunds.values() {
                let waits = matches!(refund.state, Refunding::Asked { .. } | Refunding::Failed { retry_at: Some(_) });
                assert!(!waits, "P3: {refund:?} waits after all");
            }
        }
        let pending =
            self.market.books.iter().filter(|(account, _)| matches!(account, LedgerAccount::PayoutPending(_)));
        assert!(pending.into_iter().all(|(_, minor)| *minor == 0), "P3: money is on its way after all");
        let holds = self.before + self.cluster.bank.books().holds();
        assert_eq!(clearing(&self.market), holds, "P3: what the provider holds, by our books and by its own");
    }

    /// The read model, the table of timers and the memory of every node are what the log comes to.
    async fn same_everywhere(&mut self) {
        {
            let model = self.cluster.model();
            assert_eq!(model.positions, self.market.positions, "P5: the read model");
            assert_eq!(model.books, self.market.books, "P5: the read model");
            assert_eq!(model.orders, self.market.orders, "P5: the read model");
            assert_eq!(model.timers, self.market.timers, "P5: the read model");
        }
        assert_eq!(self.cluster.log.timers(), self.market.timers, "P5: the table of timers");
        for number in 0..NODES {
            let node = self.cluster.node(number).unwrap();
            for owner in OWNERS {
                let wallet = WalletId::of(owner, Currency::USD);
                let there = node.engine.read(move |world| Ok(world.get::<Wallet>(wallet)?.clone())).await.unwrap();
                let (there, here) =
                    (serde_json::to_value(there), serde_json::to_value(self.market.state::<Wallet>(wallet)));
                assert_eq!(there.unwrap(), here.unwrap(), "P0: a wallet as node {number} knows it");
            }
            for order in self.market.orders.clone() {
                let there = node.engine.read(move |world| Ok(world.get::<Order>(order)?.clone())).await.unwrap();
                let (there, here) =
                    (serde_json::to_value(there), serde_json::to_value(self.market.state::<Order>(order)));
                assert_eq!(there.unwrap(), here.unwrap(), "P0: an order as node {number} knows it");
            }
            for auction in self.auctions.clone() {
                let there = node.engine.read(move |world| Ok(world.get::<Auction>(auction)?.clone())).await.unwrap();
                let here = self.market.state::<Auction>(auction);
                let (there, here) = (serde_json::to_value(there), serde_json::to_value(here));
                assert_eq!(there.unwrap(), here.unwrap(), "P0: an auction as node {number} knows it");
            }
        }
    }
}

/// A story that has broken a promise.
#[derive(Debug)]
struct Failure {
    what: String,
    steps: Vec<Step>,
    /// The end of the log.
    events: Vec<String>,
}

thread_local! {
    /// Where this thread has panicked last.
    static PANICKED_AT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Lets panics be noted instead of told, until it is dropped.
struct Quiet;

impl Quiet {
    fn now() -> Self {
        panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(ToString::to_string).unwrap_or_default();
            PANICKED_AT.with_borrow_mut(|known| *known = at);
        }));
        Self
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = panic::take_hook();
        }
    }
}

/// What happens by a seed.
fn story(seed: u64) -> Vec<Step> {
    let mut bytes = [0; 32];
    for (number, chunk) in (0..).zip(bytes.chunks_mut(8)) {
        chunk.copy_from_slice(&mixed(seed, number).to_le_bytes());
    }
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    any_story().new_tree(&mut TestRunner::new_with_rng(Config::default(), rng)).unwrap().current()
}

/// A story that was told and has kept every promise.
struct Told {
    log: Arc<Log>,
    /// How often a node has ended, and how often an append or a message fared badly.
    struck: (u64, u64),
}

/// Tells a story to its end.
fn told(seed: u64, steps: &[Step], bug: Option<Bug>) -> Result<Told, Failure> {
    let log = Log::new(seed, bug);
    let telling = AssertUnwindSafe(|| {
        mint_from(Some(Uuid::from_u128(1 << 100)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut stage = Stage::open(log.clone(), bug, seed).await;
            stage.tell(steps).await;
            stage.cluster.chaos.struck()
        })
    });
    let outcome = panic::catch_unwind(telling);
    mint_from(None);
    match outcome {
        Ok(struck) => Ok(Told { log, struck }),
        Err(panic) => {
            let at = PANICKED_AT.with_borrow(Clone::clone);
            let what = format!("{} ({at})", said(panic.as_ref()));
            let events = log.after(0).iter().rev().take(SHOWN_EVENTS).map(line).collect();
            Err(Failure { what, steps: steps.to_vec(), events })
        }
    }
}

fn line(stored: &Stored) -> String {
    let RecordedEvent { position, aggregate_type, aggregate_id, event_type, payload, recorded_at, .. } = &*stored.event;
    let by = stored.metadata.get("actor").zip(stored.metadata.get("correlation").or(stored.metadata.get("causation")));
    format!("{position} {recorded_at} {aggregate_type} {} {event_type} {payload} {by:?}", aggregate_id.0)
}

/// The same failure, or another, by as few steps as can be.
fn shortest(seed: u64, bug: Option<Bug>, mut failure: Failure) -> Failure {
    let (mut size, mut tellings) = (failure.steps.len().div_ceil(2), 0);
    while size > 0 {
        let mut at = 0;
        while at < failure.steps.len() && tellings < TELLINGS {
            let mut fewer = failure.steps.clone();
            fewer.drain(at..(at + size).min(fewer.len()));
            tellings += 1;
            match told(seed, &fewer, bug) {
                Err(again) => failure = again,
                Ok(_) => at += size,
            }
        }
        size /= 2;
    }
    failure
}

impl Failure {
    /// For whoever wants to see it happen.
    fn report(&self, seed: u64) -> String {
        let steps: Vec<String> = self.steps.iter().map(|step| format!("{step:?}")).collect();
        let events: Vec<&str> = self.events.iter().rev().map(String::as_str).collect();
        format!(
            "{SEED}={seed} {SIMULATIONS}=1 tells it again: {}\nwhat has to happen:\n{}\nthe end of the log:\n{}",
            self.what,
            steps.join("\n"),
            events.join("\n"),
        )
    }
}

fn number(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Tells the stories of these seeds on as many threads as there are cores. Answers with the first that was found to fail.
fn first_failure(first: u64, count: u64) -> Option<(u64, Failure)> {
    let (next, found) = (AtomicU64::new(0), Mutex::new(None));
    // Stories, events, ends of nodes, faults.
    let sums: [AtomicU64; 4] = Default::default();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let seed = first + number;
                    let told = match told(seed, &story(seed), None) {
                        Ok(told) => told,
                        Err(failure) => {
                            next.store(count, Ordering::Relaxed);
                            eprintln!("seed {seed} has broken a promise: {}; looking for the least that does", failure.what);
                            let failure = shortest(seed, None, failure);
                            found.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((seed, failure));
                            return;
                        }
                    };
                    let (ended, faults) = told.struck;
                    let more = [1, told.log.head().unsigned_abs(), ended, faults];
                    let add = |(sum, more): (&AtomicU64, u64)| sum.fetch_add(more, Ordering::Relaxed) + more;
                    let sums: Vec<u64> = sums.iter().zip(more).map(add).collect();
                    if sums[0].is_multiple_of(100) || sums[0] == count {
                        let [stories, events, ended, faults] = sums[..] else { return };
                        eprintln!(
                            "{stories} of {count} stories: {events} events, {ended} ends of nodes, {faults} appends and \
                             messages that fared badly"
                        );
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn every_promise_is_kept_whatever_goes_wrong() {
    let (first, count) = (number(SEED, 1), number(SIMULATIONS, USUAL_SIMULATIONS));
    let quiet = Quiet::now();
    let failure = first_failure(first, count);
    drop(quiet);
    if let Some((seed, failure)) = failure {
        panic!("{}", failure.report(seed));
    }
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    for seed in 1..4 {
        let lines = || {
            let told = told(seed, &story(seed), None).unwrap_or_else(|failure| panic!("{}", failure.report(seed)));
            told.log.after(0).iter().map(line).collect::<Vec<_>>()
        };
        let (once, again) = (lines(), lines());
        let differs = once.iter().zip(&again).find(|(one, other)| one != other);
        assert!(differs.is_none() && once.len() == again.len(), "{differs:#?}");
    }
}
