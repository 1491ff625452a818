//! Nodes as an operator starts them: processes of this program, on a database of the run.

use std::process::Stdio;
use std::time::Duration;

use eventstore::mint;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::BenchError;

/// What a node says once it is ready.
const READY: &str = "tradepost listens on http://";
/// A start takes less than a second; a busy machine may take longer.
pub(super) const STARTS_WITHIN: Duration = Duration::from_mins(1);

/// Where nodes run.
pub(super) struct Site {
    folder: TempDir,
    database_url: String,
    /// The same for all, so that a token of one is good at the others.
    secret: String,
}

/// A running node. Dropped, it is killed.
pub(super) struct Node {
    child: Child,
    /// It goes on telling, and needs somebody to tell.
    _said: Lines<BufReader<ChildStdout>>,
    /// Host and port.
    pub(super) address: String,
    client: Client,
}

impl Site {
    /// A site whose nodes all have this configuration file.
    pub(super) fn new(database_url: String, configuration: &str) -> Result<Self, BenchError> {
        let folder = TempDir::new()?;
        std::fs::write(folder.path().join("tradepost.toml"), configuration)?;
        Ok(Self { folder, database_url, secret: mint::id().to_string() })
    }

    pub(super) async fn start(&self, arguments: &[&str]) -> Result<Node, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--bind", "127.0.0.1:0"]).args(arguments).current_dir(self.folder.path());
        command.env("DATABASE_URL", &self.database_url).env("TRADEPOST_AUTH__SECRET", &self.secret);
        command.env("TRADEPOST_AUTH__ACCESS_TOKEN_TTL_S", "86400");
        // What is measured is how much can be asked.
        for limit in ["SENDER_PER_S", "GUESSES_PER_MIN", "ACCOUNT_PER_S"] {
            command.env(format!("TRADEPOST_LIMITS__{limit}"), "0");
        }
        command.env("TRADEPOST_PLANS__FREE_LISTINGS", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let gone = || BenchError::Material("nodes: one did not start");
        let mut lines = BufReader::new(child.stdout.take().ok_or_else(gone)?).lines();
        let line = tokio::time::timeout(STARTS_WITHIN, lines.next_line()).await.map_err(|_| gone())??;
        let address = line.as_deref().and_then(|line| line.strip_prefix(READY)).ok_or_else(gone)?.to_owned();
        Ok(Node { child, _said: lines, address, client: Client::new() })
    }
}

impl Node {
    /// Stops it as an operator does, so that it gives up what it holds.
    pub(super) async fn end(mut self) -> Result<(), BenchError> {
        if let Some(id) = self.id().and_then(|id| i32::try_from(id).ok()) {
            kill(Pid::from_raw(id), Signal::SIGTERM).map_err(std::io::Error::from)?;
        }
        self.child.wait().await?;
        Ok(())
    }

    /// Lets people join who may sell; answers with their tokens.
    pub(super) async fn register(&self, name: &str, count: usize) -> Result<Vec<String>, BenchError> {
        let mut tokens = Vec::with_capacity(count);
        for number in 0..count {
            let body = json!({
                "email": format!("{name}{number}@example.com"), "user_name": format!("{name}{number}"),
                "password": mint::id().to_string(), "sell": true,
            });
            let answer = self.ask(Method::POST, "/api/v1/auth/register", None, Some(&body)).await?;
            tokens.push(answer["access_token"].as_str().ok_or(BenchError::Material("people"))?.to_owned());
        }
        Ok(tokens)
    }

    /// Asks something that must succeed, and reads the answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, BenchError> {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// The tags of pages.
    pub(super) async fn tags(&self, paths: impl Iterator<Item = String>) -> Result<Vec<String>, BenchError> {
        let mut tags = Vec::new();
        for path in paths {
            let answer = self.client.get(format!("http://{}{path}", self.address)).send().await?.error_for_status()?;
            let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok());
            tags.push(tag.ok_or(BenchError::Material("tags of pages"))?.to_owned());
        }
        Ok(tags)
    }

    /// The memory that it has, and the most that it has had at a time, in MiB, where the system tells it.
    pub(super) fn memory_mib(&self) -> Option<(u64, u64)> {
        self.memory_kib().map(|(now, peak)| (now / 1_024, peak / 1_024))
    }

    /// The same in KiB.
    pub(super) fn memory_kib(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?)).ok()?;
        let kib = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some((kib("VmRSS:")?, kib("VmHWM:")?))
    }

    /// Its process.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }
}
