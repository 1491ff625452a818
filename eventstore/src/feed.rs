//! The feed: the newest events as this node has committed them or NATS has delivered them, for followers that would read
//! them from the log otherwise.
//!
//! NATS may lose, repeat or reorder messages; positions tell. What comes again is dropped, and after a gap the feed
//! begins anew, so it holds events without gaps or nothing. A follower that needs what the feed does not hold reads the
//! log: that heals every gap. An event counts only if the log has it, for which the first after a gap is looked up.
//! When nothing comes, followers find new events by looking at the log, as without NATS.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use futures::StreamExt;
use sqlx::PgPool;
use uuid::Uuid;

use crate::Position;
use crate::event::{Interest, RecordedEvent, Section};
use crate::lease::Holder;
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
    events: VecDeque<Arc<RecordedEvent>>,
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
    AfterGap(Arc<RecordedEvent>),
}

impl Feed {
    /// Takes an event if it is the next one.
    pub fn take(&self, event: Arc<RecordedEvent>) -> Taken {
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
    pub fn begin_with(&self, event: Arc<RecordedEvent>) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *window = Window::default();
        window.push(event);
    }

    /// Takes what this node has committed just now.
    pub fn take_committed(&self, events: impl IntoIterator<Item = RecordedEvent>) {
        for event in events {
            if let Taken::AfterGap(event) = self.take(Arc::new(event)) {
                self.begin_with(event);
            }
        }
    }

    /// What is of interest among about `limit` events after `position`, never part of a unit of work; nothing if it does
    /// not hold the next unit whole.
    pub fn after(&self, position: Position, limit: i64, interest: Interest) -> Option<Section> {
        let window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = window.events.front()?.position;
        let skip = usize::try_from(position + 1 - first).ok()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let rest = window.events.range(skip.min(window.events.len())..);
        let mut reaches = None;
        for (count, event) in (1..).zip(rest.clone()) {
            if event.position == event.commit_position {
                reaches = Some(event.position);
                if count >= limit {
                    break;
                }
            }
        }
        let reaches = reaches?;
        let section = rest.take_while(|event| event.position <= reaches);
        let events = section.filter(|event| interest.takes(event)).cloned().collect();
        Some(Section { events, reaches })
    }

