//! The provider `stripe` at a server that speaks as Stripe does and that nobody here wrote.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::config::Config;
use api::outgoing;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use chrono::TimeDelta;
use commands::payments::stripe::Stripe as Provider;
use commands::payments::{Charge, Onboarding, Outcome, PaymentProvider, Payout, RecordKind, Refund};
use domain::{Money, Timestamp};
use eventstore::clock::Clock;
use eventstore::mint;
use serde_json::{Value, json};
use tradepost_tests::bazaar::{Bazaar, order_of};
use tradepost_tests::client::Client;
use tradepost_tests::server::InProcess;
use tradepost_tests::stripe::{DECLINED_CARD, GOOD_CARD, Stripe};

/// What has not come by then will not come: localstripe tells what happens a second later.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

fn provider(settings: &api::config::Stripe) -> Provider {
    let agreed = settings.agreed("https://shop.example").unwrap();
    Provider::new(agreed, outgoing::client().unwrap()).unwrap()
}

fn now() -> Timestamp {
    Clock::real_now()
}

fn money(minor: i64, currency: &str) -> Money {
    Money::new(minor, currency.parse().unwrap()).unwrap()
}

fn charge(token: &str) -> Charge {
    let (operation, amount, token) = (mint::id(), money(1_099, "USD"), token.to_owned());
    Charge { operation, amount, token, reference: None, requested_at: now(), now: now(), check_at: None }
}

/// The same operation, asked about again by the name that it has got.
fn again(charge: &Charge, reference: &str) -> Charge {
    Charge { reference: Some(reference.to_owned()), check_at: Some(now()), ..charge.clone() }
}

#[track_caller]
fn reference(outcome: Outcome) -> String {
    match outcome {
        Outcome::Succeeded { reference, .. }
        | Outcome::ActionRequired { reference, .. }
        | Outcome::Pending { reference: Some(reference), .. } => reference,
        other @ (Outcome::Declined { .. } | Outcome::Pending { reference: None, .. }) => panic!("{other:?}"),
    }
}

fn refused(reason: &str) -> Outcome {
    Outcome::Declined { reason: reason.to_owned() }
}

#[tokio::test]
async fn a_card_is_charged_once_however_often_it_is_asked_and_answers_are_lost() {
    let stripe = Stripe::start().await;
    let provider = provider(&stripe.settings());
    let charge = charge(GOOD_CARD);
    stripe.loses_answers(1);
    assert!(provider.charge(&charge).await.is_err());
    let first = provider.charge(&charge).await.unwrap();
    let second = provider.charge(&charge).await.unwrap();
    assert!(matches!(first, Outcome::Succeeded { .. }) && first == second, "{first:?} {second:?}");
    let third = provider.charge(&again(&charge, &reference(first.clone()))).await.unwrap();
    assert_eq!(third, first);
    let [intent] = <[Value; 1]>::try_from(stripe.all("/v1/payment_intents").await).unwrap();
    assert_eq!((&intent["amount"], &intent["currency"]), (&json!(1_099), &json!("usd")));
    assert_eq!(intent["metadata"]["operation"], json!(charge.operation));
    assert_eq!(intent["id"], json!(reference(first)));
}

#[tokio::test]
async fn yen_are_charged_as_they_are_and_dinars_end_in_a_zero() {
    let stripe = Stripe::start().await;
    let provider = provider(&stripe.settings());
    let yen = Charge { amount: money(1_099, "JPY"), ..charge(GOOD_CARD) };
    let dinars = Charge { amount: money(5_120, "KWD"), ..charge(GOOD_CARD) };
    for charge in [&yen, &dinars] {
        assert!(matches!(provider.charge(charge).await.unwrap(), Outcome::Succeeded { .. }));
    }
    let odd = Charge { amount: money(5_124, "KWD"), ..charge(GOOD_CARD) };
    assert!(matches!(provider.charge(&odd).await.unwrap(), Outcome::Declined { .. }));
    let mut charged: Vec<_> = stripe.all("/v1/payment_intents").await;
    charged.sort_by_key(|intent| intent["amount"].as_i64());
    let charged: Vec<_> = charged.iter().map(|intent| (&intent["amount"], &intent["currency"])).collect();
    assert_eq!(charged, [(&json!(1_099), &json!("jpy")), (&json!(5_120), &json!("kwd"))]);
}

