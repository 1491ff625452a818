//! Questions about reviews: one, pages of those that a filter leaves, and what they come to.

use std::collections::BTreeMap;

use domain::{AccountId, ListingId, ReviewId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgExecutor, QueryBuilder};
use uuid::Uuid;

use super::{Review, Stars, columns};
use crate::page::{Page, PageError};

/// A review, with how many find it helpful and the names of its author and its seller.
#[derive(Clone, Debug, FromRow, PartialEq)]
pub struct Shown {
    /// The review.
    #[sqlx(flatten)]
    pub review: Review,
    /// How many find it helpful.
    pub votes: i64,
    /// The author's public name; `None` once the person is forgotten.
    pub author_name: Option<String>,
    /// The seller's public name; `None` once the person is forgotten.
    pub seller_name: Option<String>,
}

const SHOWN: &str = concat!(
    "select ",
    columns!(),
    ", votes, (select user_name from reviews.people where people.id = author_id) as author_name,
        (select user_name from reviews.people where people.id = seller_id) as seller_name
    from reviews.reviews where "
);

/// One review, whoever may see it.
pub async fn get(executor: impl PgExecutor<'_>, review: ReviewId) -> Result<Option<Shown>, sqlx::Error> {
    let mut query = QueryBuilder::new(SHOWN);
    query.push("id = ").push_bind(review.0);
    query.build_query_as().fetch_optional(executor).await
}

/// Which reviews to show. What staff have hidden, its author alone is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Who looks.
    pub viewer: Option<AccountId>,
    /// Of which listing.
    pub listing: Option<ListingId>,
    /// Of whose listings.
    pub seller: Option<AccountId>,
    /// By whom.
    pub author: Option<AccountId>,
    /// With so many stars.
    pub rating: Option<u8>,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// What was written last, first.
    #[default]
    Newest,
    /// What most find helpful, first.
    Helpful,
    /// What has most stars, first, and of these what was written last.
    Highest,
    /// What has fewest stars, first, and of these what was written first.
    Lowest,
}

/// Where a page ends: the sort key of its last row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields, tag = "sort")]
pub enum Cursor {
    /// In [`Sort::Newest`].
    Newest {
        /// When it was written.
        written_at: Timestamp,
        /// The review.
        id: Uuid,
    },
    /// In [`Sort::Helpful`].
    Helpful {
        /// How many find it helpful.
        votes: i64,
        /// The review.
        id: Uuid,
    },
    /// In [`Sort::Highest`].
    Highest {
        /// How many stars it has.
        rating: i16,
        /// When it was written.
        written_at: Timestamp,
        /// The review.
        id: Uuid,
    },
    /// In [`Sort::Lowest`].
    Lowest {
        /// How many stars it has.
        rating: i16,
        /// When it was written.
        written_at: Timestamp,
        /// The review.
        id: Uuid,
    },
}

impl Cursor {
    fn after(shown: &Shown, sort: Sort) -> Self {
        let (votes, Review { id, rating, written_at, .. }) = (shown.votes, shown.review.clone());
        match sort {
            Sort::Newest => Self::Newest { written_at, id },
            Sort::Helpful => Self::Helpful { votes, id },
            Sort::Highest => Self::Highest { rating, written_at, id },
            Sort::Lowest => Self::Lowest { rating, written_at, id },
        }
    }
}

/// Reviews after a cursor, at most `limit`.
pub async fn page(
    executor: impl PgExecutor<'_>,
    filter: &Filter,
    sort: Sort,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Shown, Cursor>, PageError> {
    let mut query = QueryBuilder::new(SHOWN);
    query.push("(status = 'shown' or author_id = ").push_bind(filter.viewer.map(|viewer| viewer.0)).push(")");
    if let Some(listing) = filter.listing {
        query.push(" and listing_id = ").push_bind(listing.0);
    }
    if let Some(seller) = filter.seller {
        query.push(" and seller_id = ").push_bind(seller.0);
    }
    if let Some(author) = filter.author {
        query.push(" and author_id = ").push_bind(author.0);
    }
    if let Some(rating) = filter.rating {
        query.push(" and rating = ").push_bind(i16::from(rating));
    }
    match (sort, after) {
        (_, None) => {}
        (Sort::Newest, Some(Cursor::Newest { written_at, id })) => {
            query.push(" and (written_at, id) < (").push_bind(written_at).push(", ").push_bind(id).push(")");
        }
        (Sort::Helpful, Some(Cursor::Helpful { votes, id })) => {
            query.push(" and (votes, id) < (").push_bind(votes).push(", ").push_bind(id).push(")");
        }
        (Sort::Highest, Some(Cursor::Highest { rating, written_at, id })) => {
            query.push(" and (rating, written_at, id) < (").push_bind(rating).push(", ").push_bind(written_at);
            query.push(", ").push_bind(id).push(")");
        }
        (Sort::Lowest, Some(Cursor::Lowest { rating, written_at, id })) => {
            query.push(" and (rating, written_at, id) > (").push_bind(rating).push(", ").push_bind(written_at);
            query.push(", ").push_bind(id).push(")");
        }
        (Sort::Newest | Sort::Helpful | Sort::Highest | Sort::Lowest, Some(_)) => {
            return Err(PageError::CursorOfAnotherSort);
        }
    }
    query.push(match sort {
        Sort::Newest => " order by written_at desc, id desc",
        Sort::Helpful => " order by votes desc, id desc",
        Sort::Highest => " order by rating desc, written_at desc, id desc",
        Sort::Lowest => " order by rating, written_at, id",
    });
    query.push(" limit ").push_bind(Page::<Shown, Cursor>::rows_to_fetch(limit));
    let reviews = query.build_query_as().fetch_all(executor).await?;
    Ok(Page::of(reviews, limit, |shown| Cursor::after(shown, sort)))
}

/// How a listing is rated.
pub async fn of_listing(executor: impl PgExecutor<'_>, listing: ListingId) -> Result<Stars, sqlx::Error> {
    let statement = "select one, two, three, four, five from reviews.listing_ratings where listing_id = $1";
    let stars = sqlx::query_as(statement).bind(listing.0).fetch_optional(executor).await?;
    Ok(stars.unwrap_or_default())
}

/// How sellers are rated; those of whom nobody has said anything are left out.
pub async fn of_sellers(executor: impl PgExecutor<'_>, sellers: &[Uuid]) -> Result<BTreeMap<Uuid, Stars>, sqlx::Error> {
    #[derive(FromRow)]
    struct Rated {
        seller_id: Uuid,
        #[sqlx(flatten)]
        stars: Stars,
    }
    let rated: Vec<Rated> = sqlx::query_as("select * from reviews.seller_ratings where seller_id = any($1)")
        .bind(sellers)
        .fetch_all(executor)
        .await?;
    Ok(rated.into_iter().map(|Rated { seller_id, stars }| (seller_id, stars)).collect())
}
