//! The command line: what an operator can ask of the binary.

use std::error::Error;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use eventstore::database::Database;
use eventstore::secrets::RootSecret;
use figment::providers::Serialized;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat, Roles, Sources, root_secret, wrapping};
use crate::embedded::{EmbeddedError, EmbeddedPostgres, EmbeddedSettings};

mod admin;
mod bench;
mod events;
mod export;
mod import_log;
mod keys;
mod mail;
mod media;
mod output;
mod projections;
mod proof;
mod reconcile;
mod relay;
mod replay;
mod serve;
mod timers;
mod verify;
mod verify_receipt;

/// What an operator is told when something does not work: one sentence.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Tradepost: an event-sourced marketplace engine.
///
/// Without a database address it runs a private PostgreSQL under `.tradepost/`, so `tradepost demo` needs nothing but
/// an installed PostgreSQL. Settings come from `tradepost.toml`, then the environment (`TRADEPOST_HTTP__BIND=…`), then
/// the options below; the README lists every one.
#[derive(Debug, Parser)]
#[command(name = "tradepost", version, propagate_version = true)]
pub struct Arguments {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
struct Settings {
    /// The configuration file; `tradepost.toml` in the working folder is read if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The database; DATABASE_URL in the environment does the same. Without one a private PostgreSQL is run.
    #[arg(long, global = true, value_name = "URL")]
    database_url: Option<String>,
    /// The NATS that carries events to other nodes and systems. Without one there is none.
    #[arg(long, global = true, value_name = "URL")]
    nats_url: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP API until SIGTERM or Ctrl-C.
    ///
    /// Brings the database up to date first, prints the address once it answers, and ends
    /// gracefully: what has begun is finished, sockets are told.
    ///
    /// Examples:
    ///   tradepost serve
    ///   tradepost serve --bind 0.0.0.0:80 --database-url "$DATABASE_URL"
    ///   tradepost serve --sandbox        (with a clock that can be set forward)
    ///   tradepost serve --roles api,relay --nats-url "$ADDRESS"
    #[command(verbatim_doc_comment)]
    Serve(Serve),
    /// Serve a sample marketplace: sellers, listings, live and closed auctions, funded wallets.
    ///
    /// Made once, through the engine's own commands; a second start keeps the data. Prints log-ins for a buyer, a
    /// seller and an admin. Runs with the sandbox, so the clock can be set forward.
    Demo(Serve),
    /// Bring the database up to date and end.
    ///
    /// `serve` does this too; run it alone to do it before a deployment.
    Migrate,
    /// See how what follows the log is; rebuild, pause, and repair it.
    #[command(subcommand)]
    Projections(projections::Projections),
    /// Look at the copy of the log in NATS.
    #[command(subcommand)]
    Relay(relay::Relay),
    /// Read the log as it is stored. Personal fields stay sealed.
    #[command(subcommand)]
    Events(events::Events),
    Export(export::Export),
    ImportLog(import_log::ImportLog),
    /// See what is due.
    #[command(subcommand)]
    Timers(timers::Timers),
    Verify(verify::Verify),
    /// See the keys and heads by which others can trust the log.
    ///
    /// A node signs what the log has become (`proof.head_every_ms`), with a key that follows from the root secret, or with
    /// one in a file. Whoever has the public key and keeps a head can show later that the log was changed under it.
    ///
    /// To sign with a key of its own, or to replace it:
    ///   1. `tradepost proof key` prints the public key so far, and `tradepost proof mint-key FILE` makes the new one and
    ///      prints its public key: add both to `proof.former_keys` on every node, and restart them one by one.
    ///   2. Put the file on every node, name it in `proof.key_file`, and restart them.
    ///   3. Publish the new public key where the old one is. Keep that in `proof.former_keys` for ever: without it what it
    ///      has signed is not believed, and nothing more is signed.
    #[command(subcommand, verbatim_doc_comment)]
    Proof(proof::Proof),
    VerifyReceipt(verify_receipt::VerifyReceipt),
    Reconcile(reconcile::Reconcile),
    Replay(replay::Replay),
    /// See and replace the key that wraps the keys of people; take these to another database.
    ///
    /// Personal fields in the log are sealed with a key per person, in the table `person_keys`. With `sealing.wrapping_key`
    /// (or `sealing.wrapping_key_file`) those keys are wrapped with one that is not in the database. Make one with
    /// `openssl rand -hex 32`, and keep a copy apart from the database's backups: if it is lost, so is everybody's data.
    ///
    /// To begin with wrapping, or to replace the key:
    ///   1. Add the new key to `sealing.former_wrapping_keys` on every node, and restart them one by one:
    ///      now all can open what will be wrapped with it. Unneeded if all nodes stop before the next step.
    ///   2. Make it `sealing.wrapping_key` on every node, move the one before, if there was one, to
    ///      `sealing.former_wrapping_keys`, and restart them.
    ///   3. `tradepost keys rewrap`, with the same settings.
    ///   4. `tradepost keys status` shows 0 rows as they are and 0 under former keys.
    ///   5. Take the one before out of `sealing.former_wrapping_keys`, and restart. Keep it as long as
    ///      backups from before step 3.
    #[command(subcommand, verbatim_doc_comment)]
    Keys(keys::Keys),
    /// See to the files of uploaded pictures.
    #[command(subcommand)]
    Media(media::MediaCommand),
    /// See what is to be mailed, and what could not be.
    #[command(subcommand)]
    Mail(mail::MailCommand),
    /// Do what takes an administrator before there is one.
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Measure this machine. Needs a release build.
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Options of a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    bind: Option<SocketAddr>,
    /// Offer the sandbox: `/sandbox/clock` sets the marketplace's time forward. Never in production.
    #[arg(long)]
    sandbox: bool,
    /// What this node does, with commas between: api, relay, projections, processes. All of it unless told.
    #[arg(long, value_name = "ROLES")]
    roles: Option<Roles>,
}

impl Arguments {
    /// Does what was asked.
    pub async fn run(self) -> Result<(), Failure> {
        crate::outgoing::choose_tls();
        let (serve, demo) = match &self.command {
            Command::Serve(serve) => (Some(serve), false),
            Command::Demo(serve) => (Some(serve), true),
            _ => (None, false),
        };
        let config = self.settings.load(serve, demo)?;
        start_logging(&config)?;
        if serve.is_some() || matches!(self.command, Command::Bench(_)) {
            open_more_files();
        }
        match self.command {
            Command::Serve(_) => Box::pin(serve::run(config, false)).await,
            Command::Demo(_) => Box::pin(serve::run(config, true)).await,
            Command::Migrate => migrate(&config).await,
            Command::Relay(command) => command.run(&config).await,
            Command::Projections(command) => Box::pin(command.run(&config)).await,
            Command::Events(command) => command.run(&config).await,
            Command::Export(command) => Box::pin(command.run(&config)).await,
            Command::ImportLog(command) => Box::pin(command.run(&config)).await,
            Command::Timers(command) => command.run(&config).await,
            Command::Verify(command) => Box::pin(command.run(&config)).await,
            Command::Proof(command) => command.run(&config).await,
            Command::VerifyReceipt(command) => command.run().await,
            Command::Reconcile(command) => Box::pin(command.run(&config)).await,
            Command::Replay(command) => Box::pin(command.run(&config)).await,
            Command::Keys(command) => command.run(&config).await,
            Command::Media(command) => command.run(&config).await,
            Command::Mail(command) => command.run(&config).await,
            Command::Admin(command) => command.run(&config).await,
            Command::Bench(command) => command.run(&config).await,
        }
    }
}

impl Settings {
    fn load(&self, serve: Option<&Serve>, demo: bool) -> Result<Config, Failure> {
        let bind = serve.and_then(|serve| serve.bind);
        let sandbox = (demo || serve.is_some_and(|serve| serve.sandbox)).then_some(true);
        let flags = json!({
            "http": { "bind": bind },
            "database": { "url": self.database_url },
            "nats": { "url": self.nats_url },
            "node": { "roles": serve.and_then(|serve| serve.roles) },
            "sandbox": { "enabled": sandbox },
        });
        Ok(Config::load(&Sources::of_process(self.config.clone()), Serialized::defaults(flags))?)
    }
}

/// Logs go to standard error; standard output is for what was asked.
fn start_logging(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log.filter)?;
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().try_init(),
    }
}

