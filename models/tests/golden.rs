//! Encoders against PyTorch's numbers (`tests/golden`): hidden states, pooled vectors, losses, all gradients,
//! ten steps of AdamW. Tolerances are those of the golden files' README.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use autograd::{
    AdamW, AdamWOptions, Optimizer, ParamGrads, Params, Pool, Schedule, ScheduleKind, Tape, clip,
};
use engine::{Engine, Packed, Tensor};
use files::{Golden, near, worst};
use models::bert::{Activation, Bert, Config, Family, Size};
use models::layout::Entry;
use models::modernbert::{self, ModernBert, Sight};
use models::{Encoder, InfoNce, Objective, Scope, Terms};
use std::sync::Arc;

const LOSS: InfoNce = InfoNce { temperature: 0.05, symmetric: false, top_rows: 1.0 };

fn config(family: Family) -> Config {
    let roberta = family == Family::Roberta;
    Config {
        family,
        size: Size { layers: 2, width: 32, heads: 4, ffn: 64 },
        vocab: 50,
        positions: match family {
            Family::Roberta => 18,
            Family::Mpnet => 34,
            _ => 16,
        },
        types: match family {
            Family::DistilBert | Family::Mpnet => 0,
            Family::Roberta => 1,
            _ => 2,
        },
        pad: u32::from(roberta || family == Family::Mpnet),
        activation: Activation::Gelu,
        eps: if roberta { 1e-5 } else { 1e-12 },
        hidden_dropout: 0.0,
        attention_dropout: 0.0,
        latents: None,
        pooling: Pool::Mean,
        normalise: true,
    }
}

/// Four layers, of which the two in the middle see four tokens to each side.
fn modernbert() -> modernbert::Config {
    let (far, near) = (Sight { window: None, theta: 160_000.0 }, Sight { window: Some(4), theta: 10_000.0 });
    modernbert::Config {
        size: Size { layers: 4, width: 32, heads: 4, ffn: 48 },
        vocab: 50,
        positions: 32,
        layers: vec![far, near, near, far],
        pad: 0,
        activation: Activation::Gelu,
        eps: 1e-5,
        embedding_dropout: 0.0,
        attention_dropout: 0.0,
        mlp_dropout: 0.0,
        latents: None,
        pooling: Pool::Mean,
        normalise: true,
    }
}

fn params(file: &Golden, layout: Vec<Entry>) -> Params {
    let mut params = Params::default();
    for entry in layout {
        params.add(entry.name.clone(), file.tensor(&format!("param.{}", entry.name)), entry.role.decays());
    }
    params
}

#[track_caller]
fn check_forward(name: &str, family: Family) {
    let (file, config, engine) = (Golden::open(name), config(family), Engine::poisoned(2));
    let (params, text) = (params(&file, config.layout()), file.packed());
    let bert = Bert::new(config.clone(), &params);
    let tape = Tape::checked(&engine);
    let cx = Scope::new(&tape, &params);
    for (i, hidden) in bert.hidden(&cx, &text, 0).into_iter().enumerate() {
        let what = if i == 0 { "hidden.embeddings".into() } else { format!("hidden.layer{}", i - 1) };
        near(&what, &hidden.value(), &file.tensor(&what), 5e-6);
    }
    near("embedding", &bert.encode(&cx, &text, 0).value(), &file.tensor("embedding"), 5e-6);
    for (pooling, what) in [(Pool::Mean, "mean"), (Pool::First, "cls"), (Pool::Max, "max")] {
        let bert = Bert::new(Config { pooling, normalise: false, ..config.clone() }, &params);
        let what = format!("pooled.{what}");
        near(&what, &bert.encode(&cx, &text, 0).value(), &file.tensor(&what), 5e-6);
    }
    assert_eq!(tape.anomaly(), None);
}

#[test]
fn bert_equals_pytorch() {
    check_forward("encoder.safetensors", Family::Bert);
}

#[test]
fn distilbert_equals_pytorch() {
    check_forward("distilbert.safetensors", Family::DistilBert);
}

#[test]
fn roberta_equals_pytorch() {
    check_forward("roberta.safetensors", Family::Roberta);
}

#[test]
fn mpnet_equals_pytorch() {
    check_forward("mpnet.safetensors", Family::Mpnet);
}

#[test]
fn modernbert_equals_pytorch() {
    let (file, config, engine) = (Golden::open("modernbert.safetensors"), modernbert(), Engine::poisoned(2));
    let (params, text) = (params(&file, config.layout()), file.packed());
    let model = ModernBert::new(config.clone(), &params);
    let tape = Tape::checked(&engine);
    let cx = Scope::new(&tape, &params);
    let hidden = model.hidden(&cx, &text, 0);
    // What transformers gives as the last state is behind the last norm.
    for (name, at) in [("embeddings", 0), ("layer0", 1), ("layer1", 2), ("layer2", 3), ("layer3", 5)] {
        let what = format!("hidden.{name}");
        near(&what, &hidden[at].value(), &file.tensor(&what), 5e-6);
    }
    near("embedding", &model.encode(&cx, &text, 0).value(), &file.tensor("embedding"), 5e-6);
    assert_eq!(tape.anomaly(), None);
}

