//! An exported run is the run: its files are those that others read, and its answers are the same.

use crate::products;
use crate::run::World;
use serde_json::Value;
use std::collections::BTreeSet;

/// A shop and a run of two epochs, exported to `model`.
fn exported(name: &str) -> World {
    let world = World::new();
    world.write("products.csv", products::csv(400));
    world.lode(&products::PREPARE).ok();
    let train = ["train", "shop.data", "--out", "run", "--model", name, "--set", "model.width=32"];
    let more = ["--batch", "32", "--epochs", "2", "--lr", "0.003", "-q"];
    world.lode(&[&train[..], &more].concat()).ok();
    let told = world.lode(&["export", "run", "--to", "hf", "--out", "model", "--json"]).ok().json();
    assert_eq!(told["width"], 32);
    world
}

fn json(world: &World, name: &str) -> Value {
    serde_json::from_slice(&world.read(&format!("model/{name}"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every file under a folder, by its path in there.
fn files(world: &World, folder: &str) -> BTreeSet<String> {
    let root = world.path(folder);
    let under = world.listing().into_iter().filter(|p| p.is_file());
    under.filter_map(|p| Some(p.strip_prefix(&root).ok()?.to_str()?.to_owned())).collect()
}

/// The tensors of a safetensors file, with their shapes.
fn tensors(bytes: &[u8]) -> Vec<(String, Vec<u64>)> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let entries = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let dims = |v: &Value| v["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).collect();
    let mut all: Vec<_> = entries.map(|(name, v)| (name.clone(), dims(v))).collect();
    all.sort();
    all
}

/// What the run answers, the exported directory answers, byte for byte.
#[track_caller]
fn check_same_answers(world: &World) {
    world.write("texts.txt", "an oak chair\nKivi heavy steel pan, model 7\n\nред\n");
    let mut evaluations = vec![];
    for model in ["run", "model"] {
        let npy = format!("{model}.npy");
        world.lode(&["encode", model, "texts.txt", "--out", &npy]).ok();
        evaluations.push(world.lode(&["evaluate", model, "shop.data", "--json", "--knn", "5"]).ok().stdout);
    }
    assert!(world.read("run.npy").len() > 4 * 4 * 32);
    assert!(world.read("run.npy") == world.read("model.npy"));
    assert!(evaluations[0].contains("P@1"));
    assert_eq!(evaluations[0], evaluations[1]);
}

#[test]
fn latents_go_to_onnx_and_not_to_sentence_transformers() {
    let world = World::new();
    world.write("products.csv", products::csv(300));
    world.lode(&products::PREPARE).ok();
    let train = ["train", "shop.data", "--out", "run", "--model", "tiny", "--set", "model.width=32", "-q"];
    let more = ["--set", "model.pooling=latent", "--batch", "32", "--epochs", "1"];
    world.lode(&[&train[..], &more].concat()).ok();
    let refused = world.lode(&["export", "run", "--to", "hf", "--out", "model"]);
    refused.fails(5, &["no module for the latent attention", "--to onnx"]);
    world.lode(&["export", "run", "--to", "onnx", "--out", "model.onnx"]).ok();
    assert!(world.read("model.onnx").windows(8).any(|w| w == b"latents/"));
    let facts = world.lode(&["inspect", "model", "run", "--json"]).ok().json();
    assert_eq!(facts["facts"]["latent attention"], "32 latents, 2 heads of 16 channels");
    let graph = world.lode(&["inspect", "graph", "run", "--json", "-q"]).ok().stdout;
    assert!(graph.contains("\"latents\""), "{graph}");
    world.lode(&["evaluate", "run", "shop.data", "--precision", "int8"]).ok();
}

#[test]
fn an_exported_transformer_has_the_files_and_tensors_that_others_read() {
    let world = exported("tiny");
    let found = files(&world, "model");
    let wanted = [
        "1_Pooling/config.json",
        "2_Normalize/config.json",
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ];
    assert_eq!(found, wanted.map(str::to_owned).into(), "files");

    let modules = json(&world, "modules.json");
    let paths: Vec<&Value> = modules.as_array().unwrap().iter().map(|m| &m["path"]).collect();
    assert_eq!((paths[0], paths[1]), (&"".into(), &"1_Pooling".into()), "{modules}");
    let pooling = json(&world, "1_Pooling/config.json");
    assert_eq!(pooling["word_embedding_dimension"], 32);
    assert_eq!(
        (&pooling["pooling_mode_mean_tokens"], &pooling["pooling_mode"]),
        (&true.into(), &"mean".into())
    );
    assert_eq!(pooling["pooling_mode_cls_token"], false);

    let config = json(&world, "config.json");
    let number = |key: &str| config[key].as_u64().unwrap_or_else(|| panic!("{key}: {config}"));
    let (vocab, ffn) = (number("vocab_size"), number("intermediate_size"));
    assert_eq!((number("hidden_size"), &config["model_type"]), (32, &"bert".into()));
    let tokens = json(&world, "tokenizer.json")["model"]["vocab"].as_object().unwrap().len() as u64;
    assert!(tokens <= vocab, "{tokens} tokens, {vocab} rows");

    let mut want = vec![
        ("embeddings.LayerNorm.bias".to_owned(), vec![32]),
        ("embeddings.LayerNorm.weight".to_owned(), vec![32]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![number("max_position_embeddings"), 32]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![number("type_vocab_size"), 32]),
        ("embeddings.word_embeddings.weight".to_owned(), vec![vocab, 32]),
    ];
    for layer in 0..number("num_hidden_layers") {
        let mut linear = |name: &str, out: u64, wide: u64| {
            want.push((format!("encoder.layer.{layer}.{name}.weight"), vec![out, wide]));
            want.push((format!("encoder.layer.{layer}.{name}.bias"), vec![out]));
        };
        for name in ["attention.self.query", "attention.self.key", "attention.self.value"] {
            linear(name, 32, 32);
        }
        linear("attention.output.dense", 32, 32);
        linear("intermediate.dense", ffn, 32);
        linear("output.dense", 32, ffn);
        for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
            want.push((format!("encoder.layer.{layer}.{norm}.weight"), vec![32]));
            want.push((format!("encoder.layer.{layer}.{norm}.bias"), vec![32]));
        }
    }
    want.sort();
    assert_eq!(tensors(&world.read("model/model.safetensors")), want);
    check_same_answers(&world);
}

#[test]
fn an_exported_bag_has_the_files_and_the_one_tensor_that_others_read() {
    let world = exported("bag");
    let found = files(&world, "model");
    for name in found.iter().filter(|n| n.ends_with(".json")) {
        json(&world, name);
    }
    let weights: Vec<&String> = found.iter().filter(|n| n.ends_with(".safetensors")).collect();
    assert_eq!(weights.len(), 1, "{found:?}");
    let names = tensors(&world.read(&format!("model/{}", weights[0])));
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!((&*names[0].0, names[0].1[1]), ("embedding.weight", 32));
    let modules = json(&world, "modules.json");
    assert!(modules[0]["type"].as_str().unwrap().ends_with("StaticEmbedding"), "{modules}");
    for module in modules.as_array().unwrap() {
        let path = module["path"].as_str().unwrap();
        let at_root = |n: &String| !n.contains('/');
        assert!(
            found.iter().any(|n| if path.is_empty() { at_root(n) } else { n.starts_with(path) }),
            "{path}"
        );
    }
    check_same_answers(&world);
}

#[test]
fn an_exported_graph_is_one_file_with_the_numbers_of_the_run() {
    let world = exported("tiny");
    let told = world.lode(&["export", "run", "--to", "onnx", "--out", "model.onnx", "--json"]).ok().json();
    assert_eq!(told["width"], 32);
    let file = world.read("model.onnx");
    let has = |part: &[u8]| file.windows(part.len()).any(|window| window == part);
    for name in ["input_ids", "attention_mask", "token_type_ids", "sentence_embedding", "max_seq_length"] {
        assert!(has(name.as_bytes()), "{name}");
    }
    // A bias and a table stand there as they do in the directory of safetensors.
    let tensors = world.read("model/model.safetensors");
    let length = u64::from_le_bytes(tensors[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&tensors[8..8 + length]).unwrap();
    for name in ["embeddings.word_embeddings.weight", "encoder.layer.1.output.dense.bias"] {
        let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize + 8 + length;
        assert!(has(&tensors[at(0)..at(1)]), "{name}");
    }
    world.lode(&["export", "run", "--to", "onnx", "--out", "model"]).fails(3, &["folder"]);
}
