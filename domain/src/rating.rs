//! How good something was: one to five stars.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One to five stars. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Rating(u8);

/// There are no so many stars.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a rating is {} to {} stars", Rating::FEWEST, Rating::MOST)]
pub struct NotARating;

impl Rating {
    /// The fewest stars.
    pub const FEWEST: u8 = 1;
    /// The most stars.
    pub const MOST: u8 = 5;

    /// How many stars it is.
    pub fn stars(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Rating {
    type Error = NotARating;

    fn try_from(stars: u8) -> Result<Self, NotARating> {
        if (Self::FEWEST..=Self::MOST).contains(&stars) { Ok(Self(stars)) } else { Err(NotARating) }
    }
}

impl From<Rating> for u8 {
    fn from(rating: Rating) -> Self {
        rating.0
    }
}

impl JsonSchema for Rating {
    fn schema_name() -> Cow<'static, str> {
        "Rating".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": Self::FEWEST, "maximum": Self::MOST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_is_one_to_five_stars() {
        for stars in 0..=u8::MAX {
            let read = serde_json::from_str::<Rating>(&stars.to_string()).ok();
            assert_eq!(read, Rating::try_from(stars).ok());
            assert_eq!(read.map(Rating::stars), (1..=5).contains(&stars).then_some(stars));
        }
        for other in ["4.5", "\"5\"", "-1", "null", "256"] {
            assert!(serde_json::from_str::<Rating>(other).is_err(), "{other}");
        }
    }
}
