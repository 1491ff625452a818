//! Do the books balance, what is in each account of theirs, and what has moved?
//!
//! Every posting of every money event, and the debits and credits of each ledger account. The marketplace owes what it
//! keeps for users, in their wallets or in escrow, what affiliates have earned, and what subscribers have paid ahead, so
//! such a balance is credits minus debits, as is what it has earned; money at a provider and what users owe is its own, as is what it has spent, so there
//! it is the other way round.

use std::collections::BTreeMap;

use domain::commission::{self, Commission, ReversalCause};
use domain::escrow::{self, Escrow};
use domain::subscription::{self, Subscription};
use domain::wallet::{self, Wallet};
use domain::{Aggregate, Currency, LedgerAccount, PeriodId, Posting, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "ledger",
    next: "ledger_next",
    version: 5,
    about: &[Commission::TYPE, Escrow::TYPE, Subscription::TYPE, Wallet::TYPE],
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
    /// The operation that it is a step of: a deposit, a withdrawal, a hold, a refund, an order, a commission, or a period
    /// of a subscription.
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
    /// A buyer has paid an order.
    EscrowFunded,
    /// A seller was paid.
    EscrowReleased,
    /// Some or all of what an order held went back to its buyer.
    EscrowRefunded,
    /// Buyer and seller each got a part.
    EscrowSplit,
    /// Some or all of it went back to the buyer after the seller was paid.
    ReleaseRefunded,
    /// An affiliate has earned something.
    CommissionAccrued,
    /// An affiliate has got what it had earned.
    CommissionVested,
    /// An affiliate has not earned it after all.
    CommissionReversed,
    /// An affiliate gives back what it had got.
    VestedCommissionReversed,
    /// A subscription was bought.
    SubscriptionPurchased,
    /// A subscriber has gone over to another plan: what was used of the period before is earned.
    SubscriptionUpgraded,
    /// Another period of a subscription was paid.
    SubscriptionRenewed,
    /// What a period of a subscription has cost is earned.
    PeriodRecognised,
    /// Something that was owed was paid with money that came in: with the deposit, the order or the commission that the
    /// operation names.
    ReceivableRecovered,
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
    /// What buyers have paid and sellers do not have yet.
    Escrow,
    /// What users owe the marketplace.
    Receivable,
    /// What the marketplace has earned in fees.
    FeeIncome,
    /// What the marketplace has paid of orders for bonus points.
    MarketingExpense,
    /// What the marketplace has spent on commissions.
    AffiliateExpense,
    /// What affiliates have earned with sales whose sellers are not paid yet.
    AffiliatePending,
    /// What was paid for periods of subscriptions that go on.
    DeferredRevenue,
    /// What the marketplace has earned with subscriptions.
    SubscriptionIncome,
}

