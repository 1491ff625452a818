//! Where does somebody have things sent?
//!
//! The addresses of an account, oldest first, with the one that is preferred, and the version of the book that they are
//! in. Whoever is forgotten has none any more.

use std::collections::{BTreeMap, BTreeSet};

use domain::account::{self, Account};
use domain::address_book::{AddressBook, Changes, Entry, Event, Place};
use domain::{AccountId, AddressId, Aggregate, Timestamp};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor};
use uuid::Uuid;

use crate::{ReadModel, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "addresses",
    next: "addresses_next",
    version: 2,
    about: &[Account::TYPE, AddressBook::TYPE],
    ddl: include_str!("addresses.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// An address. Personal fields that cannot be opened are `None`.
#[derive(Clone, Debug, Deserialize, FromRow, PartialEq, Serialize)]
pub struct Address {
    /// The address.
    pub id: Uuid,
    /// In whose book it is.
    pub owner_id: Uuid,
    /// Who gets what is sent there.
    pub recipient: Option<String>,
    /// A telephone number for whoever brings it.
    pub phone: Option<String>,
    /// Street and house.
    pub line1: Option<String>,
    /// More of that.
    pub line2: Option<String>,
    /// The postal code.
    pub postal_code: Option<String>,
    /// The province that it is in.
    pub province_id: Option<Uuid>,
    /// The city that it is in.
    pub city_id: Option<Uuid>,
    /// Whether it is the one that is preferred.
    pub is_default: bool,
    /// Since when it is there.
    pub added_at: Timestamp,
    /// Where in the log it came into the book.
    added: Position,
}

/// How far an address book has come.
#[derive(Clone, Copy, Debug, Default, FromRow, PartialEq, Serialize)]
struct Book {
    owner_id: Uuid,
    version: i64,
    position: Position,
}

/// An address book as its owner sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// The addresses, oldest first.
    pub addresses: Vec<Address>,
    /// How many events the book has.
    pub version: i64,
    /// Where the last of them is.
    pub position: Position,
}

/// The books that a batch is about.
#[derive(Debug, Default)]
struct Books {
    addresses: BTreeMap<Uuid, Address>,
    /// How far each has come.
    reached: BTreeMap<Uuid, Book>,
    /// Addresses that were there and are not any more.
    gone: BTreeSet<Uuid>,
    /// People whose books are gone.
    forgotten: BTreeSet<Uuid>,
}

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut books = Books::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        books.take(recorded, &batch.people);
    }
    books.store(connection).await
}

/// Whose book an event may change.
fn owner(event: &DomainEvent) -> Option<Uuid> {
    match event {
        DomainEvent::AddressBook(owner, _) | DomainEvent::Account(owner, account::Event::AccountErased {}) => {
            Some(owner.0)
        }
        _ => None,
    }
}

