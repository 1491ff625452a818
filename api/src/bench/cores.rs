//! Which cores processes may use: to see on one machine what two would do.

use std::fs;
use std::io::Error;
use std::ops::Range;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use sqlx::PgConnection;

use super::BenchError;

/// Half of the machine's cores.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Half {
    First,
    Second,
}

/// Processes that have half of the cores, until this is dropped.
#[derive(Debug)]
pub(super) struct Placed {
    processes: Vec<u32>,
    /// How many there are: asked for before this process has only half of them.
    cores: usize,
}

impl Placed {
    /// Nothing is placed yet.
    pub(super) fn new() -> Result<Self, BenchError> {
        let cores = std::thread::available_parallelism()?.get();
        if cores < 2 {
            return Err(BenchError::Material("two machines of one core"));
        }
        Ok(Self { processes: Vec::new(), cores })
    }

    /// Puts a process and its children, and what they start from now on, on half of the cores.
    pub(super) fn put(&mut self, process: u32, half: Half) -> Result<(), BenchError> {
        for process in children(process).into_iter().chain([process]) {
            self.put_alone(process, half)?;
        }
        Ok(())
    }

    /// The same without its children.
    pub(super) fn put_alone(&mut self, process: u32, half: Half) -> Result<(), BenchError> {
        let middle = self.cores / 2;
        let cores = match half {
            Half::First => 0..middle,
            Half::Second => middle..self.cores,
        };
        self.processes.push(process);
        Ok(put(process, cores)?)
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // What a process has started meanwhile has its cores too.
        let own = std::process::id();
        let started = self.processes.iter().filter(|process| **process != own).flat_map(|process| children(*process));
        for process in started.chain(self.processes.iter().copied()) {
            if let Err(error) = put(process, 0..self.cores) {
                // It has ended, most likely.
                tracing::debug!(process, %error, "a process does not get its cores back");
            }
        }
    }
}

/// The server behind a connection, if it runs on this machine.
pub(super) async fn server_of(connection: &mut PgConnection) -> Result<u32, BenchError> {
    let session: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await?;
    let is_postgres = |name: String| name.trim_end().starts_with("postgres");
    let here = fs::read_to_string(format!("/proc/{session}/comm")).is_ok_and(is_postgres);
    let server = u32::try_from(session).ok().filter(|_| here).and_then(parent);
    server.ok_or(BenchError::Material("placement of Postgres: it does not run on this machine"))
}

fn put(process: u32, cores: Range<usize>) -> Result<(), Error> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core)?;
    }
    // Each thread has cores of its own. A session or a thread may end meanwhile.
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    for thread in threads.filter_map(|entry| entry.file_name().into_string().ok()?.parse().ok()) {
        match sched_setaffinity(Pid::from_raw(thread), &set) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn children(process: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| entry.file_name().into_string().ok()?.parse().ok());
    processes.filter(|other| parent(*other) == Some(process)).collect()
}

fn parent(process: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
