//! The subscriptions of an account to plans: one at a time, paid from its wallet, a period ahead.
//!
//! `None → Active ⇄ InGrace → None`. A period is paid when it begins, and what was paid is deferred revenue until it
//! ends; then it is recognised as income, in the same commit in which the next period is paid, or is not. What a
//! subscription is bought under ([`Terms`]) is frozen: neither its price nor what it brings changes until its subscriber
//! buys something else.
//!
//! - **Renewal.** At the end of a period the next is paid from the wallet. If that has too little, the subscription goes
//!   on for [`GRACE_DAYS`] more, and payment is tried again every day, or when its subscriber asks; a period that is paid
//!   late still begins where the one before has ended. Then it ends.
//! - **Cancelling** takes effect when the period that is paid has ended; in grace, at once. Nothing is paid back.
//! - **Another plan** that costs more a day begins at once: of the period that goes on, the days that have not begun are
//!   credited, by largest remainder, so that what was used and what is credited are what was paid; the rest of the price
//!   is charged. Any other, and one in another currency or for less than the credit, begins when the period has ended.
//! - **Reminder.** [`REMIND_DAYS`] before a period ends its subscriber is told, once.
//!
//! Invariants: an account has one subscription; a period is charged once and recognised once; while a period goes on, all
//! that it has cost is deferred, and nothing otherwise.

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, PeriodId, SubscriptionId};
use crate::ledger::{LedgerAccount, Posting};
use crate::money::{Money, MoneyError};
use crate::plan::Terms;

#[cfg(test)]
mod tests;

/// For how many days a subscription goes on that could not be paid.
pub const GRACE_DAYS: i64 = 3;
/// How many days before the end of a period its subscriber is told.
pub const REMIND_DAYS: i64 = 3;
/// How many days pass between two attempts to be paid.
const RETRY_DAYS: i64 = 1;
const DAY_MS: u64 = 86_400_000;

/// What is asked of the subscriptions of an account.
#[derive(Clone, Debug)]
pub enum Command {
    /// Subscribe to a plan, or go over to it, or keep it after all.
    Purchase {
        /// Whose subscriptions these are.
        owner: AccountId,
        /// The id minted for a new one.
        subscription: SubscriptionId,
        /// What is bought.
        terms: Terms,
        /// The time.
        now: Timestamp,
    },
    /// Do not renew it.
    Cancel {
        /// Which; the one that there is unless told.
        subscription: Option<SubscriptionId>,
    },
    /// Go over from a period that has ended to the next, or try again to.
    Renew {
        /// Whether that can be.
        outlook: Outlook,
        /// The time.
        now: Timestamp,
    },
    /// Tell its subscriber that the period ends soon.
    Remind {
        /// The time.
        now: Timestamp,
    },
}

/// Whether another period can begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outlook {
    /// There is enough in the wallet.
    Payable,
    /// There is too little.
    Unpayable,
    /// It cannot, whatever is in the wallet.
    Barred(EndCause),
}

/// A time that was paid for. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Which of the subscription's, from 1.
    pub number: u32,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it is over.
    pub ends_at: Timestamp,
}

impl Period {
    fn of(number: u32, starts_at: Timestamp, terms: &Terms) -> Self {
        Self { number, starts_at, ends_at: starts_at + TimeDelta::days(i64::from(terms.period_days)) }
    }

    /// When its subscriber is told that it ends.
    pub fn remind_at(self) -> Timestamp {
        self.ends_at - TimeDelta::days(REMIND_DAYS)
    }
}

/// Why a subscription has ended. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Its subscriber wanted it so.
    Cancelled,
    /// It was not paid in time.
    NotPaid,
    /// Its plan is not sold any more.
    PlanRetired,
    /// Its subscriber may not trade any more, or is forgotten.
    AccountBarred,
    /// Its subscriber has bought another plan while it was not paid.
    Replaced,
}

