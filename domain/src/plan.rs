//! A plan that sellers may subscribe to: what it costs, and what they have of it.
//!
//! `Absent → Defined`, by the staff, and again whenever they say something else of it; its slug is its name for ever. A
//! plan that nobody has defined is the one of the same slug that this marketplace ships, if there is one
//! ([`shipped()`]). Whoever has no subscription has the plan [`FREE`], which cannot be bought. What a subscription is
//! bought under is frozen into it ([`Terms`]): no later word changes it. A plan that is retired is neither sold nor
//! renewed any more. Invariants: a plan has a price in at most one amount per currency, and at least one unless it is
//! the free one, which has none and is never retired.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::aggregate::{Aggregate, event_versions};
use crate::ids::{AccountId, PlanId};
use crate::money::{Currency, FULL_BPS, Money};
use crate::sealed::Sealed;
use crate::wallet::BALANCE_LIMIT;

mod shipped;

pub use shipped::shipped;

/// The slug of the plan that everybody has without a subscription.
pub const FREE: &str = "free";
/// The shortest period, in days: longer than the time that an unpaid one may take to be paid, so that no two wait.
pub const SHORTEST_PERIOD: u32 = 7;
/// The longest period, in days.
pub const LONGEST_PERIOD: u32 = 366;
/// The most currencies that a plan is sold in.
pub const MOST_PRICES: usize = 50;
/// The most things that a plan says of itself.
pub const MOST_FEATURES: usize = 20;

/// What is asked of a plan.
#[derive(Clone, Debug)]
pub enum Command {
    /// Be this from now on.
    Define {
        /// All of what it is.
        definition: Definition,
        /// Who of the staff asks.
        by: AccountId,
        /// Why, sealed with the key of who asks.
        reason: Sealed<String>,
    },
}

/// What a plan is. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What addresses call it.
    pub slug: String,
    /// What people call it.
    pub name: String,
    /// What a period costs, in each currency that it is sold in.
    pub prices: Vec<Money>,
    /// How long a period is, in days.
    pub period_days: u32,
    /// The marketplace's share of its subscribers' sales, in basis points, if it is another than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_bps: Option<u32>,
    /// How many listings its subscribers may have on offer at once; as many as they like unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listings: Option<u32>,
    /// What else it brings, in words.
    pub features: Vec<String>,
    /// Its place among the plans, lowest first.
    pub sort_order: i32,
    /// Whether it is neither sold nor renewed any more.
    pub retired: bool,
}

/// What a subscription is bought under, frozen into it. Part of the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// The slug of the plan.
    pub plan: String,
    /// What people called it.
    pub name: String,
    /// What a period costs.
    pub price: Money,
    /// How long a period is, in days.
    pub period_days: u32,
    /// The marketplace's share of its subscriber's sales, in basis points, if it is another than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_bps: Option<u32>,
    /// How many listings its subscriber may have on offer at once; as many as they like unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listings: Option<u32>,
    /// What else it brings, in words.
    pub features: Vec<String>,
}

impl Definition {
    /// What the plan is bought under in `currency`, if it is sold.
    pub fn terms(&self, currency: Currency) -> Result<Terms, Error> {
        if self.slug == FREE {
            return Err(Error::Free);
        }
        if self.retired {
            return Err(Error::Retired);
        }
        let price = self.prices.iter().copied().find(|price| price.currency() == currency);
        Ok(Terms {
            plan: self.slug.clone(),
            name: self.name.clone(),
            price: price.ok_or(Error::NotSoldIn { currency })?,
            period_days: self.period_days,
            fee_bps: self.fee_bps,
            listings: self.listings,
            features: self.features.clone(),
        })
    }
}

/// What happens to a plan. This is the storage format.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// The staff have said for the first time what it is.
    PlanDefined {
        /// All of what it is.
        definition: Definition,
        /// Who of the staff has asked.
        by: AccountId,
        /// Why.
        reason: Sealed<String>,
    },
    /// It is something else from now on.
    PlanRevised {
        /// All of what it is.
        definition: Definition,
        /// Who of the staff has asked.
        by: AccountId,
        /// Why.
        reason: Sealed<String>,
    },
}

event_versions!(Event { PlanDefined = "1", PlanRevised = "1" });

