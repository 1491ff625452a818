//! Use cases of what the staff says to many, or to one.

use domain::account::Capability;
use domain::broadcast::{self, Broadcast, Command};
use domain::notice::{Addressee, Words};
use domain::{AccountId, BroadcastId, Sealed};

use crate::accounts;
use crate::engine::{Halt, World};

/// What is to be said.
#[derive(Clone, Debug)]
pub struct Speech {
    /// The id minted for it.
    pub broadcast: BroadcastId,
    /// For whom.
    pub to: Addressee,
    /// What.
    pub words: Words,
    /// Why, sealed with the key of whoever says it.
    pub reason: Sealed<String>,
}

/// Says something, as somebody of the staff. One account it is said to must be there.
pub fn send(world: &mut World<'_>, by: AccountId, speech: Speech) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Staff)?;
    let Speech { broadcast, to, words, reason } = speech;
    if let Addressee::Account(account) = to {
        accounts::get(world, account).map_err(|halt| halt.hidden_as(broadcast::Error::NotFound))?;
    }
    world.fresh::<Broadcast>(broadcast);
    let now = world.now();
    world.execute::<Broadcast>(broadcast, Command::Send { to, words, by, reason, now })?;
    Ok(())
}

/// Takes back what nobody looks for any more.
pub(crate) fn withdraw(world: &mut World<'_>, broadcast: BroadcastId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Broadcast>(broadcast, Command::Withdraw { now })?;
    Ok(())
}
