//! A cross-encoder as a user meets it: trained, asked by other verbs, exported, resumed.

use crate::products;
use crate::run::World;
use serde_json::Value;

fn shop() -> World {
    let world = World::new();
    world.write("products.csv", products::csv(600));
    world.lode(&products::PREPARE).ok();
    world
}

#[test]
fn a_trained_cross_encoder_judges_rescores_and_is_exported() {
    let world = shop();
    let train =
        "train shop.data --model tiny --set model.width=32 --strategy cross-encoder --batch 8 --steps 6 -q";
    let words: Vec<&str> = train.split(' ').chain(["--out", "run", "--set", "cross.loss=pairs"]).collect();
    world.lode(&words).ok();
    let log = String::from_utf8(world.read("run/log.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert!(last["final"] == true && last["metrics"]["P@1"].as_f64().is_some(), "{last}");

    let mine =
        ["mine", "run", "shop.data", "--rescore", "run", "--range-max", "8", "-q", "--out", "hard.jsonl"];
    world.lode(&mine).ok();
    let mined = String::from_utf8(world.read("hard.jsonl")).unwrap();
    let line: Value = serde_json::from_str(mined.lines().next().unwrap()).unwrap();
    let scores: Vec<f64> = line["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    assert!(!scores.is_empty() && scores.iter().all(|p| (0.0..=1.0).contains(p)), "{line}");

    // Its directory, the run and the export are one model.
    let ranked = |judge: &str| {
        let words = ["evaluate", "run", "shop.data", "--rescore", judge, "--rescore-depth", "9", "--json"];
        world.lode(&words).ok().stdout
    };
    for to in ["hf", "cross"] {
        world.lode(&["export", "run", "--to", to, "--out", to]).ok();
        assert_eq!(ranked(to), ranked("run"));
    }
    assert_eq!(ranked("run/cross"), ranked("run"));
    let plain = world.lode(&["evaluate", "run", "shop.data", "--json"]).ok().stdout;
    assert_ne!(ranked("run"), plain, "the order is another");
    let files = world.read("hf/config.json");
    assert!(String::from_utf8(files).unwrap().contains("BertForSequenceClassification"));
    let words = ["evaluate", "run", "shop.data", "--rescore", "run", "--rescore-depth"];
    let none = world.lode(&[&words[..], &["0"]].concat());
    assert!(none.code == 3 && none.stderr.contains("--rescore-depth must be at least 1"), "{}", none.stderr);
    // Below what it read stand the others, as the encoder has them.
    let trec = |depth: &str| {
        world.lode(&[&words[..], &[depth, "--trec", "found.txt", "-k", "20"]].concat()).ok();
        String::from_utf8(world.read("found.txt")).unwrap()
    };
    let (few, all) = (trec("9"), trec("1000"));
    assert!(few.lines().count() == all.lines().count() && few != all);
    let column = |line: &str, i: usize| line.split(' ').nth(i).unwrap().to_owned();
    for two in few.lines().collect::<Vec<_>>().windows(2).filter(|two| column(two[0], 0) == column(two[1], 0))
    {
        let [above, below] = [0, 1].map(|i| column(two[i], 4).parse::<f32>().unwrap());
        assert!(
            above > below || above == below && column(two[1], 3).parse::<usize>().unwrap() <= 9,
            "{two:?}"
        );
    }

    // What was measured is the cross-encoder.
    let card = |of: &str| String::from_utf8(world.read(&format!("{of}/README.md"))).unwrap();
    for of in ["run/cross", "hf"] {
        assert!(
            card(of).contains("cross-encoder: pairs") && card(of).contains("validation P@1"),
            "{}",
            card(of)
        );
        assert!(card(of).contains("0.00002 ("), "its own rate: {}", card(of));
    }
    assert!(!card("run/model").contains("validation P@1"), "{}", card("run/model"));
    let wrong = world.lode(&["evaluate", "run", "shop.data", "--rescore", "run/model"]);
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
}

#[test]
fn a_run_without_a_cross_encoder_says_so() {
    let world = shop();
    world.lode(&["train", "shop.data", "--model", "bag", "--steps", "2", "-q", "--out", "run"]).ok();
    let wrong = world.lode(&["export", "run", "--to", "cross", "--out", "x"]);
    assert!(wrong.code == 3 && wrong.stderr.contains("this run has no cross-encoder"), "{}", wrong.stderr);
    assert!(!world.path("x").exists());
}

#[test]
fn a_word_for_a_model_of_the_run_is_no_folder() {
    let world = shop();
    ["start", "cross"].iter().for_each(|name| std::fs::create_dir(world.path(name)).unwrap());
    let train = "train shop.data --model tiny --strategy rocketqa --set negatives.rescore=cross \
                 --set cross.model=start --set cross.share=0.5 --print-config --json";
    let config = world.lode(&train.split_whitespace().collect::<Vec<_>>()).ok().json();
    assert_eq!(config["negatives"]["rescore"], "cross");
    assert_eq!(config["cross"]["model"], "start");
    let elsewhere = ["--set", "guide.model=cross", "--strategy", "gist", "--print-config", "--json"];
    let config =
        world.lode(&[&["train", "shop.data", "--model", "tiny"], &elsewhere[..]].concat()).ok().json();
    assert!(config["guide"]["model"].as_str().unwrap().ends_with("/cross"), "{config}");
}
