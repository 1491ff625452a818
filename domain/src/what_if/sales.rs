//! An order and its money, step by step, under other rules.
//!
//! What people did is asked again of the same decisions, at the same time. What a clock did is left out wherever its time
//! is another than it was, and done at its new time instead; so it is with every clock once anything went another way.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::Serialize;

use super::policy::Deadlines;
use crate::Timestamp;
use crate::aggregate::Aggregate;
use crate::escrow::{
    Command, Course, Disputant, Escrow, Event, Opened, Phase, RefundCause, ReleaseCause, Source, Status,
};
use crate::fees::FeeLine;
use crate::ids::{AccountId, OrderId, RefundId};
use crate::money::Money;
use crate::order_group::{self, OrderGroup};
use crate::{escrow, order};

/// The most clocks that an order runs through by itself: to be paid, shipped, inspected, decided.
const MOST_CLOCKS: usize = 8;

/// Something that happened to an order, to its money, or to the checkout that it belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// To the checkout.
    Group(&'a order_group::Event),
    /// To the order.
    Order(&'a order::Event),
    /// To its money.
    Escrow(&'a Event),
}

/// Where the money of an order is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Fate {
    /// Where.
    pub status: Status,
    /// Since when.
    pub since: Timestamp,
    /// What of it went back to the buyer.
    pub refunded: Money,
    /// What of it the marketplace has kept.
    pub fee: Money,
}

/// Something that somebody did and that the other rules refuse.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TooLate {
    /// What.
    pub what: Act,
    /// When.
    pub at: Timestamp,
    /// Why it is refused, with the rule's numbers.
    pub reason: String,
}

/// What people do about an order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It was paid.
    Payment,
    /// It was called off before it was paid.
    Cancellation,
    /// It was sent.
    Shipment,
    /// Somebody said that it had come.
    Delivery,
    /// Somebody complained.
    Dispute,
    /// The buyer was content, or staff decided for the seller.
    Release,
    /// Money was given back.
    Refund,
    /// Staff divided it.
    Split,
    /// The card's bank took money back, or decided about it.
    Chargeback,
}

impl Act {
    /// In plain words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Cancellation => "cancellation",
            Self::Shipment => "shipment",
            Self::Delivery => "delivery",
            Self::Dispute => "dispute",
            Self::Release => "release",
            Self::Refund => "refund",
            Self::Split => "split",
            Self::Chargeback => "chargeback",
        }
    }
}

/// An order as it was, and as it would have been.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Sold {
    /// Which.
    pub order: OrderId,
    /// Who sold.
    pub seller: AccountId,
    /// What it comes to.
    pub amount: Money,
    /// As it was.
    pub was: Fate,
    /// As it would have been.
    pub would: Fate,
    /// What somebody did and would have been refused.
    pub too_late: Vec<TooLate>,
    /// When a bank took money back that the seller would have had by then, and would bear.
    pub charged_back_after_release: Option<Timestamp>,
}

impl Sold {
    /// Whether anything is different.
    pub fn is_different(&self) -> bool {
        self.was != self.would || !self.too_late.is_empty() || self.charged_back_after_release.is_some()
    }
}

