//! Latent attention before the pooling: PyTorch's numbers, a start that changes nothing, rounding, files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use autograd::{Pool, Tape};
use engine::{DType, Engine, Packed, Precision, Tensor};
use files::encoders::{self, LATENTS};
use files::exports::{config, edit, export, json as read, modernbert};
use models::bert::Family;
use models::{Architecture, Model, Scope, hf};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

#[test]
fn embeddings_loss_and_gradients_equal_pytorch() {
    encoders::latents(&Engine::poisoned(2));
}

fn texts() -> Packed {
    let mut text = Packed::default();
    for n in [1, 12, 5, 2, 9] {
        text.push((0..n).map(|i| (i * i + 3 * n) % 6));
    }
    text
}

fn encode(engine: &Engine, model: &Model) -> Vec<f64> {
    let tape = Tape::inference(engine);
    model.encoder().encode(&Scope::new(&tape, &model.params), &texts(), 0).value().to_f64()
}

fn with_latents(architecture: &Architecture) -> Architecture {
    architecture.with_latents(LATENTS, Pool::Mean).unwrap()
}

fn both() -> [Architecture; 2] {
    [config(Family::Bert).into(), models::modernbert::Config { pooling: Pool::Mean, ..modernbert(3) }.into()]
}

#[test]
fn a_model_to_which_latents_are_added_begins_as_it_was() {
    let engine = Engine::new(2);
    for plain in both() {
        let [before, after] = [plain.clone(), with_latents(&plain)].map(|a| Model::fresh(a, 12, 3));
        assert_eq!(after.params.len(), before.params.len() + 14);
        assert_eq!(encode(&engine, &after), encode(&engine, &before));
    }
}

/// Numbers far from those of a beginning.
fn moved(architecture: Architecture) -> Model {
    let mut model = Model::fresh(architecture, 12, 3);
    for id in model.params.ids() {
        let value = model.params.value(id);
        let moved = |(i, x): (usize, &f32)| 4.0 * x + 0.3 * (1.7 * i as f32).sin();
        let values = value.data::<f32>().iter().enumerate().map(moved).collect();
        model.params.set(id, Tensor::from_vec(value.shape(), values));
    }
    model
}

#[test]
fn all_five_matrices_are_rounded() {
    let engine = Engine::new(1);
    for plain in both() {
        let model = moved(with_latents(&plain));
        let exact = encode(&engine, &model);
        let own = |model: &Model| {
            let rounded = |&id: &autograd::ParamId| {
                let value = model.params.value(id);
                model.params.name(id).starts_with("latent") && matches!(value.dtype(), DType::Rounded(_))
            };
            model.params.ids().filter(rounded).count()
        };
        for (precision, far) in [(Precision::Int8, 0.05), (Precision::Bf16, 0.03)] {
            let rounded = model.rounded(&engine, precision);
            assert_eq!(own(&rounded), 5);
            let off =
                encode(&engine, &rounded).iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            println!("{precision:?}: off by {off}");
            assert!(off > 0.0 && off < far, "{precision:?}: off by {off}");
        }
        // A fresh one has matrices of nothing but zeros.
        let fresh = Model::fresh(with_latents(&plain), 12, 3).rounded(&engine, Precision::Int8);
        assert!(encode(&engine, &fresh).iter().all(|x| x.is_finite()));
    }
}

#[test]
fn a_directory_says_that_latents_stand_before_the_mean() {
    for plain in both() {
        let (root, model) = (TempDir::new().unwrap(), moved(with_latents(&plain)));
        let dir = root.path().join("model");
        export(&model, &dir).unwrap();
        let modules = read(dir.join("modules.json"));
        let classes: Vec<&str> = (0..4).map(|i| modules[i]["type"].as_str().unwrap()).collect();
        let ours = "sentence_transformers.models.";
        let [transformer, pooling, normalise] =
            ["Transformer", "Pooling", "Normalize"].map(|c| format!("{ours}{c}"));
        assert_eq!(classes, [&*transformer, "lode.LatentAttention", &pooling, &normalise]);
        let card = fs::read_to_string(dir.join("README.md")).unwrap();
        assert!(card.contains("10 latents, 3 heads") && card.contains("--to onnx"), "{card}");
        assert!(!card.contains("SentenceTransformer("), "{card}");
        let back = hf::read(&dir).unwrap();
        assert_eq!(back.model.architecture, model.architecture);
        assert!(back.unused.is_empty());
        for id in model.params.ids() {
            let other = back.model.params.find(model.params.name(id)).unwrap();
            assert_eq!(model.params.value(id).to_f64(), back.model.params.value(other).to_f64());
        }
        // The next export over it, without latents, leaves nothing of them.
        export(&moved(plain), &dir).unwrap();
        assert!(!dir.join("0_LatentAttention").exists());
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let check = |spoil: &dyn Fn(&std::path::Path), part: &str| {
        let root = TempDir::new().unwrap();
        let dir = root.path().join("model");
        export(&moved(with_latents(&both()[0])), &dir).unwrap();
        spoil(&dir);
        let text = hf::read(&dir).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    };
    let set = |key: &'static str, value: Value| {
        move |dir: &std::path::Path| edit(dir.join("0_LatentAttention/config.json"), key, value.clone())
    };
    check(&set("latents", json!(null)), "`latents` is missing");
    check(&set("latents", json!(11)), "has shape [10, 8]; expected [11, 8]");
    check(&set("heads", json!(0)), "`heads` is 0");
    check(&set("channels", json!(1u64 << 40)), "`channels` is 1099511627776; it must be between 1 and 16384");
    let twice = |dir: &std::path::Path| {
        let mut modules = read(dir.join("modules.json"));
        modules[2] = modules[1].clone();
        fs::write(dir.join("modules.json"), modules.to_string()).unwrap();
    };
    check(&twice, "module 2 is `lode.LatentAttention`");
}
