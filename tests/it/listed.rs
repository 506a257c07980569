//! Negatives that were written to a file: `lode mine`, then `lode train`.

use crate::catalogue;
use crate::run::World;
use serde_json::Value;

const TRAIN: [&str; 14] = [
    "train",
    "shop.data",
    "--model",
    "bag",
    "--strategy",
    "ance",
    "--set",
    "negatives.from=file",
    "--set",
    "negatives.file=neg.jsonl",
    "--steps",
    "20",
    "--batch",
    "16",
];

fn train(world: &World, out: &str, more: &[&str]) -> crate::run::Ran {
    world.lode(&[&TRAIN[..], &["--out", out], more].concat())
}

/// The first step in a log.
fn log(world: &World, run: &str) -> Value {
    let text = String::from_utf8(world.read(&format!("{run}/log.jsonl"))).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["loss"].is_number()).unwrap()
}

#[test]
fn what_was_mined_is_trained_on() {
    let world = World::new();
    catalogue::prepare(&world, 60);
    world
        .lode(&[
            "train",
            "shop.data",
            "--model",
            "bag",
            "--steps",
            "5",
            "--batch",
            "16",
            "--out",
            "run",
            "-q",
        ])
        .ok();
    let mine =
        ["mine", "run", "shop.data", "--split", "train", "--num-negatives", "4", "--out", "neg.jsonl", "-q"];
    world.lode(&mine).ok();
    let ran = train(&world, "one", &[]).ok();
    assert!(ran.stderr.contains("lists of 4.0 labels a query"), "{}", ran.stderr);
    assert_eq!(log(&world, "one")["negatives"], 1.0, "one of its own for each row");

    // A query whose only negative is a positive of it has none, and one that the file does not name neither.
    let text = String::from_utf8(world.read("neg.jsonl")).unwrap();
    let mut line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    line["negatives"] = line["positives"].clone();
    line.as_object_mut().unwrap().retain(|key, _| !key.ends_with("scores"));
    world.write("neg.jsonl", format!("{line}\n"));
    let with_none = |run: &str| {
        let told = train(&world, run, &[]).ok().stderr;
        let line = told.lines().find(|line| line.contains("lists of 0.0 labels a query")).expect("lists");
        line.rsplit_once("; ").expect("some have none").1.to_owned()
    };
    let found = with_none("none");
    world.write("neg.jsonl", format!("{{\"uid\": {}, \"negatives\": []}}\n", line["uid"]));
    assert_eq!(found, with_none("empty"), "the positives of a query are in no list");
    assert_eq!(log(&world, "none")["negatives"], 0.0);

    train(&world, "r", &["--set", "negatives.pick=window"]).fails(3, &["neg.jsonl", "positive_scores"]);
    let uid = line["uid"].as_str().unwrap();
    let wrong = |text: String, want: &[&str]| {
        world.write("neg.jsonl", text);
        train(&world, "wrong", &[]).fails(3, want);
        assert!(!world.path("wrong").exists(), "a fault of the file leaves no run behind");
    };
    wrong(format!("{line}\n\n{line}\n"), &["neg.jsonl:3", "on line 1"]);
    wrong(
        format!("{{\"uid\": \"{uid}\", \"negatives\": [\"nobody\"]}}"),
        &["neg.jsonl:1", "no label", "`nobody`"],
    );
    wrong("{\"uid\": \"nobody\", \"negatives\": []}".into(), &["neg.jsonl:1", "no training query"]);
    wrong(
        format!("{{\"uid\": \"{uid}\", \"negatives\": [], \"scores\": [1]}}"),
        &["neg.jsonl:1", "1 scores"],
    );
    wrong(format!("{{\"uid\": \"{uid}\"}}"), &["neg.jsonl:1", "negatives"]);
    world
        .lode(&["train", "shop.data", "--out", "x", "--set", "negatives.from=file"])
        .fails(3, &["negatives.file"]);
}

#[test]
fn bm25_reads_what_stands_below_a_title() {
    let world = World::new();
    let body = "{\"_id\": \"d1\", \"title\": \"Boots\", \"text\": \"of soft leather\"}\n";
    world.write(
        "src/corpus.jsonl",
        format!("{body}{{\"_id\": \"d2\", \"title\": \"Oak\", \"text\": \"for six\"}}\n"),
    );
    world.write(
        "src/queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"leather\"}\n{\"_id\": \"q2\", \"text\": \"six\"}\n",
    );
    // Each query has the other document for its positive: what shares its word is a hard negative.
    world.write("src/qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t1\n");
    world.lode(&["prepare", "src", "--format", "beir", "--out", "d", "--train-vocab", "60", "-q"]).ok();
    let train =
        ["train", "d", "--model", "bag", "--strategy", "bm25", "--steps", "1", "--batch", "2", "--out", "r"];
    let ran = world.lode(&train).ok();
    assert!(ran.stderr.contains("lists of 1.0 labels a query"), "{}", ran.stderr);
}
