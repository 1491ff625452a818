//! Searches of a large catalogue, each as its route asks, beside `ILIKE '%…%'` for the same words in the same table.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use projections::catalogue::{self, Filter, Sort, Viewer};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::PgPool;

use super::BenchError;
use super::goods::{Goods, mistyped};
use super::sample::{Sample, again_and_again};
use super::scratch::Scratch;

/// As a node is configured unless told otherwise.
const CONNECTIONS: u32 = 16;
/// Rows of a page, and suggestions of each kind.
const PAGE: u32 = 20;
/// Letters of the last word that somebody has typed who is told how it may go on.
const BEGUN: usize = 3;

/// What would be written without a search: the same page of the same listings.
const ILIKE: &str =
    "select id, seller_id, title, description, category, brand, price_minor, currency, attributes, images,
        variants, stock, created_at, position
    from listings
    where status = 'active' and not seller_id = any(array(select seller_id from sellers where closed))
        and (title ilike '%' || $1 || '%' or brand ilike '%' || $1 || '%' or description ilike '%' || $1 || '%')
        and (title ilike '%' || $2 || '%' or brand ilike '%' || $2 || '%' or description ilike '%' || $2 || '%')
    order by listed_at desc, id desc limit 21";

/// What is asked, of two words that stand in the title of some listing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Search {
    /// The plain way.
    Ilike,
    /// The newest with both words.
    Words,
    /// Those that fit the words best.
    Relevance,
    /// The same as [`Search::Words`] of somebody who has mistyped one.
    Typo,
    /// The same as [`Search::Words`], and what is among all that is found.
    Facets,
    /// What somebody may be about to type.
    Suggestions,
}

pub(super) const SEARCHES: [Search; 6] =
    [Search::Ilike, Search::Words, Search::Relevance, Search::Typo, Search::Facets, Search::Suggestions];

impl fmt::Display for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ilike => "ilike '%…%'",
            Self::Words => "search, the newest",
            Self::Relevance => "search, by relevance",
            Self::Typo => "search, a word mistyped",
            Self::Facets => "search, with facets",
            Self::Suggestions => "suggestions",
        })
    }
}

/// Who searches.
#[derive(Debug)]
pub(super) struct Searchers {
    pool: PgPool,
    plain: PgPool,
    goods: Goods,
    listings: usize,
    turn: AtomicU64,
    mistakes: AtomicU64,
    understood: AtomicU64,
}

impl Searchers {
    pub(super) async fn of(scratch: &Scratch, listings: usize) -> Result<Arc<Self>, BenchError> {
        Ok(Arc::new(Self {
            pool: scratch.database().pool(CONNECTIONS),
            plain: scratch.pool("catalogue", CONNECTIONS).await?,
            goods: Goods::new()?,
            listings,
            turn: AtomicU64::new(0),
            mistakes: AtomicU64::new(0),
            understood: AtomicU64::new(0),
        }))
    }

    /// Lets callers search again and again.
    pub(super) async fn measure(
        self: &Arc<Self>,
        search: Search,
        callers: usize,
        slot: Duration,
    ) -> Result<Sample, BenchError> {
        let searchers = self.clone();
        again_and_again(callers, slot, move || {
            let searchers = searchers.clone();
            async move { searchers.ask(search).await }
        })
        .await
    }

    /// The share of mistyped searches that have found the listing that was meant, or others with its words.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn understood(&self) -> f64 {
        self.understood.load(Ordering::Relaxed) as f64 / self.mistakes.load(Ordering::Relaxed).max(1) as f64
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
        self.plain.close().await;
    }

    /// Two words of the title of a listing.
    fn words(&self, random: &mut StdRng) -> [String; 2] {
        let title = self.goods.thing(random.random_range(0..self.listings)).details.title;
        let words: Vec<&str> = title.split(' ').collect();
        let first = random.random_range(0..words.len() - 1);
        [words[first], words[first + 1]].map(str::to_owned)
    }

    /// Asks for something else each time. What is in a title must be found.
    async fn ask(&self, search: Search) -> Result<(), BenchError> {
        let mut random = StdRng::seed_from_u64(self.turn.fetch_add(1, Ordering::Relaxed));
        let [one, other] = self.words(&mut random);
        let found = match search {
            Search::Ilike => {
                let rows = sqlx::query(ILIKE).bind(&one).bind(&other).fetch_all(&self.plain).await?;
                !rows.is_empty()
            }
            Search::Words => self.find(&format!("{one} {other}"), Sort::Newest, false).await?,
            Search::Relevance => self.find(&format!("{one} {other}"), Sort::Relevance, false).await?,
            Search::Facets => self.find(&format!("{one} {other}"), Sort::Newest, true).await?,
            Search::Typo => {
                let wrong = mistyped(&other, &mut random);
                let found = self.find(&format!("{one} {wrong}"), Sort::Newest, false).await?;
                self.mistakes.fetch_add(1, Ordering::Relaxed);
                self.understood.fetch_add(u64::from(found), Ordering::Relaxed);
                // It may have become another word.
                true
            }
            Search::Suggestions => {
                let begun: String = other.chars().take(BEGUN).collect();
                let told = catalogue::suggestions(&self.pool, &format!("{one} {begun}"), PAGE).await?;
                !told.terms.is_empty() && !told.titles.is_empty()
            }
        };
        if found { Ok(()) } else { Err(BenchError::Material("searches: one has found nothing")) }
    }

    /// As `GET /listings?q=…` does it. Whether anything was found.
    async fn find(&self, words: &str, sort: Sort, facets: bool) -> Result<bool, BenchError> {
        let words = Some(catalogue::corrected(&self.pool, words, Viewer::Anybody).await?);
        let filter = Filter { words, ..Filter::default() };
        let page = catalogue::page(&self.pool, &filter, sort, None, PAGE).await?;
        if facets {
            let facets = catalogue::facets(&self.pool, &filter).await?;
            return Ok(facets.total > 0 && !page.items.is_empty());
        }
        Ok(!page.items.is_empty())
    }
}
