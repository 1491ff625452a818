//! Lists: a page of items and an opaque cursor to the next.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use projections::page::PageError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::problem::Problem;

/// How many items a page has unless told.
pub(super) const DEFAULT_LIMIT: u32 = 20;
/// How many it may have.
pub(super) const LIMITS: RangeInclusive<u32> = 1..=100;

/// Well within what Postgres can hold, and beyond what any row holds.
const STORABLE_YEARS: RangeInclusive<i32> = 1..=9_999;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; none on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The page that a read model gives, as the API shows it.
    pub fn of<R, C: Serialize>(
        page: projections::Page<R, C>,
        item: impl FnMut(R) -> Result<T, Problem>,
    ) -> Result<Self, Problem> {
        let next_cursor = page.next.as_ref().map(encode);
        Ok(Self { items: page.items.into_iter().map(item).collect::<Result<_, _>>()?, next_cursor })
    }
}

impl From<PageError> for Problem {
    fn from(error: PageError) -> Self {
        match error {
            PageError::CursorOfAnotherSort => {
                Self::invalid_field("?cursor", "invalid", "must be a next_cursor of this list in this order")
            }
            PageError::Sql(error) => error.into(),
        }
    }
}

/// How many items a page has.
pub fn page_limit(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !LIMITS.contains(&limit) {
        let detail = format!("must be {} to {}", LIMITS.start(), LIMITS.end());
        return Err(Problem::invalid_field("?limit", "out-of-range", detail));
    }
    Ok(limit)
}

/// A cursor that a client has given back.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<C>(pub C);

impl<'de, C: DeserializeOwned> Deserialize<'de> for Cursor<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        let value = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let cursor = value.filter(is_storable).and_then(|value| serde_json::from_value(value).ok());
        cursor.map(Self).ok_or_else(|| serde::de::Error::custom("must be a next_cursor of this list"))
    }
}

/// Whether Postgres can hold everything in a cursor. A forged one may name a year that only we can read, or have U+0000.
fn is_storable(cursor: &Value) -> bool {
    match cursor {
        Value::Object(fields) => fields.values().all(is_storable),
        Value::Array(items) => items.iter().all(is_storable),
        Value::String(text) => {
            let time = text.parse::<DateTime<Utc>>();
            !text.contains('\0') && time.map_or(true, |time| STORABLE_YEARS.contains(&time.year()))
        }
        _ => true,
    }
}

fn encode(cursor: &impl Serialize) -> String {
    // Cursors are plain structs, which always serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}