    /// Listens to the stream until the task is aborted, and tells `head` how far it is. While this node decides, it has
    /// its events from itself, and does not listen.
    pub async fn listen(self, context: Context, pool: PgPool, head: Head, deciding: Option<Holder>) {
        let mut deciding = deciding;
        loop {
            let mut this_decides = deciding.clone();
            let this_decides = async {
                match &mut this_decides {
                    Some(deciding) => deciding.until_mine().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = this_decides => if let Some(deciding) = &mut deciding {
                    deciding.until_not_mine().await;
                },
                followed = self.follow(&context, &pool, &head) => {
                    if let Err(error) = followed {
                        tracing::debug!(%error, "the stream cannot be followed; the log is read instead");
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn follow(&self, context: &Context, pool: &PgPool, head: &Head) -> Result<(), async_nats::Error> {
        let stream = nats::stream(context).await?;
        let mut messages = nats::messages(context, &stream, DeliverPolicy::New).await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            let event = nats::read(message.headers.as_ref(), &message.payload)?;
            let in_log = log::event_id_at(pool, event.position);
            self.deliver(event, head, in_log).await?;
        }
        Ok(())
    }

    /// Takes an event that was delivered, and tells `head`. The first after a gap counts only if its id is what is
    /// `in_log` at its position, which is looked up for no other.
    pub async fn deliver<E>(
        &self,
        event: RecordedEvent,
        head: &Head,
        in_log: impl Future<Output = Result<Option<Uuid>, E>>,
    ) -> Result<(), E> {
        let (position, id) = (event.position, event.event_id);
        match self.take(Arc::new(event)) {
            Taken::Next => head.seen_at(position),
            Taken::Repeated => {}
            Taken::AfterGap(event) => {
                if in_log.await? == Some(id) {
                    self.begin_with(event);
                    head.seen_at(position);
                }
            }
        }
        Ok(())
    }
}

impl Window {
    fn push(&mut self, event: Arc<RecordedEvent>) {
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

    use super::*;
    use crate::event::StreamId;

    const WALLETS: Interest = Interest::In(&["wallet"]);

    /// A log of units of work of these sizes; every third event is a wallet's.
    fn log_of(units: &[usize]) -> Vec<Arc<RecordedEvent>> {
        let mut log = Vec::new();
        for size in units {
            let end = i64::try_from(log.len() + size).unwrap();
            for _ in 0..*size {
                let position = i64::try_from(log.len()).unwrap() + 1;
                log.push(Arc::new(RecordedEvent {
                    position,
                    commit_position: end,
                    event_id: Uuid::from_u128(position.unsigned_abs().into()),
                    aggregate_type: if position % 3 == 0 { "wallet" } else { "listing" }.to_owned(),
                    aggregate_id: StreamId(Uuid::nil()),
                    sequence: position,
                    event_type: "HoldPlaced".to_owned(),
                    event_version: "1".to_owned(),
                    payload: "{}".to_owned(),
                    recorded_at: Timestamp::UNIX_EPOCH,
                    act: None,
                }));
            }
        }
        log
    }

    /// What NATS makes of a log: a tenth twice, a fifth later than what comes after it, a twentieth never.
    fn mangled(log: &[Arc<RecordedEvent>], rng: &mut StdRng) -> Vec<Arc<RecordedEvent>> {
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

    /// Follows as the runner does, from a checkpoint. Tells how many sections came from the feed.
    fn follow(
        (feed, interest): (&Feed, Interest),
        log: &[Arc<RecordedEvent>],
        until: i64,
        checkpoint: &mut i64,
        limit: i64,
    ) -> usize {
        let mut delivered = 0;
        while *checkpoint < until {
            let start = usize::try_from(*checkpoint).unwrap();
            if let Some(Section { events, reaches }) = feed.after(*checkpoint, limit, interest) {
                delivered += 1;
                let end = usize::try_from(reaches).unwrap();
                assert_eq!(log[end - 1].commit_position, reaches, "a unit of work was split");
                let wanted = log[start..end].iter().filter(|event| interest.includes(&event.aggregate_type));
                assert!(events.iter().map(|event| event.event_id).eq(wanted.map(|event| event.event_id)));
                assert!(reaches > *checkpoint);
                *checkpoint = reaches;
            } else {
                *checkpoint = log[start].commit_position;
            }
        }
        delivered
    }

    proptest! {
        #[test]
        fn what_is_lost_repeated_or_late_reaches_the_follower_once_and_in_order(
            units in prop::collection::vec(1_usize..5, 1..400),
            seed in any::<u64>(),
            limit in 1_i64..50,
            interest in prop::sample::select(vec![Interest::Everything, WALLETS]),
        ) {
            let (log, feed, rng) = (log_of(&units), Feed::default(), &mut StdRng::seed_from_u64(seed));
            let (mut checkpoint, mut heard) = (0, 0);
            for event in mangled(&log, rng) {
                heard = heard.max(event.commit_position);
                if let Taken::AfterGap(event) = feed.take(event) {
                    feed.begin_with(event);
                }
                if rng.random_bool(0.2) {
                    follow((&feed, interest), &log, heard, &mut checkpoint, limit);
                }
            }
            follow((&feed, interest), &log, i64::try_from(log.len()).unwrap(), &mut checkpoint, limit);
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
        assert_eq!(follow((&feed, WALLETS), &log, 11, &mut 0, 2), 3, "units of 1 and 3, of 2, of 1 and 4 events");
        assert!(feed.after(11, 10, Interest::Everything).is_none(), "there is no more");
        assert_eq!(feed.after(1, 1, Interest::Everything).unwrap().events.len(), 3, "a unit is whole");
    }

    #[test]
    fn what_this_node_commits_counts_once_though_nats_brings_it_too() {
        let (log, feed) = (log_of(&[2, 3, 2, 1]), Feed::default());
        let events = |from: usize, to: usize| log[from..to].iter().map(|event| event.as_ref().clone());
        feed.take_committed(events(0, 2));
        assert!(matches!(feed.take(log[0].clone()), Taken::Repeated));
        assert!(matches!(feed.take(log[2].clone()), Taken::Next));
        // The rest of that unit was another node's and has not come yet.
        feed.take_committed(events(5, 7));
        assert!(feed.after(2, 10, Interest::Everything).is_none(), "that is in the log");
        assert_eq!(feed.after(5, 10, WALLETS).unwrap().events[0].position, 6);
    }

    #[test]
    fn the_feed_forgets_what_is_old_and_never_holds_too_much() {
        let feed = Feed::default();
        feed.take_committed(log_of(&vec![1; MOST_EVENTS + 10]).iter().map(|event| event.as_ref().clone()));
        assert!(feed.after(5, 1, Interest::Everything).is_none(), "that is in the log");
        assert_eq!(feed.after(20, i64::MAX, Interest::Everything).unwrap().events.len(), MOST_EVENTS - 10);
    }
}
