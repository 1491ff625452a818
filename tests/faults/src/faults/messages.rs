//! What happens to NATS: wiped, killed, and deliveries that lie.

use std::time::{Duration, Instant};

use eventstore::nats::{STREAM, jetstream};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tradepost_tests::history::Outcome;

use super::{Plan, Tried};
use crate::promises::close;
use crate::proxy::Spoil;
use crate::scene::{LOOK_AGAIN, PATIENCE, Scene, Setup};

/// Commands that are accepted between two faults.
const BETWEEN: usize = 50;
/// The stream is whole again this soon after it was lost.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// F5.
pub(crate) async fn wipes(plan: Plan) -> Tried {
    lose(plan, true).await
}

/// F6.
pub(crate) async fn kills(plan: Plan) -> Tried {
    lose(plan, false).await
}

async fn lose(plan: Plan, wiped: bool) -> Tried {
    let mut scene = Scene::open(Setup::one(plan.seed).with_nats()).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..plan.times {
        scene.accepts(BETWEEN).await;
        scene.moment(200).await;
        let Some((nats, _)) = &mut scene.nats else { break };
        nats.kill().await;
        if wiped {
            nats.wipe();
        }
        if scene.accepts(BETWEEN).await.is_none() {
            scene.found.push("target: commands were not accepted without NATS".to_owned());
        }
        let Some((nats, _)) = &mut scene.nats else { break };
        nats.restart().await;
        match healed(&scene).await {
            Some(took) => slowest = slowest.max(took),
            None => scene.found.push(format!("P8: the stream was not whole again within {HEALED_WITHIN:?}")),
        }
        plan.done.inc(1);
    }
    let journal = scene.journal.clone();
    let mut figures = close(scene).await;
    let commands = journal.history().commands;
    let outcomes = commands.iter().flat_map(|command| command.attempts.iter().map(|attempt| &attempt.outcome));
    let unknown = outcomes.filter(|outcome| matches!(outcome, Outcome::Unknown { .. })).count();
    if unknown > 0 {
        figures.broken.push(format!("P8: {unknown} commands were not answered although Postgres was there"));
    }
    figures.count(if wiped { "wipes" } else { "kills" }, plan.times);
    figures.took("slowest_healing_ms", Some(slowest));
    Ok(figures)
}

/// How long it takes until the stream holds what the log holds now.
async fn healed(scene: &Scene) -> Option<Duration> {
    let (nats, _) = scene.nats.as_ref()?;
    let (began, head) = (Instant::now(), scene.database.log_head().await);
    let context = jetstream(&nats.client().await);
    while began.elapsed() < HEALED_WITHIN {
        if let Ok(stream) = context.get_stream(STREAM).await
            && stream.cached_info().state.last_sequence >= head.unsigned_abs()
        {
            return Some(began.elapsed());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    None
}

/// F12. The read models are another node's, which hears of events by NATS.
pub(crate) async fn spoilt(plan: Plan) -> Tried {
    let setup = Setup::one(plan.seed).with_nats().roles(&["api,relay,processes", "projections"]);
    let scene = Scene::open(setup).await;
    let wanted = plan.times * 1_000;
    let mut all = 0;
    let Some((_, proxy)) = &scene.nats else { return Err("there is no NATS".to_owned()) };
    proxy.spoil(Some(Spoil::new(StdRng::seed_from_u64(plan.seed))));
    let began = Instant::now();
    let patience = PATIENCE * u32::try_from(plan.times * 2).unwrap_or(u32::MAX);
    while all < wanted && began.elapsed() < patience {
        tokio::time::sleep(LOOK_AGAIN * 10).await;
        all = proxy.deliveries().all;
        plan.done.set_position((all / 1_000).min(plan.times) as u64);
    }
    let spoilt = proxy.deliveries();
    proxy.spoil(None);
    let mut figures = close(scene).await;
    for (name, count) in
        [("deliveries", spoilt.all), ("twice", spoilt.twice), ("late", spoilt.late), ("never", spoilt.never)]
    {
        figures.count(name, count);
    }
    if spoilt.all < wanted {
        figures.broken.push(format!("target: only {} deliveries were met", spoilt.all));
    }
    Ok(figures)
}
