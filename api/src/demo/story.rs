//! Two weeks of a marketplace, told beforehand: who does what when.
//!
//! The story is a pure function of its seed. Times count from its beginning; its end is the present. Acts at the same
//! stop do not depend on each other.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::listing::Details;
use domain::{Currency, Money};

use super::dice::Dice;
use super::goods::{CATEGORIES, Good, Stock, asking_price, round_to};
use super::people::{self, ADMIN, BUYER, Person, SELLER, SHOPS};
use super::sales::Step;
use commands::payments::sandbox;

const SEED: u64 = 1_848;
pub(super) const HOUR: i64 = 60;
pub(super) const DAY: i64 = 24 * HOUR;
/// How long the story is, in minutes.
pub(super) const SPAN: i64 = 14 * DAY;
/// Acts are told at a moment within spans of so many minutes.
pub(super) const GRID: i64 = 30;
/// By when everybody has joined, and from when on things are offered.
const ALL_JOINED: i64 = 8 * HOUR;
const FIRST_OFFER: i64 = 10 * HOUR;

const FIXED_PRICE: usize = 270;
/// Of the fixed-price listings, those that stay drafts, that are taken off, and that get cheaper.
const DRAFTS: usize = 8;
const TAKEN_OFF: usize = 12;
const CHEAPER: usize = 25;
const WON: usize = 13;
const RESERVE_MISSED: usize = 3;
const WITHOUT_BIDS: usize = 2;
const BOUGHT_NOW: usize = 3;
/// Why auctions are called off; the last by staff.
const CALLED_OFF: [&str; 3] = [
    "Dropped it while packing, sorry.",
    "My brother wants to keep it after all.",
    "Several reports that the item is not what the pictures show.",
];

/// Minutes that the live auctions have left at the end of the story.
const LIVE_LEFT: [i64; 36] = [
    6, 10, 15, 22, 30, 45, 60, 80, 100, 120, 150, 180, 240, 300, 360, 480, 600, 720, 900, 1_080, 1_260, 1_440, 1_800,
    2_160, 2_520, 2_880, 3_600, 4_320, 5_040, 5_760, 6_480, 7_200, 8_000, 8_640, 9_400, 10_080,
];
/// Minutes from the end of the story to the start of the auctions that have not started.
const SCHEDULED_IN: [i64; 6] = [HOUR, 6 * HOUR, DAY, 2 * DAY, 3 * DAY, 5 * DAY];
/// How many bids an auction attracts, at most.
const HEAT: [usize; 8] = [1, 3, 4, 6, 8, 10, 14, 20];

/// The story.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) people: Vec<Person>,
    pub(super) lots: Vec<Lot>,
    pub(super) stops: Vec<Stop>,
}

/// Something that is offered in the story.
#[derive(Clone, Debug)]
pub(super) struct Lot {
    /// Who sells: a place among the people.
    pub(super) seller: usize,
    pub(super) details: Details,
    pub(super) sale: Sale,
    worth: i64,
    pub(super) currency: Currency,
}

/// How a lot is sold.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sale {
    FixedPrice(Money),
    Auction {
        start_price: Money,
        reserve_price: Option<Money>,
        buy_now_price: Option<Money>,
        /// When it starts, if not at its publication.
        starts: Option<TimeDelta>,
        ends: TimeDelta,
    },
}

/// A moment of the story.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) at: TimeDelta,
    pub(super) acts: Vec<Act>,
}

