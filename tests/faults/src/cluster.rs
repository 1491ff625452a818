//! A Postgres of one scene's own, in all its processes: killed, frozen, robbed of its power.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use api::embedded::{EmbeddedPostgres, EmbeddedSettings};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tradepost_tests::fail::OrFail;

/// For several nodes with all their pools.
const MAX_CONNECTIONS: u32 = 300;

/// The Postgres.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Nothing while it is meant not to run.
    postgres: Option<EmbeddedPostgres>,
    settings: EmbeddedSettings,
    url: String,
    /// Goes with it.
    folder: Option<TempDir>,
}

/// A new folder that the user may pass through as whom Postgres runs when we are root.
pub(crate) fn folder() -> TempDir {
    tradepost_tests::real::open_folder("tradepost-faults-").or_fail("make a folder")
}

impl Cluster {
    /// In this folder, which goes with it.
    pub(crate) async fn start(folder: TempDir, durable: bool) -> Self {
        let dir = folder.path().join("postgres");
        let mut cluster = Self::start_in(dir, durable).await;
        cluster.folder = Some(folder);
        cluster
    }

    /// In this folder, which is somebody else's.
    pub(crate) async fn start_in(dir: PathBuf, durable: bool) -> Self {
        let settings = EmbeddedSettings { dir, durable, max_connections: MAX_CONNECTIONS };
        let postgres = EmbeddedPostgres::start(settings.clone()).await.or_fail("start Postgres");
        Self { url: postgres.url().to_owned(), postgres: Some(postgres), settings, folder: None }
    }

    /// Where the owner connects.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let port = self.url.rsplit_once('/').and_then(|(before, _)| before.rsplit_once(':'));
        let port = port.and_then(|(_, port)| port.parse().ok()).or_fail("read the port of Postgres");
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// A database of it, through whatever listens at `address`.
    pub(crate) fn at(&self, address: SocketAddr, database: &str) -> String {
        let who = self.url.split_once('@').map(|(who, _)| who).or_fail("read the address of Postgres");
        format!("{who}@{address}/{database}?sslmode=disable")
    }

    /// Its folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.postgres.as_ref().map_or_else(|| self.settings.dir.clone(), |postgres| postgres.home().to_owned())
    }

    /// Its first process, if there is one now.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        self.postgres.as_ref().and_then(EmbeddedPostgres::postmaster_pid)
    }

    /// Sends its first process a signal; whoever watches it starts it again if it ends.
    pub(crate) fn signal(&self, signal: Signal) -> u32 {
        let pid = self.postmaster().or_fail("find Postgres running");
        send(pid, signal);
        pid
    }

    /// Sends all its processes a signal.
    pub(crate) fn signal_all(&self, signal: Signal) {
        if let Some(postmaster) = self.postmaster() {
            send_to_all(postmaster, signal);
        }
    }

    /// Freezes all its processes, and waits until each stands still.
    pub(crate) async fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
        let Some(postmaster) = self.postmaster() else { return };
        // One that waits for the disk stands still when it has been answered.
        while children(postmaster).into_iter().any(runs) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Nobody starts it again any more. Its processes stay as they are.
    pub(crate) fn let_go(&mut self) {
        self.postgres = None;
    }

    /// Waits until its first process is another than this.
    pub(crate) async fn restarted(&self, former: u32) {
        while self.postmaster().is_none_or(|pid| pid == former) {
            tokio::time::sleep(crate::scene::LOOK_AGAIN).await;
        }
    }

    /// Starts it again, after it was let go and has ended.
    pub(crate) async fn start_again(&mut self) {
        let postgres = EmbeddedPostgres::start(self.settings.clone()).await.or_fail("start Postgres again");
        postgres.url().clone_into(&mut self.url);
        self.postgres = Some(postgres);
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) {
        self.pause().await;
    }

    /// The same, until it is started again.
    pub(crate) async fn pause(&mut self) {
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await.or_fail("stop Postgres");
        }
    }
}

impl Drop for Cluster {
    /// Whatever ends what waited for it: nothing of it goes on.
    fn drop(&mut self) {
        if let Some(postmaster) = self.postmaster() {
            self.let_go();
            send_to_all(postmaster, Signal::SIGKILL);
        }
    }
}

/// Sends a Postgres, by its first process, a signal.
fn send_to_all(postmaster: u32, signal: Signal) {
    // So that it starts no others meanwhile.
    send(postmaster, Signal::SIGSTOP);
    while runs(postmaster) {
        std::thread::yield_now();
    }
    for pid in children(postmaster) {
        send(pid, signal);
    }
    send(postmaster, signal);
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).or_fail("read the id of a process"));
    // It may have ended in the meantime.
    let _ = kill(pid, signal);
}

/// The processes that this one has started.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").or_fail("list the processes").filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let of_parent = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        line.and_then(|line| line.trim().parse().ok()) == Some(parent)
    };
    ids.filter(of_parent).collect()
}

/// Waits until a process is gone.
pub(crate) async fn gone(pid: u32) {
    while fs::exists(format!("/proc/{pid}")).unwrap_or(false) && !is_zombie(pid) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_zombie(pid: u32) -> bool {
    state(pid) == Some('Z')
}

/// Whether a process does anything, or will.
fn runs(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'T' && state != 'Z')
}

/// What a process does, by the letter that the system has for it; nothing of one that is gone.
fn state(pid: u32) -> Option<char> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("State:"))?.trim_start().chars().next()
}
