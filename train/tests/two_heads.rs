//! The promises of a classifier and a dual encoder that learn at once (UniDEC): both rank, the plan counts the texts
//! of labels, and what does not go together is named. Gradients are checked beside the step, `train/src/head/few.rs`;
//! resuming, threads and mapped tables with the other ways of a classifier, `train/tests/head.rs`.

mod world;

use data::metrics::Metric;
use data::{DataSet, Split, Verify};
use engine::{Engine, Stream};
use std::path::{Path, PathBuf};
use train::evaluate::{Options, Queries, evaluate_with};
use train::index::Index;
use train::plan::MemoryPlan;
use train::scoring::Score;
use train::{Silent, Trainer, load, run};

const BASE: [&str; 8] = [
    "strategy.name=unidec",
    "model.source=bag",
    "model.width=32",
    "train.batch=24",
    "train.lr=1e-2",
    "train.warmup_steps=2",
    "head.encoder_lr=1e-2",
    "data.validation_per_mille=100",
];

fn assembled(data: &Path, changes: &[&str]) -> Trainer {
    run::assemble(&Engine::new(2), &world::settings(data, &BASE, changes)).expect("assembles")
}

/// P@1 of a run by label texts and by label weights.
fn ranked(data: &Path, out: &Path, changes: &[&str]) -> [f64; 2] {
    let (mut trainer, run_dir) =
        run::begin(&Engine::new(2), &world::settings(data, &BASE, changes), out).expect("begins");
    assert!(run::run(&mut trainer, &run_dir, &mut Silent).expect("trains").finished);
    let (set, engine) = (DataSet::open(data, Verify::Header).expect("opens"), Engine::new(2));
    let network = load::network(out).expect("a network");
    let index = Index::build(&engine, &network, &set, false, &mut Silent).expect("an index");
    let index = index.with_classifier(load::classifier(out, &set).expect("reads")).expect("it fits");
    [Score::Text, Score::Classifier].map(|score| {
        let metrics = Metric::list("P@1").expect("a metric");
        let options = Options { metrics, score, ..Options::default() };
        let queries = Queries { split: Split::Test, rows: None };
        let found = evaluate_with(&engine, &network, &index, &set, queries, &options, &mut Silent);
        found.expect("measured").metrics[0].1
    })
}

/// Forty topics of six words; a title is words of its topic and one of another. A label is called by a number, which
/// stands in no title: where it belongs its text has to learn.
fn numbered(dir: &Path, titles: u64) -> PathBuf {
    let s = Stream::new(12, 0);
    let mut csv = String::from("title,label\n");
    for row in 0..titles {
        let draw = |i: u64, n: u64| s.below(8 * row + i, n);
        let topic = draw(0, 40);
        let words: Vec<String> = (1..4).map(|i| format!("w{topic}x{}", draw(i, 6))).collect();
        csv += &format!("{} w{}x{},number {topic}\n", words.join(" "), draw(4, 40), draw(5, 6));
    }
    world::prepared(dir, &csv, 400, |_| ())
}

#[test]
fn a_classifier_leaves_texts_behind_that_both_heads_take_along() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = numbered(dir.path(), 1000);
    // Weights that learn fast leave the texts where they began.
    let with = |share: &str| {
        let changes = ["train.epochs=8", "train.lr=0.1", &format!("head.text_share={share}")];
        ranked(&data, &dir.path().join(share), &changes)
    };
    let ([text_alone, weights_alone], [text, weights]) = (with("0.0"), with("0.5"));
    assert!(text_alone < 0.2 && text > 0.7, "texts: {text}, without their head {text_alone}");
    assert!(weights > 0.7 && weights_alone > 0.7, "weights: {weights}, alone {weights_alone}");
}

#[test]
fn the_plan_counts_the_texts_of_labels() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world::topics(dir.path(), 300);
    let mut trainer = assembled(&data, &["train.epochs=1"]);
    let plan = MemoryPlan::new(&trainer);
    let without = MemoryPlan::new(&assembled(&data, &["train.epochs=1", "head.text_share=0.0"]));
    let of = |plan: &MemoryPlan, name: &str| plan.parts.iter().find(|(n, _)| *n == name).expect("a part").1;
    for part in ["activations", "head step"] {
        assert!(of(&plan, part) > of(&without, part), "{part}");
    }
    for _ in 0..trainer.total_steps() {
        let report = trainer.next_step(&mut Silent).expect("a step");
        let most = 1.1 * plan.tokens as f64;
        assert!(report.tokens as f64 <= most, "a step of {} tokens, planned {}", report.tokens, plan.tokens);
        assert!(report.tokens > without.tokens as u64, "labels are among them");
    }
}

#[test]
fn wrong_settings_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world::topics(dir.path(), 130);
    for (change, want) in [
        ("head.text_share=1.0", "must be in [0, 1), it is 1"),
        ("head.text_share=-0.1", "must be in [0, 1), it is -0.1"),
        ("head.text_share=nan", "must be in [0, 1)"),
        ("head.encoder_lr=0.0", "--set head.encoder_lr=1e-4"),
        ("head.labels=all", "--set head.labels=sampled"),
        ("head.labels=live", "--set head.labels=sampled"),
        ("head.loss=zloss", "--set head.labels=sampled"),
        ("head.name=none", "--head classifier"),
        ("head.teacher=start", "leave one of them away"),
    ] {
        let more =
            if change.contains("teacher") { ["head.loss=bce", "train.label_texts=true"] } else { [""; 2] };
        let more = more.into_iter().filter(|change| !change.is_empty());
        let changes: Vec<&str> = ["strategy.name=unidec", change].into_iter().chain(more).collect();
        let error = world::settings_of(&data, &changes).map(drop).expect_err(change).to_string();
        assert!(error.contains(want), "{change}: {error}");
    }
}
