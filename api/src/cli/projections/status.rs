//! `tradepost projections list` and `status`.

use eventstore::clock::Clock;
use eventstore::follower::{Status, statuses};
use serde::Serialize;

use crate::app::followers;
use crate::cli::output::show;
use crate::cli::{Failure, Place};

/// What a follower makes of the log.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Tables that are read.
    ReadModel,
    /// Commands, or what is due.
    Process,
}

#[derive(Debug, Serialize)]
struct Row {
    kind: Kind,
    #[serde(flatten)]
    status: Status,
}

async fn rows(place: &Place, names: &[&'static str]) -> Result<Vec<Row>, Failure> {
    let pool = place.database.pool(1);
    let clock = Clock::new();
    clock.follow_once(&pool).await?;
    let rows = statuses(&pool, names, clock.now()).await?.into_iter().map(|status| {
        let kind = projections::find(&status.name).map_or(Kind::Process, |_| Kind::ReadModel);
        Row { kind, status }
    });
    let rows = rows.collect();
    pool.close().await;
    Ok(rows)
}

pub(super) async fn list(place: &Place, json: bool) -> Result<(), Failure> {
    let rows = rows(place, &followers().collect::<Vec<_>>()).await?;
    let head = format!("{:<18} {:<11} {:>7} {:>12} {:>12} {:>8}", "name", "kind", "version", "position", "head", "lag");
    let line = |Row { kind, status }: &Row| {
        let Status { name, position, head, lag_events, .. } = status;
        let version = version(status);
        format!(
            "{name:<18} {:<11} {version:>7} {position:>12} {head:>12} {lag_events:>8}{}",
            kind.name(),
            notes(status)
        )
    };
    let lines: Vec<_> = [head].into_iter().chain(rows.iter().map(line)).collect();
    show(json, &rows, lines.join("\n"))
}

fn version(status: &Status) -> String {
    status.version.map_or("none".to_owned(), |version| version.to_string())
}

/// What is unusual about a follower, in a word each.
fn notes(status: &Status) -> String {
    let paused = if status.paused { "  paused" } else { "" };
    let parked = if status.parked > 0 { "  parked" } else { "" };
    format!("{paused}{parked}")
}

pub(super) async fn status(place: &Place, names: &[&'static str], json: bool) -> Result<(), Failure> {
    let rows = rows(place, names).await?;
    let text: Vec<_> = rows.iter().map(describe).collect();
    show(json, &rows, text.join("\n"))
}

fn describe(Row { kind, status }: &Row) -> String {
    let Status { name, position, head, lag_events, lag_ms, parked, waiting, skipped, .. } = status;
    let version = version(status);
    let state = if status.paused { "paused" } else { "running" };
    let error = match (&status.last_error, status.last_error_at) {
        (Some(error), Some(at)) => format!("\n  last error  {at}: {error}"),
        _ => String::new(),
    };
    format!(
        "{name} ({}, version {version})\n  state       {state}\n  position    {position} of {head}: {lag_events} events, \
         {lag_ms} ms behind\n  parked      {parked}, and {waiting} behind them; {skipped} skipped{error}",
        kind.name()
    )
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::ReadModel => "read model",
            Self::Process => "process",
        }
    }
}
