//! What events make of a row.

use domain::listing::{ArchiveCause, AuctionPlan};
use domain::stock::Pieces;
use domain::{AccountId, ListingId, OrderId};

use super::*;
use crate::tests::history::recorded;

const ID: Uuid = Uuid::from_u128(7);

fn drafted(sale: Sale) -> DomainEvent {
    let details = Details {
        title: "Watch".to_owned(),
        description: "It runs".to_owned(),
        category: "watches".to_owned(),
        brand: Some("Zenith".to_owned()),
        condition: Condition::Good,
        delivery: Delivery::Physical,
        shipping: None,
        attributes: Attributes::new(),
    };
    let seller = AccountId(Uuid::from_u128(1));
    DomainEvent::Listing(ListingId(ID), Event::ListingDrafted { seller, details, sale })
}

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn fixed(minor: i64) -> Sale {
    Sale::FixedPrice { price: usd(minor), variants: vec![] }
}

fn listing(event: Event) -> DomainEvent {
    DomainEvent::Listing(ListingId(ID), event)
}

fn shown(events: impl IntoIterator<Item = DomainEvent>) -> Option<Listing> {
    let mut catalogue = Catalogue::default();
    for (position, event) in (1..).zip(events) {
        catalogue.take(&recorded(position, event), &PersonKeys::default());
    }
    catalogue.listings.remove(&ID).map(|row| row.listing)
}

#[test]
fn a_change_changes_what_it_names_and_nothing_else() {
    let before = shown([drafted(fixed(5))]).unwrap();
    let changes = Changes { title: Some("Clock".to_owned()), sale: Some(fixed(6)), ..Changes::default() };
    let after = shown([drafted(fixed(5)), listing(Event::ListingRevised { changes })]).unwrap();
    let expected = Listing { title: "Clock".to_owned(), price_minor: 6, version: 2, position: 2, ..before };
    assert_eq!(after, expected);
}

#[test]
fn what_was_published_and_archived_tells_when() {
    let archived = Event::ListingArchived { cause: ArchiveCause::AuctionEnded };
    let row = shown([drafted(fixed(5)), listing(Event::ListingPublished {}), listing(archived)]).unwrap();
    let at = |position| Some(recorded(position, drafted(fixed(5))).recorded_at);
    assert_eq!((row.status, row.published_at, row.archived_at), (Status::Archived, at(2), at(3)));
}

#[test]
fn an_auction_moves_the_row_and_not_the_listings_version() {
    let ends_at = Timestamp::default();
    let extended = DomainEvent::Auction(ID_OF_AUCTION, auction::Event::AuctionExtended { ends_at });
    let opened = DomainEvent::Auction(ID_OF_AUCTION, auction::Event::AuctionOpened {});
    let row = shown([drafted(fixed(5)), extended, opened]).unwrap();
    assert_eq!((row.version, row.position, row.ends_at), (1, 2, Some(ends_at)), "an opening shows nothing new");
}

const ID_OF_AUCTION: domain::AuctionId = domain::AuctionId(ID);

#[test]
fn an_event_of_something_unknown_is_no_failure() {
    assert_eq!(shown([listing(Event::ListingPublished {})]), None);
    assert_eq!(shown([counted(&[("default", 1)])]), None);
}

const ORDER: OrderId = OrderId(Uuid::from_u128(9));

fn pieces(counts: &[(&str, u32)]) -> Pieces {
    counts.iter().map(|(sku, count)| (sku.parse().unwrap(), *count)).collect()
}

fn stock(event: stock::Event) -> DomainEvent {
    DomainEvent::Stock(ListingId(ID), event)
}

fn counted(counts: &[(&str, u32)]) -> DomainEvent {
    stock(stock::Event::StockCounted { free: pieces(counts) })
}

fn reserved(counts: &[(&str, u32)]) -> DomainEvent {
    stock(stock::Event::StockReserved { order: ORDER, pieces: pieces(counts), until: Timestamp::default() })
}

fn published(stocked: impl IntoIterator<Item = DomainEvent>) -> Listing {
    let before = [drafted(fixed(5)), counted(&[("default", 2)]), listing(Event::ListingPublished {})];
    shown(before.into_iter().chain(stocked)).unwrap()
}

#[test]
fn what_has_no_free_piece_is_sold_out_until_there_is_one_again() {
    let all = || reserved(&[("default", 2)]);
    let released = || stock(stock::Event::StockReleased { order: ORDER });
    let taken = || stock(stock::Event::StockTaken { order: ORDER });
    let returned = || stock(stock::Event::StockReturned { order: ORDER, pieces: pieces(&[("default", 1)]) });
    let state = |row: Listing| (row.status, row.stock);
    assert_eq!(state(published([])), (Status::Active, Some(2)));
    assert_eq!(state(published([reserved(&[("default", 1)])])), (Status::Active, Some(1)));
    assert_eq!(state(published([all()])), (Status::SoldOut, Some(0)));
    assert_eq!(state(published([all(), released()])), (Status::Active, Some(2)));
    assert_eq!(state(published([all(), taken()])), (Status::SoldOut, Some(0)));
    assert_eq!(state(published([all(), taken(), returned()])), (Status::Active, Some(1)));
    assert_eq!(state(published([all(), taken(), released()])), (Status::SoldOut, Some(0)), "it is sold");
    let archived = listing(Event::ListingArchived { cause: ArchiveCause::AuctionEnded });
    assert_eq!(state(published([all(), archived])), (Status::Archived, Some(0)));
}

#[test]
fn pieces_move_the_row_and_not_the_listings_version() {
    let row = published([reserved(&[("default", 1)])]);
    assert_eq!((row.version, row.position), (1 + 2, 4));
}

#[test]
fn each_form_shows_its_price_and_its_free_pieces() {
    let variant = |sku: &str, price: Option<i64>| listing::Variant {
        sku: sku.parse().unwrap(),
        options: [("size".to_owned(), sku.to_owned())].into(),
        price: price.map(usd),
    };
    let sale = Sale::FixedPrice { price: usd(5), variants: vec![variant("m", None), variant("s", Some(4))] };
    let events = [drafted(sale), counted(&[("m", 3), ("s", 1)]), reserved(&[("m", 2)])];
    let row = shown(events.clone()).unwrap();
    let forms: Vec<_> = row.variants.iter().map(|form| (form.sku.to_string(), form.price, form.free)).collect();
    assert_eq!(forms, [("m".to_owned(), None, 1), ("s".to_owned(), Some(4), 1)]);
    assert_eq!(row.stock, Some(2));
    let changes = Changes { sale: Some(fixed(6)), ..Changes::default() };
    let row = shown(events.into_iter().chain([listing(Event::ListingRevised { changes })])).unwrap();
    assert_eq!(*row.variants, [], "it comes in one form from now on");
}

#[test]
fn an_auction_counts_no_pieces_and_is_never_sold_out() {
    let plan =
        AuctionPlan { start_price: usd(5), reserve_price: None, buy_now_price: None, starts_at: None, duration_s: 60 };
    let row = shown([drafted(Sale::Auction(plan)), listing(Event::ListingPublished {})]).unwrap();
    assert_eq!((row.status, row.stock), (Status::Active, None));
}
