//! Which category is a part of which: all categories, in one stream.
//!
//! It begins with the first category and never ends. A category comes into it in the commit that defines it and moves in
//! it in the commit that moves it, so whoever moves one knows what moves with it. What is closed keeps its place.
//! Invariants: no category is a part of itself, by however many others; and none is deeper than [`MOST_LEVELS`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::CategoryTreeId;

/// The most categories above one another.
pub const MOST_LEVELS: u32 = 8;

/// What is asked of the tree.
#[derive(Clone, Debug)]
pub enum Command {
    /// Put a category somewhere, and with it all that is below it.
    Place {
        /// Its slug.
        slug: String,
        /// The slug of the category that it is a part of; nothing at the top.
        parent: Option<String>,
    },
}

/// What happens to the tree. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// A category is somewhere, and with it all that is below it.
    CategoryPlaced {
        /// Its slug.
        slug: String,
        /// The slug of the category that it is a part of; nothing at the top.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
    },
}

event_versions!(Event { CategoryPlaced = "1" });

/// Why the tree refuses.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// Nothing is a part of itself.
    #[error("the category would be a part of itself")]
    Cycle,
    /// Trees have few levels.
    #[error("the category, or one below it, would be more than {deepest} levels deep")]
    TooDeep {
        /// How many levels there may be.
        deepest: u32,
    },
}

/// The tree.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct CategoryTree {
    /// Of each slug that of its parent.
    parents: BTreeMap<String, Option<String>>,
}

impl CategoryTree {
    /// A category, the one that it is a part of, and so on up to the top; of each how far up it is.
    fn upwards<'a>(&'a self, slug: &'a str) -> impl Iterator<Item = (u32, &'a str)> {
        let parent = |slug: &&str| self.parents.get(*slug)?.as_deref();
        // Bounded, whatever was folded.
        (0..=MOST_LEVELS).zip(std::iter::successors(Some(slug), parent))
    }

    /// How far below a category another one is; nothing if it is somewhere else.
    fn levels_below(&self, above: &str, slug: &str) -> Option<u32> {
        self.upwards(slug).find(|(_, other)| *other == above).map(|(levels, _)| levels)
    }

    fn check(&self, slug: &str, parent: Option<&str>) -> Result<(), Error> {
        let Some(parent) = parent else { return Ok(()) };
        if self.levels_below(slug, parent).is_some() {
            return Err(Error::Cycle);
        }
        let above = self.upwards(parent).map(|(levels, _)| levels + 1).max().unwrap_or(0);
        let below = self.parents.keys().filter_map(|other| self.levels_below(slug, other)).max().unwrap_or(0);
        if above + 1 + below > MOST_LEVELS { Err(Error::TooDeep { deepest: MOST_LEVELS }) } else { Ok(()) }
    }
}

impl Aggregate for CategoryTree {
    const TYPE: &'static str = "category_tree";
    type Id = CategoryTreeId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let Command::Place { slug, parent } = command;
        if self.parents.get(&slug) == Some(&parent) {
            return Ok(vec![]);
        }
        self.check(&slug, parent.as_deref())?;
        Ok(vec![Event::CategoryPlaced { slug, parent }])
    }

    fn evolve(&mut self, event: &Event) {
        let Event::CategoryPlaced { slug, parent } = event;
        self.parents.insert(slug.clone(), parent.clone());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Given, given};

    fn place(slug: &str, parent: Option<&str>) -> Command {
        Command::Place { slug: slug.to_owned(), parent: parent.map(str::to_owned) }
    }

    fn placed(slug: &str, parent: Option<&str>) -> Event {
        Event::CategoryPlaced { slug: slug.to_owned(), parent: parent.map(str::to_owned) }
    }

    /// As many categories as names, each a part of the one before.
    fn chain<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<Event> {
        let mut above = None;
        names.into_iter().map(|slug| placed(slug, above.replace(slug))).collect()
    }

    const TOO_DEEP: Error = Error::TooDeep { deepest: MOST_LEVELS };

    #[test]
    fn a_category_is_placed_where_it_is_not_yet() {
        given::<CategoryTree>([]).when(place("a", None)).then([placed("a", None)]);
        given::<CategoryTree>([placed("a", None)]).when(place("a", None)).then_nothing();
        let two = || given::<CategoryTree>(chain(["a", "b"]));
        two().when(place("b", Some("a"))).then_nothing();
        two().when(place("b", None)).then([placed("b", None)]);
    }

    #[test]
    fn nothing_is_a_part_of_itself() {
        given::<CategoryTree>([]).when(place("a", Some("a"))).then_refused(Error::Cycle);
        let three = || given::<CategoryTree>(chain(["a", "b", "c"]));
        for parent in ["a", "b", "c"] {
            three().when(place("a", Some(parent))).then_refused(Error::Cycle);
        }
        three().and(place("b", None)).when(place("a", Some("c"))).then([placed("a", Some("c"))]);
    }

    #[test]
    fn what_moves_takes_its_levels_with_it() {
        let deep = ["1", "2", "3", "4", "5", "6", "7", "8"];
        let both = || -> Given<CategoryTree> { given(chain(deep).into_iter().chain(chain(["a", "b", "c"]))) };
        both().when(place("x", Some("7"))).then([placed("x", Some("7"))]);
        both().when(place("x", Some("8"))).then_refused(TOO_DEEP);
        // Three levels below the fifth are eight, and below the sixth nine.
        both().when(place("a", Some("5"))).then([placed("a", Some("5"))]);
        both().when(place("a", Some("6"))).then_refused(TOO_DEEP);
        both().and(place("c", None)).when(place("a", Some("6"))).then([placed("a", Some("6"))]);
        both().and(place("d", Some("c"))).when(place("a", Some("5"))).then_refused(TOO_DEEP);
        // And what moves leaves room behind.
        both().and(place("8", None)).when(place("1", Some("a"))).then([placed("1", Some("a"))]);
        both().when(place("1", Some("a"))).then_refused(TOO_DEEP);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_every_category_is_within_the_levels(
            moves in prop::collection::vec((0_u8..14, prop::option::of(0_u8..14)), 0..120),
        ) {
            let mut tree = CategoryTree::default();
            for (slug, parent) in moves {
                let command = place(&slug.to_string(), parent.map(|parent| parent.to_string()).as_deref());
                for event in tree.decide(command).iter().flatten() {
                    tree.evolve(event);
                }
                for slug in tree.parents.keys() {
                    let mut levels = 1;
                    let mut at = slug;
                    while let Some(Some(above)) = tree.parents.get(at) {
                        (levels, at) = (levels + 1, above);
                        prop_assert!(levels <= MOST_LEVELS, "{slug}: {tree:?}");
                    }
                }
            }
        }
    }
}
