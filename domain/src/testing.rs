//! `given` what has happened, `when` a command arrives, `then` these events or this refusal.

use std::fmt::Debug;

use crate::aggregate::Aggregate;

/// An aggregate with a history.
pub(crate) struct Given<A>(A);

/// What came of a command.
pub(crate) struct When<A: Aggregate>(Result<Vec<A::Event>, A::Error>);

/// An aggregate to which `events` have happened.
pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.evolve(&event);
    }
    Given(state)
}

impl<A: Aggregate> Given<A> {
    /// Carries out a command that must be accepted, as part of the history.
    #[track_caller]
    pub(crate) fn and(mut self, command: A::Command) -> Self {
        for event in self.0.decide(command).unwrap() {
            self.0.evolve(&event);
        }
        self
    }

    pub(crate) fn when(self, command: A::Command) -> When<A> {
        When(self.0.decide(command))
    }

    pub(crate) fn state(&self) -> &A {
        &self.0
    }
}

impl<A: Aggregate> When<A> {
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = A::Event>) {
        assert_eq!(self.0.unwrap(), expected.into_iter().collect::<Vec<_>>());
    }

    #[track_caller]
    pub(crate) fn then_nothing(self) {
        self.then([]);
    }

    #[track_caller]
    pub(crate) fn then_refused(self, expected: A::Error)
    where
        A::Error: PartialEq + Debug,
    {
        assert_eq!(self.0, Err(expected));
    }
}
