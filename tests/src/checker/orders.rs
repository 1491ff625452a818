//! What a client's own words about orders lead to, written down once more from the domain rules: which aggregates move
//! together, in which order, and what is refused first.

use std::collections::BTreeMap;

use api::config;
use chrono::TimeDelta;
use domain::account::{Account, Capability};
use domain::auction::{self, Auction};
use domain::escrow::{self, Disputant, Escrow, Phase, RefundCause, ReleaseCause};
use domain::listing::{self, Delivery, Listing};
use domain::order::{self, CancelCause, Line, Order, Origin, Payment, Placed, Role, Stage, Witness};
use domain::order_group::{self, OrderGroup};
use domain::points::{self, Points, Redeemed};
use domain::stock::{self, Pieces, Sku, Stock};
use domain::store::Store;
use domain::wallet::{self, Wallet};
use domain::{AccountId, ListingId, Money, OrderGroupId, OrderId, RefundId, Refusal, WalletId, fees};
use serde_json::{Value, json};

use super::intents::{Minted, available};
use super::replica::Draft;
use super::{charges, guests};
use crate::history::{CARRIER, Change, REASON, Wanted};

/// A checkout is paid within 15 minutes.
const CHECKOUT_PAID_WITHIN: TimeDelta = TimeDelta::minutes(15);

/// Buys a cart.
pub(super) fn check_out(
    draft: &mut Draft<'_>,
    buyer: AccountId,
    wanted: &[Wanted],
    (pay_now, points): (bool, u64),
    minted: &Minted,
) -> Result<Value, Refusal> {
    draft.get::<Account>(buyer).require(Capability::Buy)?;
    let rules = config::Orders::default();
    let pay_by = draft.now() + CHECKOUT_PAID_WITHIN;
    let mut quantities = BTreeMap::<(ListingId, Sku), u32>::new();
    for Wanted { listing, quantity } in wanted {
        *quantities.entry((*listing, Sku::default())).or_default() += quantity;
    }
    let mut baskets = BTreeMap::<AccountId, (Vec<Line>, bool)>::new();
    for ((listing, sku), quantity) in quantities {
        let offer = draft.get::<Listing>(listing).offered_to(buyer)?.clone();
        require_offering(draft, offer.seller)?;
        let unit_price = offer.price_at(&sku, draft.now())?;
        let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency())).times(quantity)?;
        let (lines, physical) = baskets.entry(offer.seller).or_default();
        *physical |= offer.delivery.is_physical();
        lines.push(Line { listing, sku, title: offer.title, quantity, unit_price, shipping, fee_bps: rules.fee_bps });
    }
    let gross = |(lines, _): &(Vec<Line>, bool)| {
        let amounts = lines.iter().map(Line::gross).collect::<Result<Vec<_>, _>>()?;
        sum(&amounts)?.ok_or_else(|| order::Error::NotFound.into())
    };
    let amounts = baskets.values().map(gross).collect::<Result<Vec<Money>, Refusal>>()?;
    let of_points = config::Points::default();
    let redeemed = points::redeemed_for(points, of_points.worth_minor_units, &amounts)?;
    let mut placed = Vec::new();
    for (((seller, (lines, physical)), &order), redeemed) in baskets.into_iter().zip(&minted.orders).zip(redeemed) {
        for (listing, pieces) in pieces(&lines) {
            draft.execute::<Stock>(listing, stock::Command::Reserve { listing, order, pieces, until: pay_by })?;
        }
        let (delivery, inspection_s) = if physical {
            (Delivery::Physical, rules.inspection_physical_s)
        } else {
            (Delivery::Digital, rules.inspection_digital_s)
        };
        let origin = Origin::Checkout;
        let fee_lines = lines.iter().map(Line::fee_line).collect::<Result<Vec<_>, _>>()?;
        let terms = order::Terms {
            group: minted.group,
            buyer,
            seller,
            origin,
            lines,
            delivery,
            ship_to: None,
            payment: Payment::Escrow,
            guest: None,
        };
        let currency = terms.lines[0].unit_price.currency();
        let points = redeemed.map_or(0, |redeemed| redeemed.points);
        draft.execute::<Points>(buyer, points::Command::Redeem { order, currency, points })?;
        draft.execute::<Order>(order, order::Command::Place { terms })?;
        let amount = fees::gross(&fee_lines, currency)?;
        let points_per_unit = of_points.per_major_unit;
        // No client of a load comes by a link.
        let (lines, commission) = (fee_lines, None);
        let terms =
            escrow::Terms { order, buyer, seller, lines, amount, inspection_s, points_per_unit, redeemed, commission };
        let due = terms.due();
        draft.execute::<Escrow>(order, escrow::Command::Open { terms })?;
        placed.push((order, seller, due));
    }
    let orders = placed.iter().map(|(order, ..)| *order).collect();
    draft.execute::<OrderGroup>(minted.group, order_group::Command::Place { buyer, orders, pay_by })?;
    let amounts: Vec<Money> = placed.iter().map(|(.., amount)| *amount).collect();
    let pay_now = pay_now || owes_nothing(draft, minted.group)?;
    if let (true, Some((first, ..))) = (pay_now, placed.first()) {
        pay_group(draft, minted.group, *first)?;
    }
    let orders: Vec<Value> =
        placed.iter().map(|(id, seller, total)| json!({ "id": id, "seller_id": seller, "total": total })).collect();
    let status = if pay_now { "paid" } else { "placed" };
    Ok(json!({
        "group_id": minted.group, "status": status, "orders": orders, "total": sum(&amounts)?, "pay_by": pay_by,
    }))
}

