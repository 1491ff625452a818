//! Given what has happened to an escrow, when it is asked something, then this.

use uuid::Uuid;

use super::*;
use crate::money::Currency;
use crate::testing::{Given, given};

mod chargeback;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const CLERK: AccountId = AccountId(Uuid::from_u128(3));
const ORDER: OrderId = OrderId(Uuid::from_u128(10));
const REFUND: RefundId = RefundId(Uuid::from_u128(20));
const FORTNIGHT_S: u32 = 14 * 24 * 3_600;

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn begin() -> Timestamp {
    Timestamp::default()
}

fn days(count: i64) -> Timestamp {
    begin() + TimeDelta::days(count)
}

/// Two lines of 60.00 and 40.00 at 2 %.
fn terms(inspection_s: u32) -> Terms {
    let lines = [6_000, 4_000].map(|minor| FeeLine { gross: usd(minor), fee_bps: 200 });
    let (lines, amount) = (lines.to_vec(), usd(10_000));
    let (points_per_unit, redeemed, commission) = (0, None, None);
    Terms { order: ORDER, buyer: BOB, seller: ANN, lines, amount, inspection_s, points_per_unit, redeemed, commission }
}

fn opened() -> Given<Escrow> {
    given::<Escrow>([]).and(Command::Open { terms: terms(FORTNIGHT_S) })
}

/// Points that are worth two cents each.
fn redeemed(points: u64, minor: i64) -> Redeemed {
    Redeemed { points, worth: usd(minor) }
}

/// Of its 100.00 points have paid 10.00.
fn funded_with_points() -> Given<Escrow> {
    let terms = Terms { points_per_unit: 1, redeemed: Some(redeemed(500, 1_000)), ..terms(FORTNIGHT_S) };
    given::<Escrow>([]).and(Command::Open { terms }).and(Command::Fund { source: Source::Wallet, now: begin() })
}

fn funded() -> Given<Escrow> {
    opened().and(Command::Fund { source: Source::Wallet, now: begin() })
}

fn inspected() -> Given<Escrow> {
    funded().and(Command::Inspect { now: begin() })
}

fn disputed() -> Given<Escrow> {
    inspected().and(dispute(begin()))
}

fn released() -> Given<Escrow> {
    inspected().and(release(ReleaseCause::Confirmed, begin()))
}

fn dispute(now: Timestamp) -> Command {
    Command::Dispute { by: Disputant::Buyer, reason: "Scratched.".to_owned(), now }
}

fn release(cause: ReleaseCause, now: Timestamp) -> Command {
    Command::Release { cause, now }
}

fn refund(amount: Option<i64>, cause: RefundCause, now: Timestamp) -> Command {
    Command::Refund { refund: REFUND, amount: amount.map(usd), cause, now }
}

fn refund_released(amount: Option<i64>, seller_available: i64) -> Command {
    let (amount, seller_available) = (amount.map(usd), usd(seller_available));
    Command::RefundReleased { refund: REFUND, amount, seller_available, cause: RefundCause::Seller }
}

fn escrow() -> LedgerAccount {
    LedgerAccount::Escrow(ORDER)
}

fn available(owner: AccountId) -> LedgerAccount {
    LedgerAccount::Available(owner)
}

fn posting(debit: LedgerAccount, credit: LedgerAccount, minor: i64) -> Posting {
    Posting::new(debit, credit, usd(minor))
}

#[test]
fn the_buyers_money_goes_into_escrow_once() {
    let postings = vec![posting(available(BOB), escrow(), 10_000)];
    let funded_event = Event::EscrowFunded { amount: usd(10_000), ship_by: days(14), card: None, postings };
    opened().when(Command::Fund { source: Source::Wallet, now: begin() }).then([funded_event]);
    let again = Command::Fund { source: Source::Wallet, now: begin() };
    funded().when(again).then_refused(Error::WrongStatus { status: Status::Funded });
    given::<Escrow>([]).when(Command::Fund { source: Source::Wallet, now: begin() }).then_refused(Error::NotFound);
}