/// What somebody does. People and lots are places in the story's lists.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Join {
        person: usize,
    },
    /// Staff publish a page.
    Publish {
        page: usize,
    },
    /// Staff vouch for the store of a shop.
    Verify {
        shop: usize,
    },
    /// The owner of a shop subscribes to a plan.
    Subscribe {
        shop: usize,
    },
    Deposit {
        number: usize,
        person: usize,
        amount: Money,
        method: &'static str,
    },
    Withdraw {
        number: usize,
        person: usize,
        amount: Money,
        method: &'static str,
    },
    Draft {
        lot: usize,
    },
    Offer {
        lot: usize,
    },
    Reprice {
        lot: usize,
        price: Money,
    },
    /// It costs less by so many basis points until a week after the story.
    Reduce {
        lot: usize,
        bps: u32,
    },
    TakeOff {
        lot: usize,
    },
    /// The first of these who can, bids.
    Bid {
        lot: usize,
        turn: usize,
        bidders: Vec<Bidder>,
    },
    BuyNow {
        lot: usize,
        buyer: usize,
    },
    CallOff {
        lot: usize,
        by: usize,
        reason: &'static str,
    },
    /// Somebody checks a cart out.
    Buy {
        number: usize,
        buyer: usize,
        lots: Vec<usize>,
    },
    /// Something happens to the orders of such a cart.
    Order {
        number: usize,
        step: Step,
    },
    /// Whoever has won a lot pays for it.
    PayWon {
        lot: usize,
    },
}

/// Somebody who wants a lot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bidder {
    pub(super) person: usize,
    /// What it is worth to them.
    pub(super) most: Money,
    /// How much of the room between the lowest bid and their most they use at once, in per cent.
    pub(super) eagerness: i64,
}

impl Act {
    /// Names the act, once in the story.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Join { person } => format!("join {person}"),
            Self::Publish { page } => format!("publish {page}"),
            Self::Verify { shop } => format!("verify {shop}"),
            Self::Subscribe { shop } => format!("subscribe {shop}"),
            Self::Deposit { number, .. } => format!("deposit {number}"),
            Self::Withdraw { number, .. } => format!("withdraw {number}"),
            Self::Draft { lot } => format!("draft {lot}"),
            Self::Offer { lot } => format!("offer {lot}"),
            Self::Reprice { lot, .. } => format!("reprice {lot}"),
            Self::Reduce { lot, .. } => format!("reduce {lot}"),
            Self::TakeOff { lot } => format!("take off {lot}"),
            Self::Bid { lot, turn, .. } => format!("bid {lot} {turn}"),
            Self::BuyNow { lot, .. } => format!("buy now {lot}"),
            Self::CallOff { lot, .. } => format!("call off {lot}"),
            Self::Buy { number, .. } => format!("buy {number}"),
            Self::Order { number, step } => format!("order {number} {}", step.name()),
            Self::PayWon { lot } => format!("pay won {lot}"),
        }
    }
}

/// How long the story is.
pub(super) fn span() -> TimeDelta {
    TimeDelta::minutes(SPAN)
}

/// Tells the story.
pub(super) fn tell() -> Story {
    let mut teller = Teller {
        dice: Dice::new(SEED),
        stock: Stock::new(Dice::new(SEED + 1)),
        lots: vec![],
        acts: BTreeMap::new(),
        transfers: 0,
        offered: vec![],
        ended: vec![],
    };
    let people = people::everybody();
    teller.join(people.len());
    teller.open_the_desk();
    teller.fill_wallets();
    teller.offer_at_fixed_prices();
    teller.auction_live();
    teller.auction_closed();
    teller.auction_scheduled();
    teller.sell();
    teller.reduce_what_is_left();
    teller.collect_from_winners();
    let stops = teller.acts.into_iter().map(|(second, acts)| Stop { at: TimeDelta::seconds(second), acts });
    Story { people, lots: teller.lots, stops: stops.collect() }
}

pub(super) struct Teller {
    pub(super) dice: Dice,
    stock: Stock,
    pub(super) lots: Vec<Lot>,
    /// By the second of the story.
    acts: BTreeMap<i64, Vec<Act>>,
    transfers: usize,
    /// Lots for anybody to buy, and the minutes from which on they are offered.
    pub(super) offered: Vec<(usize, i64)>,
    /// Lots of auctions that somebody has won or bought at once, and the minutes at which they end.
    pub(super) ended: Vec<(usize, i64)>,
}

