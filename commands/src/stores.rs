//! Use cases of stores. The slug of a store is claimed in the commit that needs it, as the names of accounts are.

use domain::AccountId;
use domain::account::{self, Account, Capability, Granter};
use domain::claim::{self, Claim};
use domain::listing;
use domain::store::{About, Command, Error, Ruling, Store};

use crate::accounts;
use crate::engine::{Halt, World};

const SLUG: claim::Kind = claim::Kind::StoreSlug;

/// Opens the store of an account, which may sell from then on, or changes it. Whether it was opened.
pub fn put(world: &mut World<'_>, owner: AccountId, about: &About) -> Result<bool, Halt> {
    accounts::get(world, owner)?.unblocked()?;
    let Ok(former) = world.get::<Store>(owner)?.opened().map(|shop| shop.about.claim) else {
        let by = Granter::Account(owner);
        accounts::grant(world, owner, [Capability::Sell].into(), by)?;
        open(world, owner, about)?;
        return Ok(true);
    };
    let changed = world.execute::<Store>(owner, Command::Change { about: about.clone() })?;
    if !changed.is_empty() && former != about.claim {
        world.execute::<Claim>(about.claim, claim::Command::Claim { kind: SLUG, owner })?;
        world.execute::<Claim>(former, claim::Command::Release { owner })?;
    }
    Ok(false)
}

/// Opens the store of an account that may sell.
pub fn open(world: &mut World<'_>, owner: AccountId, about: &About) -> Result<(), Halt> {
    accounts::require(world, owner, Capability::Sell)?;
    world.execute::<Claim>(about.claim, claim::Command::Claim { kind: SLUG, owner })?;
    world.execute::<Store>(owner, Command::Open { owner, about: about.clone() })?;
    Ok(())
}

/// What staff may decide about a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// They vouch for it.
    Verify,
    /// They do not, or not any more.
    Unverify,
    /// It sells nothing for now.
    Suspend,
    /// It sells again.
    Reinstate,
    /// It is closed for good.
    Remove,
}

/// Decides something about a store, as staff, for a reason. Of whoever is forgotten there is no store.
pub fn rule(world: &mut World<'_>, owner: AccountId, verdict: Verdict, ruling: &Ruling) -> Result<(), Halt> {
    accounts::require(world, ruling.by, Capability::Staff)?;
    if ruling.by == owner {
        return Err(Error::OwnStore.into());
    }
    world.get::<Account>(owner)?.registered().map_err(|_: account::Error| Error::NotFound)?;
    let ruling = ruling.clone();
    let command = match verdict {
        Verdict::Verify => Command::Verify { ruling },
        Verdict::Unverify => Command::Unverify { ruling },
        Verdict::Suspend => Command::Suspend { ruling },
        Verdict::Reinstate => Command::Reinstate { ruling },
        Verdict::Remove => Command::Remove { ruling },
    };
    world.execute::<Store>(owner, command)?;
    Ok(())
}

/// Refuses unless the account may sell something new: it has the capability, and no store that was closed.
pub fn require_open(world: &mut World<'_>, seller: AccountId) -> Result<(), Halt> {
    accounts::require(world, seller, Capability::Sell)?;
    Ok(world.get::<Store>(seller)?.may_sell()?)
}

/// Refuses unless the account may offer something: where that needs verification, staff vouch for its store.
pub(crate) fn require_standing(world: &mut World<'_>, seller: AccountId, needs_verification: bool) -> Result<(), Halt> {
    require_open(world, seller)?;
    if needs_verification {
        world.get::<Store>(seller)?.is_verified()?;
    }
    Ok(())
}

/// Refuses to sell what is a seller's who may sell nothing new: to buyers it is not on offer.
pub(crate) fn require_offering(world: &mut World<'_>, seller: AccountId) -> Result<(), Halt> {
    require_open(world, seller).map_err(|halt| halt.hidden_as(listing::Error::NotOffered))
}
