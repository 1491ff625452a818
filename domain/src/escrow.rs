//! The money of one order on its way from the buyer to the seller; the [`crate::order`] has the same id.
//!
//! `Unopened → AwaitingPayment → Funded → Inspection → Ended`, with `Disputed` between funding and the end. Inspection
//! begins with the delivery, never with the payment, and ends in the release. Invariants: what was funded is held,
//! released or refunded, to the cent; the fee is computed on what the seller keeps, and what goes back to the buyer is
//! never charged; what bonus points have paid is the marketplace's expense, and of what goes back as large a part is
//! points again as whole points can be (see the file `points` beside this one); an ended escrow holds nothing; a dispute
//! stops every clock but its own. Every event that moves money carries its complete postings; the wallets and the points
//! that it moves follow in the same commit. What was paid by card the card's bank may take back (see the file
//! `chargeback` beside this one).

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::commission::Promise;
use crate::fees::{self, FeeLine};
use crate::ids::{AccountId, ChargeId, DisputeId, OrderId, RefundId};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::{Money, MoneyError};
use crate::points::Redeemed;

mod chargeback;
#[cfg(test)]
mod laws;
mod points;
mod refund;
#[cfg(test)]
mod tests;

pub use chargeback::{Course, Station};

/// Funded and not shipped for so long: refunded.
pub const SHIPPED_WITHIN: TimeDelta = TimeDelta::days(14);
/// A dispute that nobody resolves for so long: refunded.
pub const RESOLVED_WITHIN: TimeDelta = TimeDelta::days(60);
/// The buyer is reminded to look at what has arrived so long after it did.
pub const REMINDED_AFTER: [TimeDelta; 2] = [TimeDelta::days(3), TimeDelta::days(12)];

