//! Orders: carts of one or two sellers, paid now, later or not at all, what guests order in cash, what was won and is
//! offered to the next, and whatever can happen to them until their end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{AuctionId, ListingId, OrderId};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Load, Wishes, usd};
use crate::client::Client;
use crate::fail::OrFail;
use crate::history::{Change, Intent, Outcome, Shop, Wanted};
use crate::market::{self, listing, with};

/// The first traders sell, the others buy.
const SELLERS: usize = 2;
const BUYERS: usize = 4;
/// So many orders are in play at a time. Older ones are left to their timers.
const IN_PLAY: usize = 40;
/// Pieces of each listing: one is unique and one scarce, so that carts meet. Listings belong to the sellers in turn.
const STOCKS: [u32; 6] = [100_000, 100_000, 100_000, 100_000, 1, 12];

/// How long auctions last, in days: nobody pays what they win. They belong to the sellers in turn.
const AUCTIONS_DAYS: [i64; BUYERS] = [2, 2, 5, 20];

/// What is for sale, and the orders that are in play.
#[derive(Debug)]
struct Trading {
    /// Who orders without an account.
    guest: Client,
    shops: Vec<Shop>,
    listings: Vec<ListingId>,
    auctions: Vec<AuctionId>,
    orders: Mutex<VecDeque<Known>>,
}

/// An order as somebody was told of it.
#[derive(Clone, Debug)]
struct Known {
    id: OrderId,
    /// Nobody for a guest.
    buyer: Option<usize>,
    seller: usize,
    status: String,
}