/// Nobody buys of who may sell nothing new.
pub(super) fn require_offering(draft: &Draft<'_>, seller: AccountId) -> Result<(), Refusal> {
    let capable = draft.get::<Account>(seller).require(Capability::Sell).is_ok();
    let open = draft.get::<Store>(seller).may_sell().is_ok();
    if capable && open { Ok(()) } else { Err(listing::Error::NotOffered.into()) }
}

pub(super) fn pieces(lines: &[Line]) -> BTreeMap<ListingId, Pieces> {
    let mut pieces = BTreeMap::<ListingId, Pieces>::new();
    for line in lines {
        pieces.entry(line.listing).or_default().insert(line.sku.clone(), line.quantity);
    }
    pieces
}

pub(super) fn sum(amounts: &[Money]) -> Result<Option<Money>, Refusal> {
    let mut amounts = amounts.iter();
    let Some(first) = amounts.next() else { return Ok(None) };
    Ok(Some(amounts.try_fold(*first, |sum, amount| sum.plus(*amount))?))
}

/// Pays from the wallet.
pub(super) fn pay(draft: &mut Draft<'_>, buyer: AccountId, order: OrderId) -> Result<Value, Refusal> {
    let group = as_party(draft, order, buyer, Role::Buyer)?.terms.group;
    let amount = amount_due(draft, group)?;
    pay_group(draft, group, order)?;
    Ok(json!({ "order_id": order, "group_id": group, "status": "paid", "amount": amount }))
}

/// Pays by a method of the sandbox.
pub(super) fn pay_from_outside(
    draft: &mut Draft<'_>,
    buyer: AccountId,
    order: OrderId,
    method: &str,
) -> Result<Value, Refusal> {
    let Placed { terms, stage: status, .. } = as_party(draft, order, buyer, Role::Buyer)?;
    let group = terms.group;
    let amount = amount_due(draft, group)?;
    let pay_by = draft.get::<OrderGroup>(group).placed()?.pay_by;
    if draft.now() >= pay_by {
        return Err(order_group::Error::PaymentOverdue { pay_by }.into());
    }
    if status != Stage::Placed {
        return Err(order::Error::WrongStage { status, needed: Stage::Placed }.into());
    }
    let charge = charges::request_payment(draft, buyer, group, amount, method)?;
    // Whether there is something to do first depends on how soon the provider is asked.
    Ok(json!({ "order_id": order, "group_id": group, "amount": amount, "payment_id": charge }))
}

/// The orders of a group that wait to be paid.
fn outstanding(draft: &Draft<'_>, group: OrderGroupId) -> Result<Vec<(OrderId, Money)>, Refusal> {
    let mut outstanding = Vec::new();
    for order in draft.get::<OrderGroup>(group).placed()?.orders.clone() {
        if draft.get::<Order>(order).placed()?.stage == Stage::Placed {
            outstanding.push((order, draft.get::<Escrow>(order).opened()?.terms.due()));
        }
    }
    Ok(outstanding)
}

/// Whether points have paid for all that waits.
fn owes_nothing(draft: &Draft<'_>, group: OrderGroupId) -> Result<bool, Refusal> {
    let outstanding = outstanding(draft, group)?;
    Ok(!outstanding.is_empty() && outstanding.iter().all(|(_, amount)| amount.minor() == 0))
}

