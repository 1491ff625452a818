//! The faults of orders, escrows, stock and timers that the checker must find.

use domain::ListingId;
use domain::escrow::{self, ReleaseCause};
use domain::listing::{self, Condition, Delivery, Details, Sale};
use domain::order;
use domain::order_group;
use domain::points::Points;
use domain::stock::{self, Sku};

use super::*;
use crate::history::{Change, Wanted};

const GOODS: ListingId = ListingId(Uuid::from_u128(5));

impl Marketplace {
    /// With three pieces of 10.00 on offer, and a buyer who has 50.00.
    fn with_goods() -> Self {
        let mut marketplace = Self::open();
        let details = Details {
            title: "Watch".to_owned(),
            description: String::new(),
            category: "watches".to_owned(),
            brand: None,
            condition: Condition::Good,
            delivery: Delivery::Physical,
            shipping: None,
            attributes: BTreeMap::new(),
        };
        let sale = Sale::FixedPrice { price: usd(1_000), variants: vec![] };
        let drafted = listing::Event::ListingDrafted { seller: SELLER, details, sale };
        let counted = stock::Event::StockCounted { free: [(Sku::default(), 3)].into() };
        marketplace.cause(&[DomainEvent::Listing(GOODS, drafted), DomainEvent::Stock(GOODS, counted)]);
        marketplace.cause(&[DomainEvent::Listing(GOODS, listing::Event::ListingPublished {})]);
        marketplace.ask(ANN, "deposit", deposit(5_000));
        marketplace.settle_deposit();
        marketplace
    }

    /// Buys pieces and tells the order.
    fn buy(&mut self, key: &str, quantity: u32, pay_now: bool) -> OrderId {
        let lines = vec![Wanted { listing: GOODS, quantity }];
        // Half of those that are there.
        let points = self
            .replica
            .draft(self.now())
            .get::<Points>(ANN)
            .counts
            .get(&Currency::USD)
            .map_or(0, |count| count.unsigned_abs() / 2);
        self.ask(ANN, key, Intent::Checkout { lines, pay_now, points });
        let Outcome::Accepted { body, .. } = self.outcome(key) else { panic!("refused") };
        body["orders"][0]["id"].as_str().unwrap().parse().unwrap()
    }

    fn change(&mut self, actor: AccountId, key: &str, order: OrderId, what: Change) {
        self.ask(actor, key, Intent::Change { order, what });
    }

    /// The last event of a type under a key.
    fn event_of(&mut self, key: &str, event_type: &str) -> &mut RecordedEvent {
        let mine = |logged: &&mut Logged| logged.metadata.get("command_key").is_some_and(|known| known == key);
        let events = self.log.events.iter_mut().rev().filter(mine).map(|logged| &mut logged.event);
        events.into_iter().find(|event| event.event_type == event_type).unwrap()
    }

    /// What a timer does because of the event at `set_by`.
    fn fire(&mut self, set_by: usize, wanted: &[DomainEvent]) {
        let steps = carry_out_causes(&self.replica, wanted, self.now()).unwrap();
        let cause = self.log.events[set_by].event.event_id.to_string();
        self.append(&steps, &[("actor", "process:timers"), ("causation", &cause)]);
    }
}

/// Orders on every way that a load goes, and refusals.
fn a_day_of_trade() -> Marketplace {
    let mut market = Marketplace::with_goods();
    let sold = market.buy("cart", 2, true);
    let wanted = |quantity, points| {
        let lines = vec![Wanted { listing: GOODS, quantity }];
        Intent::Checkout { lines, pay_now: false, points }
    };
    market.ask(BOB, "too-many", wanted(2, 0));
    market.ask(BOB, "no-points", wanted(1, 1));
    market.change(ANN, "not-hers-to-ship", sold, Change::Ship);
    market.change(SELLER, "ship", sold, Change::Ship);
    market.change(SELLER, "part", sold, Change::Refund { amount: Some(usd(500)) });
    market.change(BOB, "not-his", sold, Change::Confirm);
    market.change(ANN, "confirm", sold, Change::Confirm);
    market.change(SELLER, "after", sold, Change::Refund { amount: Some(usd(100)) });
    let other = market.buy("later", 1, false);
    market.ask(ANN, "pay", Intent::Pay { order: other, method: None });
    market.ask(ANN, "pay-again", Intent::Pay { order: other, method: None });
    market.change(ANN, "cancel", other, Change::Cancel);
    market.change(ANN, "cancel-again", other, Change::Cancel);
    market
}

