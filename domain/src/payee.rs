//! How an account is paid out: where its money may go, and when it goes there by itself.
//!
//! It begins with the first thing that is known of that and never ends. A payment method is kept under a label that is
//! sealed with its owner's key; its token stands in clear, as in every deposit and withdrawal that is made by it, so that
//! a timer can send money without anybody's key. Money goes only to a method that was kept for a while, and not soon after
//! the way into the account has changed: whoever has stolen a password cannot send anything to a bank of their own before
//! the owner has noticed. What goes out on a day (UTC) in a currency is bounded; what comes back on the same day counts
//! all the same, so that nobody probes banks for nothing. A seller may have a plan for each currency: what is available
//! goes out with every release, or once a week. A provider's merchant is a method of its own, which is paused while the
//! provider pays nothing out there. Invariants: no more than [`MOST_METHODS`] methods that people have added; a plan names
//! a method that is kept.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, MerchantId, MethodId};
use crate::money::{Currency, Money};
use crate::sealed::Sealed;
use crate::wallet::PaymentMethod;

#[cfg(test)]
mod tests;

/// So many payment methods may be kept.
pub const MOST_METHODS: usize = 10;
/// How far apart the payouts of a weekly plan are.
pub const WEEK: TimeDelta = TimeDelta::days(7);

/// What guards money that goes out, in the currency that it is in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// The least that is sent at once; whatever there is unless told.
    pub least: Option<Money>,
    /// The most that is sent on a day (UTC); whatever there is unless told.
    pub most_per_day: Option<Money>,
    /// How long a method must have been kept, and the way into the account the same. With none, money may go to a method
    /// that is not kept at all.
    pub cooling: TimeDelta,
}

/// What is asked of a payee.
#[derive(Clone, Debug)]
pub enum Command {
    /// Keep one more payment method.
    Add {
        /// Whose it is: the label must be sealed for them.
        owner: AccountId,
        /// The id minted for it.
        method: MethodId,
        /// What it is to the provider.
        at: PaymentMethod,
        /// What its owner calls it.
        label: Sealed<String>,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Keep it no more. Plans that pay by it end.
    Remove {
        /// Which.
        method: MethodId,
    },
    /// Keep no method any more, because the account goes.
    Close {},
    /// Note that somebody gets into the account in another way than before.
    NoteAccessChange {
        /// The time of the decision.
        now: Timestamp,
    },
    /// Let money go out.
    SendOut {
        /// How much.
        amount: Money,
        /// Where to.
        to: PaymentMethod,
        /// The time of the decision.
        now: Timestamp,
        /// What guards it.
        limits: Limits,
    },
    /// Pay out by itself in a currency from now on.
    Plan {
        /// Which currency.
        currency: Currency,
        /// When, and where to.
        plan: Plan,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Pay out no more by itself in a currency.
    EndPlan {
        /// Which currency.
        currency: Currency,
    },
    /// Note that a sale has brought money.
    NoteSale {
        /// In which currency.
        currency: Currency,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Note that what was due of a plan was paid out, as far as could be.
    NotePayout {
        /// In which currency.
        currency: Currency,
        /// When there is more to do than usual: the rest of what a day allows, or once money may go out again.
        again_at: Option<Timestamp>,
        /// The time of the decision.
        now: Timestamp,
    },
    /// Be a merchant of a provider's.
    Link {
        /// Which provider.
        provider: String,
        /// Its name for the merchant.
        reference: String,
    },
    /// Take in whether a provider pays out to its merchant.
    SetMerchant {
        /// Which merchant.
        merchant: MerchantId,
        /// What it is to the provider.
        at: PaymentMethod,
        /// Whether it pays out there.
        payouts: bool,
        /// The time of the decision.
        now: Timestamp,
    },
}

/// When money goes out by itself. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Whenever a sale brings money.
    OnRelease,
    /// Every seven days from when that was chosen.
    Weekly,
}

/// When money goes out by itself, and where to. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// When.
    pub schedule: Schedule,
    /// Where to.
    pub method: MethodId,
}

/// What happens to a payee. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// One more payment method is kept.
    MethodAdded {
        /// Which.
        method: MethodId,
        /// What it is to the provider.
        at: PaymentMethod,
        /// What its owner calls it; nothing for a merchant of the provider's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<Sealed<String>>,
        /// Since when.
        added_at: Timestamp,
    },
    /// It is kept no more.
    MethodRemoved {
        /// Which.
        method: MethodId,
    },
    /// Its provider pays nothing out there for now.
    MethodPaused {
        /// Which.
        method: MethodId,
    },
    /// Its provider pays out there again.
    MethodResumed {
        /// Which.
        method: MethodId,
    },
    /// Somebody gets into the account in another way than before.
    AccessChanged {
        /// Since when.
        at: Timestamp,
    },
    /// Money went out that counts on its day.
    OutgoingCounted {
        /// How much.
        amount: Money,
        /// On which day (UTC).
        on: NaiveDate,
    },
    /// Money goes out by itself from now on.
    PlanSet {
        /// In which currency.
        currency: Currency,
        /// When, and where to.
        plan: Plan,
        /// When next, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due_at: Option<Timestamp>,
    },
    /// It does not any more.
    PlanEnded {
        /// In which currency.
        currency: Currency,
    },
    /// A sale has brought money that is to go out.
    PayoutDue {
        /// In which currency.
        currency: Currency,
        /// When.
        at: Timestamp,
    },
    /// What was due of a plan was paid out, as far as could be.
    PayoutDone {
        /// In which currency.
        currency: Currency,
        /// When next, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due_at: Option<Timestamp>,
    },
    /// It is a merchant of a provider's.
    MerchantLinked {
        /// Which provider.
        provider: String,
        /// Its name for the merchant.
        reference: String,
    },
}

