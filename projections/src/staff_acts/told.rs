//! What the log tells of acts: why, and what was before and after.
//!
//! A state is that of the aggregate itself, folded by the rules of today; what is told of it is what an act has changed.
//! Sealed fields are never opened for it, texts are cut, and of what only counts or proves something, such as wallets and
//! claims, nothing is told but that it happened.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Aggregate, Sealed, claim, points, session, stock, wallet};
use eventstore::Position;
use eventstore::sealing::{self, PersonKeys};
use eventstore::streams::{self, Turn};
use eventstore::wrapping::{KeyError, Wrapping};
use serde_json::{Map, Value, json};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::Step;
use crate::differences::{differences, is_sealed};

/// Of these it is told alone that something happened to them: what money does is in the books, pieces and points follow
/// from orders, and what proves something concerns nobody.
const UNTOLD: [&str; 5] =
    [claim::Claim::TYPE, points::Points::TYPE, session::Session::TYPE, stock::Stock::TYPE, wallet::Wallet::TYPE];
/// A state after more events than this is not folded for a list: a page of acts reads each stream that it is about.
const LONGEST_STREAM: i64 = 500;
/// The longest text of a state that is told, in characters.
const LONGEST_TEXT: usize = 200;
/// The most items of a list in it, and levels below one another.
const MOST_ITEMS: usize = 20;
const MOST_LEVELS: u32 = 5;
/// What stands for a sealed field.
const SEALED: &str = "(sealed)";
/// What somebody has typed who acts is found under these names, wherever it is in an event.
const REASONS: [&str; 3] = ["reason", "note", "comment"];

/// What the log tells of an act.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Why. Nothing if nobody has said so, or whose words they were is forgotten.
    pub reason: Option<String>,
    /// The request that it was.
    pub request: Option<String>,
    /// What it happened to, in order.
    pub changes: Vec<Change>,
}

/// What an act has changed of one thing.
#[derive(Clone, Debug)]
pub struct Change {
    /// Its kind.
    pub aggregate_type: String,
    /// The thing.
    pub aggregate_id: Uuid,
    /// What happened to it.
    pub events: Vec<String>,
    /// What was so before, of what is not any more. Empty if nothing was, or it is not told.
    pub before: Value,
    /// What is so since.
    pub after: Value,
}

/// An event as far as it says why.
#[derive(FromRow)]
struct Said {
    position: Position,
    payload: String,
    reason: Option<String>,
    correlation: Option<String>,
}

/// Reads in the log what there is to tell of acts, each of which is its steps.
pub async fn tell(
    connection: &mut PgConnection,
    wrapping: &Wrapping,
    acts: &[Vec<Step>],
) -> Result<Vec<Told>, KeyError> {
    let positions: Vec<Position> = acts.iter().flatten().map(|step| step.position).collect();
    let said: Vec<Said> = sqlx::query_as(
        "select position, payload::text as payload, metadata ->> 'reason' as reason,
            metadata ->> 'correlation' as correlation
         from public.events where position = any($1)",
    )
    .bind(&positions)
    .fetch_all(&mut *connection)
    .await?;
    let texts = said.iter().flat_map(|said| [Some(&said.payload), said.reason.as_ref()]).flatten();
    let people: BTreeSet<_> = texts.flat_map(|text| sealing::people_in(text)).collect();
    let people = PersonKeys::load(&mut *connection, wrapping, &people).await?;
    let said: BTreeMap<Position, Said> = said.into_iter().map(|said| (said.position, said)).collect();
    let turns = turns(connection, acts).await?;
    let told = acts.iter().map(|steps| {
        let said: Vec<&Said> = steps.iter().filter_map(|step| said.get(&step.position)).collect();
        Told {
            reason: reason(&said, &people),
            request: said.iter().find_map(|said| said.correlation.clone()),
            changes: changes(steps, &turns),
        }
    });
    Ok(told.collect())
}

/// The states before and after each change, by what it happened to and its last event.
type Turns = BTreeMap<(String, Uuid, i64), (Value, Value)>;

async fn turns(connection: &mut PgConnection, acts: &[Vec<Step>]) -> Result<Turns, sqlx::Error> {
    let wanted: Vec<Turn> = acts.iter().flat_map(|steps| stretches(steps)).filter(is_told).collect();
    let states = streams::turns(connection, &wanted).await?;
    let key = |turn: &Turn| (turn.aggregate_type.clone(), turn.aggregate_id, turn.last);
    Ok(wanted.iter().zip(states).filter_map(|(turn, states)| Some((key(turn), states?))).collect())
}

fn is_told(turn: &Turn) -> bool {
    !UNTOLD.contains(&&*turn.aggregate_type) && turn.last <= LONGEST_STREAM
}

/// What an act has happened to, each once and in order, and from which event to which.
fn stretches(steps: &[Step]) -> Vec<Turn> {
    let mut stretches: Vec<Turn> = Vec::new();
    for step in steps {
        let known = stretches
            .iter_mut()
            .find(|turn| turn.aggregate_type == step.aggregate_type && turn.aggregate_id == step.aggregate_id);
        match known {
            Some(turn) => turn.last = step.sequence,
            None => stretches.push(Turn {
                aggregate_type: step.aggregate_type.clone(),
                aggregate_id: step.aggregate_id,
                first: step.sequence,
                last: step.sequence,
            }),
        }
    }
    stretches
}

