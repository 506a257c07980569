//! `lode mine`: the lines of every format, what stops it, and the negatives that sentence-transformers finds.

use crate::catalogue;
use crate::run::World;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Documents and queries with ids of their own, prepared as `d`, and an untrained bag on them as `run`.
fn world() -> World {
    let world = World::new();
    let corpus = concat!(
        "{\"_id\": \"d1\", \"title\": \"Red boots\", \"text\": \"of soft leather\"}\n",
        "{\"_id\": \"d2\", \"title\": \"\", \"text\": \"Blue boots for snow\"}\n",
        "{\"_id\": \"d3\", \"title\": \"Oak table\", \"text\": \"for six\"}\n",
        "{\"_id\": \"d4\", \"title\": \"\", \"text\": \"Blue boots for snow\"}\n",
    );
    let queries = concat!(
        "{\"_id\": \"q1\", \"text\": \"red leather boots\"}\n",
        "{\"_id\": \"q2\", \"text\": \"boots\"}\n",
        "{\"_id\": \"q3\", \"text\": \"a table of oak\"}\n",
    );
    world.write("src/corpus.jsonl", corpus);
    world.write("src/queries.jsonl", queries);
    world.write(
        "src/qrels/train.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t1\nq2\td4\t1\nq3\td3\t1\n",
    );
    world.lode(&["prepare", "src", "--format", "beir", "--out", "d", "--train-vocab", "60", "-q"]).ok();
    let train = [
        "train", "d", "--model", "bag", "--steps", "1", "--batch", "4", "--lr", "1e-6", "--out", "run", "-q",
    ];
    world.lode(&train).ok();
    world
}