fn amount_due(draft: &Draft<'_>, group: OrderGroupId) -> Result<Money, Refusal> {
    let amounts: Vec<Money> = outstanding(draft, group)?.into_iter().map(|(_, amount)| amount).collect();
    match (sum(&amounts)?, draft.get::<OrderGroup>(group)) {
        (Some(total), _) => Ok(total),
        (None, OrderGroup::Paid(_)) => Err(order_group::Error::AlreadyPaid.into()),
        (None, OrderGroup::Expired(placed)) => Err(order_group::Error::PaymentOverdue { pay_by: placed.pay_by }.into()),
        (None, OrderGroup::Unplaced | OrderGroup::AwaitingPayment(_)) => {
            Err(order::Error::WrongStage { status: Stage::Cancelled, needed: Stage::Placed }.into())
        }
    }
}

fn pay_group(draft: &mut Draft<'_>, group: OrderGroupId, wanted: OrderId) -> Result<(), Refusal> {
    let now = draft.now();
    let outstanding = outstanding(draft, group)?;
    draft.execute::<OrderGroup>(group, order_group::Command::Pay { now })?;
    if !outstanding.iter().any(|(order, _)| *order == wanted) {
        let status = draft.get::<Order>(wanted).placed()?.stage;
        return Err(order::Error::WrongStage { status, needed: Stage::Placed }.into());
    }
    let buyer = draft.get::<OrderGroup>(group).placed()?.buyer;
    let amounts: Vec<Money> = outstanding.iter().map(|(_, amount)| *amount).collect();
    if let Some(requested) = sum(&amounts)? {
        let available = available(draft, buyer, requested.currency());
        if available.minor() < requested.minor() {
            return Err(wallet::Error::InsufficientFunds { available, requested }.into());
        }
    }
    for (order, amount) in outstanding {
        if amount.is_positive() {
            draft.execute::<Wallet>(WalletId::of(buyer, amount.currency()), wallet::Command::Pay { order, amount })?;
        }
        draft.execute::<Escrow>(order, escrow::Command::Fund { source: escrow::Source::Wallet, now })?;
        draft.execute::<Order>(order, order::Command::Pay {})?;
        for (listing, _) in counted_pieces(draft, order)? {
            draft.execute::<Stock>(listing, stock::Command::Take { order })?;
        }
    }
    Ok(())
}

/// The pieces of an order that its listings count: those of a checkout.
pub(super) fn counted_pieces(draft: &Draft<'_>, order: OrderId) -> Result<BTreeMap<ListingId, Pieces>, Refusal> {
    let Placed { terms, .. } = draft.get::<Order>(order).placed()?.clone();
    Ok(if terms.origin.auction().is_some() { BTreeMap::new() } else { pieces(&terms.lines) })
}

fn role_in(draft: &Draft<'_>, order: OrderId, account: AccountId) -> Result<Role, Refusal> {
    let order::Terms { buyer, seller, .. } = draft.get::<Order>(order).placed()?.terms;
    if account == buyer {
        Ok(Role::Buyer)
    } else if account == seller {
        Ok(Role::Seller)
    } else {
        draft.get::<Account>(account).require(Capability::Staff).map_err(|_| order::Error::NotFound)?;
        Ok(Role::Staff)
    }
}

pub(super) fn as_party(draft: &Draft<'_>, order: OrderId, account: AccountId, needed: Role) -> Result<Placed, Refusal> {
    if role_in(draft, order, account)? != needed {
        return Err(order::Error::WrongParty { needed }.into());
    }
    Ok(draft.get::<Order>(order).placed()?.clone())
}

/// Carries a change of an order out.
pub(super) fn change(
    draft: &mut Draft<'_>,
    by: AccountId,
    order: OrderId,
    what: &Change,
    minted: &Minted,
) -> Result<Value, Refusal> {
    let role = role_in(draft, order, by)?;
    let in_cash = !draft.get::<Order>(order).placed()?.terms.payment.is_escrow();
    match what {
        Change::ConfirmGuest => guests::confirm(draft, order, by)?,
        Change::Cancel if in_cash => guests::cancel(draft, order, cancel_cause(role, by))?,
        Change::Cancel => cancel(draft, order, (role, by), minted.refund)?,
        Change::Ship => ship(draft, order, by)?,
        Change::Deliver => deliver(draft, order, (role, by))?,
        Change::Confirm => confirm(draft, order, by)?,
        Change::Dispute => dispute(draft, order, role)?,
        Change::Refund { amount } => refund(draft, order, (role, by), *amount, minted.refund)?,
    }
    let status = draft.get::<Order>(order).placed()?.stage.name();
    let escrow = draft.get::<Escrow>(order).opened().map_or("none", |escrow| escrow.status().name());
    Ok(json!({ "id": order, "status": status, "escrow": escrow, "version": draft.version::<Order>(order) }))
}

