//! The rows of people's keys: followers read them however they are wrapped, and stop where they cannot.

use std::collections::{BTreeMap, BTreeSet};

use domain::account::{Account, Capability, Command, Identity};

use super::*;
use crate::parking;
use crate::sealing::PersonKeys;
use crate::wrapping::rows::{self, Census, RewrapError, Wrapped};
use crate::wrapping::{KeyError, KeyId};

const FIRST: &str = "the first wrapping key of the tests";
const SECOND: &str = "the second wrapping key of the tests";

fn first() -> Wrapping {
    Wrapping::new(Some(FIRST), &[])
}

fn second() -> Wrapping {
    Wrapping::new(Some(SECOND), &[])
}

/// The first replaced by the second.
fn rotated() -> Wrapping {
    Wrapping::new(Some(SECOND), &[FIRST])
}

fn wrapped(key: Option<KeyId>, rows: i64) -> Wrapped {
    Wrapped { key: key.unwrap(), rows }
}

/// Somebody's registration, with the key wrapped in that way.
fn registration(key: &PersonKey, wrapping: &Wrapping) -> Batch {
    let (account, capabilities) = (key.account, BTreeSet::from([Capability::Buy]));
    let identity = Identity { email: key.seal("ann@"), user_name: key.seal("ann"), password_hash: None };
    let events = Account::default().decide(Command::Register { account, identity, capabilities }).unwrap();
    let events = (1..).zip(&events).map(|(sequence, event)| NewEvent {
        event_id: mint::id(),
        aggregate_type: Account::TYPE,
        aggregate_id: account.0,
        sequence,
        event_type: event.event_type(),
        event_version: event.event_version(),
        payload: serde_json::to_string(event).unwrap(),
        metadata: Metadata::anonymous().to_json(),
        recorded_at: Utc.timestamp_opt(1_700_000_000, 0).unwrap(),
    });
    Batch { people: vec![wrapping.wrap(key)], ..together(events.collect()) }
}

/// Commits the registrations of so many people, with their keys wrapped in that way.
async fn register_people(connection: &mut PgConnection, wrapping: &Wrapping, count: usize) -> Vec<PersonKey> {
    let keys: Vec<_> = (0..count).map(|_| PersonKey::mint(AccountId(mint::id()))).collect();
    let people = keys.iter().map(|key| wrapping.wrap(key)).collect();
    let recorded_at = Utc.timestamp_opt(1_700_000_000, 0).unwrap();
    let key = AcceptedKey { key: mint::secret(), fingerprint: [0; 16], offset: 0, answer: "1".to_owned(), recorded_at };
    let head = log::head(&mut *connection).await.unwrap();
    let batch = Batch { people, keys: vec![key], ..Batch::default() };
    assert_eq!(log::append(connection, head, &batch).await.unwrap(), Appended::Committed);
    keys
}

/// Whether all of these people's keys are there and are what they were.
async fn are_there(connection: &mut PgConnection, wrapping: &Wrapping, people: &[PersonKey]) -> bool {
    let accounts: BTreeSet<_> = people.iter().map(|key| key.account).collect();
    let found = PersonKeys::load(connection, wrapping, &accounts).await.unwrap();
    people.iter().all(|key| found.open(&key.seal("text")).as_deref() == Some("text"))
}

#[tokio::test]
async fn keys_are_found_however_they_are_wrapped_and_only_the_deleted_are_not() {
    let database = database().await;
    let mut connection = service(&database).await;
    let mut people = Vec::new();
    for wrapping in [Wrapping::default(), first(), second()] {
        people.extend(register_people(&mut connection, &wrapping, 2).await);
    }
    assert!(are_there(&mut connection, &rotated(), &people).await);
    let gone = people[3].account;
    sqlx::query("delete from person_keys where account_id = $1").bind(gone.0).execute(&mut connection).await.unwrap();
    assert!(PersonKey::load(&mut connection, &rotated(), gone).await.unwrap().is_none());
    assert!(!are_there(&mut connection, &rotated(), &people).await);
    let error = PersonKey::load(&mut connection, &second(), people[2].account).await.unwrap_err();
    assert!(matches!(error, KeyError::NotGiven { wrapped_with, .. } if Some(wrapped_with) == first().current()));
}

/// Reads the field of the person in each batch.
#[derive(Debug, Default)]
struct Reader {
    read: Vec<Option<String>>,
}

