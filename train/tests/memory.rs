//! What a run remembers of batches and epochs before, seen from outside.

mod world;

use data::{CsvSource, PrepareOptions, Prompts, Source, TokenizerChoice};
use engine::Engine;
use std::path::Path;
use train::{Silent, Trainer, run};
use world::topics;

fn trainer(data: &Path, changes: &[&str]) -> Trainer {
    let base = [
        "model.source=bag",
        "model.width=16",
        "train.batch=20",
        "train.epochs=3",
        "train.lr=1e-2",
        "train.warmup_steps=0",
        "composer.name=shuffled",
        "loss.name=infonce",
    ];
    run::assemble(&Engine::new(1), &world::settings(data, &base, changes)).expect("fits")
}

fn steps(trainer: &mut Trainer, count: usize) -> Vec<train::StepReport> {
    (0..count).map(|_| trainer.next_step(&mut Silent).expect("a step")).collect()
}

#[test]
fn a_queue_grows_by_the_labels_of_each_batch_and_then_stays_as_long_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    let mut plain = trainer(&data, &[]);
    let mut queued = trainer(&data, &["memory.queue=60"]);
    let (plain, queued) = (steps(&mut plain, 9), steps(&mut queued, 9));
    let by = |i: usize| queued[i].negatives.expect("counted") - plain[i].negatives.expect("counted");
    assert_eq!(plain[0].loss, queued[0].loss, "nothing is remembered yet");
    assert_eq!(by(0), 0.0);
    // At most 20 labels a batch; those that come again do not count twice.
    assert!(
        (10.0..=20.0).contains(&by(1)) && by(2) > by(1) && by(3) > by(2),
        "{} {} {}",
        by(1),
        by(2),
        by(3)
    );
    assert!((3..9).all(|i| by(i) > 20.0 && by(i) <= 60.0));
    assert_eq!(plain[3].texts, queued[3].texts, "nothing more is encoded");
    assert!(queued[4].loss > plain[4].loss, "more negatives");
}

/// With every label in the queue and an encoder that does not move, the loss is that over all labels.
#[test]
fn a_full_queue_of_an_encoder_at_rest_is_all_labels() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let still = ["train.lr=1e-12", "train.weight_decay=0", "data.validation_per_mille=0"];
    let mut queued = trainer(&data, &[&still[..], &["memory.queue=4000"]].concat());
    // An epoch shows the queue every label that is anybody's positive, more than once.
    steps(&mut queued, 12);
    let met: Vec<Vec<u32>> =
        queued.mined(0).iter().map(|row| sorted(row.negatives.iter().map(|n| n.0))).collect();
    let mut all = trainer(&data, &[&still[..], &["negatives.from=all"]].concat());
    steps(&mut all, 12);
    let want: Vec<Vec<u32>> =
        all.mined(0).iter().map(|row| sorted(row.negatives.iter().map(|n| n.0))).collect();
    let seen: Vec<u32> = sorted(met.iter().flatten().copied());
    for (met, want) in met.iter().zip(&want) {
        let want: Vec<u32> = want.iter().filter(|label| seen.contains(label)).copied().collect();
        assert_eq!(*met, want, "each label once, and no known positive");
    }
    assert!(met.iter().all(|met| met.len() > 40));
    let scores = |trainer: &Trainer| {
        let mut all: Vec<(u32, u32, f32)> = trainer
            .mined(0)
            .iter()
            .flat_map(|row| {
                row.negatives.iter().map(|&(label, score)| (row.query, label, score)).collect::<Vec<_>>()
            })
            .filter(|(_, label, _)| seen.contains(label))
            .collect();
        all.sort_by_key(|&(query, label, _)| (query, label));
        all
    };
    for (a, b) in scores(&queued).iter().zip(&scores(&all)) {
        assert!((a.0, a.1) == (b.0, b.1) && (a.2 - b.2).abs() < 1e-5, "{a:?} {b:?}");
    }
}

fn sorted(labels: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut labels: Vec<u32> = labels.collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

#[test]
fn a_slow_copy_embeds_labels_and_only_queries_learn() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    // A copy that never moves: the words that labels alone use, "label" words, have no gradient and stay as they were.
    let changes = ["memory.queue=100", "memory.momentum=0.9999999", "train.weight_decay=0"];
    let mut slow = trainer(&data, &changes);
    let report = &steps(&mut slow, 2)[1];
    let plain = steps(&mut trainer(&data, &[]), 2);
    assert_eq!(report.texts, plain[1].texts, "labels are encoded once, by the copy");
    let (loss, gradient) = slow.gradient_of_next_batch(&mut Silent).expect("a gradient");
    assert!(loss > 0.0 && gradient.iter().any(|g| *g != 0.0));
    // Queries alone have gradients: fewer rows of the table are touched than where labels learn as well.
    let rows = |gradient: &[f64]| gradient.chunks(16).filter(|row| row.iter().any(|g| *g != 0.0)).count();
    let (_, both) = trainer(&data, &[]).gradient_of_next_batch(&mut Silent).expect("a gradient");
    let (_, first) = trainer(&data, &changes).gradient_of_next_batch(&mut Silent).expect("a gradient");
    assert!(rows(&first) < rows(&both), "{} of {}", rows(&first), rows(&both));
}

#[test]
fn mixtures_are_harder_than_what_they_are_mixed_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    let run = |changes: &[&str]| steps(&mut trainer(&data, changes), 6);
    let queue = run(&["memory.queue=100"]);
    let mixed =
        run(&["memory.queue=100", "memory.mixed=6", "memory.mixed_with_query=2", "memory.mixed_from=10"]);
    assert_eq!(queue[0].loss, mixed[0].loss);
    let negatives = |report: &train::StepReport| report.negatives.expect("counted");
    assert_eq!(negatives(&mixed[1]) - negatives(&queue[1]), 8.0);
    assert!(mixed[1].loss > queue[1].loss);
}

