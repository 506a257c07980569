//! `kill -9` at any moment, then `lode resume`: the bits of the model are those of a run that nobody disturbed.
//!
//! The run is killed when its log has reached a random step, after a random pause, so that the blow falls into
//! batches, clusterings, checkpoints and the end alike. Every process of a run may have another number of threads.
//! `SLOW=1` asks for two hundred runs.

use crate::catalogue;
use crate::products;
use crate::run::World;
use engine::Stream;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use train::{Checkpoint, checkpoint};

pub(crate) const TRAIN: [&str; 24] = [
    "train",
    "shop.data",
    "--model",
    "tiny",
    "--set",
    "model.width=32",
    "--set",
    "model.dropout=0.2",
    "--composer",
    "ngame",
    "--batch",
    "24",
    "--set",
    "train.accumulate=2",
    "--epochs",
    "6",
    "--lr",
    "0.003",
    "--save-every",
    "0.05s",
    "--set",
    "save.log_every=1",
    "-q",
    "--out",
];
/// A classifier whose encoder begins to learn half-way.
const CLASSIFY: [&str; 26] = [
    "train",
    "shop.data",
    "--model",
    "bag",
    "--set",
    "model.width=32",
    "--composer",
    "ngame",
    "--batch",
    "24",
    "--head",
    "classifier",
    "--set",
    "head.loss=triplets",
    "--set",
    "head.encoder_lr=1e-3",
    "--set",
    "head.frozen_epochs=3",
    "--epochs",
    "6",
    "--save-every",
    "0.05s",
    "--set",
    "save.log_every=1",
    "-q",
    "--out",
];
/// A classifier over so many labels that a checkpoint needs a small part of them.
pub(crate) const CATALOGUE: [&str; 28] = [
    "train",
    "shop.data",
    "--model",
    "bag",
    "--set",
    "model.width=32",
    "--batch",
    "8",
    "--head",
    "classifier",
    "--loss",
    "supcon",
    "--set",
    "head.uniform=8",
    "--set",
    "head.mined=1",
    "--set",
    "head.precision=bf16",
    "--epochs",
    "6",
    "--save-every",
    "0.01s",
    "--keep",
    "1",
    "--set",
    "save.log_every=1",
    "-q",
    "--out",
];
/// The weights of a transformer, or of a bag.
const MODELS: [&str; 2] = ["model/model.safetensors", "model/0_StaticEmbedding/model.safetensors"];
const THREADS: [&str; 4] = ["1", "2", "3", "7"];

/// A shop, prepared.
pub(crate) fn shop() -> World {
    let world = World::new();
    world.write("products.csv", products::csv(400));
    world.lode(&products::PREPARE).ok();
    world
}

/// All that a run has learned: its model, and its label weights with the state of their optimizer.
#[derive(PartialEq)]
pub(crate) struct Learned {
    model: Vec<u8>,
    tables: Vec<(String, Vec<f32>)>,
}

pub(crate) fn learned(world: &World, run: &str) -> Learned {
    let (newest, ..) = Checkpoint::newest(&world.path(&format!("{run}/checkpoints"))).unwrap();
    let paths = MODELS.map(|name| format!("{run}/{name}"));
    let path = paths.into_iter().find(|path| world.path(path).is_file()).unwrap();
    let tables = newest.head.into_iter().flat_map(|head| head.tables);
    Learned { model: world.read(&path), tables: tables.map(|(name, table)| (name, table.to_f32())).collect() }
}

/// What a run learns that nobody disturbs.
pub(crate) fn undisturbed(world: &World, train: &[&str], run: &str, threads: &str) -> Learned {
    world.lode(&[train, &[run, "--threads", threads]].concat()).ok();
    learned(world, run)
}

/// The lines of a log that end with a newline: the last one may be in the making.
pub(crate) fn lines(world: &World, run: &str) -> Vec<String> {
    let text = std::fs::read_to_string(world.path(&format!("{run}/log.jsonl"))).unwrap_or_default();
    text.split_inclusive('\n').filter(|l| l.ends_with('\n')).map(str::to_owned).collect()
}

