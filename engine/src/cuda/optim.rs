//! Steps of optimizers and sums of squares on a device (`kernels/optim.cu`): the arms of `kernels/{adamw,sgd,lamb,
//! squares}.rs`. A tensor that is written in place is unique; its caller has made sure.

use super::{Block, Cuda, args};
use crate::kernels::adamw::AdamStep;
use crate::kernels::given::Given;
use crate::kernels::lamb::LambStep;
use crate::kernels::squares::tree_sum;
use crate::tensor::Tensor;

/// Numbers of one sum of squares.
const PER: usize = 16 * 1024;

/// The gradient as a kernel takes it: numbers, and which rows they are of, if not of all.
fn on_device(cuda: &Cuda, grad: Given<'_>) -> (Tensor, Option<Block>, usize) {
    match grad {
        Given::All(g) => (cuda.here(g), None, 0),
        Given::Rows(rows, g) => (cuda.here(g), Some(cuda.send(rows)), rows.len()),
    }
}

/// What is written in place must be the only tensor on its numbers; what was rounded of them is so no more.
#[track_caller]
fn unique(tensors: &[&Tensor]) {
    assert!(
        tensors.iter().all(|t| t.is_unique() && t.cuda().is_some()),
        "a tensor cannot be written while its storage is shared, or lies elsewhere than the others"
    );
    tensors.iter().for_each(|t| t.forget_rounding());
}

#[track_caller]
pub(crate) fn adamw(
    cuda: &Cuda,
    p: &mut Tensor,
    (m, v): (&mut Tensor, &mut Tensor),
    grad: Given<'_>,
    s: &AdamStep,
) {
    let (p, m, v) = (&*p, &*m, &*v);
    unique(&[p, m, v]);
    assert!(p.len() == m.len() && p.len() == v.len(), "adamw: moments of another parameter");
    let ((g, ids, rows), width, n) = (on_device(cuda, grad), p.shape().last().max(1), p.len());
    let (new1, new2) = ((1.0 - s.beta1) as f32, (1.0 - s.beta2) as f32);
    let [keep, beta2, step, widen, eps] = [s.keep, s.beta2, s.step, s.widen, s.eps].map(|x| x as f32);
    cuda.each("adamw", n, args![p, m, v, g, ids, rows, width, n, keep, new1, beta2, new2, step, widen, eps]);
}

#[track_caller]
pub(crate) fn sgd(cuda: &Cuda, p: &mut Tensor, grad: Given<'_>, rate: f64) {
    let p = &*p;
    unique(&[p]);
    let ((g, ids, rows), width, n) = (on_device(cuda, grad), p.shape().last().max(1), p.len());
    cuda.each("sgd", n, args![p, g, ids, rows, width, n, rate as f32]);
}

#[track_caller]
pub(crate) fn momentum(cuda: &Cuda, p: &mut Tensor, (b, mu): (&mut Tensor, f64), grad: Given<'_>, rate: f64) {
    let (p, b) = (&*p, &*b);
    unique(&[p, b]);
    assert_eq!(p.len(), b.len(), "momentum of another parameter");
    let ((g, ids, rows), width, n) = (on_device(cuda, grad), p.shape().last().max(1), p.len());
    cuda.each("momentum", n, args![p, b, g, ids, rows, width, n, mu as f32, rate as f32]);
}

/// How many sums of squares there are of `n` numbers.
pub(crate) fn blocks(n: usize) -> usize {
    n.div_ceil(PER)
}

/// The sums of squares of the blocks of each of them, one after another. They are fetched at once, since whoever
/// fetches waits for all that was launched.
pub(crate) fn squares(cuda: &Cuda, all: &[&Tensor]) -> Vec<f64> {
    let total = all.iter().map(|x| blocks(x.len())).sum();
    let sums = cuda.block(8 * total);
    let mut to = sums.at() as usize;
    for x in all.iter().map(|x| cuda.here(x)) {
        cuda.rows("squares", blocks(x.len()), args![to, x, x.len(), PER]);
        to += 8 * blocks(x.len());
    }
    cuda.fetch(sums.at(), total)
}

/// One step; gives the trust ratio. It waits for the two norms, which the step needs.
#[track_caller]
pub(crate) fn lamb(
    cuda: &Cuda,
    p: &mut Tensor,
    (m, v): (&mut Tensor, &mut Tensor),
    grad: Given<'_>,
    s: &LambStep,
) -> f64 {
    let (p, m, v) = (&*p, &*m, &*v);
    unique(&[p, m, v]);
    let ((g, ids, rows), width, n) = (on_device(cuda, grad), p.shape().last().max(1), p.len());
    let (new1, beta2, new2) = ((1.0 - s.beta1) as f32, s.beta2 as f32, (1.0 - s.beta2) as f32);
    cuda.each("lamb_moments", n, args![m, v, g, ids, rows, width, n, new1, beta2, new2]);
    let [lift, widen, eps, decay] = [s.lift, s.widen, s.eps, s.decay].map(|x| x as f32);
    let blocks = blocks(n);
    let sums = cuda.block(16 * blocks);
    cuda.rows("squares", blocks, args![sums, p, n, PER]);
    let behind = sums.at() as usize + 8 * blocks;
    cuda.rows("lamb_squares", blocks, args![behind, p, m, v, n, PER, lift, widen, eps, decay]);
    let sums = cuda.fetch::<f64>(sums.at(), 2 * blocks);
    let [norm, moved] = [&sums[..blocks], &sums[blocks..]].map(|sums| tree_sum(sums).sqrt());
    let trust = if norm > 0.0 && moved > 0.0 { norm / moved } else { 1.0 };
    cuda.each("lamb_step", n, args![p, m, v, n, lift, widen, eps, decay, (s.rate * trust) as f32]);
    trust
}
