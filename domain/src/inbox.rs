//! What somebody wants to be told of, and what of it they have seen: one inbox per account, with the id of that.
//!
//! What is in it follows from the events of others ([`crate::notice`]); here is only what its owner has said. `Untouched ⇄
//! Kept`: preferences, marks that something was read, and the clean-up, which lets go what was read long enough ago, a
//! day's worth at a time. Invariant: while anything read is kept, a clean-up is due.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, NotificationId};
use crate::notice::{Channels, Kind};

/// So long after it was read something is kept, and until the day is over.
pub const READ_KEPT_FOR: TimeDelta = TimeDelta::days(90);
/// Of so many marks it is remembered that they are made. One that is made again afterwards changes nothing.
const MARKS_REMEMBERED: usize = 100;

/// What is asked of an inbox.
#[derive(Clone, Debug)]
pub enum Command {
    /// Note that something was read.
    Read {
        /// What.
        notification: NotificationId,
        /// The time.
        now: Timestamp,
    },
    /// Note that everything was read.
    ReadAll {
        /// The time.
        now: Timestamp,
    },
    /// Be told otherwise from now on.
    Prefer {
        /// Where, by what it is about. What is not named stays.
        preferences: BTreeMap<Kind, Channels>,
    },
    /// Let go what was read long enough ago.
    CleanUp {
        /// The time.
        now: Timestamp,
    },
}

/// What happens to an inbox. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Something was read.
    NotificationRead {
        /// What.
        notification: NotificationId,
        /// When.
        at: Timestamp,
        /// When the next clean-up is due, if none was before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clean_up_at: Option<Timestamp>,
    },
    /// Everything that was there was read.
    AllRead {
        /// When.
        at: Timestamp,
        /// When the next clean-up is due, if none was before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clean_up_at: Option<Timestamp>,
    },
    /// Its owner wants to be told otherwise.
    PreferencesChanged {
        /// Where, by what it is about.
        preferences: BTreeMap<Kind, Channels>,
    },
    /// What was read before then is gone.
    ReadCleanedUp {
        /// Before when.
        before: Timestamp,
        /// When the next clean-up is due, if anything is left to do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clean_up_at: Option<Timestamp>,
    },
}

event_versions!(Event {
    NotificationRead = "1",
    AllRead = "1",
    PreferencesChanged = "1",
    ReadCleanedUp = "1",
});

/// Why an inbox refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// It is not time yet.
    #[error("the next clean-up is due at {clean_up_at}")]
    TooEarly {
        /// When it is due.
        clean_up_at: Timestamp,
    },
    /// This is told there whatever somebody wants.
    #[error("notifications of the kind `{kind}` cannot be turned off there")]
    Fixed {
        /// What it is about.
        kind: Kind,
    },
}

/// An inbox.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Inbox {
    /// Where its owner wants to be told, where that is not as usual.
    pub preferences: BTreeMap<Kind, Channels>,
    /// The last marks, the newest last, since everything was read.
    marks: VecDeque<NotificationId>,
    /// The days, in UTC, on which something was read that is still kept.
    days: BTreeSet<NaiveDate>,
}

/// When what was read on a day may go: all of it has been kept long enough.
fn clean_up_at(day: NaiveDate) -> Timestamp {
    let over = day.and_time(NaiveTime::MIN).and_utc() + TimeDelta::days(1);
    over + READ_KEPT_FOR
}

impl Inbox {
    /// Where its owner is told of a kind.
    pub fn channels(&self, kind: Kind) -> Channels {
        kind.told(self.preferences.get(&kind).copied().unwrap_or_else(|| kind.usual()))
    }

    /// When the first clean-up is due, if none was until something was read now.
    fn first_clean_up(&self, now: Timestamp) -> Option<Timestamp> {
        self.days.is_empty().then(|| clean_up_at(now.date_naive()))
    }
}

