//! Model directories: what goes out comes back bit for bit, what is foreign is understood, what is wrong is
//! named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod files;

use autograd::{Params, Pool};
use engine::{Kind, Tensor};
use files::exports::{config, edit, export, json, modernbert};
use models::bert::Family;
use models::hf::{self, Card, Export};
use models::{Architecture, Model, bag};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Two of three layers have a window of no token beside their own.
fn modernbert_that_sees_itself() -> models::modernbert::Config {
    let mut config = modernbert(3);
    config.layers.iter_mut().filter(|layer| layer.window.is_some()).for_each(|layer| layer.window = Some(0));
    config
}

fn fresh() -> Model {
    Model::fresh(Architecture::Bert(config(Family::Bert)), 12, 3)
}

#[track_caller]
fn same(a: &Params, b: &Params) {
    assert_eq!(a.len(), b.len());
    for id in a.ids() {
        let other = b.find(a.name(id)).unwrap();
        let bits = |t: &Tensor| t.data::<f32>().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(a.value(id)), bits(b.value(other)), "{}", a.name(id));
        assert_eq!(a.decays(id), b.decays(other), "{}", a.name(id));
    }
}

#[test]
fn what_is_written_is_read_back_bit_for_bit() {
    let architectures = [
        Architecture::Bert(config(Family::Bert)),
        Architecture::Bert(config(Family::DistilBert)),
        Architecture::Bert(config(Family::Roberta)),
        Architecture::Bert(config(Family::XlmRoberta)),
        Architecture::Bert(config(Family::Mpnet)),
        Architecture::ModernBert(modernbert(5)),
        Architecture::ModernBert(modernbert(1)),
        Architecture::ModernBert(modernbert_that_sees_itself()),
        Architecture::Bag(bag::Config { vocab: 6, width: 5, normalise: true }),
        Architecture::Bag(bag::Config { vocab: 6, width: 5, normalise: false }),
    ];
    for architecture in architectures {
        let (root, model) = (TempDir::new().unwrap(), Model::fresh(architecture, 12, 3));
        let dir = root.path().join("model");
        export(&model, &dir).unwrap();
        let import = hf::read(&dir).unwrap();
        assert_eq!(import.model.architecture, model.architecture);
        assert_eq!(import.model.tokens_max, 12);
        assert!(import.unused.is_empty());
        assert!(import.tokenizer_folder.join("tokenizer.json").is_file());
        same(&model.params, &import.model.params);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}

#[test]
fn an_export_has_the_files_that_readers_look_for() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    export(&fresh(), &dir).unwrap();
    let pooling = json(dir.join("1_Pooling/config.json"));
    let booleans = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"];
    assert_eq!(
        booleans.map(|key| pooling[format!("pooling_mode_{key}")] == true),
        [false, true, false, false]
    );
    assert_eq!((&pooling["pooling_mode"], &pooling["embedding_dimension"]), (&json!("mean"), &json!(8)));
    assert_eq!(pooling["word_embedding_dimension"], 8);
    let tokenizer = json(dir.join("tokenizer.json"));
    assert!(tokenizer["padding"].is_null() && tokenizer["truncation"].is_null());
    assert_eq!(fs::read_to_string(dir.join("vocab.txt")).unwrap(), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n##b\n");
    assert_eq!(json(dir.join("sentence_bert_config.json"))["max_seq_length"], 12);
    assert_eq!(json(dir.join("tokenizer_config.json"))["model_max_length"], 12);
    assert_eq!(json(dir.join("special_tokens_map.json"))["pad_token"], "[PAD]");
    let config = json(dir.join("config.json"));
    assert_eq!((&config["architectures"][0], &config["model_type"]), (&json!("BertModel"), &json!("bert")));
    assert_eq!(config["hidden_dropout_prob"].to_string(), "0.1");
    assert_eq!(json(dir.join("modules.json"))[2]["type"], "sentence_transformers.models.Normalize");
    let bytes = fs::read(dir.join("model.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let names = header.offset_keys();
    assert!(names.is_sorted() && names.len() == 5 + 2 * 16);
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn a_bag_exports_as_a_static_embedding() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    let bag = bag::Config { vocab: 6, width: 5, normalise: true };
    export(&Model::fresh(Architecture::Bag(bag), 12, 3), &dir).unwrap();
    let modules = json(dir.join("modules.json"));
    assert_eq!(modules[0]["type"], "sentence_transformers.models.StaticEmbedding");
    assert_eq!(
        (&modules[0]["path"], &modules[1]["path"]),
        (&json!("0_StaticEmbedding"), &json!("1_Normalize"))
    );
    // [CLS] and [SEP] are not made there, so two tokens fewer are left after truncation.
    assert_eq!(json(dir.join("0_StaticEmbedding/tokenizer.json"))["truncation"]["max_length"], 10);
}

/// A tensor of a file: name, type, shape, bytes.
type Raw = (String, &'static str, Vec<usize>, Vec<u8>);

/// Writes tensors by hand, in the order given, so that a name can come twice.
fn put(path: &Path, tensors: &[Raw]) {
    let (mut entries, mut data) = (vec![r#""__metadata__":{"made":"by hand"}"#.to_owned()], vec![]);
    for (name, dtype, shape, bytes) in tensors {
        let (from, to) = (data.len(), data.len() + bytes.len());
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{from},{to}]}}"#
        ));
        data.extend(bytes);
    }
    let header = format!("{{{}}}", entries.join(","));
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], header.as_bytes(), &data].concat()).unwrap();
}

