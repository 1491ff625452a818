//! Signed webhooks: `t=<unix seconds>,v1=<hex>`, an HMAC-SHA-256 over the time, a dot and the raw body.
//!
//! The scheme is Stripe's; the sandbox has the same, in a header of its own. A signature is compared in constant time,
//! and holds for [`TOLERANCE`] around the time that it was made. Several secrets may be in use while one is replaced, and
//! several `v1` while the sender does so.

use chrono::{DateTime, TimeDelta};
use domain::Timestamp;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::provider::{BadWebhook, Secret};

/// How far from now a webhook may have been signed, in either direction.
pub const TOLERANCE: TimeDelta = TimeDelta::seconds(300);
/// The most signatures that are looked at in one header.
const MOST_SIGNATURES: usize = 8;

/// Whether `body` was signed with one of the secrets, not too far from `now`.
pub fn verify(header: Option<&str>, body: &[u8], secrets: &[Secret], now: Timestamp) -> Result<(), BadWebhook> {
    if secrets.is_empty() {
        return Err(BadWebhook::NotTaken);
    }
    let (signed_at, signatures) = header.and_then(parse).ok_or(BadWebhook::Unsigned)?;
    let of_body = |secret: &Secret, signature: &Vec<u8>| {
        keyed(secret, signed_at, body).is_some_and(|mac| mac.verify_slice(signature).is_ok())
    };
    if !secrets.iter().any(|secret| signatures.iter().any(|signature| of_body(secret, signature))) {
        return Err(BadWebhook::WrongSignature);
    }
    let off_by_s = signed_at.saturating_sub(now.timestamp());
    let signed_at = DateTime::from_timestamp(signed_at, 0);
    match signed_at.map(|signed_at| (now - signed_at).abs()) {
        Some(off) if off <= TOLERANCE => Ok(()),
        _ => Err(BadWebhook::Stale { off_by_s }),
    }
}

/// The header of a body that is signed at `at`.
pub fn sign(body: &[u8], secret: &Secret, at: Timestamp) -> String {
    let signed_at = at.timestamp();
    let signature = keyed(secret, signed_at, body).map(|mac| mac.finalize().into_bytes()).unwrap_or_default();
    format!("t={signed_at},v1={signature:x}")
}

/// HMAC takes keys of any length, so there always is one.
fn keyed(secret: &Secret, signed_at: i64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(signed_at.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

/// When it was signed, and the signatures of the scheme that we know. Others are the sender's past or future.
fn parse(header: &str) -> Option<(i64, Vec<Vec<u8>>)> {
    let mut signed_at = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" => signed_at = value.parse().ok(),
            "v1" if signatures.len() < MOST_SIGNATURES => signatures.extend(bytes(value)),
            _ => {}
        }
    }
    Some((signed_at.filter(|at| *at >= 0)?, signatures)).filter(|(_, signatures)| !signatures.is_empty())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Vec<Secret> {
        vec![Secret::new("whsec_old"), Secret::new("whsec_new")]
    }

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn signed() -> String {
        sign(BODY, &Secret::new("whsec_new"), at(0))
    }

    /// Computed with `openssl dgst -sha256 -hmac whsec_test` over `1700000000.{"id":"evt_1"}`.
    #[test]
    fn a_signature_is_what_anybody_else_computes() {
        let header = "t=1700000000,v1=c89214b5b5da833daed6f0b8c5bb6bd58cea9022bd80ccc78230f3942d632925";
        assert_eq!(sign(BODY, &Secret::new("whsec_test"), at(0)), header);
        assert_eq!(verify(Some(header), BODY, &[Secret::new("whsec_test")], at(0)), Ok(()));
    }

    #[test]
    fn it_holds_up_to_five_minutes_before_and_after() {
        for off in [-300, -1, 0, 1, 300] {
            assert_eq!(verify(Some(&signed()), BODY, &secrets(), at(off)), Ok(()), "{off} s");
        }
        for off in [-301, 301, 86_400] {
            let stale = BadWebhook::Stale { off_by_s: -off };
            assert_eq!(verify(Some(&signed()), BODY, &secrets(), at(off)), Err(stale));
        }
    }

    #[test]
    fn whatever_was_altered_is_not_what_was_signed() {
        let wrong = Err(BadWebhook::WrongSignature);
        assert_eq!(verify(Some(&signed()), br#"{"id":"evt_2"}"#, &secrets(), at(0)), wrong);
        assert_eq!(verify(Some(&signed()), BODY, &[Secret::new("whsec_other")], at(0)), wrong);
        let later = signed().replace("t=1700000000", "t=1700000001");
        assert_eq!(verify(Some(&later), BODY, &secrets(), at(0)), wrong);
    }

    #[test]
    fn what_cannot_be_read_is_unsigned_and_without_a_secret_nothing_is_taken() {
        let signature = signed().split_once("v1=").map(|(_, hex)| hex.to_owned()).unwrap();
        let headers = [
            String::new(),
            "t=1700000000".to_owned(),
            format!("v1={signature}"),
            format!("t=,v1={signature}"),
            format!("t=-1,v1={signature}"),
            format!("t=99999999999999999999,v1={signature}"),
            "t=1700000000,v1=".to_owned(),
            "t=1700000000,v1=zz".to_owned(),
            format!("t=1700000000,v0={signature}"),
            format!("t=1700000000,v1={}", "é".repeat(32)),
            // Which Rust reads as digits.
            format!("t=1700000000,v1={}", "+f".repeat(32)),
        ];
        for header in headers {
            assert_eq!(verify(Some(&header), BODY, &secrets(), at(0)), Err(BadWebhook::Unsigned), "{header}");
        }
        assert_eq!(verify(None, BODY, &secrets(), at(0)), Err(BadWebhook::Unsigned));
        assert_eq!(verify(Some(&signed()), BODY, &[], at(0)), Err(BadWebhook::NotTaken));
    }

    #[test]
    fn one_of_several_signatures_is_enough() {
        let both = signed().replace("v1=", &format!("v1={},v0=1,v1=", "0".repeat(64)));
        assert_eq!(verify(Some(&both), BODY, &secrets(), at(0)), Ok(()));
    }
}
