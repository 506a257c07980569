//! What a person is shown of negatives is what training meets.

mod world;

use data::Split;
use engine::{Engine, Kind};
use std::collections::HashMap;
use std::path::PathBuf;
use train::negatives_seen::{Look, Negative, NegativesSeen};
use train::{RunDir, Silent, Trainer, checkpoint, run};
use world::{StopAfter, settings, topics};

const LOOK: Look = Look { queries: 1000, negatives: 8, rounds: 3 };

const BASE: [&str; 5] =
    ["model.source=bag", "model.width=32", "train.batch=32", "train.epochs=3", "train.lr=1e-2"];

fn trained(dir: &tempfile::TempDir, changes: &[&str]) -> (Trainer, PathBuf) {
    let data = topics(dir.path(), 400);
    let out = dir.path().join("run");
    let (mut trainer, files) =
        run::begin(&Engine::new(2), &settings(&data, &BASE, changes), &out).expect("begins");
    run::run(&mut trainer, &files, &mut Silent).expect("ends");
    (trainer, out)
}

#[test]
fn whatever_stood_in_a_batch_was_met_and_nothing_known_is_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 400);
    let settings = settings(&data, &BASE, &[]);
    let out = dir.path().join("run");
    let (mut trainer, files) = run::begin(&Engine::new(2), &settings, &out).expect("begins");
    // Stopped within the second epoch: five of its batches were trained on, the others in the first alone.
    let steps = trainer.steps_per_epoch() + 5;
    run::run(&mut trainer, &files, &mut StopAfter(steps)).expect("stops");
    assert_eq!((trainer.progress().epoch, trainer.progress().batch), (1, 5));
    let seen = NegativesSeen::of(&Engine::new(2), &out, LOOK, &mut Silent).expect("looks");
    assert_eq!(seen.queries, trainer.train_rows);
    let round = seen.rounds.last().expect("a round");
    assert_eq!((round.step, round.queries.len()), (steps, seen.queries.len()));
    let place: HashMap<u32, usize> = seen.queries.iter().copied().zip(0..).collect();
    for (q, found) in seen.queries.iter().zip(&round.queries) {
        let own = trainer.data().positives(Split::Train, *q as usize);
        assert_eq!(found.negatives.len(), 8);
        assert!(found.negatives.iter().all(|n| !own.contains(&n.label)), "a positive is no negative");
        assert!(found.negatives.is_sorted_by(|a, b| a.score >= b.score));
        let lowest = found.positives.last().expect("a positive").1;
        assert!(found.negatives.iter().all(|n| (n.score - lowest - n.margin).abs() < 1e-6));
    }
    // The trainer composes the batches of the epoch at hand: of those that it trained on, what a query meets was met.
    // Of those to come some was not: the first epoch had other batches.
    let (mut met, mut not_met) = (0, 0);
    for batch in 0..trainer.steps_per_epoch() as usize {
        for mined in trainer.mined(batch) {
            let found = &round.queries[place[&mined.query]];
            for (label, score) in mined.negatives {
                let Some(n) = found.negatives.iter().find(|n| n.label == label) else { continue };
                assert!(n.met || batch >= 5, "{n:?}");
                assert!((n.score - score).abs() < 1e-5, "{n:?} {score}");
                (met, not_met) = (met + u32::from(n.met), not_met + u32::from(!n.met));
            }
        }
    }
    assert!(met > 50 && not_met > 10 && round.met() < 1.0, "{met} {not_met}");
}

#[test]
fn rounds_are_checkpoints_and_a_damaged_one_is_passed_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, out) = trained(&dir, &["save.keep=3", "save.every_seconds=0"]);
    let folder = RunDir::at(&out).checkpoints();
    let newest = checkpoint::list(&folder)[0].clone();
    std::fs::copy(&newest, checkpoint::path_of(&folder, 99_999)).expect("copied");
    let bytes = std::fs::read(&newest).expect("read");
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).expect("cut");
    let seen = NegativesSeen::of(&Engine::new(1), &out, Look { queries: 10, ..LOOK }, &mut Silent);
    let seen = seen.expect("the copy is whole");
    assert_eq!((seen.rounds.len(), seen.warnings.len(), seen.queries.len()), (1, 1, 10));
    assert!(seen.queries.is_sorted() && seen.warnings[0].contains("passed over"), "{:?}", seen.warnings);
    std::fs::remove_dir_all(&folder).expect("removed");
    let none = NegativesSeen::of(&Engine::new(1), &out, LOOK, &mut Silent).err().expect("nothing to see");
    assert_eq!(none.kind(), Kind::Input);
}

#[test]
fn with_all_labels_in_a_step_each_is_met() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_, out) = trained(&dir, &["strategy.name=dexml"]);
    let seen = NegativesSeen::of(&Engine::new(2), &out, LOOK, &mut Silent).expect("looks");
    assert!((seen.rounds[0].met() - 1.0).abs() < 1e-12);
}

#[test]
fn with_a_live_search_the_nearest_are_met_and_positives_take_places_among_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let changes = ["strategy.name=adore", "head.shortlist=3", "train.epochs=1"];
    let (_, out) = trained(&dir, &changes);
    let seen = NegativesSeen::of(&Engine::new(2), &out, LOOK, &mut Silent).expect("looks");
    let mut beaten = 0;
    for found in &seen.rounds.last().expect("a round").queries {
        for (at, negative) in found.negatives.iter().enumerate() {
            let above = found.positives.iter().filter(|&&(_, score)| score > negative.score).count();
            assert_eq!(negative.met, at + above < 3, "{at}: {negative:?} below {above} positives");
            beaten += u32::from(at == 2 && above > 0);
        }
    }
    assert!(beaten > 10, "a positive takes the place of a third negative");
}

#[test]
fn suspicion_is_by_score_and_by_near_titles() {
    let negative = |score: f32, positive: f32, near: u32| Negative {
        label: 0,
        score,
        margin: score - positive,
        met: true,
        near,
    };
    assert_eq!(negative(0.80, 0.85, 0).suspicion(), 0, "94 % of the positive");
    assert_eq!(negative(0.82, 0.85, 0).suspicion(), 1, "96 %");
    assert_eq!(negative(0.2, 0.85, 2).suspicion(), 1);
    assert_eq!(negative(0.9, 0.85, 3).suspicion(), 2);
    // Below zero 95 % of the positive is more than the positive: the distance counts.
    assert_eq!(negative(-0.41, -0.40, 0).suspicion(), 1);
    assert_eq!(negative(-0.50, -0.40, 1).suspicion(), 0);
}
