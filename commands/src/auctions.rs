//! Use cases of auctions. Whatever ends an auction archives its listing in the same commit, and a sale places its order.

use chrono::TimeDelta;
use domain::account::Account;
use domain::account::Capability;
use domain::auction::{Auction, Canceller, Command, Error, Event, Live, Outcome, Underbid};
use domain::listing::{self, ArchiveCause, Listing};
use domain::order::Origin;
use domain::wallet::BALANCE_LIMIT;
use domain::{AccountId, AuctionId, Money, Timestamp};

use crate::accounts;
use crate::engine::{Halt, World};
use crate::orders::{self, SaleRules, Win, WinIds};
use crate::{sellers, stores};

/// Bids up to a maximum. Answers with what stands then.
pub fn place_bid(world: &mut World<'_>, auction: AuctionId, bidder: AccountId, maximum: Money) -> Result<Live, Halt> {
    accounts::require(world, bidder, Capability::Buy)?;
    require_offering(world, auction)?;
    let now = world.now();
    check_payable(world, auction, maximum)?;
    world.execute::<Auction>(auction, Command::PlaceBid { bidder, maximum, now })?;
    live(world, auction)
}

/// Refuses to sell what is a seller's who may sell nothing new. Whoever is ahead in their auctions stays so, and gets
/// what they win.
fn require_offering(world: &mut World<'_>, auction: AuctionId) -> Result<(), Halt> {
    match world.get::<Listing>(auction.into())?.offer().map(|offer| offer.seller) {
        Ok(seller) => stores::require_offering(world, seller),
        Err(_) => Ok(()),
    }
}

/// Refuses a bid that nobody could pay: price and shipping must fit in a wallet together, or the auction could not
/// even be closed.
fn check_payable(world: &mut World<'_>, auction: AuctionId, offered: Money) -> Result<(), Halt> {
    let Ok(offer) = world.get::<Listing>(auction.into())?.offer() else { return Ok(()) };
    let shipping = offer.shipping.map_or(0, Money::minor);
    let limit = (BALANCE_LIMIT - 1 - shipping).max(0);
    if offered.minor() <= limit {
        return Ok(());
    }
    let limit = Money::new(limit, offered.currency())?;
    Err(Error::BidTooHigh { limit, offered }.into())
}

/// Takes an auction at its buy-now price. Answers with that price; the order is to be paid within 24 hours.
pub fn buy_now(
    world: &mut World<'_>,
    auction: AuctionId,
    buyer: AccountId,
    ids: WinIds,
    rules: SaleRules,
) -> Result<Money, Halt> {
    accounts::require(world, buyer, Capability::Buy)?;
    require_offering(world, auction)?;
    let now = world.now();
    let price = match world.get::<Auction>(auction)? {
        Auction::Live(live) => live.terms.buy_now_price,
        Auction::Unscheduled | Auction::Closed { .. } | Auction::Cancelled { .. } => None,
    };
    let events = world.execute::<Auction>(auction, Command::BuyNow { buyer, now })?;
    archive(world, auction, ArchiveCause::AuctionEnded)?;
    place_order(world, auction, &events, ids, rules)?;
    Ok(price.ok_or(Error::BuyNowUnavailable)?)
}

/// Calls an auction off: its seller before the first bid, staff at any time.
pub fn cancel(world: &mut World<'_>, auction: AuctionId, by: AccountId, reason: &str) -> Result<(), Halt> {
    let is_seller = world.get::<Listing>(auction.into())?.owned_by(by).is_ok();
    let by = if is_seller {
        Canceller::Seller
    } else {
        // Who is neither seller nor staff is told what the seller of another item is told.
        accounts::require(world, by, Capability::Staff).map_err(|halt| halt.hidden_as(listing::Error::NotFound))?;
        Canceller::Staff(by)
    };
    let now = world.now();
    world.execute::<Auction>(auction, Command::Cancel { by, reason: reason.to_owned(), now })?;
    archive(world, auction, ArchiveCause::AuctionCancelled)
}

/// Refuses to sell what the staff has taken away.
fn require_kept(world: &mut World<'_>, auction: AuctionId) -> Result<(), Halt> {
    match world.get::<Listing>(auction.into())? {
        Listing::Removed(_) => Err(listing::Error::Removed.into()),
        _ => Ok(()),
    }
}

/// What an underbidder may have.
#[derive(Clone, Copy, Debug)]
pub struct SecondChance {
    /// Who.
    pub bidder: AccountId,
    /// At their highest bid.
    pub price: Money,
    /// If they take it before then.
    pub until: Timestamp,
}

