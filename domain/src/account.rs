//! A person or firm, and what they may do here.
//!
//! `Unregistered → Registered`. Whatever tells who somebody is stays sealed with that person's key; capabilities say
//! what the account may do, and none is implied by another. Who wins and does not pay has a violation per order; the
//! third blocks the account, which from then on may read and settle what it owes, and neither sells, bids, buys nor
//! withdraws.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, OrderId};
use crate::sealed::Sealed;

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
    /// Allow more.
    Grant {
        /// What to allow.
        capabilities: BTreeSet<Capability>,
        /// Who allows it.
        by: Granter,
    },
    /// Count an order that was won and not paid. The same order counts once.
    RecordViolation {
        /// The order.
        order: OrderId,
    },
}

/// So many violations block an account.
pub const MOST_VIOLATIONS: usize = 3;

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

/// Who has granted a capability. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Granter {
    /// Somebody at the command line of the server.
    Operator,
    /// An administrator.
    Account(AccountId),
}

/// Who somebody is and how they prove it. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The address that the account logs in with, as it was typed.
    pub email: Sealed<String>,
    /// The public name.
    pub user_name: Sealed<String>,
    /// The password's Argon2id hash in PHC form.
    pub password_hash: Sealed<String>,
}

/// The parts of a profile that are to change. Part of the storage format.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileChanges {
    /// The name shown to others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<Sealed<String>>,
    /// A telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Sealed<String>>,
    /// A few words about oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biography: Option<Sealed<String>>,
    /// The address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<Sealed<String>>,
    /// The preferred language, as a BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl ProfileChanges {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn sealed_fields(&self) -> impl Iterator<Item = &Sealed<String>> {
        [&self.display_name, &self.phone, &self.biography, &self.avatar_url].into_iter().flatten()
    }
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
    /// It may do more.
    CapabilitiesGranted {
        /// What came to be allowed.
        capabilities: BTreeSet<Capability>,
        /// Who allowed it.
        by: Granter,
    },
    /// It had won something and not paid.
    ViolationRecorded {
        /// The order.
        order: OrderId,
        /// How many such orders there are now.
        violations: usize,
    },
    /// It may not trade any more.
    AccountBlocked {
        /// How many violations there were.
        violations: usize,
    },
}

event_versions!(Event {
    AccountRegistered = "1",
    ProfileChanged = "1",
    CapabilitiesGranted = "1",
    ViolationRecorded = "1",
    AccountBlocked = "1",
});

/// Why an account refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such account.
    #[error("there is no such account")]
    NotRegistered,
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
    #[error("the account is blocked after {violations} orders that were won and not paid")]
    Blocked {
        /// How many violations there are.
        violations: usize,
    },
}

/// An account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Account {
    /// Nobody.
    #[default]
    Unregistered,
    /// Somebody.
    Registered(Registered),
}

/// A registered account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Registered {
    /// Who it is.
    pub identity: Identity,
    /// What it may do.
    pub capabilities: BTreeSet<Capability>,
    /// The orders that it had won and not paid.
    pub violations: BTreeSet<OrderId>,
    /// Whether it may not trade any more.
    pub blocked: bool,
    owner: AccountId,
}

impl Account {
    /// The account, if it is somebody.
    pub fn registered(&self) -> Result<&Registered, Error> {
        match self {
            Self::Unregistered => Err(Error::NotRegistered),
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
    /// Refuses if the account may not trade any more.
    pub fn unblocked(&self) -> Result<(), Error> {
        if self.blocked { Err(Error::Blocked { violations: self.violations.len() }) } else { Ok(()) }
    }

    fn record_violation(&self, order: OrderId) -> Vec<Event> {
        if self.violations.contains(&order) {
            return vec![];
        }
        let violations = self.violations.len() + 1;
        let blocks = violations >= MOST_VIOLATIONS && !self.blocked;
        let blocked = blocks.then_some(Event::AccountBlocked { violations });
        [Event::ViolationRecorded { order, violations }].into_iter().chain(blocked).collect()
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
                let fields = [&identity.email, &identity.user_name, &identity.password_hash];
                check_sealed_for(account, fields)?;
                Ok(vec![Event::AccountRegistered { identity, capabilities }])
            }
            (Self::Registered(_), Command::Register { .. }) => Err(Error::AlreadyRegistered),
            (
                Self::Unregistered,
                Command::ChangeProfile { .. } | Command::Grant { .. } | Command::RecordViolation { .. },
            ) => Err(Error::NotRegistered),
            (Self::Registered(registered), Command::ChangeProfile { changes }) => {
                check_sealed_for(registered.owner, changes.sealed_fields())?;
                Ok(if changes.is_empty() { vec![] } else { vec![Event::ProfileChanged { changes }] })
            }
            (Self::Registered(registered), Command::Grant { capabilities, by }) => {
                let capabilities: BTreeSet<_> = capabilities.difference(&registered.capabilities).copied().collect();
                let granted = Event::CapabilitiesGranted { capabilities: capabilities.clone(), by };
                Ok(if capabilities.is_empty() { vec![] } else { vec![granted] })
            }
            (Self::Registered(registered), Command::RecordViolation { order }) => {
                Ok(registered.record_violation(order))
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Unregistered, Event::AccountRegistered { identity, capabilities }) => {
                *self = Self::Registered(Registered {
                    owner: identity.email.of,
                    identity: identity.clone(),
                    capabilities: capabilities.clone(),
                    violations: BTreeSet::new(),
                    blocked: false,
                });
            }
            (Self::Registered(registered), Event::CapabilitiesGranted { capabilities, .. }) => {
                registered.capabilities.extend(capabilities);
            }
            (Self::Registered(registered), Event::ViolationRecorded { order, .. }) => {
                registered.violations.insert(*order);
            }
            (Self::Registered(registered), Event::AccountBlocked { .. }) => registered.blocked = true,
            // A profile is shown by read models and decides nothing. The rest no decision leads to.
            (
                Self::Unregistered | Self::Registered(_),
                Event::AccountRegistered { .. }
                | Event::ProfileChanged { .. }
                | Event::CapabilitiesGranted { .. }
                | Event::ViolationRecorded { .. }
                | Event::AccountBlocked { .. },
            ) => {}
        }
    }
}

