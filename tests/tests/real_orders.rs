//! Real orders through HTTP, as `make real` replays them.

use tradepost_tests::database::URL_VARIABLE;
use tradepost_tests::fail::OrFail;
use tradepost_tests::real::{Sources, default_folder, olist};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_orders_end_as_recorded_and_each_seller_is_paid_to_the_cent() {
    let named = std::env::var_os("TRADEPOST_DATA").map(std::path::PathBuf::from);
    let named = named.filter(|folder| !folder.as_os_str().is_empty());
    assert!(named.as_ref().is_none_or(|folder| folder.is_dir()), "TRADEPOST_DATA names no folder: {named:?}");
    let folder = named.unwrap_or_else(default_folder);
    let sources = if folder.is_dir() { Sources::in_folder(&folder).unwrap() } else { Sources::default() };
    if sources.olist.is_empty() {
        eprintln!("SKIPPED: no folder olist_* with real orders in {}", folder.display());
        return;
    }
    let server = std::env::var(URL_VARIABLE).or_fail("find a server: run the tests with `make test`");
    for source in &sources.olist {
        let report = olist::replay(source, &server).await.unwrap();
        eprint!("{report}");
        assert!(report.is_good());
        if report.name == "olist_slice" {
            let skipped: usize = report.without_items.values().sum();
            assert_eq!((report.checkouts, skipped, report.parts[0], report.paid_otherwise), (1_810, 190, 255, 15));
            let refunded = report.statuses.iter().filter(|((_, fate), _)| *fate == olist::Fate::Refunded);
            assert_eq!(refunded.map(|(_, (checkouts, _))| checkouts).sum::<usize>(), 19);
        }
    }
}
