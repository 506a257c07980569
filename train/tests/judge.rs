//! A cross-encoder judges what was found: in `lode mine`, and for the lists of a run. It is the tiny one of
//! `tests/golden/cross`, whose numbers are checked against PyTorch elsewhere.

mod world;

use data::{DataSet, Split, Verify};
use engine::Engine;
use samplers::mining::{Reason, Rules};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use train::judge::Judge;
use train::mining::{Mined, Mining, Models, Options};
use train::{Silent, run};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cross").join(name)
}

/// Titles and labels of the words that the cross-encoder knows.
fn words(dir: &Path) -> PathBuf {
    let words =
        ["red", "blue", "green", "shoe", "boot", "lamp", "chair", "table", "wood", "steel", "small", "large"];
    let text = |i: usize, n: usize| -> String {
        let at = |k: usize| words[(i * (2 * k + 3) + k * k + i / 12) % words.len()];
        (0..n).map(at).collect::<Vec<_>>().join(" ")
    };
    let rows: String =
        (0..240).map(|i| format!("{},{}\n", text(i, 2 + i % 3), text(i % 70 * 5 + 1, 2))).collect();
    world::prepared(dir, &format!("title,label\n{rows}"), 100, |_| ())
}

#[test]
fn scores_are_those_of_sentence_transformers() {
    for family in ["bert", "roberta"] {
        let judge = Judge::read(&folder(family)).expect("a judge");
        let text = std::fs::read_to_string(folder(family).join("pairs.json")).expect("pairs");
        let rows: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        for row in &rows {
            let (first, second) =
                (row["first"].as_str().expect("text"), row["second"].as_str().expect("text"));
            let got = judge.scores(&Engine::new(1), first, [second]).expect("scores");
            let want = row["predicted"].as_f64().expect("a number");
            assert!(
                (f64::from(got[0]) - want).abs() < 2e-6,
                "{family} {first} {second}: {got:?} is not {want}"
            );
        }
        let first = rows[0]["first"].as_str().expect("text");
        let many = judge.scores(&Engine::new(2), first, std::iter::repeat_n("small boot of steel", 700));
        assert!(many.expect("scores").windows(2).all(|two| two[0] == two[1]), "chunks change nothing");
    }
}

/// To mine for the training queries, behind prompts of queries and labels.
fn behind(rules: Rules, prompts: [&str; 2]) -> Options {
    let [query_prompt, corpus_prompt] = prompts.map(str::to_owned);
    Options { split: Split::Train, rules, seed: 1, query_prompt, corpus_prompt, memory: 1 << 30, cache: None }
}

#[test]
fn mined_negatives_have_the_scores_of_the_judge_and_rules_ask_these() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = DataSet::open(&words(dir.path()), Verify::Full).expect("opens");
    let settings = world::settings(data.path(), &["model.source=bag", "model.width=8"], &[]);
    let trainer = run::assemble(&Engine::new(1), &settings).expect("fits");
    let (engine, judge) = (Engine::new(2), Judge::read(&folder("bert")).expect("a judge"));
    let mine = |judge: Option<&Judge>, rules: Rules, work: &str| {
        // The encoder's, not the judge's.
        let options = behind(rules, ["a ", "the "]);
        let models = Models { network: &trainer.network, judge };
        let mining = Mining::new(&engine, models, &data, options, &dir.path().join(work)).expect("planned");
        mining.run(&mut Silent).expect("mined");
        let mut all: Vec<Mined> = vec![];
        let statistics = mining.rows(&mut |mined| {
            all.push(mined.clone());
            Ok(())
        });
        (all, statistics.expect("rows"))
    };
    // All labels are looked at, so the judge alone decides.
    let rules =
        Rules { num_negatives: 9, range_max: Some(10_000), max_score: Some(0.45), ..Rules::default() };
    let (found, statistics) = mine(Some(&judge), rules, "judged");
    let score = |q: u32, l: u32| {
        let query = data.queries(Split::Train).text(q as usize).into_owned();
        judge.scores(&engine, &query, [&*data.labels().text(l as usize)]).expect("scores")[0]
    };
    let labels = data.labels().len() as u32;
    for mined in found.iter().step_by(7) {
        assert!(mined.positives.iter().all(|&(l, s)| (s - score(mined.query, l)).abs() < 1e-6));
        let own: Vec<u32> = mined.positives.iter().map(|p| p.0).collect();
        let mut want: Vec<(u32, f32)> =
            (0..labels).filter(|l| !own.contains(l)).map(|l| (l, score(mined.query, l))).collect();
        want.retain(|(_, score)| *score <= 0.45);
        want.sort_by(|a, b| b.1.total_cmp(&a.1));
        assert_eq!(mined.negatives.len(), 9.min(want.len()));
        for (got, want) in mined.negatives.iter().zip(&want) {
            assert!((got.1 - want.1).abs() < 1e-6, "{got:?} {want:?}");
        }
    }
    assert!(statistics.skipped.iter().any(|&(reason, n)| reason == Reason::MaxScore && n > 100));
    let plain = Rules { max_score: None, ..rules };
    assert_ne!(mine(None, plain, "plain").0, mine(Some(&judge), plain, "again").0);
    // Another judge is other work, whatever lies in the folder.
    assert_ne!(mine(None, rules, "judged").0, found);
}

