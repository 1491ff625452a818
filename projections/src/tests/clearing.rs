//! What a provider tells is held against the books: what is the same on both sides is no difference, all else is one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use domain::{charge, wallet};
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

/// What a provider would tell of a history: each charge with all that was kept for it, whatever went back, was taken back
/// or came again, and what went out.
fn told(history: &History) -> Vec<Told> {
    use charge::Event as C;
    use wallet::Event as W;
    let (mut told, mut amounts) = (Vec::<Told>::new(), BTreeMap::new());
    let mut charges = BTreeMap::<Uuid, usize>::new();
    for recorded in history.recorded() {
        let (kind, operation, reference, sign, amount, fee) = match &recorded.event {
            DomainEvent::Charge(charge, event) => match event {
                C::ChargeRequested { terms } => {
                    amounts.insert(charge.0, terms.amount);
                    continue;
                }
                C::ProviderFeeCharged { fee, .. } => {
                    told[charges[&charge.0]].fee += fee.minor();
                    continue;
                }
                C::ChargeRefundRequested { refund, amount, .. } => {
                    amounts.insert(refund.0, *amount);
                    continue;
                }
                C::ChargeSucceeded { reference, fee, .. } => {
                    charges.insert(charge.0, told.len());
                    (Kind::Charge, charge.0, Some(reference), 1, amounts[&charge.0], *fee)
                }
                C::ChargeRefunded { refund, attempt, reference, .. } => {
                    (Kind::Refund, refund.operation(*attempt), Some(reference), -1, amounts[&refund.0], None)
                }
                C::ChargeRefundFailed { refund, attempt, postings, .. } if !postings.is_empty() => {
                    (Kind::RefundReturned, refund.operation(*attempt), None, 1, amounts[&refund.0], None)
                }
                C::ChargeDisputed { dispute, name, amount, .. } => {
                    amounts.insert(dispute.0, *amount);
                    (Kind::Dispute, dispute.0, Some(name), -1, *amount, None)
                }
                C::ChargeDisputeWon { dispute, .. } => {
                    (Kind::DisputeReversed, dispute.0, None, 1, amounts[&dispute.0], None)
                }
                _ => continue,
            },
            DomainEvent::Wallet(_, event) => match event {
                W::DepositRequested { deposit, amount, .. } => {
                    amounts.insert(deposit.0, *amount);
                    continue;
                }
                W::WithdrawalRequested { withdrawal, amount, .. } => {
                    amounts.insert(withdrawal.0, *amount);
                    continue;
                }
                // What a charge has brought in is told as the charge.
                W::DepositSettled { deposit, provider_reference, .. } if !charges.contains_key(&deposit.0) => {
                    (Kind::Charge, deposit.0, Some(provider_reference), 1, amounts[&deposit.0], None)
                }
                W::WithdrawalPaid { withdrawal, provider_reference, fee, .. } => {
                    (Kind::Payout, withdrawal.0, Some(provider_reference), -1, amounts[&withdrawal.0], *fee)
                }
                W::WithdrawalReturned { withdrawal, .. } => {
                    (Kind::PayoutReturned, withdrawal.0, None, 1, amounts[&withdrawal.0], None)
                }
                _ => continue,
            },
            _ => continue,
        };
        let (currency, at) = (Text(amount.currency()), recorded.recorded_at);
        let reference = reference.cloned().unwrap_or_else(|| format!("{kind:?} {operation}"));
        let (amount, fee, operation) = (amount.minor() * sign, fee.map_or(0, domain::Money::minor), Some(operation));
        told.push(Told { kind, reference, operation, amount, currency, fee, fee_currency: currency, at });
    }
    told
}

/// All of the time of a history.
fn span(history: &History) -> Span {
    let times = || history.recorded().into_iter().map(|recorded| recorded.recorded_at);
    Span { from: times().min().unwrap(), until: times().max().unwrap() + TimeDelta::seconds(1) }
}

async fn compared(test: &TestDatabase, told: &[Told], span: Span) -> Vec<Unlike> {
    compared_with_those_under_way(test, told, span).await.0
}

/// What is not the same on both sides, and how many payouts are under way.
async fn compared_with_those_under_way(test: &TestDatabase, told: &[Told], span: Span) -> (Vec<Unlike>, i64) {
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
    clearing.pair(span).await.unwrap();
    let unlike = clearing.unlike(span).try_collect().await.unwrap();
    let under_way = clearing.under_way(span).await.unwrap().into_iter().map(|(_, records, _)| records).sum();
    clearing.end().await.unwrap();
    (unlike, under_way)
}

