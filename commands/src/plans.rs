//! Use cases of plans: the staff edit them, and whoever sells has one.

use domain::account::Capability;
use domain::plan::{Command, Definition, Error, FREE, Plan, shipped};
use domain::{AccountId, PlanId, Sealed};

use crate::accounts;
use crate::engine::{Halt, World};

/// What a deployment decides about plans.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanRules {
    /// How many listings the free plan allows while the staff have said nothing of it; as many as one likes unless told.
    pub free_listings: Option<u32>,
}

/// Says what a plan is, as somebody of the staff. Whether there was none of its slug before.
pub fn define(
    world: &mut World<'_>,
    definition: &Definition,
    by: AccountId,
    reason: &Sealed<String>,
    rules: PlanRules,
) -> Result<bool, Halt> {
    accounts::require(world, by, Capability::Staff)?;
    let is_new = of_slug(world, &definition.slug, rules)?.is_none();
    let (id, reason) = (PlanId::of(&definition.slug), reason.clone());
    world.execute::<Plan>(id, Command::Define { definition: definition.clone(), by, reason })?;
    Ok(is_new)
}

/// The plan that the staff have defined, or that is shipped.
fn of_slug(world: &mut World<'_>, slug: &str, rules: PlanRules) -> Result<Option<Definition>, Halt> {
    let known = world.get::<Plan>(PlanId::of(slug))?.definition().cloned();
    Ok(known.or_else(|| shipped(rules.free_listings).into_iter().find(|plan| plan.slug == slug)))
}

/// The plan of this slug.
pub(crate) fn get(world: &mut World<'_>, slug: &str, rules: PlanRules) -> Result<Definition, Halt> {
    Ok(of_slug(world, slug, rules)?.ok_or(Error::NotFound)?)
}

/// Whether a plan that somebody has is neither sold nor renewed any more.
pub(crate) fn is_retired(world: &mut World<'_>, slug: &str) -> Result<bool, Halt> {
    Ok(world.get::<Plan>(PlanId::of(slug))?.definition().is_some_and(|plan| plan.retired))
}

/// The fee that the free plan has, if it has one of its own.
pub(crate) fn free_fee_bps(world: &mut World<'_>) -> Result<Option<u32>, Halt> {
    Ok(world.get::<Plan>(PlanId::of(FREE))?.definition().and_then(|plan| plan.fee_bps))
}

/// How many listings the free plan allows.
pub(crate) fn free_listings(world: &mut World<'_>, rules: PlanRules) -> Result<Option<u32>, Halt> {
    let known = world.get::<Plan>(PlanId::of(FREE))?.definition();
    Ok(known.map_or(rules.free_listings, |plan| plan.listings))
}
