//! Made worlds: what is known of them is counted right.

mod world;

use data::{PrepareOptions, Source, Split, TokenizerChoice, World};
use engine::Engine;
use std::path::{Path, PathBuf};
use train::{Silent, Trainer, run};

fn made(dir: &Path, name: &str, world: World) -> PathBuf {
    let (folder, out) = (dir.join(name), dir.join(format!("{name}.lode")));
    world.write(&folder).expect("written");
    let options = PrepareOptions::new(&out, TokenizerChoice::Train(2000));
    data::prepare(&Source::Beir(folder), &options, &mut |_| {}).expect("prepared");
    out
}

/// By hand: the negatives that each row of a batch is to have, looked up in the judgements.
fn counted(trainer: &Trainer, truth: &[Vec<u32>], batch: usize) -> (usize, usize) {
    let rows = trainer.mined(batch);
    let negatives = rows.iter().map(|row| row.negatives.len()).sum();
    let answers = |query: u32| &truth[query as usize];
    let of = |row: &train::Mined| row.negatives.iter().filter(|n| answers(row.query).contains(&n.0)).count();
    (negatives, rows.iter().map(of).sum())
}

#[test]
fn the_share_of_false_negatives_is_counted_over_what_the_loss_sees() {
    let dir = tempfile::tempdir().expect("a directory");
    let world = World { topics: 4, aspects: 2, queries: 120, test_queries: 5, ..World::hidden(1) };
    let data = made(dir.path(), "w", world);
    let path = dir.path().join("w/qrels/truth.tsv");
    let truth = format!("data.truth={}", path.display());
    let base =
        ["model.source=bag", "model.width=8", "train.batch=30", "loss.blocks=['query-label', 'label-label']"];
    for change in ["strategy.name=in-batch", "strategy.name=ngame"] {
        let settings = world::settings(&data, &base, &[&truth, change, "loss.name=infonce"]);
        let mut trainer = run::assemble(&Engine::new(1), &settings).expect("fits");
        trainer.gradient_of_next_batch(&mut Silent).expect("plans");
        let all = data::read_judgements(&path, trainer.data()).expect("a truth");
        assert_eq!(all.len(), trainer.data().queries(Split::Train).len());
        let (negatives, answers) = counted(&trainer, &all, 0);
        let report = trainer.next_step(&mut Silent).expect("a step");
        let share = answers as f64 / negatives as f64;
        assert!(
            answers > 0 && report.false_negatives == Some(share),
            "{:?} of {share}",
            report.false_negatives
        );
    }
    let settings = world::settings(&data, &base, &["strategy.name=in-batch"]);
    let mut trainer = run::assemble(&Engine::new(1), &settings).expect("fits");
    assert_eq!(trainer.next_step(&mut Silent).expect("a step").false_negatives, None);
}
