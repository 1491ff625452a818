//! Orders: carts of one or two sellers, paid now, later or not at all, and whatever can happen to them until their end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{ListingId, OrderId};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::sync::watch;

use super::{Load, Wishes, usd};
use crate::client::Client;
use crate::fail::OrFail;
use crate::history::{Change, Intent, Outcome, Wanted};
use crate::market::{self, listing, with};

/// The first traders sell, the others buy.
const SELLERS: usize = 2;
const BUYERS: usize = 4;
/// So many orders are in play at a time. Older ones are left to their timers.
const IN_PLAY: usize = 40;
/// Pieces of each listing: one is unique and one scarce, so that carts meet. Listings belong to the sellers in turn.
const STOCKS: [u32; 6] = [100_000, 100_000, 100_000, 100_000, 1, 12];

/// What is for sale, and the orders that are in play.
#[derive(Debug)]
struct Trading {
    listings: Vec<ListingId>,
    orders: Mutex<VecDeque<Known>>,
}

/// An order as somebody was told of it.
#[derive(Clone, Debug)]
struct Known {
    id: OrderId,
    buyer: usize,
    seller: usize,
    status: String,
}

impl Load {
    /// Registers two sellers with listings and four buyers with money, who trade.
    pub async fn prepare_orders(
        first: &Client,
        nodes: Vec<watch::Receiver<String>>,
        workers: usize,
        seed: u64,
    ) -> Self {
        let mut traders = Vec::new();
        for number in 1..=SELLERS {
            traders.push(first.register_seller(&format!("seller{number}")).await);
        }
        for number in 1..=BUYERS {
            let buyer = first.register(&format!("buyer{number}")).await;
            buyer.deposit(5_000_000, "sandbox-succeeds").await.expect(202);
            traders.push(buyer);
        }
        let mut listings = Vec::new();
        for (number, stock) in STOCKS.into_iter().enumerate() {
            let price = 999 + 500 * i64::try_from(number).or_fail("price a listing");
            let digital = number == 3;
            let goods =
                with(with(listing(price), "stock", stock), "shipping", market::usd(if digital { 0 } else { 345 }));
            let goods = with(goods, "delivery", if digital { "digital" } else { "physical" });
            let id = traders[number % SELLERS].offer(&goods).await;
            listings.push(id.parse().or_fail("read the id of a listing"));
        }
        let wishes = Arc::new(Trading { listings, orders: Mutex::default() });
        Self { traders, auctions: Vec::new(), nodes, workers, seed, wishes }
    }
}

impl Wishes for Trading {
    fn next(&self, traders: &[Client], rng: &mut StdRng) -> (Client, Intent) {
        let known = self.orders().len();
        let dice = rng.random_range(0..100);
        if known == 0 || dice < 30 {
            let buyer = rng.random_range(SELLERS..traders.len());
            return (traders[buyer].clone(), self.cart(rng));
        }
        match dice {
            30..34 => {
                let amount = usd(rng.random_range(1..=300_000));
                let trader = rng.random_range(SELLERS..traders.len());
                (traders[trader].clone(), Intent::Deposit { amount, method: any_method(rng) })
            }
            // So that refunds meet sellers who have nothing left.
            34..37 => {
                let amount = usd(rng.random_range(1..=10_000));
                (traders[rng.random_range(0..SELLERS)].clone(), Intent::Withdraw { amount, method: any_method(rng) })
            }
            _ => {
                let order = self.orders()[rng.random_range(0..known)].clone();
                let (by, intent) = order.wish(rng);
                // Now and then somebody tries whose business it is not.
                let by = if rng.random_ratio(1, 20) { rng.random_range(0..traders.len()) } else { by };
                (traders[by].clone(), intent)
            }
        }
    }

