//! A seller at a payment provider, who has told it who they are and can be paid out there.
//!
//! `Unknown → Known`. It is named by what the provider calls it, so that whatever the provider says of it finds whose it
//! is. The provider says by itself whether it pays out there; since what it says may be lost, it is asked as well: soon
//! after somebody was sent there, then ever more seldom, while it does not pay out there, for [`ASKED_FOR`]. Invariant: it
//! is one account's for ever.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, MerchantId};

/// The soonest that a provider is asked again.
pub const FIRST_CHECK_AFTER: TimeDelta = TimeDelta::minutes(10);
/// The longest until it is asked again.
pub const LAST_CHECK_AFTER: TimeDelta = TimeDelta::days(1);
/// How long after somebody was sent to the provider it is asked about them.
pub const ASKED_FOR: TimeDelta = TimeDelta::days(30);
/// How many things a provider may want to know that are written down.
pub const MOST_DUE: usize = 50;
/// How long the name of such a thing may be.
pub const LONGEST_DUE: usize = 200;

/// What is asked of a merchant.
#[derive(Clone, Debug)]
pub enum Command {
    /// Note that somebody was sent to the provider.
    Onboard {
        /// Whose it is.
        account: AccountId,
        /// Which provider.
        provider: String,
        /// Its name for the merchant.
        reference: String,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Take in what the provider has answered.
    Report {
        /// Whether it pays out there.
        payouts: bool,
        /// What it still wants to know, in its own words.
        due: Vec<String>,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Take in what the provider has said by itself, which is not all that it knows.
    Notice {
        /// Whether it pays out there.
        payouts: bool,
        /// The time of the decision.
        now: Timestamp,
    },
}

/// What happens to a merchant. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// Somebody was sent to the provider for the first time.
    MerchantAdded {
        /// Whose it is.
        account: AccountId,
        /// Which provider.
        provider: String,
        /// Its name for the merchant.
        reference: String,
    },
    /// Somebody was sent to the provider.
    MerchantSent {
        /// When.
        at: Timestamp,
        /// When the provider is asked what has come of it.
        check_at: Timestamp,
    },
    /// The provider pays out there, or does not any more, or wants to know something else.
    MerchantChanged {
        /// Whether it pays out there.
        payouts: bool,
        /// What it still wants to know, in its own words.
        due: Vec<String>,
    },
    /// The provider was asked, or is to be.
    MerchantChecked {
        /// When it is asked next, if it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check_at: Option<Timestamp>,
    },
}

event_versions!(Event { MerchantAdded = "1", MerchantSent = "1", MerchantChanged = "1", MerchantChecked = "1" });

/// Why a merchant refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such merchant.
    #[error("there is no such merchant")]
    NotFound,
    /// The provider says that it is somebody else.
    #[error("this merchant is another account's")]
    SomebodyElse,
}

/// A merchant.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Merchant {
    /// None of this name.
    #[default]
    Unknown,
    /// Somebody.
    Known(Known),
}

/// A merchant that is somebody's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Known {
    /// Whose it is.
    pub account: AccountId,
    /// Which provider's.
    pub provider: String,
    /// The provider's name for it.
    pub reference: String,
    /// Whether the provider pays out there.
    pub payouts: bool,
    /// What it still wants to know, in its own words.
    pub due: Vec<String>,
    /// When somebody was sent to the provider last.
    sent_at: Option<Timestamp>,
    /// When the provider is asked next, if it is.
    check_at: Option<Timestamp>,
}

impl Merchant {
    /// The merchant, if it is somebody's.
    pub fn known(&self) -> Result<&Known, Error> {
        match self {
            Self::Unknown => Err(Error::NotFound),
            Self::Known(known) => Ok(known),
        }
    }
}

impl Known {
    fn report(&self, payouts: bool, due: Vec<String>, now: Timestamp) -> Vec<Event> {
        let mut events = self.change(payouts, due);
        let check_at = if payouts { None } else { self.next_check(now) };
        // One that is still to come stands.
        if self.check_at.is_some_and(|due| due <= now || payouts) {
            events.push(Event::MerchantChecked { check_at });
        }
        events
    }

    /// What it wants to know it has not said: that is asked, soon.
    fn notice(&self, payouts: bool, now: Timestamp) -> Vec<Event> {
        let due = if payouts { vec![] } else { self.due.clone() };
        let mut events = self.change(payouts, due);
        if payouts && self.check_at.is_some() {
            events.push(Event::MerchantChecked { check_at: None });
        } else if !payouts && self.check_at.is_none_or(|check_at| check_at > now) {
            events.push(Event::MerchantChecked { check_at: Some(now) });
        }
        events
    }

    fn change(&self, payouts: bool, due: Vec<String>) -> Vec<Event> {
        let due: Vec<String> =
            due.into_iter().take(MOST_DUE).map(|name| name.chars().take(LONGEST_DUE).collect()).collect();
        let same = self.payouts == payouts && self.due == due;
        if same { vec![] } else { vec![Event::MerchantChanged { payouts, due }] }
    }

    /// As long from now as it has taken until now, within bounds.
    fn next_check(&self, now: Timestamp) -> Option<Timestamp> {
        let taken = now - self.sent_at?;
        (taken < ASKED_FOR).then(|| now + taken.clamp(FIRST_CHECK_AFTER, LAST_CHECK_AFTER))
    }
}

