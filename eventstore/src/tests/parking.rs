//! What a follower cannot take is parked with what happens to the same aggregate later; everything else goes on, and an
//! outage is no reason to park anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use sqlx::{Executor, PgConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{history, singly};
use crate::Position;
use crate::clock::Clock;
use crate::database::Database;
use crate::event::NewEvent;
use crate::feed::Feed;
use crate::follower::{self, Batch, Delivery, FollowError, Follower, Runner, register};
use crate::log::{self, Appended, Head};
use crate::parking::{self, Skip};
use crate::progress::Progress;
use crate::testing::database;

const NAME: &str = "picky";
const PATIENCE: Duration = Duration::from_secs(20);
/// Of each aggregate, where a few do.
const FEW: Position = 5;

/// What is wrong with taking an event.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Panics,
    /// An error of a statement.
    Violates,
    /// An error of the commit, if nobody looks before.
    ViolatesAtCommit,
    /// A process's command has no outcome because the database is away.
    Unavailable,
}

/// Takes events down in a table or a list, except for some.
#[derive(Clone, Debug)]
struct Picky {
    delivery: Delivery,
    faults: Arc<Mutex<BTreeMap<Position, Fault>>>,
    /// What a process has taken, in order.
    effects: Arc<Mutex<Vec<Position>>>,
    /// Whether the unavailable was asked for.
    asked: Arc<AtomicBool>,
}

impl Picky {
    fn new(delivery: Delivery, faults: impl IntoIterator<Item = (Position, Fault)>) -> Self {
        let faults = Arc::new(Mutex::new(faults.into_iter().collect()));
        Self { delivery, faults, effects: Arc::default(), asked: Arc::default() }
    }

    async fn take(&self, connection: &mut PgConnection, position: Position) -> Result<(), FollowError> {
        let fault = self.faults.lock().unwrap().get(&position).copied();
        match fault {
            Some(Fault::Panics) => panic!("no liking for {position}"),
            Some(Fault::Violates) => {
                connection.execute("insert into taken (position) values (null)").await?;
            }
            Some(Fault::ViolatesAtCommit) => {
                sqlx::query("insert into twice values ($1), ($1)").bind(position).execute(&mut *connection).await?;
            }
            Some(Fault::Unavailable) => {
                self.asked.store(true, Ordering::Relaxed);
                return Err(FollowError::Command("the database is not available".to_owned()));
            }
            None => {}
        }
        match self.delivery {
            Delivery::ExactlyOnce => {
                sqlx::query("insert into taken (position) values ($1)").bind(position).execute(connection).await?;
            }
            Delivery::AtLeastOnce => self.effects.lock().unwrap().push(position),
        }
        Ok(())
    }
}

impl Follower for Picky {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> i32 {
        1
    }

    fn delivery(&self) -> Delivery {
        self.delivery
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        Box::pin(async move {
            for event in &batch.events {
                self.take(connection, event.position).await?;
            }
            Ok(())
        })
    }
}

/// A log in which things happen to several aggregates in turn: the first to each, then the second, and so on.
struct Scene {
    database: Database,
    owner: PgConnection,
    aggregates: Vec<Uuid>,
    /// How many events each has.
    events: Position,
    head: Position,
}

impl Scene {
    /// `change` sees each event before it is in the log, with its position.
    async fn set(aggregates: usize, each: Position, mut change: impl FnMut(Position, &mut NewEvent)) -> Self {
        let database = database().await;
        let mut owner = database.connect_as_owner().await.unwrap();
        let tables = "create table taken (number bigserial, position bigint not null constraint taken_once unique);
            create table twice (position bigint, constraint twice_not unique (position) deferrable initially deferred);
            grant all on taken, twice to tradepost_service; grant usage on sequence taken_number_seq to public";
        owner.execute(sqlx::raw_sql(tables)).await.unwrap();
        register(&mut owner, NAME, 1).await.unwrap();
        let histories: Vec<_> = (0..aggregates).map(|_| history(u64::try_from(each).unwrap() - 3)).collect();
        let ids = histories.iter().map(|(id, ..)| id.0).collect();
        let mut turns: Vec<_> = histories.into_iter().map(|(.., events)| events.into_iter()).collect();
        let mut events: Vec<_> =
            (0..each).flat_map(|_| turns.iter_mut().map(|turn| turn.next().unwrap()).collect::<Vec<_>>()).collect();
        for (position, event) in (1..).zip(&mut events) {
            change(position, event);
        }
        let head = Position::try_from(events.len()).unwrap();
        assert_eq!(log::append(&mut owner, 0, &singly(events)).await.unwrap(), Appended::Committed);
        Self { database, owner, aggregates: ids, events: each, head }
    }

