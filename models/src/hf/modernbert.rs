//! `config.json` of a ModernBERT. Releases of transformers differ in how they say what a layer sees: until 4 by a
//! period and two numbers θ, since 5 by a list of layers and a map of θ. Both are read, and both are written.

use super::config::{activation, activation_name, positions, ratio, shown, sized, sizes};
use super::json;
use crate::modernbert::{Config, Sight, Size};
use autograd::Pool;
use engine::{Error, Result};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::path::Path;

const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

#[derive(Deserialize)]
struct File {
    vocab_size: Option<u64>,
    hidden_size: Option<u64>,
    num_hidden_layers: Option<u64>,
    num_attention_heads: Option<u64>,
    intermediate_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    pad_token_id: Option<u64>,
    hidden_activation: Option<String>,
    norm_eps: Option<f64>,
    embedding_dropout: Option<f64>,
    attention_dropout: Option<f64>,
    mlp_dropout: Option<f64>,
    norm_bias: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    local_attention: Option<u64>,

    global_attn_every_n_layers: Option<u64>,
    global_rope_theta: Option<f64>,
    /// Missing it is 10,000; null it is the global one.
    #[serde(default, deserialize_with = "there")]
    local_rope_theta: Option<Option<f64>>,
    rope_scaling: Option<Value>,

    layer_types: Option<Vec<String>>,
    rope_parameters: Option<Rotary>,
}

/// Tells null from missing.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// θ by what a layer sees.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotary {
    full_attention: Option<Theta>,
    sliding_attention: Option<Theta>,
}

