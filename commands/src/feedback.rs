//! Use cases of feedback: how buyers were served with their orders.

use domain::feedback::{Command, Feedback, Ratings};
use domain::order::{self, Stage};
use domain::{AccountId, OrderId, Sealed};

use crate::engine::{Halt, World};
use crate::{accounts, orders};

/// What a buyer says of an order.
#[derive(Clone, Debug)]
pub struct Said {
    /// How it was.
    pub ratings: Ratings,
    /// What the buyer says of the seller, to everybody.
    pub comment: Option<Sealed<String>>,
    /// What the buyer says of the marketplace, to staff.
    pub platform_comment: Option<Sealed<String>>,
}

/// Gives feedback about an order that has come, or whose money has gone back.
pub fn give(world: &mut World<'_>, order: OrderId, buyer: AccountId, said: &Said) -> Result<(), Halt> {
    let placed = orders::bought_by(world, order, buyer)?;
    accounts::get(world, buyer)?.unblocked()?;
    let (status, seller) = (placed.stage, placed.terms.seller);
    if !matches!(status, Stage::Delivered | Stage::Completed | Stage::Refunded) {
        return Err(order::Error::WrongStage { status, needed: Stage::Delivered }.into());
    }
    let Said { ratings, comment, platform_comment } = said.clone();
    world.execute::<Feedback>(order, Command::Give { buyer, seller, ratings, comment, platform_comment })?;
    Ok(())
}
