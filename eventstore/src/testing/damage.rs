//! What somebody may have done to a text, or to JSON, on its way: fuzz targets draw the changes, and this carries them out.

use serde_json::{Map, Value, json};

/// One change: where, what is done there, and with what. Any numbers make one.
pub type Change = (u16, u8, u16);

/// What parsers stumble over.
const WORDS: [&str; 24] = [
    "\0",
    "\n",
    "\n\n",
    "\r\n",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    ".",
    "+",
    "-",
    "_",
    " ",
    "\u{2014} ",
    "é",
    "null",
    "0",
    "-1",
    "99999999999999999999",
];

/// So many of them that there is something left to be read: at most three.
pub fn few(changes: &[Change]) -> &[Change] {
    &changes[..changes.len() % 4]
}

/// The text with these changes. What comes of it need not be UTF-8.
pub fn of_bytes(text: &[u8], changes: &[Change]) -> Vec<u8> {
    changes.iter().fold(text.to_vec(), |mut bytes, &(at, how, what)| {
        let at = usize::from(at) % (bytes.len() + 1);
        let end = (at + 1 + usize::from(what) % 16).min(bytes.len());
        let [_, byte] = what.to_be_bytes();
        match how % 7 {
            0 => bytes.insert(at, byte),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            3 => bytes.truncate(at),
            4 => drop(bytes.splice(at..at, WORDS[usize::from(what) % WORDS.len()].bytes())),
            5 => bytes.get_mut(at).into_iter().for_each(|old| *old = byte),
            _ => bytes.get_mut(at).into_iter().for_each(|old| *old ^= 1 << (byte % 8)),
        }
        bytes
    })
}

/// The same of what is text again.
pub fn of_text(text: &str, changes: &[Change]) -> String {
    String::from_utf8_lossy(&of_bytes(text.as_bytes(), changes)).into_owned()
}

/// The value with these changes: values replaced, entries taken out, added and renamed.
pub fn of_json(value: &Value, changes: &[Change]) -> Value {
    let mut value = value.clone();
    for &(at, how, what) in changes {
        let mut steps = usize::from(at) % nodes(&value);
        let Some(node) = nth(&mut value, &mut steps) else { continue };
        let what = usize::from(what);
        match (how % 5, node) {
            (1, Value::Object(fields)) => drop(name(fields, what).and_then(|name| fields.remove(&name))),
            (1, Value::Array(items)) if !items.is_empty() => drop(items.remove(what % items.len())),
            (2, Value::Object(fields)) => drop(fields.insert(format!("x{}", what % 3), odd(what))),
            (2, Value::Array(items)) => items.push(odd(what)),
            (3, Value::Object(fields)) => {
                if let Some((name, value)) = name(fields, what).and_then(|name| fields.remove_entry(&name)) {
                    fields.insert(format!("{name}s"), value);
                }
            }
            (3, Value::Array(items)) if !items.is_empty() => items.push(items[what % items.len()].clone()),
            (4, Value::String(text)) => *text = of_text(text, &[(at, how, u16::try_from(what).unwrap_or_default())]),
            (4, Value::Number(number)) if what % 4 > 0 => {
                let was = number.as_i64().unwrap_or_default();
                *number = [0, was.wrapping_neg(), was.wrapping_add(1)][what % 3].into();
            }
            (4, node) => *node = json!([node.take()]),
            (_, node) => *node = odd(what),
        }
    }
    value
}

/// How many values there are in it, itself included.
fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// The value so many steps into it.
fn nth<'v>(value: &'v mut Value, steps: &mut usize) -> Option<&'v mut Value> {
    if *steps == 0 {
        return Some(value);
    }
    *steps -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, steps)),
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, steps)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn name(fields: &Map<String, Value>, number: usize) -> Option<String> {
    fields.keys().nth(number % fields.len().max(1)).cloned()
}

/// A value that is at the edge of what may be there, or beyond.
fn odd(number: usize) -> Value {
    const LIMIT: i64 = 1 << 53;
    let odd = [
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(LIMIT - 1),
        json!(LIMIT),
        json!(-LIMIT),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("\0"),
        json!("x".repeat(300)),
        json!("USD"),
        json!("XAU"),
        json!("00000000-0000-0000-0000-000000000000"),
        json!("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        json!("0001-01-01T00:00:00Z"),
        json!("-262143-01-01T00:00:00Z"),
        json!("+262142-12-31T23:59:59.999999999Z"),
        json!("2026-11-22T23:59:60Z"),
        json!([]),
        json!({}),
        json!([[[[[[[[]]]]]]]]),
        json!({ "amount": LIMIT - 1, "currency": "USD" }),
        json!({ "amount": 1 - LIMIT, "currency": "KWD" }),
    ];
    odd[number % odd.len()].clone()
}