/// The tensors of a model as bytes.
fn tensors(model: &Model) -> Vec<Raw> {
    let one = |id| {
        let value = model.params.value(id);
        let bytes = value.data::<f32>().iter().flat_map(|x| x.to_le_bytes()).collect();
        (model.params.name(id).to_owned(), "F32", value.shape().dims().to_vec(), bytes)
    };
    model.params.ids().map(one).collect()
}

#[test]
fn names_of_other_checkpoints_are_understood() {
    let (root, model) = (TempDir::new().unwrap(), fresh());
    let dir = root.path().join("model");
    export(&model, &dir).unwrap();
    let mut foreign = tensors(&model);
    for (name, ..) in &mut foreign {
        *name =
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        name.insert_str(0, "bert.");
    }
    foreign.push(("bert.embeddings.position_ids".into(), "I64", vec![1, 2], vec![0; 16]));
    foreign.push(("bert.pooler.dense.bias".into(), "F32", vec![2], vec![0; 8]));
    put(&dir.join("model.safetensors"), &foreign);
    let import = hf::read(&dir).unwrap();
    same(&model.params, &import.model.params);
    assert_eq!(import.unused, ["bert.embeddings.position_ids", "bert.pooler.dense.bias"]);
}

/// An exported model whose tensors lie in two shards, and the index of these.
fn sharded(dir: &Path) -> (Vec<Raw>, Value) {
    let model = fresh();
    export(&model, dir).unwrap();
    fs::remove_file(dir.join("model.safetensors")).unwrap();
    let all = tensors(&model);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut map = serde_json::Map::new();
    for (name, part) in names.iter().zip([&all[..7], &all[7..]]) {
        put(&dir.join(name), part);
        for tensor in part {
            map.insert(tensor.0.clone(), json!(name));
        }
    }
    (all, json!({"metadata": {"total_size": 1}, "weight_map": map}))
}

#[test]
fn shards_are_one_model() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    let (all, index) = sharded(&dir);
    let path = dir.join("model.safetensors.index.json");
    let write = |index: &Value| fs::write(&path, index.to_string()).unwrap();
    write(&index);
    same(&fresh().params, &hf::read(&dir).unwrap().model.params);
    let refused = |change: &dyn Fn(&mut Value), want: &str| {
        let mut changed = index.clone();
        change(&mut changed);
        write(&changed);
        let error = hf::read(&dir).unwrap_err();
        assert!(error.kind() == Kind::Input && error.to_string().contains(want), "{error}");
    };
    let (first, last) = (all[0].0.clone(), all[8].0.clone());
    for elsewhere in ["../model-00001-of-00002.safetensors", "/etc/passwd", "a/b", "..", ""] {
        refused(&|i| i["weight_map"][&first] = json!(elsewhere), "is not the name of a file in this folder");
    }
    refused(&|i| i["weight_map"][&first] = i["weight_map"][&last].clone(), "the index does not say so");
    refused(&|i| i["weight_map"]["more"] = i["weight_map"][&last].clone(), "the tensor `more` is not in");
    refused(&|i| i["weight_map"] = json!({}), "names no shard");
    refused(&|i| i["weight_map"]["more"] = json!("model-00003.safetensors"), "model-00003.safetensors");
}

