//! cqrs-es and postgres-es over our aggregates and our tables.
//!
//! [`Cqrs`] gives any pure aggregate of the domain the shape that cqrs-es asks for; nothing else knows that crate.
//! The `events` table is a superset of that of postgres-es, whose repository reads our streams from it; the plain pair of
//! the two crates, with its stock tables, is the baseline of `tradepost bench`.

use cqrs_es::DomainEvent;
use cqrs_es::event_sink::EventSink;
use domain::{Aggregate, Event};
use serde::{Deserialize, Serialize};
use thiserror::Error;

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
