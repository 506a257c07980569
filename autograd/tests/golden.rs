//! The operations in f32 against PyTorch in f64: value and gradients on the points of `tests/golden/ops.safetensors`
//! (made by `tests/golden/ops.py`).
//!
//! A difference is taken relative to the largest number of its tensor. The tolerances are about ten times what PyTorch
//! itself loses in f32 against f64 (`tests/golden/README.md`).

use autograd::{Pairwise, Pool, SoftmaxLoss, Tape, Target, Triplet, Var, Weighting};
use engine::{Engine, Tensor};
use safetensors::{Dtype, SafeTensors};
use std::sync::Arc;

/// One case of the file.
struct Golden<'a> {
    file: &'a SafeTensors<'a>,
    case: &'a str,
}

impl Golden<'_> {
    fn has(&self, key: &str) -> bool {
        self.file.tensor(&format!("{}.{key}", self.case)).is_ok()
    }
    /// The numbers of four bytes of a tensor, and its shape.
    #[track_caller]
    fn read<T>(&self, key: &str, dtype: Dtype, number: fn([u8; 4]) -> T) -> (Vec<usize>, Vec<T>) {
        let name = format!("{}.{key}", self.case);
        let view = self.file.tensor(&name).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(view.dtype(), dtype, "{name}");
        let (fours, rest) = view.data().as_chunks::<4>();
        assert!(rest.is_empty(), "{name}");
        (view.shape().to_vec(), fours.iter().map(|&b| number(b)).collect())
    }
    #[track_caller]
    fn tensor(&self, key: &str) -> Tensor {
        let (shape, values) = self.read(key, Dtype::F32, f32::from_le_bytes);
        Tensor::from_vec(shape.as_slice(), values)
    }
    #[track_caller]
    fn ids(&self, key: &str) -> Arc<[u32]> {
        self.read(key, Dtype::I32, u32::from_le_bytes).1.into()
    }
    #[track_caller]
    fn number(&self, key: &str) -> f64 {
        self.tensor(key).item()
    }
    #[track_caller]
    fn flags(&self, key: &str) -> Arc<[bool]> {
        self.tensor(key).data::<f32>().iter().map(|&x| x != 0.0).collect()
    }
}

/// Σ row_weight · loss / Σ row_weight.
fn softmax_loss<'t>(x: &[Var<'t>], g: &Golden<'_>) -> Var<'t> {
    let losses = x[0].softmax_loss(SoftmaxLoss {
        scale: 1.0 / g.number("temperature"),
        keep: Some(g.flags("keep")),
        omega: Some(g.tensor("weight")),
        beta: Some(g.tensor("shift")),
        target: Target::Distribution(g.tensor("target")),
    });
    let weights = g.tensor("row_weight");
    let total: f64 = weights.to_f64().iter().sum();
    (losses * x[0].tape().constant(weights)).sum().scale(1.0 / total)
}

/// The mean over rows whose positive stands on the diagonal; all other positives are masked.
fn triplet<'t>(x: &[Var<'t>], g: &Golden<'_>, weighting: Weighting) -> Var<'t> {
    let losses = x[0].triplet(Triplet {
        target: (0..x[0].shape().dim(0) as u32).collect(),
        keep: Some(g.flags("positives").iter().map(|&p| !p).collect()),
        k: g.ids("k")[0] as usize,
        margin: g.number("margin"),
        temperature: g.number("temperature"),
        weighting,
    });
    losses.mean()
}

fn margin_mse<'t>(x: &[Var<'t>], g: &Golden<'_>) -> Var<'t> {
    x[0].pairwise(x[1], Pairwise::MarginMse { margin: g.tensor("teacher_gap") })
}

