//! What analysts are told to do works: every question, the notebook and the logins of docs/analytics.md, which says of each
//! column what the database says.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use eventstore::mint;
use serde_json::{Value, json};
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, FromRow, PgConnection, Row};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;
use tradepost_tests::bazaar::{Bazaar, DAY_MS};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::{auction, listing, usd, with};
use tradepost_tests::openid::python;
use tradepost_tests::server::binary;

const PATIENCE: Duration = Duration::from_mins(1);
/// The first bytes of every PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn page() -> String {
    std::fs::read_to_string(docs().join("analytics.md")).unwrap()
}

/// A marketplace in which something of everything was sold, over two weeks. All of it is in the views.
async fn market() -> TestDatabase {
    let bazaar = Bazaar::open().await;
    let Bazaar { server, seller, buyer, .. } = &bazaar;
    let rival = server.client().register("rival").await;
    for cents in [5_000, 7_000] {
        let contested = seller.schedule(&with(auction(1_000), "duration_s", 600)).await;
        buyer.bid(&contested, cents).await.expect(201);
        rival.bid(&contested, cents / 2).await.expect(201);
        rival.bid(&contested, cents + 1).await.expect(201);
    }
    let reserved = seller.schedule(&with(auction(1_000), "reserve_price", usd(50_000))).await;
    buyer.bid(&reserved, 2_000).await.expect(201);
    bazaar.complete().await;
    bazaar.wait(7 * DAY_MS).await;
    let disputed = bazaar.deliver().await;
    bazaar.dispute(&disputed).await.expect(200);
    let cancelled = bazaar.sell().await;
    buyer.post(&format!("/orders/{cancelled}/cancel"), &json!({ "reason": "Too late." })).send().await.expect(200);
    bazaar.sell().await;
    let now = bazaar.complete().await;
    assert!(!now.is_empty());
    let head = bazaar.wait(0).await;
    buyer.get("/listings?q=unicorn").since(head).send().await.expect(200);
    for follower in projections::ALL.map(|model| model.name) {
        server.app.progress.wait_for(follower, head, PATIENCE).await.unwrap();
    }
    bazaar.server.stop().await
}

/// `tradepost` with these arguments, on this database.
async fn tradepost(database: &TestDatabase, arguments: &[&str]) -> Result<String, String> {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder.path()).env_clear().env("DATABASE_URL", database.url());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ran = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    let [said, told] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    if ran.status.success() { Ok(said.trim_end().to_owned()) } else { Err(told) }
}

/// A session that may read what analysts may.
async fn analyst(database: &TestDatabase) -> PgConnection {
    let mut connection = database.connect().await;
    connection.execute("set role tradepost_analyst").await.unwrap();
    connection
}

#[tokio::test]
async fn every_question_of_the_documentation_is_answered() {
    let database = market().await;
    let mut analyst = analyst(&database).await;
    let page = page();
    let questions: Vec<&str> =
        page.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(questions.len() > 10, "{}", questions.len());
    for question in questions {
        let rows = sqlx::query(question).fetch_all(&mut analyst).await;
        let rows = rows.unwrap_or_else(|error| panic!("{question}: {error}"));
        // Everything that is asked for has happened here.
        assert!(!rows.is_empty(), "nothing answers {question}");
    }
}

#[derive(FromRow)]
struct Described {
    view: String,
    meaning: Option<String>,
    column: String,
    kind: String,
    column_meaning: Option<String>,
}

