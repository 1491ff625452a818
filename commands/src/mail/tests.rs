//! Which letters events call for.

use chrono::DateTime;
use domain::account::{Challenge, Identity};
use domain::notice::Words;
use domain::order::{self, CancelCause, Origin, Payment, Terms};
use domain::wallet::PaymentMethod;
use domain::{BroadcastId, ChallengeId, MethodId, OrderGroupId, OrderId, Timestamp, broadcast, payee};

use super::*;

const ANN: AccountId = AccountId(Uuid::from_u128(1));
const BOB: AccountId = AccountId(Uuid::from_u128(2));
const ORDER: OrderId = OrderId(Uuid::from_u128(3));

fn field(of: AccountId, text: &str) -> Sealed<String> {
    Sealed::from_ciphertext(of, text.to_owned())
}

fn joined(id: AccountId, capabilities: &[Capability]) -> DomainEvent {
    let identity = Identity { email: field(id, "first"), user_name: field(id, "name"), password_hash: None };
    let capabilities = capabilities.iter().copied().collect();
    DomainEvent::Account(id, account::Event::AccountRegistered { identity, capabilities })
}

fn asked(id: AccountId, email: &str) -> DomainEvent {
    let at = Timestamp::UNIX_EPOCH;
    let challenge =
        Challenge { id: ChallengeId(Uuid::from_u128(7)), email: field(id, email), asked_at: at, expires_at: at };
    DomainEvent::Account(id, account::Event::EmailChallenged { challenge })
}

fn verified(id: AccountId, email: &str) -> DomainEvent {
    DomainEvent::Account(id, account::Event::EmailVerified { email: field(id, email) })
}

fn prefers(id: AccountId, kind: Kind, email: bool) -> DomainEvent {
    let preferences = BTreeMap::from([(kind, Channels { email, ..Channels::ALL })]);
    DomainEvent::Inbox(id, inbox::Event::PreferencesChanged { preferences })
}

fn added(id: AccountId, label: Option<Sealed<String>>) -> DomainEvent {
    let at = PaymentMethod { provider: "sandbox".to_owned(), token: "x".to_owned() };
    let (method, added_at) = (MethodId(Uuid::from_u128(8)), Timestamp::UNIX_EPOCH);
    DomainEvent::Payee(id, payee::Event::MethodAdded { method, at, label, added_at })
}

/// An order of Bob's from Ann, called off by the marketplace.
fn order() -> [DomainEvent; 2] {
    let terms = Terms {
        group: OrderGroupId(Uuid::from_u128(4)),
        buyer: BOB,
        seller: ANN,
        origin: Origin::Checkout,
        lines: vec![],
        delivery: domain::listing::Delivery::Physical,
        ship_to: None,
        payment: Payment::Escrow,
        guest: None,
    };
    let cancelled = order::Event::OrderCancelled { cause: CancelCause::NotPaid };
    [order::Event::OrderPlaced { terms }, cancelled].map(|event| DomainEvent::Order(ORDER, event))
}

fn announced(to: Addressee) -> DomainEvent {
    let words = Words::Open { title: "Tonight".to_owned(), body: "Away.".to_owned() };
    let (reason, until) = (field(ANN, "why"), Timestamp::UNIX_EPOCH);
    let sent = broadcast::Event::BroadcastSent { to, words, by: ANN, reason, until };
    DomainEvent::Broadcast(BroadcastId(Uuid::from_u128(9)), sent)
}

fn recorded(position: i64, event: DomainEvent) -> Recorded {
    let recorded_at = DateTime::from_timestamp_millis(position).unwrap();
    let event_id = Uuid::from_u128(u128::from(position.unsigned_abs()));
    Recorded { position, commit_position: position, event_id, sequence: position, recorded_at, act: None, event }
}

fn calls(events: impl IntoIterator<Item = DomainEvent>) -> Calls {
    let mut calls = Calls::default();
    for (position, event) in (1..).zip(events) {
        let recorded = recorded(position, event);
        let told = calls.contexts.take(&recorded.event);
        calls.take(&recorded, told);
    }
    calls
}

/// To whom, at which address, about what.
fn letters(events: impl IntoIterator<Item = DomainEvent>) -> Vec<(Uuid, String, Kind)> {
    calls(events).letters.into_iter().map(|letter| (letter.account_id, letter.mailbox, letter.kind)).collect()
}

fn to(account: AccountId, mailbox: &str, kind: Kind) -> (Uuid, String, Kind) {
    (account.0, mailbox.to_owned(), kind)
}

