//! The marketplace once more, from its pure rules alone: the states as the log has made them, and drafts of what a
//! command would make of them.

use std::collections::HashMap;

use domain::{Aggregate, Refusal, Timestamp};
use eventstore::event::DomainEvent;
use uuid::Uuid;

/// An event as a decision gives it: to whom, and what, as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub(super) aggregate_type: &'static str,
    pub(super) id: Uuid,
    pub(super) payload: String,
}

/// All states of one type, and how many events have made each.
#[derive(Clone, Debug)]
pub(super) struct States<A>(HashMap<Uuid, (A, i64)>);

impl<A: Aggregate> States<A> {
    fn take(&mut self, id: impl Into<Uuid>, event: &A::Event) {
        let (state, version) = self.0.entry(id.into()).or_default();
        state.evolve(event);
        *version += 1;
    }
}

impl<A> Default for States<A> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// A type of aggregate that the replica has states of.
pub(super) trait Held: Aggregate {
    /// Its states.
    fn states(replica: &Replica) -> &States<Self>;
    /// Its states, to be changed.
    fn states_mut(replica: &mut Replica) -> &mut States<Self>;
}

macro_rules! replica {
    ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
        /// The states of all aggregates, as of some position.
        #[derive(Clone, Debug, Default)]
        pub(super) struct Replica {
            $($module: States<domain::$module::$aggregate>,)+
        }

        $(impl Held for domain::$module::$aggregate {
            fn states(replica: &Replica) -> &States<Self> {
                &replica.$module
            }

            fn states_mut(replica: &mut Replica) -> &mut States<Self> {
                &mut replica.$module
            }
        })+

        impl Replica {
            /// Takes an event in.
            pub(super) fn take(&mut self, event: &DomainEvent) {
                match event {
                    $(DomainEvent::$aggregate(id, event) => self.$module.take(*id, event),)+
                }
            }
        }
    };
}

domain::every_aggregate!(replica);

impl Replica {
    /// An aggregate as it is.
    pub(super) fn get<A: Held>(&self, id: impl Into<Uuid>) -> A {
        A::states(self).0.get(&id.into()).map(|(state, _)| state.clone()).unwrap_or_default()
    }

    /// What is about to be decided at `now` on top of this.
    pub(super) fn draft(&self, now: Timestamp) -> Draft<'_> {
        Draft { base: self, changed: Self::default(), steps: Vec::new(), now }
    }
}

/// A unit of work on top of a replica, which it leaves as it is.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    base: &'a Replica,
    changed: Replica,
    steps: Vec<Step>,
    now: Timestamp,
}

impl Draft<'_> {
    /// The time of the decision.
    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// What was decided so far.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What was decided.
    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// An aggregate as it is by now.
    pub(super) fn get<A: Held>(&self, id: impl Into<Uuid>) -> A {
        self.entry(id.into()).0
    }

    /// How many events have made an aggregate what it is by now.
    pub(super) fn version<A: Held>(&self, id: impl Into<Uuid>) -> i64 {
        self.entry::<A>(id.into()).1
    }

    /// Lets an aggregate decide, and takes its events in.
    pub(super) fn execute<A: Held>(
        &mut self,
        id: impl Into<Uuid>,
        command: A::Command,
    ) -> Result<Vec<A::Event>, Refusal> {
        let id = id.into();
        let entry = self.entry::<A>(id);
        let events = entry.0.decide(command).map_err(Into::into)?;
        A::states_mut(&mut self.changed).0.insert(id, entry);
        for event in &events {
            A::states_mut(&mut self.changed).take(id, event);
            let payload = serde_json::to_string(event).unwrap_or_default();
            self.steps.push(Step { aggregate_type: A::TYPE, id, payload });
        }
        Ok(events)
    }

    fn entry<A: Held>(&self, id: Uuid) -> (A, i64) {
        let known = A::states(&self.changed).0.get(&id).or_else(|| A::states(self.base).0.get(&id));
        known.cloned().unwrap_or_default()
    }
}
