//! Fuzz targets of the domain: money, and whole auctions against the oracle of the bidding rules.
//!
//! As tests they try some inputs each time; `make fuzz TARGET=… INPUTS=…` tries as many as one likes.

use std::cmp::Reverse;

use bolero::{TypeGenerator, check};
use chrono::{TimeDelta, TimeZone, Utc};
use uuid::Uuid;

use crate::Timestamp;
use crate::aggregate::Aggregate;
use crate::auction::oracle::{Oracle, TOP};
use crate::auction::{Auction, Canceller, Command, Outcome, Terms};
use crate::ids::AccountId;
use crate::increments::Increments;
use crate::money::{AMOUNT_LIMIT, Currency, FULL_BPS, Money, MoneyError, decimal};

/// How many inputs a target tries as a test.
const TRIES: usize = 1_000;

// Money.

/// Two amounts and what is done with them.
#[derive(Clone, Debug, TypeGenerator)]
struct Sum {
    /// In which currencies: few, so that both are often the same.
    currencies: (u8, u8),
    /// By how many bits each amount is made smaller, so that all sizes are as likely.
    left: (i64, u8),
    right: (i64, u8),
    bps: (u32, u8),
    count: (u32, u8),
    weights: Vec<(u64, u8)>,
    text: String,
}

#[test]
fn money() {
    check!().with_iterations(TRIES).with_type::<Sum>().for_each(|sum: &Sum| {
        let currency = |number| [Currency::USD, Currency::JPY, Currency::KWD][usize::from(number) % 3];
        let minor = |(bits, less): (i64, u8)| bits >> (less % 64);
        let (left, right) = (minor(sum.left), minor(sum.right));
        let (ours, theirs) = (currency(sum.currencies.0), currency(sum.currencies.1));
        let made = |minor: i128, currency| match i64::try_from(minor) {
            Ok(minor) if minor.unsigned_abs() < AMOUNT_LIMIT.unsigned_abs() => Ok((minor, currency)),
            _ => Err(MoneyError::OutOfRange),
        };
        let seen = |money: Result<Money, MoneyError>| money.map(|money| (money.minor(), money.currency()));
        assert_eq!(seen(Money::new(left, ours)), made(left.into(), ours));
        is_read_as_it_is_written(&sum.text, left, ours);
        let (Ok(a), Ok(b)) = (Money::new(left, ours), Money::new(right, theirs)) else { return };

        let (wide_left, wide_right) = (i128::from(left), i128::from(right));
        let alike = |expected: Result<_, _>| {
            if ours == theirs { expected } else { Err(MoneyError::CurrencyMismatch { left: theirs, right: ours }) }
        };
        assert_eq!(seen(a.plus(b)), alike(made(wide_left + wide_right, ours)));
        assert_eq!(seen(a.minus(b)), alike(made(wide_left - wide_right, ours)));
        assert_eq!(seen(a.max(b)), alike(made(wide_left.max(wide_right), ours)));
        assert_eq!(seen(a.min(b)), alike(made(wide_left.min(wide_right), ours)));
        let count = sum.count.0 >> (sum.count.1 % 32);
        assert_eq!(seen(a.times(count)), made(wide_left * i128::from(count), ours));
        // Of all sizes, and often such that there are halves.
        let bps = match sum.bps {
            (bits, less) if less % 2 == 0 => bits >> (less / 2 % 32),
            (bits, _) => bits % 41 * 250,
        };
        // Half a minor unit or more is one more.
        let share = (2 * wide_left.abs() * i128::from(bps) + i128::from(FULL_BPS)) / (2 * i128::from(FULL_BPS));
        assert_eq!(seen(a.share_bps(bps)), made(share * wide_left.signum(), ours));
        let weights: Vec<u64> = sum.weights.iter().map(|&(bits, less)| bits >> (less % 64)).collect();
        is_split_by_largest_remainder(a, &weights);
    });
}