impl Follower for Reader {
    fn name(&self) -> &'static str {
        "reader"
    }

    fn version(&self) -> i32 {
        1
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    fn apply<'a>(
        &'a mut self,
        _: &'a mut PgConnection,
        batch: &'a follower::Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        let registered = batch.events.iter().filter_map(|recorded| match &recorded.event {
            crate::event::DomainEvent::Account(_, domain::account::Event::AccountRegistered { identity, .. }) => {
                Some(batch.people.open(&identity.user_name))
            }
            _ => None,
        });
        self.read.extend(registered);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A log with one registration, and a follower before it.
async fn registered() -> (Database, PgConnection, PersonKey) {
    let database = database().await;
    let mut connection = service(&database).await;
    register(&mut connection, "reader", 1).await.unwrap();
    let key = PersonKey::mint(ANN);
    log::append(&mut connection, 0, &registration(&key, &first())).await.unwrap();
    (database, connection, key)
}

async fn take(connection: &mut PgConnection, wrapping: &Wrapping) -> Result<Vec<Option<String>>, FollowError> {
    let mut reader = Reader::default();
    let mut transaction = connection.begin().await?;
    follower::take_batch(&mut reader, &mut transaction, wrapping, 10).await?;
    transaction.commit().await?;
    Ok(reader.read)
}

#[tokio::test]
async fn a_follower_without_the_key_stops_and_parks_nothing() {
    let (database, mut connection, _) = registered().await;
    for wrapping in [Wrapping::default(), second()] {
        let stopped = take(&mut connection, &wrapping).await;
        assert!(matches!(stopped, Err(FollowError::Key(KeyError::NotGiven { .. }))), "{stopped:?}");
    }
    let pool = database.pool(1);
    assert_eq!(parking::list(&pool, &["reader"]).await.unwrap(), []);
    assert_eq!(take(&mut connection, &rotated()).await.unwrap(), [Some("ann".to_owned())]);
}

#[tokio::test]
async fn an_altered_key_parks_the_events_of_its_person_and_is_taken_for_nothing_else() {
    let (database, mut connection, _) = registered().await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let flip = "update person_keys set key = set_byte(key, 40, get_byte(key, 40) # 1)";
    owner.execute(flip).await.unwrap();
    assert_eq!(take(&mut connection, &first()).await.unwrap(), []);
    let pool = database.pool(1);
    let parked = parking::list(&pool, &["reader"]).await.unwrap();
    assert!(parked[0].error.as_deref().unwrap().contains("was altered"), "{parked:?}");
    owner.execute(flip).await.unwrap();
    let mut reader = Reader::default();
    follower::retry(&mut reader, &mut connection, &first(), None).await.unwrap();
    assert_eq!(reader.read, [Some("ann".to_owned())]);
}

#[tokio::test]
async fn rewrapping_leaves_every_key_as_it_was_under_the_current_wrapping_key() {
    let database = database().await;
    let mut connection = service(&database).await;
    let mut people = register_people(&mut connection, &Wrapping::default(), 700).await;
    people.extend(register_people(&mut connection, &first(), 600).await);
    people.extend(register_people(&mut connection, &second(), 5).await);
    let mut owner = database.connect_as_owner().await.unwrap();
    let before = Census::take(&mut owner, &rotated()).await.unwrap();
    let expected = Census {
        current: Some(wrapped(second().current(), 5)),
        former: vec![wrapped(first().current(), 600)],
        raw: 700,
        ..Census::default()
    };
    assert_eq!(before, expected);
    before.check().unwrap();

    let mut told = Vec::new();
    let done = rows::rewrap(&mut owner, &rotated(), |done, all| told.push((done, all))).await.unwrap();
    assert_eq!((done.rewrapped, done.left, done.refused.len()), (1_300, 0, 0));
    assert_eq!((told.last(), told.len()), (Some(&(1_300, 1_300)), 3));
    assert!(are_there(&mut connection, &second(), &people).await);
    let stored: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("select account_id, key from person_keys").fetch_all(&mut owner).await.unwrap();
    let raw: BTreeMap<_, _> = people.iter().map(|key| (key.account.0, key.bytes())).collect();
    assert_eq!(stored.len(), people.len());
    for (account, row) in stored {
        assert!(!row.windows(32).any(|part| part == raw[&account]), "the key of {account} is there as it is");
    }
    let again = rows::rewrap(&mut owner, &rotated(), |_, _| {}).await.unwrap();
    assert_eq!((again.rewrapped, again.left), (0, 0));
}

