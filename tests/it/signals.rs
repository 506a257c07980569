//! What signals get: a saved run, a whole checkpoint, nothing half-written.
#![cfg(unix)]

use crate::products;
use crate::run::World;
#[cfg(target_os = "linux")]
use crate::torture::{TRAIN, learned, shop, undisturbed};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Begins a run that would take long, and waits until its log has steps: one that is interrupted before its first step
/// has nothing done that a resumed run could speak of.
fn begin(world: &World) -> (Child, BufReader<std::process::ChildStderr>) {
    let words =
        ["train", "shop.data", "--out", "run", "--model", "bag", "--batch", "16", "--steps", "4000000"];
    let mut child = world.start(&words, Stdio::null());
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("train:") {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "it ended before it trained");
    }
    while std::fs::read(world.path("run/log.jsonl")).map_or(true, |log| log.is_empty()) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it logged a step");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    (child, told)
}

#[test]
fn an_interrupted_run_is_saved_and_says_how_to_go_on() {
    let world = World::new();
    world.write("products.csv", products::csv(100));
    world.lode(&products::PREPARE).ok();
    let mut steps = vec![];
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let _ = std::fs::remove_dir_all(world.path("run"));
        let (mut child, mut told) = begin(&world);
        signal(&child, name);
        let mut rest = String::new();
        told.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
        assert!(
            rest.contains("interrupted: step") && rest.contains("resume with: lode resume run"),
            "{rest}"
        );
        let saved = std::fs::read_dir(world.path("run/checkpoints")).unwrap().count();
        steps.push(saved);
    }
    assert_eq!(steps, [1, 1]);
    let mut child = world.start(&["resume", "run"], Stdio::null());
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("train:") {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "it ended before it trained");
    }
    assert!(line.contains("done before"), "{line}");
    world.lode(&["resume", "run"]).fails(5, &["another process"]);
    signal(&child, "-INT");
    signal(&child, "-INT");
    drop(told);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_service_whose_reader_has_gone_ends_quietly() {
    let world = World::new();
    world.write("products.csv", products::csv(100));
    world.lode(&products::PREPARE).ok();
    world
        .lode(&[
            "train",
            "shop.data",
            "--out",
            "run",
            "--model",
            "bag",
            "--steps",
            "1",
            "--batch",
            "16",
            "-q",
        ])
        .ok();
    let mut child = world.start(&["predict", "run", "-", "--json", "-q"], Stdio::piped());
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    // A line in, a line out, before the next is asked for.
    for text in ["an oak chair", "a steel pan"] {
        writeln!(input, "{text}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.contains(text), "{line}");
    }
    drop(output);
    writeln!(input, "nobody reads this").unwrap();
    drop(input);
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8(out.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn preparing_that_is_interrupted_leaves_nothing() {
    let world = World::new();
    // Large enough that it is still being read when the signal comes.
    world.write("products.csv", products::csv(300_000));
    let words: Vec<&str> = products::PREPARE.into_iter().filter(|w| *w != "-q").collect();
    let mut child = world.start(&words, Stdio::null());
    let mut told = BufReader::new(child.stderr.take().unwrap());
    told.read_line(&mut String::new()).unwrap();
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(world.listing(), [world.path("products.csv")]);
}

/// A run of one step, for `predict`.
#[cfg(target_os = "linux")]
fn one_step(world: &World) {
    world.write("products.csv", products::csv(100));
    world.lode(&products::PREPARE).ok();
    let words = "train shop.data --out run --model bag --steps 1 --batch 16 -q";
    world.lode(&words.split(' ').collect::<Vec<_>>()).ok();
}

/// Cuts a file short, as a careless program would.
#[cfg(target_os = "linux")]
fn cut(world: &World, name: &str) {
    std::fs::OpenOptions::new().write(true).open(world.path(name)).unwrap().set_len(0).unwrap();
}

/// The process ends as after a failed disk, and says why and how to go on.
#[cfg(target_os = "linux")]
#[track_caller]
fn check_cut_short(child: &mut Child, mut told: impl Read) {
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(74), "{text}");
    assert!(text.contains("was cut short while it was in use") && text.contains("lode resume"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_data_set_cut_short_while_a_run_trains_ends_it_with_words_and_put_back_it_goes_on() {
    let world = World::new();
    world.write("products.csv", products::csv(100));
    world.lode(&products::PREPARE).ok();
    let (data, words) =
        (world.read("shop.data"), "train shop.data --out run --model bag --batch 16 --save-every 0.01s");
    let words = words.split(' ').chain(["--steps", "4000000", "--threads", "2"]).collect::<Vec<_>>();
    let mut child = world.start(&words, Stdio::null());
    let told = child.stderr.take().unwrap();
    while train::checkpoint::list(&world.path("run/checkpoints")).is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it saved");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    cut(&world, "shop.data");
    check_cut_short(&mut child, told);
    world.lode(&["resume", "run"]).fails(4, &["shop.data", "shorter than any file of ours"]);
    world.write("shop.data", data);
    let mut child = world.start(&["resume", "run"], Stdio::null());
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("train:") {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "it ended before it trained");
    }
    assert!(line.contains("done before"), "{line}");
    signal(&child, "-INT");
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
}

/// `predict` reads titles and vocabulary from the data set, and vectors from its index.
#[cfg(target_os = "linux")]
#[test]
fn a_file_cut_short_while_predict_serves_from_it_ends_the_process_with_words() {
    for name in ["shop.data", "run/index.lode"] {
        let world = World::new();
        one_step(&world);
        // The first one makes the index, and has it in memory.
        world.lode(&["predict", "run", "--text", "an oak chair", "-q"]).ok();
        let mut child = world.start(&["predict", "run", "-", "--json", "-q"], Stdio::piped());
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        writeln!(input, "an oak chair").unwrap();
        output.read_line(&mut line).unwrap();
        cut(&world, name);
        writeln!(input, "a steel pan").unwrap();
        drop(input);
        let told = child.stderr.take().unwrap();
        check_cut_short(&mut child, told);
    }
}

/// A limit on the addresses of a process stands for a machine without memory left. Under one limit after the other a
/// run gets further, and ends with words until it ends as it should.
#[cfg(target_os = "linux")]
#[test]
fn refused_memory_ends_a_run_with_words_and_it_goes_on_with_the_same_bits() {
    let world = shop();
    let whole = undisturbed(&world, &TRAIN, "whole", "2");
    let train = format!("{} run --threads 2", TRAIN.join(" "));
    let (mut refused, mut threads_refused) = (0, 0);
    for kilobytes in (24_000..1_000_000).step_by(1_000) {
        let has_begun = !train::checkpoint::list(&world.path("run/checkpoints")).is_empty();
        if !has_begun {
            let _ = std::fs::remove_dir_all(world.path("run"));
        }
        let words = if has_begun { "resume run -q --threads 2" } else { &train };
        let script = format!("ulimit -v {kilobytes}; exec {} {words}", env!("CARGO_BIN_EXE_lode"));
        let out = Command::new("sh").args(["-c", &script]).current_dir(world.path("")).output().unwrap();
        let told = String::from_utf8(out.stderr).unwrap();
        let code = out.status.code();
        if code == Some(0) {
            break;
        }
        // The standard library itself panics where a new thread has its stack and gets none for its signals. Under the
        // lowest limits the loader fails.
        let of_threads = told.matches("failed to allocate an alternative stack").count();
        assert!(told.matches("panicked").count() == of_threads, "{code:?} at {kilobytes} kB:\n{told}");
        if told.contains("does not grant 2 threads") {
            assert!(code == Some(5) && told.contains("--threads"), "{code:?} at {kilobytes} kB:\n{told}");
            threads_refused += 1;
        }
        if told.contains("memory allocation of") {
            assert!(
                code == Some(5) && told.contains("lode resume RUN"),
                "{code:?} at {kilobytes} kB:\n{told}"
            );
            refused += 1;
        }
    }
    assert!(refused > 0 && threads_refused > 0, "no limit was too low: {refused}, {threads_refused}");
    assert!(learned(&world, "run") == whole);
}
