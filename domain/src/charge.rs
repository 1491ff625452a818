//! Money that is brought in from a payment method: for a wallet, or straight into the escrows of a checkout.
//!
//! `Unrequested → Open → Succeeded | Failed`, and `Failed → Succeeded`, since providers let a payer try again what was
//! declined. While it is open the provider is asked: it may take its time, or wait for the payer to do something. What
//! succeeds pays what it was for if that still waits; the rest, or all of it where that is too late, is `unapplied` and
//! goes back to where it came from by itself. So does what a guest gets back of an order, who has no wallet. Later the
//! payer may dispute the charge at the provider, which takes the money back until it is decided. See the files `refunds`
//! and `disputes` beside this one.
//!
//! Invariants: it succeeds once, with the amount that was asked for; what went into it is applied or unapplied, to the
//! cent; no refund is sent twice, nor more than came in; a dispute takes money once, whichever of its messages comes
//! first. Events that move money carry their complete postings; what goes into an escrow or a wallet, and out of one, is
//! posted by their events of the same commit.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ChargeId, DisputeId, OrderGroupId, OrderId, RefundId, WalletId};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::{Money, MoneyError};
use crate::wallet::PaymentMethod;

mod disputes;
mod refunds;
#[cfg(test)]
mod tests;

pub use disputes::{Bearer, Dispute, Share};
pub use refunds::{MOST_ATTEMPTS, RETRIED_AFTER, Refund, Refunding};

/// The most attempts to pay one checkout by card.
pub const MOST_CHARGES: u32 = 10;

