//! The money of one account in one currency: available to spend, held for a second step.
//!
//! Money comes in by a deposit (`requested → settled | failed`) and leaves by a withdrawal (`requested → paid |
//! failed`, which gives it back; what was paid may be returned). It also goes into the [`crate::escrow`] of an order and comes out of one, is a
//! [`crate::commission`], or pays for a [`crate::subscription`]; those movements are posted by events of these, and the
//! wallet's event of the same commit says what they mean here. Who owes the marketplace pays with the next money that
//! comes in. Invariants: no balance is ever below zero; an operation moves money once, however often it is reported; what
//! is available and held is what the books say.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{
    AccountId, CommissionId, DepositId, DisputeId, HoldId, OrderGroupId, OrderId, PeriodId, RefundId, SubscriptionId,
    WalletId, WithdrawalId,
};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::{AMOUNT_LIMIT, Currency, Money};

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

/// What a wallet may hold, in minor units: half of what an amount may be.
pub const BALANCE_LIMIT: i64 = AMOUNT_LIMIT / 2;

/// What is asked of a wallet.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ask a provider for money.
    RequestDeposit {
        /// Names the attempt.
        deposit: DepositId,
        /// Whose wallet this is.
        owner: AccountId,
        /// How much to bring in.
        amount: Money,
        /// Which provider, and which of the owner's payment methods there.
        source: PaymentMethod,
    },
    /// Take in what the provider has collected.
    SettleDeposit {
        /// The attempt.
        deposit: DepositId,
        /// The provider's name for the charge.
        provider_reference: String,
    },
    /// Give the attempt up.
    FailDeposit {
        /// The attempt.
        deposit: DepositId,
        /// The provider's reason.
        reason: String,
    },
    /// Send money out.
    RequestWithdrawal {
        /// Names the attempt.
        withdrawal: WithdrawalId,
        /// How much to send.
        amount: Money,
        /// Which provider, and which of the owner's payment methods there.
        destination: PaymentMethod,
    },
    /// Note that the provider will know more later.
    DelayWithdrawal {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// The provider's name for the payout, if it has one.
        provider_reference: Option<String>,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// Note that the provider has paid it out.
    ConfirmWithdrawal {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// The provider's name for the payout.
        provider_reference: String,
        /// What the provider keeps for it, if it says so.
        fee: Option<Money>,
    },
    /// Give the money back.
    FailWithdrawal {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// The provider's reason.
        reason: String,
    },
    /// Take in what has come back after it was paid out. A wallet forgets what has ended: its [`crate::payout`] knows.
    ReturnWithdrawal {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// How much.
        amount: Money,
        /// Which provider had paid it out.
        provider: String,
        /// The provider's reason.
        reason: String,
    },
    /// Set money aside for a second step.
    PlaceHold {
        /// Names the hold.
        hold: HoldId,
        /// How much to set aside.
        amount: Money,
    },
    /// Make held money available again.
    ReleaseHold {
        /// The hold.
        hold: HoldId,
    },
    /// Pay into the escrow of an order.
    Pay {
        /// The order.
        order: OrderId,
        /// How much.
        amount: Money,
    },
    /// Pay for a period of a subscription.
    PaySubscription {
        /// The subscription.
        subscription: SubscriptionId,
        /// The period.
        period: PeriodId,
        /// How much.
        amount: Money,
    },
    /// Take in what a sale has brought.
    ReceiveSale {
        /// Whose wallet this is.
        owner: AccountId,
        /// The order.
        order: OrderId,
        /// How much.
        amount: Money,
    },
    /// Take in what came back of a payment.
    ReceiveRefund {
        /// Whose wallet this is.
        owner: AccountId,
        /// The order.
        order: OrderId,
        /// The movement.
        refund: RefundId,
        /// How much.
        amount: Money,
    },
    /// Give back what a sale had brought.
    GiveRefund {
        /// Whose wallet this is.
        owner: AccountId,
        /// The order.
        order: OrderId,
        /// The movement.
        refund: RefundId,
        /// How much of it is available.
        amount: Money,
        /// How much more is owed from now on.
        owed: Money,
    },
    /// Take in what sending a buyer here has earned.
    ReceiveCommission {
        /// Whose wallet this is.
        owner: AccountId,
        /// The commission.
        commission: CommissionId,
        /// How much.
        amount: Money,
    },
    /// Give back what sending a buyer here had earned.
    GiveCommission {
        /// Whose wallet this is.
        owner: AccountId,
        /// The commission.
        commission: CommissionId,
        /// The movement of the order's money.
        refund: RefundId,
        /// How much of it is available.
        amount: Money,
        /// How much more is owed from now on.
        owed: Money,
    },
    /// Give what a payer has got back of their bank.
    GiveChargeback {
        /// Whose wallet this is.
        owner: AccountId,
        /// The dispute.
        dispute: DisputeId,
        /// How much of it is available.
        amount: Money,
        /// How much more is owed from now on.
        owed: Money,
    },
    /// Take back what was given so, since the payer was not right.
    RegainChargeback {
        /// Whose wallet this is.
        owner: AccountId,
        /// The dispute.
        dispute: DisputeId,
        /// How much of it is available again.
        amount: Money,
        /// How much less is owed from now on.
        forgiven: Money,
    },
}

