//! The sale of one listing by proxy bidding: second price, public increments, soft close.
//!
//! `Unscheduled → Live → Closed | Cancelled`. A live auction takes bids from its start to its end, whether or not the
//! start has been announced yet. Bidders name a maximum; the price moves only as far as it takes to beat the
//! runner-up. Once whoever has won did not pay, the seller may give underbidders a second chance, one after the other,
//! each once, at their own highest bid and never below the reserve. Invariants: the price never falls and never passes
//! the leader's maximum; the leader holds the highest maximum, the earlier one on a tie; no bid is taken after the end.
//! The rules are numbered as in the domain rules under "Proxy bidding".

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, AuctionId, OrderId};
use crate::increments::Increments;
use crate::listing::AuctionPlan;
use crate::money::{Currency, Money};

#[cfg(test)]
mod laws;
#[cfg(test)]
pub(crate) mod oracle;
#[cfg(test)]
mod replay;
mod second_chance;
#[cfg(test)]
mod tests;

pub use second_chance::{MOST_UNDERBIDDERS, Sale, Underbid};

/// The shortest auction: an end before its start by the clock of the seller is a typing error.
pub const SHORTEST: TimeDelta = TimeDelta::seconds(60);
/// The longest auction, from its start.
pub const LONGEST: TimeDelta = TimeDelta::days(60);

