//! What happens to the server's process: killed, killed at one exact step, told to end; and clients that go away.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::sync::watch;
use tradepost_tests::client::Client;
use tradepost_tests::socket::Socket;

use super::{Plan, Tried};
use crate::promises::close;
use crate::proxy::Moment::{After, Before};
use crate::proxy::{Proxy, Step};
use crate::results::Figures;
use crate::scene::{LOOK_AGAIN, PATIENCE, Scene, Setup};

/// So many commands are accepted between two kills, at most, but for those that come in the meantime.
const MOST_BETWEEN_KILLS: u64 = 400;
/// The same in the short mix.
const FEW_BETWEEN_KILLS: u64 = 60;
/// A server is ready this soon after it was killed; in the short mix, beside whatever else the machine does, later.
const READY_WITHIN_S: u64 = 2;
const READY_WITHIN_SHORT_S: u64 = 20;
/// A server that is told to end does so within this.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// How far the clock jumps while orders are traded: a little, or past one deadline or another.
const JUMPS_S: [i64; 6] = [1, 60, 16 * 60, 3 * 86_400, 15 * 86_400, 46 * 86_400];

/// F1, half of the times while people bid, and half while they order and the clock jumps from deadline to deadline.
pub(crate) async fn kills(plan: Plan) -> Tried {
    let bids = plan.part(plan.times.div_ceil(2));
    let mut figures = kill_again_and_again(Setup::one(plan.seed), &bids).await;
    let orders = plan.part(plan.times / 2);
    if orders.times > 0 {
        figures = figures.and(kill_again_and_again(Setup::one(plan.seed).with_orders(), &orders).await);
    }
    Ok(figures)
}

async fn kill_again_and_again(setup: Setup, plan: &Plan) -> Figures {
    let with_orders = setup.trade == crate::scene::Trade::Orders;
    let mut scene = Scene::open(setup).await;
    let jumping = if with_orders {
        let (nobody, address) = (scene.client(0), scene.nodes[0].address());
        Some(tokio::spawn(jump(nobody, address, StdRng::seed_from_u64(plan.seed))))
    } else {
        None
    };
    let mut slowest = Duration::ZERO;
    for number in 0..plan.times {
        let more = scene.rng.random_range(1..=plan.longest(MOST_BETWEEN_KILLS, FEW_BETWEEN_KILLS));
        if !scene.works(more).await {
            break;
        }
        scene.rests_after(number, plan.short).await;
        // Right after an answer it would always be the same moment of a commit.
        scene.moment(50).await;
        scene.kill(0).await;
        slowest = slowest.max(scene.restart(0).await);
        plan.done.inc(1);
    }
    if let Some(jumping) = jumping {
        jumping.abort();
    }
    if slowest > Duration::from_secs(plan.longest(READY_WITHIN_S, READY_WITHIN_SHORT_S)) {
        scene.found.push(format!("target: a server was ready again only after {slowest:?}"));
    }
    let mut figures = close(scene).await;
    figures.was_felt();
    figures.count("kills", plan.tried());
    figures.took("slowest_start_ms", Some(slowest));
    figures
}

/// Sets the clock forward again and again. A jump that a kill cuts short is forgotten.
async fn jump(client: Client, address: watch::Receiver<String>, mut rng: StdRng) {
    loop {
        let jump = JUMPS_S[rng.random_range(0..JUMPS_S.len())] * 1_000;
        let here = client.at(&address.borrow().clone());
        let _ = here.post("/sandbox/clock", &json!({ "advance_ms": jump })).attempt().await;
        tokio::time::sleep(Duration::from_millis(rng.random_range(100..600))).await;
    }
}

/// F2. The proxies hold the server's words, or the answer to them, and it is killed before it can go on.
pub(crate) async fn kills_at_steps(plan: Plan) -> Tried {
    let steps = [Step::Begin, Step::Append, Step::Commit, Step::Checkpoint, Step::Publish, Step::Ack];
    let mut scene = Scene::open(Setup::one(plan.seed).with_nats()).await;
    plan.done.set_length(2 * (steps.len() * plan.times) as u64);
    let mut met = 0;
    for moment in steps.into_iter().flat_map(|step| [Before(step), After(step)]) {
        for _ in 0..plan.times {
            let passes = scene.rng.random_range(0..4);
            let node = &scene.nodes[0];
            let reached = match (moment, &node.to_nats) {
                (Before(Step::Publish | Step::Ack) | After(Step::Publish | Step::Ack), Some(proxy)) => {
                    proxy.trap(moment, passes)
                }
                _ => node.to_postgres.trap(moment, passes),
            };
            if tokio::time::timeout(PATIENCE, reached).await.is_ok() {
                met += 1;
            } else {
                scene.found.push(format!("target: {moment:?} was not met"));
                scene.nodes[0].lines().for_each(Proxy::disarm);
            }
            scene.kill(0).await;
            // What was held ends as it does when a process dies.
            scene.nodes[0].lines().for_each(|proxy| proxy.cut(true));
            scene.restart(0).await;
            plan.done.inc(1);
        }
    }
    let mut figures = close(scene).await;
    figures.was_felt();
    figures.count("kills", met);
    Ok(figures)
}

/// F16.
pub(crate) async fn leaving_clients(plan: Plan) -> Tried {
    let setup = Setup { leaves_percent: 70, ..Setup::one(plan.seed) };
    let scene = Scene::open(setup).await;
    let mut left = 0;
    let (began, patience) = (Instant::now(), PATIENCE * u32::try_from(plan.times.div_ceil(100)).unwrap_or(u32::MAX));
    while left < plan.times && began.elapsed() < patience {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = scene.running().left();
        plan.done.inc((now - left) as u64);
        left = now;
    }
    let mut figures = close(scene).await;
    figures.had_to_be_settled();
    figures.count("clients_left", left);
    if left < plan.times {
        figures.broken.push(format!("target: only {left} clients have gone away"));
    }
    Ok(figures)
}

/// F19.
pub(crate) async fn terminations(plan: Plan) -> Tried {
    let mut scene = Scene::open(Setup::one(plan.seed)).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..plan.times {
        let more = scene.rng.random_range(1..=FEW_BETWEEN_KILLS);
        if !scene.works(more).await {
            break;
        }
        let Some(auction) = scene.auctions.first().copied() else { break };
        let path = format!("/api/v1/ws/auctions/{auction}");
        // A read model may not show the auction yet.
        let mut socket = loop {
            match Socket::reach(scene.client(0).address(), &path).await {
                Some(socket) => break socket,
                None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        };
        scene.moment(50).await;
        let began = Instant::now();
        scene.nodes[0].signal(Signal::SIGTERM);
        let code = socket.close_code().await;
        if code != 1001 {
            scene.found.push(format!("target: a socket was closed with {code}"));
        }
        if let Some(server) = scene.nodes[0].server.take() {
            let ended = server.ended().await;
            if !ended.status.success() {
                scene.found.push(format!("target: the server ended with {}: {}", ended.status, ended.stderr));
            }
        }
        slowest = slowest.max(began.elapsed());
        scene.restart(0).await;
        plan.done.inc(1);
    }
    if slowest > ENDS_WITHIN {
        scene.found.push(format!("target: a server took {slowest:?} to end"));
    }
    let journal = scene.journal.clone();
    let mut figures = close(scene).await;
    let dropped = journal.history().lost_answers();
    if dropped > 0 {
        figures.broken.push(format!("target: {dropped} commands were carried out and their answers dropped"));
    }
    figures.count("stops", plan.tried());
    figures.took("slowest_end_ms", Some(slowest));
    Ok(figures)
}
