//! What marks the exercises: each compares with code of this repository that is tested elsewhere.

use lode::autograd::gradcheck::Case;
use lode::autograd::{SoftmaxLoss, Target};
use lode::engine::Packed;
use lode::models::{Architecture, Model, Scope, bag};
use lode::{Engine, Stream, Tape, Tensor};

/// Nothing, or what is wrong.
pub(crate) type Marked = Result<(), String>;

/// Whether `got` is `want` to within `tolerance` of what counts as one; NaN is nothing.
fn near(got: f64, want: f64, tolerance: f64) -> bool {
    (got - want).abs() <= tolerance * (1.0 + want.abs())
}

/// `n` numbers in ±`size`.
fn numbers(tag: u64, n: usize, size: f64) -> Vec<f64> {
    (0..n as u64).map(|i| size * (2.0 * Stream::new(5, tag).uniform(i) - 1.0)).collect()
}

pub(crate) fn slope(slope: fn(f64) -> f64) -> Marked {
    for x in numbers(1, 50, 3.0) {
        let tape = Tape::new(&Engine::new(1));
        let v = tape.leaf(Tensor::scalar(x));
        let f = (v * v).shift(1.0) * v.tanh();
        let (got, want) = (slope(x), tape.backward_from(f).of(v).to_f64()[0]);
        if !near(got, want, 1e-9) {
            return Err(format!("at x = {x:.4} the tape says {want:.6}, you say {got:.6}"));
        }
    }
    Ok(())
}

pub(crate) fn outer(case: Case) -> Marked {
    case.check().map_err(|wrong| wrong.to_string())
}

/// Loss and forces of a row, from its scores, the column of its positive, the mask and τ.
type Row = fn(&[f64], usize, &[bool], f64) -> (f64, Vec<f64>);

/// Ordinary rows, one whose positive is masked, and one of scores that overflow an exponential.
pub(crate) fn infonce(infonce: Row) -> Marked {
    let rows = [(1.0, 1.0, 0), (1.0, 0.05, 3), (30.0, 0.01, 1), (2.0, 0.5, 2)];
    for (tag, (size, temperature, c)) in rows.into_iter().enumerate() {
        let s = numbers(10 + tag as u64, 6, size);
        let keep: Vec<bool> = (0..6).map(|j| tag == 0 || (j + tag) % 4 != 0).collect();
        let tape = Tape::new(&Engine::new(1));
        let scores = tape.leaf(Tensor::from_vec([1, 6], s.clone()));
        let loss = SoftmaxLoss {
            scale: 1.0 / temperature,
            keep: Some(keep.clone().into()),
            omega: None,
            beta: None,
            target: Target::Column([c as u32].into()),
        };
        let want = scores.softmax_loss(loss).sum();
        let forces = tape.backward_from(want).of(scores).to_f64();
        let (got, mine) = infonce(&s, c, &keep, temperature);
        let row = format!("scores {s:.2?}, positive {c}, mask {keep:?}, τ = {temperature}");
        if !near(got, want.value().item(), 1e-9) {
            return Err(format!("{row}: the loss is {:.6}, you say {got:.6}", want.value().item()));
        }
        if mine.len() != 6 || !mine.iter().zip(&forces).all(|(m, f)| near(*m, *f, 1e-9)) {
            return Err(format!("{row}: the forces are {forces:.4?}, you say {mine:.4?}"));
        }
    }
    Ok(())
}

pub(crate) fn bag(encode: fn(&[f32], usize, &Packed) -> Vec<f32>) -> Marked {
    let (vocab, width) = (20, 3);
    let config = bag::Config { vocab, width, normalise: true };
    let model = Model::fresh(Architecture::Bag(config), 16, 3);
    let table = model.params.value(model.architecture.token_table(&model.params)).data::<f32>().to_vec();
    let mut texts = Packed::default();
    for tokens in [&[2u32, 7, 9, 3][..], &[2, 3], &[2, 7, 3], &[2, 9, 9, 9, 11, 12, 3]] {
        texts.push(tokens.iter().copied());
    }
    let tape = Tape::inference(&Engine::new(1));
    let want = model.encoder().encode(&Scope::new(&tape, &model.params), &texts, 0).value().to_f64();
    let got = encode(&table, width, &texts);
    if got.len() != want.len() {
        return Err(format!(
            "{} texts of width {width} give {} numbers, not {}",
            texts.len(),
            want.len(),
            got.len()
        ));
    }
    for (i, (got, want)) in got.chunks(width).zip(want.chunks(width)).enumerate() {
        if !got.iter().zip(want).all(|(g, w)| near(f64::from(*g), *w, 1e-5)) {
            return Err(format!("text {i}, tokens {:?}, is {want:.4?}, you say {got:.4?}", texts.text(i)));
        }
    }
    Ok(())
}
