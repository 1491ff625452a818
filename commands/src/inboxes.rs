//! Use cases of what somebody was told: reading it, and wanting to be told otherwise. What is told follows from the events
//! of others and is in a read model.

use std::collections::BTreeMap;

use domain::inbox::{Command, Inbox};
use domain::notice::{Channels, Kind};
use domain::{AccountId, NotificationId};

use crate::accounts;
use crate::engine::{Halt, World};

/// Notes that somebody has read something. That it was told to them, whoever calls this has seen to.
pub fn read(world: &mut World<'_>, account: AccountId, notification: NotificationId) -> Result<(), Halt> {
    // Nothing is added that would outlive the person.
    accounts::get(world, account)?;
    let now = world.now();
    world.execute::<Inbox>(account, Command::Read { notification, now })?;
    Ok(())
}

/// Notes that somebody has read everything that there is.
pub fn read_all(world: &mut World<'_>, account: AccountId) -> Result<(), Halt> {
    accounts::get(world, account)?;
    let now = world.now();
    world.execute::<Inbox>(account, Command::ReadAll { now })?;
    Ok(())
}

/// Tells somebody otherwise from now on.
pub fn prefer(world: &mut World<'_>, account: AccountId, preferences: BTreeMap<Kind, Channels>) -> Result<(), Halt> {
    accounts::get(world, account)?;
    world.execute::<Inbox>(account, Command::Prefer { preferences })?;
    Ok(())
}

/// Lets go what was read long enough ago.
pub(crate) fn clean_up(world: &mut World<'_>, account: AccountId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Inbox>(account, Command::CleanUp { now })?;
    Ok(())
}
