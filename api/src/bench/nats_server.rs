//! A NATS server for a run, if the machine has one.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

/// A `nats-server` with `JetStream` in a folder of its own. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct NatsServer {
    child: Child,
    _folder: TempDir,
    pub(super) url: String,
}

impl NatsServer {
    /// Its process.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Starts one; nothing if there is none to start. Whoever connects waits until it listens.
    pub(super) fn start() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/bin")]);
        let binary = folders.map(|folder| folder.join("nats-server")).find(|file| file.is_file())?;
        let folder = TempDir::new().ok()?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).ok()?.port();
        let mut command = Command::new(binary);
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"]);
        command.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.kill_on_drop(true).spawn().ok()?;
        Some(Self { child, _folder: folder, url: format!("nats://127.0.0.1:{port}") })
    }
}
