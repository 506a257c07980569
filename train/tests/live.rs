//! ADORE's promises: labels rest and queries learn, the run keeps both, a step looks among all labels by the embeddings
//! of that moment, and what is known to be right is never pushed away.

mod world;

use data::metrics::Metric;
use data::{DataSet, Split, Verify};
use engine::{Engine, Kind, Stream, Tensor};
use std::path::{Path, PathBuf};
use train::config::Settings;
use train::evaluate::{Options, Queries, evaluate_with};
use train::index::Index;
use train::plan::MemoryPlan;
use train::scoring::Score;
use train::{Silent, Trainer, load, run};

/// Forty topics of six words; a title is three words of its topic and one of another. A label is called by the words of
/// the next topic, so that titles have to leave their words' directions, and whoever encodes labels after that finds
/// others. A few titles have a word that no label has.
fn topics(dir: &Path, titles: u64) -> PathBuf {
    let s = Stream::new(12, 0);
    let mut csv = String::from("title,label\n");
    for row in 0..titles {
        let draw = |i: u64, n: u64| s.below(8 * row + i, n);
        let topic = draw(0, 40);
        let mut words: Vec<String> = (1..4).map(|i| format!("w{topic}x{}", draw(i, 6))).collect();
        words.push(format!("w{}x{}", draw(4, 40), draw(5, 6)));
        if row < 6 {
            words.push("zzz".into());
        }
        let name: Vec<String> = (0..6).map(|i| format!("w{}x{i}", (topic + 1) % 40)).collect();
        csv += &format!("{},{}\n", words.join(" "), name.join(" "));
    }
    world::prepared(dir, &csv, 400, |_| ())
}

fn settings(data: &Path, changes: &[&str]) -> Settings {
    let base = [
        "strategy.name=adore",
        "model.source=bag",
        "model.width=32",
        "train.batch=24",
        "train.epochs=2",
        "train.lr=1e-2",
        "train.warmup_steps=2",
        "head.shortlist=9",
    ];
    world::settings(data, &base, changes)
}

fn assembled(data: &Path, threads: usize, changes: &[&str]) -> Trainer {
    run::assemble(&Engine::new(threads), &settings(data, changes)).expect("assembles")
}

fn labels_of(trainer: &Trainer) -> Vec<f32> {
    let (engine, data) = (trainer.engine(), trainer.data());
    let push = |i: usize, packed: &mut engine::Packed| data.labels().push_to(i, packed);
    let all = data.labels().len();
    train::embed::embed(engine, &trainer.network, all, push, "", &mut Silent).expect("embedded")
}

#[test]
fn labels_rest_queries_learn_and_the_run_keeps_both() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = topics(dir.path(), 900);
    let changes = ["train.epochs=12", "data.validation_per_mille=100"];
    let before = labels_of(&assembled(&path, 2, &changes));
    let out = dir.path().join("run");
    let (mut trainer, run_dir) =
        run::begin(&Engine::new(2), &settings(&path, &changes), &out).expect("begins");
    let outcome = run::run(&mut trainer, &run_dir, &mut Silent).expect("trains");
    let weights = trainer.classifier().expect("a classifier").rows;
    assert!(weights.iter().zip(&before).all(|(w, b)| (w - b).abs() < 1e-6), "the starting model's labels");
    assert_ne!(labels_of(&trainer), before, "the encoder has learned");
    // What another process finds on the disk: by the vectors that rest, and by those that the encoder would make now.
    let (data, engine) = (DataSet::open(&path, Verify::Header).expect("opens"), Engine::new(1));
    let network = load::network(&out).expect("a network");
    let index = Index::build(&engine, &network, &data, false, &mut Silent).expect("an index");
    let classifier = load::classifier(&out, &data).expect("reads").expect("a classifier");
    assert_eq!(classifier.rows, weights);
    let index = index.with_classifier(Some(classifier)).expect("it fits");
    let measured = |score| {
        let options = Options { metrics: Metric::list("P@1").expect("one"), score, ..Options::default() };
        let rows = &trainer.validation_rows[..];
        let queries = Queries { split: Split::Train, rows: Some(rows) };
        let found = evaluate_with(&engine, &network, &index, &data, queries, &options, &mut Silent);
        found.expect("measured").metrics[0].1
    };
    let (rest, moved) = (measured(Score::Classifier), measured(Score::Text));
    assert!((rest - outcome.validation[0].1).abs() < 1e-9, "the run measured {}", outcome.validation[0].1);
    assert!(rest > 0.7 && moved < 0.3, "by labels at rest {rest}, by others {moved}");
}

/// The loss of a step is that of labels sorted by a program that shares nothing with it.
#[test]
fn a_step_ranks_all_labels_by_the_queries_of_that_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 300);
    let mut trainer = assembled(&data, 1, &["model.dropout=0", "train.batch=500", "train.epochs=5"]);
    let weights = labels_of(&trainer);
    for _ in 0..3 {
        let set = trainer.data();
        let push = |i: usize, packed: &mut engine::Packed| {
            set.queries(Split::Train).push_to(trainer.train_rows[i] as usize, packed);
        };
        let n = trainer.train_rows.len();
        let queries = train::embed::embed(trainer.engine(), &trainer.network, n, push, "", &mut Silent);
        let queries = queries.expect("embedded");
        let mut want = 0.0;
        for (x, &q) in queries.chunks(32).zip(&trainer.train_rows) {
            let dot = |w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(x * w)).sum::<f64>();
            let scores: Vec<f64> = weights.chunks(32).map(dot).collect();
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let positives = set.positives(Split::Train, q as usize);
            assert_eq!(positives.len(), 1);
            let own = positives[0] as usize;
            let rank = order.iter().position(|&l| l == own).expect("ranked");
            let of = |rank: usize| if rank < 9 { 1.0 / (rank + 1) as f64 } else { 0.0 };
            let hits = order[..9].iter().enumerate().filter(|&(_, &l)| l != own);
            let pairs: Vec<f64> = hits
                .map(|(at, &l)| (of(at) - of(rank)).abs() * ((scores[l] - scores[own]) / 0.05).exp().ln_1p())
                .collect();
            want += pairs.iter().sum::<f64>() / pairs.len() as f64 / n as f64;
        }
        let loss = trainer.next_step(&mut Silent).expect("a step").loss;
        assert!((loss - want).abs() < 1e-4 * want, "{loss} is not {want}");
    }
}