#[tokio::test]
async fn a_bank_that_says_no_is_final_and_a_card_that_is_none_too() {
    let stripe = Stripe::start().await;
    let provider = provider(&stripe.settings());
    let declined = charge(DECLINED_CARD);
    for _ in 0..2 {
        assert_eq!(provider.charge(&declined).await.unwrap(), refused("Your card was declined."));
    }
    let nothing = provider.charge(&charge("pm_that_is_not_there")).await.unwrap();
    assert_eq!(nothing, refused("the payment provider does not take this"));
}

#[tokio::test]
async fn a_payer_proves_to_the_bank_who_they_are_or_fails_and_cannot_pay_any_more() {
    let stripe = Stripe::start().await;
    let provider = provider(&stripe.settings());
    for proves in [true, false] {
        let charge = charge(&stripe.card_that_asks().await);
        let begun = provider.charge(&charge).await.unwrap();
        let Outcome::ActionRequired { reference, action, .. } = &begun else { panic!("{begun:?}") };
        let secret = action.client_secret.clone().unwrap();
        let waiting = provider.charge(&again(&charge, reference)).await.unwrap();
        assert!(matches!(waiting, Outcome::ActionRequired { .. }), "{waiting:?}");
        stripe.authenticate(reference, secret.expose(), proves).await;
        let ended = provider.charge(&again(&charge, reference)).await.unwrap();
        if proves {
            assert!(matches!(ended, Outcome::Succeeded { .. }), "{ended:?}");
        } else {
            assert_eq!(ended, refused("The provided PaymentMethod has failed authentication."));
            let intents = stripe.all("/v1/payment_intents").await;
            let intent = intents.iter().find(|intent| intent["id"] == json!(reference)).unwrap();
            assert_eq!(intent["status"], "canceled");
        }
    }
}

#[tokio::test]
async fn parts_go_back_to_the_card_once_each() {
    let stripe = Stripe::start().await;
    let provider = provider(&stripe.settings());
    let charge = charge(GOOD_CARD);
    let paid = reference(provider.charge(&charge).await.unwrap());
    let refund = |minor: i64| Refund {
        operation: mint::id(),
        amount: money(minor, "USD"),
        charge: paid.clone(),
        token: GOOD_CARD.to_owned(),
        reference: None,
        now: now(),
        check_at: None,
    };
    let (first, second) = (refund(300), refund(799));
    let name = reference(provider.refund(&first).await.unwrap());
    stripe.loses_answers(1);
    assert!(provider.refund(&second).await.is_err());
    // Looked for and found, where it may have been made.
    let known = Refund { check_at: Some(now()), ..second.clone() };
    assert!(matches!(provider.refund(&known).await.unwrap(), Outcome::Succeeded { .. }));
    let by_name = Refund { reference: Some(name.clone()), ..first.clone() };
    assert_eq!(reference(provider.refund(&by_name).await.unwrap()), name);
    let mut made: Vec<_> = stripe.all("/v1/refunds").await;
    made.sort_by_key(|refund| refund["amount"].as_i64());
    let made: Vec<_> = made.iter().map(|refund| (refund["amount"].clone(), refund["metadata"].clone())).collect();
    let expected =
        [&first, &second].map(|refund| (json!(refund.amount.minor()), json!({ "operation": refund.operation })));
    assert_eq!(made, expected);

    let records = provider.records(now() - TimeDelta::hours(1), now() + TimeDelta::hours(1)).await.unwrap();
    let mut lines: Vec<_> =
        records.iter().map(|record| (record.kind, record.amount.minor(), record.operation)).collect();
    lines.sort_unstable();
    let expected = [
        // localstripe does not copy the metadata of an intent to its charge.
        (RecordKind::Charge, 1_099, None),
        (RecordKind::Refund, -799, Some(second.operation)),
        (RecordKind::Refund, -300, Some(first.operation)),
    ];
    assert_eq!(lines, expected);
    let of_charge = records.iter().find(|record| record.kind == RecordKind::Charge).unwrap();
    assert_eq!(of_charge.reference, paid);
}

