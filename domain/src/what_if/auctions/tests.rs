//! What comes of auctions under other rules, made up and real.
//!
//! The real ones stay outside the repository: `TRADEPOST_DATA` names the folder that holds `ebay_dev`, by default
//! `shared/data` beside the workspace. Without them that test says so and passes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::auction::{Canceller, Live, Terms};
use crate::increments::{Band, Increments};
use crate::what_if::policy::{Auctions, Steps};

const SELLER: AccountId = AccountId(Uuid::from_u128(1));
const WINDOW_S: u32 = 120;
const HOUR_MS: i64 = 3_600_000;

fn bidder(number: u8) -> AccountId {
    AccountId(Uuid::from_u128(100 + u128::from(number)))
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn at(ms: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::milliseconds(ms)
}

fn steps(steps: Increments) -> BTreeMap<Currency, Steps> {
    [(Currency::USD, Steps(steps))].into()
}

fn flat(step: i64) -> Auctions {
    let increments = Increments::try_from(vec![Band { below: None, step }]).unwrap();
    Auctions { increments: steps(increments), ..Auctions::default() }
}

fn window(window_s: u32) -> Auctions {
    Auctions { soft_close_window_s: Some(window_s), ..Auctions::default() }
}

/// The rules as they were, said.
fn own() -> Auctions {
    Auctions { soft_close_window_s: Some(WINDOW_S), increments: steps(Increments::standard(Currency::USD)) }
}

/// What has happened to an auction, and when.
struct Story {
    auction: Auction,
    events: Vec<(Timestamp, Event)>,
}

impl Story {
    /// An auction of an hour from 10.00.
    fn scheduled(reserve: Option<i64>, buy_now: Option<i64>) -> Self {
        Self::with(1_000, HOUR_MS, WINDOW_S, reserve, buy_now)
    }

    fn with(start: i64, lasts_ms: i64, window_s: u32, reserve: Option<i64>, buy_now: Option<i64>) -> Self {
        let terms = Terms {
            seller: SELLER,
            start_price: usd(start),
            reserve_price: reserve.map(usd),
            buy_now_price: buy_now.map(usd),
            starts_at: at(0),
            ends_at: at(lasts_ms),
            soft_close_window_ms: window_s * 1_000,
            increments: Increments::standard(Currency::USD),
        };
        let mut story = Self { auction: Auction::default(), events: Vec::new() };
        assert!(story.ask(0, Command::Schedule { terms, now: at(0) }));
        story
    }

    /// Whether it was done: what is refused is in no log.
    fn ask(&mut self, ms: i64, command: Command) -> bool {
        let Ok(events) = self.auction.decide(command) else { return false };
        for event in events {
            self.auction.evolve(&event);
            self.events.push((at(ms), event));
        }
        true
    }

    fn bid(mut self, ms: i64, number: u8, minor: i64) -> Self {
        self.try_bid(ms, number, minor);
        self
    }

    fn try_bid(&mut self, ms: i64, number: u8, minor: i64) -> bool {
        self.ask(ms, Command::PlaceBid { bidder: bidder(number), maximum: usd(minor), now: at(ms) })
    }

    fn then(mut self, ms: i64, command: Command) -> Self {
        assert!(self.ask(ms, command));
        self
    }

    /// Its timer comes a little late.
    fn closed(mut self) -> Self {
        if let Auction::Live(Live { ends_at, .. }) = self.auction {
            let now = ends_at + TimeDelta::milliseconds(7);
            assert!(self.ask((now - at(0)).num_milliseconds(), Command::Close { now }));
        }
        self
    }

    fn replay(&self, rules: &Auctions) -> Option<Auctioned> {
        self.replay_until(rules, 1_000 * HOUR_MS)
    }

    /// As far as the log goes.
    fn replay_until(&self, rules: &Auctions, ms: i64) -> Option<Auctioned> {
        let mut replay = AuctionReplay::new(rules);
        self.events.iter().for_each(|(at, event)| replay.take(event, *at));
        replay.end(at(ms))
    }
}

#[test]
fn with_other_increments_the_price_is_another_and_bids_that_top_too_little_are_refused() {
    let story = Story::scheduled(None, None).bid(1, 1, 5_000).bid(2, 2, 5_100).bid(3, 1, 8_000).closed();
    // 51.00 and one more.
    let dollar = story.replay(&own()).unwrap();
    assert!(!dollar.is_different(), "{dollar:?}");
    assert_eq!(dollar.was.price, Some(usd(5_200)));
    let ten = story.replay(&flat(1_000)).unwrap();
    assert_eq!((ten.would.price, ten.price_change()), (Some(usd(6_100)), Some(900)));
    assert!(!ten.changes_winner());
    // 51.00 tops what stood at 10.00; the 80.00 are to top 51.00, or its own 50.00.
    assert_eq!(ten.refusals, 0);
    let fifty = story.replay(&flat(5_000)).unwrap();
    assert_eq!(fifty.refused[0].bidder, bidder(2));
    assert_eq!(fifty.refused[0].maximum, Some(usd(5_100)));
    assert!(fifty.refused[0].reason.contains("60.00 USD"), "{fifty:?}");
    assert_eq!((fifty.would.price, fifty.would.winner, fifty.would.bids), (Some(usd(1_000)), Some(bidder(1)), 2));
}

#[test]
fn an_auction_that_would_end_after_the_log_goes_on() {
    let story = Story::scheduled(None, None).bid(HOUR_MS - 60_000, 1, 2_000).closed();
    let day = window(24 * 3_600);
    let ends_ms = 25 * HOUR_MS - 60_000;
    let open = story.replay_until(&day, ends_ms - 1).unwrap();
    assert_eq!((open.would.how, open.would.at, open.would.price), (Ended::Open, at(ends_ms), None));
    assert!(open.is_different() && !open.changes_winner());
    let over = story.replay_until(&day, ends_ms).unwrap();
    assert_eq!((over.would.how, over.would.at, over.would.winner), (Ended::Won, at(ends_ms), over.was.winner));
}

#[test]
fn without_a_soft_close_the_last_bid_in_the_window_decides() {
    let late = HOUR_MS - 1_000;
    let story = Story::scheduled(None, None).bid(1, 1, 2_000).bid(late, 2, 3_000).bid(late + 60_000, 1, 5_000).closed();
    let none = story.replay(&window(0)).unwrap();
    assert_eq!((none.was.winner, none.was.price), (Some(bidder(1)), Some(usd(3_100))));
    assert_eq!((none.would.winner, none.would.price), (Some(bidder(2)), Some(usd(2_050))));
    assert_eq!((none.was.at, none.would.at), (at(late + 180_000), at(HOUR_MS)));
    assert!(none.refused[0].reason.contains("ended at") && none.changes_winner());
    // A longer one moves the end alone: nobody is known to have bid in it.
    let hour = story.replay(&window(3_600)).unwrap();
    assert_eq!((hour.would.winner, hour.would.price), (hour.was.winner, hour.was.price));
    assert_eq!(hour.would.at, at(late + 60_000 + HOUR_MS));
}

#[test]
fn what_is_bought_at_once_or_called_off_is_so_again() {
    let bought = Story::scheduled(None, Some(9_000)).then(5, Command::BuyNow { buyer: bidder(1), now: at(5) });
    assert!(!bought.replay(&flat(5_000)).unwrap().is_different());
    let by = Canceller::Staff(SELLER);
    let cancel = Command::Cancel { by, reason: "Forged.".to_owned(), now: at(9) };
    let cancelled = Story::scheduled(None, None).bid(1, 1, 5_000).then(9, cancel);
    let outcome = cancelled.replay(&flat(5_000)).unwrap();
    assert!(!outcome.is_different());
    assert_eq!((outcome.was.how, outcome.was.at, outcome.seller), (Ended::Cancelled, at(9), SELLER));
}

#[test]
fn what_goes_on_is_left_alone() {
    assert_eq!(Story::scheduled(None, None).bid(1, 1, 5_000).replay(&flat(1)), None);
    let rules = Auctions::default();
    let mut replay = AuctionReplay::new(&rules);
    replay.take(&Event::AuctionOpened {}, at(0));
    assert_eq!(replay.end(at(1_000 * HOUR_MS)), None);
}

#[test]
fn refusals_are_counted_beyond_those_that_are_told() {
    let mut story = Story::scheduled(None, None).bid(0, 1, 10_000_000);
    for ms in 1..=i64::try_from(MOST_REFUSALS).unwrap() + 5 {
        let Auction::Live(live) = &story.auction else { panic!("it is over") };
        let minimum = live.minimum_bid().minor();
        assert!(story.try_bid(ms, 2, minimum));
    }
    let replayed = story.closed().replay(&flat(20_000_000)).unwrap();
    assert_eq!((replayed.refused.len(), replayed.refusals), (MOST_REFUSALS, u64::try_from(MOST_REFUSALS).unwrap() + 5));
}

proptest! {
    #[test]
    fn under_the_rules_as_they_were_nothing_is_different_and_under_others_it_is_the_same_each_time(
        bids in prop::collection::vec((0..4_u8, 900..40_000_i64, 0..400_000_i64), 0..40),
        reserve in prop::option::of(1_000..20_000_i64),
        step in 1..5_000_i64,
        seconds in 0..1_000_u32,
    ) {
        let mut story = Story::scheduled(reserve, None);
        let mut now = HOUR_MS - 1_000_000;
        for (number, minor, later) in bids {
            now += later;
            story.try_bid(now, number, minor);
        }
        let story = story.closed();
        for rules in [Auctions::default(), own()] {
            prop_assert!(!story.replay(&rules).unwrap().is_different());
        }
        let other = Auctions { soft_close_window_s: Some(seconds), ..flat(step) };
        let replayed = story.replay(&other).unwrap();
        prop_assert_eq!(&replayed, &story.replay(&other).unwrap());
        prop_assert_eq!(replayed.would.bids + u32::try_from(replayed.refusals).unwrap(), replayed.was.bids);
        if let Some(price) = replayed.would.price {
            prop_assert!(price.minor() >= 1_000.max(reserve.unwrap_or(0)));
        }
    }
}

/// The auctions of `ebay_dev` by name, or nothing if the records are not here.
fn real() -> Option<BTreeMap<String, Story>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("TRADEPOST_DATA").map_or_else(beside, PathBuf::from).join("ebay_dev");
    if !folder.join("bids.csv").exists() {
        eprintln!("SKIPPED: no real auctions at {}", folder.display());
        return None;
    }
    let rows = |name: &str| -> Vec<BTreeMap<String, String>> {
        csv::Reader::from_path(folder.join(name)).unwrap().deserialize().map(Result::unwrap).collect()
    };
    let mut stories: BTreeMap<String, Story> = rows("expected.csv")
        .iter()
        .map(|row| {
            let start: i64 = row["openbid"].replace('.', "").parse().unwrap();
            let lasts_ms = row["days"].parse::<i64>().unwrap() * 24 * HOUR_MS;
            // They ended on the second.
            (row["auctionid"].clone(), Story::with(start, lasts_ms, 0, None, None))
        })
        .collect();
    for row in rows("bids.csv") {
        let number: u128 = row["bidder_pid"].trim_start_matches('u').parse().unwrap();
        let (ms, minor) = (row["t_ms"].parse().unwrap(), row["amount_cents"].parse().unwrap());
        let bidder = AccountId(Uuid::from_u128(1_000 + number));
        let story = stories.get_mut(&row["auctionid"]).unwrap();
        story.ask(ms, Command::PlaceBid { bidder, maximum: usd(minor), now: at(ms) });
    }
    Some(stories.into_iter().map(|(name, story)| (name, story.closed())).collect())
}

