//! Runs whose model pools by latents: added to a trained encoder they change nothing at first, and are resumed, planned
//! and cut in chunks like any other parameter.

mod world;

use data::metrics::Metric;
use data::{DataSet, Split};
use engine::Engine;
use std::path::{Path, PathBuf};
use train::embed::{all_labels, embed_labels};
use train::evaluate::{Options, Queries, evaluate_with};
use train::index::Index;
use train::plan::MemoryPlan;
use train::race::paired;
use train::{Network, Silent, Trainer, load, run};
use world::{StopAfter, TINY, bits, topics};

const LATENT: &str = "model.pooling=latent";

/// The small transformer in random batches.
fn base() -> Vec<&'static str> {
    [&TINY[..], &["composer.name=shuffled"]].concat()
}

fn assembled(data: &Path, changes: &[&str]) -> engine::Result<Trainer> {
    run::assemble(&Engine::new(2), &world::settings(data, &base(), changes))
}

fn embedded(network: &Network, data: &Path) -> Vec<f32> {
    let (engine, data) = (Engine::new(1), DataSet::open(data, data::Verify::Header).expect("opens"));
    embed_labels((&engine, network), &data, &all_labels(&data), "labels", &mut Silent).expect("embeds")
}

#[test]
fn latents_on_a_trained_encoder_begin_at_its_embeddings_and_resume_bit_for_bit() {
    let dir = tempfile::tempdir().expect("a directory");
    let (data, out) = (topics(dir.path(), 180), |name: &str| dir.path().join(name));
    let begin = |name: &str, threads, changes: &[&str]| {
        let settings = world::settings(&data, &base(), changes);
        run::begin(&Engine::new(threads), &settings, &out(name)).expect("begins")
    };
    let (mut plain, run_dir) = begin("plain", 2, &[]);
    assert!(run::run(&mut plain, &run_dir, &mut Silent).expect("trains").finished);
    let source = format!("model.source={}", out("plain").display());
    let changes = [&*source, LATENT, "model.latents=20"];
    let (mut whole, run_dir) = begin("whole", 2, &changes);
    assert_eq!(
        embedded(&whole.network, &data),
        embedded(&plain.network, &data),
        "the start is the encoder's own"
    );
    let fresh = bits(&whole);
    assert!(run::run(&mut whole, &run_dir, &mut Silent).expect("trains").finished);
    let (mut first, run_dir) = begin("stopped", 3, &changes);
    run::run(&mut first, &run_dir, &mut StopAfter(5)).expect("stops");
    drop((first, run_dir));
    let (mut again, run_dir) = run::resume(&Engine::new(1), &out("stopped"), &mut Silent).expect("resumes");
    run::run(&mut again, &run_dir, &mut Silent).expect("ends");
    assert!(bits(&again) == bits(&whole) && bits(&again) != fresh);
    // All fourteen have moved, those behind silent matrices too, and the run hands them on.
    let handed = load::network(&out("whole")).expect("a run");
    let latents = handed.model.architecture.latents().expect("latents");
    assert_eq!([latents.latents, latents.heads, latents.channels], [20, 2, 16]);
    let params = &handed.model.params;
    let start = assembled(&data, &changes).expect("fits").network.model.params;
    let own = params.ids().filter(|&id| params.name(id).starts_with("latent_attention_model."));
    let moved = |&id: &autograd::ParamId| params.value(id).to_f64() != start.value(id).to_f64();
    assert_eq!(own.filter(moved).count(), 14);
    let on = format!("model.source={}", out("whole").display());
    assert!(assembled(&data, &[&on]).expect("fits").network.model.architecture.latents().is_some());
    assert!(assembled(&data, &[&on, LATENT]).is_ok());
    let told = assembled(&data, &[&on, LATENT, "model.latents=21"]).err().expect("others").to_string();
    assert!(told.contains("this model has 20 latents and 2 heads of 16 channels"), "{told}");
}

