//! Fuzz targets of the API: what clients and other people's machines hand back to us as text.
//!
//! As tests they try some inputs each time; `make fuzz TARGET=… INPUTS=…` tries as many as one likes.
//! Socket tickets are looked up by their hash and never read, so there is nothing in them to stumble over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bolero::{TypeGenerator, check};
use chrono::{DateTime, Datelike as _, Utc};
use domain::{AccountId, ChallengeId, OrderId, SessionId};
use eventstore::past::{Moment, NoMoment};
use eventstore::proof::keys::ProofKey;
use eventstore::secrets::{Purpose, RootSecret};
use eventstore::testing::damage::{self, Change};
use projections::{
    accounts, affiliates, auction_board, catalogue, chats, escrows, ledger, orders, reports, reviews, staff_acts,
    statements, stores, subscriptions, wallet_statement,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth::refresh::RefreshToken;
use crate::auth::tokens::AccessTokens;
use crate::config;
use crate::export::manifest::{self, Manifest};
use crate::http::pages::{Cursor, Page};
use crate::http::routes::events::{LogCursor, StreamCursor};
use crate::http::routes::fees::FeesCursor;

/// How many inputs a target tries as a test.
const TRIES: usize = 1_000;

/// Something that was given out, and what was done to it.
#[derive(Clone, Debug, TypeGenerator)]
struct GivenBack {
    /// Which of several.
    number: u16,
    values: Vec<Change>,
    text: Vec<Change>,
}

// Cursors.

/// Reads a cursor of one kind of list.
type Read = fn(&str) -> Option<Value>;

/// Every kind of list, with the key of a row for each of its orders.
fn lists() -> Vec<(Read, Vec<Value>)> {
    let (id, time) = (Uuid::from_u128(7), "2026-11-22T10:00:00.123456Z");
    vec![
        (given_back::<accounts::Cursor>, vec![json!({ "registered_at": time, "id": id })]),
        (given_back::<accounts::ViolationCursor>, vec![json!({ "position": 17 })]),
        (given_back::<affiliates::Cursor>, vec![json!({ "accrued_at": time, "id": id })]),
        (
            given_back::<auction_board::Cursor>,
            vec![
                json!({ "sort": "newest", "scheduled_at": time, "id": id }),
                json!({ "sort": "ending_soon", "ends_at": time, "id": id }),
            ],
        ),
        (
            given_back::<catalogue::Cursor>,
            vec![
                json!({ "sort": "newest", "listed_at": time, "id": id }),
                json!({ "sort": "price_asc", "currency": "USD", "price": 1_999, "id": id }),
                json!({ "sort": "price_desc", "currency": "JPY", "price": 1_999, "id": id }),
                json!({ "sort": "ending_soon", "ends_at": time, "id": id }),
                json!({ "sort": "popular", "popularity": 17, "id": id }),
                json!({ "sort": "rating", "rating": 450, "id": id }),
                json!({ "sort": "relevance", "rank": 17, "id": id }),
            ],
        ),
        (given_back::<catalogue::FavoritesCursor>, vec![json!({ "added_at": time, "listing_id": id })]),
        (given_back::<chats::Cursor>, vec![json!({ "active_at": time, "id": id })]),
        (given_back::<escrows::Cursor>, vec![json!({ "opened_at": time, "order_id": id })]),
        (given_back::<ledger::Cursor>, vec![json!({ "position": 17, "ordinal": 2 })]),
        (given_back::<orders::Cursor>, vec![json!({ "placed_at": time, "id": id })]),
        (
            given_back::<reports::Cursor>,
            vec![
                json!({ "sort": "newest", "filed_at": time, "id": id }),
                json!({ "sort": "oldest", "filed_at": time, "id": id }),
            ],
        ),
        (
            given_back::<reviews::Cursor>,
            vec![
                json!({ "sort": "newest", "written_at": time, "id": id }),
                json!({ "sort": "helpful", "votes": 17, "id": id }),
                json!({ "sort": "highest", "rating": 5, "written_at": time, "id": id }),
                json!({ "sort": "lowest", "rating": 1, "written_at": time, "id": id }),
            ],
        ),
        (given_back::<reviews::FeedbackCursor>, vec![json!({ "given_at": time, "order_id": id })]),
        (given_back::<staff_acts::Cursor>, vec![json!({ "unit": 17 })]),
        (given_back::<statements::Cursor>, vec![json!({ "currency": "USD", "recorded_at": time, "sequence": 1 })]),
        (
            given_back::<stores::Cursor>,
            vec![
                json!({ "sort": "newest", "opened_at": time, "id": id }),
                json!({ "sort": "name", "name": "Ann's", "id": id }),
            ],
        ),
        (given_back::<subscriptions::Cursor>, vec![json!({ "purchased_at": time, "id": id })]),
        (
            given_back::<wallet_statement::Cursor>,
            vec![json!({ "requested_at": time, "sequence": 1, "currency": "USD" })],
        ),
        (given_back::<FeesCursor>, vec![json!({ "scope": "category", "id": "watches" })]),
        (given_back::<LogCursor>, vec![json!({ "position": 17, "newest": true })]),
        (given_back::<StreamCursor>, vec![json!({ "sequence": 17 })]),
        (given_back::<i64>, vec![json!(17)]),
    ]
}

#[test]
fn cursors() {
    let lists = lists();
    let encode = |key: &Value| URL_SAFE_NO_PAD.encode(key.to_string());
    let keys: Vec<_> = lists.iter().flat_map(|(read, keys)| keys.iter().map(move |key| (read, key))).collect();
    for (read, key) in &keys {
        assert_eq!(read(&encode(key)).as_ref(), Some(*key));
    }
    // There are many kinds, and few fields in each.
    check!().with_iterations(10 * TRIES).with_type::<GivenBack>().for_each(|drawn: &GivenBack| {
        let (_, key) = keys[usize::from(drawn.number) % keys.len()];
        let key = damage::of_json(key, damage::few(&drawn.values));
        // What is altered once it is encoded is hardly ever a cursor still.
        let text = if drawn.number.is_multiple_of(8) { damage::few(&drawn.text) } else { &[] };
        let cursor = damage::of_text(&encode(&key), text);
        for key in lists.iter().filter_map(|(read, _)| read(&cursor)) {
            assert!(is_storable(&key), "{key}");
        }
    });
}

/// The key that is in a cursor of such a list. It is given out again as it was read.
fn given_back<C: DeserializeOwned + Serialize>(cursor: &str) -> Option<Value> {
    let read = |cursor: &str| serde_json::from_value::<Cursor<C>>(json!(cursor)).ok().map(|Cursor(key)| key);
    let key = read(cursor)?;
    let value = serde_json::to_value(&key).unwrap();
    let page = projections::Page { items: Vec::<()>::new(), next: Some(key) };
    let given_out = Page::of(page, |()| Ok(())).unwrap().next_cursor.unwrap();
    assert_eq!(serde_json::to_value(read(&given_out).unwrap()).unwrap(), value);
    Some(value)
}

/// Whether Postgres can hold every text and every time in it.
fn is_storable(key: &Value) -> bool {
    let mut texts = key.as_object().into_iter().flat_map(|fields| fields.values()).filter_map(Value::as_str);
    texts.all(|text| {
        let time = text.parse::<DateTime<Utc>>();
        !text.contains('\0') && time.map_or(true, |time| (1..=9_999).contains(&time.year()))
    })
}

// Tokens.

#[test]
fn tokens() {
    let secret = RootSecret::new(b"a secret of at least 32 characters");
    let access = AccessTokens::new(&secret, &config::Auth::default());
    let (account, session) = (AccountId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
    let (order, challenge) = (OrderId(Uuid::from_u128(3)), ChallengeId(Uuid::from_u128(4)));
    let refresh = RefreshToken::mint(session);
    let claim = secret.claim_token(order);
    let mailed = secret.mailed_token(Purpose::Email, account, challenge);
    check!().with_iterations(TRIES).with_type::<GivenBack>().for_each(|drawn: &GivenBack| {
        // Minted in the same second or later, so that it is good for as long as the target runs.
        let ours = access.issue(account, session).unwrap();
        let [header, claims, signature] = [0, 1, 2].map(|part| ours.split('.').nth(part).unwrap());
        let damaged = damage::of_text(&ours, damage::few(&drawn.text));
        assert_eq!(access.verify(&damaged).is_ok(), damaged == ours, "{damaged} for {ours}");
        // Parts that are JSON, under a signature that is not theirs.
        let altered = |part: &str, odd: bool| {
            let json: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
            let json = if odd { damage::of_json(&json, damage::few(&drawn.values)) } else { json };
            URL_SAFE_NO_PAD.encode(json.to_string())
        };
        let (odd_header, odd_claims) = (drawn.number.is_multiple_of(2), drawn.number.is_multiple_of(3));
        let (other_header, other_claims) = (altered(header, odd_header), altered(claims, odd_claims));
        for signature in [signature, ""] {
            let forged = format!("{other_header}.{other_claims}.{signature}");
            assert_eq!(access.verify(&forged).is_ok(), forged == ours, "{forged}");
        }

        let shown = damage::of_text(&refresh.text(), damage::few(&drawn.text));
        if let Some(read) = RefreshToken::parse(&shown) {
            assert_eq!(read.text(), shown);
            assert_eq!(read.hash() == refresh.hash() && read.session() == session, shown == refresh.text());
        }
        let shown = damage::of_text(&claim, damage::few(&drawn.text));
        assert_eq!(secret.read_claim_token(&shown), (shown == claim).then_some(order), "{shown}");
        let shown = damage::of_text(&mailed, damage::few(&drawn.text));
        assert_eq!(secret.read_mailed_token(Purpose::Password, &shown), None, "{shown}");
        let good = (shown == mailed).then_some((account, challenge));
        assert_eq!(secret.read_mailed_token(Purpose::Email, &shown), good, "{shown}");
    });
}

// Manifests of exports.

#[test]
fn manifests() {
    let key = ProofKey::from_seed("shop.example/log", &[7; 32]).unwrap();
    let believed = [key.public()];
    let signed = manifest::sign(&example(), &key).unwrap();
    let said = serde_json::to_value(example()).unwrap();
    check!().with_iterations(TRIES).with_type::<GivenBack>().for_each(|drawn: &GivenBack| {
        let altered = damage::of_text(&signed, damage::few(&drawn.text));
        for believed in [Some(&believed[..]), None] {
            // Whoever has no key to believe takes whichever has signed, and nobody else has.
            if let Ok((read, by)) = manifest::open(&altered, believed) {
                assert_eq!((serde_json::to_value(read).unwrap(), by), (said.clone(), key.public()));
            }
        }
        // Signed by us all the same: what it says is still not believed to be a manifest unless it is one.
        let odd = damage::of_json(&said, damage::few(&drawn.values)).to_string();
        let signature = base64::engine::general_purpose::STANDARD.encode(key.sign(odd.as_bytes()));
        let ours = format!(r#"{{"manifest":{odd},"signed_by":"{}","signature":"{signature}"}}"#, key.public());
        if let Ok((read, _)) = manifest::open(&ours, Some(&believed)) {
            let again = manifest::sign(&read, &key).unwrap();
            let (same, _) = manifest::open(&again, Some(&believed)).unwrap();
            assert_eq!(serde_json::to_value(same).unwrap(), serde_json::to_value(read).unwrap());
        }
    });
}

fn example() -> Manifest {
    let hash = "00".repeat(32);
    let file = |path: &str| json!({ "path": path, "bytes": 900, "sha256": hash, "rows": 4 });
    let manifest = json!({
        "kind": "tradepost-export",
        "version": manifest::VERSION,
        "software": "0.1.0",
        "made_at": "2026-11-22T10:00:00Z",
        "format": "parquet",
        "log": {
            "from": 1,
            "to": 4,
            "root": hash,
            "files": [{ "file": file("log/2026-11-22/1-4.parquet"), "from": 1, "to": 4 }],
            "command_keys": file("log/command_keys.ndjson"),
            "skipped_events": file("log/skipped_events.ndjson"),
            "processes": [{ "name": "timers", "version": 1, "position": 4 }],
            "mailed": 4,
        },
        "models": [],
    });
    serde_json::from_value(manifest).unwrap()
}

// Moments.

/// A moment as somebody may write it.
#[derive(Clone, Debug, TypeGenerator)]
struct Written {
    position: u64,
    seconds: i64,
    offset_min: i16,
    text: Vec<Change>,
}

#[test]
fn moments() {
    check!().with_iterations(TRIES).with_type::<Written>().for_each(|written: &Written| {
        let position = written.position.to_string();
        let near = DateTime::from_timestamp(written.seconds % 40_000_000_000, 123_000_000).unwrap_or_default();
        let offset = chrono::FixedOffset::east_opt(i32::from(written.offset_min % 1_440) * 60).unwrap();
        let time = near.with_timezone(&offset).to_rfc3339();
        for text in [position, time] {
            let damaged = damage::of_text(&text, damage::few(&written.text));
            match damaged.parse() {
                Ok(Moment::Position(position)) => {
                    assert!((0..1_000_000_000_000_000_000).contains(&position), "{damaged}");
                    assert_eq!(position.to_string().parse(), Ok(Moment::Position(position)), "{damaged}");
                }
                Ok(Moment::Time(time)) => {
                    assert!((1970..3001).contains(&time.year()), "{damaged}");
                    assert_eq!(time.to_rfc3339().parse(), Ok(Moment::Time(time)), "{damaged}");
                }
                Err(NoMoment) => {}
            }
        }
        if written.position < 1_000_000_000_000_000_000 {
            let expected = i64::try_from(written.position).map(Moment::Position).map_err(|_| NoMoment);
            assert_eq!(written.position.to_string().parse(), expected);
        }
        let within = (0..=32_503_680_000).contains(&near.timestamp());
        assert_eq!(near.to_rfc3339().parse(), if within { Ok(Moment::Time(near)) } else { Err(NoMoment) }, "{near}");
    });
}
