//! cqrs-es and postgres-es over our aggregates and our tables.
//!
//! [`Cqrs`] gives any pure aggregate of the domain the shape that cqrs-es asks for; nothing else knows that crate.
//! Streams are loaded through postgres-es's repository from the `events` table, which is a superset of its own. The
//! plain pair of the two crates, with its stock tables, is the baseline of `tradepost bench write`.

use std::fmt;

use cqrs_es::DomainEvent;
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError};
use domain::{Aggregate, Event};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// An aggregate of the domain, as cqrs-es knows aggregates.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(bound = "")]
pub struct Cqrs<A: Aggregate>(pub A);

/// An event of the domain, as cqrs-es knows events.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent, bound = "")]
pub struct CqrsEvent<E: Event>(pub E);

/// A refusal of the domain, as cqrs-es knows errors.
#[derive(Clone, Copy, Debug, Error)]
#[error(transparent)]
pub struct CqrsRefusal(pub domain::Refusal);

impl<E: Event> DomainEvent for CqrsEvent<E> {
    fn event_type(&self) -> String {
        self.0.event_type().to_owned()
    }

    fn event_version(&self) -> String {
        self.0.event_version().to_owned()
    }
}

impl<A: Aggregate> cqrs_es::Aggregate for Cqrs<A> {
    const TYPE: &'static str = A::TYPE;
    type Command = A::Command;
    type Event = CqrsEvent<A::Event>;
    type Error = CqrsRefusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        (): &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.0.decide(command).map_err(|refusal| CqrsRefusal(refusal.into()))? {
            sink.write(CqrsEvent(event), self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.0.evolve(&event.0);
    }
}

/// Why a stream could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The database could not be read.
    #[error("the stream could not be read: {0}")]
    Unreachable(#[from] PersistenceError),
    /// An event of the stream cannot be read, or one is missing.
    #[error("event {sequence} of the stream cannot be read: {reason}")]
    Unreadable {
        /// Its place in the stream.
        sequence: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads whole streams.
pub struct Streams {
    repository: PostgresEventRepository,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streams")
    }
}

impl Streams {
    /// The streams of the log that `pool` reaches.
    pub fn new(pool: sqlx::PgPool) -> Self {
        Self { repository: PostgresEventRepository::new(pool) }
    }

    /// The state of one stream and the number of its events.
    pub async fn load<A: Aggregate>(&self, id: Uuid) -> Result<(A, u64), LoadError> {
        let events = self.repository.get_events::<Cqrs<A>>(&id.to_string()).await?;
        let mut state = A::default();
        let mut version = 0;
        for event in events {
            let unreadable = |reason| LoadError::Unreadable { sequence: event.sequence, reason };
            version += 1;
            if event.sequence as u64 != version {
                return Err(unreadable(format!("event {version} is missing before it")));
            }
            let event: A::Event =
                serde_json::from_value(event.payload).map_err(|error| unreadable(error.to_string()))?;
            state.evolve(&event);
        }
        Ok((state, version))
    }
}