/// What it finds where labels are wrong, `honest/main.rs` shows.
#[test]
fn pairs_that_cost_too_much_are_weighed_down_from_the_second_epoch_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let (mut plain, mut with) = (trainer(&data, &[]), trainer(&data, &["memory.hard=0.5"]));
    let epoch = plain.steps_per_epoch() as usize;
    let (plain, with) = (steps(&mut plain, epoch + 1), steps(&mut with, epoch + 1));
    assert_eq!(plain[..epoch], with[..epoch], "the first epoch is plain");
    // Whoever cost the most weighs the least: the mean is lower.
    assert!(with[epoch].loss < plain[epoch].loss, "{} {}", with[epoch].loss, plain[epoch].loss);
}

#[test]
fn the_past_has_a_share_of_the_target_from_the_second_epoch_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    // One batch of all queries is an epoch.
    let base = ["train.batch=1000", "negatives.from=all", "train.lr=1e-12", "train.weight_decay=0"];
    let past = ["memory.past=0.9", "memory.kept=4000"];
    let (mut plain, mut with) = (trainer(&data, &base), trainer(&data, &[&base[..], &past].concat()));
    let (plain, with) = (steps(&mut plain, 2), steps(&mut with, 2));
    assert_eq!(plain[0], with[0], "the first epoch is plain");
    // The encoder rests, so p is what it was: ∂L/∂z = p − t = (1 − α)(p − y), α = 0.9 · 2/3 in the second epoch.
    let ratio = with[1].grad_norm / plain[1].grad_norm;
    assert!((ratio - 0.4).abs() < 1e-3, "{ratio}");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 60);
    let refused = |changes: &[&str], what: &str| {
        let base = ["composer.name=shuffled", "loss.name=infonce"];
        let settings = world::settings_of(&data, &[&base[..], changes].concat());
        let e = settings.err().unwrap_or_else(|| panic!("{changes:?} are taken")).to_string();
        assert!(e.contains(what), "{e}");
    };
    refused(&["memory.queue=9", "guide.model=start"], "guide");
    refused(&["memory.queue=9", "negatives.from=all"], "every label");
    refused(&["memory.queue=9", "negatives.from=random", "negatives.own=true"], "negatives.own");
    refused(&["memory.queue=9", "negatives.from=random"], "count them twice");
    refused(&["memory.momentum=0.99999999999", "memory.queue=9"], "memory.momentum");
    refused(&["memory.momentum=0.9"], "queue");
    refused(&["memory.momentum=1.0", "memory.queue=9"], "memory.momentum");
    refused(&["memory.mixed=3"], "mixed of a queue");
    refused(&["memory.hard=2.0", "loss.name=triplet"], "infonce");
    refused(&["memory.past=0.5", "train.positives=3"], "train.positives=1");
    refused(&["memory.past=1.5"], "memory.past");
    refused(&["loss.top_rows=0.0"], "top_rows");
}

/// A copy that embeds labels leaves out of its pooling what the encoder leaves out: before the first step it says what
/// the encoder says.
#[test]
fn a_slow_copy_pools_prompts_as_the_encoder_does() {
    let dir = tempfile::tempdir().expect("a directory");
    topics(dir.path(), 120);
    let out = dir.path().join("behind.lode");
    let source = Source::Csv(CsvSource::new(dir.path().join("world.csv"), "title", "label"));
    let prompts = Prompts { query: String::new(), label: "about: ".into() };
    let options = PrepareOptions { prompts, ..PrepareOptions::new(&out, TokenizerChoice::Train(400)) };
    data::prepare(&source, &options, &mut |_| {}).expect("prepared");
    let loss = |strategy: &str, prompts: &str| {
        let base =
            ["model.source=tiny", "model.width=32", "model.dropout=0", "train.batch=24", "memory.queue=64"];
        let settings = world::settings(&out, &base, &[strategy, prompts, "loss.temperature=0.1"]);
        let mut trainer = run::assemble(&Engine::new(1), &settings).expect("fits");
        trainer.gradient_of_next_batch(&mut Silent).expect("a gradient").0
    };
    let [pooled, apart] = ["model.prompts=pooled", "model.prompts=apart"].map(|prompts| {
        let [copy, own] = ["strategy.name=moco", "strategy.name=memory-queue"].map(|s| loss(s, prompts));
        assert!((copy - own).abs() <= 1e-6 * own, "{prompts}: {copy} {own}");
        own
    });
    assert!((pooled - apart).abs() > 1e-4, "{pooled} {apart}");
}

#[test]
fn what_a_selection_model_needs_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let check = |changes: &[&str], want: &str| {
        let error = match world::settings_of(&data, changes) {
            Err(error) => error,
            Ok(settings) => run::assemble(&Engine::new(1), &settings).err().expect("refused"),
        };
        let error = error.to_string();
        assert!(error.contains(want) && error.contains("help"), "{changes:?}: {error}");
    };
    let cet = "strategy.name=cet";
    check(&[cet, "guide.model="], "no guide is named");
    check(&[cet, "loss.name=triplet"], "infonce, and not symmetric");
    check(&[cet, "loss.symmetric=true"], "infonce, and not symmetric");
    check(&[cet, "loss.blocks=['query-label', 'query-query']"], "the other blocks");
    check(&[cet, "train.epochs=1"], "`selection.warmup_epochs` is 1, and this run has no epoch after these");
    check(&["selection.least=0.5"], "none does");
}
