//! The cluster: how it is made, with which settings it is started, and how it is known to be ready.

use std::{
    ffi::OsString,
    fmt::Write as _,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection, Row as _,
    error::DatabaseError,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    EmbeddedError, EmbeddedSettings, NAME,
    account::command,
    binaries::Binaries,
    home::{Home, last_lines},
    postmaster::{PidFile, Postmaster, clear_leftovers},
};
use crate::config::Secret;

/// Below the ports that the system gives to outgoing connections (from 32768 on Linux, 49152 on macOS): nobody is given
/// ours by chance while Postgres is started again on the same port.
const PORTS: Range<u16> = 20_000..32_000;

/// How long Postgres may refuse connections before it is given up.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// The same while it says that it is recovering: giving up then would only make the next start begin anew. There are
/// at most a few times `max_wal_size` to read.
const RECOVERED_WITHIN: Duration = Duration::from_mins(15);

/// How often a connection is tried, and how long one try may take.
const TRY_EVERY: Duration = Duration::from_millis(25);
const TRY_WITHIN: Duration = Duration::from_secs(5);

/// How often a Postgres that ends at once is started again: another process may take its port just before it does, or
/// processes of the one before may hold its memory for a moment.
const STARTS: u32 = 5;

/// What Postgres answers while it starts, recovers or ends (`cannot_connect_now`).
const NOT_NOW: &str = "57P03";

/// The error of connecting to a database that is not there (`invalid_catalog_name`).
const NO_SUCH_DATABASE: &str = "3D000";

/// The errors of making a database that is there, or that another has just made (`duplicate_database`,
/// `unique_violation`).
const ALREADY_MADE: [&str; 2] = ["42P04", "23505"];

/// The cluster in its locked folder.
#[derive(Debug)]
pub(super) struct Cluster {
    home: Home,
    binaries: Binaries,
    settings: EmbeddedSettings,
    password: Secret<String>,
    endpoint: Endpoint,
}

/// Where Postgres listens. Loopback always; the socket if there is room for its path.
#[derive(Debug, Clone)]
struct Endpoint {
    port: u16,
    socket: Option<PathBuf>,
}

impl Cluster {
    /// The cluster in this folder, which is made if there is none.
    pub(super) async fn prepare(
        home: Home,
        binaries: Binaries,
        settings: EmbeddedSettings,
    ) -> Result<Self, EmbeddedError> {
        if home.cluster_version()?.is_none() {
            make(&home, &binaries, settings.durable).await?;
        }
        let password = Secret::new(home.read_password()?);
        let endpoint = Endpoint { port: PORTS.start, socket: home.socket() };
        Ok(Self { home, binaries, settings, password, endpoint })
    }

    pub(super) fn home(&self) -> &Path {
        self.home.dir()
    }

    pub(super) fn url(&self) -> String {
        url(self.endpoint.socket.as_deref(), self.endpoint.port, self.password.expose())
    }

    /// Adopts the Postgres that runs, or starts one, and waits until it takes connections.
    pub(super) async fn bring_up(&mut self) -> Result<Postmaster, EmbeddedError> {
        let mut starts = 1;
        let mut from = self.usual_port();
        loop {
            if let Some(postmaster) = self.adopt().await? {
                return Ok(postmaster);
            }
            self.endpoint = Endpoint { port: free_port(from)?, socket: self.home.socket() };
            let mut postmaster = self.spawn()?;
            match self.ready(&mut postmaster).await {
                Ok(()) => return Ok(postmaster),
                Err(error @ EmbeddedError::Ended { .. }) if starts < STARTS => {
                    tracing::warn!(%error, starts, "starting the private PostgreSQL again, on another port");
                }
                Err(error) => {
                    // What has gone wrong first is what is told.
                    let _ = postmaster.shut_down().await;
                    return Err(error);
                }
            }
            sleep(Duration::from_millis(200) * starts).await;
            starts += 1;
            from = self.endpoint.port + 1;
        }
    }

