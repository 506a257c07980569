//! A cross-encoder that learns, alone and in turns with an encoder.

mod world;

use data::metrics::Metric;
use data::{DataSet, Split, Verify};
use engine::{Engine, Kind, Stream};
use std::path::Path;
use train::config::Settings;
use train::judge::Judge;
use train::plan::MemoryPlan;
use train::{Silent, Trainer, load, run};
use world::{bits, topics};

fn settings(data: &Path, changes: &[&str]) -> Settings {
    let base = ["model.source=tiny", "model.width=32", "train.batch=12", "train.warmup_steps=0"];
    world::settings(data, &base, changes)
}

fn trainer(data: &Path, changes: &[&str]) -> Trainer {
    run::assemble(&Engine::new(2), &settings(data, changes)).expect("fits")
}

fn steps(trainer: &mut Trainer, count: usize) {
    (0..count).for_each(|_| _ = trainer.next_step(&mut Silent).expect("a step"));
}

/// Bits of the encoder, and of the cross-encoder.
fn apart(trainer: &Trainer) -> [Vec<u32>; 2] {
    let mut all = bits(trainer);
    let of_cross = all.split_off(trainer.network.model.params.count());
    [all, of_cross]
}

#[test]
fn a_cross_encoder_learns_to_tell_the_right_label_of_a_list() {
    let dir = tempfile::tempdir().expect("a directory");
    // Which label is right for a title follows from its first word, and no word says so but by example. All share one
    // word, by which BM25 lists all others.
    let row = |i: usize| format!("t{} n{} of,l{} of\n", i % 12, i / 12 % 13, 5 * i % 12);
    let rows: String = (0..720).map(row).collect();
    let data = world::prepared(dir.path(), &format!("title,label\n{rows}"), 200, |_| ());
    for loss in ["softmax", "pairs"] {
        let loss = format!("cross.loss={loss}");
        let changes = [
            "strategy.name=cross-encoder",
            "train.steps=400",
            "cross.lr=2e-3",
            "model.dropout=0",
            "data.validation_per_mille=100",
            &loss,
        ];
        let mut trainer = trainer(&data, &changes);
        let measured = |trainer: &Trainer| {
            let metrics = Metric::list("P@1").expect("a metric");
            let rows = trainer.validation_rows.clone();
            trainer.measure_cross(&rows, metrics, &mut Silent).expect("measured").metrics[0].1
        };
        steps(&mut trainer, 1);
        let encoder = apart(&trainer)[0].clone();
        let before = measured(&trainer);
        steps(&mut trainer, 399);
        let after = measured(&trainer);
        assert!(before < 0.3 && after > 0.6, "{loss}: P@1 of held-out lists was {before} and is {after}");
        assert!(apart(&trainer)[0] == encoder, "the encoder rests");
    }
}

#[test]
fn lists_read_in_groups_have_the_gradient_of_the_batch() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    for loss in ["cross.loss=softmax", "cross.loss=pairs"] {
        for own in ["negatives.own=true", "negatives.own=false"] {
            let gradient = |chunk: &str, threads: usize| {
                let changes =
                    ["strategy.name=cross-encoder", "train.batch=6", "train.positives=0", loss, own, chunk];
                let settings = settings(&data, &changes);
                let mut trainer = run::assemble(&Engine::new(threads), &settings).expect("fits");
                trainer.cross_gradient_of_next_batch(&mut Silent).expect("a gradient")
            };
            let (whole_loss, whole) = gradient("train.chunk=0", 2);
            let (parts_loss, parts) = gradient("train.chunk=17", 2);
            assert!(whole_loss > 0.0 && (whole_loss - parts_loss).abs() <= 1e-5 * whole_loss);
            let largest = whole.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let off = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off <= 1e-5 * largest, "{loss} {own}: {off} of {largest}");
            assert!(gradient("train.chunk=17", 1) == (parts_loss, parts), "threads change no bit");
        }
    }
}

