//! Methods, plans and what guards money that goes out.

use chrono::TimeZone;
use uuid::Uuid;

use super::*;
use crate::testing::{Given, given};

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const DAY: TimeDelta = TimeDelta::days(1);
const USD: Currency = Currency::USD;

fn id(number: u128) -> MethodId {
    MethodId(Uuid::from_u128(number))
}

fn at(hours: i64) -> Timestamp {
    chrono::Utc.with_ymd_and_hms(2026, 3, 1, 0, 0, 0).unwrap() + TimeDelta::hours(hours)
}

fn usd(minor: i64) -> Money {
    Money::new(minor, USD).unwrap()
}

fn bank(number: u128) -> PaymentMethod {
    PaymentMethod { provider: "sandbox".to_owned(), token: format!("ba_{number}") }
}

fn label(of: AccountId) -> Sealed<String> {
    Sealed::from_ciphertext(of, "my bank".to_owned())
}

fn add(number: u128) -> Command {
    Command::Add { owner: ANN, method: id(number), at: bank(number), label: label(ANN), now: at(0) }
}

fn added(number: u128) -> Event {
    Event::MethodAdded { method: id(number), at: bank(number), label: Some(label(ANN)), added_at: at(0) }
}

fn kept(numbers: impl IntoIterator<Item = u128>) -> Given<Payee> {
    numbers.into_iter().fold(given([]), |given, number| given.and(add(number)))
}

fn remove(number: u128) -> Command {
    Command::Remove { method: id(number) }
}

fn cooling(cooling: TimeDelta) -> Limits {
    Limits { cooling, ..Limits::default() }
}

fn send(minor: i64, number: u128, hours: i64, limits: Limits) -> Command {
    Command::SendOut { amount: usd(minor), to: bank(number), now: at(hours), limits }
}

fn plan(schedule: Schedule, number: u128) -> Command {
    Command::Plan { currency: USD, plan: Plan { schedule, method: id(number) }, now: at(0) }
}

fn sale(hours: i64) -> Command {
    Command::NoteSale { currency: USD, now: at(hours) }
}

fn payout(again_at: Option<i64>, hours: i64) -> Command {
    Command::NotePayout { currency: USD, again_at: again_at.map(at), now: at(hours) }
}

fn done(due_at: Option<i64>) -> Event {
    Event::PayoutDone { currency: USD, due_at: due_at.map(at) }
}

// Methods.

#[test]
fn a_method_is_kept_once_and_removed_once() {
    kept([1]).when(add(2)).then([added(2)]);
    kept([1]).when(add(1)).then_refused(Error::AlreadyKept);
    let same = Command::Add { owner: ANN, method: id(2), at: bank(1), label: label(ANN), now: at(0) };
    kept([1]).when(same).then_refused(Error::AlreadyKept);
    kept([1]).when(remove(1)).then([Event::MethodRemoved { method: id(1) }]);
    kept([1]).and(remove(1)).when(remove(1)).then_refused(Error::NotFound);
    kept([1]).and(remove(1)).when(add(1)).then([added(1)]);
}

#[test]
fn there_are_ten_at_most() {
    kept(1..=10).when(add(11)).then_refused(Error::Full { maximum: 10 });
    kept(1..=10).and(remove(3)).when(add(11)).then([added(11)]);
}

#[test]
fn a_label_goes_with_whose_it_is() {
    let of_bob = Command::Add { owner: ANN, method: id(1), at: bank(1), label: label(BOB), now: at(0) };
    kept([]).when(of_bob).then_refused(Error::SealedForAnother);
}

#[test]
fn nothing_is_kept_of_an_account_that_goes() {
    let both = kept([1, 2]).and(plan(Schedule::OnRelease, 1));
    let removed = |number| Event::MethodRemoved { method: id(number) };
    both.when(Command::Close {}).then([removed(1), Event::PlanEnded { currency: USD }, removed(2)]);
    kept([]).when(Command::Close {}).then_nothing();
}

