//! The log and its followers on a real Postgres.

use std::sync::{Arc, Mutex};

use chrono::{TimeZone, Utc};
use cqrs_es::persist::PersistedEventRepository;
use domain::wallet::{Command, PaymentMethod, Wallet};
use domain::{AccountId, Aggregate, Currency, DepositId, Event, HoldId, Money, WalletId};
use futures::future::BoxFuture;
use postgres_es::PostgresEventRepository;
use sqlx::{Connection, Executor, PgConnection};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cqrs::Cqrs;
use crate::database::Database;
use crate::event::{Interest, Metadata, NewEvent};
use crate::feed::Feed;
use crate::follower::{self, Delivery, FollowError, Follower, Runner, register};
use crate::log::{self, AcceptedKey, AppendError, Appended, Batch, Head};
use crate::progress::Progress;
use crate::sealing::PersonKey;
use crate::streams::{self, Snapshot, Streams};
use crate::testing::database;
use crate::wrapping::Wrapping;
use crate::{Position, mint};

mod parking;
mod proof;
mod transfer;
mod wrapping;

const ANN: AccountId = AccountId(Uuid::from_u128(1));

/// The events of a wallet that was funded with `holds` and then held as often as that.
fn history(holds: u64) -> (WalletId, Wallet, Vec<NewEvent>) {
    let id = WalletId(mint::id());
    let usd = |minor| Money::new(minor, Currency::USD).unwrap();
    let source = PaymentMethod { provider: "test".to_owned(), token: "test".to_owned() };
    let deposit = DepositId(mint::id());
    let amount = usd(i64::try_from(holds).unwrap() + 1);
    let fund = [
        Command::RequestDeposit { deposit, owner: ANN, amount, source },
        Command::SettleDeposit { deposit, provider_reference: String::new() },
    ];
    let hold = |_| Command::PlaceHold { hold: HoldId(mint::id()), amount: usd(1) };
    let (mut wallet, mut events) = (Wallet::default(), Vec::new());
    for command in fund.into_iter().chain((0..holds).map(hold)) {
        for event in wallet.decide(command).unwrap() {
            wallet.evolve(&event);
            events.push(NewEvent {
                event_id: mint::id(),
                aggregate_type: Wallet::TYPE,
                aggregate_id: id.0,
                sequence: events.len() as u64 + 1,
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_string(&event).unwrap(),
                metadata: Metadata::anonymous().to_json(),
                recorded_at: Utc.timestamp_opt(1_700_000_000, 0).unwrap(),
            });
        }
    }
    (id, wallet, events)
}

/// Events of which every one is a unit of work of its own.
fn singly(events: Vec<NewEvent>) -> Batch {
    Batch { unit_ends: (0..events.len()).collect(), events, ..Batch::default() }
}

/// Events that are one unit of work.
fn together(events: Vec<NewEvent>) -> Batch {
    Batch { unit_ends: vec![events.len() - 1; events.len()], events, ..Batch::default() }
}

async fn service(database: &Database) -> PgConnection {
    database.connect(None).await.unwrap()
}

#[tokio::test]
async fn a_batch_under_the_wrong_head_writes_nothing() {
    let database = database().await;
    let mut connection = service(&database).await;
    let (_, _, events) = history(0);
    let person = Wrapping::default().wrap(&PersonKey::mint(ANN));
    let key = AcceptedKey {
        key: [1; 16],
        fingerprint: [2; 16],
        offset: 3,
        answer: "{}".to_owned(),
        recorded_at: events[0].recorded_at,
    };
    let batch = Batch { keys: vec![key], people: vec![person], ..together(events) };
    assert_eq!(log::append(&mut connection, 7, &batch).await.unwrap(), Appended::HeadMoved);
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from events), (select count(*) from command_keys), (select count(*) from person_keys),
            (select position from log_head)",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(counts, (0, 0, 0, 0));
    assert_eq!(log::append(&mut connection, 0, &batch).await.unwrap(), Appended::Committed);
    assert_eq!(log::head(&mut connection).await.unwrap(), 3);
    let stored = log::answers(&mut connection, &[[1; 16]]).await.unwrap();
    assert_eq!((stored[0].1.fingerprint, stored[0].1.position), ([2; 16], 3));
}

