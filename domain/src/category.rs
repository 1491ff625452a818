//! A category of goods: its place in the tree, and the attributes that its listings have.
//!
//! `Absent → Open → Closed`, and what is closed may be defined anew. Its slug is its name for ever. A listing may name a
//! category that nobody has defined: such a category has no attributes and is never closed. What a category says counts
//! for everything below it as well: attributes, a fee, and that it is closed. Invariants: names of attributes are
//! unique within a category; a choice has options. Where each may be in the tree is the [`crate::category_tree`]'s
//! business.

mod attributes;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, CategoryId};
use crate::money::FULL_BPS;

pub use attributes::{
    Attribute, AttributeKind, AttributeName, AttributeValue, Attributes, LONGEST_VALUE, MalformedAttributeName, check,
};

/// The most attributes of one category.
pub const MOST_ATTRIBUTES: usize = 50;

/// What is asked of a category.
#[derive(Clone, Debug)]
pub enum Command {
    /// Open it, or open it anew.
    Define {
        /// What it is.
        definition: Definition,
        /// Who of the staff asks.
        by: AccountId,
    },
    /// Make it something else.
    Revise {
        /// What it is from now on.
        definition: Definition,
        /// Who of the staff asks.
        by: AccountId,
    },
    /// Take no more listings.
    Close {
        /// Who of the staff asks.
        by: AccountId,
    },
}

/// What a category is. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What listings and addresses call it.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// The slug of the category that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its place among its neighbours, lowest first.
    pub sort_order: i32,
    /// What its listings say of themselves.
    pub attributes: Vec<Attribute>,
    /// The marketplace's share of a sale, if it is another than usual, in basis points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_bps: Option<u32>,
}

/// What happens to a category. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// It takes listings.
    CategoryDefined {
        /// What it is.
        definition: Definition,
        /// Who of the staff has asked.
        by: AccountId,
    },
    /// It is something else.
    CategoryRevised {
        /// What it is from now on.
        definition: Definition,
        /// Who of the staff has asked.
        by: AccountId,
    },
    /// It takes no more listings; those that it has stay.
    CategoryClosed {
        /// Who of the staff has asked.
        by: AccountId,
    },
}

event_versions!(Event {
    CategoryDefined = "1",
    CategoryRevised = "1",
    CategoryClosed = "1",
});

/// Why a category refuses, or a listing's attributes are not those of its category.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such category.
    #[error("there is no such category")]
    NotFound,
    /// One slug, one category.
    #[error("the category exists already")]
    AlreadyDefined,
    /// It takes no more listings.
    #[error("the category is closed")]
    Closed,
    /// It cannot be a part of something that is not there.
    #[error("there is no open category of the parent's slug")]
    NoSuchParent,
    /// A share is part of a whole.
    #[error("a fee is at most {maximum} basis points; {offered} were offered")]
    FeeOutOfRange {
        /// All of it.
        maximum: u32,
        /// What was asked.
        offered: u32,
    },
    /// Each attribute has a name of its own.
    #[error("the attribute `{attribute}` is there twice")]
    AttributeRepeated {
        /// Which.
        attribute: AttributeName,
    },
    /// A choice is between options, and only a choice is.
    #[error("the attribute `{attribute}` must have options, all of them different, if it is a choice")]
    OptionsWrong {
        /// Which.
        attribute: AttributeName,
    },
    /// The category knows no such attribute.
    #[error("the category has no attribute `{attribute}`")]
    UnknownAttribute {
        /// Which.
        attribute: AttributeName,
    },
    /// The value is of another kind.
    #[error("the attribute `{attribute}` must be {expected}")]
    WrongKind {
        /// Which.
        attribute: AttributeName,
        /// Of which kind it is.
        expected: &'static str,
    },
    /// The value is none of the options.
    #[error("the attribute `{attribute}` must be one of its {options} options")]
    NotAnOption {
        /// Which.
        attribute: AttributeName,
        /// How many there are.
        options: usize,
    },
    /// The category wants to know.
    #[error("the category needs the attribute `{attribute}`")]
    AttributeMissing {
        /// Which.
        attribute: AttributeName,
    },
}

/// A category.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Category {
    /// Never defined: a slug and nothing else.
    #[default]
    Absent,
    /// Takes listings.
    Open(Definition),
    /// Takes no more listings.
    Closed(Definition),
}

impl Category {
    /// What it is, if it was ever defined.
    pub fn definition(&self) -> Result<&Definition, Error> {
        match self {
            Self::Absent => Err(Error::NotFound),
            Self::Open(definition) | Self::Closed(definition) => Ok(definition),
        }
    }
}