/// What is asked of an auction.
#[derive(Clone, Debug)]
pub enum Command {
    /// Offer the listing under these terms.
    Schedule {
        /// The terms, frozen from here on.
        terms: Terms,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Announce that the start has come.
    Open {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Bid up to a maximum.
    PlaceBid {
        /// Who bids.
        bidder: AccountId,
        /// The most that the bidder would pay. Secret while the auction lives.
        maximum: Money,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Take it at the buy-now price.
    BuyNow {
        /// Who buys.
        buyer: AccountId,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Declare the outcome, once the end has come.
    Close {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Call it off.
    Cancel {
        /// Who calls it off.
        by: Canceller,
        /// Why.
        reason: String,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Note that whoever had it did not pay, or that a second chance has come to nothing in another way.
    Forfeit {
        /// Who.
        buyer: AccountId,
        /// The order that has come to nothing.
        order: OrderId,
    },
    /// Offer it to an underbidder at their highest bid.
    OfferSecondChance {
        /// To whom; nobody if none of them may have it.
        bidder: Option<AccountId>,
        /// Until when it may be taken.
        until: Timestamp,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Take what was offered.
    AcceptSecondChance {
        /// Who takes it.
        bidder: AccountId,
        /// The order that it leads to.
        order: OrderId,
        /// The time of the decision.
        now: Timestamp,
    },
}

/// Who may call an auction off.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Canceller {
    /// The seller, before the first bid.
    Seller,
    /// Staff, at any time until the end.
    Staff(AccountId),
}

/// The conditions of the sale. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Who sells.
    pub seller: AccountId,
    /// The lowest first bid.
    pub start_price: Money,
    /// Below this secret price it is not sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_price: Option<Money>,
    /// Ends the auction at once; gone with the first bid, or once the reserve is met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buy_now_price: Option<Money>,
    /// From when bids are taken.
    pub starts_at: Timestamp,
    /// When it ends, unless a late bid moves the end.
    pub ends_at: Timestamp,
    /// A bid with less than this left moves the end to this much from now.
    pub soft_close_window_ms: u32,
    /// By how much a bid must top the price.
    pub increments: Increments,
}

/// What happens to an auction. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was offered.
    AuctionScheduled {
        /// Under these terms.
        terms: Terms,
    },
    /// Its start was announced.
    AuctionOpened {},
    /// A bid was accepted; what stands after it.
    BidPlaced {
        /// Who bid.
        bidder: AccountId,
        /// The bidder's maximum, secret while the auction lives.
        maximum: Money,
        /// What stands now.
        standing: Standing,
        /// Whether the price satisfies the secret reserve (true without one).
        reserve_met: bool,
        /// Whether it may still be bought at once.
        buy_now_available: bool,
    },
    /// A late bid moved the end.
    AuctionExtended {
        /// The new end.
        ends_at: Timestamp,
    },
    /// It ended.
    AuctionClosed {
        /// With this outcome.
        outcome: Outcome,
        /// At its end, or when somebody bought it at once.
        ended_at: Timestamp,
    },
    /// It was called off.
    AuctionCancelled {
        /// By whom.
        by: Canceller,
        /// Why.
        reason: String,
    },
    /// Whoever had it did not pay, or their second chance has come to nothing in another way, and they have it no more.
    SaleForfeited {
        /// Who.
        buyer: AccountId,
        /// The order that has come to nothing.
        order: OrderId,
    },
    /// An underbidder may have it.
    SecondChanceOffered {
        /// Who.
        bidder: AccountId,
        /// At their highest bid.
        price: Money,
        /// If they take it before then.
        until: Timestamp,
    },
    /// The underbidder took it.
    SecondChanceAccepted {
        /// Who.
        bidder: AccountId,
        /// At this price.
        price: Money,
        /// The order that it led to.
        order: OrderId,
    },
}

event_versions!(Event {
    AuctionScheduled = "1",
    AuctionOpened = "1",
    BidPlaced = "1",
    AuctionExtended = "1",
    AuctionClosed = "1",
    AuctionCancelled = "1",
    SaleForfeited = "1",
    SecondChanceOffered = "1",
    SecondChanceAccepted = "1",
});

/// Who leads, up to what, and at which visible price. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// The account with the highest maximum, the earlier one on a tie.
    pub leader: AccountId,
    /// That maximum. Secret while the auction lives.
    pub leader_maximum: Money,
    /// The highest maximum of anybody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up_maximum: Option<Money>,
    /// The visible price.
    pub price: Money,
}

/// How an auction ended. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "result")]
pub enum Outcome {
    /// The leader won at the visible price.
    Won {
        /// Who won.
        winner: AccountId,
        /// What the winner pays.
        price: Money,
    },
    /// Somebody took it at the buy-now price.
    BoughtNow {
        /// Who bought.
        winner: AccountId,
        /// What the buyer pays.
        price: Money,
    },
    /// Nobody bid, or the highest bid stayed below the reserve.
    Unsold {
        /// Whether it was a reserve that was not reached.
        reserve_missed: bool,
    },
}

/// Why an auction refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// The listing is not for sale by auction.
    #[error("there is no such auction")]
    NotScheduled,
    /// One listing, one auction.
    #[error("the auction has been scheduled already")]
    AlreadyScheduled,
    /// The end must follow the start within bounds.
    #[error("an auction lasts from {shortest_s} s to {longest_s} s; this one would last {offered_s} s")]
    DurationOutOfRange {
        /// The shortest, in seconds.
        shortest_s: i64,
        /// The longest, in seconds.
        longest_s: i64,
        /// What was asked, in seconds.
        offered_s: i64,
    },
    /// An auction cannot start in the past.
    #[error("the start {starts_at} is in the past; it is {now}")]
    StartInPast {
        /// What was asked.
        starts_at: Timestamp,
        /// The marketplace's time.
        now: Timestamp,
    },
    /// A start price is above zero.
    #[error("the start price must be above zero; {offered} was offered")]
    StartPriceNotPositive {
        /// What was asked.
        offered: Money,
    },
    /// A reserve below the start price reserves nothing.
    #[error("the reserve {offered} is below the start price {minimum}")]
    ReserveBelowStart {
        /// The reserve.
        offered: Money,
        /// The start price.
        minimum: Money,
    },
    /// Buy-now must be worth at least the first bid and the reserve.
    #[error("the buy-now price {offered} is below {minimum}")]
    BuyNowTooLow {
        /// The buy-now price.
        offered: Money,
        /// The start price or the reserve, whichever is higher.
        minimum: Money,
    },
    /// All prices of an auction are in one currency.
    #[error("this auction is in {expected}, the amount is in {offered}")]
    WrongCurrency {
        /// The currency of the start price.
        expected: Currency,
        /// The currency of the amount.
        offered: Currency,
    },
    /// Bids are taken from the start on.
    #[error("the auction starts at {starts_at}")]
    NotStarted {
        /// When it starts.
        starts_at: Timestamp,
    },
    /// Bids are taken until the end.
    #[error("the auction ended at {ended_at}")]
    Ended {
        /// When it ended.
        ended_at: Timestamp,
    },
    /// It cannot be closed before its end.
    #[error("the auction ends at {ends_at}")]
    NotEnded {
        /// When it ends.
        ends_at: Timestamp,
    },
    /// It was called off.
    #[error("the auction was cancelled")]
    Cancelled,
    /// Sellers do not bid on what they sell.
    #[error("a seller cannot bid on or buy their own item")]
    OwnItem,
    /// What is won must fit in a wallet together with its shipping.
    #[error("a bid on this may be at most {limit}; {offered} was offered")]
    BidTooHigh {
        /// The highest maximum.
        limit: Money,
        /// What was offered.
        offered: Money,
    },
    /// The maximum does not reach the next increment (rules 1 and 2), or does not raise one's own (rule 3).
    #[error("the bid {offered} is below the minimum {minimum}")]
    BidTooLow {
        /// The lowest maximum that would be accepted now.
        minimum: Money,
        /// The maximum that was offered.
        offered: Money,
    },
    /// There is no buy-now price, or it went with a bid.
    #[error("the item cannot be bought at once")]
    BuyNowUnavailable,
    /// A seller cannot call an auction off that has bids.
    #[error("the auction has {bids} bids and can only be cancelled by staff")]
    HasBids {
        /// How many bids were accepted.
        bids: u32,
    },
    /// Only what was won and not paid is offered again.
    #[error("nobody has failed to pay for this auction")]
    NotForfeited,
    /// One offer at a time.
    #[error("this is offered to an underbidder until {until}")]
    SecondChanceOpen {
        /// Until when.
        until: Timestamp,
    },
    /// Who has bid at least the reserve, has not won and was not offered it before may be offered it.
    #[error("there is no such underbidder who could be offered this")]
    NoUnderbidder,
    /// It was offered to somebody else, or to nobody.
    #[error("this is not offered to you")]
    NoSecondChance,
    /// It was offered, and not taken in time.
    #[error("this was offered until {until}")]
    SecondChanceOver {
        /// Until when.
        until: Timestamp,
    },
    /// It is taken once.
    #[error("this second chance has been taken")]
    SecondChanceTaken,
}

/// An auction.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Auction {
    /// Not for sale by auction.
    #[default]
    Unscheduled,
    /// For sale; bids are taken between its start and its end.
    Live(Live),
    /// Over, with an outcome.
    Closed {
        /// What the terms were.
        terms: Terms,
        /// When it ended.
        ended_at: Timestamp,
        /// How it ended.
        outcome: Outcome,
        /// Who may still be offered it, the highest bid first.
        underbidders: Vec<Underbid>,
        /// What has become of the sale.
        sale: Sale,
    },
    /// Called off.
    Cancelled {
        /// Who was selling.
        seller: AccountId,
    },
}

/// An auction that is for sale.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Live {
    /// The conditions of the sale.
    pub terms: Terms,
    /// Whether the start has been announced.
    pub opened: bool,
    /// The end as it stands.
    pub ends_at: Timestamp,
    /// How many bids were accepted.
    pub bids: u32,
    /// Who leads, once there is a bid.
    pub standing: Option<Standing>,
    /// The highest bids, one per bidder, the highest first and of equal ones the earlier: the leader's and those of as
    /// many underbidders as may be offered a second chance.
    pub ranking: Vec<Underbid>,
}

