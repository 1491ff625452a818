//! What a subscription costs and when, told by its events.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::money::Currency;
use crate::testing::{Given, given};

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const FIRST: SubscriptionId = SubscriptionId(Uuid::from_u128(10));
const SECOND: SubscriptionId = SubscriptionId(Uuid::from_u128(11));

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

/// A time so many days after the first.
fn day(days: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::days(days)
}

fn terms(plan: &str, minor: i64) -> Terms {
    Terms {
        plan: plan.to_owned(),
        name: plan.to_uppercase(),
        price: usd(minor),
        period_days: 30,
        fee_bps: Some(150),
        listings: Some(10),
        features: vec![],
    }
}

fn silver() -> Terms {
    terms("silver", 1_000)
}

fn gold() -> Terms {
    terms("gold", 3_000)
}

fn buy(subscription: SubscriptionId, terms: Terms, now: Timestamp) -> Command {
    Command::Purchase { owner: ANN, subscription, terms, now }
}

fn renew(outlook: Outlook, now: Timestamp) -> Command {
    Command::Renew { outlook, now }
}

const CANCEL: Command = Command::Cancel { subscription: None };

fn available() -> LedgerAccount {
    LedgerAccount::Available(ANN)
}

fn deferred() -> LedgerAccount {
    LedgerAccount::DeferredRevenue(FIRST)
}

fn period(number: u32, from: i64) -> Period {
    Period { number, starts_at: day(from), ends_at: day(from + 30) }
}

fn subscribed() -> Given<Subscription> {
    given([]).and(buy(FIRST, silver(), day(0)))
}

fn recognised(number: u32) -> Event {
    let postings = vec![Posting::new(deferred(), LedgerAccount::SubscriptionIncome, usd(1_000))];
    Event::PeriodRecognised { subscription: FIRST, period: number, amount: usd(1_000), postings }
}

fn renewed(terms: Terms, period: Period) -> Event {
    let postings = vec![Posting::new(available(), deferred(), terms.price)];
    Event::SubscriptionRenewed { subscription: FIRST, terms, period, postings }
}

fn failed(retry_at: i64, until: i64) -> Event {
    Event::RenewalFailed { subscription: FIRST, requested: usd(1_000), retry_at: day(retry_at), until: day(until) }
}

fn ended(cause: EndCause) -> Event {
    Event::SubscriptionEnded { subscription: FIRST, cause }
}

#[test]
fn a_subscription_is_paid_a_period_ahead() {
    let postings = vec![Posting::new(available(), deferred(), usd(1_000))];
    let bought = Event::SubscriptionPurchased {
        subscription: FIRST,
        owner: ANN,
        terms: silver(),
        period: period(1, 0),
        postings,
    };
    let charge = Charge { subscription: FIRST, period: PeriodId::of(FIRST, 1), amount: usd(1_000) };
    assert_eq!(bought.charge(), Some(charge));
    given::<Subscription>([]).when(buy(FIRST, silver(), day(0))).then([bought]);
    let renews_at = day(30);
    subscribed().when(buy(SECOND, silver(), day(1))).then_refused(Error::AlreadySubscribed { renews_at });
}

#[test]
fn a_period_that_has_ended_is_earned_and_the_next_one_paid() {
    let early = Error::NotDue { at: day(30) };
    subscribed().when(renew(Outlook::Payable, day(29))).then_refused(early);
    let next = renewed(silver(), period(2, 30));
    subscribed().when(renew(Outlook::Payable, day(30))).then([recognised(1), next.clone()]);
    // However often a timer runs, it is not charged again.
    let again = Error::NotDue { at: day(60) };
    subscribed().and(renew(Outlook::Payable, day(30))).when(renew(Outlook::Payable, day(30))).then_refused(again);
    // After an outage a period begins now, not in the past.
    let late = renewed(silver(), period(2, 50));
    subscribed().when(renew(Outlook::Payable, day(50))).then([recognised(1), late]);
}