impl Load {
    /// Registers two sellers with stores, listings and auctions, and four buyers with money and bids, who trade.
    pub async fn prepare_orders(
        first: &Client,
        nodes: Vec<watch::Receiver<String>>,
        workers: usize,
        seed: u64,
    ) -> Self {
        let mut traders = Vec::new();
        let mut shops = Vec::new();
        for number in 1..=SELLERS {
            let seller = first.register_seller(&format!("seller{number}")).await;
            let shop = Shop { slug: format!("shop-{number}"), owner: seller.account() };
            let about = json!({ "slug": shop.slug, "brand_name": "Shop" });
            seller.put("/merchant/me", &about).send().await.expect(201);
            traders.push(seller);
            shops.push(shop);
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
        let mut auctions = Vec::<AuctionId>::new();
        for (number, days) in AUCTIONS_DAYS.into_iter().enumerate() {
            let terms = with(market::auction(1_000), "duration_s", days * 86_400);
            let id = traders[number % SELLERS].schedule(&terms).await;
            // Somebody else wins each, unless more is bid later: three of them not paid, and an account is blocked.
            for (rank, maximum) in [1_500, 2_500, 3_500, 4_500].into_iter().enumerate() {
                traders[SELLERS + (number + rank) % BUYERS].bid(&id, maximum).await.expect(201);
            }
            auctions.push(id.parse().or_fail("read the id of an auction"));
        }
        let wishes =
            Trading { guest: first.clone(), shops, listings, auctions: auctions.clone(), orders: Mutex::default() };
        Self::new(traders, auctions, nodes, workers, seed, Arc::new(wishes))
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
            37..41 => {
                let store = self.shops[rng.random_range(0..SELLERS)].clone();
                let phone = format!("+92 300 {}", rng.random_range(1_000_000..9_999_999));
                let lines = self.lines(rng);
                (self.guest.clone(), Intent::GuestOrder { store, phone, lines })
            }
            41..46 => self.second_chance(traders, rng),
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
        let buyer = traders.iter().position(|trader| Some(trader.account()) == actor.known_account());
        let mut orders = self.orders();
        let mut know = |id: &Value, seller: Option<usize>, status: &str| {
            let id = id.as_str().and_then(|id| id.parse().ok());
            let (Some(id), Some(seller)) = (id, seller) else { return };
            orders.push_back(Known { id, buyer, seller, status: status.to_owned() });
            if orders.len() > IN_PLAY {
                orders.pop_front();
            }
        };
        match intent {
            Intent::Checkout { pay_now, .. } if accepted => {
                for placed in told["orders"].as_array().into_iter().flatten() {
                    know(&placed["id"], number(&placed["seller_id"]), if *pay_now { "paid" } else { "placed" });
                }
            }
            Intent::GuestOrder { store, .. } if accepted => {
                let seller = self.shops.iter().position(|shop| shop.owner == store.owner);
                know(&told["order_id"], seller, "placed");
            }
            Intent::AcceptSecondChance { auction } if accepted => {
                let seller = self.auctions.iter().position(|known| known == auction).map(|number| number % SELLERS);
                know(&told["order_id"], seller, "placed");
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
            Intent::Bid { .. }
            | Intent::Deposit { .. }
            | Intent::Withdraw { .. }
            | Intent::OfferSecondChance { .. }
            | Intent::AcceptSecondChance { .. }
            | Intent::GuestOrder { .. }
            | Intent::Checkout { .. } => {}
        }
    }
}

impl Trading {
    fn orders(&self) -> std::sync::MutexGuard<'_, VecDeque<Known>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self, rng: &mut StdRng) -> Vec<Wanted> {
        let mut wanted = || {
            let listing = self.listings[rng.random_range(0..self.listings.len())];
            Wanted { listing, quantity: rng.random_range(1..=3) }
        };
        // Two lines may be of two sellers, of one, or of one listing.
        let lines = vec![wanted(), wanted()];
        if rng.random_bool(0.5) { lines } else { lines[..1].to_vec() }
    }

    /// Something about an auction, most of which comes at the wrong moment.
    fn second_chance(&self, traders: &[Client], rng: &mut StdRng) -> (Client, Intent) {
        let number = rng.random_range(0..self.auctions.len());
        let (auction, buyer) = (self.auctions[number], rng.random_range(SELLERS..traders.len()));
        match rng.random_range(0..5) {
            0 => (traders[buyer].clone(), Intent::Bid { auction, maximum: usd(rng.random_range(1_000..=9_000)) }),
            1 | 2 => (traders[number % SELLERS].clone(), Intent::OfferSecondChance { auction }),
            _ => (traders[buyer].clone(), Intent::AcceptSecondChance { auction }),
        }
    }

    fn cart(&self, rng: &mut StdRng) -> Intent {
        let lines = self.lines(rng);
        // More than were earned, now and then.
        let points = if rng.random_bool(0.3) { rng.random_range(1..=60) } else { 0 };
        Intent::Checkout { lines, pay_now: rng.random_bool(0.5), points }
    }
}

impl Known {
    /// Something that the order's status allows, most of the time: who, and what.
    fn wish(&self, rng: &mut StdRng) -> (usize, Intent) {
        let (order, seller) = (self.id, self.seller);
        let Some(buyer) = self.buyer else { return (seller, self.wish_of_guest(rng)) };
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

    /// What a seller does about a guest's order.
    fn wish_of_guest(&self, rng: &mut StdRng) -> Intent {
        let choices = match self.status.as_str() {
            "placed" => vec![Change::ConfirmGuest, Change::ConfirmGuest, Change::Cancel],
            "confirmed" => vec![Change::Ship, Change::Ship, Change::ConfirmGuest, Change::Cancel],
            "shipped" => vec![Change::Deliver, Change::Deliver, Change::Cancel],
            _ => vec![Change::Cancel, Change::Ship, Change::Refund { amount: None }, Change::Dispute],
        };
        Intent::Change { order: self.id, what: choices[rng.random_range(0..choices.len())] }
    }
}

fn any_method(rng: &mut StdRng) -> String {
    let methods = ["sandbox-succeeds", "sandbox-succeeds", "sandbox-declines", "sandbox-delays"];
    methods[rng.random_range(0..methods.len())].to_owned()
}
