//! Where the money of one order is after each of the ways that it can go.

use chrono::TimeDelta;
use domain::charge::{self, Purpose, Share};
use domain::escrow::{self, CardPayment, Command, Escrow, Source};
use domain::fees::FeeLine;
use domain::listing::Delivery;
use domain::order::{Deadlines, Line, Origin, Payment};
use domain::stock::Sku;
use domain::wallet::PaymentMethod;
use domain::{ChargeId, DisputeId, LedgerAccount, ListingId, OrderGroupId, RefundId, WalletId};

use super::*;
use crate::tests::history::recorded;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const STAFF: AccountId = AccountId(Uuid::from_u128(3));
const ORDER: OrderId = OrderId(Uuid::from_u128(7));
const REFUND: RefundId = RefundId(Uuid::from_u128(9));
const GROUP: OrderGroupId = OrderGroupId(Uuid::from_u128(8));
const CHARGE: ChargeId = ChargeId(Uuid::from_u128(10));
const DISPUTE: DisputeId = DisputeId(Uuid::from_u128(11));

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn now() -> Timestamp {
    Timestamp::default()
}

fn at(days: i64) -> Timestamp {
    now() + TimeDelta::days(days)
}

fn terms(payment: Payment) -> Terms {
    let line = Line {
        listing: ListingId(Uuid::from_u128(4)),
        sku: Sku::default(),
        title: "Watch".to_owned(),
        quantity: 1,
        unit_price: usd(900),
        shipping: usd(100),
        fee_bps: 1_000,
    };
    Terms {
        group: GROUP,
        buyer: ANN,
        seller: BOB,
        origin: Origin::Checkout,
        lines: vec![line],
        delivery: Delivery::Physical,
        ship_to: None,
        payment,
        guest: None,
    }
}

/// What is told of an order, event by event.
#[derive(Default)]
struct Told {
    changes: Changes,
    escrow: Escrow,
    position: i64,
}

impl Told {
    /// A new order to be paid into its escrow.
    fn placed() -> Self {
        let mut told = Self::default();
        told.order(order::Event::OrderPlaced { terms: terms(Payment::Escrow) });
        let terms = escrow::Terms {
            order: ORDER,
            buyer: ANN,
            seller: BOB,
            lines: vec![FeeLine { gross: usd(1_000), fee_bps: 1_000 }],
            amount: usd(1_000),
            inspection_s: 60,
            points_per_unit: 0,
            redeemed: None,
            commission: None,
        };
        told.escrow(Command::Open { terms });
        let placed = order_group::Event::OrderGroupPlaced { buyer: ANN, orders: vec![ORDER], pay_by: at(1) };
        told.take(DomainEvent::OrderGroup(GROUP, placed));
        told
    }

    /// The same, paid.
    fn paid() -> Self {
        let mut told = Self::placed();
        told.escrow(Command::Fund { source: Source::Wallet, now: now() });
        told.order(order::Event::OrderPaid {});
        told
    }

    /// The same, by the card of a guest.
    fn paid_by_card() -> Self {
        let mut told = Self::placed();
        told.ask_card();
        let card = CardPayment { charge: CHARGE, provider: "sandbox".to_owned(), refunded_to_card: true };
        told.escrow(Command::Fund { source: Source::Card(card), now: now() });
        told.order(order::Event::OrderPaid {});
        told
    }

    fn ask_card(&mut self) {
        let method = PaymentMethod { provider: "sandbox".to_owned(), token: "card".to_owned() };
        let (amount, purpose) = (usd(1_000), Purpose::Orders(GROUP));
        let terms = charge::Terms {
            charge: CHARGE,
            payer: ANN,
            guest: true,
            purpose,
            amount,
            method,
            requested_at: Timestamp::default(),
        };
        self.charge(charge::Event::ChargeRequested { terms });
    }

