//! Address books in random histories.

use domain::address_book::{self, AddressBook, Changes, Entry, Place};
use domain::{AccountId, AddressId, CityId, ProvinceId, Sealed};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::History;

impl History {
    /// One more command about where somebody has things sent.
    pub(super) fn change_address_book(&mut self) {
        let owner = self.anybody();
        // As the write side does it: who is forgotten keeps none.
        if self.accounts.state(owner).registered().is_err() {
            return;
        }
        let new = AddressId(self.id());
        let address = match self.address_books.state(owner) {
            AddressBook::Empty => new,
            AddressBook::Kept { addresses, .. } => *addresses.choose(&mut self.random).unwrap(),
        };
        let command = match self.random.random_range(0..8) {
            0..4 => {
                let (entry, default) = (self.address(owner), self.random.random_bool(0.3));
                address_book::Command::Add { owner, address: new, entry, default }
            }
            4 => address_book::Command::MakeDefault { address },
            5 => address_book::Command::Remove { address },
            _ => address_book::Command::Change { owner, address, changes: self.address_changes(owner) },
        };
        let event_id = self.id();
        self.address_books.execute(&mut self.unit, self.now, event_id, owner, command);
        self.commit();
    }

    fn sealed(&mut self, owner: AccountId) -> Sealed<String> {
        let text = self.text();
        self.people[&owner.0].seal(text)
    }

    fn somewhere(&mut self, owner: AccountId) -> Place {
        let province = ProvinceId::of("PK", ["PB", "SD"].choose(&mut self.random).unwrap());
        let city = CityId::of(province, ["first", "second"].choose(&mut self.random).unwrap());
        let key = &self.people[&owner.0];
        Place { province: key.seal(&province.to_string()).into(), city: key.seal(&city.to_string()).into() }
    }

    fn address(&mut self, owner: AccountId) -> Entry {
        Entry {
            recipient: self.sealed(owner),
            phone: self.random.random_bool(0.5).then(|| self.sealed(owner)),
            line1: self.sealed(owner),
            line2: self.random.random_bool(0.5).then(|| self.sealed(owner)),
            postal_code: self.random.random_bool(0.5).then(|| self.sealed(owner)),
            place: self.somewhere(owner),
        }
    }

    fn address_changes(&mut self, owner: AccountId) -> Changes {
        let mut changes = Changes::default();
        let sealed = Some(self.sealed(owner));
        match self.random.random_range(0..6) {
            0 => changes.recipient = sealed,
            1 => changes.phone = sealed,
            2 => changes.line1 = sealed,
            3 => changes.line2 = sealed,
            4 => changes.postal_code = sealed,
            _ => changes.place = Some(self.somewhere(owner)),
        }
        changes
    }
}
