//! Keeps one or more servers busy with bids, deposits and withdrawals on the same few aggregates, and writes down every
//! request and what came of it.
//!
//! An outcome that nobody knows is settled by asking again under the same key, at whatever address the server has by
//! then. Some accepted commands are asked again too, which must give the same answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use domain::{AuctionId, Currency, Money};
use eventstore::clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::fail::OrFail;
use crate::history::{Attempt, Command, History, Intent, Outcome};
use crate::market;

/// After an attempt without a definite outcome, how long until the next, unless the server has a new address earlier.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A command without a definite outcome for so long is left as it is; the checker complains of it.
const SETTLES_WITHIN: Duration = Duration::from_mins(2);

/// Who trades, on what, where.
#[derive(Clone, Debug)]
pub struct Load {
    /// The accounts. Each has one wallet, and all bid.
    pub traders: Vec<Client>,
    /// The auctions that they bid on.
    pub auctions: Vec<AuctionId>,
    /// The address of each server as it is at any time; workers are spread evenly over them.
    pub nodes: Vec<watch::Receiver<String>>,
    /// How many requests are under way at once.
    pub workers: usize,
    /// Decides what is asked.
    pub seed: u64,
}

/// A load that runs.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    workers: JoinSet<Vec<Command>>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    began: Instant,
    stop: AtomicBool,
    accepted: AtomicUsize,
    /// The lowest bid that each auction would take, as far as anybody has been told.
    minimums: Vec<AtomicI64>,
}

impl Load {
    /// Registers four traders with money, and two auctions of a day for them.
    pub async fn prepare(first: &Client, nodes: Vec<watch::Receiver<String>>, workers: usize, seed: u64) -> Self {
        let mut traders = Vec::new();
        for number in 1..=4 {
            let trader = first.register(&format!("trader{number}")).await;
            trader.deposit(100_000, "sandbox-succeeds").await.expect(202);
            traders.push(trader);
        }
        let seller = first.register_seller("seller").await;
        let mut auctions = Vec::new();
        for _ in 0..2 {
            let id = seller.schedule(&market::with(market::auction(1_000), "duration_s", 86_400)).await;
            auctions.push(id.parse().or_fail("read the id of an auction"));
        }
        Self { traders, auctions, nodes, workers, seed }
    }

    /// Begins.
    pub fn start(self) -> Running {
        let minimums = self.auctions.iter().map(|_| AtomicI64::new(1_000)).collect();
        let shared = Arc::new(Shared {
            load: self,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            minimums,
        });
        let mut workers = JoinSet::new();
        for number in 0..shared.load.workers {
            workers.spawn(Worker::new(shared.clone(), number).run());
        }
        Running { shared, workers }
    }
}

impl Running {
    /// How many commands were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Ends it once every command has a definite outcome, and tells what happened.
    pub async fn stop(self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        History { commands: self.workers.join_all().await.into_iter().flatten().collect() }
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

    async fn run(mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let key = format!("{}-{}-{}", self.shared.load.seed, self.number, commands.len());
            commands.push(self.carry_out(key).await);
        }
        commands
    }

    /// Asks until the outcome is definite; now and then once more after that.
    async fn carry_out(&mut self, key: String) -> Command {
        let trader = self.rng.random_range(0..self.shared.load.traders.len());
        let trader = self.shared.load.traders[trader].clone();
        let mut command = Command { actor: trader.account(), key, intent: self.wish(), attempts: Vec::new() };
        let began = Instant::now();
        while began.elapsed() < SETTLES_WITHIN {
            let attempt = self.attempt(&trader, &command).await;
            let definite = attempt.outcome.is_definite();
            let improper = matches!(attempt.outcome, Outcome::Improper { .. });
            self.learn(&command.intent, &attempt.outcome);
            command.attempts.push(attempt);
            if improper || definite {
                break;
            }
            // Nothing is waited for if the server is back already.
            let _ = tokio::time::timeout(RETRY_AFTER, self.address.changed()).await;
        }
        let accepted = matches!(command.attempts.last(), Some(Attempt { outcome: Outcome::Accepted { .. }, .. }));
        if accepted && self.rng.random_ratio(1, 20) {
            let again = self.attempt(&trader, &command).await;
            command.attempts.push(again);
        }
        command
    }

    async fn attempt(&mut self, trader: &Client, command: &Command) -> Attempt {
        let address = self.address.borrow_and_update().clone();
        let began = self.shared.began.elapsed();
        let outcome = command.intent.send(&trader.at(&address), &command.key).await;
        Attempt { node: self.node, began, ended: self.shared.began.elapsed(), ended_at: Clock::real_now(), outcome }
    }

    /// About a third each; bids and withdrawals that are too low or too high are part of it.
    fn wish(&mut self) -> Intent {
        let method = ["sandbox-succeeds", "sandbox-succeeds", "sandbox-succeeds", "sandbox-declines", "sandbox-delays"];
        let method = method[self.rng.random_range(0..method.len())].to_owned();
        match self.rng.random_range(0..10) {
            0..4 => {
                let index = self.rng.random_range(0..self.shared.load.auctions.len());
                let minimum = self.shared.minimums[index].load(Ordering::Relaxed);
                let offered = minimum + self.rng.random_range(-500..=1_500);
                Intent::Bid { auction: self.shared.load.auctions[index], maximum: usd(offered.max(1)) }
            }
            4..7 => Intent::Deposit { amount: usd(self.rng.random_range(1..=5_000)), method },
            _ => Intent::Withdraw { amount: usd(self.rng.random_range(1..=20_000)), method },
        }
    }

    fn learn(&self, intent: &Intent, outcome: &Outcome) {
        let told = match outcome {
            Outcome::Accepted { body, .. } => {
                self.shared.accepted.fetch_add(1, Ordering::Relaxed);
                &body["minimum_bid"]["amount"]
            }
            Outcome::Refused { problem, .. } => &problem["minimum"]["amount"],
            Outcome::Unknown { .. } | Outcome::Improper { .. } => return,
        };
        if let (Intent::Bid { auction, .. }, Some(minimum)) = (intent, told.as_i64())
            && let Some(index) = self.shared.load.auctions.iter().position(|known| known == auction)
        {
            self.shared.minimums[index].fetch_max(minimum, Ordering::Relaxed);
        }
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
