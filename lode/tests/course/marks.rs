//! What marks the exercises: each compares with code of this repository that is tested elsewhere.

use crate::exercises::{adamw::State, mask::Known};
use lode::autograd::gradcheck::Case;
use lode::autograd::{AdamW, AdamWOptions, Grad, Optimizer, ParamGrads, Params, SoftmaxLoss, Target};
use lode::engine::Packed;
use lode::models::{Architecture, Model, Scope, bag};
use lode::samplers::composer::tree::clusters;
use lode::samplers::mask::known_positives;
use lode::samplers::{Csr, Matrix, mask};
use lode::{Engine, Stream, Tape, Tensor, Var};

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

/// From q, k, v and where the texts start to what each token reads.
type Attention = for<'t> fn(Var<'t>, Var<'t>, Var<'t>, &[u32]) -> Var<'t>;

/// Texts of 1, 4 and 2 tokens, three channels.
pub(crate) fn attention(attention: Attention) -> Marked {
    let starts = [0, 1, 5, 7];
    let run = |mine: bool| {
        let tape = Tape::new(&Engine::new(1));
        let inputs = [20, 21, 22].map(|tag| tape.leaf(Tensor::from_vec([7, 3], numbers(tag, 21, 2.0))));
        let [q, k, v] = inputs;
        let o = if mine { attention(q, k, v, &starts) } else { q.attention(k, v, starts.into(), 1, None) };
        if o.shape().dims() != [7, 3] {
            return Err(format!("o is [7, 3], yours is {:?}", o.shape()));
        }
        let grads = tape.backward(vec![(o, Tensor::from_vec([7, 3], numbers(23, 21, 1.0)))]);
        let of = |x: Var<'_>| grads.get(x).map_or_else(|| vec![0.0; 21], Grad::to_f64);
        Ok([o.value().to_f64(), of(q), of(k), of(v)])
    };
    let names = ["o", "the gradient of q", "the gradient of k", "the gradient of v"];
    for ((name, got), want) in names.iter().zip(run(true)?).zip(run(false)?) {
        if let Some(i) = (0..21).find(|&i| !near(got[i], want[i], 1e-9)) {
            return Err(format!(
                "{name}: token {}, channel {} is {:.5}, you say {:.5}",
                i / 3,
                i % 3,
                want[i],
                got[i]
            ));
        }
    }
    Ok(())
}

/// Five steps of four numbers whose gradients differ in size.
pub(crate) fn adamw(step: fn(&mut State, &mut [f64], &[f64], f64, f64)) -> Marked {
    let (engine, decay) = (Engine::new(1), 0.3);
    let mut optimizer = AdamW::new(AdamWOptions { weight_decay: decay, ..AdamWOptions::default() });
    let (mut params, start) = (Params::default(), numbers(30, 4, 1.0));
    let id = params.add("p", Tensor::from_vec([4], start.clone()), true);
    let (mut state, mut mine) = (State { t: 0, m: vec![0.0; 4], v: vec![0.0; 4] }, start);
    for t in 1..=5u32 {
        let g: Vec<f64> = numbers(30 + u64::from(t), 4, 1.0)
            .iter()
            .zip([1e3, 1.0, 1e-2, 1e-4])
            .map(|(g, s)| g * s)
            .collect();
        let grads: ParamGrads = [(id, Grad::Dense(Tensor::from_vec([4], g.clone())))].into_iter().collect();
        // 0.0625 is the same number in f32 and in f64.
        optimizer.step(&engine, &mut params, &grads, 0.0625);
        step(&mut state, &mut mine, &g, 0.0625, decay);
        let want = params.value(id).to_f64();
        if !mine.iter().zip(&want).all(|(m, w)| near(*m, *w, 1e-9)) {
            return Err(format!("after step {t} the numbers are {want:.6?}, you say {mine:.6?}"));
        }
    }
    Ok(())
}

/// From what is known, the queries, the columns and the targets of a batch to its mask.
type Mask = fn(&Known, &[u32], &[u32], &[u32]) -> Vec<bool>;