#[test]
fn an_address_that_nobody_has_verified_gets_its_question_alone() {
    let people = || vec![joined(ANN, &[]), asked(ANN, "first"), joined(BOB, &[])];
    assert_eq!(letters(people().into_iter().chain(order())), [to(ANN, "first", Kind::Verify)]);
    let verified = people().into_iter().chain([verified(ANN, "first")]).chain(order());
    assert_eq!(
        letters(verified),
        [
            to(ANN, "first", Kind::Verify),
            to(ANN, "first", Kind::Welcome),
            to(ANN, "first", Kind::OrderPlaced),
            to(ANN, "first", Kind::OrderCancelled),
        ]
    );
}

#[test]
fn a_question_goes_where_it_is_about_and_a_change_is_told_to_the_former_mailbox() {
    let changes = [joined(ANN, &[]), verified(ANN, "first"), asked(ANN, "next"), verified(ANN, "next")];
    assert_eq!(
        letters(changes.into_iter().chain(order())),
        [
            to(ANN, "first", Kind::Welcome),
            to(ANN, "next", Kind::Verify),
            to(ANN, "first", Kind::Security),
            to(ANN, "next", Kind::OrderPlaced),
            to(ANN, "next", Kind::OrderCancelled),
        ]
    );
}

#[test]
fn whoever_has_another_payment_method_is_written_to_whatever_they_want() {
    let people = [joined(ANN, &[]), prefers(ANN, Kind::Security, false)];
    let methods = [added(ANN, Some(field(ANN, "bank"))), added(ANN, None)];
    assert_eq!(letters(people.into_iter().chain(methods)), [to(ANN, "first", Kind::Security)]);
}

#[test]
fn somebody_is_written_to_about_what_they_want_from_then_on() {
    let people = [joined(ANN, &[]), verified(ANN, "first"), prefers(ANN, Kind::OrderPlaced, false)];
    assert_eq!(
        letters(people.into_iter().chain(order())),
        [to(ANN, "first", Kind::Welcome), to(ANN, "first", Kind::OrderCancelled),]
    );
}

#[test]
fn nobody_who_is_forgotten_is_written_to() {
    let gone = DomainEvent::Account(ANN, account::Event::AccountErased {});
    let calls = calls([joined(ANN, &[]), verified(ANN, "first"), gone].into_iter().chain(order()));
    assert_eq!(calls.letters.len(), 1, "that of the welcome");
    assert_eq!(calls.gone, BTreeSet::from([ANN.0]));
    assert!(calls.people.is_empty() && calls.changed.is_empty());
}

#[test]
fn what_is_said_to_several_is_one_mailing() {
    let calls =
        calls([joined(ANN, &[]), announced(Addressee::Everybody), announced(Addressee::Holders(Capability::Sell))]);
    assert!(calls.letters.is_empty());
    let to: Vec<_> = calls.mailings.iter().map(|mailing| mailing.capability).collect();
    assert_eq!(to, [None, Some(Capability::Sell)]);
}

#[tokio::test]
async fn what_is_beyond_the_letters_of_a_day_is_parked_but_for_what_keeps_an_account_safe() {
    let database = eventstore::testing::database().await;
    let mut connection = database.pool(1).acquire().await.unwrap().detach();
    let beyond = usize::try_from(MOST_PER_DAY).unwrap() + 3;
    let mut calls = calls([joined(ANN, &[]), verified(ANN, "first")]);
    calls.letters.clear();
    let [placed, cancelled] = order();
    let mut position = 10;
    let mut take = |calls: &mut Calls, event: DomainEvent| {
        position += 1;
        let recorded = recorded(position, event);
        let told = calls.contexts.take(&recorded.event);
        calls.take(&recorded, told);
    };
    take(&mut calls, placed);
    for _ in 0..beyond {
        take(&mut calls, cancelled.clone());
    }
    take(&mut calls, asked(ANN, "first"));
    take(&mut calls, added(ANN, Some(field(ANN, "bank"))));
    calls.letters.retain(|letter| letter.account_id == ANN.0);
    // In two batches, so that those of the first are counted as well.
    let rest = calls.letters.split_off(100);
    calls.store(&mut connection).await.unwrap();
    Calls { letters: rest, ..Calls::default() }.store(&mut connection).await.unwrap();
    let count = "select count(*) filter (where state = 'parked'), count(*) filter (where urgent and state = 'waiting'),
        count(*) from letters";
    let (parked, urgent, all): (i64, i64, i64) = sqlx::query_as(count).fetch_one(&mut connection).await.unwrap();
    // That there is an order was told before.
    assert_eq!((parked, urgent, all), (4, 2, MOST_PER_DAY + 6));
}
