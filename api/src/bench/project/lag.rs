//! How late read models are while people trade: from the answer to a command until its events are shown.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use commands::{Engine, EngineSettings};
use eventstore::clock::Clock;
use eventstore::feed::Feed;
use eventstore::follower::Runner;
use eventstore::log::{self, Head};
use eventstore::progress::Progress;
use eventstore::{Position, nats};
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::relaying;
use crate::bench::BenchError;
use crate::bench::market::{Market, Observer};
use crate::bench::scratch::Scratch;

/// Callers at a time. They keep to the rate together.
const CALLERS: usize = 32;
/// As a node is configured unless told otherwise.
const BATCH_EVENTS: i64 = 1_000;
const POLL: Duration = Duration::from_millis(200);
/// After the last command, how long read models may take to show it.
const PATIENCE: Duration = Duration::from_mins(1);
/// Digits that the histograms keep.
const PRECISION: u8 = 3;

/// How read models hear of events.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Way {
    /// They run in the process that decides, which tells them.
    SameNode,
    /// They run elsewhere, look at the log now and then, and read it.
    OtherNodeLog,
    /// They run elsewhere, and NATS brings them the events.
    OtherNodeNats,
}

/// How late each read model was, in microseconds.
pub(super) type Lags = HashMap<&'static str, Histogram<u64>>;

/// What was measured in a slot.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) lags: Lags,
    pub(super) commands: u64,
    pub(super) events: i64,
    pub(super) elapsed: Duration,
}

impl Watched {
    /// Half of the commands per second that were carried out.
    pub(super) fn half_the_rate(&self) -> u32 {
        let rate = u128::from(self.commands) * 500 / self.elapsed.as_millis().max(1);
        u32::try_from(rate).unwrap_or(u32::MAX).max(1)
    }
}

/// Paces commands and passes on when each was acknowledged.
struct Watcher {
    /// Nothing: as fast as it goes.
    pace: Option<Mutex<Interval>>,
    /// Acknowledged before: the warm-up.
    from: Instant,
    told: Vec<mpsc::UnboundedSender<(Position, Instant)>>,
    commands: std::sync::Mutex<u64>,
}

impl Observer for Watcher {
    async fn turn(&self) {
        if let Some(pace) = &self.pace {
            pace.lock().await.tick().await;
        }
    }

    fn acknowledged(&self, position: Position) {
        let now = Instant::now();
        if now < self.from {
            return;
        }
        *self.commands.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        for told in &self.told {
            // Whoever does not listen any more has failed, which is told elsewhere.
            let _ = told.send((position, now));
        }
    }
}

/// Lets people trade at `rate` commands per second, or as fast as it goes, for a warm-up and then for `slot`, while every read model follows.
pub(super) async fn watch(
    scratch: &Scratch,
    way: Way,
    nats_url: Option<&str>,
    rate: Option<u32>,
    slot: Duration,
) -> Result<Watched, BenchError> {
    let database = scratch.database();
    let pool = database.pool(8);
    let at = log::head(&pool).await?;
    let (ours, committed) = (Head::at(at), Feed::default());
    let (theirs, feed) = match way {
        Way::SameNode => (ours.clone(), committed.clone()),
        Way::OtherNodeLog | Way::OtherNodeNats => (Head::at(at), Feed::default()),
    };
    let (engine, deciding) =
        Engine::start(&database, EngineSettings::default(), Clock::new(), ours.clone(), committed).await?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    if way == Way::OtherNodeNats
        && let Some(url) = nats_url
    {
        relaying::begin(url, &pool, &ours, at, (&tasks, &stop)).await?;
        let context = nats::jetstream(&nats::connect(url).await?);
        let listening = feed.clone().listen(context, pool.clone(), theirs.clone(), None);
        tasks.spawn(stop.clone().run_until_cancelled_owned(listening));
    }
    let progress = Progress::default();
    let runner = Runner {
        database: database.clone(),
        head: theirs.clone(),
        feed,
        progress: progress.clone(),
        batch_events: BATCH_EVENTS,
        poll: POLL,
    };
    for follower in projections::all() {
        tasks.spawn(runner.clone().run(follower, stop.clone()));
    }
    tasks.spawn(stop.clone().run_until_cancelled_owned(theirs.poll(pool.clone(), POLL, Arc::default())));
    for model in projections::ALL {
        progress.wait_for(model.name, at, PATIENCE).await?;
    }

    let (mut told, mut measuring) = (Vec::new(), JoinSet::new());
    for model in projections::ALL {
        let (sender, acknowledged) = mpsc::unbounded_channel();
        told.push(sender);
        measuring.spawn(measure(model.name, progress.clone(), acknowledged));
    }
    let pace = rate.map(|rate| {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Mutex::new(pace)
    });
    let began = Instant::now() + slot / 4;
    let watcher = Arc::new(Watcher { pace, from: began, told, commands: std::sync::Mutex::new(0) });
    let market = Arc::new(Market::open(engine).await?);
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (market, watcher) = (market.clone(), watcher.clone());
        callers.spawn(async move {
            while Instant::now() < began + slot {
                market.story(watcher.as_ref()).await?;
            }
            Ok::<_, BenchError>(())
        });
    }
    while let Some(done) = callers.join_next().await {
        done??;
    }
    let elapsed = began.elapsed();
    let commands = *watcher.commands.lock().unwrap_or_else(PoisonError::into_inner);
    // The channels close, and whoever measures ends with the last command.
    drop(watcher);
    let mut lags = Lags::new();
    while let Some(measured) = measuring.join_next().await {
        let (model, histogram) = measured??;
        lags.insert(model, histogram);
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    drop(market);
    deciding.await?;
    let events = log::head(&pool).await? - at;
    pool.close().await;
    Ok(Watched { lags, commands, events, elapsed })
}

/// Waits for each command's events to be shown by one read model.
async fn measure(
    model: &'static str,
    progress: Progress,
    mut acknowledged: mpsc::UnboundedReceiver<(Position, Instant)>,
) -> Result<(&'static str, Histogram<u64>), BenchError> {
    let mut lags = Histogram::new(PRECISION).map_err(|_| BenchError::Material("histogram"))?;
    while let Some((position, at)) = acknowledged.recv().await {
        progress.wait_for(model, position, PATIENCE).await?;
        // The histogram grows as needed, so recording fails for no latency below centuries.
        let _ = lags.record(u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok((model, lags))
}
