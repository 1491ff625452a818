//! Use cases of who is interested in what: favourites and views. Neither touches the listing.

use domain::favorite::{self, Favorite};
use domain::listing::Listing;
use domain::store::Store;
use domain::view::{self, View};
use domain::{AccountId, FavoriteId, ListingId, ViewId, listing};

use crate::accounts;
use crate::engine::{Halt, World};

/// Remembers a listing for somebody, or forgets it.
pub fn favor(world: &mut World<'_>, account: AccountId, listing: ListingId, wanted: bool) -> Result<(), Halt> {
    // Nothing is added that would outlive the person.
    accounts::get(world, account)?;
    let id = FavoriteId::of(account, listing);
    // What was taken away meanwhile can still be forgotten.
    if *world.get::<Favorite>(id)? == Favorite::Absent {
        require_shown(world, listing, Some(account))?;
    }
    let command = if wanted {
        favorite::Command::Add { account, listing }
    } else {
        favorite::Command::Remove { account, listing }
    };
    world.execute::<Favorite>(id, command)?;
    Ok(())
}

/// Counts a view, if it is the first of its viewer on this day, and not the seller's own. Whether it counted.
pub fn view(world: &mut World<'_>, view: ViewId, listing: ListingId, by: Option<AccountId>) -> Result<bool, Halt> {
    let seller = require_shown(world, listing, by)?;
    if Some(seller) == by {
        return Ok(false);
    }
    let events = world.execute::<View>(view, view::Command::Count { listing })?;
    Ok(!events.is_empty())
}

/// Whose listing it is, if the account sees it.
pub(crate) fn require_shown(
    world: &mut World<'_>,
    listing: ListingId,
    by: Option<AccountId>,
) -> Result<AccountId, Halt> {
    let seller = world.get::<Listing>(listing)?.shown_to(by)?.seller;
    let closed = world.get::<Store>(seller)?.may_sell().is_err();
    if closed && by != Some(seller) { Err(listing::Error::NotFound.into()) } else { Ok(seller) }
}