#[test]
fn half_precision_is_widened() {
    let (root, model) = (TempDir::new().unwrap(), fresh());
    let dir = root.path().join("model");
    export(&model, &dir).unwrap();
    // 1.5 and −2 in both formats: sign, exponent, fraction by hand.
    for (dtype, one, two) in [("F16", 0x3E00u16, 0xC000u16), ("BF16", 0x3FC0, 0xC000)] {
        let mut all = tensors(&model);
        let at = all.iter().position(|t| t.0 == "embeddings.LayerNorm.bias").unwrap();
        (all[at].1, all[at].3) = (dtype, [one, two].repeat(4).iter().flat_map(|x| x.to_le_bytes()).collect());
        put(&dir.join("model.safetensors"), &all);
        let params = hf::read(&dir).unwrap().model.params;
        let bias = params.find("embeddings.LayerNorm.bias").unwrap();
        assert_eq!(params.value(bias).to_f64(), [1.5, -2.0].repeat(4));
    }
}

#[test]
fn a_distilbert_that_also_has_berts_keys_goes_by_its_own() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    let distilbert = Architecture::Bert(config(Family::DistilBert));
    export(&Model::fresh(distilbert.clone(), 12, 3), &dir).unwrap();
    edit(dir.join("config.json"), "hidden_size", json!(99));
    edit(dir.join("config.json"), "hidden_dropout_prob", json!(0.5));
    assert_eq!(hf::read(&dir).unwrap().model.architecture, distilbert);
}

#[test]
fn a_directory_without_modules_is_a_plain_transformer() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    export(&fresh(), &dir).unwrap();
    fs::remove_file(dir.join("modules.json")).unwrap();
    fs::remove_file(dir.join("sentence_bert_config.json")).unwrap();
    edit(dir.join("tokenizer_config.json"), "model_max_length", json!(1e30));
    let model = hf::read(&dir).unwrap().model;
    let Architecture::Bert(config) = model.architecture else { panic!("it is a transformer") };
    assert_eq!((config.pooling, config.normalise, model.tokens_max), (Pool::Mean, false, 16));
}

/// The error of a directory that was damaged by `damage`.
#[track_caller]
fn check(damage: impl Fn(&Path), expected: &[&str]) {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    export(&fresh(), &dir).unwrap();
    damage(&dir);
    let error = hf::read(&dir).expect_err("the directory is damaged");
    assert_eq!(error.kind(), Kind::Input);
    for part in expected {
        assert!(error.to_string().contains(part), "`{part}` is not in `{error}`");
    }
}

#[test]
fn tensors_that_are_wrong_are_named() {
    let file = |dir: &Path| dir.join("model.safetensors");
    let with = |change: fn(&mut Vec<Raw>)| {
        move |dir: &Path| {
            let mut all = tensors(&fresh());
            change(&mut all);
            put(&file(dir), &all);
        }
    };
    check(
        with(|t| drop(t.remove(0))),
        &["model.safetensors", "`embeddings.word_embeddings.weight` is missing", "[6, 8]"],
    );
    check(with(|t| t[0].2 = vec![8, 6]), &["word_embeddings.weight` has shape [8, 6]; expected [6, 8]"]);
    check(with(|t| t.push(t[0].clone())), &["`embeddings.word_embeddings.weight` comes twice"]);
    // A tensor without numbers fits anywhere: the safetensors crate would keep the second and say nothing.
    check(
        with(|t| (0..2).for_each(|_| t.push(("extra".into(), "F32", vec![0], vec![])))),
        &["`extra` comes twice"],
    );
    check(
        with(|t| {
            let mut twin = t[0].clone();
            twin.0.insert_str(0, "bert.");
            t.push(twin);
        }),
        &["`embeddings.word_embeddings.weight` and `bert.embeddings.word_embeddings.weight` are the same"],
    );
    check(
        with(|t| t[1].3[4..8].copy_from_slice(&f32::NAN.to_le_bytes())),
        &["position_embeddings", "NaN at index 1"],
    );
    check(with(|t| (t[0].1, t[0].3) = ("I32", vec![0; 192])), &["type I32; F32, F16 or BF16 was expected"]);
}