impl Event {
    /// What the plan is from this event on.
    pub fn definition(&self) -> &Definition {
        match self {
            Self::PlanDefined { definition, .. } | Self::PlanRevised { definition, .. } => definition,
        }
    }
}

/// Why a plan refuses, with the rule's numbers.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// There is no such plan.
    #[error("there is no such plan")]
    NotFound,
    /// Nobody buys what everybody has.
    #[error("the free plan is everybody's who has no subscription, and is not sold")]
    Free,
    /// It is not sold any more.
    #[error("the plan is retired")]
    Retired,
    /// It has no price in the currency.
    #[error("the plan is not sold in {currency}")]
    NotSoldIn {
        /// Which.
        currency: Currency,
    },
    /// A price is above zero.
    #[error("the price must be above zero; {offered} was offered")]
    PriceNotPositive {
        /// What was asked.
        offered: Money,
    },
    /// A price fits in a wallet.
    #[error("the price must be below {limit}; {offered} was offered")]
    PriceTooHigh {
        /// More than any wallet holds.
        limit: Money,
        /// What was asked.
        offered: Money,
    },
    /// One currency, one price.
    #[error("there are several prices in {currency}")]
    CurrencyRepeated {
        /// Which.
        currency: Currency,
    },
    /// What is sold has a price.
    #[error("a plan needs a price in some currency")]
    NoPrice,
    /// What everybody has costs nothing.
    #[error("the free plan has no price")]
    FreeHasPrice,
    /// What everybody has stays.
    #[error("the free plan cannot be retired")]
    FreeStays,
    /// A share is part of a whole.
    #[error("a fee is at most {maximum} basis points; {offered} were offered")]
    FeeOutOfRange {
        /// All of it.
        maximum: u32,
        /// What was asked.
        offered: u32,
    },
    /// Periods are neither shorter nor longer.
    #[error("a period is {shortest} to {longest} days; {offered} were offered")]
    PeriodOutOfRange {
        /// The shortest.
        shortest: u32,
        /// The longest.
        longest: u32,
        /// What was asked.
        offered: u32,
    },
}

/// A plan.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub enum Plan {
    /// The staff have never said anything of it.
    #[default]
    Absent,
    /// It is what the staff have said.
    Defined(Definition),
}

impl Plan {
    /// What the staff have said that it is, if they have.
    pub fn definition(&self) -> Option<&Definition> {
        match self {
            Self::Absent => None,
            Self::Defined(definition) => Some(definition),
        }
    }
}

impl Aggregate for Plan {
    const TYPE: &'static str = "plan";
    type Id = PlanId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let Command::Define { definition, by, reason } = command;
        check(&definition)?;
        Ok(match self {
            Self::Absent => vec![Event::PlanDefined { definition, by, reason }],
            Self::Defined(known) if *known == definition => vec![],
            Self::Defined(_) => vec![Event::PlanRevised { definition, by, reason }],
        })
    }

    fn evolve(&mut self, event: &Event) {
        *self = match event {
            Event::PlanDefined { definition, .. } | Event::PlanRevised { definition, .. } => {
                Self::Defined(definition.clone())
            }
        };
    }
}

