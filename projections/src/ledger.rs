//! Do the books balance, what is in each account of theirs, and what has moved?
//!
//! Every posting of every money event, and the debits and credits of each ledger account. The marketplace owes what it
//! keeps for users, in their wallets or in escrow, what affiliates have earned, and what subscribers have paid ahead, so
//! such a balance is credits minus debits, as is what it has earned; money at a provider and what users owe is its own, as
//! is what it has spent, so there it is the other way round.
//!
//! The tables themselves refuse books that cannot be: a movement that no rule names, debits that are not credits, less
//! than nothing where nobody may owe, and money that is left in the escrow of an order that is over. So they are as they
//! must be after every batch, however the log was cut, or what breaks them is parked.

use std::collections::{BTreeMap, BTreeSet};

use domain::charge::{self, Charge};
use domain::commission::{self, Commission, ReversalCause};
use domain::escrow::{self, Escrow};
use domain::subscription::{self, Subscription};
use domain::wallet::{self, Wallet};
use domain::{Aggregate, Currency, LedgerAccount, OrderId, PeriodId, Posting, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::{Page, ReadModel, Text, rows};

mod trial_balance;

pub use trial_balance::{KindTotals, TrialBalance, trial_balance, trial_balance_as_of};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "ledger",
    next: "ledger_next",
    version: 6,
    about: &[Charge::TYPE, Commission::TYPE, Escrow::TYPE, Subscription::TYPE, Wallet::TYPE],
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
    /// The operation that it is a step of: a deposit, a withdrawal, a charge, a hold, a refund, an order, a dispute, a
    /// commission, or a period of a subscription.
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
    /// Money came back after it went out.
    WithdrawalReturned,
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
    /// A card has paid: what it has not paid for goes back, and the provider keeps its fee.
    ChargeSucceeded,
    /// A provider has told later what it keeps.
    ProviderFeeCharged,
    /// Money is back where it was charged.
    ChargeRefunded,
    /// Money that was back where it was charged has come from there again.
    ChargeRefundReturned,
    /// A provider has taken back what a payer disputes, from a wallet or the marketplace.
    ChargeDisputed,
    /// What was taken so has come back.
    ChargeDisputeWon,
    /// A provider has taken back what a payer disputes, out of an order's escrow.
    EscrowChargedBack,
    /// What was taken so has come back.
    ChargebackReturned,
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
    /// Where the first event is that moved something here; `None` of an escrow that was never paid.
    pub since: Option<Position>,
    /// Whether it is the escrow of an order that is over: then nothing is in it.
    pub ended: bool,
    /// Where the last event is that moved something here, or opened or ended it.
    pub position: Position,
}

impl Balance {
    /// Nothing yet.
    fn empty(account: &LedgerAccount, currency: Currency, position: Position) -> Self {
        Self {
            account: Text(account.clone()),
            currency: Text(currency),
            kind: Kind::of(account),
            debits: Total::default(),
            credits: Total::default(),
            since: None,
            ended: false,
            position,
        }
    }

    /// Takes in that an event at `position` concerns it. What was parked comes late.
    fn reach(&mut self, position: Position) {
        self.position = self.position.max(position);
    }
}

/// What has moved on one side of the ledger accounts of a kind within a stretch of the log, for
/// [`trial_balance_as_of`].
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
struct Turnover {
    block: i64,
    currency: Text<Currency>,
    kind: Kind,
    #[sqlx(try_from = "String")]
    debits: Total,
    #[sqlx(try_from = "String")]
    credits: Total,
}

/// How much of the log a [`Turnover`] sums up: what is added up anew for a trial balance is no more than this.
const BLOCK: i64 = 4_096;

/// The stretch of the log in which a position is.
fn block_of(position: Position) -> i64 {
    position / BLOCK
}