#[test]
fn encoder_and_cross_encoder_take_turns() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 180);
    let changes = ["strategy.name=ar2", "negatives.refresh_steps=8", "cross.share=0.25", "train.steps=18"];
    let mut trainer = trainer(&data, &changes);
    for step in 0..18 {
        let before = apart(&trainer);
        let report = trainer.next_step(&mut Silent).expect("a step");
        // Twelve rows with their lists are read in every step, and the encoder's texts besides in its own.
        let pairs = (12.0 * (1.0 + report.negatives.expect("counted"))).round() as u64;
        assert!(if step % 8 < 2 { report.texts == pairs } else { report.texts > pairs }, "step {step}");
        let moved: Vec<bool> = apart(&trainer).iter().zip(&before).map(|(a, b)| a != b).collect();
        // Two steps of each eight are the cross-encoder's.
        assert_eq!(moved, [step % 8 >= 2, step % 8 < 2], "step {step}");
    }
}

/// Its numbers are copies: two models that begin alike go ways of their own.
#[test]
fn it_may_begin_with_the_encoder_of_the_run_or_with_that_of_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, warm) = (topics(dir.path(), 120), dir.path().join("warm"));
    let begun = trainer(&data, &["strategy.name=in-batch"]);
    load::write_model(&begun.network, begun.data(), &warm, models::hf::Card::default()).expect("written");
    let source = format!("model.source={}", warm.display());
    for cross in ["start".to_owned(), warm.display().to_string()] {
        let cross = format!("cross.model={cross}");
        let changes = ["strategy.name=ar2", "negatives.refresh_steps=4", &source, &cross];
        let mut trainer = trainer(&data, &changes);
        let [encoder, of_cross] = apart(&trainer);
        assert!(of_cross[..encoder.len()] == encoder && of_cross.len() > encoder.len(), "and a fresh head");
        steps(&mut trainer, 4);
        let [after, of_cross] = apart(&trainer);
        assert!(
            after != encoder && of_cross[..encoder.len()] != encoder && of_cross[..encoder.len()] != after
        );
    }
}

#[test]
fn a_run_has_its_cross_encoder_in_a_directory_and_after_its_newest_checkpoint() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, out) = (topics(dir.path(), 120), dir.path().join("run"));
    let settings = settings(&data, &["strategy.name=cross-encoder", "train.steps=6", "cross.loss=pairs"]);
    let (mut trainer, run_dir) = run::begin(&Engine::new(2), &settings, &out).expect("begins");
    let set = DataSet::open(&data, Verify::Full).expect("opens");
    let scores = |path: &Path| {
        let judge = Judge::read(path).expect("a judge");
        let query = set.queries(Split::Train).text(3).into_owned();
        let labels: Vec<_> = (0..9).map(|l| set.labels().text(l).into_owned()).collect();
        judge.scores(&Engine::new(1), &query, labels.iter().map(|text| &**text)).expect("scores")
    };
    let fresh = scores(&out);
    assert!(!run::run(&mut trainer, &run_dir, &mut world::StopAfter(4)).expect("stops").finished);
    let stopped = scores(&out);
    assert!(stopped != fresh && scores(&out.join("cross")) == fresh, "its directory is as it began");
    let (mut again, run_dir) = run::resume(&Engine::new(1), &out, &mut Silent).expect("resumes");
    assert!(run::run(&mut again, &run_dir, &mut Silent).expect("ends").finished);
    let ended = scores(&out);
    assert!(ended != stopped && scores(&out.join("cross")) == ended);
    assert!(ended.iter().all(|p| (0.0..=1.0).contains(p)), "each pair for itself: probabilities");
    let plain = dir.path().join("plain");
    run::begin(&Engine::new(1), &world::settings(&data, &["model.source=bag"], &[]), &plain).expect("begins");
    let error = Judge::read(&plain).expect_err("none there").to_string();
    assert!(error.contains("this run has no cross-encoder"), "{error}");
}