#[test]
fn what_is_not_paid_is_void_and_never_paid() {
    opened().when(Command::Void {}).then([Event::EscrowVoided {}]);
    let voided = || opened().and(Command::Void {});
    voided().when(Command::Void {}).then_nothing();
    voided()
        .when(Command::Fund { source: Source::Wallet, now: begin() })
        .then_refused(Error::WrongStatus { status: Status::Voided });
    funded().when(Command::Void {}).then_refused(Error::WrongStatus { status: Status::Funded });
}

#[test]
fn an_inspection_begins_with_the_delivery_and_reminds_after_three_and_twelve_days() {
    let inspect = Command::Inspect { now: days(5) };
    funded().when(inspect).then([Event::InspectionStarted { ends_at: days(19), remind_at: Some(days(8)) }]);
    let remind = |now| Command::Remind { now };
    inspected().when(remind(days(2))).then_refused(Error::TooEarlyToRemind { remind_at: days(3) });
    inspected().when(remind(days(3))).then([Event::InspectionReminded { remind_at: Some(days(12)) }]);
    let reminded = || inspected().and(remind(days(3)));
    reminded().when(remind(days(12))).then([Event::InspectionReminded { remind_at: None }]);
    reminded().and(remind(days(12))).when(remind(days(13))).then_nothing();
}

#[test]
fn a_short_inspection_reminds_nobody() {
    let short = given::<Escrow>([])
        .and(Command::Open { terms: terms(48 * 3_600) })
        .and(Command::Fund { source: Source::Wallet, now: begin() });
    let started = Event::InspectionStarted { ends_at: days(2), remind_at: None };
    short.when(Command::Inspect { now: begin() }).then([started]);
}

#[test]
fn nothing_is_released_before_the_delivery() {
    for cause in [ReleaseCause::Confirmed, ReleaseCause::InspectionOver] {
        funded().when(release(cause, days(30))).then_refused(Error::WrongStatus { status: Status::Funded });
    }
}

#[test]
fn the_seller_is_paid_less_the_fee_when_the_inspection_is_over_or_the_buyer_content() {
    let over = ReleaseCause::InspectionOver;
    let early = days(14) - TimeDelta::milliseconds(1);
    inspected().when(release(over, early)).then_refused(Error::InspectionRunning { ends_at: days(14) });
    for (cause, now) in [(over, days(14)), (ReleaseCause::Confirmed, begin())] {
        let postings = vec![posting(escrow(), available(ANN), 9_800), posting(escrow(), LedgerAccount::FeeIncome, 200)];
        let event = Event::EscrowReleased { cause, kept: usd(10_000), fee: usd(200), postings };
        inspected().when(release(cause, now)).then([event]);
    }
}

#[test]
fn a_dispute_stops_the_clock() {
    let early = days(14) - TimeDelta::milliseconds(1);
    inspected().when(dispute(days(14))).then_refused(Error::InspectionOver { ended_at: days(14) });
    let (by, reason) = (Disputant::Buyer, "Scratched.".to_owned());
    let expires_at = early + RESOLVED_WITHIN;
    inspected().when(dispute(early)).then([Event::EscrowDisputed { by, reason, expires_at }]);
    let over = release(ReleaseCause::InspectionOver, days(20));
    disputed().when(over).then_refused(Error::WrongStatus { status: Status::Disputed });
    disputed()
        .when(release(ReleaseCause::Confirmed, begin()))
        .then_refused(Error::WrongStatus { status: Status::Disputed });
}

#[test]
fn staff_resolves_what_is_disputed_and_nothing_else() {
    let resolved = ReleaseCause::Resolved(CLERK);
    inspected().when(release(resolved, begin())).then_refused(Error::NotDisputed { status: Status::Inspection });
    let back = RefundCause::Resolved(CLERK);
    funded().when(refund(None, back, begin())).then_refused(Error::NotDisputed { status: Status::Funded });
    let split = |minor| Command::Split { to_buyer: usd(minor), by: CLERK };
    funded().when(split(1)).then_refused(Error::NotDisputed { status: Status::Funded });
    // 30.00 stay with the seller, 18.00 and 12.00 of the lines: a fee of 0.36 and 0.24.
    let postings = vec![
        posting(escrow(), available(BOB), 7_000),
        posting(escrow(), available(ANN), 2_940),
        posting(escrow(), LedgerAccount::FeeIncome, 60),
    ];
    let event = Event::EscrowSplit {
        to_buyer: usd(7_000),
        kept: usd(3_000),
        fee: usd(60),
        by: CLERK,
        from_points: None,
        postings,
    };
    disputed().when(split(7_000)).then([event]);
    let all = Error::MoreThanRemains { remaining: usd(10_000), offered: usd(10_000) };
    disputed().when(split(10_000)).then_refused(all);
}

