//! Of what guests order and pay at the door.

use super::*;

const GUEST: AccountId = AccountId(Uuid::from_u128(4));

fn confirm_by() -> Timestamp {
    Timestamp::default() + TimeDelta::hours(48)
}

fn deadlines() -> Deadlines {
    let confirm_by = confirm_by();
    Deadlines { confirm_by, ship_by: confirm_by + TimeDelta::days(5), deliver_by: confirm_by + TimeDelta::days(9) }
}

fn in_cash(delivery: Delivery, sealed_for: AccountId) -> Terms {
    let contact = Sealed::from_ciphertext(sealed_for, "name and phone".to_owned());
    Terms {
        buyer: GUEST,
        payment: Payment::in_cash(deadlines()),
        guest: Some(Guest { contact, confirmation: Confirmation::Whatsapp }),
        ..terms(Origin::Storefront, delivery)
    }
}

fn ordered_in_cash() -> Given<Order> {
    given::<Order>([Event::OrderPlaced { terms: in_cash(Delivery::Physical, GUEST) }])
}

fn confirmed() -> Given<Order> {
    ordered_in_cash().and(Command::Confirm { now: Timestamp::default() })
}

#[test]
fn nobody_but_guests_pays_on_delivery() {
    let place = |terms| given::<Order>([]).when(Command::Place { terms });
    place(in_cash(Delivery::Digital, GUEST)).then_refused(Error::CashNeedsDelivery);
    place(in_cash(Delivery::Physical, BOB)).then_refused(Error::SealedForAnother);
    place(Terms { guest: None, ..in_cash(Delivery::Physical, GUEST) }).then_refused(Error::CashIsForGuests);
}

fn by_card(delivery: Delivery) -> Given<Order> {
    let terms = Terms { payment: Payment::Escrow, ..in_cash(delivery, GUEST) };
    given::<Order>([]).and(Command::Place { terms })
}

#[test]
fn guests_pay_by_card_like_everybody_and_are_forgotten_a_time_after_the_end() {
    let now = Timestamp::default();
    let dismissed = |known_for| Event::GuestDismissed { forget_at: now + known_for };
    let sold = by_card(Delivery::Digital).and(Command::Pay {});
    sold.when(Command::Complete { now }).then([Event::OrderCompleted {}, dismissed(GUEST_KNOWN_FOR)]);
    let back = by_card(Delivery::Physical).and(Command::Pay {});
    back.when(Command::Refund { now }).then([Event::OrderRefunded {}, dismissed(GUEST_KNOWN_FOR)]);
    let cause = CancelCause::NotPaid;
    let unpaid = Event::OrderCancelled { cause: cause.clone() };
    by_card(Delivery::Physical).when(Command::Cancel { cause, now }).then([unpaid, dismissed(GUEST_KNOWN_IN_VAIN_FOR)]);
    let late = Command::Confirm { now };
    by_card(Delivery::Physical).when(late).then_refused(Error::NeedsNoConfirmation);
}

#[test]
fn what_is_paid_at_the_door_is_confirmed_sent_and_brought_by_its_seller() {
    ordered_in_cash().when(ship()).then_refused(Error::WrongStage { status: Stage::Placed, needed: Stage::Confirmed });
    let shipped = Event::OrderShipped { carrier: "Post".to_owned(), tracking: None, ask_at: None, dispute_at: None };
    confirmed().when(ship()).then([shipped]);
    let by = Witness::Seller;
    confirmed().and(ship()).when(Command::Deliver { by, now: Timestamp::default() }).then([
        Event::OrderDelivered { by },
        Event::OrderCompleted {},
        Event::GuestDismissed { forget_at: Timestamp::default() + GUEST_KNOWN_FOR },
    ]);
    confirmed()
        .when(Command::Deliver { by, now: Timestamp::default() })
        .then_refused(Error::WrongStage { status: Stage::Confirmed, needed: Stage::Shipped });
    for money in [Command::Pay {}, Command::Refund { now: Timestamp::default() }] {
        confirmed().when(money).then_refused(Error::PaidInCash);
    }
}

#[test]
fn what_is_not_confirmed_in_time_is_called_off() {
    let confirm_by = confirm_by();
    let before = confirm_by - TimeDelta::milliseconds(1);
    ordered_in_cash().when(Command::Confirm { now: before }).then([Event::OrderConfirmed {}]);
    let open = Error::NotOverdue { until: confirm_by };
    ordered_in_cash().when(Command::Lapse { now: before }).then_refused(open);
    let late = Command::Confirm { now: confirm_by };
    ordered_in_cash().when(late).then_refused(Error::ConfirmationOverdue { confirm_by });
    let lapsed = Event::OrderCancelled { cause: CancelCause::NotConfirmed };
    let dismissed = Event::GuestDismissed { forget_at: confirm_by + GUEST_KNOWN_IN_VAIN_FOR };
    ordered_in_cash().when(Command::Lapse { now: confirm_by }).then([lapsed, dismissed]);
    paid().when(Command::Lapse { now: confirm_by }).then_nothing();
    paid().when(Command::Confirm { now: before }).then_refused(Error::NeedsNoConfirmation);
}

#[test]
fn what_is_not_sent_or_brought_in_time_is_called_off_too() {
    let Deadlines { ship_by, deliver_by, .. } = deadlines();
    let sent = || confirmed().and(ship());
    let unsent: fn() -> Given<Order> = confirmed;
    for (open, until, cause) in
        [(unsent, ship_by, CancelCause::NotShipped), (sent, deliver_by, CancelCause::NotDelivered)]
    {
        let early = Command::Lapse { now: until - TimeDelta::milliseconds(1) };
        open().when(early).then_refused(Error::NotOverdue { until });
        let dismissed = Event::GuestDismissed { forget_at: until + GUEST_KNOWN_IN_VAIN_FOR };
        let lapse = Command::Lapse { now: until };
        open().when(lapse.clone()).then([Event::OrderCancelled { cause }, dismissed]);
        open().and(lapse.clone()).when(lapse).then_nothing();
    }
    let delivered = sent().and(Command::Deliver { by: Witness::Seller, now: deliver_by });
    delivered.when(Command::Lapse { now: deliver_by }).then_nothing();
}

