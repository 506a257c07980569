//! A made world as a user meets it: `lode world`, then training, a race and mining with somebody who knows.

use crate::run::World;
use serde_json::Value;
use std::path::Path;

/// A world of few queries, prepared as `d`.
fn made() -> World {
    let world = World::new();
    let told = world.lode(&["world", "w", "--queries", "300", "--seed", "2"]).ok();
    assert!(told.stderr.contains("2880 documents, 300 training queries"), "{}", told.stderr);
    world.lode(&["prepare", "w", "--out", "d", "--train-vocab", "2000", "-q"]).ok();
    world
}

#[test]
fn false_negatives_are_in_the_log_and_in_the_race_of_who_gives_the_truth() {
    let world = made();
    let occupied = world.lode(&["world", "w"]);
    assert!(occupied.code == 5 && occupied.stderr.contains("not empty"), "{}", occupied.stderr);
    let train = ["train", "d", "--model", "bag", "--steps", "20", "--batch", "64", "-q", "--out"];
    world.lode(&[&train[..], &["told", "--set", "data.truth=w/qrels/truth.tsv"]].concat()).ok();
    world.lode(&[&train[..], &["untold"]].concat()).ok();
    let first = |run: &str| -> Value {
        let log = String::from_utf8(world.read(&format!("{run}/log.jsonl"))).unwrap();
        serde_json::from_str(log.lines().find(|line| line.contains("\"loss\"")).unwrap()).unwrap()
    };
    let share = first("told")["false_negatives"].as_f64().unwrap();
    assert!(share > 0.0 && share < 0.5, "{share}");
    assert!(first("untold")["false_negatives"].is_null());

    let race = [
        "race",
        "d",
        "--model",
        "bag",
        "--strategies",
        "in-batch,uniform",
        "--seeds",
        "1",
        "--forwards",
        "2000",
    ];
    let told = world
        .lode(&[&race[..], &["--batch", "32", "--out", "r", "-q", "--truth", "w/qrels/truth.tsv"]].concat())
        .ok();
    let rows: Vec<&str> = told.stdout.lines().collect();
    assert!(
        rows[0].ends_with("false") && rows[1].ends_with(" %") && !rows[1].contains("NaN"),
        "{}",
        told.stdout
    );
    assert!(String::from_utf8(world.read("r/race.html")).unwrap().contains("answer their query"));
    let gone = world.lode(&[&train[..], &["x", "--set", "data.truth=nowhere.tsv"]].concat());
    assert!(gone.code == 3 && gone.stderr.contains("nowhere.tsv"), "{} {}", gone.code, gone.stderr);

    // Who goes on without it is told so, and ends.
    std::fs::remove_file(world.path("w/qrels/truth.tsv")).unwrap();
    let again = world.lode(&["resume", "told"]);
    assert!(again.code == 0 && again.stderr.contains("no false negatives are counted"), "{}", again.stderr);
}

#[test]
fn a_cross_encoder_rescores_what_is_mined() {
    let world = made();
    world.lode(&["train", "d", "--model", "bag", "--steps", "2", "--batch", "64", "-q", "--out", "run"]).ok();
    let cross = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cross/bert");
    let mine = |out: &str, more: &[&str]| -> Vec<Value> {
        world.lode(&[&["mine", "run", "d", "--out", out, "-q"], more].concat()).ok();
        let text = String::from_utf8(world.read(out)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let scores = |lines: &[Value]| -> Vec<f64> {
        lines.iter().flat_map(|l| l["scores"].as_array().unwrap()).map(|s| s.as_f64().unwrap()).collect()
    };
    let (plain, judged) = (mine("plain", &[]), mine("judged", &["--rescore", cross.to_str().unwrap()]));
    assert_eq!(plain.len(), judged.len());
    assert_ne!(scores(&plain), scores(&judged));
    // This one gives probabilities.
    assert!(scores(&judged).iter().all(|score| (0.0..=1.0).contains(score)));
    let wrong = world.lode(&["mine", "run", "d", "--out", "x", "--rescore", "run/model"]);
    assert!(wrong.code == 3 && !world.path("x").exists(), "{} {}", wrong.code, wrong.stderr);
}
