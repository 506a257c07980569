//! What must hold of every encoder: masks that do not see how a batch is cut, recomputation that changes no
//! bit, memory as planned, and the numbers of the real MiniLM.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use autograd::{Pool, Tape, Watch};
use engine::profile::Moment;
use engine::{Engine, Packed, Stream, Tensor};
use files::{npy, worst};
use models::bert::{Activation, Bert, Config, Family, Size};
use models::layout::Role;
use models::modernbert::{self, Sight};
use models::{Architecture, Model, Scope, bag, latent};

const DROPOUT: Option<Stream> = Some(Stream { seed: 3, step: 5, tag: 0 });

fn model() -> Model {
    let size = Size { layers: 2, width: 32, heads: 4, ffn: 64 };
    Model::fresh(Architecture::Bert(Config::from_size(size, 60, 20)), 20, 11)
}

/// The same with latents, whose silent matrices say something.
fn model_with_latents() -> Model {
    let latents = latent::Config { latents: 12, heads: 2, channels: 16 };
    let mut model = Model::fresh(model().architecture.with_latents(latents, Pool::Mean).unwrap(), 20, 11);
    for entry in model.architecture.layout().iter().filter(|entry| entry.role == Role::Silent) {
        let values = (0..entry.shape.len()).map(|i| 0.1 * (1.3 * i as f32).sin()).collect();
        model.params.set(model.params.find(&entry.name).unwrap(), Tensor::from_vec(entry.shape, values));
    }
    model
}

/// Ragged texts; lengths repeat as given.
fn texts(lengths: &[u32]) -> Packed {
    let mut text = Packed::default();
    let words = Stream::new(9, 9);
    for (i, &n) in lengths.iter().enumerate() {
        text.push((0..n).map(|p| words.below(100 * i as u64 + u64::from(p), 60) as u32));
    }
    text
}

/// The largest difference.
fn off(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).fold(0.0f64, |w, (a, b)| w.max((a - b).abs()))
}

/// The embeddings and all gradients, for a given gradient of the embeddings.
fn run(model: &Model, text: &Packed, first_slot: u32, recompute: bool, threads: usize) -> Vec<Vec<f64>> {
    let tape = Tape::checked(&Engine::poisoned(threads));
    let cx = Scope { dropout: DROPOUT, recompute, ..Scope::new(&tape, &model.params) };
    let e = model.encoder().encode(&cx, text, first_slot);
    let seed: Vec<f32> = (0..e.shape().len()).map(|i| (i as f32 * 0.37).sin()).collect();
    let value = e.value().to_f64();
    let grads = tape.backward(vec![(e, Tensor::from_vec(e.shape(), seed))]).into_params();
    let grads = model.params.ids().map(|id| grads.get(id).expect("takes part").to_f64());
    let all = std::iter::once(value).chain(grads).collect();
    assert_eq!(tape.anomaly(), None);
    all
}

