//! F20: a backup that is taken while people trade, restored into a fresh cluster. Log, read models and money are right,
//! and trading goes on.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use api::embedded::{EmbeddedPostgres, EmbeddedSettings};
use eventstore::database::Database;
use sqlx::PgConnection;
use tokio::process::Command;
use tokio::sync::watch;
use tradepost_tests::checker::{Log, assert_kept};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::load::{Load, Running};
use tradepost_tests::models;
use tradepost_tests::real::open_folder;
use tradepost_tests::server::Spawned;

use super::{Plan, Tried};
use crate::results::Figures;

const WORKERS: usize = 16;
/// Commands that are accepted before the backup begins.
const BEFORE: usize = 300;
/// How soon to look again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A program of the installed PostgreSQL.
fn program(name: &str) -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = installed.map(|version| version.path().join("bin").join(name)).collect();
    found.retain(|path| path.is_file());
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

async fn run(mut command: Command, doing: &str) {
    let done = command.stdin(Stdio::null()).output().await.or_fail(doing);
    assert!(done.status.success(), "could not {doing}: {}", String::from_utf8_lossy(&done.stderr));
}

async fn until_accepted(running: &Running, wanted: usize) {
    while running.accepted() < wanted {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The log up to `head` in one number, byte for byte.
async fn fingerprint(connection: &mut PgConnection, head: i64) -> (i64, Option<String>) {
    let query = "select count(*), md5(string_agg(concat_ws('|', position, commit_position, event_id, aggregate_type,
            aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at), ',' order by position))
        from events where position <= $1";
    sqlx::query_as(query).bind(head).fetch_one(connection).await.or_fail("read the log")
}

async fn dump(database: &TestDatabase, file: &Path) {
    let mut command = Command::new(program("pg_dump"));
    command.arg("--format=custom").arg("--file").arg(file).arg(database.url());
    run(command, "take a backup").await;
}

/// As docs/operations.md has it.
async fn restore(database: &TestDatabase, file: &Path) {
    for role in ["create role tradepost_service nologin", "create role tradepost_analyst nologin"] {
        sqlx::query(role).execute(&mut database.connect().await).await.or_fail("make a role that a dump does not hold");
    }
    let mut command = Command::new(program("pg_restore"));
    command.args(["--exit-on-error", "--no-owner", "--dbname"]).arg(database.url()).arg(file);
    run(command, "restore a backup").await;
}

pub(crate) async fn backups(plan: Plan) -> Tried {
    for number in 1..=plan.times {
        back_up_and_restore(plan.seed.wrapping_add(number as u64)).await;
        plan.done.inc(1);
    }
    let mut figures = Figures::default();
    figures.count("backups", plan.tried());
    Ok(figures)
}

async fn back_up_and_restore(seed: u64) {
    let folder = open_folder("tradepost-backup-").or_fail("make a folder for Postgres");
    let original = TestDatabase::fresh().await;
    let server = Spawned::start(original.url(), &[]).await;
    let address = watch::Sender::new(server.address().to_owned());
    let load = Load::prepare(&server.client(), vec![address.subscribe()], WORKERS, seed).await;
    let trader = load.traders[0].clone();
    let running = load.start();
    until_accepted(&running, BEFORE).await;
    let (before, accepted) = (original.log_head().await, running.accepted());
    let file = folder.path().join("tradepost.dump");
    dump(&original, &file).await;
    // The backup was taken while people traded, and they still do.
    until_accepted(&running, accepted + 1).await;
    let history = running.stop().await;
    assert!(server.terminate().await.status.success());
    assert_kept(&Log::read(&mut original.connect().await).await, &history);

    let settings = EmbeddedSettings { dir: folder.path().join("postgres"), durable: false, max_connections: 100 };
    let postgres = EmbeddedPostgres::start(settings).await.or_fail("start a fresh Postgres");
    let restored = TestDatabase::at(postgres.url());
    restore(&restored, &file).await;
    let head = restored.log_head().await;
    assert!((before..=original.log_head().await).contains(&head), "{head} is not after {before}");
    let (here, there) = (&mut restored.connect().await, &mut original.connect().await);
    let log = fingerprint(here, head).await;
    assert_eq!(log.0, head, "positions run from 1 without gaps");
    assert_eq!(log, fingerprint(there, head).await, "the log is the original's, byte for byte");

    let server = Spawned::start(restored.url(), &[]).await;
    let trader = trader.at(server.address());
    trader.get("/wallet").since(head).send().await.expect(200);
    let deposited = trader.deposit(100, "sandbox-succeeds").await.expect(202).at();
    assert!(deposited > head, "trading goes on after what was restored");
    trader.get("/wallet").since(deposited).send().await.expect(200);
    models::assert_equal_their_rebuild(&restored).await;
    let pool = Database::at(restored.url()).or_fail("read the address").pool(4);
    let books = projections::ledger::trial_balance(&pool).await.or_fail("read the books");
    assert!(!books.is_empty() && books.iter().all(|currency| currency.difference.0 == 0), "{books:?}");
    pool.close().await;
    assert!(server.terminate().await.status.success());
    postgres.stop().await.or_fail("stop Postgres");
}
