//! The log and the read models as files, and a marketplace that is made anew from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use api::config::Config;
use api::export::columns;
use eventstore::proof::TreeHead;
use eventstore::proof::head::{Published, follows};
use eventstore::proof::keys::PublicKey;
use eventstore::transfer;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tradepost_tests::client::Client;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::OrFail;
use tradepost_tests::market::listing;
use tradepost_tests::models;
use tradepost_tests::server::{InProcess, tradepost};
use tradepost_tests::verifying::verify;

use crate::rebuild::busy;
const CARRIER: &str = "the key that carries the keys of people\n";
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

async fn run(database: &TestDatabase, arguments: &[&str]) -> Output {
    tradepost(database.url(), arguments).output().await.or_fail("run tradepost")
}

/// What a command says in JSON.
async fn said(database: &TestDatabase, arguments: &[&str]) -> Value {
    let Output { status, stdout, stderr } = run(database, arguments).await;
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).or_fail("read what a command says")
}

/// What a command that fails complains of.
async fn complaint(database: &TestDatabase, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = run(database, arguments).await;
    assert!(!status.success(), "{arguments:?} did not fail");
    String::from_utf8(stderr).or_fail("read a complaint")
}

fn text(path: &Path) -> &str {
    path.to_str().or_fail("name a file")
}

/// Where things are put that leave a marketplace.
struct Shelf(TempDir);

impl Shelf {
    fn new() -> Self {
        let shelf = Self(TempDir::new().or_fail("make a folder"));
        fs::write(shelf.carrier(), CARRIER).or_fail("write a key");
        shelf
    }

    fn export(&self) -> PathBuf {
        self.0.path().join("export")
    }

    fn keys(&self) -> PathBuf {
        self.0.path().join("people.keys")
    }

    fn carrier(&self) -> PathBuf {
        self.0.path().join("carrier.key")
    }

    async fn take_out(&self, database: &TestDatabase, format: &str) -> Value {
        said(database, &["export", "--to", text(&self.export()), "--format", format, "--json"]).await
    }

    async fn take_keys(&self, database: &TestDatabase) -> Value {
        let (to, carrier) = (self.keys(), self.carrier());
        said(database, &["keys", "export", "--to", text(&to), "--wrapping-key-file", text(&carrier), "--json"]).await
    }

    async fn put_in(&self, database: &TestDatabase, key: &str) -> Value {
        let (from, keys, carrier) = (self.export(), self.keys(), self.carrier());
        let arguments =
            ["import-log", text(&from), "--public-key", key, "--keys", text(&keys), "--keys-wrapping-key-file"];
        said(database, &[&arguments[..], &[text(&carrier), "--json"]].concat()).await
    }

    fn manifest(&self) -> Value {
        let text = fs::read(self.export().join("manifest.json")).or_fail("read the manifest");
        serde_json::from_slice::<Value>(&text).or_fail("read the manifest")["manifest"].clone()
    }

    /// Every file of the export with its content, but for what `parts` remembers.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.export()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).or_fail("list a folder") {
                let path = entry.or_fail("list a folder").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.export()).or_fail("name a file").to_string_lossy().into_owned();
                if !name.starts_with("parts/") {
                    files.insert(name, fs::read(&path).or_fail("read a file"));
                }
            }
        }
        files
    }
}

/// Whether a file is one that is not finished.
fn is_draft(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}

/// Every row of the log, byte for byte, in one number.
async fn fingerprint(database: &TestDatabase) -> String {
    let mut connection = database.connect().await;
    let events = transfer::read(&mut connection, 0, i64::MAX, i64::MAX).await.or_fail("read the log");
    let mut hash = Sha256::new();
    for event in &events {
        hash.update(event.leaf());
    }
    format!("{} {:x}", events.len(), hash.finalize())
}

/// What is answered to commands that were accepted.
async fn answers(database: &TestDatabase) -> Vec<(Vec<u8>, Vec<u8>, i64, String)> {
    let all = "select key, fingerprint, position, answer::text from command_keys order by key";
    sqlx::query_as(all).fetch_all(&mut database.connect().await).await.or_fail("read the answers")
}

/// Lets nodes carry everything to the end of the log.
async fn carried_on(database: TestDatabase) -> TestDatabase {
    let server = InProcess::start_on(database, Config::default()).await;
    loop {
        let head = server.database.log_head().await;
        for follower in api::app::followers() {
            server.app.progress.wait_for(follower, head, PATIENCE).await.or_fail("wait for a follower");
        }
        if server.database.log_head().await == head {
            return server.stop().await;
        }
    }
}

