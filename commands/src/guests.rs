//! Use cases of guests, who order at a store without an account and pay by card, or in cash when it is brought.
//!
//! What is paid by card goes its way like everybody's: into escrow, with fees, and back to the card. In cash the pieces
//! are kept until the seller has asked the guest, and are taken then; money and fees are none of the marketplace's. Since
//! anybody can order so for nothing, what is kept is bounded: so many lines and pieces an order, and half of what there
//! is. What guests say of themselves is sealed with a key of that one order.

use chrono::TimeDelta;
use domain::claim::Claim;
use domain::escrow::Escrow;
use domain::listing::{self, Delivery, Listing};
use domain::order::{
    CancelCause, Command, Confirmation, Deadlines, Error, Guest, Line, Order, Origin, Payment, Stage, Terms,
};
use domain::stock::{self, Stock};
use domain::store::{PaymentPreference, Store};
use domain::wallet::PaymentMethod;
use domain::{AccountId, ClaimId, Money, OrderGroupId, OrderId, Sealed, Timestamp};
use eventstore::wrapping::StoredKey;

use crate::charges::{self, Asked};
use crate::engine::{Halt, World};
use crate::orders::{self, CartLine, SaleRules};
use crate::sellers;
use crate::stores;

/// What a guest orders, with everything that took time already done.
#[derive(Clone, Debug)]
pub struct GuestOrder {
    /// The claim on the name of the store.
    pub store: ClaimId,
    /// The id minted for the order.
    pub order: OrderId,
    /// The id minted for the guest.
    pub guest: AccountId,
    /// The key that seals what the guest says, as it is stored; committed with it.
    pub key: StoredKey,
    /// Name, phone and address for mail, as JSON.
    pub contact: Sealed<String>,
    /// Where to bring it, as JSON.
    pub ship_to: Sealed<String>,
    /// How the guest is asked.
    pub confirmation: Confirmation,
    /// What.
    pub lines: Vec<CartLine>,
}

/// What a deployment decides about orders in cash. Frozen into every order when it is placed.
#[derive(Clone, Copy, Debug)]
pub struct CashRules {
    /// How long a seller has to confirm one.
    pub confirm_within: TimeDelta,
    /// How long to send it, once the time to confirm it is over.
    pub ship_within: TimeDelta,
    /// And how long after that to say that it was brought.
    pub deliver_within: TimeDelta,
}

/// Places a guest's order in cash, whose pieces are kept for so long while the seller asks the guest. Answers with what it
/// costs and until when the seller has time.
pub fn place(world: &mut World<'_>, new: &GuestOrder, rules: CashRules) -> Result<(Money, Timestamp), Halt> {
    let seller = taking(world, new.store, &Wanted::Cash)?;
    let order = new.order;
    let confirm_by = world.now() + rules.confirm_within;
    let ship_by = confirm_by + rules.ship_within;
    let deadlines = Deadlines { confirm_by, ship_by, deliver_by: ship_by + rules.deliver_within };
    let Basket { lines, delivery } = basket(world, new, seller, None)?;
    let total = total(&lines)?;
    let pieces = orders::pieces(&lines);
    world.fresh::<Order>(order);
    world.fresh::<Escrow>(order);
    let terms = terms(new, seller, Basket { lines, delivery }, Payment::in_cash(deadlines));
    world.execute::<Order>(order, Command::Place { terms })?;
    for (listing, pieces) in pieces {
        world.execute::<Stock>(listing, stock::Command::Hold { listing, order, pieces, until: confirm_by })?;
    }
    world.introduce(new.key.clone());
    Ok((total, confirm_by))
}

/// Places a guest's order that is paid by card, and asks the provider for the money. The pieces are kept like those of any
/// checkout, and half of what there is like those of any guest's. Answers with what it costs, until when it may be paid,
/// and by which charge.
pub fn place_by_card(
    world: &mut World<'_>,
    new: &GuestOrder,
    card: PaymentMethod,
    rules: SaleRules,
) -> Result<(Asked, Timestamp), Halt> {
    let seller = taking(world, new.store, &Wanted::Card)?;
    let (order, pay_by) = (new.order, world.now() + orders::CHECKOUT_PAID_WITHIN);
    let basket = basket(world, new, seller, Some(rules.fee_bps))?;
    for (listing, pieces) in orders::pieces(&basket.lines) {
        world.execute::<Stock>(listing, stock::Command::Hold { listing, order, pieces, until: pay_by })?;
    }
    let terms = terms(new, seller, basket, Payment::Escrow);
    let group = terms.group;
    // A guest has no account that points could be earned with.
    orders::place(world, order, terms, None, SaleRules { points_per_unit: 0, ..rules })?;
    orders::place_group(world, group, new.guest, vec![order], pay_by)?;
    world.introduce(new.key.clone());
    let asked = charges::request_payment(world, new.guest, order, card)?;
    Ok((asked, pay_by))
}

/// The guest of an order that is paid by card, who alone may act for it; of whoever has no claim to it, it is not there.
pub fn guest_of(world: &mut World<'_>, order: OrderId) -> Result<AccountId, Halt> {
    let placed = world.get::<Order>(order)?.placed()?;
    match (&placed.terms.guest, placed.guest_forgotten) {
        (Some(_), false) => Ok(placed.terms.buyer),
        (Some(_), true) | (None, _) => Err(Error::NotFound.into()),
    }
}

