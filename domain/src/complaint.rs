//! A party of an order tells staff what is wrong with it.
//!
//! `Unfiled → Open ⇄ Resolved`. A stream for each order and party, so nobody has two of them open about the same; once
//! staff have decided, the party may complain again. It moves no money: that is what a dispute is for, in
//! [`crate::escrow`]. What was written is sealed with its author's key. An outcome tells what has come of it; staff may
//! decide otherwise later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ComplaintId, OrderId};
use crate::ruling::Ruling;
use crate::sealed::Sealed;

/// The longest text, in characters. What is sealed cannot be measured here.
pub const LONGEST_TEXT: usize = 4_000;

/// What is asked of a complaint.
#[derive(Clone, Debug)]
pub enum Command {
    /// Tell staff.
    File {
        /// About which order.
        order: OrderId,
        /// Who complains.
        complainant: AccountId,
        /// The other party.
        against: AccountId,
        /// What is wrong.
        subject: Subject,
        /// In words.
        text: Sealed<String>,
    },
    /// Decide, as staff.
    Resolve {
        /// Who says so, and why.
        ruling: Ruling,
        /// What has come of it.
        outcome: Outcome,
    },
}

/// What is wrong with an order. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// It did not come.
    NotReceived,
    /// It is not what was offered.
    NotAsDescribed,
    /// It came broken.
    Damaged,
    /// It is not what it is said to be.
    Counterfeit,
    /// It was not paid, or not given back.
    Payment,
    /// The other party does not answer, or not as one does.
    Conduct,
    /// Something else.
    Other,
}

/// What has come of a complaint. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong.
    Dismissed,
    /// The parties have come to terms.
    Settled,
    /// Money went back to the buyer.
    Refunded,
    /// The other party was warned.
    AccountWarned,
    /// The other party was blocked.
    AccountBlocked,
}

impl Outcome {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dismissed => "dismissed",
            Self::Settled => "settled",
            Self::Refunded => "refunded",
            Self::AccountWarned => "account_warned",
            Self::AccountBlocked => "account_blocked",
        }
    }
}

/// What happens to a complaint. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Staff were told.
    ComplaintFiled {
        /// About which order.
        order: OrderId,
        /// By whom.
        complainant: AccountId,
        /// The other party.
        against: AccountId,
        /// What is wrong.
        subject: Subject,
        /// In words.
        text: Sealed<String>,
    },
    /// Staff have decided.
    ComplaintResolved {
        /// Who, and why.
        ruling: Ruling,
        /// What has come of it.
        outcome: Outcome,
    },
}

event_versions!(Event { ComplaintFiled = "1", ComplaintResolved = "1" });

/// Why a complaint refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such complaint, or it is none of theirs.
    #[error("there is no such complaint")]
    NotFound,
    /// Staff have not decided yet.
    #[error("there is a complaint already, and staff have not decided yet")]
    AlreadyOpen,
    /// Nobody of the staff decides on what they have bought or sold.
    #[error("nobody decides on a complaint about an order of their own")]
    OwnComplaint,
    /// What is said to have been done was not.
    #[error("this says {}, which was not done", .outcome.name())]
    NotDone {
        /// What is said.
        outcome: Outcome,
    },
    /// A field was sealed with somebody else's key, and would be forgotten with the wrong person.
    #[error("a field of the complaint is sealed for somebody else")]
    SealedForAnother,
}

/// A complaint.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Complaint {
    /// There is none.
    #[default]
    Unfiled,
    /// Staff are to decide.
    Open(Filed),
    /// Staff have decided.
    Resolved(Filed, Outcome),
}

/// What staff were told.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Filed {
    /// About which order.
    pub order: OrderId,
    /// By whom.
    pub complainant: AccountId,
    /// The other party.
    pub against: AccountId,
}

impl Complaint {
    /// What staff were told.
    pub fn filed(&self) -> Result<&Filed, Error> {
        match self {
            Self::Unfiled => Err(Error::NotFound),
            Self::Open(filed) | Self::Resolved(filed, _) => Ok(filed),
        }
    }

    /// What has come of it, if staff have decided.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Unfiled | Self::Open(_) => None,
            Self::Resolved(_, outcome) => Some(*outcome),
        }
    }
}