/// A way to pay at a provider. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PaymentMethod {
    /// The provider's name, such as `sandbox`.
    pub provider: String,
    /// The provider's token for the method; never a card number.
    pub token: String,
}

/// What happens to a wallet. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was used for the first time.
    WalletOpened {
        /// Whose money it holds.
        owner: AccountId,
        /// In which currency.
        currency: Currency,
    },
    /// A provider is to be asked for money.
    DepositRequested {
        /// The attempt.
        deposit: DepositId,
        /// Whose wallet this is.
        owner: AccountId,
        /// How much.
        amount: Money,
        /// From where.
        source: PaymentMethod,
        /// What was to be paid with it as soon as it was in, before charges paid for orders themselves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pays: Option<OrderGroupId>,
    },
    /// The provider did not know yet, before charges waited for that.
    DepositDelayed {
        /// The attempt.
        deposit: DepositId,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// The money is in.
    DepositSettled {
        /// The attempt.
        deposit: DepositId,
        /// The provider's name for the charge.
        provider_reference: String,
        /// Provider clearing → available.
        postings: Vec<Posting>,
    },
    /// The provider refused.
    DepositFailed {
        /// The attempt.
        deposit: DepositId,
        /// The provider's reason.
        reason: String,
    },
    /// Money is on its way out.
    WithdrawalRequested {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// Whose wallet this is.
        owner: AccountId,
        /// How much.
        amount: Money,
        /// Where to.
        destination: PaymentMethod,
        /// Available → payout pending.
        postings: Vec<Posting>,
    },
    /// The provider does not know yet.
    WithdrawalDelayed {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// The provider's name for the payout, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_reference: Option<String>,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// The provider has paid it out.
    WithdrawalPaid {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// The provider's name for the payout.
        provider_reference: String,
        /// What the provider keeps for it, if it says so: the marketplace pays that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fee: Option<Money>,
        /// Payout pending → provider clearing, and of the fee provider fee expense → provider clearing.
        postings: Vec<Posting>,
    },
    /// The provider refused, the money is back.
    WithdrawalFailed {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// The provider's reason.
        reason: String,
        /// Payout pending → available.
        postings: Vec<Posting>,
    },
    /// The money is back after it was paid out.
    WithdrawalReturned {
        /// The attempt.
        withdrawal: WithdrawalId,
        /// How much.
        amount: Money,
        /// The provider's reason.
        reason: String,
        /// Provider clearing → available.
        postings: Vec<Posting>,
    },
    /// Money was set aside.
    HoldPlaced {
        /// The hold.
        hold: HoldId,
        /// How much.
        amount: Money,
        /// Available → held.
        postings: Vec<Posting>,
    },
    /// Held money is available again.
    HoldReleased {
        /// The hold.
        hold: HoldId,
        /// Held → available.
        postings: Vec<Posting>,
    },
    /// Money went into the escrow of an order, whose event posts it.
    PaymentMade {
        /// The order.
        order: OrderId,
        /// How much.
        amount: Money,
    },
    /// Money went into a period of a subscription, whose event posts it.
    SubscriptionPaid {
        /// The subscription.
        subscription: SubscriptionId,
        /// The period.
        period: PeriodId,
        /// How much.
        amount: Money,
    },
    /// Money came out of the escrow of an order that was sold, whose event posts it.
    SaleReceived {
        /// The order.
        order: OrderId,
        /// How much.
        amount: Money,
    },
    /// Money came back for an order, whose escrow's event posts it.
    RefundReceived {
        /// The order.
        order: OrderId,
        /// The movement.
        refund: RefundId,
        /// How much.
        amount: Money,
    },
    /// Money went back for an order, whose escrow's event posts it.
    RefundGiven {
        /// The order.
        order: OrderId,
        /// The movement.
        refund: RefundId,
        /// How much of it was available.
        amount: Money,
        /// How much more is owed from now on.
        owed: Money,
    },
    /// A commission has vested, whose event posts it.
    CommissionReceived {
        /// The commission.
        commission: CommissionId,
        /// How much.
        amount: Money,
    },
    /// A commission that had vested went back, whose event posts it.
    CommissionGiven {
        /// The commission.
        commission: CommissionId,
        /// The movement of the order's money.
        refund: RefundId,
        /// How much of it was available.
        amount: Money,
        /// How much more is owed from now on.
        owed: Money,
    },
    /// Something that was owed was paid with money that came in.
    ReceivableRecovered {
        /// The deposit, the order or the commission that has brought the money.
        operation: Uuid,
        /// How much.
        amount: Money,
        /// Available → receivable.
        postings: Vec<Posting>,
    },
    /// A payer has got money back of their bank, which the charge's event posts.
    ChargebackGiven {
        /// The dispute.
        dispute: DisputeId,
        /// How much of it was available.
        amount: Money,
        /// How much more is owed from now on.
        owed: Money,
    },
    /// The payer was not right: it is back, which the charge's event posts.
    ChargebackRegained {
        /// The dispute.
        dispute: DisputeId,
        /// How much of it is available again.
        amount: Money,
        /// How much less is owed from now on.
        forgiven: Money,
    },
}

event_versions!(Event {
    WalletOpened = "1",
    DepositRequested = "2" | "1",
    DepositDelayed = "1",
    DepositSettled = "1",
    DepositFailed = "1",
    WithdrawalRequested = "1",
    WithdrawalDelayed = "2" | "1",
    WithdrawalPaid = "2" | "1",
    WithdrawalFailed = "1",
    WithdrawalReturned = "1",
    HoldPlaced = "1",
    HoldReleased = "1",
    PaymentMade = "1",
    SubscriptionPaid = "1",
    SaleReceived = "1",
    RefundReceived = "1",
    RefundGiven = "1",
    CommissionReceived = "1",
    CommissionGiven = "1",
    ReceivableRecovered = "1",
    ChargebackGiven = "1",
    ChargebackRegained = "1",
});

impl Event {
    /// The movements of money that this event posts.
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::WalletOpened { .. }
            | Self::DepositRequested { .. }
            | Self::DepositDelayed { .. }
            | Self::DepositFailed { .. }
            | Self::WithdrawalDelayed { .. }
            | Self::PaymentMade { .. }
            | Self::SubscriptionPaid { .. }
            | Self::SaleReceived { .. }
            | Self::RefundReceived { .. }
            | Self::RefundGiven { .. }
            | Self::CommissionReceived { .. }
            | Self::CommissionGiven { .. }
            | Self::ChargebackGiven { .. }
            | Self::ChargebackRegained { .. } => &[],
            Self::DepositSettled { postings, .. }
            | Self::WithdrawalRequested { postings, .. }
            | Self::WithdrawalPaid { postings, .. }
            | Self::WithdrawalFailed { postings, .. }
            | Self::WithdrawalReturned { postings, .. }
            | Self::HoldPlaced { postings, .. }
            | Self::HoldReleased { postings, .. }
            | Self::ReceivableRecovered { postings, .. } => postings,
        }
    }
}

