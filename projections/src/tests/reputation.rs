//! What people say of each other: every review, report and complaint on one page, and sums that are those of what is
//! shown.

use std::collections::BTreeMap;

use domain::complaint::Complaint;
use domain::rating::Rating;
use domain::report::Report;
use domain::vote::Vote;
use domain::{AccountId, ListingId, VoteId};
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::History;
use super::questions::walk;
use crate::catalogue::{self, Viewer};
use crate::page::PageError;
use crate::reports::{self, ReportFilter};
use crate::reviews::{self, Filter, Shown, Sort};

/// The ratings of what is shown, by what `of` names of it.
fn ratings(history: &History, of: impl Fn(&domain::review::Written) -> Uuid) -> BTreeMap<Uuid, Vec<Rating>> {
    let mut ratings: BTreeMap<Uuid, Vec<Rating>> = BTreeMap::new();
    for written in history.reviews.0.values().filter_map(|(review, _)| review.shown().ok()) {
        ratings.entry(of(written)).or_default().push(written.content.rating);
    }
    ratings
}

fn count_and_sum(ratings: &[Rating]) -> (i64, i64) {
    let sum = ratings.iter().map(|rating| i64::from(rating.stars())).sum();
    (i64::try_from(ratings.len()).unwrap(), sum)
}