#[test]
fn a_dispute_that_nobody_resolves_is_refunded() {
    let expires_at = begin() + RESOLVED_WITHIN;
    let expired = |now| refund(None, RefundCause::DisputeExpired, now);
    let early = expires_at - TimeDelta::milliseconds(1);
    disputed().when(expired(early)).then_refused(Error::DisputeOpen { expires_at });
    let postings = vec![posting(escrow(), available(BOB), 10_000)];
    let (amount, cause) = (usd(10_000), RefundCause::DisputeExpired);
    disputed().when(expired(expires_at)).then([Event::EscrowRefunded {
        refund: REFUND,
        amount,
        cause,
        from_points: None,
        postings,
    }]);
}

#[test]
fn what_is_not_shipped_in_time_is_refunded() {
    let late = |now| refund(None, RefundCause::NotShipped, now);
    funded().when(late(days(14) - TimeDelta::seconds(1))).then_refused(Error::NotOverdue { ship_by: days(14) });
    assert_eq!(funded().and(late(days(14))).state().opened().unwrap().status(), Status::Refunded);
    inspected().when(late(days(14))).then_refused(Error::WrongStatus { status: Status::Inspection });
}

#[test]
fn a_partial_refund_is_never_charged() {
    let part = refund(Some(2_500), RefundCause::Seller, begin());
    let postings = vec![posting(escrow(), available(BOB), 2_500)];
    let (amount, cause) = (usd(2_500), RefundCause::Seller);
    inspected().when(part.clone()).then([Event::EscrowPartlyRefunded {
        refund: REFUND,
        amount,
        cause,
        from_points: None,
        postings,
    }]);
    let too_much = refund(Some(7_501), RefundCause::Seller, begin());
    let refused = Error::MoreThanRemains { remaining: usd(7_500), offered: usd(7_501) };
    inspected().and(part.clone()).when(too_much).then_refused(refused);
    let postings = vec![posting(escrow(), available(ANN), 7_350), posting(escrow(), LedgerAccount::FeeIncome, 150)];
    let cause = ReleaseCause::Confirmed;
    let event = Event::EscrowReleased { cause, kept: usd(7_500), fee: usd(150), postings };
    inspected().and(part).when(release(cause, begin())).then([event]);
}

#[test]
fn a_refund_after_the_release_takes_what_the_seller_has_and_the_fee_and_the_rest_is_owed() {
    let postings = vec![
        posting(available(ANN), available(BOB), 1_000),
        posting(LedgerAccount::Receivable(ANN), available(BOB), 3_900),
        posting(LedgerAccount::FeeIncome, available(BOB), 100),
    ];
    let event = Event::ReleaseRefunded {
        refund: REFUND,
        amount: usd(5_000),
        from_available: usd(1_000),
        owed: usd(3_900),
        fee_share: usd(100),
        cause: RefundCause::Seller,
        from_points: None,
        postings,
    };
    released().when(refund_released(Some(5_000), 1_000)).then([event]);
    let twice = released().and(refund_released(Some(5_000), 1_000));
    let refused = Error::MoreThanRemains { remaining: usd(5_000), offered: usd(5_001) };
    twice.when(refund_released(Some(5_001), 0)).then_refused(refused);
    inspected().when(refund_released(None, 0)).then_refused(Error::WrongStatus { status: Status::Inspection });
}

#[test]
fn nothing_happens_to_what_has_ended() {
    let refunded = || funded().and(refund(None, RefundCause::Cancelled, begin()));
    let refused = || Error::WrongStatus { status: Status::Refunded };
    refunded().when(release(ReleaseCause::Confirmed, begin())).then_refused(refused());
    refunded().when(refund(None, RefundCause::Seller, begin())).then_refused(refused());
    refunded().when(dispute(begin())).then_refused(refused());
    refunded().when(refund_released(None, 0)).then_refused(refused());
    released().when(dispute(begin())).then_refused(Error::WrongStatus { status: Status::Released });
}

