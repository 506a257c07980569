//! Rankings for other programs: TREC runs and sparse matrices, of test queries and of texts.

use crate::products;
use crate::run::World;
use std::collections::BTreeMap;
use std::fmt::Write;

const MATERIALS: [&str; 15] = [
    "cotton", "steel", "oak", "leather", "wool", "glass", "bamboo", "ceramic", "silk", "iron", "brass",
    "cork", "linen", "pine", "felt",
];
const KINDS: [&str; 10] =
    ["shirt", "boot", "lamp", "chair", "table", "knife", "cup", "plate", "towel", "curtain"];
pub(crate) const LABELS: usize = MATERIALS.len() * KINDS.len();
/// The query for which nearly all labels are filtered, and how many.
const CROWDED: (usize, usize) = (3, 140);

/// The text of a label.
pub(crate) fn name(label: usize) -> String {
    format!("{} {}", MATERIALS[label / KINDS.len()], KINDS[label % KINDS.len()])
}

/// A label of test query `i`.
fn right(i: usize) -> usize {
    i * 37 % LABELS
}

/// A data set with ids of its own, 150 labels, 40 test queries and filters, and a short run on it.
pub(crate) fn world() -> World {
    let world = World::new();
    let lines = |n: usize, line: &dyn Fn(usize) -> String| (0..n).map(line).collect::<String>();
    let label = |l| format!("{{\"id\": \"L{l}\", \"text\": \"{}\"}}\n", name(l));
    let query = |split: &str, words: &str, i, l: usize| {
        format!("{{\"id\": \"{split}{i}\", \"text\": \"{words} {}\", \"labels\": [\"L{l}\"]}}\n", name(l))
    };
    world.write("src/lbl.jsonl", lines(LABELS, &label));
    world.write(
        "src/trn.jsonl",
        lines(600, &|i| query("t", ["red", "small", "round"][i % 3], i, i * 7 % LABELS)),
    );
    world.write("src/tst.jsonl", lines(40, &|i| query("q", "blue", i, right(i))));
    let mut filters = format!("0 {}\n", (right(0) + 1) % LABELS);
    (0..LABELS).filter(|&l| l != right(CROWDED.0)).take(CROWDED.1).for_each(|l| {
        let _ = writeln!(filters, "{} {l}", CROWDED.0);
    });
    world.write("src/filter_labels_test.txt", filters);
    world.lode(&["prepare", "src", "--format", "jsonl", "--out", "d", "--train-vocab", "400", "-q"]).ok();
    let head = ["--head", "classifier", "--loss", "supcon", "--set", "head.encoder_lr=0.01", "--lr", "0.02"];
    let train =
        ["train", "d", "--model", "bag", "--set", "model.width=32", "--batch", "32", "--epochs", "8", "-q"];
    world.lode(&[&train[..], &head, &["--out", "run"]].concat()).ok();
    world
}

/// A run as it is written: of each query its lines, in order: label, rank, score.
fn run(text: &str) -> BTreeMap<String, Vec<(String, usize, f32)>> {
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let [query, q0, label, rank, score, tag] = columns[..] else { panic!("six columns: {line}") };
        assert_eq!((q0, tag), ("Q0", "lode"));
        let found = (label.to_owned(), rank.parse().unwrap(), score.parse().unwrap());
        all.entry(query.to_owned()).or_default().push(found);
    }
    all
}

/// Label and score of every entry, row by row.
type Entries = Vec<Vec<(usize, f32)>>;

/// A matrix as it is written: rows and columns, and of each row label and score.
fn matrix(text: &str) -> ((usize, usize), Entries) {
    let (head, rows) = text.split_once('\n').unwrap();
    let (n, columns) = head.split_once(' ').unwrap();
    let entry = |word: &str| {
        let (label, score) = word.split_once(':').unwrap();
        (label.parse().unwrap(), score.parse().unwrap())
    };
    let rows = rows.lines().map(|line| line.split_whitespace().map(entry).collect()).collect();
    ((n.parse().unwrap(), columns.parse().unwrap()), rows)
}

/// By falling score, then by rising number.
#[track_caller]
fn is_ranked(row: &[(usize, f32)]) {
    assert!(row.windows(2).all(|w| w[0].1 > w[1].1 || w[0].1 == w[1].1 && w[0].0 < w[1].0), "{row:?}");
}

