//! What events make of somebody's list.

use std::collections::BTreeSet;

use domain::account::{Granter, Identity};
use domain::auction::{self, Standing};
use domain::listing::{Condition, Delivery, Details, Sale};
use domain::{AuctionId, BroadcastId, Currency, ListingId, Money, Sealed};

use super::*;
use crate::tests::history::recorded;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const CID: AccountId = AccountId(Uuid::from_u128(3));
const SALE: Uuid = Uuid::from_u128(7);

fn registered(id: AccountId, capabilities: &[Capability]) -> DomainEvent {
    let sealed = || Sealed::from_ciphertext(id, "unreadable".to_owned());
    let identity = Identity { email: sealed(), user_name: sealed(), password_hash: None };
    let capabilities = capabilities.iter().copied().collect();
    DomainEvent::Account(id, account::Event::AccountRegistered { identity, capabilities })
}

fn drafted() -> DomainEvent {
    let details = Details {
        title: "Watch".to_owned(),
        description: "It runs".to_owned(),
        category: "watches".to_owned(),
        brand: None,
        condition: Condition::Good,
        delivery: Delivery::Physical,
        shipping: None,
        attributes: domain::category::Attributes::new(),
    };
    let sale = Sale::FixedPrice { price: Money::new(5, Currency::USD).unwrap(), variants: vec![] };
    DomainEvent::Listing(ListingId(SALE), listing::Event::ListingDrafted { seller: ANN, details, sale })
}

fn submitted() -> DomainEvent {
    let review_until = Timestamp::UNIX_EPOCH;
    DomainEvent::Listing(ListingId(SALE), listing::Event::ListingSubmitted { review_until })
}

fn bid(bidder: AccountId) -> DomainEvent {
    let price = Money::new(5, Currency::USD).unwrap();
    let standing = Standing { leader: bidder, leader_maximum: price, runner_up_maximum: None, price };
    let event =
        auction::Event::BidPlaced { bidder, maximum: price, standing, reserve_met: true, buy_now_available: false };
    DomainEvent::Auction(AuctionId(SALE), event)
}

fn said(id: AccountId, event: inbox::Event) -> DomainEvent {
    DomainEvent::Inbox(id, event)
}

fn all_read() -> inbox::Event {
    inbox::Event::AllRead { at: Timestamp::UNIX_EPOCH, clean_up_at: None }
}

fn announced(to: Addressee) -> DomainEvent {
    let words = Words::Open { title: "Tonight".to_owned(), body: "Away.".to_owned() };
    let reason = Sealed::from_ciphertext(ANN, "unreadable".to_owned());
    let sent = broadcast::Event::BroadcastSent { to, words, by: ANN, reason, until: Timestamp::UNIX_EPOCH };
    DomainEvent::Broadcast(BroadcastId(Uuid::from_u128(9)), sent)
}

fn shown(events: impl IntoIterator<Item = DomainEvent>) -> Telling {
    let mut telling = Telling::default();
    for (position, event) in (1..).zip(events) {
        let recorded = recorded(position, event);
        let told = telling.contexts.take(&recorded.event);
        telling.take(&recorded, told, &PersonKeys::default());
    }
    telling
}

fn of(telling: &Telling, recipient: Uuid) -> Vec<(Position, Kind, bool)> {
    let theirs = telling.rows.values().filter(|row| row.recipient == recipient);
    theirs.map(|row| (row.position, row.kind.0, row.read_at.is_some())).collect()
}

fn people() -> Vec<DomainEvent> {
    vec![registered(ANN, &[Capability::Sell]), registered(BOB, &[]), registered(CID, &[Capability::Staff])]
}

#[test]
fn whoever_is_concerned_is_told_until_they_have_read_it() {
    let bids = || people().into_iter().chain([drafted(), bid(BOB), bid(CID)]);
    let telling = shown(bids());
    assert_eq!(of(&telling, ANN.0), [(5, Kind::BidPlaced, false), (6, Kind::BidPlaced, false)]);
    assert_eq!(of(&telling, BOB.0), [(6, Kind::Outbid, false)]);
    let notification = NotificationId(telling.rows[&(BOB.0, 6)].id);
    let read = inbox::Event::NotificationRead { notification, at: Timestamp::UNIX_EPOCH, clean_up_at: None };
    // Nobody reads what is somebody else's.
    let theirs = shown(bids().chain([said(ANN, read.clone())]));
    assert_eq!(of(&theirs, BOB.0), [(6, Kind::Outbid, false)]);
    assert!(theirs.marks.is_empty());
    assert_eq!(of(&shown(bids().chain([said(BOB, read)])), BOB.0), [(6, Kind::Outbid, true)]);
    let all = shown(bids().chain([said(ANN, all_read()), bid(BOB)]));
    assert_eq!(of(&all, ANN.0), [(5, Kind::BidPlaced, true), (6, Kind::BidPlaced, true), (8, Kind::BidPlaced, false)]);
}

#[test]
fn nobody_is_told_what_they_do_not_want_to_hear_of() {
    let nowhere = Channels { in_app: false, live: false, email: true };
    let wanted = |channels| {
        let preferences = BTreeMap::from([(Kind::Outbid, channels)]);
        said(BOB, inbox::Event::PreferencesChanged { preferences })
    };
    let told = |channels| {
        let events = people().into_iter().chain([drafted(), wanted(channels), bid(BOB), bid(CID)]);
        shown(events).rows.get(&(BOB.0, 7)).map(|row| (row.in_app, row.live))
    };
    assert_eq!(told(nowhere), None);
    assert_eq!(told(Channels { live: true, ..nowhere }), Some((false, true)));
}