impl Aggregate for Auction {
    const TYPE: &'static str = "auction";
    type Id = AuctionId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        use Command::{
            AcceptSecondChance, BuyNow, Cancel, Close, Forfeit, OfferSecondChance, Open, PlaceBid, Schedule,
        };
        match (self, command) {
            (Self::Unscheduled, Schedule { terms, now }) => schedule(terms, now),
            (Self::Unscheduled, _) => Err(Error::NotScheduled),
            (_, Schedule { .. }) => Err(Error::AlreadyScheduled),
            (Self::Live(live), Open { now }) => live.open(now),
            (Self::Live(live), PlaceBid { bidder, maximum, now }) => live.place_bid(bidder, maximum, now),
            (Self::Live(live), BuyNow { buyer, now }) => live.buy_now(buyer, now),
            (Self::Live(live), Close { now }) => live.close(now),
            (Self::Live(live), Cancel { by, reason, now }) => live.cancel(by, reason, now),
            (Self::Live(live), OfferSecondChance { .. }) => Err(Error::NotEnded { ends_at: live.ends_at }),
            (Self::Closed { outcome, sale, .. }, Forfeit { buyer, order }) => Ok(sale.forfeit(outcome, buyer, order)),
            (Self::Closed { underbidders, sale, .. }, OfferSecondChance { bidder, until, now }) => {
                sale.offer(underbidders, bidder, until, now)
            }
            (Self::Closed { sale, .. }, AcceptSecondChance { bidder, order, now }) => sale.accept(bidder, order, now),
            (Self::Live(_) | Self::Cancelled { .. }, AcceptSecondChance { .. }) => Err(Error::NoSecondChance),
            (Self::Live(_) | Self::Cancelled { .. }, Forfeit { .. })
            | (Self::Closed { .. } | Self::Cancelled { .. }, Open { .. } | Close { .. })
            | (Self::Cancelled { .. }, Cancel { .. }) => Ok(vec![]),
            (&Self::Closed { ended_at, .. }, PlaceBid { .. } | BuyNow { .. } | Cancel { .. }) => {
                Err(Error::Ended { ended_at })
            }
            (Self::Cancelled { .. }, PlaceBid { .. } | BuyNow { .. } | OfferSecondChance { .. }) => {
                Err(Error::Cancelled)
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event) {
            (Self::Unscheduled, Event::AuctionScheduled { terms }) => Self::Live(Live {
                terms: terms.clone(),
                opened: false,
                ends_at: terms.ends_at,
                bids: 0,
                standing: None,
                ranking: Vec::new(),
            }),
            (Self::Live(live), Event::AuctionOpened {}) => Self::Live(Live { opened: true, ..live }),
            (Self::Live(mut live), Event::BidPlaced { bidder, maximum, standing, .. }) => {
                live.rank(Underbid { bidder: *bidder, maximum: *maximum });
                Self::Live(Live { bids: live.bids + 1, standing: Some(*standing), ..live })
            }
            (Self::Live(live), Event::AuctionExtended { ends_at }) => Self::Live(Live { ends_at: *ends_at, ..live }),
            (Self::Live(live), &Event::AuctionClosed { outcome, ended_at }) => {
                let underbidders = live.underbidders(outcome.winner());
                Self::Closed { terms: live.terms, ended_at, outcome, underbidders, sale: Sale::Stands }
            }
            (Self::Live(live), Event::AuctionCancelled { .. }) => Self::Cancelled { seller: live.terms.seller },
            (Self::Closed { terms, ended_at, outcome, underbidders, .. }, Event::SaleForfeited { .. }) => {
                Self::Closed { terms, ended_at, outcome, underbidders, sale: Sale::Forfeited }
            }
            (
                Self::Closed { terms, ended_at, outcome, mut underbidders, .. },
                &Event::SecondChanceOffered { bidder, price, until },
            ) => {
                underbidders.retain(|underbid| underbid.bidder != bidder);
                let sale = Sale::Offered { to: Underbid { bidder, maximum: price }, until };
                Self::Closed { terms, ended_at, outcome, underbidders, sale }
            }
            (
                Self::Closed { terms, ended_at, outcome, underbidders, .. },
                &Event::SecondChanceAccepted { bidder, order, .. },
            ) => Self::Closed { terms, ended_at, outcome, underbidders, sale: Sale::Taken { by: bidder, order } },
            // No decision leads here; a fold never fails.
            (
                state,
                Event::AuctionScheduled { .. }
                | Event::AuctionOpened {}
                | Event::BidPlaced { .. }
                | Event::AuctionExtended { .. }
                | Event::AuctionClosed { .. }
                | Event::AuctionCancelled { .. }
                | Event::SaleForfeited { .. }
                | Event::SecondChanceOffered { .. }
                | Event::SecondChanceAccepted { .. },
            ) => state,
        }
    }
}

