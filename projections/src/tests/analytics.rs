//! What analysts see: it is what the other read models say, it outlives a rebuild, and it is all that they see.

use std::collections::BTreeSet;
use std::time::Duration;

use eventstore::analysts::{self, ANALYST_ROLE, AnalystError};
use eventstore::database::Database;
use eventstore::mint;
use futures::FutureExt;
use sqlx::{Connection, Executor, PgConnection};

use super::database::TestDatabase;
use super::history::History;
use crate::analytics;
use crate::rebuild::{ensure, rebuild};

/// What has not ended by then waits for somebody.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a query answers, each row as one text.
async fn told(connection: &mut PgConnection, query: &str) -> Vec<String> {
    let rows = format!(
        "select array_to_string(array(select value from json_each_text(row_to_json(asked))), ' ', 'null')
         from ({query}) as asked"
    );
    sqlx::query_scalar(&rows).fetch_all(connection).await.unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// Queries that must answer alike: of what analysts see, and of another read model.
const ALIKE: [(&str, &str); 10] = [
    (
        "select day, currency, orders, pieces, gross, refunded, fees, paid_out, cash_orders, cash_pieces, cash_gross
         from analytics.sales_per_day order by 1, 2",
        "select day, currency, orders, pieces, gross, refunded, fees, paid_out, cash_orders, cash_pieces, cash_gross
         from statistics.takings order by 1, 2",
    ),
    (
        "select seller_id, currency, orders, pieces, gross, refunded, fees, paid_out, cash_orders, cash_gross
         from analytics.sellers where first_sale_at is not null order by 1, 2",
        "select seller_id, currency, sum(orders), sum(pieces), sum(gross), sum(refunded), sum(fees), sum(paid_out),
            sum(cash_orders), sum(cash_gross) from sales.days group by 1, 2 order by 1, 2",
    ),
    (
        "select seller_id, currency, held from analytics.sellers where held > 0 order by 1, 2",
        "select seller_id, currency, sum(held) from sales.orders where held > 0 group by 1, 2 order by 1, 2",
    ),
    (
        "select currency, sum(fees) from analytics.fees_per_day group by 1 having sum(fees) <> 0 order by 1",
        "select currency, sum(credits - debits) from ledger.balances where kind = 'fee-income'
         group by 1 having sum(credits - debits) <> 0 order by 1",
    ),
    (
        "select order_id, seller_id, status, currency, amount, refunded, fee, paid_out, opened_at, funded_at, ended_at
         from analytics.escrows order by 1",
        "select order_id, seller_id, status, currency, amount, refunded, coalesce(fee, 0), coalesce(paid_out, 0),
            opened_at, funded_at, ended_at from escrows.escrows order by 1",
    ),
    (
        "select order_id, seller_id, auction_id, payment, delivery, currency, gross, placed_at, paid_at, confirmed_at,
            shipped_at, delivered_at, ended_at, cancelled_by from analytics.orders order by 1",
        "select id, seller_id, auction_id, payment, delivery, currency, total, placed_at, paid_at, confirmed_at,
            shipped_at, delivered_at, ended_at, cancelled_by from orders.orders order by 1",
    ),
    (
        "select auction_id, seller_id, currency, start_price, has_reserve, reserve_met, bids, bidders,
            coalesce(price, start_price), extensions > 0, ends_at, reserve_missed, closing_price, ended_at,
            forfeits > second_chances_taken
         from analytics.auctions order by 1",
        "select id, seller_id, currency, start_price, has_reserve, reserve_met, bids, bidders, price,
            exists (select from auction_board.activity where auction_id = id and kind = 'extended'), ends_at,
            reserve_missed, closing_price, ended_at, forfeited
         from auction_board.auctions order by 1",
    ),
    (
        "select auction_id, price, leads, placed_at from analytics.bids order by auction_id, bid",
        "select auction_id, price, alias = leading_alias, placed_at from auction_board.bids order by auction_id, sequence",
    ),
    (
        "select listing_id, seller_id, kind, category, condition, currency, published_at
         from analytics.listings order by 1",
        "select id, seller_id, kind, category, condition, currency, published_at from catalogue.listings order by 1",
    ),
    (
        "select day, signups from analytics.signups_per_day order by 1",
        "select day, signups from statistics.days where signups > 0 order by 1",
    ),
];

#[tokio::test]
async fn analysts_see_what_the_other_read_models_say() {
    for seed in 71..=73 {
        let history = History::of_catalogue(seed, 2_500);
        let mut test = TestDatabase::showing(&history.units).await;
        for (seen, expected) in ALIKE {
            let (seen_rows, expected) = (told(&mut test.owner, seen).await, told(&mut test.owner, expected).await);
            assert!(!seen_rows.is_empty(), "seed {seed}: nothing is shown by {seen}");
            assert_eq!(seen_rows, expected, "seed {seed}: {seen}");
        }
    }
}

/// What each of these counts must be nothing.
const NOTHING: [&str; 9] = [
    // All that was paid is somewhere.
    "select count(*) from analytics.sellers where gross <> refunded + fees + paid_out + held",
    "select count(*) from analytics.orders where payment = 'escrow' and (refunded + fee + paid_out + held)
        not in (gross, 0)",
    // A way begins where every order begins, ends where the order is, and has no holes.
    "select count(*) from analytics.order_states where (step = 1) <> (state = 'placed') or (left_at is null) <> (next_state is null)",
    "select count(*) from analytics.orders where status <>
        (select state from analytics.order_states where order_states.order_id = orders.order_id order by step desc limit 1)",
    // Whoever bought comes first in the month in which they came first.
    "select count(*) from analytics.cohort_retention where months_later = 0 and (active <> buyers or retained_bps <> 10000)
        or months_later < 0 or active > buyers or orders < active",
    "select (select coalesce(sum(orders), 0) from analytics.cohort_retention)
        - (select count(*) from analytics.orders where paid_at is not null and not guest)",
    // The price of an auction is the sum of what moved it.
    "select count(*) from analytics.auctions where bids > 0 and price <>
        start_price + (select sum(rise) from analytics.bids where bids.auction_id = auctions.auction_id)",
    // Nobody comes far who has not come near.
    "select count(*) from analytics.order_funnel where placed < secured or secured < shipped or secured < delivered
        or completed + cancelled + refunded > placed or disputed > secured",
    "select sum(placed) - (select count(*) from analytics.orders) from analytics.order_funnel",
];

#[tokio::test]
async fn what_analysts_see_agrees_with_itself() {
    for seed in 74..=75 {
        let history = History::random(seed, 2_500);
        let mut test = TestDatabase::showing(&history.units).await;
        for query in NOTHING {
            assert_eq!(told(&mut test.owner, query).await, ["0"], "seed {seed}: {query}");
        }
        for view in views(&mut test.owner).await {
            // None stumbles over what is unusual, and all show something but what is not in the log.
            let rows = told(&mut test.owner, &format!("select * from analytics.{view}")).await;
            assert_eq!(rows.is_empty(), view == "searches_without_results", "seed {seed}: {view}");
        }
    }
}

async fn views(owner: &mut PgConnection) -> Vec<String> {
    told(owner, "select viewname from pg_views where schemaname = 'analytics' order by 1").await
}

#[tokio::test]
async fn the_views_outlive_a_rebuild_and_then_show_the_new_tables() {
    let mut history = History::random(76, 1_000);
    let mut test = TestDatabase::showing(&history.units).await;
    let (before, columns) = (views(&mut test.owner).await, columns(&mut test.owner).await);
    assert!(before.len() > 10, "{before:?}");
    let all = "select (select count(*) from analytics.orders) as orders, (select count(*) from analytics.bids) as bids";
    let shown = told(&mut test.owner, all).await;
    for round in 0..2 {
        // Whoever looks while they change places sees either.
        let mut reader = test.database.connect_as_owner().await.unwrap();
        reader.execute("prepare look as select count(*) from analytics.orders").await.unwrap();
        let rebuilt = rebuild(&test.database, "analytics", |_, _| {}).await.unwrap();
        assert_eq!(rebuilt.comparison.unwrap().differences, []);
        reader.execute("execute look").await.unwrap();
        assert_eq!(
            (views(&mut test.owner).await, self::columns(&mut test.owner).await),
            (before.clone(), columns.clone())
        );
        assert_eq!(told(&mut test.owner, all).await, shown, "round {round}");
    }
    // They are not over tables that were put aside: what comes later is seen.
    let told_before = history.units.len();
    for _ in 0..500 {
        history.go_on();
    }
    test.append(&history.units[told_before..]).await;
    test.follow(analytics::MODEL, 100).await;
    let later = told(&mut test.owner, all).await;
    assert_ne!(later, shown);
    rebuild(&test.database, "analytics", |_, _| {}).await.unwrap();
    assert_eq!(told(&mut test.owner, all).await, later);
    assert_eq!(told(&mut test.owner, "select position = head and behind = 0 from analytics.freshness").await, ["true"]);
    let elsewhere = "select count(*) from pg_namespace where nspname like 'analytics\\_%'";
    assert_eq!(told(&mut test.owner, elsewhere).await, ["0"]);
}

#[tokio::test]
async fn analysts_see_no_half_of_a_rebuild() {
    let history = History::random(81, 500);
    let mut test = TestDatabase::showing(&history.units).await;
    let open = format!(
        "select nspname from pg_namespace
         where nspname ~ '^analytics' and has_schema_privilege('{ANALYST_ROLE}', oid, 'usage')"
    );
    assert_eq!(told(&mut test.owner, &open).await, ["analytics"]);
    let interrupted = rebuild(&test.database, "analytics", |_, _| panic!("the process ends in the middle"));
    assert!(std::panic::AssertUnwindSafe(interrupted).catch_unwind().await.is_err());
    let there = "select nspname from pg_namespace where nspname ~ '^analytics' order by 1";
    assert_eq!(told(&mut test.owner, there).await, ["analytics", "analytics_next"]);
    assert_eq!(told(&mut test.owner, &open).await, ["analytics"]);
    rebuild(&test.database, "analytics", |_, _| {}).await.unwrap();
    assert_eq!(told(&mut test.owner, &open).await, ["analytics"]);
    assert_eq!(told(&mut test.owner, there).await, ["analytics"]);
}

#[tokio::test]
async fn a_rebuild_does_not_wait_for_an_analyst_who_goes_on_reading() {
    let history = History::random(82, 300);
    let mut test = TestDatabase::showing(&history.units).await;
    let mut reader = test.database.connect_as_owner().await.unwrap();
    reader.execute("begin isolation level repeatable read; select count(*) from analytics.orders").await.unwrap();
    let rebuilt = tokio::time::timeout(PATIENCE, rebuild(&test.database, "analytics", |_, _| {})).await;
    rebuilt.expect("it waits for the analyst").unwrap();
    let there = "select nspname from pg_namespace where nspname ~ '^analytics' order by 1";
    assert_eq!(told(&mut test.owner, there).await, ["analytics", "analytics_former"]);
    assert!(!told(&mut test.owner, "select * from analytics.orders").await.is_empty());
    reader.execute("rollback").await.unwrap();
    ensure(&test.database).await.unwrap();
    assert_eq!(told(&mut test.owner, there).await, ["analytics"]);
}

/// Every column of the views, with its type and who may read it.
async fn columns(owner: &mut PgConnection) -> Vec<String> {
    let columns = format!(
        "select table_name, column_name, data_type, has_column_privilege('{ANALYST_ROLE}',
            format('%I.%I', table_schema, table_name), column_name, 'select') as readable
         from information_schema.columns join pg_views on schemaname = table_schema and viewname = table_name
         where table_schema = 'analytics' order by table_name, ordinal_position"
    );
    told(owner, &columns).await
}