#[test]
fn real_auctions_close_at_other_prices_with_other_increments() {
    let Some(stories) = real() else { return };
    assert_eq!(stories.len(), 197);
    let replay = |rules: &Auctions| -> BTreeMap<&str, Auctioned> {
        stories.iter().map(|(name, story)| (name.as_str(), story.replay(rules).unwrap())).collect()
    };
    for rules in [Auctions::default(), Auctions { soft_close_window_s: Some(0), ..own() }] {
        assert_eq!(replay(&rules).values().filter(|auctioned| auctioned.is_different()).count(), 0);
    }
    let double = Increments::standard(Currency::USD);
    let double: Vec<Band> = Vec::from(double).into_iter().map(|band| Band { step: band.step * 2, ..band }).collect();
    let double = Auctions { increments: steps(Increments::try_from(double).unwrap()), ..Auctions::default() };
    for rules in [double, flat(100), flat(2_000)] {
        let (once, again) = (replay(&rules), replay(&rules));
        assert_eq!(once, again);
        let changed: Vec<_> = once.values().filter_map(Auctioned::price_change).filter(|change| *change != 0).collect();
        assert!(changed.len() > 50, "{}", changed.len());
        let higher = changed.iter().filter(|change| **change > 0).count();
        eprintln!(
            "{} of 197 closing prices change, {higher} of them up: {}",
            changed.len(),
            changed.iter().sum::<i64>()
        );
    }
}
