//! The promises of a classifier, on a small world whose labels have texts that say little: it learns what the texts
//! cannot, resumes exactly, does not depend on threads, and is planned.

mod world;

use data::metrics::Metric;
use data::{DataSet, PrepareOptions, Source, Split, TokenizerChoice, Verify};
use engine::container::Container;
use engine::{Engine, Stream};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use train::config::Settings;
use train::evaluate::{Options, Queries, evaluate_with};
use train::index::Index;
use train::plan::MemoryPlan;
use train::scoring::Score;
use train::{Evaluation, Silent, Trainer, load, run};
use world::StopAfter;

/// Forty topics of six words; a title is words of its topic and one of another. A label is called by a number, which
/// stands in no title: its text says nothing of what it is for.
fn world(dir: &Path, titles: u64) -> PathBuf {
    let s = Stream::new(12, 0);
    let mut csv = String::from("title,label\n");
    for row in 0..titles {
        let draw = |i: u64, n: u64| s.below(8 * row + i, n);
        let topic = draw(0, 40);
        let mut words: Vec<String> = (1..4).map(|i| format!("w{topic}x{}", draw(i, 6))).collect();
        words.push(format!("w{}x{}", draw(4, 40), draw(5, 6)));
        let second = if draw(6, 3) == 0 { format!(";group {}", topic % 8) } else { String::new() };
        csv += &format!("{},number {topic}{second}\n", words.join(" "));
    }
    world::prepared(dir, &csv, 400, |source| source.label_separator = Some(";".into()))
}

fn settings(data: &Path, changes: &[&str]) -> Settings {
    let base = [
        "model.source=bag",
        "model.width=32",
        "train.batch=24",
        "train.epochs=2",
        "train.lr=1e-2",
        "train.warmup_steps=2",
        "head.name=classifier",
    ];
    world::settings(data, &base, changes)
}

/// All bits of the encoder and of the label weights.
fn bits(trainer: &Trainer) -> Vec<u32> {
    let weights = trainer.classifier().expect("a classifier").rows;
    world::bits(trainer).into_iter().chain(weights.into_iter().map(f32::to_bits)).collect()
}

fn trained(data: &Path, dir: &TempDir, name: &str, threads: usize, changes: &[&str]) -> Trainer {
    let settings = settings(data, changes);
    let out = dir.path().join(name);
    let (mut trainer, run_dir) = run::begin(&Engine::new(threads), &settings, &out).expect("begins");
    let outcome = run::run(&mut trainer, &run_dir, &mut Silent).expect("trains");
    assert!(outcome.finished && outcome.step == trainer.total_steps());
    trainer
}

/// The model at the start as the teacher of the texts of labels.
const TEACHER: [&str; 4] =
    ["train.label_texts=true", "head.teacher=start", "head.near_cosine=-1.0", "head.near_labels=5"];

/// Every way to learn: both paths, an encoder that learns from the second epoch on, every optimizer, both precisions,
/// a teacher of both paths; labels that rest; all labels through factors; and texts of labels beside their weights.
const WAYS: [&[&str]; 9] = [
    &["head.labels=all", TEACHER[0], TEACHER[1], TEACHER[2], TEACHER[3]],
    &["head.labels=sampled", "head.encoder_lr=1e-3", TEACHER[0], TEACHER[1], TEACHER[2], TEACHER[3]],
    &["head.labels=all"],
    &["head.loss=triplets", "head.precision=bf16", "composer.name=ngame"],
    &["head.labels=sampled", "head.uniform=9", "head.encoder_lr=1e-3", "head.frozen_epochs=1"],
    &["head.loss=supcon", "head.uniform=9", "head.optimizer=adagrad", "head.encoder_lr=1e-3"],
    &["head.loss=lambdamrr", "head.labels=live", "head.optimizer=none", "head.precision=bf16"],
    &["head.loss=zloss", "train.lr=1.0", "head.encoder_lr=1e-3", "head.frozen_epochs=1"],
    &[
        "head.loss=decoupled",
        "head.text_share=0.4",
        "head.labels=sampled",
        "head.uniform=9",
        "head.encoder_lr=1e-3",
    ],
];

