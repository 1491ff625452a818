//! The rules of "Proxy bidding", one after another. Amounts are written in major units, times in seconds from the
//! start; the auction lasts an hour and starts at 10.00.

use chrono::{TimeDelta, TimeZone, Utc};
use schemars::schema_for;
use uuid::Uuid;

use super::*;
use crate::increments::Band;
use crate::money::AMOUNT_LIMIT;
use crate::testing::{Given, given};

const SELLER: AccountId = AccountId(Uuid::from_u128(1));
const ANN: AccountId = AccountId(Uuid::from_u128(2));
const BOB: AccountId = AccountId(Uuid::from_u128(3));
const CAT: AccountId = AccountId(Uuid::from_u128(4));
const STAFF: AccountId = AccountId(Uuid::from_u128(5));

const END_S: i64 = 3_600;
const WINDOW_S: i64 = 120;

fn at(second: i64) -> Timestamp {
    at_ms(second * 1_000)
}

fn at_ms(ms: i64) -> Timestamp {
    Utc.timestamp_opt(1_700_000_000, 0).unwrap() + TimeDelta::milliseconds(ms)
}

fn money(text: &str, currency: Currency) -> Money {
    let (major, minor) = text.split_once('.').unwrap_or((text, ""));
    assert_eq!(minor.len(), currency.exponent() as usize, "`{text}` is not an amount in {currency}");
    Money::new(format!("{major}{minor}").parse().unwrap(), currency).unwrap()
}

fn usd(text: &str) -> Money {
    money(text, Currency::USD)
}

fn terms_in(currency: Currency, start_price: &str) -> Terms {
    Terms {
        seller: SELLER,
        start_price: money(start_price, currency),
        reserve_price: None,
        buy_now_price: None,
        starts_at: at(0),
        ends_at: at(END_S),
        soft_close_window_ms: 120_000,
        increments: Increments::standard(currency),
    }
}

fn terms() -> Terms {
    terms_in(Currency::USD, "10.00")
}

fn with_reserve(reserve: &str) -> Terms {
    Terms { reserve_price: Some(usd(reserve)), ..terms() }
}

fn with_buy_now(buy_now: &str) -> Terms {
    Terms { buy_now_price: Some(usd(buy_now)), ..terms() }
}

fn live(terms: Terms) -> Given<Auction> {
    given([Event::AuctionScheduled { terms }, Event::AuctionOpened {}])
}

fn schedule(terms: Terms) -> Command {
    Command::Schedule { terms, now: at(-60) }
}

fn bid(bidder: AccountId, maximum: &str) -> Command {
    bid_at(60, bidder, maximum)
}

fn bid_at(second: i64, bidder: AccountId, maximum: &str) -> Command {
    Command::PlaceBid { bidder, maximum: usd(maximum), now: at(second) }
}

fn close_at(second: i64) -> Command {
    Command::Close { now: at(second) }
}

fn buy_now_at(second: i64, buyer: AccountId) -> Command {
    Command::BuyNow { buyer, now: at(second) }
}

fn cancel_at(second: i64, by: Canceller) -> Command {
    Command::Cancel { by, reason: "broken".to_owned(), now: at(second) }
}

fn too_low(minimum: &str, offered: &str) -> Error {
    Error::BidTooLow { minimum: usd(minimum), offered: usd(offered) }
}

/// The event of an accepted bid without reserve and buy-now.
fn placed(bidder: AccountId, maximum: &str, standing: Standing) -> Event {
    Event::BidPlaced { bidder, maximum: usd(maximum), standing, reserve_met: true, buy_now_available: false }
}

/// Closed at its end, with this outcome.
fn closed(outcome: Outcome) -> Event {
    Event::AuctionClosed { outcome, ended_at: at(END_S) }
}

fn won(winner: AccountId, price: &str) -> Outcome {
    Outcome::Won { winner, price: usd(price) }
}

fn alone(leader: AccountId, maximum: &str, price: &str) -> Standing {
    Standing { leader, leader_maximum: usd(maximum), runner_up_maximum: None, price: usd(price) }
}

fn ahead(leader: AccountId, maximum: &str, runner_up: &str, price: &str) -> Standing {
    Standing { runner_up_maximum: Some(usd(runner_up)), ..alone(leader, maximum, price) }
}

fn as_live(auction: &Given<Auction>) -> &Live {
    match auction.state() {
        Auction::Live(live) => live,
        other => panic!("not live: {other:?}"),
    }
}

fn standing(auction: &Given<Auction>) -> Standing {
    as_live(auction).standing.unwrap()
}

// Rule 1: a first bid is accepted if max ≥ start price; price = start.

#[test]
fn a_first_bid_at_the_start_price_is_accepted() {
    live(terms()).when(bid(ANN, "10.00")).then([placed(ANN, "10.00", alone(ANN, "10.00", "10.00"))]);
}

