//! What is taken out of what a reader is shown: of events as they are stored, and of states that are folded from them.
//!
//! Two rules need no list. A sealed field opens for whom it is about, and stands as `(sealed)` for everybody else. An
//! account that a party does not know, wherever its id is, has a name that means nothing elsewhere. What else is secret is
//! in the one table here ([`rule`]), by the name of its field, and stands as `(hidden)`.

use std::collections::BTreeSet;

use domain::{AccountId, Sealed};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Eyes, Lens};
use crate::differences::is_sealed;

/// What stands for a sealed field.
pub const SEALED: &str = "(sealed)";
/// What stands for what the reader is not to know.
pub const HIDDEN: &str = "(hidden)";
/// The length of an id as text.
const ID_LENGTH: usize = 36;

/// A value as a reader may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Redacted {
    /// The value.
    pub value: Value,
    /// What is not shown of it, as JSON pointers.
    pub hidden: Vec<String>,
}

/// Who is shown a field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Rule {
    /// Nobody: it opens doors.
    Nobody,
    /// Parties, and no auditor: it tells about a person, and was written before such things were sealed.
    Parties,
    /// Auditors, and no party: it is the marketplace's business, or that of one party alone.
    Auditors,
    /// Whoever it is of, whom the field of this name beside it names; auditors, once the auction is over.
    Bidder(&'static str),
    /// The same, and whoever sells.
    BidderAndSeller(&'static str),
    /// Auditors and whoever sells: it is between the seller and the marketplace.
    Seller,
    /// Whoever sells; auditors, once the auction is over.
    Reserve,
}

/// The table of secrets: by the kind of aggregate, the name of what a field is in, and its own.
fn rule(aggregate_type: &str, parent: &str, name: &str) -> Option<Rule> {
    Some(match (aggregate_type, parent, name) {
        // Hashes of passwords and tokens, and what a provider charges or pays whoever shows it.
        // What staff write of an account is for staff; the record of what they do shows it to them.
        (_, _, "password_hash" | "passwords" | "token_hash" | "token") | ("account", _, "reason") => Rule::Nobody,
        ("address_book", _, "province" | "city") | ("store", _, "reason") | ("order", _, "tracking") => Rule::Parties,
        // What the marketplace charges, and what the seller has or owes.
        ("escrow" | "order", _, "fee" | "fee_bps" | "fee_share" | "from_available" | "owed") => Rule::Seller,
        // The books, what the provider keeps, and who has sent the buyer here.
        ("escrow", _, "postings" | "commission")
        | ("charge", _, "postings" | "shares" | "fee")
        | ("commission" | "wallet", _, "fee")
        // How the marketplace itself was served is said to the marketplace.
        | ("feedback", _, "platform") => Rule::Auditors,
        ("auction", _, "maximum") => Rule::Bidder("bidder"),
        ("auction", _, "leader_maximum") => Rule::Bidder("leader"),
        // Of whom it is, the event does not say.
        ("auction", _, "runner_up_maximum") => Rule::Bidder(""),
        // An underbidder's highest bid.
        ("auction", "SecondChanceOffered" | "SecondChanceAccepted", "price") => Rule::BidderAndSeller("bidder"),
        ("auction" | "listing", _, "reserve_price") => Rule::Reserve,
        _ => return None,
    })
}

impl Lens<'_> {
    /// What the reader may see of an event or a state of a thing.
    pub fn redact(&self, aggregate_type: &str, id: Uuid, value: Value) -> Redacted {
        let mut walk = Walk { lens: self, aggregate_type, id, pointer: String::new(), hidden: Vec::new() };
        let value = walk.value(value, "");
        Redacted { value, hidden: walk.hidden }
    }

    fn shows(&self, rule: Rule, id: Uuid, holder: &Map<String, Value>) -> bool {
        let is_reader = |name: &str| {
            let of = holder.get(name).and_then(Value::as_str).and_then(|of| of.parse::<AccountId>().ok());
            of.is_some() && of == self.reader.account
        };
        let over = self.over.contains(&id);
        match (&self.reader.eyes, rule) {
            (_, Rule::Nobody) | (Eyes::Auditor, Rule::Parties) | (Eyes::Party { .. }, Rule::Auditors) => false,
            (Eyes::Party { .. }, Rule::Parties) | (Eyes::Auditor, Rule::Auditors | Rule::Seller) => true,
            (Eyes::Auditor, Rule::Bidder(of) | Rule::BidderAndSeller(of)) => over || is_reader(of),
            (Eyes::Auditor, Rule::Reserve) => over,
            (Eyes::Party { .. }, Rule::Bidder(of)) => is_reader(of),
            (Eyes::Party { sells, .. }, Rule::BidderAndSeller(of)) => *sells || is_reader(of),
            (Eyes::Party { sells, .. }, Rule::Seller | Rule::Reserve) => *sells,
        }
    }
}