#[test]
fn points_pay_at_the_expense_of_the_marketplace() {
    let with = |minor| Terms { redeemed: Some(redeemed(500, minor)), ..terms(FORTNIGHT_S) };
    let opened = |minor| given::<Escrow>([]).and(Command::Open { terms: with(minor) });
    let fund = || Command::Fund { source: Source::Wallet, now: begin() };
    let funded = |postings| Event::EscrowFunded { amount: usd(10_000), ship_by: days(14), card: None, postings };
    let expense = |minor| posting(LedgerAccount::MarketingExpense, escrow(), minor);
    opened(1_000).when(fund()).then([funded(vec![posting(available(BOB), escrow(), 9_000), expense(1_000)])]);
    opened(10_000).when(fund()).then([funded(vec![expense(10_000)])]);
    let refused = Error::MoreThanRemains { remaining: usd(10_000), offered: usd(10_001) };
    given::<Escrow>([]).when(Command::Open { terms: with(10_001) }).then_refused(refused);
    let nothing = Error::AmountNotPositive { offered: usd(0) };
    given::<Escrow>([]).when(Command::Open { terms: with(0) }).then_refused(nothing);
}

#[test]
fn what_points_have_paid_comes_back_as_points_in_proportion_and_once() {
    let cause = RefundCause::Seller;
    let back = |money, points| {
        vec![posting(escrow(), LedgerAccount::MarketingExpense, points), posting(escrow(), available(BOB), money)]
    };
    let part = || refund(Some(3_333), RefundCause::Seller, begin());
    let event = |minor, points| Event::EscrowPartlyRefunded {
        refund: REFUND,
        amount: usd(minor),
        cause,
        from_points: Some(usd(points)),
        postings: back(minor - points, points),
    };
    // 333 cents of 1,000 are 166 points and a half, which is money; it counts towards the next.
    funded_with_points().when(part()).then([event(3_333, 332)]);
    let once = || funded_with_points().and(part());
    once().when(part()).then([event(3_333, 334)]);
    let rest = Event::EscrowRefunded {
        refund: REFUND,
        amount: usd(6_667),
        cause,
        from_points: Some(usd(668)),
        postings: back(5_999, 668),
    };
    let all = || refund(None, RefundCause::Seller, begin());
    once().when(all()).then([rest]);
    assert_eq!(once().state().opened().unwrap().points_back_with(Some(usd(332))), 166);
    assert_eq!(once().and(all()).state().opened().unwrap().points_back_with(Some(usd(668))), 334);
    once().and(all()).when(all()).then_refused(Error::WrongStatus { status: Status::Refunded });
}

#[test]
fn what_is_less_than_a_point_comes_back_as_money() {
    // Two points of 10.00 have paid for all of it.
    let lines = vec![FeeLine { gross: usd(2_000), fee_bps: 200 }];
    let terms = Terms { lines, amount: usd(2_000), redeemed: Some(redeemed(2, 2_000)), ..terms(FORTNIGHT_S) };
    let paid = || {
        given::<Escrow>([])
            .and(Command::Open { terms: terms.clone() })
            .and(Command::Fund { source: Source::Wallet, now: begin() })
    };
    let cause = RefundCause::Seller;
    let postings = vec![posting(escrow(), available(BOB), 999)];
    let part = Event::EscrowPartlyRefunded { refund: REFUND, amount: usd(999), cause, from_points: None, postings };
    paid().when(refund(Some(999), cause, begin())).then([part]);
    let refunded = paid().and(refund(Some(999), cause, begin()));
    let postings =
        vec![posting(escrow(), LedgerAccount::MarketingExpense, 1_000), posting(escrow(), available(BOB), 1)];
    let (amount, from_points) = (usd(1_001), Some(usd(1_000)));
    let rest = Event::EscrowRefunded { refund: REFUND, amount, cause, from_points, postings };
    assert_eq!(refunded.state().opened().unwrap().points_back_with(None), 0);
    refunded.when(refund(None, cause, begin())).then([rest]);
}

