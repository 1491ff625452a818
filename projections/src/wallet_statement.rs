//! What does this account have, and how did it come to that?
//!
//! A transaction is one operation that the owner knows by name (a deposit, a withdrawal, a hold), however many steps
//! it takes. Its `amount` is signed by what it does to the available balance: a deposit adds, a withdrawal and a hold
//! take. Its `balance_after` is the available balance right after the last of its postings there: nothing while a
//! deposit is pending, what was left for a withdrawal on its way, what is there again for one that failed.

use std::collections::BTreeMap;

use domain::wallet::{Event, PaymentMethod};
use domain::{AccountId, Currency, LedgerAccount, Money, Posting, Timestamp, WalletId};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "wallet_statement",
    next: "wallet_statement_next",
    version: 1,
    ddl: include_str!("wallet_statement.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// The money of an account in one currency, in minor units.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
pub struct Balance {
    /// The wallet.
    pub wallet_id: Uuid,
    /// Whose.
    pub account_id: Uuid,
    /// In which currency.
    pub currency: Text<Currency>,
    /// What may be spent or withdrawn.
    pub available: i64,
    /// What is set aside for a second step.
    pub held: i64,
    /// What is on its way to the owner's bank.
    pub payout_pending: i64,
    /// How many events the wallet's stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// One operation of a wallet.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Transaction {
    /// The operation.
    pub id: Uuid,
    /// Whose.
    pub account_id: Uuid,
    /// In which currency.
    pub currency: Text<Currency>,
    /// What is done.
    pub kind: Kind,
    /// How far it is.
    pub status: Status,
    /// What it adds to the available balance, or would have added, in minor units.
    pub amount: i64,
    /// The available balance after its last posting there; `None` before the first.
    pub balance_after: Option<i64>,
    /// At which provider; none for a hold.
    pub provider: Option<String>,
    /// The provider's token for the payment method.
    pub method_token: Option<String>,
    /// The provider's name for the movement, once it has succeeded.
    pub reference: Option<String>,
    /// Why it failed.
    pub failure_reason: Option<String>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it came to its end.
    pub settled_at: Option<Timestamp>,
    /// The place of its request in the wallet's stream.
    pub sequence: i64,
    /// Where its last event is.
    pub position: Position,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// Brings money in.
    Deposit,
    /// Sends money out.
    Withdrawal,
    /// Sets money aside.
    Hold,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Status {
    /// Under way.
    Pending,
    /// The money has moved.
    Succeeded,
    /// The money has not moved, or has come back.
    Failed,
    /// What was held is available again.
    Released,
}

/// The wallets and operations that a batch is about.
#[derive(Debug, Default)]
struct Statement {
    balances: BTreeMap<Uuid, Balance>,
    transactions: BTreeMap<Uuid, Transaction>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut statement = Statement::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        statement.take(recorded);
    }
    statement.store(connection).await
}

impl Statement {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        let DomainEvent::Wallet(WalletId(id), event) = &recorded.event else { return };
        if let Event::WalletOpened { owner, currency } = event {
            self.balances.insert(*id, Balance::opened(*id, *owner, *currency));
        }
        let Some(balance) = self.balances.get_mut(id) else { return };
        (balance.version, balance.position) = (recorded.sequence, recorded.position);
        let before = balance.available;
        event.postings().iter().for_each(|posting| balance.post(posting));
        let balance = *balance;
        let transactions = &mut self.transactions;
        let mut request = |id, kind, amount: Money, method| {
            transactions.insert(id, Transaction::requested(id, kind, &balance, amount, method, recorded));
        };
        match event {
            Event::WalletOpened { .. } | Event::DepositDelayed { .. } | Event::WithdrawalDelayed { .. } => {}
            Event::DepositRequested { deposit, amount, source, .. } => {
                request(deposit.0, Kind::Deposit, *amount, Some(source));
            }
            Event::WithdrawalRequested { withdrawal, amount, destination, .. } => {
                request(withdrawal.0, Kind::Withdrawal, *amount, Some(destination));
            }
            Event::HoldPlaced { hold, amount, .. } => request(hold.0, Kind::Hold, *amount, None),
            Event::DepositSettled { deposit, provider_reference, .. } => {
                self.succeed(deposit.0, provider_reference, recorded);
            }
            Event::WithdrawalPaid { withdrawal, provider_reference, .. } => {
                self.succeed(withdrawal.0, provider_reference, recorded);
            }
            Event::DepositFailed { deposit, reason } => self.fail(deposit.0, reason, recorded),
            Event::WithdrawalFailed { withdrawal, reason, .. } => self.fail(withdrawal.0, reason, recorded),
            Event::HoldReleased { hold, .. } => drop(self.settle(hold.0, Status::Released, recorded)),
        }
        if balance.available != before
            && let Some(transaction) = operation(event).and_then(|id| self.transactions.get_mut(&id))
        {
            transaction.balance_after = Some(balance.available);
        }
    }

    fn succeed(&mut self, operation: Uuid, reference: &str, recorded: &Recorded) {
        if let Some(transaction) = self.settle(operation, Status::Succeeded, recorded) {
            transaction.reference = Some(reference.to_owned());
        }
    }

    fn fail(&mut self, operation: Uuid, reason: &str, recorded: &Recorded) {
        if let Some(transaction) = self.settle(operation, Status::Failed, recorded) {
            transaction.failure_reason = Some(reason.to_owned());
        }
    }

    fn settle(&mut self, operation: Uuid, status: Status, recorded: &Recorded) -> Option<&mut Transaction> {
        let transaction = self.transactions.get_mut(&operation)?;
        transaction.status = status;
        transaction.settled_at = Some(recorded.recorded_at);
        transaction.position = recorded.position;
        Some(transaction)
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let wallets = rows::touched(events, |event| match event {
            DomainEvent::Wallet(id, _) => Some(id.0),
            _ => None,
        });
        if wallets.is_empty() {
            return Ok(Self::default());
        }
        let balances: Vec<Balance> = sqlx::query_as("select * from balances where wallet_id = any($1)")
            .bind(wallets)
            .fetch_all(&mut *connection)
            .await?;
        let operations = rows::touched(events, |event| match event {
            DomainEvent::Wallet(_, event) => operation(event),
            _ => None,
        });
        let transactions: Vec<Transaction> = sqlx::query_as("select * from transactions where id = any($1)")
            .bind(operations)
            .fetch_all(connection)
            .await?;
        Ok(Self {
            balances: balances.into_iter().map(|balance| (balance.wallet_id, balance)).collect(),
            transactions: transactions.into_iter().map(|transaction| (transaction.id, transaction)).collect(),
        })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into balances select * from json_populate_recordset(null::balances, $1::json)
            on conflict on constraint balances_wallet do update set
                (available, held, payout_pending, version, position)
                = row (excluded.available, excluded.held, excluded.payout_pending, excluded.version, excluded.position)";
        rows::write(connection, statement, self.balances.into_values()).await?;
        let statement = "
            insert into transactions select * from json_populate_recordset(null::transactions, $1::json)
            on conflict on constraint transactions_id do update set
                (account_id, currency, kind, status, amount, balance_after, provider, method_token, reference,
                    failure_reason, requested_at, settled_at, sequence, position)
                = row (excluded.account_id, excluded.currency, excluded.kind, excluded.status, excluded.amount,
                    excluded.balance_after, excluded.provider, excluded.method_token, excluded.reference,
                    excluded.failure_reason, excluded.requested_at, excluded.settled_at, excluded.sequence,
                    excluded.position)";
        Ok(rows::write(connection, statement, self.transactions.into_values()).await?)
    }
}