impl Kind {
    fn of(account: &LedgerAccount) -> Self {
        match account {
            LedgerAccount::ProviderClearing(_) => Self::ProviderClearing,
            LedgerAccount::Available(_) => Self::Available,
            LedgerAccount::Held(_) => Self::Held,
            LedgerAccount::PayoutPending(_) => Self::PayoutPending,
            LedgerAccount::Escrow(_) => Self::Escrow,
            LedgerAccount::Receivable(_) => Self::Receivable,
            LedgerAccount::FeeIncome => Self::FeeIncome,
            LedgerAccount::MarketingExpense => Self::MarketingExpense,
            LedgerAccount::AffiliateExpense => Self::AffiliateExpense,
            LedgerAccount::AffiliatePending(_) => Self::AffiliatePending,
            LedgerAccount::DeferredRevenue(_) => Self::DeferredRevenue,
            LedgerAccount::SubscriptionIncome => Self::SubscriptionIncome,
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
        DomainEvent::Commission(commission, event) => {
            let (operation, step) = commission_step(commission.0, event);
            Some((Commission::TYPE, commission.0, operation, step, event.postings()))
        }
        DomainEvent::Escrow(order, event) => {
            let (operation, step) = escrow_step(order.0, event)?;
            Some((Escrow::TYPE, order.0, operation, step, event.postings()))
        }
        DomainEvent::Subscription(account, event) => {
            let (operation, step) = subscription_step(event)?;
            Some((Subscription::TYPE, account.0, operation, step, event.postings()))
        }
        DomainEvent::Wallet(wallet, event) => {
            let (operation, step) = wallet_step(event)?;
            Some((Wallet::TYPE, wallet.0, operation, step, event.postings()))
        }
        // Whatever is new here says whether it moves money; if so, it belongs to `about` too.
        DomainEvent::Account(..)
        | DomainEvent::AddressBook(..)
        | DomainEvent::Affiliate(..)
        | DomainEvent::Album(..)
        | DomainEvent::Auction(..)
        | DomainEvent::Broadcast(..)
        | DomainEvent::Category(..)
        | DomainEvent::CategoryTree(..)
        | DomainEvent::Chat(..)
        | DomainEvent::Claim(..)
        | DomainEvent::Complaint(..)
        | DomainEvent::Contacts(..)
        | DomainEvent::Favorite(..)
        | DomainEvent::Feedback(..)
        | DomainEvent::Image(..)
        | DomainEvent::Inbox(..)
        | DomainEvent::Listing(..)
        | DomainEvent::Order(..)
        | DomainEvent::OrderGroup(..)
        | DomainEvent::Page(..)
        | DomainEvent::Plan(..)
        | DomainEvent::Points(..)
        | DomainEvent::Referral(..)
        | DomainEvent::ReferralClick(..)
        | DomainEvent::Report(..)
        | DomainEvent::Reporter(..)
        | DomainEvent::Review(..)
        | DomainEvent::Seller(..)
        | DomainEvent::Session(..)
        | DomainEvent::Stock(..)
        | DomainEvent::Store(..)
        | DomainEvent::View(..)
        | DomainEvent::Vote(..) => None,
    }
}

fn commission_step(commission: Uuid, event: &commission::Event) -> (Uuid, Step) {
    use commission::Event;
    match event {
        Event::CommissionAccrued { .. } => (commission, Step::CommissionAccrued),
        Event::CommissionVested { .. } => (commission, Step::CommissionVested),
        Event::CommissionReversed { cause: ReversalCause::Refunded { refund, .. }, .. } => {
            (refund.0, Step::CommissionReversed)
        }
        // At most once, and then nothing is left of it.
        Event::CommissionReversed { cause: ReversalCause::CannotBePaid, .. } => (commission, Step::CommissionReversed),
        Event::VestedCommissionReversed { refund, .. } => (refund.0, Step::VestedCommissionReversed),
    }
}

fn escrow_step(order: Uuid, event: &escrow::Event) -> Option<(Uuid, Step)> {
    use escrow::Event;
    match event {
        Event::EscrowOpened { .. }
        | Event::EscrowVoided {}
        | Event::InspectionStarted { .. }
        | Event::InspectionReminded { .. }
        | Event::EscrowDisputed { .. } => None,
        Event::EscrowFunded { .. } => Some((order, Step::EscrowFunded)),
        Event::EscrowReleased { .. } => Some((order, Step::EscrowReleased)),
        Event::EscrowPartlyRefunded { refund, .. } | Event::EscrowRefunded { refund, .. } => {
            Some((refund.0, Step::EscrowRefunded))
        }
        Event::EscrowSplit { .. } => Some((order, Step::EscrowSplit)),
        Event::ReleaseRefunded { refund, .. } => Some((refund.0, Step::ReleaseRefunded)),
    }
}

/// A period is bought once and recognised once; what an upgrade recognises belongs to the period that it begins.
fn subscription_step(event: &subscription::Event) -> Option<(Uuid, Step)> {
    use subscription::Event;
    let (period, step) = match event {
        Event::SubscriptionPurchased { period, .. } => (period.number, Step::SubscriptionPurchased),
        Event::SubscriptionUpgraded { period, .. } => (period.number, Step::SubscriptionUpgraded),
        Event::SubscriptionRenewed { period, .. } => (period.number, Step::SubscriptionRenewed),
        Event::PeriodRecognised { period, .. } => (*period, Step::PeriodRecognised),
        Event::PlanChangeScheduled { .. }
        | Event::SubscriptionCancelled { .. }
        | Event::SubscriptionContinued { .. }
        | Event::RenewalReminded { .. }
        | Event::RenewalFailed { .. }
        | Event::SubscriptionEnded { .. } => return None,
    };
    Some((PeriodId::of(event.subscription(), period).0, step))
}

fn wallet_step(event: &wallet::Event) -> Option<(Uuid, Step)> {
    use wallet::Event;
    match event {
        Event::WalletOpened { .. }
        | Event::DepositRequested { .. }
        | Event::DepositDelayed { .. }
        | Event::DepositFailed { .. }
        | Event::WithdrawalDelayed { .. }
        // An escrow's, a commission's or a subscription's event of the same commit posts these.
        | Event::PaymentMade { .. }
        | Event::SubscriptionPaid { .. }
        | Event::SaleReceived { .. }
        | Event::RefundReceived { .. }
        | Event::RefundGiven { .. }
        | Event::CommissionReceived { .. }
        | Event::CommissionGiven { .. } => None,
        Event::DepositSettled { deposit, .. } => Some((deposit.0, Step::DepositSettled)),
        Event::WithdrawalRequested { withdrawal, .. } => Some((withdrawal.0, Step::WithdrawalRequested)),
        Event::WithdrawalPaid { withdrawal, .. } => Some((withdrawal.0, Step::WithdrawalPaid)),
        Event::WithdrawalFailed { withdrawal, .. } => Some((withdrawal.0, Step::WithdrawalFailed)),
        Event::HoldPlaced { hold, .. } => Some((hold.0, Step::HoldPlaced)),
        Event::HoldReleased { hold, .. } => Some((hold.0, Step::HoldReleased)),
        Event::ReceivableRecovered { operation, .. } => Some((*operation, Step::ReceivableRecovered)),
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
        // What was parked comes late.
        balance.position = balance.position.max(position);
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
             join (select distinct * from unnest($1::text[], $2::text[])) as wanted (account, currency)
                using (account, currency)",
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

/// Which movements to show.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this step.
    pub step: Option<Step>,
    /// In this currency.
    pub currency: Option<Currency>,
    /// From or to one of these ledger accounts, and one of each such list.
    pub sides: Vec<Vec<LedgerAccount>>,
    /// Of this operation.
    pub operation: Option<Uuid>,
    /// Not before then.
    pub from: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Where the event is.
    pub position: Position,
    /// The place among its postings.
    pub ordinal: i32,
}

/// Movements after a cursor, the newest first, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Entry, Cursor>, sqlx::Error> {
    let mut query = QueryBuilder::new("select * from ledger.postings where true");
    if let Some(step) = filter.step {
        query.push(" and step = ").push_bind(step);
    }
    if let Some(currency) = filter.currency {
        query.push(" and currency = ").push_bind(Text(currency));
    }
    for accounts in &filter.sides {
        let accounts: Vec<String> = accounts.iter().map(ToString::to_string).collect();
        query.push(" and (debit_account = any(").push_bind(accounts.clone());
        query.push(") or credit_account = any(").push_bind(accounts).push("))");
    }
    if let Some(operation) = filter.operation {
        query.push(" and operation = ").push_bind(operation);
    }
    if let Some(from) = filter.from {
        query.push(" and recorded_at >= ").push_bind(from);
    }
    if let Some(until) = filter.until {
        query.push(" and recorded_at < ").push_bind(until);
    }
    if let Some(Cursor { position, ordinal }) = after {
        query.push(" and (position, ordinal) < (").push_bind(position).push(", ").push_bind(ordinal).push(")");
    }
    query.push(" order by position desc, ordinal desc limit ").push_bind(Page::<Entry, Cursor>::rows_to_fetch(limit));
    let entries: Vec<Entry> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(entries, limit, |entry| Cursor { position: entry.position, ordinal: entry.ordinal }))
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
    /// Credits minus debits: what users have or the marketplace has earned, or with a minus sign what providers hold for
    /// us, users owe, or the marketplace has spent.
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
    use domain::{AccountId, DepositId, Money, OrderId, WalletId};