#[test]
fn what_is_for_several_is_one_row_which_each_reads_alone() {
    let telling = shown(people().into_iter().chain([announced(Addressee::Everybody)]));
    let everybody = audience(EVERYBODY);
    assert_eq!(of(&telling, everybody), [(4, Kind::Announcement, false)]);
    let notification = NotificationId(telling.rows[&(everybody, 4)].id);
    let read = inbox::Event::NotificationRead { notification, at: Timestamp::UNIX_EPOCH, clean_up_at: None };
    let telling = shown(people().into_iter().chain([announced(Addressee::Everybody), said(BOB, read)]));
    assert_eq!(of(&telling, everybody), [(4, Kind::Announcement, false)]);
    assert_eq!(telling.marks.keys().collect::<Vec<_>>(), [&(BOB.0, notification.0)]);
}

#[test]
fn the_staff_is_told_of_listings_that_wait_while_they_do() {
    let waiting = || people().into_iter().chain([drafted(), submitted()]);
    let staff = audience("staff");
    assert_eq!(of(&shown(waiting()), staff), [(5, Kind::ListingReview, false)]);
    let rejected = listing::Event::ListingRejected { by: CID, reason: "No.".to_owned() };
    let telling = shown(waiting().chain([DomainEvent::Listing(ListingId(SALE), rejected)]));
    assert_eq!(of(&telling, staff), []);
    assert_eq!(of(&telling, ANN.0), [(6, Kind::ListingReviewed, false)]);
    assert_eq!(telling.gone.len(), 1);
    // Changed while it waits, it is submitted anew: what it was before, nobody is to look at.
    let again = shown(waiting().chain([submitted()]));
    assert_eq!(of(&again, staff), [(6, Kind::ListingReview, false)]);
    assert_eq!(again.gone.len(), 1);
    // Given back, it may be submitted once more.
    let returned = DomainEvent::Listing(ListingId(SALE), listing::Event::ListingReturned {});
    let later = shown(waiting().chain([returned, submitted()]));
    assert_eq!(of(&later, staff), [(7, Kind::ListingReview, false)]);
}

#[test]
fn what_is_said_of_a_whole_list_comes_to_the_table_in_three_steps_at_most() {
    let day = |days| Timestamp::UNIX_EPOCH + chrono::TimeDelta::days(days);
    let cleaned = |days| said(ANN, inbox::Event::ReadCleanedUp { before: day(days), clean_up_at: None });
    let read = |days| said(ANN, inbox::Event::AllRead { at: day(days), clean_up_at: None });
    let swept = |events: Vec<DomainEvent>| shown(events).sweeps[&ANN.0];
    let (four, three) = (Some(day(4)), Some(day(3)));
    assert_eq!(swept(vec![cleaned(4), cleaned(3)]), Sweep { cleaned: four, ..Sweep::default() });
    let expected = Sweep { cleaned: three, read: Some((0, day(5))), cleaned_after: four };
    // What was in the table is all read by the first reading, at its time.
    assert_eq!(swept(vec![cleaned(3), read(5), cleaned(4), read(6)]), expected);
    assert_eq!(swept(vec![cleaned(3), read(5), read(6), cleaned(4)]), expected);
}

#[test]
fn a_reading_looks_no_farther_back_than_the_one_before() {
    let mut telling = Telling::default();
    telling.people.insert(ANN.0, Person { all_read: 40, ..Person::new(ANN.0) });
    let recorded = recorded(50, said(ANN, all_read()));
    telling.take(&recorded, vec![], &PersonKeys::default());
    assert_eq!(telling.sweeps[&ANN.0].read, Some((40, Timestamp::UNIX_EPOCH)));
    assert_eq!(telling.people[&ANN.0].all_read, 50);
}

#[test]
fn somebody_belongs_to_several_from_a_position_on_and_not_for_ever() {
    let capabilities = BTreeSet::from([Capability::Staff]);
    let by = Granter::Operator;
    let granted = account::Event::CapabilitiesGranted { capabilities: capabilities.clone(), by, reason: None };
    let telling = shown([registered(ANN, &[]), DomainEvent::Account(ANN, granted.clone())]);
    assert_eq!(telling.holdings[&(ANN.0, EVERYBODY)], Some(1));
    assert_eq!(telling.holdings[&(ANN.0, "staff")], Some(2));
    let revoked = account::Event::CapabilitiesRevoked { capabilities, by, reason: None };
    let events = [granted, revoked].map(|event| DomainEvent::Account(ANN, event));
    assert_eq!(shown([registered(ANN, &[])].into_iter().chain(events)).holdings[&(ANN.0, "staff")], None);
}

#[test]
fn what_was_read_goes_in_time_and_everything_with_who_is_forgotten() {
    let bids = || people().into_iter().chain([drafted(), bid(BOB), said(ANN, all_read()), bid(CID)]);
    let before = Timestamp::UNIX_EPOCH + chrono::TimeDelta::days(1);
    let cleaned = inbox::Event::ReadCleanedUp { before, clean_up_at: None };
    assert_eq!(of(&shown(bids().chain([said(ANN, cleaned)])), ANN.0), [(7, Kind::BidPlaced, false)]);
    let erased = DomainEvent::Account(ANN, account::Event::AccountErased {});
    // Not even of what happens afterwards.
    let telling = shown(bids().chain([erased, bid(BOB)]));
    assert_eq!(of(&telling, ANN.0), []);
    assert!(telling.people[&ANN.0].erased);
    assert_eq!(telling.holdings[&(ANN.0, EVERYBODY)], None);
}
