//! What happens between processes, and to processes that stand still without being dead.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::Rng;

use super::{Plan, Tried};
use crate::promises::close;
use crate::results::Figures;
use crate::scene::{ALL, Scene, Setup};

/// Longer than the server waits for anything.
const BACK_WITHIN: Duration = Duration::from_mins(1);

/// F7: each process in turn.
pub(crate) async fn stops(plan: Plan) -> Tried {
    let mut scene = Scene::open(Setup::one(plan.seed).with_nats()).await;
    let mut slowest = Duration::ZERO;
    for number in 0..plan.times {
        if !scene.works(20).await {
            break;
        }
        let most = plan.longest(30_000, 3_000);
        let still = Duration::from_millis(scene.rng.random_range(1_000..=most));
        let signal = |scene: &Scene, signal| match (number % 3, &scene.nats) {
            (0, _) => scene.signal(0, signal),
            (1, _) => scene.cluster.signal_all(signal),
            (_, Some((nats, _))) => nats.signal(signal),
            (_, None) => {}
        };
        let began = Instant::now();
        signal(&scene, Signal::SIGSTOP);
        tokio::time::sleep(still).await;
        signal(&scene, Signal::SIGCONT);
        match scene.recovers(began, BACK_WITHIN).await {
            Some(took) => slowest = slowest.max(took),
            None => break,
        }
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("stops", plan.tried());
    figures.took("slowest_recovery_ms", Some(slowest));
    Ok(figures)
}

/// F8: two nodes, and a line that is cut, or on which nothing arrives. Once with NATS, over which one of them decides, and
/// once without, when both do.
pub(crate) async fn cuts(plan: Plan) -> Tried {
    let two = Setup::one(plan.seed).roles(&[ALL, ALL]);
    let figures = cut(two.clone().with_nats(), &plan.part(plan.times.div_ceil(2))).await;
    Ok(figures.and(cut(two, &plan.part(plan.times.div_ceil(2))).await))
}

async fn cut(setup: Setup, plan: &Plan) -> Figures {
    let mut scene = Scene::open(setup).await;
    let mut slowest = Duration::ZERO;
    for number in 0..plan.times {
        if !scene.works(20).await {
            break;
        }
        let most = plan.longest(15_000, 2_000);
        let away = Duration::from_millis(scene.rng.random_range(100..=most));
        let silent = scene.rng.random_bool(0.5);
        let began = Instant::now();
        let proxy = match &scene.nats {
            Some((_, to_nats)) if number % 2 == 1 => to_nats,
            _ => &scene.to_postgres,
        };
        if silent {
            proxy.keep_silent();
        } else {
            proxy.cut(false);
        }
        tokio::time::sleep(away).await;
        proxy.mend();
        // A slow network is one too.
        proxy.delay(Duration::from_millis(scene.rng.random_range(0..5)));
        match scene.recovers(began, BACK_WITHIN).await {
            Some(took) => slowest = slowest.max(took),
            None => break,
        }
        if let Some((_, to_nats)) = &scene.nats {
            to_nats.mend();
        }
        scene.to_postgres.mend();
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("cuts", plan.tried());
    figures.took("slowest_recovery_ms", Some(slowest));
    figures
}