    fn charge(&mut self, event: charge::Event) {
        self.take(DomainEvent::Charge(CHARGE, event));
    }

    fn take(&mut self, event: DomainEvent) {
        self.position += 1;
        self.changes.take(&recorded(self.position, event)).unwrap();
    }

    fn order(&mut self, event: order::Event) {
        self.take(DomainEvent::Order(ORDER, event));
    }

    fn escrow(&mut self, command: Command) {
        for event in self.escrow.decide(command).unwrap() {
            self.escrow.evolve(&event);
            self.take(DomainEvent::Escrow(ORDER, event));
        }
    }

    fn shown(&self) -> &OrderMoney {
        &self.changes.orders[&ORDER.0]
    }

    /// Where it is, and what comes next.
    fn now(&self) -> (Place, Option<Next>, Option<Timestamp>) {
        let shown = self.shown();
        (shown.place, shown.next, shown.next_at)
    }

    /// What is held, and what buyer, seller and marketplace have of what was paid.
    fn shares(&self) -> [i64; 4] {
        let shown = self.shown();
        [shown.held, shown.refunded, shown.paid_out, shown.fee]
    }

    fn kinds(&self) -> Vec<Kind> {
        self.changes.steps.iter().map(|step| step.kind).collect()
    }

    fn last(&self) -> &Step {
        self.changes.steps.last().unwrap()
    }
}

fn refund(amount: Option<i64>) -> Command {
    Command::Refund { refund: REFUND, amount: amount.map(usd), cause: RefundCause::Seller, now: now() }
}

#[test]
fn an_order_waits_for_its_payment_and_then_for_being_sent_brought_and_looked_at() {
    let mut told = Told::placed();
    assert_eq!(told.now(), (Place::Unpaid, Some(Next::PaymentDue), Some(at(1))));
    told.escrow(Command::Fund { source: Source::Wallet, now: now() });
    let ship_by = now() + escrow::SHIPPED_WITHIN;
    assert_eq!(told.now(), (Place::Escrow, Some(Next::ShippingDue), Some(ship_by)));
    assert_eq!(told.shares(), [1_000, 0, 0, 0]);
    let shipped = |ask, dispute| order::Event::OrderShipped {
        carrier: "Post".to_owned(),
        tracking: None,
        ask_at: Some(at(ask)),
        dispute_at: Some(at(dispute)),
    };
    told.order(shipped(30, 45));
    assert_eq!(told.now(), (Place::Escrow, Some(Next::DeliveryAsked), Some(at(30))));
    told.order(order::Event::DeliveryQuestioned {});
    assert_eq!(told.now(), (Place::Escrow, Some(Next::DisputeOpens), Some(at(45))));
    told.order(order::Event::OrderDelivered { by: order::Witness::Buyer });
    told.escrow(Command::Inspect { now: now() });
    assert_eq!(told.now(), (Place::Escrow, Some(Next::Release), Some(now() + TimeDelta::seconds(60))));
    told.escrow(Command::Release { cause: ReleaseCause::Confirmed, now: now() });
    told.order(order::Event::OrderCompleted {});
    assert_eq!(told.now(), (Place::Seller, None, None));
    assert_eq!(told.shares(), [0, 0, 900, 100]);
    let released = told.last();
    assert_eq!((released.amount, released.fee, released.to_seller), (Some(1_000), Some(100), Some(900)));
    assert_eq!(released.postings.len(), 2);
    let expected = [
        Kind::Placed,
        Kind::Paid,
        Kind::Shipped,
        Kind::DeliveryAsked,
        Kind::Delivered,
        Kind::InspectionStarted,
        Kind::Released,
    ];
    assert_eq!(told.kinds(), expected);
}

