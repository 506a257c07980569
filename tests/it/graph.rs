//! `lode inspect graph`: the step that it shows is the one that the run takes; its pictures hold all of it.

use crate::negatives::Browser;
use crate::products;
use crate::run::World;
use serde_json::{Value, json};
use std::path::Path;

const TRAIN: [&str; 16] = [
    "train",
    "shop.data",
    "--model",
    "tiny",
    "--batch",
    "16",
    "--lr",
    "1e-3",
    "--set",
    "train.schedule=constant",
    "--set",
    "train.warmup_steps=0",
    "--set",
    "save.log_every=1",
    "-q",
    "--out",
];

fn world() -> World {
    let world = World::new();
    world.write("products.csv", products::csv(300));
    world.lode(&products::PREPARE).ok();
    world
}

fn train(world: &World, out: &str, more: &[&str]) {
    world.lode(&[&TRAIN[..], &[out], more].concat()).ok();
}

/// The values of the tapes, and the step.
fn graph(world: &World, run: &str) -> (Vec<Value>, Value) {
    let lines = world.lode(&["inspect", "graph", run, "--json", "-q"]).ok().stdout;
    let mut all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let step = all.pop().unwrap();
    (all, step)
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} of {value}"))
}

fn sum(values: &[Value], key: &str) -> f64 {
    values.iter().map(|value| number(value, key)).sum()
}

