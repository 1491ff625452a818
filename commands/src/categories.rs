//! Use cases of categories: the staff edits the tree, and listings and sales go by it.

use domain::account::Capability;
use domain::category::{self, Attribute, Attributes, Category, Command, Definition, Error};
use domain::category_tree::{self, CategoryTree};
use domain::{AccountId, CategoryId, CategoryTreeId};

use crate::accounts;
use crate::change::Change;
use crate::engine::{Halt, World};

/// What is to change of a category. What is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct CategoryChanges {
    /// The new name.
    pub name: Option<String>,
    /// The new parent's slug.
    pub parent: Change<String>,
    /// The new place among its neighbours.
    pub sort_order: Option<i32>,
    /// All its attributes from now on.
    pub attributes: Option<Vec<Attribute>>,
    /// The new fee; nothing for the usual one.
    pub fee_bps: Change<u32>,
}

/// Opens a category, or opens one anew that was closed, as somebody of the staff.
pub fn define(world: &mut World<'_>, definition: &Definition, by: AccountId) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Staff)?;
    place(world, definition)?;
    let definition = definition.clone();
    world.execute::<Category>(CategoryId::of(&definition.slug), Command::Define { definition, by })?;
    Ok(())
}

/// Changes a category, as somebody of the staff.
pub fn revise(world: &mut World<'_>, slug: &str, changes: CategoryChanges, by: AccountId) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Staff)?;
    let id = CategoryId::of(slug);
    let known = world.get::<Category>(id)?.definition()?.clone();
    let CategoryChanges { name, parent, sort_order, attributes, fee_bps } = changes;
    let definition = Definition {
        slug: known.slug,
        name: name.unwrap_or(known.name),
        parent: parent.of(known.parent.clone()),
        sort_order: sort_order.unwrap_or(known.sort_order),
        attributes: attributes.unwrap_or(known.attributes),
        fee_bps: fee_bps.of(known.fee_bps),
    };
    if definition.parent != known.parent {
        place(world, &definition)?;
    }
    world.execute::<Category>(id, Command::Revise { definition, by })?;
    Ok(())
}

/// Closes a category, and so all below it, as somebody of the staff: it takes no more listings.
pub fn close(world: &mut World<'_>, slug: &str, by: AccountId) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Staff)?;
    world.execute::<Category>(CategoryId::of(slug), Command::Close { by })?;
    Ok(())
}

/// Puts a category, and with it all that is below it, where it says: below open ones, and not too deep.
fn place(world: &mut World<'_>, definition: &Definition) -> Result<(), Halt> {
    let mut placed = vec![(definition.slug.clone(), definition.parent.clone())];
    let mut above = definition.parent.clone();
    while let Some(slug) = above.take().filter(|slug| *slug != definition.slug) {
        let Category::Open(parent) = world.get::<Category>(CategoryId::of(&slug))? else {
            return Err(Error::NoSuchParent.into());
        };
        above.clone_from(&parent.parent);
        placed.push((slug, parent.parent.clone()));
    }
    // From the top: those above it are there already, unless they are older than the tree.
    for (slug, parent) in placed.into_iter().rev() {
        world.execute::<CategoryTree>(CategoryTreeId::ONLY, category_tree::Command::Place { slug, parent })?;
    }
    Ok(())
}

/// What a category and those above it say. Where they differ, the nearest counts.
#[derive(Debug)]
struct Said {
    open: bool,
    attributes: Vec<Attribute>,
    fee_bps: Option<u32>,
}

/// What is said of a category; of one that nobody has defined, nothing.
fn said(world: &mut World<'_>, slug: &str) -> Result<Said, Halt> {
    let mut said = Said { open: true, attributes: Vec::new(), fee_bps: None };
    let mut next = Some(slug.to_owned());
    while let Some(slug) = next.take() {
        let category = world.get::<Category>(CategoryId::of(&slug))?;
        said.open &= !matches!(category, Category::Closed(_));
        let Ok(Definition { parent, attributes, fee_bps, .. }) = category.definition() else { break };
        said.fee_bps = said.fee_bps.or(*fee_bps);
        for attribute in attributes {
            if said.attributes.iter().all(|known| known.name != attribute.name) {
                said.attributes.push(attribute.clone());
            }
        }
        next.clone_from(parent);
    }
    Ok(said)
}

/// Whether a category takes a listing that says this of itself.
pub(crate) fn admit(world: &mut World<'_>, slug: &str, attributes: &Attributes) -> Result<(), Halt> {
    let said = said(world, slug)?;
    if !said.open {
        return Err(Error::Closed.into());
    }
    Ok(category::check(attributes, &said.attributes)?)
}

/// Whether a listing that is in a category already may say this of itself.
pub(crate) fn check(world: &mut World<'_>, slug: &str, attributes: &Attributes) -> Result<(), Halt> {
    let said = said(world, slug)?;
    Ok(category::check(attributes, &said.attributes)?)
}

/// The marketplace's share of sales in a category, if it is another than usual.
pub(crate) fn fee_bps(world: &mut World<'_>, slug: &str) -> Result<Option<u32>, Halt> {
    Ok(said(world, slug)?.fee_bps)
}
