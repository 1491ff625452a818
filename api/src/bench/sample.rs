//! What is measured in a slot, and the table of what came of all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{BenchError, median};

/// Digits that the histograms keep.
const PRECISION: u8 = 3;

/// What came of a slot.
#[derive(Debug)]
pub(super) struct Measured {
    /// Of what was accepted, in microseconds.
    latencies: Histogram<u64>,
    /// How many answers had which status that refuses.
    refused: BTreeMap<u16, u64>,
    elapsed: Duration,
}

/// The figures of a slot.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Sample {
    pub(super) per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The share of requests that a rule refused.
    pub(super) refused: f64,
}

impl Measured {
    pub(super) fn new() -> Result<Self, BenchError> {
        let latencies = Histogram::new(PRECISION).map_err(|_| BenchError::Material("histogram"))?;
        Ok(Self { latencies, refused: BTreeMap::new(), elapsed: Duration::ZERO })
    }

    pub(super) fn accepted(&mut self, took: Duration) {
        // The histogram grows as needed, so recording fails for no latency below centuries.
        let _ = self.latencies.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn refused(&mut self, status: u16) {
        *self.refused.entry(status).or_default() += 1;
    }

    /// An error unless every answer that was not accepted has a status of those `expected`, which a rule gives.
    pub(super) fn only_refused_with(&self, expected: &[u16]) -> Result<(), BenchError> {
        match self.refused.iter().find(|(status, _)| !expected.contains(status)) {
            Some((status, count)) => Err(BenchError::Answers { status: *status, count: *count }),
            None => Ok(()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    pub(super) fn sample(&self) -> Sample {
        let refused = self.refused.values().sum::<u64>() as f64;
        let (count, ms) = (self.latencies.len() as f64, |share| self.latencies.value_at_quantile(share) as f64 / 1e3);
        Sample {
            per_s: count / self.elapsed.as_secs_f64().max(f64::EPSILON),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            refused: refused / (count + refused).max(1.0),
        }
    }

    /// What callers have measured since `began`, together.
    pub(super) async fn together(
        mut running: JoinSet<Result<Self, BenchError>>,
        began: Instant,
    ) -> Result<Self, BenchError> {
        let mut all = Self::new()?;
        while let Some(done) = running.join_next().await {
            all.add(done??)?;
        }
        Ok(all.over(began.elapsed()))
    }

    /// Takes in what somebody else has measured.
    pub(super) fn add(&mut self, other: Self) -> Result<(), BenchError> {
        let Self { latencies, refused, .. } = other;
        self.latencies.add(latencies).map_err(|_| BenchError::Material("histogram"))?;
        for (status, count) in refused {
            *self.refused.entry(status).or_default() += count;
        }
        Ok(())
    }

    /// The same, measured over so long.
    pub(super) fn over(self, elapsed: Duration) -> Self {
        Self { elapsed, ..self }
    }
}

/// Lets so many callers do `work` again and again, for a warm-up of a quarter of the slot and the slot.
pub(super) async fn again_and_again<F>(
    callers: usize,
    slot: Duration,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> Result<Sample, BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send,
{
    let began = Instant::now() + slot / 4;
    as_long_as(callers, began, move || Instant::now() < began + slot, work).await
}

/// Lets so many callers do `work` so often, all of them together.
pub(super) async fn so_often<F>(
    callers: usize,
    times: usize,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> Result<Sample, BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send,
{
    let taken = Arc::new(AtomicUsize::new(0));
    as_long_as(callers, Instant::now(), move || taken.fetch_add(1, Ordering::Relaxed) < times, work).await
}

/// Lets callers do `work` as long as they may go on. What was asked since `began` counts.
async fn as_long_as<F>(
    callers: usize,
    began: Instant,
    may_go_on: impl Fn() -> bool + Clone + Send + 'static,
    work: impl Fn() -> F + Clone + Send + 'static,
) -> Result<Sample, BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send,
{
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let (may_go_on, work) = (may_go_on.clone(), work.clone());
        running.spawn(async move {
            let mut measured = Measured::new()?;
            while may_go_on() {
                let asked = Instant::now();
                work().await?;
                if asked >= began {
                    measured.accepted(asked.elapsed());
                }
            }
            Ok(measured)
        });
    }
    Ok(Measured::together(running, began).await?.sample())
}

/// One kind of work: medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    work: String,
    pub(super) per_s: f64,
    /// Over the rate of the work that it is compared with.
    times: Option<f64>,
    p50_ms: f64,
    p99_ms: f64,
    pub(super) repetitions: Vec<Sample>,
}

impl Row {
    pub(super) fn of(work: impl fmt::Display, repetitions: Vec<Sample>) -> Self {
        let of = |figure: fn(&Sample) -> f64| median(repetitions.iter().map(figure));
        let (per_s, p50_ms, p99_ms) =
            (of(|sample| sample.per_s), of(|sample| sample.p50_ms), of(|sample| sample.p99_ms));
        Self { work: work.to_string(), per_s, times: None, p50_ms, p99_ms, repetitions }
    }

    /// Compares it with a rate.
    #[must_use]
    pub(super) fn against(self, per_s: f64) -> Self {
        Self { times: Some(self.per_s / per_s), ..self }
    }
}

/// Writes rows as a table; `times` says what each is compared with.
pub(super) fn write_rows<'a>(
    f: &mut fmt::Formatter<'_>,
    times: &str,
    rows: impl IntoIterator<Item = &'a Row>,
) -> fmt::Result {
    writeln!(f, "{:<36} {:>10} {times:>12} {:>9} {:>9}", "", "per s", "p50 ms", "p99 ms")?;
    for Row { work, per_s, times, p50_ms, p99_ms, .. } in rows {
        let times = times.map_or(String::new(), |times| format!("{times:.2}"));
        writeln!(f, "{work:<36} {per_s:>10.0} {times:>12} {p50_ms:>9.2} {p99_ms:>9.2}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_rule_refuses_is_no_answer_that_counts() {
        let mut measured = Measured { elapsed: Duration::from_secs(1), ..Measured::new().unwrap() };
        measured.accepted(Duration::from_millis(2));
        measured.refused(422);
        assert!(measured.only_refused_with(&[]).is_err());
        measured.only_refused_with(&[422]).unwrap();
        let sample = measured.sample();
        assert!((sample.per_s - 1.0).abs() < f64::EPSILON && (sample.refused - 0.5).abs() < f64::EPSILON);
        assert!((sample.p99_ms - 2.0).abs() < 0.01, "{sample:?}");
    }

    #[tokio::test]
    async fn what_fails_once_ends_all_of_it() {
        let fails = || std::future::ready(Err(BenchError::Material("work")));
        let slot = Duration::from_mins(1);
        assert!(matches!(again_and_again(3, slot, fails).await, Err(BenchError::Material("work"))));
    }

    #[test]
    fn rows_are_compared_with_what_they_are_told() {
        let sample = |per_s| Sample { per_s, p50_ms: 1.0, p99_ms: 2.0, refused: 0.0 };
        let row = Row::of("load", vec![sample(10.0), sample(30.0), sample(20.0)]).against(40.0);
        assert!(row.times.is_some_and(|times| (times - 0.5).abs() < f64::EPSILON));
    }
}
