//! A step whose numbers run away: what is said of it, and what it leaves behind where the run may pass over it.

mod world;

use data::Split;
use engine::{Engine, Kind, Tensor};
use std::path::Path;
use tempfile::TempDir;
use train::finite::last_good;
use train::{Checkpoint, RunDir, Silent, Trainer, run};
use world::{StopAfter, Warned, bits, topics};

const BASE: [&str; 7] = [
    "model.source=bag",
    "model.width=16",
    "train.batch=20",
    "train.epochs=2",
    "train.lr=1e-2",
    "train.warmup_steps=0",
    "loss.name=infonce",
];

fn begun(data: &Path, dir: &TempDir, name: &str, changes: &[&str]) -> (Trainer, RunDir) {
    let settings = world::settings(data, &BASE, changes);
    run::begin(&Engine::new(2), &settings, &dir.path().join(name)).expect("begins")
}

/// Sets a row of the first parameter, the table of tokens, or all of it.
fn fill(trainer: &mut Trainer, token: Option<u32>, with: f32) {
    let params = &mut trainer.network.model.params;
    let id = params.ids().next().expect("a model has parameters");
    let (shape, mut values) = (params.value(id).shape(), params.value(id).data::<f32>().to_vec());
    match token {
        Some(token) => values[token as usize * shape.last()..][..shape.last()].fill(with),
        None => values.fill(with),
    }
    params.set(id, Tensor::from_vec(shape, values));
}

/// A token that stands in one text that is trained on, and that text's query.
fn rare(trainer: &Trainer) -> (u32, String) {
    let (queries, labels) = (trainer.data().queries(Split::Train), trainer.data().labels());
    let has = |texts: data::Texts<'_>, i: usize, token: u32| texts.tokens(i).any(|t| t == token);
    for &row in &trainer.train_rows {
        for token in queries.tokens(row as usize) {
            let once = (0..queries.len()).filter(|&i| has(queries, i, token)).count() == 1;
            if once && !(0..labels.len()).any(|i| has(labels, i, token)) {
                return (token, queries.uid(row as usize).to_owned());
            }
        }
    }
    panic!("no token is rare")
}

#[test]
fn a_step_that_is_passed_over_changes_nothing_but_the_count() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let changes = [
        "composer.name=ngame",
        "memory.queue=60",
        "memory.momentum=0.9",
        "train.accumulate=2",
        "train.skip_nonfinite=3",
    ];
    let (mut trainer, run) = begun(&data, &dir, "run", &changes);
    for _ in 0..2 {
        assert!(trainer.next_step(&mut Silent).expect("a step").skipped.is_none());
    }
    fill(&mut trainer, None, f32::NAN);
    trainer.save(&run.checkpoints()).expect("saved");
    let mut warned = Warned::default();
    let report = trainer.next_step(&mut warned).expect("passed over");
    let why = report.skipped.expect("a reason");
    assert!(
        why.contains("1 of at most 3") && why.contains("`gather`") && why.contains("the batch holds"),
        "{why}"
    );
    assert!(warned.0 == [why] && report.step == 3 && report.loss.is_nan());
    assert_eq!((trainer.progress().step, trainer.skipped()), (3, Some(1)));
    trainer.save(&run.checkpoints()).expect("saved");
    let read = |step| Checkpoint::read(&train::checkpoint::path_of(&run.checkpoints(), step)).expect("whole");
    let (before, after) = (read(2), read(3));
    let numbers = |of: &[(String, Tensor)]| -> Vec<(String, Vec<u64>)> {
        let bits = |t: &Tensor| t.to_f64().into_iter().map(f64::to_bits).collect();
        of.iter().filter(|(name, _)| name != "skipped").map(|(name, t)| (name.clone(), bits(t))).collect()
    };
    assert!(numbers(&before.params) == numbers(&after.params), "parameters");
    assert!(numbers(&before.optimizer) == numbers(&after.optimizer), "the optimizer's state");
    assert!(numbers(&before.memory) == numbers(&after.memory), "what is remembered");
    assert!(before.bank == after.bank && before.bank.0.iter().all(|x| x.is_finite()), "the bank");
    assert_eq!(before.memory.len(), after.memory.len());
    assert_ne!(before.progress.batch, after.progress.batch, "the same batch is not met again");
}

