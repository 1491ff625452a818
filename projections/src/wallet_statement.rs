//! What does this account have, and how did it come to that?
//!
//! A transaction is one operation that the owner knows by name (a deposit, a withdrawal, a hold, what an order has cost
//! or brought, a period of a subscription), however many steps it takes. Its `amount` is signed by what it does to the
//! available balance: a deposit and a sale add, a withdrawal, a hold and a payment take. Its `balance_after` is the
//! available balance right after the last of its movements there: nothing while a deposit is pending, what was left for a
//! withdrawal on its way, what is there again for one that failed.
//!
//! What moves between a wallet and the escrow of an order is posted by the escrow's event, a commission and a period of
//! a subscription by their own; the wallet's event of the same commit says how much that is here.

use std::collections::BTreeMap;

use domain::wallet::{self, Event, PaymentMethod};
use domain::{AccountId, Aggregate, Currency, LedgerAccount, Money, OrderId, Posting, Timestamp, WalletId};
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
    version: 6,
    about: &[wallet::Wallet::TYPE],
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
    /// What the owner owes the marketplace: it is taken from the next money that comes in.
    pub owed: i64,
    /// How many events the wallet's stream has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// One operation of a wallet.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Transaction {
    /// The operation: the deposit, the withdrawal, the hold, the refund, the order that was paid or sold, the commission,
    /// or the period of a subscription. A recovery has the id of the deposit, the sale or the commission that has brought its money. One id, one
    /// operation of each kind.
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
    /// The available balance after its last movement there; `None` before the first.
    pub balance_after: Option<i64>,
    /// The order that it is about, if it is a payment, a sale or a refund.
    pub order_id: Option<Uuid>,
    /// At which provider, if it is a deposit or a withdrawal. By which of its payment methods, nobody is shown.
    pub provider: Option<String>,
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
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Kind {
    /// Brings money in.
    Deposit,
    /// Sends money out.
    Withdrawal,
    /// Sets money aside.
    Hold,
    /// Pays an order.
    Payment,
    /// Pays for a period of a subscription.
    Subscription,
    /// Brings what an order was sold for, less the fee.
    Sale,
    /// Brings money back for an order that was paid.
    RefundReceived,
    /// Gives money back for an order that was sold. What was not available any more is owed, and not in the amount.
    RefundGiven,
    /// Brings what sending a buyer here has earned.
    CommissionReceived,
    /// Gives back what that had earned, with the refund that has taken it. What was not available any more is owed, and
    /// not in the amount.
    CommissionGiven,
    /// Pays what was owed with money that came in.
    Recovery,
    /// Gives what a payer has got back of their bank. What was not available is owed, and not in the amount.
    ChargebackGiven,
    /// Brings that back, since the payer was not right. What was owed less for it is not in the amount.
    ChargebackRegained,
}

impl Kind {
    /// Whether it takes from the available balance.
    fn takes(self) -> bool {
        match self {
            Self::Deposit | Self::Sale | Self::RefundReceived | Self::CommissionReceived | Self::ChargebackRegained => {
                false
            }
            Self::Withdrawal
            | Self::Hold
            | Self::Payment
            | Self::Subscription
            | Self::RefundGiven
            | Self::CommissionGiven
            | Self::Recovery
            | Self::ChargebackGiven => true,
        }
    }
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
    /// The money had moved, and has come back.
    Returned,
}

/// The wallets and operations that a batch is about.
#[derive(Debug, Default)]
struct Statement {
    balances: BTreeMap<Uuid, Balance>,
    transactions: BTreeMap<Operation, Transaction>,
}

