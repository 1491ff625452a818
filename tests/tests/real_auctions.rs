//! Real auctions through HTTP, as `make real` replays them.

use tradepost_tests::database::URL_VARIABLE;
use tradepost_tests::fail::OrFail;
use tradepost_tests::real::{Sources, default_folder, ebay};

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
        let report = ebay::replay(source, &server).await.unwrap();
        eprint!("{report}");
        assert!(report.is_good());
        if report.name == "ebay_dev" {
            assert_eq!((report.recorded.exact, report.recorded.auctions), (196, 197));
            assert_eq!((report.uncapped.exact, report.uncapped.auctions), (161, 161));
            let [difference] = report.recorded.differences.as_slice() else { panic!("several differences") };
            let played = &difference.played;
            assert_eq!((played.sale.record.id.as_str(), played.result.price_cents), ("8212610170", 13_250));
        }
    }
}
