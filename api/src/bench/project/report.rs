//! Medians, ratios, the tables and the JSON.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::ProjectPlan;
use super::lag::{Watched, Way};
use super::rebuilding::Taken;
use crate::bench::machine::{Machine, ServerFacts};
use crate::bench::median;

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Events per second of a rebuild, one by one, and one by one without waiting for the disk.
    rebuilt: HashMap<&'static str, Vec<[f64; 3]>>,
    /// Events per second of all rebuilds, one after another and so many at once as there are cores.
    all_rebuilt: Vec<[f64; 2]>,
    watched: HashMap<Way, Vec<Watched>>,
}

impl Samples {
    pub(super) fn rebuilt(&mut self, model: &'static str, taken: [Taken; 3]) {
        self.rebuilt.entry(model).or_default().push(taken.map(Taken::per_second));
    }

    pub(super) fn all_rebuilt(&mut self, serially: Taken, at_once: Taken) {
        self.all_rebuilt.push([serially, at_once].map(Taken::per_second));
    }

    pub(super) fn watched(&mut self, way: Way, watched: Watched) {
        self.watched.entry(way).or_default().push(watched);
    }

    pub(super) fn report(&self, settings: Settings) -> Report {
        let rebuilds = projections::ALL.iter().filter_map(|model| {
            let repetitions = self.rebuilt.get(model.name)?;
            let of = |place: usize| median(repetitions.iter().map(|rates| rates[place]));
            let (rebuild, one_by_one, lazy) = (of(0), of(1), of(2));
            Some(Rebuild {
                read_model: model.name,
                events_per_s: rebuild,
                one_by_one_per_s: one_by_one,
                times_one_by_one: rebuild / one_by_one,
                lazy_per_s: lazy,
                times_lazy: rebuild / lazy,
                repetitions: repetitions.clone(),
            })
        });
        let of_all = |place: usize| median(self.all_rebuilt.iter().map(|rates| rates[place]));
        let ways = [Way::SameNode, Way::OtherNodeLog, Way::OtherNodeNats];
        let lags = ways.into_iter().filter_map(|way| Some((way, self.watched.get(&way)?)));
        Report {
            settings,
            rebuilds: rebuilds.collect(),
            all_serially_per_s: of_all(0),
            all_at_once_per_s: of_all(1),
            lags: lags.flat_map(|(way, slots)| rows(way, slots)).collect(),
        }
    }
}

/// The lag of each read model, heard of in one way.
fn rows(way: Way, slots: &[Watched]) -> Vec<Lag> {
    let of = |model: &'static str, share: f64| -> Vec<f64> {
        slots.iter().filter_map(|slot| Some(ms(slot.lags.get(model)?.value_at_quantile(share)))).collect()
    };
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let rate = |count: fn(&Watched) -> u64| {
        median(slots.iter().map(|slot| count(slot) as f64 / slot.elapsed.as_secs_f64().max(f64::EPSILON)))
    };
    let commands_per_s = rate(|slot| slot.commands);
    let events_per_s = rate(|slot| slot.events.unsigned_abs());
    let row = |model: &projections::ReadModel| {
        let (p50, p99) = (of(model.name, 0.5), of(model.name, 0.99));
        Lag {
            way: way.to_string(),
            read_model: model.name,
            p50_ms: median(p50.iter().copied()),
            p99_ms: median(p99.iter().copied()),
            commands_per_s,
            events_per_s,
            repetitions: p50.into_iter().zip(p99).collect(),
        }
    };
    projections::ALL.iter().map(row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "lags are far below 2^53 µs")]
fn ms(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// The machine and how it was measured.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Settings {
    #[serde(flatten)]
    machine: Machine,
    events: i64,
    repetitions: usize,
    plain_limit_s: u64,
    slot_s: u64,
    rate: u32,
}

impl Settings {
    pub(super) fn of(plan: &ProjectPlan, events: i64, server: ServerFacts) -> Self {
        Self {
            machine: Machine::with(server),
            events,
            repetitions: plan.repetitions,
            plain_limit_s: plan.plain.as_secs(),
            slot_s: plan.slot.as_secs(),
            rate: plan.rate,
        }
    }
}

/// What a run found. Shown as tables; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    settings: Settings,
    rebuilds: Vec<Rebuild>,
    /// Events per second when every read model is rebuilt, one after another.
    all_serially_per_s: f64,
    /// The same, so many at once as there are cores.
    all_at_once_per_s: f64,
    lags: Vec<Lag>,
}

/// Medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
struct Rebuild {
    read_model: &'static str,
    events_per_s: f64,
    one_by_one_per_s: f64,
    times_one_by_one: f64,
    lazy_per_s: f64,
    times_lazy: f64,
    repetitions: Vec<[f64; 3]>,
}

/// Medians over the repetitions.
#[derive(Clone, Debug, Serialize)]
struct Lag {
    way: String,
    read_model: &'static str,
    p50_ms: f64,
    p99_ms: f64,
    commands_per_s: f64,
    events_per_s: f64,
    repetitions: Vec<(f64, f64)>,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SameNode => "same node",
            Self::OtherNodeLog => "other node, log",
            Self::OtherNodeNats => "other node, NATS",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings: s, rebuilds, all_serially_per_s, all_at_once_per_s, lags } = self;
        writeln!(f, "tradepost bench project\n{}", s.machine)?;
        writeln!(
            f,
            "{} events; median of {} repetitions; one by one is stopped after {} s; lag over {} s at {} commands/s",
            s.events, s.repetitions, s.plain_limit_s, s.slot_s, s.rate
        )?;
        writeln!(
            f,
            "\n{:<18} {:>10} {:>12} {:>8} {:>12} {:>8}",
            "events/s", "rebuild", "one by one", "x", "lazy", "x"
        )?;
        for row in rebuilds {
            writeln!(
                f,
                "{:<18} {:>10.0} {:>12.0} {:>8.1} {:>12.0} {:>8.1}",
                row.read_model,
                row.events_per_s,
                row.one_by_one_per_s,
                row.times_one_by_one,
                row.lazy_per_s,
                row.times_lazy
            )?;
        }
        writeln!(f, "{:<18} {all_serially_per_s:>10.0}", "all, in turn")?;
        let times = all_at_once_per_s / all_serially_per_s;
        writeln!(f, "{:<18} {all_at_once_per_s:>10.0}  {times:.2} x in turn", "all, at once")?;
        let mut way = "";
        for lag in lags {
            if lag.way != way {
                way = &lag.way;
                let (commands, events) = (lag.commands_per_s, lag.events_per_s);
                writeln!(f, "\nlag, {way} ({commands:.0} commands/s, {events:.0} events/s)")?;
                writeln!(f, "{:<18} {:>10} {:>12}", "", "p50 ms", "p99 ms")?;
            }
            writeln!(f, "{:<18} {:>10.2} {:>12.2}", lag.read_model, lag.p50_ms, lag.p99_ms)?;
        }
        Ok(())
    }
}
