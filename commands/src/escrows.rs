//! Use cases of escrows: who gets the money of an order. The wallets that an escrow's event moves follow in the same
//! commit.

use domain::account::Capability;
use domain::escrow::{Command, Disputant, Error, Escrow, Event, Opened, Phase, RefundCause, ReleaseCause, Status};
use domain::order::{self, Order, Role, Stage};
use domain::points::{self, Points};
use domain::wallet::{self, Wallet};
use domain::{AccountId, DisputeId, Money, OrderId, RefundId, WalletId};

use crate::accounts;
use crate::charges;
use crate::commissions;
use crate::engine::{Halt, World};
use crate::orders;
use crate::payouts;
use crate::wallets;

/// Why a dispute opens of which no party has spoken.
const NOTHING_HEARD: &str = "Nobody has said that the order has arrived.";

/// Refuses unless the escrow holds the money and nothing is in its way.
pub(crate) fn require_funded(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let status = world.get::<Escrow>(order)?.opened()?.status();
    if status == Status::Funded { Ok(()) } else { Err(Error::WrongStatus { status }.into()) }
}

/// Pays the seller because the buyer is content. A buyer who is content with what was shipped has it.
pub fn confirm(world: &mut World<'_>, order: OrderId, buyer: AccountId) -> Result<(), Halt> {
    let placed = orders::bought_by(world, order, buyer)?;
    if placed.stage != Stage::Delivered {
        orders::deliver(world, order, buyer)?;
    }
    release(world, order, ReleaseCause::Confirmed)
}

/// Pays the seller because the inspection is over.
pub fn release_inspected(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    match world.get::<Escrow>(order)?.opened()?.phase {
        Phase::Inspection { .. } => release(world, order, ReleaseCause::InspectionOver),
        _ => Ok(()),
    }
}

fn release(world: &mut World<'_>, order: OrderId, cause: ReleaseCause) -> Result<(), Halt> {
    let now = world.now();
    let events = world.execute::<Escrow>(order, Command::Release { cause, now })?;
    settle(world, order, &events)?;
    world.execute::<Order>(order, order::Command::Complete { now })?;
    Ok(())
}

/// Reminds the buyer to look at what has arrived.
pub fn remind(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Escrow>(order, Command::Remind { now })?;
    Ok(())
}

/// Stops the clock of an escrow until staff has decided, as the buyer or the seller.
pub fn dispute(world: &mut World<'_>, order: OrderId, by: AccountId, reason: &str) -> Result<(), Halt> {
    let by = match orders::role_in(world, order, by)? {
        Role::Buyer => Disputant::Buyer,
        Role::Seller => Disputant::Seller,
        Role::Staff => return Err(order::Error::WrongParty { needed: Role::Buyer }.into()),
    };
    let now = world.now();
    world.execute::<Escrow>(order, Command::Dispute { by, reason: reason.to_owned(), now })?;
    Ok(())
}

/// Opens a dispute about an order that was shipped so long ago that it should have arrived. Too early it is refused,
/// and not merely left undone: what is accepted is not done again.
pub fn dispute_undelivered(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let now = world.now();
    let placed = world.get::<Order>(order)?.placed()?;
    let Some(dispute_at) = placed.dispute_at.filter(|_| placed.stage == Stage::Shipped) else { return Ok(()) };
    if now < dispute_at {
        return Err(order::Error::TooEarlyToDispute { dispute_at }.into());
    }
    match world.get::<Escrow>(order)?.opened()?.status() {
        Status::Funded => {}
        // Once the card's bank has decided, it goes on with a time of its own.
        Status::ChargedBack
        | Status::AwaitingPayment
        | Status::Inspection
        | Status::Disputed
        | Status::Voided
        | Status::Released
        | Status::Refunded
        | Status::Split => return Ok(()),
    }
    let (by, reason) = (Disputant::Marketplace, NOTHING_HEARD.to_owned());
    world.execute::<Escrow>(order, Command::Dispute { by, reason, now })?;
    Ok(())
}

/// How staff decides a dispute.
#[derive(Clone, Copy, Debug)]
pub enum Resolution {
    /// The seller is paid.
    Release,
    /// The buyer has it back.
    Refund,
    /// The buyer gets so much, the seller the rest.
    Split {
        /// What the buyer gets.
        to_buyer: Money,
    },
}

/// Decides a dispute, as staff.
pub fn resolve(
    world: &mut World<'_>,
    order: OrderId,
    by: AccountId,
    resolution: Resolution,
    refund: RefundId,
) -> Result<(), Halt> {
    accounts::require(world, by, Capability::Staff)?;
    // Nobody decides a dispute of their own.
    if orders::role_in(world, order, by)? != Role::Staff {
        return Err(order::Error::WrongParty { needed: Role::Staff }.into());
    }
    match resolution {
        Resolution::Release => release(world, order, ReleaseCause::Resolved(by)),
        Resolution::Refund => give_back_held(world, order, refund, None, RefundCause::Resolved(by)),
        Resolution::Split { to_buyer } => {
            let now = world.now();
            let events = world.execute::<Escrow>(order, Command::Split { to_buyer, by })?;
            settle(world, order, &events)?;
            world.execute::<Order>(order, order::Command::Complete { now })?;
            Ok(())
        }
    }
}

