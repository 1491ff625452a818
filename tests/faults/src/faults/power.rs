//! F4: the power goes under Postgres, and with it what was not synced.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::Rng;

use super::{Plan, Tried};
use crate::cluster::{Cluster, gone};
use crate::forgetful::Forgetful;
use crate::promises::close;
use crate::scene::{Scene, Setup};

/// Recovery reads what is left of the log of Postgres.
const BACK_WITHIN: Duration = Duration::from_mins(1);

pub(crate) async fn losses(plan: Plan) -> Tried {
    let disk = Forgetful::mount()?;
    let cluster = Cluster::start_in(disk.path().join("postgres"), true).await;
    if !cluster.home().starts_with(disk.path()) {
        cluster.stop().await;
        return Err("Postgres cannot run in a file system of our own here".to_owned());
    }
    let mut scene = Scene::open_on(Setup::one(plan.seed), cluster).await;
    let (mut pages, mut slowest) = (0, Duration::ZERO);
    for _ in 0..plan.times {
        let more = scene.rng.random_range(1..=200);
        if !scene.works(more).await {
            break;
        }
        scene.moment(50).await;
        let began = Instant::now();
        // Frozen at one moment, so that nothing is written or synced after the power has gone.
        let postmaster = scene.cluster.postmaster();
        scene.cluster.freeze().await;
        pages += disk.lose_power(&mut scene.rng);
        scene.cluster.signal_all(Signal::SIGKILL);
        scene.cluster.let_go();
        if let Some(postmaster) = postmaster {
            gone(postmaster).await;
        }
        scene.to_postgres().for_each(|proxy| proxy.cut(true));
        scene.postgres_again().await;
        if scene.recovers(began, BACK_WITHIN).await.is_none() {
            break;
        }
        slowest = slowest.max(began.elapsed());
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    if pages == 0 {
        figures.broken.push("target: nothing was lost that was not synced".to_owned());
    }
    figures.count("losses", plan.tried());
    figures.count("pages_lost", pages);
    figures.took("slowest_recovery_ms", Some(slowest));
    Ok(figures)
}
