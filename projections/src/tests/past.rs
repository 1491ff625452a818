//! What was is what was seen: an answer about the past is the one that the live read model gave then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use domain::account;
use domain::{AccountId, AuctionId, ChatId, ComplaintId, ListingId, OrderGroupId, OrderId, ReviewId, Timestamp};
use eventstore::Position;
use uuid::Uuid;

use super::database::TestDatabase;
use super::history::{History, Unit};
use crate::catalogue::{self, Filter, Viewer};
use crate::orders::Order;
use crate::past::{Bounds, Question, View};
use crate::{
    accounts, addresses, affiliates, auction_board, categories, chats, escrows, notifications, order_money, orders,
    pages, payees, plans, points, reports, reviews, sales, stores, subscriptions, wallet_statement,
};

const BOUNDS: Bounds = Bounds { events: 100_000, time: Duration::from_mins(1) };
const LIMIT: u32 = 100;
/// Of each kind of thing so many are asked for.
const SAMPLE: usize = 6;
const SLUGS: [&str; 2] = ["terms", "help"];

fn said<T: Debug, E: Debug>(answer: Result<T, E>) -> String {
    format!("{:#?}", answer.unwrap())
}

/// An order without where it was sent, if its buyer is forgotten at some time: in a random history they order on, and here
/// their keys stay, so that it would depend on how the log was cut into batches.
fn unaddressed(order: Order, forgotten: &BTreeSet<Uuid>) -> Order {
    let ship_to = order.ship_to.filter(|_| !forgotten.contains(&order.buyer_id));
    Order { ship_to, ..order }
}

/// All that is answered to somebody who asks for it.
async fn answer(view: &mut View, asked: Question<'_>, forgotten: &BTreeSet<Uuid>) -> String {
    let unaddressed = |order| unaddressed(order, forgotten);
    let mut said_so_far = Vec::new();
    let mut tell = |text: String| said_so_far.push(text);
    match asked {
        Question::Account(id) => {
            tell(said(accounts::get(&mut *view, id).await));
            tell(said(accounts::violations(&mut *view, id, None, LIMIT).await));
        }
        Question::Addresses(id) => tell(said(addresses::of(&mut *view, id).await)),
        Question::Affiliate(id) => {
            tell(said(affiliates::get(&mut *view, id).await));
            tell(said(affiliates::reach(&mut *view, id).await));
            tell(said(affiliates::earnings(&mut *view, id).await));
            tell(said(affiliates::page(&mut *view, id, None, LIMIT).await));
        }
        Question::Auction(id) => {
            tell(said(auction_board::seen_by(&mut *view, id, None).await));
            tell(said(auction_board::bids_page(&mut *view, id, None, LIMIT).await));
            tell(said(auction_board::activity_after(&mut *view, id, 0, LIMIT).await));
        }
        Question::Categories => {
            tell(said(categories::tree(&mut *view).await));
            tell(said(catalogue::active_by_category(&mut *view).await));
        }
        Question::Chat(id) => {
            tell(said(chats::messages_page(&mut *view, id, None, LIMIT).await));
            tell(said(chats::activity_after(&mut *view, id, 0, LIMIT).await));
        }
        Question::Complaint(id) => tell(said(reports::complaint(&mut *view, id).await)),
        Question::Dashboard(seller) => {
            tell(said(sales::totals(&mut *view, seller).await));
            let (from, to) = (Timestamp::UNIX_EPOCH.date_naive(), Timestamp::MAX_UTC.date_naive());
            let to = to.min(from + chrono::Days::new(100_000));
            tell(said(sales::days(&mut *view, seller, from, to).await));
            tell(said(sales::best(&mut *view, seller, i64::from(LIMIT)).await));
            tell(said(orders::sold_counts(&mut *view, seller).await));
            let filter = orders::Filter { party: seller, side: Some(orders::Side::Seller), status: None };
            let page = orders::page(&mut *view, &filter, None, LIMIT).await.unwrap();
            tell(format!("{:#?}", page.items.into_iter().map(unaddressed).collect::<Vec<_>>()));
            tell(said(catalogue::counts_of(&mut *view, seller).await));
        }
        Question::Escrow(id) => tell(said(escrows::get(view, id).await)),
        Question::Listing(id) => tell(said(catalogue::get(view, id, Viewer::Staff).await)),
        Question::Order(id) => tell(said(orders::get(view, id).await.map(|order| order.map(unaddressed)))),
        Question::OrderGroup(id) => {
            tell(said(orders::group(&mut *view, id).await));
            let orders = orders::orders_of(view, id).await.unwrap();
            tell(format!("{:#?}", orders.into_iter().map(unaddressed).collect::<Vec<_>>()));
        }
        Question::OrderMoney(id) => {
            tell(said(order_money::get(&mut *view, id).await));
            tell(said(order_money::steps(view, id, LIMIT).await));
        }
        Question::Page(slug) => tell(said(pages::get(view, slug, None).await)),
        Question::Payee(id) => {
            tell(said(payees::methods_of(&mut *view, id).await));
            tell(said(payees::plans_of(&mut *view, id).await));
            tell(said(payees::merchants_of(view, id).await));
        }
        Question::Points(id) => {
            tell(said(points::balances(&mut *view, id).await));
            tell(said(points::entries_page(view, id, None, LIMIT).await));
        }
        Question::Preferences(id) => tell(said(notifications::preferences(view, id).await)),
        Question::PublicProfile(id) => {
            tell(said(accounts::get(&mut *view, id).await));
            tell(said(stores::get(&mut *view, id).await));
            tell(said(catalogue::offered_by(&mut *view, id).await));
            tell(said(reviews::of_sellers(view, &[id.0]).await));
        }
        Question::Review(id) => tell(said(reviews::get(view, id).await)),
        Question::Store(id) => tell(said(stores::get(view, id).await)),
        Question::StorePage(id) => {
            tell(said(stores::get(&mut *view, id).await));
            let filter = Filter { viewer: Viewer::Account(id), seller: Some(id), status: None, ..Filter::default() };
            tell(said(catalogue::page(&mut *view, &filter, catalogue::Sort::Popular, None, LIMIT).await));
            tell(said(reviews::of_sellers(view, &[id.0]).await));
        }
        Question::Subscriptions(id) => {
            tell(said(subscriptions::current(&mut *view, id).await));
            tell(said(subscriptions::page(&mut *view, id, None, LIMIT).await));
            tell(said(plans::all(view).await));
        }
        Question::Wallet(id) => tell(said(wallet_statement::balances(view, id).await)),
    }
    said_so_far.join("\n")
}

