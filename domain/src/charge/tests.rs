//! Given what has happened to a charge, when a provider says something, then this.

use chrono::TimeDelta;
use uuid::Uuid;

use super::*;
use crate::money::Currency;
use crate::testing::{Given, given};

mod disputes;
mod laws;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const CHARGE: ChargeId = ChargeId(Uuid::from_u128(2));
const GROUP: OrderGroupId = OrderGroupId(Uuid::from_u128(3));
const ORDERS: [OrderId; 2] = [OrderId(Uuid::from_u128(4)), OrderId(Uuid::from_u128(5))];
const REFUND: RefundId = RefundId(Uuid::from_u128(6));

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::seconds(second)
}

fn clearing() -> LedgerAccount {
    LedgerAccount::ProviderClearing("sandbox".to_owned())
}

fn unapplied() -> LedgerAccount {
    LedgerAccount::Unapplied(CHARGE)
}

fn posting(debit: LedgerAccount, credit: LedgerAccount, minor: i64) -> Posting {
    Posting::new(debit, credit, usd(minor))
}

fn terms(minor: i64) -> Terms {
    let method = PaymentMethod { provider: "sandbox".to_owned(), token: "card".to_owned() };
    Terms {
        charge: CHARGE,
        payer: ANN,
        guest: false,
        purpose: Purpose::Orders(GROUP),
        amount: usd(minor),
        method,
        requested_at: Timestamp::default(),
    }
}

fn requested() -> Given<Charge> {
    given::<Charge>([]).and(Command::Request { terms: terms(10_000) })
}

fn part(order: usize, minor: i64) -> Part {
    Part { order: Some(ORDERS[order]), amount: usd(minor) }
}

fn succeed(applied: &[Part]) -> Command {
    Command::Succeed { reference: "ch_1".to_owned(), fee: None, applied: applied.to_vec() }
}

fn fail() -> Command {
    Command::Fail { reason: "no".to_owned() }
}

/// All of it has paid two orders.
fn paid() -> Given<Charge> {
    requested().and(succeed(&[part(0, 6_000), part(1, 4_000)]))
}

/// It has come too late.
fn late() -> Given<Charge> {
    requested().and(succeed(&[]))
}

fn back() -> RefundId {
    RefundId::of_unapplied(CHARGE)
}

#[test]
fn what_pays_orders_is_posted_by_their_escrows() {
    let applied = [part(0, 6_000), part(1, 4_000)];
    requested().when(succeed(&applied)).then([Event::ChargeSucceeded {
        reference: "ch_1".to_owned(),
        applied: applied.to_vec(),
        unapplied: None,
        fee: None,
        postings: vec![],
    }]);
    paid().when(succeed(&applied)).then_nothing();
    paid().when(succeed(&[])).then_nothing();
    let more = requested().when(succeed(&[part(0, 10_001)]));
    more.then_refused(Error::MoreThanCharged { remaining: usd(10_000), offered: usd(10_001) });
    given::<Charge>([]).when(succeed(&[])).then_refused(Error::NotFound);
    requested().when(Command::Request { terms: terms(1) }).then_refused(Error::AlreadyRequested);
    let nothing = Command::Request { terms: terms(0) };
    given::<Charge>([]).when(nothing).then_refused(Error::AmountNotPositive { offered: usd(0) });
}

#[test]
fn what_comes_too_late_goes_back_by_itself() {
    let (refund, order) = (back(), None);
    requested().when(succeed(&[part(0, 6_000)])).then([
        Event::ChargeSucceeded {
            reference: "ch_1".to_owned(),
            applied: vec![part(0, 6_000)],
            unapplied: Some(usd(4_000)),
            fee: None,
            postings: vec![posting(clearing(), unapplied(), 4_000)],
        },
        Event::ChargeRefundRequested { refund, order, amount: usd(4_000) },
    ]);
    let reference = "re_1".to_owned();
    let confirm = Command::ConfirmRefund { refund, reference: reference.clone() };
    let postings = vec![posting(unapplied(), clearing(), 10_000)];
    late().when(confirm.clone()).then([Event::ChargeRefunded { refund, attempt: 1, reference, postings }]);
    late().and(confirm.clone()).when(confirm).then_nothing();
}

#[test]
fn the_first_word_on_how_it_ends_counts_but_what_was_declined_may_still_succeed() {
    requested().when(fail()).then([Event::ChargeFailed { reason: "no".to_owned() }]);
    paid().when(fail()).then_nothing();
    requested().and(fail()).when(fail()).then_nothing();
    let tried_again = requested().and(fail()).and(succeed(&[part(0, 10_000)]));
    assert!(matches!(tried_again.state().requested().unwrap().phase, Phase::Succeeded { .. }));
    for late in [
        Command::Delay { reference: None, check_at: at(1) },
        Command::AwaitAction { reference: "ch_1".to_owned(), check_at: at(1) },
    ] {
        paid().when(late.clone()).then_nothing();
        requested().and(fail()).when(late).then_nothing();
    }
}

#[test]
fn whoever_has_something_to_do_has_it_until_the_end() {
    let reference = "ch_1".to_owned();
    let action = Command::AwaitAction { reference: reference.clone(), check_at: at(10) };
    let required = Event::ChargeActionRequired { reference: reference.clone(), check_at: at(10) };
    requested().when(action.clone()).then([required]);
    requested().and(action.clone()).when(action.clone()).then_nothing();
    let waits = requested().and(action).and(Command::Delay { reference: None, check_at: at(20) });
    let phase = waits.state().requested().unwrap().phase.clone();
    assert_eq!(phase, Phase::Open { reference: Some(reference), check_at: Some(at(20)), action: true });
    assert!(!waits.state().requested().unwrap().is_with_provider());
    assert!(requested().state().requested().unwrap().is_with_provider());
}

