//! The store of an account: the name, the face and the address under which it sells.
//!
//! `Unopened → Open ⇄ Suspended → Removed`, and an open store is removed as well. Whatever a store says of itself, and
//! why staff have decided something about it, is sealed with the key of its owner, and goes with the person; its slug is
//! unique by a [`crate::claim`]. Staff verify that somebody stands behind the brand name at the business address: a store
//! with an address waits for them, and waits again after one of the two has changed. While a store is suspended, and once
//! it is removed, its owner settles what is open and sells nothing new. An account without a store sells under its own
//! name. Invariant: what is removed never comes back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, ClaimId};
use crate::sealed::{OnceClear, Sealed};

/// What is asked of a store.
#[derive(Clone, Debug)]
pub enum Command {
    /// Open it.
    Open {
        /// Whose it is: sealed fields must belong to it.
        owner: AccountId,
        /// What it says of itself.
        about: About,
    },
    /// Say something else. What stays as it is keeps its seal, by which it is known.
    Change {
        /// All of what it says from now on.
        about: About,
    },
    /// Vouch for it.
    Verify {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// Vouch for it no more, or not at all.
    Unverify {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// Let it sell nothing for now.
    Suspend {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// Let it sell again.
    Reinstate {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// Close it for good.
    Remove {
        /// Who says so, and why.
        ruling: Ruling,
    },
}

impl Command {
    /// Whether all of it that is personal goes with this account.
    fn is_sealed_for(&self, owner: AccountId) -> bool {
        match self {
            Self::Open { owner: _, about } | Self::Change { about } => about.is_sealed_for(owner),
            Self::Verify { ruling }
            | Self::Unverify { ruling }
            | Self::Suspend { ruling }
            | Self::Reinstate { ruling }
            | Self::Remove { ruling } => ruling.reason.is_sealed_for(owner),
        }
    }
}

/// What a store says of itself. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its name in addresses.
    pub slug: Sealed<String>,
    /// The claim on that.
    pub claim: ClaimId,
    /// Its name for people.
    pub brand_name: Sealed<String>,
    /// A few words about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biography: Option<Sealed<String>>,
    /// Where its picture is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logo: Option<Sealed<String>>,
    /// Where the business is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_address: Option<Sealed<String>>,
    /// A link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whatsapp: Option<Sealed<String>>,
    /// A link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instagram: Option<Sealed<String>>,
    /// A link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facebook: Option<Sealed<String>>,
    /// How it wants to be paid by buyers without an account.
    #[serde(default)]
    pub payment_preference: PaymentPreference,
}

impl About {
    fn is_sealed_for(&self, owner: AccountId) -> bool {
        let Self { slug, brand_name, biography, logo, business_address, whatsapp, instagram, facebook, .. } = self;
        let optional = [biography, logo, business_address, whatsapp, instagram, facebook];
        [slug, brand_name].into_iter().chain(optional.into_iter().flatten()).all(|field| field.of == owner)
    }

    /// Whether staff would vouch for the same.
    fn is_vouched_for_like(&self, other: &Self) -> bool {
        self.brand_name == other.brand_name && self.business_address == other.business_address
    }

    /// Where staff are with it while they have not looked.
    fn unchecked(&self) -> Kyc {
        if self.business_address.is_some() { Kyc::Pending } else { Kyc::Unverified }
    }
}

/// How a store wants to be paid by buyers without an account. Part of the storage format.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentPreference {
    /// As the buyer likes.
    #[default]
    Any,
    /// By card, before it sends anything.
    Card,
    /// In cash, when the buyer gets it.
    CashOnDelivery,
}

/// Where staff are with knowing who sells. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kyc {
    /// Nothing was shown to them that they could vouch for, or they do not.
    Unverified,
    /// They are to look.
    Pending,
    /// They vouch for it.
    Verified,
}

impl Kyc {
    /// The name in JSON and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unverified => "unverified",
            Self::Pending => "pending",
            Self::Verified => "verified",
        }
    }
}

/// Who of the staff has decided something about a store, and why. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Ruling {
    /// Who.
    pub by: AccountId,
    /// Why: sealed for whose store it is, since it may tell who that is.
    pub reason: OnceClear<String>,
}