#[test]
fn what_no_model_can_have_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 60);
    let check = |changes: &[&str], part: &str| {
        let mut settings = train::config::Settings::default();
        settings.flag("data.path", data.to_str().expect("a name"), "DATA").expect("a path");
        base().iter().chain(changes).for_each(|change| settings.set(change).expect("a setting"));
        let told = run::assemble(&Engine::new(1), &settings).err().expect("refused").to_string();
        assert!(told.contains(part), "{told}");
    };
    check(&["model.source=bag", LATENT], "a bag has no hidden states");
    check(&[LATENT, "model.latent_heads=5"], "5 heads do not divide width 32");
    check(&["model.latents=8"], "`model.latents` is for latent pooling");
    check(&["model.pooling=max"], "`model.pooling` must be latent");
    check(
        &[LATENT, "model.latent_heads=1024", "model.latent_channels=16384"],
        "1024 heads of 16384 channels are more than 64 times the width 32",
    );
    check(&[LATENT, "model.latents=70000"], "`model.latents` must be at most 65536");
}

#[test]
fn a_batch_in_chunks_has_the_same_gradient_and_the_plan_counts_latents() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let gradient = |change: &str| {
        let mut trainer = assembled(&data, &[LATENT, "train.lr=1e-2", change]).expect("fits");
        // Silent matrices have said something by then.
        (0..2).for_each(|_| _ = trainer.next_step(&mut Silent).expect("a step"));
        trainer.gradient_of_next_batch(&mut Silent).expect("one")
    };
    let (loss, whole) = gradient("train.chunk=0");
    for change in ["train.chunk=5", "model.recompute=true"] {
        let (other, pieces) = gradient(change);
        let largest = whole.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let off = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("{change}: {off} of {largest}");
        assert!((loss - other).abs() <= 1e-5 * loss && off <= 1e-5 * largest, "{change}: {off} of {largest}");
    }
    let plan = |changes: &[&str]| MemoryPlan::new(&assembled(&data, changes).expect("fits"));
    let part =
        |plan: &MemoryPlan, name: &str| plan.parts.iter().find(|part| part.0 == name).expect("a part").1;
    let (with, without) = (plan(&[LATENT]), plan(&[]));
    // By hand: Λ 32², three norms 6·32, q 32², k and v 2·32², out 32², up 256·32 + 256, down 32·128 + 32.
    assert_eq!(part(&with, "parameters") - part(&without, "parameters"), 4 * (5 * 1024 + 192 + 8448 + 4128));
    for name in ["activations", "working buffers"] {
        assert!(part(&with, name) > part(&without, name), "{name}");
    }
}

/// Of thirty words of a title one decides, and 24 labels share no word with titles.
fn needles(dir: &Path, seed: u64) -> PathBuf {
    let s = engine::Stream::new(seed, 5);
    let mut csv = String::from("title,label\n");
    for row in 0..2400u64 {
        let draw = |i: u64, n| s.below(64 * row + i, n);
        let (label, at) = (draw(40, 24), draw(41, 30));
        let word = |i: u64| if i == at { format!("key{label}") } else { format!("noise{}", draw(i, 150)) };
        let words: Vec<String> = (0..30).map(word).collect();
        csv += &format!("{},class{label}\n", words.join(" "));
    }
    world::prepared(dir, &csv, 700, |_| ())
}

/// P@1 of the test queries after so many steps.
fn found(data: &Path, steps: u32, seed: u64, changes: &[&str]) -> f64 {
    let (steps, seed) = (format!("train.steps={steps}"), format!("train.seed={seed}"));
    let more = ["model.dropout=0", "train.batch=32", "data.validation_per_mille=0", &*steps, &*seed];
    let mut trainer = assembled(data, &[&more[..], changes].concat()).expect("fits");
    (0..trainer.total_steps()).for_each(|_| _ = trainer.next_step(&mut Silent).expect("a step"));
    let (engine, network, data) = (trainer.engine(), &trainer.network, trainer.data());
    let options = Options { metrics: Metric::list("P@1").expect("a metric"), ..Options::default() };
    let index = Index::build(engine, network, data, false, &mut Silent).expect("an index");
    let queries = Queries { split: Split::Test, rows: None };
    evaluate_with(engine, network, &index, data, queries, &options, &mut Silent).expect("measured").metrics[0]
        .1
}