/// Whose operation, of which kind, by which name.
type Operation = (Uuid, Kind, Uuid);

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
        let before = balance.available;
        balance.take(event, recorded);
        let balance = *balance;
        let operation = operation(event).map(|(kind, id)| (balance.account_id, kind, id));
        if let Some(operation) = operation {
            self.take_step(operation, &balance, event, recorded);
        }
        if balance.available != before
            && let Some(transaction) = operation.and_then(|operation| self.transactions.get_mut(&operation))
        {
            transaction.balance_after = Some(balance.available);
        }
    }

    /// Takes in what an event means for the operation that it is a step of.
    fn take_step(&mut self, operation: Operation, wallet: &Balance, event: &Event, recorded: &Recorded) {
        let mut request = |amount: &Money, method| {
            let requested = Transaction::requested(operation, wallet, *amount, method, recorded);
            self.transactions.insert(operation, requested);
        };
        match event {
            Event::WalletOpened { .. } | Event::DepositDelayed { .. } | Event::WithdrawalDelayed { .. } => {}
            Event::DepositRequested { amount, source, .. } => request(amount, Some(source)),
            Event::WithdrawalRequested { amount, destination, .. } => request(amount, Some(destination)),
            Event::HoldPlaced { amount, .. } => request(amount, None),
            Event::DepositSettled { provider_reference, .. } | Event::WithdrawalPaid { provider_reference, .. } => {
                if let Some(transaction) = self.settle(operation, Status::Succeeded, recorded) {
                    transaction.reference = Some(provider_reference.clone());
                }
            }
            Event::DepositFailed { reason, .. } | Event::WithdrawalFailed { reason, .. } => {
                if let Some(transaction) = self.settle(operation, Status::Failed, recorded) {
                    transaction.failure_reason = Some(reason.clone());
                }
            }
            Event::WithdrawalReturned { reason, .. } => {
                if let Some(transaction) = self.settle(operation, Status::Returned, recorded) {
                    transaction.failure_reason = Some(reason.clone());
                }
            }
            Event::HoldReleased { .. } => drop(self.settle(operation, Status::Released, recorded)),
            Event::PaymentMade { order, amount }
            | Event::SaleReceived { order, amount }
            | Event::RefundReceived { order, amount, .. }
            | Event::RefundGiven { order, amount, .. } => {
                request(amount, None);
                self.complete(operation, Some(*order), wallet, recorded);
            }
            // There is no order, or it is somebody else's.
            Event::SubscriptionPaid { amount, .. }
            | Event::CommissionReceived { amount, .. }
            | Event::CommissionGiven { amount, .. }
            | Event::ReceivableRecovered { amount, .. } => {
                request(amount, None);
                self.complete(operation, None, wallet, recorded);
            }
            // A dispute may take of several orders of one seller.
            Event::ChargebackGiven { amount, .. } | Event::ChargebackRegained { amount, .. } => {
                let before = self.transactions.get(&operation).map_or(0, |transaction| transaction.amount);
                let requested = Transaction::requested(operation, wallet, *amount, None, recorded);
                let amount = requested.amount + before;
                self.transactions.insert(operation, Transaction { amount, ..requested });
                self.complete(operation, None, wallet, recorded);
            }
        }
    }

    /// What took a single step is done, even if nothing was available for it.
    fn complete(&mut self, operation: Operation, order: Option<OrderId>, wallet: &Balance, recorded: &Recorded) {
        if let Some(transaction) = self.settle(operation, Status::Succeeded, recorded) {
            transaction.order_id = order.map(|order| order.0);
            transaction.balance_after = Some(wallet.available);
        }
    }

    fn settle(&mut self, operation: Operation, status: Status, recorded: &Recorded) -> Option<&mut Transaction> {
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
        let balances: BTreeMap<Uuid, Balance> =
            balances.into_iter().map(|balance| (balance.wallet_id, balance)).collect();
        // A wallet that is not there yet has no operations.
        let operations = events.iter().filter_map(|recorded| match &recorded.event {
            DomainEvent::Wallet(id, event) => {
                let (kind, operation) = operation(event)?;
                Some((balances.get(&id.0)?.account_id, (Text(kind), operation)))
            }
            _ => None,
        });
        let (accounts, (kinds, ids)): (Vec<_>, (Vec<_>, Vec<_>)) = operations.unzip();
        let statement = "
            select transactions.* from transactions
            join (select distinct * from unnest($1::uuid[], $2::text[], $3::uuid[])) as wanted (account_id, kind, id)
                using (account_id, kind, id)";
        let transactions: Vec<Transaction> =
            sqlx::query_as(statement).bind(accounts).bind(kinds).bind(ids).fetch_all(connection).await?;
        let key = |transaction: &Transaction| (transaction.account_id, transaction.kind, transaction.id);
        let transactions = transactions.into_iter().map(|transaction| (key(&transaction), transaction)).collect();
        Ok(Self { balances, transactions })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into balances select * from json_populate_recordset(null::balances, $1::json)
            on conflict on constraint balances_wallet do update set
                (available, held, payout_pending, owed, version, position)
                = row (excluded.available, excluded.held, excluded.payout_pending, excluded.owed, excluded.version,
                    excluded.position)";
        rows::write(connection, statement, self.balances.into_values()).await?;
        let statement = "
            insert into transactions select * from json_populate_recordset(null::transactions, $1::json)
            on conflict on constraint transactions_operation do update set
                (currency, status, amount, balance_after, order_id, provider, reference, failure_reason,
                    requested_at, settled_at, sequence, position)
                = row (excluded.currency, excluded.status, excluded.amount, excluded.balance_after, excluded.order_id,
                    excluded.provider, excluded.reference, excluded.failure_reason, excluded.requested_at,
                    excluded.settled_at, excluded.sequence, excluded.position)";
        Ok(rows::write(connection, statement, self.transactions.into_values()).await?)
    }
}