/// Why a wallet refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// An amount to move is above zero.
    #[error("the amount must be above zero; {offered} was given")]
    AmountNotPositive {
        /// What was asked.
        offered: Money,
    },
    /// A wallet has one currency.
    #[error("this wallet is in {expected}, the amount is in {offered}")]
    WrongCurrency {
        /// The wallet's.
        expected: Currency,
        /// The amount's.
        offered: Currency,
    },
    /// There is less available than was asked for.
    #[error("{requested} was requested and {available} is available")]
    InsufficientFunds {
        /// What may be spent.
        available: Money,
        /// What was asked.
        requested: Money,
    },
    /// The balance, and what may yet come in, would not be exact in every JSON reader.
    #[error("the balance {available} and {offered} more would reach the limit of 2^52 minor units")]
    BalanceLimit {
        /// What may be spent.
        available: Money,
        /// What would come in.
        offered: Money,
    },
    /// The operation has ended before, or never was: either way there is nothing to move.
    #[error("no operation of this name is under way")]
    NotUnderWay,
    /// The name is taken by another attempt.
    #[error("an operation of this name is under way with another amount")]
    OperationReused,
}

/// A wallet.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Wallet {
    /// Never used.
    #[default]
    Unopened,
    /// In use.
    Open(Balance),
}