#[test]
fn resume_equals_uninterrupted_run_at_every_step() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    for (way, changes) in WAYS.iter().enumerate() {
        let whole = trained(&data, &dir, &format!("whole-{way}"), 2, changes);
        let total = whole.total_steps();
        assert!(total >= 6, "{total} steps");
        for stop in 1..total {
            let out = dir.path().join(format!("stopped-{way}-{stop}"));
            let engine = Engine::new(3);
            let begun = run::begin(&engine, &settings(&data, changes), &out).expect("begins");
            let (mut trainer, run_dir) = begun;
            run::run(&mut trainer, &run_dir, &mut StopAfter(stop)).expect("stops");
            drop((trainer, run_dir));
            let (mut again, run_dir) = run::resume(&engine, &out, &mut Silent).expect("resumes");
            assert_eq!(again.progress().step, stop);
            run::run(&mut again, &run_dir, &mut Silent).expect("ends");
            assert!(bits(&again) == bits(&whole), "{changes:?}: other bits after a stop at step {stop}");
        }
    }
}

#[test]
fn scratch_files_and_threads_change_no_bit() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    let scratch = format!("head.scratch={}", dir.path().display());
    for (way, changes) in WAYS.iter().enumerate() {
        let one = bits(&trained(&data, &dir, &format!("one-{way}"), 1, changes));
        let changes = [changes, &[&*scratch][..]].concat();
        assert!(bits(&trained(&data, &dir, &format!("mapped-{way}"), 3, &changes)) == one, "{changes:?}");
    }
}

fn measured(engine: &Engine, run: &Path, data: &DataSet, score: Score) -> Evaluation {
    let network = load::network(run).expect("a network");
    let classifier = load::classifier(run, data).expect("reads");
    let index = Index::build(engine, &network, data, false, &mut Silent).expect("an index");
    let index = index.with_classifier(classifier).expect("it fits");
    let held_out = load::held_out(run, data).expect("a run");
    let metrics = Metric::list("P@1").expect("a metric");
    let options = Options { metrics, score, held_out, ..Options::default() };
    let queries = Queries { split: Split::Test, rows: None };
    evaluate_with(engine, &network, &index, data, queries, &options, &mut Silent).expect("measured")
}

#[test]
fn every_loss_learns_what_the_texts_of_the_labels_do_not_say() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, engine) = (world(dir.path(), 1000), Engine::new(2));
    let set = DataSet::open(&data, Verify::Header).expect("opens");
    for loss in train::config::LOSSES {
        let loss_of = format!("head.loss={loss}");
        let labels = if loss == "lambdamrr" { "head.labels=live" } else { "head.labels=auto" };
        let held_out = "data.validation_per_mille=160";
        // Plain descent, whose steps are as long as its gradients.
        let rate = if loss == "zloss" { "train.lr=3.0" } else { "train.lr=0.02" };
        let changes = [&*loss_of, labels, held_out, "train.epochs=8", rate, "head.uniform=16"];
        trained(&data, &dir, loss, 2, &changes);
        let by = |score| measured(&engine, &dir.path().join(loss), &set, score);
        let first = |found: &Evaluation| found.metrics[0].1;
        let (text, classifier, fusion) = (by(Score::Text), by(Score::Classifier), by(Score::Fusion));
        // A member of a fusion ranks as it does alone; near ties may be rounded otherwise.
        for (alone, (name, member)) in [&text, &classifier].into_iter().zip(&fusion.members) {
            assert!((first(alone) - member[0].1).abs() < 0.011, "{loss}: {name}, {member:?}");
        }
        let [text, classifier, fusion] = [&text, &classifier, &fusion].map(first);
        // The words of a title name its topic, so most titles can be told; by the labels' texts one in forty is.
        assert!(text < 0.2, "{loss}: text {text}");
        assert!(classifier > 0.7, "{loss}: classifier {classifier}");
        // On held-out queries it is seen that the texts mislead.
        assert!(fusion > classifier - 0.02, "{loss}: classifier {classifier}, fusion {fusion}");
    }
}

/// Twenty titles of two labels, of which the second has no text.
fn half_named(dir: &Path) -> PathBuf {
    let folder = dir.join("named");
    std::fs::create_dir(&folder).expect("a folder");
    let title = |i: usize| {
        format!("{{\"uid\":\"t{i}\",\"title\":\"word{} of {}\",\"target_ind\":[{}]}}\n", i % 7, i % 3, i % 2)
    };
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("written");
    write("trn.jsonl", (0..20).map(title).collect());
    write("tst.jsonl", title(20));
    write("lbl.jsonl", "{\"uid\":\"a\",\"title\":\"word1\"}\n{\"uid\":\"b\",\"title\":\"\"}\n".into());
    let out = dir.join("named.lode");
    let options = PrepareOptions::new(&out, TokenizerChoice::Train(60));
    data::prepare(&Source::Jsonl(folder), &options, &mut |_| {}).expect("prepared");
    out
}

