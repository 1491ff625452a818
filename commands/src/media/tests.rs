//! Pictures that go: some at a time, however many there are, and whatever the storage does meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use domain::Timestamp;
use domain::album::{self, Album};
use domain::image::{Format, RemovalCause};
use eventstore::clock::Clock;
use eventstore::database::Database;
use eventstore::feed::Feed;
use eventstore::follower::Batch;
use eventstore::log::Head;
use eventstore::mint;
use eventstore::sealing::PersonKeys;
use eventstore::testing::database;

use super::*;
use crate::process::Following;
use crate::{CommandError, EngineSettings};

/// A storage that fails once after so many files, and notes what it is asked.
#[derive(Default)]
struct Storage {
    fails_after: usize,
    has_failed: AtomicBool,
    asked: Mutex<BTreeMap<String, usize>>,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

/// A file that is being deleted, until that is done or given up.
struct UnderWay<'a>(&'a Storage);

impl<'a> UnderWay<'a> {
    fn begin(storage: &'a Storage) -> Self {
        let under_way = storage.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        storage.most_under_way.fetch_max(under_way, Ordering::Relaxed);
        Self(storage)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Files for Storage {
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), NotDeleted>> {
        Box::pin(async move {
            let under_way = UnderWay::begin(self);
            tokio::task::yield_now().await;
            drop(under_way);
            let mut asked = self.asked.lock().unwrap();
            *asked.entry(name.to_owned()).or_default() += 1;
            let fails = asked.len() == self.fails_after && !self.has_failed.swap(true, Ordering::Relaxed);
            if fails { Err(NotDeleted("away".to_owned())) } else { Ok(()) }
        })
    }
}

async fn process(database: &Database, settings: EngineSettings, storage: &Arc<Storage>) -> Following<Media> {
    let started = Engine::start(database, settings, Clock::new(), Head::at(0), Feed::default()).await;
    Following(Media::new(started.unwrap().0, storage.clone()))
}

fn stored() -> Stored {
    let name = mint::id().simple().to_string();
    Stored { name, format: Format::Png, width: 1, height: 1, bytes: 1 }
}

fn batch(events: impl IntoIterator<Item = DomainEvent>) -> Batch {
    let recorded = |(position, event)| {
        let (commit_position, recorded_at) = (position, Timestamp::default());
        Recorded { position, commit_position, event_id: mint::id(), sequence: 1, recorded_at, act: None, event }
    };
    Batch { events: (1..).zip(events).map(recorded).collect(), people: PersonKeys::default() }
}

#[tokio::test]
async fn more_pictures_than_fit_into_memory_go_with_whoever_is_forgotten() {
    const PICTURES: usize = 120;
    let database = database().await;
    let settings = EngineSettings { cache_aggregates: 60, ..EngineSettings::default() };
    let media = process(&database, settings, &Arc::default()).await;
    let owner = AccountId(mint::id());
    let mut all = Vec::new();
    for _ in 0..PICTURES / 20 {
        let images: Vec<ImageId> = (0..20).map(|_| ImageId(mint::id())).collect();
        all.extend(images.clone());
        let store = move |world: &mut World<'_>| {
            world.execute::<Album>(owner, album::Command::Add { images: images.clone(), most: 1_000 })?;
            for image in &images {
                world.execute::<Image>(*image, image::Command::Store { owner, stored: stored() })?;
            }
            Ok(())
        };
        media.0.engine.submit(Request::once(Metadata::anonymous()), store).await.unwrap();
    }
    let erased = batch([DomainEvent::Account(owner, account::Event::AccountErased {})]);
    let head = || async { eventstore::log::head(&database.pool(1)).await.unwrap() };
    let before = head().await;
    media.take(&erased).await.unwrap();
    for image in all {
        let gone = media.0.engine.read(move |world| Ok(*world.get::<Image>(image)? == Image::Removed)).await.unwrap();
        assert!(gone, "{image}");
    }
    let after = head().await;
    let commands: i64 = sqlx::query_scalar("select count(distinct commit_position) from events where position > $1")
        .bind(before)
        .fetch_one(&database.pool(1))
        .await
        .unwrap();
    assert_eq!((after - before, commands), (120 + 3, 3));
    // Once more, as after a crash.
    media.take(&erased).await.unwrap();
    assert_eq!(head().await, after);
    // And whoever is not registered, or no more, has none.
    let late = [images::NewImage { image: ImageId(mint::id()), stored: stored() }];
    let store = move |world: &mut World<'_>| images::store(world, owner, &late, 1_000);
    let refused = media.0.engine.submit(Request::once(Metadata::anonymous()), store).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn files_are_deleted_some_at_once_and_those_of_a_batch_that_comes_again_only_once() {
    let storage = Arc::new(Storage { fails_after: 60, ..Storage::default() });
    let media = process(&database().await, EngineSettings::default(), &storage).await;
    let removed = |_| {
        let event = image::Event::ImageRemoved { stored: stored(), cause: RemovalCause::Detached };
        DomainEvent::Image(ImageId(mint::id()), event)
    };
    let batch = batch((0..50).map(removed));
    media.take(&batch).await.unwrap_err();
    // What was under way then is given up.
    storage.under_way.store(0, Ordering::Relaxed);
    media.take(&batch).await.unwrap();
    let asked = storage.asked.lock().unwrap();
    let (files, again) = (asked.len(), asked.values().filter(|times| **times > 1).count());
    assert_eq!(files, 100);
    // Of pictures that were under way when it failed.
    assert!(again <= 2 * AT_ONCE, "{again}");
    assert_eq!(storage.most_under_way.load(Ordering::Relaxed), AT_ONCE);
    assert!(media.0.deleted.lock().unwrap().is_empty(), "nothing is remembered of a batch that is taken");
}
