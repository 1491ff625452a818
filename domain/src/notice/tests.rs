//! Who is told what.

use std::collections::BTreeSet;

use super::*;
use crate::account::{self, Identity};
use crate::auction::{self, Outcome, Standing};
use crate::listing::Delivery;
use crate::order::{self, CancelCause, Line, Origin, Terms, Witness};
use crate::wallet::PaymentMethod;
use crate::{ChatId, Currency, MessageId, MethodId, chat, escrow, payee};

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const CID: AccountId = AccountId(Uuid::from_u128(3));
const SALE: AuctionId = AuctionId(Uuid::from_u128(10));
const ORDER: OrderId = OrderId(Uuid::from_u128(11));
const GROUP: OrderGroupId = OrderGroupId(Uuid::from_u128(12));

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD).unwrap()
}

fn sealed(of: AccountId, text: &str) -> Sealed<String> {
    Sealed::from_ciphertext(of, text.to_owned())
}

fn sale() -> Context {
    let (title, bidders) = ("A watch".to_owned(), BTreeSet::new());
    Context::Sale(context::Sale { seller: ANN, title, leader: None, bidders })
}

fn bid(bidder: AccountId, leader: AccountId, price: i64) -> auction::Event {
    let price = usd(price);
    let standing = Standing { leader, leader_maximum: usd(9_000), runner_up_maximum: None, price };
    auction::Event::BidPlaced { bidder, maximum: price, standing, reserve_met: true, buy_now_available: false }
}

fn terms(origin: Origin) -> Terms {
    let line = Line {
        listing: SALE.into(),
        sku: crate::stock::Sku::default(),
        title: "A watch".to_owned(),
        quantity: 1,
        unit_price: usd(1_000),
        shipping: usd(0),
        fee_bps: 200,
    };
    Terms {
        group: GROUP,
        buyer: BOB,
        seller: ANN,
        origin,
        lines: vec![line],
        delivery: Delivery::Physical,
        ship_to: None,
        payment: order::Payment::Escrow,
        guest: None,
    }
}

fn order(origin: Origin) -> (Context, Vec<Told>) {
    let mut context = Context::default();
    let told = context.take_order(ORDER, &order::Event::OrderPlaced { terms: terms(origin) });
    (context, told)
}

fn whom(told: &[Told]) -> Vec<(Addressee, Kind)> {
    told.iter().map(|told| (told.to, told.notice.kind())).collect()
}

fn to(account: AccountId, kind: Kind) -> (Addressee, Kind) {
    (Addressee::Account(account), kind)
}

#[test]
fn every_kind_has_its_name() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        assert_eq!(kind.told(kind.fixed()), kind.fixed());
    }
    assert_eq!("none".parse::<Kind>(), Err(UnknownKind));
}

#[test]
fn the_id_of_a_notice_follows_from_whom_it_is_for_its_kind_and_its_event() {
    let event = Uuid::from_u128(7);
    let id = Told::to(ANN, Notice::Welcome {}).id(event);
    assert_eq!(Told::to(ANN, Notice::Welcome {}).id(event), id);
    assert_ne!(Told::to(BOB, Notice::Welcome {}).id(event), id);
    assert_ne!(Told::to(ANN, Notice::Blocked {}).id(event), id);
    assert_ne!(Told::to(ANN, Notice::Welcome {}).id(Uuid::from_u128(8)), id);
}

#[test]
fn whoever_led_is_told_when_somebody_else_does() {
    let mut context = sale();
    let first = context.take_auction(SALE, &bid(BOB, BOB, 500));
    assert_eq!(whom(&first), [to(ANN, Kind::BidPlaced)]);
    // Bob still leads: his own raise, or a bid of Cid's below his maximum.
    assert_eq!(whom(&context.take_auction(SALE, &bid(BOB, BOB, 500))), [to(ANN, Kind::BidPlaced)]);
    assert_eq!(whom(&context.take_auction(SALE, &bid(CID, BOB, 600))), [to(ANN, Kind::BidPlaced)]);
    let outbid = context.take_auction(SALE, &bid(CID, CID, 700));
    assert_eq!(whom(&outbid), [to(ANN, Kind::BidPlaced), to(BOB, Kind::Outbid)]);
    let outcome = Outcome::Won { winner: CID, price: usd(700) };
    let closed = auction::Event::AuctionClosed { outcome, ended_at: Timestamp::UNIX_EPOCH };
    assert_eq!(whom(&context.take_auction(SALE, &closed)), [to(BOB, Kind::Lost)]);
}

