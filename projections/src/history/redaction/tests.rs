//! What is hidden, from whom, and that nothing that sounds like a secret is forgotten.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use domain::Aggregate as _;
use domain::auction::{self, Auction};
use eventstore::sealing::PersonKeys;
use eventstore::secrets::RootSecret;
use serde_json::json;

use super::super::Reader;
use super::*;
use crate::tests::history::History;

const ANN: AccountId = AccountId(Uuid::from_u128(0x0190_b6c2_6a5e_7b1c_9e55_2f6f_6f0f_7d11));
const BOB: AccountId = AccountId(Uuid::from_u128(0x0190_b6c2_6a5e_7b1c_9e55_2f6f_6f0f_7d12));
const THING: Uuid = Uuid::from_u128(7);

fn party(account: AccountId, sells: bool) -> Reader {
    Reader { account: Some(account), eyes: Eyes::Party { circle: [account].into(), sells } }
}

fn auditor() -> Reader {
    Reader { account: Some(AccountId(Uuid::from_u128(99))), eyes: Eyes::Auditor }
}

fn lens<'a>(reader: &'a Reader, secret: &'a RootSecret, strangers: &[Uuid], over: &[Uuid]) -> Lens<'a> {
    Lens {
        reader,
        secret: Some(secret),
        keys: PersonKeys::default(),
        strangers: strangers.iter().copied().collect(),
        over: over.iter().copied().collect(),
    }
}

fn secret() -> RootSecret {
    RootSecret::new(b"a secret for tests")
}

#[test]
fn whatever_sounds_like_a_secret_is_in_the_table() {
    /// What sounds like one and is none.
    const KNOWN: [(&str, &str); 1] = [("store", "payment_preference")];
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/schemas");
    let mut found = 0;
    for file in fs::read_dir(schemas).unwrap().map(|file| file.unwrap().path()) {
        let aggregate_type = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let schema: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut names = BTreeSet::new();
        properties(&schema, &mut names);
        for name in names {
            let words =
                ["password", "hash", "token", "secret", "maximum", "reserve_price", "shares", "postings", "fee_share"];
            if !words.iter().any(|word| name.contains(word)) || KNOWN.contains(&(&*aggregate_type, &*name)) {
                continue;
            }
            // Of their own wallet, commission or subscription everybody may see the books.
            let own = name == "postings" && ["commission", "subscription", "wallet"].contains(&&*aggregate_type);
            assert_eq!(rule(&aggregate_type, "", &name).is_some(), !own, "{aggregate_type}: {name}");
            found += 1;
        }
    }
    assert!(found > 8, "{found}");
}

fn properties(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::Object(named)) = fields.get("properties") {
                names.extend(named.keys().cloned());
            }
            fields.values().for_each(|field| properties(field, names));
        }
        Value::Array(items) => items.iter().for_each(|item| properties(item, names)),
        _ => {}
    }
}

#[test]
fn what_opens_doors_is_shown_to_nobody() {
    let (secret, value) = (secret(), json!({ "SessionOpened": { "account": ANN, "token_hash": "abc", "x": 1 } }));
    for reader in [auditor(), party(ANN, true)] {
        let shown = lens(&reader, &secret, &[], &[]).redact("session", THING, value.clone());
        assert_eq!(shown.value, json!({ "SessionOpened": { "account": ANN, "token_hash": HIDDEN, "x": 1 } }));
        assert_eq!(shown.hidden, ["/SessionOpened/token_hash"]);
    }
}

#[test]
fn whoever_buys_is_not_told_of_fees_nor_of_what_the_seller_owes() {
    let (secret, refunded) = (secret(), json!({ "amount": 5, "fee_share": 1, "owed": 2, "from_available": 2 }));
    let (buyer, seller, auditor) = (party(ANN, false), party(BOB, true), auditor());
    let shown = |reader| lens(reader, &secret, &[], &[]).redact("escrow", THING, refunded.clone());
    assert_eq!((shown(&seller).value, shown(&auditor).value), (refunded.clone(), refunded.clone()));
    let of_buyer = shown(&buyer);
    assert_eq!(of_buyer.value, json!({ "amount": 5, "fee_share": HIDDEN, "owed": HIDDEN, "from_available": HIDDEN }));
    assert_eq!(of_buyer.hidden.len(), 3);
}

#[test]
fn a_stranger_has_a_name_that_is_the_same_in_one_thing_and_another_in_another() {
    let (secret, reader) = (secret(), party(ANN, false));
    let lens = lens(&reader, &secret, &[BOB.0], &[]);
    let value = json!({ "by": BOB, "of": [ANN, format!("wallet:{BOB}:USD")], format!("{BOB}"): 1 });
    let shown = lens.redact("order", THING, value.clone()).value;
    let name = shown["by"].as_str().unwrap().to_owned();
    assert!(name.starts_with("someone-") && name.len() == 16, "{name}");
    assert_eq!(shown, json!({ "by": name, "of": [ANN, format!("wallet:{name}:USD")], name.clone(): 1 }));
    assert_ne!(lens.redact("order", Uuid::from_u128(8), value).value["by"], shown["by"]);
}

