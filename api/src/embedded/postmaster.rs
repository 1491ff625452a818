//! Postgres's first process: started by us or found running, how it is told to end and how it is known to have.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::Child,
    time::{sleep, timeout},
};

use super::EmbeddedError;

/// How long a fast shutdown may take: it writes everything that is still only in memory.
const FAST_WITHIN: Duration = Duration::from_mins(1);

/// How long an immediate shutdown may take. It writes nothing; the next start recovers.
const IMMEDIATE_WITHIN: Duration = Duration::from_secs(10);

/// How often an adopted process is looked at. The system tells the death of children only.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The running first process.
#[derive(Debug)]
pub(super) enum Postmaster {
    /// Started by this process.
    Child {
        /// Its handle.
        child: Child,
        /// Its id, which the handle forgets when it ends.
        pid: u32,
    },
    /// Started by a process before this one, which did not stop it.
    Adopted(Process),
}

impl Postmaster {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Child { pid, .. } => *pid,
            Self::Adopted(process) => process.pid,
        }
    }

    /// Waits for its end and tells how it came. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) -> String {
        match self {
            Self::Child { child, .. } => match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => format!("its end could not be observed: {error}"),
            },
            Self::Adopted(process) => {
                while process.is_running() {
                    sleep(LOOK_EVERY).await;
                }
                "it was not our child, so nothing more is known".to_owned()
            }
        }
    }

    /// Ends it: fast, which disconnects clients and writes everything; if that takes too long, at once.
    pub(super) async fn shut_down(mut self) -> Result<(), EmbeddedError> {
        for (signal, within) in [(Signal::SIGINT, FAST_WITHIN), (Signal::SIGQUIT, IMMEDIATE_WITHIN)] {
            self.signal(signal);
            if timeout(within, self.ended()).await.is_ok() {
                return Ok(());
            }
            tracing::warn!(pid = self.pid(), ?signal, ?within, "the private PostgreSQL has not ended in time");
        }
        let waited_s = (FAST_WITHIN + IMMEDIATE_WITHIN).as_secs();
        Err(EmbeddedError::NotStopped { pid: self.pid(), waited_s })
    }

    /// Signals it if it is certain that its process id still is its own.
    fn signal(&self, signal: Signal) {
        let is_its_own = match self {
            Self::Child { child, .. } => child.id().is_some(),
            Self::Adopted(process) => process.is_running(),
        };
        if is_its_own {
            send(self.pid(), signal);
        }
    }
}

fn send(pid: u32, signal: Signal) {
    let Ok(raw) = i32::try_from(pid) else { return };
    if let Err(error) = kill(Pid::from_raw(raw), signal) {
        tracing::debug!(pid, %error, ?signal, "a process ended before its signal came");
    }
}

/// A process that is not our child, told apart from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    pid: u32,
    /// When it started, in ticks since boot, where the system tells it.
    started: Option<u64>,
}

impl Process {
    /// The running process with this id, if there is one. A zombie does not run: in a container, where nobody may reap
    /// it, it can lie there for good.
    fn running(pid: u32) -> Option<Self> {
        if cfg!(target_os = "linux") {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything; after it come the state and, as 20th field, the start.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            let state = fields.next()?;
            let started = fields.nth(18)?.parse().ok();
            return (!matches!(state, "Z" | "X")).then_some(Self { pid, started });
        }
        let alive = kill(Pid::from_raw(i32::try_from(pid).ok()?), None) != Err(nix::errno::Errno::ESRCH);
        alive.then_some(Self { pid, started: None })
    }

    fn is_running(self) -> bool {
        Self::running(self.pid) == Some(self)
    }