/// Some of what has a stream, the first and the last among them.
fn some<'a, T: 'a>(all: impl Iterator<Item = (&'a Uuid, &'a T)>) -> Vec<Uuid> {
    let all: Vec<Uuid> = all.map(|(id, _)| *id).collect();
    let step = all.len().div_ceil(SAMPLE).max(1);
    let last = all.last().copied();
    let mut some: Vec<Uuid> = all.into_iter().step_by(step).chain(last).collect();
    some.dedup();
    some
}

/// Whatever one may ask for in a history.
fn questions(history: &History) -> Vec<Question<'static>> {
    let mut asked = vec![Question::Categories];
    asked.extend(SLUGS.map(Question::Page));
    let accounts = some(history.accounts.0.iter()).into_iter().map(AccountId);
    for id in accounts {
        asked.extend([
            Question::Account(id),
            Question::Addresses(id),
            Question::Affiliate(id),
            Question::Dashboard(id),
            Question::Payee(id),
            Question::Points(id),
            Question::Preferences(id),
            Question::PublicProfile(id),
            Question::Store(id),
            Question::StorePage(id),
            Question::Subscriptions(id),
            Question::Wallet(id),
        ]);
    }
    asked.extend(some(history.affiliates.0.iter()).into_iter().map(|id| Question::Affiliate(AccountId(id))));
    asked.extend(some(history.subscriptions.0.iter()).into_iter().map(|id| Question::Subscriptions(AccountId(id))));
    asked.extend(some(history.auctions.0.iter()).into_iter().map(|id| Question::Auction(AuctionId(id))));
    asked.extend(some(history.chats.0.iter()).into_iter().map(|id| Question::Chat(ChatId(id))));
    asked.extend(some(history.complaints.0.iter()).into_iter().map(|id| Question::Complaint(ComplaintId(id))));
    for id in some(history.orders.0.iter()).into_iter().map(OrderId) {
        asked.extend([Question::Escrow(id), Question::Order(id), Question::OrderMoney(id)]);
    }
    asked.extend(some(history.groups.0.iter()).into_iter().map(|id| Question::OrderGroup(OrderGroupId(id))));
    asked.extend(some(history.listings.0.iter()).into_iter().map(|id| Question::Listing(ListingId(id))));
    asked.extend(some(history.reviews.0.iter()).into_iter().map(|id| Question::Review(ReviewId(id))));
    asked
}

/// Lets a history be seen at some points, and compares what was seen then with what is told of then at its end.
async fn compare(history: &History, cuts: &[usize]) {
    // So that all of then can still be told; that it cannot once people are forgotten, another test shows.
    let units: Vec<Unit> = history.units.iter().cloned().map(Unit::keeping_keys).collect();
    let asked = questions(history);
    let gone = |(account, _): &(account::Account, u64)| account.registered().is_err();
    let forgotten = history.accounts.0.iter().filter(|(_, account)| gone(account)).map(|(id, _)| *id).collect();
    let mut test = TestDatabase::create().await;
    let mut seen: BTreeMap<Position, Vec<String>> = BTreeMap::new();
    let mut shown = 0;
    for &cut in cuts {
        let head = test.append(&units[shown..cut]).await;
        shown = cut;
        test.follow_all(500).await;
        let mut answers = Vec::new();
        for asked in &asked {
            answers.push(answer(&mut View::now(&test.pool), *asked, &forgotten).await);
        }
        seen.insert(head, answers);
    }
    for (upto, answers) in &seen {
        for (asked, live) in asked.iter().zip(answers) {
            let mut view = View::then(&test.database, asked, *upto, BOUNDS).await.unwrap();
            let then = answer(&mut view, *asked, &forgotten).await;
            assert_eq!(then, *live, "{asked:?} as of {upto}");
        }
    }
    // The test would show nothing if nothing had changed.
    let (first, last) = (seen.values().next().unwrap(), seen.values().next_back().unwrap());
    let changed = first.iter().zip(last).filter(|(first, last)| first != last).count();
    assert!(changed > asked.len() / 3, "{changed} of {}", asked.len());
}

#[tokio::test]
async fn an_answer_about_the_past_is_the_one_that_was_given_then() {
    let history = History::random(77, 2_400);
    let all = history.units.len();
    compare(&history, &[all / 3, all / 2, all * 4 / 5, all]).await;
}