fn cancel_cause(role: Role, by: AccountId) -> CancelCause {
    let reason = REASON.to_owned();
    match role {
        Role::Buyer => CancelCause::Buyer { reason },
        Role::Seller => CancelCause::Seller { reason },
        Role::Staff => CancelCause::Staff { by, reason },
    }
}

fn cancel(
    draft: &mut Draft<'_>,
    order: OrderId,
    (role, by): (Role, AccountId),
    refund: RefundId,
) -> Result<(), Refusal> {
    let cause = cancel_cause(role, by);
    let paid = draft.get::<Order>(order).placed()?.stage != Stage::Placed;
    let now = draft.now();
    let cancelled = draft.execute::<Order>(order, order::Command::Cancel { cause, now })?;
    let pieces = counted_pieces(draft, order)?;
    if !paid {
        let voided = draft.execute::<Escrow>(order, escrow::Command::Void {})?;
        let terms = draft.get::<Escrow>(order).opened()?.terms.clone();
        if let (false, Some(Redeemed { points, worth })) = (voided.is_empty(), terms.redeemed) {
            let (refund, currency) = (RefundId(order.0), worth.currency());
            draft.execute::<Points>(terms.buyer, points::Command::GiveBack { order, refund, currency, points })?;
        }
        // Whoever takes a second chance is not bound to it, and leaves the way free for the next.
        let origin = draft.get::<Order>(order).placed()?.terms.origin;
        if let Some(auction) = origin.auction().filter(|_| !origin.is_binding()) {
            let forfeit = auction::Command::Forfeit { buyer: terms.buyer, order };
            draft.execute::<Auction>(auction, forfeit)?;
        }
        for listing in pieces.into_keys() {
            draft.execute::<Stock>(listing, stock::Command::Release { order })?;
        }
    } else if !cancelled.is_empty() {
        give_back(draft, order, refund, None, RefundCause::Cancelled)?;
        put_back(draft, order)?;
    }
    Ok(())
}

pub(super) fn put_back(draft: &mut Draft<'_>, order: OrderId) -> Result<(), Refusal> {
    // A second chance leaves the way free however it ends, unless something was sent.
    let Placed { terms, .. } = draft.get::<Order>(order).placed()?.clone();
    if let Some(auction) = terms.origin.auction().filter(|_| !terms.origin.is_binding()) {
        draft.execute::<Auction>(auction, auction::Command::Forfeit { buyer: terms.buyer, order })?;
    }
    for (listing, pieces) in counted_pieces(draft, order)? {
        draft.execute::<Stock>(listing, stock::Command::Return { order, pieces })?;
    }
    Ok(())
}

fn ship(draft: &mut Draft<'_>, order: OrderId, by: AccountId) -> Result<(), Refusal> {
    as_party(draft, order, by, Role::Seller)?;
    let command = order::Command::Ship { carrier: CARRIER.to_owned(), tracking: None, now: draft.now() };
    let in_cash = !draft.get::<Order>(order).placed()?.terms.payment.is_escrow();
    draft.execute::<Order>(order, command)?;
    if in_cash {
        return Ok(());
    }
    let status = draft.get::<Escrow>(order).opened()?.status();
    if status == escrow::Status::Funded { Ok(()) } else { Err(escrow::Error::WrongStatus { status }.into()) }
}

fn deliver(draft: &mut Draft<'_>, order: OrderId, (role, by): (Role, AccountId)) -> Result<(), Refusal> {
    let by = match role {
        Role::Buyer => Witness::Buyer,
        Role::Seller => Witness::Seller,
        Role::Staff => Witness::Staff(by),
    };
    let now = draft.now();
    draft.execute::<Order>(order, order::Command::Deliver { by, now })?;
    if !draft.get::<Order>(order).placed()?.terms.payment.is_escrow() {
        return Ok(());
    }
    draft.execute::<Escrow>(order, escrow::Command::Inspect { now }).map(drop)
}

fn confirm(draft: &mut Draft<'_>, order: OrderId, by: AccountId) -> Result<(), Refusal> {
    if as_party(draft, order, by, Role::Buyer)?.stage != Stage::Delivered {
        deliver(draft, order, (Role::Buyer, by))?;
    }
    let command = escrow::Command::Release { cause: ReleaseCause::Confirmed, now: draft.now() };
    let events = draft.execute::<Escrow>(order, command)?;
    settle(draft, order, &events)?;
    let now = draft.now();
    draft.execute::<Order>(order, order::Command::Complete { now }).map(drop)
}

