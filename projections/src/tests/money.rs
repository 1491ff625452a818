//! Statements and the money of orders, over random histories: whatever happens, everything is somewhere, and every span of
//! time ends with what the next begins with.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::escrow::{self, Status};
use domain::{AccountId, Currency, OrderId, Timestamp};
use eventstore::event::DomainEvent;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;
use crate::ledger::Total;
use crate::order_money::{self, Place};
use crate::statements::{self, Holdings, Line, Span};
use crate::{Text, wallet_statement};

/// Everybody who has a wallet.
fn owners(history: &History) -> Vec<AccountId> {
    let mut owners: Vec<AccountId> = history
        .wallets
        .0
        .values()
        .filter_map(|(wallet, _)| match wallet {
            domain::wallet::Wallet::Open(balance) => Some(balance.owner),
            domain::wallet::Wallet::Unopened => None,
        })
        .collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// The time of a history, cut into pieces that fit together.
fn spans(history: &History, pieces: i32) -> Vec<Span> {
    let recorded = history.recorded();
    let (first, last) = (recorded.first().unwrap().recorded_at, recorded.last().unwrap().recorded_at);
    let length = (last - first) / pieces + TimeDelta::milliseconds(1);
    let upto = recorded.last().unwrap().position;
    (0..pieces).map(|piece| first + length * piece).map(|from| Span { from, until: from + length, upto }).collect()
}

async fn walk(test: &TestDatabase, account: AccountId, span: Span, limit: u32) -> Vec<Line> {
    let (mut lines, mut after) = (Vec::new(), None);
    loop {
        let page = statements::page(&test.pool, account, span, after, limit).await.unwrap();
        assert!(page.items.len() <= limit as usize);
        lines.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return lines,
        }
    }
}

