//! The checker finds nothing in a history that happened, and every fault that is planted in one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{TimeDelta, TimeZone, Utc};
use domain::account::{self, Capability, Identity};
use domain::auction::{self, Terms};
use domain::increments::Increments;
use domain::order::{Confirmation, Guest};
use domain::{
    AccountId, AuctionId, Currency, DepositId, Money, OrderGroupId, OrderId, RefundId, Sealed, Timestamp, charge,
    wallet,
};
use eventstore::event::{DomainEvent, RecordedEvent, StreamId};
use sqlx::types::Json;
use uuid::Uuid;

use super::causes::carry_out_causes;
use super::intents::{Minted, carry_out};
use super::replica::{Replica, Step};
use super::*;
use crate::history::{Attempt, Command, Intent, NOBODY, Outcome};

mod orders;
mod sales;
mod subscriptions;

const SELLER: AccountId = AccountId(Uuid::from_u128(1));
const ANN: AccountId = AccountId(Uuid::from_u128(2));
const BOB: AccountId = AccountId(Uuid::from_u128(3));
const SALE: AuctionId = AuctionId(Uuid::from_u128(4));

fn usd(cents: i64) -> Money {
    Money::new(cents, Currency::USD).unwrap()
}

fn start() -> Timestamp {
    Utc.timestamp_opt(1_700_000_000, 0).unwrap()
}

/// A marketplace in memory, by the pure rules, that writes its log and its clients' history.
#[derive(Default)]
struct Marketplace {
    log: Log,
    history: History,
    replica: Replica,
    /// Requests so far: each takes a second.
    seconds: u32,
}

impl Marketplace {
    /// With two buyers, and an auction that runs for a day.
    fn open() -> Self {
        let mut marketplace = Self::default();
        for account in [SELLER, ANN, BOB] {
            let sealed = || Sealed::from_ciphertext(account, "x".to_owned());
            let identity = Identity { email: sealed(), user_name: sealed(), password_hash: None };
            let capabilities = BTreeSet::from([Capability::Buy, Capability::Sell]);
            let registered = account::Event::AccountRegistered { identity, capabilities };
            marketplace.cause(&[DomainEvent::Account(account, registered)]);
        }
        let terms = Terms {
            seller: SELLER,
            start_price: usd(1_000),
            reserve_price: None,
            buy_now_price: None,
            starts_at: marketplace.now() + TimeDelta::seconds(10),
            ends_at: marketplace.now() + TimeDelta::days(1),
            soft_close_window_ms: 0,
            increments: Increments::standard(Currency::USD),
        };
        marketplace.cause(&[DomainEvent::Auction(SALE, auction::Event::AuctionScheduled { terms })]);
        marketplace.seconds += 10;
        marketplace
    }

    /// What some process does, named by the event that it leads to.
    fn cause(&mut self, wanted: &[DomainEvent]) {
        let steps = carry_out_causes(&self.replica, wanted, self.now()).unwrap();
        self.append(&steps, &[("actor", "process:test")]);
    }

    /// A client's command, carried out or refused.
    fn ask(&mut self, actor: impl Into<Option<AccountId>>, key: &str, intent: Intent) {
        let (actor, minted) = (actor.into(), self.mint());
        let mut command = Command { actor, key: key.to_owned(), intent, attempts: vec![] };
        let outcome = match carry_out(&self.replica, actor, &command.intent, &minted, self.now()) {
            Ok(done) => {
                let author = actor.map_or_else(|| NOBODY.to_owned(), |actor| format!("account:{actor}"));
                self.append(&done.steps, &[("actor", &author), ("command_key", key)]);
                let position = self.log.head;
                let stored = command.stored_key();
                self.log.keys.push(StoredKey { key: stored, position });
                let mut body = done.answer;
                body["position"] = position.into();
                Outcome::Accepted { position, replayed: false, body }
            }
            Err(refusal) => {
                let mut problem = api::http::problem::Problem::from(refusal).document("request");
                problem["position"] = self.log.head.into();
                Outcome::Refused { position: self.log.head, problem }
            }
        };
        let attempt = self.attempt(outcome);
        command.attempts.push(attempt);
        self.history.commands.push(command);
    }