/// Starts `lode` and kills it once the log has `lines_wanted` lines, and a pause has passed. Whether it was killed
/// before it ended by itself.
fn killed(world: &World, run: &str, words: &[&str], lines_wanted: usize, pause: Duration) -> bool {
    let mut child = world.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while lines(world, run).len() < lines_wanted && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(pause);
    let ended = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    let status = child.wait().unwrap();
    assert!(status.code().is_none_or(|code| code == 0), "{words:?} ended with {status}");
    !ended
}

/// Each step once and in order, each measurement once and behind its step, then one final line.
#[track_caller]
fn check_log(world: &World, run: &str) -> u64 {
    let lines: Vec<Value> = lines(world, run).iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let number = |l: &Value| l["step"].as_u64().unwrap();
    let (clustered, lines): (Vec<Value>, Vec<Value>) =
        lines.into_iter().partition(|l| l.get("clusters").is_some());
    assert!(clustered.is_sorted_by(|a, b| number(a) < number(b)), "clusters are told of once: {clustered:?}");
    let (last, before) = lines.split_last().unwrap();
    let (measured, steps): (Vec<&Value>, Vec<&Value>) =
        before.iter().partition(|l| l.get("metrics").is_some());
    let total = number(last);
    assert_eq!(steps.iter().map(|l| number(l)).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());
    assert!(
        before.is_sorted_by_key(number) && measured.is_sorted_by(|a, b| number(a) < number(b)),
        "{measured:?}"
    );
    assert!(last["final"] == true && before.iter().all(|l| l.get("final").is_none()));
    total
}

/// What kills leave behind under temporary names is no checkpoint, and the next checkpoints take it away.
#[track_caller]
pub(crate) fn check_checkpoints(world: &World, run: &str) {
    for entry in std::fs::read_dir(world.path(&format!("{run}/checkpoints"))).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("step-") && name.ends_with(".lode"), "litter: {name}");
        Checkpoint::read(&path).unwrap();
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let world = shop();
    for (name, train) in [("run", &TRAIN[..]), ("classifier", &CLASSIFY)] {
        let all = THREADS.map(|threads| undisturbed(&world, train, &format!("{name}{threads}"), threads));
        assert!(all.iter().all(|learned| *learned == all[0]), "{name}");
    }
    assert!(check_log(&world, "run1") >= 40);
}

#[test]
fn a_run_killed_at_any_moment_ends_with_the_bits_of_an_undisturbed_one() {
    let trials = if std::env::var_os("SLOW").is_some() { 200 } else { 12 };
    check_kills(&shop(), (&TRAIN, &TRAIN), trials);
}

#[test]
fn a_classifier_killed_at_any_moment_ends_with_the_bits_of_an_undisturbed_one() {
    let trials = if std::env::var_os("SLOW").is_some() { 100 } else { 6 };
    check_kills(&shop(), (&CLASSIFY, &CLASSIFY), trials);
}

/// The undisturbed run has its tables on the heap, the others in scratch files; one checkpoint is kept, and what it
/// adds to.
#[test]
fn a_mapped_classifier_killed_between_the_files_of_a_chain_ends_with_the_bits_of_an_undisturbed_one() {
    let world = World::new();
    catalogue::prepare(&world, 20_000);
    let trials = if std::env::var_os("SLOW").is_some() { 100 } else { 8 };
    let (train, out) = CATALOGUE.split_at(CATALOGUE.len() - 1);
    let mapped = [train, &["--scratch", "."], out].concat();
    let longest = check_kills(&world, (&CATALOGUE, &mapped), trials);
    assert!(longest > 2, "{longest} files in a chain");
}

