//! Other nodes write: what this one reads of it, how often it tries before it takes its turn by force, and that it gets one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::overheard::{Asked, Heard, PATIENCE, overheard};
use super::*;

/// Does nothing.
fn nothing(_: Asked) -> BoxFuture<'static, ()> {
    Box::pin(async {})
}

#[tokio::test]
async fn a_node_decides_beside_one_that_never_stops_writing() {
    decides_beside(1).await;
}

#[tokio::test]
async fn a_node_decides_beside_one_that_writes_more_than_it_reads_at_once() {
    decides_beside(1_100).await;
}

/// Whenever this node is about to read, another has had so many commands accepted.
async fn decides_beside(commands: usize) {
    let database = database().await;
    let other = plain_node(&database).await;
    let (begun, locked) = (Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let (writer, is_busy) = (other.clone(), begun.clone());
    let listener = Heard::with(move |asked| {
        match asked {
            Asked::Lock => locked.store(true, Ordering::Relaxed),
            Asked::Unlock | Asked::AppendLocked { .. } => locked.store(false, Ordering::Relaxed),
            // Under the lock nobody else can write.
            Asked::Read { .. } if is_busy.load(Ordering::Relaxed) && !locked.load(Ordering::Relaxed) => {
                let writer = writer.clone();
                return Box::pin(async move {
                    join_all((0..commands).map(|_| fund(&writer, somebody(), 1))).await;
                });
            }
            _ => {}
        }
        nothing(asked)
    });
    let engine = overheard(&database, EngineSettings::default(), Head::at(0), &listener).await;
    fund(&other, somebody(), 1).await;
    begun.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        tokio::time::timeout(PATIENCE, fund(&engine, somebody(), 1)).await.expect("an answer");
    }
    assert_gapless(&database).await;
}

#[tokio::test]
async fn what_others_wrote_is_read_once_to_its_end_and_what_is_in_memory_stays_there() {
    let database = database().await;
    let (other, listener, ann) = (plain_node(&database).await, Heard::with(nothing), somebody());
    let engine = overheard(&database, EngineSettings::default(), Head::at(0), &listener).await;
    let known = fund(&engine, ann, 10).await.position;
    hold(&other, once(), ann, 4).await.unwrap();
    // Three events each: more than two times what is read at once.
    join_all((0..800).map(|_| fund(&other, somebody(), 1))).await;
    let head = eventstore::log::head(&database.pool(1)).await.unwrap();
    assert!((known + 2_001..known + 3_000).contains(&head), "{head}");
    listener.take();
    assert_eq!(hold(&engine, once(), ann, 1).await.unwrap().value, usd(5));
    let read = |after| Asked::Read { after, to: after + 1_000 };
    let append = Asked::Append { events: 1 };
    // Neither is the session made anew for it, nor the wallet loaded.
    assert_eq!(listener.take(), [append, read(known), Asked::Head, read(known + 1_000), read(known + 2_000), append]);
    hold(&engine, once(), ann, 1).await.unwrap();
    assert_eq!(listener.take(), [append]);
}

#[tokio::test]
async fn after_two_misses_the_head_is_locked_first() {
    // Once somebody else comes between the last look at the head and the lock, and once nobody does.
    for comes_between in [false, true] {
        let database = database().await;
        let (other, ann) = (plain_node(&database).await, somebody());
        fund(&other, ann, 10).await;
        let writer = other.clone();
        let listener = Heard::with(move |asked| {
            if matches!(asked, Asked::Append { .. }) || comes_between && asked == Asked::Lock {
                let writer = writer.clone();
                return Box::pin(async move {
                    fund(&writer, somebody(), 1).await;
                });
            }
            nothing(asked)
        });
        let engine = overheard(&database, EngineSettings::default(), Head::at(0), &listener).await;
        engine.read(move |world| available(world, ann)).await.unwrap();
        let known = eventstore::log::head(&database.pool(1)).await.unwrap();
        listener.take();
        assert_eq!(hold(&engine, once(), ann, 1).await.unwrap().value, usd(9));
        let append = Asked::Append { events: 1 };
        let read = |after| Asked::Read { after, to: after + 1_000 };
        let under_lock = Asked::Read { after: known + 6, to: if comes_between { known + 9 } else { known + 6 } };
        let locked = Asked::AppendLocked { events: 1 };
        assert_eq!(listener.take(), [append, read(known), append, read(known + 3), Asked::Lock, under_lock, locked]);
        // The next one need not.
        engine.read(move |world| available(world, ann)).await.unwrap();
        assert_eq!(listener.take(), [Asked::Head]);
        assert_gapless(&database).await;
    }
}

#[tokio::test]
async fn a_node_of_which_nobody_asks_anything_reads_what_it_is_told_of() {
    let database = database().await;
    let (other, listener, head, ann) = (plain_node(&database).await, Heard::with(nothing), Head::at(0), somebody());
    let engine = overheard(&database, EngineSettings::default(), head.clone(), &listener).await;
    fund(&engine, ann, 10).await;
    let written = hold(&other, once(), ann, 4).await.unwrap().position;
    listener.take();
    head.seen_at(written);
    listener.until(|asked| matches!(asked, Asked::Read { .. })).await;
    assert_eq!(hold(&engine, once(), ann, 1).await.unwrap().value, usd(5));
    assert_eq!(listener.appends(), [1], "it knew where the head is");
}
