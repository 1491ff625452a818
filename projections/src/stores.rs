//! Which stores are there, what do they say of themselves, and what have staff decided about them?
//!
//! A store is there for everybody while it is open and its owner is somebody. What it offers, the
//! [`crate::catalogue`] shows.

use std::collections::BTreeMap;

use domain::store::{self, About, Event, Kyc, PaymentPreference, Ruling};
use domain::{AccountId, Aggregate, Sealed, Timestamp, account};
use eventstore::Position;
use eventstore::event::DomainEvent;
use eventstore::follower::{Batch, FollowError, Recorded};
use eventstore::sealing::PersonKeys;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, PgExecutor, QueryBuilder};
use uuid::Uuid;

use crate::page::{Page, PageError};
use crate::{ReadModel, Text, rows};

/// The read model.
pub const MODEL: ReadModel = ReadModel {
    name: "stores",
    next: "stores_next",
    version: 2,
    about: &[account::Account::TYPE, store::Store::TYPE],
    ddl: include_str!("stores.sql"),
    apply: |connection, batch| Box::pin(apply(connection, batch)),
};

/// A store. What it says of itself, and why staff have decided something, is `None` once its owner is forgotten.
#[derive(Clone, Debug, FromRow, PartialEq, Serialize)]
pub struct Store {
    /// The account whose it is.
    pub id: Uuid,
    /// Whether it sells.
    pub state: State,
    /// Where staff are with knowing who sells.
    pub kyc: Text<Kyc>,
    /// Its name in addresses.
    pub slug: Option<String>,
    /// Its name for people.
    pub brand_name: Option<String>,
    /// A few words about it.
    pub biography: Option<String>,
    /// Where its picture is.
    pub logo: Option<String>,
    /// Where the business is.
    pub business_address: Option<String>,
    /// A link.
    pub whatsapp: Option<String>,
    /// A link.
    pub instagram: Option<String>,
    /// A link.
    pub facebook: Option<String>,
    /// How it wants to be paid by buyers without an account.
    pub payment_preference: Text<PaymentPreference>,
    /// Who of the staff has decided something last.
    pub ruled_by: Option<Uuid>,
    /// When that was.
    pub ruled_at: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// Since when it is there.
    pub opened_at: Timestamp,
    /// Since when staff vouch for it.
    pub verified_at: Option<Timestamp>,
    /// Since when its owner is forgotten.
    pub erased_at: Option<Timestamp>,
    /// How many events its stream has.
    pub version: i64,
    /// Where the last event is that changed this row.
    pub position: Position,
}

/// Whether a store sells.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// It does.
    Open,
    /// Not for now.
    Suspended,
    /// Not any more.
    Removed,
}

/// The stores that a batch is about.
#[derive(Debug, Default)]
struct Stores(BTreeMap<Uuid, Store>);

async fn apply(connection: &mut PgConnection, batch: &Batch) -> Result<(), FollowError> {
    let mut stores = Stores::load(connection, &batch.events).await?;
    for recorded in &batch.events {
        stores.take(recorded, &batch.people);
    }
    stores.store(connection).await
}

impl Stores {
    /// Takes one event in.
    fn take(&mut self, recorded: &Recorded, people: &PersonKeys) {
        match &recorded.event {
            DomainEvent::Store(AccountId(id), event) => {
                if let Event::StoreOpened { about: _, kyc } = event {
                    self.0.insert(*id, Store::unnamed(*id, *kyc, recorded.recorded_at));
                }
                let Some(store) = self.0.get_mut(id) else { return };
                store.take(event, recorded.recorded_at, people);
                (store.version, store.position) = (recorded.sequence, recorded.position);
            }
            DomainEvent::Account(AccountId(id), account::Event::AccountErased {}) => {
                if let Some(store) = self.0.get_mut(id) {
                    store.forget(recorded.recorded_at);
                    store.position = recorded.position;
                }
            }
            // Nothing else concerns it: see `about`.
            _ => {}
        }
    }

    async fn load(connection: &mut PgConnection, events: &[Recorded]) -> Result<Self, FollowError> {
        let ids = rows::touched(events, |event| match event {
            DomainEvent::Store(id, _) | DomainEvent::Account(id, account::Event::AccountErased {}) => Some(id.0),
            _ => None,
        });
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let stores: Vec<Store> =
            sqlx::query_as("select * from stores where id = any($1)").bind(ids).fetch_all(connection).await?;
        Ok(Self(stores.into_iter().map(|store| (store.id, store)).collect()))
    }