/// What happens to the subscriptions of an account. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// A subscription began, and its first period is paid.
    SubscriptionPurchased {
        /// Which.
        subscription: SubscriptionId,
        /// Whose.
        owner: AccountId,
        /// Under what it was bought.
        terms: Terms,
        /// The period.
        period: Period,
        /// Available → deferred revenue.
        postings: Vec<Posting>,
    },
    /// Its subscriber has gone over to another plan, and the period that went on has ended for one of that.
    SubscriptionUpgraded {
        /// Which.
        subscription: SubscriptionId,
        /// Under what it goes on.
        terms: Terms,
        /// The period that began.
        period: Period,
        /// What was credited of the period that went on.
        unused: Money,
        /// What was charged: the price less what was credited.
        charged: Money,
        /// Deferred revenue → subscription income for what was used, available → deferred revenue for what was charged.
        postings: Vec<Posting>,
    },
    /// Its subscriber goes over to another plan when the period has ended.
    PlanChangeScheduled {
        /// Which.
        subscription: SubscriptionId,
        /// Under what it goes on then.
        terms: Terms,
    },
    /// It is not renewed.
    SubscriptionCancelled {
        /// Which.
        subscription: SubscriptionId,
    },
    /// It is renewed as it is after all.
    SubscriptionContinued {
        /// Which.
        subscription: SubscriptionId,
    },
    /// Its subscriber is told that the period ends soon.
    RenewalReminded {
        /// Which.
        subscription: SubscriptionId,
        /// Which of its periods.
        period: u32,
        /// When it ends.
        ends_at: Timestamp,
        /// What is charged then; nothing if it is not renewed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        charges: Option<Money>,
    },
    /// A period has ended, and what it has cost is earned.
    PeriodRecognised {
        /// Which.
        subscription: SubscriptionId,
        /// Which of its periods.
        period: u32,
        /// How much.
        amount: Money,
        /// Deferred revenue → subscription income.
        postings: Vec<Posting>,
    },
    /// The next period began, and is paid.
    SubscriptionRenewed {
        /// Which.
        subscription: SubscriptionId,
        /// Under what it goes on.
        terms: Terms,
        /// The period.
        period: Period,
        /// Available → deferred revenue.
        postings: Vec<Posting>,
    },
    /// There was too little in the wallet for the next period.
    RenewalFailed {
        /// Which.
        subscription: SubscriptionId,
        /// What it costs.
        requested: Money,
        /// When it is tried again.
        retry_at: Timestamp,
        /// When it ends unless it is paid.
        until: Timestamp,
    },
    /// It is over.
    SubscriptionEnded {
        /// Which.
        subscription: SubscriptionId,
        /// Why.
        cause: EndCause,
    },
}

event_versions!(Event {
    SubscriptionPurchased = "1",
    SubscriptionUpgraded = "1",
    PlanChangeScheduled = "1",
    SubscriptionCancelled = "1",
    SubscriptionContinued = "1",
    RenewalReminded = "1",
    PeriodRecognised = "1",
    SubscriptionRenewed = "1",
    RenewalFailed = "1",
    SubscriptionEnded = "1",
});

/// What is taken from a wallet for a period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Charge {
    /// Which subscription.
    pub subscription: SubscriptionId,
    /// Which of its periods.
    pub period: PeriodId,
    /// How much; nothing where a credit pays for all of it.
    pub amount: Money,
}

impl Event {
    /// The movements of money that this event posts.
    pub fn postings(&self) -> &[Posting] {
        match self {
            Self::SubscriptionPurchased { postings, .. }
            | Self::SubscriptionUpgraded { postings, .. }
            | Self::PeriodRecognised { postings, .. }
            | Self::SubscriptionRenewed { postings, .. } => postings,
            Self::PlanChangeScheduled { .. }
            | Self::SubscriptionCancelled { .. }
            | Self::SubscriptionContinued { .. }
            | Self::RenewalReminded { .. }
            | Self::RenewalFailed { .. }
            | Self::SubscriptionEnded { .. } => &[],
        }
    }

    /// What is taken from a wallet for the period that begins with this event, if one does.
    pub fn charge(&self) -> Option<Charge> {
        let charge = |subscription: &SubscriptionId, period: &Period, amount: &Money| Charge {
            subscription: *subscription,
            period: PeriodId::of(*subscription, period.number),
            amount: *amount,
        };
        match self {
            Self::SubscriptionPurchased { subscription, terms, period, .. }
            | Self::SubscriptionRenewed { subscription, terms, period, .. } => {
                Some(charge(subscription, period, &terms.price))
            }
            Self::SubscriptionUpgraded { subscription, period, charged, .. } => {
                Some(charge(subscription, period, charged))
            }
            Self::PlanChangeScheduled { .. }
            | Self::SubscriptionCancelled { .. }
            | Self::SubscriptionContinued { .. }
            | Self::RenewalReminded { .. }
            | Self::PeriodRecognised { .. }
            | Self::RenewalFailed { .. }
            | Self::SubscriptionEnded { .. } => None,
        }
    }