/// What an open wallet holds, and what is under way.
///
/// Settled operations are forgotten: whatever is not under way cannot move money, so the state stays small.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Balance {
    /// Whose money it is.
    pub owner: AccountId,
    /// What may be spent or withdrawn; never negative.
    pub available: Money,
    /// What is set aside; never negative.
    pub held: Money,
    /// What the owner owes the marketplace; never negative.
    pub owed: Money,
    deposits: BTreeMap<DepositId, Pending>,
    withdrawals: BTreeMap<WithdrawalId, Pending>,
    holds: BTreeMap<HoldId, Money>,
}

/// An operation that a provider has not finished.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pending {
    /// How much it moves.
    pub amount: Money,
    /// At which provider, by which method.
    pub method: PaymentMethod,
    /// When the provider is to be asked again, if it asked for time.
    pub check_at: Option<Timestamp>,
    /// The provider's name for a payout, if it has told it.
    #[serde(default)]
    pub reference: Option<String>,
}

impl Pending {
    /// Whether nothing is new in being delayed like this.
    fn is_delayed_to(&self, check_at: Timestamp, reference: Option<&str>) -> bool {
        self.check_at == Some(check_at) && (reference.is_none() || reference == self.reference.as_deref())
    }
}

impl Aggregate for Wallet {
    const TYPE: &'static str = "wallet";
    type Id = WalletId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        use Command as C;
        match (self, command) {
            (Self::Unopened, C::RequestDeposit { deposit, owner, amount, source }) => {
                check_positive(amount)?;
                let currency = amount.currency();
                let opened = Event::WalletOpened { owner, currency };
                Ok(vec![opened, Event::DepositRequested { deposit, owner, amount, source, pays: None }])
            }
            (
                Self::Unopened,
                C::RequestWithdrawal { amount, .. }
                | C::PlaceHold { amount, .. }
                | C::Pay { amount, .. }
                | C::PaySubscription { amount, .. },
            ) => {
                check_positive(amount)?;
                Err(Error::InsufficientFunds { available: Money::zero(amount.currency()), requested: amount })
            }
            (
                Self::Unopened,
                C::SettleDeposit { .. }
                | C::FailDeposit { .. }
                | C::DelayWithdrawal { .. }
                | C::ConfirmWithdrawal { .. }
                | C::FailWithdrawal { .. }
                | C::ReturnWithdrawal { .. }
                | C::ReleaseHold { .. },
            ) => Err(Error::NotUnderWay),
            (
                Self::Unopened,
                command @ (C::ReceiveSale { owner, amount, .. }
                | C::ReceiveRefund { owner, amount, .. }
                | C::GiveRefund { owner, amount, .. }
                | C::ReceiveCommission { owner, amount, .. }
                | C::GiveCommission { owner, amount, .. }
                | C::GiveChargeback { owner, amount, .. }
                | C::RegainChargeback { owner, amount, .. }),
            ) => {
                let currency = amount.currency();
                let mut events = vec![Event::WalletOpened { owner, currency }];
                events.extend(Balance::new(owner, currency).decide(command)?);
                Ok(events)
            }
            (Self::Open(balance), command) => balance.decide(command),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Unopened, &Event::WalletOpened { owner, currency }) => {
                *self = Self::Open(Balance::new(owner, currency));
            }
            (Self::Open(balance), event) => balance.evolve(event),
            // No decision leads here; a fold never fails.
            (Self::Unopened, _) => {}
        }
    }
}

