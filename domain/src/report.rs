//! Somebody tells staff that something should not be here: a listing, a person, a message or a review.
//!
//! `Unfiled → Open ⇄ Resolved`. A stream for each reporter and thing, so nobody has two of them open about the same; once
//! staff have decided, the same may be reported again. What was written is sealed with its author's key. An outcome tells
//! what a report has led to; whoever decides sees to it that it is so. Staff may decide otherwise later. Invariant: an
//! outcome fits what was reported.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ChatId, ListingId, MessageId, ReportId, ReviewId};
use crate::ruling::Ruling;
use crate::sealed::Sealed;

/// The longest text, in characters. What is sealed cannot be measured here.
pub const LONGEST_TEXT: usize = 2_000;

/// What is asked of a report.
#[derive(Clone, Debug)]
pub enum Command {
    /// Tell staff.
    File {
        /// Who tells.
        reporter: AccountId,
        /// Of what.
        target: Target,
        /// Whose that is.
        about: AccountId,
        /// What is wrong with it.
        reason: Reason,
        /// In words.
        text: Option<Sealed<String>>,
    },
    /// Decide, as staff.
    Resolve {
        /// Who says so, and why.
        ruling: Ruling,
        /// What it has led to.
        outcome: Outcome,
    },
}

/// What is reported. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Something that is offered.
    Listing(ListingId),
    /// Somebody.
    User(AccountId),
    /// What somebody has written in a chat.
    Message {
        /// In which.
        chat: ChatId,
        /// Which message.
        message: MessageId,
    },
    /// What a buyer says of something that was bought.
    Review(ReviewId),
}

impl Target {
    /// What kind of thing it is, in JSON and in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Listing(_) => "listing",
            Self::User(_) => "user",
            Self::Message { .. } => "message",
            Self::Review(_) => "review",
        }
    }

    /// Its id.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Listing(id) => id.0,
            Self::User(id) => id.0,
            Self::Message { message, .. } => message.0,
            Self::Review(id) => id.0,
        }
    }

    /// The one report of `reporter` about it.
    pub fn report_by(&self, reporter: AccountId) -> ReportId {
        ReportId::of(reporter, self.kind(), self.id())
    }
}

/// What is wrong with something. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It advertises.
    Spam,
    /// It is to cheat somebody.
    Fraud,
    /// It is not what it is said to be.
    Counterfeit,
    /// It may not be sold here.
    Prohibited,
    /// It insults or threatens somebody.
    Abuse,
    /// It is of no one's taste.
    Indecent,
    /// It tells what is personal of somebody.
    Privacy,
    /// Something else.
    Other,
}

/// What a report has led to. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing is wrong.
    Dismissed,
    /// The listing was taken away.
    ListingRemoved,
    /// The review was hidden.
    ReviewHidden,
    /// Whose it is was warned.
    AccountWarned,
    /// Whose it is was blocked.
    AccountBlocked,
}

impl Outcome {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dismissed => "dismissed",
            Self::ListingRemoved => "listing_removed",
            Self::ReviewHidden => "review_hidden",
            Self::AccountWarned => "account_warned",
            Self::AccountBlocked => "account_blocked",
        }
    }

    fn fits(self, target: &Target) -> bool {
        match self {
            Self::ListingRemoved => matches!(target, Target::Listing(_)),
            Self::ReviewHidden => matches!(target, Target::Review(_)),
            Self::Dismissed | Self::AccountWarned | Self::AccountBlocked => true,
        }
    }
}

/// What happens to a report. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Staff were told.
    ReportFiled {
        /// By whom.
        reporter: AccountId,
        /// Of what.
        target: Target,
        /// Whose that is.
        about: AccountId,
        /// What is wrong with it.
        reason: Reason,
        /// In words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<Sealed<String>>,
    },
    /// Staff have decided.
    ReportResolved {
        /// Who, and why.
        ruling: Ruling,
        /// What it has led to.
        outcome: Outcome,
    },
}

event_versions!(Event { ReportFiled = "1", ReportResolved = "1" });