/// Every label is a candidate, so who embeds does not matter: the judge and the rules decide.
#[test]
fn what_is_mined_with_a_judge_is_what_sentence_transformers_mines() {
    let text = std::fs::read_to_string(folder("bert").join("mined.json")).expect("mined");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let word = |value: &Value| value.as_str().expect("text").to_owned();
    let labels: Vec<String> = golden["labels"].as_array().expect("labels").iter().map(word).collect();
    let mut queries: Vec<(String, Vec<usize>)> = vec![];
    for pair in golden["pairs"].as_array().expect("pairs") {
        let (query, label) = (word(&pair[0]), word(&pair[1]));
        let label = labels.iter().position(|l| *l == label).expect("a label");
        match queries.iter_mut().find(|(known, _)| *known == query) {
            Some((_, of)) => of.push(label),
            None => queries.push((query, vec![label])),
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, lines: String| std::fs::write(dir.path().join(name), lines).expect("written");
    let row = |i: usize, title: &str, of: &[usize]| {
        format!("{}\n", serde_json::json!({"uid": format!("{i}"), "title": title, "target_ind": of}))
    };
    write("lbl.jsonl", labels.iter().enumerate().map(|(i, l)| row(i, l, &[])).collect());
    write("trn.jsonl", queries.iter().enumerate().map(|(i, (q, of))| row(i, q, of)).collect());
    write("tst.jsonl", row(0, "red", &[0]));
    let out = dir.path().join("set.lode");
    let options = data::PrepareOptions::new(&out, data::TokenizerChoice::Train(100));
    data::prepare(&data::Source::Jsonl(dir.path().into()), &options, &mut |_| {}).expect("prepared");
    let data = DataSet::open(&out, Verify::Full).expect("opens");
    let settings = world::settings(&out, &["model.source=bag", "model.width=8"], &[]);
    let (engine, judge) = (Engine::new(1), Judge::read(&folder("bert")).expect("a judge"));
    let trainer = run::assemble(&engine, &settings).expect("fits");
    let of = |name: &str| golden["options"][name].as_f64().expect("a number");
    let rules = Rules {
        relative_margin: Some(of("relative_margin") as f32),
        min_score: Some(of("min_score") as f32),
        range_min: of("range_min") as usize,
        range_max: Some(of("range_max") as usize),
        num_negatives: of("num_negatives") as usize,
        ..Rules::default()
    };
    let options = behind(rules, [""; 2]);
    let models = Models { network: &trainer.network, judge: Some(&judge) };
    let mining = Mining::new(&engine, models, &data, options, &dir.path().join("work")).expect("planned");
    mining.run(&mut Silent).expect("mined");
    let mut compared = 0;
    let each = &mut |mined: &Mined| {
        let query = data.queries(Split::Train).title(mined.query as usize).to_owned();
        let want = &golden["negatives"][&query];
        let none = vec![];
        let texts = want[0].as_array().unwrap_or(&none);
        assert_eq!(mined.negatives.len(), texts.len(), "{query}");
        for (i, &(label, score)) in mined.negatives.iter().enumerate() {
            assert_eq!(data.labels().title(label as usize), word(&texts[i]), "{query}");
            assert!((f64::from(score) - want[1][i].as_f64().expect("a score")).abs() < 2e-6, "{query}");
            compared += 1;
        }
        Ok(())
    };
    mining.rows(each).expect("rows");
    assert!(compared > 80, "{compared}");
}

#[test]
fn lists_of_a_run_are_judged_before_the_rules_are_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = words(dir.path());
    let rescore = format!("negatives.rescore={}", folder("bert").display());
    let drawn = |changes: &[&str]| -> HashMap<u32, Vec<u32>> {
        let base = [
            "model.source=bag",
            "model.width=8",
            "train.batch=30",
            "strategy.name=ance",
            "negatives.count=3",
            "negatives.depth=40",
            "negatives.pick=top",
        ];
        let mut trainer =
            run::assemble(&Engine::new(1), &world::settings(&data, &base, changes)).expect("fits");
        trainer.gradient_of_next_batch(&mut Silent).expect("plans");
        let rows = trainer.mined(0).into_iter();
        rows.map(|row| (row.query, row.negatives.into_iter().map(|n| n.0).collect())).collect()
    };
    let judge = Judge::read(&folder("bert")).expect("a judge");
    let set = DataSet::open(&data, Verify::Full).expect("opens");
    let score = |q: u32, l: u32| {
        let query = set.queries(Split::Train).text(q as usize).into_owned();
        judge.scores(&Engine::new(1), &query, [&*set.labels().text(l as usize)]).expect("scores")[0]
    };
    let judged = drawn(&[&rescore, "negatives.max_score=0.45"]);
    let (mut met, mut above) = (0, 0);
    for (query, labels) in drawn(&["negatives.max_score=0.45"]) {
        above += labels.iter().filter(|&&label| score(query, label) > 0.45).count();
        let of_judge = &judged[&query];
        met += of_judge.len();
        assert!(of_judge.iter().all(|&label| score(query, label) <= 0.45), "{query}: {of_judge:?}");
    }
    assert!(met > 60 && above > 5, "{met} {above}");
    let refused = world::settings_of(&data, &["strategy.name=rocketqa"]);
    assert!(refused.expect_err("no judge").to_string().contains("negatives.rescore=DIR"));
}
