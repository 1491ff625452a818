//! What becomes of an order under other rules, beside what became of it.

use uuid::Uuid;

use super::*;
use crate::escrow::CardPayment;
use crate::ids::{AuctionId, ChargeId, DisputeId, ListingId, OrderGroupId};
use crate::listing::Delivery;
use crate::money::Currency;
use crate::order::{CancelCause, Line, Origin, Payment, Terms, Witness};
use crate::stock::Sku;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const CLERK: AccountId = AccountId(Uuid::from_u128(3));
const ORDER: OrderId = OrderId(Uuid::from_u128(10));
const REFUND: RefundId = RefundId(Uuid::from_u128(20));
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const DAY_S: u32 = 24 * 3_600;

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::seconds(seconds)
}

/// What has happened, in the form in which it is stored.
enum Happened {
    Group(order_group::Event),
    Order(order::Event),
    Escrow(Event),
}

impl Happened {
    fn step(&self) -> Step<'_> {
        match self {
            Self::Group(event) => Step::Group(event),
            Self::Order(event) => Step::Order(event),
            Self::Escrow(event) => Step::Escrow(event),
        }
    }
}

/// An order that is decided as the write side does it.
struct Story {
    events: Vec<(Timestamp, Happened)>,
    escrow: Escrow,
}

impl Story {
    /// An order of 100.00, to be paid in 15 minutes, or a day if it was won.
    fn placed(origin: Origin, delivery: Delivery) -> Self {
        let line = Line {
            listing: ListingId(Uuid::from_u128(30)),
            sku: Sku::default(),
            title: "A watch".to_owned(),
            quantity: 1,
            unit_price: usd(10_000),
            shipping: usd(0),
            fee_bps: 200,
        };
        let lines = vec![line.fee_line().unwrap()];
        let group = OrderGroupId(Uuid::from_u128(11));
        let (payment, guest, ship_to) = (Payment::Escrow, None, None);
        let terms =
            Terms { group, buyer: BOB, seller: ANN, origin, lines: vec![line], delivery, ship_to, payment, guest };
        let pay_by = at(if origin == Origin::Checkout { HOUR / 4 } else { DAY });
        let mut story = Self { events: Vec::new(), escrow: Escrow::default() };
        story.happen(0, Happened::Order(order::Event::OrderPlaced { terms }));
        let inspection_s = if delivery.is_physical() { 14 * DAY_S } else { 2 * DAY_S };
        let (points_per_unit, redeemed, commission) = (0, None, None);
        let (order, buyer, seller, amount) = (ORDER, BOB, ANN, usd(10_000));
        let terms =
            escrow::Terms { order, buyer, seller, lines, amount, inspection_s, points_per_unit, redeemed, commission };
        story.money(0, Command::Open { terms });
        let placed = order_group::Event::OrderGroupPlaced { buyer: BOB, orders: vec![ORDER], pay_by };
        story.happen(0, Happened::Group(placed));
        story
    }

    fn happen(&mut self, seconds: i64, what: Happened) {
        self.events.push((at(seconds), what));
    }

    fn money(&mut self, seconds: i64, command: Command) {
        for event in self.escrow.decide(command).unwrap() {
            self.escrow.evolve(&event);
            self.happen(seconds, Happened::Escrow(event));
        }
    }

    fn paid(mut self, seconds: i64) -> Self {
        self.happen(seconds, Happened::Group(order_group::Event::OrderGroupPaid {}));
        self.money(seconds, Command::Fund { source: Source::Wallet, now: at(seconds) });
        self.happen(seconds, Happened::Order(order::Event::OrderPaid {}));
        self
    }

    fn lapsed(mut self, seconds: i64) -> Self {
        self.happen(seconds, Happened::Group(order_group::Event::OrderGroupExpired {}));
        self.happen(seconds, Happened::Order(order::Event::OrderCancelled { cause: CancelCause::NotPaid }));
        self.money(seconds, Command::Void {});
        self
    }