/// The moment, in seconds, of the span of the grid that a minute is in. Not on the hour, as people are not.
fn moment(minute: i64) -> i64 {
    let span = minute / GRID;
    let width = GRID * 60;
    span * width + Dice::new(span.unsigned_abs()).between(0, width * 3 / 4)
}

fn money(minor: i64, currency: Currency) -> Money {
    Money::new(minor.max(1), currency).unwrap_or(Money::zero(currency))
}

/// Whole units of a currency with two decimals.
fn whole(units: i64, currency: Currency) -> Money {
    money(units * 100, currency)
}

impl Teller {
    pub(super) fn tell(&mut self, minute: i64, act: Act) {
        self.tell_at(moment(minute), act);
    }

    /// At a second of the story.
    pub(super) fn tell_at(&mut self, second: i64, act: Act) {
        self.acts.entry(second).or_default().push(act);
    }

    fn join(&mut self, people: usize) {
        for person in 0..people {
            let share = i64::try_from(person).unwrap_or(0) * ALL_JOINED / i64::try_from(people).unwrap_or(1);
            self.tell(share, Act::Join { person });
        }
    }

    fn deposit(&mut self, minute: i64, person: usize, amount: Money, method: &'static str) {
        self.transfers += 1;
        let number = self.transfers;
        self.tell(minute, Act::Deposit { number, person, amount, method });
    }

    fn withdraw(&mut self, minute: i64, person: usize, amount: Money, method: &'static str) {
        self.transfers += 1;
        let number = self.transfers;
        self.tell(minute, Act::Withdraw { number, person, amount, method });
    }

    fn fill_wallets(&mut self) {
        let (usd, eur, gbp) =
            (Currency::USD, "EUR".parse().unwrap_or(Currency::USD), "GBP".parse().unwrap_or(Currency::USD));
        self.deposit(2 * DAY, people::owner(0), whole(100, usd), sandbox::SUCCEEDS);
        self.tell(3 * DAY, Act::Subscribe { shop: 0 });
        self.deposit(DAY, BUYER, whole(2_500, usd), sandbox::SUCCEEDS);
        self.deposit(3 * DAY, BUYER, whole(400, eur), sandbox::DELAYS);
        self.deposit(5 * DAY, BUYER, whole(900, usd), sandbox::DECLINES);
        self.withdraw(8 * DAY, BUYER, whole(300, usd), sandbox::SUCCEEDS);
        self.deposit(13 * DAY, BUYER, whole(150, usd), sandbox::SUCCEEDS);
        self.deposit(DAY, SELLER, whole(120, usd), sandbox::SUCCEEDS);
        self.withdraw(9 * DAY, SELLER, whole(80, usd), sandbox::SUCCEEDS);
        self.withdraw(11 * DAY, SELLER, whole(25, usd), sandbox::DECLINES);
        for person in people::bidders() {
            if self.dice.percent(20) {
                continue;
            }
            let currency = *self.dice.pick(&[usd, usd, usd, eur, gbp]);
            let amount = self.dice.between(5, 200) * 1_000;
            let method = if self.dice.percent(15) { sandbox::DELAYS } else { sandbox::SUCCEEDS };
            let day = self.dice.between(1, 8);
            let minute = day * DAY + self.dice.between(0, DAY);
            self.deposit(minute, person, money(amount, currency), method);
            if self.dice.percent(25) {
                let part = round_to(amount / 4, 500);
                let method = if self.dice.percent(15) { sandbox::DECLINES } else { sandbox::SUCCEEDS };
                let later = minute + DAY + self.dice.between(0, 3 * DAY);
                self.withdraw(later, person, money(part, currency), method);
            }
        }
    }

    /// A lot of a shop, its price still to be set. Answers with its place.
    fn lot(&mut self, shop: usize) -> usize {
        let slug = *self.dice.pick(SHOPS[shop].categories);
        let category = CATEGORIES.into_iter().find(|category| category.slug == slug).unwrap_or(CATEGORIES[0]);
        let Good { details, worth } = self.stock.next(category);
        let currency = SHOPS[shop].currency();
        // What is worth more is packed with more care.
        let details = Details { shipping: Some(money(round_to(350 + worth / 40, 50), currency)), ..details };
        let sale = Sale::FixedPrice(money(asking_price(worth), currency));
        self.lots.push(Lot { seller: people::owner(shop), details, sale, worth, currency });
        self.lots.len() - 1
    }

