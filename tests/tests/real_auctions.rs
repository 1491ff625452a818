//! Real auctions through HTTP, as `make real` replays them, and then through other rules.

use std::collections::BTreeMap;

use serde_json::Value;
use tempfile::TempDir;
use tradepost_tests::database::URL_VARIABLE;
use tradepost_tests::fail::OrFail;
use tradepost_tests::real::{Sources, default_folder, ebay};
use tradepost_tests::server::tradepost;

#[tokio::test]
async fn real_auctions_end_with_the_recorded_winner_and_price() {
    let named = std::env::var_os("TRADEPOST_DATA").map(std::path::PathBuf::from);
    let named = named.filter(|folder| !folder.as_os_str().is_empty());
    assert!(named.as_ref().is_none_or(|folder| folder.is_dir()), "TRADEPOST_DATA names no folder: {named:?}");
    let folder = named.unwrap_or_else(default_folder);
    let sources = if folder.is_dir() { Sources::in_folder(&folder).unwrap() } else { Sources::default() };
    if sources.ebay.is_empty() {
        eprintln!("SKIPPED: no folder ebay_* with real auctions in {}", folder.display());
        return;
    }
    let server = std::env::var(URL_VARIABLE).or_fail("find a server: run the tests with `make test`");
    for source in &sources.ebay {
        let replayed = ebay::replay(source, &server).await.unwrap();
        let report = &replayed.report;
        eprint!("{report}");
        assert!(report.is_good());
        if report.name == "ebay_dev" {
            assert_eq!((report.recorded.exact, report.recorded.auctions), (196, 197));
            assert_eq!((report.uncapped.exact, report.uncapped.auctions), (161, 161));
            let [difference] = report.recorded.differences.as_slice() else { panic!("several differences") };
            let played = &difference.played;
            assert_eq!((played.sale.record.id.as_str(), played.result.price_cents), ("8212610170", 13_250));
        }
        under_other_increments(&replayed).await;
    }
}

/// Increments, and how a policy names them.
type Increments = (&'static str, fn(i64) -> i64);

/// Twice the public table in its lower half, and the same step for all prices.
const OTHERS: [Increments; 3] = [
    ("[{ below = 500, step = 50 }, { below = 10000, step = 200 }, { step = 1000 }]", |at| match at {
        ..500 => 50,
        500..10_000 => 200,
        10_000.. => 1_000,
    }),
    ("100", |_| 100),
    ("2000", |_| 2_000),
];

/// `tradepost replay` says of every auction what a few lines of the rules say of the bids that were accepted, and the same
/// each time; and nothing is different with the public table.
async fn under_other_increments(replayed: &ebay::Replayed) {
    let folder = TempDir::new().or_fail("make a folder");
    let policy = folder.path().join("policy.toml");
    let tell = async |more: &[&str]| {
        let arguments = [&["replay", "--with", policy.to_str().unwrap()][..], more].concat();
        let output = tradepost(replayed.database.url(), &arguments).output().await.or_fail("run `tradepost replay`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    std::fs::write(&policy, "auctions = { soft_close_window_s = 0 }").unwrap();
    let same: Value = serde_json::from_slice(&tell(&["--json"]).await).unwrap();
    let looked_at = &same["summary"]["auctions"]["looked_at"];
    assert_eq!((looked_at, &same["summary"]["auctions"]["different"]), (&replayed.played.len().into(), &0.into()));

    for (increments, increment) in OTHERS {
        std::fs::write(&policy, format!("[auctions.increments]\nUSD = {increments}\n")).unwrap();
        let told = tell(&["--json"]).await;
        assert_eq!(told, tell(&["--json"]).await, "twice the same");
        let told: Value = serde_json::from_slice(&told).unwrap();
        let mut different: BTreeMap<&str, &Value> = told["auctions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|auction| (auction["auction"].as_str().unwrap(), auction))
            .collect();
        let mut changes = 0;
        for played in &replayed.played {
            let price = closing_price(played, increment);
            let listed = different.remove(played.id.as_str());
            let would = listed.map_or(played.result.price_cents, |auction| {
                assert_eq!(auction["was"]["price"]["amount"], played.result.price_cents, "{auction}");
                auction["would"]["price"]["amount"].as_i64().unwrap()
            });
            assert_eq!(would, price, "{} in {:?}: {listed:?}", played.sale.record.id, played.sale.form);
            changes += u64::from(would != played.result.price_cents);
        }
        assert!(different.is_empty() && changes > 0, "{different:?}");
        let sums = &told["summary"]["auctions"];
        assert_eq!(sums["dearer"].as_u64().unwrap() + sums["cheaper"].as_u64().unwrap(), changes);
        let words = String::from_utf8(tell(&["--show", "3"]).await).unwrap();
        assert!(words.contains("closing prices: ") && words.contains("… and "), "{words}");
        eprint!("with increments of {increments}:\n{words}");
    }
}

/// At which price the bids that were accepted would have ended, by the rules as one would write them down.
fn closing_price(played: &ebay::Played, increment: fn(i64) -> i64) -> i64 {
    let start = played.sale.record.start_cents;
    let (mut leader, mut most, mut second, mut price) = (None, 0, None, start);
    for place in &played.accepted {
        let bid = &played.sale.bids[*place];
        match leader {
            None if bid.cents >= start => (leader, most) = (Some(&bid.bidder), bid.cents),
            Some(who) if *who == bid.bidder && bid.cents > most => most = bid.cents,
            Some(who) if *who != bid.bidder && bid.cents >= price + increment(price) => {
                second = second.max(Some(bid.cents.min(most)));
                if bid.cents > most {
                    (leader, most) = (Some(&bid.bidder), bid.cents);
                }
            }
            None | Some(_) => continue,
        }
        if let Some(second) = second {
            price = price.max(most.min(second + increment(second)));
        }
    }
    price
}
