//! A disk that takes no checkpoint for a while: training goes on and says so, and nothing is lost.
#![cfg(unix)]

use crate::run::World;
use crate::torture::{CATALOGUE, TRAIN, learned, lines, shop, undisturbed};
use crate::{catalogue, torture};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A run so long that it does not end while its folder is out of reach.
fn long<const N: usize>(train: [&'static str; N]) -> [&'static str; N] {
    train.map(|word| if word == "6" { "30" } else { word })
}

/// Starts a run and puts a file in the place of its checkpoints for a while; its end and what it told.
fn without_checkpoints_for_a_while(world: &World, train: &[&str], run: &str) -> String {
    let mut child = world.start(&[train, &[run]].concat(), Stdio::null());
    let (checkpoints, aside) = (world.path(&format!("{run}/checkpoints")), world.path("aside"));
    let mut wait = |until: &dyn Fn() -> bool| {
        while !until() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait(&|| checkpoints.is_dir());
    std::fs::rename(&checkpoints, &aside).unwrap();
    std::fs::write(&checkpoints, "in the way").unwrap();
    let (before, since) = (lines(world, run).len(), Instant::now());
    // Steps, and several of the intervals after which it saves.
    wait(&|| lines(world, run).len() > before + 12 && since.elapsed() > Duration::from_millis(150));
    std::fs::remove_file(&checkpoints).unwrap();
    std::fs::rename(&aside, &checkpoints).unwrap();
    let out = child.wait_with_output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(0), "{told}");
    told
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
