//! The cross-encoders of `tests/golden/cross`, on any engine: scores of pairs, and three steps on lists of them.

use autograd::Tape;
use autograd::optim::{Optimizer, Sgd};
use engine::Engine;
use models::cross::PairTexts;
use models::{ListLoss, Scope, hf};
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(crate) fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cross").join(family)
}

/// Two texts of a pair's ids, each between the special tokens.
fn parts(ids: &[u32], family: &str) -> [Vec<u32>; 2] {
    let (cls, sep) = (ids[0], *ids.last().unwrap());
    let cut = ids.iter().position(|&id| id == sep).unwrap();
    let second = if family == "bert" { cut + 1 } else { cut + 2 };
    [&ids[1..cut], &ids[second..ids.len() - 1]].map(|inner| [&[cls][..], inner, &[sep]].concat())
}

/// The model of a folder, where the engine computes.
fn read(engine: &Engine, family: &str) -> hf::CrossImport {
    let mut import = hf::read_cross(&folder(family)).unwrap();
    engine.cuda().into_iter().for_each(|cuda| import.params.to_device(cuda));
    import
}

fn json(family: &str, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder(family).join(file)).unwrap()).unwrap()
}

/// The pairs of `pairs.json`, as the model reads them.
fn golden_pairs(family: &str, import: &hf::CrossImport, rows: &[Value]) -> PairTexts {
    let mut pairs = PairTexts::default();
    for (i, row) in rows.iter().enumerate() {
        let ids: Vec<u32> =
            row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let [first, second] = parts(&ids, family);
        import.model.join(&mut pairs, &first, &second);
        assert_eq!(pairs.texts.text(i), ids);
    }
    pairs
}

/// Numbers of pairs, and what a program that asks for scores is given.
pub(crate) fn scores(engine: &Engine, family: &str, sigmoid: bool) {
    let import = read(engine, family);
    assert_eq!(import.sigmoid, sigmoid);
    let rows = json(family, "pairs.json");
    let rows = rows.as_array().unwrap();
    let pairs = golden_pairs(family, &import, rows);
    let tape = Tape::checked(engine);
    let scores = import.model.score(&Scope::new(&tape, &import.params), &pairs, 0).value();
    assert_eq!(scores.cuda().is_some(), engine.cuda().is_some(), "where they are computed");
    for (row, score) in rows.iter().zip(scores.to_f64()) {
        let (logit, predicted) = (row["logit"].as_f64().unwrap(), row["predicted"].as_f64().unwrap());
        assert!((score - logit).abs() < 2e-6, "{score} is not {logit}");
        let activated = if sigmoid { 1.0 / (1.0 + (-score).exp()) } else { score };
        assert!((activated - predicted).abs() < 2e-6, "{activated} is not {predicted}");
    }
}

/// Three plain steps on lists of pairs, without dropout: the losses before them and the numbers after them.
pub(crate) fn learned(engine: &Engine) {
    for (family, loss) in ["bert", "roberta"].into_iter().flat_map(|f| [(f, "softmax"), (f, "pairs")]) {
        let of = if loss == "softmax" { ListLoss::Softmax } else { ListLoss::Pairs };
        let mut import = read(engine, family);
        let all = golden_pairs(family, &import, json(family, "pairs.json").as_array().unwrap());
        let golden = json(family, "learned.json");
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
            let tape = Tape::new(engine);
            let read = import.model.score(&Scope::new(&tape, &import.params), &pairs, 0);
            let cost = of.loss(read, &starts, &[1.0 / 3.0; 3]);
            let (got, want) = (cost.value().item(), want.as_f64().unwrap());
            assert!((got - want).abs() < 1e-5, "{family} {loss}: {got} is not {want}");
            let grads = tape.backward_from(cost).into_params();
            drop(tape);
            optimizer.step(engine, &mut import.params, &grads, rate);
        }
        let tape = Tape::inference(engine);
        let after = import.model.score(&Scope::new(&tape, &import.params), &all, 0).value();
        for (got, want) in after.to_f64().into_iter().zip(golden[loss]["logits"].as_array().unwrap()) {
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() < 2e-5, "{family} {loss}: {got} is not {want}");
        }
    }
}