/// Why a report refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such report.
    #[error("there is no such report")]
    NotFound,
    /// There is no such thing, or whoever reports may not see it.
    #[error("there is no such {kind}")]
    NoSuchTarget {
        /// What kind of thing it would be.
        kind: &'static str,
    },
    /// Nobody reports what is theirs.
    #[error("this is your own")]
    OwnThing,
    /// Staff have not decided yet.
    #[error("this was reported already, and staff have not decided yet")]
    AlreadyOpen,
    /// Nobody of the staff decides on what they have reported themselves, or on what is theirs.
    #[error("nobody decides on a report of their own, or on one about themselves")]
    OwnReport,
    /// Something else cannot have come of it.
    #[error("a report of a {kind} cannot end in {}", .outcome.name())]
    OutcomeUnfit {
        /// What was reported.
        kind: &'static str,
        /// What is said to have come of it.
        outcome: Outcome,
    },
    /// What is said to have been done was not.
    #[error("this says {}, which was not done", .outcome.name())]
    NotDone {
        /// What is said.
        outcome: Outcome,
    },
    /// A field was sealed with somebody else's key, and would be forgotten with the wrong person.
    #[error("a field of the report is sealed for somebody else")]
    SealedForAnother,
}

/// A report.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Report {
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
    /// Who told.
    pub reporter: AccountId,
    /// Of what.
    pub target: Target,
    /// Whose that is.
    pub about: AccountId,
}

impl Report {
    /// What staff were told.
    pub fn filed(&self) -> Result<&Filed, Error> {
        match self {
            Self::Unfiled => Err(Error::NotFound),
            Self::Open(filed) | Self::Resolved(filed, _) => Ok(filed),
        }
    }

    /// What it has led to, if staff have decided.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Unfiled | Self::Open(_) => None,
            Self::Resolved(_, outcome) => Some(*outcome),
        }
    }
}

impl Aggregate for Report {
    const TYPE: &'static str = "report";
    type Id = ReportId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Open(_), Command::File { .. }) => Err(Error::AlreadyOpen),
            (Self::Unfiled | Self::Resolved(..), Command::File { reporter, target, about, reason, text }) => {
                if about == reporter {
                    return Err(Error::OwnThing);
                }
                if text.as_ref().is_some_and(|text| text.of != reporter) {
                    return Err(Error::SealedForAnother);
                }
                Ok(vec![Event::ReportFiled { reporter, target, about, reason, text }])
            }
            (Self::Unfiled, Command::Resolve { .. }) => Err(Error::NotFound),
            (Self::Open(filed) | Self::Resolved(filed, _), Command::Resolve { ruling, outcome }) => {
                self.resolve(filed, ruling, outcome)
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (*self, event) {
            (Self::Unfiled | Self::Resolved(..), Event::ReportFiled { reporter, target, about, .. }) => {
                Self::Open(Filed { reporter: *reporter, target: *target, about: *about })
            }
            (Self::Open(filed) | Self::Resolved(filed, _), Event::ReportResolved { outcome, .. }) => {
                Self::Resolved(filed, *outcome)
            }
            // No decision leads here; a fold never fails.
            (state @ Self::Open(_), Event::ReportFiled { .. })
            | (state @ Self::Unfiled, Event::ReportResolved { .. }) => state,
        };
    }
}