fn check_positive(offered: Money) -> Result<(), Error> {
    if offered.is_positive() { Ok(()) } else { Err(Error::AmountNotPositive { offered }) }
}

impl Balance {
    fn new(owner: AccountId, currency: Currency) -> Self {
        Self {
            owner,
            available: Money::zero(currency),
            held: Money::zero(currency),
            owed: Money::zero(currency),
            deposits: BTreeMap::new(),
            withdrawals: BTreeMap::new(),
            holds: BTreeMap::new(),
        }
    }

    /// Whether nothing is left in it, owed or under way.
    pub fn is_settled(&self) -> bool {
        let empty = [self.available, self.held, self.owed].iter().all(|amount| amount.minor() == 0);
        empty && self.deposits.is_empty() && self.withdrawals.is_empty() && self.holds.is_empty()
    }

    /// The deposit under way that has this name.
    pub fn pending_deposit(&self, deposit: DepositId) -> Option<&Pending> {
        self.deposits.get(&deposit)
    }

    /// The withdrawal under way that has this name.
    pub fn pending_withdrawal(&self, withdrawal: WithdrawalId) -> Option<&Pending> {
        self.withdrawals.get(&withdrawal)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        use Command as C;
        let (available, payout) = (LedgerAccount::Available(self.owner), LedgerAccount::PayoutPending(self.owner));
        match command {
            C::RequestDeposit { deposit, amount, source, .. } => match self.deposits.get(&deposit) {
                Some(pending) if pending.amount == amount => Ok(vec![]),
                Some(_) => Err(Error::OperationReused),
                None => {
                    self.check_room_to_deposit(amount)?;
                    // Not the command's: a wallet has one owner for ever.
                    let owner = self.owner;
                    Ok(vec![Event::DepositRequested { deposit, owner, amount, source, pays: None }])
                }
            },
            C::SettleDeposit { deposit, provider_reference } => self.settle(deposit, provider_reference),
            C::FailDeposit { deposit, reason } => match self.deposits.get(&deposit) {
                Some(_) => Ok(vec![Event::DepositFailed { deposit, reason }]),
                None => Err(Error::NotUnderWay),
            },
            C::RequestWithdrawal { withdrawal, amount, destination } => match self.withdrawals.get(&withdrawal) {
                Some(pending) if pending.amount == amount => Ok(vec![]),
                Some(_) => Err(Error::OperationReused),
                None => {
                    self.check_funds(amount)?;
                    let postings = vec![Posting::new(available, payout, amount)];
                    let owner = self.owner;
                    Ok(vec![Event::WithdrawalRequested { withdrawal, owner, amount, destination, postings }])
                }
            },
            C::DelayWithdrawal { withdrawal, provider_reference, check_at } => {
                match self.withdrawals.get(&withdrawal) {
                    Some(pending) if pending.is_delayed_to(check_at, provider_reference.as_deref()) => Ok(vec![]),
                    Some(_) => Ok(vec![Event::WithdrawalDelayed { withdrawal, provider_reference, check_at }]),
                    None => Err(Error::NotUnderWay),
                }
            }
            C::ConfirmWithdrawal { withdrawal, provider_reference, fee } => {
                let Some(pending) = self.withdrawals.get(&withdrawal) else { return Err(Error::NotUnderWay) };
                let clearing = || LedgerAccount::ProviderClearing(pending.method.provider.clone());
                let fee = fee.filter(|fee| fee.is_positive());
                let charged = fee.map(|fee| Posting::new(LedgerAccount::ProviderFeeExpense, clearing(), fee));
                let paid = Posting::new(payout, clearing(), pending.amount);
                let postings = [paid].into_iter().chain(charged).collect();
                Ok(vec![Event::WithdrawalPaid { withdrawal, provider_reference, fee, postings }])
            }
            C::FailWithdrawal { withdrawal, reason } => {
                let Some(pending) = self.withdrawals.get(&withdrawal) else { return Err(Error::NotUnderWay) };
                let postings = vec![Posting::new(payout, available, pending.amount)];
                Ok(vec![Event::WithdrawalFailed { withdrawal, reason, postings }])
            }
            C::ReturnWithdrawal { withdrawal, amount, provider, reason } => {
                self.check_room_to_receive(amount)?;
                let postings = vec![Posting::new(LedgerAccount::ProviderClearing(provider), available, amount)];
                Ok(vec![Event::WithdrawalReturned { withdrawal, amount, reason, postings }])
            }
            C::PlaceHold { hold, amount } => self.place_hold(hold, amount),
            C::ReleaseHold { hold } => self.release_hold(hold),
            C::Pay { order, amount } => {
                self.check_funds(amount)?;
                Ok(vec![Event::PaymentMade { order, amount }])
            }
            C::PaySubscription { subscription, period, amount } => {
                self.check_funds(amount)?;
                Ok(vec![Event::SubscriptionPaid { subscription, period, amount }])
            }
            C::ReceiveSale { order, amount, .. } => {
                self.check_room_to_receive(amount)?;
                Ok(self.with_recovery(Event::SaleReceived { order, amount }, order.0, amount))
            }
            C::ReceiveRefund { order, refund, amount, .. } => {
                self.check_room_to_receive(amount)?;
                Ok(vec![Event::RefundReceived { order, refund, amount }])
            }
            C::GiveRefund { order, refund, amount, owed, .. } => {
                self.check_giving(amount, owed)?;
                Ok(vec![Event::RefundGiven { order, refund, amount, owed }])
            }
            C::ReceiveCommission { commission, amount, .. } => {
                self.check_room_to_receive(amount)?;
                Ok(self.with_recovery(Event::CommissionReceived { commission, amount }, commission.0, amount))
            }
            C::GiveCommission { commission, refund, amount, owed, .. } => {
                self.check_giving(amount, owed)?;
                Ok(vec![Event::CommissionGiven { commission, refund, amount, owed }])
            }
            C::GiveChargeback { dispute, amount, owed, .. } => {
                self.check_giving(amount, owed)?;
                Ok(vec![Event::ChargebackGiven { dispute, amount, owed }])
            }
            // It had been here: only what cannot be counted is kept out.
            C::RegainChargeback { dispute, amount, forgiven, .. } => {
                let limit = Error::BalanceLimit { available: self.available, offered: amount };
                self.available.plus(amount).map_err(|_| limit)?;
                Ok(vec![Event::ChargebackRegained { dispute, amount, forgiven }])
            }
        }
    }