/// The lines of a file of JSON lines.
fn lines(world: &World, name: &str) -> Vec<Value> {
    let text = String::from_utf8(world.read(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line with its scores taken out, which depend on chance and are checked apart.
fn bare(line: &Value) -> String {
    let mut line = line.clone();
    let object = line.as_object_mut().unwrap();
    object.retain(|name, _| !name.contains("score"));
    line.to_string()
}

#[test]
fn every_format_says_the_same() {
    let world = world();
    let mine = |format: &str, more: &[&str]| -> Vec<Value> {
        let words = ["mine", "run", "d", "--out", "out", "--num-negatives", "1", "--format", format, "-q"];
        world.lode(&[&words[..], more].concat()).ok();
        assert!(!world.path("out.mining").exists());
        lines(&world, "out")
    };
    let own = mine("lode", &[]);
    assert_eq!(own.len(), 3);
    // d4 has the text of d2 and goes by its name; of q2 d3 alone is no positive.
    assert!(bare(&own[1]) == r#"{"uid":"q2","positives":["d1","d2"],"negatives":["d3"]}"#, "{}", own[1]);
    let score = |name: &str, i: usize| own[1][name][i].as_f64().unwrap();
    let (p, n) = (score("positive_scores", 0), score("scores", 0));
    // As few digits as an f32 needs.
    assert!(p > n && own[1]["positive_scores"][0].to_string().len() <= 11, "{}", own[1]);

    let expect = |format: &str, row: usize, total: usize, want: &str, scores: &[(&str, Value)]| {
        let plain = mine(format, &[]);
        assert_eq!((plain.len(), plain[row].to_string()), (total, want.to_owned()), "{format}");
        let scored = &mine(format, &["--scores"])[row];
        for (name, value) in scores {
            assert_eq!(scored.pointer(name), Some(value), "{format} {scored}");
        }
    };
    let (both, first, second) = (serde_json::json!([p, n]), Value::from(p), Value::from(n));
    let triplet =
        r#"{"anchor":"boots","positive":"Red boots of soft leather","negative":"Oak table for six"}"#;
    expect("triplets", 1, 4, triplet, &[("/scores", both.clone())]);
    let tuple = triplet.replace("\"negative\"", "\"negative_1\"");
    expect("n-tuples", 1, 4, &tuple, &[("/scores", both.clone())]);
    let pair = r#"{"anchor":"boots","document":"Oak table for six","label":0}"#;
    expect("labeled-pairs", 4, 7, pair, &[("/score", second.clone())]);
    let pair = r#"{"anchor":"boots","document":"Red boots of soft leather","label":1}"#;
    expect("labeled-pairs", 2, 7, pair, &[("/score", first.clone())]);
    let list =
        r#"{"anchor":"boots","documents":["Red boots of soft leather","Oak table for six"],"labels":[1,0]}"#;
    expect("labeled-list", 1, 4, list, &[("/scores", both)]);
    let passages = concat!(
        r#"{"query_id":"q2","query":"boots","positive_passages":"#,
        r#"[{"docid":"d1","title":"Red boots","text":"of soft leather"},"#,
        r#"{"docid":"d2","title":"","text":"Blue boots for snow"}],"#,
        r#""negative_passages":[{"docid":"d3","title":"Oak table","text":"for six"}]}"#
    );
    let scores =
        [("/positive_passages/0/score", first.clone()), ("/negative_passages/0/score", second.clone())];
    expect("tevatron", 1, 3, passages, &scores);
    let flag = concat!(
        r#"{"query":"boots","pos":["Red boots of soft leather","Blue boots for snow"],"#,
        r#""neg":["Oak table for six"]}"#
    );
    expect("flag-embedding", 1, 3, flag, &[("/pos_scores/0", first), ("/neg_scores/0", second)]);
}

#[test]
fn too_few_negatives_leave_lines_out_as_the_format_has_it() {
    let world = world();
    // Of three texts q2 can have one negative, q1 and q3 two.
    let words = ["mine", "run", "d", "--out", "out", "--num-negatives", "2", "--json", "-q", "--format"];
    for (format, total) in
        [("lode", 3), ("triplets", 6), ("n-tuples", 2), ("labeled-pairs", 9), ("labeled-list", 4)]
    {
        let told = world.lode(&[&words[..], &[format]].concat()).ok().json();
        assert_eq!((lines(&world, "out").len(), &told["lines"]), (total, &total.into()), "{format}");
        let counts = ["queries", "corpus", "negatives", "queries_with_fewer", "queries_with_none"];
        assert_eq!(counts.map(|name| told[name].as_u64().unwrap()), [3, 3, 5, 1, 0], "{told}");
    }
    let none = [&words[..], &["triplets", "--max-score", "-2"]].concat();
    let told = world.lode(&none).ok().json();
    assert!(world.read("out").is_empty() && told["skipped"]["max-score"] == 5, "{told}");
    let ranking = ["mine", "run", "d", "--out", "out", "--include-positives", "-q"];
    let told = world.lode(&ranking).ok().stdout;
    assert!(told.contains("mean score: positives 0.") && !told.contains("out by positive"), "{told}");
    let line = &lines(&world, "out")[1];
    assert!(line["ranking"].as_array().unwrap().len() == 3 && line.get("negatives").is_none(), "{line}");
}

#[test]
fn what_cannot_be_mined_is_refused_before_anything_is_done() {
    let world = world();
    let before = world.listing();
    let mine = |more: &[&str]| world.lode(&[&["mine", "run", "d", "--out", "out"], more].concat());
    mine(&["--num-negatives", "0"]).fails(3, &["--num-negatives", "at least 1"]);
    mine(&["--range-min", "5", "--range-max", "7"]).fails(3, &["--range-max 7", "lower --range-min"]);
    mine(&["--include-positives", "--format", "triplets"]).fails(3, &["--include-positives", "n-tuples"]);
    mine(&["--max-memory", "1M"]).fails(5, &["--max-memory", "--range-max", "parameters"]);
    mine(&["--split", "test"]).fails(3, &["d: no query of the test split has a label", "--split"]);
    mine(&["--format", "triples"]).fails(2, &["triplets", "flag-embedding"]);
    mine(&["--relative-margin", "nan"]).fails(2, &["--relative-margin", "0.05"]);
    mine(&["--sampling", "best"]).fails(2, &["top", "random"]);
    world.lode(&["mine", "none", "d", "--out", "out"]).fails(3, &["none"]);
    world.lode(&["mine", "run", "none", "--out", "out"]).fails(3, &["none"]);
    world.lode(&["mine", "run", "d", "--out", "src"]).fails(3, &["src: is a folder"]);
    world.lode(&["mine", "run", "d", "--out", "no/out"]).fails(3, &["no/out"]);
    assert_eq!(world.listing(), before);
}

#[cfg(unix)]
#[test]
fn an_interrupted_mining_goes_on_with_the_same_bytes() {
    let world = World::new();
    // Several files of the corpus.
    catalogue::prepare(&world, 100_000);
    let train =
        ["train", "shop.data", "--model", "bag", "--steps", "1", "--batch", "8", "--out", "run", "-q"];
    world.lode(&train).ok();
    let words = ["mine", "run", "shop.data", "--relative-margin", "0.1", "--sampling", "random", "--out"];
    world.lode(&[&words[..], &["whole", "-q"]].concat()).ok();
    let mut child = world.start(&[&words[..], &["cut"]].concat(), Stdio::null());
    while !world.path("cut.mining/corpus-00000.lode").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let told = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("interrupted: the same command goes on from here"), "{stderr}");
    assert!(!world.path("cut").exists() && world.path("cut.mining").is_dir());
    world.lode(&[&words[..], &["cut", "-q"]].concat()).ok();
    assert!(world.read("cut") == world.read("whole") && !world.path("cut.mining").exists());
    world.lode(&[&words[..], &["cut", "-q", "--seed", "1", "--threads", "1"]].concat()).ok();
    assert!(world.read("cut") != world.read("whole"));
    world.lode(&[&words[..], &["cut", "-q", "--threads", "1"]].concat()).ok();
    assert!(world.read("cut") == world.read("whole"));
}

/// Scores nearer than this may stand in either order: two programs round them differently.
const NEAR: f64 = 2e-6;

/// Compares what was mined with a set of the golden file: of how many negatives how many stand elsewhere.
fn compare(name: &str, set: &Value, mined: &[Value]) -> (usize, usize) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (mut total, mut swapped) = (0, 0);
    let wanted = set["options"]["num_negatives"].as_u64().unwrap_or(3) as usize;
    let named: BTreeMap<&str, &Value> =
        mined.iter().map(|line| (line["uid"].as_str().unwrap(), line)).collect();
    assert_eq!(named.len(), 225);
    for (query, line) in named {
        let found = if name == "ranking" { &line["ranking"] } else { &line["negatives"] };
        let (found, scores) = (list(found), list(&line["scores"]));
        let want = &set["negatives"][query];
        // A query without enough has no n-tuple there, and one without any no row.
        if want.is_null() {
            let may_be_some = set["options"]["output_format"] == "n-tuple" && found.len() < wanted;
            assert!(found.is_empty() || may_be_some, "{name}, query {query}: {found:?}");
            continue;
        }
        assert_eq!(found.len(), list(&want[0]).len(), "{name}, query {query}: {found:?} {want}");
        for (i, (id, score)) in found.iter().zip(&scores).enumerate() {
            let off = score.as_f64().unwrap() - want[1][i].as_f64().unwrap() / 1e6;
            assert!(off.abs() <= NEAR, "{name}, query {query}: {id} {score} {want}");
            swapped += usize::from(id.as_str().unwrap().parse::<u64>().unwrap() != want[0][i]);
            total += 1;
        }
    }
    (total, swapped)
}

#[test]
fn a_pretrained_encoder_finds_the_negatives_that_sentence_transformers_finds() {
    let Some(shared) = std::env::var_os("LODE_SHARED").map(PathBuf::from) else {
        println!(
            "skipped: a_pretrained_encoder_finds_the_negatives_that_sentence_transformers_finds needs LODE_SHARED"
        );
        return;
    };
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/mine.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    let world = World::new();
    let name = |path: &str| shared.join(path).to_str().unwrap().to_owned();
    let (data, model) = (name("data/cranfield"), name("models/all-MiniLM-L6-v2"));
    let prepare = ["prepare", &data, "--format", "beir", "--tokenizer", &model, "--max-len", "256"];
    world.lode(&[&prepare[..], &["--out", "d", "-q"]].concat()).ok();
    let mut sums = (0, 0);
    for (name, set) in golden["sets"].as_object().unwrap() {
        let mut words: Vec<String> =
            ["mine", &model, "d", "--split", "test", "--out", "out", "-q", "--cache", "cache"]
                .map(Into::into)
                .into();
        for (option, value) in set["options"].as_object().unwrap() {
            let flag = match &**option {
                "absolute_margin" => "margin",
                "sampling_strategy" => "sampling",
                "output_format" => continue,
                other => other,
            };
            words.push(format!("--{}", flag.replace('_', "-")));
            words.extend((*value != true).then(|| value.as_str().map_or(value.to_string(), Into::into)));
        }
        let words: Vec<&str> = words.iter().map(|word| &**word).collect();
        world.lode(&words).ok();
        let (total, swapped) = compare(name, set, &lines(&world, "out"));
        println!("{name}: {total} negatives, {swapped} of equal score swapped");
        sums = (sums.0 + total, sums.1 + swapped);
    }
    // On the processor on which this was written none was swapped.
    assert!(sums.0 == 4817 && sums.1 <= 10, "{sums:?}");
}
