//! Orders in random histories, carried out as the write side does it: everything that one use case does, or nothing.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::account;
use domain::auction::{self, Auction, Outcome, Sale};
use domain::escrow::{self, Disputant, Escrow, Phase, RefundCause, ReleaseCause};
use domain::fees;
use domain::listing::Delivery;
use domain::order::{
    self, CancelCause, Confirmation, Deadlines, Guest, Line, Order, Origin, Payment, Placed, Stage, Terms, Witness,
};
use domain::order_group::{self, OrderGroup};
use domain::points::{self, Redeemed};
use domain::stock::{self, Pieces, Sku};
use domain::wallet::{self, Wallet};
use domain::{AccountId, AuctionId, DepositId, ListingId, Money, OrderGroupId, OrderId, RefundId, WalletId};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::{History, Unit, happened, method};

const FEE_BPS: u32 = 250;
const CHECKOUT_PAID_WITHIN: TimeDelta = TimeDelta::minutes(15);
const WIN_PAID_WITHIN: TimeDelta = TimeDelta::hours(24);

impl History {
    /// One more command about an order.
    pub(super) fn trade(&mut self) {
        match self.random.random_range(0..12) {
            10 => self.attempt(Self::order_as_guest),
            11 => self.attempt(Self::go_on_with_guest),
            0..3 => self.attempt(Self::check_out),
            3..6 => self.attempt(Self::pay_or_expire),
            _ => {
                if let Some(order) = self.any_order() {
                    self.attempt(|history| history.go_on_with(order));
                }
            }
        }
    }

    /// A while, in which mostly nothing is due. Now and then weeks pass, after which much is.
    pub(super) fn wait(&mut self) {
        if self.random.random_bool(0.92) {
            self.now += TimeDelta::seconds(self.random.random_range(1..900));
            return;
        }
        self.now += TimeDelta::days(self.random.random_range(4..100));
        for _ in 0..20 {
            if let Some(order) = self.any_order() {
                self.attempt(|history| history.mind_deadlines(order));
            }
            self.attempt(Self::go_on_with_guest);
        }
    }

    /// Commits all of `work`, or nothing if any of it is refused.
    pub(super) fn attempt(&mut self, work: impl FnOnce(&mut Self) -> Option<()>) {
        let (accounts, wallets, stocks) = (self.accounts.clone(), self.wallets.clone(), self.stocks.clone());
        let (orders, groups, escrows) = (self.orders.clone(), self.groups.clone(), self.escrows.clone());
        let (auctions, points, commissions) = (self.auctions.clone(), self.points.clone(), self.commissions.clone());
        if work(self).is_none() {
            self.unit = Unit::default();
            (self.accounts, self.wallets, self.stocks) = (accounts, wallets, stocks);
            (self.orders, self.groups, self.escrows) = (orders, groups, escrows);
            (self.auctions, self.points, self.commissions) = (auctions, points, commissions);
        }
        self.commit();
    }

