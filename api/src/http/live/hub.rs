//! How what is new gets from a read model to the sockets of this node.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use domain::AccountId;
use eventstore::Position;
use eventstore::progress::Progress;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::broadcast;

use crate::app::App;

/// Rows read at once.
pub(super) const PAGE: u32 = 500;
/// After a failed query, how long until the next.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A read model whose rows sockets show, each row to those of its topic.
pub(super) trait Channel: Sized + Send + Sync + 'static {
    /// What a socket is about.
    type Topic: Copy + Eq + Hash + Send + Sync + 'static;
    /// What a message is made of.
    type Row: Send + Sync + 'static;

    /// The name of the read model.
    const MODEL: &'static str;
    /// So many messages may wait for one socket before it has to read them from the table; a power of two. A topic takes
    /// memory for all of them, so it is small where every socket has a topic of its own.
    const BACKLOG: usize;
    /// Whether the sequences of a topic run without gaps, so that one tells what is missing.
    const GAPLESS: bool;

    /// The sockets of this node.
    fn hub(app: &App) -> &Hub<Self>;

    /// The rows of all topics after a position of the log, in order, at most `limit`.
    fn since(
        pool: &PgPool,
        position: Position,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;

    /// The rows of one topic after a sequence, in order, at most `limit`.
    fn after(
        pool: &PgPool,
        topic: Self::Topic,
        sequence: i64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;

    /// Where a row is.
    fn place(row: &Self::Row) -> Place<Self::Topic>;

    /// What everybody is told who may see the topic.
    fn message(row: &Self::Row) -> Value;

    /// Whose things, by what the log says between two positions, not everybody may see any more who could before.
    fn withdrawn(
        _pool: &PgPool,
        _from: Position,
        _to: Position,
    ) -> impl Future<Output = Result<HashSet<AccountId>, sqlx::Error>> + Send {
        future::ready(Ok(HashSet::new()))
    }

    /// Whom a row concerns.
    fn reach(_: &Self::Row) -> Reach {
        Reach::Topic
    }

    /// Which of these topics a row concerns that reaches some.
    fn concerned(
        _pool: &PgPool,
        _row: &Self::Row,
        topics: Vec<Self::Topic>,
    ) -> impl Future<Output = Result<Vec<Self::Topic>, sqlx::Error>> + Send {
        future::ready(Ok(topics))
    }
}

/// Whom a row concerns. Where that are several, each of their sockets reads from the table what of it is its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// Its topic.
    Topic,
    /// Some topics, which [`Channel::concerned`] finds: not every socket is to look for what a few are told.
    Some,
    /// Every topic.
    All,
}

/// Where a row is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<T> {
    /// Whom it is shown to.
    pub(super) topic: T,
    /// In which order, among the others of its topic. The message tells it.
    pub(super) sequence: i64,
    /// Its place in the log.
    pub(super) position: Position,
}

/// What a socket is handed. Made once for all sockets of a topic.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// A message with its sequence.
    Told(i64, Utf8Bytes),
    /// There is something in the table that may concern it.
    Look,
    /// Not everybody may see any more what is these accounts'.
    Withdrawn(Arc<HashSet<AccountId>>),
    /// Something that matters now or not at all, for everybody but whose doing it is.
    Passing(AccountId, Utf8Bytes),
}

impl News {
    /// The message of a row.
    pub(super) fn of<C: Channel>(row: &C::Row) -> Self {
        Self::Told(C::place(row).sequence, C::message(row).to_string().into())
    }
}

type Topics<C> = HashMap<<C as Channel>::Topic, broadcast::Sender<News>>;

/// The sockets of this node that show a read model, by topic. Clones share them.
pub(super) struct Hub<C: Channel>(Arc<Mutex<Topics<C>>>);

impl<C: Channel> Clone for Hub<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: Channel> Default for Hub<C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<C: Channel> fmt::Debug for Hub<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<sockets that show {}>", C::MODEL)
    }
}

impl<C: Channel> Hub<C> {
    /// Hands new rows to the sockets of their topics, until the task is aborted.
    pub(super) async fn watch(self, pool: &PgPool, progress: &Progress) {
        let mut moved = progress.subscribe(C::MODEL);
        let mut shown = *moved.borrow_and_update();
        loop {
            let reached = *moved.borrow_and_update();
            match self.publish_up_to(pool, shown, reached).await {
                Ok(()) => shown = reached,
                Err(error) => {
                    tracing::warn!(%error, model = C::MODEL, "what sockets are to show could not be read");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            }
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    async fn publish_up_to(&self, pool: &PgPool, from: Position, to: Position) -> Result<(), sqlx::Error> {
        if self.is_idle() {
            return Ok(());
        }
        // Before the rows: what comes after is none of a stranger's.
        let withdrawn = C::withdrawn(pool, from, to).await?;
        if !withdrawn.is_empty() {
            self.tell_all(&News::Withdrawn(Arc::new(withdrawn)));
        }
        let mut from = from;
        while from < to {
            let rows = C::since(pool, from, PAGE).await?;
            for row in &rows {
                from = C::place(row).position;
                self.publish(pool, row).await?;
            }
            if rows.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Hands a row to the sockets that it concerns. Their messages are made while others may look at the topics.
    async fn publish(&self, pool: &PgPool, row: &C::Row) -> Result<(), sqlx::Error> {
        match C::reach(row) {
            Reach::Topic => {
                if let Some(sockets) = self.sockets_of(C::place(row).topic) {
                    // Nobody listens if the last socket has just gone.
                    let _ = sockets.send(News::of::<C>(row));
                }
            }
            Reach::Some => {
                // Whoever comes after this finds the row in the table.
                let topics: Vec<C::Topic> = self.topics().keys().copied().collect();
                for topic in C::concerned(pool, row, topics).await? {
                    if let Some(sockets) = self.sockets_of(topic) {
                        let _ = sockets.send(News::Look);
                    }
                }
            }
            Reach::All => self.tell_all(&News::Look),
        }
        Ok(())
    }

    fn tell_all(&self, news: &News) {
        for topic in self.topics().values() {
            // Nobody listens if the last socket has just gone.
            let _ = topic.send(news.clone());
        }
    }

    /// Tells the sockets of a topic what matters now or not at all, but for those of `by`, whose doing it is.
    pub(super) fn pass(&self, topic: C::Topic, by: AccountId, message: impl FnOnce() -> Value) {
        if let Some(sockets) = self.sockets_of(topic) {
            // Nobody listens if the last socket has just gone.
            let _ = sockets.send(News::Passing(by, message().to_string().into()));
        }
    }

    /// Whether nobody watches anything. Forgets the topics that nobody watches any more.
    fn is_idle(&self) -> bool {
        let mut topics = self.topics();
        topics.retain(|_, topic| topic.receiver_count() > 0);
        topics.is_empty()
    }

    /// What is new of a topic from now on.
    pub(super) fn subscribe(&self, topic: C::Topic) -> broadcast::Receiver<News> {
        self.topics().entry(topic).or_insert_with(|| broadcast::Sender::new(C::BACKLOG)).subscribe()
    }

    /// The way to the sockets of a topic, if there are any.
    fn sockets_of(&self, topic: C::Topic) -> Option<broadcast::Sender<News>> {
        self.topics().get(&topic).cloned()
    }

    fn topics(&self) -> MutexGuard<'_, Topics<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
