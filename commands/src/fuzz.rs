//! Fuzz target of the write side: webhooks, their signatures and what they say.
//!
//! As a test it tries some inputs each time; `make fuzz TARGET=… INPUTS=…` tries as many as one likes.

use std::fs;
use std::path::Path;

use bolero::{TypeGenerator, check};
use chrono::{DateTime, TimeDelta};
use domain::{Currency, Money, Timestamp};
use eventstore::testing::damage::{self, Change};
use serde_json::Value;
use uuid::Uuid;

use crate::payments::provider::{BadWebhook, Headers, Notice, PaymentProvider as _, Secret, What};
use crate::payments::sandbox::{self, Message, News, Sandbox};
use crate::payments::signature::{self, TOLERANCE};
use crate::payments::stripe;

/// How many inputs the target tries as a test.
const TRIES: usize = 1_000;

/// A webhook, and what was done to it before it was signed, on its way, and to the header that signs it.
#[derive(Clone, Debug, TypeGenerator)]
struct Sent {
    message: u16,
    said: Vec<Change>,
    /// What else is wrong: mostly nothing, or one of the following.
    wrong: u8,
    on_its_way: Vec<Change>,
    header: Vec<Change>,
    /// How long it took, in seconds.
    late_s: i16,
}

/// A provider's way of reading a webhook.
type Read = fn(&Headers, &[u8], &[Secret], Timestamp) -> Result<Vec<Notice>, BadWebhook>;

#[test]
fn webhooks() {
    let providers: [(&str, Read, Vec<Value>); 2] = [
        (sandbox::SIGNATURE_HEADER, of_sandbox, sandbox_messages()),
        (stripe::SIGNATURE_HEADER, stripe::webhooks::read, stripe_messages()),
    ];
    let (secrets, other) = ([Secret::new("whsec_old"), Secret::new("whsec_new")], Secret::new("whsec_other"));
    let sent_at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    for (name, read, messages) in &providers {
        for message in messages {
            let body = message.to_string();
            let headers: Headers =
                [(*name, signature::sign(body.as_bytes(), &secrets[1], sent_at))].into_iter().collect();
            assert!(read(&headers, body.as_bytes(), &secrets, sent_at).is_ok(), "what is whole is read: {body}");
        }
    }
    // There are many kinds, and few amounts in them.
    check!().with_iterations(5 * TRIES).with_type::<Sent>().for_each(|sent: &Sent| {
        let (name, read, messages) = &providers[usize::from(sent.message) % 2];
        let message = &messages[usize::from(sent.message / 2) % messages.len()];
        let body = damage::of_json(message, damage::few(&sent.said)).to_string();
        let other_secret = sent.wrong % 8 == 4;
        let secret = if other_secret { &other } else { &secrets[1] };
        let header = signature::sign(body.as_bytes(), secret, sent_at);
        let on_its_way = if sent.wrong % 8 == 1 { damage::few(&sent.on_its_way) } else { &[] };
        let arrived = damage::of_bytes(body.as_bytes(), on_its_way);
        let of_header = if sent.wrong % 8 == 2 { damage::few(&sent.header) } else { &[] };
        let shown = damage::of_text(&header, of_header);
        let late_s = if sent.wrong % 8 == 3 { sent.late_s % 600 } else { 0 };
        let now = sent_at + TimeDelta::seconds(late_s.into());

        let late = (now - sent_at).abs() > TOLERANCE;
        let verified = signature::verify(Some(&shown), &arrived, &secrets, now);
        if other_secret || arrived != body.as_bytes() {
            assert!(verified.is_err(), "{shown} for {body}");
        } else if shown == header {
            assert_eq!(verified.is_ok(), !late, "{verified:?}");
        } else if verified.is_ok() {
            // More may stand beside it, and nothing else instead.
            let (time, digits) = header.split_once(",v1=").unwrap();
            assert!(shown.contains(time.trim_start_matches("t=")) && shown.to_ascii_lowercase().contains(digits));
            assert!(!late);
        }
        assert_eq!(signature::verify(Some(&shown), &arrived, &[], now), Err(BadWebhook::NotTaken));

        let headers: Headers = [(*name, shown)].into_iter().collect();
        match read(&headers, &arrived, &secrets, now) {
            Ok(notices) => {
                assert!(verified.is_ok());
                notices.iter().for_each(is_possible);
            }
            Err(BadWebhook::Unreadable(_)) => assert!(verified.is_ok()),
            Err(refused) => assert_eq!(verified, Err(refused)),
        }
    });
}

fn of_sandbox(headers: &Headers, body: &[u8], secrets: &[Secret], now: Timestamp) -> Result<Vec<Notice>, BadWebhook> {
    Sandbox { webhook_secrets: secrets.to_vec() }.read_webhook(headers, body, now)
}

fn is_possible(notice: &Notice) {
    if let What::ChargeSucceeded { amount, .. } | What::DisputeOpened { amount, .. } = &notice.what {
        assert!(amount.is_positive(), "{notice:?}");
    }
    if let What::ChargeSucceeded { fee: Some(fee), .. } = &notice.what {
        assert!(fee.minor() >= 0, "{notice:?}");
    }
}

/// One of each that the sandbox sends.
fn sandbox_messages() -> Vec<Value> {
    let money = |minor| Money::new(minor, Currency::USD).unwrap();
    let (dispute, reason) = (|| "dp_1".to_owned(), || "fraudulent".to_owned());
    let news = [
        News::ChargeSucceeded { amount: money(1_999), fee: Some(money(88)) },
        News::ChargeFailed { reason: reason() },
        News::ChargeActionRequired {},
        News::RefundSucceeded {},
        News::RefundFailed { reason: reason() },
        News::PayoutPaid {},
        News::PayoutFailed { reason: reason() },
        News::DisputeOpened { dispute: dispute(), amount: money(1_999), reason: reason() },
        News::DisputeWon { dispute: dispute() },
        News::DisputeLost { dispute: dispute() },
        News::MerchantChanged { payouts: true },
    ];
    let message = |news| Message {
        id: "evt_1".to_owned(),
        at: DateTime::UNIX_EPOCH,
        operation: Some(Uuid::from_u128(7)),
        reference: "ch_1".to_owned(),
        news,
    };
    news.into_iter().map(|news| serde_json::to_value(message(news)).unwrap()).collect()
}

/// The recorded shapes of what Stripe sends.
fn stripe_messages() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/payments/stripe/shapes");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("event.")));
    files.sort();
    assert!(!files.is_empty());
    files.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}