/// AR2's game: what the encoder ranks anew is harder for the ranker than what it learned from, and in its turn it makes
/// up for that. Where the encoder rests, nothing is harder. Right is the label of both words of a title, and near are
/// those that share one. `SLOW=1` plays it on ten seeds.
#[test]
fn a_refresh_finds_what_fools_the_ranker_and_its_turn_makes_up_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let draw = Stream::new(3, 0);
    let row = |i: u64| {
        let [a, b, n] = [0, 1, 2].map(|k| draw.below(3 * i + k, 16));
        format!("a{a} b{b} n{n},x{a} y{b}\n")
    };
    let rows: String = (0..3000).map(row).collect();
    let data = world::prepared(dir.path(), &format!("title,label\n{rows}"), 300, |_| ());
    // P@1 of the ranker over held-out lists: before each of two refreshes, after it, and at the end of its turn.
    let game = |rate: &str, seed: u64| {
        let changes = [
            "strategy.name=ar2",
            "model.source=bag",
            "cross.model=tiny",
            "cross.lr=2e-3",
            "cross.share=0.5",
            "negatives.count=7",
            "negatives.depth=20",
            "negatives.refresh_steps=200",
            "loss.temperature=0.1",
            "model.dropout=0",
            "train.batch=32",
            "train.schedule=constant",
            "train.steps=500",
            "data.validation_per_mille=100",
            &format!("train.lr={rate}"),
            &format!("train.seed={seed}"),
        ];
        let mut trainer = trainer(&data, &changes);
        let found = |trainer: &Trainer| {
            let metrics = Metric::list("P@1").expect("a metric");
            let rows = &trainer.validation_rows[..150];
            trainer.measure_cross(rows, metrics, &mut Silent).expect("measured").metrics[0].1
        };
        let mut turns = [[0.0; 3]; 2];
        steps(&mut trainer, 100);
        for turn in &mut turns {
            // The encoder's turn; the refresh, with the first step of the ranker; the rest of its turn.
            *turn = [100, 1, 99].map(|count| {
                steps(&mut trainer, count);
                found(&trainer)
            });
        }
        // How far the ranker falls, and how much it makes up for.
        let mean = |of: fn(&[f64; 3]) -> f64| turns.iter().map(of).sum::<f64>() / 2.0;
        [mean(|[before, fresh, _]| before - fresh), mean(|[_, fresh, learned]| learned - fresh)]
    };
    let seeds = if std::env::var_os("SLOW").is_some() { 0..10 } else { 0..2 };
    let all = |rate: &str| seeds.clone().map(|seed| game(rate, seed)).collect::<Vec<_>>();
    let (played, rested) = (all("3e-3"), all("1e-9"));
    let mean = |of: &[[f64; 2]], which: usize| of.iter().map(|x| x[which]).sum::<f64>() / of.len() as f64;
    let ([fall, recovery], still) = ([0, 1].map(|which| mean(&played, which)), mean(&rested, 0));
    println!(
        "P@1 of the ranker falls by {fall:.2} and recovers by {recovery:.2}; encoder at rest: {still:.2}"
    );
    println!("by seed: {played:.2?}; at rest {rested:.2?}");
    assert!(fall > 0.1 && recovery > 0.1 && still.abs() < 0.1, "{fall} {recovery} {still}");
}

/// Lists of the starting model serve while the cross-encoder learns; then it reads them, and what it finds right is
/// out.
#[test]
fn a_cross_encoder_judges_the_lists_once_it_has_learned() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 180);
    let run_of = |limit: f32| {
        let limit = format!("negatives.max_score={limit}");
        let changes = [
            "strategy.name=rocketqa",
            "negatives.rescore=cross",
            "cross.model=start",
            "cross.share=0.5",
            "cross.loss=pairs",
            "train.steps=12",
            "negatives.depth=20",
            &limit,
        ];
        let mut trainer = trainer(&data, &changes);
        steps(&mut trainer, 6);
        assert_eq!(trainer.listed().expect("lists").made_at_step, 0);
        steps(&mut trainer, 6);
        assert_eq!(trainer.listed().expect("lists").made_at_step, 6, "when it had learned, and once");
        let lists = trainer.listed().expect("lists");
        let mut all: Vec<f32> =
            trainer.train_rows.iter().flat_map(|&q| lists.row(q as usize).1.to_vec()).collect();
        all.sort_by(f32::total_cmp);
        all
    };
    let all = run_of(1.0);
    assert!(all.iter().all(|p| (0.0..=1.0).contains(p)), "its probabilities are the scores");
    let middle = all[all.len() / 2];
    // Who ranked may be gone by then: what was found is read again, not searched for again.
    let ranker = dir.path().join("ranker");
    run::begin(&Engine::new(1), &settings(&data, &[]), &ranker).expect("begins");
    let changes =
        ["strategy.name=rocketqa", "negatives.rescore=cross", "cross.model=start", "cross.share=0.5"];
    let named = format!("negatives.model={}", ranker.display());
    let mut other = trainer(&data, &[&changes[..], &["train.steps=4", "negatives.skip=2", &named]].concat());
    steps(&mut other, 1);
    let width =
        |trainer: &Trainer| trainer.listed().expect("lists").row(trainer.train_rows[0] as usize).0.len();
    let found = width(&other);
    std::fs::remove_dir_all(&ranker).expect("removed");
    steps(&mut other, 2);
    assert_eq!(other.listed().expect("lists").made_at_step, 2);
    assert!(width(&other) <= found);
    assert_eq!(run_of(middle), all[..all.partition_point(|&p| p <= middle)], "what is above goes");
}

