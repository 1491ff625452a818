//! A person or firm, and what they may do here.
//!
//! `Unregistered → Registered → Erased`. Whatever tells who somebody is stays sealed with that person's key;
//! capabilities say what the account may do, and none is implied by another. Who wins and does not pay has a violation
//! per order; the third blocks the account, which from then on may read and settle what it owes, and neither sells,
//! bids, buys nor withdraws. Staff can block and suspend as well, and reinstate: whoever was blocked is pardoned with
//! that, so that the count begins anew. An order counts once for ever, pardoned or not. What staff write about somebody
//! is sealed with that person's key. An address counts as verified once somebody has answered
//! what was sent there, which is also how it changes. Erasing forgets the person; the account stays, as nobody's.

use std::collections::{BTreeSet, VecDeque};

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ChallengeId, ClaimId, OrderId, SessionId};
use crate::money::Money;
use crate::sealed::Sealed;

mod identity;
#[cfg(test)]
mod tests;

use identity::sealed_for;
pub use identity::{Challenge, Identity, ProfileChanges, SetBy, Words};

/// So many violations block an account.
pub const MOST_VIOLATIONS: usize = 3;
/// So many passwords are remembered, the current one among them: none of them may be set again.
pub const PASSWORDS_REMEMBERED: usize = 5;
/// A mailbox is not asked the same again sooner.
pub const CHALLENGES_APART: TimeDelta = TimeDelta::seconds(60);

/// What is asked of an account.
#[derive(Clone, Debug)]
pub enum Command {
    /// Come into being.
    Register {
        /// The account's own id: sealed fields must belong to it.
        account: AccountId,
        /// Who it is.
        identity: Identity,
        /// What it may do.
        capabilities: BTreeSet<Capability>,
    },
    /// Change what others see. A field that is `None` stays as it is.
    ChangeProfile {
        /// The new values.
        changes: ProfileChanges,
    },
    /// Ask whether somebody reads a mailbox: the account's own, or the one that is to become it.
    ChallengeEmail {
        /// The question.
        challenge: Challenge,
    },
    /// Answer that.
    VerifyEmail {
        /// Which question.
        challenge: ChallengeId,
        /// Real time: tokens do not follow the marketplace's clock.
        now: Timestamp,
    },
    /// Trust an address that somebody vouches for who knows.
    TrustEmail {},
    /// Ask the account's mailbox for a new password.
    ChallengePassword {
        /// The question.
        challenge: Challenge,
    },
    /// Answer that.
    ResetPassword {
        /// Which question.
        challenge: ChallengeId,
        /// The new password's hash.
        password_hash: Sealed<String>,
        /// Real time.
        now: Timestamp,
    },
    /// Replace a password, or set the first one.
    ChangePassword {
        /// What it is to replace: somebody else may have replaced that meanwhile.
        replacing: Option<Sealed<String>>,
        /// The new password's hash.
        password_hash: Sealed<String>,
        /// The session that goes on.
        session: SessionId,
    },
    /// Log in through somebody who knows who it is, from now on.
    Link {
        /// The claim on that identity.
        claim: ClaimId,
    },
    /// Take the account from whoever joined with an address that was not theirs: no password, no session is left.
    TakeOver {},
    /// Allow more.
    Grant {
        /// What to allow.
        capabilities: BTreeSet<Capability>,
        /// Who allows it.
        by: Granter,
        /// Why.
        reason: Option<Sealed<String>>,
    },
    /// Allow less.
    Revoke {
        /// What not to allow any more.
        capabilities: BTreeSet<Capability>,
        /// Who says so.
        by: Granter,
        /// Why.
        reason: Option<Sealed<String>>,
    },
    /// Count an order that was won and not paid. The same order counts once.
    RecordViolation {
        /// The order.
        order: OrderId,
    },
    /// Forget all that counts of what was not paid.
    Pardon {
        /// Who says so.
        by: Granter,
        /// Why.
        reason: Option<Sealed<String>>,
    },
    /// Allow no trade any more, as after the third violation.
    Block {
        /// Why, for staff.
        reason: Sealed<String>,
        /// Who says so.
        by: Granter,
    },
    /// Allow no trade for now, until it is reinstated.
    Suspend {
        /// Why, for staff.
        reason: Sealed<String>,
        /// Who says so.
        by: Granter,
    },
    /// Tell them that something must not happen again.
    Warn {
        /// Who of the staff.
        by: AccountId,
    },
    /// Allow trade again. Whoever was blocked is pardoned.
    Reinstate {
        /// Who says so.
        by: Granter,
        /// Why.
        reason: Option<Sealed<String>>,
    },
    /// End all sessions.
    RevokeSessions {
        /// But this one.
        spared: Option<SessionId>,
    },
    /// Forget who it is.
    Erase {},
}

