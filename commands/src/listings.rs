//! Use cases of listings. Publishing one that is sold by auction schedules the auction in the same commit.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::account::Capability;
use domain::auction::{self, Auction, Terms};
use domain::image::{Image, RemovalCause};
use domain::increments::Increments;
use domain::listing::{Approver, ArchiveCause, AuctionPlan, Changes, Command, Details, Discount, Listing, Offer, Sale};
use domain::stock::{self, Pieces, Sku, Stock};
use domain::{AccountId, Currency, ImageId, ListingId, Timestamp, listing};

use crate::engine::{Halt, World};
use crate::plans::PlanRules;
use crate::{accounts, categories, images, sellers, stores};

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
    /// What is asked less for it, and when.
    pub discount: Option<Discount>,
}

/// Writes a listing down.
pub fn draft(world: &mut World<'_>, new: &NewListing) -> Result<(), Halt> {
    stores::require_open(world, new.seller)?;
    categories::admit(world, &new.details.category, &new.details.attributes)?;
    check_plan(&new.sale)?;
    world.fresh::<Listing>(new.listing);
    world.fresh::<Auction>(new.listing.into());
    world.fresh::<Stock>(new.listing);
    let (seller, details, sale) = (new.seller, new.details.clone(), new.sale.clone());
    world.execute::<Listing>(new.listing, Command::Draft { seller, details, sale })?;
    if new.discount.is_some() {
        set_discount(world, new.listing, seller, new.discount)?;
    }
    count(world, new.listing, &new.stock)
}

/// Refuses an auction that could not be scheduled once the listing is offered: nobody may be there then to be told.
fn check_plan(sale: &Sale) -> Result<(), Halt> {
    match sale {
        Sale::Auction(plan) => Ok(auction::check_plan(plan)?),
        Sale::FixedPrice { .. } => Ok(()),
    }
}

/// Changes a listing, and how many pieces of it are free: `stock` names the forms whose count changes.
pub fn revise(
    world: &mut World<'_>,
    listing: ListingId,
    by: AccountId,
    changes: Changes,
    stock: &BTreeMap<Sku, u32>,
    rules: &ListingRules,
) -> Result<(), Halt> {
    let Offer { category, attributes, .. } = world.get::<Listing>(listing)?.owned_by(by)?.clone();
    let said = changes.attributes.as_ref().unwrap_or(&attributes);
    match &changes.category {
        Some(other) if *other != category => categories::admit(world, other, said)?,
        _ if changes.attributes.is_some() => categories::check(world, &category, said)?,
        _ => {}
    }
    changes.sale.as_ref().map(check_plan).transpose()?;
    let review_until = rules.review_until(world);
    world.execute::<Listing>(listing, Command::Revise { by, changes, review_until })?;
    count(world, listing, stock)
}

/// Asks less for a listing for a while, or no longer.
pub fn set_discount(
    world: &mut World<'_>,
    listing: ListingId,
    by: AccountId,
    discount: Option<Discount>,
) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Listing>(listing, Command::SetDiscount { by, discount, now })?;
    Ok(())
}

/// Notes that the window of a discount has opened or closed.
pub fn turn_discount(world: &mut World<'_>, listing: ListingId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Listing>(listing, Command::TurnDiscount { now })?;
    Ok(())
}

/// Offers a listing no more for a while, as its seller.
pub fn pause(world: &mut World<'_>, listing: ListingId, by: AccountId) -> Result<(), Halt> {
    world.execute::<Listing>(listing, Command::Pause { by })?;
    Ok(())
}

/// Offers a paused listing again, as its seller.
pub fn resume(world: &mut World<'_>, listing: ListingId, by: AccountId, rules: &ListingRules) -> Result<(), Halt> {
    stores::require_standing(world, by, rules.verified_only)?;
    world.execute::<Listing>(listing, Command::Resume { by })?;
    Ok(())
}

/// Shows a listing with one more image, as its seller. Whose the image is, is known elsewhere.
pub fn attach_image(
    world: &mut World<'_>,
    listing: ListingId,
    by: AccountId,
    image: &str,
    rules: &ListingRules,
) -> Result<(), Halt> {
    let (image, review_until) = (image.to_owned(), rules.review_until(world));
    world.execute::<Listing>(listing, Command::AttachImage { by, image, review_until })?;
    Ok(())
}

