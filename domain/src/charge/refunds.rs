//! Money on its way back to where it was charged.
//!
//! `Asked → Refunded | Failed | TakenBack`. What failed is tried again, each time under another operation, and after the
//! last time stays where it is in the books: it belongs to whoever paid. What was sent and comes back is as if it had
//! failed. What the payer has got from the bank instead, by a dispute, is not asked for any more, unless the dispute is won.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Error, Event, Phase, Requested};
use crate::Timestamp;
use crate::ids::{OrderId, RefundId};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::Money;

/// How often a provider is asked for one refund.
pub const MOST_ATTEMPTS: u32 = 3;
/// So long after a refund has failed it is tried again.
pub const RETRIED_AFTER: TimeDelta = TimeDelta::days(1);

/// A refund, and where it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refund {
    /// The order that it comes from; none of what has paid nothing.
    pub order: Option<OrderId>,
    /// How much.
    pub amount: Money,
    /// How often the provider was asked.
    pub attempt: u32,
    /// Where it is.
    pub state: Refunding,
}

/// Where a refund is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Refunding {
    /// The provider is asked.
    Asked {
        /// The provider's name for it.
        reference: Option<String>,
        /// When it is asked again; never yet, if it has not answered.
        check_at: Option<Timestamp>,
    },
    /// It is where it was charged.
    Refunded {
        /// The provider's name for it.
        reference: String,
    },
    /// It is not.
    Failed {
        /// When it is tried again, if it is.
        retry_at: Option<Timestamp>,
    },
    /// The payer has disputed the charge, and has it from the bank.
    TakenBack,
}

impl Refunding {
    /// When the provider is asked again how it ends, if it has said that it does not know yet.
    pub fn check_at(&self) -> Option<Timestamp> {
        match self {
            Self::Asked { check_at, .. } => *check_at,
            Self::Refunded { .. } | Self::Failed { .. } | Self::TakenBack => None,
        }
    }
}

impl Refund {
    pub(super) fn new(order: Option<OrderId>, amount: Money) -> Self {
        Self { order, amount, attempt: 1, state: Refunding::Asked { reference: None, check_at: None } }
    }

    pub(super) fn evolve(&mut self, event: &Event) {
        match event {
            Event::ChargeRefundDelayed { reference, check_at, .. } => {
                self.state = Refunding::Asked { reference: reference.clone(), check_at: Some(*check_at) };
            }
            Event::ChargeRefunded { reference, .. } => {
                self.state = Refunding::Refunded { reference: reference.clone() };
            }
            Event::ChargeRefundFailed { retry_at, .. } => self.state = Refunding::Failed { retry_at: *retry_at },
            Event::ChargeRefundRetried { attempt, .. } => {
                self.attempt = *attempt;
                self.state = Refunding::Asked { reference: None, check_at: None };
            }
            // No other event is about a refund that is there.
            Event::ChargeRequested { .. }
            | Event::ChargeDelayed { .. }
            | Event::ChargeActionRequired { .. }
            | Event::ChargeSucceeded { .. }
            | Event::ChargeFailed { .. }
            | Event::ProviderFeeCharged { .. }
            | Event::ChargeRefundRequested { .. }
            | Event::ChargeDisputed { .. }
            | Event::ChargeDisputeWon { .. }
            | Event::ChargeDisputeLost { .. } => {}
        }
    }
}

impl Requested {
    pub(super) fn refund(&self, refund: RefundId, order: OrderId, amount: Money) -> Result<Vec<Event>, Error> {
        if let Phase::Open { .. } | Phase::Failed { .. } = self.phase {
            return Err(Error::NotSucceeded);
        }
        if !amount.is_positive() {
            return Err(Error::AmountNotPositive { offered: amount });
        }
        if self.refunds.contains_key(&refund) {
            return Ok(vec![]);
        }
        let remaining = self.refunds.values().try_fold(self.terms.amount, |left, refund| left.minus(refund.amount))?;
        if amount.minor_in(remaining.currency())? > remaining.minor() {
            return Err(Error::MoreThanCharged { remaining, offered: amount });
        }
        Ok(vec![Event::ChargeRefundRequested { refund, order: Some(order), amount }])
    }