/// What an account may do. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Bid, buy and pay.
    Buy,
    /// List and sell.
    Sell,
    /// Moderate and help.
    Staff,
    /// Grant capabilities.
    Admin,
    /// Read the whole history.
    Audit,
}

impl Capability {
    /// Every capability, for an administrator.
    pub const ALL: [Self; 5] = [Self::Buy, Self::Sell, Self::Staff, Self::Admin, Self::Audit];

    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Buy => "buy",
            Self::Sell => "sell",
            Self::Staff => "staff",
            Self::Admin => "admin",
            Self::Audit => "audit",
        }
    }
}

/// Who has changed what an account may do. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Granter {
    /// Somebody at the command line of the server.
    Operator,
    /// An administrator.
    Account(AccountId),
}

/// What happens to an account. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It came into being.
    AccountRegistered {
        /// Who it is.
        identity: Identity,
        /// What it may do.
        capabilities: BTreeSet<Capability>,
    },
    /// What others see has changed.
    ProfileChanged {
        /// The new values.
        changes: ProfileChanges,
    },
    /// A mailbox was asked whether somebody reads it.
    EmailChallenged {
        /// The question.
        challenge: Challenge,
    },
    /// Somebody does. The address is the account's from now on, if it was not before.
    EmailVerified {
        /// The address.
        email: Sealed<String>,
    },
    /// The account's mailbox was asked for a new password.
    PasswordChallenged {
        /// The question.
        challenge: Challenge,
    },
    /// It has another password.
    PasswordChanged {
        /// The hash of the new one; nothing if there is none any more.
        password_hash: Option<Sealed<String>>,
        /// Who has set it.
        by: SetBy,
    },
    /// It logs in through somebody who knows who it is, too.
    IdentityLinked {
        /// The claim on that identity.
        claim: ClaimId,
    },
    /// It may do more.
    CapabilitiesGranted {
        /// What came to be allowed.
        capabilities: BTreeSet<Capability>,
        /// Who allowed it.
        by: Granter,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed<String>>,
    },
    /// It may do less.
    CapabilitiesRevoked {
        /// What is not allowed any more.
        capabilities: BTreeSet<Capability>,
        /// Who said so.
        by: Granter,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed<String>>,
    },
    /// It had won something and not paid.
    ViolationRecorded {
        /// The order.
        order: OrderId,
        /// How many such orders count now.
        violations: usize,
    },
    /// These orders do not count any more, nor ever again.
    ViolationsPardoned {
        /// The orders.
        orders: BTreeSet<OrderId>,
        /// Who said so.
        by: Granter,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed<String>>,
    },
    /// It may not trade any more.
    AccountBlocked {
        /// How many violations counted.
        violations: usize,
        /// Who said so; nobody if it was the last of the violations.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Granter>,
        /// Why, for staff.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed<String>>,
    },
    /// It may not trade for now, until it is reinstated.
    AccountSuspended {
        /// Why, for staff.
        reason: Words,
        /// Who said so.
        by: Granter,
    },
    /// It was told that something must not happen again.
    AccountWarned {
        /// Who of the staff has said so.
        by: AccountId,
    },
    /// It may trade again.
    AccountReinstated {
        /// Who said so.
        by: Granter,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Sealed<String>>,
    },
    /// Its sessions have ended.
    SessionsRevoked {
        /// But this one.
        spared: Option<SessionId>,
    },
    /// Who it is, is forgotten: the person's key went in the same commit.
    AccountErased {},
}

