//! The decoupled softmax of rows with several positives (equations: `autograd/src/ops/decoupled_softmax.rs`). Bound by
//! the exponentials: one a negative in each direction.

use super::relevance::Relevance;
use crate::cuda;
use crate::engine::Engine;
use crate::kernels::lanes;
use crate::kernels::row_loss::{exponentials, gradients, losses};
use crate::real::Real;
use crate::tensor::Tensor;

/// What turns a row of scores into a loss.
#[derive(Clone, Debug)]
pub struct DecoupledSoftmax {
    /// 1/τ, the reciprocal of the temperature.
    pub scale: f64,
    /// The positives and negatives of each row.
    pub relevance: Relevance,
    /// ω > 0: what a column weighs as a negative, `[m]`; none is 1.
    pub omega: Option<Tensor>,
}

/// The losses `[n]` of scores `[n, m]`, and log N of each row: `[n]`, −∞ where a row has no negative.
///
/// # Panics
/// If sizes or types differ.
#[track_caller]
pub fn decoupled_softmax(engine: &Engine, s: &Tensor, loss: &DecoupledSoftmax) -> (Tensor, Tensor) {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::decoupled_softmax(cuda, s, loss);
    }
    for_real!(s, forward(engine, s, loss))
}

/// The gradient of the scores from the gradient `g` of the losses.
///
/// # Panics
/// As [`decoupled_softmax`].
#[track_caller]
pub fn gradient(engine: &Engine, s: &Tensor, log_n: &Tensor, g: &Tensor, loss: &DecoupledSoftmax) -> Tensor {
    if let Some(cuda) = s.cuda() {
        return cuda::losses::decoupled_softmax_back(cuda, s, log_n, g, loss);
    }
    for_real!(s, backward(engine, s, log_n, g, loss))
}

/// One row of everything.
struct Row<'a, T> {
    scores: &'a [T],
    scale: T,
    positive: &'a [bool],
    negative: &'a [bool],
    omega: Option<&'a [T]>,
}

impl DecoupledSoftmax {
    fn row<'a, T: Real>(&'a self, s: &'a Tensor, i: usize) -> Row<'a, T> {
        let m = s.shape().last();
        let (positive, negative) = self.relevance.row(i, m);
        let omega = self.omega.as_ref().map(Tensor::data::<T>);
        Row { scores: &s.data::<T>()[i * m..][..m], scale: T::of(self.scale), positive, negative, omega }
    }
}

impl<T: Real> Row<'_, T> {
    /// z_j = s_j/τ of the negatives, −∞ elsewhere.
    #[inline(always)]
    fn logits(&self, z: &mut [T]) {
        let marks = self.positive.iter().zip(self.negative);
        for ((z, &s), (&positive, &negative)) in z.iter_mut().zip(self.scores).zip(marks) {
            *z = if negative && !positive { s * self.scale } else { T::NEG_INFINITY };
        }
    }
    #[inline(always)]
    fn log_n(&self, z: &mut [T]) -> T {
        self.logits(z);
        let largest = lanes::max(z);
        if largest == T::NEG_INFINITY {
            return T::NEG_INFINITY;
        }
        exponentials(z, self.omega, largest);
        lanes::sum([&*z], |[e]| e).ln() + largest
    }
    /// The logits of the positives.
    fn aims(&self) -> impl Iterator<Item = (usize, T)> {
        let aim = |(j, (&s, _)): (usize, (&T, &bool))| (j, s * self.scale);
        self.scores.iter().zip(self.positive).enumerate().filter(|(_, (_, p))| **p).map(aim)
    }
    /// (1/|P|) Σ_p log(1 + N e^{−z_p}).
    fn loss(&self, log_n: T) -> T {
        let (mut sum, mut count) = (T::ZERO, T::ZERO);
        for (_, z) in self.aims() {
            let x = log_n - z;
            // log(1 + eˣ) without overflow; a NaN stays one.
            sum += T::ZERO.max(x) + (-x.abs()).exp().ln_1p();
            count += T::ONE;
        }
        if log_n == T::NEG_INFINITY || count == T::ZERO { T::ZERO } else { sum / count }
    }
    /// z becomes the gradient of the scores.
    #[inline(always)]
    fn gradient(&self, z: &mut [T], log_n: T, g: T) {
        let count = T::of(self.aims().count() as f64);
        if log_n == T::NEG_INFINITY || count == T::ZERO {
            return z.fill(T::ZERO);
        }
        let g = g * self.scale / count;
        // σ(log N − z_p): how much of the positive's softmax the negatives have.
        let share = |aim: T| T::ONE / (T::ONE + (aim - log_n).exp());
        let all = self.aims().fold(T::ZERO, |sum, (_, aim)| sum + share(aim));
        self.logits(z);
        exponentials(z, self.omega, log_n);
        let factor = g * all;
        z.iter_mut().for_each(|z| *z *= factor);
        self.aims().for_each(|(j, aim)| z[j] = -(g * share(aim)));
    }
}

fn forward<T: Real>(engine: &Engine, s: &Tensor, loss: &DecoupledSoftmax) -> (Tensor, Tensor) {
    losses(
        engine,
        s.shape(),
        #[inline(always)]
        |i, z| {
            let row = loss.row::<T>(s, i);
            let log_n = row.log_n(z);
            (row.loss(log_n), log_n)
        },
    )
}

fn backward<T: Real>(
    engine: &Engine,
    s: &Tensor,
    log_n: &Tensor,
    g: &Tensor,
    loss: &DecoupledSoftmax,
) -> Tensor {
    let (log_n, g) = (log_n.data::<T>(), g.data::<T>());
    gradients(
        engine,
        s.shape(),
        #[inline(always)]
        |i, ds| loss.row::<T>(s, i).gradient(ds, log_n[i], g[i]),
    )
}