/// Every file of a folder and what it holds.
fn contents(world: &World, folder: &str) -> Vec<(String, Vec<u8>)> {
    let files =
        world.listing().into_iter().filter(|path| path.starts_with(world.path(folder)) && path.is_file());
    files.map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn the_step_is_the_one_that_the_run_takes() {
    let world = world();
    train(&world, "three", &["--steps", "3"]);
    train(&world, "four", &["--steps", "4"]);
    let before = contents(&world, "three");
    let (values, step) = graph(&world, "three");
    assert!(contents(&world, "three") == before, "looking changed the run");
    let log = String::from_utf8(world.read("four/log.jsonl")).unwrap();
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let taken = lines.find(|line| line["step"] == 4 && line["loss"].is_number()).unwrap();
    for key in ["step", "epoch", "loss", "grad_norm"] {
        assert_eq!(step[key], taken[key], "{key}");
    }
    // The norm of the step is that of all of its parameters together.
    let params: Vec<&Value> = values.iter().filter(|value| value["param"].is_string()).collect();
    let norm = params.iter().map(|p| number(p, "gradient_norm").powi(2)).sum::<f64>().sqrt();
    assert!((norm / number(&step, "grad_norm") - 1.0).abs() < 1e-6, "{norm} of {step}");
    let model = world.lode(&["inspect", "model", "three", "--json"]).ok().json();
    assert_eq!(params.len(), model["tensors"].as_array().unwrap().len());
    let numbers =
        |p: &&Value| p["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product::<u64>();
    assert_eq!(params.iter().map(numbers).sum::<u64>(), model["parameters"].as_u64().unwrap());
    // Sums are of the lines; operations take no longer than the step.
    for key in ["flops_forward", "flops_backward", "kept_bytes"] {
        assert_eq!(sum(&values, key), number(&step, key), "{key}");
    }
    let within = sum(&values, "seconds_forward") + sum(&values, "seconds_backward");
    assert!(within > 0.0 && within <= number(&step, "seconds"), "{within} of {step}");
    // What a value was made of lies before it on its tape, and the embeddings of one tape begin the other.
    for value in &values {
        assert!(
            value["inputs"].as_array().unwrap().iter().all(|i| i.as_u64() < value["id"].as_u64()),
            "{value}"
        );
    }
    let first = values.iter().position(|value| value["tape"] == "loss").unwrap();
    assert_eq!((&values[first]["shape"], &values[first]["op"]), (&values[first - 1]["shape"], &Value::Null));
    assert!(
        (number(&values[first], "gradient_norm") / number(&values[first - 1], "gradient_norm") - 1.0).abs()
            < 1e-6
    );
}

#[test]
fn the_table_and_the_pictures_hold_every_operation() {
    let world = world();
    train(&world, "r & <s>", &["--steps", "2"]);
    let words = ["inspect", "graph", "r & <s>", "--dot", "g.dot", "--out"];
    let shown = world.lode(&[&words[..], &["g.html"]].concat()).ok();
    world.lode(&["inspect", "graph", "r & <s>", "--out", "g.svg", "-q"]).ok();
    let (values, step) = graph(&world, "r & <s>");
    let ops = values.iter().filter(|value| value["op"].is_string()).count();
    let table = shown.stdout;
    let cells = |name: &str| {
        let line = table
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap_or_else(|| panic!("{name}: {table}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let in_encoder = values.iter().filter(|v| v["op"].is_string() && v["tape"] == "encoder").count();
    assert_eq!(cells("encoder")[1], in_encoder.to_string(), "{table}");
    let layers = values
        .iter()
        .filter_map(|v| v["part"].as_str())
        .filter(|part| part.starts_with("layer"))
        .collect::<std::collections::BTreeSet<_>>();
    assert!(layers.len() > 1 && layers.iter().all(|layer| cells(layer)[1] == "8"), "{table}");
    assert!(table.contains(&format!("loss {:.4}", number(&step, "loss"))), "{table}");

    let page = String::from_utf8(world.read("g.html")).unwrap();
    let drawing = String::from_utf8(world.read("g.svg")).unwrap();
    for picture in [&page, &drawing] {
        assert_eq!(picture.matches("class=\"op\"").count(), ops);
        assert!(picture.contains("Step 3 of r &amp; &lt;s&gt;") && !picture.contains("r & <s>"));
        for absent in ["<script", "NaN", "inf\"", "src=", "href=", "url(", "@import"] {
            assert!(!picture.contains(absent), "{absent}");
        }
    }
    assert_eq!(page.matches("<details>").count(), layers.len() + 1, "layers and embeddings unfold");
    let dot = String::from_utf8(world.read("g.dot")).unwrap();
    let nodes = values.iter().filter(|value| value["param"].is_null()).count();
    assert_eq!(
        dot.lines().filter(|line| line.trim_start().starts_with('v') && line.contains("[label=")).count(),
        nodes
    );
    let edges: usize = values.iter().map(|v| v["inputs"].as_array().unwrap().len()).sum();
    let read = |v: &Value| {
        let of = |i: &&Value| {
            values.iter().any(|p| p["tape"] == v["tape"] && p["id"] == **i && p["param"].is_string())
        };
        v["inputs"].as_array().unwrap().iter().filter(of).count()
    };
    assert_eq!(dot.matches(" -> ").count(), edges - values.iter().map(read).sum::<usize>());
    for param in values.iter().filter_map(|value| value["param"].as_str()) {
        assert!(dot.contains(param), "{param}");
    }
}

/// Chunks are encoded twice, recomputed layers once more.
#[test]
fn what_is_encoded_again_is_counted_again() {
    let world = world();
    train(&world, "plain", &["--steps", "2"]);
    train(&world, "again", &["--steps", "2", "--chunk", "8", "--set", "model.recompute=true"]);
    let of_encoder = |run: &str| {
        let (mut values, step) = graph(&world, run);
        values.retain(|value| value["tape"].as_str().unwrap().starts_with("encoder"));
        let tapes: Vec<_> = values
            .iter()
            .filter_map(|v| v["tape"].as_str())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let peak = tapes
            .iter()
            .map(|tape| {
                let of: Vec<Value> = values.iter().filter(|v| v["tape"] == **tape).cloned().collect();
                sum(&of, "kept_bytes")
            })
            .fold(0.0, f64::max);
        (
            tapes.len(),
            ["flops_forward", "flops_backward"].map(|key| sum(&values, key)),
            peak,
            number(&step, "grad_norm"),
        )
    };
    let (one, [there, back], whole, norm) = of_encoder("plain");
    let (many, [there_again, back_again], chunk, norm_again) = of_encoder("again");
    assert!(one == 1 && many >= 6 && many % 2 == 0, "{many} tapes");
    assert!((norm_again / norm - 1.0).abs() < 1e-3, "{norm_again} and {norm}");
    assert!((there_again / there - 2.0).abs() < 0.01, "{there_again} and {there}");
    assert!((back_again / (there + back) - 1.0).abs() < 0.01, "{back_again} and {}", there + back);
    assert!(chunk < 0.2 * whole, "{chunk} of {whole}");
}

#[test]
fn a_classifier_has_a_graph_too() {
    let world = world();
    let more = ["--steps", "2", "--head", "classifier", "--loss", "supcon", "--set", "head.encoder_lr=0.01"];
    train(&world, "r", &more);
    let (values, step) = graph(&world, "r");
    let tapes: std::collections::BTreeSet<_> = values.iter().filter_map(|v| v["tape"].as_str()).collect();
    assert_eq!(tapes.into_iter().collect::<Vec<_>>(), ["classifier", "encoder", "queries"]);
    assert!(number(&step, "loss") > 0.0 && step["step"] == 3, "{step}");
    assert_eq!(step["unseen"], json!([]));
    // Over all labels a head learns beside the tapes, and whoever looks is told.
    train(&world, "all", &["--steps", "2", "--head", "classifier", "--loss", "bce"]);
    let shown = world.lode(&["inspect", "graph", "all", "--out", "all.html", "-q"]).ok().stdout;
    let page = String::from_utf8(world.read("all.html")).unwrap();
    assert!(shown.contains("not shown: the classifier's own gradient"), "{shown}");
    assert!(page.contains("Not shown: the classifier's own gradient"));
}

#[test]
fn what_cannot_be_shown_is_said_before_a_step_is_computed() {
    let world = world();
    train(&world, "r", &["--steps", "2"]);
    let check = |words: &[&str], code: i32, said: &str| {
        let ran = world.lode(&[&["inspect", "graph"], words].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
    };
    check(&["nowhere"], 3, "this is not the directory of a run");
    check(&["shop.data"], 3, "this is not the directory of a run");
    check(&["r", "--out", "g.png"], 2, "a page ends in .html, a drawing in .svg");
    check(&["r", "--out", "no/g.html"], 3, "there is no such folder");
    world.write("folder.html/x", "");
    check(&["r", "--out", "folder.html"], 3, "is a folder");
    check(&["r", "--dot", "no/g.dot"], 3, "there is no such folder");
    check(&["r", "--dot", "r/config.toml"], 5, "lies in the run");
    check(&["r", "--out", "g.svg", "--dot", "g.svg"], 3, "one file cannot be both");
    let data: &Path = &world.path("shop.data");
    std::fs::rename(data, world.path("elsewhere")).unwrap();
    check(&["r"], 3, "shop.data");
}

#[test]
fn a_key_unfolds_a_layer_and_the_browser_complains_of_nothing() {
    let Some(browser) = Browser::start() else {
        println!("skipped: a_key_unfolds_a_layer_and_the_browser_complains_of_nothing needs chromedriver");
        return;
    };
    let world = world();
    train(&world, "r", &["--steps", "2"]);
    world.lode(&["inspect", "graph", "r", "--out", "g.html", "-q"]).ok();
    browser.post("window/rect", &json!({"width": 500, "height": 800}));
    browser.post("url", &json!({"url": format!("file:{}", world.path("g.html").display())}));
    let press = |key: &str| {
        let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        browser.post("actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": keys}]}));
    };
    let open = "return document.querySelectorAll('details[open]').length";
    assert_eq!(browser.wait_for(open), 0);
    // To the embeddings, to the first layer, and Enter.
    ["\u{e004}", "\u{e004}", "\u{e007}"].into_iter().for_each(press);
    browser.wait_for(&format!("{open} === 1 || null"));
    let name = "return document.querySelector('details[open] b').textContent";
    assert_eq!(browser.wait_for(name), "layer 1");
    let seen = "const box = document.querySelector('details[open] text.op').getBoundingClientRect();
        return box.height > 8 && box.right < innerWidth || null";
    browser.wait_for(seen);
    let wide = "return document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.wait_for(wide), true, "nothing is wider than a narrow window");
    let log = browser.post("se/log", &json!({"type": "browser"}));
    assert_eq!(log, json!([]), "the console is empty");
}