/// What is asked of an escrow.
#[derive(Clone, Debug)]
pub enum Command {
    /// Come into being.
    Open {
        /// What it is about.
        terms: Terms,
    },
    /// Take the buyer's money in.
    Fund {
        /// Where it comes from.
        source: Source,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Give it up before it is paid.
    Void {},
    /// Begin the inspection: it has arrived.
    Inspect {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Remind the buyer to look at what has arrived.
    Remind {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Stop the clock, until somebody of the staff has decided.
    Dispute {
        /// Who.
        by: Disputant,
        /// In their words.
        reason: String,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Give the money to the seller.
    Release {
        /// Why.
        cause: ReleaseCause,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Give money back to the buyer before the release.
    Refund {
        /// Names it.
        refund: RefundId,
        /// How much; all that is left if not told.
        amount: Option<Money>,
        /// Why.
        cause: RefundCause,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Divide what is disputed.
    Split {
        /// What the buyer gets; the seller gets the rest, less the fee on it.
        to_buyer: Money,
        /// Who decides.
        by: AccountId,
    },
    /// Give money back to the buyer after the release.
    RefundReleased {
        /// Names it.
        refund: RefundId,
        /// How much; all that the seller kept if not told.
        amount: Option<Money>,
        /// What the seller has available; the rest is owed.
        seller_available: Money,
        /// Why.
        cause: RefundCause,
    },
    /// Lose to the provider what a payer disputes, until that is decided.
    ChargeBack {
        /// The dispute.
        dispute: DisputeId,
        /// How much, of what it holds.
        amount: Money,
    },
    /// Go on: the dispute is won, and the money is back.
    ReturnChargeback {
        /// The dispute.
        dispute: DisputeId,
        /// Whether it is on its way already.
        sent: bool,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Go on with what is left: the dispute is lost.
    SettleChargeback {
        /// The dispute.
        dispute: DisputeId,
        /// Whether it is on its way already.
        sent: bool,
        /// The time of the decision.
        now: Timestamp,
    },
}

/// Where the buyer's money comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    /// The buyer's wallet.
    Wallet,
    /// A card.
    Card(CardPayment),
}

/// What a card has paid. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CardPayment {
    /// The charge.
    pub charge: ChargeId,
    /// The provider that has the money.
    pub provider: String,
    /// Whether what goes back goes to the card: a guest has no wallet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refunded_to_card: bool,
}

/// What an escrow is about, frozen at the purchase. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The order, whose id is this escrow's too.
    pub order: OrderId,
    /// Who pays.
    pub buyer: AccountId,
    /// Who is paid.
    pub seller: AccountId,
    /// What is paid for, line by line.
    pub lines: Vec<FeeLine>,
    /// Their sum.
    pub amount: Money,
    /// How long the buyer may inspect what has arrived, in seconds.
    pub inspection_s: u32,
    /// How many bonus points the buyer earns per whole major unit that the seller keeps.
    #[serde(default, skip_serializing_if = "earns_nothing")]
    pub points_per_unit: u32,
    /// The bonus points that pay for a part of the amount, which the marketplace makes good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeemed: Option<Redeemed>,
    /// Who has sent the buyer here, and earns a commission with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commission: Option<Promise>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn earns_nothing(points_per_unit: &u32) -> bool {
    *points_per_unit == 0
}

impl Terms {
    /// What of the amount is paid with bonus points.
    pub fn points_part(&self) -> Money {
        self.redeemed.map_or(Money::zero(self.amount.currency()), |redeemed| redeemed.worth)
    }

    /// What of the amount is paid with money.
    pub fn due(&self) -> Money {
        // Points never pay more than the amount.
        self.amount.minus(self.points_part()).unwrap_or(self.amount)
    }
}

/// Who disputes. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Disputant {
    /// The buyer.
    Buyer,
    /// The seller.
    Seller,
    /// The marketplace, since nothing was heard of a delivery.
    Marketplace,
}

/// Why money goes to the seller. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// The buyer is content.
    Confirmed,
    /// The time to inspect is over.
    InspectionOver,
    /// Staff has resolved a dispute so.
    Resolved(AccountId),
}

/// Why money goes back to the buyer. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundCause {
    /// The order was cancelled.
    Cancelled,
    /// It was not shipped in time.
    NotShipped,
    /// The seller gives it back.
    Seller,
    /// Staff gives it back.
    Staff(AccountId),
    /// Staff has resolved a dispute so.
    Resolved(AccountId),
    /// Nobody has resolved the dispute in time.
    DisputeExpired,
}

/// What happens to an escrow. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It came into being.
    EscrowOpened {
        /// What it is about.
        terms: Terms,
    },
    /// It holds the buyer's money.
    EscrowFunded {
        /// How much.
        amount: Money,
        /// Refunded then, unless it is shipped.
        ship_by: Timestamp,
        /// The card that has paid it, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        card: Option<CardPayment>,
        /// Available or provider clearing, and marketing expense → escrow.
        postings: Vec<Posting>,
    },
    /// It will never be paid.
    EscrowVoided {},
    /// The buyer may inspect what has arrived.
    InspectionStarted {
        /// Released then.
        ends_at: Timestamp,
        /// When the buyer is reminded first, if the time is long enough for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remind_at: Option<Timestamp>,
    },
    /// The buyer was reminded.
    InspectionReminded {
        /// When the buyer is reminded next, if at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remind_at: Option<Timestamp>,
    },
    /// It waits for a decision of the staff.
    EscrowDisputed {
        /// Who disputes.
        by: Disputant,
        /// In their words.
        reason: String,
        /// Refunded then, unless it is resolved.
        expires_at: Timestamp,
    },
    /// The seller was paid.
    EscrowReleased {
        /// Why.
        cause: ReleaseCause,
        /// What the seller keeps of the price: all that had not gone back to the buyer.
        kept: Money,
        /// The marketplace's share of it.
        fee: Money,
        /// Escrow → seller available and fee income.
        postings: Vec<Posting>,
    },
    /// Some of it went back to the buyer.
    EscrowPartlyRefunded {
        /// Names it.
        refund: RefundId,
        /// How much.
        amount: Money,
        /// Why.
        cause: RefundCause,
        /// The part of it that points had paid, and that went back as points.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_points: Option<Money>,
        /// Escrow → buyer available and marketing expense.
        postings: Vec<Posting>,
    },
    /// All that was left went back to the buyer.
    EscrowRefunded {
        /// Names it.
        refund: RefundId,
        /// How much.
        amount: Money,
        /// Why.
        cause: RefundCause,
        /// The part of it that points had paid, and that went back as points.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_points: Option<Money>,
        /// Escrow → buyer available and marketing expense.
        postings: Vec<Posting>,
    },
    /// Buyer and seller each got a part.
    EscrowSplit {
        /// What the buyer got.
        to_buyer: Money,
        /// What the seller keeps of the price.
        kept: Money,
        /// The marketplace's share of it.
        fee: Money,
        /// Who decided so.
        by: AccountId,
        /// The part of it that points had paid, and that went back as points.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_points: Option<Money>,
        /// Escrow → buyer available, marketing expense, seller available and fee income.
        postings: Vec<Posting>,
    },
    /// After the release, some or all of it went back to the buyer.
    ReleaseRefunded {
        /// Names it.
        refund: RefundId,
        /// How much.
        amount: Money,
        /// The part of it that the seller had available.
        from_available: Money,
        /// The part of it that the seller owes the marketplace from now on.
        owed: Money,
        /// The part of it that the marketplace gives back of its fee.
        fee_share: Money,
        /// Why.
        cause: RefundCause,
        /// The part of it that points had paid, and that went back as points.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from_points: Option<Money>,
        /// Seller available, seller receivable and fee income → buyer available and marketing expense.
        postings: Vec<Posting>,
    },
    /// The provider has taken back what the payer disputes.
    EscrowChargedBack {
        /// The dispute.
        dispute: DisputeId,
        /// How much.
        amount: Money,
        /// Escrow → provider clearing.
        postings: Vec<Posting>,
    },
    /// The dispute is won, and the money is back.
    ChargebackReturned {
        /// The dispute.
        dispute: DisputeId,
        /// How much.
        amount: Money,
        /// Where it goes on, with time of its own.
        course: Course,
        /// Provider clearing → escrow.
        postings: Vec<Posting>,
    },
    /// The dispute is lost: what was taken counts as gone back to the buyer.
    ChargebackSettled {
        /// The dispute.
        dispute: DisputeId,
        /// How much.
        amount: Money,
        /// Where it goes on with what is left, if anything is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        course: Option<Course>,
    },
}

