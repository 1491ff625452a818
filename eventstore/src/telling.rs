//! Who is told what of the events of a batch: the same for everybody who tells.
//!
//! The fold is the domain's ([`domain::notice`]); here is which thing an event belongs to. Whoever follows the log with it
//! keeps the contexts in a table of its own: it loads those that a batch touches, lets the batch pass, and writes them
//! back.

use std::collections::BTreeMap;

use domain::Aggregate;
use domain::notice::{Context, Told};
use uuid::Uuid;

use crate::event::DomainEvent;

/// The kinds of aggregates whose events tell something to somebody.
pub const TELLING: &[&str] = &[
    domain::account::Account::TYPE,
    domain::auction::Auction::TYPE,
    domain::broadcast::Broadcast::TYPE,
    domain::chat::Chat::TYPE,
    domain::escrow::Escrow::TYPE,
    domain::inbox::Inbox::TYPE,
    domain::listing::Listing::TYPE,
    domain::order::Order::TYPE,
    domain::payee::Payee::TYPE,
    domain::subscription::Subscription::TYPE,
    domain::wallet::Wallet::TYPE,
];

/// The contexts of the things that a batch is about.
#[derive(Clone, Debug, Default)]
pub struct Contexts(pub BTreeMap<Uuid, Context>);

/// Of which thing the context has to be known to say whom an event concerns; none for an event that concerns nobody.
pub fn about(event: &DomainEvent) -> Option<Uuid> {
    match event {
        DomainEvent::Account(id, _) => Some(id.0),
        DomainEvent::Auction(id, _) => Some(id.0),
        DomainEvent::Chat(id, _) => Some(id.0),
        DomainEvent::Escrow(id, _) | DomainEvent::Order(id, _) => Some(id.0),
        DomainEvent::Listing(id, _) => Some(id.0),
        DomainEvent::Wallet(id, _) => Some(id.0),
        _ => None,
    }
}

impl Contexts {
    /// Takes an event in, and says who is told what of it.
    pub fn take(&mut self, event: &DomainEvent) -> Vec<Told> {
        if let DomainEvent::Broadcast(id, event) = event {
            return Context::of_broadcast(*id, event);
        }
        if let DomainEvent::Payee(owner, event) = event {
            return Context::of_payee(*owner, event);
        }
        if let DomainEvent::Subscription(owner, event) = event {
            return Context::of_subscription(*owner, event);
        }
        let Some(thing) = about(event) else { return vec![] };
        let context = self.0.entry(thing).or_default();
        match event {
            DomainEvent::Account(id, event) => context.take_account(*id, event),
            DomainEvent::Auction(id, event) => context.take_auction(*id, event),
            DomainEvent::Chat(id, event) => context.take_chat(*id, event),
            DomainEvent::Escrow(id, event) => context.take_escrow(*id, event),
            DomainEvent::Listing(id, event) => context.take_listing(*id, event),
            DomainEvent::Order(id, event) => context.take_order(*id, event),
            DomainEvent::Wallet(_, event) => context.take_wallet(event),
            _ => vec![],
        }
    }

    /// The rows to write: those of which something is known.
    pub fn known(&self) -> impl Iterator<Item = (&Uuid, &Context)> {
        self.0.iter().filter(|(_, context)| **context != Context::Nothing)
    }

    /// The rows to delete: those of which nothing is known.
    pub fn unknown(&self) -> Vec<Uuid> {
        self.0.iter().filter(|(_, context)| **context == Context::Nothing).map(|(id, _)| *id).collect()
    }
}