    fn run(&self, follower: &Picky) -> (Progress, CancellationToken, JoinHandle<()>) {
        let (progress, stop) = (Progress::default(), CancellationToken::new());
        let runner = Runner {
            database: self.database.clone(),
            head: Head::at(self.head),
            feed: Feed::default(),
            progress: progress.clone(),
            batch_events: 7,
            poll: Duration::from_millis(5),
        };
        let running = tokio::spawn(runner.run(Box::new(follower.clone()), stop.clone()));
        (progress, stop, running)
    }

    /// Lets it follow the log until its head.
    async fn follow(&self, follower: &Picky) {
        let (progress, stop, running) = self.run(follower);
        progress.wait_for(NAME, self.head, PATIENCE).await.unwrap();
        stop.cancel();
        running.await.unwrap();
    }

    /// The positions of the events of an aggregate, counted from 0.
    fn of(&self, aggregate: usize) -> Vec<Position> {
        let aggregates = Position::try_from(self.aggregates.len()).unwrap();
        (0..self.events).map(|turn| turn * aggregates + Position::try_from(aggregate).unwrap() + 1).collect()
    }

    /// What was taken, in that order.
    async fn taken(&mut self, follower: &Picky) -> Vec<Position> {
        if follower.delivery == Delivery::AtLeastOnce {
            // Repeats are harmless, so only the first counts.
            let mut once = Vec::new();
            for position in follower.effects.lock().unwrap().iter() {
                if !once.contains(position) {
                    once.push(*position);
                }
            }
            return once;
        }
        sqlx::query_scalar("select position from taken order by number").fetch_all(&mut self.owner).await.unwrap()
    }

    /// What is parked: where, and whether it is tried or waits.
    async fn parked(&mut self) -> Vec<(Position, bool)> {
        let mut parked = parking::list(&mut self.owner, &[NAME]).await.unwrap();
        parked.sort_by_key(|event| event.position);
        parked.into_iter().map(|event| (event.position, event.error.is_some())).collect()
    }
}