#[test]
fn weights_start_from_the_labels_texts_or_the_mean_of_their_titles() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = half_named(dir.path());
    // The rate is too small to move anything that f32 would notice.
    let mut trainer = run::assemble(&Engine::new(1), &settings(&data, &["train.lr=1e-12", "train.batch=4"]))
        .expect("assembles");
    trainer.next_step(&mut Silent).expect("a step");
    let (network, data) = (&trainer.network, trainer.data());
    let embedded = |texts: data::Texts<'_>, rows: &[u32]| {
        let push = |i: usize, packed: &mut engine::Packed| texts.push_to(rows[i] as usize, packed);
        train::embed::embed(trainer.engine(), network, rows.len(), push, "", &mut Silent).expect("embedded")
    };
    let text = embedded(data.labels(), &[0]);
    let given = data.titles_of(1).iter().filter(|row| trainer.train_rows.contains(row)).copied();
    let titles = embedded(data.queries(Split::Train), &given.collect::<Vec<u32>>());
    let sum: Vec<f32> = (0..32).map(|i| titles.chunks(32).map(|title| title[i]).sum()).collect();
    let length = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
    let want = text.into_iter().chain(sum.into_iter().map(|x| x / length));
    let got = trainer.classifier().expect("a classifier").rows;
    assert!(titles.len() > 32 && got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-5));
}

/// Labels without a text are one text to an encoder, but not one label: each is a negative of the others' titles.
#[test]
fn labels_without_a_text_compete_for_a_classifier() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().join("nameless");
    std::fs::create_dir(&folder).expect("a folder");
    let title =
        |i: usize| format!("{{\"uid\":\"t{i}\",\"title\":\"w{} n{i}\",\"target_ind\":[{}]}}\n", i % 5, i % 5);
    let label = |l: usize| format!("{{\"uid\":\"l{l}\",\"title\":\"\"}}\n");
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("written");
    write("trn.jsonl", (0..60).map(title).collect());
    write("tst.jsonl", title(60));
    write("lbl.jsonl", (0..5).map(label).collect());
    let out = dir.path().join("nameless.lode");
    let options = PrepareOptions::new(&out, TokenizerChoice::Train(90));
    data::prepare(&Source::Jsonl(folder), &options, &mut |_| {}).expect("prepared");
    for labels in ["head.labels=all", "head.labels=sampled"] {
        let settings = settings(&out, &[labels, "train.batch=16"]);
        let mut trainer = run::assemble(&Engine::new(1), &settings).expect("assembles");
        assert_eq!(trainer.next_step(&mut Silent).expect("a step").masked, 0, "{labels}");
    }
}

/// Two ways that share neither masks nor gradient: candidates that are all labels, and the shortcut over all labels.
#[test]
fn candidates_that_are_all_labels_teach_what_all_labels_teach() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    let learn = |labels: &str, more: &[&str]| {
        let changes = [labels, "head.mined=0", "head.uniform=1000", "head.optimizer=sgd", "train.lr=1e-3"];
        let settings = settings(&data, &[&changes, more].concat());
        let mut trainer = run::assemble(&Engine::new(1), &settings).expect("assembles");
        let losses = [(); 4].map(|()| trainer.next_step(&mut Silent).expect("a step").loss);
        (losses, trainer.classifier().expect("a classifier").rows)
    };
    let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * a.abs().max(1.0);
    let both = |more: &[&str]| {
        let (all, candidates) = (learn("head.labels=all", more), learn("head.labels=sampled", more));
        let (told, beside) = (all.0, candidates.0);
        assert!(told.iter().zip(&beside).all(|(&a, &b)| near(a, b)), "{more:?}: {told:?}, {beside:?}");
        assert!(all.1.iter().zip(&candidates.1).all(|(&a, &b)| near(a.into(), b.into())), "{more:?}");
        told
    };
    let alone = both(&[]);
    assert!(alone[3] < alone[0], "{alone:?}");
    assert!(!near(both(&TEACHER)[0], both(&TEACHER[..1])[0]), "the teacher has a say");
}

/// A run directory without a classifier, as a teacher.
fn teacher(data: &Path, dir: &TempDir) -> String {
    trained(data, dir, "teacher", 1, &["head.name=none", "train.seed=3"]);
    format!("head.teacher={}", dir.path().join("teacher").display())
}