#[test]
fn files_that_are_no_weights_are_refused() {
    let file = |dir: &Path| dir.join("model.safetensors");
    let cut = |n: usize| {
        move |dir: &Path| {
            let bytes = fs::read(file(dir)).unwrap();
            fs::write(file(dir), &bytes[..n.min(bytes.len() - 5)]).unwrap();
        }
    };
    check(cut(0), &["model.safetensors", "the file is empty"]);
    check(cut(5), &["cut off inside its header"]);
    check(cut(100), &["cut off inside its header"]);
    check(cut(usize::MAX), &["another length than the file's", "truncated"]);
    check(|dir| fs::write(file(dir), [0xff; 64]).unwrap(), &["claims more than 100 MB"]);
    check(|dir| fs::write(file(dir), b"\x02\0\0\0\0\0\0\0[]").unwrap(), &["not a safetensors file"]);
    check(|dir| fs::remove_file(file(dir)).unwrap(), &["no such file"]);
    check(
        |dir| fs::rename(file(dir), dir.join("pytorch_model.bin")).unwrap(),
        &["only pytorch_model.bin", "never read"],
    );
}

#[test]
fn configurations_that_are_hostile_or_unknown_are_refused() {
    let set =
        |key: &'static str, value: Value| move |dir: &Path| edit(dir.join("config.json"), key, value.clone());
    check(set("hidden_size", json!(1e9 as u64)), &["config.json", "`hidden_size` is 1000000000", "16384"]);
    check(set("num_hidden_layers", json!(0)), &["`num_hidden_layers` is 0"]);
    check(set("num_hidden_layers", json!(129)), &["`num_hidden_layers` is 129"]);
    check(set("vocab_size", json!(3_000_000)), &["`vocab_size` is 3000000"]);
    check(set("vocab_size", Value::Null), &["`vocab_size` is missing"]);
    check(set("num_attention_heads", json!(3)), &["`num_attention_heads` 3 does not divide `hidden_size` 8"]);
    check(set("layer_norm_eps", json!(-1.0)), &["`layer_norm_eps` is -1"]);
    // Nearly 1 in a file is 1 in single precision.
    check(set("hidden_dropout_prob", json!(0.999_999_999)), &["`hidden_dropout_prob` is 0.999999999"]);
    check(set("hidden_size", json!("8")), &["config.json:1:", "invalid type"]);
    check(set("model_type", json!("t5")), &["`model_type` is `t5`", "bert, distilbert"]);
    check(set("hidden_act", json!("silu")), &["`hidden_act` is `silu`"]);
    check(set("position_embedding_type", json!("relative_key")), &["not `absolute`"]);
    // The file says more than the weights hold: found before anything is allocated.
    check(set("max_position_embeddings", json!(500_000)), &["position_embeddings", "has shape [16, 8]"]);
    check(|dir| fs::write(dir.join("config.json"), "").unwrap(), &["config.json", "empty"]);
    check(|dir| fs::write(dir.join("config.json"), "{\"a\":1,\n]").unwrap(), &["config.json:2:1"]);
    check(
        |dir| edit(dir.join("sentence_bert_config.json"), "max_seq_length", json!(1)),
        &["maximum length of 1"],
    );
    check(|dir| fs::remove_dir_all(dir).unwrap(), &["no such file or directory", "config.json"]);
}