    fn offer_at_fixed_prices(&mut self) {
        for number in 0..FIXED_PRICE {
            // Every twelfth is the printed seller's.
            let shop = if number % 12 == 0 { 0 } else { 1 + self.dice.index(SHOPS.len() - 1) };
            let lot = self.lot(shop);
            let minute = self.dice.between(FIRST_OFFER, SPAN - GRID);
            if number < DRAFTS {
                self.tell(minute, Act::Draft { lot });
                continue;
            }
            let later = |dice: &mut Dice| dice.between(minute + 2 * GRID, SPAN + 2 * GRID - 1).min(SPAN - 1);
            let minute = minute.min(SPAN - 4 * GRID);
            self.tell(minute, Act::Offer { lot });
            if number < DRAFTS + TAKEN_OFF {
                let minute = later(&mut self.dice);
                self.tell(minute, Act::TakeOff { lot });
            } else if number < DRAFTS + TAKEN_OFF + CHEAPER {
                let Lot { worth, currency, .. } = self.lots[lot];
                let price = money(asking_price(worth * 85 / 100), currency);
                let minute = later(&mut self.dice);
                self.tell(minute, Act::Reprice { lot, price });
            } else if minute < SPAN - DAY {
                self.offered.push((lot, minute));
            }
        }
    }

    fn auction_live(&mut self) {
        for (number, left) in LIVE_LEFT.into_iter().enumerate() {
            let shop = if number % 7 == 1 { 0 } else { 1 + self.dice.index(SHOPS.len() - 1) };
            let lot = self.lot(shop);
            let days: Vec<i64> = [1, 2, 3, 5, 7, 10].into_iter().filter(|days| days * DAY > left + 4 * HOUR).collect();
            let begins = SPAN + left - self.dice.pick(&days) * DAY;
            // Every eighth may still be bought at once, every fifth has a reserve.
            let for_buy_now = number % 8 == 6;
            let reserve = if number % 5 == 3 { 85 } else { 0 };
            self.set_auction(lot, reserve, if for_buy_now { 130 } else { 0 }, None, SPAN + left);
            self.tell(begins, Act::Offer { lot });
            if for_buy_now || number % 12 == 11 {
                continue;
            }
            let heat = if number == 0 { 24 } else { *self.dice.pick(&HEAT) };
            // The printed buyer leads some and is outbid in others.
            let buyer = match number % 9 {
                2 => Some(150),
                0 | 4 => Some(65),
                _ => None,
            };
            self.attract(lot, heat, 120, buyer, begins, SPAN);
        }
    }

