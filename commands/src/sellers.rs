//! What a seller's plan brings, and what was agreed with the seller alone: the fee of what they sell, and how many
//! listings they may have on offer.

use domain::listing::Listing;
use domain::seller::{Command, Seller};
use domain::subscription::Subscription;
use domain::{AccountId, ListingId, listing};

use crate::engine::{Halt, World};
use crate::fees;
use crate::plans::{self, PlanRules};

/// The marketplace's share of what `seller` sells now in a category, in basis points: what the staff charge of every sale,
/// or else `usual`, unless the category, the seller's plan or the seller has another. The last of these that has one
/// counts.
pub(crate) fn fee_bps(world: &mut World<'_>, seller: AccountId, category: &str, usual: u32) -> Result<u32, Halt> {
    Ok(fees::of_sale(world, seller, Some(category), usual)?.counting())
}

/// How many listings a seller may have on offer at once; as many as they like unless told.
pub fn listing_limit(world: &mut World<'_>, seller: AccountId, rules: PlanRules) -> Result<Option<u32>, Halt> {
    match world.get::<Subscription>(seller)?.running() {
        Some(running) => Ok(running.terms.listings),
        None => plans::free_listings(world, rules),
    }
}

/// Counts a listing that is about to be offered, unless its seller has as many on offer as the plan allows.
pub(crate) fn take_up(
    world: &mut World<'_>,
    seller: AccountId,
    listing: ListingId,
    rules: PlanRules,
) -> Result<(), Halt> {
    let most = listing_limit(world, seller, rules)?;
    world.execute::<Seller>(seller, Command::Offer { listing, most })?;
    Ok(())
}

/// Does to a listing what takes it off, and counts it no more if it was on offer.
pub(crate) fn take_off(
    world: &mut World<'_>,
    listing: ListingId,
    command: listing::Command,
) -> Result<Vec<listing::Event>, Halt> {
    let seller = world.get::<Listing>(listing)?.on_offer_of();
    let events = world.execute::<Listing>(listing, command)?;
    let offered = world.get::<Listing>(listing)?.on_offer_of().is_some();
    if let Some(seller) = seller.filter(|_| !offered) {
        world.execute::<Seller>(seller, Command::Withdraw { listing })?;
    }
    Ok(events)
}
