//! Bids on two auctions, deposits and withdrawals.

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
        let minimums = auctions.iter().map(|_| AtomicI64::new(1_000)).collect();
        let wishes = Arc::new(Bidding { auctions: auctions.clone(), minimums });
        Self { traders, auctions, nodes, workers, seed, wishes }
    }
}

impl Wishes for Bidding {
    fn next(&self, traders: &[Client], rng: &mut StdRng) -> (Client, Intent) {
        let trader = traders[rng.random_range(0..traders.len())].clone();
        let method = ["sandbox-succeeds", "sandbox-succeeds", "sandbox-succeeds", "sandbox-declines", "sandbox-delays"];
        let method = method[rng.random_range(0..method.len())].to_owned();
        let intent = match rng.random_range(0..10) {
            0..4 => {
                let index = rng.random_range(0..self.auctions.len());
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
