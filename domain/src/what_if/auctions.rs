//! An auction, bid by bid, under other rules.
//!
//! Every bid that was accepted is made again, by the same bidder, up to the same maximum, at the same time. Bids that were
//! refused when they were made are in no log, so smaller increments never bring one back.

use serde::Serialize;

use super::policy;
use crate::Timestamp;
use crate::aggregate::Aggregate;
use crate::auction::{Auction, Command, Event, Outcome};
use crate::ids::AccountId;
use crate::money::{Currency, Money};

/// How many refusals of one auction are told one by one. All are counted.
pub const MOST_REFUSALS: usize = 100;

/// How an auction has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The highest bidder has it.
    Won,
    /// Somebody has bought it at once.
    BoughtNow,
    /// Nobody bid.
    NoBids,
    /// The reserve was not reached.
    ReserveMissed,
    /// It was called off.
    Cancelled,
    /// It has not: it goes on after the last event.
    Open,
}

/// What came of an auction.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Ending {
    /// How it has ended.
    pub how: Ended,
    /// When; if it goes on, when it will as it stands.
    pub at: Timestamp,
    /// Who has it.
    pub winner: Option<AccountId>,
    /// What they pay.
    pub price: Option<Money>,
    /// How many bids were accepted.
    pub bids: u32,
}

/// Something that somebody did and that the other rules refuse.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// Who.
    pub bidder: AccountId,
    /// Up to what they bid; nothing for who took it at once.
    pub maximum: Option<Money>,
    /// When.
    pub at: Timestamp,
    /// Why it is refused, with the rule's numbers.
    pub reason: String,
}

/// An auction as it was, and as it would have been.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Auctioned {
    /// Who sold.
    pub seller: AccountId,
    /// In which currency.
    pub currency: Currency,
    /// As it was.
    pub was: Ending,
    /// As it would have been.
    pub would: Ending,
    /// What would have been refused: the first [`MOST_REFUSALS`].
    pub refused: Vec<Refusal>,
    /// How much would have been refused.
    pub refusals: u64,
}

impl Auctioned {
    /// Whether anything is different.
    pub fn is_different(&self) -> bool {
        self.was != self.would || self.refusals > 0
    }

    /// Whether somebody else would have it, or somebody instead of nobody.
    pub fn changes_winner(&self) -> bool {
        self.would.how != Ended::Open && self.was.winner != self.would.winner
    }

    /// How much more its winner would pay than its winner paid, in minor units; nothing unless it is sold in both.
    pub fn price_change(&self) -> Option<i64> {
        Some(self.would.price?.minor() - self.was.price?.minor())
    }
}

/// An auction on its way through what happened to it. Whatever has been taken in, it is as small.
#[derive(Clone, Debug)]
pub struct AuctionReplay<'a> {
    rules: &'a policy::Auctions,
    /// Who sells, and in which currency: one that was called off does not know.
    offer: Option<(AccountId, Currency)>,
    was: Auction,
    would: Auction,
    bids: Bids,
    cancelled: Cancelled,
    refused: Vec<Refusal>,
    refusals: u64,
}

/// How many bids were accepted, and would have been: an auction that is over does not know.
#[derive(Clone, Copy, Debug, Default)]
struct Bids {
    was: u32,
    would: u32,
}

/// When it was called off, and would have been.
#[derive(Clone, Copy, Debug, Default)]
struct Cancelled {
    was: Option<Timestamp>,
    would: Option<Timestamp>,
}

impl<'a> AuctionReplay<'a> {
    /// An auction to which nothing has happened.
    pub fn new(rules: &'a policy::Auctions) -> Self {
        Self {
            rules,
            offer: None,
            was: Auction::default(),
            would: Auction::default(),
            bids: Bids::default(),
            cancelled: Cancelled::default(),
            refused: Vec::new(),
            refusals: 0,
        }
    }

