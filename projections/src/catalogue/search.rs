//! Questions to the catalogue: one listing, several, and pages of those that a filter leaves.

use std::collections::BTreeMap;

use domain::listing::Condition;
use domain::{AccountId, Currency, ListingId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{Kind, Offer, Status, columns};
use crate::page::{Page, PageError};
use crate::{Text, rows};

/// Which listings to show. The default is everything active: what is sold out is not.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Who looks.
    pub viewer: Viewer,
    /// Where in their life; `None` for anywhere.
    pub status: Option<Status>,
    /// Whose.
    pub seller: Option<AccountId>,
    /// Of one of these categories; of any if there is none.
    pub categories: Vec<String>,
    /// Sold how.
    pub kind: Option<Kind>,
    /// How used.
    pub condition: Option<Condition>,
    /// Made by whom, exactly as written.
    pub brand: Option<String>,
    /// What it says of itself, by the names of attributes, as texts.
    pub attributes: BTreeMap<String, String>,
    /// Whether less is asked than usual.
    pub on_sale: Option<bool>,
    /// Whether the staff features it.
    pub featured: Option<bool>,
    /// At which price.
    pub price: Option<PriceRange>,
    /// With which words in title, brand or description, as one types them into a search engine.
    pub words: Option<String>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            viewer: Viewer::Anybody,
            status: Some(Status::Active),
            seller: None,
            categories: Vec::new(),
            kind: None,
            condition: None,
            brand: None,
            attributes: BTreeMap::new(),
            on_sale: None,
            featured: None,
            price: None,
            words: None,
        }
    }
}

/// Prices of one currency, bounds included.
#[derive(Clone, Copy, Debug)]
pub struct PriceRange {
    /// Prices in this currency.
    pub currency: Currency,
    /// At least this, in minor units.
    pub from: Option<i64>,
    /// At most this, in minor units.
    pub to: Option<i64>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// What was published last, first.
    #[default]
    Newest,
    /// The cheapest first, each currency by itself.
    PriceAsc,
    /// The dearest first, each currency by itself.
    PriceDesc,
    /// Auctions only, by their end.
    EndingSoon,
    /// What is looked for most, first.
    Popular,
    /// What has most stars on the average, first, and of what is alike what more have rated.
    Rating,
    /// What fits the words best, first; as [`Sort::Newest`] if there are none.
    Relevance,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "sort")]