/// What happens to a store. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It was opened.
    StoreOpened {
        /// What it says of itself.
        about: About,
        /// Where staff are with it.
        kyc: Kyc,
    },
    /// It says something else.
    StoreChanged {
        /// All of what it says from now on.
        about: About,
        /// Where staff are with it.
        kyc: Kyc,
    },
    /// Staff vouch for it.
    StoreVerified {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// They do not.
    StoreUnverified {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// It sells nothing for now.
    StoreSuspended {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// It sells again.
    StoreReinstated {
        /// Who says so, and why.
        ruling: Ruling,
    },
    /// It is closed for good.
    StoreRemoved {
        /// Who says so, and why.
        ruling: Ruling,
    },
}

event_versions!(Event {
    StoreOpened = "1",
    StoreChanged = "1",
    StoreVerified = "2" | "1",
    StoreUnverified = "2" | "1",
    StoreSuspended = "2" | "1",
    StoreReinstated = "2" | "1",
    StoreRemoved = "2" | "1",
});

impl Event {
    /// Whether its owner's offers go out of sight with it, or come back; nothing if it changes nothing about that.
    pub fn closes(&self) -> Option<bool> {
        match self {
            Self::StoreSuspended { .. } | Self::StoreRemoved { .. } => Some(true),
            Self::StoreReinstated { .. } => Some(false),
            Self::StoreOpened { .. }
            | Self::StoreChanged { .. }
            | Self::StoreVerified { .. }
            | Self::StoreUnverified { .. } => None,
        }
    }
}

/// Why a store refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such store.
    #[error("there is no such store")]
    NotFound,
    /// One account, one store.
    #[error("the store is open already")]
    AlreadyOpen,
    /// A field is not sealed, or with somebody else's key, and would not be forgotten with its person.
    #[error("a field of the store is not sealed for its account")]
    SealedForAnother,
    /// It sells nothing for now.
    #[error("the store is suspended: it settles what is open, and sells nothing new")]
    Suspended,
    /// It is closed for good.
    #[error("the store was removed")]
    Removed,
    /// Nobody of the staff rules on what is theirs.
    #[error("nobody rules on a store of their own")]
    OwnStore,
    /// Only a verified store may offer anything here.
    #[error("only a verified store may offer anything, and this one is {}", .kyc.name())]
    NotVerified {
        /// Where staff are with it.
        kyc: Kyc,
    },
}

/// A store.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Store {
    /// There is none.
    #[default]
    Unopened,
    /// It sells.
    Open(Shop),
    /// It sells nothing for now.
    Suspended(Shop),
    /// It is closed for good.
    Removed(Shop),
}

/// What a store decides by.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Shop {
    /// Whose it is.
    pub owner: AccountId,
    /// What it says of itself.
    pub about: About,
    /// Where staff are with it.
    pub kyc: Kyc,
}

impl Store {
    /// The shop, if one was ever opened.
    pub fn opened(&self) -> Result<&Shop, Error> {
        match self {
            Self::Unopened => Err(Error::NotFound),
            Self::Open(shop) | Self::Suspended(shop) | Self::Removed(shop) => Ok(shop),
        }
    }

    /// Refuses if its owner may sell nothing new.
    pub fn may_sell(&self) -> Result<(), Error> {
        match self {
            Self::Unopened | Self::Open(_) => Ok(()),
            Self::Suspended(_) => Err(Error::Suspended),
            Self::Removed(_) => Err(Error::Removed),
        }
    }

    /// Refuses unless staff vouch for it.
    pub fn is_verified(&self) -> Result<(), Error> {
        match self.opened().map_or(Kyc::Unverified, |shop| shop.kyc) {
            Kyc::Verified => Ok(()),
            kyc @ (Kyc::Unverified | Kyc::Pending) => Err(Error::NotVerified { kyc }),
        }
    }

    /// The name of its state in JSON and in messages; nothing if there is none.
    pub fn state(&self) -> Option<&'static str> {
        match self {
            Self::Unopened => None,
            Self::Open(_) => Some("open"),
            Self::Suspended(_) => Some("suspended"),
            Self::Removed(_) => Some("removed"),
        }
    }
}