    fn check_out(&mut self) -> Option<()> {
        let buyer = self.anybody();
        let mut cart = BTreeMap::<(ListingId, Sku), u32>::new();
        let currency = self.amount().currency();
        let on_offer: Vec<(ListingId, Sku)> = self
            .listings
            .0
            .iter()
            .filter_map(|(id, (listing, _))| Some((ListingId(*id), listing.offered_to(buyer).ok()?)))
            .filter(|(_, offer)| offer.sale.currency() == currency)
            .flat_map(|(listing, offer)| offer.sale.skus().into_iter().map(move |sku| (listing, sku)))
            .collect();
        for _ in 0..self.random.random_range(1..4) {
            *cart.entry(on_offer.choose(&mut self.random)?.clone()).or_default() += self.random.random_range(1..3);
        }
        let mut baskets = BTreeMap::<AccountId, (Vec<Line>, Delivery)>::new();
        for ((listing, sku), quantity) in cart {
            let offer = self.listings.state(listing).offered_to(buyer).ok()?.clone();
            let unit_price = offer.price_at(&sku, self.now).ok()?;
            let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency())).times(quantity).ok()?;
            let (lines, delivery) = baskets.entry(offer.seller).or_insert((Vec::new(), Delivery::Digital));
            if offer.delivery.is_physical() {
                *delivery = Delivery::Physical;
            }
            let (title, fee_bps) = (offer.title, FEE_BPS);
            lines.push(Line { listing, sku, title, quantity, unit_price, shipping, fee_bps });
        }
        let (group, pay_by) = (OrderGroupId(self.id()), self.now + CHECKOUT_PAID_WITHIN);
        let address = self.text();
        let ship_to = self.people[&buyer.0].seal(address);
        let mut placed = Vec::new();
        for (seller, (lines, delivery)) in baskets {
            let order = OrderId(self.id());
            for (listing, pieces) in pieces(&lines) {
                self.stock(listing, stock::Command::Reserve { listing, order, pieces, until: pay_by })?;
            }
            let ship_to = delivery.is_physical().then(|| ship_to.clone());
            let (origin, payment) = (Origin::Checkout, Payment::Escrow);
            let terms = Terms { group, buyer, seller, origin, lines, delivery, ship_to, payment, guest: None };
            let redeemed = self.redeem(order, &terms);
            self.place(order, terms, redeemed)?;
            placed.push(order);
        }
        self.group(group, order_group::Command::Place { buyer, orders: placed, pay_by })?;
        Some(())
    }

    /// The order of somebody who has won, in the commit of the auction's end.
    pub(super) fn place_won(&mut self, auction: AuctionId, outcome: Outcome) {
        let (buyer, unit_price, origin) = match outcome {
            Outcome::Won { winner, price } => (winner, price, Origin::AuctionWon(auction)),
            Outcome::BoughtNow { winner, price } => (winner, price, Origin::BoughtNow(auction)),
            Outcome::Unsold { .. } => return,
        };
        let order = OrderId(self.id());
        self.place_sold(auction, order, (buyer, unit_price, origin));
    }

    /// Offers an auction's item again, or lets somebody take what is offered.
    pub(super) fn give_second_chance(&mut self) -> Option<()> {
        let sales = self.auctions.0.iter().filter_map(|(id, (auction, _))| match auction {
            Auction::Closed { sale: Sale::Stands | Sale::Taken { .. }, .. }
            | Auction::Unscheduled
            | Auction::Live(_)
            | Auction::Cancelled { .. } => None,
            Auction::Closed { underbidders, sale, .. } => Some((AuctionId(*id), underbidders.clone(), *sale)),
        });
        let sales: Vec<_> = sales.collect();
        let (auction, underbidders, sale) = sales.choose(&mut self.random)?.clone();
        let now = self.now;
        match sale {
            Sale::Offered { to, until } if now < until => {
                let (bidder, order) = (to.bidder, OrderId(self.id()));
                self.auction(auction, auction::Command::AcceptSecondChance { bidder, order, now })?;
                self.place_sold(auction, order, (bidder, to.maximum, Origin::SecondChance(auction)));
            }
            Sale::Stands | Sale::Forfeited | Sale::Offered { .. } | Sale::Taken { .. } => {
                let (bidder, until) = (Some(underbidders.first()?.bidder), now + WIN_PAID_WITHIN);
                self.auction(auction, auction::Command::OfferSecondChance { bidder, until, now })?;
            }
        }
        Some(())
    }

    fn place_sold(
        &mut self,
        auction: AuctionId,
        order: OrderId,
        (buyer, unit_price, origin): (AccountId, Money, Origin),
    ) {
        let listing = ListingId::from(auction);
        let offer = self.listings.state(listing).offer().unwrap().clone();
        let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency()));
        let (sku, title, fee_bps) = (Sku::default(), offer.title, FEE_BPS);
        let lines = vec![Line { listing, sku, title, quantity: 1, unit_price, shipping, fee_bps }];
        let group = OrderGroupId(self.id());
        let (seller, delivery) = (offer.seller, offer.delivery);
        let terms = Terms {
            group,
            buyer,
            seller,
            origin,
            lines,
            delivery,
            ship_to: None,
            payment: Payment::Escrow,
            guest: None,
        };
        self.place(order, terms, None).unwrap();
        let pay_by = self.now + WIN_PAID_WITHIN;
        self.group(group, order_group::Command::Place { buyer, orders: vec![order], pay_by }).unwrap();
    }

    /// Somebody without an account orders something at a store, and pays when it is brought.
    fn order_as_guest(&mut self) -> Option<()> {
        let guest = AccountId(self.id());
        let on_offer = self.listings.0.iter().filter_map(|(id, (listing, _))| {
            let offer = listing.offered_to(guest).ok()?;
            let sku = offer.sale.skus().into_iter().next()?;
            offer.delivery.is_physical().then(|| (ListingId(*id), sku, offer.clone()))
        });
        let on_offer: Vec<_> = on_offer.collect();
        let (listing, sku, offer) = on_offer.choose(&mut self.random)?.clone();
        let unit_price = offer.price_of(&sku).ok()?;
        let shipping = offer.shipping.unwrap_or(Money::zero(unit_price.currency()));
        let (order, confirm_by) = (OrderId(self.id()), self.now + WIN_PAID_WITHIN);
        let ship_by = confirm_by + TimeDelta::days(14);
        let deadlines = Deadlines { confirm_by, ship_by, deliver_by: ship_by + TimeDelta::days(45) };
        let key = self.introduce(guest);
        let terms = Terms {
            group: OrderGroupId(order.0),
            buyer: guest,
            seller: offer.seller,
            origin: Origin::Storefront,
            lines: vec![Line { listing, sku, title: offer.title, quantity: 1, unit_price, shipping, fee_bps: 0 }],
            delivery: Delivery::Physical,
            ship_to: Some(key.seal(self.text())),
            payment: Payment::in_cash(deadlines),
            guest: Some(Guest { contact: key.seal(self.text()), confirmation: Confirmation::Whatsapp }),
        };
        for (listing, pieces) in pieces(&terms.lines) {
            self.stock(listing, stock::Command::Hold { listing, order, pieces, until: confirm_by })?;
        }
        self.order(order, order::Command::Place { terms }).map(drop)
    }

    /// Whatever may be done next with what a guest has ordered.
    fn go_on_with_guest(&mut self) -> Option<()> {
        let ordered = self.orders.0.iter().filter_map(|(id, (order, _))| match order {
            Order::Placed(placed) if !placed.terms.payment.is_escrow() && !placed.guest_forgotten => {
                Some((OrderId(*id), placed.clone()))
            }
            Order::Placed(_) | Order::Unplaced => None,
        });
        let ordered: Vec<_> = ordered.collect();
        let (order, Placed { terms, stage, .. }) = ordered.choose(&mut self.random)?.clone();
        let (now, reserved) = (self.now, self.reserved(order));
        if happened(self.order(order, order::Command::ForgetGuest { now })) {
            self.forget(terms.buyer);
            return Some(());
        }
        if happened(self.order(order, order::Command::Lapse { now })) {
            return match stage {
                Stage::Placed => {
                    for listing in reserved.into_keys() {
                        self.stock(listing, stock::Command::Release { order })?;
                    }
                    Some(())
                }
                Stage::Confirmed => self.put_back(order),
                _ => Some(()),
            };
        }
        match stage {
            Stage::Placed => {
                self.order(order, order::Command::Confirm { now })?;
                for listing in reserved.into_keys() {
                    self.stock(listing, stock::Command::Take { order })?;
                }
                Some(())
            }
            Stage::Confirmed if self.random.random_bool(0.2) => {
                let cause = CancelCause::Seller { reason: self.text().to_owned() };
                self.order(order, order::Command::Cancel { cause, now: self.now })?;
                self.put_back(order)
            }
            Stage::Confirmed => {
                let (carrier, tracking) = (self.text().to_owned(), None);
                self.order(order, order::Command::Ship { carrier, tracking, now }).map(drop)
            }
            Stage::Shipped => self.order(order, order::Command::Deliver { by: Witness::Seller, now }).map(drop),
            Stage::Paid | Stage::Delivered | Stage::Completed | Stage::Cancelled | Stage::Refunded => None,
        }
    }

    fn place(&mut self, order: OrderId, terms: Terms, redeemed: Option<Redeemed>) -> Option<()> {
        let Terms { buyer, seller, delivery, .. } = terms;
        let lines = terms.lines.iter().map(|line| line.fee_line().unwrap()).collect::<Vec<_>>();
        let amount = fees::gross(&lines, terms.lines.first()?.unit_price.currency()).ok()?;
        let inspection_s = if delivery.is_physical() { 14 * 86_400 } else { 2 * 86_400 };
        self.order(order, order::Command::Place { terms })?;
        let (points_per_unit, commission) = (1, self.promise(buyer));
        let terms =
            escrow::Terms { order, buyer, seller, lines, amount, inspection_s, points_per_unit, redeemed, commission };
        self.escrow(order, escrow::Command::Open { terms })?;
        Some(())
    }

    /// Now and then some points pay for a part, some cents each.
    fn redeem(&mut self, order: OrderId, terms: &Terms) -> Option<Redeemed> {
        let first = terms.lines.first()?.gross().ok()?;
        let currency = first.currency();
        let there = self.points.state(terms.buyer).counts.get(&currency).copied().unwrap_or(0);
        let worth_minor = self.random_of_points.random_range(1..=3);
        let most = there.min(first.minor() / i64::from(worth_minor));
        if most <= 0 || self.random_of_points.random_bool(0.3) {
            return None;
        }
        let points = self.random_of_points.random_range(1..=most).unsigned_abs();
        let redeemed = points::redeemed_for(points, worth_minor, &[first]).ok()?.into_iter().next()??;
        self.points_apart(terms.buyer, points::Command::Redeem { order, currency, points })?;
        Some(redeemed)
    }

    fn pay_or_expire(&mut self) -> Option<()> {
        let awaiting = self.groups.0.iter().filter_map(|(id, (group, _))| match group {
            OrderGroup::AwaitingPayment(placed) => Some((OrderGroupId(*id), placed.clone())),
            OrderGroup::Unplaced | OrderGroup::Paid(_) | OrderGroup::Expired(_) => None,
        });
        let awaiting: Vec<_> = awaiting.collect();
        let (group, placed) = awaiting.choose(&mut self.random)?.clone();
        if self.now < placed.pay_by { self.pay(group, &placed) } else { self.expire(group, &placed) }
    }

    fn pay(&mut self, group: OrderGroupId, placed: &order_group::Placed) -> Option<()> {
        let (now, buyer) = (self.now, placed.buyer);
        let outstanding = self.outstanding(placed);
        let amounts = outstanding.iter().map(|(_, amount)| *amount);
        if let Some(total) = amounts.reduce(|sum, amount| sum.plus(amount).unwrap())
            && self.random.random_bool(0.8)
        {
            // By a deposit that is made for it.
            let (wallet, deposit) = (WalletId::of(buyer, total.currency()), DepositId(self.id()));
            let (source, provider_reference) = (method(), format!("ref {deposit}"));
            self.wallet(wallet, wallet::Command::RequestDeposit { deposit, owner: buyer, amount: total, source })?;
            self.wallet(wallet, wallet::Command::SettleDeposit { deposit, provider_reference })?;
        }
        self.group(group, order_group::Command::Pay { now })?;
        for (order, amount) in outstanding {
            if amount.is_positive() {
                self.wallet(WalletId::of(buyer, amount.currency()), wallet::Command::Pay { order, amount })?;
            }
            for event in self.escrow(order, escrow::Command::Fund { source: escrow::Source::Wallet, now })? {
                self.settle_commission(order, &event)?;
            }
            self.order(order, order::Command::Pay {})?;
            for listing in self.reserved(order).into_keys() {
                self.stock(listing, stock::Command::Take { order })?;
                let is_off = self.listings.state(listing).on_offer_of().is_none();
                if is_off && self.stocks.state(listing).is_sold_out() {
                    self.stock(listing, stock::Command::PutAway {})?;
                }
            }
        }
        Some(())
    }

    fn expire(&mut self, group: OrderGroupId, placed: &order_group::Placed) -> Option<()> {
        let now = self.now;
        let outstanding = self.outstanding(placed);
        self.group(group, order_group::Command::Expire { now })?;
        for (order, _) in outstanding {
            self.call_off_unpaid(order, CancelCause::NotPaid)?;
            let Placed { terms, .. } = self.placed(order)?;
            if terms.origin.is_binding() {
                self.account(terms.buyer, account::Command::RecordViolation { order })?;
            }
        }
        Some(())
    }

    fn outstanding(&self, placed: &order_group::Placed) -> Vec<(OrderId, Money)> {
        let waits = |order: &OrderId| self.placed(*order).is_some_and(|placed| placed.stage == Stage::Placed);
        let amount = |order: OrderId| (order, self.opened(order).unwrap().terms.due());
        placed.orders.iter().copied().filter(waits).map(amount).collect()
    }

    /// Whatever may be done next with an order, wherever it is.
    fn go_on_with(&mut self, order: OrderId) -> Option<()> {
        let Placed { terms, stage, .. } = self.placed(order)?;
        let opened = self.opened(order)?;
        let (now, staff) = (self.now, self.anybody());
        match (opened.phase, stage) {
            (Phase::AwaitingPayment, _) if self.random.random_bool(0.08) => {
                let cause = self.cancel_cause(staff);
                self.call_off_unpaid(order, cause)
            }
            (Phase::Funded { .. }, Stage::Paid) => match self.random.random_range(0..10) {
                0 => {
                    let cause = self.cancel_cause(staff);
                    self.call_off_paid(order, cause, RefundCause::Cancelled)
                }
                1 => self.dispute(order),
                2 => self.refund(order, staff),
                _ if terms.delivery.is_physical() => {
                    let (carrier, tracking) = (self.text().to_owned(), Some("T 1".to_owned()));
                    self.order(order, order::Command::Ship { carrier, tracking, now }).map(drop)
                }
                _ => self.deliver(order, Witness::Seller),
            },
            (Phase::Funded { .. }, _) => match self.random.random_range(0..8) {
                0 => self.dispute(order),
                1 => self.refund(order, staff),
                2..4 => self.mind_deadlines(order),
                4 => self.deliver(order, Witness::Staff(staff)),
                _ => self.deliver(order, Witness::Buyer),
            },
            (Phase::Inspection { .. }, _) => match self.random.random_range(0..6) {
                0..2 => self.dispute(order),
                2 => self.refund(order, staff),
                3 => self.mind_deadlines(order),
                _ => self.release(order, ReleaseCause::Confirmed),
            },
            (Phase::Disputed { .. }, _) => match self.random.random_range(0..10) {
                0 => self.release(order, ReleaseCause::Resolved(staff)),
                1 => self.give_back_held(order, None, RefundCause::Resolved(staff)),
                2..8 => self.mind_deadlines(order),
                _ => {
                    let to_buyer = self.part(opened.remaining())?;
                    let events = self.escrow(order, escrow::Command::Split { to_buyer, by: staff })?;
                    self.settle(order, &events)?;
                    self.order(order, order::Command::Complete { now: self.now }).map(drop)
                }
            },
            (Phase::Released { .. }, _) if self.random.random_bool(0.5) => self.refund(order, staff),
            // What a card has paid has a history of its own.
            (
                Phase::AwaitingPayment
                | Phase::ChargedBack { .. }
                | Phase::Voided
                | Phase::Released { .. }
                | Phase::Refunded
                | Phase::Split,
                _,
            ) => None,
        }
    }

    /// What is done when time has passed.
    fn mind_deadlines(&mut self, order: OrderId) -> Option<()> {
        let Placed { stage, ask_at, dispute_at, .. } = self.placed(order)?;
        let now = self.now;
        match (self.opened(order)?.phase, stage) {
            (Phase::Funded { .. }, Stage::Paid) => {
                self.call_off_paid(order, CancelCause::NotShipped, RefundCause::NotShipped)
            }
            (Phase::Funded { .. }, _) if ask_at.is_some() => {
                self.order(order, order::Command::AskForDelivery { now }).map(drop)
            }
            (Phase::Funded { .. }, _) if dispute_at.is_some_and(|dispute_at| now >= dispute_at) => {
                let (by, reason) = (Disputant::Marketplace, "silence".to_owned());
                self.escrow(order, escrow::Command::Dispute { by, reason, now }).map(drop)
            }
            (Phase::Inspection { ends_at, .. }, _) if now < ends_at => {
                self.escrow(order, escrow::Command::Remind { now }).map(drop)
            }
            (Phase::Inspection { .. }, _) => self.release(order, ReleaseCause::InspectionOver),
            (Phase::Disputed { .. }, _) => self.give_back_held(order, None, RefundCause::DisputeExpired),
            (
                Phase::AwaitingPayment
                | Phase::Funded { .. }
                | Phase::ChargedBack { .. }
                | Phase::Voided
                | Phase::Released { .. }
                | Phase::Refunded
                | Phase::Split,
                _,
            ) => None,
        }
    }

    fn cancel_cause(&mut self, staff: AccountId) -> CancelCause {
        let reason = self.text().to_owned();
        match self.random.random_range(0..3) {
            0 => CancelCause::Buyer { reason },
            1 => CancelCause::Seller { reason },
            _ => CancelCause::Staff { by: staff, reason },
        }
    }

    fn call_off_unpaid(&mut self, order: OrderId, cause: CancelCause) -> Option<()> {
        let Terms { buyer, origin, .. } = self.placed(order)?.terms;
        let forfeits = cause == CancelCause::NotPaid || !origin.is_binding();
        self.order(order, order::Command::Cancel { cause, now: self.now })?;
        if happened(self.escrow(order, escrow::Command::Void {})) {
            let terms = self.opened(order)?.terms;
            let points = terms.redeemed.map_or(0, |redeemed| redeemed.points);
            self.give_points_back(order, &terms, RefundId(order.0), points)?;
        }
        if let Some(auction) = origin.auction().filter(|_| forfeits) {
            self.auction(auction, auction::Command::Forfeit { buyer, order })?;
        }
        for listing in self.reserved(order).into_keys() {
            self.stock(listing, stock::Command::Release { order })?;
        }
        Some(())
    }

    fn call_off_paid(&mut self, order: OrderId, cause: CancelCause, refund: RefundCause) -> Option<()> {
        self.order(order, order::Command::Cancel { cause, now: self.now })?;
        self.refund_held(order, None, refund)?;
        self.put_back(order)
    }

    fn dispute(&mut self, order: OrderId) -> Option<()> {
        let by = if self.random.random_bool(0.7) { Disputant::Buyer } else { Disputant::Seller };
        let (reason, now) = (self.text().to_owned(), self.now);
        self.escrow(order, escrow::Command::Dispute { by, reason, now }).map(drop)
    }

    fn deliver(&mut self, order: OrderId, by: Witness) -> Option<()> {
        let now = self.now;
        self.order(order, order::Command::Deliver { by, now: self.now })?;
        self.escrow(order, escrow::Command::Inspect { now }).map(drop)
    }

    fn release(&mut self, order: OrderId, cause: ReleaseCause) -> Option<()> {
        let now = self.now;
        let events = self.escrow(order, escrow::Command::Release { cause, now })?;
        self.settle(order, &events)?;
        self.order(order, order::Command::Complete { now }).map(drop)
    }

    /// By the seller or staff, of some or all, before or after the seller was paid.
    fn refund(&mut self, order: OrderId, staff: AccountId) -> Option<()> {
        let opened = self.opened(order)?;
        let amount = if self.random.random_bool(0.6) { Some(self.part(opened.remaining())?) } else { None };
        let cause = if self.random.random_bool(0.5) { RefundCause::Seller } else { RefundCause::Staff(staff) };
        if !matches!(opened.phase, Phase::Released { .. }) {
            return self.give_back_held(order, amount, cause);
        }
        let wallet = WalletId::of(opened.terms.seller, opened.terms.amount.currency());
        let Wallet::Open(balance) = self.wallets.state(wallet) else { return None };
        let (refund, seller_available) = (RefundId(self.id()), balance.available);
        let command = escrow::Command::RefundReleased { refund, amount, seller_available, cause };
        let events = self.escrow(order, command)?;
        self.settle(order, &events)?;
        self.close_if_refunded(order)
    }

    fn give_back_held(&mut self, order: OrderId, amount: Option<Money>, cause: RefundCause) -> Option<()> {
        let unsent = self.placed(order)?.stage == Stage::Paid;
        self.refund_held(order, amount, cause)?;
        self.close_if_refunded(order)?;
        if unsent && self.placed(order)?.stage == Stage::Refunded { self.put_back(order) } else { Some(()) }
    }

    fn refund_held(&mut self, order: OrderId, amount: Option<Money>, cause: RefundCause) -> Option<()> {
        let (refund, now) = (RefundId(self.id()), self.now);
        let events = self.escrow(order, escrow::Command::Refund { refund, amount, cause, now })?;
        self.settle(order, &events)
    }

    fn close_if_refunded(&mut self, order: OrderId) -> Option<()> {
        if !self.opened(order)?.remaining().is_positive() {
            self.order(order, order::Command::Refund { now: self.now })?;
        }
        Some(())
    }

    fn put_back(&mut self, order: OrderId) -> Option<()> {
        let Terms { buyer, origin, .. } = self.placed(order)?.terms;
        if let (Some(auction), false) = (origin.auction(), origin.is_binding()) {
            self.auction(auction, auction::Command::Forfeit { buyer, order })?;
        }
        for (listing, pieces) in self.reserved(order) {
            self.stock(listing, stock::Command::Return { order, pieces })?;
        }
        Some(())
    }

    /// Lets the wallets follow what an escrow has done.
    fn settle(&mut self, order: OrderId, events: &[escrow::Event]) -> Option<()> {
        let opened = self.opened(order)?;
        let escrow::Terms { buyer, seller, amount, .. } = opened.terms.clone();
        let (to_buyer, to_seller) = (WalletId::of(buyer, amount.currency()), WalletId::of(seller, amount.currency()));
        let back = |history: &mut Self, refund, whole: &Money, from_points: &Option<Money>| {
            let amount = whole.minus(from_points.unwrap_or(Money::zero(whole.currency()))).unwrap();
            if amount.is_positive() {
                let receive = wallet::Command::ReceiveRefund { owner: buyer, order, refund, amount };
                history.wallet(to_buyer, receive)?;
            }
            history.give_points_back(order, &opened.terms, refund, opened.points_back_with(*from_points))
        };
        let sale = |kept: &Money, fee: &Money| {
            let amount = kept.minus(*fee).unwrap();
            amount.is_positive().then_some(wallet::Command::ReceiveSale { owner: seller, order, amount })
        };
        for event in events {
            match event {
                escrow::Event::EscrowReleased { kept, fee, .. } => {
                    if let Some(sale) = sale(kept, fee) {
                        self.wallet(to_seller, sale)?;
                    }
                    self.earn(order, &opened)?;
                }
                escrow::Event::EscrowPartlyRefunded { refund, amount, from_points, .. }
                | escrow::Event::EscrowRefunded { refund, amount, from_points, .. } => {
                    back(self, *refund, amount, from_points)?;
                }
                escrow::Event::EscrowSplit { to_buyer: share, kept, fee, from_points, .. } => {
                    back(self, RefundId(order.0), share, from_points)?;
                    if let Some(sale) = sale(kept, fee) {
                        self.wallet(to_seller, sale)?;
                    }
                    self.earn(order, &opened)?;
                }
                escrow::Event::ReleaseRefunded { refund, amount, from_available, owed, from_points, .. } => {
                    let (given, owed, refund) = (*from_available, *owed, *refund);
                    let give = wallet::Command::GiveRefund { owner: seller, order, refund, amount: given, owed };
                    self.wallet(to_seller, give)?;
                    back(self, refund, amount, from_points)?;
                    let points = opened.points_lost_with(*amount, *from_points);
                    let currency = amount.currency();
                    self.points(buyer, points::Command::TakeBack { order, refund, currency, points })?;
                }
                escrow::Event::EscrowOpened { .. }
                | escrow::Event::EscrowFunded { .. }
                | escrow::Event::EscrowVoided {}
                | escrow::Event::InspectionStarted { .. }
                | escrow::Event::InspectionReminded { .. }
                | escrow::Event::EscrowDisputed { .. }
                | escrow::Event::EscrowChargedBack { .. }
                | escrow::Event::ChargebackReturned { .. }
                | escrow::Event::ChargebackSettled { .. } => {}
            }
            self.settle_commission(order, event)?;
        }
        Some(())
    }

    fn earn(&mut self, order: OrderId, opened: &escrow::Opened) -> Option<()> {
        let (currency, points) = (opened.terms.amount.currency(), opened.points_earned());
        self.points(opened.terms.buyer, points::Command::Earn { order, currency, points }).map(drop)
    }

    fn give_points_back(&mut self, order: OrderId, terms: &escrow::Terms, refund: RefundId, points: u64) -> Option<()> {
        let currency = terms.amount.currency();
        self.points_apart(terms.buyer, points::Command::GiveBack { order, refund, currency, points })
    }

    /// Takes the ids from where nothing else does.
    fn points_apart(&mut self, id: AccountId, command: points::Command) -> Option<()> {
        std::mem::swap(&mut self.random, &mut self.random_of_points);
        let done = self.points(id, command);
        std::mem::swap(&mut self.random, &mut self.random_of_points);
        done.map(drop)
    }

    fn points(&mut self, id: AccountId, command: points::Command) -> Option<Vec<points::Event>> {
        let event_id = self.id();
        self.points.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn order(&mut self, id: OrderId, command: order::Command) -> Option<Vec<order::Event>> {
        let event_id = self.id();
        self.orders.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn group(&mut self, id: OrderGroupId, command: order_group::Command) -> Option<Vec<order_group::Event>> {
        let event_id = self.id();
        self.groups.execute(&mut self.unit, self.now, event_id, id, command)
    }

    fn escrow(&mut self, id: OrderId, command: escrow::Command) -> Option<Vec<escrow::Event>> {
        let event_id = self.id();
        self.escrows.execute(&mut self.unit, self.now, event_id, id, command)
    }

    /// An order whose money may still move.
    fn any_order(&mut self) -> Option<OrderId> {
        let goes_on = |escrow: &Escrow| match escrow {
            Escrow::Unopened => false,
            Escrow::Opened(opened) => !matches!(opened.phase, Phase::Voided | Phase::Refunded | Phase::Split),
        };
        let orders = self.escrows.0.iter().filter(|(_, (escrow, _))| goes_on(escrow));
        let orders: Vec<_> = orders.map(|(id, _)| *id).collect();
        orders.choose(&mut self.random).copied().map(OrderId)
    }

    fn placed(&self, order: OrderId) -> Option<Placed> {
        match self.orders.state(order) {
            Order::Unplaced => None,
            Order::Placed(placed) => Some(placed),
        }
    }

    pub(super) fn opened(&self, order: OrderId) -> Option<escrow::Opened> {
        match self.escrows.state(order) {
            Escrow::Unopened => None,
            Escrow::Opened(opened) => Some(*opened),
        }
    }

    /// What an order had reserved; an auction's piece is not counted.
    fn reserved(&self, order: OrderId) -> BTreeMap<ListingId, Pieces> {
        match self.placed(order) {
            Some(Placed { terms, .. }) if terms.origin.auction().is_none() => pieces(&terms.lines),
            Some(_) | None => BTreeMap::new(),
        }
    }

    /// Some of an amount; nothing of a single minor unit.
    fn part(&mut self, of: Money) -> Option<Money> {
        let most = of.minor();
        if most < 2 { None } else { Money::new(self.random.random_range(1..most), of.currency()).ok() }
    }
}

/// How many pieces of each listing some lines are about.
fn pieces(lines: &[Line]) -> BTreeMap<ListingId, Pieces> {
    let mut pieces = BTreeMap::<ListingId, Pieces>::new();
    for line in lines {
        pieces.entry(line.listing).or_default().insert(line.sku.clone(), line.quantity);
    }
    pieces
}
