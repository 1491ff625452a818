//! `faults`: kills, cuts, full disks and lost power, on purpose and under load, and whether every promise was kept.
//!
//! A [`scene`] is a marketplace of real server processes with a Postgres ([`cluster`]) and a NATS of its own, reached
//! through [`proxy`]s; [`faults`](mod@faults) says what happens to it; [`watchers`] look on meanwhile; [`promises`] are
//! looked at when it is over, from the database and the log of clients alone; [`results`] are kept in a file. That
//! broken promises are found is shown by [`selftest`], with bugs that are planted.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use eventstore::clock::Clock;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tradepost_tests::database::URL_VARIABLE;

use crate::faults::{ALL, Fault, Plan};
use crate::results::{Figures, Line, Outcome};

mod cluster;
mod faults;
mod forgetful;
mod node;
mod promises;
mod proxy;
mod results;
mod scene;
mod selftest;
#[cfg(test)]
mod short;
mod watchers;

/// Where results are added.
const RESULTS: &str = "docs/faults.jsonl";
/// How many violations of one fault are told.
const TOLD: usize = 20;

/// Faults on purpose: kills, cuts, full disks and lost power under load, and whether every promise was kept.
///
/// Each fault sets up a marketplace of its own, lets 32 clients trade on it, does its worst again and again, and at the
/// end holds what clients were told against the database. `make faults` provides what it takes (servers, Postgres,
/// nats-server); docs/reliability.md says what is promised.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the faults: what each is, how often it is tried at length, and what has to be so.
    List,
    /// Try faults, all of them or some, as often as there is time for.
    ///
    /// Each adds a line of JSON to the file of results, so that what takes days can be done in shares:
    ///
    ///   faults run --only F1 --times 50
    ///   faults run --only F3,F9
    ///   faults run --short
    ///
    /// A seed repeats what is drawn, though not the moments at which processes do what.
    #[command(verbatim_doc_comment)]
    Run(Run),
    /// Tell what all runs in a file of results have come to, as a table of Markdown: counts are sums over the runs in which
    /// every promise was kept, times and sizes the largest.
    Report {
        /// The results.
        #[arg(long, default_value = RESULTS)]
        results: PathBuf,
    },
    /// Plant bugs, one after another, and show that each is found.
    ///
    /// The server must have been built with the feature `planted-bugs`; `make faults-selftest` does that.
    Selftest {
        /// Only these bugs, by name.
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
    },
}

#[derive(Args, Debug)]
struct Run {
    /// Only these, by name, such as `F1,F9`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each is tried, instead of as often as at length.
    #[arg(long)]
    times: Option<usize>,
    /// As often, and as long, as in the short mix.
    #[arg(long)]
    short: bool,
    /// Where a line for each is added.
    #[arg(long, default_value = RESULTS)]
    results: PathBuf,
    /// Repeats what was drawn in another run.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    // What was started ends with what waits for it.
    let told = tokio::select! {
        told = carry_out(Arguments::parse().command) => told,
        () = told_to_stop() => Err(io::Error::other("told to stop")),
    };
    match told {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::from(2)
        }
    }
}

async fn carry_out(command: Command) -> io::Result<bool> {
    match command {
        Command::List => {
            list();
            Ok(true)
        }
        Command::Run(run) => try_faults(&run).await,
        Command::Report { results } => results::table(&results).map(|table| {
            println!("{table}");
            true
        }),
        Command::Selftest { only } => selftest::run(&only).await,
    }
}

/// Waits for Ctrl-C, or SIGTERM.
async fn told_to_stop() {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return pending().await };
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => if interrupted.is_err() { pending().await },
    }
}

fn list() {
    for Fault { id, what, target, times, of, .. } in ALL {
        println!("{id:<4} {what}\n     {times} {of}; {target}");
    }
}

async fn try_faults(run: &Run) -> io::Result<bool> {
    check_surroundings()?;
    let unknown = run.only.iter().find(|name| ALL.iter().all(|fault| fault.id != name.as_str()));
    if let Some(unknown) = unknown {
        return Err(io::Error::other(format!("there is no fault `{unknown}`: `faults list` tells which there are")));
    }
    let seed = run.seed.unwrap_or_else(|| Clock::real_now().timestamp_millis().unsigned_abs());
    println!("seed {seed}; results are added to {}", run.results.display());
    let mut all_well = true;
    for fault in ALL.iter().filter(|fault| run.only.is_empty() || run.only.iter().any(|name| name == fault.id)) {
        let times = run.times.unwrap_or(if run.short { fault.short } else { fault.times });
        let short = run.short || times <= fault.short;
        let outcome = try_one(fault, times, short, seed, Some(&run.results)).await?;
        all_well &= !matches!(outcome, Outcome::Broken { .. });
    }
    Ok(all_well)
}

/// Some faults happen to a marketplace within this process, on the Postgres of the tests.
fn check_surroundings() -> io::Result<()> {
    if std::env::var_os(URL_VARIABLE).is_none() {
        return Err(io::Error::other(format!("{URL_VARIABLE} is not set: `make faults` provides a Postgres")));
    }
    Ok(())
}

/// Tries a fault, says what came of it, and adds that to the results.
pub(crate) async fn try_one(
    fault: &Fault,
    times: usize,
    short: bool,
    seed: u64,
    results: Option<&Path>,
) -> io::Result<Outcome> {
    let began = Instant::now();
    let plan = Plan::new(times, short, seed, bar(fault.id, times));
    let done = plan.done.clone();
    let (mut figures, mut outcome) = match fault.attempt(plan).await {
        Ok(figures) if figures.broken.is_empty() => (figures, Outcome::Kept),
        Ok(figures) => {
            let violations = figures.broken.iter().take(TOLD).cloned().collect();
            (figures, Outcome::Broken { violations })
        }
        Err(because) => (Figures::default(), Outcome::Skipped { because }),
    };
    let tried = figures.tried(times);
    for (times, why) in std::mem::take(&mut figures.untried) {
        println!("{:<4} {times} times not tried: {why}", fault.id);
        if tried == 0 && matches!(outcome, Outcome::Kept) {
            outcome = Outcome::Skipped { because: why };
        }
    }
    done.finish_and_clear();
    let counted = serde_json::to_string(&figures)?;
    match &outcome {
        Outcome::Kept => println!("{:<4} kept {counted}", fault.id),
        Outcome::Skipped { because } => println!("{:<4} skipped: {because}", fault.id),
        Outcome::Broken { violations } => {
            println!("{:<4} BROKEN {counted}", fault.id);
            for violation in violations {
                println!("     {violation}");
            }
        }
    }
    if let Some(file) = results {
        let (date, machine, seconds) = (results::date(), results::machine(), began.elapsed().as_secs());
        let outcome = outcome.clone();
        let fault = fault.id.to_owned();
        let (code, times) = (results::code(), tried);
        results::add(file, &Line { fault, date, machine, seed, times, short, code, seconds, outcome, figures })?;
    }
    Ok(outcome)
}

/// Shown on a terminal only; elsewhere a line says what is begun.
fn bar(name: &'static str, times: usize) -> ProgressBar {
    let bar = ProgressBar::new(times as u64).with_prefix(name);
    if bar.is_hidden() {
        eprintln!("{name}: {times} …");
    } else {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    match ProgressStyle::with_template("{prefix:<4} [{bar:30}] {pos}/{len}, {elapsed}, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
