//! An encoder trained against all labels: what DEXML minimises, by the parts that are there.

mod world;

use engine::{Engine, Stream};
use std::path::{Path, PathBuf};
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
        "loss.labels=all",
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
    trainer.warm_up();
    let before = trainer.engine().pool_stats().system_allocations;
    for _ in 0..25 {
        trainer.next_step(&mut Silent).expect("steps");
    }
    assert_eq!(trainer.engine().pool_stats().system_allocations - before, 0);
}
