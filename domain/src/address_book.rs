//! Where somebody has things sent: one address book per person, with the id of their account.
//!
//! `Empty ⇄ Kept`. What tells who lives where is sealed with the owner's key, down to the city. While there is any
//! address, exactly one of them is the default: the first one, until another is chosen; when it is removed, the oldest
//! that is left. That a city and a province exist and belong together is checked where a command is made, since they are
//! data and no aggregates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, AddressId, CityId, ProvinceId};
use crate::sealed::{OnceClear, Sealed};

/// So many addresses may be kept.
pub const MOST_ADDRESSES: usize = 20;

/// What is asked of an address book.
#[derive(Clone, Debug)]
pub enum Command {
    /// Keep one more address.
    Add {
        /// Whose book it is: sealed fields must belong to them.
        owner: AccountId,
        /// The id minted for the address.
        address: AddressId,
        /// What it says.
        entry: Entry,
        /// Whether it is to be the default. The first one is in any case.
        default: bool,
    },
    /// Change an address. A field that is `None` stays as it is.
    Change {
        /// Whose book it is.
        owner: AccountId,
        /// Which address.
        address: AddressId,
        /// The new values.
        changes: Changes,
    },
    /// Strike an address out.
    Remove {
        /// Which.
        address: AddressId,
    },
    /// Prefer an address.
    MakeDefault {
        /// Which.
        address: AddressId,
    },
}

/// What an address says. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who gets what is sent there.
    pub recipient: Sealed<String>,
    /// A telephone number for whoever brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Sealed<String>>,
    /// Street and house.
    pub line1: Sealed<String>,
    /// More of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<Sealed<String>>,
    /// The postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<Sealed<String>>,
    /// Where that is.
    pub place: Place,
}

/// A city and the province that it is in. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The province.
    pub province: OnceClear<ProvinceId>,
    /// The city.
    pub city: OnceClear<CityId>,
}

/// The parts of an address that are to change; an empty text leaves a field out. Part of the storage format.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Who gets what is sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Sealed<String>>,
    /// A telephone number for whoever brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Sealed<String>>,
    /// Street and house.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line1: Option<Sealed<String>>,
    /// More of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line2: Option<Sealed<String>>,
    /// The postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<Sealed<String>>,
    /// Where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Entry {
    /// A text that is left out is a sealed empty one.
    fn take(&mut self, changes: &Changes) {
        let Changes { recipient, phone, line1, line2, postal_code, place } = changes.clone();
        self.recipient = recipient.unwrap_or_else(|| self.recipient.clone());
        self.line1 = line1.unwrap_or_else(|| self.line1.clone());
        self.phone = phone.or_else(|| self.phone.take());
        self.line2 = line2.or_else(|| self.line2.take());
        self.postal_code = postal_code.or_else(|| self.postal_code.take());
        self.place = place.unwrap_or_else(|| self.place.clone());
    }

    fn is_sealed_for(&self, owner: AccountId) -> bool {
        let Self { recipient, phone, line1, line2, postal_code, place } = self;
        let mut fields = [recipient, line1].into_iter().chain(phone).chain(line2).chain(postal_code);
        fields.all(|field| field.of == owner) && place.is_sealed_for(owner)
    }
}

impl Changes {
    fn is_sealed_for(&self, owner: AccountId) -> bool {
        let Self { recipient, phone, line1, line2, postal_code, place } = self;
        let mut fields = [recipient, phone, line1, line2, postal_code].into_iter().flatten();
        fields.all(|field| field.of == owner) && place.as_ref().is_none_or(|place| place.is_sealed_for(owner))
    }
}

impl Place {
    fn is_sealed_for(&self, owner: AccountId) -> bool {
        self.province.is_sealed_for(owner) && self.city.is_sealed_for(owner)
    }
}

/// What happens to an address book. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// There is one more address.
    AddressAdded {
        /// Which.
        address: AddressId,
        /// What it says.
        entry: Entry,
        /// Whether it is the default from now on.
        default: bool,
    },
    /// An address has changed.
    AddressChanged {
        /// Which.
        address: AddressId,
        /// The new values.
        changes: Changes,
    },
    /// An address is struck out.
    AddressRemoved {
        /// Which.
        address: AddressId,
        /// The default from now on; none if none is left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<AddressId>,
    },
    /// Another address is preferred.
    DefaultAddressChosen {
        /// Which.
        address: AddressId,
    },
}

