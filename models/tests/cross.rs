//! Cross-encoders against PyTorch's numbers (`tests/golden/cross`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use engine::Engine;
use files::cross::{self, folder};
use models::cross::CrossEncoder;
use models::{Architecture, Model, bert, hf};
use serde_json::Value;
use std::path::Path;

#[test]
fn a_bert_that_reads_pairs_equals_pytorch() {
    cross::scores(&Engine::poisoned(2), "bert", true);
}

#[test]
fn a_roberta_that_reads_pairs_equals_pytorch() {
    cross::scores(&Engine::poisoned(2), "roberta", false);
}

#[test]
fn what_is_learned_of_lists_is_what_pytorch_learns() {
    cross::learned(&Engine::new(2));
}

/// The names of tensors in a file.
fn names(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header.as_object().unwrap().keys().filter(|name| *name != "__metadata__").cloned().collect()
}

#[test]
fn what_is_written_has_the_names_of_transformers_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    for family in ["bert", "roberta"] {
        let import = hf::read_cross(&folder(family)).unwrap();
        let (out, card) = (dir.path().join(family), hf::Card::default());
        let tokenizer_json = std::fs::read(folder(family).join("tokenizer.json")).unwrap();
        for sigmoid in [true, false] {
            let (model, params) = (&import.model, &import.params);
            let export =
                hf::CrossExport { model, params, sigmoid, tokenizer_json: &tokenizer_json, card: &card };
            hf::write_cross(&export, &out).unwrap();
            assert_eq!(hf::read_cross(&out).unwrap().sigmoid, sigmoid);
        }
        let golden = names(&folder(family).join("model.safetensors"));
        let buffers = |name: &String| name.ends_with("position_ids");
        assert_eq!(
            names(&out.join("model.safetensors")),
            golden.into_iter().filter(|n| !buffers(n)).collect::<Vec<_>>()
        );
        let again = hf::read_cross(&out).unwrap();
        assert_eq!(again.model.config(), import.model.config());
        for id in import.params.ids() {
            let name = import.params.name(id);
            let other = again.params.value(again.params.find(name).unwrap());
            assert!(other.data::<f32>() == import.params.value(id).data::<f32>(), "{family} {name}");
        }
    }
}

#[test]
fn an_encoder_gets_a_fresh_head_and_keeps_its_numbers() {
    let size = bert::Size { layers: 1, width: 8, heads: 2, ffn: 16 };
    let model = Model::fresh(Architecture::Bert(bert::Config::from_size(size, 30, 12)), 12, 3);
    let (cross, params) = CrossEncoder::on(&model, 4).unwrap();
    assert_eq!(params.len(), model.params.len() + 4);
    for id in model.params.ids() {
        let own = params.value(params.find(model.params.name(id)).unwrap());
        assert!(own.data::<f32>() == model.params.value(id).data::<f32>());
    }
    let config = cross.with_dropout(0.0, &params).config().clone();
    assert_eq!((config.hidden_dropout, config.attention_dropout), (0.0, 0.0));
    let bag = Architecture::Bag(models::bag::Config { vocab: 30, width: 8, normalise: true });
    assert_eq!(CrossEncoder::on(&Model::fresh(bag, 12, 3), 4).err().unwrap(), "bag");
}

#[test]
fn what_is_no_cross_encoder_is_refused_with_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let told = |change: &dyn Fn(&Path)| {
        for file in ["config.json", "model.safetensors"] {
            std::fs::copy(folder("bert").join(file), dir.path().join(file)).unwrap();
        }
        change(dir.path());
        hf::read_cross(dir.path()).unwrap_err().to_string()
    };
    let config = |from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(dir.join("config.json"), text.replace(from, to)).unwrap();
        }
    };
    let e = told(&config("\"model_type\": \"bert\"", "\"model_type\": \"distilbert\""));
    assert!(e.contains("distilbert"), "{e}");
    let e = told(&config("\"model_type\": \"bert\"", "\"model_type\": \"roberta\""));
    assert!(e.contains("missing") && e.contains("ForSequenceClassification"), "{e}");
    let odd = r#""activation_fn": "torch.nn.Softplus", "model_type": "bert""#;
    let e = told(&config("\"model_type\": \"bert\"", odd));
    assert!(e.contains("Softplus"), "{e}");
    assert!(hf::read_cross(&dir.path().join("nowhere")).is_err());
}