event_versions!(Event {
    EscrowOpened = "5" | "4" | "3" | "2" | "1",
    EscrowFunded = "3" | "2" | "1",
    EscrowVoided = "1",
    InspectionStarted = "1",
    InspectionReminded = "1",
    EscrowDisputed = "1",
    EscrowReleased = "1",
    EscrowPartlyRefunded = "2" | "1",
    EscrowRefunded = "2" | "1",
    EscrowSplit = "2" | "1",
    ReleaseRefunded = "2" | "1",
    EscrowChargedBack = "1",
    ChargebackReturned = "1",
    ChargebackSettled = "1",
});

impl Event {
    /// The movements of money that this event is.
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::EscrowOpened { .. }
            | Self::EscrowVoided {}
            | Self::InspectionStarted { .. }
            | Self::InspectionReminded { .. }
            | Self::EscrowDisputed { .. }
            | Self::ChargebackSettled { .. } => &[],
            Self::EscrowFunded { postings, .. }
            | Self::EscrowReleased { postings, .. }
            | Self::EscrowPartlyRefunded { postings, .. }
            | Self::EscrowRefunded { postings, .. }
            | Self::EscrowSplit { postings, .. }
            | Self::ReleaseRefunded { postings, .. }
            | Self::EscrowChargedBack { postings, .. }
            | Self::ChargebackReturned { postings, .. } => postings,
        }
    }
}

