//! F10: no byte is free any more, for a while.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;
use tradepost_tests::fail::OrFail;
use tradepost_tests::nats::NatsServer;

use super::messages::{healed, last_copied};
use super::{Plan, Tried};
use crate::cluster::Cluster;
use crate::promises::close;
use crate::results::Figures;
use crate::scene::{LOOK_AGAIN, PATIENCE, Scene, Setup};

/// For whatever is written between one fault and the next.
const ROOM: &str = "size=8g";
const BACK_WITHIN: Duration = Duration::from_mins(1);

pub(crate) async fn full(plan: Plan) -> Tried {
    plan.done.set_length(3 * plan.times as u64);
    let mut figures = of_postgres(&plan.part(plan.times), false).await?;
    if !plan.short {
        figures = figures.and_part(plan.times, of_postgres(&plan.part(plan.times), true).await);
    }
    Ok(figures.and_part(plan.times, of_nats(&plan.part(plan.times)).await))
}

async fn of_postgres(plan: &Plan, of_wal: bool) -> Tried {
    let disk = Disk::mount()?;
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
    let disk = Disk::mount()?;
    let folder = TempDir::new_in(disk.folder.path()).or_fail("make a folder for NATS");
    let mut scene = Scene::open(Setup::one(plan.seed)).await;
    scene.add_nats(NatsServer::start_in(folder).await).await;
    scene.kill(0).await;
    scene.restart(0).await;
    Ok(fill_again_and_again(scene, &disk, plan).await)
}

async fn fill_again_and_again(mut scene: Scene, disk: &Disk, plan: &Plan) -> Figures {
    let mut slowest = Duration::ZERO;
    for _ in 0..plan.times {
        if !scene.works(20).await {
            break;
        }
        let began = Instant::now();
        disk.fill();
        // Of NATS's nobody who trades notices.
        let felt = if scene.nats.is_some() { is_not_copied(&mut scene).await } else { is_felt(&scene).await };
        if !felt {
            scene.found.push("target: the full disk was not noticed".to_owned());
        }
        disk.free();
        // It stores nothing more until it is started again.
        if let Some(nats) = &mut scene.nats {
            nats.kill().await;
            nats.restart().await;
            if healed(&scene, BACK_WITHIN).await.is_none() {
                scene.found.push(format!("P8: the stream was not whole again within {BACK_WITHIN:?}"));
            }
        }
        match scene.recovers(began, BACK_WITHIN).await {
            Some(took) => slowest = slowest.max(took),
            None => break,
        }
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("times", plan.tried());
    figures.took("slowest_recovery_ms", Some(slowest));
    figures
}

/// Waits until a command is told that there is no room for it, or not now. A log that has been made longer in advance has
/// some left, which is used up.
async fn is_felt(scene: &Scene) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Ok(mut connection) = PgConnection::connect(scene.database.url()).await {
            // It may be refused as well.
            let _ = connection.execute("select pg_switch_wal()").await;
        }
        if scene.ask(0).await == Some(503) {
            return true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    false
}

/// Waits until commands are accepted and nothing of them comes to the stream.
async fn is_not_copied(scene: &mut Scene) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let before = last_copied(scene).await;
        if scene.works(50).await && last_copied(scene).await == before {
            return true;
        }
    }
    false
}

/// Moves a folder to another disk and leaves a link where it was.
async fn move_away(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().await.or_fail("copy a folder");
    assert!(copied.success(), "a folder could not be copied");
    fs::remove_dir_all(from).or_fail("remove a folder");
    std::os::unix::fs::symlink(to, from).or_fail("make a link");
}

/// A file system in memory, mounted on a new folder until it is dropped; or why there is none.
#[derive(Debug)]
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn mount() -> Result<Self, String> {
        let disk = Self { folder: crate::cluster::folder() };
        disk.set(MsFlags::empty(), &format!("{ROOM},mode=0711"))
            .map_err(|error| format!("no file system can be mounted here ({error}): it takes CAP_SYS_ADMIN"))?;
        Ok(disk)
    }

    /// Leaves no byte free.
    fn fill(&self) {
        loop {
            let there = statvfs(self.folder.path()).or_fail("look how full the disk is");
            let used = (there.blocks() - there.blocks_free()) * there.fragment_size();
            match self.set(MsFlags::MS_REMOUNT, &format!("size={used}")) {
                // Something was written meanwhile.
                Err(Errno::EINVAL) => {}
                set => return set.or_fail("fill the disk"),
            }
        }
    }

    fn free(&self) {
        self.set(MsFlags::MS_REMOUNT, ROOM).or_fail("free the disk");
    }

    fn set(&self, flags: MsFlags, options: &str) -> nix::Result<()> {
        mount(None::<&Path>, self.folder.path(), Some("tmpfs"), flags, Some(options))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still writes there goes with it.
        let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
    }
}
