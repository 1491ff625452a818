//! `real`: replays real records through HTTP and compares what comes out with what was recorded.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tradepost_tests::real::{Failure, Scratch, Sources, default_folder, ebay, olist};

/// Replay real auctions and real orders through HTTP with the sandbox, and compare what comes out with the record.
///
/// Every folder `ebay_*` with `bids.csv` and `expected.csv` is replayed, as recorded and with the winners' capped bids
/// raised. Every folder `olist_*` with `orders.csv` and `order_items.csv` is bought, paid and brought to where the record
/// says, order by order. Ends with an error when an auction ends otherwise than recorded and the refusal of a flagged bid
/// does not explain it, and when an order, a balance or the books are not as the record makes them. Needs nothing but an installed Postgres: it starts a throw-away one, unless `TEST_DATABASE_URL` names a
/// server.
#[derive(Debug, Parser)]
#[command(name = "real")]
struct Arguments {
    /// The folder with the records; `../shared/data` beside the workspace unless named.
    #[arg(long, env = "TRADEPOST_DATA", value_name = "FOLDER")]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { data } = Arguments::parse();
    match run(data.filter(|folder| !folder.as_os_str().is_empty())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("real: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything came out as recorded, or is explained.
async fn run(named: Option<PathBuf>) -> Result<bool, Failure> {
    let explicit = named.is_some();
    let folder = named.unwrap_or_else(default_folder);
    let sources = if folder.is_dir() { Sources::in_folder(&folder)? } else { Sources::default() };
    for other in &sources.others {
        println!("{}: not replayed, nothing here knows this kind of record yet", other.display());
    }
    if sources.ebay.is_empty() && sources.olist.is_empty() {
        let nothing =
            format!("no folder ebay_* with bids.csv and none olist_* with orders.csv in {}", folder.display());
        if explicit {
            return Err(nothing.into());
        }
        println!("SKIPPED: {nothing}; name another one with --data FOLDER");
        return Ok(true);
    }
    let scratch = Scratch::provide().await?;
    let mut good = true;
    for folder in &sources.ebay {
        let report = ebay::replay(folder, scratch.url()).await?.report;
        print!("{report}");
        good &= report.is_good();
    }
    for folder in &sources.olist {
        let report = olist::replay(folder, scratch.url()).await?;
        print!("{report}");
        good &= report.is_good();
    }
    scratch.remove().await?;
    Ok(good)
}