/// What became of an order, and what would have become of it by `until`. `rates` are those of its lines, as they were
/// unless there are as many as lines. Nothing of what is no order that is paid into escrow.
pub fn replay(steps: &[(Timestamp, Step<'_>)], deadlines: &Deadlines, rates: &[u32], until: Timestamp) -> Option<Sold> {
    let terms = steps.iter().find_map(|(_, step)| {
        if let Step::Order(order::Event::OrderPlaced { terms }) = step { Some(terms) } else { None }
    })?;
    let lapsed = |step: &Step<'_>| {
        matches!(step, Step::Order(order::Event::OrderCancelled { cause: order::CancelCause::NotPaid }))
    };
    let lapsed = steps.iter().any(|(_, step)| lapsed(step));
    let (at, opened) = steps.iter().find_map(|(at, step)| {
        if let Step::Escrow(Event::EscrowOpened { terms }) = step { Some((*at, terms)) } else { None }
    })?;
    let paid_s = deadlines.paid_s(terms.origin);
    let inspection_s = deadlines.inspection_s(terms.delivery.is_physical());
    let nothing = Money::zero(opened.amount.currency());
    let mut was = Purse::opened(opened.clone(), at, nothing);
    let mut would = Replay {
        money: Purse::opened(with_rates(opened, rates, inspection_s), at, nothing),
        group: OrderGroup::default(),
        sent: false,
        paid_s,
        shipped_s: deadlines.shipped_s,
        resolved_s: deadlines.resolved_s,
        lapsed,
        other: BTreeSet::new(),
        went_another_way: false,
        too_late: Vec::new(),
        charged_back_after_release: None,
    };
    for (at, step) in steps {
        if let Step::Escrow(event) = step {
            was.take(event, *at);
        }
        would.take(step, *at);
    }
    would.run_until(until);
    Some(Sold {
        order: opened.order,
        seller: opened.seller,
        amount: opened.amount,
        was: was.fate()?,
        would: would.money.fate()?,
        too_late: would.too_late,
        charged_back_after_release: would.charged_back_after_release,
    })
}

/// The terms with other rates and another time to inspect.
fn with_rates(terms: &escrow::Terms, rates: &[u32], inspection_s: Option<u32>) -> escrow::Terms {
    let mut terms = terms.clone();
    if rates.len() == terms.lines.len() {
        let lines = terms.lines.iter().zip(rates);
        terms.lines = lines.map(|(line, fee_bps)| FeeLine { fee_bps: *fee_bps, ..*line }).collect();
    }
    terms.inspection_s = inspection_s.unwrap_or(terms.inspection_s);
    terms
}

/// The money of an order on its way.
#[derive(Clone, Debug)]
struct Purse {
    escrow: Escrow,
    status: Status,
    since: Timestamp,
    fee: Money,
}

impl Purse {
    fn opened(terms: escrow::Terms, at: Timestamp, nothing: Money) -> Self {
        let mut escrow = Escrow::default();
        escrow.evolve(&Event::EscrowOpened { terms });
        Self { escrow, status: Status::AwaitingPayment, since: at, fee: nothing }
    }

    fn take(&mut self, event: &Event, at: Timestamp) {
        if let Event::EscrowOpened { .. } = event {
            return;
        }
        self.escrow.evolve(event);
        if let Ok(opened) = self.escrow.opened()
            && opened.status() != self.status
        {
            (self.status, self.since) = (opened.status(), at);
        }
        let kept = match event {
            Event::EscrowReleased { fee, .. } | Event::EscrowSplit { fee, .. } => self.fee.plus(*fee),
            Event::ReleaseRefunded { fee_share, .. } => self.fee.minus(*fee_share),
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
            | Event::ChargebackSettled { .. } => return,
        };
        // Parts of one amount, so they are of one currency and within range.
        self.fee = kept.unwrap_or(self.fee);
    }

    fn phase(&self) -> Option<Phase> {
        Some(self.escrow.opened().ok()?.phase)
    }

    fn fate(&self) -> Option<Fate> {
        let Opened { refunded, .. } = self.escrow.opened().ok()?;
        Some(Fate { status: self.status, since: self.since, refunded: *refunded, fee: self.fee })
    }
}

/// What runs out.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Clock {
    Payment,
    Shipping,
    Inspection,
    Dispute,
}

/// An order as it would have been, on its way through what happened.
#[derive(Clone, Debug)]
struct Replay {
    money: Purse,
    group: OrderGroup,
    /// Whether it is on its way.
    sent: bool,
    paid_s: Option<u32>,
    shipped_s: Option<u32>,
    resolved_s: Option<u32>,
    /// Whether it was a clock that has called it off unpaid.
    lapsed: bool,
    /// Which clocks run out at another time than they did.
    other: BTreeSet<Clock>,
    /// Whether anything went another way than it did: from then on every clock is the replay's own.
    went_another_way: bool,
    too_late: Vec<TooLate>,
    charged_back_after_release: Option<Timestamp>,
}

impl Replay {
    fn take(&mut self, step: &Step<'_>, at: Timestamp) {
        self.run_until(at);
        match step {
            Step::Group(event) => self.take_group(event, at),
            Step::Order(event) => self.take_order(event, at),
            Step::Escrow(event) => self.take_escrow(event, at),
        }
    }

    fn take_group(&mut self, event: &order_group::Event, at: Timestamp) {
        match event {
            order_group::Event::OrderGroupPlaced { buyer, orders, pay_by: was } => {
                let pay_by = after(at, self.paid_s).unwrap_or(*was);
                self.set(Clock::Payment, pay_by, *was);
                let (buyer, orders) = (*buyer, orders.clone());
                self.group.evolve(&order_group::Event::OrderGroupPlaced { buyer, orders, pay_by });
            }
            order_group::Event::OrderGroupPaid {} => {
                // If it is too late, the order says so.
                let paid = self.group.decide(order_group::Command::Pay { now: at }).unwrap_or_default();
                for event in &paid {
                    self.group.evolve(event);
                }
            }
            order_group::Event::OrderGroupExpired {} => {
                if !self.is_own(Clock::Payment) {
                    self.group.evolve(event);
                }
            }
        }
    }

