//! What staff see: accounts, statistics, movements of money, and what was done in a capacity.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use domain::account::{Account, Capability};
use domain::{AccountId, OrderId};
use eventstore::event::Act;
use serde_json::{Value, json};
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;
use super::questions::walk;
use crate::accounts::{self, Standing};
use crate::statistics::{self, Kind};
use crate::{Text, ledger, staff_acts};

/// How many things are in each status, by another read model.
async fn counted(test: &TestDatabase, query: &str) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(query).fetch_all(&test.pool).await.unwrap();
    rows.into_iter().collect()
}

#[tokio::test]
async fn statistics_are_what_the_other_read_models_come_to() {
    let history = History::of_catalogue(51, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut counts: BTreeMap<Kind, BTreeMap<String, i64>> = BTreeMap::new();
    for count in statistics::counts(&test.pool).await.unwrap() {
        counts.entry(count.kind).or_default().insert(count.status, count.things);
    }
    for (kind, query) in [
        (Kind::Escrow, "select status, count(*) from escrows.escrows group by status"),
        (
            Kind::Listing,
            "select case status when 'sold_out' then 'active' else status end, count(*)
             from catalogue.listings group by 1",
        ),
        (Kind::Store, "select state, count(*) from stores.stores group by state"),
        (
            Kind::Account,
            "select case when erased_at is not null then 'erased' when blocked then 'blocked'
                when suspended then 'suspended' else 'active' end, count(*)
             from accounts.profiles group by 1",
        ),
    ] {
        let expected = counted(&test, query).await;
        assert!(expected.len() > 1, "{kind:?}: {expected:?}");
        assert_eq!(counts.get(&kind), Some(&expected), "{kind:?}");
    }
    let orders: i64 = sqlx::query_scalar("select count(*) from orders.orders").fetch_one(&test.pool).await.unwrap();
    assert_eq!(counts[&Kind::Order].values().sum::<i64>(), orders);

    // In each currency, and on each day, all sellers together.
    let days: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', day, currency, sum(orders), sum(pieces), sum(gross), sum(refunded), sum(fees),
            sum(paid_out), sum(cash_orders), sum(cash_pieces), sum(cash_gross))
         from sales.days group by day, currency order by currency, day",
    )
    .fetch_all(&test.pool)
    .await
    .unwrap();
    assert!(!days.is_empty());
    let day = |year| NaiveDate::from_ymd_opt(year, 1, 1).unwrap();
    let shown = statistics::takings(&test.pool, day(1), day(9_999), None).await.unwrap();
    let shown = shown.into_iter().map(|it| {
        let (day, code, sums) = (it.day, it.currency.0.code(), it.sums);
        let money = [sums.gross, sums.refunded, sums.fees, sums.paid_out].map(|sum| sum.0.to_string()).join(" ");
        let cash = format!("{} {} {}", sums.cash_orders, sums.cash_pieces, sums.cash_gross.0);
        format!("{day} {code} {} {} {money} {cash}", sums.orders, sums.pieces)
    });
    assert_eq!(shown.collect::<Vec<_>>(), days);
    for totals in statistics::totals(&test.pool).await.unwrap() {
        let held: Option<String> =
            sqlx::query_scalar("select sum(held)::text from sales.orders where currency = $1 and held > 0")
                .bind(totals.currency)
                .fetch_one(&test.pool)
                .await
                .unwrap();
        assert_eq!(totals.held().0.to_string(), held.unwrap_or_else(|| "0".to_owned()));
    }
    let activity = statistics::days(&test.pool, day(1), day(9_999)).await.unwrap();
    let accounts = i64::try_from(history.accounts.0.len()).unwrap();
    assert_eq!(activity.iter().map(|day| day.signups).sum::<i64>(), accounts);
    assert_eq!(activity.iter().map(|day| day.orders).sum::<i64>(), orders);
    assert!(activity.iter().any(|day| day.disputes > 0) && activity.iter().any(|day| day.violations > 0));
}

