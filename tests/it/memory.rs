//! The memory plan against the memory: what `--dry-run` predicts, and what the system sees.
//!
//! The peak of `RssAnon` (heap and stacks; a mapped data set is not among it) is sampled while the run works.

use crate::catalogue;
use crate::products;
use crate::run::World;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// How far the prediction may be from the peak.
const TOLERANCE: f64 = 0.10;
/// MB of threads and program that are planned and not needed by who does little.
const IDLE: f64 = 8.0;

/// The most anonymous memory of a process that is run to its end, in bytes.
fn sampled_peak(world: &World, words: &[&str]) -> u64 {
    let mut child = world.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("RssAnon:"));
        let kilobytes: u64 = line.map_or(0, |l| l.trim().trim_end_matches(" kB").parse().unwrap());
        peak = peak.max(kilobytes * 1024);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success(), "{words:?}");
    peak
}

/// A row of the table: is the prediction near the peak?
fn check(world: &World, name: &str, words: &[&str]) -> bool {
    let [predicted, sampled] = measure(world, name, words);
    (predicted / sampled - 1.0).abs() <= TOLERANCE
}

/// A row of the table: prediction and peak, in MB.
fn measure(world: &World, name: &str, words: &[&str]) -> [f64; 2] {
    let words = [&["train"], words, &["--out", name, "-q", "--threads", "2"]].concat();
    let plan = world.lode(&[&words[..], &["--dry-run", "--json"]].concat()).ok().json();
    let predicted = plan["total_bytes"].as_u64().unwrap() as f64 / 1e6;
    let sampled = sampled_peak(world, &words) as f64 / 1e6;
    let off = predicted / sampled - 1.0;
    let parts: Vec<String> = plan["parts_bytes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(part, b)| format!("{part} {:.1}", b.as_f64().unwrap() / 1e6))
        .collect();
    println!("{name:<16} {predicted:8.1} {sampled:8.1} {:+6.1} %   {}", 100.0 * off, parts.join(", "));
    [predicted, sampled]
}

const HEAD: &str = "MB               planned  sampled  difference";

#[test]
fn the_plan_is_near_the_peak() {
    if !cfg!(target_os = "linux") {
        println!("skipped: the_plan_is_near_the_peak needs /proc");
        return;
    }
    let world = World::new();
    world.write("products.csv", products::csv(6000));
    let words: Vec<&str> = products::PREPARE.iter().map(|w| if *w == "400" { "2000" } else { w }).collect();
    world.lode(&words).ok();
    println!("{HEAD}");
    let tiny = ["shop.data", "--model", "tiny", "--set", "model.width=256", "--batch", "512", "--steps", "4"];
    let pairs = ["shop.data", "--model", "tiny", "--set", "model.width=256", "--batch", "64", "--steps", "4"];
    // Lists of a model are full.
    let crosses = [&pairs[..], &["--strategy", "cross-encoder", "--set", "negatives.from=model"]].concat();
    let small = ["shop.data", "--model", "small", "--batch", "128", "--steps", "4"];
    let bag = ["shop.data", "--model", "bag", "--set", "model.width=512", "--batch", "1024", "--epochs", "2"];
    let rows = [
        check(&world, "tiny", &tiny),
        check(&world, "tiny shuffled", &[&tiny[..], &["--composer", "shuffled"]].concat()),
        check(&world, "tiny chunk", &[&tiny[..], &["--chunk", "64"]].concat()),
        check(&world, "tiny recompute", &[&tiny[..], &["--recompute"]].concat()),
        check(&world, "tiny twice", &[&tiny[..], &["--set", "train.accumulate=2"]].concat()),
        check(&world, "tiny gist", &[&tiny[..], &["--strategy", "gist"]].concat()),
        check(&world, "tiny ance", &[&tiny[..], &["--strategy", "ance"]].concat()),
        check(&world, "cross-encoder", &crosses),
        check(&world, "cross chunk", &[&crosses[..], &["--chunk", "64"]].concat()),
        check(
            &world,
            "ar2",
            &[&pairs[..], &["--strategy", "ar2", "--set", "negatives.refresh_steps=4"]].concat(),
        ),
        check(&world, "small", &small),
        check(&world, "small recompute", &[&small[..], &["--recompute"]].concat()),
        check(&world, "bag", &bag),
        check(&world, "bag ps-kd", &[&bag[..], &["--strategy", "ps-kd"]].concat()),
    ];
    assert!(rows.iter().all(|near| *near));
}

#[test]
fn the_plan_is_near_the_peak_for_many_labels_on_the_heap_and_mapped() {
    if !cfg!(target_os = "linux") {
        println!("skipped: the_plan_is_near_the_peak_for_many_labels_on_the_heap_and_mapped needs /proc");
        return;
    }
    let world = World::new();
    catalogue::prepare(&world, 100_000);
    println!("{HEAD}");
    let words = "shop.data --model bag --set model.width=128 --head classifier --batch 64 --steps 12";
    let all = |more: &'static str| words.split(' ').chain(more.split(' ')).collect::<Vec<&str>>();
    let sampled = "--loss supcon --set head.precision=bf16 --set head.optimizer=adagrad";
    // Moments of labels that no step has met are zeros that take no memory yet: with Adam, all labels are trained.
    let rows = [
        check(&world, "sampled", &all(sampled)),
        check(&world, "all", &all("--loss bce --set head.labels=all")),
    ];
    assert!(rows.iter().all(|near| *near));
    // What is left is small and planned for the worst: weights and two moments, 154 MB, are not among it.
    let [predicted, peak] = measure(&world, "mapped", &all("--loss bce --set head.labels=all --scratch ."));
    assert!(peak <= predicted * (1.0 + TOLERANCE) && predicted < 50.0, "{peak} MB, planned {predicted}");
}

#[test]
fn the_plan_is_near_the_peak_for_a_pretrained_encoder() {
    let shared = std::env::var_os("LODE_SHARED").map(PathBuf::from);
    let Some(shared) = shared.filter(|_| cfg!(target_os = "linux")) else {
        println!("skipped: the_plan_is_near_the_peak_for_a_pretrained_encoder needs LODE_SHARED and /proc");
        return;
    };
    let world = World::new();
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let (data, model) =
        (name(&shared.join("data/finna-small")), name(&shared.join("models/all-MiniLM-L6-v2")));
    world.lode(&["prepare", &data, "--format", "jsonl", "--out", "finna", "--tokenizer", &model, "-q"]).ok();
    println!("{HEAD}");
    let words = ["finna", "--model", &model, "--batch", "256", "--steps", "6"];
    assert!(check(&world, "MiniLM-L6", &words));
}

/// What a verb says that it needs, in MB: it is refused for that.
fn needed(world: &World, words: &[&str]) -> f64 {
    let refused = world.lode(&[words, &["--max-memory", "1k", "--threads", "2"]].concat());
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(refused.stderr.contains("parameters") && refused.stderr.contains("help"), "{}", refused.stderr);
    let said = refused.stderr.split("needs ").nth(1).and_then(|rest| rest.split(" MB").next());
    said.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{}", refused.stderr))
}

#[test]
fn who_looks_at_a_run_says_before_what_that_takes() {
    if !cfg!(target_os = "linux") {
        println!("skipped: who_looks_at_a_run_says_before_what_that_takes needs /proc");
        return;
    }
    let world = World::new();
    world.write("products.csv", products::csv(6000));
    let words: Vec<&str> = products::PREPARE.iter().map(|w| if *w == "400" { "2000" } else { w }).collect();
    world.lode(&words).ok();
    let bag = ["train", "shop.data", "--model", "bag", "--set", "model.width=1024", "--batch", "512"];
    world.lode(&[&bag[..], &["--epochs", "1", "--out", "bag", "-q"]].concat()).ok();
    let tiny = ["train", "shop.data", "--model", "tiny", "--batch", "256", "--steps", "3", "-q", "--out"];
    world.lode(&[&tiny[..], &["tiny"]].concat()).ok();
    let head = ["head", "--head", "classifier", "--set", "head.encoder_lr=1e-4"];
    world.lode(&[&tiny[..], &head].concat()).ok();
    println!("{HEAD}");
    // What is over within milliseconds has its peak between two samples now and then: it is run more often.
    let check = |name: &str, words: &[&str], runs: usize| {
        let (planned, words) = (needed(&world, words), [words, &["--threads", "2", "-q"]].concat());
        let peaks = (0..runs).map(|_| sampled_peak(&world, &words));
        let sampled = peaks.max().unwrap() as f64 / 1e6;
        let off = planned / sampled - 1.0;
        println!("{name:<16} {planned:8.1} {sampled:8.1} {:+6.1} %", 100.0 * off);
        planned >= sampled * (1.0 - TOLERANCE) && planned <= sampled * (1.0 + TOLERANCE) + IDLE
    };
    let rows = [
        check("negatives", &["inspect", "negatives", "bag"], 1),
        check("negatives head", &["inspect", "negatives", "head"], 1),
        check("graph", &["inspect", "graph", "tiny"], 2),
        check("graph head", &["inspect", "graph", "head"], 2),
        check("explain", &["explain", "bag", "--text", "red shoe"], 1),
        // The index is a mapped file by now.
        check("explain mapped", &["explain", "bag", "--text", "red shoe"], 10),
    ];
    assert!(rows.iter().all(|&near| near), "{rows:?}");
}

/// Weights and two moments of 20,000 labels are 31 MB: more than the limit leaves beside the rest.
#[test]
fn who_looks_at_a_run_of_many_labels_maps_their_tables() {
    if !cfg!(target_os = "linux") {
        println!("skipped: who_looks_at_a_run_of_many_labels_maps_their_tables needs /proc");
        return;
    }
    let world = World::new();
    catalogue::prepare(&world, 20_000);
    let words =
        "train shop.data --model bag --set model.width=128 --head classifier --loss bce --batch 64 --steps 4";
    let words = words.split(' ').chain(["--set", "head.labels=all", "--out", "run", "-q"]);
    world.lode(&words.collect::<Vec<&str>>()).ok();
    println!("{HEAD}");
    for what in ["negatives", "graph"] {
        let words = ["inspect", what, "run"];
        let limit = needed(&world, &words) + 4.0;
        assert!(limit < 30.0, "{what}: {limit} MB, as if the tables were not mapped");
        let limit_k = format!("{}k", (limit * 1000.0) as u64);
        let words = [&words[..], &["--max-memory", &limit_k, "--threads", "2", "-q"]].concat();
        let sampled = sampled_peak(&world, &words) as f64 / 1e6;
        println!("{what:<16} {limit:8.1} {sampled:8.1}");
        assert!(sampled <= limit, "{what}: {sampled} MB under a limit of {limit} MB");
    }
}
