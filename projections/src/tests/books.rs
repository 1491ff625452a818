//! Money: the books balance, the statement agrees with them and with the domain, and the tables themselves refuse what
//! must never be.

use std::collections::BTreeMap;

use domain::escrow::Status;
use domain::wallet::{Balance, Event, Wallet};
use domain::{AccountId, Aggregate, LedgerAccount};
use eventstore::event::DomainEvent;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;
use crate::ledger::{self, Total};
use crate::wallet_statement::Transaction;
use crate::{Text, wallet_statement};

#[tokio::test]
async fn the_books_balance_and_agree_with_the_statements_and_with_the_domain() {
    let history = History::random(7, 4_000);
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
        assert_eq!(shown.owed, state.owed.minor());
        for (account, minor) in [
            (LedgerAccount::Available(state.owner), shown.available),
            (LedgerAccount::Held(state.owner), shown.held),
            (LedgerAccount::PayoutPending(state.owner), shown.payout_pending),
            (LedgerAccount::Receivable(state.owner), -shown.owed),
        ] {
            let booked = ledger::balance(&test.pool, &account, currency).await.unwrap();
            assert_eq!(booked.map_or(0, |booked| booked.credits.0 - booked.debits.0), i128::from(minor), "{account}");
        }
    }
    for kind in ["escrow", "receivable", "fee-income", "affiliate-expense", "affiliate-pending", "deferred-revenue"] {
        let posted = "select count(*) from ledger.balances where kind = $1 and debits > 0 and credits > 0";
        let posted: i64 = sqlx::query_scalar(posted).bind(kind).fetch_one(&test.pool).await.unwrap();
        assert!(posted > 0, "{kind}");
    }
}

#[tokio::test]
async fn a_trial_balance_as_of_a_position_is_what_the_books_came_to_right_then() {
    let history = History::random(10, 5_000);
    let test = TestDatabase::showing(&history.units).await;
    let head = i64::try_from(history.recorded().len()).unwrap();
    assert!(head > 2 * 4_096, "{head}: several stretches");
    assert_eq!(ledger::trial_balance_as_of(&test.pool, 0).await.unwrap(), []);
    let now = ledger::trial_balance(&test.pool).await.unwrap();
    assert_eq!(ledger::trial_balance_as_of(&test.pool, head).await.unwrap(), now);
    let posted: Vec<i64> = sqlx::query_scalar("select distinct position from ledger.postings order by position")
        .fetch_all(&test.pool)
        .await
        .unwrap();
    let edges = [4_095, 4_096, 8_191, 8_192, 8_193];
    for position in posted.iter().copied().step_by(37).chain(edges) {
        let books = ledger::trial_balance_as_of(&test.pool, position).await.unwrap();
        for currency in &books {
            assert_eq!(currency.difference, Total(0), "as of {position}");
            let up_to = "select sum(amount)::text from ledger.postings where currency = $1 and position <= $2";
            let up_to: String =
                sqlx::query_scalar(up_to).bind(currency.currency).bind(position).fetch_one(&test.pool).await.unwrap();
            assert_eq!(currency.debits, up_to.try_into().unwrap(), "as of {position}");
        }
        let accounts: i64 = books.iter().flat_map(|currency| &currency.kinds).map(|kind| kind.accounts).sum();
        let used: i64 = sqlx::query_scalar(
            "select count(*) from (
                select debit_account, currency from ledger.postings where position <= $1
                union select credit_account, currency from ledger.postings where position <= $1
             ) as used",
        )
        .bind(position)
        .fetch_one(&test.pool)
        .await
        .unwrap();
        assert_eq!(accounts, used, "as of {position}");
    }
}

