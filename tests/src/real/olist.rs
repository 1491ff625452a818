//! Real orders: every checkout as it was made, brought to where the record says, against balances that are computed here
//! once more.
//!
//! The dates of the record are not replayed, since some carrier dates precede the approval and some parcels left weeks
//! after it: the status tells what happened, and the clock stands still. Paid from wallets, one checkout per order; an
//! order of several sellers is a group of as many orders.

use std::path::Path;

use super::Failure;

mod books;
mod records;
mod replay;
mod report;

pub use records::{Fate, Listing, Order, Records, is_source};
pub use report::Report;

/// Replays the orders of a folder on a database of its own on the server at `server`.
pub async fn replay(folder: &Path, server: &str) -> Result<Report, Failure> {
    let records = records::read(folder)?;
    let mut report = replay::play(&records, server).await?;
    report.name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(report)
}
