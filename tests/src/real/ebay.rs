//! Real auctions: every bid as it was made, against the winner and the price that were recorded.
//!
//! Each auction is replayed as recorded. The record caps the winner's bid at the closing price, so "the price is the
//! highest bid" would pass that; where the winner paid the runner-up's maximum and an increment, the auction is replayed
//! once more with the winner's capped bids raised, and the recorded price must still come out.

use std::path::Path;

use super::Failure;
use crate::database::TestDatabase;

mod records;
mod replay;
mod report;
mod rules;

pub use records::{Bid, Record, is_source};
pub use replay::{Closing, Played, Refused};
pub use report::{Difference, FormReport, Report};

/// In which form an auction is replayed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// As it was recorded.
    Recorded,
    /// With the winner's capped bids raised by so many cents.
    Uncapped {
        /// How much more the winner would have paid.
        raised_by: i64,
    },
}

/// An auction in one of its forms.
#[derive(Clone, Debug)]
pub struct Sale {
    /// What was recorded.
    pub record: Record,
    /// The form.
    pub form: Form,
    /// The bids in this form.
    pub bids: Vec<Bid>,
}

impl Sale {
    /// Every form of every record.
    fn all(records: &[Record]) -> Vec<Self> {
        let recorded = records.iter().map(|record| Self {
            record: record.clone(),
            form: Form::Recorded,
            bids: record.bids.clone(),
        });
        let uncapped = records.iter().filter(|record| record.pays_second_plus_increment()).enumerate();
        recorded.chain(uncapped.map(|(index, record)| Self::uncapped(record, index))).collect()
    }

    /// The winner's rows at the price, replaced by something higher: a cent, an increment or several times the price in
    /// turn, since how much higher must not matter.
    fn uncapped(record: &Record, index: usize) -> Self {
        let raised_by = [1, 5_000, record.price_cents.saturating_mul(9)][index % 3];
        let capped = |bid: &Bid| bid.bidder == record.winner && bid.cents == record.price_cents;
        let raised = |bid: &Bid| Bid { cents: bid.cents + if capped(bid) { raised_by } else { 0 }, ..bid.clone() };
        let bids = record.bids.iter().map(raised).collect();
        Self { record: record.clone(), form: Form::Uncapped { raised_by }, bids }
    }
}

/// What was replayed, and where it can still be looked at.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What came out.
    pub report: Report,
    /// The auctions.
    pub played: Vec<Played>,
    /// The database that they are in.
    pub database: TestDatabase,
}

/// Replays the auctions of a folder on a database of its own on the server at `server`.
pub async fn replay(folder: &Path, server: &str) -> Result<Replayed, Failure> {
    let records = records::read(folder)?;
    let (played, database) = replay::play(Sale::all(&records), server).await?;
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let report = report::compare(name, &records, played.clone());
    Ok(Replayed { report, played, database })
}
