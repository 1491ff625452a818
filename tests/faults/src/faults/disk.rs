//! F10: no byte is free any more, for a while.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tradepost_tests::fail::OrFail;
use tradepost_tests::nats::NatsServer;

use super::{Plan, Tried};
use crate::cluster::Cluster;
use crate::promises::close;
use crate::results::Figures;
use crate::scene::{Scene, Setup, SmallDisk};

/// Enough for a marketplace that is small.
const DISK_MIB: usize = 768;
/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(3);
const BACK_WITHIN: Duration = Duration::from_secs(60);

pub(crate) async fn full(plan: Plan) -> Tried {
    plan.done.set_length(3 * plan.times as u64);
    let figures = of_postgres(&plan, false).await?.and(of_postgres(&plan, true).await?);
    Ok(figures.and(of_nats(&plan).await?))
}

async fn of_postgres(plan: &Plan, of_wal: bool) -> Tried {
    let disk = SmallDisk::mount(DISK_MIB)?;
    let (cluster, _folder) = if of_wal {
        let folder = crate::cluster::folder();
        let mut cluster = Cluster::start_in(folder.path().join("postgres"), true).await;
        cluster.pause().await;
        move_away(&cluster.home().join("data/pg_wal"), &disk.folder.path().join("pg_wal")).await;
        cluster.start_again().await;
        (cluster, Some(folder))
    } else {
        (Cluster::start_in(disk.folder.path().join("postgres"), true).await, None)
    };
    let scene = Scene::open_on(Setup::one(plan.seed), cluster).await;
    Ok(fill_again_and_again(scene, &disk, plan).await)
}

async fn of_nats(plan: &Plan) -> Tried {
    let disk = SmallDisk::mount(DISK_MIB / 4)?;
    let folder = tempfile::TempDir::new_in(disk.folder.path()).or_fail("make a folder for NATS");
    let mut scene = Scene::open(Setup::one(plan.seed)).await;
    scene.nats = Some(crate::scene::nats(NatsServer::start_in(folder).await).await);
    scene.kill(0).await;
    scene.restart(0).await;
    Ok(fill_again_and_again(scene, &disk, plan).await)
}

async fn fill_again_and_again(mut scene: Scene, disk: &SmallDisk, plan: &Plan) -> Figures {
    let mut slowest = Duration::ZERO;
    for _ in 0..plan.times {
        scene.accepts(20).await;
        let began = Instant::now();
        disk.fill();
        tokio::time::sleep(FULL_FOR).await;
        disk.free();
        // It stores nothing more until it is started again.
        if let Some((nats, _)) = &mut scene.nats {
            nats.kill().await;
            nats.restart().await;
        }
        match scene.recovers(began, BACK_WITHIN).await {
            Some(took) => slowest = slowest.max(took),
            None => break,
        }
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("times", plan.times);
    figures.took("slowest_recovery_ms", Some(slowest));
    figures
}

/// Moves a folder to another disk and leaves a link where it was.
async fn move_away(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().await.or_fail("copy a folder");
    assert!(copied.success(), "a folder could not be copied");
    fs::remove_dir_all(from).or_fail("remove a folder");
    std::os::unix::fs::symlink(to, from).or_fail("make a link");
}