event_versions!(Event {
    AccountRegistered = "2" | "1",
    ProfileChanged = "2" | "1",
    EmailChallenged = "1",
    EmailVerified = "1",
    PasswordChallenged = "1",
    PasswordChanged = "1",
    IdentityLinked = "1",
    CapabilitiesGranted = "2" | "1",
    CapabilitiesRevoked = "2" | "1",
    ViolationRecorded = "1",
    ViolationsPardoned = "1",
    AccountBlocked = "2" | "1",
    AccountSuspended = "2" | "1",
    AccountWarned = "1",
    AccountReinstated = "2" | "1",
    SessionsRevoked = "1",
    AccountErased = "1",
});

/// Why an account refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such account.
    #[error("there is no such account")]
    NotRegistered,
    /// There is no such account for whoever is looking for another's.
    #[error("there is no such account")]
    NotFound,
    /// Nobody rules on themselves.
    #[error("nobody decides about an account of their own, but to give up what it may do")]
    OwnAccount,
    /// Somebody must be there who can grant capabilities.
    #[error("this is the only administrator, and somebody must be one")]
    LastAdmin,
    /// One account, one registration.
    #[error("the account is registered already")]
    AlreadyRegistered,
    /// A field was sealed with somebody else's key, and would be forgotten with the wrong person.
    #[error("a personal field is sealed for another account")]
    SealedForAnother,
    /// The account may not do this.
    #[error("this takes the capability `{}`", .needed.name())]
    MissingCapability {
        /// What would be needed.
        needed: Capability,
    },
    /// The account may not trade any more.
    #[error("the account is blocked; it has {violations} orders that were won and not paid")]
    Blocked {
        /// How many violations count.
        violations: usize,
    },
    /// The account may not trade for now.
    #[error("the account is suspended")]
    Suspended,
    /// The mailbox was asked a moment ago.
    #[error("a message was sent a moment ago; the next one can be sent at {again_at}")]
    AskedAMomentAgo {
        /// When it can be asked again.
        again_at: Timestamp,
    },
    /// This was never asked, answered before, or not answered in time.
    #[error("the token is not good, or not any more")]
    WrongAnswer,
    /// There is money that would be lost with the account.
    #[error("the wallet is not settled: {available} available, {held} held, {owed} owed")]
    NotSettled {
        /// What could be withdrawn.
        available: Money,
        /// What is set aside.
        held: Money,
        /// What the account owes.
        owed: Money,
    },
    /// The account's address has changed since it was looked at.
    #[error("the e-mail address was changed meanwhile")]
    EmailChangedMeanwhile,
    /// The account's public name has changed since it was looked at.
    #[error("the user name was changed meanwhile")]
    UserNameChangedMeanwhile,
    /// The password was replaced by somebody else.
    #[error("the password was changed meanwhile")]
    PasswordChangedMeanwhile,
}

/// An account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Account {
    /// Nobody.
    #[default]
    Unregistered,
    /// Somebody.
    Registered(Box<Registered>),
    /// Somebody who is forgotten.
    Erased,
}

/// A registered account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Registered {
    /// Who it is.
    pub identity: Identity,
    /// Whether somebody reads the mailbox of its address.
    pub email_verified: bool,
    /// What it may do.
    pub capabilities: BTreeSet<Capability>,
    /// What was taken from it, which it cannot give itself again.
    pub withheld: BTreeSet<Capability>,
    /// The orders that it had won and not paid, as far as they count.
    pub violations: BTreeSet<OrderId>,
    /// Those that count no more.
    pub pardoned: BTreeSet<OrderId>,
    /// Whether it may not trade any more, for its violations or because staff say so.
    pub blocked: bool,
    /// Whether it may not trade for now, because staff say so.
    pub suspended: bool,
    /// The hashes of its last passwords, the newest last.
    pub passwords: VecDeque<Sealed<String>>,
    /// The claims on identities through which it logs in.
    pub links: BTreeSet<ClaimId>,
    /// How often all its sessions have been ended.
    pub revocations: u32,
    /// The session that was spared the last time.
    pub spared: Option<SessionId>,
    /// What a mailbox was asked last, while it can still answer.
    pub email_challenge: Option<Challenge>,
    /// The same about a new password.
    pub password_challenge: Option<Challenge>,
    owner: AccountId,
}