#[test]
fn a_first_bid_far_above_the_start_price_leaves_the_price_at_the_start() {
    live(terms()).when(bid(ANN, "900.00")).then([placed(ANN, "900.00", alone(ANN, "900.00", "10.00"))]);
}

#[test]
fn a_first_bid_below_the_start_price_is_refused() {
    live(terms()).when(bid(ANN, "9.99")).then_refused(too_low("10.00", "9.99"));
    live(terms()).when(bid(ANN, "0.00")).then_refused(too_low("10.00", "0.00"));
    live(terms()).when(bid(ANN, "-10.00")).then_refused(too_low("10.00", "-10.00"));
}

// Rule 2: a rival's bid is accepted if max ≥ price + INC(price); above the leader's maximum it takes the lead.

#[test]
fn a_rival_below_the_next_increment_is_refused() {
    let led = || live(terms()).and(bid(ANN, "30.00"));
    led().when(bid(BOB, "10.49")).then_refused(too_low("10.50", "10.49"));
    led().when(bid(BOB, "10.50")).then([placed(BOB, "10.50", ahead(ANN, "30.00", "10.50", "11.00"))]);
}

#[test]
fn a_rival_up_to_the_leaders_maximum_lifts_the_price_and_not_the_leader() {
    live(terms()).and(bid(ANN, "30.00")).when(bid(BOB, "20.00")).then([placed(
        BOB,
        "20.00",
        ahead(ANN, "30.00", "20.00", "20.50"),
    )]);
}

#[test]
fn a_rival_above_the_leaders_maximum_takes_the_lead() {
    live(terms()).and(bid(ANN, "30.00")).when(bid(BOB, "50.00")).then([placed(
        BOB,
        "50.00",
        ahead(BOB, "50.00", "30.00", "31.00"),
    )]);
}

#[test]
fn the_lead_is_taken_even_by_less_than_a_full_increment() {
    live(terms()).and(bid(ANN, "30.00")).when(bid(BOB, "30.01")).then([placed(
        BOB,
        "30.01",
        ahead(BOB, "30.01", "30.00", "30.01"),
    )]);
}

#[test]
fn on_a_tie_the_earlier_bid_keeps_the_lead() {
    let tied = || live(terms()).and(bid(ANN, "30.00")).and(bid(BOB, "30.00"));
    assert_eq!(standing(&tied()), ahead(ANN, "30.00", "30.00", "30.00"));
    tied().when(bid(CAT, "30.00")).then_refused(too_low("31.00", "30.00"));
    tied().when(bid(BOB, "31.00")).then([placed(BOB, "31.00", ahead(BOB, "31.00", "30.00", "31.00"))]);
    tied().when(close_at(END_S)).then([closed(won(ANN, "30.00"))]);
}

#[test]
fn a_raise_to_a_maximum_that_a_rival_has_bid_before_comes_second() {
    let auction = live(terms()).and(bid(ANN, "20.00")).and(bid(BOB, "30.00")).and(bid(ANN, "30.00"));
    assert_eq!(standing(&auction), ahead(BOB, "30.00", "30.00", "30.00"));
}

#[test]
fn a_leader_who_lost_the_lead_must_top_the_price_like_any_rival() {
    let auction = || live(terms()).and(bid(ANN, "30.00")).and(bid(BOB, "50.00"));
    auction().when(bid(ANN, "31.99")).then_refused(too_low("32.00", "31.99"));
    auction().when(bid(ANN, "60.00")).then([placed(ANN, "60.00", ahead(ANN, "60.00", "50.00", "51.00"))]);
}

#[test]
fn the_minimum_follows_the_public_table_of_increments() {
    for (price, minimum) in [
        ("0.01", "0.06"),
        ("0.99", "1.04"),
        ("1.00", "1.25"),
        ("4.99", "5.24"),
        ("5.00", "5.50"),
        ("24.99", "25.49"),
        ("25.00", "26.00"),
        ("99.99", "100.99"),
        ("100.00", "102.50"),
        ("249.99", "252.49"),
        ("250.00", "255.00"),
        ("499.99", "504.99"),
        ("500.00", "510.00"),
        ("999.99", "1009.99"),
        ("1000.00", "1025.00"),
        ("2499.99", "2524.99"),
        ("2500.00", "2550.00"),
        ("4999.99", "5049.99"),
        ("5000.00", "5100.00"),
        ("1000000.00", "1000100.00"),
    ] {
        let led = || live(terms_in(Currency::USD, price)).and(bid(ANN, "2000000.00"));
        assert_eq!(as_live(&led()).minimum_bid(), usd(minimum), "at {price}");
        led().when(bid(BOB, price)).then_refused(too_low(minimum, price));
    }
}

