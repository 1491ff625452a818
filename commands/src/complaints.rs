//! Use cases of complaints: what parties of orders tell staff, and what comes of it.

use domain::account::Capability;
use domain::complaint::{Command, Complaint, Error, Filed, Outcome, Subject};
use domain::escrow::Escrow;
use domain::order::{self, Order, Role};
use domain::ruling::Ruling;
use domain::{AccountId, ComplaintId, OrderId, Sealed};

use crate::engine::{Halt, World};
use crate::{accounts, orders};

/// Tells staff what is wrong with an order, as one of its parties.
pub fn file(
    world: &mut World<'_>,
    order: OrderId,
    complainant: AccountId,
    subject: Subject,
    text: &Sealed<String>,
) -> Result<ComplaintId, Halt> {
    let role = orders::role_in(world, order, complainant)?;
    accounts::get(world, complainant)?.unblocked()?;
    let terms = &world.get::<Order>(order)?.placed()?.terms;
    let against = match role {
        Role::Buyer => terms.seller,
        Role::Seller => terms.buyer,
        Role::Staff => return Err(order::Error::WrongParty { needed: Role::Buyer }.into()),
    };
    let (complaint, text) = (ComplaintId::of(order, complainant), text.clone());
    world.execute::<Complaint>(complaint, Command::File { order, complainant, against, subject, text })?;
    Ok(complaint)
}

/// Decides on a complaint, as staff. What the outcome says was done must have been done.
pub fn resolve(world: &mut World<'_>, complaint: ComplaintId, outcome: Outcome, ruling: &Ruling) -> Result<(), Halt> {
    accounts::require(world, ruling.by, Capability::Staff)?;
    let known = world.get::<Complaint>(complaint)?;
    let (Filed { order, against, .. }, before) = (*known.filed()?, known.outcome());
    world.execute::<Complaint>(complaint, Command::Resolve { ruling: ruling.clone(), outcome })?;
    let done = match outcome {
        Outcome::Refunded => world.get::<Escrow>(order)?.opened().is_ok_and(|escrow| escrow.refunded.is_positive()),
        Outcome::AccountBlocked => accounts::is_barred(world, against)?,
        Outcome::AccountWarned if before != Some(outcome) => accounts::warn(world, against, ruling.by)?,
        Outcome::Dismissed | Outcome::Settled | Outcome::AccountWarned => true,
    };
    if done { Ok(()) } else { Err(Error::NotDone { outcome }.into()) }
}
