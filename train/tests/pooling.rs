//! Runs whose model pools by latents: added to a trained encoder they change nothing at first, and are resumed, planned
//! and cut in chunks like any other parameter.

mod world;

use data::DataSet;
use engine::Engine;
use std::path::Path;
use train::embed::{all_labels, embed_labels};
use train::plan::MemoryPlan;
use train::{Network, Silent, Trainer, load, run};
use world::{StopAfter, bits, topics};

const BASE: [&str; 8] = [
    "model.source=tiny",
    "model.width=32",
    "model.dropout=0.1",
    "train.batch=24",
    "train.epochs=2",
    "train.lr=1e-3",
    "train.warmup_steps=2",
    "composer.name=shuffled",
];
const LATENT: &str = "model.pooling=latent";

fn assembled(data: &Path, changes: &[&str]) -> engine::Result<Trainer> {
    run::assemble(&Engine::new(2), &world::settings(data, &BASE, changes))
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
        let settings = world::settings(&data, &BASE, changes);
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
        BASE.iter().chain(changes).for_each(|change| settings.set(change).expect("a setting"));
        let told = run::assemble(&Engine::new(1), &settings).err().expect("refused").to_string();
        assert!(told.contains(part), "{told}");
    };
    check(&["model.source=bag", LATENT], "a bag has no hidden states");
    check(&[LATENT, "model.latent_heads=5"], "5 heads do not divide width 32");
    check(&["model.latents=8"], "`model.latents` is for latent pooling");
    check(&["model.pooling=max"], "`model.pooling` must be latent");
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
        assert!((loss - other).abs() <= 1e-4 * loss && off <= 1e-3 * largest, "{change}: {off} of {largest}");
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