event_versions!(Event {
    MethodAdded = "1",
    MethodRemoved = "1",
    MethodPaused = "1",
    MethodResumed = "1",
    AccessChanged = "1",
    OutgoingCounted = "1",
    PlanSet = "1",
    PlanEnded = "1",
    PayoutDue = "1",
    PayoutDone = "1",
    MerchantLinked = "1",
});

/// Why a payee refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such payment method.
    #[error("there is no such payment method")]
    NotFound,
    /// The id, or the method itself, is there already.
    #[error("the payment method is kept already")]
    AlreadyKept,
    /// It is enough.
    #[error("an account keeps {maximum} payment methods at most")]
    Full {
        /// How many there may be.
        maximum: usize,
    },
    /// The label is not sealed, or with somebody else's key, and would not be forgotten with its person.
    #[error("a personal field is not sealed for its account")]
    SealedForAnother,
    /// Too little is sent.
    #[error("at least {least} is sent out at once; {offered} was asked for")]
    BelowLeast {
        /// What is sent at least.
        least: Money,
        /// What was asked.
        offered: Money,
    },
    /// Too much is sent on a day.
    #[error("{most} may go out on a day; {sent} has, and {offered} was asked for")]
    DayLimit {
        /// What may go out.
        most: Money,
        /// What has gone out.
        sent: Money,
        /// What was asked.
        offered: Money,
    },
    /// The method, or the way into the account, is too new.
    #[error("money may go there from {until} on: the payment method, or the way into the account, is too new")]
    Cooling {
        /// From when on it may.
        until: Timestamp,
    },
    /// Money goes only where it was said before that it may.
    #[error("money goes out only to a payment method that was kept for {cooling_s} s")]
    NotKept {
        /// How long, in seconds.
        cooling_s: i64,
    },
    /// The provider pays nothing out there.
    #[error("the provider pays nothing out there for now")]
    Paused,
    /// It is not due yet.
    #[error("the next payout is due at {at}")]
    NotDue {
        /// When it is.
        at: Timestamp,
    },
}

/// A payment method that is kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Method {
    /// What it is to the provider.
    pub at: PaymentMethod,
    /// Since when it is kept.
    pub added_at: Timestamp,
    /// Whether it is a merchant of the provider's, which nobody has added.
    pub of_merchant: bool,
    /// Whether the provider pays nothing out there.
    pub paused: bool,
}

/// A plan that is followed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Followed {
    /// When money goes out, and where to.
    pub plan: Plan,
    /// When next, if that is known.
    pub due_at: Option<Timestamp>,
}

/// What went out on the last day on which anything did.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Outgoing {
    on: NaiveDate,
    amount: Money,
}

/// How an account is paid out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Payee {
    methods: BTreeMap<MethodId, Method>,
    access_changed_at: Option<Timestamp>,
    outgoing: BTreeMap<Currency, Outgoing>,
    plans: BTreeMap<Currency, Followed>,
    merchants: BTreeMap<String, String>,
}

impl Payee {
    /// A payment method that is kept.
    pub fn method(&self, method: MethodId) -> Result<&Method, Error> {
        self.methods.get(&method).ok_or(Error::NotFound)
    }

    /// What is done in a currency by itself.
    pub fn plan(&self, currency: Currency) -> Option<Followed> {
        self.plans.get(&currency).copied()
    }