    fn shipped(mut self, seconds: i64) -> Self {
        let (carrier, tracking, ask_at, dispute_at) = ("Post".to_owned(), None, None, None);
        self.happen(seconds, Happened::Order(order::Event::OrderShipped { carrier, tracking, ask_at, dispute_at }));
        self
    }

    fn delivered(mut self, seconds: i64) -> Self {
        self.happen(seconds, Happened::Order(order::Event::OrderDelivered { by: Witness::Buyer }));
        self.money(seconds, Command::Inspect { now: at(seconds) });
        self
    }

    fn then(mut self, seconds: i64, command: Command) -> Self {
        self.money(seconds, command);
        self
    }

    fn replay(&self, deadlines: Deadlines, rates: &[u32], until: i64) -> Sold {
        let steps: Vec<_> = self.events.iter().map(|(at, what)| (*at, what.step())).collect();
        replay(&steps, &deadlines, rates, at(until)).unwrap()
    }

    /// The same rules, said: nothing is different.
    #[track_caller]
    fn is_the_same_by_its_own_rules(&self, until: i64) {
        let own = Deadlines {
            checkout_paid_s: Some(900),
            win_paid_s: Some(DAY_S),
            shipped_s: Some(14 * DAY_S),
            inspection_physical_s: Some(14 * DAY_S),
            inspection_digital_s: Some(2 * DAY_S),
            resolved_s: Some(60 * DAY_S),
        };
        for (deadlines, rates) in [(Deadlines::default(), &[][..]), (own, &[200])] {
            let sold = self.replay(deadlines, rates, until);
            assert!(!sold.is_different(), "{sold:?}");
        }
    }
}

fn shop() -> Story {
    Story::placed(Origin::Checkout, Delivery::Physical)
}

fn over(now: i64) -> Command {
    Command::Release { cause: ReleaseCause::InspectionOver, now: at(now) }
}

fn seller_refunds(minor: i64, now: i64) -> Command {
    Command::Refund { refund: REFUND, amount: Some(usd(minor)), cause: RefundCause::Seller, now: at(now) }
}

fn dispute(now: i64) -> Command {
    Command::Dispute { by: Disputant::Buyer, reason: "Scratched.".to_owned(), now: at(now) }
}

fn fate(status: Status, since: i64, refunded: i64, fee: i64) -> Fate {
    Fate { status, since: at(since), refunded: usd(refunded), fee: usd(fee) }
}

#[test]
fn under_the_rules_as_they_were_nothing_is_different() {
    let completed = || shop().paid(60).shipped(DAY).delivered(3 * DAY);
    for story in [
        shop(),
        shop().lapsed(950),
        shop().paid(60),
        completed(),
        // The timer came late.
        completed().then(17 * DAY + 9, over(17 * DAY + 9)),
        completed().then(4 * DAY, dispute(4 * DAY)).then(5 * DAY, Command::Split { to_buyer: usd(100), by: CLERK }),
        completed().then(4 * DAY, seller_refunds(100, 4 * DAY)),
        Story::placed(Origin::AuctionWon(AuctionId(Uuid::from_u128(30))), Delivery::Digital).paid(HOUR).delivered(DAY),
    ] {
        story.is_the_same_by_its_own_rules(1_000 * DAY);
    }
}

#[test]
fn a_fee_is_charged_of_what_the_seller_keeps() {
    let story = shop().paid(60).shipped(DAY).delivered(DAY).then(15 * DAY, over(15 * DAY));
    let sold = story.replay(Deadlines::default(), &[350], 20 * DAY);
    assert_eq!((sold.was.fee, sold.would.fee), (usd(200), usd(350)));
    assert_eq!(sold.was.since, sold.would.since);
    let back = Command::RefundReleased {
        refund: REFUND,
        amount: Some(usd(4_000)),
        seller_available: usd(0),
        cause: RefundCause::Seller,
    };
    let sold = story.then(16 * DAY, back).replay(Deadlines::default(), &[350], 20 * DAY);
    assert_eq!((sold.was.fee, sold.would.fee), (usd(120), usd(210)));
    assert_eq!(sold.would.refunded, usd(4_000));
    // What was never paid out costs nothing at any rate.
    assert!(!shop().paid(60).replay(Deadlines::default(), &[350], DAY).is_different());
}

