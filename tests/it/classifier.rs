//! A classifier over the labels, from the command line: trained, measured beside its fellows, asked, refused.

use crate::catalogue;
use crate::products;
use crate::run::World;
use serde_json::Value;
use train::{Checkpoint, checkpoint};

const TRAIN: [&str; 19] = [
    "train",
    "shop.data",
    "--model",
    "bag",
    "--set",
    "model.width=32",
    "--head",
    "classifier",
    "--loss",
    "supcon",
    "--set",
    "head.encoder_lr=0.01",
    "--epochs",
    "12",
    "--batch",
    "32",
    "--lr",
    "0.02",
    "-q",
];

#[test]
fn a_classifier_is_trained_measured_beside_its_fellows_and_asked() {
    let world = World::new();
    world.write("products.csv", products::csv(400));
    world.lode(&products::PREPARE).ok();
    world.lode(&[&TRAIN[..], &["--out", "run"]].concat()).ok();
    let evaluate = ["evaluate", "run", "shop.data", "--metrics", "P@1,R@3", "-q"];
    let evaluate = |more: &[&str]| world.lode(&[&evaluate, more].concat());

    let found = evaluate(&["--knn", "5", "--json"]).ok().json();
    let of = |name: &str| found["members"][name]["P@1"].as_f64().unwrap();
    let [_text, classifier, _sum, _votes] = ["text", "classifier", "sum", "votes"].map(of);
    assert!(classifier > 0.8 && found["P@1"].as_f64().unwrap() > 0.8, "{found}");
    let shown = evaluate(&["--knn", "5"]).ok().stdout;
    let words: Vec<&str> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words, ["fusion", "text", "classifier", "sum", "votes"]);

    let alone = evaluate(&["--score", "classifier", "--json"]).ok().json();
    assert!((alone["P@1"].as_f64().unwrap() - classifier).abs() < 0.03 && alone.get("members").is_none());
    evaluate(&["--score", "classifier", "--knn", "5"]).fails(3, &["do not vote", "--score fusion"]);
    world.lode(&["evaluate", "run/model", "shop.data", "--score", "fusion"]).fails(3, &["no classifier"]);

    for score in ["classifier", "fusion"] {
        let words =
            ["predict", "run", "--text", "Nordwind light wool glove", "--score", score, "--json", "-q"];
        assert_eq!(world.lode(&words).ok().json()["labels"][0]["title"], "gloves", "{score}");
    }
}

#[test]
fn flags_of_a_classifier_are_about_one_however_it_was_asked_for() {
    let world = World::new();
    let shown =
        |more: &[&str]| world.lode(&[&["train", "x", "--loss", "triplet", "--print-config"], more].concat());
    assert!(shown(&["--head", "none"]).ok().stdout.contains("name = \"triplet\""));
    shown(&["--set", "head.name=classifier"]).fails(3, &["`head.loss`", "supcon"]);
    shown(&["--strategy", "adore"]).fails(3, &["`head.loss`", "supcon"]);
    shown(&["--scratch", "."]).fails(3, &["learns none", "--head classifier"]);
}

#[test]
fn label_weights_beyond_the_limit_are_mapped_and_learn_the_same() {
    let world = World::new();
    catalogue::prepare(&world, 20_000);
    let train = "train shop.data --model bag --set model.width=32 --head classifier --loss supcon --batch 32 \
                 --steps 20 -q --out";
    let train: Vec<&str> = train.split(' ').collect();
    let plan = |more: &[&str]| world.lode(&[&train, more, &["--dry-run", "--json"]].concat()).ok().json();
    let bytes = |plan: &Value, key: &str| plan[key].as_u64().unwrap();
    let heap = plan(&["heap"]);
    // W and two moments.
    let tables = 3 * 4 * 20_000 * 32;
    assert_eq!(bytes(&heap, "mapped_bytes"), 0);
    let limit = (bytes(&heap, "total_bytes") - 1).to_string();
    let under = |run: &'static str| [run, "--max-memory", &limit];
    let mapped = plan(&under("mapped"));
    assert_eq!(
        (bytes(&mapped, "mapped_bytes"), bytes(&mapped, "total_bytes")),
        (tables, bytes(&heap, "total_bytes") - tables)
    );
    let shown = world.lode(&[&train, &under("mapped")[..], &["--dry-run"]].concat()).ok().stdout;
    assert!(shown.lines().last().unwrap().contains("mapped") && shown.contains("in files of "), "{shown}");
    assert!(!world.path("mapped").exists());

    let less = (bytes(&mapped, "total_bytes") - 1).to_string();
    let refused = world.lode(&[&train, &["refused", "--max-memory", &less][..]].concat());
    refused.fails(5, &["nothing was started", "label weights", "mapped files"]);
    assert!(!world.path("refused").exists());

    world.lode(&[&train, &["heap"][..]].concat()).ok();
    world.lode(&[&train, &under("mapped")[..]].concat()).ok();
    let learned = |run: &str| {
        let (newest, ..) = Checkpoint::newest(&world.path(&format!("{run}/checkpoints"))).unwrap();
        let tables = newest.head.unwrap().tables.into_iter();
        tables.map(|(_, table)| table.to_f32()).collect::<Vec<_>>()
    };
    assert!(learned("heap") == learned("mapped"), "other bits");
}

#[test]
fn a_classifier_in_a_chain_of_checkpoints_answers_as_one_in_a_single_file() {
    let world = World::new();
    catalogue::prepare(&world, 20_000);
    let train = "train shop.data --model bag --set model.width=32 --head classifier --loss supcon --batch 8 \
                 --epochs 4 --keep 1 -q --out";
    let train: Vec<&str> = train.split(' ').collect();
    let files = |run: &str| checkpoint::list(&world.path(&format!("{run}/checkpoints"))).len();
    world.lode(&[&train, &["single", "--save-every", "1h"][..]].concat()).ok();
    // Now and then the last checkpoint happens to be a whole one, which stands alone.
    for every in ["0.01s", "0.013s", "0.017s", "0.023s", "0.031s", "0.043s"] {
        let _ = std::fs::remove_dir_all(world.path("chain"));
        world.lode(&[&train, &["chain", "--save-every", every][..]].concat()).ok();
        if files("chain") > 1 {
            break;
        }
    }
    assert!(files("chain") > 1 && files("single") == 1, "{} files in the chain", files("chain"));
    let same = |words: &[&str]| {
        let told = ["chain", "single"].map(|run| {
            let words: Vec<&str> = words.iter().map(|&word| if word == "RUN" { run } else { word }).collect();
            world.lode(&words).ok().stdout
        });
        assert!(told[0] == told[1] && !told[0].is_empty(), "{words:?}: {told:?}");
    };
    same(&["evaluate", "RUN", "shop.data", "--score", "classifier", "--json", "-q"]);
    same(&["predict", "RUN", "--text", "r3 c1 k9 and r5 c7 k2", "--score", "fusion", "--json", "-q"]);
    for run in ["chain", "single"] {
        world.lode(&["export", run, "--to", "hf", "--out", &format!("{run}.hf")]).ok();
    }
    let weights = |run: &str| world.read(&format!("{run}.hf/0_StaticEmbedding/model.safetensors"));
    assert!(weights("chain") == weights("single"));
}
