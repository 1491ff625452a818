//! What was parked and is taken late gives the same rows as a rebuild, and a rebuild takes anew what was parked.

use std::collections::BTreeSet;
use std::sync::Arc;

use eventstore::event::Interest;
use eventstore::follower::{self, Batch, Delivery, FollowError, Follower, take_batch};
use eventstore::parking::{self, Skip};
use eventstore::{Position, mint};
use futures::future::BoxFuture;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use sqlx::{Connection, PgConnection};

use super::database::TestDatabase;
use super::history::History;
use crate::digest::digest;
use crate::rebuild::{self, rebuild, verify};
use crate::{ALL, ReadModel};

/// A read model that panics at some events.
#[derive(Clone)]
struct Poisoned {
    model: ReadModel,
    at: Arc<BTreeSet<Position>>,
}

impl Follower for Poisoned {
    fn name(&self) -> &'static str {
        self.model.name
    }

    fn delivery(&self) -> Delivery {
        self.model.delivery()
    }

    fn version(&self) -> i32 {
        self.model.version
    }

    fn interest(&self) -> Interest {
        self.model.interest()
    }

    fn schema(&self) -> Option<&'static str> {
        self.model.schema()
    }

    fn apply<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        batch: &'a Batch,
    ) -> BoxFuture<'a, Result<(), FollowError>> {
        assert!(batch.events.iter().all(|event| !self.at.contains(&event.position)), "a defect, on purpose");
        self.model.apply(connection, batch)
    }
}

impl TestDatabase {
    /// Lets a read model with defects follow the log until its head.
    async fn follow_poisoned(&mut self, mut poisoned: Poisoned, head: Position) {
        let mut connection = self.database.connect(poisoned.schema()).await.unwrap();
        loop {
            let mut transaction = connection.begin().await.unwrap();
            let reached = take_batch(&mut poisoned, &mut transaction, self.database.wrapping(), 100).await.unwrap();
            transaction.commit().await.unwrap();
            if reached >= head {
                break;
            }
        }
    }

    /// Where the events are that a read model looks at.
    async fn positions(&mut self, model: &ReadModel) -> Vec<Position> {
        let found = sqlx::query_scalar(
            "select position from events
             where aggregate_type = any($1) or ($2 and strpos(metadata::text, '\"capacity\":') > 0)
             order by position",
        );
        let acts = model.interest() == Interest::Acts;
        found.bind(model.about).bind(acts).fetch_all(&mut self.owner).await.unwrap()
    }

    async fn parked(&mut self, model: &ReadModel) -> Vec<parking::ParkedEvent> {
        parking::list(&mut self.owner, &[model.name]).await.unwrap()
    }
}

#[tokio::test]
async fn what_was_parked_is_taken_late_and_gives_the_rows_of_a_rebuild() {
    // Three histories in which nobody spends to the last cent what an event parked meanwhile takes too: the books refuse
    // that as long as the event comes late, and only a rebuild takes it.
    let mut shown = 0;
    'histories: for seed in 21..41 {
        if shown == 3 {
            return;
        }
        let history = History::random(seed, 600);
        let mut test = TestDatabase::create().await;
        let head = test.append(&history.units).await;
        let mut random = StdRng::seed_from_u64(seed);
        for mut model in ALL {
            let seen = test.positions(&model).await;
            let at = seen.choose_multiple(&mut random, 12).copied().collect();
            test.follow_poisoned(Poisoned { model, at: Arc::new(at) }, head).await;
            let parked = test.parked(&model).await;
            assert!(parked.iter().any(|event| event.error.is_some()), "{} has parked nothing", model.name);

            if !model.takes_late() {
                rebuild(&test.database, model.name, |_, _| {}).await.unwrap();
                assert_eq!(test.parked(&model).await.len(), 0, "{}", model.name);
                continue;
            }
            let mut connection = test.database.connect(model.schema()).await.unwrap();
            // One first, so that what happened to it later is there before what others have parked.
            follower::retry(&mut model, &mut connection, test.database.wrapping(), Some(parked[0].aggregate_id))
                .await
                .unwrap();
            follower::retry(&mut model, &mut connection, test.database.wrapping(), None).await.unwrap();
            let left = test.parked(&model).await;
            let overdrawn = |event: &parking::ParkedEvent| {
                event.error.as_ref().is_some_and(|error| error.contains("_not_negative"))
            };
            if left.iter().any(overdrawn) {
                continue 'histories;
            }
            assert!(left.is_empty(), "seed {seed}, {}: {left:?}", model.name);
            let different = verify(&test.database, model.name, |_, _| {}).await.unwrap();
            assert_eq!(different.differences, [], "seed {seed}, {}", model.name);
        }
        shown += 1;
    }
    panic!("hardly any history can be taken late: {shown}");
}