#[test]
fn what_nobody_has_bought_is_told_to_its_seller_and_who_has_bid() {
    let mut context = sale();
    context.take_auction(SALE, &bid(BOB, BOB, 500));
    let outcome = Outcome::Unsold { reserve_missed: true };
    let closed = auction::Event::AuctionClosed { outcome, ended_at: Timestamp::UNIX_EPOCH };
    assert_eq!(whom(&context.take_auction(SALE, &closed)), [to(BOB, Kind::Lost), to(ANN, Kind::Unsold)]);
}

#[test]
fn the_winner_of_an_auction_is_told_what_to_pay() {
    let (_, told) = order(Origin::AuctionWon(SALE));
    assert_eq!(whom(&told), [to(BOB, Kind::Won), to(ANN, Kind::OrderPlaced)]);
    assert!(matches!(told[0].notice, Notice::Won { group: GROUP, order: ORDER, .. }), "{told:?}");
    let (_, told) = order(Origin::Checkout);
    assert_eq!(whom(&told), [to(BOB, Kind::OrderPlaced), to(ANN, Kind::OrderPlaced)]);
}

#[test]
fn a_guest_has_no_account_that_could_be_told() {
    let guest = order::Guest { contact: sealed(BOB, "x"), confirmation: order::Confirmation::Phone };
    let terms = Terms { guest: Some(guest), ..terms(Origin::Storefront) };
    let mut context = Context::default();
    assert_eq!(whom(&context.take_order(ORDER, &order::Event::OrderPlaced { terms })), [to(ANN, Kind::OrderPlaced)]);
    assert_eq!(whom(&context.take_order(ORDER, &order::Event::OrderCompleted {})), []);
}

#[test]
fn the_other_side_of_an_order_is_told() {
    let (mut context, _) = order(Origin::Checkout);
    let mut told = |event| whom(&context.take_order(ORDER, &event));
    assert_eq!(told(order::Event::OrderPaid {}), [to(BOB, Kind::OrderPaid), to(ANN, Kind::OrderPaid)]);
    let shipped =
        order::Event::OrderShipped { carrier: "Post".to_owned(), tracking: None, ask_at: None, dispute_at: None };
    assert_eq!(told(shipped), [to(BOB, Kind::OrderShipped)]);
    let delivered = |by| order::Event::OrderDelivered { by };
    assert_eq!(told(delivered(Witness::Buyer)), [to(ANN, Kind::OrderDelivered)]);
    assert_eq!(told(delivered(Witness::Seller)), [to(BOB, Kind::OrderDelivered)]);
    assert_eq!(told(order::Event::OrderCompleted {}), [to(BOB, Kind::FeedbackRequest)]);
    let cancelled = |cause| order::Event::OrderCancelled { cause };
    let reason = || "No.".to_owned();
    assert_eq!(told(cancelled(CancelCause::Buyer { reason: reason() })), [to(ANN, Kind::OrderCancelled)]);
    assert_eq!(told(cancelled(CancelCause::Seller { reason: reason() })), [to(BOB, Kind::OrderCancelled)]);
    assert_eq!(told(cancelled(CancelCause::NotPaid)).len(), 2);
}