    /// Takes in what happened next, and when that was decided.
    pub fn take(&mut self, event: &Event, at: Timestamp) {
        if !matches!(self.was, Auction::Unscheduled | Auction::Live(_)) {
            // What becomes of a sale begins with its order.
            return;
        }
        self.was.evolve(event);
        self.end_by(at);
        match event {
            Event::AuctionScheduled { terms } => {
                self.offer = Some((terms.seller, terms.start_price.currency()));
                self.would.evolve(&Event::AuctionScheduled { terms: self.rules.applied(terms) });
            }
            Event::AuctionOpened {} => drop(self.decide(Command::Open { now: at })),
            Event::BidPlaced { bidder, maximum, .. } => {
                self.bids.was += 1;
                match self.decide(Command::PlaceBid { bidder: *bidder, maximum: *maximum, now: at }) {
                    Ok(()) => self.bids.would += 1,
                    Err(reason) => self.refuse(Refusal { bidder: *bidder, maximum: Some(*maximum), at, reason }),
                }
            }
            Event::AuctionClosed { outcome: Outcome::BoughtNow { winner, .. }, .. } => {
                if let Err(reason) = self.decide(Command::BuyNow { buyer: *winner, now: at }) {
                    self.refuse(Refusal { bidder: *winner, maximum: None, at, reason });
                }
            }
            Event::AuctionCancelled { by, reason } => {
                self.cancelled.was = Some(at);
                if self.decide(Command::Cancel { by: *by, reason: reason.clone(), now: at }).is_ok()
                    && matches!(self.would, Auction::Cancelled { .. })
                {
                    self.cancelled.would = Some(at);
                }
            }
            // Another end follows from the bid before it, and it closes by its own; what follows its end never comes here.
            Event::AuctionExtended { .. }
            | Event::AuctionClosed { outcome: Outcome::Won { .. } | Outcome::Unsold { .. }, .. }
            | Event::SaleForfeited { .. }
            | Event::SecondChanceOffered { .. }
            | Event::SecondChanceAccepted { .. } => {}
        }
    }

    /// What came of it by `until`; nothing while it goes on.
    pub fn end(mut self, until: Timestamp) -> Option<Auctioned> {
        let (seller, currency) = self.offer?;
        if matches!(self.was, Auction::Unscheduled | Auction::Live(_)) {
            return None;
        }
        self.end_by(until);
        let was = ending(&self.was, self.bids.was, self.cancelled.was)?;
        let would = ending(&self.would, self.bids.would, self.cancelled.would)?;
        Some(Auctioned { seller, currency, was, would, refused: self.refused, refusals: self.refusals })
    }

    /// Closes it if its end has come by then.
    fn end_by(&mut self, now: Timestamp) {
        if matches!(&self.would, Auction::Live(live) if live.ends_at <= now) {
            // Its end has come, so this is not refused.
            drop(self.decide(Command::Close { now }));
        }
    }

    fn decide(&mut self, command: Command) -> Result<(), String> {
        let events = self.would.decide(command).map_err(|error| error.to_string())?;
        for event in &events {
            self.would.evolve(event);
        }
        Ok(())
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusals += 1;
        if self.refused.len() < MOST_REFUSALS {
            self.refused.push(refusal);
        }
    }
}

fn ending(auction: &Auction, bids: u32, cancelled: Option<Timestamp>) -> Option<Ending> {
    match auction {
        Auction::Unscheduled => None,
        Auction::Live(live) => Some(Ending { how: Ended::Open, at: live.ends_at, winner: None, price: None, bids }),
        Auction::Cancelled { .. } => {
            Some(Ending { how: Ended::Cancelled, at: cancelled?, winner: None, price: None, bids })
        }
        Auction::Closed { outcome, ended_at, .. } => {
            let (how, price) = match outcome {
                Outcome::Won { price, .. } => (Ended::Won, Some(*price)),
                Outcome::BoughtNow { price, .. } => (Ended::BoughtNow, Some(*price)),
                Outcome::Unsold { reserve_missed: false } => (Ended::NoBids, None),
                Outcome::Unsold { reserve_missed: true } => (Ended::ReserveMissed, None),
            };
            Some(Ending { how, at: *ended_at, winner: outcome.winner(), price, bids })
        }
    }
}

#[cfg(test)]
mod tests;