impl Aggregate for Inbox {
    const TYPE: &'static str = "inbox";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Read { notification, now } => {
                if self.marks.contains(&notification) {
                    return Ok(vec![]);
                }
                let clean_up_at = self.first_clean_up(now);
                Ok(vec![Event::NotificationRead { notification, at: now, clean_up_at }])
            }
            Command::ReadAll { now } => Ok(vec![Event::AllRead { at: now, clean_up_at: self.first_clean_up(now) }]),
            Command::Prefer { mut preferences } => {
                if let Some((kind, _)) = preferences.iter().find(|(kind, wanted)| kind.told(**wanted) != **wanted) {
                    return Err(Error::Fixed { kind: *kind });
                }
                preferences.retain(|kind, wanted| self.channels(*kind) != *wanted);
                let none = preferences.is_empty();
                Ok(if none { vec![] } else { vec![Event::PreferencesChanged { preferences }] })
            }
            Command::CleanUp { now } => {
                let Some(first) = self.days.first() else { return Ok(vec![]) };
                let due = clean_up_at(*first);
                if now < due {
                    return Err(Error::TooEarly { clean_up_at: due });
                }
                let before = (now - READ_KEPT_FOR).date_naive().and_time(NaiveTime::MIN).and_utc();
                let left = self.days.range(before.date_naive()..).next();
                Ok(vec![Event::ReadCleanedUp { before, clean_up_at: left.map(|day| clean_up_at(*day)) }])
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::NotificationRead { notification, at, .. } => {
                self.marks.push_back(*notification);
                while self.marks.len() > MARKS_REMEMBERED {
                    self.marks.pop_front();
                }
                self.days.insert(at.date_naive());
            }
            Event::AllRead { at, .. } => {
                self.marks.clear();
                self.days.insert(at.date_naive());
            }
            Event::PreferencesChanged { preferences } => self.preferences.extend(preferences),
            Event::ReadCleanedUp { before, .. } => self.days = self.days.split_off(&before.date_naive()),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const NOON: Timestamp = Timestamp::from_timestamp(1_700_049_600, 0).unwrap();

    fn id(number: u128) -> NotificationId {
        NotificationId(Uuid::from_u128(number))
    }

    fn read(number: u128, now: Timestamp) -> Command {
        Command::Read { notification: id(number), now }
    }

    /// The end of the day, and the time for which it is kept.
    fn due() -> Timestamp {
        NOON + TimeDelta::hours(12) + READ_KEPT_FOR
    }

    #[test]
    fn something_is_read_once_and_the_first_of_a_time_sets_the_clean_up() {
        let first = Event::NotificationRead { notification: id(1), at: NOON, clean_up_at: Some(due()) };
        given::<Inbox>([]).when(read(1, NOON)).then([first.clone()]);
        given::<Inbox>([first.clone()]).when(read(1, NOON)).then_nothing();
        let later = NOON + TimeDelta::days(3);
        let second = Event::NotificationRead { notification: id(2), at: later, clean_up_at: None };
        given::<Inbox>([first]).when(read(2, later)).then([second]);
    }

    #[test]
    fn the_clean_up_lets_go_whole_days_and_says_when_the_next_is_due() {
        let later = NOON + TimeDelta::days(3);
        let kept = || given::<Inbox>([]).and(read(1, NOON)).and(Command::ReadAll { now: later });
        let clean_up = |now| Command::CleanUp { now };
        kept().when(clean_up(due() - TimeDelta::seconds(1))).then_refused(Error::TooEarly { clean_up_at: due() });
        let next = due() + TimeDelta::days(3);
        let before = NOON + TimeDelta::hours(12);
        kept().when(clean_up(due())).then([Event::ReadCleanedUp { before, clean_up_at: Some(next) }]);
        // Late, it lets go everything that is due.
        let before = before + TimeDelta::days(3);
        kept().when(clean_up(next)).then([Event::ReadCleanedUp { before, clean_up_at: None }]);
        kept().and(clean_up(next)).when(clean_up(next)).then_nothing();
        let again = next + TimeDelta::hours(1);
        let clean_up_at = Some(clean_up_at(again.date_naive()));
        kept().and(clean_up(next)).when(read(2, again)).then([Event::NotificationRead {
            notification: id(2),
            at: again,
            clean_up_at,
        }]);
    }

    #[test]
    fn what_keeps_an_account_safe_cannot_be_turned_off() {
        let wanted = Channels { email: false, ..Channels::ALL };
        let prefer = |kind, wanted| Command::Prefer { preferences: BTreeMap::from([(kind, wanted)]) };
        given::<Inbox>([]).when(prefer(Kind::Security, wanted)).then_refused(Error::Fixed { kind: Kind::Security });
        let quiet = Channels { live: false, ..Channels::ALL };
        let changed = |kind, wanted| Event::PreferencesChanged { preferences: BTreeMap::from([(kind, wanted)]) };
        given::<Inbox>([]).when(prefer(Kind::Security, quiet)).then([changed(Kind::Security, quiet)]);
        given::<Inbox>([]).when(prefer(Kind::Outbid, wanted)).then([changed(Kind::Outbid, wanted)]);
        given::<Inbox>([changed(Kind::Outbid, wanted)]).when(prefer(Kind::Outbid, wanted)).then_nothing();
        given::<Inbox>([]).when(prefer(Kind::Outbid, Kind::Outbid.usual())).then_nothing();
        let state = given::<Inbox>([]).and(prefer(Kind::Outbid, wanted));
        assert_eq!(state.state().channels(Kind::Outbid), wanted);
        assert_eq!(state.state().channels(Kind::Won), Channels::ALL);
    }

    #[test]
    fn the_marks_that_are_remembered_are_bounded() {
        let mut inbox = given::<Inbox>([]);
        for number in 0..=100 {
            inbox = inbox.and(read(number, NOON));
        }
        assert_eq!(inbox.state().marks.len(), MARKS_REMEMBERED);
        let again = Event::NotificationRead { notification: id(0), at: NOON, clean_up_at: None };
        inbox.when(read(0, NOON)).then([again]);
    }
}
