//! What two sides say differently of a movement, in words.

use std::fmt;

use domain::{Currency, Money};
use projections::clearing::{Kind, Side, Span, Unlike};
use serde::Serialize;
use uuid::Uuid;

/// What is different.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// The provider tells of it, and the ledger does not.
    MissingHere,
    /// The ledger has it, and the provider does not tell of it.
    MissingThere,
    /// The amounts differ.
    OtherAmount,
    /// The currencies differ.
    OtherCurrency,
    /// What the provider has kept differs.
    OtherFee,
    /// It is within the days that were asked for on one side alone.
    OtherDay,
}

/// One thing that is different of one movement.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Difference {
    what: What,
    kind: Kind,
    /// The provider's name for the movement.
    reference: Option<String>,
    /// The operation of ours that it belongs to.
    operation: Option<Uuid>,
    /// What the provider says.
    there: Option<Word>,
    /// What the ledger says.
    here: Option<Word>,
    /// All of it in words.
    text: String,
}

/// What one side says.
#[derive(Clone, Debug, Serialize)]
struct Word {
    /// In minor units, below zero for what went out.
    amount: i64,
    currency: &'static str,
    /// What the provider has kept, in minor units.
    fee: i64,
    fee_currency: &'static str,
    at: domain::Timestamp,
    /// Where it is in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
}

impl From<Side> for Word {
    fn from(side: Side) -> Self {
        let Side { amount, currency, fee, fee_currency, at, position } = side;
        let (currency, fee_currency) = (currency.code(), fee_currency.code());
        Self { amount, currency, fee, fee_currency, at, position }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::MissingHere => "missing here",
            What::MissingThere => "missing there",
            What::OtherAmount => "other amount",
            What::OtherCurrency => "other currency",
            What::OtherFee => "other fee",
            What::OtherDay => "other day",
        };
        write!(f, "{what:<14}  {}", self.text)
    }
}

impl Difference {
    /// All that is different of a movement, in the days that were asked for.
    pub(super) fn between(unlike: &Unlike, asked: Span) -> Vec<Self> {
        let (kind, reference, operation) = (unlike.kind, unlike.reference.clone(), unlike.operation);
        let (there, here) = (unlike.there(), unlike.here());
        let name = name(kind, reference.as_deref(), operation);
        let told = told(&name, there, here, asked);
        let difference = |(what, text)| Self {
            what,
            kind,
            reference: reference.clone(),
            operation,
            there: there.map(Word::from),
            here: here.map(Word::from),
            text,
        };
        told.into_iter().map(difference).collect()
    }
}

/// What a movement is called.
fn name(kind: Kind, reference: Option<&str>, operation: Option<Uuid>) -> String {
    let kind = match kind {
        Kind::Charge => "charge",
        Kind::Refund => "refund",
        Kind::RefundReturned => "returned refund",
        Kind::Payout => "payout",
        Kind::PayoutReturned => "returned payout",
        Kind::Dispute => "dispute",
        Kind::DisputeReversed => "won dispute",
        Kind::Other => "movement",
    };
    // What others have written is shown with nothing in it that a terminal obeys.
    let reference = reference.map(|reference| format!(" {}", reference.escape_debug())).unwrap_or_default();
    let operation = operation.map(|operation| format!(" (operation {operation})")).unwrap_or_default();
    format!("{kind}{reference}{operation}")
}

fn told(name: &str, there: Option<Side>, here: Option<Side>, asked: Span) -> Vec<(What, String)> {
    let (there, here) = match (there, here) {
        (Some(there), Some(here)) => (there, here),
        (Some(there), None) => {
            let text = format!("{name}: {}, which the ledger does not have", described(there));
            return vec![(What::MissingHere, text)];
        }
        (None, Some(here)) => {
            let text = format!("{name}: {}, which the provider does not tell of", described(here));
            return vec![(What::MissingThere, text)];
        }
        (None, None) => return Vec::new(),
    };
    let mut told = Vec::new();
    let amounts = || format!("{} at the provider, {} in the ledger", amount(there), amount(here));
    if there.currency != here.currency {
        told.push((What::OtherCurrency, format!("{name}: {}", amounts())));
    } else if there.amount != here.amount {
        told.push((What::OtherAmount, format!("{name}: {}", amounts())));
    }
    let kept = |side: Side| (side.fee, (side.fee != 0).then_some(side.fee_currency));
    if kept(there) != kept(here) {
        let text = format!("{name}: the provider has kept {}, and the ledger says {}", fee(there), fee(here));
        told.push((What::OtherFee, text));
    }
    if asked.has(there.at) != asked.has(here.at) {
        let text = format!(
            "{name}: {}, on {} at the provider and on {} in the ledger",
            amount(there),
            there.at.format("%Y-%m-%d %H:%M:%S UTC"),
            here.at.format("%Y-%m-%d %H:%M:%S UTC")
        );
        told.push((What::OtherDay, text));
    }
    told
}