#[test]
fn what_cannot_be_is_refused_with_what_helps() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 60);
    let told = |changes: &[&str]| {
        let error = match world::settings_of(&data, changes) {
            Err(error) => error,
            Ok(settings) => run::assemble(&Engine::new(1), &settings).err().expect("refused"),
        };
        assert_eq!(error.kind(), Kind::Input);
        error.to_string()
    };
    let check = |changes: &[&str], want: &str| {
        let error = told(changes);
        assert!(error.contains(want) && error.contains("help"), "{changes:?}: {error}");
    };
    let cross = "strategy.name=cross-encoder";
    check(&[cross], "a bag cannot read two texts as one here");
    check(&[cross, "negatives.from=batch", "negatives.own=false"], "lists");
    check(&[cross, "negatives.from=model", "negatives.refresh_steps=5"], "ranks alike for ever");
    check(&["strategy.name=ar2", "cross.model="], "learns from a guide, and none is named");
    check(&["strategy.name=ar2", "guide.model=start"], "would both teach");
    check(&["strategy.name=rocketqa", "negatives.rescore=cross"], "there is no cross-encoder in this run");
    let distil = ["strategy.name=distil", "cross.model=tiny", "negatives.from=model"];
    let with = |more: &'static str| [&distil[..], &[more]].concat();
    check(&with("memory.queue=20"), "no other columns");
    check(&with("loss.blocks=['query-label', 'query-query']"), "no other columns");
    let judged = ["strategy.name=rocketqa", "negatives.rescore=cross", "cross.model=tiny", "cross.share=0.5"];
    let settings = world::settings_of(&data, &judged).expect("known names");
    assert!(settings.config().is_ok(), "its loss is pairs of itself");
    check(&[&judged[..], &["cross.loss=softmax"]].concat(), "numbers of any size");
    assert!(told(&[cross, "cross.loss=ranknet"]).contains("softmax or pairs"));
    assert!(told(&[cross, "cross.share=1.5"]).contains("from 0 to 1"));
    assert!(told(&[cross, "cross.model=/nowhere"]).contains("/nowhere"));
}

#[test]
fn the_plan_counts_what_a_cross_encoder_reads() {
    let dir = tempfile::tempdir().expect("a directory");
    let planned = |data: &Path, changes: &[&str]| {
        let trainer = trainer(data, &[&["strategy.name=cross-encoder", "train.batch=12"], changes].concat());
        let plan = MemoryPlan::new(&trainer);
        plan.parts.iter().find(|(part, _)| *part == "cross-encoder").expect("there is one").1
    };
    let data = topics(dir.path(), 180);
    // Lists of 8: of 20 pairs 4 go to a list that is shorter.
    let [two, more, three] =
        [16, 20, 24].map(|chunk| planned(&data, &["model.source=small", &format!("train.chunk={chunk}")]));
    assert!(two < more && more < three, "{two} {more} {three}");
    assert!(planned(&data, &["model.source=small", "train.chunk=1"]) <= two, "one list at least");
    // What another tokenizer makes of texts is not known: as many tokens as the model can read.
    let other = concat!("cross.model=", env!("CARGO_MANIFEST_DIR"), "/../tests/golden/cross/bert");
    let of_few = planned(&data, &[other]);
    let more = dir.path().join("more");
    std::fs::create_dir(&more).expect("made");
    let long: String =
        (0..180).map(|i| format!("a{i} red blue green shoe boot lamp,b{} red\n", i % 9)).collect();
    let more = world::prepared(&more, &format!("title,label\n{long}"), 400, |_| ());
    assert_eq!(of_few, planned(&more, &[other]));
}
