//! What becomes of a second chance that somebody has taken and that comes to nothing.

use domain::AuctionId;
use domain::auction::{self, Auction, Error, Terms};
use domain::increments::Increments;

use super::*;
use crate::auctions::{self, Offeree, SecondChance};
use crate::orders::WinIds;

/// Who has won, and did not pay.
const WINNER: AccountId = AFFILIATE;
const SELLER: AccountId = SELLERS[0];

/// The auction of what is listing 0 elsewhere, of which the winner did not pay: before the buyers at 30.00 and 20.00.
fn forfeited() -> (Market, AuctionId) {
    let mut market = Market::open();
    let (auction, starts_at) = (AuctionId(listing_id(0).0), market.now);
    let terms = Terms {
        seller: SELLER,
        start_price: usd(1_000),
        reserve_price: None,
        buy_now_price: None,
        starts_at,
        ends_at: starts_at + TimeDelta::hours(1),
        soft_close_window_ms: 0,
        increments: Increments::standard(Currency::USD),
    };
    let mut commands = vec![auction::Command::Schedule { terms, now: starts_at }];
    for (bidder, minor) in [(BUYERS[1], 2_000), (BUYERS[0], 3_000), (WINNER, 4_000)] {
        commands.push(auction::Command::PlaceBid { bidder, maximum: usd(minor), now: starts_at });
    }
    for command in commands {
        market.submit(|world| world.execute::<Auction>(auction, command.clone()).map(drop)).unwrap();
    }
    market.now += TimeDelta::hours(1);
    let ids = win_ids(&mut market);
    market.submit(|world| auctions::close(world, auction, ids, RULES)).unwrap();
    market.now += TimeDelta::hours(24);
    market.submit(|world| orders::expire(world, ids.group)).unwrap();
    (market, auction)
}

fn win_ids(market: &mut Market) -> WinIds {
    WinIds { group: OrderGroupId(market.mint()), order: OrderId(market.mint()) }
}

/// Lets the seller offer it to whoever has bid the most.
fn offer(market: &mut Market, auction: AuctionId) -> Result<AccountId, Refusal> {
    let mut to = None;
    market.submit(|world| {
        let window = TimeDelta::hours(24);
        let SecondChance { bidder, .. } =
            auctions::offer_second_chance(world, auction, SELLER, Offeree::Highest, window)?;
        to = Some(bidder);
        Ok(())
    })?;
    Ok(to.unwrap())
}

/// Lets the first underbidder take it. Tells the order.
fn taken(market: &mut Market, auction: AuctionId) -> OrderId {
    assert_eq!(offer(market, auction), Ok(BUYERS[0]));
    let ids = win_ids(market);
    let accept =
        |world: &mut World<'_>| auctions::accept_second_chance(world, auction, BUYERS[0], ids, RULES).map(drop);
    market.submit(accept).unwrap();
    assert_eq!(offer(market, auction), Err(Error::NotForfeited.into()));
    ids.order
}

/// After it has come to nothing, the next has a turn, and nobody a second one.
fn goes_on(market: &mut Market, auction: AuctionId) {
    assert_eq!(offer(market, auction), Ok(BUYERS[1]));
    market.now += TimeDelta::hours(24);
    assert_eq!(offer(market, auction), Err(Error::NoUnderbidder.into()));
}

#[test]
fn what_is_paid_and_called_off_goes_to_the_next() {
    for by in [BUYERS[0], SELLER, CLERK] {
        let (mut market, auction) = forfeited();
        let (order, refund) = (taken(&mut market, auction), RefundId(market.mint()));
        market.submit(|world| orders::pay(world, order, BUYERS[0])).unwrap();
        assert_eq!(offer(&mut market, auction), Err(Error::NotForfeited.into()));
        market.submit(|world| orders::cancel(world, order, by, "No.", refund)).unwrap();
        goes_on(&mut market, auction);
    }
}

#[test]
fn what_is_paid_and_given_back_unsent_goes_to_the_next_and_what_was_sent_does_not() {
    for is_sent in [false, true] {
        let (mut market, auction) = forfeited();
        let (order, refund) = (taken(&mut market, auction), RefundId(market.mint()));
        market.submit(|world| orders::pay(world, order, BUYERS[0])).unwrap();
        if is_sent {
            market.submit(|world| orders::ship(world, order, SELLER, "Post", None)).unwrap();
        }
        market.submit(|world| escrows::refund(world, order, SELLER, None, refund)).unwrap();
        if is_sent {
            assert_eq!(offer(&mut market, auction), Err(Error::NotForfeited.into()));
        } else {
            goes_on(&mut market, auction);
        }
    }
}

#[test]
fn what_is_not_sent_in_time_goes_to_the_next() {
    let (mut market, auction) = forfeited();
    let (order, refund) = (taken(&mut market, auction), RefundId(market.mint()));
    market.submit(|world| orders::pay(world, order, BUYERS[0])).unwrap();
    market.now += TimeDelta::days(14);
    market.submit(|world| orders::refund_unshipped(world, order, refund)).unwrap();
    goes_on(&mut market, auction);
}

#[test]
fn what_is_not_paid_goes_to_the_next() {
    let (mut market, auction) = forfeited();
    let order = taken(&mut market, auction);
    let group = market.state::<Order>(order).placed().unwrap().terms.group;
    market.now += TimeDelta::hours(24);
    market.submit(|world| orders::expire(world, group)).unwrap();
    goes_on(&mut market, auction);
}
