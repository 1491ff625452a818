//! What is told of the machine, so that figures can be compared.

use std::fmt;

use serde::Serialize;
use sqlx::FromRow;

/// What the server says of itself.
#[derive(Clone, Debug, FromRow, Serialize)]
pub(super) struct ServerFacts {
    pub(super) postgres: String,
    pub(super) transport: String,
    pub(super) fsync: String,
    pub(super) synchronous_commit: String,
    pub(super) full_page_writes: String,
    pub(super) wal_level: String,
    pub(super) shared_buffers: String,
    pub(super) max_wal_size: String,
}

/// The machine, and the build that ran on it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    version: &'static str,
    build: &'static str,
    cpu: String,
    cores: usize,
    server: ServerFacts,
}

impl Machine {
    pub(super) fn with(server: ServerFacts) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            build: "release",
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            server,
        }
    }
}

/// The processor's name, where the system tells it.
pub fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or("unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, build, cpu, cores, server } = self;
        writeln!(f, "version {version}, {build} build, {cores} cores ({cpu}) shared with Postgres")?;
        write!(
            f,
            "PostgreSQL {} over {}: fsync {}, synchronous_commit {}, full_page_writes {}, wal_level {}, shared_buffers {}, \
             max_wal_size {}",
            server.postgres,
            server.transport,
            server.fsync,
            server.synchronous_commit,
            server.full_page_writes,
            server.wal_level,
            server.shared_buffers,
            server.max_wal_size
        )
    }
}
