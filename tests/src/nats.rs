//! A NATS server of one test's own, which can be killed, wiped and started again where it was.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_nats::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::fail::{OrFail, fail};

/// A start takes a few milliseconds; a busy machine may take longer.
const STARTS_WITHIN: Duration = Duration::from_secs(30);
/// How soon to look again whether it has started.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A running `nats-server` with `JetStream`. Dropped, it is killed.
#[derive(Debug)]
pub struct NatsServer {
    child: Option<Child>,
    port: u16,
    folder: TempDir,
}

fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/bin")]);
    let found = folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file());
    found.or_fail("find `nats-server`: run the tests with `make test`, which installs it")
}

impl NatsServer {
    /// On a free port.
    pub async fn start() -> Self {
        Self::start_in(TempDir::new().or_fail("make a folder for NATS")).await
    }

    /// The same, keeping what it stores in this folder.
    pub async fn start_in(folder: TempDir) -> Self {
        let mut server = Self { child: None, port: 0, folder };
        server.spawn("-1");
        // It names its file after its process, and writes it once it listens.
        let ports = server.wait_for_ports().await;
        let url = ports["nats"][0].as_str().or_fail("read where NATS listens");
        let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        server.port = port.or_fail("read the port of NATS");
        server
    }

    fn spawn(&mut self, port: &str) {
        let mut command = Command::new(binary());
        command.args(["--addr", "127.0.0.1", "--port", port, "--jetstream", "--store_dir"]).arg(self.store());
        command.arg("--ports_file_dir").arg(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.child = Some(command.spawn().or_fail("start nats-server"));
    }

    async fn wait_for_ports(&self) -> serde_json::Value {
        let look = async {
            loop {
                let files = fs::read_dir(self.folder.path()).or_fail("look for the ports of NATS");
                let ports =
                    files.filter_map(Result::ok).find(|file| file.path().extension().is_some_and(|e| e == "ports"));
                let text = ports.and_then(|file| fs::read_to_string(file.path()).ok());
                if let Some(ports) = text.and_then(|text| serde_json::from_str(&text).ok()) {
                    return ports;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(STARTS_WITHIN, look).await.or_fail("wait longer for NATS to start")
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) {
        match self.child.take() {
            Some(mut child) => child.kill().await.or_fail("kill NATS"),
            None => fail("NATS does not run"),
        }
    }

    /// Any other signal.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        kill(Pid::from_raw(id.or_fail("find NATS running")), signal).or_fail("send NATS a signal");
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses everything it has stored. It must not run.
    pub fn wipe(&self) {
        fs::remove_dir_all(self.store()).or_fail("wipe the store of NATS");
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.spawn(&self.port.to_string());
        self.client().await;
    }

    /// Somebody who is connected to it.
    pub async fn client(&self) -> Client {
        let connect = async {
            loop {
                match async_nats::connect(self.url()).await {
                    Ok(client) => return client,
                    Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        };
        tokio::time::timeout(STARTS_WITHIN, connect).await.or_fail("connect to NATS")
    }
}
