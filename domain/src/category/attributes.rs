//! What the listings of a category say of themselves, each of its kind.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Error;

/// The longest value that is a text, in characters.
pub const LONGEST_VALUE: usize = 200;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 32;

/// Names an attribute within its category: 1 to 32 of `a-z`, `0-9` and `_`. Small and without a heap, since refusals
/// carry it.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AttributeName {
    /// Followed by zeros, so that names compare as their texts do.
    bytes: [u8; LONGEST_NAME],
}

impl AttributeName {
    /// The name as a text.
    pub fn as_str(&self) -> &str {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(LONGEST_NAME);
        // Only ASCII gets in.
        std::str::from_utf8(&self.bytes[..end]).unwrap_or_default()
    }
}

impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The text cannot name an attribute.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an attribute's name is 1 to 32 of a-z, 0-9 and `_`")]
pub struct MalformedAttributeName;

impl FromStr for AttributeName {
    type Err = MalformedAttributeName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if !(1..=LONGEST_NAME).contains(&text.len()) || !text.bytes().all(fits) {
            return Err(MalformedAttributeName);
        }
        let mut bytes = [0; LONGEST_NAME];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self { bytes })
    }
}

impl Serialize for AttributeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for AttributeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for AttributeName {
    fn schema_name() -> Cow<'static, str> {
        "AttributeName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z0-9_]{1,32}$" })
    }
}

/// Something that the listings of a category say of themselves. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Attribute {
    /// Names it within the category.
    pub name: AttributeName,
    /// What people call it.
    pub label: String,
    /// What its values are.
    pub kind: AttributeKind,
    /// What whole numbers count, such as `mm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Whether every listing has it.
    pub required: bool,
    /// Whether a search offers to filter by it.
    pub filterable: bool,
}

/// What the values of an attribute are. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum AttributeKind {
    /// Any words.
    Text,
    /// Whole numbers.
    Integer,
    /// Yes or no.
    Boolean,
    /// One of some words.
    Choice {
        /// The words.
        options: Vec<String>,
    },
}

/// What a listing says under an attribute's name. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
pub enum AttributeValue {
    /// Yes or no.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Words.
    Text(String),
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// What a listing says of itself.
pub type Attributes = BTreeMap<AttributeName, AttributeValue>;

/// Whether a listing may say this of itself in a category with these attributes.
pub fn check(attributes: &Attributes, defined: &[Attribute]) -> Result<(), Error> {
    for (&attribute, value) in attributes {
        let known = defined.iter().find(|known| known.name == attribute);
        check_value(attribute, value, &known.ok_or(Error::UnknownAttribute { attribute })?.kind)?;
    }
    let missing = defined.iter().find(|known| known.required && !attributes.contains_key(&known.name));
    missing.map_or(Ok(()), |known| Err(Error::AttributeMissing { attribute: known.name }))
}

fn check_value(attribute: AttributeName, value: &AttributeValue, kind: &AttributeKind) -> Result<(), Error> {
    let wrong = |expected| Err(Error::WrongKind { attribute, expected });
    match (kind, value) {
        (AttributeKind::Text, AttributeValue::Text(text)) if text.chars().count() <= LONGEST_VALUE => Ok(()),
        (AttributeKind::Text, _) => wrong("a text of at most 200 characters"),
        (AttributeKind::Integer, AttributeValue::Integer(_)) | (AttributeKind::Boolean, AttributeValue::Boolean(_)) => {
            Ok(())
        }
        (AttributeKind::Integer, _) => wrong("a whole number"),
        (AttributeKind::Boolean, _) => wrong("true or false"),
        (AttributeKind::Choice { options }, AttributeValue::Text(text)) if options.contains(text) => Ok(()),
        (AttributeKind::Choice { options }, _) => Err(Error::NotAnOption { attribute, options: options.len() }),
    }
}

/// Whether a category may have these attributes.
pub(super) fn check_defined(attributes: &[Attribute]) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for Attribute { name, kind, .. } in attributes {
        let attribute = *name;
        if !names.insert(attribute) {
            return Err(Error::AttributeRepeated { attribute });
        }
        if let AttributeKind::Choice { options } = kind
            && (options.is_empty() || options.iter().collect::<BTreeSet<_>>().len() < options.len())
        {
            return Err(Error::OptionsWrong { attribute });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> AttributeName {
        text.parse().unwrap()
    }

    fn attribute(text: &str, kind: AttributeKind, required: bool) -> Attribute {
        Attribute { name: name(text), label: text.to_owned(), kind, unit: None, required, filterable: false }
    }

    #[test]
    fn a_name_is_its_text() {
        for text in ["a", "case_mm", "x".repeat(32).as_str()] {
            assert_eq!(name(text).to_string(), text);
            assert_eq!(serde_json::to_value(name(text)).unwrap(), text);
        }
        for text in ["", "A", "a-b", "ä", "a\0", "x".repeat(33).as_str()] {
            assert_eq!(text.parse::<AttributeName>(), Err(MalformedAttributeName), "{text:?}");
        }
        assert!(name("a") < name("ab") && name("ab") < name("b"));
    }

    #[test]
    fn a_value_is_of_its_attributes_kind() {
        let colours = || AttributeKind::Choice { options: vec!["red".to_owned(), "blue".to_owned()] };
        let defined = [
            attribute("text", AttributeKind::Text, false),
            attribute("size", AttributeKind::Integer, false),
            attribute("new", AttributeKind::Boolean, false),
            attribute("colour", colours(), false),
        ];
        let text = |text: &str| AttributeValue::Text(text.to_owned());
        let (yes, five) = (AttributeValue::Boolean(true), AttributeValue::Integer(5));
        let said = |attribute: &str, value: &AttributeValue| {
            check(&Attributes::from([(name(attribute), value.clone())]), &defined)
        };
        for (attribute, value) in [("text", &text("x")), ("size", &five), ("new", &yes), ("colour", &text("red"))] {
            assert_eq!(said(attribute, value), Ok(()));
        }
        for (attribute, values) in [
            ("text", [five.clone(), text(&"x".repeat(201))]),
            ("size", [text("5"), yes.clone()]),
            ("new", [text("true"), five.clone()]),
        ] {
            for value in values {
                assert!(matches!(said(attribute, &value), Err(Error::WrongKind { .. })), "{attribute} {value:?}");
            }
        }
        let refused = Err(Error::NotAnOption { attribute: name("colour"), options: 2 });
        assert_eq!(said("colour", &text("green")), refused);
        assert_eq!(said("colour", &yes), refused);
        assert_eq!(said("other", &yes), Err(Error::UnknownAttribute { attribute: name("other") }));
    }

    #[test]
    fn what_is_required_must_be_said() {
        let defined = [attribute("year", AttributeKind::Integer, true)];
        let missing = Error::AttributeMissing { attribute: name("year") };
        assert_eq!(check(&Attributes::new(), &defined), Err(missing));
        assert_eq!(check(&Attributes::from([(name("year"), AttributeValue::Integer(1989))]), &defined), Ok(()));
    }
}