/// One text of the world has a token whose vector is infinite: its batch runs away once an epoch.
#[test]
fn resume_counts_what_was_passed_over_before_and_ends_with_the_same_bits() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let begun = |name: &str, limit: &str| {
        let (mut trainer, run) = begun(&data, &dir, name, &["composer.name=shuffled", limit]);
        let (token, uid) = rare(&trainer);
        fill(&mut trainer, Some(token), f32::INFINITY);
        (trainer, run, uid)
    };
    let (mut whole, run, uid) = begun("whole", "train.skip_nonfinite=2");
    let mut warned = Warned::default();
    let outcome = run::run(&mut whole, &run, &mut warned).expect("trains");
    assert!(outcome.finished && whole.skipped() == Some(2));
    assert!(warned.0.len() == 2 && warned.0.iter().all(|text| text.contains(&uid)), "{:?} {uid}", warned.0);
    let last = run.final_line().expect("finished");
    assert_eq!(last["skipped"], 2);
    for stop in 1..whole.total_steps() {
        let (mut trainer, run, _) = begun(&format!("stopped{stop}"), "train.skip_nonfinite=2");
        run::run(&mut trainer, &run, &mut StopAfter(stop)).expect("stops");
        let (mut again, run) = run::resume(&Engine::new(2), run.root(), &mut Silent).expect("resumes");
        assert_eq!(again.skipped(), trainer.skipped());
        run::run(&mut again, &run, &mut Silent).expect("ends");
        assert!(bits(&again) == bits(&whole) && again.skipped() == Some(2), "stopped at {stop}");
    }
    // One is passed over in the first epoch; a process later the next one is one too many.
    let per_epoch = whole.steps_per_epoch();
    let (mut trainer, run, _) = begun("limited", "train.skip_nonfinite=1");
    run::run(&mut trainer, &run, &mut StopAfter(per_epoch)).expect("stops");
    let (mut again, run) = run::resume(&Engine::new(2), run.root(), &mut Silent).expect("resumes");
    let error = run::run(&mut again, &run, &mut Silent).expect_err("one too many");
    assert_eq!(error.kind(), Kind::Numeric);
    assert!(error.to_string().contains("1 steps were passed over before"), "{error}");
    assert!(error.to_string().contains(&uid), "{error}");
}

#[test]
fn a_run_with_a_classifier_passes_over_nothing() {
    let mut settings = train::Settings::default();
    for told in ["train.skip_nonfinite=1", "head.name=classifier"] {
        settings.set(told).expect("a setting");
    }
    let error = settings.config().expect_err("refused");
    assert!(error.to_string().contains("train.skip_nonfinite"), "{error}");
}

#[test]
fn a_classifier_that_runs_away_names_the_operation_and_the_batch() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    for (labels, more, op) in [
        ("head.labels=all", "head.encoder_lr=0", "`one_vs_all`"),
        ("head.labels=sampled", "head.encoder_lr=0", "`matmul"),
        ("head.labels=sampled", "head.encoder_lr=1e-3", "`matmul"),
        // Whose loss the scale of the weights does not change: it runs away where f32 has no such rate.
        ("head.loss=zloss", "train.lr=1e39", "`factored`"),
    ] {
        let changes = ["head.name=classifier", labels, "train.lr=1e38", more, "train.clip=0"];
        let (mut trainer, _) = begun(&data, &dir, &format!("{labels}-{more}"), &changes);
        let error = loop {
            match trainer.next_step(&mut Silent) {
                Ok(report) => assert!(report.step < 5, "it does not run away"),
                Err(error) => break error,
            }
        };
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Numeric);
        assert!(text.contains(op) && text.contains("the batch holds"), "{labels} {more}: {text}");
    }
}

#[test]
fn the_last_good_checkpoint_is_one_with_finite_parameters() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let (mut trainer, run) = begun(&data, &dir, "run", &["composer.name=shuffled"]);
    let folder = run.checkpoints();
    assert_eq!(last_good(&folder), None);
    trainer.next_step(&mut Silent).expect("a step");
    trainer.save(&folder).expect("saved");
    trainer.next_step(&mut Silent).expect("a step");
    fill(&mut trainer, None, f32::INFINITY);
    trainer.save(&folder).expect("saved");
    assert_eq!(last_good(&folder), Some(train::checkpoint::path_of(&folder, 1)));
}

#[test]
fn a_run_that_ran_away_may_be_allowed_to_pass_over_steps_afterwards() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let (mut trainer, run) = begun(&data, &dir, "run", &["composer.name=shuffled"]);
    run::run(&mut trainer, &run, &mut StopAfter(2)).expect("stops");
    let config = std::fs::read_to_string(run.config()).expect("read");
    let changed = config.replace("skip_nonfinite = 0", "skip_nonfinite = 4");
    assert_ne!(config, changed);
    std::fs::write(run.config(), changed).expect("written");
    let (again, _) = run::resume(&Engine::new(2), run.root(), &mut Silent).expect("resumes");
    assert_eq!((trainer.skipped(), again.skipped(), again.progress().step), (None, Some(0), 2));
}