    /// The currencies in which something is done by itself.
    pub fn planned(&self) -> Vec<Currency> {
        self.plans.keys().copied().collect()
    }

    /// A provider's name for the merchant that the account is there.
    pub fn merchant(&self, provider: &str) -> Option<&str> {
        self.merchants.get(provider).map(String::as_str)
    }

    /// Refuses if so much may not go there now.
    pub fn may_send(&self, amount: Money, to: &PaymentMethod, now: Timestamp, limits: Limits) -> Result<(), Error> {
        self.send_out(amount, to, now, limits).map(drop)
    }

    /// How much may still go out today, if that is bounded.
    pub fn left_today(&self, currency: Currency, limits: Limits, now: Timestamp) -> Option<Money> {
        let most = limits.most_per_day?;
        let left = most.minor() - self.sent_on(currency, now.date_naive()).minor();
        Some(Money::new(left.max(0), currency).unwrap_or(most))
    }

    fn sent_on(&self, currency: Currency, day: NaiveDate) -> Money {
        let today = self.outgoing.get(&currency).filter(|outgoing| outgoing.on == day);
        today.map_or(Money::zero(currency), |outgoing| outgoing.amount)
    }

    fn kept(&self, at: &PaymentMethod) -> Option<&Method> {
        self.methods.values().find(|method| method.at == *at)
    }

    /// Refuses what is too soon.
    fn check_cooled(&self, to: &PaymentMethod, now: Timestamp, cooling: TimeDelta) -> Result<(), Error> {
        let method = self.kept(to);
        if method.is_some_and(|method| method.paused) {
            return Err(Error::Paused);
        }
        if cooling <= TimeDelta::zero() {
            return Ok(());
        }
        let Some(method) = method else { return Err(Error::NotKept { cooling_s: cooling.num_seconds() }) };
        let since = self.access_changed_at.map_or(method.added_at, |changed| changed.max(method.added_at));
        let until = since + cooling;
        if now < until { Err(Error::Cooling { until }) } else { Ok(()) }
    }

    fn send_out(&self, amount: Money, to: &PaymentMethod, now: Timestamp, limits: Limits) -> Result<Vec<Event>, Error> {
        if let Some(least) = limits.least
            && amount.minor() < least.minor()
        {
            return Err(Error::BelowLeast { least, offered: amount });
        }
        self.check_cooled(to, now, limits.cooling)?;
        let Some(most) = limits.most_per_day else { return Ok(vec![]) };
        let on = now.date_naive();
        let sent = self.sent_on(amount.currency(), on);
        // Two amounts, each below 2^53.
        if sent.minor() + amount.minor() > most.minor() {
            return Err(Error::DayLimit { most, sent, offered: amount });
        }
        Ok(vec![Event::OutgoingCounted { amount, on }])
    }

    fn add(&self, method: MethodId, at: PaymentMethod, label: Sealed<String>, now: Timestamp) -> Result<Event, Error> {
        if self.methods.contains_key(&method) || self.kept(&at).is_some() {
            return Err(Error::AlreadyKept);
        }
        if self.methods.values().filter(|method| !method.of_merchant).count() >= MOST_METHODS {
            return Err(Error::Full { maximum: MOST_METHODS });
        }
        Ok(Event::MethodAdded { method, at, label: Some(label), added_at: now })
    }

    fn remove(&self, method: MethodId) -> Result<Vec<Event>, Error> {
        self.method(method)?;
        Ok(self.removal_of(method).collect())
    }

    fn removal_of(&self, method: MethodId) -> impl Iterator<Item = Event> {
        let by_it = self.plans.iter().filter(move |(_, followed)| followed.plan.method == method);
        let ended = by_it.map(|(currency, _)| Event::PlanEnded { currency: *currency });
        [Event::MethodRemoved { method }].into_iter().chain(ended)
    }

    fn set_plan(&self, currency: Currency, plan: Plan, now: Timestamp) -> Result<Vec<Event>, Error> {
        self.method(plan.method)?;
        if self.plans.get(&currency).is_some_and(|followed| followed.plan == plan) {
            return Ok(vec![]);
        }
        let due_at = match plan.schedule {
            Schedule::OnRelease => None,
            Schedule::Weekly => Some(now + WEEK),
        };
        Ok(vec![Event::PlanSet { currency, plan, due_at }])
    }