#[test]
fn modules_that_we_cannot_follow_are_refused() {
    let modules =
        |list: Value| move |dir: &Path| fs::write(dir.join("modules.json"), list.to_string()).unwrap();
    let class = |name: &str| format!("sentence_transformers.models.{name}");
    let module = |name: &str, path: &str| json!({"type": class(name), "path": path});
    let (first, pooling) = (module("Transformer", ""), module("Pooling", "1_Pooling"));
    check(
        modules(json!([first, pooling, module("Dense", "2_Dense")])),
        &["module 2 is `sentence_transformers.models.Dense`"],
    );
    check(modules(json!([first])), &["no Pooling module"]);
    check(modules(json!([])), &["empty"]);
    check(modules(json!([pooling])), &["module 0"]);
    for path in ["../elsewhere", "/etc", "1_Pooling/../.."] {
        check(modules(json!([first, module("Pooling", path)])), &["leaves the directory"]);
    }
    #[cfg(unix)]
    check(
        |dir| {
            fs::create_dir(dir.with_file_name("elsewhere")).unwrap();
            fs::rename(dir.join("1_Pooling/config.json"), dir.with_file_name("elsewhere/config.json"))
                .unwrap();
            fs::remove_dir(dir.join("1_Pooling")).unwrap();
            std::os::unix::fs::symlink("../elsewhere", dir.join("1_Pooling")).unwrap();
        },
        &["modules.json", "the module path `1_Pooling` is a link out of the directory"],
    );
    let pooling = |key: &'static str, value: Value| {
        move |dir: &Path| {
            edit(dir.join("1_Pooling/config.json"), "pooling_mode", Value::Null);
            edit(dir.join("1_Pooling/config.json"), key, value.clone());
        }
    };
    check(pooling("pooling_mode", json!("lasttoken")), &["1_Pooling", "pooling `lasttoken`"]);
    check(pooling("pooling_mode", json!(["mean", "cls"])), &["pooling `mean + cls`"]);
}

#[test]
fn old_booleans_say_how_to_pool() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    export(&fresh(), &dir).unwrap();
    let pooling = dir.join("1_Pooling/config.json");
    fs::write(&pooling, r#"{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":false}"#).unwrap();
    let Architecture::Bert(config) = hf::read(&dir).unwrap().model.architecture else {
        panic!("a transformer")
    };
    assert_eq!(config.pooling, Pool::First);
    fs::write(&pooling, r#"{"pooling_mode_cls_token":true,"pooling_mode_mean_tokens":true}"#).unwrap();
    assert!(hf::read(&dir).unwrap_err().to_string().contains("pooling `cls + mean`"));
}

#[test]
fn an_export_replaces_an_export_and_nothing_else() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    fs::create_dir(&dir).unwrap();
    export(&fresh(), &dir).unwrap();
    let other = Model::fresh(Architecture::Bert(config(Family::Bert)), 12, 4);
    export(&other, &dir).unwrap();
    same(&other.params, &hf::read(&dir).unwrap().model.params);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);

    fs::write(dir.join("notes.txt"), "mine").unwrap();
    let refused = export(&fresh(), &dir).unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused);
    assert!(refused.to_string().contains("`notes.txt`"), "{refused}");
    fs::remove_file(dir.join("notes.txt")).unwrap();
    edit(dir.join("config_sentence_transformers.json"), "__version__", json!({"pytorch": "2"}));
    assert!(export(&fresh(), &dir).unwrap_err().to_string().contains("was not exported by Lode"));
    same(&other.params, &hf::read(&dir).unwrap().model.params);
}

#[test]
fn a_failed_export_leaves_nothing() {
    let root = TempDir::new().unwrap();
    let dir = root.path().join("model");
    let (model, card) = (fresh(), Card::default());
    let (architecture, params, tokens_max) = (&model.architecture, &model.params, model.tokens_max);
    // A padding token is missed only after some files are written.
    let tokenizer_json = br#"{"model":{"type":"WordPiece","vocab":{"a":0}}}"#;
    let export = Export {
        architecture,
        params,
        tokens_max,
        tokenizer_json,
        prompts: [""; 2],
        pools_prompts: true,
        card: &card,
    };
    assert_eq!(hf::write(&export, &dir).unwrap_err().kind(), Kind::Input);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    let nowhere = root.path().join("absent/model");
    assert!(files::exports::export(&model, &nowhere).unwrap_err().to_string().contains("absent"));
}