#[tokio::test]
async fn analysts_read_the_views_and_nothing_else() {
    let history = History::random(77, 500);
    let mut test = TestDatabase::showing(&history.units).await;
    rebuild(&test.database, "analytics", |_, _| {}).await.unwrap();
    // Whatever holds rows, of whichever schema.
    let readable = format!(
        "select format('%s.%s', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
         where relkind in ('r', 'p', 'v', 'm', 'f', 'S') and nspname not in ('pg_catalog', 'information_schema')
            and nspname !~ '^pg_(toast|temp)'
            and (has_any_column_privilege('{ANALYST_ROLE}', pg_class.oid, 'select, insert, update, references')
                or has_table_privilege('{ANALYST_ROLE}', pg_class.oid, 'delete, truncate, trigger')) order by 1"
    );
    let expected: Vec<_> = views(&mut test.owner).await.iter().map(|view| format!("analytics.{view}")).collect();
    assert_eq!(told(&mut test.owner, &readable).await, expected);
    let changeable = readable.replace("'select, insert,", "'insert,");
    assert_eq!(told(&mut test.owner, &changeable).await, Vec::<String>::new());
    let creates = format!(
        "select nspname from pg_namespace where has_schema_privilege('{ANALYST_ROLE}', oid, 'create')
            and nspname !~ '^pg_'"
    );
    assert_eq!(told(&mut test.owner, &creates).await, Vec::<String>::new());

    test.owner.execute(&*format!("set role {ANALYST_ROLE}")).await.unwrap();
    for refused in [
        "select * from public.events",
        "select * from public.person_keys",
        "select * from public.analytics_secret",
        "select * from public.search_misses",
        "select * from analytics.order_facts",
        "select * from accounts.profiles",
        "delete from analytics.searches_without_results",
        "create table analytics.mine (x integer)",
    ] {
        let error = test.owner.execute(refused).await.unwrap_err().into_database_error().unwrap();
        assert_eq!(error.code().as_deref(), Some("42501"), "{refused}: {error}");
    }
    for view in expected {
        test.owner.execute(&*format!("select * from {view}")).await.unwrap();
    }
}