#[track_caller]
fn planted(promise: Promise, words: &str, plant: impl FnOnce(&mut Marketplace)) {
    let mut market = a_day_of_trade();
    plant(&mut market);
    let found = check(&market.log, &market.history);
    let hit = found.iter().any(|violation| violation.promise == promise && violation.what.contains(words));
    assert!(hit, "not found: {found:#?}");
}

fn replace(event: &mut RecordedEvent, from: &str, to: &str) {
    assert!(event.payload.contains(from), "{from} is not in {}", event.payload);
    event.payload = event.payload.replace(from, to);
}

#[test]
fn a_day_of_trade_breaks_no_promise() {
    let market = a_day_of_trade();
    assert_eq!(check(&market.log, &market.history), []);
    let counts = market.history.counts(None);
    assert_eq!((counts.accepted, counts.refused), (10, 5));
}

#[test]
fn a_wallet_that_does_not_follow_its_escrow_is_found() {
    planted(Promise::P3, "in the wallet and", |market| {
        replace(market.event_of("confirm", "SaleReceived"), "1470", "1471");
    });
    planted(Promise::P3, "in the wallet and", |market| {
        replace(market.event_of("after", "RefundGiven"), r#""amount":{"amount":98"#, r#""amount":{"amount":97"#);
    });
}

#[test]
fn an_escrow_that_keeps_something_or_gives_too_much_is_found() {
    planted(Promise::P3, "holds", |market| {
        replace(market.event_of("confirm", "EscrowReleased"), "1470", "1469");
    });
    planted(Promise::P3, "leaves escrow:", |market| {
        replace(market.event_of("cancel", "EscrowRefunded"), "993", "994");
    });
}

#[test]
fn pieces_that_are_not_there_and_pieces_that_are_left_behind_are_found() {
    planted(Promise::P3, "pieces of default", |market| {
        replace(market.event_of("cart", "StockReserved"), r#""default":2"#, r#""default":4"#);
    });
    planted(Promise::P3, "are kept for order", |market| {
        let taken = market.event_of("pay", "StockTaken").position;
        market.log.events.retain(|logged| logged.event.position != taken);
    });
}

#[test]
fn a_fee_against_the_rules_is_found() {
    // Balanced, and yet not what the rules say.
    planted(Promise::P0, "is not what was decided", |market| {
        let released = market.event_of("confirm", "EscrowReleased");
        replace(released, "1470", "1475");
        replace(released, r#""amount":30,"#, r#""amount":25,"#);
        replace(market.event_of("confirm", "SaleReceived"), "1470", "1475");
    });
}

#[test]
fn points_that_pay_or_come_back_otherwise_than_decided_are_found() {
    for (key, event_type) in [("later", "PointsRedeemed"), ("cancel", "PointsGivenBack")] {
        planted(Promise::P0, "is not what was decided", |market| {
            replace(market.event_of(key, event_type), r#""points":7"#, r#""points":6"#);
        });
    }
}

#[test]
fn wrong_answers_and_forged_refusals_of_orders_are_found() {
    planted(Promise::P0, "was told total", |market| {
        let Outcome::Accepted { body, .. } = market.outcome("cart") else { panic!("refused") };
        body["total"]["amount"] = 1_999.into();
    });
    planted(Promise::P0, "was told escrow", |market| {
        let Outcome::Accepted { body, .. } = market.outcome("confirm") else { panic!("refused") };
        body["escrow"] = "inspection".into();
    });
    planted(Promise::P0, "where the rules say", |market| {
        let Outcome::Refused { problem, .. } = market.outcome("too-many") else { panic!("accepted") };
        problem["available"] = 0.into();
    });
}

#[test]
fn who_is_told_that_there_was_nothing_to_do_when_there_was_is_found() {
    planted(Promise::P0, "was answered with", |market| {
        let Outcome::Accepted { position, .. } = market.outcome("cancel") else { panic!("refused") };
        let before = *position;
        // As if the second had been asked before the first.
        let paid = market.log.events[market.place("pay")].event.position;
        assert!(paid < before);
        let Outcome::Accepted { position, .. } = market.outcome("cancel-again") else { panic!("refused") };
        *position = paid;
    });
    planted(Promise::P1, "its events in the log end at []", |market| {
        market.log.events.retain(|logged| logged.metadata.get("command_key").is_none_or(|key| key != "ship"));
    });
}

/// Somebody pays too late, and a timer has called the order off; somebody else's inspection is over.
fn timers_at_work(expiry_late_s: u32, twice: bool) -> Marketplace {
    let mut market = Marketplace::with_goods();
    let unpaid = market.buy("later", 1, false);
    let placed = market.place("later");
    let group = match market.log.events[placed].event.decode().unwrap() {
        DomainEvent::OrderGroup(group, _) => group,
        other => panic!("not a group: {other:?}"),
    };
    let sold = market.buy("cart", 1, true);
    market.change(SELLER, "ship", sold, Change::Ship);
    market.change(ANN, "deliver", sold, Change::Deliver);
    let arrived = market.place("deliver");
    let began = market.log.events[placed].event.recorded_at;
    market.seconds = u32::try_from((began - start()).num_seconds()).unwrap() + 900 + expiry_late_s;
    let cancelled = order::Event::OrderCancelled { cause: order::CancelCause::NotPaid };
    let expired = [
        DomainEvent::OrderGroup(group, order_group::Event::OrderGroupExpired {}),
        DomainEvent::Order(unpaid, cancelled),
        DomainEvent::Escrow(unpaid, escrow::Event::EscrowVoided {}),
        DomainEvent::Stock(GOODS, stock::Event::StockReleased { order: unpaid }),
    ];
    market.fire(placed, &expired);
    if twice {
        // Nothing can expire twice by the rules, so another event stands for it.
        let mut again = market.log.events[market.log.events.len() - 4].clone();
        again.event.commit_position = i64::MAX;
        market.log.events.push(again);
    }
    let delivered = market.log.events[arrived].event.recorded_at;
    market.seconds = u32::try_from((delivered - start()).num_seconds()).unwrap() + 14 * 86_400;
    let nothing = usd(0);
    let cause = ReleaseCause::InspectionOver;
    let released = escrow::Event::EscrowReleased { cause, kept: nothing, fee: nothing, postings: Vec::new() };
    market.fire(arrived, &[DomainEvent::Escrow(sold, released)]);
    market
}

#[test]
fn a_timer_that_fires_in_time_and_once_breaks_no_promise() {
    let market = timers_at_work(9, false);
    assert_eq!(check_timers(&market.log, &Outages::default()), []);
    let fired = assert_timers_kept(&market.log);
    assert_eq!(fired, [("EscrowReleased".to_owned(), 1), ("OrderGroupExpired".to_owned(), 1)].into());
}

#[test]
fn a_timer_that_fires_twice_or_late_is_found() {
    for (market, words) in [(timers_at_work(0, true), "repeats what"), (timers_at_work(11, false), "is late by")] {
        let found = check_timers(&market.log, &Outages::default());
        let hit = |violation: &Violation| violation.promise == Promise::P7 && violation.what.contains(words);
        assert!(found.iter().any(hit), "not found: {found:#?}");
    }
}
