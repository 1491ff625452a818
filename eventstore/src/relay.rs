//! The relay: publishes the log to NATS, each event once and in order.
//!
//! One node at a time does it, under a lease. Two that both believe to hold it do no harm: each message says which
//! sequence the stream must be at, so the second is refused, looks where the stream is, and goes on from there. Where
//! the stream is, only the stream itself says: nothing about it is kept in Postgres. A stream that is gone, emptied, or
//! holds what is not this log, is made anew and filled from the first event.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::{OutboundMessage, PublishMessage};
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use serde::Serialize;
use sqlx::PgPool;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Position;
use crate::lease::Holder;
use crate::log::{self, Head};
use crate::nats::{self, Published};

mod audit;

pub use audit::{StreamAudit, audit};

/// The name of its lease.
pub const LEASE: &str = "relay";
/// How long its lease is good.
pub const LEASE_TTL: Duration = Duration::from_secs(3);
/// How many events are sent together, with one answer.
const BATCH: i64 = 500;
/// How many full batches may be on their way before the first is answered.
const AHEAD: usize = 4;
/// It rests after a batch, unless the next is a full one, so many times as long as that took, within these bounds: many
/// small batches cost far more than a few larger ones.
const REST: u32 = 4;
const SHORTEST_REST: Duration = Duration::from_millis(2);
const LONGEST_REST: Duration = Duration::from_millis(10);
/// How often a relay that has nothing to publish looks whether the stream is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// After a failure, how long until the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Why publishing stopped. It begins again at the end of the stream.
#[derive(Debug, Error)]
pub enum RelayError {
    /// The database.
    #[error("the log cannot be read: {0}")]
    Log(#[from] sqlx::Error),
    /// NATS.
    #[error("the stream {what}: {source}")]
    Stream {
        /// What it does not do.
        what: &'static str,
        /// What NATS said.
        source: async_nats::Error,
    },
    /// Somebody else has written to the stream, or taken something out of it.
    #[error("the stream is at message {sequence}, and the relay at event {position}")]
    OutOfStep {
        /// What was published last.
        position: Position,
        /// What the stream has last.
        sequence: u64,
    },
}

/// Events that were sent, up to a position, and the answer to the last of them.
struct Unanswered {
    position: Position,
    answer: PublishAckFuture,
}

fn stream_error<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> RelayError {
    move |source| RelayError::Stream { what, source: Box::new(source) }
}

/// Publishes the log.
#[derive(Debug)]
pub struct Relay {
    /// Reads the log.
    pub pool: PgPool,
    /// Where to.
    pub context: Context,
    /// How many copies of the stream a new one has.
    pub replicas: usize,
    /// Wakes it when the log grows.
    pub head: Head,
    /// Whether it is this node's turn.
    pub turn: Holder,
    /// Tells how far the stream is, while it is this node's turn.
    pub reached: watch::Sender<Option<Position>>,
}

impl Relay {
    /// Publishes, whenever it is this node's turn, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                self.turn.until_mine().await;
                let published = self.publish().await;
                self.reached.send_replace(None);
                if let Err(error) = published {
                    tracing::warn!(%error, "the relay begins again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        })
        .await;
    }

    /// Publishes what the stream lacks, and what comes, as long as it is this node's turn.
    async fn publish(&self) -> Result<(), RelayError> {
        let (mut stream, published) = self.resume().await?;
        tracing::info!(position = published, "the relay goes on");
        let mut before = log::event_id_at(&self.pool, published).await?;
        let mut heads = self.head.subscribe();
        let (mut sent, mut unanswered) = (published, VecDeque::new());
        self.reached.send_replace(Some(published));
        let mut events = self.after(sent).await?;
        while self.turn.is_mine() {
            if let Some(last) = events.pop() {
                let (began, position, id) = (Instant::now(), last.event.position, last.event.event_id);
                if position - sent == BATCH {
                    let (answer, next) = tokio::join!(self.send(before, events, last), self.after(position));
                    unanswered.push_back(answer?);
                    events = next?;
                    if unanswered.len() > AHEAD
                        && let Some(first) = unanswered.pop_front()
                    {
                        self.settle(first).await?;
                    }
                } else {
                    unanswered.push_back(self.send(before, events, last).await?);
                    while let Some(first) = unanswered.pop_front() {
                        self.settle(first).await?;
                    }
                    tokio::time::sleep((began.elapsed() * REST).clamp(SHORTEST_REST, LONGEST_REST)).await;
                    events = self.after(position).await?;
                }
                (sent, before) = (position, Some(id));
                continue;
            }
            while let Some(first) = unanswered.pop_front() {
                self.settle(first).await?;
            }
            let grown = heads.wait_for(|head| *head > sent);
            if tokio::time::timeout(LOOK_EVERY, grown).await.is_err() {
                let info = stream.info().await.map_err(stream_error("does not say how it is"))?;
                let last = info.state.last_sequence;
                if last != sent.unsigned_abs() || (last > 0 && info.state.messages == 0) {
                    return Err(RelayError::OutOfStep { position: sent, sequence: last });
                }
            }
            events = self.after(sent).await?;
        }
        Ok(())
    }

    /// The next batch after a position.
    async fn after(&self, position: Position) -> Result<Vec<Published>, RelayError> {
        Ok(read(&self.pool, position, position + BATCH).await?)
    }

    /// Sends events one after another, and one more. Each is taken only after the one `before` it: its sequence alone would
    /// let it follow a foreign message. So the answer to the last speaks for all, and only the last asks for one.
    async fn send(
        &self,
        mut before: Option<Uuid>,
        events: Vec<Published>,
        last: Published,
    ) -> Result<Unanswered, RelayError> {
        let client = self.context.client();
        for published in events {
            let id = published.event.event_id;
            let OutboundMessage { subject, headers, payload } = outbound(before.replace(id), published);
            let sent = client.publish_with_headers(subject, headers.unwrap_or_default(), payload).await;
            sent.map_err(stream_error("cannot be reached"))?;
        }
        let position = last.event.position;
        let OutboundMessage { subject, headers, payload } = outbound(before, last);
        let answer = self.context.publish_with_headers(subject, headers.unwrap_or_default(), payload).await;
        Ok(Unanswered { position, answer: answer.map_err(stream_error("cannot be reached"))? })
    }

    /// Waits until the stream has taken what was sent.
    async fn settle(&self, sent: Unanswered) -> Result<(), RelayError> {
        let Unanswered { position, answer } = sent;
        let answer = answer.await.map_err(stream_error("refuses an event"))?;
        if answer.sequence != position.unsigned_abs() {
            return Err(RelayError::OutOfStep { position, sequence: answer.sequence });
        }
        self.reached.send_replace(Some(position));
        Ok(())
    }

    /// The stream, and the position of its last event. One that does not hold this log is made anew.
    async fn resume(&self) -> Result<(Stream, Position), RelayError> {
        let mut stream =
            nats::make_stream(&self.context, self.replicas).await.map_err(stream_error("cannot be made"))?;
        let info = stream.info().await.map_err(stream_error("does not say how it is"))?;
        let last = info.state.last_sequence;
        if last == 0 || holds_this_log(&self.pool, &stream, last).await? {
            return Ok((stream, last.cast_signed()));
        }
        tracing::warn!(sequence = last, "the stream does not hold this log: it is made anew");
        self.context.delete_stream(nats::STREAM).await.map_err(stream_error("cannot be deleted"))?;
        let stream = nats::make_stream(&self.context, self.replicas).await.map_err(stream_error("cannot be made"))?;
        Ok((stream, 0))
    }
}

/// Whether the stream's last message is the event of the log at that position.
async fn holds_this_log(pool: &PgPool, stream: &Stream, last: u64) -> Result<bool, RelayError> {
    let message = match stream.get_raw_message(last).await {
        Ok(message) => message,
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(false),
        Err(error) => return Err(stream_error("does not give its last message")(error)),
    };
    let Ok(event) = nats::read(Some(&message.headers), &message.payload) else { return Ok(false) };
    let there = log::event_id_at(pool, event.position).await?;
    Ok(event.position.unsigned_abs() == last && there == Some(event.event_id))
}

/// How far the log is in NATS.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Copied {
    /// The position of the stream's last event.
    pub position: Position,
    /// How many events it holds.
    pub messages: u64,
    /// How large it is.
    pub bytes: u64,
    /// Whether it ends with an event that the log has there. An empty stream holds every log.
    pub holds_this_log: bool,
}

/// Looks how far the log is in NATS.
pub async fn look(pool: &PgPool, context: &Context) -> Result<Copied, RelayError> {
    let stream = nats::stream(context).await.map_err(stream_error("is not there"))?;
    let state = &stream.cached_info().state;
    let last = state.last_sequence;
    Ok(Copied {
        position: last.cast_signed(),
        messages: state.messages,
        bytes: state.bytes,
        holds_this_log: last == 0 || holds_this_log(pool, &stream, last).await?,
    })
}

/// An event on its way, to be taken only after the one `before` it.
fn outbound(before: Option<Uuid>, published: Published) -> OutboundMessage {
    let (subject, headers) = (published.subject(), published.headers());
    // PLANTED: nothing of it is left.
    #[cfg(feature = "planted-bugs")]
    let published = if domain::planted::is(domain::planted::Bug::RelayAlters) && published.event.position % 50 == 0 {
        let event = crate::event::RecordedEvent { payload: "{}".to_owned(), ..published.event };
        Published { event, ..published }
    } else {
        published
    };
    let message = PublishMessage::build()
        .payload(published.event.payload.into())
        .headers(headers)
        .expected_last_sequence((published.event.position - 1).unsigned_abs());
    match before {
        Some(id) => message.expected_last_message_id(id.to_string()),
        None => message,
    }
    .outbound_message(subject)
}

/// The events after `from` up to `to`, with who and what caused them.
async fn read(pool: &PgPool, from: Position, to: Position) -> Result<Vec<Published>, sqlx::Error> {
    sqlx::query_as(
        "select position, commit_position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version,
            payload::text as payload, recorded_at, metadata::text as metadata
         from events where position > $1 and position <= $2 order by position",
    )
    .bind(from)
    .bind(to)
    .fetch_all(pool)
    .await
}
