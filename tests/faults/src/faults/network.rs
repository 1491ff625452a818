//! What happens between processes, and to processes that stand still without being dead.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::Rng;
use tradepost_tests::fail::OrFail;

use super::{Plan, Tried};
use crate::node::{End, Network, Node};
use crate::promises::close;
use crate::proxy::Proxy;
use crate::results::Figures;
use crate::scene::{ALL, Scene, Setup};

/// Longer than the server waits for anything.
const BACK_WITHIN: Duration = Duration::from_mins(1);

/// A silent NATS is done without this soon.
const WITHOUT_NATS_WITHIN: Duration = Duration::from_secs(10);

/// F7: a server, Postgres and NATS in turn. There are two servers, of which one decides for both over NATS; while that
/// stands still, each does for itself.
pub(crate) async fn stops(plan: Plan) -> Tried {
    let mut scene = Scene::open(Setup::one(plan.seed).roles(&[ALL, ALL]).with_nats()).await;
    let mut slowest = Duration::ZERO;
    for number in 0..plan.times {
        if !scene.works(20).await {
            break;
        }
        let most = plan.longest(30_000, 3_000);
        let still = Duration::from_millis(scene.rng.random_range(1_000..=most));
        let signal = |scene: &Scene, signal| match (number % 3, &scene.nats) {
            (0, _) => scene.nodes[number / 3 % 2].signal(signal),
            (1, _) => scene.cluster.signal_all(signal),
            (_, Some(nats)) => nats.signal(signal),
            (_, None) => {}
        };
        let began = Instant::now();
        signal(&scene, Signal::SIGSTOP);
        tokio::time::sleep(still).await;
        if number % 3 == 2 {
            for node in 0..scene.nodes.len() {
                scene.is_back(node, WITHOUT_NATS_WITHIN).await;
            }
        }
        signal(&scene, Signal::SIGCONT);
        match scene.recovers(began, BACK_WITHIN).await {
            Some(took) => slowest = slowest.max(took),
            None => break,
        }
        plan.done.inc(1);
    }
    let journal = scene.journal.clone();
    let mut figures = close(scene).await;
    let unanswered = journal.history().unanswered();
    if unanswered > 0 {
        figures.broken.push(format!("target: {unanswered} requests got no answer, not even that there is none now"));
    }
    figures.count("stops", plan.tried());
    figures.took("slowest_recovery_ms", Some(slowest));
    Ok(figures)
}

/// F8: two nodes, and lines of one of them, or of both, that are cut, or on which nothing arrives. Once with NATS, over which
/// one of them decides; once without, when both do; and once with one of them in a network of its own, from which nothing
/// comes to anybody, and nothing gets there.
pub(crate) async fn cuts(plan: Plan) -> Tried {
    let two = Setup::one(plan.seed).roles(&[ALL, ALL]);
    let third = plan.times.div_ceil(3);
    let mut figures = cut(two.clone().with_nats(), &plan.part(third)).await;
    if !plan.short {
        figures = figures.and(cut(two.clone(), &plan.part(third)).await);
    }
    match Network::make() {
        Ok(network) => Ok(figures.and(part(two, Arc::new(network), &plan.part(third)).await)),
        Err(why) => {
            let why = format!("no node could be given a network of its own: {why}");
            Ok(figures.and_part(third, Err(why)))
        }
    }
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
        let whose = [&[0][..], &[1], &[0, 1]][scene.rng.random_range(0..3)];
        let slow = Duration::from_millis(scene.rng.random_range(0..5));
        let began = Instant::now();
        let lines: Vec<&Proxy> = whose
            .iter()
            .map(|node| match &scene.nodes[*node].to_nats {
                Some(to_nats) if number % 2 == 1 => to_nats,
                _ => &scene.nodes[*node].to_postgres,
            })
            .collect();
        for line in &lines {
            if silent {
                line.keep_silent();
            } else {
                line.cut(false);
            }
        }
        tokio::time::sleep(away).await;
        for line in &lines {
            line.mend();
            // A slow network is one too.
            line.delay(slow);
        }
        match scene.recovers(began, BACK_WITHIN).await {
            Some(took) => slowest = slowest.max(took),
            None => break,
        }
        for node in whose {
            slowest = slowest.max(scene.is_back(*node, BACK_WITHIN).await.unwrap_or_default());
        }
        scene.nodes.iter().flat_map(Node::lines).for_each(Proxy::mend);
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("cuts", plan.tried());
    figures.took("slowest_recovery_ms", Some(slowest));
    figures
}

/// The other node goes on meanwhile.
async fn part(setup: Setup, network: Arc<Network>, plan: &Plan) -> Figures {
    let mut scene = Scene::open(Setup { apart: Some(network.clone()), ..setup }).await;
    let mut slowest = Duration::ZERO;
    for number in 0..plan.times {
        if !scene.works(20).await {
            break;
        }
        let most = plan.longest(15_000, 2_000);
        let away = Duration::from_millis(scene.rng.random_range(100..=most));
        let end = if number % 2 == 0 { End::Ours } else { End::Theirs };
        let began = Instant::now();
        network.cut(end).or_fail("cut a node off");
        tokio::time::sleep(away).await;
        network.join(end).or_fail("join a node again");
        if scene.recovers(began, BACK_WITHIN).await.is_none() {
            break;
        }
        slowest = slowest.max(scene.is_back(1, BACK_WITHIN).await.unwrap_or_default());
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("partitions", plan.tried());
    figures.took("slowest_recovery_ms", Some(slowest));
    figures
}