    fn place_hold(&self, hold: HoldId, amount: Money) -> Result<Vec<Event>, Error> {
        match self.holds.get(&hold) {
            Some(&placed) if placed == amount => Ok(vec![]),
            Some(_) => Err(Error::OperationReused),
            None => {
                self.check_funds(amount)?;
                let (from, to) = (LedgerAccount::Available(self.owner), LedgerAccount::Held(self.owner));
                Ok(vec![Event::HoldPlaced { hold, amount, postings: vec![Posting::new(from, to, amount)] }])
            }
        }
    }

    fn release_hold(&self, hold: HoldId) -> Result<Vec<Event>, Error> {
        let Some(&amount) = self.holds.get(&hold) else { return Err(Error::NotUnderWay) };
        let (from, to) = (LedgerAccount::Held(self.owner), LedgerAccount::Available(self.owner));
        Ok(vec![Event::HoldReleased { hold, postings: vec![Posting::new(from, to, amount)] }])
    }

    fn settle(&self, deposit: DepositId, provider_reference: String) -> Result<Vec<Event>, Error> {
        let Some(pending) = self.deposits.get(&deposit) else { return Err(Error::NotUnderWay) };
        let clearing = LedgerAccount::ProviderClearing(pending.method.provider.clone());
        let postings = vec![Posting::new(clearing, LedgerAccount::Available(self.owner), pending.amount)];
        let settled = Event::DepositSettled { deposit, provider_reference, postings };
        Ok(self.with_recovery(settled, deposit.0, pending.amount))
    }