#[tokio::test]
async fn people_are_pseudonyms_that_only_the_owner_can_make() {
    let history = History::random(78, 1_500);
    let mut test = TestDatabase::showing(&history.units).await;
    let ids: Vec<_> = history.accounts.0.keys().map(ToString::to_string).collect();
    let sellers: BTreeSet<_> =
        told(&mut test.owner, "select seller_id from analytics.listings").await.into_iter().collect();
    for view in views(&mut test.owner).await {
        let columns = told(
            &mut test.owner,
            &format!(
                "select column_name from information_schema.columns
                 where table_schema = 'analytics' and table_name = '{view}' and column_name <> 'seller_id'"
            ),
        )
        .await;
        let rows = told(&mut test.owner, &format!("select {} from analytics.{view}", columns.join(", "))).await;
        assert!(rows.iter().all(|row| ids.iter().all(|id| !row.contains(id))), "{view} names somebody");
    }
    assert!(!sellers.is_empty());
    // The same person is the same everywhere, and two are two.
    let same = "select count(distinct winner) from analytics.auctions where winner is not null
            and winner not in (select bidder from analytics.bids) and result = 'won'";
    assert_eq!(told(&mut test.owner, same).await, ["0"]);
    let people = "select count(distinct buyer) = (select count(distinct buyer_id) from analytics.order_facts) from analytics.orders";
    assert_eq!(told(&mut test.owner, people).await, ["true"]);
    // Another marketplace makes others.
    let other = TestDatabase::create().await;
    let secrets = "select encode(secret, 'hex') from public.analytics_secret";
    let mut elsewhere = other.database.connect_as_owner().await.unwrap();
    assert_ne!(told(&mut test.owner, secrets).await, told(&mut elsewhere, secrets).await);
}

