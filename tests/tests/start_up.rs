//! How the binary starts, and why it may refuse to: one clear sentence and a non-zero exit.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tradepost_tests::database::TestDatabase;
use tradepost_tests::fail::{OrFail, fail};
use tradepost_tests::market::listing;
use tradepost_tests::real::open_folder;
use tradepost_tests::server::{Spawned, binary};

/// A refusal comes at once; a busy machine may take longer.
const REFUSES_WITHIN: Duration = Duration::from_secs(30);
const NOBODY_LISTENS: &str = "postgres://tradepost:secret-password@127.0.0.1:1/tradepost";

/// `tradepost serve` in an empty folder, told to listen on a free port.
fn serve(folder: &TempDir) -> Command {
    let mut command = Spawned::command(&["--bind", "127.0.0.1:0"]);
    command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that must refuse, and tells its sentence.
async fn refusal(command: &mut Command) -> String {
    let output = timeout(REFUSES_WITHIN, command.output()).await.or_fail("wait longer for a refusal");
    let output = output.or_fail("run the binary");
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert!(!output.status.success(), "it did not refuse: {said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "a refusal is not what was asked for");
    let clear = said.starts_with("tradepost: ") && !said.contains('\n') && !said.contains("panicked");
    if !clear || said.contains("secret-password") {
        fail(&format!("not one clear sentence: {said}"));
    }
    said
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_by_the_name_of_the_key() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("wrong.toml"), "[http]\nbnd = \"127.0.0.1:0\"\n").unwrap();
    let in_file = refusal(serve(&folder).args(["--config", "wrong.toml"])).await;
    assert!(in_file.contains("`http.bnd`") && in_file.contains("wrong.toml") && in_file.contains("bind"), "{in_file}");
    let in_environment = refusal(serve(&folder).env("TRADEPOST_HTP__BIND", "127.0.0.1:0")).await;
    assert!(in_environment.contains("TRADEPOST_HTP__BIND"), "{in_environment}");
    let value = refusal(serve(&folder).env("TRADEPOST_DATABASE__POOL_SIZE", "many")).await;
    assert!(value.contains("TRADEPOST_DATABASE__POOL_SIZE"), "{value}");
    let no_file = refusal(serve(&folder).args(["--config", "absent.toml"])).await;
    assert!(no_file.contains("absent.toml"), "{no_file}");
    let url = refusal(serve(&folder).env("DATABASE_URL", "mysql://tradepost:secret-password@host/x")).await;
    assert!(url.contains("database.url"), "{url}");
}

#[tokio::test]
async fn a_database_elsewhere_takes_a_secret() {
    let folder = TempDir::new().unwrap();
    let mut command = serve(&folder);
    let missing = refusal(command.env("DATABASE_URL", NOBODY_LISTENS).env_remove("TRADEPOST_AUTH__SECRET")).await;
    assert!(missing.contains("TRADEPOST_AUTH__SECRET") && missing.contains("openssl rand"), "{missing}");
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    let (folder, database) = (TempDir::new().unwrap(), TestDatabase::fresh().await);
    let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = occupied.local_addr().unwrap().to_string();
    let mut command = Spawned::command(&["--bind", &address]);
    command.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let sentence = refusal(command.env("DATABASE_URL", database.url())).await;
    assert!(sentence.contains(&address) && sentence.contains("--bind"), "{sentence}");
}

#[tokio::test]
async fn an_unreachable_database_is_named_without_its_password() {
    let folder = TempDir::new().unwrap();
    let sentence = refusal(serve(&folder).env("DATABASE_URL", NOBODY_LISTENS)).await;
    assert!(sentence.contains("127.0.0.1:1"), "{sentence}");
}

#[tokio::test]
async fn missing_programs_of_postgres_are_named() {
    let folder = TempDir::new().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let sentence = refusal(serve(&folder).env("TRADEPOST_PG_BIN", &empty)).await;
    assert!(sentence.contains("TRADEPOST_PG_BIN") && sentence.contains("initdb"), "{sentence}");
}

/// `tradepost` with another command than `serve`, on this database.
fn operate(folder: &TempDir, database_url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder.path()).env_clear().env("DATABASE_URL", database_url);
    command.env("TRADEPOST_AUTH__SECRET", "a secret of the tests, good for nothing else").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn an_admin_who_could_not_log_in_is_not_made() {
    let folder = TempDir::new().unwrap();
    let create = |email: &'static str, user_name: &'static str, password: String| {
        fs::write(folder.path().join("password"), password + "\n").unwrap();
        let mut command =
            operate(&folder, NOBODY_LISTENS, &["admin", "create", "--email", email, "--user-name", user_name]);
        command.stdin(fs::File::open(folder.path().join("password")).unwrap());
        async move { refusal(&mut command).await }
    };
    let long = || "long enough".to_owned();
    for (sentence, field) in [
        (create("root", "root", long()).await, "email"),
        (create("root@example.com", "a root", long()).await, "user_name"),
        (create("root@example.com", "root", "1234567".to_owned()).await, "password"),
        (create("root@example.com", "root", "x".repeat(129)).await, "password"),
        (create("root@example.com", "root", "long\0enough".to_owned()).await, "password"),
    ] {
        assert!(sentence.contains(&format!("({field}: ")), "{sentence}");
    }
}

#[tokio::test]
async fn a_bench_that_cannot_be_is_refused_before_anything_is_started() {
    let folder = TempDir::new().unwrap();
    let options = refusal(&mut operate(&folder, NOBODY_LISTENS, &["bench", "write", "--bids", "0"])).await;
    assert!(options.contains("--bids"), "{options}");
    if cfg!(debug_assertions) {
        let mut command = operate(&folder, NOBODY_LISTENS, &["bench", "write"]);
        let build = refusal(command.env_remove("DATABASE_URL").env("TRADEPOST_PG_BIN", folder.path())).await;
        assert!(build.contains("debug build"), "{build}");
    }
}

#[tokio::test]
async fn read_models_are_listed_on_a_database_that_nobody_has_prepared() {
    let (folder, database) = (TempDir::new().unwrap(), TestDatabase::fresh().await);
    let empty = format!("test_{}_empty", eventstore::mint::id().simple());
    let mut connection = database.connect().await;
    sqlx::query(&format!("create database {empty}")).execute(&mut connection).await.unwrap();
    let prepared: String = sqlx::query_scalar("select current_database()").fetch_one(&mut connection).await.unwrap();
    let url = database.url().replace(&prepared, &empty);
    let output = operate(&folder, &url, &["projections", "list"]).output().await.unwrap();
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("catalogue"), "{said}{error}");
}