impl Aggregate for Complaint {
    const TYPE: &'static str = "complaint";
    type Id = ComplaintId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Open(_), Command::File { .. }) => Err(Error::AlreadyOpen),
            (Self::Unfiled | Self::Resolved(..), Command::File { order, complainant, against, subject, text }) => {
                if text.of != complainant {
                    return Err(Error::SealedForAnother);
                }
                Ok(vec![Event::ComplaintFiled { order, complainant, against, subject, text }])
            }
            (Self::Unfiled, Command::Resolve { .. }) => Err(Error::NotFound),
            (Self::Open(filed) | Self::Resolved(filed, _), Command::Resolve { ruling, outcome }) => {
                if [filed.complainant, filed.against].contains(&ruling.by) {
                    return Err(Error::OwnComplaint);
                }
                if !ruling.is_sealed_for_its_author() {
                    return Err(Error::SealedForAnother);
                }
                let told = self.outcome() == Some(outcome);
                Ok(if told { vec![] } else { vec![Event::ComplaintResolved { ruling, outcome }] })
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (*self, event) {
            (Self::Unfiled | Self::Resolved(..), Event::ComplaintFiled { order, complainant, against, .. }) => {
                Self::Open(Filed { order: *order, complainant: *complainant, against: *against })
            }
            (Self::Open(filed) | Self::Resolved(filed, _), Event::ComplaintResolved { outcome, .. }) => {
                Self::Resolved(filed, *outcome)
            }
            // No decision leads here; a fold never fails.
            (state @ Self::Open(_), Event::ComplaintFiled { .. })
            | (state @ Self::Unfiled, Event::ComplaintResolved { .. }) => state,
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Given, given};

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const CLERK: AccountId = AccountId(Uuid::from_u128(3));
    const ORDER: OrderId = OrderId(Uuid::from_u128(4));

    fn sealed(of: AccountId) -> Sealed<String> {
        Sealed::from_ciphertext(of, "text".to_owned())
    }

    fn file() -> Command {
        let (subject, text) = (Subject::Damaged, sealed(ANN));
        Command::File { order: ORDER, complainant: ANN, against: BOB, subject, text }
    }

    fn filed_event() -> Event {
        let (subject, text) = (Subject::Damaged, sealed(ANN));
        Event::ComplaintFiled { order: ORDER, complainant: ANN, against: BOB, subject, text }
    }

    fn filed() -> Given<Complaint> {
        given::<Complaint>([]).and(file())
    }

    fn ruling(by: AccountId) -> Ruling {
        Ruling { by, reason: sealed(by) }
    }

    fn resolve(outcome: Outcome) -> Command {
        Command::Resolve { ruling: ruling(CLERK), outcome }
    }

    fn resolved(outcome: Outcome) -> Event {
        Event::ComplaintResolved { ruling: ruling(CLERK), outcome }
    }

    #[test]
    fn a_party_complains_again_once_staff_have_decided() {
        given::<Complaint>([]).when(file()).then([filed_event()]);
        filed().when(file()).then_refused(Error::AlreadyOpen);
        filed().and(resolve(Outcome::Settled)).when(file()).then([filed_event()]);
        assert_ne!(ComplaintId::of(ORDER, ANN), ComplaintId::of(ORDER, BOB));
    }

    #[test]
    fn staff_decide_and_may_decide_otherwise_later() {
        use Outcome::{AccountBlocked, AccountWarned, Dismissed, Refunded, Settled};
        for outcome in [Dismissed, Settled, Refunded, AccountWarned, AccountBlocked] {
            filed().when(resolve(outcome)).then([resolved(outcome)]);
            filed().and(resolve(outcome)).when(resolve(outcome)).then_nothing();
        }
        filed().and(resolve(Dismissed)).when(resolve(Refunded)).then([resolved(Refunded)]);
        given::<Complaint>([]).when(resolve(Dismissed)).then_refused(Error::NotFound);
    }

    #[test]
    fn nobody_decides_who_is_concerned() {
        for by in [ANN, BOB] {
            let resolve = Command::Resolve { ruling: ruling(by), outcome: Outcome::Dismissed };
            filed().when(resolve).then_refused(Error::OwnComplaint);
        }
    }

    #[test]
    fn what_is_sealed_for_somebody_else_is_refused() {
        let (subject, text) = (Subject::Other, sealed(BOB));
        let file = Command::File { order: ORDER, complainant: ANN, against: BOB, subject, text };
        given::<Complaint>([]).when(file).then_refused(Error::SealedForAnother);
        let ruling = Ruling { by: CLERK, reason: sealed(ANN) };
        let resolve = Command::Resolve { ruling, outcome: Outcome::Dismissed };
        filed().when(resolve).then_refused(Error::SealedForAnother);
    }
}
