//! What is kept of a run: a line of JSON for each fault, added to a file.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use eventstore::clock::Clock;
use serde::Serialize;
use serde_json::Value;

/// What was counted, and what was broken.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    pub(crate) counted: BTreeMap<String, Value>,
    #[serde(skip)]
    pub(crate) broken: Vec<String>,
}

impl Figures {
    pub(crate) fn of(counted: BTreeMap<String, Value>) -> Self {
        Self { counted, broken: Vec::new() }
    }

    pub(crate) fn count(&mut self, name: &str, count: usize) {
        self.counted.insert(name.to_owned(), count.into());
    }

    /// A time in milliseconds, under a name that says so.
    pub(crate) fn took(&mut self, name: &str, longest: Option<Duration>) {
        if let Some(longest) = longest {
            self.counted.insert(name.to_owned(), u64::try_from(longest.as_millis()).unwrap_or(u64::MAX).into());
        }
    }

    /// Adds up what two scenes have counted: numbers are added, the longest times are kept.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        for (name, value) in other.counted {
            let sum = match (self.counted.get(&name).and_then(Value::as_u64), value.as_u64()) {
                (Some(here), Some(there)) if name.ends_with("_ms") => here.max(there).into(),
                (Some(here), Some(there)) => (here + there).into(),
                _ => value,
            };
            self.counted.insert(name, sum);
        }
        self.broken.extend(other.broken);
        self
    }
}

/// What has come of a fault.
#[derive(Clone, Debug, Serialize)]
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
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) fault: &'a str,
    pub(crate) date: String,
    pub(crate) machine: String,
    pub(crate) seed: u64,
    pub(crate) times: usize,
    pub(crate) seconds: u64,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
    pub(crate) figures: Figures,
}

/// Today, as results name it.
pub(crate) fn date() -> String {
    Clock::real_now().format("%Y-%m-%d").to_string()
}

/// What the machine is, as far as the system tells.
pub(crate) fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cpu = line.map_or("unknown processor", |(_, name)| name.trim()).to_owned();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores of {cpu}, Linux {}", kernel.trim())
}

/// Adds a line to the file.
pub(crate) fn add(file: &Path, line: &Line<'_>) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    writeln!(file, "{}", serde_json::to_string(line)?)
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
}
