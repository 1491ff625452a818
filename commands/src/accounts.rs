//! Use cases of accounts.

use std::collections::BTreeSet;

use domain::account::{Account, Capability, Command, Granter, Identity, ProfileChanges};
use domain::claim::{self, Claim};
use domain::{AccountId, ClaimId};
use eventstore::wrapping::StoredKey;

use crate::engine::{Halt, World};

/// Somebody who wants to join, with everything that took time already done.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// The id minted for the account.
    pub account: AccountId,
    /// The key that seals the identity, as it is stored; committed with it.
    pub key: StoredKey,
    /// Who it is.
    pub identity: Identity,
    /// The claim on the e-mail address.
    pub email: ClaimId,
    /// The claim on the public name.
    pub user_name: ClaimId,
    /// What the account may do.
    pub capabilities: BTreeSet<Capability>,
}

/// Registers somebody: the account and the claims on what must be unique, or nothing.
pub fn register(world: &mut World<'_>, newcomer: &Newcomer) -> Result<(), Halt> {
    let account = newcomer.account;
    for (kind, id) in [(claim::Kind::Email, newcomer.email), (claim::Kind::UserName, newcomer.user_name)] {
        world.execute::<Claim>(id, claim::Command::Claim { kind, owner: account })?;
    }
    world.fresh::<Account>(account);
    let (identity, capabilities) = (newcomer.identity.clone(), newcomer.capabilities.clone());
    world.execute::<Account>(account, Command::Register { account, identity, capabilities })?;
    world.introduce(newcomer.key.clone());
    Ok(())
}

/// The account that has an e-mail address.
pub fn holder_of(world: &mut World<'_>, email: ClaimId) -> Result<Option<(AccountId, Account)>, Halt> {
    let Some(owner) = world.get::<Claim>(email)?.owner() else { return Ok(None) };
    Ok(Some((owner, world.get::<Account>(owner)?.clone())))
}

/// Changes what others see of an account.
pub fn change_profile(world: &mut World<'_>, account: AccountId, changes: ProfileChanges) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::ChangeProfile { changes })?;
    Ok(())
}

/// Allows an account more, as an operator at the command line.
pub fn grant(world: &mut World<'_>, account: AccountId, capabilities: BTreeSet<Capability>) -> Result<(), Halt> {
    world.execute::<Account>(account, Command::Grant { capabilities, by: Granter::Operator })?;
    Ok(())
}

/// Refuses unless the account may do what `needed` names.
pub fn require(world: &mut World<'_>, account: AccountId, needed: Capability) -> Result<(), Halt> {
    Ok(world.get::<Account>(account)?.require(needed)?)
}
