//! Keeps one or more servers busy on the same few aggregates, with bids, deposits and withdrawals ([`bidding`]) or with
//! orders ([`trading`]), and writes down every request and what came of it.
//!
//! An outcome that nobody knows is settled by asking again under the same key, at whatever address the server has by
//! then. Some accepted commands are asked again too, which must give the same answer.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use domain::{AuctionId, Currency, Money};
use eventstore::clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::fail::{OrFail, fail};
use crate::history::{Attempt, Command, History, Intent, Outcome};

mod bidding;
mod trading;

/// After an attempt without a definite outcome, how long until the next, unless the server has a new address earlier.
const RETRY_AFTER: Duration = Duration::from_millis(50);
/// A command without a definite outcome for so long is left as it is; the checker complains of it.
const SETTLES_WITHIN: Duration = Duration::from_mins(2);
/// A load of which nothing is accepted for so long is none.
const ACCEPTS_WITHIN: Duration = Duration::from_mins(2);

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
    workers: JoinSet<Vec<Command>>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    began: Instant,
    stop: AtomicBool,
    accepted: watch::Sender<usize>,
}

impl Load {
    /// Begins.
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared {
            load: self,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            accepted: watch::Sender::new(0),
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
        *self.shared.accepted.borrow()
    }

    /// Waits until so many more commands are accepted. Tells how many are by then.
    ///
    /// # Panics
    /// If one of them is not for two minutes.
    pub async fn accepts(&self, more: usize) -> usize {
        let mut accepted = self.shared.accepted.subscribe();
        let mut known = *accepted.borrow_and_update();
        let target = known + more;
        while known < target {
            let changed = tokio::time::timeout(ACCEPTS_WITHIN, accepted.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                fail(&format!("nothing was accepted for {ACCEPTS_WITHIN:?}, after {known} commands"));
            }
            known = *accepted.borrow_and_update();
        }
        known
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
        let load = &self.shared.load;
        let (trader, intent) = load.wishes.next(&load.traders, &mut self.rng);
        let mut command = Command { actor: trader.known_account(), key, intent, attempts: Vec::new() };
        let began = Instant::now();
        while began.elapsed() < SETTLES_WITHIN {
            let attempt = self.attempt(&trader, &command).await;
            let definite = attempt.outcome.is_definite();
            let improper = matches!(attempt.outcome, Outcome::Improper { .. });
            self.learn(&trader, &command.intent, &attempt.outcome);
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

    fn learn(&self, trader: &Client, intent: &Intent, outcome: &Outcome) {
        // What is told again was accepted before.
        if matches!(outcome, Outcome::Accepted { replayed: false, .. }) {
            self.shared.accepted.send_modify(|accepted| *accepted += 1);
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