#[test]
fn what_is_not_paid_is_called_off_and_nothing_comes_next() {
    let mut told = Told::placed();
    told.order(order::Event::OrderCancelled { cause: CancelCause::NotPaid });
    told.escrow(Command::Void {});
    assert_eq!(told.now(), (Place::CalledOff, None, None));
    assert_eq!((told.last().kind, told.last().cause), (Kind::CalledOff, Some(Cause::NotPaid)));
    assert_eq!(told.shares(), [0; 4]);
}

#[test]
fn what_is_called_off_after_it_was_paid_is_with_the_buyer_again() {
    let mut told = Told::paid();
    told.order(order::Event::OrderCancelled { cause: CancelCause::Seller { reason: "sold out".to_owned() } });
    assert_eq!(told.now().0, Place::Escrow, "the escrow's own event moves the money");
    told.escrow(Command::Refund { refund: REFUND, amount: None, cause: RefundCause::Cancelled, now: now() });
    assert_eq!(told.now(), (Place::Buyer, None, None));
    assert_eq!(told.shares(), [0, 1_000, 0, 0]);
    assert_eq!(told.kinds()[2..], [Kind::CalledOff, Kind::Refunded]);
}

#[test]
fn a_part_that_goes_back_leaves_the_clock_alone_and_lowers_what_the_seller_gets() {
    let mut told = Told::paid();
    let before = told.now();
    told.escrow(refund(Some(200)));
    assert_eq!((told.now(), told.shares()), (before, [800, 200, 0, 0]));
    told.escrow(Command::Inspect { now: now() });
    told.escrow(Command::Release { cause: ReleaseCause::InspectionOver, now: at(1) });
    assert_eq!(told.shares(), [0, 200, 720, 80]);
    let cause = RefundCause::Staff(STAFF);
    let back = |amount| Command::RefundReleased { refund: REFUND, amount, seller_available: usd(20), cause };
    told.escrow(back(Some(usd(100))));
    assert_eq!((told.now().0, told.shares()), (Place::Seller, [0, 300, 630, 70]));
    let given = told.last();
    assert_eq!((given.fee, given.to_seller, given.owed), (Some(10), Some(20), Some(70)));
    told.escrow(back(None));
    assert_eq!((told.now().0, told.shares()), (Place::Buyer, [0, 1_000, 0, 0]));
}

#[test]
fn a_dispute_freezes_the_money_until_it_is_decided() {
    let disputed = || {
        let mut told = Told::paid();
        told.escrow(Command::Dispute { by: Disputant::Buyer, reason: "scratched".to_owned(), now: now() });
        told
    };
    let mut told = disputed();
    let expires_at = now() + escrow::RESOLVED_WITHIN;
    assert_eq!(told.now(), (Place::Frozen, Some(Next::DisputeRefunded), Some(expires_at)));
    assert_eq!(told.last().cause, Some(Cause::Buyer));
    // What is on its way goes on, and no other clock.
    told.order(order::Event::OrderShipped {
        carrier: "Post".to_owned(),
        tracking: None,
        ask_at: Some(at(30)),
        dispute_at: Some(at(45)),
    });
    assert_eq!(told.now(), (Place::Frozen, Some(Next::DisputeRefunded), Some(expires_at)));
    told.escrow(Command::Split { to_buyer: usd(400), by: STAFF });
    assert_eq!((told.now(), told.shares()), ((Place::Divided, None, None), [0, 400, 540, 60]));
    let divided = told.last();
    assert_eq!((divided.amount, divided.to_seller, divided.fee), (Some(400), Some(540), Some(60)));
}