    fn learn(&self, traders: &[Client], actor: &Client, intent: &Intent, outcome: &Outcome) {
        let told = match outcome {
            Outcome::Accepted { body, .. } => body,
            Outcome::Refused { problem, .. } => problem,
            Outcome::Unknown { .. } | Outcome::Improper { .. } => return,
        };
        let accepted = matches!(outcome, Outcome::Accepted { .. });
        let number = |id: &Value| {
            let id = id.as_str()?.parse().ok()?;
            traders.iter().position(|trader| trader.account() == id)
        };
        let mut orders = self.orders();
        match intent {
            Intent::Checkout { pay_now, .. } if accepted => {
                let buyer = traders.iter().position(|trader| trader.account() == actor.account());
                for placed in told["orders"].as_array().into_iter().flatten() {
                    let id = placed["id"].as_str().and_then(|id| id.parse().ok());
                    let (Some(id), Some(buyer), Some(seller)) = (id, buyer, number(&placed["seller_id"])) else {
                        continue;
                    };
                    let status = if *pay_now { "paid" } else { "placed" }.to_owned();
                    orders.push_back(Known { id, buyer, seller, status });
                }
                while orders.len() > IN_PLAY {
                    orders.pop_front();
                }
            }
            Intent::Pay { order, .. } | Intent::Change { order, .. } => {
                let status = match told["type"].as_str() {
                    None => told["status"].as_str(),
                    // Other problems tell the status of the escrow.
                    Some("/problems/wrong-order-status") => told["actual"].as_str(),
                    Some(_) => None,
                };
                let known = orders.iter_mut().find(|known| known.id == *order);
                if let (Some(status), Some(known)) = (status, known) {
                    status.clone_into(&mut known.status);
                }
            }
            Intent::Bid { .. } | Intent::Deposit { .. } | Intent::Withdraw { .. } | Intent::Checkout { .. } => {}
        }
    }
}

impl Trading {
    fn orders(&self) -> std::sync::MutexGuard<'_, VecDeque<Known>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cart(&self, rng: &mut StdRng) -> Intent {
        let mut wanted = || {
            let listing = self.listings[rng.random_range(0..self.listings.len())];
            Wanted { listing, quantity: rng.random_range(1..=3) }
        };
        // Two lines may be of two sellers, of one, or of one listing.
        let lines = vec![wanted(), wanted()];
        let lines = if rng.random_bool(0.5) { lines } else { lines[..1].to_vec() };
        // More than were earned, now and then.
        let points = if rng.random_bool(0.3) { rng.random_range(1..=60) } else { 0 };
        Intent::Checkout { lines, pay_now: rng.random_bool(0.5), points }
    }
}

impl Known {
    /// Something that the order's status allows, most of the time: who, and what.
    fn wish(&self, rng: &mut StdRng) -> (usize, Intent) {
        let (order, buyer, seller) = (self.id, self.buyer, self.seller);
        let part = usd(rng.random_range(1..=3_000));
        let amount = rng.random_bool(0.5).then_some(part);
        let change = |what| Intent::Change { order, what };
        let method = rng.random_bool(0.3).then(|| any_method(rng));
        let pay = (buyer, Intent::Pay { order, method });
        let (refund, cancel) = ((seller, change(Change::Refund { amount })), (buyer, change(Change::Cancel)));
        let (ship, deliver) = ((seller, change(Change::Ship)), (buyer, change(Change::Deliver)));
        let (confirm, dispute) = ((buyer, change(Change::Confirm)), (buyer, change(Change::Dispute)));
        let choices = match self.status.as_str() {
            "placed" => vec![pay.clone(), pay, cancel],
            "paid" => vec![ship.clone(), ship.clone(), ship, cancel, refund, deliver],
            "shipped" => vec![deliver.clone(), deliver, confirm.clone(), confirm, dispute, refund],
            "delivered" => vec![confirm.clone(), confirm.clone(), confirm, dispute, refund],
            "completed" => vec![refund, confirm],
            _ => vec![pay, cancel, refund, ship, confirm],
        };
        choices[rng.random_range(0..choices.len())].clone()
    }
}

fn any_method(rng: &mut StdRng) -> String {
    let methods = ["sandbox-succeeds", "sandbox-succeeds", "sandbox-declines", "sandbox-delays"];
    methods[rng.random_range(0..methods.len())].to_owned()
}
