//! `config.json`: the facts of a transformer, in the keys of its family.

use super::{json, modernbert};
use crate::architecture::Architecture;
use crate::bert::relative::BUCKETS;
use crate::bert::{Activation, Config, Family, Size};
use autograd::Pool;
use engine::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

/// The keys of BERT and RoBERTa, then those that DistilBERT has instead. A file may hold both.
#[derive(Deserialize)]
struct File {
    model_type: Option<String>,
    vocab_size: Option<u64>,
    hidden_size: Option<u64>,
    num_hidden_layers: Option<u64>,
    num_attention_heads: Option<u64>,
    intermediate_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    type_vocab_size: Option<u64>,
    pad_token_id: Option<u64>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
    hidden_dropout_prob: Option<f64>,
    attention_probs_dropout_prob: Option<f64>,
    position_embedding_type: Option<String>,
    is_decoder: Option<bool>,
    relative_attention_num_buckets: Option<u64>,

    dim: Option<u64>,
    n_layers: Option<u64>,
    n_heads: Option<u64>,
    hidden_dim: Option<u64>,
    activation: Option<String>,
    dropout: Option<f64>,
    attention_dropout: Option<f64>,
}

impl File {
    /// The same file with the keys of BERT, whichever the family has.
    fn in_keys_of_bert(self, family: Family) -> File {
        if family != Family::DistilBert {
            return self;
        }
        File {
            hidden_size: self.dim.or(self.hidden_size),
            num_hidden_layers: self.n_layers.or(self.num_hidden_layers),
            num_attention_heads: self.n_heads.or(self.num_attention_heads),
            intermediate_size: self.hidden_dim.or(self.intermediate_size),
            hidden_act: self.activation.clone().or(self.hidden_act),
            hidden_dropout_prob: self.dropout.or(self.hidden_dropout_prob),
            attention_probs_dropout_prob: self.attention_dropout.or(self.attention_probs_dropout_prob),
            // Always this in DistilBERT, which has no key for it.
            layer_norm_eps: Some(1e-12),
            ..self
        }
    }
}

#[derive(Deserialize)]
struct ModelType {
    model_type: Option<String>,
}

/// Reads and checks `config.json` of whichever transformer it is.
///
/// # Errors
/// As [`read`].
pub(super) fn transformer(path: &Path, pooling: Pool, normalise: bool) -> Result<Architecture> {
    let kind: ModelType = json::read(path)?;
    match kind.model_type.as_deref() {
        Some("modernbert") => modernbert::read(path, pooling, normalise).map(Architecture::ModernBert),
        _ => read(path, pooling, normalise).map(Architecture::Bert),
    }
}

/// Reads and checks `config.json` of a relative of BERT. Pooling and normalisation stand in other files.
///
/// # Errors
/// `Input` for a family that we do not have, a missing key, or a size beyond its limit: with path and key.
pub(super) fn read(path: &Path, pooling: Pool, normalise: bool) -> Result<Config> {
    let file: File = json::read(path)?;
    let family = family(path, file.model_type.as_deref())?;
    let file = file.in_keys_of_bert(family);
    if file.position_embedding_type.as_deref().is_some_and(|kind| kind != "absolute") {
        return Err(Error::input("`position_embedding_type` is not `absolute`: not supported").at(path));
    }
    if file.is_decoder == Some(true) {
        return Err(Error::input("`is_decoder` is true: not an encoder").at(path));
    }
    let size = sizes(
        path,
        [file.num_hidden_layers, file.hidden_size, file.num_attention_heads, file.intermediate_size],
    )?;
    let vocab = sized(path, "vocab_size", file.vocab_size, 1, 2_000_000)?;
    let positions = positions(path, file.max_position_embeddings)?;
    let types = match family {
        Family::DistilBert | Family::Mpnet => 0,
        _ => sized(path, "type_vocab_size", file.type_vocab_size.or(Some(2)), 0, 1024)?,
    };
    let shifted = matches!(family, Family::Roberta | Family::XlmRoberta | Family::Mpnet);
    let pad = sized(path, "pad_token_id", file.pad_token_id.or(Some(shifted.into())), 0, 2_000_000)?;
    if family == Family::Mpnet {
        // Fixed in the code of transformers, whatever the file says.
        for (key, value, fixed) in [
            ("relative_attention_num_buckets", file.relative_attention_num_buckets, BUCKETS as u64),
            ("pad_token_id", file.pad_token_id, 1),
        ] {
            if value.is_some_and(|value| value != fixed) {
                return Err(Error::input(format!("`{key}` is not {fixed}: not supported in MPNet")).at(path));
            }
        }
    }
    if shifted && pad + 1 >= positions {
        let message =
            format!("`pad_token_id` {pad} leaves no position of `max_position_embeddings` {positions}");
        return Err(Error::input(message).at(path));
    }
    Ok(Config {
        family,
        size,
        vocab,
        positions,
        types,
        pad: pad as u32,
        activation: activation(path, "hidden_act", file.hidden_act.as_deref())?,
        eps: ratio(path, "layer_norm_eps", file.layer_norm_eps.unwrap_or(1e-12))?,
        hidden_dropout: ratio(path, "hidden_dropout_prob", file.hidden_dropout_prob.unwrap_or(0.1))? as f32,
        attention_dropout: ratio(
            path,
            "attention_probs_dropout_prob",
            file.attention_probs_dropout_prob.unwrap_or(0.1),
        )? as f32,
        latents: None,
        pooling,
        normalise,
    })
}