// What goes out.

#[test]
fn money_goes_only_where_it_was_said_a_while_ago_that_it_may() {
    let limits = cooling(DAY);
    kept([1]).when(send(1, 1, 24, limits)).then_nothing();
    kept([1]).when(send(1, 1, 23, limits)).then_refused(Error::Cooling { until: at(24) });
    kept([1]).when(send(1, 2, 24, limits)).then_refused(Error::NotKept { cooling_s: 86_400 });
    kept([1]).and(remove(1)).when(send(1, 1, 24, limits)).then_refused(Error::NotKept { cooling_s: 86_400 });
    // Where nobody has to wait, it may be said at once.
    kept([]).when(send(1, 2, 0, cooling(TimeDelta::zero()))).then_nothing();
}

#[test]
fn nothing_goes_out_soon_after_the_way_into_the_account_has_changed() {
    let changed = || kept([1]).and(Command::NoteAccessChange { now: at(30) });
    changed().when(send(1, 1, 53, cooling(DAY))).then_refused(Error::Cooling { until: at(54) });
    changed().when(send(1, 1, 54, cooling(DAY))).then_nothing();
    changed().when(send(1, 1, 30, cooling(TimeDelta::zero()))).then_nothing();
    kept([1]).when(Command::NoteAccessChange { now: at(30) }).then([Event::AccessChanged { at: at(30) }]);
}

#[test]
fn what_is_too_little_is_not_sent() {
    let limits = Limits { least: Some(usd(100)), ..Limits::default() };
    kept([1]).when(send(100, 1, 0, limits)).then_nothing();
    let refused = Error::BelowLeast { least: usd(100), offered: usd(99) };
    kept([1]).when(send(99, 1, 0, limits)).then_refused(refused);
}

#[test]
fn no_more_goes_out_on_a_day_than_may() {
    let limits = Limits { most_per_day: Some(usd(500)), ..Limits::default() };
    let counted = |minor, hours| Event::OutgoingCounted { amount: usd(minor), on: at(hours).date_naive() };
    kept([1]).when(send(500, 1, 0, limits)).then([counted(500, 0)]);
    let sent = || kept([1]).and(send(300, 1, 1, limits));
    sent().when(send(200, 1, 23, limits)).then([counted(200, 23)]);
    let refused = Error::DayLimit { most: usd(500), sent: usd(300), offered: usd(201) };
    sent().when(send(201, 1, 23, limits)).then_refused(refused);
    sent().when(send(500, 1, 24, limits)).then([counted(500, 24)]);
    assert_eq!(sent().state().left_today(USD, limits, at(23)), Some(usd(200)));
    assert_eq!(sent().state().left_today(USD, limits, at(24)), Some(usd(500)));
    assert_eq!(sent().state().left_today(USD, Limits::default(), at(23)), None);
    // The bound was higher then.
    let lower = Limits { most_per_day: Some(usd(100)), ..Limits::default() };
    assert_eq!(sent().state().left_today(USD, lower, at(23)), Some(usd(0)));
}

// Plans.

#[test]
fn with_every_release_what_is_there_is_due_once() {
    let on_release = || kept([1]).and(plan(Schedule::OnRelease, 1));
    let due = |hours| Event::PayoutDue { currency: USD, at: at(hours) };
    on_release().when(sale(5)).then([due(5)]);
    on_release().and(sale(5)).when(sale(6)).then_nothing();
    on_release().and(sale(5)).when(payout(None, 5)).then([done(None)]);
    on_release().and(sale(5)).and(payout(None, 5)).when(sale(6)).then([due(6)]);
    on_release().and(sale(5)).when(payout(Some(24), 5)).then([done(Some(24))]);
    on_release().and(sale(5)).and(payout(Some(24), 5)).when(sale(6)).then_nothing();
    on_release().when(payout(None, 5)).then_nothing();
    kept([1]).when(sale(5)).then_nothing();
    kept([1]).and(plan(Schedule::Weekly, 1)).when(sale(5)).then_nothing();
}