impl Account {
    /// The account, if it is somebody.
    pub fn registered(&self) -> Result<&Registered, Error> {
        match self {
            Self::Unregistered | Self::Erased => Err(Error::NotRegistered),
            Self::Registered(registered) => Ok(registered),
        }
    }

    /// Refuses unless the account may do what `needed` names. Who is blocked neither buys nor sells.
    pub fn require(&self, needed: Capability) -> Result<(), Error> {
        let account = self.registered()?;
        if !account.capabilities.contains(&needed) {
            return Err(Error::MissingCapability { needed });
        }
        match needed {
            Capability::Buy | Capability::Sell => account.unblocked(),
            Capability::Staff | Capability::Admin | Capability::Audit => Ok(()),
        }
    }
}

impl Registered {
    fn new(identity: Identity, capabilities: BTreeSet<Capability>) -> Self {
        Self {
            owner: identity.email.of,
            passwords: identity.password_hash.iter().cloned().collect(),
            identity,
            email_verified: false,
            capabilities,
            withheld: BTreeSet::new(),
            violations: BTreeSet::new(),
            pardoned: BTreeSet::new(),
            blocked: false,
            suspended: false,
            links: BTreeSet::new(),
            revocations: 0,
            spared: None,
            email_challenge: None,
            password_challenge: None,
        }
    }

    /// Refuses if the account may not trade.
    pub fn unblocked(&self) -> Result<(), Error> {
        match self {
            Self { blocked: true, violations, .. } => Err(Error::Blocked { violations: violations.len() }),
            Self { suspended: true, .. } => Err(Error::Suspended),
            Self { .. } => Ok(()),
        }
    }

    /// Refuses unless this is the open question about a password.
    pub fn expect_password_challenge(&self, challenge: ChallengeId, now: Timestamp) -> Result<(), Error> {
        let open = self.password_challenge.as_ref().is_some_and(|open| open.is_answered_by(challenge, now));
        if open { Ok(()) } else { Err(Error::WrongAnswer) }
    }

    /// The address that `challenge` asks about, if it is the open question.
    pub fn challenged_email(&self, challenge: ChallengeId) -> Option<&Sealed<String>> {
        self.email_challenge.as_ref().filter(|open| open.id == challenge).map(|open| &open.email)
    }

    /// Whether a session that was opened after so many revocations still stands.
    pub fn stands(&self, session: SessionId, revocations: u32) -> bool {
        revocations == self.revocations || self.spared == Some(session)
    }

