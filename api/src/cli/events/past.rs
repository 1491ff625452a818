//! `tradepost events state` and `diff`: what anything was, and what has changed between two points.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::str::FromStr;

use chrono::DateTime;
use clap::Args;
use domain::Timestamp;
use eventstore::event::known_type;
use eventstore::history::{self, Place as Found};
use eventstore::{Position, log, past};
use indicatif::{ProgressBar, ProgressStyle};
use projections::history::difference::{Difference, difference};
use projections::history::{Eyes, Lens, Reader};
use projections::rebuild::Pace;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::cli::output::{heard, show};
use crate::cli::{Failure, Place};

/// How many things are found at once.
const PAGE: i64 = 500;

/// A point of the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cli) enum Point {
    Position(Position),
    Time(Timestamp),
    End,
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let position = text.parse().ok().filter(|position| *position >= 0).map(Self::Position);
        let time = || DateTime::parse_from_rfc3339(text).ok().map(|time| Self::Time(time.to_utc()));
        let end = || (text == "end").then_some(Self::End);
        let point = position.or_else(time).or_else(end);
        point.ok_or_else(|| "it is neither a position, nor a time such as 2026-11-22T18:00:00Z, nor `end`".to_owned())
    }
}

impl Point {
    /// The end of the last unit of work that was whole by then.
    async fn position(self, connection: &mut PgConnection) -> Result<Position, Failure> {
        let head = log::head(&mut *connection).await?;
        match self {
            Self::Position(position) if position > head => {
                Err(format!("the log ends at {head}, before {position}").into())
            }
            Self::Position(position) => Ok(past::whole_at(connection, position).await?),
            Self::Time(time) => {
                let reached = past::reached_at(&mut *connection, time).await?;
                Ok(past::whole_at(connection, reached).await?)
            }
            Self::End => Ok(head),
        }
    }
}

/// Print what something was, as of a version, a position or a time; or what it is.
///
/// The state is the fold of its events by the rules of today, and tells what it was then: nothing that came later is in
/// it. What is sealed, what opens doors, and what bidders keep secret while an auction goes on is not shown.
///
/// Examples:
///   tradepost events state auction 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11
///   tradepost events state order 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11 --as-of 2026-11-22T18:00:00Z
///   tradepost events state wallet 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11 --version 3 --json | jq .state
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment, disable_version_flag = true)]
pub(in crate::cli) struct State {
    /// What it is: `auction`, `order`, `wallet` and so on.
    #[arg(value_name = "TYPE")]
    aggregate_type: String,
    /// Which.
    id: Uuid,
    /// As of this position or time.
    #[arg(long, value_name = "POSITION|TIME", conflicts_with = "version")]
    as_of: Option<Point>,
    /// After so many of its events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    version: Option<i64>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl State {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let Self { aggregate_type, id, as_of, version, json } = self;
        let kind = known(&aggregate_type)?;
        let pool = place.database.pool(1);
        let mut connection = pool.acquire().await?;
        let found: Option<Found> = if let Some(version) = version {
            history::place(&mut *connection, kind, id, version).await?
        } else {
            let position = as_of.unwrap_or(Point::End).position(&mut connection).await?;
            history::place_at(&mut connection, kind, id, position).await?
        };
        let found = found.ok_or_else(|| format!("there was no {kind} {id} then"))?;
        let state = history::state(&mut connection, kind, id, found.sequence, i64::MAX).await?;
        let reader = Reader { account: None, eyes: Eyes::Auditor };
        let lens = Lens::upon(&mut connection, place.database.wrapping(), None, &reader, &[id], &[]).await?;
        let state = lens.redact(kind, id, state);
        let answer = json!({
            "aggregate_type": kind,
            "aggregate_id": id,
            "version": found.sequence,
            "position": found.position,
            "recorded_at": found.recorded_at,
            "state": state.value,
            "redacted": state.hidden,
        });
        let text = format!(
            "{kind} {id}\nversion {}, at position {}, {}\n{}",
            found.sequence,
            found.position,
            found.recorded_at,
            serde_json::to_string_pretty(&state.value)?
        );
        show(json, &answer, text)
    }
}

fn known(aggregate_type: &str) -> Result<&'static str, Failure> {
    let unknown = || format!("no aggregate is called {aggregate_type}; `tradepost events tail` shows which there are");
    Ok(known_type(aggregate_type).ok_or_else(unknown)?)
}

