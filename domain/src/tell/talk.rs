//! What people say: to each other, of each other, and to the staff.

use super::{Tell, at};
use crate::notice::Addressee;
use crate::{broadcast, chat, complaint, feedback, report, review};

impl Tell for broadcast::Event {
    fn tell(&self) -> String {
        match self {
            Self::BroadcastSent { to, until, .. } => {
                let to = match to {
                    Addressee::Account(_) => "one account",
                    Addressee::Everybody => "everybody",
                    Addressee::Holders(_) => "all who may do something",
                };
                format!("The staff spoke to {to}, until {}.", at(*until))
            }
            Self::BroadcastWithdrawn {} => "What the staff had said is shown no more.".to_owned(),
        }
    }
}

impl Tell for chat::Event {
    fn tell(&self) -> String {
        match self {
            Self::ChatOpened { .. } => "A conversation was begun.".to_owned(),
            Self::MessageSent { .. } => "A message was sent.".to_owned(),
            Self::ChatRead { reader: _, upto } => format!("Messages were read up to number {upto}."),
        }
    }
}

impl Tell for complaint::Event {
    fn tell(&self) -> String {
        match self {
            Self::ComplaintFiled { subject, .. } => {
                use complaint::Subject::{Conduct, Counterfeit, Damaged, NotAsDescribed, NotReceived, Other, Payment};
                let what = match subject {
                    NotReceived => "it did not come",
                    NotAsDescribed => "it is not what was offered",
                    Damaged => "it came broken",
                    Counterfeit => "it is not what it is said to be",
                    Payment => "it was not paid, or not given back",
                    Conduct => "the other party behaves badly",
                    Other => "something else",
                };
                format!("A complaint about an order was filed: {what}.")
            }
            Self::ComplaintResolved { ruling: _, outcome } => {
                use complaint::Outcome::{AccountBlocked, AccountWarned, Dismissed, Refunded, Settled};
                let what = match outcome {
                    Dismissed => "nothing is wrong",
                    Settled => "the parties have come to terms",
                    Refunded => "money went back",
                    AccountWarned => "the other party was warned",
                    AccountBlocked => "the other party was blocked",
                };
                format!("The staff have decided: {what}.")
            }
        }
    }
}

impl Tell for feedback::Event {
    fn tell(&self) -> String {
        match self {
            Self::FeedbackGiven { .. } => "The buyer has said how the order was served.".to_owned(),
        }
    }
}

impl Tell for report::Event {
    fn tell(&self) -> String {
        match self {
            Self::ReportFiled { target, .. } => {
                use report::Target::{Listing, Message, Review, User};
                let what = match target {
                    Listing(_) => "A listing",
                    User(_) => "An account",
                    Message { .. } => "A message",
                    Review(_) => "A review",
                };
                format!("{what} was reported to the staff.")
            }
            Self::ReportResolved { ruling: _, outcome } => {
                use report::Outcome::{AccountBlocked, AccountWarned, Dismissed, ListingRemoved, ReviewHidden};
                let what = match outcome {
                    Dismissed => "nothing is wrong",
                    ListingRemoved => "the listing was taken away",
                    ReviewHidden => "the review was hidden",
                    AccountWarned => "whose it is was warned",
                    AccountBlocked => "whose it is was blocked",
                };
                format!("The staff have decided: {what}.")
            }
        }
    }
}

impl Tell for review::Event {
    fn tell(&self) -> String {
        match self {
            Self::ReviewWritten { content, .. } => format!("A review was written: {} of 5.", content.rating.stars()),
            Self::ReviewRevised { content, .. } => format!("The review was changed: {} of 5.", content.rating.stars()),
            Self::ReviewDeleted { .. } => "The review was deleted by its author.".to_owned(),
            Self::ReviewReplied { .. } => "The seller has answered the review.".to_owned(),
            Self::ReviewHidden { .. } => "The review was hidden by the staff.".to_owned(),
            Self::ReviewRestored { .. } => "The review is shown again.".to_owned(),
        }
    }
}
