//! Labels added to a trained run by their text, and labels taken away: `lode index`, and what `predict` says then.

use crate::rankings::{LABELS, name, world};
use crate::run::World;
use train::checkpoint;

const SCORES: [&str; 3] = ["text", "classifier", "fusion"];
const NEW: &str = r#"{"id": "N1", "text": "garden hose for watering plants"}
{"id": "N2", "text": "alarm clock"}
"#;
/// Other words for the first new label.
const PARAPHRASES: [&str; 3] =
    ["a hose to water the garden", "watering hose, for plants", "plants: garden watering"];
/// What old labels answer.
const OLD: [&str; 3] = ["blue oak chair", "small brass lamp", "red wool towel"];

/// The text of a label that the run has learned, from its id.
fn label_name(id: &str) -> String {
    name(id.trim_start_matches('L').parse().unwrap())
}

/// Ids and scores that answer a text.
fn answers(world: &World, run: &str, text: &str, score: &str, k: usize) -> Vec<(String, String)> {
    let words = ["predict", run, "--text", text, "--score", score, "--k", &k.to_string(), "--json", "-q"];
    let found = world.lode(&words).ok().json();
    let label = |l: &serde_json::Value| (l["uid"].as_str().unwrap().to_owned(), l["score"].to_string());
    found["labels"].as_array().unwrap().iter().map(label).collect()
}

#[test]
fn a_label_added_by_text_is_found_by_other_words_for_it_and_leaves_the_rest_as_it_was() {
    let world = world();
    world.write("new.jsonl", NEW);
    let all = || SCORES.map(|score| OLD.map(|text| answers(&world, "run", text, score, LABELS)));
    let before = all();
    let listed = world.lode(&["index", "run", "--add", "new.jsonl", "--json"]).ok();
    assert!(listed.stderr.contains("2 added"), "{}", listed.stderr);
    assert_eq!(listed.json()["answered_from"], LABELS + 2);
    assert_eq!(listed.json()["added"][1]["title"], "alarm clock");
    for score in SCORES {
        for text in PARAPHRASES {
            assert_eq!(answers(&world, "run", text, score, 3)[0].0, "N1", "{score}: {text}");
        }
        assert_eq!(answers(&world, "run", "clock with an alarm", score, 3)[0].0, "N2", "{score}");
        let matrix =
            world.lode(&["predict", "run", "--text", "alarm clock", "--score", score, "--format", "spmat"]);
        let matrix = matrix.ok().stdout;
        assert!(matrix.starts_with(&format!("1 {}\n", LABELS + 2)), "{matrix}");
        assert!(matrix.contains(&format!(" {}:", LABELS + 1)), "{matrix}");
    }
    for (score, before) in SCORES.iter().zip(&before) {
        for (text, before) in OLD.iter().zip(before) {
            let mut now = answers(&world, "run", text, score, LABELS + 2);
            assert_eq!(now.iter().filter(|l| l.0.starts_with('N')).count(), 2);
            now.retain(|l| !l.0.starts_with('N'));
            assert_eq!(now, *before, "{score}: {text}");
        }
    }
    let told = world.lode(&["evaluate", "run", "d"]).ok();
    assert!(told.stderr.contains("2 were added to the labels of run and 0 removed"), "{}", told.stderr);
    world.lode(&["index", "run", "--remove", "N1", "N2", "-q"]).ok();
    assert_eq!(all(), before);
    assert!(!world.path("run/overlay.lode").exists());
    let again = world.lode(&["evaluate", "run", "d"]).ok();
    assert!(again.stdout == told.stdout && !again.stderr.contains("were added"));
}