event_versions!(Event {
    AddressAdded = "2" | "1",
    AddressChanged = "2" | "1",
    AddressRemoved = "1",
    DefaultAddressChosen = "1",
});

/// Why an address book refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such address in it.
    #[error("there is no such address")]
    NotFound,
    /// The id is in use.
    #[error("the address is there already")]
    AlreadyAdded,
    /// It is full.
    #[error("an address book holds {maximum} addresses at most")]
    Full {
        /// How many it may hold.
        maximum: usize,
    },
    /// A field is not sealed, or with somebody else's key, and would not be forgotten with its person.
    #[error("a personal field is not sealed for its account")]
    SealedForAnother,
    /// Provinces and cities are data, which may have changed since.
    #[error("the city of this address is not known here any more")]
    UnknownPlace,
}

/// An address book. What the addresses say decides nothing, but an order may be sent to one.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum AddressBook {
    /// No address is in it.
    #[default]
    Empty,
    /// Some are.
    Kept {
        /// All of them, the oldest first.
        addresses: Vec<AddressId>,
        /// What they say.
        entries: BTreeMap<AddressId, Entry>,
        /// The one that is preferred.
        default: AddressId,
    },
}

impl AddressBook {
    /// What an address says.
    pub fn entry(&self, address: AddressId) -> Result<&Entry, Error> {
        let entry = match self {
            Self::Empty => None,
            Self::Kept { entries, .. } => entries.get(&address),
        };
        entry.ok_or(Error::NotFound)
    }

    fn addresses(&self) -> &[AddressId] {
        match self {
            Self::Empty => &[],
            Self::Kept { addresses, .. } => addresses,
        }
    }

    /// Refuses unless the address is in it.
    pub fn expect(&self, address: AddressId) -> Result<(), Error> {
        if self.addresses().contains(&address) { Ok(()) } else { Err(Error::NotFound) }
    }

    fn preferred(&self) -> Option<AddressId> {
        match self {
            Self::Empty => None,
            Self::Kept { default, .. } => Some(*default),
        }
    }

    /// The default once `address` is gone.
    fn default_without(&self, address: AddressId) -> Option<AddressId> {
        let mut rest = self.addresses().iter().copied().filter(|kept| *kept != address);
        self.preferred().filter(|default| *default != address).or_else(|| rest.next())
    }
}

