//! Given what has become of a commission, when it is asked something, then this.

use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::fees::{FeeLine, fee_on, gross};
use crate::money::Currency;
use crate::testing::{Given, given};

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const ORDER: OrderId = OrderId(Uuid::from_u128(10));
const REFUND: RefundId = RefundId(Uuid::from_u128(20));
const PROMISE: Promise =
    Promise { affiliate: ANN, click: ReferralClickId(Uuid::from_u128(30)), rate_bps: 500, within_fee: false };
const PENDING: LedgerAccount = LedgerAccount::AffiliatePending(ANN);
const AVAILABLE: LedgerAccount = LedgerAccount::Available(ANN);
const OWED: LedgerAccount = LedgerAccount::Receivable(ANN);
const EXPENSE: LedgerAccount = LedgerAccount::AffiliateExpense;

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn accrue(base: i64) -> Command {
    Command::Accrue { order: ORDER, promise: PROMISE, base: usd(base), fee: usd(base * 2 / 100) }
}

fn reverse(left: i64, available: i64) -> Command {
    Command::Reverse { refund: REFUND, left: usd(left), fee: usd(left), available: usd(available), can_owe: true }
}

/// Of an order of 105.00.
fn pending() -> Given<Commission> {
    given::<Commission>([]).and(accrue(10_500))
}

fn vested() -> Given<Commission> {
    pending().and(Command::Vest {})
}

fn left(commission: &Given<Commission>) -> Money {
    commission.state().earned().unwrap().amount
}

#[test]
fn it_accrues_as_a_share_of_the_fee_base_rounded_half_up() {
    let amount = usd(525);
    let postings = vec![Posting::new(EXPENSE, PENDING, amount)];
    let base = usd(10_500);
    let accrued = Event::CommissionAccrued { order: ORDER, promise: PROMISE, base, fee: None, amount, postings };
    given::<Commission>([]).when(accrue(10_500)).then([accrued]);
    for (base, commission) in [(1_010, 51), (1_009, 50), (10, 1)] {
        assert_eq!(left(&given::<Commission>([]).and(accrue(base))), usd(commission), "{base}");
    }
    given::<Commission>([]).when(accrue(9)).then_nothing();
}

#[test]
fn it_is_never_more_than_the_fee_where_that_bounds_it() {
    let promise = Promise { within_fee: true, ..PROMISE };
    let fee_of_two_per_cent = Command::Accrue { order: ORDER, promise, base: usd(10_500), fee: usd(210) };
    let bounded = || given::<Commission>([]).and(fee_of_two_per_cent);
    assert_eq!(left(&bounded()), usd(210));
    let reverse = |left: i64, fee: i64| Command::Reverse {
        refund: REFUND,
        left: usd(left),
        fee: usd(fee),
        available: usd(1_000),
        can_owe: true,
    };
    for paid_out in [bounded(), bounded().and(Command::Vest {})] {
        assert_eq!(left(&paid_out.and(reverse(6_000, 120))), usd(120));
    }
    // Cents of a fee wander between lines.
    bounded().and(reverse(6_000, 120)).when(reverse(5_999, 121)).then_nothing();
    let free = Command::Accrue { order: ORDER, promise, base: usd(10_500), fee: usd(0) };
    given::<Commission>([]).when(free).then_nothing();
}

#[test]
fn whoever_is_forgotten_gives_back_what_is_there_and_owes_nothing() {
    let forgotten = |left: i64, available: i64| Command::Reverse {
        refund: REFUND,
        left: usd(left),
        fee: usd(left),
        available: usd(available),
        can_owe: false,
    };
    vested().when(forgotten(10_000, 0)).then_nothing();
    let postings = vec![Posting::new(AVAILABLE, EXPENSE, usd(20))];
    let event = Event::VestedCommissionReversed {
        refund: REFUND,
        left: usd(0),
        amount: usd(20),
        from_available: usd(20),
        owed: usd(0),
        postings,
    };
    vested().when(forgotten(0, 20)).then([event]);
    // What is pending is nobody's yet.
    assert_eq!(left(&pending().and(forgotten(0, 0))), usd(0));
}

#[test]
fn an_order_has_one_commission() {
    pending().when(accrue(10_500)).then_refused(Error::AlreadyAccrued);
    vested().when(accrue(10_500)).then_refused(Error::AlreadyAccrued);
}

#[test]
fn it_vests_once() {
    let postings = vec![Posting::new(PENDING, AVAILABLE, usd(525))];
    pending().when(Command::Vest {}).then([Event::CommissionVested { amount: usd(525), postings }]);
    vested().when(Command::Vest {}).then_nothing();
    given::<Commission>([]).when(Command::Vest {}).then_nothing();
}

#[test]
fn what_goes_back_before_the_seller_is_paid_takes_its_part_along() {
    let postings = vec![Posting::new(PENDING, EXPENSE, usd(25))];
    let cause = ReversalCause::Refunded { refund: REFUND, left: usd(10_000) };
    let event = Event::CommissionReversed { cause, amount: usd(25), postings };
    pending().when(reverse(10_000, 0)).then([event]);
    let gone = pending().and(reverse(10_000, 0)).and(reverse(0, 0));
    assert_eq!(left(&gone), usd(0));
    gone.when(Command::Vest {}).then_nothing();
}