/// The most open files that a process asks for. Some programs look at every number below their limit.
const MOST_FILES: rlim_t = 1 << 20;

/// Lets this process, and those that it starts, hold as many connections as the system admits. Where nobody has said more
/// it would be 1,024, sockets included.
fn open_more_files() {
    let files = Resource::RLIMIT_NOFILE;
    let raised = getrlimit(files).and_then(|(now, most)| setrlimit(files, most.min(MOST_FILES).max(now), most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the system admits no more open files than it did at first");
    }
}

/// A database to work on: the one of the settings, or the private one.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) database: Database,
    /// Present if this process runs the private Postgres.
    embedded: Option<EmbeddedPostgres>,
}

impl Place {
    /// For a server: the private Postgres, if it is to be used, is this process's own.
    pub(crate) async fn own(config: &Config) -> Result<Self, Failure> {
        let wrapping = wrapping(config)?;
        let embedded = match &config.database.url {
            Some(_) => None,
            None => Some(EmbeddedPostgres::start(embedded_settings(config)).await?),
        };
        let configured = config.database.url.as_ref().map(|url| url.expose().clone());
        let url =
            configured.or_else(|| embedded.as_ref().map(|postgres| postgres.url().to_owned())).unwrap_or_default();
        Ok(Self { database: Database::at(&url)?.with_wrapping(wrapping), embedded })
    }