/// Refuses what no time would make an auction of: prices that contradict each other, or a wrong length.
pub fn check_plan(plan: &AuctionPlan) -> Result<(), Error> {
    check_prices(plan.start_price, plan.reserve_price, plan.buy_now_price)?;
    check_duration(TimeDelta::seconds(i64::from(plan.duration_s)))
}

fn schedule(terms: Terms, now: Timestamp) -> Result<Vec<Event>, Error> {
    check_prices(terms.start_price, terms.reserve_price, terms.buy_now_price)?;
    if terms.starts_at < now {
        return Err(Error::StartInPast { starts_at: terms.starts_at, now });
    }
    check_duration(terms.ends_at - terms.starts_at)?;
    Ok(vec![Event::AuctionScheduled { terms }])
}

fn check_prices(start: Money, reserve: Option<Money>, buy_now: Option<Money>) -> Result<(), Error> {
    let in_currency = |amount: Money| match amount.minor_in(start.currency()) {
        Ok(_) => Ok(amount),
        Err(_) => Err(Error::WrongCurrency { expected: start.currency(), offered: amount.currency() }),
    };
    if !start.is_positive() {
        return Err(Error::StartPriceNotPositive { offered: start });
    }
    let mut floor = start;
    if let Some(offered) = reserve.map(in_currency).transpose()? {
        if offered.minor() < floor.minor() {
            return Err(Error::ReserveBelowStart { offered, minimum: floor });
        }
        floor = offered;
    }
    if let Some(offered) = buy_now.map(in_currency).transpose()?
        && offered.minor() < floor.minor()
    {
        return Err(Error::BuyNowTooLow { offered, minimum: floor });
    }
    Ok(())
}

