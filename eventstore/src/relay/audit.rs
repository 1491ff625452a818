//! Whether the stream holds the log: every event at its sequence, as it would be published now.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::message::Message;
use futures::StreamExt;
use serde::Serialize;
use sqlx::PgPool;

use super::{BATCH, RelayError, read, stream_error};
use crate::Position;
use crate::audit::NAMED;
use crate::nats::{self, Published};

/// How long the server may take to deliver the next message.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was found in the stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamAudit {
    /// The position of its last event.
    pub position: Position,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
}

/// Reads the whole stream beside the log.
pub async fn audit(pool: &PgPool, context: &Context) -> Result<StreamAudit, RelayError> {
    let stream = nats::stream(context).await.map_err(stream_error("is not there"))?;
    let state = &stream.cached_info().state;
    let last = state.last_sequence.cast_signed();
    let mut found = StreamAudit { position: last, findings: Vec::new() };
    if last == 0 {
        return Ok(found);
    }
    if state.messages != state.last_sequence {
        found.findings.push(format!("it holds {} messages, and its last is {last}", state.messages));
    }
    let messages = nats::messages(context, &stream, DeliverPolicy::All).await;
    let mut messages = messages.map_err(|source| RelayError::Stream { what: "cannot be read", source })?;
    let (mut reached, mut events) = (0, Vec::new().into_iter());
    while reached < last && found.findings.len() < NAMED {
        let next = tokio::time::timeout(PATIENCE, messages.next()).await;
        let Ok(Some(message)) = next else {
            found.findings.push(format!("after message {reached} none is delivered"));
            break;
        };
        let message = message.map_err(stream_error("cannot be read"))?;
        let sequence = message.info().map_err(|source| RelayError::Stream { what: "cannot be read", source })?;
        let sequence = sequence.stream_sequence.cast_signed();
        while reached < sequence.min(last) {
            if events.as_slice().is_empty() {
                events = read(pool, reached, reached + BATCH).await?.into_iter();
            }
            reached += 1;
            let event = events.next();
            let wrong = match (&event, reached == sequence) {
                (_, false) => Some(format!("message {reached} is not there")),
                (None, true) => Some(format!("message {reached} is beyond the end of the log")),
                (Some(event), true) => different(event, &message).map(|what| format!("message {reached} {what}")),
            };
            found.findings.extend(wrong);
        }
    }
    found.findings.truncate(NAMED);
    Ok(found)
}

/// In what a message differs from the event that it should be.
fn different(event: &Published, message: &Message) -> Option<String> {
    let expected = event.headers();
    let has = message.headers.as_ref();
    let header = expected.iter().find(|(name, values)| {
        has.and_then(|headers| headers.get((*name).clone())).map(ToString::to_string)
            != values.first().map(ToString::to_string)
    });
    if let Some((name, _)) = header {
        return Some(format!("has another `{name}` than the event"));
    }
    if message.subject.as_str() != event.subject() {
        return Some("has another subject than the event".to_owned());
    }
    (message.payload != event.event.payload.as_bytes()).then(|| "has another body than the event".to_owned())
}
