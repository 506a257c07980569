//! Model directories that tests write, read and spoil.

#![allow(dead_code, reason = "each test program uses its part")]

use autograd::Pool;
use models::Model;
use models::bert::{Activation, Config, Family, Size};
use models::hf::{self, Card, Export};
use models::modernbert::{self, Sight};
use serde_json::Value;
use std::fs;
use std::path::Path;

pub(crate) const TOKENIZER: &str = r###"{"version":"1.0","truncation":{"max_length":9},"padding":null,
    "added_tokens":[{"id":0,"content":"[PAD]"},{"id":1,"content":"[UNK]"},
        {"id":2,"content":"[CLS]"},{"id":3,"content":"[SEP]"}],
    "normalizer":{"type":"BertNormalizer","lowercase":true},
    "model":{"type":"WordPiece","vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"a":4,"##b":5}}}"###;

pub(crate) fn config(family: Family) -> Config {
    let size = Size { layers: 2, width: 8, heads: 2, ffn: 12 };
    let config = Config::from_size(size, 6, 16);
    match family {
        Family::Bert => config,
        Family::DistilBert => Config {
            family,
            types: 0,
            activation: Activation::Relu,
            pooling: Pool::First,
            hidden_dropout: 0.3,
            ..config
        },
        _ => Config {
            family,
            types: u8::from(family != Family::Mpnet).into(),
            pad: 1,
            eps: 1e-5,
            activation: Activation::GeluTanh,
            pooling: Pool::Max,
            normalise: false,
            ..config
        },
    }
}

/// Every third layer sees everything, the others two tokens to each side.
pub(crate) fn modernbert(layers: usize) -> modernbert::Config {
    let sight = |layer: usize| match layer % 3 {
        0 => Sight { window: None, theta: 1000.0 },
        _ => Sight { window: Some(2), theta: 100.0 },
    };
    modernbert::Config {
        size: Size { layers, width: 8, heads: 2, ffn: 12 },
        vocab: 6,
        positions: 16,
        layers: (0..layers).map(sight).collect(),
        pad: 3,
        activation: Activation::GeluTanh,
        eps: 1e-5,
        embedding_dropout: 0.1,
        attention_dropout: 0.2,
        mlp_dropout: 0.3,
        latents: None,
        pooling: Pool::First,
        normalise: true,
    }
}

pub(crate) fn export(model: &Model, dir: &Path) -> engine::Result<()> {
    let (card, tokenizer_json) = (Card { title: "Test".into(), ..Card::default() }, TOKENIZER.as_bytes());
    let (architecture, params, tokens_max) = (&model.architecture, &model.params, model.tokens_max);
    hf::write(
        &Export {
            architecture,
            params,
            tokens_max,
            tokenizer_json,
            prompts: [""; 2],
            pools_prompts: true,
            card: &card,
        },
        dir,
    )
}

pub(crate) fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn edit(path: impl AsRef<Path>, key: &str, value: Value) {
    let mut file = json(&path);
    file[key] = value;
    fs::write(path, file.to_string()).unwrap();
}
