//! What readers ask: the queries behind the routes, over a marketplace that has been traded up.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::{AccountId, AuctionId, Currency, ListingId, OrderId};
use projections::catalogue::{self, PriceRange, Sort, Viewer};
use projections::{auction_board, orders, wallet_statement};
use sqlx::PgPool;
use uuid::Uuid;

use super::BenchError;
use super::market::{CHEAPEST, DEAREST, THINGS};
use super::sample::{Sample, again_and_again};
use super::scratch::Scratch;

/// As a node is configured unless told otherwise.
const CONNECTIONS: u32 = 16;
/// How many things of each kind are asked for in turn.
const THINGS_ASKED_FOR: i64 = 10_000;
/// Rows of a page.
const PAGE: u32 = 20;

/// A query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Question {
    /// The empty one: what a round trip costs.
    Nothing,
    Listing,
    Page,
    Search,
    Auction,
    Bids,
    Order,
    OrdersOf,
    Transactions,
}

pub(super) const QUESTIONS: [Question; 9] = [
    Question::Nothing,
    Question::Listing,
    Question::Page,
    Question::Search,
    Question::Auction,
    Question::Bids,
    Question::Order,
    Question::OrdersOf,
    Question::Transactions,
];

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nothing => "select 1",
            Self::Listing => "listing",
            Self::Page => "page of listings, by price",
            Self::Search => "page of listings with a word",
            Self::Auction => "auction",
            Self::Bids => "page of bids",
            Self::Order => "order",
            Self::OrdersOf => "page of a buyer's orders",
            Self::Transactions => "page of a wallet's transactions",
        })
    }
}

/// Who can be asked about what.
#[derive(Debug)]
pub(super) struct Readers {
    pool: PgPool,
    listings: Vec<Uuid>,
    auctions: Vec<Uuid>,
    orders: Vec<Uuid>,
    buyers: Vec<Uuid>,
    turn: AtomicUsize,
}

impl Readers {
    /// Learns what there is, all over the tables.
    pub(super) async fn of(scratch: &Scratch) -> Result<Arc<Self>, BenchError> {
        let pool = scratch.database().pool(CONNECTIONS);
        let ids = async |column: &str, table: &str| {
            // These names are ours. Ids are not in the order in which things were made, once they are hashed.
            let query = format!("select {column} from {table} order by md5({column}::text) limit $1");
            Ok::<Vec<Uuid>, BenchError>(sqlx::query_scalar(&query).bind(THINGS_ASKED_FOR).fetch_all(&pool).await?)
        };
        let (listings, auctions) = (ids("id", "catalogue.listings").await?, ids("id", "auction_board.auctions").await?);
        let (orders, buyers) = (ids("id", "orders.orders").await?, ids("buyer_id", "orders.orders").await?);
        if listings.is_empty() || auctions.is_empty() || orders.is_empty() {
            return Err(BenchError::Material("questions: there is nothing to ask for"));
        }
        Ok(Arc::new(Self { pool, listings, auctions, orders, buyers, turn: AtomicUsize::new(0) }))
    }

    /// Lets callers ask again and again.
    pub(super) async fn measure(
        self: &Arc<Self>,
        question: Question,
        callers: usize,
        slot: Duration,
    ) -> Result<Sample, BenchError> {
        let readers = self.clone();
        again_and_again(callers, slot, move || {
            let readers = readers.clone();
            async move { readers.ask(question).await }
        })
        .await
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Asks for something else each time. What is not there, or empty, was asked for wrongly.
    async fn ask(&self, question: Question) -> Result<(), BenchError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let one_of = |ids: &[Uuid]| ids[turn % ids.len()];
        let pool = &self.pool;
        let found = match question {
            Question::Nothing => sqlx::query("select 1").fetch_optional(pool).await?.is_some(),
            Question::Listing => {
                catalogue::get(pool, ListingId(one_of(&self.listings)), Viewer::Anybody).await?.is_some()
            }
            Question::Page => {
                let from = CHEAPEST + i64::try_from(turn).unwrap_or_default() * 7_919 % (DEAREST - CHEAPEST) / 2;
                let price = PriceRange { currency: Currency::USD, from: Some(from), to: Some(DEAREST) };
                let (categories, price) = (vec!["stationery".to_owned()], Some(price));
                let filter = catalogue::Filter { categories, price, ..catalogue::Filter::default() };
                !catalogue::page(pool, &filter, Sort::PriceAsc, None, PAGE).await?.items.is_empty()
            }
            Question::Search => {
                let words = Some(THINGS[turn % THINGS.len()].to_owned());
                let filter = catalogue::Filter { words, ..catalogue::Filter::default() };
                !catalogue::page(pool, &filter, Sort::Newest, None, PAGE).await?.items.is_empty()
            }
            Question::Auction => auction_board::get(pool, AuctionId(one_of(&self.auctions))).await?.is_some(),
            Question::Bids => {
                let auction = AuctionId(one_of(&self.auctions));
                auction_board::bids_page(pool, auction, None, PAGE).await.map(|_| true)?
            }
            Question::Order => orders::get(pool, OrderId(one_of(&self.orders))).await?.is_some(),
            Question::OrdersOf => {
                let filter = orders::Filter { party: AccountId(one_of(&self.buyers)), side: None, status: None };
                !orders::page(pool, &filter, None, PAGE).await?.items.is_empty()
            }
            Question::Transactions => {
                let (buyer, filter) = (AccountId(one_of(&self.buyers)), wallet_statement::Filter::default());
                !wallet_statement::transactions(pool, buyer, filter, None, PAGE).await?.items.is_empty()
            }
        };
        if found { Ok(()) } else { Err(BenchError::Material("questions: one has no answer")) }
    }
}
