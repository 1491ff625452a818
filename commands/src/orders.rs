//! Use cases of orders: from a cart to a delivery. Listings, stock, orders, escrows and wallets move in one commit.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::account::{self, Account, Capability};
use domain::auction::{self, Auction};
use domain::escrow::{self, Escrow, RefundCause, Source};
use domain::fees::{self, FeeLine};
use domain::listing::{Delivery, Listing};
use domain::order::{CancelCause, Command, Error, Line, Order, Origin, Payment, Placed, Role, Stage, Terms, Witness};
use domain::order_group::{self, OrderGroup};
use domain::points::{self, Points, Redeemed};
use domain::stock::{self, Pieces, Sku, Stock};
use domain::wallet::{self, Wallet};
use domain::{AccountId, AuctionId, ListingId, Money, OrderGroupId, OrderId, RefundId, Sealed, WalletId};

use crate::accounts;
use crate::commissions::{self, CommissionRules};
use crate::engine::{Halt, World};
use crate::escrows;
use crate::guests;
use crate::sellers;
use crate::stores;
use crate::wallets;

/// Pieces are kept so long for a checkout that is not paid.
pub const CHECKOUT_PAID_WITHIN: TimeDelta = TimeDelta::minutes(15);
/// Whoever wins an auction has so long to pay.
pub const WIN_PAID_WITHIN: TimeDelta = TimeDelta::hours(24);

/// What a deployment decides about sales. Frozen into every order when it is placed.
#[derive(Clone, Copy, Debug)]
pub struct SaleRules {
    /// The marketplace's share of a line, in basis points, where its category, its seller's plan and its seller have no
    /// other.
    pub fee_bps: u32,
    /// How many bonus points a buyer earns per whole major unit that is paid with money.
    pub points_per_unit: u32,
    /// What a bonus point pays, in minor units.
    pub point_worth_minor: u32,
    /// What affiliates earn.
    pub commission: CommissionRules,
    /// How long a buyer may inspect what was shipped, in seconds.
    pub inspection_physical_s: u32,
    /// How long a buyer may inspect what is digital, in seconds.
    pub inspection_digital_s: u32,
}

impl SaleRules {
    fn inspection_s(&self, delivery: Delivery) -> u32 {
        match delivery {
            Delivery::Physical => self.inspection_physical_s,
            Delivery::Digital => self.inspection_digital_s,
        }
    }
}

/// A number of pieces that somebody wants.
#[derive(Clone, Debug)]
pub struct CartLine {
    /// Of which listing.
    pub listing: ListingId,
    /// In which form.
    pub sku: Sku,
    /// How many.
    pub quantity: u32,
}

/// A cart that is to be bought, with the ids minted for what comes of it.
#[derive(Clone, Debug)]
pub struct Checkout {
    /// Who buys.
    pub buyer: AccountId,
    /// What.
    pub lines: Vec<CartLine>,
    /// Where to send it, as JSON.
    pub ship_to: Option<Sealed<String>>,
    /// How many of the buyer's bonus points pay for a part of it.
    pub points: u64,
    /// The id of the group.
    pub group: OrderGroupId,
    /// Ids for the orders, at least one per line: there cannot be more sellers.
    pub orders: Vec<OrderId>,
}

