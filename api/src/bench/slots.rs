//! What all measurements have in common: how often and how long, where the figures go, and where they are taken.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::future::{join_all, try_join_all};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::BenchError;
use super::scratch::Scratch;

/// The shortest and the longest slot that make sense, in seconds.
const SHORTEST_S: f64 = 0.05;
pub(super) const LONGEST_S: f64 = 3_600.0;

/// How often and how long to measure, and where the figures go.
#[derive(Args, Clone, Debug)]
pub(super) struct Slots {
    /// One short repetition of everything: to see that it runs, not to quote.
    #[arg(long)]
    pub(super) quick: bool,
    /// Repetitions of each slot after the warm-up; the table shows medians [default: 5, project 3].
    #[arg(long, value_name = "N")]
    repetitions: Option<usize>,
    /// Seconds per slot [default: 2, http and nodes 3, project 4, scale 0.5].
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Also write the report, with every repetition, as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// So many slots of that length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    pub(super) repetitions: usize,
    pub(super) slot: Duration,
}

impl Slots {
    /// What was asked for, or else `repetitions` of `seconds`; a single short one if it is to be quick. What cannot be
    /// measured is refused.
    pub(super) fn length(&self, repetitions: usize, seconds: f64, quick_seconds: f64) -> Result<Length, BenchError> {
        let (repetitions, seconds) = if self.quick { (1, quick_seconds) } else { (repetitions, seconds) };
        let (repetitions, seconds) = (self.repetitions.unwrap_or(repetitions), self.seconds.unwrap_or(seconds));
        if repetitions == 0 || !(SHORTEST_S..=LONGEST_S).contains(&seconds) {
            return Err(BenchError::Option {
                option: "--repetitions and --seconds",
                expected: "at least 1, and from 0.05 to 3600",
            });
        }
        if cfg!(debug_assertions) {
            return Err(BenchError::DebugBuild);
        }
        Ok(Length { repetitions, slot: Duration::from_secs_f64(seconds) })
    }
}

/// The servers that a measurement uses.
#[derive(Debug)]
pub struct Servers<'a> {
    /// A Postgres on which databases and roles may be created.
    pub database_url: &'a str,
    /// NATS, if one is named.
    pub nats_url: Option<&'a str>,
    /// Ends the measurement.
    pub stop: &'a CancellationToken,
}

impl Servers<'_> {
    /// Measures in databases of its own, which are dropped at the end, unless it is told to stop; writes the report down.
    pub(super) async fn measure<const N: usize, R: Serialize>(
        &self,
        slots: &Slots,
        measure: impl AsyncFnOnce(&[Scratch; N]) -> Result<R, BenchError>,
    ) -> Result<R, BenchError> {
        let scratches = try_join_all((0..N).map(|_| Scratch::create(self.database_url))).await?;
        let scratches = <[Scratch; N]>::try_from(scratches).map_err(|_| BenchError::Material("databases"))?;
        let measured = self.stop.run_until_cancelled(Box::pin(measure(&scratches))).await;
        let dropped = join_all(scratches.map(Scratch::discard)).await;
        let report = measured.unwrap_or(Err(BenchError::Interrupted))?;
        dropped.into_iter().collect::<Result<(), _>>()?;
        if let Some(path) = &slots.json {
            let json = serde_json::to_string_pretty(&report).map_err(std::io::Error::from);
            let written = json.and_then(|json| std::fs::write(path, json));
            written.map_err(|source| BenchError::Json { path: path.clone(), source })?;
        }
        Ok(report)
    }
}