/// What is asked of a charge.
#[derive(Clone, Debug)]
pub enum Command {
    /// Ask the provider for the money.
    Request {
        /// What is charged, and what for.
        terms: Terms,
    },
    /// Note that the provider will know more later.
    Delay {
        /// The provider's name for it, if it has one already.
        reference: Option<String>,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// Note that the payer has to do something first.
    AwaitAction {
        /// The provider's name for it.
        reference: String,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// Take the money in.
    Succeed {
        /// The provider's name for it.
        reference: String,
        /// What the provider keeps for it, if it has said so.
        fee: Option<Money>,
        /// What it pays, which the escrows or the wallet take in the same commit. The rest goes back.
        applied: Vec<Part>,
    },
    /// Give the attempt up.
    Fail {
        /// The provider's reason.
        reason: String,
    },
    /// Book what the provider keeps, where it says so after the success.
    NoteFee {
        /// How much.
        fee: Money,
    },
    /// Send back to where it was charged what the escrow of an order has given back in the same commit.
    Refund {
        /// Names it.
        refund: RefundId,
        /// The order.
        order: OrderId,
        /// How much.
        amount: Money,
    },
    /// Note that the provider will know more of a refund later.
    DelayRefund {
        /// The refund.
        refund: RefundId,
        /// The provider's name for it, if it has one already.
        reference: Option<String>,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// Note that a refund is where it was charged.
    ConfirmRefund {
        /// The refund.
        refund: RefundId,
        /// The provider's name for it.
        reference: String,
    },
    /// Note that a refund is not there, or has come back from there.
    FailRefund {
        /// The refund.
        refund: RefundId,
        /// The provider's reason.
        reason: String,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Ask the provider once more for a refund that has failed.
    RetryRefund {
        /// The refund.
        refund: RefundId,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Book what the provider has taken back because the payer disputes it.
    OpenDispute {
        /// The dispute.
        dispute: DisputeId,
        /// The provider's name for it.
        name: String,
        /// How much was taken back.
        amount: Money,
        /// The provider's word for why.
        reason: String,
        /// Who bears it.
        shares: Vec<Share>,
    },
    /// Book what has come back because the dispute is won.
    WinDispute {
        /// The dispute.
        dispute: DisputeId,
        /// What those who have borne a part of it owe now.
        owing: BTreeMap<AccountId, Money>,
    },
    /// Note that what was taken is gone.
    LoseDispute {
        /// The dispute.
        dispute: DisputeId,
    },
}

/// What is charged, by whom and what for. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Its own id.
    pub charge: ChargeId,
    /// Who pays: an account, or the guest of an order.
    pub payer: AccountId,
    /// Whether it is a guest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guest: bool,
    /// What for.
    pub purpose: Purpose,
    /// How much.
    pub amount: Money,
    /// From where.
    pub method: PaymentMethod,
    /// When: a provider knows the name of an operation again for some time only.
    pub requested_at: Timestamp,
}

/// What money is brought in for. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The wallet of the payer; the deposit has the charge's id.
    Deposit(WalletId),
    /// The orders of a checkout that wait.
    Orders(OrderGroupId),
}

/// What a charge pays of one thing. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The order, whose escrow it goes to; none of a deposit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// How much.
    pub amount: Money,
}

/// What happens to a charge. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// The provider is to be asked.
    ChargeRequested {
        /// What is charged, and what for.
        terms: Terms,
    },
    /// The provider does not know yet.
    ChargeDelayed {
        /// The provider's name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// The payer has to do something first.
    ChargeActionRequired {
        /// The provider's name for it.
        reference: String,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// The money is in.
    ChargeSucceeded {
        /// The provider's name for it.
        reference: String,
        /// What it pays.
        applied: Vec<Part>,
        /// What it does not pay, and what goes back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unapplied: Option<Money>,
        /// What the provider keeps for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fee: Option<Money>,
        /// Provider clearing → unapplied, provider fee expense → provider clearing. What it pays is posted there.
        postings: Vec<Posting>,
    },
    /// The provider refused.
    ChargeFailed {
        /// The provider's reason.
        reason: String,
    },
    /// The provider has told what it keeps.
    ProviderFeeCharged {
        /// How much.
        fee: Money,
        /// Provider fee expense → provider clearing.
        postings: Vec<Posting>,
    },
    /// Money is to go back to where it was charged.
    ChargeRefundRequested {
        /// Names it.
        refund: RefundId,
        /// The order that it comes from, whose escrow's event posts it; none of what has paid nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<OrderId>,
        /// How much.
        amount: Money,
    },
    /// The provider does not know yet.
    ChargeRefundDelayed {
        /// The refund.
        refund: RefundId,
        /// The provider's name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// When to ask again.
        check_at: Timestamp,
    },
    /// The money is where it was charged.
    ChargeRefunded {
        /// The refund.
        refund: RefundId,
        /// At which attempt.
        attempt: u32,
        /// The provider's name for it.
        reference: String,
        /// Unapplied or refund pending → provider clearing.
        postings: Vec<Posting>,
    },
    /// It is not, or has come back.
    ChargeRefundFailed {
        /// The refund.
        refund: RefundId,
        /// At which attempt.
        attempt: u32,
        /// The provider's reason.
        reason: String,
        /// When the provider is asked once more; never, if that was often enough.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
        /// Provider clearing → unapplied or refund pending, if it had been there.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        postings: Vec<Posting>,
    },
    /// The provider is to be asked once more.
    ChargeRefundRetried {
        /// The refund.
        refund: RefundId,
        /// How often it is asked then.
        attempt: u32,
    },
    /// The payer disputes it, and the provider has taken the money back.
    ChargeDisputed {
        /// The dispute.
        dispute: DisputeId,
        /// The provider's name for it.
        name: String,
        /// How much was taken back.
        amount: Money,
        /// The provider's word for why.
        reason: String,
        /// Who bears it.
        shares: Vec<Share>,
        /// Available, receivable and chargeback expense → provider clearing; the escrow's own events post its part.
        postings: Vec<Posting>,
    },
    /// The dispute is won, and the money is back.
    ChargeDisputeWon {
        /// The dispute.
        dispute: DisputeId,
        /// To whom it comes back.
        shares: Vec<Share>,
        /// Provider clearing → receivable, available and chargeback expense; the escrow's own events post its part.
        postings: Vec<Posting>,
    },
    /// The dispute is lost, and the money gone.
    ChargeDisputeLost {
        /// The dispute.
        dispute: DisputeId,
    },
}

event_versions!(Event {
    ChargeRequested = "1",
    ChargeDelayed = "1",
    ChargeActionRequired = "1",
    ChargeSucceeded = "1",
    ChargeFailed = "1",
    ProviderFeeCharged = "1",
    ChargeRefundRequested = "1",
    ChargeRefundDelayed = "1",
    ChargeRefunded = "1",
    ChargeRefundFailed = "1",
    ChargeRefundRetried = "1",
    ChargeDisputed = "1",
    ChargeDisputeWon = "1",
    ChargeDisputeLost = "1",
});

impl Event {
    /// The movements of money that this event posts.
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::ChargeRequested { .. }
            | Self::ChargeDelayed { .. }
            | Self::ChargeActionRequired { .. }
            | Self::ChargeFailed { .. }
            | Self::ChargeRefundRequested { .. }
            | Self::ChargeRefundDelayed { .. }
            | Self::ChargeRefundRetried { .. }
            | Self::ChargeDisputeLost { .. } => &[],
            Self::ChargeSucceeded { postings, .. }
            | Self::ProviderFeeCharged { postings, .. }
            | Self::ChargeRefunded { postings, .. }
            | Self::ChargeRefundFailed { postings, .. }
            | Self::ChargeDisputed { postings, .. }
            | Self::ChargeDisputeWon { postings, .. } => postings,
        }
    }
}

/// Why a charge refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such charge, or it is somebody else's.
    #[error("there is no such payment")]
    NotFound,
    /// One id, one charge.
    #[error("the payment exists already")]
    AlreadyRequested,
    /// There is nothing to pay.
    #[error("the amount must be above zero; {offered} was given")]
    AmountNotPositive {
        /// What was asked.
        offered: Money,
    },
    /// Another amount came in than was asked for.
    #[error("{expected} was asked for, and {offered} is told of")]
    AmountDiffers {
        /// What was asked for.
        expected: Money,
        /// What the provider says.
        offered: Money,
    },
    /// More cannot go back than came in.
    #[error("{offered} was offered and {remaining} is left of the payment")]
    MoreThanCharged {
        /// What is left of it.
        remaining: Money,
        /// What was to go back.
        offered: Money,
    },
    /// The money has not come in.
    #[error("the payment has not succeeded")]
    NotSucceeded,
    /// The provider is still asked about an earlier attempt.
    #[error("another payment of this is under way")]
    UnderWay,
    /// It was tried often enough.
    #[error("this was tried {maximum} times, which is the most")]
    TooManyAttempts {
        /// The most.
        maximum: u32,
    },
    /// It is not yet time to ask again.
    #[error("the refund is tried again at {retry_at}")]
    TooEarlyToRetry {
        /// When.
        retry_at: Timestamp,
    },
    /// Amounts that cannot be computed.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A charge.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Charge {
    /// Never requested.
    #[default]
    Unrequested,
    /// Requested, and what has become of it.
    Requested(Box<Requested>),
}