#[test]
fn a_table_of_ones_own_is_honoured() {
    let increments = Increments::try_from(vec![Band { below: None, step: 700 }]).unwrap();
    let led = || live(Terms { increments: increments.clone(), ..terms() }).and(bid(ANN, "100.00"));
    led().when(bid(BOB, "16.99")).then_refused(too_low("17.00", "16.99"));
    led().when(bid(BOB, "20.00")).then([placed(BOB, "20.00", ahead(ANN, "100.00", "20.00", "27.00"))]);
}

// Rule 3: the leader may only raise their own maximum.

#[test]
fn a_leaders_raise_changes_the_maximum_and_not_the_price() {
    live(terms()).and(bid(ANN, "30.00")).and(bid(BOB, "20.00")).when(bid(ANN, "40.00")).then([placed(
        ANN,
        "40.00",
        ahead(ANN, "40.00", "20.00", "20.50"),
    )]);
}

#[test]
fn a_leader_without_a_rival_raises_without_cost() {
    live(terms()).and(bid(ANN, "30.00")).when(bid(ANN, "40.00")).then([placed(
        ANN,
        "40.00",
        alone(ANN, "40.00", "10.00"),
    )]);
}

#[test]
fn a_leader_may_raise_by_less_than_an_increment_but_neither_repeat_nor_lower() {
    let led = || live(terms()).and(bid(ANN, "30.00"));
    led().when(bid(ANN, "30.01")).then([placed(ANN, "30.01", alone(ANN, "30.01", "10.00"))]);
    led().when(bid(ANN, "30.00")).then_refused(too_low("30.01", "30.00"));
    led().when(bid(ANN, "15.00")).then_refused(too_low("30.01", "15.00"));
}

// Rule 4: after every accepted bid, price = max(price, min(leader max, second max + INC(second max))).

#[test]
fn the_increment_is_looked_up_at_the_second_highest_maximum_and_not_at_the_old_price() {
    // At the old price of 10.00 it would be 0.50.
    let auction = live(terms()).and(bid(ANN, "900.00")).and(bid(BOB, "300.00"));
    assert_eq!(standing(&auction), ahead(ANN, "900.00", "300.00", "305.00"));
}

#[test]
fn the_price_stops_at_the_leaders_maximum() {
    let auction = live(terms()).and(bid(ANN, "302.00")).and(bid(BOB, "300.00"));
    assert_eq!(standing(&auction), ahead(ANN, "302.00", "300.00", "302.00"));
}

#[test]
fn a_leaders_own_raise_lifts_a_price_that_their_maximum_had_held_down() {
    let held_down = live(terms()).and(bid(ANN, "302.00")).and(bid(BOB, "300.00"));
    held_down.when(bid(ANN, "400.00")).then([placed(ANN, "400.00", ahead(ANN, "400.00", "300.00", "305.00"))]);
    let tied = live(terms()).and(bid(ANN, "300.00")).and(bid(BOB, "300.00"));
    tied.when(bid(ANN, "303.00")).then([placed(ANN, "303.00", ahead(ANN, "303.00", "300.00", "303.00"))]);
}

#[test]
fn a_leader_never_bids_against_themselves() {
    let auction = live(terms()).and(bid(ANN, "30.00")).and(bid(ANN, "50.00")).and(bid(ANN, "70.00"));
    assert_eq!(standing(&auction), alone(ANN, "70.00", "10.00"));
    let lead_regained = live(terms()).and(bid(ANN, "30.00")).and(bid(BOB, "40.00")).and(bid(ANN, "70.00"));
    assert_eq!(standing(&lead_regained), ahead(ANN, "70.00", "40.00", "41.00"));
}

#[test]
fn the_second_highest_maximum_outlives_a_change_of_leader() {
    let auction = live(terms()).and(bid(ANN, "30.00")).and(bid(BOB, "50.00")).and(bid(CAT, "40.00"));
    assert_eq!(standing(&auction), ahead(BOB, "50.00", "40.00", "41.00"));
    // Ann's new maximum is the highest of anybody but Bob's, and Cat's is forgotten with it.
    assert_eq!(standing(&auction.and(bid(ANN, "45.00"))), ahead(BOB, "50.00", "45.00", "46.00"));
}

#[test]
fn at_the_top_of_the_range_the_largest_amount_is_the_minimum_and_the_cap() {
    let top = Money::new(AMOUNT_LIMIT - 1, Currency::USD).unwrap();
    let near = |below: i64| Money::new(AMOUNT_LIMIT - 1 - below, Currency::USD).unwrap();
    let bid = |bidder, maximum| Command::PlaceBid { bidder, maximum, now: at(60) };
    let led = || live(Terms { start_price: near(50), ..terms() }).and(bid(ANN, near(10)));
    led().when(bid(BOB, near(1))).then_refused(Error::BidTooLow { minimum: top, offered: near(1) });
    let auction = led().and(bid(BOB, top));
    let expected = Standing { leader: BOB, leader_maximum: top, runner_up_maximum: Some(near(10)), price: top };
    assert_eq!(standing(&auction), expected);
}