fn check_sealed_for<'a>(owner: AccountId, fields: impl IntoIterator<Item = &'a Sealed<String>>) -> Result<(), Error> {
    let all_owned = fields.into_iter().all(|field| field.of == owner);
    if all_owned { Ok(()) } else { Err(Error::SealedForAnother) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn sealed(of: AccountId, text: &str) -> Sealed<String> {
        Sealed::from_ciphertext(of, text.to_owned())
    }

    fn identity(of: AccountId) -> Identity {
        Identity { email: sealed(of, "email"), user_name: sealed(of, "name"), password_hash: sealed(of, "hash") }
    }

    fn registered() -> Event {
        Event::AccountRegistered { identity: identity(ANN), capabilities: BTreeSet::from([Capability::Buy]) }
    }

    fn grant(capabilities: impl IntoIterator<Item = Capability>) -> Command {
        Command::Grant { capabilities: capabilities.into_iter().collect(), by: Granter::Operator }
    }

    #[test]
    fn a_newcomer_is_registered_once() {
        let register = || Command::Register {
            account: ANN,
            identity: identity(ANN),
            capabilities: BTreeSet::from([Capability::Buy]),
        };
        given::<Account>([]).when(register()).then([registered()]);
        given::<Account>([registered()]).when(register()).then_refused(Error::AlreadyRegistered);
    }

    #[test]
    fn fields_sealed_for_somebody_else_are_refused() {
        let foreign = Command::Register { account: ANN, identity: identity(BOB), capabilities: BTreeSet::new() };
        given::<Account>([]).when(foreign).then_refused(Error::SealedForAnother);
        let changes = ProfileChanges { phone: Some(sealed(BOB, "phone")), ..ProfileChanges::default() };
        given::<Account>([registered()]).when(Command::ChangeProfile { changes }).then_refused(Error::SealedForAnother);
    }

    #[test]
    fn only_new_capabilities_are_granted() {
        given::<Account>([registered()]).when(grant([Capability::Buy, Capability::Staff])).then([
            Event::CapabilitiesGranted { capabilities: BTreeSet::from([Capability::Staff]), by: Granter::Operator },
        ]);
        given::<Account>([registered()]).when(grant([Capability::Buy])).then_nothing();
        given::<Account>([]).when(grant([Capability::Buy])).then_refused(Error::NotRegistered);
    }

    #[test]
    fn an_account_may_do_what_it_was_granted_and_nothing_else() {
        let staff = given::<Account>([registered()]).and(grant([Capability::Staff]));
        assert_eq!(staff.state().require(Capability::Staff), Ok(()));
        let missing = Error::MissingCapability { needed: Capability::Admin };
        assert_eq!(staff.state().require(Capability::Admin), Err(missing));
        assert_eq!(Account::default().require(Capability::Buy), Err(Error::NotRegistered));
    }

    #[test]
    fn the_third_order_that_was_won_and_not_paid_blocks_and_the_same_order_counts_once() {
        let order = |number| OrderId(Uuid::from_u128(number));
        let violate = |number| Command::RecordViolation { order: order(number) };
        let twice = || given::<Account>([registered()]).and(violate(1)).and(violate(2)).and(violate(2));
        assert_eq!(twice().state().require(Capability::Buy), Ok(()));
        let third = Event::ViolationRecorded { order: order(3), violations: 3 };
        twice().when(violate(3)).then([third, Event::AccountBlocked { violations: 3 }]);
        let blocked = twice().and(violate(3));
        assert_eq!(blocked.state().require(Capability::Buy), Err(Error::Blocked { violations: 3 }));
        blocked.when(violate(1)).then_nothing();
    }

    #[test]
    fn an_empty_change_changes_nothing() {
        let change = Command::ChangeProfile { changes: ProfileChanges::default() };
        given::<Account>([registered()]).when(change).then_nothing();
    }
}
