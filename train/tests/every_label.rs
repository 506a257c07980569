//! All labels in every step: as columns, which is what DEXML minimises, and their texts as queries.

mod world;

use engine::{Engine, Stream};
use std::path::{Path, PathBuf};
use train::plan::MemoryPlan;
use train::{Silent, Trainer, run};

const LABELS: usize = 40;

/// Titles with one to four of forty labels; the text of label 7 is that of label 3 in other spaces.
fn prepared(dir: &Path) -> PathBuf {
    let stream = Stream::new(5, 0);
    let mut csv = String::from("title,label\n");
    for row in 0..160u64 {
        let draw = |i: u64, n: u64| stream.below(16 * row + i, n);
        let mut labels: Vec<u64> = (0..1 + draw(0, 4)).map(|i| draw(1 + i, LABELS as u64)).collect();
        labels.push(row % LABELS as u64);
        let words: Vec<String> = (0..3).map(|i| format!("w{}", draw(8 + i, 50))).collect();
        let labels: Vec<String> = labels.iter().map(|l| label(*l)).collect();
        csv += &format!("{} n{row},{}\n", words.join(" "), labels.join("|"));
    }
    world::prepared(dir, &csv, 300, |source| {
        source.label_separator = Some("|".into());
        source.split = "100/0".parse().expect("a ratio");
    })
}

fn label(of: u64) -> String {
    if of == 7 { "label  w3".into() } else { format!("label w{of}") }
}

fn trainer(data: &Path, changes: &[&str]) -> Trainer {
    let base = [
        "model.source=tiny",
        "model.width=32",
        "model.dropout=0.0",
        "train.batch=12",
        "composer.name=shuffled",
        "negatives.from=all",
        "data.validation_per_mille=0",
    ];
    let settings = world::settings(data, &base, changes);
    run::assemble(&Engine::new(2), &settings).expect("assembles")
}

/// DEXML's loss of the next batch, from the scores alone: each positive against the negatives of its query.
fn decoupled(trainer: &Trainer, temperature: f64) -> f64 {
    let rows = trainer.mined(0);
    let mut losses: Vec<(u32, Vec<f64>)> = vec![];
    for row in &rows {
        let over = |score: f32| ((f64::from(score) - f64::from(row.positive.1)) / temperature).exp();
        let loss = row.negatives.iter().map(|n| over(n.1)).sum::<f64>().ln_1p();
        match losses.last_mut() {
            Some((query, of)) if *query == row.query => of.push(loss),
            _ => losses.push((row.query, vec![loss])),
        }
    }
    let means = losses.iter().map(|(_, of)| of.iter().sum::<f64>() / of.len() as f64);
    means.sum::<f64>() / losses.len() as f64
}

#[test]
fn the_loss_over_all_labels_is_the_decoupled_softmax() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = prepared(dir.path());
    for positives in ["train.positives=1", "train.positives=0"] {
        let mut trainer = trainer(&data, &[positives, "loss.temperature=0.1"]);
        let (loss, _) = trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
        let want = decoupled(&trainer, 0.1);
        assert!((loss - want).abs() < 1e-5 * want, "{positives}: {loss}, {want}");
    }
}

#[test]
fn every_label_that_is_not_known_of_a_query_is_its_negative() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = prepared(dir.path());
    let mut trainer = trainer(&data, &["train.positives=0"]);
    trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
    let set = trainer.data();
    assert_eq!(set.labels().len(), LABELS);
    let text = |l: u32| set.labels().title(l as usize).split_whitespace().collect::<Vec<_>>().join(" ");
    for row in trainer.mined(0) {
        let known: Vec<String> =
            set.positives(data::Split::Train, row.query as usize).iter().map(|&l| text(l)).collect();
        let foreign = |&l: &u32| !known.contains(&text(l));
        let want: Vec<u32> = (0..LABELS as u32).filter(foreign).collect();
        let mut got: Vec<u32> = row.negatives.iter().map(|n| n.0).collect();
        got.sort_unstable();
        assert_eq!(got, want, "query {}", row.query);
    }
}

#[test]
fn labels_encoded_in_chunks_give_the_gradient_of_all_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = prepared(dir.path());
    let gradient = |chunk: &str| {
        let mut trainer = trainer(&data, &[chunk, "model.dropout=0.1"]);
        trainer.gradient_of_next_batch(&mut Silent).expect("a gradient").1
    };
    let (whole, chunked) = (gradient("train.chunk=0"), gradient("train.chunk=7"));
    let largest = whole.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let off = whole.iter().zip(&chunked).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(largest > 1e-3 && off < 1e-5 * largest, "{off} of {largest}");
}