/// Why an escrow refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such escrow, or it is somebody else's.
    #[error("there is no such escrow")]
    NotFound,
    /// One order, one escrow.
    #[error("the escrow exists already")]
    AlreadyOpened,
    /// It is not where it would have to be.
    #[error("the escrow is {status}, which does not allow this")]
    WrongStatus {
        /// Where it is.
        status: Status,
    },
    /// There is nothing to pay for.
    #[error("the amount must be above zero; it is {offered}")]
    AmountNotPositive {
        /// What it is.
        offered: Money,
    },
    /// More cannot go back than is left.
    #[error("{offered} was offered and {remaining} is left")]
    MoreThanRemains {
        /// What is left for the seller.
        remaining: Money,
        /// What was to go to the buyer.
        offered: Money,
    },
    /// The inspection is not over.
    #[error("the inspection ends at {ends_at}")]
    InspectionRunning {
        /// When it ends.
        ends_at: Timestamp,
    },
    /// The inspection is over.
    #[error("the inspection ended at {ended_at}")]
    InspectionOver {
        /// When it ended.
        ended_at: Timestamp,
    },
    /// It is not time yet to remind anybody.
    #[error("the next reminder is due at {remind_at}")]
    TooEarlyToRemind {
        /// When it is due.
        remind_at: Timestamp,
    },
    /// There is still time to ship it.
    #[error("this may be shipped until {ship_by}")]
    NotOverdue {
        /// Until when.
        ship_by: Timestamp,
    },
    /// There is still time to resolve the dispute.
    #[error("the dispute may be resolved until {expires_at}")]
    DisputeOpen {
        /// Until when.
        expires_at: Timestamp,
    },
    /// Only what is disputed is resolved.
    #[error("the escrow is {status}, not disputed")]
    NotDisputed {
        /// Where it is.
        status: Status,
    },
    /// Amounts that cannot be computed.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Where an escrow is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// To be paid.
    AwaitingPayment,
    /// It holds the money.
    Funded,
    /// The buyer inspects what has arrived.
    Inspection,
    /// It waits for a decision.
    Disputed,
    /// The card's bank has taken money back, and decides.
    ChargedBack,
    /// It was never paid.
    Voided,
    /// The seller was paid.
    Released,
    /// The buyer has it back.
    Refunded,
    /// Each got a part.
    Split,
}

impl Status {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitingPayment => "awaiting_payment",
            Self::Funded => "funded",
            Self::Inspection => "inspection",
            Self::Disputed => "disputed",
            Self::ChargedBack => "charged_back",
            Self::Voided => "voided",
            Self::Released => "released",
            Self::Refunded => "refunded",
            Self::Split => "split",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An escrow.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Escrow {
    /// Never opened.
    #[default]
    Unopened,
    /// Opened, and what has become of it.
    Opened(Box<Opened>),
}

/// An escrow that came into being.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Opened {
    /// What it is about.
    pub terms: Terms,
    /// What has gone back to the buyer so far.
    pub refunded: Money,
    /// The part of it that made good what the marketplace has spent on points.
    pub refunded_from_points: Money,
    /// The card that has paid it, if it was one.
    #[serde(default)]
    pub card: Option<CardPayment>,
    /// Where it is.
    pub phase: Phase,
}

/// Where an escrow is, and what is known there.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Phase {
    /// To be paid.
    AwaitingPayment,
    /// It holds the money.
    Funded {
        /// Refunded then, unless it is shipped.
        ship_by: Timestamp,
    },
    /// The buyer inspects what has arrived.
    Inspection {
        /// Since when.
        began_at: Timestamp,
        /// Released then.
        ends_at: Timestamp,
        /// When the buyer is reminded next.
        remind_at: Option<Timestamp>,
    },
    /// It waits for a decision.
    Disputed {
        /// Refunded then.
        expires_at: Timestamp,
    },
    /// The card's bank has taken money back, and decides.
    ChargedBack {
        /// What it decides.
        dispute: DisputeId,
        /// How much it has taken.
        amount: Money,
        /// Where it was.
        from: Station,
    },
    /// It was never paid.
    Voided,
    /// The seller was paid.
    Released {
        /// The marketplace's share, less what it gave back.
        fee: Money,
    },
    /// The buyer has it back.
    Refunded,
    /// Each got a part.
    Split,
}