/// Lee et al. find latent attention better than the mean: where neither knows little nor all, it is so here. The
/// figures are in `docs/worlds.md`.
#[test]
fn one_token_of_thirty_decides() {
    if std::env::var_os("SLOW").is_none() {
        println!("skipped: set SLOW=1");
        return;
    }
    for steps in [150, 300, 600] {
        let both: Vec<[f64; 2]> = (0..6)
            .map(|seed| {
                let dir = tempfile::tempdir().expect("a directory");
                let data = needles(dir.path(), seed);
                [&[LATENT][..], &[]].map(|changes| found(&data, steps, seed, changes))
            })
            .collect();
        let [latent, mean] = [0, 1].map(|i| both.iter().map(|b| b[i]).collect::<Vec<f64>>());
        let versus = paired(&latent, &mean);
        println!(
            "{steps} steps: latent {latent:.3?}, mean {mean:.3?}: {:+.3} ± {:.3}",
            versus.mean, versus.half
        );
        assert!(steps != 300 || versus.mean > 0.0 && versus.is_clear(), "{latent:?} against {mean:?}");
    }
}

/// What a row of the second stage meets is what was listed for it, and a row without a list moves nothing.
#[test]
fn in_the_second_stage_only_listed_negatives_count() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = topics(dir.path(), 120);
    let set = DataSet::open(&data, data::Verify::Header).expect("opens");
    let (queries, labels) = (set.queries(Split::Train), set.labels());
    // Every third query has a list: two labels that it has not.
    let listed = |q: usize| -> Vec<u32> {
        let own = set.positives(Split::Train, q);
        let others =
            (0..labels.len() as u32).filter(|l| !own.contains(l) && (l + q as u32).is_multiple_of(7));
        if q.is_multiple_of(3) { others.take(2).collect() } else { vec![] }
    };
    let write = |name: &str, only: &dyn Fn(usize) -> bool| {
        let uid = |l: &u32| serde_json::Value::from(labels.uid(*l as usize));
        let line = |q: usize| {
            let ids: Vec<_> = listed(q).iter().map(uid).collect();
            format!("{}\n", serde_json::json!({"uid": queries.uid(q), "negatives": ids}))
        };
        let path = dir.path().join(name);
        let rows = (0..queries.len()).filter(|&q| only(q) && !listed(q).is_empty());
        std::fs::write(&path, rows.map(line).collect::<String>()).expect("written");
        format!("negatives.file={}", path.display())
    };
    let file = write("lists.jsonl", &|_| true);
    let trainer = |file: &str| {
        let stage =
            ["strategy.name=nv-embed", "negatives.own=true", "negatives.from=file", "negatives.count=2"];
        let more = [file, "negatives.relative_margin=-1.0", "model.dropout=0"];
        assembled(&data, &[&stage[..], &more].concat()).expect("fits")
    };
    let mut of_all = trainer(&file);
    let (loss, _) = of_all.gradient_of_next_batch(&mut Silent).expect("one");
    let mined = of_all.mined(0);
    let mut met = 0;
    for row in &mined {
        let own = listed(row.query as usize);
        assert!(row.negatives.iter().all(|n| own.contains(&n.0)), "{:?} of {own:?}", row.negatives);
        met += row.negatives.len();
    }
    assert!(met > 0 && loss > 0.0);
    // A file that names a query outside the first batch alone: no row has a negative, and nothing is learned.
    let batch: Vec<usize> = mined.iter().map(|row| row.query as usize).collect();
    let file = write("elsewhere.jsonl", &|q| !batch.contains(&q));
    let (loss, gradient) = trainer(&file).gradient_of_next_batch(&mut Silent).expect("one");
    assert_eq!(loss, 0.0);
    assert!(gradient.iter().all(|&g| g == 0.0));
}
