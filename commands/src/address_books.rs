//! Use cases of address books. Only whoever has an account keeps one.

use domain::address_book::{AddressBook, Changes, Command, Entry};
use domain::{AccountId, AddressId};

use crate::accounts;
use crate::engine::{Halt, World};

/// Keeps one more address of somebody.
pub fn add(
    world: &mut World<'_>,
    owner: AccountId,
    address: AddressId,
    entry: Entry,
    default: bool,
) -> Result<(), Halt> {
    execute(world, owner, Command::Add { owner, address, entry, default })
}

/// Changes an address.
pub fn change(world: &mut World<'_>, owner: AccountId, address: AddressId, changes: Changes) -> Result<(), Halt> {
    execute(world, owner, Command::Change { owner, address, changes })
}

/// Strikes an address out.
pub fn remove(world: &mut World<'_>, owner: AccountId, address: AddressId) -> Result<(), Halt> {
    execute(world, owner, Command::Remove { address })
}

/// Prefers an address.
pub fn make_default(world: &mut World<'_>, owner: AccountId, address: AddressId) -> Result<(), Halt> {
    execute(world, owner, Command::MakeDefault { address })
}

/// What an address of somebody says, sealed as it is. Nobody has the address of somebody else.
pub fn entry(world: &mut World<'_>, owner: AccountId, address: AddressId) -> Result<Entry, Halt> {
    Ok(world.get::<AddressBook>(owner)?.entry(address)?.clone())
}

fn execute(world: &mut World<'_>, owner: AccountId, command: Command) -> Result<(), Halt> {
    // Nothing is added that would outlive the person.
    accounts::get(world, owner)?;
    world.execute::<AddressBook>(owner, command)?;
    Ok(())
}