/// All that was ever debited and credited in a currency, by the ledger accounts and not by the movements: the table
/// refuses it unless both are the same.
#[derive(Clone, Copy, Debug, FromRow, PartialEq, Serialize)]
struct Sums {
    currency: Text<Currency>,
    #[sqlx(try_from = "String")]
    debits: Total,
    #[sqlx(try_from = "String")]
    credits: Total,
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
    /// What came in too late to pay anything, and goes back.
    Unapplied,
    /// What is on its way back to where it was charged.
    RefundPending,
    /// What payment providers have kept.
    ProviderFeeExpense,
    /// What payers have got back of their banks that nobody else bears.
    ChargebackExpense,
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
            LedgerAccount::Unapplied(_) => Self::Unapplied,
            LedgerAccount::RefundPending(_) => Self::RefundPending,
            LedgerAccount::ProviderFeeExpense => Self::ProviderFeeExpense,
            LedgerAccount::ChargebackExpense => Self::ChargebackExpense,
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
    /// The currencies of any of them.
    currencies: BTreeSet<Currency>,
    /// What the ledger accounts came to before the batch.
    before: BTreeMap<(LedgerAccount, Currency), (Total, Total)>,
    turnovers: BTreeMap<(i64, Currency, Kind), Turnover>,
    entries: Vec<Entry>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut ledger = Ledger::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        ledger.take(recorded);
    }
    ledger.store(connection).await
}

/// A movement of money: whose event it is, what of, and what it posts.
#[derive(Clone, Copy, Debug)]
struct Moved<'a> {
    aggregate_type: &'static str,
    aggregate_id: Uuid,
    operation: Uuid,
    step: Step,
    postings: &'a [Posting],
}

/// The step that an event is, and its postings; nothing if it moves no money.
fn movement(event: &DomainEvent) -> Option<Moved<'_>> {
    let (aggregate_type, aggregate_id, (operation, step), postings) = match event {
        DomainEvent::Charge(charge, event) => (Charge::TYPE, charge.0, charge_step(charge.0, event)?, event.postings()),
        DomainEvent::Commission(commission, event) => {
            (Commission::TYPE, commission.0, commission_step(commission.0, event), event.postings())
        }
        DomainEvent::Escrow(order, event) => (Escrow::TYPE, order.0, escrow_step(order.0, event)?, event.postings()),
        DomainEvent::Subscription(account, event) => {
            (Subscription::TYPE, account.0, subscription_step(event)?, event.postings())
        }
        DomainEvent::Wallet(wallet, event) => (Wallet::TYPE, wallet.0, wallet_step(event)?, event.postings()),
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
        | DomainEvent::Correlation(..)
        | DomainEvent::Favorite(..)
        | DomainEvent::FeeRule(..)
        | DomainEvent::Feedback(..)
        | DomainEvent::Image(..)
        | DomainEvent::Inbox(..)
        | DomainEvent::Listing(..)
        | DomainEvent::Merchant(..)
        | DomainEvent::Order(..)
        | DomainEvent::OrderGroup(..)
        | DomainEvent::Page(..)
        | DomainEvent::Payee(..)
        // What it moves, the wallet's event of the same commit posts.
        | DomainEvent::Payout(..)
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
        | DomainEvent::Vote(..) => return None,
    };
    Some(Moved { aggregate_type, aggregate_id, operation, step, postings })
}