/// Shows a listing without an image, as its seller.
pub fn detach_image(world: &mut World<'_>, listing: ListingId, by: AccountId, image: &str) -> Result<(), Halt> {
    world.execute::<Listing>(listing, Command::DetachImage { by, image: image.to_owned() })?;
    Ok(())
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

/// What a deployment decides about listings.
#[derive(Clone, Debug, Default)]
pub struct ListingRules {
    /// About those that are sold by auction.
    pub auctions: AuctionRules,
    /// How long the staff may look at a listing before it is offered; nothing if it is offered at once.
    pub review: Option<TimeDelta>,
    /// Whether only verified stores may offer anything.
    pub verified_only: bool,
    /// About how many a seller may have on offer.
    pub plans: PlanRules,
}

impl ListingRules {
    /// Until when the staff may look at what is submitted now.
    fn review_until(&self, world: &World<'_>) -> Option<Timestamp> {
        self.review.map(|review| world.now() + review)
    }
}

/// Offers a listing, or lets the staff look at it first. An auction starts at its planned time, or now.
pub fn publish(world: &mut World<'_>, listing: ListingId, by: AccountId, rules: &ListingRules) -> Result<(), Halt> {
    stores::require_standing(world, by, rules.verified_only)?;
    let known = world.get::<Listing>(listing)?;
    let Offer { category, attributes, .. } = known.owned_by(by)?.clone();
    if matches!(known, Listing::Draft(_)) {
        categories::admit(world, &category, &attributes)?;
        sellers::take_up(world, by, listing, rules.plans)?;
    }
    let review_until = rules.review_until(world);
    let events = world.execute::<Listing>(listing, Command::Publish { by, review_until })?;
    schedule(world, listing, &events, &rules.auctions)
}

/// Lets a listing be offered that waits for it, as somebody of the staff.
pub fn approve(world: &mut World<'_>, listing: ListingId, by: AccountId, rules: &ListingRules) -> Result<(), Halt> {
    let seller = require_ruling(world, listing, by)?;
    stores::require_standing(world, seller, rules.verified_only)?;
    let now = world.now();
    let events = world.execute::<Listing>(listing, Command::Approve { by: Approver::Staff(by), now })?;
    schedule(world, listing, &events, &rules.auctions)
}

/// Ends a review in which nobody of the staff has said anything: the listing is offered, or given back to a seller who
/// may not offer anything any more.
pub fn end_review(world: &mut World<'_>, listing: ListingId, rules: &ListingRules) -> Result<(), Halt> {
    let seller = world.get::<Listing>(listing)?.offer()?.seller;
    let now = world.now();
    let command = match stores::require_standing(world, seller, rules.verified_only) {
        Ok(()) => Command::Approve { by: Approver::Time, now },
        Err(Halt::Refused(_)) => Command::Return { now },
        Err(missing) => return Err(missing),
    };
    let events = sellers::take_off(world, listing, command)?;
    schedule(world, listing, &events, &rules.auctions)
}

/// Whose a listing is on which somebody of the staff rules. Nobody rules on their own.
fn require_ruling(world: &mut World<'_>, listing: ListingId, by: AccountId) -> Result<AccountId, Halt> {
    accounts::require(world, by, Capability::Staff)?;
    let seller = world.get::<Listing>(listing)?.offer()?.seller;
    if seller == by { Err(listing::Error::OwnListing.into()) } else { Ok(seller) }
}

/// Gives a listing back that waits to be offered, as somebody of the staff.
pub fn reject(world: &mut World<'_>, listing: ListingId, by: AccountId, reason: &str) -> Result<(), Halt> {
    require_ruling(world, listing, by)?;
    sellers::take_off(world, listing, Command::Reject { by, reason: reason.to_owned() })?;
    Ok(())
}

/// Takes a listing away with its images, as somebody of the staff. A running auction is cancelled first.
pub fn remove(world: &mut World<'_>, listing: ListingId, by: AccountId, reason: &str) -> Result<(), Halt> {
    require_ruling(world, listing, by)?;
    let events = sellers::take_off(world, listing, Command::Remove { by, reason: reason.to_owned() })?;
    for event in events {
        if let listing::Event::ImageDetached { image } = event
            && let Some(image) = ImageId::of_file(&image)
            && world.get::<Image>(image)?.stored().is_ok()
        {
            images::remove(world, image, RemovalCause::Detached)?;
        }
    }
    Ok(())
}

/// Features a listing, or no longer, as somebody of the staff: a front page may ask for those.
pub fn feature(world: &mut World<'_>, listing: ListingId, by: AccountId, featured: bool) -> Result<(), Halt> {
    require_ruling(world, listing, by)?;
    world.execute::<Listing>(listing, Command::Feature { by, featured })?;
    Ok(())
}

/// Schedules the auction of a listing that is offered from these events on.
fn schedule(
    world: &mut World<'_>,
    listing: ListingId,
    events: &[listing::Event],
    rules: &AuctionRules,
) -> Result<(), Halt> {
    let Offer { seller, sale, .. } = world.get::<Listing>(listing)?.offer()?.clone();
    let reviewed = events.iter().any(|event| matches!(event, listing::Event::ListingApproved { .. }));
    if let Sale::Auction(mut plan) = sale
        && events.contains(&listing::Event::ListingPublished {})
    {
        let now = world.now();
        // The time that a review took is not the seller's fault.
        plan.starts_at = plan.starts_at.map(|starts_at| if reviewed { starts_at.max(now) } else { starts_at });
        let terms = terms(&plan, seller, now, rules);
        world.execute::<Auction>(listing.into(), auction::Command::Schedule { terms, now })?;
    }
    Ok(())
}

/// Takes a listing off for good, as its seller.
pub fn archive(world: &mut World<'_>, listing: ListingId, by: AccountId) -> Result<(), Halt> {
    world.get::<Listing>(listing)?.owned_by(by)?;
    sellers::take_off(world, listing, Command::Archive { cause: ArchiveCause::Seller(by) })?;
    Ok(())
}

/// Takes a listing off of which nothing has been left for long.
pub(crate) fn archive_sold(world: &mut World<'_>, listing: ListingId) -> Result<(), Halt> {
    if !world.get::<Stock>(listing)?.is_sold_out() {
        return Ok(());
    }
    if world.get::<Listing>(listing)?.on_offer_of().is_some() {
        sellers::take_off(world, listing, Command::Archive { cause: ArchiveCause::SoldOut })?;
    } else {
        // Taken off before its last piece was paid.
        world.execute::<Stock>(listing, stock::Command::PutAway {})?;
    }
    Ok(())
}

/// Takes some listings of somebody off who is forgotten. An auction that runs goes on to its end.
pub(crate) fn clear(world: &mut World<'_>, seller: AccountId, listings: &[ListingId]) -> Result<(), Halt> {
    for listing in listings {
        if !matches!(world.get::<Listing>(*listing)?, Listing::Active(Offer { sale: Sale::Auction(_), .. })) {
            archive(world, *listing, seller)?;
        }
    }
    Ok(())
}

fn terms(plan: &AuctionPlan, seller: AccountId, now: Timestamp, rules: &AuctionRules) -> Terms {
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