impl Aggregate for Store {
    const TYPE: &'static str = "store";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unopened, Command::Open { owner, about }) if about.is_sealed_for(owner) => {
                let kyc = about.unchecked();
                Ok(vec![Event::StoreOpened { about, kyc }])
            }
            (Self::Unopened, Command::Open { .. }) => Err(Error::SealedForAnother),
            (Self::Unopened, _) => Err(Error::NotFound),
            (_, Command::Open { .. }) => Err(Error::AlreadyOpen),
            // Nothing is left to be done, or undone.
            (Self::Removed(_), Command::Remove { .. })
            | (Self::Suspended(_), Command::Suspend { .. })
            | (Self::Open(_), Command::Reinstate { .. }) => Ok(vec![]),
            (Self::Removed(_), _) => Err(Error::Removed),
            (Self::Open(shop) | Self::Suspended(shop), command) if !command.is_sealed_for(shop.owner) => {
                Err(Error::SealedForAnother)
            }
            // A name that is closed stays closed, whoever would like to have it.
            (Self::Suspended(shop), Command::Change { about }) if about.claim != shop.about.claim => {
                Err(Error::Suspended)
            }
            (Self::Open(shop) | Self::Suspended(shop), Command::Change { about }) => Ok(shop.change(about)),
            (Self::Open(shop) | Self::Suspended(shop), Command::Verify { ruling }) => Ok(match shop.kyc {
                Kyc::Verified => vec![],
                Kyc::Unverified | Kyc::Pending => vec![Event::StoreVerified { ruling }],
            }),
            (Self::Open(shop) | Self::Suspended(shop), Command::Unverify { ruling }) => Ok(match shop.kyc {
                Kyc::Unverified => vec![],
                Kyc::Pending | Kyc::Verified => vec![Event::StoreUnverified { ruling }],
            }),
            (Self::Open(_), Command::Suspend { ruling }) => Ok(vec![Event::StoreSuspended { ruling }]),
            (Self::Suspended(_), Command::Reinstate { ruling }) => Ok(vec![Event::StoreReinstated { ruling }]),
            (Self::Open(_) | Self::Suspended(_), Command::Remove { ruling }) => {
                Ok(vec![Event::StoreRemoved { ruling }])
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event) {
            (Self::Unopened, Event::StoreOpened { about, kyc }) => {
                Self::Open(Shop { owner: about.brand_name.of, about: about.clone(), kyc: *kyc })
            }
            (Self::Open(shop), Event::StoreSuspended { .. }) => Self::Suspended(shop),
            (Self::Suspended(shop), Event::StoreReinstated { .. }) => Self::Open(shop),
            (Self::Open(shop) | Self::Suspended(shop), Event::StoreRemoved { .. }) => Self::Removed(shop),
            (Self::Open(shop), event) => Self::Open(shop.evolved(event)),
            (Self::Suspended(shop), event) => Self::Suspended(shop.evolved(event)),
            // No decision leads here; a fold never fails.
            (state @ (Self::Unopened | Self::Removed(_)), _) => state,
        };
    }
}

impl Shop {
    fn change(&self, about: About) -> Vec<Event> {
        if about == self.about {
            return vec![];
        }
        let kyc = if about.is_vouched_for_like(&self.about) { self.kyc } else { about.unchecked() };
        vec![Event::StoreChanged { about, kyc }]
    }

    fn evolved(self, event: &Event) -> Self {
        match event {
            Event::StoreChanged { about, kyc } => Self { about: about.clone(), kyc: *kyc, ..self },
            Event::StoreVerified { .. } => Self { kyc: Kyc::Verified, ..self },
            Event::StoreUnverified { .. } => Self { kyc: Kyc::Unverified, ..self },
            // The lifecycle's.
            Event::StoreOpened { .. }
            | Event::StoreSuspended { .. }
            | Event::StoreReinstated { .. }
            | Event::StoreRemoved { .. } => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));
    const CLERK: AccountId = AccountId(Uuid::from_u128(3));

    fn sealed(of: AccountId, text: &str) -> Sealed<String> {
        Sealed::from_ciphertext(of, text.to_owned())
    }

    fn about(of: AccountId) -> About {
        About {
            slug: sealed(of, "slug"),
            claim: ClaimId(Uuid::from_u128(9)),
            brand_name: sealed(of, "brand"),
            biography: None,
            logo: None,
            business_address: Some(sealed(of, "address")),
            whatsapp: None,
            instagram: None,
            facebook: None,
            payment_preference: PaymentPreference::Any,
        }
    }