/// Kills runs of `train`, which must learn what an undisturbed run of `whole` does. The most checkpoints that a killed
/// one left.
#[track_caller]
fn check_kills(world: &World, (whole, train): (&[&str], &[&str]), trials: u64) -> usize {
    let whole = undisturbed(world, whole, "whole", "2");
    let total = check_log(world, "whole");
    let (mut kills, mut late, mut files) = (0, 0, 0);
    // On a busy machine a run may end before it is killed: then there are more trials.
    let mut ran = 0;
    while ran < trials || (kills as u64) < trials && ran < 10 * trials {
        let trial = ran;
        ran += 1;
        let random = Stream::new(5, trial);
        let run = format!("run{trial}");
        let threads = |i: u64| THREADS[random.below(100 + i, 4) as usize];
        let pause = |i: u64| Duration::from_micros(random.below(200 + i, 40_000));
        let start = [train, &[&run, "--threads", threads(0)]].concat();
        // Until the first step there may be no run to resume: half of the trials are killed very early.
        let first = if trial % 2 == 0 { 1 + random.below(0, 3) } else { 1 + random.below(0, total) };
        let mut goal = first as usize;
        let mut alive = !killed(world, &run, &start, goal, pause(0));
        kills += usize::from(!alive);
        for i in 1..=3 {
            if alive {
                break;
            }
            goal = (goal + random.below(i, total / 2) as usize).min(total as usize + 1);
            let again = ["resume", &run, "-q", "--threads", threads(i)];
            alive = !killed(world, &run, &again, goal, pause(i));
            kills += usize::from(!alive);
            late += usize::from(!alive && lines(world, &run).len() > total as usize);
        }
        files = files.max(checkpoint::list(&world.path(&format!("{run}/checkpoints"))).len());
        // What a killed process could leave: a model between its old and its new name, half a checkpoint under its
        // temporary name.
        let litter = format!("{run}/checkpoints/.step-{total:012}.lode.tmp-1-0");
        world.write(&litter, &whole.model[..100]);
        let at = |name: &str| world.path(&format!("{run}/{name}"));
        if trial % 3 == 0 && !at(".model.previous").exists() {
            std::fs::rename(at("model"), at(".model.previous")).unwrap();
        }
        world.lode(&["resume", &run, "-q", "--threads", threads(9)]).ok();
        assert!(learned(world, &run) == whole, "trial {trial}: other bits");
        assert_eq!(check_log(world, &run), total, "trial {trial}");
        check_checkpoints(world, &run);
        std::fs::remove_dir_all(world.path(&run)).unwrap();
    }
    println!(
        "{ran} runs of {total} steps, killed {kills} times, {late} after the last step, up to {files} checkpoints"
    );
    assert!(kills as u64 >= trials, "{kills} kills");
    files
}

/// Both stages, begun by one command and ended by another.
#[test]
fn a_pipeline_killed_in_any_stage_ends_with_the_bits_of_an_undisturbed_one() {
    let world = shop();
    let words = |run: &str, threads: &str| -> Vec<String> {
        let all = "train shop.data --pipeline ngame --model bag --set model.width=32 --batch 24 --epochs 3 --lr 0.003 \
                   --set classifier.train.epochs=5 --save-every 0.05s --set save.log_every=1 -q --out";
        all.split_whitespace().chain([run, "--threads", threads]).map(str::to_owned).collect()
    };
    let strs = |words: &[String]| -> Vec<&'static str> { words.iter().map(|w| &*w.clone().leak()).collect() };
    world.lode(&strs(&words("whole", "2"))).ok();
    let stages =
        |run: &str| ["encoder", "classifier"].map(|stage| learned(&world, &format!("{run}/{stage}")));
    let whole = stages("whole");
    assert!(whole[0].tables.is_empty() && !whole[1].tables.is_empty());
    for (trial, (stage, goal)) in
        [("encoder", 1), ("encoder", 17), ("classifier", 1), ("classifier", 30)].into_iter().enumerate()
    {
        let run = format!("run{trial}");
        let start = strs(&words(&run, THREADS[trial]));
        killed(&world, &format!("{run}/{stage}"), &start, goal, Duration::from_millis(3 * trial as u64));
        if stage == "encoder" {
            // What a process leaves that is killed while it makes the directory of the next stage.
            world.write(&format!("{run}/classifier/.model.partial/model.safetensors"), "torn");
        }
        let told = world.lode(&["resume", &run, "-q"]).ok().stdout;
        assert!(told.contains("fusion") && told.contains("classifier"), "{told}");
        assert!(stages(&run) == whole, "trial {trial}: other bits");
        // A pipeline that is over is measured again, and nothing is trained.
        assert_eq!(world.lode(&["resume", &run, "-q"]).ok().stdout, told);
    }
}