#[test]
fn parts_of_points_that_did_not_come_back_when_refunds_were_still_divided_so_come_with_the_next() {
    let (cause, divided) = (RefundCause::Seller, Some(usd(333)));
    let postings =
        vec![posting(escrow(), LedgerAccount::MarketingExpense, 333), posting(escrow(), available(BOB), 3_000)];
    let terms = Terms { redeemed: Some(redeemed(500, 1_000)), ..terms(FORTNIGHT_S) };
    let old = Event::EscrowPartlyRefunded { refund: REFUND, amount: usd(3_333), cause, from_points: divided, postings };
    let opened =
        given::<Escrow>([Event::EscrowOpened { terms }]).and(Command::Fund { source: Source::Wallet, now: begin() });
    let mut state = opened.state().clone();
    state.evolve(&old);
    assert_eq!(state.opened().unwrap().points_back_with(divided), 166);
    for event in state.decide(refund(None, cause, begin())).unwrap() {
        state.evolve(&event);
    }
    let after = state.opened().unwrap();
    assert_eq!(after.refunded_from_points, usd(1_000));
    assert_eq!(after.points_back_with(Some(usd(667))), 334);
}

#[test]
fn half_a_point_that_did_not_come_back_is_whole_with_the_other_half() {
    let cause = RefundCause::Seller;
    let terms = Terms { redeemed: Some(redeemed(5_000, 10_000)), ..terms(FORTNIGHT_S) };
    let old = Event::EscrowPartlyRefunded {
        refund: REFUND,
        amount: usd(3_333),
        cause,
        from_points: Some(usd(3_333)),
        postings: vec![posting(escrow(), LedgerAccount::MarketingExpense, 3_333)],
    };
    let opened =
        given::<Escrow>([Event::EscrowOpened { terms }]).and(Command::Fund { source: Source::Wallet, now: begin() });
    let mut state = opened.state().clone();
    state.evolve(&old);
    let other = Event::EscrowPartlyRefunded {
        refund: REFUND,
        amount: usd(1),
        cause,
        from_points: Some(usd(1)),
        postings: vec![posting(escrow(), LedgerAccount::MarketingExpense, 1)],
    };
    assert_eq!(state.decide(refund(Some(1), cause, begin())), Ok(vec![other]));
}

#[test]
fn points_of_what_was_released_come_back_from_the_seller_and_never_twice() {
    let released = || {
        let inspected = funded_with_points().and(Command::Inspect { now: begin() });
        inspected.and(release(ReleaseCause::Confirmed, begin()))
    };
    assert_eq!(released().state().opened().unwrap().points_earned(), 90, "points earn no points");
    let expense = || LedgerAccount::MarketingExpense;
    let postings = vec![
        posting(available(ANN), expense(), 300),
        posting(LedgerAccount::Receivable(ANN), expense(), 200),
        posting(LedgerAccount::Receivable(ANN), available(BOB), 4_400),
        posting(LedgerAccount::FeeIncome, available(BOB), 100),
    ];
    let event = Event::ReleaseRefunded {
        refund: REFUND,
        amount: usd(5_000),
        from_available: usd(300),
        owed: usd(4_600),
        fee_share: usd(100),
        cause: RefundCause::Seller,
        from_points: Some(usd(500)),
        postings,
    };
    released().when(refund_released(Some(5_000), 300)).then([event]);
    let half = released().and(refund_released(Some(5_000), 300));
    assert_eq!(half.state().opened().unwrap().points_lost_with(usd(5_000), Some(usd(500))), 45);
    let nothing_left = half.and(refund_released(None, 0));
    nothing_left.when(refund_released(None, 0)).then_refused(Error::AmountNotPositive { offered: usd(0) });
}

#[test]
fn statuses_have_the_names_of_json() {
    let awaiting = [Status::AwaitingPayment, Status::Funded, Status::Inspection, Status::Disputed, Status::ChargedBack];
    for status in awaiting.into_iter().chain([Status::Voided, Status::Released, Status::Refunded, Status::Split]) {
        assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        assert_eq!(status.to_string(), status.name());
    }
}

#[test]
fn nobody_is_reminded_at_the_end_of_an_inspection() {
    let [first, second] = REMINDED_AFTER.map(|after| begin() + after);
    let next = |now, ends_at| next_reminder(begin(), now, ends_at);
    let moment = TimeDelta::milliseconds(1);
    assert_eq!((next(begin(), first), next(begin(), first + moment)), (None, Some(first)));
    assert_eq!((next(first, second), next(first, second + moment)), (None, Some(second)));
}