/// Buys a cart: one order per seller, all of them or none, to be paid together within 15 minutes. Lines of the same
/// form of the same listing are one. What points pay for wholly is paid with the order.
pub fn checkout(world: &mut World<'_>, cart: &Checkout, rules: SaleRules) -> Result<Vec<OrderId>, Halt> {
    accounts::require(world, cart.buyer, Capability::Buy)?;
    let pay_by = world.now() + CHECKOUT_PAID_WITHIN;
    let mut baskets = BTreeMap::<AccountId, Basket>::new();
    for ((listing, sku), quantity) in summed(&cart.lines)? {
        let offer = world.get::<Listing>(listing)?.offered_to(cart.buyer)?.clone();
        stores::require_offering(world, offer.seller)?;
        let unit_price = offer.price_at(&sku, world.now())?;
        let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency())).times(quantity)?;
        let fee_bps = sellers::fee_bps(world, offer.seller, &offer.category, rules.fee_bps)?;
        let title = offer.title;
        let basket = baskets.entry(offer.seller).or_default();
        basket.has_physical |= offer.delivery.is_physical();
        basket.lines.push(Line { listing, sku, title, quantity, unit_price, shipping, fee_bps });
    }
    check_currency(baskets.values().flat_map(|basket| &basket.lines))?;
    let amounts = baskets.values().map(Basket::gross).collect::<Result<Vec<_>, _>>()?;
    let redeemed = points::redeemed_for(cart.points, rules.point_worth_minor, &amounts)?;
    let mut placed = Vec::new();
    for (((seller, basket), &order), redeemed) in baskets.into_iter().zip(&cart.orders).zip(redeemed) {
        let terms = Terms {
            group: cart.group,
            buyer: cart.buyer,
            seller,
            origin: Origin::Checkout,
            delivery: if basket.has_physical { Delivery::Physical } else { Delivery::Digital },
            ship_to: cart.ship_to.clone().filter(|_| basket.has_physical),
            payment: Payment::Escrow,
            guest: None,
            lines: basket.lines,
        };
        for (listing, pieces) in pieces(&terms.lines) {
            world.execute::<Stock>(listing, stock::Command::Reserve { listing, order, pieces, until: pay_by })?;
        }
        if let Some(Redeemed { points, worth }) = redeemed {
            let redeem = points::Command::Redeem { order, currency: worth.currency(), points };
            world.execute::<Points>(cart.buyer, redeem)?;
        }
        place(world, order, terms, redeemed, rules)?;
        placed.push(order);
    }
    if placed.is_empty() {
        return Err(Error::LinesOutOfRange { maximum: domain::order::MOST_LINES, offered: 0 }.into());
    }
    place_group(world, cart.group, cart.buyer, placed.clone(), pay_by)?;
    // What points have paid for wholly has no money to wait for.
    if !amount_due(world, cart.group)?.is_positive() {
        pay_group(world, cart.group, None, &Source::Wallet)?;
    }
    Ok(placed)
}

/// What one seller sends.
#[derive(Debug, Default)]
struct Basket {
    lines: Vec<Line>,
    has_physical: bool,
}

impl Basket {
    fn gross(&self) -> Result<Money, Halt> {
        let mut lines = self.lines.iter().map(Line::gross);
        // There is no basket without a line.
        let first = lines.next().ok_or(Error::NotFound)??;
        Ok(lines.try_fold(first, |sum, line| sum.plus(line?))?)
    }
}

pub(crate) fn summed(lines: &[CartLine]) -> Result<BTreeMap<(ListingId, Sku), u32>, Error> {
    let mut sums = BTreeMap::<_, u32>::new();
    for CartLine { listing, sku, quantity } in lines {
        let sum = sums.entry((*listing, sku.clone())).or_default();
        *sum = sum.saturating_add(*quantity);
        if *quantity == 0 {
            return Err(Error::QuantityOutOfRange { maximum: domain::order::MOST_QUANTITY, offered: 0 });
        }
    }
    Ok(sums)
}

pub(crate) fn check_currency<'a>(mut lines: impl Iterator<Item = &'a Line>) -> Result<(), Error> {
    let Some(first) = lines.next().map(|line| line.unit_price.currency()) else { return Ok(()) };
    let other = lines.map(|line| line.unit_price.currency()).find(|other| *other != first);
    other.map_or(Ok(()), |other| Err(Error::SeveralCurrencies { first, other }))
}

/// How many pieces of each listing an order is about.
pub(crate) fn pieces(lines: &[Line]) -> BTreeMap<ListingId, Pieces> {
    let mut pieces = BTreeMap::<ListingId, Pieces>::new();
    for line in lines {
        pieces.entry(line.listing).or_default().insert(line.sku.clone(), line.quantity);
    }
    pieces
}

