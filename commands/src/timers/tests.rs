//! What events make of the table.

use chrono::TimeDelta;
use domain::listing::Delivery;
use domain::order::{
    self, CancelCause, Confirmation, GUEST_KNOWN_FOR, GUEST_KNOWN_IN_VAIN_FOR, Guest, Line, Origin, Payment, Terms,
};
use domain::stock::Sku;
use domain::{AccountId, Currency, Money, Sealed};
use eventstore::event::DomainEvent;
use eventstore::follower::Recorded;
use eventstore::testing::database;

use super::*;

const ORDER: OrderId = OrderId(Uuid::from_u128(1));

fn day(number: i64) -> Timestamp {
    Timestamp::default() + TimeDelta::days(number)
}

/// What somebody has ordered, an account or a guest; a guest from before such orders said by when they are over.
fn placed(is_guest: bool) -> order::Event {
    let (buyer, seller) = (AccountId(Uuid::from_u128(2)), AccountId(Uuid::from_u128(3)));
    let price = Money::new(1_000, Currency::USD).unwrap();
    let line = Line {
        listing: ListingId(Uuid::nil()),
        sku: Sku::default(),
        title: "Watch".to_owned(),
        quantity: 1,
        unit_price: price,
        shipping: Money::zero(Currency::USD),
        fee_bps: 0,
    };
    let contact = Sealed::from_ciphertext(buyer, "name and phone".to_owned());
    let old = Payment::CashOnDelivery { confirm_by: day(2), ship_by: None, deliver_by: None };
    order::Event::OrderPlaced {
        terms: Terms {
            group: OrderGroupId(ORDER.0),
            buyer,
            seller,
            origin: Origin::Storefront,
            lines: vec![line],
            delivery: Delivery::Physical,
            ship_to: None,
            payment: if is_guest { old } else { Payment::Escrow },
            guest: is_guest.then_some(Guest { contact, confirmation: Confirmation::Phone }),
        },
    }
}

/// The table after these events, each in a batch of its own, or all in one.
async fn table(events: &[(i64, order::Event)], in_one: bool) -> Vec<(Kind, Timestamp)> {
    let database = database().await;
    let pool = database.pool(1);
    let recorded = |(position, (at, event)): (i64, &(i64, order::Event))| Recorded {
        position,
        commit_position: position,
        event_id: mint::id(),
        sequence: position,
        recorded_at: day(*at),
        act: None,
        event: DomainEvent::Order(ORDER, event.clone()),
    };
    let recorded: Vec<Recorded> = (1..).zip(events).map(recorded).collect();
    for batch in recorded.chunks(if in_one { events.len() } else { 1 }) {
        write(&mut pool.acquire().await.unwrap(), Changes::of(batch)).await.unwrap();
    }
    nearest(&pool, 100).await.unwrap().into_iter().map(|timer| (timer.kind, timer.due_at)).collect()
}

#[tokio::test]
async fn whatever_a_guest_has_ordered_is_over_some_day() {
    let (ship_by, deliver_by) = (day(2 + 14), day(2 + 14 + 45));
    let forgetting = (Kind::GuestForgetting, deliver_by + GUEST_KNOWN_FOR);
    let [to_confirm, to_send, to_bring] =
        [(Kind::ConfirmationDeadline, day(2)), (Kind::ShippingDeadline, ship_by), (Kind::DeliveryDeadline, deliver_by)];
    let mut events = vec![(0, placed(true))];
    assert_eq!(table(&events, true).await, [to_confirm, to_send, to_bring, forgetting]);
    events.push((1, order::Event::OrderConfirmed {}));
    assert_eq!(table(&events, true).await, [to_send, to_bring, forgetting]);
    let carrier = "Post".to_owned();
    events.push((3, order::Event::OrderShipped { carrier, tracking: None, ask_at: None, dispute_at: None }));
    assert_eq!(table(&events, true).await, [to_bring, forgetting]);
}

#[tokio::test]
async fn a_guest_is_forgotten_though_the_end_of_the_order_does_not_say_when() {
    let completed = order::Event::OrderCompleted {};
    let cancelled = order::Event::OrderCancelled { cause: CancelCause::NotConfirmed };
    for (end, known_for) in [(completed, GUEST_KNOWN_FOR), (cancelled, GUEST_KNOWN_IN_VAIN_FOR)] {
        for in_one in [true, false] {
            let events = [(0, placed(true)), (4, end.clone())];
            assert_eq!(table(&events, in_one).await, [(Kind::GuestForgetting, day(4) + known_for)]);
            let of_account = [(0, placed(false)), (4, end.clone())];
            assert_eq!(table(&of_account, in_one).await, []);
            let says_so =
                [(0, placed(true)), (4, end.clone()), (4, order::Event::GuestDismissed { forget_at: day(9) })];
            assert_eq!(table(&says_so, in_one).await, [(Kind::GuestForgetting, day(9))]);
            let forgotten = [(0, placed(true)), (4, end.clone()), (5, order::Event::GuestForgotten {})];
            assert_eq!(table(&forgotten, in_one).await, []);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_failed_for_our_own_outage_fires_soon_after_it_and_what_failed_otherwise_waits_ever_longer() {
    let timer = |number: u128| Timer {
        kind: Kind::ChargeCheck,
        aggregate_id: Uuid::from_u128(number),
        subject: Uuid::from_u128(number),
        due_at: day(1),
        set_by: Uuid::nil(),
    };
    let (ours, theirs) = (timer(1), timer(2));
    let mut under_way = UnderWay::default();
    for _ in 0..12 {
        under_way.put_off(ours);
        under_way.put_off(theirs);
        under_way.note(Ok((ours, Err(FollowError::Unavailable))));
        under_way.note(Ok((theirs, Err(FollowError::Command("the provider cannot be reached".to_owned())))));
    }
    let rest = |timer: &Timer| under_way.put_off[timer].at - Instant::now();
    assert_eq!((rest(&ours), rest(&theirs)), (OUTAGE_PAUSE, LONGEST_PAUSE));
}
