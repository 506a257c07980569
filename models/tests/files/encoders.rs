//! The encoders of the golden files, on any engine: hidden states, pooled vectors, losses, all gradients, ten steps of
//! AdamW. Tolerances are those of the golden files' README.

use super::{Golden, near, worst};
use autograd::{AdamW, AdamWOptions, Optimizer, ParamGrads, Params, Pool, Schedule, Tape, clip};
use engine::{Engine, Packed, Tensor};
use models::bert::{Activation, Bert, Config, Family, Size};
use models::layout::Entry;
use models::modernbert::{self, ModernBert, Sight};
use models::{Encoder, InfoNce, Objective, Scope, Terms, latent};
use std::sync::Arc;

/// The latents of `latents.safetensors`.
pub(crate) const LATENTS: latent::Config = latent::Config { latents: 10, heads: 3, channels: 12 };
pub(crate) const LOSS: InfoNce = InfoNce { temperature: 0.05, symmetric: false, top_rows: 1.0 };

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

/// The parameters of a file, where the engine computes.
fn params(engine: &Engine, file: &Golden, layout: Vec<Entry>) -> Params {
    params_of(engine, layout, |name| file.tensor(name))
}

fn params_of(engine: &Engine, layout: Vec<Entry>, find: impl Fn(&str) -> Tensor) -> Params {
    let mut params = Params::default();
    for entry in layout {
        let value = find(&format!("param.{}", entry.name));
        params.add(entry.name.clone(), engine.place(&value), entry.role.decays());
    }
    params
}

/// Hidden states, the embedding and each pooling of a BERT.
#[track_caller]
pub(crate) fn forward(engine: &Engine, name: &str, family: Family) {
    let (file, config) = (Golden::open(name), config(family));
    let (params, text) = (params(engine, &file, config.layout()), file.packed());
    let bert = Bert::new(config.clone(), &params);
    let tape = Tape::checked(engine);
    let cx = Scope::new(&tape, &params);
    for (i, hidden) in bert.hidden(&cx, &text, 0).into_iter().enumerate() {
        let what = if i == 0 { "hidden.embeddings".into() } else { format!("hidden.layer{}", i - 1) };
        near(&what, &hidden.value(), &file.tensor(&what), 5e-6);
    }
    near("embedding", &bert.encode(&cx, &text, 0).value(), &file.tensor("embedding"), 5e-6);
    for (pooling, what) in [(Pool::Mean, "mean"), (Pool::First, "cls"), (Pool::Max, "max")] {
        let bert = Bert::new(Config { pooling, normalise: false, ..config.clone() }, &params);
        let (pooled, what) = (bert.encode(&cx, &text, 0).value(), format!("pooled.{what}"));
        assert_eq!(pooled.cuda().is_some(), engine.cuda().is_some(), "where it is computed");
        near(&what, &pooled, &file.tensor(&what), 5e-6);
    }
    assert_eq!(tape.anomaly(), None);
}

