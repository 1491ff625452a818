//! Events on their way into the log and out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::account::Capability;
use domain::{AccountId, Aggregate, Event as _, Tell as _, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::FromRow;
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use crate::Position;

/// Who and what caused an event: a flat object of strings, as postgres-es reads it.
#[derive(Clone, Debug, Default)]
pub struct Metadata(BTreeMap<&'static str, String>);

impl Metadata {
    /// What an account does by a request.
    pub fn by_account(actor: AccountId) -> Self {
        Self::default().with("actor", format!("account:{actor}"))
    }

    /// What the marketplace does by itself, in the name of one of its processes.
    pub fn by_process(name: &str) -> Self {
        Self::default().with("actor", format!("process:{name}"))
    }

    /// What somebody does who has not logged in.
    pub fn anonymous() -> Self {
        Self::default().with("actor", "anonymous".to_owned())
    }

    /// What an operator does at the command line, in that capacity.
    pub fn by_operator() -> Self {
        Self::default().with("actor", "operator".to_owned()).with(CAPACITY, "operator".to_owned())
    }

    /// The same, done in the capacity that needs this capability: that it is no business of the actor's own.
    #[must_use]
    pub fn in_capacity(self, capability: Capability) -> Self {
        self.with(CAPACITY, capability.name().to_owned())
    }

    /// The same, with one more entry: `causation` (the event that led here), `correlation` (the request), `command_key`,
    /// `traceparent` (see [`crate::trace`]), `ip` (the network that the request came from, never the address), `agent`
    /// (the family of the program that sent it, never its own words), `capacity` ([`Act`]) and `reason` (why somebody of
    /// the staff does it, sealed with their key). An event is kept for ever, so whatever could identify a person does not
    /// belong here unless it is sealed.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.0.insert(name, value);
        self
    }

    /// The stored form.
    pub fn to_json(&self) -> String {
        serde_json::json!(self.0).to_string()
    }
}

/// The entry of the metadata that says in which capacity somebody has acted.
pub const CAPACITY: &str = "capacity";
/// The entry that says why, as a [`domain::Sealed`] text in JSON.
pub const REASON: &str = "reason";
/// How that is looked for in metadata as they are stored, without reading them. What a person has typed does not hold it,
/// since quotes within a text are escaped.
const ACT_MARK: &str = "\"capacity\":";

/// The same metadata, in their stored form, of an act in this capacity.
pub fn in_capacity(metadata: &str, capability: Capability) -> String {
    // What we have stored is an object of texts.
    let mut entries: BTreeMap<String, String> = serde_json::from_str(metadata).unwrap_or_default();
    entries.insert(CAPACITY.to_owned(), capability.name().to_owned());
    serde_json::json!(entries).to_string()
}

/// Who did something that was no business of their own, and in which capacity: as staff, as an administrator, or at the
/// command line. What is done without such a capacity has none in its metadata, as everything older than this has.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub struct Act {
    /// As [`Metadata::by_account`] and [`Metadata::by_operator`] write it.
    pub actor: String,
    /// The name of a capability, or `operator`.
    pub capacity: String,
}

impl Act {
    /// What metadata say of it in their stored form; nothing for what was done in no capacity.
    fn told_by(metadata: &str) -> Option<Json<Self>> {
        let act = metadata.contains(ACT_MARK).then(|| serde_json::from_str(metadata).ok());
        act.flatten().map(Json)
    }

    /// The account that acted; nothing for an operator.
    pub fn account(&self) -> Option<AccountId> {
        self.actor.strip_prefix("account:")?.parse().ok()
    }
}

/// An event that has been decided and waits to be appended. Serialised once, here.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Names the event for ever.
    pub event_id: Uuid,
    /// [`Aggregate::TYPE`].
    pub aggregate_type: &'static str,
    /// The stream.
    pub aggregate_id: Uuid,
    /// Its place in the stream, from 1.
    pub sequence: u64,
    /// [`domain::Event::event_type`].
    pub event_type: &'static str,
    /// [`domain::Event::event_version`].
    pub event_version: &'static str,
    /// The event as JSON.
    pub payload: String,
    /// [`Metadata::to_json`].
    pub metadata: String,
    /// When it was decided.
    pub recorded_at: Timestamp,
}

/// An event as the log has it.
#[derive(Clone, Debug, FromRow)]
pub struct RecordedEvent {
    /// Its place in the log.
    pub position: Position,
    /// The last position of the same unit of work.
    pub commit_position: Position,
    /// Its name.
    pub event_id: Uuid,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// The stream.
    #[sqlx(try_from = "String")]
    pub aggregate_id: StreamId,
    /// Its place in the stream, from 1.
    pub sequence: i64,
    /// What happened.
    pub event_type: String,
    /// In which version of its format.
    pub event_version: String,
    /// The event as JSON.
    pub payload: String,
    /// When it was decided.
    pub recorded_at: Timestamp,
    /// Who did it in a capacity of theirs, if they did.
    #[sqlx(default)]
    pub act: Option<Json<Act>>,
}

/// The id of a stream, stored as text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamId(pub Uuid);

impl TryFrom<String> for StreamId {
    type Error = uuid::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Uuid::parse_str(&text).map(Self)
    }
}