/// Which operation an event is a step of.
fn operation(event: &Event) -> Option<Uuid> {
    match event {
        Event::WalletOpened { .. } => None,
        Event::DepositRequested { deposit, .. }
        | Event::DepositDelayed { deposit, .. }
        | Event::DepositSettled { deposit, .. }
        | Event::DepositFailed { deposit, .. } => Some(deposit.0),
        Event::WithdrawalRequested { withdrawal, .. }
        | Event::WithdrawalDelayed { withdrawal, .. }
        | Event::WithdrawalPaid { withdrawal, .. }
        | Event::WithdrawalFailed { withdrawal, .. } => Some(withdrawal.0),
        Event::HoldPlaced { hold, .. } | Event::HoldReleased { hold, .. } => Some(hold.0),
    }
}

impl Balance {
    fn opened(wallet_id: Uuid, owner: AccountId, currency: Currency) -> Self {
        Self {
            wallet_id,
            account_id: owner.0,
            currency: Text(currency),
            available: 0,
            held: 0,
            payout_pending: 0,
            version: 0,
            position: 0,
        }
    }

    /// What is credited to the owner is more for the owner.
    fn post(&mut self, posting: &Posting) {
        let amount = posting.amount.minor();
        for (account, change) in [(&posting.credit, amount), (&posting.debit, -amount)] {
            match account {
                LedgerAccount::Available(owner) if owner.0 == self.account_id => self.available += change,
                LedgerAccount::Held(owner) if owner.0 == self.account_id => self.held += change,
                LedgerAccount::PayoutPending(owner) if owner.0 == self.account_id => self.payout_pending += change,
                LedgerAccount::Available(_)
                | LedgerAccount::Held(_)
                | LedgerAccount::PayoutPending(_)
                | LedgerAccount::ProviderClearing(_) => {}
            }
        }
    }
}