#[test]
fn what_is_paid_too_late_by_a_shorter_deadline_is_called_off() {
    let story = shop().paid(600).shipped(DAY);
    let sold = story.replay(Deadlines { checkout_paid_s: Some(600), ..Deadlines::default() }, &[], DAY);
    assert_eq!(sold.was, fate(Status::Funded, 600, 0, 0));
    assert_eq!(sold.would, fate(Status::Voided, 600, 0, 0));
    assert_eq!(sold.too_late.iter().map(|late| late.what).collect::<Vec<_>>(), [Act::Payment, Act::Shipment]);
    assert!(sold.too_late[0].reason.contains("had to be paid by"), "{sold:?}");
    // A second more is enough.
    let sold = story.replay(Deadlines { checkout_paid_s: Some(601), ..Deadlines::default() }, &[], DAY);
    assert!(!sold.is_different());
    // Wins have a deadline of their own.
    let sold = story.replay(Deadlines { win_paid_s: Some(60), ..Deadlines::default() }, &[], DAY);
    assert!(!sold.is_different());
}

#[test]
fn what_was_not_paid_waits_longer_and_nobody_is_taken_to_have_paid() {
    let longer = Deadlines { checkout_paid_s: Some(DAY_S), ..Deadlines::default() };
    let story = shop().lapsed(905);
    let sold = story.replay(longer, &[], HOUR);
    assert_eq!((sold.was, sold.would), (fate(Status::Voided, 905, 0, 0), fate(Status::AwaitingPayment, 0, 0, 0)));
    assert_eq!(story.replay(longer, &[], DAY).would, fate(Status::Voided, DAY, 0, 0));
}

#[test]
fn what_is_not_shipped_by_a_shorter_deadline_goes_back() {
    let story = shop().paid(60).shipped(5 * DAY).delivered(6 * DAY).then(20 * DAY, over(20 * DAY));
    let shorter = Deadlines { shipped_s: Some(3 * DAY_S), ..Deadlines::default() };
    let sold = story.replay(shorter, &[], 20 * DAY);
    assert_eq!(sold.was, fate(Status::Released, 20 * DAY, 0, 200));
    assert_eq!(sold.would, fate(Status::Refunded, 60 + 3 * DAY, 10_000, 0));
    // What the clock did is nobody's refusal.
    assert_eq!(sold.too_late.iter().map(|late| late.what).collect::<Vec<_>>(), [Act::Shipment, Act::Delivery]);
    // Shipped in time, it is as it was.
    let enough = Deadlines { shipped_s: Some(5 * DAY_S), ..Deadlines::default() };
    assert!(!story.replay(enough, &[], 20 * DAY).is_different());
}

#[test]
fn an_inspection_ends_when_the_other_one_does() {
    let story = shop().paid(60).shipped(DAY).delivered(DAY).then(15 * DAY, over(15 * DAY));
    let days = |count: u32| Deadlines { inspection_physical_s: Some(count * DAY_S), ..Deadlines::default() };
    assert_eq!(story.replay(days(3), &[], 20 * DAY).would, fate(Status::Released, 4 * DAY, 0, 200));
    assert_eq!(story.replay(days(30), &[], 40 * DAY).would, fate(Status::Released, 31 * DAY, 0, 200));
    assert_eq!(story.replay(days(30), &[], 20 * DAY).would, fate(Status::Inspection, DAY, 0, 0));
    // Who complains too late is refused, and what staff decided of it with them.
    let resolved =
        Command::Refund { refund: REFUND, amount: None, cause: RefundCause::Resolved(CLERK), now: at(9 * DAY) };
    let story = shop().paid(60).shipped(DAY).delivered(DAY).then(8 * DAY, dispute(8 * DAY)).then(9 * DAY, resolved);
    let sold = story.replay(days(3), &[], 20 * DAY);
    assert_eq!(sold.was, fate(Status::Refunded, 9 * DAY, 10_000, 0));
    assert_eq!(sold.would, fate(Status::Released, 4 * DAY, 0, 200));
    assert_eq!(sold.too_late.iter().map(|late| late.what).collect::<Vec<_>>(), [Act::Dispute, Act::Refund]);
}

