//! `tradepost verify`: whether everything that is derived from the log is what the log says, and the log is whole.

use std::fmt;

use clap::Args;
use commands::timers;
use eventstore::Position;
use eventstore::audit;
use eventstore::database::{Database, is_outage};
use eventstore::follower::FollowError;
use projections::ReadModel;
use projections::rebuild::{self, RebuildError};
use serde::Serialize;
use sqlx::Connection;

use super::{Failure, Place, stop_signals};
use crate::config::Config;

/// Show that the log is whole, and that everything derived from it equals a replay.
///
/// Looks for gaps in positions and sequences, builds every read model and the timers anew from the log, and compares
/// them with the live ones, row by row. Reads and writes go on meanwhile. Whatever differs is named, and the exit code
/// is then not zero.
#[derive(Args, Debug)]
pub(super) struct Verify {
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
        let looked = stop.run_until_cancelled(look(&place.database)).await;
        let report = place.leave(looked.unwrap_or_else(|| Err("interrupted".into()))).await?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            print!("{report}");
        }
        let wrong: Vec<_> = report.checks.iter().filter(|check| !check.findings.is_empty()).collect();
        match wrong.len() {
            0 => Ok(()),
            1 => Err(format!("{} is not what it should be", wrong[0].subject).into()),
            count => Err(format!("{count} things are not what they should be").into()),
        }
    }
}

async fn look(database: &Database) -> Result<Report, Failure> {
    let mut owner = database.connect_as_owner().await?;
    let log = audit::audit(&mut owner).await?;
    let mut checks = vec![Check { subject: "the log".to_owned(), position: Some(log.head), findings: log.findings }];
    let models = rebuild::at_once(projections::ALL.to_vec(), rebuild::cores(), |model| {
        let database = database.clone();
        async move { look_at(&database, model).await }
    });
    checks.extend(models.await?);
    let (position, findings) = match timers::audit(&mut owner).await {
        Ok(timers) => (Some(timers.position), timers.findings),
        Err(error) => {
            let error = RebuildError::Follow(error);
            if !is_about_rows(&error) {
                return Err(error.into());
            }
            (None, vec![error.to_string()])
        }
    };
    checks.push(Check { subject: "the timers".to_owned(), position, findings });
    owner.close().await?;
    Ok(Report { sound: checks.iter().all(|check| check.findings.is_empty()), checks })
}

/// Compares a read model with its replay. What makes that impossible is a finding too, unless it is the database.
async fn look_at(database: &Database, model: ReadModel) -> Result<Check, RebuildError> {
    let subject = format!("read model `{}`", model.name);
    let (position, findings) = match rebuild::verify(database, model.name, |_, _| {}).await {
        Ok(comparison) => (Some(comparison.position), comparison.differences.iter().map(ToString::to_string).collect()),
        Err(error) if is_about_rows(&error) => (None, vec![error.to_string()]),
        Err(error) => return Err(error),
    };
    Ok(Check { subject, position, findings })
}

/// Whether the log or the tables are such that they cannot be compared; otherwise it could not be found out now.
fn is_about_rows(error: &RebuildError) -> bool {
    match error {
        RebuildError::Absent(_)
        | RebuildError::OtherVersion { .. }
        | RebuildError::Follow(FollowError::Unreadable(_) | FollowError::Panicked) => true,
        RebuildError::Follow(FollowError::Sql(error)) => !is_outage(error),
        RebuildError::Follow(_)
        | RebuildError::Database(_)
        | RebuildError::Unknown(_)
        | RebuildError::UnderWay(_)
        | RebuildError::Replaced(_) => false,
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
