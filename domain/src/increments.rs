//! By how much the next bid must top the price.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::money::{AMOUNT_LIMIT, Currency, Money};

/// One band of a table: below `below` minor units the increment is `step` minor units.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// The band ends before this amount; the last band has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<i64>,
    /// The increment within the band.
    pub step: i64,
}

/// The public increments of one currency, lowest band first. Frozen into an auction when it is scheduled.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "Vec<Band>", into = "Vec<Band>")]
#[schemars(with = "Vec<Band>")]
pub struct Increments(Vec<Band>);

/// Why a list of bands is not a table of increments.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum IncrementsError {
    /// A step of zero or less would let a bid win without topping anything.
    #[error("every step must be above zero")]
    StepNotPositive,
    /// Bounds must rise, and only the last band is without one.
    #[error("the bounds must rise, and the last band alone has none")]
    BoundsNotRising,
}

impl TryFrom<Vec<Band>> for Increments {
    type Error = IncrementsError;

    fn try_from(bands: Vec<Band>) -> Result<Self, Self::Error> {
        if bands.iter().any(|band| band.step <= 0) {
            return Err(IncrementsError::StepNotPositive);
        }
        let Some((last, bounded)) = bands.split_last() else { return Err(IncrementsError::BoundsNotRising) };
        let bounds: Option<Vec<i64>> = bounded.iter().map(|band| band.below).collect();
        match bounds {
            Some(bounds) if last.below.is_none() && bounds.is_sorted_by(|a, b| a < b) => Ok(Self(bands)),
            _ => Err(IncrementsError::BoundsNotRising),
        }
    }
}

impl From<Increments> for Vec<Band> {
    fn from(increments: Increments) -> Self {
        increments.0
    }
}

/// The bands of domain-rules.md in hundredths: below 1.00 five cents, and so on.
#[expect(clippy::inconsistent_digit_grouping, reason = "the last two digits are the cents")]
const HUNDREDTHS: [(Option<i64>, i64); 10] = [
    (Some(1_00), 5),
    (Some(5_00), 25),
    (Some(25_00), 50),
    (Some(100_00), 1_00),
    (Some(250_00), 2_50),
    (Some(500_00), 5_00),
    (Some(1_000_00), 10_00),
    (Some(2_500_00), 25_00),
    (Some(5_000_00), 50_00),
    (None, 100_00),
];

impl Increments {
    /// The table used where a deployment names none. Currencies with three decimals use it times ten; those without
    /// decimals use it unit for unit, their unit being worth about a hundredth of a dollar.
    pub fn standard(currency: Currency) -> Self {
        let scale = 10_i64.pow(currency.exponent().saturating_sub(2));
        let band =
            |&(below, step): &(Option<i64>, i64)| Band { below: below.map(|bound| bound * scale), step: step * scale };
        Self(HUNDREDTHS.iter().map(band).collect())
    }

    /// `amount` and one increment at that amount; at the very top of the range the largest amount that there is.
    pub fn topped(&self, amount: Money) -> Money {
        let topped = amount.minor().saturating_add(self.at(amount.minor())).min(AMOUNT_LIMIT - 1);
        Money::new(topped, amount.currency()).unwrap_or(amount)
    }

    /// The increment at `amount` minor units.
    pub fn at(&self, amount: i64) -> i64 {
        let band = self.0.iter().find(|band| band.below.is_none_or(|bound| amount < bound));
        band.map_or(1, |band| band.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_table_changes_exactly_at_its_bounds() {
        let table = Increments::standard(Currency::USD);
        let steps = [0, 99, 100, 499, 500, 2_499, 2_500, 9_999, 10_000, 24_999, 25_000, 499_999, 500_000]
            .map(|amount| table.at(amount));
        assert_eq!(steps, [5, 5, 25, 25, 50, 50, 100, 100, 250, 250, 500, 5_000, 10_000]);
    }

    #[test]
    fn three_decimals_scale_and_no_decimals_count_units() {
        assert_eq!(Increments::standard(Currency::KWD).at(1_000), 250);
        assert_eq!(Increments::standard(Currency::JPY).at(100), 25);
    }

    #[test]
    fn a_table_must_rise_and_step_up() {
        let band = |below, step| Band { below, step };
        for bands in [vec![], vec![band(Some(5), 1)], vec![band(Some(5), 1), band(Some(5), 1), band(None, 1)]] {
            assert_eq!(Increments::try_from(bands), Err(IncrementsError::BoundsNotRising));
        }
        assert_eq!(Increments::try_from(vec![band(None, 0)]), Err(IncrementsError::StepNotPositive));
    }
}