/// Which operation an event is a step of.
pub(crate) fn operation(event: &Event) -> Option<(Kind, Uuid)> {
    match event {
        Event::WalletOpened { .. } => None,
        Event::DepositRequested { deposit, .. }
        | Event::DepositDelayed { deposit, .. }
        | Event::DepositSettled { deposit, .. }
        | Event::DepositFailed { deposit, .. } => Some((Kind::Deposit, deposit.0)),
        Event::WithdrawalRequested { withdrawal, .. }
        | Event::WithdrawalDelayed { withdrawal, .. }
        | Event::WithdrawalPaid { withdrawal, .. }
        | Event::WithdrawalFailed { withdrawal, .. }
        | Event::WithdrawalReturned { withdrawal, .. } => Some((Kind::Withdrawal, withdrawal.0)),
        Event::HoldPlaced { hold, .. } | Event::HoldReleased { hold, .. } => Some((Kind::Hold, hold.0)),
        Event::PaymentMade { order, .. } => Some((Kind::Payment, order.0)),
        Event::SubscriptionPaid { period, .. } => Some((Kind::Subscription, period.0)),
        Event::SaleReceived { order, .. } => Some((Kind::Sale, order.0)),
        Event::RefundReceived { refund, .. } => Some((Kind::RefundReceived, refund.0)),
        Event::RefundGiven { refund, .. } => Some((Kind::RefundGiven, refund.0)),
        Event::CommissionReceived { commission, .. } => Some((Kind::CommissionReceived, commission.0)),
        Event::CommissionGiven { refund, .. } => Some((Kind::CommissionGiven, refund.0)),
        Event::ReceivableRecovered { operation, .. } => Some((Kind::Recovery, *operation)),
        Event::ChargebackGiven { dispute, .. } => Some((Kind::ChargebackGiven, dispute.0)),
        Event::ChargebackRegained { dispute, .. } => Some((Kind::ChargebackRegained, dispute.0)),
    }
}

impl Balance {
    /// A wallet that was just used for the first time.
    pub(crate) fn opened(wallet_id: Uuid, owner: AccountId, currency: Currency) -> Self {
        Self {
            wallet_id,
            account_id: owner.0,
            currency: Text(currency),
            available: 0,
            held: 0,
            payout_pending: 0,
            owed: 0,
            version: 0,
            position: 0,
        }
    }

    /// Takes an event of the wallet in.
    pub(crate) fn take(&mut self, event: &Event, recorded: &Recorded) {
        (self.version, self.position) = (recorded.sequence, recorded.position);
        event.postings().iter().for_each(|posting| self.post(posting));
        self.follow_others(event);
    }

    /// What is credited to the owner is more for the owner, or less that is owed.
    fn post(&mut self, posting: &Posting) {
        let amount = posting.amount.minor();
        for (account, change) in [(&posting.credit, amount), (&posting.debit, -amount)] {
            match account {
                LedgerAccount::Available(owner) if owner.0 == self.account_id => self.available += change,
                LedgerAccount::Held(owner) if owner.0 == self.account_id => self.held += change,
                LedgerAccount::PayoutPending(owner) if owner.0 == self.account_id => self.payout_pending += change,
                LedgerAccount::Receivable(owner) if owner.0 == self.account_id => self.owed -= change,
                LedgerAccount::Available(_)
                | LedgerAccount::Held(_)
                | LedgerAccount::PayoutPending(_)
                | LedgerAccount::Receivable(_)
                | LedgerAccount::ProviderClearing(_)
                | LedgerAccount::Escrow(_)
                | LedgerAccount::FeeIncome
                | LedgerAccount::MarketingExpense
                | LedgerAccount::AffiliateExpense
                | LedgerAccount::AffiliatePending(_)
                | LedgerAccount::DeferredRevenue(_)
                | LedgerAccount::SubscriptionIncome
                | LedgerAccount::Unapplied(_)
                | LedgerAccount::RefundPending(_)
                | LedgerAccount::ProviderFeeExpense
                | LedgerAccount::ChargebackExpense => {}
            }
        }
    }