fn changes(steps: &[Step], turns: &Turns) -> Vec<Change> {
    let change = |Turn { aggregate_type, aggregate_id, last, .. }: Turn| {
        let of = |step: &&Step| step.aggregate_type == aggregate_type && step.aggregate_id == aggregate_id;
        let events = steps.iter().filter(of).map(|step| step.event_type.clone()).collect();
        let key = (aggregate_type, aggregate_id, last);
        let states = turns.get(&key);
        let untold = || (json!({}), json!({}));
        let (before, after) = states.map_or_else(untold, |(before, after)| cut(before, after));
        let (aggregate_type, aggregate_id, _) = key;
        Change { aggregate_type, aggregate_id, events, before, after }
    };
    stretches(steps).into_iter().map(change).collect()
}

/// What an act says of why it is done: in its events, or beside them.
fn reason(said: &[&Said], people: &PersonKeys) -> Option<String> {
    let mut payloads = said.iter().filter_map(|said| serde_json::from_str::<Value>(&said.payload).ok());
    let within = payloads.find_map(|payload| REASONS.iter().find_map(|name| words(&payload, name, people)));
    within.or_else(|| {
        let beside = said.iter().find_map(|said| said.reason.as_ref())?;
        people.open(&serde_json::from_str::<Sealed<String>>(beside).ok()?)
    })
}

/// The first text of this name in an event, opened if it is sealed.
fn words(value: &Value, name: &str, people: &PersonKeys) -> Option<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get(name).and_then(|field| match field {
                Value::String(text) => Some(text.clone()),
                sealed => people.open(&serde_json::from_value::<Sealed<String>>(sealed.clone()).ok()?),
            });
            own.or_else(|| fields.values().find_map(|field| words(field, name, people)))
        }
        Value::Array(items) => items.iter().find_map(|item| words(item, name, people)),
        _ => None,
    }
}

/// What is told of two states: what the second has otherwise, as it was and as it is, cut.
fn cut(before: &Value, after: &Value) -> (Value, Value) {
    let (was, is) = differences(before, after);
    (small(&was, MOST_LEVELS), small(&is, MOST_LEVELS))
}

/// A value with nothing sealed, nothing empty, and nothing long in it.
fn small(value: &Value, levels: u32) -> Value {
    match value {
        Value::Object(fields) if is_sealed(fields) => SEALED.into(),
        Value::Object(_) | Value::Array(_) if levels == 0 => "…".into(),
        Value::Object(fields) => {
            let told = fields.iter().filter(|(_, field)| !field.is_null()).take(MOST_ITEMS);
            told.map(|(name, field)| (name.clone(), small(field, levels - 1))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().take(MOST_ITEMS).map(|item| small(item, levels - 1)).collect(),
        Value::String(text) if text.chars().count() > LONGEST_TEXT => {
            format!("{}…", text.chars().take(LONGEST_TEXT).collect::<String>()).into()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_has_changed() {
        let offer =
            |featured, title: &str| json!({ "featured": featured, "details": { "title": title, "brand": null } });
        let before = json!({ "Active": offer(false, "Watch") });
        let told = cut(&before, &json!({ "Active": offer(true, "Watch") }));
        assert_eq!(told, (json!({ "featured": false }), json!({ "featured": true })));
        let told = cut(&before, &json!({ "Removed": offer(false, "Watch") }));
        assert_eq!(told, (json!({ "state": "Active" }), json!({ "state": "Removed" })));
        let told = cut(&before, &json!({ "Active": offer(false, "Clock") }));
        assert_eq!(told, (json!({ "details": { "title": "Watch" } }), json!({ "details": { "title": "Clock" } })));
        let told = cut(&json!("Unwritten"), &json!({ "Written": { "title": "Terms" } }));
        assert_eq!(told, (json!({ "state": "Unwritten" }), json!({ "state": "Written", "title": "Terms" })));
    }

    #[test]
    fn what_went_with_a_state_is_no_change_of_its_own() {
        let live = json!({ "Live": { "leader": "secret", "maximum": 5_000 } });
        let told = cut(&live, &json!({ "Cancelled": { "by": "staff" } }));
        assert_eq!(told, (json!({ "state": "Live" }), json!({ "state": "Cancelled", "by": "staff" })));
    }

    #[test]
    fn what_was_taken_away_is_told() {
        let plan = |fields: Value| json!({ "Defined": { "definition": fields } });
        let told = cut(&plan(json!({ "name": "Gold", "fee_bps": 100 })), &plan(json!({ "name": "Gold" })));
        assert_eq!(told, (json!({ "definition": { "fee_bps": 100 } }), json!({})));
    }

    #[test]
    fn nothing_sealed_and_nothing_long_is_told() {
        let sealed = |text| json!({ "of": Uuid::nil(), "sealed": text });
        let (before, after) = (json!({ "name": sealed("a") }), json!({ "name": sealed("b"), "body": "x".repeat(500) }));
        let (was, is) = cut(&before, &after);
        assert_eq!((&was["name"], &is["name"]), (&json!(SEALED), &json!(SEALED)));
        assert_eq!(is["body"].as_str().unwrap().chars().count(), LONGEST_TEXT + 1);
    }

    #[test]
    fn a_reason_is_found_wherever_it_is() {
        let none = PersonKeys::default();
        for payload in [
            json!({ "ListingRemoved": { "by": 1, "reason": "why" } }),
            json!({ "StoreVerified": { "ruling": { "by": 1, "reason": "why" } } }),
            json!({ "OrderCancelled": { "cause": { "staff": { "reason": "why" } } } }),
        ] {
            assert_eq!(words(&payload, "reason", &none).as_deref(), Some("why"), "{payload}");
        }
        let forgotten = json!({ "x": { "reason": { "of": Uuid::nil(), "sealed": "AQ" } } });
        assert_eq!(words(&forgotten, "reason", &none), None);
    }
}