#[derive(Deserialize)]
struct Theta {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

/// Reads and checks `config.json`. Pooling and normalisation stand in other files.
///
/// # Errors
/// `Input` for a missing key, a size beyond its limit, or what we do not have (biases, stretched positions): with path
/// and key.
pub(super) fn read(path: &Path, pooling: Pool, normalise: bool) -> Result<Config> {
    let file: File = json::read(path)?;
    let biases =
        [("norm_bias", file.norm_bias), ("attention_bias", file.attention_bias), ("mlp_bias", file.mlp_bias)];
    if let Some((key, _)) = biases.iter().find(|(_, value)| *value == Some(true)) {
        return Err(Error::input(format!("`{key}` is true: not supported")).at(path));
    }
    let default = |scaling: &Value| ["rope_type", "type"].iter().any(|key| scaling[key] == "default");
    if file.rope_scaling.as_ref().is_some_and(|scaling| !default(scaling)) {
        return Err(Error::input("`rope_scaling` stretches positions: not supported").at(path));
    }
    let size = sizes(
        path,
        [file.num_hidden_layers, file.hidden_size, file.num_attention_heads, file.intermediate_size],
    )?;
    if (size.width / size.heads) % 2 != 0 {
        let message = format!("heads of {} channels: rotary positions turn pairs", size.width / size.heads);
        return Err(Error::input(message).at(path));
    }
    let rate =
        |key: &str, value: Option<f64>| Ok::<f32, Error>(ratio(path, key, value.unwrap_or(0.0))? as f32);
    let layers = layers(path, &file, size.layers)?;
    Ok(Config {
        size,
        vocab: sized(path, "vocab_size", file.vocab_size, 1, 2_000_000)?,
        positions: positions(path, file.max_position_embeddings)?,
        layers,
        pad: sized(path, "pad_token_id", file.pad_token_id.or(Some(0)), 0, 2_000_000)? as u32,
        activation: activation(path, "hidden_activation", file.hidden_activation.as_deref())?,
        eps: ratio(path, "norm_eps", file.norm_eps.unwrap_or(1e-5))?,
        embedding_dropout: rate("embedding_dropout", file.embedding_dropout)?,
        attention_dropout: rate("attention_dropout", file.attention_dropout)?,
        mlp_dropout: rate("mlp_dropout", file.mlp_dropout)?,
        latents: None,
        pooling,
        normalise,
    })
}

/// What each layer sees.
fn layers(path: &Path, file: &File, count: usize) -> Result<Vec<Sight>> {
    let across = sized(path, "local_attention", file.local_attention.or(Some(128)), 1, 1 << 20)?;
    let every =
        sized(path, "global_attn_every_n_layers", file.global_attn_every_n_layers.or(Some(3)), 1, 128)?;
    let by_period: Vec<String> =
        (0..count).map(|layer| if layer % every == 0 { FULL } else { SLIDING }.to_owned()).collect();
    let types = file.layer_types.as_ref().unwrap_or(&by_period);
    if types.len() != count {
        let message = format!("`layer_types` names {} layers of {count}", types.len());
        return Err(Error::input(message).at(path));
    }
    let rotary = file.rope_parameters.as_ref();
    let [full, sliding] = [
        theta(path, rotary.and_then(|r| r.full_attention.as_ref()), file.global_rope_theta, 160_000.0)?,
        theta(
            path,
            rotary.and_then(|r| r.sliding_attention.as_ref()),
            file.local_rope_theta.and_then(|local| local.or(file.global_rope_theta)),
            10_000.0,
        )?,
    ];
    let sight = |name: &String| match name.as_str() {
        FULL => Ok(Sight { window: None, theta: full }),
        SLIDING => Ok(Sight { window: Some(across / 2), theta: sliding }),
        other => Err(Error::input(format!("`layer_types` holds `{other}`"))
            .at(path)
            .help(format!("supported are {FULL} and {SLIDING}"))),
    };
    types.iter().map(sight).collect()
}

/// θ, from wherever the file says it.
fn theta(path: &Path, new: Option<&Theta>, old: Option<f64>, otherwise: f64) -> Result<f64> {
    if let Some(kind) = new.and_then(|new| new.rope_type.as_deref()).filter(|kind| *kind != "default") {
        return Err(Error::input(format!("`rope_type` is `{kind}`: not supported")).at(path));
    }
    let theta = new.and_then(|new| new.rope_theta).or(old).unwrap_or(otherwise);
    if theta.is_finite() && theta > 1.0 {
        return Ok(theta);
    }
    Err(Error::input(format!("a rotary θ of {theta}; it must be above 1")).at(path))
}

/// `config.json` as transformers writes it, with the keys of releases 4 and 5. A file of release 4 has room for a
/// period of the layers only: what has none says the rest in the keys of release 5.
pub(super) fn write(config: &Config) -> Value {
    let Size { layers, width, heads, ffn } = config.size;
    let theta = |sliding: bool| {
        let layer = config.layers.iter().find(|layer| layer.window.is_some() == sliding);
        layer.map_or(if sliding { 10_000.0 } else { 160_000.0 }, |layer| layer.theta)
    };
    let window = config.layers.iter().find_map(|layer| layer.window);
    let behind_first = config.layers.iter().skip(1).position(|layer| layer.window.is_none());
    let types: Vec<&str> =
        config.layers.iter().map(|layer| if layer.window.is_some() { SLIDING } else { FULL }).collect();
    let rotary = |sliding| json!({ "rope_type": "default", "rope_theta": theta(sliding) });
    json!({
        "architectures": ["ModernBertModel"],
        "model_type": "modernbert",
        "vocab_size": config.vocab,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "hidden_activation": activation_name(config.activation),
        "max_position_embeddings": config.positions,
        "norm_eps": config.eps,
        "norm_bias": false,
        "attention_bias": false,
        "mlp_bias": false,
        "embedding_dropout": shown(config.embedding_dropout),
        "attention_dropout": shown(config.attention_dropout),
        "mlp_dropout": shown(config.mlp_dropout),
        // Halved by whoever reads it.
        "local_attention": window.map_or(128, |window| (2 * window).max(1)),
        "global_attn_every_n_layers": behind_first.map_or(layers.max(1), |at| at + 1),
        "global_rope_theta": theta(false),
        "local_rope_theta": theta(true),
        "layer_types": types,
        "rope_parameters": { FULL: rotary(false), SLIDING: rotary(true) },
        "initializer_range": 0.02,
        "pad_token_id": config.pad,
        // Without these keys transformers takes ids that belong to the published vocabulary.
        "bos_token_id": null,
        "eos_token_id": null,
        "cls_token_id": null,
        "sep_token_id": null,
        "torch_dtype": "float32",
    })
}
