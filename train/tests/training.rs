//! The promises of training, on a small world of topics: exact resume, thread independence, chunks, memory.

mod world;

use data::{DataSet, Verify};
use engine::Engine;
use std::path::Path;
use tempfile::TempDir;
use train::config::Settings;
use train::evaluate::{LabelSet, Options, Queries, evaluate};
use train::plan::MemoryPlan;
use train::{Event, Network, Observer, RunDir, Silent, Trainer, run};
use world::{StopAfter, bits, topics};

fn settings(data: &Path, changes: &[&str]) -> Settings {
    let base = [
        "model.source=tiny",
        "model.width=32",
        "train.batch=24",
        "train.epochs=2",
        "train.lr=1e-3",
        "train.warmup_steps=2",
    ];
    world::settings(data, &base, changes)
}

fn trained(data: &Path, dir: &TempDir, name: &str, threads: usize, changes: &[&str]) -> Trainer {
    let settings = settings(data, changes);
    let (mut trainer, run_dir) =
        run::begin(&Engine::new(threads), &settings, &dir.path().join(name)).expect("begins");
    let outcome = run::run(&mut trainer, &run_dir, &mut Silent).expect("trains");
    assert!(outcome.finished && outcome.step == trainer.total_steps());
    trainer
}

#[test]
fn resume_equals_uninterrupted_run_at_every_step() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    for (loss, optimizer) in [("infonce", "adamw"), ("triplet", "lamb")] {
        let optimizer = format!("train.optimizer={optimizer}");
        let changes = [
            format!("loss.name={loss}"),
            optimizer,
            "composer.name=ngame".into(),
            "train.accumulate=2".into(),
        ];
        let changes: Vec<&str> = changes.iter().map(String::as_str).collect();
        let whole = trained(&data, &dir, &format!("whole-{loss}"), 2, &changes);
        let total = whole.total_steps();
        assert!(total >= 6, "{total} steps");
        for stop in 1..total {
            let out = dir.path().join(format!("stopped-{loss}-{stop}"));
            let engine = Engine::new(2);
            let (mut trainer, run_dir) =
                run::begin(&engine, &settings(&data, &changes), &out).expect("begins");
            let outcome = run::run(&mut trainer, &run_dir, &mut StopAfter(stop)).expect("stops");
            assert_eq!((outcome.step, outcome.finished), (stop, false));
            drop((trainer, run_dir));
            let (mut again, run_dir) = run::resume(&engine, &out, &mut Silent).expect("resumes");
            assert_eq!(again.progress().step, stop);
            run::run(&mut again, &run_dir, &mut Silent).expect("ends");
            assert!(
                bits(&again) == bits(&whole),
                "{loss}: other bits after a stop at step {stop} of {total}"
            );
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    for optimizer in ["adamw", "lamb"] {
        let change = format!("train.optimizer={optimizer}");
        let bits = |n: usize| bits(&trained(&data, &dir, &format!("{optimizer}{n}"), n, &[change.as_str()]));
        let one = bits(1);
        for threads in [2, 3, 7] {
            assert!(bits(threads) == one, "{optimizer}: {threads} threads differ");
        }
    }
}

/// The largest difference of two models, relative to the largest number.
fn difference(a: &Trainer, b: &Trainer) -> f64 {
    let values = |t: &Trainer| -> Vec<f64> {
        let params = &t.network.model.params;
        params.ids().flat_map(|id| params.value(id).to_f64()).collect()
    };
    let (a, b) = (values(a), values(b));
    let largest = a.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    a.iter().zip(&b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max) / largest
}

#[test]
fn chunks_and_recomputing_give_the_gradient_of_the_whole_batch_with_dropout_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    // Plain SGD would show gradients best; AdamW's first step is their sign, so one step is compared by its gradient.
    let gradient = |name: &str, changes: &[&str]| {
        let settings = settings(&data, &[&["model.dropout=0.3"][..], changes].concat());
        let (mut trainer, _) =
            run::begin(&Engine::new(2), &settings, &dir.path().join(name)).expect("begins");
        trainer.gradient_of_next_batch(&mut Silent).expect("nobody stops it")
    };
    let (loss, whole) = gradient("whole", &[]);
    for (name, changes) in [
        ("chunks", &["train.chunk=7"][..]),
        ("recompute", &["model.recompute=true"]),
        ("both", &["train.chunk=5", "model.recompute=true"]),
    ] {
        let (other_loss, other) = gradient(name, changes);
        assert!((loss - other_loss).abs() < 1e-6 * loss, "{name}: loss {other_loss}, whole {loss}");
        let largest = whole.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let worst = whole.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5 * largest, "{name}: the gradients differ by {worst:e} of {largest:e}");
    }
    let (_, other_dropout) = gradient("other", &["model.dropout=0.0"]);
    let worst = whole.iter().zip(&other_dropout).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst > 1e-3, "dropout has an effect, so the comparison above is one");
}