fn check_duration(duration: TimeDelta) -> Result<(), Error> {
    if !(SHORTEST..=LONGEST).contains(&duration) {
        return Err(Error::DurationOutOfRange {
            shortest_s: SHORTEST.num_seconds(),
            longest_s: LONGEST.num_seconds(),
            offered_s: duration.num_seconds(),
        });
    }
    Ok(())
}

impl Outcome {
    /// Who has it.
    pub fn winner(&self) -> Option<AccountId> {
        match self {
            Self::Won { winner, .. } | Self::BoughtNow { winner, .. } => Some(*winner),
            Self::Unsold { .. } => None,
        }
    }
}

impl Live {
    /// Takes a bid in. Whoever is among the highest stays there unless others pass, so what falls off is never missed.
    fn rank(&mut self, bid: Underbid) {
        self.ranking.retain(|other| other.bidder != bid.bidder);
        let place = self.ranking.partition_point(|other| other.maximum.minor() >= bid.maximum.minor());
        self.ranking.insert(place, bid);
        self.ranking.truncate(MOST_UNDERBIDDERS + 1);
    }

    /// Who may be offered it if `winner` does not pay: nothing is ever sold below its reserve.
    fn underbidders(&self, winner: Option<AccountId>) -> Vec<Underbid> {
        let reserve = self.terms.reserve_price.map_or(0, Money::minor);
        let may = |bid: &&Underbid| Some(bid.bidder) != winner && bid.maximum.minor() >= reserve;
        self.ranking.iter().filter(may).copied().collect()
    }

    /// Whether it may be bought at once: a price was set, and no bid has met what makes it disappear (rule 6).
    pub fn buy_now_available(&self) -> bool {
        self.terms.buy_now_price.is_some() && !self.buy_now_spent(self.standing.as_ref())
    }

    /// Whether the visible price satisfies the reserve; true without one.
    pub fn reserve_met(&self) -> bool {
        self.terms.reserve_price.is_none()
            || self.standing.as_ref().is_some_and(|standing| self.meets_reserve(standing))
    }

    /// The lowest maximum that a rival of the leader may bid now (rules 1 and 2).
    pub fn minimum_bid(&self) -> Money {
        match &self.standing {
            None => self.terms.start_price,
            Some(standing) => self.terms.increments.topped(standing.price),
        }
    }

    fn open(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        if now < self.terms.starts_at {
            return Err(Error::NotStarted { starts_at: self.terms.starts_at });
        }
        Ok(if self.opened { vec![] } else { vec![Event::AuctionOpened {}] })
    }

    fn place_bid(&self, bidder: AccountId, maximum: Money, now: Timestamp) -> Result<Vec<Event>, Error> {
        self.check_trading(bidder, now)?;
        self.check_currency(maximum)?;
        let minimum = match &self.standing {
            Some(standing) if standing.leader == bidder => raised(standing.leader_maximum),
            _ => self.minimum_bid(),
        };
        if maximum.minor() < minimum.minor() {
            return Err(Error::BidTooLow { minimum, offered: maximum });
        }
        let standing = self.standing_after(bidder, maximum);
        let placed = Event::BidPlaced {
            bidder,
            maximum,
            standing,
            reserve_met: self.meets_reserve(&standing),
            buy_now_available: self.terms.buy_now_price.is_some() && !self.buy_now_spent(Some(&standing)),
        };
        let announcement = (!self.opened).then_some(Event::AuctionOpened {});
        let extension = self.extended(now).map(|ends_at| Event::AuctionExtended { ends_at });
        Ok(announcement.into_iter().chain([placed]).chain(extension).collect())
    }

    fn buy_now(&self, buyer: AccountId, now: Timestamp) -> Result<Vec<Event>, Error> {
        self.check_trading(buyer, now)?;
        match self.terms.buy_now_price {
            Some(price) if self.buy_now_available() => {
                let outcome = Outcome::BoughtNow { winner: buyer, price };
                Ok(vec![Event::AuctionClosed { outcome, ended_at: now }])
            }
            _ => Err(Error::BuyNowUnavailable),
        }
    }

