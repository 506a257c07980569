//! Encoders in fewer bits: what is rounded and what is not, how far the vectors move, and what does not change them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use autograd::Tape;
use engine::{DType, Engine, Packed, Precision, Stream, Tensor};
use files::npy;
use models::bert::{Config, Size};
use models::layout::Role;
use models::{Architecture, Model, Scope};

fn model() -> Model {
    let size = Size { layers: 2, width: 48, heads: 4, ffn: 100 };
    Model::fresh(Architecture::Bert(Config::from_size(size, 60, 20)), 20, 11)
}

fn texts() -> Packed {
    let (mut text, words) = (Packed::default(), Stream::new(9, 9));
    for (i, n) in [5u32, 20, 1, 13, 17, 20, 2].into_iter().enumerate() {
        text.push((0..n).map(|p| words.below(100 * i as u64 + u64::from(p), 60) as u32));
    }
    text
}

fn encode(engine: &Engine, model: &Model, text: &Packed) -> Tensor {
    let tape = Tape::inference(engine);
    model.encoder().encode(&Scope::new(&tape, &model.params), text, 0).value()
}

/// The cosines of rows of length 1.
fn cosines(a: &Tensor, b: &Tensor) -> Vec<f64> {
    let (width, a, b) = (a.shape().last(), a.to_f64(), b.to_f64());
    a.chunks(width).zip(b.chunks(width)).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum()).collect()
}

#[test]
fn matrices_are_rounded_and_nothing_else() {
    let (model, engine) = (model(), Engine::new(1));
    let int8 = model.rounded(&engine, Precision::Int8);
    for (entry, id) in model.architecture.layout().iter().zip(model.params.ids()) {
        let (before, after) = (model.params.value(id), int8.params.value(id));
        assert_eq!(
            after.dtype() == DType::Rounded(Precision::Int8),
            entry.role == Role::Weight,
            "{}",
            entry.name
        );
        let near = if entry.role == Role::Weight { 1e-3 } else { 0.0 };
        let off = before.to_f64().into_iter().zip(after.to_f64()).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f64::max) <= near, "{}", entry.name);
    }
}

#[test]
fn neither_threads_nor_instructions_change_a_bit() {
    let (model, text) = (model(), texts());
    for precision in Precision::ALL {
        let run = |engine: Engine| encode(&engine, &model.rounded(&engine, precision), &text).to_f64();
        let one = run(Engine::new(1));
        for engine in [Engine::poisoned(3), Engine::unsupported(2)] {
            assert_eq!(run(engine), one, "{}", precision.name());
        }
    }
}

/// The matrices in f32, after the same rounding, leave the rounding of the activations: half a step of 255 each.
#[test]
fn a_rounded_encoder_computes_with_its_rounded_matrices() {
    let (model, text, engine) = (model(), texts(), Engine::new(1));
    for precision in Precision::ALL {
        let rounded = model.rounded(&engine, precision);
        let mut plain = model.clone();
        for id in plain.params.ids() {
            let value = rounded.params.value(id);
            let values = value.to_f64().into_iter().map(|x| x as f32).collect();
            plain.params.set(id, Tensor::from_vec(value.shape(), values));
        }
        let got = encode(&engine, &rounded, &text);
        let cosines = cosines(&got, &encode(&engine, &plain, &text));
        assert!(cosines.iter().all(|&c| c > 0.9995), "{}: {cosines:?}", precision.name());
        assert_ne!(got.to_f64(), encode(&engine, &model, &text).to_f64(), "nothing was rounded");
    }
}

#[test]
fn a_rounded_model_leaves_nothing_for_backward() {
    let (model, engine) = (model(), Engine::new(1));
    let int8 = model.rounded(&engine, Precision::Int8);
    let tape = Tape::new(&engine);
    int8.encoder().encode(&Scope::new(&tape, &int8.params), &texts(), 0);
    assert!(tape.op_names().is_empty(), "{:?}", tape.op_names());
}

/// How near the vectors should be. A product of int8 is off by about √2 · 1.5 % of itself (steps of 1/127 of the
/// largest weight and 1/255 of a row's range, each over √12, where extremes are four to ten times the typical number);
/// twelve branches of six layers add such errors up like random numbers, to some √12 · 2.1 % ≈ 7 %: 1 − ε²/2 = 0.997.
/// A text with an outlier has steps twice as wide: 1 − 4 ε²/2 = 0.99. bf16 is off by 2⁻⁹ · √2 a product, ε = 1 %:
/// 0.99995, and so 0.9998 with twice that.
#[test]
fn a_rounded_minilm_points_where_the_reference_does() {
    let Some(root) = files::shared("a_rounded_minilm_points_where_the_reference_does") else { return };
    let dir = root.join("models/reference");
    let (ids, mask) = (npy(&dir.join("input_ids.npy")), npy(&dir.join("attention_mask.npy")));
    let mut text = Packed::default();
    for (ids, mask) in
        ids.data::<f64>().chunks(ids.shape().last()).zip(mask.data::<f64>().chunks(mask.shape().last()))
    {
        text.push(ids.iter().zip(mask).filter(|(_, m)| **m > 0.0).map(|(id, _)| *id as u32));
    }
    let model = models::hf::read(&root.join("models/all-MiniLM-L6-v2")).unwrap().model;
    let (engine, want) = (Engine::new(2), npy(&dir.join("L6_embedding.npy")));
    for (precision, least) in [(Precision::Int8, 0.99), (Precision::Bf16, 0.9998)] {
        let cosines = cosines(&encode(&engine, &model.rounded(&engine, precision), &text), &want);
        let worst = cosines.iter().copied().fold(f64::INFINITY, f64::min);
        println!("MiniLM in {}: least cosine of {} texts {worst:.5}", precision.name(), cosines.len());
        assert_eq!(cosines.len(), 18);
        assert!(worst > least, "{}: {cosines:?}", precision.name());
    }
}