#[test]
fn chunks_change_no_more_than_rounding_and_threads_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 200);
    let stepped = |threads, chunk: &str| {
        let mut trainer = assembled(&data, threads, &[chunk, "model.dropout=0.1", "train.clip=0"]);
        let reports = [(); 3].map(|()| trainer.next_step(&mut Silent).expect("a step"));
        (reports.map(|r| (r.loss, r.grad_norm)), world::bits(&trainer))
    };
    let (whole, bits) = stepped(1, "train.chunk=0");
    assert_eq!((whole, bits), stepped(3, "train.chunk=0"));
    let (pieces, _) = stepped(2, "train.chunk=5");
    for ((loss, norm), (in_chunks, of_chunks)) in whole.into_iter().zip(pieces) {
        assert!(
            (loss - in_chunks).abs() < 1e-4 * loss && (norm - of_chunks).abs() < 1e-3 * norm,
            "{pieces:?}"
        );
    }
}

#[test]
fn the_encoder_is_planned_for_and_the_rate_of_the_run_is_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 130);
    let plan = MemoryPlan::new(&assembled(&data, 1, &[]));
    let of = |name: &str| plan.parts.iter().find(|p| p.0 == name).expect("a part").1;
    assert!(
        of("AdamW") > 0 && of("label weights") > 0 && of("label optimizer") == 0 && of("shortlists") == 0
    );
    let step = |deep: &str| {
        let plan = MemoryPlan::new(&assembled(&data, 1, &[deep]));
        plan.parts.iter().find(|p| p.0 == "head step").expect("a part").1
    };
    assert!(step("head.shortlist=30") > step("head.shortlist=2"));
    let moved = |lr: &str| {
        let mut trainer = assembled(&data, 1, &[lr]);
        let before = world::bits(&trainer);
        trainer.next_step(&mut Silent).expect("a step");
        let far = |(a, b): (&u32, &u32)| f64::from((f32::from_bits(*a) - f32::from_bits(*b)).abs());
        before.iter().zip(&world::bits(&trainer)).map(far).fold(0.0, f64::max)
    };
    let (slow, fast) = (moved("train.lr=1e-3"), moved("train.lr=1e-2"));
    assert!(slow > 0.0 && (8.0..12.0).contains(&(fast / slow)), "{slow}, {fast}");
}

/// A token of the word that no label has.
fn of_titles_alone(trainer: &Trainer) -> u32 {
    let (queries, labels) = (trainer.data().queries(Split::Train), trainer.data().labels());
    let in_labels: Vec<u32> = (0..labels.len()).flat_map(|l| labels.tokens(l)).collect();
    let mut in_titles = trainer.train_rows.iter().flat_map(|&q| queries.tokens(q as usize));
    in_titles.find(|token| !in_labels.contains(token)).expect("a word of its own")
}

/// Of queries, a few: the others have a loss all the same.
#[test]
fn embeddings_that_are_no_numbers_find_nothing_and_stop_the_run() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 130);
    // The encoder learns, or rests and labels learn.
    for optimizer in ["head.optimizer=none", "head.optimizer=sgd"] {
        let mut trainer = assembled(&data, 1, &[optimizer, "train.batch=500", "train.clip=0"]);
        let token = of_titles_alone(&trainer);
        let params = &mut trainer.network.model.params;
        let id = params.ids().next().expect("a model has parameters");
        let (shape, mut values) = (params.value(id).shape(), params.value(id).data::<f32>().to_vec());
        values[token as usize * shape.last()..][..shape.last()].fill(f32::NAN);
        params.set(id, Tensor::from_vec(shape, values));
        let error = trainer.next_step(&mut Silent).expect_err("not finite");
        assert_eq!(error.kind(), Kind::Numeric, "{optimizer}: {error}");
    }
}

#[test]
fn wrong_settings_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 130);
    for (change, want) in [
        ("head.encoder_lr=1e-4", "its rate is `train.lr`"),
        ("head.frozen_epochs=1", "nothing would learn"),
        ("head.labels=auto", "--set head.labels=live"),
        ("head.shortlist=0", "--set head.shortlist=200"),
        ("head.name=none", "--head classifier"),
        ("data.truth=nowhere", "empty with a classifier"),
        ("negatives.from=bm25", "this run learns a classifier"),
    ] {
        let refused = world::settings_of(&data, &["strategy.name=adore", change]);
        let error = refused.map(drop).expect_err(change).to_string();
        assert!(error.contains(want), "{change}: {error}");
    }
    // The encoder's own defaults hold, also where the classifier is named beside the strategy.
    let rate = |changes: &[&str]| {
        world::settings_of(&data, changes).expect("fits").config().expect("in range").train.lr
    };
    let encoders = rate(&["strategy.name=in-batch"]);
    assert_eq!(rate(&["strategy.name=adore"]), encoders);
    assert_eq!(rate(&["strategy.name=adore", "head.name=classifier"]), encoders);
}