    fn take_order(&mut self, event: &order::Event, at: Timestamp) {
        match event {
            order::Event::OrderShipped { .. } => match self.money.phase() {
                Some(
                    Phase::Funded { .. }
                    | Phase::Inspection { .. }
                    | Phase::Disputed { .. }
                    | Phase::ChargedBack { .. },
                ) => {
                    self.sent = true;
                }
                Some(
                    Phase::AwaitingPayment | Phase::Voided | Phase::Released { .. } | Phase::Refunded | Phase::Split,
                )
                | None => {
                    let status = self.money.status;
                    self.refuse(Act::Shipment, at, escrow::Error::WrongStatus { status }.to_string());
                }
            },
            // What they mean for the money its own events say.
            order::Event::OrderPlaced { .. }
            | order::Event::OrderPaid {}
            | order::Event::OrderConfirmed {}
            | order::Event::GuestDismissed { .. }
            | order::Event::GuestForgotten {}
            | order::Event::DeliveryQuestioned {}
            | order::Event::OrderDelivered { .. }
            | order::Event::OrderCompleted {}
            | order::Event::OrderCancelled { .. }
            | order::Event::OrderRefunded {} => {}
        }
    }

    fn take_escrow(&mut self, event: &Event, at: Timestamp) {
        match event {
            // It was opened before all else; whoever is reminded does nothing.
            Event::EscrowOpened { .. } | Event::InspectionReminded { .. } => {}
            Event::EscrowFunded { ship_by, card, .. } => {
                let source = card.clone().map_or(Source::Wallet, Source::Card);
                self.fund(source, *ship_by, at);
            }
            Event::EscrowVoided {} if self.lapsed => {
                self.by_clock(Clock::Payment, Act::Cancellation, Command::Void {}, at);
            }
            Event::EscrowVoided {} => self.ask(Act::Cancellation, Command::Void {}, at),
            Event::InspectionStarted { ends_at: was, .. } => {
                self.ask(Act::Delivery, Command::Inspect { now: at }, at);
                if let Some(Phase::Inspection { ends_at, .. }) = self.money.phase() {
                    self.set(Clock::Inspection, ends_at, *was);
                }
            }
            Event::EscrowDisputed { by, reason, expires_at } => self.dispute(*by, reason, *expires_at, at),
            Event::EscrowReleased { cause, .. } => self.release(*cause, at),
            Event::EscrowPartlyRefunded { refund, amount, cause, .. }
            | Event::EscrowRefunded { refund, amount, cause, .. }
            | Event::ReleaseRefunded { refund, amount, cause, .. } => self.give_back(*refund, *amount, *cause, at),
            Event::EscrowSplit { to_buyer, by, .. } => {
                self.ask(Act::Split, Command::Split { to_buyer: *to_buyer, by: *by }, at);
            }
            Event::EscrowChargedBack { dispute, amount, .. } => {
                self.charge_back(Command::ChargeBack { dispute: *dispute, amount: *amount }, at);
            }
            Event::ChargebackReturned { dispute, course, .. } => {
                let back = Command::ReturnChargeback { dispute: *dispute, sent: self.sent, now: at };
                self.go_on(back, Some(*course), at);
            }
            Event::ChargebackSettled { dispute, course, .. } => {
                let settle = Command::SettleChargeback { dispute: *dispute, sent: self.sent, now: at };
                self.go_on(settle, *course, at);
            }
        }
    }

    /// Pays it, if there is time for it.
    fn fund(&mut self, source: Source, was: Timestamp, at: Timestamp) {
        if let Err(error @ order_group::Error::PaymentOverdue { .. }) =
            self.group.decide(order_group::Command::Pay { now: at })
        {
            return self.refuse(Act::Payment, at, error.to_string());
        }
        let ship_by = after(at, self.shipped_s).unwrap_or(was);
        self.set(Clock::Shipping, ship_by, was);
        let dated = |event: &mut Event| {
            if let Event::EscrowFunded { ship_by: due, .. } = event {
                *due = ship_by;
            }
        };
        self.ask_and(Act::Payment, Command::Fund { source, now: at }, at, dated);
    }

