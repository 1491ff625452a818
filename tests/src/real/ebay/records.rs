//! `bids.csv` and `expected.csv` of a folder of auctions.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::real::Failure;
use crate::real::reading::{cents, rows};

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