#[test]
fn what_is_not_paid_is_tried_again_until_it_ends() {
    let unpaid = || subscribed().and(renew(Outlook::Unpayable, day(30)));
    subscribed().when(renew(Outlook::Unpayable, day(30))).then([recognised(1), failed(31, 33)]);
    unpaid().when(renew(Outlook::Payable, day(30))).then_refused(Error::NotDue { at: day(31) });
    unpaid().when(renew(Outlook::Unpayable, day(31))).then([failed(32, 33)]);
    unpaid().when(renew(Outlook::Unpayable, day(33))).then([ended(EndCause::NotPaid)]);
    // What was earned before is not earned again, and nobody is given the days in between.
    unpaid().when(renew(Outlook::Payable, day(32))).then([renewed(silver(), period(2, 30))]);
    unpaid().and(renew(Outlook::Unpayable, day(33))).when(renew(Outlook::Payable, day(34))).then_nothing();
}

#[test]
fn who_has_not_paid_may_pay_at_once_cancel_or_buy_something_else() {
    let unpaid = || subscribed().and(renew(Outlook::Unpayable, day(30)));
    unpaid().when(buy(SECOND, terms("silver", 9_999), day(31))).then([renewed(silver(), period(2, 30))]);
    unpaid().when(CANCEL).then([ended(EndCause::Cancelled)]);
    let postings = vec![Posting::new(available(), LedgerAccount::DeferredRevenue(SECOND), usd(3_000))];
    let other = Event::SubscriptionPurchased {
        subscription: SECOND,
        owner: ANN,
        terms: gold(),
        period: period(1, 31),
        postings,
    };
    unpaid().when(buy(SECOND, gold(), day(31))).then([ended(EndCause::Replaced), other]);
}

#[test]
fn what_is_cancelled_ends_with_its_period() {
    let cancelled = Event::SubscriptionCancelled { subscription: FIRST };
    subscribed().when(CANCEL).then([cancelled.clone()]);
    subscribed().when(Command::Cancel { subscription: Some(FIRST) }).then([cancelled]);
    subscribed().when(Command::Cancel { subscription: Some(SECOND) }).then_refused(Error::NotFound);
    given::<Subscription>([]).when(CANCEL).then_refused(Error::NotFound);
    let leaving = || subscribed().and(CANCEL);
    leaving().when(CANCEL).then_nothing();
    leaving().when(renew(Outlook::Payable, day(30))).then([recognised(1), ended(EndCause::Cancelled)]);
    let kept = Event::SubscriptionContinued { subscription: FIRST };
    leaving().when(buy(SECOND, silver(), day(9))).then([kept]);
    let stays = leaving().and(buy(SECOND, silver(), day(9)));
    stays.when(renew(Outlook::Payable, day(30))).then([recognised(1), renewed(silver(), period(2, 30))]);
}

#[test]
fn who_cannot_go_on_is_not_charged() {
    for cause in [EndCause::PlanRetired, EndCause::AccountBarred] {
        subscribed().when(renew(Outlook::Barred(cause), day(30))).then([recognised(1), ended(cause)]);
    }
}

#[test]
fn a_dearer_plan_begins_at_once_and_the_days_that_are_left_are_credited() {
    // Ten days have begun, the tenth a second ago: 1000 over 30 days is 34 for the first ten and 33 for the others.
    let now = day(9) + TimeDelta::seconds(1);
    let postings = vec![
        Posting::new(deferred(), LedgerAccount::SubscriptionIncome, usd(340)),
        Posting::new(available(), deferred(), usd(3_000 - 660)),
    ];
    let upgraded = Event::SubscriptionUpgraded {
        subscription: FIRST,
        terms: gold(),
        period: Period { number: 2, starts_at: now, ends_at: now + TimeDelta::days(30) },
        unused: usd(660),
        charged: usd(2_340),
        postings,
    };
    subscribed().when(buy(SECOND, gold(), now)).then([upgraded.clone()]);
    assert_eq!(upgraded.charge().map(|charge| charge.period), Some(PeriodId::of(FIRST, 2)));
    // At once, all of it is credited; when it is over, nothing.
    for (now, unused) in [(day(0), 1_000), (day(30), 0), (day(31), 0)] {
        let given = subscribed().and(buy(SECOND, gold(), now));
        let Subscription::Active(running) = given.state() else { panic!("{:?}", given.state()) };
        assert_eq!((running.terms.clone(), running.period.number), (gold(), 2));
        let events = subscribed().state().decide(buy(SECOND, gold(), now)).unwrap();
        let [Event::SubscriptionUpgraded { unused: credited, .. }] = &*events else { panic!("{events:?}") };
        assert_eq!(*credited, usd(unused), "{now}");
    }
}

