//! A log that is taken out of one database and put into another.

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{ANN, Batch, database, history};
use crate::database::Database;
use crate::log::{self, AcceptedKey};
use crate::mint;
use crate::proof::leaf::Blinding;
use crate::proof::tree::Edge;
use crate::proof::{Hash, StoredEvent};
use crate::sealing::{PersonKey, people_in};
use crate::secrets::RootSecret;
use crate::transfer::beside::{self, Checkpoint};
use crate::transfer::{self, Flaw, Intake, IntakeError};
use crate::wrapping::Wrapping;

const ANSWER: &str = "{ \"id\" : 1,\t\"b\":\"\\n\" }";

fn blinding() -> Blinding {
    Blinding::of(&RootSecret::new(b"the root secret of the tests"))
}

/// A database in which something has happened.
async fn traded() -> (Database, PgConnection) {
    let database = database().await;
    let (_, _, events) = history(3);
    let recorded_at = events[0].recorded_at;
    let unit_ends = vec![events.len() - 1; events.len()];
    let key = AcceptedKey { key: [7; 16], fingerprint: [8; 16], offset: 1, answer: ANSWER.to_owned(), recorded_at };
    let batch = Batch { events, unit_ends, keys: vec![key], ..Batch::default() };
    let mut owner = database.connect_as_owner().await.unwrap();
    log::append(&mut owner, 0, &batch).await.unwrap();
    (database, owner)
}

async fn all(connection: &mut PgConnection) -> Vec<StoredEvent> {
    transfer::read(connection, 0, i64::MAX, 1_000).await.unwrap()
}

fn readable() -> Vec<(&'static str, &'static str, &'static str)> {
    domain::formats::known_types()
}

/// Puts these into an empty database, and answers with it.
async fn put(events: &[StoredEvent]) -> (PgConnection, Result<transfer::Taken, IntakeError>) {
    let mut owner = database().await.connect_as_owner().await.unwrap();
    let mut intake = Intake::begin(&mut owner, blinding()).await.unwrap();
    let taken = match intake.events(events).await {
        Ok(()) => intake.complete(&[], 0, &readable(), false).await,
        Err(error) => {
            drop(intake);
            Err(error)
        }
    };
    (owner, taken)
}

#[tokio::test]
async fn a_log_comes_over_byte_for_byte() {
    let (_, mut there) = traded().await;
    let mut events = all(&mut there).await;
    // Whatever JSON may look like.
    events[0].metadata = "{ \"a\" :\n\t\"\\\\ \\\"q\\\" \\u00e9 \u{e9} \\n\" }\r".to_owned();
    let (mut here, taken) = put(&events).await;
    let taken = taken.unwrap();
    assert_eq!(all(&mut here).await, events);
    let mut frontier = Edge::default();
    for event in all(&mut here).await {
        frontier.push(event.blinded(&blinding()), |_, _| {});
    }
    assert_eq!((taken.head, taken.root), (log::head(&mut here).await.unwrap(), frontier.root()));
    assert_ne!(taken.root, Hash::of_nothing());
}

#[tokio::test]
async fn answers_to_commands_and_checkpoints_come_over() {
    let (_, mut there) = traded().await;
    let answers = beside::answers(&mut there, (1, i64::MAX), None, 10).await.unwrap();
    assert_eq!((answers.len(), answers[0].answer.as_str()), (1, ANSWER));
    assert_eq!(beside::answers(&mut there, (1, 9), Some(&answers[0].key), 10).await.unwrap(), []);
    let mut here = database().await.connect_as_owner().await.unwrap();
    for (name, version) in [("payments", 1), ("timers", 2)] {
        crate::follower::register(&mut here, name, version).await.unwrap();
    }
    let events = all(&mut there).await;
    let mut intake = Intake::begin(&mut here, blinding()).await.unwrap();
    intake.events(&events).await.unwrap();
    intake.answers(&answers).await.unwrap();
    let at = |name: &str, version, position| Checkpoint { name: name.to_owned(), version, position };
    // One is of another version here, and one was at more than what has come over.
    intake.complete(&[at("payments", 1, 99), at("timers", 1, 1)], 1, &readable(), false).await.unwrap();
    assert_eq!(beside::answers(&mut here, (1, 9), None, 10).await.unwrap(), answers);
    let head = log::head(&mut here).await.unwrap();
    let there = beside::checkpoints(&mut here, &["payments", "timers"]).await.unwrap();
    assert_eq!(there, [at("payments", 1, head), at("timers", 2, 0)]);
}