impl Aggregate for Merchant {
    const TYPE: &'static str = "merchant";
    type Id = MerchantId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unknown, Command::Onboard { account, provider, reference, now }) => {
                let sent = Event::MerchantSent { at: now, check_at: now + FIRST_CHECK_AFTER };
                Ok(vec![Event::MerchantAdded { account, provider, reference }, sent])
            }
            (Self::Unknown, Command::Report { .. } | Command::Notice { .. }) => Err(Error::NotFound),
            (Self::Known(known), Command::Onboard { account, .. }) if known.account != account => {
                Err(Error::SomebodyElse)
            }
            // Whoever is paid out there already may have something to change, and the provider says so if it matters.
            (Self::Known(known), Command::Onboard { .. }) if known.payouts => Ok(vec![]),
            (Self::Known(_), Command::Onboard { now, .. }) => {
                Ok(vec![Event::MerchantSent { at: now, check_at: now + FIRST_CHECK_AFTER }])
            }
            (Self::Known(known), Command::Report { payouts, due, now }) => Ok(known.report(payouts, due, now)),
            (Self::Known(known), Command::Notice { payouts, now }) => Ok(known.notice(payouts, now)),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Unknown, Event::MerchantAdded { account, provider, reference }) => {
                *self = Self::Known(Known {
                    account: *account,
                    provider: provider.clone(),
                    reference: reference.clone(),
                    payouts: false,
                    due: vec![],
                    sent_at: None,
                    check_at: None,
                });
            }
            (Self::Known(known), Event::MerchantSent { at, check_at }) => {
                (known.sent_at, known.check_at) = (Some(*at), Some(*check_at));
            }
            (Self::Known(known), Event::MerchantChanged { payouts, due }) => {
                (known.payouts, known.due) = (*payouts, due.clone());
            }
            (Self::Known(known), Event::MerchantChecked { check_at }) => known.check_at = *check_at,
            // No decision leads here; a fold never fails.
            (Self::Known(_), Event::MerchantAdded { .. })
            | (
                Self::Unknown,
                Event::MerchantSent { .. } | Event::MerchantChanged { .. } | Event::MerchantChecked { .. },
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Given, given};

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn at(minutes: i64) -> Timestamp {
        Timestamp::default() + TimeDelta::minutes(minutes)
    }

    fn onboard(account: AccountId, minutes: i64) -> Command {
        let (provider, reference) = ("stripe".to_owned(), "acct_1".to_owned());
        Command::Onboard { account, provider, reference, now: at(minutes) }
    }

    fn report(payouts: bool, due: &[&str], minutes: i64) -> Command {
        let due = due.iter().map(|name| (*name).to_owned()).collect();
        Command::Report { payouts, due, now: at(minutes) }
    }

    fn notice(payouts: bool, minutes: i64) -> Command {
        Command::Notice { payouts, now: at(minutes) }
    }

    fn changed(payouts: bool, due: &[&str]) -> Event {
        Event::MerchantChanged { payouts, due: due.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn checked(minutes: Option<i64>) -> Event {
        Event::MerchantChecked { check_at: minutes.map(at) }
    }

    fn known() -> Given<Merchant> {
        given([]).and(onboard(ANN, 0))
    }

    #[test]
    fn whoever_is_sent_to_the_provider_is_asked_about_soon() {
        let (provider, reference) = ("stripe".to_owned(), "acct_1".to_owned());
        let sent = |minutes| Event::MerchantSent { at: at(minutes), check_at: at(minutes + 10) };
        given::<Merchant>([])
            .when(onboard(ANN, 0))
            .then([Event::MerchantAdded { account: ANN, provider, reference }, sent(0)]);
        known().when(onboard(ANN, 5)).then([sent(5)]);
        known().when(onboard(BOB, 5)).then_refused(Error::SomebodyElse);
        given::<Merchant>([]).when(report(true, &[], 0)).then_refused(Error::NotFound);
        given::<Merchant>([]).when(notice(true, 0)).then_refused(Error::NotFound);
    }

    #[test]
    fn the_provider_is_asked_ever_more_seldom_and_some_day_no_more() {
        known().when(report(false, &["id"], 10)).then([changed(false, &["id"]), checked(Some(20))]);
        let day = 24 * 60;
        known().and(report(false, &[], 10)).when(report(false, &[], 100)).then([checked(Some(200))]);
        known().when(report(false, &[], 3 * day)).then([checked(Some(4 * day))]);
        known().when(report(false, &[], 30 * day)).then([checked(None)]);
        // Answered before it was due: what is due stands.
        known().when(report(false, &[], 5)).then_nothing();
    }

    #[test]
    fn once_the_provider_pays_out_it_is_not_asked_any_more() {
        known().when(report(true, &[], 5)).then([changed(true, &[]), checked(None)]);
        known().when(notice(true, 5)).then([changed(true, &[]), checked(None)]);
        known().and(notice(true, 5)).when(notice(true, 6)).then_nothing();
        known().and(notice(true, 5)).when(onboard(ANN, 6)).then_nothing();
    }

    #[test]
    fn what_a_notice_does_not_tell_is_asked_at_once() {
        let paid_out = || known().and(notice(true, 5));
        paid_out().when(notice(false, 9)).then([changed(false, &[]), checked(Some(9))]);
        paid_out().and(notice(false, 9)).when(notice(false, 9)).then_nothing();
        paid_out()
            .and(notice(false, 9))
            .when(report(false, &["id"], 9))
            .then([changed(false, &["id"]), checked(Some(19))]);
    }

    #[test]
    fn what_the_provider_wants_to_know_is_bounded() {
        let long = "x".repeat(LONGEST_DUE + 1);
        let many: Vec<&str> = std::iter::repeat_n(long.as_str(), MOST_DUE + 1).collect();
        let known = known().and(report(false, &many, 5));
        let due = &known.state().known().unwrap().due;
        assert_eq!((due.len(), due[0].len()), (MOST_DUE, LONGEST_DUE));
    }
}
