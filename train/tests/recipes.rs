//! What every recipe promises, whatever its parts are.

mod world;

use engine::Engine;
use std::path::Path;
use train::config::Settings;
use train::recipes::{RECIPES, Recipe};
use train::{Silent, Trainer, run};
use world::{StopAfter, TINY, topics};

/// A run of a recipe: guides are the starting model, lists are made anew every seven steps.
fn settings(data: &Path, recipe: &Recipe, changes: &[&str]) -> Settings {
    let strategy = format!("strategy.name={}", recipe.name);
    let base = [&[&*strategy][..], &TINY].concat();
    let learns_from_a_guide = ["margin-mse", "distil", "tas-balanced"].contains(&recipe.name);
    let guide = learns_from_a_guide.then_some("guide.model=start");
    let refresh =
        recipe.defaults.iter().any(|d| d.starts_with("negatives.refresh_steps=") && !d.ends_with("=0"));
    let refresh = refresh.then_some("negatives.refresh_steps=7");
    // The limit is that of the tiny cross-encoder, whose raw numbers lie about −1.6.
    let cross = concat!("negatives.rescore=", env!("CARGO_MANIFEST_DIR"), "/../tests/golden/cross/roberta");
    let judge = if recipe.name == "rocketqa" { &[cross, "negatives.max_score=-1.0"][..] } else { &[] };
    let more: Vec<&str> =
        judge.iter().copied().chain(guide).chain(refresh).chain(changes.iter().copied()).collect();
    world::settings(data, &base, &more)
}

fn assembled(data: &Path, recipe: &Recipe, changes: &[&str]) -> Trainer {
    run::assemble(&Engine::new(2), &settings(data, recipe, changes)).expect("fits")
}

/// All bits of what a run trains, the weights of labels among them.
fn bits(trainer: &Trainer) -> Vec<u32> {
    let weights = trainer.classifier().map_or(vec![], |classifier| classifier.rows);
    world::bits(trainer).into_iter().chain(weights.into_iter().map(f32::to_bits)).collect()
}

#[test]
fn every_recipe_trains_and_resumes_bit_for_bit() {
    let dir = tempfile::tempdir().expect("a directory");
    // Three epochs and a bit, and it is stopped in the second: what is remembered of the first counts in the third.
    let data = topics(dir.path(), 180);
    for recipe in RECIPES {
        let far = ["train.steps=20", "memory.easy=0.5", "memory.hard=0.5"];
        let settings = settings(&data, recipe, if recipe.name == "dbpm" { &far } else { &far[..1] });
        let begin = |name: &str, threads| {
            let out = dir.path().join(format!("{}-{name}", recipe.name));
            let (trainer, run_dir) = run::begin(&Engine::new(threads), &settings, &out).expect("begins");
            (trainer, run_dir, out)
        };
        let (mut whole, run_dir, _) = begin("whole", 2);
        let fresh = bits(&whole);
        assert!(run::run(&mut whole, &run_dir, &mut Silent).expect("trains").finished);
        let (mut first, run_dir, out) = begin("stopped", 3);
        run::run(&mut first, &run_dir, &mut StopAfter(9)).expect("stops");
        drop((first, run_dir));
        let (mut again, run_dir) = run::resume(&Engine::new(1), &out, &mut Silent).expect("resumes");
        assert!(again.progress().batch > 0, "it was stopped inside an epoch");
        run::run(&mut again, &run_dir, &mut Silent).expect("ends");
        assert!(bits(&again) == bits(&whole) && bits(&again) != fresh, "{}", recipe.name);
    }
}

#[test]
fn angles_need_an_even_width() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 60);
    let recipe = RECIPES.iter().find(|r| r.name == "cosent").expect("a recipe");
    let settings = settings(&data, recipe, &["model.source=bag", "model.width=33", "loss.similarity=angle"]);
    let error = run::assemble(&Engine::new(1), &settings).err().expect("no halves").to_string();
    assert!(error.contains("`loss.similarity=angle` needs an even width, it is 33"), "{error}");
}

#[test]
fn every_recipe_has_the_same_gradient_in_chunks() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    // Steps of a classifier's weights: `live.rs`.
    for recipe in RECIPES.iter().filter(|recipe| !recipe.has_head()) {
        // In the second epoch, when there is something to remember, and of weights that did not move apart.
        let gradient = |chunk| {
            let mut trainer = assembled(&data, recipe, &[chunk, "train.lr=1e-9"]);
            let steps = trainer.steps_per_epoch() + 1;
            (0..steps).for_each(|_| _ = trainer.next_step(&mut Silent).expect("a step"));
            trainer.gradient_of_next_batch(&mut Silent).expect("one")
        };
        let (loss, whole) = gradient("train.chunk=0");
        let (in_chunks, pieces) = gradient("train.chunk=5");
        assert!(
            loss > 0.0 && (loss - in_chunks).abs() <= 1e-5 * loss,
            "{}: {loss}, {in_chunks}",
            recipe.name
        );
        let largest = whole.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let off = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off <= 1e-5 * largest, "{}: {off} of {largest}", recipe.name);
    }
}

