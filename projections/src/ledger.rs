//! Do the books balance, and what is in each account of theirs?
//!
//! Every posting of every money event, and the debits and credits of each ledger account. The marketplace owes what it
//! keeps for users, so a user's balance is credits minus debits; money at a provider is its own, so there it is the
//! other way round.

use std::collections::BTreeMap;

use domain::wallet::{Event, Wallet};
use domain::{Aggregate, Currency, LedgerAccount, Posting, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "ledger",
    next: "ledger_next",
    version: 1,
    ddl: include_str!("ledger.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// One movement of money.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Entry {
    /// Where its event is.
    pub position: Position,
    /// Its place among the event's postings, from 1.
    pub ordinal: i32,
    /// Its event.
    pub event_id: Uuid,
    /// The kind of aggregate that it happened to.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: Uuid,
    /// The operation that it is a step of, such as a deposit.
    pub operation: Uuid,
    /// Which step.
    pub step: Step,
    /// The ledger account that is debited.
    pub debit_account: Text<LedgerAccount>,
    /// The ledger account that is credited.
    pub credit_account: Text<LedgerAccount>,
    /// How much, in minor units, above zero.
    pub amount: i64,
    /// In which currency.
    pub currency: Text<Currency>,
    /// When.
    pub recorded_at: Timestamp,
}

/// A step of an operation that moves money. Each happens once.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum Step {
    /// Money came in.
    DepositSettled,
    /// Money is on its way out.
    WithdrawalRequested,
    /// Money went out.
    WithdrawalPaid,
    /// Money came back.
    WithdrawalFailed,
    /// Money was set aside.
    HoldPlaced,
    /// Money is available again.
    HoldReleased,
}

/// What a ledger account comes to in one currency.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Balance {
    /// The ledger account.
    pub account: Text<LedgerAccount>,
    /// In which currency.
    pub currency: Text<Currency>,
    /// What kind of ledger account it is.
    pub kind: Kind,
    /// Everything that was ever debited, in minor units.
    #[sqlx(try_from = "String")]
    pub debits: Total,
    /// Everything that was ever credited, in minor units.
    #[sqlx(try_from = "String")]
    pub credits: Total,
    /// Where the last event is that moved something here.
    pub position: Position,
}

/// What kind of place money can be in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, sqlx::Type)]
#[serde(rename_all = "kebab-case")]
#[sqlx(type_name = "text", rename_all = "kebab-case")]
pub enum Kind {
    /// Money that a payment provider holds for us.
    ProviderClearing,
    /// What users may spend or withdraw.
    Available,
    /// What users have set aside.
    Held,
    /// What is on its way to users' banks.
    PayoutPending,
}

impl Kind {
    fn of(account: &LedgerAccount) -> Self {
        match account {
            LedgerAccount::ProviderClearing(_) => Self::ProviderClearing,
            LedgerAccount::Available(_) => Self::Available,
            LedgerAccount::Held(_) => Self::Held,
            LedgerAccount::PayoutPending(_) => Self::PayoutPending,
        }
    }
}

/// A sum over the whole history, in minor units; wide enough never to overflow.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Total(pub i128);

impl TryFrom<String> for Total {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// The accounts that a batch moves money between, and the movements.
#[derive(Debug, Default)]
struct Ledger {
    balances: BTreeMap<(LedgerAccount, Currency), Balance>,
    entries: Vec<Entry>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut ledger = Ledger::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        ledger.take(recorded);
    }
    ledger.store(connection).await
}

/// The step that an event is, and its postings; nothing if it moves no money.
fn movement(event: &DomainEvent) -> Option<(&'static str, Uuid, Uuid, Step, &[Posting])> {
    match event {
        DomainEvent::Wallet(wallet, event) => {
            let (operation, step) = match event {
                Event::WalletOpened { .. }
                | Event::DepositRequested { .. }
                | Event::DepositDelayed { .. }
                | Event::DepositFailed { .. }
                | Event::WithdrawalDelayed { .. } => return None,
                Event::DepositSettled { deposit, .. } => (deposit.0, Step::DepositSettled),
                Event::WithdrawalRequested { withdrawal, .. } => (withdrawal.0, Step::WithdrawalRequested),
                Event::WithdrawalPaid { withdrawal, .. } => (withdrawal.0, Step::WithdrawalPaid),
                Event::WithdrawalFailed { withdrawal, .. } => (withdrawal.0, Step::WithdrawalFailed),
                Event::HoldPlaced { hold, .. } => (hold.0, Step::HoldPlaced),
                Event::HoldReleased { hold, .. } => (hold.0, Step::HoldReleased),
            };
            Some((Wallet::TYPE, wallet.0, operation, step, event.postings()))
        }
        DomainEvent::Account(..)
        | DomainEvent::Auction(..)
        | DomainEvent::Claim(..)
        | DomainEvent::Listing(..)
        | DomainEvent::Session(..) => None,
    }
}

