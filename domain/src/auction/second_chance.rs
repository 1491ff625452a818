//! What becomes of a sale whose buyer did not pay: underbidders may be offered it, one after the other.
//!
//! `Stands → Forfeited → Offered → Taken`, and back to `Forfeited` from a second chance that is not paid, or is called off
//! or refunded before anything was sent: whoever has it is not bound to it, and the goods are where they were. An offer
//! that is not taken in time simply lapses, and the next may be made. Nobody is offered it twice.

use serde::{Deserialize, Serialize};

use super::{Error, Event, Outcome};
use crate::Timestamp;
use crate::ids::{AccountId, OrderId};
use crate::money::Money;

/// How many underbidders, those with the highest bids, may be offered a second chance. Bounds what every bid has to
/// remember.
pub const MOST_UNDERBIDDERS: usize = 20;

/// The highest bid of somebody.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Underbid {
    /// Who.
    pub bidder: AccountId,
    /// The highest maximum that they have bid.
    pub maximum: Money,
}

/// What has become of the sale that an auction has led to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Sale {
    /// As it ended.
    Stands,
    /// Whoever had it did not pay.
    Forfeited,
    /// An underbidder may have it.
    Offered {
        /// Who, and at which price.
        to: Underbid,
        /// If they take it before then.
        until: Timestamp,
    },
    /// An underbidder has taken it.
    Taken {
        /// Who.
        by: AccountId,
        /// The order that it led to.
        order: OrderId,
    },
}

impl Sale {
    /// Whose order has come to nothing has it no more: the winner, or who took a second chance. Of anybody else it says
    /// nothing.
    pub(super) fn forfeit(self, outcome: &Outcome, buyer: AccountId, order: OrderId) -> Vec<Event> {
        let had_it = match self {
            Self::Stands => outcome.winner() == Some(buyer),
            Self::Taken { by, order: taken } => (by, taken) == (buyer, order),
            Self::Forfeited | Self::Offered { .. } => false,
        };
        if had_it { vec![Event::SaleForfeited { buyer, order }] } else { vec![] }
    }

