//! Use cases of content pages. That only staff write them, the table of routes says, and the decision again.

use domain::account::Capability;
use domain::page::{Command, Content, Page};
use domain::{AccountId, PageId};

use crate::accounts;
use crate::engine::{Halt, World};

/// Publishes a version of a page. Whether it is the first.
pub fn publish(world: &mut World<'_>, content: Content, by: AccountId) -> Result<bool, Halt> {
    accounts::require(world, by, Capability::Staff)?;
    let page = PageId::of(&content.slug);
    let first = *world.get::<Page>(page)? == Page::Unwritten;
    world.execute::<Page>(page, Command::Publish { content, by })?;
    Ok(first)
}