impl Ledger {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        let Some((aggregate_type, aggregate_id, operation, step, postings)) = movement(&recorded.event) else {
            return;
        };
        for (ordinal, posting) in (1..).zip(postings) {
            self.side(&posting.debit, posting, recorded.position).debits.0 += i128::from(posting.amount.minor());
            self.side(&posting.credit, posting, recorded.position).credits.0 += i128::from(posting.amount.minor());
            self.entries.push(Entry {
                position: recorded.position,
                ordinal,
                event_id: recorded.event_id,
                aggregate_type: aggregate_type.to_owned(),
                aggregate_id,
                operation,
                step,
                debit_account: Text(posting.debit.clone()),
                credit_account: Text(posting.credit.clone()),
                amount: posting.amount.minor(),
                currency: Text(posting.amount.currency()),
                recorded_at: recorded.recorded_at,
            });
        }
    }

    /// The account on one side of a posting, moved at `position`.
    fn side(&mut self, account: &LedgerAccount, posting: &Posting, position: Position) -> &mut Balance {
        let currency = posting.amount.currency();
        let balance = self.balances.entry((account.clone(), currency)).or_insert_with(|| Balance {
            account: Text(account.clone()),
            currency: Text(currency),
            kind: Kind::of(account),
            debits: Total::default(),
            credits: Total::default(),
            position,
        });
        balance.position = position;
        balance
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let postings =
            events.iter().filter_map(|recorded| movement(&recorded.event)).flat_map(|(.., postings)| postings);
        let sides = postings.flat_map(|posting| {
            let currency = Text(posting.amount.currency());
            [(Text(posting.debit.clone()), currency), (Text(posting.credit.clone()), currency)]
        });
        let (accounts, currencies): (Vec<_>, Vec<_>) = sides.unzip();
        if accounts.is_empty() {
            return Ok(Self::default());
        }
        let balances: Vec<Balance> = sqlx::query_as(
            "select account, currency, kind, debits::text, credits::text, position from balances
             where (account, currency) in (select * from unnest($1::text[], $2::text[]))",
        )
        .bind(accounts)
        .bind(currencies)
        .fetch_all(connection)
        .await?;
        let key = |balance: &Balance| (balance.account.0.clone(), balance.currency.0);
        let balances = balances.into_iter().map(|balance| (key(&balance), balance)).collect();
        Ok(Self { balances, entries: Vec::new() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into balances select * from json_populate_recordset(null::balances, $1::json)
            on conflict on constraint balances_account do update set
                (debits, credits, position) = row (excluded.debits, excluded.credits, excluded.position)";
        rows::write(connection, statement, self.balances.into_values()).await?;
        let statement = "insert into postings select * from json_populate_recordset(null::postings, $1::json)";
        Ok(rows::write(connection, statement, self.entries).await?)
    }
}

/// What a ledger account comes to in one currency; nothing before its first posting.
pub async fn balance(
    executor: impl PgExecutor<'_>,
    account: &LedgerAccount,
    currency: Currency,
) -> Result<Option<Balance>, sqlx::Error> {
    sqlx::query_as(
        "select account, currency, kind, debits::text, credits::text, position from ledger.balances
         where account = $1 and currency = $2",
    )
    .bind(Text(account))
    .bind(Text(currency))
    .fetch_optional(executor)
    .await
}

/// Everything that was ever debited and credited in one currency. The books balance if `difference` is zero.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialBalance {
    /// The currency.
    pub currency: Text<Currency>,
    /// All debits, in minor units.
    pub debits: Total,
    /// All credits, in minor units.
    pub credits: Total,
    /// Debits minus credits: zero.
    pub difference: Total,
    /// The same for each kind of ledger account.
    pub kinds: Vec<KindTotals>,
}