pub(crate) fn place(
    world: &mut World<'_>,
    order: OrderId,
    terms: Terms,
    redeemed: Option<Redeemed>,
    rules: SaleRules,
) -> Result<(), Halt> {
    let Terms { buyer, seller, delivery, .. } = terms;
    let lines = terms.lines.iter().map(Line::fee_line).collect::<Result<Vec<FeeLine>, _>>()?;
    let currency = terms.lines.first().map(|line| line.unit_price.currency());
    world.fresh::<Order>(order);
    world.fresh::<Escrow>(order);
    world.execute::<Order>(order, Command::Place { terms })?;
    // An order without a line has been refused by now.
    let Some(currency) = currency else { return Err(Error::NotFound.into()) };
    let amount = fees::gross(&lines, currency)?;
    let inspection_s = rules.inspection_s(delivery);
    let points_per_unit = rules.points_per_unit;
    let commission = commissions::promise(world, buyer, seller, rules.commission)?;
    let terms =
        escrow::Terms { order, buyer, seller, lines, amount, inspection_s, points_per_unit, redeemed, commission };
    world.execute::<Escrow>(order, escrow::Command::Open { terms })?;
    Ok(())
}

pub(crate) fn place_group(
    world: &mut World<'_>,
    group: OrderGroupId,
    buyer: AccountId,
    orders: Vec<OrderId>,
    pay_by: domain::Timestamp,
) -> Result<(), Halt> {
    world.fresh::<OrderGroup>(group);
    world.execute::<OrderGroup>(group, order_group::Command::Place { buyer, orders, pay_by })?;
    Ok(())
}

/// The ids minted for the order that an auction may lead to.
#[derive(Clone, Copy, Debug)]
pub struct WinIds {
    /// Of the group, which has this one order.
    pub group: OrderGroupId,
    /// Of the order.
    pub order: OrderId,
}

/// What somebody has won, to be paid within 24 hours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Win {
    pub(crate) auction: AuctionId,
    pub(crate) buyer: AccountId,
    pub(crate) price: Money,
    pub(crate) origin: Origin,
}

/// Places the order of somebody who has won.
pub(crate) fn place_won(world: &mut World<'_>, ids: WinIds, win: Win, rules: SaleRules) -> Result<(), Halt> {
    let listing = ListingId::from(win.auction);
    let offer = world.get::<Listing>(listing)?.offer()?.clone();
    let unit_price = win.price;
    let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency()));
    let fee_bps = sellers::fee_bps(world, offer.seller, &offer.category, rules.fee_bps)?;
    let (sku, title) = (Sku::default(), offer.title);
    let terms = Terms {
        group: ids.group,
        buyer: win.buyer,
        seller: offer.seller,
        origin: win.origin,
        lines: vec![Line { listing, sku, title, quantity: 1, unit_price, shipping, fee_bps }],
        delivery: offer.delivery,
        ship_to: None,
        payment: Payment::Escrow,
        guest: None,
    };
    place(world, ids.order, terms, None, rules)?;
    let pay_by = world.now() + WIN_PAID_WITHIN;
    place_group(world, ids.group, win.buyer, vec![ids.order], pay_by)
}

/// The order, if `account` is its buyer.
pub fn bought_by(world: &mut World<'_>, order: OrderId, account: AccountId) -> Result<Placed, Halt> {
    as_party(world, order, account, Role::Buyer)
}

/// The order, if `account` is its seller.
pub fn sold_by(world: &mut World<'_>, order: OrderId, account: AccountId) -> Result<Placed, Halt> {
    as_party(world, order, account, Role::Seller)
}

fn as_party(world: &mut World<'_>, order: OrderId, account: AccountId, needed: Role) -> Result<Placed, Halt> {
    if role_in(world, order, account)? != needed {
        return Err(Error::WrongParty { needed }.into());
    }
    Ok(world.get::<Order>(order)?.placed()?.clone())
}

/// What `account` is to the order. To anybody else it is not there.
pub fn role_in(world: &mut World<'_>, order: OrderId, account: AccountId) -> Result<Role, Halt> {
    let Terms { buyer, seller, .. } = world.get::<Order>(order)?.placed()?.terms;
    if account == buyer {
        Ok(Role::Buyer)
    } else if account == seller {
        Ok(Role::Seller)
    } else {
        accounts::require(world, account, Capability::Staff).map_err(|halt| halt.hidden_as(Error::NotFound))?;
        Ok(Role::Staff)
    }
}

