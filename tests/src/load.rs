//! Keeps one or more servers busy on the same few aggregates, with bids, deposits and withdrawals ([`bidding`]) or with
//! orders ([`trading`]), and writes down every request and what came of it.
//!
//! An outcome that nobody knows is settled by asking again under the same key, at whatever address the server has by
//! then. Some accepted commands are asked again too, which must give the same answer.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::{AuctionId, Currency, Money};
use eventstore::clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::fail::OrFail;
use crate::history::{History, Intent, Outcome};
use crate::journal::{Journal, Line};

mod bidding;
mod trading;

/// After an attempt without a definite outcome, how long until the next, unless the server has a new address earlier.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A command without a definite outcome for so long is left as it is, unless a load says otherwise; the checker complains
/// of it.
const SETTLES_WITHIN: Duration = Duration::from_mins(2);
/// A client that goes away does so this soon, in microseconds.
const LEAVES_WITHIN_US: u64 = 30_000;

/// Who trades, on what, where.
#[derive(Clone, Debug)]
pub struct Load {
    /// The accounts. Each has one wallet.
    pub traders: Vec<Client>,
    /// The auctions that they bid on, if they do.
    pub auctions: Vec<AuctionId>,
    /// The address of each server as it is at any time; workers are spread evenly over them.
    pub nodes: Vec<watch::Receiver<String>>,
    /// How many requests are under way at once.
    pub workers: usize,
    /// Decides what is asked.
    pub seed: u64,
    /// Where it is written down.
    pub journal: Arc<Journal>,
    /// For how long a command is asked for again that has no definite outcome.
    pub settles_within: Duration,
    /// In how many of a hundred attempts a client goes away before the answer can have come.
    pub leaves_percent: u32,
    wishes: Arc<dyn Wishes>,
}

/// What is asked for, and what is learned from the answers.
trait Wishes: Debug + Send + Sync {
    /// The next wish: whose, and what for.
    fn next(&self, traders: &[Client], rng: &mut StdRng) -> (Client, Intent);

    /// Takes in what came of a request.
    fn learn(&self, traders: &[Client], actor: &Client, intent: &Intent, outcome: &Outcome);
}

/// A load that runs.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    began: Instant,
    stop: AtomicBool,
    accepted: AtomicUsize,
    left: AtomicUsize,
}

impl Load {
    fn new(
        traders: Vec<Client>,
        auctions: Vec<AuctionId>,
        nodes: Vec<watch::Receiver<String>>,
        workers: usize,
        seed: u64,
        wishes: Arc<dyn Wishes>,
    ) -> Self {
        let (journal, settles_within) = (Arc::new(Journal::temporary()), SETTLES_WITHIN);
        Self { traders, auctions, nodes, workers, seed, journal, settles_within, leaves_percent: 0, wishes }
    }

    /// Begins.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared {
            load: self,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
        });
        let mut workers = JoinSet::new();
        for number in 0..shared.load.workers {
            workers.spawn(Worker::new(shared.clone(), number).run());
        }
        Running { shared, workers }
    }
}

impl Running {
    /// How many commands were accepted so far, but for those whose first answer nobody got.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How often a client has gone away before its answer.
    pub fn left(&self) -> usize {
        self.shared.left.load(Ordering::Relaxed)
    }

    /// Ends it once every command has a definite outcome, and tells what happened.
    pub async fn stop(self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.workers.join_all().await;
        self.shared.load.journal.history()
    }
}

struct Worker {
    shared: Arc<Shared>,
    number: usize,
    node: usize,
    address: watch::Receiver<String>,
    rng: StdRng,
}

impl Worker {
    fn new(shared: Arc<Shared>, number: usize) -> Self {
        let node = number % shared.load.nodes.len();
        let address = shared.load.nodes[node].clone();
        let rng = StdRng::seed_from_u64(shared.load.seed.wrapping_add(number as u64));
        Self { shared, number, node, address, rng }
    }

    async fn run(mut self) {
        let mut number = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = format!("{}-{}-{number}", self.shared.load.seed, self.number);
            self.carry_out(&key).await;
            number += 1;
        }
    }

    /// Asks until the outcome is definite; now and then once more after that.
    async fn carry_out(&mut self, key: &str) {
        let load = &self.shared.load;
        let (trader, intent) = load.wishes.next(&load.traders, &mut self.rng);
        let (began, patience) = (Instant::now(), load.settles_within);
        let mut accepted = false;
        while began.elapsed() < patience {
            let outcome = self.attempt(&trader, key, &intent).await;
            self.learn(&trader, &intent, &outcome);
            accepted = matches!(outcome, Outcome::Accepted { .. });
            if outcome.is_definite() || matches!(outcome, Outcome::Improper { .. }) {
                break;
            }
            // Nothing is waited for if the server is back already.
            let _ = tokio::time::timeout(RETRY_AFTER, self.address.changed()).await;
        }
        if accepted && self.rng.random_ratio(1, 20) {
            self.attempt(&trader, key, &intent).await;
        }
    }

    async fn attempt(&mut self, trader: &Client, key: &str, intent: &Intent) -> Outcome {
        let address = self.address.borrow_and_update().clone();
        let Shared { load: Load { journal, .. }, began, .. } = &*self.shared;
        let attempt = journal.attempt();
        journal.write(&Line::Invoke {
            attempt,
            actor: trader.known_account(),
            key: key.to_owned(),
            intent: intent.clone(),
            node: self.node,
            began: began.elapsed(),
        });
        let outcome = if self.rng.random_ratio(self.shared.load.leaves_percent, 100) {
            let patience = Duration::from_micros(self.rng.random_range(0..LEAVES_WITHIN_US));
            let sent = tokio::time::timeout(patience, intent.send(&trader.at(&address), key)).await;
            sent.unwrap_or_else(|_| {
                self.shared.left.fetch_add(1, Ordering::Relaxed);
                Outcome::Unknown { why: "the client has gone away".to_owned() }
            })
        } else {
            intent.send(&trader.at(&address), key).await
        };
        journal.answered(attempt, began.elapsed(), Clock::real_now(), outcome.clone());
        outcome
    }

    fn learn(&self, trader: &Client, intent: &Intent, outcome: &Outcome) {
        // What is told again was accepted before.
        if matches!(outcome, Outcome::Accepted { replayed: false, .. }) {
            self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        }
        let load = &self.shared.load;
        load.wishes.learn(&load.traders, trader, intent, outcome);
    }
}

fn usd(cents: i64) -> Money {
    Money::new(cents, Currency::USD).or_fail("make an amount")
}

/// What decides the course of a run: `TRADEPOST_SEED`, or the time. Printed, so that a run can be repeated.
pub fn seed() -> u64 {
    let named = std::env::var("TRADEPOST_SEED").ok().map(|seed| seed.parse().or_fail("read TRADEPOST_SEED"));
    let seed = named.unwrap_or_else(|| Clock::real_now().timestamp_millis().unsigned_abs());
    eprintln!("seed: TRADEPOST_SEED={seed}");
    seed
}