#[test]
fn what_was_measured_can_be_measured_again_from_the_files() {
    let world = world();
    for score in ["text", "classifier", "fusion"] {
        let words =
            ["evaluate", "run", "d", "--metrics", "P@1,R@5", "--score", score, "--trec", "a.trec", "--spmat"];
        let told = world.lode(&[&words[..], &["a.txt", "-k", "7", "--json", "-q"]].concat()).ok().json();
        let run = run(&String::from_utf8(world.read("a.trec")).unwrap());
        let ((rows, columns), matrix) = matrix(&String::from_utf8(world.read("a.txt")).unwrap());
        assert_eq!((rows, columns, matrix.len(), run.len()), (40, LABELS, 40, 40));
        let (mut first, mut found) = (0, 0);
        for (i, row) in matrix.iter().enumerate() {
            let ranked = &run[&format!("q{i}")];
            assert!(ranked.iter().map(|r| r.1).eq(1..=7), "{ranked:?}");
            let numbered: Vec<(usize, f32)> =
                ranked.iter().map(|r| (r.0[1..].parse().unwrap(), r.2)).collect();
            is_ranked(&numbered);
            assert!(row.windows(2).all(|w| w[0].0 < w[1].0), "{row:?}");
            let mut same = numbered.clone();
            same.sort_by_key(|&(label, _)| label);
            assert_eq!(*row, same, "{score} {i}");
            first += usize::from(numbered[0].0 == right(i));
            found += usize::from(numbered[..5].iter().any(|&(label, _)| label == right(i)));
        }
        let near = |metric: &str, n: usize| (told[metric].as_f64().unwrap() - n as f64 / 40.0).abs() < 1e-6;
        assert!(near("P@1", first) && near("R@5", found) && first > 20, "{told} {first} {found}");
    }
    world.lode(&["evaluate", "run", "d", "--trec", "none/a.trec", "-q"]).fails(3, &["none/a.trec"]);
    assert!(world.listing().iter().all(|p| p.extension().is_none_or(|e| e != "tmp")));
}

#[test]
fn filtered_labels_leave_room_for_others_however_many_they_are() {
    let world = world();
    let allowed = LABELS - CROWDED.1;
    for (score, knn) in [("text", "0"), ("text", "5"), ("classifier", "0"), ("fusion", "0"), ("fusion", "5")]
    {
        let words =
            ["evaluate", "run", "d", "--score", score, "--knn", knn, "--spmat", "a.txt", "-k", "30", "-q"];
        world.lode(&words).ok();
        let (_, matrix) = matrix(&String::from_utf8(world.read("a.txt")).unwrap());
        assert_eq!(matrix[CROWDED.0].len(), allowed, "{score} {knn}");
        assert!(matrix[CROWDED.0].iter().any(|&(label, _)| label == right(CROWDED.0)));
        assert!(
            matrix[0].iter().all(|&(label, _)| label != (right(0) + 1) % LABELS) && matrix[0].len() == 30
        );
    }
}

#[test]
fn texts_are_answered_by_a_run_or_a_matrix() {
    let world = world();
    world.write("texts", b"blue oak chair\n\xff\nsmall brass lamp\n");
    let predict =
        |more: &[&str]| world.lode(&[&["predict", "run", "texts", "--k", "4", "-q"], more].concat()).ok();
    let lines = predict(&["--json"]).stdout;
    let lines: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let written = predict(&["--format", "trec"]);
    assert!(written.stderr.contains("invalid UTF-8"), "{}", written.stderr);
    let run = run(&written.stdout);
    assert_eq!(run.keys().collect::<Vec<_>>(), ["1", "3"]);
    let ((rows, columns), matrix) = matrix(&predict(&["--format", "spmat"]).stdout);
    assert_eq!((rows, columns, matrix[1].len()), (3, LABELS, 0));
    for (line, object) in [(1, &lines[0]), (3, &lines[2])] {
        let labels = object["labels"].as_array().unwrap();
        let ids: Vec<&str> = labels.iter().map(|l| l["uid"].as_str().unwrap()).collect();
        let ranked = &run[&line.to_string()];
        assert_eq!(ranked.iter().map(|r| &*r.0).collect::<Vec<_>>(), ids);
        let near = |(label, row): (&serde_json::Value, &(String, usize, f32))| {
            (label["score"].as_f64().unwrap() - f64::from(row.2)).abs() < 1e-5
        };
        assert!(labels.iter().zip(ranked).all(near), "{object} {ranked:?}");
        let mut numbered: Vec<(usize, f32)> =
            ranked.iter().map(|r| (r.0[1..].parse().unwrap(), r.2)).collect();
        is_ranked(&numbered);
        numbered.sort_by_key(|&(label, _)| label);
        assert_eq!(matrix[line - 1], numbered);
    }
    world.lode(&["predict", "run", "texts", "--format", "trec", "--json"]).fails(2, &["--json"]);
}

