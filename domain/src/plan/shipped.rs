//! The plans that a marketplace has until its staff say something else.

use super::{Definition, FREE};
use crate::money::{Currency, Money};

/// What a period costs, in minor units of the currency that the code names.
type Prices = &'static [(&'static str, i64)];

const PREMIUM: Prices = &[("EUR", 999), ("GBP", 849), ("PKR", 249_000), ("USD", 999)];
const PRO: Prices = &[("EUR", 2_999), ("GBP", 2_549), ("PKR", 749_000), ("USD", 2_999)];

/// The plans that count while nobody has defined others of their slugs, in order. Of the free one, the deployment says
/// how many listings it allows.
pub fn shipped(free_listings: Option<u32>) -> Vec<Definition> {
    let plan = |slug: &str, name: &str, prices, sort_order| Definition {
        slug: slug.to_owned(),
        name: name.to_owned(),
        prices: amounts(prices),
        period_days: 30,
        fee_bps: None,
        listings: None,
        features: vec![],
        sort_order,
        retired: false,
    };
    vec![
        Definition { listings: free_listings, ..plan(FREE, "Free", &[], 0) },
        Definition { fee_bps: Some(150), listings: Some(1_000), ..plan("premium", "Premium", PREMIUM, 1) },
        Definition { fee_bps: Some(100), ..plan("pro", "Pro", PRO, 2) },
    ]
}

/// A test looks that none is left out.
fn amounts(prices: Prices) -> Vec<Money> {
    let amount = |(code, minor): &(&str, i64)| Money::new(*minor, code.parse::<Currency>().ok()?).ok();
    prices.iter().filter_map(amount).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_is_there() {
        for (slug, prices) in [(FREE, &[] as Prices), ("premium", PREMIUM), ("pro", PRO)] {
            let plans = shipped(None);
            let plan = plans.iter().find(|plan| plan.slug == slug).unwrap();
            let shown: Vec<_> = plan.prices.iter().map(|price| (price.currency().code(), price.minor())).collect();
            assert_eq!(shown, prices);
        }
    }
}