#[test]
fn what_a_teacher_said_is_kept_and_it_is_not_asked_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    let named = teacher(&data, &dir);
    let changes = [TEACHER[0], &named, TEACHER[2], TEACHER[3]];
    let whole = bits(&trained(&data, &dir, "whole", 2, &changes));
    assert_ne!(whole, bits(&trained(&data, &dir, "other", 2, &TEACHER)), "another teacher, other targets");
    // One run is stopped before it has asked, the other behind its first step.
    let stopped = [0, 1].map(|stop| {
        let out = dir.path().join(format!("stopped-{stop}"));
        let (mut trainer, run_dir) =
            run::begin(&Engine::new(1), &settings(&data, &changes), &out).expect("begins");
        run::run(&mut trainer, &run_dir, &mut StopAfter(stop)).expect("stops");
        assert_eq!(trainer.progress().step, stop);
        out
    });
    let finish = |out: &Path| {
        let (mut again, run_dir) = run::resume(&Engine::new(2), out, &mut Silent).expect("resumes");
        run::run(&mut again, &run_dir, &mut Silent).expect("ends");
        bits(&again)
    };
    assert!(finish(&stopped[0]) == whole, "asked after the resume");
    std::fs::remove_dir_all(dir.path().join("teacher")).expect("removed");
    // As a kill behind the asking leaves it: the checkpoint of step 0 alone.
    let saved = train::checkpoint::list(&stopped[1].join("checkpoints"));
    assert_eq!(saved.len(), 2);
    std::fs::remove_file(&saved[0]).expect("removed");
    assert!(finish(&stopped[1]) == whole, "what it said is in the checkpoint");
}

#[test]
fn what_asking_a_teacher_takes_is_planned_until_it_was_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    // So many pairs, and so small a step, that asking takes more than the steps behind it do.
    let small = ["model.width=8", "train.batch=2", "head.labels=sampled", "head.optimizer=sgd"];
    let changes = [&TEACHER[..3], &["head.near_labels=1000"], &small].concat();
    let [(asking, answers), (answered, same)] = [0, 1].map(|stop| {
        let out = dir.path().join(format!("stopped-{stop}"));
        let (mut trainer, run_dir) =
            run::begin(&Engine::new(1), &settings(&data, &changes), &out).expect("begins");
        run::run(&mut trainer, &run_dir, &mut StopAfter(stop)).expect("stops");
        let (trainer, _) = run::open(&Engine::new(1), &out).expect("opens");
        let plan = MemoryPlan::new(&trainer);
        let bytes = plan.parts.iter().find(|(name, _)| *name == "soft targets").expect("a line").1;
        let labels = trainer.data().labels().len();
        (bytes, 8 * labels * (1 + labels))
    });
    assert!(asking > answers && answered == same, "{asking} {answered} {answers}");
}

#[test]
fn a_teacher_that_cannot_be_read_is_told_before_there_is_a_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    let nobody = format!("head.teacher={}", dir.path().join("nobody").display());
    let out = dir.path().join("run");
    let settings = settings(&data, &[TEACHER[0], &nobody]);
    let error = run::begin(&Engine::new(1), &settings, &out).map(drop).expect_err("there is none");
    assert!(error.to_string().contains("nobody") && !out.exists(), "{error}");
}

#[test]
fn a_sigmoid_needs_held_out_queries() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 1000);
    let step = |per_mille: &str| {
        let changes = [TEACHER[0], TEACHER[1], TEACHER[2], "head.relevance=sigmoid", per_mille];
        let mut trainer = run::assemble(&Engine::new(1), &settings(&data, &changes)).expect("assembles");
        trainer.next_step(&mut Silent).map(|report| report.loss)
    };
    let error = step("data.validation_per_mille=20").expect_err("too few").to_string();
    assert!(error.contains("at least 100 are needed"), "{error}");
}

#[test]
fn an_encoder_that_learns_moves_and_one_that_rests_does_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    let encoder = |trainer: &Trainer| {
        let params = &trainer.network.model.params;
        params.ids().flat_map(|id| params.value(id).to_f64()).collect::<Vec<_>>()
    };
    let start = run::assemble(&Engine::new(1), &settings(&data, &[])).expect("assembles");
    let (rests, start) = (encoder(&trained(&data, &dir, "rests", 1, &[])), encoder(&start));
    assert_eq!(rests, start);
    assert_ne!(encoder(&trained(&data, &dir, "learns", 1, &["head.encoder_lr=1e-3"])), start);
}