#[tokio::test]
async fn a_span_begins_with_what_the_one_before_has_ended_with_and_the_last_ends_with_what_there_is() {
    let history = History::random(7, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let spans = spans(&history, 5);
    let mut seen = 0;
    for owner in owners(&history) {
        let mut held: BTreeMap<Currency, Holdings> = BTreeMap::new();
        for span in &spans {
            let summaries = statements::summaries(&test.pool, owner, *span).await.unwrap();
            let lines = walk(&test, owner, *span, 7).await;
            assert_eq!(lines, walk(&test, owner, *span, 10_000).await, "in pages of any size");
            for summary in &summaries {
                let before = held.insert(summary.currency, summary.closing).unwrap_or_default();
                assert_eq!(summary.opening, before, "{owner} {span:?}");
                let own: Vec<_> = lines.iter().filter(|line| line.movement.currency.0 == summary.currency).collect();
                assert_eq!(i64::try_from(own.len()).unwrap(), summary.movements);
                let mut available = summary.opening.available;
                let (mut came, mut went) = (0, 0);
                for Line { movement, .. } in &own {
                    available += movement.amount;
                    assert_eq!(available, movement.available, "{movement:?}");
                    assert!(span.from <= movement.recorded_at && movement.recorded_at < span.until);
                    came += i128::from(movement.amount.max(0));
                    went += i128::from((-movement.amount).max(0));
                }
                assert_eq!(available, summary.closing.available);
                assert_eq!((summary.came, summary.went), (Total(came), Total(went)));
                seen += own.len();
            }
            assert_eq!(
                lines.len(),
                summaries.iter().map(|summary| usize::try_from(summary.movements).unwrap()).sum::<usize>()
            );
        }
        for balance in wallet_statement::balances(&test.pool, owner).await.unwrap() {
            let expected = Holdings {
                available: balance.available,
                held: balance.held,
                payout_pending: balance.payout_pending,
                owed: balance.owed,
            };
            assert_eq!(held.get(&balance.currency.0).copied().unwrap_or_default(), expected, "{owner}");
        }
    }
    assert!(seen > 200, "{seen}");
}

#[tokio::test]
async fn fees_are_what_escrows_have_kept_less_what_they_gave_back() {
    let history = History::random(7, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut sellers: BTreeMap<Uuid, AccountId> = BTreeMap::new();
    let mut expected: BTreeMap<(AccountId, Currency), i128> = BTreeMap::new();
    for recorded in history.recorded() {
        let DomainEvent::Escrow(OrderId(order), event) = &recorded.event else { continue };
        let (sign, fee) = match event {
            escrow::Event::EscrowOpened { terms } => {
                sellers.insert(*order, terms.seller);
                continue;
            }
            escrow::Event::EscrowReleased { fee, .. } | escrow::Event::EscrowSplit { fee, .. } => (1, fee),
            escrow::Event::ReleaseRefunded { fee_share, .. } => (-1, fee_share),
            _ => continue,
        };
        *expected.entry((sellers[order], fee.currency())).or_default() += sign * i128::from(fee.minor());
    }
    assert!(expected.values().any(|fee| *fee > 0), "{expected:?}");
    let whole =
        Span { from: Timestamp::UNIX_EPOCH, until: Timestamp::UNIX_EPOCH + TimeDelta::days(40_000), upto: i64::MAX };
    for ((seller, currency), fees) in expected {
        let summaries = statements::summaries(&test.pool, seller, whole).await.unwrap();
        let summary = summaries.iter().find(|summary| summary.currency == currency).unwrap();
        assert_eq!(summary.fees, Total(fees), "{seller} {currency}");
        // What a line says of the fee on a sale is what is between the price and what has come.
        for line in walk(&test, seller, whole, 100).await {
            if let (statements::Step::SaleReceived, Some(gross), Some(fee)) = (line.movement.step, line.gross, line.fee)
            {
                assert_eq!(line.movement.amount, gross - fee, "{line:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_future_of_a_span_that_goes_on_is_not_in_it() {
    let history = History::random(7, 2_000);
    let test = TestDatabase::showing(&history.units).await;
    let whole =
        Span { from: Timestamp::UNIX_EPOCH, until: Timestamp::UNIX_EPOCH + TimeDelta::days(40_000), upto: i64::MAX };
    let (mut owner, mut lines) = (AccountId(Uuid::nil()), Vec::new());
    for one in owners(&history) {
        let of_one = walk(&test, one, whole, 100).await;
        if of_one.len() > lines.len() {
            (owner, lines) = (one, of_one);
        }
    }
    let middle = lines[lines.len() / 2].movement.position;
    let half = Span { upto: middle, ..whole };
    let then = walk(&test, owner, half, 100).await;
    assert!(then.iter().all(|line| line.movement.position <= middle) && then.len() < lines.len());
    for summary in statements::summaries(&test.pool, owner, half).await.unwrap() {
        let last = then.iter().rfind(|line| line.movement.currency.0 == summary.currency);
        assert_eq!(summary.closing.available, last.map_or(0, |last| last.movement.available));
    }
    let nobody = AccountId(Uuid::nil());
    assert_eq!(statements::summaries(&test.pool, nobody, whole).await.unwrap(), []);
    assert_eq!(walk(&test, nobody, whole, 5).await, []);
}

#[tokio::test]
async fn the_money_of_every_order_is_where_its_escrow_says() {
    let history = History::random(7, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (id, (escrow, _)) in &history.escrows.0 {
        let Ok(opened) = escrow.opened() else { continue };
        let money = order_money::get(&test.pool, OrderId(*id)).await.unwrap().unwrap();
        let steps = order_money::steps(&test.pool, OrderId(*id), 1_000).await.unwrap();
        assert!(steps.is_sorted_by_key(|step| step.position));
        assert_eq!(money.currency, Text(opened.terms.amount.currency()));
        let remaining = opened.remaining().minor();
        let expected = match opened.status() {
            Status::AwaitingPayment => vec![Place::Unpaid],
            Status::Voided => vec![Place::CalledOff],
            Status::Funded | Status::Inspection => vec![Place::Escrow],
            Status::Disputed => vec![Place::Frozen],
            Status::ChargedBack => vec![Place::Bank],
            // Given back to the last cent, it is with the buyer.
            Status::Released if remaining == 0 => vec![Place::Buyer],
            Status::Released => vec![Place::Seller],
            Status::Split => vec![Place::Divided],
            Status::Refunded => vec![Place::Buyer],
        };
        assert!(expected.contains(&money.place), "{:?} and {:?}", money.place, opened.status());
        let over = !matches!(money.place, Place::Unpaid | Place::Escrow | Place::Frozen | Place::Bank);
        // While a bank decides, nothing comes by itself.
        assert_eq!(money.next.is_none(), over || money.place == Place::Bank, "{money:?}");
        assert_eq!(money.next.is_some(), money.next_at.is_some(), "{money:?}");
        if money.paid > 0 {
            assert_eq!(money.paid - money.refunded, remaining, "{money:?}");
            assert_eq!(money.held + money.at_bank, if over { 0 } else { remaining });
        }
        // What has moved according to the steps is what the ledger's accounts of the escrow have moved.
        let posted: i64 = steps.iter().flat_map(|step| &step.postings.0).map(|posting| posting.amount.minor()).sum();
        let booked: Option<i64> = sqlx::query_scalar(
            "select sum(amount)::bigint from ledger.postings
             where aggregate_type = 'escrow' and aggregate_id = $1 or step = 'receivable_recovered' and operation = $1",
        )
        .bind(id)
        .fetch_one(&test.pool)
        .await
        .unwrap();
        assert_eq!(posted, booked.unwrap_or(0), "{id}");
        *places.entry(format!("{:?}", money.place)).or_default() += 1;
    }
    for place in ["Unpaid", "CalledOff", "Escrow", "Seller", "Buyer"] {
        assert!(places.contains_key(place), "{places:?}");
    }
}
