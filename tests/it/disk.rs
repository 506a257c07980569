//! A disk that takes no checkpoint for a while: training goes on and says so, and nothing is lost.
#![cfg(unix)]

use crate::run::World;
use crate::torture::{CATALOGUE, TRAIN, learned, lines, shop, undisturbed};
use crate::{catalogue, torture};
#[cfg(target_os = "linux")]
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A run so long that it does not end while its folder is out of reach.
fn long<const N: usize>(train: [&'static str; N]) -> [&'static str; N] {
    train.map(|word| if word == "6" { "30" } else { word })
}

/// Starts a run and keeps it from its folder of checkpoints for a while; its end and what it told.
fn obstructed(
    command: &mut Command,
    world: &World,
    run: &str,
    obstruct: impl FnOnce(&Path),
    clear: impl FnOnce(&Path),
) -> String {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let checkpoints = world.path(&format!("{run}/checkpoints"));
    let mut wait = |until: &dyn Fn() -> bool| {
        while !until() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait(&|| checkpoints.is_dir());
    obstruct(&checkpoints);
    let (before, since) = (lines(world, run).len(), Instant::now());
    // Steps, and several of the intervals after which it saves.
    wait(&|| lines(world, run).len() > before + 12 && since.elapsed() > Duration::from_millis(150));
    clear(&checkpoints);
    let out = child.wait_with_output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(0), "{told}");
    told
}

/// Puts a file in the place of the checkpoints for a while.
fn without_checkpoints_for_a_while(world: &World, train: &[&str], run: &str) -> String {
    let aside = world.path("aside");
    let obstruct = |checkpoints: &Path| {
        std::fs::rename(checkpoints, &aside).unwrap();
        std::fs::write(checkpoints, "in the way").unwrap();
    };
    let clear = |checkpoints: &Path| {
        std::fs::remove_file(checkpoints).unwrap();
        std::fs::rename(&aside, checkpoints).unwrap();
    };
    obstructed(&mut world.command(&[train, &[run]].concat()), world, run, obstruct, clear)
}

/// The user who may write everywhere becomes one who may not; any other stays who they are.
#[cfg(target_os = "linux")]
fn as_a_plain_user(command: &mut Command, world: &World) {
    use std::os::unix::fs::{MetadataExt, chown};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        world.listing().iter().for_each(|path| chown(path, Some(NOBODY), None).unwrap());
        chown(world.path(""), Some(NOBODY), None).unwrap();
        command.uid(NOBODY);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_becomes_read_only_stops_no_training() {
    let world = shop();
    let whole = undisturbed(&world, &long(TRAIN), "whole", "2");
    // Where a plain user can reach it.
    std::fs::copy(env!("CARGO_BIN_EXE_lode"), world.path("lode")).unwrap();
    let command = |words: &[&str]| {
        let mut command = Command::new(world.path("lode"));
        command.current_dir(world.path("")).args(words).stdin(Stdio::null());
        as_a_plain_user(&mut command, &world);
        command
    };
    let mode = |mode: u32| {
        move |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap()
    };
    let train = long(TRAIN);
    let told =
        obstructed(&mut command(&[&train[..], &["run"]].concat()), &world, "run", mode(0o500), mode(0o700));
    assert!(told.contains("training goes on") && told.contains("Permission denied"), "{told}");
    assert!(learned(&world, "run") == whole);
    torture::check_checkpoints(&world, "run");
    // And one that was never to be written: an error before anything else.
    mode(0o500)(&world.path(""));
    let out = command(&[&train[..], &["other"]].concat()).output().unwrap();
    mode(0o700)(&world.path(""));
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(74), "{told}");
    assert!(told.contains("other") && told.contains("Permission denied"), "{told}");
}

#[test]
fn a_folder_that_vanishes_for_a_while_stops_no_training() {
    let world = shop();
    let whole = undisturbed(&world, &long(TRAIN), "whole", "2");
    let told = without_checkpoints_for_a_while(&world, &long(TRAIN), "run");
    assert!(told.contains("training goes on") && told.contains("was not written"), "{told}");
    assert!(learned(&world, "run") == whole);
    torture::check_checkpoints(&world, "run");
}

/// The checkpoint after one that failed adds to nothing that is not there.
#[test]
fn a_chain_that_broke_off_begins_anew() {
    let world = World::new();
    catalogue::prepare(&world, 20_000);
    let whole = undisturbed(&world, &long(CATALOGUE), "whole", "2");
    let told = without_checkpoints_for_a_while(&world, &long(CATALOGUE), "run");
    assert!(told.contains("training goes on"), "{told}");
    assert!(learned(&world, "run") == whole);
    torture::check_checkpoints(&world, "run");
}

/// A limit on the size of files stands for a full disk: the model and the log fit, a checkpoint does not.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_ends_a_run_at_its_last_step_and_says_what_is_left() {
    let world = shop();
    let whole = undisturbed(&world, &TRAIN, "whole", "2");
    let model = world.read("whole/model/model.safetensors").len();
    let words = TRAIN.join(" ");
    let script = format!(
        "trap '' XFSZ; ulimit -f {}; exec {} {words} run",
        model / 512 + 8,
        env!("CARGO_BIN_EXE_lode")
    );
    let out = Command::new("sh").args(["-c", &script]).current_dir(world.path("")).output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(74), "{told}");
    for word in ["training goes on", "there is none before it", "lode resume run"] {
        assert!(told.contains(word), "`{word}` is missing in:\n{told}");
    }
    assert_eq!(std::fs::read_dir(world.path("run/checkpoints")).unwrap().count(), 0, "nothing half-written");
    world.lode(&["resume", "run", "-q"]).ok();
    assert!(learned(&world, "run") == whole);
}
