//! Cross-encoders against PyTorch's numbers (`tests/golden/cross`).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use autograd::Tape;
use autograd::optim::{Optimizer, Sgd};
use engine::Engine;
use models::cross::{CrossEncoder, PairTexts};
use models::{Architecture, ListLoss, Model, Scope, bert, hf};
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

/// The pairs of `pairs.json`, as the model reads them.
fn golden_pairs(family: &str, import: &hf::CrossImport) -> PairTexts {
    let rows: Vec<Value> =
        serde_json::from_slice(&std::fs::read(folder(family).join("pairs.json")).unwrap()).unwrap();
    let mut pairs = PairTexts::default();
    for row in &rows {
        let ids: Vec<u32> =
            row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let [first, second] = parts(&ids, family);
        import.model.join(&mut pairs, &first, &second);
    }
    pairs
}

/// Three plain steps on lists of pairs, without dropout: the losses before them and the numbers after them.
#[test]
fn what_is_learned_of_lists_is_what_pytorch_learns() {
    let engine = Engine::new(2);
    for (family, loss) in ["bert", "roberta"].into_iter().flat_map(|f| [(f, "softmax"), (f, "pairs")]) {
        let of = if loss == "softmax" { ListLoss::Softmax } else { ListLoss::Pairs };
        let mut import = hf::read_cross(&folder(family)).unwrap();
        let all = golden_pairs(family, &import);
        let golden: Value =
            serde_json::from_slice(&std::fs::read(folder(family).join("learned.json")).unwrap()).unwrap();
        let (mut pairs, mut starts) = (PairTexts::default(), vec![0]);
        for list in golden["lists"].as_array().unwrap() {
            for number in list.as_array().unwrap() {
                let i = number.as_u64().unwrap() as usize;
                let tokens = all.texts.starts[i] as usize..all.texts.starts[i + 1] as usize;
                pairs.texts.push(all.texts.text(i).iter().copied());
                pairs.types.extend_from_slice(&all.types[tokens]);
            }
            starts.push(pairs.texts.len() as u32);
        }
        let mut optimizer = Sgd::new(0.0);
        let rate = golden["rate"].as_f64().unwrap() as f32;
        for want in golden[loss]["losses"].as_array().unwrap() {
            let tape = Tape::new(&engine);
            let read = import.model.score(&Scope::new(&tape, &import.params), &pairs, 0);
            let cost = of.loss(read, &starts, &[1.0 / 3.0; 3]);
            let (got, want) = (cost.value().item(), want.as_f64().unwrap());
            assert!((got - want).abs() < 1e-5, "{family} {loss}: {got} is not {want}");
            let grads = tape.backward_from(cost).into_params();
            drop(tape);
            optimizer.step(&engine, &mut import.params, &grads, rate);
        }
        let tape = Tape::inference(&engine);
        let after = import.model.score(&Scope::new(&tape, &import.params), &all, 0).value();
        for (got, want) in after.data::<f32>().iter().zip(golden[loss]["logits"].as_array().unwrap()) {
            let (got, want) = (f64::from(*got), want.as_f64().unwrap());
            assert!((got - want).abs() < 2e-5, "{family} {loss}: {got} is not {want}");
        }
    }
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