#[test]
fn a_removed_label_is_no_answer_until_it_is_restored() {
    let world = world();
    let all = || SCORES.map(|score| answers(&world, "run", OLD[0], score, LABELS));
    let before = all();
    let best = before[0][0].0.clone();
    world.write("gone.txt", format!("L7\n\n{best}\nL7\n"));
    world.lode(&["index", "run", "--remove", "L140", "gone.txt"]).ok();
    let gone = ["L140", "L7", &best];
    for (now, before) in all().iter().zip(&before) {
        assert!(now.iter().eq(before.iter().filter(|l| !gone.contains(&&*l.0))), "{now:?}");
    }
    let voted =
        world.lode(&["predict", "run", "--text", OLD[0], "--knn", "9", "--k", "150", "--json"]).ok().json();
    assert!(voted["labels"].as_array().unwrap().iter().all(|l| l["uid"] != *best));
    let shown = world.lode(&["index", "run"]).ok().stdout;
    let has =
        |words: &[&str]| shown.lines().any(|line| line.split_whitespace().take(2).eq(words.iter().copied()));
    assert!(has(&["removed", "3"]) && has(&["-", &best]), "{shown}");
    world.lode(&["index", "run", "--restore", "gone.txt"]).ok();
    assert_eq!(all()[1].len(), LABELS - 1);
    world.lode(&["index", "run", "--restore", "L140"]).ok();
    assert_eq!(all(), before);
    world
        .lode(&["index", "run", "--restore", "L140"])
        .fails(3, &["no label `L140` of the data set was removed"]);
}