#[tokio::test]
async fn no_favourite_outlives_its_account_however_late_it_is_taken() {
    let mut history = History::new(27);
    let (ann, bob) = (history.register(), history.register());
    let listings = [history.draft(), history.draft()];
    for (account, listing, wanted) in [
        (ann, 0, true),
        (bob, 0, true),
        (ann, 1, true),
        (ann, 1, false),
        (ann, 1, true),
        (bob, 1, true),
        (bob, 1, false),
    ] {
        history.wish(mint::id(), account, listings[listing], wanted);
        history.commit();
    }
    history.erase(ann);
    let mut test = TestDatabase::create().await;
    let head = test.append(&history.units).await;
    let wishes: Vec<Position> =
        sqlx::query_scalar("select position from events where aggregate_type = 'favorite' order by position")
            .fetch_all(&mut test.owner)
            .await
            .unwrap();
    assert_eq!(wishes.len(), 7);
    let mut model = crate::catalogue::MODEL;
    for at in wishes {
        let poisoned = Poisoned { model, at: Arc::new(BTreeSet::from([at])) };
        test.start_afresh().await;
        test.follow_poisoned(poisoned, head).await;
        assert!(!test.parked(&model).await.is_empty());
        let mut connection = test.database.connect(model.schema()).await.unwrap();
        follower::retry(&mut model, &mut connection, test.database.wrapping(), None).await.unwrap();
        assert!(test.parked(&model).await.is_empty());
        let left: Vec<uuid::Uuid> =
            sqlx::query_scalar("select account_id from catalogue.favorites").fetch_all(&mut test.owner).await.unwrap();
        assert_eq!(left, [bob.0], "{at}");
        let different = verify(&test.database, model.name, |_, _| {}).await.unwrap();
        assert_eq!(different.differences, [], "{at}");
    }
}

#[tokio::test]
async fn a_rebuild_takes_anew_what_was_parked_and_leaves_out_what_was_skipped() {
    let history = History::random(24, 400);
    let mut test = TestDatabase::create().await;
    let head = test.append(&history.units).await;
    let mut model = crate::accounts::MODEL;
    let of_accounts: Vec<(Position, uuid::Uuid)> = sqlx::query_as(
        "select min(position), aggregate_id::uuid from events where aggregate_type = 'account' group by 2 order by 1",
    )
    .fetch_all(&mut test.owner)
    .await
    .unwrap();
    let [first, second, ..] = of_accounts.as_slice() else { panic!("{of_accounts:?}") };
    let at = Arc::new(BTreeSet::from([first.0, second.0]));
    let mut poisoned = Poisoned { model, at };
    test.follow_poisoned(poisoned.clone(), head).await;
    let culprits = |parked: &[parking::ParkedEvent]| {
        parked.iter().filter(|event| event.error.is_some()).map(|event| event.position).collect::<Vec<_>>()
    };
    assert_eq!(culprits(&test.parked(&model).await), [first.0, second.0]);
    let mut connection = test.database.connect(model.schema()).await.unwrap();
    let skip = Skip { reason: "a test", by: "a test" };
    let skipped =
        follower::skip(&mut poisoned, &mut connection, test.database.wrapping(), first.1, skip).await.unwrap();
    assert_eq!(skipped.skipped, Some(first.0));

    rebuild(&test.database, model.name, |_, _| {}).await.unwrap();
    assert!(culprits(&test.parked(&model).await).is_empty());
    let of: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from accounts.profiles").fetch_all(&mut test.owner).await.unwrap();
    assert!(of.contains(&second.1) && !of.contains(&first.1), "{of:?}");
    assert_eq!(verify(&test.database, model.name, |_, _| {}).await.unwrap().differences, []);

    // Another version has another chance with what was skipped.
    let before = digest(&mut test.owner, model.name).await.unwrap();
    model.version += 1;
    rebuild::bring_up(test.database.clone(), model).await.unwrap();
    assert_ne!(digest(&mut test.owner, model.name).await.unwrap(), before);
}

/// What a rebuild cannot take either is parked for the live model once it has changed places.
#[tokio::test]
async fn a_rebuild_parks_what_it_cannot_take() {
    let history = History::random(25, 400);
    let mut test = TestDatabase::create().await;
    test.append(&history.units).await;
    let model = crate::accounts::MODEL;
    let poison = "update events set payload = '{\"Nonsense\":{}}' where position =
        (select min(position) from events where aggregate_type = 'account') returning position";
    let position: Position = sqlx::query_scalar(poison).fetch_one(&mut test.owner).await.unwrap();
    rebuild(&test.database, model.name, |_, _| {}).await.unwrap();
    let parked = test.parked(&model).await;
    assert_eq!((parked[0].position, parked[0].error.is_some()), (position, true));
    assert!(parking::list(&mut test.owner, &[model.next]).await.unwrap().is_empty());
    assert_eq!(verify(&test.database, model.name, |_, _| {}).await.unwrap().differences, []);
}