/// Gives the money of a dispute back that nobody has resolved in time.
pub fn refund_expired_dispute(world: &mut World<'_>, order: OrderId, refund: RefundId) -> Result<(), Halt> {
    match world.get::<Escrow>(order)?.opened()?.phase {
        Phase::Disputed { .. } => give_back_held(world, order, refund, None, RefundCause::DisputeExpired),
        _ => Ok(()),
    }
}

/// Gives some or all of the money of an order back, before or after the seller was paid, as the seller or staff.
pub fn refund(
    world: &mut World<'_>,
    order: OrderId,
    by: AccountId,
    amount: Option<Money>,
    refund: RefundId,
) -> Result<(), Halt> {
    let cause = match orders::role_in(world, order, by)? {
        Role::Buyer => return Err(order::Error::WrongParty { needed: Role::Seller }.into()),
        Role::Seller => RefundCause::Seller,
        Role::Staff => RefundCause::Staff(by),
    };
    let escrow = world.get::<Escrow>(order)?.opened()?;
    if !matches!(escrow.phase, Phase::Released { .. }) {
        return give_back_held(world, order, refund, amount, cause);
    }
    let (seller, currency, remaining) = (escrow.terms.seller, escrow.terms.amount.currency(), escrow.remaining());
    let amount = match charges::borne_by_seller(world, order)? {
        None => amount,
        // The bank has given it to the buyer already.
        Some(borne) => {
            let remaining = remaining.minus(borne)?;
            let offered = amount.unwrap_or(remaining);
            if offered.minor_in(currency)? > remaining.minor() {
                return Err(Error::MoreThanRemains { remaining, offered }.into());
            }
            Some(offered)
        }
    };
    let seller_available = wallets::available(world, seller, currency)?;
    let events = world.execute::<Escrow>(order, Command::RefundReleased { refund, amount, seller_available, cause })?;
    settle(world, order, &events)?;
    close_if_refunded(world, order)
}

/// Gives money back before the seller was paid, and ends the order if that was all. What was never sent is for sale
/// again.
fn give_back_held(
    world: &mut World<'_>,
    order: OrderId,
    refund: RefundId,
    amount: Option<Money>,
    cause: RefundCause,
) -> Result<(), Halt> {
    let unsent = world.get::<Order>(order)?.placed()?.stage == Stage::Paid;
    refund_held(world, order, refund, amount, cause)?;
    close_if_refunded(world, order)?;
    let all = world.get::<Order>(order)?.placed()?.stage == Stage::Refunded;
    if unsent && all { orders::put_back(world, order) } else { Ok(()) }
}

pub(crate) fn refund_held(
    world: &mut World<'_>,
    order: OrderId,
    refund: RefundId,
    amount: Option<Money>,
    cause: RefundCause,
) -> Result<(), Halt> {
    let now = world.now();
    let events = world.execute::<Escrow>(order, Command::Refund { refund, amount, cause, now })?;
    settle(world, order, &events)
}

fn close_if_refunded(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let now = world.now();
    if !world.get::<Escrow>(order)?.opened()?.remaining().is_positive() {
        world.execute::<Order>(order, order::Command::Refund { now })?;
    }
    Ok(())
}

/// Lets the provider take back out of an escrow what a payer disputes.
pub(crate) fn charge_back(
    world: &mut World<'_>,
    order: OrderId,
    dispute: DisputeId,
    amount: Money,
) -> Result<(), Halt> {
    let events = world.execute::<Escrow>(order, Command::ChargeBack { dispute, amount })?;
    settle(world, order, &events)
}

/// Lets an escrow go on, since the dispute is won.
pub(crate) fn return_chargeback(world: &mut World<'_>, order: OrderId, dispute: DisputeId) -> Result<(), Halt> {
    let (now, sent) = (world.now(), world.get::<Order>(order)?.placed()?.stage != Stage::Paid);
    let events = world.execute::<Escrow>(order, Command::ReturnChargeback { dispute, sent, now })?;
    settle(world, order, &events)
}

/// Lets an escrow go on with what is left, since the dispute is lost; the order ends if nothing is. What was never sent is
/// for sale again.
pub(crate) fn settle_chargeback(world: &mut World<'_>, order: OrderId, dispute: DisputeId) -> Result<(), Halt> {
    let (now, stage) = (world.now(), world.get::<Order>(order)?.placed()?.stage);
    let unsent = stage == Stage::Paid;
    let events = world.execute::<Escrow>(order, Command::SettleChargeback { dispute, sent: !unsent, now })?;
    if events.is_empty() {
        return Ok(());
    }
    settle(world, order, &events)?;
    close_if_refunded(world, order)?;
    let all = world.get::<Order>(order)?.placed()?.stage == Stage::Refunded;
    if unsent && all { orders::put_back(world, order) } else { Ok(()) }
}

