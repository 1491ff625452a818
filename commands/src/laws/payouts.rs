//! What holds of payouts and wallets together, whatever goes out by hand and by itself, however often providers say how it
//! has ended, and in whatever order: the books balance, each payout ends once and comes back once at most, no more goes
//! out on a day than may, and nothing goes where it was not said before that it may.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::payee::{Payee, Plan, Schedule};
use domain::payout;
use domain::{MethodId, WithdrawalId};

use super::*;
use crate::payments::{Notice, What, notices};
use crate::payouts::{self, Bounds};
use crate::timers::Kind;

const ANN: AccountId = SELLERS[0];
const LEAST: i64 = 50;
const MOST_PER_DAY: i64 = 5_000;
const COOLING: TimeDelta = TimeDelta::hours(2);
const METHODS: u128 = 3;

/// What guards money that goes out here.
pub(super) fn rules() -> PayoutRules {
    let bounds = Bounds { least: Some(LEAST), most_per_day: Some(MOST_PER_DAY) };
    PayoutRules { cooling: COOLING, bounds: Arc::new(BTreeMap::from([(Currency::USD, bounds)])) }
}

/// How a payout is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Sent,
    Paid,
    Failed,
    Returned,
}

/// Every payout, and what went out on each day.
#[derive(Debug, Default)]
pub(super) struct Seen {
    payouts: BTreeMap<WithdrawalId, (i64, Fate)>,
    days: BTreeMap<(Uuid, NaiveDate), i64>,
}

impl Seen {
    pub(super) fn take(&mut self, recorded: &Recorded) {
        let DomainEvent::Payout(id, event) = &recorded.event else { return };
        let (before, after) = match event {
            payout::Event::PayoutSent { wallet, amount, .. } => {
                let day = self.days.entry((wallet.0, recorded.recorded_at.date_naive())).or_default();
                *day += amount.minor();
                assert!(amount.minor() >= LEAST && *day <= MOST_PER_DAY, "{amount}, {day} on its day");
                let fresh = self.payouts.insert(*id, (amount.minor(), Fate::Sent)).is_none();
                assert!(fresh, "{id} is sent twice");
                return;
            }
            payout::Event::PayoutPaid {} => (Fate::Sent, Fate::Paid),
            payout::Event::PayoutFailed {} => (Fate::Sent, Fate::Failed),
            payout::Event::PayoutReturned {} => (Fate::Paid, Fate::Returned),
        };
        let (_, fate) = self.payouts.get_mut(id).unwrap();
        assert_eq!(*fate, before, "{id} has ended twice");
        *fate = after;
    }

    fn sum(&self, wanted: Fate) -> i64 {
        self.payouts.values().filter(|(_, fate)| *fate == wanted).map(|(minor, _)| *minor).sum()
    }

    fn any(&self, index: usize) -> Option<WithdrawalId> {
        self.payouts.keys().nth(index.checked_rem(self.payouts.len())?).copied()
    }
}

#[derive(Clone, Debug)]
enum Act {
    Keep(u128),
    Remove(u128),
    Withdraw(i64, u128),
    Plan(Option<Schedule>, u128),
    Sell(i64),
    ChangePassword,
    Answer(usize, bool),
    Notice(usize, bool),
}

fn any_act() -> impl Strategy<Value = (Act, i64)> {
    let schedule = prop_oneof![Just(None), Just(Some(Schedule::OnRelease)), Just(Some(Schedule::Weekly))];
    let act = prop_oneof![
        3 => (0..METHODS).prop_map(Act::Keep),
        1 => (0..METHODS).prop_map(Act::Remove),
        4 => (1..6_000_i64, 0..METHODS).prop_map(|(minor, method)| Act::Withdraw(minor, method)),
        3 => (schedule, 0..METHODS).prop_map(|(schedule, method)| Act::Plan(schedule, method)),
        4 => (1..9_000_i64).prop_map(Act::Sell),
        1 => Just(Act::ChangePassword),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(index, paid)| Act::Answer(index, paid)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(index, paid)| Act::Notice(index, paid)),
    ];
    // Mostly hours pass, now and then a week.
    let wait_hours = prop_oneof![3 => 0..2_i64, 4 => 2..30_i64, 1 => 100..400_i64];
    (act, wait_hours)
}

fn method_id(number: u128) -> MethodId {
    MethodId(Uuid::from_u128(900 + number))
}

fn bank(number: u128) -> PaymentMethod {
    PaymentMethod { provider: "sandbox".to_owned(), token: format!("ba_{number}") }
}

fn answer(market: &mut Market, index: usize, paid: bool) -> Result<(), Refusal> {
    let Some(withdrawal) = market.seen.any(index) else { return Ok(()) };
    let outcome = if paid {
        Outcome::Succeeded { reference: "po".to_owned(), fee: None }
    } else {
        Outcome::Declined { reason: "closed".to_owned() }
    };
    let wallet = WalletId::of(ANN, Currency::USD);
    market.submit(|world| payouts::report(world, wallet, withdrawal, outcome.clone()))
}

fn hear(market: &mut Market, index: usize, paid: bool) -> Result<(), Refusal> {
    let Some(withdrawal) = market.seen.any(index) else { return Ok(()) };
    let what = if paid { What::PayoutPaid } else { What::PayoutFailed { reason: "closed".to_owned() } };
    let (id, reference) = (withdrawal.to_string(), "po".to_owned());
    let notice = Notice { id, at: market.now, operation: Some(withdrawal.0), reference, what };
    market.submit(|world| notices::take(world, "sandbox", &notice))
}