    use super::*;
    use crate::tests::history::recorded;

    #[test]
    fn a_posting_is_debited_once_and_credited_once() {
        let owner = AccountId(Uuid::from_u128(1));
        let (clearing, available) =
            (LedgerAccount::ProviderClearing("sandbox".to_owned()), LedgerAccount::Available(owner));
        let postings = vec![Posting::new(clearing.clone(), available.clone(), Money::new(5, Currency::USD).unwrap())];
        let deposit = DepositId(Uuid::from_u128(2));
        let settled = wallet::Event::DepositSettled { deposit, provider_reference: String::new(), postings };
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
    fn a_split_is_one_step_of_its_order_with_a_posting_for_each_who_gets_a_part() {
        let (order, buyer, seller) =
            (OrderId(Uuid::from_u128(3)), AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let usd = |minor| Money::new(minor, Currency::USD).unwrap();
        let held = LedgerAccount::Escrow(order);
        let to = [
            (LedgerAccount::Available(buyer), 40),
            (LedgerAccount::Available(seller), 57),
            (LedgerAccount::FeeIncome, 3),
        ];
        let postings = to.iter().map(|(to, part)| Posting::new(held.clone(), to.clone(), usd(*part))).collect();
        let (to_buyer, kept, fee) = (usd(40), usd(60), usd(3));
        let split = escrow::Event::EscrowSplit { to_buyer, kept, fee, by: buyer, from_points: None, postings };
        let mut ledger = Ledger::default();
        ledger.take(&recorded(1, DomainEvent::Escrow(order, split)));
        let steps: Vec<_> = ledger.entries.iter().map(|entry| (entry.operation, entry.step, entry.ordinal)).collect();
        assert_eq!(steps, [1, 2, 3].map(|ordinal| (order.0, Step::EscrowSplit, ordinal)));
        let balance = |account: &LedgerAccount| &ledger.balances[&(account.clone(), Currency::USD)];
        assert_eq!((balance(&held).kind, balance(&held).debits), (Kind::Escrow, Total(100)));
        assert_eq!(balance(&LedgerAccount::FeeIncome).kind, Kind::FeeIncome);
    }

    #[test]
    fn what_is_recovered_of_a_sale_is_another_step_than_the_sale() {
        let (owner, order) = (AccountId(Uuid::from_u128(1)), OrderId(Uuid::from_u128(3)));
        let amount = Money::new(5, Currency::USD).unwrap();
        let receivable = LedgerAccount::Receivable(owner);
        let postings = vec![Posting::new(LedgerAccount::Available(owner), receivable.clone(), amount)];
        let recovered = wallet::Event::ReceivableRecovered { operation: order.0, amount, postings };
        let sold = wallet::Event::SaleReceived { order, amount };
        let mut ledger = Ledger::default();
        let wallet = WalletId::of(owner, Currency::USD);
        ledger.take(&recorded(1, DomainEvent::Wallet(wallet, sold)));
        assert!(ledger.entries.is_empty(), "the escrow's event posts it");
        ledger.take(&recorded(2, DomainEvent::Wallet(wallet, recovered)));
        let [entry] = &*ledger.entries else { panic!("{:?}", ledger.entries) };
        assert_eq!((entry.operation, entry.step), (order.0, Step::ReceivableRecovered));
        assert_eq!(ledger.balances[&(receivable, Currency::USD)].kind, Kind::Receivable);
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
