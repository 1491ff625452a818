//! States of aggregates in memory, of any type, each with its version.

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use domain::Aggregate;
use futures::future::BoxFuture;
use lru::LruCache;
use uuid::Uuid;

use eventstore::event::RecordedEvent;
use eventstore::streams::{self, LoadError, Loaded, Steps};

/// Names a stream.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct StreamKey {
    /// [`Aggregate::TYPE`].
    pub(crate) aggregate_type: &'static str,
    /// Which one.
    pub(crate) id: Uuid,
}

impl StreamKey {
    pub(crate) fn of<A: Aggregate>(id: A::Id) -> Self {
        Self { aggregate_type: A::TYPE, id: id.into() }
    }
}

/// The state of an aggregate of any type.
pub(crate) trait AnyState: Any + Send + Sync {
    fn cloned(&self) -> Arc<dyn AnyState>;
    fn evolve_json(&mut self, payload: &str) -> Result<(), serde_json::Error>;
    fn to_json(&self) -> Result<String, serde_json::Error>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<A: Aggregate> AnyState for A {
    fn cloned(&self) -> Arc<dyn AnyState> {
        Arc::new(self.clone())
    }

    fn evolve_json(&mut self, payload: &str) -> Result<(), serde_json::Error> {
        self.evolve(&serde_json::from_str(payload)?);
        Ok(())
    }

    fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// A state and the number of events in it. Shared until it is changed.
#[derive(Clone)]
pub(crate) struct Entry {
    state: Arc<dyn AnyState>,
    pub(crate) version: u64,
    /// The last of them that is known; nil before any is.
    pub(crate) last_event: Uuid,
    /// The version of its last snapshot; 0 if there is none.
    pub(crate) in_snapshot: u64,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<state at version {}>", self.version)
    }
}

impl Entry {
    pub(crate) fn new<A: Aggregate>(state: A, version: u64) -> Self {
        Self { state: Arc::new(state), version, last_event: Uuid::nil(), in_snapshot: 0 }
    }

    /// The state as JSON.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        self.state.to_json()
    }

    /// The state, if it is one of `A`, as its [`StreamKey`] promises.
    pub(crate) fn state<A: Aggregate>(&self) -> Option<&A> {
        self.state.as_any().downcast_ref()
    }

    /// The state to change; copied first if somebody else can see it.
    pub(crate) fn state_mut<A: Aggregate>(&mut self) -> Option<&mut A> {
        self.unshared()?.as_any_mut().downcast_mut()
    }

    /// Takes in an event that was read from the log. Events that it has already are passed over; after a gap or an
    /// unreadable event the entry is good for nothing, which `false` says.
    pub(crate) fn catch_up(&mut self, event: &RecordedEvent) -> bool {
        let sequence = event.sequence.unsigned_abs();
        if sequence <= self.version {
            return true;
        }
        let next = sequence == self.version + 1;
        let evolved = next && self.unshared().is_some_and(|state| state.evolve_json(&event.payload).is_ok());
        (self.version, self.last_event) = (sequence, event.event_id);
        evolved
    }

    fn unshared(&mut self) -> Option<&mut dyn AnyState> {
        if Arc::get_mut(&mut self.state).is_none() {
            self.state = self.state.cloned();
        }
        Arc::get_mut(&mut self.state)
    }
}

/// Reads the state of one stream from the log.
pub(crate) type Load = for<'a> fn(&'a dyn Steps, Uuid) -> BoxFuture<'a, Result<Entry, LoadError>>;

/// The [`Load`] of one type.
pub(crate) fn load<A: Aggregate>(steps: &dyn Steps, id: Uuid) -> BoxFuture<'_, Result<Entry, LoadError>> {
    Box::pin(async move {
        let Loaded { state, version, in_snapshot, last_event } = streams::load::<A>(steps, id).await?;
        Ok(Entry { state: Arc::new(state), version, last_event, in_snapshot })
    })
}

/// The states that were used last.
pub(crate) type Cache = LruCache<StreamKey, Entry>;

pub(crate) fn cache(aggregates: usize) -> Cache {
    LruCache::new(NonZeroUsize::new(aggregates).unwrap_or(NonZeroUsize::MIN))
}

#[cfg(test)]
mod tests {
    use domain::wallet::Wallet;
    use domain::{AccountId, Currency, DepositId, Money, Timestamp, WalletId, wallet};
    use eventstore::event::NewEvent;
    use eventstore::mint;

    use super::*;

    /// An event of a wallet, the first of which opens it.
    fn event(sequence: u64, payload: &str) -> RecordedEvent {
        let id = WalletId(mint::id());
        let event = NewEvent {
            event_id: mint::id(),
            aggregate_type: Wallet::TYPE,
            aggregate_id: id.into(),
            sequence,
            event_type: "DepositRequested",
            event_version: "1.0",
            payload: payload.to_owned(),
            metadata: "{}".to_owned(),
            recorded_at: Timestamp::UNIX_EPOCH,
        };
        RecordedEvent::committed(event, 1, 1)
    }

    #[test]
    fn an_entry_takes_in_the_next_event_and_tells_when_it_has_missed_one() {
        let (owner, amount) = (AccountId(mint::id()), Money::new(1, Currency::USD).unwrap());
        let source = wallet::PaymentMethod { provider: String::new(), token: String::new() };
        let command = wallet::Command::RequestDeposit { deposit: DepositId(mint::id()), owner, amount, source };
        let opening = Wallet::default().decide(command).unwrap();
        let payload = serde_json::to_string(&opening[0]).unwrap();
        let mut entry = Entry::new(Wallet::default(), 0);
        let first = event(1, &payload);
        assert!(entry.catch_up(&first));
        assert_eq!((entry.version, entry.last_event), (1, first.event_id));
        assert!(matches!(entry.state::<Wallet>(), Some(Wallet::Open(_))));
        // What it has already changes nothing, whatever it says.
        assert!(entry.catch_up(&event(1, "no JSON")));
        assert_eq!((entry.version, entry.last_event), (1, first.event_id));
        assert!(!entry.clone().catch_up(&event(3, &payload)), "the second is missing");
        assert!(!entry.clone().catch_up(&event(2, "no JSON")));
        assert!(entry.catch_up(&event(2, &payload)));
    }
}
