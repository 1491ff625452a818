//! What is among the listings that a search finds, with counts: of all of them, however many pages they fill.

use std::collections::BTreeMap;

use domain::Currency;
use sqlx::{FromRow, PgExecutor, QueryBuilder};

use super::search::{Filter, push_conditions};
use crate::Text;

/// The most values of one kind that are told.
const MOST_VALUES: usize = 50;

/// What is among some listings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facets {
    /// How many listings there are.
    pub total: i64,
    /// How many of each category, the most first, as all counts here.
    pub categories: Vec<Count>,
    /// How many of each brand.
    pub brands: Vec<Count>,
    /// How many of each condition.
    pub conditions: Vec<Count>,
    /// How many of each way of sale.
    pub kinds: Vec<Count>,
    /// How many are on sale.
    pub on_sale: i64,
    /// How many the staff features.
    pub featured: i64,
    /// By the name of the attribute, how many say what.
    pub attributes: BTreeMap<String, Vec<Count>>,
    /// What is asked, by currency.
    pub prices: Vec<Prices>,
}

/// How many listings have a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Count {
    /// The value.
    pub value: String,
    /// How many.
    pub count: i64,
}

/// What is asked in one currency.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct Prices {
    /// The currency.
    pub currency: Text<Currency>,
    /// The least, in minor units.
    pub least: i64,
    /// The most, in minor units.
    pub most: i64,
    /// How many listings are in it.
    pub count: i64,
}

#[derive(FromRow)]
struct Row {
    facet: String,
    name: String,
    value: String,
    count: i64,
    least: i64,
    most: i64,
}

/// What is among the listings that a filter leaves.
pub async fn facets(executor: impl PgExecutor<'_>, filter: &Filter) -> Result<Facets, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "with shown as materialized (
            select category, brand, condition, kind, currency, asked_minor, on_sale, featured, attributes
            from catalogue.listings where ",
    );
    push_conditions(&mut query, filter);
    query.push(
        "), counts as (
            select 'category' as facet, '' as name, category as value, count(*) as count, 0::bigint as least,
                0::bigint as most from shown group by category
            union all select 'brand', '', brand, count(*), 0, 0 from shown where brand <> '' group by brand
            union all select 'condition', '', condition, count(*), 0, 0 from shown group by condition
            union all select 'kind', '', kind, count(*), 0, 0 from shown group by kind
            union all select 'on_sale', '', '', count(*), 0, 0 from shown where on_sale
            union all select 'featured', '', '', count(*), 0, 0 from shown where featured
            union all select 'total', '', '', count(*), 0, 0 from shown
            union all select 'price', '', currency, count(*), min(asked_minor), max(asked_minor)
                from shown group by currency
            union all select 'attribute', key, said, count(*), 0, 0
                from shown, jsonb_each_text(attributes) as attribute (key, said) group by key, said
        )
        select facet, name, value, count, least, most from (
            select *, row_number() over (partition by facet, name order by count desc, value) as place from counts
        ) as placed where place <= ",
    );
    query.push_bind(i64::try_from(MOST_VALUES).unwrap_or(i64::MAX)).push(" order by facet, name, place");
    let rows: Vec<Row> = query.build_query_as().fetch_all(executor).await?;
    Ok(rows.into_iter().fold(Facets::default(), Facets::with))
}

impl Facets {
    fn with(mut self, row: Row) -> Self {
        let Row { facet, name, value, count, least, most } = row;
        let counted = Count { value, count };
        match facet.as_str() {
            "category" => self.categories.push(counted),
            "brand" => self.brands.push(counted),
            "condition" => self.conditions.push(counted),
            "kind" => self.kinds.push(counted),
            "on_sale" => self.on_sale = count,
            "featured" => self.featured = count,
            "total" => self.total = count,
            "attribute" => self.attributes.entry(name).or_default().push(counted),
            "price" => {
                // What the domain has once made a currency is one.
                let currency = counted.value.parse().ok().map(Text);
                self.prices.extend(currency.map(|currency| Prices { currency, least, most, count }));
            }
            _ => {}
        }
        self
    }
}
