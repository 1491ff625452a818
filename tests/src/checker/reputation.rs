//! The commands that events imply of what people say of each other: reviews, votes, feedback, reports and complaints.

use domain::complaint::{self, Complaint};
use domain::feedback::{self, Feedback};
use domain::report::{self, Report};
use domain::reporter::{self, Reporter};
use domain::review::{self, Review};
use domain::vote::{self, Vote};
use domain::{AccountId, Refusal};
use eventstore::event::DomainEvent;
use uuid::Uuid;

use super::replica::Draft;

/// Carries the command out that has caused this event.
pub(super) fn carry_out_cause(draft: &mut Draft<'_>, event: &DomainEvent) -> Result<(), Refusal> {
    match event {
        DomainEvent::Complaint(id, event) => draft.execute::<Complaint>(*id, of_complaint(event.clone())).map(drop),
        DomainEvent::Feedback(id, event) => draft.execute::<Feedback>(*id, of_feedback(event.clone())).map(drop),
        DomainEvent::Report(id, event) => draft.execute::<Report>(*id, of_report(event.clone())).map(drop),
        DomainEvent::Reporter(id, reporter::Event::ReportCounted { day }) => {
            draft.execute::<Reporter>(*id, reporter::Command::Count { today: *day, most: u32::MAX }).map(drop)
        }
        DomainEvent::Review(id, event) => {
            let review = draft.get::<Review>(*id);
            let author = review.written().map_or(AccountId(Uuid::nil()), |written| written.author);
            draft.execute::<Review>(*id, of_review(event.clone(), author)).map(drop)
        }
        DomainEvent::Vote(id, event) => draft.execute::<Vote>(*id, of_vote(*event)).map(drop),
        // Nothing else is asked here.
        _ => Ok(()),
    }
}

fn of_complaint(event: complaint::Event) -> complaint::Command {
    match event {
        complaint::Event::ComplaintFiled { order, complainant, against, subject, text } => {
            complaint::Command::File { order, complainant, against, subject, text }
        }
        complaint::Event::ComplaintResolved { ruling, outcome } => complaint::Command::Resolve { ruling, outcome },
    }
}

fn of_feedback(event: feedback::Event) -> feedback::Command {
    let feedback::Event::FeedbackGiven { buyer, seller, ratings, comment, platform_comment } = event;
    feedback::Command::Give { buyer, seller, ratings, comment, platform_comment }
}

fn of_report(event: report::Event) -> report::Command {
    match event {
        report::Event::ReportFiled { reporter, target, about, reason, text } => {
            report::Command::File { reporter, target, about, reason, text }
        }
        report::Event::ReportResolved { ruling, outcome } => report::Command::Resolve { ruling, outcome },
    }
}

fn of_review(event: review::Event, by: AccountId) -> review::Command {
    use review::{Command as C, Event as E};
    match event {
        E::ReviewWritten { bought, author, content, counted: _ } => C::Write { bought, author, content },
        E::ReviewRevised { content, counted: _ } => C::Revise { by, content },
        E::ReviewDeleted { counted: _ } => C::Delete { by },
        E::ReviewReplied { by, text } => C::Reply { by, text },
        E::ReviewHidden { ruling, counted: _ } => C::Hide { ruling },
        E::ReviewRestored { ruling, counted: _ } => C::Restore { ruling },
    }
}

fn of_vote(event: vote::Event) -> vote::Command {
    let (voter, review, helpful) = match event {
        vote::Event::VoteCast { voter, review } => (voter, review, Some(true)),
        vote::Event::VoteWithdrawn { voter, review } => (voter, review, Some(false)),
    };
    vote::Command::Turn { voter, review, helpful }
}
