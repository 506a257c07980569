//! `kill -9` while something is written: `prepare`, `encode`, `export`, an index, labels added to one, hard negatives.
//! What stands under its own name is whole, and the same command done again gives the bytes of an undisturbed one.
//!
//! Training is killed in `torture.rs`. `SLOW=1` asks for a hundred kills of each.

use crate::products;
use crate::run::World;
use engine::Stream;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A command and what it makes.
struct Deed {
    words: &'static str,
    /// The file or folder.
    makes: &'static str,
    /// Whether it stands there whole or not at all: hard negatives are a folder that fills, and is gone on with.
    at_once: bool,
}

const DEEDS: [Deed; 6] = [
    Deed {
        words: "prepare products.csv --text title --labels category --out again.data --train-vocab 400 -q",
        makes: "again.data",
        at_once: true,
    },
    Deed { words: "encode run texts.txt --out texts.npy -q", makes: "texts.npy", at_once: true },
    Deed { words: "export run --to hf --out model -q", makes: "model", at_once: true },
    Deed { words: "predict run --text oak -q", makes: "run/index.lode", at_once: true },
    Deed { words: "index run --add new.jsonl -q", makes: "run/overlay.lode", at_once: true },
    Deed {
        words: "mine run shop.data --out mined --num-negatives 2 --range-max 9 -q",
        makes: "mined",
        at_once: false,
    },
];

/// The bytes of all files at or below a path, but for those with a temporary name.
fn made(world: &World, name: &str) -> BTreeMap<String, Vec<u8>> {
    let root = world.path(name);
    let hidden =
        |path: &std::path::Path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
    let files =
        world.listing().into_iter().filter(|path| path.starts_with(&root) && path.is_file() && !hidden(path));
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

fn remove(world: &World, name: &str) {
    let path = world.path(name);
    let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
}

/// Kills a command so many times at random moments. How often it was killed before its end.
#[track_caller]
fn check(world: &World, deed: &Deed, trials: u64) -> u64 {
    let words: Vec<&str> = deed.words.split(' ').collect();
    let since = Instant::now();
    world.lode(&words).ok();
    let whole_time = since.elapsed();
    let whole = made(world, deed.makes);
    assert!(!whole.is_empty(), "{} makes nothing", deed.words);
    let mut kills = 0;
    for trial in 0..trials {
        remove(world, deed.makes);
        let share = Stream::new(11, trial).below(0, 1000) as u32;
        let mut child = world.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole_time * share / 1000);
        let ended = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        kills += u64::from(!ended);
        let left = made(world, deed.makes);
        assert!(!deed.at_once || left.is_empty() || left == whole, "{}, trial {trial}: torn", deed.words);
        // Where it is whole there is nothing to do again; to write over it would be refused.
        if left != whole {
            world.lode(&words).ok();
        }
        assert!(made(world, deed.makes) == whole, "{}, trial {trial}: other bytes", deed.words);
    }
    kills
}

#[test]
fn what_is_killed_while_it_writes_leaves_nothing_torn() {
    let world = World::new();
    world.write("products.csv", products::csv(400));
    world.lode(&products::PREPARE).ok();
    let train = "train shop.data --out run --model bag --set model.width=64 --batch 32 --epochs 2 -q";
    world.lode(&train.split(' ').collect::<Vec<_>>()).ok();
    world.write("texts.txt", "an oak chair\nKivi heavy steel pan, model 7\n".repeat(2000));
    world.write("new.jsonl", "{\"id\": \"N1\", \"text\": \"garden hose\"}\n");
    let trials = if std::env::var_os("SLOW").is_some() { 100 } else { 10 };
    let mut all = 0;
    for deed in &DEEDS {
        let since = Instant::now();
        let kills = check(&world, deed, trials);
        all += kills;
        let seconds = since.elapsed().max(Duration::from_millis(1)).as_secs_f32();
        println!(
            "{:<10} killed {kills} times of {trials}, {seconds:.1} s",
            deed.words.split(' ').next().unwrap()
        );
    }
    assert!(all >= trials, "{all} commands were killed before their end: too few to say anything");
}
