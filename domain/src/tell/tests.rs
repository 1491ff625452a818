//! What is told of events: a sentence for each, and nothing that not everybody may know.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Tell, count, percent};

/// The sentence of a stored event, by the kind of its aggregate.
fn sentence(aggregate_type: &str, payload: &str) -> String {
    fn of<E: serde::de::DeserializeOwned + Tell>(payload: &str) -> String {
        serde_json::from_str::<E>(payload).unwrap().tell()
    }
    macro_rules! sentences {
        ($($aggregate:ident in $module:ident by $id:ident),+ $(,)?) => {
            match aggregate_type {
                $(<crate::$module::$aggregate as crate::Aggregate>::TYPE => of::<crate::$module::Event>(payload),)+
                other => panic!("no aggregate is called {other}"),
            }
        };
    }
    crate::every_aggregate!(sentences)
}

/// Every text in a payload that a sentence must not repeat: ids, what is sealed, and what somebody has typed.
fn private_texts(value: &Value, name: &str, texts: &mut Vec<String>) {
    const TYPED: [&str; 12] = [
        "reason",
        "title",
        "description",
        "body",
        "text",
        "comment",
        "token",
        "reference",
        "provider_reference",
        "carrier",
        "tracking",
        "name",
    ];
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| private_texts(field, name, texts)),
        Value::Array(items) => items.iter().for_each(|item| private_texts(item, name, texts)),
        Value::String(text) => {
            let is_id = text.len() == 36 && text.matches('-').count() == 4;
            if is_id || name == "sealed" || (TYPED.contains(&name) && text.len() > 6) {
                texts.push(text.clone());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn every_event_that_was_ever_written_has_a_sentence_that_gives_nobody_away() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut told = 0;
    for folder in fs::read_dir(golden).unwrap().map(Result::unwrap) {
        let aggregate_type = folder.file_name().into_string().unwrap();
        for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            let payload = fs::read_to_string(file.path()).unwrap();
            let sentence = sentence(&aggregate_type, &payload);
            let name = file.file_name();
            assert!(sentence.len() > 8 && sentence.len() < 300, "{name:?}: {sentence}");
            assert!(sentence.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit()), "{name:?}: {sentence}");
            assert!(sentence.ends_with('.') && !sentence.contains("  "), "{name:?}: {sentence}");
            let mut texts = Vec::new();
            private_texts(&serde_json::from_str(&payload).unwrap(), "", &mut texts);
            for text in texts {
                assert!(!sentence.contains(&text), "{name:?} tells {text}: {sentence}");
            }
            told += 1;
        }
    }
    assert!(told > 200, "{told}");
}

#[test]
fn a_bid_is_told_by_the_price_alone() {
    let usd = |amount: i64| serde_json::json!({ "amount": amount, "currency": "USD" });
    let bidder = "0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11";
    let bid = serde_json::json!({ "BidPlaced": {
        "bidder": bidder, "maximum": usd(987_654), "reserve_met": false, "buy_now_available": false,
        "standing": {
            "leader": bidder, "leader_maximum": usd(987_654), "runner_up_maximum": usd(123_456), "price": usd(1_050)
        },
    }});
    let sentence = sentence("auction", &bid.to_string());
    assert_eq!(sentence, "A bid was accepted: the price stands at 10.50 USD, below the reserve.");
}

#[test]
fn numbers_read_well() {
    assert_eq!((count(1, "piece", "pieces"), count(0, "piece", "pieces")), ("1 piece".into(), "0 pieces".into()));
    assert_eq!([200, 250, 205, 10_000].map(percent), ["2 %", "2.5 %", "2.05 %", "100 %"]);
}