#[test]
fn both_sides_are_told_of_a_dispute_and_each_what_it_gets_of_a_split() {
    let (mut context, _) = order(Origin::Checkout);
    let (reason, expires_at) = ("Scratched.".to_owned(), Timestamp::UNIX_EPOCH);
    let disputed = escrow::Event::EscrowDisputed { by: escrow::Disputant::Buyer, reason, expires_at };
    let told = context.take_escrow(ORDER, &disputed);
    assert_eq!(whom(&told), [to(BOB, Kind::Dispute), to(ANN, Kind::Dispute)]);
    assert!(matches!(told[0].notice, Notice::Dispute { own: true, .. }), "{told:?}");
    assert!(matches!(told[1].notice, Notice::Dispute { own: false, .. }), "{told:?}");
    let split = escrow::Event::EscrowSplit {
        to_buyer: usd(400),
        kept: usd(600),
        fee: usd(12),
        by: CID,
        from_points: None,
        postings: vec![],
    };
    let told = context.take_escrow(ORDER, &split);
    assert!(matches!(told[0].notice, Notice::EscrowRefunded { amount, .. } if amount == usd(400)), "{told:?}");
    assert!(matches!(told[1].notice, Notice::EscrowReleased { amount, .. } if amount == usd(588)), "{told:?}");
}

#[test]
fn whoever_is_written_to_is_told_again_once_they_have_looked() {
    let (mut context, chat) = (Context::default(), ChatId(Uuid::from_u128(13)));
    let terms = chat::Terms { buyer: BOB, seller: ANN, about: chat::Subject::Order(ORDER) };
    assert_eq!(context.take_chat(chat, &chat::Event::ChatOpened { terms, by: BOB }), []);
    let mut wrote = |author: AccountId, recipient: AccountId| {
        let (message, text, sent_at) = (MessageId(Uuid::nil()), sealed(author, "x"), Timestamp::UNIX_EPOCH);
        whom(&context.take_chat(chat, &chat::Event::MessageSent { message, author, recipient, text, sent_at }))
    };
    assert_eq!(wrote(BOB, ANN), [to(ANN, Kind::Message)]);
    assert_eq!(wrote(BOB, ANN), []);
    // Whoever answers has looked.
    assert_eq!(wrote(ANN, BOB), [to(BOB, Kind::Message)]);
    assert_eq!(wrote(BOB, ANN), [to(ANN, Kind::Message)]);
    context.take_chat(chat, &chat::Event::ChatRead { reader: ANN, upto: 4 });
    let (message, text, sent_at) = (MessageId(Uuid::nil()), sealed(BOB, "x"), Timestamp::UNIX_EPOCH);
    let again = chat::Event::MessageSent { message, author: BOB, recipient: ANN, text, sent_at };
    assert_eq!(whom(&context.take_chat(chat, &again)), [to(ANN, Kind::Message)]);
}

#[test]
fn the_former_mailbox_is_told_when_an_address_changes() {
    let (first, next) = (sealed(ANN, "first"), sealed(ANN, "next"));
    let identity = Identity { email: first.clone(), user_name: sealed(ANN, "ann"), password_hash: None };
    let mut context = Context::default();
    let registered = account::Event::AccountRegistered { identity, capabilities: BTreeSet::new() };
    assert_eq!(context.take_account(ANN, &registered), []);
    let mut verified =
        |email: &Sealed<String>| context.take_account(ANN, &account::Event::EmailVerified { email: email.clone() });
    assert_eq!(verified(&first), [Told::to(ANN, Notice::Welcome {})]);
    assert_eq!(verified(&first), []);
    assert_eq!(verified(&next), [Told { mailbox: Some(first), ..Told::to(ANN, Notice::EmailChanged {}) }]);
    assert_eq!(verified(&next), []);
}

#[test]
fn the_owner_is_told_of_a_payment_method_that_somebody_has_added() {
    let added = |label| {
        let (method, at) =
            (MethodId(Uuid::nil()), PaymentMethod { provider: "sandbox".to_owned(), token: "x".to_owned() });
        Context::of_payee(ANN, &payee::Event::MethodAdded { method, at, label, added_at: Timestamp::UNIX_EPOCH })
    };
    assert_eq!(added(Some(sealed(ANN, "bank"))), [Told::to(ANN, Notice::MethodAdded {})]);
    // It came by itself.
    assert_eq!(added(None), []);
    let notice = Notice::MethodAdded {}.kind();
    assert!(notice.fixed().in_app && notice.fixed().email && notice.usual().live && notice.is_urgent());
}