// Rule 5: a secret reserve.

#[test]
fn a_bid_below_the_reserve_is_accepted_without_meeting_it() {
    live(with_reserve("50.00")).when(bid(ANN, "49.99")).then([Event::BidPlaced {
        bidder: ANN,
        maximum: usd("49.99"),
        standing: alone(ANN, "49.99", "10.00"),
        reserve_met: false,
        buy_now_available: false,
    }]);
    let auction = live(with_reserve("50.00")).and(bid(ANN, "49.99"));
    assert!(!as_live(&auction).reserve_met());
}

#[test]
fn a_bid_at_or_above_the_reserve_lifts_the_price_to_it() {
    for maximum in ["50.00", "80.00"] {
        let auction = live(with_reserve("50.00")).and(bid(ANN, maximum));
        assert_eq!(standing(&auction), alone(ANN, maximum, "50.00"));
        assert!(as_live(&auction).reserve_met());
    }
}

#[test]
fn the_reserve_is_reached_by_the_leaders_own_raise() {
    let unmet = live(with_reserve("50.00")).and(bid(ANN, "20.00"));
    unmet.when(bid(ANN, "60.00")).then([placed(ANN, "60.00", alone(ANN, "60.00", "50.00"))]);
}

#[test]
fn two_bids_below_the_reserve_do_not_meet_it_together() {
    let auction = live(with_reserve("50.00")).and(bid(ANN, "48.00")).and(bid(BOB, "49.50"));
    assert_eq!(standing(&auction), ahead(BOB, "49.50", "48.00", "49.00"));
    auction.when(close_at(END_S)).then([closed(Outcome::Unsold { reserve_missed: true })]);
}

#[test]
fn once_the_reserve_is_met_a_rival_must_top_it() {
    let met = || live(with_reserve("50.00")).and(bid(ANN, "80.00"));
    met().when(bid(BOB, "50.99")).then_refused(too_low("51.00", "50.99"));
    assert_eq!(standing(&met().and(bid(BOB, "70.00"))), ahead(ANN, "80.00", "70.00", "71.00"));
}

#[test]
fn a_reserve_below_what_the_runner_up_offers_changes_nothing() {
    let auction = live(with_reserve("50.00")).and(bid(ANN, "49.99")).and(bid(BOB, "80.00"));
    assert_eq!(standing(&auction), ahead(BOB, "80.00", "49.99", "50.99"));
}

#[test]
fn an_auction_that_meets_its_reserve_is_sold_at_no_less() {
    live(with_reserve("50.00")).and(bid(ANN, "50.00")).when(close_at(END_S)).then([closed(won(ANN, "50.00"))]);
}

#[test]
fn an_auction_below_its_reserve_is_unsold() {
    let unmet = live(with_reserve("50.00")).and(bid(ANN, "49.99"));
    unmet.when(close_at(END_S)).then([closed(Outcome::Unsold { reserve_missed: true })]);
}

#[test]
fn an_auction_without_bids_is_unsold_and_missed_no_reserve() {
    let unsold = || [closed(Outcome::Unsold { reserve_missed: false })];
    live(terms()).when(close_at(END_S)).then(unsold());
    live(with_reserve("50.00")).when(close_at(END_S)).then(unsold());
}

#[test]
fn without_a_reserve_it_counts_as_met_before_any_bid() {
    assert!(as_live(&live(terms())).reserve_met());
    assert!(!as_live(&live(with_reserve("50.00"))).reserve_met());
}

// Rule 6: buy-now.

#[test]
fn buying_at_once_ends_the_auction_at_the_buy_now_price() {
    let bought = Outcome::BoughtNow { winner: ANN, price: usd("99.00") };
    live(with_buy_now("99.00"))
        .when(buy_now_at(60, ANN))
        .then([Event::AuctionClosed { outcome: bought, ended_at: at(60) }]);
    let over = || live(with_buy_now("99.00")).and(buy_now_at(60, ANN));
    over().when(bid_at(61, BOB, "200.00")).then_refused(Error::Ended { ended_at: at(60) });
    over().when(buy_now_at(61, BOB)).then_refused(Error::Ended { ended_at: at(60) });
    over().when(close_at(END_S)).then_nothing();
}

