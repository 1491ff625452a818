//! With real Postgres, each test in a folder of its own.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use sqlx::{Connection as _, PgConnection};
use tempfile::{Builder, TempDir};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::{account::Account, *};

/// The folder in which [`guard`] is to start Postgres.
const GUARDED: &str = "TRADEPOST_TEST_GUARDED_DIR";

/// The file with Postgres's process id that tells that [`guard`] has done its part.
const WRITTEN: &str = "written-by-the-guard";

fn folder() -> TempDir {
    // Open enough for the unprivileged user that Postgres runs as when the tests run as root.
    Builder::new().prefix("tradepost-embedded-").permissions(Permissions::from_mode(0o711)).tempdir().unwrap()
}

fn settings(folder: &TempDir) -> EmbeddedSettings {
    EmbeddedSettings { dir: folder.path().join("postgres"), durable: false, max_connections: 20 }
}

async fn start(folder: &TempDir) -> EmbeddedPostgres {
    EmbeddedPostgres::start(settings(folder)).await.unwrap()
}

async fn ask(url: &str, query: &str) -> Result<i32, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let answer = sqlx::query_scalar(query).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(answer)
}

/// Durably, unlike what else is written here: some tests kill Postgres afterwards.
async fn write_the_answer(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql("set synchronous_commit = on").execute(&mut connection).await.unwrap();
    sqlx::raw_sql("create table answers (answer int); insert into answers values (42)")
        .execute(&mut connection)
        .await
        .unwrap();
}

async fn read_the_answer(url: &str) -> i32 {
    ask(url, "select answer from answers").await.unwrap()
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    // Much longer than it takes: tests share the machine with builds.
    assert!(timeout(Duration::from_mins(1), holds).await.is_ok(), "{what} did not come to be within a minute");
}

