//! Directories of MPNet and ModernBERT: what is not there is refused by name, and older releases are understood.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use engine::Kind;
use files::exports::{config, edit, export, json as read, modernbert};
use models::bert::Family;
use models::{Architecture, Model, hf};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

#[test]
fn what_we_do_not_have_of_mpnet_and_modernbert_is_refused_by_name() {
    let check = |architecture: Architecture, key: &str, value: Value, parts: &[&str]| {
        let root = TempDir::new().unwrap();
        let dir = root.path().join("model");
        export(&Model::fresh(architecture, 12, 3), &dir).unwrap();
        edit(dir.join("config.json"), key, value);
        let e = hf::read(&dir).unwrap_err();
        assert_eq!(e.kind(), Kind::Input);
        let text = e.to_string();
        assert!(parts.iter().chain(&["config.json"]).all(|part| text.contains(part)), "{text}");
    };
    let mpnet = |key: &str, value, parts: &[&str]| {
        check(Architecture::Bert(config(Family::Mpnet)), key, value, parts);
    };
    mpnet("relative_attention_num_buckets", json!(64), &["`relative_attention_num_buckets` is not 32"]);
    mpnet("pad_token_id", json!(0), &["`pad_token_id` is not 1"]);
    let modern = |key: &str, value, parts: &[&str]| {
        check(Architecture::ModernBert(modernbert(3)), key, value, parts);
    };
    modern("norm_bias", json!(true), &["`norm_bias` is true"]);
    modern("attention_bias", json!(true), &["`attention_bias` is true"]);
    modern("layer_types", json!(["full_attention"]), &["names 1 layers of 3"]);
    modern(
        "layer_types",
        json!(["full_attention", "x", "full_attention"]),
        &["holds `x`", "sliding_attention"],
    );
    modern("rope_parameters", json!({"full_attention": {"rope_type": "yarn"}}), &["`rope_type` is `yarn`"]);
    modern("rope_parameters", json!({"full_attention": {"rope_theta": 0.5}}), &["θ of 0.5"]);
    modern("rope_parameters", json!({"rope_theta": 500.0}), &["unknown field `rope_theta`"]);
    modern("rope_scaling", json!({"rope_type": "linear", "factor": 4.0}), &["`rope_scaling` stretches"]);
    modern("num_attention_heads", json!(8), &["heads of 1 channels"]);
    modern("hidden_activation", json!("silu"), &["`hidden_activation` is `silu`"]);
    modern("max_position_embeddings", Value::Null, &["`max_position_embeddings` is missing"]);
}

/// Releases of transformers before 5 say what a layer sees by a period.
#[test]
fn a_modernbert_of_an_older_release_is_the_same() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    export(&Model::fresh(Architecture::ModernBert(modernbert(5)), 12, 3), &dir).unwrap();
    let mut file = read(dir.join("config.json"));
    for key in ["layer_types", "rope_parameters"] {
        assert!(file.as_object_mut().unwrap().remove(key).is_some());
    }
    let theta_of_windows = |file: &Value| {
        fs::write(dir.join("config.json"), file.to_string()).unwrap();
        let architecture = hf::read(&dir).unwrap().model.architecture;
        let Architecture::ModernBert(config) = &architecture else { panic!("it is a ModernBERT") };
        (config.layers[1].theta, architecture)
    };
    file["rope_scaling"] = json!({"rope_type": "default"});
    assert_eq!(theta_of_windows(&file).1, Architecture::ModernBert(modernbert(5)));
    // Null is as for the whole text; a missing key is what transformers takes without one.
    file["local_rope_theta"] = Value::Null;
    assert_eq!(theta_of_windows(&file).0, 1000.0);
    assert!(file.as_object_mut().unwrap().remove("local_rope_theta").is_some());
    assert_eq!(theta_of_windows(&file).0, 10_000.0);
}
