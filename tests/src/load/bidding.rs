//! Bids on auctions, deposits and withdrawals: of a few who all meet on two auctions, or of a crowd of which a part does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use domain::AuctionId;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::watch;

use super::{Load, Wishes, usd};
use crate::client::Client;
use crate::fail::OrFail;
use crate::history::{Intent, Outcome};
use crate::market;

/// About a third each; bids and withdrawals that are too low or too high are part of it.
#[derive(Debug)]
struct Bidding {
    auctions: Vec<AuctionId>,
    /// The lowest bid that each auction would take, as far as anybody has been told.
    minimums: Vec<AtomicI64>,
    /// How many of a hundred wishes are about the first auction or wallet; the others about any.
    hot_percent: u32,
}

/// A load is a crowd of so many, on so many auctions.
const CROWD: usize = 32;
const AUCTIONS: usize = 20;

impl Load {
    /// Registers four traders with money, and two auctions of a day for them.
    pub async fn prepare(first: &Client, nodes: Vec<watch::Receiver<String>>, workers: usize, seed: u64) -> Self {
        Self::prepare_bidding(first, nodes, workers, seed, (4, 2, 0)).await
    }

    /// Thirty-two traders with a worker each, and twenty auctions of a day; three in ten wishes are about one of them, or
    /// one wallet.
    pub async fn prepare_crowd(first: &Client, nodes: Vec<watch::Receiver<String>>, seed: u64) -> Self {
        Self::prepare_bidding(first, nodes, CROWD, seed, (CROWD, AUCTIONS, 30)).await
    }

    async fn prepare_bidding(
        first: &Client,
        nodes: Vec<watch::Receiver<String>>,
        workers: usize,
        seed: u64,
        (crowd, sales, hot_percent): (usize, usize, u32),
    ) -> Self {
        let mut traders = Vec::new();
        for number in 1..=crowd {
            let trader = first.register(&format!("trader{number}")).await;
            trader.deposit(100_000, "sandbox-succeeds").await.expect(202);
            traders.push(trader);
        }
        let seller = first.register_seller("seller").await;
        let mut auctions = Vec::new();
        for _ in 0..sales {
            let id = seller.schedule(&market::with(market::auction(1_000), "duration_s", 86_400)).await;
            auctions.push(id.parse().or_fail("read the id of an auction"));
        }
        let minimums = auctions.iter().map(|_| AtomicI64::new(1_000)).collect();
        let wishes = Arc::new(Bidding { auctions: auctions.clone(), minimums, hot_percent });
        Self::new(traders, auctions, nodes, workers, seed, wishes)
    }
}

impl Bidding {
    /// One of so many: the first in so many of a hundred cases.
    fn pick(&self, rng: &mut StdRng, among: usize) -> usize {
        if rng.random_ratio(self.hot_percent, 100) { 0 } else { rng.random_range(0..among) }
    }
}

impl Wishes for Bidding {
    fn next(&self, traders: &[Client], rng: &mut StdRng) -> (Client, Intent) {
        let trader = traders[self.pick(rng, traders.len())].clone();
        let method = ["sandbox-succeeds", "sandbox-succeeds", "sandbox-succeeds", "sandbox-declines", "sandbox-delays"];
        let method = method[rng.random_range(0..method.len())].to_owned();
        let intent = match rng.random_range(0..10) {
            0..4 => {
                let index = self.pick(rng, self.auctions.len());
                let minimum = self.minimums[index].load(Ordering::Relaxed);
                let offered = minimum + rng.random_range(-500..=1_500);
                Intent::Bid { auction: self.auctions[index], maximum: usd(offered.max(1)) }
            }
            4..7 => Intent::Deposit { amount: usd(rng.random_range(1..=5_000)), method },
            _ => Intent::Withdraw { amount: usd(rng.random_range(1..=20_000)), method },
        };
        (trader, intent)
    }

    fn learn(&self, _: &[Client], _: &Client, intent: &Intent, outcome: &Outcome) {
        let told = match outcome {
            Outcome::Accepted { body, .. } => &body["minimum_bid"]["amount"],
            Outcome::Refused { problem, .. } => &problem["minimum"]["amount"],
            Outcome::Unknown { .. } | Outcome::Improper { .. } => return,
        };
        if let (Intent::Bid { auction, .. }, Some(minimum)) = (intent, told.as_i64())
            && let Some(index) = self.auctions.iter().position(|known| known == auction)
        {
            self.minimums[index].fetch_max(minimum, Ordering::Relaxed);
        }
    }
}