#[tokio::test]
async fn every_escrow_of_an_order_that_is_over_is_empty_and_none_of_another_is_called_over() {
    let history = History::random(7, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut over = 0;
    for (id, (escrow, _)) in &history.escrows.0 {
        let Ok(opened) = escrow.opened() else { continue };
        let account = LedgerAccount::Escrow(domain::OrderId(*id));
        let booked = ledger::balance(&test.pool, &account, opened.terms.amount.currency()).await.unwrap().unwrap();
        let ended = matches!(opened.status(), Status::Voided | Status::Released | Status::Refunded | Status::Split);
        assert_eq!(booked.ended, ended, "{account}");
        let held = booked.credits.0 - booked.debits.0;
        assert!(!ended || held == 0, "{account} holds {held}");
        over += i32::from(ended);
    }
    assert!(over > 10, "{over}");
}

#[tokio::test]
async fn a_running_balance_is_what_the_wallet_had_available_right_then() {
    let history = History::random(8, 2_500);
    let test = TestDatabase::showing(&history.units).await;
    // What the domain says: the available balance after the last event of each operation that changed it.
    let mut wallets: BTreeMap<Uuid, Wallet> = BTreeMap::new();
    let mut expected: BTreeMap<(Uuid, &str, Uuid), i64> = BTreeMap::new();
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
            let Wallet::Open(Balance { owner, .. }) = wallet else { unreachable!("it has money") };
            let (kind, name) = named_by(event);
            let operation = fields[name].as_str().unwrap().parse().unwrap();
            expected.insert((owner.0, kind, operation), available(wallet));
        }
    }
    let shown: Vec<Transaction> =
        sqlx::query_as("select * from wallet_statement.transactions").fetch_all(&test.pool).await.unwrap();
    let shown: Vec<_> = shown
        .into_iter()
        .map(|Transaction { account_id, id, balance_after, kind, status, .. }| {
            let name = |value| serde_json::to_value(value).unwrap().as_str().unwrap().to_owned();
            (account_id, id, balance_after, name(serde_json::json!(kind)), name(serde_json::json!(status)))
        })
        .collect();
    for (account, id, balance_after, kind, _) in &shown {
        let expected = expected.get(&(*account, kind, *id));
        // A refund of which nothing was available changes nothing, and is told all the same.
        let may_be_nothing = ["refund_given", "commission_given", "chargeback_given", "chargeback_regained"];
        let may_be_nothing = may_be_nothing.contains(&kind.as_str());
        assert!(expected == balance_after.as_ref() || expected.is_none() && may_be_nothing);
    }
    for shape in [
        (Some(()), "deposit", "succeeded"),
        (None, "deposit", "pending"),
        (None, "deposit", "failed"),
        (Some(()), "withdrawal", "pending"),
        (Some(()), "withdrawal", "succeeded"),
        (Some(()), "withdrawal", "failed"),
        (Some(()), "withdrawal", "returned"),
        (Some(()), "hold", "pending"),
        (Some(()), "hold", "released"),
        (Some(()), "payment", "succeeded"),
        (Some(()), "subscription", "succeeded"),
        (Some(()), "sale", "succeeded"),
        (Some(()), "refund_received", "succeeded"),
        (Some(()), "refund_given", "succeeded"),
        (Some(()), "commission_received", "succeeded"),
        (Some(()), "commission_given", "succeeded"),
        (Some(()), "recovery", "succeeded"),
    ] {
        let alike = |(_, _, balance, kind, status): &(Uuid, Uuid, Option<i64>, String, String)| {
            (balance.map(|_| ()), &**kind, &**status) == shape
        };
        assert!(shown.iter().any(alike), "{shape:?}");
    }
}

/// Of which kind the operation is that an event moves the available balance for, and the field that names it.
fn named_by(event: &Event) -> (&'static str, &'static str) {
    match event {
        Event::WalletOpened { .. }
        | Event::DepositRequested { .. }
        | Event::DepositDelayed { .. }
        | Event::DepositFailed { .. }
        | Event::WithdrawalDelayed { .. }
        | Event::WithdrawalPaid { .. } => panic!("{event:?} moves nothing"),
        Event::DepositSettled { .. } => ("deposit", "deposit"),
        Event::WithdrawalRequested { .. } | Event::WithdrawalFailed { .. } | Event::WithdrawalReturned { .. } => {
            ("withdrawal", "withdrawal")
        }
        Event::HoldPlaced { .. } | Event::HoldReleased { .. } => ("hold", "hold"),
        Event::PaymentMade { .. } => ("payment", "order"),
        Event::SubscriptionPaid { .. } => ("subscription", "period"),
        Event::SaleReceived { .. } => ("sale", "order"),
        Event::RefundReceived { .. } => ("refund_received", "refund"),
        Event::RefundGiven { .. } => ("refund_given", "refund"),
        Event::CommissionReceived { .. } => ("commission_received", "commission"),
        Event::CommissionGiven { .. } => ("commission_given", "refund"),
        Event::ReceivableRecovered { .. } => ("recovery", "operation"),
        Event::ChargebackGiven { .. } => ("chargeback_given", "dispute"),
        Event::ChargebackRegained { .. } => ("chargeback_regained", "dispute"),
    }
}

