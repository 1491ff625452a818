//! `tradepost events`: what the log says, as it is stored.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use eventstore::records::{self, Record, Wanted};
use eventstore::{Position, log};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::output::{heard, show};
use super::{Failure, Place, stop_signals};
use crate::config::Config;

mod past;

/// How many events are read at once.
const PAGE: i64 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    State(past::State),
    Diff(past::Diff),
    /// Print the last events, a line each, and with --follow those that come.
    ///
    /// Examples:
    ///   tradepost events tail
    ///   tradepost events tail --follow --type auction
    ///   tradepost events tail -n 1000 --type wallet --json | jq .payload
    #[command(verbatim_doc_comment)]
    Tail {
        /// How many to begin with.
        #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(0..=100_000))]
        lines: i64,
        /// Go on with those that come, until Ctrl-C.
        #[arg(long)]
        follow: bool,
        #[command(flatten)]
        types: Types,
        /// A JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Print one event in full, or everything that happened to an aggregate.
    ///
    /// Examples:
    ///   tradepost events show 42
    ///   tradepost events show 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11
    #[command(verbatim_doc_comment)]
    Show {
        /// A position, or the id of an aggregate.
        #[arg(value_name = "POSITION|AGGREGATE")]
        what: What,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write events out as NDJSON: a JSON object a line, in the order of the log.
    ///
    /// Without --to up to where the log ends now. Every object has the columns of the table `events`; `payload` is
    /// what was stored, byte for byte.
    ///
    /// Examples:
    ///   tradepost events export --output events.ndjson
    ///   tradepost events export --from 1001 --to 2000 --type wallet | gzip > wallets.gz
    #[command(verbatim_doc_comment)]
    Export {
        /// The first position.
        #[arg(long, value_name = "POSITION", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
        from: Position,
        /// The last position.
        #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(1..))]
        to: Option<Position>,
        #[command(flatten)]
        types: Types,
        /// A new file to write to, instead of standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Tell how many were written in JSON, on standard error.
        #[arg(long)]
        json: bool,
    },
}

/// Which events.
#[derive(Args, Clone, Debug)]
pub(super) struct Types {
    /// Only events of this type (`BidPlaced`), or about this type of aggregate (`auction`); may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

/// What to show.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    At(Position),
    Aggregate(Uuid),
}

impl std::str::FromStr for What {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = text.parse().ok().map(Self::At);
        let what = position.or_else(|| text.parse().ok().map(Self::Aggregate));
        what.ok_or_else(|| "it is neither a position nor an id".to_owned())
    }
}

impl Events {
    pub(super) async fn run(self, config: &Config) -> Result<(), Failure> {
        let stop = stop_signals()?;
        let place = Place::beside(config).await?;
        let done = self.run_at(config, &place, &stop).await;
        place.leave(done).await
    }

    async fn run_at(self, config: &Config, place: &Place, stop: &CancellationToken) -> Result<(), Failure> {
        crate::app::prepare(&place.database).await?;
        let pool = place.database.pool(1);
        match self {
            Self::State(state) => stop.run_until_cancelled(state.run(place)).await.unwrap_or(Ok(())),
            Self::Diff(diff) => {
                let telling = diff.run(place);
                stop.run_until_cancelled(telling).await.unwrap_or_else(|| Err("interrupted".into()))
            }
            Self::Tail { lines, follow, types, json } => {
                let every = follow.then(|| Duration::from_millis(config.feed.poll_ms));
                let tailing = tail(&pool, lines, every, &types.types, json);
                stop.run_until_cancelled(tailing).await.unwrap_or(Ok(()))
            }
            Self::Show { what, json } => show_in_full(&pool, what, json).await,
            Self::Export { from, to, types, output, json } => {
                let to = match to {
                    Some(to) => to,
                    None => log::head(&pool).await?,
                };
                let wanted = Wanted { after: from - 1, to, types: &types.types };
                let exporting = export(&pool, wanted, output, json);
                stop.run_until_cancelled(exporting).await.unwrap_or_else(|| Err("the export was interrupted".into()))
            }
        }
    }
}

