//! NATS: how events travel in it, and the stream that holds them.
//!
//! An event is one message, a `CloudEvent` in binary mode: its attributes are headers, its payload is the body. The stream
//! is filled from position 1 in order, so that **a message's sequence is its event's position**; whatever breaks this
//! makes the relay fill the stream anew. Postgres is the truth and the stream a copy that may be deleted at any time.
//! Personal fields stay sealed in it.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::context::{CreateStreamError, GetStreamError};
use async_nats::jetstream::stream::{Config as StreamConfig, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use domain::Timestamp;
use sqlx::FromRow;
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use crate::Position;
use crate::event::{Act, RecordedEvent, StreamId};

/// The stream of the log.
pub const STREAM: &str = "TRADEPOST";
/// What the subjects of events begin with: `tradepost.events.<aggregate_type>.<event_type>.<aggregate_id>`.
pub const SUBJECT: &str = "tradepost.events";
/// How long the stream remembers the ids of messages, to refuse one that is published again.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// How long the server may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a line on which nothing comes is asked whether it is still there. Three times in vain, and it is cut.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long until the first attempt to connect again, and the longest pause between two.
const FIRST_RECONNECT: Duration = Duration::from_millis(20);
const LAST_RECONNECT: Duration = Duration::from_millis(500);
/// What an event is named after in `ce-source`.
pub const SOURCE: &str = "/tradepost";

/// Why NATS cannot be used as configured.
#[derive(Debug, Error)]
pub enum NatsError {
    /// The address is none, or we are not let in.
    #[error("cannot use NATS: {0}")]
    Connect(#[from] async_nats::ConnectError),
}

/// Connects, or goes on trying in the background: a node starts without NATS too.
pub async fn connect(url: &str) -> Result<Client, NatsError> {
    let options = ConnectOptions::new()
        .name("tradepost")
        .retry_on_initial_connect()
        .request_timeout(Some(PATIENCE))
        .ping_interval(ASK_EVERY)
        .reconnect_delay_callback(|attempts| {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            FIRST_RECONNECT.saturating_mul(attempts).min(LAST_RECONNECT)
        })
        .event_callback(async |event| match event {
            Event::Connected => tracing::info!("NATS is connected"),
            Event::Disconnected => tracing::warn!("NATS is disconnected"),
            event => tracing::debug!(%event, "NATS"),
        });
    Ok(options.connect(url).await?)
}

/// Whether messages get through, as far as this client knows.
#[must_use]
pub fn is_connected(client: &Client) -> bool {
    client.connection_state() == State::Connected
}

/// Connects, or says why that cannot be done now.
pub async fn connect_once(url: &str) -> Result<Client, NatsError> {
    Ok(ConnectOptions::new().name("tradepost").request_timeout(Some(PATIENCE)).connect(url).await?)
}

/// `JetStream` over a connection.
pub fn jetstream(client: &Client) -> Context {
    jetstream::context::ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE).build(client.clone())
}

/// The stream of the log, which is made if it is not there.
pub async fn make_stream(context: &Context, replicas: usize) -> Result<Stream, CreateStreamError> {
    context
        .get_or_create_stream(StreamConfig {
            name: STREAM.to_owned(),
            description: Some("Every event of the log, in its order; a copy that Tradepost fills again".to_owned()),
            subjects: vec![format!("{SUBJECT}.>")],
            num_replicas: replicas,
            duplicate_window: DUPLICATE_WINDOW,
            ..StreamConfig::default()
        })
        .await
}

/// The stream of the log, if it is there.
pub async fn stream(context: &Context) -> Result<Stream, GetStreamError> {
    context.get_stream(STREAM).await
}

/// The messages of the stream, in order, from where `policy` says on.
pub(crate) async fn messages(
    context: &Context,
    stream: &Stream,
    policy: DeliverPolicy,
) -> Result<push::Ordered, async_nats::Error> {
    let consumer = push::OrderedConfig {
        deliver_subject: context.client().new_inbox(),
        deliver_policy: policy,
        ..push::OrderedConfig::default()
    };
    Ok(stream.create_consumer(consumer).await?.messages().await?)
}

/// An event as the log has it, with who and what caused it.
#[derive(Clone, Debug, FromRow)]
pub struct Published {
    /// The event.
    #[sqlx(flatten)]
    pub event: RecordedEvent,
    /// [`crate::event::Metadata`] as JSON.
    pub metadata: String,
}

impl Published {
    /// Where it is published.
    pub fn subject(&self) -> String {
        let RecordedEvent { aggregate_type, event_type, aggregate_id, .. } = &self.event;
        format!("{SUBJECT}.{aggregate_type}.{event_type}.{}", aggregate_id.0)
    }

    /// Its headers: the attributes of a `CloudEvent` and the id by which NATS knows it again.
    pub fn headers(&self) -> HeaderMap {
        let event = &self.event;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, event.event_id.to_string());
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-id", event.event_id.to_string());
        headers.insert("ce-source", SOURCE);
        headers.insert("ce-type", format!("tradepost.{}.{}", event.aggregate_type, event.event_type));
        headers.insert("ce-subject", event.aggregate_id.0.to_string());
        headers.insert("ce-time", event.recorded_at.to_rfc3339());
        headers.insert("ce-datacontenttype", "application/json");
        headers.insert("ce-dataversion", event.event_version.as_str());
        headers.insert("ce-aggregatetype", event.aggregate_type.as_str());
        headers.insert("ce-eventtype", event.event_type.as_str());
        headers.insert("ce-position", event.position.to_string());
        headers.insert("ce-commitposition", event.commit_position.to_string());
        headers.insert("ce-sequence", event.sequence.to_string());
        let metadata: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&self.metadata).unwrap_or_default();
        for (name, header) in TOLD {
            if let Some(text) = metadata.get(name).and_then(|value| value.as_str()) {
                headers.insert(header, text);
            }
        }
        headers
    }
}