#[test]
fn what_is_paid_at_the_door_is_never_kept_here() {
    let deadlines = Deadlines { confirm_by: at(2), ship_by: at(16), deliver_by: at(46) };
    let mut told = Told::default();
    told.order(order::Event::OrderPlaced { terms: terms(Payment::in_cash(deadlines)) });
    assert_eq!(told.now(), (Place::Door, Some(Next::ConfirmationDue), Some(at(2))));
    told.order(order::Event::OrderConfirmed {});
    assert_eq!(told.now(), (Place::Door, Some(Next::ShippingDue), Some(at(16))));
    told.order(order::Event::OrderShipped {
        carrier: "Post".to_owned(),
        tracking: None,
        ask_at: None,
        dispute_at: None,
    });
    assert_eq!(told.now(), (Place::Door, Some(Next::DeliveryDue), Some(at(46))));
    told.order(order::Event::OrderDelivered { by: order::Witness::Seller });
    told.order(order::Event::OrderCompleted {});
    assert_eq!((told.now(), told.shares()), ((Place::PaidAtDoor, None, None), [0; 4]));
    let told_of = told.changes.steps.len();
    told.order(order::Event::GuestDismissed { forget_at: at(300) });
    assert_eq!(told.changes.steps.len(), told_of, "who it was is no business of the money");
}

#[test]
fn what_a_seller_owed_is_told_with_the_sale_that_has_paid_it() {
    let mut told = Told::paid();
    let postings = vec![Posting::new(LedgerAccount::Available(BOB), LedgerAccount::Receivable(BOB), usd(30))];
    let recovered =
        wallet::Event::ReceivableRecovered { operation: ORDER.0, amount: usd(30), postings: postings.clone() };
    told.take(DomainEvent::Wallet(WalletId::of(BOB, Currency::USD), recovered));
    let step = told.last();
    assert_eq!((step.order_id, step.kind, step.amount), (ORDER.0, Kind::Recovered, Some(30)));
    assert_eq!(step.postings.0, postings);
}

#[test]
fn who_an_account_is_to_an_order() {
    let told = Told::placed();
    let party = |account| told.shown().party(account);
    assert_eq!((party(ANN), party(BOB), party(STAFF)), (Some(Party::Buyer), Some(Party::Seller), None));
}

#[test]
fn a_group_whose_order_could_not_be_taken_waits_for_it() {
    let placed = order_group::Event::OrderGroupPlaced { buyer: ANN, orders: vec![ORDER], pay_by: at(1) };
    let event = DomainEvent::OrderGroup(GROUP, placed);
    let refused = Changes::default().take(&recorded(1, event)).unwrap_err();
    assert!(matches!(refused, FollowError::Absent(_)), "{refused}");
}

#[test]
fn what_a_card_is_asked_for_and_says_is_told_of_every_order_that_it_pays() {
    let mut told = Told::placed();
    told.ask_card();
    told.charge(charge::Event::ChargeActionRequired { reference: "pi_1".to_owned(), check_at: at(1) });
    told.charge(charge::Event::ChargeFailed { reason: "declined".to_owned() });
    assert_eq!(told.kinds()[1..], [Kind::CardAsked, Kind::CardActionNeeded, Kind::CardDeclined]);
    assert_eq!(told.now().0, Place::Unpaid);
    let late = charge::Event::ChargeSucceeded {
        reference: "pi_1".to_owned(),
        applied: vec![],
        unapplied: Some(usd(1_000)),
        fee: None,
        postings: vec![],
    };
    told.charge(late);
    told.charge(charge::Event::ChargeRefundRequested { refund: REFUND, order: None, amount: usd(1_000) });
    let postings = vec![Posting::new(
        LedgerAccount::Unapplied(CHARGE),
        LedgerAccount::ProviderClearing("sandbox".to_owned()),
        usd(1_000),
    )];
    told.charge(charge::Event::ChargeRefunded {
        refund: REFUND,
        attempt: 1,
        reference: "re_1".to_owned(),
        postings: postings.clone(),
    });
    assert_eq!(told.kinds()[4..], [Kind::CardTooLate, Kind::CardRefundSent, Kind::CardRefunded]);
    assert_eq!((told.last().amount, &told.last().postings.0), (Some(1_000), &postings));
    assert_eq!(told.shares(), [0; 4], "nothing of it was ever the order's");
}

