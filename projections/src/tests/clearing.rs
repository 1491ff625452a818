//! What a provider tells is held against the books: what is the same on both sides is no difference, all else is one.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::wallet::Event;
use domain::{LedgerAccount, Posting};
use eventstore::event::DomainEvent;
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;
use crate::Text;
use crate::clearing::{Clearing, Kind, Span, Told, Unlike};

const PROVIDER: &str = "sandbox";

/// What a provider would tell of a history, in which money comes in by deposits and goes out by withdrawals.
fn told(history: &History) -> Vec<Told> {
    let mut told = Vec::new();
    for recorded in history.recorded() {
        let DomainEvent::Wallet(_, event) = &recorded.event else { continue };
        let (kind, operation, sign) = match event {
            Event::DepositSettled { deposit, .. } => (Kind::Charge, deposit.0, 1),
            Event::WithdrawalPaid { withdrawal, .. } => (Kind::Payout, withdrawal.0, -1),
            _ => continue,
        };
        let clearing = LedgerAccount::ProviderClearing(PROVIDER.to_owned());
        let of = |posting: &&Posting| posting.debit == clearing || posting.credit == clearing;
        let amounts: Vec<_> = event.postings().iter().filter(of).map(|posting| posting.amount).collect();
        let amount = amounts.iter().map(|amount| amount.minor()).sum::<i64>() * sign;
        let currency = Text(amounts[0].currency());
        let (reference, operation, at) = (operation.to_string(), Some(operation), recorded.recorded_at);
        told.push(Told { kind, reference, operation, amount, currency, fee: 0, fee_currency: currency, at });
    }
    told
}

/// All of the time of these.
fn span(told: &[Told]) -> Span {
    let times = || told.iter().map(|told| told.at);
    Span { from: times().min().unwrap(), until: times().max().unwrap() + TimeDelta::seconds(1) }
}

async fn compared(test: &TestDatabase, told: &[Told], span: Span) -> Vec<Unlike> {
    let connection = test.database.connect_as_owner().await.unwrap();
    let mut clearing = Clearing::begin(connection, PROVIDER).await.unwrap();
    for page in told.chunks(7) {
        clearing.tell(page).await.unwrap();
    }
    let mut reached = 0;
    clearing
        .book(span, |done, all| {
            assert!(reached <= done && done <= all, "{reached} {done} {all}");
            reached = done;
        })
        .await
        .unwrap();
    clearing.pair().await.unwrap();
    let unlike = clearing.unlike(span).try_collect().await.unwrap();
    clearing.end().await.unwrap();
    unlike
}

#[tokio::test]
async fn what_both_sides_say_is_no_difference_in_whichever_order_it_is_told() {
    let history = History::random(31, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut told = told(&history);
    assert!(told.len() > 50, "{}", told.len());
    assert!(told.iter().any(|told| told.kind == Kind::Payout));
    let all = span(&told);
    assert!(compared(&test, &told, all).await.is_empty());
    told.reverse();
    assert!(compared(&test, &told, all).await.is_empty());
    // Nothing is told of another provider.
    let connection = test.database.connect_as_owner().await.unwrap();
    let mut other = Clearing::begin(connection, "elsewhere").await.unwrap();
    other.book(all, |_, _| {}).await.unwrap();
    assert_eq!(other.counts(all).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn whatever_is_changed_on_one_side_is_found_and_nothing_else() {
    let history = History::random(32, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let truth = told(&history);
    let all = span(&truth);
    let mut random = StdRng::seed_from_u64(32);
    let (mut told, mut changed) = (Vec::new(), BTreeSet::new());
    for record in truth {
        let operation = record.operation.unwrap();
        let alike = random.random_bool(0.8);
        if !alike {
            changed.insert(operation);
        }
        match (alike, random.random_range(0..4)) {
            (true, _) => told.push(record),
            (false, 0) => {}
            (false, 1) => told.push(Told { amount: record.amount + 1, ..record }),
            (false, 2) => told.push(Told { fee: 3, ..record }),
            (false, _) => told.extend([record.clone(), record]),
        }
    }
    let found = compared(&test, &told, all).await;
    let operations: BTreeSet<Uuid> = found.iter().map(|unlike| unlike.operation.unwrap()).collect();
    assert_eq!(operations, changed);
    assert_eq!(found.len(), changed.len(), "each of them once");
    for unlike in found {
        match (unlike.there(), unlike.here()) {
            (Some(there), Some(here)) => assert!(there.amount != here.amount || there.fee != here.fee, "{unlike:?}"),
            (None, None) => panic!("{unlike:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn what_is_beyond_the_border_on_one_side_is_told_with_both_times() {
    let history = History::random(33, 2_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut told = told(&history);
    let all = span(&told);
    let moved = all.until + TimeDelta::hours(1);
    told[0].at = moved;
    let [only] = compared(&test, &told, all).await.try_into().unwrap();
    let (there, here) = (only.there().unwrap(), only.here().unwrap());
    assert_eq!((there.at, all.has(here.at), all.has(there.at)), (moved, true, false));
    assert_eq!((there.amount, there.currency), (here.amount, here.currency));
}