fn perform(market: &mut Market, act: &Act) -> Result<(), Refusal> {
    match *act {
        Act::Keep(number) => {
            let label = Sealed::from_ciphertext(ANN, "bank".to_owned());
            market.submit(|world| payouts::add_method(world, ANN, method_id(number), &bank(number), &label))
        }
        Act::Remove(number) => market.submit(|world| payouts::remove_method(world, ANN, method_id(number))),
        Act::Withdraw(minor, number) => {
            let (withdrawal, to) = (WithdrawalId(market.mint()), bank(number));
            market.submit(|world| payouts::request(world, ANN, withdrawal, usd(minor), &to, &rules()))
        }
        Act::Plan(schedule, number) => {
            let plan = schedule.map(|schedule| Plan { schedule, method: method_id(number) });
            market.submit(|world| payouts::set_plan(world, ANN, Currency::USD, plan))
        }
        Act::Sell(minor) => {
            market.fund(ANN, minor);
            market.submit(|world| payouts::note_sale(world, ANN, Currency::USD))
        }
        Act::ChangePassword => market.submit(|world| payouts::note_access_change(world, ANN)),
        Act::Answer(index, paid) => answer(market, index, paid),
        Act::Notice(index, paid) => {
            let heard = hear(market, index, paid);
            assert_eq!(heard, Ok(()), "what a provider says is never refused");
            Ok(())
        }
    }
}

/// What must hold after every commit; `brought` is all that was ever paid in for Ann.
fn check(market: &mut Market, clearing_before: i64, brought: i64) {
    market.check();
    let (pending, paid) = (market.seen.sum(Fate::Sent), market.seen.sum(Fate::Paid));
    assert_eq!(market.book(&LedgerAccount::PayoutPending(ANN)), pending, "what is on its way");
    let clearing = market.book(&LedgerAccount::ProviderClearing("sandbox".to_owned()));
    assert_eq!(clearing, clearing_before - brought + paid, "what the provider has");
    assert_eq!(market.book(&LedgerAccount::Available(ANN)), brought - pending - paid, "what is Ann's");
    // A plan that waits for something has a clock, and no other has.
    let WalletId(wallet) = WalletId::of(ANN, Currency::USD);
    let due_at = market.state::<Payee>(ANN).plan(Currency::USD).and_then(|followed| followed.due_at);
    assert_eq!(market.timers.get(&(Kind::PayoutDue, ANN.0, wallet)).copied(), due_at);
}

proptest! {
    #[test]
    fn every_payout_ends_once_and_no_money_is_lost_or_made(acts in prop::collection::vec(any_act(), 1..60)) {
        let mut market = Market::open();
        let clearing = market.book(&LedgerAccount::ProviderClearing("sandbox".to_owned()));
        let mut brought = 0;
        for (act, wait_hours) in acts {
            market.advance(market.now + TimeDelta::hours(wait_hours));
            check(&mut market, clearing, brought);
            if let Act::Sell(minor) = act {
                brought += minor;
            }
            // What the rules refuse leaves no trace, which the next look shows.
            let _ = perform(&mut market, &act);
            check(&mut market, clearing, brought);
        }
        // Told again, all of it has ended already.
        for index in 0..market.seen.payouts.len() {
            let _ = answer(&mut market, index, true);
            let ended = market.positions;
            prop_assert_eq!(hear(&mut market, index, true), Ok(()));
            prop_assert_eq!(market.positions, ended);
        }
        market.advance(market.now + TimeDelta::days(30));
        check(&mut market, clearing, brought);
    }
}

#[test]
fn a_plan_pays_out_day_by_day_as_much_as_may_go() {
    let mut market = Market::open();
    for act in [Act::Keep(0), Act::Plan(Some(Schedule::OnRelease), 0), Act::Sell(12_000)] {
        perform(&mut market, &act).unwrap();
    }
    // The method is too new for two hours.
    market.advance(market.now + COOLING - TimeDelta::seconds(1));
    assert!(market.seen.payouts.is_empty());
    market.advance(market.now + TimeDelta::seconds(1));
    let sent = |market: &Market| market.seen.payouts.values().map(|(minor, _)| *minor).sum::<i64>();
    assert_eq!(sent(&market), 5_000);
    market.advance(market.now + TimeDelta::days(1));
    assert_eq!(sent(&market), 10_000);
    market.advance(market.now + TimeDelta::days(1));
    assert_eq!((sent(&market), market.seen.payouts.len()), (12_000, 3));
    // What is left is less than goes out at once: it waits for more.
    perform(&mut market, &Act::Sell(LEAST - 1)).unwrap();
    market.advance(market.now + TimeDelta::days(1));
    assert_eq!(sent(&market), 12_000);
    perform(&mut market, &Act::Sell(1)).unwrap();
    market.advance(market.now + TimeDelta::days(1));
    assert_eq!(sent(&market), 12_050);
}

#[test]
fn nothing_goes_out_by_itself_for_whoever_is_suspended() {
    let mut market = Market::open();
    for act in [Act::Keep(0), Act::Plan(Some(Schedule::Weekly), 0), Act::Sell(1_000)] {
        perform(&mut market, &act).unwrap();
    }
    let reason = Sealed::from_ciphertext(ANN, "why".to_owned());
    market.submit(|world| accounts::suspend(world, ANN, reason.clone(), Granter::Operator)).unwrap();
    market.advance(market.now + TimeDelta::days(8));
    assert!(market.seen.payouts.is_empty());
    market.submit(|world| accounts::reinstate(world, ANN, Granter::Operator)).unwrap();
    market.advance(market.now + TimeDelta::days(7));
    assert_eq!(market.seen.payouts.len(), 1);
}