/// What a query meets as negatives in a batch is never a label that it, or a query of its text, is known to have.
#[test]
fn no_recipe_ever_takes_a_known_positive_for_a_negative() {
    let dir = tempfile::tempdir().expect("a directory");
    // Every third title stands twice, with another label each time, and half of the labels have a twin of their text.
    let titles = (0..160).map(|i| (if i % 3 == 2 { i - 1 } else { i }, i % 23 + 23 * (i % 2)));
    let text = |label: usize| {
        if label.is_multiple_of(2) {
            format!("label w{}", label % 23)
        } else {
            format!("Label w{}", label % 23)
        }
    };
    let rows: String = titles
        .map(|(title, label)| format!("w{} n{title} of w{},{}\n", title % 23, title % 7, text(label)))
        .collect();
    let data = world::prepared(dir.path(), &format!("title,label\n{rows}"), 200, |_| ());
    // What a search of the step finds: `train/src/head/live.rs`.
    for recipe in RECIPES.iter().filter(|recipe| !recipe.has_head()) {
        // All labels of each query, where batches are composed of queries.
        let one = ["ngame-labels", "dbpm", "ps-kd"].contains(&recipe.name);
        let positives = if one { "train.positives=1" } else { "train.positives=0" };
        let mut trainer = assembled(&data, recipe, &[positives, "negatives.correct=false"]);
        (0..2).for_each(|_| _ = trainer.next_step(&mut Silent).expect("a step"));
        let set = trainer.data();
        let title = |q: u32| set.queries(data::Split::Train).title(q as usize).to_lowercase();
        let name = |l: u32| set.labels().title(l as usize).to_lowercase();
        let mut met = 0;
        for batch in 0..2.min(trainer.steps_per_epoch() as usize) {
            for row in trainer.mined(batch) {
                let twins = (0..set.queries(data::Split::Train).len() as u32)
                    .filter(|&q| title(q) == title(row.query));
                let known: Vec<String> = twins
                    .flat_map(|q| set.positives(data::Split::Train, q as usize).iter().map(|&l| name(l)))
                    .collect();
                met += row.negatives.len();
                let wrong = row.negatives.iter().find(|n| known.contains(&name(n.0)));
                assert!(wrong.is_none(), "{}: {:?} of {known:?}", recipe.name, wrong.map(|n| name(n.0)));
            }
        }
        assert!(met > 0, "{} has negatives", recipe.name);
    }
}

/// In an epoch composed of labels each label that has a query is a positive once, with a query that has it.
#[test]
fn an_epoch_of_labels_meets_every_label_once() {
    let dir = tempfile::tempdir().expect("a directory");
    // A label of one query beside others of many.
    let rows: String =
        (0..120).map(|i| format!("w{} n{i},label {}\n", i % 9, if i < 90 { i % 3 } else { i })).collect();
    let data = world::prepared(dir.path(), &format!("title,label\n{rows}"), 200, |source| {
        source.split = "100/0".parse().expect("a ratio");
    });
    let recipe = RECIPES.iter().find(|r| r.name == "ngame-labels").expect("a recipe");
    let mut trainer = assembled(&data, recipe, &["train.batch=11", "data.validation_per_mille=0"]);
    assert_eq!(trainer.steps_per_epoch(), 3, "33 labels have a query");
    trainer.gradient_of_next_batch(&mut Silent).expect("a gradient");
    let mut met: Vec<u32> = vec![];
    for batch in 0..3 {
        for row in trainer.mined(batch) {
            let of = trainer.data().positives(data::Split::Train, row.query as usize);
            assert!(of.contains(&row.positive.0));
            met.push(row.positive.0);
        }
    }
    met.sort_unstable();
    assert_eq!(met, (0..33).collect::<Vec<u32>>());
}

/// Stops while texts are embedded for the first lists, before there is any step.
struct StopEmbedding;
impl train::Observer for StopEmbedding {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn stop(&mut self) -> bool {
        true
    }
    fn event(&mut self, _: &train::Event<'_>) {}
}

#[test]
fn a_stop_while_the_first_lists_are_made_can_be_resumed() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let recipe = RECIPES.iter().find(|r| r.name == "ance").expect("a recipe");
    let (out, engine) = (dir.path().join("run"), Engine::new(2));
    let settings = settings(&data, recipe, &["train.steps=4"]);
    let (mut trainer, run_dir) = run::begin(&engine, &settings, &out).expect("begins");
    assert!(!run::run(&mut trainer, &run_dir, &mut StopEmbedding).expect("stops").finished);
    drop((trainer, run_dir));
    let (mut again, run_dir) = run::resume(&engine, &out, &mut Silent).expect("resumes");
    assert!(run::run(&mut again, &run_dir, &mut Silent).expect("ends").finished);
}