#[test]
fn without_a_reserve_buy_now_goes_with_the_first_bid() {
    let auction = || live(with_buy_now("99.00"));
    assert!(as_live(&auction()).buy_now_available());
    let after_a_bid = auction().and(bid(ANN, "10.00"));
    assert!(!as_live(&after_a_bid).buy_now_available());
    after_a_bid.when(buy_now_at(61, BOB)).then_refused(Error::BuyNowUnavailable);
}

#[test]
fn with_a_reserve_buy_now_stays_until_the_reserve_is_met() {
    let terms = || Terms { buy_now_price: Some(usd("99.00")), ..with_reserve("50.00") };
    let placed = |maximum: &str, price: &str, reserve_met| Event::BidPlaced {
        bidder: ANN,
        maximum: usd(maximum),
        standing: alone(ANN, maximum, price),
        reserve_met,
        buy_now_available: !reserve_met,
    };
    live(terms()).when(bid(ANN, "49.99")).then([placed("49.99", "10.00", false)]);
    live(terms()).when(bid(ANN, "50.00")).then([placed("50.00", "50.00", true)]);

    let unmet = || live(terms()).and(bid(ANN, "49.99"));
    for buyer in [ANN, BOB] {
        let outcome = Outcome::BoughtNow { winner: buyer, price: usd("99.00") };
        unmet().when(buy_now_at(61, buyer)).then([Event::AuctionClosed { outcome, ended_at: at(61) }]);
    }
    let met_by_a_raise = unmet().and(bid(ANN, "50.00"));
    assert!(!as_live(&met_by_a_raise).buy_now_available());
    met_by_a_raise.when(buy_now_at(61, BOB)).then_refused(Error::BuyNowUnavailable);
}

#[test]
fn a_refused_bid_does_not_take_buy_now_away() {
    let auction = live(with_buy_now("99.00"));
    assert!(auction.state().decide(bid(ANN, "9.99")).is_err());
    let outcome = Outcome::BoughtNow { winner: BOB, price: usd("99.00") };
    auction.when(buy_now_at(61, BOB)).then([Event::AuctionClosed { outcome, ended_at: at(61) }]);
}

#[test]
fn there_is_no_buying_at_once_without_a_price_for_it() {
    live(terms()).when(buy_now_at(60, ANN)).then_refused(Error::BuyNowUnavailable);
}

#[test]
fn buying_at_once_is_for_others_than_the_seller_between_start_and_end() {
    let auction = || live(with_buy_now("99.00"));
    auction().when(buy_now_at(60, SELLER)).then_refused(Error::OwnItem);
    auction().when(buy_now_at(-1, ANN)).then_refused(Error::NotStarted { starts_at: at(0) });
    auction().when(buy_now_at(END_S, ANN)).then_refused(Error::Ended { ended_at: at(END_S) });
}

// Rule 7: a bid holds no money.

#[test]
fn no_event_of_an_auction_can_carry_a_posting() {
    let schema = serde_json::to_string(&schema_for!(Event)).unwrap();
    assert!(!schema.contains("LedgerAccount") && !schema.contains("posting"), "{schema}");
}

// Rule 8: soft close.

#[test]
fn a_bid_with_exactly_the_window_left_does_not_move_the_end() {
    live(terms()).when(bid_at(END_S - WINDOW_S, ANN, "10.00")).then([placed(
        ANN,
        "10.00",
        alone(ANN, "10.00", "10.00"),
    )]);
}

#[test]
fn a_bid_with_less_than_the_window_left_moves_the_end_to_one_window_from_now() {
    let now = at_ms((END_S - WINDOW_S) * 1_000 + 1);
    live(terms()).when(Command::PlaceBid { bidder: ANN, maximum: usd("10.00"), now }).then([
        placed(ANN, "10.00", alone(ANN, "10.00", "10.00")),
        Event::AuctionExtended { ends_at: at_ms(END_S * 1_000 + 1) },
    ]);
}

#[test]
fn every_late_bid_moves_the_end_again() {
    let last_second = live(terms()).and(bid_at(END_S - 1, ANN, "10.00"));
    assert_eq!(as_live(&last_second).ends_at, at(END_S - 1 + WINDOW_S));
    let overtime = last_second.and(bid_at(END_S + 60, BOB, "20.00"));
    assert_eq!(as_live(&overtime).ends_at, at(END_S + 60 + WINDOW_S));
    overtime
        .when(bid_at(END_S + 60 + WINDOW_S, CAT, "30.00"))
        .then_refused(Error::Ended { ended_at: at(END_S + 60 + WINDOW_S) });
}

#[test]
fn a_bid_that_leaves_the_leader_in_place_moves_the_end_too() {
    let led = || live(terms()).and(bid(ANN, "30.00"));
    for late in [bid_at(END_S - 10, BOB, "20.00"), bid_at(END_S - 10, ANN, "40.00")] {
        assert_eq!(as_live(&led().and(late)).ends_at, at(END_S - 10 + WINDOW_S));
    }
}