    /// For an operator's command: if a server runs the private Postgres, beside it.
    pub(crate) async fn beside(config: &Config) -> Result<Self, Failure> {
        let error = match Self::own(config).await {
            Ok(place) => return Ok(place),
            Err(error) => error,
        };
        let running = match error.downcast_ref() {
            Some(EmbeddedError::InUse { dir, .. }) => EmbeddedPostgres::url_in(dir),
            _ => None,
        };
        let url = running.ok_or(error)?;
        Ok(Self { database: Database::at(&url)?.with_wrapping(wrapping(config)?), embedded: None })
    }

    /// Ends the private Postgres, if it is this process's own. If what was `done` here has failed, that is what is told.
    pub(crate) async fn leave<T>(self, done: Result<T, Failure>) -> Result<T, Failure> {
        let left = match self.embedded {
            Some(postgres) => postgres.stop().await,
            None => Ok(()),
        };
        let done = done?;
        left?;
        Ok(done)
    }
}

fn embedded_settings(config: &Config) -> EmbeddedSettings {
    EmbeddedSettings { dir: config.database.embedded_dir.clone(), ..EmbeddedSettings::default() }
}

/// The deployment's root secret.
pub(crate) fn secret(config: &Config) -> Result<RootSecret, Failure> {
    Ok(RootSecret::new(root_secret(config)?.expose().as_bytes()))
}

/// Cancelled by SIGTERM or Ctrl-C.
fn stop_signals() -> Result<CancellationToken, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        told.cancel();
    });
    Ok(stop)
}

async fn migrate(config: &Config) -> Result<(), Failure> {
    let place = Place::beside(config).await?;
    let prepared = crate::app::prepare(&place.database).await;
    place.leave(prepared.map_err(Failure::from)).await?;
    println!("The database is up to date.");
    Ok(())
}