#[tokio::test]
async fn what_both_sides_say_is_no_difference_in_whichever_order_it_is_told() {
    let history = History::random(31, 6_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut told = told(&history);
    assert!(told.len() > 50, "{}", told.len());
    for kind in [
        Kind::Charge,
        Kind::Refund,
        Kind::RefundReturned,
        Kind::Payout,
        Kind::PayoutReturned,
        Kind::Dispute,
        Kind::DisputeReversed,
    ] {
        assert!(told.iter().any(|told| told.kind == kind), "{kind:?}");
    }
    let all = span(&history);
    let unlike = compared(&test, &told, all).await;
    assert!(unlike.is_empty(), "{unlike:?}");
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
    let all = span(&history);
    let mut random = StdRng::seed_from_u64(32);
    let (mut told, mut changed, mut known) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for record in truth {
        let operation = record.operation.unwrap();
        // Of each operation the first movement alone, so that each is found once.
        let alike = !known.insert(operation) || random.random_bool(0.8);
        if !alike {
            changed.insert(operation);
        }
        match (alike, random.random_range(0..4)) {
            (true, _) => told.push(record),
            (false, 0) => {}
            (false, 1) => told.push(Told { amount: record.amount + 1, ..record }),
            (false, 2) => told.push(Told { fee: record.fee + 3, ..record }),
            (false, _) => told.extend([record.clone(), record]),
        }
    }
    let found = compared(&test, &told, all).await;
    let operations: BTreeSet<Uuid> = found.iter().map(|unlike| unlike.operation.unwrap()).collect();
    let wrong: Vec<_> = operations.symmetric_difference(&changed).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
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
    let all = span(&history);
    let moved = all.until + TimeDelta::hours(1);
    told[0].at = moved;
    let [only] = compared(&test, &told, all).await.try_into().unwrap();
    let (there, here) = (only.there().unwrap(), only.here().unwrap());
    assert_eq!((there.at, all.has(here.at), all.has(there.at)), (moved, true, false));
    assert_eq!((there.amount, there.currency), (here.amount, here.currency));
}

#[tokio::test]
async fn payouts_are_of_the_time_when_they_were_sent_and_those_that_have_not_arrived_are_none() {
    use wallet::Event as W;
    let history = History::random(34, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut told = told(&history);
    told.retain(|told| told.kind != Kind::Payout);
    let (mut sent, mut arrived, mut failed) = (BTreeMap::<Uuid, Told>::new(), 0, 0);
    for recorded in history.recorded() {
        let (DomainEvent::Wallet(_, event), at) = (&recorded.event, recorded.recorded_at) else { continue };
        match event {
            W::WithdrawalRequested { withdrawal, amount, .. } => {
                let (currency, reference) = (Text(amount.currency()), format!("tr {withdrawal}"));
                let (kind, operation, amount) = (Kind::Payout, Some(withdrawal.0), -amount.minor());
                let told = Told { kind, reference, operation, amount, currency, fee: 0, fee_currency: currency, at };
                sent.insert(withdrawal.0, told);
            }
            W::WithdrawalPaid { withdrawal, .. } => {
                told.extend(sent.remove(&withdrawal.0));
                arrived += 1;
            }
            W::WithdrawalFailed { withdrawal, .. } => {
                let out = sent.remove(&withdrawal.0).unwrap();
                let back = Told { kind: Kind::PayoutReturned, amount: -out.amount, at, ..out.clone() };
                told.extend([out, back]);
                failed += 1;
            }
            _ => {}
        }
    }
    assert!(arrived > 3 && failed > 3 && !sent.is_empty(), "{arrived} {failed} {}", sent.len());
    let open = i64::try_from(sent.len()).unwrap();
    told.extend(sent.into_values());
    let all = span(&history);
    let (unlike, under_way) = compared_with_those_under_way(&test, &told, all).await;
    assert!(unlike.is_empty(), "{unlike:?}");
    assert_eq!(under_way, open);
    // In either half of the time too, though much arrives in the other, or comes back.
    let half = all.from + (all.until - all.from) / 2;
    for span in [Span { until: half, ..all }, Span { from: half, ..all }] {
        let within: Vec<Told> = told.iter().filter(|told| span.has(told.at)).cloned().collect();
        // What is kept of a charge may be told in the other half.
        let mut unlike = compared(&test, &within, span).await;
        unlike.retain(|unlike| matches!(unlike.kind, Kind::Payout | Kind::PayoutReturned));
        assert!(unlike.is_empty(), "{unlike:?}");
    }
}
