//! ONNX files are read back, by what onnx.proto says and not by the writer: every input of a node exists before it,
//! every parameter is there with its numbers, and the graph gives the embeddings of the encoder to texts that are
//! padded on either side. ONNX Runtime's word is `tests/golden/check_onnx.py`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod run;

use autograd::{Params, Pool, Tape};
use engine::{Engine, Packed, Tensor};
use models::bert::{self, Activation, Family, Size};
use models::modernbert::{self, Sight};
use models::{Architecture, Model, Scope, bag, latent, onnx};
use ndarray::{Array2, IxDyn};
use run::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A field of a message: its number, and its bytes or its number.
#[derive(Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut n = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    n
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut all = vec![];
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                all.push((key >> 3, Field::Number(varint(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            kind => panic!("a field of kind {kind}"),
        };
        all.push((key >> 3, Field::Bytes(&bytes[..length])));
        bytes = &bytes[length..];
    }
    all
}

fn bytes_of(message: &[u8], field: u64) -> Vec<&[u8]> {
    let own = fields(message).into_iter().filter(|(number, _)| *number == field);
    own.map(|(_, value)| if let Field::Bytes(bytes) = value { bytes } else { panic!("field {field}") })
        .collect()
}

fn numbers_of(message: &[u8], field: u64) -> Vec<u64> {
    let own = fields(message).into_iter().filter(|(number, _)| *number == field);
    own.map(|(_, value)| if let Field::Number(n) = value { n } else { panic!("field {field}") }).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn names_of(message: &[u8], field: u64) -> Vec<String> {
    bytes_of(message, field).into_iter().map(text).collect()
}

/// Checks a file; gives its operators, and its inputs.
#[track_caller]
fn check(architecture: Architecture) -> (BTreeSet<String>, Vec<String>) {
    let model = moved(Model::fresh(architecture, 12, 3));
    let mut file = vec![];
    onnx::write(&model, &mut |bytes| {
        file.extend(bytes);
        Ok(())
    })
    .unwrap();
    assert_eq!(numbers_of(&file, 1), [8], "IR version");
    let opsets: Vec<Vec<u64>> = bytes_of(&file, 8).into_iter().map(|opset| numbers_of(opset, 2)).collect();
    assert_eq!(opsets, [[17]]);
    let [graph] = bytes_of(&file, 7)[..] else { panic!("one graph") };
    let weights = weights(graph);
    let inputs: Vec<String> = bytes_of(graph, 11).iter().map(|info| names_of(info, 1).remove(0)).collect();
    let outputs: Vec<String> = bytes_of(graph, 12).iter().map(|info| names_of(info, 1).remove(0)).collect();
    assert_eq!(outputs, ["sentence_embedding"]);
    let mut known: BTreeSet<String> = inputs.iter().chain(weights.keys()).cloned().collect();
    let (mut kinds, mut used) = (BTreeSet::new(), BTreeSet::new());
    for node in bytes_of(graph, 1) {
        for name in names_of(node, 1) {
            assert!(known.contains(&name), "{name} is read before it is there");
            used.insert(name);
        }
        for name in names_of(node, 2) {
            assert!(known.insert(name.clone()), "{name} comes twice");
        }
        kinds.extend(names_of(node, 4));
    }
    assert!(used.contains("input_ids") && known.contains("sentence_embedding"));
    let idle: Vec<&String> = weights.keys().filter(|name| !used.contains(*name)).collect();
    assert!(idle.is_empty(), "{idle:?} are read by no node");
    check_weights(&model, &weights);
    check_embeddings(&model, graph);
    (kinds, inputs)
}

/// Numbers far from those of a beginning, where gains are 1, biases 0 and all texts are much the same.
fn moved(mut model: Model) -> Model {
    for id in model.params.ids() {
        let value = model.params.value(id);
        let shift =
            |(i, x): (usize, &f32)| 4.0 * x + 0.3 * (1.7 * i as f32 + value.shape().len() as f32).sin();
        let moved = value.data::<f32>().iter().enumerate().map(shift).collect();
        model.params.set(id, Tensor::from_vec(value.shape(), moved));
    }
    model
}

/// The graph against the encoder, over texts of six lengths.
#[track_caller]
fn check_embeddings(model: &Model, graph: &[u8]) {
    let texts: Vec<Vec<u32>> = [2, 3, 5, 7, 9, 12]
        .iter()
        .map(|&n| (0..n).map(|i| (3 + i * i + 5 * n) % model.architecture.vocab() as u32).collect())
        .collect();
    let (engine, mut packed) = (Engine::new(1), Packed::default());
    texts.iter().for_each(|text| packed.push(text.iter().copied()));
    let (tape, encoder) = (Tape::inference(&engine), model.encoder());
    let want = encoder.encode(&Scope::new(&tape, &model.params), &packed, 0).value().to_f64();
    let spread = want.iter().fold(0f64, |most, x| most.max(x.abs()));
    for left in [false, true] {
        let (mut ids, mut mask) = (Array2::from_elem((6, 14), 5.0), Array2::zeros((6, 14)));
        for (row, text) in texts.iter().enumerate() {
            let first = if left { 14 - text.len() } else { 0 };
            for (i, &token) in text.iter().enumerate() {
                (ids[[row, first + i]], mask[[row, first + i]]) = (f64::from(token), 1.0);
            }
        }
        let types = ("token_type_ids", Value::zeros(IxDyn(&[6, 14])));
        let inputs = [("input_ids", ids.into_dyn()), ("attention_mask", mask.into_dyn()), types];
        let got = run::run(graph, &inputs);
        assert_eq!(got.shape(), [6, model.architecture.width()]);
        let off = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off <= 1e-5 * spread.max(1.0), "padded left: {left}; off by {off:e} of {spread}");
    }
}

/// Initializers: dimensions and bytes.
fn weights(graph: &[u8]) -> BTreeMap<String, (Vec<u64>, &[u8])> {
    let mut all = BTreeMap::new();
    for tensor in bytes_of(graph, 5) {
        let (dims, of) = (numbers_of(tensor, 1), numbers_of(tensor, 2));
        let [raw] = bytes_of(tensor, 9)[..] else { panic!("numbers of a tensor") };
        let each = if of == [1] { 4 } else { 8 };
        assert_eq!(raw.len() as u64, each * dims.iter().product::<u64>(), "{of:?} {dims:?}");
        let name = names_of(tensor, 8).remove(0);
        assert!(all.insert(name.clone(), (dims, raw)).is_none(), "{name} comes twice");
    }
    all
}

/// Every parameter, as it is or, of a linear layer, transposed; but MPNet's table, of which a larger one was made.
fn check_weights(model: &Model, weights: &BTreeMap<String, (Vec<u64>, &[u8])>) {
    let params: &Params = &model.params;
    for id in params.ids().filter(|&id| !params.name(id).contains("relative")) {
        let (name, value) = (params.name(id), params.value(id));
        let values: &[f32] = value.data();
        let read = |raw: &[u8]| -> Vec<f32> {
            raw.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
        };
        match weights.get(name) {
            Some((dims, raw)) => {
                assert!(value.shape().dims().iter().map(|&n| n as u64).eq(dims.iter().copied()), "{name}");
                assert!(read(raw) == values, "{name}");
            }
            None => {
                let (dims, raw) = &weights[&format!("{name}.T")];
                let (rows, columns) = (value.shape().dim(0), value.shape().dim(1));
                assert_eq!(*dims, [columns as u64, rows as u64], "{name}");
                let turned = read(raw);
                let same = |i: usize, j: usize| turned[j * rows + i] == values[i * columns + j];
                assert!((0..rows).all(|i| (0..columns).all(|j| same(i, j))), "{name}");
            }
        }
    }
}

const SIZE: Size = Size { layers: 2, width: 8, heads: 2, ffn: 16 };

fn of_family(family: Family, types: usize) -> Architecture {
    let config = bert::Config::from_size(SIZE, 20, 16);
    let (pooling, normalise, activation) = match family {
        Family::DistilBert => (Pool::First, true, Activation::Relu),
        Family::Roberta => (Pool::Max, false, Activation::GeluTanh),
        _ => (Pool::Mean, true, Activation::Gelu),
    };
    Architecture::Bert(bert::Config { family, types, pad: 1, pooling, normalise, activation, ..config })
}

#[test]
fn files_of_all_families_are_whole_graphs() {
    let transformer = ["LayerNormalization", "Softmax", "MatMul", "Where", "CumSum"];
    let two = ["input_ids", "attention_mask"];
    for (family, types) in
        [(Family::DistilBert, 0), (Family::Roberta, 1), (Family::XlmRoberta, 1), (Family::Mpnet, 0)]
    {
        let (kinds, inputs) = check(of_family(family, types));
        assert!(transformer.iter().all(|&kind| kinds.contains(kind)), "{family:?}: {kinds:?}");
        assert_eq!(inputs, two, "{family:?}");
    }
    let (_, inputs) = check(of_family(Family::Bert, 2));
    assert_eq!(inputs, [&two[..], &["token_type_ids"]].concat());
    let latents = latent::Config { latents: 5, heads: 3, channels: 7 };
    let (kinds, _) = check(of_family(Family::Mpnet, 0).with_latents(latents, Pool::Mean).unwrap());
    assert!(kinds.contains("Split") && kinds.contains("Erf"), "{kinds:?}");
    let (kinds, inputs) = check(Architecture::Bag(bag::Config { vocab: 20, width: 8, normalise: false }));
    assert!(!kinds.contains("Softmax") && !kinds.contains("ReduceL2"), "{kinds:?}");
    assert_eq!(inputs, two);
}

#[test]
fn a_modernbert_has_turns_windows_and_gates() {
    let sight = |window, theta| Sight { window, theta };
    let config = modernbert::Config {
        size: Size { layers: 3, ..SIZE },
        vocab: 20,
        positions: 16,
        layers: vec![sight(None, 160_000.0), sight(Some(2), 10_000.0), sight(Some(2), 10_000.0)],
        pad: 0,
        activation: Activation::Gelu,
        eps: 1e-5,
        embedding_dropout: 0.0,
        attention_dropout: 0.0,
        mlp_dropout: 0.0,
        latents: None,
        pooling: Pool::First,
        normalise: true,
    };
    let latents = latent::Config { latents: 5, heads: 3, channels: 7 };
    check(Architecture::ModernBert(config.clone()).with_latents(latents, Pool::Mean).unwrap());
    let (kinds, inputs) = check(Architecture::ModernBert(config));
    let own = ["Split", "Concat", "Abs", "LessOrEqual", "Equal"];
    assert!(own.iter().all(|&kind| kinds.contains(kind)), "{kinds:?}");
    assert_eq!(inputs, ["input_ids", "attention_mask"]);
}
