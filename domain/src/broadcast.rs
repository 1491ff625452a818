//! What the staff says to everybody, to all who have a capability, or to one account.
//!
//! `Unsent → Sent → Withdrawn`. It is shown to whom it is meant for, and withdrawn after a time, since nobody looks for old
//! news. Invariants: whatever is meant for one person is sealed with their key, and so forgotten with them; why it was
//! sent is kept, sealed with the key of whoever sent it.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, BroadcastId};
use crate::notice::{Addressee, Words};
use crate::sealed::Sealed;

/// So long after it was sent it is withdrawn.
pub const SHOWN_FOR: TimeDelta = TimeDelta::days(90);

/// What is asked of a broadcast.
#[derive(Clone, Debug)]
pub enum Command {
    /// Send it.
    Send {
        /// For whom it is.
        to: Addressee,
        /// What it says.
        words: Words,
        /// Who of the staff.
        by: AccountId,
        /// Why.
        reason: Sealed<String>,
        /// The time.
        now: Timestamp,
    },
    /// Take it back, once nobody looks for it any more.
    Withdraw {
        /// The time.
        now: Timestamp,
    },
}

/// What happens to a broadcast. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was sent.
    BroadcastSent {
        /// For whom it is.
        to: Addressee,
        /// What it says.
        words: Words,
        /// Who of the staff.
        by: AccountId,
        /// Why.
        reason: Sealed<String>,
        /// Withdrawn then.
        until: Timestamp,
    },
    /// It is shown to nobody any more.
    BroadcastWithdrawn {},
}

event_versions!(Event { BroadcastSent = "1", BroadcastWithdrawn = "1" });

/// Why a broadcast refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// One id, one broadcast.
    #[error("this has been sent already")]
    AlreadySent,
    /// There is no such broadcast.
    #[error("there is no such broadcast")]
    NotFound,
    /// It is still shown.
    #[error("this is shown until {until}")]
    StillShown {
        /// Until when.
        until: Timestamp,
    },
    /// A field was sealed with somebody else's key, and would be forgotten with the wrong person; or what everybody is to
    /// read was sealed, or what one is to read was not.
    #[error("what is said is sealed for another account")]
    SealedForAnother,
}

/// A broadcast. What it says decides nothing, so it is not kept here.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Broadcast {
    /// There is none.
    #[default]
    Unsent,
    /// It is shown.
    Sent {
        /// Until then.
        until: Timestamp,
    },
    /// It is shown no more.
    Withdrawn,
}

/// Whether whoever it is for, and nobody else, can take it with them.
fn fits(to: Addressee, words: &Words) -> bool {
    match (to, words) {
        (Addressee::Account(account), Words::Sealed { title, body }) => title.of == account && body.of == account,
        (Addressee::Everybody | Addressee::Holders(_), Words::Open { .. }) => true,
        (Addressee::Account(_), Words::Open { .. })
        | (Addressee::Everybody | Addressee::Holders(_), Words::Sealed { .. }) => false,
    }
}

impl Aggregate for Broadcast {
    const TYPE: &'static str = "broadcast";
    type Id = BroadcastId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unsent, Command::Send { to, words, by, reason, now }) => {
                if reason.of != by || !fits(to, &words) {
                    return Err(Error::SealedForAnother);
                }
                Ok(vec![Event::BroadcastSent { to, words, by, reason, until: now + SHOWN_FOR }])
            }
            (Self::Sent { .. } | Self::Withdrawn, Command::Send { .. }) => Err(Error::AlreadySent),
            (Self::Sent { until }, Command::Withdraw { now }) if now < *until => {
                Err(Error::StillShown { until: *until })
            }
            (Self::Sent { .. }, Command::Withdraw { .. }) => Ok(vec![Event::BroadcastWithdrawn {}]),
            (Self::Withdrawn, Command::Withdraw { .. }) => Ok(vec![]),
            (Self::Unsent, Command::Withdraw { .. }) => Err(Error::NotFound),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match event {
            Event::BroadcastSent { until, .. } => Self::Sent { until: *until },
            Event::BroadcastWithdrawn {} => Self::Withdrawn,
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::account::Capability;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn sealed(of: AccountId) -> Sealed<String> {
        Sealed::from_ciphertext(of, "unreadable".to_owned())
    }

    fn open() -> Words {
        Words::Open { title: "Tonight".to_owned(), body: "We are away for an hour.".to_owned() }
    }

    fn sealed_words(of: AccountId) -> Words {
        Words::Sealed { title: sealed(of), body: sealed(of) }
    }

    fn send(to: Addressee, words: Words) -> Command {
        Command::Send { to, words, by: ANN, reason: sealed(ANN), now: NOW }
    }

    fn sent(to: Addressee, words: Words) -> Event {
        Event::BroadcastSent { to, words, by: ANN, reason: sealed(ANN), until: NOW + SHOWN_FOR }
    }

    #[test]
    fn it_is_sent_once_and_withdrawn_in_time() {
        let everybody = || sent(Addressee::Everybody, open());
        given::<Broadcast>([]).when(send(Addressee::Everybody, open())).then([everybody()]);
        given::<Broadcast>([everybody()]).when(send(Addressee::Everybody, open())).then_refused(Error::AlreadySent);
        let withdraw = |now| Command::Withdraw { now };
        let until = NOW + SHOWN_FOR;
        given::<Broadcast>([everybody()]).when(withdraw(NOW)).then_refused(Error::StillShown { until });
        given::<Broadcast>([everybody()]).when(withdraw(until)).then([Event::BroadcastWithdrawn {}]);
        given::<Broadcast>([everybody(), Event::BroadcastWithdrawn {}]).when(withdraw(until)).then_nothing();
        given::<Broadcast>([]).when(withdraw(until)).then_refused(Error::NotFound);
    }

    #[test]
    fn what_is_for_one_is_sealed_for_them_and_nothing_else_is() {
        let staff = Addressee::Holders(Capability::Staff);
        given::<Broadcast>([]).when(send(staff, open())).then([sent(staff, open())]);
        let to_bob = Addressee::Account(BOB);
        given::<Broadcast>([]).when(send(to_bob, sealed_words(BOB))).then([sent(to_bob, sealed_words(BOB))]);
        for (to, words) in [
            (to_bob, open()),
            (to_bob, sealed_words(ANN)),
            (staff, sealed_words(ANN)),
            (Addressee::Everybody, sealed_words(ANN)),
        ] {
            given::<Broadcast>([]).when(send(to, words)).then_refused(Error::SealedForAnother);
        }
        let command = Command::Send { to: Addressee::Everybody, words: open(), by: ANN, reason: sealed(BOB), now: NOW };
        given::<Broadcast>([]).when(command).then_refused(Error::SealedForAnother);
    }
}