#[tokio::test]
async fn a_merchant_is_paid_out_once_and_what_comes_back_is_taken_back() {
    let stripe = Stripe::start().await;
    let provider = provider(&stripe.settings());
    let onboarding = Onboarding { operation: mint::id(), reference: None, now: now() };
    let link = provider.onboard(&onboarding).await.unwrap();
    assert_eq!(provider.onboard(&onboarding).await.unwrap().reference, link.reference);
    assert!(!provider.merchant(&link.reference).await.unwrap().payouts);
    let payout = Payout {
        operation: mint::id(),
        amount: money(5_000, "EUR"),
        destination: link.reference,
        reference: None,
        now: now(),
        check_at: None,
    };
    // Of the transfer, and of the payout: each is asked for again, and happens once.
    for _ in 0..2 {
        stripe.loses_answers(1);
        assert!(provider.payout(&payout).await.is_err());
    }
    let name = reference(provider.payout(&payout).await.unwrap());
    let counts = async || (stripe.all("/v1/transfers").await.len(), stripe.all("/v1/payouts").await.len());
    assert_eq!(counts().await, (1, 1));
    let look = Payout { reference: Some(name.clone()), check_at: Some(now()), ..payout };
    assert!(matches!(provider.payout(&look).await.unwrap(), Outcome::Pending { .. }));
    stripe.bank_says(&name, "paid").await;
    assert!(matches!(provider.payout(&look).await.unwrap(), Outcome::Succeeded { .. }));
    stripe.bank_says(&name, "failed").await;
    for _ in 0..2 {
        assert_eq!(provider.payout(&look).await.unwrap(), refused("The bank account has been closed"));
    }
    let [transfer] = <[Value; 1]>::try_from(stripe.all("/v1/transfers").await).unwrap();
    assert_eq!((&transfer["amount"], &transfer["amount_reversed"]), (&json!(5_000), &json!(5_000)));
    let reversals = stripe.asked().iter().filter(|asked| asked.ends_with("/reversals")).count();
    assert_eq!((counts().await, reversals), ((1, 1), 1));
}

/// Whoever answers that Stripe is elsewhere gets neither the key nor the question sent there.
#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let elsewhere = Arc::new(AtomicUsize::new(0));
    let counting = elsewhere.clone();
    let other = Router::new().fallback(move || {
        counting.fetch_add(1, Ordering::SeqCst);
        std::future::ready(StatusCode::OK)
    });
    let listen = async || tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (there, here) = (listen().await, listen().await);
    let address = format!("http://{}/", there.local_addr().unwrap());
    let moved = Router::new().fallback(move || {
        std::future::ready((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, address.clone())]).into_response())
    });
    let settings = api::config::Stripe {
        api_base: format!("http://{}", here.local_addr().unwrap()),
        api_key: Some(api::config::Secret::new("sk_test_1".to_owned())),
        ..api::config::Stripe::default()
    };
    tokio::spawn(async move { axum::serve(there, other).await });
    tokio::spawn(async move { axum::serve(here, moved).await });
    assert!(provider(&settings).charge(&charge(GOOD_CARD)).await.is_err());
    assert_eq!(elsewhere.load(Ordering::SeqCst), 0);
}

/// A marketplace whose payment provider is this one.
async fn marketplace(stripe: &Stripe) -> InProcess {
    InProcess::start_with(Config { stripe: stripe.settings(), ..Config::default() }).await
}