#[test]
fn one_batch_is_learned_by_heart() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let changes = [
        "train.overfit_batch=true",
        "train.steps=60",
        "model.dropout=0.0",
        "train.lr=3e-3",
        "save.log_every=1",
    ];
    trained(&data, &dir, "overfit", 2, &changes);
    let log = std::fs::read_to_string(RunDir::at(&dir.path().join("overfit")).log()).expect("a log");
    let losses: Vec<f64> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["loss"].as_f64())
        .collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(losses.len() == 60 && first > 1.0 && last < 0.05 * first, "{first} → {last}");
}

#[test]
fn clustered_training_learns_and_the_log_ends_with_the_metrics() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 1200);
    let changes = [
        "model.source=bag",
        "train.epochs=8",
        "train.lr=2e-2",
        "data.validation_per_mille=100",
        "composer.name=ngame",
    ];
    let trainer = trained(&data, &dir, "bag", 2, &changes);
    let log = std::fs::read_to_string(RunDir::at(&dir.path().join("bag")).log()).expect("a log");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["final"], true);
    // 180 labels: chance is 0.6 %; a topic is found by its words, and one of its three labels by luck or by words.
    let p = last["metrics"]["P@1"].as_f64().expect("measured");
    assert!(p > 0.3, "P@1 {p}");
    let set = DataSet::open(&data, Verify::Full).expect("open");
    assert_eq!(
        trainer.train_rows.len() + trainer.validation_rows.len(),
        set.queries(data::Split::Train).len()
    );
}

#[test]
fn after_a_warm_up_ragged_steps_take_nothing_from_the_system() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 1500);
    let settings = settings(&data, &["train.steps=600", "train.batch=32"]);
    let engine = Engine::new(2);
    let (mut trainer, _) = run::begin(&engine, &settings, &dir.path().join("pool")).expect("begins");
    // The first step clusters the queries and makes the optimizer's state; the warm-up is the largest batch.
    trainer.next_step(&mut Silent).expect("steps");
    trainer.warm_up().expect("walks");
    let before = engine.pool_stats().system_allocations;
    for _ in 0..500 {
        trainer.next_step(&mut Silent).expect("steps");
    }
    let taken = engine.pool_stats().system_allocations - before;
    println!("500 ragged steps: {taken} allocations; the pool holds {:?}", engine.pool_stats());
    assert_eq!(taken, 0);
}

#[test]
fn a_run_from_the_same_seed_is_the_same_and_from_another_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let a = trained(&data, &dir, "a", 2, &["train.seed=1"]);
    let b = trained(&data, &dir, "b", 2, &["train.seed=1"]);
    let c = trained(&data, &dir, "c", 2, &["train.seed=2"]);
    assert!(bits(&a) == bits(&b));
    assert!(difference(&a, &c) > 1e-3);
}