fn terms(new: &GuestOrder, seller: AccountId, Basket { lines, delivery }: Basket, payment: Payment) -> Terms {
    Terms {
        // It is paid by itself.
        group: OrderGroupId(new.order.0),
        buyer: new.guest,
        seller,
        origin: Origin::Storefront,
        lines,
        delivery,
        ship_to: Some(new.ship_to.clone()),
        payment,
        guest: Some(Guest { contact: new.contact.clone(), confirmation: new.confirmation }),
    }
}

/// What a guest wants.
struct Basket {
    lines: Vec<Line>,
    delivery: Delivery,
}

/// What is offered of it, all by one seller. What is paid by card has fees, where nothing else is agreed `default_fee_bps`.
fn basket(
    world: &mut World<'_>,
    new: &GuestOrder,
    seller: AccountId,
    default_fee_bps: Option<u32>,
) -> Result<Basket, Halt> {
    let buyer = new.guest;
    let mut lines = Vec::new();
    let (mut has_physical, mut has_digital) = (false, false);
    for ((listing, sku), quantity) in orders::summed(&new.lines)? {
        let offer = world.get::<Listing>(listing)?.offered_to(buyer)?.clone();
        if offer.seller != seller {
            return Err(listing::Error::NotFound.into());
        }
        has_physical |= offer.delivery.is_physical();
        has_digital |= !offer.delivery.is_physical();
        let unit_price = offer.price_at(&sku, world.now())?;
        let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency())).times(quantity)?;
        let fee_bps = match default_fee_bps {
            Some(default) => sellers::fee_bps(world, seller, &offer.category, default)?,
            None => 0,
        };
        lines.push(Line { listing, sku, title: offer.title, quantity, unit_price, shipping, fee_bps });
    }
    orders::check_currency(lines.iter())?;
    // Nothing of what is paid at the door is digital; of anything else a part that is sent is enough.
    let is_digital = if default_fee_bps.is_some() { !has_physical } else { has_digital };
    Ok(Basket { lines, delivery: if is_digital { Delivery::Digital } else { Delivery::Physical } })
}

/// How a guest wants to pay.
enum Wanted {
    Cash,
    Card,
}

/// Whose store it is, if it is open and takes such payment of guests.
fn taking(world: &mut World<'_>, claim: ClaimId, wanted: &Wanted) -> Result<AccountId, Halt> {
    let seller = world.get::<Claim>(claim)?.owner().ok_or(Error::NoStore)?;
    let preference = match world.get::<Store>(seller)? {
        Store::Open(shop) => shop.about.payment_preference,
        Store::Unopened | Store::Suspended(_) | Store::Removed(_) => return Err(Error::NoStore.into()),
    };
    stores::require_offering(world, seller)?;
    match (preference, wanted) {
        (PaymentPreference::Any, _)
        | (PaymentPreference::CashOnDelivery, Wanted::Cash)
        | (PaymentPreference::Card, Wanted::Card) => Ok(seller),
        (PaymentPreference::Card, Wanted::Cash) => Err(Error::NoCash.into()),
        (PaymentPreference::CashOnDelivery, Wanted::Card) => Err(Error::NoCard.into()),
    }
}

fn total(lines: &[Line]) -> Result<Money, Halt> {
    let mut amounts = lines.iter().map(Line::gross);
    let none = Error::LinesOutOfRange { maximum: domain::order::MOST_LINES, offered: 0 };
    let first = amounts.next().ok_or(none)??;
    Ok(amounts.try_fold(first, |sum, amount| sum.plus(amount?))?)
}

/// Notes that the guest means it, as the seller who has asked. The pieces are taken.
pub fn confirm(world: &mut World<'_>, order: OrderId, seller: AccountId) -> Result<(), Halt> {
    orders::sold_by(world, order, seller)?;
    let now = world.now();
    if world.execute::<Order>(order, Command::Confirm { now })?.is_empty() {
        return Ok(());
    }
    for listing in orders::reserved_listings(world, order)? {
        world.execute::<Stock>(listing, stock::Command::Take { order })?;
    }
    Ok(())
}

/// Gives an order up that was not confirmed, sent or brought in time.
pub fn lapse(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let now = world.now();
    end(world, order, Command::Lapse { now })
}

/// Calls an order off.
pub(crate) fn call_off(world: &mut World<'_>, order: OrderId, cause: CancelCause) -> Result<(), Halt> {
    let now = world.now();
    end(world, order, Command::Cancel { cause, now })
}

/// Ends an order by a command that sells nothing: what was not sent is for sale again.
fn end(world: &mut World<'_>, order: OrderId, command: Command) -> Result<(), Halt> {
    let stage = world.get::<Order>(order)?.placed()?.stage;
    if world.execute::<Order>(order, command)?.is_empty() {
        return Ok(());
    }
    match stage {
        Stage::Placed => release(world, order),
        Stage::Confirmed => orders::put_back(world, order),
        // What comes back from the door, the seller looks at first, and counts it then.
        Stage::Paid | Stage::Shipped | Stage::Delivered | Stage::Completed | Stage::Cancelled | Stage::Refunded => {
            Ok(())
        }
    }
}

fn release(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    for listing in orders::reserved_listings(world, order)? {
        world.execute::<Stock>(listing, stock::Command::Release { order })?;
    }
    Ok(())
}

/// Forgets who a guest was: the key goes, and nobody can read what was sealed with it.
pub fn forget(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let (now, guest) = (world.now(), world.get::<Order>(order)?.placed()?.terms.buyer);
    if !world.execute::<Order>(order, Command::ForgetGuest { now })?.is_empty() {
        world.forget(guest);
    }
    Ok(())
}