#[test]
fn who_gives_back_does_so_before_or_after_the_release() {
    let story = shop().paid(60).shipped(DAY).delivered(DAY).then(5 * DAY, seller_refunds(5_000, 5 * DAY));
    let shorter = Deadlines { inspection_physical_s: Some(2 * DAY_S), ..Deadlines::default() };
    let sold = story.replay(shorter, &[], 6 * DAY);
    assert_eq!(sold.was, fate(Status::Inspection, DAY, 5_000, 0));
    assert_eq!(sold.would, fate(Status::Released, 3 * DAY, 5_000, 100));
    assert_eq!(sold.too_late, []);
}

#[test]
fn a_dispute_that_nobody_decides_in_time_goes_to_the_buyer() {
    let resolved = Command::Release { cause: ReleaseCause::Resolved(CLERK), now: at(30 * DAY) };
    let story = shop().paid(60).shipped(DAY).delivered(DAY).then(2 * DAY, dispute(2 * DAY)).then(30 * DAY, resolved);
    let week = Deadlines { resolved_s: Some(7 * DAY_S), ..Deadlines::default() };
    let sold = story.replay(week, &[], 40 * DAY);
    assert_eq!(sold.was, fate(Status::Released, 30 * DAY, 0, 200));
    assert_eq!(sold.would, fate(Status::Refunded, 9 * DAY, 10_000, 0));
    assert_eq!(sold.too_late.iter().map(|late| late.what).collect::<Vec<_>>(), [Act::Release]);
}

/// The clock that asks what became of a delivery is nobody who comes too late.
#[test]
fn a_dispute_of_the_marketplaces_own_is_not_refused() {
    let opens = 55 * DAY;
    let undelivered =
        Command::Dispute { by: Disputant::Marketplace, reason: "Nothing was heard.".to_owned(), now: at(opens) };
    let story = shop().paid(60).shipped(10 * DAY).then(opens, undelivered);
    story.is_the_same_by_its_own_rules(60 * DAY);
    let sold = story.replay(Deadlines { shipped_s: Some(7 * DAY_S), ..Deadlines::default() }, &[200], 60 * DAY);
    assert_eq!((sold.was.status, sold.would), (Status::Disputed, fate(Status::Refunded, 7 * DAY + 60, 10_000, 0)));
    assert_eq!(sold.too_late.iter().map(|late| late.what).collect::<Vec<_>>(), [Act::Shipment]);
}

#[test]
fn a_bank_that_comes_after_the_release_is_told_and_not_refused() {
    let (charge, dispute) = (ChargeId(Uuid::from_u128(50)), DisputeId(Uuid::from_u128(60)));
    let card = CardPayment { charge, provider: "bank".to_owned(), refunded_to_card: false };
    let mut story = shop();
    story.happen(60, Happened::Group(order_group::Event::OrderGroupPaid {}));
    story.money(60, Command::Fund { source: Source::Card(card), now: at(60) });
    let story = story.shipped(DAY).delivered(2 * DAY);
    let story = story.then(9 * DAY, Command::ChargeBack { dispute, amount: usd(10_000) });
    let story = story.then(20 * DAY, Command::SettleChargeback { dispute, sent: true, now: at(20 * DAY) });
    story.is_the_same_by_its_own_rules(30 * DAY);
    let sold = story.replay(Deadlines { inspection_physical_s: Some(DAY_S), ..Deadlines::default() }, &[200], 30 * DAY);
    assert_eq!((sold.was.status, sold.would), (Status::Refunded, fate(Status::Released, 3 * DAY, 0, 200)));
    assert_eq!((sold.charged_back_after_release, sold.too_late), (Some(at(9 * DAY)), vec![]));
}