impl Escrow {
    /// The escrow, if it ever came into being.
    pub fn opened(&self) -> Result<&Opened, Error> {
        match self {
            Self::Unopened => Err(Error::NotFound),
            Self::Opened(opened) => Ok(opened),
        }
    }
}

impl Aggregate for Escrow {
    const TYPE: &'static str = "escrow";
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unopened, Command::Open { terms }) => open(terms),
            (Self::Opened(_), Command::Open { .. }) => Err(Error::AlreadyOpened),
            (Self::Unopened, _) => Err(Error::NotFound),
            (Self::Opened(escrow), command) => escrow.decide(command),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Unopened, Event::EscrowOpened { terms }) => {
                let refunded = Money::zero(terms.amount.currency());
                let phase = Phase::AwaitingPayment;
                let (terms, refunded_from_points, card) = (terms.clone(), refunded, None);
                *self = Self::Opened(Box::new(Opened { terms, refunded, refunded_from_points, card, phase }));
            }
            (Self::Opened(escrow), event) => escrow.evolve(event),
            // No decision leads here; a fold never fails.
            (Self::Unopened, _) => {}
        }
    }
}

fn open(terms: Terms) -> Result<Vec<Event>, Error> {
    if !terms.amount.is_positive() {
        return Err(Error::AmountNotPositive { offered: terms.amount });
    }
    if let Some(Redeemed { points, worth }) = terms.redeemed {
        if points == 0 || !worth.is_positive() {
            return Err(Error::AmountNotPositive { offered: worth });
        }
        if worth.minor_in(terms.amount.currency())? > terms.amount.minor() {
            return Err(Error::MoreThanRemains { remaining: terms.amount, offered: worth });
        }
    }
    Ok(vec![Event::EscrowOpened { terms }])
}

impl Opened {
    /// Where it is.
    pub fn status(&self) -> Status {
        match self.phase {
            Phase::AwaitingPayment => Status::AwaitingPayment,
            Phase::Funded { .. } => Status::Funded,
            Phase::Inspection { .. } => Status::Inspection,
            Phase::Disputed { .. } => Status::Disputed,
            Phase::ChargedBack { .. } => Status::ChargedBack,
            Phase::Voided => Status::Voided,
            Phase::Released { .. } => Status::Released,
            Phase::Refunded => Status::Refunded,
            Phase::Split => Status::Split,
        }
    }

    /// What has not gone back to the buyer: held before the end, the seller's price after a release.
    pub fn remaining(&self) -> Money {
        // Nothing ever goes back that is not there.
        self.terms.amount.minus(self.refunded).unwrap_or(Money::zero(self.refunded.currency()))
    }

