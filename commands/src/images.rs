//! Use cases of uploaded pictures. Their files are written before, and deleted afterwards by the process
//! [`crate::media`]: whatever the log says is there, is there.

use domain::album::{self, Album};
use domain::image::{Command, Image, RemovalCause, Stored};
use domain::{AccountId, ImageId};

use crate::accounts;
use crate::engine::{Halt, World};

/// How many pictures of somebody who is forgotten go at once: each of them must be in memory.
const FORGOTTEN_AT_ONCE: usize = 50;

/// A picture whose files have been written.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// The id minted for it.
    pub image: ImageId,
    /// What is there.
    pub stored: Stored,
}

/// Notes pictures of somebody whose files are there: all, or none. No account has more than `most`, and whoever is
/// forgotten meanwhile has none.
pub fn store(world: &mut World<'_>, owner: AccountId, images: &[NewImage], most: u32) -> Result<(), Halt> {
    accounts::get(world, owner)?;
    let added = images.iter().map(|new| new.image).collect();
    world.execute::<Album>(owner, album::Command::Add { images: added, most })?;
    for NewImage { image, stored } in images {
        world.fresh::<Image>(*image);
        world.execute::<Image>(*image, Command::Store { owner, stored: stored.clone() })?;
    }
    Ok(())
}

/// Lets a picture go.
pub fn remove(world: &mut World<'_>, image: ImageId, cause: RemovalCause) -> Result<(), Halt> {
    let owner = world.get::<Image>(image)?.stored().ok().map(|(owner, _)| owner);
    world.execute::<Image>(image, Command::Remove { cause })?;
    if let Some(owner) = owner {
        world.execute::<Album>(owner, album::Command::Drop { images: vec![image] })?;
    }
    Ok(())
}

/// Lets some pictures of somebody go who is forgotten. Answers whether there are more.
pub fn forget(world: &mut World<'_>, owner: AccountId) -> Result<bool, Halt> {
    let album = world.get::<Album>(owner)?;
    let more = album.images.len() > FORGOTTEN_AT_ONCE;
    let images: Vec<ImageId> = album.images.iter().copied().take(FORGOTTEN_AT_ONCE).collect();
    for image in &images {
        world.execute::<Image>(*image, Command::Remove { cause: RemovalCause::OwnerErased })?;
    }
    world.execute::<Album>(owner, album::Command::Drop { images })?;
    Ok(more)
}