/// What of a group still waits to be paid with money, order by order.
pub fn outstanding(world: &mut World<'_>, group: OrderGroupId) -> Result<Vec<(OrderId, Money)>, Halt> {
    let orders = world.get::<OrderGroup>(group)?.placed()?.orders.clone();
    let mut outstanding = Vec::new();
    for order in orders {
        if world.get::<Order>(order)?.placed()?.stage == Stage::Placed {
            outstanding.push((order, world.get::<Escrow>(order)?.opened()?.terms.due()));
        }
    }
    Ok(outstanding)
}

fn total(outstanding: &[(OrderId, Money)]) -> Result<Option<Money>, Halt> {
    let mut amounts = outstanding.iter().map(|(_, amount)| *amount);
    let Some(first) = amounts.next() else { return Ok(None) };
    Ok(Some(amounts.try_fold(first, Money::plus)?))
}

/// What a group costs that waits to be paid.
pub fn amount_due(world: &mut World<'_>, group: OrderGroupId) -> Result<Money, Halt> {
    let outstanding = outstanding(world, group)?;
    match (total(&outstanding)?, world.get::<OrderGroup>(group)?) {
        (Some(total), _) => Ok(total),
        (None, OrderGroup::Paid(_)) => Err(order_group::Error::AlreadyPaid.into()),
        (None, OrderGroup::Expired(placed)) => Err(order_group::Error::PaymentOverdue { pay_by: placed.pay_by }.into()),
        (None, OrderGroup::Unplaced | OrderGroup::AwaitingPayment(_)) => {
            Err(Error::WrongStage { status: Stage::Cancelled, needed: Stage::Placed }.into())
        }
    }
}

/// Pays a group from the buyer's wallet: every order of it that still waits.
pub fn pay(world: &mut World<'_>, order: OrderId, buyer: AccountId) -> Result<(), Halt> {
    let Placed { terms, .. } = bought_by(world, order, buyer)?;
    pay_group(world, terms.group, Some(order), &Source::Wallet)
}

/// Pays every order of a group that still waits; `wanted` must be among them.
pub(crate) fn pay_group(
    world: &mut World<'_>,
    group: OrderGroupId,
    wanted: Option<OrderId>,
    source: &Source,
) -> Result<(), Halt> {
    let now = world.now();
    let outstanding = outstanding(world, group)?;
    world.execute::<OrderGroup>(group, order_group::Command::Pay { now })?;
    if let Some(wanted) = wanted
        && !outstanding.iter().any(|(order, _)| *order == wanted)
    {
        let status = world.get::<Order>(wanted)?.placed()?.stage;
        return Err(Error::WrongStage { status, needed: Stage::Placed }.into());
    }
    let buyer = world.get::<OrderGroup>(group)?.placed()?.buyer;
    let from_wallet = *source == Source::Wallet;
    if let Some(requested) = total(&outstanding)?.filter(|_| from_wallet) {
        let available = wallets::available(world, buyer, requested.currency())?;
        if available.minor() < requested.minor() {
            return Err(wallet::Error::InsufficientFunds { available, requested }.into());
        }
    }
    for (order, amount) in outstanding {
        // Points may have paid for all of it.
        let source = if amount.is_positive() { source.clone() } else { Source::Wallet };
        if amount.is_positive() && from_wallet {
            world.execute::<Wallet>(WalletId::of(buyer, amount.currency()), wallet::Command::Pay { order, amount })?;
        }
        world.execute::<Escrow>(order, escrow::Command::Fund { source, now })?;
        commissions::accrue(world, order)?;
        world.execute::<Order>(order, Command::Pay {})?;
        for listing in reserved_listings(world, order)? {
            world.execute::<Stock>(listing, stock::Command::Take { order })?;
        }
    }
    Ok(())
}