#[test]
fn after_a_warm_up_a_step_over_all_labels_takes_nothing_from_the_system() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = prepared(dir.path());
    let mut trainer = trainer(&data, &["train.chunk=8", "train.batch=4"]);
    // The first step makes the optimizer's state; the warm-up is the largest batch.
    trainer.next_step(&mut Silent).expect("steps");
    trainer.warm_up().expect("walks");
    let before = trainer.engine().pool_stats().system_allocations;
    for _ in 0..25 {
        trainer.next_step(&mut Silent).expect("steps");
    }
    assert_eq!(trainer.engine().pool_stats().system_allocations - before, 0);
}

/// The settings under which the texts of labels are queries, with a bank that has to hold them.
const AS_QUERIES: [&str; 4] =
    ["train.label_texts=true", "composer.name=ngame", "train.epochs=2", "train.batch=24"];

#[test]
fn the_text_of_a_label_is_a_query_whose_only_positive_is_that_label() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = prepared(dir.path());
    let mut trainer = trainer(&data, &["train.label_texts=true", "train.positives=0", "train.batch=500"]);
    trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
    let (set, rows) = (trainer.data(), trainer.mined(0));
    let titles = set.queries(data::Split::Train).len();
    assert_eq!(trainer.train_rows.len(), titles + LABELS);
    let of_labels: Vec<_> = rows.iter().filter(|r| r.query as usize >= titles).collect();
    assert_eq!(of_labels.len(), LABELS);
    let pairs: usize = (0..titles).map(|q| set.positives(data::Split::Train, q).len()).sum();
    assert_eq!(rows.len(), pairs + LABELS, "the queries of the data set have their labels as before");
    let twins: Vec<u32> =
        (0..LABELS as u32).filter(|&l| set.labels().title(l as usize).ends_with(" w3")).collect();
    assert_eq!(twins.len(), 2);
    for row in of_labels {
        let (label, score) = row.positive;
        assert_eq!(label as usize, row.query as usize - titles);
        assert!((score - 1.0).abs() < 1e-5, "the same text has the same embedding: {score}");
        // The other label of the same text is known of it, too.
        let known = if twins.contains(&label) { 2 } else { 1 };
        assert_eq!(row.negatives.len(), LABELS - known, "label {label}");
    }
}

#[test]
fn a_run_with_label_texts_resumes_bit_for_bit_with_and_without_a_classifier() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = prepared(dir.path());
    let base = ["model.source=tiny", "model.width=32", "train.lr=1e-3"];
    let heads: [&[&str]; 3] = [
        &[],
        &["head.name=classifier", "head.labels=all", "head.encoder_lr=1e-3"],
        &["head.name=classifier", "head.labels=sampled", "head.loss=supcon", "head.uniform=8"],
    ];
    for (i, head) in heads.into_iter().enumerate() {
        let settings = world::settings(&data, &base, &[&AS_QUERIES[..], head].concat());
        let begin =
            |name: &str| run::begin(&Engine::new(2), &settings, &dir.path().join(name)).expect("begins");
        let (mut whole, of_whole) = begin(&format!("whole{i}"));
        run::run(&mut whole, &of_whole, &mut Silent).expect("trains");
        assert!(whole.total_steps() > 10, "{} steps", whole.total_steps());
        let out = format!("stopped{i}");
        let (mut stopped, of_stopped) = begin(&out);
        run::run(&mut stopped, &of_stopped, &mut world::StopAfter(9)).expect("stops");
        drop((stopped, of_stopped));
        let (mut again, of_again) =
            run::resume(&Engine::new(1), &dir.path().join(out), &mut Silent).expect("resumes");
        run::run(&mut again, &of_again, &mut Silent).expect("ends");
        assert!(world::bits(&again) == world::bits(&whole), "{head:?}: other bits");
        let weights = |trainer: &Trainer| trainer.classifier().map(|c| c.rows);
        assert!(weights(&again) == weights(&whole), "{head:?}: other weights");
    }
}

#[test]
fn a_step_through_factors_is_planned_by_the_labels_of_its_titles() {
    let step = |each: usize| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut csv = String::from("title,label\n");
        for row in 0..600 {
            let labels: Vec<String> = (0..each).map(|j| format!("l{}", (row * each + j) % 300)).collect();
            csv += &format!("title {row},{}\n", labels.join(";"));
        }
        let data = world::prepared(dir.path(), &csv, 400, |source| source.label_separator = Some(";".into()));
        let base = ["model.source=bag", "model.width=32", "train.batch=24", "head.name=classifier"];
        let settings = world::settings(&data, &base, &["head.loss=zloss"]);
        let trainer = run::assemble(&Engine::new(1), &settings).expect("assembles");
        MemoryPlan::new(&trainer).parts.iter().find(|p| p.0 == "head step").expect("a part").1
    };
    // A batch of 24 titles, of a label each or of eight: 28 bytes of each number of a row that is touched.
    let more = step(8).saturating_sub(step(1));
    assert!((28 * 32 * 90..28 * 32 * 8 * 24).contains(&more), "{more}");
}
