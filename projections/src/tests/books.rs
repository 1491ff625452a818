//! Money: the books balance, the statement agrees with them and with the domain, and the tables themselves refuse what
//! must never be.

use std::collections::BTreeMap;

use domain::wallet::Wallet;
use domain::{AccountId, Aggregate, LedgerAccount};
use eventstore::event::DomainEvent;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;
use crate::ledger::{self, Total};
use crate::{Text, wallet_statement};

#[tokio::test]
async fn the_books_balance_and_agree_with_the_statements_and_with_the_domain() {
    let history = History::random(7, 800);
    let test = TestDatabase::showing(&history.units).await;
    let books = ledger::trial_balance(&test.pool).await.unwrap();
    assert_eq!(books.iter().map(|currency| currency.currency.0.code()).collect::<Vec<_>>(), ["JPY", "USD"]);
    for currency in &books {
        assert_eq!(currency.difference, Total(0));
        assert!(currency.debits > Total(0));
        let posted: String = sqlx::query_scalar("select sum(amount)::text from ledger.postings where currency = $1")
            .bind(currency.currency)
            .fetch_one(&test.pool)
            .await
            .unwrap();
        assert_eq!(
            (currency.debits, currency.credits),
            (posted.clone().try_into().unwrap(), posted.try_into().unwrap())
        );
    }
    for (id, (wallet, version)) in &history.wallets.0 {
        let Wallet::Open(state) = wallet else { continue };
        let currency = state.available.currency();
        let shown = wallet_statement::balances(&test.pool, state.owner).await.unwrap();
        let shown = shown.into_iter().find(|balance| balance.currency == Text(currency)).unwrap();
        assert_eq!((shown.wallet_id, shown.version), (*id, version.cast_signed()));
        assert_eq!((shown.available, shown.held), (state.available.minor(), state.held.minor()));
        for (account, minor) in [
            (LedgerAccount::Available(state.owner), shown.available),
            (LedgerAccount::Held(state.owner), shown.held),
            (LedgerAccount::PayoutPending(state.owner), shown.payout_pending),
        ] {
            let booked = ledger::balance(&test.pool, &account, currency).await.unwrap();
            assert_eq!(booked.map_or(0, |booked| booked.credits.0 - booked.debits.0), i128::from(minor), "{account}");
        }
    }
}

#[tokio::test]
async fn a_running_balance_is_what_the_wallet_had_available_right_then() {
    let history = History::random(8, 800);
    let test = TestDatabase::showing(&history.units).await;
    // What the domain says: the available balance after the last event of each operation that changed it.
    let mut wallets: BTreeMap<Uuid, Wallet> = BTreeMap::new();
    let mut expected: BTreeMap<Uuid, i64> = BTreeMap::new();
    let available = |wallet: &Wallet| match wallet {
        Wallet::Unopened => 0,
        Wallet::Open(balance) => balance.available.minor(),
    };
    for recorded in history.recorded() {
        let DomainEvent::Wallet(id, event) = &recorded.event else { continue };
        let wallet = wallets.entry(id.0).or_default();
        let before = available(wallet);
        wallet.evolve(event);
        if available(wallet) != before {
            let payload = serde_json::to_value(event).unwrap();
            let fields = payload.as_object().unwrap().values().next().unwrap();
            let operation = ["deposit", "withdrawal", "hold"].iter().find_map(|name| fields.get(name)).unwrap();
            expected.insert(operation.as_str().unwrap().parse().unwrap(), available(wallet));
        }
    }
    let shown: Vec<(Uuid, Option<i64>, String, String)> =
        sqlx::query_as("select id, balance_after, kind, status from wallet_statement.transactions")
            .fetch_all(&test.pool)
            .await
            .unwrap();
    for (id, balance_after, ..) in &shown {
        assert_eq!(expected.get(id), balance_after.as_ref());
    }
    for shape in [
        (Some(()), "deposit", "succeeded"),
        (None, "deposit", "pending"),
        (None, "deposit", "failed"),
        (Some(()), "withdrawal", "pending"),
        (Some(()), "withdrawal", "succeeded"),
        (Some(()), "withdrawal", "failed"),
        (Some(()), "hold", "pending"),
        (Some(()), "hold", "released"),
    ] {
        let alike = |(_, balance, kind, status): &&(Uuid, Option<i64>, String, String)| {
            (balance.map(|_| ()), &**kind, &**status) == shape
        };
        assert!(shown.iter().any(|row| alike(&row)), "{shape:?}");
    }
}

#[tokio::test]
async fn the_tables_refuse_what_must_never_be() {
    let history = History::random(9, 800);
    let mut test = TestDatabase::showing(&history.units).await;
    let account = AccountId(Uuid::from_u128(1));
    for (statement, constraint) in [
        ("update wallet_statement.balances set available = -1", "balances_available_not_negative"),
        ("update wallet_statement.balances set held = -1", "balances_held_not_negative"),
        ("update wallet_statement.balances set payout_pending = -1", "balances_payout_pending_not_negative"),
        ("update wallet_statement.transactions set balance_after = -1", "transactions_balance_not_negative"),
        (
            "insert into wallet_statement.balances select gen_random_uuid(), account_id, currency, 0, 0, 0, 1, 1
             from wallet_statement.balances",
            "balances_account",
        ),
        ("update ledger.postings set amount = 0", "postings_amount_positive"),
        ("update ledger.postings set debit_account = credit_account", "postings_between_two_accounts"),
        (
            "insert into ledger.postings select position + 1000000, ordinal, event_id, aggregate_type, aggregate_id,
                operation, step, debit_account, credit_account, amount, currency, recorded_at from ledger.postings",
            "postings_once_per_step",
        ),
        (
            "update ledger.balances set credits = 0, debits = 1 where kind = 'available'",
            "balances_of_users_not_negative",
        ),
        ("update ledger.balances set credits = 0, debits = 1 where kind = 'held'", "balances_of_users_not_negative"),
        (
            "update ledger.balances set credits = 0, debits = 1 where kind = 'payout-pending'",
            "balances_of_users_not_negative",
        ),
        ("update ledger.balances set debits = -1", "balances_only_grow"),
        (
            "insert into auction_board.bidders select auction_id, gen_random_uuid(), alias from auction_board.bidders",
            "bidders_alias",
        ),
    ] {
        let error = sqlx::query(statement).execute(&mut test.owner).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some(constraint), "{error}");
    }
    assert_eq!(wallet_statement::balances(&test.pool, account).await.unwrap(), []);
}
