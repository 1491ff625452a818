//! What the documented tokens do.

use chrono::{TimeZone, Utc};
use domain::Currency;

use super::*;

fn now() -> Timestamp {
    Utc.timestamp_opt(1_700_000_000, 0).unwrap()
}

fn charge(token: &str) -> Charge {
    Charge {
        operation: Uuid::nil(),
        amount: Money::new(10_000, Currency::USD).unwrap(),
        token: token.to_owned(),
        reference: None,
        requested_at: now(),
        now: now(),
        check_at: None,
    }
}

fn again(token: &str, now: Timestamp) -> Charge {
    Charge { now, check_at: Some(self::now() + DELAY), ..charge(token) }
}

#[test]
fn a_delayed_charge_succeeds_exactly_when_it_said_it_would() {
    let check_at = now() + DELAY;
    let waits = |outcome: &Outcome| matches!(outcome, Outcome::Pending { check_at: at, .. } if *at == check_at);
    assert!(waits(&charged(&charge(DELAYS))));
    assert!(waits(&charged(&again(DELAYS, check_at - TimeDelta::milliseconds(1)))));
    assert!(matches!(charged(&again(DELAYS, check_at)), Outcome::Succeeded { .. }));
}

#[test]
fn what_waits_for_the_user_tells_what_to_do_and_how_it_went() {
    for token in [NEEDS_ACTION, ABANDONS] {
        let Outcome::ActionRequired { action, check_at, .. } = charged(&charge(token)) else { panic!("{token}") };
        assert!(action.redirect_url.is_some() && action.client_secret.is_some());
        assert_eq!(check_at, now() + DELAY);
    }
    assert!(matches!(charged(&again(NEEDS_ACTION, now() + DELAY)), Outcome::Succeeded { .. }));
    assert!(matches!(charged(&again(ABANDONS, now() + DELAY)), Outcome::Declined { .. }));
}

#[test]
fn what_it_keeps_is_told_with_the_charge() {
    let Outcome::Succeeded { fee, .. } = charged(&charge(FEES)) else { panic!("declined") };
    assert_eq!(fee, Some(Money::new(290, Currency::USD).unwrap()));
}

#[test]
fn the_same_charge_has_the_same_outcome() {
    for token in [SUCCEEDS, FEES, DECLINES, DISPUTES, "no-such-token"] {
        let later = Charge { now: now() + DELAY, ..charge(token) };
        assert_eq!(charged(&charge(token)), charged(&later));
    }
}

#[test]
fn only_what_is_said_to_be_disputed_or_sent_back_is() {
    let amount = charge(SUCCEEDS).amount;
    for token in TOKENS {
        let after = Sandbox::default().aftermath(Uuid::nil(), token, amount, now());
        assert_eq!(after.len(), usize::from([DISPUTES, RETURNS].contains(&token)), "{token}");
    }
}

#[test]
fn a_webhook_is_read_if_it_is_signed_and_says_nothing_unknown() {
    let secret = Secret::new("whsec_1");
    let sandbox = Sandbox { webhook_secrets: vec![secret.clone()] };
    let read = |body: &str| {
        let header = signature::sign(body.as_bytes(), &secret, now());
        sandbox.read_webhook(&Headers::from_iter([("Tradepost-Signature", header)]), body.as_bytes(), now())
    };
    let of = |news: &str| format!(r#"{{"id":"evt_1","at":"2026-11-22T10:00:00Z","reference":"ch_1","news":{news}}}"#);
    let read_notices = read(&of(r#"{"type":"charge.failed","reason":"no"}"#)).unwrap();
    assert_eq!(read_notices[0].what, What::ChargeFailed { reason: "no".to_owned() });
    for body in ["", "[]", &of(r#"{"type":"charge.failed"}"#), &of(r#"{"type":"charge.eaten"}"#)] {
        assert!(matches!(read(body), Err(BadWebhook::Unreadable(_))), "{body}");
    }
    let unsigned = sandbox.read_webhook(&Headers::default(), b"{}", now());
    assert_eq!(unsigned, Err(BadWebhook::Unsigned));
    let silent = Sandbox::default().read_webhook(&Headers::default(), b"{}", now());
    assert_eq!(silent, Err(BadWebhook::NotTaken));
}

/// A signature says who tells it, not that it can be so.
#[test]
fn a_webhook_of_an_amount_that_is_not_above_zero_is_not_taken() {
    let secret = Secret::new("whsec_1");
    let sandbox = Sandbox { webhook_secrets: vec![secret.clone()] };
    let usd = |minor| Money::new(minor, Currency::USD).unwrap();
    let charged = |minor, fee: Option<i64>| News::ChargeSucceeded { amount: usd(minor), fee: fee.map(usd) };
    let disputed =
        |minor| News::DisputeOpened { dispute: "dp_1".to_owned(), amount: usd(minor), reason: String::new() };
    let possible = [charged(1, None), charged(1, Some(0)), disputed(1)].map(|news| (news, true));
    let impossible = [charged(0, None), charged(-1, None), charged(1, Some(-1)), disputed(0), disputed(-1)]
        .map(|news| (news, false));
    for (news, taken) in possible.into_iter().chain(impossible) {
        let message =
            Message { id: "evt_1".to_owned(), at: now(), operation: None, reference: "ch_1".to_owned(), news };
        let body = serde_json::to_string(&message).unwrap();
        let header = signature::sign(body.as_bytes(), &secret, now());
        let read = sandbox.read_webhook(&Headers::from_iter([("Tradepost-Signature", header)]), body.as_bytes(), now());
        assert!(if taken { read.is_ok() } else { matches!(read, Err(BadWebhook::Unreadable(_))) }, "{body}: {read:?}");
    }
}

#[test]
fn what_cannot_be_charged_is_not_named() {
    let Outcome::Declined { reason } = charged(&charge("acct_1")) else { panic!("it was charged") };
    assert!(!reason.contains("acct_1"), "{reason}");
}