#[tokio::test]
async fn rewrapping_brings_nobody_back_who_is_being_forgotten() {
    let database = database().await;
    let mut connection = service(&database).await;
    let people = register_people(&mut connection, &Wrapping::default(), 3).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let mut forgetting = connection.begin().await.unwrap();
    let forget = "delete from person_keys where account_id = $1";
    sqlx::query(forget).bind(people[1].account.0).execute(&mut *forgetting).await.unwrap();
    // It does not wait for whoever deletes, who may be waiting for a row of its own.
    let current = first();
    let rewrapping = rows::rewrap(&mut owner, &current, |_, _| {});
    let done = tokio::time::timeout(std::time::Duration::from_secs(10), rewrapping).await.unwrap().unwrap();
    assert_eq!((done.rewrapped, done.left), (2, 1));
    forgetting.commit().await.unwrap();
    let done = rows::rewrap(&mut owner, &first(), |_, _| {}).await.unwrap();
    assert_eq!((done.rewrapped, done.left), (0, 0));
    assert!(PersonKey::load(&mut owner, &first(), people[1].account).await.unwrap().is_none());
}

#[tokio::test]
async fn a_row_that_somebody_else_has_changed_is_not_replaced() {
    let database = database().await;
    let people = register_people(&mut service(&database).await, &first(), 2).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let stored: Vec<(Uuid, Vec<u8>)> = sqlx::query_as("select account_id, key from person_keys order by account_id")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let (accounts, before): (Vec<_>, Vec<_>) = stored.into_iter().unzip();
    let newer = second().wrap(&people[0]);
    sqlx::query("update person_keys set key = $2 where account_id = $1")
        .bind(people[0].account.0)
        .bind(newer.row())
        .execute(&mut owner)
        .await
        .unwrap();
    let after = before.iter().map(|_| vec![0]).collect::<Vec<_>>();
    assert_eq!(rows::replace(&mut owner, &accounts, &before, &after).await.unwrap(), 1);
    assert!(PersonKey::load(&mut owner, &second(), people[0].account).await.unwrap().is_some());
}

#[tokio::test]
async fn a_row_that_does_not_open_is_left_as_it_is_and_named() {
    let database = database().await;
    let mut connection = service(&database).await;
    let people = register_people(&mut connection, &first(), 2).await;
    register_people(&mut connection, &Wrapping::default(), 1).await;
    let mut owner = database.connect_as_owner().await.unwrap();
    sqlx::query("update person_keys set key = set_byte(key, 40, get_byte(key, 40) # 1) where account_id = $1")
        .bind(people[0].account.0)
        .execute(&mut owner)
        .await
        .unwrap();
    let done = rows::rewrap(&mut owner, &rotated(), |_, _| {}).await.unwrap();
    assert_eq!((done.rewrapped, done.left), (2, 1));
    assert_eq!(done.refused[0].account_id, people[0].account.0);
    let without = rows::rewrap(&mut owner, &Wrapping::new(None, &[FIRST]), |_, _| {}).await;
    assert!(matches!(without, Err(RewrapError::NoCurrentKey)));
}

#[tokio::test]
async fn rows_that_could_not_be_opened_are_counted_by_the_key_that_is_missing() {
    let database = database().await;
    let mut connection = service(&database).await;
    register_people(&mut connection, &first(), 3).await;
    register_people(&mut connection, &Wrapping::default(), 1).await;
    let census = Census::take(&mut connection, &second()).await.unwrap();
    assert_eq!((census.raw, &census.unknown), (1, &vec![wrapped(first().current(), 3)]));
    let sentence = census.check().unwrap_err().to_string();
    assert!(sentence.contains(&first().current().unwrap().to_string()) && sentence.contains("rows: 3"), "{sentence}");
    let mut owner = database.connect_as_owner().await.unwrap();
    owner.execute("update person_keys set key = substring(key from 1 for 20)").await.unwrap();
    let census = Census::take(&mut connection, &rotated()).await.unwrap();
    assert_eq!((census.raw, census.unreadable, census.check().is_err()), (0, 4, true));
}