/// What is written of an amount reads as that amount, and what is read of any text writes as it was.
fn is_read_as_it_is_written(text: &str, minor: i64, currency: Currency) {
    let digits = decimal(minor.into(), currency).replace('.', "");
    assert_eq!(digits.parse::<i64>(), Ok(minor), "{minor} {currency}");
    if let Ok(money) = Money::new(minor, currency) {
        let json = serde_json::to_string(&money).unwrap();
        assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
        assert_eq!(money.to_string(), format!("{} {currency}", decimal(minor.into(), currency)));
    }
    if let Ok(currency) = text.parse::<Currency>() {
        assert_eq!(currency.code(), text);
    }
    for json in [text.to_owned(), format!(r#"{{"amount":{text},"currency":"USD"}}"#)] {
        if let Ok(money) = serde_json::from_str::<Money>(&json) {
            assert!(money.minor().abs() < AMOUNT_LIMIT, "{json}");
            let again = serde_json::to_string(&money).unwrap();
            assert_eq!(serde_json::from_str::<Money>(&again).unwrap(), money, "{json}");
        }
    }
}

/// The parts sum to the whole, each is its exact share or the next minor unit above, and those above have the largest
/// remainders, of equal ones the earlier.
fn is_split_by_largest_remainder(money: Money, weights: &[u64]) {
    let parts = money.split(weights);
    assert_eq!(parts.len(), weights.len());
    assert!(parts.iter().all(|part| part.currency() == money.currency()));
    let minors: Vec<u128> = parts.iter().map(|part| u128::from(part.minor().unsigned_abs())).collect();
    assert!(parts.iter().all(|part| part.minor() == 0 || part.minor().signum() == money.minor().signum()));
    let whole = u128::from(money.minor().unsigned_abs());
    let total: u128 = weights.iter().copied().map(u128::from).sum();
    if total == 0 {
        assert_eq!(minors.first().copied().unwrap_or(whole), whole);
        assert!(minors.iter().skip(1).all(|part| *part == 0));
        return;
    }
    assert_eq!(minors.iter().sum::<u128>(), whole);
    let exact = |index: usize| whole * u128::from(weights[index]);
    let rank = |index: &usize| (exact(*index) % total, Reverse(*index));
    let (more, less): (Vec<usize>, Vec<usize>) =
        (0..weights.len()).partition(|&index| minors[index] == exact(index) / total + 1);
    assert!(less.iter().all(|&index| minors[index] == exact(index) / total), "{minors:?} of {whole}");
    if let (Some(last), Some(next)) = (more.iter().map(rank).min(), less.iter().map(rank).max()) {
        assert!(last > next, "{minors:?} of {whole} by {weights:?}");
    }
}

// Auctions.

const SELLER: u8 = 3;

/// An auction, and what is tried in it.
#[derive(Clone, Debug, TypeGenerator)]
struct Plan {
    currency: u8,
    start: u32,
    /// Whether it starts near the highest amount that there is.
    at_the_top: bool,
    reserve_above: Option<u16>,
    buy_now_above: Option<u16>,
    begins_after_s: u8,
    window_s: u16,
    /// Each so many milliseconds after the one before.
    acts: Vec<(u16, Act)>,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Act {
    Open,
    Bid {
        who: u8,
        amount: Amount,
    },
    BuyNow {
        who: u8,
    },
    Cancel {
        by_staff: bool,
    },
    Close,
    /// Nothing, until it is nearly over.
    Wait,
}

/// What is offered, seen from where the auction stands.
#[derive(Clone, Copy, Debug, TypeGenerator)]
enum Amount {
    AboveMinimum(i8),
    AboveLeader(i8),
    AboveReserve(i8),
    Exactly(u32),
}

/// What must come of an auction by the text of its rules.
struct Referee {
    currency: Currency,
    start: i64,
    reserve: Option<i64>,
    buy_now: Option<i64>,
    /// In milliseconds, as all times here.
    begins: i64,
    ends: i64,
    window: i64,
    accepted: Vec<(AccountId, i64)>,
    over: Option<Over>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Over {
    Closed { winner: Option<(AccountId, i64)>, at: i64 },
    Cancelled,
}

fn account(who: u8) -> AccountId {
    AccountId(Uuid::from_u128(u128::from(who % 4)))
}

fn at(ms: i64) -> Timestamp {
    Utc.timestamp_opt(1_700_000_000, 0).unwrap() + TimeDelta::milliseconds(ms)
}

impl Referee {
    fn of(plan: &Plan) -> Self {
        let start = if plan.at_the_top { TOP - i64::from(plan.start % 20_000) } else { 1 + i64::from(plan.start) };
        let above = |more: Option<u16>, floor: i64| more.map(|more| (floor + i64::from(more)).min(TOP));
        let reserve = above(plan.reserve_above, start);
        let begins = i64::from(plan.begins_after_s) * 1_000;
        Self {
            currency: [Currency::USD, Currency::JPY, Currency::KWD][usize::from(plan.currency) % 3],
            start,
            reserve,
            buy_now: above(plan.buy_now_above, reserve.unwrap_or(start)),
            begins,
            ends: begins + 3_600_000,
            window: i64::from(plan.window_s % 4_000) * 1_000,
            accepted: Vec::new(),
            over: None,
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            seller: account(SELLER),
            start_price: self.money(self.start),
            reserve_price: self.reserve.map(|reserve| self.money(reserve)),
            buy_now_price: self.buy_now.map(|price| self.money(price)),
            starts_at: at(self.begins),
            ends_at: at(self.ends),
            soft_close_window_ms: u32::try_from(self.window).unwrap(),
            increments: Increments::standard(self.currency),
        }
    }

    fn money(&self, minor: i64) -> Money {
        Money::new(minor.clamp(-TOP, TOP), self.currency).unwrap()
    }

    fn oracle(&self) -> Oracle<'_> {
        Oracle { currency: self.currency, start: self.start, reserve: self.reserve, accepted: &self.accepted }
    }

    fn offered(&self, who: u8, amount: Amount) -> i64 {
        let leader = || self.oracle().leader().map_or(self.start, |(_, maximum)| maximum);
        let minor = match amount {
            Amount::AboveMinimum(more) => self.oracle().minimum(account(who)) + i64::from(more),
            Amount::AboveLeader(more) => leader() + i64::from(more),
            Amount::AboveReserve(more) => self.reserve.unwrap_or_else(leader) + i64::from(more),
            Amount::Exactly(minor) => i64::from(minor),
        };
        minor.clamp(-TOP, TOP)
    }

    fn trades_with(&self, who: u8, now: i64) -> bool {
        self.over.is_none() && (self.begins..self.ends).contains(&now) && account(who) != account(SELLER)
    }

    /// Whether it is accepted, where that is for the rules to say.
    fn rules(&mut self, act: Act, now: i64) -> Option<bool> {
        match act {
            Act::Bid { who, amount } => {
                let maximum = self.offered(who, amount);
                let taken = self.trades_with(who, now) && maximum >= self.oracle().minimum(account(who));
                if taken {
                    self.accepted.push((account(who), maximum));
                    if self.ends - now < self.window {
                        self.ends = now + self.window;
                    }
                }
                Some(taken)
            }
            Act::BuyNow { who } => {
                let gone = !self.accepted.is_empty() && self.oracle().reserve_met();
                let price = self.buy_now.filter(|_| !gone && self.trades_with(who, now));
                if let Some(price) = price {
                    self.over = Some(Over::Closed { winner: Some((account(who), price)), at: now });
                }
                Some(price.is_some())
            }
            Act::Cancel { by_staff } => {
                if self.over.is_none() && now < self.ends && (by_staff || self.accepted.is_empty()) {
                    self.over = Some(Over::Cancelled);
                }
                None
            }
            Act::Close => {
                if self.over.is_none() && now >= self.ends {
                    let oracle = self.oracle();
                    let winner = oracle.leader().filter(|_| oracle.reserve_met());
                    let winner = winner.map(|(winner, _)| (winner, oracle.price()));
                    self.over = Some(Over::Closed { winner, at: self.ends });
                }
                None
            }
            Act::Open | Act::Wait => None,
        }
    }

    /// The auction is where the rules have led it.
    fn agrees(&self, auction: &Auction) {
        let minor = |money: Money| money.minor_in(self.currency).unwrap();
        match auction {
            Auction::Unscheduled => panic!("it was scheduled"),
            Auction::Live(live) => {
                assert_eq!(self.over, None);
                assert_eq!(live.ends_at, at(self.ends));
                assert_eq!(live.bids as usize, self.accepted.len());
                let standing = live.standing.map(|standing| {
                    assert_eq!(minor(standing.price), self.oracle().price());
                    assert_eq!(standing.runner_up_maximum.map(minor), self.oracle().second());
                    (standing.leader, minor(standing.leader_maximum))
                });
                assert_eq!(standing, self.oracle().leader());
                assert_eq!(live.reserve_met(), self.oracle().reserve_met());
            }
            Auction::Closed { outcome, ended_at, .. } => {
                let winner = match *outcome {
                    Outcome::Won { winner, price } | Outcome::BoughtNow { winner, price } => {
                        Some((winner, minor(price)))
                    }
                    Outcome::Unsold { reserve_missed } => {
                        assert_eq!(reserve_missed, !self.accepted.is_empty());
                        None
                    }
                };
                let Some(Over::Closed { winner: expected, at: ended }) = self.over else {
                    panic!("{auction:?} where the rules say {:?}", self.over)
                };
                assert_eq!((winner, *ended_at), (expected, at(ended)));
            }
            Auction::Cancelled { .. } => assert_eq!(self.over, Some(Over::Cancelled)),
        }
    }
}

#[test]
fn bids() {
    check!().with_iterations(TRIES).with_type::<Plan>().for_each(|plan: &Plan| {
        let mut referee = Referee::of(plan);
        let mut auction = Auction::default();
        let schedule = Command::Schedule { terms: referee.terms(), now: at(0) };
        assert_eq!(take(&mut auction, schedule), Ok(()));
        let mut now = 0;
        for &(pause_ms, act) in &plan.acts {
            now += i64::from(pause_ms);
            if matches!(act, Act::Wait) {
                now = now.max(referee.ends - referee.window.max(60_000));
            }
            let answer = take(&mut auction, command(&referee, act, now));
            if let Some(accepted) = referee.rules(act, now) {
                assert_eq!(answer.is_ok(), accepted, "{act:?} at {now}: {answer:?}");
            }
            referee.agrees(&auction);
        }
    });
}

fn command(referee: &Referee, act: Act, now: i64) -> Command {
    let now_at = at(now);
    match act {
        Act::Open | Act::Wait => Command::Open { now: now_at },
        Act::Bid { who, amount } => {
            let maximum = referee.money(referee.offered(who, amount));
            Command::PlaceBid { bidder: account(who), maximum, now: now_at }
        }
        Act::BuyNow { who } => Command::BuyNow { buyer: account(who), now: now_at },
        Act::Cancel { by_staff } => {
            let by = if by_staff { Canceller::Staff(account(0)) } else { Canceller::Seller };
            Command::Cancel { by, reason: String::new(), now: now_at }
        }
        Act::Close => Command::Close { now: now_at },
    }
}

fn take(auction: &mut Auction, command: Command) -> Result<(), crate::auction::Error> {
    auction.decide(command)?.iter().for_each(|event| auction.evolve(event));
    Ok(())
}