/// The group of an order that can still be paid, and what it costs.
pub fn payable(world: &mut World<'_>, order: OrderId, buyer: AccountId) -> Result<(OrderGroupId, Money), Halt> {
    let Placed { terms, stage: status, .. } = bought_by(world, order, buyer)?;
    let amount = amount_due(world, terms.group)?;
    let pay_by = world.get::<OrderGroup>(terms.group)?.placed()?.pay_by;
    if world.now() >= pay_by {
        return Err(order_group::Error::PaymentOverdue { pay_by }.into());
    }
    if status != Stage::Placed {
        return Err(Error::WrongStage { status, needed: Stage::Placed }.into());
    }
    Ok((terms.group, amount))
}

/// What of a group money from outside can still pay, order by order: nothing of one that is paid or overdue.
pub(crate) fn waiting(world: &mut World<'_>, group: OrderGroupId) -> Result<Vec<(OrderId, Money)>, Halt> {
    let now = world.now();
    let waits = match world.get::<OrderGroup>(group)? {
        OrderGroup::AwaitingPayment(placed) => now < placed.pay_by,
        OrderGroup::Unplaced | OrderGroup::Paid(_) | OrderGroup::Expired(_) => false,
    };
    if waits { outstanding(world, group) } else { Ok(Vec::new()) }
}

pub(crate) fn reserved_listings(world: &mut World<'_>, order: OrderId) -> Result<Vec<ListingId>, Halt> {
    let Placed { terms, .. } = world.get::<Order>(order)?.placed()?;
    Ok(match terms.origin.auction() {
        None => pieces(&terms.lines).into_keys().collect(),
        // The one piece of an auction is not counted.
        Some(_) => vec![],
    })
}

/// Gives a group up that was not paid in time: its pieces are free again, and who had won something has a violation.
pub fn expire(world: &mut World<'_>, group: OrderGroupId) -> Result<(), Halt> {
    let now = world.now();
    let outstanding = outstanding(world, group)?;
    let expired = world.execute::<OrderGroup>(group, order_group::Command::Expire { now })?;
    if expired.is_empty() {
        return Ok(());
    }
    for (order, _) in outstanding {
        let Placed { terms, .. } = world.get::<Order>(order)?.placed()?.clone();
        call_off_unpaid(world, order, CancelCause::NotPaid)?;
        if terms.origin.is_binding() {
            world.execute::<Account>(terms.buyer, account::Command::RecordViolation { order })?;
        }
    }
    Ok(())
}

fn call_off_unpaid(world: &mut World<'_>, order: OrderId, cause: CancelCause) -> Result<(), Halt> {
    let Terms { buyer, origin, .. } = world.get::<Order>(order)?.placed()?.terms;
    // A seller who calls a win off has nothing to offer again; a second chance leaves the way free however it ends.
    let forfeits = cause == CancelCause::NotPaid || !origin.is_binding();
    let now = world.now();
    world.execute::<Order>(order, Command::Cancel { cause, now })?;
    let voided = world.execute::<Escrow>(order, escrow::Command::Void {})?;
    let redeemed = world.get::<Escrow>(order)?.opened()?.terms.redeemed;
    if let (false, Some(Redeemed { points, worth })) = (voided.is_empty(), redeemed) {
        let refund = RefundId(order.0);
        let back = points::Command::GiveBack { order, refund, currency: worth.currency(), points };
        world.execute::<Points>(buyer, back)?;
    }
    if let Some(auction) = origin.auction().filter(|_| forfeits) {
        world.execute::<Auction>(auction, auction::Command::Forfeit { buyer, order })?;
    }
    for listing in reserved_listings(world, order)? {
        world.execute::<Stock>(listing, stock::Command::Release { order })?;
    }
    Ok(())
}