async fn comes_back_from(format: &str) {
    let (there, shelf) = (busy().await, Shelf::new());
    let exported = shelf.take_out(&there, format).await;
    let keys = shelf.take_keys(&there).await;
    let here = TestDatabase::fresh().await;
    let signer = exported["signed_by"].as_str().or_fail("find who has signed");
    let imported = shelf.put_in(&here, signer).await;

    let head = there.log_head().await;
    assert_eq!((&imported["events"], &exported["log"]["to"]), (&json!(head), &json!(head)));
    assert_eq!(imported["root"], exported["log"]["root"]);
    assert_eq!((&imported["keys"], &imported["without_key"]), (&keys["keys"], &json!(0)));
    assert_eq!(fingerprint(&here).await, fingerprint(&there).await, "the log is the same, byte for byte");
    assert_eq!(answers(&here).await, answers(&there).await);
    assert!(!answers(&here).await.is_empty());
    let (digests, expected) = (models::digests(&here).await, models::digests(&there).await);
    for (model, tables) in &expected {
        assert_eq!(digests.get(model), Some(tables), "{model}");
    }
    // Nobody is told anything twice, and all of it is sound. What is due may have happened meanwhile.
    let here = carried_on(here).await;
    let letters: i64 = sqlx::query_scalar("select count(*) from letters where position <= $1")
        .bind(head)
        .fetch_one(&mut here.connect().await)
        .await
        .or_fail("count letters");
    assert_eq!(letters, 0);
    assert_eq!(verify(&here, &[]).await.1, []);
    // People log in with what they know, and trade.
    let server = InProcess::start_on(here, Config::default()).await;
    let buyer = server.client().login("bob-buys").await;
    buyer.fund(100).await;
    assert!(server.database.log_head().await > head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marketplace_comes_back_from_ndjson_with_its_people_as_it_was() {
    comes_back_from("ndjson").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marketplace_comes_back_from_parquet_with_its_people_as_it_was() {
    comes_back_from("parquet").await;
}

/// Something small to export.
async fn small() -> TestDatabase {
    let server = InProcess::start().await;
    let seller = server.client().register_seller("seller").await;
    seller.offer(&listing(1_000)).await;
    carried_on(server.stop().await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_call_adds_what_has_come_since_and_leaves_the_rest() {
    let (database, shelf) = (small().await, Shelf::new());
    let first = shelf.take_out(&database, "ndjson").await;
    let before = shelf.files();
    let head = database.log_head().await;
    assert_eq!(
        (&first["log"]["from"], &first["log"]["to"], &first["log"]["added"]),
        (&json!(1), &json!(head), &json!(head))
    );

    let again = shelf.take_out(&database, "ndjson").await;
    assert_eq!((&again["log"]["added"], &again["log"]["root"]), (&json!(0), &first["log"]["root"]));
    let same = |name: &String| name.starts_with("log/");
    let logs = |files: &BTreeMap<String, Vec<u8>>| files.keys().filter(|name| same(name)).cloned().collect::<Vec<_>>();
    assert_eq!(logs(&shelf.files()), logs(&before));

    let server = InProcess::start_on(database, Config::default()).await;
    server.client().register("late").await;
    let database = carried_on(server.stop().await).await;
    let more = database.log_head().await;
    let later = shelf.take_out(&database, "ndjson").await;
    assert_eq!((&later["log"]["to"], &later["log"]["added"]), (&json!(more), &json!(more - head)));
    for (name, content) in before.iter().filter(|(name, _)| same(name)) {
        assert_eq!(shelf.files().get(name), Some(content), "{name} was written anew");
    }
    // One that was made at once has the same root.
    let other = Shelf::new();
    assert_eq!(other.take_out(&database, "parquet").await["log"]["root"], later["log"]["root"]);
    let refused = complaint(&database, &["export", "--to", text(&shelf.export()), "--format", "parquet"]).await;
    assert!(refused.contains("another folder"), "{refused}");
    let refused = complaint(&database, &["export", "--to", text(&shelf.export()), "--from", "2"]).await;
    assert!(refused.contains("begins at position 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_was_interrupted_goes_on() {
    let (database, shelf) = (small().await, Shelf::new());
    let head = database.log_head().await;
    // What a call leaves that is killed before its manifest, in the middle of a file.
    let half = (head / 2).to_string();
    said(&database, &["export", "--to", text(&shelf.export()), "--log", "--until", &half, "--json"]).await;
    fs::remove_file(shelf.export().join("manifest.json")).or_fail("take the manifest away");
    let unfinished = shelf.export().join("log").join("date=2026-01-01");
    fs::create_dir_all(&unfinished).or_fail("make a folder");
    fs::write(unfinished.join("events-00000000000000000099.ndjson.tmp"), "{").or_fail("write half a file");
    let empty = TestDatabase::fresh().await;
    let refused = complaint(&empty, &["import-log", text(&shelf.export()), "--without-keys"]).await;
    assert!(refused.contains("not finished"), "{refused}");

    let exported = shelf.take_out(&database, "ndjson").await;
    assert!(shelf.files().keys().all(|name| !is_draft(name)), "half a file is left");
    assert!(exported["log"]["added"].as_i64().is_some_and(|added| added > 0 && added < head), "{exported}");
    let other = Shelf::new();
    assert_eq!(other.take_out(&database, "ndjson").await["log"]["root"], exported["log"]["root"]);
    assert_eq!(events(&shelf), events(&other), "line by line");

    // What was altered while nobody had signed it is not signed.
    let stretch = &shelf.manifest()["log"]["files"][0]["file"]["path"];
    let path = shelf.export().join(stretch.as_str().or_fail("find a file"));
    alter(&path);
    fs::remove_file(shelf.export().join("manifest.json")).or_fail("take the manifest away");
    let refused = complaint(&database, &["export", "--to", text(&shelf.export())]).await;
    assert!(refused.contains("not what was written"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_the_log_does_not_have_are_never_signed() {
    for format in ["ndjson", "parquet"] {
        let (database, shelf) = (small().await, Shelf::new());
        shelf.take_out(&database, format).await;
        fs::remove_file(shelf.export().join("manifest.json")).or_fail("take the manifest away");
        // Whoever can write there puts another log in its place, with all that is said of it.
        let (other, theirs) = (small().await, Shelf::new());
        theirs.take_out(&other, format).await;
        for folder in ["log", "parts"] {
            let (ours, theirs) = (shelf.export().join(folder), theirs.export().join(folder));
            fs::remove_dir_all(&ours).or_fail("take a folder away");
            fs::rename(theirs, ours).or_fail("put another in its place");
        }
        let refused = complaint(&database, &["export", "--to", text(&shelf.export()), "--format", format]).await;
        assert!(refused.contains("another log"), "{refused}");
        assert!(!shelf.export().join("manifest.json").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_not_gone_on_with_by_another_log_or_an_earlier_state_of_it() {
    let (there, whole, part) = (small().await, Shelf::new(), Shelf::new());
    whole.take_out(&there, "ndjson").await;
    let from = text(&part.export()).to_owned();
    said(&there, &["export", "--to", &from, "--log", "--from", "3", "--json"]).await;
    let server = InProcess::start().await;
    for name in ["one", "two", "three", "four"] {
        server.client().register_seller(name).await.offer(&listing(1_000)).await;
    }
    let longer = carried_on(server.stop().await).await;
    assert!(longer.log_head().await > there.log_head().await);
    for shelf in [&whole, &part] {
        let before = shelf.files();
        for database in [&TestDatabase::fresh().await, &longer] {
            let refused = complaint(database, &["export", "--to", text(&shelf.export()), "--log"]).await;
            assert!(refused.contains("earlier state"), "{refused}");
            assert!(shelf.files() == before, "something was written");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_has_one_format_for_log_and_read_models() {
    let (database, shelf) = (small().await, Shelf::new());
    shelf.take_out(&database, "parquet").await;
    let before = shelf.files();
    let refused = complaint(&database, &["export", "--to", text(&shelf.export()), "--models"]).await;
    assert!(refused.contains("is in parquet"), "{refused}");
    assert!(shelf.files() == before, "something was written");
}

/// Every file that the manifest names is as it says.
fn assert_whole(shelf: &Shelf) {
    fn look(shelf: &Shelf, value: &Value) -> usize {
        let within = match value {
            Value::Object(fields) => fields.values().map(|value| look(shelf, value)).sum(),
            Value::Array(items) => items.iter().map(|item| look(shelf, item)).sum(),
            _ => 0,
        };
        let Some(sha256) = value.get("sha256") else { return within };
        let path = value["path"].as_str().or_fail("find a file");
        let content = fs::read(shelf.export().join(path)).or_fail("read a file");
        assert_eq!(*sha256, format!("{:x}", Sha256::digest(content)), "{path}");
        within + 1
    }
    assert!(look(shelf, &shelf.manifest()) > projections::ALL.len());
}

/// The names of the files of a read model.
fn files_of(shelf: &Shelf, model: &str) -> Vec<String> {
    shelf.files().into_keys().filter(|name| name.starts_with(&format!("models/{model}/"))).collect()
}

/// Nobody gets at a table until this goes.
struct Shut(PgConnection, &'static str);

impl Shut {
    async fn the(table: &'static str, statement: &'static str, database: &TestDatabase) -> Self {
        let mut connection = database.connect().await;
        connection.execute("begin").await.or_fail("begin");
        connection.execute(statement).await.or_fail("shut a table");
        Self(connection, table)
    }

    /// Until somebody stands before it.
    async fn knocked(&mut self) {
        let waiting = "select exists (select from pg_locks where relation = $1::regclass and not granted)";
        let knocked = async {
            while !sqlx::query_scalar::<_, bool>(waiting)
                .bind(self.1)
                .fetch_one(&mut self.0)
                .await
                .or_fail("look who waits")
            {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, knocked).await.or_fail("wait longer for somebody to come");
    }

    async fn open(self) {
        self.0.close().await.or_fail("open a table");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_export_outlives_a_second_one_that_is_killed_and_that_goes_on() {
    let (database, shelf) = (small().await, Shelf::new());
    shelf.take_out(&database, "ndjson").await;
    assert_whole(&shelf);
    // Something is answered without an event, where the log ends.
    let answer = "insert into command_keys (key, fingerprint, position, answer, recorded_at)
        select decode(repeat('07', 16), 'hex'), decode(repeat('08', 16), 'hex'), position, '{}', now() from log_head";
    database.connect().await.execute(answer).await.or_fail("answer a command");

    let mut shut = Shut::the("orders.orders", "lock table orders.orders in access exclusive mode", &database).await;
    let mut export = tradepost(database.url(), &["export", "--to", text(&shelf.export())]).spawn().or_fail("export");
    shut.knocked().await;
    export.kill().await.or_fail("kill the export");
    shut.open().await;
    assert!(shelf.files().keys().any(|name| is_draft(name)), "it was not in the middle of a file");
    assert_whole(&shelf);
    let empty = TestDatabase::fresh().await;
    said(&empty, &["import-log", text(&shelf.export()), "--without-keys", "--json"]).await;
    assert_eq!(fingerprint(&empty).await, fingerprint(&database).await);

    // What the killed one has written of read models is not written again.
    let first = projections::ALL[0].name;
    assert_ne!(first, "orders");
    let written = files_of(&shelf, first);
    shelf.take_out(&database, "ndjson").await;
    assert_whole(&shelf);
    let left = files_of(&shelf, first);
    assert!(!left.is_empty() && left.len() * 2 == written.len(), "{written:?} {left:?}");
    assert!(left.iter().all(|name| written.contains(name)), "{written:?} {left:?}");
    assert_eq!(shelf.files().keys().filter(|name| name.starts_with("beside/")).count(), 2);
    let other = Shelf::new();
    other.take_out(&database, "ndjson").await;
    let told = |shelf: &Shelf| {
        let mut models = shelf.manifest()["models"].clone();
        for table in models.as_array_mut().into_iter().flatten().filter_map(|model| model["tables"].as_array_mut()) {
            for table in table {
                drop(table["file"]["path"].take());
            }
        }
        (models, events(shelf))
    };
    assert_eq!(told(&shelf), told(&other), "as if nobody had killed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_models_of_a_day_that_was_never_finished_are_not_signed_later() {
    let (database, shelf) = (small().await, Shelf::new());
    let to = text(&shelf.export()).to_owned();
    let mut shut = Shut::the("orders.orders", "lock table orders.orders in access exclusive mode", &database).await;
    let mut export = tradepost(database.url(), &["export", "--to", &to, "--models"]).spawn().or_fail("export");
    shut.knocked().await;
    export.kill().await.or_fail("kill the export");
    shut.open().await;
    assert!(!files_of(&shelf, projections::ALL[0].name).is_empty());
    said(&database, &["export", "--to", &to, "--log", "--json"]).await;
    assert_eq!(shelf.manifest()["models"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_leaves_nothing_and_the_next_does_all() {
    let (there, shelf) = (small().await, Shelf::new());
    let exported = shelf.take_out(&there, "parquet").await;
    let here = TestDatabase::fresh().await;
    // Where it says that letters are not to be sent again, all of the log is there, and not committed.
    let mut shut = Shut::the("mail_quiet", "lock table mail_quiet in share mode", &here).await;
    let from = shelf.export();
    let arguments = ["import-log", text(&from), "--without-keys", "--json"];
    let mut import = tradepost(here.url(), &arguments).spawn().or_fail("import");
    shut.knocked().await;
    import.kill().await.or_fail("kill the import");
    shut.open().await;
    // Its session ends once it notices, which the next import waits for.
    let imported = said(&here, &arguments).await;
    assert_eq!((&imported["root"], &imported["events"]), (&exported["log"]["root"], &exported["log"]["to"]));
    assert_eq!(fingerprint(&here).await, fingerprint(&there).await);
}

/// The lines of all events, in order.
fn events(shelf: &Shelf) -> Vec<String> {
    let files = shelf.files();
    let mut lines = Vec::new();
    for file in shelf.manifest()["log"]["files"].as_array().into_iter().flatten() {
        let path = file["file"]["path"].as_str().or_fail("find a file");
        let content = String::from_utf8(files[path].clone()).or_fail("read a file");
        lines.extend(content.lines().map(str::to_owned));
    }
    lines
}

/// Changes one byte.
fn alter(path: &Path) {
    let mut bytes = fs::read(path).or_fail("read a file");
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => bytes.push(b'{'),
    }
    fs::write(path, bytes).or_fail("alter a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_cloud_events_with_the_payload_as_it_is_stored() {
    let (database, shelf) = (small().await, Shelf::new());
    shelf.take_out(&database, "ndjson").await;
    let stored: Vec<(i64, String, String, String)> = sqlx::query_as(
        "select position, 'tradepost.' || aggregate_type || '.' || event_type, payload::text, metadata::text
         from events order by position",
    )
    .fetch_all(&mut database.connect().await)
    .await
    .or_fail("read the log");
    let lines = events(&shelf);
    assert_eq!(lines.len(), stored.len());
    for (line, (position, kind, payload, metadata)) in lines.iter().zip(stored) {
        let event: Value = serde_json::from_str(line).or_fail("read a line");
        assert_eq!(event["specversion"], "1.0");
        assert_eq!((&event["type"], &event["position"]), (&json!(kind), &json!(position.to_string())));
        assert_eq!(event["metadata"], json!(metadata));
        assert!(line.ends_with(&format!(r#""data":{payload}}}"#)), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_log_is_exported_by_position_or_day_and_not_imported() {
    let (database, shelf) = (small().await, Shelf::new());
    let head = database.log_head().await;
    let to = text(&shelf.export()).to_owned();
    let part = said(&database, &["export", "--to", &to, "--log", "--from", "3", "--until", "4", "--json"]).await;
    let reaches = part["log"]["to"].as_i64().or_fail("find the end");
    assert!(part["log"]["from"] == 3 && (4..=head).contains(&reaches) && part["models"] == json!([]), "{part}");
    let end: bool = sqlx::query_scalar("select commit_position = position from events where position = $1")
        .bind(reaches)
        .fetch_one(&mut database.connect().await)
        .await
        .or_fail("look at the last event");
    assert!(end, "no unit of work is cut");
    let empty = TestDatabase::fresh().await;
    let refused = complaint(&empty, &["import-log", &to, "--without-keys"]).await;
    assert!(refused.contains("begins at position 3"), "{refused}");

    let other = Shelf::new();
    let to = text(&other.export()).to_owned();
    let none = said(&database, &["export", "--to", &to, "--log", "--until", "2020-01-01", "--json"]).await;
    assert_eq!((&none["log"]["to"], &none["log"]["files"]), (&json!(0), &json!(0)));
    let all = said(&database, &["export", "--to", &to, "--log", "--until", "2999-01-01", "--json"]).await;
    assert_eq!(all["log"]["to"], json!(head));
    let models = said(&database, &["export", "--to", &to, "--models", "--json"]).await;
    assert_eq!((&models["log"]["to"], &models["log"]["added"]), (&json!(head), &json!(0)));
    assert_eq!(models["models"].as_array().map(Vec::len), Some(projections::ALL.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_altered_is_found_and_nothing_is_imported() {
    let (database, shelf) = (small().await, Shelf::new());
    shelf.take_out(&database, "ndjson").await;
    let empty = TestDatabase::fresh().await;
    let import = async || complaint(&empty, &["import-log", text(&shelf.export()), "--without-keys"]).await;
    let log = &shelf.manifest()["log"];
    let file = |note: &Value| shelf.export().join(note["path"].as_str().or_fail("find a file"));
    let (events, keys) = (file(&log["files"][0]["file"]), file(&log["command_keys"]));
    for path in [&events, &keys, &shelf.export().join("manifest.json")] {
        let whole = fs::read(path).or_fail("read a file");
        alter(path);
        let refused = import().await;
        assert!(refused.contains(text(path.file_name().map(Path::new).or_fail("name a file"))), "{refused}");
        fs::remove_file(path).or_fail("remove a file");
        import().await;
        fs::write(path, whole).or_fail("put a file back");
    }
    let another = "another.example+fc0c07a4+AYqI3dD2y8EJtJpSDyuTPi6RUlp7GfCpERaJ4gAAAAAA";
    let refused =
        complaint(&empty, &["import-log", text(&shelf.export()), "--without-keys", "--public-key", another]).await;
    assert!(refused.contains("--public-key"), "{refused}");
    assert_eq!(empty.log_head().await, 0);
    // Put right again, it is taken; and then nothing more is.
    said(&empty, &["import-log", text(&shelf.export()), "--without-keys", "--json"]).await;
    assert_eq!(fingerprint(&empty).await, fingerprint(&database).await);
    let refused = import().await;
    assert!(refused.contains("not empty"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_forgotten_after_their_keys_were_taken_stays_forgotten() {
    let server = InProcess::start().await;
    let ann = server.client().register("ann").await;
    server.client().register("bob").await;
    let shelf = Shelf::new();
    assert_eq!(shelf.take_keys(&server.database).await["keys"], 2);
    let password = json!({ "password": tradepost_tests::client::PASSWORD });
    ann.delete("/auth/account", &password).send().await.expect(200);
    let there = carried_on(server.stop().await).await;
    let exported = shelf.take_out(&there, "parquet").await;
    let here = TestDatabase::fresh().await;
    let imported = shelf.put_in(&here, exported["signed_by"].as_str().or_fail("find who has signed")).await;
    assert_eq!(
        (&imported["keys"], &imported["forgotten"], &imported["without_key"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(models::digests(&here).await, models::digests(&there).await);
    // Without any keys, nobody is known.
    let nobody = TestDatabase::fresh().await;
    let imported = said(&nobody, &["import-log", text(&shelf.export()), "--without-keys", "--json"]).await;
    assert_eq!((&imported["keys"], &imported["without_key"]), (&json!(0), &json!(1)));
    let names: Vec<Option<String>> = sqlx::query_scalar("select user_name from accounts.profiles")
        .fetch_all(&mut nobody.connect().await)
        .await
        .or_fail("read the profiles");
    assert_eq!(names, [None, None]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_older_than_the_log_are_refused_before_anything_is_there() {
    let server = InProcess::start().await;
    server.client().register("ann").await;
    let shelf = Shelf::new();
    shelf.take_keys(&server.database).await;
    server.client().register("bob").await;
    let there = carried_on(server.stop().await).await;
    shelf.take_out(&there, "ndjson").await;
    let here = TestDatabase::fresh().await;
    let (from, keys, carrier) = (shelf.export(), shelf.keys(), shelf.carrier());
    let import = ["import-log", text(&from), "--keys", text(&keys), "--keys-wrapping-key-file", text(&carrier)];
    let refused = complaint(&here, &import).await;
    assert!(refused.contains("1 people") && refused.contains("--keys-may-lack"), "{refused}");
    assert_eq!(here.log_head().await, 0);
    let imported = said(&here, &[&import[..], &["--keys-may-lack", "--json"]].concat()).await;
    assert_eq!((&imported["keys"], &imported["without_key"]), (&json!(1), &json!(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_leave_wrapped_and_only_for_somebody_with_the_key() {
    let (database, shelf) = (small().await, Shelf::new());
    let to = text(&shelf.keys()).to_owned();
    let refused = complaint(&database, &["keys", "export", "--to", &to]).await;
    assert!(refused.contains("--wrapping-key-file"), "{refused}");
    // What a call has left that was killed is nobody's to read either.
    let unfinished = shelf.keys().with_added_extension("tmp");
    fs::write(&unfinished, "{").or_fail("write half a file");
    shelf.take_keys(&database).await;
    assert!(!unfinished.exists());
    let row: Vec<u8> = sqlx::query_scalar("select key from person_keys")
        .fetch_one(&mut database.connect().await)
        .await
        .or_fail("read a key");
    let file = fs::read(shelf.keys()).or_fail("read the keys");
    assert!(!String::from_utf8_lossy(&file).contains(&base64(&row)), "a key as it is");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(shelf.keys()).or_fail("look at it").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let carrier = shelf.carrier();
    let again = ["keys", "export", "--to", &to, "--wrapping-key-file", text(&carrier)];
    assert!(complaint(&database, &again).await.contains("there already"));
    shelf.take_out(&database, "ndjson").await;
    let empty = TestDatabase::fresh().await;
    fs::write(&carrier, "another key that carries the keys of people").or_fail("write a key");
    let export = shelf.export();
    let import = ["import-log", text(&export), "--keys", &to, "--keys-wrapping-key-file", text(&carrier)];
    let refused = complaint(&empty, &import).await;
    assert!(refused.contains("not configured"), "{refused}");
    assert_eq!(empty.log_head().await, 0);
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_not_imported_beside_a_node() {
    let (database, shelf) = (small().await, Shelf::new());
    shelf.take_out(&database, "ndjson").await;
    let server = InProcess::start().await;
    let refused = complaint(&server.database, &["import-log", text(&shelf.export()), "--without-keys"]).await;
    assert!(refused.contains("stop every node"), "{refused}");
    let buyer: Client = server.client().register("buyer").await;
    buyer.fund(100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_that_were_given_out_before_are_good_at_the_imported_log_too() {
    let server = InProcess::start().await;
    let buyer = server.client().register("buyer").await;
    buyer.fund(1_000).await;
    let settled: i64 = sqlx::query_scalar("select max(position) from events where event_type = 'DepositSettled'")
        .fetch_one(&mut server.database.connect().await)
        .await
        .or_fail("find the deposit");
    let receipt = buyer.get(&format!("/events/receipts/{settled}")).send().await.expect(200).body;
    let shelf = Shelf::new();
    let there = carried_on(server.stop().await).await;
    let exported = shelf.take_out(&there, "ndjson").await;
    shelf.take_keys(&there).await;
    let here = TestDatabase::fresh().await;
    let signer = exported["signed_by"].as_str().or_fail("find who has signed");
    shelf.put_in(&here, signer).await;

    // The tree over the log there is the beginning of the one here.
    let server = InProcess::start_on(here, Config::default()).await;
    let size = exported["log"]["to"].as_i64().or_fail("find the end");
    let shown = server.client().get(&format!("/events/head?from={size}")).since(size).send().await.expect(200).body;
    let keys: Vec<PublicKey> = serde_json::from_value(shown["keys"].clone()).or_fail("read the keys");
    assert_eq!(keys[0].to_string(), signer);
    let published: Published = serde_json::from_value(shown).or_fail("read the head");
    let (now, _) = TreeHead::open(&published.note, &keys).or_fail("believe the head");
    let root = exported["log"]["root"].as_str().and_then(|root| root.parse().ok()).or_fail("read the root");
    let then = TreeHead { size: size.unsigned_abs(), root, ..now };
    assert_eq!(follows(&then, &now, &published.consistency), Ok(()));
    let file = shelf.export().join("receipt.json");
    fs::write(&file, receipt.to_string()).or_fail("write the receipt");
    let head = format!("{}/api/v1/events/head", server.address());
    let check = ["verify-receipt", text(&file), "--public-key", signer, "--head", &head];
    let Output { status, stdout, stderr } = run(&there, &check).await;
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_imported_with_its_own_root_secret_only() {
    let (database, shelf) = (small().await, Shelf::new());
    shelf.take_out(&database, "ndjson").await;
    let empty = TestDatabase::fresh().await;
    // Nor is anybody else's signature good, unless that is asked for.
    for (whose, refusal) in [(None, "believed here"), (Some("--any-signer"), "root secret")] {
        let export = shelf.export();
        let arguments = ["import-log", text(&export), "--without-keys"].into_iter().chain(whose);
        let mut import = tradepost(empty.url(), &arguments.collect::<Vec<_>>());
        import.env("TRADEPOST_AUTH__SECRET", "a root secret of somebody else's marketplace");
        let Output { status, stderr, .. } = import.output().await.or_fail("run tradepost");
        let refused = String::from_utf8_lossy(&stderr);
        assert!(!status.success() && refused.contains(refusal), "{refused}");
    }
    assert_eq!(empty.log_head().await, 0);
}

/// Every column of every read model, and whether its values may be anything.
async fn columns_there(connection: &mut PgConnection) -> BTreeMap<[String; 3], bool> {
    let rows: Vec<(String, String, String, bool)> = sqlx::query_as(
        "select nspname::text, relname::text, attname::text, typname not in
            ('bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'timestamptz', 'date', 'uuid')
         from pg_attribute
         join pg_class on pg_class.oid = attrelid
         join pg_namespace on pg_namespace.oid = relnamespace
         join pg_type on pg_type.oid = atttypid
         where nspname = any($1) and relkind = 'r' and attnum > 0 and not attisdropped",
    )
    .bind(projections::ALL.map(|model| model.name))
    .fetch_all(connection)
    .await
    .or_fail("list the columns of read models");
    rows.into_iter().map(|(model, table, column, is_text)| ([model, table, column], is_text)).collect()
}

#[tokio::test]
async fn of_every_text_in_a_read_model_somebody_has_decided_whether_it_is_exported() {
    let database = TestDatabase::fresh().await;
    let there = columns_there(&mut database.connect().await).await;
    let decided: BTreeSet<_> = columns::rows().map(|(name, _)| name.map(str::to_owned)).collect();
    let undecided: Vec<_> =
        there.iter().filter(|(name, is_text)| **is_text && !decided.contains(*name)).map(|(name, _)| name).collect();
    assert!(undecided.is_empty(), "add these to api/src/export/columns.tsv: {undecided:?}");
    // Also of what is left out, which may be of any type: a name that is misspelt would let its column out.
    let gone: Vec<_> = decided.iter().filter(|name| !there.contains_key(*name)).collect();
    assert!(gone.is_empty(), "take these out of api/src/export/columns.tsv: {gone:?}");
}

/// Exports all of a marketplace, and finds none of these words in any file.
pub(crate) async fn tells_nothing_of(database: &TestDatabase, words: impl Iterator<Item = &str>) {
    let words: Vec<_> = words.collect();
    let shelf = Shelf::new();
    shelf.take_out(database, "ndjson").await;
    let files = shelf.files();
    assert!(files.len() > projections::ALL.len(), "{:?}", files.keys());
    for (name, content) in files {
        let content = String::from_utf8_lossy(&content);
        let told: Vec<_> = words.iter().filter(|word| content.contains(**word)).collect();
        assert!(told.is_empty(), "{name} tells {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_have_said_of_themselves_is_in_no_file() {
    let database = busy().await;
    let words = ["ann-sells", "bob-buys", "+92 300", "Mall Road", "Flat 3", "Ann's", "Is it", "slow", "Wind it"];
    let everything =
        "select string_agg(schema_to_xml(name, false, false, '')::text, '') from unnest($1::text[]) as name";
    let shown: String = sqlx::query_scalar(everything)
        .bind(projections::ALL.map(|model| model.name))
        .fetch_one(&mut database.connect().await)
        .await
        .or_fail("read what is shown here");
    for word in words {
        assert!(shown.contains(word), "nobody has said `{word}`");
    }
    tells_nothing_of(&database, words.into_iter()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_read_models_come_out_row_by_row_with_what_is_left_out_named() {
    let (database, shelf) = (small().await, Shelf::new());
    let exported = shelf.take_out(&database, "ndjson").await;
    let manifest = shelf.manifest();
    let models = manifest["models"].as_array().or_fail("find the read models");
    assert_eq!(models.len(), projections::ALL.len());
    let named = |name: &str| models.iter().find(|model| model["model"] == name).or_fail("find a read model");
    let accounts = &named("accounts")["tables"];
    let profiles = accounts.as_array().into_iter().flatten().find(|table| table["table"] == "profiles");
    let profiles = profiles.or_fail("find the profiles");
    assert!(profiles["left_out"].as_array().is_some_and(|left_out| left_out.contains(&json!("email"))));
    let files = shelf.files();
    let content = &files[profiles["file"]["path"].as_str().or_fail("find a file")];
    let row: Value = serde_json::from_slice(content.trim_ascii()).or_fail("read the only row");
    assert_eq!((&row["capabilities"], &row["email"]), (&json!(["buy", "sell"]), &Value::Null));
    assert_eq!(profiles["file"]["rows"], 1);
    assert!(exported["models"].as_array().is_some_and(|models| !models.is_empty()));

    let mut connection = database.connect().await;
    connection.execute("alter schema orders rename to orders_away").await.or_fail("hide a read model");
    let other = Shelf::new();
    let refused = complaint(&database, &["export", "--to", text(&other.export()), "--models"]).await;
    assert!(refused.contains("`orders` are not there"), "{refused}");
}
