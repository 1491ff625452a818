//! The keys of people, wrapped with one that is not in the database: turned on for a marketplace that has people,
//! rotated, dropped, missing, and rewrapped by a command that is killed.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use api::config::{Config, Sealing, Secret};
use domain::{AccountId, Sealed};
use eventstore::sealing::PersonKey;
use eventstore::wrapping::Wrapping;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;
use tradepost_tests::client::{Client, PASSWORD};
use tradepost_tests::database::TestDatabase;
use tradepost_tests::models;
use tradepost_tests::server::{InProcess, Spawned, tradepost};

const FIRST: &str = "the first wrapping key of the tests";
const SECOND: &str = "the second wrapping key of the tests";
const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for a follower to try a batch more often than it does before it parks anything.
const SEVERAL_ATTEMPTS: Duration = Duration::from_secs(3);
/// So many that a rewrap of them can be caught in the middle.
const MANY: i64 = 20_000;

/// A current key and a former one, if there are any.
type Keys = (Option<&'static str>, Option<&'static str>);

fn settings((current, former): Keys) -> Config {
    let secret = |key: &str| Secret::new(key.to_owned());
    let sealing =
        Sealing { wrapping_key: current.map(secret), former_wrapping_keys: former.map(secret), ..Sealing::default() };
    Config { sealing, ..Config::default() }
}

fn wrapping((current, former): Keys) -> Wrapping {
    Wrapping::new(current, former.as_slice())
}

/// The command, configured with these keys.
fn with_keys(mut command: Command, (current, former): Keys) -> Command {
    command.envs(current.map(|key| ("TRADEPOST_SEALING__WRAPPING_KEY", key)));
    command.envs(former.map(|key| ("TRADEPOST_SEALING__FORMER_WRAPPING_KEYS", key)));
    command
}

async fn run(database: &TestDatabase, keys: Keys, arguments: &[&str]) -> Output {
    let ran = timeout(PATIENCE, with_keys(tradepost(database.url(), arguments), keys).output()).await;
    ran.expect("it ends").unwrap()
}