    /// The provider has the deposit that was just asked for.
    fn settle_deposit(&mut self) {
        let requested = self.log.events.last().unwrap().event.decode().unwrap();
        let DomainEvent::Charge(charge, charge::Event::ChargeRequested { terms }) = requested else {
            panic!("not a deposit: {requested:?}")
        };
        let charge::Purpose::Deposit(wallet) = terms.purpose else { panic!("not a deposit: {terms:?}") };
        let reference = "ch_1".to_owned();
        let succeeded = charge::Event::ChargeSucceeded {
            reference: reference.clone(),
            applied: vec![charge::Part { order: None, amount: terms.amount }],
            unapplied: None,
            fee: None,
            postings: Vec::new(),
        };
        let settled = wallet::Event::DepositSettled {
            deposit: DepositId::from(charge),
            provider_reference: reference,
            postings: Vec::new(),
        };
        self.cause(&[DomainEvent::Charge(charge, succeeded), DomainEvent::Wallet(wallet, settled)]);
    }

    /// Ids as a server mints them, no two the same.
    fn mint(&mut self) -> Minted {
        self.seconds += 1;
        let id = |number: u128| Uuid::from_u128(u128::from(self.seconds) * 10_000 + number);
        let orders = (1..=domain::order::MOST_LINES as u128).map(|number| OrderId(id(number))).collect();
        let guest = AccountId(id(3_000));
        let sealed = |what: &str| Sealed::from_ciphertext(guest, what.to_owned());
        let asked = Guest { contact: sealed("contact"), confirmation: Confirmation::Phone };
        Minted {
            operation: id(0),
            group: OrderGroupId(id(1_000)),
            orders,
            refund: RefundId(id(2_000)),
            guest: (guest, sealed("address"), asked),
        }
    }

    fn append(&mut self, steps: &[Step], metadata: &[(&str, &str)]) {
        let metadata: BTreeMap<String, String> =
            metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let commit_position = self.log.head + i64::try_from(steps.len()).unwrap();
        for step in steps {
            let stream = (step.aggregate_type, step.id);
            let known = self
                .log
                .events
                .iter()
                .filter(|logged| (logged.event.aggregate_type.as_str(), logged.event.aggregate_id.0) == stream);
            let sequence = i64::try_from(known.count()).unwrap() + 1;
            self.log.head += 1;
            let event = RecordedEvent {
                position: self.log.head,
                commit_position,
                event_id: Uuid::from_u128(self.log.head.unsigned_abs().into()),
                aggregate_type: step.aggregate_type.to_owned(),
                aggregate_id: StreamId(step.id),
                sequence,
                event_type: event_type(&step.payload),
                event_version: "1".to_owned(),
                payload: step.payload.clone(),
                recorded_at: self.now(),
                act: None,
            };
            self.replica.take(&event.decode().unwrap());
            self.log.events.push(Logged { event, metadata: Json(metadata.clone()) });
        }
    }

    fn attempt(&mut self, outcome: Outcome) -> Attempt {
        let began = Duration::from_secs(self.seconds.into());
        self.seconds += 1;
        let ended = Duration::from_secs(self.seconds.into());
        Attempt { node: 0, began, ended, ended_at: self.now(), outcome }
    }

    fn now(&self) -> Timestamp {
        start() + TimeDelta::seconds(self.seconds.into())
    }
}

/// The name of an event is the only key of its JSON.
fn event_type(payload: &str) -> String {
    let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(payload).unwrap();
    event.into_iter().next().unwrap().0
}

fn bid(cents: i64) -> Intent {
    Intent::Bid { auction: SALE, maximum: usd(cents) }
}

fn deposit(cents: i64) -> Intent {
    Intent::Deposit { amount: usd(cents), method: "sandbox-succeeds".to_owned() }
}

fn withdraw(cents: i64) -> Intent {
    Intent::Withdraw { amount: usd(cents), method: "sandbox-succeeds".to_owned() }
}