/// A case of the file, the tolerances of value and gradients, and the same function in our words.
type Row = (&'static str, [f64; 2], for<'t> fn(&[Var<'t>], &Golden<'_>) -> Var<'t>);

const USUAL: [f64; 2] = [2e-6, 5e-6];
/// Near 1000 one unit in the last place is 6e-5, and the gradient is the exponential of a difference of two such
/// numbers.
const NEAR_A_THOUSAND: [f64; 2] = [2e-6, 2e-4];

const CASES: &[Row] = &[
    ("attention.packed", USUAL, |x, g| {
        x[0].attention(x[1], x[2], g.ids("starts"), g.ids("heads")[0] as usize, None)
    }),
    ("exp.random", USUAL, |x, _| x[0].exp()),
    ("gather.repeats", USUAL, |x, g| x[0].gather(g.ids("ids"))),
    ("gelu_erf.grid", USUAL, |x, _| x[0].gelu()),
    ("gelu_erf.random", USUAL, |x, _| x[0].gelu()),
    ("gelu_erf.wide", USUAL, |x, _| x[0].gelu()),
    ("gelu_tanh.grid", USUAL, |x, _| x[0].gelu_tanh()),
    ("gelu_tanh.random", USUAL, |x, _| x[0].gelu_tanh()),
    ("gelu_tanh.wide", USUAL, |x, _| x[0].gelu_tanh()),
    ("l2_normalise.rows", USUAL, |x, _| x[0].normalise()),
    ("layer_norm.affine", USUAL, |x, g| x[0].layer_norm(x[1], x[2], g.number("eps"))),
    ("linear.bias", USUAL, |x, _| x[0].linear(x[1], Some(x[2]))),
    ("linear.no_bias", USUAL, |x, _| x[0].linear(x[1], None)),
    ("log.random", USUAL, |x, _| x[0].log()),
    ("logsumexp.large", NEAR_A_THOUSAND, |x, g| x[0].logsumexp(Some(g.flags("mask")))),
    ("logsumexp.masked", USUAL, |x, g| x[0].logsumexp(Some(g.flags("mask")))),
    ("margin_mse.each", USUAL, |x, g| margin_mse(x, g)),
    ("margin_mse.mean", USUAL, |x, g| margin_mse(x, g).mean()),
    ("matmul.plain", USUAL, |x, _| x[0].matmul(x[1])),
    ("pairwise.each", USUAL, |x, _| x[0].pairwise(x[1], Pairwise::RankNet)),
    ("pairwise.mean", USUAL, |x, _| x[0].pairwise(x[1], Pairwise::RankNet).mean()),
    ("pool.first", USUAL, |x, g| x[0].pool(Pool::First, g.ids("starts"))),
    ("pool.max", USUAL, |x, g| x[0].pool(Pool::Max, g.ids("starts"))),
    ("pool.mean", USUAL, |x, g| x[0].pool(Pool::Mean, g.ids("starts"))),
    ("relu.grid", USUAL, |x, _| x[0].relu()),
    ("relu.random", USUAL, |x, _| x[0].relu()),
    ("relu.wide", USUAL, |x, _| x[0].relu()),
    ("sigmoid.grid", USUAL, |x, _| x[0].sigmoid()),
    ("sigmoid.random", USUAL, |x, _| x[0].sigmoid()),
    ("sigmoid.wide", USUAL, |x, _| x[0].sigmoid()),
    ("softmax.large", USUAL, |x, _| x[0].softmax()),
    ("softmax.rows", USUAL, |x, _| x[0].softmax()),
    ("softmax_loss.full", USUAL, |x, g| softmax_loss(x, g)),
    ("softmax_loss.idle_row", USUAL, |x, g| softmax_loss(x, g)),
    ("softmax_loss.infonce", USUAL, |x, g| softmax_loss(x, g)),
    ("softplus.grid", USUAL, |x, _| x[0].softplus()),
    ("softplus.random", USUAL, |x, _| x[0].softplus()),
    ("softplus.wide", USUAL, |x, _| x[0].softplus()),
    ("tanh.grid", USUAL, |x, _| x[0].tanh()),
    ("tanh.random", USUAL, |x, _| x[0].tanh()),
    ("tanh.wide", USUAL, |x, _| x[0].tanh()),
    ("triplet.dexa", USUAL, |x, g| triplet(x, g, Weighting::Active)),
    ("triplet.dexa_few", USUAL, |x, g| triplet(x, g, Weighting::Active)),
    ("triplet.dexa_wide", USUAL, |x, g| triplet(x, g, Weighting::Active)),
    ("triplet.ngame", USUAL, |x, g| triplet(x, g, Weighting::Published)),
    ("triplet.ngame_wide", USUAL, |x, g| triplet(x, g, Weighting::Published)),
    ("triplet.unweighted", USUAL, |x, g| triplet(x, g, Weighting::None)),
    ("triplet.unweighted_wide", USUAL, |x, g| triplet(x, g, Weighting::None)),
];

/// max |got − want| over max |want|.
fn difference(got: &[f64], want: &Tensor) -> f64 {
    let want = want.to_f64();
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(f64::MIN_POSITIVE, |m, w| m.max(w.abs()));
    // `max` of two floats would pass over a NaN.
    got.iter().zip(&want).map(|(g, w)| (g - w).abs() / scale).fold(0.0, |m, d| if d <= m { m } else { d })
}

fn check(engine: &Engine, file: &SafeTensors<'_>, (case, [value, slope], run): Row) {
    let (golden, tape) = (Golden { file, case }, Tape::new(engine));
    let inputs: Vec<String> = (0..).map(|i| format!("in{i}")).take_while(|key| golden.has(key)).collect();
    let leaves: Vec<Var<'_>> =
        inputs.iter().map(|key| tape.leaf(engine.place(&golden.tensor(key)))).collect();
    let y = run(&leaves, &golden);
    let off = difference(&y.value().to_f64(), &golden.tensor("out"));
    assert!(off <= value, "{case}: the value is off by {off:e}, allowed are {value:e}");
    assert_eq!(y.value().cuda().is_some(), engine.cuda().is_some(), "{case}: where it is computed");
    let grads = tape.backward(vec![(y, engine.place(&golden.tensor("grad_out").reshape(y.shape())))]);
    for (key, leaf) in inputs.iter().zip(leaves) {
        let off = difference(&grads.of(leaf).to_f64(), &golden.tensor(&format!("grad_{key}")));
        assert!(off <= slope, "{case}: the gradient of {key} is off by {off:e}, allowed are {slope:e}");
    }
}

#[test]
fn values_and_gradients_agree_with_pytorch() {
    all(&Engine::new(2));
}

/// Every case of the file, on any engine.
pub(crate) fn all(engine: &Engine) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/ops.safetensors");
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut cases: Vec<&str> = file.names().into_iter().filter_map(|n| n.strip_suffix(".out")).collect();
    cases.sort_unstable();
    assert_eq!(CASES.iter().map(|row| row.0).collect::<Vec<_>>(), cases, "every case of the file, in order");
    CASES.iter().for_each(|&row| check(engine, &file, row));
}
