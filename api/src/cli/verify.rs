//! `tradepost verify`: whether everything that is derived from the log is what the log says, and the log is whole.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::Context;
use clap::Args;
use commands::timers::{self, TimerAudit};
use eventstore::clock::Clock;
use eventstore::database::{Database, is_outage};
use eventstore::follower::{self, FollowError, Status};
use eventstore::nats::{self, NatsError};
use eventstore::parking::ParkedEvent;
use eventstore::proof::{self, store};
use eventstore::relay::{self, RelayError};
use eventstore::wrapping::Wrapping;
use eventstore::{Position, audit, log, streams};
use projections::ReadModel;
use projections::rebuild::{self, Comparison, RebuildError};
use serde::Serialize;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::Instant;

use super::output::show;
use super::{Failure, Place, stop_signals};
use crate::anchors;
use crate::app::followers;
use crate::config::{Config, proof_keys};

/// How long whoever follows the log may take to come to where it ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Show that the log is whole, and that everything derived from it equals a replay.
///
/// Looks for gaps in positions and sequences, and for events that cannot be read; waits a moment until whoever follows
/// the log has come to where it ended; builds every read model and the timers anew from the log, and compares them with
/// the live ones, row by row; so it does with snapshots, and the stream in NATS, if there is one, message by message.
/// Reads and writes go on meanwhile. Whatever differs is named, and the exit code is then not zero.
///
/// With `--full` it also shows that no event was altered, removed, inserted or moved since it was hashed: hashes every event
/// anew, compares it with what is recorded of it, that with the tree, and the tree with every head that was signed, and
/// with those that were kept outside (`proof.anchor_file`, `--head`).
///
/// Examples:
///   tradepost verify
///   tradepost verify --full
///   tradepost verify --full --head /mnt/usb/heads
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Verify {
    /// Compare the log with the proof of it too.
    #[arg(long)]
    full: bool,
    /// A file with tree heads that were kept outside; may be given several times.
    #[arg(long = "head", value_name = "FILE", requires = "full")]
    heads: Vec<PathBuf>,
    /// Tell what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// Everything that was looked at.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether nothing is wrong.
    sound: bool,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    /// What.
    subject: String,
    /// Up to which position of the log.
    position: Option<Position>,
    /// What is wrong with it, a sentence each.
    findings: Vec<String>,
}

impl Verify {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let stop = stop_signals()?;
        let place = Place::beside(config).await?;
        let looked = match stop.run_until_cancelled(self.look(&place.database, config)).await {
            Some(looked) => looked,
            None => rebuild::discard(&place.database, &projections::ALL)
                .await
                .map_err(Failure::from)
                .and_then(|()| Err("interrupted".into())),
        };
        let report = place.leave(looked).await?;
        show(self.json, &report, report.to_string().trim_end())?;
        let wrong: Vec<_> = report.checks.iter().filter(|check| !check.findings.is_empty()).collect();
        match wrong.len() {
            0 => Ok(()),
            1 => Err(format!("{} is not what it should be", wrong[0].subject).into()),
            count => Err(format!("{count} things are not what they should be").into()),
        }
    }
}

impl Verify {
    /// Looks at everything, and at the proof first: it takes no more than what is asked for to fail.
    async fn look(&self, database: &Database, config: &Config) -> Result<Report, Failure> {
        let proof = if self.full { Some(look_at_proof(database, config, &self.heads).await?) } else { None };
        let mut report = look(database, config).await?;
        report.checks.splice(1..1, proof);
        report.sound = report.checks.iter().all(|check| check.findings.is_empty());
        Ok(report)
    }
}

