//! Use cases of fees: what the staff charge of sales, and what counts of it.
//!
//! There are four places where a rate can be said: for every sale, by a category, by a plan, and with one seller. A rate
//! is frozen into the lines of an order when it is placed, so that whatever is said later counts for later sales alone; and
//! that of a plan into each subscription when it is bought, so that it counts for those who buy it later.

use domain::account::{Account, Capability};
use domain::category::Category;
use domain::fee_rule::{Command, FeeRule};
use domain::fees::Rates;
use domain::listing::{self, Listing};
use domain::plan::Plan;
use domain::seller::{self, Seller};
use domain::subscription::Subscription;
use domain::{AccountId, CategoryId, FeeRuleId, ListingId, PlanId, Sealed, account, plan};

use crate::categories::CategoryChanges;
use crate::change::Change;
use crate::engine::{Halt, World};
use crate::plans::PlanRules;
use crate::{accounts, categories, plans};

/// Where a rate is said. Each counts before those above it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// For every sale.
    Default,
    /// By the category of this slug, for all below it as well.
    Category(String),
    /// By the plan of this slug.
    Plan(String),
    /// With this seller.
    Seller(AccountId),
}

/// What a deployment decides about fees.
#[derive(Clone, Copy, Debug)]
pub struct FeeRules {
    /// The marketplace's share of a sale, in basis points, while nobody has said another.
    pub usual: u32,
    /// What it decides about plans.
    pub plans: PlanRules,
}

/// What is said in one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The rate that is said there, in basis points, if there is one.
    pub fee_bps: Option<u32>,
    /// What is charged of a sale of which nothing else is known, in basis points.
    pub counting_bps: u32,
    /// How many events there are of what says it.
    pub version: u64,
}

/// Says what sales are charged from now on, as somebody of the staff; without a rate, what counts without one. Nobody
/// says it of themselves. Who asks for a category's rate says why beside it, as for all that becomes of categories.
pub fn set(
    world: &mut World<'_>,
    scope: &Scope,
    fee_bps: Option<u32>,
    by: AccountId,
    reason: &Sealed<String>,
    rules: FeeRules,
) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Staff)?;
    match scope {
        Scope::Default => {
            world.execute::<FeeRule>(FeeRuleId::DEFAULT, Command::Set { fee_bps, by, reason: reason.clone() })?;
        }
        Scope::Category(slug) => {
            let changes = CategoryChanges { fee_bps: Change::To(fee_bps), ..CategoryChanges::default() };
            categories::revise(world, slug, changes, by)?;
        }
        Scope::Plan(slug) => {
            let known = plans::get(world, slug, rules.plans)?;
            // What is shipped is not defined by saying what it says already.
            if known.fee_bps != fee_bps {
                let definition = plan::Definition { fee_bps, ..known };
                plans::define(world, &definition, by, reason, rules.plans)?;
            }
        }
        Scope::Seller(seller) => {
            registered(world, *seller)?;
            if *seller == by {
                return Err(account::Error::OwnAccount.into());
            }
            let agree = seller::Command::AgreeFee { fee_bps, by, reason: reason.clone() };
            world.execute::<Seller>(*seller, agree)?;
        }
    }
    Ok(())
}

/// What is said in one place, and how many events there are of it.
pub fn rule(world: &mut World<'_>, scope: &Scope, rules: FeeRules) -> Result<Rule, Halt> {
    let usual = usual(world, rules.usual)?;
    Ok(match scope {
        Scope::Default => {
            let fee_bps = world.get::<FeeRule>(FeeRuleId::DEFAULT)?.fee_bps;
            Rule { fee_bps, counting_bps: usual, version: world.version::<FeeRule>(FeeRuleId::DEFAULT)? }
        }
        Scope::Category(slug) => {
            let id = CategoryId::of(slug);
            let fee_bps = world.get::<Category>(id)?.definition()?.fee_bps;
            let counting_bps = categories::fee_bps(world, slug)?.unwrap_or(usual);
            Rule { fee_bps, counting_bps, version: world.version::<Category>(id)? }
        }
        Scope::Plan(slug) => {
            let fee_bps = plans::get(world, slug, rules.plans)?.fee_bps;
            let version = world.version::<Plan>(PlanId::of(slug))?;
            Rule { fee_bps, counting_bps: fee_bps.unwrap_or(usual), version }
        }
        Scope::Seller(seller) => {
            registered(world, *seller)?;
            let fee_bps = world.get::<Seller>(*seller)?.fee_bps;
            let counting_bps = rates(world, *seller, None, rules)?.counting();
            Rule { fee_bps, counting_bps, version: world.version::<Seller>(*seller)? }
        }
    })
}

/// Refuses a change of what is not as its caller has seen it, or not there at all.
pub fn expect(world: &mut World<'_>, scope: &Scope, version: Option<u64>) -> Result<(), Halt> {
    match scope {
        Scope::Default => world.expect_version::<FeeRule>(FeeRuleId::DEFAULT, version),
        Scope::Category(slug) => {
            world.get::<Category>(CategoryId::of(slug))?.definition()?;
            world.expect_version::<Category>(CategoryId::of(slug), version)
        }
        Scope::Plan(slug) => world.expect_version::<Plan>(PlanId::of(slug), version),
        Scope::Seller(seller) => {
            registered(world, *seller)?;
            world.expect_version::<Seller>(*seller, version)
        }
    }
}

/// Everybody who has an account may come to sell. A guest has none.
fn registered(world: &mut World<'_>, seller: AccountId) -> Result<(), Halt> {
    world.get::<Account>(seller)?.registered().map_err(|_| account::Error::NotFound)?;
    Ok(())
}

/// What is charged of every sale of which nothing else is said: what the staff say, or else what the deployment does.
fn usual(world: &mut World<'_>, setting: u32) -> Result<u32, Halt> {
    Ok(world.get::<FeeRule>(FeeRuleId::DEFAULT)?.fee_bps.unwrap_or(setting))
}

/// All that is said of what `seller` sells now, in a category or wherever it may be.
pub fn rates(world: &mut World<'_>, seller: AccountId, category: Option<&str>, rules: FeeRules) -> Result<Rates, Halt> {
    of_sale(world, seller, category, rules.usual)
}

/// The same of one listing, for its seller.
pub fn rates_of_listing(
    world: &mut World<'_>,
    listing: ListingId,
    seller: AccountId,
    rules: FeeRules,
) -> Result<(String, Rates), Halt> {
    let offer = world.get::<Listing>(listing)?.offer()?;
    if offer.seller != seller {
        return Err(listing::Error::NotFound.into());
    }
    let category = offer.category.clone();
    let rates = of_sale(world, seller, Some(&category), rules.usual)?;
    Ok((category, rates))
}

pub(crate) fn of_sale(
    world: &mut World<'_>,
    seller: AccountId,
    category: Option<&str>,
    setting: u32,
) -> Result<Rates, Halt> {
    let usual = usual(world, setting)?;
    let category = match category {
        Some(slug) => categories::fee_bps(world, slug)?,
        None => None,
    };
    let plan = match world.get::<Subscription>(seller)?.running() {
        Some(running) => running.terms.fee_bps,
        None => plans::free_fee_bps(world)?,
    };
    let seller = world.get::<Seller>(seller)?.fee_bps;
    Ok(Rates { usual, category, plan, seller })
}