#[test]
fn an_order_in_cash_from_before_there_were_such_deadlines_has_them_all_the_same() {
    let old = Payment::CashOnDelivery { confirm_by: confirm_by(), ship_by: None, deliver_by: None };
    let ship_by = confirm_by() + TimeDelta::days(14);
    let deliver_by = ship_by + TimeDelta::days(45);
    assert_eq!(old.deadlines(), Some(Deadlines { confirm_by: confirm_by(), ship_by, deliver_by }));
    let terms = Terms { payment: old, ..in_cash(Delivery::Physical, GUEST) };
    let confirmed = given::<Order>([Event::OrderPlaced { terms }, Event::OrderConfirmed {}]);
    let lapsed = Event::OrderCancelled { cause: CancelCause::NotShipped };
    let dismissed = Event::GuestDismissed { forget_at: ship_by + GUEST_KNOWN_IN_VAIN_FOR };
    confirmed.when(Command::Lapse { now: ship_by }).then([lapsed, dismissed]);
}

#[test]
fn a_guest_whose_order_ended_before_ends_said_until_when_guests_are_known_is_forgotten_when_asked() {
    let terms = || in_cash(Delivery::Physical, GUEST);
    let ended = || {
        let cause = CancelCause::NotConfirmed;
        given::<Order>([Event::OrderPlaced { terms: terms() }, Event::OrderCancelled { cause }])
    };
    let forget = Command::ForgetGuest { now: confirm_by() };
    ended().when(forget.clone()).then([Event::GuestForgotten {}]);
    ended().and(forget.clone()).when(forget).then_nothing();
}

#[test]
fn what_nobody_wanted_at_the_door_is_called_off_by_its_seller() {
    let cause = CancelCause::Seller { reason: "Nobody was there.".to_owned() };
    let dismissed = Event::GuestDismissed { forget_at: Timestamp::default() + GUEST_KNOWN_IN_VAIN_FOR };
    let called_off = [Event::OrderCancelled { cause: cause.clone() }, dismissed];
    confirmed().and(ship()).when(cancel(cause.clone())).then(called_off);
    let delivered = confirmed().and(ship()).and(Command::Deliver { by: Witness::Seller, now: Timestamp::default() });
    delivered.when(cancel(cause)).then_refused(Error::TooLateToCancel { status: Stage::Completed });
}

#[test]
fn who_a_guest_was_is_known_while_the_order_is_open_and_forgotten_some_time_after() {
    let delivered = |by| Command::Deliver { by, now: Timestamp::default() };
    let completed = || confirmed().and(ship()).and(delivered(Witness::Seller));
    let lapsed = || ordered_in_cash().and(Command::Lapse { now: confirm_by() });
    let called_off = || confirmed().and(cancel(CancelCause::NotPaid));
    let ends: [(&dyn Fn() -> Given<Order>, Timestamp); 3] = [
        (&completed, Timestamp::default() + GUEST_KNOWN_FOR),
        (&lapsed, confirm_by() + GUEST_KNOWN_IN_VAIN_FOR),
        (&called_off, Timestamp::default() + GUEST_KNOWN_IN_VAIN_FOR),
    ];
    for (ended, forget_at) in ends {
        let forget = Command::ForgetGuest { now: forget_at };
        let early = Command::ForgetGuest { now: forget_at - TimeDelta::milliseconds(1) };
        ended().when(early).then_refused(Error::TooEarlyToForget { forget_at });
        ended().when(forget.clone()).then([Event::GuestForgotten {}]);
        ended().and(forget.clone()).when(forget).then_nothing();
    }
    let late = || Command::ForgetGuest { now: confirm_by() + TimeDelta::days(10_000) };
    for (open, status) in
        [(ordered_in_cash(), Stage::Placed), (confirmed(), Stage::Confirmed), (confirmed().and(ship()), Stage::Shipped)]
    {
        open.when(late()).then_refused(Error::WrongStage { status, needed: Stage::Completed });
    }
    paid().when(late()).then_nothing();
    // Of a buyer with an account, nothing of this is said.
    paid().when(cancel(CancelCause::NotShipped)).then([Event::OrderCancelled { cause: CancelCause::NotShipped }]);
}

#[test]
fn a_guest_orders_a_few_things() {
    let line = |quantity| Line { quantity, ..in_cash(Delivery::Physical, GUEST).lines[0].clone() };
    let place = |lines: Vec<Line>| {
        let terms = Terms { lines, ..in_cash(Delivery::Physical, GUEST) };
        given::<Order>([]).when(Command::Place { terms })
    };
    let most = MOST_GUEST_PIECES;
    place(vec![line(most), line(1)]).then_refused(Error::QuantityOutOfRange { maximum: most, offered: most + 1 });
    let (maximum, offered) = (MOST_GUEST_LINES, MOST_GUEST_LINES + 1);
    place(vec![line(1); offered]).then_refused(Error::LinesOutOfRange { maximum, offered });
    let lines = vec![line(1); MOST_GUEST_LINES];
    let terms = Terms { lines: lines.clone(), ..in_cash(Delivery::Physical, GUEST) };
    place(lines).then([Event::OrderPlaced { terms }]);
}