/// Everything that was ever debited and credited to the ledger accounts of one kind.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct KindTotals {
    /// The kind.
    pub kind: Kind,
    /// How many ledger accounts there are.
    pub accounts: i64,
    /// All debits, in minor units.
    #[sqlx(try_from = "String")]
    pub debits: Total,
    /// All credits, in minor units.
    #[sqlx(try_from = "String")]
    pub credits: Total,
}

impl KindTotals {
    /// Credits minus debits: what users have, or with a minus sign what providers hold for us.
    pub fn credit_balance(&self) -> Total {
        Total(self.credits.0 - self.debits.0)
    }
}

/// The trial balance of every currency that was ever used.
pub async fn trial_balance(executor: impl PgExecutor<'_>) -> Result<Vec<TrialBalance>, sqlx::Error> {
    #[derive(FromRow)]
    struct Row {
        currency: Text<Currency>,
        #[sqlx(flatten)]
        totals: KindTotals,
    }
    let rows: Vec<Row> = sqlx::query_as(
        "select currency, kind, count(*) as accounts, sum(debits)::text as debits, sum(credits)::text as credits
         from ledger.balances group by currency, kind order by currency, kind",
    )
    .fetch_all(executor)
    .await?;
    let mut currencies: BTreeMap<Currency, Vec<KindTotals>> = BTreeMap::new();
    for Row { currency, totals } in rows {
        currencies.entry(currency.0).or_default().push(totals);
    }
    Ok(currencies.into_iter().map(|(currency, kinds)| TrialBalance::of(currency, kinds)).collect())
}

impl TrialBalance {
    fn of(currency: Currency, kinds: Vec<KindTotals>) -> Self {
        let debits = kinds.iter().map(|totals| totals.debits.0).sum();
        let credits = kinds.iter().map(|totals| totals.credits.0).sum();
        Self {
            currency: Text(currency),
            debits: Total(debits),
            credits: Total(credits),
            difference: Total(debits - credits),
            kinds,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{AccountId, DepositId, Money, WalletId};

    use super::*;
    use crate::tests::history::recorded;

    #[test]
    fn a_posting_is_debited_once_and_credited_once() {
        let owner = AccountId(Uuid::from_u128(1));
        let (clearing, available) =
            (LedgerAccount::ProviderClearing("sandbox".to_owned()), LedgerAccount::Available(owner));
        let postings = vec![Posting::new(clearing.clone(), available.clone(), Money::new(5, Currency::USD).unwrap())];
        let deposit = DepositId(Uuid::from_u128(2));
        let settled = Event::DepositSettled { deposit, provider_reference: String::new(), postings };
        let wallet = WalletId::of(owner, Currency::USD);
        let mut ledger = Ledger::default();
        ledger.take(&recorded(4, DomainEvent::Wallet(wallet, settled)));
        let sides = |account: &LedgerAccount| {
            let balance = &ledger.balances[&(account.clone(), Currency::USD)];
            (balance.kind, balance.debits, balance.credits, balance.position)
        };
        assert_eq!(sides(&clearing), (Kind::ProviderClearing, Total(5), Total(0), 4));
        assert_eq!(sides(&available), (Kind::Available, Total(0), Total(5), 4));
        let [entry] = &*ledger.entries else { panic!("{:?}", ledger.entries) };
        assert_eq!((entry.operation, entry.step, entry.ordinal, entry.amount), (deposit.0, Step::DepositSettled, 1, 5));
    }

    #[test]
    fn books_that_do_not_balance_show_by_how_much() {
        let totals =
            |kind, debits, credits| KindTotals { kind, accounts: 1, debits: Total(debits), credits: Total(credits) };
        let beyond_64_bits = i128::from(i64::MAX) * 3;
        let books = TrialBalance::of(
            Currency::USD,
            vec![totals(Kind::ProviderClearing, beyond_64_bits, 0), totals(Kind::Available, 0, beyond_64_bits - 2)],
        );
        assert_eq!((books.debits, books.difference), (Total(beyond_64_bits), Total(2)));
        assert_eq!(books.kinds[0].credit_balance(), Total(-beyond_64_bits));
    }
}
