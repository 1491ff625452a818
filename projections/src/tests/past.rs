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
const SAMPLE: usize = 3;
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

/// The accounts that are forgotten at the end of a history.
fn forgotten_in(history: &History) -> BTreeSet<Uuid> {
    let gone = |(account, _): &(account::Account, u64)| account.registered().is_err();
    history.accounts.0.iter().filter(|(_, account)| gone(account)).map(|(id, _)| *id).collect()
}

/// Lets a history be seen at some points, and compares what was seen then with what is told of then at its end.
async fn compare(history: &History, cuts: &[usize]) {
    // So that all of then can still be told; that it cannot once people are forgotten, another test shows.
    let units: Vec<Unit> = history.units.iter().cloned().map(Unit::keeping_keys).collect();
    let asked = questions(history);
    let forgotten = forgotten_in(history);
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

/// How many histories are lived through.
fn histories() -> u64 {
    std::env::var("TRADEPOST_HISTORIES").map_or(2, |histories| histories.parse().unwrap())
}

#[tokio::test]
async fn an_answer_about_the_past_is_the_one_that_was_given_then() {
    for seed in 77..77 + histories() {
        eprintln!("seed {seed}");
        let history = History::random(seed, 1_200);
        let all = history.units.len();
        // In the second quarter: enough is there, and enough is still to come.
        let cut = all / 4 + usize::try_from(seed * 7_919).unwrap() % (all / 4);
        compare(&history, &[cut, all]).await;
    }
}

/// An answer about the past is then the one that would have been given if nothing personal of theirs had ever been read.
#[tokio::test]
async fn nothing_personal_is_told_of_whoever_is_forgotten_since() {
    let mut history = History::random(91, 700);
    let cut = history.units.len();
    let leaving: Vec<AccountId> = history
        .accounts
        .0
        .iter()
        .filter(|(_, (account, _))| account.registered().is_ok())
        .map(|(id, _)| AccountId(*id))
        .collect();
    for account in &leaving[..3] {
        history.erase(*account);
    }
    for _ in 0..100 {
        history.go_on();
    }
    let asked = questions(&history);
    // Whose keys are left at the end.
    let mut after = TestDatabase::create().await;
    after.append(&history.units).await;
    let stay: Vec<Uuid> =
        sqlx::query_scalar("select account_id from person_keys").fetch_all(&mut after.owner).await.unwrap();
    let mut test = TestDatabase::create().await;
    let upto = test.append(&history.units[..cut]).await;
    let statement = "delete from person_keys where not account_id = any($1)";
    let forgotten = sqlx::query(statement).bind(&stay).execute(&mut test.owner).await.unwrap().rows_affected();
    assert!(forgotten >= 3, "{forgotten}");
    test.follow_all(500).await;
    let nobody = BTreeSet::new();
    let mut expected = Vec::new();
    for asked in &asked {
        expected.push(answer(&mut View::now(&test.pool), *asked, &nobody).await);
    }
    test.append(&history.units[cut..]).await;
    test.follow_all(500).await;
    let mut now = Vec::new();
    for (asked, expected) in asked.iter().zip(&expected) {
        let mut view = View::then(&test.database, asked, upto, BOUNDS).await.unwrap();
        assert_eq!(answer(&mut view, *asked, &nobody).await, *expected, "{asked:?} as of {upto}");
        now.push(answer(&mut View::now(&test.pool), *asked, &nobody).await);
    }
    assert_ne!(now, expected);
    // Of others it is told.
    assert!(expected.iter().any(|answer| answer.contains("@example.com")));
}

#[tokio::test]
async fn tables_that_are_made_wait_for_the_rest_as_long_as_there_is_time() {
    let test = TestDatabase::create().await;
    let mut view = View::then(&test.database, &Question::Page(SLUGS[0]), 0, BOUNDS).await.unwrap();
    let setting =
        "select current_setting('idle_in_transaction_session_timeout') from (select count(*) from pages.versions) x";
    let kept: String = sqlx::query_scalar(setting).fetch_one(&mut view).await.unwrap();
    assert_eq!(kept, "1min");
}