pub enum Cursor {
    /// In [`Sort::Newest`].
    Newest {
        /// Since when it is new to the reader.
        listed_at: Timestamp,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::PriceAsc`].
    PriceAsc {
        /// The price's currency.
        currency: Text<Currency>,
        /// The price in minor units.
        price: i64,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::PriceDesc`].
    PriceDesc {
        /// The price's currency.
        currency: Text<Currency>,
        /// The price in minor units.
        price: i64,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::EndingSoon`].
    EndingSoon {
        /// When the auction ends.
        ends_at: Timestamp,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::Popular`].
    Popular {
        /// How popular it is.
        popularity: i64,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::Rating`].
    Rating {
        /// How well it is rated.
        rating: i64,
        /// The listing.
        id: Uuid,
    },
    /// In [`Sort::Relevance`].
    Relevance {
        /// How well it fits.
        rank: i64,
        /// The listing.
        id: Uuid,
    },
}

impl Cursor {
    fn after(offer: &Offer, sort: Sort) -> Self {
        let Offer { listing, popularity, rating, rank, .. } = offer;
        let (popularity, rating, rank) = (*popularity, *rating, *rank);
        let (id, currency, price) = (listing.id, listing.currency, listing.asked_minor());
        match (sort, listing.ends_at) {
            (Sort::PriceAsc, _) => Self::PriceAsc { currency, price, id },
            (Sort::PriceDesc, _) => Self::PriceDesc { currency, price, id },
            (Sort::Popular, _) => Self::Popular { popularity, id },
            (Sort::Rating, _) => Self::Rating { rating, id },
            (Sort::Relevance, _) => Self::Relevance { rank, id },
            (Sort::EndingSoon, Some(ends_at)) => Self::EndingSoon { ends_at, id },
            (Sort::Newest | Sort::EndingSoon, _) => Self::Newest { listed_at: listing.listed_at(), id },
        }
    }
}

/// What is shown of a listing. The seller's name is looked up for the rows of the page alone: of a join the planner may
/// make one over everything that the filter lets pass.
const SHOWN: &str = concat!(
    "select ",
    columns!(),
    ", views, favorites, ratings, stars, popularity, rating, rank,
        (select user_name from catalogue.sellers where sellers.seller_id = listings.seller_id) as seller_name
    from catalogue.listings, lateral (select ",
);
/// Where nothing is searched for.
const NO_RANK: &str = "0::bigint";
/// After the rank.
const RANKED: &str = " as rank) as ranked where ";
/// After the rank, where the order is by what a table of its own has in order.
const RANKED_BY_INTEREST: &str = " as rank) as ranked,
        (select listing_id as its_id, status as its_status, popularity as its_popularity from catalogue.interest) as interest
    where its_id = id and ";

/// Who looks at the catalogue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Viewer {
    /// Whoever it is, sees what was published and the staff have nothing against.
    #[default]
    Anybody,
    /// An account also sees all that is its own.
    Account(AccountId),
    /// The staff see everything.
    Staff,
}

impl From<Option<AccountId>> for Viewer {
    fn from(account: Option<AccountId>) -> Self {
        account.map_or(Self::Anybody, Self::Account)
    }
}

/// Adds the condition on what the viewer may see.
pub(super) fn push_visible(query: &mut QueryBuilder<'_, Postgres>, viewer: Viewer) {
    const PUBLIC: &str = "(published_at is not null and status not in ('draft', 'pending', 'removed')
            and not seller_id = any(array(select seller_id from catalogue.sellers where closed))";
    match viewer {
        Viewer::Anybody => query.push(PUBLIC).push(")"),
        Viewer::Account(account) => query.push(PUBLIC).push(" or seller_id = ").push_bind(account.0).push(")"),
        Viewer::Staff => query.push("true"),
    };
}

fn unranked(viewer: Viewer) -> QueryBuilder<'static, Postgres> {
    let mut query = QueryBuilder::new(SHOWN);
    query.push(NO_RANK).push(RANKED);
    push_visible(&mut query, viewer);
    query
}

/// One listing, if the viewer may see it.
pub async fn get(
    executor: impl PgExecutor<'_>,
    listing: ListingId,
    viewer: Viewer,
) -> Result<Option<Offer>, sqlx::Error> {
    let mut query = unranked(viewer);
    query.push(" and id = ").push_bind(listing.0);
    query.build_query_as().fetch_optional(executor).await
}

/// Several listings, as far as the viewer may see them, in no order.
pub async fn get_all(
    executor: impl PgExecutor<'_>,
    listings: &[ListingId],
    viewer: Viewer,
) -> Result<Vec<Offer>, sqlx::Error> {
    let ids: Vec<Uuid> = listings.iter().map(|listing| listing.0).collect();
    let mut query = unranked(viewer);
    query.push(" and id = any(").push_bind(ids).push(")");
    query.build_query_as().fetch_all(executor).await
}

/// What a seller has not taken off, of those that are sold at a fixed price or were never offered.
pub async fn kept_by(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Vec<ListingId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from catalogue.listings
         where seller_id = $1 and archived_at is null and status <> 'removed'
            and (kind = 'fixed_price' or published_at is null)",
    )
    .bind(seller.0)
    .fetch_all(executor)
    .await?;
    Ok(ids.into_iter().map(ListingId).collect())
}

/// How many listings a seller has in each status; nothing of a status in which there is none.
pub async fn counts_of(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<Vec<(Status, i64)>, sqlx::Error> {
    sqlx::query_as(
        "select status, count(*) from catalogue.listings where seller_id = $1 group by status order by status",
    )
    .bind(seller.0)
    .fetch_all(executor)
    .await
}

/// How many listings of a seller everybody may buy or bid for.
pub async fn offered_by(executor: impl PgExecutor<'_>, seller: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "select count(*) from catalogue.listings
         where seller_id = $1 and status = 'active'
            and not exists (select from catalogue.sellers where seller_id = $1 and closed)",
    )
    .bind(seller.0)
    .fetch_one(executor)
    .await
}

/// How many active listings each category has, those below it not included.
pub async fn active_by_category(executor: impl PgExecutor<'_>) -> Result<BTreeMap<String, i64>, sqlx::Error> {
    let counts: Vec<(String, i64)> = sqlx::query_as(
        "select category, count(*) from catalogue.listings
                where status = 'active' and seller_id not in (select seller_id from catalogue.sellers where closed)
                group by category",
    )
    .fetch_all(executor)
    .await?;
    Ok(counts.into_iter().collect())
}

/// Adds what a filter says, but for the order of the list.
pub(super) fn push_conditions(query: &mut QueryBuilder<'_, Postgres>, filter: &Filter) {
    push_visible(query, filter.viewer);
    if let Some(status) = filter.status {
        query.push(" and status = ").push_bind(status);
    }
    if let Some(seller) = filter.seller {
        query.push(" and seller_id = ").push_bind(seller.0);
    }
    // The first condition of either is the index's, which is in the lists' order for one category alone.
    match filter.categories.as_slice() {
        [] => {}
        [category] => {
            query.push(" and left(category, 64) = left(").push_bind(rows::stored(category)).push(", 64)");
            query.push(" and category = ").push_bind(rows::stored(category));
        }
        several => {
            let names: Vec<String> = several.iter().map(|category| rows::stored(category)).collect();
            let cut: Vec<String> = names.iter().map(|name| name.chars().take(64).collect()).collect();
            query.push(" and left(category, 64) = any(").push_bind(cut);
            query.push(") and category = any(").push_bind(names).push(")");
        }
    }
    if let Some(kind) = filter.kind {
        query.push(" and kind = ").push_bind(kind);
    }
    if let Some(condition) = filter.condition {
        query.push(" and condition = ").push_bind(Text(condition));
    }
    if let Some(brand) = &filter.brand {
        query.push(" and brand = ").push_bind(rows::stored(brand));
    }
    for (name, said) in &filter.attributes {
        query.push(" and attributes ->> ").push_bind(rows::stored(name)).push(" = ").push_bind(rows::stored(said));
    }
    if let Some(on_sale) = filter.on_sale {
        query.push(" and on_sale = ").push_bind(on_sale);
    }
    if let Some(featured) = filter.featured {
        query.push(" and featured = ").push_bind(featured);
    }
    if let Some(PriceRange { currency, from, to }) = filter.price {
        query.push(" and currency = ").push_bind(Text(currency));
        query.push(" and asked_minor between ").push_bind(from.unwrap_or(i64::MIN));
        query.push(" and ").push_bind(to.unwrap_or(i64::MAX));
    }
    if let Some(words) = &filter.words {
        query.push(" and words @@ websearch_to_tsquery('english', ").push_bind(rows::stored(words)).push(")");
    }
}

/// Listings after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Offer, Cursor>, PageError> {
    // Without words nothing fits better than anything else.
    let sort = if sort == Sort::Relevance && filter.words.is_none() { Sort::Newest } else { sort };
    let mut query = QueryBuilder::new(SHOWN);
    match (sort, &filter.words) {
        (Sort::Relevance, Some(words)) => {
            // A whole number, so that a cursor finds exactly what it was made from; by what is looked for alone, since with
            // what is to be missing in it anything would rank as nothing.
            query.push("(ts_rank(words, querytree(websearch_to_tsquery('english', ").push_bind(rows::stored(words));
            query.push("))::tsquery) * 1000000)::bigint");
        }
        _ => {
            query.push(NO_RANK);
        }
    }
    query.push(if sort == Sort::Popular { RANKED_BY_INTEREST } else { RANKED });
    push_conditions(&mut query, filter);
    if let (Sort::Popular, Some(status)) = (sort, filter.status) {
        query.push(" and its_status = ").push_bind(status);
    }
    if sort == Sort::EndingSoon {
        query.push(" and kind = 'auction' and ends_at is not null");
    }
    match (sort, after) {
        (_, None) => {}
        (Sort::Newest, Some(Cursor::Newest { listed_at, id })) => {
            query.push(" and (listed_at, id) < (").push_bind(listed_at).push(", ").push_bind(id).push(")");
        }
        (Sort::PriceAsc, Some(Cursor::PriceAsc { currency, price, id })) => {
            query.push(" and (currency, asked_minor, id) > (").push_bind(currency).push(", ").push_bind(price);
            query.push(", ").push_bind(id).push(")");
        }
        (Sort::PriceDesc, Some(Cursor::PriceDesc { currency, price, id })) => {
            query.push(" and (currency, asked_minor, id) < (").push_bind(currency).push(", ").push_bind(price);
            query.push(", ").push_bind(id).push(")");
        }
        (Sort::EndingSoon, Some(Cursor::EndingSoon { ends_at, id })) => {
            query.push(" and (ends_at, id) > (").push_bind(ends_at).push(", ").push_bind(id).push(")");
        }
        (Sort::Popular, Some(Cursor::Popular { popularity, id })) => {
            query.push(" and (its_popularity, its_id) < (").push_bind(popularity).push(", ").push_bind(id).push(")");
        }
        (Sort::Rating, Some(Cursor::Rating { rating, id })) => {
            query.push(" and (rating, id) < (").push_bind(rating).push(", ").push_bind(id).push(")");
        }
        (Sort::Relevance, Some(Cursor::Relevance { rank, id })) => {
            query.push(" and (rank, id) < (").push_bind(rank).push(", ").push_bind(id).push(")");
        }
        (
            Sort::Newest
            | Sort::PriceAsc
            | Sort::PriceDesc
            | Sort::EndingSoon
            | Sort::Popular
            | Sort::Rating
            | Sort::Relevance,
            Some(_),
        ) => {
            return Err(PageError::CursorOfAnotherSort);
        }
    }
    query.push(match sort {
        Sort::Newest => " order by listed_at desc, id desc",
        Sort::PriceAsc => " order by currency, asked_minor, id",
        Sort::PriceDesc => " order by currency desc, asked_minor desc, id desc",
        Sort::EndingSoon => " order by ends_at, id",
        Sort::Popular => " order by its_popularity desc, its_id desc",
        Sort::Rating => " order by rating desc, id desc",
        Sort::Relevance => " order by rank desc, id desc",
    });
    query.push(" limit ").push_bind(Page::<Offer, Cursor>::rows_to_fetch(limit));
    let offers = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(offers, limit, |offer| Cursor::after(offer, sort)))
}
