//! What everybody must have in the end, computed from the records alone.

use super::{Fate, Records};

/// The marketplace's share of a sale, in basis points, unless it is configured otherwise.
const FEE_BPS: i64 = 200;
const FULL_BPS: i64 = 10_000;

/// What is where once every order is where the record says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Books {
    /// What each seller has.
    pub(super) sellers: Vec<i64>,
    /// What each buyer has back.
    pub(super) buyers: Vec<i64>,
    /// What the marketplace has earned.
    pub(super) fees: i64,
    /// What waits in escrow.
    pub(super) escrow: i64,
    /// What was paid in.
    pub(super) deposits: i64,
}

impl Books {
    pub(super) fn of(records: &Records) -> Self {
        let mut books =
            Self { sellers: vec![0; records.sellers.len()], buyers: vec![0; records.buyers.len()], ..Self::default() };
        for order in &records.orders {
            let total = records.total(order);
            books.deposits += total;
            match order.fate {
                Fate::Paid | Fate::Shipped => books.escrow += total,
                Fate::Cancelled | Fate::Refunded => books.buyers[order.buyer] += total,
                Fate::Completed => {
                    for (&listing, &quantity) in &order.lines {
                        let gross = records.gross(listing, quantity);
                        books.sellers[records.listings[listing].seller] += gross - fee(gross);
                        books.fees += fee(gross);
                    }
                }
            }
        }
        books
    }
}

/// Half a cent is a cent.
fn fee(gross: i64) -> i64 {
    (gross * FEE_BPS + FULL_BPS / 2) / FULL_BPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_rounded_half_up() {
        assert_eq!([fee(24), fee(25), fee(74), fee(75), fee(10_000)], [0, 1, 1, 2, 200]);
    }
}