/// Bids, money in and out, and refusals of each kind.
fn a_day() -> Marketplace {
    let mut marketplace = Marketplace::open();
    marketplace.ask(ANN, "bid-1", bid(2_000));
    marketplace.ask(BOB, "bid-2", bid(1_500));
    marketplace.ask(BOB, "too-low", bid(1_501));
    marketplace.ask(SELLER, "own-item", bid(9_000));
    marketplace.ask(ANN, "deposit", deposit(5_000));
    marketplace.ask(ANN, "too-early", withdraw(4_000));
    marketplace.settle_deposit();
    marketplace.ask(ANN, "withdraw", withdraw(4_000));
    marketplace.ask(ANN, "too-much", withdraw(4_000));
    marketplace.ask(BOB, "bid-3", bid(2_500));
    marketplace
}

impl Marketplace {
    fn command(&mut self, key: &str) -> &mut Command {
        self.history.commands.iter_mut().find(|command| command.key == key).unwrap()
    }

    fn outcome(&mut self, key: &str) -> &mut Outcome {
        &mut self.command(key).attempts[0].outcome
    }

    /// The place in the log of the last event under a key.
    fn place(&self, key: &str) -> usize {
        let mine = |logged: &Logged| logged.metadata.get("command_key").is_some_and(|known| known == key);
        self.log.events.iter().rposition(mine).unwrap()
    }

    fn event(&mut self, key: &str) -> &mut RecordedEvent {
        let place = self.place(key);
        &mut self.log.events[place].event
    }
}

/// Plants a fault and expects it to be found, as the breach of this promise and with these words.
#[track_caller]
fn planted(promise: Promise, words: &str, plant: impl FnOnce(&mut Marketplace)) {
    let mut marketplace = a_day();
    plant(&mut marketplace);
    let found = check(&marketplace.log, &marketplace.history);
    let hit = found.iter().any(|violation| violation.promise == promise && violation.what.contains(words));
    assert!(hit, "not found: {found:#?}");
}

#[test]
fn what_has_happened_breaks_no_promise() {
    let marketplace = a_day();
    assert_eq!(check(&marketplace.log, &marketplace.history), []);
    let counts = marketplace.history.counts(None);
    assert_eq!((counts.accepted, counts.refused), (5, 4));
}

#[test]
fn an_altered_position_is_found() {
    planted(Promise::P2, "has position", |marketplace| marketplace.event("bid-2").position += 1);
    planted(Promise::P2, "the head is", |marketplace| marketplace.log.head += 1);
}

#[test]
fn a_dropped_event_is_found() {
    let drop = |marketplace: &mut Marketplace| {
        let place = marketplace.place("bid-2");
        marketplace.log.events.remove(place);
    };
    planted(Promise::P1, "its events in the log end at []", drop);
    planted(Promise::P2, "has position", drop);
    planted(Promise::P2, "has sequence", drop);
}

#[test]
fn a_torn_unit_of_work_is_found() {
    planted(Promise::P2, "says that it ends at", |marketplace| {
        let place = marketplace.place("bid-1");
        marketplace.log.events[place - 1].event.commit_position -= 1;
        marketplace.log.events[place].event.commit_position += 5;
    });
    planted(Promise::P2, "of several commands", |marketplace| {
        let place = marketplace.place("bid-1");
        marketplace.log.events[place].metadata.insert("correlation".to_owned(), "another".to_owned());
    });
}

#[test]
fn time_that_runs_back_is_found() {
    planted(Promise::P2, "decided before", |marketplace| {
        marketplace.event("bid-3").recorded_at -= TimeDelta::seconds(60);
    });
}

#[test]
fn a_command_that_was_carried_out_twice_is_found() {
    planted(Promise::P1, "its events in the log end at [", |marketplace| {
        let minted = marketplace.mint();
        let again = carry_out(&marketplace.replica, Some(ANN), &deposit(5_000), &minted, marketplace.now()).unwrap();
        let author = format!("account:{ANN}");
        marketplace.append(&again.steps, &[("actor", &author), ("command_key", "deposit")]);
    });
    planted(Promise::P1, "its key is stored with", |marketplace| {
        let stored = *marketplace.log.keys.first().unwrap();
        marketplace.log.keys.push(stored);
    });
}

#[test]
fn a_command_that_nobody_asked_for_is_found() {
    planted(Promise::P1, "nobody has asked", |marketplace| {
        marketplace.history.commands.retain(|command| command.key != "bid-3");
    });
}

