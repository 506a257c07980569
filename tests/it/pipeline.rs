//! From a table to answers: prepare, train, evaluate, predict, export, encode, as a new user would.

use crate::products;
use crate::run::World;
use serde_json::Value;

/// A shop, prepared and learnt by a bag.
fn trained() -> World {
    let world = World::new();
    world.write("products.csv", products::csv(1000));
    world.lode(&products::PREPARE).ok();
    let train = ["train", "shop.data", "--out", "run", "--model", "bag", "--batch", "64", "--epochs", "12"];
    let ran = world.lode(&[&train[..], &["--lr", "0.01", "--json", "-q"]].concat()).ok();
    let told = ran.json();
    assert_eq!((&told["finished"], &told["step"]), (&true.into(), &told["steps"]));
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    world
}

#[test]
fn a_table_becomes_answers() {
    let world = trained();
    check_log(&world);
    check_evaluation(&world);
    check_predictions(&world);
    check_export(&world);
}

fn check_log(world: &World) {
    let log = String::from_utf8(world.read("run/log.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let (last, first) = (lines.last().unwrap(), lines.iter().find(|l| l["loss"].is_number()).unwrap());
    for key in ["step", "epoch", "loss", "tokens_per_s", "seconds"] {
        assert!(first[key].is_number(), "{key}: {first}");
    }
    assert_eq!(last["final"], true);
    assert!(last["metrics"]["P@1"].is_number() && last["seconds"].is_number(), "{last}");
    // After each of twelve epochs, that is.
    let measured: Vec<f64> = lines.iter().filter_map(|line| line["metrics"]["R@10"].as_f64()).collect();
    assert!(measured.len() == 12 && measured.iter().all(|r| (0.0..=1.0).contains(r)), "{measured:?}");
    if cfg!(target_os = "linux") {
        assert!(last["peak_rss_bytes"].as_u64().unwrap() > 1 << 20, "{last}");
    }
}

fn check_evaluation(world: &World) {
    let words =
        ["evaluate", "run", "shop.data", "--split", "test", "--metrics", "P@1,nDCG@5,PSP@1", "--json"];
    let found = world.lode(&words).ok().json();
    let keys: Vec<&str> = found.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["P@1", "nDCG@5", "PSP@1"]);
    // Forty categories, and every title names its own: a model that has learnt is nearly always right.
    let p1 = found["P@1"].as_f64().unwrap();
    assert!(p1 > 0.8, "{p1}");
    let more = ["--errors", "3", "--by-frequency", "--knn", "5"];
    let found = world.lode(&[&words[..], &more].concat()).ok().json();
    assert!(found["by_frequency"]["tail"]["P@1"].is_number() && found["errors"].is_array(), "{found}");
    let shown = world.lode(&[&words[..7], &more].concat()).ok().stdout;
    assert!(shown.contains("torso") && shown.contains("P@1"), "{shown}");
    world.lode(&[&words[..], &["--require", "P@1=0.5"]].concat()).ok();
    let ran = world.lode(&[&words[..], &["--require", "P@1=1.01"]].concat()).fails(7, &["P@1 is", "1.01"]);
    assert_eq!(ran.json()["P@1"], found["P@1"].as_f64().map_or(Value::Null, |_| p1.into()));
    world.lode(&["evaluate", "run", "shop.data", "--metrics", "PP@1"]).fails(3, &["did you mean"]);
    world.lode(&["evaluate", "run", "shop.data", "--labels", "unseen"]).fails(3, &["no label without"]);
}

fn check_predictions(world: &World) {
    let ran = world.lode(&["predict", "run", "--text", "Kivi small oak chair", "--k", "3", "--json"]).ok();
    let answer = ran.json();
    assert_eq!(answer["text"], "Kivi small oak chair");
    assert_eq!(answer["labels"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&answer["labels"][0]["title"], &answer["labels"][0]["uid"]),
        (&"chairs".into(), &"chairs".into())
    );
    assert!(answer["labels"][0]["score"].as_f64() > answer["labels"][1]["score"].as_f64());

    let input = b"Alba red wool blanket\n\xff\xfe\n\nLumo heavy steel pan\n";
    let ran = world.feed(&["predict", "run", "-", "--json", "-v", "--knn", "3"], input).ok();
    let lines: Vec<Value> = ran.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        (&lines[0]["labels"][0]["title"], &lines[3]["labels"][0]["title"]),
        (&"blankets".into(), &"pans".into())
    );
    assert!(lines[1]["error"].as_str().unwrap().contains("UTF-8") && lines[1]["labels"].is_null());
    assert!(ran.stderr.contains("cold start") && ran.stderr.contains("p99"), "{}", ran.stderr);
    let shown = world.lode(&["predict", "run", "--text", "Kivi small oak chair", "-k", "1"]).ok().stdout;
    assert!(shown.starts_with("Kivi small oak chair\n") && shown.contains("chairs"), "{shown}");
}