fn charge_step(charge: Uuid, event: &charge::Event) -> Option<(Uuid, Step)> {
    use charge::Event;
    match event {
        Event::ChargeSucceeded { .. } => Some((charge, Step::ChargeSucceeded)),
        Event::ProviderFeeCharged { .. } => Some((charge, Step::ProviderFeeCharged)),
        Event::ChargeRefunded { refund, attempt, .. } => Some((refund.operation(*attempt), Step::ChargeRefunded)),
        Event::ChargeRefundFailed { refund, attempt, .. } => {
            Some((refund.operation(*attempt), Step::ChargeRefundReturned))
        }
        Event::ChargeDisputed { dispute, .. } => Some((dispute.0, Step::ChargeDisputed)),
        Event::ChargeDisputeWon { dispute, .. } => Some((dispute.0, Step::ChargeDisputeWon)),
        Event::ChargeRequested { .. }
        | Event::ChargeDelayed { .. }
        | Event::ChargeActionRequired { .. }
        | Event::ChargeFailed { .. }
        // The escrow's event of the same commit posts it.
        | Event::ChargeRefundRequested { .. }
        | Event::ChargeRefundDelayed { .. }
        | Event::ChargeRefundRetried { .. }
        | Event::ChargeDisputeLost { .. } => None,
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
        | Event::EscrowDisputed { .. }
        | Event::ChargebackSettled { .. } => None,
        Event::EscrowFunded { .. } => Some((order, Step::EscrowFunded)),
        Event::EscrowReleased { .. } => Some((order, Step::EscrowReleased)),
        Event::EscrowPartlyRefunded { refund, .. } | Event::EscrowRefunded { refund, .. } => {
            Some((refund.0, Step::EscrowRefunded))
        }
        Event::EscrowSplit { .. } => Some((order, Step::EscrowSplit)),
        Event::ReleaseRefunded { refund, .. } => Some((refund.0, Step::ReleaseRefunded)),
        Event::EscrowChargedBack { dispute, .. } => Some((dispute.operation(OrderId(order)), Step::EscrowChargedBack)),
        Event::ChargebackReturned { dispute, .. } => {
            Some((dispute.operation(OrderId(order)), Step::ChargebackReturned))
        }
    }
}

/// What an event of an escrow says of its ledger account, besides what it posts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Term {
    /// It may hold money of this currency from now on.
    Begins(Currency),
    /// Its order is over, so nothing may be left in it, nor come any more.
    Ends,
}

fn term(event: &escrow::Event) -> Option<Term> {
    use escrow::Event;
    match event {
        Event::EscrowOpened { terms } => Some(Term::Begins(terms.amount.currency())),
        Event::EscrowVoided {}
        | Event::EscrowReleased { .. }
        | Event::EscrowRefunded { .. }
        | Event::EscrowSplit { .. }
        | Event::ChargebackSettled { course: None, .. } => Some(Term::Ends),
        Event::EscrowFunded { .. }
        | Event::InspectionStarted { .. }
        | Event::InspectionReminded { .. }
        | Event::EscrowDisputed { .. }
        | Event::EscrowPartlyRefunded { .. }
        | Event::ReleaseRefunded { .. }
        | Event::EscrowChargedBack { .. }
        | Event::ChargebackReturned { .. }
        | Event::ChargebackSettled { course: Some(_), .. } => None,
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
        // An escrow's, a charge's, a commission's or a subscription's event of the same commit posts these.
        | Event::PaymentMade { .. }
        | Event::SubscriptionPaid { .. }
        | Event::SaleReceived { .. }
        | Event::RefundReceived { .. }
        | Event::RefundGiven { .. }
        | Event::CommissionReceived { .. }
        | Event::CommissionGiven { .. }
        // The charge's event posts these.
        | Event::ChargebackGiven { .. }
        | Event::ChargebackRegained { .. } => None,
        Event::DepositSettled { deposit, .. } => Some((deposit.0, Step::DepositSettled)),
        Event::WithdrawalRequested { withdrawal, .. } => Some((withdrawal.0, Step::WithdrawalRequested)),
        Event::WithdrawalPaid { withdrawal, .. } => Some((withdrawal.0, Step::WithdrawalPaid)),
        Event::WithdrawalFailed { withdrawal, .. } => Some((withdrawal.0, Step::WithdrawalFailed)),
        Event::WithdrawalReturned { withdrawal, .. } => Some((withdrawal.0, Step::WithdrawalReturned)),
        Event::HoldPlaced { hold, .. } => Some((hold.0, Step::HoldPlaced)),
        Event::HoldReleased { hold, .. } => Some((hold.0, Step::HoldReleased)),
        Event::ReceivableRecovered { operation, .. } => Some((*operation, Step::ReceivableRecovered)),
    }
}

