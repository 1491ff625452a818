//! `bids.csv` and `expected.csv` of a folder of auctions.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::real::Failure;

/// The share of one dollar that a cent is.
const CENTS: usize = 2;

/// An auction as it was recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub id: String,
    /// What was sold.
    pub item: String,
    /// How long it lasted.
    pub days: i64,
    /// The lowest first bid.
    pub start_cents: i64,
    /// Who won.
    pub winner: String,
    /// What the winner paid.
    pub price_cents: i64,
    /// How the price came about.
    pub how: String,
    /// How many of its bids the rules cannot have admitted.
    pub inadmissible_bids: u32,
    /// In the order in which they were made.
    pub bids: Vec<Bid>,
}

/// A bid as it was recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bid {
    /// Who bid.
    pub bidder: String,
    /// Up to what.
    pub cents: i64,
    /// When, in milliseconds after the start; never before the bid that was made before it.
    pub t_ms: i64,
}

impl Record {
    /// Whether the winner paid the runner-up's maximum and one full increment.
    pub fn pays_second_plus_increment(&self) -> bool {
        self.how == "second_plus_increment"
    }

    /// How long it lasted, in milliseconds.
    pub fn lasts_ms(&self) -> i64 {
        self.days * 86_400_000
    }
}

#[derive(Deserialize)]
struct ExpectedRow {
    auctionid: String,
    item: String,
    days: i64,
    openbid: String,
    winner_pid: String,
    price: String,
    how: String,
    inadmissible_bids: u32,
}

#[derive(Deserialize)]
struct BidRow {
    auctionid: String,
    seq: u32,
    t_ms: i64,
    bidder_pid: String,
    amount_cents: i64,
}

/// Whether a folder holds auctions.
pub fn is_source(folder: &Path) -> bool {
    folder.join("bids.csv").is_file()
}

/// Reads a folder.
pub(super) fn read(folder: &Path) -> Result<Vec<Record>, Failure> {
    let mut bids = BTreeMap::<String, Vec<BidRow>>::new();
    for row in rows::<BidRow>(&folder.join("bids.csv"))? {
        bids.entry(row.auctionid.clone()).or_default().push(row);
    }
    let expected = rows::<ExpectedRow>(&folder.join("expected.csv"))?;
    let records = expected.into_iter().map(|row| {
        let bids = bids.remove(&row.auctionid).ok_or_else(|| format!("auction {} has no bids", row.auctionid))?;
        record(row, bids)
    });
    let records = records.collect::<Result<Vec<_>, Failure>>()?;
    match bids.keys().next() {
        Some(unknown) => Err(format!("auction {unknown} has bids and is not in expected.csv").into()),
        None => Ok(records),
    }
}

fn rows<R: for<'de> Deserialize<'de>>(file: &Path) -> Result<Vec<R>, Failure> {
    let named = |error: csv::Error| format!("{}: {error}", file.display());
    let mut reader = csv::Reader::from_path(file).map_err(named)?;
    Ok(reader.deserialize().collect::<Result<_, _>>().map_err(named)?)
}

fn record(row: ExpectedRow, mut bids: Vec<BidRow>) -> Result<Record, Failure> {
    bids.sort_by_key(|bid| bid.seq);
    let mut latest = 0;
    let bids = bids.into_iter().map(|bid| {
        latest = bid.t_ms.max(latest);
        Bid { bidder: bid.bidder_pid, cents: bid.amount_cents, t_ms: latest }
    });
    Ok(Record {
        start_cents: cents(&row.openbid)?,
        price_cents: cents(&row.price)?,
        bids: bids.collect(),
        id: row.auctionid,
        item: row.item,
        days: row.days,
        winner: row.winner_pid,
        how: row.how,
        inadmissible_bids: row.inadmissible_bids,
    })
}

/// Dollars with up to two decimals, exactly.
fn cents(dollars: &str) -> Result<i64, Failure> {
    let (major, minor) = dollars.split_once('.').unwrap_or((dollars, ""));
    let fits =
        minor.len() <= CENTS && !major.is_empty() && (major.to_owned() + minor).bytes().all(|b| b.is_ascii_digit());
    if !fits {
        return Err(format!("`{dollars}` is no amount in dollars and cents").into());
    }
    Ok(format!("{major}{minor:0<CENTS$}").parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_cent() {
        let read = |text| cents(text).ok();
        assert_eq!(
            [read("99.00"), read("99.5"), read("99"), read("0.01")],
            [Some(9_900), Some(9_950), Some(9_900), Some(1)]
        );
        assert_eq!([read("99.005"), read("-1.00"), read("x"), read("")], [None; 4]);
    }
}
