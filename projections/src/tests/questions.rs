//! Queries: every page in every order, filters, and who sees what.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use domain::category::AttributeValue;
use domain::favorite::Favorite;
use domain::listing::Condition;
use domain::store::Kyc;
use domain::{AccountId, AuctionId, Currency, FavoriteId, ListingId};
use sqlx::PgPool;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::{History, TEXTS};
use crate::auction_board::{self, Activity, Auction, Message};
use crate::catalogue::{self, Count, Filter, Kind, Listing, Offer, PriceRange, Sort, Status, Suggestions, Viewer};
use crate::page::{Page, PageError};
use crate::{Text, accounts, categories, stores, wallet_statement};

/// Walks through a list page by page.
pub(crate) async fn walk<R, C, F, E>(mut page: impl FnMut(Option<C>) -> F) -> Vec<R>
where
    F: Future<Output = Result<Page<R, C>, E>>,
    E: std::fmt::Debug,
{
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let Page { items, next } = page(cursor).await.unwrap();
        all.extend(items);
        cursor = next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// Whatever there is, as its seller sees it.
async fn everything(pool: &PgPool, history: &History) -> Vec<Offer> {
    let mut offers = Vec::new();
    for seller in history.accounts.0.keys().copied().map(AccountId) {
        let filter =
            Filter { viewer: Viewer::Account(seller), seller: Some(seller), status: None, ..Filter::default() };
        offers.extend(catalogue::page(pool, &filter, Sort::Newest, None, 10_000).await.unwrap().items);
    }
    offers
}

/// Whether everybody sees it: it was offered, the staff have nothing against it, and its seller's store is not closed.
fn is_public(history: &History, offer: &Offer) -> bool {
    let seller = history.stores.state(AccountId(offer.listing.seller_id));
    let is_hidden = matches!(offer.listing.status, Status::Draft | Status::Pending | Status::Removed);
    offer.listing.published_at.is_some() && !is_hidden && seller.may_sell().is_ok()
}

fn ids(offers: &[Offer]) -> Vec<Uuid> {
    offers.iter().map(|offer| offer.listing.id).collect()
}

#[tokio::test]
async fn every_listing_is_on_exactly_one_page_in_every_order() {
    let history = History::random(21, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let active: Vec<Offer> = everything(&test.pool, &history)
        .await
        .into_iter()
        .filter(|offer| offer.listing.status == Status::Active && is_public(&history, offer))
        .collect();
    assert!(active.len() > 6, "{}", active.len());
    for sort in
        [Sort::Newest, Sort::PriceAsc, Sort::PriceDesc, Sort::EndingSoon, Sort::Popular, Sort::Rating, Sort::Relevance]
    {
        let (pool, filter) = (&test.pool, &Filter::default());
        let walked = walk(|cursor| catalogue::page(pool, filter, sort, cursor, 3)).await;
        let mut expected = active.clone();
        let price = |offer: &Offer| (offer.listing.currency, offer.listing.asked_minor(), offer.listing.id);
        match sort {
            Sort::Popular => {
                expected.sort_by_key(|offer| std::cmp::Reverse((offer.popularity, offer.listing.id)));
                assert!(expected.first().unwrap().popularity > 0);
            }
            Sort::Rating => expected.sort_by_key(|offer| std::cmp::Reverse((offer.rating, offer.listing.id))),
            // Without words.
            Sort::Newest | Sort::Relevance => {
                expected.sort_by_key(|offer| std::cmp::Reverse((offer.listing.published_at, offer.listing.id)));
            }
            Sort::PriceAsc => expected.sort_by_key(price),
            Sort::PriceDesc => expected.sort_by_key(|offer| std::cmp::Reverse(price(offer))),
            Sort::EndingSoon => {
                expected.retain(|offer| offer.listing.kind == Kind::Auction);
                expected.sort_by_key(|offer| (offer.listing.ends_at, offer.listing.id));
            }
        }
        assert_eq!(ids(&walked), ids(&expected), "{sort:?}");
    }
}

#[tokio::test]
async fn a_cursor_of_another_order_is_refused() {
    let history = History::random(21, 600);
    let test = TestDatabase::showing(&history.units).await;
    let page = |sort, cursor| {
        let pool = test.pool.clone();
        async move { catalogue::page(&pool, &Filter::default(), sort, cursor, 1).await }
    };
    let newest = page(Sort::Newest, None).await.unwrap().next;
    assert!(matches!(page(Sort::PriceAsc, newest).await, Err(PageError::CursorOfAnotherSort)));
    let json = serde_json::to_string(&newest).unwrap();
    assert_eq!(serde_json::from_str::<Option<catalogue::Cursor>>(&json).unwrap(), newest);
    let page = auction_board::page(&test.pool, <_>::default(), auction_board::Sort::Newest, None, 1).await.unwrap();
    let other = auction_board::page(&test.pool, <_>::default(), auction_board::Sort::EndingSoon, page.next, 1).await;
    assert!(matches!(other, Err(PageError::CursorOfAnotherSort)));
}

/// Whether a filter leaves an offer, given the seller whom one of them names.
type Shown = fn(&Offer, AccountId) -> bool;

#[tokio::test]
async fn filters_leave_exactly_what_they_name() {
    let history = History::of_catalogue(23, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let all = everything(&test.pool, &history).await;
    let public: Vec<Offer> = all.into_iter().filter(|offer| is_public(&history, offer)).collect();
    let seller = AccountId(public[0].listing.seller_id);
    let price = PriceRange { currency: Currency::JPY, from: Some(5_000), to: Some(12_000) };
    let any = || Filter { status: None, ..Filter::default() };
    let filters: [(Filter, Shown); 16] = [
        (any(), |_, _| true),
        (Filter::default(), |offer, _| offer.listing.status == Status::Active),
        (Filter { attributes: BTreeMap::from([("year".to_owned(), "1991".to_owned())]), ..any() }, |offer, _| {
            let year = offer.listing.attributes.get(&"year".parse().unwrap());
            year == Some(&AttributeValue::Integer(1_991))
        }),
        (Filter { attributes: BTreeMap::from([("runs".to_owned(), "true".to_owned())]), ..any() }, |offer, _| {
            offer.listing.attributes.get(&"runs".parse().unwrap()) == Some(&AttributeValue::Boolean(true))
        }),
        (Filter { status: Some(Status::Archived), ..any() }, |offer, _| offer.listing.status == Status::Archived),
        (Filter { status: Some(Status::SoldOut), ..any() }, |offer, _| {
            offer.listing.status == Status::SoldOut && offer.listing.stock == Some(0)
        }),
        (Filter { status: Some(Status::Paused), ..any() }, |offer, _| offer.listing.status == Status::Paused),
        (Filter { on_sale: Some(true), ..any() }, |offer, _| offer.listing.sale_minor.is_some()),
        (Filter { featured: Some(true), ..any() }, |offer, _| offer.listing.featured),
        (Filter { categories: vec!["coins".to_owned(), "books".to_owned()], ..any() }, |offer, _| {
            offer.listing.category != "watches"
        }),
        (Filter { seller: Some(seller), ..any() }, |offer, seller| offer.listing.seller_id == seller.0),
        (Filter { categories: vec!["coins".to_owned()], ..any() }, |offer, _| offer.listing.category == "coins"),
        (Filter { kind: Some(Kind::FixedPrice), ..any() }, |offer, _| offer.listing.kind == Kind::FixedPrice),
        (Filter { condition: Some(Condition::LikeNew), ..any() }, |offer, _| {
            offer.listing.condition == Text(Condition::LikeNew)
        }),
        (Filter { brand: Some("Zenith".to_owned()), ..any() }, |offer, _| {
            offer.listing.brand.as_deref() == Some("Zenith")
        }),
        (Filter { price: Some(price), ..any() }, |offer, _| {
            offer.listing.currency == Text(Currency::JPY) && (5_000..=12_000).contains(&offer.listing.asked_minor())
        }),
    ];
    for (filter, shown) in filters {
        let walked = walk(|cursor| catalogue::page(&test.pool, &filter, Sort::PriceAsc, cursor, 7)).await;
        let expected: BTreeSet<Uuid> =
            public.iter().filter(|offer| shown(offer, seller)).map(|offer| offer.listing.id).collect();
        assert!(!expected.is_empty(), "{filter:?}");
        assert_eq!(walked.len(), expected.len(), "{filter:?}");
        assert_eq!(ids(&walked).into_iter().collect::<BTreeSet<_>>(), expected, "{filter:?}");
    }
}

#[tokio::test]
async fn the_tree_of_categories_is_what_the_domain_says() {
    let history = History::random(29, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let tree = categories::tree(&test.pool).await.unwrap();
    let mut defined = 0;
    for (id, (category, version)) in &history.categories.0 {
        let Ok(definition) = category.definition() else { continue };
        let shown = tree.get(&definition.slug).unwrap();
        assert_eq!((shown.id, shown.version), (*id, version.cast_signed()));
        let name = definition.name.replace('\0', "\u{fffd}");
        assert_eq!((&shown.name, &shown.parent), (&name, &definition.parent));
        assert_eq!(shown.fee_bps, definition.fee_bps.map(i64::from));
        assert_eq!(shown.closed, matches!(category, domain::category::Category::Closed(_)));
        assert!(
            tree.with_all_below(&definition.slug)
                .iter()
                .all(|slug| { tree.upwards(slug).iter().any(|above| above.slug == definition.slug) })
        );
        defined += 1;
    }
    assert!(defined > 1);
    let counts = catalogue::active_by_category(&test.pool).await.unwrap();
    let everything = Filter::default();
    let active = walk(|cursor| catalogue::page(&test.pool, &everything, Sort::Newest, cursor, 50)).await;
    for (slug, count) in &counts {
        let listed = active.iter().filter(|offer| offer.listing.category == *slug).count();
        assert_eq!(usize::try_from(*count).unwrap(), listed, "{slug}");
    }
    assert_eq!(usize::try_from(counts.values().sum::<i64>()).unwrap(), active.len());
}

#[tokio::test]
async fn words_are_found_in_title_brand_and_description_by_their_stems() {
    let history = History::random(23, 600);
    let test = TestDatabase::showing(&history.units).await;
    let find = async |words: &str| {
        let filter = Filter { status: None, words: Some(words.to_owned()), ..Filter::default() };
        catalogue::page(&test.pool, &filter, Sort::Newest, None, 1_000).await.unwrap().items
    };
    let coins = find("coins -watch").await;
    assert!(!coins.is_empty());
    for Offer { listing, .. } in &coins {
        let shown = format!("{} {}", listing.title, listing.description);
        assert!(shown.contains(TEXTS[1]) && !shown.contains(TEXTS[0]));
    }
    assert!(!find("zenith").await.is_empty());
    assert!(find("nowhere").await.is_empty());
    for odd in ["", "\"", "'; drop table", "a & | !", "-", "a\0b"] {
        find(odd).await;
    }
}

#[tokio::test]
async fn views_and_favourites_are_counted_and_change_no_version() {
    let history = History::random(33, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let mut wanted = BTreeMap::<Uuid, i64>::new();
    for account in history.accounts.0.keys().copied().map(AccountId) {
        let pool = &test.pool;
        let favorites = walk(|cursor| catalogue::favorites(pool, account, cursor, 2)).await;
        assert!(favorites.is_sorted_by_key(|one| std::cmp::Reverse((one.added_at, one.listing_id))));
        let is_one =
            |listing: &Uuid| history.favorites.state(FavoriteId::of(account, ListingId(*listing))) == Favorite::There;
        let erased = history.accounts.state(account).registered().is_err();
        let expected = history.listings.0.keys().copied().filter(|listing| !erased && is_one(listing));
        assert_eq!(favorites.iter().map(|one| one.listing_id).collect::<BTreeSet<_>>(), expected.collect());
        for favorite in favorites {
            *wanted.entry(favorite.listing_id).or_default() += 1;
        }
    }
    let all = everything(&test.pool, &history).await;
    let mut views = 0;
    for Offer { listing, favorites, views: seen, popularity, .. } in &all {
        assert_eq!(*favorites, wanted.get(&listing.id).copied().unwrap_or(0));
        assert_eq!(listing.version, history.listings.0[&listing.id].1.cast_signed());
        assert_eq!(*popularity, 50 * listing.sold + 20 * favorites + 10 * i64::from(listing.bids) + seen);
        views += seen;
    }
    let counted = history.views.0.values().filter(|(_, version)| *version > 0).count();
    assert_eq!((usize::try_from(views).unwrap(), wanted.is_empty()), (counted, false));
}

#[tokio::test]
async fn words_are_counted_of_what_everybody_can_buy_and_of_nothing_else() {
    let mut closed = 0;
    for seed in [31, 33] {
        let history = History::of_catalogue(seed, 3_000);
        let test = TestDatabase::showing(&history.units).await;
        let all = everything(&test.pool, &history).await;
        let active = || all.iter().filter(|offer| offer.listing.status == Status::Active);
        closed += active().filter(|offer| !is_public(&history, offer)).count();
        let words = active().filter(|offer| is_public(&history, offer)).flat_map(|Offer { listing, .. }| {
            let texts = [listing.title.as_str(), listing.brand.as_deref().unwrap_or_default()].join(" ").to_lowercase();
            let words = texts.split(|letter: char| !letter.is_alphanumeric()).map(str::to_owned);
            words.filter(|word| (2..=40).contains(&word.chars().count())).collect::<BTreeSet<_>>()
        });
        let kept: Vec<(String, i64)> =
            sqlx::query_as("select term, listings from catalogue.terms").fetch_all(&test.pool).await.unwrap();
        assert_eq!(kept.into_iter().collect::<BTreeMap<_, _>>(), counted(words));
        assert!(active().count() > 10);
    }
    assert!(closed > 0, "no seller of something on offer is closed");
}

/// How often each value comes.
fn counted(values: impl IntoIterator<Item = String>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

fn told(counts: &[Count]) -> BTreeMap<String, i64> {
    counts.iter().map(|count| (count.value.clone(), count.count)).collect()
}

fn word<T: serde::Serialize>(value: T) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn facets_are_a_count_of_what_is_shown() {
    let history = History::of_catalogue(30, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let zenith = Filter { brand: Some("Zenith".to_owned()), ..Filter::default() };
    let words = Filter { words: Some("watch".to_owned()), status: None, ..Filter::default() };
    for filter in [Filter::default(), zenith, words] {
        let shown = walk(|cursor| catalogue::page(&test.pool, &filter, Sort::Newest, cursor, 100)).await;
        let facets = catalogue::facets(&test.pool, &filter).await.unwrap();
        assert!(!shown.is_empty(), "{filter:?}");
        let shown = || shown.iter().map(|offer| &offer.listing);
        assert_eq!(usize::try_from(facets.total).unwrap(), shown().count());
        assert_eq!(told(&facets.categories), counted(shown().map(|listing| listing.category.clone())));
        let brands = shown().filter_map(|listing| listing.brand.clone()).filter(|brand| !brand.is_empty());
        assert_eq!(told(&facets.brands), counted(brands));
        assert_eq!(told(&facets.conditions), counted(shown().map(|listing| word(listing.condition))));
        assert_eq!(told(&facets.kinds), counted(shown().map(|listing| word(listing.kind))));
        let on_sale = shown().filter(|listing| listing.sale_minor.is_some()).count();
        let featured = shown().filter(|listing| listing.featured).count();
        assert_eq!((facets.on_sale, facets.featured), (on_sale.try_into().unwrap(), featured.try_into().unwrap()));
        for name in ["year", "runs", "said"] {
            let said = shown().filter_map(|listing| listing.attributes.get(&name.parse().unwrap()));
            let expected = counted(said.map(ToString::to_string));
            assert_eq!(facets.attributes.get(name).map(|counts| told(counts)).unwrap_or_default(), expected, "{name}");
        }
        for prices in &facets.prices {
            let asked = || shown().filter(|listing| listing.currency == prices.currency).map(Listing::asked_minor);
            let expected = (asked().min(), asked().max(), asked().count());
            assert_eq!((Some(prices.least), Some(prices.most), usize::try_from(prices.count).unwrap()), expected);
        }
        assert_eq!(facets.prices.iter().map(|prices| prices.count).sum::<i64>(), facets.total);
    }
}

#[tokio::test]
async fn by_relevance_every_match_is_on_exactly_one_page() {
    let test = with_offers_of(["silver", "roman"]).await;
    let mut found = 0;
    for words in ["watch", "coin or watch", "roman -silver"] {
        let filter = Filter { status: None, words: Some(words.to_owned()), ..Filter::default() };
        let all = catalogue::page(&test.pool, &filter, Sort::Newest, None, 10_000).await.unwrap().items;
        let walked = walk(|cursor| catalogue::page(&test.pool, &filter, Sort::Relevance, cursor, 2)).await;
        found += all.len();
        assert_eq!(walked.len(), all.len());
        assert_eq!(ids(&walked).into_iter().collect::<BTreeSet<_>>(), ids(&all).into_iter().collect());
        assert!(walked.is_sorted_by_key(|offer| std::cmp::Reverse((offer.rank, offer.listing.id))));
        assert!(walked.iter().all(|offer| offer.rank > 0), "{words}");
    }
    assert!(found > 12, "{found}");
    // A title says more than a description.
    let filter = Filter { status: None, words: Some("watch".to_owned()), ..Filter::default() };
    let walked = walk(|cursor| catalogue::page(&test.pool, &filter, Sort::Relevance, cursor, 50)).await;
    let in_title = |offer: &Offer| offer.listing.title.contains("watch");
    assert!(walked.is_sorted_by_key(|offer| !in_title(offer)));
}

/// Shows a history at whose end there is something on offer with each of these words.
async fn with_offers_of<const N: usize>(words: [&str; N]) -> TestDatabase {
    for seed in 32..40 {
        let test = TestDatabase::showing(&History::random(seed, 1_500).units).await;
        let there = "select count(*) = $2 from catalogue.terms where term = any($1)";
        let there = sqlx::query_scalar(there).bind(words).bind(i64::try_from(N).unwrap());
        if there.fetch_one(&test.pool).await.unwrap() {
            return test;
        }
    }
    panic!("no history offers {words:?}");
}

#[tokio::test]
async fn a_typing_mistake_finds_what_was_meant_and_no_draft_is_suggested() {
    let test = with_offers_of(["silver", "roman"]).await;
    for (typed, meant) in [
        ("silber wach", "silver watch"),
        ("\"roman coni\" -silver", "\"roman coin\" -silver"),
        ("zneith", "zenith"),
        ("watches", "watches"),
        ("qqqqqq", "qqqqqq"),
        ("", ""),
        ("a\0b '; drop table", "a\0b '; drop table"),
    ] {
        assert_eq!(
            catalogue::corrected(&test.pool, &typed.replace('\0', " "), Viewer::Anybody).await.unwrap(),
            meant.replace('\0', " ")
        );
    }
    let suggest = async |typed: &str| catalogue::suggestions(&test.pool, typed, 5).await.unwrap();
    assert_eq!(suggest("wat").await.terms.first().map(String::as_str), Some("watch"));
    assert_eq!(suggest("silver wacth").await.terms.first().map(String::as_str), Some("watch"));
    assert!(suggest("roman co").await.titles.contains(&"Roman coin".to_owned()));
    for nothing in ["", "  ", "%", "'", "qqqqqq"] {
        let Suggestions { terms, titles } = suggest(nothing).await;
        assert_eq!((terms, titles), (vec![], vec![]), "{nothing}");
    }
}

#[tokio::test]
async fn what_was_never_published_is_shown_to_its_seller_alone() {
    let history = History::random(24, 800);
    let test = TestDatabase::showing(&history.units).await;
    let all = everything(&test.pool, &history).await;
    let hidden: Vec<&Offer> = all.iter().filter(|offer| offer.listing.published_at.is_none()).collect();
    assert!(hidden.iter().any(|offer| offer.listing.status == Status::Draft));
    assert!(hidden.iter().any(|offer| offer.listing.status == Status::Archived));
    let stranger = AccountId(Uuid::from_u128(1));
    for offer in &all {
        let (id, seller) = (ListingId(offer.listing.id), AccountId(offer.listing.seller_id));
        assert_eq!(catalogue::get(&test.pool, id, Viewer::Account(seller)).await.unwrap().as_ref(), Some(offer));
        let public = is_public(&history, offer);
        for viewer in [Viewer::Anybody, Viewer::Account(stranger)] {
            assert_eq!(catalogue::get(&test.pool, id, viewer).await.unwrap().is_some(), public);
        }
    }
    let listings: Vec<_> = all.iter().map(|offer| ListingId(offer.listing.id)).collect();
    let shown = catalogue::get_all(&test.pool, &listings, Viewer::Staff).await.unwrap();
    assert_eq!(shown.len(), all.len());
    let shown = catalogue::get_all(&test.pool, &listings, Viewer::Anybody).await.unwrap();
    assert_eq!(shown.len(), all.iter().filter(|offer| is_public(&history, offer)).count());
    for status in [None, Some(Status::Draft), Some(Status::Archived)] {
        let filter = Filter { status, viewer: Viewer::Account(stranger), ..Filter::default() };
        let page = catalogue::page(&test.pool, &filter, Sort::Newest, None, 1_000).await.unwrap();
        assert!(page.items.iter().all(|offer| is_public(&history, offer)));
    }
}

#[tokio::test]
async fn the_board_pages_and_tells_what_happened() {
    let history = History::random(25, 4_000);
    let test = TestDatabase::showing(&history.units).await;
    let board = |filter, sort| {
        let pool = &test.pool;
        walk(move |cursor| auction_board::page(pool, filter, sort, cursor, 2))
    };
    let newest = board(auction_board::Filter::default(), auction_board::Sort::Newest).await;
    let sells = |seller: AccountId| history.stores.state(seller).may_sell().is_ok();
    let is_shown = |id: &Uuid| history.listings.state(ListingId(*id)).offer().is_ok_and(|offer| sells(offer.seller));
    let scheduled = history.auctions.0.iter().filter(|(id, (_, version))| *version > 0 && is_shown(id));
    assert_eq!(newest.len(), scheduled.count());
    assert!(newest.is_sorted_by_key(|auction| std::cmp::Reverse((auction.scheduled_at, auction.id))));
    for status in [auction_board::Status::Open, auction_board::Status::Closed, auction_board::Status::Cancelled] {
        let filter = auction_board::Filter { status: Some(status), ..<_>::default() };
        let some = board(filter, auction_board::Sort::EndingSoon).await;
        assert!(!some.is_empty() && some.is_sorted_by_key(|auction| (auction.ends_at, auction.id)));
        assert_eq!(some.len(), newest.iter().filter(|auction| auction.status == status).count());
    }
    let seller = AccountId(newest[0].seller_id);
    let filter = auction_board::Filter { seller: Some(seller), ..<_>::default() };
    let own = board(filter, auction_board::Sort::Newest).await;
    assert_eq!(own.len(), newest.iter().filter(|auction| auction.seller_id == seller.0).count());

    let mut total = 0;
    for auction in &newest {
        let id = AuctionId(auction.id);
        assert_eq!(auction_board::get(&test.pool, id).await.unwrap().as_ref(), Some(auction));
        let activity = auction_board::activity_after(&test.pool, id, 0, 10_000).await.unwrap();
        assert!(activity.iter().map(|message| message.sequence).eq(1..=auction.version), "one message per event");
        let rest = auction_board::activity_after(&test.pool, id, 2, 1).await.unwrap();
        assert_eq!(rest.first(), activity.get(2));
        let bids = walk(|before| auction_board::bids_page(&test.pool, id, before, 2)).await;
        assert_eq!(i32::try_from(bids.len()).unwrap(), auction.bids);
        assert!(bids.is_sorted_by_key(|bid| std::cmp::Reverse(bid.sequence)));
        check_standings(&test.pool, auction, &history).await;
        total += activity.len();
    }
    let mut since = Vec::new();
    loop {
        let position = since.last().map_or(0, |message: &Activity| message.position);
        let more = auction_board::activity_since(&test.pool, position, 50).await.unwrap();
        if more.is_empty() {
            break;
        }
        since.extend(more);
    }
    // What pages leave out has its messages all the same.
    for id in history.auctions.0.keys().filter(|id| !is_shown(id)) {
        total += auction_board::activity_after(&test.pool, AuctionId(*id), 0, 10_000).await.unwrap().len();
    }
    assert_eq!(since.len(), total);
    assert!(since.is_sorted_by_key(|message| message.position));
    assert!(since.iter().any(|message| matches!(message.message.0, Message::Bid { outbid: Some(_), .. })));
}

async fn check_standings(pool: &PgPool, auction: &Auction, history: &History) {
    let id = AuctionId(auction.id);
    let mut aliases = BTreeSet::new();
    for account in history.accounts.0.keys().copied().map(AccountId) {
        let standing = auction_board::standing(pool, id, account).await.unwrap().unwrap();
        assert_eq!(standing.alias, auction_board::alias_of(pool, id, account).await.unwrap());
        assert_eq!(standing.leading, auction.leader_id == Some(account.0));
        assert_eq!(standing.won, auction.winner_id == Some(account.0));
        if standing.leading {
            assert_eq!(standing.alias, auction.leader_alias);
        }
        aliases.extend(standing.alias);
    }
    assert!(aliases.into_iter().eq(1..=auction.bidders));
    assert_eq!(auction_board::standing(pool, AuctionId(Uuid::nil()), AccountId(Uuid::nil())).await.unwrap(), None);
}

#[tokio::test]
async fn the_board_agrees_with_the_domain() {
    let history = History::random(26, 2_500);
    let test = TestDatabase::showing(&history.units).await;
    for (id, (auction, version)) in &history.auctions.0 {
        let shown = auction_board::get(&test.pool, AuctionId(*id)).await.unwrap();
        let Some(shown) = shown else {
            assert_eq!(*version, 0);
            continue;
        };
        let seller = Viewer::Account(AccountId(shown.seller_id));
        let offer = catalogue::get(&test.pool, ListingId(*id), seller).await.unwrap().unwrap();
        assert_eq!(shown.version, version.cast_signed());
        assert_eq!(offer.listing.version, history.listings.0[id].1.cast_signed(), "a listing's version is its own");
        assert_eq!(offer.listing.bids, shown.bids);
        match auction {
            domain::auction::Auction::Unscheduled => unreachable!("it has events"),
            domain::auction::Auction::Live(live) => {
                assert_eq!(shown.minimum_bid, live.minimum_bid().minor());
                assert_eq!(shown.reserve_met, live.reserve_met());
                assert_eq!(shown.buy_now_price.is_some(), live.buy_now_available());
                assert_eq!(shown.ends_at, live.ends_at);
                assert_eq!(shown.bids.cast_unsigned(), live.bids);
                let leader = live.standing.map(|standing| (standing.leader.0, standing.price.minor()));
                assert_eq!(shown.leader_id.map(|leader| (leader, shown.price)), leader);
                assert_eq!((offer.listing.price_minor, offer.listing.ends_at), (shown.price, Some(shown.ends_at)));
            }
            domain::auction::Auction::Closed { ended_at, outcome, .. } => {
                assert_eq!((shown.status, shown.ended_at), (auction_board::Status::Closed, Some(*ended_at)));
                let json = serde_json::to_value(outcome).unwrap();
                assert_eq!(serde_json::to_value(shown.result).unwrap(), json["result"]);
                assert_eq!(shown.winner_id.map(|id| id.to_string()).as_deref(), json["winner"].as_str());
                assert_eq!(shown.closing_price, json["price"]["amount"].as_i64());
                assert_eq!(offer.listing.price_minor, shown.closing_price.unwrap_or(shown.price));
                assert_eq!(offer.listing.status, Status::Archived);
            }
            domain::auction::Auction::Cancelled { .. } => {
                assert_eq!(shown.status, auction_board::Status::Cancelled);
                assert_eq!(offer.listing.status, Status::Archived);
            }
        }
    }
}

#[tokio::test]
async fn a_statement_pages_from_the_newest_on_and_filters() {
    let history = History::random(27, 1_500);
    let test = TestDatabase::showing(&history.units).await;
    let mut seen = 0;
    for account in history.accounts.0.keys().copied().map(AccountId) {
        let pool = &test.pool;
        let pages = |filter| walk(move |cursor| wallet_statement::transactions(pool, account, filter, cursor, 3));
        let all = pages(wallet_statement::Filter::default()).await;
        assert!(all.is_sorted_by(|one, next| one.requested_at >= next.requested_at));
        assert_eq!(all.iter().map(|one| (one.kind, one.id)).collect::<BTreeSet<_>>().len(), all.len());
        for kind in [
            wallet_statement::Kind::Deposit,
            wallet_statement::Kind::Withdrawal,
            wallet_statement::Kind::Hold,
            wallet_statement::Kind::Payment,
            wallet_statement::Kind::Sale,
            wallet_statement::Kind::Recovery,
        ] {
            let some = pages(wallet_statement::Filter { kind: Some(kind), ..<_>::default() }).await;
            assert!(some.iter().eq(all.iter().filter(|one| one.kind == kind)));
        }
        for status in [wallet_statement::Status::Pending, wallet_statement::Status::Failed] {
            let some = pages(wallet_statement::Filter { status: Some(status), ..<_>::default() }).await;
            assert!(some.iter().eq(all.iter().filter(|one| one.status == status)));
        }
        let some = pages(wallet_statement::Filter { currency: Some(Currency::JPY), ..<_>::default() }).await;
        assert!(some.iter().eq(all.iter().filter(|one| one.currency.0 == Currency::JPY)));
        for one in &all {
            let got = wallet_statement::transaction(&test.pool, account, one.kind, one.id).await.unwrap();
            assert_eq!(got.as_ref(), Some(one));
            let stranger = AccountId(Uuid::nil());
            let got = wallet_statement::transaction(&test.pool, stranger, one.kind, one.id).await.unwrap();
            assert_eq!(got, None);
        }
        seen += all.len();
    }
    assert!(seen > 50);
}

#[tokio::test]
async fn a_profile_shows_the_last_change_and_nothing_once_the_person_is_forgotten() {
    let history = History::random(28, 600);
    let mut test = TestDatabase::showing(&history.units).await;
    let (id, (account, version)) = history.accounts.0.iter().max_by_key(|(_, (_, version))| *version).unwrap();
    let registered = account.registered().unwrap();
    let profile = accounts::get(&test.pool, AccountId(*id)).await.unwrap().unwrap();
    assert_eq!(profile.version, version.cast_signed());
    assert!(profile.email.is_some() && profile.user_name.is_some());
    assert_eq!(profile.capabilities, registered.capabilities.iter().copied().map(Text).collect::<Vec<_>>());
    assert_eq!(accounts::get(&test.pool, AccountId(Uuid::nil())).await.unwrap(), None);

    sqlx::query("delete from person_keys").execute(&mut test.owner).await.unwrap();
    test.start_afresh().await;
    test.follow_all(100).await;
    let forgotten = accounts::get(&test.pool, AccountId(*id)).await.unwrap().unwrap();
    let personal = [&forgotten.email, &forgotten.user_name, &forgotten.phone, &forgotten.biography];
    assert!(personal.iter().all(|field| field.is_none()));
    assert_eq!((forgotten.version, forgotten.capabilities), (profile.version, profile.capabilities));
    assert_eq!(
        (profile.violations, profile.blocked),
        (registered.violations.len().try_into().unwrap(), registered.blocked)
    );
    let offers = catalogue::page(&test.pool, &Filter::default(), Sort::Newest, None, 100).await.unwrap().items;
    assert!(offers.iter().all(|offer| offer.seller_name.is_none()));
}

#[tokio::test]
async fn stores_are_paged_filtered_and_found_as_the_domain_has_them() {
    let history = History::random(29, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let everywhere =
        async |filter: &stores::Filter, sort| walk(|cursor| stores::page(&test.pool, filter, sort, cursor, 2)).await;
    let all = everywhere(&stores::Filter::default(), stores::Sort::Newest).await;
    assert!(all.len() > 3, "{}", all.len());
    assert!(all.is_sorted_by_key(|store| std::cmp::Reverse((store.opened_at, store.id))));
    let opened = history.stores.0.iter().filter(|(_, (_, version))| *version > 0).map(|(id, _)| *id);
    let registered = opened.filter(|id| history.accounts.state(AccountId(*id)).registered().is_ok());
    assert_eq!(all.iter().map(|store| store.id).collect::<BTreeSet<_>>(), registered.collect());
    for store in &all {
        let known = history.stores.state(AccountId(store.id));
        let state = serde_json::to_value(store.state).unwrap();
        assert_eq!((state.as_str(), store.kyc.0), (known.state(), known.opened().unwrap().kyc));
        assert_eq!(store.verified_at.is_some(), known.is_verified().is_ok());
        assert_eq!(store.version, history.stores.0[&store.id].1.cast_signed());
        let slug = store.slug.as_deref().unwrap();
        let found = stores::by_slug(&test.pool, slug).await.unwrap();
        assert_eq!(found.as_ref(), Some(store).filter(|store| store.state == stores::State::Open));
    }
    let mut named: Vec<Uuid> = all.iter().map(|store| store.id).collect();
    let mut by_name = everywhere(&stores::Filter::default(), stores::Sort::Name).await;
    named.sort_unstable();
    by_name.sort_unstable_by_key(|store| store.id);
    assert_eq!(by_name.iter().map(|store| store.id).collect::<Vec<_>>(), named);
    for state in [stores::State::Open, stores::State::Suspended, stores::State::Removed] {
        let some = everywhere(&stores::Filter { state: Some(state), ..<_>::default() }, stores::Sort::Newest).await;
        assert!(some.iter().eq(all.iter().filter(|store| store.state == state)));
    }
    for kyc in [Kyc::Unverified, Kyc::Pending, Kyc::Verified] {
        let some = everywhere(&stores::Filter { kyc: Some(kyc), ..<_>::default() }, stores::Sort::Newest).await;
        assert!(some.iter().eq(all.iter().filter(|store| store.kyc.0 == kyc)));
    }
}
