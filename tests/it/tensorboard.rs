//! `save.tensorboard`: event files say what the log says, of a run that did some steps twice as well.

use crate::products;
use crate::run::World;
use serde_json::Value;

/// What a reader finds in a file: the step of a START, or a step with tags and numbers.
enum Found {
    Start(u64),
    Scalars(u64, Vec<(String, f32)>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut n, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        n |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return n;
        }
    }
}

fn cut<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(n);
    *bytes = rest;
    head
}

/// The fields of a message: numbers and bytes by field; an f32 or f64 comes as its bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    let mut all = vec![];
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (number, value) = match key & 7 {
            0 => (varint(&mut bytes), &[][..]),
            1 => (0, cut(&mut bytes, 8)),
            2 => {
                let n = varint(&mut bytes) as usize;
                (0, cut(&mut bytes, n))
            }
            5 => (0, cut(&mut bytes, 4)),
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, number, value));
    }
    all
}

fn events(mut file: &[u8]) -> Vec<Found> {
    let mut all = vec![];
    while !file.is_empty() {
        let length = u64::from_le_bytes(cut(&mut file, 8).try_into().unwrap()) as usize;
        cut(&mut file, 4);
        let body = fields(cut(&mut file, length));
        cut(&mut file, 4);
        let step = body.iter().find(|f| f.0 == 2).map_or(0, |f| f.1);
        for &(field, _, value) in &body {
            match field {
                7 => all.push(Found::Start(step)),
                5 => {
                    let number = |value: &[u8]| f32::from_le_bytes(value.try_into().unwrap());
                    let pair = |value: &[u8]| {
                        let value = fields(value);
                        (String::from_utf8(value[0].2.to_vec()).unwrap(), number(value[1].2))
                    };
                    let pairs = fields(value).into_iter().map(|(_, _, value)| pair(value)).collect();
                    all.push(Found::Scalars(step, pairs));
                }
                _ => {}
            }
        }
    }
    all
}

/// One tag over the steps, as TensorBoard shows it: files by name, and a START drops what it takes back.
fn shown(world: &World, tag: &str) -> (Vec<(u64, f32)>, usize) {
    let mut files: Vec<_> =
        std::fs::read_dir(world.path("r/tensorboard")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut curve: Vec<(u64, f32)> = vec![];
    for file in &files {
        for found in events(&std::fs::read(file).unwrap()) {
            match found {
                Found::Start(first) => curve.retain(|&(step, _)| step < first),
                Found::Scalars(step, pairs) => {
                    curve.extend(pairs.into_iter().filter(|(name, _)| name == tag).map(|(_, x)| (step, x)));
                }
            }
        }
    }
    (curve, files.len())
}

fn logged(world: &World, number: impl Fn(&Value) -> Option<f64>) -> Vec<(u64, f32)> {
    let text = String::from_utf8(world.read("r/log.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64()?, number(&line)? as f32))).collect()
}

#[test]
fn tensorboard_shows_what_the_log_says_after_steps_were_done_again() {
    let world = World::new();
    world.write("t.csv", products::csv(400));
    let words = ["prepare", "t.csv", "--train-vocab", "300", "--text", "title", "--labels", "category", "-q"];
    world.lode(&[&words[..], &["--out", "d"]].concat()).ok();
    let train = ["train", "d", "--model", "bag", "--batch", "16", "--epochs", "2", "--out", "r", "-q"];
    let sets = ["save.tensorboard=true", "save.log_every=3", "data.validation_per_mille=100"];
    // A checkpoint at nearly every step, none of them in the background.
    let often = ["save.every_seconds=1e-9", "save.keep=1000", "save.background=false", "model.width=16"];
    let sets: Vec<&str> = sets.iter().chain(&often).flat_map(|set| ["--set", *set]).collect();
    world.lode(&[&train[..], &sets].concat()).ok();
    let check = |files: usize| {
        let loss = |line: &Value| line["loss"].as_f64();
        assert_eq!(shown(&world, "train/loss"), (logged(&world, loss), files));
        let p_at_1 = |line: &Value| line["metrics"]["P@1"].as_f64();
        assert_eq!(shown(&world, "validation/P@1"), (logged(&world, p_at_1), files));
        assert!(logged(&world, loss).len() > 10 && logged(&world, p_at_1).len() == 2);
    };
    check(1);

    // As a kill leaves a run: the checkpoints of later steps never came to be.
    let mut checkpoints: Vec<_> =
        std::fs::read_dir(world.path("r/checkpoints")).unwrap().map(|e| e.unwrap().path()).collect();
    checkpoints.sort();
    checkpoints[10..].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    world.lode(&["resume", "r", "-q"]).ok();
    check(2);
}

#[test]
fn without_the_setting_there_is_no_such_folder_and_a_folder_that_cannot_be_stops_nothing() {
    let world = World::new();
    world.write("t.csv", products::csv(100));
    let words = ["prepare", "t.csv", "--train-vocab", "300", "--text", "title", "--labels", "category", "-q"];
    world.lode(&[&words[..], &["--out", "d"]].concat()).ok();
    let train = ["train", "d", "--model", "bag", "--steps", "4", "--set", "save.every_seconds=0"];
    world.lode(&[&train[..], &["--out", "r"]].concat()).ok();
    assert!(!world.path("r/tensorboard").exists());

    let on = ["--set", "save.tensorboard=true", "--steps", "2"];
    world.lode(&[&train[..4], &on, &["--out", "s"]].concat()).ok();
    assert!(world.path("s/tensorboard").is_dir());
    std::fs::remove_dir_all(world.path("s/tensorboard")).unwrap();
    std::fs::remove_file(world.path("s/log.jsonl")).unwrap();
    world.write("s/tensorboard", "a file");
    let ran = world.lode(&["resume", "s"]).ok();
    assert_eq!(ran.stderr.matches("training goes on").count(), 1, "{}", ran.stderr);
}