#[test]
fn what_goes_back_afterwards_is_taken_from_what_is_there_and_the_rest_is_owed() {
    let postings = vec![Posting::new(AVAILABLE, EXPENSE, usd(20)), Posting::new(OWED, EXPENSE, usd(5))];
    let event = Event::VestedCommissionReversed {
        refund: REFUND,
        left: usd(10_000),
        amount: usd(25),
        from_available: usd(20),
        owed: usd(5),
        postings,
    };
    vested().when(reverse(10_000, 20)).then([event]);
    vested().when(reverse(10_500, 20)).then_nothing();
}

#[test]
fn with_an_order_that_nobody_earns_with_nothing_is_reversed() {
    given::<Commission>([]).when(reverse(0, 0)).then_nothing();
}

#[test]
fn what_could_not_be_paid_is_not_reversed_again() {
    let (cause, postings) = (ReversalCause::CannotBePaid, vec![Posting::new(PENDING, EXPENSE, usd(525))]);
    pending().when(Command::Forgo {}).then([Event::CommissionReversed { cause, amount: usd(525), postings }]);
    pending().and(Command::Forgo {}).when(reverse(5_000, 0)).then_nothing();
    pending().and(Command::Forgo {}).when(Command::Vest {}).then_nothing();
    vested().when(Command::Forgo {}).then_nothing();
}

proptest! {
    #[test]
    fn what_has_accrued_is_pending_vested_or_reversed_to_the_cent(
        base in 1..1_000_000_i64,
        rate_bps in 0..=10_000_u32,
        permilles in prop::collection::vec((0..=1_000_i64, any::<bool>(), 0..100_i64), 0..12),
    ) {
        let promise = Promise { rate_bps, ..PROMISE };
        let mut commission = Commission::default();
        let mut books = HashMap::<LedgerAccount, i64>::new();
        let mut take = |commission: &mut Commission, command| {
            for event in commission.decide(command).unwrap() {
                let read: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
                assert_eq!(read, event);
                commission.evolve(&event);
                for posting in event.postings() {
                    assert!(posting.amount.is_positive());
                    *books.entry(posting.debit.clone()).or_default() -= posting.amount.minor();
                    *books.entry(posting.credit.clone()).or_default() += posting.amount.minor();
                }
            }
            let book = |account: &LedgerAccount| books.get(account).copied().unwrap_or(0);
            [book(&PENDING), book(&AVAILABLE) + book(&OWED), book(&EXPENSE)]
        };
        let accrue = Command::Accrue { order: ORDER, promise, base: usd(base), fee: usd(base) };
        take(&mut commission, accrue);
        let mut left = base;
        for (permille, vests, available) in permilles {
            left = left * permille / 1_000;
            let command = if vests { Command::Vest {} } else { reverse(left, available) };
            let [pending, vested, expense] = take(&mut commission, command);
            prop_assert_eq!(pending + vested + expense, 0);
            let amount = commission.earned().map_or(0, |earned| earned.amount.minor());
            let expected = if matches!(commission, Commission::Vested(_)) { [0, amount] } else { [amount, 0] };
            prop_assert_eq!([pending, vested], expected);
            if !vests {
                prop_assert_eq!(amount, usd(left).share_bps(rate_bps).unwrap().minor(), "the share of what is left");
            }
        }
    }

    #[test]
    fn within_the_fee_the_marketplace_never_pays_out_more_than_it_has_taken(
        lines in prop::collection::vec((1..100_000_i64, 0..=2_000_u32), 1..6),
        rate_bps in 0..=10_000_u32,
        permilles in prop::collection::vec((0..=1_000_i64, any::<bool>(), 0..100_i64), 0..8),
    ) {
        let lines: Vec<FeeLine> =
            lines.into_iter().map(|(gross, fee_bps)| FeeLine { gross: usd(gross), fee_bps }).collect();
        let mut left = gross(&lines, Currency::USD).unwrap();
        let mut fee = fee_on(left, &lines).unwrap();
        let promise = Promise { rate_bps, within_fee: true, ..PROMISE };
        let mut commission = Commission::default();
        let take = |commission: &mut Commission, command| {
            for event in commission.decide(command).unwrap() {
                commission.evolve(&event);
            }
            commission.earned().map_or(0, |earned| earned.amount.minor())
        };
        let earned = take(&mut commission, Command::Accrue { order: ORDER, promise, base: left, fee });
        prop_assert!(earned <= fee.minor(), "{} of {}", earned, fee);
        for (permille, vests, available) in permilles {
            if vests {
                take(&mut commission, Command::Vest {});
            }
            left = usd(left.minor() * permille / 1_000);
            // As an escrow does it: what it has taken never grows.
            fee = fee_on(left, &lines).unwrap().min(fee).unwrap();
            let available = usd(available);
            let earned =
                take(&mut commission, Command::Reverse { refund: REFUND, left, fee, available, can_owe: true });
            prop_assert!(earned <= fee.minor(), "{} of {}", earned, fee);
        }
    }
}
