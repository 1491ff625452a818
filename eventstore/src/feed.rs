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
use async_nats::jetstream::consumer::DeliverPolicy;
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
        let mut messages = nats::messages(context, &stream, DeliverPolicy::New).await?;
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

#[cfg(test)]
mod tests {
    //! Whatever NATS does to messages, whoever follows the feed and reads the log where the feed has nothing gets every
    //! event once, in order, and no part of a unit of work.

    use std::collections::VecDeque;

    use domain::Timestamp;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use uuid::Uuid;

    use super::*;
    use crate::event::StreamId;

    /// A log of units of work of these sizes.
    fn log_of(units: &[usize]) -> Vec<RecordedEvent> {
        let mut log: Vec<RecordedEvent> = Vec::new();
        for size in units {
            let end = i64::try_from(log.len() + size).unwrap();
            for _ in 0..*size {
                let position = i64::try_from(log.len()).unwrap() + 1;
                log.push(RecordedEvent {
                    position,
                    commit_position: end,
                    event_id: Uuid::from_u128(position.unsigned_abs().into()),
                    aggregate_type: "wallet".to_owned(),
                    aggregate_id: StreamId(Uuid::nil()),
                    sequence: position,
                    event_type: "HoldPlaced".to_owned(),
                    event_version: "1".to_owned(),
                    payload: "{}".to_owned(),
                    recorded_at: Timestamp::UNIX_EPOCH,
                });
            }
        }
        log
    }

    /// What NATS makes of a log: a tenth twice, a fifth later than what comes after it, a twentieth never.
    fn mangled(log: &[RecordedEvent], rng: &mut StdRng) -> Vec<RecordedEvent> {
        let (mut delivered, mut held_up) = (Vec::new(), VecDeque::new());
        for event in log {
            match rng.random_range(0..100) {
                0..10 => delivered.extend([event.clone(), event.clone()]),
                10..30 => held_up.push_back(event.clone()),
                30..35 => {}
                _ => delivered.push(event.clone()),
            }
            if rng.random_bool(0.3) {
                delivered.extend(held_up.pop_front());
            }
        }
        delivered.extend(held_up);
        delivered
    }

    /// Follows as the runner does, from a checkpoint; tells how many events came from the feed.
    fn follow(feed: &Feed, log: &[RecordedEvent], until: i64, checkpoint: &mut i64, limit: i64) -> usize {
        let mut delivered = 0;
        while *checkpoint < until {
            let from_feed = feed.after(*checkpoint, limit);
            delivered += from_feed.as_ref().map_or(0, Vec::len);
            let from_log = || {
                let start = usize::try_from(*checkpoint).unwrap();
                let end = log[start].commit_position;
                log[start..usize::try_from(end).unwrap()].to_vec()
            };
            let batch = from_feed.unwrap_or_else(from_log);
            for event in &batch {
                assert_eq!(event.position, *checkpoint + 1);
                assert_eq!(event.event_id.as_u128(), u128::from(event.position.unsigned_abs()));
                *checkpoint = event.position;
            }
            let last = batch.last().expect("a batch has events");
            assert_eq!(last.position, last.commit_position, "a unit of work was split");
        }
        delivered
    }

    proptest! {
        #[test]
        fn what_is_lost_repeated_or_late_reaches_the_follower_once_and_in_order(
            units in prop::collection::vec(1_usize..5, 1..400),
            seed in any::<u64>(),
            limit in 1_i64..50,
        ) {
            let (log, feed, rng) = (log_of(&units), Feed::default(), &mut StdRng::seed_from_u64(seed));
            let (mut checkpoint, mut heard) = (0, 0);
            for event in mangled(&log, rng) {
                heard = heard.max(event.commit_position);
                if let Taken::AfterGap(event) = feed.take(event) {
                    feed.begin_with(event);
                }
                if rng.random_bool(0.2) {
                    follow(&feed, &log, heard, &mut checkpoint, limit);
                }
            }
            follow(&feed, &log, i64::try_from(log.len()).unwrap(), &mut checkpoint, limit);
            prop_assert_eq!(usize::try_from(checkpoint).unwrap(), log.len());
        }
    }

    #[test]
    fn what_comes_in_order_is_read_from_the_feed_alone() {
        let (log, feed) = (log_of(&[1, 3, 2, 1, 4]), Feed::default());
        for event in log.clone() {
            if let Taken::AfterGap(event) = feed.take(event) {
                assert_eq!(event.position, 1);
                feed.begin_with(event);
            }
        }
        assert_eq!(follow(&feed, &log, 11, &mut 0, 2), 11);
        assert!(feed.after(11, 10).is_none(), "there is no more");
        assert_eq!(feed.after(1, 1).unwrap().len(), 3, "a unit is whole");
    }

    #[test]
    fn the_feed_forgets_what_is_old_and_never_holds_too_much() {
        let (log, feed) = (log_of(&vec![1; MOST_EVENTS + 10]), Feed::default());
        for event in log {
            if let Taken::AfterGap(event) = feed.take(event) {
                feed.begin_with(event);
            }
        }
        assert!(feed.after(5, 1).is_none(), "that is in the log");
        assert_eq!(feed.after(20, i64::MAX).unwrap().len(), MOST_EVENTS - 10);
    }
}