    fn auction_closed(&mut self) {
        for number in 0..WON {
            let shop = if number % 5 == 1 { 0 } else { 1 + self.dice.index(SHOPS.len() - 1) };
            let reserve = if number % 4 == 2 { 60 } else { 0 };
            let (lot, begins, ends) = self.past_auction(shop, reserve, 0);
            let buyer = (number % 5 == 0).then_some(150);
            let heat = *self.dice.pick(&HEAT[2..]);
            self.attract(lot, heat, 120, buyer, begins, ends);
            if number % 6 == 2 {
                self.snipe(lot, ends);
            }
            self.ended.push((lot, ends));
        }
        for _ in 0..RESERVE_MISSED {
            let shop = 1 + self.dice.index(SHOPS.len() - 1);
            let (lot, begins, ends) = self.past_auction(shop, 100, 0);
            let heat = *self.dice.pick(&HEAT[1..5]);
            self.attract(lot, heat, 85, None, begins, ends);
        }
        for _ in 0..WITHOUT_BIDS {
            let shop = 1 + self.dice.index(SHOPS.len() - 1);
            self.past_auction(shop, 0, 0);
        }
        for number in 0..BOUGHT_NOW {
            let shop = if number == 1 { 0 } else { 1 + self.dice.index(SHOPS.len() - 1) };
            let (lot, begins, ends) = self.past_auction(shop, 0, 115);
            let buyer = if number == 0 { BUYER } else { people::bidders().start + self.dice.index(40) };
            let minute = self.dice.between(begins + GRID, ends - 2 * GRID);
            self.tell(minute, Act::BuyNow { lot, buyer });
            self.ended.push((lot, minute));
        }
        for (number, reason) in CALLED_OFF.into_iter().enumerate() {
            let shop = 1 + self.dice.index(SHOPS.len() - 1);
            let (lot, begins, ends) = self.past_auction(shop, 0, 0);
            let by_staff = number + 1 == CALLED_OFF.len();
            let minute = ends - 6 * HOUR;
            if by_staff {
                self.attract(lot, 4, 110, None, begins, minute - GRID);
            }
            let by = if by_staff { ADMIN } else { self.lots[lot].seller };
            self.tell(minute, Act::CallOff { lot, by, reason });
        }
    }

    fn auction_scheduled(&mut self) {
        for (number, starts_in) in SCHEDULED_IN.into_iter().enumerate() {
            let shop = if number == 0 { 0 } else { 1 + self.dice.index(SHOPS.len() - 1) };
            let lot = self.lot(shop);
            let starts = SPAN + starts_in;
            let days = *self.dice.pick(&[3, 5, 7]);
            self.set_auction(lot, 0, 0, Some(starts), starts + days * DAY);
            let minute = self.dice.between(SPAN - DAY, SPAN - 2 * GRID);
            self.tell(minute, Act::Offer { lot });
        }
    }

    /// An auction that begins and ends within the story. Answers with its place, and with both in minutes.
    fn past_auction(&mut self, shop: usize, reserve: i64, buy_now: i64) -> (usize, i64, i64) {
        let lot = self.lot(shop);
        let days = *self.dice.pick(&[1, 2, 3, 5, 7]);
        let ends = self.dice.between(FIRST_OFFER + days * DAY + GRID, SPAN - HOUR);
        let begins = ends - days * DAY;
        self.set_auction(lot, reserve, buy_now, None, ends);
        self.tell(begins, Act::Offer { lot });
        (lot, begins, ends)
    }

    /// Sells a lot by auction. Reserve and buy-now are in per cent of its worth; 0 for none.
    fn set_auction(&mut self, lot: usize, reserve: i64, buy_now: i64, starts: Option<i64>, ends: i64) {
        let start = self.dice.between(25, 55);
        let Lot { worth, currency, ref mut sale, .. } = self.lots[lot];
        let share = |percent: i64| money(round_to(worth * percent / 100, 50), currency);
        *sale = Sale::Auction {
            start_price: share(start),
            reserve_price: (reserve > 0).then(|| share(reserve)),
            buy_now_price: (buy_now > 0).then(|| share(buy_now)),
            starts: starts.map(TimeDelta::minutes),
            ends: TimeDelta::minutes(ends),
        };
    }

