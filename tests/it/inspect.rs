//! `lode inspect data`, `file` and `model`: what is shown is what is there.

use crate::products;
use crate::run::World;

fn world() -> World {
    let world = World::new();
    // Three products come again with other words around their titles, and one as it is.
    let mut csv = products::csv(300);
    let titles: Vec<String> = csv.lines().skip(1).take(2).map(str::to_owned).collect();
    csv += &titles.iter().map(|line| format!("{line}x\n")).collect::<String>();
    world.write("t.csv", csv);
    let words = ["prepare", "t.csv", "--train-vocab", "300", "--text", "title", "--labels", "category", "-q"];
    world.lode(&[&words[..], &["--out", "d"]].concat()).ok();
    world
}

fn train(world: &World) {
    let words = ["train", "d", "--model", "bag", "--batch", "16", "--epochs", "1", "--set", "model.width=16"];
    world.lode(&[&words[..], &["--out", "r", "-q"]].concat()).ok();
}

#[test]
fn a_data_set_is_shown_as_the_trainer_sees_it() {
    let world = world();
    let told = world.lode(&["inspect", "data", "d", "--json", "--rows", "5"]).ok().json();
    assert_eq!(told["rows"].as_array().unwrap().len(), 5);
    let row = &told["rows"][0];
    let tokens: Vec<&str> = row["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    assert_eq!((tokens[0], *tokens.last().unwrap()), ("[CLS]", "[SEP]"), "{row}");
    let joined = tokens[1..tokens.len() - 1].concat().replace("##", "");
    let text = row["text"].as_str().unwrap().to_lowercase().replace(' ', "");
    assert_eq!(joined, text, "{row}");
    let shown = world.lode(&["inspect", "data", "d", "--rows", "5"]).ok().stdout;
    assert!(shown.contains(row["text"].as_str().unwrap()) && shown.contains(&tokens.join(" ")), "{shown}");
    let total: u64 = told["summary"]["labels"].as_u64().unwrap();
    let counted: u64 = shown
        .lines()
        .skip_while(|line| *line != "Training queries of a label")
        .skip(2)
        .take(7)
        .map(|line| {
            let cells: Vec<&str> = line.split("  ").filter(|cell| !cell.trim().is_empty()).collect();
            cells[1].replace(' ', "").parse::<u64>().unwrap()
        })
        .sum();
    assert_eq!(counted, total, "{shown}");
    let found =
        world.lode(&["inspect", "data", "d", "--find", "bamboo", "--rows", "2", "--json"]).ok().json();
    for row in found["rows"].as_array().unwrap() {
        assert!(row["text"].as_str().unwrap().to_lowercase().contains("bamboo"), "{row}");
    }
    assert_eq!(world.lode(&["inspect", "data", "d", "--find", "no such word"]).code, 5);
}

/// A run on sixty titles of three labels in turn, tested on ten of these titles and on ten of other words.
fn half_known() -> World {
    let world = World::new();
    let words = |i: usize| format!("w{} w{} w{} w{}", i * 7 % 50, i * 11 % 50, i * 13 % 50, i * 17 % 50);
    let write = |name: &str, text: String| world.write(&format!("x/{name}"), text);
    write("Y.txt", "red\nblue\ngreen\n".to_owned());
    write("trn_X.txt", (0..60).map(|i| format!("{}\n", words(i))).collect());
    write("trn_X_Y.txt", format!("60 3\n{}", (0..60).map(|i| format!("{}:1\n", i % 3)).collect::<String>()));
    let other = |i: usize| format!("v{i} u{i} t{i} s{i}");
    write("tst_X.txt", (0..20).map(|i| format!("{}\n", if i < 10 { words(i) } else { other(i) })).collect());
    write("tst_X_Y.txt", format!("20 3\n{}", (0..20).map(|i| format!("{}:1\n", i % 3)).collect::<String>()));
    world.lode(&["prepare", "x", "--format", "xc", "--train-vocab", "200", "--out", "d", "-q"]).ok();
    train(&world);
    world
}

#[test]
fn what_stands_in_training_is_found_and_its_worth_measured() {
    let world = half_known();
    let words = ["inspect", "data", "d", "--overlap", "--run", "r", "--out", "scores.tsv"];
    let told = world.lode(&[&words[..], &["--json"]].concat()).ok().json();
    assert_eq!((&told["near_duplicates"], &told["queries"]), (&10.into(), &20.into()), "{told}");
    let cuts = told["cuts"].as_array().unwrap();
    assert_eq!(cuts.len(), 20);
    assert!(cuts.iter().all(|cut| cut["queries"] == 10), "{told}");
    let hits = |cut: &serde_json::Value| {
        10.0 * (cut["P@1_flagged"].as_f64().unwrap() + cut["P@1_clean"].as_f64().unwrap())
    };
    let all = 20.0 * told["P@1"].as_f64().unwrap();
    assert!(cuts.iter().all(|cut| (hits(cut) - all).abs() < 1e-4), "{told}");
    let measured = world.lode(&["evaluate", "r", "d", "--metrics", "P@1", "--json"]).ok().json();
    assert!((measured["P@1"].as_f64().unwrap() - told["P@1"].as_f64().unwrap()).abs() < 1e-6, "{measured}");
    let lines = String::from_utf8(world.read("scores.tsv")).unwrap();
    let scores: Vec<&str> = lines.lines().skip(1).map(|line| line.split('\t').nth(4).unwrap()).collect();
    assert_eq!(scores, [vec!["1.0"; 10], vec!["0.0"; 10]].concat());
    assert_eq!(
        world.lode(&["inspect", "data", "d", "--run", "r"]).code,
        2,
        "--run says nothing without --overlap"
    );
}

#[test]
fn what_is_hard_is_scored_and_held_against_what_was_found() {
    let world = half_known();
    let words = ["inspect", "data", "d", "--hardness", "--run", "r", "--out", "scores.tsv"];
    let told = world.lode(&[&words[..], &["--json"]].concat()).ok().json();
    let lines = String::from_utf8(world.read("scores.tsv")).unwrap();
    let names = "kind\tid\twords\tword-rarity\tlabel-rarity\tdistance\tdescription-length\tfound";
    assert_eq!(lines.lines().next(), Some(names));
    let of = |kind: &str, column: usize| -> Vec<f64> {
        let rows = lines.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        rows.filter(|row| row[0] == kind).map(|row| row[column].parse().unwrap()).collect()
    };
    assert_eq!((of("title", 2), of("label", 2)), (vec![4.0; 20], vec![1.0; 3]));
    // A word that no training title has, of sixty titles: log₂ 61. A label of twenty titles: −log₂ 21/61.
    let (rarity, known) = (of("title", 3), of("title", 5));
    assert!(rarity[10..].iter().all(|bits| (bits - 61f64.log2()).abs() < 1e-5), "{rarity:?}");
    assert!(rarity[..10].iter().all(|&bits| bits < 5.0), "{rarity:?}");
    let labels = [of("title", 4), of("label", 4)].concat();
    assert!(labels.iter().all(|bits| (bits - (61f64 / 21.0).log2()).abs() < 1e-5), "{labels:?}");
    assert!(known[..10].iter().all(|d| d.abs() < 1e-5) && known[10..].iter().all(|&d| d > 1e-3), "{known:?}");
    assert!(of("title", 6).iter().all(|&nats| nats > 0.0), "{lines}");
    let measured = world.lode(&["evaluate", "r", "d", "--metrics", "P@1", "--json"]).ok().json();
    let mean = of("title", 7).iter().sum::<f64>() / 20.0;
    assert!((measured["P@1"].as_f64().unwrap() - mean).abs() < 1e-6, "{measured} {mean}");
    let score = &told["titles"]["scores"][1];
    assert_eq!(score["score"], "word-rarity");
    // Ten equal scores are the upper half: the first seven of the others are easy, and nothing is hard.
    let hits = &of("title", 7);
    let share = |third: &str| score[format!("P@1_{third}")].as_f64();
    let mut easy: Vec<(f64, f64)> = rarity.iter().copied().zip(hits.iter().copied()).collect();
    easy.sort_by(|a, b| a.0.total_cmp(&b.0));
    let cut = easy[6].0;
    let part = |is: &dyn Fn(f64) -> bool| {
        let own: Vec<f64> = easy.iter().filter(|(bits, _)| is(*bits)).map(|(_, hit)| *hit).collect();
        own.iter().sum::<f64>() / own.len() as f64
    };
    assert!((share("easy").unwrap() - part(&|bits| bits <= cut)).abs() < 1e-5, "{told}");
    assert!((share("medium").unwrap() - part(&|bits| bits > cut)).abs() < 1e-5, "{told}");
    assert_eq!(share("hard"), None, "{told}");
    let without = world.lode(&["inspect", "data", "d", "--hardness"]).ok().stdout;
    assert!(
        without.contains("20 titles") && without.contains("3 labels") && !without.contains("P@1"),
        "{without}"
    );
    assert_eq!(world.lode(&["inspect", "data", "d", "--hardness", "--overlap"]).code, 2);
}

#[test]
fn every_section_is_held_against_its_checksum() {
    let world = world();
    train(&world);
    let checkpoint = "r/checkpoints";
    let name = std::fs::read_dir(world.path(checkpoint)).unwrap().next().unwrap().unwrap().file_name();
    let path = format!("{checkpoint}/{}", name.to_str().unwrap());
    let told = world.lode(&["inspect", "ckpt", &path, "--json"]).ok().json();
    let line: serde_json::Value = {
        let log = String::from_utf8(world.read("r/log.jsonl")).unwrap();
        serde_json::from_str(log.lines().last().unwrap()).unwrap()
    };
    assert_eq!((&told["kind"], &told["checkpoint"]["step"]), (&"checkpoint".into(), &line["step"]));
    assert!(told["sections"].as_array().unwrap().iter().all(|s| s["whole"] == true), "{told}");
    let mut bytes = world.read(&path);
    // In the middle of the largest section.
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    world.write(&path, bytes);
    let damaged = world.lode(&["inspect", "file", &path]);
    assert_eq!(damaged.code, 4, "{}", damaged.stderr);
    assert_eq!(damaged.stdout.matches("DAMAGED").count(), 1, "{}", damaged.stdout);
    assert_eq!(world.lode(&["inspect", "file", "t.csv"]).code, 4);
    assert_eq!(world.lode(&["inspect", "file", "nowhere"]).code, 3);
}

#[test]
fn a_model_is_told_with_its_tensors() {
    let world = world();
    train(&world);
    let told = world.lode(&["inspect", "model", "r", "--json"]).ok().json();
    let sizes = told["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product::<u64>());
    assert_eq!(sizes.sum::<u64>(), told["parameters"].as_u64().unwrap());
    let shown = world.lode(&["inspect", "model", "r/model"]).ok().stdout;
    assert!(shown.contains("bag of token embeddings") && shown.contains("× 16"), "{shown}");
    assert_eq!(world.lode(&["inspect", "model", "t.csv"]).code, 3);
}

#[test]
fn a_text_and_its_label_are_explained() {
    let world = world();
    train(&world);
    let text = "Nordwind red cotton shirt";
    let told = world.lode(&["explain", "r", "--text", text, "--json"]).ok().json();
    let predicted = world.lode(&["predict", "r", "--text", text, "--json"]).ok().json();
    assert_eq!(told["label"]["uid"], predicted["labels"][0]["uid"]);
    assert!(
        (told["score"].as_f64().unwrap() - predicted["labels"][0]["score"].as_f64().unwrap()).abs() < 1e-5
    );
    let shown = world.lode(&["explain", "r", "--text", text]).ok().stdout;
    assert!(shown.contains("pulled here by") && shown.contains("gradient × input"), "{shown}");
    let other = world.lode(&["explain", "r", "--text", text, "--label", "CUPS", "--json"]).ok().json();
    assert_eq!(other["label"]["title"], "cups");
    // What was removed from the answers is not explained as the best one.
    let best = told["label"]["uid"].as_str().unwrap();
    world.lode(&["index", "r", "--remove", best, "-q"]).ok();
    let next = world.lode(&["explain", "r", "--text", text, "--json"]).ok().json();
    assert!(next["label"]["uid"] != told["label"]["uid"] && next["rank"] == 1, "{next}");
    let none = world.lode(&["explain", "r", "--text", text, "--label", "cup"]);
    assert!(none.code == 3 && none.stderr.contains("there is `cups`"), "{}", none.stderr);
}