/// Compares the log with what was signed of it.
async fn look_at_proof(database: &Database, config: &Config, files: &[PathBuf]) -> Result<Check, Failure> {
    let keys = proof_keys(config, &super::secret(config)?)?;
    let kept = config.proof.anchor_file.iter().filter(|file| file.exists());
    let mut outside = Vec::new();
    for file in kept.chain(files) {
        outside.extend(anchors::read(file)?);
    }
    let mut owner = database.connect_as_owner().await?;
    let until = Instant::now() + PATIENCE;
    let head = log::head(&mut owner).await?;
    while store::size(&mut owner).await? < head && Instant::now() < until {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let audit = proof::audit::audit(&mut owner, &keys, &outside, super::proof::shown("events")).await?;
    owner.close().await?;
    let mut findings: Vec<String> = audit.findings.iter().map(ToString::to_string).collect();
    if audit.hashed < head {
        let hashed = audit.hashed;
        findings.push(format!("has come to position {hashed} only, where the log had {head}: no node carries it on"));
    }
    Ok(Check { subject: "the proof".to_owned(), position: Some(audit.hashed), findings })
}

async fn look(database: &Database, config: &Config) -> Result<Report, Failure> {
    let mut owner = database.connect_as_owner().await?;
    let log = audit::audit(&mut owner).await?;
    let stream = match &config.nats.url {
        Some(url) => Some(nats::connect_once(url.expose()).await.map(|client| nats::jetstream(&client))),
        None => None,
    };
    let pool = database.pool(1);
    let statuses = caught_up(&pool, stream.as_ref().and_then(|stream| stream.as_ref().ok()), log.head).await?;
    let mut checks = vec![Check { subject: "the log".to_owned(), position: Some(log.head), findings: log.findings }];
    let models = rebuild::at_once(projections::ALL.to_vec(), rebuild::cores(), |model| {
        let database = database.clone();
        async move { look_at(&database, model).await }
    });
    checks.extend(models.await?);
    checks.push(look_at_timers(&mut owner, database.wrapping()).await?);
    let findings = streams::audit(&pool).await?;
    checks.push(Check { subject: "the snapshots".to_owned(), position: None, findings });
    for status in statuses {
        let findings = shortcomings(&status, log.head);
        match checks.iter_mut().find(|check| check.subject == subject(&status.name)) {
            Some(check) => check.findings.extend(findings),
            None => checks.push(Check { subject: subject(&status.name), position: Some(status.position), findings }),
        }
    }
    if let Some(stream) = stream {
        checks.push(look_at_stream(&pool, stream, log.head).await?);
    }
    pool.close().await;
    owner.close().await?;
    Ok(Report { sound: checks.iter().all(|check| check.findings.is_empty()), checks })
}

/// What a follower is called.
fn subject(follower: &str) -> String {
    match follower {
        timers::NAME => "the timers".to_owned(),
        name if projections::find(name).is_some() => format!("read model `{name}`"),
        name => format!("process `{name}`"),
    }
}

/// Waits until all that follow the log have come to `head`, or have had time enough. Answers how they are then.
async fn caught_up(pool: &PgPool, stream: Option<&Context>, head: Position) -> Result<Vec<Status>, Failure> {
    let names: Vec<_> = followers().collect();
    let (until, clock) = (Instant::now() + PATIENCE, Clock::new());
    clock.follow_once(pool).await?;
    loop {
        let statuses = follower::statuses(pool, &names, clock.now()).await?;
        let copied = match stream {
            // A stream that is not there, the audit names.
            Some(context) => relay::look(pool, context).await.map_or(head, |copied| copied.position),
            None => head,
        };
        let waits = |status: &Status| !status.paused && status.version.is_some() && status.position < head;
        if Instant::now() >= until || (copied >= head && !statuses.iter().any(waits)) {
            return Ok(statuses);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What is wrong with how a follower is.
fn shortcomings(status: &Status, head: Position) -> Vec<String> {
    let Status { position, paused, parked, waiting, .. } = status;
    let mut found = Vec::new();
    if *position < head {
        let why = if *paused { "it is paused" } else { "no node carries it on" };
        found.push(format!("has come to position {position} only, where the log had {head}: {why}"));
    }
    if *parked > 0 {
        found.push(format!("could not take {parked} events, and {waiting} wait behind them"));
    }
    found
}

/// Compares the copy of the log in NATS with it. That it cannot be looked at is a finding too.
async fn look_at_stream(pool: &PgPool, stream: Result<Context, NatsError>, head: Position) -> Result<Check, Failure> {
    let subject = "the stream in NATS".to_owned();
    let context = match stream {
        Ok(context) => context,
        Err(error) => return Ok(Check { subject, position: None, findings: vec![error.to_string()] }),
    };
    let (position, mut findings) = match relay::audit(pool, &context).await {
        Ok(audit) => (Some(audit.position), audit.findings),
        Err(error @ RelayError::Log(_)) => return Err(error.into()),
        Err(error) => (None, vec![error.to_string()]),
    };
    if let Some(position) = position.filter(|position| *position < head) {
        findings.push(format!("has come to position {position} only, where the log had {head}"));
    }
    Ok(Check { subject, position, findings })
}

/// Compares a read model with its replay. What makes that impossible is a finding too, unless it is the database.
async fn look_at(database: &Database, model: ReadModel) -> Result<Check, RebuildError> {
    let (position, findings) = match rebuild::verify(database, model.name, |_, _| {}).await {
        Ok(Comparison { position, differences, parked, .. }) => {
            let differences = differences.iter().map(ToString::to_string);
            (Some(position), differences.chain(parked.iter().filter_map(untakeable)).collect())
        }
        Err(error) if is_about_rows(&error) => (None, vec![error.to_string()]),
        Err(error) => return Err(error),
    };
    Ok(Check { subject: subject(model.name), position, findings })
}

/// What a replay could not take.
fn untakeable(parked: &ParkedEvent) -> Option<String> {
    let error = parked.error.as_ref()?;
    Some(format!("a replay cannot take the event at position {}: {error}", parked.position))
}

async fn look_at_timers(owner: &mut PgConnection, wrapping: &Wrapping) -> Result<Check, RebuildError> {
    let (position, findings) = match timers::audit(owner, wrapping).await {
        Ok(TimerAudit { position, findings, parked }) => {
            (Some(position), findings.into_iter().chain(parked.iter().filter_map(untakeable)).collect())
        }
        Err(error) => {
            let error = RebuildError::Follow(error);
            if !is_about_rows(&error) {
                return Err(error);
            }
            (None, vec![error.to_string()])
        }
    };
    Ok(Check { subject: subject(timers::NAME), position, findings })
}

/// Whether the log or the tables are such that they cannot be compared, or somebody is at them; otherwise nothing can be
/// found out now.
fn is_about_rows(error: &RebuildError) -> bool {
    match error {
        RebuildError::Absent(_)
        | RebuildError::OtherVersion { .. }
        | RebuildError::UnderWay(_)
        | RebuildError::Replaced(_)
        | RebuildError::Follow(
            FollowError::Unreadable(_) | FollowError::Panicked(_) | FollowError::OtherVersion { .. },
        ) => true,
        RebuildError::Follow(FollowError::Sql(error)) => !is_outage(error),
        RebuildError::Follow(_) | RebuildError::Database(_) | RebuildError::Unknown(_) => false,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { subject, position, findings } in &self.checks {
            let at = position.map(|position| format!(", up to position {position}")).unwrap_or_default();
            if findings.is_empty() {
                writeln!(f, "{subject}{at}: sound")?;
            }
            for finding in findings {
                writeln!(f, "{subject}{at}: {finding}")?;
            }
        }
        Ok(())
    }
}