#[test]
fn what_the_encoder_was_trained_on_is_not_held_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = world(dir.path(), 300);
    let data = DataSet::open(&path, Verify::Full).expect("opens");
    let run = |name: &str, changes: &[&str]| {
        trained(&path, &dir, name, 1, &[&["data.validation_per_mille=400"], changes].concat());
        load::held_out(&dir.path().join(name), &data).expect("reads")
    };
    let of_encoder = run("encoder", &["head.name=none", "train.seed=1"]);
    let source = format!("model.source={}", dir.path().join("encoder").display());
    assert_eq!(run("same", &[&source, "train.seed=1"]), of_encoder);
    let alone = run("alone", &["train.seed=2"]);
    let both: Vec<u32> = alone.iter().copied().filter(|row| of_encoder.contains(row)).collect();
    assert!(!both.is_empty() && both.len() < alone.len());
    assert_eq!(run("other", &[&source, "train.seed=2"]), both);
}

/// Bytes of the weights and of the optimizer's state, as they lie in a checkpoint that holds them whole.
fn counted(checkpoint: &Path) -> [usize; 2] {
    let file = Container::open(checkpoint, "checkpoint", Verify::Full).expect("opens");
    let of = |i: usize| {
        file.sections().iter().filter(move |s| s.name == format!("h{i}")).map(|s| s.bytes as usize)
    };
    [of(0).sum(), (1..3).flat_map(of).sum()]
}

#[test]
fn the_plan_counts_what_the_head_will_have_and_maps_what_is_beyond_the_limit() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    let tables = ["label weights", "label optimizer"];
    let of = |plan: &MemoryPlan, name: &str| plan.parts.iter().find(|p| p.0 == name).expect("a part").1;
    let both = |plan: &MemoryPlan| tables.map(|name| of(plan, name));
    for (way, changes) in WAYS.iter().enumerate() {
        let assembled = || run::assemble(&Engine::new(1), &settings(&data, changes)).expect("assembles");
        let heap = MemoryPlan::new(&assembled());
        let run = format!("run-{way}");
        trained(&data, &dir, &run, 1, changes);
        let newest = train::checkpoint::list(&dir.path().join(run).join("checkpoints"));
        assert_eq!(both(&heap), counted(&newest[0]), "{changes:?}");
        let counted: usize = both(&heap).iter().sum();

        let within = |limit| MemoryPlan::within(&mut assembled(), Some(limit), dir.path());
        assert_eq!(within(heap.total()), heap, "it fits");
        let mapped = within(heap.total() - 1);
        // A teacher is asked before there are tables: of what that takes, less is hidden behind smaller ones.
        let rest = |plan: &MemoryPlan| plan.total() - of(plan, "soft targets");
        assert_eq!((both(&mapped), rest(&mapped)), ([0, 0], rest(&heap) - counted));
        assert!(of(&mapped, "soft targets") >= of(&heap, "soft targets"));
        assert_eq!(mapped.mapped, Some((counted, dir.path().to_owned())));
        assert!(mapped.to_string().contains("mapped") && mapped.demand(mapped.total()).is_ok());
        assert_eq!(mapped.demand(mapped.total() - 1).expect_err("too large").kind(), engine::Kind::Refused);
        let told = format!("head.scratch={}", dir.path().join("elsewhere").display());
        let told = run::assemble(&Engine::new(1), &settings(&data, &[*changes, &[&*told]].concat()));
        let place =
            MemoryPlan::within(&mut told.expect("assembles"), Some(1), dir.path()).mapped.expect("mapped").1;
        assert_eq!(place, dir.path().join("elsewhere"), "where the user says");
    }
    let plan = |changes: &[&str]| {
        let trainer = run::assemble(&Engine::new(1), &settings(&data, changes)).expect("assembles");
        MemoryPlan::new(&trainer)
    };
    assert_eq!((of(&plan(&[]), "AdamW"), of(&plan(&[]), "activations")), (0, 0), "the encoder rests");
    assert!(of(&plan(&["head.encoder_lr=1e-3"]), "AdamW") > 0);
    // 8 bytes for each pair and each label; what asking takes is less than what a step will.
    let labels = DataSet::open(&data, Verify::Header).expect("opens").labels().len();
    assert_eq!(of(&plan(&TEACHER), "soft targets"), 8 * labels * 6);
    assert_eq!(of(&plan(&[]), "soft targets"), 0);
    // U, its inverse, Q and two vectors, of f64, and once more while they are saved.
    assert_eq!(of(&plan(&["head.loss=zloss"]), "label factors"), 2 * 8 * (3 * 32 * 32 + 2 * 32));
    assert_eq!(of(&plan(&[]), "label factors"), 0);
}