#[tokio::test]
async fn what_is_not_whole_leaves_nothing_behind() {
    let (_, mut there) = traded().await;
    let events = all(&mut there).await;
    let altered = |change: fn(&mut Vec<StoredEvent>)| {
        let mut events = events.clone();
        change(&mut events);
        events
    };
    for (events, wrong) in [
        (altered(|events| drop(events.remove(1))), "after position 1 comes 3"),
        (altered(|events| events.swap(1, 2)), "after position 1 comes 3"),
        (altered(|events| drop(events.pop())), "within a unit of work"),
        (altered(|events| events[1].sequence = 9), "sequence 9"),
        (altered(|events| events[2].sequence = 1), "events_stream"),
        (altered(|events| events[2].event_version = "99".to_owned()), "v99"),
    ] {
        let (mut here, taken) = put(&events).await;
        let refused = taken.unwrap_err().to_string();
        assert!(refused.contains(wrong), "{wrong}: {refused}");
        assert_eq!(all(&mut here).await, []);
        assert_eq!(log::head(&mut here).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_log_is_put_only_where_there_is_none_and_nobody() {
    let (_, mut there) = traded().await;
    assert!(matches!(Intake::begin(&mut there, blinding()).await, Err(IntakeError::NotEmpty(_))));
    let database = database().await;
    let mut owner = database.connect_as_owner().await.unwrap();
    let node = database.connect(None).await.unwrap();
    assert!(matches!(Intake::begin(&mut owner, blinding()).await, Err(IntakeError::InUse(1))));
    node.close().await.unwrap();
}

/// An event of somebody or something, alone in its unit of work.
fn event(
    (position, sequence): (i64, i64),
    (kind, id): (&str, Uuid),
    (name, version): (&str, &str),
    payload: &str,
) -> StoredEvent {
    StoredEvent {
        position,
        commit_position: position,
        recorded_at: crate::proof::StoredTime(0),
        sequence,
        event_id: mint::id(),
        aggregate_type: kind.to_owned(),
        aggregate_id: id.to_string(),
        event_type: name.to_owned(),
        event_version: version.to_owned(),
        payload: payload.to_owned(),
        metadata: "{}".to_owned(),
    }
}

#[tokio::test]
async fn keys_come_over_but_for_those_of_the_forgotten() {
    let bob = domain::AccountId(mint::id());
    let events = [event((1, 1), ("account", bob.0), ("AccountErased", "1"), r#"{"AccountErased":{}}"#)];
    let mut owner = database().await.connect_as_owner().await.unwrap();
    let mut intake = Intake::begin(&mut owner, blinding()).await.unwrap();
    intake.events(&events).await.unwrap();
    let wrapping = Wrapping::new(Some("another"), &[]);
    let keys = [PersonKey::mint(ANN), PersonKey::mint(bob)];
    for key in &keys {
        intake.key(key, &wrapping);
    }
    let taken = intake.complete(&[], 0, &readable(), false).await.unwrap();
    assert_eq!((taken.keys, taken.forgotten, taken.without_key), (1, 1, 0));
    let ann = PersonKey::load(&mut owner, &wrapping, ANN).await.unwrap().unwrap();
    assert_eq!(ann.bytes(), keys[0].bytes());
    assert!(PersonKey::load(&mut owner, &wrapping, bob).await.unwrap().is_none());
}

/// An order of somebody whose words are sealed in it, and who that is.
fn guest_order(order: Uuid) -> (StoredEvent, domain::AccountId) {
    let placed: Value = serde_json::from_str(include_str!("../../../domain/golden/order/OrderPlaced.v3.json")).unwrap();
    let buyer = serde_json::from_value(placed["OrderPlaced"]["terms"]["buyer"].clone()).unwrap();
    (event((1, 1), ("order", order), ("OrderPlaced", "3"), &placed.to_string()), buyer)
}

#[tokio::test]
async fn the_key_of_a_guest_who_is_forgotten_stays_behind() {
    let order = mint::id();
    let (placed, guest) = guest_order(order);
    assert_eq!(people_in(&placed.payload), std::collections::BTreeSet::from([guest]));
    let forgotten = event((2, 2), ("order", order), ("GuestForgotten", "1"), r#"{"GuestForgotten":{}}"#);
    let mut owner = database().await.connect_as_owner().await.unwrap();
    let mut intake = Intake::begin(&mut owner, blinding()).await.unwrap();
    intake.events(&[placed, forgotten]).await.unwrap();
    intake.key(&PersonKey::mint(guest), &Wrapping::new(Some("another"), &[]));
    let taken = intake.complete(&[], 0, &readable(), false).await.unwrap();
    assert_eq!((taken.keys, taken.forgotten, taken.without_key), (0, 1, 0));
}

#[tokio::test]
async fn nobody_loses_their_fields_for_want_of_a_key_unless_that_was_said() {
    let mut owner = database().await.connect_as_owner().await.unwrap();
    for (may_lack, taken) in [(false, None), (true, Some(1))] {
        let mut intake = Intake::begin(&mut owner, blinding()).await.unwrap();
        intake.events(&[guest_order(mint::id()).0]).await.unwrap();
        match intake.complete(&[], 0, &readable(), may_lack).await {
            Ok(done) => assert_eq!(Some(done.without_key), taken),
            Err(error) => assert!(matches!(error, IntakeError::WithoutKey(1)) && taken.is_none(), "{error}"),
        }
    }
    assert_eq!(log::head(&mut owner).await.unwrap(), 1);
}

#[tokio::test]
async fn the_tree_at_a_position_is_that_over_the_log_up_to_there() {
    let (_, mut there) = traded().await;
    let mut edge = Edge::default();
    for event in all(&mut there).await {
        assert_eq!(transfer::edge_at(&mut there, event.position - 1, &blinding()).await.unwrap().root(), edge.root());
        edge.push(event.blinded(&blinding()), |_, _| {});
    }
}

#[test]
fn a_flaw_names_its_event() {
    assert_eq!(Flaw::Time(7).to_string(), "the event at position 7 has a time that is in no calendar");
}