#[tokio::test]
async fn the_tables_refuse_what_must_never_be() {
    let history = History::random(9, 2_500);
    let mut test = TestDatabase::showing(&history.units).await;
    let account = AccountId(Uuid::from_u128(1));
    for (statement, constraint) in [
        ("update wallet_statement.balances set available = -1", "balances_available_not_negative"),
        ("update wallet_statement.balances set held = -1", "balances_held_not_negative"),
        ("update wallet_statement.balances set payout_pending = -1", "balances_payout_pending_not_negative"),
        ("update wallet_statement.transactions set balance_after = -1", "transactions_balance_not_negative"),
        ("update wallet_statement.balances set owed = -1", "balances_owed_not_negative"),
        (
            "insert into wallet_statement.balances select gen_random_uuid(), account_id, currency, 0, 0, 0, 0, 1, 1
             from wallet_statement.balances",
            "balances_account",
        ),
        (
            "update ledger.balances set credits = 0, debits = 1 where kind = 'escrow' and not ended",
            "balances_of_users_not_negative",
        ),
        (
            "update ledger.balances set credits = 1, debits = 0 where kind = 'receivable'",
            "balances_receivable_not_negative",
        ),
        (
            "update ledger.balances set kind = 'marketing-expense', credits = 1, debits = 0 where kind = 'receivable'",
            "balances_expense_not_negative",
        ),
        (
            "update ledger.balances set credits = debits + 1 where kind = 'affiliate-expense'",
            "balances_expense_not_negative",
        ),
        (
            "update ledger.balances set debits = credits + 1 where kind = 'affiliate-pending'",
            "balances_of_users_not_negative",
        ),
        (
            "update ledger.balances set debits = credits + 1 where kind = 'deferred-revenue'",
            "balances_of_users_not_negative",
        ),
        ("update subscriptions.subscriptions set price = 0", "subscriptions_price_positive"),
        (
            "update subscriptions.subscriptions set ended_at = null where state = 'ended'",
            "subscriptions_ended_for_a_cause",
        ),
        (
            "update subscriptions.subscriptions set grace_until = purchased_at where state = 'active'",
            "subscriptions_grace_while_past_due",
        ),
        ("update subscriptions.sellers set offers = -1", "sellers_offers_not_negative"),
        ("update affiliates.commissions set reversed = accrued + 1", "commissions_reversed_at_most_accrued"),
        ("update escrows.escrows set fee = fee + 1", "escrows_add_up"),
        ("update escrows.escrows set paid_out = null where fee is not null", "escrows_paid_out_with_fee"),
        ("update escrows.escrows set refunded = amount + 1 where fee is null", "escrows_refunded_at_most_amount"),
        ("update orders.orders set refunded = total + 1", "orders_refunded_at_most_total"),
        ("update catalogue.listings set stock = -1 where kind = 'fixed_price'", "listings_stock_not_negative"),
        ("update ledger.postings set amount = 0", "postings_amount_positive"),
        ("update ledger.postings set debit_account = credit_account", "postings_between_two_accounts"),
        (
            "insert into ledger.postings select position + 1000000, ordinal, event_id, aggregate_type, aggregate_id,
                operation, step, debit_account, credit_account, amount, currency, recorded_at
             from ledger.postings",
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
        ("update ledger.balances set debits = -1 where kind = 'provider-clearing'", "balances_only_grow"),
        (
            "update ledger.balances set credits = credits + 1 where ended and debits > 0",
            "balances_of_ended_orders_zero",
        ),
        ("update ledger.balances set ended = true where kind = 'available'", "balances_of_ended_orders_zero"),
        (
            "update ledger.balances set since = null where debits > 0 and kind = 'provider-clearing'",
            "balances_since_their_first_movement",
        ),
        ("update ledger.sums set debits = debits + 1", "sums_balance"),
        ("update ledger.turnovers set credits = -1", "turnovers_only_grow"),
        (
            "update ledger.postings set credit_account = 'fee-income:marketplace' where step = 'deposit_settled'",
            "postings_by_a_rule",
        ),
        ("update ledger.postings set step = 'hold_placed' where step = 'escrow_funded'", "postings_by_a_rule"),
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