/// Print which things have changed between two points of the log, and how their states differ.
///
/// Things come in the order in which they first changed after the first point. Of each it says how its version went on,
/// and what was so before (-) and is so since (+), by the rules of today. With --json there is an object a line, and the
/// last line sums up.
///
/// Examples:
///   tradepost events diff --from 1000
///   tradepost events diff --from 2026-11-21T00:00:00Z --to 2026-11-22T00:00:00Z --type order
///   tradepost events diff --from 1000 --to 1200 --id 0190b6c2-6a5e-7b1c-9e55-2f6f6f0f7d11 --json
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct Diff {
    /// The first point: what happened up to it has happened before.
    #[arg(long, value_name = "POSITION|TIME")]
    from: Point,
    /// The second point; the end of the log unless told.
    #[arg(long, value_name = "POSITION|TIME", default_value = "end")]
    to: Point,
    /// Only of this kind: `auction`, `order`, `wallet` and so on.
    #[arg(long = "type", value_name = "TYPE")]
    aggregate_type: Option<String>,
    /// Only this one.
    #[arg(long)]
    id: Option<Uuid>,
    /// How many things at most.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    limit: i64,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let Self { from, to, ref aggregate_type, id, limit, json } = self;
        let kind = aggregate_type.as_deref().map(known).transpose()?;
        let pool = place.database.pool(1);
        let mut connection = pool.acquire().await?;
        let between = (from.position(&mut connection).await?, to.position(&mut connection).await?);
        if between.0 > between.1 {
            return Err(format!("{} is after {}: there is nothing between them", between.0, between.1).into());
        }
        let (mut shown, mut told, mut after) = (Shown::begin(between), 0, between.0);
        let more = loop {
            // One more than is told shows whether there are more.
            let (rest, wanted) = (limit - told, PAGE.min(limit - told + 1));
            let stretches = history::changed(&mut *connection, between, kind, id, after, wanted).await?;
            let full = i64::try_from(stretches.len()).is_ok_and(|found| found == wanted);
            let mut stretches = stretches.into_iter();
            for stretch in stretches.by_ref().take(usize::try_from(rest).unwrap_or(usize::MAX)) {
                let difference = difference(&mut connection, place.database.wrapping(), &stretch, i64::MAX).await?;
                let line = if json { serde_json::to_string(&difference)? } else { described(&difference) };
                if !shown.print(&line)? {
                    return Ok(());
                }
                (told, after) = (told + 1, stretch.position);
                shown.at(stretch.position);
            }
            if stretches.next().is_some() || !full {
                break full;
            }
        };
        shown.end();
        let (first, last) = between;
        let sum = json!({ "from": first, "to": last, "things": told, "more": more });
        let rest = if more { ", and there are more: --limit" } else { "" };
        show(json, &sum, format!("{told} things have changed after {first} up to {last}{rest}"))
    }
}

/// A difference, for people.
fn described(difference: &Difference) -> String {
    let Difference { aggregate_type, aggregate_id, from_version, to_version, before, after } = difference;
    let mut text = match from_version {
        0 => format!("{aggregate_type} {aggregate_id}   new, version {to_version}"),
        from => format!("{aggregate_type} {aggregate_id}   version {from} → {to_version}"),
    };
    for (mark, fields) in [('-', before), ('+', after)] {
        let mut lines = Vec::new();
        leaves(fields, &mut String::new(), &mut lines);
        for line in lines {
            // Writing to a text does not fail.
            let _ = write!(text, "\n  {mark} {line}");
        }
    }
    text
}

/// A line for each value that has no fields of its own.
fn leaves(value: &Value, path: &mut String, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let length = path.len();
                path.push_str(if length == 0 { "" } else { "." });
                path.push_str(name);
                leaves(field, path, lines);
                path.truncate(length);
            }
        }
        Value::Object(_) if path.is_empty() => {}
        leaf => lines.push(format!("{path}: {leaf}")),
    }
}

/// How far it is: a bar on a terminal, otherwise a line every few seconds, both on standard error.
struct Shown {
    bar: ProgressBar,
    between: (Position, Position),
    pace: Pace,
}

impl Shown {
    fn begin(between: (Position, Position)) -> Self {
        // The template is ours and right; a bar without it would do.
        let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len} positions, {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new((between.1 - between.0).unsigned_abs()).with_style(style);
        Self { bar, between, pace: Pace::begin() }
    }

    /// Prints a line above the bar. Whether somebody still reads.
    fn print(&self, line: &str) -> io::Result<bool> {
        self.bar.suspend(|| heard(writeln!(io::stdout().lock(), "{line}")))
    }

    fn at(&mut self, position: Position) {
        self.bar.set_position((position - self.between.0).unsigned_abs());
        if self.bar.is_hidden() && self.pace.is_time_to_tell() {
            eprintln!("position {position} of {}", self.between.1);
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_position_a_time_or_the_end() {
        let time = DateTime::from_timestamp(1_750_000_000, 0).unwrap();
        assert_eq!("12".parse(), Ok(Point::Position(12)));
        assert_eq!("2025-06-15T15:06:40Z".parse(), Ok(Point::Time(time)));
        assert_eq!("end".parse(), Ok(Point::End));
        assert!("-1".parse::<Point>().is_err() && "soon".parse::<Point>().is_err());
    }

    #[test]
    fn a_difference_is_told_by_its_leaves() {
        let difference = Difference {
            aggregate_type: "auction".to_owned(),
            aggregate_id: Uuid::nil(),
            from_version: 2,
            to_version: 3,
            before: json!({ "standing": { "price": { "amount": 1_000 } }, "bids": 1 }),
            after: json!({ "standing": { "price": { "amount": 1_050 } }, "bids": 2, "list": [] }),
        };
        let lines = [
            "auction 00000000-0000-0000-0000-000000000000   version 2 → 3",
            "  - bids: 1",
            "  - standing.price.amount: 1000",
            "  + bids: 2",
            "  + list: []",
            "  + standing.price.amount: 1050",
        ];
        let told = described(&difference);
        let mut told: Vec<&str> = told.lines().collect();
        // Fields come as serde_json keeps them.
        told[1..].sort_unstable();
        let mut wanted = lines.to_vec();
        wanted[1..].sort_unstable();
        assert_eq!(told, wanted);
    }
}