/// What of the metadata other systems are told, and under which name. Clients' own keys are not their business.
const TOLD: [(&str, &str); 5] = [
    ("actor", "ce-actor"),
    ("capacity", "ce-capacity"),
    ("causation", "ce-causationid"),
    ("correlation", "ce-correlationid"),
    ("traceparent", "ce-traceparent"),
];

/// A message that is not an event of ours as [`Published::headers`] writes them.
#[derive(Debug, Error)]
#[error("a message is not an event: {0}")]
pub struct NotAnEvent(String);

/// The event that a message carries.
pub fn read(headers: Option<&HeaderMap>, payload: &[u8]) -> Result<RecordedEvent, NotAnEvent> {
    let header = |name: &'static str| {
        let value = headers.and_then(|headers| headers.get(name)).map(|value| value.as_str().to_owned());
        value.ok_or_else(|| NotAnEvent(format!("it has no header `{name}`")))
    };
    let number = |name| -> Result<Position, NotAnEvent> { header(name)?.parse().map_err(|_| malformed(name)) };
    let uuid = |name| Uuid::parse_str(&header(name)?).map_err(|_| malformed(name));
    let time =
        Timestamp::from(chrono::DateTime::parse_from_rfc3339(&header("ce-time")?).map_err(|_| malformed("ce-time"))?);
    Ok(RecordedEvent {
        position: number("ce-position")?,
        commit_position: number("ce-commitposition")?,
        event_id: uuid("ce-id")?,
        aggregate_type: header("ce-aggregatetype")?,
        aggregate_id: StreamId(uuid("ce-subject")?),
        sequence: number("ce-sequence")?,
        event_type: header("ce-eventtype")?,
        event_version: header("ce-dataversion")?,
        payload: std::str::from_utf8(payload).map_err(|_| NotAnEvent("its body is no text".to_owned()))?.to_owned(),
        recorded_at: time,
        act: match (header("ce-actor"), header("ce-capacity")) {
            (Ok(actor), Ok(capacity)) => Some(Json(Act { actor, capacity })),
            _ => None,
        },
    })
}

fn malformed(name: &str) -> NotAnEvent {
    NotAnEvent(format!("its header `{name}` is malformed"))
}