/// What somebody has, once it is as much.
async fn expect_available(who: &Client, cents: i64) {
    let come = async {
        while who.available(0).await != cents {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, come).await.unwrap_or_else(|_| panic!("{cents} cents have not come"));
}

#[tokio::test]
async fn a_deposit_by_card_is_in_the_wallet_and_one_that_is_declined_is_not() {
    let stripe = Stripe::start().await;
    let server = marketplace(&stripe).await;
    let ann = server.client().register("ann").await;
    ann.deposit(5_000, GOOD_CARD).await.expect(202);
    expect_available(&ann, 5_000).await;
    ann.deposit(7_000, DECLINED_CARD).await.expect(202);
    let told = ann.advance(0).await;
    assert_eq!(ann.available(told).await, 5_000);
    let page = ann.get("/payments/transactions").since(told).send().await.expect(200).body;
    assert_eq!(page["items"][0]["failure"], "Your card was declined.");
    ann.deposit(1_000, "tok_visa").await.problem(422, "invalid-field");
}

#[tokio::test]
async fn the_token_of_a_card_that_is_kept_is_shown_to_nobody() {
    let stripe = Stripe::start().await;
    let server = marketplace(&stripe).await;
    let ann = server.client().register("ann").await;
    let card = ann.keep_method(&stripe.card_that_asks().await).await;
    let asked = ann.deposit(5_000, &card).await.expect(202);
    assert_eq!(asked.body["status"], "action_required");
    let told = ann.advance(0).await;
    for path in ["/payments/methods", "/payments/transactions"] {
        let answer = ann.get(path).since(told).send().await.expect(200);
        assert_eq!(answer.body["items"][0]["provider"], "stripe", "{path}");
        assert!(!answer.text.contains("cus_") && !answer.text.contains("pm_"), "{}", answer.text);
    }
}

/// No clock is set forward here: the webhook alone says that the payer has proved who they are.
#[tokio::test]
async fn a_webhook_settles_a_deposit_that_waits_for_the_payer() {
    let stripe = Stripe::start().await;
    let server = marketplace(&stripe).await;
    stripe.tells(&format!("{}/api/v1/payments/webhooks/stripe", server.address())).await;
    let ann = server.client().register("ann").await;
    let asked = ann.deposit(5_000, &stripe.card_that_asks().await).await.expect(202);
    assert_eq!(asked.body["status"], "action_required");
    let told = ann.advance(0).await;
    assert_eq!(ann.available(told).await, 0);
    let secret = asked.body["action"]["client_secret"].as_str().unwrap();
    let (intent, _) = secret.split_once("_secret_").unwrap();
    stripe.authenticate(intent, secret, true).await;
    expect_available(&ann, 5_000).await;
}

#[tokio::test]
async fn an_order_is_paid_by_card_and_what_the_seller_gives_back_is_in_the_wallet() {
    let stripe = Stripe::start().await;
    let server = marketplace(&stripe).await;
    let bazaar = Bazaar::at(server).await;
    let poor = bazaar.server.client().register("poor").await;
    let before = bazaar.book("provider-clearing").await;
    let listing = bazaar.offer(1).await;
    let order = order_of(&poor.check_out(&[(&listing, 1)], "later").await.expect(201));
    let pay = async |card: &str, key: &str| {
        let ask = poor.post(&format!("/orders/{order}/pay"), &json!({ "payment_method": card }));
        ask.key(key).send().await.expect(202)
    };
    pay(DECLINED_CARD, "first").await;
    bazaar.wait(0).await;
    assert_eq!(bazaar.statuses(&order).await.0, "placed");
    pay(GOOD_CARD, "second").await;
    bazaar.wait(0).await;
    assert_eq!(bazaar.statuses(&order).await, ("paid".to_owned(), "funded".to_owned()));
    assert_eq!((bazaar.book("escrow").await, bazaar.book("provider-clearing").await), (10_500, before - 10_500));
    let paid: Vec<_> = stripe.all("/v1/payment_intents").await;
    assert_eq!(paid.iter().filter(|intent| intent["status"] == "succeeded").count(), 1);
    bazaar.seller.tell(&order, "refund").await.expect(200);
    assert_eq!(poor.available(bazaar.wait(0).await).await, 10_500);
}
