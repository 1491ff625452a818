//! Use cases of listings. Publishing one that is sold by auction schedules the auction in the same commit.

use domain::account::Capability;
use domain::auction::{self, Auction, Terms};
use domain::increments::Increments;
use domain::listing::{ArchiveCause, AuctionPlan, Changes, Command, Details, Listing, Sale};
use domain::{AccountId, ListingId};

use crate::accounts;
use crate::engine::{Halt, World};

/// Something to be offered.
#[derive(Clone, Debug)]
pub struct NewListing {
    /// The id minted for it.
    pub listing: ListingId,
    /// Who sells.
    pub seller: AccountId,
    /// What it is.
    pub details: Details,
    /// How it is sold.
    pub sale: Sale,
}

/// Writes a listing down.
pub fn draft(world: &mut World<'_>, new: &NewListing) -> Result<(), Halt> {
    accounts::require(world, new.seller, Capability::Sell)?;
    world.fresh::<Listing>(new.listing);
    world.fresh::<Auction>(new.listing.into());
    let (seller, details, sale) = (new.seller, new.details.clone(), new.sale.clone());
    world.execute::<Listing>(new.listing, Command::Draft { seller, details, sale })?;
    Ok(())
}

/// Changes a listing.
pub fn revise(world: &mut World<'_>, listing: ListingId, by: AccountId, changes: Changes) -> Result<(), Halt> {
    world.execute::<Listing>(listing, Command::Revise { by, changes })?;
    Ok(())
}

/// Offers a listing. An auction starts at its planned time, or now.
pub fn publish(
    world: &mut World<'_>,
    listing: ListingId,
    by: AccountId,
    soft_close_window_ms: u32,
) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Sell)?;
    let published = world.execute::<Listing>(listing, Command::Publish { by })?;
    let sale = world.get::<Listing>(listing)?.offer()?.sale.clone();
    if let Sale::Auction(plan) = sale
        && !published.is_empty()
    {
        let terms = terms(&plan, by, world.now(), soft_close_window_ms);
        let now = world.now();
        world.execute::<Auction>(listing.into(), auction::Command::Schedule { terms, now })?;
    }
    Ok(())
}

/// Takes a listing off for good, as its seller.
pub fn archive(world: &mut World<'_>, listing: ListingId, by: AccountId) -> Result<(), Halt> {
    world.execute::<Listing>(listing, Command::Archive { cause: ArchiveCause::Seller(by) })?;
    Ok(())
}

fn terms(plan: &AuctionPlan, seller: AccountId, now: domain::Timestamp, soft_close_window_ms: u32) -> Terms {
    let (starts_at, ends_at) = plan.times(now);
    Terms {
        seller,
        start_price: plan.start_price,
        reserve_price: plan.reserve_price,
        buy_now_price: plan.buy_now_price,
        starts_at,
        ends_at,
        soft_close_window_ms,
        increments: Increments::standard(plan.start_price.currency()),
    }
}
