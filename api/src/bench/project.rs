//! `tradepost bench project`: how fast read models are built from the log, and how late they are while people trade.
//!
//! One marketplace is traded up in a database of the run; everything is measured on it, in turns: after a warm-up each
//! repetition gives every variant a slot, and the table shows medians. A rebuild compares what it has built with what
//! was there; a difference ends the run.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`market`] | people who trade, by the use cases of the API |
//! | [`rebuilding`] | rebuilds, and the plain way: one event per transaction |
//! | [`lag`] | how late read models are, by how they hear of events |
//! | [`report`] | medians, ratios, tables and JSON |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use commands::{Engine, EngineSettings};
use eventstore::clock::Clock;
use eventstore::feed::Feed;
use eventstore::log::{self, Head};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::nats_server::NatsServer;
use super::scratch::Scratch;
use super::{BenchError, progress_bar};

mod lag;
mod market;
mod rebuilding;
mod report;

use lag::Way;
use market::{Market, Unobserved};
use rebuilding::Commits;
use report::Report;
use report::{Samples, Settings};

/// Callers at a time who trade the marketplace up.
const CALLERS: usize = 64;

/// Measure rebuilds beside a projection of one event per transaction, and how late read models are.
///
/// Rebuilds, of a marketplace with --events events:
///   rebuild                what `projections rebuild` does: fills beside the live tables, compares, swaps
///   one by one             each event and the checkpoint in a transaction of their own, which is how most projections
///                          are written; stopped after --plain-seconds
///   one by one, lazy       the same without waiting for the disk (`synchronous_commit = off`)
/// Lag, while --rate commands per second are carried out, from each answer until a read model shows its events:
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
    /// Few events, one repetition: to see that it runs, not to quote.
    #[arg(long)]
    quick: bool,
    /// Repetitions of each slot after the warm-up; the tables show medians [default: 3].
    #[arg(long, value_name = "N")]
    repetitions: Option<usize>,
    /// Events that the marketplace has [default: 100000].
    #[arg(long, value_name = "N")]
    events: Option<i64>,
    /// Seconds after which one by one is stopped [default: 3].
    #[arg(long, value_name = "SECONDS")]
    plain_seconds: Option<u64>,
    /// Seconds of trade per slot of the lag [default: 5].
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Commands per second while the lag is measured.
    #[arg(long, value_name = "N", default_value_t = 500)]
    rate: u32,
    /// Also write the report, with every repetition, as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct ProjectPlan {
    repetitions: usize,
    events: i64,
    plain: Duration,
    slot: Duration,
    rate: u32,
}

impl BenchProject {
    /// What the options ask for, if it can be measured.
    pub fn plan(&self) -> Result<ProjectPlan, BenchError> {
        let (repetitions, events, plain_s, slot_s) = if self.quick { (1, 5_000, 1, 1) } else { (3, 100_000, 3, 5) };
        let plan = ProjectPlan {
            repetitions: self.repetitions.unwrap_or(repetitions),
            events: self.events.unwrap_or(events),
            plain: Duration::from_secs(self.plain_seconds.unwrap_or(plain_s)),
            slot: Duration::from_secs(self.seconds.unwrap_or(slot_s)),
            rate: self.rate,
        };
        let in_range = |length: Duration| (1..=3_600).contains(&length.as_secs());
        if plan.repetitions == 0 || plan.events < 1 || !in_range(plan.plain) || !in_range(plan.slot) || plan.rate == 0 {
            return Err(BenchError::Option {
                option: "each of --repetitions, --events, --plain-seconds, --seconds and --rate",
                expected: "at least 1, and seconds at most 3600",
            });
        }
        if cfg!(debug_assertions) {
            return Err(BenchError::DebugBuild);
        }
        Ok(plan)
    }
}

/// Measures on the server at `database_url`, unless it is told to stop. Its role must be able to create databases and
/// roles.
pub async fn project(
    options: &BenchProject,
    plan: &ProjectPlan,
    database_url: &str,
    nats_url: Option<&str>,
    stop: &CancellationToken,
) -> Result<Report, BenchError> {
    let market = Scratch::create(database_url).await?;
    let second = Scratch::create(database_url).await?;
    let measured = stop.run_until_cancelled(Box::pin(measure(plan, &market, &second, nats_url))).await;
    let dropped = [market.discard().await, second.discard().await];
    let report = measured.unwrap_or(Err(BenchError::Interrupted))?;
    dropped.into_iter().collect::<Result<(), _>>()?;
    super::save(options.json.as_deref(), &report)?;
    Ok(report)
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
    let rounds = plan.repetitions + 1;
    let bar = progress_bar(rounds * (3 * projections::ALL.len() + 2) + plan.repetitions * ways.len())?;
    bar.set_message("people trade");
    for scratch in [market, second] {
        crate::app::prepare(&scratch.database()).await.map_err(|error| BenchError::Prepare(Box::new(error)))?;
    }
    let events = trade_up(market, plan.events).await?;
    let mut samples = Samples::default();
    for round in 0..rounds {
        for model in projections::ALL {
            bar.set_message(format!("{}: rebuild", model.name));
            let rebuilt = rebuilding::rebuilt(market, &model).await?;
            bar.inc(1);
            let mut taken = [rebuilt; 3];
            for (taken, commits) in taken[1..].iter_mut().zip([Commits::Durable, Commits::Lazy]) {
                bar.set_message(format!("{}: one by one", model.name));
                *taken = rebuilding::one_by_one(market, second, model, commits, plan.plain).await?;
                bar.inc(1);
            }
            if round > 0 {
                samples.rebuilt(model.name, taken);
            }
        }
        bar.set_message("all read models: rebuild");
        let serially = rebuilding::all_rebuilt(market, 1).await?;
        bar.inc(1);
        let at_once = rebuilding::all_rebuilt(market, projections::rebuild::cores()).await?;
        bar.inc(1);
        if round > 0 {
            samples.all_rebuilt(serially, at_once);
        }
    }
    for round in 0..plan.repetitions {
        for turn in 0..ways.len() {
            // Nobody always goes first.
            let way = ways[(turn + round) % ways.len()];
            bar.set_message(way.to_string());
            samples.watched(way, lag::watch(market, way, nats_url, plan.rate, plan.slot).await?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(samples.report(Settings::of(plan, events, facts)))
}

/// Lets people trade until there are so many events, and a few more. Answers with how many.
async fn trade_up(scratch: &Scratch, events: i64) -> Result<i64, BenchError> {
    let head = Head::at(0);
    let database = scratch.database();
    let (engine, deciding) =
        Engine::start(&database, EngineSettings::default(), Clock::new(), head.clone(), Feed::default()).await?;
    let market = Arc::new(Market::open(engine).await?);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (market, head) = (market.clone(), head.clone());
        callers.spawn(async move {
            while head.position() < events {
                market.story(&Unobserved).await?;
            }
            Ok::<_, BenchError>(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    drop(market);
    deciding.await?;
    Ok(log::head(&mut scratch.connect().await?).await?)
}