/// The event cannot be read: written by a newer node, or damaged.
#[derive(Debug, Error)]
#[error("event {position} ({aggregate_type} {event_type} v{event_version}) cannot be read: {reason}")]
pub struct UnreadableEvent {
    /// Where it is.
    pub position: Position,
    /// The kind of aggregate.
    pub aggregate_type: String,
    /// What happened.
    pub event_type: String,
    /// In which version of its format.
    pub event_version: String,
    /// What is wrong with it.
    pub reason: String,
}

macro_rules! domain_event {
    ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
        /// What happened, to whom.
        #[derive(Clone, Debug)]
        pub enum DomainEvent {
            $(
                #[doc = concat!("To one of [`domain::", stringify!($module), "`].")]
                $aggregate(domain::$id, domain::$module::Event),
            )+
        }

        impl DomainEvent {
            /// [`domain::Event::event_type`].
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$aggregate(_, event) => event.event_type(),)+
                }
            }

            /// What happened, in a sentence that whoever may know of it may read ([`domain::tell`]).
            pub fn tell(&self) -> String {
                match self {
                    $(Self::$aggregate(_, event) => event.tell(),)+
                }
            }

            /// The kind of aggregate that it has happened to, and the aggregate.
            pub fn subject(&self) -> (&'static str, Uuid) {
                match self {
                    $(Self::$aggregate(id, _) => (domain::$module::$aggregate::TYPE, id.0),)+
                }
            }

            fn decode(event: &RecordedEvent) -> Result<Self, UnreadableEvent> {
                let id = event.aggregate_id.0;
                Ok(match event.aggregate_type.as_str() {
                    $(domain::$module::$aggregate::TYPE => Self::$aggregate(domain::$id(id), event.parse()?),)+
                    _ => return Err(event.unreadable("no such aggregate type is known".to_owned())),
                })
            }
        }

        /// The static name of a stored aggregate type, if this binary knows it.
        pub fn known_type(aggregate_type: &str) -> Option<&'static str> {
            [$(domain::$module::$aggregate::TYPE),+].into_iter().find(|known| *known == aggregate_type)
        }
    };
}

domain::every_aggregate!(domain_event);

/// Which events somebody looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interest {
    /// All of them.
    Everything,
    /// Those of these kinds of aggregates.
    In(&'static [&'static str]),
    /// What is done in a capacity, whatever it happens to.
    Acts,
}

impl Interest {
    /// Whether all events of a kind of aggregate are among them.
    pub fn includes(self, aggregate_type: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::In(types) => types.contains(&aggregate_type),
            Self::Acts => false,
        }
    }

    /// Whether an event is among them.
    pub(crate) fn takes(self, event: &RecordedEvent) -> bool {
        match self {
            Self::Acts => event.act.is_some(),
            Self::Everything | Self::In(_) => self.includes(&event.aggregate_type),
        }
    }

    /// The kinds of aggregates, if not all.
    pub(crate) fn types(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Everything | Self::Acts => None,
            Self::In(types) => Some(types),
        }
    }
}

/// A part of the log, as far as somebody is interested in it. Ends with a unit of work.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// The events of interest, in order.
    pub events: Vec<Arc<RecordedEvent>>,
    /// The position of its last event, of interest or not.
    pub reaches: Position,
}

impl RecordedEvent {
    /// An event that was committed at `position`, in a unit of work that ends at `commit_position`.
    pub fn committed(event: NewEvent, position: Position, commit_position: Position) -> Self {
        Self {
            position,
            commit_position,
            event_id: event.event_id,
            aggregate_type: event.aggregate_type.to_owned(),
            aggregate_id: StreamId(event.aggregate_id),
            sequence: event.sequence.cast_signed(),
            event_type: event.event_type.to_owned(),
            event_version: event.event_version.to_owned(),
            payload: event.payload,
            recorded_at: event.recorded_at,
            act: Act::told_by(&event.metadata),
        }
    }

    /// What happened, in the terms of the domain.
    pub fn decode(&self) -> Result<DomainEvent, UnreadableEvent> {
        DomainEvent::decode(self)
    }

    fn parse<E: DeserializeOwned>(&self) -> Result<E, UnreadableEvent> {
        serde_json::from_str(&self.payload).map_err(|error| self.unreadable(error.to_string()))
    }

    fn unreadable(&self, reason: String) -> UnreadableEvent {
        UnreadableEvent {
            position: self.position,
            aggregate_type: self.aggregate_type.clone(),
            event_type: self.event_type.clone(),
            event_version: self.event_version.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_in_a_capacity_says_so_and_nothing_else_does() {
        let clerk = AccountId(Uuid::from_u128(7));
        let act = |metadata: Metadata| Act::told_by(&metadata.to_json()).map(|Json(act)| (act.account(), act.capacity));
        let plain = Metadata::by_account(clerk).with("command_key", "\"capacity\":\"staff\"".to_owned());
        assert_eq!(act(plain.clone()), None);
        assert_eq!(act(plain.clone().in_capacity(Capability::Staff)), Some((Some(clerk), "staff".to_owned())));
        assert_eq!(act(Metadata::by_operator()), Some((None, "operator".to_owned())));
        let raised = in_capacity(&plain.in_capacity(Capability::Staff).to_json(), Capability::Admin);
        assert_eq!(Act::told_by(&raised).map(|Json(act)| act.capacity), Some("admin".to_owned()));
        assert!(raised.contains("command_key"));
    }
}
