//! The world as a command sees it: every aggregate, with what this batch has already changed, and a unit of work of its
//! own on top.

use std::collections::HashMap;

use domain::account::Capability;
use domain::money::MoneyError;
use domain::{AccountId, Aggregate, Event, Refusal, Timestamp};
use eventstore::event::{self, NewEvent};
use eventstore::mint;
use eventstore::wrapping::StoredKey;

use super::cache::{Cache, Entry, Load, StreamKey, load};

/// Why a function over the world stops before its end.
#[derive(Debug)]
pub enum Halt {
    /// A rule refuses.
    Refused(Refusal),
    /// An aggregate is not in memory. It is loaded, and the function runs again.
    Missing(Missing),
}

/// Names an aggregate that has to be loaded first.
#[derive(Debug)]
pub struct Missing {
    pub(crate) key: StreamKey,
    pub(crate) load: Load,
}

impl Halt {
    /// The same, but whoever is refused is told something else: that what they may not see is not there. What is only
    /// not in memory is still loaded.
    #[must_use]
    pub fn hidden_as(self, refusal: impl RuleError) -> Self {
        match self {
            Self::Refused(_) => Self::Refused(refusal.into()),
            missing @ Self::Missing(_) => missing,
        }
    }
}

impl<R> From<R> for Halt
where
    R: RuleError,
{
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

/// The errors that a rule may refuse with.
pub trait RuleError: Into<Refusal> {}

impl RuleError for Refusal {}
impl RuleError for MoneyError {}

macro_rules! rule_errors {
    ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
        $(impl RuleError for domain::$module::Error {})+
    };
}

domain::every_aggregate!(rule_errors);

/// The states of aggregates that a batch, or a unit of work in it, has changed.
pub(crate) type Layer = HashMap<StreamKey, Entry>;

/// The world, and what one command changes in it.
#[derive(Debug)]
pub struct World<'a> {
    now: Timestamp,
    metadata: &'a str,
    /// What the actor needs a capability for, if it is no business of their own.
    capacity: Option<Capability>,
    cache: &'a mut Cache,
    /// What its own batch has changed, and below it what the batch that is being committed has.
    batches: [&'a Layer; 2],
    changes: Changes,
}

/// What a command has changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) states: Layer,
    pub(crate) events: Vec<NewEvent>,
    pub(crate) people: Vec<StoredKey>,
    pub(crate) forgotten: Vec<AccountId>,
    /// How many states were found in memory.
    pub(crate) found: u64,
}

impl<'a> World<'a> {
    pub(crate) fn new(now: Timestamp, metadata: &'a str, cache: &'a mut Cache, batches: [&'a Layer; 2]) -> Self {
        Self { now, metadata, capacity: None, cache, batches, changes: Changes::default() }
    }

    /// What was changed. Whatever was done in a capacity says so, from its first event on.
    pub(crate) fn into_changes(self) -> Changes {
        let Self { metadata, capacity, mut changes, .. } = self;
        if let Some(capacity) = capacity {
            let metadata = event::in_capacity(metadata, capacity);
            changes.events.iter_mut().for_each(|event| event.metadata.clone_from(&metadata));
        }
        changes
    }

    /// How many events the command has caused so far.
    #[cfg(test)]
    pub(crate) fn decided(&self) -> usize {
        self.changes.events.len()
    }

    /// Says that the actor does this because of a capability of theirs and not for themselves, as staff do: every event
    /// of the unit of work tells of it, for the record of what staff have done. The highest capability counts.
    pub(crate) fn act_as(&mut self, capability: Capability) {
        self.capacity = self.capacity.max(Some(capability));
    }

    /// The time of the decision: never before the last event of the log.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// An aggregate as it is now.
    pub fn get<A: Aggregate>(&mut self, id: A::Id) -> Result<&A, Halt> {
        let entry = self.entry::<A>(id)?;
        // The key carries the type, so the state has it.
        entry.state().ok_or_else(|| missing::<A>(id))
    }

    /// How many events have made an aggregate what it is.
    pub fn version<A: Aggregate>(&mut self, id: A::Id) -> Result<u64, Halt> {
        Ok(self.entry::<A>(id)?.version)
    }

    /// Refuses unless the aggregate is at the version that the caller has seen.
    pub fn expect_version<A: Aggregate>(&mut self, id: A::Id, expected: Option<u64>) -> Result<(), Halt> {
        let actual = self.version::<A>(id)?;
        match expected {
            Some(expected) if expected != actual => Err(Refusal::VersionMismatch { expected, actual }.into()),
            _ => Ok(()),
        }
    }

    /// Says that no stream of this name can exist, because its id was minted for this command: it need not be loaded.
    pub fn fresh<A: Aggregate>(&mut self, id: A::Id) {
        self.changes.states.entry(StreamKey::of::<A>(id)).or_insert_with(|| Entry::new(A::default(), 0));
    }

    /// Lets an aggregate decide, and takes its events into this unit of work.
    pub fn execute<A: Aggregate>(&mut self, id: A::Id, command: A::Command) -> Result<Vec<A::Event>, Halt> {
        let key = StreamKey::of::<A>(id);
        let mut entry = self.entry::<A>(id)?.clone();
        let state = entry.state::<A>().ok_or_else(|| missing::<A>(id))?;
        let events = state.decide(command).map_err(|error| Halt::Refused(error.into()))?;
        if events.is_empty() {
            return Ok(events);
        }
        // Dropped first, so that a state which only this unit of work can see is changed in place.
        self.changes.states.remove(&key);
        for event in &events {
            if let Some(state) = entry.state_mut::<A>() {
                state.evolve(event);
            }
            entry.version += 1;
            entry.last_event = mint::id();
            self.changes.events.push(NewEvent {
                event_id: entry.last_event,
                aggregate_type: A::TYPE,
                aggregate_id: key.id,
                sequence: entry.version,
                event_type: event.event_type(),
                event_version: event.event_version(),
                // Events are plain data with string keys, which always serialise.
                payload: serde_json::to_string(event).unwrap_or_default(),
                metadata: self.metadata.to_owned(),
                recorded_at: self.now,
            });
        }
        self.changes.states.insert(key, entry);
        Ok(events)
    }

    /// Commits the key of somebody new together with this unit of work.
    pub fn introduce(&mut self, person: StoredKey) {
        self.changes.people.push(person);
    }

    /// Deletes the key of somebody together with this unit of work: nobody can read what was sealed with it any more.
    pub fn forget(&mut self, person: AccountId) {
        self.changes.forgotten.push(person);
    }

    fn entry<A: Aggregate>(&mut self, id: A::Id) -> Result<&Entry, Halt> {
        let key = StreamKey::of::<A>(id);
        let mut layers = std::iter::once(&self.changes.states).chain(self.batches);
        let changed = layers.find_map(|layer| layer.get(&key));
        let entry = changed.or_else(|| self.cache.get(&key)).ok_or_else(|| missing::<A>(id))?;
        self.changes.found += 1;
        Ok(entry)
    }
}

fn missing<A: Aggregate>(id: A::Id) -> Halt {
    Halt::Missing(Missing { key: StreamKey::of::<A>(id), load: load::<A> })
}