#[test]
fn any_other_plan_begins_when_the_period_has_ended() {
    let cheaper = terms("bronze", 500);
    let repriced = terms("silver", 2_000);
    let abroad = Terms { price: Money::new(9_000, Currency::JPY).unwrap(), ..gold() };
    // A dearer day, and less than what is left of the year.
    let weekly = Terms { period_days: 7, ..terms("weekly", 900) };
    for other in [cheaper.clone(), repriced, abroad, weekly] {
        let scheduled = Event::PlanChangeScheduled { subscription: FIRST, terms: other.clone() };
        subscribed().when(buy(SECOND, other.clone(), day(1))).then([scheduled]);
        subscribed().and(buy(SECOND, other.clone(), day(1))).when(buy(SECOND, other, day(2))).then_nothing();
    }
    let going = || subscribed().and(buy(SECOND, cheaper.clone(), day(1)));
    going().when(renew(Outlook::Payable, day(30))).then([recognised(1), renewed(cheaper.clone(), period(2, 30))]);
    going().when(CANCEL).then([Event::SubscriptionCancelled { subscription: FIRST }]);
    going().when(buy(SECOND, silver(), day(3))).then([Event::SubscriptionContinued { subscription: FIRST }]);
}

#[test]
fn its_subscriber_is_told_once_that_a_period_ends() {
    let remind = |days| Command::Remind { now: day(days) };
    let told = |charges| Event::RenewalReminded { subscription: FIRST, period: 1, ends_at: day(30), charges };
    subscribed().when(remind(26)).then_refused(Error::NotDue { at: day(27) });
    subscribed().when(remind(27)).then([told(Some(usd(1_000)))]);
    subscribed().and(CANCEL).when(remind(27)).then([told(None)]);
    subscribed().and(remind(27)).when(remind(28)).then_nothing();
    subscribed().when(remind(30)).then_nothing();
    given::<Subscription>([]).when(remind(27)).then_nothing();
    let next = subscribed().and(remind(27)).and(renew(Outlook::Payable, day(30)));
    let again = Event::RenewalReminded { subscription: FIRST, period: 2, ends_at: day(60), charges: Some(usd(1_000)) };
    next.when(remind(57)).then([again]);
}

proptest! {
    /// To the cent, wherever in the period it is.
    #[test]
    fn what_was_used_and_what_is_credited_are_what_was_paid(
        minor in 1..1_000_000_i64,
        period_days in 7..=366_u32,
        elapsed_s in 0..40_000_000_i64,
    ) {
        let old = Terms { period_days, ..terms("old", minor) };
        let new = terms("new", 9_000_000);
        let now = day(0) + TimeDelta::seconds(elapsed_s);
        let bought = given::<Subscription>([]).and(buy(FIRST, old, day(0)));
        let events = bought.state().decide(buy(SECOND, new, now)).unwrap();
        let [Event::SubscriptionUpgraded { unused, charged, postings, .. }] = &*events else { panic!("{events:?}") };
        let used: i64 = postings
            .iter()
            .filter(|posting| posting.credit == LedgerAccount::SubscriptionIncome)
            .map(|posting| posting.amount.minor())
            .sum();
        prop_assert_eq!(used + unused.minor(), minor);
        prop_assert_eq!(charged.minor() + unused.minor(), 9_000_000);
        // No more than its share of the days, rounded to a cent a day at the most.
        let begun = (elapsed_s + 86_399) / 86_400;
        let left = (i64::from(period_days) - begun).max(0);
        let share = minor * left / i64::from(period_days);
        prop_assert!((unused.minor() - share).abs() <= left, "{unused} of {minor}, {left} days left");
    }
}