impl Aggregate for Category {
    const TYPE: &'static str = "category";
    type Id = CategoryId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Absent | Self::Closed(_), Command::Define { definition, by }) => {
                check_definition(&definition)?;
                Ok(vec![Event::CategoryDefined { definition, by }])
            }
            (Self::Open(_), Command::Define { .. }) => Err(Error::AlreadyDefined),
            (Self::Absent, Command::Revise { .. } | Command::Close { .. }) => Err(Error::NotFound),
            (Self::Open(known), Command::Revise { definition, by }) => {
                check_definition(&definition)?;
                let nothing = *known == definition;
                Ok(if nothing { vec![] } else { vec![Event::CategoryRevised { definition, by }] })
            }
            (Self::Closed(_), Command::Revise { .. }) => Err(Error::Closed),
            (Self::Open(_), Command::Close { by }) => Ok(vec![Event::CategoryClosed { by }]),
            (Self::Closed(_), Command::Close { .. }) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        *self = match (std::mem::take(self), event) {
            (_, Event::CategoryDefined { definition, .. })
            | (Self::Open(_), Event::CategoryRevised { definition, .. }) => Self::Open(definition.clone()),
            (Self::Open(definition), Event::CategoryClosed { .. }) => Self::Closed(definition),
            // No decision leads here; a fold never fails.
            (state, Event::CategoryRevised { .. } | Event::CategoryClosed { .. }) => state,
        };
    }
}

fn check_definition(definition: &Definition) -> Result<(), Error> {
    if let Some(offered) = definition.fee_bps.filter(|offered| *offered > FULL_BPS) {
        return Err(Error::FeeOutOfRange { maximum: FULL_BPS, offered });
    }
    attributes::check_defined(&definition.attributes)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const STAFF: AccountId = AccountId(Uuid::from_u128(1));

    fn attribute(name: &str, kind: AttributeKind) -> Attribute {
        let name = name.parse().unwrap();
        Attribute { name, label: "Label".to_owned(), kind, unit: None, required: false, filterable: true }
    }

    fn watches() -> Definition {
        Definition {
            slug: "watches".to_owned(),
            name: "Watches".to_owned(),
            parent: None,
            sort_order: 1,
            attributes: vec![attribute("year", AttributeKind::Integer)],
            fee_bps: Some(300),
        }
    }

    fn define(definition: Definition) -> Command {
        Command::Define { definition, by: STAFF }
    }

    fn defined() -> Event {
        Event::CategoryDefined { definition: watches(), by: STAFF }
    }

    #[test]
    fn a_slug_is_defined_once_until_it_is_closed() {
        given::<Category>([]).when(define(watches())).then([defined()]);
        given::<Category>([defined()]).when(define(watches())).then_refused(Error::AlreadyDefined);
        let closed = Event::CategoryClosed { by: STAFF };
        given::<Category>([defined(), closed.clone()]).when(define(watches())).then([defined()]);
        given::<Category>([defined()]).when(Command::Close { by: STAFF }).then([closed.clone()]);
        given::<Category>([defined(), closed]).when(Command::Close { by: STAFF }).then_nothing();
    }

    #[test]
    fn what_stays_as_it_is_is_not_revised() {
        let revise = |definition| Command::Revise { definition, by: STAFF };
        given::<Category>([defined()]).when(revise(watches())).then_nothing();
        let dearer = Definition { fee_bps: None, ..watches() };
        let revised = Event::CategoryRevised { definition: dearer.clone(), by: STAFF };
        given::<Category>([defined()]).when(revise(dearer.clone())).then([revised]);
        given::<Category>([]).when(revise(dearer.clone())).then_refused(Error::NotFound);
        let closed = Event::CategoryClosed { by: STAFF };
        given::<Category>([defined(), closed]).when(revise(dearer)).then_refused(Error::Closed);
    }

    #[test]
    fn a_definition_must_make_sense() {
        let refused = |definition, error| given::<Category>([]).when(define(definition)).then_refused(error);
        let dear = Definition { fee_bps: Some(10_001), ..watches() };
        refused(dear, Error::FeeOutOfRange { maximum: 10_000, offered: 10_001 });
        let name: AttributeName = "a".parse().unwrap();
        let with = |attributes| Definition { attributes, ..watches() };
        let twice = vec![attribute("a", AttributeKind::Text), attribute("a", AttributeKind::Boolean)];
        refused(with(twice), Error::AttributeRepeated { attribute: name });
        for options in [vec![], vec!["x".to_owned(), "x".to_owned()]] {
            let choice = vec![attribute("a", AttributeKind::Choice { options })];
            refused(with(choice), Error::OptionsWrong { attribute: name });
        }
    }
}