#[tokio::test]
async fn accounts_are_found_by_what_they_are_each_once() {
    let history = History::random(52, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let standing = |account: &Account| match account.registered() {
        Err(_) => Standing::Erased,
        Ok(known) if known.blocked => Standing::Blocked,
        Ok(known) if known.suspended => Standing::Suspended,
        Ok(_) => Standing::Active,
    };
    let mut seen = BTreeSet::new();
    for wanted in [Standing::Active, Standing::Suspended, Standing::Blocked, Standing::Erased] {
        let filter = accounts::Filter { standing: Some(wanted), ..accounts::Filter::default() };
        let shown = walk(|after| accounts::page(&test.pool, &filter, after, 2)).await;
        let shown: BTreeSet<Uuid> = shown.iter().map(|profile| profile.id).collect();
        let of_history = history.accounts.0.iter().filter(|(_, (account, _))| standing(account) == wanted);
        assert_eq!(shown, of_history.map(|(id, _)| *id).collect::<BTreeSet<_>>(), "{wanted:?}");
        seen.extend(shown);
    }
    assert_eq!(seen.len(), history.accounts.0.len());
    for capability in Capability::ALL {
        let filter = accounts::Filter { capability: Some(capability), ..accounts::Filter::default() };
        let shown = walk(|after| accounts::page(&test.pool, &filter, after, 3)).await;
        assert!(shown.iter().all(|profile| profile.capabilities.contains(&Text(capability))));
    }
    let mut pardoned = 0;
    for (id, (account, _)) in &history.accounts.0 {
        let of = walk(|after| accounts::violations(&test.pool, AccountId(*id), after, 1)).await;
        let Ok(known) = account.registered() else { continue };
        let shown = |past: bool| -> BTreeSet<OrderId> {
            of.iter().filter(|it| it.pardoned_at.is_some() == past).map(|it| OrderId(it.order_id)).collect()
        };
        assert_eq!((&shown(false), &shown(true)), (&known.violations, &known.pardoned));
        pardoned += known.pardoned.len();
    }
    assert!(pardoned > 0);
}

#[tokio::test]
async fn every_movement_is_on_one_page_and_found_from_both_sides() {
    let history = History::random(53, 1_500);
    let test = TestDatabase::showing(&history.units).await;
    let all = ledger::Filter::default();
    let shown = walk(|after| ledger::page(&test.pool, &all, after, 7)).await;
    let there: i64 = sqlx::query_scalar("select count(*) from ledger.postings").fetch_one(&test.pool).await.unwrap();
    assert_eq!(i64::try_from(shown.len()).unwrap(), there);
    let places: Vec<(i64, i32)> = shown.iter().map(|entry| (entry.position, entry.ordinal)).collect();
    assert!(places.is_sorted_by(|a, b| a > b), "the newest first, each once");
    let some = shown[shown.len() / 2].clone();
    for side in [some.debit_account.0.clone(), some.credit_account.0.clone()] {
        let filter = ledger::Filter { sides: vec![vec![side.clone()]], ..ledger::Filter::default() };
        let found = walk(|after| ledger::page(&test.pool, &filter, after, 5)).await;
        let touches = |entry: &&ledger::Entry| entry.debit_account.0 == side || entry.credit_account.0 == side;
        assert_eq!(found, shown.iter().filter(touches).cloned().collect::<Vec<_>>());
    }
    let filter = ledger::Filter { step: Some(some.step), currency: Some(some.currency.0), ..ledger::Filter::default() };
    let found = walk(|after| ledger::page(&test.pool, &filter, after, 5)).await;
    assert!(found.contains(&some));
    assert!(found.iter().all(|entry| (entry.step, entry.currency) == (some.step, some.currency)));
}

#[tokio::test]
async fn everything_that_was_done_in_a_capacity_is_told_with_what_it_has_changed() {
    let history = History::of_catalogue(54, 1_500);
    let test = TestDatabase::showing(&history.units).await;
    let mut connection = test.pool.acquire().await.unwrap();
    let mut shown = Vec::new();
    let mut after = None;
    loop {
        let page = staff_acts::page(&mut connection, &staff_acts::Filter::default(), after, 20).await.unwrap();
        let told = staff_acts::tell(&mut connection, test.database.wrapping(), &page.items).await.unwrap();
        shown.extend(page.items.into_iter().zip(told));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // One act for each unit of work that says so, the newest first.
    let said =
        |unit: &super::history::Unit| unit.events.first().is_some_and(|it| it.metadata.contains("\"capacity\":"));
    assert_eq!(shown.len(), history.units.iter().filter(|unit| said(unit)).count());
    assert!(shown.len() > 100, "{}", shown.len());
    assert!(shown.is_sorted_by(|(a, _), (b, _)| a[0].unit > b[0].unit));
    let (mut changed, mut reasons) = (0, 0);
    for (steps, told) in &shown {
        let happened: usize = told.changes.iter().map(|change| change.events.len()).sum();
        assert_eq!(happened, steps.len());
        reasons += usize::from(told.reason.is_some());
        changed += usize::from(told.changes.iter().any(|change| change.after != json!({})));
        let shown: Vec<_> = told.changes.iter().map(|change| (&change.before, &change.after)).collect();
        let shown = json!(shown).to_string();
        assert!(!shown.contains("example.com") && shown.len() < 20_000, "{shown}");
    }
    assert!(changed > 100 && reasons > 5, "{changed} {reasons}");
    let (steps, _) = &shown[shown.len() / 2];
    let first = &steps[0];
    for filter in [
        staff_acts::Filter { actor: first.actor, ..staff_acts::Filter::default() },
        staff_acts::Filter { subject: Some(first.aggregate_id), ..staff_acts::Filter::default() },
        staff_acts::Filter { event_type: Some(first.event_type.clone()), ..staff_acts::Filter::default() },
        staff_acts::Filter { subject_type: Some(first.aggregate_type.clone()), ..staff_acts::Filter::default() },
        staff_acts::Filter {
            capacity: Some(first.capacity.clone()),
            from: Some(first.recorded_at),
            ..staff_acts::Filter::default()
        },
    ] {
        let page = staff_acts::page(&mut connection, &filter, None, 1_000).await.unwrap();
        assert!(page.items.contains(steps) && page.items.len() < shown.len(), "{filter:?}");
    }
    let nobody = staff_acts::Filter { actor: Some(Uuid::nil()), ..staff_acts::Filter::default() };
    assert!(staff_acts::page(&mut connection, &nobody, None, 20).await.unwrap().items.is_empty());
    // What metadata say that nobody has written as we do keeps nobody from reading the event.
    assert_eq!(serde_json::from_value::<Act>(json!({ "capacity": "staff" })).unwrap().account(), None);
    assert!(serde_json::from_value::<Act>(Value::Null).is_err());
}
