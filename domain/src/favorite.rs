//! A listing that somebody wants to find again.
//!
//! `Absent ⇄ There`, a stream for each account and listing, so that nothing of it touches the listing. Invariant: it counts
//! once, however often it is said.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, FavoriteId, ListingId};

/// What is asked of a favourite.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// Remember the listing.
    Add {
        /// Who wants to find it again.
        account: AccountId,
        /// What.
        listing: ListingId,
    },
    /// Forget it.
    Remove {
        /// Who wanted to find it again.
        account: AccountId,
        /// What.
        listing: ListingId,
    },
}

/// What happens to a favourite. This is the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It is remembered.
    FavoriteAdded {
        /// By whom.
        account: AccountId,
        /// What.
        listing: ListingId,
    },
    /// It is forgotten.
    FavoriteRemoved {
        /// By whom.
        account: AccountId,
        /// What.
        listing: ListingId,
    },
}

event_versions!(Event { FavoriteAdded = "1", FavoriteRemoved = "1" });

/// A favourite refuses nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {}

/// A favourite.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Favorite {
    /// Not remembered.
    #[default]
    Absent,
    /// Remembered.
    There,
}

impl Aggregate for Favorite {
    const TYPE: &'static str = "favorite";
    type Id = FavoriteId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        Ok(match (self, command) {
            (Self::Absent, Command::Add { account, listing }) => vec![Event::FavoriteAdded { account, listing }],
            (Self::There, Command::Remove { account, listing }) => vec![Event::FavoriteRemoved { account, listing }],
            (Self::There, Command::Add { .. }) | (Self::Absent, Command::Remove { .. }) => vec![],
        })
    }

    fn evolve(&mut self, event: &Event) {
        *self = match event {
            Event::FavoriteAdded { .. } => Self::There,
            Event::FavoriteRemoved { .. } => Self::Absent,
        };
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    #[test]
    fn a_favourite_counts_once_until_it_is_none() {
        let (account, listing) = (AccountId(Uuid::from_u128(1)), ListingId(Uuid::from_u128(2)));
        let (add, remove) = (Command::Add { account, listing }, Command::Remove { account, listing });
        let added = Event::FavoriteAdded { account, listing };
        given::<Favorite>([]).when(add).then([added]);
        given::<Favorite>([added]).when(add).then_nothing();
        given::<Favorite>([]).when(remove).then_nothing();
        given::<Favorite>([added]).when(remove).then([Event::FavoriteRemoved { account, listing }]);
        given::<Favorite>([added]).and(remove).when(add).then([added]);
    }
}