/// Nothing else is held up, each aggregate keeps its order, and in the end nothing is missing or there twice.
async fn poison_is_parked(delivery: Delivery) {
    let commit = if delivery == Delivery::ExactlyOnce { Fault::ViolatesAtCommit } else { Fault::Panics };
    // The third of the second aggregate is of a type that nobody knows, that of the third has a broken payload.
    let payload = Arc::new(Mutex::new(String::new()));
    let kept = payload.clone();
    // More than are taken one by one at a time.
    let mut scene = Scene::set(6, 12, move |position, event| match position {
        14 => event.aggregate_type = "nonsense",
        15 => *kept.lock().unwrap() = std::mem::replace(&mut event.payload, r#"{"HoldPlaced":{"hold":7}}"#.to_owned()),
        _ => {}
    })
    .await;
    let picky = Picky::new(delivery, [(16, Fault::Panics), (17, Fault::Violates), (6, commit)]);
    scene.follow(&picky).await;

    let culprits = [14, 15, 16, 17, 6];
    let (well, ill): (Vec<_>, Vec<_>) = (1..=scene.head).partition(|position| {
        let aggregate = usize::try_from((position - 1) % 6).unwrap();
        scene.of(aggregate).iter().filter(|earlier| *earlier <= position).all(|earlier| !culprits.contains(earlier))
    });
    assert_eq!(scene.taken(&picky).await, well);
    let expected: Vec<_> = ill.iter().map(|position| (*position, culprits.contains(position))).collect();
    assert_eq!(scene.parked().await, expected);
    let listed = parking::list(&mut scene.owner, &[NAME]).await.unwrap();
    let why = |position| listed.iter().find(|event| event.position == position).unwrap().error.clone().unwrap();
    assert!(why(14).contains("no such aggregate type"), "{}", why(14));
    assert!(why(15).contains("cannot be read"), "{}", why(15));
    assert!(why(16).contains("no liking for 16"), "{}", why(16));
    assert!(why(17).contains("null value"), "{}", why(17));
    assert!(listed.iter().all(|event| event.attempts == if event.error.is_some() { 4 } else { 0 }), "{listed:?}");

    // Too early: nothing has changed.
    let mut connection = scene.database.connect(None).await.unwrap();
    let mut again = picky.clone();
    let retaken = follower::retry(&mut again, &mut connection, scene.database.wrapping(), Some(scene.aggregates[3]))
        .await
        .unwrap();
    assert_eq!((retaken.taken, retaken.culprits[0].position, retaken.waiting), (vec![], 16, 9));
    assert_eq!(scene.parked().await, expected);

    picky.faults.lock().unwrap().clear();
    let repair = "update events set aggregate_type = 'wallet' where position = 14";
    scene.owner.execute(repair).await.unwrap();
    let repair = sqlx::query("update events set payload = $1::json where position = 15");
    let payload = payload.lock().unwrap().clone();
    repair.bind(payload).execute(&mut scene.owner).await.unwrap();
    for aggregate in [1, 2, 3, 4, 5] {
        let retaken =
            follower::retry(&mut again, &mut connection, scene.database.wrapping(), Some(scene.aggregates[aggregate]))
                .await
                .unwrap();
        let rest: Vec<_> = scene.of(aggregate).into_iter().filter(|position| ill.contains(position)).collect();
        assert_eq!((retaken.taken, retaken.culprits), (rest, vec![]));
    }
    assert_eq!(scene.parked().await, []);
    let mut taken = scene.taken(&picky).await;
    for aggregate in 0..6 {
        let in_order: Vec<_> =
            taken.iter().copied().filter(|position| scene.of(aggregate).contains(position)).collect();
        assert_eq!(in_order, scene.of(aggregate), "aggregate {aggregate}");
    }
    taken.sort_unstable();
    assert_eq!(taken, (1..=scene.head).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_read_model_cannot_take_is_parked_and_taken_once_the_cause_is_gone() {
    poison_is_parked(Delivery::ExactlyOnce).await;
}

#[tokio::test]
async fn what_a_process_cannot_take_is_parked_and_taken_once_the_cause_is_gone() {
    poison_is_parked(Delivery::AtLeastOnce).await;
}

async fn a_skip_is_kept(delivery: Delivery) {
    let mut scene = Scene::set(2, FEW, |_, _| {}).await;
    // Both of one aggregate: behind the first waits another that cannot be taken.
    let picky = Picky::new(delivery, [(3, Fault::Panics), (7, Fault::Panics)]);
    scene.follow(&picky).await;
    assert_eq!(scene.parked().await, [(3, true), (5, false), (7, false), (9, false)]);

    let mut connection = scene.database.connect(None).await.unwrap();
    let skip = Skip { reason: "it never happened", by: "ann" };
    let mut again = picky.clone();
    let retaken = follower::skip(&mut again, &mut connection, scene.database.wrapping(), scene.aggregates[0], skip)
        .await
        .unwrap();
    assert_eq!((retaken.skipped, retaken.taken, retaken.waiting), (Some(3), vec![5], 1));
    assert_eq!(retaken.culprits[0].position, 7);
    assert_eq!(scene.parked().await, [(7, true), (9, false)]);
    let kept = parking::skipped(&mut scene.owner, &[NAME]).await.unwrap();
    let [kept] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!((kept.position, &*kept.reason, &*kept.skipped_by), (3, "it never happened", "ann"));
    assert!(kept.error.contains("no liking for 3"), "{}", kept.error);

    // Whoever takes the log anew leaves out the same, and tries the rest again.
    sqlx::raw_sql("update followers set position = 0; delete from parked_events; delete from taken")
        .execute(&mut scene.owner)
        .await
        .unwrap();
    picky.effects.lock().unwrap().clear();
    picky.faults.lock().unwrap().remove(&7);
    scene.follow(&picky).await;
    assert_eq!(scene.parked().await, []);
    assert_eq!(scene.taken(&picky).await, (1..=10).filter(|position| *position != 3).collect::<Vec<_>>());
    let refused = scene.owner.execute("set role tradepost_service; delete from skipped_events").await;
    assert!(refused.is_err(), "the service rewrites what was skipped");
}

#[tokio::test]
async fn what_a_read_model_skips_is_kept_with_its_reason() {
    a_skip_is_kept(Delivery::ExactlyOnce).await;
}

#[tokio::test]
async fn what_a_process_skips_is_kept_with_its_reason() {
    a_skip_is_kept(Delivery::AtLeastOnce).await;
}

#[tokio::test]
async fn an_outage_parks_nothing() {
    let mut scene = Scene::set(2, FEW, |_, _| {}).await;
    let picky = Picky::new(Delivery::AtLeastOnce, [(4, Fault::Unavailable)]);
    let (progress, stop, running) = scene.run(&picky);
    // Far more often than a poisoned event would be tried.
    for _ in 0..10 {
        while !picky.asked.swap(false, Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(scene.parked().await, []);
    picky.faults.lock().unwrap().clear();
    progress.wait_for(NAME, scene.head, PATIENCE).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    assert_eq!(scene.taken(&picky).await, (1..=10).collect::<Vec<_>>());
    let [status] = &follower::statuses(&mut scene.owner, &[NAME], Clock::new().now()).await.unwrap()[..] else {
        panic!()
    };
    assert!(status.last_error.as_ref().unwrap().contains("not available"), "{status:?}");
}

/// A table that is away is not the fault of whatever happens then.
#[tokio::test]
async fn a_missing_table_parks_nothing() {
    let mut scene = Scene::set(1, FEW, |_, _| {}).await;
    scene.owner.execute("alter table taken rename to away").await.unwrap();
    let picky = Picky::new(Delivery::ExactlyOnce, []);
    let (progress, stop, running) = scene.run(&picky);
    let told = async {
        while follower::statuses(&mut scene.owner, &[NAME], Clock::new().now()).await.unwrap()[0].last_error.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    scene.owner.execute("alter table away rename to taken").await.unwrap();
    progress.wait_for(NAME, scene.head, PATIENCE).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    assert_eq!((scene.parked().await, scene.taken(&picky).await), (vec![], (1..=FEW).collect()));
}

#[tokio::test]
async fn who_is_paused_stands_still_until_resumed() {
    let mut scene = Scene::set(1, FEW, |_, _| {}).await;
    assert!(follower::set_paused(&mut scene.owner, NAME, true).await.unwrap());
    assert!(!follower::set_paused(&mut scene.owner, "nobody", true).await.unwrap());
    let picky = Picky::new(Delivery::ExactlyOnce, []);
    let (progress, stop, running) = scene.run(&picky);
    let passed = progress.wait_for(NAME, 1, Duration::from_millis(200)).await;
    assert_eq!((passed.unwrap_err().reached, scene.taken(&picky).await), (0, vec![]));
    let [status] = &follower::statuses(&mut scene.owner, &[NAME], Clock::new().now()).await.unwrap()[..] else {
        panic!()
    };
    assert!(status.paused && status.lag_events == FEW && status.lag_ms > 0, "{status:?}");
    follower::set_paused(&mut scene.owner, NAME, false).await.unwrap();
    progress.wait_for(NAME, scene.head, PATIENCE).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}