impl Ledger {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded) {
        self.take_movement(recorded);
        // Whatever the event that ends it posts is posted then.
        if let DomainEvent::Escrow(order, event) = &recorded.event {
            self.take_term(*order, event, recorded.position);
        }
    }

    fn take_movement(&mut self, recorded: &Recorded) {
        let Some(Moved { aggregate_type, aggregate_id, operation, step, postings }) = movement(&recorded.event) else {
            return;
        };
        for (ordinal, posting) in (1..).zip(postings) {
            let amount = i128::from(posting.amount.minor());
            self.side(&posting.debit, posting, recorded.position).debits.0 += amount;
            self.turnover(&posting.debit, posting, recorded.position).debits.0 += amount;
            self.side(&posting.credit, posting, recorded.position).credits.0 += amount;
            self.turnover(&posting.credit, posting, recorded.position).credits.0 += amount;
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

    /// The escrow of an order is there from the beginning, and holds nothing once it is over.
    fn take_term(&mut self, order: OrderId, event: &escrow::Event, position: Position) {
        let account = LedgerAccount::Escrow(order);
        match term(event) {
            Some(Term::Begins(currency)) => {
                self.currencies.insert(currency);
                let empty = || Balance::empty(&account, currency, position);
                self.balances.entry((account.clone(), currency)).or_insert_with(empty).reach(position);
            }
            // In whatever currency it should hold anything.
            Some(Term::Ends) => {
                for currency in &self.currencies {
                    if let Some(escrow) = self.balances.get_mut(&(account.clone(), *currency)) {
                        escrow.ended = true;
                        escrow.reach(position);
                    }
                }
            }
            None => {}
        }
    }

    /// The account on one side of a posting, moved at `position`.
    fn side(&mut self, account: &LedgerAccount, posting: &Posting, position: Position) -> &mut Balance {
        let currency = posting.amount.currency();
        self.currencies.insert(currency);
        let empty = || Balance::empty(account, currency, position);
        let balance = self.balances.entry((account.clone(), currency)).or_insert_with(empty);
        balance.since = Some(balance.since.map_or(position, |since| since.min(position)));
        balance.reach(position);
        balance
    }

    fn turnover(&mut self, account: &LedgerAccount, posting: &Posting, position: Position) -> &mut Turnover {
        let (block, currency, kind) = (block_of(position), posting.amount.currency(), Kind::of(account));
        self.turnovers.entry((block, currency, kind)).or_insert_with(|| Turnover {
            block,
            currency: Text(currency),
            kind,
            debits: Total::default(),
            credits: Total::default(),
        })
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let moved = events.iter().filter_map(|recorded| movement(&recorded.event));
        let postings = moved.flat_map(|moved| moved.postings);
        let sides: BTreeSet<String> =
            postings.flat_map(|posting| [posting.debit.to_string(), posting.credit.to_string()]).collect();
        let escrows = events.iter().filter_map(|recorded| match &recorded.event {
            DomainEvent::Escrow(order, event) => {
                term(event).is_some().then(|| LedgerAccount::Escrow(*order).to_string())
            }
            _ => None,
        });
        let accounts: Vec<String> = sides.into_iter().chain(escrows).collect();
        if accounts.is_empty() {
            return Ok(Self::default());
        }
        // Of every currency: an escrow ends in all of them.
        let balances: Vec<Balance> = sqlx::query_as(
            "select account, currency, kind, debits::text, credits::text, since, ended, position from balances
             where account = any($1)",
        )
        .bind(accounts)
        .fetch_all(&mut *connection)
        .await?;
        let blocks: BTreeSet<i64> = events.iter().map(|recorded| block_of(recorded.position)).collect();
        let turnovers: Vec<Turnover> = sqlx::query_as(
            "select block, currency, kind, debits::text, credits::text from turnovers where block = any($1)",
        )
        .bind(blocks.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        let key = |balance: &Balance| (balance.account.0.clone(), balance.currency.0);
        Ok(Self {
            currencies: balances.iter().map(|balance| balance.currency.0).collect(),
            before: balances.iter().map(|balance| (key(balance), (balance.debits, balance.credits))).collect(),
            balances: balances.into_iter().map(|balance| (key(&balance), balance)).collect(),
            turnovers: turnovers.into_iter().map(|row| ((row.block, row.currency.0, row.kind), row)).collect(),
            entries: Vec::new(),
        })
    }

    /// By how much the ledger accounts of each currency have grown.
    fn grown(&self) -> Vec<Sums> {
        let mut grown: BTreeMap<Currency, (i128, i128)> = BTreeMap::new();
        for (key, balance) in &self.balances {
            let (debits, credits) = self.before.get(key).copied().unwrap_or_default();
            let sums = grown.entry(key.1).or_default();
            sums.0 += balance.debits.0 - debits.0;
            sums.1 += balance.credits.0 - credits.0;
        }
        let sums = |(currency, (debits, credits))| Sums {
            currency: Text(currency),
            debits: Total(debits),
            credits: Total(credits),
        };
        grown.into_iter().filter(|(_, grown)| *grown != (0, 0)).map(sums).collect()
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into sums select * from json_populate_recordset(null::sums, $1::json)
            on conflict on constraint sums_currency do update set
                (debits, credits) = row (sums.debits + excluded.debits, sums.credits + excluded.credits)";
        rows::write(connection, statement, self.grown()).await?;
        let statement = "
            insert into balances select * from json_populate_recordset(null::balances, $1::json)
            on conflict on constraint balances_account do update set
                (debits, credits, since, ended, position)
                = row (excluded.debits, excluded.credits, excluded.since, excluded.ended, excluded.position)";
        rows::write(connection, statement, self.balances.into_values()).await?;
        let statement = "
            insert into turnovers select * from json_populate_recordset(null::turnovers, $1::json)
            on conflict on constraint turnovers_block do update set
                (debits, credits) = row (excluded.debits, excluded.credits)";
        rows::write(connection, statement, self.turnovers.into_values()).await?;
        let statement = "insert into postings select * from json_populate_recordset(null::postings, $1::json)";
        Ok(rows::write(connection, statement, self.entries).await?)
    }
}

/// What a ledger account comes to in one currency; nothing before its first posting, or the opening of an escrow.
pub async fn balance(
    executor: impl PgExecutor<'_>,
    account: &LedgerAccount,
    currency: Currency,
) -> Result<Option<Balance>, sqlx::Error> {
    sqlx::query_as(
        "select account, currency, kind, debits::text, credits::text, since, ended, position from ledger.balances
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
    fn an_escrow_is_there_from_its_opening_and_over_with_the_event_that_empties_it() {
        let (order, buyer) = (OrderId(Uuid::from_u128(3)), AccountId(Uuid::from_u128(1)));
        let held = LedgerAccount::Escrow(order);
        let amount = Money::new(100, Currency::USD).unwrap();
        let terms = escrow::Terms {
            order,
            buyer,
            seller: AccountId(Uuid::from_u128(2)),
            lines: vec![],
            amount,
            inspection_s: 60,
            points_per_unit: 0,
            redeemed: None,
            commission: None,
        };
        let mut ledger = Ledger::default();
        ledger.take(&recorded(3, DomainEvent::Escrow(order, escrow::Event::EscrowOpened { terms })));
        let of = |ledger: &Ledger| ledger.balances[&(held.clone(), Currency::USD)].clone();
        assert_eq!((of(&ledger).since, of(&ledger).ended, of(&ledger).position), (None, false, 3));
        let postings = vec![Posting::new(LedgerAccount::Available(buyer), held.clone(), amount)];
        let funded = escrow::Event::EscrowFunded { amount, ship_by: Timestamp::default(), card: None, postings };
        ledger.take(&recorded(5, DomainEvent::Escrow(order, funded)));
        assert_eq!((of(&ledger).since, of(&ledger).ended), (Some(5), false));
        let refund = domain::RefundId(Uuid::from_u128(9));
        let postings = vec![Posting::new(held.clone(), LedgerAccount::Available(buyer), amount)];
        let cause = escrow::RefundCause::Cancelled;
        let refunded = escrow::Event::EscrowRefunded { refund, amount, cause, from_points: None, postings };
        ledger.take(&recorded(9, DomainEvent::Escrow(order, refunded)));
        let ended = of(&ledger);
        assert_eq!((ended.ended, ended.debits, ended.credits, ended.since), (true, Total(100), Total(100), Some(5)));
        let grown = Sums { currency: Text(Currency::USD), debits: Total(200), credits: Total(200) };
        assert_eq!(ledger.grown(), [grown]);
    }
}
