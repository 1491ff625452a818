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
    /// Events per second of a rebuild, one by one, one by one without waiting for the disk, and of reading alone.
    rebuilt: HashMap<&'static str, Vec<[f64; 4]>>,
    /// Events per second of all rebuilds, one after another and so many at once as there are cores.
    all_rebuilt: Vec<[f64; 2]>,
    /// Events per second that the relay publishes.
    relayed: Vec<f64>,
    watched: HashMap<Way, Vec<Watched>>,
}

impl Samples {
    pub(super) fn rebuilt(&mut self, model: &'static str, taken: [Taken; 4]) {
        self.rebuilt.entry(model).or_default().push(taken.map(Taken::per_second));
    }

    pub(super) fn all(&mut self, serially: Taken, at_once: Taken, relayed: Option<Taken>) {
        self.all_rebuilt.push([serially, at_once].map(Taken::per_second));
        self.relayed.extend(relayed.map(Taken::per_second));
    }

    pub(super) fn watched(&mut self, way: Way, watched: Watched) {
        self.watched.entry(way).or_default().push(watched);
    }

    pub(super) fn report(&self, settings: Settings) -> Report {
        let rebuilds = projections::ALL.iter().filter_map(|model| {
            let repetitions = self.rebuilt.get(model.name)?;
            let of = |place: usize| median(repetitions.iter().map(|rates| rates[place]));
            let (rebuild, one_by_one, lazy, reading) = (of(0), of(1), of(2), of(3));
            Some(Rebuild {
                read_model: model.name,
                events_per_s: rebuild,
                one_by_one_per_s: one_by_one,
                times_one_by_one: rebuild / one_by_one,
                lazy_per_s: lazy,
                times_lazy: rebuild / lazy,
                reading_per_s: reading,
                times_reading: rebuild / reading,
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
            relayed_per_s: (!self.relayed.is_empty()).then(|| median(self.relayed.iter().copied())),
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
    slot_s: f64,
}

impl Settings {
    pub(super) fn of(plan: &ProjectPlan, events: i64, server: ServerFacts) -> Self {
        Self {
            machine: Machine::with(server),
            events,
            repetitions: plan.length.repetitions,
            plain_limit_s: plan.plain.as_secs(),
            slot_s: plan.length.slot.as_secs_f64(),
        }
    }
}

/// What a run found. Shown as tables; serialises with every repetition.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    settings: Settings,
    rebuilds: Vec<Rebuild>,
    /// Events of the log per second when every read model is rebuilt, one after another.
    all_serially_per_s: f64,
    /// The same, so many at once as there are cores.
    all_at_once_per_s: f64,
    /// Events per second that the relay publishes, if there is a NATS.
    relayed_per_s: Option<f64>,
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
    reading_per_s: f64,
    times_reading: f64,
    repetitions: Vec<[f64; 4]>,
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
        let Self { settings: s, rebuilds, all_serially_per_s, all_at_once_per_s, relayed_per_s, lags } = self;
        writeln!(f, "tradepost bench project\n{}", s.machine)?;
        writeln!(
            f,
            "{} events; median of {} repetitions; one by one is stopped after {} s; lag over {} s\n",
            s.events, s.repetitions, s.plain_limit_s, s.slot_s
        )?;
        let head = ["events/s", "rebuild", "one by one", "x", "lazy", "x", "reading only", "x"];
        let [what, rebuild, one_by_one, x, lazy, _, reading, _] = head;
        writeln!(f, "{what:<18} {rebuild:>10} {one_by_one:>12} {x:>8} {lazy:>8} {x:>8} {reading:>12} {x:>8}")?;
        for row in rebuilds {
            writeln!(
                f,
                "{:<18} {:>10.0} {:>12.0} {:>8.1} {:>8.0} {:>8.1} {:>12.0} {:>8.2}",
                row.read_model,
                row.events_per_s,
                row.one_by_one_per_s,
                row.times_one_by_one,
                row.lazy_per_s,
                row.times_lazy,
                row.reading_per_s,
                row.times_reading
            )?;
        }
        let times = all_at_once_per_s / all_serially_per_s;
        writeln!(f, "{:<18} {all_serially_per_s:>10.0}", "all, in turn")?;
        writeln!(f, "{:<18} {all_at_once_per_s:>10.0}  {times:.2} x in turn", "all, at once")?;
        if let Some(relayed) = relayed_per_s {
            writeln!(f, "{:<18} {relayed:>10.0}", "relay to NATS")?;
        }
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