    /// Which subscription it happens to.
    pub fn subscription(&self) -> SubscriptionId {
        match self {
            Self::SubscriptionPurchased { subscription, .. }
            | Self::SubscriptionUpgraded { subscription, .. }
            | Self::PlanChangeScheduled { subscription, .. }
            | Self::SubscriptionCancelled { subscription }
            | Self::SubscriptionContinued { subscription }
            | Self::RenewalReminded { subscription, .. }
            | Self::PeriodRecognised { subscription, .. }
            | Self::SubscriptionRenewed { subscription, .. }
            | Self::RenewalFailed { subscription, .. }
            | Self::SubscriptionEnded { subscription, .. } => *subscription,
        }
    }
}

/// Why it is refused, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// The account has no such subscription, or it has ended.
    #[error("there is no such subscription")]
    NotFound,
    /// Nobody pays twice for the same.
    #[error("the account has this plan, and it is renewed at {renews_at}")]
    AlreadySubscribed {
        /// When.
        renews_at: Timestamp,
    },
    /// It is too early for what a timer asks.
    #[error("that is due at {at}")]
    NotDue {
        /// When it is not.
        at: Timestamp,
    },
    /// Amounts that cannot be computed.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// The subscriptions of an account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Subscription {
    /// There is none, or the last has ended.
    #[default]
    None,
    /// There is one, and it is paid.
    Active(Running),
    /// There is one, and its next period is not paid yet.
    InGrace {
        /// What was paid last.
        running: Running,
        /// When it is tried again.
        retry_at: Timestamp,
        /// When it ends unless it is paid.
        until: Timestamp,
    },
}

/// A subscription that goes on.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Running {
    /// Which.
    pub subscription: SubscriptionId,
    /// Whose.
    pub owner: AccountId,
    /// Under what it was bought.
    pub terms: Terms,
    /// The period that was paid last.
    pub period: Period,
    /// What comes after it.
    pub next: Next,
    /// Whether its subscriber was told that the period ends.
    pub reminded: bool,
}

/// What comes after a period.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Next {
    /// Another one like it.
    Same,
    /// One of another plan.
    Other(Terms),
    /// Nothing.
    Nothing,
}

impl Subscription {
    /// The one that goes on, if there is one.
    pub fn running(&self) -> Option<&Running> {
        match self {
            Self::None => None,
            Self::Active(running) | Self::InGrace { running, .. } => Some(running),
        }
    }

    /// The name of its state in JSON and in messages.
    pub fn state(&self) -> &'static str {
        match self {
            Self::None => "ended",
            Self::Active(_) => "active",
            Self::InGrace { .. } => "past_due",
        }
    }

    fn running_mut(&mut self) -> Option<&mut Running> {
        match self {
            Self::None => None,
            Self::Active(running) | Self::InGrace { running, .. } => Some(running),
        }
    }
}

impl Running {
    /// Under what it goes on after the period, if it does.
    pub fn renews_under(&self) -> Option<&Terms> {
        match &self.next {
            Next::Same => Some(&self.terms),
            Next::Other(terms) => Some(terms),
            Next::Nothing => None,
        }
    }

    /// What of the price is for days that have not begun.
    fn unused(&self, now: Timestamp) -> Result<Money, Error> {
        let Terms { price, period_days, .. } = self.terms;
        let elapsed_ms = (now - self.period.starts_at).num_milliseconds().max(0).unsigned_abs();
        let begun = usize::try_from(elapsed_ms.div_ceil(DAY_MS)).unwrap_or(usize::MAX);
        let days = price.split(&vec![1; usize::try_from(period_days).unwrap_or(0)]);
        let nothing = Money::zero(price.currency());
        Ok(days.into_iter().skip(begun).try_fold(nothing, Money::plus)?)
    }

    /// Whether another plan begins at once, because it costs more a day.
    fn goes_up_to(&self, terms: &Terms) -> bool {
        let cost = |of: &Terms, other: &Terms| i128::from(of.price.minor()) * i128::from(other.period_days);
        self.terms.price.currency() == terms.price.currency()
            && self.terms.plan != terms.plan
            && cost(terms, &self.terms) > cost(&self.terms, terms)
    }

    fn deferred(&self) -> LedgerAccount {
        LedgerAccount::DeferredRevenue(self.subscription)
    }

