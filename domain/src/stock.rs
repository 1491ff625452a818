//! How many pieces of a listing there are, and for whom some of them are kept.
//!
//! Each form of the listing is counted by itself. A checkout reserves pieces for its order, all or none; they are taken
//! when the order is paid, and free again when it is not. What guests order, whom nobody has asked yet, is kept the same
//! way, and is never more than half of a form or its one piece. Invariants: no count is ever below zero; a piece is free
//! or kept for one order, never both; an order reserves once.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::Timestamp;
use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{ListingId, OrderId};

/// The most pieces of one form.
pub const MOST_PIECES: u32 = 1_000_000;

/// Names a form of a listing, such as one size: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Sku(String);

impl Default for Sku {
    /// The only form of a listing that has no variants.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot name a form of a listing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("a SKU is 1 to 64 letters, digits, `-`, `_` and `.`")]
pub struct MalformedSku;

impl FromStr for Sku {
    type Err = MalformedSku;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if letters && (1..=64).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(MalformedSku) }
    }
}

impl<'de> Deserialize<'de> for Sku {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Sku {
    fn schema_name() -> Cow<'static, str> {
        "Sku".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" })
    }
}

/// A number of pieces of each form.
pub type Pieces = BTreeMap<Sku, u32>;

/// What is asked of a stock.
#[derive(Clone, Debug)]
pub enum Command {
    /// State how many pieces of each form are free. A form that is not named is gone.
    Count {
        /// How many.
        free: Pieces,
    },
    /// Keep pieces for an order.
    Reserve {
        /// Whose stock this is.
        listing: ListingId,
        /// For which order.
        order: OrderId,
        /// How many.
        pieces: Pieces,
        /// Until when, unless it is paid.
        until: Timestamp,
    },
    /// Keep pieces for an order of a guest whom nobody has asked yet: not so many of what is there that others go empty.
    Hold {
        /// Whose stock this is.
        listing: ListingId,
        /// For which order.
        order: OrderId,
        /// How many.
        pieces: Pieces,
        /// Until when, unless the guest was asked.
        until: Timestamp,
    },
    /// Make an order's pieces free again.
    Release {
        /// The order.
        order: OrderId,
    },
    /// Give an order's pieces away.
    Take {
        /// The order.
        order: OrderId,
    },
    /// Note that what is sold out is not on offer any more.
    PutAway {},
    /// Put pieces back that an order had taken and that were never sent.
    Return {
        /// The order.
        order: OrderId,
        /// How many.
        pieces: Pieces,
    },
}

/// What happens to a stock. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// The pieces that are free were counted.
    StockCounted {
        /// How many of each form.
        free: Pieces,
    },
    /// Pieces are kept for an order.
    StockReserved {
        /// The order.
        order: OrderId,
        /// How many.
        pieces: Pieces,
        /// Until when, unless it is paid.
        until: Timestamp,
    },
    /// Pieces are kept for an order of a guest whom nobody has asked yet.
    StockHeld {
        /// The order.
        order: OrderId,
        /// How many.
        pieces: Pieces,
        /// Until when, unless the guest was asked.
        until: Timestamp,
    },
    /// An order's pieces are free again.
    StockReleased {
        /// The order.
        order: OrderId,
    },
    /// An order's pieces are sold.
    StockTaken {
        /// The order.
        order: OrderId,
    },
    /// Nothing is left: nothing is free, and nothing is kept for anybody.
    StockSoldOut {},
    /// Nothing is left, and what it was of is not on offer any more: nobody waits for it.
    StockPutAway {},
    /// Pieces came back.
    StockReturned {
        /// The order that had taken them.
        order: OrderId,
        /// How many.
        pieces: Pieces,
    },
}

event_versions!(Event {
    StockCounted = "1",
    StockReserved = "1",
    StockHeld = "1",
    StockReleased = "1",
    StockTaken = "1",
    StockSoldOut = "1",
    StockPutAway = "1",
    StockReturned = "1",
});