#[test]
fn an_acknowledgement_without_events_is_found() {
    planted(Promise::P1, "was accepted at", |marketplace| {
        let Outcome::Accepted { position, .. } = marketplace.outcome("bid-1") else { panic!("refused") };
        *position += 1;
    });
}

#[test]
fn a_refusal_that_left_something_is_found() {
    planted(Promise::P1, "was refused, and left", |marketplace| {
        *marketplace.outcome("bid-3") =
            Outcome::Refused { position: marketplace.log.head, problem: serde_json::json!({}) };
    });
}

#[test]
fn an_outcome_that_nobody_was_told_is_found() {
    planted(Promise::P1, "nobody was told", |marketplace| {
        *marketplace.outcome("bid-3") = Outcome::Unknown { why: "no answer".to_owned() };
    });
}

#[test]
fn an_improper_answer_and_a_different_second_one_are_found() {
    planted(Promise::P1, "was answered 500", |marketplace| {
        let attempt = marketplace.attempt(Outcome::Improper { why: "500".to_owned() });
        marketplace.command("bid-1").attempts.insert(0, attempt);
    });
    planted(Promise::P1, "differently", |marketplace| {
        let mut again = marketplace.command("bid-1").attempts[0].clone();
        let Outcome::Accepted { body, .. } = &mut again.outcome else { panic!("refused") };
        body["bids"] = 7.into();
        marketplace.command("bid-1").attempts.push(again);
    });
}

#[test]
fn a_balance_below_zero_is_found() {
    planted(Promise::P3, "leaves available:", |marketplace| {
        // The payout comes last, and posts nothing.
        let place = marketplace.place("withdraw") - 1;
        let event = &mut marketplace.log.events[place].event;
        event.payload = event.payload.replace("4000", "6000");
    });
}