    /// Too early it is refused, and not merely left undone: what is accepted is not done again.
    fn note_payout(
        &self,
        currency: Currency,
        again_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<Event>, Error> {
        let Some(Followed { plan, due_at: Some(due_at) }) = self.plan(currency) else { return Ok(vec![]) };
        if now < due_at {
            return Err(Error::NotDue { at: due_at });
        }
        let usual = match plan.schedule {
            Schedule::OnRelease => None,
            Schedule::Weekly => Some(due_at + WEEK),
        };
        // Whatever was missed meanwhile is not made up for.
        let usual = usual.map(|usual| if usual > now { usual } else { now + WEEK });
        let due_at = match (usual, again_at) {
            (Some(usual), Some(again)) => Some(usual.min(again)),
            (usual, again) => usual.or(again),
        };
        Ok(vec![Event::PayoutDone { currency, due_at }])
    }

    fn set_merchant(&self, merchant: MerchantId, at: PaymentMethod, payouts: bool, now: Timestamp) -> Vec<Event> {
        let method = MethodId::from(merchant);
        match (self.methods.get(&method), payouts) {
            (None, true) => vec![Event::MethodAdded { method, at, label: None, added_at: now }],
            (Some(kept), true) if kept.paused => vec![Event::MethodResumed { method }],
            (Some(kept), false) if !kept.paused => vec![Event::MethodPaused { method }],
            (None, false) | (Some(_), true | false) => vec![],
        }
    }
}

impl Aggregate for Payee {
    const TYPE: &'static str = "payee";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Add { owner, label, .. } if label.of != owner => Err(Error::SealedForAnother),
            Command::Add { owner: _, method, at, label, now } => Ok(vec![self.add(method, at, label, now)?]),
            Command::Remove { method } => self.remove(method),
            Command::Close {} => Ok(self.methods.keys().flat_map(|method| self.removal_of(*method)).collect()),
            Command::NoteAccessChange { now } => Ok(vec![Event::AccessChanged { at: now }]),
            Command::SendOut { amount, to, now, limits } => self.send_out(amount, &to, now, limits),
            Command::Plan { currency, plan, now } => self.set_plan(currency, plan, now),
            Command::EndPlan { currency } => Ok(match self.plan(currency) {
                Some(_) => vec![Event::PlanEnded { currency }],
                None => vec![],
            }),
            Command::NoteSale { currency, now } => Ok(match self.plan(currency) {
                Some(Followed { plan: Plan { schedule: Schedule::OnRelease, .. }, due_at: None }) => {
                    vec![Event::PayoutDue { currency, at: now }]
                }
                // It goes out at its time, with what else there is then.
                Some(_) | None => vec![],
            }),
            Command::NotePayout { currency, again_at, now } => self.note_payout(currency, again_at, now),
            Command::Link { provider, reference } => Ok(match self.merchant(&provider) {
                Some(known) if known == reference => vec![],
                Some(_) | None => vec![Event::MerchantLinked { provider, reference }],
            }),
            Command::SetMerchant { merchant, at, payouts, now } => Ok(self.set_merchant(merchant, at, payouts, now)),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::MethodAdded { method, at, label, added_at } => {
                let (at, added_at, of_merchant) = (at.clone(), *added_at, label.is_none());
                self.methods.insert(*method, Method { at, added_at, of_merchant, paused: false });
            }
            Event::MethodRemoved { method } => drop(self.methods.remove(method)),
            Event::MethodPaused { method } => self.pause(*method, true),
            Event::MethodResumed { method } => self.pause(*method, false),
            Event::AccessChanged { at } => self.access_changed_at = Some(*at),
            Event::OutgoingCounted { amount, on } => {
                let sent = self.sent_on(amount.currency(), *on);
                let amount = sent.plus(*amount).unwrap_or(sent);
                self.outgoing.insert(amount.currency(), Outgoing { on: *on, amount });
            }
            Event::PlanSet { currency, plan, due_at } => {
                self.plans.insert(*currency, Followed { plan: *plan, due_at: *due_at });
            }
            Event::PlanEnded { currency } => drop(self.plans.remove(currency)),
            Event::PayoutDue { currency, at } => self.set_due(*currency, Some(*at)),
            Event::PayoutDone { currency, due_at } => self.set_due(*currency, *due_at),
            Event::MerchantLinked { provider, reference } => {
                self.merchants.insert(provider.clone(), reference.clone());
            }
        }
    }
}

impl Payee {
    fn pause(&mut self, method: MethodId, paused: bool) {
        if let Some(method) = self.methods.get_mut(&method) {
            method.paused = paused;
        }
    }

    fn set_due(&mut self, currency: Currency, due_at: Option<Timestamp>) {
        if let Some(followed) = self.plans.get_mut(&currency) {
            followed.due_at = due_at;
        }
    }
}