/// No maximum and no reserve is anywhere: only amounts that everybody could see.
#[tokio::test]
async fn secrets_of_auctions_are_not_there() {
    use domain::auction::{Event, Terms};
    let history = History::random(79, 2_000);
    let mut test = TestDatabase::showing(&history.units).await;
    let (mut hidden, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for recorded in history.recorded() {
        let eventstore::event::DomainEvent::Auction(_, event) = &recorded.event else { continue };
        match event {
            Event::AuctionScheduled { terms: Terms { start_price, reserve_price, buy_now_price, .. } } => {
                hidden.extend(reserve_price.map(domain::Money::minor));
                seen.extend([Some(*start_price), *buy_now_price].into_iter().flatten().map(domain::Money::minor));
            }
            Event::BidPlaced { maximum, standing, .. } => {
                hidden.insert(maximum.minor());
                seen.insert(standing.price.minor());
            }
            _ => {}
        }
    }
    let secret: Vec<String> = hidden.difference(&seen).filter(|it| **it > 10_000).map(ToString::to_string).collect();
    assert!(!secret.is_empty());
    for table in ["auction_facts", "bid_facts", "auctions", "bids"] {
        for column in told(
            &mut test.owner,
            &format!(
                "select column_name from information_schema.columns
                 where table_schema = 'analytics' and table_name = '{table}' and column_name ~ 'price|rise|maximum|reserve$'"
            ),
        )
        .await
        {
            let amounts = told(&mut test.owner, &format!("select distinct {column} from analytics.{table}")).await;
            // What was driven up by one step may happen to be what somebody else had in mind.
            if column != "rise" {
                assert!(amounts.iter().all(|amount| !secret.contains(amount)), "{table}.{column}");
            }
        }
    }
}

#[tokio::test]
async fn an_analyst_is_let_in_given_another_password_and_sent_away() {
    let history = History::random(80, 300);
    let mut test = TestDatabase::showing(&history.units).await;
    let name = format!("ann_{}", mint::id().simple());
    let first = analysts::admit(&mut test.owner, &name).await.unwrap();
    let second = analysts::admit(&mut test.owner, &name).await.unwrap();
    assert_ne!(first, second);
    assert!(analysts::list(&mut test.owner).await.unwrap().contains(&name));
    // Over the socket of the tests too, where there is one.
    let where_we_are = test.database.address_of(None, &name, &second);
    Database::at(&where_we_are).unwrap().connect_as_owner().await.unwrap();
    let enter = async |password: &str| {
        let url = test.database.address_of(Some("127.0.0.1"), &name, password);
        Database::at(&url).unwrap().connect_as_owner().await
    };
    assert!(enter(&first).await.is_err(), "the former password still opens");
    let mut session = enter(&second).await.unwrap();
    let rows: i64 = sqlx::query_scalar("select count(*) from sales_per_day").fetch_one(&mut session).await.unwrap();
    assert!(rows > 0);
    assert!(session.execute("create temporary table mine (x integer)").await.is_err(), "it reads only");
    assert!(session.execute("select * from public.events").await.is_err());
    for taken in ["tradepost_service", "postgres"] {
        assert!(matches!(analysts::admit(&mut test.owner, taken).await, Err(AnalystError::Name(_))), "{taken}");
    }
    let clerk = format!("clerk_{}", mint::id().simple());
    test.owner.execute(&*format!("create role {clerk} login")).await.unwrap();
    assert!(matches!(analysts::admit(&mut test.owner, &clerk).await, Err(AnalystError::Taken(_))));
    assert!(matches!(analysts::dismiss(&mut test.owner, &clerk).await, Err(AnalystError::Unknown(_))));
    test.owner.execute(&*format!("drop role {clerk}")).await.unwrap();
    analysts::dismiss(&mut test.owner, &name).await.unwrap();
    assert!(session.ping().await.is_err() && enter(&second).await.is_err());
    assert!(matches!(analysts::dismiss(&mut test.owner, &name).await, Err(AnalystError::Unknown(_))));
}