impl Transaction {
    fn requested(
        id: Uuid,
        kind: Kind,
        wallet: &Balance,
        amount: Money,
        method: Option<&PaymentMethod>,
        recorded: &Recorded,
    ) -> Self {
        Self {
            id,
            account_id: wallet.account_id,
            currency: wallet.currency,
            kind,
            status: Status::Pending,
            amount: match kind {
                Kind::Deposit => amount.minor(),
                Kind::Withdrawal | Kind::Hold => -amount.minor(),
            },
            balance_after: None,
            provider: method.map(|method| method.provider.clone()),
            method_token: method.map(|method| method.token.clone()),
            reference: None,
            failure_reason: None,
            requested_at: recorded.recorded_at,
            settled_at: None,
            sequence: recorded.sequence,
            position: recorded.position,
        }
    }
}

/// The balances of an account, one per currency that it has used.
pub async fn balances(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Vec<Balance>, sqlx::Error> {
    sqlx::query_as("select * from wallet_statement.balances where account_id = $1 order by currency")
        .bind(account.0)
        .fetch_all(executor)
        .await
}

/// Which transactions to show. The default is all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// In which currency.
    pub currency: Option<Currency>,
    /// What is done.
    pub kind: Option<Kind>,
    /// How far it is.
    pub status: Option<Status>,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The operation.
    pub id: Uuid,
}

/// The transactions of an account, newest first, after a cursor, at most `limit`.
pub async fn transactions(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    filter: Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Transaction, Cursor>, sqlx::Error> {
    let mut query = QueryBuilder::new("select * from wallet_statement.transactions where account_id = ");
    query.push_bind(account.0);
    if let Some(currency) = filter.currency {
        query.push(" and currency = ").push_bind(Text(currency));
    }
    if let Some(kind) = filter.kind {
        query.push(" and kind = ").push_bind(kind);
    }
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(Cursor { requested_at, id }) = after {
        query.push(" and (requested_at, id) < (").push_bind(requested_at).push(", ").push_bind(id).push(")");
    }
    query.push(" order by requested_at desc, id desc limit ");
    query.push_bind(Page::<Transaction, Cursor>::rows_to_fetch(limit));
    let transactions: Vec<Transaction> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(transactions, limit, |&Transaction { requested_at, id, .. }| Cursor { requested_at, id }))
}

/// One transaction of an account.
pub async fn transaction(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    operation: Uuid,
) -> Result<Option<Transaction>, sqlx::Error> {
    sqlx::query_as("select * from wallet_statement.transactions where account_id = $1 and id = $2")
        .bind(account.0)
        .bind(operation)
        .fetch_optional(executor)
        .await
}

#[cfg(test)]
mod tests {
    use domain::wallet::{Command, Wallet};
    use domain::{Aggregate, DepositId, HoldId, WithdrawalId};

    use super::*;
    use crate::tests::history::{method, recorded};

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const DEPOSIT: DepositId = DepositId(Uuid::from_u128(10));
    const WITHDRAWAL: WithdrawalId = WithdrawalId(Uuid::from_u128(20));
    const HOLD: HoldId = HoldId(Uuid::from_u128(30));

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn request() -> Command {
        Command::RequestDeposit { deposit: DEPOSIT, owner: ANN, amount: usd(500), source: method() }
    }

    fn settle() -> Command {
        Command::SettleDeposit { deposit: DEPOSIT, provider_reference: "ch_1".to_owned() }
    }