    async fn store(self, connection: &mut PgConnection) -> Result<(), FollowError> {
        let statement = "
            insert into stores (id, state, kyc, slug, brand_name, biography, logo, business_address, whatsapp, instagram,
                facebook, payment_preference, ruled_by, ruled_at, reason, opened_at, verified_at, erased_at, version,
                position)
            select id, state, kyc, slug, brand_name, biography, logo, business_address, whatsapp, instagram, facebook,
                payment_preference, ruled_by, ruled_at, reason, opened_at, verified_at, erased_at, version, position
            from json_populate_recordset(null::stores, $1::json)
            on conflict on constraint stores_id do update set
                (state, kyc, slug, brand_name, biography, logo, business_address, whatsapp, instagram, facebook,
                    payment_preference, ruled_by, ruled_at, reason, verified_at, erased_at, version, position)
                = row (excluded.state, excluded.kyc, excluded.slug, excluded.brand_name, excluded.biography,
                    excluded.logo, excluded.business_address, excluded.whatsapp, excluded.instagram, excluded.facebook,
                    excluded.payment_preference, excluded.ruled_by, excluded.ruled_at, excluded.reason,
                    excluded.verified_at, excluded.erased_at, excluded.version, excluded.position)";
        Ok(rows::write(connection, statement, self.0.into_values()).await?)
    }
}

impl Store {
    /// A store that has yet to say something of itself.
    fn unnamed(id: Uuid, kyc: Kyc, opened_at: Timestamp) -> Self {
        Self {
            id,
            state: State::Open,
            kyc: Text(kyc),
            slug: None,
            brand_name: None,
            biography: None,
            logo: None,
            business_address: None,
            whatsapp: None,
            instagram: None,
            facebook: None,
            payment_preference: Text(PaymentPreference::default()),
            ruled_by: None,
            ruled_at: None,
            reason: None,
            opened_at,
            verified_at: None,
            erased_at: None,
            version: 0,
            position: 0,
        }
    }

    fn take(&mut self, event: &Event, at: Timestamp, people: &PersonKeys) {
        match event {
            Event::StoreOpened { about, kyc } | Event::StoreChanged { about, kyc } => {
                self.say(about, people);
                self.stand(*kyc, at);
            }
            Event::StoreVerified { ruling } => {
                self.stand(Kyc::Verified, at);
                self.rule(ruling, at, people);
            }
            Event::StoreUnverified { ruling } => {
                self.stand(Kyc::Unverified, at);
                self.rule(ruling, at, people);
            }
            Event::StoreSuspended { ruling } => {
                self.state = State::Suspended;
                self.rule(ruling, at, people);
            }
            Event::StoreReinstated { ruling } => {
                self.state = State::Open;
                self.rule(ruling, at, people);
            }
            Event::StoreRemoved { ruling } => {
                self.state = State::Removed;
                self.rule(ruling, at, people);
            }
        }
    }

    fn say(&mut self, about: &About, people: &PersonKeys) {
        let open = |field: &Option<Sealed<String>>| field.as_ref().and_then(|sealed| people.open(sealed));
        self.slug = people.open(&about.slug);
        self.brand_name = people.open(&about.brand_name);
        self.biography = open(&about.biography);
        self.logo = open(&about.logo);
        self.business_address = open(&about.business_address);
        self.whatsapp = open(&about.whatsapp);
        self.instagram = open(&about.instagram);
        self.facebook = open(&about.facebook);
        self.payment_preference = Text(about.payment_preference);
    }

    fn stand(&mut self, kyc: Kyc, at: Timestamp) {
        let since = self.verified_at.unwrap_or(at);
        self.verified_at = (kyc == Kyc::Verified).then_some(since);
        self.kyc = Text(kyc);
    }

    fn rule(&mut self, Ruling { by, reason }: &Ruling, at: Timestamp, people: &PersonKeys) {
        (self.ruled_by, self.ruled_at, self.reason) = (Some(by.0), Some(at), people.open_or_read(reason));
    }

    /// What a rebuild shows, which finds no key.
    fn forget(&mut self, at: Timestamp) {
        (self.slug, self.brand_name, self.biography, self.logo) = (None, None, None, None);
        (self.business_address, self.whatsapp, self.instagram, self.facebook) = (None, None, None, None);
        // A reason that was written in clear once is gone from here too.
        self.reason = None;
        self.erased_at = Some(at);
    }
}

/// The store of an account, whatever its state.
pub async fn get(executor: impl PgExecutor<'_>, owner: AccountId) -> Result<Option<Store>, sqlx::Error> {
    sqlx::query_as("select * from stores.stores where id = $1").bind(owner.0).fetch_optional(executor).await
}