    /// What the escrow of an order, a charge, a commission or a subscription has posted here by an event of its own.
    fn follow_others(&mut self, event: &Event) {
        match event {
            Event::PaymentMade { amount, .. } | Event::SubscriptionPaid { amount, .. } => {
                self.available -= amount.minor();
            }
            Event::SaleReceived { amount, .. }
            | Event::RefundReceived { amount, .. }
            | Event::CommissionReceived { amount, .. } => self.available += amount.minor(),
            Event::RefundGiven { amount, owed, .. }
            | Event::CommissionGiven { amount, owed, .. }
            | Event::ChargebackGiven { amount, owed, .. } => {
                self.available -= amount.minor();
                self.owed += owed.minor();
            }
            Event::ChargebackRegained { amount, forgiven, .. } => {
                self.available += amount.minor();
                self.owed -= forgiven.minor();
            }
            Event::WalletOpened { .. }
            | Event::DepositRequested { .. }
            | Event::DepositDelayed { .. }
            | Event::DepositSettled { .. }
            | Event::DepositFailed { .. }
            | Event::WithdrawalRequested { .. }
            | Event::WithdrawalDelayed { .. }
            | Event::WithdrawalPaid { .. }
            | Event::WithdrawalFailed { .. }
            | Event::WithdrawalReturned { .. }
            | Event::HoldPlaced { .. }
            | Event::HoldReleased { .. }
            | Event::ReceivableRecovered { .. } => {}
        }
    }
}

impl Transaction {
    fn requested(
        (account_id, kind, id): Operation,
        wallet: &Balance,
        amount: Money,
        method: Option<&PaymentMethod>,
        recorded: &Recorded,
    ) -> Self {
        Self {
            id,
            account_id,
            currency: wallet.currency,
            kind,
            status: Status::Pending,
            amount: if kind.takes() { -amount.minor() } else { amount.minor() },
            balance_after: None,
            order_id: None,
            provider: method.map(|method| method.provider.clone()),
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
    /// The place of its request in the wallet's stream, which tells the operations of one commit apart.
    pub sequence: i64,
    /// Of which of the account's wallets.
    pub currency: Text<Currency>,
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
    if let Some(Cursor { requested_at, sequence, currency }) = after {
        query.push(" and (requested_at, sequence, currency) < (").push_bind(requested_at).push(", ");
        query.push_bind(sequence).push(", ").push_bind(currency).push(")");
    }
    query.push(" order by requested_at desc, sequence desc, currency desc limit ");
    query.push_bind(Page::<Transaction, Cursor>::rows_to_fetch(limit));
    let transactions: Vec<Transaction> = query.build_query_as().fetch_all(executor).await?;
    let key = |&Transaction { requested_at, sequence, currency, .. }: &Transaction| Cursor {
        requested_at,
        sequence,
        currency,
    };
    Ok(Page::of(transactions, limit, key))
}

/// One transaction of an account.
pub async fn transaction(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    kind: Kind,
    operation: Uuid,
) -> Result<Option<Transaction>, sqlx::Error> {
    sqlx::query_as("select * from wallet_statement.transactions where account_id = $1 and kind = $2 and id = $3")
        .bind(account.0)
        .bind(kind)
        .bind(operation)
        .fetch_optional(executor)
        .await
}

#[cfg(test)]
mod tests {
    use domain::wallet::{Command, Wallet};
    use domain::{Aggregate, DepositId, HoldId, RefundId, WithdrawalId};

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
        let of_that_name = |transaction: &&Transaction| transaction.id == operation;
        let found: Vec<_> = statement.transactions.values().filter(of_that_name).collect();
        let [Transaction { status, amount, balance_after, .. }] = *found else { panic!("{found:?}") };
        ((balance.available, balance.held, balance.payout_pending), (*status, *amount, *balance_after))
    }

    #[test]
    fn a_deposit_counts_once_it_is_settled() {
        let pending = statement([request()]);
        assert_eq!(shown(&pending, DEPOSIT.0), ((0, 0, 0), (Status::Pending, 500, None)));
        let settled = statement([request(), settle()]);
        assert_eq!(shown(&settled, DEPOSIT.0), ((500, 0, 0), (Status::Succeeded, 500, Some(500))));
        let deposit = |statement: &Statement| statement.transactions[&(ANN.0, Kind::Deposit, DEPOSIT.0)].clone();
        assert_eq!(deposit(&settled).reference.as_deref(), Some("ch_1"));
        let failed = statement([request(), Command::FailDeposit { deposit: DEPOSIT, reason: "no".to_owned() }]);
        assert_eq!(shown(&failed, DEPOSIT.0), ((0, 0, 0), (Status::Failed, 500, None)));
        assert_eq!(deposit(&failed).failure_reason.as_deref(), Some("no"));
    }

    #[test]
    fn a_withdrawal_leaves_at_once_and_comes_back_if_it_fails() {
        let under_way = statement([request(), settle(), withdraw()]);
        assert_eq!(shown(&under_way, WITHDRAWAL.0), ((300, 0, 200), (Status::Pending, -200, Some(300))));
        let reference = || "po_1".to_owned();
        let confirm = Command::ConfirmWithdrawal { withdrawal: WITHDRAWAL, provider_reference: reference(), fee: None };
        let paid = statement([request(), settle(), withdraw(), confirm]);
        assert_eq!(shown(&paid, WITHDRAWAL.0), ((300, 0, 0), (Status::Succeeded, -200, Some(300))));
        let provider = method().provider;
        let back = Command::ReturnWithdrawal {
            withdrawal: WITHDRAWAL,
            amount: usd(200),
            provider,
            reason: "closed".to_owned(),
        };
        let confirm = Command::ConfirmWithdrawal { withdrawal: WITHDRAWAL, provider_reference: reference(), fee: None };
        let returned = statement([request(), settle(), withdraw(), confirm, back]);
        assert_eq!(shown(&returned, WITHDRAWAL.0), ((500, 0, 0), (Status::Returned, -200, Some(500))));
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
            Command::ConfirmWithdrawal { withdrawal: WITHDRAWAL, provider_reference: "po_1".to_owned(), fee: None },
        ];
        let statement = statement([request(), settle(), withdraw()].into_iter().chain(later));
        assert_eq!(shown(&statement, WITHDRAWAL.0).1, (Status::Succeeded, -200, Some(300)));
        assert_eq!(shown(&statement, other.0).1, (Status::Succeeded, 50, Some(350)));
    }

