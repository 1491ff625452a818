//! What is among the listings that a search finds.

use std::collections::{BTreeMap, BTreeSet};

use domain::Money;
use projections::catalogue;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::money::stored_money;
use crate::http::openapi::MoneyBody;
use crate::http::problem::Problem;

/// What is among the listings that a search finds, on all its pages together. Of each kind the 50 most frequent values are
/// told, the most frequent first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FacetsBody {
    /// How many listings there are.
    total: i64,
    categories: Vec<CountBody>,
    brands: Vec<CountBody>,
    conditions: Vec<CountBody>,
    kinds: Vec<CountBody>,
    /// How many are on sale.
    on_sale: i64,
    /// How many the staff features.
    featured: i64,
    /// What they say of themselves, by the names of the attributes that their categories offer to filter by.
    attributes: BTreeMap<String, Vec<CountBody>>,
    /// What is asked, by currency.
    prices: Vec<PricesBody>,
}

/// How many listings have a value.
#[derive(Debug, Serialize, ToSchema)]
pub struct CountBody {
    #[schema(example = "watches")]
    value: String,
    #[schema(example = 12)]
    count: i64,
}

/// What is asked in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct PricesBody {
    #[schema(value_type = MoneyBody)]
    least: Money,
    #[schema(value_type = MoneyBody)]
    most: Money,
    /// How many listings are in it.
    count: i64,
}

impl From<catalogue::Count> for CountBody {
    fn from(catalogue::Count { value, count }: catalogue::Count) -> Self {
        Self { value, count }
    }
}

/// The facets, with those attributes that may be filtered by.
pub(super) fn body(facets: catalogue::Facets, filterable: &BTreeSet<&str>) -> Result<FacetsBody, Problem> {
    let counts = |counts: Vec<catalogue::Count>| counts.into_iter().map(CountBody::from).collect::<Vec<_>>();
    let attributes = facets.attributes.into_iter().filter(|(name, _)| filterable.contains(name.as_str()));
    let prices = facets.prices.into_iter().map(|prices| {
        let money = |minor| stored_money(minor, prices.currency.0);
        Ok::<_, Problem>(PricesBody { least: money(prices.least)?, most: money(prices.most)?, count: prices.count })
    });
    Ok(FacetsBody {
        total: facets.total,
        categories: counts(facets.categories),
        brands: counts(facets.brands),
        conditions: counts(facets.conditions),
        kinds: counts(facets.kinds),
        on_sale: facets.on_sale,
        featured: facets.featured,
        attributes: attributes.map(|(name, values)| (name, counts(values))).collect(),
        prices: prices.collect::<Result<_, _>>()?,
    })
}
