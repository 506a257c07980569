//! What bad input gets: an error with file, line and what to do, an exit code, and nothing half-written.

use crate::products;
use crate::run::{Ran, World};
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

const LABELS: &str = "{\"uid\":\"a\",\"title\":\"apple\"}
{\"uid\":\"b\",\"title\":\"boat\"}
{\"uid\":\"c\",\"title\":\"\"}
";
const TEST: &str = "{\"uid\":\"t1\",\"title\":\"green apple\",\"target_ind\":[0]}\n";

fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(vec![], Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

/// A folder with these training lines, prepared.
fn jsonl(train: impl AsRef<[u8]>, more: &[&str]) -> (World, Ran) {
    let world = World::new();
    world.write("src/trn.jsonl", train);
    world.write("src/tst.jsonl", TEST);
    world.write("src/lbl.jsonl", LABELS);
    let words = ["prepare", "src", "--format", "jsonl", "--out", "d", "--train-vocab", "60"];
    let ran = world.lode(&[&words[..], more].concat());
    (world, ran)
}

/// The training lines `train` are refused with exit code 3 and these words, and nothing is written.
#[track_caller]
fn refused(train: impl AsRef<[u8]>, words: &[&str]) {
    let (world, ran) = jsonl(train, &[]);
    let ran = ran.fails(3, words);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    assert_eq!(world.listing().len(), 4, "{:?}", world.listing());
}

#[test]
fn a_bad_line_is_refused_with_its_place() {
    let good = "{\"uid\":\"1\",\"title\":\"red apple\",\"target_ind\":[0]}\n";
    let after = |bad: &str| format!("{good}{bad}\n");
    refused(after("{\"uid\": \"2\", \"title\": "), &["trn.jsonl:2", "{\"uid\": \"2\""]);
    refused(
        after("{\"uid\":\"2\",\"title\":\"x\",\"target_ind\":[3]}"),
        &["trn.jsonl:2", "label index 3", "help"],
    );
    refused(after("{\"uid\":\"2\",\"title\":\"x\",\"target_ind\":[-1]}"), &["trn.jsonl:2"]);
    let relevance = |value: &str| {
        format!("{{\"uid\":\"2\",\"title\":\"x\",\"target_ind\":[1],\"target_rel\":[{value}]}}")
    };
    refused(after(&relevance("-0.5")), &["trn.jsonl:2", "-0.5", "help"]);
    refused(after(&relevance("NaN")), &["trn.jsonl:2"]);
    refused(
        after("{\"uid\":\"1\",\"title\":\"x\",\"target_ind\":[1]}"),
        &["trn.jsonl:2", "duplicate uid `1`", "line 1"],
    );
    refused(
        [good.as_bytes(), b"{\"uid\":\"2\",\"title\":\"\xff\xfe\"}\n"].concat(),
        &["trn.jsonl:2", "UTF-8"],
    );
    refused("", &["trn.jsonl", "empty"]);
}

#[test]
fn what_is_unusual_and_no_error_is_counted() {
    let long = "word ".repeat(20_000);
    let row = |(i, (title, labels)): (usize, &(&str, &str))| {
        format!("{{\"uid\":\"{i}\",\"title\":\"{title}\",\"target_ind\":[{labels}]}}\n")
    };
    let rows = [("red apple", "0"), ("no label", ""), ("", "1"), (&long, "1")];
    let train: String = rows.iter().enumerate().map(row).collect();
    let (_, ran) = jsonl(train, &["--json"]);
    let found = ran.ok().json();
    assert_eq!((&found["train"], &found["test"]), (&3.into(), &1.into()));
    for what in ["dropped_without_labels", "empty_texts", "truncated", "labels_without_text"] {
        assert_eq!(found[what], 1, "{what}");
    }
}

#[test]
fn bad_lines_are_left_out_when_asked() {
    let train = "{\"uid\":\"1\",\"title\":\"red apple\",\"target_ind\":[0]}\nnonsense\n";
    let (world, ran) = jsonl(train, &["--json", "--on-bad-line", "skip"]);
    assert_eq!(ran.ok().json()["rejected_lines"], 1);
    let rejected = String::from_utf8(world.read("d.rejected.jsonl")).unwrap();
    assert!(rejected.contains("nonsense"), "{rejected}");
}

#[test]
fn bad_gzip_is_refused() {
    let whole = gzip(&"{\"uid\":\"1\",\"title\":\"red apple\",\"target_ind\":[0]}\n".repeat(200));
    for (bytes, words) in [
        (&b"{\"uid\":\"1\"}\n"[..], ["trn.jsonl.gz", "gzip"]),
        (&whole[..whole.len() / 2], ["trn.jsonl.gz", ""]),
    ] {
        let world = World::new();
        world.write("src/trn.jsonl.gz", bytes);
        world.write("src/tst.jsonl", TEST);
        world.write("src/lbl.jsonl", LABELS);
        let words_typed = ["prepare", "src", "--out", "d", "--train-vocab", "60", "--on-bad-line", "stop"];
        world.lode(&words_typed).fails(3, &words);
        assert_eq!(world.listing().len(), 4, "{:?}", world.listing());
    }
}

#[test]
fn a_bad_table_is_refused_with_its_place() {
    let table = |text: &[u8], more: &[&str], words: &[&str]| {
        let world = World::new();
        world.write("shop.csv", text);
        let typed = ["prepare", "shop.csv", "--out", "d", "--train-vocab", "60"];
        world.lode(&[&typed[..], more].concat()).fails(3, words);
        assert_eq!(world.listing().len(), 1, "{:?}", world.listing());
    };
    let named = ["--text", "title", "--labels", "kind"];
    table(b"", &named, &["shop.csv", "empty"]);
    table(b"title,kind\n", &named, &["shop.csv", "no row"]);
    table(b"title,kind\nred,boots\nblue,boots,extra\n", &named, &["shop.csv:3", "blue,boots,extra", "help"]);
    table(b"name,kind\nred,boots\n", &named, &["shop.csv:1", "`title`", "`name`, `kind`"]);
    table(b"name,kind\nred,boots\n", &["--labels", "kind"], &["--text", "`name`, `kind`", "help"]);
    table(b"title,kind\nred,\"boots\nblue,hats\n", &named, &["shop.csv:2"]);
    table(b"title,kind\nr\xff,boots\n", &named, &["shop.csv:2", "UTF-8"]);
    table(b"title,kind\nred,boots\n", &[&named[..], &["--split", "90"]].concat(), &["90/10"]);
}

#[test]
fn a_missing_source_or_tokenizer_is_refused() {
    let world = World::new();
    let prepare = |source: &str, tokenizer: &str| {
        let named = ["--out", "d", "--tokenizer", tokenizer, "--text", "title", "--labels", "kind"];
        world.lode(&[&["prepare", source], &named[..]].concat())
    };
    prepare("shop.csv", "model").fails(3, &["shop.csv", "no such file"]);
    world.write("shop.csv", "title,kind\nred,boots\n");
    prepare("shop.csv", "model").fails(3, &["model"]);
    world.write("folder/readme", "x");
    prepare("folder", "model").fails(3, &["folder", "--format"]);
    assert!(!world.path("d").exists());
}

#[test]
fn a_damaged_or_truncated_data_set_exits_with_four() {
    let world = World::new();
    world.write("products.csv", products::csv(60));
    world.lode(&products::PREPARE).ok();
    let whole = world.read("shop.data");
    let train =
        || world.lode(&["train", "shop.data", "--out", "run", "--model", "bag", "--batch", "8", "-q"]);
    world.write("shop.data", &whole[..whole.len() * 2 / 3]);
    train().fails(4, &["shop.data"]);
    let mut flipped = whole.clone();
    // A whole line of bytes: between two sections there may be less than one that means nothing.
    flipped[whole.len() / 2..][..64].iter_mut().for_each(|b| *b ^= 1);
    world.write("shop.data", &flipped);
    train().fails(4, &["shop.data", "section"]);
    world.write("shop.data", b"not a data set");
    let code = train().code;
    assert!(code == 3 || code == 4, "{code}");
    assert!(!world.path("run").exists());
    world.lode(&products::PREPARE).fails(3, &["shop.data", "not be written over"]);
}

#[test]
fn a_run_is_refused_where_it_would_not_fit_or_would_write_over() {
    let world = World::new();
    world.write("products.csv", products::csv(60));
    world.lode(&products::PREPARE).ok();
    let train = |more: &[&str]| {
        let words = ["train", "shop.data", "--out", "run", "--model", "bag", "--batch", "8", "-q"];
        world.lode(&[&words[..], more].concat())
    };
    train(&["--max-memory", "1M"]).fails(5, &["limit", "nothing was started", "AdamW", "help"]);
    assert!(!world.path("run").exists());
    world.write("run/notes.txt", "mine");
    train(&[]).fails(3, &["run", "not empty", "--out"]);
    assert_eq!(world.read("run/notes.txt"), b"mine");
}

/// A limit on the size of files stands for a disk that is full: writes fail, and what was begun must go.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_takes_no_more_leaves_nothing_behind() {
    let world = World::new();
    world.write("products.csv", products::csv(2000));
    let before = world.listing();
    let words = products::PREPARE.join(" ");
    let script = format!("trap '' XFSZ; ulimit -f 8; exec {} {words}", env!("CARGO_BIN_EXE_lode"));
    let out =
        std::process::Command::new("sh").args(["-c", &script]).current_dir(world.path("")).output().unwrap();
    let told = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(74), "{told}");
    assert!(told.contains("shop.data"), "{told}");
    assert_eq!(world.listing(), before);
}