    /// Offers it to somebody, who must be among `underbidders`.
    pub(super) fn offer(
        self,
        underbidders: &[Underbid],
        bidder: Option<AccountId>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Event>, Error> {
        match self {
            Self::Stands | Self::Taken { .. } => return Err(Error::NotForfeited),
            Self::Offered { until, .. } if now < until => return Err(Error::SecondChanceOpen { until }),
            Self::Forfeited | Self::Offered { .. } => {}
        }
        let underbid = underbidders.iter().find(|underbid| Some(underbid.bidder) == bidder);
        let Underbid { bidder, maximum: price } = *underbid.ok_or(Error::NoUnderbidder)?;
        Ok(vec![Event::SecondChanceOffered { bidder, price, until }])
    }

    /// Lets somebody take what is offered to them.
    pub(super) fn accept(self, bidder: AccountId, order: OrderId, now: Timestamp) -> Result<Vec<Event>, Error> {
        match self {
            Self::Offered { to, until } if to.bidder == bidder && now < until => {
                Ok(vec![Event::SecondChanceAccepted { bidder, price: to.maximum, order }])
            }
            Self::Offered { to, until } if to.bidder == bidder => Err(Error::SecondChanceOver { until }),
            Self::Taken { by, .. } if by == bidder => Err(Error::SecondChanceTaken),
            Self::Stands | Self::Forfeited | Self::Offered { .. } | Self::Taken { .. } => Err(Error::NoSecondChance),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;
    use crate::auction::{Auction, Command, Terms};
    use crate::increments::Increments;
    use crate::money::Currency;
    use crate::testing::{Given, given};

    const SELLER: AccountId = AccountId(Uuid::from_u128(1));
    const ANN: AccountId = AccountId(Uuid::from_u128(2));
    const BOB: AccountId = AccountId(Uuid::from_u128(3));
    const CAT: AccountId = AccountId(Uuid::from_u128(4));
    const ORDER: OrderId = OrderId(Uuid::from_u128(5));
    const NEXT: OrderId = OrderId(Uuid::from_u128(6));

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::default() + TimeDelta::hours(hours)
    }

    fn bid(bidder: AccountId, maximum: i64) -> Command {
        Command::PlaceBid { bidder, maximum: usd(maximum), now: at(0) }
    }

    fn scheduled(reserve: Option<i64>) -> Given<Auction> {
        let terms = Terms {
            seller: SELLER,
            start_price: usd(1_000),
            reserve_price: reserve.map(usd),
            buy_now_price: None,
            starts_at: at(0),
            ends_at: at(1),
            soft_close_window_ms: 0,
            increments: Increments::standard(Currency::USD),
        };
        given::<Auction>([Event::AuctionScheduled { terms }])
    }

    /// Ann has won, before Bob at 30.00 and Cat at 20.00.
    fn won(reserve: Option<i64>) -> Given<Auction> {
        scheduled(reserve)
            .and(bid(BOB, 1_500))
            .and(bid(CAT, 2_000))
            .and(bid(BOB, 3_000))
            .and(bid(ANN, 4_000))
            .and(Command::Close { now: at(1) })
    }

    fn forfeited() -> Given<Auction> {
        won(None).and(Command::Forfeit { buyer: ANN, order: ORDER })
    }

    fn offer(bidder: AccountId, now: i64) -> Command {
        Command::OfferSecondChance { bidder: Some(bidder), until: at(now + 24), now: at(now) }
    }

    fn accept(bidder: AccountId, now: i64) -> Command {
        Command::AcceptSecondChance { bidder, order: NEXT, now: at(now) }
    }

    #[test]
    fn an_underbidder_is_offered_it_at_their_highest_bid() {
        let offered = Event::SecondChanceOffered { bidder: BOB, price: usd(3_000), until: at(49) };
        forfeited().when(offer(BOB, 25)).then([offered]);
        let accepted = Event::SecondChanceAccepted { bidder: BOB, price: usd(3_000), order: NEXT };
        forfeited().and(offer(BOB, 25)).when(accept(BOB, 48)).then([accepted]);
    }

    #[test]
    fn of_many_underbidders_the_highest_are_kept_and_of_equal_ones_the_earlier() {
        let bidder = |number: u128| AccountId(Uuid::from_u128(100 + number));
        let bids = (1..=25).map(|number| (number, 10_000 * number)).chain([(26, 250_000)]);
        let closed = bids
            .fold(scheduled(None), |auction, (number, maximum)| {
                auction.and(bid(bidder(number), i64::try_from(maximum).unwrap()))
            })
            .and(Command::Close { now: at(1) });
        let Auction::Closed { outcome, underbidders, .. } = closed.state() else { panic!("not closed") };
        assert_eq!(outcome.winner(), Some(bidder(25)));
        let kept: Vec<AccountId> = underbidders.iter().map(|underbid| underbid.bidder).collect();
        let expected: Vec<AccountId> =
            [26].into_iter().chain((1..25).rev()).take(MOST_UNDERBIDDERS).map(bidder).collect();
        assert_eq!(kept, expected);
    }

    #[test]
    fn what_is_won_and_not_forfeited_is_offered_to_nobody() {
        won(None).when(offer(BOB, 2)).then_refused(Error::NotForfeited);
        won(None).when(Command::Forfeit { buyer: BOB, order: ORDER }).then_nothing();
        forfeited().when(Command::Forfeit { buyer: ANN, order: ORDER }).then_nothing();
    }

    #[test]
    fn whoever_did_not_pay_is_offered_nothing() {
        forfeited().when(offer(ANN, 25)).then_refused(Error::NoUnderbidder);
        forfeited().when(offer(SELLER, 25)).then_refused(Error::NoUnderbidder);
    }

    #[test]
    fn it_is_offered_to_one_at_a_time_and_to_each_once() {
        let open = || forfeited().and(offer(BOB, 25));
        open().when(offer(CAT, 48)).then_refused(Error::SecondChanceOpen { until: at(49) });
        open().when(offer(BOB, 49)).then_refused(Error::NoUnderbidder);
        open().when(offer(CAT, 49)).then([Event::SecondChanceOffered {
            bidder: CAT,
            price: usd(2_000),
            until: at(73),
        }]);
    }

    #[test]
    fn only_whom_it_is_offered_to_takes_it_and_only_in_time() {
        let open = || forfeited().and(offer(BOB, 25));
        open().when(accept(CAT, 26)).then_refused(Error::NoSecondChance);
        open().when(accept(BOB, 49)).then_refused(Error::SecondChanceOver { until: at(49) });
        open().and(accept(BOB, 26)).when(accept(BOB, 26)).then_refused(Error::SecondChanceTaken);
        forfeited().when(accept(BOB, 26)).then_refused(Error::NoSecondChance);
    }

    #[test]
    fn a_second_chance_that_is_not_paid_goes_to_the_next() {
        let taken = || forfeited().and(offer(BOB, 25)).and(accept(BOB, 26));
        taken().when(offer(CAT, 50)).then_refused(Error::NotForfeited);
        taken().when(Command::Forfeit { buyer: BOB, order: ORDER }).then_nothing();
        let forfeit = Command::Forfeit { buyer: BOB, order: NEXT };
        taken().when(forfeit.clone()).then([Event::SaleForfeited { buyer: BOB, order: NEXT }]);
        let next = Event::SecondChanceOffered { bidder: CAT, price: usd(2_000), until: at(74) };
        taken().and(forfeit).when(offer(CAT, 50)).then([next]);
    }

    #[test]
    fn nothing_is_sold_below_its_reserve() {
        let forfeited = || won(Some(2_500)).and(Command::Forfeit { buyer: ANN, order: ORDER });
        forfeited().when(offer(CAT, 25)).then_refused(Error::NoUnderbidder);
        forfeited().and(offer(BOB, 25));
    }
}