fn family(path: &Path, name: Option<&str>) -> Result<Family> {
    match name {
        Some("bert") => Ok(Family::Bert),
        Some("distilbert") => Ok(Family::DistilBert),
        Some("roberta") => Ok(Family::Roberta),
        Some("xlm-roberta") => Ok(Family::XlmRoberta),
        Some("mpnet") => Ok(Family::Mpnet),
        Some(other) => Err(Error::input(format!("`model_type` is `{other}`"))
            .at(path)
            .help("supported are bert, distilbert, roberta, xlm-roberta, mpnet and modernbert")),
        None => Err(Error::input("`model_type` is missing").at(path)),
    }
}

/// Layers, width, heads and feed-forward width, within their limits.
pub(super) fn sizes(path: &Path, [layers, width, heads, ffn]: [Option<u64>; 4]) -> Result<Size> {
    let size = |key: &str, value, most| sized(path, key, value, 1, most);
    let (layers, width) = (size("num_hidden_layers", layers, 128)?, size("hidden_size", width, 16_384)?);
    let heads = size("num_attention_heads", heads, 16_384)?;
    if width % heads != 0 {
        let message = format!("`num_attention_heads` {heads} does not divide `hidden_size` {width}");
        return Err(Error::input(message).at(path));
    }
    Ok(Size { layers, width, heads, ffn: size("intermediate_size", ffn, 65_536)? })
}

/// The longest text, within its limits.
pub(super) fn positions(path: &Path, value: Option<u64>) -> Result<usize> {
    sized(path, "max_position_embeddings", value, 1, 1 << 20)
}

pub(super) fn activation(path: &Path, key: &str, name: Option<&str>) -> Result<Activation> {
    match name {
        None | Some("gelu" | "gelu_python") => Ok(Activation::Gelu),
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
        Some("relu") => Ok(Activation::Relu),
        Some(other) => Err(Error::input(format!("`{key}` is `{other}`"))
            .at(path)
            .help("supported are gelu, gelu_new, gelu_pytorch_tanh and relu")),
    }
}

/// A size within its limits, so that a hostile file cannot make us allocate.
pub(super) fn sized(path: &Path, key: &str, value: Option<u64>, least: u64, most: u64) -> Result<usize> {
    match value {
        Some(value) if (least..=most).contains(&value) => Ok(value as usize),
        Some(value) => {
            Err(Error::input(format!("`{key}` is {value}; it must be between {least} and {most}")).at(path))
        }
        None => Err(Error::input(format!("`{key}` is missing")).at(path)),
    }
}

pub(super) fn ratio(path: &Path, key: &str, value: f64) -> Result<f64> {
    // It is used in single precision, where what is nearly 1 is 1.
    if (0.0..1.0).contains(&(value as f32)) {
        return Ok(value);
    }
    Err(Error::input(format!("`{key}` is {value}; it must be at least 0 and below 1")).at(path))
}

/// The name of a non-linearity in `config.json`.
pub(super) fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_new",
        Activation::Relu => "relu",
    }
}

/// `config.json` as transformers writes it.
pub(super) fn write(config: &Config) -> Value {
    let Size { layers, width, heads, ffn } = config.size;
    let act = activation_name(config.activation);
    let (hidden_dropout, attention_dropout) = (shown(config.hidden_dropout), shown(config.attention_dropout));
    if config.family == Family::DistilBert {
        return json!({
            "architectures": ["DistilBertModel"],
            "model_type": "distilbert",
            "vocab_size": config.vocab,
            "dim": width,
            "n_layers": layers,
            "n_heads": heads,
            "hidden_dim": ffn,
            "activation": act,
            "max_position_embeddings": config.positions,
            "dropout": hidden_dropout,
            "attention_dropout": attention_dropout,
            "initializer_range": 0.02,
            "pad_token_id": config.pad,
            "qa_dropout": 0.1,
            "seq_classif_dropout": 0.2,
            "sinusoidal_pos_embds": false,
            "torch_dtype": "float32",
        });
    }
    let (architecture, model_type) = match config.family {
        Family::Roberta => ("RobertaModel", "roberta"),
        Family::XlmRoberta => ("XLMRobertaModel", "xlm-roberta"),
        Family::Mpnet => ("MPNetModel", "mpnet"),
        _ => ("BertModel", "bert"),
    };
    let mut file = json!({
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": config.vocab,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": ffn,
        "hidden_act": act,
        "max_position_embeddings": config.positions,
        "layer_norm_eps": config.eps,
        "hidden_dropout_prob": hidden_dropout,
        "attention_probs_dropout_prob": attention_dropout,
        "initializer_range": 0.02,
        "pad_token_id": config.pad,
        "torch_dtype": "float32",
    });
    let of_family = match config.family {
        Family::Mpnet => json!({ "relative_attention_num_buckets": BUCKETS }),
        _ => json!({
            "type_vocab_size": config.types,
            "position_embedding_type": "absolute",
            "use_cache": true,
        }),
    };
    if let (Value::Object(file), Value::Object(of_family)) = (&mut file, of_family) {
        file.extend(of_family);
    }
    file
}

/// A rate as a person wrote it: 0.1, not 0.10000000149011612.
pub(super) fn shown(rate: f32) -> Value {
    serde_json::from_str(&rate.to_string()).unwrap_or_else(|_| json!(rate))
}
