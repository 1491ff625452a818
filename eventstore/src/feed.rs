//! The feed: the newest events as NATS has delivered them, for followers that would read them from the log otherwise.
//!
//! NATS may lose, repeat or reorder messages; positions tell. What comes again is dropped, and after a gap the feed
//! begins anew, so it holds events without gaps or nothing. A follower that needs what the feed does not hold reads the
//! log: that heals every gap. An event counts only if the log has it, for which the first after a gap is looked up.
//! When nothing comes, followers find new events by looking at the log, as without NATS.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use futures::StreamExt;
use sqlx::PgPool;

use crate::Position;
use crate::event::RecordedEvent;
use crate::log::{self, Head};
use crate::nats;

/// The most events that it holds.
const MOST_EVENTS: usize = 20_000;
/// The most bytes of payload that it holds.
const MOST_BYTES: usize = 16 << 20;
/// After a failure, how long until the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The newest events. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Feed(Arc<Mutex<Window>>);

/// Events without gaps.
#[derive(Debug, Default)]
struct Window {
    events: VecDeque<RecordedEvent>,
    bytes: usize,
}

/// What became of an event that was delivered.
#[derive(Debug)]
pub enum Taken {
    /// It is the next one, and in the feed.
    Next,
    /// It, or a later one, has come before.
    Repeated,
    /// Events before it are missing, or it is the first: here it is again.
    AfterGap(RecordedEvent),
}

impl Feed {
    /// Takes an event if it is the next one.
    pub fn take(&self, event: RecordedEvent) -> Taken {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match window.events.back().map(|last| last.position) {
            Some(last) if event.position <= last => Taken::Repeated,
            Some(last) if event.position == last + 1 => {
                window.push(event);
                Taken::Next
            }
            Some(_) | None => Taken::AfterGap(event),
        }
    }

    /// Begins anew with `event`, which the log has.
    pub fn begin_with(&self, event: RecordedEvent) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *window = Window::default();
        window.push(event);
    }

    /// About `limit` events after `position`, never part of a unit of work; nothing if it does not hold the next unit
    /// whole.
    pub fn after(&self, position: Position, limit: i64) -> Option<Vec<RecordedEvent>> {
        let window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = window.events.front()?.position;
        let skip = usize::try_from(position + 1 - first).ok()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let whole = |event: &RecordedEvent| event.position == event.commit_position;
        let rest = window.events.range(skip.min(window.events.len())..);
        let (mut end, mut count) = (0, 0);
        for event in rest.clone() {
            count += 1;
            if whole(event) {
                end = count;
                if count >= limit {
                    break;
                }
            }
        }
        (end > 0).then(|| rest.take(end).cloned().collect())
    }

    /// Listens to the stream until the task is aborted, and tells `head` how far it is.
    pub async fn listen(self, context: Context, pool: PgPool, head: Head) {
        loop {
            if let Err(error) = self.follow(&context, &pool, &head).await {
                tracing::debug!(%error, "the stream cannot be followed; the log is read instead");
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn follow(&self, context: &Context, pool: &PgPool, head: &Head) -> Result<(), async_nats::Error> {
        let stream = nats::stream(context).await?;
        let consumer = push::OrderedConfig {
            deliver_subject: context.client().new_inbox(),
            deliver_policy: DeliverPolicy::New,
            ..push::OrderedConfig::default()
        };
        let mut messages = stream.create_consumer(consumer).await?.messages().await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let event = nats::read(message.headers.as_ref(), &message.payload)?;
            let position = event.position;
            match self.take(event) {
                Taken::Next => head.seen_at(position),
                Taken::Repeated => {}
                Taken::AfterGap(event) => {
                    if log::event_id_at(pool, position).await? == Some(event.event_id) {
                        self.begin_with(event);
                        head.seen_at(position);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Window {
    fn push(&mut self, event: RecordedEvent) {
        self.bytes += event.payload.len();
        self.events.push_back(event);
        while self.events.len() > MOST_EVENTS || self.bytes > MOST_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.payload.len();
        }
    }
}