/// What a run hands on and ranks by are the weights themselves, wherever they are read: in memory, from its checkpoint,
/// and by a run that goes on from it.
#[test]
fn weights_of_factors_are_read_as_their_product() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    let changes = ["head.loss=zloss", "train.lr=3.0"];
    let trainer = trained(&data, &dir, "run", 2, &changes);
    let set = DataSet::open(&data, Verify::Header).expect("opens");
    let learned = trainer.classifier().expect("a classifier").rows;
    let out = dir.path().join("run");
    let read = load::classifier(&out, &set).expect("reads").expect("a classifier").rows;
    assert_eq!(read, learned);
    let newest = train::checkpoint::list(&out.join("checkpoints"));
    let file = Container::open(&newest[0], "checkpoint", Verify::Full).expect("opens");
    let table = file.slice::<f32>("h0").expect("a table");
    assert_eq!(table.len(), learned.len(), "it is whole");
    assert_ne!(table, learned, "the table alone is another");
    // Another loss begins with them.
    let source = format!("model.source={}", out.display());
    let next = ["head.loss=bce", &*source, "train.lr=1e-12"];
    let mut next = run::assemble(&Engine::new(1), &settings(&data, &next)).expect("assembles");
    next.next_step(&mut Silent).expect("a step");
    assert_eq!(next.classifier().expect("a classifier").rows, learned);
}

#[test]
fn wrong_settings_of_a_head_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = world(dir.path(), 130);
    for (change, want) in [
        ("head.loss=bcee", "`head.loss` must be one of bce"),
        ("head.optimizer=adamw", "adam, adagrad, sgd, none"),
        ("head.dropout=1.0", "`head.dropout` must be in [0, 1)"),
        ("train.accumulate=2", "`train.accumulate` must be 1 with a classifier"),
        ("head.teacher=start", "--set train.label_texts=true"),
        ("head.relevance=likely", "`head.relevance` must be one of linear, sigmoid"),
        ("head.hard_share=1.0", "`head.hard_share` must be in [0, 1)"),
        ("head.near_cosine=1.5", "`head.near_cosine` must be in [-1, 1]"),
        ("head.z_sharpness=0.0", "`head.z_sharpness` must be above 0"),
        ("head.z_location=inf", "`head.z_location` must be a number"),
        ("head.z_location=3.0", "are of the loss zloss, and this is bce"),
        ("head.labels=factored", "`head.labels = factored` works with the loss zloss, not bce"),
        ("head.loss=zloss", "which plain descent alone can move, and `head.optimizer` is adam"),
    ] {
        let mut settings = settings(&data, &[]);
        settings.set(change).expect("a value of the type");
        let error = settings.config().expect_err("refused").to_string();
        assert!(error.contains(want), "{error}");
    }
    for (change, want) in [("head.loss=supcon", "--set head.loss=bce"), ("head.near_labels=0", "at least 1")]
    {
        let mut settings = settings(&data, &TEACHER);
        settings.set(change).expect("a value of the type");
        let error = settings.config().expect_err("refused").to_string();
        assert!(error.contains(want), "{error}");
    }
    for (change, want) in [
        ("head.labels=all", "and `head.labels` is all"),
        ("head.labels=sampled", "--set head.labels=factored"),
        ("head.labels=live", "--set head.labels=factored"),
        ("head.optimizer=adam", "`head.optimizer` is adam"),
        ("head.optimizer=adagrad", "--set head.optimizer=sgd"),
        ("head.optimizer=none", "--set head.optimizer=sgd"),
        ("head.precision=bf16", "which rounding to bf16 would take out of step"),
        ("head.teacher=start", "the loss zloss does not ask of each by itself"),
    ] {
        let mut settings = settings(&data, &["head.loss=zloss"]);
        settings.set(change).expect("a value of the type");
        let error = run::assemble(&Engine::new(1), &settings).map(drop).expect_err("refused").to_string();
        assert!(error.contains(want), "{change}: {error}");
    }
    let mut settings = settings(&data, &["head.loss=supcon"]);
    settings.set("head.labels=all").expect("a value");
    assert!(settings.config().expect_err("refused").to_string().contains("works with the loss bce"));
}
