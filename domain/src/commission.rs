//! What an affiliate earns with one order of an account that it has sent here.
//!
//! `NoSale → Pending → Vested`. It accrues when the order is paid and vests when the seller is paid, into the affiliate's
//! wallet; both in the commit of the order's [`crate::escrow`], as is every reversal. The rate was frozen at the purchase;
//! the commission is that share, rounded half-up once, of what the seller keeps of the order's fee base, and where that was
//! promised never more than the marketplace's fee on it, so that nobody is paid for a trade with oneself out of another's
//! pocket. So whatever goes back to the buyer takes its part of the commission along, before it has vested and after; what
//! the affiliate has not available any more is owed. Whoever is forgotten owes nothing, since nobody is left to pay: that
//! part stays the marketplace's affiliate expense, as which it was booked when it accrued. Invariants: what has accrued is
//! pending, vested or reversed, to the cent; an order has one commission, whose id follows from the order's. Every event
//! carries its complete postings; the affiliate's wallet follows in the same commit.

use std::ops::Not;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, CommissionId, OrderId, ReferralClickId, RefundId};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::{Money, MoneyError};

#[cfg(test)]
mod tests;

/// What is asked of a commission.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Come into being: the order is paid.
    Accrue {
        /// The order.
        order: OrderId,
        /// Who earns how much, as frozen at the purchase.
        promise: Promise,
        /// The order's fee base.
        base: Money,
        /// The marketplace's fee on it.
        fee: Money,
    },
    /// Go to the affiliate: the seller is paid.
    Vest {},
    /// Go to nobody, if it has not vested: the affiliate cannot be paid.
    Forgo {},
    /// Shrink to the share of what is left of the fee base.
    Reverse {
        /// The movement of the order's money.
        refund: RefundId,
        /// What is left of the fee base.
        left: Money,
        /// What is left of the marketplace's fee.
        fee: Money,
        /// What the affiliate has available.
        available: Money,
        /// Whether the rest of what has vested is owed. Nobody is left to owe it once the account is forgotten.
        can_owe: bool,
    },
}

/// Who earns with an order, frozen at the purchase. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// Who.
    pub affiliate: AccountId,
    /// The click by which the buyer came.
    pub click: ReferralClickId,
    /// Which share of the fee base, in basis points.
    pub rate_bps: u32,
    /// Whether it is never more than the marketplace's fee.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub within_fee: bool,
}

impl Promise {
    fn due(&self, base: Money, fee: Money) -> Result<Money, MoneyError> {
        let share = base.share_bps(self.rate_bps)?;
        if self.within_fee { share.min(fee) } else { Ok(share) }
    }
}

/// Why some of a commission is taken back before it has vested. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReversalCause {
    /// Money went back to the buyer.
    Refunded {
        /// The movement; what staff has divided counts as one with the order's id.
        refund: RefundId,
        /// What is left of the fee base.
        left: Money,
    },
    /// The affiliate cannot be paid: the account is forgotten, or its wallet is full.
    CannotBePaid,
}

/// What happens to a commission. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// The order was paid.
    CommissionAccrued {
        /// The order.
        order: OrderId,
        /// Who earns how much, as frozen at the purchase.
        promise: Promise,
        /// The order's fee base.
        base: Money,
        /// The marketplace's fee on it, where that is the most that is earned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fee: Option<Money>,
        /// How much that is.
        amount: Money,
        /// Affiliate expense → affiliate pending.
        postings: Vec<Posting>,
    },
    /// The affiliate has it.
    CommissionVested {
        /// How much.
        amount: Money,
        /// Affiliate pending → affiliate available.
        postings: Vec<Posting>,
    },
    /// Some or all of it was taken back before it had vested.
    CommissionReversed {
        /// Why.
        cause: ReversalCause,
        /// How much.
        amount: Money,
        /// Affiliate pending → affiliate expense.
        postings: Vec<Posting>,
    },
    /// Some or all of it was taken back after it had vested.
    VestedCommissionReversed {
        /// The movement of the order's money.
        refund: RefundId,
        /// What is left of the fee base.
        left: Money,
        /// How much.
        amount: Money,
        /// The part of it that the affiliate had available.
        from_available: Money,
        /// The part of it that the affiliate owes the marketplace from now on.
        owed: Money,
        /// Affiliate available and affiliate receivable → affiliate expense.
        postings: Vec<Posting>,
    },
}

event_versions!(Event {
    CommissionAccrued = "2" | "1",
    CommissionVested = "1",
    CommissionReversed = "1",
    VestedCommissionReversed = "1",
});

impl Event {
    /// The movements of money that this event is.
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::CommissionAccrued { postings, .. }
            | Self::CommissionVested { postings, .. }
            | Self::CommissionReversed { postings, .. }
            | Self::VestedCommissionReversed { postings, .. } => postings,
        }
    }
}

/// Why a commission refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// One order, one commission.
    #[error("the order has a commission already")]
    AlreadyAccrued,
    /// Amounts that cannot be computed.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A commission.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Commission {
    /// Nobody earns anything with this order.
    #[default]
    NoSale,
    /// The seller is not paid yet.
    Pending(Earned),
    /// The affiliate has it.
    Vested(Earned),
}

/// Who earns how much.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Earned {
    /// With which order.
    pub order: OrderId,
    /// As frozen at the purchase.
    pub promise: Promise,
    /// How much is left of it.
    pub amount: Money,
}