#[test]
fn an_auction_that_the_highest_bid_does_not_win_is_found() {
    let closed = |marketplace: &mut Marketplace, outcome: [&str; 2]| {
        marketplace.seconds += 86_400;
        let won = auction::Outcome::Won { winner: BOB, price: usd(2_050) };
        let ended_at = marketplace.now();
        marketplace.cause(&[DomainEvent::Auction(SALE, auction::Event::AuctionClosed { outcome: won, ended_at })]);
        let event = &mut marketplace.log.events.last_mut().unwrap().event;
        assert!(event.payload.contains(outcome[0]), "{}", event.payload);
        event.payload = event.payload.replacen(outcome[0], outcome[1], 1);
    };
    let [ann, bob] = [ANN, BOB].map(|account| account.to_string());
    let mut marketplace = a_day();
    closed(&mut marketplace, [&bob, &bob]);
    assert_eq!(check(&marketplace.log, &marketplace.history), []);
    planted(Promise::P4, &format!("went to {ann}"), |marketplace| closed(marketplace, [&bob, &ann]));
    let won = format!(r#""result":"won","winner":"{bob}","price":{{"amount":2050,"currency":"USD"}}"#);
    planted(Promise::P4, "went to nobody", |marketplace| {
        closed(marketplace, [&won, r#""result":"unsold","reserve_missed":false"#]);
    });
}

#[test]
fn a_bid_that_counts_after_the_end_is_found() {
    planted(Promise::P4, "ended at", |marketplace| {
        marketplace.event("bid-3").recorded_at += TimeDelta::days(1);
    });
}

#[test]
fn what_has_not_ended_is_found() {
    let open = |marketplace: &Marketplace| -> Vec<String> {
        let found = check_ended(&marketplace.log);
        assert!(found.iter().all(|violation| violation.promise == Promise::P7));
        found.iter().filter_map(|violation| violation.what.split(' ').next()).map(str::to_owned).collect()
    };
    let mut marketplace = a_day();
    assert_eq!(open(&marketplace), ["auction", "withdrawal"]);
    let requested = marketplace.log.events.iter().find_map(|logged| match logged.event.decode() {
        Ok(DomainEvent::Wallet(id, wallet::Event::WithdrawalRequested { withdrawal, .. })) => Some((id, withdrawal)),
        _ => None,
    });
    let ((wallet, withdrawal), provider_reference) = (requested.unwrap(), "po_1".to_owned());
    let paid = wallet::Event::WithdrawalPaid { withdrawal, provider_reference, fee: None, postings: Vec::new() };
    marketplace.cause(&[DomainEvent::Wallet(wallet, paid)]);
    assert_eq!(open(&marketplace), ["auction"]);
    marketplace.seconds += 86_400;
    let (outcome, ended_at) = (auction::Outcome::Won { winner: BOB, price: usd(2_050) }, marketplace.now());
    marketplace.cause(&[DomainEvent::Auction(SALE, auction::Event::AuctionClosed { outcome, ended_at })]);
    assert_eq!(open(&marketplace), [""; 0]);
}

#[test]
fn what_a_timer_does_of_itself_is_found() {
    let mut marketplace = a_day();
    assert_eq!(check_timers(&marketplace.log, &Outages::default()), []);
    let place = marketplace.place("bid-3");
    marketplace.log.events[place].metadata.insert("actor".to_owned(), "process:timers".to_owned());
    let found = check_timers(&marketplace.log, &Outages::default());
    assert!(found.iter().any(|violation| violation.what.contains("was set by nothing")), "{found:#?}");
}

#[test]
fn a_decision_against_the_rules_is_found() {
    planted(Promise::P0, "is not what was decided", |marketplace| {
        let event = marketplace.event("bid-2");
        event.payload = event.payload.replacen("1500", "1600", 1);
    });
    planted(Promise::P0, "should have been refused", |marketplace| {
        marketplace.command("bid-2").intent = bid(1);
    });
}

#[test]
fn a_wrong_answer_to_an_accepted_command_is_found() {
    planted(Promise::P0, "was told bids", |marketplace| {
        let Outcome::Accepted { body, .. } = marketplace.outcome("bid-2") else { panic!("refused") };
        body["bids"] = 1.into();
    });
}

#[test]
fn a_forged_refusal_is_found() {
    planted(Promise::P0, "where the rules say", |marketplace| {
        let Outcome::Refused { problem, .. } = marketplace.outcome("too-low") else { panic!("accepted") };
        problem["minimum"]["amount"] = 1_601.into();
    });
    planted(Promise::P0, "where the rules say", |marketplace| {
        let Outcome::Refused { problem, .. } = marketplace.outcome("too-much") else { panic!("accepted") };
        problem["type"] = "/problems/wrong-currency".into();
    });
}

#[test]
fn a_refusal_that_rests_on_another_position_is_found() {
    planted(Promise::P0, "where the rules say", |marketplace| {
        let earlier = i64::try_from(marketplace.place("bid-1")).unwrap() + 1;
        let Outcome::Refused { position, .. } = marketplace.outcome("too-low") else { panic!("accepted") };
        *position = earlier;
    });
    planted(Promise::P0, "where no unit of work ends", |marketplace| {
        let within = i64::try_from(marketplace.place("bid-1")).unwrap();
        let Outcome::Refused { position, .. } = marketplace.outcome("own-item") else { panic!("accepted") };
        *position = within;
    });
}

#[test]
fn an_answer_that_has_not_seen_what_was_known_is_found() {
    planted(Promise::P0, "was known before it", |marketplace| {
        let last = marketplace.log.head;
        let mut late = marketplace.command("own-item").attempts[0].clone();
        late.began = Duration::from_secs(10_000);
        late.ended = Duration::from_secs(10_001);
        marketplace.command("own-item").attempts.push(late);
        assert!(last > 0);
    });
}

#[test]
fn an_answer_given_again_may_rest_on_what_was_known_when_it_was_first_asked_for() {
    let mut marketplace = a_day();
    let mut again = marketplace.command("bid-1").attempts[0].clone();
    again.began = Duration::from_secs(10_000);
    again.ended = Duration::from_secs(10_001);
    let Outcome::Accepted { replayed, .. } = &mut again.outcome else { panic!("refused") };
    *replayed = true;
    marketplace.command("bid-1").attempts.push(again);
    assert_eq!(check(&marketplace.log, &marketplace.history), []);
}