#[test]
fn texts_of_any_kind_are_shown_as_they_are() {
    let (secret, reader) = (secret(), party(ANN, false));
    let lens = lens(&reader, &secret, &[BOB.0], &[]);
    for text in ["", "ä".repeat(40).as_str(), "時計 ⌚ 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d1", "-".repeat(80).as_str()]
    {
        assert_eq!(lens.redact("order", THING, json!(text)).value, json!(text));
    }
}

/// Whether what is at this pointer is not shown. What is not there is not shown either.
fn is_hidden(shown: &Value, pointer: &str) -> bool {
    shown.pointer(pointer).is_none_or(|at| at == HIDDEN || at.is_null())
}

#[test]
fn a_maximum_is_shown_to_its_bidder_alone_and_to_auditors_once_the_auction_is_over() {
    let (history, secret) = (History::random(11, 2_000), secret());
    let mut bids = 0;
    for event in history.units.iter().flat_map(|unit| &unit.events).filter(|event| event.event_type == "BidPlaced") {
        let Ok(auction::Event::BidPlaced { bidder, standing, .. }) = serde_json::from_str(&event.payload) else {
            panic!("{}", event.payload)
        };
        let payload: Value = serde_json::from_str(&event.payload).unwrap();
        let nobody = AccountId(Uuid::from_u128(3));
        let readers = [party(bidder, false), party(standing.leader, false), party(nobody, true), auditor()];
        for reader in &readers {
            let shown = lens(reader, &secret, &[], &[]).redact("auction", event.aggregate_id, payload.clone()).value;
            assert_eq!(is_hidden(&shown, "/BidPlaced/maximum"), reader.account != Some(bidder), "{shown}");
            let leads = reader.account == Some(standing.leader);
            assert_eq!(is_hidden(&shown, "/BidPlaced/standing/leader_maximum"), !leads, "{shown}");
            assert!(is_hidden(&shown, "/BidPlaced/standing/runner_up_maximum"), "{shown}");
            assert_eq!(shown.pointer("/BidPlaced/standing/price"), payload.pointer("/BidPlaced/standing/price"));
        }
        let auditor = auditor();
        let over = lens(&auditor, &secret, &[], &[event.aggregate_id]);
        assert_eq!(over.redact("auction", event.aggregate_id, payload.clone()).value, payload);
        bids += 1;
    }
    assert!(bids > 50, "{bids}");
}

#[test]
fn no_state_of_a_live_auction_tells_a_maximum_or_a_reserve() {
    let (history, secret) = (History::random(12, 2_000), secret());
    let (seller, auditor) = (party(BOB, true), auditor());
    let (mut states, mut shown_states): (BTreeMap<Uuid, Auction>, u32) = (BTreeMap::new(), 0);
    for event in history.units.iter().flat_map(|unit| &unit.events).filter(|event| event.aggregate_type == "auction") {
        let state = states.entry(event.aggregate_id).or_default();
        state.evolve(&serde_json::from_str(&event.payload).unwrap());
        let state = serde_json::to_value(state).unwrap();
        if state.get("Live").is_none() {
            continue;
        }
        for reader in [&seller, &auditor] {
            let shown = lens(reader, &secret, &[], &[]).redact("auction", event.aggregate_id, state.clone()).value;
            let ranking = shown.pointer("/Live/ranking").and_then(Value::as_array).unwrap();
            assert!(ranking.iter().all(|bid| is_hidden(bid, "/maximum")), "{shown}");
            assert!(is_hidden(&shown, "/Live/standing/leader_maximum"), "{shown}");
            let sells = reader.account == Some(BOB);
            assert!(sells || is_hidden(&shown, "/Live/terms/reserve_price"), "{shown}");
        }
        shown_states += u32::from(!state["Live"]["ranking"].as_array().unwrap().is_empty());
    }
    assert!(shown_states > 50, "{shown_states}");
}

#[test]
fn no_sealed_field_and_no_account_that_a_party_does_not_know_is_shown_of_any_event() {
    let (history, secret, reader) = (History::of_catalogue(13, 2_000), secret(), party(ANN, false));
    let accounts: Vec<Uuid> = history.accounts.0.keys().copied().collect();
    let (lens, mut taken_out) = (lens(&reader, &secret, &accounts, &[]), 0);
    for event in history.units.iter().flat_map(|unit| &unit.events) {
        let payload: Value = serde_json::from_str(&event.payload).unwrap();
        let shown = lens.redact(event.aggregate_type, event.aggregate_id, payload.clone());
        let text = shown.value.to_string();
        // A variant may be called so too.
        assert!(!text.contains("\"sealed\":\""), "{text}");
        for account in &accounts {
            assert!(!text.contains(&account.to_string()), "{text}");
        }
        for pointer in &shown.hidden {
            let at = shown.value.pointer(pointer).and_then(Value::as_str);
            assert!(at == Some(SEALED) || at == Some(HIDDEN), "{pointer} of {text}");
            taken_out += 1;
        }
    }
    assert!(taken_out > 100, "{taken_out}");
}