/// Why a stock refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is less than was asked for.
    #[error("{requested} pieces were asked for and {available} are free")]
    OutOfStock {
        /// Of which listing.
        listing: ListingId,
        /// How many are free.
        available: u32,
        /// How many were asked for.
        requested: u32,
    },
    /// Guests whom nobody has asked yet keep half of what there is at most, or the one piece.
    #[error("{requested} pieces were asked for, and of those that are free {available} can be kept for guests")]
    HeldForGuests {
        /// Of which listing.
        listing: ListingId,
        /// How many can be kept.
        available: u32,
        /// How many were asked for.
        requested: u32,
    },
    /// A count is within bounds.
    #[error("at most {maximum} pieces of a form can be counted; {offered} were named")]
    TooMany {
        /// The most.
        maximum: u32,
        /// What was named.
        offered: u32,
    },
    /// An order reserves once.
    #[error("this order has pieces already")]
    AlreadyReserved,
    /// Only what is kept for an order can be taken by it.
    #[error("nothing is kept for this order")]
    NotReserved,
}

/// The pieces of a listing.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Stock {
    /// How many of each form anybody may buy.
    pub free: Pieces,
    /// What is kept for orders that are not paid yet.
    pub reserved: BTreeMap<OrderId, Pieces>,
    /// Which of these orders are of guests whom nobody has asked yet.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<OrderId>,
}

impl Aggregate for Stock {
    const TYPE: &'static str = "stock";
    type Id = ListingId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Count { free } => self.count(free),
            Command::Reserve { listing, order, pieces, until } => {
                self.check_free(listing, order, &pieces)?;
                Ok(vec![Event::StockReserved { order, pieces, until }])
            }
            Command::Hold { listing, order, pieces, until } => {
                self.check_free(listing, order, &pieces)?;
                self.check_share(listing, &pieces)?;
                Ok(vec![Event::StockHeld { order, pieces, until }])
            }
            Command::Release { order } if self.reserved.contains_key(&order) => {
                Ok(vec![Event::StockReleased { order }])
            }
            Command::Release { .. } => Ok(vec![]),
            Command::Take { order } if self.reserved.contains_key(&order) => {
                let last = self.reserved.len() == 1 && self.nothing_is_free();
                Ok([Event::StockTaken { order }].into_iter().chain(last.then_some(Event::StockSoldOut {})).collect())
            }
            Command::Take { .. } => Err(Error::NotReserved),
            Command::PutAway {} => Ok(vec![Event::StockPutAway {}]),
            Command::Return { order, pieces } => Ok(vec![Event::StockReturned { order, pieces }]),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::StockCounted { free } => self.free.clone_from(free),
            Event::StockReserved { order, pieces, .. } => self.keep(*order, pieces),
            Event::StockHeld { order, pieces, .. } => {
                self.keep(*order, pieces);
                self.held.insert(*order);
            }
            Event::StockReleased { order } => {
                let pieces = self.give_up(*order);
                self.put_back(&pieces);
            }
            Event::StockTaken { order } => drop(self.give_up(*order)),
            // They follow from the others.
            Event::StockSoldOut {} | Event::StockPutAway {} => {}
            Event::StockReturned { pieces, .. } => self.put_back(pieces),
        }
    }
}

impl Stock {
    /// How many pieces of a form anybody may buy.
    pub fn free_of(&self, sku: &Sku) -> u32 {
        self.free.get(sku).copied().unwrap_or(0)
    }

    /// Whether nothing is left, neither free nor kept for anybody.
    pub fn is_sold_out(&self) -> bool {
        self.nothing_is_free() && self.reserved.is_empty()
    }

    fn nothing_is_free(&self) -> bool {
        self.free.values().all(|count| *count == 0)
    }