    fn withdraw() -> Command {
        Command::RequestWithdrawal { withdrawal: WITHDRAWAL, amount: usd(200), destination: method() }
    }

    fn statement(commands: impl IntoIterator<Item = Command>) -> Statement {
        let mut wallet = Wallet::default();
        let mut statement = Statement::default();
        let mut position = 0;
        for command in commands {
            for event in wallet.decide(command).unwrap() {
                wallet.evolve(&event);
                position += 1;
                let id = WalletId::of(ANN, Currency::USD);
                statement.take(&recorded(position, DomainEvent::Wallet(id, event)));
            }
        }
        statement
    }

    /// Available, held and payout pending.
    type Amounts = (i64, i64, i64);
    /// Status, amount and balance of an operation.
    type Outcome = (Status, i64, Option<i64>);

    fn shown(statement: &Statement, operation: Uuid) -> (Amounts, Outcome) {
        let balance = statement.balances[&WalletId::of(ANN, Currency::USD).0];
        let Transaction { status, amount, balance_after, .. } = statement.transactions[&operation];
        ((balance.available, balance.held, balance.payout_pending), (status, amount, balance_after))
    }

    #[test]
    fn a_deposit_counts_once_it_is_settled() {
        let pending = statement([request()]);
        assert_eq!(shown(&pending, DEPOSIT.0), ((0, 0, 0), (Status::Pending, 500, None)));
        let settled = statement([request(), settle()]);
        assert_eq!(shown(&settled, DEPOSIT.0), ((500, 0, 0), (Status::Succeeded, 500, Some(500))));
        assert_eq!(settled.transactions[&DEPOSIT.0].reference.as_deref(), Some("ch_1"));
        let failed = statement([request(), Command::FailDeposit { deposit: DEPOSIT, reason: "no".to_owned() }]);
        assert_eq!(shown(&failed, DEPOSIT.0), ((0, 0, 0), (Status::Failed, 500, None)));
        assert_eq!(failed.transactions[&DEPOSIT.0].failure_reason.as_deref(), Some("no"));
    }

    #[test]
    fn a_withdrawal_leaves_at_once_and_comes_back_if_it_fails() {
        let under_way = statement([request(), settle(), withdraw()]);
        assert_eq!(shown(&under_way, WITHDRAWAL.0), ((300, 0, 200), (Status::Pending, -200, Some(300))));
        let reference = || "po_1".to_owned();
        let confirm = Command::ConfirmWithdrawal { withdrawal: WITHDRAWAL, provider_reference: reference() };
        let paid = statement([request(), settle(), withdraw(), confirm]);
        assert_eq!(shown(&paid, WITHDRAWAL.0), ((300, 0, 0), (Status::Succeeded, -200, Some(300))));
        let fail = Command::FailWithdrawal { withdrawal: WITHDRAWAL, reason: "closed".to_owned() };
        let failed = statement([request(), settle(), withdraw(), fail]);
        assert_eq!(shown(&failed, WITHDRAWAL.0), ((500, 0, 0), (Status::Failed, -200, Some(500))));
    }

    #[test]
    fn a_hold_sets_money_aside_until_it_is_released() {
        let place = || Command::PlaceHold { hold: HOLD, amount: usd(500) };
        let held = statement([request(), settle(), place()]);
        assert_eq!(shown(&held, HOLD.0), ((0, 500, 0), (Status::Pending, -500, Some(0))));
        let released = statement([request(), settle(), place(), Command::ReleaseHold { hold: HOLD }]);
        assert_eq!(shown(&released, HOLD.0), ((500, 0, 0), (Status::Released, -500, Some(500))));
    }

    #[test]
    fn a_payment_does_not_restate_an_older_balance() {
        let other = DepositId(Uuid::from_u128(11));
        let later = [
            Command::RequestDeposit { deposit: other, owner: ANN, amount: usd(50), source: method() },
            Command::SettleDeposit { deposit: other, provider_reference: "ch_2".to_owned() },
            Command::ConfirmWithdrawal { withdrawal: WITHDRAWAL, provider_reference: "po_1".to_owned() },
        ];
        let statement = statement([request(), settle(), withdraw()].into_iter().chain(later));
        assert_eq!(shown(&statement, WITHDRAWAL.0).1, (Status::Succeeded, -200, Some(300)));
        assert_eq!(shown(&statement, other.0).1, (Status::Succeeded, 50, Some(350)));
    }
}
