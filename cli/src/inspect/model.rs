//! `lode inspect model`: what a model is, and its tensors with their sizes and spreads.

use crate::context::Context;
use crate::early::Done;
use crate::quantity::count;
use crate::render::{rounded, table};
use models::Architecture;
use serde_json::{Value, json};
use std::path::PathBuf;
use train::load;
use train::plan::bytes;

/// Flags of `inspect model`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A model directory, or a run, of which the newest checkpoint is looked at
    path: PathBuf,
}

/// Looks.
pub(crate) fn run(args: &Args, context: &Context) -> Done {
    let network = load::network(&args.path)?;
    let model = &network.model;
    let what = facts(&model.architecture);
    let tensors: Vec<Tensor> =
        model.params.ids().map(|id| Tensor::of(model.params.name(id), model.params.value(id))).collect();
    let parameters = model.params.count();
    if context.json {
        let facts: serde_json::Map<String, Value> =
            what.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        return context.print_json(&json!({
            "facts": facts,
            "parameters": parameters,
            "tokens_max": model.tokens_max,
            "auxiliary_vectors": network.auxiliary.as_ref().map(|own| own.vectors().shape().dim(0)),
            "tensors": tensors.iter().map(Tensor::object).collect::<Vec<_>>(),
        }));
    }
    let mut rows: Vec<Vec<String>> =
        what.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let size = format!("{} ({} in f32)", count(parameters as u64), bytes(4 * parameters));
    rows.push(vec!["parameters".to_owned(), size]);
    if let Some(own) = &network.auxiliary {
        let vectors = own.vectors().shape().dim(0);
        let text = format!("{} for {} labels", count(vectors as u64), count(own.of_labels().len() as u64));
        rows.push(vec!["auxiliary vectors".to_owned(), text]);
    }
    if model.tokens_max < usize::MAX {
        rows.push(vec!["tokens at most".to_owned(), model.tokens_max.to_string()]);
    }
    let head = ["tensor", "shape", "numbers", "mean", "deviation", "largest"];
    let mut of_tensors = vec![head.map(str::to_owned).to_vec()];
    of_tensors.extend(tensors.iter().map(Tensor::cells));
    context.print(&format!("{}\n{}", table(&rows), table(&of_tensors)))
}

/// What is told of an architecture.
fn facts(architecture: &Architecture) -> Vec<(&'static str, String)> {
    let latents = architecture.latents().map(|c| {
        ("latent attention", format!("{} latents, {} heads of {} channels", c.latents, c.heads, c.channels))
    });
    body(architecture).into_iter().chain(latents).collect()
}

fn body(architecture: &Architecture) -> Vec<(&'static str, String)> {
    match architecture {
        Architecture::Bert(c) => vec![
            ("family", format!("{:?}", c.family)),
            ("layers", c.size.layers.to_string()),
            ("width", c.size.width.to_string()),
            ("heads", c.size.heads.to_string()),
            ("feed-forward", format!("{} ({:?})", c.size.ffn, c.activation)),
            ("vocabulary", count(c.vocab as u64)),
            ("positions", c.positions.to_string()),
            ("pooling", format!("{:?}{}", c.pooling, if c.normalise { ", length 1" } else { "" })),
            ("dropout", format!("{} hidden, {} attention", c.hidden_dropout, c.attention_dropout)),
        ],
        Architecture::ModernBert(c) => vec![
            ("family", "ModernBert".to_owned()),
            ("layers", format!("{}, {} with a window", c.size.layers, windows(c))),
            ("width", c.size.width.to_string()),
            ("heads", c.size.heads.to_string()),
            ("feed-forward", format!("{} ({:?}, gated)", c.size.ffn, c.activation)),
            ("vocabulary", count(c.vocab as u64)),
            ("positions", format!("{} (rotary)", c.positions)),
            ("pooling", format!("{:?}{}", c.pooling, if c.normalise { ", length 1" } else { "" })),
            ("dropout", format!("{} attention, {} feed-forward", c.attention_dropout, c.mlp_dropout)),
        ],
        Architecture::Bag(c) => vec![
            ("family", "bag of token embeddings".to_owned()),
            ("width", c.width.to_string()),
            ("vocabulary", count(c.vocab as u64)),
            ("pooling", format!("Mean{}", if c.normalise { ", length 1" } else { "" })),
        ],
    }
}

/// Layers that do not see the whole text.
fn windows(config: &models::modernbert::Config) -> usize {
    config.layers.iter().filter(|layer| layer.window.is_some()).count()
}

/// A tensor in a few numbers.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    mean: f64,
    deviation: f64,
    largest: f64,
}

impl Tensor {
    fn of(name: &str, tensor: &engine::Tensor) -> Tensor {
        let values = tensor.to_f64();
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let largest = values.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let shape = tensor.shape().dims().to_vec();
        Tensor { name: name.to_owned(), shape, mean, deviation: variance.sqrt(), largest }
    }
    fn cells(&self) -> Vec<String> {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        vec![
            self.name.clone(),
            shape.join(" × "),
            count(self.shape.iter().product::<usize>() as u64),
            format!("{:+.4}", self.mean),
            format!("{:.4}", self.deviation),
            format!("{:.3}", self.largest),
        ]
    }
    fn object(&self) -> Value {
        json!({"name": self.name, "shape": self.shape, "mean": rounded(self.mean),
            "deviation": rounded(self.deviation), "largest": rounded(self.largest)})
    }
}