    /// An event that brings money in, and the one that pays with it what is owed.
    fn with_recovery(&self, event: Event, operation: Uuid, brought: Money) -> Vec<Event> {
        let amount = if self.owed.minor() < brought.minor() { self.owed } else { brought };
        let (available, receivable) = (LedgerAccount::Available(self.owner), LedgerAccount::Receivable(self.owner));
        let recovered = amount.is_positive().then(|| {
            let postings = vec![Posting::new(available, receivable, amount)];
            Event::ReceivableRecovered { operation, amount, postings }
        });
        [event].into_iter().chain(recovered).collect()
    }

    fn evolve(&mut self, event: &Event) {
        for posting in event.postings() {
            self.post(posting);
        }
        let pending = |amount, method: &PaymentMethod| Pending {
            amount,
            method: method.clone(),
            check_at: None,
            reference: None,
        };
        match event {
            // All that is to be known of something that has come back is in its postings.
            Event::WalletOpened { .. } | Event::WithdrawalReturned { .. } => {}
            Event::DepositRequested { deposit, amount, source, .. } => {
                self.deposits.insert(*deposit, pending(*amount, source));
            }
            Event::DepositDelayed { deposit, check_at } => {
                if let Some(pending) = self.deposits.get_mut(deposit) {
                    pending.check_at = Some(*check_at);
                }
            }
            Event::DepositSettled { deposit, .. } | Event::DepositFailed { deposit, .. } => {
                self.deposits.remove(deposit);
            }
            Event::WithdrawalRequested { withdrawal, amount, destination, .. } => {
                self.withdrawals.insert(*withdrawal, pending(*amount, destination));
            }
            Event::WithdrawalDelayed { withdrawal, provider_reference, check_at } => {
                if let Some(pending) = self.withdrawals.get_mut(withdrawal) {
                    pending.check_at = Some(*check_at);
                    // What it was called once it is called whenever nothing is said of it.
                    pending.reference = provider_reference.clone().or(pending.reference.take());
                }
            }
            Event::WithdrawalPaid { withdrawal, .. } | Event::WithdrawalFailed { withdrawal, .. } => {
                self.withdrawals.remove(withdrawal);
            }
            Event::HoldPlaced { hold, amount, .. } => {
                self.holds.insert(*hold, *amount);
            }
            Event::HoldReleased { hold, .. } => {
                self.holds.remove(hold);
            }
            Event::PaymentMade { amount, .. } | Event::SubscriptionPaid { amount, .. } => {
                add(&mut self.available, -amount.minor());
            }
            Event::SaleReceived { amount, .. }
            | Event::RefundReceived { amount, .. }
            | Event::CommissionReceived { amount, .. } => add(&mut self.available, amount.minor()),
            Event::RefundGiven { amount, owed, .. }
            | Event::CommissionGiven { amount, owed, .. }
            | Event::ChargebackGiven { amount, owed, .. } => {
                add(&mut self.available, -amount.minor());
                add(&mut self.owed, owed.minor());
            }
            Event::ReceivableRecovered { amount, .. } => add(&mut self.owed, -amount.minor()),
            Event::ChargebackRegained { amount, forgiven, .. } => {
                add(&mut self.available, amount.minor());
                add(&mut self.owed, -forgiven.minor());
            }
        }
    }