fn described(side: Side) -> String {
    let at = side.at.format("%Y-%m-%d %H:%M:%S UTC");
    let position = side.position.map(|position| format!(" (position {position})")).unwrap_or_default();
    let fee = if side.fee == 0 { String::new() } else { format!(" with a fee of {}", fee(side)) };
    format!("{}{fee}, {at}{position}", amount(side))
}

fn amount(side: Side) -> String {
    words(side.amount, side.currency)
}

fn fee(side: Side) -> String {
    if side.fee == 0 { "nothing".to_owned() } else { words(side.fee, side.fee_currency) }
}

/// An amount by the exponent of its currency; sums may be more than an amount can be.
fn words(minor: i64, currency: Currency) -> String {
    Money::new(minor, currency)
        .map_or_else(|_| format!("{minor} minor units of {currency}"), |amount| amount.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn side(amount: i64, at: &str) -> Side {
        let (currency, at) = (Currency::USD, at.parse().unwrap());
        Side { amount, currency, fee: 0, fee_currency: currency, at, position: None }
    }

    const NOON: &str = "2026-11-01T12:00:00Z";

    fn november() -> Span {
        Span { from: "2026-11-01T00:00:00Z".parse().unwrap(), until: "2026-12-01T00:00:00Z".parse().unwrap() }
    }

    /// One of them, for reports.
    pub(in super::super) fn missing_here() -> Difference {
        let (what, text) = told("charge ch_1", Some(side(1_999, NOON)), None, november()).remove(0);
        let there = Some(Word::from(side(1_999, NOON)));
        Difference { what, kind: Kind::Charge, reference: None, operation: None, there, here: None, text }
    }

    #[test]
    fn a_movement_is_called_by_its_kind_and_names() {
        assert_eq!(name(Kind::Charge, Some("ch_1"), None), "charge ch_1");
        let operation = Uuid::nil();
        assert_eq!(
            name(Kind::PayoutReturned, None, Some(operation)),
            format!("returned payout (operation {operation})")
        );
        assert_eq!(name(Kind::Refund, Some("re\u{1b}[2J"), None), "refund re\\u{1b}[2J");
    }

    #[test]
    fn what_one_side_does_not_have_is_missing_there() {
        assert_eq!(
            missing_here().to_string(),
            "missing here    charge ch_1: 19.99 USD, 2026-11-01 12:00:00 UTC, which the ledger does not have"
        );
        let booked = Side { position: Some(7), fee: 59, ..side(-500, NOON) };
        let [(what, text)] = told("payout po_1", None, Some(booked), november()).try_into().unwrap();
        assert_eq!(what, What::MissingThere);
        assert_eq!(
            text,
            "payout po_1: -5.00 USD with a fee of 0.59 USD, 2026-11-01 12:00:00 UTC (position 7), which the provider does \
             not tell of"
        );
    }

    #[test]
    fn everything_that_differs_is_told() {
        let there = Side { fee: 59, ..side(1_999, NOON) };
        let here = side(1_999, NOON);
        let of = |there, here| told("charge", Some(there), Some(here), november());
        assert_eq!(of(here, here), []);
        let [(what, text)] = of(there, here).try_into().unwrap();
        assert_eq!(what, What::OtherFee);
        assert_eq!(text, "charge: the provider has kept 0.59 USD, and the ledger says nothing");
        let other = Side { fee: 59, fee_currency: Currency::JPY, ..here };
        assert_eq!(of(there, other)[0].1, "charge: the provider has kept 0.59 USD, and the ledger says 59 JPY");
        let yen = Side { currency: Currency::JPY, ..here };
        assert_eq!(
            of(here, yen),
            [(What::OtherCurrency, "charge: 19.99 USD at the provider, 1999 JPY in the ledger".to_owned())]
        );
        let late = side(2_000, "2026-12-01T00:00:00Z");
        let whats: Vec<What> = of(there, late).into_iter().map(|(what, _)| what).collect();
        assert_eq!(whats, [What::OtherAmount, What::OtherFee, What::OtherDay]);
        let told = of(here, side(1_999, "2026-12-01T00:00:00Z"));
        assert_eq!(
            told.last().unwrap().1,
            "charge: 19.99 USD, on 2026-11-01 12:00:00 UTC at the provider and on 2026-12-01 00:00:00 UTC in the ledger"
        );
    }
}
