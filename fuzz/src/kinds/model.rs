//! Model directories: weights, and the small JSON files around them.

use super::text::{PIECES, put};
use super::tokenizer::WORDPIECE;
use super::{Kind, Read};
use autograd::Tape;
use engine::{Engine, Packed, Result, Stream};
use models::bert::{self, Size};
use models::hf::{self, Card, Export};
use models::{Architecture, Model};
use std::path::Path;
use train::Network;

const MIB: usize = 1 << 20;

pub(super) const SAFETENSORS: Kind = Kind {
    name: "safetensors",
    parts: &["bag/0_StaticEmbedding/model.safetensors", "bert/model.safetensors", "cross/model.safetensors"],
    container: None,
    bytes_max: 8 * MIB,
    make: |dir, engine| directories(dir, SAFETENSORS.parts, engine),
};

pub(super) const CONFIG_JSON: Kind = Kind {
    name: "config_json",
    parts: &[
        "bert/config.json",
        "bert/modules.json",
        "bert/1_Pooling/config.json",
        "other/tokenizer_config.json",
        "bert/sentence_bert_config.json",
        "bag/modules.json",
        "cross/config.json",
        "shards/model.safetensors.index.json",
        "bert/config_sentence_transformers.json",
    ],
    container: None,
    bytes_max: 8 * MIB,
    make: |dir, engine| directories(dir, CONFIG_JSON.parts, engine),
};

fn write(model: &Model, dir: &Path) {
    let card = Card { title: "Sample".into(), ..Card::default() };
    let (architecture, params, tokens_max) = (&model.architecture, &model.params, model.tokens_max);
    let export = Export {
        architecture,
        params,
        tokens_max,
        tokenizer_json: WORDPIECE.as_bytes(),
        prompts: ["q: ", "d: "],
        pools_prompts: true,
        card: &card,
    };
    hf::write(&export, dir).expect("written");
}

/// A static embedding.
pub(super) fn bag(dir: &Path, vocab: usize) {
    let config = models::bag::Config { vocab, width: 4, normalise: true };
    write(&Model::fresh(Architecture::Bag(config), 6, 1), dir);
}

fn config() -> bert::Config {
    bert::Config::from_size(Size { layers: 1, width: 2, heads: 1, ffn: 2 }, PIECES.lines().count(), 8)
}

/// A cross-encoder is written by other programs only: its directory is put together from a BERT's.
fn cross(dir: &Path) {
    let tensor = |entry: &models::layout::Entry| {
        let numbers = (0..entry.shape.len()).flat_map(|i| (0.01 * i as f32).to_le_bytes());
        let name = if entry.name.starts_with("classifier") { "" } else { "bert." }.to_owned() + &entry.name;
        (name, entry.shape.dims().to_vec(), numbers.collect::<Vec<u8>>())
    };
    let tensors: Vec<_> = models::cross::layout(&config()).iter().map(tensor).collect();
    put(&dir.join("model.safetensors"), packed(&tensors));
    let config = std::fs::read(dir.with_file_name("bert").join("config.json")).expect("written before");
    put(&dir.join("config.json"), config);
    put(&dir.join("vocab.txt"), PIECES);
}

/// A file of safetensors.
fn packed(tensors: &[(String, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut data) = (vec![], vec![]);
    for (name, dims, bytes) in tensors {
        let (from, to) = (data.len(), data.len() + bytes.len());
        header.push(format!(r#""{name}":{{"dtype":"F32","shape":{dims:?},"data_offsets":[{from},{to}]}}"#));
        data.extend_from_slice(bytes);
    }
    let header = format!("{{{}}}", header.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Reads an encoder, and embeds a text with and without dropout.
fn embed(dir: &Path, engine: &Engine) -> Result<()> {
    let mut network = Network::of_import(hf::read(dir)?)?;
    let tokenizer = data::Tokenizer::from_dir(&hf::tokenizer_folder(dir))?;
    if tokenizer.vocab_size() > network.model.architecture.vocab() {
        return Ok(());
    }
    let mut texts = Packed::default();
    for text in ["q: a red boat", ""] {
        texts.push(tokenizer.encode(text, network.encoder.tokens_max().clamp(2, 8))?);
    }
    if texts.tokens.len() > network.encoder.tokens_max() {
        return Ok(());
    }
    let width = network.width();
    for chance in [None, Some(Stream::new(1, 1))] {
        let tape = Tape::inference(engine);
        assert_eq!(network.encode(&tape, &texts, 0, chance).value().shape().dims(), [2, width]);
    }
    network.set_dropout(0.5);
    Ok(())
}

/// A model whose tensors lie in a shard that an index names.
fn shards(dir: &Path) {
    let model = Model::fresh(Architecture::Bert(config()), 8, 1);
    write(&model, dir);
    let map = model.params.ids().map(|id| format!(r#""{}":"one.safetensors""#, model.params.name(id)));
    let map = map.collect::<Vec<_>>().join(",");
    put(&dir.join("model.safetensors.index.json"), format!(r#"{{"weight_map":{{{map}}}}}"#));
    std::fs::rename(dir.join("model.safetensors"), dir.join("one.safetensors")).expect("renamed");
}

fn directories(dir: &Path, parts: &'static [&'static str], engine: &Engine) -> Read {
    bag(&dir.join("bag"), PIECES.lines().count());
    write(&Model::fresh(Architecture::Bert(config()), 8, 1), &dir.join("bert"));
    cross(&dir.join("cross"));
    shards(&dir.join("shards"));
    // Where two files say the same, the first is believed; this one has the second alone.
    write(&Model::fresh(Architecture::Bert(config()), 8, 1), &dir.join("other"));
    for name in ["sentence_bert_config.json", "tokenizer.json"] {
        std::fs::remove_file(dir.join("other").join(name)).expect("removed");
    }
    put(&dir.join("other/vocab.txt"), PIECES);
    let (dir, engine) = (dir.to_owned(), engine.clone());
    Box::new(move |part| match parts[part].split('/').next() {
        Some("cross") => hf::read_cross(&dir.join("cross")).map(|read| drop(format!("{read:?}"))),
        Some(folder) => embed(&dir.join(folder), &engine),
        None => Ok(()),
    })
}
