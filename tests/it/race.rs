//! `lode race`: the table, the page, and going on.

use crate::products;
use crate::run::World;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

fn world() -> World {
    let world = World::new();
    world.write("t.csv", products::csv(400));
    prepare(&world, "d", "90/10");
    world
}

fn prepare(world: &World, out: &str, split: &str) {
    let words = ["prepare", "t.csv", "--train-vocab", "300", "--text", "title", "--labels", "category", "-q"];
    world.lode(&[&words[..], &["--out", out, "--split", split]].concat()).ok();
}

const RACE: [&str; 15] = [
    "race",
    "d",
    "--strategies",
    "in-batch,uniform:negatives.count=8",
    "--model",
    "bag",
    "--set",
    "model.width=16",
    "--batch",
    "16",
    "--seeds",
    "2",
    "--out",
    "r",
    "--lr=1e-3,2e-2",
];

#[test]
fn a_race_has_a_table_a_page_and_a_journal_from_which_it_goes_on() {
    let world = world();
    let first = world.lode(&[&RACE[..], &["-q"]].concat()).ok();
    let rows: Vec<&str> = first.stdout.lines().collect();
    assert!(rows[0].starts_with("strategy") && rows[1].starts_with("in-batch "), "{}", first.stdout);
    assert!(rows[2].starts_with("uniform:negatives.count=8") && rows[2].contains(" ± "), "{}", first.stdout);
    assert!(rows[1].contains(" 2e-2 "), "the rate that learns: {}", first.stdout);

    let page = String::from_utf8(world.read("r/race.html")).unwrap();
    assert!(page.matches("<svg").count() == 4 && page.contains("default-src 'none'"));
    assert!(!page.contains("<script") && !page.contains("NaN") && !page.contains("inf"), "{page}");
    for cell in rows[1].split_whitespace() {
        assert!(page.contains(cell), "{cell} of the table is not on the page");
    }

    // An epoch, and of each: a rehearsal, two trials, two finals; the second rests on the same journal.
    let journal = world.read("r/race.jsonl");
    assert_eq!(journal.iter().filter(|&&b| b == b'\n').count(), 1 + 1 + 2 * 5);
    let again = world.lode(&[&RACE[..], &["--json"]].concat()).ok();
    assert_eq!(world.read("r/race.jsonl"), journal, "nothing was run again");
    assert!(again.stderr.contains("goes on: 11 heats are done"), "{}", again.stderr);
    let told: Value = serde_json::from_str(&again.stdout).unwrap();
    let finals = told["standings"][1]["finals"].as_array().unwrap();
    let texts: Vec<u64> = finals.iter().map(|heat| heat["forwards"].as_u64().unwrap()).collect();
    let budget = told["forwards"].as_u64().unwrap();
    assert!(
        texts.len() == 2 && texts.iter().all(|t| t.abs_diff(budget) < budget / 12),
        "{texts:?} of {budget}"
    );
}

#[test]
#[cfg(unix)]
fn a_race_that_is_interrupted_says_how_to_go_on() {
    let world = world();
    let race = [&RACE[..], &["--forwards", "3000000"]].concat();
    let mut child = world.start(&race, std::process::Stdio::null());
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("rehearsal") {
        line.clear();
        assert_ne!(told.read_line(&mut line).unwrap(), 0, "it ended before it ran");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("heats are kept") && rest.contains("the same command"), "{rest}");
}

#[test]
fn what_cannot_race_is_refused_with_a_reason() {
    let world = world();
    let with = |words: &[&str]| world.lode(&[&["race", "d", "--out", "r", "--model", "bag"], words].concat());
    with(&["--strategies", "in-batch,anse"]).fails(3, &["no strategy `anse`", "did you mean `ance`"]);
    with(&["--strategies", "in-batch,in-batch"]).fails(3, &["races against itself"]);
    with(&["--strategies", "in-batch", "--max-memory", "1M"]).fails(5, &["--chunk"]);
    with(&["--strategies", "in-batch,ance", "--forwards", "100", "--batch", "16"]).fails(3, &["--forwards"]);
    prepare(&world, "d2", "100/0");
    world.lode(&["race", "d2", "--strategies", "in-batch", "--out", "r2"]).fails(3, &["test queries"]);
}