async fn said(database: &TestDatabase, keys: Keys, arguments: &[&str]) -> Value {
    let Output { status, stdout, stderr } = run(database, keys, arguments).await;
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

/// What a command that fails complains of.
async fn complaint(database: &TestDatabase, keys: Keys, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = run(database, keys, arguments).await;
    assert!(!status.success(), "{arguments:?} did not fail");
    String::from_utf8(stderr).unwrap()
}

fn id(key: &'static str) -> String {
    wrapping((Some(key), None)).current().unwrap().to_string()
}

/// Logs in anew, which takes the password out of the log, and asks for the name that a read model shows.
async fn is_shown(server: &InProcess, name: &str) -> Client {
    let client = server.client().login(name).await;
    let me = client.get("/auth/me").since(server.database.log_head().await).send().await.expect(200);
    assert_eq!((&me.body["user_name"], &me.body["email"]), (&json!(name), &json!(format!("{name}@example.com"))));
    client
}

async fn stored(connection: &mut PgConnection) -> Vec<Vec<u8>> {
    sqlx::query_scalar("select key from person_keys").fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn people_stay_who_they_are_while_the_wrapping_key_comes_changes_and_goes() {
    let server = InProcess::start().await;
    server.client().register("ann").await;
    let database = server.stop().await;
    let mut connection = database.connect().await;
    let raw = stored(&mut connection).await;
    assert_eq!(raw.iter().map(Vec::len).collect::<Vec<_>>(), [32]);

    let server = InProcess::start_on(database, settings((Some(FIRST), None))).await;
    server.client().register("bob").await;
    for name in ["ann", "bob"] {
        is_shown(&server, name).await;
    }
    let database = server.stop().await;

    let keys = (Some(SECOND), Some(FIRST));
    let server = InProcess::start_on(database, settings(keys)).await;
    server.client().register("cat").await;
    let status = said(&server.database, keys, &["keys", "status", "--json"]).await;
    let one = |key| json!({ "key": id(key), "rows": 1 });
    let expected = json!({ "current": one(SECOND), "former": [one(FIRST)], "raw": 1, "unknown": [], "unreadable": 0 });
    assert_eq!(status, expected);
    let rewrapped = said(&server.database, keys, &["keys", "rewrap", "--json"]).await;
    assert_eq!(rewrapped, json!({ "rewrapped": 2, "refused": [], "left": 0 }));
    for name in ["ann", "bob", "cat"] {
        is_shown(&server, name).await;
    }
    let rows = stored(&mut connection).await;
    assert!(rows.iter().all(|row| !row.windows(32).any(|part| part == raw[0])), "a raw key is left");
    assert!(rows.len() == 3 && rows.iter().all(|row| row.len() > 32), "a raw row is left");
    let database = server.stop().await;

    let keys = (Some(SECOND), None);
    let server = InProcess::start_on(database, settings(keys)).await;
    let status = said(&server.database, keys, &["keys", "status", "--json"]).await;
    let all = json!({ "key": id(SECOND), "rows": 3 });
    assert_eq!(status, json!({ "current": all, "former": [], "raw": 0, "unknown": [], "unreadable": 0 }));
    for name in ["bob", "cat"] {
        is_shown(&server, name).await;
    }
    let ann = is_shown(&server, "ann").await;
    let profile = json!({ "display_name": "Ann", "phone": "+92 300" });
    let changed = ann.ask(&reqwest::Method::PATCH, "/api/v1/auth/me").json(&profile).send().await.expect(200);
    ann.get("/auth/me").since(changed.at()).send().await.expect(200);
    let head = server.database.log_head().await;
    for follower in api::app::followers() {
        server.app.progress.wait_for(follower, head, PATIENCE).await.unwrap();
    }
    let live = models::digests(&server.database).await;
    let outcomes = said(&server.database, keys, &["projections", "rebuild", "--json"]).await;
    for outcome in outcomes.as_array().unwrap() {
        let comparison = &outcome["comparison"];
        assert_eq!((&comparison["differences"], &comparison["parked"]), (&json!([]), &json!([])), "{outcome}");
    }
    assert_eq!(models::digests(&server.database).await, live);
    let me = ann.get("/auth/me").send().await.expect(200);
    assert_eq!((&me.body["display_name"], &me.body["user_name"]), (&json!("Ann"), &json!("ann")));
    server.stop().await;
}

#[tokio::test]
async fn without_the_key_a_node_does_not_start_and_no_read_model_is_made_anew() {
    let server = InProcess::start_with(settings((Some(FIRST), None))).await;
    server.client().register("ann").await;
    is_shown(&server, "ann").await;
    let database = server.stop().await;
    let live = models::digests(&database).await;
    for keys in [(None, None), (Some(SECOND), None), (None, Some(SECOND))] {
        let mut serve = with_keys(Spawned::command(&["--bind", "127.0.0.1:0"]), keys);
        serve.env("DATABASE_URL", database.url()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let refused = timeout(PATIENCE, serve.output()).await.expect("it refuses").unwrap();
        let sentence = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && sentence.trim_end().lines().count() == 1, "{sentence}");
        assert!(sentence.contains(&id(FIRST)) && sentence.contains("sealing.former_wrapping_keys"), "{sentence}");

        for arguments in [&["migrate"][..], &["keys", "status"], &["projections", "rebuild"], &["keys", "rewrap"]] {
            let sentence = complaint(&database, keys, arguments).await;
            assert!(sentence.contains(&id(FIRST)), "{arguments:?}: {sentence}");
        }
        assert_eq!(models::digests(&database).await, live);
    }
    let server = InProcess::start_on(database, settings((Some(SECOND), Some(FIRST)))).await;
    is_shown(&server, "ann").await;
    server.stop().await;
}

/// Creates an account as an operator does whose configuration has a wrapping key already.
async fn create_elsewhere(database: &TestDatabase, name: &str) {
    let email = format!("{name}@example.com");
    let create = tradepost(database.url(), &["admin", "create", "--email", &email, "--user-name", name]);
    let mut create = with_keys(create, (Some(FIRST), None)).stdin(Stdio::piped()).spawn().unwrap();
    create.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).await.unwrap();
    assert!(timeout(PATIENCE, create.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_node_that_lacks_a_key_says_so_and_its_read_models_wait_for_it() {
    let server = InProcess::start().await;
    create_elsewhere(&server.database, "root").await;
    let log_in = json!({ "email": "root@example.com", "password": PASSWORD });
    server.client().post("/auth/login", &log_in).send().await.problem(503, "unavailable");
    let head = server.database.log_head().await;
    assert!(server.app.progress.wait_for("accounts", head, SEVERAL_ATTEMPTS).await.is_err());
    let database = server.stop().await;
    assert_eq!(said(&database, (None, Some(FIRST)), &["projections", "parked", "--json"]).await, json!([]));
    let server = InProcess::start_on(database, settings((None, Some(FIRST)))).await;
    is_shown(&server, "root").await;
    server.stop().await;
}

/// Puts many people there whose keys are stored as they are.
async fn crowd(connection: &mut PgConnection) {
    sqlx::query(
        "insert into person_keys select md5(n::text)::uuid, sha256(n::text::bytea) from generate_series(1, $1) as n",
    )
    .bind(MANY)
    .execute(connection)
    .await
    .unwrap();
}

async fn wrapped(connection: &mut PgConnection) -> i64 {
    let count = sqlx::query_scalar("select count(*) from person_keys where octet_length(key) > 32");
    count.fetch_one(connection).await.unwrap()
}

async fn key_of(connection: &mut PgConnection, keys: Keys, account: AccountId) -> PersonKey {
    PersonKey::load(connection, &wrapping(keys), account).await.unwrap().unwrap()
}

/// A field of some of the people, all over the table.
async fn fields(connection: &mut PgConnection) -> Vec<Sealed<String>> {
    let some = "select account_id from person_keys order by account_id";
    let accounts: Vec<uuid::Uuid> = sqlx::query_scalar(some).fetch_all(&mut *connection).await.unwrap();
    let mut fields = Vec::new();
    for account in accounts.into_iter().step_by(97) {
        fields.push(key_of(connection, (None, None), AccountId(account)).await.seal("a field"));
    }
    fields
}

async fn assert_readable(connection: &mut PgConnection, keys: Keys, fields: &[Sealed<String>]) {
    for field in fields {
        assert_eq!(key_of(connection, keys, field.of).await.open(field).as_deref(), Some("a field"));
    }
}

/// How many sessions this database has.
async fn sessions(connection: &mut PgConnection) -> i64 {
    let count = "select count(*) from pg_stat_activity where datname = current_database()";
    sqlx::query_scalar(count).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn a_rewrap_that_is_killed_leaves_every_key_readable_and_the_next_does_the_rest() {
    let (database, keys) = (TestDatabase::fresh().await, (Some(FIRST), None));
    let mut connection = database.connect().await;
    crowd(&mut connection).await;
    let fields = fields(&mut connection).await;
    let without = sessions(&mut connection).await;
    let mut done = 0;
    for kill in 1..=3 {
        let mut rewrap = with_keys(tradepost(database.url(), &["keys", "rewrap"]), keys).spawn().unwrap();
        while wrapped(&mut connection).await == done {
            assert!(rewrap.try_wait().unwrap().is_none(), "it has ended and wrapped nothing");
        }
        rewrap.kill().await.unwrap();
        // A statement that it had sent may still end, and its session with it.
        while sessions(&mut connection).await > without {}
        let now = wrapped(&mut connection).await;
        assert!(done < now && now < MANY, "it was not caught in the middle the {kill}. time: {now}");
        done = now;
        assert_readable(&mut connection, keys, &fields).await;
    }
    let rest = said(&database, keys, &["keys", "rewrap", "--json"]).await;
    assert_eq!(rest, json!({ "rewrapped": MANY - done, "refused": [], "left": 0 }));
    assert_eq!(wrapped(&mut connection).await, MANY);
    assert_readable(&mut connection, keys, &fields).await;
}

fn write_key(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, format!("{FIRST}\n")).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_rewrap_takes_a_current_key_which_may_be_in_a_file() {
    let database = TestDatabase::fresh().await;
    for keys in [(None, None), (None, Some(FIRST))] {
        let sentence = complaint(&database, keys, &["keys", "rewrap"]).await;
        assert!(sentence.contains("sealing.wrapping_key") && sentence.contains("openssl rand"), "{sentence}");
    }
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("key");
    for (mode, warned) in [(0o600, false), (0o644, true)] {
        write_key(&file, mode);
        let mut status = tradepost(database.url(), &["keys", "status"]);
        let told = status.env("TRADEPOST_SEALING__WRAPPING_KEY_FILE", &file).output().await.unwrap();
        let (said, warning) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(said.contains(&format!("current {}", id(FIRST))), "{said}{warning}");
        assert_eq!(warning.contains("chmod 600"), warned, "{warning}");
    }
}