/// Thirty batches of 8 queries; each of 40 queries has one to four labels of 30, some of which share a text.
pub(crate) fn mask(keep: Mask) -> Marked {
    let draw = |tag: u64, i: u64, n: u64| Stream::new(6, tag).below(i, n) as u32;
    let labels = |q: u64| {
        let mut labels: Vec<u32> = (0..=draw(40, q, 4)).map(|j| draw(41, 8 * q + u64::from(j), 30)).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    };
    let known = Known {
        positives: (0..40).map(labels).collect(),
        text: (0..30).map(|l| if l >= 24 { l - 24 } else { l }).collect(),
    };
    let ends = known.positives.iter().scan(0, |end, labels| {
        *end += labels.len() as u64;
        Some(*end)
    });
    let starts: Vec<u64> = std::iter::once(0).chain(ends).collect();
    let positives = Csr { starts: &starts, items: &known.positives.concat() };
    let theirs = mask::Known { positives, barred: None, text_group: Some(&known.text) };
    for b in 0..30 {
        let queries: Vec<u32> = (0..8).map(|i| draw(42, 8 * b + i, 40)).collect();
        let drawn: Vec<u32> = queries.iter().map(|&q| known.positives[q as usize][0]).collect();
        let mut columns = drawn.clone();
        columns.extend((0..6).map(|i| draw(43, 6 * b + i, 30)));
        columns.sort_unstable();
        columns.dedup();
        let column = |label: &u32| columns.binary_search(label).map_or(0, |j| j as u32);
        let target: Vec<u32> = drawn.iter().map(column).collect();
        let want = known_positives(&theirs, &queries, &columns, &target);
        let got = keep(&known, &queries, &columns, &target);
        if got.len() != want.len() {
            return Err(format!("the mask has {} entries, yours {}", want.len(), got.len()));
        }
        if let Some(at) = (0..want.len()).find(|&at| got[at] != (want[at] > 0.0)) {
            let (i, j) = (at / columns.len(), at % columns.len());
            let own = &known.positives[queries[i] as usize];
            return Err(format!(
                "a query with the labels {own:?}, drawn {}, against label {} (text {}): keep is {}, you say {}",
                drawn[i],
                columns[j],
                known.text[columns[j] as usize],
                want[at] > 0.0,
                got[at]
            ));
        }
    }
    Ok(())
}

/// Two lobes on a sphere, one with twice the rows of the other, in an order that does not give them away.
pub(crate) fn halves(halves: fn(Matrix<'_>) -> [Vec<u32>; 2]) -> Marked {
    let (n, width) = (301, 6);
    let row = |r: usize| {
        let lobe = usize::from(r.is_multiple_of(3));
        let mut x = numbers(50 + r as u64, width, 0.5);
        x[lobe] += 1.0;
        let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.into_iter().map(move |x| (x / length) as f32)
    };
    let values: Vec<f32> = (0..n).flat_map(row).collect();
    let rows = Matrix::new(&values, width);
    let reach = |sides: [&[u32]; 2]| {
        let length = |side: &[u32]| {
            let sum = |c: usize| side.iter().map(|&r| f64::from(rows.row(r as usize)[c])).sum::<f64>();
            (0..width).map(|c| sum(c) * sum(c)).sum::<f64>().sqrt()
        };
        (length(sides[0]) + length(sides[1])) / n as f64
    };
    let theirs = clusters(&Engine::new(1), rows, &(0..n as u32).collect::<Vec<_>>(), 1, Stream::new(1, 0));
    let (left, right) = theirs.order.split_at(theirs.ends[0] as usize);
    let want = reach([left, right]);
    let mine = halves(rows);
    let mut all = mine.concat();
    all.sort_unstable();
    if all != (0..n as u32).collect::<Vec<_>>() {
        return Err("every row is on one side, once".into());
    }
    if mine[0].len().abs_diff(mine[1].len()) > 1 {
        return Err(format!("the sides have {} and {} rows", mine[0].len(), mine[1].len()));
    }
    let got = reach([&mine[0], &mine[1]]);
    if got < 0.995 * want {
        return Err(format!("(|m₀| + |m₁|)/n is {got:.4}; `samplers` finds {want:.4}"));
    }
    Ok(())
}