    /// The marketplace's share of what has not gone back: what it would take, or after a release what it has.
    pub fn fee(&self) -> Result<Money, MoneyError> {
        match self.phase {
            Phase::Released { fee } => Ok(fee),
            Phase::AwaitingPayment
            | Phase::Funded { .. }
            | Phase::Inspection { .. }
            | Phase::Disputed { .. }
            | Phase::ChargedBack { .. }
            | Phase::Voided
            | Phase::Refunded
            | Phase::Split => fees::fee_on(self.remaining(), &self.terms.lines),
        }
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            // Answered above: it is there already.
            Command::Open { .. } => Err(Error::AlreadyOpened),
            Command::Fund { source, now } => self.fund(source, now),
            Command::Void {} => match self.phase {
                Phase::AwaitingPayment => Ok(vec![Event::EscrowVoided {}]),
                Phase::Voided => Ok(vec![]),
                _ => Err(self.wrong_status()),
            },
            Command::Inspect { now } => self.inspect(now),
            Command::Remind { now } => self.remind(now),
            Command::Dispute { by, reason, now } => self.dispute(by, reason, now),
            Command::Release { cause, now } => self.release(cause, now),
            Command::Refund { refund, amount, cause, now } => self.refund(refund, amount, cause, now),
            Command::Split { to_buyer, by } => self.split(to_buyer, by),
            Command::RefundReleased { refund, amount, seller_available, cause } => {
                self.refund_released(refund, amount, seller_available, cause)
            }
            Command::ChargeBack { dispute, amount } => self.charge_back(dispute, amount),
            Command::ReturnChargeback { dispute, sent, now } => self.return_chargeback(dispute, sent, now),
            Command::SettleChargeback { dispute, sent, now } => self.settle_chargeback(dispute, sent, now),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::EscrowOpened { .. } => {}
            Event::EscrowFunded { ship_by, card, .. } => {
                self.card.clone_from(card);
                self.phase = Phase::Funded { ship_by: *ship_by };
            }
            Event::EscrowVoided {} => self.phase = Phase::Voided,
            Event::InspectionStarted { ends_at, remind_at } => {
                let began_at = *ends_at - self.inspection();
                self.phase = Phase::Inspection { began_at, ends_at: *ends_at, remind_at: *remind_at };
            }
            Event::InspectionReminded { remind_at: next } => {
                if let Phase::Inspection { remind_at, .. } = &mut self.phase {
                    *remind_at = *next;
                }
            }
            Event::EscrowDisputed { expires_at, .. } => self.phase = Phase::Disputed { expires_at: *expires_at },
            Event::EscrowReleased { fee, .. } => self.phase = Phase::Released { fee: *fee },
            Event::EscrowPartlyRefunded { amount, from_points, .. } => self.give_back(*amount, *from_points),
            Event::EscrowRefunded { amount, from_points, .. } => {
                self.give_back(*amount, *from_points);
                self.phase = Phase::Refunded;
            }
            Event::EscrowSplit { to_buyer, from_points, .. } => {
                self.give_back(*to_buyer, *from_points);
                self.phase = Phase::Split;
            }
            Event::ReleaseRefunded { amount, fee_share, from_points, .. } => {
                self.give_back(*amount, *from_points);
                if let Phase::Released { fee } = &mut self.phase {
                    *fee = fee.minus(*fee_share).unwrap_or(*fee);
                }
            }
            Event::EscrowChargedBack { dispute, amount, .. } => {
                if let Some(from) = self.station() {
                    self.phase = Phase::ChargedBack { dispute: *dispute, amount: *amount, from };
                }
            }
            Event::ChargebackReturned { course, .. } => self.go_on(*course),
            Event::ChargebackSettled { amount, course, .. } => {
                self.give_back(*amount, None);
                match course {
                    Some(course) => self.go_on(*course),
                    None => self.phase = Phase::Refunded,
                }
            }
        }
    }

    fn give_back(&mut self, amount: Money, from_points: Option<Money>) {
        // Never more than was paid in, so the sums are in range.
        self.refunded = self.refunded.plus(amount).unwrap_or(self.refunded);
        let made_good = from_points.map(|part| self.refunded_from_points.plus(part));
        self.refunded_from_points = made_good.and_then(Result::ok).unwrap_or(self.refunded_from_points);
    }

    fn wrong_status(&self) -> Error {
        Error::WrongStatus { status: self.status() }
    }

    fn inspection(&self) -> TimeDelta {
        TimeDelta::seconds(i64::from(self.terms.inspection_s))
    }

    fn fund(&self, source: Source, now: Timestamp) -> Result<Vec<Event>, Error> {
        let Phase::AwaitingPayment = self.phase else { return Err(self.wrong_status()) };
        let Terms { amount, buyer, .. } = self.terms;
        let (from, card) = match source {
            Source::Wallet => (LedgerAccount::Available(buyer), None),
            Source::Card(card) => (LedgerAccount::ProviderClearing(card.provider.clone()), Some(card)),
        };
        let parts = [(from, self.terms.due()), (LedgerAccount::MarketingExpense, self.terms.points_part())];
        let parts = parts.into_iter().filter(|(_, part)| part.is_positive());
        let postings = parts.map(|(from, part)| Posting::new(from, self.account(), part)).collect();
        Ok(vec![Event::EscrowFunded { amount, ship_by: now + SHIPPED_WITHIN, card, postings }])
    }

    /// Where what goes back to the buyer goes.
    fn buyers_account(&self) -> LedgerAccount {
        match &self.card {
            Some(card) if card.refunded_to_card => LedgerAccount::RefundPending(card.charge),
            Some(_) | None => LedgerAccount::Available(self.terms.buyer),
        }
    }

    fn inspect(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        let Phase::Funded { .. } = self.phase else { return Err(self.wrong_status()) };
        let ends_at = now + self.inspection();
        Ok(vec![Event::InspectionStarted { ends_at, remind_at: next_reminder(now, now, ends_at) }])
    }

    fn remind(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        match self.phase {
            Phase::Inspection { remind_at: Some(remind_at), .. } if now < remind_at => {
                Err(Error::TooEarlyToRemind { remind_at })
            }
            Phase::Inspection { began_at, ends_at, remind_at: Some(_) } => {
                Ok(vec![Event::InspectionReminded { remind_at: next_reminder(began_at, now, ends_at) }])
            }
            // Nobody has to be reminded any more.
            _ => Ok(vec![]),
        }
    }

    fn dispute(&self, by: Disputant, reason: String, now: Timestamp) -> Result<Vec<Event>, Error> {
        match self.phase {
            Phase::Inspection { ends_at, .. } if now >= ends_at => Err(Error::InspectionOver { ended_at: ends_at }),
            Phase::Funded { .. } | Phase::Inspection { .. } => {
                Ok(vec![Event::EscrowDisputed { by, reason, expires_at: now + RESOLVED_WITHIN }])
            }
            _ => Err(self.wrong_status()),
        }
    }

    fn release(&self, cause: ReleaseCause, now: Timestamp) -> Result<Vec<Event>, Error> {
        match (self.phase, cause) {
            (Phase::Inspection { ends_at, .. }, ReleaseCause::InspectionOver) if now < ends_at => {
                return Err(Error::InspectionRunning { ends_at });
            }
            (Phase::Inspection { .. }, ReleaseCause::Confirmed | ReleaseCause::InspectionOver)
            | (Phase::Disputed { .. }, ReleaseCause::Resolved(_)) => {}
            (_, ReleaseCause::Resolved(_)) => return Err(Error::NotDisputed { status: self.status() }),
            (_, ReleaseCause::Confirmed | ReleaseCause::InspectionOver) => return Err(self.wrong_status()),
        }
        let kept = self.remaining();
        let fee = self.fee()?;
        let postings = self.payout(kept, fee)?;
        Ok(vec![Event::EscrowReleased { cause, kept, fee, postings }])
    }

    fn account(&self) -> LedgerAccount {
        LedgerAccount::Escrow(self.terms.order)
    }

    /// Escrow → seller available and fee income.
    fn payout(&self, kept: Money, fee: Money) -> Result<Vec<Posting>, Error> {
        let parts = [(LedgerAccount::Available(self.terms.seller), kept.minus(fee)?), (LedgerAccount::FeeIncome, fee)];
        Ok(parts
            .into_iter()
            .filter(|(_, part)| part.is_positive())
            .map(|(to, part)| Posting::new(self.account(), to, part))
            .collect())
    }
}

/// The first reminder after `now` of an inspection that lasts from `began_at` to `ends_at`.
fn next_reminder(began_at: Timestamp, now: Timestamp, ends_at: Timestamp) -> Option<Timestamp> {
    REMINDED_AFTER.into_iter().map(|after| began_at + after).find(|at| now < *at && *at < ends_at)
}