#[test]
fn once_a_week_is_every_seven_days() {
    let week = 7 * 24;
    let weekly = Plan { schedule: Schedule::Weekly, method: id(1) };
    let planned = Event::PlanSet { currency: USD, plan: weekly, due_at: Some(at(week)) };
    kept([1]).when(plan(Schedule::Weekly, 1)).then([planned]);
    let weekly = || kept([1]).and(plan(Schedule::Weekly, 1));
    weekly().when(payout(None, week - 1)).then_refused(Error::NotDue { at: at(week) });
    weekly().when(payout(None, week)).then([done(Some(2 * week))]);
    weekly().when(payout(Some(week + 24), week)).then([done(Some(week + 24))]);
    // Nothing is made up for.
    weekly().when(payout(None, 3 * week)).then([done(Some(4 * week))]);
}

#[test]
fn a_plan_pays_by_a_method_that_is_kept_and_ends_with_it() {
    kept([1]).when(plan(Schedule::OnRelease, 2)).then_refused(Error::NotFound);
    let planned = || kept([1, 2]).and(plan(Schedule::OnRelease, 1));
    planned().when(plan(Schedule::OnRelease, 1)).then_nothing();
    let ended = Event::PlanEnded { currency: USD };
    planned().when(remove(1)).then([Event::MethodRemoved { method: id(1) }, ended.clone()]);
    planned().when(remove(2)).then([Event::MethodRemoved { method: id(2) }]);
    planned().when(Command::EndPlan { currency: USD }).then([ended]);
    planned().and(Command::EndPlan { currency: USD }).when(Command::EndPlan { currency: USD }).then_nothing();
    planned().when(Command::EndPlan { currency: Currency::JPY }).then_nothing();
    assert_eq!(planned().and(remove(1)).state().plan(USD), None);
}

// Merchants.

#[test]
fn a_merchant_is_a_method_while_the_provider_pays_out_there() {
    let merchant = MerchantId::of("stripe", "acct_1");
    let to = PaymentMethod { provider: "stripe".to_owned(), token: "acct_1".to_owned() };
    let set = |payouts, hours| Command::SetMerchant { merchant, at: to.clone(), payouts, now: at(hours) };
    let method = MethodId::from(merchant);
    let added = Event::MethodAdded { method, at: to.clone(), label: None, added_at: at(0) };
    kept([]).when(set(true, 0)).then([added]);
    kept([]).when(set(false, 0)).then_nothing();
    let paid_out = || kept(1..=10).and(set(true, 0));
    paid_out().when(set(true, 1)).then_nothing();
    paid_out().when(set(false, 1)).then([Event::MethodPaused { method }]);
    paid_out().and(set(false, 1)).when(set(false, 2)).then_nothing();
    paid_out().and(set(false, 1)).when(set(true, 2)).then([Event::MethodResumed { method }]);
    let out = || Command::SendOut { amount: usd(1), to: to.clone(), now: at(24), limits: cooling(DAY) };
    paid_out().when(out()).then_nothing();
    paid_out().and(set(false, 1)).when(out()).then_refused(Error::Paused);
    paid_out().and(set(false, 1)).and(set(true, 2)).when(out()).then_nothing();
}

#[test]
fn an_account_is_one_merchant_of_a_provider() {
    let link = |reference: &str| Command::Link { provider: "stripe".to_owned(), reference: reference.to_owned() };
    let linked = |reference: &str| {
        let (provider, reference) = ("stripe".to_owned(), reference.to_owned());
        Event::MerchantLinked { provider, reference }
    };
    kept([]).when(link("acct_1")).then([linked("acct_1")]);
    kept([]).and(link("acct_1")).when(link("acct_1")).then_nothing();
    kept([]).and(link("acct_1")).when(link("acct_2")).then([linked("acct_2")]);
    assert_eq!(kept([]).and(link("acct_1")).state().merchant("stripe"), Some("acct_1"));
}