#[test]
fn a_refused_late_bid_does_not_move_the_end() {
    live(terms()).when(bid_at(END_S - 1, ANN, "9.99")).then_refused(too_low("10.00", "9.99"));
    live(terms()).when(close_at(END_S)).then([closed(Outcome::Unsold { reserve_missed: false })]);
}

#[test]
fn without_a_window_the_end_stands() {
    let hard_close = Terms { soft_close_window_ms: 0, ..terms() };
    let auction = live(hard_close).and(bid_at(END_S - 1, ANN, "10.00"));
    assert_eq!(as_live(&auction).ends_at, at(END_S));
}

#[test]
fn a_moved_end_is_the_end() {
    let extended = || live(terms()).and(bid_at(END_S - 20, ANN, "10.00"));
    let ends_at = at(END_S + 100);
    extended().when(close_at(END_S)).then_refused(Error::NotEnded { ends_at });
    let outcome = won(ANN, "10.00");
    extended().when(close_at(END_S + 100)).then([Event::AuctionClosed { outcome, ended_at: ends_at }]);
}

// Opening.

#[test]
fn the_start_is_announced_once_and_not_before_it_comes() {
    let scheduled = || given::<Auction>([Event::AuctionScheduled { terms: terms() }]);
    scheduled().when(Command::Open { now: at_ms(-1) }).then_refused(Error::NotStarted { starts_at: at(0) });
    scheduled().when(Command::Open { now: at(0) }).then([Event::AuctionOpened {}]);
    live(terms()).when(Command::Open { now: at(1) }).then_nothing();
}

#[test]
fn the_first_bid_announces_a_start_that_was_not_announced_yet() {
    let scheduled = given::<Auction>([Event::AuctionScheduled { terms: terms() }]);
    let first = placed(ANN, "30.00", alone(ANN, "30.00", "10.00"));
    scheduled.when(bid_at(0, ANN, "30.00")).then([Event::AuctionOpened {}, first]);
    let opened = || given::<Auction>([Event::AuctionScheduled { terms: terms() }]).and(bid_at(0, ANN, "30.00"));
    opened().when(bid_at(1, ANN, "40.00")).then([placed(ANN, "40.00", alone(ANN, "40.00", "10.00"))]);
    opened().when(Command::Open { now: at(1) }).then_nothing();
}

#[test]
fn a_first_bid_may_announce_the_start_and_move_the_end_at_once() {
    let scheduled = given::<Auction>([Event::AuctionScheduled { terms: terms() }]);
    scheduled.when(bid_at(END_S - 1, ANN, "10.00")).then([
        Event::AuctionOpened {},
        placed(ANN, "10.00", alone(ANN, "10.00", "10.00")),
        Event::AuctionExtended { ends_at: at(END_S - 1 + WINDOW_S) },
    ]);
}

// Who bids, when, and in what.

#[test]
fn an_early_bid_is_refused() {
    live(terms()).when(bid_at(-1, ANN, "10.00")).then_refused(Error::NotStarted { starts_at: at(0) });
}

#[test]
fn a_late_bid_is_refused() {
    for second in [END_S, END_S + 1] {
        live(terms()).when(bid_at(second, ANN, "10.00")).then_refused(Error::Ended { ended_at: at(END_S) });
    }
    let closed = live(terms()).and(close_at(END_S));
    closed.when(bid_at(END_S + 1, ANN, "10.00")).then_refused(Error::Ended { ended_at: at(END_S) });
}

#[test]
fn a_seller_does_not_bid_on_what_they_sell() {
    live(terms()).when(bid(SELLER, "10.00")).then_refused(Error::OwnItem);
}

#[test]
fn a_bid_in_another_currency_is_refused() {
    let maximum = money("5000", Currency::JPY);
    let expected = Error::WrongCurrency { expected: Currency::USD, offered: Currency::JPY };
    live(terms()).when(Command::PlaceBid { bidder: ANN, maximum, now: at(60) }).then_refused(expected);
}

// Closing.

#[test]
fn the_highest_bidder_wins_at_the_visible_price() {
    let auction = live(terms()).and(bid(ANN, "30.00")).and(bid(BOB, "50.00"));
    auction.when(close_at(END_S)).then([closed(won(BOB, "31.00"))]);
}

#[test]
fn a_single_bidder_wins_at_the_start_price() {
    live(terms()).and(bid(ANN, "30.00")).when(close_at(END_S)).then([closed(won(ANN, "10.00"))]);
}

#[test]
fn an_auction_is_not_closed_before_its_end() {
    let now = at_ms(END_S * 1_000 - 1);
    live(terms()).when(Command::Close { now }).then_refused(Error::NotEnded { ends_at: at(END_S) });
}

