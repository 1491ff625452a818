//! The bidding rules a second time, from their text: who must lead an auction, at which price, and what the next bid must be.
//!
//! It knows nothing of standings: it looks at the complete list of the maxima that were accepted, and at its own copy of
//! the public increments.

use std::cmp::Reverse;

use crate::ids::AccountId;
use crate::money::{AMOUNT_LIMIT, Currency};

/// The highest amount that there is, in minor units.
pub(crate) const TOP: i64 = AMOUNT_LIMIT - 1;

/// Everything it knows of an auction.
#[derive(Clone, Copy)]
pub(crate) struct Oracle<'a> {
    pub(crate) currency: Currency,
    /// In minor units, as all amounts here.
    pub(crate) start: i64,
    pub(crate) reserve: Option<i64>,
    /// Who bid which maximum, in the order of acceptance.
    pub(crate) accepted: &'a [(AccountId, i64)],
}

impl Oracle<'_> {
    /// The highest maximum; of equal ones, the earliest.
    pub(crate) fn leader(&self) -> Option<(AccountId, i64)> {
        let by_rank = self.accepted.iter().enumerate().max_by_key(|&(order, &(_, maximum))| (maximum, Reverse(order)));
        by_rank.map(|(_, &bid)| bid)
    }

    /// The highest maximum of anybody but the leader.
    pub(crate) fn second(&self) -> Option<i64> {
        let (leader, _) = self.leader()?;
        self.accepted.iter().filter(|(bidder, _)| *bidder != leader).map(|&(_, maximum)| maximum).max()
    }

    pub(crate) fn reserve_met(&self) -> bool {
        self.reserve.is_none_or(|reserve| self.leader().is_some_and(|(_, maximum)| maximum >= reserve))
    }

    /// The highest of all prices that were ever asked for: the start, the reserve once met, and after each bid what
    /// it took to beat the second.
    pub(crate) fn price(&self) -> i64 {
        let prefixes = (1..=self.accepted.len()).map(|n| Oracle { accepted: &self.accepted[..n], ..*self });
        let to_beat_the_second = |prefix: Oracle<'_>| {
            let (second, (_, maximum)) = (prefix.second()?, prefix.leader()?);
            Some((second + self.increment(second)).min(maximum))
        };
        let reserve = self.reserve.filter(|_| self.reserve_met());
        let asked = prefixes.filter_map(to_beat_the_second);
        asked.chain(reserve).chain([self.start]).max().unwrap()
    }

    /// The least that this bidder must offer now.
    pub(crate) fn minimum(&self, bidder: AccountId) -> i64 {
        let minimum = match self.leader() {
            None => self.start,
            Some((leader, maximum)) if leader == bidder => maximum + 1,
            Some(_) => self.price() + self.increment(self.price()),
        };
        minimum.min(TOP)
    }

    /// The public table, as text has it.
    pub(crate) fn increment(&self, amount: i64) -> i64 {
        let scale = if self.currency == Currency::KWD { 10 } else { 1 };
        scale
            * match amount / scale {
                ..100 => 5,
                100..500 => 25,
                500..2_500 => 50,
                2_500..10_000 => 100,
                10_000..25_000 => 250,
                25_000..50_000 => 500,
                50_000..100_000 => 1_000,
                100_000..250_000 => 2_500,
                250_000..500_000 => 5_000,
                500_000.. => 10_000,
            }
    }
}