/// Calls an order off before it is shipped, as its buyer, its seller or staff. What was paid goes back. The other orders
/// of an unpaid checkout go on waiting, even if points have paid for all of them: nobody buys by calling something off.
pub fn cancel(
    world: &mut World<'_>,
    order: OrderId,
    by: AccountId,
    reason: &str,
    refund: RefundId,
) -> Result<(), Halt> {
    let reason = reason.to_owned();
    let cause = match role_in(world, order, by)? {
        Role::Buyer => CancelCause::Buyer { reason },
        Role::Seller => CancelCause::Seller { reason },
        Role::Staff => CancelCause::Staff { by, reason },
    };
    let Placed { terms, stage, .. } = world.get::<Order>(order)?.placed()?;
    match (terms.payment.is_escrow(), *stage) {
        (false, _) => guests::call_off(world, order, cause),
        (true, Stage::Placed) => call_off_unpaid(world, order, cause),
        (true, _) => call_off_paid(world, order, cause, RefundCause::Cancelled, refund),
    }
}

/// Calls an order off that was paid and not shipped. What it had taken is for sale again.
fn call_off_paid(
    world: &mut World<'_>,
    order: OrderId,
    cause: CancelCause,
    refund_cause: RefundCause,
    refund: RefundId,
) -> Result<(), Halt> {
    let now = world.now();
    let cancelled = world.execute::<Order>(order, Command::Cancel { cause, now })?;
    if cancelled.is_empty() {
        return Ok(());
    }
    escrows::refund_held(world, order, refund, None, refund_cause)?;
    put_back(world, order)
}

/// Puts the pieces of an order that were never sent back into stock. A second chance that has come to nothing leaves the
/// way free for the next.
pub(crate) fn put_back(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let Placed { terms, .. } = world.get::<Order>(order)?.placed()?.clone();
    if let (Some(auction), false) = (terms.origin.auction(), terms.origin.is_binding()) {
        let buyer = terms.buyer;
        world.execute::<Auction>(auction, auction::Command::Forfeit { buyer, order })?;
    }
    for listing in reserved_listings(world, order)? {
        let pieces = pieces(&terms.lines).remove(&listing).unwrap_or_default();
        world.execute::<Stock>(listing, stock::Command::Return { order, pieces })?;
    }
    Ok(())
}

/// Gives an order up that was not shipped in time, and its money back.
pub fn refund_unshipped(world: &mut World<'_>, order: OrderId, refund: RefundId) -> Result<(), Halt> {
    match world.get::<Order>(order)?.placed()?.stage {
        Stage::Paid => call_off_paid(world, order, CancelCause::NotShipped, RefundCause::NotShipped, refund),
        Stage::Confirmed => guests::lapse(world, order),
        _ => Ok(()),
    }
}

/// Notes that an order is on its way, as its seller.
pub fn ship(
    world: &mut World<'_>,
    order: OrderId,
    seller: AccountId,
    carrier: &str,
    tracking: Option<&str>,
) -> Result<(), Halt> {
    let in_cash = !sold_by(world, order, seller)?.terms.payment.is_escrow();
    let now = world.now();
    let (carrier, tracking) = (carrier.to_owned(), tracking.map(str::to_owned));
    world.execute::<Order>(order, Command::Ship { carrier, tracking, now })?;
    // What is disputed is not sent before the dispute is resolved.
    if in_cash { Ok(()) } else { escrows::require_funded(world, order) }
}

/// Notes that an order has arrived: its buyer or staff may say so, its seller of digital goods alone. The inspection
/// begins.
pub fn deliver(world: &mut World<'_>, order: OrderId, by: AccountId) -> Result<(), Halt> {
    let by = match role_in(world, order, by)? {
        Role::Buyer => Witness::Buyer,
        Role::Seller => Witness::Seller,
        Role::Staff => Witness::Staff(by),
    };
    let now = world.now();
    world.execute::<Order>(order, Command::Deliver { by, now })?;
    if !world.get::<Order>(order)?.placed()?.terms.payment.is_escrow() {
        return Ok(());
    }
    world.execute::<Escrow>(order, escrow::Command::Inspect { now })?;
    Ok(())
}

/// Asks the buyer whether an order has arrived of which nobody has said so.
pub fn ask_for_delivery(world: &mut World<'_>, order: OrderId) -> Result<(), Halt> {
    let now = world.now();
    world.execute::<Order>(order, Command::AskForDelivery { now })?;
    Ok(())
}
