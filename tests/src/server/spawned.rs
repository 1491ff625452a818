//! The binary `tradepost serve` as a process of its own.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::in_process::SECRET;
use crate::client::Client;
use crate::fail::{OrFail, fail};

/// What the binary says on its standard output once it is ready.
const READY: &str = "tradepost listens on ";
/// A start takes about a second; a busy machine may take longer.
const STARTS_WITHIN: Duration = Duration::from_mins(1);
/// A graceful stop.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// The binary: `TRADEPOST_BIN`, or the one that cargo has put beside the tests.
pub fn binary() -> PathBuf {
    let named = std::env::var_os("TRADEPOST_BIN").map(PathBuf::from);
    let ours = std::env::current_exe().or_fail("tell where this program is");
    let built = || ours.ancestors().skip(1).take(2).map(|folder| folder.join("tradepost")).find(|path| path.is_file());
    let sentence = "find the binary `tradepost`: build it with `cargo build -p tradepost`, as `make test` does";
    named.or_else(built).or_fail(sentence)
}

/// The binary with these arguments, as an operator runs it beside a server. Dropped, it is killed.
pub fn tradepost(database_url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("DATABASE_URL", database_url).env("TRADEPOST_AUTH__SECRET", SECRET).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A new file for what a server says, in the folder that `TRADEPOST_TEST_LOGS` names for whoever looks into a failure.
fn kept_logs() -> Option<PathBuf> {
    let folder = std::env::var_os("TRADEPOST_TEST_LOGS").map(PathBuf::from)?;
    Some(folder.join(format!("server-{}.log", eventstore::mint::id())))
}

/// Where a server is to run.
#[derive(Clone, Debug)]
pub struct Place {
    /// The program that starts it there, with its arguments; nothing to start it here.
    pub through: Vec<String>,
    /// The address at which it listens, on a free port.
    pub bind: Ipv4Addr,
}

impl Default for Place {
    fn default() -> Self {
        Self { through: Vec::new(), bind: Ipv4Addr::LOCALHOST }
    }
}

/// A running `tradepost serve`. Dropped, it is killed.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    address: String,
    stdout: BufReader<ChildStdout>,
    /// Its standard error.
    stderr: PathBuf,
    /// Often it runs here, where it finds no configuration file.
    _folder: TempDir,
}

/// How a server has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output after the line that it was ready.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Spawned {
    /// Starts the binary on a free port and waits until it is ready.
    pub async fn start(database_url: &str, arguments: &[&str]) -> Self {
        Self::start_with(database_url, arguments, &[]).await
    }

    /// The same in these surroundings: names and values of its environment.
    pub async fn start_with(database_url: &str, arguments: &[&str], surroundings: &[(String, String)]) -> Self {
        Self::start_at(&Place::default(), database_url, arguments, surroundings).await
    }

    /// The same somewhere else.
    pub async fn start_at(
        place: &Place,
        database_url: &str,
        arguments: &[&str],
        surroundings: &[(String, String)],
    ) -> Self {
        let folder = TempDir::new().or_fail("make a folder for the server");
        let mut command = Self::command_through(&place.through, &["--bind", &format!("{}:0", place.bind)]);
        command.args(arguments).current_dir(folder.path()).env("DATABASE_URL", database_url);
        command.envs(surroundings.iter().map(|(name, value)| (name, value)));
        Self::ready(command, folder).await
    }

    /// The same in a folder where it finds or makes everything it needs, a database too. The folder stays.
    pub async fn start_in(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = Self::command(&["--bind", "127.0.0.1:0"]);
        command.args(arguments).current_dir(folder).env_remove("TRADEPOST_AUTH__SECRET");
        Self::ready(command, TempDir::new().or_fail("make a folder for what the server says")).await
    }

    async fn ready(mut command: Command, folder: TempDir) -> Self {
        let stderr = kept_logs().unwrap_or_else(|| folder.path().join("stderr"));
        let file = File::create(&stderr).or_fail("make a file for what the server says");
        let mut child = command.stdout(Stdio::piped()).stderr(file).spawn().or_fail("start the binary `tradepost`");
        let mut stdout = BufReader::new(child.stdout.take().or_fail("read what the server says"));
        let mut line = String::new();
        let read = timeout(STARTS_WITHIN, stdout.read_line(&mut line)).await;
        let said = || fs::read_to_string(&stderr).unwrap_or_default();
        match (read, line.trim_end().strip_prefix(READY)) {
            (Ok(Ok(_)), Some(address)) => Self { child, address: address.to_owned(), stdout, stderr, _folder: folder },
            (Err(_), _) => fail(&format!("the server was not ready in time; it said: {}", said())),
            _ => fail(&format!("the server said `{line}` instead of being ready, and on standard error: {}", said())),
        }
    }

    /// `tradepost serve` with these arguments, the tests' secret, and nothing of our environment but where programs are.
    pub fn command(arguments: &[&str]) -> Command {
        Self::command_through(&[], arguments)
    }

    fn command_through(program: &[String], arguments: &[&str]) -> Command {
        let mut command = match program {
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary());
                command
            }
            [] => Command::new(binary()),
        };
        command.arg("serve").args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TRADEPOST_AUTH__SECRET", SECRET).env("TRADEPOST_AUTH__ACCESS_TOKEN_TTL_S", "86400");
        // A test asks more at once than anybody else.
        for limit in ["SENDER_PER_S", "GUESSES_PER_MIN", "GUEST_ORDERS_PER_MIN", "UPLOADS_PER_MIN", "ACCOUNT_PER_S"] {
            command.env(format!("TRADEPOST_LIMITS__{limit}"), "0");
        }
        command.env("TRADEPOST_PLANS__FREE_LISTINGS", "0").env("TRADEPOST_PAYOUTS__COOLING_S", "0");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The id of its process, while it runs.
    pub fn pid(&self) -> u32 {
        self.child.id().or_fail("find the server running")
    }

    /// Where it listens (`http://host:port`).
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Nobody in particular, at this server.
    pub fn client(&self) -> Client {
        Client::anonymous(&self.address)
    }

    /// The rest of the next line that the server says on its standard output and that begins so.
    pub async fn says(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = timeout(STARTS_WITHIN, self.stdout.read_line(&mut line)).await;
            match read.or_fail("wait longer for what the server says").or_fail("read what the server says") {
                0 => fail(&format!("the server never said `{beginning}`")),
                _ => {
                    if let Some(rest) = line.trim_end().strip_prefix(beginning) {
                        return rest.to_owned();
                    }
                }
            }
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.or_fail("kill the server");
    }

    /// SIGTERM, and waits until it has ended by itself.
    pub async fn terminate(self) -> Ended {
        self.tell_to_stop();
        self.ended().await
    }

    /// Waits until it has ended by itself, having been told to.
    pub async fn ended(mut self) -> Ended {
        let status = timeout(STOPS_WITHIN, self.child.wait()).await.or_fail("wait longer for the server to stop");
        let status = status.or_fail("wait for the server");
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).await.or_fail("read what the server said");
        let stderr = fs::read_to_string(&self.stderr).or_fail("read what the server said");
        Ended { status, stdout, stderr }
    }

    /// SIGTERM.
    pub fn tell_to_stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Any other signal.
    pub fn signal(&self, signal: Signal) {
        // The id is only there while the child has not been waited for, so it is its own.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).or_fail("find the server still running");
        kill(Pid::from_raw(id), signal).or_fail("send the server a signal");
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}
