//! What a row loses does not depend on where it stands, nor on labels that are its own under another number.

use super::*;
use crate::config::Settings;
use crate::{fixture, recipes, run};
use autograd::Tape;
use engine::Engine;
use std::path::Path;

/// Strategies whose negatives are those of the batch, and whose loss is told row by row.
const STRATEGIES: [&str; 4] =
    ["in-batch", "gte", "hardness", "hardness loss.name=infonce loss.temperature=0.5"];

fn assembled(dir: &Path, strategy: &str) -> Trainer {
    let mut settings = Settings::default();
    settings.flag("data.path", dir.join("t.lode").to_str().expect("a name"), "DATA").expect("a path");
    let (name, more) = strategy.split_once(' ').unwrap_or((strategy, ""));
    let name = format!("strategy.name={name}");
    let base =
        ["model.source=tiny", "model.width=16", "model.dropout=0", "data.validation_per_mille=0", &name];
    let set = |change: &str| settings.set(change).expect("a setting");
    base.into_iter().chain(more.split_whitespace()).for_each(set);
    recipes::apply_defaults(&mut settings).expect("defaults");
    run::assemble(&Engine::new(2), &settings).expect("assembles")
}

/// The loss of each row of a batch, in the order of the batch.
fn losses(trainer: &Trainer, rows: &[u32]) -> Vec<f32> {
    let (engine, stream) = (&trainer.engine, trainer.stream(0));
    let batch = Batch::compose(trainer.source(), rows, stream);
    assert_eq!(batch.rows, rows, "a label each");
    let tape = Tape::inference(engine);
    let embeddings = trainer.network.encode(&tape, &batch.texts, 0, None);
    let columns = batch.columns(embeddings, None, None);
    let scores = batch.scores(embeddings, columns, trainer.parts.similarity).value();
    let terms = trainer.parts.shape(&scores, None, &batch);
    trainer.parts.objective.outcome(engine, &scores, &terms).expect("losses of rows").losses
}

#[track_caller]
fn agree(strategy: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    assert!(want.iter().all(|loss| *loss > 1e-3), "{strategy}: rows have something to lose, {want:?}");
    let near = |(got, want): (&f32, &f32)| (got - want).abs() <= 1e-5 * (1.0 + want.abs());
    assert!(got.iter().zip(want).all(near), "{strategy}: {got:?}, {want:?}");
}

#[test]
fn permuting_a_batch_permutes_its_losses() {
    let rows: String = (0..12).map(|i| format!("w{} w{} n{i},l{i} w{}\n", i % 5, i % 3, i % 5)).collect();
    let (dir, _) = fixture::csv(&rows);
    for strategy in STRATEGIES {
        let trainer = assembled(dir.path(), strategy);
        let order: Vec<u32> = (0..12).collect();
        let other: Vec<u32> = (0..12).map(|i| i * 5 % 12).collect();
        let (in_order, permuted) = (losses(&trainer, &order), losses(&trainer, &other));
        let want: Vec<f32> = other.iter().map(|&row| in_order[row as usize]).collect();
        agree(strategy, &permuted, &want);
        assert!(in_order.iter().any(|loss| (loss - in_order[0]).abs() > 1e-3), "{strategy}: rows differ");
    }
}

#[test]
fn a_copy_of_a_positive_under_another_row_changes_nothing() {
    // The last row has the label of the first, written otherwise: another label, of the same text.
    let (dir, data) = fixture::csv("red shoe,shoes\nblue boot,boots\ngreen hat,hats\ntall mast,Shoes\n");
    assert_eq!(data.labels().len(), 4, "four labels, three texts");
    // Where queries stand against queries, the new one is a negative of its own.
    for strategy in STRATEGIES.into_iter().filter(|&strategy| strategy != "gte") {
        let trainer = assembled(dir.path(), strategy);
        let (alone, beside) = (losses(&trainer, &[0, 1, 2]), losses(&trainer, &[0, 1, 2, 3]));
        agree(strategy, &beside[..1], &alone[..1]);
        // Other rows meet the text twice, and it is a negative of theirs.
        assert!(beside[1] > alone[1] + 1e-5, "{strategy}: {alone:?}, {beside:?}");
    }
}