    /// Lets bidders find a lot between two minutes. Nobody finds it worth more than `highest` per cent of its worth,
    /// but the printed buyer, if it is one of them, who finds it worth just what `buyer` says.
    fn attract(&mut self, lot: usize, bids: usize, highest: i64, buyer: Option<i64>, from: i64, to: i64) {
        let mut interested: Vec<usize> = people::bidders().collect();
        self.dice.shuffle(&mut interested);
        interested.truncate(3 + bids / 3);
        let Lot { worth, currency, .. } = self.lots[lot];
        let dice = &mut self.dice;
        let mut bidder = |person, percent: i64| Bidder {
            person,
            most: money(round_to(worth * percent / 100, 50), currency),
            eagerness: if dice.percent(25) { 100 } else { dice.between(5, 50) },
        };
        let mut bidders: Vec<Bidder> = vec![];
        for (rank, person) in (0_i64..).zip(interested) {
            bidders.push(bidder(person, (highest - 9 * rank).max(50)));
        }
        bidders.extend(buyer.map(|percent| bidder(BUYER, percent)));
        self.dice.shuffle(&mut bidders);
        // A turn in every span of the grid at most, more of them towards the end.
        let (first, last) = (from / GRID + 1, to / GRID - 1);
        let mut spans: Vec<i64> =
            (0..bids).map(|_| last - self.dice.between(0, 99).pow(2) * (last - first) / 9_801).collect();
        spans.sort_unstable();
        spans.dedup();
        for (turn, span) in spans.into_iter().filter(|span| *span >= first).enumerate() {
            bidders.rotate_left(1);
            self.tell(span * GRID, Act::Bid { lot, turn, bidders: bidders.clone() });
        }
    }