fn dispute(draft: &mut Draft<'_>, order: OrderId, role: Role) -> Result<(), Refusal> {
    let by = match role {
        Role::Buyer => Disputant::Buyer,
        Role::Seller => Disputant::Seller,
        Role::Staff => return Err(order::Error::WrongParty { needed: Role::Buyer }.into()),
    };
    let command = escrow::Command::Dispute { by, reason: REASON.to_owned(), now: draft.now() };
    draft.execute::<Escrow>(order, command).map(drop)
}

fn refund(
    draft: &mut Draft<'_>,
    order: OrderId,
    (role, by): (Role, AccountId),
    amount: Option<Money>,
    refund: RefundId,
) -> Result<(), Refusal> {
    let cause = match role {
        Role::Buyer => return Err(order::Error::WrongParty { needed: Role::Seller }.into()),
        Role::Seller => RefundCause::Seller,
        Role::Staff => RefundCause::Staff(by),
    };
    let escrow = draft.get::<Escrow>(order).opened()?.clone();
    let unsent = draft.get::<Order>(order).placed()?.stage == Stage::Paid;
    if matches!(escrow.phase, Phase::Released { .. }) {
        let seller_available = available(draft, escrow.terms.seller, escrow.terms.amount.currency());
        let command = escrow::Command::RefundReleased { refund, amount, seller_available, cause };
        let events = draft.execute::<Escrow>(order, command)?;
        settle(draft, order, &events)?;
    } else {
        give_back(draft, order, refund, amount, cause)?;
    }
    if draft.get::<Escrow>(order).opened()?.remaining().is_positive() {
        return Ok(());
    }
    let now = draft.now();
    draft.execute::<Order>(order, order::Command::Refund { now })?;
    if unsent { put_back(draft, order) } else { Ok(()) }
}

fn give_back(
    draft: &mut Draft<'_>,
    order: OrderId,
    refund: RefundId,
    amount: Option<Money>,
    cause: RefundCause,
) -> Result<(), Refusal> {
    let now = draft.now();
    let events = draft.execute::<Escrow>(order, escrow::Command::Refund { refund, amount, cause, now })?;
    settle(draft, order, &events)
}

/// The wallets follow their escrow.
fn settle(draft: &mut Draft<'_>, order: OrderId, events: &[escrow::Event]) -> Result<(), Refusal> {
    let escrow = draft.get::<Escrow>(order).opened()?.clone();
    let escrow::Terms { buyer, seller, amount, .. } = escrow.terms;
    let sellers = WalletId::of(seller, amount.currency());
    for event in events {
        match *event {
            escrow::Event::EscrowReleased { kept, fee, .. } => {
                let amount = kept.minus(fee)?;
                if amount.is_positive() {
                    draft.execute::<Wallet>(sellers, wallet::Command::ReceiveSale { owner: seller, order, amount })?;
                }
                let (currency, points) = (kept.currency(), escrow.points_earned());
                draft.execute::<Points>(buyer, points::Command::Earn { order, currency, points })?;
            }
            escrow::Event::EscrowPartlyRefunded { refund, amount, from_points, .. }
            | escrow::Event::EscrowRefunded { refund, amount, from_points, .. } => {
                back_to_buyer(draft, order, refund, amount, from_points)?;
            }
            escrow::Event::ReleaseRefunded { refund, amount, from_available, owed, from_points, .. } => {
                let give = wallet::Command::GiveRefund { owner: seller, order, refund, amount: from_available, owed };
                draft.execute::<Wallet>(sellers, give)?;
                back_to_buyer(draft, order, refund, amount, from_points)?;
                let (currency, points) = (amount.currency(), escrow.points_lost_with(amount, from_points));
                draft.execute::<Points>(buyer, points::Command::TakeBack { order, refund, currency, points })?;
            }
            // Nothing that a client of a load can ask for leads to another event that moves money to a wallet.
            _ => {}
        }
    }
    Ok(())
}

/// Money goes back as money, and what points have paid as points, as far as they are whole.
fn back_to_buyer(
    draft: &mut Draft<'_>,
    order: OrderId,
    refund: RefundId,
    whole: Money,
    from_points: Option<Money>,
) -> Result<(), Refusal> {
    let escrow = draft.get::<Escrow>(order).opened()?.clone();
    let (owner, currency) = (escrow.terms.buyer, whole.currency());
    let amount = from_points.map_or(Ok(whole), |from_points| whole.minus(from_points))?;
    if amount.is_positive() {
        let receive = wallet::Command::ReceiveRefund { owner, order, refund, amount };
        draft.execute::<Wallet>(WalletId::of(owner, currency), receive)?;
    }
    let points = escrow.points_back_with(from_points);
    draft.execute::<Points>(owner, points::Command::GiveBack { order, refund, currency, points }).map(drop)
}