    /// The next period under these terms. One that is paid within the grace begins where the one before has ended.
    fn renewed(&self, terms: Terms, now: Timestamp) -> Event {
        let ended = self.period.ends_at;
        let starts_at = if now <= ended + TimeDelta::days(GRACE_DAYS) { ended } else { now };
        let period = Period::of(self.period.number.saturating_add(1), starts_at, &terms);
        let postings = vec![Posting::new(LedgerAccount::Available(self.owner), self.deferred(), terms.price)];
        Event::SubscriptionRenewed { subscription: self.subscription, terms, period, postings }
    }

    fn ended(&self, cause: EndCause) -> Event {
        Event::SubscriptionEnded { subscription: self.subscription, cause }
    }

    /// Goes over to a plan, at once or when the period has ended, or keeps the one that there is.
    fn change(&self, terms: Terms, now: Timestamp) -> Result<Vec<Event>, Error> {
        let subscription = self.subscription;
        if terms == self.terms {
            return match self.next {
                Next::Same => Err(Error::AlreadySubscribed { renews_at: self.period.ends_at }),
                Next::Other(_) | Next::Nothing => Ok(vec![Event::SubscriptionContinued { subscription }]),
            };
        }
        if self.next == Next::Other(terms.clone()) {
            return Ok(vec![]);
        }
        if self.goes_up_to(&terms) {
            let unused = self.unused(now)?;
            let charged = terms.price.minus(unused)?;
            if charged.minor() >= 0 {
                let period = Period::of(self.period.number.saturating_add(1), now, &terms);
                let used = self.terms.price.minus(unused)?;
                let available = LedgerAccount::Available(self.owner);
                let movements = [
                    Posting::new(self.deferred(), LedgerAccount::SubscriptionIncome, used),
                    Posting::new(available, self.deferred(), charged),
                ];
                let postings = movements.into_iter().filter(|posting| posting.amount.is_positive()).collect();
                return Ok(vec![Event::SubscriptionUpgraded {
                    subscription,
                    terms,
                    period,
                    unused,
                    charged,
                    postings,
                }]);
            }
        }
        Ok(vec![Event::PlanChangeScheduled { subscription, terms }])
    }

    /// What a period that has ended leads to.
    fn end_period(&self, outlook: Outlook, now: Timestamp) -> Result<Vec<Event>, Error> {
        let Self { subscription, period, .. } = *self;
        if now < period.ends_at {
            return Err(Error::NotDue { at: period.ends_at });
        }
        let amount = self.terms.price;
        let postings = vec![Posting::new(self.deferred(), LedgerAccount::SubscriptionIncome, amount)];
        let recognised = Event::PeriodRecognised { subscription, period: period.number, amount, postings };
        let next = match (self.renews_under(), outlook) {
            (None, _) => self.ended(EndCause::Cancelled),
            (Some(_), Outlook::Barred(cause)) => self.ended(cause),
            (Some(terms), Outlook::Payable) => self.renewed(terms.clone(), now),
            (Some(terms), Outlook::Unpayable) => {
                let until = period.ends_at.max(now) + TimeDelta::days(GRACE_DAYS);
                self.failed(terms, now, until)
            }
        };
        Ok(vec![recognised, next])
    }

    fn failed(&self, terms: &Terms, now: Timestamp, until: Timestamp) -> Event {
        let retry_at = (now + TimeDelta::days(RETRY_DAYS)).min(until);
        Event::RenewalFailed { subscription: self.subscription, requested: terms.price, retry_at, until }
    }

    /// What another attempt to be paid leads to.
    fn try_again(&self, outlook: Outlook, until: Timestamp, now: Timestamp) -> Event {
        match (self.renews_under(), outlook) {
            (None, _) => self.ended(EndCause::Cancelled),
            (Some(_), Outlook::Barred(cause)) => self.ended(cause),
            (Some(terms), Outlook::Payable) => self.renewed(terms.clone(), now),
            (Some(_), Outlook::Unpayable) if now >= until => self.ended(EndCause::NotPaid),
            (Some(terms), Outlook::Unpayable) => self.failed(terms, now, until),
        }
    }

    /// What its subscriber buys while the next period is not paid: that one, or another plan instead.
    fn settle(&self, subscription: SubscriptionId, terms: Terms, now: Timestamp) -> Vec<Event> {
        let due =
            self.renews_under().filter(|due| due.plan == terms.plan && due.price.currency() == terms.price.currency());
        match due {
            Some(due) => vec![self.renewed(due.clone(), now)],
            None => vec![self.ended(EndCause::Replaced), purchased(self.owner, subscription, terms, now)],
        }
    }

