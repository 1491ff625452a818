//! A private Postgres that the binary makes, starts, watches and stops by itself, so that the first run needs no
//! server and no configuration.
//!
//! What is in its folder:
//!
//! | name | what it is |
//! |---|---|
//! | `data` | the cluster; renamed into place when `initdb` is through, so an interrupted one leaves nothing half-made |
//! | `socket` | the folder of the Unix socket, open to nobody else |
//! | `password` | the password of the role `tradepost`, 0600 |
//! | `lock` | held as long as a process uses the folder; the kernel lets go of it when the process dies |
//! | `postgres.log` | what Postgres says |
//!
//! **Who gets in.** Over loopback every user of the machine can knock, so a password is asked for (SCRAM). The socket
//! is in a folder that only its owner (and root) can enter, so the file system has checked who comes, and no password
//! is asked for: this saves each new connection thousands of rounds of hashing.
//!
//! **What survives what.** [`EmbeddedPostgres::stop`] ends Postgres. If our process is killed, Postgres goes on by
//! itself, and the next start adopts it. If Postgres is killed, a supervisor starts it again on the same port and it
//! recovers from its log; clients see failing connections for about a second. If both are killed, or the machine goes
//! down, the next start recovers it.
//!
//! File operations here block; they are few, small, and happen when something starts or ends.

mod account;
mod binaries;
mod cluster;
mod home;
mod postmaster;
mod supervisor;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use binaries::Places;
pub use binaries::{HOW_TO_INSTALL, PG_BIN_VARIABLE};
use cluster::Cluster;
use home::Home;
use postmaster::PidFile;
use supervisor::Supervisor;

/// The role and the database that [`EmbeddedPostgres::url`] leads to. The role is a superuser: this is its own cluster.
const NAME: &str = "tradepost";

/// How the private Postgres is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// Its folder. As root, and if the unprivileged user that it then runs as cannot reach this folder, one under
    /// `/var/lib/tradepost` is used instead.
    pub dir: PathBuf,
    /// `false` turns off everything that makes commits survive a crash, be it of the machine or of Postgres alone:
    /// for tests, which throw the data away.
    pub durable: bool,
    /// Most connections at a time.
    pub max_connections: u32,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self { dir: PathBuf::from(".tradepost/postgres"), durable: true, max_connections: 100 }
    }
}

/// A private Postgres that runs.
///
/// Dropped without [`stop`](Self::stop), or with the process killed, Postgres goes on and the next
/// [`start`](Self::start) at the same folder adopts it.
pub struct EmbeddedPostgres {
    url: String,
    home: PathBuf,
    pid: watch::Receiver<Option<u32>>,
    /// Sends the order to stop; dropping it tells the supervisor to let go of Postgres and of the folder.
    stop: oneshot::Sender<()>,
    supervisor: JoinHandle<Result<(), EmbeddedError>>,
}

impl EmbeddedPostgres {
    /// Starts or adopts the Postgres at `settings.dir`, makes it first if there is none, and answers when it takes
    /// connections. If this future is dropped half-way, what has been started goes on and is adopted the next time.
    pub async fn start(settings: EmbeddedSettings) -> Result<Self, EmbeddedError> {
        let home = Home::open(&settings.dir)?;
        let binaries = Places::of_this_machine().find(home.cluster_version()?).await?;
        let mut cluster = Cluster::prepare(home, binaries, settings).await?;
        let postmaster = cluster.bring_up().await?;
        if let Err(error) = cluster.ensure_database().await {
            // What has gone wrong first is what is told.
            let _ = postmaster.shut_down().await;
            return Err(error);
        }
        let (url, home) = (cluster.url(), cluster.home().to_owned());
        let (tell_pid, pid) = watch::channel(Some(postmaster.pid()));
        let (stop, stopped) = oneshot::channel();
        let supervisor = tokio::spawn(Supervisor::new(cluster, postmaster, tell_pid).run(stopped));
        Ok(Self { url, home, pid, stop, supervisor })
    }

    /// Where clients connect: role and database `tradepost`, over the Unix socket if its path is short enough for one,
    /// else over loopback. It holds the password, so do not log it. The same for the life of this value, also when
    /// Postgres is started again. Loopback is always open on the same port with the same password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where clients connect to the Postgres that another process of ours runs in `dir`, as [`EmbeddedError::InUse`]
    /// names it: for an operator's command beside a running server. `None` if it does not run after all.
    pub fn url_in(dir: &Path) -> Option<String> {
        let running = PidFile::read(&dir.join("data"))?;
        let password = std::fs::read_to_string(dir.join("password")).ok()?;
        Some(cluster::url(running.socket.as_deref(), running.port, password.trim()))
    }

