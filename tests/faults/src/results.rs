//! What is kept of a run: a line of JSON for each fault, added to a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use api::bench::machine;
use eventstore::clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults;

/// What was counted, and what was broken.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    pub(crate) counted: BTreeMap<String, Value>,
    #[serde(skip)]
    pub(crate) broken: Vec<String>,
    /// How many of the times could not be tried here, and why.
    #[serde(skip)]
    pub(crate) untried: Vec<(usize, String)>,
}

impl Figures {
    pub(crate) fn count(&mut self, name: &str, count: usize) {
        self.counted.insert(name.to_owned(), count.into());
    }

    /// A time in milliseconds, under a name that says so.
    pub(crate) fn took(&mut self, name: &str, longest: Option<Duration>) {
        if let Some(longest) = longest {
            self.counted.insert(name.to_owned(), u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).into());
        }
    }

    /// A fault that nobody has felt has shown nothing.
    pub(crate) fn was_felt(&mut self) {
        if self.counted.get("unknown_attempts").and_then(Value::as_u64).unwrap_or(0) == 0 {
            self.broken.push("target: no client has noticed anything".to_owned());
        }
    }

    /// Nobody's command was carried out without an answer: then nothing was shown of what becomes of one.
    pub(crate) fn had_to_be_settled(&mut self) {
        if self.counted.get("settled_by_retry").and_then(Value::as_u64).unwrap_or(0) == 0 {
            self.broken.push("target: no client's command was carried out without an answer".to_owned());
        }
    }

    /// How many of so many times were tried.
    pub(crate) fn tried(&self, times: usize) -> usize {
        times.saturating_sub(self.untried.iter().map(|(times, _)| times).sum())
    }

    /// Adds what came of another part. One that could not be tried undoes nothing of this.
    #[must_use]
    pub(crate) fn and_part(mut self, times: usize, part: Result<Self, String>) -> Self {
        match part {
            Ok(part) => self.and(part),
            Err(why) => {
                self.untried.push((times, why));
                self
            }
        }
    }

    /// Adds up what two scenes have counted: numbers are added, of times and sizes the largest are kept.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (name, value) in other.counted {
            let sum = match (self.counted.get(&name).and_then(Value::as_u64), value.as_u64()) {
                (Some(here), Some(there)) if name.ends_with("_ms") || name.ends_with("_bytes") => {
                    here.max(there).into()
                }
                (Some(here), Some(there)) => (here + there).into(),
                _ => value,
            };
            self.counted.insert(name, sum);
        }
        self.broken.extend(other.broken);
        self.untried.extend(other.untried);
        self
    }
}

/// What has come of a fault.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Every promise was kept.
    Kept,
    /// Some were not: the first of what shows it.
    Broken { violations: Vec<String> },
    /// It could not be tried here, and why.
    Skipped { because: String },
}

/// A line of the file of results.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Line {
    pub(crate) fault: String,
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) seed: u64,
    /// How often it was tried.
    pub(crate) times: usize,
    /// Whether as in the short mix, whose limits are wider: this counts for no target.
    pub(crate) short: bool,
    /// Of which state of the code.
    pub(crate) code: String,
    pub(crate) seconds: u64,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    pub(crate) figures: Figures,
}

/// Today, as results name it.
pub(crate) fn date() -> String {
    Clock::real_now().format("%Y-%m-%d").to_string()
}

/// The state of the code that is tried, as far as git can tell: a commit, and whether it was changed since. What is measured
/// is written down in `docs`, and changes nothing.
pub(crate) fn code() -> String {
    let told = |asked: &[&str]| {
        let answer = Command::new("git").args(asked).output().ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    };
    let whether_changed = ["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs"];
    match (told(&["rev-parse", "--short", "HEAD"]), told(&whether_changed)) {
        (Some(commit), Some(changed)) if changed.is_empty() => commit,
        (Some(commit), _) => format!("{commit}-dirty"),
        (None, _) => String::new(),
    }
}

/// What the machine is, as far as the system tells.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores of {}", machine::cpu())
}

/// Adds a line to the file.
pub(crate) fn add(file: &Path, line: &Line) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{}", serde_json::to_string(line)?)
}

/// What all runs of a fault have come to, as a row of a table.
#[derive(Debug, Default)]
struct Sum {
    kept: usize,
    broken: usize,
    skipped: usize,
    /// How often it was tried in the runs in which every promise was kept.
    times: usize,
    seconds: u64,
    /// The first and the last day.
    days: Option<(String, String)>,
    /// The states of the code in which every promise was kept.
    code: BTreeSet<String>,
    machines: BTreeSet<String>,
    figures: Figures,
}