/// Told to stop while it is still starting, a server ends well and soon. What it has half made, `serve` does not offer to
/// the world with a password that everybody knows.
#[tokio::test]
async fn a_start_can_be_stopped_and_a_sample_is_not_served_as_if_it_were_real() {
    let (folder, database) = (TempDir::new().unwrap(), TestDatabase::fresh().await);
    let mut demo = operate(&folder, database.url(), &["demo", "--bind", "127.0.0.1:0"]).spawn().unwrap();
    let mut said = BufReader::new(demo.stdout.take().unwrap());
    let mut line = String::new();
    timeout(REFUSES_WITHIN, said.read_line(&mut line)).await.unwrap().unwrap();
    assert!(line.starts_with("making the sample marketplace"), "{line}");
    kill(Pid::from_raw(demo.id().unwrap().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let status = timeout(Duration::from_secs(15), demo.wait()).await.expect("it goes on starting").unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).await.unwrap();
    assert!(status.success() && !rest.contains("listens"), "{status} {rest}");

    let sentence = refusal(serve(&folder).env("DATABASE_URL", database.url())).await;
    assert!(sentence.contains("password") && sentence.contains("tradepost demo"), "{sentence}");
    let server = Spawned::start(database.url(), &["--sandbox"]).await;
    assert!(server.terminate().await.status.success());
}

/// The private Postgres of the first run outlives a SIGKILL of the server, is adopted by the next one with all data, and
/// ends with it.
#[tokio::test]
async fn the_first_run_needs_nothing_and_the_next_goes_on_from_there() {
    let folder = open_folder("tradepost-first-run-").unwrap();
    let server = Spawned::start_in(folder.path(), &["--sandbox"]).await;
    let seller = server.client().register_seller("ann").await;
    let drafted = seller.post("/listings", &listing(100)).send().await.expect(201);
    let path = format!("/listings/{}", drafted.body["id"].as_str().unwrap());
    let pid_file = folder.path().join(".tradepost/postgres/data/postmaster.pid");
    let postgres = fs::read_to_string(&pid_file).unwrap();
    server.kill().await;

    let server = Spawned::start_in(folder.path(), &["--sandbox"]).await;
    let seller = seller.at(server.address());
    seller.get(&path).since(drafted.at()).send().await.expect(200);
    let adopted = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(adopted.lines().next(), postgres.lines().next(), "Postgres was started anew");
    let ended = server.terminate().await;
    assert!(ended.status.success(), "{ended:?}");
    assert!(!Path::new(&pid_file).exists(), "Postgres goes on");
}
