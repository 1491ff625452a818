//! F11: the clock of a node's machine jumps. Nodes follow the database's time, so nobody is to notice.

use std::fs;
use std::path::PathBuf;

use super::{Plan, Tried};
use crate::promises::close;
use crate::scene::{Scene, Setup};

/// Where systems keep the library that shows programs another time.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
];
/// In seconds.
const JUMPS: [&str; 3] = ["+3600", "-3600", "+0"];
const BETWEEN: u64 = 40;

pub(crate) async fn jumps(plan: Plan) -> Tried {
    let found = LIBRARIES.iter().map(PathBuf::from).find(|path| path.is_file());
    let library = found.ok_or("libfaketime is not installed; on Debian: apt-get install libfaketime")?;
    let folder = crate::cluster::folder();
    let shown = folder.path().join("clock");
    let set = |offset: &str| fs::write(&shown, offset).map_err(|error| format!("the clock cannot be set: {error}"));
    set("+0")?;
    let mut setup = Setup::one(plan.seed);
    let surroundings = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", shown.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // It counts on; only what it shows as the time of day jumps. Later versions of the library know the first name.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    setup.surroundings.extend(surroundings.map(|(name, value)| (name.to_owned(), value)));
    let mut scene = Scene::open(setup).await;
    if !scene.nodes[0].maps().contains("libfaketime") {
        return Err("libfaketime cannot be put before the server here".to_owned());
    }
    for number in 0..plan.times {
        if let Err(why) = set(JUMPS[number % JUMPS.len()]) {
            scene.found.push(format!("target: {why}"));
            break;
        }
        if !scene.works(BETWEEN).await {
            break;
        }
        // What a node has at first is what its machine shows.
        scene.kill(0).await;
        scene.restart(0).await;
        if !scene.works(BETWEEN).await {
            break;
        }
        plan.done.inc(1);
    }
    let mut figures = close(scene).await;
    figures.count("jumps", plan.tried());
    Ok(figures)
}