    /// The folder it really lives in: `settings.dir` made absolute, or its substitute under `/var/lib/tradepost`.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The process id of Postgres's first process; `None` between its death and its next start.
    pub fn postmaster_pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    /// Ends Postgres (open transactions are rolled back) and answers when it is gone and the folder is free.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        // The supervisor is there until it is told; if it has panicked, the join below says so.
        let _ = self.stop.send(());
        self.supervisor.await.map_err(EmbeddedError::Supervisor)?
    }
}

impl fmt::Debug for EmbeddedPostgres {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.postmaster_pid();
        out.debug_struct("EmbeddedPostgres")
            .field("home", &self.home)
            .field("postmaster_pid", &pid)
            .finish_non_exhaustive()
    }
}

/// Why the private Postgres cannot be run. Each says what to do, where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No Postgres is installed.
    #[error(
        "PostgreSQL is not installed on this machine: install it with `{HOW_TO_INSTALL}`, or set {PG_BIN_VARIABLE} to the \
         folder that holds its programs `postgres` and `initdb`, or set DATABASE_URL to use a server that runs already"
    )]
    BinariesMissing,
    /// The folder named by the operator does not hold the programs.
    #[error("{PG_BIN_VARIABLE} is set to {}, which does not hold working programs `postgres` and `initdb`", folder.display())]
    BinariesNotThere {
        /// The folder named.
        folder: PathBuf,
    },
    /// The cluster belongs to another major version than any that is installed.
    #[error(
        "the private database was made by PostgreSQL {wanted}, and only {found} is installed: install version {wanted} \
         (on Debian `apt-get install postgresql-{wanted}`), or move the data over with pg_upgrade"
    )]
    OtherVersion {
        /// The major version that made the cluster.
        wanted: u32,
        /// The major versions there are.
        found: String,
    },
    /// Another process of ours uses the folder.
    #[error(
        "the private database in {} is in use by another Tradepost ({holder}): stop that one first, or set \
         database.embedded_dir to another folder", dir.display()
    )]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// Who uses it, as far as it is known.
        holder: String,
    },
    /// Root, and no unprivileged user to become.
    #[error(
        "PostgreSQL does not run as root, and there is neither a user `postgres` nor a user `nobody` to run it as: make \
         one with `useradd --system postgres`, or start Tradepost as another user"
    )]
    NoAccount,
    /// Root, and the substitute folder cannot be reached by the unprivileged user either.
    #[error("the unprivileged user that PostgreSQL runs as (uid {uid}) cannot reach {}: open the folders above it", dir.display())]
    OutOfReach {
        /// The substitute folder.
        dir: PathBuf,
        /// The user.
        uid: u32,
    },
    /// There is something else in the place of the cluster.
    #[error("{} is not a database that PostgreSQL has made: move it away, or set database.embedded_dir to another folder", data.display())]
    NotACluster {
        /// The folder.
        data: PathBuf,
    },
    /// `initdb` failed.
    #[error("making the private database failed; initdb said: {output}")]
    Initdb {
        /// Its last lines.
        output: String,
    },
    /// No port is free on loopback.
    #[error("no port between {} and {} is free on 127.0.0.1 for the private database", ports.start, ports.end)]
    NoPort {
        /// The ports tried.
        ports: std::ops::Range<u16>,
    },
    /// Postgres ended before it took connections.
    #[error("the private PostgreSQL ended instead of starting ({how}); the end of its log:\n{log}")]
    Ended {
        /// How it ended.
        how: String,
        /// The last lines of its log.
        log: String,
    },
    /// Postgres took no connections in time.
    #[error("the private PostgreSQL took no connections for {waited_s} s ({reason}); the end of its log:\n{log}")]
    NotReady {
        /// How long was waited.
        waited_s: u64,
        /// What the last try to connect met.
        reason: String,
        /// The last lines of its log.
        log: String,
    },
    /// Postgres did not end when told to.
    #[error("the private PostgreSQL (process {pid}) did not end within {waited_s} s of being told to")]
    NotStopped {
        /// The process.
        pid: u32,
        /// How long was waited.
        waited_s: u64,
    },
    /// Postgres took the connection and then refused what is needed.
    #[error("could not {doing} in the private PostgreSQL: {source}")]
    Database {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// A file or a program could not be used.
    #[error("could not {doing} ({}): {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The task that watches Postgres is gone; a bug of ours.
    #[error("the task that watches the private PostgreSQL is gone: {0}")]
    Supervisor(tokio::task::JoinError),
}

impl EmbeddedError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}
