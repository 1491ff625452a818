//! The harness proves itself: bugs are planted in the server, one at a time, and each must be found as a broken promise.
//!
//! The server is one that was built with the feature `planted-bugs`, which `TRADEPOST_BIN` names; which bug is planted
//! the variable `PLANTED_BUG` says. What the harness itself is made of has none.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;

use crate::faults::{ALL, Plan};

/// A planted bug, the fault under which it shows, how often that happens, and the promise that it breaks.
struct Planted {
    bug: &'static str,
    fault: &'static str,
    times: usize,
    promise: &'static str,
}

macro_rules! planted {
    ($($bug:literal shows under $fault:literal x $times:literal as $promise:literal;)+) => {
        const PLANTED: &[Planted] =
            &[$(Planted { bug: $bug, fault: $fault, times: $times, promise: $promise }),+];
    };
}

planted! {
    "acknowledged-early" shows under "F1" x 4 as "P1";
    "keys-not-unique" shows under "F2" x 1 as "P1";
    "dedupe-off" shows under "F1" x 1 as "P5";
    "checkpoint-first" shows under "F2" x 2 as "P5";
    "commits-not-synced" shows under "F4" x 3 as "P1";
    "commits-not-synced" shows under "F3" x 3 as "P1";
    "change-without-key" shows under "F1" x 2 as "P1";
    "timers-early" shows under "F1" x 1 as "P7";
    "timers-lost" shows under "F1" x 1 as "P7";
    "timers-twice" shows under "F1" x 1 as "P7";
    "stale-read" shows under "F8" x 4 as "P0";
    "position-gap" shows under "F1" x 1 as "P2";
    "balance-unchecked" shows under "F1" x 4 as "P3";
    "stock-unchecked" shows under "F1" x 2 as "P3";
    "second-bid-wins" shows under "F1" x 1 as "P4";
    "shown-twice" shows under "F1" x 1 as "P6";
    "relay-alters" shows under "F6" x 1 as "P8";
    "transaction-left-open" shows under "F7" x 3 as "P9";
}

/// What is planted now.
static NOW: Mutex<Option<&'static str>> = Mutex::new(None);

fn now() -> Option<&'static str> {
    *NOW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What every server is told of a bug.
pub(crate) fn surroundings() -> Vec<(String, String)> {
    now().map(|bug| ("PLANTED_BUG".to_owned(), bug.to_owned())).into_iter().collect()
}

/// Whether bugs are planted in turn; also while none is, since only that may be another between those runs.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Whether this is what is going on.
pub(crate) fn is_running() -> bool {
    RUNNING.load(Ordering::Relaxed)
}

/// How long anything is waited for: not as long where a bug may be what it is waited for in vain.
pub(crate) fn patience() -> Duration {
    Duration::from_secs(if is_running() { 30 } else { 120 })
}

/// The same for everything that is due in months.
pub(crate) fn patience_of_months() -> Duration {
    Duration::from_secs(if is_running() { 60 } else { 600 })
}

/// Shows first that the same server keeps every promise under each fault while nothing is planted. Then plants them all, or
/// those that are named, and tells what found each. Whether all were found.
pub(crate) async fn run(only: &[String]) -> io::Result<bool> {
    if std::env::var_os("TRADEPOST_BIN").is_none() {
        return Err(io::Error::other(
            "TRADEPOST_BIN does not name a server with bugs: `make faults-selftest` builds one",
        ));
    }
    if let Some(unknown) = only.iter().find(|name| PLANTED.iter().all(|planted| planted.bug != name.as_str())) {
        return Err(io::Error::other(format!("no bug is called `{unknown}`")));
    }
    let chosen: Vec<_> =
        PLANTED.iter().filter(|planted| only.is_empty() || only.iter().any(|name| name == planted.bug)).collect();
    RUNNING.store(true, Ordering::Relaxed);
    let mut all_found = true;
    let mut faults = BTreeMap::new();
    for planted in &chosen {
        let times: &mut usize = faults.entry(planted.fault).or_default();
        *times = planted.times.max(*times);
    }
    for (fault, times) in faults {
        let (word, shown) = match found(fault, times).await {
            Ok(broken) if broken.is_empty() => ("kept", String::new()),
            Ok(broken) => ("BROKEN", broken.join("; ")),
            Err(because) => ("SKIPPED", because),
        };
        all_found &= word == "kept";
        println!("{:<22} {fault:<4} {word} {}", "no bug", short(&shown));
    }
    for Planted { bug, fault, times, promise } in chosen {
        *NOW.lock().unwrap_or_else(PoisonError::into_inner) = Some(*bug);
        let found = found(fault, *times).await;
        *NOW.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let (is_found, told) = match found {
            Ok(broken) => {
                let of = |violation: &&String| violation.starts_with(&format!("{promise}:"));
                let shown = broken.iter().find(of).or_else(|| broken.first());
                let is_found = broken.iter().any(|violation| of(&violation));
                let word = if is_found { "found" } else { "NOT FOUND" };
                let shown = shown.map_or("everything was kept", String::as_str);
                (is_found, format!("{word} by {promise} ({} violations): {}", broken.len(), short(shown)))
            }
            // Nobody knows whether it would have been found.
            Err(because) => (false, format!("SKIPPED: {because}")),
        };
        all_found &= is_found;
        println!("{bug:<22} {fault:<4} {told}");
    }
    Ok(all_found)
}

fn short(told: &str) -> String {
    told.chars().take(200).collect()
}

/// What is broken under a fault. A harness that stumbles over a bug has found nothing.
async fn found(id: &str, times: usize) -> Result<Vec<String>, String> {
    let fault = ALL.iter().find(|fault| fault.id == id).ok_or("there is no such fault")?;
    let plan = Plan::new(times, true, 1, ProgressBar::hidden());
    fault.attempt(plan).await.map(|figures| figures.broken)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_bug_shows_under_a_fault_that_there_is_and_there_are_at_least_ten() {
        assert!(PLANTED.iter().all(|planted| ALL.iter().any(|fault| fault.id == planted.fault)));
        assert!(PLANTED.iter().map(|planted| planted.bug).collect::<BTreeSet<_>>().len() >= 10);
    }
}
