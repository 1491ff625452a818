//! Random histories under other rules: under those that they were made by nothing is different, and under any others the
//! same is different each time.

use std::collections::{BTreeMap, BTreeSet};

use domain::auction::Event as AuctionEvent;
use domain::escrow::{self, Status};
use domain::order;
use domain::what_if::policy::{Auctions, Deadlines, Fees, Steps};
use domain::what_if::sales::{self, Sold, Step};
use domain::what_if::{AuctionReplay, Auctioned, Policy, RateBook};
use domain::{AuctionId, OrderGroupId, OrderId, Timestamp};
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;

use super::history::History;

const DAY_S: u32 = 24 * 3_600;

/// What became of everything, and what would have.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    auctions: BTreeMap<AuctionId, Auctioned>,
    sales: BTreeMap<OrderId, Sold>,
}

fn replay(events: &[Recorded], policy: &Policy, until: Timestamp) -> Outcome {
    let mut auctions = BTreeMap::new();
    let mut steps = BTreeMap::<OrderId, Vec<(Timestamp, Step<'_>)>>::new();
    let mut groups = BTreeMap::<OrderGroupId, Vec<OrderId>>::new();
    let (mut book, mut rates) = (RateBook::default(), BTreeMap::new());
    for recorded in events {
        let (place, at) = (recorded.position, recorded.recorded_at);
        match &recorded.event {
            DomainEvent::Auction(id, event) => {
                auctions.entry(*id).or_insert_with(|| AuctionReplay::new(&policy.auctions)).take(event, at);
            }
            DomainEvent::Order(id, event) => {
                steps.entry(*id).or_default().push((at, Step::Order(event)));
                if let order::Event::OrderPlaced { terms } = event {
                    groups.entry(terms.group).or_default().push(*id);
                    rates.insert(*id, book.rates(&policy.fees, place, terms));
                }
            }
            DomainEvent::Escrow(id, event) => steps.entry(*id).or_default().push((at, Step::Escrow(event))),
            DomainEvent::OrderGroup(id, event) => {
                for order in groups.get(id).into_iter().flatten() {
                    steps.entry(*order).or_default().push((at, Step::Group(event)));
                }
            }
            DomainEvent::Category(id, event) => book.take_category(place, *id, event),
            DomainEvent::Plan(id, event) => book.take_plan(place, *id, event),
            DomainEvent::Seller(id, event) => book.take_seller(place, *id, event),
            DomainEvent::Subscription(id, event) => book.take_subscription(place, *id, event),
            DomainEvent::Listing(id, event) => book.take_listing(place, *id, event),
            _ => {}
        }
    }
    let auctions = auctions.into_iter().filter_map(|(id, replay)| Some((id, replay.end(until)?))).collect();
    let sold =
        |(id, steps): (OrderId, Vec<_>)| Some((id, sales::replay(&steps, &policy.deadlines, &rates[&id], until)?));
    Outcome { auctions, sales: steps.into_iter().filter_map(sold).collect() }
}

/// The rules that random histories are made by, said. Auctions are asked what their own are; every sale has the rate that
/// it had.
fn own(events: &[Recorded]) -> Policy {
    let mut auctions = Auctions::default();
    for recorded in events {
        if let DomainEvent::Auction(_, AuctionEvent::AuctionScheduled { terms }) = &recorded.event {
            auctions.soft_close_window_s = Some(terms.soft_close_window_ms / 1_000);
            auctions.increments.insert(terms.start_price.currency(), Steps(terms.increments.clone()));
        }
    }
    let deadlines = Deadlines {
        checkout_paid_s: Some(900),
        win_paid_s: Some(DAY_S),
        shipped_s: Some(14 * DAY_S),
        inspection_physical_s: None,
        inspection_digital_s: None,
        resolved_s: Some(60 * DAY_S),
    };
    Policy { fees: Fees::default(), auctions, deadlines }
}

#[test]
fn under_the_rules_as_they_were_nothing_is_different() {
    let mut statuses = BTreeSet::new();
    let (mut auctions, mut orders) = (0, 0);
    for seed in 31..=36 {
        let history = History::random(seed, 2_500);
        let events = history.recorded();
        let until = events.last().unwrap().recorded_at;
        let closed = events.iter().filter(|recorded| {
            let DomainEvent::Auction(_, event) = &recorded.event else { return false };
            matches!(event, AuctionEvent::AuctionClosed { .. } | AuctionEvent::AuctionCancelled { .. })
        });
        let in_escrow = events
            .iter()
            .filter(|recorded| matches!(&recorded.event, DomainEvent::Escrow(_, escrow::Event::EscrowOpened { .. })));
        let (closed, in_escrow) = (closed.count(), in_escrow.count());
        for policy in [Policy::default(), own(&events)] {
            let outcome = replay(&events, &policy, until);
            assert_eq!((outcome.auctions.len(), outcome.sales.len()), (closed, in_escrow));
            for auctioned in outcome.auctions.values() {
                assert!(!auctioned.is_different(), "{seed}: {auctioned:#?}");
            }
            for sold in outcome.sales.values() {
                assert!(!sold.is_different(), "{seed}: {sold:#?}");
                statuses.insert(sold.was.status.name());
            }
            (auctions, orders) = (auctions + outcome.auctions.len(), orders + outcome.sales.len());
        }
    }
    assert!(auctions > 100 && orders > 100, "{auctions} auctions, {orders} orders");
    let everywhere = [
        Status::AwaitingPayment,
        Status::Funded,
        Status::Inspection,
        Status::Disputed,
        Status::ChargedBack,
        Status::Voided,
        Status::Released,
        Status::Refunded,
        Status::Split,
    ];
    assert_eq!(statuses, everywhere.map(Status::name).into());
}

#[test]
fn what_is_different_is_so_each_time() {
    let history = History::random(37, 2_500);
    let events = history.recorded();
    let until = events.last().unwrap().recorded_at;
    let policy = Policy {
        fees: Fees { usual_bps: Some(900), ..Fees::default() },
        auctions: Auctions {
            soft_close_window_s: Some(600),
            increments: serde_json::from_value(serde_json::json!({ "USD": 1_000, "JPY": 1_000 })).unwrap(),
        },
        deadlines: Deadlines {
            checkout_paid_s: Some(120),
            win_paid_s: Some(3_600),
            shipped_s: Some(2 * DAY_S),
            inspection_physical_s: Some(DAY_S),
            inspection_digital_s: Some(5 * DAY_S),
            resolved_s: Some(10 * DAY_S),
        },
    };
    let once = replay(&events, &policy, until);
    assert_eq!(once, replay(&events, &policy, until));
    assert!(once.auctions.values().any(|auctioned| auctioned.price_change().is_some_and(|change| change != 0)));
    let moved = once.sales.values().filter(|sold| sold.was.status != sold.would.status).count();
    assert!(moved > 10, "{moved}");
    // What came back and what was kept is never more than what was paid.
    for sold in once.sales.values() {
        assert!(sold.would.refunded.minor() + sold.would.fee.minor() <= sold.amount.minor(), "{sold:?}");
    }
}