/// Who is to be offered a second chance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offeree {
    /// Whoever has bid the most of those who may buy.
    Highest,
    /// This account.
    Named(AccountId),
    /// Somebody whom nobody knows.
    Unknown,
}

/// Offers what was won and not paid to an underbidder at their highest bid, as its seller.
pub fn offer_second_chance(
    world: &mut World<'_>,
    auction: AuctionId,
    by: AccountId,
    to: Offeree,
    window: TimeDelta,
) -> Result<SecondChance, Halt> {
    world.get::<Listing>(auction.into())?.owned_by(by)?;
    require_kept(world, auction)?;
    stores::require_open(world, by)?;
    let underbidders = match world.get::<Auction>(auction)? {
        Auction::Closed { underbidders, .. } => underbidders.clone(),
        Auction::Unscheduled | Auction::Live(_) | Auction::Cancelled { .. } => Vec::new(),
    };
    let mut bidder = None;
    for Underbid { bidder: candidate, .. } in underbidders {
        let may_buy = world.get::<Account>(candidate)?.require(Capability::Buy).is_ok();
        if may_buy && (to == Offeree::Highest || to == Offeree::Named(candidate)) {
            bidder = Some(candidate);
            break;
        }
    }
    // Without anybody the auction is asked all the same: it may have another reason to refuse.
    let now = world.now();
    let until = now + window;
    let events = world.execute::<Auction>(auction, Command::OfferSecondChance { bidder, until, now })?;
    let offered = events.iter().find_map(|event| match *event {
        Event::SecondChanceOffered { bidder, price, until } => Some(SecondChance { bidder, price, until }),
        _ => None,
    });
    Ok(offered.ok_or(Error::NoUnderbidder)?)
}

/// Takes a second chance. Answers with the price; the order is to be paid within 24 hours.
pub fn accept_second_chance(
    world: &mut World<'_>,
    auction: AuctionId,
    buyer: AccountId,
    ids: WinIds,
    rules: SaleRules,
) -> Result<Money, Halt> {
    let (now, order) = (world.now(), ids.order);
    let events = world.execute::<Auction>(auction, Command::AcceptSecondChance { bidder: buyer, order, now })?;
    accounts::require(world, buyer, Capability::Buy)?;
    require_kept(world, auction)?;
    require_offering(world, auction)?;
    let price = events.iter().find_map(|event| match *event {
        Event::SecondChanceAccepted { price, .. } => Some(price),
        _ => None,
    });
    let price = price.ok_or(Error::NoSecondChance)?;
    let win = Win { auction, buyer, price, origin: Origin::SecondChance(auction) };
    orders::place_won(world, ids, win, rules)?;
    Ok(price)
}

/// Announces that the start has come.
pub fn open(world: &mut World<'_>, auction: AuctionId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Auction>(auction, Command::Open { now })?;
    Ok(())
}

/// Declares the outcome, once the end has come. The winner has an order, to be paid within 24 hours.
pub fn close(world: &mut World<'_>, auction: AuctionId, ids: WinIds, rules: SaleRules) -> Result<(), Halt> {
    let now = world.now();
    let events = world.execute::<Auction>(auction, Command::Close { now })?;
    archive(world, auction, ArchiveCause::AuctionEnded)?;
    place_order(world, auction, &events, ids, rules)
}

fn place_order(
    world: &mut World<'_>,
    auction: AuctionId,
    events: &[Event],
    ids: WinIds,
    rules: SaleRules,
) -> Result<(), Halt> {
    for event in events {
        let Event::AuctionClosed { outcome, .. } = event else { continue };
        let win = match *outcome {
            Outcome::Won { winner, price } => {
                Win { auction, buyer: winner, price, origin: Origin::AuctionWon(auction) }
            }
            Outcome::BoughtNow { winner, price } => {
                Win { auction, buyer: winner, price, origin: Origin::BoughtNow(auction) }
            }
            Outcome::Unsold { .. } => continue,
        };
        orders::place_won(world, ids, win, rules)?;
    }
    Ok(())
}

fn archive(world: &mut World<'_>, auction: AuctionId, cause: ArchiveCause) -> Result<(), Halt> {
    sellers::take_off(world, auction.into(), listing::Command::Archive { cause })?;
    Ok(())
}

fn live(world: &mut World<'_>, auction: AuctionId) -> Result<Live, Halt> {
    match world.get::<Auction>(auction)? {
        Auction::Live(live) => Ok(live.clone()),
        Auction::Unscheduled | Auction::Closed { .. } | Auction::Cancelled { .. } => Err(Error::NotScheduled.into()),
    }
}