impl Aggregate for AddressBook {
    const TYPE: &'static str = "address_book";
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Add { owner, entry, .. } if !entry.is_sealed_for(owner) => Err(Error::SealedForAnother),
            Command::Add { owner: _, address, entry, default } => {
                let kept = self.addresses();
                if kept.contains(&address) {
                    return Err(Error::AlreadyAdded);
                }
                if kept.len() >= MOST_ADDRESSES {
                    return Err(Error::Full { maximum: MOST_ADDRESSES });
                }
                Ok(vec![Event::AddressAdded { address, entry, default: default || kept.is_empty() }])
            }
            Command::Change { owner, address, changes } => {
                self.expect(address)?;
                if !changes.is_sealed_for(owner) {
                    return Err(Error::SealedForAnother);
                }
                let nothing = changes == Changes::default();
                Ok(if nothing { vec![] } else { vec![Event::AddressChanged { address, changes }] })
            }
            Command::Remove { address } => {
                self.expect(address)?;
                Ok(vec![Event::AddressRemoved { address, default: self.default_without(address) }])
            }
            Command::MakeDefault { address } => {
                self.expect(address)?;
                let is_so = self.preferred() == Some(address);
                Ok(if is_so { vec![] } else { vec![Event::DefaultAddressChosen { address }] })
            }
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut *self, event) {
            (Self::Empty, Event::AddressAdded { address, entry, .. }) => {
                let entries = BTreeMap::from([(*address, entry.clone())]);
                *self = Self::Kept { addresses: vec![*address], entries, default: *address };
            }
            (
                Self::Kept { addresses, entries, default },
                Event::AddressAdded { address, entry, default: preferred },
            ) => {
                addresses.push(*address);
                entries.insert(*address, entry.clone());
                if *preferred {
                    *default = *address;
                }
            }
            (Self::Kept { entries, .. }, Event::AddressChanged { address, changes }) => {
                if let Some(entry) = entries.get_mut(address) {
                    entry.take(changes);
                }
            }
            (Self::Kept { addresses, entries, default }, Event::AddressRemoved { address, default: next }) => {
                addresses.retain(|kept| kept != address);
                entries.remove(address);
                match next {
                    Some(next) => *default = *next,
                    None => *self = Self::Empty,
                }
            }
            (Self::Kept { default, .. }, Event::DefaultAddressChosen { address }) => *default = *address,
            // No decision leads here; a fold never fails.
            (
                Self::Empty,
                Event::AddressChanged { .. } | Event::AddressRemoved { .. } | Event::DefaultAddressChosen { .. },
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{Given, given};

    const ANN: AccountId = AccountId(Uuid::from_u128(1));
    const BOB: AccountId = AccountId(Uuid::from_u128(2));

    fn id(number: u128) -> AddressId {
        AddressId(Uuid::from_u128(number))
    }

    fn sealed(of: AccountId, text: &str) -> Sealed<String> {
        Sealed::from_ciphertext(of, text.to_owned())
    }

    fn lahore(of: AccountId) -> Place {
        Place { province: sealed(of, "Punjab").into(), city: sealed(of, "Lahore").into() }
    }

    fn entry(of: AccountId) -> Entry {
        let (phone, line2, postal_code) = (Some(sealed(of, "phone")), None, Some(sealed(of, "54000")));
        Entry {
            recipient: sealed(of, "Ann"),
            phone,
            line1: sealed(of, "12 Mall Road"),
            line2,
            postal_code,
            place: lahore(of),
        }
    }

    fn add(number: u128, default: bool) -> Command {
        Command::Add { owner: ANN, address: id(number), entry: entry(ANN), default }
    }

    fn added(number: u128, default: bool) -> Event {
        Event::AddressAdded { address: id(number), entry: entry(ANN), default }
    }

    fn kept(numbers: impl IntoIterator<Item = u128>) -> Given<AddressBook> {
        numbers.into_iter().fold(given([]), |given, number| given.and(add(number, false)))
    }

    #[test]
    fn the_first_address_is_the_default_and_a_later_one_only_if_asked() {
        kept([]).when(add(1, false)).then([added(1, true)]);
        kept([1]).when(add(2, false)).then([added(2, false)]);
        kept([1]).when(add(2, true)).then([added(2, true)]);
    }

    #[test]
    fn another_address_can_be_preferred_and_choosing_it_again_is_nothing_new() {
        let choose = |number| Command::MakeDefault { address: id(number) };
        kept([1, 2]).when(choose(2)).then([Event::DefaultAddressChosen { address: id(2) }]);
        kept([1, 2]).when(choose(1)).then_nothing();
        kept([1, 2]).when(choose(3)).then_refused(Error::NotFound);
        given::<AddressBook>([]).when(choose(1)).then_refused(Error::NotFound);
    }

    #[test]
    fn when_the_default_goes_the_oldest_that_is_left_takes_its_place() {
        let remove = |number| Command::Remove { address: id(number) };
        let removed =
            |number, default: Option<u128>| Event::AddressRemoved { address: id(number), default: default.map(id) };
        kept([1, 2, 3]).when(remove(1)).then([removed(1, Some(2))]);
        kept([1, 2, 3]).when(remove(2)).then([removed(2, Some(1))]);
        kept([1]).when(remove(1)).then([removed(1, None)]);
        kept([1]).and(remove(1)).when(add(2, false)).then([added(2, true)]);
        kept([1]).and(remove(1)).when(remove(1)).then_refused(Error::NotFound);
    }

    #[test]
    fn a_change_names_an_address_that_is_there_and_something_new() {
        let change = |number, changes| Command::Change { owner: ANN, address: id(number), changes };
        let phone = || Changes { phone: Some(sealed(ANN, "other")), ..Changes::default() };
        kept([1]).when(change(1, phone())).then([Event::AddressChanged { address: id(1), changes: phone() }]);
        kept([1]).when(change(1, Changes::default())).then_nothing();
        kept([1]).when(change(2, phone())).then_refused(Error::NotFound);
    }

    #[test]
    fn an_address_is_known_as_it_says_now() {
        let line1 = sealed(ANN, "1 Elsewhere");
        let changes = Changes { line1: Some(line1.clone()), line2: Some(sealed(ANN, "")), ..Changes::default() };
        let book = given::<AddressBook>([
            Event::AddressAdded { address: id(1), entry: entry(ANN), default: true },
            Event::AddressAdded { address: id(2), entry: entry(ANN), default: false },
            Event::AddressChanged { address: id(2), changes },
        ]);
        let now = Entry { line1, line2: Some(sealed(ANN, "")), ..entry(ANN) };
        assert_eq!((book.state().entry(id(1)), book.state().entry(id(2))), (Ok(&entry(ANN)), Ok(&now)));
        let book = book.and(Command::Remove { address: id(2) });
        assert_eq!(book.state().entry(id(2)), Err(Error::NotFound));
    }

    #[test]
    fn a_field_of_somebody_else_is_refused() {
        let theirs = Command::Add { owner: ANN, address: id(1), entry: entry(BOB), default: false };
        kept([]).when(theirs).then_refused(Error::SealedForAnother);
        for field in 0..5 {
            let mut changes = Changes::default();
            let Changes { recipient, phone, line1, line2, postal_code, place: _ } = &mut changes;
            *[recipient, phone, line1, line2, postal_code][field] = Some(sealed(BOB, "x"));
            let change = Command::Change { owner: ANN, address: id(1), changes };
            kept([1]).when(change).then_refused(Error::SealedForAnother);
        }
    }

    #[test]
    fn a_place_that_is_not_sealed_or_for_somebody_else_is_refused() {
        let province = ProvinceId::of("PK", "PB");
        let city = CityId::of(province, "lahore");
        let (clear_province, clear_city) = (OnceClear::Clear(province), OnceClear::Clear(city));
        for place in [
            Place { province: clear_province, ..lahore(ANN) },
            Place { city: clear_city, ..lahore(ANN) },
            Place { province: sealed(BOB, "x").into(), ..lahore(ANN) },
            Place { city: sealed(BOB, "x").into(), ..lahore(ANN) },
        ] {
            let entry = Entry { place: place.clone(), ..entry(ANN) };
            let added = Command::Add { owner: ANN, address: id(1), entry, default: false };
            kept([]).when(added).then_refused(Error::SealedForAnother);
            let changes = Changes { place: Some(place), ..Changes::default() };
            let change = Command::Change { owner: ANN, address: id(1), changes };
            kept([1]).when(change).then_refused(Error::SealedForAnother);
        }
        let changes = Changes { place: Some(lahore(ANN)), ..Changes::default() };
        let change = Command::Change { owner: ANN, address: id(1), changes: changes.clone() };
        kept([1]).when(change).then([Event::AddressChanged { address: id(1), changes }]);
    }

    #[test]
    fn a_book_is_full_at_twenty() {
        let full = || kept(1..=MOST_ADDRESSES as u128);
        full().when(add(99, false)).then_refused(Error::Full { maximum: MOST_ADDRESSES });
        full().when(add(1, false)).then_refused(Error::AlreadyAdded);
        full().and(Command::Remove { address: id(7) }).when(add(99, false)).then([added(99, false)]);
    }

    proptest! {
        #[test]
        fn while_there_is_any_address_exactly_one_of_them_is_the_default(
            asked in prop::collection::vec((0..3_u8, 0..6_u128, any::<bool>()), 0..40),
        ) {
            let mut book = AddressBook::default();
            for (what, number, default) in asked {
                let command = match what {
                    0 => add(number, default),
                    1 => Command::Remove { address: id(number) },
                    _ => Command::MakeDefault { address: id(number) },
                };
                for event in book.decide(command).into_iter().flatten() {
                    book.evolve(&event);
                }
                match &book {
                    AddressBook::Empty => {}
                    AddressBook::Kept { addresses, entries, default } => {
                        prop_assert!(addresses.contains(default));
                        prop_assert_eq!(entries.keys().collect::<BTreeSet<_>>(), addresses.iter().collect());
                    }
                }
            }
        }
    }
}