    fn opened() -> Event {
        Event::StoreOpened { about: about(ANN), kyc: Kyc::Pending }
    }

    fn ruling() -> Ruling {
        Ruling { by: CLERK, reason: sealed(ANN, "papers").into() }
    }

    fn verify() -> Command {
        Command::Verify { ruling: ruling() }
    }

    fn suspend() -> Command {
        Command::Suspend { ruling: ruling() }
    }

    fn reinstate() -> Command {
        Command::Reinstate { ruling: ruling() }
    }

    fn remove() -> Command {
        Command::Remove { ruling: ruling() }
    }

    #[test]
    fn a_store_is_opened_once_and_waits_for_staff_if_it_says_where_it_is() {
        let open = |about: About| Command::Open { owner: ANN, about };
        given::<Store>([]).when(open(about(ANN))).then([opened()]);
        given::<Store>([opened()]).when(open(about(ANN))).then_refused(Error::AlreadyOpen);
        let nowhere = About { business_address: None, ..about(ANN) };
        let kyc = Kyc::Unverified;
        given::<Store>([]).when(open(nowhere.clone())).then([Event::StoreOpened { about: nowhere, kyc }]);
    }

    #[test]
    fn what_is_sealed_for_somebody_else_is_refused() {
        let open = Command::Open { owner: ANN, about: about(BOB) };
        given::<Store>([]).when(open).then_refused(Error::SealedForAnother);
        let logo = Some(sealed(BOB, "logo"));
        let change = Command::Change { about: About { logo, ..about(ANN) } };
        given::<Store>([opened()]).when(change).then_refused(Error::SealedForAnother);
    }

    #[test]
    fn a_reason_that_is_not_sealed_or_for_somebody_else_is_refused() {
        for reason in [OnceClear::Clear("papers".to_owned()), sealed(BOB, "papers").into()] {
            let ruling = || Ruling { by: CLERK, reason: reason.clone() };
            for command in [
                Command::Verify { ruling: ruling() },
                Command::Unverify { ruling: ruling() },
                Command::Suspend { ruling: ruling() },
                Command::Remove { ruling: ruling() },
            ] {
                given::<Store>([opened()]).when(command).then_refused(Error::SealedForAnother);
            }
            let reinstate = Command::Reinstate { ruling: ruling() };
            given::<Store>([opened()]).and(suspend()).when(reinstate).then_refused(Error::SealedForAnother);
        }
    }

    #[test]
    fn what_is_not_there_neither_changes_nor_is_ruled_on() {
        for command in [Command::Change { about: about(ANN) }, verify(), suspend(), reinstate(), remove()] {
            given::<Store>([]).when(command).then_refused(Error::NotFound);
        }
    }

    #[test]
    fn saying_the_same_again_changes_nothing() {
        given::<Store>([opened()]).when(Command::Change { about: about(ANN) }).then_nothing();
    }

    #[test]
    fn staff_vouch_for_name_and_address_and_look_again_when_either_changes() {
        let verified = || given::<Store>([opened()]).and(verify());
        assert_eq!(verified().state().is_verified(), Ok(()));
        verified().when(verify()).then_nothing();
        let change = |about: About| Command::Change { about };
        let picture = About { logo: Some(sealed(ANN, "logo")), ..about(ANN) };
        verified().when(change(picture.clone())).then([Event::StoreChanged { about: picture, kyc: Kyc::Verified }]);
        let renamed = About { brand_name: sealed(ANN, "other"), ..about(ANN) };
        let moved = About { business_address: Some(sealed(ANN, "other")), ..about(ANN) };
        for about in [renamed, moved] {
            let kyc = Kyc::Pending;
            verified().when(change(about.clone())).then([Event::StoreChanged { about, kyc }]);
        }
        let gone = About { business_address: None, ..about(ANN) };
        verified().when(change(gone.clone())).then([Event::StoreChanged { about: gone, kyc: Kyc::Unverified }]);
    }