fn log_of(run: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(RunDir::at(run).log()).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_finished_run_that_is_resumed_stays_as_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let first = trained(&data, &dir, "done", 2, &["data.validation_per_mille=100"]);
    let out = dir.path().join("done");
    let files = || {
        let mut all = vec![];
        for folder in [out.clone(), out.join("checkpoints"), out.join("model")] {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_file() {
                    let at = path.metadata().expect("a file").modified().expect("a time");
                    all.push((path.clone(), std::fs::read(&path).expect("read"), at));
                }
            }
        }
        all.sort();
        all
    };
    let before = files();
    let (mut again, run_dir) = run::resume(&Engine::new(2), &out, &mut Silent).expect("resumes");
    let outcome = run::run(&mut again, &run_dir, &mut Silent).expect("has nothing to do");
    assert!(outcome.finished && outcome.step == first.total_steps());
    assert_eq!(outcome.validation.len(), 5, "what was measured then is told again");
    assert!(files() == before, "a file changed");
}

#[test]
fn a_run_without_a_checkpoint_begins_its_log_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let changes = ["save.log_every=1", "train.steps=3"];
    trained(&data, &dir, "killed", 2, &changes);
    let out = dir.path().join("killed");
    std::fs::remove_dir_all(RunDir::at(&out).checkpoints()).expect("removed");
    let (mut again, run_dir) = run::resume(&Engine::new(2), &out, &mut Silent).expect("resumes");
    run::run(&mut again, &run_dir, &mut Silent).expect("trains");
    let steps: Vec<u64> = log_of(&out).iter().map(|line| line["step"].as_u64().expect("a step")).collect();
    // Clusters before the first step, the steps, the end.
    assert_eq!(steps, [1, 1, 2, 3, 3]);
}

#[test]
fn resuming_a_run_that_is_training_leaves_its_log_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let out = dir.path().join("busy");
    let settings = settings(&data, &["save.log_every=1"]);
    let engine = Engine::new(2);
    let (mut trainer, run_dir) = run::begin(&engine, &settings, &out).expect("begins");
    run::run(&mut trainer, &run_dir, &mut StopAfter(2)).expect("stops");
    train::log::Log::at(&run_dir.log())
        .append(&serde_json::json!({"step": 3}))
        .expect("the other process goes on");
    let _held = run_dir.lock().expect("by the other process");
    let refused = run::resume(&engine, &out, &mut Silent)
        .and_then(|(mut t, d)| run::run(&mut t, &d, &mut Silent))
        .expect_err("another process trains here");
    assert_eq!(refused.kind(), engine::Kind::Refused);
    // Clusters, two steps of ours, one of theirs.
    assert_eq!(log_of(&out).len(), 4);
}

/// Stops in the embedding for the first clustering.
struct StopEmbedding(bool);
impl Observer for StopEmbedding {
    fn seconds(&mut self) -> f64 {
        0.0
    }
    fn stop(&mut self) -> bool {
        self.0
    }
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Embedding { done, total, .. } = event {
            assert!(!self.0, "asked to stop, went on to {done} of {total}");
            self.0 = true;
        }
    }
}

#[test]
fn a_stop_while_texts_are_embedded_is_heard_and_resumed_from() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 1200);
    let changes = ["model.source=bag", "train.steps=5"];
    let whole = trained(&data, &dir, "whole", 2, &changes);
    let (out, engine) = (dir.path().join("stopped"), Engine::new(2));
    let (mut trainer, run_dir) = run::begin(&engine, &settings(&data, &changes), &out).expect("begins");
    let outcome = run::run(&mut trainer, &run_dir, &mut StopEmbedding(false)).expect("stops");
    assert_eq!((outcome.step, outcome.finished), (0, false));
    drop((trainer, run_dir));
    let (mut again, run_dir) = run::resume(&engine, &out, &mut Silent).expect("resumes");
    assert!(run::run(&mut again, &run_dir, &mut Silent).expect("ends").finished);
    assert!(bits(&again) == bits(&whole));
}

