//! Given what has happened to an order, when it is asked something, then this.

use uuid::Uuid;

use super::*;
use crate::money::Currency;
use crate::testing::{Given, given};

mod cash;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const CLERK: AccountId = AccountId(Uuid::from_u128(3));

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn line(quantity: u32) -> Line {
    Line {
        listing: ListingId(Uuid::nil()),
        sku: Sku::default(),
        title: "Watch".to_owned(),
        quantity,
        unit_price: usd(1_000),
        shipping: usd(250),
        fee_bps: 200,
    }
}

fn terms(origin: Origin, delivery: Delivery) -> Terms {
    Terms {
        group: OrderGroupId(Uuid::nil()),
        buyer: BOB,
        seller: ANN,
        origin,
        lines: vec![line(2)],
        delivery,
        ship_to: None,
        payment: Payment::Escrow,
        guest: None,
    }
}

fn placed(origin: Origin) -> Given<Order> {
    given::<Order>([Event::OrderPlaced { terms: terms(origin, Delivery::Physical) }])
}

fn paid() -> Given<Order> {
    placed(Origin::Checkout).and(Command::Pay {})
}

fn ship() -> Command {
    Command::Ship { carrier: "Post".to_owned(), tracking: None, now: Timestamp::default() }
}

fn cancel(cause: CancelCause) -> Command {
    Command::Cancel { cause, now: Timestamp::default() }
}

fn by_buyer() -> CancelCause {
    CancelCause::Buyer { reason: "Too slow.".to_owned() }
}

#[test]
fn a_line_costs_its_pieces_and_its_shipping() {
    assert_eq!(line(2).gross(), Ok(usd(2_250)));
    let dear = Line { unit_price: usd(crate::money::AMOUNT_LIMIT - 1), ..line(2) };
    assert_eq!(dear.gross(), Err(MoneyError::OutOfRange));
}

#[test]
fn nobody_buys_from_themselves_and_nothing_is_bought_in_no_pieces() {
    let place = |change: fn(&mut Terms)| {
        let mut terms = terms(Origin::Checkout, Delivery::Physical);
        change(&mut terms);
        given::<Order>([]).when(Command::Place { terms })
    };
    place(|terms| terms.buyer = ANN).then_refused(Error::OwnItem);
    place(|terms| terms.lines[0].quantity = 0)
        .then_refused(Error::QuantityOutOfRange { maximum: MOST_QUANTITY, offered: 0 });
    place(|terms| terms.lines.clear()).then_refused(Error::LinesOutOfRange { maximum: MOST_LINES, offered: 0 });
    place(|terms| {
        let unit_price = Money::new(1, Currency::JPY).unwrap();
        terms.lines.push(Line { unit_price, ..line(1) });
    })
    .then_refused(Error::SeveralCurrencies { first: Currency::USD, other: Currency::JPY });
}

#[test]
fn it_is_shipped_only_once_it_is_paid() {
    let refused = |status| Error::WrongStage { status, needed: Stage::Paid };
    placed(Origin::Checkout).when(ship()).then_refused(refused(Stage::Placed));
    paid().and(ship()).when(ship()).then_refused(refused(Stage::Shipped));
    let (carrier, tracking) = ("Post".to_owned(), None);
    let (ask_at, dispute_at) = (Some(Timestamp::default() + ASKED_AFTER), Some(Timestamp::default() + DISPUTED_AFTER));
    paid().when(ship()).then([Event::OrderShipped { carrier, tracking, ask_at, dispute_at }]);
}

#[test]
fn a_seller_says_of_digital_goods_alone_that_they_have_arrived() {
    let shipped = || paid().and(ship());
    shipped()
        .when(Command::Deliver { by: Witness::Seller, now: Timestamp::default() })
        .then_refused(Error::SellerIsNoWitness);
    for by in [Witness::Buyer, Witness::Staff(CLERK)] {
        shipped().when(Command::Deliver { by, now: Timestamp::default() }).then([Event::OrderDelivered { by }]);
    }
    let digital = || {
        let terms = terms(Origin::Checkout, Delivery::Digital);
        given::<Order>([Event::OrderPlaced { terms }, Event::OrderPaid {}])
    };
    digital().when(ship()).then_refused(Error::NeedsNoShipping);
    let by = Witness::Seller;
    digital().when(Command::Deliver { by, now: Timestamp::default() }).then([Event::OrderDelivered { by }]);
}