    /// Two bids in the last moments, each of which moves the end.
    fn snipe(&mut self, lot: usize, ends: i64) {
        let Lot { worth, currency, .. } = self.lots[lot];
        let mut people: Vec<usize> = people::bidders().collect();
        self.dice.shuffle(&mut people);
        for (turn, (person, seconds)) in people.into_iter().zip([-70, 25]).enumerate() {
            let percent = 125 + 10 * i64::try_from(turn).unwrap_or(0);
            let most = money(round_to(worth * percent / 100, 50), currency);
            let bidders = vec![Bidder { person, most, eagerness: 100 }];
            self.tell_at(ends * 60 + seconds, Act::Bid { lot, turn: 1_000 + turn, bidders });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn acts(story: &Story) -> impl Iterator<Item = (TimeDelta, &Act)> {
        story.stops.iter().flat_map(|stop| stop.acts.iter().map(|act| (stop.at, act)))
    }

    fn lot_of(act: &Act) -> Option<usize> {
        match act {
            Act::Join { .. }
            | Act::Publish { .. }
            | Act::Verify { .. }
            | Act::Subscribe { .. }
            | Act::Deposit { .. }
            | Act::Withdraw { .. }
            | Act::Buy { .. }
            | Act::Order { .. }
            | Act::PayWon { .. } => None,
            Act::Draft { lot }
            | Act::Offer { lot }
            | Act::Reprice { lot, .. }
            | Act::Reduce { lot, .. }
            | Act::TakeOff { lot }
            | Act::Bid { lot, .. }
            | Act::BuyNow { lot, .. }
            | Act::CallOff { lot, .. } => Some(*lot),
        }
    }

    #[test]
    fn the_story_is_the_same_every_time() {
        assert_eq!(format!("{:?}", tell()), format!("{:?}", tell()));
    }

    #[test]
    fn every_act_has_a_name_of_its_own_and_happens_within_the_story() {
        let story = tell();
        let names: Vec<_> = acts(&story).map(|(_, act)| act.name()).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        assert!(acts(&story).all(|(at, _)| TimeDelta::zero() <= at && at < span()));
        assert!(story.stops.is_sorted_by_key(|stop| stop.at));
    }

    #[test]
    fn titles_are_unique_and_there_are_enough_listings_and_auctions() {
        let story = tell();
        let titles: HashSet<_> = story.lots.iter().map(|lot| &lot.details.title).collect();
        assert_eq!(titles.len(), story.lots.len());
        let auctions = story.lots.iter().filter(|lot| matches!(lot.sale, Sale::Auction { .. })).count();
        assert!(auctions >= 60 && story.lots.len() >= 300, "{auctions} of {}", story.lots.len());
        let bids = acts(&story).filter(|(_, act)| matches!(act, Act::Bid { .. })).count();
        assert!(bids >= 250, "{bids}");
    }

    #[test]
    fn prices_are_positive_and_in_order() {
        for lot in tell().lots {
            match lot.sale {
                Sale::FixedPrice(price) => assert!(price.is_positive()),
                Sale::Auction { start_price, reserve_price, buy_now_price, starts, ends } => {
                    let floor = reserve_price.unwrap_or(start_price).minor();
                    assert!(0 < start_price.minor() && start_price.minor() <= floor);
                    assert!(buy_now_price.is_none_or(|price| price.minor() >= floor));
                    assert!(starts.is_none_or(|starts| span() < starts && starts < ends));
                }
            }
        }
    }

    #[test]
    fn nothing_happens_to_a_lot_before_it_is_offered_nor_twice_at_a_stop() {
        let story = tell();
        let mut offered = HashMap::new();
        for (at, act) in acts(&story) {
            let Some(lot) = lot_of(act) else { continue };
            match act {
                Act::Draft { .. } | Act::Offer { .. } => assert_eq!(offered.insert(lot, at), None),
                _ => assert!(offered.insert(lot, at).is_some_and(|last| last < at), "{act:?}"),
            }
        }
        assert_eq!(offered.len(), story.lots.len());
    }

    #[test]
    fn people_are_there_before_they_do_anything_and_money_before_it_leaves() {
        let story = tell();
        let (mut joined, mut paid_in) = (HashMap::new(), HashMap::new());
        for (at, act) in acts(&story) {
            let here = |person: usize| assert!(joined.get(&person).is_some_and(|joined| *joined < at), "{act:?}");
            match act {
                Act::Join { person } => assert_eq!(joined.insert(*person, at), None),
                Act::Deposit { person, .. } => {
                    here(*person);
                    paid_in.insert(*person, at);
                }
                Act::Withdraw { person, .. } => assert!(paid_in.get(person).is_some_and(|paid| *paid < at), "{act:?}"),
                Act::Bid { bidders, .. } => bidders.iter().for_each(|bidder| here(bidder.person)),
                Act::BuyNow { buyer, .. } | Act::Buy { buyer, .. } => here(*buyer),
                Act::CallOff { by, .. } => here(*by),
                Act::Draft { lot } | Act::Offer { lot } => here(story.lots[*lot].seller),
                Act::Publish { .. } => here(ADMIN),
                Act::Subscribe { shop } => here(people::owner(*shop)),
                Act::Verify { shop } => [ADMIN, people::owner(*shop)].into_iter().for_each(here),
                Act::Reduce { .. }
                | Act::Reprice { .. }
                | Act::TakeOff { .. }
                | Act::Order { .. }
                | Act::PayWon { .. } => {}
            }
        }
        assert_eq!(joined.len(), story.people.len());
    }

    #[test]
    fn nothing_is_bought_before_it_is_offered_and_no_order_changes_before_it_is_placed() {
        let story = tell();
        let (mut offered, mut bought) = (HashMap::new(), HashMap::new());
        for (at, act) in acts(&story) {
            match act {
                Act::Offer { lot } => drop(offered.insert(*lot, at)),
                Act::Buy { number, lots, .. } => {
                    assert!(lots.iter().all(|lot| offered.get(lot).is_some_and(|offer| *offer < at)), "{act:?}");
                    assert_eq!(bought.insert(*number, at), None);
                }
                Act::Order { number, step: Step::Pay } => assert_eq!(bought.get(number), Some(&at)),
                Act::Order { number, .. } => assert!(bought.get(number).is_some_and(|buy| *buy < at), "{act:?}"),
                _ => {}
            }
        }
        assert!(bought.len() > 40, "{}", bought.len());
    }

    #[test]
    fn live_auctions_end_over_the_week_after_the_story() {
        let story = tell();
        let mut left: Vec<_> = story
            .lots
            .iter()
            .filter_map(|lot| match lot.sale {
                Sale::Auction { starts: None, ends, .. } if ends > span() => Some(ends - span()),
                _ => None,
            })
            .collect();
        left.sort();
        assert_eq!(left.len(), LIVE_LEFT.len());
        assert!(left[0] < TimeDelta::minutes(10) && left[left.len() - 1] == TimeDelta::days(7));
    }
}