#[test]
fn what_cannot_be_added_or_removed_is_refused_and_changes_nothing() {
    let world = world();
    world.write("new.jsonl", NEW);
    world.lode(&["index", "run", "--add", "new.jsonl"]).ok();
    let kept = world.read("run/overlay.lode");
    let refused = |file: &str, words: &[&str]| {
        world.write("bad.jsonl", file);
        world.lode(&["index", "run", "--add", "bad.jsonl"]).fails(3, words);
    };
    refused("{\"id\": \"L3\", \"text\": \"x\"}\n", &["`L3` is one of the data set already"]);
    refused(
        "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": \"a\", \"text\": \"y\"}\n",
        &["bad.jsonl:2", "duplicate uid `a`"],
    );
    refused("{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": 3,\n", &["bad.jsonl:2", "invalid JSON"]);
    refused("{\"id\": \"a\", \"text\": \" \"}\n", &["bad.jsonl", "label `a` has no text"]);
    world.lode(&["index", "run", "--remove", "N1", "L999"]).fails(3, &["no label `L999`, and no file"]);
    world.write("gone.txt", "N1\nL999\n");
    world.lode(&["index", "run", "--remove", "gone.txt"]).fails(3, &["gone.txt:2", "no label `L999`"]);
    world.lode(&["index", "run", "--restore", "N1"]).fails(3, &["no label `N1`"]);
    world.lode(&["index", "d"]).fails(3, &["not the directory of a run"]);
    assert_eq!(world.read("run/overlay.lode"), kept);

    let score = || {
        let found = answers(&world, "run", PARAPHRASES[0], "text", LABELS);
        found.iter().find(|l| l.0 == "N1").map_or(-1.0, |l| l.1.parse::<f64>().unwrap())
    };
    let before = score();
    world.write("new.jsonl", "{\"id\": \"N1\", \"text\": \"frying pan\"}\n");
    let told = world.lode(&["index", "run", "--add", "new.jsonl"]).ok();
    assert!(told.stderr.contains("1 replaced"), "{}", told.stderr);
    assert_eq!(answers(&world, "run", "pan to fry with", "text", 1)[0].0, "N1");
    assert!(score() < before - 0.2, "{} {before}", score());
}

#[test]
fn half_an_overlay_is_not_read() {
    let world = world();
    world.write("new.jsonl", NEW);
    world.lode(&["index", "run", "--add", "new.jsonl"]).ok();
    let (whole, before) = (world.read("run/overlay.lode"), answers(&world, "run", OLD[0], "fusion", 9));
    world.write("run/.overlay.lode.tmp-1-0", &whole[..whole.len() / 2]);
    assert_eq!(answers(&world, "run", OLD[0], "fusion", 9), before);
    let predict = || world.lode(&["predict", "run", "--text", "x"]);
    world.write("run/overlay.lode", &whole[..whole.len() / 2]);
    predict().fails(4, &["overlay.lode", "`lode index`"]);
    let mut changed = whole.clone();
    let last = changed.iter().position(|&b| b == b'h').unwrap();
    changed[last] ^= 1;
    world.write("run/overlay.lode", &changed);
    predict().fails(4, &["overlay.lode", "checksum"]);
    world.lode(&["index", "run", "--add", "new.jsonl"]).fails(4, &["overlay.lode"]);
    world.write("run/overlay.lode", &whole);
    predict().ok();
}

#[test]
fn added_labels_are_embedded_by_the_model_that_answers() {
    // Words that both runs have learned from.
    const QUERY: &str = "round oak thing, small";
    let world = world();
    world.write("new.jsonl", "{\"id\": \"N1\", \"text\": \"small round oak thing\"}\n");
    let more = [
        "train",
        "d",
        "--model",
        "run",
        "--head",
        "classifier",
        "--set",
        "head.encoder_lr=0.01",
        "--seed",
        "9",
    ];
    world.lode(&[&more[..], &["--epochs", "2", "--batch", "32", "--out", "later", "-q"]].concat()).ok();
    for run in ["run", "later"] {
        world.lode(&["index", run, "--add", "new.jsonl"]).ok();
    }
    let of = |run: &str| ["text", "classifier"].map(|score| answers(&world, run, QUERY, score, 1).remove(0));
    let (before, wanted) = (of("run"), of("later"));
    assert!(
        before.iter().chain(&wanted).all(|l| l.0 == "N1") && before[0] != wanted[0],
        "{before:?} {wanted:?}"
    );
    // The run goes on: its newest checkpoint is another.
    let newest = |run: &str| checkpoint::list(&world.path(run).join("checkpoints")).remove(0);
    let (old, new) = (newest("run"), newest("later"));
    std::fs::copy(new, world.path("run/checkpoints/step-999999999999.lode")).unwrap();
    std::fs::remove_file(old).unwrap();
    assert_eq!(world.lode(&["index", "run", "--json"]).ok().json()["added_current"], false);
    assert_eq!(of("run"), wanted);
    world.write("other.jsonl", "{\"id\": \"N3\", \"text\": \"frying pan\"}\n");
    assert_eq!(
        world.lode(&["index", "run", "--add", "other.jsonl", "--json"]).ok().json()["added_current"],
        true
    );
}

#[test]
fn added_labels_do_not_crowd_out_those_that_a_classifier_has_learned() {
    let world = world();
    let bce = ["--head", "classifier", "--loss", "bce", "--set", "head.encoder_lr=0.01", "--lr", "0.02"];
    let train =
        ["train", "d", "--model", "bag", "--set", "model.width=32", "--batch", "32", "--epochs", "8", "-q"];
    // Enough queries are held out to tell what the classifier says of a text.
    let more = ["--set", "data.validation_per_mille=250", "--out", "calm"];
    world.lode(&[&train[..], &bce, &more].concat()).ok();
    let words = ["oak", "wool", "brass", "silk", "chair", "lamp", "towel", "plate"];
    let near: String =
        words.iter().map(|word| format!("{{\"id\": \"N-{word}\", \"text\": \"{word} goods\"}}\n")).collect();
    world.write("near.jsonl", near);
    world.lode(&["index", "calm", "--add", "near.jsonl", "-q"]).ok();
    for score in ["classifier", "fusion"] {
        for material in ["oak", "wool", "brass", "silk"] {
            for kind in ["chair", "lamp", "towel", "plate"] {
                let text = format!("blue {material} {kind}");
                let first = &answers(&world, "calm", &text, score, 1)[0].0;
                assert!(first.starts_with('L'), "{score}: {text}: {first}");
            }
        }
    }
    // Asked for by other words they come first by text, and by a fusion behind none but learned labels of that word.
    for word in words {
        let asked = format!("goods: {word}");
        assert_eq!(answers(&world, "calm", &asked, "text", 1)[0].0, format!("N-{word}"));
        let found = answers(&world, "calm", &asked, "fusion", LABELS);
        let before = found.iter().take_while(|l| l.0 != format!("N-{word}"));
        let other = before.map(|l| label_name(&l.0)).find(|name| !name.contains(word));
        assert!(other.is_none(), "{asked}: behind {other:?}");
    }
}