fn check_export(world: &World) {
    world.lode(&["export", "run", "--to", "hf", "--out", "model"]).ok();
    for file in ["modules.json", "README.md"] {
        assert!(world.path("model").join(file).is_file(), "{file}");
    }
    world.write("texts.txt", "Kivi small oak chair\n\nAlba red wool blanket");
    let encode =
        |model: &str, out: &str| world.lode(&["encode", model, "texts.txt", "--out", out, "-q"]).ok();
    encode("run", "a.npy");
    encode("model", "b.npy");
    let (a, b) = (world.read("a.npy"), world.read("b.npy"));
    assert!(a == b && a.starts_with(b"\x93NUMPY\x01\x00"));
    let header = String::from_utf8_lossy(&a[10..128]).into_owned();
    assert!(header.contains("'shape': (3, 256)"), "{header}");
    let values: Vec<f32> = a[128..].as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect();
    let norm: f32 = values[..256].iter().map(|x| x * x).sum();
    assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    world.lode(&["export", "run", "--to", "npy", "--out", "labels"]).ok();
    assert_eq!(String::from_utf8(world.read("labels/labels.jsonl")).unwrap().lines().count(), 40);
    let ours = world.lode(&["evaluate", "run", "shop.data", "--json"]).ok().stdout;
    assert_eq!(world.lode(&["evaluate", "model", "shop.data", "--json"]).ok().stdout, ours);
}

/// DEXML has one stage: an encoder against all labels. It is resumed and refused as pipelines of two are.
#[test]
fn a_pipeline_of_one_stage_trains_an_encoder_alone() {
    let world = World::new();
    world.write("products.csv", products::csv(400));
    world.lode(&products::PREPARE).ok();
    let words =
        ["train", "shop.data", "--pipeline", "dexml", "--model", "bag", "--batch", "32", "--epochs", "4"];
    let words = [&words[..], &["--lr", "0.02", "-q"]].concat();
    let told = world.lode(&[&words[..], &["--out", "run"]].concat()).ok().stdout;
    assert!(told.contains("encoder") && !told.contains("classifier"), "{told}");
    assert!(!world.path("run/classifier.toml").exists() && world.path("run/encoder/model").is_dir());
    let settings = String::from_utf8(world.read("run/encoder/config.toml")).unwrap();
    for line in ["from = \"all\"", "name = \"infonce\"", "chunk = 256", "name = \"shuffled\""] {
        assert!(settings.contains(line), "{line}: {settings}");
    }
    assert_eq!(world.lode(&["resume", "run", "-q"]).ok().stdout, told);
    let one = ["--out", "again", "--set", "classifier.train.lr=1"];
    world.lode(&[&words[..], &one].concat()).fails(3, &["no stage `classifier`", "it has encoder"]);
}

#[test]
fn a_data_set_for_another_vocabulary_is_refused() {
    let world = World::new();
    world.write("products.csv", products::csv(200));
    world.lode(&products::PREPARE).ok();
    let other: Vec<&str> =
        products::PREPARE.iter().map(|w| if *w == "shop.data" { "other.data" } else { w }).collect();
    let other: Vec<&str> = other.into_iter().map(|w| if w == "400" { "120" } else { w }).collect();
    world.lode(&other).ok();
    world
        .lode(&[
            "train",
            "shop.data",
            "--out",
            "run",
            "--model",
            "bag",
            "--steps",
            "2",
            "--batch",
            "16",
            "-q",
        ])
        .ok();
    let words = ["other.data", "vocabulary", "--tokenizer"];
    world.lode(&["evaluate", "run", "other.data"]).fails(3, &words);
    world.lode(&["predict", "run", "--data", "other.data", "--text", "x"]).fails(3, &words);
}

#[test]
fn a_dry_run_prints_the_plan_and_starts_nothing() {
    let world = World::new();
    world.write("products.csv", products::csv(200));
    world.lode(&products::PREPARE).ok();
    let listing = world.listing();
    let words = ["train", "shop.data", "--model", "tiny", "--batch", "32", "--epochs", "2", "--dry-run"];
    let shown = world.lode(&words).ok().stdout;
    assert!(shown.contains("memory at peak") && shown.contains("steps of about"), "{shown}");
    let plan = world.lode(&[&words[..], &["--json"]].concat()).ok().json();
    let parts: u64 = plan["parts_bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(plan["total_bytes"], parts);
    assert!(plan["tokens_per_step"].as_u64() > plan["texts_per_step"].as_u64());
    world.lode(&[&words[..], &["--max-memory", "2M"]].concat()).fails(5, &["limit"]);
    assert_eq!(world.listing(), listing);
}