    fn dispute(&mut self, by: Disputant, reason: &str, was: Timestamp, at: Timestamp) {
        if by == Disputant::Marketplace && !matches!(self.money.phase(), Some(Phase::Funded { .. })) {
            // A clock's: it finds nothing that waits for a delivery.
            self.went_another_way = true;
            return;
        }
        let resolve_by = after(at, self.resolved_s).unwrap_or(was);
        let dated = |event: &mut Event| {
            if let Event::EscrowDisputed { expires_at: due, .. } = event {
                *due = resolve_by;
            }
        };
        let command = Command::Dispute { by, reason: reason.to_owned(), now: at };
        if self.ask_and(Act::Dispute, command, at, dated) {
            self.set(Clock::Dispute, resolve_by, was);
        }
    }

    fn release(&mut self, cause: ReleaseCause, at: Timestamp) {
        let command = Command::Release { cause, now: at };
        match (cause, self.money.phase()) {
            (ReleaseCause::InspectionOver, _) => self.by_clock(Clock::Inspection, Act::Release, command, at),
            // Whoever is content with what is paid out already changes nothing.
            (ReleaseCause::Confirmed, Some(Phase::Released { .. })) => {}
            (ReleaseCause::Confirmed | ReleaseCause::Resolved(_), _) => self.ask(Act::Release, command, at),
        }
    }

    /// Whoever gives money back does so whether or not the seller has it already.
    fn give_back(&mut self, refund: RefundId, amount: Money, cause: RefundCause, at: Timestamp) {
        let held = Command::Refund { refund, amount: Some(amount), cause, now: at };
        match cause {
            RefundCause::NotShipped => self.by_clock(Clock::Shipping, Act::Refund, held, at),
            RefundCause::DisputeExpired => self.by_clock(Clock::Dispute, Act::Refund, held, at),
            RefundCause::Seller | RefundCause::Staff(_)
                if matches!(self.money.phase(), Some(Phase::Released { .. })) =>
            {
                // Whether the seller has it or owes it makes no difference to the fee.
                let (amount, seller_available) = (Some(amount), amount);
                let released = Command::RefundReleased { refund, amount, seller_available, cause };
                self.ask(Act::Refund, released, at);
            }
            RefundCause::Cancelled | RefundCause::Seller | RefundCause::Staff(_) | RefundCause::Resolved(_) => {
                self.ask(Act::Refund, held, at);
            }
        }
    }

    /// A bank is never refused. What the seller has by then the seller bears, which no longer concerns the escrow.
    fn charge_back(&mut self, command: Command, at: Timestamp) {
        match self.money.phase() {
            Some(
                Phase::Funded { .. } | Phase::Inspection { .. } | Phase::Disputed { .. } | Phase::ChargedBack { .. },
            ) => self.ask(Act::Chargeback, command, at),
            Some(Phase::Released { .. } | Phase::Split) => {
                self.went_another_way = true;
                self.charged_back_after_release.get_or_insert(at);
            }
            // Nothing is there to be taken.
            Some(Phase::AwaitingPayment | Phase::Voided | Phase::Refunded) | None => self.went_another_way = true,
        }
    }

    /// Lets it go on after its bank has decided, with deadlines of its own.
    fn go_on(&mut self, command: Command, was: Option<Course>, at: Timestamp) {
        if self.went_another_way && !matches!(self.money.phase(), Some(Phase::ChargedBack { .. })) {
            // What was taken, if anything, was not the escrow's.
            return;
        }
        let (shipped_s, resolved_s) = (self.shipped_s, self.resolved_s);
        let put = |course: &mut Course| match (course, was) {
            (Course::Funded { ship_by, .. }, Some(Course::Funded { ship_by: was, .. })) => {
                *ship_by = after(at, shipped_s).unwrap_or(was);
            }
            (Course::Funded { ship_by, .. }, _) => *ship_by = after(at, shipped_s).unwrap_or(*ship_by),
            (Course::Disputed { expires_at }, Some(Course::Disputed { expires_at: was })) => {
                *expires_at = after(at, resolved_s).unwrap_or(was);
            }
            (Course::Disputed { expires_at }, _) => *expires_at = after(at, resolved_s).unwrap_or(*expires_at),
            // It goes by the time that was agreed on.
            (Course::Inspection { .. }, _) => {}
        };
        let dated = |event: &mut Event| {
            if let Event::ChargebackReturned { course, .. } | Event::ChargebackSettled { course: Some(course), .. } =
                event
            {
                put(course);
            }
        };
        if self.ask_and(Act::Chargeback, command, at, dated) {
            self.compare(was);
        }
    }

