//! Cross-encoders against PyTorch's numbers (`tests/golden/cross`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use autograd::Tape;
use engine::Engine;
use models::cross::PairTexts;
use models::{Scope, hf};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cross").join(family)
}

/// Two texts of a pair's ids, each between the special tokens.
fn parts(ids: &[u32], family: &str) -> [Vec<u32>; 2] {
    let (cls, sep) = (ids[0], *ids.last().unwrap());
    let cut = ids.iter().position(|&id| id == sep).unwrap();
    let second = if family == "bert" { cut + 1 } else { cut + 2 };
    [&ids[1..cut], &ids[second..ids.len() - 1]].map(|inner| [&[cls][..], inner, &[sep]].concat())
}

fn check(family: &str, sigmoid: bool) {
    let import = hf::read_cross(&folder(family)).unwrap();
    assert_eq!(import.sigmoid, sigmoid);
    let rows: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder(family).join("pairs.json")).unwrap()).unwrap();
    let mut pairs = PairTexts::default();
    for (i, row) in rows.iter().enumerate() {
        let ids: Vec<u32> =
            row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let [first, second] = parts(&ids, family);
        import.model.join(&mut pairs, &first, &second);
        assert_eq!(pairs.texts.text(i), ids);
    }
    let tape = Tape::checked(&Engine::poisoned(2));
    let scores = import.model.score(&Scope::new(&tape, &import.params), &pairs, 0).value();
    for (row, &score) in rows.iter().zip(scores.data::<f32>()) {
        let (logit, predicted) = (row["logit"].as_f64().unwrap(), row["predicted"].as_f64().unwrap());
        let score = f64::from(score);
        assert!((score - logit).abs() < 2e-6, "{score} is not {logit}");
        let activated = if sigmoid { 1.0 / (1.0 + (-score).exp()) } else { score };
        assert!((activated - predicted).abs() < 2e-6, "{activated} is not {predicted}");
    }
}

#[test]
fn a_bert_that_reads_pairs_equals_pytorch() {
    check("bert", true);
}

#[test]
fn a_roberta_that_reads_pairs_equals_pytorch() {
    check("roberta", false);
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
