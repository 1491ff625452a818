//! What a seller says of a listing beyond its texts: attributes by the category's names, and discounts.

use chrono::{DateTime, Utc};
use domain::Money;
use domain::category::{AttributeValue, Attributes, LONGEST_VALUE, MOST_ATTRIBUTES};
use domain::listing::{Discount, Off};
use garde::Validate;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{KnownFormat, OneOfBuilder, SchemaFormat};
use utoipa::openapi::{Object, ObjectBuilder, RefOr, Schema, Type};

use crate::http::fields::is_near;
use crate::http::openapi::MoneyBody;
use crate::http::problem::Problem;

/// What fits the name of an attribute.
const ATTRIBUTE_NAME: &str = "^[a-z0-9_]{1,32}$";
/// The largest whole number that every reader of JSON keeps exact.
const LARGEST: i64 = 9_007_199_254_740_991;

/// Documents what a listing says of itself.
pub(in crate::http::routes) fn attributes_schema() -> Object {
    let of = |kind| ObjectBuilder::new().schema_type(kind);
    let number = of(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    let number = number.minimum(Some(-LARGEST)).maximum(Some(LARGEST));
    let value =
        OneOfBuilder::new().item(of(Type::Boolean)).item(number).item(of(Type::String).max_length(Some(LONGEST_VALUE)));
    let name = of(Type::String).pattern(Some(ATTRIBUTE_NAME));
    of(Type::Object)
        .additional_properties(Some(RefOr::T(Schema::from(value))))
        .property_names(Some(Schema::from(name)))
        .max_properties(Some(MOST_ATTRIBUTES))
        .examples([json!({ "year": 1989, "movement": "quartz" })])
        .description(Some("What it says of itself, under the names that its category has given and in their kinds."))
        .build()
}

/// Whether a listing may say this of itself, whatever its category.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is garde's")]
pub(in crate::http::routes) fn are_attributes(attributes: &Attributes, (): &()) -> garde::Result {
    if attributes.len() > MOST_ATTRIBUTES {
        return Err(garde::Error::new(format!("must be at most {MOST_ATTRIBUTES} attributes")));
    }
    let fits = |value: &AttributeValue| match value {
        AttributeValue::Boolean(_) => true,
        AttributeValue::Integer(value) => (-LARGEST..=LARGEST).contains(value),
        AttributeValue::Text(value) => value.chars().count() <= LONGEST_VALUE,
    };
    let wrong = attributes.iter().find(|(_, value)| !fits(value));
    wrong.map_or(Ok(()), |(name, _)| {
        let rule = format!("`{name}` must be at most {LONGEST_VALUE} characters, or a number below 2^53");
        Err(garde::Error::new(rule))
    })
}

/// What is asked less for it: either a `price`, or so many `bps` (hundredths of a per cent) less. Without either: no
/// discount.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema, Validate)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct DiscountBody {
    /// What each form costs, unless it is cheaper already.
    #[schema(value_type = Option<MoneyBody>)]
    price: Option<Money>,
    /// By how much each form is cheaper, in basis points.
    #[garde(range(min = 1, max = 9_999))]
    #[schema(example = 2_500, minimum = 1, maximum = 9_999)]
    bps: Option<u32>,
    /// From when on; at once unless told.
    #[garde(inner(custom(is_near)))]
    #[schema(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    from: Option<DateTime<Utc>>,
    /// Until when; until it is taken back unless told.
    #[garde(inner(custom(is_near)))]
    #[schema(pattern = "^(19[7-9][0-9]|2[0-9]{3})-")]
    until: Option<DateTime<Utc>>,
}

impl DiscountBody {
    /// The discount, if it is one.
    pub(super) fn discount(self) -> Result<Option<Discount>, Problem> {
        let Self { price, bps, from, until } = self;
        let off = match (price, bps) {
            (Some(price), None) => Off::Price(price),
            (None, Some(bps)) => Off::Bps(bps),
            (None, None) if from.is_none() && until.is_none() => return Ok(None),
            (None, None) | (Some(_), Some(_)) => {
                let detail = "give either `price` or `bps`, or nothing for no discount";
                return Err(Problem::invalid_field("/discount", "either-or", detail));
            }
        };
        Ok(Some(Discount { off, from, until }))
    }
}