    fn owns<'a>(&self, fields: impl IntoIterator<Item = &'a Sealed<String>>) -> Result<(), Error> {
        if sealed_for(self.owner, fields) { Ok(()) } else { Err(Error::SealedForAnother) }
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Register { .. } => Err(Error::AlreadyRegistered),
            Command::ChangeProfile { changes } => {
                self.owns(changes.sealed_fields())?;
                Ok(if changes.is_empty() { vec![] } else { vec![Event::ProfileChanged { changes }] })
            }
            Command::ChallengeEmail { challenge } => {
                self.owns([&challenge.email])?;
                match &self.email_challenge {
                    Some(open) if open.is_fresh(challenge.asked_at) => {
                        Err(Error::AskedAMomentAgo { again_at: open.asked_at + CHALLENGES_APART })
                    }
                    _ => Ok(vec![Event::EmailChallenged { challenge }]),
                }
            }
            Command::VerifyEmail { challenge, now } => match &self.email_challenge {
                Some(open) if open.is_answered_by(challenge, now) => {
                    Ok(vec![Event::EmailVerified { email: open.email.clone() }])
                }
                _ => Err(Error::WrongAnswer),
            },
            Command::TrustEmail {} => Ok(self.verified()),
            Command::ChallengePassword { challenge } => {
                self.owns([&challenge.email])?;
                // Whoever asks is told nothing, so too soon is no refusal.
                let fresh = self.password_challenge.as_ref().is_some_and(|open| open.is_fresh(challenge.asked_at));
                Ok(if fresh { vec![] } else { vec![Event::PasswordChallenged { challenge }] })
            }
            Command::ResetPassword { challenge, password_hash, now } => {
                self.owns([&password_hash])?;
                self.expect_password_challenge(challenge, now)?;
                Ok(self.reset(password_hash))
            }
            Command::ChangePassword { replacing, password_hash, session } => {
                self.owns([&password_hash])?;
                if replacing != self.identity.password_hash {
                    return Err(Error::PasswordChangedMeanwhile);
                }
                let changed = Event::PasswordChanged { password_hash: Some(password_hash), by: SetBy::Owner };
                Ok(vec![changed, Event::SessionsRevoked { spared: Some(session) }])
            }
            Command::Link { claim } => {
                let linked = self.links.contains(&claim);
                Ok(if linked { vec![] } else { vec![Event::IdentityLinked { claim }] })
            }
            Command::TakeOver {} => {
                let removed = Event::PasswordChanged { password_hash: None, by: SetBy::Takeover };
                let verified = self.verified().into_iter();
                Ok(verified.chain([removed, Event::SessionsRevoked { spared: None }]).collect())
            }
            Command::Grant { capabilities, by, reason } => {
                self.owns(&reason)?;
                let capabilities: BTreeSet<_> = capabilities.difference(&self.capabilities).copied().collect();
                let withheld = capabilities.intersection(&self.withheld).next();
                if let (Granter::Account(by), Some(&needed)) = (by, withheld)
                    && by == self.owner
                {
                    return Err(Error::MissingCapability { needed });
                }
                let none = capabilities.is_empty();
                Ok(if none { vec![] } else { vec![Event::CapabilitiesGranted { capabilities, by, reason }] })
            }
            Command::Revoke { capabilities, by, reason } => {
                self.owns(&reason)?;
                let capabilities: BTreeSet<_> = capabilities.intersection(&self.capabilities).copied().collect();
                let none = capabilities.is_empty();
                Ok(if none { vec![] } else { vec![Event::CapabilitiesRevoked { capabilities, by, reason }] })
            }
            Command::RecordViolation { order } => Ok(self.record_violation(order)),
            Command::Pardon { by, reason } => {
                self.owns(&reason)?;
                Ok(self.pardon(by, reason).into_iter().collect())
            }
            Command::Block { reason, by } => {
                self.owns([&reason])?;
                let (violations, by, reason) = (self.violations.len(), Some(by), Some(reason));
                Ok(if self.blocked { vec![] } else { vec![Event::AccountBlocked { violations, by, reason }] })
            }
            Command::Suspend { reason, by } => {
                self.owns([&reason])?;
                let reason = Words::Sealed(reason);
                Ok(if self.suspended { vec![] } else { vec![Event::AccountSuspended { reason, by }] })
            }
            Command::Warn { by } => Ok(vec![Event::AccountWarned { by }]),
            Command::Reinstate { by, reason } => {
                self.owns(&reason)?;
                if self.unblocked().is_ok() {
                    return Ok(vec![]);
                }
                let pardoned = if self.blocked { self.pardon(by, reason.clone()) } else { None };
                Ok([Event::AccountReinstated { by, reason }].into_iter().chain(pardoned).collect())
            }
            Command::RevokeSessions { spared } => Ok(vec![Event::SessionsRevoked { spared }]),
            Command::Erase {} => Ok(vec![Event::AccountErased {}]),
        }
    }

    /// Whoever has set a password by their mailbox reads it, and whoever was logged in may be somebody else.
    fn reset(&self, password_hash: Sealed<String>) -> Vec<Event> {
        let changed = Event::PasswordChanged { password_hash: Some(password_hash), by: SetBy::Mailbox };
        self.verified().into_iter().chain([changed, Event::SessionsRevoked { spared: None }]).collect()
    }

    fn verified(&self) -> Vec<Event> {
        let email = self.identity.email.clone();
        if self.email_verified { vec![] } else { vec![Event::EmailVerified { email }] }
    }

    fn record_violation(&self, order: OrderId) -> Vec<Event> {
        if self.violations.contains(&order) || self.pardoned.contains(&order) {
            return vec![];
        }
        let violations = self.violations.len() + 1;
        let blocks = violations >= MOST_VIOLATIONS && !self.blocked;
        let blocked = blocks.then_some(Event::AccountBlocked { violations, by: None, reason: None });
        [Event::ViolationRecorded { order, violations }].into_iter().chain(blocked).collect()
    }

    fn pardon(&self, by: Granter, reason: Option<Sealed<String>>) -> Option<Event> {
        let orders = self.violations.clone();
        (!orders.is_empty()).then_some(Event::ViolationsPardoned { orders, by, reason })
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::EmailChallenged { challenge } => self.email_challenge = Some(challenge.clone()),
            Event::EmailVerified { email } => {
                if self.identity.email != *email {
                    // What was asked of the former mailbox is none of its business any more.
                    self.password_challenge = None;
                    self.identity.email = email.clone();
                }
                (self.email_verified, self.email_challenge) = (true, None);
            }
            Event::PasswordChallenged { challenge } => self.password_challenge = Some(challenge.clone()),
            Event::PasswordChanged { password_hash, by: _ } => {
                self.identity.password_hash.clone_from(password_hash);
                self.passwords.extend(password_hash.clone());
                while self.passwords.len() > PASSWORDS_REMEMBERED {
                    self.passwords.pop_front();
                }
                // Whoever was asked before may have been somebody else.
                (self.password_challenge, self.email_challenge) = (None, None);
            }
            Event::IdentityLinked { claim } => {
                self.links.insert(*claim);
            }
            Event::CapabilitiesGranted { capabilities, .. } => {
                self.capabilities.extend(capabilities);
                self.withheld.retain(|capability| !capabilities.contains(capability));
            }
            Event::CapabilitiesRevoked { capabilities, .. } => {
                self.withheld.extend(capabilities);
                self.capabilities.retain(|capability| !capabilities.contains(capability));
            }
            Event::ViolationRecorded { order, .. } => {
                self.violations.insert(*order);
            }
            Event::ViolationsPardoned { orders, .. } => {
                self.violations.retain(|order| !orders.contains(order));
                self.pardoned.extend(orders);
            }
            Event::AccountBlocked { .. } => self.blocked = true,
            Event::AccountSuspended { .. } => self.suspended = true,
            Event::AccountReinstated { .. } => (self.blocked, self.suspended) = (false, false),
            Event::SessionsRevoked { spared } => {
                self.revocations += 1;
                self.spared = *spared;
                self.email_challenge = None;
            }
            // The rest of a profile is shown by read models and decides nothing.
            Event::ProfileChanged { changes } => {
                if let Some(user_name) = &changes.user_name {
                    self.identity.user_name = user_name.clone();
                }
            }
            // A word in earnest decides nothing by itself, and these are the lifecycle's.
            Event::AccountWarned { .. } | Event::AccountRegistered { .. } | Event::AccountErased {} => {}
        }
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unregistered, Command::Register { account, identity, capabilities }) => {
                if !sealed_for(account, identity.sealed_fields()) {
                    return Err(Error::SealedForAnother);
                }
                Ok(vec![Event::AccountRegistered { identity, capabilities }])
            }
            (Self::Registered(registered), command) => registered.decide(command),
            // Nobody is left whom a violation could be held against, or who could be forgotten again.
            (Self::Erased, Command::RecordViolation { .. } | Command::Erase {}) => Ok(vec![]),
            (Self::Unregistered | Self::Erased, _) => Err(Error::NotRegistered),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Unregistered, Event::AccountRegistered { identity, capabilities }) => {
                *self = Self::Registered(Box::new(Registered::new(identity.clone(), capabilities.clone())));
            }
            (Self::Registered(_), Event::AccountErased {}) => *self = Self::Erased,
            (Self::Registered(registered), event) => registered.evolve(event),
            // No decision leads here; a fold never fails.
            (Self::Unregistered | Self::Erased, _) => {}
        }
    }
}
