//! `lode report`: the page, of a run that was stopped and went on, and of two runs; looked at by a browser.

use crate::products;
use crate::run::World;
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TRAIN: [&str; 10] =
    ["train", "d", "--model", "bag", "--batch", "16", "--lr", "1e-2", "--set", "model.width=16"];

fn world() -> World {
    let world = World::new();
    world.write("t.csv", products::csv(400));
    let words = ["prepare", "t.csv", "--train-vocab", "300", "--text", "title", "--labels", "category", "-q"];
    world.lode(&[&words[..], &["--out", "d"]].concat()).ok();
    world
}

fn train(world: &World, more: &[&str]) {
    world.lode(&[&TRAIN[..], &["--set", "data.validation_per_mille=100", "-q"], more].concat()).ok();
}

fn text(world: &World, name: &str) -> String {
    String::from_utf8(world.read(name)).unwrap()
}

#[test]
fn a_run_and_a_page_say_the_same() {
    let world = world();
    train(&world, &["--epochs", "3", "--out", "r", "--set", "save.log_every=5"]);
    let told = world.lode(&["report", "r", "--json"]).ok().json();
    assert_eq!(
        (&told["page"], &told["runs"][0]["finished"]),
        (&"r/report.html".into(), &true.into()),
        "{told}"
    );

    let page = text(&world, "r/report.html");
    let lines: Vec<Value> =
        text(&world, "r/log.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    for (name, value) in last["metrics"].as_object().unwrap() {
        let cell = format!("<td>{name}</td><td>{:.2} %</td>", 100.0 * value.as_f64().unwrap());
        assert!(page.contains(&cell), "{cell}");
    }
    assert_eq!(told["runs"][0]["validation"]["P@1"].as_f64().unwrap(), {
        (last["metrics"]["P@1"].as_f64().unwrap() * 1e6).round() / 1e6
    });
    for bin in ["head", "torso", "tail"] {
        assert!(last["by_frequency"][bin]["metrics"]["P@1"].is_number(), "{bin}: {last}");
        assert!(page.contains(&format!("<td>{bin}</td>")), "{bin}");
    }
    let clusters: Vec<&Value> = lines.iter().filter(|line| line["clusters"].is_object()).collect();
    assert!(!clusters.is_empty() && page.contains("<h2>Clusters</h2>"), "{lines:?}");
    let step = lines.iter().find(|line| line["loss"].is_number()).unwrap();
    assert!(step["positive_score"].is_number() && step["hardest_score"].is_number(), "{step}");

    // Curves of three measures and by time, of loss, rate, norm, speed, scores, negatives, masks.
    assert_eq!(page.matches("<figure>").count(), 11);
    assert!(page.contains("<td class=\"text\">train.batch</td>") && page.contains(">256</td>"));
    for absent in ["<script", "NaN", "inf\"", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn a_run_that_was_stopped_has_two_processes_and_one_time() {
    let world = world();
    let words = [&TRAIN[..], &["--epochs", "400", "--out", "r", "--set", "save.log_every=1"]].concat();
    let mut child = world.start(&words, Stdio::null());
    let since = Instant::now();
    while std::fs::read(world.path("r/log.jsonl")).map_or(0, |log| log.len()) < 4000 {
        assert!(since.elapsed() < Duration::from_secs(60), "it does not train");
        std::thread::sleep(Duration::from_millis(2));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap();
    let page = |world: &World| {
        world.lode(&["report", "r"]).ok();
        text(world, "r/report.html")
    };
    assert!(page(&world).contains("Not finished"), "a run under way has a page");
    world.lode(&["resume", "r", "-q"]).ok();
    let processes = text(&world, "r/processes.jsonl");
    let all: Vec<Value> = processes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(all.len(), 4, "{processes}");
    assert_eq!(all[1]["ends_at_step"], all[2]["begins_at_step"]);
    let told = world.lode(&["report", "r", "--json"]).ok().json();
    assert_eq!((&told["runs"][0]["finished"], &told["runs"][0]["processes"]), (&true.into(), &2.into()));
    let both: f64 = [1, 3].iter().map(|&i| all[i]["seconds"].as_f64().unwrap()).sum();
    let seconds = told["runs"][0]["seconds"].as_f64().unwrap();
    assert!(seconds > 0.5 * both && seconds <= both, "{seconds} of {both}");
    // Going on with what is over trains nothing: no process is told of.
    world.lode(&["resume", "r", "-q"]).ok();
    assert_eq!(text(&world, "r/processes.jsonl"), processes);
}

#[test]
fn two_runs_lie_over_each_other() {
    let world = world();
    train(&world, &["--epochs", "2", "--out", "random", "--composer", "shuffled"]);
    train(&world, &["--epochs", "2", "--out", "near & far"]);
    world.lode(&["report", "random", "near & far", "--out", "two.html"]).ok();
    let page = text(&world, "two.html");
    assert!(
        page.contains("<h1>2 runs</h1>") && page.contains("near &amp; far") && !page.contains("near & far")
    );
    assert!(page.matches("<span class=\"key\">").count() >= 22, "every chart has both");
    assert!(page.contains("<td class=\"text\">composer.name</td>"), "what differs is told");
    let none = world.lode(&["report", "t.csv"]);
    assert_eq!(none.code, 3, "{}", none.stderr);
}

#[test]
fn a_browser_shows_the_page_and_complains_of_nothing() {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(|name| {
        Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }) else {
        println!("skipped: a_browser_shows_the_page_and_complains_of_nothing needs chromium");
        return;
    };
    let world = world();
    train(&world, &["--epochs", "2", "--out", "r"]);
    world.lode(&["report", "r"]).ok();
    let flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"];
    let profile = format!("--user-data-dir={}", world.path("profile").display());
    let page = world.path("r/report.html");
    let out = Command::new(browser).args(flags).arg(profile).arg(page).output().unwrap();
    let (dom, said) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(dom.contains("Learning rate") && dom.matches("<svg").count() >= 11, "{dom}\n{said}");
    assert!(!said.contains("CONSOLE"), "{said}");
}