#[test]
fn what_was_not_shipped_has_not_arrived() {
    let refused = Error::WrongStage { status: Stage::Paid, needed: Stage::Shipped };
    paid().when(Command::Deliver { by: Witness::Buyer, now: Timestamp::default() }).then_refused(refused);
}

#[test]
fn the_buyer_is_asked_once_and_not_too_early() {
    let ask_at = Timestamp::default() + ASKED_AFTER;
    let ask = |now| Command::AskForDelivery { now };
    let shipped = || paid().and(ship());
    let early = ask_at - TimeDelta::seconds(1);
    shipped().when(ask(early)).then_refused(Error::TooEarlyToAsk { ask_at });
    shipped().when(ask(ask_at)).then([Event::DeliveryQuestioned {}]);
    shipped().and(ask(ask_at)).when(ask(ask_at)).then_nothing();
    shipped().and(Command::Deliver { by: Witness::Buyer, now: Timestamp::default() }).when(ask(ask_at)).then_nothing();
}

#[test]
fn it_can_be_cancelled_until_it_is_shipped() {
    placed(Origin::Checkout).when(cancel(by_buyer())).then([Event::OrderCancelled { cause: by_buyer() }]);
    paid().when(cancel(by_buyer())).then([Event::OrderCancelled { cause: by_buyer() }]);
    let refused = Error::TooLateToCancel { status: Stage::Shipped };
    paid().and(ship()).when(cancel(by_buyer())).then_refused(refused);
    paid().and(cancel(by_buyer())).when(cancel(by_buyer())).then_nothing();
}

#[test]
fn whoever_wins_an_auction_is_bound() {
    for origin in [Origin::AuctionWon(AuctionId(Uuid::nil())), Origin::BoughtNow(AuctionId(Uuid::nil()))] {
        placed(origin).when(cancel(by_buyer())).then_refused(Error::Binding);
        placed(origin).and(Command::Pay {}).when(cancel(by_buyer())).then_refused(Error::Binding);
        let cause = CancelCause::Seller { reason: "Broken.".to_owned() };
        placed(origin).when(cancel(cause.clone())).then([Event::OrderCancelled { cause }]);
    }
}

#[test]
fn what_has_ended_stays_so() {
    let completed = || {
        paid()
            .and(ship())
            .and(Command::Deliver { by: Witness::Buyer, now: Timestamp::default() })
            .and(Command::Complete { now: Timestamp::default() })
    };
    let refused = Error::TooLateToCancel { status: Stage::Completed };
    completed().when(cancel(CancelCause::NotShipped)).then_refused(refused);
    // A refund after the release is the one thing that can still happen.
    completed().when(Command::Refund { now: Timestamp::default() }).then([Event::OrderRefunded {}]);
    let cancelled = paid().and(cancel(by_buyer()));
    cancelled.when(ship()).then_refused(Error::WrongStage { status: Stage::Cancelled, needed: Stage::Paid });
}

#[test]
fn an_order_out_of_an_auction_knows_which() {
    let auction = AuctionId(Uuid::from_u128(7));
    for origin in [Origin::AuctionWon(auction), Origin::BoughtNow(auction), Origin::SecondChance(auction)] {
        assert_eq!(origin.auction(), Some(auction));
    }
    assert_eq!([Origin::Checkout, Origin::Storefront].map(Origin::auction), [None, None]);
}

#[test]
fn roles_and_stages_have_the_names_of_json() {
    assert_eq!([Role::Buyer, Role::Seller, Role::Staff].map(Role::name), ["buyer", "seller", "staff"]);
    let going_on = [Stage::Placed, Stage::Paid, Stage::Confirmed, Stage::Shipped, Stage::Delivered];
    let ended = [Stage::Completed, Stage::Cancelled, Stage::Refunded];
    for stage in going_on.into_iter().chain(ended) {
        assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        assert_eq!(stage.to_string(), stage.name());
        assert_eq!(stage.has_ended(), ended.contains(&stage), "{stage}");
    }
}