    /// How many pieces of a form are kept for guests whom nobody has asked yet.
    fn held_of(&self, sku: &Sku) -> u32 {
        let kept = self.held.iter().filter_map(|order| self.reserved.get(order)?.get(sku));
        kept.fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn check_free(&self, listing: ListingId, order: OrderId, pieces: &Pieces) -> Result<(), Error> {
        if self.reserved.contains_key(&order) {
            return Err(Error::AlreadyReserved);
        }
        // PLANTED: whatever there is.
        #[cfg(feature = "planted-bugs")]
        if crate::planted::is(crate::planted::Bug::StockUnchecked) {
            return Ok(());
        }
        for (sku, &requested) in pieces {
            let available = self.free_of(sku);
            if requested > available {
                return Err(Error::OutOfStock { listing, available, requested });
            }
        }
        Ok(())
    }

    /// Half of what there is of a form, or its one piece: nobody has shown yet that such an order is meant.
    fn check_share(&self, listing: ListingId, pieces: &Pieces) -> Result<(), Error> {
        for (sku, &requested) in pieces {
            let held = self.held_of(sku);
            let share = self.free_of(sku).saturating_add(held).div_ceil(2);
            let available = share.saturating_sub(held);
            if requested > available {
                return Err(Error::HeldForGuests { listing, available, requested });
            }
        }
        Ok(())
    }

    fn keep(&mut self, order: OrderId, pieces: &Pieces) {
        for (sku, count) in pieces {
            if let Some(free) = self.free.get_mut(sku) {
                *free = free.saturating_sub(*count);
            }
        }
        self.reserved.insert(order, pieces.clone());
    }

    fn give_up(&mut self, order: OrderId) -> Pieces {
        self.held.remove(&order);
        self.reserved.remove(&order).unwrap_or_default()
    }

    fn count(&self, free: Pieces) -> Result<Vec<Event>, Error> {
        if let Some(&offered) = free.values().find(|count| **count > MOST_PIECES) {
            return Err(Error::TooMany { maximum: MOST_PIECES, offered });
        }
        Ok(if free == self.free { vec![] } else { vec![Event::StockCounted { free }] })
    }

    /// A form that is not sold any more takes nothing back.
    fn put_back(&mut self, pieces: &Pieces) {
        for (sku, count) in pieces {
            if let Some(free) = self.free.get_mut(sku) {
                *free = free.saturating_add(*count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const LISTING: ListingId = ListingId(Uuid::from_u128(1));
    const ORDER: OrderId = OrderId(Uuid::from_u128(2));
    const OTHER: OrderId = OrderId(Uuid::from_u128(3));

    fn pieces(counts: &[(&str, u32)]) -> Pieces {
        counts.iter().map(|(sku, count)| (sku.parse().unwrap(), *count)).collect()
    }

    fn counted(count: u32) -> Event {
        Event::StockCounted { free: pieces(&[("m", count)]) }
    }

    fn reserve(order: OrderId, counts: &[(&str, u32)]) -> Command {
        Command::Reserve { listing: LISTING, order, pieces: pieces(counts), until: Timestamp::default() }
    }

    #[test]
    fn what_is_kept_for_one_order_is_not_there_for_another() {
        given::<Stock>([counted(3)])
            .and(reserve(ORDER, &[("m", 2)]))
            .when(reserve(OTHER, &[("m", 2)]))
            .then_refused(Error::OutOfStock { listing: LISTING, available: 1, requested: 2 });
    }

    #[test]
    fn all_forms_are_reserved_or_none() {
        let refused = Error::OutOfStock { listing: LISTING, available: 0, requested: 1 };
        given::<Stock>([counted(3)]).when(reserve(ORDER, &[("m", 1), ("s", 1)])).then_refused(refused);
    }

    #[test]
    fn a_reservation_that_is_given_up_is_free_again_and_one_that_is_taken_is_gone() {
        let reserved = || given::<Stock>([counted(3)]).and(reserve(ORDER, &[("m", 2)]));
        assert_eq!(reserved().and(Command::Release { order: ORDER }).state().free, pieces(&[("m", 3)]));
        let taken = reserved().and(Command::Take { order: ORDER });
        assert_eq!(taken.state().free, pieces(&[("m", 1)]));
        taken.when(Command::Take { order: ORDER }).then_refused(Error::NotReserved);
        // The last pieces, once nobody may give theirs up.
        let both = || reserved().and(reserve(OTHER, &[("m", 1)]));
        both().when(Command::Take { order: ORDER }).then([Event::StockTaken { order: ORDER }]);
        both()
            .and(Command::Take { order: ORDER })
            .when(Command::Take { order: OTHER })
            .then([Event::StockTaken { order: OTHER }, Event::StockSoldOut {}]);
        reserved().and(Command::Release { order: ORDER }).when(Command::Release { order: ORDER }).then_nothing();
    }

    #[test]
    fn guests_whom_nobody_has_asked_keep_half_or_the_one_piece() {
        let hold = |order: OrderId, count: u32| {
            let (pieces, until) = (pieces(&[("m", count)]), Timestamp::default());
            Command::Hold { listing: LISTING, order, pieces, until }
        };
        let refused = |available, requested| Error::HeldForGuests { listing: LISTING, available, requested };
        for (count, half) in [(1, 1), (2, 1), (3, 2), (10, 5)] {
            given::<Stock>([counted(count)]).when(hold(ORDER, half + 1)).then_refused(if half + 1 > count {
                Error::OutOfStock { listing: LISTING, available: count, requested: half + 1 }
            } else {
                refused(half, half + 1)
            });
            given::<Stock>([counted(count)]).and(hold(ORDER, half)).state();
        }
        let waiting = || given::<Stock>([counted(10)]).and(hold(ORDER, 4));
        waiting().when(hold(OTHER, 2)).then_refused(refused(1, 2));
        // Others have the rest, and what a guest has confirmed or given up counts no more.
        waiting().and(reserve(OTHER, &[("m", 6)])).state();
        waiting().and(Command::Release { order: ORDER }).and(hold(OTHER, 5)).state();
        waiting().and(Command::Take { order: ORDER }).and(hold(OTHER, 3)).state();
        assert!(waiting().and(Command::Take { order: ORDER }).state().held.is_empty());
    }

    #[test]
    fn a_new_count_leaves_what_is_kept_alone() {
        let counted = given::<Stock>([counted(3)])
            .and(reserve(ORDER, &[("m", 2)]))
            .and(Command::Count { free: pieces(&[("m", 10)]) })
            .and(Command::Release { order: ORDER });
        assert_eq!(counted.state().free, pieces(&[("m", 12)]));
        let offered = MOST_PIECES + 1;
        let count = Command::Count { free: pieces(&[("m", offered)]) };
        counted.when(count).then_refused(Error::TooMany { maximum: MOST_PIECES, offered });
    }

    proptest! {
        #[test]
        fn pieces_are_neither_made_nor_lost(
            count in 0..20_u32,
            steps in prop::collection::vec((0..4_u8, 1..4_u128, 1..6_u32), 0..40),
        ) {
            let mut stock = Stock::default();
            stock.evolve(&counted(count));
            let mut sold = 0;
            for (step, order, wanted) in steps {
                let order = OrderId(Uuid::from_u128(order));
                let kept = stock.reserved.get(&order).map_or(0, |pieces| pieces.values().sum::<u32>());
                let command = match step {
                    0 => reserve(order, &[("m", wanted)]),
                    3 => Command::Hold {
                        listing: LISTING,
                        order,
                        pieces: pieces(&[("m", wanted)]),
                        until: Timestamp::default(),
                    },
                    1 => Command::Release { order },
                    _ => Command::Take { order },
                };
                let take = matches!(command, Command::Take { .. });
                if let Ok(events) = stock.decide(command) {
                    for event in &events {
                        stock.evolve(event);
                    }
                    sold += if take { kept } else { 0 };
                }
                let reserved: u32 = stock.reserved.values().flat_map(BTreeMap::values).sum();
                prop_assert_eq!(stock.free_of(&"m".parse().unwrap()) + reserved + sold, count);
                prop_assert!(stock.held.iter().all(|order| stock.reserved.contains_key(order)));
            }
        }
    }
}
