//! Use cases of listings. Publishing one that is sold by auction schedules the auction in the same commit.

use std::collections::BTreeMap;

use domain::auction::{self, Auction, Terms};
use domain::increments::Increments;
use domain::listing::{ArchiveCause, AuctionPlan, Changes, Command, Details, Listing, Sale};
use domain::stock::{self, Pieces, Sku, Stock};
use domain::{AccountId, Currency, ListingId, listing};

use crate::engine::{Halt, World};
use crate::stores;

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
    /// How many pieces there are of each form; of a form that is not named there is one.
    pub stock: BTreeMap<Sku, u32>,
}

/// Writes a listing down.
pub fn draft(world: &mut World<'_>, new: &NewListing) -> Result<(), Halt> {
    stores::require_open(world, new.seller)?;
    world.fresh::<Listing>(new.listing);
    world.fresh::<Auction>(new.listing.into());
    world.fresh::<Stock>(new.listing);
    let (seller, details, sale) = (new.seller, new.details.clone(), new.sale.clone());
    world.execute::<Listing>(new.listing, Command::Draft { seller, details, sale })?;
    count(world, new.listing, &new.stock)
}

/// Changes a listing, and how many pieces of it are free: `stock` names the forms whose count changes.
pub fn revise(
    world: &mut World<'_>,
    listing: ListingId,
    by: AccountId,
    changes: Changes,
    stock: &BTreeMap<Sku, u32>,
) -> Result<(), Halt> {
    world.execute::<Listing>(listing, Command::Revise { by, changes })?;
    count(world, listing, stock)
}

/// States how many pieces of each form are free. A form that is not named keeps its count, or has one piece if it is
/// new; an auction counts nothing.
fn count(world: &mut World<'_>, listing: ListingId, counts: &BTreeMap<Sku, u32>) -> Result<(), Halt> {
    let skus = world.get::<Listing>(listing)?.offer()?.sale.skus();
    if counts.keys().any(|sku| !skus.contains(sku)) {
        return Err(listing::Error::NoSuchVariant { variants: skus.len() }.into());
    }
    let known = &world.get::<Stock>(listing)?.free;
    let count = |sku: &Sku| counts.get(sku).or_else(|| known.get(sku)).copied().unwrap_or(1);
    let free: Pieces = skus.iter().map(|sku| (sku.clone(), count(sku))).collect();
    world.execute::<Stock>(listing, stock::Command::Count { free })?;
    Ok(())
}

/// What a deployment decides about auctions. Frozen into every auction when it is scheduled.
#[derive(Clone, Debug, Default)]
pub struct AuctionRules {
    /// A bid with less than this left moves the end to this much from then.
    pub soft_close_window_ms: u32,
    /// By how much a bid must top the price, in the currencies that do not use the standard table.
    pub increments: BTreeMap<Currency, Increments>,
}

/// Offers a listing. An auction starts at its planned time, or now.
pub fn publish(world: &mut World<'_>, listing: ListingId, by: AccountId, rules: &AuctionRules) -> Result<(), Halt> {
    stores::require_open(world, by)?;
    let published = world.execute::<Listing>(listing, Command::Publish { by })?;
    let sale = world.get::<Listing>(listing)?.offer()?.sale.clone();
    if let Sale::Auction(plan) = sale
        && !published.is_empty()
    {
        let terms = terms(&plan, by, world.now(), rules);
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

fn terms(plan: &AuctionPlan, seller: AccountId, now: domain::Timestamp, rules: &AuctionRules) -> Terms {
    let (starts_at, ends_at) = plan.times(now);
    let currency = plan.start_price.currency();
    Terms {
        seller,
        start_price: plan.start_price,
        reserve_price: plan.reserve_price,
        buy_now_price: plan.buy_now_price,
        starts_at,
        ends_at,
        soft_close_window_ms: rules.soft_close_window_ms,
        increments: rules.increments.get(&currency).cloned().unwrap_or_else(|| Increments::standard(currency)),
    }
}