    /// Whether it is a Postgres of the cluster at `data`: all of its processes work in that folder.
    fn serves(self, data: &Path) -> bool {
        if cfg!(target_os = "linux") {
            let link = |name: &str| fs::read_link(format!("/proc/{}/{name}", self.pid));
            let is_postgres = |program: PathBuf| {
                program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgres"))
            };
            return link("cwd").is_ok_and(|folder| folder == data) && link("exe").is_ok_and(is_postgres);
        }
        let output = std::process::Command::new("ps").args(["-o", "command=", "-p", &self.pid.to_string()]).output();
        output.is_ok_and(|output| {
            let command = String::from_utf8_lossy(&output.stdout).into_owned();
            command.contains("postgres") && command.contains(&*data.to_string_lossy())
        })
    }
}

/// What a running Postgres tells about itself in its cluster's folder (`postmaster.pid`). A stale one stays there after a kill.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PidFile {
    pid: u32,
    /// Its port.
    pub(super) port: u16,
    /// The folder of its Unix socket, if it has one.
    pub(super) socket: Option<PathBuf>,
}

impl PidFile {
    /// Reads it; `None` if there is none, or if Postgres has not written it to the end.
    pub(super) fn read(data: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(data.join("postmaster.pid")).ok()?)
    }

    /// Lines: process id, data directory, start time, port, socket directory, listen address, shared memory, status.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().collect();
        let socket = lines.get(4).filter(|folder| !folder.is_empty()).map(PathBuf::from);
        Some(Self { pid: lines.first()?.trim().parse().ok()?, port: lines.get(3)?.trim().parse().ok()?, socket })
    }

    /// The first process, if it runs and is that of the cluster at `data`.
    pub(super) fn postmaster(&self, data: &Path) -> Option<Process> {
        Process::running(self.pid).filter(|process| process.serves(data))
    }
}

/// Clears what a killed Postgres has left, so that the next one can start. To be called only when no first process
/// of this cluster runs.
pub(super) fn clear_leftovers(data: &Path, socket: Option<&Path>) -> Result<(), EmbeddedError> {
    end_orphans(data);
    // Postgres sees by itself that its file is stale, except when the id in it has since been given to another
    // process of the same user. That is the only case in which the file is ours to remove.
    let path = data.join("postmaster.pid");
    if PidFile::read(data).is_some_and(|file| Process::running(file.pid).is_some_and(|other| !other.serves(data))) {
        fs::remove_file(&path).map_err(EmbeddedError::io("remove the stale", &path))?;
    }
    // The same goes for the lock beside the socket; here nothing but the two can be.
    for entry in socket.and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten() {
        fs::remove_file(entry.path()).map_err(EmbeddedError::io("remove the stale", &entry.path()))?;
    }
    Ok(())
}

/// When the first process is killed, those that are busy with a query notice only at its end, and until then hold the
/// shared memory without which a new first process will not start. SIGQUIT is how their first process would end them.
fn end_orphans(data: &Path) {
    let ids = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for orphan in ids.filter_map(Process::running).filter(|process| process.serves(data)) {
        tracing::info!(pid = orphan.pid, "ending a process left over by the private PostgreSQL that was killed");
        send(orphan.pid, Signal::SIGQUIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_read_as_far_as_it_is_written() {
        let whole = "4711\n/x/data\n1700000000\n20001\n/x/socket\n127.0.0.1\n 123 4\nready   \n";
        let parsed = PidFile { pid: 4711, port: 20001, socket: Some("/x/socket".into()) };
        assert_eq!(PidFile::parse(whole), Some(parsed));
        let without_socket = PidFile { pid: 4711, port: 20001, socket: None };
        assert_eq!(PidFile::parse("4711\n/x/data\n1700000000\n20001\n\n"), Some(without_socket));
        assert_eq!(PidFile::parse("4711\n/x/data\n"), None);
        assert_eq!(PidFile::parse(""), None);
    }

    #[test]
    fn a_process_is_told_apart_from_a_later_one_with_its_id() {
        let us = Process::running(std::process::id()).unwrap();
        assert!(us.is_running());
        assert!(!Process { started: Some(1), ..us }.is_running() || us.started.is_none());
    }

    #[test]
    fn a_zombie_does_not_run() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let seen_to_end = (0..400).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            Process::running(child.id()).is_none()
        });
        assert!(seen_to_end);
        child.wait().unwrap();
    }
}
