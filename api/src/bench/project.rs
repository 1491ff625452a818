//! `tradepost bench project`: how fast read models are built from the log, and how late they are while people trade.
//!
//! One marketplace is traded up in a database of the run; everything is measured on it, in turns: after a warm-up each
//! repetition gives every variant a slot, and the table shows medians. A rebuild compares what it has built with what
//! was there; a difference ends the run.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`rebuilding`] | rebuilds, and the plain way: one event per transaction |
//! | [`relaying`] | the log to NATS |
//! | [`lag`] | how late read models are, by how they hear of events |
//! | [`report`] | medians, ratios, tables and JSON |

use std::time::Duration;

use clap::Args;

use super::market;
use super::nats_server::NatsServer;
use super::scratch::Scratch;
use super::slots::{Length, Servers, Slots};
use super::{BenchError, progress_bar};

mod lag;
mod rebuilding;
mod relaying;
mod report;

use lag::Way;
use rebuilding::Commits;
use report::Report;
use report::{Samples, Settings};

/// Measure rebuilds beside a projection of one event per transaction, and how late read models are.
///
/// Rebuilds, of a marketplace with --events events:
///   rebuild                what `projections rebuild` does: fills beside the live tables, compares, swaps
///   one by one             each event and the checkpoint in a transaction of their own, which is how most projections
///                          are written; stopped after --plain-seconds
///   one by one, lazy       the same without waiting for the disk (`synchronous_commit = off`)
///   reading only           the events that a rebuild reads, and nothing done with them
///   relay                  the whole log published to NATS, and acknowledged; takes the stream TRADEPOST away first
/// Lag, at half of the commands per second that can be carried out (or at --rate), from each answer until a read model
/// shows its events:
///   same node              read models run in the process that decides
///   other node, log        they run elsewhere, and look at the log five times a second, as configured by default
///   other node, NATS       they run elsewhere, and a relay brings them the events; with nats.url, or else a nats-server
///                          that is started for the run, if there is one
///
/// The run works in two databases of its own on the server (named `tradepost_bench_…`) and drops them at the end. Leave
/// the machine alone meanwhile: two runs differ by several percent, the ratios within one run do not.
///
/// Examples:
///   tradepost bench project
///   tradepost bench project --quick
///   tradepost bench project --events 1000000 --json project.json
#[derive(Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub struct BenchProject {
    #[command(flatten)]
    slots: Slots,
    /// Events that the marketplace has [default: 100000].
    #[arg(long, value_name = "N")]
    events: Option<i64>,
    /// Seconds after which one by one is stopped [default: 1].
    #[arg(long, value_name = "SECONDS")]
    plain_seconds: Option<u64>,
    /// Commands per second while the lag is measured [default: half of what can be carried out].
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct ProjectPlan {
    length: Length,
    events: i64,
    plain: Duration,
    rate: Option<u32>,
}

impl BenchProject {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<ProjectPlan, BenchError> {
        let events = self.events.unwrap_or(if self.slots.quick { 5_000 } else { 100_000 });
        let plain_s = self.plain_seconds.unwrap_or(1);
        if events < 1 || !(1..=3_600).contains(&plain_s) || self.rate == Some(0) {
            return Err(BenchError::Option {
                option: "each of --events, --plain-seconds and --rate",
                expected: "at least 1, and seconds at most 3600",
            });
        }
        let length = self.slots.length(3, 4.0, 1.0)?;
        Ok(ProjectPlan { length, events, plain: Duration::from_secs(plain_s), rate: self.rate })
    }
}

/// Measures on these servers. Starts a NATS server if none is named.
pub async fn project(options: &BenchProject, plan: &ProjectPlan, servers: &Servers<'_>) -> Result<Report, BenchError> {
    let measured = async |[market, second]: &[Scratch; 2]| measure(plan, market, second, servers.nats_url).await;
    servers.measure(&options.slots, measured).await
}

async fn measure(
    plan: &ProjectPlan,
    market: &Scratch,
    second: &Scratch,
    nats_url: Option<&str>,
) -> Result<Report, BenchError> {
    let facts = market.facts().await?;
    let started = if nats_url.is_none() { NatsServer::start() } else { None };
    let nats_url = nats_url.or_else(|| started.as_ref().map(|nats| nats.url.as_str()));
    let ways: &[Way] = match nats_url {
        Some(_) => &[Way::SameNode, Way::OtherNodeLog, Way::OtherNodeNats],
        None => &[Way::SameNode, Way::OtherNodeLog],
    };
    let Length { repetitions, slot } = plan.length;
    let rounds = repetitions + 1;
    let bar = progress_bar(rounds * (4 * projections::ALL.len() + 3) + rounds * ways.len())?;
    bar.set_message("people trade");
    for scratch in [market, second] {
        crate::app::prepare(&scratch.database()).await.map_err(|error| BenchError::Prepare(Box::new(error)))?;
    }
    let events = market::trade_up(market, plan.events).await?;
    let mut samples = Samples::default();
    for round in 0..rounds {
        for model in projections::ALL {
            bar.set_message(format!("{}: rebuild", model.name));
            let rebuilt = rebuilding::rebuilt(market, &model).await?;
            bar.inc(1);
            let mut taken = [rebuilt; 4];
            for (taken, commits) in taken[1..].iter_mut().zip([Commits::Durable, Commits::Lazy]) {
                bar.set_message(format!("{}: one by one", model.name));
                *taken = rebuilding::one_by_one(market, second, model, commits, plan.plain).await?;
                bar.inc(1);
            }
            taken[3] = rebuilding::read_only(market, &model).await?;
            bar.inc(1);
            if round > 0 {
                samples.rebuilt(model.name, taken);
            }
        }
        bar.set_message("all read models: rebuild");
        let serially = rebuilding::all_rebuilt(market, 1).await?;
        bar.inc(1);
        let at_once = rebuilding::all_rebuilt(market, projections::rebuild::cores()).await?;
        bar.inc(1);
        bar.set_message("relay");
        let relayed = match nats_url {
            Some(url) => Some(relaying::relayed_anew(market, url).await?),
            None => None,
        };
        bar.inc(1);
        if round > 0 {
            samples.all(serially, at_once, relayed);
        }
    }
    let mut rates = Vec::new();
    for &way in ways {
        bar.set_message(format!("{way}, as fast as it goes"));
        let at_most = lag::watch(market, way, nats_url, None, slot).await?;
        rates.push(plan.rate.unwrap_or_else(|| at_most.half_the_rate()));
        bar.inc(1);
    }
    for round in 0..repetitions {
        for turn in 0..ways.len() {
            // Nobody always goes first.
            let turn = (turn + round) % ways.len();
            let (way, rate) = (ways[turn], rates[turn]);
            bar.set_message(way.to_string());
            samples.watched(way, lag::watch(market, way, nats_url, Some(rate), slot).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(samples.report(Settings::of(plan, events, facts)))
}