    const ORDER: OrderId = OrderId(Uuid::from_u128(40));
    const REFUND: RefundId = RefundId(Uuid::from_u128(50));

    #[test]
    fn an_order_is_paid_from_what_is_available_and_brings_back_what_is_refunded() {
        let pay = || Command::Pay { order: ORDER, amount: usd(200) };
        let paid = statement([request(), settle(), pay()]);
        assert_eq!(shown(&paid, ORDER.0), ((300, 0, 0), (Status::Succeeded, -200, Some(300))));
        let payment = &paid.transactions[&(ANN.0, Kind::Payment, ORDER.0)];
        assert_eq!((payment.order_id, payment.settled_at), (Some(ORDER.0), Some(payment.requested_at)));
        let back = Command::ReceiveRefund { owner: ANN, order: ORDER, refund: REFUND, amount: usd(50) };
        let refunded = statement([request(), settle(), pay(), back]);
        assert_eq!(shown(&refunded, REFUND.0), ((350, 0, 0), (Status::Succeeded, 50, Some(350))));
        assert_eq!(refunded.transactions[&(ANN.0, Kind::RefundReceived, REFUND.0)].order_id, Some(ORDER.0));
    }

    #[test]
    fn what_cannot_be_given_back_is_owed_and_taken_from_the_next_money_that_comes_in() {
        let sell = Command::ReceiveSale { owner: ANN, order: ORDER, amount: usd(100) };
        let (amount, owed) = (usd(100), usd(30));
        let give = Command::GiveRefund { owner: ANN, order: ORDER, refund: REFUND, amount, owed };
        let owing = statement([sell.clone(), give.clone()]);
        assert_eq!(shown(&owing, REFUND.0), ((0, 0, 0), (Status::Succeeded, -100, Some(0))));
        assert_eq!(owing.balances[&WalletId::of(ANN, Currency::USD).0].owed, 30);
        let later = OrderId(Uuid::from_u128(41));
        let again = Command::ReceiveSale { owner: ANN, order: later, amount: usd(100) };
        let even = statement([sell, give, again]);
        let of_kind = |kind| {
            let Transaction { amount, balance_after, order_id, .. } = even.transactions[&(ANN.0, kind, later.0)];
            (amount, balance_after, order_id)
        };
        assert_eq!(of_kind(Kind::Sale), (100, Some(100), Some(later.0)));
        assert_eq!(of_kind(Kind::Recovery), (-30, Some(70), None));
        let balance = even.balances[&WalletId::of(ANN, Currency::USD).0];
        assert_eq!((balance.available, balance.owed), (70, 0));
    }

    #[test]
    fn a_refund_of_which_nothing_was_available_is_told_all_the_same() {
        let give = Command::GiveRefund { owner: ANN, order: ORDER, refund: REFUND, amount: usd(0), owed: usd(30) };
        assert_eq!(shown(&statement([give]), REFUND.0), ((0, 0, 0), (Status::Succeeded, 0, Some(0))));
    }
}
