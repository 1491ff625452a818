//! What happens to NATS: wiped, killed, and deliveries that lie.

use std::time::{Duration, Instant};

use eventstore::nats::{STREAM, jetstream};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tradepost_tests::history::Outcome;

use super::{Plan, Tried};
use crate::promises::{CONVERGES_WITHIN, close};
use crate::proxy::Spoil;
use crate::scene::{LOOK_AGAIN, PATIENCE, Scene, Setup};

/// Commands that are accepted between two faults.
const BETWEEN: u64 = 50;
/// The stream is whole again this soon after NATS was killed, and after it was lost as well.
const BACK_WITHIN_S: u64 = 10;
const HEALED_WITHIN_S: u64 = 30;

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
        if !scene.works(BETWEEN).await {
            break;
        }
        scene.moment(200).await;
        let Some(nats) = &mut scene.nats else { break };
        nats.kill().await;
        if wiped {
            nats.wipe();
        }
        if scene.accepts(BETWEEN).await.is_none() {
            scene.found.push("target: commands were not accepted without NATS".to_owned());
        }
        let Some(nats) = &mut scene.nats else { break };
        nats.restart().await;
        let within = if wiped { HEALED_WITHIN_S } else { plan.longest(BACK_WITHIN_S, HEALED_WITHIN_S) };
        match healed(&scene, Duration::from_secs(within)).await {
            Some(took) => slowest = slowest.max(took),
            None => scene.found.push(format!("P8: the stream was not whole again within {within} s")),
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
    figures.count(if wiped { "wipes" } else { "kills" }, plan.tried());
    figures.took("slowest_healing_ms", Some(slowest));
    Ok(figures)
}

/// How long it takes until the stream holds what the log holds now.
pub(super) async fn healed(scene: &Scene, within: Duration) -> Option<Duration> {
    let (began, head) = (Instant::now(), scene.database.log_head().await);
    while began.elapsed() < within {
        if last_copied(scene).await.is_some_and(|last| last >= head.unsigned_abs()) {
            return Some(began.elapsed());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    None
}

/// Where the stream ends, if there is one that answers.
pub(super) async fn last_copied(scene: &Scene) -> Option<u64> {
    let context = jetstream(&scene.nats.as_ref()?.client().await);
    context.get_stream(STREAM).await.ok().map(|stream| stream.cached_info().state.last_sequence)
}

/// F12. The read models are another node's, which hears of events by NATS.
pub(crate) async fn spoilt(plan: Plan) -> Tried {
    let mut scene = Scene::open(Setup::one(plan.seed).with_nats()).await;
    scene.divide(&["api,relay,processes", "projections"]).await;
    let wanted = plan.times * 1_000;
    let mut all = 0;
    // Whoever reads from the stream.
    let Some(proxy) = &scene.nodes[1].to_nats else { return Err("there is no NATS".to_owned()) };
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
    match scene.shows_everything().await {
        Some(took) if took <= CONVERGES_WITHIN => {}
        took => scene.found.push(format!("P8: read models were right only after {took:?}")),
    }
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
