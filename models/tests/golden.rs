//! Encoders against PyTorch's numbers (`tests/golden`): hidden states, pooled vectors, losses, all gradients,
//! ten steps of AdamW. Tolerances are those of the golden files' README. `standin.rs` has the same on a device.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use autograd::{AdamWOptions, Schedule, ScheduleKind, Tape};
use engine::{Engine, Tensor};
use files::encoders::{self, LOSS, is_rounding, loss};
use files::{Golden, near, worst};
use models::Scope;
use models::bert::Family;

#[test]
fn bert_equals_pytorch() {
    encoders::forward(&Engine::poisoned(2), "encoder.safetensors", Family::Bert);
}

#[test]
fn distilbert_equals_pytorch() {
    encoders::forward(&Engine::poisoned(2), "distilbert.safetensors", Family::DistilBert);
}

#[test]
fn roberta_equals_pytorch() {
    encoders::forward(&Engine::poisoned(2), "roberta.safetensors", Family::Roberta);
}

#[test]
fn mpnet_equals_pytorch() {
    encoders::forward(&Engine::poisoned(2), "mpnet.safetensors", Family::Mpnet);
}

#[test]
fn modernbert_equals_pytorch() {
    encoders::forward_of_modernbert(&Engine::poisoned(2));
}

#[test]
fn losses_and_all_gradients_equal_pytorch() {
    encoders::gradients_of_bert(&Engine::new(2));
}

#[test]
fn all_gradients_of_mpnet_equal_pytorch() {
    encoders::gradients_of_mpnet(&Engine::new(2));
}

#[test]
fn all_gradients_of_modernbert_equal_pytorch() {
    encoders::gradients_of_modernbert(&Engine::new(2));
}

#[test]
fn ten_steps_of_adamw_with_decay_on_all_equal_pytorch() {
    encoders::steps(
        &Engine::new(2),
        "decay_all",
        AdamWOptions { decay_all: true, ..AdamWOptions::default() },
        None,
    );
}

#[test]
fn ten_steps_of_adamw_with_the_no_decay_list_equal_pytorch() {
    encoders::steps(&Engine::new(2), "no_decay_list", AdamWOptions::default(), None);
}

#[test]
fn ten_steps_with_schedule_and_clipping_equal_pytorch() {
    let schedule = Schedule { kind: ScheduleKind::Linear, warmup_steps: 3, total_steps: 10 };
    encoders::steps(&Engine::new(2), "schedule", AdamWOptions::default(), Some(schedule));
}

/// splitmix64 (Steele, Lea, Flood 2014): the signs of the projections.
fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn projection(grad: &[f64], k: u64) -> f64 {
    let sign = |i: usize| if splitmix64(i as u64 + (k << 40) + 1) & 1 == 1 { 1.0 } else { -1.0 };
    grad.iter().enumerate().map(|(i, g)| g * sign(i)).sum::<f64>() / (grad.len() as f64).sqrt()
}

/// Needs the real model: see `files::shared`.
#[test]
fn gradients_of_minilm_project_as_pytorchs() {
    let Some(root) = files::shared("gradients_of_minilm_project_as_pytorchs") else { return };
    let model = models::hf::read(&root.join("models/all-MiniLM-L6-v2")).unwrap().model;
    let (file, engine) = (Golden::open("minilm.safetensors"), Engine::new(2));
    let (bert, text) = (model.encoder(), file.packed());
    let tape = Tape::inference(&engine);
    let e = bert.encode(&Scope::new(&tape, &model.params), &text, 0).value();
    near("embedding", &e, &file.tensor("embedding"), 5e-6);
    let (value, grads) = loss(&engine, &*bert, &model.params, &text, LOSS, false);
    near("loss", &Tensor::from_vec([1], vec![value]), &file.tensor("loss"), 3e-6);
    let mut largest = 0.0f64;
    for id in model.params.ids() {
        let name = model.params.name(id);
        let grad = grads.get(id).expect("every parameter takes part").to_f64();
        let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
        let (norm, want) = (Tensor::from_vec([1], vec![norm]), file.tensor(&format!("norm.{name}")));
        let got = Tensor::from_vec([4], (0..4).map(|k| projection(&grad, k)).collect::<Vec<f64>>());
        let wanted = file.tensor(&format!("projection.{name}"));
        if is_rounding(name) {
            assert!(worst(&norm, &want) < 1e-6 && worst(&got, &wanted) < 1e-6, "{name}");
        } else {
            near(name, &norm, &want, 1e-5);
            largest = largest.max(near(name, &got, &wanted, 1e-4));
        }
    }
    println!("MiniLM: largest relative difference of a projection {largest:.1e}");
}