/// Hidden states and the embedding of a ModernBERT.
pub(crate) fn forward_of_modernbert(engine: &Engine) {
    let (file, config) = (Golden::open("modernbert.safetensors"), modernbert());
    let (params, text) = (params(engine, &file, config.layout()), file.packed());
    let model = ModernBert::new(config.clone(), &params);
    let tape = Tape::checked(engine);
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
pub(crate) fn loss(
    engine: &Engine,
    bert: &dyn Encoder,
    params: &Params,
    text: &Packed,
    objective: InfoNce,
    recompute: bool,
) -> (f64, ParamGrads) {
    let tape = Tape::new(engine);
    let e = bert.encode(&Scope { recompute, ..Scope::new(&tape, params) }, text, 0);
    assert_eq!(e.value().cuda().is_some(), engine.cuda().is_some(), "where it is computed");
    let n = text.len() / 2;
    let scores = e.slice(0, 0..n).matmul_nt(e.slice(0, n..2 * n));
    let terms = Terms::masked((0..n as u32).collect(), Arc::from(vec![true; n * n]));
    let loss = objective.loss(scores, &terms);
    let value = loss.value().item();
    (value, tape.backward_from(loss).into_params())
}

/// A softmax does not see a shift of its row: the gradient of a key's bias is rounding and nothing else.
pub(crate) fn is_rounding(name: &str) -> bool {
    name.ends_with("attention.self.key.bias") || name.ends_with("attention.attn.k.bias")
}

pub(crate) fn gradients_of_bert(engine: &Engine) {
    let (file, config) = (Golden::open("encoder.safetensors"), config(Family::Bert));
    let (params, text) = (params(engine, &file, config.layout()), file.packed());
    let bert = Bert::new(config, &params);
    let symmetric = InfoNce { symmetric: true, ..LOSS };
    let (both, _) = loss(engine, &bert, &params, &text, symmetric, false);
    near("loss.symmetric", &Tensor::from_vec([1], vec![both]), &file.tensor("loss.symmetric"), 3e-6);
    assert_eq!(gradients(engine, &file, &bert, &params), params.len());
}

pub(crate) fn gradients_of_mpnet(engine: &Engine) {
    let (file, config) = (Golden::open("mpnet.safetensors"), config(Family::Mpnet));
    let params = params(engine, &file, config.layout());
    assert_eq!(gradients(engine, &file, &Bert::new(config, &params), &params), params.len());
}

pub(crate) fn gradients_of_modernbert(engine: &Engine) {
    let (file, config) = (Golden::open("modernbert.safetensors"), modernbert());
    let params = params(engine, &file, config.layout());
    assert_eq!(gradients(engine, &file, &ModernBert::new(config, &params), &params), params.len());
}

/// Latents before the pooling of the BERT of another file: the pooled vector, the embedding, and gradients.
pub(crate) fn latents(engine: &Engine) {
    let config = Config { latents: Some(LATENTS), ..config(Family::Bert) };
    let (body, own) = (Golden::open("encoder.safetensors"), Golden::open("latents.safetensors"));
    let params =
        params_of(engine, config.layout(), |name| own.find(name).unwrap_or_else(|| body.tensor(name)));
    let text = own.packed();
    let tape = Tape::checked(engine);
    let bert = Bert::new(Config { normalise: false, ..config.clone() }, &params);
    let pooled = bert.encode(&Scope::new(&tape, &params), &text, 0).value();
    near("pooled", &pooled, &own.tensor("pooled"), 5e-6);
    assert_eq!(tape.anomaly(), None);
    let (tape, bert) = (Tape::inference(engine), Bert::new(config, &params));
    for recompute in [false, true] {
        let cx = Scope { recompute, ..Scope::new(&tape, &params) };
        near("embedding", &bert.encode(&cx, &text, 0).value(), &own.tensor("embedding"), 5e-6);
    }
    assert_eq!(gradients(engine, &own, &bert, &params), 14 + 2);
}

/// The loss and the gradients of all parameters that the file has, kept and recomputed: how many these are.
#[track_caller]
fn gradients(engine: &Engine, file: &Golden, encoder: &dyn Encoder, params: &Params) -> usize {
    let (text, mut met) = (file.packed(), 0);
    for recompute in [false, true] {
        let (value, grads) = loss(engine, encoder, params, &text, LOSS, recompute);
        near("loss", &Tensor::from_vec([1], vec![value]), &file.tensor("loss"), 3e-6);
        met = 0;
        for id in params.ids() {
            let name = params.name(id);
            let Some(want) = file.find(&format!("grad.{name}")) else { continue };
            let grad = grads.get(id).expect("every parameter takes part").to_f64();
            let grad = Tensor::from_vec(params.value(id).shape(), grad);
            if is_rounding(name) {
                assert!(worst(&grad, &want) < 1e-6, "{name}");
            } else {
                near(name, &grad, &want, 5e-5);
            }
            met += 1;
        }
    }
    met
}

#[track_caller]
pub(crate) fn steps(engine: &Engine, case: &str, options: AdamWOptions, schedule: Option<Schedule>) {
    let (file, start) = (Golden::open("adamw.safetensors"), Golden::open("encoder.safetensors"));
    let config = config(Family::Bert);
    let (mut params, text) = (params(engine, &start, config.layout()), start.packed());
    let bert = Bert::new(config, &params);
    let mut optimizer = AdamW::new(options);
    let (mut losses, mut norms) = (vec![], vec![]);
    for step in 0..10 {
        let (value, mut grads) = loss(engine, &bert, &params, &text, LOSS, false);
        losses.push(value);
        norms.push(grads.norm(engine));
        if schedule.is_some() {
            clip(engine, &mut grads, 1.0);
        }
        let rate = 1e-3 * schedule.map_or(1.0, |s| s.rate(step));
        optimizer.step(engine, &mut params, &grads, rate as f32);
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
