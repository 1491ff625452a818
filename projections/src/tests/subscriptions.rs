//! Subscriptions and plans: what is shown is what the domain says.

use domain::subscription::Subscription;
use domain::{AccountId, Money};

use super::database::TestDatabase;
use super::history::History;
use crate::subscriptions::{self, Row, State};
use crate::{Text, ledger, plans};

fn money(minor: i64, currency: Text<domain::Currency>) -> Money {
    Money::new(minor, currency.0).unwrap()
}

#[tokio::test]
async fn what_is_shown_of_subscriptions_and_sellers_is_what_the_domain_says() {
    let history = History::random(31, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut running = 0;
    for (id, (state, version)) in &history.subscriptions.0 {
        let shown = subscriptions::current(&test.pool, AccountId(*id)).await.unwrap();
        let Some(expected) = state.running() else {
            assert_eq!(shown, None);
            continue;
        };
        let shown = shown.unwrap();
        let Row { currency, period, .. } = shown;
        assert_eq!((shown.id, shown.version), (expected.subscription.0, version.cast_signed()));
        assert_eq!((&shown.plan, money(shown.price, currency)), (&expected.terms.plan, expected.terms.price));
        assert_eq!((period, shown.period_ends_at), (i64::from(expected.period.number), expected.period.ends_at));
        assert_eq!(shown.reminded_at.is_some(), expected.reminded);
        let next = expected.renews_under().filter(|terms| **terms != expected.terms).map(|terms| terms.plan.as_str());
        assert_eq!((shown.renews, shown.next_plan.as_deref()), (expected.renews_under().is_some(), next));
        let is_paid = matches!(state, Subscription::Active(_));
        assert_eq!(shown.state, if is_paid { State::Active } else { State::PastDue });
        running += 1;
        // And what it has cost is deferred while its period goes on.
        let deferred = domain::LedgerAccount::DeferredRevenue(expected.subscription);
        let booked = ledger::balance(&test.pool, &deferred, currency.0).await.unwrap().unwrap();
        let paid = if is_paid { shown.price } else { 0 };
        assert_eq!(booked.credits.0 - booked.debits.0, i128::from(paid));
    }
    assert!(running > 0, "nobody subscribes");
    for (id, (state, version)) in &history.sellers.0 {
        let shown = subscriptions::offers(&test.pool, AccountId(*id)).await.unwrap();
        let expected = (i64::from(state.offers), state.fee_bps.map(i64::from));
        assert_eq!(shown.map(|shown| (shown.offers, shown.fee_bps)), (*version > 0).then_some(expected));
    }
    let defined: Vec<_> = history.plans.0.values().filter_map(|(plan, _)| plan.definition().cloned()).collect();
    let shown = plans::all(&test.pool).await.unwrap();
    assert_eq!(shown.len(), defined.len());
    for definition in defined {
        let shown = shown.iter().find(|shown| shown.slug == definition.slug).unwrap();
        assert_eq!((&shown.prices.0, shown.retired), (&definition.prices, definition.retired));
        assert_eq!((shown.sort_order, shown.fee_bps), (definition.sort_order, definition.fee_bps.map(i64::from)));
    }
}

#[tokio::test]
async fn pages_of_subscriptions_are_all_of_them_newest_first() {
    let history = History::random(32, 6_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut most = 0;
    for id in history.subscriptions.0.keys() {
        let whole = subscriptions::page(&test.pool, AccountId(*id), None, 100).await.unwrap().items;
        let mut sorted = whole.clone();
        sorted.sort_by_key(|row| std::cmp::Reverse((row.purchased_at, row.id)));
        assert_eq!(whole, sorted);
        let (mut walked, mut cursor) = (Vec::new(), None);
        loop {
            let page = subscriptions::page(&test.pool, AccountId(*id), cursor, 1).await.unwrap();
            walked.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(walked, whole);
        most = most.max(whole.len());
    }
    assert!(most > 1, "nobody has subscribed twice");
}