#[test]
fn an_auction_that_is_closed_late_ended_on_time() {
    live(terms()).and(bid(ANN, "30.00")).when(close_at(END_S + 500)).then([closed(won(ANN, "10.00"))]);
}

#[test]
fn closing_twice_is_nothing_new() {
    let over = || live(terms()).and(bid(ANN, "30.00")).and(close_at(END_S));
    over().when(close_at(END_S)).then_nothing();
    over().when(close_at(END_S + 500)).then_nothing();
    over().when(Command::Open { now: at(END_S) }).then_nothing();
}

// Cancelling.

#[test]
fn a_seller_calls_an_auction_off_before_the_first_bid() {
    let cancelled = || [Event::AuctionCancelled { by: Canceller::Seller, reason: "broken".to_owned() }];
    live(terms()).when(cancel_at(60, Canceller::Seller)).then(cancelled());
    live(terms()).when(cancel_at(-30, Canceller::Seller)).then(cancelled());
}

#[test]
fn a_seller_cannot_call_off_what_has_bids() {
    let auction = live(terms()).and(bid(ANN, "30.00")).and(bid(BOB, "40.00"));
    auction.when(cancel_at(61, Canceller::Seller)).then_refused(Error::HasBids { bids: 2 });
}

#[test]
fn a_seller_cannot_call_off_what_has_ended() {
    let expected = Error::Ended { ended_at: at(END_S) };
    live(terms()).when(cancel_at(END_S, Canceller::Seller)).then_refused(expected);
}

#[test]
fn staff_call_an_auction_off_at_any_time_until_its_end() {
    let staff = Canceller::Staff(STAFF);
    let cancelled = || [Event::AuctionCancelled { by: staff, reason: "broken".to_owned() }];
    let with_bids = || live(terms()).and(bid(ANN, "30.00"));
    with_bids().when(cancel_at(61, staff)).then(cancelled());
    with_bids().when(cancel_at(END_S - 1, staff)).then(cancelled());
    // Whether or not the end has been declared.
    let ended = Error::Ended { ended_at: at(END_S) };
    with_bids().when(cancel_at(END_S, staff)).then_refused(ended);
    with_bids().and(close_at(END_S)).when(cancel_at(END_S, staff)).then_refused(ended);
}

#[test]
fn nothing_happens_to_a_cancelled_auction() {
    let cancelled = || live(with_buy_now("99.00")).and(cancel_at(60, Canceller::Seller));
    cancelled().when(bid_at(61, ANN, "10.00")).then_refused(Error::Cancelled);
    cancelled().when(buy_now_at(61, ANN)).then_refused(Error::Cancelled);
    cancelled().when(schedule(terms())).then_refused(Error::AlreadyScheduled);
    cancelled().when(cancel_at(61, Canceller::Staff(STAFF))).then_nothing();
    cancelled().when(Command::Open { now: at(61) }).then_nothing();
    cancelled().when(close_at(END_S)).then_nothing();
}

// Scheduling.

#[test]
fn an_auction_is_scheduled_once() {
    given::<Auction>([]).when(schedule(terms())).then([Event::AuctionScheduled { terms: terms() }]);
    live(terms()).when(schedule(terms())).then_refused(Error::AlreadyScheduled);
    live(terms()).and(close_at(END_S)).when(schedule(terms())).then_refused(Error::AlreadyScheduled);
}

#[test]
fn nothing_is_asked_of_an_auction_that_was_never_scheduled() {
    for command in [
        Command::Open { now: at(0) },
        bid(ANN, "10.00"),
        buy_now_at(60, ANN),
        close_at(END_S),
        cancel_at(60, Canceller::Staff(STAFF)),
    ] {
        given::<Auction>([]).when(command).then_refused(Error::NotScheduled);
    }
}

#[test]
fn a_start_price_is_above_zero() {
    for price in ["0.00", "-0.01"] {
        let offered = usd(price);
        let terms = Terms { start_price: offered, ..terms() };
        given::<Auction>([]).when(schedule(terms)).then_refused(Error::StartPriceNotPositive { offered });
    }
    let smallest = terms_in(Currency::USD, "0.01");
    given::<Auction>([]).when(schedule(smallest.clone())).then([Event::AuctionScheduled { terms: smallest }]);
}

#[test]
fn a_reserve_is_not_below_the_start_price() {
    let expected = Error::ReserveBelowStart { offered: usd("9.99"), minimum: usd("10.00") };
    given::<Auction>([]).when(schedule(with_reserve("9.99"))).then_refused(expected);
    let equal = with_reserve("10.00");
    given::<Auction>([]).when(schedule(equal.clone())).then([Event::AuctionScheduled { terms: equal }]);
}