impl Sum {
    fn add(&mut self, line: Line) {
        match line.outcome {
            Outcome::Kept => {
                self.kept += 1;
                self.times += line.times;
                self.code.insert(line.code);
                self.figures = std::mem::take(&mut self.figures).and(line.figures);
            }
            Outcome::Broken { .. } => self.broken += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
        self.seconds += line.seconds;
        self.machines.insert(line.machine);
        let first = self.days.take().map_or_else(|| line.date.clone(), |(first, _)| first.min(line.date.clone()));
        self.days = Some((first, line.date));
    }

    fn row(&self, fault: &str) -> String {
        let counted: Vec<_> = self.figures.counted.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let outcomes = [(self.kept, "kept"), (self.broken, "broken"), (self.skipped, "skipped")];
        let outcomes = outcomes.iter().filter(|(runs, _)| *runs > 0).map(|(runs, what)| format!("{runs} {what}"));
        let days = match &self.days {
            Some((first, last)) if first != last => format!("{first} to {last}"),
            Some((day, _)) => day.clone(),
            None => String::new(),
        };
        let runs = outcomes.collect::<Vec<_>>().join(", ");
        let wanted = faults::ALL.iter().find(|known| known.id == fault);
        let kept =
            wanted.map_or_else(String::new, |wanted| format!("{} of {} {}", self.times, wanted.times, wanted.of));
        let all = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let (code, machines) = (all(&self.code), all(&self.machines));
        format!(
            "| {fault} | {kept} | {runs} | {} | {} | {days} | {code} | {machines} |",
            counted.join(", "),
            self.seconds
        )
    }
}

/// The table of everything in a file of results but what was tried as in the short mix. Counts are sums over the runs in
/// which every promise was kept, times and sizes the largest of them.
pub(crate) fn table(file: &Path) -> io::Result<String> {
    let mut sums: BTreeMap<(usize, String), Sum> = BTreeMap::new();
    for (number, line) in std::fs::read_to_string(file)?.lines().enumerate() {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| io::Error::other(format!("{}, line {}: {error}", file.display(), number + 1)))?;
        if line.short {
            continue;
        }
        let number = line.fault.trim_start_matches('F').parse().unwrap_or(usize::MAX);
        sums.entry((number, line.fault.clone())).or_default().add(line);
    }
    let rows = sums.iter().map(|((_, fault), sum)| sum.row(fault));
    let head = [
        "| | kept, of the target | runs | counted where kept | seconds | days | code | machine |",
        "| --- | --- | --- | --- | ---: | --- | --- | --- |",
    ];
    Ok(head.into_iter().map(str::to_owned).chain(rows).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_added_and_of_times_the_longest_is_kept() {
        let figures = |events: usize, ms: u64| {
            let mut figures = Figures::default();
            figures.count("events", events);
            figures.took("ready_ms", Some(Duration::from_millis(ms)));
            figures
        };
        let both = figures(1, 20).and(figures(2, 10));
        assert_eq!((both.counted["events"].as_u64(), both.counted["ready_ms"].as_u64()), (Some(3), Some(20)));
    }

    #[test]
    fn the_table_adds_up_what_was_done_in_shares() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let outcome = Outcome::Kept;
        let runs = [
            ("F10", "2026-11-23", "89abcde", "2 cores", 1),
            ("F9", "2026-11-22", "1234567", "2 cores", 2),
            ("F9", "2026-11-23", "89abcde", "4 cores", 3),
        ];
        for (fault, date, code, machine, kills) in runs {
            let [fault, date, code, machine] = [fault, date, code, machine].map(str::to_owned);
            let outcome = outcome.clone();
            let mut figures = Figures::default();
            figures.count("kills", kills);
            let (seed, times, short, seconds) = (1, kills, false, 10);
            let line = Line { fault, date, machine, seed, times, short, code, seconds, outcome, figures };
            add(file.path(), &line).unwrap();
            // Neither what was tried under wider limits counts, nor what was counted where a promise was broken.
            add(file.path(), &Line { short: true, ..line.clone() }).unwrap();
            if line.fault == "F9" {
                let (outcome, code) = (Outcome::Broken { violations: vec!["P1".to_owned()] }, "fffffff".to_owned());
                add(file.path(), &Line { code, outcome, ..line }).unwrap();
            }
        }
        let table = table(file.path()).unwrap();
        let rows: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| F9 | 5 of 1000 replies | 2 kept, 2 broken | kills 5 | 40 | 2026-11-22 to 2026-11-23 | 1234567, 89abcde | 2 cores, 4 cores |",
                "| F10 | 1 of 20 times each | 1 kept | kills 1 | 10 | 2026-11-23 | 89abcde | 2 cores |",
            ]
        );
    }
}
