//! What happens to Postgres's processes, and to its answers.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::Rng;
use tradepost_tests::client::Client;

use super::{Plan, Tried};
use crate::promises::close;
use crate::proxy::Moment::After;
use crate::proxy::Step;
use crate::scene::{LOOK_AGAIN, PATIENCE, Scene, Setup};

/// Everything works again this soon after Postgres was killed; in the short mix, beside whatever else there is, later.
const BACK_WITHIN_S: u64 = 10;
const BACK_WITHIN_SHORT_S: u64 = 30;

/// F3.
pub(crate) async fn kills(plan: Plan) -> Tried {
    let mut scene = Scene::open(Setup::one(plan.seed).durable()).await;
    let (mut slowest, mut outages) = (Duration::ZERO, 0);
    for number in 0..plan.times {
        scene.moment(1_200).await;
        scene.rests_after(number, plan.short).await;
        let began = Instant::now();
        let killed = scene.cluster.signal(Signal::SIGKILL);
        let reader = scene.traders[0].at(scene.client(0).address());
        let ((), told) = tokio::join!(scene.cluster.restarted(killed), outage(&reader, &scene, killed));
        match told {
            Ok(refused) => outages += refused,
            Err(why) => scene.found.push(why),
        }
        let within = Duration::from_secs(plan.longest(BACK_WITHIN_S, BACK_WITHIN_SHORT_S));
        if scene.recovers(began, within).await.is_none() {
            break;
        }
        if began.elapsed() > within {
            scene.found.push(format!("target: everything was back only after {:?}", began.elapsed()));
        }
        slowest = slowest.max(began.elapsed());
        plan.done.inc(1);
    }
    let journal = scene.journal.clone();
    let mut figures = close(scene).await;
    let unanswered = journal.history().unanswered();
    if unanswered > 0 {
        figures.broken.push(format!("target: {unanswered} commands were told nothing although the server was there"));
    }
    figures.count("kills", plan.tried());
    figures.count("reads_told_to_come_back", outages);
    figures.took("slowest_recovery_ms", Some(slowest));
    Ok(figures)
}

/// Reads until reads are answered again. Tells how many were told to come back, which may be none: a read waits a little
/// for a connection. (What commands were told, the checker looks at.)
async fn outage(reader: &Client, scene: &Scene, killed: u32) -> Result<usize, String> {
    let (began, mut refused) = (Instant::now(), 0);
    while began.elapsed() < PATIENCE {
        let answer = reader.get("/wallet").attempt().await.map_err(|error| format!("target: no answer: {error}"))?;
        match answer.status {
            200 if scene.cluster.postmaster().is_some_and(|pid| pid != killed) => return Ok(refused),
            200 => {}
            503 if answer.header("retry-after").is_some() && answer.problem_fault().is_none() => refused += 1,
            status => return Err(format!("target: meanwhile a read was answered {status} {}", answer.text)),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err("target: reads were not answered again".to_owned())
}

/// F9: the proxy keeps what Postgres says after it has committed, and ends the connection.
pub(crate) async fn lost_replies(plan: Plan) -> Tried {
    let mut scene = Scene::open(Setup::one(plan.seed)).await;
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    for _ in 0..plan.times {
        let passes = scene.rng.random_range(0..4);
        let held = scene.nodes[0].to_postgres.trap(After(Step::Append), passes);
        if tokio::time::timeout(PATIENCE, held).await.is_err() {
            scene.found.push("target: no reply to an append was met".to_owned());
            scene.nodes[0].to_postgres.disarm();
            break;
        }
        lost += 1;
        let began = Instant::now();
        scene.nodes[0].to_postgres.cut(true);
        if scene.recovers(began, Duration::from_secs(10)).await.is_none() {
            break;
        }
        slowest = slowest.max(began.elapsed());
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("replies_lost", lost);
    figures.took("slowest_recovery_ms", Some(slowest));
    Ok(figures)
}
