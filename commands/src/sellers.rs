//! What a seller's plan brings, and what was agreed with the seller alone: the fee of what they sell, and how many
//! listings they may have on offer.

use domain::account::Capability;
use domain::fees::Rates;
use domain::listing::Listing;
use domain::seller::{Command, Seller};
use domain::subscription::Subscription;
use domain::{AccountId, ListingId, Sealed, listing};

use crate::engine::{Halt, World};
use crate::plans::{self, PlanRules};
use crate::{accounts, categories};

/// The marketplace's share of what `seller` sells now in a category, in basis points: `usual`, unless the category, the
/// seller's plan or the seller has another. The last of these that has one counts.
pub(crate) fn fee_bps(world: &mut World<'_>, seller: AccountId, category: &str, usual: u32) -> Result<u32, Halt> {
    let category = categories::fee_bps(world, category)?;
    let plan = match world.get::<Subscription>(seller)?.running() {
        Some(running) => running.terms.fee_bps,
        None => plans::free_fee_bps(world)?,
    };
    let seller = world.get::<Seller>(seller)?.fee_bps;
    Ok(Rates { usual, category, plan, seller }.counting())
}

/// Charges a seller a fee of their own from now on, as somebody of the staff, or the one that others are charged.
pub fn agree_fee(
    world: &mut World<'_>,
    seller: AccountId,
    fee_bps: Option<u32>,
    by: AccountId,
    reason: &Sealed<String>,
) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Staff)?;
    accounts::get(world, seller)?;
    world.execute::<Seller>(seller, Command::AgreeFee { fee_bps, by, reason: reason.clone() })?;
    Ok(())
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