#[tokio::test]
async fn a_key_that_was_seen_keeps_the_whole_batch_out() {
    let database = database().await;
    let mut connection = service(&database).await;
    let key = |recorded_at| AcceptedKey {
        key: [1; 16],
        fingerprint: [1; 16],
        offset: 0,
        answer: "1".to_owned(),
        recorded_at,
    };
    let (_, _, events) = history(0);
    let recorded_at = events[0].recorded_at;
    let first = Batch { keys: vec![key(recorded_at)], ..Batch::default() };
    assert_eq!(log::append(&mut connection, 0, &first).await.unwrap(), Appended::Committed);
    let second = Batch { keys: vec![key(recorded_at)], ..together(events) };
    assert!(matches!(log::append(&mut connection, 0, &second).await, Err(AppendError::KeySeen)));
    assert_eq!(log::head(&mut connection).await.unwrap(), 0);
}

#[tokio::test]
async fn the_service_cannot_rewrite_history() {
    let database = database().await;
    let mut connection = service(&database).await;
    let (_, _, events) = history(0);
    log::append(&mut connection, 0, &together(events)).await.unwrap();
    for statement in [
        "update events set recorded_at = now()",
        "delete from events",
        "truncate events",
        "drop table events",
        "alter table events add column x int",
        "update command_keys set answer = '1'",
        "delete from log_head",
    ] {
        let refused = connection.execute(statement).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
    }
}

#[tokio::test]
async fn a_read_never_ends_within_a_unit_of_work() {
    let database = database().await;
    let mut connection = service(&database).await;
    log::append(&mut connection, 0, &singly(history(1).2)).await.unwrap();
    log::append(&mut connection, 4, &together(history(4).2)).await.unwrap();
    let read = async |connection: &mut PgConnection, after, limit| {
        let events = log::read_after(connection, after, limit, Interest::Everything).await.unwrap().events;
        events.iter().map(|event| event.position).collect::<Vec<_>>()
    };
    assert_eq!(read(&mut connection, 0, 2).await, [1, 2]);
    assert_eq!(read(&mut connection, 3, 2).await, (4..=11).collect::<Vec<_>>());
    assert_eq!(read(&mut connection, 11, 2).await, Vec::<Position>::new());
}

#[tokio::test]
async fn postgres_es_reads_what_we_have_written() {
    let database = database().await;
    let (id, wallet, events) = history(20);
    let version = events.len();
    log::append(&mut service(&database).await, 0, &singly(events)).await.unwrap();
    let repository = PostgresEventRepository::new(database.pool(1));
    let read = repository.get_events::<Cqrs<Wallet>>(&id.0.to_string()).await.unwrap();
    assert_eq!(read.len(), version);
    let mut folded = Wallet::default();
    for event in read {
        folded.evolve(&serde_json::from_value(event.payload).unwrap());
    }
    assert_eq!(json(&folded), json(&wallet));
}

#[tokio::test]
async fn a_stream_is_loaded_from_its_first_event_or_its_snapshot_alike() {
    let database = database().await;
    let (id, wallet, events) = history(20);
    let (version, ids) = (events.len() as u64, events.iter().map(|event| event.event_id).collect::<Vec<_>>());
    let before: Wallet = events[..10].iter().fold(Wallet::default(), |mut wallet, event| {
        wallet.evolve(&serde_json::from_str(&event.payload).unwrap());
        wallet
    });
    let mut service = service(&database).await;
    log::append(&mut service, 0, &singly(events)).await.unwrap();
    let streams = Streams::new(database.pool(1));
    let whole = streams.load::<Wallet>(id.0).await.unwrap();
    assert_eq!((json(&whole.state), whole.version, whole.in_snapshot), (json(&wallet), version, 0));

    let snapshot = |version: u64, state| {
        let last_event = ids[usize::try_from(version).unwrap() - 1];
        Snapshot { aggregate_type: Wallet::TYPE, id: id.0, version, last_event, state }
    };
    // The log does not have what this one ends with.
    let lost = Snapshot { last_event: mint::id(), ..snapshot(12, "{}".to_owned()) };
    streams::keep(&mut service, &[lost]).await.unwrap();
    assert_eq!(streams.load::<Wallet>(id.0).await.unwrap().in_snapshot, 0);
    streams::keep(&mut service, &[snapshot(10, json(&before))]).await.unwrap();
    // An older one does not take its place.
    streams::keep(&mut service, &[snapshot(9, "{}".to_owned())]).await.unwrap();
    let rest = streams.load::<Wallet>(id.0).await.unwrap();
    assert_eq!((json(&rest.state), rest.version, rest.in_snapshot), (json(&wallet), version, 10));

    // One by other rules does not count, and gives way to any.
    service.execute("update snapshots set rules = 'others', version = 99, state = '{}'").await.unwrap();
    assert_eq!(streams.load::<Wallet>(id.0).await.unwrap().in_snapshot, 0);
    streams::keep(&mut service, &[snapshot(10, json(&before))]).await.unwrap();
    assert_eq!(streams.load::<Wallet>(id.0).await.unwrap().in_snapshot, 10);
    assert_eq!(streams.load::<Wallet>(mint::id()).await.unwrap().version, 0);

    // One that is no state is as good as none.
    service.execute("update snapshots set state = '{}'").await.unwrap();
    let whole = streams.load::<Wallet>(id.0).await.unwrap();
    assert_eq!((json(&whole.state), whole.in_snapshot), (json(&wallet), 0));
}

