//! `testbed -- <command>`: runs a command beside a Postgres of its own.
//!
//! Postgres is made anew in a folder under `/tmp`, does not care for durability, and is gone afterwards, whatever the
//! command did. Databases of tests bear the id of the process that has made them, and go soon after it has ended: two
//! thousand tests would leave a million files. Only a SIGKILL of this process leaves it: Postgres ends by itself within a minute of its folder
//! (`/tmp/tradepost-testbed-*`) being removed.

use std::{
    convert::Infallible,
    error::Error,
    ffi::OsString,
    fs::{self, Permissions},
    io::{self, IsTerminal as _},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use api::embedded::{EmbeddedPostgres, EmbeddedSettings};
use clap::Parser;
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    signal::unix,
};

/// The variable in which the command finds the database.
const URL_VARIABLE: &str = "TEST_DATABASE_URL";

/// Many tests run at a time, each with a pool.
const MAX_CONNECTIONS: u32 = 300;

/// How often databases are dropped whose tests have ended.
const SWEPT_EVERY: Duration = Duration::from_secs(2);

/// What a shell answers for a command that cannot be run.
const CANNOT_RUN: u8 = 127;

/// Run a command beside a Postgres of its own.
///
/// Starts an empty, non-durable Postgres in a new folder under /tmp, tells the command its URL in `TEST_DATABASE_URL`,
/// passes the command's exit code on, and removes everything. SIGINT and SIGTERM are passed to the command.
#[derive(Debug, Parser)]
#[command(name = "testbed")]
struct Arguments {
    /// The command and its arguments, for example `cargo test`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    match provide_and_run(&command).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

async fn provide_and_run(command: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    // From here on signals are ours to deal with: none ends us before Postgres has ended.
    let mut signals = Signals::listen()?;
    let folder = folder()?;
    let dir = folder.path().join("postgres");
    let settings = EmbeddedSettings { dir, durable: false, max_connections: MAX_CONNECTIONS };
    let postgres = EmbeddedPostgres::start(settings).await?;
    eprintln!("testbed: {URL_VARIABLE} leads to an empty PostgreSQL in {}", folder.path().display());
    let code = tokio::select! {
        code = run(command, postgres.url(), &mut signals) => code,
        never = sweep(postgres.url()) => match never {},
    };
    let stopped = postgres.stop().await;
    let code = code?;
    stopped?;
    folder.close()?;
    Ok(code)
}

/// Open enough to be passed through by the unprivileged user that Postgres runs as when we are root.
fn folder() -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o711);
    tempfile::Builder::new().prefix("tradepost-testbed-").permissions(mode).tempdir_in("/tmp")
}

/// Drops the databases of processes that have ended, again and again. What cannot be dropped now is looked at again.
async fn sweep(url: &str) -> Infallible {
    let look = "select datname from pg_database where datname ~ '^test_[0-9]+_'";
    loop {
        tokio::time::sleep(SWEPT_EVERY).await;
        let Ok(mut connection) = PgConnection::connect(url).await else { continue };
        let names: Vec<String> = sqlx::query_scalar(look).fetch_all(&mut connection).await.unwrap_or_default();
        let is_over = |name: &&String| {
            let process = name.split('_').nth(1).unwrap_or_default();
            !fs::exists(format!("/proc/{process}")).unwrap_or(true)
        };
        for name in names.iter().filter(is_over) {
            let drop = format!("drop database if exists {name} with (force)");
            if let Err(error) = connection.execute(drop.as_str()).await {
                eprintln!("testbed: {name} could not be dropped: {error}");
            }
        }
    }
}

/// On a terminal the command stays in our process group, so that it may use the terminal, and Ctrl-C reaches it without
/// us. Elsewhere it gets a group of its own, and the whole of it gets our signals, as a terminal would do it.
async fn run(command: &[OsString], url: &str, signals: &mut Signals) -> io::Result<ExitCode> {
    if let Some(early) = signals.pending().await {
        return Ok(killed_by(early as i32));
    }
    let on_terminal = io::stdin().is_terminal();
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env(URL_VARIABLE, url);
    if !on_terminal {
        command.process_group(0);
    }
    let name_it =
        |error: io::Error| io::Error::new(error.kind(), format!("could not run {}: {error}", program.display()));
    let mut child = command.spawn().map_err(name_it)?;
    loop {
        tokio::select! {
            ended = child.wait() => return ended.map(exit_code),
            got = signals.next() => pass_on(got, &child, on_terminal),
        }
    }
}

fn pass_on(got: Signal, child: &Child, on_terminal: bool) {
    // The id is only there while the child has not been waited for, so it is its own.
    let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) else { return };
    let sent = match (on_terminal, got) {
        (true, Signal::SIGINT) => Ok(()),
        (true, _) => kill(Pid::from_raw(id), got),
        (false, _) => killpg(Pid::from_raw(id), got),
    };
    if let Err(error) = sent {
        eprintln!("testbed: {got} could not be passed on: {error}");
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => ExitCode::from(code),
        None => killed_by(status.signal().unwrap_or_default()),
    }
}

/// As a shell tells it.
fn killed_by(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}

/// The signals that ask us to end.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let interrupt = unix::signal(unix::SignalKind::interrupt())?;
        let terminate = unix::signal(unix::SignalKind::terminate())?;
        Ok(Self { interrupt, terminate })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
        }
    }

    /// One that has come already.
    async fn pending(&mut self) -> Option<Signal> {
        tokio::select! {
            biased;
            got = self.next() => Some(got),
            () = std::future::ready(()) => None,
        }
    }
}