#[tokio::test]
async fn the_documentation_says_of_each_column_what_the_database_says() {
    let database = TestDatabase::fresh().await;
    let described: Vec<Described> = sqlx::query_as(
        "select table_name::text as view, obj_description(format('analytics.%I', table_name)::regclass) as meaning,
            column_name::text as column,
            case data_type when 'timestamp with time zone' then 'timestamptz' else data_type::text end as kind,
            col_description(format('analytics.%I', table_name)::regclass, ordinal_position) as column_meaning
         from information_schema.columns join pg_views on schemaname = table_schema and viewname = table_name
         where table_schema = 'analytics' order by table_name, ordinal_position",
    )
    .fetch_all(&mut database.connect().await)
    .await
    .unwrap();
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for Described { view, meaning, column, kind, column_meaning } in described {
        let meaning = meaning.or_fail(&format!("find a comment on the view {view}"));
        let column_meaning = column_meaning.or_fail(&format!("find a comment on {view}.{column}"));
        let section = expected.entry(view).or_insert_with_key(|view| {
            format!("### `{view}`\n\n{meaning}\n\n| column | type | meaning |\n| --- | --- | --- |\n")
        });
        writeln!(section, "| `{column}` | {kind} | {column_meaning} |").unwrap();
    }
    let page = page();
    let views = page.split("<!-- views -->").nth(1).and_then(|rest| rest.split("<!-- end of views -->").next());
    let written: BTreeMap<String, String> = views
        .or_fail("find the views in docs/analytics.md")
        .split("\n### ")
        .skip(1)
        .map(|section| {
            let name = section.split('`').nth(1).unwrap_or_default().to_owned();
            (name, format!("### {}\n", section.trim_end()))
        })
        .collect();
    assert_eq!(written.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (view, section) in expected {
        assert_eq!(written[&view], section, "docs/analytics.md, `{view}`");
    }
}

#[tokio::test]
async fn whoever_is_admitted_reads_the_views_until_they_are_dismissed() {
    let database = market().await;
    let name = format!("ann_{}", mint::id().simple());
    let admitted = tradepost(&database, &["admin", "analyst", "admit", &name, "--json"]).await.unwrap();
    let admitted: Value = serde_json::from_str(&admitted).unwrap();
    assert_eq!(admitted["user"], *name);
    let url = admitted["url"].as_str().unwrap();
    let mut session = PgConnection::connect(url).await.unwrap();
    let read: PgRow = session.fetch_one("select sum(orders) > 0 as sold from sales_per_day").await.unwrap();
    assert!(read.get::<bool, _>("sold"));
    session.execute("select * from public.events").await.unwrap_err();
    let listed = tradepost(&database, &["admin", "analyst", "list", "--json"]).await.unwrap();
    assert!(serde_json::from_str::<Vec<String>>(&listed).unwrap().contains(&name));

    // The notebook, with the address that was printed.
    let folder = TempDir::new().unwrap();
    let chart = folder.path().join("sales.png");
    let mut notebook = Command::new(python());
    notebook.arg(docs().join("analytics/sales.py")).arg(url).arg("--chart").arg(&chart);
    notebook.env("MPLCONFIGDIR", folder.path()).stdin(Stdio::null()).kill_on_drop(true);
    let ran = timeout(PATIENCE, notebook.output()).await.expect("it ends").unwrap();
    let [said, told] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(ran.status.success(), "{told}");
    let gross: i64 = session
        .fetch_one("select sum(gross + cash_gross)::bigint as gross from sales_per_day where currency = 'USD'")
        .await
        .unwrap()
        .get("gross");
    let weeks: Vec<i64> = said.lines().filter(|line| line.starts_with("20")).map(cents_of_a_week).collect();
    assert!(weeks.len() >= 2, "{said}");
    assert_eq!(weeks.iter().sum::<i64>(), gross, "{said}");
    let drawn = std::fs::read(&chart).unwrap();
    assert!(drawn.starts_with(PNG) && drawn.len() > 5_000, "{} bytes", drawn.len());

    tradepost(&database, &["admin", "analyst", "dismiss", &name]).await.unwrap();
    session.ping().await.unwrap_err();
    PgConnection::connect(url).await.unwrap_err();
    let unknown = tradepost(&database, &["admin", "analyst", "dismiss", &name]).await.unwrap_err();
    assert!(unknown.contains(&format!("there is no analyst `{name}`")), "{unknown}");
    let refused = tradepost(&database, &["admin", "analyst", "admit", "Robert'; drop table"]).await.unwrap_err();
    assert!(refused.contains("an analyst's name begins with a letter"), "{refused}");
}

/// What was sold in a week, of a line such as `2026-11-16         3        315.00 USD      6.30 USD`.
fn cents_of_a_week(line: &str) -> i64 {
    let gross = line.split_whitespace().nth(2).unwrap_or_default();
    gross.replace([',', '.'], "").parse().or_fail(line)
}

#[tokio::test]
async fn what_nobody_finds_is_counted_and_nobody_with_it() {
    let bazaar = Bazaar::open().await;
    bazaar.seller.offer(&with(listing(1_000), "title", "Roman coin")).await;
    let head = bazaar.wait(0).await;
    let search = async |query: &str| {
        bazaar.buyer.get(&format!("/listings?{query}")).since(head).send().await.expect(200);
    };
    for unfound in ["q=Unicorn", "q=%20unicorn%20&limit=5", "q=unicorn&sort=price_asc", "q=UNICORN%20horn"] {
        search(unfound).await;
    }
    for not_counted in [
        "q=roman",                    // It is there.
        "q=",                         // Nothing was searched for.
        "q=unicorn&category=watches", // It may be elsewhere.
        "q=unicorn&attr.year=1989",   // Likewise.
        "q=unicorn&status=archived",  // Nobody buys that.
        "q=ann%40example.com",        // That is somebody.
        "q=%2B92%20300%201234567",    // So is that.
    ] {
        search(not_counted).await;
    }
    bazaar.buyer.get("/listings/suggestions?q=unicorn").send().await.expect(200);
    // It is written before the node has stopped.
    let database = bazaar.server.stop().await;
    let counted: Vec<(Option<String>, i64)> =
        sqlx::query_as("select term, searches from analytics.searches_without_results order by searches desc, term")
            .fetch_all(&mut analyst(&database).await)
            .await
            .unwrap();
    assert_eq!(counted, [(Some("unicorn".to_owned()), 3), (Some("unicorn horn".to_owned()), 1)]);
}

/// However many different things are searched for, a day takes no more rows, and no count is lost.
#[tokio::test]
async fn a_day_has_room_for_a_thousand_terms() {
    let bazaar = Bazaar::open().await;
    let Bazaar { server, .. } = &bazaar;
    let known = "insert into search_misses (day, term, searches)
        select (now() at time zone 'UTC')::date - day, 'term ' || number, 1
        from generate_series(1, 998) as number, unnest(array[-1, 0, 402]) as day";
    server.database.connect().await.execute(known).await.unwrap();
    for words in ["one", "two", "two", "three", "term 7", "four", "four", "four"] {
        server.app.unfound.note(words);
    }
    let database = bazaar.server.stop().await;
    let counts: Vec<(Option<String>, i64)> = sqlx::query_as(
        "select term, searches from analytics.searches_without_results
         where term is null or term not like 'term%' or searches > 1 order by 1 nulls first",
    )
    .fetch_all(&mut database.connect().await)
    .await
    .unwrap();
    let counts: Vec<_> = counts.iter().map(|(term, searches)| (term.as_deref(), *searches)).collect();
    assert_eq!(counts, [(None, 2), (Some("four"), 3), (Some("term 7"), 2), (Some("two"), 2)]);
    let old: i64 = sqlx::query_scalar("select count(*) from search_misses where day < current_date - 100")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    assert_eq!(old, 0, "what is older than 400 days is gone");
}