/// A walk through a value.
struct Walk<'a> {
    lens: &'a Lens<'a>,
    aggregate_type: &'a str,
    id: Uuid,
    pointer: String,
    hidden: Vec<String>,
}

impl Walk<'_> {
    /// What is shown of a value that is in a field of this name.
    fn value(&mut self, value: Value, name: &str) -> Value {
        match value {
            Value::Object(fields) if is_sealed(&fields) => self.sealed(fields),
            Value::Object(fields) => {
                let mut shown = Map::new();
                for (field, inner) in &fields {
                    let length = self.pointer.len();
                    let as_shown = self.text(field);
                    self.pointer.push('/');
                    self.pointer.push_str(&as_shown.replace('~', "~0").replace('/', "~1"));
                    let rule = rule(self.aggregate_type, name, field);
                    let inner = match rule {
                        Some(rule) if !inner.is_null() && !self.lens.shows(rule, self.id, &fields) => self.hide(HIDDEN),
                        _ => self.value(inner.clone(), field),
                    };
                    shown.insert(as_shown, inner);
                    self.pointer.truncate(length);
                }
                Value::Object(shown)
            }
            Value::Array(items) => {
                let items = items.into_iter().enumerate().map(|(index, item)| {
                    let length = self.pointer.len();
                    self.pointer.push('/');
                    self.pointer.push_str(&index.to_string());
                    let item = self.value(item, name);
                    self.pointer.truncate(length);
                    item
                });
                Value::Array(items.collect())
            }
            Value::String(text) => Value::String(self.text(&text)),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
        }
    }

    fn sealed(&mut self, fields: Map<String, Value>) -> Value {
        let opened = serde_json::from_value::<Sealed<String>>(Value::Object(fields)).ok();
        let opened = opened.filter(|sealed| Some(sealed.of) == self.lens.reader.account);
        match opened.and_then(|sealed| self.lens.keys.open(&sealed)) {
            Some(text) => Value::String(text),
            None => self.hide(SEALED),
        }
    }

    fn hide(&mut self, by: &str) -> Value {
        self.hidden.push(self.pointer.clone());
        Value::String(by.to_owned())
    }

    /// A text with other names for those whom the reader does not know.
    fn text(&self, text: &str) -> String {
        let mut shown = String::new();
        let mut rest = text;
        while let Some((at, id)) = first_id(rest) {
            let (before, after) = (&rest[..at], &rest[at + ID_LENGTH..]);
            shown.push_str(before);
            if self.lens.strangers.contains(&id) {
                shown.push_str(&self.lens.pseudonym(self.aggregate_type, self.id, id));
            } else {
                shown.push_str(&rest[at..at + ID_LENGTH]);
            }
            rest = after;
        }
        shown.push_str(rest);
        shown
    }
}

/// The first id in a text, and where it begins.
fn first_id(text: &str) -> Option<(usize, Uuid)> {
    let last = text.len().checked_sub(ID_LENGTH)?;
    (0..=last).find_map(|at| {
        let candidate = text.get(at..at + ID_LENGTH).filter(|candidate| candidate.as_bytes()[8] == b'-')?;
        Uuid::try_parse(candidate).ok().map(|id| (at, id))
    })
}

/// All ids that are anywhere in a value.
pub(super) fn ids_in(value: &Value, ids: &mut BTreeSet<Uuid>) {
    let mut collect = |mut text: &str| {
        while let Some((at, id)) = first_id(text) {
            ids.insert(id);
            text = &text[at + ID_LENGTH..];
        }
    };
    match value {
        Value::String(text) => collect(text),
        Value::Array(items) => items.iter().for_each(|item| ids_in(item, ids)),
        Value::Object(fields) => {
            fields.keys().for_each(|name| collect(name));
            fields.values().for_each(|field| ids_in(field, ids));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