/// A charge that came into being.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Requested {
    /// What is charged, and what for.
    pub terms: Terms,
    /// Where it is.
    pub phase: Phase,
    /// What is on its way back, or was, by its name.
    pub refunds: BTreeMap<RefundId, Refund>,
    /// What the payer has disputed.
    pub disputes: BTreeMap<DisputeId, Dispute>,
}

/// Where a charge is, and what is known there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Phase {
    /// The provider is asked.
    Open {
        /// The provider's name for it.
        reference: Option<String>,
        /// When it is asked again; never yet, if it has not answered.
        check_at: Option<Timestamp>,
        /// Whether it waits for the payer.
        action: bool,
    },
    /// The money is in.
    Succeeded {
        /// The provider's name for it.
        reference: String,
        /// What it has paid.
        applied: Vec<Part>,
        /// What it has not.
        unapplied: Option<Money>,
        /// Whether it is known what the provider keeps.
        fee_known: bool,
    },
    /// The provider refused.
    Failed {
        /// Its reason.
        reason: String,
        /// Its name for it, if it had told one.
        reference: Option<String>,
    },
}

impl Phase {
    /// The provider's name for the charge, if it has told one.
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Open { reference, .. } | Self::Failed { reference, .. } => reference.as_deref(),
            Self::Succeeded { reference, .. } => Some(reference),
        }
    }

    /// When the provider is asked again how the charge ends, if it has said that it does not know yet.
    pub fn check_at(&self) -> Option<Timestamp> {
        match self {
            Self::Open { check_at, .. } => *check_at,
            Self::Succeeded { .. } | Self::Failed { .. } => None,
        }
    }
}