impl Report {
    fn resolve(&self, filed: &Filed, ruling: Ruling, outcome: Outcome) -> Result<Vec<Event>, Error> {
        if [filed.reporter, filed.about].contains(&ruling.by) {
            return Err(Error::OwnReport);
        }
        if !outcome.fits(&filed.target) {
            return Err(Error::OutcomeUnfit { kind: filed.target.kind(), outcome });
        }
        if !ruling.is_sealed_for_its_author() {
            return Err(Error::SealedForAnother);
        }
        let told = self.outcome() == Some(outcome);
        Ok(if told { vec![] } else { vec![Event::ReportResolved { ruling, outcome }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Given, given};

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const CLERK: AccountId = AccountId(Uuid::from_u128(3));
    const LISTING: Target = Target::Listing(ListingId(Uuid::from_u128(4)));
    const REVIEW: Target = Target::Review(ReviewId(Uuid::from_u128(4)));
    const MESSAGE: Target =
        Target::Message { chat: ChatId(Uuid::from_u128(5)), message: MessageId(Uuid::from_u128(4)) };

    fn sealed(of: AccountId) -> Sealed<String> {
        Sealed::from_ciphertext(of, "text".to_owned())
    }

    fn file_of(target: Target) -> Command {
        Command::File { reporter: ANN, target, about: BOB, reason: Reason::Fraud, text: Some(sealed(ANN)) }
    }

    fn filed_event() -> Event {
        Event::ReportFiled {
            reporter: ANN,
            target: LISTING,
            about: BOB,
            reason: Reason::Fraud,
            text: Some(sealed(ANN)),
        }
    }

    fn ruling(by: AccountId) -> Ruling {
        Ruling { by, reason: sealed(by) }
    }

    fn resolve(outcome: Outcome) -> Command {
        Command::Resolve { ruling: ruling(CLERK), outcome }
    }

    fn resolved(outcome: Outcome) -> Event {
        Event::ReportResolved { ruling: ruling(CLERK), outcome }
    }

    fn filed(target: Target) -> Given<Report> {
        given::<Report>([]).and(file_of(target))
    }

    #[test]
    fn something_is_reported_again_once_staff_have_decided() {
        given::<Report>([]).when(file_of(LISTING)).then([filed_event()]);
        filed(LISTING).when(file_of(LISTING)).then_refused(Error::AlreadyOpen);
        let decided = || filed(LISTING).and(resolve(Outcome::Dismissed));
        decided().when(file_of(LISTING)).then([filed_event()]);
        assert_eq!(decided().and(file_of(LISTING)).state().outcome(), None);
    }

    #[test]
    fn each_reporter_and_thing_has_a_report_of_its_own() {
        let listing = LISTING.report_by(ANN);
        for other in [LISTING.report_by(BOB), REVIEW.report_by(ANN), MESSAGE.report_by(ANN)] {
            assert_ne!(other, listing);
        }
        assert_eq!(LISTING.report_by(ANN), listing);
    }

    #[test]
    fn nobody_reports_what_is_theirs() {
        let own = Command::File { reporter: ANN, target: LISTING, about: ANN, reason: Reason::Other, text: None };
        given::<Report>([]).when(own).then_refused(Error::OwnThing);
    }

    #[test]
    fn staff_decide_and_may_decide_otherwise_later() {
        use Outcome::{AccountBlocked, AccountWarned, Dismissed};
        for outcome in [Dismissed, AccountWarned, AccountBlocked] {
            for target in [LISTING, REVIEW, MESSAGE, Target::User(BOB)] {
                filed(target).when(resolve(outcome)).then([resolved(outcome)]);
            }
        }
        let dismissed = || filed(LISTING).and(resolve(Dismissed));
        dismissed().when(resolve(Dismissed)).then_nothing();
        dismissed().when(resolve(AccountWarned)).then([resolved(AccountWarned)]);
        given::<Report>([]).when(resolve(Dismissed)).then_refused(Error::NotFound);
    }

    #[test]
    fn an_outcome_fits_what_was_reported() {
        use Outcome::{ListingRemoved, ReviewHidden};
        filed(LISTING).when(resolve(ListingRemoved)).then([resolved(ListingRemoved)]);
        filed(REVIEW).when(resolve(ReviewHidden)).then([resolved(ReviewHidden)]);
        for (target, outcome) in [(REVIEW, ListingRemoved), (LISTING, ReviewHidden), (MESSAGE, ReviewHidden)] {
            let kind = target.kind();
            filed(target).when(resolve(outcome)).then_refused(Error::OutcomeUnfit { kind, outcome });
        }
    }

    #[test]
    fn nobody_decides_who_is_concerned() {
        for by in [ANN, BOB] {
            let resolve = Command::Resolve { ruling: ruling(by), outcome: Outcome::Dismissed };
            filed(LISTING).when(resolve).then_refused(Error::OwnReport);
        }
    }

    #[test]
    fn what_is_sealed_for_somebody_else_is_refused() {
        let text = Some(sealed(BOB));
        let file = Command::File { reporter: ANN, target: LISTING, about: BOB, reason: Reason::Spam, text };
        given::<Report>([]).when(file).then_refused(Error::SealedForAnother);
        let ruling = Ruling { by: CLERK, reason: sealed(ANN) };
        let resolve = Command::Resolve { ruling, outcome: Outcome::Dismissed };
        filed(LISTING).when(resolve).then_refused(Error::SealedForAnother);
    }
}
