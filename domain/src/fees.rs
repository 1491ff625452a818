//! What the marketplace keeps of a sale: a share of each line, frozen when it is sold.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::{Currency, Money, MoneyError};

/// One line of an order as fees see it. Part of the storage format.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeeLine {
    /// Price × quantity − the seller's discount + the shipping charge.
    pub gross: Money,
    /// The marketplace's share of it, in basis points.
    pub fee_bps: u32,
}

/// Which rates there are for a sale, in basis points. Each counts before those above it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// Of every sale.
    pub usual: u32,
    /// Of the category.
    pub category: Option<u32>,
    /// Of the plan that the seller has.
    pub plan: Option<u32>,
    /// Of the seller alone.
    pub seller: Option<u32>,
}

/// Which of the [`Rates`] counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Said {
    /// That of every sale.
    Usually,
    /// That of the category.
    ByCategory,
    /// That of the plan.
    ByPlan,
    /// That of the seller alone.
    WithSeller,
}

impl Rates {
    /// The rate that counts.
    pub fn counting(self) -> u32 {
        self.said().1
    }

    /// Where the rate is said that counts, and the rate.
    pub fn said(self) -> (Said, u32) {
        let Self { usual, category, plan, seller } = self;
        let nearest = seller.map(|bps| (Said::WithSeller, bps)).or(plan.map(|bps| (Said::ByPlan, bps)));
        nearest.or(category.map(|bps| (Said::ByCategory, bps))).unwrap_or((Said::Usually, usual))
    }
}

/// The sum of the lines' gross amounts.
pub fn gross(lines: &[FeeLine], currency: Currency) -> Result<Money, MoneyError> {
    lines.iter().try_fold(Money::zero(currency), |sum, line| sum.plus(line.gross))
}

/// The fee on `kept`, which is all or part of the lines' gross amounts: it is split over the lines in proportion, and
/// rounded half-up once per line. What went back to the buyer is so never charged.
pub fn fee_on(kept: Money, lines: &[FeeLine]) -> Result<Money, MoneyError> {
    let weights: Vec<u64> = lines.iter().map(|line| line.gross.minor().unsigned_abs()).collect();
    let parts = kept.split(&weights).into_iter().zip(lines);
    parts
        .map(|(part, line)| part.share_bps(line.fee_bps))
        .try_fold(Money::zero(kept.currency()), |sum, fee| sum.plus(fee?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn lines(lines: &[(i64, u32)]) -> Vec<FeeLine> {
        lines.iter().map(|&(gross, fee_bps)| FeeLine { gross: usd(gross), fee_bps }).collect()
    }

    #[test]
    fn a_fee_is_rounded_once_per_line() {
        // 2 % of 0.25 is half a cent, which is one cent, twice.
        assert_eq!(fee_on(usd(50), &lines(&[(25, 200), (25, 200)])), Ok(usd(2)));
        assert_eq!(fee_on(usd(50), &lines(&[(50, 200)])), Ok(usd(1)));
        assert_eq!(fee_on(usd(50), &lines(&[(26, 200), (24, 200)])), Ok(usd(1)));
    }

    #[test]
    fn the_nearest_rate_counts_even_if_it_is_nothing() {
        let rates = Rates { usual: 200, ..Rates::default() };
        assert_eq!(rates.counting(), 200);
        let rates = Rates { category: Some(300), ..rates };
        assert_eq!(rates.counting(), 300);
        let rates = Rates { plan: Some(0), ..rates };
        assert_eq!(rates.counting(), 0);
        assert_eq!(rates.said(), (Said::ByPlan, 0));
        assert_eq!(Rates { seller: Some(50), ..rates }.counting(), 50);
    }

    #[test]
    fn each_line_has_its_own_rate() {
        assert_eq!(fee_on(usd(3_000), &lines(&[(1_000, 1_000), (2_000, 0)])), Ok(usd(100)));
        assert_eq!(fee_on(usd(1_500), &lines(&[(1_000, 1_000), (2_000, 0)])), Ok(usd(50)));
    }

    proptest! {
        #[test]
        fn a_fee_is_never_more_than_what_is_kept_and_nothing_on_nothing(
            amounts in prop::collection::vec((0..1_000_000_i64, 0..=10_000_u32), 1..8),
            share in 0..=100_i64,
        ) {
            let lines = lines(&amounts);
            let whole = gross(&lines, Currency::USD).unwrap();
            let kept = usd(whole.minor() * share / 100);
            let fee = fee_on(kept, &lines).unwrap();
            prop_assert!((0..=kept.minor()).contains(&fee.minor()));
            prop_assert_eq!(fee_on(usd(0), &lines), Ok(usd(0)));
            let by_line: i64 = lines.iter().map(|line| line.gross.share_bps(line.fee_bps).unwrap().minor()).sum();
            prop_assert_eq!(fee_on(whole, &lines).unwrap().minor(), by_line);
        }
    }
}