impl Charge {
    /// The charge, if it ever came into being.
    pub fn requested(&self) -> Result<&Requested, Error> {
        match self {
            Self::Unrequested => Err(Error::NotFound),
            Self::Requested(requested) => Ok(requested),
        }
    }
}

impl Aggregate for Charge {
    const TYPE: &'static str = "charge";
    type Id = ChargeId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unrequested, Command::Request { terms }) => {
                if !terms.amount.is_positive() {
                    return Err(Error::AmountNotPositive { offered: terms.amount });
                }
                Ok(vec![Event::ChargeRequested { terms }])
            }
            (Self::Requested(_), Command::Request { .. }) => Err(Error::AlreadyRequested),
            (Self::Unrequested, _) => Err(Error::NotFound),
            (Self::Requested(charge), command) => charge.decide(command),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Unrequested, Event::ChargeRequested { terms }) => {
                let phase = Phase::Open { reference: None, check_at: None, action: false };
                let (refunds, disputes) = (BTreeMap::new(), BTreeMap::new());
                *self = Self::Requested(Box::new(Requested { terms: terms.clone(), phase, refunds, disputes }));
            }
            (Self::Requested(charge), event) => charge.evolve(event),
            // No decision leads here; a fold never fails.
            (Self::Unrequested, _) => {}
        }
    }
}

