//! What came out, against what was recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Form, Played, Record, rules};

/// What came out of a folder.
#[derive(Clone, Debug)]
pub struct Report {
    /// The folder.
    pub name: String,
    /// How many auctions it holds.
    pub auctions: usize,
    /// How many bids were recorded.
    pub bids: usize,
    /// How many different people bid.
    pub bidders: usize,
    /// As recorded.
    pub recorded: FormReport,
    /// With the winners' capped bids raised.
    pub uncapped: FormReport,
}

/// What came out of the auctions in one form.
#[derive(Clone, Debug, Default)]
pub struct FormReport {
    /// How many were replayed.
    pub auctions: usize,
    /// How many ended with the recorded winner and price.
    pub exact: usize,
    /// The others.
    pub differences: Vec<Difference>,
    /// How many bids each rule refused.
    pub refused: BTreeMap<String, usize>,
}

/// An auction that did not end as recorded.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What came of it.
    pub played: Played,
    /// Whether the refusal of a flagged bid explains it.
    pub explained: bool,
}

impl Report {
    /// Whether every difference is explained.
    pub fn is_good(&self) -> bool {
        [&self.recorded, &self.uncapped].into_iter().all(|form| form.differences.iter().all(|d| d.explained))
    }
}

/// Compares what was played with what was recorded.
pub(super) fn compare(name: String, records: &[Record], played: Vec<Played>) -> Report {
    let bids = || records.iter().flat_map(|record| &record.bids);
    let (recorded, uncapped): (Vec<_>, Vec<_>) =
        played.into_iter().partition(|played| played.sale.form == Form::Recorded);
    Report {
        name,
        auctions: records.len(),
        bids: bids().count(),
        bidders: bids().map(|bid| &bid.bidder).collect::<BTreeSet<_>>().len(),
        recorded: form(recorded),
        uncapped: form(uncapped),
    }
}

fn form(played: Vec<Played>) -> FormReport {
    let mut report = FormReport { auctions: played.len(), ..FormReport::default() };
    for played in played {
        for refused in &played.refused {
            *report.refused.entry(refused.rule.clone()).or_default() += 1;
        }
        if is_exact(&played) {
            report.exact += 1;
        } else {
            let explained = is_explained(&played);
            report.differences.push(Difference { played, explained });
        }
    }
    report
}

fn is_exact(played: &Played) -> bool {
    let record = &played.sale.record;
    played.result.winner.as_ref() == Some(&record.winner) && played.result.price_cents == record.price_cents
}

/// The record is flagged to hold a bid that the rules cannot have admitted, a bid of it was refused, and the accepted
/// ones alone lead to what came out.
fn is_explained(played: &Played) -> bool {
    let record = &played.sale.record;
    let accepted = played.accepted.iter().filter_map(|place| played.sale.bids.get(*place));
    let flagged = record.inadmissible_bids > 0 && !played.refused.is_empty();
    flagged && rules::outcome(record, accepted).as_ref() == Some(&played.result)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, auctions, bids, bidders, recorded, uncapped } = self;
        writeln!(f, "{name}: {auctions} auctions, {bids} bids by {bidders} bidders")?;
        write!(f, "  as recorded: {recorded}")?;
        write!(f, "  uncapped:    {uncapped}")
    }
}

impl fmt::Display for FormReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { auctions, exact, differences, refused } = self;
        let refused = match refused.iter().map(|(rule, bids)| format!("{bids} {rule}")).collect::<Vec<_>>() {
            none if none.is_empty() => "none".to_owned(),
            some => some.join(", "),
        };
        writeln!(f, "{exact} of {auctions} exact; bids refused: {refused}")?;
        differences.iter().try_for_each(|difference| write!(f, "{difference}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Played { sale, refused, result, .. } = &self.played;
        let record = &sale.record;
        let raised = match sale.form {
            Form::Recorded => String::new(),
            Form::Uncapped { raised_by } => format!(" (raised by {})", dollars(raised_by)),
        };
        let outcome = |winner: Option<&str>, cents| format!("{} to {}", dollars(cents), winner.unwrap_or("nobody"));
        let (came, was) =
            (outcome(result.winner.as_deref(), result.price_cents), outcome(Some(&record.winner), record.price_cents));
        let verdict = if self.explained { "explained by a flagged bid that the rules refuse" } else { "NOT EXPLAINED" };
        let flagged = record.inadmissible_bids;
        writeln!(f, "    {}{raised}: {came}; recorded {was}; {flagged} flagged; {verdict}", record.id)?;
        for refused in refused {
            let (bid, rule, detail) = (&refused.bid, &refused.rule, &refused.detail);
            let (amount, hours, minutes) = (dollars(bid.cents), bid.t_ms / 3_600_000, bid.t_ms / 60_000 % 60);
            writeln!(f, "      refused: {amount} by {} at {hours}:{minutes:02} h: {rule}. {detail}", bid.bidder)?;
        }
        Ok(())
    }
}

fn dollars(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