/// Prints the last events, and if it is to go on, looks for new ones so often.
async fn tail(pool: &PgPool, lines: i64, every: Option<Duration>, types: &[String], json: bool) -> Result<(), Failure> {
    // Read first: what comes meanwhile is newer, and found by looking again.
    let mut after = log::head(pool).await?;
    let mut records = records::last(pool, types, lines).await?;
    loop {
        let mut out = io::stdout().lock();
        for record in &records {
            let line = if json { serde_json::to_string(record)? } else { line(record) };
            if !heard(writeln!(out, "{line}"))? {
                return Ok(());
            }
        }
        drop(out);
        after = records.last().map_or(after, |record| record.position.max(after));
        let Some(every) = every else { return Ok(()) };
        let to = log::head(pool).await?;
        records = records::page(pool, &Wanted { after, to, types }, PAGE).await?;
        if records.is_empty() {
            after = to;
            tokio::time::sleep(every).await;
        }
    }
}

fn line(record: &Record) -> String {
    let Record { position, recorded_at, aggregate_type, aggregate_id, sequence, event_type, payload, .. } = record;
    let at = recorded_at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
    format!("{position:>8} {at} {event_type} {aggregate_type}/{aggregate_id}#{sequence} {}", payload.get())
}

async fn show_in_full(pool: &PgPool, what: What, json: bool) -> Result<(), Failure> {
    let (records, name) = match what {
        What::At(at) => {
            let wanted = Wanted { after: at.saturating_sub(1), to: at, types: &[] };
            (records::page(pool, &wanted, 1).await?, format!("at position {at}"))
        }
        What::Aggregate(id) => (records::of_aggregate(pool, id).await?, format!("of {id}")),
    };
    if records.is_empty() {
        return Err(format!("the log has no event {name}").into());
    }
    let described: Vec<_> = records.iter().map(describe).collect::<Result<_, _>>()?;
    show(json, &records, described.join("\n\n"))
}

fn describe(record: &Record) -> Result<String, serde_json::Error> {
    let change = record.decode().map_or_else(|error| error.to_string(), |event| event.tell());
    let Record { position, commit_position, event_id, event_type, event_version, recorded_at, .. } = record;
    let Record { aggregate_type, aggregate_id, sequence, metadata, payload, .. } = record;
    let pretty = |json: &str| {
        let value: serde_json::Value = serde_json::from_str(json)?;
        serde_json::to_string_pretty(&value)
    };
    Ok(format!(
        "{event_type} v{event_version}\n  position  {position}, with all up to {commit_position}\n  id        {event_id}\n  \
         stream    {aggregate_type} {aggregate_id}, {sequence}\n  at        {recorded_at}\n  \
         change    {change}\n  \
         metadata  {}\n  payload   {}",
        pretty(metadata.get())?.replace('\n', "\n  "),
        pretty(payload.get())?.replace('\n', "\n  "),
    ))
}

async fn export(pool: &PgPool, wanted: Wanted<'_>, output: Option<PathBuf>, json: bool) -> Result<(), Failure> {
    let mut out: Box<dyn Write + Send> = match &output {
        None => Box::new(BufWriter::new(io::stdout())),
        Some(path) => {
            let file = File::create_new(path);
            Box::new(BufWriter::new(file.map_err(|error| format!("{} cannot be written: {error}", path.display()))?))
        }
    };
    let (mut rest, mut written) = (wanted, 0_u64);
    loop {
        let records = records::page(pool, &rest, PAGE).await?;
        let Some(last) = records.last() else { break };
        rest.after = last.position;
        for record in &records {
            if !heard(writeln!(out, "{}", serde_json::to_string(record)?))? {
                return Ok(());
            }
            written += 1;
        }
    }
    if heard(out.flush())? && json {
        eprintln!("{}", serde_json::json!({ "events": written, "from": wanted.after + 1, "to": wanted.to }));
    }
    Ok(())
}