    fn close(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        if now < self.ends_at {
            return Err(Error::NotEnded { ends_at: self.ends_at });
        }
        // PLANTED: the second wins.
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::SecondBidWins)
            && let Some(standing) = &self.standing
            && let Some(second) = self.underbidders(Some(standing.leader)).first()
        {
            let outcome = Outcome::Won { winner: second.bidder, price: standing.price };
            return Ok(vec![Event::AuctionClosed { outcome, ended_at: self.ends_at }]);
        }
        let outcome = match &self.standing {
            None => Outcome::Unsold { reserve_missed: false },
            Some(standing) if !self.meets_reserve(standing) => Outcome::Unsold { reserve_missed: true },
            Some(standing) => Outcome::Won { winner: standing.leader, price: standing.price },
        };
        Ok(vec![Event::AuctionClosed { outcome, ended_at: self.ends_at }])
    }

    fn cancel(&self, by: Canceller, reason: String, now: Timestamp) -> Result<Vec<Event>, Error> {
        match by {
            // Whoever leads at the end has won, whether or not that has been declared yet.
            _ if now >= self.ends_at => Err(Error::Ended { ended_at: self.ends_at }),
            Canceller::Seller if self.bids > 0 => Err(Error::HasBids { bids: self.bids }),
            Canceller::Seller | Canceller::Staff(_) => Ok(vec![Event::AuctionCancelled { by, reason }]),
        }
    }

    fn check_trading(&self, who: AccountId, now: Timestamp) -> Result<(), Error> {
        if now < self.terms.starts_at {
            return Err(Error::NotStarted { starts_at: self.terms.starts_at });
        }
        if now >= self.ends_at {
            return Err(Error::Ended { ended_at: self.ends_at });
        }
        if who == self.terms.seller {
            return Err(Error::OwnItem);
        }
        Ok(())
    }

    fn check_currency(&self, amount: Money) -> Result<(), Error> {
        let expected = self.terms.start_price.currency();
        match amount.minor_in(expected) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::WrongCurrency { expected, offered: amount.currency() }),
        }
    }

    /// Rules 2 to 5, for a bid that has been found high enough.
    fn standing_after(&self, bidder: AccountId, maximum: Money) -> Standing {
        let (leader, leader_maximum, runner_up_maximum) = match &self.standing {
            None => (bidder, maximum, None),
            Some(old) if old.leader == bidder => (bidder, maximum, old.runner_up_maximum),
            Some(old) if maximum.minor() > old.leader_maximum.minor() => (bidder, maximum, Some(old.leader_maximum)),
            Some(old) => (old.leader, old.leader_maximum, Some(higher(old.runner_up_maximum, maximum))),
        };
        let mut price = self.standing.as_ref().map_or(self.terms.start_price, |old| old.price);
        if let Some(runner_up) = runner_up_maximum {
            price = larger(price, smaller(leader_maximum, self.terms.increments.topped(runner_up)));
        }
        if let Some(reserve) = self.terms.reserve_price
            && leader_maximum.minor() >= reserve.minor()
        {
            price = larger(price, reserve);
        }
        Standing { leader, leader_maximum, runner_up_maximum, price }
    }

    /// Rule 8.
    fn extended(&self, now: Timestamp) -> Option<Timestamp> {
        let window = TimeDelta::milliseconds(i64::from(self.terms.soft_close_window_ms));
        (self.ends_at - now < window).then(|| now + window)
    }

    fn buy_now_spent(&self, standing: Option<&Standing>) -> bool {
        match (self.terms.reserve_price, standing) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(_), Some(standing)) => self.meets_reserve(standing),
        }
    }

    fn meets_reserve(&self, standing: &Standing) -> bool {
        let reserve = self.terms.reserve_price;
        reserve.is_none_or(|reserve| standing.leader_maximum.minor() >= reserve.minor())
    }
}

/// One minor unit more; at the very top of the range the largest amount that there is.
fn raised(amount: Money) -> Money {
    Money::new(amount.minor() + 1, amount.currency()).unwrap_or(amount)
}

fn higher(known: Option<Money>, other: Money) -> Money {
    known.map_or(other, |known| larger(known, other))
}

/// Amounts of one auction share a currency, which [`Live::check_currency`] has made sure of.
fn larger(a: Money, b: Money) -> Money {
    std::cmp::max_by_key(a, b, |amount| amount.minor())
}

fn smaller(a: Money, b: Money) -> Money {
    std::cmp::min_by_key(a, b, |amount| amount.minor())
}