/// The open store with this slug.
pub async fn by_slug(executor: impl PgExecutor<'_>, slug: &str) -> Result<Option<Store>, sqlx::Error> {
    sqlx::query_as("select * from stores.stores where slug = $1 and state = 'open'")
        .bind(rows::stored(slug))
        .fetch_optional(executor)
        .await
}

/// Which stores to show. Those of forgotten people are shown to nobody.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this state.
    pub state: Option<State>,
    /// With this status.
    pub kyc: Option<Kyc>,
    /// With these words in name, slug or biography, as one types them into a search engine.
    pub words: Option<String>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// What was opened last, first.
    #[default]
    Newest,
    /// By the name for people.
    Name,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "sort")]
pub enum Cursor {
    /// In [`Sort::Newest`].
    Newest {
        /// Since when it is there.
        opened_at: Timestamp,
        /// Whose store it is.
        id: Uuid,
    },
    /// In [`Sort::Name`].
    Name {
        /// The name.
        name: String,
        /// Whose store it is.
        id: Uuid,
    },
}

/// Stores after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Store, Cursor>, PageError> {
    let mut query = QueryBuilder::new("select * from stores.stores where erased_at is null");
    if let Some(state) = filter.state {
        query.push(" and state = ").push_bind(state);
    }
    if let Some(kyc) = filter.kyc {
        query.push(" and kyc = ").push_bind(Text(kyc));
    }
    if let Some(words) = &filter.words {
        query.push(" and words @@ websearch_to_tsquery('simple', ").push_bind(rows::stored(words)).push(")");
    }
    match (sort, after) {
        (_, None) => {}
        (Sort::Newest, Some(Cursor::Newest { opened_at, id })) => {
            query.push(" and (opened_at, id) < (").push_bind(opened_at).push(", ").push_bind(id).push(")");
        }
        (Sort::Name, Some(Cursor::Name { name, id })) => {
            query.push(" and (lower(left(brand_name, 100)), id) > (lower(left(").push_bind(rows::stored(&name));
            query.push(", 100)), ").push_bind(id).push(")");
        }
        (Sort::Newest | Sort::Name, Some(_)) => return Err(PageError::CursorOfAnotherSort),
    }
    query.push(match sort {
        Sort::Newest => " order by opened_at desc, id desc",
        Sort::Name => " order by lower(left(brand_name, 100)), id",
    });
    query.push(" limit ").push_bind(Page::<Store, Cursor>::rows_to_fetch(limit));
    let stores: Vec<Store> = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(stores, limit, |store| {
        let id = store.id;
        match sort {
            Sort::Newest => Cursor::Newest { opened_at: store.opened_at, id },
            Sort::Name => Cursor::Name { name: store.brand_name.clone().unwrap_or_default(), id },
        }
    }))
}

#[cfg(test)]
mod tests {
    use domain::{ClaimId, OnceClear};

    use super::*;
    use crate::tests::history::recorded;

    const ANN: AccountId = AccountId(Uuid::from_u128(1));

    fn opened() -> Event {
        let sealed = || Sealed::from_ciphertext(ANN, "unreadable".to_owned());
        let about = About {
            slug: sealed(),
            claim: ClaimId(Uuid::nil()),
            brand_name: sealed(),
            biography: None,
            logo: None,
            business_address: None,
            whatsapp: None,
            instagram: None,
            facebook: None,
            payment_preference: PaymentPreference::Any,
        };
        Event::StoreOpened { about, kyc: Kyc::Unverified }
    }

    #[test]
    fn a_reason_that_was_written_in_clear_is_shown_until_its_owner_is_forgotten() {
        let reason = OnceClear::Clear("Ann lives elsewhere".to_owned());
        let removed = Event::StoreRemoved { ruling: Ruling { by: AccountId(Uuid::from_u128(2)), reason } };
        let (mut stores, people) = (Stores::default(), PersonKeys::default());
        for (position, event) in (1..).zip([opened(), removed]) {
            stores.take(&recorded(position, DomainEvent::Store(ANN, event)), &people);
        }
        assert_eq!(stores.0[&ANN.0].reason.as_deref(), Some("Ann lives elsewhere"));
        stores.take(&recorded(3, DomainEvent::Account(ANN, account::Event::AccountErased {})), &people);
        assert_eq!((&stores.0[&ANN.0].reason, stores.0[&ANN.0].ruled_by.is_some()), (&None, true));
    }
}
