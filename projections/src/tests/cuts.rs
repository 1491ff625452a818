//! The rows are a function of the log alone: however it was cut into batches, live or rebuilt.

use domain::Event as _;

use super::database::TestDatabase;
use super::history::History;
use crate::rebuild::{rebuild, verify};
use crate::{ALL, digest};

#[tokio::test]
async fn rows_do_not_depend_on_how_the_log_was_cut_into_batches_or_on_a_rebuild() {
    for seed in 1..=3 {
        let history = History::random(seed, 800);
        let mut test = TestDatabase::create().await;
        test.append(&history.units).await;
        test.follow_all(1).await;
        let one_by_one = test.digests().await;
        for batch_events in [1_000, 7] {
            test.start_afresh().await;
            test.follow_all(batch_events).await;
            assert_eq!(test.digests().await, one_by_one, "seed {seed}, batches of {batch_events}");
        }
        for model in ALL {
            assert_eq!(verify(&test.database, model.name, |_, _| {}).await.unwrap().differences, [], "seed {seed}");
            rebuild(&test.database, model.name, |_, _| {}).await.unwrap();
        }
        assert_eq!(test.digests().await, one_by_one, "seed {seed}, rebuilt");
    }
}

#[tokio::test]
async fn rows_do_not_depend_on_whether_units_of_work_were_cut() {
    let history = History::random(5, 1_000);
    let mut test = TestDatabase::showing(&history.units).await;
    let whole = test.digests().await;
    test.start_afresh().await;
    test.follow_all_event_by_event().await;
    assert_eq!(test.digests().await, whole);
}

#[tokio::test]
async fn the_random_histories_tell_everything_that_can_happen() {
    // In the last one somebody is reminded of an inspection, which seldom happens.
    let histories = (1..=12).chain([32]).map(|seed| History::random(seed, 1_500));
    let histories: Vec<_> = histories.chain((1..=6).map(|seed| History::of_catalogue(seed, 2_000))).collect();
    let events = histories.iter().flat_map(|history| &history.units).flat_map(|unit| &unit.events);
    let told: std::collections::BTreeSet<_> = events.clone().map(|event| event.event_type).collect();
    let kinds = [
        domain::account::Event::TYPES,
        domain::affiliate::Event::TYPES,
        domain::auction::Event::TYPES,
        domain::broadcast::Event::TYPES,
        domain::category::Event::TYPES,
        domain::charge::Event::TYPES,
        domain::commission::Event::TYPES,
        domain::complaint::Event::TYPES,
        domain::escrow::Event::TYPES,
        domain::favorite::Event::TYPES,
        domain::feedback::Event::TYPES,
        domain::inbox::Event::TYPES,
        domain::listing::Event::TYPES,
        domain::order::Event::TYPES,
        domain::order_group::Event::TYPES,
        domain::plan::Event::TYPES,
        domain::points::Event::TYPES,
        domain::referral::Event::TYPES,
        domain::referral_click::Event::TYPES,
        domain::report::Event::TYPES,
        domain::reporter::Event::TYPES,
        domain::review::Event::TYPES,
        domain::seller::Event::TYPES,
        domain::stock::Event::TYPES,
        domain::store::Event::TYPES,
        domain::subscription::Event::TYPES,
        domain::view::Event::TYPES,
        domain::vote::Event::TYPES,
        domain::wallet::Event::TYPES,
    ];
    for (kind, _) in kinds.concat() {
        // Of logs from before there were charges.
        let of_old = kind == "DepositDelayed";
        assert!(of_old || told.contains(kind), "{kind}");
    }
    for text in [
        "won",
        "bought_now",
        "unsold",
        "\"reserve_missed\":true",
        "auction_won",
        "second_chance",
        "ship_to",
        "not_paid",
        "not_shipped",
        "dispute_expired",
        "inspection_over",
        "\"resolved\"",
        "cannot_be_paid",
    ] {
        assert!(events.clone().any(|event| event.payload.contains(text)), "{text}");
    }
}

#[tokio::test]
async fn a_digest_counts_every_table_and_notices_one_changed_byte() {
    let history = History::random(1, 1_200);
    let mut test = TestDatabase::showing(&history.units).await;
    let before = test.digests().await;
    let tables: Vec<(String, i64)> = sqlx::query_as(
        "select nspname::text, count(*) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
         where relkind = 'r' and nspname = any($1) group by 1",
    )
    .bind(ALL.map(|model| model.name))
    .fetch_all(&mut test.owner)
    .await
    .unwrap();
    for (schema, count) in tables {
        assert_eq!(i64::try_from(before[&*schema].len()).unwrap(), count, "{schema}");
        assert!(before[&*schema].iter().all(|table| table.rows > 0), "{before:?}");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from catalogue.listings").fetch_one(&test.pool).await.unwrap();
    let listings = before["catalogue"].iter().find(|table| table.table == "listings").unwrap();
    assert_eq!(i64::try_from(listings.rows).unwrap(), rows);

    let change = "update catalogue.listings set title = title || '.' where id = (select min(id::text)::uuid from catalogue.listings)";
    sqlx::query(change).execute(&mut test.owner).await.unwrap();
    let different = digest::compare(&test.digests().await["catalogue"], &before["catalogue"]);
    assert_eq!(different.iter().map(|difference| &*difference.table).collect::<Vec<_>>(), ["listings"]);
    assert_eq!(verify(&test.database, "catalogue", |_, _| {}).await.unwrap().differences, different);
    assert_eq!(digest::compare(&test.digests().await["catalogue"], &before["catalogue"]), different);
}