    #[test]
    fn staff_may_not_vouch_for_it_until_it_shows_something_else() {
        let unverify = || Command::Unverify { ruling: ruling() };
        let refused = || given::<Store>([opened()]).and(unverify());
        let kyc = Kyc::Unverified;
        assert_eq!(refused().state().is_verified(), Err(Error::NotVerified { kyc }));
        refused().when(unverify()).then_nothing();
        given::<Store>([opened()]).and(verify()).when(unverify()).then([Event::StoreUnverified { ruling: ruling() }]);
        let moved = About { business_address: Some(sealed(ANN, "other")), ..about(ANN) };
        let change = Command::Change { about: moved.clone() };
        refused().when(change).then([Event::StoreChanged { about: moved, kyc: Kyc::Pending }]);
    }

    #[test]
    fn whoever_has_no_store_is_not_verified_and_may_sell() {
        let none = Store::default();
        let kyc = Kyc::Unverified;
        assert_eq!((none.may_sell(), none.is_verified()), (Ok(()), Err(Error::NotVerified { kyc })));
    }

    #[test]
    fn a_suspended_store_sells_nothing_until_it_is_reinstated() {
        let open = || given::<Store>([opened()]);
        assert_eq!(open().state().may_sell(), Ok(()));
        open().when(reinstate()).then_nothing();
        open().when(suspend()).then([Event::StoreSuspended { ruling: ruling() }]);
        let suspended = || open().and(suspend());
        assert_eq!(suspended().state().may_sell(), Err(Error::Suspended));
        suspended().when(suspend()).then_nothing();
        suspended().when(reinstate()).then([Event::StoreReinstated { ruling: ruling() }]);
        assert_eq!(suspended().and(reinstate()).state().may_sell(), Ok(()));
        // It can still show what staff ask for.
        assert_eq!(suspended().and(verify()).state().is_verified(), Ok(()));
    }

    #[test]
    fn a_suspended_store_keeps_its_name() {
        let suspended = || given::<Store>([opened()]).and(suspend());
        let renamed = About { claim: ClaimId(Uuid::from_u128(10)), slug: sealed(ANN, "other"), ..about(ANN) };
        suspended().when(Command::Change { about: renamed }).then_refused(Error::Suspended);
        let about = About { biography: Some(sealed(ANN, "we mend")), ..about(ANN) };
        let changed = Event::StoreChanged { about: about.clone(), kyc: Kyc::Pending };
        suspended().when(Command::Change { about }).then([changed]);
    }

    #[test]
    fn a_removed_store_never_comes_back() {
        for before in [given::<Store>([opened()]), given::<Store>([opened()]).and(suspend())] {
            before.when(remove()).then([Event::StoreRemoved { ruling: ruling() }]);
        }
        let removed = || given::<Store>([opened()]).and(remove());
        assert_eq!(removed().state().may_sell(), Err(Error::Removed));
        removed().when(remove()).then_nothing();
        for command in [Command::Change { about: about(ANN) }, verify(), suspend(), reinstate()] {
            removed().when(command).then_refused(Error::Removed);
        }
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let text = prop::sample::select(vec!["a", "b"]);
        let address = prop::option::of(text.clone());
        prop_oneof![
            2 => Just(Command::Open { owner: ANN, about: about(ANN) }),
            4 => (text, address).prop_map(|(brand, address)| {
                let business_address = address.map(|text| sealed(ANN, text));
                Command::Change { about: About { brand_name: sealed(ANN, brand), business_address, ..about(ANN) } }
            }),
            8 => prop::sample::select(vec![
                verify(),
                Command::Unverify { ruling: ruling() },
                suspend(),
                reinstate(),
            ]),
            1 => Just(remove()),
        ]
    }

    proptest! {
        #[test]
        fn nobody_but_staff_makes_a_store_verified_or_lets_it_sell_again(
            commands in prop::collection::vec(any_command(), 0..30),
        ) {
            let mut store = Store::default();
            for command in commands {
                let before = store.clone();
                let by_staff = !matches!(command, Command::Open { .. } | Command::Change { .. });
                for event in store.decide(command).iter().flatten() {
                    let read: Event = serde_json::from_str(&serde_json::to_string(event).unwrap()).unwrap();
                    prop_assert_eq!(&read, event);
                    store.evolve(&read);
                }
                prop_assert!(by_staff || before.is_verified().is_ok() || store.is_verified().is_err());
                prop_assert!(by_staff || before.may_sell().is_ok() || store.may_sell().is_err());
                prop_assert!(!matches!(before, Store::Removed(_)) || matches!(store, Store::Removed(_)));
            }
        }
    }
}