fn json(wallet: &Wallet) -> String {
    serde_json::to_string(wallet).unwrap()
}

#[tokio::test]
async fn a_stream_with_a_gap_is_not_loaded() {
    let database = database().await;
    let (id, _, events) = history(3);
    log::append(&mut service(&database).await, 0, &singly(events)).await.unwrap();
    let mut owner = database.connect_as_owner().await.unwrap();
    owner.execute("delete from events where sequence = 3").await.unwrap();
    assert!(Streams::new(database.pool(1)).load::<Wallet>(id.0).await.is_err());
}

/// Writes down which positions it was given, and fails as often as it is told.
#[derive(Debug)]
struct Recorder {
    delivery: Delivery,
    failures: u32,
    batches: Arc<Mutex<Vec<Vec<Position>>>>,
}

impl Follower for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn version(&self) -> i32 {
        1
    }

    fn delivery(&self) -> Delivery {
        self.delivery
    }

    fn apply<'a>(
        &'a mut self,
        _: &'a mut PgConnection,
        batch: &'a follower::Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        self.batches.lock().unwrap().push(batch.events.iter().map(|event| event.position).collect());
        let failed = self.failures > 0;
        self.failures = self.failures.saturating_sub(1);
        Box::pin(std::future::ready(if failed { Err(FollowError::Command("not now".to_owned())) } else { Ok(()) }))
    }
}

async fn follow_with(delivery: Delivery) {
    let database = database().await;
    let mut connection = service(&database).await;
    register(&mut connection, "recorder", 1).await.unwrap();
    let (head, progress, stop) = (Head::at(0), Progress::default(), CancellationToken::new());
    let runner = Runner {
        database: database.clone(),
        head: head.clone(),
        feed: Feed::default(),
        progress: progress.clone(),
        batch_events: 100,
        poll: std::time::Duration::from_millis(10),
    };
    let batches = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder { delivery, failures: 2, batches: batches.clone() };
    let running = tokio::spawn(runner.run(Box::new(recorder), stop.clone()));

    log::append(&mut connection, 0, &singly(history(1).2)).await.unwrap();
    head.seen_at(4);
    let patience = std::time::Duration::from_secs(10);
    progress.wait_for("recorder", 4, patience).await.unwrap();
    log::append(&mut connection, 4, &together(history(0).2)).await.unwrap();
    head.seen_at(7);
    progress.wait_for("recorder", 7, patience).await.unwrap();
    stop.cancel();
    running.await.unwrap();

    // The batch that failed came again until it passed; nothing was left out.
    let first: Vec<Position> = (1..=4).collect();
    assert_eq!(*batches.lock().unwrap(), [first.clone(), first.clone(), first, vec![5, 6, 7]]);
    let checkpoint: Position =
        sqlx::query_scalar("select position from followers").fetch_one(&mut connection).await.unwrap();
    assert_eq!(checkpoint, 7);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_read_model_gets_every_event_in_order_and_a_failed_batch_again() {
    follow_with(Delivery::ExactlyOnce).await;
}

#[tokio::test]
async fn a_process_gets_every_event_in_order_and_a_failed_batch_again() {
    follow_with(Delivery::AtLeastOnce).await;
}

#[tokio::test]
async fn a_kind_of_event_that_nobody_can_read_is_named() {
    let database = database().await;
    let pool = database.pool(1);
    let known = domain::formats::known_types();
    assert_eq!(log::unreadable_kinds(&pool, &known).await.unwrap(), []);
    let older = &known[1..];
    let (aggregate, event, version) = known[0];
    let named = (aggregate.to_owned(), event.to_owned(), version.to_owned());
    assert_eq!(log::unreadable_kinds(&pool, older).await.unwrap(), [named]);
}