impl Requested {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            // Answered above: it is there already.
            Command::Request { .. } => Err(Error::AlreadyRequested),
            Command::Delay { reference, check_at } => Ok(match &self.phase {
                Phase::Open { reference: known, .. } => {
                    let reference = reference.or_else(|| known.clone());
                    vec![Event::ChargeDelayed { reference, check_at }]
                }
                Phase::Succeeded { .. } | Phase::Failed { .. } => vec![],
            }),
            Command::AwaitAction { reference, check_at } => Ok(match &self.phase {
                // Said twice, it is as good as said once.
                Phase::Open { reference: Some(known), check_at: Some(at), action: true }
                    if *known == reference && *at == check_at =>
                {
                    vec![]
                }
                Phase::Open { .. } => vec![Event::ChargeActionRequired { reference, check_at }],
                Phase::Succeeded { .. } | Phase::Failed { .. } => vec![],
            }),
            Command::Succeed { reference, fee, applied } => self.succeed(reference, fee, applied),
            Command::Fail { reason } => Ok(match self.phase {
                Phase::Open { .. } => vec![Event::ChargeFailed { reason }],
                Phase::Succeeded { .. } | Phase::Failed { .. } => vec![],
            }),
            Command::NoteFee { fee } => Ok(match self.phase {
                Phase::Succeeded { fee_known: false, .. } if fee.is_positive() => {
                    vec![Event::ProviderFeeCharged { fee, postings: vec![self.fee_posting(fee)] }]
                }
                Phase::Open { .. } | Phase::Succeeded { .. } | Phase::Failed { .. } => vec![],
            }),
            Command::Refund { refund, order, amount } => self.refund(refund, order, amount),
            Command::DelayRefund { refund, reference, check_at } => Ok(self.delay_refund(refund, reference, check_at)),
            Command::ConfirmRefund { refund, reference } => self.confirm_refund(refund, reference),
            Command::FailRefund { refund, reason, now } => self.fail_refund(refund, reason, now),
            Command::RetryRefund { refund, now } => self.retry_refund(refund, now),
            Command::OpenDispute { dispute, name, amount, reason, shares } => {
                self.open_dispute(dispute, name, amount, reason, shares)
            }
            Command::WinDispute { dispute, owing } => self.win_dispute(dispute, owing),
            Command::LoseDispute { dispute } => Ok(self.lose_dispute(dispute)),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::ChargeRequested { .. } => {}
            Event::ChargeDelayed { reference, check_at } => {
                let (reference, check_at) = (reference.clone(), Some(*check_at));
                // Whoever has something to do, has it still.
                let action = matches!(self.phase, Phase::Open { action: true, .. });
                self.phase = Phase::Open { reference, check_at, action };
            }
            Event::ChargeActionRequired { reference, check_at } => {
                let (reference, check_at) = (Some(reference.clone()), Some(*check_at));
                self.phase = Phase::Open { reference, check_at, action: true };
            }
            Event::ChargeSucceeded { reference, applied, unapplied, fee, .. } => {
                let (reference, applied) = (reference.clone(), applied.clone());
                let (unapplied, fee_known) = (*unapplied, fee.is_some());
                self.phase = Phase::Succeeded { reference, applied, unapplied, fee_known };
            }
            Event::ChargeFailed { reason } => {
                let reference = self.phase.reference().map(str::to_owned);
                self.phase = Phase::Failed { reason: reason.clone(), reference };
            }
            Event::ProviderFeeCharged { .. } => {
                if let Phase::Succeeded { fee_known, .. } = &mut self.phase {
                    *fee_known = true;
                }
            }
            Event::ChargeRefundRequested { refund, order, amount } => {
                self.refunds.insert(*refund, Refund::new(*order, *amount));
            }
            Event::ChargeRefundDelayed { refund, .. }
            | Event::ChargeRefunded { refund, .. }
            | Event::ChargeRefundFailed { refund, .. }
            | Event::ChargeRefundRetried { refund, .. } => {
                if let Some(refund) = self.refunds.get_mut(refund) {
                    refund.evolve(event);
                }
            }
            Event::ChargeDisputed { dispute, shares, .. } => {
                for share in shares {
                    if let Bearer::Refund { refund } = share.bearer
                        && let Some(refund) = self.refunds.get_mut(&refund)
                    {
                        refund.state = Refunding::TakenBack;
                    }
                }
                self.disputes.insert(*dispute, Dispute::Open { shares: shares.clone() });
            }
            Event::ChargeDisputeWon { dispute, .. } => {
                self.disputes.insert(*dispute, Dispute::Won);
            }
            Event::ChargeDisputeLost { dispute } => {
                let lost = match self.disputes.remove(dispute) {
                    Some(Dispute::Open { shares }) => Dispute::Lost { shares },
                    // No decision leads to what has ended already.
                    Some(Dispute::Won | Dispute::Lost { .. } | Dispute::LostUnheard) | None => Dispute::LostUnheard,
                };
                self.disputes.insert(*dispute, lost);
            }
        }
    }

    fn succeed(&self, reference: String, fee: Option<Money>, applied: Vec<Part>) -> Result<Vec<Event>, Error> {
        match self.phase {
            Phase::Open { .. } | Phase::Failed { .. } => {}
            Phase::Succeeded { .. } => return fee.map_or(Ok(vec![]), |fee| self.decide(Command::NoteFee { fee })),
        }
        let amount = self.terms.amount;
        let mut left = amount;
        for part in &applied {
            left = left.minus(part.amount)?;
        }
        if left.minor() < 0 {
            return Err(Error::MoreThanCharged { remaining: amount, offered: amount.minus(left)? });
        }
        let unapplied = Some(left).filter(|left| left.is_positive());
        let fee = fee.filter(|fee| fee.is_positive());
        let back = RefundId::of_unapplied(self.terms.charge);
        let kept =
            unapplied.map(|left| Posting::new(self.clearing(), LedgerAccount::Unapplied(self.terms.charge), left));
        let postings = kept.into_iter().chain(fee.map(|fee| self.fee_posting(fee))).collect();
        let refund = unapplied.map(|amount| Event::ChargeRefundRequested { refund: back, order: None, amount });
        let succeeded = Event::ChargeSucceeded { reference, applied, unapplied, fee, postings };
        Ok([succeeded].into_iter().chain(refund).collect())
    }

    fn clearing(&self) -> LedgerAccount {
        LedgerAccount::ProviderClearing(self.terms.method.provider.clone())
    }

    fn fee_posting(&self, fee: Money) -> Posting {
        Posting::new(LedgerAccount::ProviderFeeExpense, self.clearing(), fee)
    }

    /// Whether the provider is asked and has not said that it waits for the payer.
    pub fn is_with_provider(&self) -> bool {
        match self.phase {
            Phase::Open { action, .. } => !action,
            Phase::Succeeded { .. } | Phase::Failed { .. } => false,
        }
    }
}
