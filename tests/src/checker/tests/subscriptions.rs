//! The faults of subscriptions and their timers that the checker must find.

use domain::plan::Terms;
use domain::subscription::{Command as Wanted, EndCause, Event, Outlook, Subscription};
use domain::wallet::{self, Wallet};
use domain::{Aggregate, SubscriptionId, WalletId};

use super::*;

const DAY_S: u32 = 86_400;

fn terms(plan: &str, cents: i64) -> Terms {
    Terms {
        plan: plan.to_owned(),
        name: plan.to_owned(),
        price: usd(cents),
        period_days: 30,
        fee_bps: None,
        listings: None,
        features: vec![],
    }
}

impl Marketplace {
    /// With a buyer who has 500.00.
    fn with_money() -> Self {
        let mut marketplace = Self::open();
        marketplace.ask(ANN, "deposit", deposit(50_000));
        marketplace.settle_deposit();
        marketplace
    }

    /// Does what the write side would do, and tells the place of the first of its events. What has caused them must be
    /// told by them alone.
    fn subscribe(&mut self, wanted: impl FnOnce(Timestamp) -> Wanted, set_by: Option<usize>) -> usize {
        self.seconds += 1;
        let events = self.replica.get::<Subscription>(ANN).decide(wanted(self.now())).unwrap();
        let mut unit: Vec<DomainEvent> =
            events.iter().map(|event| DomainEvent::Subscription(ANN, event.clone())).collect();
        for charge in events.iter().filter_map(Event::charge).filter(|charge| charge.amount.is_positive()) {
            let domain::subscription::Charge { subscription, period, amount } = charge;
            let paid = wallet::Event::SubscriptionPaid { subscription, period, amount };
            unit.push(DomainEvent::Wallet(WalletId::of(ANN, Currency::USD), paid));
        }
        let first = self.log.events.len();
        let steps = carry_out_causes(&self.replica, &unit, self.now()).unwrap();
        match set_by.map(|place| self.log.events[place].event.event_id.to_string()) {
            Some(cause) => self.append(&steps, &[("actor", "process:timers"), ("causation", &cause)]),
            None => self.append(&steps, &[("actor", "process:test")]),
        }
        let logged = self.log.events[first..].iter().map(|logged| logged.event.decode().unwrap());
        assert_eq!(format!("{:?}", logged.collect::<Vec<_>>()), format!("{unit:?}"));
        first
    }

    fn buy_plan(&mut self, number: u128, plan: &str, cents: i64) -> usize {
        let (subscription, terms) = (SubscriptionId(Uuid::from_u128(number)), terms(plan, cents));
        self.subscribe(|now| Wanted::Purchase { owner: ANN, subscription, terms, now }, None)
    }

    fn renew(&mut self, outlook: Outlook, set_by: Option<usize>) -> usize {
        self.subscribe(|now| Wanted::Renew { outlook, now }, set_by)
    }
}

/// Subscriptions on every way that they go.
fn a_year() -> Marketplace {
    let mut market = Marketplace::with_money();
    let cancel = || Wanted::Cancel { subscription: None };
    market.buy_plan(20, "silver", 1_000);
    market.seconds += 10 * DAY_S;
    market.buy_plan(20, "gold", 3_000);
    market.buy_plan(20, "bronze", 500);
    market.buy_plan(20, "gold", 3_000);
    market.subscribe(|_| cancel(), None);
    market.buy_plan(20, "bronze", 500);
    market.seconds += 28 * DAY_S;
    market.subscribe(|now| Wanted::Remind { now }, None);
    market.seconds += 2 * DAY_S;
    market.renew(Outlook::Payable, None);
    market.seconds += 30 * DAY_S;
    market.renew(Outlook::Unpayable, None);
    // Before it is tried again, its subscriber pays.
    market.buy_plan(20, "bronze", 500);
    market.seconds += 30 * DAY_S;
    market.renew(Outlook::Unpayable, None);
    market.seconds += DAY_S;
    market.renew(Outlook::Unpayable, None);
    market.seconds += DAY_S;
    market.renew(Outlook::Payable, None);
    market.seconds += 30 * DAY_S;
    market.renew(Outlook::Unpayable, None);
    // Another instead.
    market.buy_plan(21, "silver", 1_000);
    market.seconds += 30 * DAY_S;
    market.renew(Outlook::Barred(EndCause::PlanRetired), None);
    market.buy_plan(22, "silver", 1_000);
    market.subscribe(|_| cancel(), None);
    market.seconds += 30 * DAY_S;
    market.renew(Outlook::Payable, None);
    market.buy_plan(23, "silver", 1_000);
    market.seconds += 30 * DAY_S;
    market.renew(Outlook::Unpayable, None);
    market.seconds += 3 * DAY_S;
    market.renew(Outlook::Unpayable, None);
    market
}

#[test]
fn what_has_happened_to_subscriptions_breaks_no_promise() {
    let market = a_year();
    assert_eq!(check(&market.log, &market.history), []);
    let Wallet::Open(balance) = market.replica.get::<Wallet>(WalletId::of(ANN, Currency::USD)) else { panic!() };
    assert!(balance.available.minor() < 50_000);
}

/// Plants a fault and expects it to be found, as the breach of this promise and with these words.
#[track_caller]
fn planted(promise: Promise, words: &str, event_type: &str, from: &str, to: &str) {
    let mut market = a_year();
    let mut events = market.log.events.iter_mut().map(|logged| &mut logged.event);
    let event = events.find(|event| event.event_type == event_type).unwrap();
    assert!(event.payload.contains(from), "{}", event.payload);
    event.payload = event.payload.replace(from, to);
    let found = check(&market.log, &market.history);
    let hit = found.iter().any(|violation| violation.promise == promise && violation.what.contains(words));
    assert!(hit, "not found: {found:#?}");
}

#[test]
fn a_period_that_is_charged_or_earned_otherwise_than_decided_is_found() {
    planted(Promise::P3, "in the wallet and", "SubscriptionPaid", "1000", "999");
    planted(Promise::P3, "deferred-revenue:", "PeriodRecognised", "3000", "2999");
    planted(Promise::P3, "leaves deferred-revenue:", "PeriodRecognised", "3000", "3001");
    planted(Promise::P0, "is not what was decided", "SubscriptionRenewed", r#""number":3"#, r#""number":4"#);
}

#[test]
fn a_period_that_ends_twice_early_or_late_is_found() {
    let at = |seconds: u32| {
        let mut market = Marketplace::with_money();
        let bought = market.buy_plan(20, "silver", 1_000);
        market.seconds += seconds;
        (market, bought)
    };
    let (mut kept, bought) = at(30 * DAY_S);
    let renewed = kept.renew(Outlook::Unpayable, Some(bought));
    kept.seconds += DAY_S;
    // The event that has set it is the second of its unit.
    kept.renew(Outlook::Payable, Some(renewed + 1));
    assert_eq!(check_timers(&kept.log, &Outages::default()), []);
    let (mut late, bought) = at(30 * DAY_S + 20);
    late.renew(Outlook::Payable, Some(bought));
    let mut twice = kept;
    let mut again = twice.log.events[renewed].clone();
    again.event.commit_position = i64::MAX;
    twice.log.events.push(again);
    for (market, words) in [(late, "is late by"), (twice, "repeats what")] {
        let found = check_timers(&market.log, &Outages::default());
        assert!(found.iter().any(|violation| violation.what.contains(words)), "not found: {found:#?}");
    }
}