    fn remind(&self, now: Timestamp) -> Result<Vec<Event>, Error> {
        let Self { subscription, period, reminded, .. } = *self;
        if now < period.remind_at() {
            return Err(Error::NotDue { at: period.remind_at() });
        }
        if reminded || now >= period.ends_at {
            return Ok(vec![]);
        }
        let charges = self.renews_under().map(|terms| terms.price);
        let (period, ends_at) = (period.number, period.ends_at);
        Ok(vec![Event::RenewalReminded { subscription, period, ends_at, charges }])
    }
}

fn purchased(owner: AccountId, subscription: SubscriptionId, terms: Terms, now: Timestamp) -> Event {
    let (available, deferred) = (LedgerAccount::Available(owner), LedgerAccount::DeferredRevenue(subscription));
    let postings = vec![Posting::new(available, deferred, terms.price)];
    let period = Period::of(1, now, &terms);
    Event::SubscriptionPurchased { subscription, owner, terms, period, postings }
}

impl Aggregate for Subscription {
    const TYPE: &'static str = "subscription";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::None, Command::Purchase { owner, subscription, terms, now }) => {
                Ok(vec![purchased(owner, subscription, terms, now)])
            }
            (Self::Active(running), Command::Purchase { terms, now, .. }) => running.change(terms, now),
            (Self::InGrace { running, .. }, Command::Purchase { subscription, terms, now, .. }) => {
                Ok(running.settle(subscription, terms, now))
            }
            (Self::None, Command::Cancel { .. }) => Err(Error::NotFound),
            (
                Self::Active(Running { subscription: known, .. })
                | Self::InGrace { running: Running { subscription: known, .. }, .. },
                Command::Cancel { subscription: Some(asked) },
            ) if asked != *known => Err(Error::NotFound),
            (Self::Active(running), Command::Cancel { .. }) => Ok(match running.next {
                Next::Nothing => vec![],
                Next::Same | Next::Other(_) => {
                    vec![Event::SubscriptionCancelled { subscription: running.subscription }]
                }
            }),
            (Self::InGrace { running, .. }, Command::Cancel { .. }) => Ok(vec![running.ended(EndCause::Cancelled)]),
            // It has ended meanwhile: nothing is left to be renewed, nor anybody to be told.
            (Self::None, Command::Renew { .. } | Command::Remind { .. })
            | (Self::InGrace { .. }, Command::Remind { .. }) => Ok(vec![]),
            (Self::Active(running), Command::Renew { outlook, now }) => running.end_period(outlook, now),
            (Self::InGrace { retry_at, .. }, Command::Renew { now, .. }) if now < *retry_at => {
                Err(Error::NotDue { at: *retry_at })
            }
            (Self::InGrace { running, until, .. }, Command::Renew { outlook, now }) => {
                Ok(vec![running.try_again(outlook, *until, now)])
            }
            (Self::Active(running), Command::Remind { now }) => running.remind(now),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::SubscriptionPurchased { subscription, owner, terms, period, .. } => {
                *self = Self::Active(Running {
                    subscription: *subscription,
                    owner: *owner,
                    terms: terms.clone(),
                    period: *period,
                    next: Next::Same,
                    reminded: false,
                });
            }
            Event::SubscriptionUpgraded { terms, period, .. } | Event::SubscriptionRenewed { terms, period, .. } => {
                if let Some(running) = self.running() {
                    let (terms, next) = (terms.clone(), Next::Same);
                    let running = Running { terms, period: *period, next, reminded: false, ..running.clone() };
                    *self = Self::Active(running);
                }
            }
            Event::PlanChangeScheduled { terms, .. } => self.followed_by(Next::Other(terms.clone())),
            Event::SubscriptionCancelled { .. } => self.followed_by(Next::Nothing),
            Event::SubscriptionContinued { .. } => self.followed_by(Next::Same),
            Event::RenewalReminded { .. } => {
                if let Some(running) = self.running_mut() {
                    running.reminded = true;
                }
            }
            // What follows in the same commit says how it goes on.
            Event::PeriodRecognised { .. } => {}
            Event::RenewalFailed { retry_at, until, .. } => {
                if let Some(running) = self.running() {
                    *self = Self::InGrace { running: running.clone(), retry_at: *retry_at, until: *until };
                }
            }
            Event::SubscriptionEnded { .. } => *self = Self::None,
        }
    }
}

impl Subscription {
    fn followed_by(&mut self, next: Next) {
        if let Some(running) = self.running_mut() {
            running.next = next;
        }
    }
}