#[test]
fn recompute_changes_no_bit_with_dropout_on() {
    let text = texts(&[1, 7, 20, 3]);
    for model in [model(), model_with_latents()] {
        assert_eq!(run(&model, &text, 2, true, 2), run(&model, &text, 2, false, 2));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let text = texts(&[5, 20, 1, 13, 17, 20, 20]);
    for model in [model(), model_with_latents()] {
        let one = run(&model, &text, 0, false, 1);
        for threads in [2, 3, 7] {
            assert_eq!(run(&model, &text, 0, false, threads), one);
        }
    }
}

#[test]
fn two_halves_of_a_batch_equal_the_whole_with_dropout_on() {
    check_halves(&model());
    check_halves(&model_with_latents());
}

#[track_caller]
fn check_halves(model: &Model) {
    let lengths = [4, 9, 2, 20, 1, 6];
    let whole = run(model, &texts(&lengths), 7, false, 2);
    let all = texts(&lengths);
    let part = |range: std::ops::Range<usize>| {
        let mut part = Packed::default();
        range.for_each(|i| part.push(all.text(i).iter().copied()));
        part
    };
    let (first, second) = (run(model, &part(0..3), 7, false, 2), run(model, &part(3..6), 10, false, 2));
    // Sums run in another order over another number of rows, no more.
    assert!(off(&[&first[0][..], &second[0]].concat(), &whole[0]) < 2e-6);
    let elsewhere = run(model, &part(3..6), 0, false, 2);
    assert!(off(&elsewhere[0], &second[0]) > 1e-2, "another slot has another mask");
}

#[test]
fn steps_have_masks_of_their_own_and_evaluation_has_none() {
    let (model, text, engine) = (model(), texts(&[6, 3]), Engine::new(1));
    let encode = |dropout| {
        let tape = Tape::inference(&engine);
        let cx = Scope { dropout, ..Scope::new(&tape, &model.params) };
        model.encoder().encode(&cx, &text, 0).value().to_f64()
    };
    let plain = encode(None);
    assert_ne!(encode(DROPOUT), plain);
    assert_ne!(encode(DROPOUT), encode(DROPOUT.map(|s| s.at_step(6))));
    assert_eq!(encode(DROPOUT), encode(DROPOUT));
}

#[test]
#[should_panic(expected = "a text of 21 tokens is longer than the encoder's 20 positions")]
fn a_text_beyond_the_positions_is_refused() {
    let model = model();
    run(&model, &texts(&[21]), 0, false, 1);
}

#[test]
#[should_panic(expected = "a text without tokens")]
fn a_text_without_tokens_is_refused() {
    run(&model(), &texts(&[2, 0]), 0, false, 1);
}

/// One long text among short ones would make a padded batch eleven times as large.
#[test]
fn nothing_is_padded() {
    let engine = Engine::new(1);
    let model = model();
    let held = |lengths: &[u32]| {
        let before = engine.pool_stats().bytes_in_use;
        let tape = Tape::new(&engine);
        let _e = model.encoder().encode(&Scope::new(&tape, &model.params), &texts(lengths), 0);
        engine.pool_stats().bytes_in_use - before
    };
    let mut ragged = [1; 41];
    ragged[7] = 20;
    let (ragged, even) = (held(&ragged) as f64, held(&[20, 20, 20]) as f64);
    assert!((0.95..1.1).contains(&(ragged / even)), "60 tokens: {ragged} bytes ragged, {even} bytes even");
}

/// What a watched tape says that it keeps, in bytes, and computes both ways.
fn watched(model: &Model, text: &Packed, recompute: bool) -> [u64; 2] {
    let watch = Watch::new(Moment::default);
    let tape = Tape::new(&Engine::new(2)).watched(&watch);
    let cx = Scope { dropout: DROPOUT, recompute, ..Scope::new(&tape, &model.params) };
    model.encoder().encode(&cx, text, 0);
    let seen = watch.seen();
    [seen.iter().map(|seen| seen.kept).sum(), seen.iter().map(|seen| seen.flops.total()).sum()]
}

/// The pool rounds buffers up, by a quarter at most; sizes here are powers of two, so that it does not.
#[track_caller]
fn check_memory(architecture: Architecture, recompute: bool) {
    let model = Model::fresh(architecture, 32, 1);
    let (engine, text, encoder) = (Engine::new(2), texts(&[16; 128]), model.encoder());
    let before = engine.pool_stats().bytes_in_use;
    let tape = Tape::new(&engine);
    let cx = Scope { dropout: DROPOUT, recompute, ..Scope::new(&tape, &model.params) };
    let e = encoder.encode(&cx, &text, 0);
    let held = engine.pool_stats().bytes_in_use - before;
    let planned = encoder.activation_bytes(&text, recompute);
    let [kept, _] = watched(&model, &text, recompute);
    // The result of the last layer, which a tape that recomputes holds besides, is read by nobody's backward, unless a
    // norm stands behind it.
    let latents = model.architecture.latents().is_some();
    let last = recompute && (latents || matches!(model.architecture, Architecture::Bert(_)));
    let result = if last { 4 * 128 * 16 * 64 } else { 0 };
    let share = (kept + result) as f64 / held as f64;
    assert!((0.97..=1.0).contains(&share), "recompute {recompute}: {kept} bytes kept, {held} held");
    println!("recompute {recompute}: held {held}, planned {planned}");
    assert!(held <= planned);
    assert!(recompute || held as f64 > 0.97 * planned as f64, "held {held}, planned {planned}");
    let _grads =
        tape.backward(vec![(e, Tensor::from_vec(e.shape(), vec![0.01f32; e.shape().len()]))]).into_params();
    let peak = (engine.pool_stats().bytes_in_use_peak - before) as f64;
    let planned = (planned + encoder.working_bytes(&text)) as f64;
    let grads = 4.0 * (model.params.count() - 1000 * 64) as f64;
    println!("recompute {recompute}: peak {peak}, planned {planned} and at most {grads} for gradients");
    assert!(
        peak > 0.9 * planned && peak < 1.1 * (planned + grads),
        "peak {peak}, planned {planned} + {grads}"
    );
}

fn deep() -> Architecture {
    let size = Size { layers: 6, width: 64, heads: 4, ffn: 256 };
    Architecture::Bert(Config::from_size(size, 1000, 32))
}

/// 2 · weights · tokens and 4 · length · width · tokens of attention forward, and the gradients of both factors of
/// every product backward; what is no product comes to a few per cent at this width.
#[test]
fn a_watched_step_costs_three_forwards_and_four_where_it_recomputes() {
    let [with_few, _, with_many, _] = deep_with_latents();
    for (architecture, most) in
        [(deep(), 1.06), (deep_modernbert(), 1.09), (with_few, 1.09), (with_many, 1.09)]
    {
        let (model, text) = (Model::fresh(architecture, 32, 1), texts(&[16; 128]));
        let forward = 2048.0 * model.encoder().flops_per_token(16.0);
        for (recompute, forwards) in [(false, 3.0), (true, 4.0)] {
            let [_, flops] = watched(&model, &text, recompute);
            let ratio = flops as f64 / (forwards * forward);
            println!("{flops} are {ratio} of what is expected");
            assert!((1.0..most).contains(&ratio), "{flops} are {ratio} of what is expected");
        }
    }
}

#[test]
fn memory_is_as_planned() {
    check_memory(deep(), false);
}

#[test]
fn memory_with_recompute_is_as_planned() {
    check_memory(deep(), true);
}

fn deep_modernbert() -> Architecture {
    let sight = |layer: usize| Sight { window: (!layer.is_multiple_of(3)).then_some(4), theta: 1e4 };
    Architecture::ModernBert(modernbert::Config {
        size: Size { layers: 6, width: 64, heads: 4, ffn: 128 },
        vocab: 1000,
        positions: 32,
        layers: (0..6).map(sight).collect(),
        pad: 0,
        activation: Activation::Gelu,
        eps: 1e-5,
        embedding_dropout: 0.0,
        attention_dropout: 0.0,
        mlp_dropout: 0.0,
        latents: None,
        pooling: Pool::Mean,
        normalise: true,
    })
}

#[test]
fn memory_of_a_modernbert_is_as_planned() {
    check_memory(deep_modernbert(), false);
}

#[test]
fn memory_of_a_modernbert_with_recompute_is_as_planned() {
    check_memory(deep_modernbert(), true);
}

/// Sizes are powers of two here, too.
fn deep_with_latents() -> [Architecture; 4] {
    let with = |architecture: Architecture, latents| {
        let config = latent::Config { latents, heads: 4, channels: 16 };
        architecture.with_latents(config, Pool::Mean).unwrap()
    };
    // Many latents are more than the feed-forward part, few are less.
    [with(deep(), 64), with(deep_modernbert(), 64), with(deep(), 512), with(deep_modernbert(), 512)]
}

#[test]
fn memory_with_latents_is_as_planned() {
    deep_with_latents().into_iter().for_each(|architecture| check_memory(architecture, false));
}

#[test]
fn memory_with_latents_and_recompute_is_as_planned() {
    deep_with_latents().into_iter().for_each(|architecture| check_memory(architecture, true));
}

#[test]
fn memory_without_a_tape_is_as_planned() {
    for architecture in [deep(), deep_modernbert()].into_iter().chain(deep_with_latents()) {
        let model = Model::fresh(architecture, 32, 1);
        let (engine, text, encoder) = (Engine::new(2), texts(&[16; 128]), model.encoder());
        let before = engine.pool_stats().bytes_in_use;
        let tape = Tape::inference(&engine);
        let _e = encoder.encode(&Scope::new(&tape, &model.params), &text, 0);
        let peak = (engine.pool_stats().bytes_in_use_peak - before) as f64;
        let planned = encoder.inference_bytes(text.tokens.len()) as f64;
        println!("peak {peak}, planned {planned}");
        // A small buffer may be lent as a larger one, which counts as that.
        assert!(peak > 0.9 * planned && peak < 1.15 * planned, "peak {peak}, planned {planned}");
    }
}

#[test]
fn memory_of_a_bag_is_as_planned() {
    check_memory(Architecture::Bag(bag::Config { vocab: 1000, width: 64, normalise: true }), false);
}

#[test]
fn a_bag_starts_where_its_slots_do_not_matter() {
    let model = Model::fresh(Architecture::Bag(bag::Config { vocab: 60, width: 8, normalise: true }), 20, 4);
    let text = texts(&[5, 2, 9]);
    assert_eq!(run(&model, &text, 0, false, 1), run(&model, &text, 50, true, 2));
}

/// What stands before a text, with its frame, is read and has no part in the mean or the maximum; a text that begins
/// otherwise is pooled whole, and the first token is taken wherever it stands.
#[test]
fn tokens_of_prompts_are_read_and_not_pooled() {
    let prompts = [vec![1, 7], vec![1, 7, 8]];
    let mut text = Packed::default();
    for tokens in [&[1, 7, 8, 9, 3, 2][..], &[1, 7, 3, 2], &[1, 5, 7, 2], &[1, 7, 8, 2]] {
        text.push(tokens.iter().copied());
    }
    // Rows of all tokens, of those that are pooled.
    let pooled = [3..6, 8..10, 10..14, 17..18];
    for architecture in [model().architecture, deep_modernbert()] {
        for how in [Pool::Mean, Pool::Max, Pool::First] {
            let architecture = match architecture.clone() {
                Architecture::Bert(c) => Architecture::Bert(Config { pooling: how, normalise: false, ..c }),
                Architecture::ModernBert(c) => {
                    Architecture::ModernBert(modernbert::Config { pooling: how, normalise: false, ..c })
                }
                Architecture::Bag(_) => panic!("a transformer"),
            };
            let (engine, model) = (Engine::new(2), Model::fresh(architecture, 20, 3));
            let tape = Tape::new(&engine);
            let cx = Scope { unpooled: &prompts, ..Scope::new(&tape, &model.params) };
            let e = model.encoder().encode(&cx, &text, 0);
            let last = match &model.architecture {
                Architecture::Bert(c) => Bert::new(c.clone(), &model.params).hidden(&cx, &text, 0),
                Architecture::ModernBert(c) => {
                    modernbert::ModernBert::new(c.clone(), &model.params).hidden(&cx, &text, 0)
                }
                Architecture::Bag(_) => panic!("a transformer"),
            };
            let (last, width) = (last.last().unwrap().value().to_f64(), model.architecture.width());
            let starts = [0, 6, 10, 14];
            let want = pooled.iter().zip(starts).flat_map(|(rows, start)| {
                let column = |c: usize| -> f64 {
                    let of = |row: usize| last[row * width + c];
                    match how {
                        Pool::Mean => rows.clone().map(of).sum::<f64>() / rows.len() as f64,
                        Pool::Max => rows.clone().map(of).fold(f64::NEG_INFINITY, f64::max),
                        Pool::First => of(start),
                    }
                };
                (0..width).map(column).collect::<Vec<f64>>()
            });
            let want: Vec<f64> = want.collect();
            assert!(off(&e.value().to_f64(), &want) < 1e-5, "{how:?}");
            let seed = Tensor::from_vec(e.shape(), vec![1.0f32; e.shape().len()]);
            let grads = tape.backward(vec![(e, seed)]).into_params();
            let table = model.architecture.token_table(&model.params);
            let grad = grads.get(table).expect("a gradient").to_f64();
            assert!(grad[7 * width..8 * width].iter().any(|&g| g != 0.0), "others looked at the prompt");
        }
    }
}

/// The texts of the reference, from the padded ids and their mask.
fn reference_texts(dir: &std::path::Path) -> Packed {
    let (ids, mask) = (npy(&dir.join("input_ids.npy")), npy(&dir.join("attention_mask.npy")));
    let width = ids.shape().last();
    let mut text = Packed::default();
    for (ids, mask) in ids.data::<f64>().chunks(width).zip(mask.data::<f64>().chunks(width)) {
        text.push(ids.iter().zip(mask).filter(|(_, m)| **m > 0.0).map(|(id, _)| *id as u32));
    }
    text
}

#[test]
fn minilm_equals_the_reference_on_all_texts() {
    let Some(root) = files::shared("minilm_equals_the_reference_on_all_texts") else { return };
    let (dir, engine) = (root.join("models/reference"), Engine::new(2));
    let model = models::hf::read(&root.join("models/all-MiniLM-L6-v2")).unwrap().model;
    let text = reference_texts(&dir);
    assert_eq!(text.len(), 18);
    let tape = Tape::inference(&engine);
    let e = model.encoder().encode(&Scope::new(&tape, &model.params), &text, 0).value();
    let off = worst(&Tensor::from_vec(e.shape(), e.to_f64()), &npy(&dir.join("L6_embedding.npy")));
    println!("MiniLM: 18 texts, largest difference of an embedding {off:.1e}");
    assert!(off < 1e-5);
}

#[test]
fn every_layer_of_minilm_equals_the_reference() {
    let Some(root) = files::shared("every_layer_of_minilm_equals_the_reference") else { return };
    let (dir, engine) = (root.join("models/reference"), Engine::new(2));
    let model = models::hf::read(&root.join("models/all-MiniLM-L6-v2")).unwrap().model;
    let Architecture::Bert(config) = model.architecture.clone() else { panic!("MiniLM is a BERT") };
    assert_eq!((config.family, config.pooling, config.normalise), (Family::Bert, Pool::Mean, true));
    let bert = Bert::new(config, &model.params);
    let all = reference_texts(&dir);
    let mut text = Packed::default();
    (0..4).for_each(|i| text.push(all.text(i).iter().copied()));
    let tape = Tape::inference(&engine);
    for (layer, hidden) in bert.hidden(&Scope::new(&tape, &model.params), &text, 0).into_iter().enumerate() {
        let name = if layer == 0 { "embeddings".into() } else { format!("layer{}", layer - 1) };
        let want = npy(&dir.join(format!("L6_hidden_{name}.npy")));
        let (padded, width) = (want.shape().dim(1), want.shape().last());
        let mut rows = vec![];
        for i in 0..4 {
            let n = text.text(i).len();
            rows.extend_from_slice(&want.data::<f64>()[i * padded * width..][..n * width]);
        }
        let got = hidden.value();
        let off = worst(&Tensor::from_vec(got.shape(), got.to_f64()), &Tensor::from_vec(got.shape(), rows));
        println!("MiniLM: largest difference of {name} {off:.1e}");
        assert!(off < 3e-5, "{name}: {off:.1e}");
    }
}