    pub(super) fn delay_refund(&self, refund: RefundId, reference: Option<String>, check_at: Timestamp) -> Vec<Event> {
        match self.refunds.get(&refund).map(|refund| &refund.state) {
            Some(Refunding::Asked { reference: known, .. }) => {
                let reference = reference.or_else(|| known.clone());
                vec![Event::ChargeRefundDelayed { refund, reference, check_at }]
            }
            Some(Refunding::Refunded { .. } | Refunding::Failed { .. } | Refunding::TakenBack) | None => vec![],
        }
    }

    pub(super) fn confirm_refund(&self, refund: RefundId, reference: String) -> Result<Vec<Event>, Error> {
        let known = self.refunds.get(&refund).ok_or(Error::NotFound)?;
        let confirmed = |from| {
            let postings = vec![Posting::new(from, self.clearing(), known.amount)];
            Ok(vec![Event::ChargeRefunded { refund, attempt: known.attempt, reference, postings }])
        };
        match known.state {
            Refunding::Asked { .. } => confirmed(self.waits_in(known.order)),
            // The payer has it twice: nobody else is to bear that.
            Refunding::TakenBack => confirmed(LedgerAccount::ChargebackExpense),
            // What has failed is asked for again under another operation, which says for itself how it ends.
            Refunding::Refunded { .. } | Refunding::Failed { .. } => Ok(vec![]),
        }
    }

    pub(super) fn fail_refund(&self, refund: RefundId, reason: String, now: Timestamp) -> Result<Vec<Event>, Error> {
        let known = self.refunds.get(&refund).ok_or(Error::NotFound)?;
        let postings = match known.state {
            Refunding::Asked { .. } => vec![],
            // It had been there, and has come back.
            Refunding::Refunded { .. } => {
                vec![Posting::new(self.clearing(), self.waits_in(known.order), known.amount)]
            }
            Refunding::Failed { .. } | Refunding::TakenBack => return Ok(vec![]),
        };
        let attempt = known.attempt;
        // While a bank decides, nothing is sent back: that says nothing of the card.
        let again = attempt < MOST_ATTEMPTS || self.is_disputed();
        let retry_at = again.then(|| now + RETRIED_AFTER);
        Ok(vec![Event::ChargeRefundFailed { refund, attempt, reason, retry_at, postings }])
    }

    pub(super) fn retry_refund(&self, refund: RefundId, now: Timestamp) -> Result<Vec<Event>, Error> {
        let known = self.refunds.get(&refund).ok_or(Error::NotFound)?;
        match known.state {
            Refunding::Failed { retry_at: Some(retry_at) } if now < retry_at => {
                Err(Error::TooEarlyToRetry { retry_at })
            }
            Refunding::Failed { retry_at: Some(_) } => {
                Ok(vec![Event::ChargeRefundRetried { refund, attempt: known.attempt.saturating_add(1) }])
            }
            Refunding::Failed { retry_at: None }
            | Refunding::Asked { .. }
            | Refunding::Refunded { .. }
            | Refunding::TakenBack => Ok(vec![]),
        }
    }

    /// Whether the payer has a refund from the bank, by a dispute.
    pub(super) fn is_taken_back(&self, refund: RefundId) -> bool {
        self.refunds.get(&refund).is_some_and(|refund| refund.state == Refunding::TakenBack)
    }

    /// The refunds of an order, or of what has paid nothing, that have not arrived, and their amounts.
    pub fn refunds_on_their_way(&self, order: Option<OrderId>) -> impl Iterator<Item = (RefundId, Money)> {
        let waits = |refund: &Refund| match refund.state {
            Refunding::Asked { .. } | Refunding::Failed { .. } => true,
            Refunding::Refunded { .. } | Refunding::TakenBack => false,
        };
        let of_it = self.refunds.iter().filter(move |(_, refund)| refund.order == order && waits(refund));
        of_it.map(|(id, refund)| (*id, refund.amount))
    }

    /// Where the money is while it has not gone back.
    pub(super) fn waits_in(&self, order: Option<OrderId>) -> LedgerAccount {
        match order {
            None => LedgerAccount::Unapplied(self.terms.charge),
            Some(_) => LedgerAccount::RefundPending(self.terms.charge),
        }
    }
}