#[test]
fn a_beginning_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let settings = settings(&data, &[]);
    let mut trainer = run::assemble(&Engine::new(1), &settings).expect("fits");
    // A model of five tokens cannot be written with a tokenizer of hundreds.
    let bag = models::bag::Config { vocab: 5, width: 8, normalise: true };
    trainer.network = Network::new(models::Model::fresh(models::Architecture::Bag(bag), 8, 0));
    let out = dir.path().join("run");
    assert!(run::found(&trainer, &settings, &out).is_err());
    assert!(!out.exists());
}

#[test]
fn a_step_that_fails_names_the_operation_that_made_the_first_nan() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    for (n, chunk) in ["train.chunk=0", "train.chunk=7"].into_iter().enumerate() {
        let out = dir.path().join(format!("run{n}"));
        let settings = settings(&data, &[chunk, "composer.name=shuffled"]);
        let (mut trainer, _) = run::begin(&Engine::new(2), &settings, &out).expect("begins");
        let params = &mut trainer.network.model.params;
        let id = params.find("encoder.layer.1.attention.output.LayerNorm.weight").expect("a parameter");
        let shape = params.value(id).shape();
        params.set(id, engine::Tensor::from_vec(shape, vec![f32::INFINITY; shape.len()]));
        let before = bits(&trainer);
        let error = trainer.next_step(&mut Silent).expect_err("infinite");
        assert_eq!(error.kind(), engine::Kind::Numeric);
        let what = "`residual_norm` made a NaN or an infinity in forward";
        assert!(error.to_string().contains(what), "{error}");
        assert!(bits(&trainer) == before, "the parameters stay");
    }
}

#[test]
fn the_card_of_a_run_tells_how_it_was_trained_and_what_came_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let changes = ["loss.name=triplet", "train.seed=41", "data.validation_per_mille=100", "train.steps=3"];
    let first = trained(&data, &dir, "first", 2, &changes);
    let out = dir.path().join("first");
    let text = std::fs::read_to_string(out.join("model/README.md")).expect("a card");
    let learned = "| loss | triplet: margin 0.3, temperature 0.1, 10 hardest negatives |";
    for part in ["| steps | 3 |", "| composer | ngame |", learned, "| seed | 41 |", "| validation P@1 |"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("license") && !text.contains("base_model"), "{text}");
    assert!(!text.contains(&*dir.path().to_string_lossy()), "no path of this machine: {text}");
    let card = train::load::card(&out).expect("a card");
    assert_eq!((card.title.as_str(), card.metrics.len()), ("first", 5));
    assert_eq!(first.progress().step, 3);
    let source = format!("model.source={}", out.display());
    trained(&data, &dir, "second", 2, &[&source, "train.steps=1"]);
    let text = std::fs::read_to_string(dir.path().join("second/model/README.md")).expect("a card");
    assert!(text.contains("base_model: \"first\""), "{text}");
}

/// A world in which there is nothing to tell apart.
#[test]
fn a_batch_without_negatives_has_loss_and_gradient_zero() {
    let dir = tempfile::tempdir().expect("a directory");
    let rows: String = (0..60).map(|i| format!("title {i} of many,only\n")).collect();
    let data = world::prepared(dir.path(), &format!("title,label\n{rows}"), 100, |_| ());
    for loss in ["loss.name=infonce", "loss.name=triplet", "loss.symmetric=true", "loss.hardest=3"] {
        let settings = settings(&data, &[loss]);
        let mut trainer = run::assemble(&Engine::new(1), &settings).expect("fits");
        let report = trainer.next_step(&mut Silent).expect("steps");
        assert_eq!((report.loss, report.grad_norm), (0.0, 0.0), "{loss}");
    }
}

#[test]
fn the_rate_begins_at_its_peak_without_a_warm_up_and_never_is_zero() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let rates = |warmup: &str, schedule: &str| -> Vec<f64> {
        let changes = [warmup, schedule, "train.steps=4", "train.lr=1.0", "composer.name=shuffled"];
        let mut trainer =
            run::assemble(&Engine::new(1), &settings(&data, &[&changes[..], &["model.source=bag"]].concat()))
                .expect("fits");
        (0..4).map(|_| trainer.next_step(&mut Silent).expect("steps").rate).collect()
    };
    assert_eq!(rates("train.warmup_steps=0", "train.schedule=linear"), [1.0, 0.75, 0.5, 0.25]);
    assert_eq!(rates("train.warmup_steps=2", "train.schedule=constant"), [0.5, 1.0, 1.0, 1.0]);
    assert!(rates("train.warmup_steps=2", "train.schedule=cosine")[3] > 0.1);
}