impl Books {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Account(account, account::Event::AccountErased {}) => self.forget(account.0),
            DomainEvent::AddressBook(owner, event) => {
                self.take_book(owner.0, event, recorded, people);
                let (version, position) = (recorded.sequence, recorded.position);
                self.reached.insert(owner.0, Book { owner_id: owner.0, version, position });
            }
            // What else happens to an account says nothing about where it has things sent.
            _ => {}
        }
    }

    fn take_book(&mut self, owner: Uuid, event: &Event, recorded: &Recorded, people: &PersonKeys) {
        match event {
            Event::AddressAdded { address, entry, default } => {
                if *default {
                    self.prefer(owner, None);
                }
                let address = Address::added(*address, owner, entry, *default, recorded, people);
                self.addresses.insert(address.id, address);
            }
            Event::AddressChanged { address, changes } => {
                if let Some(address) = self.addresses.get_mut(&address.0) {
                    address.change(changes, people);
                }
            }
            Event::AddressRemoved { address, default } => {
                self.addresses.remove(&address.0);
                self.gone.insert(address.0);
                self.prefer(owner, *default);
            }
            Event::DefaultAddressChosen { address } => self.prefer(owner, Some(*address)),
        }
    }

    fn prefer(&mut self, owner: Uuid, preferred: Option<AddressId>) {
        for address in self.addresses.values_mut().filter(|address| address.owner_id == owner) {
            address.is_default = Some(AddressId(address.id)) == preferred;
        }
    }

    fn forget(&mut self, owner: Uuid) {
        let theirs = self.addresses.values().filter(|address| address.owner_id == owner);
        self.gone.extend(theirs.map(|address| address.id));
        self.addresses.retain(|_, address| address.owner_id != owner);
        self.reached.remove(&owner);
        self.forgotten.insert(owner);
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let owners = rows::touched(events, owner);
        if owners.is_empty() {
            return Ok(Self::default());
        }
        let addresses: Vec<Address> = sqlx::query_as("select * from addresses where owner_id = any($1)")
            .bind(owners)
            .fetch_all(connection)
            .await?;
        let addresses = addresses.into_iter().map(|address| (address.id, address)).collect();
        Ok(Self { addresses, ..Self::default() })
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        if !self.gone.is_empty() {
            let gone: Vec<Uuid> = self.gone.into_iter().collect();
            sqlx::query("delete from addresses where id = any($1)").bind(gone).execute(&mut *connection).await?;
        }
        if !self.forgotten.is_empty() {
            let forgotten: Vec<Uuid> = self.forgotten.into_iter().collect();
            sqlx::query("delete from books where owner_id = any($1)").bind(forgotten).execute(&mut *connection).await?;
        }
        let addresses = "
            insert into addresses select * from json_populate_recordset(null::addresses, $1::json)
            on conflict on constraint addresses_id do update set
                (recipient, phone, line1, line2, postal_code, province_id, city_id, is_default)
                = row (excluded.recipient, excluded.phone, excluded.line1, excluded.line2, excluded.postal_code,
                    excluded.province_id, excluded.city_id, excluded.is_default)";
        rows::write(connection, addresses, self.addresses.into_values()).await?;
        let books = "
            insert into books select * from json_populate_recordset(null::books, $1::json)
            on conflict on constraint books_owner do update set
                (version, position) = row (excluded.version, excluded.position)";
        Ok(rows::write(connection, books, self.reached.into_values()).await?)
    }
}

impl Address {
    fn added(
        AddressId(id): AddressId,
        owner_id: Uuid,
        entry: &Entry,
        is_default: bool,
        recorded: &Recorded,
        people: &PersonKeys,
    ) -> Self {
        let Entry { recipient, phone, line1, line2, postal_code, place } = entry;
        let open = |field| people.open(field);
        Self {
            id,
            owner_id,
            recipient: open(recipient),
            phone: phone.as_ref().and_then(open),
            line1: open(line1),
            line2: line2.as_ref().and_then(open),
            postal_code: postal_code.as_ref().and_then(open),
            province_id: province_of(place, people),
            city_id: city_of(place, people),
            is_default,
            added_at: recorded.recorded_at,
            added: recorded.position,
        }
    }

    fn change(&mut self, changes: &Changes, people: &PersonKeys) {
        let Changes { recipient, phone, line1, line2, postal_code, place } = changes;
        for (field, change) in [
            (&mut self.recipient, recipient),
            (&mut self.phone, phone),
            (&mut self.line1, line1),
            (&mut self.line2, line2),
            (&mut self.postal_code, postal_code),
        ] {
            if let Some(sealed) = change {
                *field = people.open(sealed).filter(|text| !text.is_empty());
            }
        }
        if let Some(place) = place {
            (self.province_id, self.city_id) = (province_of(place, people), city_of(place, people));
        }
    }
}

fn province_of(place: &Place, people: &PersonKeys) -> Option<Uuid> {
    people.open_or_read(&place.province).map(|province| province.0)
}

fn city_of(place: &Place, people: &PersonKeys) -> Option<Uuid> {
    people.open_or_read(&place.city).map(|city| city.0)
}