#[test]
fn a_buy_now_price_is_below_neither_the_start_price_nor_the_reserve() {
    let expected = |minimum| Error::BuyNowTooLow { offered: usd("9.99"), minimum: usd(minimum) };
    given::<Auction>([]).when(schedule(with_buy_now("9.99"))).then_refused(expected("10.00"));
    let reserved = |buy_now| Terms { buy_now_price: Some(usd(buy_now)), ..with_reserve("50.00") };
    given::<Auction>([]).when(schedule(reserved("9.99"))).then_refused(expected("50.00"));
    for equal in [with_buy_now("10.00"), reserved("50.00")] {
        given::<Auction>([]).when(schedule(equal.clone())).then([Event::AuctionScheduled { terms: equal }]);
    }
}

#[test]
fn all_prices_of_an_auction_are_in_one_currency() {
    let expected = Error::WrongCurrency { expected: Currency::USD, offered: Currency::KWD };
    let dinar = Some(money("500.000", Currency::KWD));
    given::<Auction>([]).when(schedule(Terms { reserve_price: dinar, ..terms() })).then_refused(expected);
    given::<Auction>([]).when(schedule(Terms { buy_now_price: dinar, ..terms() })).then_refused(expected);
}

#[test]
fn an_auction_does_not_start_in_the_past() {
    let schedule = |now| Command::Schedule { terms: terms(), now };
    let expected = Error::StartInPast { starts_at: at(0), now: at_ms(1) };
    given::<Auction>([]).when(schedule(at_ms(1))).then_refused(expected);
    given::<Auction>([]).when(schedule(at(0))).then([Event::AuctionScheduled { terms: terms() }]);
}

#[test]
fn an_auction_lasts_from_a_minute_to_sixty_days() {
    let lasting = |duration: TimeDelta| Terms { ends_at: at(0) + duration, ..terms() };
    for (duration, offered_s) in [
        (TimeDelta::seconds(59), 59),
        (SHORTEST - TimeDelta::milliseconds(1), 59),
        (TimeDelta::zero(), 0),
        (TimeDelta::seconds(-1), -1),
        (LONGEST + TimeDelta::seconds(1), 60 * 86_400 + 1),
    ] {
        given::<Auction>([]).when(schedule(lasting(duration))).then_refused(Error::DurationOutOfRange {
            shortest_s: 60,
            longest_s: 60 * 86_400,
            offered_s,
        });
    }
    for duration in [SHORTEST, LONGEST] {
        let terms = lasting(duration);
        given::<Auction>([]).when(schedule(terms.clone())).then([Event::AuctionScheduled { terms }]);
    }
}

// Other currencies.

#[test]
fn yen_are_counted_in_whole_units() {
    let yen = |text| money(text, Currency::JPY);
    let bid = |bidder, maximum| Command::PlaceBid { bidder, maximum: yen(maximum), now: at(60) };
    let led = || live(terms_in(Currency::JPY, "1000")).and(bid(ANN, "5000"));
    led().when(bid(BOB, "1049")).then_refused(Error::BidTooLow { minimum: yen("1050"), offered: yen("1049") });
    let auction = led().and(bid(BOB, "3000"));
    assert_eq!(standing(&auction).price, yen("3100"));
    let outcome = Outcome::Won { winner: ANN, price: yen("3100") };
    auction.when(close_at(END_S)).then([closed(outcome)]);
}

#[test]
fn dinars_are_counted_in_thousandths() {
    let dinar = |text| money(text, Currency::KWD);
    let bid = |bidder, maximum| Command::PlaceBid { bidder, maximum: dinar(maximum), now: at(60) };
    let led = || live(terms_in(Currency::KWD, "10.000")).and(bid(ANN, "50.000"));
    let expected = Error::BidTooLow { minimum: dinar("10.500"), offered: dinar("10.499") };
    led().when(bid(BOB, "10.499")).then_refused(expected);
    let auction = led().and(bid(BOB, "30.005"));
    assert_eq!(standing(&auction).price, dinar("31.005"));
    let outcome = Outcome::Won { winner: ANN, price: dinar("31.005") };
    auction.when(close_at(END_S)).then([closed(outcome)]);
}

#[test]
fn a_plan_is_refused_for_its_prices_and_its_length_before_there_is_an_auction() {
    let plan = |reserve: Option<&str>, duration_s| AuctionPlan {
        start_price: usd("10.00"),
        reserve_price: reserve.map(usd),
        buy_now_price: None,
        starts_at: None,
        duration_s,
    };
    assert_eq!(check_plan(&plan(Some("12.00"), 3_600)), Ok(()));
    assert!(check_plan(&plan(Some("9.00"), 3_600)).is_err() && check_plan(&plan(None, 0)).is_err());
}