#[test]
fn what_a_guest_gets_back_goes_to_the_card_and_may_have_to_be_sent_again() {
    let mut told = Told::paid_by_card();
    assert!(told.shown().by_card && told.shown().to_card);
    told.escrow(refund(None));
    told.charge(charge::Event::ChargeRefundRequested { refund: REFUND, order: Some(ORDER), amount: usd(1_000) });
    let failed = charge::Event::ChargeRefundFailed {
        refund: REFUND,
        attempt: 1,
        reason: "closed".to_owned(),
        retry_at: Some(at(1)),
        postings: vec![],
    };
    told.charge(failed);
    assert_eq!((told.last().kind, told.last().until), (Kind::CardRefundFailed, Some(at(1))));
    told.charge(charge::Event::ChargeRefundRetried { refund: REFUND, attempt: 2 });
    assert_eq!((told.last().kind, told.last().amount), (Kind::CardRefundSent, Some(1_000)));
    assert_eq!((told.now().0, told.shares()), (Place::Buyer, [0, 1_000, 0, 0]));
}

#[test]
fn what_a_bank_takes_out_of_an_escrow_is_there_until_it_has_decided() {
    let charged_back = || {
        let mut told = Told::paid_by_card();
        told.escrow(Command::ChargeBack { dispute: DISPUTE, amount: usd(400) });
        told
    };
    let mut told = charged_back();
    assert_eq!((told.now(), told.shown().at_bank), ((Place::Bank, None, None), 400));
    assert_eq!(told.shares(), [600, 0, 0, 0]);
    told.escrow(Command::ReturnChargeback { dispute: DISPUTE, sent: false, now: at(5) });
    let ship_by = at(5) + escrow::SHIPPED_WITHIN;
    assert_eq!(told.now(), (Place::Escrow, Some(Next::ShippingDue), Some(ship_by)));
    assert_eq!((told.shares(), told.shown().at_bank), ([1_000, 0, 0, 0], 0));
    let mut told = charged_back();
    told.escrow(Command::SettleChargeback { dispute: DISPUTE, sent: false, now: at(5) });
    assert_eq!((told.now().0, told.shares()), (Place::Escrow, [600, 400, 0, 0]));
    let mut told = Told::paid_by_card();
    told.escrow(Command::ChargeBack { dispute: DISPUTE, amount: usd(1_000) });
    told.escrow(Command::SettleChargeback { dispute: DISPUTE, sent: false, now: at(5) });
    assert_eq!((told.now(), told.shares()), ((Place::Buyer, None, None), [0, 1_000, 0, 0]));
}

#[test]
fn what_a_bank_takes_after_the_release_is_told_with_what_is_owed_for_it() {
    let mut told = Told::paid_by_card();
    told.escrow(Command::Inspect { now: now() });
    told.escrow(Command::Release { cause: ReleaseCause::Confirmed, now: now() });
    let before = told.shares();
    let bearer = charge::Bearer::Account { owner: BOB, available: usd(0), owed: usd(900) };
    let of_seller = Share { order: Some(ORDER), amount: usd(900), bearer };
    let rest = Share { order: Some(ORDER), amount: usd(100), bearer: charge::Bearer::Marketplace };
    let disputed = charge::Event::ChargeDisputed {
        dispute: DISPUTE,
        name: "dp_1".to_owned(),
        amount: usd(1_000),
        reason: "fraudulent".to_owned(),
        shares: vec![of_seller, rest],
        postings: vec![],
    };
    told.charge(disputed);
    assert_eq!((told.last().kind, told.last().amount, told.last().owed), (Kind::ChargedBack, Some(1_000), Some(900)));
    told.charge(charge::Event::ChargeDisputeLost { dispute: DISPUTE });
    assert_eq!(told.last().kind, Kind::ChargebackLost);
    assert_eq!((told.now().0, told.shares()), (Place::Seller, before), "what was paid out, was paid out");
}