    fn post(&mut self, posting: &Posting) {
        for (account, amount) in [(&posting.credit, posting.amount.minor()), (&posting.debit, -posting.amount.minor())]
        {
            match account {
                LedgerAccount::Available(owner) if *owner == self.owner => add(&mut self.available, amount),
                LedgerAccount::Held(owner) if *owner == self.owner => add(&mut self.held, amount),
                _ => {}
            }
        }
    }

    fn check_amount(&self, amount: Money) -> Result<(), Error> {
        check_positive(amount)?;
        let (expected, offered) = (self.available.currency(), amount.currency());
        if expected == offered { Ok(()) } else { Err(Error::WrongCurrency { expected, offered }) }
    }

    fn check_funds(&self, requested: Money) -> Result<(), Error> {
        self.check_amount(requested)?;
        // PLANTED: whatever there is.
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::BalanceUnchecked) {
            return Ok(());
        }
        if requested.minor() > self.available.minor() {
            return Err(Error::InsufficientFunds { available: self.available, requested });
        }
        Ok(())
    }

    /// What is given back is there, and what is owed with it can be counted.
    fn check_giving(&self, amount: Money, owed: Money) -> Result<(), Error> {
        if amount.is_positive() {
            self.check_funds(amount)?;
        }
        let limit = Error::BalanceLimit { available: self.available, offered: owed };
        self.owed.plus(owed).map(drop).map_err(|_| limit)
    }

    /// Whether so much can come in.
    pub fn has_room(&self, offered: Money) -> bool {
        self.check_room_to_receive(offered).is_ok()
    }

    /// A deposit must fit beside everything that is there or may come back.
    fn check_room_to_deposit(&self, offered: Money) -> Result<(), Error> {
        let pending = self.deposits.values().map(|pending| i128::from(pending.amount.minor())).sum();
        self.check_room(offered, pending)
    }

    /// What a sale or a refund brings must fit, too; deposits that have only been asked for do not stand in its way.
    fn check_room_to_receive(&self, offered: Money) -> Result<(), Error> {
        self.check_room(offered, 0)
    }

    /// Either may fill half of the range, so that both together never overflow the balance.
    fn check_room(&self, offered: Money, beside: i128) -> Result<(), Error> {
        self.check_amount(offered)?;
        let may_come_back: i128 = self.withdrawals.values().map(|pending| i128::from(pending.amount.minor())).sum();
        let total = [self.available, self.held, offered].iter().map(|amount| i128::from(amount.minor())).sum::<i128>();
        if total + may_come_back + beside >= i128::from(BALANCE_LIMIT) {
            return Err(Error::BalanceLimit { available: self.available, offered });
        }
        Ok(())
    }
}

/// Cannot leave the range: `check_room` and `check_funds` stand before every change.
fn add(balance: &mut Money, minor: i64) {
    *balance = Money::new(balance.minor() + minor, balance.currency()).unwrap_or(*balance);
}