/// The loss of texts of which the first half are queries and the others their labels, and its gradients.
fn loss(
    engine: &Engine,
    bert: &dyn Encoder,
    params: &Params,
    text: &Packed,
    objective: InfoNce,
    recompute: bool,
) -> (f64, ParamGrads) {
    let tape = Tape::new(engine);
    let e = bert.encode(&Scope { recompute, ..Scope::new(&tape, params) }, text, 0);
    let n = text.len() / 2;
    let scores = e.slice(0, 0..n).matmul_nt(e.slice(0, n..2 * n));
    let terms = Terms::masked((0..n as u32).collect(), Arc::from(vec![true; n * n]));
    let loss = objective.loss(scores, &terms);
    let value = loss.value().item();
    (value, tape.backward_from(loss).into_params())
}

/// A softmax does not see a shift of its row: the gradient of a key's bias is rounding and nothing else.
fn is_rounding(name: &str) -> bool {
    name.ends_with("attention.self.key.bias") || name.ends_with("attention.attn.k.bias")
}

#[test]
fn losses_and_all_gradients_equal_pytorch() {
    let (file, config, engine) = (Golden::open("encoder.safetensors"), config(Family::Bert), Engine::new(2));
    let (params, text) = (params(&file, config.layout()), file.packed());
    let bert = Bert::new(config, &params);
    let symmetric = InfoNce { symmetric: true, ..LOSS };
    let (both, _) = loss(&engine, &bert, &params, &text, symmetric, false);
    near("loss.symmetric", &Tensor::from_vec([1], vec![both]), &file.tensor("loss.symmetric"), 3e-6);
    check_gradients(&file, &bert, &params);
}

#[test]
fn all_gradients_of_mpnet_equal_pytorch() {
    let (file, config) = (Golden::open("mpnet.safetensors"), config(Family::Mpnet));
    let params = params(&file, config.layout());
    check_gradients(&file, &Bert::new(config, &params), &params);
}

#[test]
fn all_gradients_of_modernbert_equal_pytorch() {
    let (file, config) = (Golden::open("modernbert.safetensors"), modernbert());
    let params = params(&file, config.layout());
    check_gradients(&file, &ModernBert::new(config, &params), &params);
}

/// The loss and the gradients of all parameters, kept and recomputed.
#[track_caller]
fn check_gradients(file: &Golden, encoder: &dyn Encoder, params: &Params) {
    let (text, engine) = (file.packed(), Engine::new(2));
    for recompute in [false, true] {
        let (value, grads) = loss(&engine, encoder, params, &text, LOSS, recompute);
        near("loss", &Tensor::from_vec([1], vec![value]), &file.tensor("loss"), 3e-6);
        for id in params.ids() {
            let (name, shape) = (params.name(id), params.value(id).shape());
            let grad = Tensor::from_vec(shape, grads.get(id).expect("every parameter takes part").to_f64());
            let want = file.tensor(&format!("grad.{name}"));
            if is_rounding(name) {
                assert!(worst(&grad, &want) < 1e-6, "{name}");
            } else {
                near(name, &grad, &want, 5e-5);
            }
        }
    }
}

#[track_caller]
fn check_steps(case: &str, options: AdamWOptions, schedule: Option<Schedule>) {
    let (file, start) = (Golden::open("adamw.safetensors"), Golden::open("encoder.safetensors"));
    let (config, engine) = (config(Family::Bert), Engine::new(2));
    let (mut params, text) = (params(&start, config.layout()), start.packed());
    let bert = Bert::new(config, &params);
    let mut optimizer = AdamW::new(options);
    let (mut losses, mut norms) = (vec![], vec![]);
    for step in 0..10 {
        let (value, mut grads) = loss(&engine, &bert, &params, &text, LOSS, false);
        losses.push(value);
        norms.push(grads.norm(&engine));
        if schedule.is_some() {
            clip(&engine, &mut grads, 1.0);
        }
        let rate = 1e-3 * schedule.map_or(1.0, |s| s.rate(step));
        optimizer.step(&engine, &mut params, &grads, rate as f32);
    }
    let ten = |values: Vec<f64>| Tensor::from_vec([10], values);
    near("loss", &ten(losses), &file.tensor(&format!("{case}.loss")), 1e-5);
    near("norm", &ten(norms), &file.tensor(&format!("{case}.norm")), 1e-5);
    let mut compared = 0;
    for id in params.ids() {
        let name = params.name(id);
        let Some(want) = file.find(&format!("{case}.param.{name}")) else { continue };
        compared += 1;
        if is_rounding(name) {
            // AdamW divides rounding by its own size: at most ten full steps.
            assert!(worst(params.value(id), &want) < 1e-2, "{name}");
        } else {
            near(name, params.value(id), &want, 1e-5);
        }
    }
    assert!(compared >= 5, "{compared} parameters were compared");
}

#[test]
fn ten_steps_of_adamw_with_decay_on_all_equal_pytorch() {
    check_steps("decay_all", AdamWOptions { decay_all: true, ..AdamWOptions::default() }, None);
}

#[test]
fn ten_steps_of_adamw_with_the_no_decay_list_equal_pytorch() {
    check_steps("no_decay_list", AdamWOptions::default(), None);
}

#[test]
fn ten_steps_with_schedule_and_clipping_equal_pytorch() {
    let schedule = Schedule { kind: ScheduleKind::Linear, warmup_steps: 3, total_steps: 10 };
    check_steps("schedule", AdamWOptions::default(), Some(schedule));
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