    /// Starts Postgres where [`Self::bring_up`] has settled. It must not be running.
    pub(super) fn spawn(&self) -> Result<Postmaster, EmbeddedError> {
        let Endpoint { socket, .. } = &self.endpoint;
        if let Some(folder) = socket {
            self.home.make_private_folder(folder)?;
        }
        clear_leftovers(&self.home.data(), socket.as_deref())?;
        let program = self.binaries.postgres();
        let log = self.home.log()?;
        let failed = || EmbeddedError::io("start", &program);
        let mut command = command(&program, self.home.account());
        command.arg("-D").arg(self.home.data());
        for (name, value) in self.server_settings() {
            command.arg("-c").arg(OsString::from(format!("{name}={value}")));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed())?).stderr(log);
        let child = command.spawn().map_err(failed())?;
        // A child that has not been waited for has an id.
        let pid = child.id().unwrap_or_default();
        tracing::debug!(pid, port = self.endpoint.port, "started the private PostgreSQL");
        Ok(Postmaster::Child { child, pid })
    }

    /// Given on the command line, which goes over every file: what the cluster was last started with plays no part.
    fn server_settings(&self) -> Vec<(&'static str, String)> {
        let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        let durable = self.settings.durable;
        let socket = self.endpoint.socket.as_deref().map(quoted).unwrap_or_default();
        let mut settings = vec![
            ("listen_addresses", Ipv4Addr::LOCALHOST.to_string()),
            ("port", self.endpoint.port.to_string()),
            ("unix_socket_directories", socket),
            ("unix_socket_permissions", "0700".to_owned()),
            ("max_connections", self.settings.max_connections.to_string()),
            ("fsync", on_off(durable)),
            ("synchronous_commit", on_off(durable)),
            ("full_page_writes", on_off(durable)),
        ];
        settings.extend(FIXED.map(|(name, value)| (name, value.to_owned())));
        if !durable {
            // Nobody replicates or backs up what is thrown away, so the log need not carry enough for it.
            settings.extend(
                [("wal_level", "minimal"), ("max_wal_senders", "0")].map(|(name, value)| (name, value.to_owned())),
            );
        }
        settings
    }

    /// The Postgres of this cluster that a process before us has left running, if it runs and was started as we want it.
    async fn adopt(&mut self) -> Result<Option<Postmaster>, EmbeddedError> {
        let data = self.home.data();
        let Some(file) = PidFile::read(&data) else { return Ok(None) };
        let Some(process) = file.postmaster(&data) else { return Ok(None) };
        self.endpoint = Endpoint { port: file.port, socket: file.socket };
        let mut postmaster = Postmaster::Adopted(process);
        match self.ready(&mut postmaster).await {
            Ok(()) => {}
            // It was on its way out.
            Err(EmbeddedError::Ended { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.runs_as_wanted().await? {
            tracing::info!(pid = postmaster.pid(), "adopted the private PostgreSQL that was still running");
            return Ok(Some(postmaster));
        }
        tracing::info!(pid = postmaster.pid(), "the private PostgreSQL runs with other settings; starting it again");
        postmaster.shut_down().await?;
        Ok(None)
    }

    async fn runs_as_wanted(&self) -> Result<bool, EmbeddedError> {
        let look = async {
            let mut connection = self.connect("postgres").await?;
            let row = sqlx::query("select current_setting('fsync') = 'on', current_setting('max_connections')::bigint")
                .fetch_one(&mut connection)
                .await?;
            let (durable, connections): (bool, i64) = (row.try_get(0)?, row.try_get(1)?);
            connection.close().await?;
            Ok(durable == self.settings.durable && connections == i64::from(self.settings.max_connections))
        };
        look.await.map_err(EmbeddedError::database("read the settings"))
    }

    /// Waits until Postgres takes connections, or has ended, or has had its time.
    async fn ready(&self, postmaster: &mut Postmaster) -> Result<(), EmbeddedError> {
        let begun = Instant::now();
        let taking_connections = async {
            loop {
                let (reason, limit) = match timeout(TRY_WITHIN, self.try_out()).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(error)) if has_code(&error, NOT_NOW) => (error.to_string(), RECOVERED_WITHIN),
                    Ok(Err(error)) => (error.to_string(), READY_WITHIN),
                    Err(_) => ("it does not answer".to_owned(), READY_WITHIN),
                };
                if begun.elapsed() > limit {
                    return Err(EmbeddedError::NotReady {
                        waited_s: limit.as_secs(),
                        reason,
                        log: self.home.log_tail(),
                    });
                }
                sleep(TRY_EVERY).await;
            }
        };
        tokio::select! {
            ready = taking_connections => ready,
            how = postmaster.ended() => Err(EmbeddedError::Ended { how, log: self.home.log_tail() }),
        }
    }

    /// Connects, and makes sure that this is our cluster and not another on the same port.
    async fn try_out(&self) -> Result<(), sqlx::Error> {
        let mut connection = self.connect("postgres").await?;
        let row = sqlx::query("select current_setting('data_directory')").fetch_one(&mut connection).await?;
        let there: String = row.try_get(0)?;
        connection.close().await?;
        if Path::new(&there) == self.home.data() {
            return Ok(());
        }
        Err(sqlx::Error::Configuration(
            format!("port {} belongs to the database in {there}", self.endpoint.port).into(),
        ))
    }

    /// Makes the database `tradepost` unless it is there. A process before us that was killed while Postgres was making
    /// it for that process has not ended this: it may come to be between our look and our own try.
    pub(super) async fn ensure_database(&self) -> Result<(), EmbeddedError> {
        let ensure = async {
            match self.connect(NAME).await {
                Ok(connection) => return connection.close().await,
                Err(error) if has_code(&error, NO_SUCH_DATABASE) => {}
                Err(error) => return Err(error),
            }
            let mut connection = self.connect("postgres").await?;
            match sqlx::query("create database tradepost").execute(&mut connection).await {
                Err(error) if !ALREADY_MADE.iter().any(|code| has_code(&error, code)) => Err(error),
                _ => connection.close().await,
            }
        };
        ensure.await.map_err(EmbeddedError::database("make the database `tradepost`"))
    }

    /// Connects as told here alone: no file and no variable of the user has a say.
    async fn connect(&self, database: &str) -> Result<PgConnection, sqlx::Error> {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.endpoint.port)
            .username(NAME)
            .password(self.password.expose())
            .database(database)
            .ssl_mode(PgSslMode::Disable);
        match &self.endpoint.socket {
            Some(folder) => options.socket(folder).connect().await,
            None => options.connect().await,
        }
    }

    /// The first port to try: always the same for the same folder, so that a client's bookmark mostly stays right.
    fn usual_port(&self) -> u16 {
        let spread = self
            .home()
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(*byte)));
        PORTS.start + spread % (PORTS.end - PORTS.start)
    }
}