/// Lets the buyer's bonus points follow what an escrow has done: they are earned with what the seller keeps.
fn settle_points(world: &mut World<'_>, escrow: &Opened, order: OrderId, event: &Event) -> Result<(), Halt> {
    let (terms, currency) = (&escrow.terms, escrow.terms.amount.currency());
    let command = match event {
        Event::EscrowReleased { .. } | Event::EscrowSplit { .. } => {
            points::Command::Earn { order, currency, points: escrow.points_earned() }
        }
        Event::ReleaseRefunded { refund, amount, from_points, .. } => {
            let points = escrow.points_lost_with(*amount, *from_points);
            points::Command::TakeBack { order, refund: *refund, currency, points }
        }
        Event::EscrowOpened { .. }
        | Event::EscrowFunded { .. }
        | Event::EscrowVoided {}
        | Event::InspectionStarted { .. }
        | Event::InspectionReminded { .. }
        | Event::EscrowDisputed { .. }
        | Event::EscrowPartlyRefunded { .. }
        | Event::EscrowRefunded { .. }
        | Event::EscrowChargedBack { .. }
        | Event::ChargebackReturned { .. }
        | Event::ChargebackSettled { .. } => return Ok(()),
    };
    world.execute::<Points>(terms.buyer, command)?;
    Ok(())
}

/// Lets the wallets follow what an escrow has done, and whatever else depends on it.
fn settle(world: &mut World<'_>, order: OrderId, events: &[Event]) -> Result<(), Halt> {
    let escrow = world.get::<Escrow>(order)?.opened()?.clone();
    let terms = &escrow.terms;
    let (buyer, seller, currency) = (terms.buyer, terms.seller, terms.amount.currency());
    // A guest has neither a wallet nor points.
    let to_card = escrow.card.as_ref().filter(|card| card.refunded_to_card);
    let sale = |amount| wallet::Command::ReceiveSale { owner: seller, order, amount };
    // Of what points had paid, whole points come back as points.
    let back = |world: &mut World<'_>, refund: RefundId, whole: Money, from_points: Option<Money>| {
        let amount = whole.minus(from_points.unwrap_or(Money::zero(currency)))?;
        if let (true, Some(card)) = (amount.is_positive(), to_card) {
            return charges::refund(world, card.charge, refund, order, amount);
        }
        if amount.is_positive() {
            let receive = wallet::Command::ReceiveRefund { owner: buyer, order, refund, amount };
            world.execute::<Wallet>(WalletId::of(buyer, currency), receive)?;
        }
        let points = escrow.points_back_with(from_points);
        world.execute::<Points>(buyer, points::Command::GiveBack { order, refund, currency, points }).map(drop)
    };
    for event in events {
        let to = |world: &mut World<'_>, owner: AccountId, command: wallet::Command| {
            world.execute::<Wallet>(WalletId::of(owner, currency), command).map(drop)
        };
        match event {
            Event::EscrowReleased { kept, fee, .. } => {
                let payout = kept.minus(*fee)?;
                if payout.is_positive() {
                    to(world, seller, sale(payout))?;
                    payouts::note_sale(world, seller, currency)?;
                }
            }
            Event::EscrowPartlyRefunded { refund, amount, from_points, .. }
            | Event::EscrowRefunded { refund, amount, from_points, .. } => {
                back(world, *refund, *amount, *from_points)?;
            }
            Event::EscrowSplit { to_buyer, kept, fee, from_points, .. } => {
                back(world, RefundId(order.0), *to_buyer, *from_points)?;
                let payout = kept.minus(*fee)?;
                if payout.is_positive() {
                    to(world, seller, sale(payout))?;
                    payouts::note_sale(world, seller, currency)?;
                }
            }
            Event::ReleaseRefunded { refund, amount, from_available, owed, from_points, .. } => {
                let (refund, given, owed) = (*refund, *from_available, *owed);
                to(world, seller, wallet::Command::GiveRefund { owner: seller, order, refund, amount: given, owed })?;
                back(world, refund, *amount, *from_points)?;
            }
            Event::EscrowOpened { .. }
            | Event::EscrowFunded { .. }
            | Event::EscrowVoided {}
            | Event::InspectionStarted { .. }
            | Event::InspectionReminded { .. }
            | Event::EscrowDisputed { .. }
            | Event::EscrowChargedBack { .. }
            | Event::ChargebackReturned { .. }
            | Event::ChargebackSettled { .. } => {}
        }
        settle_points(world, &escrow, order, event)?;
        commissions::settle(world, &escrow, order, event)?;
    }
    Ok(())
}
