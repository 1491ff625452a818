//! What has changed between two states of an aggregate.
//!
//! States are compared as JSON, and a state that is another variant than before differs by its name (`state`) and by what
//! came with it; what went with the variant before is no change of its own.

use serde_json::{Map, Value};

/// What the second of two states has otherwise, as it was and as it is.
pub fn differences(before: &Value, after: &Value) -> (Value, Value) {
    let (before, after) = (named(before), named(after));
    let (mut was, mut is) = (Map::new(), Map::new());
    differ(&before, &after, &mut was, &mut is);
    (Value::Object(was), Value::Object(is))
}

/// A state with the name of its variant among its fields.
fn named(state: &Value) -> Map<String, Value> {
    let whole = |fields: &Map<String, Value>| {
        let is_name = |name: &str| name.starts_with(|first: char| first.is_ascii_uppercase());
        let (name, content) = fields.iter().next().filter(|(name, _)| fields.len() == 1 && is_name(name))?;
        let mut named = match content {
            Value::Object(content) => content.clone(),
            Value::Null => Map::new(),
            content => Map::from_iter([("content".to_owned(), content.clone())]),
        };
        named.insert("state".to_owned(), Value::String(name.clone()));
        Some(named)
    };
    match state {
        Value::Object(fields) => whole(fields).unwrap_or_else(|| fields.clone()),
        Value::Null => Map::new(),
        name => Map::from_iter([("state".to_owned(), name.clone())]),
    }
}

/// What one variant has and the next has not went with it, and is no change of its own; what the same variant has not any
/// more was taken away.
fn differ(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    was: &mut Map<String, Value>,
    is: &mut Map<String, Value>,
) {
    for (name, now) in after {
        match (before.get(name), now) {
            (Some(then), now) if then == now => {}
            (Some(Value::Object(then)), Value::Object(now)) if !is_sealed(then) && !is_sealed(now) => {
                let (mut inner_was, mut inner_is) = (Map::new(), Map::new());
                differ(then, now, &mut inner_was, &mut inner_is);
                for (outer, inner) in [(&mut *was, inner_was), (&mut *is, inner_is)] {
                    if !inner.is_empty() {
                        outer.insert(name.clone(), Value::Object(inner));
                    }
                }
            }
            (then, now) => {
                was.extend(then.filter(|then| !then.is_null()).map(|then| (name.clone(), then.clone())));
                is.insert(name.clone(), now.clone());
            }
        }
    }
    if before.get("state") == after.get("state") {
        let gone = before.iter().filter(|(name, then)| !after.contains_key(*name) && !then.is_null());
        was.extend(gone.map(|(name, then)| (name.clone(), then.clone())));
    }
}

/// Whether this is a field that only a person's key opens.
pub(crate) fn is_sealed(fields: &Map<String, Value>) -> bool {
    fields.contains_key("sealed") && fields.contains_key("of")
}