/// What is the same for every cluster. Sized for a small machine: two cores that Postgres shares with us.
const FIXED: [(&str, &str); 13] = [
    ("shared_buffers", "256MB"),
    // A checkpoint makes the next write of each page log the whole page, so they should be few; recovery has to read
    // what lies between two of them.
    ("max_wal_size", "2GB"),
    ("min_wal_size", "256MB"),
    ("checkpoint_timeout", "15min"),
    ("checkpoint_completion_target", "0.9"),
    // An append-only log touches few old pages, so there is little to compress and the processor is the scarcer part.
    ("wal_compression", "off"),
    // Our queries are short; compiling them costs more than running them.
    ("jit", "off"),
    // Disks without moving parts.
    ("random_page_cost", "1.1"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    // Failed statements and their details carry personal data; the log of the server is not sealed.
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
    // So that `ps` tells it from other servers.
    ("cluster_name", NAME),
];

/// Where clients connect. The folder of the socket stands in the place of the host, percent-encoded: libpq and sqlx
/// both read this, and the database is still what follows the last slash.
pub(super) fn url(socket: Option<&Path>, port: u16, password: &str) -> String {
    let host = match socket.and_then(Path::to_str) {
        Some(folder) => percent_encoded(folder),
        None => Ipv4Addr::LOCALHOST.to_string(),
    };
    format!("postgres://{NAME}:{password}@{host}:{port}/{NAME}")
}

/// Runs `initdb` in a draft and puts the result into its place.
async fn make(home: &Home, binaries: &Binaries, durable: bool) -> Result<(), EmbeddedError> {
    tracing::info!(dir = %home.dir().display(), "making the private database");
    home.make_password()?;
    let draft = home.draft()?;
    let program = binaries.initdb();
    let mut command = command(&program, home.account());
    command.arg("-D").arg(&draft).arg("--pwfile").arg(home.password()).args(["--username", NAME]);
    command.args(["--encoding=UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256"]);
    // A rotten disk page must be noticed before money is counted on it. Clusters for tests rather start quickly.
    command.arg(if durable { "--data-checksums" } else { "--no-sync" });
    let output =
        command.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(EmbeddedError::io("start", &program))?;
    if !output.status.success() {
        return Err(EmbeddedError::Initdb { output: last_lines(&[output.stdout, output.stderr].concat()) });
    }
    home.keep(&draft)
}

/// The first free port from `from` on, once around.
fn free_port(from: u16) -> Result<u16, EmbeddedError> {
    let mut candidates = (from..PORTS.end).chain(PORTS.start..from);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    candidates.find(is_free).ok_or(EmbeddedError::NoPort { ports: PORTS })
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|found| found == code)
}

/// As an element of Postgres's list of folders.
fn quoted(folder: &Path) -> String {
    format!("\"{}\"", folder.to_string_lossy().replace('"', "\"\""))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_passed_over() {
        let (first, _taken) = (25_000..PORTS.end)
            .find_map(|port| Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?)))
            .unwrap();
        assert_ne!(free_port(first).unwrap(), first);
    }

    #[test]
    fn the_search_for_a_port_goes_once_around() {
        assert!(PORTS.contains(&free_port(PORTS.end).unwrap()));
    }

    #[test]
    fn a_folder_can_stand_in_the_place_of_a_host() {
        assert_eq!(percent_encoded("/tmp/a b/ü"), "%2Ftmp%2Fa%20b%2F%C3%BC");
    }

    #[test]
    fn a_folder_with_commas_is_one_element_of_a_list() {
        assert_eq!(quoted(Path::new("/a,b\"c")), "\"/a,b\"\"c\"");
    }
}