fn check(definition: &Definition) -> Result<(), Error> {
    let Definition { slug, prices, period_days, fee_bps, retired, .. } = definition;
    match (slug.as_str(), prices.is_empty(), *retired) {
        (FREE, _, true) => return Err(Error::FreeStays),
        (FREE, false, _) => return Err(Error::FreeHasPrice),
        (FREE, true, false) | (_, false, _) => {}
        (_, true, _) => return Err(Error::NoPrice),
    }
    let mut currencies = BTreeSet::new();
    for offered in prices {
        let currency = offered.currency();
        if !offered.is_positive() {
            return Err(Error::PriceNotPositive { offered: *offered });
        }
        if let Ok(limit) = Money::new(BALANCE_LIMIT, currency)
            && offered.minor() >= limit.minor()
        {
            return Err(Error::PriceTooHigh { limit, offered: *offered });
        }
        if !currencies.insert(currency) {
            return Err(Error::CurrencyRepeated { currency });
        }
    }
    if let Some(offered) = fee_bps.filter(|offered| *offered > FULL_BPS) {
        return Err(Error::FeeOutOfRange { maximum: FULL_BPS, offered });
    }
    let (shortest, longest, offered) = (SHORTEST_PERIOD, LONGEST_PERIOD, *period_days);
    if (shortest..=longest).contains(&offered) {
        Ok(())
    } else {
        Err(Error::PeriodOutOfRange { shortest, longest, offered })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::testing::given;

    const CLERK: AccountId = AccountId(Uuid::from_u128(1));

    fn usd(minor: i64) -> Money {
        Money::new(minor, Currency::USD).unwrap()
    }

    fn gold() -> Definition {
        Definition {
            slug: "gold".to_owned(),
            name: "Gold".to_owned(),
            prices: vec![usd(999), Money::new(1_500, Currency::JPY).unwrap()],
            period_days: 30,
            fee_bps: Some(150),
            listings: Some(500),
            features: vec!["A badge".to_owned()],
            sort_order: 1,
            retired: false,
        }
    }

    fn reason() -> Sealed<String> {
        Sealed::from_ciphertext(CLERK, "why".to_owned())
    }

    fn define(definition: Definition) -> Command {
        Command::Define { definition, by: CLERK, reason: reason() }
    }

    fn defined() -> Event {
        Event::PlanDefined { definition: gold(), by: CLERK, reason: reason() }
    }

    #[test]
    fn a_plan_is_what_the_staff_said_last() {
        given::<Plan>([]).when(define(gold())).then([defined()]);
        given::<Plan>([defined()]).when(define(gold())).then_nothing();
        let dearer = Definition { prices: vec![usd(1_999)], ..gold() };
        let revised = Event::PlanRevised { definition: dearer.clone(), by: CLERK, reason: reason() };
        given::<Plan>([defined()]).when(define(dearer.clone())).then([revised.clone()]);
        given::<Plan>([defined(), revised]).when(define(dearer)).then_nothing();
    }

    #[test]
    fn what_is_sold_makes_sense() {
        let refused = |definition, error| given::<Plan>([]).when(define(definition)).then_refused(error);
        refused(Definition { prices: vec![], ..gold() }, Error::NoPrice);
        refused(Definition { prices: vec![usd(0)], ..gold() }, Error::PriceNotPositive { offered: usd(0) });
        let (limit, offered) = (usd(BALANCE_LIMIT), usd(BALANCE_LIMIT));
        refused(Definition { prices: vec![offered], ..gold() }, Error::PriceTooHigh { limit, offered });
        let twice = Definition { prices: vec![usd(1), usd(2)], ..gold() };
        refused(twice, Error::CurrencyRepeated { currency: Currency::USD });
        let dear = Definition { fee_bps: Some(10_001), ..gold() };
        refused(dear, Error::FeeOutOfRange { maximum: 10_000, offered: 10_001 });
        for offered in [6, 367] {
            let wrong = Error::PeriodOutOfRange { shortest: 7, longest: 366, offered };
            refused(Definition { period_days: offered, ..gold() }, wrong);
        }
    }

    #[test]
    fn the_free_plan_costs_nothing_and_stays() {
        let free = |prices, retired| Definition { slug: FREE.to_owned(), prices, retired, ..gold() };
        given::<Plan>([]).when(define(free(vec![usd(1)], false))).then_refused(Error::FreeHasPrice);
        given::<Plan>([]).when(define(free(vec![], true))).then_refused(Error::FreeStays);
        let event = Event::PlanDefined { definition: free(vec![], false), by: CLERK, reason: reason() };
        given::<Plan>([]).when(define(free(vec![], false))).then([event]);
        assert_eq!(free(vec![], false).terms(Currency::USD), Err(Error::Free));
    }

    #[test]
    fn a_plan_is_bought_at_its_price_in_a_currency_that_it_is_sold_in() {
        let terms = gold().terms(Currency::JPY).unwrap();
        assert_eq!((terms.price.minor(), terms.period_days, terms.listings), (1_500, 30, Some(500)));
        assert_eq!(gold().terms(Currency::KWD), Err(Error::NotSoldIn { currency: Currency::KWD }));
        let retired = Definition { retired: true, ..gold() };
        assert_eq!(retired.terms(Currency::USD), Err(Error::Retired));
    }

    #[test]
    fn what_is_shipped_could_have_been_defined() {
        for definition in shipped(Some(100)) {
            assert_eq!(check(&definition), Ok(()), "{definition:?}");
        }
        assert_eq!(shipped(Some(7))[0].listings, Some(7));
        assert_eq!(shipped(None)[0].listings, None);
    }
}