#[tokio::test]
async fn what_is_counted_is_what_is_shown() {
    let history = History::random(22, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let rated = ratings(&history, |written| written.bought.listing.0);
    assert!(rated.len() > 3, "{rated:?}");
    for listing in history.listings.0.keys() {
        let expected = rated.get(listing).map_or((0, 0), |ratings| count_and_sum(ratings));
        let stars = reviews::of_listing(&test.pool, ListingId(*listing)).await.unwrap();
        assert_eq!((stars.count(), stars.sum()), expected);
        let offer = catalogue::get(&test.pool, ListingId(*listing), Viewer::Staff).await.unwrap().unwrap();
        assert_eq!((offer.ratings, offer.stars), expected);
        let average = (expected.1 * 1_000).checked_div(expected.0).unwrap_or(0);
        assert_eq!(offer.rating, average * 1_000_000 + expected.0);
    }
    let rated = ratings(&history, |written| written.bought.seller.0);
    let sellers: Vec<Uuid> = history.accounts.0.keys().copied().collect();
    let shown = reviews::of_sellers(&test.pool, &sellers).await.unwrap();
    for seller in sellers {
        let expected = rated.get(&seller).map_or((0, 0), |ratings| count_and_sum(ratings));
        let stars = shown.get(&seller).copied().unwrap_or_default();
        assert_eq!((stars.count(), stars.sum()), expected);
        let given = walk(|cursor| reviews::feedback_of(&test.pool, AccountId(seller), cursor, 2)).await;
        let served = reviews::served_by(&test.pool, AccountId(seller)).await.unwrap();
        let sum = |of: fn(&reviews::Feedback) -> i16| given.iter().map(|it| i64::from(of(&it.feedback))).sum::<i64>();
        let sums = (sum(|it| it.communication), sum(|it| it.shipping), sum(|it| it.accuracy), sum(|it| it.platform));
        assert_eq!((served.communication, served.shipping, served.accuracy, served.platform), sums);
        assert_eq!(served.orders, i64::try_from(given.len()).unwrap());
    }
    let platform = reviews::platform(&test.pool).await.unwrap();
    assert_eq!(platform.orders, i64::try_from(history.feedback.0.len()).unwrap());
    assert!(platform.platform >= platform.orders);
}

/// Whether a review is one of those that a filter asks for.
type Fits<'a> = &'a dyn Fn(&Shown) -> bool;

#[tokio::test]
async fn every_review_is_on_exactly_one_page_in_every_order() {
    let history = History::random(22, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let shown: Vec<Uuid> =
        history.reviews.0.iter().filter(|(_, (review, _))| review.shown().is_ok()).map(|(id, _)| *id).collect();
    assert!(shown.len() > 6, "{}", shown.len());
    let page = |filter: Filter, sort| {
        let pool = &test.pool;
        walk(move |cursor| async move { reviews::page(pool, &filter, sort, cursor, 3).await })
    };
    for sort in [Sort::Newest, Sort::Helpful, Sort::Highest, Sort::Lowest] {
        let walked = page(Filter::default(), sort).await;
        let mut expected = walked.clone();
        match sort {
            Sort::Newest => expected.sort_by_key(|it| std::cmp::Reverse((it.review.written_at, it.review.id))),
            Sort::Helpful => expected.sort_by_key(|it| std::cmp::Reverse((it.votes, it.review.id))),
            Sort::Highest => {
                expected.sort_by_key(|it| std::cmp::Reverse((it.review.rating, it.review.written_at, it.review.id)));
            }
            Sort::Lowest => expected.sort_by_key(|it| (it.review.rating, it.review.written_at, it.review.id)),
        }
        assert_eq!(walked, expected, "{sort:?}");
        let mut ids: Vec<Uuid> = walked.iter().map(|it| it.review.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, shown, "{sort:?}");
    }
    let all = page(Filter::default(), Sort::Newest).await;
    for it in &all {
        let voters = history.accounts.0.keys().filter(|voter| {
            history.votes.state(VoteId::of(AccountId(**voter), domain::ReviewId(it.review.id))) == Vote::Cast
        });
        assert_eq!(it.votes, i64::try_from(voters.count()).unwrap());
    }
    assert!(all.iter().any(|it| it.votes > 1));
    let one = &all[0].review;
    let listing = Some(ListingId(one.listing_id));
    let (seller, author) = (Some(AccountId(one.seller_id)), Some(AccountId(one.author_id)));
    let rating = u8::try_from(one.rating).ok();
    let filters: [(Filter, Fits<'_>); 4] = [
        (Filter { listing, ..Filter::default() }, &|it| it.review.listing_id == one.listing_id),
        (Filter { seller, ..Filter::default() }, &|it| it.review.seller_id == one.seller_id),
        (Filter { author, ..Filter::default() }, &|it| it.review.author_id == one.author_id),
        (Filter { rating, ..Filter::default() }, &|it| it.review.rating == one.rating),
    ];
    for (filter, fits) in filters {
        let expected: Vec<Shown> = all.iter().filter(|it| fits(it)).cloned().collect();
        assert_eq!(page(filter, Sort::Newest).await, expected, "{filter:?}");
    }
    let newest = reviews::page(&test.pool, &Filter::default(), Sort::Newest, None, 1).await.unwrap().next;
    let other = reviews::page(&test.pool, &Filter::default(), Sort::Helpful, newest, 1).await;
    assert!(matches!(other, Err(PageError::CursorOfAnotherSort)));
}

#[tokio::test]
async fn the_queues_of_staff_hold_what_is_open_the_oldest_first_or_last() {
    let history = History::random(25, 3_000);
    let test = TestDatabase::showing(&history.units).await;
    let walked = |status, sort| {
        let (pool, filter) = (&test.pool, ReportFilter { status, ..ReportFilter::default() });
        walk(move |cursor| {
            let filter = filter.clone();
            async move { reports::page(pool, &filter, sort, cursor, 2).await }
        })
    };
    let mut oldest = walked(Some(reports::Status::Open), reports::Sort::Oldest).await;
    let open = history.reports.0.values().filter(|(report, _)| matches!(report, Report::Open(_))).count();
    assert_eq!(oldest.len(), open);
    assert!(open > 2, "{open}");
    let newest = walked(Some(reports::Status::Open), reports::Sort::Newest).await;
    oldest.reverse();
    assert_eq!(oldest, newest);
    let resolved = walked(Some(reports::Status::Resolved), reports::Sort::Newest).await;
    assert_eq!(resolved.len() + open, walked(None, reports::Sort::Newest).await.len());
    for row in &resolved {
        let known = history.reports.state(domain::ReportId(row.id));
        assert_eq!(row.end.outcome.map(|outcome| outcome.0), known.outcome());
    }
    // Of complaints, each party sees those about their orders.
    let mut seen = 0;
    for party in history.accounts.0.keys().copied().map(AccountId) {
        let own = walk(|cursor| reports::complaints_of(&test.pool, party, cursor, 2)).await;
        assert!(own.iter().all(|row| [row.complainant_id, row.against_id].contains(&party.0)));
        assert!(own.is_sorted_by_key(|row| std::cmp::Reverse((row.filed_at, row.id))));
        seen += own.len();
    }
    let all = walk(|cursor| reports::complaints(&test.pool, None, reports::Sort::Oldest, cursor, 2)).await;
    let filed = history.complaints.0.values().filter(|(it, _)| !matches!(it, Complaint::Unfiled)).count();
    assert_eq!((all.len(), seen), (filed, 2 * filed));
}