#[test]
fn a_run_whose_configuration_was_changed_is_not_taken_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let check = |changes: &[&str], from: &str, to: &str, says: &str| {
        let out = tempfile::tempdir_in(dir.path()).expect("a directory").path().join("run");
        let engine = Engine::new(1);
        let (mut trainer, run_dir) = run::begin(&engine, &settings(&data, changes), &out).expect("begins");
        run::run(&mut trainer, &run_dir, &mut StopAfter(5)).expect("stops");
        let config = std::fs::read_to_string(run_dir.config()).expect("read");
        assert!(config.contains(from), "{config}");
        std::fs::write(run_dir.config(), config.replace(from, to)).expect("written");
        let error = run::resume(&engine, &out, &mut Silent).err().expect("another run");
        assert!(error.to_string().contains(says), "{error}");
    };
    check(&["composer.name=shuffled"], "batch = 24", "batch = 100", "the configuration");
    check(&["composer.name=shuffled"], "\"shuffled\"", "\"ngame\"", "the configuration");
    let other = "that of another optimizer: it holds `adamw.steps`, not `lamb.steps`";
    check(&[], "\"adamw\"", "\"lamb\"", other);
}

#[test]
fn the_plan_names_the_optimizer_and_no_other_than_those_there_are_is_taken() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let state = |name: &str, optimizer: &str| {
        let change = format!("train.optimizer={optimizer}");
        let trainer = run::assemble(&Engine::new(1), &settings(&data, &[change.as_str()])).expect("fits");
        let plan = MemoryPlan::new(&trainer);
        let held = trainer.network.model.params.count() * 8;
        plan.parts.contains(&(name, held))
    };
    assert!(state("AdamW", "adamw") && state("LAMB", "lamb"));
    assert!(!state("AdamW", "lamb"));
    let mut settings = Settings::default();
    settings.set("train.optimizer=sgd").expect("a value");
    let error = settings.config().expect_err("not for encoders").to_string();
    assert!(error.contains("`train.optimizer` must be adamw or lamb, it is sgd"), "{error}");
}

#[test]
fn only_queries_with_a_label_of_the_kind_count_when_labels_are_restricted() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let trainer = run::assemble(&Engine::new(1), &settings(&data, &["model.source=bag"])).expect("fits");
    let measure = |labels| {
        let queries = Queries { split: data::Split::Test, rows: None };
        let options = Options { labels, ..Options::default() };
        evaluate(trainer.engine(), &trainer.network, trainer.data(), queries, &options, &mut Silent)
            .map(|found| (found.hits.iter().sum::<f64>() / found.hits.len() as f64, found))
    };
    let set = trainer.data();
    let seen: Vec<bool> = set.label_frequency().iter().map(|&n| n > 0).collect();
    let queries = set.queries(data::Split::Test).len();
    let with = |kind: bool| {
        let has = |q: &usize| set.positives(data::Split::Test, *q).iter().any(|&l| seen[l as usize] == kind);
        (0..queries).filter(has).count()
    };
    assert!(with(false) > 0 && with(false) < queries, "there is a test query with an unseen label");
    for (labels, count) in
        [(LabelSet::Unseen, with(false)), (LabelSet::Seen, with(true)), (LabelSet::All, queries)]
    {
        let (mean, found) = measure(labels.clone()).expect("measured");
        assert_eq!((found.hits.len(), found.rankings.len()), (count, count), "{labels:?}");
        assert!((mean - found.metrics[0].1).abs() < 1e-12, "{labels:?}");
    }
}