    /// Looks which clock runs out at another time, after a bank has decided.
    fn compare(&mut self, was: Option<Course>) {
        let (clock, is, was) = match (self.money.phase(), was) {
            (Some(Phase::Funded { ship_by }), Some(Course::Funded { ship_by: was, .. })) => {
                (Clock::Shipping, ship_by, was)
            }
            (Some(Phase::Inspection { ends_at, .. }), Some(Course::Inspection { ends_at: was, .. })) => {
                (Clock::Inspection, ends_at, was)
            }
            (Some(Phase::Disputed { expires_at }), Some(Course::Disputed { expires_at: was })) => {
                (Clock::Dispute, expires_at, was)
            }
            // It is elsewhere than it was, so all of its clocks are the replay's own.
            _ => return,
        };
        self.set(clock, is, was);
    }

    /// Notes when a clock runs out, and when it did.
    fn set(&mut self, clock: Clock, is: Timestamp, was: Timestamp) {
        if is == was {
            self.other.remove(&clock);
        } else {
            self.other.insert(clock);
        }
    }

    /// What a clock did: if it is another now, it does it by itself.
    fn by_clock(&mut self, clock: Clock, act: Act, command: Command, at: Timestamp) {
        if self.is_own(clock) {
            self.went_another_way = true;
        } else {
            self.ask(act, command, at);
        }
    }

    fn ask(&mut self, act: Act, command: Command, at: Timestamp) {
        self.ask_and(act, command, at, |_| {});
    }

    /// Asks for what somebody did, and takes in what comes of it, each event made what `dated` makes of it. Whether it was
    /// allowed.
    fn ask_and(&mut self, act: Act, command: Command, at: Timestamp, dated: impl Fn(&mut Event)) -> bool {
        match self.money.escrow.decide(command) {
            Ok(events) => {
                for mut event in events {
                    dated(&mut event);
                    self.money.take(&event, at);
                }
                true
            }
            Err(error) => {
                self.refuse(act, at, error.to_string());
                false
            }
        }
    }

    fn refuse(&mut self, what: Act, at: Timestamp, reason: String) {
        self.went_another_way = true;
        self.too_late.push(TooLate { what, at, reason });
    }

    fn is_own(&self, clock: Clock) -> bool {
        self.went_another_way || self.other.contains(&clock)
    }

    /// Lets every clock run out that does by then, and that runs out at another time than it did.
    fn run_until(&mut self, until: Timestamp) {
        for _ in 0..MOST_CLOCKS {
            let Some((due, command)) = self.next_clock().filter(|(due, _)| *due <= until) else { return };
            self.went_another_way = true;
            if let Command::Void {} = command {
                let expired = self.group.decide(order_group::Command::Expire { now: due }).unwrap_or_default();
                for event in &expired {
                    self.group.evolve(event);
                }
            }
            // The clock has run out, so this is not refused.
            let events = self.money.escrow.decide(command).unwrap_or_default();
            for event in &events {
                self.money.take(event, due);
            }
        }
    }

    /// What runs out next by a clock of the replay's own, and what is done then.
    fn next_clock(&self) -> Option<(Timestamp, Command)> {
        let refund =
            |order: OrderId, cause, now| (now, Command::Refund { refund: RefundId(order.0), amount: None, cause, now });
        let opened = self.money.escrow.opened().ok()?;
        let order = opened.terms.order;
        match opened.phase {
            Phase::AwaitingPayment => match &self.group {
                OrderGroup::AwaitingPayment(placed) if self.is_own(Clock::Payment) => {
                    Some((placed.pay_by, Command::Void {}))
                }
                OrderGroup::Unplaced
                | OrderGroup::AwaitingPayment(_)
                | OrderGroup::Paid(_)
                | OrderGroup::Expired(_) => None,
            },
            Phase::Funded { ship_by } if !self.sent && self.is_own(Clock::Shipping) => {
                Some(refund(order, RefundCause::NotShipped, ship_by))
            }
            Phase::Inspection { ends_at, .. } if self.is_own(Clock::Inspection) => {
                Some((ends_at, Command::Release { cause: ReleaseCause::InspectionOver, now: ends_at }))
            }
            Phase::Disputed { expires_at } if self.is_own(Clock::Dispute) => {
                Some(refund(order, RefundCause::DisputeExpired, expires_at))
            }
            Phase::Funded { .. }
            | Phase::Inspection { .. }
            | Phase::Disputed { .. }
            | Phase::ChargedBack { .. }
            | Phase::Voided
            | Phase::Released { .. }
            | Phase::Refunded
            | Phase::Split => None,
        }
    }
}

/// So long after a time, if it is said how long.
fn after(at: Timestamp, seconds: Option<u32>) -> Option<Timestamp> {
    Some(at + TimeDelta::seconds(i64::from(seconds?)))
}

#[cfg(test)]
mod tests;