#[tokio::test]
async fn data_is_kept_from_one_start_to_the_next() {
    let folder = folder();
    let first = start(&folder).await;
    let pid = first.postmaster_pid().unwrap();
    write_the_answer(first.url()).await;
    first.stop().await.unwrap();
    assert!(!is_alive(pid), "stopped means gone");

    let second = start(&folder).await;
    assert_eq!(read_the_answer(second.url()).await, 42);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn role_database_and_settings_are_as_told() {
    let folder = folder();
    let postgres = start(&folder).await;
    let told = "select (current_user = 'tradepost' and current_database() = 'tradepost' and usesuper
        and current_setting('server_encoding') = 'UTF8' and current_setting('fsync') = 'off'
        and current_setting('max_connections') = '20')::int from pg_user where usename = current_user";
    assert_eq!(ask(postgres.url(), told).await.unwrap(), 1);
    let collation = "select (datcollate = 'C')::int from pg_database where datname = current_database()";
    assert_eq!(ask(postgres.url(), collation).await.unwrap(), 1);
    assert!(!format!("{postgres:?}").contains("postgres://"), "the URL holds the password");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn over_loopback_the_password_is_asked_for() {
    let folder = folder();
    let postgres = start(&folder).await;
    let (credentials, address) = postgres.url().split_once('@').unwrap();
    let (_, after_the_host) = address.split_once(':').unwrap();
    let over_loopback = format!("{credentials}@127.0.0.1:{after_the_host}");
    assert_eq!(ask(&over_loopback, "select 1").await.unwrap(), 1);

    let guessed = format!("postgres://tradepost:guessed@127.0.0.1:{after_the_host}");
    let refused = ask(&guessed, "select 1").await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "28P01");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_served_over_loopback() {
    let folder = folder();
    let dir = folder.path().join("x".repeat(100));
    let postgres = EmbeddedPostgres::start(EmbeddedSettings { dir, ..settings(&folder) }).await.unwrap();
    assert!(postgres.url().contains("@127.0.0.1:"));
    assert_eq!(ask(postgres.url(), "select 1").await.unwrap(), 1);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_user_of_the_folder_is_refused() {
    let folder = folder();
    let first = start(&folder).await;
    let second = EmbeddedPostgres::start(settings(&folder)).await;
    let sentence = second.unwrap_err().to_string();
    assert!(sentence.contains("is in use by another Tradepost"), "{sentence}");
    assert_eq!(ask(first.url(), "select 1").await.unwrap(), 1, "the first one is not disturbed");
    first.stop().await.unwrap();
}

/// Not a test, and does nothing unless it is told to: the process that
/// [`what_runs_after_its_process_was_killed_is_adopted`] kills.
#[tokio::test]
async fn guard() {
    let Some(dir) = std::env::var_os(GUARDED) else { return };
    let settings = EmbeddedSettings { dir: dir.into(), durable: false, max_connections: 20 };
    let postgres = EmbeddedPostgres::start(settings).await.unwrap();
    write_the_answer(postgres.url()).await;
    std::fs::write(postgres.home().join(WRITTEN), postgres.postmaster_pid().unwrap().to_string()).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn what_runs_after_its_process_was_killed_is_adopted() {
    let folder = folder();
    let dir = settings(&folder).dir;
    let mut guard = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::guard"])
        .env(GUARDED, &dir)
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let guard_pid = guard.id().unwrap();
    let written = dir.join(WRITTEN);
    let told = || std::fs::read_to_string(&written).ok()?.parse::<u32>().ok();
    until("the part of the other process", async || told().is_some()).await;
    let refused = EmbeddedPostgres::start(settings(&folder)).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("(process {guard_pid})")), "{refused}");
    let pid = told().unwrap();

    // As an operator's `kill -9` of the server, or a Ctrl-C that it does not survive, would do it: to the whole group.
    kill(Pid::from_raw(-i32::try_from(guard_pid).unwrap()), Signal::SIGKILL).unwrap();
    guard.wait().await.unwrap();
    assert!(is_alive(pid), "PostgreSQL is in a group of its own");

    let adopted = start(&folder).await;
    assert_eq!(adopted.postmaster_pid(), Some(pid), "the same one");
    assert_eq!(read_the_answer(adopted.url()).await, 42);

    send(pid, Signal::SIGKILL);
    until("another PostgreSQL", async || ask(adopted.url(), "select 1").await.is_ok()).await;
    assert_ne!(adopted.postmaster_pid(), Some(pid), "an adopted one is watched as well");
    adopted.stop().await.unwrap();
}

#[tokio::test]
async fn dropped_without_stop_it_goes_on_and_is_adopted() {
    let folder = folder();
    let first = start(&folder).await;
    let pid = first.postmaster_pid();
    drop(first);
    // The supervisor hears of it in its own time.
    until("the lock let go of", async || home::Home::open(&settings(&folder).dir).is_ok()).await;
    let second = start(&folder).await;
    assert_eq!(second.postmaster_pid(), pid);
    second.stop().await.unwrap();
    assert!(!is_alive(pid.unwrap()), "an adopted one is stopped as well");
}

#[tokio::test]
async fn what_runs_with_other_settings_is_started_again_with_ours() {
    let folder = folder();
    let first = start(&folder).await;
    let pid = first.postmaster_pid();
    drop(first);
    until("the lock let go of", async || home::Home::open(&settings(&folder).dir).is_ok()).await;

    let durable = EmbeddedSettings { durable: true, ..settings(&folder) };
    let second = EmbeddedPostgres::start(durable).await.unwrap();
    assert_ne!(second.postmaster_pid(), pid);
    assert_eq!(ask(second.url(), "select (current_setting('fsync') = 'on')::int").await.unwrap(), 1);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_pid_file_is_no_obstacle_even_if_its_id_is_in_use_again() {
    let folder = folder();
    let first = start(&folder).await;
    write_the_answer(first.url()).await;
    let pid_file = first.home().join("data/postmaster.pid");
    let stale = std::fs::read_to_string(&pid_file).unwrap();
    first.stop().await.unwrap();

    // A process of the same user as Postgres's: only then does Postgres itself take the file seriously.
    let mut command = Command::new("sleep");
    command.arg("600").stdout(Stdio::null()).kill_on_drop(true);
    if let Some(Account { uid, gid }) = Account::for_cluster(&settings(&folder).dir.join("data")).unwrap() {
        command.uid(uid).gid(gid);
    }
    let other = command.spawn().unwrap();
    let other_pid = other.id().unwrap();
    let (_, rest) = stale.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{other_pid}\n{rest}")).unwrap();
    std::fs::set_permissions(&pid_file, Permissions::from_mode(0o644)).unwrap();

    let second = start(&folder).await;
    assert_eq!(read_the_answer(second.url()).await, 42);
    assert!(is_alive(other_pid), "the other process is none of our business");
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_start_cut_short_at_any_moment_leaves_nothing_half_made() {
    for cut_after_ms in [5, 50, 150, 300, 450, 600] {
        let folder = folder();
        let cut = timeout(Duration::from_millis(cut_after_ms), EmbeddedPostgres::start(settings(&folder))).await;
        drop(cut);
        until("the lock let go of", async || home::Home::open(&settings(&folder).dir).is_ok()).await;
        let postgres = start(&folder).await;
        assert_eq!(ask(postgres.url(), "select 1").await.unwrap(), 1, "cut after {cut_after_ms} ms");
        postgres.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_database_that_another_makes_at_the_same_time_is_as_good_as_our_own() {
    let folder = folder();
    let home = home::Home::open(&settings(&folder).dir).unwrap();
    let binaries = Places::of_this_machine().find(None).await.unwrap();
    let mut cluster = Cluster::prepare(home, binaries, settings(&folder)).await.unwrap();
    let postmaster = cluster.bring_up().await.unwrap();
    let (one, other) = tokio::join!(cluster.ensure_database(), cluster.ensure_database());
    one.unwrap();
    other.unwrap();
    assert_eq!(ask(&cluster.url(), "select 1").await.unwrap(), 1);
    postmaster.shut_down().await.unwrap();
}

#[tokio::test]
async fn killed_together_with_its_supervisor_it_is_recovered_at_the_next_start() {
    let folder = folder();
    let first = start(&folder).await;
    write_the_answer(first.url()).await;
    let pid = first.postmaster_pid().unwrap();
    drop(first);
    until("the lock let go of", async || home::Home::open(&settings(&folder).dir).is_ok()).await;
    send(pid, Signal::SIGKILL);

    let second = start(&folder).await;
    assert_ne!(second.postmaster_pid(), Some(pid));
    assert_eq!(read_the_answer(second.url()).await, 42);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn killed_it_comes_back_by_itself_on_the_same_port() {
    let folder = folder();
    let postgres = start(&folder).await;
    write_the_answer(postgres.url()).await;
    for _ in 0..3 {
        let pid = postgres.postmaster_pid().unwrap();
        send(pid, Signal::SIGKILL);
        until("the answer", async || {
            postgres.postmaster_pid().is_some_and(|new| new != pid)
                && ask(postgres.url(), "select answer from answers").await.is_ok_and(|answer| answer == 42)
        })
        .await;
    }
    postgres.stop().await.unwrap();
}

/// A process in the middle of a long query does not notice that the first one was killed, and holds the shared memory.
#[tokio::test]
async fn killed_during_a_long_query_it_comes_back_without_waiting_for_its_end() {
    let folder = folder();
    let postgres = start(&folder).await;
    let pid = postgres.postmaster_pid().unwrap();
    let mut busy = PgConnection::connect(postgres.url()).await.unwrap();
    let query = tokio::spawn(async move {
        sqlx::query("do $$ declare n bigint = 0; begin loop n = n + 1; end loop; end $$").execute(&mut busy).await
    });
    until("the query", async || {
        let running = "select count(*)::int from pg_stat_activity where query like 'do %' and state = 'active'";
        ask(postgres.url(), running).await.unwrap() == 1
    })
    .await;
    send(pid, Signal::SIGKILL);
    until("another PostgreSQL", async || {
        postgres.postmaster_pid().is_some_and(|new| new != pid) && ask(postgres.url(), "select 1").await.is_ok()
    })
    .await;
    assert!(query.await.unwrap().is_err(), "the query has been ended");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn stopped_right_after_being_killed_it_stays_away() {
    let folder = folder();
    let postgres = start(&folder).await;
    send(postgres.postmaster_pid().unwrap(), Signal::SIGKILL);
    until("its end", async || postgres.postmaster_pid().is_none()).await;
    let url = postgres.url().to_owned();
    postgres.stop().await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert!(ask(&url, "select 1").await.is_err());
}

#[tokio::test]
async fn a_start_that_fails_shows_the_end_of_the_log() {
    let folder = folder();
    let first = start(&folder).await;
    let control = first.home().join("data/global/pg_control");
    first.stop().await.unwrap();
    std::fs::remove_file(control).unwrap();
    let sentence = EmbeddedPostgres::start(settings(&folder)).await.unwrap_err().to_string();
    assert!(sentence.starts_with("the private PostgreSQL ended instead of starting (exit status: "), "{sentence}");
    assert!(sentence.contains("global/pg_control"), "{sentence}");
}

#[tokio::test]
async fn it_knows_nothing_of_our_environment_and_is_not_root() {
    let folder = folder();
    let postgres = start(&folder).await;
    let pid = postgres.postmaster_pid().unwrap();
    let environment = String::from_utf8(std::fs::read(format!("/proc/{pid}/environ")).unwrap()).unwrap();
    let names: Vec<_> = environment.split_terminator('\0').filter_map(|pair| pair.split('=').next()).collect();
    assert!(names.iter().all(|name| ["PATH", "LC_ALL"].contains(name)), "{names:?}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_ne!(line("Uid:").split_whitespace().next().unwrap(), "0");
    if Uid::effective().is_root() {
        assert_eq!(line("Groups:"), "", "no group of ours, and none else");
    }
    postgres.stop().await.unwrap();
}