#[test]
fn what_the_provider_keeps_is_booked_once() {
    let kept = posting(LedgerAccount::ProviderFeeExpense, clearing(), 290);
    let with_fee = |applied: &[Part]| Command::Succeed {
        reference: "ch_1".to_owned(),
        fee: Some(usd(290)),
        applied: applied.to_vec(),
    };
    let applied = [part(0, 10_000)];
    requested().when(with_fee(&applied)).then([Event::ChargeSucceeded {
        reference: "ch_1".to_owned(),
        applied: applied.to_vec(),
        unapplied: None,
        fee: Some(usd(290)),
        postings: vec![kept.clone()],
    }]);
    let later = Event::ProviderFeeCharged { fee: usd(290), postings: vec![kept] };
    paid().when(with_fee(&[])).then([later.clone()]);
    paid().when(Command::NoteFee { fee: usd(290) }).then([later]);
    paid().and(with_fee(&[])).when(with_fee(&[])).then_nothing();
    requested().when(Command::NoteFee { fee: usd(290) }).then_nothing();
}

#[test]
fn a_refund_goes_back_to_where_it_was_charged_and_never_more_than_came_from_there() {
    let order = ORDERS[0];
    let refund = |minor| Command::Refund { refund: REFUND, order, amount: usd(minor) };
    let requested_event = Event::ChargeRefundRequested { refund: REFUND, order: Some(order), amount: usd(6_000) };
    paid().when(refund(6_000)).then([requested_event]);
    let asked = || paid().and(refund(6_000));
    asked().when(refund(6_000)).then_nothing();
    let other = Command::Refund { refund: RefundId(Uuid::from_u128(7)), order, amount: usd(4_001) };
    let too_much = Error::MoreThanCharged { remaining: usd(4_000), offered: usd(4_001) };
    asked().when(other).then_refused(too_much);
    requested().when(refund(1)).then_refused(Error::NotSucceeded);
    let reference = "re_1".to_owned();
    let postings = vec![posting(LedgerAccount::RefundPending(CHARGE), clearing(), 6_000)];
    asked()
        .when(Command::ConfirmRefund { refund: REFUND, reference: reference.clone() })
        .then([Event::ChargeRefunded { refund: REFUND, attempt: 1, reference, postings }]);
}

#[test]
fn a_refund_that_fails_or_comes_back_is_tried_again_and_not_for_ever() {
    let (refund, reason) = (back(), "closed".to_owned());
    let fail = |second| Command::FailRefund { refund, reason: reason.clone(), now: at(second) };
    let retry = |now| Command::RetryRefund { refund, now };
    let (failed_at, retry_at) = (at(0), at(0) + RETRIED_AFTER);
    let failed = |postings, retry_at| {
        let (attempt, reason) = (1, reason.clone());
        Event::ChargeRefundFailed { refund, attempt, reason, retry_at, postings }
    };
    late().when(fail(0)).then([failed(vec![], Some(retry_at))]);
    late().and(fail(0)).when(fail(1)).then_nothing();
    let confirmed = Command::ConfirmRefund { refund, reference: "re_1".to_owned() };
    late().and(fail(0)).when(confirmed).then_nothing();
    late().and(fail(0)).when(retry(failed_at)).then_refused(Error::TooEarlyToRetry { retry_at });
    late().and(fail(0)).when(retry(retry_at)).then([Event::ChargeRefundRetried { refund, attempt: 2 }]);
    late().when(retry(retry_at)).then_nothing();
    let confirm = || Command::ConfirmRefund { refund, reference: "re_1".to_owned() };
    let returned = posting(clearing(), unapplied(), 10_000);
    late().and(confirm()).when(fail(0)).then([failed(vec![returned], Some(retry_at))]);
    let mut often = late().and(fail(0));
    for _ in 1..MOST_ATTEMPTS {
        often = often.and(retry(retry_at)).and(fail(0));
    }
    let state = often.state().requested().unwrap().refunds[&refund].clone();
    assert_eq!((state.attempt, state.state), (MOST_ATTEMPTS, Refunding::Failed { retry_at: None }));
    often.when(retry(retry_at)).then_nothing();
}

#[test]
fn a_refund_that_takes_its_time_is_asked_about_until_it_has_ended() {
    let (refund, check_at) = (back(), at(10));
    let delay =
        |reference: Option<&str>| Command::DelayRefund { refund, reference: reference.map(str::to_owned), check_at };
    let delayed = Event::ChargeRefundDelayed { refund, reference: Some("re_1".to_owned()), check_at };
    late().when(delay(Some("re_1"))).then([delayed.clone()]);
    late().and(delay(Some("re_1"))).when(delay(None)).then([delayed]);
    let confirm = Command::ConfirmRefund { refund, reference: "re_1".to_owned() };
    late().and(confirm).when(delay(None)).then_nothing();
    let unknown = RefundId(Uuid::nil());
    late().when(Command::DelayRefund { refund: unknown, reference: None, check_at }).then_nothing();
    late().when(Command::RetryRefund { refund: unknown, now: at(0) }).then_refused(Error::NotFound);
    assert_ne!(refund.operation(1), refund.operation(2));
}