impl Commission {
    /// Who earns how much, if anybody does.
    pub fn earned(&self) -> Option<&Earned> {
        match self {
            Self::NoSale => None,
            Self::Pending(earned) | Self::Vested(earned) => Some(earned),
        }
    }

    fn earned_mut(&mut self) -> Option<&mut Earned> {
        match self {
            Self::NoSale => None,
            Self::Pending(earned) | Self::Vested(earned) => Some(earned),
        }
    }
}

impl Aggregate for Commission {
    const TYPE: &'static str = "commission";
    type Id = CommissionId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::NoSale, Command::Accrue { order, promise, base, fee }) => accrue(order, promise, base, fee),
            (Self::Pending(_) | Self::Vested(_), Command::Accrue { .. }) => Err(Error::AlreadyAccrued),
            // Nobody earns with it, or has what was earned.
            (Self::NoSale, Command::Vest {} | Command::Forgo {} | Command::Reverse { .. })
            | (Self::Vested(_), Command::Vest {} | Command::Forgo {}) => Ok(vec![]),
            (Self::Pending(earned), Command::Vest {}) => Ok(earned.vest()),
            (Self::Pending(earned), Command::Forgo {}) => {
                Ok(earned.reverse(ReversalCause::CannotBePaid, earned.amount))
            }
            (Self::Pending(earned), Command::Reverse { refund, left, fee, .. }) => {
                Ok(earned.reverse(ReversalCause::Refunded { refund, left }, earned.surplus(left, fee)?))
            }
            (Self::Vested(earned), Command::Reverse { refund, left, fee, available, can_owe }) => {
                let surplus = earned.surplus(left, fee)?;
                let amount = if can_owe { surplus } else { surplus.min(available)? };
                earned.reverse_vested(refund, left, amount, available)
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::CommissionAccrued { order, promise, base: _, fee: _, amount, postings: _ } => {
                *self = Self::Pending(Earned { order: *order, promise: *promise, amount: *amount });
            }
            Event::CommissionVested { .. } => {
                if let Self::Pending(earned) = *self {
                    *self = Self::Vested(earned);
                }
            }
            Event::CommissionReversed { amount, .. } | Event::VestedCommissionReversed { amount, .. } => {
                if let Some(earned) = self.earned_mut() {
                    // Never more than there is.
                    earned.amount = earned.amount.minus(*amount).unwrap_or(earned.amount);
                }
            }
        }
    }
}

fn accrue(order: OrderId, promise: Promise, base: Money, fee: Money) -> Result<Vec<Event>, Error> {
    let amount = promise.due(base, fee)?;
    // Of little a share may be nothing.
    if !amount.is_positive() {
        return Ok(vec![]);
    }
    let pending = LedgerAccount::AffiliatePending(promise.affiliate);
    let postings = vec![Posting::new(LedgerAccount::AffiliateExpense, pending, amount)];
    Ok(vec![Event::CommissionAccrued {
        order,
        promise,
        base,
        fee: promise.within_fee.then_some(fee),
        amount,
        postings,
    }])
}

impl Earned {
    fn vest(&self) -> Vec<Event> {
        let Self { promise: Promise { affiliate, .. }, amount, .. } = *self;
        if !amount.is_positive() {
            return vec![];
        }
        let (pending, available) = (LedgerAccount::AffiliatePending(affiliate), LedgerAccount::Available(affiliate));
        vec![Event::CommissionVested { amount, postings: vec![Posting::new(pending, available, amount)] }]
    }

    /// How much is earned if so much is left of the fee base, and of the fee.
    pub fn due(&self, left: Money, fee: Money) -> Result<Money, MoneyError> {
        self.promise.due(left, fee)
    }

    /// What is too much of it, now that so much is left of the fee base, and of the fee.
    fn surplus(&self, left: Money, fee: Money) -> Result<Money, Error> {
        let surplus = self.amount.minus(self.due(left, fee)?)?;
        // What cannot be paid was reversed before, and cents of a fee wander between lines.
        Ok(surplus.max(Money::zero(surplus.currency()))?)
    }

    fn reverse(&self, cause: ReversalCause, amount: Money) -> Vec<Event> {
        if !amount.is_positive() {
            return vec![];
        }
        let pending = LedgerAccount::AffiliatePending(self.promise.affiliate);
        let postings = vec![Posting::new(pending, LedgerAccount::AffiliateExpense, amount)];
        vec![Event::CommissionReversed { cause, amount, postings }]
    }

    fn reverse_vested(
        &self,
        refund: RefundId,
        left: Money,
        amount: Money,
        available: Money,
    ) -> Result<Vec<Event>, Error> {
        if !amount.is_positive() {
            return Ok(vec![]);
        }
        let from_available = amount.min(available)?;
        let owed = amount.minus(from_available)?;
        let affiliate = self.promise.affiliate;
        let parts =
            [(LedgerAccount::Available(affiliate), from_available), (LedgerAccount::Receivable(affiliate), owed)];
        let posting = |(from, part): (LedgerAccount, Money)| {
            part.is_positive().then(|| Posting::new(from, LedgerAccount::AffiliateExpense, part))
        };
        let postings = parts.into_iter().filter_map(posting).collect();
        Ok(vec![Event::VestedCommissionReversed { refund, left, amount, from_available, owed, postings }])
    }
}