/// The address book of an account, as one moment had it.
pub async fn of(executor: impl PgExecutor<'_>, owner: AccountId) -> Result<Shown, sqlx::Error> {
    // One statement: the version is that of the addresses.
    #[derive(FromRow)]
    struct Line {
        version: i64,
        position: Position,
        address: Option<sqlx::types::Json<Address>>,
    }
    let lines: Vec<Line> = sqlx::query_as(
        "select version, position, case when a.id is null then null else to_json(a) end as address
         from addresses.books left join addresses.addresses as a using (owner_id)
         where owner_id = $1 order by a.added",
    )
    .bind(owner.0)
    .fetch_all(executor)
    .await?;
    let (version, position) = lines.first().map_or((0, 0), |line| (line.version, line.position));
    let addresses = lines.into_iter().filter_map(|line| line.address).map(|address| address.0).collect();
    Ok(Shown { addresses, version, position })
}

#[cfg(test)]
mod tests {
    use domain::address_book::Command;
    use domain::{CityId, OnceClear, ProvinceId, Sealed};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));

    fn id(number: u128) -> AddressId {
        AddressId(Uuid::from_u128(number))
    }

    fn add(number: u128, default: bool) -> Command {
        let sealed = || Sealed::from_ciphertext(ANN, "unreadable".to_owned());
        let place = Place { province: sealed().into(), city: sealed().into() };
        let (phone, line2, postal_code) = (Some(sealed()), None, None);
        let entry = Entry { recipient: sealed(), phone, line1: sealed(), line2, postal_code, place };
        Command::Add { owner: ANN, address: id(number), entry, default }
    }

    fn shown(commands: impl IntoIterator<Item = Command>) -> Books {
        let (mut book, mut books, mut position) = (AddressBook::default(), Books::default(), 0);
        for command in commands {
            for event in book.decide(command).unwrap() {
                book.evolve(&event);
                position += 1;
                books.take(&recorded(position, DomainEvent::AddressBook(ANN, event)), &PersonKeys::default());
            }
        }
        books
    }

    fn preferred(books: &Books) -> Vec<Uuid> {
        books.addresses.values().filter(|address| address.is_default).map(|address| address.id).collect()
    }

    #[test]
    fn exactly_one_address_is_shown_as_the_default_and_its_successor_when_it_goes() {
        let three = || vec![add(1, false), add(2, true), add(3, false)];
        assert_eq!(preferred(&shown(three())), [id(2).0]);
        let with = |more| shown(three().into_iter().chain([more]));
        assert_eq!(preferred(&with(Command::MakeDefault { address: id(3) })), [id(3).0]);
        let removed = with(Command::Remove { address: id(2) });
        assert_eq!((preferred(&removed), removed.addresses.len()), (vec![id(1).0], 2));
        assert_eq!(removed.gone, BTreeSet::from([id(2).0]));
        assert_eq!(removed.reached[&ANN.0], Book { owner_id: ANN.0, version: 4, position: 4 });
    }

    #[test]
    fn a_place_is_shown_that_was_written_in_clear_and_one_that_nobody_can_open_is_not() {
        let place_of = |books: &Books| (books.addresses[&id(1).0].province_id, books.addresses[&id(1).0].city_id);
        let mut books = shown([add(1, false)]);
        assert_eq!(place_of(&books), (None, None));
        let province = ProvinceId::of("PK", "PB");
        let city = CityId::of(province, "lahore");
        let place = Place { province: OnceClear::Clear(province), city: OnceClear::Clear(city) };
        let changes = Changes { place: Some(place), ..Changes::default() };
        let moved = DomainEvent::AddressBook(ANN, Event::AddressChanged { address: id(1), changes });
        books.take(&recorded(2, moved), &PersonKeys::default());
        assert_eq!(place_of(&books), (Some(province.0), Some(city.0)));
    }

    #[test]
    fn nothing_of_whoever_is_forgotten_is_left() {
        let mut books = shown([add(1, false), add(2, false)]);
        books.take(&recorded(3, DomainEvent::Account(ANN, account::Event::AccountErased {})), &PersonKeys::default());
        assert!(books.addresses.is_empty() && books.reached.is_empty());
        assert_eq!((books.gone.len(), books.forgotten), (2, BTreeSet::from([ANN.0])));
    }
}