#[test]
fn an_id_with_a_space_has_no_place_in_a_run() {
    let world = World::new();
    let table = products::csv(200).replace(",boots,", ",winter boots,");
    world.write("products.csv", table);
    world.lode(&products::PREPARE).ok();
    let train =
        ["train", "shop.data", "--model", "bag", "--steps", "1", "--batch", "16", "--out", "run", "-q"];
    world.lode(&train).ok();
    let refused = ["label id `winter boots` has a space", "spmat", "--labels-file"];
    world.lode(&["evaluate", "run", "shop.data", "--trec", "a"]).fails(3, &refused);
    world.lode(&["predict", "run", "--text", "boot", "--format", "trec"]).fails(3, &refused);
    assert!(!world.path("a").exists());
    world.lode(&["evaluate", "run", "shop.data", "--spmat", "a", "-q"]).ok();
}

/// Four texts, each the text of ten labels: of the one that is nearest, all ten have the same score.
#[test]
fn equal_scores_are_in_the_order_of_trec_eval_where_it_is_asked_for() {
    let world = World::new();
    let (copies, lines) = (10, |n, line: &dyn Fn(usize) -> String| (0..n).map(line).collect::<String>());
    let label = |l| format!("{{\"id\": \"L{l}\", \"text\": \"{}\"}}\n", KINDS[l / copies]);
    let query = |i: usize| {
        format!(
            "{{\"id\": \"q{i}\", \"text\": \"my {}\", \"labels\": [\"L{}\"]}}\n",
            KINDS[i % 4],
            i % 4 * copies
        )
    };
    world.write("src/lbl.jsonl", lines(4 * copies, &label));
    world.write("src/trn.jsonl", lines(80, &query));
    world.write("src/tst.jsonl", lines(8, &query));
    world.lode(&["prepare", "src", "--format", "jsonl", "--out", "d", "--train-vocab", "100", "-q"]).ok();
    world.lode(&["train", "d", "--model", "bag", "--steps", "20", "--batch", "8", "--out", "run", "-q"]).ok();
    let ranked = |ties: &str, k: &str| {
        let words = ["evaluate", "run", "d", "--metrics", "P@1", "--ties", ties, "--trec", "a.trec", "-k", k];
        let told = world.lode(&[&words[..], &["--json", "-q"]].concat()).ok().json();
        (told["P@1"].as_f64().unwrap(), run(&String::from_utf8(world.read("a.trec")).unwrap()))
    };
    // L10, L20 and L30 have the smallest number of their ten and, byte by byte, the smallest id.
    assert_eq!((ranked("number", "3").0, ranked("trec", "3").0), (1.0, 0.0));
    let refused = ["evaluate", "run", "d", "--ties", "trec", "--knn", "3", "-q"];
    world.lode(&refused).fails(3, &["label text alone", "--ties number"]);
    // Also where the cut of three goes through ten labels with the same score.
    for k in ["3", "10", "40"] {
        for (query, row) in ranked("trec", k).1 {
            let ids: Vec<&str> = row.iter().map(|r| &*r.0).collect();
            assert!(
                row.windows(2).all(|w| w[0].2 > w[1].2 || w[0].2 == w[1].2 && w[0].0 > w[1].0),
                "{ids:?}"
            );
            let kind = query[1..].parse::<usize>().unwrap() % 4;
            assert_eq!(ids[0], ["L9", "L19", "L29", "L39"][kind], "{query} {k}");
            assert_eq!(ids.len(), k.parse::<usize>().unwrap());
        }
    }
}
