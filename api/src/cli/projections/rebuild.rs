//! `tradepost projections rebuild`: make read models anew from the log.

use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use eventstore::Position;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use projections::rebuild::{self, Comparison, Pace, RebuildError};
use projections::{ReadModel, find};
use serde::Serialize;

use crate::cli::output::{show, tell};
use crate::cli::{Failure, Place, stop_signals};

/// Make read models anew from the log, beside the live ones, and swap them in.
///
/// Reads and writes go on meanwhile. Before the swap both are compared table by table, unless the live one is of
/// another version, and what differs is told. An interrupted rebuild leaves the live read model as it is, and the next
/// begins anew. What was parked is taken anew; what was skipped stays left out until the read model has another version.
///
/// Examples:
///   tradepost projections rebuild
///   tradepost projections rebuild catalogue orders
///   tradepost projections rebuild --dry-run --json
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(in crate::cli) struct Rebuild {
    /// Which ones; all of them unless named.
    names: Vec<String>,
    /// Compare only: build from the log, tell what differs, and throw it away.
    #[arg(long)]
    dry_run: bool,
    /// How many at once; the number of cores unless told.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Tell what came of it as JSON.
    #[arg(long)]
    json: bool,
}

/// What came of it for one read model.
#[derive(Debug, Serialize)]
struct Outcome {
    name: &'static str,
    version: i32,
    /// The position that the tables built from the log show.
    position: Position,
    /// Whether they are live now.
    swapped: bool,
    seconds: f64,
    events_per_s: i64,
    /// Nothing: the live ones were of another version, or not there.
    comparison: Option<Comparison>,
}

impl Rebuild {
    pub(super) async fn run(self, place: &Place) -> Result<(), Failure> {
        let models = chosen(&self.names)?;
        let stop = stop_signals()?;
        let shown = Shown::new();
        let (dry_run, json) = (self.dry_run, self.json);
        let work = rebuild::at_once(models.clone(), self.jobs.unwrap_or_else(rebuild::cores), |model| {
            let (database, shown) = (place.database.clone(), shown.clone());
            async move {
                let outcome = one(&database, model, dry_run, shown.of(model.name)).await?;
                if !json {
                    shown.say(&outcome.to_string());
                }
                Ok(outcome)
            }
        });
        let Some(outcomes) = stop.run_until_cancelled(work).await else {
            rebuild::discard(&place.database, &models).await?;
            return Err("interrupted: read models are as they were, but for those that are told to be rebuilt".into());
        };
        let outcomes = outcomes?;
        if json { show(true, &outcomes, "") } else { Ok(()) }
    }
}

/// The read models of these names; all of them if none is named.
fn chosen(names: &[String]) -> Result<Vec<ReadModel>, Failure> {
    let known = projections::ALL.map(|model| model.name);
    if let Some(unknown) = names.iter().find(|name| find(name).is_none()) {
        return Err(format!("there is no read model `{unknown}`; there are {}", known.join(", ")).into());
    }
    let is_chosen = |model: &ReadModel| names.is_empty() || names.iter().any(|name| name == model.name);
    Ok(projections::ALL.into_iter().filter(is_chosen).collect())
}

async fn one(
    database: &eventstore::database::Database,
    model: ReadModel,
    dry_run: bool,
    progress: impl FnMut(Position, Position) + Send,
) -> Result<Outcome, RebuildError> {
    let pace = Pace::begin();
    let (position, comparison) = if dry_run {
        let comparison = rebuild::verify(database, model.name, progress).await?;
        (comparison.position, Some(comparison))
    } else {
        let rebuilt = rebuild::rebuild(database, model.name, progress).await?;
        (rebuilt.position, rebuilt.comparison)
    };
    Ok(Outcome {
        name: model.name,
        version: model.version,
        position,
        swapped: !dry_run,
        seconds: pace.elapsed().as_secs_f64(),
        events_per_s: pace.events_per_s(position),
        comparison,
    })
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, version, position, seconds, events_per_s, .. } = self;
        let done = if self.swapped { "rebuilt" } else { "compared" };
        write!(f, "{name}: {done} from {position} events in {seconds:.1} s ({events_per_s} events/s); ")?;
        match &self.comparison {
            Some(comparison) => write!(f, "{comparison}"),
            None => write!(f, "nothing to compare with, now in version {version}"),
        }
    }
}

/// How far each is: bars on a terminal, otherwise a line every few seconds. On standard error, since standard output
/// is for what came of it.
#[derive(Clone)]
pub(in crate::cli) struct Shown {
    bars: MultiProgress,
    /// When a line was told, by whichever.
    pace: Arc<Mutex<Pace>>,
}

impl Shown {
    pub(in crate::cli) fn new() -> Self {
        Self { bars: MultiProgress::new(), pace: Arc::new(Mutex::new(Pace::begin())) }
    }

    /// A result, above the bars.
    fn say(&self, line: &str) {
        self.bars.suspend(|| tell(line));
    }

    /// Shows how far one of them is, until it is dropped.
    pub(in crate::cli) fn of(&self, name: &'static str) -> impl FnMut(Position, Position) + Send + use<> {
        let bar = Bar(self.bars.add(bar(name)));
        let (hidden, own, all) = (self.bars.is_hidden(), Pace::begin(), self.pace.clone());
        move |reached: Position, goal: Position| {
            bar.0.set_length(goal.unsigned_abs());
            bar.0.set_position(reached.unsigned_abs());
            let pace = format!("{} events/s, {} s left", own.events_per_s(reached), own.left_s(reached, goal));
            if hidden && all.lock().unwrap_or_else(PoisonError::into_inner).is_time_to_tell() {
                eprintln!("{name}: {reached} of {goal} events, {pace}");
            }
            bar.0.set_message(pace);
        }
    }
}

fn bar(name: &'static str) -> ProgressBar {
    let template = "{prefix:<18} [{bar:30}] {pos}/{len} events, {msg}";
    // The template is ours and right; a bar without it would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_prefix(name)
}

/// A bar that goes when whoever moves it ends.
struct Bar(ProgressBar);

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
