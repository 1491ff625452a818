//! Use cases of auctions. Whatever ends an auction archives its listing in the same commit.

use domain::account::Capability;
use domain::auction::{Auction, Canceller, Command, Error, Live};
use domain::listing::{self, ArchiveCause, Listing};
use domain::{AccountId, AuctionId, Money};

use crate::accounts;
use crate::engine::{Halt, World};

/// Bids up to a maximum. Answers with what stands then.
pub fn place_bid(world: &mut World<'_>, auction: AuctionId, bidder: AccountId, maximum: Money) -> Result<Live, Halt> {
    accounts::require(world, bidder, Capability::Buy)?;
    let now = world.now();
    world.execute::<Auction>(auction, Command::PlaceBid { bidder, maximum, now })?;
    live(world, auction)
}

/// Takes an auction at its buy-now price. Answers with that price.
pub fn buy_now(world: &mut World<'_>, auction: AuctionId, buyer: AccountId) -> Result<Money, Halt> {
    accounts::require(world, buyer, Capability::Buy)?;
    let now = world.now();
    let price = match world.get::<Auction>(auction)? {
        Auction::Live(live) => live.terms.buy_now_price,
        Auction::Unscheduled | Auction::Closed { .. } | Auction::Cancelled { .. } => None,
    };
    world.execute::<Auction>(auction, Command::BuyNow { buyer, now })?;
    archive(world, auction, ArchiveCause::AuctionEnded)?;
    Ok(price.ok_or(Error::BuyNowUnavailable)?)
}

/// Calls an auction off: its seller before the first bid, staff at any time.
pub fn cancel(world: &mut World<'_>, auction: AuctionId, by: AccountId, reason: &str) -> Result<(), Halt> {
    let is_seller = world.get::<Listing>(auction.into())?.owned_by(by).is_ok();
    let by = if is_seller {
        Canceller::Seller
    } else {
        // Who is neither seller nor staff is told what the seller of another item is told.
        accounts::require(world, by, Capability::Staff).map_err(|_| listing::Error::NotFound)?;
        Canceller::Staff(by)
    };
    let now = world.now();
    world.execute::<Auction>(auction, Command::Cancel { by, reason: reason.to_owned(), now })?;
    archive(world, auction, ArchiveCause::AuctionCancelled)
}

/// Announces that the start has come.
pub fn open(world: &mut World<'_>, auction: AuctionId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Auction>(auction, Command::Open { now })?;
    Ok(())
}

/// Declares the outcome, once the end has come.
pub fn close(world: &mut World<'_>, auction: AuctionId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Auction>(auction, Command::Close { now })?;
    archive(world, auction, ArchiveCause::AuctionEnded)
}

fn archive(world: &mut World<'_>, auction: AuctionId, cause: ArchiveCause) -> Result<(), Halt> {
    world.execute::<Listing>(auction.into(), listing::Command::Archive { cause })?;
    Ok(())
}

fn live(world: &mut World<'_>, auction: AuctionId) -> Result<Live, Halt> {
    match world.get::<Auction>(auction)? {
        Auction::Live(live) => Ok(live.clone()),
        Auction::Unscheduled | Auction::Closed { .. } | Auction::Cancelled { .. } => Err(Error::NotScheduled.into()),
    }
}
