//! Real auctions, bid by bid: do the rules give the winner and the price that were recorded?
//!
//! The records stay outside the repository: `TRADEPOST_DATA` names the folder that holds `ebay_dev`, by default
//! `shared/data` beside the workspace. Without them these tests say so and pass.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{TimeZone, Utc};
use uuid::Uuid;

use super::*;
use crate::increments::Band;

const SELLER: AccountId = AccountId(Uuid::from_u128(0));
/// Its record says 133.04, but the bid of 132.50 that would have pushed the price there is refused.
const INCONSISTENT: &str = "8212610170";

/// A bid as it was recorded.
#[derive(Clone)]
struct Bid {
    bidder: AccountId,
    cents: i64,
    ms_after_start: i64,
}

/// An auction as it was recorded.
struct Record {
    name: String,
    days: i64,
    start_cents: i64,
    winner: AccountId,
    price_cents: i64,
    /// The winner paid the runner-up's maximum and one full increment.
    pays_second_plus_increment: bool,
    bids: Vec<Bid>,
}

fn folder() -> PathBuf {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("TRADEPOST_DATA").map_or_else(beside, PathBuf::from)
}

/// The rows of a table by column name, or nothing if the records are not here.
fn rows(name: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let path = folder().join(name);
    if !path.exists() {
        eprintln!("skipped: no real auctions at {}", path.display());
        return None;
    }
    Some(csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect())
}

fn records() -> Option<Vec<Record>> {
    let (expected, bids) = (rows("ebay_dev/expected.csv")?, rows("ebay_dev/bids.csv")?);
    let mut by_auction = BTreeMap::<&str, Vec<Bid>>::new();
    for row in &bids {
        by_auction.entry(&row["auctionid"]).or_default().push(Bid {
            bidder: account(&row["bidder_pid"]),
            cents: row["amount_cents"].parse().unwrap(),
            ms_after_start: row["t_ms"].parse().unwrap(),
        });
    }
    let record = |row: &BTreeMap<String, String>| Record {
        name: row["auctionid"].clone(),
        days: row["days"].parse().unwrap(),
        start_cents: cents(&row["openbid"]),
        winner: account(&row["winner_pid"]),
        price_cents: cents(&row["price"]),
        pays_second_plus_increment: row["how"] == "second_plus_increment",
        bids: by_auction[&*row["auctionid"]].clone(),
    };
    Some(expected.iter().map(record).collect())
}

/// `u1792` is the account 1792.
fn account(pseudonym: &str) -> AccountId {
    AccountId(Uuid::from_u128(pseudonym.trim_start_matches('u').parse().unwrap()))
}

fn cents(dollars: &str) -> i64 {
    let (major, minor) = dollars.split_once('.').unwrap();
    assert_eq!(minor.len(), 2, "{dollars}");
    format!("{major}{minor}").parse().unwrap()
}

fn usd(cents: i64) -> Money {
    Money::new(cents, Currency::USD).unwrap()
}

fn take(auction: &mut Auction, command: Command) -> Result<(), Error> {
    for event in auction.decide(command)? {
        auction.evolve(&event);
    }
    Ok(())
}

/// Who wins, and at which price in cents, if these bids are made.
fn replay(record: &Record, bids: &[Bid]) -> (AccountId, i64) {
    let starts_at = Utc.timestamp_opt(1_000_000_000, 0).unwrap();
    let ends_at = starts_at + TimeDelta::days(record.days);
    let terms = Terms {
        seller: SELLER,
        start_price: usd(record.start_cents),
        reserve_price: None,
        buy_now_price: None,
        starts_at,
        ends_at,
        // They ended on the second.
        soft_close_window_ms: 0,
        increments: Increments::standard(Currency::USD),
    };
    let mut auction = Auction::default();
    take(&mut auction, Command::Schedule { terms, now: starts_at }).unwrap();
    for bid in bids {
        let now = starts_at + TimeDelta::milliseconds(bid.ms_after_start);
        match take(&mut auction, Command::PlaceBid { bidder: bid.bidder, maximum: usd(bid.cents), now }) {
            Ok(()) | Err(Error::BidTooLow { .. }) => {}
            Err(other) => panic!("{}: {other}", record.name),
        }
    }
    take(&mut auction, Command::Close { now: ends_at }).unwrap();
    match auction {
        Auction::Closed { outcome: Outcome::Won { winner, price }, .. } => (winner, price.minor()),
        other => panic!("{}: {other:?}", record.name),
    }
}

#[test]
fn real_auctions_end_with_the_recorded_winner_and_price() {
    let Some(records) = records() else { return };
    let outcome = |record: &Record| replay(record, &record.bids);
    let (exact, differing): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| outcome(record) == (record.winner, record.price_cents));

    assert_eq!(differing.iter().map(|record| &record.name).collect::<Vec<_>>(), [INCONSISTENT]);
    assert_eq!(outcome(differing[0]), (differing[0].winner, 13_250));
    assert_eq!(exact.len(), 196);
}

/// The record caps the winner's bid at the price, so that "price = highest bid" would pass the test above.
#[test]
fn real_auctions_end_at_the_recorded_price_whatever_more_the_winner_would_have_paid() {
    let Some(records) = records() else { return };
    let uncapped: Vec<_> = records.iter().filter(|record| record.pays_second_plus_increment).collect();
    assert_eq!(uncapped.len(), 161);
    for record in uncapped {
        let capped = |bid: &Bid| bid.bidder == record.winner && bid.cents == record.price_cents;
        assert!(record.bids.iter().any(capped), "{}", record.name);
        for more in [1, 5_000, record.price_cents * 9] {
            let raised = |bid: &Bid| Bid { cents: bid.cents + if capped(bid) { more } else { 0 }, ..bid.clone() };
            let bids: Vec<_> = record.bids.iter().map(raised).collect();
            let outcome = replay(record, &bids);
            assert_eq!(outcome, (record.winner, record.price_cents), "{} raised by {more} cents", record.name);
        }
    }
}

#[test]
fn the_standard_increments_are_the_public_table() {
    let Some(rows) = rows("bid_increments.csv") else { return };
    let bands: Vec<Band> = rows
        .iter()
        .map(|row| Band {
            below: Some(&row["to_usd"]).filter(|to| !to.is_empty()).map(|to| cents(to) + 1),
            step: cents(&row["increment_usd"]),
        })
        .collect();
    assert_eq!(Vec::from(Increments::standard(Currency::USD)), bands);
}
